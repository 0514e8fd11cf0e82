/**
 * One history from one seed: apps write on both sides while cycles run, calls fail before and after their effect,
 * processes crash and start again. Then all that stops, and what is left must be what design.md promises.
 */
import { Cause, Chunk, Duration, Effect, Exit, Logger, LogLevel, Random } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import type { SyncError } from "../../src/domain/SyncError.ts"
import { isRenewalDone, timeTravel } from "../../src/domain/Tokens.ts"
import type { Cycle, CycleReport } from "../../src/programs/cycle.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import type { Conflict, Database, Quarantined } from "../../src/services/Database.ts"
import * as FaultyDatabase from "../support/FaultyDatabase.ts"
import type { Clients } from "./Clients.ts"
import * as Clients_ from "./Clients.ts"
import { History } from "./History.ts"
import * as people from "./people.ts"
import { Crash, makeTrouble } from "./trouble.ts"
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
    return yield* play(world).pipe(
      Effect.map((problems): Outcome => ({ problems, story: world.story })),
      Effect.catchAllCause((cause) => Effect.succeed({ problems: [Cause.pretty(cause)], story: world.story })),
      Effect.withClock(world.clock),
      Effect.withRandom(Random.make(seed)),
      Effect.withTracerEnabled(false),
      Logger.withMinimumLogLevel(LogLevel.None)
    )
  })

const play = Effect.fnUntraced(function*(world: World) {
  const { chance, story } = world
  const history = new History()
  const clients = Clients_.make(world, history)
  yield* clients.fill
  for (let round = 1 + chance.below(2); round > 0; round--) yield* process(world, clients, history)
  yield* clients.finish
  story.push("from here on nothing happens but clean cycles")
  return yield* aftermath(world, history)
})

/** A process that lives for some cycles, or until it crashes. People do something now and then. */
const process = Effect.fnUntraced(function*(world: World, clients: Clients, history: History) {
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
      // What a person would have to act on is the cycle's mistake: nothing here is.
      const failures = Chunk.toReadonlyArray(Cause.failures(exit.cause))
      if (defects.length > 0 || !failures.every(isPassing)) return yield* Effect.failCause(exit.cause)
      story.push(`  failed: ${Cause.pretty(exit.cause).split("\n")[0]}`)
    }
    if (chance.of(0.3)) yield* people.act(world, clients, history)
    yield* world.clock.sleep(chance.pick([minute, hour]))
  }
})

/** Cycles without trouble; then what is left is looked at. */
const aftermath = Effect.fnUntraced(function*(world: World, history: History) {
  const { servers, story } = world
  const databases = { replit: servers.replit.database, external: servers.external.database }
  const cycle = yield* makeCycle
  const reports: Array<CycleReport> = []
  // What was held goes on once somebody says so; what was refused may pass then, and be held in its turn.
  for (let count = 0, free = 0; count < holdsMax && free < 3; count++) {
    story.push(`a clean cycle before: ${said(yield* run(cycle, world, databases))}`)
    free = (yield* people.sayOfHeld(world, history)) ? 0 : free + 1
    yield* world.clock.sleep(hour)
  }
  for (let count = 0; count < quietCycles; count++) {
    reports.push(yield* run(cycle, world, databases))
    story.push(`a clean cycle: ${said(reports.at(-1)!)}`)
    yield* world.clock.sleep(hour)
  }
  const quarantined = yield* fromBoth(databases, (database) => database.quarantined(null))
  const conflicts = yield* fromBoth(databases, (database) => database.conflicts({ limit: 10_000 }))
  story.push(...quarantined.map(toldRefusal), ...conflicts.map(toldConflict))
  const held = new Set(quarantined.map(({ key, table }) => rowName(table, key)))
  const rows = yield* allRows(world)
  // Quarantined rows are tried again, and one that passes may free others; without them two cycles are enough.
  const restless = reports.slice(held.size === 0 ? 2 : quietCycles - 2).filter(movesRows)
  return [
    ...differences(rows, held),
    ...(yield* leftPending(world, held)),
    ...history.problems(rows, conflicts),
    ...(yield* strange(databases)),
    ...(restless.length > 0 ? ["Cycles go on moving rows although nobody writes."] : []),
    ...(yield* people.tryQuarantined(world, quarantined))
  ]
})

/** Nobody restored anything: each side must be as the other knows it, and no renewal left open. */
const strange = Effect.fnUntraced(function*({ external, replit }: Readonly<Record<Side, Database>>) {
  const tokens = {
    replit: (yield* replit.ask({ tables: [] })).tokens,
    external: (yield* external.ask({ tables: [] })).tokens
  }
  return timeTravel(tokens) === null && isRenewalDone(tokens) ? [] : ["The tokens of the two sides don't match."]
})

const differences = (rows: World_.BothRows, held: ReadonlySet<string>): ReadonlyArray<string> =>
  [...new Set([...rows.replit.keys(), ...rows.external.keys()])].flatMap((name) => {
    const [ours, theirs] = [rows.replit, rows.external].map((there) => JSON.stringify(there.get(name) ?? null))
    return ours === theirs || held.has(name) ? [] : [`${name} differs: ${ours} and ${theirs}.`]
  })

/** A key may wait on both sides for its quarantine on one. */
const leftPending = Effect.fnUntraced(function*({ servers }: World, held: ReadonlySet<string>) {
  const problems: Array<string> = []
  for (const side of sides) {
    for (const table of names) {
      const pending = (yield* servers[side].pending(table)).map(({ key }) => rowName(table, key))
      problems.push(...pending.filter((name) => !held.has(name)).map((name) => `${name} is pending on ${side}.`))
    }
  }
  return problems
})

const fromBoth = <A, E, R>(
  databases: Readonly<Record<Side, Database>>,
  ask: (database: Database) => Effect.Effect<ReadonlyArray<A>, E, R>
) => Effect.map(Effect.forEach(sides, (side) => ask(databases[side])), (answers) => answers.flat())

const run = (cycle: Cycle, world: World, databases: Readonly<Record<Side, Database>>) =>
  cycle({ retryFor: "20 seconds", lease: "wait", notBefore: 0 }).pipe(Effect.provide(layerOf(world, databases)))

const isPassing = ({ _tag }: SyncError) => _tag === "Unavailable" || _tag === "Contended" || _tag === "LeaseTaken"

const movesRows = ({ pull, push }: CycleReport) =>
  [push, pull].some(({ conflicts, deleted, inserted, updated }) => conflicts + deleted + inserted + updated > 0)

const said = ({ outcome, paused, pull, push, quarantined }: CycleReport): string =>
  `${outcome}, ${paused.map(({ table }) => `${table} held, `).join("")}push ${JSON.stringify(push)}, pull ${
    JSON.stringify(pull)
  }, ${quarantined} in quarantine`

const toldRefusal = ({ from, key, message, table }: Quarantined): string =>
  `in quarantine on ${from}: ${rowName(table, key)}: ${message}`

const toldConflict = ({ key, lost, lostSide, reason, table, won }: Conflict): string =>
  `journaled on ${lostSide} (${reason}): ${rowName(table, key)} ${JSON.stringify(lost)} for ${JSON.stringify(won)}`

const quietCycles = 5
/** A person who is asked this often has let everything through. */
const holdsMax = 20
const minute = Duration.minutes(1)
const hour = Duration.hours(1)
