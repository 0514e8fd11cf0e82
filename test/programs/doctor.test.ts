import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { doctorText } from "../../src/cli/doctor.ts"
import { ActionNeeded } from "../../src/domain/SyncError.ts"
import type { TableName } from "../../src/domain/TableName.ts"
import { checkExitCode } from "../../src/programs/check.ts"
import { curesOf, doctor, doctorExitCode } from "../../src/programs/doctor.ts"
import type { MemoryTable } from "../../src/services/memory/MemoryTable.ts"
import { makePair, perfis, perfisTable } from "../support/MemoryPair.ts"

const pedidos: TableName = { schema: "public", name: "pedidos" }

const table = (sequence: boolean): MemoryTable => ({
  name: pedidos,
  columns: [{ name: "id", type: "integer", sequence }, { name: "texto", type: "text" }],
  key: ["id"]
})

/** Replit gives the ids, and has one that its sequence is still going to give. */
const behind = Effect.gen(function*() {
  const { layer, servers } = yield* makePair({ replit: [table(true)], external: [table(false)] })
  yield* servers.replit.app.insert(pedidos, { id: "7", texto: "x" })
  return { servers, layer: layer({ tables: [pedidos] }) }
})

const setval = `SELECT setval('"public"."pedidos_id_seq"', GREATEST(7, last_value)) FROM "public"."pedidos_id_seq";`

describe("doctor", () => {
  it.effect("shows the SQL of what SQL solves, and changes nothing by itself", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* behind
      const found = yield* Effect.provide(doctor(() => Effect.succeed(false)), layer)
      assert.strictEqual(checkExitCode(found.check), 3)
      assert.deepStrictEqual(found.applied, [])
      const [cure] = curesOf(found.check)
      assert.deepInclude(cure, { side: "replit", sql: setval })
      assert.include(found.check.tables[0]!.problems, cure!.solves)
      assert.isTrue(doctorText(found).endsWith(`\nSQL that solves it\n  safe, with --fix, on Replit: ${setval}`))
      assert.strictEqual((yield* servers.replit.database.sequences([pedidos]))[0]!.next, 1n)
    }))

  it.effect("does what is safe once somebody agreed to it, and looks again", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* behind
      const asked: Array<string> = []
      const agree = (cures: ReadonlyArray<{ readonly sql: string }>) =>
        Effect.sync(() => {
          asked.push(...cures.map(({ sql }) => sql))
          return true
        })
      const found = yield* Effect.provide(doctor(agree), layer)
      assert.deepStrictEqual(asked, [setval])
      assert.strictEqual(checkExitCode(found.check), 0)
      assert.isTrue(doctorText(found).startsWith(`Done on Replit: ${setval}\n\nReplit`))
      assert.strictEqual((yield* servers.replit.database.sequences([pedidos]))[0]!.next, 8n)
      // Nothing is left to be asked about.
      yield* Effect.provide(doctor(() => Effect.dieMessage("asked")), layer)
    }))

  it.effect("never does what needs somebody else's rights", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      const external = servers.external.connect()
      const poor = {
        ...external,
        hello: Effect.map(external.hello, (it) => ({ ...it, mayCreateTemporary: false, database: "My db" })),
        mend: () => Effect.dieMessage("done")
      }
      const found = yield* Effect.provide(
        doctor(() => Effect.dieMessage("asked")),
        layer({ tables: [perfis] }, { external: poor })
      )
      assert.match(
        doctorText(found),
        /\n1 problem to solve\.\n\nSQL that solves it\n {2}by hand on external: GRANT TEMPORARY ON DATABASE "My db" TO /
      )
    }))

  it.effect("leaves columns to the app, and says on which side they are missing", () =>
    Effect.gen(function*() {
      const bio = (notNull: boolean) => ({
        ...perfisTable,
        columns: [...perfisTable.columns, { name: "bio", type: "text", notNull }]
      })
      for (const notNull of [false, true]) {
        const { layer } = yield* makePair({ external: [bio(notNull)] })
        const { check } = yield* Effect.provide(doctor(() => Effect.dieMessage("asked")), layer())
        const [cure, ...others] = curesOf(check)
        assert.deepInclude(cure, { side: "replit", sql: "ALTER TABLE perfis ADD COLUMN \"bio\" text;", remedy: null })
        assert.include(check.tables[0]![notNull ? "problems" : "notes"], cure!.solves)
        assert.deepStrictEqual(others, [])
      }
    }))

  it.effect("tells what a database refuses, and goes on", () =>
    Effect.gen(function*() {
      const { servers } = yield* behind
      const { layer } = yield* makePair({ replit: [table(true)], external: [table(false)] })
      const refusing = {
        ...servers.replit.connect(),
        mend: () => Effect.fail(new ActionNeeded({ message: "must be owner of it" }))
      }
      const found = yield* Effect.provide(
        doctor(() => Effect.succeed(true)),
        layer({ tables: [pedidos] }, { replit: refusing })
      )
      assert.strictEqual(checkExitCode(found.check), 3)
      assert.isTrue(doctorText(found).startsWith(`Refused on Replit: ${setval} (must be owner of it)\n\n`))
    }))

  it.effect("adds the index that finding changes by stamps needs", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* makePair()
      const refusing = {
        ...servers.external.connect(),
        mend: () => Effect.fail(new ActionNeeded({ message: "must be owner of it" }))
      }
      const refused = yield* Effect.provide(
        doctor(() => Effect.succeed(true)),
        layer({ externalCapture: "timestamp" }, { external: refusing })
      )
      assert.deepStrictEqual([checkExitCode(refused.check), doctorExitCode(refused)], [0, 3])
      const found = yield* Effect.provide(
        doctor(() => Effect.succeed(true)),
        layer({ externalCapture: "timestamp" })
      )
      assert.deepStrictEqual(found.applied.map(({ side, sql }) => `${side}: ${sql}`), [
        "external: CREATE INDEX ON \"public\".\"perfis\" (\"updated_at\");"
      ])
      assert.strictEqual(doctorExitCode(found), 0)
      assert.deepStrictEqual(curesOf(found.check).map(({ sql }) => sql), [
        "ALTER TABLE perfis ALTER COLUMN \"updated_at\" SET NOT NULL;"
      ])
    }))
})
