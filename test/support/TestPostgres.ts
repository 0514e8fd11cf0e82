/**
 * Databases and roles for one test, on the server that `globalSetup` started. Only tests below `test/pg` and those of the
 * built program have it. Everything is named by its URL.
 */
import { Effect, Redacted, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import { inject } from "vitest"
import { type Side, sides } from "../../src/domain/Side.ts"
import { query, type TestSqlError } from "./TestClient.ts"

export { connect, query } from "./TestClient.ts"
export { freshServer } from "./TestServer.ts"

/** The superuser's URL of a database, of the test server's `postgres` by default. */
export const asAdmin = (url: Redacted.Redacted = serverOf("replit")): Redacted.Redacted => {
  const { host, pathname } = new URL(Redacted.value(url))
  const server = sides.map(serverOf).find((server) => new URL(Redacted.value(server)).host === host)
  return withUrl(server ?? serverOf("replit"), (admin) => {
    admin.pathname = pathname
  })
}

/**
 * A new database, dropped when the scope closes. The URL is its owner's: an ordinary role with no rights but that. The
 * side matters only if the two are of different versions.
 */
export const freshDatabaseOf = (side: Side): Effect.Effect<Redacted.Redacted, TestSqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const admin = serverOf(side)
    const name = freshName("test")
    const owner = yield* makeRole(admin, name)
    yield* Effect.acquireRelease(
      // Whatever the server's own encoding is: an image's may be SQL_ASCII.
      query(admin, `create database ${name} owner ${name} template template0 encoding 'UTF8' locale 'C.UTF-8'`),
      () => Effect.orDie(query(admin, `drop database if exists ${name} with (force)`))
    )
    return withUrl(owner, (url) => {
      url.pathname = name
    })
  })

export const freshDatabase = freshDatabaseOf("replit")

/** A copy of a database that nobody uses now, its owner's too; dropped when the scope closes. */
export const copyOfDatabase = (url: Redacted.Redacted): Effect.Effect<Redacted.Redacted, TestSqlError, Scope.Scope> => {
  const name = freshName("copy")
  const { pathname, username } = new URL(Redacted.value(url))
  const admin = withUrl(asAdmin(url), (postgres) => {
    postgres.pathname = "postgres"
  })
  return Effect.acquireRelease(
    query(admin, `create database ${name} owner ${username} template ${pathname.slice(1)}`),
    () => Effect.orDie(query(admin, `drop database if exists ${name} with (force)`))
  ).pipe(Effect.as(withUrl(url, (copy) => {
    copy.pathname = name
  })))
}

/** Two databases, each with an owner of its own; of one server, unless the two sides are of different versions. */
export const freshPair: Effect.Effect<
  { readonly replit: Redacted.Redacted; readonly external: Redacted.Redacted },
  TestSqlError,
  Scope.Scope
> = Effect.all({ replit: freshDatabaseOf("replit"), external: freshDatabaseOf("external") })

/**
 * A new ordinary role, for the database of the URL; dropped, with all that it owns and may there, when the scope
 * closes.
 */
export const freshRole = (
  database: Redacted.Redacted
): Effect.Effect<{ readonly name: string; readonly url: Redacted.Redacted }, TestSqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const name = freshName("role")
    const url = yield* makeRole(database, name)
    yield* Effect.addFinalizer(() => Effect.orDie(query(asAdmin(database), `drop owned by ${name} cascade`)))
    return { name, url }
  })

const serverOf = (side: Side) => Redacted.make(inject(side === "replit" ? "postgresUrl" : "externalPostgresUrl"))

const makeRole = (database: Redacted.Redacted, name: string) => {
  const password = randomBytes(9).toString("hex")
  const admin = asAdmin(database)
  return Effect.acquireRelease(
    query(admin, `create role ${name} login password '${password}'`),
    () => Effect.orDie(query(admin, `drop role ${name}`))
  ).pipe(Effect.as(withUrl(database, (url) => {
    url.username = name
    url.password = password
  })))
}

const withUrl = (url: Redacted.Redacted, change: (url: URL) => void): Redacted.Redacted => {
  const copy = new URL(Redacted.value(url))
  change(copy)
  return Redacted.make(copy.href)
}

const freshName = (prefix: string) => `${prefix}_${randomBytes(6).toString("hex")}`
