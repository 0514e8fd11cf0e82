/** What a claim would take away on one PostgreSQL database, and the tables that are held until a person has looked. */
import { Effect } from "effect"
import * as Pg from "pg"
import type { Side } from "../../domain/Side.ts"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import type { Braking, Claim, Contested, Glance, Held, Pause, Weighed } from "../Database.ts"
import { contestedOf, knownOf, ownStage } from "./applyClaim.ts"
import { columnsOf } from "./PgJournal.ts"
import type { PgSession, Row, Transaction } from "./PgSession.ts"
import type { Stems } from "./Stems.ts"
import type { TableSql } from "./TableSql.ts"

/** The part of `Database` that the brake asks. */
export const make = (session: PgSession, stems: Stems): Braking => {
  const { query, transaction } = session
  return {
    glance: (table, after) =>
      Effect.gen(function*() {
        const { pending } = yield* stems.sqlOf(table)
        return yield* glanceOf(session, pending, after, pending)
      }),

    countRows: (table, most) =>
      Effect.gen(function*() {
        const sql = yield* stems.sqlOf(table)
        return yield* countRows(session, sql, table, most)
      }),

    weigh: (table, claim, isOverwrite) =>
      Effect.scoped(Effect.gen(function*() {
        const sql = yield* stems.sqlOf(table)
        // Never committed: the stage goes with the scope, and nothing is locked.
        const tx = yield* session.begin({ table: table.name, ...patient, script: [sql.makeStage(ownStage)] })
        yield* tx.copyFrom(sql.copyStage(ownStage), claim.stream)
        return yield* weighStaged(tx, sql, claim, isOverwrite)
      })),

    held: Effect.map(query(allHeld), heldOf).pipe(
      Effect.catchTag("ActionNeeded", "SchemaDrifted", "WorldRefused", (error) =>
        Effect.flatMap(
          query("select to_regclass('vaivem.held') is not null as there"),
          (rows) => rows[0]?.there === "t" ? Effect.fail(error) : Effect.succeed([])
        ))
    ),

    holdTable: (table, holding) =>
      transaction(Effect.forEach(["replit", "external"] as const, (side) => {
        const { changeId, changes, deletes, overwrites, rows, writers } = holding[side]
        const counted = [String(changeId), deletes, overwrites, rows, changes, writers]
        return query(noteHold, [table.schema, table.name, side, ...counted])
      }, { discard: true })),

    releaseTable: (table, approve) => Effect.asVoid(transaction(query(endHold, [table.schema, table.name, approve]))),

    pauses: Effect.gen(function*() {
      const there = yield* query("select to_regclass('vaivem.pairs') is not null as there")
      return there[0]?.there === "t" ? (yield* query(allPauses)).map(pauseOf) : []
    }),

    pauseTable: (table) => Effect.asVoid(query(notePause, [table?.schema ?? null, table?.name ?? null])),

    resumeTable: (table) => Effect.asVoid(query(endPause, [table?.schema ?? null, table?.name ?? null])),

    giveUp: (table, keys, { journal, upTo }) =>
      Effect.gen(function*() {
        if (keys.length === 0) return 0
        const sql = yield* stems.sqlOf(table)
        const given = columnsOf(table, keys)
        return yield* transaction(
          Effect.gen(function*() {
            yield* query(sql.lockGiven, given)
            if (journal) yield* query(sql.journalGiven, [...given, String(upTo)])
            return Number((yield* query(sql.giveUp, [...given, String(upTo)]))[0]!.keys)
          }),
          { table: table.name, ...patient }
        )
      })
  }
}

/**
 * @param queue where the changes are: a table, or a query in parentheses.
 * @param captured the table that triggers of the app's transactions write to; null where only the sync writes.
 */
export const glanceOf = ({ query }: PgSession, queue: string, after: bigint, captured: string | null) =>
  Effect.map(query(glance(queue, captured), [String(after)]), ([found]): Glance => ({
    changes: Number(found!.changes),
    removals: Number(found!.removals),
    allChanges: Number(found!.all_changes),
    allRemovals: Number(found!.all_removals),
    moves: Number(found!.moves),
    newest: BigInt(String(found!.newest)),
    writers: JSON.parse(String(found!.writers))
  }))

export const countRows = (
  { query, transaction }: PgSession,
  sql: TableSql,
  { name }: SyncedTable,
  most: number | null
) =>
  Effect.map(
    transaction(query(sql.countRows, [most]), { table: name, ...patient }),
    ([found]) => Number(found!.rows)
  )

/** What the rows in the stage would take away here. */
export const weighStaged = Effect.fnUntraced(
  function*(tx: Transaction, sql: TableSql, claim: Claim, isOverwrite: (contested: Contested) => boolean) {
    const found = (yield* tx.script([sql.judge]))[0]!.rows
    const known = yield* knownOf(found, claim)
    const numbers = found.map((row) => contestedOf(row, known.get(Number(row.n)))).filter(isOverwrite)
      .map(({ number }) => number)
    const overwrites = numbers.length === 0 ? [] : yield* tx.query(sql.stagedKeys, [numbers])
    const deletes = yield* tx.query(sql.uncontestedDeletes)
    const moves = claim.moves === 0 ? [] : yield* tx.query(sql.stagedMoves)
    return {
      deletes: deletes.map(keyOf),
      overwrites: overwrites.map(keyOf),
      moves: moves.map((row) => ({ key: keyOf(row), was: JSON.parse(String(row.was)) }))
    } satisfies Weighed
  }
)

