/** `adopt`: takes over from the Python scripts that synced these tables before. */
import { Command, Options, Prompt } from "@effect/cli"
import { Console, Effect } from "effect"
import { list } from "../domain/Quantity.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import { waitingWarning, warn } from "../programs/announce.ts"
import { setup } from "../programs/setup.ts"
import { underLease } from "../programs/underLease.ts"
import * as OldScripts from "../services/OldScripts.ts"
import { askOrRefuse } from "./asking.ts"
import { endWith } from "./Ended.ts"
import { live } from "./live.ts"
import { setUpText } from "./syncing.ts"

const folder = Options.directory("folder").pipe(
  Options.withDescription("The app's folder, where the scripts are."),
  Options.withDefault(".")
)

const yes = Options.boolean("yes").pipe(Options.withDescription("Don't ask: the old script is stopped, for good."))

export const adoptCommand = Command.make("adopt", { folder, yes }, (options) =>
  Effect.gen(function*() {
    const old = yield* OldScripts.find(options.folder)
    if (old.files.length > 0 && !options.yes) yield* confirmStopped(old)
    const done = yield* underLease(setup({ createMissing: false, strict: true }))
    yield* Effect.forEach(done.paused, (one) => warn(waitingWarning(one)), { discard: true })
    yield* Console.log([setUpText(done, false), ...waysOn(old)].join("\n"))
    yield* endWith(done.paused.length > 0 ? 3 : 0)
  })).pipe(
    Command.withDescription(
      "Takes over from the old Python scripts: finds them, sets both databases up with what they left unsynced, and says which "
        + "files can go."
    ),
    Command.provide(live)
  )

const waysOn = ({ files }: OldScripts.OldScripts): ReadonlyArray<string> =>
  files.length === 0 ? ["No script of the older system was found."] : [
    "Run `vaivem --once` now, and `vaivem verify`. When both are content, these can go:",
    ...files.map((file) => `  ${file}`),
    "Keep .env.sync: it is read as it is."
  ]

/** It deletes whatever the other side does not have: the two must never run side by side. */
const confirmStopped = Effect.fn("confirmStopped")(function*(old: OldScripts.OldScripts) {
  const found = [
    `The older system is here: ${list(old.files)}.`,
    ...old.startedBy.map((line) => `${line} still starts it: take that line out.`),
    "It deletes rows that it does not find on the other side, so it must not run beside this, not even once."
  ].join("\n")
  const unsaid = new ActionNeeded({
    message: `${found}\nNothing was done. Stop its workflow for good, then say \`adopt --yes\`.`
  })
  const stopped = yield* askOrRefuse({
    about: found,
    prompt: Prompt.confirm({ message: "Is it stopped, for good?", initial: false }),
    ended: false,
    refused: unsaid.message
  })
  if (!stopped) return yield* unsaid
})
