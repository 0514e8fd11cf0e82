/** How a command ends that did what it should and still has an exit code to give. */
import { Data, Effect } from "effect"

/** Everything that is to be said was said. */
export class Ended extends Data.TaggedError("Ended")<{ readonly exitCode: 1 | 2 | 3 }> {}

/** Ends a command with this exit code. */
export const endWith = (exitCode: 0 | 1 | 2 | 3): Effect.Effect<void, Ended> =>
  exitCode === 0 ? Effect.void : new Ended({ exitCode })
