/**
 * Any `Database` with something happening before and after each call takes effect: a failure (after the effect it is a
 * lost answer), a crash, or other people's work in between.
 */
import { Effect, Stream } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import type { SyncError } from "../../src/domain/SyncError.ts"
import type { Claim, Database, Few, Many } from "../../src/services/Database.ts"

/** A call on its way: the verb's name, or `stream` and `acknowledge` of a claim. */
export interface Call {
  readonly side: Side
  readonly verb: string
}

export interface Faults {
  /** Failing here, the call has no effect. */
  readonly before: (call: Call) => Effect.Effect<void, SyncError>
  /** Failing here, it had, and the caller doesn't know. */
  readonly after: (call: Call) => Effect.Effect<void, SyncError>
}

export const make = (database: Database, faults: Faults): Database => {
  const { side } = database
  const faulty = <A, R>(verb: string, effect: Effect.Effect<A, SyncError, R>): Effect.Effect<A, SyncError, R> =>
    faults.before({ side, verb }).pipe(Effect.zipRight(effect), Effect.zipLeft(faults.after({ side, verb })))
  const wrapped = Object.entries(database).map(([verb, value]): readonly [string, unknown] => {
    if (local.has(verb)) return [verb, value]
    if (Effect.isEffect(value)) return [verb, faulty(verb, value as Anything)]
    if (typeof value !== "function") return [verb, value]
    return [verb, (...args: ReadonlyArray<unknown>) => faulty(verb, (value as Verb)(...args))]
  })
  // The entries are the database's own, verb by verb; no type can say that.
  const all = Object.fromEntries(wrapped) as unknown as Database
  return {
    ...all,
    claimFew: (table) =>
      Effect.map(
        all.claimFew(table),
        (few): Few | Many | "none" =>
          few === "none" || few._tag === "Many"
            ? few
            : { ...few, acknowledge: (kept) => faulty("acknowledge", few.acknowledge(kept)) }
      ),
    claim: (table, request) =>
      Effect.map(all.claim(table, request), (claim): Claim | null =>
        claim === null ? null : ({
          ...claim,
          stream: Stream.unwrap(Effect.as(faults.before({ side, verb: "stream" }), claim.stream)),
          known: (numbers) => faulty("known", claim.known(numbers)),
          acknowledge: (kept) => faulty("acknowledge", claim.acknowledge(kept))
        }))
  }
}

/** These ask nobody anything. */
const local: ReadonlySet<string> = new Set(["traffic", "disconnect"] satisfies ReadonlyArray<keyof Database>)

type Anything = Effect.Effect<unknown, SyncError>
type Verb = (...args: ReadonlyArray<unknown>) => Anything
