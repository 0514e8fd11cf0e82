/**
 * Many cycles of one process in a row, while apps write on both sides, connections are lost before and in the middle of cycles, a
 * database takes no connections for a while, and rows are refused; and what is left of it all: heap, connections,
 * temporary tables, warnings of Node.
 */
import { Effect, Either, Fiber, Layer, Logger, LogLevel, Redacted, Schedule } from "effect"
import * as V8 from "node:v8"
import * as Vm from "node:vm"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import type { Side } from "../../src/domain/Side.ts"
import { sides } from "../../src/domain/Side.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import { type Settings, SyncConfig } from "../../src/services/SyncConfig.ts"
import { connect, type TestClient } from "../support/TestClient.ts"

export interface Endured {
  readonly cycles: number
  /** Of them, those that failed, while a database took no connections or was lost in the middle. */
  readonly failed: number
  readonly moved: number
  /** Sessions of the service that were ended. */
  readonly terminated: number
  /** Rows that were in quarantine for some cycles. */
  readonly refused: number
  /** Bytes of the heap in use after a collection of garbage, by the number of cycles before it. */
  readonly heap: ReadonlyArray<{ readonly cycles: number; readonly bytes: number }>
  /** What Node warned of, as of too many listeners. */
  readonly warnings: ReadonlyArray<string>
  /** Most sessions that the service had at once, after a cycle, on either side. */
  readonly sessions: number
  /** When all was done: what was open or left. */
  readonly left: { readonly sessions: number; readonly temporary: number }
  /** Rows that differ, changes that wait, and lines of history that are older than they are kept. */
  readonly wrong: number
}

/**
 * @param admin a superuser's way to the databases of that URL's server.
 * @param options.every after so many cycles the heap is measured.
 */
export const enduring = Effect.fn("enduring")(function*(
  urls: Readonly<Record<Side, Redacted.Redacted>>,
  admin: (url: Redacted.Redacted) => Redacted.Redacted,
  options: { readonly cycles: number; readonly every: number }
) {
  const apps = yield* Effect.all({ replit: connect(urls.replit), external: connect(urls.external) })
  const admins = yield* Effect.all({ replit: connect(admin(urls.replit)), external: connect(admin(urls.external)) })
  for (const side of sides) yield* apps[side].query(table)
  yield* apps.external.query("alter table perfis add check (nome <> 'proibido')")
  const warnings: Array<string> = []
  const note = (warning: Error) => void warnings.push(`${warning.name}: ${warning.message}`)
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("warning", note)),
    () => Effect.sync(() => process.off("warning", note))
  )
  const counts = { failed: 0, moved: 0, terminated: 0, refused: 0, sessions: 0 }
  const heap: Array<Endured["heap"][number]> = []

  const run = Effect.gen(function*() {
    const cycle = yield* serviceOf(urls, { retention: "2 seconds" })
    for (let n = 1; n <= options.cycles; n++) {
      yield* write(apps, n)
      const trouble = troubleOf(n)
      if (trouble === "lost before") {
        counts.terminated += yield* terminate(admins[n % 40 === 10 ? "replit" : "external"])
      }
      if (trouble === "away") yield* away(admins.external, urls.external, true)
      const fiber = trouble === "lost within" ? yield* Effect.fork(loseOne(admins.external)) : null
      const outcome = yield* Effect.either(cycle)
      if (fiber !== null) counts.terminated += yield* Fiber.join(fiber)
      if (trouble === "away") yield* away(admins.external, urls.external, false)
      Either.match(outcome, {
        onLeft: () => counts.failed++,
        onRight: (report) => {
          if (report.outcome === "moved") counts.moved++
          counts.refused = Math.max(counts.refused, report.quarantined)
        }
      })
      if (n % 50 === 0) {
        counts.sessions = Math.max(
          counts.sessions,
          ...(yield* Effect.forEach(sides, (side) => sessions(admins[side])))
        )
      }
      if (n % options.every === 0) {
        const bytes = heapInUse()
        heap.push({ cycles: n, bytes })
        yield* Effect.logInfo(`${n} cycles, ${counts.failed} of them failed; heap ${(bytes / 1e6).toFixed(1)} MB`)
      }
    }
    yield* apps.replit.query("update perfis set nome = 'bom' where nome = 'proibido'")
    for (let n = 0; n < 8; n++) yield* cycle
  })
  yield* Effect.scoped(run)

  const wrong = yield* differences(apps)
  yield* Effect.forEach(
    sides,
    (side) =>
      Effect.repeat(sessions(admins[side]), { until: (n) => n === 0, schedule: Schedule.spaced("20 millis") }).pipe(
        Effect.timeoutOption("10 seconds")
      )
  )
  const left = yield* Effect.forEach(
    sides,
    (side) => Effect.all({ sessions: sessions(admins[side]), temporary: temporary(admins[side]) })
  )
  return {
    cycles: options.cycles,
    ...counts,
    heap,
    warnings,
    left: {
      sessions: left.reduce((sum, side) => sum + side.sessions, 0),
      temporary: left.reduce((sum, side) => sum + side.temporary, 0)
    },
    wrong
  } satisfies Endured
})

