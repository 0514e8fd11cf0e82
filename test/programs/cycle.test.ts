import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger, TestClock } from "effect"
import { sides } from "../../src/domain/Side.ts"
import type { SyncError } from "../../src/domain/SyncError.ts"
import { Unavailable } from "../../src/domain/SyncError.ts"
import type { CycleOptions } from "../../src/programs/cycle.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import type { Database } from "../../src/services/Database.ts"
import type { MemoryTable } from "../../src/services/memory/MemoryTable.ts"
import * as FaultyDatabase from "../support/FaultyDatabase.ts"
import type { MemoryPair } from "../support/MemoryPair.ts"
import { makePair, perfis, perfisTable, profile } from "../support/MemoryPair.ts"

const once: CycleOptions = { retryFor: "10 seconds", lease: "wait", notBefore: 0 }

const itens = { schema: "public", name: "itens" }
const itensTable: MemoryTable = {
  name: itens,
  columns: [{ name: "id", type: "integer" }, { name: "perfil_id", type: "text" }],
  key: ["id"],
  references: [{ name: "itens_perfil", columns: ["perfil_id"], table: perfis }]
}
const both = { replit: [itensTable, perfisTable], external: [itensTable, perfisTable] }
const bothTables = { tables: [itens, perfis] }

/** Runs with a clock that goes on, so that retries and pauses pass. */
const running = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(program)
    yield* TestClock.adjust("5 minutes")
    return yield* Fiber.join(fiber)
  }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))

/** A process, as a function that runs a cycle. */
const start = Effect.fnUntraced(function*(pair: MemoryPair, ...layer: Parameters<MemoryPair["layer"]>) {
  const cycle = yield* makeCycle
  const services = pair.layer(...layer)
  return (options: Partial<CycleOptions> = {}) => running(cycle({ ...once, ...options }).pipe(Effect.provide(services)))
})

/** Both databases with every call noted, and the first calls of some verbs failing. */
const watched = (
  pair: MemoryPair,
  fail: (call: string, when: "before" | "after") => SyncError | null = () => null
) => {
  const calls: Array<string> = []
  const hook = (when: "before" | "after") => ({ side, verb }: FaultyDatabase.Call) =>
    Effect.suspend((): Effect.Effect<void, SyncError> => {
      if (when === "before") calls.push(`${side} ${verb}`)
      return fail(`${side} ${verb}`, when) ?? Effect.void
    })
  const faults = { before: hook("before"), after: hook("after") }
  const wrap = (side: "replit" | "external") => FaultyDatabase.make(pair.servers[side].connect(), faults)
  return { calls, databases: { replit: wrap("replit"), external: wrap("external") } }
}

const rows = ({ servers }: MemoryPair, table = perfis) =>
  Effect.map(
    Effect.all([servers.replit.app.rows(table), servers.external.app.rows(table)]),
    ([replit, external]) => ({ replit, external })
  )

const nothing = { inserted: 0, updated: 0, deleted: 0, conflicts: 0, quarantined: 0 }
const away = new Unavailable({ side: "external", message: "away", sqlState: null, slow: false })

