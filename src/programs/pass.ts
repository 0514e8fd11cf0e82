/**
 * One pass over all tables in both directions: upserts parents first, deletes children first, then a second chance for
 * what was refused, and only then quarantine (promise 7).
 */
import { Array as Arr, Effect, Ref } from "effect"
import { parentsFirst } from "../domain/parentsFirst.ts"
import type { Side } from "../domain/Side.ts"
import { label, opposite, sides } from "../domain/Side.ts"
import type { Key, SyncedTable } from "../domain/SyncedTable.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { display } from "../domain/TableName.ts"
import { tangles } from "../domain/tangles.ts"
import type { Applied, Database, Moved, Phase } from "../services/Database.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import type { Allowance } from "./Allowance.ts"
import { few, type FewMoved, isTied, noneMoved } from "./few.ts"
import type { PassProgress } from "./passProgress.ts"
import { makePassProgress } from "./passProgress.ts"
import type { Propagated, RefusedRow, Route } from "./propagate.ts"
import { propagateCircle, propagateKeys } from "./propagate.ts"
import { pull } from "./pull.ts"
import { push } from "./push.ts"
import { sayProgress } from "./sayProgress.ts"

/** A table that may have something to move. */
export interface Work {
  readonly table: SyncedTable
  /** Which sides have pending changes of it. */
  readonly pending: Readonly<Record<Side, boolean>>
  /** Which sides have keys in quarantine. */
  readonly quarantined: Readonly<Record<Side, boolean>>
  /** What the brake says; without it everything may go. */
  readonly way?: Way
}

/** How much of a table may go in this pass, by the side whose changes they are. */
export interface Way {
  /** Changes up to these were approved by a person: they go first, and nothing is counted. */
  readonly approved: Readonly<Record<Side, bigint>> | null
  /** What may go of the rest; null when the table is held, and nothing may. */
  readonly allowances: Readonly<Record<Side, Allowance>> | null
  /** A table that points at this one is held, and a foreign key could take its rows along. */
  readonly withoutDeletes: boolean
}

/** What a cycle moved so far; kept in a `Ref`, so that a retry after a lost connection adds to it. */
export interface Tally {
  readonly push: Moved
  readonly pull: Moved
  /** Passes that stopped early because too many rows were refused. */
  readonly cutShort: ReadonlyArray<string>
  readonly paused: ReadonlyArray<Paused>
  /** Tables of which a row was written, or a conflict decided. */
  readonly movedTables: ReadonlySet<string>
  /** Sentences about queues that were folded. */
  readonly folded: ReadonlyArray<string>
}

/** A table that waits for a person. */
export interface Paused {
  readonly table: string
  readonly problem: string
  /** By the brake. */
  readonly held?: true
  /** A person said so: of this table, or of all. */
  readonly byHand?: "table" | "all"
}

const nothing: Moved = { inserted: 0, updated: 0, deleted: 0, conflicts: 0, quarantined: 0, bytes: 0 }

export const emptyTally: Tally = {
  push: nothing,
  pull: nothing,
  cutShort: [],
  paused: [],
  movedTables: new Set(),
  folded: []
}

export interface PassOptions {
  readonly batchRowsMax: number
  /**
   * Waited for before rows go by phases, in transactions that are open from claim to acknowledgement: none of these gets through
   * if `vaivem.pairs` is written meanwhile, for its epoch is looked at last.
   */
  readonly beforePhases?: Effect.Effect<unknown, SyncError, ReplitDb | ExternalDb>
}

/** Moves everything that is pending. A table that fails by its own shape pauses alone; the others go on. */
export const pass = Effect.fn("pass")(function*(
  work: ReadonlyArray<Work>,
  tally: Ref.Ref<Tally>,
  options: PassOptions
) {
  const progress = yield* makePassProgress
  yield* moveAll(work, tally, options, progress).pipe(sayProgress(progress.look))
})

