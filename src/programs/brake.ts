/**
 * The brake: before anything of a table is applied, it finds out whether this cycle would delete, or overwrite in conflict,
 * more of it than `SYNC_BRAKE` allows, and holds the table until a person has approved or rejected that.
 *
 * It asks in three steps, each only if the one before left the question open: how many changes wait (part of every
 * cycle's one question), how many of them may take something away, and which rows that would really concern.
 */
import { Effect } from "effect"
import { brakeText, concernedText, isOver, largeEnough, type Limits, nothingGoes } from "../domain/brake.ts"
import { ancestors } from "../domain/parentsFirst.ts"
import { isPaused } from "../domain/pauses.ts"
import { list } from "../domain/Quantity.ts"
import type { Side } from "../domain/Side.ts"
import { label, opposite, sides } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import type { SyncError } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import type { Answer, Glance, Held, Holding, Selected } from "../services/Database.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import type { Allowance } from "./Allowance.ts"
import { databases, onBoth } from "./databases.ts"
import type { Paused, Way, Work } from "./pass.ts"
import { sayProgress } from "./sayProgress.ts"
import { partsOf, weigh } from "./weigh.ts"

/** What a cycle asks with its question: one change more than may go without a look. */
export const countTo = (limits: Limits | null): number => limits === null ? 0 : limits.rows + 1

/**
 * Looks at every table that has something to move, and says how much of it may. `all` are the tables that are synced; of
 * those that don't wait, `later` says how much may go in the rest of this cycle: what is left of the same allowances.
 * Tables that a person paused are none of the work, and are in neither.
 */
export const brake = Effect.fn("brake")(function*(
  work: ReadonlyArray<Work>,
  all: ReadonlyArray<SyncedTable>,
  answers: Readonly<Record<Side, Answer>>
) {
  const { brake: limits } = yield* SyncConfig
  const replit = yield* ReplitDb
  const rows = sides.flatMap((side) => answers[side].tables)
  const isEmptied = (table: SyncedTable) => rows.some((row) => row.emptied && isSame(row.name, table.name))
  const limitsOf = (table: SyncedTable) => isEmptied(table) ? nothingGoes : limits
  const isLong = ({ table }: Work) =>
    isEmptied(table)
    || (limits !== null && rows.some((row) => isSame(row.name, table.name) && row.waiting > limits.rows))
  const flagged = rows.filter(({ held }) => held).map(({ name }) => display(name))
  const notes = flagged.length > 0 || work.some(isLong) ? yield* replit.held : []
  const held: Array<{ readonly table: SyncedTable; readonly paused: Paused }> = []
  const paused: Array<Paused> = []
  const ways = new Map<SyncedTable, Way>()
  for (const one of work) {
    const { table } = one
    const limits = limitsOf(table)
    if (limits === null) continue
    const note = notes.find((other) => isSame(other.table, table.name))
    const looked: Looked = isLong(one)
      ? yield* look(table, limits, note).pipe(
        Effect.catchTags({ SchemaDrifted: unfit, ActionNeeded: unfit }),
        sayProgress(`Looking through what waits of ${display(table.name)}`)
      )
      : { holding: null, allowances: plain(limits) }
    if (looked.holding !== null) held.push({ table, paused: heldOf(table, looked.holding, limits) })
    if (looked.problem !== undefined) paused.push({ table: display(table.name), problem: looked.problem })
    const approved = looked.problem === undefined ? note?.approved ?? null : null
    ways.set(table, { approved, allowances: looked.allowances, withoutDeletes: false })
  }
  // Nothing can be said of a table that is not looked at, as one that is paused.
  const waiting = new Set([...held.map((one) => one.paused), ...paused].map(({ table }) => table))
  const freed = new Set(work.map(({ table }) => display(table.name)).filter((name) => !waiting.has(name)))
  for (const { since, table } of notes) {
    if (since !== null && freed.has(display(table))) yield* replit.releaseTable(table, false)
  }
  const isStopped = ({ name }: SyncedTable) => isPaused(answers.replit.pauses, name)
  const parents = ancestors([...held.map(({ table }) => table), ...all.filter(isStopped)], all)
  const isParent = ({ name }: SyncedTable) => parents.has(display(name))
  const mayGoOn = (name: string) => !waiting.has(name) && (freed.has(name) || !flagged.includes(name))
  const later = all.filter((table) => mayGoOn(display(table.name)) && !isStopped(table)).map((table): Work => {
    const one: Work = { table, pending: neither, quarantined: neither }
    if (limits === null && !isParent(table)) return one
    const allowances = ways.get(table)?.allowances ?? (limits === null ? unlimited() : plain(limits))
    // What was approved went first, in the pass that this is for.
    return Object.assign(one, { way: { approved: null, allowances, withoutDeletes: isParent(table) } })
  })
  return {
    later,
    paused: [
      ...paused,
      ...held.map(({ paused: { problem, table: name }, table }): Paused => {
        const above = [...ancestors([table], all)].filter((other) => other !== name)
        const along = above.length === 0 ? "" : ` Deletes of ${list(above)} wait with it.`
        return { table: name, problem: problem + along, held: true }
      })
    ],
    work: work.map((one): Work => {
      const withoutDeletes = isParent(one.table)
      const way = ways.get(one.table)
      if (way !== undefined) return { ...one, way: { ...way, withoutDeletes } }
      return withoutDeletes ? { ...one, way: { approved: null, allowances: unlimited(), withoutDeletes } } : one
    })
  }
})

