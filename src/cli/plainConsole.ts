/** Output without colours, for files, pipes and logs: @effect/cli colours its help wherever it goes. */
import { Console, Effect } from "effect"
import { stripVTControlCharacters } from "node:util"
import type { Host } from "./Host.ts"

/** Takes the colours out of what goes to a stream that is no terminal. */
export const withPlainConsole =
  (isTerminal: Host["Type"]["isTerminal"]) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Console.consoleWith((usual) =>
      Effect.withConsole(self, {
        ...usual,
        log: (...args) => usual.log(...(isTerminal.stdout ? args : args.map(plain))),
        error: (...args) => usual.error(...(isTerminal.stderr ? args : args.map(plain)))
      })
    )

const plain = (value: unknown): unknown => typeof value === "string" ? stripVTControlCharacters(value) : value
