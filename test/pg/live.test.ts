import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Fiber, Ref } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { type Cycle, makeCycle } from "../../src/programs/cycle.ts"
import { supervise } from "../../src/programs/supervise.ts"
import { makeWakes } from "../../src/programs/wakes.ts"
import { noLines, writingTo } from "../support/Output.ts"
import { alone, assertEqual, perfis, PgPair, type Synced, synced, until, uuid } from "../support/PgPair.ts"

const insert = (n: number) => `insert into perfis (id, nome) values ('${uuid(n)}', 'n${n}')`

/** The service in live mode: its schedule comes once an hour, so whatever arrives was announced. */
const serving = Effect.fnUntraced(function*(sync: Synced) {
  const cycles = yield* Ref.make(0)
  const cycle = yield* makeCycle
  const counted: Cycle = (options) => Effect.zipLeft(cycle(options), Ref.update(cycles, (n) => n + 1))
  yield* Effect.forkScoped(
    sync.run(Effect.scoped(Effect.gen(function*() {
      const wakes = yield* makeWakes({ sides, persistent: () => true })
      yield* Effect.orDie(supervise(counted, { interval: Duration.hours(1), wakes }))
    }))).pipe(writingTo(noLines()))
  )
  yield* until(Effect.map(Ref.get(cycles), (n) => n > 0))
  return Ref.get(cycles)
})

const arrives = (sync: Synced, side: Side, n: number) =>
  until(Effect.map(
    sync[side].query(`select from perfis where id = '${uuid(n)}'`),
    (rows) => rows.length === 1
  ))

/** Lets the pool's connections live: only the ones that listen. */
const terminateListeners = (sync: Synced, side: Side) =>
  sync[side].query<{ pid: number }>(
    `select pg_terminate_backend(pid), pid from pg_stat_activity where application_name = 'vaivem'
      and datname = current_database()
      and pid in (select pid from pg_locks where locktype = 'advisory' and objid = (
        (hashtextextended('vaivem gatekeeper', 0)::bit(64) & x'00000000ffffffff'::bit(64))::bigint)::oid)`
  )

const announcing = (sync: Synced, side: Side) =>
  Effect.map(
    sync[side].query(
      `select g.tgname from pg_trigger g join pg_class c on c.oid = g.tgrelid
      where c.relnamespace = '${sync.schema}'::regnamespace and g.tgname like 'vaivem_announce%' order by 1`
    ),
    (rows) => rows.length
  )

const live = { settings: { live: true } } as const

layer(PgPair.layer, { excludeTestServices: true })("live mode", (it) => {
  it.scoped("what is committed on one side arrives on the other at once, also after the connections that listen were lost", () =>
    Effect.gen(function*() {
      const sync = yield* alone(synced(perfis, live))
      const cycles = yield* serving(sync)
      yield* sync.replit.query(insert(1))
      yield* sync.external.query(insert(2))
      yield* arrives(sync, "external", 1)
      yield* arrives(sync, "replit", 2)
      for (const side of sides) {
        const before = yield* cycles
        yield* until(Effect.map(terminateListeners(sync, side), (killed) => killed.length > 0))
        // It listens again, and then comes a whole cycle.
        yield* until(Effect.map(cycles, (n) => n > before))
        yield* sync[side].query(insert(side === "replit" ? 3 : 4))
        yield* arrives(sync, side === "replit" ? "external" : "replit", side === "replit" ? 3 : 4)
      }
      yield* assertEqual(sync)
    }))

  it.scoped("nothing is announced while nobody listens, and a service that rests hears of many writes a few times", () =>
    Effect.gen(function*() {
      const sync = yield* alone(synced(perfis, live))
      const heard = yield* Ref.make(0)
      const { query, raw } = yield* sync.replit.connect
      raw.on("notification", () => Effect.runSync(Ref.update(heard, (n) => n + 1)))
      yield* query("listen vaivem")
      yield* sync.replit.query(insert(1))
      yield* query("select 1")
      assert.strictEqual(yield* Ref.get(heard), 0)
      yield* serving(sync)
      yield* arrives(sync, "external", 1)
      for (let n = 2; n <= 200; n++) yield* sync.replit.query(insert(n))
      yield* arrives(sync, "external", 200)
      yield* query("select 1")
      const times = yield* Ref.get(heard)
      assert.isAtLeast(times, 1)
      assert.isBelow(times, 150)
    }))

  it.scoped("it is installed while live mode is on, on partitions too, and removed when it is off", () =>
    Effect.gen(function*() {
      const ddl = `${perfis}
        create table visitas (id integer, dia date, primary key (id, dia)) partition by range (dia);
        create table visitas_a partition of visitas for values from ('2024-01-01') to ('2025-01-01');`
      const on = yield* synced(ddl, live)
      assert.deepStrictEqual([yield* announcing(on, "replit"), yield* announcing(on, "external")], [12, 12])
      const eco = yield* synced("", { settings: { schedule: "eco" }, schema: on.schema })
      assert.deepStrictEqual([yield* announcing(eco, "replit"), yield* announcing(eco, "external")], [12, 0])
      const off = yield* synced("", { schema: on.schema })
      assert.deepStrictEqual([yield* announcing(off, "replit"), yield* announcing(off, "external")], [0, 0])
      assert.strictEqual((yield* off.cycle).outcome, "idle")
    }))

  it.scoped("a write into a partition is announced, and one of no row isn't", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `create table visitas (id integer, dia date, primary key (id, dia)) partition by range (dia);
        create table visitas_a partition of visitas for values from ('2024-01-01') to ('2025-01-01');`,
        live
      )
      const hears = Effect.fnUntraced(function*(write: string) {
        return yield* Effect.scoped(Effect.gen(function*() {
          const listener = yield* sync.replit.database.listen
          yield* listener.look(sync.tables, { anyway: true })
          yield* sync.replit.query(write)
          return yield* Effect.as(listener.heard, true).pipe(
            Effect.timeoutTo({ duration: "300 millis", onTimeout: () => false, onSuccess: (it) => it })
          )
        }))
      })
      assert.isTrue(yield* hears("insert into visitas_a values (1, '2024-05-05')"))
      assert.isTrue(yield* hears("insert into visitas values (2, '2024-05-05')"))
      assert.isTrue(yield* hears("delete from visitas where id = 1"))
      assert.isTrue(yield* hears("truncate visitas_a"))
      assert.isFalse(yield* hears("update visitas set dia = dia where id = 77"))
      assert.isFalse(yield* hears("delete from visitas_a"))
    }))

  it.scoped("the app writes on when the schema vaivem is dropped while the service rests", () =>
    Effect.gen(function*() {
      const sync = yield* alone(synced(perfis, live))
      const listener = yield* sync.replit.database.listen
      assert.isTrue((yield* listener.look(sync.tables)).resting)
      const other = yield* sync.replit.connect
      yield* other.query("begin; drop schema vaivem cascade")
      const write = yield* Effect.fork(sync.replit.query(insert(1)))
      yield* other.query("commit")
      yield* Fiber.join(write)
      yield* sync.replit.query(insert(2))
      assert.lengthOf(yield* sync.replit.rows("perfis"), 2)
    }))
})
