/** Conformance: what a claim would take away, and what is held until a person has looked. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"
import { resolve } from "../../src/programs/resolve.ts"
import type { ClaimRequest, Holding, Phase, Selected } from "../../src/services/Database.ts"
import type { MakePair, Member } from "./Pair.ts"
import { move, read, settleAll, setUp, waiting } from "./Pair.ts"

/** Weighs what one side has pending, on the other. */
const weigh = (from: Member, to: Member, table: SyncedTable, phase: Phase, only: Selected = {}) =>
  Effect.scoped(Effect.gen(function*() {
    const request: ClaimRequest = { _tag: "Next", phase, after: null, rows: 1000, only }
    const claim = yield* from.database.claim(table, request)
    if (claim === null) return null
    const judge = resolve(table, from.database.side)
    const { deletes, moves, overwrites } = yield* to.database.weigh(table, claim, (it) => judge(it) === "overwrite")
    return { deletes: deletes.map(([key]) => key).sort(), overwrites: overwrites.map(([key]) => key).sort(), moves }
  }))

const holding = (changeId: bigint): Holding => ({
  replit: { deletes: 3, overwrites: 1, rows: 10, changeId, changes: 4, writers: ["7/42"] },
  external: { deletes: 0, overwrites: 0, rows: 0, changeId: 0n, changes: 0, writers: [] }
})

