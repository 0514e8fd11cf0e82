/** `conflicts` and `quarantine`: what lost and what was refused, and what to do about it. */
import { Args, Command, Options } from "@effect/cli"
import { Console, Effect, Option } from "effect"
import { amount } from "../domain/Quantity.ts"
import { label, opposite } from "../domain/Side.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import { visible } from "../domain/TextTable.ts"
import { keepConflict, listConflicts, restoreConflict, showConflict } from "../programs/conflicts.ts"
import { discardQuarantine, listQuarantine, retryQuarantine } from "../programs/quarantine.ts"
import { isAnswered } from "./asking.ts"
import { coloured } from "./colours.ts"
import { inbox } from "./inbox.ts"
import { conflictsText, conflictText, keptText, quarantineText, restoredText } from "./journalText.ts"
import { live } from "./live.ts"
import { json, table, tableOf } from "./options.ts"

const id = Args.text({ name: "id" }).pipe(Args.withDescription("The id, or enough of its beginning."))

const limit = Options.integer("limit").pipe(
  Options.withDescription("At most so many, the newest."),
  Options.withDefault(50)
)

const printConflicts = Effect.fn("printConflicts")(function*(options: {
  readonly json: boolean
  readonly limit: number
  readonly table: Option.Option<string>
  readonly undecided: boolean
}) {
  const name = yield* tableOf(options.table)
  const found = yield* listConflicts({
    limit: options.limit,
    ...(name === null ? {} : { table: name }),
    ...(options.undecided ? { undecided: true } : {})
  })
  yield* Console.log(options.json ? JSON.stringify({ conflicts: found.map(named) }) : coloured(conflictsText(found)))
})

const undecided = Options.boolean("undecided").pipe(
  Options.withDescription("Only those that nobody has restored or kept.")
)

const conflictsList = Command.make("list", { json, limit, table, undecided }, printConflicts).pipe(
  Command.withDescription("Lists the conflicts of both sides, newest first.")
)

const conflictsShow = Command.make("show", { id, json }, (options) =>
  Effect.gen(function*() {
    const found = yield* showConflict(options.id)
    yield* Console.log(options.json ? JSON.stringify(named(found)) : coloured(conflictText(found)))
  })).pipe(Command.withDescription("Shows the version that lost and the one that won, side by side."))

const conflictsRestore = Command.make("restore", { id }, (options) =>
  Effect.gen(function*() {
    const restored = yield* restoreConflict(options.id)
    yield* Console.log(restoredText(restored))
  })).pipe(Command.withDescription("Brings the version that lost back, as an ordinary change that both sides get."))

const conflictsKeep = Command.make("keep", { id }, (options) =>
  Effect.gen(function*() {
    const kept = yield* keepConflict(options.id)
    yield* Console.log(keptText(kept))
  })).pipe(Command.withDescription("Says that a conflict stays as it was decided: it is not undecided any more."))

export const conflictsCommand = Command.make(
  "conflicts",
  {},
  () =>
    Effect.if(isAnswered, {
      onTrue: () => inbox,
      onFalse: () => printConflicts({ json: false, limit: 50, table: Option.none(), undecided: false })
    })
).pipe(
  Command.withDescription(
    "The versions of rows that lost a conflict: none of them is gone. On a terminal an inbox, to decide one after the other; "
      + "elsewhere the list."
  ),
  Command.withSubcommands([conflictsList, conflictsShow, conflictsRestore, conflictsKeep]),
  Command.provide(live)
)

const printQuarantine = Effect.fn("printQuarantine")(function*(options: {
  readonly json: boolean
  readonly table: Option.Option<string>
}) {
  const found = yield* listQuarantine(yield* tableOf(options.table))
  yield* Console.log(options.json ? JSON.stringify({ quarantine: found.map(named) }) : coloured(quarantineText(found)))
})

const quarantineList = Command.make("list", { json, table }, printQuarantine).pipe(
  Command.withDescription("Lists the rows that the other side refused, and why.")
)

const quarantineRetry = Command.make("retry", { id: Args.optional(id) }, (options) =>
  Effect.gen(function*() {
    const due = yield* retryQuarantine(Option.getOrNull(options.id))
    yield* Console.log(due === 0 ? "Nothing in quarantine." : `The next cycle tries ${amount(due, "row")} again.`)
  })).pipe(Command.withDescription("Lets the next cycle try a row again, or all of them without an id."))

const quarantineDiscard = Command.make("discard", { id }, (options) =>
  Effect.gen(function*() {
    const found = yield* discardQuarantine(options.id)
    yield* Console.log(
      `Discarded ${label(found.from)}'s version of ${display(found.table)} ${
        visible(found.key.join(", "))
      }, which is in the `
        + `conflicts now; the next cycle brings ${label(opposite(found.from))}'s version.`
    )
  })).pipe(Command.withDescription("Takes the other side's version and keeps this one in the conflicts."))

export const quarantineCommand = Command.make(
  "quarantine",
  {},
  () => printQuarantine({ json: false, table: Option.none() })
).pipe(
  Command.withDescription("Lists the rows that the other side refused. They are tried again by themselves."),
  Command.withSubcommands([quarantineList, quarantineRetry, quarantineDiscard]),
  Command.provide(live)
)

/** Tables are named in JSON as they are everywhere else. */
const named = <A extends { readonly table: TableName }>(record: A) => ({ ...record, table: display(record.table) })
