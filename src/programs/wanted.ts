/** Which tables the settings mean now: those that are named, and what both sides have of what a wildcard names. */
import { Effect } from "effect"
import type { TableName } from "../domain/TableName.ts"
import type { Meant } from "../domain/Wildcard.ts"
import { meant } from "../domain/Wildcard.ts"
import type { Database } from "../services/Database.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { databases } from "./databases.ts"

/** What the owner of the tables, who is to sync them, may take in. */
export const wanted = Effect.suspend(() => wantedBy("owner"))

/** Asks nobody when there is no wildcard. A reader's tables may be another role's, and what of ours is there may be hidden. */
export const wantedBy = Effect.fn("wanted")(function*(by: "owner" | "reader") {
  const { excluded, schemas, tables } = yield* SyncConfig
  if (schemas.length === 0) return { names: tables, missing: [], notes: [] } satisfies Meant
  const { external, replit } = yield* databases
  const found = yield* Effect.all({ replit: look(replit, schemas, by), external: look(external, schemas, by) }, {
    concurrency: 2
  })
  return meant({ names: tables, schemas }, excluded, found)
})

const look = (database: Database, schemas: ReadonlyArray<string>, by: "owner" | "reader") =>
  Effect.all({
    listed: database.list(schemas, by),
    captured: by === "owner"
      ? database.captured
      : Effect.catchTag(database.captured, "ActionNeeded", () => Effect.succeed<ReadonlyArray<TableName>>([]))
  })
