/**
 * Drops the changes that the brake held, those and not what came later: deleted rows come back from the other side as
 * ordinary rows, and a version that would have overwritten the other side's goes into the conflicts, whole.
 */
import { Effect } from "effect"
import { opposite, sides } from "../domain/Side.ts"
import type { Key } from "../domain/SyncedTable.ts"
import type { TableName } from "../domain/TableName.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { heldTable, refuseLate } from "./approve.ts"
import { databases } from "./databases.ts"
import { syncedTable } from "./syncedTable.ts"
import { underLease } from "./underLease.ts"
import { partsOf, weigh } from "./weigh.ts"

export interface Rejected {
  /** Rows that come back. */
  readonly deletes: number
  readonly overwrites: number
}

/**
 * The next cycle brings the other side's rows. Stopped anywhere, it can be said again: the table is held until the end,
 * and a row is marked over there before its delete is dropped here.
 */
export const reject = Effect.fn("reject")(function*(name: TableName) {
  return yield* underLease(Effect.gen(function*() {
    const held = yield* heldTable(name)
    const table = yield* syncedTable(name)
    yield* refuseLate(held, table)
    const both = yield* databases
    let rejected: Rejected = { deletes: 0, overwrites: 0 }
    for (const side of sides) {
      const [from, to] = [both[side], both[opposite(side)]]
      const { changeId: upTo, overwrites } = held.holding[side]
      const { moves } = yield* from.glance(table, 0n)
      const range = { after: held.approved[side], upTo, changed: true }
      const oldKeys = new Map<string, Key>()
      for (const { isOldKeys, only, phase } of partsOf(range, { moved: moves > 0, mayConflict: overwrites > 0 })) {
        yield* weigh({ from, to, table, phase, only }, (found) =>
          Effect.gen(function*() {
            if (isOldKeys) {
              for (const key of found.overwrites) oldKeys.set(JSON.stringify(key), key)
              return
            }
            // The new keys go with the old ones: the row would be there twice, and values that are unique stop both.
            const back = found.moves.filter(({ was }) => oldKeys.has(JSON.stringify(was)))
            const moved = back.map(({ key }) => key)
            yield* to.mark(table, [...found.deletes, ...moved])
            // As a change of the key, not as a delete that would take along rows which point at it.
            yield* to.mark(table, back.map(({ was }) => was), moved)
            const deletes = yield* from.giveUp(table, found.deletes, { upTo, journal: false })
            const overwrites = yield* from.giveUp(table, found.overwrites, { upTo, journal: true })
            yield* from.giveUp(table, moved, { upTo, journal: true })
            rejected = { deletes: rejected.deletes + deletes, overwrites: rejected.overwrites + overwrites }
          }))
      }
      // Last, for a row knows its old key as long as that is pending. Its version was kept under the new one.
      const givenUp = yield* from.giveUp(table, [...oldKeys.values()], { upTo, journal: false })
      rejected = { ...rejected, overwrites: rejected.overwrites + givenUp }
    }
    yield* (yield* ReplitDb).releaseTable(name, false)
    return rejected
  }))
})
