/** Where people see how far something long has come: in the log, unless a command has a terminal's line for it. */
import { Context, type Duration, Effect } from "effect"

export interface Display {
  /** What is done sooner is not shown. */
  readonly first: Duration.DurationInput
  /** From one look to the next. */
  readonly every: Duration.DurationInput
  readonly show: (text: string) => Effect.Effect<void>
  /** It is over. */
  readonly clear: Effect.Effect<void>
}

/** A line of the log now and then. */
export const logged: Display = {
  first: "10 seconds",
  every: "10 seconds",
  show: (text) => Effect.annotateLogs(Effect.logInfo("Progress"), { progress: text }),
  clear: Effect.void
}

export class ProgressDisplay extends Context.Reference<ProgressDisplay>()("vaivem/ProgressDisplay", {
  defaultValue: (): Display => logged
}) {}
