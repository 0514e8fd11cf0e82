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

describe("a history that went wrong", () => {
  it.live("is made shorter, and still goes wrong", () =>
    Effect.gen(function*() {
      const mutation = mutations["takes a lost answer for a commit"]!
      const { outcome, seed } = (yield* catching(mutation))!
      const short = yield* shrink(seed, outcome, { mutation, runsMax: 100 })
      assert.isNotEmpty(short.problems)
      assert.isAtMost(short.happened.length, outcome.happened.length / 2)
      assert.isBelow(short.story.length, outcome.story.length)
    }), 120_000)
})
