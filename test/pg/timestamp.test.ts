import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { assertConverged, moved, PgPair, synced } from "../support/PgPair.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz default now())"

layer(PgPair.layer, { excludeTestServices: true })("an external database on which nothing is installed", (it) => {
  it.scoped("takes and gives inserts, updates and deletes", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { capture: "timestamp" })
      yield* sync.replit.query("insert into notas (id, a) values (1, 'um'), (2, 'dois'), (3, 'três')")
      yield* sync.external.query("insert into notas (id, a) values (11, 'onze'), (12, 'doze'), (13, 'treze')")
      assert.deepStrictEqual(moved(yield* sync.cycle), { push: { inserted: 3 }, pull: { inserted: 3 } })
      yield* assertConverged(sync)
      yield* sync.replit.query(
        "update notas set a = 'UM', updated_at = now() where id = 1; delete from notas where id = 2"
      )
      yield* sync.external.query(
        "update notas set a = 'ONZE', updated_at = now() where id = 11; delete from notas where id in (3, 12)"
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), {
        push: { updated: 1, deleted: 1 },
        pull: { updated: 1, deleted: 2 }
      })
      yield* assertConverged(sync)
    }))
})
