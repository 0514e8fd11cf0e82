/** How commands ask a person, and what becomes of a question where nobody can be asked. */
import { Prompt } from "@effect/cli"
import * as Terminal from "@effect/platform/Terminal"
import { Console, Effect } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"
import { isColourless } from "./colours.ts"
import { Host } from "./Host.ts"
import { withoutColours } from "./plainConsole.ts"

/** Whether somebody reads what is printed and can type an answer. */
export const isAnswered = Effect.map(Host, ({ isTerminal }) => isTerminal.stdin && isTerminal.stdout)

/** Asks once, or again and again in a dialogue. Fails with `QuitException` when the person presses Ctrl-C. */
export const ask = <A>(prompt: Prompt.Prompt<A>) =>
  Effect.flatMap(isColourless, (colourless) =>
    colourless
      // Prompts write to the terminal, past the console that takes colours out.
      ? Effect.updateService(Prompt.run(prompt), Terminal.Terminal, (usual) => ({
        ...usual,
        display: (text: string) => usual.display(withoutColours(text))
      }))
      : Prompt.run(prompt))

interface Question<A> {
  /** What it is about, printed before. */
  readonly about: string
  readonly prompt: Prompt.Prompt<A>
  /** What Ctrl-C answers. */
  readonly ended: A
  /** The message of the error where nobody can be asked: it says how to answer beforehand. */
  readonly refused: string
}

/** Asks where somebody can answer, and else fails with what is `refused`. */
export const askOrRefuse = <A>({ about, ended, prompt, refused }: Question<A>) =>
  Effect.gen(function*() {
    if (!(yield* isAnswered)) return yield* new ActionNeeded({ message: refused })
    yield* Console.log(about)
    return yield* Effect.catchTag(ask(prompt), "QuitException", () => Effect.succeed(ended))
  })
