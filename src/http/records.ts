/**
 * Quarantine and the conflict inbox, for who opens them on the page: the only answers that ask a database, and the only ones
 * with anybody's rows. Whoever has shown no token sees no value: without one, everybody with a login on this machine may ask.
 */
import { HttpApiBuilder } from "@effect/platform"
import { DateTime, Effect } from "effect"
import { isHidden } from "../domain/hiding.ts"
import { ActionNeeded, type SyncError } from "../domain/SyncError.ts"
import { display } from "../domain/TableName.ts"
import {
  editConflict,
  keepConflict,
  listConflicts,
  restoreConflict,
  type ShownConflict
} from "../programs/conflicts.ts"
import { Observer } from "../programs/Observer.ts"
import { discardQuarantine, listQuarantine, retryQuarantine } from "../programs/quarantine.ts"
import type { Quarantined } from "../services/Database.ts"
import type { ExternalDb } from "../services/ExternalDb.ts"
import type { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { Api, type ConflictView, NotDone, type QuarantineView } from "./Api.ts"

type Needs = ReplitDb | ExternalDb | SyncConfig

export const records = ({ hasToken }: { readonly hasToken: boolean }) =>
  HttpApiBuilder.group(Api, "records", (handlers) =>
    Effect.gen(function*() {
      const observer = yield* Observer
      const context = yield* Effect.context<Needs>()
      const { stampOf } = yield* SyncConfig
      const viewed = (conflict: ShownConflict) => conflictView(conflict, stampOf(conflict.table))
      const values = { noValues: !hasToken }
      const asking = <A>(asked: Effect.Effect<A, SyncError, Needs>) =>
        Effect.mapError(asked, ({ message }) => new NotDone({ message })).pipe(Effect.provide(context))
      const doing = (action: Effect.Effect<unknown, SyncError, Needs>) =>
        Effect.zipRight(asking(action), observer.hurry)
      return handlers
        .handle("conflicts", () =>
          asking(Effect.all({
            undecided: listConflicts({ limit: undecidedMax, undecided: true }, values),
            decided: listConflicts({ limit: decidedMax, undecided: false }, values)
          })).pipe(Effect.map(({ decided, undecided }) => ({
            values: hasToken,
            undecided: undecided.map(viewed),
            decided: decided.map(viewed)
          }))))
        .handle("quarantine", () =>
          Effect.map(asking(listQuarantine(null, values)), (found) => ({
            values: hasToken,
            entries: found.slice(0, quarantinedMax).map(quarantineView),
            all: found.length
          })))
        .handle("keep", ({ payload }) => doing(keepConflict(payload.id)))
        .handle("restore", ({ payload }) => doing(restoreConflict(payload.id)))
        .handle("edit", ({ payload }) => doing(hasToken ? editConflict(payload.id, payload.changes) : noEdit))
        .handle("retry", ({ payload }) => doing(retryQuarantine(payload.id)))
        .handle("discard", ({ payload }) => doing(discardQuarantine(payload.id)))
    }))

const noEdit = new ActionNeeded({ message: "Values are shown and written only where SYNC_HTTP_TOKEN is set." })

/** The stamp is set by whatever is written, and is nobody's to write. */
const conflictView = (conflict: ShownConflict, stamp: string): ConflictView => {
  const { decidedAt, differs, hidden, id, keptAt, key, keyColumns, lost, lostSide, reason, restoredAt, won } = conflict
  const columns = [...new Set([...Object.keys(lost ?? {}), ...Object.keys(won ?? {})])]
  return {
    id,
    table: display(conflict.table),
    key,
    lostSide,
    reason,
    policy: conflict.policy,
    decidedMs: ms(decidedAt),
    restoredMs: restoredAt === null ? null : ms(restoredAt),
    keptMs: keptAt === null ? null : ms(keptAt),
    loser: lost === null ? "deleted" : "row",
    winner: conflict.winner,
    fields: columns.map((column) => {
      const [lostText, wonText] = [lost?.[column], won?.[column]]
      const isCut = [lostText, wonText].some((text) => (text ?? "").length > shownMax)
      return {
        column,
        lost: cut(lostText),
        won: cut(wonText),
        differs: differs.includes(column),
        // What isn't shown whole would be written back as a piece of it.
        editable: !isCut && column !== stamp && !isHidden(hidden, column) && keyColumns !== null &&
          !keyColumns.includes(column)
      }
    })
  }
}

const quarantineView = (entry: Quarantined): QuarantineView => ({
  id: entry.id,
  table: display(entry.table),
  key: entry.key,
  from: entry.from,
  sqlState: entry.sqlState,
  message: entry.message,
  blockedBy: entry.blockedBy,
  attempts: entry.attempts,
  sinceMs: ms(entry.since),
  // It may wait until a person says so.
  nextMs: /^\d/.test(entry.nextAttemptAt) ? ms(entry.nextAttemptAt) : null
})

const ms = (iso: string): number => DateTime.toEpochMillis(DateTime.unsafeMake(iso))

const cut = <A extends string | null | undefined>(text: A): A | string =>
  typeof text === "string" && text.length > shownMax ? `${text.slice(0, shownMax)}…` : text

const undecidedMax = 50
const decidedMax = 20
const quarantinedMax = 100
/** Characters of a value: a row may hold 200 MB. */
const shownMax = 1_000
