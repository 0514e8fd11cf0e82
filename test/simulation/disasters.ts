/** What happens to a pair once in a while: everything of ours is taken out, or a database is restored to an earlier moment. */
import { Cause, Effect, Exit } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { timeTravel, type Tokens } from "../../src/domain/Tokens.ts"
import type { Cycle } from "../../src/programs/cycle.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { setup } from "../../src/programs/setup.ts"
import { teardown } from "../../src/programs/teardown.ts"
import { underLease } from "../../src/programs/underLease.ts"
import type { Clients } from "./Clients.ts"
import type { History } from "./History.ts"
import type { Pauses } from "./Pauses.ts"
import { outcome } from "./people.ts"
import { allRows, type BothRows, fromBoth, names, rowName, type World } from "./World.ts"

/** A database as it was. */
export interface Backup {
  readonly side: Side
  readonly tokens: Tokens
  readonly pauses: Pauses["all"]
  readonly restore: Effect.Effect<void>
}

export const backUp = Effect.fnUntraced(function*(world: World, side: Side) {
  const tokens = (yield* world.databases[side].ask({ tables: [] })).tokens
  return { side, tokens, pauses: world.pauses.all, restore: yield* world.servers[side].backUp } satisfies Backup
})

/** `teardown`, of everything or of one table: the journal is gone with it, and what was pending. */
export const tearDown = Effect.fnUntraced(function*(
  world: World,
  clients: Clients,
  history: History,
  point: string
) {
  const { fate, pauses, story } = world
  const chance = fate.at(point)
  const table = chance.of(0.5) ? null : chance.pick(names)
  if (!fate.let("teardown", point)) return
  yield* clients.finish(point)
  history.keep(yield* journal(world))
  const program = teardown({ table, confirm: () => Effect.succeed(true) })
  story.push(`a person tears down ${table?.name ?? "everything"}${yield* outcome(world, program)}`)
  pauses.takeAsItIs()
  pauses.set(table === null ? [] : pauses.all.filter((paused) => paused !== table))
  history.forgot(allRows(world), [], yield* pendingNames(world, sides))
})

/**
 * One side is restored, and knows nothing of the cycles since. That must be told before anything is applied, and `setup
 * --adopt` must lead on. Without a cycle since, there is nothing to tell, and this is left out.
 */
export const restore = Effect.fnUntraced(function*(
  world: World,
  { clients, cycle, history }: { readonly clients: Clients; readonly history: History; readonly cycle: Cycle | null },
  backup: Backup,
  point: string
) {
  const { databases, fate, pauses, story, wrong } = world
  const { side } = backup
  const now = {
    replit: (yield* databases.replit.ask({ tables: [] })).tokens,
    external: (yield* databases.external.ask({ tables: [] })).tokens
  }
  if (timeTravel(now) !== null || timeTravel({ ...now, [side]: backup.tokens })?.side !== side) return
  if (!fate.let("restore", point)) return
  yield* clients.finish(point)
  history.keep(yield* journal(world))
  yield* backup.restore
  clients.forget(side)
  pauses.takeAsItIs()
  if (side === "replit") pauses.set(backup.pauses)
  story.push(`${side} is restored to an earlier moment`)
  const left = allRows(world)
  history.forgot(left, [], yield* pendingNames(world, sides.filter((other) => other !== side)))

  const exit = yield* Effect.exit(
    world.run((cycle ?? (yield* makeCycle))({ retryFor: "20 seconds", lease: "wait", notBefore: 0 }))
  )
  story.push(`  a cycle says: ${Exit.isSuccess(exit) ? "nothing" : Cause.pretty(exit.cause).split("\n")[0]}`)
  if (Exit.isSuccess(exit) || !/restored/.test(Cause.pretty(exit.cause))) {
    wrong.push(`${side} went back in time, and the next cycle did not say so.`)
  }
  if (told(left) !== told(allRows(world))) wrong.push(`${side} went back in time, and rows were moved all the same.`)
  const adopting = underLease(setup({ createMissing: false, strict: true, adopt: true, choices: { prefer: "newest" } }))
  story.push(`  a person adopts both${yield* outcome(world, adopting)}`)
  pauses.takeAsItIs()
})

const journal = (world: World) => fromBoth(world, (database) => database.conflicts({ limit: 10_000 }))

const told = ({ external, replit }: BothRows) => JSON.stringify([[...replit], [...external]])

/** Whether a row has a change on one of these sides that is not synced, and not about to be dropped. */
const pendingNames = Effect.fnUntraced(function*({ servers }: World, on: ReadonlyArray<Side>) {
  const found = new Set<string>()
  for (const side of on) {
    for (const table of names) {
      for (const { key } of yield* servers[side].pending(table)) found.add(`${side} ${rowName(table, key)}`)
    }
  }
  return (name: string, side: Side) => found.has(`${side} ${name}`)
})
