/** What happens between any two steps of a process: apps and other processes work, calls fail, the process crashes. */
import { Data, Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { label, sides } from "../../src/domain/Side.ts"
import { Contended, type SyncError, Unavailable } from "../../src/domain/SyncError.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import type * as FaultyDatabase from "../support/FaultyDatabase.ts"
import type { Clients } from "./Clients.ts"
import type { Chance } from "./Fate.ts"
import * as people from "./people.ts"
import { names, type World } from "./World.ts"

/** The end of a process, between any two steps: everything that it does from then on ends at once. */
export class Crash extends Data.TaggedError("Crash") {}

export interface Trouble extends FaultyDatabase.Faults {
  /** Names what happens from now on by this cycle of the process. */
  readonly enter: (cycle: string) => void
}

/**
 * The troubles of one process. How much there is of each comes from the seed.
 *
 * @param beside another process runs at the same time: now and then this one lets it go first.
 */
export const makeTrouble = (world: World, clients: Clients, process: string, beside: boolean): Trouble => {
  const { fate, servers, story } = world
  const rates = fate.at(process)
  const fault = rates.pick([0, 0.02, 0.1])
  const crash = rates.pick([0, 0, 0.01])
  const busy = rates.pick([0.05, 0.2])
  const losing = rates.pick([0, 0, 0, 0.03])
  let cycle = process
  let calls = 0
  let crashed = false
  let captured = false
  const another = Effect.flatMap(
    makeCycle,
    (others) => Effect.exit(world.run(others({ retryFor: 0, lease: "skip", notBefore: 0 })))
    // A process of its own, whatever the call that it comes between can't be.
  ).pipe(Effect.interruptible)
  const acts = (point: string, count: number) =>
    Effect.suspend(() => {
      if (captured) return Effect.repeatN(Effect.suspend(() => clients.act(`${point}${count--}`)), count - 1)
      // Before capture is on, what the apps delete can't be known: first contact takes it for missing.
      return Effect.map(allCaptured(world), (all) => {
        captured = all
      })
    })
  const races = (point: string) =>
    Effect.forEach(["r0", "r1", "r2"], (name) => clients.race(`${point}${name}`), { discard: true })
  const work = (point: string, chance: Chance, verb: string): Effect.Effect<unknown> | null => {
    if (beside && chance.of(0.3)) return Effect.yieldNow()
    if (chance.of(losing) && moving.has(verb) && fate.let("lease", `${point} lease`)) {
      story.push("  the session that holds the lease ends, and another process runs a cycle")
      return Effect.zipRight(servers.replit.loseLease, another)
    }
    if (chance.of(0.002) && fate.let("other", `${point} other`)) {
      story.push("  another process runs a cycle")
      return another
    }
    return chance.of(busy) ? acts(point, 1 + chance.below(3)) : null
  }
  /** A point of its own: the others' chances stay as they were before people did this. */
  const steering = (point: string) =>
    captured && fate.at(`${point} may steer`).of(0.01) ? people.steer(world, `${point} steers`) : null
  const hinder = (
    when: "before" | "after",
    call: FaultyDatabase.Call,
    point: string,
    chance: Chance
  ): Effect.Effect<void, SyncError> => {
    if (crashed) return Effect.die(new Crash())
    if (chance.of(crash) && fate.let("crash", `${point} crash`)) {
      story.push(`  process ${process} crashes ${when} ${call.verb} on ${call.side}`)
      crashed = true
      return Effect.die(new Crash())
    }
    // Set-up takes many calls: at full rate few processes would live to see a row move.
    if (!chance.of(moving.has(call.verb) ? fault : fault / 8)) return Effect.void
    const error = when === "after" ? lostAnswer(call.side) : refusal(chance, call)
    if (!fate.let("fault", `${point} fault`)) return Effect.void
    const { _tag } = error
    story.push(`  ${_tag}${_tag === "Contended" ? ` (${error.reason})` : ""} ${when} ${call.verb} on ${call.side}`)
    // Who loses a race loses it to somebody.
    return _tag === "Contended" ? Effect.zipRight(captured ? races(point) : Effect.void, error) : error
  }
  const at = (when: "before" | "after") => (call: FaultyDatabase.Call) =>
    Effect.suspend(() => {
      const point = `${cycle}.${++calls}${when === "before" ? "b" : "a"}`
      const chance = fate.at(point)
      const worked = work(point, chance, call.verb) ?? steering(point)
      if (worked === null) return hinder(when, call, point, chance)
      return Effect.flatMap(worked, () => hinder(when, call, point, chance))
    })
  return {
    enter: (name) => {
      cycle = `${process}.${name}`
      calls = 0
    },
    before: at("before"),
    after: at("after")
  }
}

export const allCaptured = ({ databases }: World) =>
  Effect.map(
    Effect.forEach(sides, (side) => databases[side].captured),
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

const moving: ReadonlySet<string> = new Set(["claim", "claimFew", "stream", "apply", "applyFew", "acknowledge"])
