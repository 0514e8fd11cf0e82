/** Who and what is there in a PostgreSQL database, and what we install in it. */
import { Clock, Effect } from "effect"
import { remedySql } from "../../domain/Cure.ts"
import { label } from "../../domain/Side.ts"
import type { TableShape } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import { ActionNeeded } from "../../domain/SyncError.ts"
import type { TableName } from "../../domain/TableName.ts"
import { display } from "../../domain/TableName.ts"
import type { Captured, Catalog, Hello, Identity, Inspected, Listed, Remembered } from "../Database.ts"
import type { Migration } from "./Migrations.ts"
import { migrate } from "./Migrations.ts"
import * as PgSequences from "./PgSequences.ts"
import { sequencesOfTable } from "./PgSequences.ts"
import type { PgSession, Row } from "./PgSession.ts"
import type { Stems } from "./Stems.ts"

/** The part of `Database` that knows the catalog. */
export const make = (session: PgSession, stems: Stems, migrations: ReadonlyArray<Migration>): Catalog => {
  const { run, sql } = session
  /** DDL takes locks: it waits for them as long as the app may be made to wait, and no longer. */
  const changing = { statementTimeoutMs: 60_000, settings: [["client_min_messages", "warning"]] as const }
  return {
    hello: hello(session),

    hold: (number) =>
      Effect.flatMap(session.reserve, (query) =>
        Effect.acquireRelease(
          query("select pg_advisory_lock($1::bigint)", [String(number)]),
          () => Effect.ignoreLogged(query("select pg_advisory_unlock($1::bigint)", [String(number)]))
        )),

    sees: (number) =>
      Effect.map(
        session.query("select pg_try_advisory_xact_lock($1::bigint) as free", [String(number)]),
        (rows) => rows[0]?.free !== "t"
      ),

    list: (schemas, by = "owner") => list(session, schemas, by),

    inspect: (names, by = "owner") => inspect(session, names, by),

    install: migrate(session, migrations),

    identity: Effect.gen(function*() {
      // A schema of that name that isn't ours may have a table of this name.
      const there = yield* session.query(
        "select to_regclass('vaivem.pairs') is not null and to_regclass('vaivem.migrations') is not null as there"
      )
      if (there[0]?.there !== "t") return null
      const rows = yield* run(sql<Row>`select side, id, peer, confirmed from vaivem.pairs`)
      const row = rows[0]
      if (row === undefined) return null
      return {
        side: row.side === "replit" ? "replit" : "external",
        id: String(row.id),
        peer: String(row.peer),
        confirmed: row.confirmed === "t"
      } satisfies Identity
    }),

    identify: ({ confirmed, id, peer, side: mine }) =>
      session.transaction(Effect.gen(function*() {
        const updated = yield* run(
          sql`update vaivem.pairs
            set side = ${mine}, id = ${id}::uuid, peer = ${peer}::uuid, confirmed = ${confirmed} returning 1`
        )
        if (updated.length > 0) return
        yield* run(
          sql`insert into vaivem.pairs (side, id, peer, confirmed, epoch)
            values (${mine}, ${id}::uuid, ${peer}::uuid, ${confirmed}, ${String((yield* session.epoch) ?? 0n)}::bigint)`
        )
      })),

    capture: (table, { acceptPartitions = false, announce = false, touch }) =>
      Effect.gen(function*() {
        const { key, name, stamp } = table
        const { captured, fingerprint } = yield* session.transaction(
          Effect.gen(function*() {
            const rows = yield* session.query(
              "select vaivem.capture($1, $2, $3::text[], $4, $5::boolean, $6::boolean)::text as captured",
              [name.schema, name.name, key, stamp, touch, acceptPartitions]
            )
            const captured: WireCaptured = JSON.parse(String(rows[0]!.captured))
            if (captured.gone.length > 0) return { captured, fingerprint: captured.fingerprint }
            const announced = yield* session.query(
              "select vaivem.announce_changes($1, $2, $3::boolean) as fingerprint",
              [
                name.schema,
                name.name,
                announce
              ]
            )
            return { captured, fingerprint: String(announced[0]!.fingerprint) }
          }),
          { ...changing, table: name }
        )
        stems.note(name, captured.stem, true)
        return {
          fingerprint,
          gone: captured.gone,
          dropped: captured.dropped ?? 0,
          adopted: captured.adopted === null
            ? null
            : { renamedTo: captured.adopted.renamed_to, keys: captured.adopted.keys }
        } satisfies Captured
      }).pipe(explainOurs(session, table.name)),

    recall: (name) =>
      Effect.map(
        run(sql<Row>`select contract, columns::text as columns from vaivem.tables
          where table_schema = ${name.schema} and table_name = ${name.name} and contract is not null`),
        (rows): Remembered | null =>
          rows[0] === undefined
            ? null
            : { contract: String(rows[0].contract), columns: JSON.parse(String(rows[0].columns)) }
      ),

    remember: (name, remembered) =>
      Effect.asVoid(session.transaction(run(sql`with forgotten as (
          delete from vaivem.proofs where table_schema = ${name.schema} and table_name = ${name.name})
        update vaivem.tables set contract = ${remembered?.contract ?? null},
          columns = coalesce(${remembered === null ? null : JSON.stringify(remembered.columns)}::jsonb, columns)
        where table_schema = ${name.schema} and table_name = ${name.name}`))),

    captured: Effect.gen(function*() {
      const there = yield* session.query("select to_regclass('vaivem.tables') is not null as there")
      if (there[0]?.there !== "t") return []
      const rows = yield* run(sql<Row>`select table_schema, table_name from vaivem.tables order by 1, 2`)
      return rows.map((row): TableName => ({ schema: String(row.table_schema), name: String(row.table_name) }))
    }),

    uncapture: (name) =>
      session.transaction(
        Effect.zipRight(
          session.query("select vaivem.uncapture($1, $2)", [name.schema, name.name]),
          PgSequences.putBack(session)
        ),
        { ...changing, table: name }
      ).pipe(explainOurs(session, name), Effect.zipLeft(Effect.sync(() => stems.note(name, null, false)))),

    uninstall: session.transaction(
      Effect.gen(function*() {
        const there = yield* session.query(`select to_regclass('vaivem.migrations') is not null as ours,
          to_regclass('vaivem.tables') is not null as tables`)
        if (there[0]?.ours !== "t") return
        if (there[0]?.tables === "t") {
          const tables = yield* session.query(
            "select table_schema, table_name, vaivem.uncapture(table_schema, table_name) from vaivem.tables"
          )
          for (const row of tables) {
            stems.note({ schema: String(row.table_schema), name: String(row.table_name) }, null, false)
          }
          yield* PgSequences.putBack(session)
        }
        yield* session.query("drop schema vaivem cascade")
      }),
      { ...changing, fenced: "first" }
    ).pipe(Effect.zipLeft(session.fence(null)), explainOurs(session)),

    ...PgSequences.make(session),

    createTable: (ddl) => Effect.asVoid(session.transaction(session.query(ddl), changing)),

    mend: (remedy) => Effect.asVoid(session.transaction(session.query(remedySql(remedy)), changing)),

    describe: (name) => describe(session, name)
  }
}

