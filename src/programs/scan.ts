/** Looks for changes of external that no trigger logs, before anybody asks what is pending there. */
import { Effect } from "effect"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"

/** Nothing to do with `EXTERNAL_CAPTURE=triggers`. Deletes are looked for when that is due, or `now`. */
export const scan = Effect.fn("scan")(function*(tables: ReadonlyArray<SyncedTable>, sweep: "due" | "now" = "due") {
  if ((yield* SyncConfig).externalCapture !== "timestamp" || tables.length === 0) return
  yield* (yield* ExternalDb).scan(tables, { sweep })
})
