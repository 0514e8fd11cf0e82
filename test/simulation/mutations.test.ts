/** Each of these mistakes must be found, and found early. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mutations } from "./mutations.ts"
import { shrink } from "./shrink.ts"
import { simulate } from "./simulate.ts"

Error.stackTraceLimit = 10

/** The first seed that finds it. A program that dies of the mistake is no finding. */
const catching = (mutation: (typeof mutations)[string]) =>
  Effect.gen(function*() {
    for (let seed = 1; seed <= 2000; seed++) {
      yield* Effect.sleep(0)
      const outcome = yield* simulate(seed, { mutation })
      if (outcome.problems.some((problem) => problem.endsWith(".") && !problem.includes("\n"))) return { seed, outcome }
    }
    return null
  })

describe("the simulation finds a program that", () => {
  for (const [name, mutation] of Object.entries(mutations)) {
    it.live(name, () => Effect.map(catching(mutation), (caught) => assert.isNotNull(caught)), 120_000)
  }
})

describe("histories that went wrong", () => {
  it.live("are made a quarter as long or less, and still go wrong", () =>
    Effect.gen(function*() {
      let [long, short] = [0, 0]
      // Of three, for how far one can be cut is its own: a mistake in timing needs the steps that make the time.
      for (
        const name of [
          "takes a lost answer for a commit",
          "acknowledges before the target commits",
          "acknowledges all changes up to the newest that was read"
        ]
      ) {
        const mutation = mutations[name]!
        const { outcome, seed } = (yield* catching(mutation))!
        const shrunk = yield* shrink(seed, outcome, { mutation, runsMax: 100 })
        assert.isNotEmpty(shrunk.problems)
        assert.isBelow(shrunk.story.length, outcome.story.length)
        long += outcome.happened.length
        short += shrunk.happened.length
      }
      assert.isAtMost(short, long / 4)
    }), 120_000)
})
