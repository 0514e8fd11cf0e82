import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { conflictsText, conflictText, quarantineText } from "../../src/cli/journalText.ts"
import {
  editConflict,
  keepConflict,
  listConflicts,
  restoreConflict,
  showConflict
} from "../../src/programs/conflicts.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { discardQuarantine, listQuarantine, retryQuarantine } from "../../src/programs/quarantine.ts"
import { syncedTable } from "../../src/programs/syncedTable.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

const namesOn = (rows: ReadonlyArray<Readonly<Record<string, string | null>>>) =>
  rows.map(({ id, nome }) => `${id} ${nome}`)

/** One conflict, lost by the side's version. */
const conflicted = Effect.gen(function*() {
  const pair = yield* makePair()
  yield* pair.servers.replit.app.insert(perfis, profile("ana", "Ana"))
  yield* Effect.provide(sync, pair.layer())
  yield* pair.servers.replit.app.update(perfis, ["ana"], { nome: "Old", updated_at: "2024-01-02 00:00:00+00" })
  yield* pair.servers.external.app.update(perfis, ["ana"], { nome: "New", updated_at: "2024-01-03 00:00:00+00" })
  yield* Effect.provide(sync, pair.layer())
  yield* TestClock.adjust("1 minute")
  return pair
})

/** Two rows that refuse each other by a unique e-mail. */
const quarantined = Effect.gen(function*() {
  const pair = yield* makePair()
  yield* pair.servers.replit.app.insert(perfis, { ...profile("bia", "Bia"), email: "same" })
  yield* pair.servers.external.app.insert(perfis, { ...profile("caio", "Caio"), email: "same" })
  yield* Effect.provide(sync, pair.layer())
  return pair
})