const moveAll = Effect.fn("moveAll")(function*(
  work: ReadonlyArray<Work>,
  tally: Ref.Ref<Tally>,
  options: PassOptions,
  progress: PassProgress
) {
  const groups = parentsFirst(work.map(({ table }) => table))
  const upserts = groups.flat()
  const refused: Array<Refused> = []
  const unfit = new Set<SyncedTable>()
  const pendingOf = new Map(work.map(({ pending, table }) => [table, pending]))
  const wayOf = new Map(work.map(({ table, way }) => [table, way]))
  const isHeld = (table: SyncedTable) => wayOf.get(table)?.allowances === null
  const rowBytesOf = new Map<SyncedTable, FewMoved["rowBytes"]>()
  const left: Array<SyncedTable> = []
  for (const one of upserts.flatMap((table) => work.filter((other) => other.table === table))) {
    // Parents go first. What a changed key of theirs takes along here would be a change of this side if it came later.
    const { rowBytes, through } = isTied(one.table, left)
      ? noneMoved
      : yield* moveFew(one, upserts, tally, options, progress)
    rowBytesOf.set(one.table, rowBytes)
    const before = pendingOf.get(one.table)!
    const after = {
      replit: before.replit && !through.includes("replit"),
      external: before.external && !through.includes("external")
    }
    pendingOf.set(one.table, after)
    if (after.replit || after.external) left.push(one.table)
  }

  /** The other tables of a circle that have something pending on the side; only for the first of them. */
  const circleOf = (table: SyncedTable, side: Side): ReadonlyArray<SyncedTable> => {
    const group = groups.find((tables) => tables.includes(table)) ?? []
    const waiting = group.filter((other) =>
      pendingOf.get(other)?.[side] === true && !unfit.has(other) && !isHeld(other)
    )
    return waiting[0] === table ? waiting.slice(1) : []
  }
  /** Sides and tables of which the upserts' pass left nothing for that of the deletes, which costs three round trips. */
  const exhausted: Readonly<Record<Side, Set<SyncedTable>>> = { replit: new Set(), external: new Set() }
  yield* options.beforePhases ?? Effect.void
  for (const [phase, tables] of [["upserts", upserts], ["deletes", upserts.toReversed()]] as const) {
    for (const table of tables) {
      if (phase === "deletes" && wayOf.get(table)?.withoutDeletes === true) continue
      for (const side of ["replit", "external"] as const) {
        if (phase === "deletes" && exhausted[side].has(table)) continue
        for (const bounds of boundsOf(wayOf.get(table), side)) {
          if (pendingOf.get(table)?.[side] !== true || unfit.has(table)) continue
          yield* progress.begin(yield* database(side), table, phase)
          const moved = yield* pausing(table, tally, unfit)(
            (side === "replit" ? push : pull)(table, phase, {
              ...bounds,
              batchRowsMax: options.batchRowsMax,
              rowBytes: rowBytesOf.get(table)?.[side] ?? null,
              circle: phase === "upserts" ? circleOf(table, side) : [],
              onMoved: (applied, keys) => Effect.zipRight(count(tally, table, side, applied), progress.moved(keys))
            })
          )
          if (moved === null) continue
          if (moved.exhausted) exhausted[side].add(table)
          if (moved.cutShort) yield* noteCutShort(tally, table, side)
          if (moved.refused.length > 0) refused.push({ table, side, phase, rows: moved.refused })
        }
      }
    }
  }
  const circles = groups.filter((tables) => tables.length > 1)
  yield* secondChance(
    work.filter(({ table }) => !unfit.has(table) && !isHeld(table)),
    refused,
    circles,
    tally
  )
})

/** Moves a table's few rows, if they are few and nothing is special about it. */
const moveFew = Effect.fnUntraced(function*(
  { pending, quarantined, table, way }: Work,
  all: ReadonlyArray<SyncedTable>,
  tally: Ref.Ref<Tally>,
  { batchRowsMax }: { readonly batchRowsMax: number },
  progress: PassProgress
) {
  const isSpecial = way !== undefined && (way.allowances === null || way.approved !== null)
  const from = sides.filter((side) => pending[side])
  if (isSpecial || quarantined.replit || quarantined.external || from.length === 0) return noneMoved
  yield* progress.begin(yield* database(from[0]!), table, "upserts")
  return yield* few(table, {
    from,
    deletes: way?.withoutDeletes !== true && !isTied(table, all),
    allowances: way?.allowances ?? undefined,
    batchRowsMax,
    onMoved: (side, applied, keys) => Effect.zipRight(count(tally, table, side, applied), progress.moved(keys))
  })
})