describe("cycle", () => {
  it.effect("ends a cycle that hangs after SYNC_CYCLE_MAX, says so, and the next one goes on", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      yield* pair.servers.replit.app.insert(perfis, profile("a", "a"))
      const real = pair.servers.external.connect()
      let hangs = true
      const external: Database = { ...real, purge: (...args) => hangs ? Effect.never : real.purge(...args) }
      const cycle = yield* makeCycle
      const services = pair.layer({ cycleMax: "3 minutes" }, { replit: pair.servers.replit.connect(), external })
      const next = running(cycle(once).pipe(Effect.provide(services)))
      const error = yield* Effect.flip(next)
      assert.match(error.message, /^The cycle took longer than 3 min \(SYNC_CYCLE_MAX\) and was ended/)
      hangs = false
      yield* pair.servers.replit.app.insert(perfis, profile("b", "b"))
      assert.deepInclude((yield* next).push, { inserted: 1 })
    }))

  it.effect("makes two filled databases equal at first contact, and keeps what lost", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { external, replit } = pair.servers
      yield* replit.app.insert(perfis, profile("both", "equal"))
      yield* external.app.insert(perfis, profile("both", "equal"))
      yield* replit.app.insert(perfis, { ...profile("differs", "older"), updated_at: "2024-01-01 00:00:00+00" })
      yield* external.app.insert(perfis, {
        ...profile("differs", "newer"),
        updated_at: "2024-01-01 00:00:00.000001+00"
      })
      yield* replit.app.insert(perfis, profile("here", "here"))
      yield* external.app.insert(perfis, profile("there", "there"))
      const cycle = yield* start(pair)
      const report = yield* cycle()
      assert.strictEqual(report.outcome, "moved")
      assert.deepInclude(report.push, { ...nothing, inserted: 1 })
      assert.deepInclude(report.pull, { ...nothing, inserted: 1, updated: 1, conflicts: 1 })
      assert.lengthOf(report.setUp, 1)
      const there = yield* rows(pair)
      assert.deepStrictEqual(there.replit, there.external)
      assert.deepStrictEqual(there.replit.map(({ nome }) => nome), ["equal", "newer", "here", "there"])
      const conflicts = yield* replit.database.conflicts({ limit: 9 })
      assert.deepStrictEqual(conflicts.map(({ lost }) => lost?.["nome"]), ["older"])
      assert.strictEqual((yield* cycle()).outcome, "idle")
    }))

  it.effect("asks each side one question when there is nothing to do, and notes that it did", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { calls, databases } = watched(pair)
      const cycle = yield* start(pair, {}, databases)
      yield* cycle()
      const before = (yield* pair.servers.replit.database.status([])).lastCycleAt
      calls.length = 0
      assert.strictEqual((yield* cycle()).outcome, "idle")
      assert.deepStrictEqual(calls, ["external ask", "replit ask"])
      assert.notStrictEqual((yield* pair.servers.replit.database.status([])).lastCycleAt, before)
    }))

  it.effect("moves changes of both sides, parents first and children's deletes first", () =>
    Effect.gen(function*() {
      const pair = yield* makePair(both)
      const { external, replit } = pair.servers
      const cycle = yield* start(pair, bothTables)
      yield* replit.app.insert(perfis, profile("a", "A"))
      yield* replit.app.insert(itens, { id: "1", perfil_id: "a" })
      yield* external.app.insert(perfis, profile("b", "B"))
      yield* external.app.insert(itens, { id: "2", perfil_id: "b" })
      assert.deepInclude(yield* cycle(), { outcome: "moved", quarantined: 0 })
      yield* replit.app.remove(itens, ["2"])
      yield* replit.app.remove(perfis, ["b"])
      yield* external.app.changeKey(itens, ["1"], ["7"])
      const report = yield* cycle()
      assert.deepInclude(report.push, { ...nothing, deleted: 2 })
      assert.deepInclude(report.pull, { ...nothing, updated: 1 })
      for (const table of [perfis, itens]) {
        const there = yield* rows(pair, table)
        assert.deepStrictEqual(there.replit, there.external)
      }
      assert.strictEqual((yield* cycle()).outcome, "idle")
    }))

  it.effect("gives refused rows a second chance when the rest is through", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { replit } = pair.servers
      const cycle = yield* start(pair)
      yield* replit.app.insert(perfis, { id: "z", email: "same" })
      yield* cycle()
      yield* replit.app.update(perfis, ["z"], { email: null })
      yield* replit.app.insert(perfis, { id: "a", email: "same" })
      const report = yield* cycle()
      assert.deepInclude(report, { outcome: "moved", quarantined: 0 })
      assert.deepInclude(report.push, { ...nothing, inserted: 1, updated: 1 })
    }))

  it.effect("quarantines what stays refused, and tries it again when what is in its way has changed", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { external, replit } = pair.servers
      const cycle = yield* start(pair)
      yield* cycle()
      yield* replit.app.insert(perfis, { id: "a", email: "same" })
      yield* replit.app.insert(perfis, { id: "c", email: "other" })
      yield* external.app.insert(perfis, { id: "b", email: "same" })
      const report = yield* cycle()
      assert.deepInclude(report.push, { ...nothing, inserted: 1, quarantined: 1 })
      assert.deepInclude(report.pull, { ...nothing, quarantined: 1 })
      assert.strictEqual(report.quarantined, 2)
      const [refused] = yield* replit.database.quarantined(null)
      assert.deepInclude(refused, { key: ["a"], sqlState: "23505", constraint: "perfis_email", blockedBy: ["b"] })
      yield* external.app.update(perfis, ["b"], { email: "free" })
      assert.deepInclude(yield* cycle(), { outcome: "moved", quarantined: 0 })
      const there = yield* rows(pair)
      assert.deepStrictEqual(there.replit, there.external)
      assert.lengthOf(there.replit, 3)
    }))

  it.effect("pauses a table that no longer fits, says why, and goes on with the others", () =>
    Effect.gen(function*() {
      const pair = yield* makePair(both)
      const { external, replit } = pair.servers
      const cycle = yield* start(pair, bothTables)
      yield* cycle()
      const required = { name: "cpf", type: "text", notNull: true }
      yield* replit.alter(itens, (table) => ({ ...table, columns: [...table.columns, required] }))
      yield* replit.app.insert(perfis, profile("a", "A"))
      const report = yield* cycle()
      assert.deepInclude(report.push, { ...nothing, inserted: 1 })
      assert.deepStrictEqual(report.paused.map(({ table }) => table), ["itens"])
      assert.include(report.paused[0]!.problem, "cpf")
      yield* external.alter(itens, (table) => ({ ...table, columns: [...table.columns, required] }))
      assert.deepStrictEqual((yield* cycle()).paused, [])
    }))

  it.effect("reconciles a table that has a new column in common: the side that had it wins", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { external, replit } = pair.servers
      const pais = { name: "pais", type: "text" }
      yield* external.alter(perfis, (table) => ({ ...table, columns: [...table.columns, { ...pais, default: "BR" }] }))
      const cycle = yield* start(pair)
      yield* external.app.insert(perfis, { ...profile("a", "A"), pais: "PT" })
      yield* replit.app.insert(perfis, profile("b", "B"))
      const first = yield* cycle()
      assert.lengthOf(first.warnings, 1)
      yield* replit.alter(perfis, (table) => ({ ...table, columns: [...table.columns, { ...pais, default: "??" }] }))
      assert.lengthOf((yield* cycle()).setUp, 1)
      const there = yield* rows(pair)
      assert.deepStrictEqual(there.replit, there.external)
      assert.deepStrictEqual(there.replit.map((row) => row["pais"]), ["PT", "BR"])
    }))

  it.effect("tries again what may pass by itself", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { replit } = pair.servers
      let applies = 0
      const flaky = watched(pair, (call, when) =>
        call === "external apply" && when === "after" && applies++ === 1 ? away : null)
      const cycle = yield* start(pair, { batchRowsMax: 1 }, flaky.databases)
      yield* cycle()
      for (const id of ["a", "b", "c"]) {
        yield* replit.app.insert(perfis, profile(id, id))
      }
      const report = yield* cycle()
      assert.strictEqual(report.outcome, "moved")
      assert.deepInclude(report.push, { updated: 0, conflicts: 0 })
      const there = yield* rows(pair)
      assert.deepStrictEqual(there.external, there.replit)
      assert.strictEqual((yield* replit.database.status([])).lastRun?.outcome, "ok")
    }))

  it.effect("gives up in the end with the last error, and notes the failure", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      let isAway = false
      const broken = watched(pair, (call) => isAway && call === "external applyFew" ? away : null)
      const cycle = yield* start(pair, {}, broken.databases)
      yield* cycle()
      isAway = true
      yield* pair.servers.replit.app.insert(perfis, profile("a", "A"))
      const error = yield* Effect.flip(cycle())
      assert.strictEqual(error._tag, "Unavailable")
      const { lastRun } = yield* pair.servers.replit.database.status([])
      assert.deepInclude(lastRun, { outcome: "failed", error: "away" })
      isAway = false
      assert.deepInclude((yield* cycle()).push, { ...nothing, inserted: 1 })
    }))

  it.effect("leaves a cycle to the copy that has the lease, or waits for it in vain", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const cycle = yield* start(pair)
      yield* cycle()
      yield* pair.servers.replit.app.insert(perfis, profile("a", "A"))
      yield* Effect.scoped(Effect.gen(function*() {
        assert.isNotNull(yield* pair.servers.replit.connect().lease)
        assert.strictEqual((yield* cycle({ lease: "skip" })).outcome, "standby")
        assert.strictEqual((yield* Effect.flip(cycle({ lease: "wait" })))._tag, "LeaseTaken")
      }))
      assert.strictEqual((yield* cycle({ lease: "skip" })).outcome, "moved")
    }))

  it.effect("is not due when another copy has just finished one", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const [one, other] = [yield* start(pair), yield* start(pair)]
      yield* one()
      yield* pair.servers.replit.app.insert(perfis, profile("a", "A"))
      assert.strictEqual((yield* other({ notBefore: "1 hour" })).outcome, "not-due")
      assert.strictEqual((yield* one({ notBefore: "1 hour" })).outcome, "moved")
      yield* TestClock.adjust("1 hour")
      assert.notStrictEqual((yield* other({ notBefore: "1 hour" })).outcome, "not-due")
    }))

  it.effect("does not take a pairing by another copy, between its two questions, for somebody else's pair", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const other = yield* makeCycle
      let isFirst = true
      const replit = FaultyDatabase.make(pair.servers.replit.connect(), {
        before: ({ verb }) => {
          if (verb !== "ask" || !isFirst) return Effect.void
          isFirst = false
          return Effect.asVoid(other(once).pipe(Effect.provide(pair.layer())))
        },
        after: () => Effect.void
      })
      const cycle = yield* start(pair, {}, { replit })
      assert.include(["idle", "moved"], (yield* cycle()).outcome)
    }))

  it.effect("refuses a partner of another pair, swapped URLs, and one database behind both", () =>
    Effect.gen(function*() {
      const [pair, stranger] = [yield* makePair(), yield* makePair()]
      for (const each of [pair, stranger]) yield* (yield* start(each))()
      const { external, replit } = pair.servers
      const refused = (databases: Parameters<MemoryPair["layer"]>[1]) =>
        Effect.flatMap(start(pair, {}, databases), (cycle) => Effect.flip(cycle()))
      const wrong = yield* refused({ external: stranger.servers.external.connect() })
      assert.strictEqual(wrong._tag, "ActionNeeded")
      assert.match(wrong.message, /paired with another/)
      const swapped = yield* refused({ replit: external.connect(), external: replit.connect() })
      assert.match(swapped.message, /swapped/)
      const same = yield* refused({ external: replit.connect() })
      assert.match(same.message, /same database/)
    }))

  it.effect("sets nothing up when it is told not to", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const cycle = yield* start(pair, { autoSetup: false })
      assert.strictEqual((yield* Effect.flip(cycle()))._tag, "ActionNeeded")
      for (const side of sides) assert.isFalse((yield* pair.servers[side].database.ask({ tables: [] })).installed)
    }))

  it.effect("captures again what lost its capture, and finds what changed meanwhile", () =>
    Effect.gen(function*() {
      const pair = yield* makePair()
      const { external, replit } = pair.servers
      const cycle = yield* start(pair)
      yield* replit.app.insert(perfis, profile("a", "A"))
      yield* cycle()
      yield* external.database.uncapture(perfis)
      yield* external.app.insert(perfis, profile("b", "unseen"))
      const report = yield* cycle()
      assert.lengthOf(report.setUp, 1)
      assert.deepInclude(report.pull, { ...nothing, inserted: 1 })
      assert.strictEqual((yield* cycle()).outcome, "idle")
    }))
})
