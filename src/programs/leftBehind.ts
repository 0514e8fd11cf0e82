/** Finds tables that are still captured though `SYNC_TABLES` names them no more: their changelogs grow for nobody. */
import { Effect } from "effect"
import { display } from "../domain/TableName.ts"
import { onBoth } from "./databases.ts"
import { wanted } from "./wanted.ts"

/** A sentence a table, with the cure. */
export const leftBehind = Effect.gen(function*() {
  const meant = new Set((yield* wanted).names.map(display))
  const captured = yield* onBoth((database) => database.captured)
  const names = new Set([...captured.replit, ...captured.external].map(display))
  return [...names].filter((name) => !meant.has(name)).map(sentence)
})

export const sentence = (table: string): string =>
  `Table ${table} is captured but not in SYNC_TABLES: its changes are logged and never synced. Put it back into `
  + `SYNC_TABLES, or run \`teardown --table ${table}\`.`
