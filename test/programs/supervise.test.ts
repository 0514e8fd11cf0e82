import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Queue, Ref, TestClock } from "effect"
import type { SyncError } from "../../src/domain/SyncError.ts"
import { ActionNeeded, Unavailable, WorldRefused } from "../../src/domain/SyncError.ts"
import type { Cycle, CycleOptions, CycleReport } from "../../src/programs/cycle.ts"
import { supervise, type SuperviseOptions } from "../../src/programs/supervise.ts"
import type { Wakes } from "../../src/programs/wakes.ts"
import { makePair } from "../support/MemoryPair.ts"
import type { Lines } from "../support/Output.ts"
import { noLines, writingTo } from "../support/Output.ts"

const nothing = { inserted: 0, updated: 0, deleted: 0, conflicts: 0, quarantined: 0, bytes: 0 }

const idle: CycleReport = {
  outcome: "idle",
  finishedAgoMs: null,
  push: nothing,
  pull: nothing,
  durationMs: 12,
  movedTables: [],
  paused: [],
  quarantined: 0,
  warnings: [],
  cutShort: [],
  folded: [],
  setUp: [],
  ready: []
}

const idling = Effect.succeed(idle)
const interval = Duration.minutes(5)

const down = new Unavailable({
  side: "external",
  sqlState: null,
  slow: false,
  message: "The external database is away."
})
const change = new ActionNeeded({ message: "Table perfis is missing.\nCreate it." })

/** Starts the service on cycles that end like these, one after the other, and then idle. */
const start = Effect.fnUntraced(function*(
  outcomes: ReadonlyArray<Effect.Effect<CycleReport, SyncError>>,
  more: Partial<SuperviseOptions> = {}
) {
  const runs = yield* Ref.make(0)
  const asked: Array<CycleOptions> = []
  const lines: Lines = noLines()
  const cycle: Cycle = (options) =>
    Effect.flatMap(Ref.getAndUpdate(runs, (n) => n + 1), (n) => {
      asked.push(options)
      return outcomes[n] ?? Effect.succeed(idle)
    })
  const pair = yield* makePair()
  const events: Array<string> = []
  const fiber = yield* supervise(cycle, { interval, ...more }).pipe(
    writingTo(lines),
    Effect.provide(pair.layer()),
    // As the connections that it works with.
    Effect.ensuring(Effect.sync(() => events.push("closed"))),
    Effect.fork
  )
  yield* TestClock.adjust(0)
  return { fiber, runs: Ref.get(runs), lines, asked, events }
})

