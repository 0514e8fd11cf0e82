/** `logs`: what the last cycles did. */
import { Command, Options } from "@effect/cli"
import { Console, Effect } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"
import { logs } from "../programs/logs.ts"
import { coloured } from "./colours.ts"
import { live } from "./live.ts"
import { logsText } from "./logsText.ts"
import { json } from "./options.ts"

const limit = Options.integer("limit").pipe(
  Options.withDescription("At most so many, the newest."),
  Options.withDefault(20)
)

export const logsCommand = Command.make("logs", { json, limit }, (options) =>
  Effect.gen(function*() {
    if (options.limit < 1) return yield* new ActionNeeded({ message: "--limit takes a number of cycles, 1 or more." })
    const runs = yield* logs(options.limit)
    yield* Console.log(options.json ? JSON.stringify({ runs }) : coloured(logsText(runs)))
  })).pipe(
    Command.withDescription("Lists the last cycles that moved something or failed, newest last."),
    Command.provide(live)
  )
