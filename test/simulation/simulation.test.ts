/**
 * 500 seeds in `npm test`. `SIMULATION_SEED=123 npx vitest run test/simulation` runs one and tells its history;
 * `SIMULATION_SEEDS=20000` runs more.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { simulate } from "./simulate.ts"

const single = process.env["SIMULATION_SEED"]
const count = Number(process.env["SIMULATION_SEEDS"] ?? 500)
const perTest = 50

// Thousands of refusals are made, and vitest keeps a hundred frames of each.
Error.stackTraceLimit = 10

const check = (seeds: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    for (const seed of seeds) {
      // A simulation never waits for anything real: let vitest get a word in.
      yield* Effect.sleep(0)
      const { problems, story } = yield* simulate(seed)
      if (problems.length === 0) continue
      const history = `seed ${seed}\n${story.join("\n")}\n${problems.join("\n")}`
      assert.strictEqual(
        problems.length,
        0,
        `${history}\nRun it again: SIMULATION_SEED=${seed} npx vitest run test/simulation`
      )
    }
  })

describe("whatever happens, both sides converge and nothing is lost", () => {
  if (single !== undefined) it.live(`seed ${single}`, () => check([Number(single)]))
  else {
    for (let first = 1; first <= count; first += perTest) {
      const seeds = Array.from({ length: Math.min(perTest, count - first + 1) }, (_, index) => first + index)
      it.live(`seeds ${first} to ${seeds.at(-1)}`, () => check(seeds), 120_000)
    }
  }
})
