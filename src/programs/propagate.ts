/**
 * Moves what is pending on one side to the other, in bounded batches (promises 2, 4, 7, 8, 9). `push` and `pull` are
 * this program with the databases swapped.
 *
 * It knows the order of a batch (claim, apply, acknowledge) and how to find the row that spoils one. It knows nothing
 * of SQL, of which tables there are, or of quarantine: what is refused is returned, and judged when the cycle ends.
 */
import { Clock, Deferred, Effect, Fiber, Random, Stream } from "effect"
import type { Key, SyncedTable } from "../domain/SyncedTable.ts"
import { type Contended, RowRefused, type SyncError } from "../domain/SyncError.ts"
import { display } from "../domain/TableName.ts"
import type { Applied, ApplyOptions, Claim, ClaimRequest, Database, Phase, Seed } from "../services/Database.ts"
import { type Allowance, permitOf } from "./Allowance.ts"
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
  /** How long a row is in the wire form, if that is known. */
  readonly rowBytes?: number | null
  /**
   * Tables in a circle of foreign keys with this one that have upserts pending too: their rows come along in the first
   * batch, which is the largest for that.
   */
  readonly circle?: ReadonlyArray<SyncedTable>
  /** Only changes up to this one, which a person approved. */
  readonly upTo?: bigint | undefined
  /** What the brake lets through without another look; without it, anything. */
  readonly allowance?: Allowance | undefined
  /** Told of every batch when it is through, and how many keys that were: what comes after may fail. */
  readonly onMoved?: (applied: Applied, keys: number) => Effect.Effect<void>
}

/** What a pass over a route did. */
export interface Propagated {
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
  readonly conflicts: number
  readonly bytes: number
  readonly refused: ReadonlyArray<RefusedRow>
  /** Nothing at all is left of what was pending when the last batch was claimed: no changes of the other phase either. */
  readonly exhausted: boolean
  /** The pass ended early, because more than `refusalsMax` rows were refused; the rest waits for the next cycle. */
  readonly cutShort: boolean
}

/**
 * Passes once over the pending keys of a route, in key order, until none is left of those that were pending when the
 * last batch was claimed.
 *
 * Batches overlap: while the target merges one, the source claims the next, whose rows are staged already when its turn
 * comes. A batch that doesn't get through discards the one read ahead.
 *
 * A refused batch is halved until the row is found, which then is left pending; the batch grows again afterwards. So
 * is one that waits for an open transaction of the app, whose row the next cycle tries again. The
 * batch in hand can't be interrupted (the servers' statement time-outs bound it); the one read ahead can.
 */
