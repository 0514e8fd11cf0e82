/** What happens between any two steps of a process: apps and other processes work, calls fail, the process crashes. */
import { Data, Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { label, sides } from "../../src/domain/Side.ts"
import { Contended, type SyncError, Unavailable } from "../../src/domain/SyncError.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import type * as FaultyDatabase from "../support/FaultyDatabase.ts"
import type { Clients } from "./Clients.ts"
import { layerOf, names, type World } from "./World.ts"

/** The end of a process, between any two steps: everything that it does from then on ends at once. */
export class Crash extends Data.TaggedError("Crash") {}

/** The troubles of one process. How much there is of each comes from the seed. */
export const makeTrouble = Effect.fnUntraced(function*(world: World, clients: Clients) {
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
  chance: World["chance"],
  { side, verb }: FaultyDatabase.Call
): SyncError & { _tag: "Unavailable" | "Contended" } => {
  if (!moving.has(verb) || chance.of(0.5)) return lostAnswer(side)
  const reason = chance.pick(["serialization", "deadlock", "lock-timeout", "statement-timeout", "key-race"] as const)
  return new Contended({ side, message: `${label(side)} was busy.`, sqlState: null, reason })
}

const moving: ReadonlySet<string> = new Set(["claim", "claimFew", "stream", "apply", "applyFew", "acknowledge"])
