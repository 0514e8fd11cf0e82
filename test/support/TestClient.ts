/** A plain node-postgres client, for a test to write and look with, apart from the code that is tested. */
import { Data, Effect, Redacted, type Scope } from "effect"
import * as Pg from "pg"

/** What the server said to a test's own statement. */
export class TestSqlError extends Data.TaggedError("TestSqlError")<{
  readonly message: string
  /** SQLSTATE, or the system's code if no connection was made. */
  readonly code: string | undefined
  readonly cause: unknown
}> {}

export interface TestClient {
  /**
   * Runs a statement, or without parameters a script of several, and returns the (last) rows. Booleans are booleans and
   * integers (also `bigint`, as in `count(*)`) numbers; everything else is the text that PostgreSQL prints.
   */
  readonly query: <Row = Record<string, unknown>>(
    text: string,
    params?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Row>, TestSqlError>
  /** For what `query` can't do: COPY, LISTEN, two statements at once. */
  readonly raw: Pg.Client
}

/** A connection for the current scope. */
export const connect = (url: Redacted.Redacted): Effect.Effect<TestClient, TestSqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const raw = new Pg.Client({ connectionString: Redacted.value(url), types, application_name: "test" })
    // A server that goes away is told by the next statement.
    raw.on("error", () => {})
    yield* Effect.acquireRelease(said(() => raw.connect()), () => Effect.promise(() => raw.end()))
    const query: TestClient["query"] = (text, params) =>
      Effect.map(
        said(() => raw.query(text, params === undefined ? undefined : [...params])),
        (result: Pg.QueryResult | ReadonlyArray<Pg.QueryResult>) => [result].flat().at(-1)?.rows ?? []
      )
    return { query, raw }
  })

/** One statement or script, on a connection of its own. */
export const query = <Row = Record<string, unknown>>(
  url: Redacted.Redacted,
  text: string,
  params?: ReadonlyArray<unknown>
): Effect.Effect<ReadonlyArray<Row>, TestSqlError> =>
  Effect.scoped(Effect.flatMap(connect(url), (client) => client.query<Row>(text, params)))

const said = <A>(body: () => Promise<A>): Effect.Effect<A, TestSqlError> =>
  Effect.tryPromise({
    try: body,
    catch: (cause) =>
      new TestSqlError({
        message: cause instanceof Error ? cause.message : String(cause),
        code: cause instanceof Error && "code" in cause ? String(cause.code) : undefined,
        cause
      })
  })

/** Types by oid: bool; int8, int2, int4, oid. */
const types: Pg.CustomTypesConfig = {
  getTypeParser: (oid: number) => {
    if (oid === 16) return (text: string) => text === "t"
    if ([20, 21, 23, 26].includes(oid)) return Number
    return String
  }
}
