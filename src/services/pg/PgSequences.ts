/**
 * The sequences that give ids, in a PostgreSQL database: what the catalog says about them, splitting them, and the
 * statement that keeps one ahead of rows that are applied.
 */
import { Effect } from "effect"
import * as Pg from "pg"
import type { IdSequence, SequenceSettings } from "../../domain/IdSequence.ts"
import { isUp } from "../../domain/IdSequence.ts"
import { label } from "../../domain/Side.ts"
import { Contended } from "../../domain/SyncError.ts"
import type { TableName } from "../../domain/TableName.ts"
import { display, qualified, quote } from "../../domain/TableName.ts"
import type { Catalog } from "../Database.ts"
import type { PgSession, Row } from "./PgSession.ts"

/** The part of `Database` that knows sequences. */
export const make = (session: PgSession): Pick<Catalog, "sequences" | "splitSequence"> => ({
  sequences: (names) =>
    session.transaction(describeAll(session, names), {
      isolation: "repeatable read",
      // The highest id of a column that no index begins with takes a look at the whole table.
      statementTimeoutMs: 60_000
    }),
  splitSequence: (name, settings) =>
    session.transaction(split(session, name, settings), {
      // While it waits for transactions that have used the sequence, the app's next use waits behind it.
      settings: [["lock_timeout", "500"]]
    }).pipe(Effect.mapError((error) => error._tag === "Contended" ? inUse(session, name, error) : error))
})

/**
 * Lateral to `c`, a table in pg_class: its columns that a primary key or unique index holds, with the sequences that
 * give them their values, by a plain default or as identity, whoever owns those. Of a partitioned table those of
 * partitions count too: rows may be written into one directly. Values that an expression makes of a sequence's are not
 * whole numbers that could be compared, so they are left out.
 */
export const sequencesOfTable = `
  select distinct a.attname, format_type(b.oid, null) as base, sn.nspname as schema, s.relname as name, s.oid as sequence
  from pg_attribute a
  join pg_type y on y.oid = a.atttypid
  join pg_type b on b.oid = case when y.typtype = 'd' then y.typbasetype else y.oid end
  join (select c.oid as relid union select p.relid from pg_partition_tree(c.oid) p) r on true
  -- offset 0: or the planner looks for the name first, in all tables that there are.
  join lateral (
    select ra.attrelid, ra.attnum from pg_attribute ra
    where ra.attrelid = r.relid and ra.attname = a.attname and not ra.attisdropped offset 0) ra on true
  join lateral (
    select d.refobjid as oid from pg_attrdef f
    join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid and d.refclassid = 'pg_class'::regclass
    where f.adrelid = ra.attrelid and f.adnum = ra.attnum
      and pg_get_expr(f.adbin, f.adrelid) ~ '^nextval\\(''([^'']|'''')*''::regclass\\)$'
    union
    select d.objid from pg_depend d
    where d.refclassid = 'pg_class'::regclass and d.refobjid = ra.attrelid and d.refobjsubid = ra.attnum
      and d.classid = 'pg_class'::regclass and d.deptype = 'i') u on true
  join pg_class s on s.oid = u.oid and s.relkind = 'S'
  join pg_namespace sn on sn.oid = s.relnamespace
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    and b.oid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
    and exists (
      select from pg_index i where i.indrelid = c.oid and i.indisunique
        and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1]))`

/** Moves a sequence of the target past the staged rows; the stage's column is named. */
export const moveOn = (sequence: TableName, column: string): string =>
  `select vaivem.move_on(${Pg.escapeLiteral(qualified(sequence))}, ${Pg.escapeLiteral(column)})`

/** Puts split sequences back that give ids to no captured table, in the current transaction. */
export const putBack = Effect.fnUntraced(function*(session: PgSession) {
  // What an older version installed has nothing to put back.
  const there = yield* session.query("select to_regprocedure('vaivem.put_back_sequences()') is not null as there")
  if (there[0]?.there === "t") yield* session.query("select vaivem.put_back_sequences()")
})