/**
 * Who asks what a catalog holds: the tables' owner, who is to sync them, one who only reads, or one who syncs rows and may
 * do nothing else.
 */
export type By = "owner" | "reader" | "writer"

export const hello = (session: PgSession): Effect.Effect<Hello, SyncError> =>
  Effect.scoped(Effect.gen(function*() {
    const query = yield* session.reserve
    yield* query("select 1")
    const beforeMs = yield* Clock.currentTimeMillis
    const rows = yield* query(`select current_user as role, current_database() as database,
      current_setting('server_version') as version, current_setting('server_version_num') as number,
      extract(epoch from clock_timestamp()) * 1000 as now_ms,
      coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as tls,
      pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on' as read_only,
      has_database_privilege(current_database(), 'CREATE') as may_create,
      has_database_privilege(current_database(), 'TEMPORARY') as may_temporary`)
    const afterMs = yield* Clock.currentTimeMillis
    const row = rows[0]!
    return {
      kind: session.target.kind,
      host: session.target.host,
      database: String(row.database),
      role: String(row.role),
      version: String(row.version).split(" ")[0]!,
      versionNumber: Number(row.number),
      tls: row.tls === "t",
      latencyMs: afterMs - beforeMs,
      clockOffsetMs: Math.round(Number(row.now_ms) - (beforeMs + afterMs) / 2),
      readOnly: row.read_only === "t",
      mayCreateSchema: row.may_create === "t",
      mayCreateTemporary: row.may_temporary === "t"
    } satisfies Hello
  }))

