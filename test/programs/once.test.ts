import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, TestClock } from "effect"
import { makeCycle } from "../../src/programs/cycle.ts"
import { once } from "../../src/programs/once.ts"
import { makePair, perfis, perfisTable, profile } from "../support/MemoryPair.ts"
import { outputOf } from "../support/Output.ts"

const run = Effect.flatMap(makeCycle, once)

describe("--once", () => {
  it.effect("tells what the first contact compared and what it moved, and a second run that nothing moved", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
      yield* servers.external.app.insert(perfis, profile("bia", "Bia"))
      const first = yield* outputOf(Effect.provide(run, layer()))
      assert.deepStrictEqual(first.exit, Exit.succeed(0 as const))
      assert.strictEqual(
        first.out[0],
        "perfis: compared 1 row on Replit with 1 on external; to be synced: 1 from Replit, 1 from external."
      )
      assert.match(first.out[1]!, /^Replit → external: 1 inserted, .* external → Replit: 1 inserted, /)
      const second = yield* outputOf(Effect.provide(run, layer()))
      assert.strictEqual(second.out.length, 1)
      assert.match(second.out[0]!, /^Replit → external: 0 inserted, .*0 B; external → Replit: 0 inserted, .*0 B; in /)
    }))

  it.effect("ends with 3 and a warning while rows are in quarantine", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      yield* servers.replit.app.insert(perfis, { ...profile("ana", "Ana"), email: "same" })
      yield* servers.external.app.insert(perfis, { ...profile("bia", "Bia"), email: "same" })
      const { exit, log, out } = yield* outputOf(Effect.provide(run, layer()))
      assert.deepStrictEqual(exit, Exit.succeed(3 as const))
      assert.match(out.at(-1)!, /waiting for you: 2 rows in quarantine$/)
      assert.isTrue(log.some((line) => /level=WARN.*2 rows in quarantine: see `quarantine list`/.test(line)))
    }))

  it.effect("warns of columns that don't travel and of tables that SYNC_TABLES no longer names", () =>
    Effect.gen(function*() {
      const old = { ...perfisTable, name: { schema: "public", name: "antigos" } }
      const more = { ...perfisTable, columns: [...perfisTable.columns, { name: "bio", type: "text" }] }
      const { layer } = yield* makePair({ replit: [more, old], external: [perfisTable, old] })
      yield* outputOf(Effect.provide(run, layer({ tables: [perfis, old.name] })))
      const { exit, log } = yield* outputOf(Effect.provide(run, layer()))
      assert.deepStrictEqual(exit, Exit.succeed(0 as const))
      assert.isTrue(log.some((line) => /Column ..?bio.*only on Replit/.test(line)))
      assert.isTrue(log.some((line) => line.includes("Table antigos is captured but not in SYNC_TABLES")))
    }))

  it.effect("warns of a hidden column that neither side has, for nothing is hidden by that", () =>
    Effect.gen(function*() {
      const { layer } = yield* makePair()
      const hidden = ["emial", "email"].map((column) => ({ table: perfis, column }))
      const { log } = yield* outputOf(Effect.provide(run, layer({ hidden })))
      assert.isTrue(
        log.some((line) => /SYNC_HIDE_COLUMNS names ..?emial..?, which perfis has on neither side/.test(line))
      )
    }))

  it.effect("waits for the lease, and says for how long when it gives up", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      const gaveUp = yield* Effect.scoped(Effect.gen(function*() {
        assert.isNotNull(yield* servers.replit.connect().lease)
        const fiber = yield* Effect.fork(outputOf(Effect.provide(run, layer({ retryFor: "1 minute" }))))
        yield* TestClock.adjust(Duration.seconds(75))
        return yield* Fiber.join(fiber)
      }))
      assert.isTrue(Exit.isFailure(gaveUp.exit))
      const error = yield* Effect.flip(gaveUp.exit as Exit.Exit<unknown, Error>)
      assert.match(error.message, /^Another copy of vaivem .* It was not done within 1 min: try again later/)
      assert.deepStrictEqual(gaveUp.out, [])
      const free = yield* outputOf(Effect.provide(run, layer()))
      assert.deepStrictEqual(free.exit, Exit.succeed(0 as const))
    }))
})
