/**
 * Applies staged rows in one transaction: lock, judge, merge, journal, log as history, commit. What a database does in
 * the order of promise 9 happens here in one step, so a memory target never loses a race for a key; it can only meet
 * rows that an open transaction of the app has locked.
 */
import { opposite } from "../../domain/Side.ts"
import type { StagedRow } from "../../domain/StagedRow.ts"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import type { Applied, ApplyOptions, Contested, Verdict, Weighed } from "../Database.ts"
import { childrenOf } from "./constraints.ts"
import type { Row, RowId } from "./MemoryTable.ts"
import { idOfKey, keyOf } from "./MemoryTable.ts"
import { isMarked, newestEntry, pendingOf, settle, stampOf, unblock, versionStamp } from "./Queue.ts"
import { moveOn } from "./Sequences.ts"
import type { Entry, Store, TableState } from "./Store.ts"
import { Refused } from "./Store.ts"
import * as Timestamp from "./Timestamp.ts"
import { Transaction } from "./Transaction.ts"

/**
 * Applies all of the rows or, when it throws, none. Rows that are refused because they pass unique values on to each
 * other are untangled, as PostgreSQL's form does it.
 */
export const apply = (batch: Batch): Omit<Applied, "bytes"> => {
  const { staged, state, store } = batch
  try {
    return applyBy(batch)
  } catch (refusal) {
    if (!(refusal instanceof Refused) || refusal.sqlState !== "23505" || staged.length === 1) throw refusal
    for (const how of untangling(store, state)) {
      try {
        return applyBy(batch, how)
      } catch (again) {
        if (!(again instanceof Refused)) throw again
      }
    }
    throw refusal
  }
}

/** A batch and what it meets. */
export interface Batch {
  readonly store: Store
  readonly state: TableState
  readonly table: SyncedTable
  readonly staged: ReadonlyArray<StagedRow>
  readonly seeds: ReadonlyArray<{
    readonly table: SyncedTable
    readonly state: TableState
    readonly rows: ReadonlyArray<StagedRow>
  }>
  readonly known: ReadonlyMap<number, bigint>
  readonly options: ApplyOptions
  readonly nowUs: bigint
}

/** Unique columns become null first; or rows are deleted and inserted again in one statement. */
type Untangling = "loosen" | "replace"

const untangling = (store: Store, { schema }: TableState): ReadonlyArray<Untangling> =>
  childrenOf(store, schema.name).some(({ reference }) => reference.onDelete === "cascade")
    ? ["loosen"]
    : ["loosen", "replace"]

const applyBy = (
  { known, nowUs, options, seeds, staged, state, store, table }: Batch,
  how: Untangling | null = null
): Omit<Applied, "bytes"> => {
  const rows = staged.map((row) => toMerge(state, table, row))
  const bounces = new Map(rows.map(({ bounces: count, id }) => [id, count]))
  const transaction = new Transaction(store, nowUs, { state, bounces })
  try {
    const unlocked = lock(transaction, state, rows, options.locks)
    const judged = unlocked.map((row) => judge(store, state, table, row, known, options.judge))
    const merged = merge(
      transaction,
      state,
      judged.filter(({ verdict }) => verdict === "apply" || verdict === "overwrite" || verdict === "supersede"),
      how,
      () => seeds.reduce((sum, seed) => sum + plant(transaction, seed), 0)
    )
    const overwritten = judged.filter(({ verdict }) => verdict === "overwrite")
    for (const row of overwritten) {
      transaction.lose({
        table: table.name,
        key: row.key,
        reason: "conflict",
        policy: table.policy,
        lost: row.before,
        won: row.after
      })
    }
    transaction.onCommit(() => log(store, state, judged, nowUs))
    transaction.commit()
    const locked = rows.length - unlocked.length
    const settled = new Set(judged.filter(({ verdict }) => verdict !== "keep").map(({ number }) => number))
    return {
      ...merged,
      conflicts: overwritten.length,
      kept: rows.map(({ number }) => number).filter((number) => !settled.has(number)),
      locked
    }
  } catch (thrown) {
    transaction.rollback()
    throw thrown
  }
}

