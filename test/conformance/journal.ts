/** Conformance: conflicts and their way back, status, and what a probe needs. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Run } from "../../src/services/Database.ts"
import type { MakePair, Ready } from "./Pair.ts"
import { move, settleAll, setUp, waiting } from "./Pair.ts"

/** The external side loses a version of each key to Replit's, in this order. */
const lose = Effect.fnUntraced(function*(ready: Ready, keys: ReadonlyArray<string>) {
  const { external, perfis, replit } = ready
  for (const id of keys) {
    yield* replit.app.insert(perfis.name, { id, nome: "both", updated_at: "2024-01-01 00:00:00+00" })
  }
  yield* settleAll(ready)
  for (const id of keys) {
    yield* replit.app.update(perfis.name, [id], { nome: "ours" })
    yield* external.app.update(perfis.name, [id], { nome: "theirs", updated_at: "2024-01-02 00:00:00+00" })
    yield* move(replit, external, perfis, "upserts", { judge: () => "overwrite" })
    yield* Effect.sleep("2 millis")
  }
})

export const journal = (makePair: MakePair) => {
  it.scopedLive("conflicts are listed newest first, by table, and found by the beginning of their id", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, notas, perfis } = ready
      yield* lose(ready, ["a", "b", "c"])
      const { database } = external
      const conflicts = yield* database.conflicts({ limit: 2 })
      assert.deepStrictEqual(conflicts.map(({ key }) => key), [["c"], ["b"]])
      assert.lengthOf(yield* database.conflicts({ table: perfis.name, limit: 10 }), 3)
      assert.deepStrictEqual(yield* database.conflicts({ table: notas.name, limit: 10 }), [])
      const [{ id }] = conflicts as [typeof conflicts[number]]
      assert.deepStrictEqual(yield* database.conflict(id), conflicts[0])
      assert.deepStrictEqual(yield* database.conflict(id.slice(0, 20)), conflicts[0])
      assert.isNull(yield* database.conflict("no such id"))
      assert.isNull(yield* ready.replit.database.conflict(id))
      assert.strictEqual((yield* Effect.flip(database.conflict("")))._tag, "ActionNeeded")
    }))

  it.scopedLive("restoring brings the loser back as a change that wins, once, and journals what it replaces", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* lose(ready, ["a"])
      yield* replit.app.update(perfis.name, ["a"], { updated_at: "2999-01-01 00:00:00.000001+00" })
      yield* settleAll(ready)
      const [lost] = yield* external.database.conflicts({ limit: 1 })
      yield* external.database.restore(perfis, lost!.id.slice(0, 20))
      const [row] = yield* external.app.rows(perfis.name)
      assert.deepInclude(row, { nome: "theirs", updated_at: "2999-01-01 00:00:00.000002+00" })
      assert.deepStrictEqual(yield* waiting(external, perfis), ["a"])
      const [replaced] = yield* external.database.conflicts({ limit: 1 })
      assert.deepInclude(replaced, { reason: "restore", restoredAt: null })
      assert.deepInclude(replaced!.lost, { nome: "ours", updated_at: "2999-01-01 00:00:00.000001+00" })
      assert.isNotNull((yield* external.database.conflict(lost!.id))!.restoredAt)
      assert.strictEqual((yield* Effect.flip(external.database.restore(perfis, lost!.id)))._tag, "ActionNeeded")
      assert.strictEqual((yield* Effect.flip(external.database.restore(perfis, "no such id")))._tag, "ActionNeeded")
      yield* settleAll(ready)
      assert.deepStrictEqual(yield* replit.app.rows(perfis.name), [row!])
    }))

  it.scopedLive("restoring a row that is gone inserts it, and restoring a delete deletes", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* lose(ready, ["a"])
      yield* replit.app.remove(perfis.name, ["a"])
      yield* settleAll(ready)
      const [update] = yield* external.database.conflicts({ limit: 1 })
      yield* external.database.restore(perfis, update!.id)
      assert.deepInclude((yield* external.app.rows(perfis.name))[0], { id: "a", nome: "theirs" })
      yield* settleAll(ready)

      yield* external.app.remove(perfis.name, ["a"])
      yield* replit.app.update(perfis.name, ["a"], { nome: "ours" })
      yield* move(replit, external, perfis, "upserts", { judge: () => "overwrite" })
      const deletion = (yield* external.database.conflicts({ limit: 9 })).find(({ reason }) => reason === "conflict")
      assert.isNull(deletion!.lost)
      yield* external.database.restore(perfis, deletion!.id)
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), [])
      assert.deepStrictEqual(yield* waiting(external, perfis), ["-a"])
    }))

  it.scopedLive("what is kept is undecided no more, and can be restored all the same", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis } = ready
      yield* lose(ready, ["a", "b"])
      const { database } = external
      const keys = (undecided: boolean) =>
        Effect.map(database.conflicts({ limit: 10, undecided }), (found) => found.map(({ key }) => key[0]))
      assert.deepStrictEqual([yield* keys(true), yield* keys(false)], [["b", "a"], []])
      const [, first] = yield* database.conflicts({ limit: 10 })
      assert.isNull(first!.keptAt)
      yield* database.keep(first!.id)
      const kept = yield* database.conflict(first!.id)
      assert.isNotNull(kept?.keptAt)
      yield* Effect.sleep("2 millis")
      yield* database.keep(first!.id)
      assert.deepStrictEqual(yield* database.conflict(first!.id), kept)
      assert.deepStrictEqual([yield* keys(true), yield* keys(false)], [["b"], ["a"]])
      yield* database.restore(perfis, first!.id)
      // What the restore replaced is nobody's to decide: a person did.
      assert.deepStrictEqual([yield* keys(true), yield* keys(false)], [["b"], ["a", "a"]])
    }))

  it.scopedLive("editing writes the columns that were given as a change that wins, and journals what it replaces", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* lose(ready, ["a"])
      yield* replit.app.update(perfis.name, ["a"], { updated_at: "2999-01-01 00:00:00.000001+00" })
      yield* settleAll(ready)
      const [lost] = yield* external.database.conflicts({ limit: 1 })
      yield* external.database.edit(perfis, lost!.id.slice(0, 20), { nome: "edited" })
      const [row] = yield* external.app.rows(perfis.name)
      assert.deepInclude(row, { id: "a", nome: "edited", updated_at: "2999-01-01 00:00:00.000002+00" })
      assert.deepStrictEqual(yield* waiting(external, perfis), ["a"])
      const [replaced] = yield* external.database.conflicts({ limit: 1 })
      assert.deepInclude(replaced, { reason: "restore", restoredAt: null })
      assert.deepInclude(replaced!.lost, { nome: "ours" })
      const after = yield* external.database.conflict(lost!.id)
      assert.isNotNull(after?.keptAt)
      assert.isNull(after?.restoredAt)
      yield* settleAll(ready)
      assert.deepStrictEqual(yield* replit.app.rows(perfis.name), [row!])
      yield* external.database.restore(perfis, replaced!.id)
      assert.deepInclude((yield* external.app.rows(perfis.name))[0], { nome: "ours" })
      assert.strictEqual((yield* Effect.flip(external.database.edit(perfis, "0000-no", {})))._tag, "ActionNeeded")
    }))

  it.scopedLive("editing a row that is gone brings it back, with the rest as it lost", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* lose(ready, ["a"])
      const [before] = yield* external.app.rows(perfis.name)
      yield* replit.app.remove(perfis.name, ["a"])
      yield* settleAll(ready)
      const [lost] = yield* external.database.conflicts({ limit: 1 })
      yield* external.database.edit(perfis, lost!.id, { nome: null })
      const [row] = yield* external.app.rows(perfis.name)
      assert.deepStrictEqual({ ...row, updated_at: "" }, { ...before, nome: null, updated_at: "" })
      yield* settleAll(ready)
      assert.deepStrictEqual(yield* replit.app.rows(perfis.name), [row!])
    }))

  it.scopedLive("status counts rows, pending keys, quarantine and conflicts", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, notas, perfis } = ready
      yield* lose(ready, ["a", "b"])
      const [conflict] = yield* external.database.conflicts({ limit: 1 })
      yield* external.database.restore(perfis, conflict!.id)
      yield* external.app.insert(perfis.name, { id: "c" })
      yield* external.app.update(perfis.name, ["c"], { nome: "C" })
      yield* external.database.quarantine(perfis, [
        { key: ["c"], sqlState: "23505", message: "taken", constraint: null, blockedBy: null }
      ])
      const missing = { schema: "public", name: "nenhuma" }
      const { tables } = yield* external.database.status([perfis.name, notas.name, missing])
      const [first, second, third] = tables
      assert.deepInclude(first, {
        name: perfis.name,
        rows: 3,
        pending: 2,
        quarantined: 1,
        conflicts: 3,
        open: 2,
        undecided: 1
      })
      assert.isTrue(first!.oldestPendingSeconds! >= 0 && first!.oldestPendingSeconds! < 60)
      const empty = { pending: 0, quarantined: 0, conflicts: 0, open: 0, undecided: 0, oldestPendingSeconds: null }
      assert.deepInclude(second, { name: notas.name, rows: 0, ...empty })
      assert.deepInclude(third, { name: missing, rows: null, ...empty })
    }))

  it.scopedLive("the last runs that were worth noting are told, newest first", () =>
    Effect.gen(function*() {
      const { external, replit } = yield* setUp(makePair)
      const moved = { inserted: 1, updated: 2, deleted: 3, conflicts: 4, quarantined: 5, bytes: 6 }
      const run: Run = {
        startedAt: "2024-01-01T00:00:00.000Z",
        durationMs: 12,
        outcome: "failed",
        push: moved,
        pull: { ...moved, bytes: 7 },
        error: "the world said no"
      }
      assert.isNull((yield* replit.database.status([])).lastRun)
      yield* replit.database.finish(run)
      yield* replit.database.finish(null)
      assert.deepStrictEqual((yield* replit.database.status([])).lastRun, run)
      const next: Run = { ...run, startedAt: "2024-01-01T00:05:00.000Z", outcome: "ok", error: null }
      yield* replit.database.finish(next)
      assert.deepStrictEqual(yield* replit.database.runs(10), [next, run])
      assert.deepStrictEqual(yield* replit.database.runs(1), [next])
      assert.deepStrictEqual(yield* external.database.runs(10), [])
    }))

  it.scopedLive("a probe is an ordinary row that can be read and removed", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, itens, notas, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* settleAll(ready)
      for (const table of [perfis, notas, itens]) {
        const key = yield* replit.database.insertProbe(table, "vaivem-probe")
        yield* settleAll(ready)
        const row = yield* external.database.read(table, key)
        assert.isNotNull(row)
        assert.deepStrictEqual(row, yield* replit.database.read(table, key))
        yield* replit.database.remove(table, key)
        assert.isNull(yield* replit.database.read(table, key))
        yield* settleAll(ready)
        assert.isNull(yield* external.database.read(table, key))
      }
    }))
}
