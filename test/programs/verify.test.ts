import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { verifyText } from "../../src/cli/verifyText.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { pause, resume } from "../../src/programs/pausing.ts"
import { verify, verifyExitCode } from "../../src/programs/verify.ts"
import type { MemoryTable } from "../../src/services/memory/MemoryTable.ts"
import type { MemoryPair } from "../support/MemoryPair.ts"
import { makePair, perfis, perfisTable, profile } from "../support/MemoryPair.ts"
import { outputOf } from "../support/Output.ts"

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

const verified = (repair = false, dryRun = false) =>
  Effect.flatMap(makeCycle, (cycle) => verify(cycle, { repair, dryRun, show: 10 }))

/** Three rows, the same on both sides. */
const synced = Effect.gen(function*() {
  const pair = yield* makePair()
  for (const id of ["ana", "bia", "caio"]) yield* pair.servers.replit.app.insert(perfis, profile(id, id))
  yield* outputOf(Effect.provide(sync, pair.layer()))
  return pair
})

/** Makes the sides differ behind the back of capture, as a restored backup would. */
const spoil = Effect.fnUntraced(function*({ servers: { external } }: MemoryPair, name = perfis) {
  yield* external.alter(name, (table) => ({ ...table, columns: table.columns.filter(({ name }) => name !== "nome") }))
  yield* external.alter(name, (table) => ({
    ...table,
    columns: [...table.columns, { name: "nome", type: "text", default: "changed" }]
  }))
})

