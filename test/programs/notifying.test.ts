import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, Fiber, Queue, Scope, TestClock } from "effect"
import { WorldRefused } from "../../src/domain/SyncError.ts"
import type { Notice } from "../../src/domain/telling.ts"
import { type Cycle, makeCycle } from "../../src/programs/cycle.ts"
import { notifying } from "../../src/programs/notifying.ts"
import { makeObserver } from "../../src/programs/Observer.ts"
import { NotSent, type Send } from "../../src/services/Notifier.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"
import { noLines, writingTo } from "../support/Output.ts"

const down = new WorldRefused({ side: "external", sqlState: null, message: "The password is wrong." })
const options = { retryFor: 0, lease: "wait", notBefore: 0 } as const

/** A service's cycle that is told of, and what arrived. */
const start = Effect.fnUntraced(function*(send?: (queue: Queue.Queue<Notice>) => Send) {
  const pair = yield* makePair()
  const observer = yield* makeObserver
  const arrived = yield* Queue.unbounded<Notice>()
  const lines = noLines()
  const scope = yield* Scope.make()
  yield* notifying(observer, send?.(arrived) ?? ((notice) => Effect.asVoid(arrived.offer(notice)))).pipe(
    writingTo(lines),
    Effect.provideService(Scope.Scope, scope)
  )
  const real = yield* makeCycle
  const run = (cycle: Cycle) => Effect.exit(observer.watch(cycle)(options)).pipe(Effect.provide(pair.layer()))
  const stop = Scope.close(scope, Exit.void).pipe(writingTo(lines))
  return { ...pair, arrived, lines, observer, cycle: run(real), failing: run(() => Effect.fail(down)), stop }
})

const next = (queue: Queue.Queue<Notice>) => Queue.take(queue)

/** Sets the test's clock, when somebody waits for that. */
const reach = (ms: number) =>
  Effect.zipRight(
    Effect.repeat(Effect.zipRight(Effect.yieldNow(), TestClock.sleeps()), { until: Chunk.contains(ms) }),
    TestClock.setTime(ms)
  )

describe("notifying", () => {
  it.effect("tells of real cycles: quarantine once, then a failure, then the recovery", () =>
    Effect.gen(function*() {
      const { arrived, cycle, failing, lines, servers, stop } = yield* start()
      yield* cycle
      yield* servers.replit.app.insert(perfis, { ...profile("ana", "Ana"), email: "mesmo@exemplo.pt" })
      yield* servers.external.app.insert(perfis, { ...profile("bia", "Bia"), email: "mesmo@exemplo.pt" })
      yield* cycle
      yield* cycle
      assert.match((yield* next(arrived)).text, /^2 rows in quarantine: the other side refused them/)
      yield* failing
      assert.include(yield* next(arrived), { event: "failing", table: null })
      yield* failing
      yield* cycle
      assert.include(yield* next(arrived), { event: "recovered" })
      yield* stop
      assert.strictEqual(yield* Queue.size(arrived), 0)
      assert.deepStrictEqual(lines.log.map((line) => line.replace(/^.* message/, "message")), [
        "message=Notified event=quarantine",
        "message=Notified event=failing",
        "message=Notified event=recovered"
      ])
    }))

  it.effect("tries again what may pass, without holding up a cycle, and goes on with the next when it is refused", () =>
    Effect.gen(function*() {
      let tries = 0
      const { arrived, cycle, failing, lines, stop } = yield* start((queue) => (notice) =>
        Effect.suspend(() => {
          tries++
          if (notice.event === "recovered") return new NotSent({ reason: "HTTP 404", mayPass: false })
          return tries < 4
            ? new NotSent({ reason: "ECONNREFUSED", mayPass: true })
            : Effect.asVoid(queue.offer(notice))
        })
      )
      yield* cycle
      yield* failing
      yield* cycle
      yield* reach(1_000)
      yield* reach(3_000)
      yield* reach(7_000)
      assert.include(yield* next(arrived), { event: "failing" })
      yield* stop
      assert.match(lines.log[1]!, /level=WARN .*message="Could not notify" (?=.*event=recovered).*reason="HTTP 404"/)
    }))

  it.effect("gives up after an hour, and says so in the log", () =>
    Effect.gen(function*() {
      let tries = 0
      const { cycle, failing, lines } = yield* start(() => () =>
        Effect.suspend(() => {
          tries++
          return new NotSent({ reason: "ENOTFOUND", mayPass: true })
        })
      )
      yield* cycle
      yield* failing
      yield* reach(1_000)
      yield* TestClock.adjust("2 hours")
      yield* Effect.repeat(Effect.yieldNow(), { until: () => lines.log.length > 0 })
      assert.lengthOf(lines.log, 1)
      assert.match(lines.log[0]!, /level=WARN .*message="Could not notify" (?=.*event=failing).*reason=ENOTFOUND/)
      assert.isAbove(tries, 10)
      assert.isBelow(tries, 30)
    }))

  it.effect("drops the newest when a hundred wait, and says so", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const { lines, observer } = yield* start(() => () =>
        Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)
      )
      yield* observer.proved([{ table: "t0", found: 1, open: null }])
      yield* Deferred.await(begun)
      const tables = Array.from({ length: 103 }, (_, n) => ({ table: `t${n}`, found: 1, open: null }))
      yield* observer.proved(tables)
      yield* Effect.repeat(Effect.yieldNow(), { until: () => lines.log.length >= 2 })
      yield* Effect.repeat(Effect.yieldNow(), { times: 50 })
      assert.match(
        lines.log[0]!,
        /message="Could not notify" (?=.*event=different)(?=.*table=t101).*reason="the queue is full"/
      )
      assert.lengthOf(lines.log, 2)
    }))

  it.effect("gives what waits at the end two seconds, and no more", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const slow = yield* start(() => () => Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never))
      yield* slow.cycle
      yield* slow.failing
      yield* Deferred.await(begun)
      const stopping = yield* Effect.fork(slow.stop)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(stopping)
      const quick = yield* start()
      yield* quick.cycle
      yield* quick.failing
      yield* quick.stop
      assert.include(yield* next(quick.arrived), { event: "failing" })
    }))

  it.effect("tells of differences again only when a round of the proof found none", () =>
    Effect.gen(function*() {
      const { arrived, observer, stop } = yield* start()
      const proved = (found: number, open: number | null) => observer.proved([{ table: "perfis", found, open }])
      yield* proved(2, null)
      assert.include(yield* next(arrived), { event: "different", table: "perfis" })
      yield* proved(1, null)
      yield* proved(0, 3)
      yield* proved(0, 0)
      yield* Effect.repeat(Effect.yieldNow(), { times: 50 })
      yield* proved(1, null)
      assert.match((yield* next(arrived)).text, /found 1 row of perfis/)
      yield* stop
      assert.strictEqual(yield* Queue.size(arrived), 0)
    }))
})
