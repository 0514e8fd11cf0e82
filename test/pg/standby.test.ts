import { NodeContext } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Clock, Effect, Either, Fiber, Redacted, Schedule } from "effect"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import { type Side, sides } from "../../src/domain/Side.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { status } from "../../src/programs/status.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import { alone, assertConverged, type Synced, synced, until } from "../support/PgPair.ts"
import * as Proxy from "../support/Proxy.ts"
import { connect } from "../support/TestPostgres.ts"

/** On external, what is written waits for the test, as a merge of many rows takes its time. */
const slow = `
  create function espera() returns trigger language plpgsql as $$
    begin
      while not pg_try_advisory_xact_lock_shared(4711) loop perform pg_sleep(0.02); end loop;
      return null;
    end $$;
  create trigger espera after insert on notas for each row execute function espera();`
const notas = "create table notas (id integer primary key, a text, updated_at timestamptz default now());"

const pair = Effect.gen(function*() {
  const sync = yield* synced({ replit: notas, external: notas + slow })
  const gate = yield* sync.external.connect
  yield* gate.query("select pg_advisory_lock(4711)")
  yield* sync.replit.query("insert into notas select n, 'a' from generate_series(1, 150) n")
  return { sync, open: gate.query("select pg_advisory_unlock(4711)") }
})

/** Another copy of the service, with connections of its own. */
const copy = Effect.fnUntraced(function*(sync: Synced, urls: Readonly<Record<Side, Redacted.Redacted>>) {
  const make = (side: Side) =>
    PgDatabase.make(Either.getOrThrow(parseUrl(side, Redacted.value(urls[side])))).pipe(
      Effect.provide(NodeContext.layer)
    )
  const [replit, external] = [yield* make("replit"), yield* make("external")]
  const cycle = yield* makeCycle
  return {
    external,
    /** One try, that waits for nobody. */
    cycle: sync.run(
      cycle({ retryFor: 0, lease: "skip", notBefore: 0 }).pipe(
        Effect.provideService(ReplitDb, replit),
        Effect.provideService(ExternalDb, external)
      )
    )
  }
})

const directly = (sync: Synced) => copy(sync, { replit: sync.replit.url, external: sync.external.url })

/** Returns when the merge is in the middle. */
const isMerging = (sync: Synced) =>
  until(Effect.map(
    sync.external.query("select from pg_stat_activity where application_name = 'vaivem' and wait_event = 'PgSleep'"),
    (rows) => rows.length > 0
  ))

const epochs = (sync: Synced) =>
  Effect.map(
    Effect.forEach(sides, (side) => sync[side].query<{ epoch: number }>("select epoch from vaivem.pairs")),
    (both) => both.map(([row]) => row!.epoch)
  )

const leaseOf = `select l.pid from pg_locks l, (select hashtextextended('vaivem lease', 0) as key) k
  where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.classid = ((k.key >> 32) & 4294967295)::oid
    and l.objid = (k.key & 4294967295)::oid
    and l.database = (select d.oid from pg_database d where d.datname = current_database())`

it.scopedLive("promise 12: what a stale holder has in flight is ended by whoever takes over, and never arrives", () =>
  Effect.gen(function*() {
    const { open, sync } = yield* pair
    const [first, second] = [yield* directly(sync), yield* directly(sync)]
    const stale = yield* Effect.fork(Effect.either(first.cycle))
    yield* isMerging(sync)
    const [before] = yield* epochs(sync)
    assert.strictEqual((yield* second.cycle).outcome, "standby")
    // A transaction that has only begun is left to the epoch.
    yield* until(Effect.map(
      sync.external.query(
        "select from pg_stat_activity where application_name = 'vaivem' and xact_start < clock_timestamp() - interval '1 s'"
      ),
      (rows) => rows.length > 0
    ))
    yield* sync.replit.query(`select pg_terminate_backend(pid) from (${leaseOf}) l`)
    const next = yield* Effect.fork(second.cycle)
    yield* until(Effect.map(epochs(sync), ([, theirs]) => theirs! > before!))
    const ended = yield* Fiber.join(stale)
    assert.include(["LeaseTaken", "Unavailable"], Either.isLeft(ended) ? ended.left._tag : "")
    assert.deepStrictEqual(yield* sync.external.rows("notas"), [])
    yield* open
    assert.strictEqual((yield* Fiber.join(next)).push.inserted, 150)
    assert.deepStrictEqual(yield* epochs(sync), [before! + 1, before! + 1])
    yield* assertConverged(sync)
  }).pipe(alone))

