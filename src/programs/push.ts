/** Replit's pending changes go to the external database: `propagate`, in one of its two directions. */
import { Effect } from "effect"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import { display } from "../domain/TableName.ts"
import type { Phase } from "../services/Database.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { propagate, type PropagateOptions } from "./propagate.ts"

/** One pass over a table's pending upserts or deletes. */
export const push = Effect.fn("push")(
  function*(table: SyncedTable, phase: Phase, options: PropagateOptions) {
    yield* Effect.annotateCurrentSpan({
      "vaivem.table": display(table.name),
      "vaivem.from": "replit",
      "vaivem.phase": phase
    })
    const from = yield* ReplitDb
    const to = yield* ExternalDb
    return yield* propagate({ from, to, table, phase }, options)
  }
)
