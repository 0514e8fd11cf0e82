/**
 * `pause` and `resume`: a table, or all of them, that a person takes out of the sync for a while. Capture goes on, so its
 * changes wait, and nothing of it is applied on either side. What is paused is kept on Replit's side and comes with each
 * cycle's one question, so that every copy of the service knows it.
 */
import { Effect } from "effect"
import { isPaused } from "../domain/pauses.ts"
import { list } from "../domain/Quantity.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { retrying } from "./cycle.ts"

/**
 * From the next cycle on nothing of the table is applied; null is all tables, those too that come later. The lease is not
 * asked for: a cycle that copies for hours is one that people want to pause.
 */
export const pause = Effect.fn("pause")(function*(table: TableName | null) {
  const { retryFor } = yield* SyncConfig
  const replit = yield* ReplitDb
  yield* Effect.gen(function*() {
    const captured = yield* replit.captured
    if (
      table === null
        ? (yield* replit.identity) === null
        : !captured.some((name) => display(name) === display(table))
    ) {
      return yield* new ActionNeeded({
        ...(table === null ? {} : { table }),
        message: `${
          table === null ? "Nothing is" : `${display(table)} is not`
        } set up on Replit, so there is nothing to pause. The first run or \`setup\` does it.`
      })
    }
    yield* replit.pauseTable(table)
  }).pipe(retrying(retryFor))
})

/** The next cycle takes up what waited; null ends every pause. Returns what was paused; null is all tables. */
export const resume = Effect.fn("resume")(function*(table: TableName | null) {
  const { retryFor } = yield* SyncConfig
  const replit = yield* ReplitDb
  return yield* Effect.gen(function*() {
    const pauses = (yield* replit.pauses).map((found) => found.table)
    const isAll = pauses.includes(null)
    if (table === null ? pauses.length === 0 : isAll || !isPaused(pauses, table)) {
      return yield* new ActionNeeded({
        ...(table === null ? {} : { table }),
        message: isAll
          ? "All tables are paused: `resume` without a table lets them go on."
          : table === null
          ? "No table is paused."
          : `${display(table)} is not paused.${
            pauses.length === 0 ? "" : ` Paused are: ${list(pauses.flatMap((it) => it === null ? [] : [display(it)]))}.`
          }`
      })
    }
    yield* replit.resumeTable(table)
    return table === null ? pauses : [table]
  }).pipe(retrying(retryFor))
})
