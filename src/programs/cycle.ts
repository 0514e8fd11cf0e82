/**
 * One cycle: ask both sides, take the lease if there is anything to do, set up what changed, move what is pending,
 * purge old history. Retries what may pass by itself; knows nothing about when the next cycle is.
 */
import { Clock, DateTime, Duration, Effect, Option, Ref, Schedule, ScheduleDecision } from "effect"
import { isPaused, pausedOf, type Pauses } from "../domain/pauses.ts"
import { duration, list } from "../domain/Quantity.ts"
import type { Side } from "../domain/Side.ts"
import { label, sides } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { ActionNeeded, LeaseTaken, needsPerson, WorldRefused } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import { isRenewalDone, noTokens, type Renewal, timeTravel, type Tokens } from "../domain/Tokens.ts"
import type { Answer, Lease, Moved } from "../services/Database.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { brake, countTo } from "./brake.ts"
import { onBoth } from "./databases.ts"
import { follow } from "./follow.ts"
import { type Enter, holding } from "./holding.ts"
import { makeMeter, type Meter } from "./Meter.ts"
import { pairProblem } from "./pair.ts"
import type { Paused, Tally, Work } from "./pass.ts"
import { emptyTally, pass } from "./pass.ts"
import { RandomId } from "./RandomId.ts"
import { scan } from "./scan.ts"
import type { Known, ReadyTable, SetUp } from "./setup.ts"
import { refuseSameDatabase, setup } from "./setup.ts"
import { idWarnings } from "./splitIds.ts"
import { makeRenewals, refuseTimeTravel, renewAfterFailure, tokensOf } from "./timeTravel.ts"
import type { Wakes } from "./wakes.ts"

export interface CycleOptions {
  /** How long retries may go on before the cycle fails with the last error. */
  readonly retryFor: Duration.DurationInput
  /** Wait for the lease as long as for anything else, or leave this cycle to the copy that has it. */
  readonly lease: "wait" | "skip"
  /** Nothing is due when another copy finished a cycle less than this ago; 0 always runs. */
  readonly notBefore: Duration.DurationInput
  /** What is announced while the cycle has the lease is moved at once. */
  readonly wakes?: Wakes
  /** Something was announced, so this will be no idle cycle: both sides are asked at once. */
  readonly woken?: boolean
  /** Moves changes of this table alone. For other copies of the service that is no cycle: theirs is due as before. */
  readonly only?: TableName
}

export interface CycleReport {
  /** `not-due`: another copy of the service has just done the work; `standby`: it is at it. */
  readonly outcome: "idle" | "moved" | "not-due" | "standby"
  /** How long ago the last cycle of any copy ended, milliseconds; null before the first. */
  readonly finishedAgoMs: number | null
  readonly push: Moved
  readonly pull: Moved
  readonly durationMs: number
  /** Tables of which a row was written, or a conflict decided. */
  readonly movedTables: ReadonlyArray<string>
  /** Tables that wait for a person, and why. */
  readonly paused: ReadonlyArray<Paused>
  /** Keys in quarantine on both sides, after the cycle. */
  readonly quarantined: number
  /** Told once per process: columns that don't travel and the like. */
  readonly warnings: ReadonlyArray<string>
  readonly cutShort: ReadonlyArray<string>
  /** Queues that were folded since the last cycle, because nobody read them: sentences. */
  readonly folded: ReadonlyArray<string>
  /** Tables set up or reconciled by this cycle. */
  readonly setUp: ReadonlyArray<ReadyTable>
  /** All tables that are set up. */
  readonly ready: ReadonlyArray<SyncedTable>
}

export type Cycle = (
  options: CycleOptions
) => Effect.Effect<CycleReport, SyncError, ReplitDb | ExternalDb | SyncConfig>

/** Makes a cycle that remembers from one run to the next what both catalogs said. One per process. */
export const makeCycle = Effect.gen(function*() {
  const memory: Memory = {
    holder: yield* RandomId,
    ready: yield* Ref.make<Ready | null>(null),
    spent: yield* makeMeter
  }
  const cycle: Cycle = (options) =>
    Effect.gen(function*() {
      const startedMs = yield* Clock.currentTimeMillis
      const tally = yield* Ref.make(emptyTally)
      const { cycleMax } = yield* SyncConfig
      const done = yield* attempt(memory, options, tally).pipe(
        retrying(options.retryFor),
        within(cycleMax),
        Effect.tapError((error) => noteFailure(startedMs, tally, error))
      )
      yield* Effect.annotateCurrentSpan("vaivem.outcome", done.outcome)
      return { ...done, durationMs: (yield* Clock.currentTimeMillis) - startedMs }
      // A trace of its own: the service's would never end.
    }).pipe(Effect.withSpan("cycle", { root: true }))
  return cycle
})

