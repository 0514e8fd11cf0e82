/**
 * What Replit's database keeps about an external one on which nothing may be installed (`sql/0013_ledger.sql`): pending
 * changes, what was applied, which versions of rows were seen, conflicts and quarantine.
 */
import { Effect } from "effect"
import type { ConnectionTarget } from "../../domain/ConnectionTarget.ts"
import type { Key } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import { ActionNeeded } from "../../domain/SyncError.ts"
import type { TableName } from "../../domain/TableName.ts"
import { display } from "../../domain/TableName.ts"
import type { PgSession, Row } from "../pg/PgSession.ts"
import { versionHash } from "../pg/TableSql.ts"

export type Ledger = ReturnType<typeof make>

/** JSON texts that go from one database to the other and are not looked into here. */
export type Json = string

export interface LedgerTable {
  readonly id: number
  /** Rows with an earlier stamp are not looked at; microseconds since 1970. */
  readonly lowUs: bigint
  /** Of the versions seen since then, those that rows have now. */
  readonly seen: { readonly rows: number; readonly hash: string }
  /** Whether it has been compared with Replit's since capture began. */
  readonly isReconciled: boolean
  /** How long ago keys were compared; null if never. */
  readonly sweptAgoMs: number | null
  /** The last transaction that was committed on external for a batch, of any table; null without one. */
  readonly committed: bigint | null
}

export interface Waiting {
  readonly stamp: string | null
  /** Decimal text. */
  readonly lowUs: string
  readonly keys: Json
}

export interface Next {
  readonly looked: number
  readonly last: Key
  readonly entries: Json
}

/** @param session of Replit's database. */
export const make = (session: PgSession) => {
  const { query } = session
  const ids = new Map<string, number>()
  let moveOnSource: string | null = null

  const idOf = Effect.fnUntraced(function*(name: TableName) {
    const known = ids.get(display(name))
    if (known !== undefined) return known
    const rows = yield* query("select id from vaivem.ledger_tables where table_schema = $1 and table_name = $2", [
      name.schema,
      name.name
    ])
    if (rows[0] === undefined) {
      return yield* new ActionNeeded({
        side: "external",
        table: name,
        message: `Table ${display(name)} is not in the ledger of the external side. Run \`setup\`.`
      })
    }
    ids.set(display(name), Number(rows[0].id))
    return Number(rows[0].id)
  })

  /** A function of `sql/0013_ledger.sql`, on a table by its name. */
  const call = (text: string) => (name: TableName, ...values: ReadonlyArray<unknown>) =>
    Effect.gen(function*() {
      const id = yield* idOf(name)
      return yield* session.transaction(query(text, [id, ...values]), patient)
    })

  const look = call("select vaivem.ledger_look($1, $2::jsonb, 0::smallint, $3::jsonb)::text as entries")
  const next = call("select vaivem.ledger_next($1, $2::text[], $3::bigint)::text as next")
  const intend = call("select vaivem.ledger_intend($1, $2::jsonb, $3::jsonb)::text as intent")

  return {
    session,
    idOf,
    /** Forgets the number of a table that was captured anew or not at all any more. */
    forgetId: (name: TableName) => Effect.sync(() => void ids.delete(display(name))),

    /** Whether the migrations have run. */
    isInstalled: Effect.map(
      query("select to_regclass('vaivem.ledger') is not null as there"),
      (rows) => rows[0]!.there === "t"
    ),

    /** The source of `vaivem.move_on`. */
    moveOn: Effect.gen(function*() {
      if (moveOnSource !== null) return moveOnSource
      const rows = yield* query(
        "select prosrc from pg_proc where oid = 'vaivem.move_on(text, text)'::regprocedure"
      )
      return moveOnSource = String(rows[0]!.prosrc)
    }),

    /** Of captured tables what a scan needs, by displayed name. */
    tables: (names: ReadonlyArray<TableName>): Effect.Effect<ReadonlyMap<string, LedgerTable>, SyncError> =>
      Effect.map(
        query(scanned, [names.map(({ schema }) => schema), names.map(({ name }) => name)]),
        (rows) => new Map(rows.map(tableOf))
      ),

    /** What isn't synced yet of captured tables, by displayed name: the stamps that may be unseen, and pending keys. */
    waitingIn: (names: ReadonlyArray<TableName>): Effect.Effect<ReadonlyMap<string, Waiting>, SyncError> =>
      Effect.map(
        query(waiting, [names.map(({ schema }) => schema), names.map(({ name }) => name)]),
        (rows) =>
          new Map(rows.map((row) => [
            display({ schema: String(row.table_schema), name: String(row.table_name) }),
            { stamp: row.stamp ?? null, lowUs: String(row.low_us), keys: String(row.keys) }
          ]))
      ),

    /** Takes in what a scan found; see `vaivem.ledger_scanned`. */
    scanned: (name: TableName, found: Json | null, lowUs: bigint | null, areChanges: boolean) =>
      Effect.asVoid(
        call("select vaivem.ledger_scanned($1, $2::jsonb, $3::bigint, $4::boolean)")(
          name,
          found,
          lowUs === null ? null : String(lowUs),
          areChanges
        )
      ),

    /** Versions of rows that nobody has seen become pending; then all that is known of the keys, or with null of all. */
    look: (name: TableName, rows: Json, keys: Json | null): Effect.Effect<Json, SyncError> =>
      Effect.map(look(name, rows, keys), ([row]) => String(row!.entries)),

    /** The next keys that are pending, in the order of their texts; null when there are none. */
    next: (name: TableName, after: Key | null, keys: number): Effect.Effect<Next | null, SyncError> =>
      Effect.map(next(name, after, keys), ([row]): Next | null => {
        const found: { looked: number; last: Key; entries: unknown } | null = JSON.parse(row!.next ?? "null")
        return found === null ? null : { ...found, entries: JSON.stringify(found.entries) }
      }),

    /** Before external commits. What comes back is for `takeBack`. */
    intend: (name: TableName, written: Json, conflicts: Json): Effect.Effect<Json, SyncError> =>
      Effect.map(intend(name, written, conflicts), ([row]) => String(row!.intent)),
    takeBack: (intent: Json) => Effect.asVoid(query("select vaivem.ledger_take_back($1::jsonb)", [intent])),
    /** After external has committed, or for what only the ledger is told. */
    settle: (name: TableName, done: Json) =>
      Effect.asVoid(call("select vaivem.ledger_settle($1, $2::jsonb)")(name, done)),

    /** Makes changes pending; those that were made never lose to any other. */
    note: (name: TableName, keys: ReadonlyArray<Key>, operation: "MARK" | "DELETE" | "UPSERT", at: "now" | "never") =>
      Effect.asVoid(
        call(
          `select vaivem.ledger_mark($1, $2::jsonb, $3, case when $4 = 'never' then '-infinity' else clock_timestamp() end)`
        )(name, keysText(keys), operation, at)
      )
  }
}

