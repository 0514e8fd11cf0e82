/** The commands that move rows: the service and `--once`, `setup`, `probe`, and `teardown`, which ends it all. */
import { Args, Command, Options, Prompt } from "@effect/cli"
import { Console, Duration, Effect, Ref } from "effect"
import { amount, count, duration, list } from "../domain/Quantity.ts"
import { label, opposite, sides } from "../domain/Side.ts"
import { display } from "../domain/TableName.ts"
import { contactLines, setUpWarning, waitingWarning, warn } from "../programs/announce.ts"
import type { Clearing, Missing } from "../programs/clearMissing.ts"
import { totalOf } from "../programs/clearMissing.ts"
import { makeCycle } from "../programs/cycle.ts"
import { once } from "../programs/once.ts"
import { planned, sleeps } from "../programs/planned.ts"
import type { Probed } from "../programs/probe.ts"
import { probe } from "../programs/probe.ts"
import { makeProver } from "../programs/prove.ts"
import type { SetUp } from "../programs/setup.ts"
import { setup } from "../programs/setup.ts"
import type { SplitIds } from "../programs/splitIds.ts"
import { idWarnings, splitIds, splitLines } from "../programs/splitIds.ts"
import { supervise } from "../programs/supervise.ts"
import type { TeardownOptions, TornDown } from "../programs/teardown.ts"
import { teardown } from "../programs/teardown.ts"
import { underLease } from "../programs/underLease.ts"
import { makeWakes } from "../programs/wakes.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { logged, ProgressDisplay } from "../services/ProgressDisplay.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { askOrRefuse } from "./asking.ts"
import { endWith } from "./Ended.ts"
import { Host } from "./Host.ts"
import { live } from "./live.ts"
import { table, tableNamed, tableOf } from "./options.ts"
import { serving } from "./serving.ts"

/** `--once`. */
export const runOnce = Effect.gen(function*() {
  yield* endWith(yield* once(yield* makeCycle, yield* makeProver))
}).pipe(Effect.provide(live))

export const syncCommand = Command.make(
  "sync",
  { table: Args.text({ name: "table" }) },
  (options) =>
    Effect.gen(function*() {
      const only = yield* tableNamed(options.table)
      yield* endWith(yield* once(yield* makeCycle, () => Effect.void, { only }))
    })
).pipe(
  Command.withDescription("Runs one cycle at once that moves the changes of one table, and leaves the others."),
  Command.provide(live)
)

/** The bare command. */
export const runService = Effect.gen(function*() {
  const config = yield* SyncConfig
  const { interval, listensTo, live: isLive, maxInterval, schedule, schemas, tables } = config
  const { version } = yield* Host
  const named = [...tables.map(display), ...schemas.map((schema) => `all tables of ${schema}`)]
  const rhythm = schedule === "eco"
    ? `a cycle when something changes on Replit, and after pauses of ${duration(Duration.toMillis(interval))} to ${
      duration(Duration.toMillis(maxInterval))
    }`
    : `a cycle, then a pause of ${duration(Duration.toMillis(interval))}${isLive ? " or until something changes" : ""}`
  yield* Console.log(`vaivem ${version} keeps ${list(named)} equal, Replit ⇄ external; ${rhythm}.`)
  yield* Console.log(planned(config))
  const wakes = listensTo.length === 0 ? undefined : yield* makeWakes({
    sides: listensTo,
    persistent: (side) => isLive || !sleeps(side === "replit" ? config.replitUrl : config.externalUrl)
  })
  const { disconnect } = yield* ExternalDb
  const prove = yield* makeProver
  const served = yield* serving(yield* makeCycle)
  yield* supervise(served.cycle, {
    interval,
    maxInterval: schedule === "eco" ? maxInterval : undefined,
    wakes,
    leave: schedule === "eco" ? disconnect : Effect.void,
    afterwards: (report) => Effect.zipRight(Effect.flatMap(prove(report), served.proved), served.afterwards(report)),
    hurried: served.hurried,
    resting: served.resting
  })
}).pipe(
  Effect.scoped,
  Effect.provide(live),
  // What it does is read later, if at all: a line that is written over leaves nothing to read.
  Effect.provideService(ProgressDisplay, logged)
)

