/** Runs a command that writes while no cycle runs (promise 12), and waits for the lease like for anything else. */
import { Duration, Effect, Option } from "effect"
import { duration } from "../domain/Quantity.ts"
import type { Side } from "../domain/Side.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { LeaseTaken } from "../domain/SyncError.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { retrying } from "./cycle.ts"
import { holding } from "./holding.ts"

/**
 * Holds the lease around `self`. What may pass by itself is tried again, the lease included, for as long as
 * `SYNC_RETRY_FOR` says; so `self` must bear to be run twice. `reached`: sides that can be asked, both by default.
 */
export const underLease = <A, R>(self: Effect.Effect<A, SyncError, R>, reached?: ReadonlyArray<Side>) =>
  Effect.gen(function*() {
    const { retryFor } = yield* SyncConfig
    return yield* holding(() => self, reached).pipe(
      Effect.flatMap(Option.match({
        onNone: () => new LeaseTaken({ message: "Another copy of vaivem is syncing this pair." }),
        onSome: Effect.succeed
      })),
      retrying(retryFor),
      sayHowLong(retryFor)
    )
  })

/** Tells how long the lease was waited for. */
export const sayHowLong =
  (waited: Duration.Duration) =>
  <A, E extends { readonly _tag: string }, R>(self: Effect.Effect<A, E | LeaseTaken, R>) =>
    Effect.mapError(self, (error) =>
      error instanceof LeaseTaken
        ? new LeaseTaken({
          message: `${error.message} It was not done within ${
            duration(Duration.toMillis(waited))
          }: try again later, or stop it first.`
        })
        : error)
