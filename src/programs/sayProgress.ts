/** What a person reads who waits for something long: that it goes on, and since when. */
import { Clock, Effect, Schedule } from "effect"
import { duration } from "../domain/Quantity.ts"

/** Logs `what` every five seconds while `self` runs, with the time that it took so far; nothing when it is done sooner. */
export const sayProgress = (what: string) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.scoped(Effect.gen(function*() {
    const startedMs = yield* Clock.currentTimeMillis
    const say = Effect.flatMap(
      Clock.currentTimeMillis,
      (nowMs) => Effect.logInfo(what).pipe(Effect.annotateLogs({ took: duration(nowMs - startedMs) }))
    )
    yield* Effect.forkScoped(Effect.delay(Effect.repeat(say, Schedule.spaced(every)), every))
    return yield* self
  }))

const every = "5 seconds"
