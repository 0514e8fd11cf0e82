/** The commands that only look: `check`, `plan`, `status`, `verify` (which repairs when asked to). */
import { Command, Options } from "@effect/cli"
import { Console, Effect } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"
import { check, checkExitCode, type Findings } from "../programs/check.ts"
import { makeCycle } from "../programs/cycle.ts"
import { plan, planExitCode } from "../programs/plan.ts"
import { status } from "../programs/status.ts"
import { verify, verifyExitCode } from "../programs/verify.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { checkText } from "./checkText.ts"
import { coloured } from "./colours.ts"
import { endWith } from "./Ended.ts"
import { live, liveReadOnly } from "./live.ts"
import { json } from "./options.ts"
import { planText } from "./planText.ts"
import { statusText } from "./statusText.ts"
import { verifyText } from "./verifyText.ts"
import { every, watch, watching } from "./watching.ts"

const print = <A>(asJson: boolean, value: A, text: (value: A) => string) =>
  Console.log(asJson ? JSON.stringify(value) : coloured(text(value)))

const notify = Options.boolean("notify").pipe(
  Options.withDescription("Send a test message to SYNC_NOTIFY_URL, and say whether it arrived.")
)

export const checkCommand = Command.make("check", { json, notify }, (options) =>
  Effect.gen(function*() {
    const found = yield* check
    const checked = options.notify ? { ...found, notify: yield* sendTest } : found
    yield* print(options.json, checked, checkText)
    yield* endWith(checkExitCode(checked))
  })).pipe(
    Command.withDescription(
      "Tests both connections and looks at the tables: each problem with its cure. Changes nothing."
    ),
    Command.provide(live)
  )

/** One try: whoever waits for it can say it again. */
const sendTest = Effect.gen(function*() {
  const { notify } = yield* SyncConfig
  const problem = (text: string): Findings => ({ problems: [text], notes: [], cures: [] })
  if (notify === null) return problem("No test message was sent: SYNC_NOTIFY_URL is not set.")
  const { makeSend } = yield* Effect.promise(() => import("../services/Notifier.ts"))
  return yield* Effect.match(
    makeSend(notify)({ event: "test", table: null, text: "This is a test, sent by `check`." }),
    {
      onFailure: ({ reason }) => problem(`The test message to SYNC_NOTIFY_URL was not accepted: ${reason}.`),
      onSuccess: (): Findings => ({
        problems: [],
        notes: [`SYNC_NOTIFY_URL accepted a test message, as ${notify.format}.`],
        cures: []
      })
    }
  )
})

const readOnly = Options.boolean("read-only").pipe(
  Options.withDescription("With roles that may only read: that they could not set anything up is no problem then.")
)

const show = (what: string, unless: number) =>
  Options.integer("show").pipe(Options.withDescription(what), Options.withDefault(unless))

const refuseNegative = (shown: number) =>
  shown < 0 ? new ActionNeeded({ message: "--show takes a number of keys, 0 or more." }) : Effect.void

export const planCommand = Command.make(
  "plan",
  { json, readOnly, show: show("How many rows that differ, and unique twins, to name, of each table.", 5) },
  (options) =>
    Effect.gen(function*() {
      yield* refuseNegative(options.show)
      const planned = yield* plan(options)
      yield* print(options.json, planned, planText)
      yield* endWith(planExitCode(planned))
    })
).pipe(
  Command.withDescription(
    "Shows what a first run would do: rows on one side only, rows that differ and who wins. Changes nothing."
  ),
  Command.provide(liveReadOnly)
)

export const statusCommand = Command.make("status", { every, json, watch }, (options) =>
  Effect.gen(function*() {
    if (options.watch) return yield* watching(Effect.map(status, (found) => coloured(statusText(found))), options)
    const found = yield* status
    yield* print(options.json, found, statusText)
    yield* endWith(found.unreachable.length > 0 ? 1 : 0)
  })).pipe(
    Command.withDescription(
      "Shows what is pending, in quarantine and in conflict, both sides' rows, and the last cycle."
    ),
    Command.provide(live)
  )

const repair = Options.boolean("repair").pipe(
  Options.withDescription("Mark what differs, run a cycle, and compare again.")
)

const dryRun = Options.boolean("dry-run").pipe(
  Options.withDescription("With --repair: say what it would mark, and change nothing.")
)

export const verifyCommand = Command.make(
  "verify",
  { json, repair, dryRun, show: show("How many keys that differ to name, of each table.", 10) },
  (options) =>
    Effect.gen(function*() {
      if (options.dryRun && !options.repair) {
        return yield* new ActionNeeded({ message: "--dry-run shows what --repair would do: say both." })
      }
      yield* refuseNegative(options.show)
      const verified = yield* verify(yield* makeCycle, options)
      yield* print(options.json, verified, verifyText)
      yield* endWith(verifyExitCode(verified))
    })
).pipe(
  Command.withDescription(
    "Compares all rows. Exit code 0: equal, 3: different, 1: can't be told, changes are on their way."
  ),
  Command.provide(live)
)
