/** `doctor`: what `check` finds, with the SQL that solves it, of which the safe part is run when asked for. */
import { Command, Options, Prompt } from "@effect/cli"
import { Console, Effect } from "effect"
import type { Cure } from "../domain/Cure.ts"
import { label } from "../domain/Side.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { Doctored } from "../programs/doctor.ts"
import { curesOf, doctor, doctorExitCode } from "../programs/doctor.ts"
import { askOrRefuse } from "./asking.ts"
import { checkText } from "./checkText.ts"
import { coloured } from "./colours.ts"
import { endWith } from "./Ended.ts"
import type { Host } from "./Host.ts"
import { live } from "./live.ts"
import { json } from "./options.ts"

const fix = Options.boolean("fix").pipe(
  Options.withDescription("Run the SQL that adds something and takes nothing away, after asking.")
)

const yes = Options.boolean("yes").pipe(Options.withDescription("With --fix: don't ask."))

export const doctorCommand = Command.make("doctor", { fix, json, yes }, (options) =>
  Effect.gen(function*() {
    if (options.yes && !options.fix) {
      return yield* new ActionNeeded({ message: "--yes answers what --fix asks: say both." })
    }
    const agree: Confirm = () => Effect.succeed(true)
    const leave: Confirm = () => Effect.succeed(false)
    const found = yield* doctor(!options.fix ? leave : options.yes ? agree : options.json ? refuse : ask)
    yield* Console.log(options.json ? JSON.stringify(found) : coloured(doctorText(found)))
    yield* endWith(doctorExitCode(found))
  })).pipe(
    Command.withDescription(
      "Looks as `check` does, and shows the SQL that solves each problem. Changes nothing without --fix."
    ),
    Command.provide(live)
  )

type Confirm = (cures: ReadonlyArray<Cure>) => Effect.Effect<boolean, SyncError, Host | Prompt.Prompt.Environment>

const ask: Confirm = (cures) =>
  askOrRefuse({
    about: `This would be run:\n${[...cures.map(line), ...waits(cures)].join("\n")}`,
    prompt: Prompt.confirm({ message: "Run it?", initial: false }),
    ended: false,
    refused: unsaid(cures)
  })

/** An index on 1,000,000 rows of an integer, 32 characters and a stamp took 0.57 s on 2 cores. */
const waits = (cures: ReadonlyArray<Cure>): ReadonlyArray<string> =>
  cures.some(({ remedy }) => remedy?._tag === "AddIndex")
    ? [
      "Writes to a table wait while its index is built: about a second for each million rows, longer on a smaller server."
    ]
    : []

/** A question has no place in what a program reads. */
const refuse: Confirm = (cures) => new ActionNeeded({ message: unsaid(cures) })

const unsaid = (cures: ReadonlyArray<Cure>): string =>
  `Nothing was run. --fix would run:\n${cures.map(line).join("\n")}\nSay --yes to run it without being asked.`

/** What was done, how things are now, and what SQL would solve of that. */
export const doctorText = ({ applied, check, refused }: Doctored): string => {
  const cures = curesOf(check)
  return [
    ...applied.map((cure) => `Done ${line(cure)}`),
    ...refused.map(({ cure, message }) => `Refused ${line(cure)} (${message})`),
    ...(applied.length + refused.length === 0 ? [] : [""]),
    checkText(check),
    ...(cures.length === 0 ? [] : ["", "SQL that solves it"]),
    ...cures.map((cure) => `  ${cure.remedy === null ? "by hand" : "safe, with --fix,"} ${line(cure)}`)
  ].join("\n")
}

const line = ({ side, sql }: Cure): string => `on ${label(side)}: ${sql}`
