/** Output without colours, for files, pipes and logs: @effect/cli colours its help wherever it goes. */
import { Console, Effect } from "effect"
import type { Host } from "./Host.ts"

/** Takes the colours out of what goes to a stream that is no terminal. */
export const withPlainConsole =
  (isTerminal: Host["Type"]["isTerminal"]) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Console.consoleWith((console) =>
      Effect.withConsole(self, {
        ...console,
        log: (...args) => console.log(...(isTerminal.stdout ? args : args.map(plain))),
        error: (...args) => console.error(...(isTerminal.stderr ? args : args.map(plain)))
      })
    )

const plain = (value: unknown): unknown => typeof value === "string" ? value.replace(colours, "") : value

const colours = /\u001b\[[\d;]*m/g
