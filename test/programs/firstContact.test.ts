import { assert, describe, it } from "@effect/vitest"
import { Effect, Ref } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { contactLines } from "../../src/programs/announce.ts"
import type { Missing } from "../../src/programs/clearMissing.ts"
import { totalOf } from "../../src/programs/clearMissing.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import type { Choices } from "../../src/programs/reconcile.ts"
import { setup } from "../../src/programs/setup.ts"
import { verify } from "../../src/programs/verify.ts"
import type { MemoryTable } from "../../src/services/memory/MemoryTable.ts"
import type { MemoryPair } from "../support/MemoryPair.ts"
import { makePair, perfis, perfisTable, profile } from "../support/MemoryPair.ts"

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

const chosen = (choices: Choices) => setup({ createMissing: false, strict: true, choices })

const clearing = (answer: boolean, asked?: Ref.Ref<ReadonlyArray<Missing>>) =>
  setup({
    createMissing: false,
    strict: true,
    clearing: {
      confirm: (missing) => Effect.as(asked === undefined ? Effect.void : Ref.set(asked, missing), answer)
    }
  })

/** `ana` is equal; `bia` differs, newer on external; `r` is on Replit only, `x` and `y` on external only. */
const filled = Effect.gen(function*() {
  const pair = yield* makePair()
  const { external, replit } = pair.servers
  for (const { app } of [replit, external]) yield* app.insert(perfis, profile("ana", "Ana"))
  yield* replit.app.insert(perfis, profile("bia", "ours"))
  yield* external.app.insert(perfis, { ...profile("bia", "theirs"), updated_at: "2024-02-01 00:00:00+00" })
  yield* replit.app.insert(perfis, profile("r", "r"))
  for (const id of ["x", "y"]) yield* external.app.insert(perfis, profile(id, id))
  return pair
})

const idsOn = ({ servers }: MemoryPair, side: Side) =>
  Effect.map(servers[side].app.rows(perfis), (rows) => rows.map(({ id, nome }) => id === "bia" ? nome : id))

const journalOf = ({ servers }: MemoryPair, side: Side) =>
  Effect.map(
    servers[side].database.conflicts({ limit: 9 }),
    (found) => found.map(({ key, lost, reason }) => `${reason} ${key.join()} ${lost?.["nome"]}`).sort()
  )

describe("a first contact", () => {
  it.effect("sends a side nothing of what it has no row to compare with", () =>
    Effect.gen(function*() {
      for (const side of ["replit", "external"] as const) {
        const pair = yield* makePair()
        for (let n = 0; n < 300; n++) yield* pair.servers[side].app.insert(perfis, profile(`r${n}`, "x"))
        const { tables: [table] } = yield* Effect.provide(chosen({}), pair.layer())
        const { bytes, ranges, [side]: compared } = table!.reconciled!
        assert.deepInclude(compared, { onlyHere: 300, marked: 300 })
        // What one side answered about its ranges; a row's key and hash would be some 15 more.
        assert.isAtMost(bytes, 45 * ranges.different)
      }
    }))
})

