import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { assertConverged, assertEqual, moved, nothing, PgPair, synced } from "../support/PgPair.ts"

layer(PgPair.layer, { excludeTestServices: true })("columns", (it) => {
  it.scoped("promise 14: order and dropped columns are no matter, beside triggers that overwrite what is applied", () =>
    Effect.gen(function*() {
      const overwriting = (column: string) => `
        create function carimbo() returns trigger language plpgsql as $$ begin new.${column} = 'carimbo'; return new; end $$;
        create trigger carimbo before insert or update on notas for each row execute function carimbo();`
      const sync = yield* synced({
        replit: `create table notas (x0 text, id integer primary key, a text, b text, c text, d text);
          alter table notas drop column x0, drop column b; alter table notas add column b text; ${overwriting("a")}`,
        external: `create table notas (d text, c text, zz integer, b text, a text, id integer primary key);
          alter table notas drop column zz; ${overwriting("c")}`
      })
      yield* sync.replit.query("insert into notas (id, b, c) values (1, 'b', 'c'), (3, 'x', 'y')")
      yield* sync.external.query("insert into notas (id, a, b, d) values (2, 'a', 'b', 'd')")
      yield* sync.cycle
      yield* sync.replit.query("update notas set d = 'novo' where id = 2; delete from notas where id = 3")
      yield* sync.cycle
      const rows = "select id, a, b, c, d from notas order by id"
      assert.deepStrictEqual(yield* sync.replit.query(rows), [
        { id: 1, a: "carimbo", b: "b", c: "c", d: null },
        { id: 2, a: "carimbo", b: "b", c: "carimbo", d: "novo" }
      ])
      assert.deepStrictEqual(yield* sync.external.query(rows), yield* sync.replit.query(rows))
      assert.strictEqual((yield* sync.cycle).outcome, "idle")
    }))

  it.scoped("promise 14: types that differ and convert safely carry every value, and one that is too long or large waits alone", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: `create table notas (id integer primary key, curto varchar(20), inteiro integer, quem uuid,
          valor numeric(8,2), quando timestamp, listas text[])`,
        external: `create table notas (id bigint primary key, curto text, inteiro bigint, quem text,
          valor numeric(20,2), quando timestamptz, listas varchar(5)[])`
      })
      const row =
        "'até vinte letras ção', 2147483647, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 999999.99, '2024-02-29 23:59:59.999999+00', '{a,NULL}'"
      yield* sync.replit.query(`set timezone = 'UTC'; insert into notas values (1, ${row})`)
      yield* sync.external.query(`set timezone = 'UTC'; insert into notas values (2, ${row});
        insert into notas values (8, 'y', 8, null, 0, '2024-01-01', '{abcde}');
        insert into notas (id, curto) values (3, null), (4, repeat('x', 21)), (2147483648, 'grande demais');
        insert into notas (id, inteiro, quem, valor) values (5, 2147483648, null, 1), (6, 6, 'nenhum uuid', 2), (7, 7, null, 1000000)`)
      assert.deepStrictEqual(moved(yield* sync.cycle), { push: { inserted: 1 }, pull: { inserted: 3, quarantined: 5 } })
      const common =
        "select id, curto, inteiro, quem::text, valor, quando at time zone 'UTC' as quando, listas::text from notas where id in (1, 2, 3, 8) order by id"
      const zoneless = common.replace("quando at time zone 'UTC' as quando", "quando")
      assert.deepStrictEqual(yield* sync.replit.query(zoneless), yield* sync.external.query(common))
      const waiting = yield* sync.external.database.quarantined(sync.tables[0]!)
      assert.deepStrictEqual(waiting.map(({ key, sqlState }) => `${key.join()} ${sqlState}`).sort(), [
        "2147483648 22003",
        "4 22001",
        "5 22003",
        "6 22P02",
        "7 22003"
      ])
      // Each heals when its row does; a key that Replit's type can't hold, when it goes.
      yield* sync.external.query(
        `update notas set curto = 'z', inteiro = id, quem = null, valor = 1 where id between 4 and 7;
        delete from notas where id = 2147483648`
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { inserted: 4 } })
      assert.deepStrictEqual(yield* sync.external.database.quarantined(sync.tables[0]!), [])
      assert.deepStrictEqual(yield* sync.external.pending("notas"), [])
      assert.strictEqual((yield* sync.cycle).outcome, "idle")
    }))

  it.scoped("a first contact with a key that the other side's type can't hold goes on without it", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: "create table notas (id integer primary key, a text)",
        external:
          "create table notas (id bigint primary key, a text); insert into notas values (1, 'a'), (2147483648, 'b')"
      })
      assert.deepStrictEqual(yield* sync.replit.rows("notas"), ["(1,a)"])
      assert.lengthOf(yield* sync.external.database.quarantined(sync.tables[0]!), 1)
    }))

  it.scoped("promise 10: values of extensions' types arrive (hstore, citext, ltree), unique ones too", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`
        create extension if not exists hstore schema public; create extension if not exists citext schema public;
        create extension if not exists ltree schema public;
        create table notas (id integer primary key, h public.hstore, c public.citext unique, l public.ltree, cs public.citext[]);`)
      yield* sync.replit.query(
        `insert into notas values (1, 'a=>1, "b c"=>NULL, "=>"=>"\\""', 'Ana', 'topo.meio', '{A,NULL,"a b"}'), (2, '', '', '', '{}');
         insert into notas (id) values (3)`
      )
      yield* sync.external.query("insert into notas (id, h, c) values (4, 'x=>y', 'ANA')")
      yield* sync.cycle
      // One of the twins waits on each side, for citext takes their values for equal.
      assert.lengthOf(yield* sync.replit.database.quarantined(sync.tables[0]!), 1)
      assert.lengthOf(yield* sync.external.database.quarantined(sync.tables[0]!), 1)
      yield* sync.external.query("update notas set c = 'Bia' where id = 4")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.replit.query(
        "update notas set c = null where id = 1; update notas set c = 'ANA' where id = 4; update notas set h = h || 'n=>NULL', c = 'bia' where id = 1"
      )
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.include((yield* sync.external.rows("notas")).join(), "ANA")
    }))

  it.scoped("generated columns that are computed when read (PostgreSQL 18), and constraints that aren't enforced", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table apoio (id integer primary key)")
      const version = "select current_setting('server_version_num')::integer as version"
      for (const side of ["replit", "external"] as const) {
        const [found] = yield* sync[side].query<{ version: number }>(version)
        if (found!.version < 180000) return
      }
      const later = yield* synced(`
        create table a (id integer primary key, x integer, dobro integer generated always as (x * 2) virtual,
          triplo integer generated always as (x * 3) stored, nome text, updated_at timestamptz);
        create table b (id integer primary key, a integer references a not enforced, k text check (length(k) > 3) not enforced);
        create function carimbo() returns trigger language plpgsql as $$ begin new.updated_at = now(); return new; end $$;
        create trigger carimbo before update on a for each row execute function carimbo();`)
      yield* later.replit.query("insert into a values (1, 5), (2, 6); insert into b values (1, 99, 'x')")
      yield* later.cycle
      yield* assertConverged(later)
      yield* later.replit.query("update a set x = 7, nome = 'n' where id = 1; delete from a where id = 2")
      yield* later.external.query("update a set x = 8 where id = 1")
      yield* later.cycle
      yield* assertConverged(later)
      const [lost] = yield* later.replit.database.conflicts({ table: later.tables[0]!, limit: 1 })
      assert.deepStrictEqual([lost?.lost?.["x"], lost?.lost?.["dobro"], lost?.lost?.["triplo"]], ["7", "14", "21"])
      yield* assertEqual(later)
    }))

  it.scoped("promise 1: columns of domains that refuse null don't keep a delete back", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`create domain nome as varchar(9) not null; create domain apelido as nome;
        create domain letras as char(3) check (value is not null); create domain lista as integer[] not null;
        create table notas (id integer primary key, a nome, b apelido, c letras, d lista);`)
      yield* sync.replit.query("insert into notas values (1, 'a', 'b', 'abc', '{1}'), (2, 'a', 'b', 'x', '{}')")
      yield* sync.cycle
      yield* sync.replit.query("delete from notas where id = 1")
      yield* sync.external.query("update notas set c = 'xyz', b = 'bb' where id = 2")
      yield* sync.cycle
      assert.deepStrictEqual(yield* sync.external.rows("notas"), ["(2,a,bb,xyz,{})"])
      yield* assertConverged(sync)
    }))

  it.scoped("promise 14: composites whose attributes stand in another order are refused, arrays of them, too", () =>
    Effect.gen(function*() {
      for (const type of ["ponto", "ponto[]", "lugar"]) {
        const sync = yield* synced(
          {
            replit: `create type ponto as (x integer, y integer); create domain lugar as ponto;
              create table notas (id integer primary key, p ${type})`,
            external: `create type ponto as (y integer, x integer); create domain lugar as ponto;
              create table notas (id integer primary key, p ${type})`
          },
          { started: false }
        )
        const { message } = yield* Effect.flip(sync.cycle)
        assert.match(message, /"p".*\(x integer, y integer\) on Replit and .*\(y integer, x integer\) on external/)
      }
    }))
})
