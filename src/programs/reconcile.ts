/**
 * Compares a table's two sides and marks what differs as pending, so that an ordinary cycle makes them equal by the
 * conflict rule, or by what a person chose. First contact, `verify --repair` and a changed column set are all this program.
 *
 * Equal rows are never shipped. Both sides count and hash their rows in ranges of their hashed keys; ranges that differ are
 * divided, until few rows are left in them, whose keys and hashes are exchanged and compared inside the databases.
 */
import { Clock, Effect, Ref, Stream } from "effect"
import { amount } from "../domain/Quantity.ts"
import { differingRanges, division, firstRanges, isCloseEnough, rowsIn } from "../domain/Ranges.ts"
import type { Side } from "../domain/Side.ts"
import { opposite } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { display } from "../domain/TableName.ts"
import type { Compared, Database, Digest, RangeSet } from "../services/Database.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { onBoth } from "./databases.ts"
import { sayProgress } from "./sayProgress.ts"

export interface Reconciled {
  /** Rows compared, per side. */
  readonly rows: Readonly<Record<Side, number>>
  /** Of the ranges that all rows were divided into at first, how many differ. */
  readonly ranges: { readonly compared: number; readonly different: number }
  /** What both databases answered, and what was sent from the one to the other. */
  readonly bytes: number
  readonly replit: Compared
  readonly external: Compared
}

export interface ReconcileOptions {
  /** Whether to mark what differs, and whose version of a row that both have is meant to win where it isn't the rule's choice. */
  readonly mark: boolean
  readonly winner?: Side
  /** What a person chose for a first contact; what is left out goes by the rule. */
  readonly choices?: Choices
  /** Most differing keys to name, per side. */
  readonly sampleMax: number
  /** What it is called while somebody waits for it. */
  readonly what?: string
}

/** What a person may say about rows that a first contact finds. */
export interface Choices {
  /** Whose version of rows that differ wins; the loser is journaled. `newest` is the table's own rule. */
  readonly prefer?: "newest" | Side
  /** What becomes of rows that one side lacks: copied there, or left where they are, unmarked. */
  readonly missing?: "copy" | "keep"
}

/** Compares, and marks when asked to. */
export const reconcile = Effect.fn("reconcile")(function*(table: SyncedTable, options: ReconcileOptions) {
  const sinceMs = yield* Clock.currentTimeMillis
  const suspects = yield* Ref.make<number | null>(null)
  const { what = `Comparing both sides of ${display(table.name)}` } = options
  const look = Effect.map(Ref.get(suspects), (rows) => ({
    what: rows === null ? what : `${what}: ${amount(rows, "row")} may differ`,
    sinceMs,
    rows: null
  }))
  return yield* compareBoth(table, options, suspects).pipe(sayProgress(look))
})

const compareBoth = Effect.fn("compareBoth")(function*(
  table: SyncedTable,
  options: ReconcileOptions,
  suspects: Ref.Ref<number | null>
) {
  const replit = yield* ReplitDb
  const external = yield* ExternalDb
  const bytes = yield* Ref.make(0)
  const first = yield* digestBoth(table, firstRanges, { of: 1, only: null }, bytes)
  const about = {
    rows: { replit: rowsIn(first.replit), external: rowsIn(first.external) },
    ranges: {
      compared: new Set([...first.replit.keys(), ...first.external.keys()]).size,
      different: first.differing.length
    }
  }
  if (first.differing.length === 0) {
    return { ...about, bytes: yield* Ref.get(bytes), replit: same, external: same } satisfies Reconciled
  }
  const found = yield* narrow(table, first, bytes)
  yield* Ref.set(suspects, rowsToCompare(found))
  const compared = yield* Effect.all({
    replit: compareSide(replit, external, table, rangesOn(found, "replit"), options, bytes),
    external: compareSide(external, replit, table, rangesOn(found, "external"), options, bytes)
  }, { concurrency: 2 })
  return { ...about, ...compared, bytes: yield* Ref.get(bytes) } satisfies Reconciled
})

