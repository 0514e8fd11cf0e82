/** The memory form's journal: conflicts, quarantine, runs, and what people ask for. */
import { Effect } from "effect"
import { label } from "../../domain/Side.ts"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import { ActionNeeded } from "../../domain/SyncError.ts"
import type { TableName } from "../../domain/TableName.ts"
import { display } from "../../domain/TableName.ts"
import type { Conflict, Journal, Quarantined, Refusal, SideStatus } from "../Database.ts"
import type { Row } from "./MemoryTable.ts"
import { idOfKey, keyOf, sameName } from "./MemoryTable.ts"
import { probeRow } from "./probeRow.ts"
import { dueIds, mark, markMoved, newestChange, pendingOf } from "./Queue.ts"
import type { QuarantineEntry, Store, TableState } from "./Store.ts"
import { step, tableNamed, tableOf } from "./Store.ts"
import * as Timestamp from "./Timestamp.ts"
import { transact } from "./Transaction.ts"

export const make = (store: Store): Journal => ({
  status: Effect.fn("MemoryDatabase.status")((names) => step(store, (nowUs) => status(store, names, nowUs))),
  runs: Effect.fn("MemoryDatabase.runs")((limit) => step(store, () => store.runs.toReversed().slice(0, limit))),
  conflicts: Effect.fn("MemoryDatabase.conflicts")(({ limit, table, undecided }) =>
    step(store, () =>
      store.conflicts.filter((conflict) =>
        (table === undefined || sameName(conflict.table, table))
        && (undecided === undefined || isUndecided(conflict) === undecided)
      ).toReversed().slice(0, limit))
  ),
  conflict: Effect.fn("MemoryDatabase.conflict")((id) => step(store, () => conflictOf(store, id))),
  restore: Effect.fn("MemoryDatabase.restore")((table, id) => step(store, (nowUs) => restore(store, table, id, nowUs))),
  keep: Effect.fn("MemoryDatabase.keep")((id) => step(store, (nowUs) => keep(store, id, nowUs))),
  edit: Effect.fn("MemoryDatabase.edit")((table, id, changes) =>
    step(store, (nowUs) => edit(store, table, id, changes, nowUs))
  ),
  quarantined: Effect.fn("MemoryDatabase.quarantined")((table) =>
    step(store, () => entries(store, table).map(({ entry, id, state }) => toQuarantined(store, state, id, entry)))
  ),
  quarantine: Effect.fn("MemoryDatabase.quarantine")((table, refusals) =>
    step(store, (nowUs) => {
      for (const refusal of refusals) quarantine(store, tableOf(store, table), table, refusal, nowUs)
    })
  ),
  due: Effect.fn("MemoryDatabase.due")((table, limit) =>
    step(store, (nowUs) => {
      const state = tableOf(store, table)
      return dueIds(state, nowUs).slice(0, limit).map((id) => keyOf(state.schema, table.key, id))
    })
  ),
  retryQuarantined: Effect.fn("MemoryDatabase.retryQuarantined")((table, id) =>
    step(store, (nowUs) => {
      const meant = entries(store, table).filter(({ entry }) => id === null || entry.uuid.startsWith(id))
      for (const { entry } of meant) entry.nextAttemptUs = nowUs
      return meant.length
    })
  ),
  mark: Effect.fn("MemoryDatabase.mark")((table, keys, was) =>
    step(store, () => {
      const state = tableOf(store, table)
      const idOf = (key: Key) => idOfKey(state.schema, table.key, key)
      if (was === undefined) keys.forEach((key) => mark(store, state, idOf(key)))
      else keys.forEach((key, index) => markMoved(store, state, idOf(key), idOf(was[index]!)))
    })
  ),
  discard: Effect.fn("MemoryDatabase.discard")((table, id) => step(store, (nowUs) => discard(store, table, id, nowUs))),
  insertProbe: Effect.fn("MemoryDatabase.insertProbe")((table, marker) =>
    step(store, (nowUs) => {
      const state = tableOf(store, table)
      const row = probeRow(store, state, marker, Timestamp.print(nowUs))
      transact(store, nowUs, (transaction) => transaction.insert(state, row))
      return table.key.map((name) => row[name]!)
    })
  ),
  read: Effect.fn("MemoryDatabase.read")((table, key) =>
    step(store, () => {
      const state = tableOf(store, table)
      return state.rows.get(idOfKey(state.schema, table.key, key)) ?? null
    })
  ),
  remove: Effect.fn("MemoryDatabase.remove")((table, key) =>
    step(store, (nowUs) => {
      const state = tableOf(store, table)
      transact(store, nowUs, (transaction) => transaction.remove(state, idOfKey(state.schema, table.key, key)))
    })
  )
})