/** The passes over one side's changes of a table: what was approved, then the rest, as far as it may go. */
const boundsOf = (
  way: Way | undefined,
  side: Side
): ReadonlyArray<{ readonly upTo?: bigint; readonly allowance?: Allowance }> => {
  if (way === undefined) return [{}]
  const approved = way.approved?.[side] ?? 0n
  return [
    ...(approved > 0n ? [{ upTo: approved }] : []),
    ...(way.allowances === null ? [] : [{ allowance: way.allowances[side] }])
  ]
}

interface Refused {
  readonly table: SyncedTable
  readonly side: Side
  readonly phase: Phase
  readonly rows: ReadonlyArray<RefusedRow>
}

/** Pauses the table, and only it, when its shape doesn't fit any more. */
const pausing =
  (table: SyncedTable, tally: Ref.Ref<Tally>, unfit: Set<SyncedTable>) =>
  <R>(moving: Effect.Effect<Propagated, SyncError, R>): Effect.Effect<Propagated | null, SyncError, R> =>
    Effect.catchTags(moving, {
      SchemaDrifted: (error) => pause(table, tally, unfit, error.message),
      ActionNeeded: (error) => pause(table, tally, unfit, error.message)
    })

const pause = (table: SyncedTable, tally: Ref.Ref<Tally>, unfit: Set<SyncedTable>, problem: string) =>
  Effect.zipRight(
    Ref.update(tally, (now) => ({ ...now, paused: [...now.paused, { table: display(table.name), problem }] })),
    Effect.sync(() => {
      unfit.add(table)
      return null
    })
  )

const count = (tally: Ref.Ref<Tally>, { name }: SyncedTable, side: Side, moved: Applied) =>
  Ref.update(tally, (now) => {
    const way = side === "replit" ? "push" : "pull"
    const { bytes, conflicts, deleted, inserted, updated } = now[way]
    const isMoved = moved.inserted + moved.updated + moved.deleted + moved.conflicts > 0
    return {
      ...now,
      movedTables: isMoved ? new Set([...now.movedTables, display(name)]) : now.movedTables,
      [way]: {
        ...now[way],
        inserted: inserted + moved.inserted,
        updated: updated + moved.updated,
        deleted: deleted + moved.deleted,
        conflicts: conflicts + moved.conflicts,
        bytes: bytes + moved.bytes
      }
    }
  })

const noteCutShort = (tally: Ref.Ref<Tally>, table: SyncedTable, side: Side) =>
  Ref.update(tally, (now) => ({
    ...now,
    cutShort: [
      ...now.cutShort,
      `${label(opposite(side))} refused more rows of ${display(table.name)} than one cycle looks for; `
      + "the rest waits for the next cycle."
    ]
  }))

/**
 * Refused rows and due quarantine get another try now that everything else is through, again and again as long as one
 * of them passes; what then is still refused goes to quarantine.
 */
const secondChance = Effect.fn("secondChance")(function*(
  work: ReadonlyArray<Work>,
  refused: ReadonlyArray<Refused>,
  circles: ReadonlyArray<ReadonlyArray<SyncedTable>>,
  tally: Ref.Ref<Tally>
) {
  let waiting: ReadonlyArray<Waiting> = [...refused.map(toWaiting), ...(yield* dueQuarantine(work, refused))]
  let still: ReadonlyArray<Refused> = []
  for (let round = 0; round < roundsMax && waiting.length > 0; round++) {
    const again: Array<Refused> = []
    for (const { groups, phase, side, table } of waiting) {
      const onMoved = (applied: Applied) => count(tally, table, side, applied)
      const way = yield* route(table, side, phase)
      const circle = circles.find((tables) => tables.includes(table)) ?? []
      const others = waiting.filter((other) =>
        other.table !== table && circle.includes(other.table) && other.side === side && other.phase === phase
      )
      if (phase === "upserts" && others.length > 0) {
        const along = others.map((other) => ({ table: other.table, keys: other.groups.flat() }))
        if (yield* propagateCircle(way, groups.flat(), along, { onMoved })) continue
      }
      const rows: Array<RefusedRow> = []
      for (const keys of groups) {
        // Backwards each time: a row that waits for the one behind it (positions that moved up by one) passes right after it.
        rows.push(...(yield* propagateKeys(way, keys.toReversed(), { onMoved })).refused)
      }
      if (rows.length > 0) again.push({ table, side, phase, rows })
    }
    still = again
    const next = together(again).map(toWaiting)
    if (JSON.stringify(next.map(({ groups }) => groups)) === JSON.stringify(waiting.map(({ groups }) => groups))) break
    waiting = next
  }
  for (const { rows, side, table } of together(still)) yield* quarantine(tally, table, side, rows)
})

