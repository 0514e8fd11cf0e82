/** Conflicts, quarantine and runs of one PostgreSQL database, and what people ask of them. */
import { Effect } from "effect"
import type { Side } from "../../domain/Side.ts"
import { label } from "../../domain/Side.ts"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import { ActionNeeded } from "../../domain/SyncError.ts"
import type { TableName } from "../../domain/TableName.ts"
import { display, qualified, quote } from "../../domain/TableName.ts"
import type { Conflict, Journal, Quarantined, Run, SideStatus } from "../Database.ts"
import { insertProbe } from "./insertProbe.ts"
import { leaseKey } from "./PgLease.ts"
import type { PgSession, Row } from "./PgSession.ts"
import type { Stems } from "./Stems.ts"
import type { TableSql } from "./TableSql.ts"

/** Where a side's conflicts and quarantine are. */
export interface Records {
  readonly conflicts: string
  readonly quarantine: string
}

const ours: Records = { conflicts: "vaivem.conflicts", quarantine: "vaivem.quarantine" }

/** Looking records up: of the side whose they are, in the database where they are. */
export const lookUp = (session: PgSession, side: Side, records: Records) => {
  const { query, transaction } = session
  const conflicts = conflictsIn(records)
  const quarantine = quarantineIn(records)
  return {
    conflicts: ({ limit, table, undecided }) =>
      Effect.map(
        transaction(query(
          `${conflicts} where ($1::text is null or (table_schema = $1 and table_name = $2))
           ${undecided === undefined ? "" : `and (${isUndecided}) = ${undecided}`}
           order by c.decided_at desc, id limit $3::bigint`,
          [table?.schema ?? null, table?.name ?? null, limit]
        )),
        (rows) => rows.map((row) => conflictOf(side, row))
      ),

    conflict: (id) =>
      Effect.gen(function*() {
        const found = yield* transaction(
          query(`${conflicts} where id::text like $1 || '%' limit 2`, [id.toLowerCase()])
        )
        if (found.length > 1) return yield* ambiguous(side, "conflict", id)
        return found[0] === undefined ? null : conflictOf(side, found[0])
      }),

    keep: (id) =>
      Effect.asVoid(query(
        `update ${records.conflicts} set kept_at = clock_timestamp() where id = $1::uuid and kept_at is null`,
        [id]
      )),

    quarantined: (table) =>
      Effect.map(
        query(
          `${quarantine} where $1::text is null or (table_schema = $1 and table_name = $2)
           order by ${records.quarantine}.since, id`,
          [table?.schema ?? null, table?.name ?? null]
        ),
        (rows) => rows.map((row) => quarantinedOf(side, row))
      ),

    retryQuarantined: (table, id) =>
      Effect.map(
        query(
          `update ${records.quarantine} set next_attempt_at = clock_timestamp(), attempts = least(attempts, 4)
           where ($1::text is null or (table_schema = $1 and table_name = $2)) and ($3::text is null or id::text like $3 || '%')
           returning id`,
          [table?.schema ?? null, table?.name ?? null, id?.toLowerCase() ?? null]
        ),
        (rows) => rows.length
      )
  } satisfies Partial<Journal>
}

/** A record of the quarantine, by the beginning of its id. */
export const quarantinedById = Effect.fn("quarantinedById")(
  function*(session: PgSession, side: Side, records: Records, table: SyncedTable, id: string) {
    const found = yield* session.query(`${quarantineIn(records)} where id::text like $1 || '%' limit 2`, [
      id.toLowerCase()
    ])
    if (found.length > 1) return yield* ambiguous(side, "quarantined row", id)
    if (found[0] === undefined) {
      return yield* new ActionNeeded({
        side,
        table: table.name,
        message: `Nothing in quarantine on the ${label(side)} side has an id that begins with ${id}.`
      })
    }
    return quarantinedOf(side, found[0])
  }
)