interface WireCaptured {
  readonly stem: string
  readonly fingerprint: string
  readonly adopted: { readonly renamed_to: string; readonly keys: number } | null
  readonly gone: ReadonlyArray<string>
  readonly dropped?: number
}

/** What a wildcard of `SYNC_TABLES` means here. Asked before anything of ours is installed, so it is no function in `sql/`. */
export const list = Effect.fn("list")(function*(session: PgSession, schemas: ReadonlyArray<string>, by: By) {
  const rows = yield* session.query(listing, [schemas, by === "owner", by === "writer"])
  return rows.map((row): Listed => ({
    name: { schema: String(row.schema), name: String(row.name) },
    problem: row.problem ?? null
  }))
})

const listing = `
  select s.nspname as schema, c.relname as name,
    case
      when $2 and not pg_has_role(c.relowner, 'USAGE') then 'belongs to another role'
      when not has_table_privilege(c.oid, 'SELECT') then 'may not be read by this role'
      when $3 and not (has_table_privilege(c.oid, 'INSERT') and has_table_privilege(c.oid, 'UPDATE')
        and has_table_privilege(c.oid, 'DELETE')) then 'may not be written by this role'
      when not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary) then 'has no primary key'
      when c.relpersistence <> 'p' then 'is unlogged, so that a crash empties it'
      when c.relkind = 'r' and exists (select from pg_inherits i where c.oid in (i.inhrelid, i.inhparent))
        then 'takes part in inheritance'
    end as problem
  from pg_class c join pg_namespace s on s.oid = c.relnamespace
  where s.nspname = any ($1::text[]) and c.relkind in ('r', 'p') and not c.relispartition
    and not exists (select from pg_depend d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
    -- What the older script logged into, before and after it was taken over.
    and not (c.relname like '%\\_changelog%'
      and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'synced' and a.atttypid = 'bool'::regtype)
      and exists (select from pg_class t where t.relnamespace = c.relnamespace and t.relkind in ('r', 'p')
        and c.relname like t.relname || '\\_changelog%' and c.relname <> t.relname))
  order by 1, 2`

interface WireShape {
  readonly kind: string | null
  readonly owned: boolean
  /** Has triggers of ours, that this role installed. */
  readonly captured: boolean
  readonly readable: boolean
  readonly writable: boolean
  readonly partition: boolean
  readonly inherits: boolean
  readonly hidden_rows: boolean
  readonly columns:
    | ReadonlyArray<{
      readonly name: string
      readonly type: string
      readonly base: string
      readonly plain: string
      readonly attributes: string | null
      readonly not_null: boolean
      readonly has_default: boolean
      readonly generated: boolean
      readonly identity: "always" | "by-default" | null
      readonly operators: string | null
      readonly loose: boolean
    }>
    | null
  readonly key: ReadonlyArray<string> | null
  readonly key_constraint: string | null
  readonly leading_columns: ReadonlyArray<string> | null
  readonly unique_columns: ReadonlyArray<string> | null
  readonly self_referencing: boolean
  readonly parents: ReadonlyArray<TableName> | null
  readonly sequences:
    | ReadonlyArray<{ readonly column: string; readonly schema: string; readonly name: string }>
    | null
  readonly before_triggers: ReadonlyArray<string> | null
  readonly after_triggers: ReadonlyArray<string> | null
  readonly rules: ReadonlyArray<string> | null
}