/** Deletes what only one side has and nobody changed meanwhile, and journals it. Returns how many rows of each side. */
export const removeMissing = Effect.fn("removeMissing")(function*(table: SyncedTable) {
  const replit = yield* ReplitDb
  const external = yield* ExternalDb
  const found = yield* differing(table)
  const remove = (here: Database, there: Database) => {
    const ranges = rangesOn(found, here.side)
    return ranges.only.length === 0 ? Effect.succeed(0) : Effect.scoped(
      Effect.flatMap(there.digests(table, ranges), (theirs) => here.removeOnlyHere(table, ranges, theirs))
    )
  }
  return { replit: yield* remove(replit, external), external: yield* remove(external, replit) }
})

/** Both sides' digests of all ranges, narrowed to those that differ. */
export const differing = Effect.fn("differing")(function*(table: SyncedTable) {
  const bytes = yield* Ref.make(0)
  const first = yield* digestBoth(table, firstRanges, { of: 1, only: null }, bytes)
  const rows = { replit: rowsIn(first.replit), external: rowsIn(first.external) }
  return { ...(yield* narrow(table, first, bytes)), rows }
})

/** Whether nothing differs. */
export const isEqual = ({ external, replit }: Reconciled): boolean =>
  replit.onlyHere + replit.different + external.onlyHere + external.different === 0

/** What both sides have in ranges, and which of these differ. */
export interface Digested extends Readonly<Record<Side, ReadonlyMap<number, Digest>>> {
  readonly of: number
  readonly differing: ReadonlyArray<number>
}

const digestBoth = Effect.fnUntraced(
  function*(table: SyncedTable, of: number, within: RangeSet, bytes: Ref.Ref<number>) {
    const { external, replit } = yield* onBoth((database) => database.digest(table, of, within))
    for (const digests of [replit, external]) yield* Ref.update(bytes, (sum) => sum + answerBytes(digests))
    return { of, replit, external, differing: differingRanges(replit, external) } satisfies Digested
  }
)

/** Divides ranges that differ until looking closer would cost more than sending the keys of what is left. */
const narrow = (
  table: SyncedTable,
  found: Digested,
  bytes: Ref.Ref<number>
): Effect.Effect<Digested, SyncError, ReplitDb | ExternalDb> => {
  if (isCloseEnough([found.replit, found.external], found.differing)) return Effect.succeed(found)
  return Effect.flatMap(
    digestBoth(table, found.of * division, rangesOf(found), bytes),
    // Nothing differs any more when a row changed on one side between the two looks; then there is nothing to compare.
    (closer) => narrow(table, closer, bytes)
  )
}

/** Rows of the ranges that differ, on the side that has more of them. */
const rowsToCompare = ({ differing, external, replit }: Digested): number =>
  Math.max(
    ...[replit, external].map((digests) => differing.reduce((sum, range) => sum + (digests.get(range)?.rows ?? 0), 0))
  )

const compareSide = (
  here: Database,
  there: Database,
  table: SyncedTable,
  ranges: RangeSet & { readonly only: ReadonlyArray<number> },
  options: ReconcileOptions,
  bytes: Ref.Ref<number>
) =>
  Effect.scoped(Effect.gen(function*() {
    if (ranges.only.length === 0) return same
    const theirs = yield* there.digests(table, ranges)
    const counted = Stream.tap(theirs, ({ length }) => Ref.update(bytes, (sum) => sum + length))
    return yield* here.compare(table, ranges, counted, {
      ...marking(here.side, options),
      sampleMax: options.sampleMax
    })
  }))

const marking = (here: Side, { choices = {}, mark, winner }: ReconcileOptions) => {
  if (!mark) return { mark: "none" } as const
  if (winner === opposite(here)) return { mark: "only-here" } as const
  return { mark: choices.missing === "keep" ? "different" : "all", wins: choices.prefer === here } as const
}

const rangesOf = ({ differing, of }: Digested) => ({ of, only: differing })

/**
 * Those where the side has rows to compare: an empty table need not be told what the other one holds. A row that came since
 * then is pending.
 */
const rangesOn = ({ differing, of, ...digests }: Digested, side: Side) => ({
  of,
  only: differing.filter((range) => digests[side].has(range))
})

/** As the protocol has them: a message of 7 bytes a row, and 4 bytes before each of its three texts. */
const answerBytes = (digests: ReadonlyMap<number, Digest>) =>
  [...digests].reduce((sum, [range, { hash, rows }]) => sum + 19 + `${range}${rows}${hash}`.length, 0)

const same: Compared = { onlyHere: 0, different: 0, pending: 0, sample: [], marked: 0 }
