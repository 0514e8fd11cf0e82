/** What a row must obey. A violation is thrown as `Refused`, with PostgreSQL's SQLSTATE. */
import type { TableName } from "../../domain/TableName.ts"
import type { MemoryTable, Reference, Row, RowChange, RowId } from "./MemoryTable.ts"
import { keyOf, misfit, sameName } from "./MemoryTable.ts"
import type { Store, TableState } from "./Store.ts"
import { Blocked, Refused, tableNamed } from "./Store.ts"
import type { Transaction } from "./Transaction.ts"

/** Types, NOT NULL and CHECK. */
export const requireFit = ({ checks = [], columns, key, name }: MemoryTable, row: Row): void => {
  for (const { name: column, notNull, type } of columns) {
    const text = row[column] ?? null
    if (text === null && (notNull === true || key.includes(column))) {
      throw new Refused(name, "23502", `null value in column "${column}" violates not-null constraint`)
    }
    const problem = text === null ? null : misfit(type, text)
    if (problem !== null) throw new Refused(name, problem.sqlState, problem.message)
  }
  for (const check of checks) {
    if (check.holds(row)) continue
    throw new Refused(name, "23514", `new row violates check constraint "${check.name}"`, { constraint: check.name })
  }
}

/**
 * The unique constraints. A value that another open transaction takes or gives up is neither free nor taken:
 * PostgreSQL would wait for its end.
 */
export const requireUnique = (transaction: Transaction, state: TableState, id: RowId, row: Row): void => {
  for (const unique of state.schema.uniques ?? []) {
    if (unique.columns.some((column) => row[column] === null)) continue
    const isSame = (other: Row | null) =>
      other !== null && unique.columns.every((column) => other[column] === row[column])
    for (const other of transaction.others()) {
      const theirs = [...other.writes(state)]
      if (theirs.some(([otherId, written]) => otherId !== id && isSame(written))) throw new Blocked(state.schema.name)
    }
    for (const [otherId, other] of transaction.rows(state)) {
      if (otherId === id || !isSame(other)) continue
      if (transaction.locks.isTaken(state, otherId, "row")) throw new Blocked(state.schema.name)
      throw duplicate(state.schema, unique.name, otherId)
    }
  }
}

/** The primary key. */
export const requireNewKey = (transaction: Transaction, state: TableState, id: RowId): void => {
  if (transaction.row(state, id) !== null) throw duplicate(state.schema, `${state.schema.name.name}_pkey`, id)
}

/** The row's parents must be there, and stay. To be asked when the statement ends. */
export const requireParents = (transaction: Transaction, state: TableState, id: RowId, change: Change): void => {
  for (const reference of state.schema.references ?? []) {
    const row = transaction.row(state, id)
    const isNew = change.old === null ||
      reference.columns.some((column) => change.old?.[column] !== change.new?.[column])
    if (!isNew || row === null || reference.columns.some((column) => row[column] === null)) continue
    const parent = tableNamed(transaction.store, reference.table)
    const parentId: RowId = JSON.stringify(reference.columns.map((column) => row[column]))
    if (transaction.row(parent, parentId) === null) throw broken(state.schema.name, reference)
    transaction.locks.take(parent, parentId, "share")
  }
}

/** Children of a row that is gone, or has another key now, follow it or are in the way. To be told when the statement ends. */
export const tellChildren = (transaction: Transaction, state: TableState, { new: now, old }: Change): void => {
  const { key, name } = state.schema
  const keyTexts = key.map((column) => old?.[column] ?? null)
  if (transaction.row(state, JSON.stringify(keyTexts)) !== null) return
  for (const { child, reference } of childrenOf(transaction.store, name)) {
    const found = transaction.rows(child).filter(([, row]) =>
      reference.columns.every((column, index) => row[column] === keyTexts[index])
    )
    if (found.length === 0) continue
    if ((now === null ? reference.onDelete : reference.onUpdate) !== "cascade") throw broken(name, reference)
    const changes = Object.fromEntries(
      reference.columns.map((column, index) => [column, now?.[key[index]!] ?? null])
    )
    transaction.statement(() => {
      for (const [id] of found) {
        if (now === null) transaction.remove(child, id)
        else transaction.update(child, id, changes)
      }
    })
  }
}

/** The foreign keys that point at a table. */
export const childrenOf = (store: Store, name: TableName) =>
  [...store.tables.values()].flatMap((child) =>
    (child.schema.references ?? [])
      .filter((reference) => sameName(reference.table, name))
      .map((reference) => ({ child, reference }))
  )

type Change = Pick<RowChange, "old" | "new">

const duplicate = (schema: MemoryTable, constraint: string, inTheWay: RowId) =>
  new Refused(schema.name, "23505", `duplicate key value violates unique constraint "${constraint}"`, {
    constraint,
    blockedBy: keyOf(schema, schema.key, inTheWay)
  })

const broken = (table: TableName, { name }: Reference) =>
  new Refused(table, "23503", `violates foreign key constraint "${name}"`, { constraint: name })
