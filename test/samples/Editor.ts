/**
 * Somebody who edits both sides of a sample, at random but by a seed, and knows no more of it than its catalog says. What the
 * schema refuses is counted and left.
 */
import { Effect } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import type { TestSqlError } from "../support/TestClient.ts"
import type { Dice } from "./Dice.ts"
import type { SampleError } from "./SampleError.ts"
import type { SamplePair } from "./SamplePair.ts"
import * as SampleRows from "./SampleRows.ts"
import type { SampleTable } from "./SampleSchema.ts"
import * as SampleWriter from "./SampleWriter.ts"
import { GivenUp, type Place, type Row } from "./SampleWriter.ts"
import { valueFor } from "./values.ts"

export interface Editor {
  /** So many transactions on each side, and some that meet on one row. */
  readonly round: (transactions: number) => Effect.Effect<void, SampleError | TestSqlError>
  /** Deletes one row on one side. False when the schema refuses it, or nothing is there. */
  readonly remove: (side: Side, table: SampleTable, key: ReadonlyArray<string>) => Effect.Effect<
    boolean,
    SampleError | TestSqlError
  >
  /** Gives one row other values in its unique columns. False when the schema refuses them, or nothing is there. */
  readonly change: Editor["remove"]
  readonly edits: SampleWriter.SampleWriter["edits"]
}

export const make = (pair: SamplePair, dice: Dice): Editor => {
  const rows = SampleRows.make(pair, dice)
  const writer = SampleWriter.make(pair.tables)
  const edit = editing(rows, writer, dice)
  const meet = meeting(rows, writer, dice)
  const inOrder = () => dice.chance(0.5) ? sides : sides.toReversed()
  // Most data of most apps is in the tables that nothing points to.
  const leaves = pair.tables.filter(({ children }) => children.length === 0)
  const rowOf = (table: SampleTable, key: ReadonlyArray<string>): Row =>
    Object.fromEntries(table.key.map((name, i) => [name, key[i]!]))
  return {
    edits: writer.edits,
    change: (side, table, key) => {
      const at = rows.place(side, table)
      const changed = Effect.gen(function*() {
        const fresh = yield* rows.fresh(at, { wholeKey: false })
        const names = table.uniques.flat().filter((name) => !table.key.includes(name) && fresh[name] !== undefined)
        if (names.length === 0) return yield* Effect.fail(new GivenUp())
        yield* writer.update(at, rowOf(table, key), Object.fromEntries(names.map((name) => [name, fresh[name]!])))
      })
      return writer.transaction(at, changed)
    },
    remove: (side, table, key) => {
      const at = rows.place(side, table)
      const row = rowOf(table, key)
      const removed = Effect.filterOrFail(writer.remove(at, row), (count) => count > 0, () => new GivenUp())
      return writer.transaction(at, removed)
    },
    round: Effect.fnUntraced(function*(transactions) {
      for (let n = 0; n < transactions; n++) {
        for (const side of inOrder()) {
          const tables = leaves.length > 0 && dice.chance(0.4) ? leaves : pair.tables
          yield* edit(rows.place(side, dice.pick(tables)))
        }
        if (n % 4 !== 0) continue
        const table = dice.pick(pair.tables)
        const [first, second] = inOrder()
        yield* meet(rows.place(first!, table), rows.place(second!, table))
      }
    })
  }
}

