/**
 * The command line: which commands there are, and what becomes of their ends. Connections and settings are made after
 * parsing, by the commands that need them.
 */
import { CliConfig, Command, Options, ValidationError } from "@effect/cli"
import { Console, Effect, HashMap } from "effect"
import { adoptCommand } from "./cli/adopting.ts"
import { withBashCompletions } from "./cli/bashCompletions.ts"
import { approveCommand, rejectCommand } from "./cli/braking.ts"
import { demoCommand } from "./cli/demoCommand.ts"
import { doctorCommand } from "./cli/doctor.ts"
import type { Ended } from "./cli/Ended.ts"
import { footerFor } from "./cli/examples.ts"
import { Host } from "./cli/Host.ts"
import { checkCommand, planCommand, statusCommand, verifyCommand } from "./cli/inspecting.ts"
import { conflictsCommand, quarantineCommand } from "./cli/journal.ts"
import { logsCommand } from "./cli/logsCommand.ts"
import { pauseCommand, resumeCommand } from "./cli/pausing.ts"
import { withPlainConsole } from "./cli/plainConsole.ts"
import { withProgressLine } from "./cli/progressLine.ts"
import { probeCommand, runOnce, runService, setupCommand, syncCommand, teardownCommand } from "./cli/syncing.ts"
import type { SyncError } from "./domain/SyncError.ts"
import { exitCode } from "./domain/SyncError.ts"
import type { EmbeddedPostgresError } from "./services/PostgresBinaries.ts"

/**
 * Runs the command that the arguments name (node and script come first) and returns the exit code. What went wrong is
 * told by then, in one message on standard error.
 */
export const run = Effect.fn("run")(function*(args: ReadonlyArray<string>) {
  const host = yield* Host
  const { isTerminal, version } = host
  const problem = problemIn(args[2])
  if (problem !== null) return yield* Effect.as(Console.error(problem), 2)
  return yield* Command.run(command, { name: "vaivem", version, footer: footerFor(args.slice(2)) })(args).pipe(
    Effect.as(0),
    Effect.catchAll(tellError),
    Effect.provide(CliConfig.layer({ showBuiltIns: false, isCaseSensitive: true })),
    withBashCompletions(args),
    withProgressLine(host),
    withPlainConsole(isTerminal)
  )
})

const once = Options.boolean("once").pipe(
  Options.withDescription("Run one cycle and end, instead of one after the other.")
)

const command = Command.make(
  "vaivem",
  { once },
  (options) => Effect.if(options.once, { onTrue: () => runOnce, onFalse: () => runService })
).pipe(
  Command.withDescription(
    "Keeps tables equal in two PostgreSQL databases that are both written to: Replit's (DATABASE_URL) and an external one "
      + "(EXTERNAL_DB_URL), both from the environment or from .env.sync. Without a command it runs until it is stopped."
  ),
  Command.withSubcommands([
    setupCommand,
    adoptCommand,
    checkCommand,
    doctorCommand,
    planCommand,
    statusCommand,
    logsCommand,
    verifyCommand,
    conflictsCommand,
    quarantineCommand,
    approveCommand,
    rejectCommand,
    pauseCommand,
    resumeCommand,
    syncCommand,
    probeCommand,
    teardownCommand,
    demoCommand
  ])
)

/** What @effect/cli would say of the first word is longer, and wrong for an option. Null when it is known. */
const problemIn = (word: string | undefined): string | null => {
  if (word === undefined) return null
  const see = "`--help` shows what there is."
  const known = ["--once", "--help", "-h", "--version", "--log-level", "--completions", "--wizard"]
  if (word.startsWith("-")) return known.includes(word.split("=")[0]!) ? null : `Unknown option ${word}; ${see}`
  return HashMap.has(Command.getSubcommands(command), word) ? null : `Unknown command ${word}; ${see}`
}

/** What @effect/cli finds wrong it has printed itself. */
const tellError = (error: ValidationError.ValidationError | SyncError | EmbeddedPostgresError | Ended) => {
  if (ValidationError.isValidationError(error)) return Effect.succeed(2)
  if (error._tag === "Ended") return Effect.succeed(error.exitCode)
  const code = error._tag === "EmbeddedPostgresError" ? 1 : exitCode(error)
  return Effect.as(Console.error(error.message), code)
}
