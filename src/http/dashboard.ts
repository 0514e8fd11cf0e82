/** Answers what the page shows: how things stand now, and whenever that changes. */
import { HttpApiBuilder, HttpApiSecurity, HttpServerResponse } from "@effect/platform"
import { Clock, Duration, Effect, Ref, Schedule, Stream } from "effect"
import { onBoth } from "../programs/databases.ts"
import { Observer } from "../programs/Observer.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { Api, TooManyReaders } from "./Api.ts"
import type { Guard } from "./Guard.ts"
import { cookie, lastsMs } from "./Sessions.ts"
import { cycleView, viewOf } from "./View.ts"

export const dashboard = (version: string) =>
  HttpApiBuilder.group(Api, "dashboard", (handlers) =>
    Effect.gen(function*() {
      const observer = yield* Observer
      const config = yield* SyncConfig
      const both = yield* onBoth((database) => Effect.succeed(database))
      const view = Effect.gen(function*() {
        const traffic = { replit: yield* both.replit.traffic, external: yield* both.external.traffic }
        return viewOf({
          observed: yield* observer.now,
          traffic,
          config,
          nowMs: yield* Clock.currentTimeMillis,
          version
        })
      })
      const readers = yield* Ref.make(0)

      // A reader that is slow misses what came meanwhile: each event says everything.
      const events = observer.changes.pipe(
        Stream.buffer({ capacity: 1, strategy: "sliding" }),
        Stream.mapEffect(() => Effect.map(view, (it) => `data: ${JSON.stringify(it)}\n\n`)),
        Stream.tap(() => Effect.sleep(betweenEvents))
      )
      // A comment now and then keeps proxies from closing a quiet connection.
      const heartbeats = Stream.as(Stream.fromSchedule(Schedule.spaced("15 seconds")), ": still here\n\n")

      return handlers
        .handle("status", () => view)
        .handle("cycles", () => Effect.map(observer.now, ({ recent }) => recent.map(cycleView)))
        .handleRaw("events", () =>
          Effect.gen(function*() {
            if ((yield* Ref.get(readers)) >= readersMax) {
              return yield* new TooManyReaders({ message: `${readersMax} pages are open already: close one of them.` })
            }
            const counted = Stream.acquireRelease(
              Ref.update(readers, (n) => n + 1),
              () => Ref.update(readers, (n) => n - 1)
            )
            return HttpServerResponse.stream(
              Stream.flatMap(counted, () => Stream.merge(events, heartbeats, { haltStrategy: "left" })).pipe(
                Stream.encodeText
              ),
              { contentType: "text/event-stream", headers: { "x-accel-buffering": "no" } }
            )
          }))
    }))

export const session = ({ begin, end }: Guard) =>
  HttpApiBuilder.group(Api, "session", (handlers) =>
    Effect.succeed(
      handlers
        .handle("begin", ({ payload, request }) =>
          Effect.gen(function*() {
            const secret = yield* begin(payload.token)
            const isSecure = request.headers["x-forwarded-proto"] === "https"
            yield* HttpApiBuilder.securitySetCookie(inCookie, secret, {
              httpOnly: true,
              sameSite: "strict",
              path: "/",
              secure: isSecure,
              maxAge: Duration.millis(lastsMs)
            })
          }))
        .handle("end", () => end)
    ))

const inCookie = HttpApiSecurity.apiKey({ key: cookie, in: "cookie" })

/** Four a second are as many as a person can read; a demo has more cycles than that. */
const betweenEvents = "250 millis"
const readersMax = 20