/** The newest pending change here of each row that has one, by the row's number. */
export const contestedBy = (
  state: TableState,
  table: SyncedTable,
  staged: ReadonlyArray<StagedRow>
): ReadonlyMap<number, bigint> =>
  new Map(
    staged.map((row) => toMerge(state, table, row)).flatMap(({ entries, number }) => {
      const newest = newestEntry(entries)
      return newest === null ? [] : [[number, newest.changeId] as const]
    })
  )

/** What applying these rows would take away. */
export const weigh = (
  { known, staged, state, store, table }: Pick<Batch, "store" | "state" | "table" | "staged" | "known">,
  isOverwrite: (contested: Contested) => boolean
): Weighed => {
  const rows = staged.map((row) => toMerge(state, table, row))
  const overwrites: Array<Key> = []
  for (const row of rows) {
    judge(store, state, table, row, known, (contested) => {
      if (isOverwrite(contested)) overwrites.push(row.key)
      return "keep"
    })
  }
  const deletes = rows.filter(({ after, before, changedUs, entries }) =>
    entries.length === 0 && after === null && before !== null && changedUs !== null
  )
  const moves = rows.flatMap(({ key, was }) => was === null ? [] : [{ key, was: keyOf(state.schema, table.key, was) }])
  return { deletes: deletes.map(({ key }) => key), overwrites, moves }
}

/** A staged row beside what is there. */
interface ToMerge extends Pick<StagedRow, "number" | "changeId" | "changedUs" | "bounces"> {
  readonly id: RowId
  readonly key: ReadonlyArray<string>
  readonly was: RowId | null
  /** The target's row, whole. */
  readonly before: Row | null
  /** The source's row, the columns that travel. */
  readonly after: Row | null
  /** The key's pending entries on the target. */
  readonly entries: ReadonlyArray<Entry>
}

interface Judged extends ToMerge {
  readonly verdict: Verdict | "apply"
}

const toMerge = (state: TableState, table: SyncedTable, row: StagedRow): ToMerge => {
  const { bounces, changeId, changedUs, number, present, values } = row
  const texts: Row = Object.fromEntries(table.columns.map((name, index) => [name, values[index] ?? null]))
  const key = table.key.map((name) => texts[name]!)
  const id = idOfKey(state.schema, table.key, key)
  return {
    number,
    changeId,
    changedUs,
    bounces,
    id,
    key,
    was: row.was === null ? null : idOfKey(state.schema, table.key, row.was),
    before: state.rows.get(id) ?? null,
    after: present ? texts : null,
    entries: pendingOf(state, id)
  }
}

/** Locks the target's rows and leaves out those that the app has locked; or refuses to go on without them. */
const lock = (
  transaction: Transaction,
  state: TableState,
  rows: ReadonlyArray<ToMerge>,
  locks: ApplyOptions["locks"]
): ReadonlyArray<ToMerge> =>
  rows.filter(({ id, was }) => {
    const there = [id, was].filter((name) => name !== null && state.rows.has(name))
    if (locks === "skip" && there.some((name) => transaction.locks.isTaken(state, name!, "row"))) return false
    for (const name of there) transaction.locks.take(state, name!, "row")
    return true
  })

/** Only a key that is pending here too is anybody's to judge; anything else simply applies (promise 4). */
const judge = (
  store: Store,
  state: TableState,
  table: SyncedTable,
  row: ToMerge,
  known: ReadonlyMap<number, bigint>,
  verdictOn: ApplyOptions["judge"]
): Judged => {
  const { after, before, changedUs, changeId, entries, id, number } = row
  if (entries.length === 0) return { ...row, verdict: "apply" }
  const source = opposite(store.side)
  const verdict = verdictOn({
    number,
    equal: after === null || before === null ? after === before : isSame(before, after),
    applied: state.history.some((entry) => entry.id === id && entry.origin === source && entry.changeId === changeId),
    known: entries.every(({ changeId: theirs }) => theirs <= (known.get(number) ?? 0n)),
    marked: {
      source: changedUs === null,
      target: isMarked(entries)
    },
    source: { present: after !== null, stampUs: versionStamp(table, after, changedUs ?? -Timestamp.infinity) },
    target: { present: before !== null, stampUs: stampOf(table, before, entries) }
  })
  return { ...row, verdict }
}