describe("a first contact with a choice", () => {
  it.effect("goes by the table's rule and copies what one side lacks, without one", () =>
    Effect.gen(function*() {
      const pair = yield* filled
      yield* Effect.provide(chosen({ prefer: "newest", missing: "copy" }), pair.layer())
      yield* Effect.provide(sync, pair.layer())
      for (const side of ["replit", "external"] as const) {
        assert.deepStrictEqual(yield* idsOn(pair, side), ["ana", "theirs", "r", "x", "y"])
      }
      assert.deepStrictEqual(yield* journalOf(pair, "replit"), ["conflict bia ours"])
    }))

  it.effect("prefers a side's rows whatever their stamps say, and journals the losers", () =>
    Effect.gen(function*() {
      const pair = yield* filled
      yield* Effect.provide(chosen({ prefer: "replit" }), pair.layer())
      yield* Effect.provide(sync, pair.layer())
      for (const side of ["replit", "external"] as const) {
        assert.deepStrictEqual(yield* idsOn(pair, side), ["ana", "ours", "r", "x", "y"])
      }
      assert.deepStrictEqual(yield* journalOf(pair, "external"), ["conflict bia theirs"])
      const settings = { policies: { default: "replit-wins", byTable: new Map() } } as const
      const other = yield* filled
      yield* Effect.provide(chosen({ prefer: "external" }), other.layer(settings))
      yield* Effect.provide(sync, other.layer(settings))
      assert.deepStrictEqual(yield* idsOn(other, "replit"), ["ana", "theirs", "r", "x", "y"])
      // From then on the rule holds again.
      yield* other.servers.external.app.update(perfis, ["bia"], { nome: "theirs, later" })
      yield* other.servers.replit.app.update(perfis, ["bia"], { nome: "ours, earlier" })
      yield* Effect.provide(sync, other.layer(settings))
      assert.deepStrictEqual(yield* idsOn(other, "external"), ["ana", "ours, earlier", "r", "x", "y"])
    }))

  it.effect("leaves rows where they are, until they change or are repaired", () =>
    Effect.gen(function*() {
      const pair = yield* filled
      const { tables } = yield* Effect.provide(chosen({ missing: "keep" }), pair.layer())
      assert.match(contactLines(tables).join(), /left where they are: 1 on Replit, 2 on external/)
      yield* Effect.provide(sync, pair.layer())
      assert.deepStrictEqual(yield* idsOn(pair, "replit"), ["ana", "theirs", "r"])
      assert.deepStrictEqual(yield* idsOn(pair, "external"), ["ana", "theirs", "x", "y"])
      const verifying = (repair: boolean) =>
        Effect.provide(
          Effect.flatMap(makeCycle, (cycle) => verify(cycle, { repair, dryRun: false, show: 9 })),
          pair.layer()
        )
      assert.deepStrictEqual((yield* verifying(false)).tables[0]!.onlyOn, { replit: 1, external: 2 })
      yield* pair.servers.external.app.update(perfis, ["y"], { nome: "changed" })
      yield* Effect.provide(sync, pair.layer())
      assert.deepStrictEqual(yield* idsOn(pair, "replit"), ["ana", "theirs", "r", "y"])
      assert.strictEqual((yield* verifying(true)).tables[0]!.outcome, "equal")
    }))

  it.effect("deletes what one side lacks after asking, and the journal has it whole", () =>
    Effect.gen(function*() {
      const pair = yield* filled
      const asked = yield* Ref.make<ReadonlyArray<Missing>>([])
      const { cleared } = yield* Effect.provide(clearing(true, asked), pair.layer())
      assert.deepStrictEqual(yield* Ref.get(asked), [{ table: "perfis", rows: { replit: 1, external: 2 } }])
      assert.deepStrictEqual([cleared, totalOf(cleared)], [yield* Ref.get(asked), 3])
      yield* Effect.provide(sync, pair.layer())
      for (const side of ["replit", "external"] as const) {
        assert.deepStrictEqual(yield* idsOn(pair, side), ["ana", "theirs"])
      }
      assert.deepStrictEqual(yield* journalOf(pair, "replit"), ["conflict bia ours", "first-contact r r"])
      assert.deepStrictEqual(yield* journalOf(pair, "external"), ["first-contact x x", "first-contact y y"])
      const [table] = (yield* Effect.provide(clearing(true), pair.layer())).tables
      const [, kept] = yield* pair.servers.external.database.conflicts({ limit: 9 })
      yield* pair.servers.external.database.restore(table!.table, kept!.id)
      yield* Effect.provide(sync, pair.layer())
      assert.deepStrictEqual(yield* idsOn(pair, "replit"), ["ana", "theirs", "x"])
    }))

  it.effect("deletes nothing when nobody agrees", () =>
    Effect.gen(function*() {
      const pair = yield* filled
      const error = yield* Effect.flip(Effect.provide(clearing(false), pair.layer()))
      assert.strictEqual(error._tag, "ActionNeeded")
      assert.match(error.message, /Nothing was deleted.*3 rows would have gone/)
      assert.lengthOf(yield* idsOn(pair, "external"), 4)
      yield* Effect.provide(sync, pair.layer())
      assert.lengthOf(yield* idsOn(pair, "external"), 5)
    }))

  it.effect("never takes an empty side for one where everything was deleted", () =>
    Effect.gen(function*() {
      for (const empty of ["replit", "external"] as const) {
        const pair = yield* makePair()
        const filledSide = empty === "replit" ? "external" : "replit"
        yield* pair.servers[filledSide].app.insert(perfis, profile("ana", "Ana"))
        const error = yield* Effect.flip(Effect.provide(clearing(true), pair.layer()))
        assert.strictEqual(error._tag, "ActionNeeded")
        assert.match(error.message, /is empty on .* never means that everything was deleted/)
        yield* Effect.provide(sync, pair.layer())
        assert.lengthOf(yield* idsOn(pair, empty), 1)
        assert.lengthOf(yield* idsOn(pair, filledSide), 1)
      }
    }))

  it.effect("leaves a row alone that the app writes after capture began", () =>
    Effect.gen(function*() {
      const pair = yield* filled
      const late = setup({
        createMissing: false,
        strict: true,
        clearing: {
          confirm: () => Effect.as(Effect.orDie(pair.servers.external.app.insert(perfis, profile("z", "z"))), true)
        }
      })
      const { cleared } = yield* Effect.provide(late, pair.layer())
      assert.strictEqual(totalOf(cleared), 3)
      yield* Effect.provide(sync, pair.layer())
      assert.deepStrictEqual(yield* idsOn(pair, "replit"), ["ana", "theirs", "z"])
    }))

  it.effect("is one only once: tables that met before are left alone", () =>
    Effect.gen(function*() {
      const notas: MemoryTable = {
        name: { schema: "public", name: "notas" },
        columns: [{ name: "id", type: "integer" }],
        key: ["id"]
      }
      const pair = yield* makePair({ replit: [perfisTable, notas], external: [perfisTable, notas] })
      yield* pair.servers.replit.app.insert(perfis, profile("ana", "Ana"))
      yield* Effect.provide(sync, pair.layer())
      yield* pair.servers.external.app.insert(perfis, profile("x", "x"))
      for (const [side, id] of [["replit", "1"], ["external", "2"]] as const) {
        yield* pair.servers[side].app.insert(notas.name, { id })
      }
      const both = pair.layer({ tables: [perfis, notas.name] })
      const { cleared, tables } = yield* Effect.provide(clearing(true), both)
      assert.deepStrictEqual(cleared, [{ table: "notas", rows: { replit: 1, external: 1 } }])
      assert.deepStrictEqual(tables.map(({ isFirstContact }) => isFirstContact), [false, true])
      yield* Effect.provide(sync, both)
      assert.deepStrictEqual(yield* idsOn(pair, "replit"), ["ana", "x"])
      assert.lengthOf(yield* pair.servers.replit.app.rows(notas.name), 0)
    }))
})
