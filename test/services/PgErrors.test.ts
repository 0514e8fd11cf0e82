import { SqlError } from "@effect/sql/SqlError"
import { assert, describe, it } from "@effect/vitest"
import { Cause, FastCheck as fc } from "effect"
import { DatabaseError } from "pg"
import { exitCode, retryable, type SyncError, Unavailable } from "../../src/domain/SyncError.ts"
import { fromPg, type PgErrorContext } from "../../src/services/PgErrors.ts"

const perfis = { schema: "public", name: "perfis" }
const target = { host: "ep-x-1.eu.aws.neon.tech", port: 5432, user: "ana" }

/** As node-postgres makes it of the server's message. */
const server = (code: string, message: string, more: Partial<DatabaseError> = {}) =>
  Object.assign(new DatabaseError(message, 100, "error"), { severity: "ERROR", code, ...more })

/** As Node's sockets make it. */
const node = (code: string, message = `connect ${code} 10.0.0.1:5432`) => Object.assign(new Error(message), { code })

/** In short: the tag and what else decides. */
const kind = (error: SyncError): string => {
  if (error._tag === "Unavailable") return error.slow ? "Unavailable slow" : "Unavailable"
  return error._tag === "Contended" ? `Contended ${error.reason}` : error._tag
}

const onTable = (cause: unknown, context: PgErrorContext = {}) => fromPg("external", perfis, context)(cause)
const onConnect = (cause: unknown) => fromPg("external", undefined, { target })(cause)

