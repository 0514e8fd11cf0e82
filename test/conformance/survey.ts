/** Conformance: looking at two tables before anything is installed. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { decodeVersions } from "../../src/domain/StagedRow.ts"
import type { MakePair } from "./Pair.ts"
import { setUp } from "./Pair.ts"

const whole = { of: 1, only: null }

export const survey = (makePair: MakePair) => {
  it.scopedLive("versions have the stamp in microseconds, and none where there is none, with capture or without", () =>
    Effect.gen(function*() {
      const { notas, perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a", updated_at: "1970-01-01 00:00:01.000002+00" })
      yield* replit.app.insert(perfis.name, { id: "b", updated_at: null })
      yield* replit.app.insert(notas.name, { id: "1", texto: "x" })
      const stamps = (table: typeof perfis) =>
        Effect.map(
          Effect.scoped(Effect.flatMap(replit.database.versions(table, whole), decodeVersions)),
          (rows) => rows.map(({ key, stampUs }) => `${key.join()} ${stampUs}`).sort()
        )
      assert.deepStrictEqual(yield* stamps(perfis), ["a 1000002", "b null"])
      assert.deepStrictEqual(yield* stamps(notas), ["1 null"])
      yield* replit.database.uninstall
      assert.deepStrictEqual(yield* stamps(perfis), ["a 1000002", "b null"])
      assert.strictEqual((yield* replit.database.digest(perfis, 1, whole)).get(0)!.rows, 2)
    }))

  it.scopedLive("rows are found by key with the values that must be unique, and their twins by those", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a", nome: "x", email: "same" })
      yield* replit.app.insert(perfis.name, { id: "b", nome: "x", email: null })
      yield* external.app.insert(perfis.name, { id: "c", nome: "x", email: "same" })
      yield* external.app.insert(perfis.name, { id: "b", nome: "y", email: null })
      const rows = yield* replit.database.lookUp(perfis, [["gone"], ["a"], ["b"]])
      assert.deepStrictEqual(rows, [
        { asked: 1, key: ["a"], texts: { email: "same" } },
        { asked: 2, key: ["b"], texts: { email: null } }
      ])
      assert.deepStrictEqual(yield* external.database.twins(perfis, rows), {
        found: [{ index: "perfis_email", here: ["c"], there: ["a"] }],
        skipped: []
      })
      assert.deepStrictEqual((yield* replit.database.twins(perfis, rows)).found, [])
    }))

  it.scopedLive("the size of a row is known where there is one", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      assert.isNull(yield* replit.database.rowBytes(perfis))
      yield* replit.app.insert(perfis.name, { id: "a", nome: "x".repeat(100) })
      const size = yield* replit.database.rowBytes(perfis)
      assert.isTrue(size !== null && size > 100 && size < 160, String(size))
    }))
}
