/**
 * What people decide of conflicts, beside restoring what lost: keeping it as it is, and editing it. A decision says at once
 * whether it did what it promises, for nobody else is at work; that it travels is seen in the end.
 */
import { Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { sides } from "../../src/domain/Side.ts"
import { editConflict, keepConflict, restoreConflict } from "../../src/programs/conflicts.ts"
import type { Conflict } from "../../src/services/Database.ts"
import type { Row } from "../../src/services/memory/MemoryTable.ts"
import type { Clients } from "./Clients.ts"
import type { Chance } from "./Fate.ts"
import { outcome } from "./people.ts"
import { fromBoth, keyColumns, names, perfis, rowName, rowsOf, tokenColumn, type World } from "./World.ts"

/** Keeps or edits one, if there is any; what was edited may be undone at once. */
export const decide = Effect.fnUntraced(function*(world: World, clients: Clients, point: string) {
  const { fate } = world
  const chance = fate.at(point)
  if (!fate.let("decision", point)) return
  const all = yield* fromBoth(world, (database) => database.conflicts({ limit: 1000 }))
  if (all.length === 0) return
  const conflict = chance.pick(all)
  if (chance.of(0.3)) return yield* keep(world, conflict)
  const replaced = yield* edit(world, clients, conflict, chanceValues(chance, conflict, point))
  if (replaced !== null && chance.of(0.5)) yield* undo(world, clients, replaced)
})

/** Nothing changes but that somebody has said it. */
const keep = Effect.fnUntraced(function*(world: World, { id, key, keptAt, lostSide, table }: Conflict) {
  const before = yield* stateOf(world)
  const failed = yield* outcome(world, keepConflict(id))
  world.story.push(`  ${lostSide}: a person keeps ${rowName(table, key)} as it was decided${failed}`)
  const after = yield* stateOf(world)
  const kept = before.journal.map((one) => one.id === id ? { ...one, keptAt: keptAt ?? keptOf(after, id) } : one)
  expect(world, same(after, { ...before, journal: kept }), `${rowName(table, key)} was kept, and something changed.`)
  expect(world, failed !== "" || keptOf(after, id) !== null, `${rowName(table, key)} was kept, and nobody noted it.`)
})

/** Returns the record of what it replaced; null when it was refused, and then nothing is changed. */
const edit = Effect.fnUntraced(function*(world: World, clients: Clients, conflict: Conflict, changes: Row) {
  const { id, key, lostSide, table } = conflict
  const name = rowName(table, key)
  const before = yield* stateOf(world)
  const refused = yield* written(world, clients, lostSide, `a person edits ${name} to ${JSON.stringify(changes)}`)(
    editConflict(id, changes)
  )
  const after = yield* stateOf(world)
  if (refused) {
    expect(world, same(after, before), `${name}: an edit was refused, and something changed.`)
    return null
  }
  const [old, now] = [before.rows[lostSide].get(name) ?? null, after.rows[lostSide].get(name) ?? null]
  const keys = Object.fromEntries(keyColumns(table).map((column, index) => [column, key[index]!]))
  const [replaced, ...others] = after.journal.filter((one) => !before.journal.some((known) => known.id === one.id))
  expect(
    world,
    isLike(now, { ...(old ?? conflict.lost ?? conflict.won), ...changes, ...keys }),
    `${name} is not as it was edited.`
  )
  expect(world, after.pending.has(`${lostSide} ${name}`), `${name} was edited, and that is not pending.`)
  expect(world, keptOf(after, id) !== null, `${name} was edited, and is open as before.`)
  expect(
    world,
    others.length === 0 && replaced?.reason === "restore" && replaced.lostSide === lostSide &&
      replaced.restoredAt === null
      && JSON.stringify(replaced.lost) === JSON.stringify(old),
    `${name} was edited, and what that replaced is not in the journal.`
  )
  return replaced ?? null
})

/** Brings back what an edit replaced. */
const undo = Effect.fnUntraced(function*(world: World, clients: Clients, { id, key, lost, lostSide, table }: Conflict) {
  const name = rowName(table, key)
  const refused = yield* written(world, clients, lostSide, `a person undoes the edit of ${name}`)(restoreConflict(id))
  if (!refused) {
    expect(
      world,
      isLike(rowsOf(world, lostSide).get(name) ?? null, lost),
      `${name}: undone, an edit left something else.`
    )
  }
})

const written =
  (world: World, clients: Clients, side: Side, said: string) =>
  (program: ReturnType<typeof restoreConflict> | ReturnType<typeof editConflict>) =>
    Effect.gen(function*() {
      let failed = ""
      yield* clients.noting(
        side,
        said,
        Effect.map(outcome(world, program), (how) => {
          failed = how
          return how
        })
      )
      return failed !== ""
    })

const chanceValues = (chance: Chance, { table }: Conflict, point: string): Row => ({
  [tokenColumn[table.name]!]: `${point} ${chance.below(10)}`,
  ...(table.name === perfis.name && chance.of(0.3) ? { email: chance.pick([null, "x@y", "z@y"]) } : {})
})

/** All that a decision could change. */
const stateOf = Effect.fnUntraced(function*(world: World) {
  const pending = new Set<string>()
  for (const side of sides) {
    for (const table of names) {
      for (const { key } of yield* world.servers[side].pending(table)) pending.add(`${side} ${rowName(table, key)}`)
    }
  }
  return {
    rows: { replit: rowsOf(world, "replit"), external: rowsOf(world, "external") },
    pending,
    journal: yield* fromBoth(world, (database) => database.conflicts({ limit: 10_000 }))
  }
})

type State = Effect.Effect.Success<ReturnType<typeof stateOf>>

const same = (one: State, other: State) => told(one) === told(other)

const told = ({ journal, pending, rows }: State) =>
  JSON.stringify([[...rows.replit], [...rows.external], [...pending], journal])

const keptOf = ({ journal }: State, id: string) => journal.find((one) => one.id === id)?.keptAt ?? null

/** The stamp is the change's own. */
const isLike = (row: Row | null, wanted: Row | null) => withoutStamp(row) === withoutStamp(wanted)

const withoutStamp = (row: Row | null) =>
  row === null
    ? null
    : JSON.stringify(Object.entries({ ...row, updated_at: null }).filter(([, value]) => value !== null).toSorted())

const expect = ({ wrong }: World, holds: boolean, problem: string) => {
  if (!holds) wrong.push(problem)
}
