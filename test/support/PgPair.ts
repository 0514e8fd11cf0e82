/**
 * Two databases that are kept equal, for a test on real servers: tables of its own on both sides, the app's connections
 * to them, and a cycle over `PgDatabase`. The service connects as the ordinary role that owns the tables, as it does
 * everywhere; it is never a superuser.
 */
import { NodeContext } from "@effect/platform-node"
import { assert } from "@effect/vitest"
import { Context, Effect, Either, Layer, Logger, LogLevel, Redacted, Schedule, type Scope } from "effect"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import { type Side, sides } from "../../src/domain/Side.ts"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"
import type { SyncError } from "../../src/domain/SyncError.ts"
import { qualified, quote, type TableName } from "../../src/domain/TableName.ts"
import { type CycleReport, makeCycle } from "../../src/programs/cycle.ts"
import { inspectBoth } from "../../src/programs/setup.ts"
import type { Database, Moved } from "../../src/services/Database.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import { type Settings, SyncConfig } from "../../src/services/SyncConfig.ts"
import * as TimestampDatabase from "../../src/services/TimestampDatabase.ts"
import type { TestClient, TestSqlError } from "./TestClient.ts"
import { connect, freshPair, freshRole, query as queryOnce } from "./TestPostgres.ts"

/** Two databases of one server by their owners' URLs. Tests of one file share them, each with a schema of its own. */
export class PgPair extends Context.Tag("test/PgPair")<PgPair, Readonly<Record<Side, Redacted.Redacted>>>() {
  static readonly layer = Layer.scoped(this, Effect.orDie(freshPair))
}

/** One side of a pair, as a test sees it. */
export interface Member {
  readonly side: Side
  readonly url: Redacted.Redacted
  /** What the service has. */
  readonly database: Database
  /** The app's connection; its search_path is the test's schema. */
  readonly query: TestClient["query"]
  /** Another connection of the app. */
  readonly connect: Effect.Effect<TestClient, TestSqlError, Scope.Scope>
  /** All rows of a table as PostgreSQL prints them, sorted. */
  readonly rows: (table: string) => Effect.Effect<ReadonlyArray<string>, TestSqlError>
  /** What the app's monitoring shows as not synced: operation and key columns, in the order of the changes. */
  readonly pending: (table: string) => Effect.Effect<ReadonlyArray<string>, TestSqlError>
  /** Returns when the service waits for a lock on this side. */
  readonly serviceWaits: Effect.Effect<void, TestSqlError>
}

/** A pair whose tables are set up. */
export interface Synced extends Readonly<Record<Side, Member>> {
  readonly schema: string
  readonly tables: ReadonlyArray<TableName>
  /** A cycle of the service that this test has. */
  readonly cycle: Effect.Effect<CycleReport, SyncError>
  /** Runs a program with both databases and the settings. */
  readonly run: <A, E>(program: Effect.Effect<A, E, ReplitDb | ExternalDb | SyncConfig>) => Effect.Effect<A, E>
  /** What the catalogs say about a table now. */
  readonly table: (name: string) => Effect.Effect<SyncedTable, SyncError>
}

export interface SyncedOptions {
  /** Default: all tables of the test's schema on Replit's side, in the order of their making. */
  readonly tables?: ReadonlyArray<string>
  readonly settings?: Partial<Settings>
  /** Default: a new one. */
  readonly schema?: string
  /** Whether the first cycle has run already. Default true. */
  readonly started?: boolean
  /**
   * `timestamp`: the service comes to external as a role that owns nothing there and may only write rows. The pair's other
   * tests must do so, too. Default `triggers`.
   */
  readonly capture?: "triggers" | "timestamp"
}

