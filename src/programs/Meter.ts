/** What this process's visits cost and is not noted yet: the next cycle notes it along with its question. */
import { Effect, Ref } from "effect"
import type { Side } from "../domain/Side.ts"
import type { Visits } from "../services/Database.ts"
import type { ExternalDb } from "../services/ExternalDb.ts"
import type { ReplitDb } from "../services/ReplitDb.ts"
import { onBoth } from "./databases.ts"

export interface Meter {
  /** A cycle asks both sides. */
  readonly visited: Effect.Effect<void>
  readonly since: Effect.Effect<Readonly<Record<Side, Visits>>, never, ReplitDb | ExternalDb>
  /** So much of it was noted; null when it couldn't be. */
  readonly noted: (spent: Readonly<Record<Side, Visits>> | null) => Effect.Effect<void>
}

/** Traffic of before the first cycle counts too: it is this process's. */
export const makeMeter: Effect.Effect<Meter> = Effect.gen(function*() {
  const visits = yield* Ref.make(0)
  const told = yield* Ref.make({ replit: nothing, external: nothing })
  return {
    visited: Ref.update(visits, (n) => n + 1),
    since: Effect.gen(function*() {
      const total = yield* onBoth(({ traffic }) => traffic)
      const before = yield* Ref.get(told)
      const n = yield* Ref.get(visits)
      const of = (side: Side): Visits => ({
        visits: n - before[side].visits,
        bytesIn: total[side].bytesIn - before[side].bytesIn,
        bytesOut: total[side].bytesOut - before[side].bytesOut
      })
      return { replit: of("replit"), external: of("external") }
    }),
    noted: (spent) =>
      spent === null ? Effect.void : Ref.update(told, (before) => ({
        replit: plus(before.replit, spent.replit),
        external: plus(before.external, spent.external)
      }))
  }
})

const nothing: Visits = { visits: 0, bytesIn: 0, bytesOut: 0 }

const plus = (a: Visits, b: Visits): Visits => ({
  visits: a.visits + b.visits,
  bytesIn: a.bytesIn + b.bytesIn,
  bytesOut: a.bytesOut + b.bytesOut
})
