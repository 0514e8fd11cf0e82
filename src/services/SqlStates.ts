/**
 * What each SQLSTATE means for what to do next. Codes not listed go by their class, and what is listed nowhere is not
 * retried. https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
import type { Side } from "../domain/Side.ts"
import {
  ActionNeeded,
  Contended,
  LeaseTaken,
  RowRefused,
  SchemaDrifted,
  type SyncError,
  Unavailable,
  WorldRefused
} from "../domain/SyncError.ts"
import { display, qualified, quote, type TableName } from "../domain/TableName.ts"
import type { Said } from "./ConnectionRefusals.ts"

/** A server's refusal taken apart, as the rules need it. */
export interface Refusal extends Said {
  readonly side: Side
  readonly table: TableName | undefined
  /** The role that we are, if known. */
  readonly role: string | null
  /** The constraint that is the table's primary key, if the caller said so. */
  readonly primaryKey: string | null
  readonly committing: boolean
  readonly fromServer: boolean
  readonly constraint: string | null
  /** Name of the table that the constraint belongs to, if the server says so. */
  readonly constraintTable: string | null
}

/** SQLSTATE of our guard trigger's complaint: a user's BEFORE trigger dropped the row that was being applied. */
export const rowDropped = "VV001"
/** SQLSTATE of `vaivem.fence`: another copy took the lease meanwhile. */
const tookOver = "VV003"

/** Sorts a refusal by its SQLSTATE. */
export const bySqlState = (refusal: Refusal): SyncError => {
  const code = refusal.code ?? ""
  const rule = states[code] ?? states[code.slice(0, 2)]
  if (rule !== undefined) return rule(refusal)
  // A class that PostgreSQL doesn't have was made up in a RAISE … USING ERRCODE, so a trigger refused the row.
  return knownClasses.has(code.slice(0, 2)) ? world(refusal) : row(refusal)
}

/** `Unavailable`, saying so if the lost answer was that of a COMMIT. */
export const unavailable = (
  { committing, side, who }: Refusal,
  fields: Pick<Unavailable, "message" | "sqlState" | "slow"> & { readonly cause?: unknown }
) =>
  new Unavailable({
    side,
    ...fields,
    message: committing
      ? `${who} went away while a transaction was being committed, so nobody knows whether it was. ${fields.message}`
      : fields.message
  })

type Rule = (refusal: Refusal) => SyncError

const later: Rule = (refusal) =>
  unavailable(refusal, {
    message: `${refusal.who} can't be used now: ${refusal.text} (${refusal.code}).`,
    sqlState: refusal.code,
    slow: false
  })

const slow: Rule = (refusal) =>
  unavailable(refusal, {
    message:
      `${refusal.who} can't be written to until a person does something about it: ${refusal.text} (${refusal.code}).`,
    sqlState: refusal.code,
    slow: true
  })

const world: Rule = ({ code, side, text, who }) =>
  new WorldRefused({ side, sqlState: code, message: `${who} refused: ${text} (${code}).` })

const contended = (reason: Contended["reason"]): Rule => ({ code, side, table, text, who }) =>
  new Contended({
    side,
    sqlState: code,
    reason,
    message: `${who} gave way to another transaction${
      table === undefined ? "" : ` on ${display(table)}`
    }: ${text} (${code}).`,
    ...(table === undefined ? {} : { table })
  })

const row: Rule = (refusal) => {
  const { code, constraint, side, table, text } = refusal
  if (table === undefined || code === null) return world(refusal)
  const message = code.startsWith("22") ? blotted(text) : text
  return new RowRefused({ side, table, sqlState: code, message, constraint })
}

/** Messages of class 22 quote the value: `invalid input syntax for type uuid: "…"`. Names stay readable. */
const blotted = (text: string): string =>
  text.replace(/(\b(?:column|encoding|constraint|relation|domain) "[^"]*")|".*"/g, (_, name) => name ?? "\"…\"")

const duplicate: Rule = (refusal) => {
  const { constraint, constraintTable, primaryKey, table } = refusal
  // Catalog indexes: two installs at once.
  if (constraint?.startsWith("pg_") === true) return contended("key-race")(refusal)
  const isKey = constraint !== null && constraint === primaryKey
  const isHere = table === undefined || constraintTable === null || constraintTable === table.name
  return isKey && isHere ? contended("key-race")(refusal) : row(refusal)
}

const drifted: Rule = (refusal) => {
  const { code, side, table, text, who } = refusal
  if (table === undefined || code === null) return /\bvaivem\b/.test(text) ? notSetUp(refusal) : world(refusal)
  return new SchemaDrifted({
    side,
    table,
    sqlState: code,
    message:
      `${who} has another shape of ${display(table)} than its catalog said: ${text} (${code}). The table waits ` +
      "until its catalog has been read again."
  })
}

const notSetUp: Rule = ({ code, side, text, who }) =>
  new ActionNeeded({
    side,
    message: `${who} is not set up, or only half: ${text} (${code}). Run \`node dist/main.js setup\`.`
  })

const forbidden: Rule = ({ role, side, setting, table, text, who }) => {
  const grantee = role === null ? `<the role in ${setting}>` : quote(role)
  return new ActionNeeded({
    side,
    message: `${who} does not allow it: ${text}. ${permission(text, grantee, table)}`,
    ...(table === undefined ? {} : { table })
  })
}

