/** Makes a history that went wrong shorter, as long as it goes wrong in the same way. */
import { Effect } from "effect"
import type { Dropped, Kind } from "./Fate.ts"
import { nothingDropped } from "./Fate.ts"
import type { Mutation } from "./mutations.ts"
import { type Outcome, simulate } from "./simulate.ts"

/** @param runsMax histories that it may play for that. */
export const shrink = Effect.fnUntraced(function*(
  seed: number,
  found: Outcome,
  { dropped = nothingDropped, mutation, runsMax = 400 }: {
    readonly dropped?: Dropped
    readonly mutation?: Mutation
    readonly runsMax?: number
  } = {}
) {
  const shapes = new Set(found.problems.map(shapeOf))
  let best = found
  let left = dropped
  let runs = 0
  const without = (kinds: ReadonlyArray<Kind>, ids: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      if (runs++ >= runsMax) return false
      const less: Dropped = { kinds: new Set([...left.kinds, ...kinds]), ids: new Set([...left.ids, ...ids]) }
      const outcome = yield* simulate(seed, { dropped: less, ...(mutation === undefined ? {} : { mutation }) })
      if (!outcome.problems.some((problem) => shapes.has(shapeOf(problem)))) return false
      left = less
      best = outcome
      return true
    })
  // Whole kinds first: no faults, no second process, no app on one side.
  for (const kind of new Set(found.happened.map(({ kind }) => kind))) yield* without([kind], [])
  // Then halves of what is left, quarters, and so on to single ones.
  for (let size = Math.ceil(best.happened.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let start = best.happened.length - size; start > -size; start -= size) {
      const some = best.happened.slice(Math.max(0, start), start + size)
      if (some.length > 0) yield* without([], some.map(({ id }) => id))
    }
  }
  return { ...best, runs: Math.min(runs, runsMax) }
})

/** A problem without the rows that it is about. */
const shapeOf = (problem: string): string =>
  problem.split("\n")[0]!.replaceAll(/\{.*\}|\w+ \S+(?=:| differs| on | is )/g, "")
