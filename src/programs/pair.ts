/** A pair is a pair (promise 13): makes two databases know each other, or refuses with the way out. */
import { Effect } from "effect"
import type { Side } from "../domain/Side.ts"
import { label, opposite, sides, urlSetting } from "../domain/Side.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { Identity } from "../services/Database.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { onBoth } from "./databases.ts"
import { RandomId } from "./RandomId.ts"

export type Identities = Readonly<Record<Side, Identity | null>>

/**
 * Pairs two databases that have our schema installed. Replit is written first as unconfirmed, then external, then
 * Replit is confirmed: a crash between any two of these is gone on from. When a person adopts them, one that knows of no
 * pair takes the place of the other's partner.
 */
export const pair = Effect.fn("pair")(function*(adopting: boolean) {
  const replit = yield* ReplitDb
  const external = yield* ExternalDb
  const known: Identities = { replit: yield* replit.identity, external: yield* external.identity }
  const problem = pairProblem(known, adopting)
  if (problem !== null) return yield* new ActionNeeded({ message: problem })
  if (known.replit?.confirmed === true && known.external !== null) return

  const replitId = known.replit?.id ?? known.external?.peer ?? (yield* RandomId)
  const externalId = known.replit?.peer ?? known.external?.id ?? (yield* RandomId)
  yield* replit.identify({ side: "replit", id: replitId, peer: externalId, confirmed: false })
  yield* external.identify({ side: "external", id: externalId, peer: replitId, confirmed: true })
  yield* replit.identify({ side: "replit", id: replitId, peer: externalId, confirmed: true })
})

/** Before anything is written, be it our schema or a table that one side lacks. */
export const refuseStrangers = Effect.fn("refuseStrangers")(function*(adopting: boolean) {
  const problem = pairProblem(yield* onBoth((database) => database.identity), adopting)
  if (problem !== null) return yield* new ActionNeeded({ message: problem })
})

/**
 * Why these two are no pair and can't be made one; null when they are, or can. A person who adopts them says that one which
 * knows of no pair is the other's partner.
 */
export const pairProblem = (known: Identities, adopting = false): string | null => {
  for (const side of sides) {
    const identity = known[side]
    if (identity !== null && identity.side !== side) {
      return `The database behind ${urlSetting(side)} was set up as the ${label(identity.side)} side of a pair: `
        + "the two URLs seem to be swapped. Swap DATABASE_URL and EXTERNAL_DB_URL back, or, to start over, run "
        + "`teardown` on this pair and set it up again."
    }
  }
  const { external, replit } = known
  if (replit !== null && external !== null) {
    return replit.peer === external.id && external.peer === replit.id ? null : `${paired("external")}. ${waysOn}`
  }
  if (adopting) return null
  if (replit !== null && replit.confirmed) {
    return `${
      lost("replit")
    } (If this pair was synced with EXTERNAL_CAPTURE=timestamp, nothing is in external that could tell: `
      + "set that again, or run `teardown --yes` to go on with triggers.)"
  }
  if (external !== null) return lost("external")
  return null
}

const paired = (side: Side) =>
  `The database behind ${urlSetting(side)} is paired with another ${
    label(opposite(side))
  } database than the one behind ${urlSetting(opposite(side))}`

/** One that was replaced is no sign that rows were deleted: nothing is read out of it before a person has spoken. */
const lost = (side: Side) =>
  `${paired(side)}: ${
    label(opposite(side))
  } has nothing of vaivem in it. It is another database, or it was replaced by an `
  + "empty one, or restored without the schema vaivem. Nothing was applied, and no row counts as deleted. Use the URL of the old "
  + "partner. Else `setup --adopt` (with `--create-missing`, if it is empty) takes both as they are, compares every row and "
  + "copies what one side lacks. Or start over: `teardown --yes`, then `setup`."

const waysOn =
  "Use the URL of its old partner; or, if that one is gone for good, run `teardown --yes` with these URLs, which "
  + "removes what vaivem keeps in both (no row of yours), and then set the new pair up."
