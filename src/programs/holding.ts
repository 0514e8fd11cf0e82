/** Runs what one copy of the service at a time may do: with the lease, and under an epoch that both sides know (promise 12). */
import { Effect, Option } from "effect"
import type { Side } from "../domain/Side.ts"
import { sides } from "../domain/Side.ts"
import type { SyncError } from "../domain/SyncError.ts"
import type { Lease } from "../services/Database.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { databases } from "./databases.ts"

/**
 * None when another copy has the lease. When the lease is lost on the way `self` is interrupted, and what it has not committed is
 * refused by both sides. `self` gets what it must do when it has installed something: until then there is no epoch to check;
 * and a way to give the lease back, when all that is left to do is to look.
 *
 * @param reached sides that can be asked; both by default.
 */
export const holding = <A, E, R>(
  self: (enter: Enter, release: Lease["release"]) => Effect.Effect<A, E, R>,
  reached: ReadonlyArray<Side> = sides
) =>
  Effect.scoped(Effect.gen(function*() {
    const both = yield* databases
    const lease = yield* (yield* ReplitDb).lease
    if (lease === null) return Option.none<A>()
    yield* Effect.addFinalizer(() =>
      Effect.ignore(Effect.forEach(sides, (side) => both[side].fence(null), { discard: true }))
    )
    yield* enter(lease, reached, lease.isNew)
    // Also where nothing else can be interrupted, as while `probe` tidies up, the other of the two must end.
    const running = self(enter(lease, reached, true), lease.release)
    return Option.some(yield* Effect.raceFirst(running, Effect.interruptible(lease.lost)))
  }))

export type Enter = Effect.Effect<void, SyncError, Effect.Effect.Context<typeof databases>>

/** Both sides get the epoch, external first: Replit's is told only when both have it. */
const enter = (lease: Lease, reached: ReadonlyArray<Side>, isNew: boolean): Enter =>
  Effect.gen(function*() {
    const both = yield* databases
    // Installed by this very run: nobody has raised it yet.
    let epoch = lease.epoch ?? (isNew ? yield* lease.raise(0n) : null)
    const id = lease.id ?? (yield* both.replit.identity)?.id ?? null
    if (epoch === null || id === null) return
    if (reached.includes("external")) {
      const theirs = yield* both.external.fence({ epoch, id, isNew })
      if (theirs !== null && theirs > epoch) {
        epoch = yield* lease.raise(theirs)
        if (epoch === null) return
        yield* both.external.fence({ epoch, id, isNew: true })
      }
    }
    yield* both.replit.fence({ epoch, id, isNew })
  })
