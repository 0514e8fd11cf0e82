/** The second database, `EXTERNAL_DB_URL`, typically at Neon. */
import { Context } from "effect"
import type { Database } from "./Database.ts"

export class ExternalDb extends Context.Tag("vaivem/services/ExternalDb")<ExternalDb, Database>() {}