/** Looking at a long queue or a large table takes longer than a batch may. */
const patient = { statementTimeoutMs: 60_000 }

const keyOf = (row: Row): Key => JSON.parse(String(row.key))

/** $1 the change after which to count. */
const glance = (queue: string, captured: string | null) =>
  `select count(*) filter (where p.change_id > $1::bigint and p.operation <> 'MARK') as changes,
     count(*) filter (where p.change_id > $1::bigint and p.operation in ('DELETE', 'TRUNCATE')) as removals,
     count(*) filter (where p.operation <> 'MARK') as all_changes,
     count(*) filter (where p.operation in ('DELETE', 'TRUNCATE', 'MARK')) as all_removals,
     ${captured === null ? "0" : "count(*) filter (where p.was1 is not null)"} as moves,
     coalesce(max(p.change_id), 0)::text as newest,
     ${captured === null ? "'[]'" : writersOf(captured)} as writers
   from ${queue} p`

/** Whoever took a change id keeps this lock to its end. */
const writersOf = (queue: string) =>
  `(select coalesce(jsonb_agg(distinct l.virtualtransaction), '[]') from pg_locks l
    where l.locktype = 'relation' and l.relation = ${Pg.escapeLiteral(queue)}::regclass and l.mode = 'RowExclusiveLock'
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and l.pid is distinct from pg_backend_pid())::text`

const allHeld = `select h.table_schema, h.table_name, h.side, h.change_id::text as change_id, h.deletes, h.overwrites,
    h.rows, h.changes, to_jsonb(h.writers)::text as writers, h.approved_id::text as approved_id,
    to_char(h.held_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as since
  from vaivem.held h order by h.table_schema, h.table_name, h.side`

const noteHold = `insert into vaivem.held as h
    (table_schema, table_name, side, change_id, deletes, overwrites, rows, changes, writers, held_at)
  values ($1, $2, $3, $4::bigint, $5::bigint, $6::bigint, $7::bigint, $8::bigint, $9::text[], clock_timestamp())
  on conflict (table_schema, table_name, side) do update set change_id = excluded.change_id,
    deletes = excluded.deletes, overwrites = excluded.overwrites, rows = excluded.rows, changes = excluded.changes,
    writers = excluded.writers, held_at = excluded.held_at`

const endHold = `update vaivem.held h set held_at = null,
    approved_id = case when $3::boolean then greatest(h.change_id, h.approved_id) else h.approved_id end
  where h.table_schema = $1 and h.table_name = $2 and h.held_at is not null`

/** Installed by an older version they have no such column yet. All tables come first. */
const allPauses = `select a.schema, a.name,
    to_char(a.paused_at::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as since
  from (select null as schema, null as name, to_jsonb(p) ->> 'paused_at' as paused_at from vaivem.pairs p
    union all select t.table_schema, t.table_name, to_jsonb(t) ->> 'paused_at' from vaivem.tables t) a
  where a.paused_at is not null order by a.schema nulls first, a.name`

const pauseOf = ({ name, schema, since }: Row): Pause => ({
  table: schema === null || schema === undefined ? null : { schema, name: String(name) },
  since: String(since)
})

/** One statement, so that it is all or nothing without a transaction. $1 schema and $2 name, or null for all tables. */
const notePause = `with pair as (
    update vaivem.pairs p set paused_at = clock_timestamp() where $1::text is null and p.paused_at is null)
  update vaivem.tables t set paused_at = clock_timestamp()
  where t.table_schema = $1 and t.table_name = $2 and t.paused_at is null`

const endPause = `with pair as (
    update vaivem.pairs p set paused_at = null where $1::text is null and p.paused_at is not null)
  update vaivem.tables t set paused_at = null
  where t.paused_at is not null and ($1::text is null or (t.table_schema = $1 and t.table_name = $2))`

/** Two rows a table, external's first. */
const heldOf = (rows: ReadonlyArray<Row>): ReadonlyArray<Held> =>
  rows.filter(({ side }) => side === "replit").map((row) => {
    const of = (side: Side) =>
      rows.find((other) =>
        other.side === side && other.table_schema === row.table_schema && other.table_name === row.table_name
      )!
    const concerned = (side: Side) => ({
      changeId: BigInt(String(of(side).change_id)),
      deletes: Number(of(side).deletes),
      overwrites: Number(of(side).overwrites),
      rows: Number(of(side).rows),
      changes: Number(of(side).changes),
      writers: JSON.parse(String(of(side).writers))
    })
    return {
      table: { schema: String(row.table_schema), name: String(row.table_name) },
      since: row.since ?? null,
      holding: { replit: concerned("replit"), external: concerned("external") },
      approved: {
        replit: BigInt(String(row.approved_id)),
        external: BigInt(String(of("external").approved_id))
      }
    }
  })
