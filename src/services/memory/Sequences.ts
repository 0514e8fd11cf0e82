/** The memory form's sequences: one for each column that says so, with nothing held back and nothing shared. */
import type { IdSequence, SequenceSettings } from "../../domain/IdSequence.ts"
import { isUp, larger, mod, size, smaller } from "../../domain/IdSequence.ts"
import type { TableName } from "../../domain/TableName.ts"
import { qualified } from "../../domain/TableName.ts"
import type { MemoryTable, Row } from "./MemoryTable.ts"
import { sequencedColumns, sequenceName } from "./MemoryTable.ts"
import type { Store, TableState } from "./Store.ts"
import { Refused } from "./Store.ts"

export interface MemorySequence {
  now: SequenceSettings
  /** What it was before it was split; null when it wasn't. */
  before: SequenceSettings | null
}

export const sequenceOf = (state: TableState, column: string): MemorySequence => {
  const known = state.sequences.get(column)
  if (known !== undefined) return known
  const bits = typeOf(state.schema, column) === "smallint"
    ? 15n
    : typeOf(state.schema, column) === "integer"
    ? 31n
    : 63n
  const now = { increment: 1n, start: 1n, min: 1n, max: 2n ** bits - 1n, next: 1n }
  const made: MemorySequence = { now, before: null }
  state.sequences.set(column, made)
  return made
}

/** `nextval`: not undone by a rollback. */
export const take = (state: TableState, column: string): string => {
  const sequence = sequenceOf(state, column)
  const { next } = sequence.now
  if (next > sequence.now.max || next < sequence.now.min) {
    throw new Refused(state.schema.name, "2200H", "nextval: reached maximum value of sequence")
  }
  sequence.now = { ...sequence.now, next: next + sequence.now.increment }
  return String(next)
}

/** Past the ids of these rows that it could give itself. */
export const moveOn = (state: TableState, rows: ReadonlyArray<Row>): void => {
  for (const column of sequencedColumns(state.schema)) {
    const sequence = sequenceOf(state, column)
    const furthest = furthestOf(sequence.now, idsOf(rows, column))
    if (furthest === null) continue
    const next = furthest + sequence.now.increment
    if (isUp(sequence.now) ? next > sequence.now.next : next < sequence.now.next) {
      sequence.now = { ...sequence.now, next }
    }
  }
}

export const describe = (state: TableState): ReadonlyArray<IdSequence> =>
  sequencedColumns(state.schema).toSorted().map((column) => describeOne(state, column))

export const split = (store: Store, name: TableName, settings: SequenceSettings): bigint => {
  const sequence = named(store, name)
  const last = sequence.now.next - sequence.now.increment
  sequence.before ??= sequence.now
  const behind = isUp(settings) ? last - settings.next : settings.next - last
  const steps = behind < 0n ? 0n : behind / size(settings.increment) + 1n
  sequence.now = { ...settings, next: settings.next + steps * settings.increment }
  return last
}

/** Beyond the number, and never back. */
export const movePast = (store: Store, name: TableName, past: bigint): void => {
  const sequence = named(store, name)
  const next = past + sequence.now.increment
  const further = isUp(sequence.now) ? larger(next, sequence.now.next) : smaller(next, sequence.now.next)
  sequence.now = { ...sequence.now, next: further }
}

export const putBack = (state: TableState): void => {
  const split = [...state.sequences.values()].filter(({ before }) => before !== null)
  for (const sequence of split) {
    sequence.now = { ...sequence.before!, next: sequence.now.next }
    sequence.before = null
  }
  if (split.length > 0) moveOn(state, [...state.rows.values()])
}

const named = (store: Store, name: TableName): MemorySequence => {
  for (const state of store.tables.values()) {
    for (const column of sequencedColumns(state.schema)) {
      if (qualified(sequenceName(state.schema, column)) === qualified(name)) return sequenceOf(state, column)
    }
  }
  throw new Refused(name, "42P01", "relation does not exist")
}

const describeOne = (state: TableState, column: string): IdSequence => {
  const { before, now } = sequenceOf(state, column)
  const ids = idsOf([...state.rows.values()], column)
  return {
    ...now,
    table: state.schema.name,
    column,
    type: typeOf(state.schema, column),
    name: sequenceName(state.schema, column),
    cycle: false,
    rights: "alter",
    split: before !== null,
    highest: ids.length === 0 ? null : ids.reduce(larger),
    lowest: ids.length === 0 ? null : ids.reduce(smaller),
    furthest: furthestOf(now, ids)
  }
}

const idsOf = (rows: ReadonlyArray<Row>, column: string): ReadonlyArray<bigint> =>
  rows.flatMap((row) => row[column] === null || row[column] === undefined ? [] : [BigInt(row[column])])

const furthestOf = (settings: SequenceSettings, ids: ReadonlyArray<bigint>): bigint | null => {
  const { increment, max, min, next } = settings
  const own = ids.filter((n) => n >= min && n <= max && mod(n - next, size(increment)) === 0n)
  return own.length === 0 ? null : own.reduce(isUp(settings) ? larger : smaller)
}

const typeOf = (table: MemoryTable, column: string): string => table.columns.find(({ name }) => name === column)!.type