describe("verify", () => {
  it.effect("proves that both sides are equal", () =>
    Effect.gen(function*() {
      const { layer } = yield* synced
      const found = yield* Effect.provide(verified(), layer())
      assert.strictEqual(verifyExitCode(found), 0)
      assert.deepStrictEqual(found.tables[0]!.rows, { replit: 3, external: 3 })
      assert.strictEqual(found.tables[0]!.outcome, "equal")
    }))

  it.effect("names no key that SYNC_HIDE_COLUMNS hides", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* synced
      yield* servers.replit.app.insert(perfis, profile("duda", "Duda"))
      const hiding = (column: string) => layer({ hidden: [{ table: perfis, column }] })
      const keys = (column: string) =>
        Effect.map(Effect.provide(verified(), hiding(column)), ({ tables }) => tables[0]!.sample.map(({ key }) => key))
      assert.deepStrictEqual(yield* keys("email"), [["duda"]])
      assert.deepStrictEqual(yield* keys("id"), [["(hidden)"]])
    }))

  it.effect("can't tell while the keys that differ have changes on their way, whichever side they are on", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* synced
      yield* servers.replit.app.insert(perfis, profile("duda", "Duda"))
      yield* servers.replit.app.remove(perfis, ["ana"])
      yield* servers.external.app.update(perfis, ["bia"], { nome: "Beatriz" })
      const found = yield* Effect.provide(verified(), layer())
      assert.strictEqual(verifyExitCode(found), 1)
      const { different, onlyOn, outcome, sample, unproven } = found.tables[0]!
      assert.deepStrictEqual([outcome, unproven, different, onlyOn], ["unproven", 3, 0, { replit: 0, external: 0 }])
      assert.deepStrictEqual(sample.map(({ key, kind, why }) => `${key.join()} ${kind} ${why}`).sort(), [
        "ana only-on-external pending",
        "bia different pending",
        "duda only-on-replit pending"
      ])
      yield* Effect.provide(sync, layer())
      assert.strictEqual(verifyExitCode(yield* Effect.provide(verified(), layer())), 0)
    }))

  it.effect("finds what differs for no reason known, and repairs it by the conflict rule", () =>
    Effect.gen(function*() {
      const pair = yield* synced
      yield* spoil(pair)
      const found = yield* Effect.provide(verified(), pair.layer())
      assert.strictEqual(verifyExitCode(found), 3)
      assert.deepStrictEqual([found.tables[0]!.outcome, found.tables[0]!.different], ["different", 3])
      const { result: repaired } = yield* Effect.map(
        outputOf(Effect.provide(verified(true), pair.layer())),
        ({ exit }) => ({ result: exit })
      )
      const mended = yield* repaired
      assert.strictEqual(verifyExitCode(mended), 0)
      assert.isNotNull(mended.repaired)
      assert.deepStrictEqual(
        (yield* pair.servers.external.app.rows(perfis)).map(({ nome }) => nome),
        ["ana", "bia", "caio"]
      )
    }))

  it.effect("says what a repair would mark, and marks nothing, with --dry-run", () =>
    Effect.gen(function*() {
      const pair = yield* synced
      yield* spoil(pair)
      yield* pair.servers.replit.app.insert(perfis, profile("duda", "Duda"))
      const found = yield* Effect.provide(verified(true, true), pair.layer())
      assert.deepStrictEqual(found.wouldMark, { replit: 3, external: 3 })
      assert.deepStrictEqual([found.repaired, verifyExitCode(found)], [null, 3])
      const again = yield* Effect.provide(verified(), pair.layer())
      assert.deepStrictEqual([again.tables[0]!.different, again.tables[0]!.unproven, again.wouldMark], [3, 1, null])
    }))

  it.effect("says of a paused table that it differs, and repairs nothing of it until it is resumed", () =>
    Effect.gen(function*() {
      const pair = yield* synced
      yield* spoil(pair)
      yield* pair.servers.replit.app.insert(perfis, profile("duda", "Duda"))
      yield* Effect.provide(pause(perfis), pair.layer())
      assert.strictEqual((yield* Effect.provide(verified(true, true), pair.layer())).wouldMark, null)
      const found = yield* Effect.provide(verified(true), pair.layer())
      assert.deepStrictEqual([found.repaired, verifyExitCode(found)], [null, 3])
      assert.deepInclude(found.tables[0], { outcome: "different", different: 3, unproven: 1 })
      assert.match(
        verifyText(found),
        /is paused: its changes wait.* say `resume perfis`\. Until then .* leaves it as it is/
      )
      assert.notMatch(verifyText(found), /the next cycle moves it/)
      assert.deepStrictEqual((yield* pair.servers.replit.pending(perfis)).map(({ key }) => key), [["duda"]])
      assert.deepStrictEqual(yield* pair.servers.external.pending(perfis), [])

      yield* Effect.provide(resume(perfis), pair.layer())
      const { exit } = yield* outputOf(Effect.provide(verified(true), pair.layer()))
      const mended = yield* exit
      assert.deepStrictEqual([verifyExitCode(mended), mended.tables[0]!.outcome], [0, "equal"])
    }))

  it.effect("ends with 3, and not as if a cycle would move it, while all that differs waits in a paused table", () =>
    Effect.gen(function*() {
      const pair = yield* synced
      yield* Effect.provide(pause(null), pair.layer())
      assert.strictEqual(verifyExitCode(yield* Effect.provide(verified(), pair.layer())), 0)
      yield* pair.servers.replit.app.insert(perfis, profile("duda", "Duda"))
      const found = yield* Effect.provide(verified(), pair.layer())
      assert.deepStrictEqual([found.tables[0]!.outcome, verifyExitCode(found)], ["unproven", 3])
      assert.match(verifyText(found), /All tables are paused/)
    }))

  it.effect("repairs the other tables while one is paused", () =>
    Effect.gen(function*() {
      const notas: MemoryTable = {
        name: { schema: "public", name: "notas" },
        columns: [{ name: "id", type: "text" }, { name: "nome", type: "text" }],
        key: ["id"]
      }
      const both = [perfisTable, notas]
      const pair = yield* makePair({ replit: both, external: both })
      const layer = pair.layer({ tables: both.map(({ name }) => name) })
      for (const { name } of both) yield* pair.servers.replit.app.insert(name, { id: "ana", nome: "Ana" })
      yield* outputOf(Effect.provide(sync, layer))
      for (const { name } of both) yield* spoil(pair, name)
      yield* Effect.provide(pause(perfis), layer)
      assert.deepStrictEqual((yield* Effect.provide(verified(true, true), layer)).wouldMark, { replit: 1, external: 1 })
      const { exit } = yield* outputOf(Effect.provide(verified(true), layer))
      const found = yield* exit
      assert.deepStrictEqual(found.tables.map(({ outcome }) => outcome), ["different", "equal"])
      assert.deepStrictEqual([found.repaired?.paused.map(({ table }) => table), verifyExitCode(found)], [["perfis"], 3])
      for (const { pending } of [pair.servers.replit, pair.servers.external]) {
        assert.deepStrictEqual(yield* pending(perfis), [])
      }
    }))

  it.effect("marks nothing on a side that went back in time", () =>
    Effect.gen(function*() {
      const pair = yield* synced
      yield* pair.servers.external.database.takeAsItIs(null, { own: "00000000-0000-4000-8000-0000000000aa" })
      yield* spoil(pair)
      const error = yield* Effect.flip(Effect.provide(verified(true), pair.layer()))
      assert.match(error.message, /was restored to/)
      for (const { pending } of [pair.servers.replit, pair.servers.external]) {
        assert.deepStrictEqual(yield* pending(perfis), [])
      }
    }))

  it.effect("counts keys in quarantine as different", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* synced
      yield* servers.replit.app.insert(perfis, { ...profile("eva", "Eva"), email: "same" })
      yield* servers.external.app.insert(perfis, { ...profile("fabio", "Fábio"), email: "same" })
      yield* Effect.provide(sync, layer())
      const found = yield* Effect.provide(verified(), layer())
      assert.strictEqual(verifyExitCode(found), 3)
      assert.deepStrictEqual([found.tables[0]!.quarantined, found.tables[0]!.unproven], [2, 0])
    }))

  it.effect("asks for a set-up first", () =>
    Effect.gen(function*() {
      const { layer } = yield* makePair()
      const error = yield* Effect.flip(Effect.provide(verified(), layer()))
      assert.strictEqual(error._tag, "ActionNeeded")
      assert.match(error.message, /Not set up yet on both sides: perfis/)
    }))
})