describe("supervise", () => {
  it.effect("runs a cycle at once and then five minutes after each one's end", () =>
    Effect.gen(function*() {
      const taking = (time: Duration.DurationInput) => Effect.as(Effect.sleep(time), idle)
      const { runs } = yield* start([taking("30 seconds"), taking("1 minute")])
      assert.strictEqual(yield* runs, 1)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* runs, 1)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* runs, 2)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* runs, 2)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* runs, 3)
    }))

  it.effect("runs the next cycle at once when a person wants it, also if another copy had one a moment ago", () =>
    Effect.gen(function*() {
      const wanted = yield* Queue.unbounded<void>()
      const until: Array<number> = []
      const { asked, runs } = yield* start([], {
        hurried: Queue.take(wanted),
        resting: (untilMs) => Effect.sync(() => until.push(untilMs))
      })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* runs, 1)
      yield* Queue.offer(wanted, undefined)
      yield* TestClock.adjust(0)
      assert.strictEqual(yield* runs, 2)
      assert.strictEqual(asked[1]!.notBefore, 0)
      assert.deepStrictEqual(until, [300_000, 360_000])
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* runs, 3)
    }))

  it.effect("leaves a cycle to the copy that holds the lease or has just run one, and limits retries", () =>
    Effect.gen(function*() {
      const { asked } = yield* start([])
      assert.deepStrictEqual(
        asked.map(({ lease, notBefore, retryFor }) => [
          lease,
          Duration.toSeconds(notBefore),
          Duration.toSeconds(retryFor)
        ]),
        [["skip", 270, 60]]
      )
    }))

  it.effect("prints one line a cycle, with the time", () =>
    Effect.gen(function*() {
      const { lines } = yield* start([])
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(lines.out.length, 2)
      assert.match(lines.out[1]!, /^1970-01-01 00:05:00Z Replit → external: 0 inserted/)
      assert.deepStrictEqual(lines.log, [])
    }))

  it.effect("survives failed cycles, tells each in one line and runs the next one on time", () =>
    Effect.gen(function*() {
      const { lines, runs } = yield* start([Effect.fail(down), Effect.fail(down)])
      assert.deepStrictEqual(lines.out, [
        "1970-01-01 00:00:00Z Failed: The external database is away. The next cycle tries again."
      ])
      assert.strictEqual(lines.log.length, 1)
      assert.match(lines.log[0]!, /level=ERROR .*message="Cycle failed" reason="The external database is away\."$/)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* runs, 3)
      assert.match(lines.out[2]!, /Replit → external/)
    }))

  it.effect("says a failure that repeats itself once a minute, with how often it happened", () =>
    Effect.gen(function*() {
      const fails = Array.from({ length: 100 }, () => Effect.fail(down))
      const { lines, runs } = yield* start(fails, { interval: Duration.seconds(1) })
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(yield* runs, 60)
      assert.deepStrictEqual([lines.out.length, lines.log.length], [1, 1])
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(
        lines.out[1],
        "1970-01-01 00:01:00Z Failed: The external database is away. (59 times more since this was said last) "
          + "The next cycle tries again."
      )
      assert.deepStrictEqual([lines.out.length, lines.log.length], [2, 2])
    }))

  it.effect("ends when the first cycle says that something must be changed", () =>
    Effect.gen(function*() {
      const { fiber, lines } = yield* start([Effect.fail(change)])
      assert.strictEqual((yield* Effect.flip(Fiber.join(fiber))).message, change.message)
      assert.deepStrictEqual(lines.out, [])
    }))

  it.effect("goes on trying when the first cycle finds the world refusing, and still ends for a setting then", () =>
    Effect.gen(function*() {
      const refused = new WorldRefused({ sqlState: "28P01", message: "Wrong password." })
      const { fiber } = yield* start([Effect.fail(refused), Effect.fail(change)])
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* Effect.flip(Fiber.join(fiber))).message, change.message)
    }))

  it.effect("does not take a cycle that another copy did for one of its own", () =>
    Effect.gen(function*() {
      const { fiber, lines } = yield* start([Effect.succeed({ ...idle, outcome: "not-due" }), Effect.fail(change)])
      assert.match(lines.out[0]!, /Nothing is due here: another copy/)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* Effect.flip(Fiber.join(fiber))).message, change.message)
    }))

  it.effect("tells and outlives what must be changed once a cycle has got through", () =>
    Effect.gen(function*() {
      const { lines, runs } = yield* start([Effect.succeed(idle), Effect.fail(change)])
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* runs, 3)
      assert.match(lines.out[1]!, /Failed: Table perfis is missing\. Create it\. The next cycle tries again\.$/)
    }))

  it.effect("starts again after a defect, later each time but never later than the interval, and shows its stack", () =>
    Effect.gen(function*() {
      const defect = Effect.die(new TypeError("not a function"))
      const { lines, runs } = yield* start(Array.from({ length: 12 }, () => defect))
      assert.match(lines.log[0]!, /TypeError: not a function.* at .*next="starting again in 1 s"/)
      assert.match(lines.out[0]!, /a defect of vaivem ended the cycle \(see the log\); starting again in 1 s\.$/)
      const counts: Array<number> = []
      for (const seconds of [1, 2, 4, 8]) {
        yield* TestClock.adjust(Duration.seconds(seconds))
        counts.push(yield* runs)
      }
      assert.deepStrictEqual(counts, [2, 3, 4, 5])
      yield* TestClock.adjust("20 minutes")
      assert.match(lines.out[10]!, /starting again in 5 min\.$/)
    }))

  it.effect("counts defects anew after a cycle that came to an end", () =>
    Effect.gen(function*() {
      const defect = Effect.die(new Error("bug"))
      const { lines } = yield* start([defect, defect, Effect.succeed(idle), defect])
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(lines.out.flatMap((line) => /starting again in (.*)\.$/.exec(line)?.[1] ?? []), [
        "1 s",
        "2 s",
        "1 s"
      ])
    }))

  it.effect("warns of a thing once, and again when it came back", () =>
    Effect.gen(function*() {
      const warned = Effect.succeed({ ...idle, paused: [{ table: "perfis", problem: "Table perfis waits." }] })
      const { lines } = yield* start([warned, warned, Effect.succeed(idle), warned])
      yield* TestClock.adjust("15 minutes")
      assert.strictEqual(lines.log.filter((line) => line.includes("Table perfis waits.")).length, 2)
      assert.match(lines.out[1]!, /waiting for you: perfis paused$/)
    }))

  it.effect("lets the batch in hand finish when it is stopped, starts no other, and only then lets go", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const batches = yield* Ref.make(0)
      const batch = Effect.uninterruptible(Effect.gen(function*() {
        yield* Deferred.succeed(started, undefined)
        yield* Effect.sleep("2 seconds")
        yield* Ref.update(batches, (n) => n + 1)
      }))
      const { events, fiber } = yield* start([Effect.as(Effect.forever(batch), idle)])
      yield* Deferred.await(started)
      const stopping = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([yield* Ref.get(batches), events], [0, []])
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.join(stopping)))
      assert.deepStrictEqual([yield* Ref.get(batches), events], [1, ["closed"]])
    }))

  it.effect("stops at once while it rests", () =>
    Effect.gen(function*() {
      const { fiber, runs } = yield* start([])
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* runs, 1)
    }))

  /** Wakes the service whenever it is told to; what comes while a cycle runs is one wake. */
  const waking = Effect.map(Queue.sliding<void>(1), (queue) => {
    const wakes: Wakes = {
      look: () => Effect.succeed({ waiting: { replit: [], external: [] }, resting: true }),
      heard: Effect.never,
      woken: () => Queue.take(queue)
    }
    return { wakes, wake: Queue.offer(queue, undefined) }
  })

  it.effect("runs a cycle as soon as it is woken, which nothing but the lease can keep from it, and rests anew", () =>
    Effect.gen(function*() {
      const { wake, wakes } = yield* waking
      const { asked, runs } = yield* start([], { wakes })
      yield* TestClock.adjust("4 minutes")
      yield* wake
      yield* TestClock.adjust(0)
      assert.strictEqual(yield* runs, 2)
      assert.deepStrictEqual(asked.map(({ woken }) => woken), [false, true])
      assert.strictEqual(Duration.toMillis(asked[1]!.notBefore), 0)
      yield* TestClock.adjust("4 minutes")
      assert.strictEqual(yield* runs, 2)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* runs, 3)
      assert.isFalse(asked[2]!.woken)
    }))

  it.effect("runs one more cycle for all that wakes it while one runs", () =>
    Effect.gen(function*() {
      const { wake, wakes } = yield* waking
      const { runs } = yield* start([Effect.as(Effect.sleep("30 seconds"), idle)], { wakes })
      for (let times = 0; times < 5; times++) yield* wake
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* runs, 2)
      yield* TestClock.adjust("4 minutes")
      assert.strictEqual(yield* runs, 2)
    }))

  it.effect("is not woken for a while after a failure, longer each time, but never longer than its interval", () =>
    Effect.gen(function*() {
      const { wake, wakes } = yield* waking
      const { runs } = yield* start(Array.from({ length: 20 }, () => Effect.fail(down)), { wakes })
      const counts: Array<number> = []
      for (const seconds of [1, 1, 3, 1]) {
        yield* wake
        yield* TestClock.adjust(Duration.seconds(seconds))
        counts.push(yield* runs)
      }
      assert.deepStrictEqual(counts, [1, 2, 2, 3])
      for (let times = 0; times < 12; times++) {
        yield* wake
        yield* TestClock.adjust("5 minutes")
      }
      assert.isAtLeast(yield* runs, 14)
    }))

  it.effect("eco backs off while external has nothing, and leaves it alone between visits", () =>
    Effect.gen(function*() {
      const { wake, wakes } = yield* waking
      const left = yield* Ref.make(0)
      const found = Effect.succeed({ ...idle, outcome: "moved" as const, pull: { ...nothing, updated: 1 } })
      const pushed = Effect.succeed({ ...idle, outcome: "moved" as const, push: { ...nothing, inserted: 1 } })
      const { runs } = yield* start([idling, idling, idling, found, idling, pushed], {
        wakes,
        maxInterval: Duration.minutes(60),
        leave: Ref.update(left, (n) => n + 1)
      })
      const after = Effect.fnUntraced(function*(minutes: number) {
        yield* TestClock.adjust(Duration.minutes(minutes))
        return yield* runs
      })
      // 5, 10, 20 minutes; what the fourth finds makes it 5 again, and then 10.
      assert.deepStrictEqual([yield* after(5), yield* after(9), yield* after(1), yield* after(19), yield* after(1)], [
        2,
        2,
        3,
        3,
        4
      ])
      assert.deepStrictEqual([yield* after(5), yield* after(9)], [5, 5])
      yield* wake
      yield* TestClock.adjust(0)
      // Something for external: that says nothing about what is there, and the pause begins anew.
      assert.deepStrictEqual([yield* runs, yield* after(9), yield* after(1)], [6, 6, 7])
      assert.deepStrictEqual([yield* after(19), yield* after(1)], [7, 8])
      assert.strictEqual(yield* Ref.get(left), 8)
    }))
})
