/**
 * One history from one seed: apps write on both sides while cycles run, calls fail before and after their effect,
 * processes crash and start again. Then all that stops, and what is left must be what design.md promises.
 */
import { Cause, Chunk, Duration, Effect, Exit, Logger, LogLevel, Random } from "effect"
import { sides } from "../../src/domain/Side.ts"
import type { SyncError } from "../../src/domain/SyncError.ts"
import type { Cycle, CycleReport } from "../../src/programs/cycle.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { said } from "./aftermath.ts"
import { aftermath } from "./aftermath.ts"
import * as Clients_ from "./Clients.ts"
import type { Clients } from "./Clients.ts"
import { decide } from "./deciding.ts"
import * as disasters from "./disasters.ts"
import { type Dropped, Fate, type Happened } from "./Fate.ts"
import { History } from "./History.ts"
import type { Mutation } from "./mutations.ts"
import * as people from "./people.ts"
import { Crash, makeTrouble } from "./trouble.ts"
import * as World_ from "./World.ts"
import type { World } from "./World.ts"

export interface Outcome {
  /** What was promised and not kept, a sentence each. */
  readonly problems: ReadonlyArray<string>
  readonly story: ReadonlyArray<string>
  /** What chance let happen, and a shorter history may leave out. */
  readonly happened: ReadonlyArray<Happened>
}

export interface Options {
  readonly dropped?: Dropped
  readonly mutation?: Mutation
}

/** Runs the history of a seed. */
export const simulate = (seed: number, { dropped, mutation }: Options = {}): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const fate = new Fate(seed, dropped)
    const world = yield* World_.make(seed, fate, mutation ?? null)
    const problems = yield* play(world).pipe(
      Effect.catchAllCause((cause) => Effect.succeed([Cause.pretty(cause)])),
      Effect.withClock(world.clock)
    )
    return { problems: [...new Set([...world.wrong, ...problems])], story: world.story, happened: fate.happened }
  }).pipe(
    Effect.withRandom(Random.make(seed)),
    Effect.withTracerEnabled(false),
    Logger.withMinimumLogLevel(LogLevel.None),
    // Where two processes take turns is chance's to say, and not what the scheduler has counted.
    Effect.withMaxOpsBeforeYield(Number.MAX_SAFE_INTEGER)
  )

const play = Effect.fnUntraced(function*(world: World) {
  const { fate, story } = world
  const chance = fate.at("play")
  const history = new History()
  const clients = Clients_.make(world, history)
  yield* clients.fill
  let alive: Cycle | null = null
  let backup: disasters.Backup | null = null
  for (let step = 1, last = 1 + chance.below(2); step <= last; step++) {
    alive = yield* processes(world, clients, history, `${step}`)
    const then = fate.at(`${step} then`)
    if (backup !== null && then.of(0.6)) {
      yield* disasters.restore(world, { clients, history, cycle: alive }, backup, `${step} restore`)
      backup = null
    } else if (then.of(0.08)) yield* disasters.tearDown(world, clients, history, `${step} teardown`)
    else if (then.of(0.2)) {
      backup = yield* disasters.backUp(world, then.pick(sides))
      // Something must come after it that can be lost.
      if (step === last) last++
    }
  }
  yield* clients.finish("end")
  story.push("from here on nothing happens but clean cycles")
  return yield* aftermath(world, history, alive ?? (yield* makeCycle))
})

/** A process, or two at once. The cycle of one that has not crashed is the service that goes on. */
const processes = Effect.fnUntraced(function*(world: World, clients: Clients, history: History, step: string) {
  const { fate, story } = world
  if (!fate.let("process", step)) return null
  if (!fate.at(`${step} processes`).of(0.15) || !fate.let("process", `${step}+`)) {
    return yield* process(world, clients, history, step, false)
  }
  story.push("two processes run at once")
  const [alive] = yield* Effect.all(
    [step, `${step}+`].map((name) => process(world, clients, history, name, true)),
    { concurrency: 2 }
  )
  return alive ?? null
})

/** Lives for some cycles, or until it crashes. People do something now and then. */
const process = Effect.fnUntraced(
  function*(world: World, clients: Clients, history: History, name: string, beside: boolean) {
    const { clock, fate, pauses, story } = world
    story.push(`process ${name} starts`)
    const trouble = makeTrouble(world, clients, name, beside)
    const services = world.connect(trouble)
    const cycle = yield* makeCycle
    for (let count = 1, last = 1 + fate.at(`${name} cycles`).pick([0, 0, 1, 1, 2]); count <= last; count++) {
      if (!fate.let("cycle", `${name}.${count}`)) continue
      story.push(`process ${name} runs cycle ${count}`)
      trouble.enter(`${count}`)
      pauses.cycleBegins()
      const exit = yield* Effect.exit(Effect.provide(run(cycle), services))
      pauses.cycleEnds()
      if (Exit.isSuccess(exit)) story.push(`  ${said(exit.value)}`)
      else {
        const defects = Chunk.toReadonlyArray(Cause.defects(exit.cause))
        // A failure of the other side at the same moment may come along.
        if (defects.some((defect) => defect instanceof Crash)) return null
        // What a person would have to act on is the cycle's mistake: nothing here is.
        const failures = Chunk.toReadonlyArray(Cause.failures(exit.cause))
        if (defects.length > 0 || !failures.every(isPassing)) return yield* Effect.failCause(exit.cause)
        story.push(`  process ${name} failed: ${Cause.pretty(exit.cause).split("\n")[0]}`)
      }
      const chance = fate.at(`${name}.${count} after`)
      if (!beside && chance.of(0.3)) yield* people.act(world, clients, history, `${name}.${count} person`)
      if (!beside) {
        const then = fate.at(`${name}.${count} then`)
        if (then.of(0.3)) yield* decide(world, clients, `${name}.${count} decides`)
        if (then.of(0.3)) yield* people.steer(world, `${name}.${count} steers`)
      }
      yield* clock.sleep(chance.pick([minute, hour]))
    }
    return cycle
  }
)

export const run = (cycle: Cycle): Effect.Effect<CycleReport, SyncError, World_.Needs> =>
  cycle({ retryFor: "20 seconds", lease: "wait", notBefore: 0 })

const isPassing = ({ _tag }: SyncError) => _tag === "Unavailable" || _tag === "Contended" || _tag === "LeaseTaken"

const minute = Duration.minutes(1)
const hour = Duration.hours(1)
