/** One cycle for a person or a scheduler that waits for its end: `--once`, and `sync` for one table. */
import { Effect } from "effect"
import { waits } from "../domain/Summary.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { announce, setUpWarning, warn, warningsOf } from "./announce.ts"
import type { Cycle, CycleOptions, CycleReport } from "./cycle.ts"
import { leftBehind } from "./leftBehind.ts"
import { sayHowLong } from "./underLease.ts"

/** Runs a cycle, waiting for the lease, and tells what it did. Returns the exit code: 3 when something waits for a person. */
export const once = Effect.fn("once")(function*<R = never>(
  cycle: Cycle,
  afterwards: (report: CycleReport) => Effect.Effect<unknown, never, R> = () => Effect.void,
  options: Pick<CycleOptions, "only"> = {}
) {
  const { retryFor } = yield* SyncConfig
  const report = yield* cycle({ retryFor, lease: "wait", notBefore: 0, ...options }).pipe(sayHowLong(retryFor))
  yield* Effect.forEach([...warningsOf(report), ...(yield* leftBehind).map(setUpWarning)], warn, { discard: true })
  yield* announce(report)
  yield* afterwards(report)
  return waits(report).length > 0 ? 3 as const : 0 as const
})