const sqlStates: ReadonlyArray<readonly [code: string, kind: string, message?: string]> = [
  ["08000", "Unavailable"], // connection_exception
  ["08001", "Unavailable"], // sqlclient_unable_to_establish_sqlconnection
  ["08003", "Unavailable"], // connection_does_not_exist
  ["08004", "Unavailable"], // sqlserver_rejected_establishment_of_sqlconnection
  ["08006", "Unavailable"], // connection_failure
  ["08007", "Unavailable"], // transaction_resolution_unknown
  ["40003", "Unavailable"], // statement_completion_unknown
  ["08P01", "Unavailable", "query_wait_timeout"], // protocol_violation, from PgBouncer
  ["08P01", "Unavailable", "server conn crashed?"],
  ["08P01", "Unavailable", "no more connections allowed (max_client_conn)"],
  ["08P01", "Unavailable", "pause failed"],
  ["08P01", "Unavailable", "client_idle_timeout"],
  ["08P01", "ActionNeeded", "unsupported startup parameter: statement_timeout"],
  ["08P01", "WorldRefused", "bind message has 1 parameter formats but 2 parameters"],
  ["40000", "Contended serialization"], // transaction_rollback
  ["40001", "Contended serialization"], // serialization_failure
  ["40P01", "Contended deadlock"], // deadlock_detected
  ["40002", "RowRefused"], // transaction_integrity_constraint_violation
  ["53000", "Unavailable"], // insufficient_resources
  ["53000", "Unavailable slow", "Your project has exceeded the data transfer quota. Upgrade your plan."],
  ["53200", "Unavailable"], // out_of_memory
  ["53300", "Unavailable"], // too_many_connections
  ["53400", "Unavailable"], // configuration_limit_exceeded
  ["53100", "Unavailable slow"], // disk_full
  ["53100", "Unavailable slow", "could not extend file because project size limit (512 MB) has been exceeded"],
  ["55P03", "Contended lock-timeout"], // lock_not_available
  ["55006", "Unavailable"], // object_in_use
  ["55000", "Unavailable"], // object_not_in_prerequisite_state
  ["55000", "ActionNeeded", "cannot update table \"perfis\" because it does not have a replica identity"],
  ["57P01", "Unavailable", "terminating connection due to administrator command"], // admin_shutdown
  ["57P02", "Unavailable"], // crash_shutdown
  ["57P03", "Unavailable", "the database system is starting up"], // cannot_connect_now
  ["57P05", "Unavailable"], // idle_session_timeout
  ["57P04", "WorldRefused"], // database_dropped
  ["57014", "Contended statement-timeout", "canceling statement due to statement timeout"], // query_canceled
  ["57014", "Contended statement-timeout", "COPY from stdin failed: aborted"],
  ["25P03", "Unavailable"], // idle_in_transaction_session_timeout
  ["25P04", "Unavailable"], // transaction_timeout
  ["25006", "Unavailable slow"], // read_only_sql_transaction
  ["25P01", "Unavailable"], // no_active_sql_transaction
  ["25P02", "Unavailable"], // in_failed_sql_transaction
  ["28000", "WorldRefused"], // invalid_authorization_specification
  ["28000", "Unavailable slow", "The endpoint has been disabled. Enable it using Neon API and retry."],
  ["28000", "WorldRefused", "no pg_hba.conf entry for host \"1.2.3.4\", user \"u\", database \"d\", no encryption"],
  ["28000", "WorldRefused", "role \"ana\" does not exist"],
  ["28P01", "WorldRefused"], // invalid_password
  ["3D000", "WorldRefused", "database \"x\" does not exist"], // invalid_catalog_name
  ["3F000", "SchemaDrifted"], // invalid_schema_name
  ["42501", "ActionNeeded"], // insufficient_privilege
  ["42P01", "SchemaDrifted"], // undefined_table
  ["42703", "SchemaDrifted"], // undefined_column
  ["42704", "SchemaDrifted"], // undefined_object
  ["42883", "SchemaDrifted"], // undefined_function
  ["42804", "SchemaDrifted"], // datatype_mismatch
  ["42846", "SchemaDrifted"], // cannot_coerce
  ["42809", "SchemaDrifted"], // wrong_object_type
  ["42P10", "SchemaDrifted"], // invalid_column_reference
  ["428C9", "SchemaDrifted"], // generated_always
  ["0A000", "SchemaDrifted", "cached plan must not change result type"], // feature_not_supported
  ["0A000", "WorldRefused"],
  ["2BP01", "ActionNeeded"], // dependent_objects_still_exist
  ["22001", "RowRefused"], // string_data_right_truncation
  ["22003", "RowRefused"], // numeric_value_out_of_range
  ["22P02", "RowRefused"], // invalid_text_representation
  ["22021", "RowRefused"], // character_not_in_repertoire
  ["23502", "RowRefused"], // not_null_violation
  ["23503", "RowRefused"], // foreign_key_violation
  ["23505", "RowRefused"], // unique_violation
  ["23514", "RowRefused"], // check_violation
  ["23P01", "RowRefused"], // exclusion_violation
  ["44000", "RowRefused"], // with_check_option_violation
  ["54000", "RowRefused", "row is too big: size 8264, maximum size 8160"], // program_limit_exceeded
  ["54001", "RowRefused"], // statement_too_complex: a trigger that calls itself
  ["P0001", "RowRefused"], // raise_exception
  ["P0001", "RowRefused", "password authentication failed for user 'x'"], // a trigger may say anything
  ["P0004", "RowRefused"], // assert_failure
  ["27000", "RowRefused"], // triggered_data_change_violation
  ["PT409", "RowRefused"], // a trigger's own code
  ["45000", "RowRefused"], // a trigger's own code, as in other databases
  ["VV001", "RowRefused"], // ours: a BEFORE trigger dropped the row
  ["VV999", "WorldRefused"],
  ["42601", "WorldRefused"], // syntax_error: unknown to the table, so not retried
  ["58000", "Unavailable"], // system_error
  ["58030", "Unavailable"], // io_error
  ["58P01", "WorldRefused"], // undefined_file
  ["XX001", "WorldRefused"], // data_corrupted
  ["XX002", "WorldRefused"], // index_corrupted
  ["XX000", "Contended serialization", "tuple concurrently updated"], // internal_error
  ["XX000", "RowRefused", "invalid memory alloc request size 1200000003"],
  ["XX000", "Unavailable"]
]

