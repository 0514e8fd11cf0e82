/** Lets the changes through that the brake held: those, and not what came later. */
import { Effect } from "effect"
import { label, sides } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import { ActionNeeded, Contended } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import type { Held } from "../services/Database.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { databases } from "./databases.ts"
import { syncedTable } from "./syncedTable.ts"
import { underLease } from "./underLease.ts"

/** The next cycle applies them. Returns what was held. */
export const approve = Effect.fn("approve")(function*(name: TableName) {
  return yield* underLease(Effect.gen(function*() {
    const held = yield* heldTable(name)
    yield* refuseLate(held, yield* syncedTable(name))
    yield* (yield* ReplitDb).releaseTable(name, true)
    return held
  }))
})

/** Fails with `ActionNeeded` when the brake doesn't hold that table. */
export const heldTable = Effect.fn("heldTable")(function*(name: TableName) {
  const all = yield* (yield* ReplitDb).held
  const held = all.filter(({ since }) => since !== null)
  const found = held.find(({ table }) => display(table) === display(name))
  if (found !== undefined) return found
  return yield* new ActionNeeded({
    table: name,
    message: `${display(name)} is not held by the brake. ${
      held.length === 0
        ? "No table is; `status` shows how things stand."
        : `Held are: ${held.map(({ table }) => display(table)).join(", ")}.`
    }`
  })
})

/**
 * What a person was shown must be all that there is: a transaction that had written when it was counted is waited for, and
 * when it has added something, the next cycle counts anew.
 */
export const refuseLate = Effect.fn("refuseLate")(function*({ holding }: Held, table: SyncedTable) {
  const both = yield* databases
  const name = display(table.name)
  for (const side of sides) {
    const { changeId, changes, writers } = holding[side]
    const before = yield* both[side].glance(table, changeId)
    if (writers.some((writer) => before.writers.includes(writer))) {
      return yield* new Contended({
        side,
        table: table.name,
        sqlState: null,
        reason: "lock-timeout",
        message:
          `A transaction on ${
            label(side)
          } that had written into ${name} when it was held is still open, and nobody has `
          + "counted what it did. Wait for it, or end it (pg_stat_activity has it), and say this again."
      })
    }
    // Asked again: it may have committed after the first answer's count.
    const now = yield* both[side].glance(table, changeId)
    // Fewer, where capture has folded a queue that nobody read: then one that came late could hide among them.
    const counted = now.allChanges - now.changes
    if (counted === changes || counted < changes && writers.length === 0) continue
    yield* both.replit.releaseTable(table.name, false)
    return yield* new ActionNeeded({
      table: table.name,
      message:
        `More changes of ${name} on ${
          label(side)
        } belong to those that were held than were counted: a transaction that `
        + "had written before committed later. Nothing was done. The next cycle counts them too: look again then, and "
        + "say this again."
    })
  }
})