const createMissing = Options.boolean("create-missing").pipe(
  Options.withDescription("Create a table that only one side has: columns, portable defaults, primary key.")
)

const split = Options.boolean("split-ids").pipe(
  Options.withDescription("Keep ids apart where both sides give them: odd ones on Replit, even ones on external.")
)

const acceptPartitions = Options.boolean("accept-partitions").pipe(
  Options.withDescription("Compare tables again whose partitions were dropped; rows that the other side has come back.")
)

const adopt = Options.boolean("adopt").pipe(
  Options.withDescription("Take both as they are after one was restored or replaced, and compare every row.")
)

const prefer = Options.choice("prefer", ["newest", ...sides]).pipe(
  Options.withDescription("Whose rows win that differ at a table's first contact; newest is the table's own rule."),
  Options.withDefault("newest")
)

const missing = Options.choice("missing", ["copy", "keep", "delete"]).pipe(
  Options.withDescription("What becomes of rows that one side only has at a table's first contact."),
  Options.withDefault("copy")
)

const yes = Options.boolean("yes").pipe(Options.withDescription("Don't ask."))

export const setupCommand = Command.make(
  "setup",
  { acceptPartitions, adopt, createMissing, missing, prefer, splitIds: split, yes },
  (options) =>
    Effect.gen(function*() {
      const { acceptPartitions, adopt, createMissing, missing, prefer } = options
      const clearing = missing === "delete" ? { confirm: yield* confirmMissing(options.yes) } : undefined
      const choices = { prefer, missing: missing === "delete" ? "keep" as const : missing }
      const { done, ids, warnings } = yield* underLease(Effect.gen(function*() {
        const done = yield* setup({ acceptPartitions, adopt, createMissing, strict: true, choices, clearing })
        const tables = done.tables.map(({ table }) => table)
        const ids = options.splitIds ? yield* splitIds(tables) : null
        return { done, ids, warnings: [...done.warnings, ...(ids?.warnings ?? (yield* idWarnings(tables)))] }
      }))
      yield* Effect.forEach([...warnings.map(setUpWarning), ...done.paused.map(waitingWarning)], warn, {
        discard: true
      })
      const isChosen = prefer !== "newest" || missing !== "copy"
      yield* Console.log([setUpText(done, isChosen), ...(ids === null ? [] : splitText(ids))].join("\n"))
      const waits = done.paused.length > 0 || (ids?.columns ?? []).some(({ outcome }) => outcome === "impossible")
      yield* endWith(waits ? 3 : 0)
    })
).pipe(
  Command.withDescription(
    "Sets both databases up (schema vaivem, triggers) and compares what is there. The first run does it, too."
  ),
  Command.provide(live)
)

type ConfirmMissing = Clearing<Host | Prompt.Prompt.Environment>["confirm"]

/** Whoever agreed to a number is not asked for it again when the set-up has to be tried again. */
const confirmMissing = Effect.fnUntraced(function*(yes: boolean) {
  const agreed = yield* Ref.make<number | null>(null)
  const confirm: ConfirmMissing = (found) =>
    Effect.gen(function*() {
      const total = totalOf(found)
      if (yes || (yield* Ref.get(agreed)) === total) return true
      const lines = missingLines(found).join("\n")
      const typed = yield* askOrRefuse({
        about: `This would be deleted, and kept in the journal:\n${lines}`,
        prompt: Prompt.text({ message: `Type ${total} to delete ${amount(total, "row")}:` }),
        ended: "",
        refused: `Nothing was deleted. --missing delete would delete:\n${lines}\n`
          + "Say --yes to delete them all the same; the journal keeps them, and `conflicts restore` brings them back."
      })
      if (typed.trim() !== String(total)) return false
      yield* Ref.set(agreed, total)
      return true
    })
  return confirm
})

