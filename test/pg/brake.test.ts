import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { Limits } from "../../src/domain/brake.ts"
import { label, opposite, type Side, sides } from "../../src/domain/Side.ts"
import { approve } from "../../src/programs/approve.ts"
import { reject } from "../../src/programs/reject.ts"
import { assertConverged, moved, PgPair, type Synced, synced } from "../support/PgPair.ts"
import * as Proxy from "../support/Proxy.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz default now())"
const brake: Limits = { rows: 50, percent: 20 }

/** A table with so many rows on both sides, and the brake on. */
const filled = Effect.fnUntraced(function*(rows: number, ddl = notas) {
  const sync = yield* synced(ddl, { settings: { brake, retryFor: 0 } })
  yield* sync.replit.query(`insert into notas (id, a) select n, 'a' from generate_series(1, ${rows}) n`)
  yield* sync.cycle
  return sync
})

const count = (sync: Synced) =>
  Effect.all(sides.map((side: Side) => Effect.map(sync[side].rows("notas"), (rows) => rows.length)))

const name = ({ schema }: Synced) => ({ schema, name: "notas" })

layer(PgPair.layer, { excludeTestServices: true })("the brake", (it) => {
  it.scoped("a TRUNCATE on one side is held, whichever side, and nothing of the table goes either way", () =>
    Effect.gen(function*() {
      for (const side of sides) {
        const other = side === "replit" ? "external" : "replit"
        const sync = yield* filled(100)
        yield* sync[side].query("truncate notas")
        yield* sync[side].query("insert into notas (id, a) values (1000, 'novo')")
        yield* sync[other].query("insert into notas (id, a) values (2000, 'novo')")
        const { outcome, paused } = yield* sync.cycle
        assert.strictEqual(outcome, "idle")
        assert.deepInclude(paused[0], { table: `${sync.schema}.notas`, held: true })
        assert.include(
          paused[0]!.problem,
          `100 of 101 rows of ${other === "replit" ? "Replit" : other} would be deleted`
        )
        assert.lengthOf(yield* sync[side].rows("notas"), 1)
        assert.lengthOf(yield* sync[other].rows("notas"), 101)
        assert.strictEqual((yield* sync.cycle).paused[0]?.problem, paused[0]!.problem)
      }
    }))

  it.scoped("approve lets exactly the held ones through and not the ones deleted later", () =>
    Effect.gen(function*() {
      const sync = yield* filled(300)
      yield* sync.replit.query("delete from notas where id <= 100")
      yield* sync.cycle
      yield* sync.replit.query("delete from notas where id between 101 and 200")
      yield* sync.run(approve(name(sync)))
      const report = yield* sync.cycle
      assert.deepStrictEqual(moved(report), { push: { deleted: 100 }, pull: {} })
      assert.deepStrictEqual(report.paused.map(({ held }) => held), [true])
      assert.deepStrictEqual(yield* count(sync), [100, 200])
      yield* sync.run(approve(name(sync)))
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("approve and reject wait for a transaction that had written before the count, and what it adds is counted anew", () =>
    Effect.gen(function*() {
      const sync = yield* filled(300)
      const late = yield* sync.replit.connect
      yield* late.query("begin")
      yield* late.query("delete from notas where id > 200")
      yield* sync.replit.query("delete from notas where id <= 100")
      yield* sync.cycle
      for (const said of [approve(name(sync)), Effect.asVoid(reject(name(sync)))]) {
        const waits = yield* Effect.flip(sync.run(Effect.asVoid(said)))
        assert.strictEqual(waits._tag, "Contended")
        assert.match(waits.message, /that had written into .*notas when it was held is still open/)
      }
      // One that began to write later is not waited for: its changes are later ones.
      const later = yield* sync.replit.connect
      yield* later.query("begin")
      yield* later.query("delete from notas where id = 150")
      yield* late.query("commit")
      const grown = yield* Effect.flip(sync.run(approve(name(sync))))
      assert.strictEqual(grown._tag, "ActionNeeded")
      assert.match(grown.message, /More changes of .*notas on Replit belong to those that were held than were counted/)
      const again = yield* sync.cycle
      assert.include(again.paused[0]?.problem, "200 of 300 rows of external would be deleted")
      yield* later.query("commit")
      yield* sync.run(approve(name(sync)))
      assert.deepStrictEqual(moved(yield* sync.cycle), { push: { deleted: 201 }, pull: {} })
      assert.deepStrictEqual(yield* count(sync), [99, 99])
    }))

  it.scoped("reject brings the rows back on both sides, and they stay", () =>
    Effect.gen(function*() {
      for (const side of sides) {
        const sync = yield* filled(200)
        const before = yield* sync[side].rows("notas")
        yield* sync[side].query("truncate notas")
        yield* sync.cycle
        assert.deepStrictEqual(yield* sync.run(reject(name(sync))), { deletes: 200, overwrites: 0 })
        yield* sync.cycle
        assert.deepStrictEqual(yield* sync[side].rows("notas"), before)
        yield* assertConverged(sync)
      }
    }))

  it.scoped("reject of overwrites keeps this side's versions in the conflicts and takes the other side's", () =>
    Effect.gen(function*() {
      const sync = yield* filled(100)
      yield* sync.external.query("update notas set a = 'de fora' where id <= 60")
      yield* sync.replit.query("update notas set a = 'de dentro' where id <= 60")
      const held = yield* sync.cycle
      assert.include(held.paused[0]?.problem, "60 of 100 rows of external would be overwritten in conflict")
      assert.deepStrictEqual(yield* sync.run(reject(name(sync))), { deletes: 0, overwrites: 60 })
      yield* sync.cycle
      yield* assertConverged(sync)
      const kept = yield* sync.replit.query(
        "select lost ->> 'a' as a, count(*)::int as rows from vaivem.conflicts where table_schema = $1 and reason = 'rejected' group by 1",
        [sync.schema]
      )
      assert.deepStrictEqual(kept, [{ a: "de dentro", rows: 60 }])
      assert.deepStrictEqual(
        yield* sync.replit.query("select count(*)::int as rows from notas where a = 'de fora'"),
        [{ rows: 60 }]
      )
    }))

  it.scoped("changed keys of rows that the other side changed are held; approve takes them over, reject takes them back", () =>
    Effect.gen(function*() {
      const cases = [["external", { rows: 0, percent: 0 }, 1], ["replit", { rows: 5, percent: 20 }, 6]] as const
      for (const [side, limits, rows] of cases) {
        const other = opposite(side)
        const sync = yield* synced(
          "create table notas (id integer primary key, a text, email text unique, updated_at timestamptz default now())",
          { settings: { brake: limits, retryFor: 0 } }
        )
        yield* sync.replit.query(`insert into notas (id, a, email) select n, 'a', n from generate_series(0, ${rows}) n`)
        yield* sync.cycle
        // A row's unique value is under both its keys then, and the change of the key is the newer version.
        const contested = Effect.gen(function*() {
          yield* sync[side].query("update notas set id = id + 10000 where id > 0")
          yield* sync[other].query("update notas set a = 'outra', updated_at = '-infinity' where id > 0")
          const held = yield* sync.cycle
          const what = `${rows} of ${rows + 1} rows of ${label(other)} would be overwritten in conflict`
          assert.include(held.paused[0]?.problem, what)
          assert.deepStrictEqual(moved(held), { push: {}, pull: {} })
        })
        const settled = Effect.gen(function*() {
          const { paused, pull, push } = yield* sync.cycle
          assert.deepStrictEqual(paused, [])
          assert.strictEqual(pull.quarantined + push.quarantined, 0)
          yield* assertConverged(sync)
          return yield* sync[side].query(
            "select a, min(id) as id, count(*)::int as rows from notas where id > 0 group by a"
          )
        })
        const lost = (of: Side) =>
          sync[of].query(
            "select reason, lost ->> 'a' as a, count(*)::int as rows from vaivem.conflicts where table_schema = $1 group by 1, 2",
            [sync.schema]
          )
        yield* contested
        yield* sync.run(approve(name(sync)))
        assert.deepStrictEqual(yield* settled, [{ a: "a", id: 10_001, rows }])
        assert.deepStrictEqual(yield* lost(other), [{ reason: "conflict", a: "outra", rows }])
        yield* contested
        assert.deepStrictEqual(yield* sync.run(reject(name(sync))), { deletes: 0, overwrites: rows })
        assert.deepStrictEqual(yield* settled, [{ a: "outra", id: 10_001, rows }])
        assert.deepStrictEqual(yield* lost(side), [{ reason: "rejected", a: "a", rows }])
      }
    }))

  it.scoped("reject of a changed key takes along what points at the row, and deletes none of it", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `${notas};
         create table filhas (id integer primary key, nota integer references notas on update cascade on delete cascade)`,
        { tables: ["notas"], settings: { brake: { rows: 0, percent: 0 }, retryFor: 0 } }
      )
      yield* sync.replit.query("insert into notas (id, a) values (1, 'a')")
      yield* sync.cycle
      yield* sync.external.query("insert into filhas values (1, 1)")
      yield* sync.external.query("update notas set id = 2")
      yield* sync.replit.query("update notas set a = 'outra', updated_at = '-infinity'")
      yield* sync.cycle
      yield* sync.run(reject(name(sync)))
      yield* sync.cycle
      assert.deepStrictEqual(yield* sync.external.query("select id, nota from filhas"), [{ id: 1, nota: 1 }])
      assert.deepStrictEqual(yield* sync.external.query("select id, a from notas"), [{ id: 1, a: "outra" }])
    }))

  it.scoped("a bulk update, a bulk insert, rows that are rewritten and keys that all change pass", () =>
    Effect.gen(function*() {
      const sync = yield* filled(300)
      const statements = [
        "update notas set a = 'b'",
        "insert into notas (id, a) select n, 'c' from generate_series(1001, 1300) n",
        "update notas set id = id + 10000",
        "begin; create temp table antes as select * from notas; delete from notas; insert into notas select * from antes; commit",
        "insert into notas (id, a) select n, 'd' from generate_series(1, 100) n; delete from notas where id <= 100"
      ]
      for (const statement of statements) {
        yield* sync.replit.query(statement)
        assert.deepStrictEqual((yield* sync.cycle).paused, [], statement)
        yield* assertConverged(sync)
      }
    }))

  it.scoped("deletes of a small table, and of a small part of a large one, pass", () =>
    Effect.gen(function*() {
      const sync = yield* filled(50)
      yield* sync.replit.query("delete from notas")
      assert.deepStrictEqual((yield* sync.cycle).paused, [])
      yield* assertConverged(sync)
      yield* sync.replit.query("insert into notas (id, a) select n, 'a' from generate_series(1, 1000) n")
      yield* sync.cycle
      yield* sync.external.query("delete from notas where id <= 200")
      assert.deepStrictEqual(moved(yield* sync.cycle), { push: {}, pull: { deleted: 200 } })
      yield* assertConverged(sync)
    }))

  it.scoped("what first contact marks as pending is decided by the rule and not held", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: `${notas}; insert into notas (id, a) select n, 'a' from generate_series(1, 200) n`,
        external: `${notas}; insert into notas (id, a) select n, 'b' from generate_series(1, 200) n`
      }, { started: false, settings: { brake } })
      const report = yield* sync.cycle
      assert.deepStrictEqual(report.paused, [])
      yield* assertConverged(sync)
    }))

  it.scoped("off holds nothing, and lets go of what was held", () =>
    Effect.gen(function*() {
      const sync = yield* filled(100)
      yield* sync.replit.query("truncate notas")
      yield* sync.cycle
      const off = yield* synced("select 1", {
        schema: sync.schema,
        tables: ["notas"],
        started: false,
        settings: { brake: null }
      })
      assert.deepStrictEqual((yield* off.cycle).paused, [])
      assert.deepStrictEqual(yield* count(off), [0, 0])
      assert.deepStrictEqual(
        (yield* off.replit.database.held).filter(({ table }) => table.schema === sync.schema).map(({ since }) => since),
        [null]
      )
    }))

  it.scoped("a delete that a foreign key would carry into a held table waits with it", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `create table pais (id integer primary key);
         create table notas (id integer primary key, pai integer references pais on delete cascade)`,
        { settings: { brake } }
      )
      yield* sync.replit.query("insert into pais select generate_series(1, 100)")
      yield* sync.replit.query("insert into notas select n, 1 from generate_series(1, 100) n")
      yield* sync.cycle
      yield* sync.replit.query("delete from pais where id = 1")
      const report = yield* sync.cycle
      assert.deepStrictEqual(report.paused.map(({ table }) => table), [`${sync.schema}.notas`])
      assert.lengthOf(yield* sync.external.rows("pais"), 100)
      assert.lengthOf(yield* sync.external.rows("notas"), 100)
      yield* sync.run(approve(name(sync)))
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("what an app deletes while a cycle runs waits for the next one to look", () =>
    Effect.gen(function*() {
      const sync = yield* filled(300)
      yield* sync.replit.query("delete from notas where id = 1")
      const { database } = sync.replit
      const { claim, claimFew } = database
      let isLate = false
      const deleteMore = Effect.suspend(() => {
        if (isLate) return Effect.void
        isLate = true
        return Effect.orDie(sync.replit.query("delete from notas"))
      })
      Object.assign(database, {
        claim: (...given: Parameters<typeof claim>) => Effect.zipRight(deleteMore, claim(...given)),
        claimFew: (...given: Parameters<typeof claimFew>) => Effect.zipRight(deleteMore, claimFew(...given))
      })
      assert.deepStrictEqual((yield* sync.cycle).push.deleted, 0)
      assert.lengthOf(yield* sync.external.rows("notas"), 300)
      assert.deepStrictEqual((yield* sync.cycle).paused.map(({ held }) => held), [true])
    }))

  it.scoped("a cycle with few changes costs no more round trips than without the brake; one with many costs a look", () =>
    Effect.gen(function*() {
      const urls = yield* PgPair
      const proxies = yield* Effect.all({ replit: Proxy.make(urls.replit), external: Proxy.make(urls.external) })
      const trips = Effect.fnUntraced(function*(limits: Limits | null, rows: number) {
        const sync = yield* synced(notas, { settings: { brake: limits } }).pipe(
          Effect.provideService(PgPair, { replit: proxies.replit.url, external: proxies.external.url })
        )
        const cost = Effect.gen(function*() {
          const before = yield* Effect.all([proxies.replit.roundTrips, proxies.external.roundTrips])
          yield* sync.cycle
          const after = yield* Effect.all([proxies.replit.roundTrips, proxies.external.roundTrips])
          return after.map((trips, index) => trips.length - before[index]!.length)
        })
        const insert = (first: number) =>
          sync.replit.query(`insert into notas (id) select n + ${first} from generate_series(1, ${rows}) n`)
        // Connections and what is asked only once are behind us then.
        for (const first of [1_000, 2_000]) yield* Effect.zipRight(insert(first), sync.cycle)
        yield* insert(3_000)
        const moving = yield* cost
        assert.deepStrictEqual(yield* cost, [1, 1], "idle")
        return moving
      })
      const few = yield* trips(null, 50)
      assert.deepStrictEqual(yield* trips(brake, 50), few)
      const many = yield* trips(null, 400)
      // Both queues are looked at; and Replit's side is asked what is held.
      assert.deepStrictEqual(yield* trips(brake, 400), [many[0]! + 2, many[1]! + 1])
    }))
})
