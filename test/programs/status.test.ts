import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import { statusText } from "../../src/cli/statusText.ts"
import { WorldRefused } from "../../src/domain/SyncError.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { status } from "../../src/programs/status.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

describe("status", () => {
  it.effect("says that nothing is set up yet", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      const found = yield* Effect.provide(status, layer())
      assert.deepStrictEqual(found.setUp, { replit: false, external: false })
      assert.strictEqual(found.tables[0]!.replit!.rows, 1)
      assert.include(statusText(found), "Not set up yet on Replit and external")
    }))

  it.effect("counts rows, pending changes and conflicts on both sides", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      yield* Effect.provide(sync, layer())
      yield* servers.replit.app.update(perfis, ["ana"], { nome: "A", updated_at: "2024-01-02 00:00:00+00" })
      yield* servers.external.app.update(perfis, ["ana"], { nome: "B", updated_at: "2024-01-03 00:00:00+00" })
      yield* Effect.provide(sync, layer())
      yield* TestClock.adjust("90 seconds")
      yield* servers.external.app.insert(perfis, profile("bia", "Bia"))
      yield* TestClock.adjust("42 seconds")
      const found = yield* Effect.provide(status, layer())
      const [table] = found.tables
      assert.deepStrictEqual(table, {
        table: "perfis",
        replit: {
          rows: 1,
          pending: 0,
          oldestPendingSeconds: null,
          quarantined: 0,
          conflicts: 1,
          unrestored: 1,
          undecided: 1
        },
        external: {
          rows: 2,
          pending: 1,
          oldestPendingSeconds: 42,
          quarantined: 0,
          conflicts: 0,
          unrestored: 0,
          undecided: 0
        },
        proven: null
      })
      assert.strictEqual(found.lastRun?.pull.conflicts, 1)
      assert.match(statusText(found), /perfis\s+external\s+2\s+1\s+42 s/)
      assert.include(statusText(found), "Last cycle: 1970-01-01 00:00:00Z")
    }))

  it.effect("does not wait for the lease", () =>
    Effect.scoped(Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      assert.isNotNull(yield* servers.replit.connect().lease)
      yield* Effect.provide(status, layer())
    })))

  it.effect("shows one side when the other can't be asked", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      const refused = new WorldRefused({ side: "external", sqlState: null, message: "External is away." })
      const gone = { ...servers.external.database, identity: Effect.fail(refused) }
      const fiber = yield* Effect.fork(Effect.provide(status, layer({}, { external: gone })))
      yield* TestClock.adjust("10 seconds")
      const found = yield* Fiber.join(fiber)
      assert.isNull(found.tables[0]!.external)
      assert.isNotNull(found.tables[0]!.replit)
      assert.deepStrictEqual(found.unreachable, [{ side: "external", message: "External is away.", exitCode: 1 }])
      assert.isTrue(statusText(found).endsWith("External is away."))
    }))
})
