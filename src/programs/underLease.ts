/** Runs a command that writes while no cycle runs (promise 12), and waits for the lease like for anything else. */
import { Duration, Effect } from "effect"
import { duration } from "../domain/Quantity.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { LeaseTaken } from "../domain/SyncError.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { retrying } from "./cycle.ts"

/**
 * Holds the lease around `self`. What may pass by itself is tried again, the lease included, for as long as
 * `SYNC_RETRY_FOR` says; so `self` must bear to be run twice.
 */
export const underLease = <A, R>(self: Effect.Effect<A, SyncError, R>) =>
  Effect.gen(function*() {
    const replit = yield* ReplitDb
    const { retryFor } = yield* SyncConfig
    return yield* Effect.scoped(Effect.gen(function*() {
      if (!(yield* replit.lease)) {
        return yield* new LeaseTaken({ message: "Another copy of vaivem is syncing this pair." })
      }
      return yield* self
    })).pipe(retrying(retryFor), sayHowLong(retryFor))
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
