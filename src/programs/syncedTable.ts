/** Looks a table up in both catalogs, for a command that works on one. */
import { Effect } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { inspectBoth } from "./setup.ts"

/** Fails with `ActionNeeded` when the table can't be synced as it is. */
export const syncedTable = Effect.fn("syncedTable")(function*(name: TableName) {
  const [inspected] = yield* inspectBoth([name])
  const { found } = inspected!
  return found._tag === "Fits" ? found.table : yield* new ActionNeeded({ message: found.problem, table: name })
})
