/**
 * One history from one seed: apps write on both sides while cycles run, calls fail before and after their effect,
 * processes crash and start again. Then all that stops, and what is left must be what design.md promises.
 */
import { Cause, Chunk, Data, Duration, Effect, Exit, Logger, LogLevel, Random } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { label, sides } from "../../src/domain/Side.ts"
import { Contended, type SyncError, Unavailable } from "../../src/domain/SyncError.ts"
import type { Cycle, CycleReport } from "../../src/programs/cycle.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import * as FaultyDatabase from "../support/FaultyDatabase.ts"
import * as Clients from "./Clients.ts"
import { History } from "./History.ts"
import { allRows, layerOf, names, rowName, type World } from "./World.ts"
import * as World_ from "./World.ts"

export interface Outcome {
  /** What was promised and not kept, a sentence each. */
  readonly problems: ReadonlyArray<string>
  readonly story: ReadonlyArray<string>
}

/** Runs the history of a seed. */
export const simulate = (seed: number): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const world = yield* World_.make(seed)
    const outcome = play(world).pipe(
      Effect.map((problems): Outcome => ({ problems, story: world.story })),
      Effect.catchAllCause((cause) => Effect.succeed({ problems: [Cause.pretty(cause)], story: world.story })),
      Effect.withClock(world.clock),
      Effect.withRandom(Random.make(seed)),
      Effect.withTracerEnabled(false),
      Logger.withMinimumLogLevel(LogLevel.None)
    )
    return yield* outcome
  })

const play = Effect.fnUntraced(function*(world: World) {
  const { chance, story } = world
  const history = new History()
  const clients = Clients.make(world, history)
  yield* clients.fill
  for (let round = 1 + chance.below(3); round > 0; round--) yield* troubled(world, clients)
  yield* clients.finish
  story.push("from here on nothing happens but clean cycles")
  return yield* quiet(world, history)
})

/** A process that lives for some cycles, or until it crashes. */
const troubled = Effect.fnUntraced(function*(world: World, clients: Clients.Clients) {
  const { chance, servers, story } = world
  story.push("a process starts")
  const trouble = yield* makeTrouble(world, clients)
  const databases = {
    replit: FaultyDatabase.make(servers.replit.connect(), trouble),
    external: FaultyDatabase.make(servers.external.connect(), trouble)
  }
  const cycle = yield* makeCycle
  for (let count = 1 + chance.below(3); count > 0; count--) {
    story.push("a cycle")
    const exit = yield* Effect.exit(run(cycle, world, databases))
    if (Exit.isSuccess(exit)) story.push(`  ${said(exit.value)}`)
    else {
      const defects = Chunk.toReadonlyArray(Cause.defects(exit.cause))
      // A failure of the other side at the same moment may come along.
      if (defects.some((defect) => defect instanceof Crash)) return
      if (defects.length > 0) return yield* Effect.failCause(exit.cause)
      story.push(`  failed: ${Cause.pretty(exit.cause).split("\n")[0]}`)
    }
    yield* world.clock.sleep(chance.pick([minute, hour]))
  }
})

/** Cycles without trouble, until one moves nothing; then what is left is looked at. */
const quiet = Effect.fnUntraced(function*(world: World, history: History) {
  const { servers, story } = world
  const databases = { replit: servers.replit.database, external: servers.external.database }
  const cycle = yield* makeCycle
  const reports: Array<CycleReport> = []
  for (let count = 0; count < quietCycles; count++) {
    reports.push(yield* run(cycle, world, databases))
    story.push(`a clean cycle: ${said(reports.at(-1)!)}`)
    yield* world.clock.sleep(hour)
  }
  const rows = yield* allRows(world)
  const held = new Set<string>()
  const conflicts = []
  const problems: Array<string> = []
  for (const side of sides) {
    for (const { key, message, table } of yield* databases[side].quarantined(null)) {
      story.push(`in quarantine on ${side}: ${rowName(table, key)}: ${message}`)
      held.add(rowName(table, key))
    }
    conflicts.push(...(yield* databases[side].conflicts({ limit: 10_000 })))
  }
  for (const side of sides) {
    for (const table of names) {
      const pending = (yield* servers[side].pending(table)).map(({ key }) => rowName(table, key))
      problems.push(...pending.filter((name) => !held.has(name)).map((name) => `${name} is pending on ${side}.`))
    }
  }
  for (const name of new Set([...rows.replit.keys(), ...rows.external.keys()])) {
    const [ours, theirs] = [rows.replit, rows.external].map((there) => JSON.stringify(there.get(name) ?? null))
    if (ours !== theirs && !held.has(name)) problems.push(`${name} differs: ${ours} and ${theirs}.`)
  }
  story.push(
    ...conflicts.map(({ key, lost, lostSide, reason, table, won }) =>
      `journaled on ${lostSide} (${reason}): ${rowName(table, key)} ${JSON.stringify(lost)} for ${JSON.stringify(won)}`
    )
  )
  problems.push(...history.problems(rows, conflicts))
  // Quarantined rows are tried again, and one that passes may free others; without them two cycles are enough.
  const restless = reports.slice(held.size === 0 ? 2 : quietCycles - 2).filter(movesRows)
  if (restless.length > 0) problems.push("Cycles go on moving rows although nobody writes.")
  return problems
})

