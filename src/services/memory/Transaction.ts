/**
 * The memory form's engine: one transaction's statements with constraints, foreign keys, triggers, row locks and
 * capture, as far as syncing can tell them from PostgreSQL's. What a transaction writes lies over the committed rows
 * until `commit`. A refusal is thrown and leaves the transaction to be rolled back.
 */
import type { Key } from "../../domain/SyncedTable.ts"
import type { TableName } from "../../domain/TableName.ts"
import type { Conflict } from "../Database.ts"
import type { MemoryTable, Reference, Row, RowChange, RowId, Statements } from "./MemoryTable.ts"
import { idOf, idOfKey, keyOf, misfit, sameName } from "./MemoryTable.ts"
import type { Entry, RowLock, Store, TableState } from "./Store.ts"
import { Blocked, Refused, tableNamed } from "./Store.ts"
import { print, toIso } from "./Timestamp.ts"

/** Who writes a row: `merge` is the sync itself, which is not captured (promise 3). */
export type Writer = "user" | "merge"

/** What the sync is applying. */
export interface Applying {
  readonly state: TableState
  /** How often the applied change that did so most often went to and fro until now. */
  readonly bounces: number
}

/** Runs one statement as a transaction of its own. */
export const transact = (store: Store, nowUs: bigint, run: (transaction: Transaction) => void): void => {
  const transaction = new Transaction(store, nowUs)
  try {
    transaction.statement(() => run(transaction))
    transaction.commit()
  } catch (thrown) {
    transaction.rollback()
    throw thrown
  }
}

export class Transaction {
  private readonly store: Store
  private readonly applying: Applying | null
  /** The time of the statement at hand. */
  nowUs: bigint
  private readonly written = new Map<TableState, Map<RowId, Row | null>>()
  private readonly captured: Array<{ readonly state: TableState; readonly entry: Entry }> = []
  private readonly journal: Array<Conflict> = []
  private readonly held = new Set<{ readonly state: TableState; readonly id: RowId }>()
  private readonly atCommit: Array<() => void> = []
  /** What is left to do when the statement at hand ends: foreign keys and AFTER triggers. */
  private rest: Array<() => void> = []
  private depth = 0
  private open = true

  constructor(store: Store, nowUs: bigint, applying: Applying | null = null) {
    this.store = store
    this.nowUs = nowUs
    this.applying = applying
    store.transactions.add(this)
  }

  row(state: TableState, id: RowId): Row | null {
    const mine = this.written.get(state)?.get(id)
    return mine === undefined ? state.rows.get(id) ?? null : mine
  }

  rows(state: TableState): ReadonlyArray<readonly [RowId, Row]> {
    const all = new Map<RowId, Row | null>([...state.rows, ...(this.written.get(state) ?? [])])
    return [...all].flatMap(([id, row]) => row === null ? [] : [[id, row] as const])
  }

  /** Runs a statement: its foreign keys and AFTER triggers come when all its rows are written. */
  statement<A>(run: () => A): A {
    if (!this.open) throw new Refused({ schema: "", name: "" }, "25P02", "current transaction is aborted")
    const outer = this.rest
    this.rest = []
    const result = run()
    for (const action of this.rest) action()
    this.rest = outer
    return result
  }

  insert(state: TableState, values: Row, writer: Writer = "user"): void {
    const { schema } = state
    const row = this.fireBefore(state, { old: null, new: this.complete(schema, values) }, writer)
    if (row === null) return
    const id = idOf(schema, row)
    this.lock(state, id, "key")
    if (this.row(state, id) !== null) throw duplicate(schema, `${schema.name.name}_pkey`, id)
    this.write(state, id, row)
    this.wrote(state, null, id, { old: null, new: row }, writer)
  }

  update(state: TableState, id: RowId, changes: Row, writer: Writer = "user"): void {
    const { schema } = state
    const old = this.row(state, id)
    if (old === null) return
    const proposed = this.fireBefore(state, { old, new: { ...old, ...changes } }, writer)
    if (proposed === null) return
    const row = writer === "user" ? this.touch(state, old, proposed) : proposed
    const newId = idOf(schema, row)
    this.lock(state, id, newId === id ? "row" : "key")
    if (newId !== id) {
      this.lock(state, newId, "key")
      if (this.row(state, newId) !== null) throw duplicate(schema, `${schema.name.name}_pkey`, newId)
      this.overlay(state).set(id, null)
    }
    this.write(state, newId, row)
    this.wrote(state, id, newId, { old, new: row }, writer)
  }

  remove(state: TableState, id: RowId, writer: Writer = "user"): void {
    const old = this.row(state, id)
    if (old === null) return
    this.lock(state, id, "key")
    if (this.fireBefore(state, { old, new: null }, writer) === null) return
    this.overlay(state).set(id, null)
    this.wrote(state, id, null, { old, new: null }, writer)
  }

  truncate(state: TableState): void {
    const { name } = state.schema
    if (this.children(name).length > 0) {
      throw new Refused(name, "0A000", "cannot truncate a table referenced in a foreign key constraint")
    }
    for (const [id] of this.rows(state)) {
      this.lock(state, id, "key")
      this.overlay(state).set(id, null)
      this.capture(state, "TRUNCATE", id)
    }
  }

