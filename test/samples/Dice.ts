/** Chance that a seed repeats, told apart from Effect's `Random` so that the editor's rolls depend on nothing else. */

export interface Dice {
  /** A whole number from 0 to `below` - 1. */
  readonly whole: (below: number) => number
  readonly chance: (probability: number) => boolean
  /** One of them; there must be one. */
  readonly pick: <A>(from: ReadonlyArray<A>) => A
}

/** mulberry32: 32 bits of state, good enough to choose rows with. What it is for makes other dice of the same seed. */
export const make = (seed: number, purpose: string): Dice => {
  let state = [...purpose].reduce((sum, char) => Math.imul(sum, 31) + char.charCodeAt(0), seed) >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const whole = (below: number) => Math.floor(next() * below)
  return { whole, chance: (probability) => next() < probability, pick: (from) => from[whole(from.length)]! }
}