export const braking = (makePair: MakePair) => {
  it.scopedLive("weighing counts rows that would be deleted or overwritten, and changes nothing", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      for (const id of ["a", "b", "c"]) yield* replit.app.insert(perfis.name, { id, nome: id })
      yield* settleAll(ready)
      yield* external.app.update(perfis.name, ["a"], { nome: "de fora" })
      yield* external.app.update(perfis.name, ["b"], { nome: "de fora" })
      yield* Effect.sleep("2 millis")
      yield* replit.app.remove(perfis.name, ["a"])
      yield* replit.app.update(perfis.name, ["b"], { nome: "de dentro" })
      yield* replit.app.remove(perfis.name, ["c"])
      // The other side never had this one.
      yield* replit.app.insert(perfis.name, { id: "d" })
      yield* replit.app.remove(perfis.name, ["d"])
      assert.deepStrictEqual(yield* weigh(replit, external, perfis, "deletes"), {
        deletes: ["c"],
        overwrites: ["a"],
        moves: []
      })
      assert.deepStrictEqual(yield* weigh(replit, external, perfis, "upserts"), {
        deletes: [],
        overwrites: ["b"],
        moves: []
      })
      assert.deepStrictEqual(yield* weigh(external, replit, perfis, "upserts"), {
        deletes: [],
        overwrites: [],
        moves: []
      })
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b", "-a", "-c", "-d"])
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ id }) => id), ["a", "b", "c"])
      assert.strictEqual(yield* external.database.countRows(perfis, null), 3)
      assert.strictEqual(yield* external.database.countRows(perfis, 2), 2)
    }))

  it.scopedLive("a claim takes only changes of a range, and no old keys that are there under another", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      for (const id of ["a", "b", "c"]) yield* replit.app.insert(perfis.name, { id })
      yield* settleAll(ready)
      yield* replit.app.remove(perfis.name, ["a"])
      const { newest } = yield* replit.database.glance(perfis, 0n)
      yield* replit.app.remove(perfis.name, ["b"])
      yield* replit.app.changeKey(perfis.name, ["c"], ["e"])
      const claimed = (only: Selected) =>
        Effect.map(
          read(replit, perfis, { _tag: "Next", phase: "deletes", after: null, rows: 10, only }),
          (rows) => rows.map(({ values }) => values[0])
        )
      assert.deepStrictEqual(yield* claimed({ upTo: newest }), ["a"])
      assert.deepStrictEqual(yield* claimed({ after: newest }), ["b", "c"])
      assert.deepStrictEqual(yield* claimed({ after: newest, vanished: true }), ["b"])
      assert.deepStrictEqual(yield* claimed({ after: newest, vanished: false }), ["c"])
      const later = yield* replit.database.glance(perfis, newest)
      assert.deepInclude(later, { changes: 3, removals: 2, allChanges: 4, allRemovals: 3, moves: 1 })
      assert.isTrue(later.newest > newest)
      yield* move(replit, external, perfis, "upserts")
      yield* move(replit, external, perfis, "deletes", {
        request: { _tag: "Next", phase: "deletes", after: null, rows: 10, only: { upTo: newest } }
      })
      assert.deepStrictEqual((yield* external.app.rows(perfis.name)).map(({ id }) => id), ["b", "e"])
    }))

  it.scopedLive("weighing tells old keys that the other side contests, and which keys came in their place", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      for (const id of ["a", "b"]) yield* replit.app.insert(perfis.name, { id })
      yield* settleAll(ready)
      yield* external.app.update(perfis.name, ["a"], { nome: "de fora" })
      yield* Effect.sleep("2 millis")
      yield* replit.app.changeKey(perfis.name, ["a"], ["c"])
      yield* replit.app.changeKey(perfis.name, ["b"], ["d"])
      const oldKeys = yield* weigh(replit, external, perfis, "deletes", { vanished: false })
      assert.deepInclude(oldKeys, { deletes: ["b"], overwrites: ["a"] })
      const upserts = yield* weigh(replit, external, perfis, "upserts")
      assert.deepInclude(upserts, { overwrites: [], moves: [{ key: ["c"], was: ["a"] }, { key: ["d"], was: ["b"] }] })
      assert.isNull(yield* weigh(replit, external, perfis, "deletes", { vanished: true }))
    }))

  it.scopedLive("a claim of changes passes over what is only marked, however many that are", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { perfis, replit } = ready
      const ids = Array.from({ length: 30 }, (_, n) => `r${n + 10}`)
      for (const id of ids) yield* replit.app.insert(perfis.name, { id })
      yield* settleAll(ready)
      yield* replit.database.mark(perfis, ids.map((id) => [id]))
      yield* replit.app.update(perfis.name, ["r25"], { nome: "mudou" })
      yield* replit.app.remove(perfis.name, ["r38"])
      yield* replit.app.insert(perfis.name, { id: "r99" })
      const claimed = (phase: Phase, rows: number, only?: Selected) =>
        Effect.map(
          read(replit, perfis, { _tag: "Next", phase, after: null, rows, ...(only === undefined ? {} : { only }) }),
          (found) => found.map(({ values }) => values[0])
        )
      assert.deepStrictEqual(yield* claimed("upserts", 2, { changed: true }), ["r25", "r99"])
      assert.deepStrictEqual(yield* claimed("upserts", 1, { changed: true }), ["r25"])
      assert.deepStrictEqual(yield* claimed("deletes", 2, { changed: true }), ["r38"])
      assert.deepStrictEqual(yield* claimed("upserts", 2), ["r10", "r11"])
    }))

  it.scopedLive("a glance names transactions that have written and are open, whose changes come among those that it counted", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      const idle = yield* app.begin
      const late = yield* app.begin
      yield* late.insert(perfis.name, { id: "b" })
      yield* app.insert(perfis.name, { id: "a" })
      const first = yield* database.glance(perfis, 0n)
      assert.deepInclude(first, { changes: 1, allChanges: 1 })
      assert.lengthOf(first.writers, 1)
      assert.deepStrictEqual((yield* database.glance(perfis, first.newest)).writers, first.writers)
      yield* late.commit
      const then = yield* database.glance(perfis, first.newest)
      assert.deepInclude(then, { changes: 0, allChanges: 2, writers: [] })
      yield* idle.rollback
    }))

  it.scopedLive("a question counts changes as far as it says, and knows what is held", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      for (const id of ["a", "b", "c"]) yield* replit.app.insert(perfis.name, { id })
      const ask = (countTo: number) =>
        Effect.map(replit.database.ask({ tables: [perfis.name], countTo }), ({ tables }) => tables[0])
      assert.deepInclude(yield* ask(0), { waiting: 0, held: false, pending: true })
      assert.deepInclude(yield* ask(2), { waiting: 2 })
      assert.deepInclude(yield* ask(10), { waiting: 3 })
      yield* replit.database.holdTable(perfis.name, holding(7n))
      assert.deepInclude(yield* ask(10), { waiting: 3, held: true })
    }))

  it.scopedLive("a hold is remembered until it is released, and what was approved stays so", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      const { database } = replit
      assert.deepStrictEqual(yield* database.held, [])
      yield* database.holdTable(perfis.name, holding(7n))
      const [held] = yield* database.held
      assert.deepInclude(held, { table: perfis.name, holding: holding(7n), approved: { replit: 0n, external: 0n } })
      assert.isNotNull(held!.since)
      yield* database.releaseTable(perfis.name, true)
      assert.deepInclude((yield* database.held)[0], { since: null, approved: { replit: 7n, external: 0n } })
      yield* database.holdTable(perfis.name, holding(9n))
      yield* database.releaseTable(perfis.name, false)
      yield* database.releaseTable(perfis.name, true)
      assert.deepInclude((yield* database.held)[0], { since: null, approved: { replit: 7n, external: 0n } })
      yield* database.uncapture(perfis.name)
      assert.deepStrictEqual(yield* database.held, [])
    }))

  it.scopedLive("what is paused is told with the question until it is resumed, with nothing pending too", () =>
    Effect.gen(function*() {
      const { notas, perfis, replit } = yield* setUp(makePair)
      const { database } = replit
      let known: string | null = null
      const told = Effect.gen(function*() {
        const { pauses, state } = yield* database.ask({ tables: [notas.name, perfis.name], known })
        known = state
        return pauses
      })
      assert.deepStrictEqual(yield* told, [])
      yield* database.pauseTable(perfis.name)
      assert.deepStrictEqual(yield* told, [perfis.name])
      const [first, ...others] = yield* database.pauses
      assert.deepStrictEqual([first?.table, others], [perfis.name, []])
      yield* Effect.sleep("2 millis")
      yield* database.pauseTable(perfis.name)
      assert.deepStrictEqual(yield* database.pauses, [first!])
      yield* database.pauseTable(null)
      assert.deepStrictEqual(yield* told, [null, perfis.name])
      assert.deepStrictEqual((yield* database.pauses).map(({ table }) => table), [null, perfis.name])
      yield* database.resumeTable(notas.name)
      yield* database.resumeTable(perfis.name)
      assert.deepStrictEqual(yield* told, [null])
      yield* database.pauseTable(notas.name)
      yield* database.resumeTable(null)
      assert.deepStrictEqual([yield* told, yield* database.pauses], [[], []])
      yield* database.pauseTable(perfis.name)
      yield* database.uncapture(perfis.name)
      assert.deepStrictEqual(yield* database.pauses, [])
    }))

  it.scopedLive("changes that are given up are history, with their versions in the conflicts, but none that came later", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { perfis, replit } = ready
      for (const id of ["a", "b", "c"]) yield* replit.app.insert(perfis.name, { id, nome: id })
      yield* settleAll(ready)
      yield* replit.app.remove(perfis.name, ["a"])
      yield* replit.app.update(perfis.name, ["b"], { nome: "B" })
      yield* replit.app.remove(perfis.name, ["c"])
      const { newest } = yield* replit.database.glance(perfis, 0n)
      yield* replit.app.insert(perfis.name, { id: "c", nome: "outra" })
      const given = { upTo: newest, journal: false }
      assert.strictEqual(yield* replit.database.giveUp(perfis, [["a"], ["c"]], given), 1)
      assert.strictEqual(yield* replit.database.giveUp(perfis, [["b"]], { upTo: newest, journal: true }), 1)
      assert.strictEqual(yield* replit.database.giveUp(perfis, [["b"]], { upTo: newest, journal: true }), 0)
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["c"])
      const [lost, ...others] = yield* replit.database.conflicts({ limit: 10 })
      assert.deepStrictEqual(others, [])
      assert.deepInclude(lost, { reason: "rejected", lostSide: "replit", key: ["b"], won: null })
      assert.strictEqual(lost?.lost?.["nome"], "B")
    }))
}