/** The part of `Database` that remembers and explains. */
export const make = (session: PgSession, stems: Stems): Journal => {
  const { query, run, sql, transaction } = session
  const records = lookUp(session, session.side, ours)
  const isThere = Effect.map(
    query("select to_regclass('vaivem.runs') is not null as there"),
    ([found]) => found?.there === "t"
  )

  return {
    ...records,

    runs: (limit) =>
      Effect.flatMap(
        isThere,
        (there) => there ? Effect.map(query(runs, [String(limit)]), (rows) => rows.map(runOf)) : Effect.succeed([])
      ),

    status: (names) =>
      Effect.gen(function*() {
        const tables = yield* Effect.forEach(names, (name) => tableStatus(session, stems, name))
        const there = yield* isThere
        const last = there ? (yield* query(runs, ["1"]))[0] : undefined
        const cycle = there ? (yield* query(`select ${iso("finished_at")} as at from vaivem.pairs`))[0] : undefined
        const lease = there && session.side === "replit" ? (yield* query(leased))[0] : undefined
        return {
          tables,
          lastRun: last === undefined ? null : runOf(last),
          lastCycleAt: cycle?.at ?? null,
          lease: lease === undefined ? null : {
            holder: String(lease.holder),
            since: String(lease.since),
            epoch: BigInt(String(lease.epoch)),
            isHeld: lease.held === "t"
          }
        } satisfies SideStatus
      }),

    restore: (table, id) =>
      Effect.gen(function*() {
        const found = yield* records.conflict(id)
        if (found === null || found.restoredAt !== null) return yield* notRestorable(session.side, table, id, found)
        const rowSql = yield* stems.sqlOf(table)
        yield* transaction(
          Effect.zipRight(
            restoreRow(session, table, rowSql, found),
            query("update vaivem.conflicts set restored_at = clock_timestamp() where id = $1::uuid", [found.id])
          ),
          { table: table.name, searchPath: "theirs" }
        )
      }),

    edit: (table, id, changes) =>
      Effect.gen(function*() {
        const found = yield* records.conflict(id)
        if (found === null) return yield* notRestorable(session.side, table, id, found)
        const rowSql = yield* stems.sqlOf(table)
        yield* transaction(
          Effect.zipRight(restoreRow(session, table, rowSql, found, changes), records.keep(found.id)),
          { table: table.name, searchPath: "theirs" }
        )
      }),

    quarantine: (table, refusals) =>
      Effect.gen(function*() {
        if (refusals.length === 0) return
        const rowSql = yield* stems.sqlOf(table)
        const newestChange = `select max(p.change_id) as id from ${rowSql.pending} p where ${
          rowSql.keyIn("p", "$1::text[]")
        }`
        yield* transaction(
          Effect.forEach(refusals, ({ blockedBy, constraint, key, message, sqlState }) =>
            query(noteRefusal(ours, rowSql.here, newestChange), [
              key,
              sqlState,
              message,
              constraint,
              blockedBy
            ])),
          { table: table.name }
        )
        stems.noteQuarantine(table)
      }),

    due: (table, limit) =>
      Effect.gen(function*() {
        const rowSql = yield* stems.sqlOf(table)
        const rows = yield* transaction(query(rowSql.dueKeys, [limit]), { table: table.name })
        return rows.map((row): Key => JSON.parse(String(row.key)))
      }),

    mark: (table, keys, was) =>
      Effect.gen(function*() {
        const rowSql = yield* stems.sqlOf(table)
        if (keys.length === 0) return
        yield* transaction(
          was === undefined
            ? query(rowSql.markKeys, columnsOf(table, keys))
            : query(rowSql.markMoved, [...columnsOf(table, keys), ...columnsOf(table, was)]),
          { table: table.name }
        )
      }),

    discard: (table, id) =>
      Effect.gen(function*() {
        const found = yield* quarantinedById(session, session.side, ours, table, id)
        const s = yield* stems.sqlOf(table)
        yield* transaction(
          Effect.gen(function*() {
            yield* query(`select from ${s.t} t where ${s.keyIs("t")} for no key update`, found.key)
            yield* query(journalOwn(s, table, "discard", found.key.length), [...found.key, found.key])
            yield* query(`delete from ${s.pending} p where ${s.pendingKeyIs("p")}`, found.key)
            yield* run(sql`delete from vaivem.quarantine where id = ${found.id}::uuid`)
          }),
          { table: table.name }
        )
      }),

    insertProbe: (table, marker) => insertProbe(session, table, marker),

    read: (table, key) =>
      Effect.gen(function*() {
        const s = yield* stems.sqlOf(table)
        const rows = yield* transaction(
          query(`select ${s.tTexts}::text as texts from ${s.t} t where ${s.keyIs("t")}`, key),
          {
            table: table.name
          }
        )
        return rows[0] === undefined ? null : JSON.parse(String(rows[0].texts)) as Record<string, string | null>
      }),

    remove: (table, key) =>
      Effect.gen(function*() {
        const s = yield* stems.sqlOf(table)
        yield* transaction(query(`delete from ${s.t} t where ${s.keyIs("t")}`, key), {
          table: table.name,
          searchPath: "theirs"
        })
      })
  }
}

