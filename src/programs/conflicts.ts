/** The journal of both sides: what lost, what won, and what a person can say about it. */
import { Effect, Either } from "effect"
import { hideKey, hideRow, isHidden } from "../domain/hiding.ts"
import { list } from "../domain/Quantity.ts"
import type { Side } from "../domain/Side.ts"
import { sides } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import { display } from "../domain/TableName.ts"
import type { Conflict, ConflictFilter } from "../services/Database.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { databases, onBoth } from "./databases.ts"
import { hiding, hidingUnasked, type Shows } from "./hiding.ts"
import { syncedTable } from "./syncedTable.ts"
import { underLease } from "./underLease.ts"

/** A conflict as it may be shown: without the values that are hidden. */
export interface ShownConflict extends Conflict {
  /** What `won` says: of a version that was given up for whatever the other side has, nobody kept that. */
  readonly winner: "row" | "deleted" | "unknown"
  /** Columns that differ, hidden ones too; none unless both versions are there. */
  readonly differs: ReadonlyArray<string>
  readonly hidden: ReadonlyArray<string>
  /** Columns of the primary key; null where the table isn't there any more. */
  readonly keyColumns: ReadonlyArray<string> | null
}

/** Both sides' records, newest first. With `noValues` no value is shown at all. */
export const listConflicts = Effect.fn("listConflicts")(function*(
  filter: ConflictFilter,
  { noValues } = { noValues: false }
) {
  const found = yield* onBoth((database) => database.conflicts(filter))
  const newest = newestOf([...found.replit, ...found.external], filter.limit)
  const shows = yield* hiding(newest.map(({ table }) => table), noValues)
  return newest.map((conflict) => shown(conflict, shows(conflict.table)))
})

const newestOf = (conflicts: ReadonlyArray<Conflict>, limit: number): ReadonlyArray<Conflict> =>
  [...conflicts].sort((a, b) => (a.decidedAt < b.decidedAt ? 1 : a.decidedAt > b.decidedAt ? -1 : 0)).slice(0, limit)

export interface OpenConflicts {
  readonly conflicts: ReadonlyArray<ShownConflict>
  /** Sides whose records are not among them, and why. */
  readonly unread: ReadonlyArray<{ readonly side: Side; readonly message: string }>
}

/** What no person has decided, newest first, of the sides that can be asked. Fails when neither can. */
export const openConflicts = Effect.fn("openConflicts")(function*(limit: number) {
  const asked = yield* onBoth((database) => Effect.either(database.conflicts({ limit, undecided: true })))
  if (Either.isLeft(asked.replit) && Either.isLeft(asked.external)) return yield* asked.replit.left
  const newest = newestOf(sides.flatMap((side) => Either.getOrElse(asked[side], () => [])), limit)
  const shows = Either.isLeft(asked.replit)
    ? yield* hidingUnasked
    : yield* hiding(newest.map(({ table }) => table), false)
  return {
    conflicts: newest.map((conflict) => shown(conflict, shows(conflict.table))),
    unread: sides.flatMap((side) => {
      const it = asked[side]
      return Either.isLeft(it) ? [{ side, message: it.left.message }] : []
    })
  } satisfies OpenConflicts
})

/** Columns that `editConflict` takes: none where the table isn't known. Those that differ come first. */
export const editableColumns = Effect.fn("editableColumns")(function*(conflict: ShownConflict) {
  const { stampOf } = yield* SyncConfig
  const { differs, hidden, keyColumns, lost, table, won } = conflict
  if (keyColumns === null) return []
  const columns = new Set([...differs, ...Object.keys(lost ?? {}), ...Object.keys(won ?? {})])
  for (const column of [...hidden, ...keyColumns, stampOf(table)]) columns.delete(column)
  return [...columns]
})

/** One record, by its id or an unambiguous beginning of it. */
export const showConflict = Effect.fn("showConflict")(function*(id: string) {
  const conflict = yield* findConflict(id)
  return shown(conflict, (yield* hiding([conflict.table], false))(conflict.table))
})

