/**
 * The service: a cycle now, and again an interval after each one's end, or when something wakes it, whatever happens to one
 * of them.
 *
 * It knows nothing of databases, and its retries are between cycles only: what may pass within one is tried again by
 * the cycle itself. Stopped, it lets the batch in hand finish, because batches can't be interrupted.
 */
import { Cause, Clock, Console, DateTime, Duration, Effect, Exit, Fiber, Option, Ref } from "effect"
import { type Before, nextPause, standbyPause } from "../domain/nextPause.ts"
import { duration } from "../domain/Quantity.ts"
import { failuresSaidEveryMs, Repeats } from "../domain/Repeats.ts"
import { isElsewhere } from "../domain/Summary.ts"
import type { ActionNeeded, SyncError } from "../domain/SyncError.ts"
import { display, type TableName } from "../domain/TableName.ts"
import { announce, setUpWarning, warn, warningsOf } from "./announce.ts"
import type { Cycle, CycleOptions, CycleReport } from "./cycle.ts"
import { leftBehind } from "./leftBehind.ts"
import type { Wakes } from "./wakes.ts"

export interface SuperviseOptions<R = never> {
  /** From the end of a cycle to the start of the next. */
  readonly interval: Duration.Duration
  /** In eco: how long that becomes while external has nothing new; see `nextPause`. */
  readonly maxInterval?: Duration.Duration | undefined
  /** Wakes it before its time. */
  readonly wakes?: Wakes | undefined
  /** Before each pause, whatever the cycle was like. */
  readonly leave?: Effect.Effect<void>
  /** What comes after a cycle that got through. */
  readonly afterwards?: (report: CycleReport) => Effect.Effect<void, never, R>
  /** Returns when a person wants the next cycle before its time. */
  readonly hurried?: Effect.Effect<void>
  /** Told before each pause when it will be over, by our own clock; something may wake it earlier. */
  readonly resting?: (untilMs: number) => Effect.Effect<void>
}

/**
 * Runs until it is interrupted. Fails only with `ActionNeeded`, and only as long as no cycle of its own has got through:
 * a setting or a schema that can't work is told at once, while one that breaks later is told and waited for.
 *
 * A defect, which is a mistake in this program, starts the loop again: after a second, then two, four, … but never later
 * than the interval.
 */
export const supervise = Effect.fn("supervise")(function*<R = never>(
  cycle: Cycle,
  options: SuperviseOptions<R>
) {
  const { afterwards = () => Effect.void, interval, leave = Effect.void } = options
  const watch: Watch = {
    hasPassed: yield* Ref.make(false),
    defects: yield* Ref.make(0),
    failures: yield* Ref.make(0),
    standsBy: yield* Ref.make(false),
    repeats: new Repeats(failuresSaidEveryMs),
    warned: yield* Ref.make<ReadonlySet<string>>(new Set()),
    last: yield* Ref.make<Pick<Before, "pauseMs" | "woken"> | null>(null),
    names: yield* Ref.make<ReadonlyArray<TableName>>([])
  }
  const loop = Effect.gen(function*() {
    const woken = (yield* Ref.get(watch.last))?.woken ?? false
    // Who listens must have been through once, to know to what.
    const isDue = woken || options.wakes !== undefined && !(yield* Ref.get(watch.hasPassed))
    const report = yield* oneCycle(cycle(optionsFor(options, { woken, isDue })), watch, afterwards)
    yield* leave
    yield* rest(options, watch, report)
  }).pipe(Effect.forever)
  return yield* onItsOwnFiber(loop).pipe(
    Effect.flatMap((exit) => Exit.isFailure(exit) ? endOrRestart(exit.cause, watch, interval) : Effect.void),
    Effect.forever,
    Effect.onInterrupt(() => Effect.logInfo("Stopped"))
  )
})

/** What the loop remembers of the cycles before. */
interface Watch {
  readonly hasPassed: Ref.Ref<boolean>
  /** Defects since the last cycle that came to an end. */
  readonly defects: Ref.Ref<number>
  /** Failures since the last cycle that got through. */
  readonly failures: Ref.Ref<number>
  /** The last cycle was another copy's. */
  readonly standsBy: Ref.Ref<boolean>
  readonly repeats: Repeats
  /** What was warned of last time: it is not said again while it lasts. */
  readonly warned: Ref.Ref<ReadonlySet<string>>
  /** The pause before the cycle at hand. */
  readonly last: Ref.Ref<Pick<Before, "pauseMs" | "woken"> | null>
  /** Tables that go on by themselves, as the last cycle left them. */
  readonly names: Ref.Ref<ReadonlyArray<TableName>>
}

const optionsFor = <R>(
  { interval, wakes }: SuperviseOptions<R>,
  { isDue, woken }: { readonly woken: boolean; readonly isDue: boolean }
): CycleOptions => ({
  retryFor: Duration.min(interval, "60 seconds"),
  lease: "skip",
  // Whoever else was there a moment ago.
  notBefore: isDue ? 0 : Duration.times(interval, 0.9),
  ...(wakes === undefined ? {} : { wakes, woken })
})

