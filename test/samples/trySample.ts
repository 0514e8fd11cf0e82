/**
 * One sample, one way: everything is carried over by the first cycle, then both sides are edited and synced in turn, and in
 * the end nothing waits and both are equal.
 */
import { Effect } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { display } from "../../src/domain/TableName.ts"
import type { EmbeddedPostgres } from "../../src/services/EmbeddedPostgres.ts"
import { compare, type Compared, differenceText } from "./comparing.ts"
import type { Dice } from "./Dice.ts"
import * as Editor from "./Editor.ts"
import { problemOf } from "./justify.ts"
import type { Step } from "./SampleFile.ts"
import * as SamplePair from "./SamplePair.ts"
import type { QuarantinedRow } from "./SampleProgram.ts"
import * as SampleProgram from "./SampleProgram.ts"
import type { Edits } from "./SampleWriter.ts"

export interface Tried {
  readonly tables: ReadonlyArray<TriedTable>
  /** What was not as it must be, a few lines each; empty when all is well. */
  readonly problems: ReadonlyArray<string>
}

export interface TriedTable {
  readonly table: string
  /** In the end, the same on both sides. */
  readonly rows: number
  readonly edits: Readonly<Record<Side, Edits>>
  readonly conflicts: number
  /** Different rows that were in quarantine at one time or another. */
  readonly quarantined: number
  readonly constraints: ReadonlyArray<string>
}

export interface TrySample {
  readonly steps: ReadonlyArray<Step>
  readonly way: SamplePair.Way
  readonly cycles: number
  /** Transactions of each side in a round. */
  readonly edits: number
  readonly dice: Dice
}

export const trySample = Effect.fn("trySample")(function*(
  servers: Readonly<Record<Side, EmbeddedPostgres>>,
  { cycles, dice, edits, steps, way }: TrySample
) {
  const pair = yield* SamplePair.make(servers, steps, way)
  const program = SampleProgram.make(pair)
  const problems: Array<string> = []
  const refused = new Map<string, QuarantinedRow>()

  const look = Effect.fnUntraced(function*(when: string) {
    const waiting = yield* program.quarantine
    for (const entry of waiting) refused.set(`${entry.table} ${entry.from} ${JSON.stringify(entry.key)}`, entry)
    for (const found of yield* compare(pair)) {
      problems.push(...unexplained(found, waiting).map((it) => `${when}: ${it}`))
    }
    return waiting
  })

  yield* program.run(["setup", "--split-ids", ...(way.other === "none" ? ["--create-missing"] : [])], [0])
  yield* program.run(["--once"], [0])
  const first = yield* look("After the first cycle")
  problems.push(
    ...first.map(({ message, table }) => `After the first cycle: ${table} has a row in quarantine: ${message}`)
  )

  const editor = Editor.make(pair, dice)
  for (let cycle = 1; cycle <= cycles; cycle++) {
    yield* editor.round(edits)
    yield* program.run(["--once"], [0, 3])
    if (cycle % 4 !== 0 && cycle !== cycles) continue
    // What was postponed is due. A row whose obstacle went late in a cycle is tried again in the next one.
    yield* program.run(["quarantine", "retry"], [0])
    yield* program.run(["--once"], [0, 3])
    const wrong = yield* unjustified(pair, yield* program.quarantine)
    if (wrong.length > 0) yield* program.run(["--once"], [0, 3])
    const stillWrong = yield* unjustified(pair, yield* look(`After cycle ${cycle}`))
    problems.push(...stillWrong.map((problem) => `After cycle ${cycle}: ${problem}`))
  }

  yield* cure(pair, program, editor, dice, problems)
  const end = yield* compare(pair)
  for (const found of end) problems.push(...unexplained(found, []).map((it) => `In the end: ${it}`))
  // What the program itself says of it comes last, and must be the same.
  for (const command of ["--once", "verify"]) {
    yield* Effect.catchAll(program.run([command], [0]), ({ message }) => Effect.sync(() => problems.push(message)))
  }
  const conflicts = yield* conflictsOf(pair)
  return {
    problems,
    tables: end.map(({ rows, table }) => ({
      table: display(table.name),
      rows: rows.replit,
      edits: editor.edits(table),
      conflicts: conflicts.get(display(table.name)) ?? 0,
      quarantined: [...refused.values()].filter((entry) => entry.table === display(table.name)).length,
      constraints: [
        ...new Set(
          [...refused.values()].filter((entry) => entry.table === display(table.name)).map(({ constraint, sqlState }) =>
            constraint ?? String(sqlState)
          )
        )
      ]
    }))
  } satisfies Tried
}, Effect.scoped)

const unjustified = (pair: SamplePair.SamplePair, waiting: ReadonlyArray<QuarantinedRow>) =>
  Effect.map(
    Effect.forEach(waiting, (entry) => problemOf(pair, entry)),
    (problems) => problems.filter((problem) => problem !== null)
  )

/** Rows that differ or wait, and aren't in quarantine. */
const unexplained = (found: Compared, waiting: ReadonlyArray<QuarantinedRow>): ReadonlyArray<string> => {
  const name = display(found.table.name)
  const known = new Set(waiting.filter(({ table }) => table === name).map(({ key }) => JSON.stringify(key)))
  const differing = new Map([...found.differing].filter(([key]) => !known.has(key)))
  const pending = [...found.pending].filter((key) => !known.has(key))
  return [
    ...(differing.size > 0 ? [`${differing.size} rows differ:\n${differenceText({ ...found, differing })}`] : []),
    ...(pending.length > 0 ? [`${name}: ${pending.length} keys are pending: ${pending.slice(0, 5).join(" ")}`] : [])
  ]
}

/** Takes the causes away, by turns as an app's user and as an operator would, until nothing is refused any more. */
const cure = Effect.fnUntraced(function*(
  pair: SamplePair.SamplePair,
  program: SampleProgram.SampleProgram,
  editor: Editor.Editor,
  dice: Dice,
  problems: Array<string>
) {
  for (let round = 0; round < 40; round++) {
    const waiting = yield* program.quarantine
    if (waiting.length === 0) return
    for (const entry of waiting.slice(0, 5)) {
      const table = pair.tables.find(({ name }) => display(name) === entry.table)!
      if (dice.chance(0.4) && (yield* editor.remove(entry.from, table, entry.key))) continue
      // Two rows may hold each other's values on the two sides: whatever is discarded, they stay in each other's way.
      if (round > 8 && dice.chance(0.5) && (yield* editor.change(entry.from, table, entry.key))) continue
      yield* program.run(["quarantine", "discard", entry.id], [0])
    }
    yield* program.run(["quarantine", "retry"], [0])
    yield* program.run(["--once"], [0, 3])
  }
  problems.push(`In the end: ${(yield* program.quarantine).length} rows stay in quarantine, whatever is done`)
})

const conflictsOf = Effect.fnUntraced(function*(pair: SamplePair.SamplePair) {
  const counts = new Map<string, number>()
  for (const side of sides) {
    const found = yield* pair[side].app.query<{ schema: string; name: string; count: number }>(
      `select table_schema as schema, table_name as name, count(*) as count from vaivem.conflicts
       where reason in ('conflict', 'cascade') group by 1, 2`
    )
    for (const { count, ...name } of found) counts.set(display(name), (counts.get(display(name)) ?? 0) + count)
  }
  return counts
})
