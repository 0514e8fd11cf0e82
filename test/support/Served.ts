/** The HTTP server over two memory databases, and a service whose cycles the test runs. */
import { Effect, Logger, LogLevel, Schedule } from "effect"
import type { HttpAddress } from "../../src/domain/HttpAddress.ts"
import { serve } from "../../src/http/serve.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { makeObserver, Observer } from "../../src/programs/Observer.ts"
import type { MemoryTable } from "../../src/services/memory/MemoryTable.ts"
import type { Settings } from "../../src/services/SyncConfig.ts"
import { makePair, perfisTable } from "./MemoryPair.ts"

export const startServed = Effect.fnUntraced(function*(
  address: Partial<HttpAddress> = {},
  tables: ReadonlyArray<MemoryTable> = [perfisTable],
  settings: Partial<Settings> = {}
) {
  const pair = yield* makePair({ replit: tables, external: tables })
  const observer = yield* makeObserver
  const layer = pair.layer({ tables: tables.map(({ name }) => name), ...settings })
  const url = yield* serve({ host: "127.0.0.1", port: 0, token: null, ...address }, "1.2.3").pipe(
    Effect.provideService(Observer, observer),
    Effect.provide(layer)
  )
  const cycle = observer.watch(yield* makeCycle)
  const once = cycle({ retryFor: 0, lease: "wait", notBefore: 0 }).pipe(
    Effect.tap(observer.look),
    Effect.provide(layer),
    quietly
  )
  /** A cycle, and as many idle ones as it takes until both databases were looked at: that isn't done all the time. */
  const run = Effect.gen(function*() {
    const report = yield* once
    const { last } = yield* observer.now
    const isSeen = Effect.map(observer.now, ({ look }) => look !== null && look.atMs >= last!.endedMs)
    if (!(yield* isSeen)) {
      yield* Effect.repeat(Effect.zipRight(once, isSeen), { until: (it) => it, schedule: Schedule.spaced("20 millis") })
    }
    return report
  })
  return { ...pair, observer, url, run }
})

export const quietly = Logger.withMinimumLogLevel(LogLevel.None)