/** Texts of keys, a parameter for each key column. */
export const columnsOf = (table: SyncedTable, keys: ReadonlyArray<Key>) =>
  table.key.map((_, index) => keys.map((key) => key[index]!))

const iso = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

const conflictsIn = ({ conflicts }: Records) =>
  `select id, table_schema, table_name, to_jsonb(key)::text as key, reason, policy, lost_operation,
  lost::text as lost, won::text as won, ${iso("decided_at")} as decided_at, ${iso("restored_at")} as restored_at,
  ${iso("(to_jsonb(c) ->> 'kept_at')::timestamptz")} as kept_at
  from ${conflicts} c`

/** See `ConflictFilter`. */
export const isUndecided = "reason in ('conflict', 'cascade') and restored_at is null and kept_at is null"

const conflictOf = (side: Side, row: Row): Conflict => ({
  id: String(row.id),
  lostSide: side,
  table: { schema: String(row.table_schema), name: String(row.table_name) },
  key: JSON.parse(String(row.key)),
  reason: String(row.reason),
  policy: row.policy ?? null,
  lost: row.lost === null || row.lost === undefined ? null : JSON.parse(row.lost),
  won: row.won === null || row.won === undefined ? null : JSON.parse(row.won),
  decidedAt: String(row.decided_at),
  restoredAt: row.restored_at ?? null,
  keptAt: row.kept_at ?? null
})

const quarantineIn = ({ quarantine }: Records) =>
  `select id, table_schema, table_name, to_jsonb(key)::text as key, sqlstate, message, constraint_name,
  to_jsonb(blocked_by)::text as blocked_by, attempts, ${iso("since")} as since,
  case when next_attempt_at = 'infinity' then 'held' else ${iso("next_attempt_at")} end as next_attempt_at
  from ${quarantine}`

const quarantinedOf = (side: Side, row: Row): Quarantined => ({
  id: String(row.id),
  table: { schema: String(row.table_schema), name: String(row.table_name) },
  from: side,
  key: JSON.parse(String(row.key)),
  sqlState: row.sqlstate ?? null,
  message: String(row.message),
  constraint: row.constraint_name ?? null,
  blockedBy: row.blocked_by === null || row.blocked_by === undefined ? null : JSON.parse(row.blocked_by),
  attempts: Number(row.attempts),
  since: String(row.since),
  nextAttemptAt: String(row.next_attempt_at)
})

/**
 * $1 key, $2 SQLSTATE, $3 message, $4 constraint, $5 blocking key; `newest` finds the key's newest change. The first five
 * tries come with the next cycles, then after 1, 2, 4 … 60 minutes.
 */
export const noteRefusal = ({ quarantine }: Records, here: string, newest: string) => `
  insert into ${quarantine} as q
    (table_schema, table_name, key, change_id, sqlstate, message, constraint_name, blocked_by)
  select ${here}, $1::text[], newest.id, $2, $3, $4, $5::text[]
  from (${newest}) newest
  where newest.id is not null
  on conflict (table_schema, table_name, key) do update set
    change_id = excluded.change_id, sqlstate = excluded.sqlstate, message = excluded.message,
    constraint_name = excluded.constraint_name, blocked_by = excluded.blocked_by,
    attempts = q.attempts + 1,
    next_attempt_at = clock_timestamp() + case
      when q.attempts < 5 then interval '0'
      else least(60, 2 ^ least(q.attempts - 5, 10)) * interval '1 minute' end`

