/**
 * Takes everything of ours out of both databases, or one table's capture, and leaves every row of theirs. When one side
 * is gone for good the other is cleaned all the same.
 */
import { Effect, Either } from "effect"
import { amount } from "../domain/Quantity.ts"
import type { Side } from "../domain/Side.ts"
import { label, sides } from "../domain/Side.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { ActionNeeded, WorldRefused } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { retrying } from "./cycle.ts"
import { databases, onBoth } from "./databases.ts"
import { underLease } from "./underLease.ts"

export interface TeardownOptions<R> {
  /** Null is everything. */
  readonly table: TableName | null
  /** Asked with what would be lost, a line each; not asked when there is nothing. */
  readonly confirm: (losses: ReadonlyArray<string>) => Effect.Effect<boolean, SyncError, R>
}

export interface TornDown {
  /** False when the person said no: nothing was removed. */
  readonly confirmed: boolean
  /** Tables whose capture was removed; null where the side could not be reached. */
  readonly removed: Readonly<Record<Side, ReadonlyArray<string> | null>>
  /** Sides that could not be reached, and why. */
  readonly gone: ReadonlyArray<{ readonly side: Side; readonly message: string }>
}

export const teardown = Effect.fn("teardown")(function*<R>(options: TeardownOptions<R>) {
  const { retryFor } = yield* SyncConfig
  const found = yield* onBoth((database) => Effect.either(database.captured.pipe(retrying(retryFor))))
  const reached = sides.filter((side) => Either.isRight(found[side]))
  if (Either.isLeft(found.replit) && Either.isLeft(found.external)) {
    return yield* new WorldRefused({
      sqlState: null,
      message: `${found.replit.left.message}\n${found.external.left.message}`
    })
  }
  const captured = (side: Side) => Either.getOrElse(found[side], () => [])
  const meant = (side: Side) =>
    captured(side).filter((name) => options.table === null || display(name) === display(options.table))
  yield* refuseUnknown(options.table, reached.flatMap(captured))
  const losses = (yield* Effect.forEach(reached, (side) => lossesOn(side, meant(side)))).flat()
  const confirmed = losses.length === 0 || (yield* options.confirm(losses))
  if (confirmed) {
    const removing = Effect.forEach(reached, (side) => remove(side, options.table))
    yield* Either.isRight(found.replit) ? underLease(removing, reached) : removing.pipe(retrying(retryFor))
  }
  return {
    confirmed,
    removed: {
      replit: Either.isRight(found.replit) ? meant("replit").map(display) : null,
      external: Either.isRight(found.external) ? meant("external").map(display) : null
    },
    gone: sides.flatMap((side) =>
      Either.match(found[side], { onLeft: ({ message }) => [{ side, message }], onRight: () => [] })
    )
  } satisfies TornDown
})

const refuseUnknown = Effect.fn("refuseUnknown")(
  function*(table: TableName | null, captured: ReadonlyArray<TableName>) {
    if (table === null || captured.some((name) => display(name) === display(table))) return
    const names = [...new Set(captured.map(display))]
    return yield* new ActionNeeded({
      message: `Nothing of vaivem is on table ${display(table)}. ${
        names.length === 0 ? "No table is set up." : `Set up: ${names.join(", ")}.`
      }`
    })
  }
)

/** What only our tables know: it can't be had back. */
const lossesOn = Effect.fn("lossesOn")(function*(side: Side, names: ReadonlyArray<TableName>) {
  const both = yield* databases
  const { tables } = yield* both[side].status(names)
  return tables.flatMap(({ name, open, pending, quarantined }) => {
    const losses = [
      ...(pending === 0 ? [] : [amount(pending, "change that was not synced yet", "changes that were not synced yet")]),
      ...(quarantined === 0 ? [] : [amount(quarantined, "row in quarantine", "rows in quarantine")]),
      ...(open === 0
        ? []
        : [amount(open, "conflict whose loser was not restored", "conflicts whose losers were not restored")])
    ]
    return losses.length === 0 ? [] : [`${display(name)} on ${label(side)}: ${losses.join(", ")}`]
  })
})

const remove = Effect.fn("remove")(function*(side: Side, table: TableName | null) {
  const both = yield* databases
  yield* table === null ? both[side].uninstall : both[side].uncapture(table)
})
