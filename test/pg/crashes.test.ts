import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { resolve } from "../../src/programs/resolve.ts"
import type { Phase } from "../../src/services/Database.ts"
import { assertConverged, moved, nothing, PgPair, type Synced, synced, until } from "../support/PgPair.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz)"

/** Applies what is pending on a side, and dies before it is acknowledged. */
const applyAndDie = Effect.fnUntraced(function*(sync: Synced, from: Side, phase: Phase = "upserts") {
  const table = yield* sync.table("notas")
  const to = from === "replit" ? sync.external : sync.replit
  return yield* Effect.scoped(Effect.gen(function*() {
    const claim = yield* sync[from].database.claim(table, { _tag: "Next", phase, after: null, rows: 100 })
    return yield* to.database.apply(table, claim!, { judge: resolve(table, from), locks: "wait" })
  }))
})

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

layer(PgPair.layer, { excludeTestServices: true })("crashes", (it) => {
  it.scoped("promise 8: applied and not acknowledged, a batch is applied again as a no-op", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      yield* sync.replit.query(
        "update notas set a = 'novo' where id = 1; insert into notas values (4, 'novo'); delete from notas where id = 3"
      )
      assert.deepInclude(yield* applyAndDie(sync, "replit"), { updated: 1, inserted: 1 })
      assert.deepInclude(yield* applyAndDie(sync, "replit", "deletes"), { deleted: 1 })
      const ctids = () => sync.external.query("select ctid::text from notas order by id")
      const before = yield* ctids()
      assert.deepStrictEqual(moved(yield* sync.cycle), nothing)
      assert.deepStrictEqual(yield* ctids(), before)
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), [])
    }))

  it.scoped("promise 4: applied, not acknowledged, then changed on the target: no conflict, the newer change travels", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      yield* sync.replit.query(
        "update notas set a = 'replit', updated_at = '2999-01-01' where id < 3; delete from notas where id = 3"
      )
      yield* applyAndDie(sync, "replit")
      yield* applyAndDie(sync, "replit", "deletes")
      yield* sync.external.query("update notas set a = 'external', updated_at = '2024-01-02' where id = 1")
      yield* sync.external.query(
        "delete from notas where id = 2; insert into notas values (3, 'de volta', '2024-01-02')"
      )
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), [])
      assert.deepStrictEqual(yield* sync.replit.query("select id, a from notas order by id"), [
        { id: 1, a: "external" },
        { id: 3, a: "de volta" }
      ])
    }))

  it.scoped("promise 8: the same the other way round: what Replit applied and then changed stays as Replit left it", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      yield* sync.external.query(
        "update notas set a = 'external', updated_at = '2024-01-02' where id < 3; delete from notas where id = 3"
      )
      yield* applyAndDie(sync, "external")
      yield* applyAndDie(sync, "external", "deletes")
      yield* sync.replit.query("update notas set a = 'antes', updated_at = '2024-01-01' where id = 1")
      yield* sync.replit.query("update notas set a = 'depois', updated_at = '2024-01-03' where id = 2")
      yield* sync.replit.query("insert into notas values (3, 'de volta', '2999-01-02')")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* sync.external.query("select a from notas order by id"), [
        { a: "antes" },
        { a: "depois" },
        { a: "de volta" }
      ])
      // What Replit had applied before it changed the row is no loser, although nobody had acknowledged it.
      assert.deepStrictEqual(yield* journaled(sync), [])
    }))

  it.scoped("promise 4: history that isn't kept (SYNC_RETENTION=0) still knows what was applied and not acknowledged", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { settings: { retention: 0 } })
      yield* sync.replit.query("insert into notas values (1, 'inicio', '2024-01-01')")
      yield* sync.cycle
      for (const side of sides) {
        const kept = `select count(*) as n from vaivem."${sync.schema}.notas_history"`
        assert.deepStrictEqual(yield* sync[side].query(kept), [{ n: 0 }])
      }
      yield* sync.replit.query("update notas set a = 'replit', updated_at = '2999-01-01'")
      yield* applyAndDie(sync, "replit")
      yield* sync.external.query("update notas set a = 'external', updated_at = '2024-01-02'")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1 } })
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), [])
    }))

  it.scoped("promise 4: applied, not acknowledged, then changed on both sides: a conflict, and the loser is journaled", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      yield* sync.replit.query("update notas set a = 'primeiro', updated_at = '2024-01-02' where id = 1")
      yield* applyAndDie(sync, "replit")
      yield* sync.external.query("update notas set a = 'external', updated_at = '2024-01-03' where id = 1")
      yield* sync.replit.query("update notas set a = 'segundo', updated_at = '2024-01-04' where id = 1")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1, conflicts: 1 } })
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), ["conflict: external"])
    }))

  it.scoped("promise 4: an overwrite that was applied and not acknowledged is not taken for a conflict again", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      yield* sync.external.query("update notas set a = 'perde', updated_at = '2024-01-02' where id = 1")
      yield* sync.replit.query("update notas set a = 'ganha', updated_at = '2024-01-03' where id = 1")
      assert.deepInclude(yield* applyAndDie(sync, "replit"), { updated: 1, conflicts: 1 })
      yield* sync.external.query("update notas set a = 'depois', updated_at = '2023-01-01' where id = 1")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1 } })
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), ["conflict: perde"])
      assert.deepInclude((yield* sync.replit.query("select a from notas where id = 1"))[0], { a: "depois" })
    }))

  it.scoped("promise 8: a changed key that was applied and not acknowledged arrives once", () =>
    Effect.gen(function*() {
      const sync = yield* withRows
      yield* sync.replit.query("update notas set id = 11 where id = 1")
      yield* applyAndDie(sync, "replit")
      yield* sync.external.query("update notas set a = 'external' where id = 11")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* sync.replit.query("select id, a from notas order by id"), [
        { id: 2, a: "inicio" },
        { id: 3, a: "inicio" },
        { id: 11, a: "external" }
      ])
      assert.deepStrictEqual(yield* journaled(sync), [])
    }))

  for (const victim of sides) {
    it.scoped(`promise 8: connections that ${victim}'s server kills in the middle of a batch cost nothing`, () =>
      Effect.gen(function*() {
        const sync = yield* withRows
        yield* sync.external.query(`
          create function espera() returns trigger language plpgsql as $$
            begin perform pg_advisory_xact_lock(4711); return null; end $$;
          create trigger espera after update on notas for each statement execute function espera()`)
        yield* sync.cycle
        const gate = yield* sync.external.connect
        yield* gate.query("select pg_advisory_lock(4711)")
        yield* sync.replit.query("update notas set a = 'novo'")
        const cycle = yield* Effect.fork(sync.cycle)
        yield* sync.external.serviceWaits
        yield* sync[victim].query(
          "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'vaivem' and datname = current_database()"
        )
        yield* until(Effect.map(
          sync[victim].query(
            `select from pg_stat_activity where application_name = 'vaivem' and datname = current_database()
             and state like 'idle in transaction%'`
          ),
          (rows) => victim === "external" || rows.length === 0
        ))
        yield* gate.query("select pg_advisory_unlock(4711)")
        yield* Fiber.join(cycle)
        yield* assertConverged(sync)
        assert.deepStrictEqual(yield* sync.external.query("select distinct a from notas"), [{ a: "novo" }])
        assert.deepStrictEqual(yield* journaled(sync), [])
      }))
  }
})
