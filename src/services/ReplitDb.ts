/** The app's own database, `DATABASE_URL`. It also keeps the lease and the list of cycles. */
import { Context } from "effect"
import type { Database } from "./Database.ts"

export class ReplitDb extends Context.Tag("vaivem/services/ReplitDb")<ReplitDb, Database>() {}
