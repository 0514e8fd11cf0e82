/** The HTTP server beside the service, where the settings want one; and what the service tells it. */
import { Console, Effect, FiberHandle } from "effect"
import type { Cycle } from "../programs/cycle.ts"
import { makeObserver, Observer } from "../programs/Observer.ts"
import type { SuperviseOptions } from "../programs/supervise.ts"
import type { ExternalDb } from "../services/ExternalDb.ts"
import type { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { Host } from "./Host.ts"

/** What takes the place of the cycle, and goes into the options of `supervise`. */
export interface Served extends Required<Pick<SuperviseOptions, "hurried" | "resting">> {
  readonly cycle: Cycle
  readonly afterwards: NonNullable<SuperviseOptions<ReplitDb | ExternalDb | SyncConfig>["afterwards"]>
}

/** Serves until the scope closes. Says where, unless nothing is served. */
export const serving = Effect.fn("serving")(function*(cycle: Cycle) {
  const { http, live } = yield* SyncConfig
  if (http === null) {
    const nobody = { afterwards: () => Effect.void, hurried: Effect.never, resting: () => Effect.void }
    return { cycle, ...nobody } satisfies Served
  }
  const { version } = yield* Host
  const observer = yield* makeObserver
  // A module of its own: no other command needs an HTTP stack.
  const { serve } = yield* Effect.promise(() => import("../http/serve.ts"))
  const url = yield* serve(http, version).pipe(Effect.provideService(Observer, observer))
  yield* Console.log(
    `Dashboard: ${url}${http.token === null ? "" : " (it wants SYNC_HTTP_TOKEN)"}; measures: ${url}metrics`
  )
  const { hurried, look, resting, watch } = observer
  const looking = yield* FiberHandle.make()
  // Counting the rows of a big table takes seconds. In live mode the next cycle doesn't wait for it; else connections may be
  // closed after a cycle, and it has to come before that.
  const beside: Served["afterwards"] = (report) => {
    const told = Effect.tapErrorCause(
      look(report),
      (cause) => Effect.logError("Could not look at both databases", cause)
    )
    return Effect.asVoid(FiberHandle.run(looking, told, { onlyIfMissing: true }))
  }
  const afterwards = live ? beside : look
  return { cycle: watch(cycle), afterwards, hurried, resting } satisfies Served
})
