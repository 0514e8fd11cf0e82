import { NodeContext } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Redacted } from "effect"
import type { Few } from "../../src/services/Database.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { assertConverged, assertEqual, moved, PgPair, type Synced, synced, targetOf, until } from "../support/PgPair.ts"
import * as Proxy from "../support/Proxy.ts"
import { asAdmin, query } from "../support/TestPostgres.ts"

const notas = "create table notas (id integer primary key, a text unique, b bytea, n numeric(10, 2))"

const claimed = (sync: Synced, table: Parameters<Synced["replit"]["database"]["claimFew"]>[0]) =>
  Effect.flatMap(
    sync.replit.database.claimFew(table),
    (few): Effect.Effect<Few> =>
      few !== "none" && few._tag === "Few" ? Effect.succeed(few) : Effect.dieMessage("None or many were pending.")
  )

/** Process ids of the service's connections to external. */
const backends = (sync: Synced) =>
  Effect.map(
    sync.external.query<{ pid: number }>(
      "select pid from pg_stat_activity where application_name = 'vaivem' and datname = current_database() order by 1"
    ),
    (rows) => rows.map(({ pid }) => pid)
  )

layer(PgPair.layer, { excludeTestServices: true })("few rows", (it) => {
  it.scoped("values arrive to the letter: escapes, control characters, binary, null and empty, in many flights of one connection", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const { query: write } = sync.replit
      for (let round = 0; round < 5; round++) {
        yield* write(
          `insert into notas select 10 * $1::integer + n,
             (array[E'tab\\there\\nline\\r\\\\N', '\\.', E'\\x01\\x7f é \\\\x00', '', null])[n] || $1, 
             decode(repeat('00ff5c0a09', 50 * n), 'hex'), n * 1.25 from generate_series(1, 5) n`,
          [round]
        )
        yield* write("update notas set a = a || a where id % 10 = 1")
        assert.strictEqual((yield* sync.cycle).outcome, "moved")
        yield* assertEqual(sync)
      }
      yield* assertConverged(sync)
    }))

  it.scoped("letters of more than a byte arrive in databases that know no encoding", () =>
    Effect.gen(function*() {
      const urls = yield* PgPair
      const made = yield* Effect.forEach(["replit", "external"] as const, (side) =>
        Effect.gen(function*() {
          const url = new URL(Redacted.value(urls[side]))
          const name = `ascii_${side}_${url.pathname.slice(1)}`
          yield* Effect.acquireRelease(
            query(
              asAdmin(urls[side]),
              `create database ${name} owner ${url.username} template template0 encoding 'SQL_ASCII' locale 'C'`
            ),
            () => Effect.orDie(query(asAdmin(urls[side]), `drop database ${name} with (force)`))
          )
          url.pathname = name
          return Redacted.make(url.href)
        }))
      const sync = yield* synced(notas).pipe(
        Effect.provideService(PgPair, { replit: made[0]!, external: made[1]! })
      )
      yield* sync.replit.query("insert into notas values (1, convert_from('\\xc3a7c3a3e29886'::bytea, 'SQL_ASCII'))")
      assert.deepInclude(moved(yield* sync.cycle), { push: { inserted: 1 } })
      const rows = yield* sync.external.query("select convert_to(a, 'SQL_ASCII')::text as bytes from notas")
      assert.deepStrictEqual(rows, [{ bytes: "\\xc3a7c3a3e29886" }])
    }))

  it.scoped("large rows go as many do, and a text of 50 kB goes with the few", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer primary key, a text)")
      const table = yield* sync.table("notas")
      const text = (length: number) =>
        `(select string_agg(md5($1::text || n), '') from generate_series(1, ${length / 32}) n)`
      yield* sync.replit.query(`insert into notas select 1, ${text(50_000)}`, ["a"])
      assert.strictEqual((yield* claimed(sync, table)).rows, 1)
      yield* sync.replit.query(`insert into notas select 2, ${text(2_000_000)}`, ["b"])
      assert.propertyVal(yield* sync.replit.database.claimFew(table), "_tag", "Many")
      assert.deepInclude(moved(yield* sync.cycle), { push: { inserted: 2 } })
      yield* assertConverged(sync)
    }))

  it.scoped("a refusal in the middle of a flight leaves the connection in step, and nothing of it behind", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const table = yield* sync.table("notas")
      yield* sync.external.query("alter table notas add check (a <> 'refused') not valid")
      const before = yield* backends(sync)
      for (let round = 1; round <= 3; round++) {
        yield* sync.replit.query("insert into notas (id, a) values ($1, $2), ($3, 'refused')", [
          2 * round,
          `${round}`,
          999
        ])
        const error = yield* Effect.flip(
          Effect.flatMap(claimed(sync, table), (few) => sync.external.database.applyFew(table, few))
        )
        assert.strictEqual(error._tag, "RowRefused")
        yield* sync.replit.query("delete from notas where id = 999")
        const few = yield* claimed(sync, table)
        yield* few.acknowledge((yield* sync.external.database.applyFew(table, few)).kept)
        assert.lengthOf(yield* sync.external.rows("notas"), round)
      }
      // No connection was thrown away for it.
      assert.deepStrictEqual((yield* backends(sync)).slice(0, 1), before.slice(0, 1))
      yield* assertEqual(sync)
    }))

  it.scoped("a stage that was kept for a table that is changed rounds nothing: the flight is refused", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const table = yield* sync.table("notas")
      const apply = Effect.flatMap(claimed(sync, table), (few) => sync.external.database.applyFew(table, few))
      yield* sync.replit.query("insert into notas (id, n) values (1, 1.25)")
      yield* apply
      for (const side of ["replit", "external"] as const) {
        yield* sync[side].query("alter table notas alter column n type numeric")
      }
      yield* sync.replit.query("update notas set n = 1.23456")
      assert.strictEqual((yield* Effect.flip(apply))._tag, "Contended")
      assert.strictEqual((yield* sync.cycle).outcome, "moved")
      assert.deepStrictEqual(yield* sync.external.query("select n::text as n from notas"), [{ n: "1.23456" }])
      yield* assertConverged(sync)
    }))

  it.scoped("a network that is cut in the middle of a flight costs nothing: all of it or none, and then all", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const table = yield* sync.table("notas")
      const proxy = yield* Proxy.make(sync.external.url)
      const far = yield* Effect.provide(PgDatabase.make(targetOf("external", proxy.url)), NodeContext.layer)
      yield* sync.replit.query("insert into notas (id, a) values (1, 'a'), (2, 'b')")
      yield* sync.cycle
      yield* sync.replit.query("update notas set a = a || '!'")
      const few = yield* claimed(sync, table)
      const app = yield* sync.external.connect
      yield* app.query("begin; select from notas where id = 2 for update")
      const flight = yield* Effect.fork(Effect.flip(far.applyFew(table, few)))
      yield* sync.external.serviceWaits
      yield* proxy.cut
      assert.strictEqual((yield* Fiber.join(flight))._tag, "Unavailable")
      yield* app.query("commit")
      // The server learns of the cut when it answers.
      yield* until(Effect.map(
        sync.external.query(
          "select from pg_stat_activity where application_name = 'vaivem' and datname = current_database() and state <> 'idle'"
        ),
        (rows) => rows.length === 0
      ))
      yield* sync.cycle
      yield* assertConverged(sync)
    }))
})