  /** Whether a committed row could be locked for writing; children may still be added to it. */
  tryLock(state: TableState, id: RowId): boolean {
    if (this.isTaken(lockOf(state, id), "row")) return false
    this.lock(state, id, "row")
    return true
  }

  /** Notes what else is to change when this commits. */
  onCommit(action: () => void): void {
    this.atCommit.push(action)
  }

  /** Notes a version that is about to be lost. */
  lose(conflict: Omit<Conflict, "id" | "lostSide" | "decidedAt" | "restoredAt">): void {
    this.journal.push({
      ...conflict,
      id: this.store.newId(),
      lostSide: this.store.side,
      decidedAt: toIso(this.nowUs),
      restoredAt: null
    })
  }

  /** After a refusal there is nothing to commit, and this is a rollback, as in PostgreSQL. */
  commit(): void {
    if (!this.open) return
    for (const [state, rows] of this.written) {
      for (const [id, row] of rows) {
        if (row === null) state.rows.delete(id)
        else state.rows.set(id, row)
      }
    }
    for (const action of this.atCommit) action()
    for (const { entry, state } of this.captured) state.pending.push(entry)
    this.store.conflicts.push(...this.journal)
    this.end()
  }

  rollback(): void {
    this.end()
  }

  private overlay(state: TableState): Map<RowId, Row | null> {
    const found = this.written.get(state)
    if (found !== undefined) return found
    const made = new Map<RowId, Row | null>()
    this.written.set(state, made)
    return made
  }

  private write(state: TableState, id: RowId, row: Row): void {
    const { checks = [], columns, key, name, uniques = [] } = state.schema
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
    for (const unique of uniques) this.requireUnique(state, unique, id, row)
    this.overlay(state).set(id, row)
  }

  /** A value that another open transaction takes or gives up is neither free nor taken: PostgreSQL would wait for it. */
  private requireUnique(
    state: TableState,
    unique: { readonly name: string; readonly columns: ReadonlyArray<string> },
    id: RowId,
    row: Row
  ): void {
    if (unique.columns.some((column) => row[column] === null)) return
    const isSame = (other: Row | null) =>
      other !== null && unique.columns.every((column) => other[column] === row[column])
    for (const transaction of this.store.transactions) {
      if (transaction === this) continue
      const theirs = [...(transaction.written.get(state) ?? [])]
      if (theirs.some(([otherId, other]) => otherId !== id && isSame(other))) throw new Blocked(state.schema.name)
    }
    for (const [otherId, other] of this.rows(state)) {
      if (otherId === id || !isSame(other)) continue
      if (this.isTaken(lockOf(state, otherId), "row")) throw new Blocked(state.schema.name)
      throw duplicate(state.schema, unique.name, otherId)
    }
  }

  private wrote(state: TableState, oldId: RowId | null, newId: RowId | null, change: Change, writer: Writer): void {
    if (writer === "user") this.captureChange(state, oldId, newId, change)
    if (oldId !== null && oldId !== newId) this.rest.push(() => this.tellChildren(state, change))
    if (newId !== null) {
      for (const reference of state.schema.references ?? []) {
        if (change.old !== null && reference.columns.every((column) => change.old?.[column] === change.new?.[column])) {
          continue
        }
        this.rest.push(() => this.requireParent(state, newId, reference))
      }
    }
    for (const { run } of state.schema.after ?? []) {
      this.rest.push(() => {
        this.depth++
        run({ ...change, now: print(this.nowUs), depth: this.depth }, this.statements())
        this.depth--
      })
    }
  }

  private statements(): Statements {
    const on = (name: TableName, run: (state: TableState) => void) =>
      this.statement(() => run(tableNamed(this.store, name)))
    const idIn = (state: TableState, key: Key) => idOfKey(state.schema, state.schema.key, key)
    return {
      insert: (name, row) => on(name, (state) => this.insert(state, row)),
      update: (name, key, changes) => on(name, (state) => this.update(state, idIn(state, key), changes)),
      remove: (name, key) => on(name, (state) => this.remove(state, idIn(state, key)))
    }
  }

  private requireParent(state: TableState, id: RowId, reference: Reference): void {
    const row = this.row(state, id)
    if (row === null || reference.columns.some((column) => row[column] === null)) return
    const parent = tableNamed(this.store, reference.table)
    const parentId = JSON.stringify(reference.columns.map((column) => row[column]))
    if (this.row(parent, parentId) === null) throw broken(state.schema.name, reference)
    this.lock(parent, parentId, "share")
  }

  /** A row that is gone, or has another key now: its children follow or are in the way. */
  private tellChildren(state: TableState, { new: now, old }: Change): void {
    const { key, name } = state.schema
    const keyTexts = key.map((column) => old?.[column] ?? null)
    if (old === null || this.row(state, JSON.stringify(keyTexts)) !== null) return
    for (const { child, reference } of this.children(name)) {
      const found = this.rows(child).filter(([, row]) =>
        reference.columns.every((column, index) => row[column] === keyTexts[index])
      )
      if (found.length === 0) continue
      if ((now === null ? reference.onDelete : reference.onUpdate) !== "cascade") throw broken(name, reference)
      this.statement(() => {
        for (const [id] of found) {
          if (now === null) this.remove(child, id)
          else {
            this.update(
              child,
              id,
              Object.fromEntries(
                reference.columns.map((column, index) => [column, now[key[index]!] ?? null])
              )
            )
          }
        }
      })
    }
  }