export const propagate = Effect.fn("propagate")(function*(route: Route, options: PropagateOptions) {
  const total = new Total(options.onMoved)
  const { allowance } = options
  const only = options.upTo === undefined ? {} : { only: { upTo: options.upTo } }
  let at: Position = { after: null, place: null }
  const rowsAtFirst = Math.min(options.batchRowsMax, firstRows(route, options.rowBytes ?? null))
  let rows = rowsAtFirst
  if (options.circle !== undefined && options.circle.length > 0) {
    rows = options.batchRowsMax
    const request = { _tag: "Next", phase: route.phase, after: null, rows, ...only } satisfies ClaimRequest
    const seeds = options.circle.map((table) => seedOf(route.from, table, request))
    const first = yield* batch(route, request, { locks: "wait", total, seeds, allowance })
    if (first._tag === "Empty" || first._tag === "Over") return total.get()
    // What can't pass like this goes as if there were no circle.
    if (first._tag === "Moved") at = { after: first.at.after, place: null }
    if (first._tag === "Moved" && !first.more) return total.get()
    rows = first._tag === "Moved" ? Math.min(nextRows(first), options.batchRowsMax) : rowsAtFirst
  }
  let locks: ApplyOptions["locks"] = "wait"
  // Rows that pass unique values on to each other can pass if they are in one batch: once, the largest is tried.
  let widened = false
  let exhausted = options.circle === undefined || options.circle.length === 0
  const next = () => ({ _tag: "Next", phase: route.phase, ...at, rows, ...only }) satisfies ClaimRequest
  let ahead: Started | null = null
  while (true) {
    const started: Started = ahead ?? (yield* start(route, next(), { locks, total, allowance }))
    const { request } = started
    const claimed = yield* Deferred.await(started.claimed)
    exhausted = exhausted && claimed?.whole === true
    // A claim that isn't full was the last, most likely: another connection for what comes after isn't worth opening.
    const mayGoOn = claimed?.more === true && (claimed.rows === request.rows || claimed.place !== undefined)
    ahead = claimed !== null && mayGoOn && locks === "wait"
      ? yield* start(
        route,
        { ...request, ...positionOf(claimed), rows },
        { locks, total, allowance, turn: Deferred.await(started.merged) }
      )
      : null
    const discardAhead = Effect.suspend(() => {
      const discarded = ahead
      ahead = null
      return discarded === null ? Effect.void : Fiber.interrupt(discarded.fiber)
    })
    const result: BatchResult = yield* batch(
      route,
      request,
      { locks, total, allowance },
      Effect.tapError(Fiber.join(started.fiber), () => discardAhead)
    )
    if (result._tag !== "Moved") yield* discardAhead
    exhausted = exhausted && result._tag === "Moved" && result.applied.kept.length === 0
    // What comes over the brake's limit while a cycle runs stays pending, for the next one to look at.
    if (result._tag === "Empty" || result._tag === "Over") return total.get()
    if (result._tag === "TooLong") {
      if (request.rows === 1) return yield* result.error
      rows = Math.ceil(request.rows / 4)
      continue
    }
    if (result._tag === "Refused" && !widened && isUniqueViolation(result.error) && result.rows === request.rows) {
      widened = true
      rows = options.batchRowsMax
      if (rows > request.rows) continue
    }
    if (result._tag === "Blocked") locks = "skip"
    if ((result._tag === "Refused" || result._tag === "Blocked") && result.rows > 1) {
      rows = Math.ceil(result.rows / 2)
      continue
    }
    at = result.at
    if (result._tag === "Blocked") locks = "wait"
    if (result._tag === "Refused" && total.refuse({ key: result.last, error: result.error }) >= refusalsMax) {
      return total.get({ cutShort: true })
    }
    // An app that goes on writing would keep a pass going that asks until nothing is there any more.
    if (!result.more) return total.get({ exhausted })
    if (result._tag === "Moved") rows = Math.min(nextRows(result), options.batchRowsMax)
  }
}, Effect.scoped)

/** Tries exactly these keys, by halves where some are refused again. */
export const propagateKeys = Effect.fn("propagateKeys")(function*(
  route: Route,
  keys: ReadonlyArray<Key>,
  options: Pick<PropagateOptions, "onMoved"> = {}
) {
  const total = new Total(options.onMoved)
  const queue: Array<ReadonlyArray<Key>> = keys.length === 0 ? [] : [keys]
  while (queue.length > 0) {
    const some = queue.shift()!
    const result: BatchResult = yield* batch(route, { _tag: "Keys", phase: route.phase, keys: some }, {
      locks: "wait",
      total
    })
    if (result._tag === "TooLong" && some.length === 1) return yield* result.error
    if (result._tag === "Moved" || result._tag === "Empty" || result._tag === "Over") continue
    if (result._tag === "Blocked" && some.length === 1) continue
    if (result._tag === "Refused" && some.length === 1) total.refuse({ key: some[0]!, error: result.error })
    else queue.unshift(some.slice(0, some.length / 2), some.slice(some.length / 2))
  }
  return total.get()
})

/**
 * Tries these keys in one batch, with keys of other tables that stand in a circle of foreign keys with this one coming
 * along. All or nothing: says whether they are through.
 */
