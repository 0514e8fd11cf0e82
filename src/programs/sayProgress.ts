/** What a person sees who waits for something long: that it goes on, and how far it has come. */
import { Clock, Effect, Schedule, type Scope } from "effect"
import type { Progress } from "../domain/Progress.ts"
import { progressText } from "../domain/Progress.ts"
import { ProgressDisplay } from "../services/ProgressDisplay.ts"

/**
 * Shows how far `self` has come, now and then while it runs; nothing when it is done soon. For what can't be counted a text
 * is enough: then it is shown with the time that it took so far.
 */
export const sayProgress =
  <R2 = never>(what: string | Effect.Effect<Progress | null, never, R2>) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Exclude<R2, Scope.Scope>> =>
    Effect.scoped(Effect.gen(function*() {
      const display = yield* ProgressDisplay
      const sinceMs = yield* Clock.currentTimeMillis
      const look = typeof what === "string" ? Effect.succeed({ what, sinceMs, rows: null }) : what
      const say = Effect.gen(function*() {
        const progress = yield* look
        if (progress !== null) yield* display.show(progressText(progress, yield* Clock.currentTimeMillis))
      })
      yield* Effect.addFinalizer(() => display.clear)
      // Interruptible also where `self` is not, as in what a probe cleans up: nobody could end it there.
      yield* Effect.repeat(say, Schedule.spaced(display.every)).pipe(
        Effect.delay(display.first),
        Effect.interruptible,
        Effect.forkScoped
      )
      return yield* self
    }))
