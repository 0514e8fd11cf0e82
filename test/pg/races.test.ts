import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { sides } from "../../src/domain/Side.ts"
import { assertConverged, moved, nothing, perfis, PgPair, type Synced, synced, until, uuid } from "../support/PgPair.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz)"

const journaled = (sync: Synced) =>
  Effect.map(
    Effect.all(sides.map((side) => sync[side].database.conflicts({ table: sync.tables[0]!, limit: 20 }))),
    (both) => both.flat().map(({ lost, reason }) => `${reason}: ${lost?.["a"] ?? "deleted"}`)
  )

/** A pair with the rows 1, 2 and 3. */
const withRows = Effect.gen(function*() {
  const sync = yield* synced(notas)
  yield* sync.replit.query("insert into notas select n, 'inicio', '2024-01-01' from generate_series(1, 3) n")
  yield* sync.cycle
  return sync
})

layer(PgPair.layer, { excludeTestServices: true })("races and crashes", (it) => {
  it.scoped("promise 1: a change whose id was taken early and that is committed late is not lost", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      const late = yield* sync.replit.connect
      yield* late.query("begin; update notas set a = 'tarde' where id = 1; insert into notas values (4, 'tarde')")
      yield* sync.replit.query("update notas set a = 'cedo' where id = 2")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1 } })
      yield* late.query("commit")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1, inserted: 1 } })
      yield* assertConverged(sync)
    }))

  for (const winner of sides) {
    it.scoped(`promise 9: a row that the app changes while the batch waits for its lock is judged as it is then (${winner} wins)`, () =>
      Effect.gen(function*() {
        const sync = yield* withRows
        const app = yield* sync.external.connect
        yield* app.query("begin")
        yield* app.query("update notas set a = 'external', updated_at = '2024-02-01' where id = 1")
        yield* sync.replit.query("update notas set a = 'replit', updated_at = $1 where id < 3", [
          winner === "replit" ? "2024-02-02" : "2024-01-31"
        ])
        const cycle = yield* Effect.fork(sync.cycle)
        yield* sync.external.serviceWaits
        yield* app.query("commit")
        yield* Fiber.join(cycle)
        // Nothing was pending there when the cycle began, so that the target's version travels with the next one.
        if (winner === "external") {
          assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1, conflicts: 1 } })
        }
        yield* assertConverged(sync)
        assert.deepStrictEqual(yield* sync.replit.query("select a from notas order by id"), [
          { a: winner },
          { a: "replit" },
          { a: "inicio" }
        ])
        assert.deepStrictEqual(yield* journaled(sync), [`conflict: ${winner === "replit" ? "external" : "replit"}`])
      }))
  }

  it.scoped("promise 9: a row that the app deletes while the batch waits for its lock is a conflict too", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      const app = yield* sync.external.connect
      yield* app.query("begin; delete from notas where id = 1")
      yield* sync.replit.query("update notas set a = 'replit', updated_at = '2024-02-02' where id = 1")
      const cycle = yield* Effect.fork(sync.cycle)
      yield* sync.external.serviceWaits
      yield* app.query("commit")
      yield* Fiber.join(cycle)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), ["conflict: replit"])
    }))

  it.scoped("promise 9: a row that the app inserts while the batch is applied is judged again, not quarantined", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      const app = yield* sync.external.connect
      yield* app.query("begin; insert into notas values (4, 'external', '2024-02-02')")
      yield* sync.replit.query("insert into notas values (4, 'replit', '2024-02-01'), (5, 'outra', null)")
      const cycle = yield* Effect.fork(sync.cycle)
      yield* sync.external.serviceWaits
      yield* app.query("commit")
      assert.deepStrictEqual(moved(yield* Fiber.join(cycle)), { ...nothing, push: { inserted: 1 } })
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1, conflicts: 1 } })
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), ["conflict: replit"])
    }))

  it.scoped("promise 9: a row that the app holds locked stays pending, and the others go on", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      const app = yield* sync.external.connect
      yield* app.query("begin; select from notas where id = 2 for update")
      yield* sync.replit.query("update notas set a = 'novo'")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 2 } })
      assert.deepStrictEqual(yield* sync.replit.pending("notas"), ["UPDATE 2"])
      assert.deepStrictEqual(moved(yield* sync.cycle), nothing)
      yield* app.query("rollback")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1 } })
      yield* assertConverged(sync)
    }))

  it.scoped(
    "promise 9: an insert of the same key that the app leaves open holds up that row alone",
    () =>
      Effect.gen(function*() {
        const sync = yield* withRows
        const app = yield* sync.external.connect
        yield* app.query("begin; insert into notas values (12, 'external', '2024-02-02')")
        yield* sync.replit.query("insert into notas select n, 'replit', '2024-02-01' from generate_series(10, 14) n")
        yield* sync.replit.query("update notas set a = 'novo' where id = 1")
        assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 4, updated: 1 } })
        assert.deepStrictEqual(yield* sync.replit.pending("notas"), ["INSERT 12"])
        yield* app.query("commit")
        yield* sync.cycle
        yield* assertConverged(sync)
        assert.deepStrictEqual(yield* journaled(sync), ["conflict: replit"])
      }),
    60_000
  )

  it.scoped(
    "promise 9: a unique value that an open transaction of the app has taken holds up that row alone",
    () =>
      Effect.gen(function*() {
        const sync = yield* synced(perfis)
        const app = yield* sync.external.connect
        yield* app.query(`begin; insert into perfis (id, nome, email) values ('${uuid(99)}', 'app', '3@x')`)
        yield* sync.replit.query(
          "insert into perfis (nome, email) select 'n' || n, n || '@x' from generate_series(1, 5) n"
        )
        const report = yield* sync.cycle
        assert.strictEqual(report.push.inserted, 4)
        yield* app.query("rollback")
        yield* sync.cycle
        yield* assertConverged(sync)
      }),
    60_000
  )

  it.scoped("set-up waits for the app's open transactions, and misses nothing of them", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      const app = yield* sync.replit.connect
      yield* app.query("begin; insert into notas values (1, 'aberta')")
      const cycle = yield* Effect.fork(sync.cycle)
      yield* sync.replit.serviceWaits
      yield* app.query("commit")
      yield* Fiber.join(cycle)
      yield* assertConverged(sync)
      assert.lengthOf(yield* sync.external.rows("notas"), 1)
    }))

  it.scoped("promise 12: two copies of the service at once lose nothing and do nothing twice", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      const second = yield* synced("select 1", { schema: sync.schema, tables: ["notas"] })
      for (let round = 0; round < 5; round++) {
        yield* sync.replit.query(
          `insert into notas select n, 'r' from generate_series(${round * 100 + 100}, ${round * 100 + 130}) n`
        )
        yield* sync.external.query(
          `insert into notas select n, 'e' from generate_series(${round * 100 + 131}, ${round * 100 + 160}) n`
        )
        yield* sync.external.query(`update notas set a = a || '${round}' where id % 3 = 0`)
        const reports = yield* Effect.all([sync.cycle, second.cycle], { concurrency: 2 })
        assert.strictEqual(reports[0].push.inserted + reports[1].push.inserted, 31)
        assert.strictEqual(reports[0].pull.inserted + reports[1].pull.inserted, 30)
      }
      yield* assertConverged(sync)
      yield* assertConverged(second)
    }))

  it.scoped("promise 12: a second service waits for the first one's cycle, or leaves it to it", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      const holder = yield* sync.replit.connect
      yield* holder.query("select pg_advisory_lock(hashtextextended('vaivem lease', 0))")
      yield* sync.replit.query("update notas set a = 'novo'")
      const cycle = yield* Effect.fork(sync.cycle)
      yield* until(Effect.map(
        sync.replit.query(
          "select from pg_stat_activity where application_name = 'vaivem' and query like '%vaivem.take_lease%'"
        ),
        (rows) => rows.length > 0
      ))
      assert.deepStrictEqual(yield* sync.external.query("select distinct a from notas"), [{ a: "inicio" }])
      yield* holder.query("select pg_advisory_unlock_all()")
      assert.deepStrictEqual(moved(yield* Fiber.join(cycle)), { ...nothing, push: { updated: 3 } })
      yield* assertConverged(sync)
    }))
})
