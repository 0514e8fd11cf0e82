/**
 * Shows that the sync works: inserts a marked row on one side, runs a cycle, looks for the row on the other side, and
 * takes it away again on both, whatever happened in between.
 */
import { Cause, Clock, Duration, Effect, Exit } from "effect"
import type { Side } from "../domain/Side.ts"
import { label, opposite } from "../domain/Side.ts"
import type { Key, SyncedTable } from "../domain/SyncedTable.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import type { Cycle } from "./cycle.ts"
import { retrying } from "./cycle.ts"
import { databases } from "./databases.ts"
import { RandomId } from "./RandomId.ts"
import { syncedTable } from "./syncedTable.ts"
import { sayHowLong } from "./underLease.ts"
import { wanted } from "./wanted.ts"

export interface ProbeOptions {
  readonly from: Side
  /** Null is the first table of the settings. */
  readonly table: TableName | null
}

export interface Probed {
  readonly table: string
  readonly from: Side
  readonly key: Key
  readonly arrived: boolean
  /** From the insert's commit to its being seen on the other side, milliseconds. */
  readonly tookMs: number
  /** Why it did not arrive, where that is known. */
  readonly reason: string | null
}

export const probe = Effect.fn("probe")(function*(cycle: Cycle, options: ProbeOptions) {
  const { retryFor } = yield* SyncConfig
  const { names: tables } = yield* wanted
  const name = options.table ?? tables[0]
  if (name === undefined) return yield* new ActionNeeded({ message: "SYNC_TABLES takes in no table." })
  if (!tables.some((table) => display(table) === display(name))) {
    return yield* new ActionNeeded({ message: `${display(name)} is not one of the tables in SYNC_TABLES.` })
  }
  const run = cycle({ retryFor, lease: "wait", notBefore: 0 }).pipe(sayHowLong(retryFor))
  // Sets up what isn't, and moves what waits, so that the time measured is the probe's own.
  yield* run
  const table = yield* syncedTable(name)
  return yield* Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const both = yield* databases
      const key = yield* both[options.from].insertProbe(table, `${yield* RandomId} vaivem probe`)
      const arrival = yield* Effect.exit(restore(arrive(table, key, options.from, run)))
      // Somebody who pressed Ctrl-C waits: a lost connection is then not waited for.
      yield* remove(cycle, table, key, options.from, isStopped(arrival) ? Duration.seconds(2) : retryFor)
      return yield* arrival
    })
  )
})

const isStopped = Exit.match({ onFailure: Cause.isInterrupted, onSuccess: () => false })

const arrive = Effect.fn("arrive")(function*<A, E, R>(
  table: SyncedTable,
  key: Key,
  from: Side,
  run: Effect.Effect<A, E, R>
) {
  const both = yield* databases
  const startedMs = yield* Clock.currentTimeMillis
  yield* run
  const row = yield* both[opposite(from)].read(table, key)
  const tookMs = (yield* Clock.currentTimeMillis) - startedMs
  return {
    table: display(table.name),
    from,
    key,
    arrived: row !== null,
    tookMs,
    reason: row === null ? yield* reasonOf(table, key, from) : null
  } satisfies Probed
})

const reasonOf = Effect.fn("reasonOf")(function*(table: SyncedTable, key: Key, from: Side) {
  const both = yield* databases
  const refused = yield* both[from].quarantined(table.name)
  const found = refused.find((entry) => JSON.stringify(entry.key) === JSON.stringify(key))
  return found === undefined ? null : `${label(opposite(from))} refused it: ${found.message}`
})

/** Deletes the row where it was made; a cycle takes it away on the other side. */
const remove = Effect.fn("remove")(function*(
  cycle: Cycle,
  table: SyncedTable,
  key: Key,
  from: Side,
  retryFor: Duration.Duration
) {
  const both = yield* databases
  yield* both[from].remove(table, key).pipe(
    retrying(retryFor),
    Effect.tapError(() =>
      Effect.logError("The probe's row could not be deleted").pipe(
        Effect.annotateLogs({ table: display(table.name), side: from, key: key.join(", ") })
      )
    )
  )
  yield* cycle({ retryFor, lease: "wait", notBefore: 0 }).pipe(
    sayHowLong(retryFor),
    Effect.tapError(() =>
      Effect.logWarning("The probe's row was deleted; the next cycle deletes it on the other side").pipe(
        Effect.annotateLogs({ table: display(table.name), side: from })
      )
    )
  )
})
