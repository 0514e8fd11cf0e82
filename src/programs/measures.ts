/** What the process counts of its cycles, as Effect's metrics; since its start, and for the whole process. */
import { Duration, Effect, Metric, MetricBoundaries } from "effect"
import type { Side } from "../domain/Side.ts"
import { isElsewhere } from "../domain/Summary.ts"
import type { Moved } from "../services/Database.ts"
import type { EndedCycle } from "./Observer.ts"

const cycles = Metric.counter("vaivem_cycles_total", {
  description: "Cycles that ended, by outcome; not-due and standby are cycles that another copy of the service runs.",
  incremental: true
})

/** From an idle cycle on one machine, some 10 ms, to a first copy of millions of rows. */
const seconds = Metric.histogram(
  "vaivem_cycle_seconds",
  MetricBoundaries.fromIterable([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800]),
  "How long cycles took, those that failed too; not those that another copy ran."
)

const rows = Metric.counter("vaivem_rows_total", {
  description: "Rows that cycles wrote on the other side, by the side whose changes they were.",
  incremental: true
})

const conflicts = Metric.counter("vaivem_conflicts_total", {
  description: "Conflicts that were decided, by the side whose version was kept.",
  incremental: true
})

const refusals = Metric.counter("vaivem_refusals_total", {
  description:
    "Rows that went into quarantine, or stayed there after another try, by the side that they are pending on.",
  incremental: true
})

/** Counts a cycle that ended. */
export const countCycle = Effect.fn("countCycle")(function*(cycle: EndedCycle) {
  const { durationMs, outcome, pull, push } = cycle
  yield* Metric.increment(Metric.tagged(cycles, "outcome", outcome))
  if (isElsewhere(cycle)) return
  yield* Metric.update(seconds, Duration.toSeconds(durationMs))
  yield* countMoved("replit", push)
  yield* countMoved("external", pull)
})

/** A kind that did not occur is counted as none, so that it is exported as 0 and its first increase is seen. */
const countMoved = Effect.fnUntraced(function*(from: Side, moved: Moved) {
  for (const operation of ["inserted", "updated", "deleted"] as const) {
    yield* Metric.incrementBy(
      rows.pipe(Metric.tagged("from", from), Metric.tagged("operation", operation)),
      moved[operation]
    )
  }
  yield* Metric.incrementBy(Metric.tagged(conflicts, "from", from), moved.conflicts)
  yield* Metric.incrementBy(Metric.tagged(refusals, "from", from), moved.quarantined)
})