it.scopedLive("promise 12: a COMMIT that the network held back until another copy had taken over is refused", () =>
  Effect.gen(function*() {
    const { open, sync } = yield* pair
    const proxy = yield* Proxy.make(sync.external.url)
    const first = yield* copy(sync, { replit: sync.replit.url, external: proxy.url })
    const stale = yield* Effect.fork(Effect.either(first.cycle))
    yield* isMerging(sync)
    yield* proxy.stall
    yield* open
    yield* until(Effect.map(
      sync.external.query(
        "select from pg_stat_activity where application_name = 'vaivem' and state = 'idle in transaction'"
      ),
      (rows) => rows.length > 0
    ))
    yield* sync.external.query("update vaivem.pairs set epoch = epoch + 1")
    yield* proxy.resume
    const ended = yield* Fiber.join(stale)
    assert.strictEqual(Either.isLeft(ended) ? ended.left._tag : "", "LeaseTaken")
    assert.deepStrictEqual(yield* sync.external.rows("notas"), [])
    // Replit's epoch is raised beyond external's, and the row arrives once.
    yield* sync.cycle
    yield* assertConverged(sync)
  }).pipe(alone))

it.scopedLive(
  "promise 12: a holder whose network is silent loses the lease within ten seconds, and gives itself up",
  () =>
    Effect.gen(function*() {
      const { open, sync } = yield* pair
      const [replit, external] = [yield* Proxy.make(sync.replit.url), yield* Proxy.make(sync.external.url)]
      const first = yield* copy(sync, { replit: replit.url, external: external.url })
      const second = yield* directly(sync)
      const stale = yield* Effect.fork(Effect.either(first.cycle))
      yield* isMerging(sync)
      yield* Effect.all([replit.stall, external.stall])
      const startedMs = yield* Clock.currentTimeMillis
      yield* open
      // As often as a service that stands by.
      const done = yield* second.cycle.pipe(
        Effect.repeat({ until: ({ outcome }) => outcome !== "standby", schedule: Schedule.spaced("2 seconds") })
      )
      const tookMs = (yield* Clock.currentTimeMillis) - startedMs
      assert.isBelow(tookMs, 10_000)
      assert.isNotNull(done)
      yield* Effect.all([replit.cut, external.cut])
      yield* Effect.all([replit.resume, external.resume])
      assert.isTrue(Either.isLeft(yield* Fiber.join(stale)))
      assert.deepStrictEqual(yield* sync.external.rows("notas"), yield* sync.replit.rows("notas"))
      const { active } = yield* sync.run(status)
      assert.deepInclude(active, { isHeld: false, epoch: (yield* epochs(sync))[0]! })
    }).pipe(alone),
  40_000
)

it.scopedLive("an ordinary role's session has the server watch for a client that is gone", () =>
  Effect.gen(function*() {
    const { replit } = yield* synced(notas)
    const session = yield* connect(replit.url)
    yield* session.query("select vaivem.watch_client()")
    for (
      const [name, value] of [["tcp_keepalives_idle", "3"], ["tcp_keepalives_interval", "2"], [
        "tcp_keepalives_count",
        "3"
      ]]
    ) {
      assert.deepStrictEqual(yield* session.query(`show ${name}`), [{ [name!]: value }])
    }
    if (process.platform === "linux") {
      assert.deepStrictEqual(yield* session.query("show tcp_user_timeout"), [{ tcp_user_timeout: "8000" }])
      assert.deepStrictEqual(yield* session.query("show client_connection_check_interval"), [
        { client_connection_check_interval: "2s" }
      ])
    }
  }).pipe(alone))
