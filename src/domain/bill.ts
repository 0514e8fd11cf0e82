/** How long the sync keeps a database awake that sleeps when nobody asks it anything, and what that costs. Estimates, no I/O. */

/** Neon suspends a compute after five minutes without activity: its default, and fixed on the free plan. */
export const sleepsAfterMs = 300_000
