/**
 * Finds deletes where nothing may be installed: keys of both sides are counted and hashed in ranges, and ranges that differ
 * are looked at closer. A key that Replit has and external hasn't, and that nothing on Replit waits for, was deleted on
 * external. One that only external has and that waits nowhere came with a stamp that no scan looked at.
 *
 * External is read first. What moves between the two looks is found to be otherwise when it is claimed: whether a row is
 * there is said by external's own snapshot then.
 */
import { Effect, Stream } from "effect"
import { differingRanges, division, firstRanges, isCloseEnough, rowsIn } from "../../domain/Ranges.ts"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import type { Digest, RangeSet } from "../Database.ts"
import { byHash, patient } from "../pg/PgComparison.ts"
import type { PgSession } from "../pg/PgSession.ts"
import type { Stems } from "../pg/Stems.ts"
import type { TableSql } from "../pg/TableSql.ts"
import type { Ledger } from "./Ledger.ts"

interface Side {
  readonly session: PgSession
  readonly sql: TableSql
}

/** @param replit what Replit's own objects are named. */
export const sweep = Effect.fn("sweep")(function*(
  session: PgSession,
  stems: Stems,
  ledger: Ledger,
  replit: Stems,
  table: SyncedTable
) {
  const external: Side = { session, sql: stems.readingSqlOf(table) }
  const ours: Side = { session: ledger.session, sql: yield* replit.sqlOf(table) }
  const since = (yield* ledger.session.query("select extract(epoch from clock_timestamp())::text as now"))[0]!.now
  const first = yield* digestBoth(external, ours, table, firstRanges, { of: 1, only: null })
  const isEmpty = rowsIn(first.external) === 0
  const ranges = first.differing.length === 0 ? null : yield* narrow(external, ours, table, first)
  yield* note(external, ours, ledger, table, ranges, { isEmpty, since: String(since) })
})

interface Digested {
  readonly of: number
  readonly external: ReadonlyMap<number, Digest>
  readonly replit: ReadonlyMap<number, Digest>
  readonly differing: ReadonlyArray<number>
}

const digestBoth = Effect.fnUntraced(
  function*(external: Side, ours: Side, table: SyncedTable, of: number, within: RangeSet) {
    const theirs = yield* digest(external, table, of, within)
    const replit = yield* digest(ours, table, of, within)
    return { of, external: theirs, replit, differing: differingRanges(theirs, replit) } satisfies Digested
  }
)

const digest = ({ session, sql }: Side, { name }: SyncedTable, of: number, within: RangeSet) =>
  Effect.map(
    session.transaction(session.query(sql.keyDigest(of, within)), {
      ...patient,
      settings: [...patient.settings, ...byHash],
      table: name
    }),
    (rows) =>
      new Map(rows.map((row): readonly [number, Digest] => [
        Number(row.range),
        { rows: Number(row.rows), hash: String(row.hash) }
      ]))
  )

/** Null when nothing differs any more. */
const narrow = (
  external: Side,
  ours: Side,
  table: SyncedTable,
  found: Digested
): Effect.Effect<RangeSet | null, SyncError> => {
  const ranges = { of: found.of, only: found.differing }
  if (found.differing.length === 0) return Effect.succeed(null)
  if (isCloseEnough([found.external, found.replit], found.differing)) return Effect.succeed(ranges)
  return Effect.flatMap(
    digestBoth(external, ours, table, found.of * division, ranges),
    (closer) => narrow(external, ours, table, closer)
  )
}

/** Keys go from external to Replit as a stream, and are compared there, beside Replit's queue and the ledger. */
const note = Effect.fnUntraced(function*(
  external: Side,
  { session, sql }: Side,
  ledger: Ledger,
  { name }: SyncedTable,
  ranges: RangeSet | null,
  { isEmpty, since }: { readonly isEmpty: boolean; readonly since: string }
) {
  const id = yield* ledger.idOf(name)
  yield* Effect.scoped(Effect.gen(function*() {
    const tx = yield* session.begin({ ...patient, table: name, script: ranges === null ? [] : [sql.makeTheirs] })
    if (ranges !== null) {
      // Read to its end before the first look at Replit's rows.
      const keys = Stream.unwrapScoped(
        Effect.map(
          external.session.begin({ ...patient, table: name }),
          (theirs) => theirs.copyTo(external.sql.copyKeys(ranges))
        )
      )
      yield* tx.copyFrom(sql.copyTheirs, keys)
      yield* tx.script(["analyze pg_temp.vaivem_theirs"])
      const deleted = (yield* tx.query(noteDeletes(sql, ranges), [id, since]))[0]!
      yield* tx.query(noteInserts(sql), [id])
      if (isEmpty && Number(deleted.rows) > 0) {
        yield* tx.query("update vaivem.ledger_tables set emptied_id = $2::bigint where id = $1", [id, deleted.newest])
      }
    }
    yield* tx.query("update vaivem.ledger_tables set swept_at = clock_timestamp() where id = $1", [id])
    yield* tx.commit()
  }))
})

/**
 * Whether all of Replit's changes are in its queue: a row that came there unlogged would pass for one that was deleted on
 * external. Where it isn't so, the next set-up compares.
 */
const isCaptured = (sql: TableSql) =>
  `exists (
    select from vaivem.tables v where ${
    sql.isHere("v")
  } and v.contract is not null and v.fingerprint = vaivem.fingerprint(v.table_schema, v.table_name)
      and not exists (select from vaivem.missed m where m.table_schema = v.table_schema and m.table_name = v.table_name))`

/** $1 the ledger's table, $2 since when, in seconds. A key may be pending already: changed before it was deleted. */
const noteDeletes = (sql: TableSql, ranges: RangeSet) => `
  with noted as (
    insert into vaivem.ledger_pending (table_id, operation, key, changed_at)
    select $1, 'DELETE', ${sql.tKeyTexts}, to_timestamp($2::float8) from ${sql.t} t
    where ${isCaptured(sql)} and ${sql.inRanges(ranges)}
      and not exists (select from pg_temp.vaivem_theirs o where ${sql.tIs("o")})
      and not exists (select from ${sql.pending} p where ${sql.tIs("p")})
      and not exists (select from vaivem.quarantine q where ${sql.isHere("q")} and q.key = ${sql.tKeyTexts})
      and not exists (select from vaivem.ledger_pending l
        where l.table_id = $1 and l.key = ${sql.tKeyTexts} and l.operation = 'DELETE')
    returning change_id)
  select count(*) as rows, max(n.change_id)::text as newest from noted n`

/** $1 the ledger's table. */
const noteInserts = (sql: TableSql) => `
  insert into vaivem.ledger_pending (table_id, operation, key)
  select $1, 'UPSERT', ${sql.keyTexts("o")} from pg_temp.vaivem_theirs o
  where ${isCaptured(sql)} and not exists (select from ${sql.t} t where ${sql.tIs("o")})
    and not exists (select from ${sql.pending} p where ${sql.same("p", "o")})
    and not exists (select from vaivem.quarantine q where ${sql.isHere("q")} and q.key = ${sql.keyTexts("o")})
    and not exists (select from vaivem.ledger_pending l where l.table_id = $1 and l.key = ${sql.keyTexts("o")})`
