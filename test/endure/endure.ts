/**
 * `npm run endure`: 10,000 cycles in a row with faults, and 1,000,000 synced changes, on two embedded servers; what is left of
 * it must be nothing but what is to be kept. Exits 1 when it isn't.
 *
 * `--cycles N` and `--changes N` take other numbers; 0 leaves that part out. Takes some ten minutes on an idle machine.
 */
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Cause, Clock, Console, Data, Effect, Logger } from "effect"
import * as Os from "node:os"
import { parseArgs } from "node:util"
import { count, duration } from "../../src/domain/Quantity.ts"
import { freshServer } from "../support/TestServer.ts"
import { keeping } from "./bloat.ts"
import { makePair } from "./EndurePair.ts"
import { type Endured, enduring } from "./enduring.ts"

/** Something was left that should not be. */
class EndureError extends Data.TaggedError("EndureError")<{ readonly message: string }> {}

const must = (condition: boolean, message: string) => condition ? Effect.void : new EndureError({ message })

const endure = Effect.gen(function*() {
  const { values } = parseArgs({
    options: { cycles: { type: "string", default: "10000" }, changes: { type: "string", default: "1000000" } }
  })
  const [cycles, changes] = [Number(values.cycles), Number(values.changes)]
  const servers = yield* Effect.all({ replit: freshServer(), external: freshServer() }, { concurrency: 2 })
  if (cycles > 0) {
    const startedMs = yield* Clock.currentTimeMillis
    const pair = yield* makePair(servers)
    const endured = yield* enduring(pair.urls, pair.admin, { cycles, every: Math.max(1, Math.floor(cycles / 10)) })
    const ms = (yield* Clock.currentTimeMillis) - startedMs
    yield* Console.log(endurance(endured, ms))
    yield* must(endured.wrong === 0, `${endured.wrong} rows differ or wait.`)
    yield* must(endured.warnings.length === 0, endured.warnings.join("\n"))
    yield* must(endured.left.sessions + endured.left.temporary === 0, "Sessions or temporary tables are left.")
    const [first, last] = [endured.heap[0]!.bytes, endured.heap.at(-1)!.bytes]
    yield* must(last <= first * 1.1, `The heap grew from ${first} to ${last} bytes.`)
  }
  if (changes > 0) {
    const kept = yield* keeping(yield* makePair(servers), changes)
    yield* Console.log(kept.text)
    yield* must(kept.ratio <= 2, "The changelog takes more than twice what it keeps.")
  }
})

const endurance = ({ cycles, failed, heap, left, moved, refused, sessions, terminated }: Endured, ms: number) =>
  `${count(cycles)} cycles in ${duration(ms)} (load ${Os.loadavg()[0]!.toFixed(0)}): ${count(moved)} moved something, ${
    count(failed)
  } failed; ${
    count(terminated)
  } sessions lost, up to ${refused} rows in quarantine at once.\nHeap after a collection: ${
    heap.map(({ bytes, cycles: at }) => `${count(at)}: ${(bytes / 1e6).toFixed(1)} MB`).join(", ")
  }.\nMost sessions: ${sessions}. Left: ${left.sessions} sessions, ${left.temporary} temporary tables; nothing differs or waits.`

endure.pipe(
  Effect.scoped,
  Effect.catchAllCause((cause) =>
    Effect.zipRight(
      Console.error(Cause.pretty(cause)),
      Effect.sync(() => void (process.exitCode = 1))
    )
  ),
  Effect.provide(NodeContext.layer),
  Effect.provide(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))),
  NodeRuntime.runMain({ disablePrettyLogger: true })
)
