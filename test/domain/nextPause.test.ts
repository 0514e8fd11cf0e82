import { assert, describe, it } from "@effect/vitest"
import { type Before, nextPause, type Pauses } from "../../src/domain/nextPause.ts"

const eco: Pauses = { intervalMs: 5, maxIntervalMs: 60 }

/** Pauses after cycles that end like these. */
const after = (outcomes: ReadonlyArray<Omit<Before, "pauseMs">>, pauses: Pauses = eco) => {
  const seen = [nextPause(pauses, null)]
  for (const outcome of outcomes) seen.push(nextPause(pauses, { ...outcome, pauseMs: seen.at(-1)! }))
  return seen
}

const nothing = { outcome: "nothing", woken: false } as const

describe("the next pause", () => {
  it("is twice as long each time that nothing is found, up to the longest", () => {
    assert.deepStrictEqual(after([nothing, nothing, nothing, nothing, nothing]), [5, 10, 20, 40, 60, 60])
  })

  it("is the shortest again as soon as something is found, or nobody knows", () => {
    assert.deepStrictEqual(after([nothing, nothing, { outcome: "found", woken: false }, nothing]), [5, 10, 20, 5, 10])
    assert.deepStrictEqual(after([nothing, { outcome: "failed", woken: true }]), [5, 10, 5])
  })

  it("stays as it is after a cycle that Replit woke and that found nothing on external", () => {
    assert.deepStrictEqual(after([nothing, { outcome: "nothing", woken: true }, nothing]), [5, 10, 10, 20])
  })

  it("is always the interval without a longest one, and never shorter than it", () => {
    assert.deepStrictEqual(after([nothing, nothing], { intervalMs: 5, maxIntervalMs: null }), [5, 5, 5])
    assert.deepStrictEqual(after([nothing, nothing], { intervalMs: 90, maxIntervalMs: 60 }), [90, 90, 90])
  })
})