const neon: ReadonlyArray<readonly [text: string, kind: string]> = [
  ["password authentication failed for user 'neondb_owner'", "WorldRefused"],
  ["The role you're attempting to use is protected", "WorldRefused"],
  [
    "The requested endpoint could not be found, or you don't have access to it. Please check the provided ID and try again.",
    "WorldRefused"
  ],
  ["The requested project could not be found", "WorldRefused"],
  ["The requested branch could not be found", "WorldRefused"],
  ["database \"x\" does not exist", "WorldRefused"],
  ["The endpoint has been disabled. Enable it using the API and retry.", "Unavailable slow"],
  ["Access to this endpoint is temporarily disabled", "Unavailable slow"],
  ["Control plane request failed: endpoint is disabled", "Unavailable slow"],
  ["Control plane request failed: endpoint cannot be found", "WorldRefused"],
  [
    "Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or contact our support.",
    "Unavailable slow"
  ],
  ["Control plane request failed", "Unavailable"],
  [
    "Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.",
    "Unavailable slow"
  ],
  ["Your project has exceeded the data transfer quota.", "Unavailable slow"],
  ["Your project has exceeded the written data quota", "Unavailable slow"],
  ["Your project has exceeded the active time quota", "Unavailable slow"],
  ["Your project has exceeded the logical size quota", "Unavailable slow"],
  ["You've exceeded the compute time for this branch", "Unavailable slow"],
  ["You have exceeded the limit of concurrently active endpoints", "Unavailable slow"],
  ["You've exceeded the rate limit. Please wait a moment and try again.", "Unavailable slow"],
  ["Your project already has running operations", "Unavailable"],
  ["This IP address 1.2.3.4 is not allowed to connect to this endpoint.", "WorldRefused"],
  ["remaining connection slots are reserved for roles with the SUPERUSER attribute", "Unavailable"],
  ["Project name ('x y') must contain only alphanumeric characters and hyphen.", "WorldRefused"],
  ["connection is insecure (try using `sslmode=require`)", "WorldRefused"],
  ["Endpoint ID is not specified. Either please upgrade the postgres client library (libpq)", "WorldRefused"],
  ["The endpoint ID is not specified.", "WorldRefused"],
  ["Inconsistent project name inferred from SNI ('a') and project option ('b').", "WorldRefused"],
  ["Couldn't connect to compute node", "Unavailable"],
  [
    "Failed to acquire permit to connect to the database. Too many database connection attempts are ongoing.",
    "Unavailable"
  ],
  ["Too many connections attempts", "Unavailable"],
  ["Too many connections to this endpoint. Please try again later.", "Unavailable"],
  ["Authentication timed out", "Unavailable"],
  ["unsupported channel binding method", "WorldRefused"],
  ["authentication protocol violation", "WorldRefused"],
  ["Malformed password message: no", "WorldRefused"],
  ["server login has been failing, cached error: connect failed (server_login_retry)", "Unavailable"],
  ["unsupported startup parameter in options: lock_timeout", "ActionNeeded"]
]

