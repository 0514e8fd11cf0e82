/**
 * What this process knows of its cycles and, after them, of both databases: for whoever asks over HTTP. Nobody who asks
 * it asks a database, so that looking at the service never wakes one that sleeps.
 *
 * It looks at both databases after a cycle, while they are awake anyway, and only if something can have changed.
 */
import { Cause, Clock, Context, Effect, Exit, Option, Queue, Ref, type Stream, SubscriptionRef } from "effect"
import type { Side } from "../domain/Side.ts"
import { isElsewhere } from "../domain/Summary.ts"
import { needsPerson, type SyncError } from "../domain/SyncError.ts"
import { display } from "../domain/TableName.ts"
import type { Hello, Moved } from "../services/Database.ts"
import type { ExternalDb } from "../services/ExternalDb.ts"
import type { ReplitDb } from "../services/ReplitDb.ts"
import type { SyncConfig } from "../services/SyncConfig.ts"
import type { Cycle, CycleReport } from "./cycle.ts"
import { onBoth } from "./databases.ts"
import { countCycle } from "./measures.ts"
import type { Paused } from "./pass.ts"
import type { Proved } from "./prove.ts"
import { type Status, status } from "./status.ts"

export class Observer extends Context.Tag("vaivem/programs/Observer")<Observer, {
  /** The same cycle, observed. */
  readonly watch: (cycle: Cycle) => Cycle
  /** For `supervise`: when the pause at hand will be over. */
  readonly resting: (untilMs: number) => Effect.Effect<void>
  /** For `supervise`, after a cycle that got through: looks at both databases, if that is worth it. */
  readonly look: (report: CycleReport) => Effect.Effect<void, never, ReplitDb | ExternalDb | SyncConfig>
  /** What a turn of the rolling proof found. */
  readonly proved: (found: ReadonlyArray<Proved>) => Effect.Effect<void>
  /** Somebody wants the next cycle now, or did something that it should look at; once, however often it is said. */
  readonly hurry: Effect.Effect<void>
  /** For `supervise`: returns when somebody said so, at once if that was before. */
  readonly hurried: Effect.Effect<void>
  readonly now: Effect.Effect<Observed>
  /** What is known now, and then whenever it changes. Whoever is slow keeps what it has not read in memory. */
  readonly changes: Stream.Stream<Observed>
}>() {}

/** Times are milliseconds of our own clock. */
export interface Observed {
  /** A cycle is under way since then. */
  readonly runningSinceMs: number | null
  /** The next cycle's time, while the service rests. */
  readonly nextMs: number | null
  /** The cycle that ended last. */
  readonly last: EndedCycle | null
  /** The last one that got through, or that another copy ran. */
  readonly passed: Pick<EndedCycle, "startedMs" | "endedMs" | "outcome"> | null
  /** Cycles that failed since then. */
  readonly failures: number
  /** Why the last cycle failed, and the side that refused, where it is known; null when it didn't. */
  readonly error: { readonly message: string; readonly side: Side | null; readonly needsPerson: boolean } | null
  /** Cycles that moved something or failed, at most `recentMax`, the newest last. */
  readonly recent: ReadonlyArray<EndedCycle>
  /** When a cycle of this process that moved something of a table ended. */
  readonly movedAtMs: ReadonlyMap<string, number>
  /** Tables that wait for a person, as the last cycle that got through left them. */
  readonly paused: ReadonlyArray<Paused>
  /** Keys in quarantine on both sides, likewise. */
  readonly quarantined: number
  /** Tables that were set up, as it left them. */
  readonly ready: ReadonlySet<string>
  /** Tables that were set up before it, and that it had to compare again. */
  readonly capturedAnew: ReadonlyArray<string>
  /** Sentences about queues that were folded before it. */
  readonly folded: ReadonlyArray<string>
  /** Rows that the rolling proof found different, by table, since a round of it found none. */
  readonly differing: ReadonlyMap<string, number>
  /** What was seen after some cycle; null before the first. */
  readonly look: Look | null
}

export interface EndedCycle {
  readonly startedMs: number
  readonly endedMs: number
  readonly durationMs: number
  readonly outcome: CycleReport["outcome"] | "failed"
  readonly push: Moved
  readonly pull: Moved
  readonly error: string | null
}

export interface Look {
  readonly atMs: number
  /** How long it took to look. */
  readonly tookMs: number
  readonly status: Status
  /** Null of a side that could not be asked. */
  readonly hello: Readonly<Record<Side, Hello | null>>
}

export const recentMax = 200

/** Nothing is known yet. */
export const nothingObserved: Observed = {
  runningSinceMs: null,
  nextMs: null,
  last: null,
  passed: null,
  failures: 0,
  error: null,
  recent: [],
  movedAtMs: new Map(),
  paused: [],
  quarantined: 0,
  ready: new Set(),
  capturedAnew: [],
  folded: [],
  differing: new Map(),
  look: null
}

