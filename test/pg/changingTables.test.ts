import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { opposite, sides } from "../../src/domain/Side.ts"
import { check } from "../../src/programs/check.ts"
import { assertConverged, assertEqual, moved, nothing, PgPair, type Synced, synced } from "../support/PgPair.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz);"

layer(PgPair.layer, { excludeTestServices: true })("a table that changes", (it) => {
  const withRow = Effect.fnUntraced(function*(ddl: Parameters<typeof synced>[0] = notas) {
    const sync = yield* synced(ddl)
    yield* sync.replit.query("insert into notas (id, a) values (1, 'a'), (2, 'b')")
    yield* sync.cycle
    return sync
  })
  const alter = Effect.fnUntraced(function*(sync: Synced, statement: string) {
    for (const side of sides) yield* sync[side].query(statement)
  })

  for (const had of sides) {
    it.scoped(`promise 14: of a column newly in common, ${had} had the values and wins`, () =>
      Effect.gen(function*() {
        const sync = yield* withRow()
        yield* sync[had].query("alter table notas add extra text; update notas set extra = 'valor ' || id")
        yield* sync.cycle
        yield* sync[opposite(had)].query("alter table notas add extra text default 'padrão'")
        yield* sync.cycle
        yield* assertConverged(sync)
        assert.deepStrictEqual(yield* sync.external.query("select extra from notas order by id"), [
          { extra: "valor 1" },
          { extra: "valor 2" }
        ])
      }))
  }

  it.scoped("promise 14: ADD COLUMN with different defaults on both sides, between two cycles, ends equal", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      for (const side of sides) yield* sync[side].query(`alter table notas add extra text not null default '${side}'`)
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 14: a column retyped USING an expression, which no trigger sees, ends equal", () =>
    Effect.gen(function*() {
      const sync = yield* withRow("create table notas (id integer primary key, a text, n integer default 5)")
      yield* sync.external.query("alter table notas alter n type bigint using n * 2")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 14: a NOT NULL column on one side only pauses that table, and the others go on", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`${notas} create table outras (id integer primary key)`)
      yield* sync.external.query("alter table notas add extra text not null")
      yield* sync.replit.query("insert into notas values (1, 'a'); insert into outras values (1)")
      const report = yield* sync.cycle
      assert.deepStrictEqual(report.paused.map(({ table }) => table), [`${sync.schema}.notas`])
      assert.match(report.paused[0]!.problem, /"extra".*NOT NULL.*ALTER TABLE/)
      assert.deepStrictEqual(moved(report), { ...nothing, push: { inserted: 1 } })
      yield* sync.external.query("alter table notas alter extra set default 'x'")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 1 } })
      assert.deepStrictEqual((yield* sync.cycle).paused, [])
    }))

  it.scoped("promise 14: a table that is dropped, or loses its primary key, pauses alone and comes back", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`${notas} create table outras (id integer primary key, a text)`)
      yield* sync.external.query("drop table notas; alter table outras drop constraint outras_pkey")
      assert.lengthOf((yield* sync.cycle).paused, 2)
      yield* sync.external.query(`${notas} alter table outras add primary key (id)`)
      yield* sync.replit.query("insert into notas values (1, 'a'); insert into outras values (1, 'b')")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 14: a renamed column is one column less and one more, and nothing of it is lost", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      yield* alter(sync, "alter table notas rename a to b")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.replit.query("alter table notas rename b to c; update notas set c = 'novo' where id = 1")
      yield* sync.cycle
      yield* sync.external.query("alter table notas rename b to c")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertEqual(sync)
    }))

  it.scoped("promise 14: a key that is retyped or changed on both sides is captured anew", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      yield* sync.replit.query("insert into notas values (3, 'pendente')")
      yield* alter(sync, "alter table notas alter id type bigint")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* alter(
        sync,
        "alter table notas drop constraint notas_pkey; alter table notas alter a set not null; alter table notas add primary key (a)"
      )
      yield* sync.external.query("insert into notas values (9, 'nova chave')")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.replit.query("update notas set id = 10 where a = 'nova chave'")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  for (
    const [what, damage] of [
      ["a disabled trigger", "alter table notas disable trigger vaivem_capture_update"],
      ["a dropped trigger", "drop trigger vaivem_capture_update on notas"],
      ["a queue that was dropped", "drop table vaivem.\"{stem}_pending\" cascade"],
      ["a history that was dropped", "drop table vaivem.\"{stem}_history\" cascade"],
      ["a view that was dropped", "drop view notas_changelog"],
      ["a trigger's function that was dropped", "drop function vaivem.\"{stem}_capture\"() cascade"]
    ] as const
  ) {
    it.scoped(`capture that was damaged is mended, and what it missed is found: ${what}`, () =>
      Effect.gen(function*() {
        const sync = yield* withRow()
        yield* sync.external.query(damage.replaceAll("{stem}", `${sync.schema}.notas`))
        yield* sync.external.query("update notas set a = 'sem captura' where id = 1")
        yield* sync.cycle
        yield* assertConverged(sync)
        assert.deepStrictEqual((yield* sync.replit.query("select a from notas where id = 1"))[0], { a: "sem captura" })
        yield* sync.external.query("update notas set a = 'com captura'")
        yield* sync.cycle
        yield* assertConverged(sync)
      }))
  }

  it.scoped("promise 4: change ids of a queue that was made anew are not taken for the old ones", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      yield* sync.replit.query("update notas set a = 'antes', updated_at = '2024-01-01' where id = 1")
      yield* sync.cycle
      yield* sync.replit.query(`drop table vaivem."${sync.schema}.notas_pending" cascade`)
      yield* sync.cycle
      for (let n = 0; n < 8; n++) {
        yield* sync.replit.query("update notas set a = $1, updated_at = $2 where id = 1", [
          `r${n}`,
          `2025-01-0${n + 1}`
        ])
        yield* sync.external.query("update notas set a = $1, updated_at = '2024-06-01' where id = 1", [`e${n}`])
        assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1, conflicts: 1 } })
        yield* assertConverged(sync)
      }
    }))

  it.scoped("promise 14: what was deleted before its key became wider stays deleted", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer, lado varchar(5), a text, primary key (id, lado));")
      yield* sync.replit.query("insert into notas select n, 'x', 'a' from generate_series(1, 4) n")
      yield* sync.cycle
      yield* sync.replit.query("delete from notas where id = 1; update notas set id = 9 where id = 2")
      yield* sync.external.query("delete from notas where id = 3")
      yield* alter(sync, "alter table notas alter id type bigint, alter lado type text")
      yield* sync.cycle
      assert.deepStrictEqual(yield* sync.external.rows("notas"), ["(4,x,a)", "(9,x,a)"])
      yield* assertConverged(sync)
    }))

  it.scoped("promise 14: a changed table that a long transaction of the app still reads waits, and the others go on", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`${notas} create table outras (id integer primary key)`)
      const reader = yield* sync.replit.connect
      yield* reader.query("begin; select * from notas")
      yield* sync.replit.query("insert into notas values (1, 'a'); insert into outras values (1)")
      // What changes the table without a lock that the reader would hold up.
      yield* sync.replit.query(`drop table vaivem."${sync.schema}.notas_history" cascade`)
      const report = yield* sync.cycle
      assert.match(report.paused[0]!.problem, /notas waits: it changed.*lock timeout.*next cycle tries again/)
      assert.deepStrictEqual(moved(report), { ...nothing, push: { inserted: 1 } })
      yield* reader.query("commit")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 14: changes that waited by a key of other columns are compared instead, and how many is told", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        "create table notas (id integer primary key, inquilino integer not null default 1, a text)"
      )
      yield* sync.replit.query("insert into notas (id, a) values (1, 'a'), (2, 'b'), (3, 'c')")
      yield* sync.cycle
      yield* sync.replit.query("delete from notas where id = 1; update notas set a = 'z' where id = 2")
      for (const side of ["replit", "external"] as const) {
        yield* sync[side].query("alter table notas drop constraint notas_pkey, add primary key (id, inquilino)")
      }
      const table = yield* sync.table("notas")
      assert.strictEqual((yield* sync.replit.database.capture(table, { touch: true })).dropped, 2)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* sync.replit.rows("notas"), ["(1,1,a)", "(2,1,z)", "(3,1,c)"])
    }))

  it.scoped("check tells that a trigger of ours was disabled, and the next cycle finds what that missed", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      const notes = Effect.map(sync.run(check), (found) => found.sides.replit.notes.join(" "))
      assert.notInclude(yield* notes, "has changed since")
      yield* sync.replit.query("alter table notas disable trigger vaivem_capture_insert")
      yield* sync.replit.query("insert into notas (id, a) values (3, 'unseen')")
      assert.include(yield* notes, "notas or a trigger of ours on it has changed since it was set up.")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 1 } })
      assert.notInclude(yield* notes, "has changed since")
      yield* assertConverged(sync)
    }))
})