/** Journals this side's version of a key. Parameters: the key's texts, then the key as an array. */
export const journalOwn = (s: TableSql, table: SyncedTable, reason: "discard" | "restore", keys: number) => `
  insert into ${s.conflicts} (table_schema, table_name, key, reason, policy, lost_operation, lost)
  select ${s.here}, $${keys + 1}::text[], '${reason}', '${table.policy}',
    case when t.there is null then 'DELETE' else 'UPSERT' end, t.texts
  from (select 1) one left join (
    select true as there, ${s.tTexts} as texts from ${s.t} t where ${s.keyIs("t")}) t on true`

/** Not by taking it, which could keep somebody from it. Installed by an older version it has no holder yet. */
const leased = `select p.to_jsonb->>'holder' as holder, p.to_jsonb->>'epoch' as epoch,
    ${iso("(p.to_jsonb->>'held_since')::timestamptz")} as since,
    exists (select from pg_locks l cross join (select ${leaseKey} as key) k
      where l.locktype = 'advisory' and l.granted and l.objsubid = 1
        and l.classid = ((k.key >> 32) & 4294967295)::oid and l.objid = (k.key & 4294967295)::oid
        and l.database = (select d.oid from pg_database d where d.datname = current_database())) as held
  from (select to_jsonb(p) from vaivem.pairs p) p where p.to_jsonb->>'holder' is not null`

const runs = `select ${
  iso("started_at")
} as started_at, duration_ms, outcome, push::text as push, pull::text as pull, error
  from vaivem.runs order by id desc limit $1::bigint`

const runOf = (row: Row): Run => ({
  startedAt: String(row.started_at),
  durationMs: Number(row.duration_ms),
  outcome: row.outcome === "ok" ? "ok" : "failed",
  push: JSON.parse(String(row.push)),
  pull: JSON.parse(String(row.pull)),
  error: row.error ?? null
})

/** Rows of a table that is there. Counting a large one may take a minute. */
export const rowsIn = (session: PgSession, name: TableName) =>
  Effect.map(
    session.transaction(session.query(`select count(*) as n from ${qualified(name)}`), {
      table: name,
      statementTimeoutMs: 60_000
    }),
    ([row]) => Number(row!.n)
  )

/** What is said of a table of which nothing is kept. */
export const nothingOf = (name: TableName, rows: number | null) => ({
  name,
  rows,
  pending: 0,
  quarantined: 0,
  conflicts: 0,
  open: 0,
  undecided: 0,
  oldestPendingSeconds: null
})

const tableStatus = Effect.fnUntraced(function*(session: PgSession, stems: Stems, name: TableName) {
  const relation = qualified(name)
  const there = (yield* session.query(
    `select to_regclass($1) is not null as rows, to_regclass('vaivem.tables') is not null as ours,
       exists (select from pg_attribute where attrelid = to_regclass('vaivem.conflicts') and attname = 'kept_at') as kept`,
    [relation]
  ))[0]!
  const rows = there.rows === "t"
    ? yield* rowsIn(session, name)
    : null
  const stem = there.ours === "t" ? yield* stems.stemOf(name) : null
  const none = nothingOf(name, rows)
  if (stem === null) return none
  const keys = (yield* session.query("select cardinality(key_columns) as n from vaivem.tables where stem = $1", [stem]))
    .flatMap((row) => Array.from({ length: Number(row.n) }, (_, index) => `k${index + 1}`)).join(", ")
  const counts = (yield* session.query(
    `select (select count(*) from (select distinct ${keys} from vaivem.${quote(`${stem}_pending`)}) k) as pending,
       (select extract(epoch from clock_timestamp() - min(changed_at))::bigint
        from vaivem.${quote(`${stem}_pending`)} where changed_at > '-infinity') as oldest,
       (select count(*) from vaivem.quarantine where table_schema = $1 and table_name = $2) as quarantined,
       (select count(*) from vaivem.conflicts where table_schema = $1 and table_name = $2) as conflicts,
       (select count(*) from vaivem.conflicts where table_schema = $1 and table_name = $2 and restored_at is null) as open,
       ${
      // An older version installed it without.
      there.kept === "t"
        ? `(select count(*) from vaivem.conflicts where table_schema = $1 and table_name = $2 and ${isUndecided})`
        : "0"} as undecided`,
    [name.schema, name.name]
  ))[0]!
  return {
    name,
    rows,
    pending: Number(counts.pending),
    quarantined: Number(counts.quarantined),
    conflicts: Number(counts.conflicts),
    open: Number(counts.open),
    undecided: Number(counts.undecided),
    oldestPendingSeconds: counts.oldest === null ? null : Number(counts.oldest)
  }
})

