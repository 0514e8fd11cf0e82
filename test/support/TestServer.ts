/** A server for tests, apart from vitest. */
import * as EmbeddedPostgres from "../../src/services/EmbeddedPostgres.ts"

/**
 * What a server is asked for that tests use and throw away: nothing is forced to the disk, and there is room for many
 * clients. `synchronous_commit` stays on, for a server that "crashes" must keep what it committed.
 */
export const testSettings = {
  fsync: "off",
  full_page_writes: "off",
  max_connections: "200"
}

/**
 * A server for one test that stops or restarts it, or needs settings of its own. Always an embedded one, and the URLs
 * that it gives are the superuser's.
 */
export const freshServer = (settings: Readonly<Record<string, string>> = {}) =>
  EmbeddedPostgres.make({ settings: { ...testSettings, ...settings } })
