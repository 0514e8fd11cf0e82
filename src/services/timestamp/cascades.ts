/**
 * What a delete on external takes along by foreign keys: children's versions that nobody has seen, which no trigger of ours
 * journals there. They go into the journal before the rows are deleted; the ledger keeps those that were pending or unseen.
 */
import { Effect } from "effect"
import * as Pg from "pg"
import { display, qualified, quote, type TableName } from "../../domain/TableName.ts"
import type { Transaction } from "../pg/PgSession.ts"
import type { TableSql } from "../pg/TableSql.ts"
import type { Ledger } from "./Ledger.ts"

/** A foreign key that deletes rows, or empties their columns, with the row they point at. */
interface Edge {
  readonly parent: TableName
  readonly child: TableName
  readonly cascades: boolean
  readonly childColumns: ReadonlyArray<string>
  readonly parentColumns: ReadonlyArray<string>
  /** All of the child's columns, and those of its primary key. */
  readonly columns: ReadonlyArray<string>
  readonly key: ReadonlyArray<string>
}

/**
 * Once keys are judged and before anything is written. One round trip where the batch deletes nothing, or nothing points at
 * its table.
 */
export const journalCascades = Effect.fn("journalCascades")(function*(tx: Transaction, sql: TableSql, ledger: Ledger) {
  const { name, schema } = sql.name
  const rows = yield* tx.query(edges, [schema, name])
  const found = rows.map(({ edge }): Edge => JSON.parse(String(edge)))
  if (found.length === 0) return
  const known = yield* ledger.waitingIn(found.map(({ child }) => child))
  const isDeleted = (alias: string) =>
    `exists (select from pg_temp.vaivem_stage s where not s.present and ${sql.applies} and ${sql.tIs("s", "k", alias)})`
  for (const { child, columns, condition, key } of pathsFrom(sql.name, found, isDeleted, [])) {
    const about = known.get(display(child))
    // What isn't synced is nobody's to journal.
    if (about === undefined || key.length === 0) continue
    const c = (column: string) => `c.${quote(column)}`
    const texts = `array[${key.map((column) => `${c(column)}::text`).join(", ")}]`
    const stamp = about.stamp === null ? "null::timestamptz" : `${c(about.stamp)}::timestamptz`
    yield* tx.query(
      `insert into pg_temp.vaivem_conflicts (table_schema, table_name, key, reason, lost_operation, lost, lost_stamp)
       select ${Pg.escapeLiteral(child.schema)}, ${Pg.escapeLiteral(child.name)}, ${texts}, 'cascade', 'UPSERT',
         jsonb_object(array[${columns.map(Pg.escapeLiteral).join(", ")}]::text[],
           array[${columns.map((column) => `${c(column)}::text`).join(", ")}]::text[]), ${stamp}
       from ${qualified(child)} c
       where ${condition} and (${stamp} >= 'epoch'::timestamptz + $1::bigint * interval '1 microsecond'
         or ${texts}::text in (select k from jsonb_array_elements_text($2::jsonb) k))`,
      [about.lowUs, about.keys]
    )
  }
})

interface Path {
  readonly child: TableName
  readonly columns: ReadonlyArray<string>
  readonly key: ReadonlyArray<string>
  /** Of the child's row `c`. */
  readonly condition: string
}

/** Every way from a table to rows that go with its own; in a circle of foreign keys each table once. */
const pathsFrom = (
  parent: TableName,
  edges: ReadonlyArray<Edge>,
  goes: (alias: string) => string,
  passed: ReadonlyArray<string>
): ReadonlyArray<Path> =>
  edges.filter((edge) => display(edge.parent) === display(parent) && !passed.includes(display(edge.child))).flatMap(
    ({ cascades, child, childColumns, columns, key, parentColumns }) => {
      const p = `p${passed.length}`
      const condition = (alias: string) =>
        `exists (select from ${qualified(parent)} ${p} where ${goes(p)} and ${
          childColumns.map((column, index) => `${p}.${quote(parentColumns[index]!)} = ${alias}.${quote(column)}`).join(
            " and "
          )
        })`
      const further = cascades ? pathsFrom(child, edges, condition, [...passed, display(parent)]) : []
      return [{ child, columns, key, condition: condition("c") }].concat(further)
    }
  )

/** $1 schema, $2 table. None unless the stage has deletes. */
const edges = `
  with recursive going (oid) as (
    select c.oid from pg_class c join pg_namespace s on s.oid = c.relnamespace
    where s.nspname = $1 and c.relname = $2 and exists (select from pg_temp.vaivem_stage s where not s.present)
    union
    select o.conrelid from going g join pg_constraint o on o.confrelid = g.oid
    where o.contype = 'f' and o.confdeltype = 'c' and o.conparentid = 0
  )
  select jsonb_build_object(
    'parent', jsonb_build_object('schema', ps.nspname, 'name', p.relname),
    'child', jsonb_build_object('schema', cs.nspname, 'name', c.relname),
    'cascades', o.confdeltype = 'c',
    'childColumns', (select jsonb_agg(a.attname order by k.n) from unnest(o.conkey) with ordinality k (attnum, n)
      join pg_attribute a on a.attrelid = o.conrelid and a.attnum = k.attnum),
    'parentColumns', (select jsonb_agg(a.attname order by k.n) from unnest(o.confkey) with ordinality k (attnum, n)
      join pg_attribute a on a.attrelid = o.confrelid and a.attnum = k.attnum),
    'columns', (select jsonb_agg(a.attname order by a.attnum) from pg_attribute a
      where a.attrelid = o.conrelid and a.attnum > 0 and not a.attisdropped),
    'key', (select coalesce(jsonb_agg(a.attname order by k.n), '[]') from pg_index i
      cross join unnest(i.indkey) with ordinality k (attnum, n)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
      where i.indrelid = o.conrelid and i.indisprimary))::text as edge
  from going g
  join pg_constraint o on o.confrelid = g.oid and o.contype = 'f' and o.confdeltype in ('c', 'n', 'd') and o.conparentid = 0
  join pg_class c on c.oid = o.conrelid join pg_namespace cs on cs.oid = c.relnamespace
  join pg_class p on p.oid = o.confrelid join pg_namespace ps on ps.oid = p.relnamespace
  order by 1`