interface Waiting {
  readonly table: SyncedTable
  readonly side: Side
  readonly phase: Phase
  /** Keys that are tried together, by halves if they are refused. */
  readonly groups: ReadonlyArray<ReadonlyArray<Key>>
}

/** Rows that stand in each other's way are tried as a group of their own; all others together. */
const toWaiting = ({ rows, ...rest }: Refused): Waiting => {
  const found = tangles(rows.map(({ error, key }) => ({ key, blockedBy: error.blockedBy })))
  const single = found.filter((keys) => keys.length === 1).flat()
  const tangled = found.filter((keys) => keys.length > 1)
  return { ...rest, groups: single.length > 0 ? [single, ...tangled] : tangled }
}

/** What was refused of one table on its way to one side, from quarantine or not. */
const together = (refused: ReadonlyArray<Refused>): ReadonlyArray<Refused> =>
  Object.values(Arr.groupBy(refused, ({ phase, side, table }) => `${phase} ${side} ${display(table.name)}`))
    .map((same) => {
      const [{ phase, side, table }] = same
      return { table, side, phase, rows: same.flatMap(({ rows }) => rows) }
    })

/** Due keys are tried in both phases: a claim of keys passes over those of the other phase. */
const dueQuarantine = Effect.fn("dueQuarantine")(function*(
  work: ReadonlyArray<Work>,
  refused: ReadonlyArray<Refused>
) {
  const due: Array<Waiting> = []
  for (const { quarantined, table, way } of work) {
    for (const side of ["replit", "external"] as const) {
      if (!quarantined[side]) continue
      const tried = new Set(
        refused
          .filter((other) => other.table === table && other.side === side)
          .flatMap(({ rows }) => rows.map(({ key }) => JSON.stringify(key)))
      )
      const keys = (yield* (yield* database(side)).due(table, dueMax)).filter((key) => !tried.has(JSON.stringify(key)))
      if (keys.length === 0) continue
      due.push({ table, side, phase: "upserts", groups: [keys] })
      if (way?.withoutDeletes !== true) due.push({ table, side, phase: "deletes", groups: [keys] })
    }
  }
  return due
})

const quarantine = Effect.fn("quarantine")(function*(
  tally: Ref.Ref<Tally>,
  table: SyncedTable,
  side: Side,
  rows: ReadonlyArray<RefusedRow>
) {
  yield* (yield* database(side)).quarantine(
    table,
    rows.map(({ error, key }) => ({
      key,
      sqlState: error.sqlState,
      message: error.message,
      constraint: error.constraint,
      blockedBy: error.blockedBy
    }))
  )
  const way = side === "replit" ? "push" : "pull"
  yield* Ref.update(tally, (now) => ({
    ...now,
    [way]: { ...now[way], quarantined: now[way].quarantined + rows.length }
  }))
})

const database = (side: Side): Effect.Effect<Database, never, ReplitDb | ExternalDb> =>
  side === "replit" ? ReplitDb : ExternalDb

const route = (table: SyncedTable, side: Side, phase: Phase): Effect.Effect<Route, never, ReplitDb | ExternalDb> =>
  Effect.map(
    Effect.all([database(side), database(opposite(side))]),
    ([from, to]) => ({ from, to, table, phase })
  )

const roundsMax = 8
const dueMax = 100
