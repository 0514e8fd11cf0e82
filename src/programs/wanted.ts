/** Which tables the settings mean now: those that are named, and what both sides have of what a wildcard names. */
import { Effect } from "effect"
import type { Meant } from "../domain/Wildcard.ts"
import { meant } from "../domain/Wildcard.ts"
import type { Database } from "../services/Database.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { databases } from "./databases.ts"

/** Asks nobody when there is no wildcard. */
export const wanted = Effect.gen(function*() {
  const { excluded, schemas, tables } = yield* SyncConfig
  if (schemas.length === 0) return { names: tables, missing: [], notes: [] } satisfies Meant
  const { external, replit } = yield* databases
  const found = yield* Effect.all({ replit: look(replit, schemas), external: look(external, schemas) }, {
    concurrency: 2
  })
  return meant({ names: tables, schemas }, excluded, found)
}).pipe(Effect.withSpan("wanted"))

const look = (database: Database, schemas: ReadonlyArray<string>) =>
  Effect.all({ listed: database.list(schemas), captured: database.captured })
