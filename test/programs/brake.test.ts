import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger, TestClock } from "effect"
import type { Limits } from "../../src/domain/brake.ts"
import { sides } from "../../src/domain/Side.ts"
import type { SyncError } from "../../src/domain/SyncError.ts"
import { SchemaDrifted } from "../../src/domain/SyncError.ts"
import type { TableName } from "../../src/domain/TableName.ts"
import { warningsOf } from "../../src/programs/announce.ts"
import { approve } from "../../src/programs/approve.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { reject } from "../../src/programs/reject.ts"
import { status } from "../../src/programs/status.ts"
import type { MemoryTable } from "../../src/services/memory/MemoryTable.ts"
import * as FaultyDatabase from "../support/FaultyDatabase.ts"
import type { MemoryPair } from "../support/MemoryPair.ts"
import { makePair, perfis, perfisTable, profile } from "../support/MemoryPair.ts"

const limits: Limits = { rows: 5, percent: 20 }

const itens: TableName = { schema: "public", name: "itens" }
const itensTable: MemoryTable = {
  name: itens,
  columns: [{ name: "id", type: "text" }, { name: "perfil_id", type: "text" }],
  key: ["id"],
  references: [{ name: "itens_perfil", columns: ["perfil_id"], table: perfis, onDelete: "cascade" }]
}

/** Runs with a clock that goes on, so that pauses pass. */
const running = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(program)
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.join(fiber)
  }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))

/** Twenty rows on both sides, and a process that keeps them equal. */
const start = Effect.fnUntraced(function*(
  { brake = limits, fail = () => null, rows = 20, tables = [perfisTable] }: {
    readonly fail?: (call: FaultyDatabase.Call) => SyncError | null
    readonly brake?: Limits | null
    readonly rows?: number
    readonly tables?: ReadonlyArray<MemoryTable>
  } = {}
) {
  const pair = yield* makePair({ replit: tables, external: tables })
  const cycle = yield* makeCycle
  const calls: Array<string> = []
  const before = (call: FaultyDatabase.Call) =>
    Effect.suspend((): Effect.Effect<void, SyncError> => {
      calls.push(`${call.side} ${call.verb}`)
      return fail(call) ?? Effect.void
    })
  const watched = (side: "replit" | "external") =>
    FaultyDatabase.make(pair.servers[side].connect(), { before, after: () => Effect.void })
  const layer = pair.layer({ brake, tables: tables.map(({ name }) => name) }, {
    replit: watched("replit"),
    external: watched("external")
  })
  const run = <A, E>(program: Effect.Effect<A, E, never>) => running(program)
  const once = run(cycle({ retryFor: "1 seconds", lease: "wait", notBefore: 0 }).pipe(Effect.provide(layer)))
  const { app } = pair.servers.replit
  yield* once
  for (let n = 1; n <= rows; n++) yield* app.insert(perfis, profile(id(n), `nome ${n}`))
  yield* once
  calls.length = 0
  return {
    pair,
    calls,
    once,
    replit: app,
    external: pair.servers.external.app,
    approve: run(approve(perfis).pipe(Effect.provide(layer))),
    reject: run(reject(perfis).pipe(Effect.provide(layer))),
    status: run(status.pipe(Effect.provide(layer)))
  }
})

const id = (n: number) => `p${String(n).padStart(3, "0")}`

const count = ({ servers }: MemoryPair, table = perfis) =>
  Effect.all(sides.map((side) => Effect.map(servers[side].app.rows(table), (rows) => rows.length)))

const heldOnly = [{ table: "perfis", held: true as const }]

