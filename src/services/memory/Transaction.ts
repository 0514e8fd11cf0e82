/**
 * The memory form's engine: one transaction's statements with constraints, foreign keys, triggers, row locks and
 * capture, as far as syncing can tell them from PostgreSQL's. What a transaction writes lies over the committed rows
 * until `commit`. A refusal is thrown and leaves the transaction to be rolled back.
 */
import type { Key } from "../../domain/SyncedTable.ts"
import type { TableName } from "../../domain/TableName.ts"
import type { Conflict } from "../Database.ts"
import { childrenOf, requireFit, requireNewKey, requireParents, requireUnique, tellChildren } from "./constraints.ts"
import { announce } from "./Gate.ts"
import { Locks } from "./Locks.ts"
import type { MemoryTable, Row, RowChange, RowId, Statements } from "./MemoryTable.ts"
import { idOf, idOfKey, keyOf } from "./MemoryTable.ts"
import { fold } from "./Queue.ts"
import { take } from "./Sequences.ts"
import type { Entry, Store, TableState } from "./Store.ts"
import { Refused, tableNamed } from "./Store.ts"
import { print, toIso } from "./Timestamp.ts"

/** Who writes a row: `merge` is the sync itself, which is not captured (promise 3). */
export type Writer = "user" | "merge"

/** What the sync is applying. */
export interface Applying {
  readonly state: TableState
  /** How often each applied row went to and fro until now. */
  readonly bounces: ReadonlyMap<RowId, number>
}

/** Runs one statement as a transaction of its own. */
export const transact = (
  store: Store,
  nowUs: bigint,
  run: (transaction: Transaction) => void,
  applying: Applying | null = null
): void => {
  const transaction = new Transaction(store, nowUs, applying)
  try {
    transaction.statement(() => run(transaction))
    transaction.commit()
  } catch (thrown) {
    transaction.rollback()
    throw thrown
  }
}

export class Transaction {
  readonly store: Store
  readonly locks: Locks
  /** The time of the statement at hand. */
  nowUs: bigint
  private readonly applying: Applying | null
  private readonly written = new Map<TableState, Map<RowId, Row | null>>()
  private readonly captured: Array<{ readonly state: TableState; readonly entry: Entry }> = []
  private readonly journal: Array<Conflict> = []
  private readonly atCommit: Array<() => void> = []
  /** What is left to do when the statement at hand ends: foreign keys and AFTER triggers. */
  private rest: Array<() => void> = []
  private depth = 0
  private open = true
  /** Somebody rested when this one wrote. */
  private announces = false

  constructor(store: Store, nowUs: bigint, applying: Applying | null = null) {
    this.store = store
    this.locks = new Locks(this)
    this.nowUs = nowUs
    this.applying = applying
    store.transactions.add(this)
  }

  /** The other open ones. */
  others(): ReadonlyArray<Transaction> {
    return [...this.store.transactions].filter((other) => other !== this)
  }

  /** What this one wrote until now; null is a deleted row. */
  writes(state: TableState): ReadonlyMap<RowId, Row | null> {
    return this.written.get(state) ?? new Map()
  }

  /** Number of the first change of the table that this one will log when it commits; null when there is none. */
  firstChange(state: TableState): bigint | null {
    return this.captured.find((change) => change.state === state)?.entry.changeId ?? null
  }

  row(state: TableState, id: RowId): Row | null {
    const mine = this.writes(state).get(id)
    return mine === undefined ? state.rows.get(id) ?? null : mine
  }

  rows(state: TableState): ReadonlyArray<readonly [RowId, Row]> {
    const all = new Map<RowId, Row | null>([...state.rows, ...this.writes(state)])
    return [...all].flatMap(([id, row]) => row === null ? [] : [[id, row] as const])
  }

  /** Runs a statement: its foreign keys and AFTER triggers come when all its rows are written. */
  statement(run: () => void): void {
    if (!this.open) throw new Refused({ schema: "", name: "" }, "25P02", "current transaction is aborted")
    const outer = this.rest
    this.rest = []
    run()
    for (const action of this.rest) action()
    this.rest = outer
  }

  insert(state: TableState, values: Row, writer: Writer = "user"): void {
    const row = this.fireBefore(state, { old: null, new: this.complete(state, values) }, writer)
    if (row === null) return
    const id = idOf(state.schema, row)
    this.locks.take(state, id, "key")
    requireNewKey(this, state, id)
    this.write(state, id, row)
    this.wrote(state, null, id, { old: null, new: row }, writer)
  }

