/**
 * Who wakes the service: a listener on each side that is listened to, and what they hear. A listener that is lost is set up
 * again, and then it is time for a whole cycle, because what was announced meanwhile was heard by nobody.
 *
 * Nothing here fails: announcements are hints, and the schedule goes on whatever becomes of them.
 */
import { Deferred, Effect, Queue, Ref } from "effect"
import type { Side } from "../domain/Side.ts"
import type { TableName } from "../domain/TableName.ts"
import type { Database, Listener } from "../services/Database.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"

export interface Wakes {
  /**
   * Which of the tables have changes, by side, and whether all listeners rest: see `Listener.look`. A side without a
   * listener has none, and rests.
   */
  readonly look: (names: ReadonlyArray<TableName>, options?: { readonly anyway: boolean }) => Effect.Effect<Looked>
  /** Returns when some side has announced a change, or is listened to again. */
  readonly heard: Effect.Effect<Heard>
  /** Returns when there is reason for a cycle before its time: at once, if something waits. */
  readonly woken: (names: ReadonlyArray<TableName>) => Effect.Effect<void>
}

export type Heard = "change" | "back"

export interface Looked {
  readonly waiting: Readonly<Record<Side, ReadonlyArray<TableName>>>
  readonly resting: boolean
}

export interface WakesOptions {
  readonly sides: ReadonlyArray<Side>
  /**
   * Listen again as soon as a listener is lost. Else only with the next look: a database that sleeps takes the connection
   * along, and connecting again at once would keep it awake.
   */
  readonly persistent: (side: Side) => boolean
}

/** Starts to listen; what is lost within the scope is set up again. */
export const makeWakes = Effect.fn("makeWakes")(function*({ persistent, sides }: WakesOptions) {
  const replit = yield* ReplitDb
  const external = yield* ExternalDb
  const heard = yield* Queue.unbounded<Heard>()
  const rested = yield* Ref.make(false)
  const hear = (what: Heard) =>
    // A listener that is new doesn't rest, whatever the one before it did.
    Effect.zipRight(what === "back" ? Ref.set(rested, false) : Effect.void, Queue.offer(heard, what))
  const ears = yield* Effect.forEach(
    sides,
    (side) => makeEar(side === "replit" ? replit : external, persistent(side), hear)
  )

  const look: Wakes["look"] = (names, options) =>
    Effect.gen(function*() {
      const found = yield* Effect.forEach(ears, (ear) => ear.look(names, options), { concurrency: 2 })
      const resting = found.every((looked) => looked.resting)
      yield* Ref.set(rested, resting)
      const on = (side: Side) => found.find((looked) => looked.side === side)?.waiting ?? []
      return { waiting: { replit: on("replit"), external: on("external") }, resting } satisfies Looked
    })

  // What was heard before is one with what is heard now: one more cycle is due, not many.
  const anyHeard = Effect.map(
    Queue.takeBetween(heard, 1, Number.MAX_SAFE_INTEGER),
    (all): Heard => Array.from(all).includes("back") ? "back" : "change"
  )

  const woken: Wakes["woken"] = (names) =>
    Effect.gen(function*() {
      // Who rests has looked already, and what it left is not worth another cycle by itself.
      if (yield* Ref.get(rested)) {
        if ((yield* anyHeard) === "back") return
      }
      let pauseMs = pauseMinMs
      while (true) {
        const { resting, waiting } = yield* look(names)
        if (waiting.replit.length + waiting.external.length > 0) return
        if (resting) {
          if ((yield* anyHeard) === "back") return
          pauseMs = pauseMinMs
        } else {
          yield* Effect.sleep(pauseMs)
          pauseMs = Math.min(2 * pauseMs, pauseMaxMs)
        }
      }
    })

  return { look, heard: anyHeard, woken } satisfies Wakes
})

/** The ear on one side: a listener, as long as there is one. */
const makeEar = Effect.fnUntraced(function*(
  database: Database,
  persistent: boolean,
  hear: (heard: Heard) => Effect.Effect<unknown>
) {
  const { side } = database
  const current = yield* Ref.make<Listener | null>(null)
  /** Done by whoever looks when there is no listener. */
  const wanted = yield* Ref.make(yield* Deferred.make<void>())

  const once = Effect.fnUntraced(function*(isAgain: boolean) {
    const listener = yield* database.listen
    yield* Ref.set(current, listener)
    if (isAgain || (yield* Deferred.isDone(yield* Ref.get(wanted)))) yield* hear("back")
    return yield* Effect.forever(Effect.zipRight(listener.heard, hear("change")))
  }, Effect.scoped)

  const listening = Effect.gen(function*() {
    for (let times = 0;; times++) {
      const error = yield* Effect.flip(once(times > 0))
      const hadOne = (yield* Ref.getAndSet(current, null)) !== null
      yield* (hadOne && persistent ? Effect.logWarning : Effect.logDebug)(
        "Lost the connection that listens; the schedule goes on"
      ).pipe(Effect.annotateLogs({ side, reason: error.message }))
      if (!persistent) {
        const next = yield* Deferred.make<void>()
        yield* Ref.set(wanted, next)
        yield* Deferred.await(next)
      } else if (!hadOne) yield* Effect.sleep(retryMs)
    }
  })
  yield* Effect.forkScoped(listening)

  return {
    look: (names: ReadonlyArray<TableName>, options?: { readonly anyway: boolean }) =>
      Effect.gen(function*() {
        const listener = yield* Ref.get(current)
        if (listener === null) {
          yield* Deferred.succeed(yield* Ref.get(wanted), undefined)
          return { side, waiting: [], resting: true }
        }
        return yield* Effect.map(listener.look(names, options), (looked) => ({ side, ...looked })).pipe(
          Effect.catchAll((error) =>
            Effect.logDebug("The listener could not look").pipe(
              Effect.annotateLogs({ side, reason: error.message }),
              Effect.as({ side, waiting: [], resting: true })
            )
          )
        )
      })
  }
})

/** A transaction of the app is open that wrote: it is looked for its end, less and less often. */
export const pauseMinMs = 2
export const pauseMaxMs = 100
/** As long as a database doesn't let us listen. */
const retryMs = 5_000
