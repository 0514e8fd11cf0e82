/** Says what repeats itself once in a while, with how often it happened, instead of each time. */
export class Repeats {
  private readonly said = new Map<string, { atMs: number; unsaid: number }>()
  private readonly everyMs: number

  constructor(everyMs: number) {
    this.everyMs = everyMs
  }

  /** How often it happened, unsaid, since it was said last; null when it is not to be said now. */
  note(what: string, nowMs: number): number | null {
    const known = this.said.get(what)
    if (known !== undefined && nowMs - known.atMs < this.everyMs) {
      known.unsaid++
      return null
    }
    // Kept as long as it matters: what is new each time must not fill the memory.
    for (const [other, { atMs }] of this.said) if (nowMs - atMs >= this.everyMs) this.said.delete(other)
    this.said.set(what, { atMs: nowMs, unsaid: 0 })
    return known?.unsaid ?? 0
  }
}

/** A failure that repeats itself is said once in a minute: a database that is down would fill a disk with its lines. */
export const failuresSaidEveryMs = 60_000
