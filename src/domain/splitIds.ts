/**
 * How the ids of two sides are kept apart: which sequences are set to what, so that Replit gives odd and external even
 * ids, all beyond those that are there. Pure: `programs/splitIds.ts` reads what it judges and does what it says.
 *
 * Only what is a plain sequence on both sides is touched. Who chose another increment had a reason, and what can't be
 * done on one side isn't done on the other either.
 */
import type { IdSequence, SequenceSettings } from "./IdSequence.ts"
import { areApart, boundsOf, isBehind, isSplitFor, isUp, larger, mod, parityOf, size, smaller } from "./IdSequence.ts"
import type { Side } from "./Side.ts"
import { label, sides } from "./Side.ts"
import type { SyncedTable } from "./SyncedTable.ts"
import { display, qualified } from "./TableName.ts"

export type IdSequences = Readonly<Record<Side, ReadonlyArray<IdSequence>>>

export interface SplitPlan {
  readonly steps: ReadonlyArray<SplitStep>
  /** Every column, and what becomes of its ids. */
  readonly columns: ReadonlyArray<SplitColumn>
}

export interface SplitStep {
  readonly side: Side
  readonly sequence: IdSequence
  readonly settings: SequenceSettings
}

export interface SplitColumn {
  /** As `pedidos.id`. */
  readonly column: string
  /** `stays`: nothing needs to be done. `impossible`: somebody must do something first, and nothing was done. */
  readonly outcome: "split" | "stays" | "impossible"
  /** A sentence of its own. */
  readonly why: string
}

/** The sequences of one column. */
export interface IdColumn {
  readonly column: string
  readonly sequences: IdSequences
}

/** Of what both sides' catalogs say what concerns the table's columns that travel. */
export const sequencesOf = ({ columns, name }: SyncedTable, all: IdSequences): IdSequences => {
  const of = (side: Side) =>
    all[side].filter(({ column, table }) => display(table) === display(name) && columns.includes(column))
  return { replit: of("replit"), external: of("external") }
}

/** What both sides' catalogs say, by column. */
export const idColumns = (all: IdSequences): ReadonlyArray<IdColumn> => {
  const names = [...new Set(sides.flatMap((side) => all[side].map(columnOf)))]
  const of = (side: Side, column: string) => all[side].filter((sequence) => columnOf(sequence) === column)
  return names.map((column) => ({
    column,
    sequences: { replit: of("replit", column), external: of("external", column) }
  }))
}

export const planSplit = (all: IdSequences): SplitPlan => {
  const columns = idColumns(all)
  const wanting = columns.filter(needsSplit)
  const problems = impossible(wanting)
  const doable = wanting.filter(({ column }) => !problems.has(column))
  return {
    steps: sides.flatMap((side) => {
      const sequences = distinct(doable.flatMap(({ sequences }) => sequences[side]))
      return sequences.filter((sequence) => !isSplitFor(sequence, side) || isBehind(sequence)).map((sequence) => {
        const floor = floorOf(sequence, columnsUsing(sequence, side, columns))
        return { side, sequence, settings: settingsOf(sequence, side, floor) }
      })
    }),
    columns: columns.map((found): SplitColumn => {
      const { column } = found
      const problem = problems.get(column)
      if (problem !== undefined) return { column, outcome: "impossible", why: problem }
      if (wanting.includes(found)) return { column, outcome: "split", why: `${column}: ${halves}.` }
      return { column, outcome: "stays", why: whyItStays(found) }
    })
  }
}

export const halves = "odd ids on Replit, even ids on external"

/** Both sides give ids and may give the same one, or a split sequence gives ids that its table has. */
export const needsSplit = ({ sequences: { external, replit } }: IdColumn): boolean =>
  external.length > 0 && replit.length > 0
  && (collide({ replit, external }) || [...replit, ...external].some((it) => it.split && isBehind(it)))

export const collide = ({ external, replit }: IdSequences): boolean =>
  replit.some((a) => external.some((b) => !areApart(a, b)))

/** Why a column's ids are left as they are, although nothing is wrong with them. */
export const whyItStays = ({ column, sequences }: IdColumn): string => {
  const giving = sides.filter((side) => sequences[side].length > 0)
  if (giving.length === 1) {
    return `Ids of ${column} come from a sequence on ${label(giving[0]!)} only: there is nothing to keep apart.`
  }
  if (sides.every((side) => sequences[side].every((sequence) => isSplitFor(sequence, side)))) {
    return `Ids of ${column} are kept apart: ${halves}.`
  }
  return `Ids of ${column} are kept apart by the sequences' own increments and bounds, which are left as they are.`
}

