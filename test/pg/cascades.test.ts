import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { sides } from "../../src/domain/Side.ts"
import { assertConverged, assertEqual, PgPair, synced } from "../support/PgPair.ts"

layer(PgPair.layer, { excludeTestServices: true })("cascades and changed keys", (it) => {
  it.scoped("promise 3: a cascade that meets a pending child deletes it, and journals what nobody had seen", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`
        create table pais (id integer primary key);
        create table filhos (id integer primary key, pai integer references pais on delete cascade, a text);`)
      yield* sync.replit.query(
        "insert into pais values (1), (2); insert into filhos values (1, 1, 'velho'), (2, 2, 'fica')"
      )
      yield* sync.cycle
      yield* sync.external.query(
        "update filhos set a = 'novo' where id = 1; insert into filhos values (3, 1, 'só aqui')"
      )
      yield* sync.replit.query("delete from pais where id = 1")
      for (let cycle = 0; cycle < 3; cycle++) yield* sync.cycle
      yield* assertConverged(sync)
      const journal = yield* Effect.map(
        Effect.all(sides.map((side) => sync[side].database.conflicts({ table: sync.tables[1]!, limit: 9 }))),
        (both) => both.flat()
      )
      const lost = (a: string) => journal.some((conflict) => conflict.lost?.["a"] === a)
      const present = yield* sync.replit.query<{ a: string }>("select a from filhos order by id")
      for (const a of ["novo", "só aqui"]) {
        assert.isTrue(lost(a) || present.some((row) => row.a === a), `${a} is neither there nor journaled`)
      }
      assert.isTrue(present.some(({ a }) => a === "fica"))
    }))

  it.scoped("promise 3: a cascade within one table takes whole trees along, and both sides agree", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        "create table arvore (id integer primary key, pai integer references arvore on delete cascade, a text)"
      )
      yield* sync.replit.query("insert into arvore values (1, null), (2, 1), (3, 2), (4, 3), (10, null), (11, 10)")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.external.query("insert into arvore values (5, 4, 'só aqui')")
      yield* sync.replit.query("delete from arvore where id = 1")
      for (let cycle = 0; cycle < 3; cycle++) yield* sync.cycle
      yield* assertConverged(sync)
      const rows = yield* sync.replit.rows("arvore")
      if (!rows.some((row) => row.includes("só aqui"))) {
        const journal = yield* sync.external.database.conflicts({ table: sync.tables[0]!, limit: 9 })
        assert.isTrue(journal.some(({ lost }) => lost?.["a"] === "só aqui"))
      }
    }))

  it.scoped("promise 3: SET NULL by a foreign key on the target is an ordinary change there", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`
        create table pais (id integer primary key);
        create table filhos (id integer primary key, pai integer references pais on delete set null, updated_at timestamptz);`)
      yield* sync.replit.query("insert into pais values (1); insert into filhos values (1, 1, now()), (2, 1, now())")
      yield* sync.cycle
      yield* sync.external.query("insert into filhos values (3, 1, now())")
      yield* sync.replit.query("delete from pais")
      for (let cycle = 0; cycle < 3; cycle++) yield* sync.cycle
      yield* assertConverged(sync)
      assert.lengthOf(yield* sync.replit.rows("filhos"), 3)
    }))

  it.scoped("promise 1: a changed key arrives as a changed key, and takes its children along on both sides", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`
        create table pais (id text primary key, a text);
        create table filhos (id integer primary key, pai text references pais on update cascade on delete restrict, updated_at timestamptz);`)
      yield* sync.replit.query(
        "insert into pais values ('a', 'A'), ('b', 'B'); insert into filhos values (1, 'a'), (2, 'b')"
      )
      yield* sync.external.query("insert into pais values ('c', 'C'); insert into filhos values (3, 'c')")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.replit.query("update pais set id = id || '2', a = a || '!' where id in ('a', 'b')")
      yield* sync.external.query("insert into filhos values (4, 'a')")
      for (let cycle = 0; cycle < 3; cycle++) yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* sync.external.rows("pais"), ["(a2,A!)", "(b2,B!)", "(c,C)"])
      yield* assertEqual(sync)
    }))

  it.scoped("promise 1: a changed key that the other side's foreign key doesn't let change arrives as insert and delete", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`
        create table pais (id text primary key, a text);
        create table filhos (id integer primary key, pai text references pais deferrable initially deferred);`)
      yield* sync.replit.query(
        "insert into pais values ('a', 'A'), ('b', 'B'); insert into filhos values (1, 'a'), (2, 'b')"
      )
      yield* sync.cycle
      yield* sync.replit.query("begin; update pais set id = id || '2'; update filhos set pai = pai || '2'; commit")
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* sync.external.rows("pais"), ["(a2,A)", "(b2,B)"])
    }))

  it.scoped("promise 1: keys that were swapped, moved on or shifted arrive", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer primary key deferrable, a text)")
      yield* sync.replit.query("insert into notas select n, 'n' || n from generate_series(1, 10) n")
      yield* sync.cycle
      yield* sync.replit.query("update notas set id = 11 - id where id in (1, 10)")
      yield* sync.replit.query("update notas set id = id + 1 where id in (4, 5, 6, 7, 8, 9, 10)")
      yield* sync.replit.query("update notas set id = 100 where id = 2; update notas set id = 200 where id = 100")
      yield* sync.replit.query("update notas set id = 300 where id = 3; update notas set id = 3 where id = 300")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
    }))
})
