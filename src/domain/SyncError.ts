/**
 * Every way in which the world or the settings can refuse us, as a closed set, sorted by what to do next and not by
 * where it came from. `PgErrors` makes most of them from what PostgreSQL, its proxies and the network say.
 *
 * `message` is a sentence for the person who must act. It never holds a password, a URL or a row's values: of a
 * server's error only the primary message is used, never DETAIL, CONTEXT or the query. A server's error is not kept
 * as `cause` either, because its DETAIL would come along into whatever prints it.
 */
import { Schema } from "effect"

const Side = Schema.Literal("replit", "external")

const Table = Schema.Struct({ schema: Schema.String, name: Schema.String })

/** The five characters of PostgreSQL's error code; null when no server answered or its proxy sent none. */
const SqlState = Schema.NullOr(Schema.String)

/**
 * Try again later, on a new connection: unreachable, starting, shutting down, out of connections, asleep, connection
 * lost, or the answer to a COMMIT lost (then nobody knows whether it happened; applying twice is a no-op).
 */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  side: Side,
  message: Schema.String,
  sqlState: SqlState,
  /** A limit that minutes don't lift (quota, disabled endpoint, full disk): retry rarely, and tell the person. */
  slow: Schema.Boolean,
  cause: Schema.optional(Schema.Defect)
}) {}

/** Lost to somebody else's transaction: try the whole transaction again at once, with jitter. */
export class Contended extends Schema.TaggedError<Contended>()("Contended", {
  side: Side,
  table: Schema.optional(Table),
  message: Schema.String,
  sqlState: SqlState,
  /** `key-race`: the primary key was taken between judging the batch and writing it; judge the batch again. */
  reason: Schema.Literal("serialization", "deadlock", "lock-timeout", "statement-timeout", "key-race")
}) {}

/** The row itself is unacceptable to that side. It goes to quarantine; trying it again by itself helps nothing. */
export class RowRefused extends Schema.TaggedError<RowRefused>()("RowRefused", {
  /** The side that refused, not the one that the row came from. */
  side: Side,
  table: Table,
  sqlState: Schema.String,
  /** The server's primary message; values that it quotes are blotted out. */
  message: Schema.String,
  constraint: Schema.NullOr(Schema.String),
  /** Key of the row over there that stands in the way, where it can be told (a unique constraint on plain columns). */
  blockedBy: Schema.optionalWith(Schema.NullOr(Schema.Array(Schema.String)), { default: () => null })
}) {}

/** The world says no and would say so again: password, role, database, host, TLS, certificate, firewall. */
export class WorldRefused extends Schema.TaggedError<WorldRefused>()("WorldRefused", {
  side: Schema.optional(Side),
  message: Schema.String,
  sqlState: SqlState,
  cause: Schema.optional(Schema.Defect)
}) {}

/** Another copy of the service holds the lease. */
export class LeaseTaken extends Schema.TaggedError<LeaseTaken>()("LeaseTaken", { message: Schema.String }) {}

/** The person must change a setting, a schema or a privilege first. */
export class ActionNeeded extends Schema.TaggedError<ActionNeeded>()("ActionNeeded", {
  message: Schema.String,
  side: Schema.optional(Side),
  table: Schema.optional(Table)
}) {}

/** A table is no longer shaped as its catalog said: pause the table and read the catalog again, once. */
export class SchemaDrifted extends Schema.TaggedError<SchemaDrifted>()("SchemaDrifted", {
  side: Side,
  table: Table,
  sqlState: Schema.String,
  message: Schema.String
}) {}

export const SyncError = Schema.Union(
  Unavailable,
  Contended,
  RowRefused,
  WorldRefused,
  LeaseTaken,
  ActionNeeded,
  SchemaDrifted
)
export type SyncError = typeof SyncError.Type

/** The exit code of a run that ends with this error: 1 the world said no, 2 change something, 3 something waits. */
export const exitCode = (error: SyncError): 1 | 2 | 3 => {
  switch (error._tag) {
    case "Unavailable":
    case "Contended":
    case "WorldRefused":
    case "LeaseTaken":
      return 1
    case "ActionNeeded":
      return 2
    case "RowRefused":
    case "SchemaDrifted":
      return 3
  }
}

/** Whether, and when, the same transaction is worth another try by itself. */
export const retryable = (error: SyncError): "now" | "later" | "never" => {
  switch (error._tag) {
    case "Contended":
      return "now"
    case "Unavailable":
    case "LeaseTaken":
      return "later"
    case "RowRefused":
    case "WorldRefused":
    case "ActionNeeded":
    case "SchemaDrifted":
      return "never"
  }
}

/** Only a person can lift it: trying again by itself helps nothing, or not for hours. */
export const needsPerson = (error: SyncError): boolean =>
  retryable(error) === "never" || error._tag === "Unavailable" && error.slow