const table = `create table perfis (
  id integer primary key, nome text, email text unique, updated_at timestamptz not null default now())`

/** A cycle as the service runs it, with a pool for each side that ends with the scope. Nothing is tried for long. */
export const serviceOf = Effect.fnUntraced(function*(
  urls: Readonly<Record<Side, Redacted.Redacted>>,
  settings: Partial<Settings>
) {
  const target = (side: Side) => Either.getOrThrow(parseUrl(side, Redacted.value(urls[side])))
  const layer = Layer.mergeAll(
    SyncConfig.layer({
      replitUrl: target("replit"),
      externalUrl: target("external"),
      brake: null,
      ...settings
    }),
    Layer.succeed(ReplitDb, yield* PgDatabase.make(target("replit"))),
    Layer.succeed(ExternalDb, yield* PgDatabase.make(target("external"))),
    Logger.minimumLogLevel(LogLevel.None)
  )
  const cycle = yield* makeCycle
  return Effect.provide(cycle({ retryFor: "1 second", lease: "wait", notBefore: 0 }), layer)
})

/** Of every 20 cycles one loses its sessions before it begins and one in the middle; of 100, one finds no database. */
const troubleOf = (n: number): "lost before" | "lost within" | "away" | null =>
  n % 100 === 50 ? "away" : n % 20 === 10 ? "lost before" : n % 20 === 15 ? "lost within" : null

/** What the apps do before the cycle: nothing, every other time. */
const write = Effect.fnUntraced(function*({ external, replit }: Readonly<Record<Side, TestClient>>, n: number) {
  if (n % 2 === 0) return
  const id = n % 200
  const upsert = "on conflict (id) do update set nome = excluded.nome, updated_at = clock_timestamp()"
  yield* replit.query(`insert into perfis (id, nome) values (${id}, 'r${n}') ${upsert}`)
  // The same row on both sides, now and then.
  yield* external.query(`insert into perfis (id, nome) values (${n % 10 === 1 ? id : 1000 + id}, 'e${n}') ${upsert}`)
  if (n % 14 === 7) yield* replit.query(`delete from perfis where id = ${(n + 100) % 200}`)
  if (n % 60 === 21) yield* replit.query(`insert into perfis (id, nome) values (${5000 + n % 7}, 'proibido') ${upsert}`)
  if (n % 60 === 41) yield* replit.query("update perfis set nome = 'bom' where nome = 'proibido'")
})

const ours = "application_name = 'vaivem' and datname = current_database()"

const terminate = ({ query }: TestClient) =>
  Effect.map(query(`select pg_terminate_backend(pid) from pg_stat_activity where ${ours}`), (rows) => rows.length)

/** Ends a session as soon as one is in a transaction; none, if the cycle has no batch. */
const loseOne = ({ query }: TestClient) =>
  query<{ gone: boolean }>(
    `select pg_terminate_backend(pid) as gone from pg_stat_activity where ${ours} and backend_xid is not null limit 1`
  ).pipe(
    Effect.map((rows) => rows.length),
    Effect.repeat({
      until: (n) => n > 0,
      schedule: Schedule.intersect(Schedule.spaced("1 millis"), Schedule.recurs(20))
    }),
    Effect.map((n) => typeof n === "number" ? n : 0)
  )

/** The database refuses the service, and has none of its sessions. */
const away = Effect.fnUntraced(function*(admin: TestClient, url: Redacted.Redacted, isAway: boolean) {
  yield* admin.query(`alter role ${new URL(Redacted.value(url)).username} ${isAway ? "nologin" : "login"}`)
  if (isAway) yield* terminate(admin)
})

const sessions = ({ query }: TestClient) =>
  Effect.map(query(`select from pg_stat_activity where ${ours}`), (rows) => rows.length)

const temporary = ({ query }: TestClient) =>
  Effect.map(
    query("select from pg_class c join pg_namespace s on s.oid = c.relnamespace where s.nspname like 'pg\\_temp\\_%'"),
    (rows) => rows.length
  )

const differences = Effect.fnUntraced(function*(apps: Readonly<Record<Side, TestClient>>) {
  const rows = yield* Effect.forEach(
    sides,
    (side) => apps[side].query<{ row: string }>("select t::text as row from perfis t")
  )
  const [replit, external] = rows.map((all) => new Set(all.map(({ row }) => row)))
  const apart = [...replit!].filter((row) => !external!.has(row)).length
    + [...external!].filter((row) => !replit!.has(row)).length
  const waiting = yield* Effect.forEach(
    sides,
    (side) => apps[side].query("select from perfis_changelog where not synced")
  )
  return apart + waiting.flat().length
})

/** Twice, for what a finalizer gave free. */
const heapInUse = (): number => {
  V8.setFlagsFromString("--expose-gc")
  const collect: () => void = Vm.runInNewContext("gc")
  collect()
  collect()
  return process.memoryUsage().heapUsed
}