/**
 * Brings a losing version back through ordinary statements, so that capture logs it as an ordinary change; with a stamp
 * newer than the row's, or the next conflict would lose it again. With `changes`, only these columns are written, if the row
 * is there. In the current transaction.
 */
export const restoreRow = Effect.fn("restoreRow")(function*(
  session: Pick<PgSession, "query" | "side">,
  table: SyncedTable,
  s: TableSql,
  { key, lost, won }: Conflict,
  changes: Texts | null = null
) {
  const { query } = session
  yield* query(`select from ${s.t} t where ${s.keyIs("t")} for update`, key)
  yield* query(journalOwn(s, table, "restore", key.length), [...key, key])
  if (changes !== null) {
    const keys = Object.fromEntries(table.key.map((name, index) => [name, key[index]!]))
    const stamp = table.stamp === null ? {} : { [table.stamp]: null }
    const whole = { ...(lost ?? won), ...changes, ...keys }
    yield* writeTexts(session, table, s, key, { there: { ...changes, ...stamp }, gone: whole })
  } else if (lost === null) {
    yield* query(`delete from ${s.t} t where ${s.keyIs("t")}`, key)
  } else {
    yield* writeTexts(session, table, s, key, { there: lost, gone: lost })
  }
})

type Texts = Readonly<Record<string, string | null>>

const writeTexts = Effect.fn("writeTexts")(function*(
  session: Pick<PgSession, "query" | "side">,
  table: SyncedTable,
  s: TableSql,
  key: Key,
  given: { readonly there: Texts; readonly gone: Texts }
) {
  const there = yield* session.query(`select from ${s.t} t where ${s.keyIs("t")}`, key)
  const texts = there.length === 0 ? given.gone : given.there
  const columns = table.shapes[session.side].columns.filter(({ generated, name }) => !generated && name in texts)
  const offset = key.length
  const value = (index: number) => {
    const column = columns[index]!
    const given = `$${offset + index + 1}::text::${column.type}`
    if (column.name !== table.stamp) return given
    const now = column.base === "timestamp without time zone"
      ? "(clock_timestamp() at time zone 'UTC')"
      : "clock_timestamp()"
    const newer = `(select greatest(${now}, t.${quote(column.name)} + interval '1 microsecond') from ${s.t} t where ${
      s.keyIs("t")
    })`
    // The text is named so that the parameter has a type even though its value is not used.
    return `coalesce(${newer}, ${now}, ${given})`
  }
  const values = columns.map(({ name }) => texts[name] ?? null)
  const settable = columns.map((column, index) => ({ column, index })).filter(({ column }) =>
    column.identity !== "always" && !table.key.includes(column.name)
  )
  if (there.length === 0) {
    yield* session.query(
      `insert into ${s.t} (${columns.map(({ name }) => quote(name)).join(", ")}) overriding system value
       select ${columns.map((_, index) => value(index)).join(", ")}
       where ${key.map((_, index) => `$${index + 1}::text is not null`).join(" and ")}`,
      [...key, ...values]
    )
  } else if (settable.length > 0) {
    yield* session.query(
      `with given as (select ${columns.map((_, index) => `${value(index)} as v${index}`).join(", ")})
       update ${s.t} t set ${settable.map(({ column, index }) => `${quote(column.name)} = given.v${index}`).join(", ")}
       from given where ${s.keyIs("t")}`,
      [...key, ...values]
    )
  }
})

export const notRestorable = (side: Side, table: SyncedTable, id: string, found: Conflict | null): SyncError =>
  new ActionNeeded({
    side,
    table: table.name,
    message: found === null
      ? `No conflict on the ${label(side)} side has an id that begins with ${id}. See \`conflicts list\`.`
      : `Conflict ${found.id} of ${display(table.name)} was restored already, at ${found.restoredAt}.`
  })

const ambiguous = (side: Side, what: string, id: string): SyncError =>
  new ActionNeeded({
    side,
    message: `More than one ${what} has an id that begins with ${id}. Give more of it.`
  })
