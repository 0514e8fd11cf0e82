/** Enum types whose labels differ between the sides. */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { assertConverged, assertEqual, moved, nothing, PgPair, synced } from "../support/PgPair.ts"

layer(PgPair.layer, { excludeTestServices: true })("labels of an enum", (it) => {
  it.scoped("promise 7: a row with a label that the other side lacks waits alone, and arrives when the label is there", () =>
    Effect.gen(function*() {
      const ddl = (labels: string) => `
        create type papel as enum (${labels});
        create table equipe (id integer primary key, papel papel, updated_at timestamptz default now());`
      const sync = yield* synced({ replit: ddl("'aluno', 'diretor'"), external: ddl("'aluno'") })
      yield* sync.replit.query(
        "insert into equipe select n, case when n = 7 then 'diretor' else 'aluno' end::papel from generate_series(1, 20) n"
      )
      const report = yield* sync.cycle
      assert.deepStrictEqual(moved(report), { push: { inserted: 19, quarantined: 1 }, pull: nothing.pull })
      assert.deepStrictEqual(yield* sync.replit.pending("equipe"), ["INSERT 7"])
      const [entry] = yield* sync.replit.query(
        "select key[1] as key, sqlstate from vaivem.quarantine where table_name = 'equipe'"
      )
      assert.deepStrictEqual(entry, { key: "7", sqlstate: "22P02" })

      yield* sync.external.query("alter type papel add value 'diretor'")
      yield* sync.cycle
      yield* assertEqual(sync)
      yield* assertConverged(sync)
    }))
})
