/** What the other side refused, on both sides, and what a person can do about it. */
import { Effect } from "effect"
import { hideKey, hideMessage } from "../domain/hiding.ts"
import { opposite } from "../domain/Side.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import type { Quarantined } from "../services/Database.ts"
import { idProblem } from "./conflicts.ts"
import { databases, onBoth } from "./databases.ts"
import { hiding, type Shows } from "./hiding.ts"
import { syncedTable } from "./syncedTable.ts"
import { underLease } from "./underLease.ts"

/** As it may be shown, oldest first. With `noValues` no value is shown at all. */
export const listQuarantine = Effect.fn("listQuarantine")(function*(
  table: TableName | null,
  { noValues } = { noValues: false }
) {
  const all = yield* quarantined(table)
  const shows = yield* hiding(all.map((entry) => entry.table), noValues)
  return all.map((entry) => shown(entry, shows(entry.table)))
})

const quarantined = Effect.fn("quarantined")(function*(table: TableName | null) {
  const found = yield* onBoth((database) => database.quarantined(table))
  return [...found.replit, ...found.external].sort((a, b) => (a.since < b.since ? -1 : a.since > b.since ? 1 : 0))
})

const shown = (entry: Quarantined, { hidden, key }: Shows): Quarantined => ({
  ...entry,
  key: hideKey(hidden, key, entry.key),
  blockedBy: entry.blockedBy === null ? null : hideKey(hidden, key, entry.blockedBy),
  message: hideMessage(hidden, entry)
})

/** Makes one row, or all, due: the next cycle tries them. Returns how many. */
export const retryQuarantine = Effect.fn("retryQuarantine")(function*(id: string | null) {
  const both = yield* databases
  if (id === null) {
    const all = yield* underLease(onBoth((database) => database.retryQuarantined(null, null)))
    return all.replit + all.external
  }
  const found = yield* findQuarantined(id)
  return yield* underLease(both[found.from].retryQuarantined(null, found.id))
})

/**
 * Takes the other side's version and journals the one that it refused. The other side's is marked first: should we be
 * stopped in between, both are pending, and nothing is lost.
 */
export const discardQuarantine = Effect.fn("discardQuarantine")(function*(id: string) {
  const both = yield* databases
  const found = yield* findQuarantined(id)
  yield* underLease(Effect.gen(function*() {
    const table = yield* syncedTable(found.table)
    yield* both[opposite(found.from)].mark(table, [found.key])
    yield* both[found.from].discard(table, found.id)
  }))
  return shown(found, (yield* hiding([found.table], false))(found.table))
})

const findQuarantined = Effect.fn("findQuarantined")(function*(id: string) {
  const problem = idProblem(id)
  if (problem !== null) return yield* new ActionNeeded({ message: problem })
  const matching = (yield* quarantined(null)).filter((entry) => entry.id.startsWith(id.toLowerCase()))
  if (matching.length === 1) return matching[0]!
  return yield* new ActionNeeded({
    message: matching.length === 0
      ? `No row in quarantine has an id that begins with ${id}. \`quarantine list\` shows what there is.`
      : `${matching.length} rows in quarantine have ids that begin with ${id}. Give more of the id.`
  })
})