describe("the brake", () => {
  it.effect("a cycle that would delete more than both limits holds the table, in both directions", () =>
    Effect.gen(function*() {
      const { external, once, pair, replit } = yield* start()
      yield* replit.truncate(perfis)
      yield* external.update(perfis, [id(1)], { nome: "de fora" })
      yield* replit.insert(perfis, profile("novo", "Novo"))
      const report = yield* once
      assert.deepStrictEqual(report.paused.map(({ held, table }) => ({ table, held })), heldOnly)
      assert.include(
        report.paused[0]?.problem,
        "20 of 20 rows of external would be deleted or overwritten in conflict (19 and 1)"
      )
      assert.include(report.paused[0]?.problem, "`approve perfis`")
      assert.include(report.paused[0]?.problem, "`reject perfis`")
      assert.deepStrictEqual(yield* count(pair), [1, 20])
      assert.deepInclude(report, { outcome: "idle" })
    }))

  it.effect("either limit alone holds nothing: a small table's ordinary work goes on", () =>
    Effect.gen(function*() {
      const small = yield* start({ rows: 5 })
      yield* small.replit.truncate(perfis)
      assert.deepStrictEqual((yield* small.once).paused, [])
      assert.deepStrictEqual(yield* count(small.pair), [0, 0])
      const large = yield* start({ rows: 100 })
      for (let n = 1; n <= 20; n++) yield* large.replit.remove(perfis, [id(n)])
      assert.deepStrictEqual((yield* large.once).paused, [])
      assert.deepStrictEqual(yield* count(large.pair), [80, 80])
    }))

  it.effect("bulk updates, inserts and changed keys that nobody contests are never held", () =>
    Effect.gen(function*() {
      const { once, pair, replit } = yield* start()
      for (let n = 1; n <= 20; n++) yield* replit.update(perfis, [id(n)], { nome: "outro" })
      for (let n = 101; n <= 120; n++) yield* replit.insert(perfis, profile(id(n), "novo"))
      assert.deepStrictEqual((yield* once).paused, [])
      for (let n = 1; n <= 20; n++) yield* replit.changeKey(perfis, [id(n)], [`q${n}`])
      assert.deepStrictEqual((yield* once).paused, [])
      assert.deepStrictEqual(yield* count(pair), [40, 40])
      assert.deepStrictEqual((yield* once).outcome, "idle")
    }))

  it.effect("rows that are deleted before the other side ever had them are not counted", () =>
    Effect.gen(function*() {
      const { once, pair, replit } = yield* start()
      for (let n = 101; n <= 120; n++) yield* replit.insert(perfis, profile(id(n), "novo"))
      for (let n = 101; n <= 120; n++) yield* replit.remove(perfis, [id(n)])
      assert.deepStrictEqual((yield* once).paused, [])
      assert.deepStrictEqual(yield* count(pair), [20, 20])
    }))

  it.effect("overwriting more in conflict than both limits is held, and goes on when it is approved", () =>
    Effect.gen(function*() {
      const { approve, external, once, pair, replit } = yield* start()
      for (let n = 1; n <= 10; n++) yield* external.update(perfis, [id(n)], { nome: "de fora" })
      yield* TestClock.adjust("1 second")
      for (let n = 1; n <= 10; n++) yield* replit.update(perfis, [id(n)], { nome: "de dentro" })
      const report = yield* once
      assert.include(report.paused[0]?.problem, "10 of 20 rows of external would be overwritten in conflict")
      assert.strictEqual((yield* external.rows(perfis))[0]?.["nome"], "de fora")
      yield* approve
      assert.deepStrictEqual((yield* once).push.conflicts, 10)
      assert.deepStrictEqual(yield* pair.servers.external.app.rows(perfis), yield* replit.rows(perfis))
    }))

  it.effect("changed keys of rows that the other side changed are held; approve takes them over, reject takes them back", () =>
    Effect.gen(function*() {
      for (const brake of [{ rows: 0, percent: 0 }, limits]) {
        for (const said of ["approve", "reject"] as const) {
          const { external, once, replit, ...saying } = yield* start({ brake, rows: 20 })
          yield* replit.insert(perfis, profile("outra", "Outra"))
          const first = yield* once
          assert.deepStrictEqual(first.paused, [])
          for (let n = 1; n <= 10; n++) yield* replit.update(perfis, [id(n)], { nome: "de dentro" })
          yield* TestClock.adjust("1 second")
          for (let n = 1; n <= 10; n++) yield* external.changeKey(perfis, [id(n)], [`q${n}`])
          const report = yield* once
          assert.include(report.paused[0]?.problem, "10 of 21 rows of Replit would be overwritten in conflict")
          assert.strictEqual(report.pull.quarantined, 0)
          if (said === "approve") yield* saying.approve
          else assert.deepStrictEqual(yield* saying.reject, { deletes: 0, overwrites: 10 })
          const then = yield* once
          if (said === "reject") assert.deepInclude(then.push, { updated: 10, inserted: 0, deleted: 0 })
          assert.deepStrictEqual(then.paused, [])
          assert.strictEqual(then.pull.quarantined + then.push.quarantined, 0)
          const rows = yield* replit.rows(perfis)
          assert.deepStrictEqual(yield* external.rows(perfis), rows)
          assert.lengthOf(rows, 21)
          assert.lengthOf(rows.filter(({ nome }) => nome === "de dentro"), said === "approve" ? 0 : 10)
          assert.lengthOf(rows.filter(({ id }) => id?.startsWith("q")), said === "approve" ? 10 : 0)
          assert.strictEqual((yield* once).outcome, "idle")
        }
      }
    }))

  it.effect("approve lets what was held through, and not what was deleted later", () =>
    Effect.gen(function*() {
      const { approve, once, pair, replit } = yield* start({ rows: 40 })
      for (let n = 1; n <= 10; n++) yield* replit.remove(perfis, [id(n)])
      yield* once
      for (let n = 11; n <= 20; n++) yield* replit.remove(perfis, [id(n)])
      assert.include((yield* once).paused[0]?.problem, "10 of 40 rows")
      yield* approve
      const report = yield* once
      assert.deepStrictEqual(report.paused.map(({ held, table }) => ({ table, held })), heldOnly)
      assert.include(report.paused[0]?.problem, "10 of 40 rows")
      assert.deepStrictEqual(yield* count(pair), [20, 30])
      assert.strictEqual(report.push.deleted, 10)
      yield* approve
      yield* once
      assert.deepStrictEqual(yield* count(pair), [20, 20])
      assert.strictEqual((yield* once).outcome, "idle")
    }))

  it.effect("reject brings deleted rows back, and leaves alone what was deleted later", () =>
    Effect.gen(function*() {
      const { once, pair, reject, replit } = yield* start({ rows: 40 })
      for (let n = 1; n <= 10; n++) yield* replit.remove(perfis, [id(n)])
      yield* replit.changeKey(perfis, [id(40)], ["outra"])
      yield* once
      yield* replit.remove(perfis, [id(11)])
      assert.deepStrictEqual(yield* reject, { deletes: 10, overwrites: 0 })
      const report = yield* once
      assert.deepStrictEqual(report.paused, [])
      assert.strictEqual(report.pull.inserted, 10)
      assert.deepStrictEqual(yield* count(pair), [39, 39])
      assert.strictEqual((yield* once).outcome, "idle")
    }))

  it.effect("reject keeps versions that would have overwritten the other side's in the journal, whole", () =>
    Effect.gen(function*() {
      const { external, once, pair, reject, replit } = yield* start()
      for (let n = 1; n <= 10; n++) yield* external.update(perfis, [id(n)], { nome: "de fora" })
      yield* TestClock.adjust("1 second")
      for (let n = 1; n <= 9; n++) yield* replit.update(perfis, [id(n)], { nome: "de dentro" })
      yield* replit.remove(perfis, [id(10)])
      yield* once
      assert.deepStrictEqual(yield* reject, { deletes: 0, overwrites: 10 })
      assert.deepStrictEqual((yield* once).paused, [])
      const rows = yield* replit.rows(perfis)
      assert.deepStrictEqual(rows.slice(0, 10).map(({ nome }) => nome), Array.from({ length: 10 }, () => "de fora"))
      assert.deepStrictEqual(yield* external.rows(perfis), rows)
      const lost = yield* pair.servers.replit.connect().conflicts({ limit: 20 })
      assert.deepStrictEqual([...new Set(lost.map(({ reason }) => reason))], ["rejected"])
      assert.deepStrictEqual(
        lost.map(({ lost }) => lost?.["nome"] ?? null).sort(),
        [
          ...Array.from({ length: 9 }, () => "de dentro"),
          null
        ].sort()
      )
    }))

  it.effect("other tables go on, but deletes that a foreign key would take into a held table wait with it", () =>
    Effect.gen(function*() {
      const { approve: _, once, pair, replit } = yield* start({ tables: [itensTable, perfisTable] })
      for (let n = 1; n <= 20; n++) yield* replit.insert(itens, { id: `i${n}`, perfil_id: id(1) })
      yield* once
      yield* replit.remove(perfis, [id(1)])
      yield* replit.insert(perfis, profile("novo", "Novo"))
      const report = yield* once
      assert.deepStrictEqual(report.paused.map(({ table }) => table), ["itens"])
      assert.include(report.paused[0]?.problem, "Deletes of perfis wait with it.")
      assert.deepStrictEqual(yield* count(pair, itens), [0, 20])
      assert.deepStrictEqual(yield* count(pair), [20, 21])
    }))

  it.effect("a hold is told in the same words each time, and in status", () =>
    Effect.gen(function*() {
      const { once, replit, status } = yield* start()
      yield* replit.truncate(perfis)
      const first = yield* once
      yield* replit.insert(perfis, profile("novo", "Novo"))
      assert.deepStrictEqual(warningsOf(yield* once), warningsOf(first))
      const { held } = yield* status
      assert.deepInclude(held[0], { table: "perfis", replit: { deletes: 20, overwrites: 0, rows: 20 } })
      assert.lengthOf(held, 1)
    }))

  it.effect("approve and reject of a table that isn't held say so", () =>
    Effect.gen(function*() {
      const { approve, reject } = yield* start()
      for (const said of [approve, reject]) {
        const error = yield* Effect.flip(said as Effect.Effect<unknown, { readonly message: string }>)
        assert.include(error.message, "perfis is not held by the brake")
      }
    }))

  it.effect("with off, nothing is held, and what was held goes on", () =>
    Effect.gen(function*() {
      const { once, pair, replit } = yield* start({ brake: null })
      yield* replit.truncate(perfis)
      assert.deepStrictEqual((yield* once).paused, [])
      assert.deepStrictEqual(yield* count(pair), [0, 0])
    }))

  it.effect("a table that changed while it was looked at pauses alone, and a hold of it stays", () =>
    Effect.gen(function*() {
      let isDrifted = false
      const message = "Table perfis on external is not what it was."
      const drifted = new SchemaDrifted({ side: "external", table: perfis, sqlState: "42703", message })
      const { once, pair, replit, status } = yield* start({
        tables: [perfisTable, { ...perfisTable, name: itens, uniques: [] }],
        fail: ({ side, verb }) => isDrifted && side === "external" && verb === "glance" ? drifted : null
      })
      yield* replit.truncate(perfis)
      yield* once
      yield* replit.insert(itens, profile("novo", "Novo"))
      isDrifted = true
      assert.deepStrictEqual((yield* once).paused, [{ table: "perfis", problem: message }])
      assert.deepStrictEqual(yield* count(pair, itens), [1, 1])
      assert.deepStrictEqual(yield* count(pair), [0, 20])
      assert.lengthOf((yield* status).held, 1)
    }))

  it.effect("about few changes nothing more is asked, about many one question more", () =>
    Effect.gen(function*() {
      const { calls, once, replit } = yield* start()
      const asked = () => calls.filter((call) => /glance|weigh|countRows|held/.test(call))
      for (let n = 1; n <= 5; n++) yield* replit.remove(perfis, [id(n)])
      yield* once
      assert.deepStrictEqual(asked(), [])
      for (let n = 6; n <= 20; n++) yield* replit.update(perfis, [id(n)], { nome: "outro" })
      yield* once
      assert.deepStrictEqual(asked().sort(), ["external glance", "replit glance", "replit held"])
    }))
})
