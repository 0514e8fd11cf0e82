/** What a first contact would meet in a memory table. */
import { Effect, Stream } from "effect"
import * as StagedRow from "../../domain/StagedRow.ts"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import type { LookedUp, Survey, Twins } from "../Database.ts"
import { digestsOf } from "./Comparison.ts"
import type { Row } from "./MemoryTable.ts"
import { idOf, idOfKey, keyOf } from "./MemoryTable.ts"
import { stampOf } from "./Queue.ts"
import type { Store, TableState } from "./Store.ts"
import { step, tableOf } from "./Store.ts"

export const make = (store: Store): Survey => ({
  versions: Effect.fn("MemoryDatabase.versions")((table, ranges) =>
    Effect.map(
      step(store, () => {
        const state = tableOf(store, table)
        return digestsOf(store, table, ranges).map(({ hash, key }) => {
          const row = state.rows.get(idOfKey(state.schema, table.key, key)) ?? null
          return { hash, key, stampUs: table.stamp === null ? null : stampOf(table, row, []) }
        })
      }),
      (versions) =>
        Stream.map(Stream.fromIterable(versions), (row) => new TextEncoder().encode(StagedRow.encodeVersion(row)))
    )
  ),
  lookUp: Effect.fn("MemoryDatabase.lookUp")((table, keys) =>
    step(store, () => {
      const state = tableOf(store, table)
      return keys.flatMap((key, asked): ReadonlyArray<LookedUp> => {
        const row = state.rows.get(idOfKey(state.schema, table.key, key))
        return row === undefined ? [] : [{ asked, key, texts: uniqueTexts(table, row) }]
      })
    })
  ),
  twins: Effect.fn("MemoryDatabase.twins")((table, rows) =>
    step(store, () => {
      const state = tableOf(store, table)
      return { found: rows.flatMap((row) => twinsOf(state, table, row)), skipped: [] }
    })
  ),
  rowBytes: Effect.fn("MemoryDatabase.rowBytes")((table) =>
    step(store, () => {
      const rows = [...tableOf(store, table).rows.values()].slice(0, 200)
      const sizes = rows.map((row) => table.columns.reduce((sum, name) => sum + (row[name]?.length ?? 2) + 1, 0))
      return rows.length === 0 ? null : Math.ceil(sizes.reduce((sum, size) => sum + size, 0) / rows.length)
    })
  )
})

const uniqueTexts = (table: SyncedTable, row: Row): Row => {
  const { external, replit } = table.shapes
  const columns = table.columns.filter((name) =>
    replit.uniqueColumns.includes(name) || external.uniqueColumns.includes(name)
  )
  return Object.fromEntries(columns.map((name) => [name, row[name] ?? null]))
}

const twinsOf = (state: TableState, table: SyncedTable, { key, texts }: LookedUp): Twins["found"] =>
  (state.schema.uniques ?? []).flatMap(({ columns, name }) => {
    if (columns.some((column) => texts[column] == null)) return []
    const id = idOfKey(state.schema, table.key, key)
    return [...state.rows.values()]
      .filter((row) => columns.every((column) => row[column] === texts[column]) && idOf(state.schema, row) !== id)
      .map((row) => ({ index: name, here: keyOf(state.schema, table.key, idOf(state.schema, row)), there: key }))
  })
