import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, TestClock } from "effect"
import { sparingly } from "../../src/cli/sparingly.ts"

describe("the log", () => {
  it.effect("says equal warnings once a minute, with how many there were, and everything else each time", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = sparingly(
        Logger.map(Logger.logfmtLogger, (line) => void lines.push(line.replace(/^.*level=/, "")))
      )
      yield* Effect.gen(function*() {
        // 8 a second for a minute.
        for (let count = 0; count < 481; count++) {
          yield* Effect.logWarning("Trying again").pipe(Effect.annotateLogs({ reason: "away" }))
          yield* TestClock.adjust("125 millis")
        }
        yield* Effect.logWarning("Trying again").pipe(Effect.annotateLogs({ reason: "another" }))
        for (let count = 0; count < 2; count++) yield* Effect.logInfo("fotos to external: 3 rows")
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      assert.deepStrictEqual(lines.map((line) => line.replace(/fiber=\S+ /, "")), [
        "WARN message=\"Trying again\" reason=away",
        "WARN message=\"Trying again\" reason=away repeated=479",
        "WARN message=\"Trying again\" reason=another",
        "INFO message=\"fotos to external: 3 rows\"",
        "INFO message=\"fotos to external: 3 rows\""
      ])
    }))
})
