/** What a person paused, and what is said of it. Who keeps it is none of its business. */
import { ancestors } from "./parentsFirst.ts"
import { list } from "./Quantity.ts"
import type { SyncedTable } from "./SyncedTable.ts"
import type { TableName } from "./TableName.ts"
import { display } from "./TableName.ts"

/** Null is all tables. */
export type Pauses = ReadonlyArray<TableName | null>

export interface PausedByHand {
  readonly table: string
  readonly problem: string
  readonly byHand: "table" | "all"
}

export const isPaused = (pauses: Pauses, table: TableName): boolean =>
  pauses.some((paused) => paused === null || display(paused) === display(table))

/** Of the tables that are synced, those that are paused, and what to do: the same words as long as it lasts. */
export const pausedOf = (pauses: Pauses, all: ReadonlyArray<SyncedTable>): ReadonlyArray<PausedByHand> => {
  const isAll = pauses.includes(null)
  return all.filter(({ name }) => isPaused(pauses, name)).map((table): PausedByHand => {
    const name = display(table.name)
    const above = isAll ? [] : [...ancestors([table], all)].filter((other) => other !== name)
    const along = above.length === 0 ? "" : ` Deletes of ${list(above)} wait with it.`
    return { table: name, problem: pausedProblem(isAll ? null : table.name) + along, byHand: isAll ? "all" : "table" }
  })
}

/** Null: all tables. */
export const pausedProblem = (table: TableName | null): string =>
  table === null
    ? "All tables are paused: their changes wait, and nothing is synced until you say `resume`."
    : `${display(table)} is paused: its changes wait, and nothing of it is synced until you say \`resume ${
      display(table)
    }\`.`
