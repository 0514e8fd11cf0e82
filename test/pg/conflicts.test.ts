import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { Policy } from "../../src/domain/decide.ts"
import { opposite, type Side, sides } from "../../src/domain/Side.ts"
import { resolve } from "../../src/programs/resolve.ts"
import { assertConverged, assertEqual, moved, nothing, PgPair, type Synced, synced } from "../support/PgPair.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz)"

/** A pair with the row 1 of `notas` on both sides. */
const withRow = Effect.fnUntraced(function*(ddl: Parameters<typeof synced>[0] = notas) {
  const sync = yield* synced(ddl)
  yield* sync.replit.query("insert into notas (id, a) values (1, 'inicio')")
  yield* sync.cycle
  return sync
})

const values = (sync: Synced, side: Side) =>
  Effect.map(sync[side].query<{ a: string }>("select a from notas order by id"), (rows) => rows.map(({ a }) => a))

/** Writes the row on both sides, with these stamps. */
const contest = Effect.fnUntraced(function*(sync: Synced, stamps: Readonly<Record<Side, string | null>>) {
  for (const side of sides) {
    yield* sync[side].query("update notas set a = $1, updated_at = $2 where id = 1", [side, stamps[side]])
  }
})

const journal = (sync: Synced, side: Side) => sync[side].database.conflicts({ table: sync.tables[0]!, limit: 20 })

