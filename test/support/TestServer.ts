/** A server for tests, apart from vitest. */
import { Effect } from "effect"
import * as EmbeddedPostgres from "../../src/services/EmbeddedPostgres.ts"
import { packageOf, versionsOf } from "./PostgresVersions.ts"

/**
 * What a server is asked for that tests use and throw away: nothing is forced to the disk, and there is room for many
 * clients. `synchronous_commit` stays on, for a server that "crashes" must keep what it committed.
 */
export const testSettings = {
  fsync: "off",
  full_page_writes: "off",
  max_connections: "200"
}

/** Which versions `TEST_POSTGRES_VERSION` asks for: `14`, or for different ones `14,18`. */
export const testVersions = versionsOf(process.env["TEST_POSTGRES_VERSION"])

/**
 * A server for one test that stops or restarts it, or needs settings of its own. Always an embedded one, and the URLs
 * that it gives are the superuser's. Its version is the one asked for on Replit's side, unless another is named.
 */
export const freshServer = (settings: Readonly<Record<string, string>> = {}, version = testVersions.replit) =>
  Effect.gen(function*() {
    const all = { settings: { ...testSettings, ...settings } }
    return yield* EmbeddedPostgres.make(
      version === undefined ? all : { ...all, package: yield* packageOf(version) }
    )
  })