/** Why a sequence can't be split; null when it can. */
export const obstacle = (sequence: IdSequence, side: Side): string | null => {
  const { increment, name } = sequence
  const where = `Sequence ${display(name)} on ${label(side)}`
  if (sequence.rights !== "alter") {
    return `${where} belongs to another role, so it can't be changed. Run as its owner: ALTER SEQUENCE ${
      display(name)
    } OWNER TO … (the role of this URL);`
  }
  if (size(increment) !== 1n && !sequence.split && !isSplitFor(sequence, side)) {
    return `${where} counts by ${increment}, which somebody chose, so it is left alone. Give both sides one increment of at `
      + "least 2 and starts that differ, or put it back: "
      + `ALTER SEQUENCE ${display(name)} INCREMENT BY 1;`
  }
  return null
}

/**
 * Sequences that two columns share tie them together: what one can't do, the other doesn't either, or the ids of a
 * shared sequence would be split on one side only.
 */
const impossible = (columns: ReadonlyArray<IdColumn>): ReadonlyMap<string, string> => {
  const problems = new Map<string, string>()
  for (const { column, sequences } of columns) {
    const found = sides.flatMap((side) =>
      sequences[side].flatMap((sequence) => {
        const problem = obstacle(sequence, side) ?? atItsEnd(sequence, side, columns)
        return problem === null ? [] : [problem]
      })
    )
    if (found.length > 0) problems.set(column, `Ids of ${column} are not kept apart. ${found.join(" ")}`)
  }
  let before = -1
  while (before !== problems.size) {
    before = problems.size
    for (const { column, sequences } of columns) {
      const tied = columns.find((other) =>
        problems.has(other.column)
        && sides.some((side) => sequences[side].some((sequence) => other.sequences[side].some(isNamed(sequence))))
      )
      if (tied === undefined || problems.has(column)) continue
      problems.set(
        column,
        `Ids of ${column} are not kept apart, for they share a sequence with ${tied.column}, where it can't be done.`
      )
    }
  }
  return problems
}

const atItsEnd = (sequence: IdSequence, side: Side, columns: ReadonlyArray<IdColumn>): string | null => {
  const { next } = settingsOf(sequence, side, floorOf(sequence, columnsUsing(sequence, side, columns)))
  const { high, low } = boundsOf(sequence)
  return next >= low && next <= high
    ? null
    : `Sequence ${display(sequence.name)} on ${label(side)} has no numbers left beyond the ids that are there: `
      + "give its column a larger type, or the sequence other bounds."
}

/** The id that all new ones must be beyond, in the sequence's direction: rows and sequences of both sides. */
const floorOf = (sequence: IdSequence, columns: ReadonlyArray<IdColumn>): bigint => {
  const up = isUp(sequence)
  const all = columns.flatMap(({ sequences }) => sides.flatMap((side) => sequences[side]))
  const given = all.filter((it) => isUp(it) === up).map(({ increment, next }) => next - increment)
  const there = all.flatMap(({ highest, lowest }) => (up ? highest : lowest) ?? [])
  return [...given, ...there].reduce(up ? larger : smaller, sequence.next - sequence.increment)
}

const settingsOf = (sequence: IdSequence, side: Side, floor: bigint): SequenceSettings => {
  const step = isUp(sequence) ? 1n : -1n
  const { high, low } = boundsOf(sequence)
  const ours = (n: bigint) => mod(n, 2n) === parityOf(side) ? n : n + step
  const room = isUp(sequence) ? high - floor : floor - low
  const { max, min } = sequence
  // A sequence that cycles begins again at its bound: then that has to be of the right half, too.
  return {
    increment: 2n * step,
    min: sequence.cycle && step > 0n ? ours(min) : min,
    max: sequence.cycle && step < 0n ? ours(max) : max,
    start: ours(sequence.start),
    next: ours(floor + step * (1n + smaller(margin, larger(room, 0n) / 100n)))
  }
}

/**
 * Ids left out, for those that the other side gives away between our look at it and its own change. At most a hundredth
 * of what is left.
 */
const margin = 1_000n

const columnsUsing = (sequence: IdSequence, side: Side, columns: ReadonlyArray<IdColumn>) =>
  columns.filter(({ sequences }) => sequences[side].some(isNamed(sequence)))

const isNamed = (a: IdSequence) => (b: IdSequence) => qualified(a.name) === qualified(b.name)

const distinct = (sequences: ReadonlyArray<IdSequence>) => [
  ...new Map(sequences.map((sequence) => [qualified(sequence.name), sequence])).values()
]

const columnOf = ({ column, table }: IdSequence): string => `${display(table)}.${column}`

/** The same settings, but beyond an id that was given away meanwhile; null when they are beyond it already. */
export const beyond = (step: SplitStep, id: bigint): SplitStep | null => {
  const { sequence, settings, side } = step
  if (isUp(sequence) ? settings.next > id : settings.next < id) return null
  return { ...step, settings: { ...settings, next: settingsOf(sequence, side, id).next } }
}
