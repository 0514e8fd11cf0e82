/** Finds the row that stands in the way of a refused one, so that quarantine can name it and try again when it changes. */
import { Effect } from "effect"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import { RowRefused } from "../../domain/SyncError.ts"
import type { Transaction } from "./PgSession.ts"
import type { TableSql } from "./TableSql.ts"

/** The savepoint to go back to: the stage is there, the failed merge isn't. */
export const beforeMerge = "savepoint vaivem_merge"
export const undoMerge = "rollback to savepoint vaivem_merge"

/**
 * Passes a refusal on, with the key of the blocking row where a unique index says which it is.
 * Only for a batch of one row: larger ones are halved until the row is found.
 */
export const explainRefusal = Effect.fn("explainRefusal")(function*(
  tx: Transaction,
  sql: TableSql,
  table: SyncedTable,
  error: RowRefused
) {
  if (error.sqlState !== "23505" || error.constraint === null) return yield* error
  yield* tx.script([undoMerge])
  const found = (yield* tx.query(uniqueIndexes, [table.name.schema, table.name.name, error.constraint]))[0]
  if (found === undefined || !(JSON.parse(String(found.columns)) as ReadonlyArray<string>).every(travels(table))) {
    return yield* error
  }
  const blocking = (yield* tx.query(sql.blocker({
    expressions: JSON.parse(String(found.expressions)),
    predicate: found.predicate ?? null,
    nullsEqual: found.nulls_equal === "t"
  })))[0]
  if (blocking === undefined) return yield* error
  return yield* new RowRefused({ ...fieldsOf(error), blockedBy: JSON.parse(String(blocking.key)) })
})

const fieldsOf = ({ constraint, message, side, sqlState, table }: RowRefused) => ({
  constraint,
  message,
  side,
  sqlState,
  table
})

const travels = (table: SyncedTable) => (column: string) => table.columns.includes(column)

/**
 * What an index is made of, and which columns that names: one that doesn't travel is in no stage. $1 schema, $2 table,
 * $3 the index's name; null is all but the primary key.
 */
export const uniqueIndexes =
  `select c.relname as name, coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false')::boolean as nulls_equal,
    (select to_jsonb(array_agg(pg_get_indexdef(i.indexrelid, k, true) order by k))::text
     from generate_series(1, i.indnkeyatts) k) as expressions,
    pg_get_expr(i.indpred, i.indrelid) as predicate,
    (select coalesce(to_jsonb(array_agg(distinct a.attname)), '[]')::text
     from pg_attribute a where a.attrelid = i.indrelid and (a.attnum = any (i.indkey) or exists (
       select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
         and d.refobjid = i.indrelid and d.refobjsubid = a.attnum))) as columns
  from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
  join pg_namespace s on s.oid = t.relnamespace
  where s.nspname = $1 and t.relname = $2 and i.indisunique
    and ($3::text is null and not i.indisprimary and i.indislive or c.relname = $3)
  order by c.relname`