export const propagateCircle = Effect.fn("propagateCircle")(function*(
  route: Route,
  keys: ReadonlyArray<Key>,
  circle: ReadonlyArray<{ readonly table: SyncedTable; readonly keys: ReadonlyArray<Key> }>,
  options: Pick<PropagateOptions, "onMoved"> = {}
) {
  const { from, phase } = route
  const seeds = circle.map(({ keys: others, table }) => seedOf(from, table, { _tag: "Keys", phase, keys: others }))
  const total = new Total(options.onMoved)
  const result = yield* batch(route, { _tag: "Keys", phase, keys }, { locks: "wait", total, seeds })
  return result._tag === "Moved"
})

/** Where a claim goes on. */
type Position = Required<Pick<Extract<ClaimRequest, { readonly _tag: "Next" }>, "after" | "place">>

const positionOf = ({ after, place }: Claim): Position => ({ after, place: place ?? null })

type BatchResult =
  | { readonly _tag: "Empty" }
  /** More deletes than the brake has looked at. */
  | { readonly _tag: "Over" }
  | {
    readonly _tag: "Moved"
    readonly rows: number
    readonly at: Position
    readonly more: boolean
    readonly applied: Applied
    /** What the batch took by itself, without the wait for its turn. */
    readonly tookMs: number
    /** Of that, how long its rows may have been locked on the target. */
    readonly lockedMs: number
  }
  | {
    readonly _tag: "Refused"
    readonly rows: number
    readonly last: Key
    readonly at: Position
    readonly more: boolean
    readonly error: RowRefused
  }
  /** Some row waits for a transaction of the app that can't be passed over: an insert of the same key, left open. */
  | { readonly _tag: "Blocked"; readonly rows: number; readonly at: Position; readonly more: boolean }
  /** A statement ran into its time-out: fewer rows may pass. */
  | { readonly _tag: "TooLong"; readonly error: Contended }

interface BatchOptions extends Pick<ApplyOptions, "seeds"> {
  readonly allowance?: Allowance | undefined
  readonly locks: ApplyOptions["locks"]
  /** Told of the batch in the moment that it is through. */
  readonly total: Total
}

/** A batch on its way in a fiber of its own: one try. */
interface Started {
  readonly request: Extract<ClaimRequest, { readonly _tag: "Next" }>
  /** What was claimed, as soon as the source said it; null when there was nothing, or when the claim failed. */
  readonly claimed: Deferred.Deferred<Claim | null>
  /** Done when the target has committed the batch, before the source has acknowledged it. */
  readonly merged: Deferred.Deferred<void>
  readonly fiber: Fiber.Fiber<BatchResult, SyncError>
}

const start = Effect.fnUntraced(function*(
  route: Route,
  request: Started["request"],
  options: BatchOptions & { readonly turn?: Effect.Effect<void> }
) {
  const claimed = yield* Deferred.make<Claim | null>()
  const merged = yield* Deferred.make<void>()
  const fiber = yield* once(route, request, {
    ...options,
    onClaimed: (claim) => Deferred.succeed(claimed, claim),
    onMerged: Deferred.succeed(merged, undefined)
  }).pipe(Effect.ensuring(Deferred.succeed(claimed, null)), Effect.forkScoped)
  return { request, claimed, merged, fiber } satisfies Started
})

/**
 * Claims, applies and acknowledges until that is through or hopeless; `firstTry` may be on its way already. Losing a
 * race with the app (a key inserted meanwhile, a deadlock) gives everything back and judges again from a new claim,
 * because what was read may be stale; a lock time-out goes on without the locked rows, which stay pending.
 */