const status = (store: Store, names: ReadonlyArray<TableName>, nowUs: bigint): SideStatus => ({
  tables: names.map((name) => {
    const state = store.tables.get(display(name))
    const conflicts = store.conflicts.filter(({ table }) => sameName(table, name))
    const changes = (state?.pending ?? []).filter(({ operation }) => operation !== "MARK")
    const oldestUs = changes.reduce<bigint | null>(
      (oldest, { changedAtUs }) => oldest === null || changedAtUs < oldest ? changedAtUs : oldest,
      null
    )
    return {
      name,
      rows: state?.rows.size ?? null,
      pending: new Set(state?.pending.map(({ id }) => id)).size,
      quarantined: state?.quarantine.size ?? 0,
      conflicts: conflicts.length,
      open: conflicts.filter(({ restoredAt }) => restoredAt === null).length,
      undecided: conflicts.filter(isUndecided).length,
      oldestPendingSeconds: oldestUs === null ? null : Number(nowUs - oldestUs) / 1_000_000
    }
  }),
  lastRun: store.runs.at(-1) ?? null,
  lastCycleAt: store.lastCycle === null ? null : Timestamp.toIso(store.lastCycle.atUs),
  lease: store.side === "external" || store.holder === null ? null : {
    holder: store.holder.name,
    since: Timestamp.toIso(store.holder.sinceUs),
    epoch: store.epoch,
    isHeld: store.lease !== null
  }
})

const conflictOf = (store: Store, id: string): Conflict | null => {
  const found = store.conflicts.filter((conflict) => conflict.id.startsWith(id))
  if (found.length <= 1) return found[0] ?? null
  throw new ActionNeeded({
    side: store.side,
    message: `${found.length} conflicts on ${label(store.side)} have ids that begin with ${id}. Give more of the id.`
  })
}

const restore = (store: Store, table: SyncedTable, id: string, nowUs: bigint): void => {
  const conflict = conflictOf(store, id)
  const problem = conflict === null
    ? `There is no conflict ${id} on ${label(store.side)}.`
    : conflict.restoredAt === null
    ? null
    : `Conflict ${conflict.id} was restored before, at ${conflict.restoredAt}.`
  if (conflict === null || problem !== null) {
    throw new ActionNeeded({ side: store.side, table: table.name, message: problem ?? "" })
  }
  write(store, table, conflict, () => conflict.lost, nowUs)
  const index = store.conflicts.indexOf(conflict)
  store.conflicts[index] = { ...conflict, restoredAt: Timestamp.toIso(nowUs) }
}

const edit = (store: Store, table: SyncedTable, id: string, changes: Row, nowUs: bigint): void => {
  const conflict = conflictOf(store, id)
  if (conflict === null) {
    throw new ActionNeeded({
      side: store.side,
      table: table.name,
      message: `There is no conflict ${id} on ${label(store.side)}.`
    })
  }
  const keys = Object.fromEntries(table.key.map((name, index) => [name, conflict.key[index]!]))
  write(
    store,
    table,
    conflict,
    (current) => current === null ? { ...(conflict.lost ?? conflict.won), ...changes, ...keys } : changes,
    nowUs
  )
  keep(store, conflict.id, nowUs)
}

/** Writes a version as an ordinary change, and journals what it replaces; null deletes. */
const write = (
  store: Store,
  table: SyncedTable,
  { key }: Conflict,
  version: (current: Row | null) => Row | null,
  nowUs: bigint
): void => {
  const state = tableOf(store, table)
  const rowId = idOfKey(state.schema, table.key, key)
  const current = state.rows.get(rowId) ?? null
  const written = version(current)
  transact(store, nowUs, (transaction) => {
    const won = written === null ? null : { ...current, ...written }
    transaction.lose({ table: table.name, key, reason: "restore", policy: null, lost: current, won })
    if (written === null) return transaction.remove(state, rowId)
    const row = restamped(state, table, written, current, nowUs)
    if (current === null) transaction.insert(state, row)
    else transaction.update(state, rowId, row)
  })
}

