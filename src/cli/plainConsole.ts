/** Output without colours, for files, pipes and logs: @effect/cli colours its help wherever it goes. */
import { Console, Effect } from "effect"
import { stripVTControlCharacters } from "node:util"
import { isColourless } from "./colours.ts"
import type { Host } from "./Host.ts"

/** Takes the colours out of what goes to a stream that is no terminal, and with NO_COLOR out of everything. */
export const withPlainConsole =
  (isTerminal: Host["Type"]["isTerminal"]) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(isColourless, (colourless) => {
      const seen = (isSeen: boolean, args: ReadonlyArray<unknown>) =>
        isSeen ? (colourless ? args.map(plain(withoutColours)) : args) : args.map(plain(stripVTControlCharacters))
      return Console.consoleWith((usual) =>
        Effect.withConsole(self, {
          ...usual,
          log: (...args) => usual.log(...seen(isTerminal.stdout, args)),
          error: (...args) => usual.error(...seen(isTerminal.stderr, args))
        })
      )
    })

const plain = (strip: (text: string) => string) => (value: unknown): unknown =>
  typeof value === "string" ? strip(value) : value

/** What moves the cursor stays: it is no colour. */
export const withoutColours = (text: string): string => text.replace(/\p{Cc}\[[\d;]*m/gu, "")