const network: ReadonlyArray<readonly [error: Error, kind: string]> = [
  [node("ECONNREFUSED"), "Unavailable"],
  [node("ECONNRESET"), "Unavailable"],
  [
    node("ECONNRESET", "Client network socket disconnected before secure TLS connection was established"),
    "Unavailable"
  ],
  [node("ETIMEDOUT"), "Unavailable"],
  [node("EPIPE", "write EPIPE"), "Unavailable"],
  [node("EHOSTUNREACH"), "Unavailable"],
  [node("ENETUNREACH"), "Unavailable"],
  [node("ENOENT", "connect ENOENT /tmp/.s.PGSQL.5432"), "Unavailable"],
  [node("EAI_AGAIN", "getaddrinfo EAI_AGAIN db.example.com"), "Unavailable"],
  [node("ENOTFOUND", "getaddrinfo ENOTFOUND db.example.com"), "WorldRefused"],
  [node("EPERM"), "WorldRefused"],
  [node("CERT_HAS_EXPIRED", "certificate has expired"), "WorldRefused"],
  [node("DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate"), "WorldRefused"],
  [node("SELF_SIGNED_CERT_IN_CHAIN", "self-signed certificate in certificate chain"), "WorldRefused"],
  [node("UNABLE_TO_VERIFY_LEAF_SIGNATURE", "unable to verify the first certificate"), "WorldRefused"],
  [node("ERR_TLS_CERT_ALTNAME_INVALID", "Hostname/IP does not match certificate's altnames"), "WorldRefused"],
  [node("ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number"), "WorldRefused"],
  [node("EPROTO", "write EPROTO"), "WorldRefused"],
  [node("ERR_STREAM_PREMATURE_CLOSE", "Premature close"), "Unavailable"],
  [new Error("Connection terminated unexpectedly"), "Unavailable"],
  [new Error("Connection terminated"), "Unavailable"],
  [new Error("timeout expired"), "Unavailable"],
  [
    new Error("Connection terminated due to connection timeout", { cause: new Error("Connection terminated") }),
    "Unavailable"
  ],
  [new Error("timeout exceeded when trying to connect"), "Unavailable"],
  [new Error("Query read timeout"), "Unavailable"],
  [new Error("Client has encountered a connection error and is not queryable"), "Unavailable"],
  [new Error("Client was closed and is not queryable"), "Unavailable"],
  [new Error("Cannot use a pool after calling end on the pool"), "Unavailable"],
  [new Error("There was an error establishing an SSL connection"), "Unavailable"],
  [new Error("The server does not support SSL connections"), "WorldRefused"],
  [new Error("SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string"), "ActionNeeded"],
  [new Error("SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a non-empty string"), "ActionNeeded"],
  [new Error("SASL: Only mechanism(s) SCRAM-SHA-256 are supported"), "WorldRefused"],
  [new TypeError("Cannot read properties of undefined"), "WorldRefused"]
]

describe("an error of the server", () => {
  for (const [code, expected, message = "no"] of sqlStates) {
    it(`${code} (${message}) is ${expected}`, () => {
      const error = onTable(server(code, message))
      assert.strictEqual(kind(error), expected)
      if ("sqlState" in error) assert.strictEqual(error.sqlState, code)
    })
  }

  it.prop(
    "that nobody knows is told and never retried",
    [fc.stringMatching(/^(0F|34|3B|F0|HV|42)[0-9]{3}$/)],
    ([code]) => {
      const error = onConnect(server(code, "something new"))
      assert.strictEqual(retryable(error), "never")
      assert.include(error.message, "something new")
    }
  )

  it("about a row or a table is nobody's row when no table is in hand", () => {
    assert.strictEqual(onConnect(server("22P02", "no"))._tag, "WorldRefused")
    assert.strictEqual(onConnect(server("P0001", "no"))._tag, "WorldRefused")
    const lacking = onConnect(server("42P01", "relation \"vaivem.pairs\" does not exist"))
    assert.strictEqual(lacking._tag, "ActionNeeded")
    assert.include(lacking.message, "setup")
    assert.strictEqual(onConnect(server("42704", "unrecognized configuration parameter \"nope\""))._tag, "WorldRefused")
  })
})

describe("a text of Neon's proxy", () => {
  for (const [text, expected] of neon) {
    it(`${JSON.stringify(text)} is ${expected} under XX000, under a code that fits, and without one`, () => {
      assert.strictEqual(kind(onConnect(server("XX000", text))), expected)
      assert.strictEqual(kind(onConnect(server("08006", text))), expected)
      assert.strictEqual(kind(onConnect(new Error(text))), expected)
    })
  }
})