export const inspect = Effect.fn("inspect")(function*(session: PgSession, names: ReadonlyArray<TableName>, by: By) {
  const rows = yield* session.transaction(
    session.query(inspection, [names.map(({ schema }) => schema), names.map(({ name }) => name)])
  )
  return names.map((name, index): Inspected => {
    const wire: WireShape = JSON.parse(String(rows[index]!.shape))
    const problem = unfit(session, name, wire, by)
    if (problem !== null) return { _tag: "Unfit", name, missing: wire.kind === null, problem }
    return { _tag: "Table", shape: shapeOf(name, wire) }
  })
})

const shapeOf = (name: TableName, wire: WireShape): TableShape => ({
  name,
  columns: (wire.columns ?? []).map((
    { attributes, base, generated, has_default, identity, loose, name: column, not_null, operators, plain, type }
  ) => ({
    name: column,
    type,
    base,
    plain,
    attributes,
    notNull: not_null,
    hasDefault: has_default,
    generated,
    identity,
    operators,
    looseCollation: loose
  })),
  key: wire.key ?? [],
  keyConstraint: wire.key_constraint,
  selfReferencing: wire.self_referencing,
  leadingColumns: wire.leading_columns ?? [],
  uniqueColumns: wire.unique_columns ?? [],
  parents: wire.parents ?? [],
  sequences: (wire.sequences ?? []).map(({ column, name, schema }) => ({ column, name: { schema, name } })),
  beforeTriggers: wire.before_triggers ?? [],
  afterTriggers: wire.after_triggers ?? [],
  rules: wire.rules ?? [],
  fingerprint: ""
})

const unfit = (session: PgSession, name: TableName, wire: WireShape, by: By): string | null => {
  const table = display(name)
  const where = `the ${label(session.side)} database`
  if (wire.kind === null) return `Table ${table} does not exist in ${where}.`
  const kinds: Readonly<Record<string, string>> = { v: "a view", m: "a materialized view", f: "a foreign table" }
  if (wire.kind in kinds) return `${table} in ${where} is ${kinds[wire.kind]}, not a table: it can't be synced.`
  if (wire.kind !== "r" && wire.kind !== "p") return `${table} in ${where} is not a table: it can't be synced.`
  if (wire.partition) return `${table} in ${where} is a partition: name its root table in SYNC_TABLES instead.`
  if (wire.inherits) return `Table ${table} in ${where} takes part in inheritance, which is not supported.`
  if (by === "reader" && !wire.readable) {
    return `Role ${session.target.user} may not read ${table} in ${where}. Run as its owner: GRANT SELECT ON ${table} TO `
      + `${session.target.user};`
  }
  // Set up already by one that owned it then, it needs no more than its rows.
  const isWriter = by === "writer" || (by === "owner" && !wire.owned && wire.captured)
  if (isWriter && !(wire.readable && wire.writable)) {
    return `Role ${session.target.user} may not read and write ${table} in ${where}. Run as its owner: `
      + `GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO ${session.target.user};`
  }
  if (by === "owner" && !wire.owned && !wire.captured) {
    return `Table ${table} in ${where} belongs to another role. Triggers need ownership: connect as its owner, or run as `
      + `its owner: ALTER TABLE ${table} OWNER TO ${session.target.user};`
  }
  if (wire.hidden_rows && isWriter && !wire.owned) {
    return `Row-level security hides rows of ${table} in ${where} from role ${session.target.user}. Connect as a role with `
      + "BYPASSRLS, or as the table's owner."
  }
  if (wire.hidden_rows) {
    return `Row-level security hides rows of ${table} in ${where} from role ${session.target.user}. `
      + `Run: ALTER TABLE ${table} NO FORCE ROW LEVEL SECURITY;`
  }
  return null
}

/** Foreign keys may be the partitions' own, and may point at a partition: for the order of tables the roots count. */
const withPartitions = "array(select c.oid union select t.relid from pg_partition_tree(c.oid) t)"
const pointsAt = "coalesce(pg_partition_root(o.confrelid), o.confrelid)"

