/** Tables as the memory form knows them: columns of texts, constraints and triggers as functions. */
import type { Column, Key, TableShape } from "../../domain/SyncedTable.ts"
import type { TableName } from "../../domain/TableName.ts"

/** A row: the texts of all columns of its table; null is SQL's null. */
export type Row = Readonly<Record<string, string | null>>

/** What `make` is told about a table, in place of a CREATE TABLE statement. */
export interface MemoryTable {
  readonly name: TableName
  readonly columns: ReadonlyArray<MemoryColumn>
  /** Primary key columns. */
  readonly key: ReadonlyArray<string>
  readonly uniques?: ReadonlyArray<{ readonly name: string; readonly columns: ReadonlyArray<string> }>
  /** Columns with an index of their own that is not unique. */
  readonly indexed?: ReadonlyArray<string>
  readonly references?: ReadonlyArray<Reference>
  readonly checks?: ReadonlyArray<{ readonly name: string; readonly holds: (row: Row) => boolean }>
  /** BEFORE ROW triggers, run in this order. */
  readonly before?: ReadonlyArray<{ readonly name: string; readonly run: BeforeTrigger }>
  /** AFTER ROW triggers, run when the statement ends. */
  readonly after?: ReadonlyArray<{ readonly name: string; readonly run: AfterTrigger }>
}

export interface MemoryColumn {
  readonly name: string
  /** As `format_type` prints it. */
  readonly type: string
  readonly notNull?: boolean
  /** Text of the default; `now()` is the time of the statement. */
  readonly default?: string
  /** Its default comes from a sequence of its own. */
  readonly sequence?: boolean
}

/** A foreign key to the other table's primary key. */
export interface Reference {
  readonly name: string
  readonly columns: ReadonlyArray<string>
  readonly table: TableName
  /** Without it, the parent can't be deleted while the child is there. */
  readonly onDelete?: "cascade"
  /** Without it, the parent's key can't change while the child is there. */
  readonly onUpdate?: "cascade"
}

/** One row's change, as a trigger sees it: no old row is an insert, no new one a delete. */
export interface RowChange {
  readonly old: Row | null
  readonly new: Row | null
  /** The time of the statement, as a `timestamptz` text. */
  readonly now: string
  /** How many triggers deep this is, 1 for those of a statement that no trigger made (`pg_trigger_depth`). */
  readonly depth: number
}

/** Returns the row to write (of a delete: the old one), or null to drop the change. */
export type BeforeTrigger = (change: RowChange) => Row | null

/** Writes more rows through `statements`. */
export type AfterTrigger = (change: RowChange, statements: Statements) => void

/** What a trigger can do in its transaction. Keys are in the table's own key order. A refusal is thrown. */
export interface Statements {
  readonly insert: (table: TableName, row: Row) => void
  readonly update: (table: TableName, key: Key, changes: Row) => void
  readonly remove: (table: TableName, key: Key) => void
}

/** Names a row inside the memory form: its key's texts in the table's own key order, as JSON. */
export type RowId = string

export const idOf = (table: MemoryTable, row: Row): RowId => JSON.stringify(table.key.map((name) => row[name] ?? null))

/** The id of a key whose texts are in the order of `columns`. */
export const idOfKey = (table: MemoryTable, columns: ReadonlyArray<string>, key: Key): RowId =>
  idOf(table, Object.fromEntries(columns.map((name, index) => [name, key[index] ?? null])))

/** The key's texts in the order of `columns`. */
export const keyOf = (table: MemoryTable, columns: ReadonlyArray<string>, id: RowId): Key => {
  const texts: ReadonlyArray<string> = JSON.parse(id)
  return columns.map((name) => texts[table.key.indexOf(name)]!)
}

/** Orders keys as an index on the columns does: whole numbers by value, everything else by code unit. */
export const compareKeys = (table: MemoryTable, columns: ReadonlyArray<string>) => (a: Key, b: Key): number => {
  for (const [index, name] of columns.entries()) {
    const [x, y] = [a[index]!, b[index]!]
    if (x === y) continue
    const whole = isWhole(table.columns.find((column) => column.name === name)!.type)
    return whole ? (BigInt(x) < BigInt(y) ? -1 : 1) : x < y ? -1 : 1
  }
  return 0
}

/** What `inspect` says about the table. */
export const shapeOf = (table: MemoryTable, fingerprint: string): TableShape => ({
  name: table.name,
  columns: table.columns.map((column) => toColumn(table, column)),
  key: table.key,
  keyConstraint: `${table.name.name}_pkey`,
  parents: (table.references ?? []).map((reference) => reference.table).filter((name) => !sameName(name, table.name)),
  rules: [],
  beforeTriggers: (table.before ?? []).map(({ name }) => name),
  selfReferencing: (table.references ?? []).some((reference) => sameName(reference.table, table.name)),
  sequences: sequencedColumns(table).map((column) => ({ column, name: sequenceName(table, column) })),
  leadingColumns: [
    ...table.key.slice(0, 1),
    ...(table.uniques ?? []).flatMap(({ columns }) => columns.slice(0, 1)),
    ...table.indexed ?? []
  ],
  uniqueColumns: [...new Set((table.uniques ?? []).flatMap(({ columns }) => columns))],
  afterTriggers: (table.after ?? []).map(({ name }) => name),
  fingerprint
})

/** Of the sequence that gives values to a column: as PostgreSQL names it. */
export const sequenceName = (table: MemoryTable, column: string): TableName => ({
  schema: table.name.schema,
  name: `${table.name.name}_${column}_seq`
})

export const sequencedColumns = (table: MemoryTable): ReadonlyArray<string> =>
  table.columns.filter(({ sequence }) => sequence === true).map(({ name }) => name)

export const sameName = (a: TableName, b: TableName): boolean => a.schema === b.schema && a.name === b.name

/** Why a text is no value of the type, with its SQLSTATE; null when it is one. Types it doesn't know take any text. */
export const misfit = (type: string, text: string): { readonly sqlState: string; readonly message: string } | null => {
  const base = baseOf(type)
  if (isWhole(base)) {
    if (!/^-?\d+$/.test(text)) return { sqlState: "22P02", message: `invalid input syntax for type ${base}` }
    const limit = 2n ** (base === "smallint" ? 15n : base === "integer" ? 31n : 63n)
    const value = BigInt(text)
    return value < -limit || value >= limit ? { sqlState: "22003", message: `${base} out of range` } : null
  }
  if (base === "boolean" && text !== "t" && text !== "f") {
    return { sqlState: "22P02", message: "invalid input syntax for type boolean" }
  }
  const length = /^character varying\((\d+)\)$/.exec(type)?.[1]
  return length !== undefined && [...text].length > Number(length)
    ? { sqlState: "22001", message: `value too long for type ${type}` }
    : null
}

const toColumn = (table: MemoryTable, column: MemoryColumn): Column => ({
  name: column.name,
  type: column.type,
  base: baseOf(column.type),
  plain: column.type,
  attributes: null,
  notNull: column.notNull === true || table.key.includes(column.name),
  hasDefault: column.default !== undefined || column.sequence === true,
  generated: false,
  identity: null,
  operators: null,
  looseCollation: false
})

const baseOf = (type: string): string => type.replace(/\(.*\)/, "")

const isWhole = (type: string): boolean => type === "smallint" || type === "integer" || type === "bigint"
