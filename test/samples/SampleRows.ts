/** Rows that are there, and new ones that a table of this schema could hold. */
import { Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { display, quote, type TableName } from "../../src/domain/TableName.ts"
import type { TestSqlError } from "../support/TestClient.ts"
import type { Dice } from "./Dice.ts"
import type { SamplePair } from "./SamplePair.ts"
import type { ForeignKey, SampleColumn, SampleTable } from "./SampleSchema.ts"
import type { Place, Row } from "./SampleWriter.ts"
import { valueFor } from "./values.ts"

export interface SampleRows {
  readonly place: (side: Side, table: SampleTable) => Place
  /** Undefined when the table is empty. */
  readonly any: (at: Place) => Effect.Effect<Row | undefined, TestSqlError>
  /** At most so many rows of a table that points at this row. */
  readonly children: (
    at: Place,
    row: Row,
    child: SampleTable["children"][number],
    limit: number
  ) => Effect.Effect<readonly [Place, ReadonlyArray<Row>], TestSqlError>
  /** A row to insert. With `wholeKey` its key is in it also where the database would give one. */
  readonly fresh: (at: Place, options: { readonly wholeKey: boolean }) => Effect.Effect<Row, TestSqlError>
  /** New values for one to three columns beside the key; undefined where there are none. */
  readonly changes: (at: Place, old: Row) => Effect.Effect<Row | undefined, TestSqlError>
}

export const make = ({ tables, ...pair }: SamplePair, dice: Dice): SampleRows => {
  const tableOf = (name: TableName) => tables.find((table) => display(table.name) === display(name))!
  const place = (side: Side, table: SampleTable): Place => ({ side, app: pair[side].app, table })

  const any = Effect.fnUntraced(function*({ app, table }: Place) {
    const [found] = yield* app.query<{ count: number }>(`select count(*) as count from ${table.sql}`)
    if (found === undefined || found.count === 0) return undefined
    const [row] = yield* app.query<Row>(
      `select ${texts(table)} from ${table.sql} t order by ${table.key.map((name) => `t.${quote(name)}`).join(", ")}
       offset $1 limit 1`,
      [dice.whole(found.count)]
    )
    return row
  })

  const parentOf = Effect.fnUntraced(function*(at: Place, { columns, parent, parentColumns }: ForeignKey) {
    const nullable = columns.filter((name) => !columnOf(at.table, name).notNull)
    const row = nullable.length > 0 && dice.chance(0.2) ? undefined : yield* any(place(at.side, tableOf(parent)))
    return row === undefined
      ? nullable.map((name) => [name, null] as const)
      : columns.map((name, i) => [name, row[parentColumns[i]!]!] as const)
  })

  const key = (at: Place, column: SampleColumn, example: Row | undefined) =>
    at.table.key.length === 1 && /^(smallint|integer|bigint)$/.test(column.type)
      ? nextNumber(at, column.name)
      : Effect.succeed(valueFor(dice, column, example?.[column.name] ?? null))

  const value = (column: SampleColumn, example: Row | undefined) =>
    !column.notNull && dice.chance(0.15)
      ? null
      : example !== undefined && dice.chance(0.3)
      ? example[column.name]!
      : valueFor(dice, column, example?.[column.name] ?? null)

  const fresh = Effect.fnUntraced(function*(at: Place, options: { readonly wholeKey: boolean }) {
    const example = yield* any(at)
    const row: Record<string, string | null> = {}
    for (const foreignKey of at.table.foreignKeys) {
      if (foreignKey.columns.every((name) => name in row)) continue
      for (const [name, parent] of yield* parentOf(at, foreignKey)) row[name] ??= parent
    }
    for (const column of at.table.columns) {
      const { generated, hasDefault, identity, name } = column
      if (generated || name in row) continue
      if (at.table.key.includes(name)) {
        if (!hasDefault || options.wholeKey) row[name] = yield* key(at, column, example)
      } else if (identity !== "a" && (!hasDefault || dice.chance(0.6))) row[name] = value(column, example)
    }
    return row
  })

  const changes = Effect.fnUntraced(function*(at: Place, old: Row) {
    const free = at.table.columns.filter(({ generated, identity, name }) =>
      !generated && identity !== "a" && !at.table.key.includes(name)
    )
    if (free.length === 0) return undefined
    const change: Record<string, string | null> = {}
    for (let n = 1 + dice.whole(3); n > 0; n--) {
      const column = dice.pick(free)
      const foreignKey = at.table.foreignKeys.find(({ columns }) => columns.includes(column.name))
      if (foreignKey === undefined) change[column.name] = value(column, { ...old })
      else {
        for (const [name, parent] of yield* parentOf(at, foreignKey)) {
          if (!at.table.key.includes(name)) change[name] = parent
        }
      }
    }
    return Object.keys(change).length === 0 ? undefined : change
  })

  const children: SampleRows["children"] = (at, row, { key, table }, limit) => {
    const child = place(at.side, tableOf(table))
    return Effect.map(
      at.app.query<Row>(
        `select ${texts(child.table)} from ${child.table.sql} t
         where ${key.columns.map((name, i) => `t.${quote(name)} = $${i + 1}`).join(" and ")} limit ${limit}`,
        key.parentColumns.map((name) => row[name])
      ),
      (rows) => [child, rows] as const
    )
  }

  return { place, any, children, fresh, changes }
}

/** The next number that this side may hand out: odd for Replit, even for the other. */
const nextNumber = Effect.fnUntraced(function*({ app, side, table }: Place, column: string) {
  const [found] = yield* app.query<{ most: number }>(
    `select coalesce(max(${quote(column)}), 0) as most from ${table.sql}`
  )
  const next = (found?.most ?? 0) + 1
  return String(next % 2 === (side === "replit" ? 1 : 0) ? next : next + 1)
})

const columnOf = (table: SampleTable, name: string) => table.columns.find((column) => column.name === name)!

const texts = (table: SampleTable) =>
  table.columns.map(({ name }) => `t.${quote(name)}::text as ${quote(name)}`).join(", ")