const keep = (store: Store, id: string, nowUs: bigint): void => {
  const index = store.conflicts.findIndex((conflict) => conflict.id === id && conflict.keptAt === null)
  if (index >= 0) store.conflicts[index] = { ...store.conflicts[index]!, keptAt: Timestamp.toIso(nowUs) }
}

const isUndecided = ({ keptAt, reason, restoredAt }: Conflict): boolean =>
  (reason === "conflict" || reason === "cascade") && restoredAt === null && keptAt === null

/** The lost version with a stamp that is newer than the row's own, so that it wins against what it replaces. */
const restamped = (state: TableState, table: SyncedTable, lost: Row, current: Row | null, nowUs: bigint): Row => {
  const row: Row = Object.fromEntries(
    Object.entries(lost).filter(([name]) => state.schema.columns.some((column) => column.name === name))
  )
  if (table.stamp === null) return row
  const text = current?.[table.stamp] ?? null
  const stampUs = text === null ? null : Timestamp.parse(text)
  const newUs = stampUs !== null && stampUs >= nowUs ? stampUs + 1n : nowUs
  const { type } = state.schema.columns.find(({ name }) => name === table.stamp)!
  return { ...row, [table.stamp]: Timestamp.print(newUs, type === "timestamp without time zone" ? "" : "+00") }
}

interface Found {
  readonly state: TableState
  readonly id: string
  readonly entry: QuarantineEntry
}

const entries = (store: Store, table: TableName | null): ReadonlyArray<Found> =>
  (table === null ? [...store.tables.values()] : [tableNamed(store, table)]).flatMap((state) =>
    [...state.quarantine].map(([id, entry]) => ({ state, id, entry }))
  )

const toQuarantined = (store: Store, state: TableState, id: string, entry: QuarantineEntry): Quarantined => {
  const key = state.capture?.table.key ?? state.schema.key
  return {
    id: entry.uuid,
    table: state.schema.name,
    from: store.side,
    key: keyOf(state.schema, key, id),
    sqlState: entry.sqlState,
    message: entry.message,
    constraint: entry.constraint,
    blockedBy: entry.blockedBy === null ? null : keyOf(state.schema, key, entry.blockedBy),
    attempts: entry.attempts,
    since: Timestamp.toIso(entry.sinceUs),
    nextAttemptAt: Timestamp.toIso(entry.nextAttemptUs)
  }
}

/** The first five attempts are followed by another at once; then come 1, 2, 4 … minutes, and 60 at most. */
const quarantine = (
  store: Store,
  state: TableState,
  table: SyncedTable,
  refusal: Refusal,
  nowUs: bigint
): void => {
  const id = idOfKey(state.schema, table.key, refusal.key)
  const pending = pendingOf(state, id)
  if (pending.length === 0) return
  const before = state.quarantine.get(id)
  const attempts = (before?.attempts ?? 0) + 1
  const minutes = attempts <= 5 ? 0 : Math.min(60, 2 ** (attempts - 6))
  state.quarantine.set(id, {
    uuid: before?.uuid ?? store.newId(),
    sqlState: refusal.sqlState,
    message: refusal.message,
    constraint: refusal.constraint,
    blockedBy: refusal.blockedBy === null ? null : idOfKey(state.schema, table.key, refusal.blockedBy),
    attempts,
    sinceUs: before?.sinceUs ?? nowUs,
    changeId: newestChange(pending),
    nextAttemptUs: nowUs + BigInt(minutes) * 60_000_000n
  })
}

const discard = (store: Store, table: SyncedTable, uuid: string, nowUs: bigint): void => {
  const state = tableOf(store, table)
  const found = [...state.quarantine].filter(([, entry]) => entry.uuid.startsWith(uuid))
  const id = found.length === 1 ? found[0]![0] : null
  if (id === null) {
    throw new ActionNeeded({
      side: store.side,
      table: table.name,
      message: `${found.length === 0 ? "No" : "More than one"} row of ${display(table.name)} on ${
        label(store.side)
      } is in quarantine with an id that begins with ${uuid}.`
    })
  }
  transact(store, nowUs, (transaction) => {
    transaction.lose({
      table: table.name,
      key: keyOf(state.schema, table.key, id),
      reason: "discard",
      policy: null,
      lost: state.rows.get(id) ?? null,
      won: null
    })
    transaction.onCommit(() => {
      state.pending = state.pending.filter((entry) => entry.id !== id)
      state.quarantine.delete(id)
    })
  })
}
