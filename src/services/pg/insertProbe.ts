/** Makes a row for `probe` that satisfies a table's own constraints, as far as they can be known from the catalog. */
import { Effect } from "effect"
import { label } from "../../domain/Side.ts"
import type { Column, Key, SyncedTable } from "../../domain/SyncedTable.ts"
import { ActionNeeded } from "../../domain/SyncError.ts"
import { display, qualified, quote } from "../../domain/TableName.ts"
import type { PgSession, Row } from "./PgSession.ts"

/**
 * Inserts it, as the app would, and returns its key. Columns that may be null or have a default are left alone, but for
 * the first text that may say what the row is; others get the first of some plain values that the table accepts.
 */
export const insertProbe = Effect.fn("insertProbe")(function*(session: PgSession, table: SyncedTable, marker: string) {
  const shape = table.shapes[session.side]
  const t = qualified(table.name)
  const needed = shape.columns.filter((column) => {
    if (column.generated || column.identity !== null) return false
    if (table.key.includes(column.name)) return !column.hasDefault
    return column.notNull && !column.hasDefault
  })
  const said = shape.columns.find((column) =>
    isText(column) && !needed.includes(column) && !column.generated && !table.key.includes(column.name)
  )
  const columns = said === undefined ? needed : [...needed, said]
  const labels = yield* choices(session, table)
  const expressions = columns.map((column) => expressionFor(column, labels.get(column.name) ?? [], marker))
  const missing = columns.find((_, index) => expressions[index] === null)
  if (missing !== undefined) {
    return yield* new ActionNeeded({
      side: session.side,
      table: table.name,
      message:
        `No probe can be made for ${display(table.name)} on the ${label(session.side)} side: column "${missing.name}" `
        + `(${missing.type}) needs a value that can't be guessed.`
    })
  }
  const rows: ReadonlyArray<Row> = yield* session.transaction(
    session.query(
      `insert into ${t} ${
        columns.length === 0
          ? "default values"
          : `(${columns.map(({ name }) => quote(name)).join(", ")}) select ${
            expressions.join(", ")
          } where $1::text is not null`
      } returning to_jsonb(array[${table.key.map((column) => `${quote(column)}::text`).join(", ")}])::text as key`,
      columns.length === 0 ? [] : [marker]
    ),
    { table: table.name, searchPath: "theirs" }
  ).pipe(Effect.catchTag("RowRefused", (error) =>
    new ActionNeeded({
      side: session.side,
      table: table.name,
      message: `Table ${display(table.name)} on the ${label(session.side)} side refuses the probe row: ${error.message}`
    })))
  return JSON.parse(String(rows[0]!.key)) as Key
})

const isText = ({ base }: Column) => base === "text" || base === "character varying"

/** Values that a column is known to accept: labels of its enum, texts in its checks, keys that its foreign key points at. */
const choices = Effect.fn("choices")(function*(session: PgSession, table: SyncedTable) {
  const rows = yield* session.query(
    `select a.attname as name, coalesce(
       (select e.enumlabel from pg_enum e where e.enumtypid = a.atttypid order by e.enumsortorder limit 1),
       (select (regexp_match(pg_get_constraintdef(o.oid), '''([^'']+)''::'))[1] from pg_constraint o
        where o.conrelid = c.oid and o.contype = 'c' and o.conkey = array[a.attnum] limit 1)) as choice,
       (select format('(select %I from %I.%I limit 1)', fa.attname, fn.nspname, fc.relname)
        from pg_constraint o join pg_class fc on fc.oid = o.confrelid join pg_namespace fn on fn.oid = fc.relnamespace
        join pg_attribute fa on fa.attrelid = fc.oid and fa.attnum = o.confkey[1]
        where o.conrelid = c.oid and o.contype = 'f' and o.conkey = array[a.attnum] limit 1) as parent
     from pg_class c join pg_namespace s on s.oid = c.relnamespace
     join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where s.nspname = $1 and c.relname = $2`,
    [table.name.schema, table.name.name]
  )
  return new Map(rows.map((row): readonly [string, ReadonlyArray<string>] => [
    String(row.name),
    [
      ...(row.parent === null || row.parent === undefined ? [] : [row.parent]),
      ...(row.choice === null || row.choice === undefined ? [] : [`'${row.choice.replaceAll("'", "''")}'`])
    ]
  ]))
})

const expressionFor = (column: Column, known: ReadonlyArray<string>, marker: string): string | null => {
  if (known[0] !== undefined) return `${known[0]}::${column.type}`
  if (isText(column)) {
    const length = /\((\d+)\)/.exec(column.type)?.[1]
    // The whole marker where there is room; unique constraints want its random end, which comes first.
    return length === undefined ? "$1::text" : `left($1::text, ${Math.min(Number(length), marker.length)})`
  }
  switch (column.base) {
    case "uuid":
      return "gen_random_uuid()"
    case "smallint":
      return "(random() * 32000)::smallint"
    case "integer":
    case "bigint":
      return "(1000000000 + random() * 1000000000)::integer"
    case "numeric":
    case "real":
    case "double precision":
      return `1::${column.type}`
    case "boolean":
      return "false"
    case "date":
    case "timestamp with time zone":
    case "timestamp without time zone":
    case "time without time zone":
      return `now()::${column.type}`
    case "json":
    case "jsonb":
      return `'{}'::${column.type}`
    case "bytea":
      return "''::bytea"
    default:
      return column.type.endsWith("[]") ? `'{}'::${column.type}` : null
  }
}
