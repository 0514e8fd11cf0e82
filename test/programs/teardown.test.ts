import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { WorldRefused } from "../../src/domain/SyncError.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import type { TeardownOptions } from "../../src/programs/teardown.ts"
import { teardown } from "../../src/programs/teardown.ts"
import { makePair, perfis, perfisTable, profile } from "../support/MemoryPair.ts"

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

const itens = { ...perfisTable, name: { schema: "public", name: "itens" }, uniques: [] }
const tables = [perfisTable, itens]
const names = tables.map(({ name }) => name)

/** Two tables, set up, each with a row. */
const synced = Effect.gen(function*() {
  const pair = yield* makePair({ replit: tables, external: tables })
  yield* pair.servers.replit.app.insert(perfis, profile("ana", "Ana"))
  yield* pair.servers.replit.app.insert(itens.name, profile("i1", "Item"))
  yield* Effect.provide(sync, pair.layer({ tables: names }))
  return pair
})

/** Answers, and notes what it was asked. */
const answering = (answer: boolean) => {
  const asked: Array<string> = []
  const confirm: TeardownOptions<never>["confirm"] = (losses) =>
    Effect.sync(() => {
      asked.push(...losses)
      return answer
    })
  return { asked, confirm }
}

describe("teardown", () => {
  it.effect("removes everything of ours and no row of theirs, without a question when nothing would be lost", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* synced
      const { asked, confirm } = answering(false)
      const done = yield* Effect.provide(teardown({ table: null, confirm }), layer({ tables: names }))
      assert.deepStrictEqual(asked, [])
      assert.deepStrictEqual(done.removed, { replit: ["perfis", "itens"], external: ["perfis", "itens"] })
      assert.isNull(yield* servers.replit.database.identity)
      assert.deepStrictEqual(yield* servers.external.database.captured, [])
      assert.strictEqual((yield* servers.external.app.rows(perfis)).length, 1)
    }))

  it.effect("asks when something would be lost, and does nothing when the answer is no", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* synced
      yield* servers.replit.app.insert(perfis, profile("bia", "Bia"))
      const { asked, confirm } = answering(false)
      const done = yield* Effect.provide(teardown({ table: null, confirm }), layer({ tables: names }))
      assert.deepStrictEqual(asked, ["perfis on Replit: 1 change that was not synced yet"])
      assert.isFalse(done.confirmed)
      assert.strictEqual((yield* servers.replit.database.captured).length, 2)
      const yes = yield* Effect.provide(teardown({ table: null, ...answering(true) }), layer({ tables: names }))
      assert.isTrue(yes.confirmed)
      assert.deepStrictEqual(yield* servers.replit.database.captured, [])
    }))

  it.effect("takes one table out and leaves the others working", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* synced
      const done = yield* Effect.provide(teardown({ table: itens.name, ...answering(true) }), layer())
      assert.deepStrictEqual(done.removed, { replit: ["itens"], external: ["itens"] })
      yield* servers.external.app.insert(perfis, profile("bia", "Bia"))
      yield* Effect.provide(sync, layer())
      assert.strictEqual((yield* servers.replit.app.rows(perfis)).length, 2)
    }))

  it.effect("names the tables that there are when it is told another", () =>
    Effect.gen(function*() {
      const { layer } = yield* synced
      const typo = { schema: "public", name: "iten" }
      const error = yield* Effect.flip(Effect.provide(teardown({ table: typo, ...answering(true) }), layer()))
      assert.strictEqual(error._tag, "ActionNeeded")
      assert.match(error.message, /on table iten\. Set up: perfis, itens\.$/)
    }))

  it.effect("cleans one side when the other is gone, and says so", () =>
    Effect.gen(function*() {
      for (const side of ["replit", "external"] as const) {
        const { layer, servers } = yield* synced
        const gone = new WorldRefused({ side, sqlState: null, message: "It is gone." })
        const replaced = { [side]: { ...servers[side].database, captured: Effect.fail(gone) } }
        const done = yield* Effect.provide(teardown({ table: null, ...answering(true) }), layer({}, replaced))
        assert.deepStrictEqual(done.gone, [{ side, message: "It is gone." }])
        assert.isNull(done.removed[side])
        const other = side === "replit" ? "external" : "replit"
        assert.deepStrictEqual(yield* servers[other].database.captured, [])
      }
    }))

  it.effect("fails when both are gone", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* synced
      const gone = { captured: Effect.fail(new WorldRefused({ sqlState: null, message: "It is gone." })) }
      const replaced = {
        replit: { ...servers.replit.database, ...gone },
        external: { ...servers.external.database, ...gone }
      }
      const error = yield* Effect.flip(
        Effect.provide(teardown({ table: null, ...answering(true) }), layer({}, replaced))
      )
      assert.strictEqual(error._tag, "WorldRefused")
    }))
})
