/**
 * Starts the PostgreSQL server that the tests of the project `pg` share, and tells them the superuser's URL of it.
 *
 * It is an embedded one, or with `TEST_POSTGRES=container` a container of the image `TEST_POSTGRES_IMAGE`
 * (`postgres:16`).
 */
import { Effect, Exit, Redacted, Scope } from "effect"
import type { TestProject } from "vitest/node"
import { freshServer, testSettings } from "./TestServer.ts"

declare module "vitest" {
  interface ProvidedContext {
    readonly postgresUrl: string
  }
}

const embedded = Effect.map(freshServer(), (server) => Redacted.value(server.url()))

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
  const server = process.env["TEST_POSTGRES"] === "container" ? container : embedded
  project.provide("postgresUrl", await Effect.runPromise(Scope.extend(server, scope)))
  return () => Effect.runPromise(Scope.close(scope, Exit.void))
}
