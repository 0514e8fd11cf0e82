/**
 * A pair whose external side has nothing of ours: `EXTERNAL_CAPTURE=timestamp`, and a role that owns nothing there.
 */
import { Effect } from "effect"
import { listConflicts } from "../../src/programs/conflicts.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { verify } from "../../src/programs/verify.ts"
import { type Synced, synced, type SyncedOptions } from "./PgPair.ts"

export const notas = "create table notas (id integer primary key, a text, updated_at timestamptz default now())"

export const stranger = (ddl: Parameters<typeof synced>[0], options: SyncedOptions = {}) =>
  synced(ddl, { ...options, capture: "timestamp" })

/** Rows 1 to `rows` on both sides, old enough for no scan to look at. */
export const withRows = Effect.fnUntraced(function*(rows: number, options: SyncedOptions = {}) {
  const sync = yield* stranger(notas, options)
  yield* sync.replit.query(`insert into notas select n, 'inicio', '2024-01-01' from generate_series(1, ${rows}) n`)
  yield* sync.cycle
  return sync
})

/** Who lost, why and what. */
export const journaled = (sync: Synced) =>
  Effect.map(
    sync.run(listConflicts({ table: sync.tables[0]!, limit: 20 })),
    (found) => found.map(({ lost, lostSide, reason }) => `${lostSide} ${reason}: ${lost?.["a"] ?? "deleted"}`)
  )

export const verified = (sync: Synced, repair = false) =>
  Effect.map(
    sync.run(Effect.flatMap(makeCycle, (cycle) => verify(cycle, { repair, dryRun: false, show: 10 }))),
    ({ tables }) => tables[0]!
  )
