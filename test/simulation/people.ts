/**
 * What people do between cycles: restore what lost, discard what is refused, say what becomes of what is held, repair, pause
 * and resume. What they decide of conflicts is in `deciding.ts`.
 */
import { Cause, Effect, Exit } from "effect"
import { opposite, sides } from "../../src/domain/Side.ts"
import { approve } from "../../src/programs/approve.ts"
import { restoreConflict } from "../../src/programs/conflicts.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { pause, resume } from "../../src/programs/pausing.ts"
import { propagateKeys } from "../../src/programs/propagate.ts"
import { discardQuarantine } from "../../src/programs/quarantine.ts"
import { reject } from "../../src/programs/reject.ts"
import { syncedTable } from "../../src/programs/syncedTable.ts"
import { verify } from "../../src/programs/verify.ts"
import type { Quarantined } from "../../src/services/Database.ts"
import type { Clients } from "./Clients.ts"
import type { History } from "./History.ts"
import { names, type Needs, rowName, type World } from "./World.ts"

/** Does one of these things, if there is anything to do it with. */
export const act = Effect.fnUntraced(function*(world: World, clients: Clients, history: History, point: string) {
  const { fate, pauses, servers, story } = world
  const chance = fate.at(point)
  const side = chance.pick(sides)
  const { database } = servers[side]
  const what = chance.below(7)
  if (!fate.let("person", point)) return
  if (what < 2) {
    const open = (yield* database.conflicts({ limit: 1000 })).filter(({ restoredAt }) => restoredAt === null)
    if (open.length === 0) return
    const { id, key, table } = chance.pick(open)
    yield* clients.noting(side, `a person restores ${rowName(table, key)}`, outcome(world, restoreConflict(id)))
  } else if (what < 4) {
    const refused = yield* database.quarantined(null)
    if (refused.length === 0) return
    const { id, key, table } = chance.pick(refused)
    pauses.look()
    story.push(`  ${side}: a person discards ${rowName(table, key)}${yield* outcome(world, discardQuarantine(id))}`)
    pauses.takeAsItIs()
  } else if (what < 6) {
    yield* sayOfHeld(world, history, point)
  } else {
    const cycle = yield* makeCycle
    story.push(`  a person repairs${yield* outcome(world, verify(cycle, { repair: true, dryRun: false, show: 10 }))}`)
  }
})

/** Approves or rejects what the brake holds. Says whether there was anything. */
export const sayOfHeld = Effect.fnUntraced(function*(world: World, history: History, point: string) {
  const { fate, pauses, servers, story } = world
  const held = (yield* servers.replit.database.held).filter(({ since }) => since !== null)
  for (const { table } of held) {
    const approves = fate.at(`${point} ${table.name}`).of(0.5)
    const [verb, program] = approves ? ["approves", approve(table)] as const : ["rejects", reject(table)] as const
    if (verb === "rejects") history.tookBackDeletes(table.name)
    pauses.look()
    story.push(`  a person ${verb} what is held of ${table.name}${yield* outcome<unknown, unknown>(world, program)}`)
    if (verb === "rejects") pauses.takeAsItIs()
  }
  return held.length > 0
})

/** Pauses a table or all of them, or lets them go on; a cycle may be under way. */
export const steer = Effect.fnUntraced(function*(world: World, point: string) {
  const { fate, pauses, story } = world
  const chance = fate.at(point)
  if (!fate.let("pause", point)) return
  const resumes = chance.of(0.6) && pauses.all.length > 0
  const table = chance.of(0.2) ? null : resumes ? chance.pick(pauses.all) : chance.pick(names)
  const said = `${resumes ? "resumes" : "pauses"} ${table?.name ?? "all tables"}`
  const refused = yield* outcome<unknown, unknown>(world, resumes ? resume(table) : pause(table))
  story.push(`  a person ${said}${refused}`)
  if (refused !== "") return
  if (!resumes) return pauses.set([...pauses.all, table])
  pauses.set(table === null ? [] : pauses.all.filter((paused) => paused !== table))
})

/** Lets everything go on that is paused. */
export const resumeAll = Effect.fnUntraced(function*(world: World) {
  const { pauses, story } = world
  if (pauses.all.length === 0) return
  story.push(`a person resumes all tables${yield* outcome(world, resume(null))}`)
  pauses.set([])
})

/** Whoever is still in quarantine must be so rightly: another try changes nothing. */
export const tryQuarantined = Effect.fnUntraced(function*(world: World, quarantined: ReadonlyArray<Quarantined>) {
  const problems: Array<string> = []
  for (const { from, key, table: name } of quarantined) {
    const [source, target] = [world.servers[from].database, world.servers[opposite(from)].database]
    const table = yield* world.run(syncedTable(name))
    for (const phase of ["upserts", "deletes"] as const) {
      const { deleted, inserted, updated } = yield* propagateKeys({ from: source, to: target, table, phase }, [key])
      if (deleted + inserted + updated > 0) problems.push(`${rowName(name, key)} was in quarantine for nothing.`)
    }
  }
  return problems
})

/** How it went, for the story; defects are bugs. */
export const outcome = <A, E>(world: World, program: Effect.Effect<A, E, Needs>) =>
  Effect.exit(world.run(program)).pipe(
    Effect.flatMap((exit) => {
      if (Exit.isSuccess(exit)) return Effect.succeed("")
      return Cause.isDie(exit.cause)
        ? Effect.die(Cause.squash(exit.cause))
        : Effect.succeed(` (${Cause.pretty(exit.cause).split("\n")[0]})`)
    })
  )
