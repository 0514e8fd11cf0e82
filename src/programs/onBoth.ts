/** One question to both databases. */
import { Effect } from "effect"
import type { Database } from "../services/Database.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"

/** Asks both databases at the same time. */
export const onBoth = <A, E, R>(ask: (database: Database) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(
    Effect.all([ReplitDb, ExternalDb]),
    ([replit, external]) => Effect.all({ replit: ask(replit), external: ask(external) }, { concurrency: 2 })
  )
