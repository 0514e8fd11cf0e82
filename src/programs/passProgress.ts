/** How far a pass has come: which table it moves, how many of its rows are through, and of how many. */
import { Clock, Effect, Ref, type Scope } from "effect"
import type { Progress } from "../domain/Progress.ts"
import { label, opposite } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import { display } from "../domain/TableName.ts"
import type { Database, Phase } from "../services/Database.ts"

export interface PassProgress {
  /** Rows of this table are next. */
  readonly begin: (from: Database, table: SyncedTable, phase: Phase) => Effect.Effect<void>
  /** So many more keys are through. */
  readonly moved: (rows: number) => Effect.Effect<void>
  /** Null before anything began. The first look at a table has its queue counted, which costs nothing while nobody looks. */
  readonly look: Effect.Effect<Progress | null, never, Scope.Scope>
}

interface Moving {
  readonly from: Database
  readonly table: SyncedTable
  readonly what: string
  readonly sinceMs: number
  readonly done: number
  readonly total: number | "not counted" | "being counted"
}

export const makePassProgress = Effect.gen(function*() {
  const now = yield* Ref.make<Moving | null>(null)
  const change = (what: (moving: Moving) => Partial<Moving>) =>
    Ref.update(now, (moving) => moving === null ? null : { ...moving, ...what(moving) })

  const count = Effect.fn("count")(function*({ done, from, sinceMs, table, what }: Moving) {
    const { allChanges, allRemovals, removals } = yield* from.glance(table, 0n)
    const marks = allRemovals - removals
    yield* change((moving) =>
      moving.what === what && moving.sinceMs === sinceMs ? { total: done + allChanges + marks } : {}
    )
  }, (self, { table }) =>
    // It is only for show: whatever is wrong will be the pass's own failure, or pass.
    Effect.catchAll(self, ({ message }) =>
      Effect.logDebug("A queue could not be counted").pipe(
        Effect.annotateLogs({ table: display(table.name), reason: message })
      )))

  return {
    begin: (from, table, phase) =>
      Effect.flatMap(Clock.currentTimeMillis, (sinceMs) =>
        Ref.set(now, {
          from,
          table,
          what: `${display(table.name)}${phase === "deletes" ? ", deletes" : ""} to ${label(opposite(from.side))}`,
          sinceMs,
          done: 0,
          total: "not counted"
        })),
    moved: (rows) => change(({ done }) => ({ done: done + rows })),
    look: Effect.gen(function*() {
      const moving = yield* Ref.get(now)
      if (moving === null) return null
      const { done, sinceMs, total, what } = moving
      if (total === "not counted") {
        yield* change(() => ({ total: "being counted" }))
        yield* Effect.forkScoped(count(moving))
      }
      return { what, sinceMs, rows: { done, total: typeof total === "number" ? total : null } }
    })
  } satisfies PassProgress as PassProgress
})
