/** Whether the service does what it is there for: for whoever starts it, stops it or sends somebody to look. Pure. */
import { Duration } from "effect"
import { duration } from "../domain/Quantity.ts"
import { isElsewhere } from "../domain/Summary.ts"
import type { Observed } from "../programs/Observer.ts"
import type { SyncConfig } from "../services/SyncConfig.ts"

export interface Readiness {
  readonly ready: boolean
  /** `standby`: another copy of the service ran the last cycle. Null before the first. */
  readonly role: "active" | "standby" | null
  /** Milliseconds since a cycle got through or was another copy's; null when none was. */
  readonly lastCycleAgeMs: number | null
  /** One sentence; it names no table and no host. */
  readonly reason: string
}

export const readiness = ({ error, passed }: Observed, limitMs: number, nowMs: number): Readiness => {
  if (passed === null) {
    const reason = error === null ? "The first cycle is under way." : "No cycle has got through yet."
    return { ready: false, role: null, lastCycleAgeMs: null, reason }
  }
  const age = Math.max(0, nowMs - passed.endedMs)
  const ready = age <= limitMs
  return {
    ready,
    role: isElsewhere(passed) ? "standby" : "active",
    lastCycleAgeMs: age,
    reason: ready
      ? "Cycles get through."
      : `No cycle has got through for ${duration(age)}; ${duration(limitMs)} are allowed.`
  }
}

/** A cycle may fail or take long now and then: three of the longest pauses, and a minute. */
export const readyLimitMs = ({ interval, maxInterval, schedule }: SyncConfig["Type"]): number =>
  3 * Duration.toMillis(schedule === "eco" ? Duration.max(interval, maxInterval) : interval) + 60_000
