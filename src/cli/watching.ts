/** `status --watch`: the same text, drawn over itself on a terminal until Ctrl-C. */
import { Options } from "@effect/cli"
import { Console, Duration, Effect, Option, Schedule } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"
import { Host } from "./Host.ts"

export const watch = Options.boolean("watch").pipe(
  Options.withDescription("Draw it again and again on the terminal, until Ctrl-C.")
)

export const every = Options.text("every").pipe(
  Options.withPseudoName("duration"),
  Options.withDescription("With --watch: the pause between two looks, as 2s or 1 minute; 1 second or more."),
  Options.withDefault("2s")
)

interface WatchOptions {
  readonly every: string
  readonly json: boolean
}

/** Draws what `look` says until it is interrupted. The first failure ends it. */
export const watching = <E, R>(look: Effect.Effect<string, E, R>, { every, json }: WatchOptions) =>
  Effect.gen(function*() {
    const { isTerminal } = yield* Host
    if (!isTerminal.stdout || json) {
      return yield* new ActionNeeded({
        message: "--watch draws on a terminal: leave it out where standard output is none, and with --json."
      })
    }
    const pause = yield* pauseOf(every)
    yield* Console.log(clearAll)
    yield* Effect.repeat(Effect.flatMap(look, (text) => Console.log(drawn(text))), Schedule.spaced(pause))
  })

const clearAll = "\u001b[2J"

/** From the first line on, each to its end: nothing flickers, and nothing is left of what was longer. */
const drawn = (text: string): string => `\u001b[H${text.replaceAll("\n", "\u001b[K\n")}\u001b[K\u001b[J`

/** As other durations are written, and as short as on other command lines: `2s`. */
const pauseOf = (text: string): Effect.Effect<Duration.Duration, ActionNeeded> => {
  const seconds = /^(\d{1,6})s$/.exec(text)?.[1]
  return Duration.decodeUnknown(seconds === undefined ? text : `${seconds} seconds`).pipe(
    Option.filter(Duration.greaterThanOrEqualTo("1 second")),
    Effect.mapError(() =>
      new ActionNeeded({ message: `--every ${text} is no duration of a second or more; write it as 2s or 1 minute.` })
    )
  )
}