/** One per process. */
export const makeObserver: Effect.Effect<Observer["Type"]> = Effect.gen(function*() {
  const observed = yield* SubscriptionRef.make(nothingObserved)
  /** Something can have changed since the last look. */
  const stale = yield* Ref.make(true)
  const wanted = yield* Queue.sliding<void>(1)

  const watch = (cycle: Cycle): Cycle => (options) =>
    Effect.gen(function*() {
      const startedMs = yield* Clock.currentTimeMillis
      yield* SubscriptionRef.update(observed, (before) => ({ ...before, runningSinceMs: startedMs, nextMs: null }))
      return yield* Effect.onExit(cycle(options), (exit) =>
        Effect.gen(function*() {
          // Nothing ended: the service was stopped.
          if (Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)) return
          const ended = endedCycle(startedMs, yield* Clock.currentTimeMillis, exit)
          if (isNews(ended) || waits(exit)) yield* Ref.set(stale, true)
          yield* countCycle(ended)
          yield* SubscriptionRef.update(observed, (before) => afterCycle(before, ended, exit))
        }))
    })

  const isDue = Effect.fnUntraced(function*(nowMs: number) {
    const { look } = yield* SubscriptionRef.get(observed)
    return look === null
      || nowMs >= look.atMs + ((yield* Ref.get(stale)) ? restAfter * look.tookMs : anywayAfterMs)
  })

  const look = (report: CycleReport) =>
    Effect.gen(function*() {
      if (isElsewhere(report)) return
      const startedMs = yield* Clock.currentTimeMillis
      if (!(yield* isDue(startedMs))) return
      const seen = yield* Effect.all({
        status,
        hello: onBoth((database) => Effect.option(database.hello))
      })
      const atMs = yield* Clock.currentTimeMillis
      yield* Ref.set(stale, seen.status.unreachable.length > 0)
      const hello = {
        replit: Option.getOrNull(seen.hello.replit),
        external: Option.getOrNull(seen.hello.external)
      }
      const look: Look = { atMs, tookMs: atMs - startedMs, status: seen.status, hello }
      yield* SubscriptionRef.update(observed, (before) => ({ ...before, look }))
    })

  return {
    watch,
    look,
    proved: (found) =>
      found.length === 0
        ? Effect.void
        : SubscriptionRef.update(observed, (before) => ({ ...before, differing: differingAfter(before, found) })),
    resting: (untilMs) => SubscriptionRef.update(observed, (before) => ({ ...before, nextMs: untilMs })),
    hurry: Effect.zipRight(Ref.set(stale, true), Effect.asVoid(Queue.offer(wanted, undefined))),
    hurried: Queue.take(wanted),
    now: SubscriptionRef.get(observed),
    changes: observed.changes
  }
})

const endedCycle = (
  startedMs: number,
  endedMs: number,
  exit: Exit.Exit<CycleReport, SyncError>
): EndedCycle => {
  const times = { startedMs, endedMs, durationMs: endedMs - startedMs }
  if (Exit.isSuccess(exit)) {
    const { outcome, pull, push } = exit.value
    return { ...times, outcome, push, pull, error: null }
  }
  return { ...times, outcome: "failed", push: nothingMoved, pull: nothingMoved, error: errorOf(exit.cause).message }
}

const afterCycle = (before: Observed, ended: EndedCycle, exit: Exit.Exit<CycleReport, SyncError>): Observed => {
  const recent = isNews(ended) ? [...before.recent, ended].slice(-recentMax) : before.recent
  const next = { ...before, runningSinceMs: null, last: ended, recent }
  return Exit.isFailure(exit)
    ? { ...next, failures: before.failures + 1, error: errorOf(exit.cause) }
    : {
      ...next,
      passed: { startedMs: ended.startedMs, endedMs: ended.endedMs, outcome: ended.outcome },
      failures: 0,
      error: null,
      movedAtMs: new Map([
        ...before.movedAtMs,
        ...exit.value.movedTables.map((table) => [table, ended.endedMs] as const)
      ]),
      ...(isElsewhere(ended) ? {} : waitingIn(exit.value, before))
    }
}

const waitingIn = ({ folded, paused, quarantined, ready, setUp }: CycleReport, before: Observed) => ({
  paused,
  quarantined,
  folded,
  ready: new Set(ready.map(({ name }) => display(name))),
  // A table whose capture is gone on one side is forgotten there, so that its set-up takes this for a first contact.
  capturedAnew: setUp
    .filter(({ reconciled, table }) => reconciled !== null && before.ready.has(display(table.name)))
    .map(({ table }) => display(table.name))
})

const differingAfter = ({ differing }: Observed, found: ReadonlyArray<Proved>): Observed["differing"] => {
  const after = new Map(differing)
  for (const { found: more, open, table } of found) {
    if (more > 0) after.set(table, (after.get(table) ?? 0) + more)
    else if (open === 0) after.delete(table)
  }
  return after
}

/** As in `vaivem.runs`. */
const isNews = ({ outcome }: EndedCycle): boolean => outcome === "moved" || outcome === "failed"

/** What is pending of a table that waits for a person grows, although nothing moves. */
const waits = (exit: Exit.Exit<CycleReport, SyncError>): boolean =>
  Exit.isSuccess(exit) && (exit.value.paused.length > 0 || exit.value.quarantined > 0)

/** A defect's own words may hold anything: they are in the log. */
const errorOf = (cause: Cause.Cause<SyncError>): NonNullable<Observed["error"]> =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => ({ message: "A defect of vaivem ended the cycle: see the log.", side: null, needsPerson: false }),
    onSome: (error) => ({
      message: error.message,
      side: "side" in error ? error.side ?? null : null,
      needsPerson: needsPerson(error)
    })
  })

const nothingMoved: Moved = { inserted: 0, updated: 0, deleted: 0, conflicts: 0, quarantined: 0, bytes: 0 }

/** Counting the rows of big tables takes its time: looking takes a twentieth of it at most. */
const restAfter = 20
/** Clocks drift, and what the rolling proof proved grows, while nothing moves. */
const anywayAfterMs = 3_600_000