const neither = { replit: false, external: false } as const

/** Why a table is held and what to do: the same words as long as it lasts, so that a service says them once. */
export const heldProblem = (table: string, holding: Holding, why: string): string => {
  const what = sides.flatMap((side) => concernedText(holding[side], label(opposite(side))) ?? [])
  return `${table} is held: ${list(what)} by one cycle, ${why}. Nothing of it is synced `
    + `until you say \`approve ${table}\`, which lets these changes through, or \`reject ${table}\`, which brings the rows `
    + "back from the other side."
}

/** Without allowances nothing of the table may go: it is held, or doesn't fit any more. */
interface Looked {
  readonly holding: Holding | null
  readonly allowances: Way["allowances"]
  readonly problem?: string
}

const unfit = ({ message }: SyncError): Effect.Effect<Looked> =>
  Effect.succeed({ holding: null, allowances: null, problem: message })

const look = Effect.fn("look")(function*(table: SyncedTable, limits: Limits, note: Held | undefined) {
  const replit = yield* ReplitDb
  const approved = note?.approved ?? { replit: 0n, external: 0n }
  const glances = yield* onBoth((database) => database.glance(table, approved[database.side]))
  // A later change may meet one that was approved and is still pending.
  const mayConflict = (side: Side) =>
    glances[side].changes > limits.rows && glances[opposite(side)].allChanges > limits.rows
  const suspects = sides.filter((side) => mayConflict(side) || glances[side].removals > limits.rows)
  if (suspects.length > 0 && note !== undefined && note.since !== null) {
    return { holding: note.holding, allowances: null } satisfies Looked as Looked
  }
  const found = { replit: none, external: none }
  for (const side of suspects) {
    const range = { after: approved[side], upTo: glances[side].newest, changed: true }
    found[side] = yield* concernedBy(table, side, range, glances[side].moves > 0, mayConflict(side))
  }
  const holding = yield* holdingOf(table, limits, found, glances)
  if (sides.some((side) => isOver(limits, found[side].deletes + found[side].overwrites, holding[side].rows))) {
    yield* replit.holdTable(table.name, holding)
    return { holding, allowances: null } satisfies Looked as Looked
  }
  const allowance = (side: Side): Allowance => ({
    // All that was looked at may go, old keys of changed ones among them, and as many more as would not have been.
    deletes: limits.rows + glances[side].allRemovals,
    overwrites: limits.rows + found[side].overwrites
  })
  const allowances = { replit: allowance("replit"), external: allowance("external") }
  return { holding: null, allowances } satisfies Looked as Looked
})

interface Found {
  readonly deletes: number
  readonly overwrites: number
}

const none: Found = { deletes: 0, overwrites: 0 }

const concernedBy = Effect.fn("concernedBy")(function*(
  table: SyncedTable,
  side: Side,
  range: Selected,
  anyMoved: boolean,
  mayConflict: boolean
) {
  const both = yield* databases
  let sum = none
  for (const { isOldKeys, only, phase } of partsOf(range, { moved: anyMoved, mayConflict })) {
    yield* weigh(
      { from: both[side], to: both[opposite(side)], table, phase, only },
      ({ deletes, overwrites }) =>
        Effect.sync(() => {
          sum = {
            deletes: sum.deletes + (isOldKeys ? 0 : deletes.length),
            overwrites: sum.overwrites + overwrites.length
          }
        })
    )
  }
  return sum
})

/** Rows are counted only where it matters, and no further than it matters. */
const holdingOf = Effect.fn("holdingOf")(function*(
  table: SyncedTable,
  limits: Limits,
  found: Readonly<Record<Side, Found>>,
  glances: Readonly<Record<Side, Glance>>
) {
  const both = yield* databases
  const of = (side: Side) => {
    const concerned = found[side].deletes + found[side].overwrites
    const rows = concerned > limits.rows
      ? both[opposite(side)].countRows(table, largeEnough(limits, concerned))
      : Effect.succeed(0)
    const { allChanges, newest, writers } = glances[side]
    return Effect.map(rows, (rows) => ({ ...found[side], rows, changeId: newest, changes: allChanges, writers }))
  }
  return { replit: yield* of("replit"), external: yield* of("external") } satisfies Holding
})

const plain = ({ rows }: Limits): NonNullable<Way["allowances"]> => ({
  replit: { deletes: rows, overwrites: rows },
  external: { deletes: rows, overwrites: rows }
})

/** The brake is off. */
const unlimited = (): NonNullable<Way["allowances"]> => plain({ rows: Infinity, percent: 0 })

const heldOf = (table: SyncedTable, holding: Holding, limits: Limits): Paused => ({
  table: display(table.name),
  problem: heldProblem(
    display(table.name),
    holding,
    limits === nothingGoes
      ? "for its table was found empty, which is never taken at its word"
      : `more than SYNC_BRAKE allows (${brakeText(limits)})`
  ),
  held: true
})

const isSame = (a: TableName, b: TableName): boolean => display(a) === display(b)
