/** How long the service rests after a cycle. Pure. */

export interface Pauses {
  readonly intervalMs: number
  /** In eco: how long pauses become while external has nothing new. Without it each one is the interval. */
  readonly maxIntervalMs: number | null
}

/** What the cycle before it was like. */
export interface Before {
  /** The pause before that cycle. */
  readonly pauseMs: number
  /** `found`: external had something new. `failed`: nobody knows. */
  readonly outcome: "found" | "nothing" | "failed"
  /** It came before its time, for something that changed on Replit: that says nothing about external. */
  readonly woken: boolean
}

/**
 * How long a copy rests that stands by: until the lease may be free, or until the other one should have begun its next cycle.
 * If that one died, this one does the work within ten seconds of its time.
 */
export const standbyPause = (
  intervalMs: number,
  { finishedAgoMs, isLeased }: { readonly isLeased: boolean; readonly finishedAgoMs: number | null }
): number => isLeased ? lookMs : Math.max(lookMs, intervalMs - (finishedAgoMs ?? 0) + graceMs)

/** With the five seconds after which a silent holder has lost the lease, a copy takes over within ten. */
const lookMs = 2_000
/** The other one is first, if it lives. */
const graceMs = 5_000

/** The interval, then twice as long each time that nothing is found, and the interval again as soon as something is. */
export const nextPause = ({ intervalMs, maxIntervalMs }: Pauses, before: Before | null): number => {
  if (maxIntervalMs === null || before === null || before.outcome !== "nothing") return intervalMs
  return before.woken ? before.pauseMs : Math.min(2 * before.pauseMs, Math.max(maxIntervalMs, intervalMs))
}
