/** A new database on each of two servers, with an owner that is an ordinary role. Dropped when the scope closes. */
import { Effect, Redacted, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import type { Side } from "../../src/domain/Side.ts"
import { sides } from "../../src/domain/Side.ts"
import type { EmbeddedPostgres } from "../../src/services/EmbeddedPostgres.ts"
import { query, type TestSqlError } from "../support/TestClient.ts"

export interface EndurePair {
  /** The owners' URLs. */
  readonly urls: Readonly<Record<Side, Redacted.Redacted>>
  /** The superuser's way to the same database. */
  readonly admin: (url: Redacted.Redacted) => Redacted.Redacted
}

export const makePair = (
  servers: Readonly<Record<Side, EmbeddedPostgres>>
): Effect.Effect<EndurePair, TestSqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const [replit, external] = yield* Effect.forEach(sides, (side) => freshDatabase(servers[side]))
    return {
      urls: { replit: replit!, external: external! },
      admin: (url) => {
        const { pathname, port } = new URL(Redacted.value(url))
        const server = sides.map((side) => servers[side]).find((found) => String(found.port) === port)
        return server!.url(pathname.slice(1))
      }
    }
  })

const freshDatabase = (server: EmbeddedPostgres) =>
  Effect.gen(function*() {
    const name = `endure_${randomBytes(6).toString("hex")}`
    yield* query(server.url(), `create role ${name} login password '${name}'`)
    yield* Effect.acquireRelease(
      query(server.url(), `create database ${name} owner ${name}`),
      () => Effect.orDie(query(server.url(), `drop database ${name} with (force)`))
    )
    return Redacted.make(
      Object.assign(new URL(Redacted.value(server.url(name))), { username: name, password: name }).href
    )
  })
