import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { WorldRefused } from "../../src/domain/SyncError.ts"
import type { Cycle } from "../../src/programs/cycle.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { probe } from "../../src/programs/probe.ts"
import { makePair, perfis, perfisTable } from "../support/MemoryPair.ts"
import { outputOf } from "../support/Output.ts"

const probing = Effect.flatMap(makeCycle, (cycle) => probe(cycle, { from: "replit", table: null }))

describe("probe", () => {
  it.effect("shows that a row arrives, from either side, and leaves none behind", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      for (const from of ["replit", "external"] as const) {
        const probed = yield* Effect.flatMap(makeCycle, (cycle) => probe(cycle, { from, table: perfis })).pipe(
          Effect.provide(layer())
        )
        assert.deepStrictEqual([probed.arrived, probed.from, probed.table], [true, from, "perfis"])
        assert.deepStrictEqual(yield* servers.replit.app.rows(perfis), [])
        assert.deepStrictEqual(yield* servers.external.app.rows(perfis), [])
      }
    }))

  it.effect("says why a row did not arrive, and leaves neither row nor quarantine behind", () =>
    Effect.gen(function*() {
      const strict = { ...perfisTable, checks: [{ name: "no_probes", holds: () => false }] }
      const { layer, servers } = yield* makePair({ external: [strict] })
      const probed = yield* Effect.provide(probing, layer())
      assert.isFalse(probed.arrived)
      assert.match(probed.reason ?? "", /^external refused it: .*no_probes/)
      assert.deepStrictEqual(yield* servers.replit.app.rows(perfis), [])
      assert.deepStrictEqual(yield* servers.replit.database.quarantined(null), [])
    }))

  it.effect("cleans up when the cycle fails, and when it is stopped in the middle", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      const refused = new WorldRefused({ sqlState: null, message: "Refused." })
      const failing = cycleWhose(2, Effect.fail(refused))
      const { exit } = yield* outputOf(Effect.provide(Effect.flatMap(failing, fromReplit), layer()))
      assert.strictEqual((yield* Effect.flip(exit)).message, "Refused.")
      assert.deepStrictEqual(yield* servers.replit.app.rows(perfis), [])

      const reached = yield* Deferred.make<void>()
      const hanging = cycleWhose(2, Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never))
      const fiber = yield* Effect.fork(Effect.provide(Effect.flatMap(hanging, fromReplit), layer()))
      yield* Deferred.await(reached)
      assert.strictEqual((yield* servers.replit.app.rows(perfis)).length, 1)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* servers.replit.app.rows(perfis), [])
      assert.deepStrictEqual(yield* servers.external.app.rows(perfis), [])
    }))

  it.effect("refuses a table that is not synced", () =>
    Effect.gen(function*() {
      const { layer } = yield* makePair()
      const table = { schema: "public", name: "outra" }
      const error = yield* Effect.flatMap(makeCycle, (cycle) => probe(cycle, { from: "replit", table })).pipe(
        Effect.provide(layer()),
        Effect.flip
      )
      assert.strictEqual(error._tag, "ActionNeeded")
    }))
})

const fromReplit = (cycle: Cycle) => probe(cycle, { from: "replit", table: null })

/** A cycle whose n-th run does something else first. */
const cycleWhose = (n: number, first: Effect.Effect<never, WorldRefused>) =>
  Effect.map(makeCycle, (cycle): Cycle => {
    let runs = 0
    return (options) =>
      Effect.suspend(() => {
        runs++
        return runs === n ? first : cycle(options)
      })
  })
