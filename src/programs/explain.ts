/** Says why keys differ, as far as the two queues and quarantines tell. */
import { Effect } from "effect"
import type { Difference } from "../domain/Difference.ts"
import { sides } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import { databases, onBoth } from "./databases.ts"
import { pendingKeys } from "./pendingKeys.ts"

/**
 * The app goes on writing while both sides are read, so a key that differs is looked up in both queues afterwards: what
 * changed since is pending there. No cycle may run meanwhile.
 */
export const explain = Effect.fn("explain")(
  function*(table: SyncedTable, differences: ReadonlyArray<Omit<Difference, "why">>) {
    const both = yield* databases
    const refused = yield* onBoth((database) => database.quarantined(table.name))
    const quarantined = new Set(sides.flatMap((side) => refused[side].map(({ key }) => JSON.stringify(key))))
    const keys = differences.map(({ key }) => key).filter((key) => !quarantined.has(JSON.stringify(key)))
    const pending = new Set([
      ...(yield* pendingKeys(both.replit, table, keys)),
      ...(yield* pendingKeys(both.external, table, keys))
    ].map((key) => JSON.stringify(key)))
    return differences.map(({ key, kind }): Difference => {
      const id = JSON.stringify(key)
      return { key, kind, why: quarantined.has(id) ? "quarantined" : pending.has(id) ? "pending" : "unknown" }
    })
  }
)
