/**
 * Sends notices to a webhook over HTTP. A module that only who tells somebody loads: an HTTP client is in no other
 * command. Neither logs nor traces nor errors hold the URL.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { Clock, Data, Effect, Redacted } from "effect"
import type { Notice } from "../domain/telling.ts"
import { bodyOf, type Webhook } from "../domain/Webhook.ts"

/** It did not arrive, or nobody knows whether it did. */
export class NotSent extends Data.TaggedError("NotSent")<{
  /** `HTTP 404`, or the network's code, as `ECONNREFUSED`. */
  readonly reason: string
  /** Another try may get through: no answer, too many calls, an error of the server's. */
  readonly mayPass: boolean
}> {}

/** Sends one notice, once, within 10 seconds. */
export type Send = (notice: Notice) => Effect.Effect<void, NotSent>

export const makeSend = ({ format, url }: Webhook): Send => (notice) =>
  Effect.gen(function*() {
    const request = HttpClientRequest.post(Redacted.value(url)).pipe(
      HttpClientRequest.bodyUnsafeJson(bodyOf(format, notice, yield* Clock.currentTimeMillis))
    )
    // Closed with the scope, whatever its answer goes on to say.
    const { status } = yield* HttpClient.withScope(yield* HttpClient.HttpClient).execute(request)
    if (status >= 300) return yield* new NotSent({ reason: `HTTP ${status}`, mayPass: isPassing(status) })
  }).pipe(
    Effect.scoped,
    Effect.timeoutFail({ duration: timeLimit, onTimeout: () => new NotSent({ reason: "no answer", mayPass: true }) }),
    Effect.catchTags({
      RequestError: (error) => new NotSent({ reason: codeOf(error), mayPass: true }),
      ResponseError: (error) => new NotSent({ reason: codeOf(error), mayPass: true })
    }),
    // A client's span holds the URL, and the webhook's owner need not know our traces.
    Effect.withTracerEnabled(false),
    Effect.provide(FetchHttpClient.layer),
    Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" })
  )

const isPassing = (status: number): boolean => status === 408 || status === 429 || status >= 500

/** The innermost code of a network error: what surrounds it says the URL. */
export const codeOf = (error: unknown): string => {
  let found = "no connection"
  for (let at: unknown = error, depth = 0; typeof at === "object" && at !== null && depth < 5; depth++) {
    if ("code" in at && typeof at.code === "string") found = at.code
    at = "cause" in at ? at.cause : null
  }
  return found
}

const timeLimit = "10 seconds"