/** The batch in hand can't be interrupted; what it waits for is bounded by itself. */
const within = (limit: Duration.Duration) => <A, R>(self: Effect.Effect<A, SyncError, R>) =>
  Duration.isFinite(limit) ? Effect.timeoutFail(self, { duration: limit, onTimeout: () => tookTooLong(limit) }) : self

const tookTooLong = (limit: Duration.Duration) =>
  new WorldRefused({
    sqlState: null,
    message:
      `The cycle took longer than ${duration(Duration.toMillis(limit))} (SYNC_CYCLE_MAX) and was ended. What it moved `
      + "stays, and the next one goes on with the rest. If it was at work all the time, allow more; else look at what the "
      + "databases waited for in pg_stat_activity."
  })

/** Exponential from 200 ms to 10 s with jitter; the error's own class says whether another try is worth it. */
export const retrying = (limit: Duration.DurationInput) => <A, R>(self: Effect.Effect<A, SyncError, R>) =>
  Effect.retry(self, {
    while: isWorthAnotherTry,
    schedule: Schedule.exponential("200 millis", 1.6).pipe(
      Schedule.either(Schedule.spaced("10 seconds")),
      Schedule.jittered,
      // Effect's test clock counts whole milliseconds only.
      Schedule.delayed((delay) => Duration.millis(Math.round(Duration.toMillis(delay)))),
      Schedule.upTo(limit),
      Schedule.intersect(Schedule.identity<SyncError>()),
      Schedule.onDecision(([, error], decision) =>
        ScheduleDecision.isContinue(decision) && isWorthAnotherTry(error)
          ? Effect.logWarning("Trying again").pipe(Effect.annotateLogs({ reason: error.message }))
          : Effect.void
      )
    )
  })

const isWorthAnotherTry = (error: SyncError): boolean => !needsPerson(error)

interface Memory {
  readonly holder: string
  readonly ready: Ref.Ref<Ready | null>
  readonly spent: Meter
}

/** What the last `setup` of this process found, and what both sides answered then about the tables. */
interface Ready extends Pick<SetUp, "names" | "tables" | "paused"> {
  readonly states: Readonly<Record<Side, string>> | null
}

const attempt = Effect.fn("attempt")(function*(memory: Memory, options: CycleOptions, tally: Ref.Ref<Tally>) {
  const config = yield* SyncConfig
  const replit = yield* ReplitDb
  const external = yield* ExternalDb
  yield* memory.spent.visited
  const known = yield* Ref.get(memory.ready)
  yield* scan(known?.tables.map(({ table }) => table) ?? [])
  const reads = {
    afterMs: config.abandonedAfter === null ? null : Duration.toMillis(config.abandonedAfter),
    queueMax: config.queueMax
  }
  const askTheirs = Effect.tap(
    external.ask({ ...questionTo("external", known, config), reads }),
    tellFolded("external", tally)
  )
  const askOurs = (otherSideIdle: boolean) =>
    Effect.flatMap(memory.spent.since, (spent) =>
      replit.ask({
        ...questionTo("replit", known, config),
        reads,
        ...(options.only === undefined
          ? { note: { holder: memory.holder, otherSideIdle, notBeforeMs: Duration.toMillis(options.notBefore), spent } }
          : {})
      }).pipe(
        Effect.tap((ours) => memory.spent.noted(ours.installed && options.only === undefined ? spent : null)),
        Effect.tap(tellFolded("replit", tally))
      ))
  const answers = options.woken === true
    ? yield* Effect.all({ external: askTheirs, replit: askOurs(false) }, { concurrency: 2 })
    : yield* Effect.flatMap(askTheirs, (theirs) =>
      Effect.map(
        askOurs(known !== null && isIdle(theirs)),
        (ours): Answers => ({ replit: ours, external: theirs })
      ))
  const { external: theirs, replit: ours } = answers
  if (ours.notDue) return report("not-due", yield* Ref.get(tally), known, answers, null)
  yield* checkPair(answers)
  const fitting = known === null ? null : whatFits(known, answers)
  const isKnown = fitting === "all"
  const told = ours.installed && theirs.installed
    ? { replit: ours.tokens, external: theirs.tokens }
    : { replit: noTokens, external: noTokens }
  const asLeft = timeTravel(told) === null
  // A cycle that was broken off is ended, although nothing is left to move: only then is a restore to its middle told.
  if (asLeft && isRenewalDone(told) && isKnown && sides.every((side) => isIdle(answers[side], ours.pauses))) {
    // The question has noted a cycle in which nothing waits at all.
    const isNoted = options.only !== undefined || sides.every((side) => isIdle(answers[side]))
    if (!isNoted) yield* replit.finish(null)
    const paused = pausedOf(ours.pauses, known?.tables.map(({ table }) => table) ?? [])
    return report("idle", { ...yield* Ref.get(tally), paused }, known, answers, null)
  }
  const done = yield* holding((enter, release) =>
    Effect.gen(function*() {
      // Asked one after the other, they may have been asked in the middle of another copy's renewal; now they aren't.
      const tokens = asLeft ? told : yield* tokensOf
      yield* refuseTimeTravel(tokens)
      return yield* underLease(memory, answers, fitting, tally, tokens, { enter, release, ...options })
    })
  )
  if (Option.isSome(done)) return done.value
  if (options.lease === "skip") return report("standby", yield* Ref.get(tally), known, answers, null)
  return yield* new LeaseTaken({ message: "Another copy of vaivem is syncing this pair right now." })
})

