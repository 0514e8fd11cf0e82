/** The memory form of few rows: the same queue and the same merge, without a claim that stays open. */
import { Effect } from "effect"
import * as StagedRow from "../../domain/StagedRow.ts"
import { type ApplyOptions, type Few, type FewRows, fewRowsMax, type Many } from "../Database.ts"
import { apply } from "./apply.ts"
import { acknowledge, bouncesMax, toStaged } from "./Changelog.ts"
import type { Connection } from "./Lease.ts"
import * as Lease from "./Lease.ts"
import { newestEntry, pendingKeys } from "./Queue.ts"
import { step, tableOf } from "./Store.ts"

export const make = (connection: Connection): FewRows => ({
  claimFew: Effect.fn("MemoryDatabase.claimFew")((table) =>
    step(connection.store, (): Few | Many | "none" => {
      const { store } = connection
      const state = tableOf(store, table)
      const keys = pendingKeys(state, table.key)
      if (keys.length === 0) return "none"
      // No more of them is read than tells that they are many.
      const staged = keys.slice(0, fewRowsMax + 1).map((pending, index) => toStaged(state, table, pending, index + 1))
      const isBouncing = keys.some(({ entries }) => (newestEntry(entries)?.bounces ?? 0) >= bouncesMax)
      const isMoved = keys.some(({ entries }) => entries.some(({ was }) => was !== null))
      const lines = new TextEncoder().encode(staged.map((row) => StagedRow.encode(row, table.key.length)).join(""))
      if (keys.length > fewRowsMax || state.quarantine.size > 0 || isBouncing || isMoved) {
        return { _tag: "Many", rowBytes: lines.length / staged.length }
      }
      return {
        _tag: "Few",
        rows: staged.length,
        deletes: staged.filter(({ present }) => !present).length,
        keys: keys.map(({ id }) => id),
        lines,
        acknowledge: Effect.fn("MemoryDatabase.acknowledgeFew")((kept) =>
          Lease.step(connection, (nowUs) => {
            const left = new Set(kept)
            const there = new Set(tableOf(store, table).pending)
            const settled = keys.filter((_, index) => !left.has(index + 1)).flatMap(({ entries }) => entries)
            acknowledge(store, table, settled.filter((entry) => there.has(entry)), nowUs)
          })
        )
      }
    })
  ),

  applyFew: Effect.fn("MemoryDatabase.applyFew")(function*(table, { lines }) {
    const staged = yield* StagedRow.decodeChunks(table, [lines])
    return yield* Lease.step(connection, (nowUs) => {
      const { store } = connection
      const state = tableOf(store, table)
      const options: ApplyOptions = { judge: () => "keep", locks: "wait" }
      const batch = { store, state, table, staged, seeds: [], known: new Map<number, bigint>(), options, nowUs }
      return { bytes: lines.length, ...apply(batch) }
    })
  })
})
