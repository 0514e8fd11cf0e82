/** What the last cycles did, as Replit's side has noted it: those that moved something or failed. Reads only. */
import { Effect } from "effect"
import { ReplitDb } from "../services/ReplitDb.ts"

/**
 * The newest `limit` of them, newest last, as people read a log. An idle cycle leaves no record, nor does one that could not
 * reach Replit; 10,000 are kept.
 */
export const logs = Effect.fn("logs")(function*(limit: number) {
  const replit = yield* ReplitDb
  return (yield* replit.runs(limit)).toReversed()
})
