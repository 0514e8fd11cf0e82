/** What can be asked over HTTP, and what is answered: server, page and tests have it from here. */
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, HttpApiSchema } from "@effect/platform"
import { Schema } from "effect"
import { contentType } from "./prometheus.ts"

/** The token is missing or wrong. */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()(
  "Unauthorized",
  { message: Schema.String },
  HttpApiSchema.annotations({ status: 401 })
) {}

/** Too many wrong tokens came from that address: none is looked at for a while. */
export class TooManyFailures extends Schema.TaggedError<TooManyFailures>()(
  "TooManyFailures",
  { message: Schema.String, retryAfterSeconds: Schema.Number },
  HttpApiSchema.annotations({ status: 429 })
) {}

/** Whoever asks has the token, or none is needed. */
export class Authorized extends HttpApiMiddleware.Tag<Authorized>()("vaivem/http/Authorized", {
  failure: Schema.Union(Unauthorized, TooManyFailures)
}) {}

const Readiness = Schema.Struct({
  ready: Schema.Boolean,
  role: Schema.NullOr(Schema.Literal("active", "standby")),
  lastCycleAgeMs: Schema.NullOr(Schema.Number),
  reason: Schema.String
})

/** The service doesn't do what it is there for, or not yet. */
export class NotReady extends Schema.TaggedError<NotReady>()(
  "NotReady",
  Readiness.fields,
  HttpApiSchema.annotations({ status: 503 })
) {}

/** For those who watch over the process. They hold no name of a table, a database or a host. */
const watching = HttpApiGroup.make("watching")
  .add(HttpApiEndpoint.get("health", "/health").addSuccess(Schema.Struct({ status: Schema.Literal("alive") })))
  .add(HttpApiEndpoint.get("ready", "/ready").addSuccess(Readiness).addError(NotReady))

const measures = HttpApiGroup.make("measures")
  .add(HttpApiEndpoint.get("metrics", "/metrics").addSuccess(HttpApiSchema.Text({ contentType })))
  .middleware(Authorized)

export class Api extends HttpApi.make("vaivem").add(watching).add(measures) {}
