/**
 * Starts the PostgreSQL server that the tests of the project `pg` share, and tells them the superuser's URL of it.
 *
 * It is an embedded one, or with `TEST_POSTGRES=container` a container of the image `TEST_POSTGRES_IMAGE`
 * (`postgres:16`). With `TEST_POSTGRES_VERSION=14` it is an embedded one of that version; with `14,18` there are two, and
 * pairs have their external side on the second.
 */
import { Effect, Exit, Redacted, Scope } from "effect"
import type { TestProject } from "vitest/node"
import type { EmbeddedPostgresError } from "../../src/services/PostgresBinaries.ts"
import { freshServer, testSettings, testVersions } from "./TestServer.ts"

declare module "vitest" {
  interface ProvidedContext {
    readonly postgresUrl: string
    /** The same, unless the two sides are of different versions. */
    readonly externalPostgresUrl: string
  }
}

const embedded = (version: string | undefined) =>
  Effect.map(freshServer({}, version), (server) => Redacted.value(server.url()))

const container = Effect.gen(function*() {
  const { PostgreSqlContainer } = yield* Effect.promise(() => import("@testcontainers/postgresql"))
  const settings = Object.entries(testSettings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  const started = yield* Effect.acquireRelease(
    Effect.promise(() =>
      new PostgreSqlContainer(process.env["TEST_POSTGRES_IMAGE"] ?? "postgres:16")
        .withDatabase("postgres")
        .withUsername("postgres")
        .withCommand(["postgres", ...settings])
        .start()
    ),
    (started) => Effect.promise(() => started.stop())
  )
  // The container is reached by the address of Docker's bridge, where the service would ask for TLS.
  return `${started.getConnectionUri()}?sslmode=disable`
})

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const scope = await Effect.runPromise(Scope.make())
  const started = (server: Effect.Effect<string, EmbeddedPostgresError, Scope.Scope>) =>
    Effect.runPromise(Scope.extend(server, scope))
  const { external, replit } = testVersions
  const url = await started(process.env["TEST_POSTGRES"] === "container" ? container : embedded(replit))
  project.provide("postgresUrl", url)
  project.provide("externalPostgresUrl", external === replit ? url : await started(embedded(external)))
  return () => Effect.runPromise(Scope.close(scope, Exit.void))
}
