import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Logger, TestClock } from "effect"
import type { TableName } from "../../src/domain/TableName.ts"
import { warningsOf } from "../../src/programs/announce.ts"
import { check, checkExitCode } from "../../src/programs/check.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { once } from "../../src/programs/once.ts"
import { pause, resume } from "../../src/programs/pausing.ts"
import { status } from "../../src/programs/status.ts"
import type { ExternalDb } from "../../src/services/ExternalDb.ts"
import type { MemoryTable, Row } from "../../src/services/memory/MemoryTable.ts"
import type { ReplitDb } from "../../src/services/ReplitDb.ts"
import type { SyncConfig } from "../../src/services/SyncConfig.ts"
import * as FaultyDatabase from "../support/FaultyDatabase.ts"
import { makePair, perfis, perfisTable, profile } from "../support/MemoryPair.ts"
import { outputOf } from "../support/Output.ts"

const itens: TableName = { schema: "public", name: "itens" }
const itensTable: MemoryTable = {
  name: itens,
  columns: [{ name: "id", type: "text" }, { name: "perfil_id", type: "text" }],
  key: ["id"],
  references: [{ name: "itens_perfil", columns: ["perfil_id"], table: perfis, onDelete: "cascade" }]
}
const tables = [perfisTable, itensTable]

/** Runs with a clock that goes on, so that retries pass. */
const running = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(program)
    yield* TestClock.adjust("2 minutes")
    return yield* Fiber.join(fiber)
  }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))

/** One row of each table on both sides, and a process that keeps them equal. */
const start = Effect.fnUntraced(function*(isSetUp = true) {
  const pair = yield* makePair({ replit: tables, external: tables })
  const calls: Array<string> = []
  const watched = (side: "replit" | "external") =>
    FaultyDatabase.make(pair.servers[side].connect(), {
      before: (call) => Effect.sync(() => void calls.push(`${call.side} ${call.verb}`)),
      after: () => Effect.void
    })
  const layer = pair.layer({ tables: tables.map(({ name }) => name) }, {
    replit: watched("replit"),
    external: watched("external")
  })
  const run = <A, E>(program: Effect.Effect<A, E, ReplitDb | ExternalDb | SyncConfig>) =>
    running(Effect.provide(program, layer))
  const cycle = yield* makeCycle
  const one = run(cycle({ retryFor: 0, lease: "wait", notBefore: 0 }))
  const { external: { app: external }, replit: { app: replit } } = pair.servers
  if (isSetUp) {
    yield* one
    yield* replit.insert(perfis, profile("ana", "Ana"))
    yield* replit.insert(itens, { id: "i1", perfil_id: "ana" })
    yield* one
    calls.length = 0
  }
  return { calls, cycle, external, one, replit, run }
})

const names = Effect.map((rows: ReadonlyArray<Row>) => rows.map(({ nome }) => nome))

