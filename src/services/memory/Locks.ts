/** The row locks of one transaction. Nobody waits for one: what another transaction holds is `Blocked` at once. */
import type { RowId } from "./MemoryTable.ts"
import type { RowLock, TableState } from "./Store.ts"
import { Blocked } from "./Store.ts"
import type { Transaction } from "./Transaction.ts"

/** `share` to add a child, `row` to change the row, `key` to make it, to delete it or to change its key. */
export type LockMode = "share" | "row" | "key"

export class Locks {
  private readonly owner: Transaction
  private readonly held = new Set<{ readonly state: TableState; readonly id: RowId }>()

  constructor(owner: Transaction) {
    this.owner = owner
  }

  isTaken(state: TableState, id: RowId, mode: LockMode): boolean {
    const { sharers, strong, writer } = lockOf(state, id)
    const otherWriter = writer !== null && writer !== this.owner
    if (mode === "share") return otherWriter && strong
    return otherWriter || (mode === "key" && [...sharers].some((sharer) => sharer !== this.owner))
  }

  take(state: TableState, id: RowId, mode: LockMode): void {
    if (this.isTaken(state, id, mode)) throw new Blocked(state.schema.name)
    const lock = lockOf(state, id)
    if (mode === "share") lock.sharers.add(this.owner)
    else {
      lock.writer = this.owner
      lock.strong ||= mode === "key"
    }
    state.locks.set(id, lock)
    this.held.add({ state, id })
  }

  release(): void {
    for (const { id, state } of this.held) {
      const lock = lockOf(state, id)
      lock.sharers.delete(this.owner)
      if (lock.writer === this.owner) {
        lock.writer = null
        lock.strong = false
      }
      if (lock.writer === null && lock.sharers.size === 0) state.locks.delete(id)
    }
    this.held.clear()
  }
}

const lockOf = (state: TableState, id: RowId): RowLock =>
  state.locks.get(id) ?? { writer: null, strong: false, sharers: new Set() }