  private children(name: TableName) {
    return [...this.store.tables.values()].flatMap((child) =>
      (child.schema.references ?? [])
        .filter((reference) => sameName(reference.table, name))
        .map((reference) => ({ child, reference }))
    )
  }

  /**
   * The user's BEFORE triggers have no say about what the sync applies (promise 11), except that dropping a row of it
   * is a refusal; otherwise what they return is written.
   */
  private fireBefore(state: TableState, change: Change, writer: Writer): Row | null {
    const proposed = change.new ?? change.old
    let row = proposed
    for (const { run } of state.schema.before ?? []) {
      const proposal = { old: change.old, new: change.new === null ? null : row }
      row = run({ ...proposal, now: print(this.nowUs), depth: this.depth + 1 })
      if (row === null) break
    }
    if (writer === "user") return row
    if (row === null) throw new Refused(state.schema.name, "27000", "a trigger drops the row")
    return proposed
  }

  /** The stamp column says when the row last changed: an update that leaves it alone bumps it. */
  private touch(state: TableState, old: Row, row: Row): Row {
    const stamp = state.capture?.touch === true ? state.capture.table.stamp : null
    return stamp === null || old[stamp] !== row[stamp] ? row : { ...row, [stamp]: this.printNow(state.schema, stamp) }
  }

  private captureChange(state: TableState, oldId: RowId | null, newId: RowId | null, change: Change): void {
    if (oldId === null) return this.capture(state, "INSERT", newId!)
    if (newId === oldId) return this.capture(state, "UPDATE", oldId)
    this.capture(state, "DELETE", oldId)
    if (newId !== null) return this.capture(state, "INSERT", newId, oldId)
    if (this.applying === null || state.capture === null) return
    const { key, name } = state.capture.table
    this.lose({
      table: name,
      key: keyOf(state.schema, key, oldId),
      reason: "cascade",
      policy: null,
      lost: change.old,
      won: null
    })
  }

  private capture(state: TableState, operation: Entry["operation"], id: RowId, was: RowId | null = null): void {
    if (state.capture === null) return
    const changeId = ++this.store.lastChangeId
    const bounces = this.applying === null ? 0 : this.applying.bounces + 1
    this.captured.push({ state, entry: { changeId, operation, id, was, changedAtUs: this.nowUs, bounces } })
  }

  private complete(schema: MemoryTable, values: Row): Row {
    return Object.fromEntries(schema.columns.map(({ default: text, name }) => {
      if (values[name] !== undefined || text === undefined) return [name, values[name] ?? null]
      return [name, text === "now()" ? this.printNow(schema, name) : text]
    }))
  }

  private printNow(schema: MemoryTable, column: string): string {
    const { type } = schema.columns.find(({ name }) => name === column)!
    return print(this.nowUs, type === "timestamp without time zone" ? "" : "+00")
  }

  private lock(state: TableState, id: RowId, mode: LockMode): void {
    const lock = lockOf(state, id)
    if (this.isTaken(lock, mode)) throw new Blocked(state.schema.name)
    if (mode === "share") lock.sharers.add(this)
    else {
      lock.writer = this
      lock.strong ||= mode === "key"
    }
    state.locks.set(id, lock)
    this.held.add({ state, id })
  }

  private isTaken(lock: RowLock, mode: LockMode): boolean {
    const otherWriter = lock.writer !== null && lock.writer !== this
    if (mode === "share") return otherWriter && lock.strong
    return otherWriter || (mode === "key" && [...lock.sharers].some((sharer) => sharer !== this))
  }

  private end(): void {
    this.open = false
    for (const { id, state } of this.held) {
      const lock = lockOf(state, id)
      lock.sharers.delete(this)
      if (lock.writer === this) {
        lock.writer = null
        lock.strong = false
      }
      if (lock.writer === null && lock.sharers.size === 0) state.locks.delete(id)
    }
    this.store.transactions.delete(this)
  }
}

type Change = Pick<RowChange, "old" | "new">

/** `share` to add a child, `row` to change the row, `key` to make it, delete it or change its key. */
type LockMode = "share" | "row" | "key"

const lockOf = (state: TableState, id: RowId): RowLock =>
  state.locks.get(id) ?? { writer: null, strong: false, sharers: new Set() }

const duplicate = (schema: MemoryTable, constraint: string, inTheWay: RowId) =>
  new Refused(schema.name, "23505", `duplicate key value violates unique constraint "${constraint}"`, {
    constraint,
    blockedBy: keyOf(schema, schema.key, inTheWay)
  })

const broken = (table: TableName, { name }: Reference) =>
  new Refused(table, "23503", `violates foreign key constraint "${name}"`, { constraint: name })
