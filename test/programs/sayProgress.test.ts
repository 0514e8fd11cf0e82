import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import { makeCycle } from "../../src/programs/cycle.ts"
import { sayProgress } from "../../src/programs/sayProgress.ts"
import { verify } from "../../src/programs/verify.ts"
import { type Display, ProgressDisplay } from "../../src/services/ProgressDisplay.ts"
import * as FaultyDatabase from "../support/FaultyDatabase.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"
import { noLines, writingTo } from "../support/Output.ts"

/** A terminal's line, and everything that stood in it. */
const makeDisplay = () => {
  const shown: Array<string> = []
  const display: Display = {
    first: "1 seconds",
    every: "1 seconds",
    show: (text) => Effect.sync(() => void shown.push(text)),
    clear: Effect.sync(() => void shown.push("(clear)"))
  }
  return { shown, display }
}

const messages = (log: ReadonlyArray<string>) =>
  log.map((line) => /message=Progress progress="?(.*?)"?$/.exec(line)?.[1])

describe("progress", () => {
  it.effect("is said in the log every ten seconds, and not of what is done sooner", () =>
    Effect.gen(function*() {
      const lines = noLines()
      const fiber = yield* Effect.fork(
        writingTo(lines)(
          Effect.sleep("9 seconds").pipe(
            sayProgress("Something short"),
            Effect.zipRight(Effect.sleep("35 seconds").pipe(sayProgress("Something long")))
          )
        )
      )
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(messages(lines.log), [
        "Something long, 10 s",
        "Something long, 20 s",
        "Something long, 30 s"
      ])
    }))

  it.effect("is taken away in the end, whatever that is", () =>
    Effect.gen(function*() {
      const { display, shown } = makeDisplay()
      const running = yield* Effect.fork(
        Effect.never.pipe(sayProgress("Something"), Effect.provideService(ProgressDisplay, display))
      )
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.interrupt(running)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(shown, ["Something, 1 s", "Something, 2 s", "(clear)"])
    }))

  it.effect("ends with what can't be interrupted", () =>
    Effect.gen(function*() {
      const { display, shown } = makeDisplay()
      const running = yield* Effect.fork(
        Effect.sleep("3 seconds").pipe(
          sayProgress("Something"),
          Effect.uninterruptible,
          Effect.provideService(ProgressDisplay, display)
        )
      )
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(running)
      assert.strictEqual(shown.at(-1), "(clear)")
    }))
})

/** Rows on Replit, and databases that take their time for every batch and every comparison. */
const slowPair = Effect.fnUntraced(function*(rows: number) {
  const pair = yield* makePair()
  for (let n = 0; n < rows; n++) yield* pair.servers.replit.app.insert(perfis, profile(`r${n}`, `nome ${n}`))
  const slow = (side: "replit" | "external") =>
    FaultyDatabase.make(pair.servers[side].connect(), {
      before: ({ verb }) => /^(apply|compare)/.test(verb) ? Effect.sleep("2 seconds") : Effect.void,
      after: () => Effect.void
    })
  return { ...pair, layer: pair.layer({ batchRowsMax: 25 }, { replit: slow("replit"), external: slow("external") }) }
})

const sync = Effect.flatMap(makeCycle, (cycle) => cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))

describe("the progress of a first copy", () => {
  it.effect("tells the comparison, and then the rows that are through, of how many", () =>
    Effect.gen(function*() {
      const { layer } = yield* slowPair(100)
      const { display, shown } = makeDisplay()
      const fiber = yield* sync.pipe(
        Effect.provide(layer),
        Effect.provideService(ProgressDisplay, display),
        writingTo(noLines()),
        Effect.fork
      )
      yield* TestClock.adjust("1 minute")
      const { push } = yield* Fiber.join(fiber)
      assert.strictEqual(push.inserted, 100)
      const end = shown.indexOf("(clear)")
      assert.strictEqual(shown[0], "Comparing both sides of perfis: 100 rows may differ, 1 s")
      const moving = shown.slice(end + 1)
      assert.include(moving, "perfis to external: 0 of 100 rows, 0 %")
      assert.include(moving, "perfis to external: 50 of 100 rows, 50 %, 17 rows/s, about 3 s left")
      assert.strictEqual(shown.at(-1), "(clear)")
    }))

  it.effect("tells what is left when it goes on after a crash, and costs nothing while nobody looks", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* slowPair(100)
      const first = yield* sync.pipe(Effect.provide(layer), writingTo(noLines()), Effect.fork)
      yield* TestClock.adjust("5 seconds")
      yield* Effect.fork(Fiber.interrupt(first))
      yield* TestClock.adjust("10 seconds")
      const left = (yield* servers.replit.pending(perfis)).length
      assert.isTrue(left > 0 && left < 100, `${left}`)
      const { display, shown } = makeDisplay()
      const second = yield* sync.pipe(
        Effect.provide(layer),
        Effect.provideService(ProgressDisplay, display),
        writingTo(noLines()),
        Effect.fork
      )
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(second)
      assert.include(shown, `perfis to external: 0 of ${left} rows, 0 %`)
    }))

  it.effect("is told by verify, too", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* slowPair(30)
      const { display, shown } = makeDisplay()
      const fiber = yield* Effect.flatMap(
        makeCycle,
        (cycle) =>
          Effect.zipRight(
            sync,
            Effect.zipRight(
              servers.external.app.update(perfis, ["r1"], { nome: "outro" }),
              verify(cycle, { repair: false, dryRun: false, show: 1 })
            )
          )
      ).pipe(
        Effect.provide(layer),
        Effect.provideService(ProgressDisplay, display),
        writingTo(noLines()),
        Effect.fork
      )
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      assert.match(shown.join("\n"), /Comparing perfis, table 1 of 1: \d+ rows? may differ, 1 s/)
    }))
})
