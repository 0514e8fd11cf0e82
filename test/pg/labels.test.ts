/** Enum types whose labels differ between the sides. */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { sides } from "../../src/domain/Side.ts"
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

  it.scoped("promise 7: a label that is renamed while a key waits in quarantine by it stops nothing", () =>
    Effect.gen(function*() {
      const ddl = (labels: string) => `
        create type papel as enum (${labels});
        create table equipe (papel papel primary key, n integer);
        create table outras (id integer primary key)`
      const sync = yield* synced({ replit: ddl("'aluno', 'diretor'"), external: ddl("'aluno'") })
      yield* sync.replit.query("insert into equipe values ('aluno', 1), ('diretor', 2)")
      assert.strictEqual((yield* sync.cycle).quarantined, 1)
      yield* sync.replit.query("alter type papel rename value 'diretor' to 'diretora'; insert into outras values (1)")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 1, quarantined: 1 } })
      const [entry] = yield* sync.replit.query(
        `select key[1] as key from vaivem.quarantine where table_schema = '${sync.schema}'`
      )
      assert.deepStrictEqual(entry, { key: "diretora" })
      yield* sync.external.query("alter type papel add value 'diretora'")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: a key that waits in quarantine and isn't one of its column's new type stops nothing", () =>
    Effect.gen(function*() {
      const ddl = "create table equipe (id text primary key, a text); create table outras (id integer primary key);"
      const sync = yield* synced({
        replit: ddl,
        external: `${ddl} alter table equipe add constraint curta check (length(id) < 3)`
      })
      yield* sync.replit.query("insert into equipe values ('1', 'a'), ('longa', 'b')")
      assert.strictEqual((yield* sync.cycle).quarantined, 1)
      yield* sync.external.query("alter table equipe drop constraint curta")
      for (const side of sides) yield* sync[side].query("update equipe set id = '2' where id = 'longa'")
      for (const side of sides) yield* sync[side].query("alter table equipe alter id type integer using id::integer")
      yield* sync.replit.query("insert into outras values (1); insert into equipe values (3, 'c')")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
    }))
})