const batch = Effect.fnUntraced(function*(
  route: Route,
  request: ClaimRequest,
  options: BatchOptions,
  firstTry?: Effect.Effect<BatchResult, SyncError>
) {
  let locks = options.locks
  let patient = false
  for (let attempt = 1;; attempt++) {
    const trying = attempt === 1 && firstTry !== undefined
      ? firstTry
      : once(route, patient ? { ...request, patient } : request, { ...options, locks, patient })
    const tried = yield* Effect.either(trying)
    if (tried._tag === "Right") return tried.right
    const error: SyncError = tried.left
    if (error._tag === "Contended" && error.reason === "statement-timeout") {
      // There is no smaller batch than one row: it gets more time, and if that isn't enough either, it is refused.
      if (patient || mostOf(request) > 1) return { _tag: "TooLong", error } satisfies BatchResult as BatchResult
      yield* Effect.logWarning("A row takes longer than a batch may; it is given a minute").pipe(
        Effect.annotateLogs({ table: display(route.table.name), reason: error.message })
      )
      patient = true
      continue
    }
    if (error._tag !== "Contended" || attempt === attemptsMax) return yield* error
    if (error.reason === "lock-timeout") locks = "skip"
    yield* Effect.sleep(`${(yield* Random.nextIntBetween(5, 50)) * attempt} millis`)
  }
})

const isTooLong = (error: SyncError): boolean => error._tag === "Contended" && error.reason === "statement-timeout"

/** How many rows it asks for. */
const mostOf = (request: ClaimRequest): number => request._tag === "Keys" ? request.keys.length : request.rows

interface TryOptions extends BatchOptions {
  readonly patient?: boolean
  /** The batch before this one has been merged. Until then this one is staged, holds no lock, and can be interrupted. */
  readonly turn?: Effect.Effect<void>
  readonly onClaimed?: (claim: Claim | null) => Effect.Effect<unknown>
  readonly onMerged?: Effect.Effect<unknown>
}

/** Read when the target asks for it, and given up at once: nothing of it is acknowledged by this batch. */
const seedOf = (from: Database, table: SyncedTable, request: ClaimRequest): Seed => ({
  table,
  stream: Stream.unwrapScoped(
    Effect.map(from.claim(table, request), (claim) => claim === null ? Stream.empty : claim.stream)
  )
})

const once = (
  route: Route,
  request: ClaimRequest,
  { allowance, locks, patient = false, seeds, total, ...options }: TryOptions
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.scoped(Effect.gen(function*() {
      const startedMs = yield* Clock.currentTimeMillis
      const claim = yield* route.from.claim(route.table, request)
      yield* options.onClaimed?.(claim) ?? Effect.void
      if (claim === null) return { _tag: "Empty" } satisfies BatchResult as BatchResult
      const permit = yield* permitOf(allowance)
      if (route.phase === "deletes" && !permit.takeDeletes(claim.rows)) {
        return { _tag: "Over" } satisfies BatchResult as BatchResult
      }
      let [waitedMs, stagedMs] = [0, startedMs]
      const turn = Effect.gen(function*() {
        const sinceMs = yield* Clock.currentTimeMillis
        yield* restore(options.turn ?? Effect.void)
        stagedMs = yield* Clock.currentTimeMillis
        waitedMs = stagedMs - sinceMs
      })
      const applied = yield* route.to.apply(route.table, claim, {
        judge: permit.judging(resolve(route.table, route.from.side)),
        locks,
        patient,
        seeds: seeds ?? [],
        turn
      }).pipe(
        Effect.catchTag("RowRefused", (error) => Effect.succeed(error)),
        Effect.catchIf((error) => patient && isTooLong(error), () => Effect.succeed(tooSlow(route))),
        Effect.catchIf(
          (error) => locks === "skip" && error._tag === "Contended" && error.reason === "lock-timeout",
          () => Effect.succeed(null)
        )
      )
      const { last, more, rows } = claim
      const at = positionOf(claim)
      if (applied === null) return { _tag: "Blocked", rows, at, more } satisfies BatchResult as BatchResult
      if ("_tag" in applied) {
        return { _tag: "Refused", rows, last, at, more, error: applied } satisfies BatchResult as BatchResult
      }
      permit.use()
      yield* options.onMerged ?? Effect.void
      const lockedMs = (yield* Clock.currentTimeMillis) - stagedMs
      yield* claim.acknowledge(applied.kept)
      yield* total.add(applied, rows - applied.kept.length)
      const tookMs = (yield* Clock.currentTimeMillis) - startedMs - waitedMs
      yield* Effect.annotateCurrentSpan({ "vaivem.rows": rows, "vaivem.bytes": applied.bytes })
      yield* Effect.logDebug("Moved a batch").pipe(
        Effect.annotateLogs({
          table: display(route.table.name),
          from: route.from.side,
          rows,
          bytes: applied.bytes,
          tookMs,
          lockedMs,
          waitedMs
        })
      )
      return { _tag: "Moved", rows, at, more, applied, tookMs, lockedMs } satisfies BatchResult as BatchResult
    }))
  ).pipe(Effect.withSpan("batch", {
    attributes: {
      "vaivem.table": display(route.table.name),
      "vaivem.from": route.from.side,
      "vaivem.phase": route.phase
    },
    captureStackTrace: false
  }))

