/**
 * What most cycles move, and all that live mode does: few rows, both directions at once, in three steps for all of it
 * (claim, apply, acknowledge). What it leaves (many rows, contested or refused ones) goes by phases, as `propagate` does it.
 */
import { Effect, Either } from "effect"
import type { Side } from "../domain/Side.ts"
import { opposite, sides } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { display } from "../domain/TableName.ts"
import type { Applied, Database, Few, Many } from "../services/Database.ts"
import { type Allowance, permitOf } from "./Allowance.ts"
import { databases } from "./databases.ts"

export interface FewOptions {
  /** Which sides' changes may go like this. */
  readonly from: ReadonlyArray<Side>
  /** Rows may be deleted: no other table that has something to move is tied to this one by a foreign key. */
  readonly deletes: boolean
  readonly allowances: Readonly<Record<Side, Allowance>> | undefined
  readonly batchRowsMax: number
  readonly onMoved: (side: Side, applied: Applied, keys: number) => Effect.Effect<void>
}

/** What `few` did. */
export interface FewMoved {
  /** The sides of which everything is through. */
  readonly through: ReadonlyArray<Side>
  /** How long a row is that waits on a side, where that was seen. */
  readonly rowBytes: Readonly<Record<Side, number | null>>
}

export const noneMoved: FewMoved = { through: [], rowBytes: { replit: null, external: null } }

export const few = Effect.fn("few")(function*(table: SyncedTable, options: FewOptions) {
  const both = yield* databases
  yield* Effect.annotateCurrentSpan("vaivem.table", display(table.name))
  const claims = yield* Effect.all(
    options.from.map((side) =>
      both[side].claimFew(table).pipe(
        orByPhases<Many>({ _tag: "Many", rowBytes: null }),
        Effect.map((claimed) => ({ side, claimed }))
      )
    ),
    { concurrency: 2 }
  )
  const through = claims.filter(({ claimed }) => claimed === "none").map(({ side }) => side)
  const found = claims.flatMap(({ claimed, side }) =>
    claimed !== "none" && claimed._tag === "Few" ? [{ side, claimed }] : []
  )
  const rowBytesOf = (side: Side) => {
    const claimed = claims.find((claim) => claim.side === side)?.claimed ?? "none"
    return claimed !== "none" && claimed._tag === "Many" ? claimed.rowBytes : null
  }
  const rowBytes = { replit: rowBytesOf("replit"), external: rowBytesOf("external") }
  // A key that is claimed on both sides must not be on its way in both directions at once.
  if (found.length === 2 && !areApart(found.map(({ claimed }) => claimed))) return { through, rowBytes }
  const going = found.filter(({ claimed: { deletes, rows } }) =>
    (deletes === 0 || options.deletes) && rows <= options.batchRowsMax
  )
  return { through: [...through, ...(yield* move(table, going, options))], rowBytes } satisfies FewMoved
})

const areApart = (claims: ReadonlyArray<Few>): boolean => {
  const all = claims.flatMap(({ keys }) => keys ?? [])
  return claims.every(({ keys }) => keys !== null) && new Set(all).size === all.length
}

interface Going {
  readonly side: Side
  readonly claimed: Few
}

/**
 * Returns the sides of which all is through. Like any batch it can't be interrupted. Both sides are acknowledged when both have
 * been applied: a connection to each is enough then, and opening another one takes longer than all of this.
 */
const move = (table: SyncedTable, going: ReadonlyArray<Going>, { allowances, onMoved }: FewOptions) =>
  Effect.gen(function*() {
    const both = yield* databases
    const tried = yield* Effect.all(
      going.map((one) => Effect.either(applied(both[opposite(one.side)], table, one, allowances?.[one.side]))),
      { concurrency: 2 }
    )
    const bytes = tried.reduce((sum, one) => sum + (Either.getOrNull(one)?.applied.bytes ?? 0), 0)
    yield* Effect.annotateCurrentSpan("vaivem.bytes", bytes)
    const settled = yield* Effect.all(
      tried.flatMap((one) => Either.isRight(one) && one.right !== null ? [one.right] : []).map(
        ({ applied, claimed, side }) =>
          claimed.acknowledge(applied.kept).pipe(
            Effect.zipRight(onMoved(side, applied, claimed.rows - applied.kept.length)),
            Effect.as(applied.kept.length === 0 ? [side] : []),
            orByPhases([])
          )
      ),
      { concurrency: 2 }
    )
    yield* Effect.all(tried)
    return settled.flat()
  }).pipe(
    Effect.uninterruptible,
    Effect.withSpan("batch", {
      attributes: {
        "vaivem.table": display(table.name),
        "vaivem.from": going.map(({ side }) => side).join(", "),
        "vaivem.rows": going.reduce((sum, { claimed: { rows } }) => sum + rows, 0)
      },
      captureStackTrace: false
    })
  )

/** Null where it is to go by phases. */
const applied = (to: Database, table: SyncedTable, { claimed, side }: Going, allowance: Allowance | undefined) =>
  Effect.scoped(Effect.gen(function*() {
    const permit = yield* permitOf(allowance)
    if (claimed.deletes > 0 && !permit.takeDeletes(claimed.deletes)) return null
    const applied = yield* to.applyFew(table, claimed)
    permit.use()
    return { side, claimed, applied }
  })).pipe(orByPhases(null))

const orByPhases = <B>(otherwise: B) => <A, R>(self: Effect.Effect<A, SyncError, R>) =>
  Effect.catchIf(self, isLeft, ({ message }) =>
    Effect.as(
      Effect.logDebug("Few rows go as many do").pipe(Effect.annotateLogs({ reason: message })),
      otherwise
    ))

/** What the ordinary way finds out more about: it halves, judges again, or says what is wrong with the table. */
const isLeft = ({ _tag }: SyncError): boolean =>
  _tag === "RowRefused" || _tag === "Contended" || _tag === "SchemaDrifted" || _tag === "ActionNeeded"

/** Whether a foreign key ties the table to another of these. */
export const isTied = (table: SyncedTable, others: ReadonlyArray<SyncedTable>): boolean =>
  others.some((other) => other !== table && (pointsAt(table, other) || pointsAt(other, table)))

const pointsAt = (table: SyncedTable, other: SyncedTable): boolean =>
  sides.some((side) => table.shapes[side].parents.some((parent) => display(parent) === display(other.name)))
