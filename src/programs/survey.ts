/**
 * What a first contact of one table would find: rows on one side only, rows that differ and who would win them, unique
 * twins. It only reads, and needs nothing of ours in the databases, so that it goes before everything else.
 *
 * Ranges of keys that differ are found as in `reconcile`. The keys, hashes and stamps of their rows are compared here, some
 * 100,000 at a time; of ranges that only one side has anything in, the count is enough.
 */
import { Effect } from "effect"
import { decide } from "../domain/decide.ts"
import type { Side } from "../domain/Side.ts"
import { opposite, sides } from "../domain/Side.ts"
import type { RowVersion } from "../domain/StagedRow.ts"
import { decodeVersions } from "../domain/StagedRow.ts"
import type { Key, SyncedTable } from "../domain/SyncedTable.ts"
import type { Database } from "../services/Database.ts"
import { databases } from "./databases.ts"
import type { Digested } from "./reconcile.ts"
import { differing } from "./reconcile.ts"

export interface Surveyed {
  readonly rows: Readonly<Record<Side, number>>
  readonly onlyOn: Readonly<Record<Side, number>>
  readonly different: number
  /** Of the rows that differ, whom the table's rule makes the winner. Ties go to Replit, and are counted apart. */
  readonly wins: Readonly<Record<Side | "ties", number>>
  /** The first few rows that differ. */
  readonly sample: ReadonlyArray<DifferentRow>
  readonly twins: UniqueTwins
}

/** A row that both sides have with different content. Stamps in microseconds since 1970, as in `Version`. */
export interface DifferentRow {
  readonly key: Key
  readonly stampUs: Readonly<Record<Side, bigint | null>>
  readonly winner: Side
  readonly tie: boolean
}

/** Rows of different keys that have the same value in a unique index of either side: it refuses the other side's row. */
export interface UniqueTwins {
  readonly count: number
  /** The first few. */
  readonly sample: ReadonlyArray<{ readonly index: string } & Readonly<Record<Side, Key>>>
  /** False when more rows differ on both sides than are looked at for this. */
  readonly complete: boolean
  /** Indexes that can't be compared. */
  readonly skipped: ReadonlyArray<string>
}

/** @param sampleMax how many rows and twins to name. */
export const survey = Effect.fn("survey")(function*(table: SyncedTable, sampleMax: number) {
  const found = yield* differing(table)
  const tally = emptyTally()
  for (const group of groupsOf(found)) {
    if (group._tag === "OneSided") tally.onlyOn[group.side] += group.rows
    else yield* compareGroup(table, { of: found.of, only: group.ranges }, tally, sampleMax)
  }
  yield* matchOtherwiseWritten(table, tally)
  return {
    rows: found.rows,
    onlyOn: { ...tally.onlyOn },
    different: tally.different,
    wins: { ...tally.wins },
    sample: tally.sample,
    twins: yield* twins(table, tally, sampleMax)
  } satisfies Surveyed
})

/** What is counted while the groups go by. */
interface Tally {
  readonly onlyOn: Record<Side, number>
  different: number
  readonly wins: Record<Side | "ties", number>
  readonly sample: Array<DifferentRow>
  /** Keys of the first rows of each side that the other one lacks or has otherwise. */
  readonly keys: Readonly<Record<Side, { readonly only: Array<RowVersion>; readonly different: Array<Key> }>>
}

const emptyTally = (): Tally => ({
  onlyOn: { replit: 0, external: 0 },
  different: 0,
  wins: { replit: 0, external: 0, ties: 0 },
  sample: [],
  keys: { replit: { only: [], different: [] }, external: { only: [], different: [] } }
})

type Group =
  | { readonly _tag: "OneSided"; readonly side: Side; readonly rows: number }
  | { readonly _tag: "Ranges"; readonly ranges: ReadonlyArray<number> }

/** Ranges in groups of about `groupRows`. Where few rows differ their keys are wanted, for unique twins among them. */
const groupsOf = (found: Digested): ReadonlyArray<Group> => {
  const rowsIn = (side: Side, range: number) => found[side].get(range)?.rows ?? 0
  const sum = (side: Side) => found.differing.reduce((total, range) => total + rowsIn(side, range), 0)
  const few = Math.max(sum("replit"), sum("external")) <= groupRows
  const groups: Array<Group> = []
  let ranges: Array<number> = []
  let rows = 0
  for (const range of found.differing) {
    const [replit, external] = [rowsIn("replit", range), rowsIn("external", range)]
    if (!few && (replit === 0 || external === 0)) {
      groups.push({ _tag: "OneSided", side: external === 0 ? "replit" : "external", rows: replit + external })
      continue
    }
    if (ranges.length > 0 && rows + Math.max(replit, external) > groupRows) {
      groups.push({ _tag: "Ranges", ranges })
      ranges = []
      rows = 0
    }
    ranges.push(range)
    rows += Math.max(replit, external)
  }
  return ranges.length === 0 ? groups : [...groups, { _tag: "Ranges", ranges }]
}

