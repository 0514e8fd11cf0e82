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
 * Passes a refusal on, with the key of the blocking row where a unique constraint on plain columns says which it is.
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
  const columns = (yield* tx.query(indexColumns, [table.name.schema, table.name.name, error.constraint]))
    .map((row) => row.name)
  const known = columns.filter((name) => name !== null && name !== undefined && table.columns.includes(name))
  if (columns.length === 0 || known.length !== columns.length) return yield* error
  const blocking = (yield* tx.query(sql.blocker(known as ReadonlyArray<string>)))[0]
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

/** A null for a column that is an expression. */
const indexColumns = `select a.attname as name
  from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
  join pg_namespace s on s.oid = t.relnamespace
  cross join unnest(i.indkey) with ordinality as k (attnum, position)
  left join pg_attribute a on a.attrelid = t.oid and a.attnum = k.attnum and k.attnum <> 0
  where s.nspname = $1 and t.relname = $2 and c.relname = $3 and k.position <= i.indnkeyatts
  order by k.position`
