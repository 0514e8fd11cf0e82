/** Browsers that showed the token. Kept in this process only: whoever restarts it shows the token again. */
import { Clock, Effect, Encoding, Ref } from "effect"
import { randomBytes } from "node:crypto"

export interface Sessions {
  /** Begins one; returns its secret. */
  readonly begin: Effect.Effect<string>
  readonly holds: (secret: string) => Effect.Effect<boolean>
  readonly end: (secret: string) => Effect.Effect<void>
}

export const cookie = "vaivem_session"

/** The oldest one ends when there are too many. */
export const makeSessions: Effect.Effect<Sessions> = Effect.gen(function*() {
  const sessions = yield* Ref.make<ReadonlyMap<string, number>>(new Map())
  return {
    begin: Effect.gen(function*() {
      const nowMs = yield* Clock.currentTimeMillis
      // Not from Effect's Random, which is no source of secrets.
      const secret = yield* Effect.sync(() => Encoding.encodeHex(randomBytes(32)))
      yield* Ref.update(sessions, (before) => {
        const open = [...before].filter(([, endsMs]) => endsMs > nowMs)
        return new Map([...open.slice(1 - sessionsMax), [secret, nowMs + lastsMs]])
      })
      return secret
    }),
    holds: (secret) =>
      Effect.map(
        Effect.all([Ref.get(sessions), Clock.currentTimeMillis]),
        ([open, nowMs]) => (open.get(secret) ?? 0) > nowMs
      ),
    end: (secret) => Ref.update(sessions, (before) => new Map([...before].filter(([other]) => other !== secret)))
  }
})

const sessionsMax = 100
export const lastsMs = 12 * 3_600_000