const compareGroup = Effect.fn("compareGroup")(function*(
  table: SyncedTable,
  ranges: { readonly of: number; readonly only: ReadonlyArray<number> },
  tally: Tally,
  sampleMax: number
) {
  const both = yield* databases
  const read = (database: Database) => Effect.scoped(Effect.flatMap(database.versions(table, ranges), decodeVersions))
  const found = yield* Effect.all({ replit: read(both.replit), external: read(both.external) }, { concurrency: 2 })
  const theirs = new Map(found.external.map((row) => [JSON.stringify(row.key), row]))
  for (const row of found.replit) {
    const id = JSON.stringify(row.key)
    const other = theirs.get(id)
    theirs.delete(id)
    if (other === undefined) noteOnly(tally, "replit", row)
    else if (other.hash !== row.hash) noteDifferent(table, tally, { replit: row, external: other }, sampleMax)
  }
  for (const row of theirs.values()) noteOnly(tally, "external", row)
})

const noteOnly = (tally: Tally, side: Side, row: RowVersion): void => {
  tally.onlyOn[side]++
  const { only } = tally.keys[side]
  if (only.length < keysMax) only.push(row)
}

const noteDifferent = (
  table: SyncedTable,
  tally: Tally,
  rows: Readonly<Record<Side, RowVersion>>,
  sampleMax: number
): void => {
  const stampUs = { replit: rows.replit.stampUs, external: rows.external.stampUs }
  const version = (side: Side) => ({ present: true, stampUs: stampUs[side] })
  const winner = decide({ replit: version("replit"), external: version("external") }, table.policy)
  const tie = table.policy === "last-write-wins" && stampUs.replit === stampUs.external
  tally.different++
  tally.wins[tie ? "ties" : winner]++
  if (tally.sample.length < sampleMax) tally.sample.push({ key: rows.replit.key, stampUs, winner, tie })
  for (const side of sides) {
    const { different } = tally.keys[side]
    if (different.length < keysMax) different.push(rows[side].key)
  }
}

/** Equal keys that are written in another way on each side, as `Ana` and `ANA` of citext, are one row, not two. */
const matchOtherwiseWritten = Effect.fn("matchOtherwiseWritten")(function*(table: SyncedTable, tally: Tally) {
  const both = yield* databases
  const { external, replit } = tally.keys
  if (replit.only.length === 0 || external.only.length === 0) return
  const theirs = new Map(external.only.map((row) => [JSON.stringify(row.key), row]))
  for (const piece of piecesOf(replit.only)) {
    for (const { asked, key } of yield* both.external.lookUp(table, piece.map((row) => row.key))) {
      const row = piece[asked]!
      const other = theirs.get(JSON.stringify(key))
      if (other === undefined) continue
      tally.onlyOn.replit--
      tally.onlyOn.external--
      replit.only.splice(replit.only.indexOf(row), 1)
      external.only.splice(external.only.indexOf(other), 1)
      noteDifferent(table, tally, { replit: row, external: other }, 0)
    }
  }
})

/**
 * Rows that differ on the one side are looked for on the other by their unique values. One side's rows are enough, if all of
 * them are known; both sides' are asked, for a unique index may be on one side only.
 */
const twins = Effect.fn("twins")(function*(table: SyncedTable, tally: Tally, sampleMax: number) {
  const both = yield* databases
  const pairs = new Map<string, UniqueTwins["sample"][number]>()
  const skipped = new Set<string>()
  const isWhole = (side: Side) => {
    const { different, only } = tally.keys[side]
    return only.length === tally.onlyOn[side] && different.length === tally.different
  }
  if (sides.every((side) => table.shapes[side].uniqueColumns.length === 0)) return noTwins
  for (const side of sides) {
    const { different, only } = tally.keys[side]
    for (const keys of piecesOf([...only.map(({ key }) => key), ...different])) {
      const rows = yield* both[side].lookUp(table, keys)
      const there = yield* both[opposite(side)].twins(table, rows)
      for (const { here, index, there: asked } of there.found) {
        const pair = side === "replit" ? { replit: asked, external: here } : { replit: here, external: asked }
        pairs.set(JSON.stringify([pair.replit, pair.external]), { index, ...pair })
      }
      for (const index of there.skipped) skipped.add(index)
    }
  }
  return {
    count: pairs.size,
    sample: [...pairs.values()].slice(0, sampleMax),
    complete: sides.some(isWhole),
    skipped: [...skipped]
  } satisfies UniqueTwins
})

const noTwins: UniqueTwins = { count: 0, sample: [], complete: true, skipped: [] }

const piecesOf = <A>(all: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(all.length / pieceKeys) }, (_, n) => all.slice(n * pieceKeys, (n + 1) * pieceKeys))

/** Rows of each side that are compared at once, some 10 MB. */
const groupRows = 100_000
/** Keys of each side that are remembered and looked at for unique twins. */
const keysMax = 20_000
/** Keys that one statement looks up. */
const pieceKeys = 5_000
