/** Questions to the memory form's queue, and what settling does to it. */
import { Array as Arr } from "effect"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import { display } from "../../domain/TableName.ts"
import type { Row, RowId } from "./MemoryTable.ts"
import { compareKeys, keyOf } from "./MemoryTable.ts"
import type { Entry, Store, TableState } from "./Store.ts"
import * as Timestamp from "./Timestamp.ts"

/** A key and its pending entries, oldest commit first. */
export interface PendingKey {
  readonly id: RowId
  readonly key: Key
  readonly entries: ReadonlyArray<Entry>
}

/** Distinct pending keys, their texts in the order of `columns` and they in theirs. */
export const pendingKeys = (state: TableState, columns: ReadonlyArray<string>): ReadonlyArray<PendingKey> => {
  const compare = compareKeys(state.schema, columns)
  return Object.entries(Arr.groupBy(state.pending, ({ id }) => id))
    .map(([id, entries]) => ({ id, key: keyOf(state.schema, columns, id), entries }))
    .sort((a, b) => compare(a.key, b.key))
}

export const pendingOf = (state: TableState, id: RowId): ReadonlyArray<Entry> =>
  state.pending.filter((entry) => entry.id === id)

/** The key's newest change, 0 without any. Marks are no changes: they count only where there is nothing else. */
export const newestChange = (entries: ReadonlyArray<Entry>): bigint => {
  const real = entries.filter(({ operation }) => operation !== "MARK")
  return (real.length > 0 ? real : entries).reduce((newest, { changeId }) => changeId > newest ? changeId : newest, 0n)
}

export const newestEntry = (entries: ReadonlyArray<Entry>): Entry | null =>
  entries.reduce<Entry | null>(
    (newest, entry) => newest === null || entry.changeId > newest.changeId ? entry : newest,
    null
  )

/** When the newest of the changes was made; a mark is older than everything. */
export const changedAt = (entries: ReadonlyArray<Entry>): bigint =>
  entries.reduce((latest, { changedAtUs }) => changedAtUs > latest ? changedAtUs : latest, -Timestamp.infinity)

/** Nothing but marks. */
export const isMarked = (entries: ReadonlyArray<Entry>): boolean => changedAt(entries) === -Timestamp.infinity

/** The stamp that decides conflicts: of a row its stamp column, of a delete and without such a column the change's time. */
export const stampOf = (table: SyncedTable, row: Row | null, entries: ReadonlyArray<Entry>): bigint | null =>
  versionStamp(table, row, changedAt(entries))

/** The same of a row that was sent: when it was changed came along. */
export const versionStamp = (table: SyncedTable, row: Row | null, changedAtUs: bigint): bigint | null => {
  if (row === null || table.stamp === null) return changedAtUs
  const text = row[table.stamp] ?? null
  return text === null ? null : Timestamp.parse(text)
}

/** Moves pending changes to history, as made here and settled with the other side; marks, which are none, just go. */
export const settle = (store: Store, state: TableState, settled: ReadonlyArray<Entry>, nowUs: bigint): void => {
  const done = new Set(settled)
  state.pending = state.pending.filter((entry) => !done.has(entry))
  for (const { changeId, id, operation } of settled) {
    if (operation !== "MARK") state.history.push({ id, origin: store.side, changeId, isMark: false, syncedAtUs: nowUs })
    state.quarantine.delete(id)
  }
}

/** Makes this side's quarantined keys due that a row stood in the way of, because it changed. */
export const unblock = (state: TableState, blocker: RowId, nowUs: bigint): void => {
  for (const entry of state.quarantine.values()) {
    if (entry.blockedBy === blocker) entry.nextAttemptUs = nowUs
  }
}

/** Adds a mark, unless the key is pending already: older than any change unless a time is said. Says whether it did. */
export const mark = (
  store: Store,
  state: TableState,
  id: RowId,
  changedAtUs: bigint = -Timestamp.infinity
): boolean => {
  if (pendingOf(state, id).length > 0) return false
  const changeId = ++store.lastChangeId
  state.pending.push({ changeId, operation: "MARK", id, was: null, changedAtUs, bounces: 0 })
  return true
}

/** Adds a mark that says which key the row had, also to what is pending. */
export const markMoved = (store: Store, state: TableState, id: RowId, was: RowId): void => {
  state.pending.push({
    changeId: ++store.lastChangeId,
    operation: "MARK",
    id,
    was,
    changedAtUs: -Timestamp.infinity,
    bounces: 0
  })
}

/** Keys in quarantine that are due: by time, or because they changed since they were refused. Longest waiting first. */
export const dueIds = (state: TableState, nowUs: bigint): ReadonlyArray<RowId> =>
  [...state.quarantine]
    .filter(([id, { changeId, nextAttemptUs }]) =>
      nextAttemptUs <= nowUs || newestChange(pendingOf(state, id)) > changeId
    )
    .sort(([, a], [, b]) => a.nextAttemptUs < b.nextAttemptUs ? -1 : a.nextAttemptUs > b.nextAttemptUs ? 1 : 0)
    .map(([id]) => id)

/** Whether nobody has read the queues for as long as that takes. */
export const isAbandoned = ({ reading: { abandonment: { afterMs }, atUs } }: Store, nowUs: bigint): boolean =>
  afterMs !== null && nowUs - atUs > BigInt(Math.round(afterMs * 1000))

/**
 * Of a queue that nobody reads any more, leaves the newest change of a key, with the latest time, and the one that knows the
 * old key of a changed one. A server does this now and then and by pieces; here it is done with every commit.
 */
export const fold = (store: Store, state: TableState, nowUs: bigint): void => {
  const { queueMax } = store.reading.abandonment
  const isTooBig = queueMax !== null && state.pending.length * bytesOfChange > queueMax
  if (store.claims > 0 || !isTooBig && !isAbandoned(store, nowUs)) return
  const kept = state.pending.filter((entry) =>
    !state.pending.some((newer) =>
      newer.id === entry.id && newer.changeId > entry.changeId && newer.changedAtUs >= entry.changedAtUs
      && newer.operation !== "MARK" && (entry.was === null || newer.was !== null)
    )
  )
  if (kept.length === state.pending.length) return
  state.pending = kept
  store.folded.set(display(state.schema.name), state.schema.name)
}

/** What a change takes in a queue and its index. */
const bytesOfChange = 150

/** What was logged until then is no change any more; the rest gets numbers that were never given before. */
export const forgetUntil = (store: Store, untilUs: bigint, nowUs: bigint): void => {
  if (nowUs > store.lastChangeId) store.lastChangeId = nowUs
  for (const state of store.tables.values()) {
    state.quarantine.clear()
    state.pending = state.pending.flatMap((entry) =>
      entry.changedAtUs > untilUs ? [{ ...entry, changeId: ++store.lastChangeId }] : []
    )
  }
}
