/** A terminal at which somebody answers prompts, key by key. */
import { NodeContext } from "@effect/platform-node"
import * as Terminal from "@effect/platform/Terminal"
import { Cause, Effect, Layer, Mailbox, Option } from "effect"
import { stripVTControlCharacters } from "node:util"
import { Host } from "../../src/cli/Host.ts"
import { noLines, writingTo } from "./Output.ts"

/** Text is typed. `down`, `enter` and `quit` (Ctrl-C) are keys; an effect happens before the next key. */
export type Step = { readonly type: string } | "down" | "enter" | "quit" | Effect.Effect<unknown>

/** Runs a program with somebody at its terminal. Whatever is asked when the script is over is answered with Ctrl-C. */
export const atTerminal =
  (steps: ReadonlyArray<Step>, { columns = 80, rows = 24 } = {}) => <A, E, S>(program: Effect.Effect<A, E, S>) =>
    Effect.gen(function*() {
      const mailbox = yield* Mailbox.make<Terminal.UserInput>()
      const left: Array<Step> = steps.flatMap((step): ReadonlyArray<Step> =>
        typeof step === "object" && "type" in step ? [...step.type].map((type) => ({ type })) : [step]
      )
      const prompts: Array<string> = []
      const lines = noLines()
      const take: Effect.Effect<Terminal.UserInput, Cause.NoSuchElementException> = Effect.suspend(() => {
        const step = left.shift() ?? "quit"
        if (step === "quit") return Effect.fail(new Cause.NoSuchElementException())
        if (Effect.isEffect(step)) return Effect.zipRight(step, take)
        return Effect.succeed(
          typeof step === "string" ? pressed(Option.none(), step) : pressed(Option.some(step.type), step.type)
        )
      })
      const terminal: Terminal.Terminal = {
        columns: Effect.succeed(columns),
        rows: Effect.succeed(rows),
        isTTY: Effect.succeed(true),
        readLine: Effect.fail(new Terminal.QuitException()),
        readInput: Effect.succeed({ ...mailbox, take }),
        display: (text) =>
          Effect.sync(() => {
            prompts.push(text)
            if (stripVTControlCharacters(text).trim() !== "") lines.out.push(stripVTControlCharacters(text))
          })
      }
      const exit = yield* program.pipe(
        Effect.provideService(Terminal.Terminal, terminal),
        Effect.provideService(Host, {
          version: "0",
          isTerminal: { stdin: true, stdout: true, stderr: true },
          terminal: { write: () => {}, columns: () => columns }
        }),
        Effect.provide(Layer.fresh(NodeContext.layer)),
        writingTo(lines),
        Effect.exit
      )
      return { exit, out: lines.out.join("\n"), prompts, unused: left.length }
    })

const pressed = (input: Option.Option<string>, name: string): Terminal.UserInput => ({
  input,
  key: { name, ctrl: false, meta: false, shift: false }
})
