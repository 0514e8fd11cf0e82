import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { checkText } from "../../src/cli/checkText.ts"
import { WorldRefused } from "../../src/domain/SyncError.ts"
import { check, checkExitCode } from "../../src/programs/check.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { makePair, perfis, perfisTable } from "../support/MemoryPair.ts"

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

const named = (name: string) => ({ ...perfisTable, name: { schema: "public", name } })

describe("check", () => {
  it.effect("finds nothing wrong with two databases that fit, set up or not", () =>
    Effect.gen(function*() {
      const { layer } = yield* makePair()
      const before = yield* Effect.provide(check, layer())
      assert.strictEqual(checkExitCode(before), 0)
      assert.isFalse(before.sides.replit.setUp)
      yield* Effect.provide(sync, layer())
      const after = yield* Effect.provide(check, layer())
      assert.strictEqual(checkExitCode(after), 0)
      assert.isTrue(after.sides.external.setUp)
      assert.isTrue(checkText(after).endsWith("\nReady: no problems."))
    }))

  it.effect("changes nothing", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      yield* Effect.provide(check, layer())
      assert.isNull(yield* servers.replit.database.identity)
      assert.deepStrictEqual(yield* servers.replit.database.captured, [])
    }))

  it.effect("names a table that is missing on one side, with the cure", () =>
    Effect.gen(function*() {
      const { layer } = yield* makePair({ external: [] })
      const found = yield* Effect.provide(check, layer())
      assert.strictEqual(checkExitCode(found), 3)
      assert.match(found.tables[0]!.problems[0]!, /does not exist .*`setup --create-missing` creates it/)
      assert.isTrue(checkText(found).endsWith("\n1 problem to solve."))
    }))

  it.effect("reports one side when the other can't be reached", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      const refused = new WorldRefused({ side: "external", sqlState: null, message: "External is away." })
      const gone = { ...servers.external.database, hello: Effect.fail(refused) }
      const found = yield* Effect.provide(check, layer({}, { external: gone }))
      assert.strictEqual(checkExitCode(found), 1)
      assert.isNotNull(found.sides.replit.server)
      assert.deepStrictEqual(found.sides.external.problems, ["External is away."])
      assert.deepStrictEqual(found.tables.map(({ table }) => table), ["perfis"])
      assert.match(checkText(found), /PROBLEM: External is away\.[^]*Could not be asked: external\.$/)
    }))

  it.effect("finds one database given twice", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      const twice = { ...servers.replit.connect(), side: "external" as const }
      const found = yield* Effect.provide(check, layer({}, { external: twice }))
      assert.strictEqual(checkExitCode(found), 3)
      assert.match(found.pair.problems[0]!, /lead to the same database/)
    }))

  it.effect("finds databases that are no pair", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* makePair(), yield* makePair()]
      yield* Effect.provide(sync, one.layer())
      yield* Effect.provide(sync, two.layer())
      const found = yield* Effect.provide(check, one.layer({}, { external: two.servers.external.connect() }))
      assert.match(found.pair.problems[0]!, /is paired with another/)
    }))

  it.effect("warns of an older script's changelog table and of triggers that fire for synced rows", () =>
    Effect.gen(function*() {
      const busy = {
        ...perfisTable,
        after: [{ name: "avisa", run: () => {} }],
        before: [{ name: "marca", run: () => null }]
      }
      const { layer } = yield* makePair({ replit: [busy, named("perfis_changelog")] })
      const found = yield* Effect.provide(check, layer())
      assert.match(found.sides.replit.notes[0]!, /perfis_changelog is a table.*Stop that script/)
      assert.match(
        found.tables[0]!.notes.join("\n"),
        /BEFORE triggers on Replit \(marca\)[^]*AFTER triggers on Replit \(avisa\)/
      )
      assert.strictEqual(checkExitCode(found), 0)
    }))

  it.effect("finds capture on a table that SYNC_TABLES no longer names", () =>
    Effect.gen(function*() {
      const tables = [perfisTable, named("antigos")]
      const { layer } = yield* makePair({ replit: tables, external: tables })
      yield* Effect.provide(sync, layer({ tables: tables.map(({ name }) => name) }))
      const found = yield* Effect.provide(check, layer({ tables: [perfis] }))
      assert.strictEqual(checkExitCode(found), 3)
      assert.match(found.sides.external.problems[0]!, /antigos .* run `teardown --table antigos`/)
    }))

  it.effect("tells clocks that are apart", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      yield* servers.external.setClockOffset(5_000)
      const found = yield* Effect.provide(check, layer())
      assert.match(found.pair.notes[0]!, /clocks are 5\.0 s apart: .* external seems that much later/)
    }))
})