/** Until it is time for the next cycle. */
const rest = Effect.fn("rest")(function*<R>(
  { hurried = Effect.never, interval, maxInterval, resting = () => Effect.void, wakes }: SuperviseOptions<R>,
  watch: Watch,
  report: CycleReport | null
) {
  const pauses = {
    intervalMs: Duration.toMillis(interval),
    maxIntervalMs: maxInterval === undefined ? null : Duration.toMillis(maxInterval)
  }
  const before = yield* Ref.get(watch.last)
  const pauseMs = nextPause(pauses, {
    pauseMs: before?.pauseMs ?? pauses.intervalMs / 2,
    woken: before?.woken ?? false,
    outcome: report === null ? "failed" : isNothing(report.pull) ? "nothing" : "found"
  })
  const restMs = report === null || !isElsewhere(report) ? pauseMs : Math.min(
    pauseMs,
    standbyPause(pauses.intervalMs, { isLeased: report.outcome === "standby", finishedAgoMs: report.finishedAgoMs })
  )
  yield* resting((yield* Clock.currentTimeMillis) + restMs)
  const slept = Effect.as(Effect.sleep(restMs), false)
  const woken = wakes === undefined ? Effect.never : Effect.gen(function*() {
    // An app that goes on writing would have a cycle that fails tried again and again.
    const failures = yield* Ref.get(watch.failures)
    if (failures > 0) yield* Effect.sleep(Math.min(1000 * 2 ** Math.min(failures, 20), pauseMs))
    yield* wakes.woken(yield* Ref.get(watch.names))
    return true
  })
  const asked = Effect.as(hurried, true)
  yield* Ref.set(watch.last, { pauseMs, woken: yield* Effect.raceFirst(Effect.raceFirst(slept, woken), asked) })
})

const isNothing = ({ conflicts, deleted, inserted, quarantined, updated }: CycleReport["pull"]): boolean =>
  inserted + updated + deleted + conflicts + quarantined === 0

const oneCycle = <R, R2>(
  cycle: Effect.Effect<CycleReport, SyncError, R>,
  watch: Watch,
  afterwards: (report: CycleReport) => Effect.Effect<void, never, R2>
) =>
  Effect.matchEffect(cycle, {
    onSuccess: (report) =>
      Effect.as(Effect.zipRight(tellSuccess(report, watch), afterwards(report)), report as CycleReport | null),
    onFailure: (error) => Effect.as(tellFailure(error, watch), null)
  }).pipe(Effect.zipLeft(Ref.set(watch.defects, 0)))

const tellSuccess = Effect.fn("tellSuccess")(function*(report: CycleReport, watch: Watch) {
  const isFirst = !isElsewhere(report) && !(yield* Ref.getAndSet(watch.hasPassed, true))
  const paused = new Set(report.paused.map(({ table }) => table))
  yield* Ref.set(watch.names, report.ready.map(({ name }) => name).filter((name) => !paused.has(display(name))))
  yield* Ref.set(watch.failures, 0)
  const warnings = [...warningsOf(report), ...(isFirst ? yield* leftBehindOrNot : []).map(setUpWarning)]
  const known = yield* Ref.getAndSet(watch.warned, new Set(warnings.map(({ reason }) => reason)))
  yield* Effect.forEach(warnings.filter(({ reason }) => !known.has(reason)), warn, { discard: true })
  // Said once, however often it looks.
  if (isElsewhere(report) && (yield* Ref.getAndSet(watch.standsBy, isElsewhere(report)))) return
  yield* Ref.set(watch.standsBy, isElsewhere(report))
  yield* announce(report, yield* stamp)
})

/** That nobody could look for them must not fail a cycle that got through. */
const leftBehindOrNot = Effect.catchAll(leftBehind, (error) =>
  Effect.as(
    Effect.logWarning("Could not look for tables that are no longer in SYNC_TABLES").pipe(
      Effect.annotateLogs({ reason: oneLine(error.message) })
    ),
    []
  ))

const tellFailure = Effect.fn("tellFailure")(function*(error: SyncError, watch: Watch) {
  if (error._tag === "ActionNeeded" && !(yield* Ref.get(watch.hasPassed))) return yield* error
  yield* Ref.update(watch.failures, (failures) => failures + 1)
  const unsaid = watch.repeats.note(error.message, yield* Clock.currentTimeMillis)
  if (unsaid === null) return
  const said = `${oneLine(error.message)}${unsaid === 0 ? "" : ` (${unsaid} times more since this was said last)`}`
  yield* Effect.logError("Cycle failed").pipe(Effect.annotateLogs({ reason: said }))
  yield* Console.log(`${yield* stamp}Failed: ${said} The next cycle tries again.`)
})

/** Watched from outside, so that nothing that happens in it can take the service along. */
const onItsOwnFiber = <E, R>(loop: Effect.Effect<unknown, E, R>) =>
  Effect.acquireUseRelease(
    Effect.fork(Effect.interruptible(loop)),
    (fiber) => Fiber.await(fiber),
    (fiber) => Fiber.interrupt(fiber)
  )

const endOrRestart = Effect.fn("endOrRestart")(function*(
  cause: Cause.Cause<ActionNeeded>,
  watch: Watch,
  interval: Duration.Duration
) {
  const failure = Cause.failureOption(cause)
  if (Option.isSome(failure)) return yield* failure.value
  const before = yield* Ref.getAndUpdate(watch.defects, (defects) => defects + 1)
  const pause = Duration.min(Duration.seconds(2 ** Math.min(before, 30)), interval)
  const next = `starting again in ${duration(Duration.toMillis(pause))}`
  yield* Effect.logError("A defect of vaivem ended the cycle, please report it", cause).pipe(
    Effect.annotateLogs({ next })
  )
  yield* Console.log(`${yield* stamp}Failed: a defect of vaivem ended the cycle (see the log); ${next}.`)
  yield* Effect.sleep(pause)
})

const stamp = Effect.map(
  Clock.currentTimeMillis,
  (ms) => `${DateTime.formatIso(DateTime.unsafeMake(ms)).slice(0, 19).replace("T", " ")}Z `
)

const oneLine = (message: string): string => message.replace(/\s*\n\s*/g, " ")
