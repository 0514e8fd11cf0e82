/** The journal of both sides: what lost, what won, and the way back. */
import { Effect } from "effect"
import { sides } from "../domain/Side.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import type { Conflict } from "../services/Database.ts"
import { databases, onBoth } from "./databases.ts"
import { syncedTable } from "./syncedTable.ts"
import { underLease } from "./underLease.ts"

/** Both sides' records, newest first. */
export const listConflicts = Effect.fn("listConflicts")(function*(
  filter: { readonly table?: TableName; readonly limit: number }
) {
  const found = yield* onBoth((database) => database.conflicts(filter))
  return [...found.replit, ...found.external]
    .sort((a, b) => (a.decidedAt < b.decidedAt ? 1 : a.decidedAt > b.decidedAt ? -1 : 0))
    .slice(0, filter.limit)
})

/** One record, by its id or an unambiguous beginning of it. */
export const showConflict = Effect.fn("showConflict")(function*(id: string) {
  const problem = idProblem(id)
  if (problem !== null) return yield* new ActionNeeded({ message: problem })
  const found = yield* onBoth((database) => database.conflict(id))
  const conflicts = sides.flatMap((side): ReadonlyArray<Conflict> => found[side] === null ? [] : [found[side]])
  if (conflicts.length === 1) return conflicts[0]!
  return yield* new ActionNeeded({
    message: conflicts.length === 0
      ? `There is no conflict ${id}. \`conflicts list\` shows what there is.`
      : `Both sides have a conflict whose id begins with ${id}. Give more of the id.`
  })
})

/** Brings the losing version back on the side where it lost; it travels with the next cycle like any change. */
export const restoreConflict = Effect.fn("restoreConflict")(function*(id: string) {
  const both = yield* databases
  const conflict = yield* showConflict(id)
  yield* underLease(Effect.gen(function*() {
    yield* both[conflict.lostSide].restore(yield* syncedTable(conflict.table), conflict.id)
  }))
  return conflict
})

/** Ids are compared as texts, so that a wildcard or an empty text would mean any. */
export const idProblem = (id: string): string | null =>
  /^[0-9a-f][0-9a-f-]*$/i.test(id)
    ? null
    : `${JSON.stringify(id)} is no id: ids are made of hexadecimal digits and hyphens.`