const describeAll = Effect.fnUntraced(function*(session: PgSession, names: ReadonlyArray<TableName>) {
  const { query } = session
  const ours = yield* query("select to_regclass('vaivem.sequences') is not null as there")
  const found = yield* query(
    `select n.schema as table_schema, n.name as table_name, q.attname, q.base, q.schema, q.name, p.seqincrement, p.seqstart,
       p.seqmin, p.seqmax, p.seqcycle, ${
      ours[0]?.there === "t" ? "exists (select from vaivem.sequences v where v.sequence = q.sequence)" : "false"
    } as split,
       case when not (has_sequence_privilege(q.sequence, 'SELECT') and has_sequence_privilege(q.sequence, 'UPDATE'))
           then 'none'
         when pg_has_role(s.relowner, 'USAGE') then 'alter' else 'use' end as rights
     from unnest($1::text[], $2::text[]) with ordinality as n (schema, name, position)
     join pg_namespace cn on cn.nspname = n.schema
     join pg_class c on c.relnamespace = cn.oid and c.relname = n.name and c.relkind in ('r', 'p')
     cross join lateral (${sequencesOfTable}) q
     join pg_class s on s.oid = q.sequence
     join pg_sequence p on p.seqrelid = q.sequence
     order by n.position, q.attname, q.schema, q.name`,
    [names.map(({ schema }) => schema), names.map(({ name }) => name)]
  )
  if (found.length === 0) return []
  const states = yield* query(found.map(stateOf).join("\nunion all\n"))
  const byNumber = new Map(states.map((state) => [Number(state.number), state]))
  return found.map((row, index) => toSequence(row, byNumber.get(index)!))
})

const inUse = (session: PgSession, name: TableName, { reason, sqlState }: Contended) =>
  new Contended({
    side: session.side,
    reason,
    sqlState,
    message:
      `Sequence ${display(name)} on ${label(session.side)} can't be changed now: a transaction that has taken ids of `
      + "it is still open."
  })

/** Where a sequence and the ids of its column stand. */
const stateOf = (row: Row, number: number): string => {
  const column = quote(String(row.attname))
  const table = qualified({ schema: String(row.table_schema), name: String(row.table_name) })
  const [increment, min, max] = [String(row.seqincrement), String(row.seqmin), String(row.seqmax)]
  const own = row.rights === "none"
    ? "select 0::bigint as last_value, false as is_called"
    : `select last_value, is_called from ${qualified({ schema: String(row.schema), name: String(row.name) })}`
  const inSteps = Math.abs(Number(increment)) === 1
    ? ""
    : `and mod(t.${column} - q.last_value::numeric, ${increment}) = 0`
  return `select ${number} as number, q.last_value, q.is_called,
    (select trunc(max(t.${column})::numeric) from ${table} t) as highest,
    (select trunc(min(t.${column})::numeric) from ${table} t) as lowest,
    (select trunc(t.${column}::numeric) from ${table} t where t.${column} between ${min} and ${max} ${inSteps}
     order by t.${column} ${increment.startsWith("-") ? "asc" : "desc"} limit 1) as furthest
    from (${own}) q`
}

const toSequence = (row: Row, state: Row): IdSequence => {
  const increment = BigInt(row.seqincrement!)
  return {
    table: { schema: String(row.table_schema), name: String(row.table_name) },
    column: String(row.attname),
    type: String(row.base),
    name: { schema: String(row.schema), name: String(row.name) },
    increment,
    start: BigInt(row.seqstart!),
    min: BigInt(row.seqmin!),
    max: BigInt(row.seqmax!),
    cycle: row.seqcycle === "t",
    next: BigInt(state.last_value!) + (state.is_called === "t" ? increment : 0n),
    rights: row.rights === "alter" ? "alter" : row.rights === "use" ? "use" : "none",
    split: row.split === "t",
    highest: toId(state.highest),
    lowest: toId(state.lowest),
    furthest: toId(state.furthest)
  }
}

const toId = (text: string | null | undefined): bigint | null =>
  text === null || text === undefined || !/^-?\d+$/.test(text) ? null : BigInt(text)

/**
 * ALTER SEQUENCE waits for every open transaction that has used the sequence, and nobody can use it until COMMIT: so no
 * id is on its way while the sequence is looked at. It also ends what sessions have kept of it (CACHE).
 */
const split = Effect.fnUntraced(function*(session: PgSession, name: TableName, settings: SequenceSettings) {
  const { query } = session
  const sequence = qualified(name)
  const { increment, max, min, start } = settings
  yield* query(
    `insert into vaivem.sequences (sequence, increment, start_value, min_value, max_value)
     select seqrelid, seqincrement, seqstart, seqmin, seqmax from pg_sequence where seqrelid = $1::regclass
     on conflict do nothing`,
    [sequence]
  )
  yield* query(`alter sequence ${sequence} increment by ${increment}`)
  const state = (yield* query(`select last_value, is_called from ${sequence}`))[0]!
  const last = BigInt(state.last_value!) - (state.is_called === "t" ? 0n : increment)
  const isBeyond = isUp(settings) ? settings.next > last : settings.next < last
  const next = isBeyond ? settings.next : settings.next + ((last - settings.next) / increment + 1n) * increment
  yield* query(
    `alter sequence ${sequence} minvalue ${min} maxvalue ${max} start with ${start} restart with ${next}`
  )
  return last
})