/** What one person does on one side. */
const editing = (rows: SampleRows.SampleRows, writer: SampleWriter.SampleWriter, dice: Dice) => {
  /** Deletes what points at the row first, as apps do where no cascade does it; gives up when that is much. */
  const removeDeep = (at: Place, row: Row, left: { rows: number }): Effect.Effect<void, TestSqlError | GivenUp> =>
    Effect.gen(function*() {
      for (const child of at.table.children) {
        const [place, found] = yield* rows.children(at, row, child, 40)
        left.rows -= found.length
        if (left.rows < 0 || found.length === 40) return yield* Effect.fail(new GivenUp())
        for (const one of found) yield* removeDeep(place, one, left)
      }
      yield* writer.remove(at, row)
    })

  const changeKey = Effect.fnUntraced(function*(at: Place, row: Row) {
    const names = at.table.key.filter((key) => at.table.columns.find(({ name }) => name === key)?.identity !== "a")
    const fresh = yield* rows.fresh(at, { wholeKey: true })
    if (names.length === 0) return
    const name = dice.pick(names)
    yield* writer.update(at, row, { [name]: fresh[name]! })
  })

  /** Two rows change places in a unique column, by way of a third value. */
  const swap = Effect.fnUntraced(function*(at: Place, row: Row) {
    const names = at.table.uniques.filter(({ length }) => length === 1).flat()
    const other = yield* rows.any(at)
    if (other === undefined || names.length === 0) return
    const name = dice.pick(names)
    if (row[name] === other[name] || row[name] === null) return
    const column = at.table.columns.find((column) => column.name === name)!
    yield* writer.update(at, row, { [name]: column.notNull ? valueFor(dice, column, row[name]!) : null })
    yield* writer.update(at, other, { [name]: row[name]! })
    yield* writer.update(at, row, { [name]: other[name]! })
  })

  const reinsert = Effect.fnUntraced(function*(at: Place, row: Row, change: Row) {
    yield* writer.remove(at, row)
    yield* writer.insert(at, without(at.table, { ...row, ...change }))
  })

  const insert = (at: Place) => Effect.flatMap(rows.fresh(at, { wholeKey: false }), (row) => writer.insert(at, row))

  return Effect.fnUntraced(function*(at: Place) {
    const row = yield* rows.any(at)
    if (row === undefined) return yield* writer.transaction(at, insert(at))
    const change = yield* rows.changes(at, row)
    const some = dice.whole(50)
    const doing: Record<typeof kinds[number], () => Effect.Effect<unknown, TestSqlError | GivenUp>> = {
      insert: () => insert(at),
      update: () => change === undefined ? changeKey(at, row) : writer.update(at, row, change),
      "bulk update": () => change === undefined ? changeKey(at, row) : writer.updateSome(at, some, change),
      delete: () => writer.remove(at, row),
      "deep delete": () => removeDeep(at, row, { rows: 60 }),
      "change key": () => changeKey(at, row),
      reinsert: () => reinsert(at, row, change ?? {}),
      swap: () => swap(at, row)
    }
    return yield* writer.transaction(at, doing[dice.pick(kinds)]())
  })
}

/** Two people meet on one row. */
const meeting = (rows: SampleRows.SampleRows, writer: SampleWriter.SampleWriter, dice: Dice) => {
  const insert = (at: Place, row: Row) => writer.transaction(at, writer.insert(at, row))

  return Effect.fnUntraced(function*(first: Place, second: Place) {
    const kind = dice.pick(meetings)
    if (kind === "insert" || kind === "twins") {
      const [one, two] = [yield* rows.fresh(first, { wholeKey: true }), yield* rows.fresh(second, { wholeKey: true })]
      yield* insert(first, one)
      // Twins are the same but for their keys; else nothing but the key is the same.
      return yield* insert(
        second,
        kind === "twins" ? { ...one, ...keyRow(first.table, two) } : { ...two, ...keyRow(first.table, one) }
      )
    }
    const row = yield* rows.any(first)
    if (row === undefined) return
    const [one, two] = [yield* rows.changes(first, row), yield* rows.changes(second, row)]
    if (one === undefined || two === undefined) return
    yield* writer.transaction(first, kind === "delete" ? writer.remove(first, row) : writer.update(first, row, one))
    yield* writer.transaction(second, writer.update(second, row, kind === "agree" ? one : two))
  })
}

/** As often as they are named. */
const kinds = [
  "insert",
  "insert",
  "insert",
  "insert",
  "update",
  "update",
  "update",
  "update",
  "bulk update",
  "delete",
  "deep delete",
  "change key",
  "reinsert",
  "swap"
] as const
const meetings = ["update", "update", "update", "delete", "delete", "agree", "insert", "twins"] as const

const keyRow = (table: SampleTable, row: Row): Row => Object.fromEntries(table.key.map((name) => [name, row[name]!]))

/** Without what can't be written. */
const without = (table: SampleTable, row: Row): Row =>
  Object.fromEntries(table.columns.filter(({ generated }) => !generated).map(({ name }) => [name, row[name]!]))
