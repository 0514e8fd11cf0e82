import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import type { CycleReport } from "../../src/programs/cycle.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { makeProver } from "../../src/programs/prove.ts"
import { status } from "../../src/programs/status.ts"
import type { Database } from "../../src/services/Database.ts"
import type { Settings } from "../../src/services/SyncConfig.ts"
import type { MemoryPair } from "../support/MemoryPair.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"

const names = Array.from({ length: 30 }, (_, n) => `p${String(n).padStart(2, "0")}`)

/** A pair with 30 rows, and the service's cycle with what comes after it. */
const start = Effect.fnUntraced(function*(
  settings: Partial<Settings> = {},
  replaced: (pair: MemoryPair) => Partial<Record<"replit" | "external", Database>> = () => ({})
) {
  const pair = yield* makePair()
  for (const id of names) yield* pair.servers.replit.app.insert(perfis, profile(id, id))
  const layer = pair.layer(settings, replaced(pair))
  const [cycle, prove] = [yield* makeCycle, yield* Effect.provide(makeProver, layer)]
  const run = Effect.flatMap(
    cycle({ retryFor: 0, lease: "wait", notBefore: 0 }),
    (report: CycleReport) => Effect.as(prove(report), report)
  ).pipe(Effect.provide(layer))
  const proven = Effect.map(Effect.provide(status, layer), ({ tables }) => tables[0]!.proven)
  return { ...pair, run, proven }
})

describe("the rolling proof", () => {
  it.effect("proves all rows equal after the first cycle, and asks nothing more for an hour", () =>
    Effect.gen(function*() {
      let asked = 0
      const counting = ({ servers: { external } }: MemoryPair) => {
        const database = external.connect()
        return {
          external: {
            ...database,
            stretch: (...args: Parameters<Database["stretch"]>) =>
              Effect.suspend(() => {
                asked++
                return database.stretch(...args)
              })
          }
        }
      }
      const { proven, run } = yield* start({}, counting)
      yield* run
      assert.deepInclude(yield* proven, { rows: 30, of: 30, isWhole: true, sample: [] })
      const first = asked
      assert.isAbove(first, 0)
      yield* TestClock.adjust("59 minutes")
      yield* run
      assert.strictEqual(asked, first)
      yield* TestClock.adjust("1 minute")
      yield* run
      assert.isAbove(asked, first)
    }))
})
