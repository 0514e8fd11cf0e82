/** Asks which of some keys have a pending change on a side, by a claim that is given up again. */
import { Effect } from "effect"
import { decode } from "../domain/StagedRow.ts"
import type { Key, SyncedTable } from "../domain/SyncedTable.ts"
import type { Database } from "../services/Database.ts"

/** The order of the result means nothing. Moves and changes nothing. */
export const pendingKeys = Effect.fn("pendingKeys")(function*(
  database: Database,
  table: SyncedTable,
  keys: ReadonlyArray<Key>
) {
  if (keys.length === 0) return []
  const found = yield* Effect.forEach(["upserts", "deletes"] as const, (phase) =>
    Effect.scoped(Effect.gen(function*() {
      const claim = yield* database.claim(table, { _tag: "Keys", phase, keys })
      if (claim === null) return []
      const rows = yield* decode(table)(claim.stream)
      return rows.map(({ values }) => table.key.map((name) => values[table.columns.indexOf(name)] ?? ""))
    })))
  return found.flat()
})
