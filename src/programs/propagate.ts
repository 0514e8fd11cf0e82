/**
 * Moves what is pending on one side to the other, in bounded batches (promises 2, 4, 7, 8, 9). `push` and `pull` are
 * this program with the databases swapped.
 *
 * It knows the order of a batch (claim, apply, acknowledge) and how to find the row that spoils one. It knows nothing
 * of SQL, of which tables there are, or of quarantine: what is refused is returned, and judged when the cycle ends.
 */
import { Clock, Effect, Random } from "effect"
import type { Key, SyncedTable } from "../domain/SyncedTable.ts"
import type { Contended, RowRefused, SyncError } from "../domain/SyncError.ts"
import type { Applied, ApplyOptions, ClaimRequest, Database, Phase } from "../services/Database.ts"
import { resolve } from "./resolve.ts"

/** One table on its way from one side to the other. */
export interface Route {
  readonly from: Database
  readonly to: Database
  readonly table: SyncedTable
  readonly phase: Phase
}

/** A pending row that the other side refused, and why. */
export interface RefusedRow {
  readonly key: Key
  readonly error: RowRefused
}

export interface PropagateOptions {
  readonly batchRowsMax: number
  /** Told of every batch when it is through: what comes after may fail. */
  readonly onMoved?: (applied: Applied) => Effect.Effect<void>
}

/** What a pass over a route did. */
export interface Propagated {
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
  readonly conflicts: number
  readonly bytes: number
  readonly refused: ReadonlyArray<RefusedRow>
  /** The pass ended early, because more than `refusalsMax` rows were refused; the rest waits for the next cycle. */
  readonly cutShort: boolean
}

/**
 * Passes once over the pending keys of a route, in key order, until none is left.
 *
 * A refused batch is halved until the row is found, which then is left pending; the batch grows again afterwards. So
 * is one that waits for an open transaction of the app, whose row the next cycle tries again. The
 * batch in hand can't be interrupted (the servers' statement time-outs bound it); between batches the pass can.
 */
export const propagate = Effect.fn("propagate")(function*(route: Route, options: PropagateOptions) {
  const total = new Total()
  let after: Key | null = null
  const shapes = [route.table.shapes.replit, route.table.shapes.external]
  let rows = shapes.some(({ selfReferencing }) => selfReferencing)
    ? options.batchRowsMax
    : Math.min(options.batchRowsMax, batchRowsStart)
  let locks: ApplyOptions["locks"] = "wait"
  while (true) {
    const startedMs = yield* Clock.currentTimeMillis
    const result: BatchResult = yield* batch(route, { _tag: "Next", phase: route.phase, after, rows }, locks)
    if (result._tag === "Empty") return total.get()
    if (result._tag === "TooLong") {
      if (rows === 1) return yield* result.error
      rows = Math.ceil(rows / 4)
      continue
    }
    if (result._tag === "Blocked") locks = "skip"
    if ((result._tag === "Refused" || result._tag === "Blocked") && result.rows > 1) {
      rows = Math.ceil(result.rows / 2)
      continue
    }
    after = result.after
    if (result._tag === "Blocked") {
      locks = "wait"
      continue
    }
    if (result._tag === "Refused") {
      if (total.refuse({ key: result.last, error: result.error }) >= refusalsMax) return total.get(true)
      continue
    }
    total.add(result.applied)
    yield* options.onMoved?.(result.applied) ?? Effect.void
    const tookMs = (yield* Clock.currentTimeMillis) - startedMs
    rows = Math.min(nextRows(rows, result.rows, result.applied.bytes, tookMs), options.batchRowsMax)
    yield* Effect.logDebug("Moved a batch").pipe(
      Effect.annotateLogs({ from: route.from.side, rows: result.rows, bytes: result.applied.bytes })
    )
  }
})

/** Tries exactly these keys, by halves where some are refused again. */
export const propagateKeys = Effect.fn("propagateKeys")(function*(
  route: Route,
  keys: ReadonlyArray<Key>,
  options: Pick<PropagateOptions, "onMoved"> = {}
) {
  const total = new Total()
  const queue: Array<ReadonlyArray<Key>> = keys.length === 0 ? [] : [keys]
  while (queue.length > 0) {
    const some = queue.shift()!
    const result: BatchResult = yield* batch(route, { _tag: "Keys", phase: route.phase, keys: some })
    if (result._tag === "Moved") {
      total.add(result.applied)
      yield* options.onMoved?.(result.applied) ?? Effect.void
    }
    if (result._tag === "TooLong" && some.length === 1) return yield* result.error
    if (result._tag === "Moved" || result._tag === "Empty") continue
    if (result._tag === "Blocked" && some.length === 1) continue
    if (result._tag === "Refused" && some.length === 1) total.refuse({ key: some[0]!, error: result.error })
    else queue.unshift(some.slice(0, some.length / 2), some.slice(some.length / 2))
  }
  return total.get()
})