/** One row a name, in the order asked. Ours are left out of the triggers. */
const inspection = `
  select jsonb_build_object(
    'kind', c.relkind,
    'owned', pg_has_role(c.relowner, 'USAGE'),
    'captured', exists (select from pg_trigger g join pg_proc f on f.oid = g.tgfoid
      where g.tgrelid = c.oid and f.pronamespace = to_regnamespace('vaivem') and pg_has_role(f.proowner, 'USAGE')),
    'readable', has_schema_privilege(s.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT'),
    'writable', has_table_privilege(c.oid, 'INSERT') and has_table_privilege(c.oid, 'UPDATE')
      and has_table_privilege(c.oid, 'DELETE'),
    'partition', c.relispartition,
    'inherits', c.relkind = 'r' and exists (select from pg_inherits i where c.oid in (i.inhrelid, i.inhparent)),
    'hidden_rows', c.relrowsecurity and row_security_active(c.oid),
    'columns', (
      select jsonb_agg(jsonb_build_object(
        'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
        'base', format_type(d.type, null),
        'plain', format_type(d.type, d.modifier),
        'attributes', (
          select string_agg(format('%s %s', m.attname, case when m.atttypid < 16384 then format_type(m.atttypid, null)
            else (select o.typname from pg_type o where o.oid = m.atttypid) end), ', ' order by m.attnum)
          from pg_type b left join pg_type e on e.oid = b.typelem and b.typlen = -1
          join pg_attribute m on m.attrelid = coalesce(nullif(b.typrelid, 0), e.typrelid) and m.attnum > 0
            and not m.attisdropped
          where b.oid = d.type),
        'not_null', a.attnotnull or (y.typtype = 'd' and y.typnotnull),
        'has_default', a.atthasdef and a.attgenerated = '' or (y.typtype = 'd' and y.typdefault is not null),
        'generated', a.attgenerated <> '',
        'identity', case a.attidentity when 'a' then 'always' when 'd' then 'by-default' end,
        'operators', (
          select s.nspname from pg_opclass oc
          join pg_amop ao on ao.amopfamily = oc.opcfamily and ao.amoplefttype = oc.opcintype
            and ao.amoprighttype = oc.opcintype and ao.amopstrategy = 3
          join pg_operator op on op.oid = ao.amopopr
          join pg_namespace s on s.oid = op.oprnamespace and s.nspname <> 'pg_catalog'
          where oc.opcdefault and oc.opcmethod = (select m.oid from pg_am m where m.amname = 'btree')
            and oc.opcintype = d.type),
        'loose', coalesce((select not l.collisdeterministic from pg_collation l where l.oid = a.attcollation), false))
        order by a.attnum)
      from pg_attribute a join pg_type y on y.oid = a.atttypid
      cross join lateral (
        with recursive d (type, modifier) as (
          select a.atttypid, a.atttypmod
          union all
          select b.typbasetype, b.typtypmod from d join pg_type b on b.oid = d.type where b.typtype = 'd')
        select d.type, d.modifier from d join pg_type b on b.oid = d.type where b.typtype <> 'd') d
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    'key', (
      select jsonb_agg(a.attname order by k.position)
      from pg_index i cross join unnest(i.indkey) with ordinality as k (attnum, position)
      join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
      where i.indrelid = c.oid and i.indisprimary and k.position <= i.indnkeyatts),
    'leading_columns', (
      select jsonb_agg(distinct a.attname) from pg_index i
      join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
      where i.indrelid = c.oid and i.indisvalid and i.indpred is null),
    'key_constraint', (select o.conname from pg_constraint o where o.conrelid = c.oid and o.contype = 'p'),
    'self_referencing', exists (
      select from pg_constraint o where o.conrelid = any (${withPartitions}) and o.contype = 'f' and ${pointsAt} = c.oid),
    'unique_columns', (
      select jsonb_agg(distinct a.attname) from pg_index i join pg_attribute a
        on a.attrelid = c.oid and (a.attnum = any (i.indkey) or exists (
          -- Columns that stand in the index's expressions and its predicate.
          select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
            and d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.refobjsubid = a.attnum))
      where i.indrelid = c.oid and i.indisunique and not i.indisprimary),
    'parents', (
      select jsonb_agg(distinct jsonb_build_object('schema', pn.nspname, 'name', p.relname))
      from pg_constraint o join pg_class p on p.oid = ${pointsAt} join pg_namespace pn on pn.oid = p.relnamespace
      where o.conrelid = any (${withPartitions}) and o.contype = 'f' and p.oid <> c.oid),
    'sequences', (
      select jsonb_agg(jsonb_build_object('column', q.attname, 'schema', q.schema, 'name', q.name)
        order by q.attname, q.schema, q.name)
      from (${sequencesOfTable}) q),
    'before_triggers', (
      select jsonb_agg(distinct g.tgname) from pg_trigger g join pg_proc f on f.oid = g.tgfoid
      join pg_namespace fn on fn.oid = f.pronamespace
      where g.tgrelid = any (${withPartitions}) and not g.tgisinternal and g.tgenabled <> 'D' and (g.tgtype & 3) = 3
        and fn.nspname <> 'vaivem'),
    'rules', (
      select jsonb_agg(w.rulename order by w.rulename) from pg_rewrite w
      where w.ev_class = c.oid and w.ev_enabled <> 'D' and w.ev_type in ('2', '3', '4')),
    'after_triggers', (
      select jsonb_agg(g.tgname order by g.tgname) from pg_trigger g join pg_proc f on f.oid = g.tgfoid
      join pg_namespace fn on fn.oid = f.pronamespace
      where g.tgrelid = c.oid and not g.tgisinternal and g.tgenabled <> 'D' and (g.tgtype & 2) = 0 and fn.nspname <> 'vaivem')
  )::text as shape
  from unnest($1::text[], $2::text[]) with ordinality as n (schema, name, position)
  left join pg_namespace s on s.nspname = n.schema
  left join pg_class c on c.relnamespace = s.oid and c.relname = n.name and c.relkind not in ('i', 'I', 't', 'c', 'S')
  order by n.position`

