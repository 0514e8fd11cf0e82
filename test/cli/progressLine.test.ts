import { assert, describe, it } from "@effect/vitest"
import { Console, Effect, Fiber, Logger, TestClock } from "effect"
import { withProgressLine } from "../../src/cli/progressLine.ts"
import { sayProgress } from "../../src/programs/sayProgress.ts"

/** Whatever reaches the terminal, in its order. */
const onTerminal = Effect.fnUntraced(function*(isTerminal: boolean, columns: number) {
  const seen: Array<string> = []
  const host = {
    version: "0",
    isTerminal: { stdin: isTerminal, stdout: isTerminal, stderr: isTerminal },
    terminal: { write: (text: string) => void seen.push(text), columns: () => columns }
  }
  const print = (...args: ReadonlyArray<unknown>) => void seen.push(`${args.join(" ")}\n`)
  const usual = yield* Console.consoleWith(Effect.succeed)
  const program = Effect.gen(function*() {
    yield* Effect.sleep("1200 millis")
    yield* Effect.logInfo("a line of the log")
    yield* Effect.sleep("500 millis")
    yield* Console.log("a result")
  }).pipe(
    sayProgress("Comparing both sides"),
    withProgressLine(host),
    Effect.withConsole({
      ...usual,
      log: (...args) => Effect.sync(() => print(...args)),
      error: (...args) => Effect.sync(() => print(...args)),
      unsafe: { ...usual.unsafe, log: print, error: print }
    }),
    Effect.provide(Logger.replace(
      Logger.defaultLogger,
      Logger.withConsoleError(Logger.make(({ message }) => String(message)))
    ))
  )
  const fiber = yield* Effect.fork(program)
  yield* TestClock.adjust("10 seconds")
  yield* Fiber.join(fiber)
  return seen
})

const clear = "\r\u001b[K"

describe("a terminal's progress line", () => {
  it.effect("is written over and makes way for whatever else is printed", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* onTerminal(true, 80), [
        "\rComparing both sides, 1 s\u001b[K",
        clear,
        "a line of the log\n",
        "\rComparing both sides, 1.5 s\u001b[K",
        clear,
        "a result\n"
      ])
    }))

  it.effect("is no longer than the terminal is wide, for what wraps can't be written over", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* onTerminal(true, 11))[0], "\rComparing \u001b[K")
    }))

  it.effect("is not there where nobody sees it", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* onTerminal(false, 80), ["a line of the log\n", "a result\n"])
    }))
})