const permission = (text: string, role: string, table: TableName | undefined): string => {
  const found = /^(?<what>permission denied for|must be owner of) (?<kind>[a-z ]+) (?<name>.+)$/.exec(text)?.groups
  const { kind = "", name = "", what = "" } = found ?? {}
  const isTable = ["table", "relation", "view"].includes(kind)
  const named = isTable && table?.name === name ? qualified(table) : quote(name)
  if (/row-level security/.test(text)) {
    return `Row-level security hides rows from the sync. Run: ALTER ROLE ${role} BYPASSRLS; or, if it owns the table, ` +
      "ALTER TABLE … NO FORCE ROW LEVEL SECURITY."
  }
  if (what.startsWith("must") && isTable) return `Run as its owner: ALTER TABLE ${named} OWNER TO ${role};`
  if (isTable) return `Run as its owner: GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON ${named} TO ${role};`
  if (kind === "schema") return `Run as its owner: GRANT USAGE, CREATE ON SCHEMA ${named} TO ${role};`
  if (kind === "database") return `Run as its owner: GRANT CREATE ON DATABASE ${named} TO ${role};`
  if (kind === "sequence") return `Run as its owner: GRANT USAGE, SELECT ON SEQUENCE ${named} TO ${role};`
  if (kind === "function") return `Run as its owner: GRANT EXECUTE ON FUNCTION ${named} TO ${role};`
  return `Let ${role} own the table, or ask the database's owner for the right.`
}

const needed = (cure: string): Rule => ({ code, side, table, text, who }) =>
  new ActionNeeded({
    side,
    message: `${who} refused: ${text} (${code}). ${cure}`,
    ...(table === undefined ? {} : { table })
  })

/** Some codes mean several things, which only the text tells apart. */
const byText = (text: RegExp, rule: Rule, otherwise: Rule): Rule => (refusal) =>
  text.test(refusal.text) ? rule(refusal) : otherwise(refusal)

const leaseLost = new LeaseTaken({
  message: "Another copy of vaivem took over while this one was at work: what it had not committed is given up."
})

/** By SQLSTATE, else by its class (the first two characters). */
const states: Readonly<Record<string, Rule>> = {
  "08": later, // connection_exception, connection_failure and their like; 08007 transaction_resolution_unknown
  "08P01": world, // protocol_violation; PgBouncer's troubles are known by their texts
  "09": row, // triggered_action_exception
  "0A000": byText(/cached plan/, drifted, world), // feature_not_supported
  "20": row, // case_not_found, in a trigger
  "21": row, // cardinality_violation, in a trigger
  "22": row, // data_exception
  "23": row, // integrity_constraint_violation: not null, foreign key, check, exclusion
  "23505": duplicate, // unique_violation
  "25006": slow, // read_only_sql_transaction: a replica, or a restore
  "25P01": later, // no_active_sql_transaction: ours to mend, on a new connection
  "25P02": later, // in_failed_sql_transaction: likewise
  "25P03": later, // idle_in_transaction_session_timeout
  "25P04": later, // transaction_timeout
  "27": row, // triggered_data_change_violation
  "2BP01": needed("Drop what depends on it, or let it go on existing."), // dependent_objects_still_exist
  "2F": row, // sql_routine_exception
  "38": row, // external_routine_exception
  "39": row, // external_routine_invocation_exception
  "3F000": drifted, // invalid_schema_name
  "40000": contended("serialization"), // transaction_rollback
  "40001": contended("serialization"), // serialization_failure
  "40002": row, // transaction_integrity_constraint_violation
  "40003": later, // statement_completion_unknown
  "40P01": contended("deadlock"), // deadlock_detected
  "42501": forbidden, // insufficient_privilege
  "42703": drifted, // undefined_column
  "42704": drifted, // undefined_object
  "42804": drifted, // datatype_mismatch
  "42809": drifted, // wrong_object_type
  "42846": drifted, // cannot_coerce
  "42883": drifted, // undefined_function
  "428C9": drifted, // generated_always
  "42P01": drifted, // undefined_table
  "42P10": drifted, // invalid_column_reference
  "44": row, // with_check_option_violation
  "53": later, // insufficient_resources, out_of_memory, too_many_connections, configuration_limit_exceeded
  "53100": slow, // disk_full
  "54": row, // program_limit_exceeded: a row too big, triggers too deep
  "55000": byText( // object_not_in_prerequisite_state
    /replica identity/,
    needed(
      "Give the table a replica identity (ALTER TABLE … REPLICA IDENTITY DEFAULT) or take it out of the publication."
    ),
    later
  ),
  "55006": later, // object_in_use
  "55P03": contended("lock-timeout"), // lock_not_available
  "57014": contended("statement-timeout"), // query_canceled: by time-out, by request, or by our own CopyFail
  "57P01": later, // admin_shutdown
  "57P02": later, // crash_shutdown
  "57P03": later, // cannot_connect_now
  "57P05": later, // idle_session_timeout
  "58000": later, // system_error
  "58030": later, // io_error
  "72000": later, // snapshot_too_old
  "P0": row, // raise_exception and PL/pgSQL's own
  [rowDropped]: row,
  [tookOver]: () => leaseLost,
  // internal_error. A value beyond 1 GB, or a row whose text is: PostgreSQL can't hold it.
  "XX000": byText(
    /^tuple concurrently (updated|deleted)/,
    contended("serialization"),
    byText(/^invalid memory alloc request size/, row, later)
  )
}

/** Classes that PostgreSQL defines, and ours. */
const knownClasses = new Set(
  ("00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 " +
    "57 58 72 F0 HV P0 VV XX").split(" ")
)
