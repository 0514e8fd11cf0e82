/**
 * `setup --missing delete`: at the first contact, rows that one side lacks are deleted from the other instead of copied to
 * it. Capture is in place before anything is counted, so that what the app writes from then on is pending, and is left to
 * its own change. What is deleted is journaled whole; a table that is empty on one side is refused, always.
 */
import { Effect } from "effect"
import { parentsFirst } from "../domain/parentsFirst.ts"
import { amount, count } from "../domain/Quantity.ts"
import type { Side } from "../domain/Side.ts"
import { label, opposite, sides } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import { display } from "../domain/TableName.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { onBoth } from "./databases.ts"
import { reconcile, removeMissing } from "./reconcile.ts"

/** Rows of a table, side by side, that the other side lacks. */
export interface Missing {
  readonly table: string
  readonly rows: Readonly<Record<Side, number>>
}

export interface Clearing<R> {
  /** Asked once with all that would be deleted; not asked when there is nothing. */
  readonly confirm: (missing: ReadonlyArray<Missing>) => Effect.Effect<boolean, SyncError, R>
}

/** Both sides' rows of all tables. */
export const totalOf = (missing: ReadonlyArray<Missing>): number =>
  missing.reduce((sum, { rows }) => sum + rows.replit + rows.external, 0)

/** What was deleted, of those tables that were never compared before. */
export const clearMissing = Effect.fn("clearMissing")(
  function*<R>(tables: ReadonlyArray<SyncedTable>, { confirm }: Clearing<R>) {
    const found = (yield* Effect.forEach(tables, find)).flatMap((it) => it === null ? [] : [it])
    const emptied = found.flatMap(({ total, table }) => emptySide(table, total))
    if (emptied.length > 0) return yield* new ActionNeeded({ message: emptied.join("\n") })
    const missing = found.flatMap(({ rows, table }) =>
      rows.replit + rows.external === 0 ? [] : [{ table: display(table.name), rows }]
    )
    if (missing.length === 0) return []
    if (!(yield* confirm(missing))) {
      return yield* new ActionNeeded({
        message: `Nothing was deleted: ${toBeSure(missing)}`
      })
    }
    const named = new Set(missing.map(({ table }) => table))
    const childrenFirst = parentsFirst(tables.filter(({ name }) => named.has(display(name)))).flat().toReversed()
    return yield* Effect.forEach(childrenFirst, (table) =>
      Effect.gen(function*() {
        const rows = yield* removeMissing(table)
        return { table: display(table.name), rows } satisfies Missing
      }))
  }
)

const toBeSure = (missing: ReadonlyArray<Missing>) =>
  `${amount(totalOf(missing), "row")} would have gone. \`plan\` shows what is there, and without --missing delete rows `
  + "are copied."

/** Null when this is no first contact: then nothing of it is to be deleted. */
const find = Effect.fn("find")(function*(table: SyncedTable) {
  const { touch } = yield* SyncConfig
  const captured = yield* onBoth((database) => database.capture(table, { touch, acceptPartitions: false }))
  const known = yield* onBoth((database) => database.recall(table.name))
  if (!isFirstContact(known) || sides.some((side) => captured[side].gone.length > 0)) return null
  const { external, replit, rows } = yield* reconcile(table, { mark: false, sampleMax: 0 })
  return { table, total: rows, rows: { replit: replit.onlyHere, external: external.onlyHere } }
})

/** A first contact ends when both sides remember it. */
export const isFirstContact = (known: Readonly<Record<Side, unknown>>): boolean =>
  sides.some((side) => known[side] === null)

const emptySide = (table: SyncedTable, total: Readonly<Record<Side, number>>): ReadonlyArray<string> =>
  sides.flatMap((side) => {
    const others = total[opposite(side)]
    if (total[side] > 0 || others === 0) return []
    return [
      `Table ${display(table.name)} is empty on ${label(side)} and has ${count(others)} rows on ${
        label(opposite(side))
      }. An empty table never means that everything was deleted, so --missing delete is refused. Leave it out, and the `
      + `rows are copied; or, if they are meant to go, delete them on ${label(opposite(side))} yourself.`
    ]
  })
