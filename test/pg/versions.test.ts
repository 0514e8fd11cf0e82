/** That `npm run test:matrix` tests the versions that it says. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { freshPair, query } from "../support/TestPostgres.ts"
import { testVersions } from "../support/TestServer.ts"

it.scopedLive("the sides have the versions that TEST_POSTGRES_VERSION asks for, and owners that are no superusers", () =>
  Effect.gen(function*() {
    const pair = yield* freshPair
    for (const side of ["replit", "external"] as const) {
      const [row] = yield* query<{ version: string; superuser: boolean }>(
        pair[side],
        `select split_part(current_setting('server_version'), '.', 1) as version, rolsuper as superuser
         from pg_roles where rolname = current_user`
      )
      assert.strictEqual(row?.superuser, false)
      assert.strictEqual(row?.version, testVersions[side] ?? row?.version)
    }
  }))
