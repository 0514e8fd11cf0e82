import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { sides } from "../../src/domain/Side.ts"
import { quote } from "../../src/domain/TableName.ts"
import { alone, assertConverged, assertEqual, moved, nothing, PgPair, synced, uuid } from "../support/PgPair.ts"
import { asAdmin, query } from "../support/TestPostgres.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz);"

layer(PgPair.layer, { excludeTestServices: true })("keys and names", (it) => {
  const types: ReadonlyArray<readonly [type: string, values: readonly [string, string, string, string]]> = [
    ["uuid", [uuid(1), uuid(2), uuid(3), uuid(4)]],
    ["bigint", ["-9223372036854775808", "9223372036854775807", "0", "-1"]],
    ["timestamptz", ["2024-01-01 00:00:00.000001+00", "infinity", "0001-01-01 00:00:00+00 BC", "-infinity"]],
    ["timestamp", ["2024-01-01 00:00:00.000001", "infinity", "2024-03-10 02:30:00", "-infinity"]],
    ["date", ["2024-02-29", "infinity", "4713-01-01 BC", "5874897-12-31"]],
    ["interval", ["1 mon", "31 days", "-00:00:01", "1 year 2 mons"]],
    ["numeric(20,3)", ["0.001", "NaN", "-99999999999999999.999", "1.5"]],
    ["double precision", ["0.1", "NaN", "-Infinity", "1e-320"]],
    ["text collate \"C\"", ["a", "Á", "", "tab\tnew\nline \\N"]],
    ["text collate \"pt-BR-x-icu\"", ["a", "Á", "ç", "z'\"\\"]],
    ["varchar(10)", ["a", "a ", " a", "A"]],
    ["char(4)", ["a", "ab", "abcd", ""]],
    ["bytea", ["\\x", "\\x00", "\\xff5c", "\\x0a"]],
    ["boolean", ["true", "false", "true", "false"]],
    ["inet", ["1.2.3.4", "1.2.3.0/24", "::1", "fe80::/10"]],
    ["integer[]", ["{}", "{1,NULL}", "[0:1]={1,2}", "{{1},{2}}"]],
    ["text[]", ["{}", "{\"a,b\",NULL}", "{\"NULL\"}", "{\"\\\"\"}"]],
    ["cor", ["azul", "a,b", "'", "verde"]],
    ["codigo", ["A1", "B2", "C3", "D4"]],
    ["int4range", ["[1,5)", "empty", "(,)", "[5,)"]],
    ["jsonb", ["null", "{\"a\": [1, 2]}", "\"x\"", "[]"]]
  ]
  it.scoped(
    "promise 1: keys of every type are logged, changed, linked, deleted and claimed",
    () =>
      Effect.gen(function*() {
        const tables = types.map((_, index) => `t${index}`)
        const sync = yield* synced(
          `create type cor as enum ('verde', 'azul', 'a,b', '''');
         create domain codigo as varchar(5) check (value ~ '^[A-Z][0-9]$');
         ${types.map(([type], index) => `create table t${index} (id ${type} primary key, a text);`).join("\n")}`,
          { tables, settings: { batchRowsMax: 2 } }
        )
        const each = (
          statement: (type: string, values: readonly [string, string, string, string]) => ReadonlyArray<unknown>,
          text: string,
          side: "replit" | "external"
        ) =>
          Effect.forEach(types, ([type, values], index) =>
            sync[side].query(
              text.replaceAll("{t}", `t${index}`).replaceAll("{type}", type.replace(/ collate.*/, "")),
              statement(type, values)
            ))
        yield* each(
          (_, [a, b]) => [a, b],
          "insert into {t} values ($1::text::{type}, 'a'), ($2::text::{type}, 'b')",
          "replit"
        )
        yield* sync.cycle
        yield* assertEqual(sync)
        yield* each((_, [a]) => [a], "update {t} set a = 'z' where id = $1::text::{type}", "external")
        yield* each((_, [, b]) => [b], "delete from {t} where id = $1::text::{type}", "external")
        yield* sync.cycle
        yield* assertEqual(sync)
        yield* each(
          (type, [a, , c, d]) => [a, type === "boolean" ? d : c],
          "update {t} set id = $2::text::{type} where id = $1::text::{type}",
          "replit"
        )
        yield* each(
          (_, values) => [values[3]],
          "insert into {t} values ($1::text::{type}, 'd') on conflict (id) do update set a = 'd'",
          "external"
        )
        yield* sync.cycle
        yield* sync.cycle
        yield* assertEqual(sync)
        yield* each(() => [], "delete from {t}", "external")
        yield* sync.cycle
        yield* assertConverged(sync)
      }),
    60_000
  )

  it.scoped("promise 1: composite keys in an order of their own", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit:
          "create table itens (a text, quando timestamptz, pedido uuid, numero integer, primary key (numero, pedido, quando))",
        external:
          "create table itens (a text, quando timestamptz, pedido uuid, numero integer, primary key (quando, numero, pedido))"
      }, { settings: { batchRowsMax: 3 } })
      yield* sync.replit.query(
        `insert into itens select 'x', '2024-01-01'::timestamptz + n * interval '1 us', '${
          uuid(1)
        }', n % 3 from generate_series(1, 20) n`
      )
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.external.query(
        "update itens set numero = numero + 1 where quando > '2024-01-01 00:00:00.000010+00'; delete from itens where numero = 0"
      )
      yield* sync.replit.query("insert into itens values ('y', now(), gen_random_uuid(), 7)")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 1: a changed key is one linked change, row by row, also where keys are swapped in one statement", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer primary key deferrable, a text)")
      yield* sync.replit.query("insert into notas select n, 'n' || n from generate_series(1, 4) n")
      yield* sync.cycle
      yield* sync.replit.query("update notas set id = case id when 1 then 2 when 2 then 1 when 3 then 30 else id end")
      assert.deepStrictEqual(
        yield* sync.replit.query(
          `select operation, k1, was1 from vaivem."${sync.schema}.notas_pending" where was1 is not null or operation = 'DELETE' order by change_id`
        ),
        [{ operation: "DELETE", k1: 3, was1: null }, { operation: "INSERT", k1: 30, was1: 3 }]
      )
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("tables of one name in two schemas don't meet, not even in ours", () =>
    Effect.gen(function*() {
      const one = yield* synced(notas)
      const two = yield* synced("create table notas (id uuid primary key, b text)")
      yield* one.replit.query("insert into notas values (1, 'um')")
      yield* two.replit.query(`insert into notas values ('${uuid(1)}', 'dois')`)
      assert.deepStrictEqual(moved(yield* one.cycle), { ...nothing, push: { inserted: 1 } })
      assert.deepStrictEqual(yield* two.replit.pending("notas"), [`INSERT ${uuid(1)}`])
      yield* two.cycle
      yield* assertConverged(one)
      yield* assertConverged(two)
    }))

  it.scoped(
    "names with quotes, dots, braces, non-ASCII letters and 63 bytes work, and long ones that begin alike",
    () =>
      Effect.gen(function*() {
        const long = "ção_".repeat(8)
        const names = [
          "Tabela \"Estranha\"",
          "a.b",
          "t5.notas",
          "{k}",
          "%I $1 'x' \\",
          "select",
          "ÀÉ😀",
          `${long}xxx_1`,
          `${long}xxx_2`,
          "x".repeat(63),
          `${"x".repeat(62)}y`
        ]
        const columns = [
          "k1",
          "was1",
          "synced",
          "vaivem_number",
          "next_bounce",
          "merging",
          "number",
          "r",
          "{r}",
          "N \"q\".'%s",
          "operation",
          "s",
          "new",
          "y".repeat(63)
        ]
        const sync = yield* synced(
          names.map((name) =>
            `create table ${quote(name)} (${quote("change_id")} integer, ${quote("Id \"x\".%")} text,
           ${columns.map((column) => `${quote(column)} text`).join(", ")}, primary key (${quote("change_id")}, ${
              quote("Id \"x\".%")
            }));`
          ).join("\n"),
          { tables: names }
        )
        for (const name of names) {
          yield* sync.replit.query(
            `insert into ${quote(name)} values (1, 'um', ${columns.map((_, index) => `'${index}'`).join(", ")})`
          )
          yield* sync.replit.query(`insert into ${quote(name)} values (2, 'dois')`)
          yield* sync.external.query(`insert into ${quote(name)} values (3, 'três')`)
        }
        yield* sync.cycle
        for (const name of names) {
          yield* sync.external.query(
            `update ${quote(name)} set ${quote("change_id")} = 10 where ${quote("change_id")} = 1; delete from ${
              quote(name)
            } where ${quote("change_id")} = 2`
          )
          yield* sync.replit.query(`update ${quote(name)} set ${quote("{r}")} = 'z' where ${quote("change_id")} = 3`)
        }
        yield* sync.cycle
        for (const { name } of sync.tables) {
          assert.deepStrictEqual(yield* sync.external.rows(name), yield* sync.replit.rows(name), name)
          assert.lengthOf(yield* sync.external.rows(name), 2)
        }
        assert.strictEqual((yield* sync.cycle).outcome, "idle")
      }),
    60_000
  )

  for (
    const [what, type, extension] of [
      ["citext", "public.citext", "create extension if not exists citext schema public;"],
      [
        "a collation",
        "text collate semcaixa",
        "create collation semcaixa (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
      ]
    ] as const
  ) {
    it.scoped(`promise 1: keys that ignore case, by ${what}, are one row to both sides however they are written`, () =>
      Effect.gen(function*() {
        const sync = yield* synced(
          `${extension}
           create table notas (id ${type} primary key, a text, updated_at timestamptz);
           create table filhas (id integer primary key, nota ${type} references notas on update cascade);`,
          { settings: { batchRowsMax: 2 } }
        )
        yield* sync.replit.query(`insert into notas select 'Nota ' || n, 'a' from generate_series(1, 9) n;
          insert into filhas values (2, 'NOTA 2')`)
        yield* sync.cycle
        yield* assertConverged(sync)
        // Written otherwise on one side, changed on the other: a conflict of one row, and the later stamp wins.
        yield* sync.replit.query("update notas set id = 'NOTA 1' where id = 'nota 1'")
        yield* sync.external.query("update notas set a = 'b' where id = 'nota 1'")
        assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1, conflicts: 1 } })
        yield* assertConverged(sync)
        yield* sync.external.query("update notas set id = upper(id)")
        yield* sync.cycle
        yield* assertConverged(sync)
        yield* sync.replit.query(
          "delete from notas where id = 'nota 3'; insert into notas values ('nota 3', 'outra'); delete from notas where id = 'nota 4'"
        )
        yield* sync.external.query("update notas set id = 'Outro nome' where id = 'nota 2'")
        yield* sync.cycle
        yield* assertConverged(sync)
        assert.deepStrictEqual(
          yield* sync.replit.query("select id::text, a from notas where id in ('NOTA 3', 'outro NOME')"),
          [
            { id: "nota 3", a: "outra" },
            { id: "Outro nome", a: "a" }
          ]
        )
        // The same key in two spellings on the two sides, each before it knew of the other.
        yield* sync.replit.query("insert into notas values ('nova', 'r', '2024-01-02')")
        yield* sync.external.query("insert into notas values ('NOVA', 'e', '2024-01-01')")
        assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1, conflicts: 1 } })
        yield* assertConverged(sync)
      }))
  }

  it.scoped("promise 1: keys without overlaps (PostgreSQL 18) are told apart by all of their columns", () =>
    Effect.gen(function*() {
      const probe = yield* synced("create table apoio (id integer primary key)")
      for (const side of ["replit", "external"] as const) {
        const [found] = yield* probe[side].query<{ v: number }>(
          "select current_setting('server_version_num')::integer as v"
        )
        if (found!.v < 180000) return
      }
      const sync = yield* synced(`
        create extension if not exists btree_gist schema public;
        create table tarifas (id integer, vale daterange, a text, primary key (id, vale without overlaps));
        create table compras (id integer primary key, tarifa integer, vale daterange,
          foreign key (tarifa, period vale) references tarifas (id, period vale));`)
      yield* sync.replit.query(`
        insert into tarifas values (1, '[2024-01-01,2024-06-01)', 'a'), (1, '[2024-06-01,2025-01-01)', 'b'), (2, '[2024-01-01,2025-01-01)', 'c');
        insert into compras values (1, 1, '[2024-03-01,2024-07-01)')`)
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.external.query(
        "update tarifas set a = 'z' where id = 1; update tarifas set vale = '[2024-01-01,2026-01-01)' where id = 2"
      )
      yield* sync.replit.query("insert into tarifas values (3, '[2024-01-01,2025-01-01)', 'r')")
      yield* sync.external.query("insert into tarifas values (3, '[2024-06-01,2025-06-01)', 'e')")
      yield* sync.cycle
      assert.lengthOf(yield* sync.replit.database.quarantined(sync.tables[0]!), 1)
      assert.lengthOf(yield* sync.external.database.quarantined(sync.tables[0]!), 1)
      yield* sync.external.query("delete from tarifas where id = 3")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 1: keys of a domain that refuses null are logged, changed and deleted, by the row, too", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`create domain codigo as char(4) not null; create domain chave as codigo not null;
        create table notas (id chave primary key, a text);
        create table vendas (id chave primary key, a text) partition by hash (id);
        create table vendas_1 partition of vendas for values with (modulus 1, remainder 0);`)
      for (const table of ["notas", "vendas"]) {
        yield* sync.replit.query(`insert into ${table} values ('a', 'a'), ('b', 'b'), ('c', 'c')`)
        yield* sync.cycle
        yield* sync.replit.query(`update ${table} set id = 'dddd' where id = 'a'; delete from ${table} where id = 'b'`)
        yield* sync.external.query(`update ${table} set a = 'z' where id = 'c'`)
        yield* sync.cycle
        assert.deepStrictEqual(yield* sync.external.rows(table), ["(\"c   \",z)", "(dddd,a)"])
        yield* assertConverged(sync)
      }
    }))

  it.scoped("promise 1: a key's type that is renamed fails no write, stops no table and loses no delete", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: `create type cor as enum ('a', 'b', 'c', 'd'); create table notas (id cor primary key, a text);
          create table outras (id integer primary key)`,
        external:
          `create type cor as enum ('a', 'b', 'c', 'd'); create table notas (id cor primary key, a text check (a <> 'ruim'));
          create table outras (id integer primary key)`
      })
      yield* sync.replit.query("insert into notas values ('a', 'a'), ('b', 'b'), ('d', 'ruim')")
      yield* sync.cycle
      yield* sync.replit.query("delete from notas where id = 'b'")
      for (const side of sides) yield* sync[side].query("alter type cor rename to cores")
      // A new connection: others still have the plan that they made before.
      const app = yield* sync.replit.connect
      yield* app.query("update notas set id = 'c' where id = 'a'; insert into outras values (1)")
      yield* sync.cycle
      yield* sync.replit.query("update notas set a = 'boa' where id = 'd'")
      yield* sync.cycle
      assert.deepStrictEqual(yield* sync.external.rows("notas"), ["(c,a)", "(d,boa)"])
      yield* assertConverged(sync)
    }))

  it.scoped("promise 1: citext that moves to another schema fails no write of the app, and its tables go on", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`create extension citext schema public; create table outras (id integer primary key);
        create table notas (id public.citext primary key, a text, updated_at timestamptz);`)
      yield* sync.replit.query("insert into notas values ('A', 'a'), ('B', 'b')")
      yield* sync.cycle
      for (const side of sides) {
        const admin = asAdmin(sync[side].url)
        yield* query(admin, "create schema extensoes; grant usage on schema extensoes to public")
        yield* query(admin, "alter extension citext set schema extensoes")
      }
      const app = yield* sync.replit.connect
      yield* app.query("update notas set a = 'x' where id = 'A'; insert into notas values ('C', 'c')")
      yield* app.query("update notas set id = 'D' where id = 'B'")
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.include((yield* sync.external.rows("notas")).join(), "(A,x,")
    }).pipe(alone))
})
