/**
 * Who may ask. Where a token is set, whoever shows it: machines as `Authorization: Bearer …`. Where none is, only this
 * machine, and only under its own names: a page of somebody else's that has its name lead here, in a browser of this
 * machine, is refused.
 */
import { type HttpApp, HttpServerError, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Clock, Effect, Layer, Option, Redacted, Ref } from "effect"
import { createHash, timingSafeEqual } from "node:crypto"
import { isLoopback } from "../domain/HttpAddress.ts"
import { Authorized, TooManyFailures, Unauthorized } from "./Api.ts"

/** Lets those through that show the token; null lets all through. */
export const authorized = (token: Redacted.Redacted | null) =>
  Layer.effect(
    Authorized,
    Effect.map(makeAttempts, (attempts) =>
      Authorized.of(
        token === null ? Effect.void : Effect.gen(function*() {
          const request = yield* HttpServerRequest.HttpServerRequest
          const shown = bearer(request.headers["authorization"])
          if (shown === null) {
            return yield* new Unauthorized({
              message: "This needs the token of SYNC_HTTP_TOKEN, as in: Authorization: Bearer …"
            })
          }
          yield* attempts.refuseLocked(addressOf(request))
          if (isSame(shown, Redacted.value(token))) return
          yield* attempts.note(addressOf(request))
          return yield* new Unauthorized({ message: "That is not the token of SYNC_HTTP_TOKEN." })
        })
      ))
  )

/** Around everything that is answered. */
export const guarded = (isOpen: boolean) => <R>(app: HttpApp.Default<never, R>): HttpApp.Default<never, R> =>
  Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (isOpen && !isLoopback(hostOf(request.headers["host"] ?? ""))) {
      return HttpServerResponse.unsafeJson(
        { message: "This is answered under 127.0.0.1 and localhost only; elsewhere SYNC_HTTP_TOKEN must be set." },
        { status: 421 }
      )
    }
    return yield* app
  }).pipe(
    Effect.catchAllCause((cause) => Effect.map(HttpServerError.causeResponse(cause), ([response]) => response)),
    Effect.map(HttpServerResponse.setHeaders(headers))
  )

/** Nothing is cached, framed, guessed at or sent on; a page may load what comes from here, and nothing inline. */
const headers = {
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    + "form-action 'self'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff"
}

const bearer = (header: string | undefined): string | null => /^Bearer +(\S+)$/i.exec(header ?? "")?.[1] ?? null

/** Takes as long whatever is shown: digests are of one length. */
const isSame = (shown: string, token: string): boolean => timingSafeEqual(digest(shown), digest(token))

const digest = (text: string) => createHash("sha256").update(text).digest()

/** A `Host` header without its port. */
const hostOf = (header: string): string => header.replace(/:\d*$/, "")

const addressOf = (request: HttpServerRequest.HttpServerRequest): string =>
  Option.getOrElse(request.remoteAddress, () => "")

interface Attempt {
  readonly failures: number
  readonly sinceMs: number
}

/** Wrong tokens, by address. */
export const makeAttempts = Effect.map(Ref.make<ReadonlyMap<string, Attempt>>(new Map()), (attempts) => ({
  refuseLocked: (address: string) =>
    Effect.gen(function*() {
      const found = (yield* Ref.get(attempts)).get(address)
      if (found === undefined || found.failures < failuresMax) return
      const leftMs = found.sinceMs + lockedMs - (yield* Clock.currentTimeMillis)
      if (leftMs <= 0) return
      return yield* new TooManyFailures({
        message: "Too many wrong tokens came from this address. Try again in a minute.",
        retryAfterSeconds: Math.ceil(leftMs / 1000)
      })
    }),
  note: (address: string) =>
    Effect.flatMap(Clock.currentTimeMillis, (nowMs) =>
      Ref.update(attempts, (before) => {
        const fresh = [...before].filter(([, { sinceMs }]) => nowMs - sinceMs < lockedMs)
        const failures = (fresh.find(([other]) => other === address)?.[1].failures ?? 0) + 1
        const others = fresh.filter(([other]) => other !== address).slice(1 - addressesMax)
        return new Map([...others, [address, { failures, sinceMs: nowMs }]])
      }))
}))

/** Ten guesses a minute: a token of 16 characters takes longer than that. */
const failuresMax = 10
const lockedMs = 60_000
const addressesMax = 1_000
