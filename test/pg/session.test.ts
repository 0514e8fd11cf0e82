import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Fiber, Random, type Redacted, Stream } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { Unavailable } from "../../src/domain/SyncError.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import type { Database } from "../../src/services/Database.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import * as PgSession from "../../src/services/pg/PgSession.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import { assertConverged, perfis, PgPair, type Synced, synced, targetOf, until } from "../support/PgPair.ts"
import * as Proxy from "../support/Proxy.ts"
import { asAdmin } from "../support/TestPostgres.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz)"

const kill = (sync: Synced, side: Side) =>
  sync[side].query(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'vaivem' and datname = current_database()"
  )

/** Both databases behind a proxy each. */
const proxied = Effect.gen(function*() {
  const urls = yield* PgPair
  const proxies = yield* Effect.all({ replit: Proxy.make(urls.replit), external: Proxy.make(urls.external) })
  return { proxies, urls: { replit: proxies.replit.url, external: proxies.external.url } }
})

/** The app writes on both sides, and in each cycle `trouble` comes at three moments; then all is quiet. */
const inTrouble = Effect.fnUntraced(function*<E>(sync: Synced, trouble: Effect.Effect<unknown, E>) {
  for (let round = 0; round < 6; round++) {
    for (const side of sides) {
      const first = (round * 2 + (side === "replit" ? 0 : 1)) * 100
      yield* sync[side].query(`insert into notas select n, '${side}' from generate_series(${first}, ${first + 49}) n`)
      yield* sync[side].query(`update notas set a = a || '!' where id % 7 = ${round}`)
      yield* sync[side].query(`delete from notas where id % 50 = ${round + 20}`)
    }
    const cycle = yield* Effect.fork(sync.cycle)
    for (let times = 0; times < 3; times++) {
      yield* Effect.sleep(Duration.millis(yield* Random.nextIntBetween(1, 120)))
      yield* trouble
    }
    yield* Fiber.join(cycle)
  }
  yield* sync.cycle
  yield* assertConverged(sync)
})