describe("conflicts", () => {
  it.effect("lists what lost, and shows both versions by the beginning of an id", () =>
    Effect.gen(function*() {
      const { layer } = yield* conflicted
      const found = yield* Effect.provide(listConflicts({ limit: 10 }), layer())
      assert.deepStrictEqual(found.map(({ key, lostSide, reason }) => [key, lostSide, reason]), [
        [["ana"], "replit", "conflict"]
      ])
      assert.match(conflictsText(found), /perfis\s+ana\s+Replit\s+conflict\s+no/)
      const shown = yield* Effect.provide(showConflict(found[0]!.id.slice(0, 8)), layer())
      assert.match(conflictText(shown), /\* {2}nome\s+Old\s+New/)
      assert.match(conflictText(shown), /\n {3}id\s+ana\s+ana/)
    }))

  it.effect("restores what lost on both sides, and keeps what that replaced", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* conflicted
      const [conflict] = yield* Effect.provide(listConflicts({ limit: 1 }), layer())
      yield* Effect.provide(restoreConflict(conflict!.id), layer())
      yield* Effect.provide(sync, layer())
      for (const side of ["replit", "external"] as const) {
        assert.deepStrictEqual(namesOn(yield* servers[side].app.rows(perfis)), ["ana Old"])
      }
      const found = yield* Effect.provide(listConflicts({ limit: 10 }), layer())
      assert.deepStrictEqual(found.map(({ lost, reason }) => [reason, lost?.["nome"]]), [
        ["restore", "New"],
        ["conflict", "Old"]
      ])
      const twice = yield* Effect.flip(Effect.provide(restoreConflict(conflict!.id), layer()))
      assert.strictEqual(twice._tag, "ActionNeeded")
    }))

  it.effect("decides a conflict field by field on both sides, and the decision can be undone", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* conflicted
      const [conflict] = yield* Effect.provide(listConflicts({ limit: 1, undecided: true }), layer())
      yield* servers.external.app.update(perfis, ["ana"], { email: "ana@exemplo.br" })
      yield* Effect.provide(sync, layer())
      yield* Effect.provide(editConflict(conflict!.id, { nome: "Both" }), layer())
      yield* Effect.provide(sync, layer())
      for (const side of ["replit", "external"] as const) {
        assert.deepInclude((yield* servers[side].app.rows(perfis))[0], { nome: "Both", email: "ana@exemplo.br" })
      }
      assert.deepStrictEqual(yield* Effect.provide(listConflicts({ limit: 9, undecided: true }), layer()), [])
      const [undo, first] = yield* Effect.provide(listConflicts({ limit: 9, undecided: false }), layer())
      assert.deepStrictEqual([undo?.reason, first?.id], ["restore", conflict!.id])
      yield* Effect.provide(restoreConflict(undo!.id), layer())
      yield* Effect.provide(sync, layer())
      assert.deepStrictEqual(namesOn(yield* servers.external.app.rows(perfis)), ["ana New"])
    }))

  it.effect("keeps what was decided, and changes no row", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* conflicted
      const [conflict] = yield* Effect.provide(listConflicts({ limit: 1 }), layer())
      yield* Effect.provide(keepConflict(conflict!.id.slice(0, 8)), layer())
      assert.deepStrictEqual(yield* Effect.provide(listConflicts({ limit: 9, undecided: true }), layer()), [])
      assert.match(conflictsText(yield* Effect.provide(listConflicts({ limit: 9 }), layer())), /conflict\s+kept/)
      assert.deepStrictEqual(namesOn(yield* servers.replit.app.rows(perfis)), ["ana New"])
    }))

  it.effect("edits no column that is the key's, hidden or not there", () =>
    Effect.gen(function*() {
      const { layer } = yield* conflicted
      const settings = { hidden: [{ table: perfis, column: "email" }] }
      const [conflict] = yield* Effect.provide(listConflicts({ limit: 1 }), layer(settings))
      for (
        const [changes, problem] of [
          [{}, /^No column was changed/],
          [{ updated_at: "2024-01-01" }, /^updated_at of perfis is set by the change itself/],
          [{ id: "b" }, /belongs to the primary key/],
          [{ email: "x" }, /is hidden \(SYNC_HIDE_COLUMNS\)/],
          [{ nomes: "x" }, /^perfis has no column nomes/]
        ] as const
      ) {
        const error = yield* Effect.flip(Effect.provide(editConflict(conflict!.id, changes), layer(settings)))
        assert.deepStrictEqual([error._tag, problem.test(error.message)], ["ActionNeeded", true], error.message)
      }
    }))

  it.effect("shows no value that is hidden, but that it differs", () =>
    Effect.gen(function*() {
      const { layer } = yield* conflicted
      const settings = { hidden: [{ table: perfis, column: "nome" }, { table: perfis, column: "id" }] }
      const [found] = yield* Effect.provide(listConflicts({ limit: 1 }), layer(settings))
      assert.deepInclude(found!, { key: ["(hidden)"], hidden: ["id", "nome"], differs: ["nome", "updated_at"] })
      assert.deepInclude(found!.lost, { id: "(hidden)", nome: "(hidden)", email: "ana@exemplo.pt" })
      const one = yield* Effect.provide(showConflict(found!.id), layer(settings))
      assert.deepStrictEqual(one, found)
      assert.notMatch(conflictText(one) + JSON.stringify(one) + conflictsText([one]), /Old|New|"ana"| ana /)
      assert.match(conflictText(one), /\* {2}nome\s+\(hidden\)\s+\(hidden\)/)
      const [nothing] = yield* Effect.provide(listConflicts({ limit: 1 }, { noValues: true }), layer())
      assert.notMatch(JSON.stringify(nothing), /Old|New|ana/)
      const restored = yield* Effect.provide(restoreConflict(found!.id), layer(settings))
      assert.deepStrictEqual(restored.key, ["(hidden)"])
    }))

  it.effect("refuses ids that are none and ids that nothing has", () =>
    Effect.gen(function*() {
      const { layer } = yield* conflicted
      for (
        const [id, problem] of [["%", /is no id/], ["", /is no id/], ["0123abc-", /There is no conflict/]] as const
      ) {
        const error = yield* Effect.flip(Effect.provide(showConflict(id), layer()))
        assert.strictEqual(error._tag, "ActionNeeded")
        assert.match(error.message, problem)
      }
    }))
})