describe("an error of the network or of node-postgres", () => {
  for (const [error, expected] of network) {
    it(`${JSON.stringify(error.message)} is ${expected}`, () => assert.strictEqual(kind(onConnect(error)), expected))
  }

  it("of several addresses is the most telling one", () => {
    const refused = Object.assign(new AggregateError([node("ENETUNREACH"), node("ECONNREFUSED")]), {
      code: "ENETUNREACH"
    })
    assert.include(onConnect(refused).message, "ECONNREFUSED")
    assert.strictEqual(kind(onConnect(Object.assign(new AggregateError([]), { code: "ECONNREFUSED" }))), "Unavailable")
    assert.strictEqual(
      kind(onConnect(new AggregateError([node("ENOTFOUND", "getaddrinfo ENOTFOUND h")]))),
      "WorldRefused"
    )
  })

  it("is found inside what wraps it", () => {
    const wrapped = new SqlError({ message: "Failed", cause: new Cause.UnknownException(server("40001", "no")) })
    assert.strictEqual(kind(onTable(wrapped)), "Contended serialization")
    const known = new Unavailable({ side: "replit", message: "x", sqlState: null, slow: false })
    assert.strictEqual(onTable(new SqlError({ message: "Failed", cause: known })), known)
    assert.strictEqual(kind(onConnect("timeout expired")), "Unavailable")
    assert.strictEqual(kind(onConnect(undefined)), "WorldRefused")
  })
})

describe("a unique violation while applying", () => {
  const violation = (constraint: string, table = "perfis") =>
    onTable(server("23505", "duplicate key", { constraint, table, detail: "Key (id)=(7) exists." }), {
      primaryKey: "perfis_pkey"
    })

  it("of the primary key is a race", () => assert.strictEqual(kind(violation("perfis_pkey")), "Contended key-race"))

  it("of another key is the row's own fault, with the constraint named", () => {
    const error = violation("perfis_email_key")
    assert.strictEqual(error._tag === "RowRefused" ? error.constraint : "none", "perfis_email_key")
  })

  it("of another table's key of that name is the row's own fault", () =>
    assert.strictEqual(kind(violation("perfis_pkey", "audit")), "RowRefused"))

  it("in the catalog is another install at the same time", () => {
    const error = onConnect(server("23505", "duplicate key", { constraint: "pg_namespace_nspname_index" }))
    assert.strictEqual(kind(error), "Contended key-race")
  })
})

describe("a connection lost during COMMIT", () => {
  for (
    const cause of [server("57P01", "terminating"), new Error("Connection terminated unexpectedly"), node("ECONNRESET")]
  ) {
    it(`says that the outcome is unknown (${cause.message})`, () => {
      const error = onTable(cause, { committing: true })
      assert.strictEqual(kind(error), "Unavailable")
      assert.include(error.message, "nobody knows whether it was")
    })
  }

  it("is not what a serialization failure at COMMIT is", () => {
    assert.strictEqual(kind(onTable(server("40001", "no"), { committing: true })), "Contended serialization")
  })
})

