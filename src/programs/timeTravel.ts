/**
 * Stops when one of the two databases is not what it was when the other saw it last: restored to an earlier moment, replaced
 * by a copy, or synced with a clone of the other meanwhile. What it then holds as changes may be old, and what it lacks may
 * never have been deleted.
 */
import { Clock, DateTime, Effect } from "effect"
import { label, opposite, type Side, sides, urlSetting } from "../domain/Side.ts"
import { WorldRefused } from "../domain/SyncError.ts"
import { type Renewal, type TimeTravel, timeTravel, type Tokens } from "../domain/Tokens.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { onBoth } from "./databases.ts"
import { holding } from "./holding.ts"
import { RandomId } from "./RandomId.ts"

/** Fails with `WorldRefused` (exit code 1) and a message that says what it saw and which ways lead on. */
export const refuseTimeTravel = Effect.fnUntraced(function*(tokens: Readonly<Record<Side, Tokens>>) {
  const found = timeTravel(tokens)
  if (found === null) return
  const nowMs = yield* Clock.currentTimeMillis
  return yield* new WorldRefused({ side: found.side, sqlState: null, message: timeTravelText(found, nowMs) })
})

/** In the words of the person who restored it. Moments are those of the databases' clocks. */
export const timeTravelText = (
  { otherRemembersUntilMs, remembersUntilMs, side }: TimeTravel,
  nowMs: number
): string => {
  const [name, other] = [label(side), label(opposite(side))]
  const restored = remembersUntilMs === null
    ? `${name} was restored to before its first cycle with ${other}, or replaced by a copy from then`
    : `${name} was restored to about ${moment(remembersUntilMs, nowMs)}, or replaced by a copy from then`
  const since = otherRemembersUntilMs === null ? "" : `, the last time at ${moment(otherRemembersUntilMs, nowMs)}`
  return `${restored}: it knows nothing of what ${other} was synced with after that${since}. Nothing was applied. `
    + `If ${
      urlSetting(side)
    } leads to the wrong database, or ${other} was synced with a clone of ${name} meanwhile, connect `
    + "the right one again. Else `setup --adopt` takes both as they are and compares every row: what differs goes by the "
    + "conflict rule, or as you say with `--prefer replit` or `--prefer external`; losers are kept in the conflicts, and "
    + "nothing is deleted for being gone. Or start over: `teardown --yes`, then `setup`."
}

/** Of both sides, which have our schema installed. */
export const tokensOf = Effect.gen(function*() {
  return yield* onBoth((database) => Effect.map(database.ask({ tables: [] }), ({ tokens }) => tokens))
})

/**
 * `setup --adopt`: both sides are what they are now, and every table is to be compared. Under the lease. Where a person
 * prefers one side, what the other one has logged until now is no change that could win against it.
 */
export const adopt = Effect.fn("adopt")(function*(prefer: "newest" | Side) {
  const tokens = yield* tokensOf
  const found = timeTravel(tokens)
  const nowMs = yield* Clock.currentTimeMillis
  const own = { replit: yield* RandomId, external: yield* RandomId }
  const forgottenUntil = (side: Side): number | null => {
    if (prefer === opposite(side)) return nowMs
    return found?.side === side ? found.otherRemembersUntilMs : null
  }
  // A database on which nothing may be installed keeps no token, so the other side knows none of it.
  const keepsTokens = (yield* SyncConfig).externalCapture === "triggers"
  // Until both are through, the tokens don't match: broken off anywhere, it is begun again.
  yield* onBoth((database) =>
    database.takeAsItIs(forgottenUntil(database.side), {
      ...(keepsTokens ? { own: own[database.side], peer: own[opposite(database.side)] } : {}),
      forget: tokens[database.side].next
    })
  )
})

/**
 * After a cycle that failed with a part of it applied: the tokens of both sides are renewed as far as they can be reached,
 * so that a restore to the middle of it is told. Not if they don't match: that must be seen by somebody first; and not
 * beside another copy, which renews them itself.
 */
export const renewAfterFailure = Effect.gen(function*() {
  yield* holding(() =>
    Effect.gen(function*() {
      const tokens = yield* tokensOf
      if (timeTravel(tokens) !== null) return
      const { announced, settled, taken } = yield* makeRenewals(tokens)
      const step = (renewals: Readonly<Record<Side, Renewal>>) =>
        onBoth((database) => database.ask({ tables: [], renewal: renewals[database.side] }))
      yield* step(announced)
      const after = yield* step(taken)
      if (sides.every((side) => after[side].tokens.own === taken[side].own)) yield* step(settled)
    })
  )
}).pipe(Effect.withSpan("renewAfterFailure"))

/**
 * New tokens for both sides, in three steps that go along with something that is sent anyway. In each both sides may be written
 * at the same time. A crash anywhere leaves each side with a token that the other one knows.
 */
export const makeRenewals = Effect.fnUntraced(function*(seen: Readonly<Record<Side, Tokens>>) {
  const [forReplit, forExternal] = [unused("replit", seen), unused("external", seen)]
  const [replit, external] = [forReplit ?? (yield* RandomId), forExternal ?? (yield* RandomId)]
  return {
    /** First each side learns which token the other one gets. */
    announced: {
      replit: forExternal === null ? { announce: external } : {},
      external: forReplit === null ? { announce: replit } : {}
    },
    /** When both have, each takes its own, unless somebody else renewed it meanwhile. */
    taken: {
      replit: { ifOwn: seen.replit.own, own: replit },
      external: { ifOwn: seen.external.own, own: external }
    },
    /** When both did, each forgets the other's old ones. Else the next cycle begins anew. */
    settled: {
      replit: { ifOwn: replit, peer: external, forget: [external, ...seen.replit.next] },
      external: { ifOwn: external, peer: replit, forget: [replit, ...seen.external.next] }
    }
  } satisfies Record<string, Readonly<Record<Side, Renewal>>>
})

/**
 * The token that the other side was told of and that this one never took: cycles that fail one after the other announce one. Of
 * more than one, some may have been taken before, and a side that was set back to then would have it.
 */
const unused = (side: Side, seen: Readonly<Record<Side, Tokens>>): string | null => {
  const [first, ...more] = seen[opposite(side)].next
  return first === undefined || more.length > 0 || first === seen[side].own ? null : first
}

/** The date only where it isn't today's. */
const moment = (ms: number, nowMs: number) => {
  const [date, time] = DateTime.formatIso(DateTime.unsafeMake(ms)).split("T") as [string, string]
  const today = DateTime.formatIso(DateTime.unsafeMake(nowMs)).slice(0, 10)
  return `${date === today ? "" : `${date} `}${time.slice(0, 5)} UTC`
}
