import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { verify } from "../../src/programs/verify.ts"
import { PgPair, type Synced, synced } from "../support/PgPair.ts"

const verified = (sync: Synced) =>
  Effect.map(
    sync.run(Effect.flatMap(makeCycle, (cycle) => verify(cycle, { repair: false, dryRun: false, show: 1_000 }))),
    ({ tables }) => tables[0]!
  )

/** Writes that nobody logs, as in a restored backup. */
const unseen = (sync: Synced, side: "replit" | "external", statement: string) =>
  sync[side].query(
    `begin; alter table notas disable trigger user; ${statement}; alter table notas enable trigger user; commit`
  )

const found = Effect.fnUntraced(function*(sync: Synced) {
  const { outcome, sample } = yield* verified(sync)
  return [outcome, ...sample.map(({ key, kind, why }) => `${key.join()} ${kind} ${why}`).sort()]
})

const notas = `create table notas (id integer primary key, a text, b text, n numeric, f double precision, j json)`
const rows =
  "insert into notas select n, 'texto ' || n, 'outro ' || n % 7, n / 8.0, n / 3.0, '{\"n\": 1}' from generate_series(0, 999) n"

layer(PgPair.layer, { excludeTestServices: true })("verify", (it) => {
  const mutations: ReadonlyArray<readonly [what: string, statement: string, ...differences: ReadonlyArray<string>]> = [
    ["the first row is missing", "delete from notas where id = 0", "0 only-on-replit unknown"],
    ["the last row is missing", "delete from notas where id = 999", "999 only-on-replit unknown"],
    ["a row in the middle is missing", "delete from notas where id = 500", "500 only-on-replit unknown"],
    ["there is a row more at the beginning", "insert into notas (id) values (-1)", "-1 only-on-external unknown"],
    ["there is a row more at the end", "insert into notas (id) values (1000)", "1000 only-on-external unknown"],
    [
      "a row has another key",
      "update notas set id = 5001 where id = 17",
      "17 only-on-replit unknown",
      "5001 only-on-external unknown"
    ],
    ["one bit differs in one column", "update notas set f = f + 1e-13 where id = 33", "33 different unknown"],
    ["one letter differs", "update notas set a = 'texto 4O' where id = 40", "40 different unknown"],
    [
      "an empty text is null",
      "update notas set a = '' where id = 1; update notas set b = null where id = 2",
      "1 different unknown",
      "2 different unknown"
    ],
    [
      "two rows swapped a value, so that every column holds the same values",
      "update notas set a = case id when 1 then 'texto 2' else 'texto 1' end where id in (1, 2)",
      "1 different unknown",
      "2 different unknown"
    ],
    [
      "two columns of a row swapped their values",
      "update notas set a = b, b = a where id = 5",
      "5 different unknown"
    ],
    [
      "a value moved from one column into the next, so that the joined text is the same",
      "update notas set a = a || 'outro ', b = substr(b, 7) where id = 6",
      "6 different unknown"
    ],
    [
      "two rows became alike, whose hashes would cancel",
      "update notas set a = 'x', b = 'x', n = 1, f = 1 where id in (10, 11)",
      "10 different unknown",
      "11 different unknown"
    ],
    [
      "as many rows are there, but one is another",
      "delete from notas where id = 3; insert into notas values (5003, 'texto 3', 'outro 3', 0.375, 1)",
      "3 only-on-replit unknown",
      "5003 only-on-external unknown"
    ],
    ["a number has another scale", "update notas set n = round(n, 1) where id = 8", "8 different unknown"],
    ["json is spaced otherwise", "update notas set j = '{\"n\":1}' where id = 9", "9 different unknown"],
    [
      "a null is the text of four letters",
      "update notas set a = 'null', b = 'NULL' where id = 12",
      "12 different unknown"
    ]
  ]

  it.scoped("promise 10: tells exactly what differs, in each way that two tables can", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      yield* sync.replit.query(rows)
      yield* sync.cycle
      assert.deepStrictEqual(yield* found(sync), ["equal"])
      const table = yield* sync.table("notas")
      // All rows in one range: there the errors of two rows could cancel.
      const whole = (side: Side) =>
        Effect.map(sync[side].database.digest(table, 1, { of: 1, only: null }), (digests) => digests.get(0)!.hash)
      for (const [what, statement, ...differences] of mutations) {
        yield* sync.external.query(
          "begin; alter table notas disable trigger user; create temp table before as table notas; commit"
        )
        yield* sync.external.query(statement)
        assert.deepStrictEqual(yield* found(sync), ["different", ...[...differences].sort()], what)
        assert.notStrictEqual(yield* whole("external"), yield* whole("replit"), what)
        yield* sync.external.query(
          "delete from notas; insert into notas table before; drop table before; alter table notas enable trigger user"
        )
      }
      assert.deepStrictEqual(yield* found(sync), ["equal"])
    }))

  it.scoped("two rows that swapped a value never leave the sum of the hashes as it was", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      yield* sync.external.query(rows)
      const table = yield* sync.table("notas")
      const sum = Effect.map(
        sync.external.database.digest(table, 1, { of: 1, only: null }),
        (digests) => digests.get(0)!.hash
      )
      const before = yield* sum
      for (let id = 0; id < 40; id += 2) {
        const swap = `update notas x set a = y.a from notas y where x.id + y.id = ${2 * id + 1} and x.id in (${id}, ${
          id + 1
        })`
        yield* sync.external.query(swap)
        assert.notStrictEqual(yield* sum, before)
        yield* sync.external.query(swap)
      }
      assert.strictEqual(yield* sum, before)
    }))

  it.scoped("tables that are empty on one side or both, or hold a single row, are told as what they are", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      assert.deepStrictEqual(yield* found(sync), ["equal"])
      yield* unseen(sync, "replit", "insert into notas (id) values (1)")
      assert.deepStrictEqual(yield* found(sync), ["different", "1 only-on-replit unknown"])
      yield* unseen(sync, "external", "insert into notas (id) values (1)")
      assert.deepStrictEqual(yield* found(sync), ["equal"])
      yield* unseen(sync, "replit", "delete from notas")
      assert.deepStrictEqual(yield* found(sync), ["different", "1 only-on-external unknown"])
    }))

  it.scoped("keys that sort differently on the two sides are no difference, and one among them is found", () =>
    Effect.gen(function*() {
      const table = (collation: string) =>
        `create table notas (id text collate ${collation}, de text collate ${collation}, a text, primary key (id, de))`
      const sync = yield* synced({ replit: table("\"C\""), external: table("\"pt-BR-x-icu\"") })
      yield* sync.replit.query(
        `insert into notas select w || n, upper(w), w from unnest(array['a', 'B', 'á', 'Z', '_', 'ç ', '😀', '-']) w, generate_series(1, 400) n`
      )
      yield* sync.cycle
      assert.deepStrictEqual(yield* found(sync), ["equal"])
      yield* unseen(sync, "external", "update notas set a = 'ç' where id = 'ç 17'; delete from notas where id = 'Z9'")
      assert.deepStrictEqual(yield* found(sync), [
        "different",
        "Z9,Z only-on-replit unknown",
        "ç 17,Ç  different unknown"
      ])
    }))

  it.scoped("scattered differences in a larger table are found with few bytes, and no bytes of rows", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer primary key, a text)", { started: false })
      for (const side of ["replit", "external"] as const) {
        yield* sync[side].query("insert into notas select n, 'texto ' || n from generate_series(1, 100000) n")
      }
      yield* sync.cycle
      const equal = yield* verified(sync)
      assert.deepStrictEqual([equal.outcome, equal.ranges], ["equal", { compared: 512, different: 0 }])
      assert.isBelow(equal.bytes, 60_000)
      yield* unseen(
        sync,
        "external",
        "update notas set a = 'x' where id % 5000 = 0; delete from notas where id % 5000 = 1"
      )
      const different = yield* verified(sync)
      assert.deepStrictEqual([different.different, different.onlyOn], [20, { replit: 20, external: 0 }])
      assert.isBelow(different.bytes, 250_000)
    }))

  it.scoped("what changes while both sides are compared is not called different", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      yield* sync.replit.query(rows)
      yield* sync.cycle
      yield* sync.external.query("update notas set a = 'novo' where id in (7, 8); delete from notas where id = 9")
      yield* sync.replit.query("insert into notas (id) values (6000)")
      const { different, onlyOn, outcome, unproven } = yield* verified(sync)
      assert.deepStrictEqual([outcome, different, onlyOn, unproven], ["unproven", 0, { replit: 0, external: 0 }, 4])
    }))
})
