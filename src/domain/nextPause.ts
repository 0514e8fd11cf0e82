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

/** The interval, then twice as long each time that nothing is found, and the interval again as soon as something is. */
export const nextPause = ({ intervalMs, maxIntervalMs }: Pauses, before: Before | null): number => {
  if (maxIntervalMs === null || before === null || before.outcome !== "nothing") return intervalMs
  return before.woken ? before.pauseMs : Math.min(2 * before.pauseMs, Math.max(maxIntervalMs, intervalMs))
}
