import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Console, Effect } from "effect"
import { stripVTControlCharacters } from "node:util"
import { coloured } from "../../src/cli/colours.ts"
import { withPlainConsole } from "../../src/cli/plainConsole.ts"

const red = (text: string) => `\u001b[0;31m${text}\u001b[0m`
const yellow = (text: string) => `\u001b[0;33m${text}\u001b[0m`
const green = (text: string) => `\u001b[0;32m${text}\u001b[0m`
const bold = (text: string) => `\u001b[0;1m${text}\u001b[0m`

/** What arrives of a text that is drawn over an older one, in red. */
const printed = Effect.fnUntraced(function*(isTerminal: boolean, env: ReadonlyArray<readonly [string, string]>) {
  const seen: Array<unknown> = []
  const usual = yield* Console.consoleWith(Effect.succeed)
  yield* Console.log(`\u001b[H${red("PROBLEM")}`).pipe(
    withPlainConsole({ stdin: false, stdout: isTerminal, stderr: false }),
    Effect.withConsole({ ...usual, log: (...args) => Effect.sync(() => void seen.push(...args)) }),
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(env)))
  )
  return seen.join()
})

describe("colours", () => {
  it("mark headings and the words that tell of a problem, and change no text", () => {
    const lines = [
      ["Replit (DATABASE_URL)", bold("Replit (DATABASE_URL)")],
      ["  PROBLEM: It is too old.", `${red("  PROBLEM:")} It is too old.`],
      ["    note: Worth knowing.", `${yellow("    note:")} Worth knowing.`],
      ["  perfis: fits", `  perfis: ${green("fits")}`],
      ["2 problems to solve.", red("2 problems to solve.")],
      ["table   side", bold("table   side")],
      ["------  ------", "------  ------"],
      ["perfis  failed: It is away.", `perfis  ${red("failed")}: It is away.`],
      ["perfis: DIFFERENT, 1 on Replit", `perfis: ${red("DIFFERENT")}, 1 on Replit`],
      ["  ana: only on Replit", "  ana: only on Replit"]
    ] as const
    const text = lines.map(([plain]) => plain).join("\n")
    assert.deepStrictEqual(coloured(text).split("\n"), lines.map(([, painted]) => painted))
    assert.strictEqual(stripVTControlCharacters(coloured(text)), text)
  })

  it.effect("reach a terminal, no file, and nobody who has set NO_COLOR", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* printed(true, []), `\u001b[H${red("PROBLEM")}`)
      assert.strictEqual(yield* printed(true, [["NO_COLOR", ""]]), `\u001b[H${red("PROBLEM")}`)
      assert.strictEqual(yield* printed(true, [["NO_COLOR", "1"]]), "\u001b[HPROBLEM")
      assert.strictEqual(yield* printed(false, []), "PROBLEM")
    }))
})
