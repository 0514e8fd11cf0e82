/** The timeline of a run, told as it happens, and what was counted. */
import { Clock, Console, Effect } from "effect"

export interface Chronicle {
  /** Tells a line with the time since the start. */
  readonly tell: (line: string) => Effect.Effect<void>
  readonly count: (what: string, by?: number) => Effect.Effect<void>
  readonly counted: Effect.Effect<ReadonlyArray<readonly [string, number]>>
}

export const make: Effect.Effect<Chronicle> = Effect.gen(function*() {
  const startedMs = yield* Clock.currentTimeMillis
  const counts = new Map<string, number>()
  return {
    tell: (line) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (nowMs) => Console.log(`${((nowMs - startedMs) / 1000).toFixed(1).padStart(7)} s  ${line}`)
      ),
    count: (what, by = 1) => Effect.sync(() => void counts.set(what, (counts.get(what) ?? 0) + by)),
    counted: Effect.sync(() => [...counts].toSorted(([a], [b]) => a.localeCompare(b)))
  }
})
