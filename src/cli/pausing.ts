/** `pause` and `resume`: what a person takes out of the sync for a while. */
import { Args, Command } from "@effect/cli"
import { Console, Effect, Option } from "effect"
import { list } from "../domain/Quantity.ts"
import type { SyncError } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import { pause, resume } from "../programs/pausing.ts"
import { live } from "./live.ts"
import { tableNamed } from "./options.ts"

const table = Args.text({ name: "table" }).pipe(
  Args.withDescription("One table, written as in SYNC_TABLES; without it all of them."),
  Args.optional
)

export const pauseCommand = Command.make("pause", { table }, (options) =>
  Effect.gen(function*() {
    const name = yield* named(options.table)
    yield* pause(name)
    yield* Console.log(
      name === null
        ? "Paused: from the next cycle on nothing is synced. Changes are captured and wait for `resume`."
        : `Paused ${
          display(name)
        }: from the next cycle on nothing of it is synced. Its changes are captured and wait for `
          + `\`resume ${display(name)}\`.`
    )
  })).pipe(
    Command.withDescription("Takes a table, or all of them, out of the sync: changes are captured and wait."),
    Command.provide(live)
  )

export const resumeCommand = Command.make("resume", { table }, (options) =>
  Effect.gen(function*() {
    const resumed = yield* resume(yield* named(options.table))
    const what = resumed.includes(null) ? "all tables" : list(resumed.flatMap((it) => it === null ? [] : [display(it)]))
    yield* Console.log(`Resumed ${what}: the next cycle syncs what waited.`)
  })).pipe(
    Command.withDescription("Ends the pause of a table, or every pause: the next cycle syncs what waited."),
    Command.provide(live)
  )

const named = (given: Option.Option<string>): Effect.Effect<TableName | null, SyncError> =>
  Option.match(given, { onNone: () => Effect.succeed(null), onSome: tableNamed })