/**
 * Four statements: deletes, changed keys, updates, inserts. A changed key stays one where its old row is here, the new
 * one isn't, and neither is contested; otherwise the new key is an insert, and the old one's own change deletes it.
 */
const merge = (
  transaction: Transaction,
  state: TableState,
  rows: ReadonlyArray<Judged>,
  how: Untangling | null,
  plantSeeds: () => number
) => {
  const deleted = rows.filter(({ after, before }) => after === null && before !== null)
  const updated = rows.filter(({ after, before }) => after !== null && before !== null && !isSame(before, after))
  const added = rows.filter(({ after, before }) => after !== null && before === null)
  const oldKeys = new Set<RowId>()
  const moved = added.filter(({ entries, was }) => {
    if (was === null || entries.length > 0 || !state.rows.has(was) || pendingOf(state, was).length > 0) return false
    // Two rows may have had the same key one after the other: only one of them can be a change of the row that has it.
    return !oldKeys.has(was) && oldKeys.add(was)
  })
  const inserted = added.filter((row) => !moved.includes(row))
  let planted = 0
  moveOn(state, rows.flatMap(({ after }) => after === null ? [] : [after]))
  transaction.statement(() => deleted.forEach(({ id }) => transaction.remove(state, id, "merge")))
  if (how === "loosen") {
    const columns = (state.schema.uniques ?? []).flatMap((unique) => unique.columns)
    const nulls = Object.fromEntries(columns.filter(mayBeNull(state)).map((column) => [column, null]))
    transaction.statement(() => updated.forEach(({ id }) => transaction.update(state, id, nulls, "merge")))
  }
  if (how === "replace") {
    transaction.statement(() => {
      updated.forEach(({ id }) => transaction.remove(state, id, "merge"))
      updated.forEach(({ after, before }) => transaction.insert(state, { ...before, ...after }, "merge"))
    })
  }
  transaction.statement(() => moved.forEach(({ after, was }) => transaction.update(state, was!, after!, "merge")))
  transaction.statement(() => updated.forEach(({ after, id }) => transaction.update(state, id, after!, "merge")))
  transaction.statement(() => {
    planted = plantSeeds()
    inserted.forEach(({ after }) => transaction.insert(state, after!, "merge"))
  })
  return { deleted: deleted.length, updated: updated.length + moved.length, inserted: inserted.length + planted }
}

/** Rows of another table that come along are that side's own changes: captured as such. Says how many they are. */
const plant = (transaction: Transaction, { rows, state, table }: Batch["seeds"][number]): number => {
  const missing = rows.map((row) => toMerge(state, table, row)).filter(({ after, entries, id }) =>
    after !== null && transaction.row(state, id) === null && entries.length === 0
  )
  for (const { after } of missing) transaction.insert(state, after!)
  return missing.length
}

/** Every settled key goes into history with its source's change id, and what was pending here is settled with it. */
const log = (store: Store, state: TableState, judged: ReadonlyArray<Judged>, nowUs: bigint): void => {
  for (const { changeId, changedUs, entries, id, verdict } of judged) {
    if (verdict === "keep" || verdict === "seen") continue
    settle(store, state, entries, nowUs)
    const origin = opposite(store.side)
    state.history.push({ id, origin, changeId, isMark: changedUs === null, syncedAtUs: nowUs })
    unblock(state, id, nowUs)
  }
}

const mayBeNull = ({ schema }: TableState) => (name: string): boolean =>
  !schema.key.includes(name) && schema.columns.some((column) => column.name === name && column.notNull !== true)

const isSame = (before: Row, after: Row): boolean =>
  Object.entries(after).every(([name, text]) => before[name] === text)
