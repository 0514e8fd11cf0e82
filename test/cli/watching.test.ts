import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import { Host } from "../../src/cli/Host.ts"
import { watching } from "../../src/cli/watching.ts"
import { noLines, writingTo } from "../support/Output.ts"

/** Watches something that shrinks from two lines to one. */
const watched = (every: string, isTerminal = true) => {
  const lines = noLines()
  const texts = ["a long line\nand another", "short"]
  const look = Effect.sync(() => texts.shift() ?? "nothing new")
  const program = watching(look, { every, json: false }).pipe(
    Effect.provideService(Host, {
      version: "0",
      isTerminal: { stdin: true, stdout: isTerminal, stderr: true },
      terminal: { write: () => {}, columns: () => 80 }
    }),
    writingTo(lines)
  )
  return { program, out: lines.out }
}

describe("watching", () => {
  it.effect("draws what is there over what was there, with a pause between, until it is interrupted", () =>
    Effect.gen(function*() {
      const { out, program } = watched("2s")
      const fiber = yield* Effect.fork(program)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(out, ["\u001b[2J", "\u001b[Ha long line\u001b[K\nand another\u001b[K\u001b[J"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(out.slice(2), ["\u001b[Hshort\u001b[K\u001b[J"])
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 minute")
      assert.lengthOf(out, 3)
    }))

  it.effect("is refused where nobody sees it, and for pauses that are none", () =>
    Effect.gen(function*() {
      const refusal = (every: string, isTerminal?: boolean) =>
        Effect.map(Effect.flip(watched(every, isTerminal).program), ({ message }) => message)
      assert.match(yield* refusal("2s", false), /^--watch draws on a terminal/)
      for (const every of ["0s", "500 millis", "often", "-2 seconds"]) {
        assert.strictEqual(
          yield* refusal(every),
          `--every ${every} is no duration of a second or more; write it as 2s or 1 minute.`
        )
      }
    }))
})
