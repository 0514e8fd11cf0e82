/** What can be asked over HTTP, and what is answered: server, page and tests have it from here. */
import {
  HttpApi,
  HttpApiEndpoint,
  HttpApiError,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema
} from "@effect/platform"
import { Schema } from "effect"
import { contentType } from "./prometheus.ts"
import { CycleView, View } from "./View.ts"

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

/** Enough pages are open already. */
export class TooManyReaders extends Schema.TaggedError<TooManyReaders>()(
  "TooManyReaders",
  { message: Schema.String },
  HttpApiSchema.annotations({ status: 503 })
) {}

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

/** What the page shows. Its data want the token, too. */
const dashboard = HttpApiGroup.make("dashboard")
  .add(HttpApiEndpoint.get("status", "/api/status").addSuccess(View))
  // Cycles that moved something or failed, of this process, the newest last.
  .add(HttpApiEndpoint.get("cycles", "/api/cycles").addSuccess(Schema.Array(CycleView)))
  // Server-sent events: each is what `/api/status` answers, at once and whenever it changes.
  .add(
    HttpApiEndpoint.get("events", "/api/events")
      .addSuccess(HttpApiSchema.Text({ contentType: "text/event-stream" }))
      .addError(TooManyReaders)
  )
  .middleware(Authorized)

/** It was not done, and why: a sentence as the command line says it. */
export class NotDone extends Schema.TaggedError<NotDone>()(
  "NotDone",
  { message: Schema.String },
  HttpApiSchema.annotations({ status: 409 })
) {}

const Table = Schema.Struct({ table: Schema.String })
/** Null: all tables. */
const TableOrAll = Schema.Struct({ table: Schema.NullOr(Schema.String) })

/** What a person can do from the page. Each does what the command of its name does, and the next cycle comes at once. */
const actions = HttpApiGroup.make("actions")
  .add(HttpApiEndpoint.post("sync", "/api/sync").setPayload(Schema.Struct({})).addSuccess(HttpApiSchema.NoContent))
  .add(
    HttpApiEndpoint.post("approve", "/api/approve").setPayload(Table).addSuccess(HttpApiSchema.NoContent)
      .addError(NotDone)
  )
  .add(
    HttpApiEndpoint.post("reject", "/api/reject").setPayload(Table).addSuccess(HttpApiSchema.NoContent)
      .addError(NotDone)
  )
  .add(
    HttpApiEndpoint.post("pause", "/api/pause").setPayload(TableOrAll).addSuccess(HttpApiSchema.NoContent)
      .addError(NotDone)
  )
  .add(
    HttpApiEndpoint.post("resume", "/api/resume").setPayload(TableOrAll).addSuccess(HttpApiSchema.NoContent)
      .addError(NotDone)
  )
  .middleware(Authorized)

const Side = Schema.Literal("replit", "external")

/** A conflict as the page shows it. Values that are hidden read so; long ones are cut. */
export const ConflictView = Schema.Struct({
  id: Schema.String,
  table: Schema.String,
  key: Schema.Array(Schema.String),
  lostSide: Side,
  reason: Schema.String,
  policy: Schema.NullOr(Schema.String),
  decidedMs: Schema.Number,
  restoredMs: Schema.NullOr(Schema.Number),
  keptMs: Schema.NullOr(Schema.Number),
  loser: Schema.Literal("row", "deleted"),
  winner: Schema.Literal("row", "deleted", "unknown"),
  fields: Schema.Array(Schema.Struct({
    column: Schema.String,
    /** Left out where that version has no such column. */
    lost: Schema.optional(Schema.NullOr(Schema.String)),
    won: Schema.optional(Schema.NullOr(Schema.String)),
    differs: Schema.Boolean,
    editable: Schema.Boolean
  }))
})
export type ConflictView = typeof ConflictView.Type

export const QuarantineView = Schema.Struct({
  id: Schema.String,
  table: Schema.String,
  key: Schema.Array(Schema.String),
  from: Side,
  sqlState: Schema.NullOr(Schema.String),
  message: Schema.String,
  blockedBy: Schema.NullOr(Schema.Array(Schema.String)),
  attempts: Schema.Number,
  sinceMs: Schema.Number,
  /** Null: not before a person says so. */
  nextMs: Schema.NullOr(Schema.Number)
})
export type QuarantineView = typeof QuarantineView.Type

const Id = Schema.Struct({ id: Schema.String })

/** `values`: whether anybody's values are in it, for they are only where a token is set. */
const records = HttpApiGroup.make("records")
  .add(
    HttpApiEndpoint.get("conflicts", "/api/conflicts").addSuccess(Schema.Struct({
      values: Schema.Boolean,
      undecided: Schema.Array(ConflictView),
      decided: Schema.Array(ConflictView)
    }))
  )
  .add(
    HttpApiEndpoint.get("quarantine", "/api/quarantine").addSuccess(Schema.Struct({
      values: Schema.Boolean,
      entries: Schema.Array(QuarantineView),
      all: Schema.Number
    }))
  )
  .add(HttpApiEndpoint.post("keep", "/api/conflicts/keep").setPayload(Id).addSuccess(HttpApiSchema.NoContent))
  .add(HttpApiEndpoint.post("restore", "/api/conflicts/restore").setPayload(Id).addSuccess(HttpApiSchema.NoContent))
  // Texts as PostgreSQL reads them, by column; null is NULL.
  .add(
    HttpApiEndpoint.post("edit", "/api/conflicts/edit").setPayload(Schema.Struct({
      id: Schema.String,
      changes: Schema.Record({ key: Schema.String, value: Schema.NullOr(Schema.String) })
    })).addSuccess(HttpApiSchema.NoContent)
  )
  // Null: all of them.
  .add(
    HttpApiEndpoint.post("retry", "/api/quarantine/retry").setPayload(
      Schema.Struct({ id: Schema.NullOr(Schema.String) })
    )
      .addSuccess(HttpApiSchema.NoContent)
  )
  .add(HttpApiEndpoint.post("discard", "/api/quarantine/discard").setPayload(Id).addSuccess(HttpApiSchema.NoContent))
  .addError(NotDone)
  .middleware(Authorized)

/** For a browser: the token once, and then a cookie that no script can read and no other site can send. */
const session = HttpApiGroup.make("session")
  .add(
    HttpApiEndpoint.post("begin", "/api/session")
      .setPayload(Schema.Struct({ token: Schema.Redacted(Schema.String) }))
      .addSuccess(HttpApiSchema.NoContent)
      .addError(Unauthorized)
      .addError(TooManyFailures)
  )
  .add(HttpApiEndpoint.del("end", "/api/session").addSuccess(HttpApiSchema.NoContent))

/** The page itself holds nothing that isn't public. */
const page = HttpApiGroup.make("page")
  .add(HttpApiEndpoint.get("index", "/").addSuccess(HttpApiSchema.Text({ contentType: "text/html" })))
  .add(
    HttpApiEndpoint.get("file", "/page/:name")
      .setPath(Schema.Struct({ name: Schema.String }))
      .addSuccess(HttpApiSchema.Text())
      .addError(HttpApiError.NotFound)
  )

export class Api
  extends HttpApi.make("vaivem").add(watching).add(measures).add(dashboard).add(actions).add(records).add(session).add(
    page
  )
{}
