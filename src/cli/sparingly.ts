/** Keeps a log short while something fails again and again. */
import { HashMap, Logger, LogLevel } from "effect"
import { failuresSaidEveryMs, Repeats } from "../domain/Repeats.ts"

/** Warnings and errors of the same text are said once a minute, with `repeated` as the number of those that were not. */
export const sparingly = <Output>(logger: Logger.Logger<unknown, Output>): Logger.Logger<unknown, Output | void> => {
  const repeats = new Repeats(failuresSaidEveryMs)
  return Logger.make((options) => {
    const { annotations, cause, date, logLevel, message } = options
    if (LogLevel.lessThan(logLevel, LogLevel.Warning)) return logger.log(options)
    const what = JSON.stringify([logLevel.label, message, [...annotations], cause])
    const unsaid = repeats.note(what, date.getTime())
    if (unsaid === null) return
    if (unsaid === 0) return logger.log(options)
    return logger.log({ ...options, annotations: HashMap.set(annotations, "repeated", unsaid) })
  })
}