/** Makes tables on both sides in a schema of the test's own, and by default runs the first cycle. */
export const synced = Effect.fnUntraced(function*(
  ddl: string | Readonly<Record<Side, string>>,
  options: SyncedOptions = {}
) {
  const schema = options.schema ?? `t${++made}`
  const urls = yield* PgPair
  const [replit, external] = yield* Effect.all([
    makeMember("replit", urls.replit, schema),
    makeMember("external", urls.external, schema)
  ])
  for (const member of [replit, external]) {
    yield* member.query(typeof ddl === "string" ? ddl : ddl[member.side])
  }
  const tables = (options.tables ?? (yield* tablesOf(replit))).map((name) => ({ schema, name }))
  const settings: Settings = {
    replitUrl: targetOf("replit", urls.replit),
    externalUrl: targetOf("external", urls.external),
    tables,
    // Tests of other things may delete what they like.
    brake: null,
    ...options.settings
  }
  const stranger = options.capture === "timestamp" ? yield* asStranger(external, schema, settings) : null
  const config = SyncConfig.layer(stranger === null ? settings : stranger.settings)
  const theirs = stranger === null ? external : stranger.member
  const run: Synced["run"] = (program) =>
    program.pipe(
      Effect.provide(config),
      Effect.provideService(ReplitDb, replit.database),
      Effect.provideService(ExternalDb, theirs.database),
      Logger.withMinimumLogLevel(LogLevel.None)
    )
  const cycle = yield* makeCycle
  const sync: Synced = {
    replit,
    external: theirs,
    schema,
    tables,
    cycle: run(cycle({ retryFor: "15 seconds", lease: "wait", notBefore: 0 })),
    run,
    table: (name) => run(tableOf({ schema, name }))
  }
  if (options.started ?? true) yield* sync.cycle
  return sync
})

/** A pair for one test alone, where what it does concerns more than its own tables. */
export const alone = Effect.provideServiceEffect(PgPair, freshPair)

/** A table as the older system's users have it. */
export const perfis = `
  create table perfis (
    id uuid primary key default gen_random_uuid(),
    nome text not null,
    email text unique,
    idade integer,
    updated_at timestamptz not null default now()
  );`

