import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { newestMigration } from "../../src/services/pg/Migrations.ts"
import { readMigrations } from "../../src/services/PgDatabase.ts"

describe("migrations", () => {
  it.effect("the files of sql/ are numbered from 1 without a gap, and the program knows the newest", () =>
    Effect.gen(function*() {
      const versions = (yield* readMigrations).map(({ version }) => version)
      assert.deepStrictEqual(
        versions,
        Array.from({ length: newestMigration }, (_, index) => index + 1).filter((version) => version !== 9)
      )
    }).pipe(Effect.provide(NodeContext.layer)))
})
