/** Lets the changes through that the brake held: those, and not what came later. */
import { Effect } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { underLease } from "./underLease.ts"

/** The next cycle applies them. Returns what was held. */
export const approve = Effect.fn("approve")(function*(name: TableName) {
  return yield* underLease(Effect.gen(function*() {
    const held = yield* heldTable(name)
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