const run = (cycle: Cycle, world: World, databases: Parameters<typeof layerOf>[1]) =>
  cycle({ retryFor: "20 seconds", lease: "wait", notBefore: 0 }).pipe(Effect.provide(layerOf(world, databases)))

/** The end of a process, between any two steps: everything that it does from then on ends at once. */
class Crash extends Data.TaggedError("Crash") {}

const makeTrouble = Effect.fnUntraced(function*(world: World, clients: Clients.Clients) {
  const { chance, servers, story } = world
  const fault = chance.pick([0, 0.02, 0.1])
  const crash = chance.pick([0, 0, 0.01])
  const busy = chance.pick([0.05, 0.2])
  const others = yield* makeCycle
  let crashed = false
  const another = others({ retryFor: 0, lease: "skip", notBefore: 0 }).pipe(
    Effect.provide(layerOf(world, { replit: servers.replit.database, external: servers.external.database })),
    Effect.exit
  )
  let captured = false
  const work = Effect.suspend((): Effect.Effect<unknown> => {
    if (chance.of(0.005)) {
      story.push("  another process runs a cycle")
      return another
    }
    if (!chance.of(busy)) return Effect.void
    if (captured) return Effect.repeatN(clients.act, chance.below(3))
    // Before capture is on, what the apps delete can't be known: first contact takes it for missing.
    return Effect.map(allCaptured(world), (all) => {
      captured = all
    })
  })
  const hinder = (when: "before" | "after", call: FaultyDatabase.Call) =>
    Effect.suspend((): Effect.Effect<void, SyncError> => {
      if (crashed || chance.of(crash)) {
        if (!crashed) story.push(`  crash ${when} ${call.verb} on ${call.side}`)
        crashed = true
        return Effect.die(new Crash())
      }
      // Set-up takes many calls: at full rate few processes would live to see a row move.
      if (!chance.of(moving.has(call.verb) ? fault : fault / 8)) return Effect.void
      const error = when === "after" ? lostAnswer(call.side) : refusal(chance, call)
      story.push(
        `  ${error._tag}${error._tag === "Contended" ? ` (${error.reason})` : ""} ${when} ${call.verb} on ${call.side}`
      )
      return error
    })
  const faults: FaultyDatabase.Faults = {
    before: (call) => Effect.zipRight(work, hinder("before", call)),
    after: (call) => Effect.zipRight(work, hinder("after", call))
  }
  return faults
})

const allCaptured = ({ servers }: World) =>
  Effect.map(
    Effect.forEach(sides, (side) => servers[side].database.captured),
    (tables) => tables.flat().length === sides.length * names.length
  ).pipe(Effect.orDie)

const lostAnswer = (side: Side) =>
  new Unavailable({ side, message: `${label(side)} lost the connection.`, sqlState: null, slow: false })

/** Calls that write can lose to other transactions; everything can fail to reach the server. */
const refusal = (
  chance: Chance,
  { side, verb }: FaultyDatabase.Call
): SyncError & { _tag: "Unavailable" | "Contended" } => {
  if (!moving.has(verb) || chance.of(0.5)) return lostAnswer(side)
  const reason = chance.pick(["serialization", "deadlock", "lock-timeout", "statement-timeout", "key-race"] as const)
  return new Contended({ side, message: `${label(side)} was busy.`, sqlState: null, reason })
}

type Chance = World["chance"]

const movesRows = ({ pull, push }: CycleReport) =>
  [push, pull].some(({ conflicts, deleted, inserted, updated }) => conflicts + deleted + inserted + updated > 0)

const said = ({ outcome, pull, push, quarantined }: CycleReport): string =>
  `${outcome}, push ${JSON.stringify(push)}, pull ${JSON.stringify(pull)}, ${quarantined} in quarantine`

const moving: ReadonlySet<string> = new Set(["claim", "stream", "apply", "acknowledge"])
const quietCycles = 6
const minute = Duration.minutes(1)
const hour = Duration.hours(1)
