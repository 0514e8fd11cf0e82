/** A row marked as a probe that the table's own constraints take. */
import type { MemoryColumn, Row } from "./MemoryTable.ts"
import type { Store, TableState } from "./Store.ts"
import { tableNamed } from "./Store.ts"

/** Keys and required texts carry the marker, foreign keys name a parent that is there, everything else stays default. */
export const probeRow = (store: Store, state: TableState, marker: string, now: string): Row => {
  const { columns, key, references = [] } = state.schema
  const parents: Row = Object.assign(
    {},
    ...references.map((reference) => {
      const parent = tableNamed(store, reference.table)
      const row = [...parent.rows.values()][0]
      return Object.fromEntries(
        reference.columns.map((column, index) => [column, row?.[parent.schema.key[index]!] ?? null])
      )
    })
  )
  return Object.fromEntries(columns.flatMap((column): ReadonlyArray<readonly [string, string | null]> => {
    if (parents[column.name] !== undefined) return [[column.name, parents[column.name]!]]
    const required = key.includes(column.name) || (column.notNull === true && column.default === undefined)
    return required ? [[column.name, fill(state, column, marker, now)]] : []
  }))
}

const fill = (state: TableState, { name, type }: MemoryColumn, marker: string, now: string): string => {
  if (/^(smallint|integer|bigint)$/.test(type)) {
    return `${[...state.rows.values()].reduce((most, row) => Math.max(most, Number(row[name] ?? 0)), 0) + 1}`
  }
  if (type === "boolean") return "f"
  if (type.startsWith("timestamp")) return now
  const length = /\((\d+)\)/.exec(type)?.[1]
  return length === undefined ? marker : marker.slice(0, Number(length))
}