layer(PgPair.layer, { excludeTestServices: true })("sessions", (it) => {
  it.scoped("promise 12: an idle cycle is one round trip to each database, once connected", () =>
    Effect.gen(function*() {
      const { proxies, urls } = yield* proxied
      const sync = yield* synced(`${perfis} ${notas}`).pipe(Effect.provideService(PgPair, urls))
      yield* sync.replit.query("insert into perfis (nome) values ('a')")
      yield* sync.cycle
      for (const expected of [1, 2, 3]) {
        const before = yield* Effect.all({ replit: proxies.replit.roundTrips, external: proxies.external.roundTrips })
        assert.strictEqual((yield* sync.cycle).outcome, "idle")
        for (const side of sides) {
          assert.lengthOf(
            (yield* proxies[side].roundTrips).slice(before[side].length),
            1,
            `cycle ${expected} on ${side}`
          )
        }
      }
    }))

  it.scoped("in a deadlock with the app it is ours that gives way, where the role may say so", () =>
    Effect.gen(function*() {
      const { replit: url } = yield* PgPair
      const timeoutOf = (role: Redacted.Redacted) =>
        Effect.gen(function*() {
          const session = yield* PgSession.make(targetOf("replit", role))
          return (yield* session.transaction(session.query("show deadlock_timeout")))[0]!.deadlock_timeout
        })
      assert.deepStrictEqual([yield* timeoutOf(asAdmin(url)), yield* timeoutOf(url)], ["100ms", "1s"])
    }))

  it.scoped("promise 12: quarantine and changes of tables that aren't synced leave an idle cycle idle", () =>
    Effect.gen(function*() {
      const { proxies, urls } = yield* proxied
      const sync = yield* synced({ replit: notas, external: `${notas}; alter table notas add check (a <> 'x')` }).pipe(
        Effect.provideService(PgPair, urls)
      )
      yield* sync.replit.query("insert into notas values (1, 'x')")
      yield* sync.cycle
      yield* sync.replit.query(
        "update vaivem.quarantine set next_attempt_at = now() + interval '1 hour' where table_schema = $1",
        [
          sync.schema
        ]
      )
      yield* sync.replit.query("create table outra (id integer primary key); insert into outra values (1)")
      const before = yield* Effect.all({ replit: proxies.replit.roundTrips, external: proxies.external.roundTrips })
      const report = yield* sync.cycle
      assert.deepInclude(report, { outcome: "idle", quarantined: 1 })
      assert.lengthOf(yield* proxies.external.roundTrips, before.external.length + 1)
    }))

  it.scoped("a batch costs a fixed number of round trips, whatever its size", () =>
    Effect.gen(function*() {
      const { proxies, urls } = yield* proxied
      const sync = yield* synced(notas).pipe(Effect.provideService(PgPair, urls))
      const trips = Effect.fnUntraced(function*(rows: number, from: number) {
        yield* sync.replit.query(`insert into notas select n, 'x' from generate_series(${from}, ${from + rows - 1}) n`)
        const before = yield* proxies.external.roundTrips
        yield* sync.cycle
        return (yield* proxies.external.roundTrips).length - before.length
      })
      const batch = yield* trips(400, 1_000)
      assert.strictEqual(yield* trips(150, 2_000), batch)
      // Up to a hundred rows take fewer.
      assert.isBelow(yield* trips(1, 1), batch)
    }))

  it.scoped("what a cycle writes about itself is out of its own batches' way: none is sent twice", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      // As where another connection must be opened for it first.
      const slowly = (database: Database): Database => ({
        ...database,
        ask: (question) =>
          question.renewal?.announce === undefined
            ? database.ask(question)
            : Effect.delay(database.ask(question), "50 millis")
      })
      const cycle = yield* makeCycle
      const slow = sync.run(
        cycle({ retryFor: 0, lease: "wait", notBefore: 0 }).pipe(
          Effect.provideService(ReplitDb, slowly(sync.replit.database)),
          Effect.provideService(ExternalDb, slowly(sync.external.database))
        )
      )
      for (const side of sides) {
        const first = side === "replit" ? 0 : 500
        yield* sync[side].query(`insert into notas select n, 'x' from generate_series(${first}, ${first + 299}) n`)
      }
      const { pull, push } = yield* slow
      assert.deepStrictEqual([push.inserted, pull.inserted], [300, 300])
    }))

  it.scoped("every connection of the service is named vaivem", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      yield* sync.replit.query("insert into notas values (1, 'a')")
      yield* Effect.all([sync.cycle, sync.cycle], { concurrency: 2 })
      for (const side of sides) {
        const names = yield* sync[side].query(
          "select distinct application_name as name from pg_stat_activity where usename = current_user and datname = current_database() order by 1"
        )
        assert.deepStrictEqual(names, [{ name: "test" }, { name: "vaivem" }])
      }
    }))

  it.scoped("a statement for one database inside the other's transaction reaches its own database, outside of it", () =>
    Effect.gen(function*() {
      const urls = yield* PgPair
      const sync = yield* synced("create table marcas (a text)", { tables: [], started: false })
      const replit = yield* PgSession.make(targetOf("replit", urls.replit))
      const external = yield* PgSession.make(targetOf("external", urls.external))
      const insert = `insert into ${sync.schema}.marcas values ($1)`
      const failed = yield* Effect.either(replit.transaction(Effect.gen(function*() {
        yield* replit.query(insert, ["replit"])
        yield* external.query(insert, ["external"])
        yield* external.transaction(
          Effect.zipRight(external.query(insert, ["external"]), replit.query(insert, ["replit"]))
        )
        return yield* Effect.fail("rolled back" as const)
      })))
      assert.strictEqual(failed._tag, "Left")
      assert.deepStrictEqual(yield* sync.replit.rows("marcas"), [])
      assert.deepStrictEqual(yield* sync.external.rows("marcas"), ["(external)", "(external)"])
    }))

  it.scoped("a COMMIT that fails is an error of the service, not a defect", () =>
    Effect.gen(function*() {
      const urls = yield* PgPair
      const sync = yield* synced(
        "create table pais (id integer primary key); create table filhos (pai integer references pais deferrable initially deferred)",
        { tables: [], started: false }
      )
      const session = yield* PgSession.make(targetOf("replit", urls.replit))
      const error = yield* Effect.flip(
        session.transaction(session.query(`insert into ${sync.schema}.filhos values (1)`), {
          table: { schema: sync.schema, name: "filhos" }
        })
      )
      assert.deepInclude(error, { _tag: "RowRefused", sqlState: "23503" })
    }))

  it.scoped("promise 7: a source that fails in the middle of a row is what is told, and not the torn row", () =>
    Effect.gen(function*() {
      const { external } = yield* PgPair
      const session = yield* PgSession.make(targetOf("external", external))
      const lost = new Unavailable({ side: "replit", message: "gone", sqlState: null, slow: false })
      const error = yield* Effect.flip(Effect.scoped(Effect.gen(function*() {
        const tx = yield* session.begin({ table: { schema: "public", name: "notas" } })
        yield* tx.query("create temporary table palco (n integer, a text) on commit drop")
        const torn = Stream.make(new TextEncoder().encode("1\ta\n2"))
        return yield* tx.copyFrom("copy pg_temp.palco from stdin", Stream.concat(torn, Stream.fail(lost)))
      })))
      assert.deepInclude(error, { _tag: "Unavailable", side: "replit" })
    }))

  it.scoped("promise 8: a cycle that is interrupted leaves no transaction open, and the next one goes on", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const app = yield* sync.external.connect
      for (const wait of [true, false]) {
        yield* sync.replit.query(
          "insert into notas select n, 'x' from generate_series(1, 500) n on conflict (id) do update set a = 'y'"
        )
        if (wait) yield* app.query("begin; lock table notas in exclusive mode")
        const cycle = yield* Effect.fork(sync.cycle)
        if (wait) yield* sync.external.serviceWaits
        else yield* Effect.sleep(Duration.millis(yield* Random.nextIntBetween(1, 40)))
        if (wait) yield* app.query("rollback")
        yield* Fiber.interrupt(cycle)
        for (const side of sides) {
          const open =
            "select from pg_stat_activity where application_name = 'vaivem' and datname = current_database() and state like 'idle in%'"
          yield* until(Effect.map(sync[side].query(open), (rows) => rows.length === 0))
        }
        yield* sync.cycle
        yield* assertConverged(sync)
      }
    }))

  it.scoped("promise 8: a connection that dies in the middle of a COPY, after its reader has gone, ends only its claim", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const table = yield* sync.table("notas")
      yield* sync.replit.query("insert into notas select n, repeat(md5(n::text), 1000) from generate_series(1, 500) n")
      yield* Effect.scoped(Effect.gen(function*() {
        const claim = yield* sync.replit.database.claim(table, {
          _tag: "Next",
          phase: "upserts",
          after: null,
          rows: 500
        })
        yield* Stream.runDrain(Stream.take(claim!.stream, 1))
        yield* kill(sync, "replit")
      }))
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 8: connections killed on both sides, again and again, lose nothing", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const killers = yield* Effect.all({ replit: sync.replit.connect, external: sync.external.connect })
      yield* inTrouble(
        sync,
        Effect.flatMap(Random.nextBoolean, (first) => {
          const side = first ? "replit" : "external"
          return kill({ ...sync, [side]: { ...sync[side], query: killers[side].query } }, side)
        })
      )
    }), 60_000)

  it.scoped("promise 8: a network that is cut again and again loses nothing", () =>
    Effect.gen(function*() {
      const direct = yield* PgPair
      const { proxies, urls } = yield* proxied
      const behind = yield* synced(notas).pipe(Effect.provideService(PgPair, urls))
      // The app has a network of its own.
      const app = yield* synced("select 1", { schema: behind.schema, tables: ["notas"], started: false }).pipe(
        Effect.provideService(PgPair, direct)
      )
      const sync: Synced = { ...app, cycle: behind.cycle }
      yield* inTrouble(
        sync,
        Effect.flatMap(Random.nextBoolean, (first) => proxies[first ? "replit" : "external"].cut)
      )
    }), 60_000)
})
