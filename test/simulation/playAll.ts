/** Tests of seeds, fifty in each. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Dropped } from "./Fate.ts"
import { failureOf } from "./playing.ts"

const perTest = 50

// Thousands of refusals are made, and vitest keeps a hundred frames of each.
Error.stackTraceLimit = 10

export const playAll = (first: number, last: number, dropped?: Dropped) =>
  describe("whatever happens, both sides converge and nothing is lost", () => {
    for (let from = first; from <= last; from += perTest) {
      const to = Math.min(last, from + perTest - 1)
      it.live(`seeds ${from} to ${to}`, () =>
        Effect.gen(function*() {
          for (let seed = from; seed <= to; seed++) {
            // A simulation never waits for anything real: let vitest get a word in.
            yield* Effect.sleep(0)
            assert.isNull(yield* failureOf(seed, dropped))
          }
        }), 120_000)
    }
  })
