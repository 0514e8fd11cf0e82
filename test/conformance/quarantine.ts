/** Conformance: what was refused, and when it is tried again. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Refusal } from "../../src/services/Database.ts"
import type { MakePair } from "./Pair.ts"
import { keyIn, move, read, settleAll, setUp, waiting } from "./Pair.ts"

const refusal = (key: string, blockedBy: string | null = null): Refusal => ({
  key: [key],
  sqlState: "23505",
  message: "duplicate key value violates unique constraint",
  constraint: "perfis_email",
  blockedBy: blockedBy === null ? null : [blockedBy]
})

export const quarantine = (makePair: MakePair) => {
  it.scopedLive("a quarantined key is passed over, but can be claimed by name, and is told", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      const answer = Effect.map(database.ask({ tables: [perfis.name] }), ({ tables }) => tables[0]!)
      yield* app.insert(perfis.name, { id: "a" })
      yield* database.quarantine(perfis, [refusal("a", "z")])
      assert.deepInclude(yield* answer, { pending: false, quarantined: 1, due: 1 })
      yield* app.insert(perfis.name, { id: "b" })
      assert.deepInclude(yield* answer, { pending: true, quarantined: 1 })
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b"])
      const claimed = yield* read(replit, perfis, { _tag: "Keys", phase: "upserts", keys: [["a"]] })
      assert.deepStrictEqual(claimed.map((row) => keyIn(perfis, row)), [["a"]])
      const [entry, ...others] = yield* database.quarantined(perfis.name)
      assert.deepStrictEqual(others, [])
      assert.deepInclude(entry, { ...refusal("a", "z"), table: perfis.name, from: "replit", attempts: 1 })
      assert.deepStrictEqual(yield* database.quarantined(null), [entry!])
    }))

  it.scopedLive("the first five refusals are followed by another try at once, the sixth by a pause", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      yield* app.insert(perfis.name, { id: "a" })
      for (let attempt = 1; attempt <= 5; attempt++) {
        yield* database.quarantine(perfis, [refusal("a")])
        assert.deepStrictEqual(yield* database.due(perfis, 10), [["a"]], `after refusal ${attempt}`)
      }
      const [before] = yield* database.quarantined(null)
      yield* database.quarantine(perfis, [refusal("a")])
      assert.deepStrictEqual(yield* database.due(perfis, 10), [])
      assert.deepInclude((yield* database.ask({ tables: [perfis.name] })).tables[0], { quarantined: 1, due: 0 })
      const [after] = yield* database.quarantined(null)
      assert.deepInclude(after, { id: before!.id, since: before!.since, attempts: 6 })
    }))

  it.scopedLive("a key that waits is due at once when it changes, when a person says so, and only then", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      for (const id of ["a", "b"]) yield* app.insert(perfis.name, { id })
      for (let attempt = 1; attempt <= 6; attempt++) yield* database.quarantine(perfis, [refusal("a"), refusal("b")])
      yield* app.update(perfis.name, ["b"], { nome: "B" })
      assert.deepStrictEqual(yield* database.due(perfis, 10), [["b"]])
      yield* database.quarantine(perfis, [refusal("b")])
      assert.deepStrictEqual(yield* database.due(perfis, 10), [])
      const ofA = (yield* database.quarantined(perfis.name)).find(({ key }) => key[0] === "a")!
      assert.strictEqual(yield* database.retryQuarantined(null, ofA.id), 1)
      assert.deepStrictEqual(yield* database.due(perfis, 10), [["a"]])
      assert.strictEqual(yield* database.retryQuarantined(perfis.name, null), 2)
      assert.lengthOf(yield* database.due(perfis, 10), 2)
      assert.lengthOf(yield* database.due(perfis, 1), 1)
    }))

  it.scopedLive("a key that waits is due when the row in its way is changed by the other side", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "z" })
      yield* settleAll(ready)
      yield* replit.app.insert(perfis.name, { id: "a" })
      for (let attempt = 1; attempt <= 6; attempt++) yield* replit.database.quarantine(perfis, [refusal("a", "z")])
      yield* external.app.insert(perfis.name, { id: "y" })
      yield* move(external, replit, perfis, "upserts")
      assert.deepStrictEqual(yield* replit.database.due(perfis, 10), [])
      yield* external.app.update(perfis.name, ["z"], { email: "free@x" })
      yield* move(external, replit, perfis, "upserts")
      assert.deepStrictEqual(yield* replit.database.due(perfis, 10), [["a"]])
    }))

  it.scopedLive("a key that waits is due when this side's change of the row in its way got through", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "z" })
      yield* settleAll(ready)
      yield* replit.app.insert(perfis.name, { id: "a" })
      for (let attempt = 1; attempt <= 6; attempt++) yield* replit.database.quarantine(perfis, [refusal("a", "z")])
      yield* replit.app.remove(perfis.name, ["z"])
      assert.deepStrictEqual(yield* replit.database.due(perfis, 10), [])
      yield* move(replit, external, perfis, "deletes")
      assert.deepStrictEqual(yield* replit.database.due(perfis, 10), [["a"]])
    }))

  it.scopedLive("a key leaves quarantine when it gets through, and when the other side's version wins", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      for (const id of ["a", "b"]) yield* replit.app.insert(perfis.name, { id, nome: "ours" })
      yield* replit.database.quarantine(perfis, [refusal("a"), refusal("b")])
      yield* move(replit, external, perfis, "upserts", { request: { _tag: "Keys", phase: "upserts", keys: [["a"]] } })
      assert.deepStrictEqual((yield* replit.database.quarantined(null)).map(({ key }) => key), [["b"]])
      yield* external.app.insert(perfis.name, { id: "b", nome: "theirs" })
      yield* move(external, replit, perfis, "upserts", { judge: () => "overwrite" })
      assert.deepStrictEqual(yield* replit.database.quarantined(null), [])
      assert.deepStrictEqual((yield* replit.database.conflicts({ limit: 9 })).map(({ key }) => key), [["b"]])
    }))

  it.scopedLive("a refusal of a key that is no longer pending is not noted", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* move(replit, external, perfis, "upserts")
      yield* replit.database.quarantine(perfis, [refusal("a"), refusal("z")])
      assert.deepStrictEqual(yield* replit.database.quarantined(null), [])
    }))

  it.scopedLive("discarding journals one's own version, and the other side's comes instead", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a", nome: "both" })
      yield* settleAll(ready)
      yield* replit.app.update(perfis.name, ["a"], { nome: "ours" })
      yield* replit.database.quarantine(perfis, [refusal("a")])
      const [entry] = yield* replit.database.quarantined(null)
      yield* external.database.mark(perfis, [["a"]])
      yield* replit.database.discard(perfis, entry!.id)
      assert.deepStrictEqual(yield* replit.database.quarantined(null), [])
      assert.deepStrictEqual(yield* waiting(replit, perfis), [])
      const [conflict] = yield* replit.database.conflicts({ limit: 9 })
      assert.deepInclude(conflict, { reason: "discard", lostSide: "replit", key: ["a"] })
      assert.deepInclude(conflict!.lost, { nome: "ours" })
      assert.deepInclude(yield* move(external, replit, perfis, "upserts"), { updated: 1, conflicts: 0 })
      assert.strictEqual((yield* replit.app.rows(perfis.name))[0]!["nome"], "both")
      const error = yield* Effect.flip(replit.database.discard(perfis, entry!.id))
      assert.strictEqual(error._tag, "ActionNeeded")
    }))
}