const findConflict = Effect.fn("findConflict")(function*(id: string) {
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

const shown = (conflict: Conflict, { hidden, key }: Shows): ShownConflict => {
  const { lost, reason, won } = conflict
  const columns = [...new Set([...Object.keys(lost ?? {}), ...Object.keys(won ?? {})])]
  return {
    ...conflict,
    key: hideKey(hidden, key, conflict.key),
    lost: hideRow(hidden, lost),
    won: hideRow(hidden, won),
    winner: won !== null ? "row" : reason === "conflict" || reason === "cascade" ? "deleted" : "unknown",
    differs: lost === null || won === null ? [] : columns.filter((column) => lost[column] !== won[column]),
    hidden: columns.filter((column) => isHidden(hidden, column)),
    keyColumns: key
  }
}

/** Brings the losing version back on the side where it lost; it travels with the next cycle like any change. */
export const restoreConflict = Effect.fn("restoreConflict")(function*(id: string) {
  const both = yield* databases
  const conflict = yield* showConflict(id)
  yield* underLease(Effect.gen(function*() {
    yield* both[conflict.lostSide].restore(yield* syncedTable(conflict.table), conflict.id)
  }))
  return conflict
})

/** It stays as it was decided, and is not shown as undecided any more. Changes no row, so it needs no lease. */
export const keepConflict = Effect.fn("keepConflict")(function*(id: string) {
  const conflict = yield* showConflict(id)
  yield* (yield* databases)[conflict.lostSide].keep(conflict.id)
  return conflict
})

/**
 * Decides a conflict anew, field by field: an ordinary change of the row on the side that lost, with a newer stamp, which
 * leaves other columns as they are now. What it replaces is journaled. Texts are read as PostgreSQL reads them.
 */
export const editConflict = Effect.fn("editConflict")(function*(
  id: string,
  changes: Readonly<Record<string, string | null>>
) {
  const both = yield* databases
  const conflict = yield* showConflict(id)
  const { hiddenOf } = yield* SyncConfig
  yield* underLease(Effect.gen(function*() {
    const table = yield* syncedTable(conflict.table)
    const problem = editProblem(table, conflict, hiddenOf(table.name), Object.keys(changes))
    if (problem !== null) return yield* new ActionNeeded({ table: table.name, message: problem })
    yield* both[conflict.lostSide].edit(table, conflict.id, changes)
  }))
  return conflict
})

const editProblem = (
  { key, name, shapes, stamp }: SyncedTable,
  { lostSide }: Conflict,
  hidden: ReadonlyArray<string>,
  columns: ReadonlyArray<string>
): string | null => {
  const writable = shapes[lostSide].columns.filter(({ generated, identity }) => !generated && identity !== "always")
  const [unwritable, masked, keys] = [
    columns.filter((column) => !writable.some((other) => other.name === column)),
    columns.filter((column) => hidden.includes(column)),
    columns.filter((column) => key.includes(column))
  ]
  const table = display(name)
  if (columns.length === 0) return "No column was changed."
  if (unwritable.length > 0) return `${table} has no column ${list(unwritable)} that can be written.`
  if (keys.length > 0) return `${list(keys)} of ${table} belongs to the primary key, which stays as it is here.`
  if (stamp !== null && columns.includes(stamp)) return `${stamp} of ${table} is set by the change itself.`
  return masked.length === 0
    ? null
    : `${list(masked)} of ${table} is hidden (SYNC_HIDE_COLUMNS): what nobody sees can't be changed here.`
}

/** Ids are compared as texts, so that a wildcard or an empty text would mean any. */
export const idProblem = (id: string): string | null =>
  /^[0-9a-f][0-9a-f-]*$/i.test(id)
    ? null
    : `${JSON.stringify(id)} is no id: ids are made of hexadecimal digits and hyphens.`