layer(PgPair.layer, { excludeTestServices: true })("conflicts", (it) => {
  const stamps: ReadonlyArray<readonly [string, Readonly<Record<Side, string | null>>, Side]> = [
    [
      "a microsecond later",
      { replit: "2024-05-01 10:00:00.000001+00", external: "2024-05-01 10:00:00.000002+00" },
      "external"
    ],
    [
      "a microsecond earlier",
      { replit: "2024-05-01 10:00:00.000002+00", external: "2024-05-01 10:00:00.000001+00" },
      "replit"
    ],
    [
      "the same instant in other zones",
      { replit: "2024-05-01 10:00:00+00", external: "2024-05-01 07:00:00-03" },
      "replit"
    ],
    ["far beyond JavaScript's dates", {
      replit: "280000-01-01 00:00:00.000001+00",
      external: "280000-01-01 00:00:00.000002+00"
    }, "external"],
    [
      "the last instant there is, and one before",
      { replit: "294276-12-31 23:59:59+00", external: "infinity" },
      "replit"
    ],
    ["before Christ", { replit: "0044-03-15 00:00:00+00 BC", external: "0043-03-15 00:00:00+00 BC" }, "external"],
    ["null is oldest", { replit: null, external: "-infinity" }, "external"],
    ["null against null", { replit: null, external: null }, "replit"],
    ["-infinity against a real one", { replit: "-infinity", external: "4713-01-01 00:00:00+00 BC" }, "external"],
    ["infinity against infinity", { replit: "infinity", external: "infinity" }, "replit"],
    ["infinity against now", { replit: "2024-05-01 10:00:00+00", external: "infinity" }, "external"]
  ]
  it.scoped("promise 5: the later stamp wins, in whole microseconds, and a tie goes to Replit", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      for (const [name, given, winner] of stamps) {
        yield* contest(sync, given)
        const report = yield* sync.cycle
        const way = winner === "replit" ? "push" : "pull"
        assert.deepStrictEqual(moved(report), { ...nothing, [way]: { updated: 1, conflicts: 1 } }, name)
        for (const side of sides) assert.deepStrictEqual(yield* values(sync, side), [winner], name)
        yield* assertEqual(sync)
      }
      yield* assertConverged(sync)
    }))

  it.scoped("promise 5: a stamp without a time zone is read as UTC, whatever zone the role or the server is in", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: "create table notas (id integer primary key, a text, updated_at timestamp)",
        external: notas
      }, { started: false })
      for (const side of sides) {
        const zone = side === "replit" ? "Asia/Tokyo" : "America/Lima"
        yield* sync[side].query(`set timezone = '${zone}'; alter role current_user set timezone = '${zone}'`)
      }
      yield* sync.replit.query("insert into notas values (1, 'inicio')")
      yield* sync.cycle
      yield* contest(sync, { replit: "2024-05-01 10:00:00", external: "2024-05-01 10:00:00.000001+00" })
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1, conflicts: 1 } })
      yield* contest(sync, { replit: "2024-05-01 10:00:00", external: "2024-05-01 09:59:59.999999+00" })
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1, conflicts: 1 } })
      assert.deepStrictEqual(yield* sync.external.rows("notas"), ["(1,replit,\"2024-05-01 10:00:00+00\")"])
      assert.strictEqual((yield* sync.cycle).outcome, "idle")
    }))

  it.scoped("promise 5: each table has its own policy, and replit-wins and external-wins look at no stamp", () =>
    Effect.gen(function*() {
      const policies = ["last-write-wins", "replit-wins", "external-wins"] as const
      const name = (policy: Policy) => policy.replaceAll("-", "_")
      const sync = yield* synced(
        policies.map((policy) =>
          `create table ${name(policy)} (id integer primary key, a text, updated_at timestamptz);`
        ).join(""),
        {
          schema: "politicas",
          settings: { policies: { byTable: new Map(policies.map((policy) => [`politicas.${name(policy)}`, policy])) } }
        }
      )
      for (const policy of policies) {
        for (const [id, later] of [[1, "replit"], [2, "external"]] as const) {
          for (const side of sides) {
            yield* sync[side].query(
              `insert into ${name(policy)} values ($1, $2, '2024-01-01'::timestamptz + $3::text::interval)`,
              [id, side, side === later ? "1 second" : "0"]
            )
          }
        }
      }
      yield* sync.cycle
      yield* assertConverged(sync)
      const found = (policy: Policy) =>
        Effect.map(
          sync.replit.query<{ a: string }>(`select a from ${name(policy)} order by id`),
          (rows) => rows.map(({ a }) => a)
        )
      assert.deepStrictEqual(yield* found("last-write-wins"), ["replit", "external"])
      assert.deepStrictEqual(yield* found("replit-wins"), ["replit", "replit"])
      assert.deepStrictEqual(yield* found("external-wins"), ["external", "external"])
    }))

  for (const side of sides) {
    it.scoped(`promise 5: a delete on ${side} loses to a later update and wins over an earlier one`, () =>
      Effect.gen(function*() {
        const sync = yield* withRow()
        const other = sync[opposite(side)]
        yield* other.query("update notas set a = 'vive', updated_at = now() + interval '1 hour'")
        yield* sync[side].query("delete from notas")
        yield* sync.cycle
        yield* assertConverged(sync)
        assert.deepStrictEqual(yield* values(sync, side), ["vive"])
        assert.deepInclude((yield* journal(sync, side))[0], { reason: "conflict", lost: null, key: ["1"] })

        yield* other.query("update notas set a = 'morre', updated_at = now() - interval '1 hour'")
        yield* sync[side].query("delete from notas")
        yield* sync.cycle
        yield* assertConverged(sync)
        assert.deepStrictEqual(yield* values(sync, side), [])
        const [lost] = yield* journal(sync, opposite(side))
        assert.deepInclude(lost!.lost, { id: "1", a: "morre" })
        assert.isNull(lost!.won)
      }))
  }

  it.scoped("promise 5: without a stamp column the change that was logged later wins", () =>
    Effect.gen(function*() {
      const sync = yield* withRow("create table notas (id integer primary key, a text)")
      for (const order of [["replit", "external"], ["external", "replit"]] as const) {
        for (const side of order) yield* sync[side].query(`update notas set a = '${side}'`)
        yield* sync.cycle
        yield* assertConverged(sync)
        assert.deepStrictEqual(yield* values(sync, "replit"), [order[1]])
      }
    }))

  it.scoped("promise 4: a clock that is wrong decides no change that the other side doesn't contest", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      yield* sync.replit.query("update notas set a = 'futuro', updated_at = 'infinity'")
      yield* sync.cycle
      yield* sync.external.query("update notas set a = 'passado', updated_at = '1970-01-01'")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1 } })
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* values(sync, "replit"), ["passado"])
    }))

  it.scoped("promise 4: equal content on both sides is agreement, whatever was changed to get there", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      for (const side of sides) {
        yield* sync[side].query("update notas set a = 'igual', updated_at = '2024-01-01'")
        yield* sync[side].query("insert into notas values (2, 'x', null)")
        yield* sync[side].query("insert into notas values (3, 'y', null)")
        yield* sync[side].query("delete from notas where id = 3")
      }
      assert.deepStrictEqual(moved(yield* sync.cycle), nothing)
      for (const side of sides) assert.deepStrictEqual(yield* journal(sync, side), [])
      yield* assertConverged(sync)
    }))

  it.scoped("promise 8: a conflict whose source row changes between claim and acknowledgement loses neither change", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      const { external, replit } = sync
      const table = yield* sync.table("notas")
      yield* contest(sync, { replit: "2024-01-02 00:00:00+00", external: "2024-01-01 00:00:00+00" })
      yield* Effect.scoped(Effect.gen(function*() {
        const claim = yield* replit.database.claim(table, { _tag: "Next", phase: "upserts", after: null, rows: 10 })
        yield* replit.query("update notas set a = 'mais novo', updated_at = '2024-01-03'")
        const applied = yield* external.database.apply(table, claim!, {
          judge: resolve(table, "replit"),
          locks: "wait"
        })
        assert.deepInclude(applied, { updated: 1, conflicts: 1 })
        yield* claim!.acknowledge(applied.kept)
      }))
      assert.deepStrictEqual(yield* values(sync, "external"), ["replit"])
      assert.deepStrictEqual(yield* replit.pending("notas"), ["UPDATE 1"])
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1 } })
      yield* assertConverged(sync)
      assert.deepInclude((yield* journal(sync, "external"))[0]!.lost, { a: "external" })
    }))

  it.scoped("promise 5: a target that wins and then is refused loses nothing; its version waits in quarantine", () =>
    Effect.gen(function*() {
      const sync = yield* withRow({
        replit: `${notas}; alter table notas add constraint curto check (length(a) < 10)`,
        external: notas
      })
      yield* sync.replit.query("update notas set a = 'perde', updated_at = '2024-01-01'")
      yield* sync.external.query("update notas set a = 'ganha, mas não cabe', updated_at = '2024-01-02'")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { quarantined: 1 } })
      assert.deepStrictEqual(yield* values(sync, "replit"), ["perde"])
      assert.deepStrictEqual(yield* values(sync, "external"), ["ganha, mas não cabe"])
      yield* sync.external.query("update notas set a = 'cabe', updated_at = '2024-01-02'")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1, conflicts: 1 } })
      yield* assertConverged(sync)
      assert.deepInclude((yield* journal(sync, "replit"))[0]!.lost, { a: "perde" })
    }))

  it.scoped("promise 5: a row deleted and inserted again is one change, and contests an update as what it is now", () =>
    Effect.gen(function*() {
      const sync = yield* withRow()
      yield* sync.replit.query("delete from notas")
      yield* sync.replit.query("insert into notas values (1, 'de novo', '2024-01-01')")
      yield* sync.external.query("update notas set a = 'mais tarde', updated_at = '2024-01-02'")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1, conflicts: 1 } })
      yield* assertConverged(sync)
      assert.deepInclude((yield* journal(sync, "replit"))[0]!.lost, { a: "de novo" })
    }))
})
