import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { logsText } from "../../src/cli/logsText.ts"
import { WorldRefused } from "../../src/domain/SyncError.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { logs } from "../../src/programs/logs.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

/** A cycle that moved a row, one that moved nothing, and one that failed with a sentence of two lines. */
const lived = Effect.gen(function*() {
  const { layer, servers } = yield* makePair()
  yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
  yield* Effect.provide(sync, layer())
  yield* TestClock.adjust("5 minutes")
  yield* Effect.provide(sync, layer())
  yield* TestClock.adjust("5 minutes")
  yield* servers.external.app.insert(perfis, profile("bia", "Bia"))
  const refused = new WorldRefused({ side: "external", sqlState: null, message: "External\nsaid no." })
  const away = { ...servers.external.connect(), ask: () => Effect.fail(refused) }
  yield* Effect.flip(Effect.provide(sync, layer({}, { external: away })))
  return layer()
})

describe("logs", () => {
  it.effect("lists cycles that moved something or failed, newest last, a line each with the reason of a failure", () =>
    Effect.gen(function*() {
      const text = logsText(yield* Effect.provide(logs(10), yield* lived))
      assert.match(
        text,
        /^started at .*outcome\n[- ]+\n1970-01-01 00:00:00Z +0 ms +1 row +0 rows +0 +0 +\d+ B +ok\n1970-01-01 00:10:00Z +\d.* +0 rows +0 rows +0 +0 +0 B +failed: External said no\.$/
      )
    }))

  it.effect("keeps the newest ones when they are limited", () =>
    Effect.gen(function*() {
      const runs = yield* Effect.provide(logs(1), yield* lived)
      assert.deepStrictEqual(runs.map(({ outcome }) => outcome), ["failed"])
    }))

  it.effect("says so when nothing was noted, set up or not", () =>
    Effect.gen(function*() {
      const { layer } = yield* makePair()
      assert.strictEqual(
        logsText(yield* Effect.provide(logs(10), layer())),
        "No cycle has moved anything or failed yet."
      )
    }))
})