describe("a message", () => {
  const cures: ReadonlyArray<readonly [cause: unknown, words: RegExp]> = [
    [
      server("28P01", "autenticação do tipo senha falhou"),
      /refused the user name or the password.*EXTERNAL_DB_URL.*-pooler/
    ],
    [server("XX000", "The endpoint has been disabled."), /asleep or disabled\. Enable its endpoint/],
    [server("XX000", "connection is insecure"), /sslmode=require .*EXTERNAL_DB_URL/],
    [server("08P01", "unsupported startup parameter: options"), /direct host in EXTERNAL_DB_URL/],
    [new Error("The server does not support SSL connections"), /sslmode=disable into EXTERNAL_DB_URL.*helium/],
    [node("ENOTFOUND", "getaddrinfo ENOTFOUND helium"), /Replit workspace only/],
    [node("ECONNREFUSED"), /can't be reached at port 5432 \(ECONNREFUSED\).*EXTERNAL_DB_URL/],
    [node("CERT_HAS_EXPIRED", "certificate has expired"), /CERT_HAS_EXPIRED.*sslrootcert=<file>/]
  ]
  for (const [cause, words] of cures) {
    it(`names the cure: ${words.source}`, () => {
      assert.match(onConnect(cause).message, /The external database \(ep-x-1\.eu\.aws\.neon\.tech\)/)
      assert.match(onConnect(cause).message, words)
    })
  }

  const grants: ReadonlyArray<readonly [text: string, words: string]> = [
    [
      "permission denied for table perfis",
      "GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON \"public\".\"perfis\" TO \"ana\";"
    ],
    ["must be owner of table perfis", "ALTER TABLE \"public\".\"perfis\" OWNER TO \"ana\";"],
    ["permission denied for schema loja", "GRANT USAGE, CREATE ON SCHEMA \"loja\" TO \"ana\";"],
    ["permission denied for database app", "GRANT CREATE ON DATABASE \"app\" TO \"ana\";"],
    ["permission denied for sequence s", "GRANT USAGE, SELECT ON SEQUENCE \"s\" TO \"ana\";"],
    ["permission denied for function f", "GRANT EXECUTE ON FUNCTION \"f\" TO \"ana\";"],
    ["new row violates row-level security policy for table \"perfis\"", "ALTER ROLE \"ana\" BYPASSRLS"],
    ["permissão negada", "Let \"ana\" own the table"]
  ]
  for (const [text, words] of grants) {
    it(`names the right that is missing: ${text}`, () =>
      assert.include(onTable(server("42501", text), { target }).message, words))
  }

  it("names the setting where the role is not known", () => {
    const { message } = fromPg("replit")(server("42501", "permission denied for schema public"))
    assert.include(message, "TO <the role in DATABASE_URL>;")
  })

  const quoting: ReadonlyArray<readonly [code: string, text: string, blotted: string]> = [
    ["22P02", "invalid input syntax for type uuid: \"ana@example.com\"", "invalid input syntax for type uuid: \"…\""],
    ["22P02", "invalid input syntax for type uuid: \"a\"b\nc\"", "invalid input syntax for type uuid: \"…\""],
    ["22003", "value \"99999\" is out of range for type smallint", "value \"…\" is out of range for type smallint"],
    ["22P04", "missing data for column \"nome\"", "missing data for column \"nome\""],
    [
      "22021",
      "character with byte sequence 0x81 in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
      "character with byte sequence 0x81 in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\""
    ],
    ["23502", "null value in column \"nome\" violates", "null value in column \"nome\" violates"]
  ]
  for (const [code, text, blotted] of quoting) {
    it(`shows names and no values: ${text}`, () => assert.strictEqual(onTable(server(code, text)).message, blotted))
  }

  it("holds nothing of DETAIL, CONTEXT or the query, and neither does the error", () => {
    const secret = {
      detail: "Key (email)=(ana@x) exists",
      where: "COPY s, line 1: ana@x",
      hint: "ana@x",
      internalQuery: "ana@x"
    }
    for (const [code] of sqlStates) {
      const error = onTable(server(code, "no", secret))
      assert.notInclude(`${error.message} ${JSON.stringify(error)} ${String(error.cause)}`, "ana@x")
    }
  })

  it("holds no URL, whoever wrote it there", () => {
    const { message } = onConnect(new Error("cannot parse postgresql://ana:sec@h/d?x=1 at all"))
    assert.include(message, "cannot parse postgresql://… at all")
  })

  it.prop(
    "is one line for the person, whatever was said",
    [fc.string(), fc.constantFrom("XX000", "23514", "57P01")],
    ([text, code]) => {
      assert.notMatch(onTable(server(code, `x${text}`)).message, /\n/)
    }
  )
})

describe("what to do next", () => {
  it("follows from the error", () => {
    const table: ReadonlyArray<readonly [SyncError, 1 | 2 | 3, string]> = [
      [onTable(server("57P01", "no")), 1, "later"],
      [onTable(server("40001", "no")), 1, "now"],
      [onTable(server("23514", "no")), 3, "never"],
      [onTable(server("28P01", "no")), 1, "never"],
      [onTable(server("42501", "no")), 2, "never"],
      [onTable(server("42703", "no")), 3, "never"]
    ]
    for (const [error, exit, retry] of table) {
      assert.deepStrictEqual([error._tag, exitCode(error), retryable(error)], [error._tag, exit, retry])
    }
  })
})
