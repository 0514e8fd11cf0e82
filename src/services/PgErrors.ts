/**
 * What PostgreSQL, its proxies and the network say when they refuse, turned once into `SyncError`: sorted by what to
 * do next, with a sentence for the person who must act.
 *
 * Texts go before codes where a proxy speaks, for Neon's sends XX000 for nearly everything and PgBouncer 08P01. A
 * user's trigger can raise any text, so texts are not believed under other codes. Unknown codes are not retried.
 */
import { Predicate, Schema } from "effect"
import type { ConnectionTarget } from "../domain/ConnectionTarget.ts"
import { label, type Side, urlSetting } from "../domain/Side.ts"
import { ActionNeeded, SyncError, WorldRefused } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { type Answer, ofClient, ofServer } from "./ConnectionRefusals.ts"
import { bySqlState, type Refusal, unavailable } from "./SqlStates.ts"

/** What the caller knows beside the side and the table. */
export interface PgErrorContext {
  /** Name of the table's primary key constraint, given while applying: a violation of it is a race, not a bad row. */
  readonly primaryKey?: string | null
  /** Where the connection goes, for sentences. */
  readonly target?: Pick<ConnectionTarget, "host" | "port" | "user">
  /** The statement was COMMIT: a lost connection then means that nobody knows the outcome. */
  readonly committing?: boolean
}

/**
 * Sorts whatever a statement, a connection or a COPY stream failed with. Wrappers such as `SqlError` are looked
 * through, and a `SyncError` stays what it is. Without a table, what would be a row's or a table's fault is nobody's
 * and becomes `WorldRefused` or `ActionNeeded`.
 */
export const fromPg = (side: Side, table?: TableName, context: PgErrorContext = {}) => (cause: unknown): SyncError => {
  const inner = unwrap(cause)
  if (Schema.is(SyncError)(inner)) return inner
  const refusal = read(inner, side, table, context)
  return refusal.fromServer ? ofSqlState(refusal) : ofNode(refusal, inner)
}

const read = (inner: unknown, side: Side, table: TableName | undefined, context: PgErrorContext): Refusal => {
  const host = context.target?.host ?? ""
  return {
    side,
    table,
    host,
    port: context.target?.port ?? null,
    role: context.target?.user ?? null,
    primaryKey: context.primaryKey ?? null,
    committing: context.committing ?? false,
    who: `The ${label(side)} database${host === "" ? "" : ` (${host})`}`,
    setting: urlSetting(side),
    text: onOneLine(textOf(inner, "message") ?? String(inner)),
    code: textOf(inner, "code"),
    fromServer: isServerError(inner),
    constraint: textOf(inner, "constraint"),
    constraintTable: textOf(inner, "table")
  }
}

const textOf = (error: unknown, field: string): string | null => {
  const value = Predicate.hasProperty(error, field) ? error[field] : null
  return typeof value === "string" && value !== "" ? value : null
}

/** One line, of bearable length, and no URL in it whatever was said. */
const onOneLine = (text: string): string =>
  text.replace(/\s+/g, " ").trim().replace(/postgres(ql)?:\/\/\S+/gi, "postgresql://…").slice(0, 1000)

/** Not by the code alone: EPIPE and EPERM look like SQLSTATEs. */
const isServerError = (error: unknown): boolean =>
  textOf(error, "severity") !== null && /^[0-9A-Z]{5}$/.test(textOf(error, "code") ?? "")

/** Looks through `SqlError`, `UnknownException` and the like, and picks from what several addresses answered. */
const unwrap = (cause: unknown): unknown => {
  let inner = cause
  for (let depth = 0; depth < 10; depth++) {
    if (isServerError(inner) || Schema.is(SyncError)(inner)) return inner
    const next = Predicate.hasProperty(inner, "errors") && Array.isArray(inner.errors)
      ? mostTelling(inner.errors)
      : Predicate.hasProperty(inner, "cause") && textOf(inner, "code") === null
      ? inner.cause
      : undefined
    if (next === undefined || next === null) return inner
    inner = next
  }
  return inner
}

/** A host may have IPv6 addresses that can't be routed from here: what the others said is the reason. */
const mostTelling = (errors: ReadonlyArray<unknown>): unknown =>
  errors.find((error) => !/^(ENETUNREACH|EHOSTUNREACH|EADDRNOTAVAIL)$/.test(textOf(error, "code") ?? "")) ?? errors[0]

const ofNode = (refusal: Refusal, cause: unknown): SyncError => {
  const answer = ofClient(refusal) ?? ofServer(refusal)
  if (answer !== null) return answered(refusal, answer, cause)
  const { side, text, who } = refusal
  return new WorldRefused({ side, sqlState: null, message: `${who} could not be used: ${text}`, cause })
}

const ofSqlState = (refusal: Refusal): SyncError => {
  const answer = proxied.test(refusal.code ?? "") ? ofServer(refusal) : null
  return answer === null ? bySqlState(refusal) : answered(refusal, answer)
}

/** Codes under which proxies, and servers that let nobody in, say what only their text tells. */
const proxied = /^(XX000|08...|28...|3D000|53...|57P..)$/

const answered = (refusal: Refusal, { message, verdict }: Answer, cause?: unknown): SyncError => {
  const { fromServer, side } = refusal
  const sqlState = fromServer ? refusal.code : null
  const kept = cause === undefined ? {} : { cause }
  switch (verdict) {
    case "later":
    case "slow":
      return unavailable(refusal, { message, sqlState, slow: verdict === "slow", ...kept })
    case "world":
      return new WorldRefused({ side, message, sqlState, ...kept })
    case "action":
      return new ActionNeeded({ side, message })
  }
}
