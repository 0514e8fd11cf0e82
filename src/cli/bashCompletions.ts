/** Mends the completions that @effect/cli 0.77 prints for bash. Those of zsh and fish are right as they are. */
import { Console, Effect } from "effect"

/** For the command line that asks for completions; any other is left alone. */
export const withBashCompletions =
  (args: ReadonlyArray<string>) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    args.some((arg) => arg.startsWith("--completions"))
      ? Console.consoleWith((usual) =>
        Effect.withConsole(self, {
          ...usual,
          log: (...printed) => usual.log(...printed.map((value) => typeof value === "string" ? mended(value) : value))
        })
      )
      : self

/** A subcommand is waited for in the state that its command left; choices are set apart by spaces. */
const mended = (script: string): string =>
  script
    .replace(/^( +)vaivem,(\w+),(\w+)\)$/gm, "$1vaivem__$2,$3)")
    .replace(/(?<=compgen -W ")[\w,]+(?=")/g, (choices) => choices.replaceAll(",", " "))
