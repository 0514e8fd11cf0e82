import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { planText } from "../../src/cli/planText.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { plan, planExitCode } from "../../src/programs/plan.ts"
import type { MemoryTable } from "../../src/services/memory/MemoryTable.ts"
import { makePair, perfis, perfisTable, profile } from "../support/MemoryPair.ts"

const planned = plan({ readOnly: false, show: 5 })

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

const at = (id: string, nome: string, day: string | null) => ({
  ...profile(id, nome),
  updated_at: day === null ? null : `2024-01-${day} 00:00:00+00`
})

/** Two equal rows, one only on Replit, two only on external, and four that differ. */
const filled = Effect.gen(function*() {
  const pair = yield* makePair()
  const { external, replit } = pair.servers
  for (const { app } of [replit, external]) {
    for (const id of ["ana", "bia"]) yield* app.insert(perfis, profile(id, id))
  }
  yield* replit.app.insert(perfis, profile("r", "r"))
  for (const id of ["x", "y"]) yield* external.app.insert(perfis, profile(id, id))
  const differing = [["a", "02", "01"], ["b", "01", "02"], ["c", "01", "01"], ["d", null, null]] as const
  for (const [id, ours, theirs] of differing) {
    yield* replit.app.insert(perfis, at(id, "ours", ours))
    yield* external.app.insert(perfis, at(id, "theirs", theirs))
  }
  return pair
})