const tooSlow = ({ table, to }: Route) =>
  new RowRefused({
    side: to.side,
    table: table.name,
    sqlState: "57014",
    constraint: null,
    message:
      "the row could not be read, sent and written in a minute: it is too large for this network and these servers, "
      + "or a trigger on it takes too long"
  })

/**
 * A batch's rows should be locked on the target for no longer than about a second (promise 9): in proportion to how long they
 * were in the last one, at most eight times as many. All of it, over a network some ten round trips more, may take four. While
 * batches grew by all that they took, they stayed at 500 rows at 40 ms each way: 20,000 rows took 6.6 s longer than 20 do.
 * Wide rows bound it by bytes.
 */
const nextRows = ({ applied: { bytes }, lockedMs, rows, tookMs }: Extract<BatchResult, { readonly _tag: "Moved" }>) => {
  const byTime = Math.ceil(rows * Math.min(8, lockedMax / Math.max(1, lockedMs), batchMax / Math.max(1, tookMs)))
  const byBytes = Math.floor(batchBytes / Math.max(1, bytes / rows))
  return Math.max(1, Math.min(byTime, byBytes))
}

/**
 * Few at first where nobody knows yet how wide the rows are, or what the target's own triggers do with them. Rows that point at
 * each other should travel in one batch.
 */
const firstRows = ({ table, to }: Route, rowBytes: number | null): number => {
  if (Object.values(table.shapes).some(({ selfReferencing }) => selfReferencing)) return Infinity
  const { afterTriggers, beforeTriggers, rules } = table.shapes[to.side]
  const isPlain = afterTriggers.length + beforeTriggers.length + rules.length === 0
  if (rowBytes === null || !isPlain) return batchRowsStart
  return Math.max(batchRowsStart, Math.min(plainRowsStart, Math.floor(bytesStart / Math.max(1, rowBytes))))
}

const isUniqueViolation = ({ sqlState }: RowRefused): boolean => sqlState === "23505"

const batchRowsStart = 500
/** Locked for a third of a second at 15 µs a row. */
const plainRowsStart = 20_000
const bytesStart = 16_000_000
const batchBytes = 32_000_000
const lockedMax = 1_000
const batchMax = 4_000
const attemptsMax = 6
/** Most rows that one pass may find refused: finding one costs about two batches. */
const refusalsMax = 100

class Total {
  private sum = { inserted: 0, updated: 0, deleted: 0, conflicts: 0, bytes: 0 }
  private refused: Array<RefusedRow> = []

  private readonly onMoved: PropagateOptions["onMoved"]

  constructor(onMoved: PropagateOptions["onMoved"]) {
    this.onMoved = onMoved
  }

  add(applied: Applied, keys: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      for (const name of ["inserted", "updated", "deleted", "conflicts", "bytes"] as const) {
        this.sum[name] += applied[name]
      }
      return this.onMoved?.(applied, keys) ?? Effect.void
    })
  }

  refuse(row: RefusedRow): number {
    return this.refused.push(row)
  }

  get({ cutShort = false, exhausted = false } = {}): Propagated {
    return { ...this.sum, refused: [...this.refused], cutShort, exhausted }
  }
}