/** Columns, defaults that mean something elsewhere, primary key, unique and check constraints; no foreign keys. */
export const describe = Effect.fn("describe")(function*(session: PgSession, name: TableName) {
  const rows = yield* session.transaction(session.query(
    `with target as (
       select c.oid from pg_class c join pg_namespace s on s.oid = c.relnamespace where s.nspname = $1 and c.relname = $2
     ), parts as (
       select 1 as kind, a.attnum::bigint as number, concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
         case
           when a.attgenerated <> '' then 'generated always as (' || pg_get_expr(d.adbin, d.adrelid) || ') stored'
           when a.attidentity = 'a' then 'generated always as identity'
           when a.attidentity = 'd' or pg_get_expr(d.adbin, d.adrelid) like 'nextval(%' then 'generated by default as identity'
           when d.adbin is not null then 'default ' || pg_get_expr(d.adbin, d.adrelid)
         end,
         case when a.attnotnull then 'not null' end) as part
       from target join pg_attribute a on a.attrelid = target.oid and a.attnum > 0 and not a.attisdropped
       left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
       union all
       select 2, o.oid::bigint, format('constraint %I %s', o.conname, pg_get_constraintdef(o.oid))
       from target join pg_constraint o on o.conrelid = target.oid and o.contype in ('p', 'u', 'c')
     )
     select format(E'create table %I.%I (\\n  %s\\n)', $1::text, $2::text,
       string_agg(part, E',\\n  ' order by kind, number)) as ddl
     from parts`,
    [name.schema, name.name]
  ))
  return String(rows[0]!.ddl)
})

/** What keeps us from installing or removing something, as a person must hear it. */
const explainOurs = (session: PgSession, table?: TableName) =>
<A, E extends { readonly _tag: string }, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | ActionNeeded, R> =>
  Effect.mapError(self, (error) =>
    error._tag === "WorldRefused" && "sqlState" in error && error.sqlState === "VV002"
      ? new ActionNeeded({
        side: session.side,
        ...(table === undefined ? {} : { table }),
        message: "message" in error ? String(error.message) : "Something of this name is there already."
      })
      : error)