  /** A row that isn't there is no error, here and in `remove`: nothing is changed. */
  update(state: TableState, id: RowId, changes: Row, writer: Writer = "user"): void {
    const old = this.row(state, id)
    if (old === null) return
    const proposed = this.fireBefore(state, { old, new: { ...old, ...changes } }, writer)
    if (proposed === null) return
    const row = writer === "user" ? this.touch(state, old, proposed) : proposed
    const newId = idOf(state.schema, row)
    this.locks.take(state, id, newId === id ? "row" : "key")
    if (newId !== id) {
      this.locks.take(state, newId, "key")
      requireNewKey(this, state, newId)
      this.overlay(state).set(id, null)
    }
    this.write(state, newId, row)
    this.wrote(state, id, newId, { old, new: row }, writer)
  }

  remove(state: TableState, id: RowId, writer: Writer = "user"): void {
    const old = this.row(state, id)
    if (old === null) return
    this.locks.take(state, id, "key")
    if (this.fireBefore(state, { old, new: null }, writer) === null) return
    this.overlay(state).set(id, null)
    this.wrote(state, id, null, { old, new: null }, writer)
  }

  truncate(state: TableState): void {
    const { name } = state.schema
    if (childrenOf(this.store, name).length > 0) {
      throw new Refused(name, "0A000", "cannot truncate a table referenced in a foreign key constraint")
    }
    for (const [id] of this.rows(state)) {
      this.locks.take(state, id, "key")
      this.overlay(state).set(id, null)
      this.capture(state, "TRUNCATE", id)
    }
  }

  /** Notes what else is to change when this commits. */
  onCommit(action: () => void): void {
    this.atCommit.push(action)
  }

  /** Notes a version that is about to be lost. */
  lose(conflict: Omit<Conflict, "id" | "lostSide" | "decidedAt" | "restoredAt" | "keptAt">): void {
    this.journal.push({
      ...conflict,
      id: this.store.newId(),
      lostSide: this.store.side,
      decidedAt: toIso(this.nowUs),
      restoredAt: null,
      keptAt: null
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
    // What the sync itself writes folds nothing: it reads.
    if (this.applying === null) {
      for (const state of new Set(this.captured.map((change) => change.state))) fold(this.store, state, this.nowUs)
    }
    this.store.conflicts.push(...this.journal)
    this.rollback()
    if (this.announces) announce(this.store.gate)
  }

  rollback(): void {
    this.open = false
    this.locks.release()
    this.store.gate.silent.delete(this)
    this.store.transactions.delete(this)
  }

  private overlay(state: TableState): Map<RowId, Row | null> {
    const found = this.written.get(state)
    if (found !== undefined) return found
    const made = new Map<RowId, Row | null>()
    this.written.set(state, made)
    return made
  }

  private write(state: TableState, id: RowId, row: Row): void {
    requireFit(state.schema, row)
    requireUnique(this, state, id, row)
    this.overlay(state).set(id, row)
  }

  private wrote(state: TableState, oldId: RowId | null, newId: RowId | null, change: Change, writer: Writer): void {
    if (writer === "user") this.captureChange(state, oldId, newId, change)
    if (oldId !== null && oldId !== newId) this.rest.push(() => tellChildren(this, state, change))
    if (newId !== null) this.rest.push(() => requireParents(this, state, newId, change))
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
    const bounces = this.bouncesOf(state, id)
    this.captured.push({ state, entry: { changeId, operation, id, was, changedAtUs: this.nowUs, bounces } })
    if (!state.capture.announce) return
    if (this.store.gate.closed) this.announces = true
    else this.store.gate.silent.add(this)
  }

  /** What comes of applying counts on: from the applied row itself, or from the one that went to and fro most often. */
  private bouncesOf(state: TableState, id: RowId): number {
    if (this.applying === null) return 0
    const { bounces, state: applied } = this.applying
    return 1 + ((applied === state ? bounces.get(id) : undefined) ?? Math.max(0, ...bounces.values()))
  }

  private complete(state: TableState, values: Row): Row {
    const { schema } = state
    return Object.fromEntries(schema.columns.map(({ default: text, name, sequence }) => {
      if (values[name] === undefined && sequence === true) return [name, take(state, name)]
      if (values[name] !== undefined || text === undefined) return [name, values[name] ?? null]
      return [name, text === "now()" ? this.printNow(schema, name) : text]
    }))
  }

  private printNow(schema: MemoryTable, column: string): string {
    const { type } = schema.columns.find(({ name }) => name === column)!
    return print(this.nowUs, type === "timestamp without time zone" ? "" : "+00")
  }
}

type Change = Pick<RowChange, "old" | "new">