describe("pause and resume", () => {
  it.effect("a paused table's changes wait on both sides, the others go on, and resume lets them go", () =>
    Effect.gen(function*() {
      const { external, one, replit, run } = yield* start()
      yield* run(pause(perfis))
      yield* replit.update(perfis, ["ana"], { nome: "Ana Maria" })
      yield* external.insert(perfis, profile("bia", "Bia"))
      yield* external.insert(itens, { id: "i2", perfil_id: "ana" })
      const report = yield* one
      assert.deepStrictEqual(yield* names(external.rows(perfis)), ["Ana", "Bia"])
      assert.deepStrictEqual(yield* names(replit.rows(perfis)), ["Ana Maria"])
      assert.lengthOf(yield* replit.rows(itens), 2)
      assert.deepStrictEqual(report.paused.map(({ byHand, table }) => [table, byHand]), [["perfis", "table"]])
      assert.deepStrictEqual(warningsOf(report).map(({ reason }) => reason), [
        "perfis is paused: its changes wait, and nothing of it is synced until you say `resume perfis`."
      ])
      const told = yield* run(status)
      assert.deepStrictEqual(told.pauses.map(({ table }) => table), ["perfis"])
      assert.deepInclude(told.tables[0]?.replit, { pending: 1 })
      assert.deepStrictEqual(yield* run(resume(perfis)), [perfis])
      assert.deepStrictEqual((yield* one).paused, [])
      assert.deepStrictEqual(yield* names(external.rows(perfis)), ["Ana Maria", "Bia"])
      assert.deepStrictEqual(yield* external.rows(perfis), yield* replit.rows(perfis))
    }))

  it.effect("costs no question more while nothing waits, and takes no lease while something does", () =>
    Effect.gen(function*() {
      const { calls, one, replit, run } = yield* start()
      yield* one
      const idle = calls.splice(0)
      yield* run(pause(perfis))
      calls.length = 0
      assert.strictEqual((yield* one).outcome, "idle")
      assert.deepStrictEqual(calls.splice(0), idle)
      yield* replit.update(perfis, ["ana"], { nome: "Ana Maria" })
      assert.strictEqual((yield* one).outcome, "idle")
      // The cycle is noted, which the question does itself when nothing waits.
      assert.deepStrictEqual(calls.splice(0), [...idle, "replit finish"])
    }))

  it.effect("deletes that a foreign key would carry into a paused table wait with it", () =>
    Effect.gen(function*() {
      const { external, one, replit, run } = yield* start()
      yield* run(pause(itens))
      yield* replit.insert(perfis, profile("bia", "Bia"))
      yield* replit.remove(perfis, ["ana"])
      const report = yield* one
      assert.match(report.paused[0]!.problem, /Deletes of perfis wait with it\.$/)
      assert.deepStrictEqual(yield* names(external.rows(perfis)), ["Ana", "Bia"])
      assert.lengthOf(yield* external.rows(itens), 1)
      yield* run(resume(itens))
      yield* one
      assert.deepStrictEqual(yield* names(external.rows(perfis)), ["Bia"])
      assert.deepStrictEqual(yield* external.rows(itens), [])
    }))

  it.effect("all at once are one sentence, and --once and check end with 3", () =>
    Effect.gen(function*() {
      const { cycle, external, one, replit, run } = yield* start()
      yield* run(pause(null))
      yield* run(pause(perfis))
      yield* replit.insert(perfis, profile("bia", "Bia"))
      const report = yield* one
      assert.deepStrictEqual(warningsOf(report).map(({ reason }) => reason), [
        "All tables are paused: their changes wait, and nothing is synced until you say `resume`."
      ])
      const printed = yield* outputOf(run(once(cycle)))
      assert.deepStrictEqual(printed.exit, Exit.succeed(3 as const))
      assert.match(printed.out.at(-1)!, /waiting for you: every table paused$/)
      const checked = yield* run(check)
      assert.include(checked.sides.replit.problems.join("\n"), "All tables are paused")
      assert.strictEqual(checkExitCode(checked), 3)
      assert.lengthOf(yield* external.rows(perfis), 1)
      assert.match((yield* Effect.flip(run(resume(perfis)))).message, /^All tables are paused: `resume` without/)
      assert.deepStrictEqual(yield* run(resume(null)), [null, perfis])
      yield* one
      assert.lengthOf(yield* external.rows(perfis), 2)
    }))

  it.effect("a cycle of one table moves no other, and another copy's cycle is due all the same", () =>
    Effect.gen(function*() {
      const { cycle, external, one, replit, run } = yield* start()
      const before = (yield* run(status)).lastCycleAt
      yield* replit.update(perfis, ["ana"], { nome: "Ana Maria" })
      yield* replit.insert(itens, { id: "i2", perfil_id: "ana" })
      const only = (table: TableName) => run(cycle({ retryFor: 0, lease: "wait", notBefore: 0, only: table }))
      assert.deepStrictEqual((yield* only(itens)).movedTables, ["itens"])
      assert.deepStrictEqual(yield* names(external.rows(perfis)), ["Ana"])
      assert.lengthOf(yield* external.rows(itens), 2)
      const told = yield* run(status)
      assert.strictEqual(told.lastCycleAt, before)
      assert.deepInclude(told.lastRun?.push, { inserted: 1 })
      assert.match((yield* Effect.flip(only({ schema: "public", name: "outra" }))).message, /^outra is none of the/)
      yield* one
      assert.deepStrictEqual(yield* names(external.rows(perfis)), ["Ana Maria"])
    }))

  it.effect("say what is not set up, or not paused", () =>
    Effect.gen(function*() {
      const { one, run } = yield* start(false)
      const said = <A>(program: Effect.Effect<A, { readonly _tag: string; readonly message: string }, never>) =>
        Effect.map(Effect.flip(program), ({ _tag, message }) => [_tag, message])
      const setUp = "so there is nothing to pause. The first run or `setup` does it."
      assert.deepStrictEqual(yield* said(run(pause(perfis))), [
        "ActionNeeded",
        `perfis is not set up on Replit, ${setUp}`
      ])
      assert.deepStrictEqual(yield* said(run(pause(null))), ["ActionNeeded", `Nothing is set up on Replit, ${setUp}`])
      yield* one
      assert.deepStrictEqual(yield* said(run(resume(null))), ["ActionNeeded", "No table is paused."])
      yield* run(pause(itens))
      assert.deepStrictEqual(yield* said(run(resume(perfis))), [
        "ActionNeeded",
        "perfis is not paused. Paused are: itens."
      ])
    }))
})
