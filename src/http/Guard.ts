/**
 * Who may ask. Where a token is set, whoever shows it: machines as `Authorization: Bearer …`, browsers once, for a
 * cookie. Where none is, only this machine, and only under its own names: a page of somebody else's that has its name lead
 * here, in a browser of this machine, is refused. Whatever changes something must come from the page itself.
 */
import { type HttpApp, HttpServerError, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Clock, Effect, Option, Redacted, Ref } from "effect"
import { createHash, timingSafeEqual } from "node:crypto"
import { isLoopback } from "../domain/HttpAddress.ts"
import { TooManyFailures, Unauthorized } from "./Api.ts"
import { cookie, makeSessions } from "./Sessions.ts"

export interface Guard {
  /** Lets the request at hand through, or says why not. */
  readonly authorize: Effect.Effect<void, Unauthorized | TooManyFailures, HttpServerRequest.HttpServerRequest>
  /** The cookie's value, for a browser that shows the token. */
  readonly begin: (
    token: Redacted.Redacted
  ) => Effect.Effect<string, Unauthorized | TooManyFailures, HttpServerRequest.HttpServerRequest>
  /** Ends the session of the request at hand. */
  readonly end: Effect.Effect<void, never, HttpServerRequest.HttpServerRequest>
}

/** With null there is no token, and all are let through. */
export const makeGuard = Effect.fn("makeGuard")(function*(token: Redacted.Redacted | null) {
  const attempts = yield* makeAttempts
  const sessions = yield* makeSessions
  const check = Effect.fnUntraced(function*(shown: string) {
    const address = addressOf(yield* HttpServerRequest.HttpServerRequest)
    yield* attempts.refuseLocked(address)
    if (token === null || isSame(shown, Redacted.value(token))) return
    yield* attempts.note(address)
    return yield* new Unauthorized({ message: "That is not the token of SYNC_HTTP_TOKEN." })
  })
  const guard: Guard = {
    authorize: token === null ? Effect.void : Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      if (yield* sessions.holds(request.cookies[cookie] ?? "")) return
      const shown = bearer(request.headers["authorization"])
      if (shown !== null) return yield* check(shown)
      return yield* new Unauthorized({
        message: "This needs the token of SYNC_HTTP_TOKEN, as in: Authorization: Bearer …"
      })
    }),
    begin: (shown) => Effect.zipRight(check(Redacted.value(shown)), sessions.begin),
    end: Effect.flatMap(
      HttpServerRequest.HttpServerRequest,
      ({ cookies }) => sessions.end(cookies[cookie] ?? "")
    )
  }
  return guard
})

/** Around everything that is answered. `isOpen`: there is no token. */
export const guarded = (isOpen: boolean) => <R>(app: HttpApp.Default<never, R>): HttpApp.Default<never, R> =>
  Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (isOpen && !isLoopback(hostOf(request.headers["host"] ?? ""))) {
      return refused(421, "This is answered under 127.0.0.1 and localhost only; elsewhere SYNC_HTTP_TOKEN must be set.")
    }
    if (!isOwn(request)) return refused(403, "This was asked by a page of somebody else's.")
    return yield* app
  }).pipe(
    Effect.catchAllCause((cause) =>
      Effect.map(HttpServerError.causeResponse(cause), ([response]) =>
        // What a caller sends that can't be read is the caller's mistake.
        isUnreadable(cause) ? refused(400, "The request can't be read.") : response)
    ),
    Effect.map((response) => HttpServerResponse.setHeaders(response, headers))
  )

const refused = (status: number, message: string) => HttpServerResponse.unsafeJson({ message }, { status })

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

/**
 * Browsers say where what they send comes from. A form of another page can send neither this type nor our cookie, and a
 * script that has to ask first, as for JSON or DELETE, gets no leave.
 */
const isOwn = ({ headers, method }: HttpServerRequest.HttpServerRequest): boolean => {
  if (method === "GET" || method === "HEAD") return true
  const { "content-type": type = "", host = "", origin, "sec-fetch-site": site = "same-origin" } = headers
  if (site !== "same-origin" || (method === "POST" && !/^application\/json\b/i.test(type))) return false
  return origin === undefined || origin.replace(/^https?:\/\//, "") === host
}

const isUnreadable = (cause: unknown): boolean => String(cause).includes("RequestError")

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
const makeAttempts = Effect.map(Ref.make<ReadonlyMap<string, Attempt>>(new Map()), (attempts) => ({
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
