import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Logger, Ref, TestClock } from "effect"
import { Unavailable } from "../../src/domain/SyncError.ts"
import { type Cycle, type CycleReport, makeCycle } from "../../src/programs/cycle.ts"
import { supervise } from "../../src/programs/supervise.ts"
import { makeWakes } from "../../src/programs/wakes.ts"
import type { Database } from "../../src/services/Database.ts"
import type { Settings } from "../../src/services/SyncConfig.ts"
import { makePair, type MemoryPair, perfis, profile } from "../support/MemoryPair.ts"
import { noLines, writingTo } from "../support/Output.ts"

const minute = "1 minute"

/** The service in live mode, with every cycle's report; its first one has run, and it rests. */
const start = Effect.fnUntraced(function*(
  pair: MemoryPair,
  settings: Partial<Settings> = {},
  replaced: Partial<Readonly<Record<"replit" | "external", Database>>> = {}
) {
  const reports = yield* Ref.make<ReadonlyArray<CycleReport>>([])
  const lines = noLines()
  const cycle = yield* makeCycle
  const noted: Cycle = (options) =>
    Effect.tap(cycle(options), (report) => Ref.update(reports, (all) => [...all, report]))
  const eco = settings.schedule === "eco"
  const fiber = yield* Effect.gen(function*() {
    const wakes = yield* makeWakes({ sides: eco ? ["replit"] : ["replit", "external"], persistent: () => true })
    yield* supervise(noted, { interval: Duration.hours(1), wakes })
  }).pipe(
    Effect.scoped,
    writingTo(lines),
    Effect.provide(pair.layer({ ...(eco ? {} : { live: true }), ...settings }, replaced)),
    Effect.fork
  )
  // The first cycle, and what follows it, until the service rests.
  for (let seconds = 0; seconds < 4; seconds++) yield* TestClock.adjust("1 second")
  return { cycles: Effect.map(Ref.get(reports), (all) => all.length), reports: Ref.get(reports), fiber, lines }
})

const names = ({ servers }: MemoryPair, side: "replit" | "external") =>
  Effect.map(servers[side].app.rows(perfis), (rows) => rows.map((row) => row["nome"]))

/** What happens at once happens without the clock going on. */
const atOnce = Effect.repeatN(TestClock.adjust(0), 20)

