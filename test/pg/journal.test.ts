import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { assertConverged, moved, nothing, PgPair, type Synced, synced } from "../support/PgPair.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz)"

/** A pair with the row 1 of `notas` on both sides. */
const withRow = Effect.fnUntraced(function*(ddl: Parameters<typeof synced>[0] = notas) {
  const sync = yield* synced(ddl)
  yield* sync.replit.query("insert into notas (id, a) values (1, 'inicio')")
  yield* sync.cycle
  return sync
})

const values = (sync: Synced, side: Side) =>
  Effect.map(sync[side].query<{ a: string }>("select a from notas order by id"), (rows) => rows.map(({ a }) => a))

/** Writes the row on both sides, with these stamps. */
const contest = Effect.fnUntraced(function*(sync: Synced, stamps: Readonly<Record<Side, string | null>>) {
  for (const side of sides) {
    yield* sync[side].query("update notas set a = $1, updated_at = $2 where id = 1", [side, stamps[side]])
  }
})

const journal = (sync: Synced, side: Side) => sync[side].database.conflicts({ table: sync.tables[0]!, limit: 20 })

layer(PgPair.layer, { excludeTestServices: true })("the journal", (it) => {
  it.scoped("promise 6: the journal holds the whole loser, with the columns that don't travel and every digit", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: `${notas}; alter table notas add n numeric, add js json, add "só aqui" text[]`,
        external: `${notas}; alter table notas add n numeric, add js json`
      })
      yield* sync.replit.query(
        `insert into notas values (1, 'perde', '2024-01-01 00:00:00.000001+00', 1.500, '{"b":1, "a":1}', '[0:1]={x,NULL}')`
      )
      yield* sync.external.query("insert into notas values (1, 'ganha', '2024-01-02')")
      yield* sync.cycle
      const [conflict, ...others] = yield* journal(sync, "replit")
      assert.deepStrictEqual(others, [])
      assert.deepInclude(conflict, {
        lostSide: "replit",
        reason: "conflict",
        policy: "last-write-wins",
        key: ["1"],
        lost: {
          id: "1",
          a: "perde",
          updated_at: "2024-01-01 00:00:00.000001+00",
          n: "1.500",
          js: "{\"b\":1, \"a\":1}",
          "só aqui": "[0:1]={x,NULL}"
        },
        won: { id: "1", a: "ganha", updated_at: "2024-01-02 00:00:00+00", n: null, js: null },
        restoredAt: null
      })
      assert.deepStrictEqual(yield* journal(sync, "external"), [])
      assert.strictEqual((yield* sync.cycle).outcome, "idle")
    }))

  it.scoped("promise 6: restore brings the loser back with a newer stamp, it travels, and can be undone", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      const table = yield* sync.table("notas")
      yield* contest(sync, { replit: "2024-01-01 00:00:00+00", external: "2999-01-01 00:00:00+00" })
      yield* sync.cycle
      const [lost] = yield* journal(sync, "replit")
      yield* sync.replit.database.restore(table, lost!.id)
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1 } })
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* values(sync, "external"), ["replit"])
      assert.deepStrictEqual(
        yield* sync.external.query("select updated_at > '2999-01-01' as newer from notas"),
        [{ newer: true }]
      )
      const again = yield* Effect.either(sync.replit.database.restore(table, lost!.id))
      assert.strictEqual(again._tag === "Left" && again.left._tag, "ActionNeeded")

      const [replaced] = yield* journal(sync, "replit")
      assert.deepInclude(replaced, { reason: "restore", restoredAt: null })
      assert.deepInclude(replaced!.lost, { a: "external" })
      yield* sync.replit.database.restore(table, replaced!.id)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* values(sync, "external"), ["external"])
    }))

  it.scoped("promise 6: restore puts back what can be written, and the database computes the rest", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`
        create table notas (
          id bigint generated always as identity primary key, a text, n numeric, v integer generated always as identity,
          dobro numeric generated always as (n * 2) stored, js json, "Lista" integer[], updated_at timestamp
        )`)
      const table = yield* sync.table("notas")
      yield* sync.replit.query(
        `insert into notas (a, n, js, "Lista") values ('a', 1.50, '{"b":1, "a":1}', '[0:1]={7,NULL}'), ('b', 2, null, null)`
      )
      yield* sync.cycle
      for (const side of sides) {
        yield* sync[side].query(
          `update notas set a = '${side}', updated_at = '${
            side === "replit" ? "2024-01-02" : "2024-01-01"
          }' where id = 1`
        )
      }
      yield* sync.external.query("delete from notas where id = 2")
      yield* sync.replit.query("update notas set n = 9, updated_at = '2024-01-01' where id = 2")
      yield* sync.cycle
      yield* assertConverged(sync)
      for (const side of sides) {
        for (const { id } of yield* journal(sync, side)) yield* sync[side].database.restore(table, id)
      }
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(
        yield* sync.external.query(`select id, a, n, dobro, js, "Lista" from notas order by id`),
        [
          { id: 1, a: "external", n: "1.50", dobro: "3.00", js: "{\"b\":1, \"a\":1}", Lista: "[0:1]={7,NULL}" },
          { id: 2, a: "b", n: "9", dobro: "18", js: null, Lista: null }
        ]
      )
    }))

  it.scoped("promise 6: a row that was deleted over an update comes back, and goes again when that is restored", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      const table = yield* sync.table("notas")
      yield* sync.external.query("update notas set a = 'perde', updated_at = '2024-01-01'")
      yield* sync.replit.query("delete from notas")
      yield* sync.cycle
      const [lost] = yield* journal(sync, "external")
      yield* sync.external.database.restore(table, lost!.id)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* values(sync, "replit"), ["perde"])
      const [deletion] = yield* journal(sync, "external")
      assert.deepInclude(deletion, { reason: "restore", lost: null })
      yield* sync.external.database.restore(table, deletion!.id)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* values(sync, "replit"), [])
    }))
})
