/** Clean cycles, when nobody writes any more; then what is left is looked at. */
import { Duration, Effect } from "effect"
import { sides } from "../../src/domain/Side.ts"
import { isRenewalDone, timeTravel } from "../../src/domain/Tokens.ts"
import type { Cycle, CycleReport } from "../../src/programs/cycle.ts"
import type { Conflict, Quarantined } from "../../src/services/Database.ts"
import type { History } from "./History.ts"
import * as people from "./people.ts"
import { allRows, type BothRows, fromBoth, names, rowName, type World } from "./World.ts"

/** What is wrong with how it ended, a sentence each. */
export const aftermath = Effect.fnUntraced(function*(world: World, history: History, cycle: Cycle) {
  const { clock, databases, refusing, story } = world
  const clean = Effect.gen(function*() {
    const report = yield* world.run(cycle({ retryFor: "20 seconds", lease: "wait", notBefore: 0 }))
    story.push(`a clean cycle: ${said(report)}`)
    yield* clock.sleep(Duration.hours(1))
    return report
  })
  refusing.clear()
  yield* people.resumeAll(world)
  // What was held goes on once somebody says so; what was refused may pass then, and be held in its turn.
  for (let count = 0, free = 0; count < holdsMax && free < settling; count++) {
    yield* clean
    free = (yield* people.sayOfHeld(world, history, `held.${count}`)) ? 0 : free + 1
  }
  const reports: Array<CycleReport> = [yield* clean]
  // Quarantined rows are tried again, and one that passes may free others; without them two cycles are enough.
  const isRefused = Effect.map(
    fromBoth(world, (database) => database.quarantined(null)),
    (quarantined) => quarantined.length > 0
  )
  if (yield* isRefused) { for (let count = 0; count < 4; count++) reports.push(yield* clean) }
  const quarantined = yield* fromBoth(world, (database) => database.quarantined(null))
  const conflicts = yield* fromBoth(world, (database) => database.conflicts({ limit: 10_000 }))
  const rows = allRows(world)
  story.push(
    ...quarantined.map(toldRefusal),
    ...conflicts.map(toldConflict),
    ...sides.map((side) => toldRows(rows, side))
  )
  const held = new Set(quarantined.map(({ key, table }) => rowName(table, key)))
  const tokens = {
    replit: (yield* databases.replit.ask({ tables: [] })).tokens,
    external: (yield* databases.external.ask({ tables: [] })).tokens
  }
  return [
    ...differences(rows, held),
    ...(yield* leftPending(world, held)),
    ...history.problems(rows, conflicts),
    ...(timeTravel(tokens) === null && isRenewalDone(tokens) ? [] : ["The tokens of the two sides don't match."]),
    ...(reports.slice(-2).some(movesRows) ? ["Cycles go on moving rows although nobody writes."] : []),
    ...(yield* people.tryQuarantined(world, quarantined))
  ]
})

const differences = (rows: BothRows, held: ReadonlySet<string>): ReadonlyArray<string> =>
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

const movesRows = ({ pull, push }: CycleReport) =>
  [push, pull].some(({ conflicts, deleted, inserted, updated }) => conflicts + deleted + inserted + updated > 0)

/** A cycle's report, as the story tells it. */
export const said = ({ outcome, paused, pull, push, quarantined }: CycleReport): string =>
  `${outcome}, ${paused.map(({ table }) => `${table} held, `).join("")}push ${JSON.stringify(push)}, pull ${
    JSON.stringify(pull)
  }, ${quarantined} in quarantine`

const toldRefusal = ({ from, key, message, table }: Quarantined): string =>
  `in quarantine on ${from}: ${rowName(table, key)}: ${message}`

const toldConflict = ({ key, lost, lostSide, reason, table, won }: Conflict): string =>
  `journaled on ${lostSide} (${reason}): ${rowName(table, key)} ${JSON.stringify(lost)} for ${JSON.stringify(won)}`

const toldRows = (rows: BothRows, side: "replit" | "external"): string =>
  `in the end ${side} has ${[...rows[side]].map(([name, row]) => `${name} ${JSON.stringify(row)}`).join("; ")}`

/** Clean cycles after which one must move nothing. */
const settling = 2
/** A person who is asked this often has let everything through. */
const holdsMax = 20