describe("live mode", () => {
  it.effect("carries changes of both sides over at once, and is quiet then", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { cycles, reports } = yield* start(pair)
      const before = yield* cycles
      yield* pair.servers.replit.app.insert(perfis, profile("a", "A"))
      yield* atOnce
      assert.deepStrictEqual(yield* names(pair, "external"), ["A"])
      yield* pair.servers.external.app.update(perfis, ["a"], { nome: "B", updated_at: "2025-01-01 00:00:00+00" })
      yield* atOnce
      assert.deepStrictEqual(yield* names(pair, "replit"), ["B"])
      // What was applied wakes nobody: one cycle did it all, and no other comes before its time.
      yield* TestClock.adjust(minute)
      assert.strictEqual(yield* cycles, before + 1)
      assert.strictEqual((yield* reports).at(-1)!.push.inserted, 1)
      yield* TestClock.adjust("30 minutes")
      assert.strictEqual(yield* cycles, before + 1)
      assert.strictEqual(yield* pair.servers.replit.pending(perfis).pipe(Effect.map((keys) => keys.length)), 0)
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))

  it.effect("waits for a transaction that is open, and misses none that announced nothing", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      yield* start(pair)
      const { app } = pair.servers.replit
      yield* app.insert(perfis, profile("a", "A"))
      yield* atOnce
      // It is awake, and this one announces nothing.
      const open = yield* app.begin
      yield* app.insert(perfis, profile("b", "B"))
      yield* open.insert(perfis, profile("c", "C"))
      yield* TestClock.adjust(minute)
      assert.deepStrictEqual(yield* names(pair, "external"), ["A", "B"])
      yield* open.commit
      yield* TestClock.adjust("200 millis")
      assert.deepStrictEqual(yield* names(pair, "external"), ["A", "B", "C"])
    }))

  it.effect("leaves what can't be sent to the schedule, and does not turn round and round for it", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { cycles } = yield* start(pair)
      const { external, replit } = pair.servers
      // The app holds a row on external locked all the while.
      yield* replit.app.insert(perfis, profile("a", "A"))
      yield* atOnce
      yield* TestClock.adjust("10 seconds")
      const before = yield* cycles
      const open = yield* external.app.begin
      yield* open.update(perfis, ["a"], { nome: "X" })
      yield* replit.app.update(perfis, ["a"], { nome: "Y" })
      for (let seconds = 0; seconds < 60; seconds++) yield* TestClock.adjust("1 second")
      assert.isBelow((yield* cycles) - before, 30)
      yield* open.rollback
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* names(pair, "external"), ["Y"])
    }))

  it.effect("keeps the brake: what comes while it follows is not let through without a look", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { reports } = yield* start(pair, { brake: { rows: 2, percent: 20 } })
      const { app } = pair.servers.replit
      for (const id of ["a", "b", "c", "d", "e", "f"]) yield* app.insert(perfis, profile(id, id))
      yield* atOnce
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(yield* names(pair, "external"), 6)
      yield* app.update(perfis, ["f"], { nome: "F" })
      yield* atOnce
      // One by one, in the same cycle.
      for (const id of ["a", "b", "c", "d", "e"]) {
        yield* app.remove(perfis, [id])
        yield* atOnce
      }
      yield* TestClock.adjust("10 seconds")
      assert.isAtLeast((yield* names(pair, "external")).length, 4)
      assert.isTrue((yield* reports).at(-1)!.paused[0]?.held)
    }))

  it.effect("after a listener was lost it listens again, and then comes one whole cycle", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const real = pair.servers.external.connect()
      const lose = yield* Ref.make<Effect.Effect<void>>(Effect.void)
      const times = yield* Ref.make(0)
      const listen: Database["listen"] = Effect.gen(function*() {
        yield* Ref.update(times, (n) => n + 1)
        const listener = yield* real.listen
        const lost = yield* Effect.makeLatch()
        yield* Ref.set(lose, lost.open)
        const away = new Unavailable({ side: "external", sqlState: "57P01", slow: false, message: "away" })
        return { ...listener, heard: Effect.raceFirst(listener.heard, Effect.zipRight(lost.await, Effect.fail(away))) }
      })
      const { cycles, lines } = yield* start(pair, {}, { external: { ...real, listen } })
      const before = yield* cycles
      yield* Effect.flatten(Ref.get(lose))
      yield* atOnce
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Ref.get(times), 2)
      assert.strictEqual(yield* cycles, before + 1)
      assert.match(
        lines.log.join("\n"),
        /message="Lost the connection that listens; the schedule goes on" .*side=external/
      )
      yield* pair.servers.external.app.insert(perfis, profile("a", "A"))
      yield* atOnce
      assert.deepStrictEqual(yield* names(pair, "replit"), ["A"])
    }))

  it.effect("ends when it is stopped while it follows", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { fiber } = yield* start(pair)
      yield* pair.servers.replit.app.insert(perfis, profile("a", "A"))
      yield* atOnce
      yield* Fiber.interrupt(fiber)
      const second = yield* start(pair)
      yield* pair.servers.external.app.insert(perfis, profile("b", "B"))
      yield* atOnce
      assert.deepStrictEqual(yield* names(pair, "replit"), ["A", "B"])
      yield* Fiber.interrupt(second.fiber)
    }))
})

describe("eco", () => {
  it.effect("carries changes of Replit over at once, and hears nothing of external", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { cycles } = yield* start(pair, { schedule: "eco" })
      const before = yield* cycles
      yield* pair.servers.external.app.insert(perfis, profile("b", "B"))
      yield* TestClock.adjust(minute)
      assert.strictEqual(yield* cycles, before)
      yield* pair.servers.replit.app.insert(perfis, profile("a", "A"))
      yield* atOnce
      assert.deepStrictEqual(yield* names(pair, "external"), ["A", "B"])
      assert.deepStrictEqual(yield* names(pair, "replit"), ["A", "B"])
    }))
})
