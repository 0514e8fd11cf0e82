import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { enduring } from "../endure/enduring.ts"
import { asAdmin, freshPair } from "../support/TestPostgres.ts"

describe("the service in the long run", () => {
  it.scopedLive(
    "goes through 80 cycles with lost connections and refused rows, and leaves nothing behind",
    () =>
      Effect.gen(function*() {
        const endured = yield* Effect.provide(
          enduring(yield* freshPair, asAdmin, { cycles: 80, every: 40 }),
          NodeContext.layer
        )
        assert.deepStrictEqual(endured.warnings, [])
        assert.deepStrictEqual(endured.left, { sessions: 0, temporary: 0 })
        assert.strictEqual(endured.wrong, 0)
        assert.isAbove(endured.terminated, 3)
        assert.isAbove(endured.failed, 0)
        assert.isAbove(endured.refused, 0)
        assert.isBelow(endured.sessions, 11)
      }),
    240_000
  )
})
