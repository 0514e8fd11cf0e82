/**
 * A sequence that gives ids to a column, as one database's catalog describes it, and what follows from its numbers
 * alone. Numbers are `bigint`: a JavaScript number has no room for them.
 */
import type { Side } from "./Side.ts"
import type { TableName } from "./TableName.ts"

export interface IdSequence {
  /** The column that gets its ids from it. A sequence that two columns use is described twice. */
  readonly table: TableName
  readonly column: string
  /** The column's type with domains resolved, e.g. `integer`. */
  readonly type: string
  readonly name: TableName
  readonly increment: bigint
  readonly start: bigint
  readonly min: bigint
  readonly max: bigint
  readonly cycle: boolean
  /** The number that it gives next; past its own end when it is used up. */
  readonly next: bigint
  /** What our role may do: `alter` it as its owner, only `use` it, or not even that (then `next` says nothing). */
  readonly rights: "alter" | "use" | "none"
  /** It was changed by `splitSequence`, and what was there before is remembered. */
  readonly split: boolean
  /** Highest and lowest id in the column; null when it is empty. */
  readonly highest: bigint | null
  readonly lowest: bigint | null
  /** Of the ids that the sequence itself could give, by its bounds and steps, the one furthest in its direction. */
  readonly furthest: bigint | null
}

/** What a sequence is set to. */
export type SequenceSettings = Pick<IdSequence, "increment" | "start" | "min" | "max" | "next">

/** Replit's ids are odd. */
export const parityOf = (side: Side): bigint => side === "replit" ? 1n : 0n

export const mod = (n: bigint, by: bigint): bigint => ((n % by) + by) % by

export const isUp = ({ increment }: Pick<IdSequence, "increment">): boolean => increment > 0n

/** Bounds of what it can give, by its own and the column's. */
export const boundsOf = ({ max, min, type }: IdSequence): { readonly low: bigint; readonly high: bigint } => {
  const limit = 2n ** (type === "smallint" ? 15n : type === "integer" ? 31n : 63n)
  return { low: larger(min, -limit), high: smaller(max, limit - 1n) }
}

/** Whether no id that one gives from now on can be one that the other gives: by their bounds, or by their steps. */
export const areApart = (a: IdSequence, b: IdSequence): boolean => {
  const [one, two] = [rangeOf(a), rangeOf(b)]
  if (one.high < two.low || two.high < one.low) return true
  const step = divisor(size(a.increment), size(b.increment))
  return beginnings(a).every((n) => beginnings(b).every((m) => mod(n - m, step) !== 0n))
}

/** The side's own half of the numbers, also after TRUNCATE … RESTART IDENTITY. */
export const isSplitFor = (sequence: IdSequence, side: Side): boolean =>
  size(sequence.increment) === 2n
  && [sequence.start, ...beginnings(sequence)].every((n) => mod(n, 2n) === parityOf(side))

/** The table has ids that it is still going to give: inserts there will fail. */
export const isBehind = (sequence: IdSequence): boolean =>
  sequence.furthest !== null
  && (isUp(sequence) ? sequence.next <= sequence.furthest : sequence.next >= sequence.furthest)

/** How much of its numbers is used, 0 to 1, and how many ids are left. A sequence that cycles has no end. */
export const usage = (sequence: IdSequence): { readonly used: number; readonly left: bigint } => {
  const { high, low } = boundsOf(sequence)
  const ahead = larger(isUp(sequence) ? high - sequence.next + 1n : sequence.next - low + 1n, 0n)
  const step = size(sequence.increment)
  if (sequence.cycle || high <= low) return { used: 0, left: (high - low) / step }
  return { used: 1 - Number(ahead) / Number(high - low + 1n), left: (ahead + step - 1n) / step }
}

export const larger = (a: bigint, b: bigint): bigint => a > b ? a : b
export const smaller = (a: bigint, b: bigint): bigint => a < b ? a : b
export const size = (n: bigint): bigint => n < 0n ? -n : n

const rangeOf = (sequence: IdSequence) => {
  const bounds = boundsOf(sequence)
  if (sequence.cycle) return bounds
  return isUp(sequence) ? { ...bounds, low: sequence.next } : { ...bounds, high: sequence.next }
}

/** Where it counts from: from its bound again, if it cycles. */
const beginnings = (sequence: IdSequence): ReadonlyArray<bigint> => {
  const { cycle, max, min, next } = sequence
  return cycle ? [next, isUp(sequence) ? min : max] : [next]
}

const divisor = (a: bigint, b: bigint): bigint => b === 0n ? a : divisor(b, a % b)
