/** What a program says to people: lines on standard output, lines on standard error, and the log. */
import type { Exit } from "effect"
import { Console, Effect, Logger } from "effect"

export interface Output<A, E> {
  readonly exit: Exit.Exit<A, E>
  readonly out: ReadonlyArray<string>
  readonly err: ReadonlyArray<string>
  /** Level, message, annotations and cause, in one line each. */
  readonly log: ReadonlyArray<string>
}

/** Grows while the program runs. */
export interface Lines {
  readonly out: Array<string>
  readonly err: Array<string>
  readonly log: Array<string>
}

export const noLines = (): Lines => ({ out: [], err: [], log: [] })

/** Runs a program to its end, whatever that is. */
export const outputOf = <A, E, R>(program: Effect.Effect<A, E, R>): Effect.Effect<Output<A, E>, never, R> => {
  const lines = noLines()
  return Effect.map(Effect.exit(writingTo(lines)(program)), (exit) => ({ exit, ...lines }))
}

/** For programs that don't end. */
export const writingTo = (lines: Lines) => <A, E, R>(program: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Console.consoleWith((usual) =>
    Effect.withConsole(program, {
      ...usual,
      log: (...args) => Effect.sync(() => void lines.out.push(args.join(" "))),
      error: (...args) => Effect.sync(() => void lines.err.push(args.join(" ")))
    })
  ).pipe(
    Effect.provide(Logger.replace(
      Logger.defaultLogger,
      Logger.map(Logger.logfmtLogger, (line) => void lines.log.push(line))
    ))
  )
