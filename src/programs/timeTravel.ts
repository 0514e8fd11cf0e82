/**
 * Stops when one of the two databases is not what it was when the other saw it last: restored to an earlier moment, replaced
 * by a copy, or synced with a clone of the other meanwhile. What it then holds as changes may be old, and what it lacks may
 * never have been deleted.
 */
import { DateTime, Effect } from "effect"
import { label, opposite, type Side } from "../domain/Side.ts"
import { WorldRefused } from "../domain/SyncError.ts"
import { type Renewal, timeTravel, type Tokens } from "../domain/Tokens.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { onBoth } from "./databases.ts"
import { RandomId } from "./RandomId.ts"

/** Fails with `WorldRefused` (exit code 1) and a message that says what it saw and which ways lead on. */
export const refuseTimeTravel = (tokens: Readonly<Record<Side, Tokens>>) => {
  const found = timeTravel(tokens)
  if (found === null) return Effect.void
  const { otherRemembersUntilMs, remembersUntilMs, side } = found
  return new WorldRefused({
    side,
    sqlState: null,
    message:
      `The ${label(side)} database is not as the ${label(opposite(side))} one knows it: it ${
        remembersUntilMs === null
          ? "remembers no cycle"
          : `remembers nothing after about ${moment(remembersUntilMs)}`
      }${
        otherRemembersUntilMs === null ? "" : `, and the other one was synced until ${moment(otherRemembersUntilMs)}`
      }. It was restored to an earlier moment, replaced by a copy, or synced with a clone. Nothing was applied. `
      + "If the URL is the wrong one, connect the right database again. Else `setup --adopt` takes both as they are and "
      + "compares every row: what differs goes by the conflict rule, losers are kept in the conflicts, and nothing is "
      + "deleted for being gone. Or start over: `teardown --yes`, then `setup`."
  })
}

/** Of both sides, which have our schema installed. */
export const tokensOf = Effect.gen(function*() {
  return yield* onBoth((database) => Effect.map(database.ask({ tables: [] }), ({ tokens }) => tokens))
})

/** `setup --adopt`: both sides are what they are now, and every table is to be compared. Under the lease. */
export const adopt = Effect.gen(function*() {
  const found = timeTravel(yield* tokensOf)
  const own = { replit: yield* RandomId, external: yield* RandomId }
  // A database on which nothing may be installed keeps no token, so the other side knows none of it.
  const keepsTokens = (yield* SyncConfig).externalCapture === "triggers"
  // Until both are through, the tokens don't match: broken off anywhere, it is begun again.
  yield* onBoth((database) =>
    database.takeAsItIs(
      found?.side === database.side ? found.otherRemembersUntilMs : null,
      keepsTokens ? { own: own[database.side], peer: own[opposite(database.side)] } : {}
    )
  )
})

/**
 * New tokens for both sides, a step at a time; each step goes along with something that is sent anyway. A crash between any
 * two leaves each side with a token that the other one knows.
 */
export const makeRenewals = Effect.fnUntraced(function*(seen: Readonly<Record<Side, Tokens>>) {
  const [replit, external] = [yield* RandomId, yield* RandomId]
  return {
    /** First: external learns which token Replit gets. */
    announced: { announce: replit },
    /** Then Replit takes it, and learns which one external gets. If it doesn't, the other two must not follow. */
    taken: { ifOwn: seen.replit.own, own: replit, announce: external },
    /** Then external takes that, and forgets Replit's old ones. */
    confirmed: { ifOwn: seen.external.own, own: external, peer: replit, forget: [replit, ...seen.external.next] },
    /** Last, if external did, Replit forgets external's old ones. */
    settled: { ifOwn: replit, peer: external, forget: [external, ...seen.replit.next] }
  } satisfies Record<string, Renewal>
})

const moment = (ms: number) => `${DateTime.formatIso(DateTime.unsafeMake(ms)).slice(0, 16).replace("T", " ")} UTC`
