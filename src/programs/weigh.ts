/** What applying one side's changes of a table would take away on the other: asked batch by batch, and nothing is applied. */
import { Clock, Effect } from "effect"
import type { Key, SyncedTable } from "../domain/SyncedTable.ts"
import type { SyncError } from "../domain/SyncError.ts"
import type { Claim, ClaimRequest, Contested, Database, Phase, Selected, Weighed } from "../services/Database.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { isMarked } from "./Allowance.ts"
import { resolve } from "./resolve.ts"

export interface Weighing {
  readonly from: Database
  readonly to: Database
  readonly table: SyncedTable
  readonly phase: Phase
  readonly only: Selected
}

/**
 * `onWeighed` is told of each batch and may act on it: the claim is given up by then. Batches find their size by
 * themselves, for rows may be wide.
 */
export const weigh = Effect.fn("weigh")(function*<E, R>(
  weighing: Weighing,
  onWeighed: (found: Weighed) => Effect.Effect<void, E, R>
) {
  const { only, phase } = weighing
  const { batchRowsMax } = yield* SyncConfig
  let after: Key | null = null
  let rows = Math.min(batchRowsMax, rowsAtFirst)
  while (true) {
    const startedMs = yield* Clock.currentTimeMillis
    const tried: Batch | null | "too long" = yield* weighBatch(weighing, { _tag: "Next", phase, after, rows, only })
      .pipe(
        Effect.catchIf((error) => isTooLong(error) && rows > 1, () => Effect.succeed("too long" as const))
      )
    if (tried === null) return
    if (tried === "too long") {
      rows = Math.ceil(rows / 4)
      continue
    }
    yield* onWeighed(tried.found)
    if (!tried.more) return
    after = tried.after
    const tookMs = (yield* Clock.currentTimeMillis) - startedMs
    rows = Math.max(1, Math.min(batchRowsMax, Math.ceil(rows * Math.min(4, batchMs / Math.max(1, tookMs)))))
  }
})

/** What is weighed of one side's changes: the parts, one after the other. */
export interface Part {
  readonly phase: Phase
  readonly only: Selected
  /** Old keys of rows that are there under another one: no deletes, but overwrites where the other side changed the row. */
  readonly isOldKeys: boolean
}

/** `moved`: the side has changed keys. `mayConflict`: the other side has changes that these may meet. */
export const partsOf = (
  range: Selected,
  { mayConflict, moved }: { readonly moved: boolean; readonly mayConflict: boolean }
): ReadonlyArray<Part> => [
  // Looking for old keys of moved rows costs each claim a look at the whole queue.
  { phase: "deletes", only: moved ? { ...range, vanished: true } : range, isOldKeys: false },
  ...(moved && mayConflict
    ? [{ phase: "deletes", only: { ...range, vanished: false }, isOldKeys: true } satisfies Part]
    : []),
  ...(mayConflict ? [{ phase: "upserts", only: range, isOldKeys: false } satisfies Part] : [])
]

interface Batch extends Pick<Claim, "after" | "more"> {
  readonly found: Weighed
}

const weighBatch = ({ from, table, to }: Weighing, request: ClaimRequest) =>
  Effect.scoped(Effect.gen(function*() {
    const claim = yield* from.claim(table, request)
    if (claim === null) return null
    const verdict = resolve(table, from.side)
    const isOverwrite = (contested: Contested) => verdict(contested) === "overwrite" && !isMarked(contested)
    const found = yield* to.weigh(table, claim, isOverwrite)
    return { found, after: claim.after, more: claim.more } satisfies Batch
  }))

const isTooLong = (error: SyncError): boolean => error._tag === "Contended" && error.reason === "statement-timeout"

const rowsAtFirst = 500
const batchMs = 1_000
