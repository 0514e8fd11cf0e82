/** What the editor must know of a database to write what its schema takes: read from the catalog, whatever the tables are. */
import { Effect } from "effect"
import { display, qualified, type TableName } from "../../src/domain/TableName.ts"
import type { TestClient } from "../support/TestClient.ts"

export interface SampleColumn {
  readonly name: string
  /** The type below domains, as `character varying`, `integer` or `text[]`'s element type. */
  readonly type: string
  readonly isArray: boolean
  /** E.g. the 20 of `varchar(20)`; null where there is none. */
  readonly length: number | null
  /** Of `numeric(5,2)`: 5 and 2. */
  readonly precision: number | null
  readonly scale: number | null
  /** Labels of an enum, else empty. */
  readonly labels: ReadonlyArray<string>
  readonly notNull: boolean
  readonly hasDefault: boolean
  readonly generated: boolean
  /** `a` for ALWAYS, `d` for BY DEFAULT, else empty. */
  readonly identity: string
}

export interface ForeignKey {
  readonly columns: ReadonlyArray<string>
  readonly parent: TableName
  readonly parentColumns: ReadonlyArray<string>
}

export interface SampleTable {
  readonly name: TableName
  /** As statements name it. */
  readonly sql: string
  readonly columns: ReadonlyArray<SampleColumn>
  readonly key: ReadonlyArray<string>
  readonly foreignKeys: ReadonlyArray<ForeignKey>
  /** Columns of unique indexes beside the key that are plain lists of columns. */
  readonly uniques: ReadonlyArray<ReadonlyArray<string>>
  /** Tables that point here, with their columns. */
  readonly children: ReadonlyArray<{ readonly table: TableName; readonly key: ForeignKey }>
}

/** All tables with a primary key that aren't partitions, of all schemas but the system's and ours. */
export const read = Effect.fn("readSchema")(function*(client: TestClient) {
  const tables = yield* client.query<{ schema: string; name: string }>(tablesSql)
  const found: Array<Omit<SampleTable, "children">> = []
  for (const name of tables) {
    const sql = qualified(name)
    const columns = yield* client.query<Omit<SampleColumn, "labels"> & { labels: string }>(columnsSql, [sql])
    const keys = yield* client.query<{ columns: string; primary: boolean }>(uniquesSql, [sql])
    const foreignKeys = yield* client.query<{ columns: string; schema: string; name: string; parentColumns: string }>(
      foreignKeysSql,
      [sql]
    )
    found.push({
      name,
      sql,
      columns: columns.map((column) => Object.assign(column, { labels: list(column.labels) })),
      key: list(keys.find(({ primary }) => primary)?.columns ?? "[]"),
      uniques: keys.filter(({ primary }) => !primary).map(({ columns }) => list(columns)),
      foreignKeys: foreignKeys.map(({ columns, name, parentColumns, schema }) => ({
        columns: list(columns),
        parent: { schema, name },
        parentColumns: list(parentColumns)
      }))
    })
  }
  return found.map((table): SampleTable =>
    Object.assign(table, {
      children: found.flatMap(({ foreignKeys, name }) =>
        foreignKeys.filter(({ parent }) => display(parent) === display(table.name)).map((key) => ({ table: name, key }))
      )
    })
  )
})

/** Lists come as JSON: the client gives texts. */
const list = (json: string): ReadonlyArray<string> => JSON.parse(json) as ReadonlyArray<string>

const tablesSql = `
  select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('vaivem', 'information_schema')
    and n.nspname not like 'pg\\_%' and exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
  order by n.nspname collate "C", c.relname collate "C"`

const columnsSql = `
  with recursive base as (
    select a.attnum, a.atttypid as type, a.atttypmod as modifier from pg_attribute a
    where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped
    union all
    select b.attnum, t.typbasetype, case when t.typtypmod > 0 then t.typtypmod else b.modifier end
    from base b join pg_type t on t.oid = b.type where t.typtype = 'd'
  )
  select a.attname as name, format_type(coalesce(nullif(t.typelem, 0), t.oid), null) as type,
    t.typelem <> 0 and t.typlen = -1 as "isArray",
    case when b.modifier > 4 and t.typname in ('varchar', 'bpchar') then b.modifier - 4
      when t.typname in ('bit', 'varbit') then nullif(b.modifier, -1) end as length,
    case when b.modifier > 4 and t.typname = 'numeric' then (b.modifier - 4) >> 16 end as precision,
    case when b.modifier > 4 and t.typname = 'numeric' then (b.modifier - 4) & 65535 end as scale,
    (select coalesce(json_agg(e.enumlabel order by e.enumsortorder), '[]') from pg_enum e where e.enumtypid = t.oid)::text as labels,
    a.attnotnull as "notNull", a.atthasdef or a.attidentity <> '' as "hasDefault", a.attgenerated <> '' as generated,
    a.attidentity as identity
  from base b join pg_type t on t.oid = b.type and t.typtype <> 'd'
  join pg_attribute a on a.attrelid = $1::regclass and a.attnum = b.attnum
  order by a.attnum`

const names = (numbers: string, relation: string) => `
  (select json_agg(a.attname order by k.position) from unnest(${numbers}) with ordinality as k (number, position)
   join pg_attribute a on a.attrelid = ${relation} and a.attnum = k.number)::text`

const uniquesSql = `
  select ${names("i.indkey", "i.indrelid")} as columns, i.indisprimary as primary from pg_index i
  where i.indrelid = $1::regclass and i.indisunique and i.indexprs is null order by i.indexrelid`

const foreignKeysSql = `
  select ${names("c.conkey", "c.conrelid")} as columns, n.nspname as schema, p.relname as name,
    ${names("c.confkey", "c.confrelid")} as "parentColumns"
  from pg_constraint c join pg_class p on p.oid = c.confrelid join pg_namespace n on n.oid = p.relnamespace
  where c.conrelid = $1::regclass and c.contype = 'f' and not p.relispartition
  order by array_length(c.conkey, 1) desc, c.oid`
