/** Conformance: what arrives, what is contested, and what is refused. */
import { assert, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import type { ApplyOptions, Contested, Verdict } from "../../src/services/Database.ts"
import type { MakePair } from "./Pair.ts"
import { move, next, settleAll, setUp, waiting } from "./Pair.ts"

const early = "2024-01-01 00:00:00+00"
const late = "2024-01-01 00:00:00.000001+00"

/** Gives one verdict and keeps what it was asked. */
const judging = (verdict: Verdict) => {
  const asked: Array<Contested> = []
  const judge = (contested: Contested): Verdict => {
    asked.push(contested)
    return verdict
  }
  return { asked, judge }
}

const never = (): Verdict => assert.fail("Nothing here is contested.")

export const applying = (makePair: MakePair) => {
  it.scopedLive("rows arrive as they are, and every change is counted", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      const { app } = replit
      const odd = "tab\t line\n back\\slash \\N \\. quote' ação 😀 \u0001"
      yield* app.insert(perfis.name, { id: odd, nome: "", email: null, updated_at: "2024-02-29 12:00:00.000001+00" })
      yield* app.insert(perfis.name, { id: "b", nome: "\\N", updated_at: null })
      yield* app.insert(perfis.name, { id: "c" })
      const inserted = yield* move(replit, external, perfis, "upserts", { judge: never })
      assert.deepInclude(inserted, { inserted: 3, updated: 0, deleted: 0, conflicts: 0, kept: [], locked: 0 })
      assert.isAbove(inserted!.bytes, 0)
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), yield* app.rows(perfis.name))

      yield* app.update(perfis.name, ["b"], { nome: null, email: "b@x" })
      yield* app.remove(perfis.name, ["c"])
      const updated = yield* move(replit, external, perfis, "upserts", { judge: never })
      const deleted = yield* move(replit, external, perfis, "deletes", { judge: never })
      assert.deepInclude(updated, { inserted: 0, updated: 1, deleted: 0 })
      assert.deepInclude(deleted, { inserted: 0, updated: 0, deleted: 1 })
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), yield* app.rows(perfis.name))
    }))

  it.scopedLive("what is applied is not pending there: there is no echo", () =>
    Effect.gen(function*() {
      const { external, itens, perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* replit.app.insert(itens.name, { perfil_id: "a", numero: "1" })
      yield* move(replit, external, perfis, "upserts")
      yield* move(replit, external, itens, "upserts")
      yield* replit.app.update(perfis.name, ["a"], { nome: "A" })
      yield* replit.app.changeKey(itens.name, ["a", "1"], ["a", "2"])
      yield* move(replit, external, perfis, "upserts")
      yield* move(replit, external, itens, "upserts")
      yield* replit.app.remove(itens.name, ["a", "2"])
      yield* move(replit, external, itens, "deletes")
      for (const table of [perfis, itens]) assert.deepStrictEqual(yield* waiting(external, table), [])
    }))

  it.scopedLive("applying twice is a no-op", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      for (const id of ["a", "b"]) yield* replit.app.insert(perfis.name, { id })
      yield* settleAll(ready)
      yield* replit.app.update(perfis.name, ["a"], { nome: "A" })
      yield* replit.app.remove(perfis.name, ["b"])
      yield* move(replit, external, perfis, "upserts", { acknowledge: false })
      yield* move(replit, external, perfis, "deletes", { acknowledge: false })
      const nothing = { inserted: 0, updated: 0, deleted: 0, conflicts: 0, kept: [] }
      assert.deepInclude(yield* move(replit, external, perfis, "upserts"), nothing)
      assert.deepInclude(yield* move(replit, external, perfis, "deletes"), nothing)
      assert.deepStrictEqual(yield* waiting(replit, perfis), [])
    }))

  it.scopedLive("a source that wins overwrites, and the loser is journaled whole", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a", updated_at: early })
      yield* settleAll(ready)
      yield* replit.app.update(perfis.name, ["a"], { nome: "ours", updated_at: "2024-03-01 00:00:00.000002+00" })
      yield* external.app.update(perfis.name, ["a"], {
        nome: "theirs",
        email: "x\ty",
        updated_at: "2024-03-01 00:00:00.000001+00"
      })
      const { asked, judge } = judging("overwrite")
      const applied = yield* move(replit, external, perfis, "upserts", { judge })
      assert.deepInclude(applied, { updated: 1, conflicts: 1, kept: [] })
      const us = 1_709_251_200_000_000n
      assert.deepStrictEqual(asked, [{
        number: 1,
        equal: false,
        applied: false,
        known: false,
        marked: { source: false, target: false },
        source: { present: true, stampUs: us + 2n },
        target: { present: true, stampUs: us + 1n }
      }])
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), yield* replit.app.rows(perfis.name))
      const [conflict, ...others] = yield* external.database.conflicts({ limit: 10 })
      assert.deepStrictEqual(others, [])
      assert.deepInclude(conflict, {
        lostSide: "external",
        table: perfis.name,
        key: ["a"],
        reason: "conflict",
        policy: "last-write-wins",
        lost: { id: "a", nome: "theirs", email: "x\ty", updated_at: "2024-03-01 00:00:00.000001+00" },
        won: { id: "a", nome: "ours", email: null, updated_at: "2024-03-01 00:00:00.000002+00" },
        restoredAt: null
      })
      assert.deepStrictEqual(yield* waiting(external, perfis), [])
      assert.deepStrictEqual(yield* waiting(replit, perfis), [])
    }))

  it.scopedLive("a target that wins changes nothing, and the source's change stays pending", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      for (const id of ["a", "b"]) yield* replit.app.insert(perfis.name, { id, updated_at: early })
      yield* settleAll(ready)
      yield* replit.app.update(perfis.name, ["a"], { nome: "ours" })
      yield* replit.app.update(perfis.name, ["b"], { nome: "ours" })
      yield* external.app.update(perfis.name, ["a"], { nome: "theirs" })
      const applied = yield* move(replit, external, perfis, "upserts", { judge: judging("keep").judge })
      assert.deepInclude(applied, { updated: 1, conflicts: 0, kept: [1], locked: 0 })
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ nome }) => nome), ["theirs", "ours"])
      assert.deepStrictEqual(yield* external.database.conflicts({ limit: 10 }), [])
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a"])
      assert.deepStrictEqual(yield* waiting(external, perfis), ["a"])
    }))

  it.scopedLive("the same content on both sides, and the same absence, is agreement", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "b" })
      yield* settleAll(ready)
      for (const { app } of [replit, external]) {
        yield* app.insert(perfis.name, { id: "a", nome: "A", updated_at: early })
        yield* app.remove(perfis.name, ["b"])
      }
      for (const phase of ["upserts", "deletes"] as const) {
        const { asked, judge } = judging("agree")
        const applied = yield* move(replit, external, perfis, phase, { judge })
        assert.deepStrictEqual(asked.map(({ applied: before, equal }) => ({ before, equal })), [{
          before: false,
          equal: true
        }])
        assert.deepInclude(applied, { inserted: 0, updated: 0, deleted: 0, conflicts: 0, kept: [] })
      }
      for (const side of [replit, external]) {
        assert.deepStrictEqual(yield* waiting(side, perfis), [])
        assert.deepStrictEqual(yield* side.database.conflicts({ limit: 10 }), [])
      }
    }))

  it.scopedLive("a change that was applied and not acknowledged is no conflict when the target goes on", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a", nome: "1", updated_at: late })
      yield* move(replit, external, perfis, "upserts", { acknowledge: false })
      yield* external.app.update(perfis.name, ["a"], { nome: "2", updated_at: early })
      const { asked, judge } = judging("seen")
      const applied = yield* move(replit, external, perfis, "upserts", { judge })
      assert.deepStrictEqual(asked.map(({ applied: before, equal }) => ({ before, equal })), [{
        before: true,
        equal: false
      }])
      assert.deepInclude(applied, { inserted: 0, updated: 0, kept: [], conflicts: 0 })
      assert.deepStrictEqual(yield* waiting(replit, perfis), [])
      assert.deepStrictEqual(yield* waiting(external, perfis), ["a"])
      yield* move(external, replit, perfis, "upserts", { judge: never })
      assert.strictEqual((yield* replit.app.rows(perfis.name))[0]!["nome"], "2")
    }))

  it.scopedLive("a change made on top of the target's own, not yet acknowledged, supersedes it and journals nothing", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      for (const id of ["a", "b"]) yield* external.app.insert(perfis.name, { id, nome: "1", updated_at: late })
      yield* move(external, replit, perfis, "upserts", { acknowledge: false })
      for (const id of ["a", "b"]) yield* replit.app.update(perfis.name, [id], { nome: "2", updated_at: early })
      // This one went on after all: now both sides have changes that the other one doesn't know.
      yield* external.app.update(perfis.name, ["b"], { nome: "3" })
      const asked: Array<boolean> = []
      const judge: ApplyOptions["judge"] = ({ known }) => {
        asked.push(known)
        return known ? "supersede" : "keep"
      }
      const applied = yield* move(replit, external, perfis, "upserts", { judge })
      assert.deepStrictEqual(asked, [true, false])
      assert.deepInclude(applied, { updated: 1, conflicts: 0, kept: [2] })
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ nome }) => nome), ["2", "3"])
      assert.deepStrictEqual(yield* waiting(external, perfis), ["b"])
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b"])
      assert.deepStrictEqual(yield* external.database.conflicts({ limit: 10 }), [])
    }))

  it.scopedLive("a change that meets no row and no change but a mark supersedes it and journals nothing", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      yield* external.database.mark(perfis, [["a"]])
      yield* replit.app.insert(perfis.name, { id: "a", nome: "1" })
      const { asked, judge } = judging("supersede")
      const applied = yield* move(replit, external, perfis, "upserts", { judge })
      assert.deepStrictEqual(asked.map(({ marked, target }) => [marked, target.present]), [
        [{ source: false, target: true }, false]
      ])
      assert.deepInclude(applied, { inserted: 1, conflicts: 0, kept: [] })
      for (const side of [replit, external]) {
        assert.deepStrictEqual((yield* side.app.rows(perfis.name)).map(({ nome }) => nome), ["1"])
        assert.deepStrictEqual(yield* waiting(side, perfis), [])
      }
      assert.deepStrictEqual(yield* external.database.conflicts({ limit: 10 }), [])
    }))

  it.scopedLive("a change made after the one that was applied is not taken for it", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a", nome: "1" })
      yield* move(replit, external, perfis, "upserts", { acknowledge: false })
      yield* external.app.update(perfis.name, ["a"], { nome: "2" })
      yield* replit.app.update(perfis.name, ["a"], { nome: "3" })
      const { asked, judge } = judging("keep")
      yield* move(replit, external, perfis, "upserts", { judge })
      assert.deepStrictEqual(asked.map(({ applied, equal }) => ({ applied, equal })), [{
        applied: false,
        equal: false
      }])
    }))

  it.scopedLive("a change that is committed late is not taken for a mark that went before it", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      for (const id of ["a", "b"]) yield* replit.app.insert(perfis.name, { id, nome: "both" })
      yield* settleAll(ready)
      const late = yield* replit.app.begin
      for (const id of ["a", "b"]) yield* late.update(perfis.name, [id], { nome: "late" })
      // The marks take newer ids than the changes, and go while those can't be seen; one of them isn't acknowledged.
      yield* replit.database.mark(perfis, [["a"], ["b"]])
      const only = (id: string) => ({ request: { _tag: "Keys" as const, phase: "upserts" as const, keys: [[id]] } })
      yield* move(replit, external, perfis, "upserts", only("a"))
      yield* move(replit, external, perfis, "upserts", { ...only("b"), acknowledge: false })
      yield* late.commit
      for (const id of ["a", "b"]) yield* external.app.update(perfis.name, [id], { nome: "theirs" })
      const { asked, judge } = judging("keep")
      yield* move(replit, external, perfis, "upserts", { judge })
      assert.deepStrictEqual(asked.map(({ applied, number }) => ({ applied, number })), [
        { applied: false, number: 1 },
        { applied: false, number: 2 }
      ])
    }))

  it.scopedLive("a row is judged by its stamp column, in whole microseconds, whatever is in it", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      const stamps = [null, "infinity", "-infinity", "1969-12-31 23:59:59.999999+00"]
      const ids = ["a", "b", "c", "d"]
      for (const id of ids) yield* replit.app.insert(perfis.name, { id, updated_at: early })
      yield* settleAll(ready)
      for (const [index, id] of ids.entries()) {
        yield* replit.app.update(perfis.name, [id], { nome: "ours", updated_at: stamps[index]! })
        yield* external.app.update(perfis.name, [id], { nome: "theirs", updated_at: late })
      }
      const { asked, judge } = judging("keep")
      assert.deepInclude(yield* move(replit, external, perfis, "upserts", { judge }), { kept: [1, 2, 3, 4] })
      assert.deepStrictEqual(asked.map(({ source }) => source.stampUs), [null, 2n ** 63n - 1n, -(2n ** 63n - 1n), -1n])
    }))

  it.scopedLive("a delete and an update of one row are judged by the delete's own time", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a", updated_at: early })
      yield* settleAll(ready)
      yield* replit.app.remove(perfis.name, ["a"])
      yield* external.app.update(perfis.name, ["a"], { nome: "theirs", updated_at: late })
      const { asked, judge } = judging("overwrite")
      assert.deepInclude(yield* move(replit, external, perfis, "deletes", { judge }), { deleted: 1, conflicts: 1 })
      assert.isFalse(asked[0]!.source.present)
      assert.isTrue(asked[0]!.source.stampUs! > asked[0]!.target.stampUs!)
      const [conflict] = yield* external.database.conflicts({ limit: 1 })
      assert.deepInclude(conflict, { won: null })
      assert.deepInclude(conflict!.lost, { nome: "theirs" })
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), [])
    }))

  it.scopedLive("a delete that loses is journaled as a delete", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* settleAll(ready)
      yield* replit.app.update(perfis.name, ["a"], { nome: "A" })
      yield* external.app.remove(perfis.name, ["a"])
      const { asked, judge } = judging("overwrite")
      assert.deepInclude(yield* move(replit, external, perfis, "upserts", { judge }), { inserted: 1, conflicts: 1 })
      assert.isFalse(asked[0]!.target.present)
      assert.isNotNull(asked[0]!.target.stampUs)
      assert.isNull((yield* external.database.conflicts({ limit: 1 }))[0]!.lost)
      assert.deepStrictEqual(yield* waiting(external, perfis), [])
    }))

  it.scopedLive("a changed key arrives as a change of the key, and the children follow", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, itens, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a", nome: "A" })
      yield* replit.app.insert(itens.name, { perfil_id: "a", numero: "1", updated_at: early })
      yield* settleAll(ready)
      yield* replit.app.changeKey(perfis.name, ["a"], ["b"])
      const applied = yield* move(replit, external, perfis, "upserts", { judge: never })
      assert.deepInclude(applied, { inserted: 0, updated: 1, deleted: 0 })
      assert.deepStrictEqual((yield* external.app.rows(itens.name)).map(({ perfil_id }) => perfil_id), ["b"])
      const deleted = yield* move(replit, external, perfis, "deletes", { judge: never })
      assert.deepInclude(deleted, { deleted: 0 })
      yield* settleAll(ready)
      for (const table of [perfis, itens]) {
        assert.deepStrictEqual(yield* external.app.rows(table.name), yield* replit.app.rows(table.name))
        for (const side of [replit, external]) assert.deepStrictEqual(yield* waiting(side, table), [])
      }
    }))

  it.scopedLive("a changed key whose new key is there already is an update and a delete", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a", nome: "A" })
      yield* replit.app.insert(perfis.name, { id: "b", nome: "B" })
      yield* settleAll(ready)
      yield* replit.app.remove(perfis.name, ["b"])
      yield* replit.app.changeKey(perfis.name, ["a"], ["b"])
      assert.deepInclude(yield* move(replit, external, perfis, "upserts"), { inserted: 0, updated: 1 })
      assert.deepInclude(yield* move(replit, external, perfis, "deletes"), { deleted: 1 })
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), yield* replit.app.rows(perfis.name))
    }))

  it.scopedLive("two rows that had one key, one after the other, both arrive", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a", nome: "first" })
      yield* settleAll(ready)
      yield* replit.app.changeKey(perfis.name, ["a"], ["b"])
      yield* replit.app.insert(perfis.name, { id: "a", nome: "second" })
      yield* replit.app.changeKey(perfis.name, ["a"], ["c"])
      yield* settleAll(ready)
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ nome }) => nome), ["first", "second"])
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), yield* replit.app.rows(perfis.name))
    }))

  it.scopedLive("a changed key whose old row the other side changed too arrives as a new row", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a", nome: "A" })
      yield* settleAll(ready)
      yield* replit.app.changeKey(perfis.name, ["a"], ["b"])
      yield* external.app.update(perfis.name, ["a"], { nome: "theirs" })
      const applied = yield* move(replit, external, perfis, "upserts", { judge: never })
      assert.deepInclude(applied, { inserted: 1, updated: 0, kept: [] })
      const { asked, judge } = judging("keep")
      assert.deepInclude(yield* move(replit, external, perfis, "deletes", { judge }), { kept: [1] })
      assert.isTrue(asked[0]!.target.present)
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ id }) => id), ["a", "b"])
    }))

  it.scopedLive("rows that a foreign key's cascade deletes are journaled and pending", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, itens, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* settleAll(ready)
      yield* external.app.insert(itens.name, { perfil_id: "a", numero: "7", texto: "kept in the journal" })
      yield* replit.app.remove(perfis.name, ["a"])
      assert.deepInclude(yield* move(replit, external, perfis, "deletes"), { deleted: 1 })
      assert.deepStrictEqual(yield* waiting(external, itens), ["-a,7"])
      const [conflict, ...others] = yield* external.database.conflicts({ limit: 10 })
      assert.deepStrictEqual(others, [])
      assert.deepInclude(conflict, { table: itens.name, key: ["a", "7"], reason: "cascade", won: null })
      assert.deepInclude(conflict!.lost, { numero: "7", texto: "kept in the journal" })
      assert.deepInclude(yield* move(external, replit, itens, "deletes"), { deleted: 0, kept: [] })
      assert.deepStrictEqual(yield* waiting(external, itens), [])
    }))

  it.scopedLive("a batch with a refused row leaves nothing, and the refusal names what is in the way", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* external.app.insert(perfis.name, { id: "z", email: "taken@x" })
      yield* settleAll(ready)
      yield* external.app.insert(perfis.name, { id: "y", email: "b@x" })
      for (const id of ["a", "b", "c"]) yield* replit.app.insert(perfis.name, { id, email: `${id}@x` })
      const error = yield* Effect.flip(move(replit, external, perfis, "upserts"))
      assert.strictEqual(error._tag, "RowRefused")
      if (error._tag !== "RowRefused") return
      assert.deepInclude(error, {
        side: "external",
        table: perfis.name,
        sqlState: "23505",
        constraint: "perfis_email",
        blockedBy: ["y"]
      })
      assert.notInclude(error.message, "b@x")
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ id }) => id), ["y", "z"])
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a", "b", "c"])
      assert.deepStrictEqual(yield* external.database.conflicts({ limit: 10 }), [])
    }))

  it.scopedLive("rows that swapped a unique value, or passed it on in a ring, arrive in one batch", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      const ids = ["a", "b", "c", "d", "e"]
      for (const id of ids) yield* replit.app.insert(perfis.name, { id, email: `${id}@x` })
      yield* settleAll(ready)
      for (const id of ids) yield* replit.app.update(perfis.name, [id], { email: null })
      const now = { a: "b@x", b: "a@x", c: "d@x", d: "e@x", e: "c@x" }
      for (const [id, email] of Object.entries(now)) yield* replit.app.update(perfis.name, [id], { email })
      const applied = yield* move(replit, external, perfis, "upserts", { judge: never })
      assert.deepInclude(applied, { updated: 5, inserted: 0, deleted: 0, kept: [] })
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), yield* replit.app.rows(perfis.name))
      for (const side of [replit, external]) assert.deepStrictEqual(yield* waiting(side, perfis), [])
    }))

  it.scopedLive("seeds of another table come along, unless they are there or pending, and agree when they travel", () =>
    Effect.gen(function*() {
      const { external, itens, perfis, replit } = yield* setUp(makePair)
      yield* external.app.insert(perfis.name, { id: "b", nome: "theirs" })
      yield* external.app.insert(perfis.name, { id: "c" })
      yield* external.app.remove(perfis.name, ["c"])
      for (const id of ["a", "b", "c"]) yield* replit.app.insert(perfis.name, { id, nome: "ours", updated_at: late })
      for (const id of ["a", "b"]) yield* replit.app.insert(itens.name, { perfil_id: id, numero: "1" })
      const parents = Stream.unwrapScoped(
        Effect.map(replit.database.claim(perfis, next("upserts")), (claim) => claim!.stream)
      )
      const applied = yield* move(replit, external, itens, "upserts", { seeds: [{ table: perfis, stream: parents }] })
      assert.deepInclude(applied, { inserted: 3, kept: [] })
      assert.deepStrictEqual(
        (yield* external.app.rows(perfis.name)).map(({ id, nome }) => [id, nome]),
        [["a", "ours"], ["b", "theirs"]]
      )
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a", "b", "c"])
      const { asked, judge } = judging("agree")
      yield* move(replit, external, perfis, "upserts", { judge: (some) => some.equal ? judge(some) : "keep" })
      assert.deepStrictEqual(asked.map(({ equal, number }) => ({ equal, number })), [{ equal: true, number: 1 }])
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b", "c"])
      assert.deepStrictEqual(yield* waiting(external, perfis), ["b", "-c"])
    }))

  it.scopedLive("a row is refused for its foreign key, its check, its type and the trigger that drops it", () =>
    Effect.gen(function*() {
      const { external, itens, notas, perfis, replit, visitas } = yield* setUp(makePair)
      const refused = (table: typeof perfis) => Effect.flip(move(replit, external, table, "upserts"))
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* replit.app.insert(itens.name, { perfil_id: "a", numero: "1" })
      assert.deepInclude(yield* refused(itens), { sqlState: "23503", constraint: "itens_perfil", blockedBy: null })
      yield* replit.app.insert(notas.name, { id: "1", texto: "proibido" })
      assert.deepInclude(yield* refused(notas), { sqlState: "23514", constraint: "notas_texto", blockedBy: null })
      yield* replit.app.update(notas.name, ["1"], { texto: "a text of more than 20" })
      assert.deepInclude(yield* refused(notas), { sqlState: "22001", blockedBy: null })
      yield* replit.app.insert(visitas.name, { id: "a", texto: "SOME" })
      assert.deepInclude(yield* refused(visitas), { _tag: "RowRefused", side: "external", table: visitas.name })
      for (const { name } of [itens, notas, visitas]) assert.deepStrictEqual(yield* external.app.rows(name), [])
    }))

  it.scopedLive("the user's BEFORE triggers don't alter what is applied", () =>
    Effect.gen(function*() {
      const { external, replit, visitas } = yield* setUp(makePair)
      yield* replit.app.insert(visitas.name, { id: "a", texto: "olá" })
      const source = yield* replit.app.rows(visitas.name)
      assert.strictEqual(source[0]!["texto"], "OLÁ")
      yield* Effect.sleep("2 millis")
      yield* move(replit, external, visitas, "upserts")
      assert.deepStrictEqual(yield* external.app.rows(visitas.name), source)
      yield* replit.app.update(visitas.name, ["a"], { texto: "outra" })
      yield* Effect.sleep("2 millis")
      yield* move(replit, external, visitas, "upserts")
      assert.deepStrictEqual(yield* external.app.rows(visitas.name), yield* replit.app.rows(visitas.name))
      assert.deepStrictEqual(yield* waiting(external, visitas), [])
    }))

  it.scopedLive("rows that the app has locked are waited for, or passed over and kept", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      for (const id of ["a", "b"]) yield* replit.app.insert(perfis.name, { id })
      yield* settleAll(ready)
      for (const id of ["a", "b"]) yield* replit.app.update(perfis.name, [id], { nome: "ours" })
      const open = yield* external.app.begin
      yield* open.update(perfis.name, ["a"], { nome: "theirs" })
      const error = yield* Effect.flip(move(replit, external, perfis, "upserts"))
      assert.deepInclude(error, { _tag: "Contended", reason: "lock-timeout" })
      const applied = yield* move(replit, external, perfis, "upserts", { locks: "skip" })
      assert.deepInclude(applied, { updated: 1, kept: [1], locked: 1 })
      yield* open.commit
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a"])
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ nome }) => nome), ["theirs", "ours"])
    }))

  it.scopedLive("a changed key whose old row the app has locked is waited for, or passed over and kept", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a", nome: "both" })
      yield* settleAll(ready)
      yield* replit.app.changeKey(perfis.name, ["a"], ["b"])
      const open = yield* external.app.begin
      yield* open.update(perfis.name, ["a"], { nome: "theirs" })
      const error = yield* Effect.flip(move(replit, external, perfis, "upserts"))
      assert.deepInclude(error, { _tag: "Contended", reason: "lock-timeout" })
      const applied = yield* move(replit, external, perfis, "upserts", { locks: "skip" })
      assert.deepInclude(applied, { inserted: 0, updated: 0, kept: [1], locked: 1 })
      yield* open.commit
      assert.deepInclude(yield* move(replit, external, perfis, "upserts"), { inserted: 1, updated: 0 })
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ nome }) => nome), ["theirs", "both"])
    }))

  it.scopedLive("a row that the app adds a child to can be updated meanwhile", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, itens, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* settleAll(ready)
      yield* replit.app.update(perfis.name, ["a"], { nome: "A" })
      const open = yield* external.app.begin
      yield* open.insert(itens.name, { perfil_id: "a", numero: "1" })
      assert.deepInclude(yield* move(replit, external, perfis, "upserts"), { updated: 1, kept: [] })
      yield* open.commit
    }))

  it.scopedLive("a row that triggers rewrite on both sides bounces three times, is held and told", () =>
    Effect.gen(function*() {
      const { external, replit, saltos } = yield* setUp(makePair)
      yield* replit.app.insert(saltos.name, { id: "a", n: "0" })
      let moves = 0
      const hop = Effect.gen(function*() {
        const there = yield* move(replit, external, saltos, "upserts")
        const back = yield* move(external, replit, saltos, "upserts")
        return [there, back].filter((applied) => applied !== null).length
      })
      for (let cycle = 0; cycle < 5; cycle++) moves += yield* hop
      assert.strictEqual(moves, 3)
      const held = [...yield* replit.database.quarantined(null), ...yield* external.database.quarantined(null)]
      assert.deepStrictEqual(held.map(({ key, table }) => ({ key, table })), [{ key: ["a"], table: saltos.name }])
      assert.match(held[0]!.message, /^bounces/)
      assert.deepStrictEqual([yield* replit.database.due(saltos, 9), yield* external.database.due(saltos, 9)], [[], []])
      const holder = held[0]!.from === "replit" ? replit : external
      yield* holder.app.update(saltos.name, ["a"], { n: "100" })
      assert.deepStrictEqual(yield* holder.database.due(saltos, 9), [["a"]])
      assert.lengthOf(
        yield* Effect.scoped(
          Effect.map(holder.database.claim(saltos, next("upserts")), (claim) => claim === null ? [] : [claim])
        ),
        0
      )
    }))
}
