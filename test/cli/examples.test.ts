import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { run } from "../../src/cli.ts"
import { examples } from "../../src/cli/examples.ts"
import { Host } from "../../src/cli/Host.ts"
import { outputOf } from "../support/Output.ts"

const vaivem = (...args: ReadonlyArray<string>) =>
  Effect.map(outputOf(run(["node", "main.js", ...args])), ({ err, exit, out }) => {
    assert.deepStrictEqual([exit._tag === "Success" && exit.value, err], [0, []], args.join(" "))
    return out.join("\n")
  }).pipe(
    Effect.provideService(Host, {
      version: "0",
      isTerminal: { stdin: false, stdout: false, stderr: false },
      terminal: { write: () => {}, columns: () => 80 }
    }),
    Effect.provide(NodeContext.layer)
  )

/** Each command and subcommand, as the program's own help lists them. */
const commands = Effect.map(
  vaivem("--help"),
  (help) =>
    [...help.slice(help.indexOf("COMMANDS"), help.indexOf("EXIT CODES")).matchAll(/^ *- ([a-z]+(?: [a-z]+)?)/gm)]
      .map((match) => match[1]!)
)

describe("the help of every command", () => {
  it.live("ends with examples of it, which name no option that it lacks", () =>
    Effect.gen(function*() {
      const names = yield* commands
      assert.sameMembers(Object.keys(examples), ["", ...names])
      for (const name of names) {
        const help = yield* vaivem(...name.split(" "), "--help")
        const [before, after] = help.split("EXAMPLES")
        const lines = (after ?? "").trim().split("\n").map((line) => line.trim())
        assert.deepStrictEqual(lines, examples[name]!.map((line) => `vaivem ${line}`))
        for (const line of lines) {
          const missing = (line.match(/--[a-z-]+/g) ?? []).filter((option) => !before!.includes(option))
          assert.deepStrictEqual(missing, [], line)
        }
      }
    }))
})

describe("completions", () => {
  it.live("are printed for each shell, with every command", () =>
    Effect.gen(function*() {
      const names = (yield* commands).filter((name) => !name.includes(" "))
      for (const shell of ["bash", "sh", "zsh", "fish"]) {
        const script = yield* vaivem("--completions", shell)
        assert.deepStrictEqual(names.filter((name) => !script.includes(name)), [], shell)
        assert.include(script, "vaivem")
        assert.include(script, shell === "zsh" || shell === "fish" ? "repair" : "--repair")
      }
    }))

  it.live("complete options of subcommands, and choices, in bash", () =>
    Effect.gen(function*() {
      const script = yield* vaivem("--completions", "bash")
      const completed = (...words: ReadonlyArray<string>) =>
        execFileSync("bash", ["-c", `${script}\n${pressTab}`, "bash", ...words], { encoding: "utf8" }).trim().split(" ")
      assert.deepStrictEqual(completed("vaivem", "co"), ["conflicts"])
      assert.includeMembers(completed("vaivem", "conflicts", ""), ["keep", "list", "restore", "show"])
      assert.deepStrictEqual(completed("vaivem", "conflicts", "list", "--u"), ["--undecided"])
      assert.deepStrictEqual(completed("vaivem", "probe", "--from", "e"), ["external"])
    }))
})

/** Calls what bash calls for the words before the cursor, and prints what it is offered. */
const pressTab = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_vaivem_bash_completions vaivem "\${COMP_WORDS[COMP_CWORD]}" "\${COMP_WORDS[COMP_CWORD-1]}"
echo "\${COMPREPLY[*]}"`
