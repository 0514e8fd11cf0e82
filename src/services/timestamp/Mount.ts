/**
 * The ledger's entries of some keys, brought to external for the length of a transaction: temporary tables of the shapes
 * that the statements of `TableSql` work on. So there is one text of every statement, wherever the queue is kept.
 *
 * Entries travel as one JSON text, which this process doesn't look into.
 */
import { Effect } from "effect"
import * as Pg from "pg"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import { qualified } from "../../domain/TableName.ts"
import type { Transaction } from "../pg/PgSession.ts"
import type { Places, TableSql } from "../pg/TableSql.ts"
import * as TableSqlOf from "../pg/TableSql.ts"

/**
 * A table's statements, working on what is mounted.
 *
 * @param moveOn source of `vaivem.move_on`, which external doesn't have: it runs as a DO block there.
 * @param place for tables whose rows come along with another one's, from 1; each has mounted tables of its own.
 */
export const sqlOf = (table: SyncedTable, moveOn: string, place: number | null = null): TableSql =>
  TableSqlOf.make(table, "external", "", placesOf(moveOn, place))

const placesOf = (moveOn: string, place: number | null): Places => {
  const suffix = place === null ? "" : `_${place}`
  return {
    areElsewhere: true,
    pending: `pg_temp.vaivem_pending${suffix}`,
    history: `pg_temp.vaivem_history${suffix}`,
    conflicts: "pg_temp.vaivem_conflicts",
    quarantine: "pg_temp.vaivem_quarantine",
    moveOn: (sequence, column) =>
      `do $vaivem$ declare p_sequence constant text := ${Pg.escapeLiteral(qualified(sequence))};
         p_column constant text := ${Pg.escapeLiteral(column)};
       begin ${moveOn}; end $vaivem$`
  }
}

/** Makes a table's queue and history; with `shared`, also the tables that are the same for all. */
export const makeQueue = (sql: TableSql, shared: boolean): ReadonlyArray<string> => {
  const made = ({ history, pending }: TableSql["asMounted"]) => [
    `create temp table ${bare(pending)} on commit drop as select 0::bigint as change_id, ''::text as operation,
       ${sql.mountedKey("k")}, ${sql.mountedKey("was")}, now() as changed_at, 0::smallint as bounces
     from ${sql.t} t with no data`,
    `create temp table ${bare(history)} on commit drop as select 0::bigint as change_id, 0::bigint as source_change_id,
       ''::text as operation, ${
      sql.mountedKey("k")
    }, now() as changed_at, ''::text as origin from ${sql.t} t with no data`
  ]
  return [...made(sql.asMounted), ...(shared ? sharedTables : [])]
}

const bare = (name: string) => name.replace("pg_temp.", "")

/** As `sql/` makes them in our schema, as far as statements ask for it. */
const sharedTables = [
  `create temp table vaivem_conflicts (id uuid not null default gen_random_uuid(), table_schema text, table_name text,
     key text[], reason text, policy text, lost_operation text, lost jsonb, won jsonb, lost_stamp timestamptz,
     won_stamp timestamptz, decided_at timestamptz not null default clock_timestamp(), restored_at timestamptz,
     kept_at timestamptz)
   on commit drop`,
  `create temp table vaivem_quarantine (id uuid not null default gen_random_uuid(), table_schema text, table_name text,
     key text[], change_id bigint, sqlstate text, message text, constraint_name text, blocked_by text[],
     attempts integer not null default 1, since timestamptz not null default clock_timestamp(),
     next_attempt_at timestamptz not null default clock_timestamp(), unique (table_schema, table_name, key))
   on commit drop`,
  "create temp table vaivem_held_back (id uuid, next_attempt_at timestamptz) on commit drop"
]