describe("plan", () => {
  it.effect("names no key that SYNC_HIDE_COLUMNS hides, neither of rows that differ nor of unique twins", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* filled
      yield* servers.replit.app.insert(perfis, { ...profile("nele", "n"), email: "twin" })
      yield* servers.external.app.insert(perfis, { ...profile("nela", "n"), email: "twin" })
      const text = (column: string) =>
        Effect.map(
          Effect.provide(planned, layer({ hidden: [{ table: perfis, column }] })),
          (found) => JSON.stringify(found) + planText(found)
        )
      assert.match(yield* text("email"), /nele/)
      const hidden = yield* text("id")
      assert.notMatch(hidden, /nel[ea]/)
      assert.match(hidden, / {4}\(hidden\): /)
    }))

  it.effect("counts what is on one side only, equal and different, and whom the rule makes the winner", () =>
    Effect.gen(function*() {
      const { layer } = yield* filled
      const found = yield* Effect.provide(planned, layer())
      const { equal, estimatedBytes, onlyOn, rows, rule, sample, setUp, twins, waiting, different } = found.tables[0]!
        .figures!
      assert.deepStrictEqual(rows, { replit: 7, external: 8 })
      assert.deepStrictEqual([onlyOn, equal, different], [{ replit: 1, external: 2 }, 2, 4])
      assert.deepStrictEqual(rule, {
        policy: "last-write-wins",
        stamp: "updated_at",
        replit: 1,
        external: 1,
        ties: 2
      })
      const stamp = (day: string) => `2024-01-${day}T00:00:00.000000Z`
      assert.deepStrictEqual([...sample].sort((a, b) => (a.key[0]! < b.key[0]! ? -1 : 1)), [
        { key: ["a"], winner: "replit", tie: false, stamps: { replit: stamp("02"), external: stamp("01") } },
        { key: ["b"], winner: "external", tie: false, stamps: { replit: stamp("01"), external: stamp("02") } },
        { key: ["c"], winner: "replit", tie: true, stamps: { replit: stamp("01"), external: stamp("01") } },
        { key: ["d"], winner: "replit", tie: true, stamps: { replit: null, external: null } }
      ])
      assert.isAbove(estimatedBytes, 7 * 70)
      assert.deepStrictEqual([setUp, waiting, twins.count, planExitCode(found)], [false, null, 0, 0])
    }))

  it.effect("goes by the policy of the table", () =>
    Effect.gen(function*() {
      const { layer } = yield* filled
      const settings = { policies: { default: "external-wins", byTable: new Map() } } as const
      const { rule } = (yield* Effect.provide(planned, layer(settings))).tables[0]!.figures!
      assert.deepStrictEqual([rule.policy, rule.replit, rule.external, rule.ties], ["external-wins", 0, 4, 0])
    }))

  it.effect("changes nothing: neither rows nor what is installed", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* filled
      const rows = () => Effect.all([servers.replit.app.rows(perfis), servers.external.app.rows(perfis)])
      const before = yield* rows()
      yield* Effect.provide(planned, layer())
      assert.deepStrictEqual(yield* rows(), before)
      for (const { database } of [servers.replit, servers.external]) {
        assert.isNull(yield* database.identity)
        assert.deepStrictEqual(yield* database.captured, [])
      }
    }))

  it.effect("finds rows of different keys that have one unique value, which would wait in quarantine", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* filled
      yield* servers.replit.app.insert(perfis, { ...profile("eva", "Eva"), email: "same@exemplo.pt" })
      yield* servers.external.app.insert(perfis, { ...profile("fabio", "Fábio"), email: "same@exemplo.pt" })
      const found = yield* Effect.provide(planned, layer())
      assert.deepStrictEqual(found.tables[0]!.figures!.twins, {
        count: 1,
        sample: [{ index: "perfis_email", replit: ["eva"], external: ["fabio"] }],
        complete: true,
        skipped: []
      })
      assert.strictEqual(planExitCode(found), 3)
      assert.match(planText(found), /unique twins {6}1 pair [^]*eva on Replit, fabio on external: perfis_email/)
    }))

  it.effect("says that an empty side is new, and what all rows of the other one take", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      for (const id of ["ana", "bia"]) yield* servers.replit.app.insert(perfis, profile(id, id))
      const found = yield* Effect.provide(planned, layer())
      const { figures, notes } = found.tables[0]!
      assert.deepStrictEqual(figures!.onlyOn, { replit: 2, external: 0 })
      assert.match(notes.join(), /It is empty on external: that means new, not deleted/)
      assert.strictEqual(planExitCode(found), 0)
    }))

  it.effect("tells a table that doesn't fit in the words of the contract, and plans the others", () =>
    Effect.gen(function*() {
      const other: MemoryTable = {
        name: { schema: "public", name: "notas" },
        columns: [{ name: "id", type: "integer" }, { name: "n", type: "integer" }],
        key: ["id"]
      }
      const theirs = { ...other, columns: [other.columns[0]!, { name: "n", type: "boolean" }] }
      const { layer } = yield* makePair({ replit: [perfisTable, other], external: [perfisTable, theirs] })
      const found = yield* Effect.provide(planned, layer({ tables: [other.name, perfis] }))
      assert.match(found.tables[0]!.problem!, /Column "n" of notas is integer on Replit and boolean on external/)
      assert.isNull(found.tables[0]!.figures)
      assert.strictEqual(found.tables[1]!.figures!.equal, 0)
      assert.strictEqual(planExitCode(found), 3)
      assert.match(planText(found), /^notas\n {2}PROBLEM: Column "n"/m)
    }))

  it.effect("tells a pair that is set up as such, with what is pending, beside the same figures", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* filled
      yield* Effect.provide(sync, layer())
      yield* servers.replit.app.update(perfis, ["ana"], { nome: "Ana Maria" })
      const found = yield* Effect.provide(planned, layer())
      const { different, equal, onlyOn, setUp, waiting } = found.tables[0]!.figures!
      assert.isTrue(setUp)
      assert.deepStrictEqual(waiting, {
        replit: { pending: 1, quarantined: 0 },
        external: { pending: 0, quarantined: 0 }
      })
      assert.deepStrictEqual([equal, different, onlyOn], [8, 1, { replit: 0, external: 0 }])
      assert.match(planText(found), /set up {12}yes[^]*waiting {11}1 pending and 0 in quarantine on Replit/)
    }))

  it.effect("tells two databases that are no pair", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* filled
      yield* Effect.provide(sync, layer())
      const swapped = layer({}, { replit: servers.external.database, external: servers.replit.database })
      const found = yield* Effect.provide(planned, swapped)
      assert.match(found.problems.join(), /swapped/)
      assert.strictEqual(planExitCode(found), 3)
    }))

  it.effect("names as many rows as it is asked for, and says how many more there are", () =>
    Effect.gen(function*() {
      const { layer } = yield* filled
      const found = yield* Effect.provide(plan({ readOnly: true, show: 1 }), layer())
      assert.lengthOf(found.tables[0]!.figures!.sample, 1)
      assert.match(planText(found), /… and 3 more: --show names as many as you say/)
    }))
})
