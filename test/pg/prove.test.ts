import { assert, layer } from "@effect/vitest"
import { type Clock, Effect } from "effect"
import { provenOf } from "../../src/domain/Proof.ts"
import { proveTurn } from "../../src/programs/prove.ts"
import { PgPair, type Synced, synced } from "../support/PgPair.ts"

/** A turn that is due, and what is proven of the test's table then. */
const turn = Effect.fnUntraced(function*(sync: Synced, bytesADay = 20_000_000) {
  yield* sync.replit.database.noteTurn(0)
  const table = yield* sync.table("notas")
  const nextInMs = yield* sync.run(atOnce(proveTurn([table], bytesADay)))
  const { of } = yield* sync.replit.database.proofs
  const proven = provenOf(of.get(`${sync.schema}.notas`)!, null)!
  return { ...proven, nextInMs, sample: proven.sample.map(({ key, kind, why }) => `${key.join()} ${kind} ${why}`) }
})

/** A turn ends after two seconds, which a busy machine may need for a stretch: here no time passes by. */
const atOnce = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.clockWith((clock) =>
    Effect.flatMap(clock.currentTimeMillis, (nowMs) => {
      const stopped: Clock.Clock = Object.assign(Object.create(clock), { currentTimeMillis: Effect.succeed(nowMs) })
      return Effect.withClock(self, stopped)
    })
  )

/** Writes that nobody logs, as in a restored backup. */
const unseen = (sync: Synced, side: "replit" | "external", statement: string) =>
  sync[side].query(
    `begin; alter table notas disable trigger user; ${statement}; alter table notas enable trigger user; commit`
  )

const notas = "create table notas (id integer primary key, a text, b numeric)"

layer(PgPair.layer, { excludeTestServices: true })("the rolling proof", (it) => {
  it.scoped("goes through a larger table from turn to turn, and an equal row costs next to nothing", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      for (const side of ["replit", "external"] as const) {
        yield* sync[side].query("insert into notas select n, 'texto ' || n, n / 8.0 from generate_series(1, 100000) n")
      }
      yield* sync.cycle
      // The hour's part of the day's bytes is what one stretch costs.
      const first = yield* turn(sync, 4_800)
      assert.deepInclude(first, { rows: 10_000, isWhole: false, nextInMs: 3_600_000 })
      const second = yield* turn(sync, 4_800)
      assert.deepInclude(second, { rows: 20_000, isWhole: false, since: first.since })
      const { isWhole, nextInMs, of, rows } = yield* turn(sync, 100_000)
      assert.deepStrictEqual([isWhole, rows, of, nextInMs], [true, 100_000, 100_000, 3_600_000])
    }))

  it.scoped("names a row more or less at either end, and one that differs, and nothing else", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      yield* sync.replit.query("insert into notas select n, 'texto ' || n, n / 8.0 from generate_series(1, 30000) n")
      yield* sync.cycle
      yield* unseen(
        sync,
        "external",
        `delete from notas where id = 1; insert into notas values (0, 'x', 1), (30001, 'y', 1);
         update notas set a = 'O' where id = 12345; update notas set b = round(b, 1) where id = 29999`
      )
      const found = yield* turn(sync)
      assert.deepStrictEqual([...found.sample].sort(), [
        "0 only-on-external unknown",
        "1 only-on-replit unknown",
        "12345 different unknown",
        "29999 different unknown",
        "30001 only-on-external unknown"
      ])
      assert.deepInclude(found, { rows: 29_997, of: 30_002, isWhole: true })
      yield* unseen(sync, "external", "delete from notas where id > 28000")
      assert.deepInclude(yield* turn(sync), { rows: 27_998, of: 30_001, isWhole: true })
    }))

  it.scoped("counts rows that only external has where they are too many to look at", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      yield* sync.replit.query("insert into notas select n * 10000, 'x' from generate_series(1, 1500) n")
      yield* sync.cycle
      yield* unseen(sync, "external", "insert into notas select 5000000 + n from generate_series(1, 5000) n")
      const { isWhole, of, rows, unproven } = yield* turn(sync)
      assert.deepStrictEqual([isWhole, rows, of, unproven.beyond], [true, 1_500, 6_500, 5_000])
    }))

  it.scoped("proves equal what the two sides order otherwise, and finds the one row among it that isn't", () =>
    Effect.gen(function*() {
      const table = (collation: string) =>
        `create table notas (id text collate ${collation}, n integer, a text, primary key (id, n))`
      const sync = yield* synced({ replit: table("\"C\""), external: table("\"pt-BR-x-icu\"") })
      yield* sync.replit.query(
        `insert into notas select w || md5(n::text), n % 7, w
         from unnest(array['a', 'B', 'á', 'Z', '_', 'ç ', '😀', '-']) w, generate_series(1, 1500) n`
      )
      yield* sync.cycle
      const equal = yield* turn(sync, 1_000_000_000)
      assert.deepInclude(equal, { rows: 12_000, of: 12_000, isWhole: true, sample: [] })
      yield* unseen(sync, "external", "update notas set a = 'ç' where id = 'Z' || md5('17')")
      const { rows, sample } = yield* turn(sync, 1_000_000_000)
      assert.deepStrictEqual([rows, sample], [11_999, [`Z70efdf2ec9b086079795c442636b55fb,3 different unknown`]])
    }))

  it.scoped("calls what changes meanwhile pending, and proves it after the next cycle", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      yield* sync.replit.query("insert into notas select n, 'x' from generate_series(1, 100) n")
      yield* sync.cycle
      yield* sync.external.query("update notas set a = 'novo' where id = 7; delete from notas where id = 9")
      yield* sync.replit.query("insert into notas values (6000)")
      const found = yield* turn(sync)
      assert.deepStrictEqual([found.rows, found.isWhole, found.unproven.pending], [98, false, 3])
      yield* sync.cycle
      assert.deepInclude(yield* turn(sync), { rows: 100, of: 100, isWhole: true })
    }))

  it.scoped("shares a turn among tables, and begins with the one that was looked at longest ago", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `${notas}; create table a (id integer primary key); create table z (id integer primary key)`
      )
      const tables = [yield* sync.table("notas"), yield* sync.table("a"), yield* sync.table("z")]
      const looked = Effect.map(
        sync.replit.database.proofs,
        ({ of }) =>
          [...of.keys()].filter((name) => name.startsWith(`${sync.schema}.`)).map((name) => name.split(".")[1])
      )
      for (const expected of [["notas"], ["notas", "a"], ["notas", "a", "z"], ["a", "z", "notas"]]) {
        yield* sync.replit.database.noteTurn(0)
        // Bytes for one stretch.
        yield* sync.run(atOnce(proveTurn(tables, 24)))
        assert.deepStrictEqual(yield* looked, expected)
      }
    }))
})
