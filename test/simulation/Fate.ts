/**
 * Everything that chance decides in a history, from one seed. Every point of a history has a chance of its own, named by
 * where it is: what is left out at one point changes nothing at the others, so that a history can be made shorter.
 */

/** Chance without effects. */
export interface Chance {
  /** A whole number from 0, less than the limit. */
  readonly below: (limit: number) => number
  readonly of: (probability: number) => boolean
  readonly pick: <A>(from: ReadonlyArray<A>) => A
}

/** What may happen, by what it is: all of one kind can be left out at once. */
export type Kind =
  | "app on replit"
  | "app on external"
  | "clock"
  | "cause"
  | "fault"
  | "crash"
  | "lease"
  | "other"
  | "person"
  | "pause"
  | "decision"
  | "cycle"
  | "process"
  | "restore"
  | "teardown"

export interface Happened {
  readonly id: string
  readonly kind: Kind
}

/** What does not happen, whatever chance says. */
export interface Dropped {
  readonly kinds: ReadonlySet<Kind>
  readonly ids: ReadonlySet<string>
}

export const nothingDropped: Dropped = { kinds: new Set(), ids: new Set() }

export class Fate {
  /** In the order in which it happened. */
  readonly happened: Array<Happened> = []
  private readonly seed: number
  private readonly dropped: Dropped

  constructor(seed: number, dropped: Dropped = nothingDropped) {
    this.seed = seed
    this.dropped = dropped
  }

  /** The chance of one point. */
  at(point: string): Chance {
    return chanceFrom(hash(point, this.seed))
  }

  /** Whether what chance wants happens. Ids are told apart by the point where it does. */
  let(kind: Kind, id: string): boolean {
    if (this.dropped.kinds.has(kind) || this.dropped.ids.has(id)) return false
    this.happened.push({ id, kind })
    return true
  }
}

/** Mulberry32: a few instructions a number, which thousands of points a history can afford. */
const chanceFrom = (start: number): Chance => {
  let state = start
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    below: (limit) => Math.floor(next() * limit),
    of: (probability) => next() < probability,
    pick: (from) => from[Math.floor(next() * from.length)]!
  }
}

/** FNV-1a, mixed once more, because points that follow each other differ in their last letter. */
const hash = (text: string, seed: number): number => {
  let hashed = 0x811c9dc5 ^ Math.imul(seed, 0x9e3779b1)
  for (let index = 0; index < text.length; index++) hashed = Math.imul(hashed ^ text.charCodeAt(index), 0x01000193)
  hashed = Math.imul(hashed ^ (hashed >>> 16), 0x85ebca6b)
  return hashed ^ (hashed >>> 13)
}
