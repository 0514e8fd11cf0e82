/** Plays seeds, and tells a history that went wrong as short as it can be made. */
import { Effect } from "effect"
import { type Dropped, nothingDropped } from "./Fate.ts"
import { shrink } from "./shrink.ts"
import { simulate } from "./simulate.ts"

/** What went wrong with a seed, for people; null when nothing did. */
export const failureOf = Effect.fnUntraced(function*(seed: number, dropped: Dropped = nothingDropped) {
  const found = yield* simulate(seed, { dropped })
  if (found.problems.length === 0) return null
  const without = dropped.kinds.size === 0 ? "" : ` --without ${[...dropped.kinds].join()}`
  const short = yield* shrink(seed, found, { dropped })
  return [
    `Seed ${seed} broke a promise. Its history, shortened from ${found.happened.length} things that happen to ${short.happened.length}:`,
    ...short.story,
    ...short.problems,
    `The whole history: npm run simulate -- --seed ${seed} --steps${without}`
  ].join("\n")
})
