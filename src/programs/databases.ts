/** Both databases by side, for programs that look one up by what a person said or a record holds. */
import { Effect } from "effect"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"

export const databases = Effect.all({ replit: ReplitDb, external: ExternalDb })
