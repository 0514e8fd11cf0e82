/** What people do between cycles: restore what lost, discard what is refused, say what becomes of what is held, repair. */
import { Cause, Effect, Exit } from "effect"
import { opposite, sides } from "../../src/domain/Side.ts"
import { approve } from "../../src/programs/approve.ts"
import { restoreConflict } from "../../src/programs/conflicts.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { propagateKeys } from "../../src/programs/propagate.ts"
import { discardQuarantine } from "../../src/programs/quarantine.ts"
import { reject } from "../../src/programs/reject.ts"
import { syncedTable } from "../../src/programs/syncedTable.ts"
import { verify } from "../../src/programs/verify.ts"
import type { Quarantined } from "../../src/services/Database.ts"
import type { Clients } from "./Clients.ts"
import type { History } from "./History.ts"
import { layerOf, type Needs, rowName, type World } from "./World.ts"

/** Does one of these things, if there is anything to do it with. */
export const act = Effect.fnUntraced(function*(world: World, clients: Clients, history: History) {
  const { chance, servers, story } = world
  const side = chance.pick(sides)
  const { database } = servers[side]
  const what = chance.below(4)
  if (what === 0) {
    const open = (yield* database.conflicts({ limit: 1000 })).filter(({ restoredAt }) => restoredAt === null)
    if (open.length === 0) return
    const { id, key, table } = chance.pick(open)
    yield* clients.noting(side, `a person restores ${rowName(table, key)}`, outcome(world, restoreConflict(id)))
  } else if (what === 1) {
    const refused = yield* database.quarantined(null)
    if (refused.length === 0) return
    const { id, key, table } = chance.pick(refused)
    story.push(`  ${side}: a person discards ${rowName(table, key)}${yield* outcome(world, discardQuarantine(id))}`)
  } else if (what === 2) {
    yield* sayOfHeld(world, history)
  } else {
    const cycle = yield* makeCycle
    story.push(`  a person repairs${yield* outcome(world, verify(cycle, { repair: true, dryRun: false, show: 10 }))}`)
  }
})

/** Approves or rejects what the brake holds. Says whether there was anything. */
export const sayOfHeld = Effect.fnUntraced(function*(world: World, history: History) {
  const { chance, servers, story } = world
  const held = (yield* servers.replit.database.held).filter(({ since }) => since !== null)
  for (const { table } of held) {
    const [verb, program] = chance.of(0.5) ? ["approves", approve(table)] as const : ["rejects", reject(table)] as const
    if (verb === "rejects") history.tookBackDeletes(table.name)
    story.push(`  a person ${verb} what is held of ${table.name}${yield* outcome<unknown, unknown>(world, program)}`)
  }
  return held.length > 0
})

/** Whoever is still in quarantine must be so rightly: another try changes nothing. */
export const tryQuarantined = Effect.fnUntraced(function*(world: World, quarantined: ReadonlyArray<Quarantined>) {
  const problems: Array<string> = []
  for (const { from, key, table: name } of quarantined) {
    const [source, target] = [world.servers[from].database, world.servers[opposite(from)].database]
    const table = yield* syncedTable(name).pipe(provide(world))
    for (const phase of ["upserts", "deletes"] as const) {
      const { deleted, inserted, updated } = yield* propagateKeys({ from: source, to: target, table, phase }, [key])
      if (deleted + inserted + updated > 0) problems.push(`${rowName(name, key)} was in quarantine for nothing.`)
    }
  }
  return problems
})

/** How it went, for the story; defects are bugs. */
const outcome = <A, E>(world: World, program: Effect.Effect<A, E, Needs>) =>
  Effect.exit(program.pipe(provide(world))).pipe(
    Effect.flatMap((exit) => {
      if (Exit.isSuccess(exit)) return Effect.succeed("")
      return Cause.isDie(exit.cause)
        ? Effect.die(Cause.squash(exit.cause))
        : Effect.succeed(` (${Cause.pretty(exit.cause).split("\n")[0]})`)
    })
  )

const provide = (world: World) => <A, E>(program: Effect.Effect<A, E, Needs>): Effect.Effect<A, E> =>
  Effect.provide(
    program,
    layerOf(world, { replit: world.servers.replit.database, external: world.servers.external.database })
  )
