/** The first copy of a table, killed again and again; `npm run test:copy` does the same with millions of rows. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { copying, inHandMax } from "../copy/copying.ts"
import { freshPair } from "../support/TestPostgres.ts"

describe("the first copy of a table", () => {
  for (const from of ["replit", "external"] as const) {
    it.scopedLive(`goes on after kill -9 at any moment, while apps write on both sides (from ${from})`, () =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        const copied = yield* copying({
          ...(yield* freshPair),
          from,
          rows: 20_000,
          kills: 5,
          seed: from === "replit" ? 1 : 2,
          appEveryMs: 5,
          say: (line) => Effect.sync(() => void lines.push(line))
        }).pipe(Effect.tapError(() => Effect.log(lines.join("\n"))))
        assert.isAtLeast(copied.killed, 3, lines.join("\n"))
        assert.isAtMost(copied.again, copied.killed * inHandMax)
        assert.isAtMost(copied.again, 20_000)
      }))
  }
})