const missingLines = (found: ReadonlyArray<Missing>): ReadonlyArray<string> =>
  found.flatMap(({ rows, table }) =>
    sides.flatMap((side) =>
      rows[side] === 0 ?
        [] :
        [`${table}: ${amount(rows[side], "row")} on ${label(side)} that ${label(opposite(side))} lacks`]
    )
  )

/** What a set-up did, for people. */
export const setUpText = ({ cleared, created, tables }: SetUp, isChosen: boolean): string =>
  [
    ...created.map(({ side, table }) => `${display(table)}: created on ${label(side)}`),
    ...cleared.map(({ rows, table }) =>
      `${table}: deleted ${count(rows.replit)} on Replit and ${
        count(rows.external)
      } on external; \`conflicts list\` has them`
    ),
    ...contactLines(tables),
    ...tables.filter(({ isFirstContact }) => isChosen && !isFirstContact).map(({ table }) =>
      `${display(table.name)}: both sides met before, so --prefer and --missing left it alone.`
    ),
    `Set up: ${tables.length === 0 ? "no table" : list(tables.map(({ table }) => display(table.name)))}.`
  ].join("\n")

const splitText = (ids: SplitIds): ReadonlyArray<string> =>
  ids.columns.length === 0 ? ["No table has ids that come from sequences."] : splitLines(ids)

const from = Options.choice("from", sides).pipe(Options.withDescription("The side where the row is inserted."))

export const probeCommand = Command.make("probe", { from, table }, (options) =>
  Effect.gen(function*() {
    const probed = yield* probe(yield* makeCycle, { from: options.from, table: yield* tableOf(options.table) })
    yield* Console.log(probedText(probed))
    yield* endWith(probed.arrived ? 0 : 1)
  })).pipe(
    Command.withDescription(
      "Inserts a marked row, runs a cycle, shows that it arrived on the other side, and removes it on both."
    ),
    Command.provide(live)
  )

const probedText = ({ arrived, from, key, reason, table, tookMs }: Probed): string => {
  const row = `The row of ${table} with key ${key.join(", ")}, inserted on ${label(from)},`
  return arrived
    ? `${row} arrived on ${label(opposite(from))} after ${duration(tookMs)}. It is removed on both sides again.`
    : `${row} did NOT arrive on ${label(opposite(from))}. ${reason ?? "See `status`."} It is removed again.`
}

export const teardownCommand = Command.make("teardown", { table, yes }, (options) =>
  Effect.gen(function*() {
    const confirm = options.yes ? agree : ask
    yield* Console.log(tornDownText(yield* teardown({ table: yield* tableOf(options.table), confirm })))
  })).pipe(
    Command.withDescription(
      "Removes all that is vaivem's, and no row of yours. Asks when something would be lost. One side may be gone."
    ),
    Command.provide(live)
  )

type Confirm = TeardownOptions<Host | Prompt.Prompt.Environment>["confirm"]

const agree: Confirm = () => Effect.succeed(true)

const ask: Confirm = (losses) =>
  askOrRefuse({
    about: `This would be lost:\n${losses.join("\n")}`,
    prompt: Prompt.confirm({ message: "Remove it all the same?", initial: false }),
    ended: false,
    refused: `Nothing was removed, because this would be lost:\n${
      losses.join("\n")
    }\nSay --yes to remove it all the same.`
  })

const tornDownText = ({ confirmed, gone, removed }: TornDown): string =>
  confirmed
    ? [
      ...sides.flatMap((side) => {
        const tables = removed[side]
        if (tables === null) return []
        return [
          `${label(side)}: ${tables.length === 0 ? "no table was set up" : `removed from ${list(tables)}`}`
        ]
      }),
      ...gone.map(({ message, side }) => `${label(side)}: left as it is, for it can't be reached. ${message}`),
      "A service that still runs would set it up again: stop it, or take the table out of SYNC_TABLES."
    ].join("\n")
    : "Nothing was removed."
