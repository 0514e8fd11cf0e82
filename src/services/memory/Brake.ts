/** The memory form's brake: what a claim would take away here, and the tables that are held. */
import { Chunk, Effect, Stream } from "effect"
import * as StagedRow from "../../domain/StagedRow.ts"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import { display } from "../../domain/TableName.ts"
import type { Braking, Pause } from "../Database.ts"
import { contestedBy, weigh } from "./apply.ts"
import { idOfKey } from "./MemoryTable.ts"
import { pendingOf, settle } from "./Queue.ts"
import type { Entry, Store } from "./Store.ts"
import { step, tableOf } from "./Store.ts"
import * as Timestamp from "./Timestamp.ts"
import { transact } from "./Transaction.ts"

export const make = (store: Store): Braking => ({
  glance: Effect.fn("MemoryDatabase.glance")((table, after) =>
    step(store, () => {
      const state = tableOf(store, table)
      const { pending } = state
      const isRemoval = ({ operation }: Entry) => operation === "DELETE" || operation === "TRUNCATE"
      const changes = pending.filter(({ operation }) => operation !== "MARK")
      const later = changes.filter(({ changeId }) => changeId > after)
      return {
        changes: later.length,
        removals: later.filter(isRemoval).length,
        allChanges: changes.length,
        allRemovals: changes.filter(isRemoval).length + pending.length - changes.length,
        moves: changes.filter(({ was }) => was !== null).length,
        newest: pending.reduce((newest, { changeId }) => changeId > newest ? changeId : newest, 0n),
        writers: [...store.transactions].flatMap((open) => open.firstChange(state) ?? []).map(String)
      }
    })
  ),
  countRows: Effect.fn("MemoryDatabase.countRows")((table, most) =>
    step(store, () => Math.min(tableOf(store, table).rows.size, most ?? Infinity))
  ),
  weigh: Effect.fn("MemoryDatabase.weigh")(function*(table, claimed, isOverwrite) {
    const chunks = Chunk.toReadonlyArray(yield* Stream.runCollect(claimed.stream))
    const staged = yield* StagedRow.decodeChunks(table, chunks)
    const contested = yield* step(store, () => contestedBy(tableOf(store, table), table, staged))
    const known = contested.size === 0 ? contested : yield* claimed.known(contested)
    return yield* step(
      store,
      () => weigh({ store, state: tableOf(store, table), table, staged, known }, isOverwrite)
    )
  }),
  held: step(store, () => [...store.held.values()]),
  holdTable: Effect.fn("MemoryDatabase.holdTable")((table, holding) =>
    step(store, (nowUs) => {
      const approved = store.held.get(display(table))?.approved ?? { replit: 0n, external: 0n }
      store.held.set(display(table), { table, since: Timestamp.toIso(nowUs), holding, approved })
    })
  ),
  releaseTable: Effect.fn("MemoryDatabase.releaseTable")((table, approve) =>
    step(store, () => {
      const held = store.held.get(display(table))
      if (held === undefined || held.since === null) return
      const { external, replit } = held.holding
      const approved = approve ? { replit: replit.changeId, external: external.changeId } : held.approved
      store.held.set(display(table), { ...held, since: null, approved })
    })
  ),
  pauses: step(store, () => pausesOf(store)),
  pauseTable: Effect.fn("MemoryDatabase.pauseTable")((table) =>
    step(store, (nowUs) => {
      const id = table === null ? "" : display(table)
      if (!store.pauses.has(id)) store.pauses.set(id, { table, since: Timestamp.toIso(nowUs) })
    })
  ),
  resumeTable: Effect.fn("MemoryDatabase.resumeTable")((table) =>
    step(store, () => {
      if (table === null) store.pauses.clear()
      else store.pauses.delete(display(table))
    })
  ),
  giveUp: Effect.fn("MemoryDatabase.giveUp")((table, keys, options) =>
    step(store, (nowUs) => keys.filter((key) => giveUp(store, table, key, options, nowUs)).length)
  )
})

/** All tables come first. */
export const pausesOf = (store: Store): ReadonlyArray<Pause> =>
  [...store.pauses].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, pause]) => pause)

const giveUp = (
  store: Store,
  table: SyncedTable,
  key: Key,
  { journal, upTo }: { readonly upTo: bigint; readonly journal: boolean },
  nowUs: bigint
): boolean => {
  const state = tableOf(store, table)
  const id = idOfKey(state.schema, table.key, key)
  const entries = pendingOf(state, id)
  if (entries.length === 0 || entries.some(({ changeId }) => changeId > upTo)) return false
  transact(store, nowUs, (transaction) => {
    if (journal) {
      const lost = state.rows.get(id) ?? null
      transaction.lose({ table: table.name, key, reason: "rejected", policy: table.policy, lost, won: null })
    }
    transaction.onCommit(() => settle(store, state, entries, nowUs))
  })
  return true
}