/** Fills them. What was there before goes. */
export const fill = Effect.fn("Mount.fill")(function*(tx: Transaction, sql: TableSql, entries: string) {
  const { history, pending } = sql.asMounted
  const keys = (alias: string) => sql.keyTypes.map((_, index) => `${alias}${index + 1}`).join(", ")
  yield* tx.query(
    `with entries as (select $1::jsonb as e), p as (
       insert into ${pending} (change_id, operation, ${keys("k")}, changed_at, bounces)
       select (x ->> 0)::bigint, x ->> 1, ${sql.unmounted("(x ->> 2)")}, (x ->> 3)::timestamptz, (x ->> 4)::smallint
       from entries, jsonb_array_elements(e -> 'pending') x
     ), h as (
       insert into ${history} (source_change_id, ${keys("k")})
       select (x ->> 0)::bigint, ${sql.unmounted("(x ->> 1)")} from entries, jsonb_array_elements(e -> 'history') x
     ), q as (
       insert into pg_temp.vaivem_quarantine
       select q.* from entries, jsonb_populate_recordset(null::pg_temp.vaivem_quarantine, e -> 'quarantine') q
     )
     insert into pg_temp.vaivem_held_back
     select q.id, q.next_attempt_at
     from entries, jsonb_populate_recordset(null::pg_temp.vaivem_quarantine, e -> 'quarantine') q`,
    [entries]
  )
  // Without an index a look for each key of a batch would read all entries each time.
  yield* tx.script([
    `create index if not exists vaivem_of_${bare(pending)} on ${pending} (${keys("k")}, change_id)`,
    `create index if not exists vaivem_of_${bare(history)} on ${history} (${keys("k")}, source_change_id)`,
    `analyze ${pending}`,
    `analyze ${history}`
  ])
})

/** Takes them out again, unless there were none yet. */
export const empty = (tx: Transaction, sql: TableSql, isFirst: boolean) => {
  const { history, pending } = sql.asMounted
  const all = [pending, history, "pg_temp.vaivem_quarantine", "pg_temp.vaivem_held_back"]
  return isFirst ? Effect.void : tx.script(all.map((name) => `delete from ${name}`))
}

/**
 * What a transaction has left of them, for `Ledger.settle`: entries that went, keys that were applied, the quarantine.
 *
 * @param seen versions of rows that need not be looked at again: an expression.
 */
export const left = (sql: TableSql, seen = "'[]'::jsonb"): string => leaving(sql, `'seen', ${seen},`)

/** The same of a transaction that commits: by its number external is known to be the same later on. */
export const committing = (sql: TableSql): string =>
  leaving(sql, "'seen', '[]'::jsonb, 'committed', pg_current_xact_id()::text,")

const leaving = (sql: TableSql, also: string): string => {
  const { history } = sql.asMounted
  return `select jsonb_build_object(
      'settled', (select coalesce(jsonb_agg(h.change_id), '[]') from ${history} h where h.change_id is not null),
      ${also}
      'applied', (select coalesce(jsonb_agg(jsonb_build_array(h.source_change_id, ${sql.keyTexts("h")}::text)), '[]')
                  from ${history} h where h.source_change_id is not null and h.change_id is null and h.origin is not null),
      ${quarantineLeft})::text as done`
}

/** Entries that were taken out, and those that are new or due at another time. */
export const quarantineLeft = `
      'released', (select coalesce(jsonb_agg(b.id), '[]') from pg_temp.vaivem_held_back b
        where not exists (select from pg_temp.vaivem_quarantine q where q.id = b.id)),
      'quarantine', (select coalesce(jsonb_agg(q), '[]') from pg_temp.vaivem_quarantine q
        where not exists (select from pg_temp.vaivem_held_back b
          where b.id = q.id and b.next_attempt_at = q.next_attempt_at))`

/** Versions that lost, as they go into the ledger. */
export const losers = "select coalesce(jsonb_agg(c), '[]')::text as conflicts from pg_temp.vaivem_conflicts c"

/** Nothing is known of any key. */
export const nothing: string = JSON.stringify({ pending: [], history: [], quarantine: [] })
