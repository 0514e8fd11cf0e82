/** What goes on beside the service, where the settings want it: the HTTP server, telling people, exporting. */
import { Console, Effect, Either, FiberHandle } from "effect"
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
  readonly proved: Observer["Type"]["proved"]
}

/** Until the scope closes. Says where it serves, and that somebody is told. */
export const serving = Effect.fn("serving")(function*(cycle: Cycle) {
  const { http, live, notify, telemetry } = yield* SyncConfig
  const { version } = yield* Host
  const nothing = () => Effect.void
  const exports = Either.getOrElse(telemetry, () => null) !== null
  if (http === null && notify === null && !exports) {
    return { cycle, afterwards: nothing, proved: nothing, hurried: Effect.never, resting: nothing } satisfies Served
  }
  const observer = yield* makeObserver
  const { hurried, proved, resting, watch } = observer
  if (notify !== null) {
    const { makeSend } = yield* Effect.promise(() => import("../services/Notifier.ts"))
    const { notifying } = yield* Effect.promise(() => import("../programs/notifying.ts"))
    yield* notifying(observer, makeSend(notify))
    yield* Console.log(`Notices go to SYNC_NOTIFY_URL, as ${notify.format}.`)
  }
  if (exports) {
    const { gauging } = yield* Effect.promise(() => import("./gauging.ts"))
    yield* gauging(observer, version)
  }
  if (http !== null) {
    // A module of its own: no other command needs an HTTP stack. What is asked here is no part of a cycle's trace.
    const { serve } = yield* Effect.promise(() => import("../http/serve.ts"))
    const url = yield* serve(http, version).pipe(
      Effect.provideService(Observer, observer),
      Effect.withTracerEnabled(false)
    )
    yield* Console.log(
      `Dashboard: ${url}${http.token === null ? "" : " (it wants SYNC_HTTP_TOKEN)"}; measures: ${url}metrics`
    )
  }
  const afterwards = http !== null || exports ? yield* looking(observer, live) : nothing
  return { cycle: watch(cycle), afterwards, proved, hurried, resting } satisfies Served
})

/** What looks at both databases after a cycle. */
const looking = Effect.fnUntraced(function*({ look }: Observer["Type"], live: boolean) {
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
  return live ? beside : look
})