type BatchResult =
  | { readonly _tag: "Empty" }
  | { readonly _tag: "Moved"; readonly rows: number; readonly after: Key; readonly applied: Applied }
  | {
    readonly _tag: "Refused"
    readonly rows: number
    readonly last: Key
    readonly after: Key
    readonly error: RowRefused
  }
  /** Some row waits for a transaction of the app that can't be passed over: an insert of the same key, left open. */
  | { readonly _tag: "Blocked"; readonly rows: number; readonly after: Key }
  /** A statement ran into its time-out: fewer rows may pass. */
  | { readonly _tag: "TooLong"; readonly error: Contended }

/**
 * Claims, applies and acknowledges once. Losing a race with the app (a key inserted meanwhile, a deadlock) gives
 * everything back and judges again from a new claim, because what was read may be stale; a lock time-out goes on
 * without the locked rows, which stay pending.
 */
const batch = Effect.fn("batch")(function*(
  route: Route,
  request: ClaimRequest,
  locksAtFirst: ApplyOptions["locks"] = "wait"
) {
  let locks = locksAtFirst
  for (let attempt = 1;; attempt++) {
    const tried = yield* Effect.either(once(route, request, locks))
    if (tried._tag === "Right") return tried.right
    const error: SyncError = tried.left
    if (error._tag === "Contended" && error.reason === "statement-timeout") {
      return { _tag: "TooLong", error } satisfies BatchResult as BatchResult
    }
    if (error._tag !== "Contended" || attempt === attemptsMax) return yield* error
    if (error.reason === "lock-timeout") locks = "skip"
    yield* Effect.sleep(`${(yield* Random.nextIntBetween(5, 50)) * attempt} millis`)
  }
})

const once = (route: Route, request: ClaimRequest, locks: ApplyOptions["locks"]) =>
  Effect.gen(function*() {
    const claim = yield* route.from.claim(route.table, request)
    if (claim === null) return { _tag: "Empty" } satisfies BatchResult as BatchResult
    const judge = resolve(route.table, route.from.side)
    const applied = yield* route.to.apply(route.table, claim, { judge, locks }).pipe(
      Effect.catchTag("RowRefused", (error) => Effect.succeed(error)),
      Effect.catchIf(
        (error) => locks === "skip" && error._tag === "Contended" && error.reason === "lock-timeout",
        () => Effect.succeed(null)
      )
    )
    const { after, last, rows } = claim
    if (applied === null) return { _tag: "Blocked", rows, after } satisfies BatchResult as BatchResult
    if ("_tag" in applied) {
      return { _tag: "Refused", rows, last, after, error: applied } satisfies BatchResult as BatchResult
    }
    yield* claim.acknowledge(applied.kept)
    return { _tag: "Moved", rows, after, applied } satisfies BatchResult as BatchResult
  }).pipe(Effect.scoped, Effect.uninterruptible)

/**
 * A transaction on the target should take about a second (promise 9): halve what took longer than 1.5 s, and go up by
 * fours as long as it takes less than a third of one. Wide rows bound it by bytes.
 */
const nextRows = (wanted: number, rows: number, bytes: number, tookMs: number): number => {
  if (tookMs > 1_500) return Math.max(Math.ceil(rows / 2), 1)
  const byBytes = Math.max(1, Math.floor(batchBytes / Math.max(1, bytes / rows)))
  return Math.min(tookMs < 350 ? wanted * 4 : wanted, byBytes)
}

/** Small at first: nobody knows yet how wide the rows are. */
const batchRowsStart = 500
const batchBytes = 32_000_000
const attemptsMax = 6
/** Most rows that one pass may find refused: finding one costs about two batches. */
const refusalsMax = 100

class Total {
  private sum = { inserted: 0, updated: 0, deleted: 0, conflicts: 0, bytes: 0 }
  private refused: Array<RefusedRow> = []

  add(moved: Omit<Propagated, "refused" | "cutShort">) {
    for (const name of ["inserted", "updated", "deleted", "conflicts", "bytes"] as const) this.sum[name] += moved[name]
  }

  refuse(row: RefusedRow): number {
    return this.refused.push(row)
  }

  get(cutShort = false): Propagated {
    return { ...this.sum, refused: [...this.refused], cutShort }
  }
}