/** A table that was asked for by name and can't be synced now. */
const notReady = (only: TableName, { paused }: Ready) =>
  new ActionNeeded({
    table: only,
    message: paused.find(({ table }) => table === display(only))?.problem
      ?? `${display(only)} is none of the tables that are synced: add it to SYNC_TABLES.`
  })

interface Answers {
  readonly replit: Answer
  readonly external: Answer
}

const underLease = Effect.fn("underLease")(function*(
  memory: Memory,
  before: Answers,
  fitting: Known | "all" | null,
  tally: Ref.Ref<Tally>,
  tokens: Readonly<Record<Side, Tokens>>,
  { enter, only, release, wakes }: Pick<CycleOptions, "only" | "wakes"> & {
    readonly enter: Enter
    readonly release: Lease["release"]
  }
) {
  const config = yield* SyncConfig
  const replit = yield* ReplitDb
  const external = yield* ExternalDb
  const startedMs = yield* Clock.currentTimeMillis
  const setUp = fitting === "all" ? null : yield* setUpNow(memory, fitting)
  // What was installed or paired just now had no epoch to check.
  if (setUp !== null) yield* enter
  if (setUp !== null) yield* scan(setUp.tables.map(({ table }) => table))
  const askAgain = (renewals?: Readonly<Record<Side, Renewal>>) =>
    Effect.flatMap(Ref.get(memory.ready), (known) =>
      onBoth((database) =>
        database.ask({
          ...questionTo(database.side, known, config),
          ...(renewals === undefined ? {} : { renewal: renewals[database.side] })
        })
      ))
  // What a set-up marked or adopted is pending now, and wasn't when we asked.
  const answers = setUp === null ? before : yield* askAgain()
  if (setUp !== null) yield* noteStates(memory, answers)
  const ready = (yield* Ref.get(memory.ready))!
  const all = ready.tables.map(({ table }) => table)
  const { pauses } = answers.replit
  const isMeant = ({ name }: SyncedTable) => only === undefined || display(only) === display(name)
  if (only !== undefined && !all.some(isMeant)) return yield* notReady(only, ready)
  const work = workOf(ready, answers).filter(({ table }) => isMeant(table) && !isPaused(pauses, table.name))
  const braked = yield* brake(work, all, answers)
  yield* Ref.update(
    tally,
    (now) => ({ ...now, paused: [...now.paused, ...pausedOf(pauses, all), ...braked.paused] })
  )
  // A database on which nothing may be installed keeps no token.
  const renewals = config.externalCapture === "timestamp" ? null : yield* makeRenewals(tokens)
  // Beside the few rows that most cycles move.
  const announced = yield* Effect.cached(
    renewals === null
      ? Effect.void
      : onBoth((database) => database.ask({ tables: [], renewal: renewals.announced[database.side] }))
  )
  yield* Effect.all([
    announced,
    Effect.zipRight(
      pass(braked.work, tally, { batchRowsMax: config.batchRowsMax, beforePhases: announced }),
      wakes === undefined ? Effect.void : follow(wakes, braked.later, tally, config)
    )
  ], { concurrency: 2, discard: true })
  const moved = yield* Ref.get(tally)
  // What a paused table applied may not be acknowledged yet, and its history is what says so.
  const paused = new Set(moved.paused.map(({ table }) => table))
  const through = all.map(({ name }) => name).filter((name) => !paused.has(display(name)))
  const kept = {
    historyMs: Duration.toMillis(config.retention),
    conflictsMs: Duration.toMillis(config.keepConflicts)
  }
  const run = yield* runOf(startedMs, moved, null)
  const [ours, theirs] = yield* Effect.all([
    replit.finish(run, renewals?.taken.replit, { whole: only === undefined }),
    external.purge(through, kept, renewals?.taken.external),
    replit.purge(through, kept)
  ], { concurrency: 3 })
  const areTaken = renewals !== null && ours.renewed && theirs.renewed
  // What is left is to look, and to forget old tokens, which nobody else's renewal minds.
  const [after] = yield* Effect.all([askAgain(areTaken ? renewals.settled : undefined), release], { concurrency: 2 })
  return report(somethingMoved(moved) ? "moved" : "idle", moved, ready, after, setUp)
})