describe("quarantine", () => {
  it.effect("lists what each side refused, and why", () =>
    Effect.gen(function*() {
      const { layer } = yield* quarantined
      const found = yield* Effect.provide(listQuarantine(null), layer())
      assert.deepStrictEqual(found.map(({ from, key }) => `${from} ${key.join()}`).sort(), [
        "external caio",
        "replit bia"
      ])
      assert.match(quarantineText(found), /perfis, key bia, from Replit\n\s+refused: .*perfis_email.*\(23505\)/)
      assert.match(quarantineText(found), /in its way: key caio on external/)
    }))

  it.effect("shows no hidden key, nor a trigger's own words about a table with hidden columns", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* quarantined
      const settings = { hidden: [{ table: perfis, column: "id" }] }
      const found = yield* Effect.provide(listQuarantine(null), layer(settings))
      assert.deepStrictEqual(found.map(({ blockedBy, key }) => [key, blockedBy]), [
        [["(hidden)"], ["(hidden)"]],
        [["(hidden)"], ["(hidden)"]]
      ])
      assert.include(found[0]!.message, "perfis_email")
      const table = yield* Effect.provide(syncedTable(perfis), layer())
      yield* servers.replit.connect().quarantine(table, [
        { key: ["bia"], sqlState: "P0001", message: "bia@exemplo.pt is too old", constraint: null, blockedBy: null }
      ])
      const said = (hidden: typeof settings | undefined) =>
        Effect.map(Effect.provide(listQuarantine(null), layer(hidden)), quarantineText)
      assert.include(yield* said(undefined), "bia@exemplo.pt is too old")
      assert.notInclude(yield* said(settings), "bia")
      const bia = found.find(({ from }) => from === "replit")!
      assert.deepStrictEqual((yield* Effect.provide(discardQuarantine(bia.id), layer(settings))).key, ["(hidden)"])
    }))

  it.effect("makes one row due, or all of them", () =>
    Effect.gen(function*() {
      const { layer } = yield* quarantined
      const [one] = yield* Effect.provide(listQuarantine(null), layer())
      assert.strictEqual(yield* Effect.provide(retryQuarantine(null), layer()), 2)
      assert.strictEqual(yield* Effect.provide(retryQuarantine(one!.id.slice(0, 8)), layer()), 1)
      const error = yield* Effect.flip(Effect.provide(retryQuarantine("0123-"), layer()))
      assert.strictEqual(error._tag, "ActionNeeded")
    }))

  it.effect("discards a row: the other side's version comes, and what was discarded is in the journal", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* quarantined
      const bia = (yield* Effect.provide(listQuarantine(null), layer())).find(({ from }) => from === "replit")!
      yield* Effect.provide(discardQuarantine(bia.id), layer())
      yield* Effect.provide(sync, layer())
      yield* Effect.provide(sync, layer())
      for (const side of ["replit", "external"] as const) {
        assert.deepStrictEqual(namesOn(yield* servers[side].app.rows(perfis)), ["caio Caio"])
      }
      assert.deepStrictEqual(yield* Effect.provide(listQuarantine(null), layer()), [])
      const [journaled] = yield* Effect.provide(listConflicts({ limit: 1 }), layer())
      assert.deepStrictEqual([journaled!.reason, journaled!.lost?.["nome"]], ["discard", "Bia"])
    }))

  it.effect("discards a row and brings it back before the next cycle: it goes, and nobody is said to have deleted it", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* quarantined
      yield* servers.external.app.update(perfis, ["caio"], { email: "other" })
      const bia = (yield* Effect.provide(listQuarantine(null), layer())).find(({ from }) => from === "replit")!
      yield* Effect.provide(discardQuarantine(bia.id), layer())
      const [discarded] = yield* Effect.provide(listConflicts({ limit: 1 }), layer())
      yield* TestClock.adjust("1 minute")
      yield* Effect.provide(editConflict(discarded!.id, { nome: "Beatriz" }), layer())
      yield* Effect.provide(sync, layer())
      for (const side of ["replit", "external"] as const) {
        assert.sameMembers(namesOn(yield* servers[side].app.rows(perfis)), ["bia Beatriz", "caio Caio"])
      }
      assert.deepStrictEqual(yield* Effect.provide(listConflicts({ limit: 9, undecided: true }), layer()), [])
    }))
})
