import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"
import type { Few } from "../../src/services/Database.ts"
import { type MakePair, type Member, move, setUp, waiting } from "./Pair.ts"

/** A claim of few rows; dies of another answer. Whether anything is in quarantine is known from the question of a cycle. */
const claimed = (member: Member, table: SyncedTable) =>
  Effect.flatMap(
    Effect.zipRight(member.database.ask({ tables: [table.name] }), member.database.claimFew(table)),
    (few): Effect.Effect<Few> =>
      few !== "none" && few._tag === "Few" ? Effect.succeed(few) : Effect.dieMessage("None or many were pending.")
  )

/** Few rows, claimed, applied and acknowledged. */
const moveFew = (from: Member, to: Member, table: SyncedTable) =>
  Effect.gen(function*() {
    const few = yield* claimed(from, table)
    const applied = yield* to.database.applyFew(table, few)
    yield* few.acknowledge(applied.kept)
    return applied
  })

/** Few rows: one claim for both phases, and no judging. From Replit to external, for not every external database has them. */
export const few = (makePair: MakePair) => {
  it.scoped("few rows that are there and rows that are not travel together, and nothing is left", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a", nome: "A" })
      yield* replit.app.insert(perfis.name, { id: "b", nome: "B" })
      yield* moveFew(replit, external, perfis)
      yield* replit.app.update(perfis.name, ["a"], { nome: "Ä" })
      yield* replit.app.remove(perfis.name, ["b"])
      yield* replit.app.insert(perfis.name, { id: "c", nome: null })
      const few = yield* claimed(replit, perfis)
      assert.deepInclude(few, { rows: 3, deletes: 1 })
      const applied = yield* external.database.applyFew(perfis, few)
      assert.deepInclude(applied, { inserted: 1, updated: 1, deleted: 1, conflicts: 0, locked: 0 })
      assert.deepStrictEqual(applied.kept, [])
      yield* few.acknowledge(applied.kept)
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), yield* replit.app.rows(perfis.name))
      assert.deepStrictEqual([yield* waiting(replit, perfis), yield* waiting(external, perfis)], [[], []])
      assert.strictEqual(yield* replit.database.claimFew(perfis), "none")
    }))

  it.scoped("few rows that are contested are kept on both sides, and the others go", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a", nome: "A" })
      yield* replit.app.insert(perfis.name, { id: "b", nome: "B" })
      yield* external.app.insert(perfis.name, { id: "a", nome: "other" })
      const applied = yield* moveFew(replit, external, perfis)
      assert.deepInclude(applied, { inserted: 1, conflicts: 0 })
      assert.lengthOf(applied.kept, 1)
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a"])
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ nome }) => nome).sort(), ["B", "other"])
    }))

  it.scoped("a change that is made after few rows were claimed stays pending when they are acknowledged", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a", nome: "A" })
      const few = yield* claimed(replit, perfis)
      yield* replit.app.update(perfis.name, ["a"], { nome: "newer" })
      yield* few.acknowledge((yield* external.database.applyFew(perfis, few)).kept)
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ nome }) => nome), ["A"])
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a"])
      yield* moveFew(replit, external, perfis)
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ nome }) => nome), ["newer"])
    }))

  it.scoped("few rows that were applied and not acknowledged are applied again as a no-op", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a", nome: "A" })
      yield* external.database.applyFew(perfis, yield* claimed(replit, perfis))
      assert.deepInclude(yield* moveFew(replit, external, perfis), { inserted: 0, updated: 0, deleted: 0 })
      assert.deepStrictEqual([yield* waiting(replit, perfis), yield* waiting(external, perfis)], [[], []])
    }))

  it.scoped("a row among few that is refused leaves all of them unapplied", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      yield* external.app.insert(perfis.name, { id: "x", email: "same" })
      yield* replit.app.insert(perfis.name, { id: "a", email: "fine" })
      yield* replit.app.insert(perfis.name, { id: "b", email: "same" })
      const error = yield* Effect.flip(moveFew(replit, external, perfis))
      assert.strictEqual(error._tag, "RowRefused")
      assert.lengthOf(yield* external.app.rows(perfis.name), 1)
      // The connection is good for the next.
      yield* replit.app.update(perfis.name, ["b"], { email: "other" })
      assert.deepInclude(yield* moveFew(replit, external, perfis), { inserted: 2 })
    }))

  it.scoped("more than a hundred keys, and keys that were changed, are no few rows", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      for (let n = 0; n < 101; n++) yield* replit.app.insert(perfis.name, { id: `n${n}` })
      assert.propertyVal(yield* replit.database.claimFew(perfis), "_tag", "Many")
      yield* move(replit, external, perfis, "upserts")
      yield* replit.app.changeKey(perfis.name, ["n1"], ["m1"])
      assert.propertyVal(yield* replit.database.claimFew(perfis), "_tag", "Many")
    }))
}