/** A queue that nobody read was folded: no change is lost by that, but monitoring lacks the steps between. */
const tellFolded = (side: Side, tally: Ref.Ref<Tally>) => ({ folded }: Answer) => {
  if (folded === null) return Effect.void
  const text = `Nobody had read the changes on ${label(side)} since ${folded.since}: of ${
    list(folded.folded.map(display))
  }, capture kept the newest change of each row and dropped older ones. Rows arrive as they are now.`
  return Effect.zipRight(
    Effect.logWarning("Queue folded").pipe(
      Effect.annotateLogs({ side, tables: folded.folded.map(display).join(", "), reason: text })
    ),
    Ref.update(tally, (now) => ({ ...now, folded: [...now.folded, text] }))
  )
}

/** Names that aren't known yet, as a wildcard's before the first set-up, are not asked about. */
const questionTo = (side: Side, known: Ready | null, config: SyncConfig["Type"]) => ({
  tables: known?.names ?? config.tables,
  schemas: config.schemas,
  known: known?.states?.[side] ?? null,
  countTo: countTo(config.brake)
})

/** Remembers what an idle cycle compares with, if that is what `setup` left. */
const noteStates = (memory: Memory, answers: Answers) =>
  Ref.update(memory.ready, (ready) => {
    if (ready === null) return null
    const isAsLeft = answers.replit.installed && answers.external.installed
      && ready.tables.every((table) => isAsItWas(table, rowsOf(answers)))
    return {
      ...ready,
      states: isAsLeft ? { replit: answers.replit.state, external: answers.external.state } : null
    }
  })

const setUpNow = Effect.fn("setUpNow")(function*(memory: Memory, known: Known | null) {
  const config = yield* SyncConfig
  if (!config.autoSetup) {
    return yield* new ActionNeeded({
      message: "The databases are not set up for these tables, or a table changed, and SYNC_AUTO_SETUP is false. "
        + "Run `setup` first."
    })
  }
  const strict = (yield* Ref.get(memory.ready)) === null
  const setUp = yield* setup({ createMissing: false, strict, known })
  yield* Ref.set(memory.ready, { names: setUp.names, tables: setUp.tables, paused: setUp.paused, states: null })
  if (!strict) return setUp
  return { ...setUp, warnings: [...setUp.warnings, ...(yield* idWarnings(setUp.tables.map(({ table }) => table)))] }
})

/**
 * What of that which this process knows is still what is there: fingerprints, capture and contracts. `all` when there is
 * nothing to set up, null when nothing of it can be relied on.
 */
const whatFits = (known: Ready, answers: Answers): Known | "all" | null => {
  if (!sides.every((side) => answers[side].installed && answers[side].identity !== null)) return null
  const isSame = known.states !== null && sides.every((side) => known.states?.[side] === answers[side].state)
  // A paused table may fit again; whether it does, costs one inspection of it.
  if (isSame) return known.paused.length === 0 ? "all" : known
  // An answer that left tables out, because that side is as it was, says nothing against them.
  const rows = rowsOf(answers)
  const isUnchanged = (side: Side) => known.states?.[side] === answers[side].state
  const tables = known.tables.filter((table) => isAsItWas(table, rows, isUnchanged))
  return { tables }
}

type Rows = Readonly<Record<Side, ReadonlyMap<string, Answer["tables"][number]>>>

const rowsOf = (answers: Answers): Rows => ({ replit: byName(answers.replit), external: byName(answers.external) })

const byName = ({ tables }: Answer) => new Map(tables.map((row) => [display(row.name), row]))