/** Keys as the ledger's functions take them: the texts of arrays. */
export const keysText = (keys: ReadonlyArray<Key>): Json =>
  JSON.stringify(keys.map((key) => `{${key.map((text) => `"${text.replace(/["\\]/g, "\\$&")}"`).join(",")}}`))

/** Looking at a long queue takes longer than a batch may. */
const patient = { statementTimeoutMs: 60_000 }

/** The row of `vaivem.ledger` that belongs to a target. */
export const isAbout = (row: Row, { database, host, port }: ConnectionTarget): boolean =>
  row.host === host && Number(row.port) === port && row.database === database

const scanned = `select t.id, t.table_schema, t.table_name, t.low_us::text as low_us, s.rows, s.hash,
    t.contract is not null as reconciled, (select l.committed::text from vaivem.ledger l) as committed,
    floor(extract(epoch from clock_timestamp() - t.swept_at) * 1000)::bigint::text as swept_ago_ms
  from unnest($1::text[], $2::text[]) as a (schema, name)
  join vaivem.ledger_tables t on t.table_schema = a.schema and t.table_name = a.name
  cross join lateral (
    select count(*) as rows,
      coalesce(sum(${versionHash("s.key", "s.stamp_us")}), 0)::text as hash
    from vaivem.ledger_seen s where s.table_id = t.id and s.newest and s.stamp_us >= t.low_us) s`

const waiting = `select distinct t.table_schema, t.table_name, t.stamp, t.low_us::text as low_us,
    (select coalesce(jsonb_agg(distinct p.key::text), '[]') from vaivem.ledger_pending p where p.table_id = t.id)::text as keys
  from unnest($1::text[], $2::text[]) as a (schema, name)
  join vaivem.ledger_tables t on t.table_schema = a.schema and t.table_name = a.name`

const tableOf = (row: Row): readonly [string, LedgerTable] => [
  display({ schema: String(row.table_schema), name: String(row.table_name) }),
  {
    id: Number(row.id),
    lowUs: BigInt(String(row.low_us)),
    seen: { rows: Number(row.rows), hash: String(row.hash) },
    isReconciled: row.reconciled === "t",
    committed: row.committed === null || row.committed === undefined ? null : BigInt(row.committed),
    sweptAgoMs: row.swept_ago_ms === null || row.swept_ago_ms === undefined ? null : Number(row.swept_ago_ms)
  }
]
