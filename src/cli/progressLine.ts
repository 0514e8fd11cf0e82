/** A terminal's last line, which is written over and over while something long goes on. */
import { Console, Effect } from "effect"
import type { Display } from "../services/ProgressDisplay.ts"
import { ProgressDisplay } from "../services/ProgressDisplay.ts"
import type { Host } from "./Host.ts"

/** Shows progress on standard error, if that is a terminal. Whatever else is printed takes the line's place. */
export const withProgressLine =
  ({ isTerminal, terminal }: Host["Type"]) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
    if (!isTerminal.stderr) return self
    let isShown = false
    const clear = () => {
      if (isShown) terminal.write("\r\u001b[K")
      isShown = false
    }
    const display: Display = {
      first: "1 seconds",
      every: "500 millis",
      show: (text) =>
        Effect.sync(() => {
          isShown = true
          terminal.write(`\r${text.slice(0, terminal.columns() - 1)}\u001b[K`)
        }),
      clear: Effect.sync(clear)
    }
    return Console.consoleWith((usual) =>
      Effect.withConsole(Effect.provideService(self, ProgressDisplay, display), {
        ...usual,
        log: (...args) => Effect.zipRight(display.clear, usual.log(...args)),
        error: (...args) => Effect.zipRight(display.clear, usual.error(...args)),
        // Loggers use these.
        unsafe: {
          ...usual.unsafe,
          log: (...args) => {
            clear()
            usual.unsafe.log(...args)
          },
          error: (...args) => {
            clear()
            usual.unsafe.error(...args)
          }
        }
      })
    )
  }
