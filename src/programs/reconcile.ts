/**
 * Compares a table's two sides and marks what differs as pending, so that an ordinary cycle makes them equal by the
 * conflict rule. First contact, `verify --repair` and a changed column set are all this program.
 *
 * Equal rows are never shipped: both sides hash their rows into buckets, and only buckets that differ exchange keys and
 * hashes, which are then compared inside the databases.
 */
import { Effect } from "effect"
import type { Side } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import type { BucketSet, Compared, Database, Digest } from "../services/Database.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"

export interface Reconciled {
  /** Rows compared, per side. */
  readonly rows: Readonly<Record<Side, number>>
  readonly buckets: { readonly of: number; readonly differing: number }
  readonly replit: Compared
  readonly external: Compared
}

export interface ReconcileOptions {
  /** Whether to mark what differs, and whose version of a row that both have is meant to win where it isn't the rule's choice. */
  readonly mark: boolean
  readonly winner?: Side
  /** Most differing keys to name, per side. */
  readonly sampleMax: number
}

/** Compares, and marks when asked to. */
export const reconcile = Effect.fn("reconcile")(function*(table: SyncedTable, options: ReconcileOptions) {
  const replit = yield* ReplitDb
  const external = yield* ExternalDb
  const rows = yield* both(replit, external, (database) => database.count(table.name))
  const of = bucketsFor(Math.max(rows.replit, rows.external))
  const digests = yield* both(replit, external, (database) => database.digest(table, of))
  const differing = differingBuckets(digests.replit, digests.external)
  const compared = { rows: { replit: rowsIn(digests.replit), external: rowsIn(digests.external) } }
  if (differing.length === 0) {
    return { ...compared, buckets: { of, differing: 0 }, replit: same, external: same } satisfies Reconciled
  }
  const only = differing.length === of ? null : differing
  return {
    ...compared,
    buckets: { of, differing: differing.length },
    replit: yield* compareSide(replit, external, table, { of, only }, options),
    external: yield* compareSide(external, replit, table, { of, only }, options)
  } satisfies Reconciled
})

/** Whether nothing differs. */
export const isEqual = ({ external, replit }: Reconciled): boolean =>
  replit.onlyHere + replit.different + external.onlyHere + external.different === 0

const compareSide = (
  here: Database,
  there: Database,
  table: SyncedTable,
  buckets: BucketSet,
  options: ReconcileOptions
) =>
  Effect.scoped(Effect.gen(function*() {
    const theirs = yield* there.digests(table, buckets)
    const mark = !options.mark ? "none" : options.winner === there.side ? "only-here" : "all"
    return yield* here.compare(table, buckets, theirs, { mark, sampleMax: options.sampleMax })
  }))

const both = <A, E, R>(replit: Database, external: Database, ask: (database: Database) => Effect.Effect<A, E, R>) =>
  Effect.all({ replit: ask(replit), external: ask(external) }, { concurrency: 2 })

/** About 64 rows a bucket, so that one difference costs a few kilobytes; at most 16,384 buckets (about 600 kB of digests). */
const bucketsFor = (rows: number): number => Math.min(16_384, 2 ** Math.ceil(Math.log2(Math.max(1, rows / 64))))

const differingBuckets = (a: ReadonlyMap<number, Digest>, b: ReadonlyMap<number, Digest>): ReadonlyArray<number> =>
  [...new Set([...a.keys(), ...b.keys()])]
    .filter((bucket) => {
      const [x, y] = [a.get(bucket), b.get(bucket)]
      return x?.rows !== y?.rows || x?.hash !== y?.hash
    })
    .sort((x, y) => x - y)

const rowsIn = (digests: ReadonlyMap<number, Digest>) => [...digests.values()].reduce((sum, { rows }) => sum + rows, 0)

const same: Compared = { onlyHere: 0, different: 0, pending: 0, sample: [], marked: 0 }