/** The key of row `n`. */
export const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`

/** The counts of a cycle that aren't zero. */
export const moved = ({ pull, push }: CycleReport) => ({ push: counted(push), pull: counted(pull) })

/** Nothing moved. */
export const nothing = { push: {}, pull: {} }

/** Both sides have the same rows, nothing waits, and another cycle has nothing to do (promise 3). */
export const assertConverged = Effect.fnUntraced(function*(sync: Synced) {
  yield* assertEqual(sync)
  for (const { name } of sync.tables) {
    for (const side of sides) assert.deepStrictEqual(yield* sync[side].pending(name), [], `pending on ${side}`)
  }
  const report = yield* sync.cycle
  assert.deepStrictEqual(report.paused, [])
  assert.deepStrictEqual(moved(report), nothing)
  assert.strictEqual(report.outcome, "idle")
  assert.strictEqual(report.quarantined, 0)
})

/** Both sides have the same rows. */
export const assertEqual = Effect.fnUntraced(function*(sync: Synced) {
  for (const { name } of sync.tables) {
    assert.deepStrictEqual(yield* sync.external.rows(name), yield* sync.replit.rows(name), name)
  }
})

export const targetOf = (side: Side, url: Redacted.Redacted) => Either.getOrThrow(parseUrl(side, Redacted.value(url)))

/** Asks again and again until the answer is yes; dies after ten seconds. */
export const until = <E, R>(self: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  self.pipe(
    Effect.repeat({ until: (yes) => yes, schedule: Schedule.spaced("5 millis") }),
    Effect.timeoutOption("10 seconds"),
    Effect.flatMap((answer) => answer._tag === "Some" ? Effect.void : Effect.dieMessage("It did not happen in 10 s."))
  )

let made = 0

const counted = (moved: Moved) =>
  Object.fromEntries(Object.entries(moved).filter(([name, count]) => name !== "bytes" && count > 0))

const makeMember = (side: Side, url: Redacted.Redacted, schema: string) =>
  Effect.gen(function*() {
    // Functions of the app find its tables by the role's own search_path, also when the service's writes call them.
    yield* queryOnce(
      url,
      `alter role current_user reset all; alter role current_user set search_path = ${quote(schema)}, public`
    )
    const client = Effect.tap(connect(url), ({ query }) => query(`set search_path = ${quote(schema)}, public`))
    const app = yield* client
    const looker = yield* client
    yield* looker.query(pinned)
    yield* app.query(`create schema if not exists ${quote(schema)}`)
    const database = yield* PgDatabase.make(targetOf(side, url))
    return {
      side,
      url,
      database,
      query: app.query,
      connect: client,
      rows: (table) =>
        Effect.map(
          looker.query<{ row: string }>(
            `select t::text as row from ${qualified({ schema, name: table })} t order by t::text collate "C"`
          ),
          (rows) => rows.map(({ row }) => row)
        ),
      pending: (table) =>
        Effect.map(
          looker.query(
            `select * from ${quote(schema)}.${quote(`${table}_changelog`)} where not synced order by change_id`
          ),
          (rows) => rows.map(shown)
        ),
      serviceWaits: until(Effect.map(looker.query(waiting), (rows) => rows.length > 0))
    } satisfies Member
  }).pipe(Effect.provide(NodeContext.layer))

/** External as a role sees it that owns nothing there: what the ledger, on Replit's side, knows of it. */
const asStranger = Effect.fnUntraced(function*(external: Member, schema: string, settings: Settings) {
  const urls = yield* PgPair
  const role = yield* freshRole(urls.external)
  yield* external.query(`
    grant usage on schema ${quote(schema)} to ${role.name};
    grant select, insert, update, delete on all tables in schema ${quote(schema)} to ${role.name};
    grant usage, select, update on all sequences in schema ${quote(schema)} to ${role.name}`)
  yield* queryOnce(role.url, `alter role current_user set search_path = ${quote(schema)}, public`)
  const ledger = yield* connect(urls.replit)
  const all: Settings = {
    externalCapture: "timestamp",
    ...settings,
    externalUrl: targetOf("external", role.url)
  }
  const config = yield* Effect.provide(SyncConfig, SyncConfig.layer(all))
  const database = yield* TimestampDatabase.make(
    { external: all.externalUrl, replit: all.replitUrl },
    yield* PgDatabase.readMigrations,
    { window: config.externalWindow, sweepEvery: config.externalSweepEvery }
  )
  const member: Member = {
    ...external,
    database,
    url: role.url,
    serviceWaits: until(Effect.map((yield* connect(role.url)).query(waiting), (rows) => rows.length > 0)),
    pending: (table) =>
      Effect.map(
        ledger.query<{ change: string }>(
          `select p.operation || ' ' || array_to_string(p.key, ',') as change
           from vaivem.ledger_pending p join vaivem.ledger_tables t on t.id = p.table_id
           where t.table_schema = $1 and t.table_name = $2 order by p.change_id`,
          [schema, table]
        ),
        (rows) => rows.map(({ change }) => change)
      )
  }
  return { member, settings: all }
}, Effect.provide(NodeContext.layer))

/** Operation and key of a changelog's row. */
const shown = (row: Record<string, unknown>) => {
  const { change_id: _, changed_at: __, operation, origin: ___, synced: ____, synced_at: _____, ...key } = row
  return `${String(operation)} ${Object.values(key).join(",")}`
}

const pinned =
  "set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set timezone = 'UTC'; set extra_float_digits = 1; set bytea_output = 'hex'"

const waiting = `select from pg_stat_activity
  where application_name = 'vaivem' and datname = current_database() and wait_event_type = 'Lock'`

const tablesOf = (member: Member) =>
  Effect.map(
    member.query<{ name: string }>(
      `select relname as name from pg_class
       where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and not relispartition order by oid`
    ),
    (rows) => rows.map(({ name }) => name)
  )

const tableOf = Effect.fnUntraced(function*(name: TableName) {
  const [inspected] = yield* inspectBoth([name])
  return inspected?.found._tag === "Fits"
    ? inspected.found.table
    : yield* Effect.dieMessage(`${name.name} doesn't fit.`)
})