const isAsItWas = (
  { contract, fingerprints, table }: ReadyTable,
  rows: Rows,
  isUnchanged: (side: Side) => boolean = () => false
): boolean =>
  sides.every((side) => {
    if (isUnchanged(side)) return true
    const found = rows[side].get(display(table.name))
    return found !== undefined && found.contract === contract && found.fingerprint !== null
      && found.fingerprint === fingerprints[side] && found.fingerprint === found.captured
  })

/** Nothing is to be moved, but perhaps of tables that are paused. */
const isIdle = (answer: Answer, pauses: Pauses = []): boolean =>
  answer.installed && answer.tables.every(({ due, name, pending }) => !pending && due === 0 || isPaused(pauses, name))

const checkPair = Effect.fn("checkPair")(function*({ external, replit }: Answers) {
  if (pairProblem({ replit: replit.identity, external: external.identity }) === null) return
  // The two were asked one after the other: another copy's first cycle may have paired them in between.
  const problem = pairProblem(yield* onBoth((database) => database.identity))
  if (problem === null) return
  // One database behind both URLs looks like a swapped or a wrong one, too.
  yield* refuseSameDatabase
  return yield* new ActionNeeded({ message: problem })
})

const workOf = (ready: Ready, answers: Answers): ReadonlyArray<Work> => {
  const rows = rowsOf(answers)
  return ready.tables.flatMap(({ table }) => {
    const [replit, external] = [rows.replit.get(display(table.name)), rows.external.get(display(table.name))]
    const work: Work = {
      table,
      pending: { replit: replit?.pending ?? false, external: external?.pending ?? false },
      quarantined: { replit: (replit?.quarantined ?? 0) > 0, external: (external?.quarantined ?? 0) > 0 }
    }
    return Object.values(work.pending).includes(true) || Object.values(work.quarantined).includes(true) ? [work] : []
  })
}

const report = (
  outcome: CycleReport["outcome"],
  tally: Tally,
  ready: Ready | null,
  answers: Answers,
  setUp: SetUp | null
): Omit<CycleReport, "durationMs"> => ({
  outcome,
  finishedAgoMs: answers.replit.finishedAgoMs,
  push: tally.push,
  pull: tally.pull,
  movedTables: [...tally.movedTables],
  paused: [...(ready?.paused ?? []), ...tally.paused],
  quarantined: sides.reduce(
    (sum, side) => sum + answers[side].tables.reduce((inner, { quarantined }) => inner + quarantined, 0),
    0
  ),
  warnings: setUp?.warnings ?? [],
  cutShort: tally.cutShort,
  folded: tally.folded,
  setUp: setUp?.tables ?? [],
  ready: ready?.tables.map(({ table }) => table) ?? []
})

const somethingMoved = ({ pull, push }: Tally): boolean =>
  [push, pull].some(({ conflicts, deleted, inserted, quarantined, updated }) =>
    inserted + updated + deleted + conflicts + quarantined > 0
  )

const runOf = (startedMs: number, tally: Tally, error: SyncError | null) =>
  Effect.map(Clock.currentTimeMillis, (nowMs) =>
    error === null && !somethingMoved(tally) ? null : ({
      startedAt: DateTime.formatIso(DateTime.unsafeMake(startedMs)),
      durationMs: nowMs - startedMs,
      outcome: error === null ? "ok" as const : "failed" as const,
      push: tally.push,
      pull: tally.pull,
      error: error?.message ?? null
    }))

/**
 * A failed cycle is noted in `vaivem.runs` if Replit can be reached; that it can't may be the failure itself. What it
 * applied before must not be undone by a restore without being told.
 */
const noteFailure = Effect.fn("noteFailure")(function*(startedMs: number, tally: Ref.Ref<Tally>, error: SyncError) {
  if (error._tag === "Unavailable" && error.side === "replit" || error._tag === "LeaseTaken") return
  const replit = yield* ReplitDb
  const moved = yield* Ref.get(tally)
  yield* replit.finish(yield* runOf(startedMs, moved, error)).pipe(
    tellInDebug(`The failure could not be noted on ${label("replit")}`)
  )
  if (somethingMoved(moved)) {
    yield* renewAfterFailure.pipe(tellInDebug("The tokens could not be renewed after the failure"))
  }
})

const tellInDebug = (what: string) => <A, R>(self: Effect.Effect<A, SyncError, R>) =>
  Effect.catchAll(
    self,
    ({ message }) => Effect.logDebug(what).pipe(Effect.annotateLogs({ reason: message }))
  )
