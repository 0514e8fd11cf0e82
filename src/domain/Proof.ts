/**
 * How far both sides of a table are proven equal. A round goes through all keys of the table, stretch by stretch, as slowly
 * as its budget allows; keys that were not equal stay open and are looked at again. Pure: who compares, and when, is none
 * of its business.
 */
import { DateTime } from "effect"
import type { Difference } from "./Difference.ts"
import { amount, count } from "./Quantity.ts"
import type { Side } from "./Side.ts"
import type { Key } from "./SyncedTable.ts"

export interface Round {
  /** Everything of this round was proven after that. */
  readonly startedMs: number
  /** Up to where, in the order of Replit's primary key; null before the first stretch. */
  readonly after: Key | null
  /** No key is left after that one. */
  readonly isThrough: boolean
  /** Rows that are equal on both sides. */
  readonly rows: number
  /** Keys that were not equal when they were looked at last, at most `openMax`. */
  readonly open: ReadonlyArray<Difference>
  /** How many more there were, or could not be looked at. They aren't looked at again before the next round. */
  readonly beyond: number
  /** External has rows in some stretch that were not looked at one by one: how many, their counts tell in the end. */
  readonly surplus: boolean
}

/** Of one table. A round that is under way takes the place of the last one when it ends. */
export interface Proof {
  readonly current: Round | null
  readonly last: Round | null
}

export const noProof: Proof = { current: null, last: null }

/** Keys that a round remembers, to look at them again. */
export const openMax = 100

export const beginRound = (nowMs: number): Round => ({
  startedMs: nowMs,
  after: null,
  isThrough: false,
  rows: 0,
  open: [],
  beyond: 0,
  surplus: false
})

/** A stretch was compared. */
export interface Stretched {
  /** Its last key; null when no key comes after it. */
  readonly upTo: Key | null
  readonly equal: number
  readonly differences: ReadonlyArray<Difference>
  readonly surplus: boolean
}

export const advance = (round: Round, { differences, equal, surplus, upTo }: Stretched): Round => {
  const open = [...round.open, ...differences]
  return {
    ...round,
    after: upTo ?? round.after,
    isThrough: upTo === null,
    rows: round.rows + equal,
    open: open.slice(0, openMax),
    beyond: round.beyond + Math.max(0, open.length - openMax),
    surplus: round.surplus || surplus
  }
}

/**
 * Replit's rows were all looked at, so what external has more of than is accounted for are rows that only it has. Where
 * the two sides order keys otherwise, a stretch may hold many of external's rows that Replit has elsewhere: then nothing is.
 */
export const settleSurplus = (round: Round, rows: Readonly<Record<Side, number>>): Round => {
  const only = (kind: Difference["kind"]) => round.open.filter((it) => it.kind === kind).length
  const unseen = rows.external - rows.replit + only("only-on-replit") - only("only-on-external")
  return { ...round, beyond: round.beyond + Math.max(0, unseen), surplus: false }
}

/** The open keys were looked at again: `still` are those that are not equal, and `equal` have a row on Replit. */
export const reopen = (round: Round, still: ReadonlyArray<Difference>, equal: number): Round => ({
  ...round,
  rows: round.rows + equal,
  open: still
})

/** The round is over: it is through, and no open key waits for a cycle; `final` if that was waited for long enough. */
export const closes = ({ isThrough, open }: Round, final: boolean): boolean =>
  isThrough && (final || open.every(({ why }) => why !== "pending"))

/** Keys that differ although nothing is on its way, and that were not known as such before. */
export const newDifferences = (before: ReadonlyArray<Difference>, now: ReadonlyArray<Difference>) => {
  const known = new Set(before.filter(({ why }) => why === "unknown").map(({ key }) => JSON.stringify(key)))
  return now.filter(({ key, why }) => why === "unknown" && !known.has(JSON.stringify(key)))
}

/** What can be said of a table now. `--json` prints it as it is. */
export interface Proven {
  /** Rows that are equal on both sides, of so many that were looked at or, before the first round's end, that there are. */
  readonly rows: number
  readonly of: number
  /** Proven after that; ISO 8601. */
  readonly since: string
  /** Every key was looked at. */
  readonly isWhole: boolean
  /** Keys that are not proven equal, by reason; `beyond` are those that were not looked at one by one, or once only. */
  readonly unproven: Readonly<Record<Difference["why"] | "beyond", number>>
  /** The first of them. */
  readonly sample: ReadonlyArray<Difference>
}

/** Null before the first stretch. `rows` are the table's. */
export const provenOf = ({ current, last }: Proof, rows: number | null): Proven | null => {
  const round = last ?? current
  if (round === null) return null
  const of = round.rows + round.open.length + round.beyond
  const those = (why: Difference["why"]) => round.open.filter((it) => it.why === why).length
  return {
    rows: round.rows,
    of: last === null ? Math.max(rows ?? 0, of) : of,
    since: DateTime.formatIso(DateTime.unsafeMake(round.startedMs)),
    isWhole: last !== null,
    unproven: {
      unknown: those("unknown"),
      pending: those("pending"),
      quarantined: those("quarantined"),
      beyond: round.beyond
    },
    sample: round.open.slice(0, sampleMax)
  }
}

/** `100 % of 48,213 rows proven equal within the last 26 h`, and what is not. `askedAt` is ISO 8601. */
export const provenText = (proven: Proven | null, askedAt: string): string => {
  if (proven === null) return "nothing proven equal yet: the service does it little by little, `verify` at once"
  const { isWhole, of, rows, sample, since, unproven } = proven
  const age = within(Math.max(0, DateTime.distance(DateTime.unsafeMake(since), DateTime.unsafeMake(askedAt))))
  const parts = [
    ...(isWhole ? [] : ["the first round is under way"]),
    ...(unproven.unknown > 0 ? [`${differing(unproven.unknown)}, see \`verify\``] : []),
    ...(unproven.quarantined > 0 ? [`${count(unproven.quarantined)} in quarantine`] : []),
    ...(unproven.pending > 0 ? [`${count(unproven.pending)} had changes on their way`] : []),
    ...(unproven.beyond > 0 ? [`${count(unproven.beyond)} more not looked at, \`verify\` does it`] : []),
    ...(sample.length > 0 ? [`not proven: ${sample.map(({ key }) => key.join(", ")).join("; ")}`] : [])
  ]
  return [`${percent(rows, of)} of ${amount(of, "row")} proven equal within the last ${age}`, ...parts].join("; ")
}

/** Rounded up, for everything was proven after that. In hours up to three days. */
const within = (ms: number): string => {
  const [minutes, hours] = [Math.max(1, Math.ceil(ms / 60_000)), Math.ceil(ms / 3_600_000)]
  return minutes < 60 ? `${minutes} min` : hours <= 72 ? `${hours} h` : `${Math.ceil(hours / 24)} d`
}

/** `1 differs`, `2 differ`. */
export const differing = (n: number): string => `${count(n)} ${n === 1 ? "differs" : "differ"}`

/** Never 100 % for less than all. */
const percent = (part: number, of: number): string =>
  part >= of ? "100 %" : `${Math.min(99.9, Math.floor((part / of) * 1000) / 10)} %`

const sampleMax = 5
