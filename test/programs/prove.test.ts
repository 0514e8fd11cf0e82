import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, TestClock } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { sides } from "../../src/domain/Side.ts"
import { Contended } from "../../src/domain/SyncError.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { once } from "../../src/programs/once.ts"
import { makeProver } from "../../src/programs/prove.ts"
import { status } from "../../src/programs/status.ts"
import type { Database } from "../../src/services/Database.ts"
import type { Settings } from "../../src/services/SyncConfig.ts"
import type { MemoryPair } from "../support/MemoryPair.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"
import { outputOf } from "../support/Output.ts"

const numbered = (n: number) => Array.from({ length: n }, (_, i) => `p${String(i).padStart(5, "0")}`)

/** A pair with so many rows on both sides, and the service's cycle with what comes after it. */
const start = Effect.fnUntraced(function*(
  options: {
    readonly rows?: number
    readonly settings?: Partial<Settings>
    readonly external?: (database: Database) => Database
  } = {}
) {
  const pair = yield* makePair()
  for (const id of numbered(options.rows ?? 30)) yield* pair.servers.replit.app.insert(perfis, profile(id, id))
  const external = pair.servers.external.connect()
  const layer = pair.layer(options.settings, { external: options.external?.(external) ?? external })
  const [cycle, prove] = [yield* makeCycle, yield* makeProver]
  const run = cycle({ retryFor: 0, lease: "wait", notBefore: 0 }).pipe(
    Effect.tap((report) => prove(report)),
    Effect.provide(layer)
  )
  const proven = Effect.map(Effect.provide(status, layer), ({ tables }) => tables[0]!.proven)
  return {
    servers: pair.servers,
    layer,
    run,
    proven,
    log: Effect.suspend(() => Effect.map(outputOf(run), ({ log }) => log))
  }
})

/** What is pending on a side counts as synced: as if something had written past the triggers. */
const hide = Effect.fnUntraced(function*({ servers }: Pick<MemoryPair, "servers">, side: Side) {
  const found = yield* servers[side].database.inspect([perfis])
  if (found[0]?._tag !== "Table") return yield* Effect.dieMessage("perfis is no table")
  const { shape } = found[0]
  const synced = {
    name: perfis,
    key: ["id"],
    columns: ["id", "nome", "email", "updated_at"],
    stamp: "updated_at",
    policy: "last-write-wins",
    shapes: { replit: shape, external: shape }
  } as const
  const keys = (yield* servers[side].pending(perfis)).map(({ key }) => key)
  yield* servers[side].database.giveUp(synced, keys, { upTo: 10n ** 18n, journal: false })
})

const anHour = TestClock.adjust("1 hour")

describe("the rolling proof", () => {
  it.effect("proves all rows equal after the first cycle, and asks nothing more for an hour", () =>
    Effect.gen(function*() {
      let asked = 0
      const { proven, run } = yield* start({
        external: (database) => ({
          ...database,
          stretch: (...args) =>
            Effect.suspend(() => Effect.zipLeft(database.stretch(...args), Effect.sync(() => asked++)))
        })
      })
      yield* run
      assert.deepInclude(yield* proven, { rows: 30, of: 30, isWhole: true, sample: [] })
      const first = asked
      assert.isAbove(first, 0)
      yield* TestClock.adjust("59 minutes")
      yield* run
      assert.strictEqual(asked, first)
      yield* TestClock.adjust("1 minute")
      yield* run
      assert.isAbove(asked, first)
    }))

  it.effect("runs with --once as well, and not again when another process had a turn within the hour", () =>
    Effect.gen(function*() {
      const pair = yield* start()
      const runOnce = Effect.gen(function*() {
        return yield* once(yield* makeCycle, yield* makeProver)
      }).pipe(Effect.provide(pair.layer), outputOf)
      yield* runOnce
      const first = yield* pair.proven
      assert.deepInclude(first, { rows: 30, isWhole: true })
      yield* TestClock.adjust("30 minutes")
      yield* runOnce
      assert.deepStrictEqual(yield* pair.proven, first)
      yield* TestClock.adjust("30 minutes")
      yield* runOnce
      assert.notStrictEqual((yield* pair.proven)!.since, first!.since)
    }))

  it.effect("is off without a budget", () =>
    Effect.gen(function*() {
      const { proven, run } = yield* start({ settings: { verifyBudget: null } })
      yield* run
      assert.isNull(yield* proven)
    }))

  it.effect("tells a difference as an error once, and goes on naming it", () =>
    Effect.gen(function*() {
      const pair = yield* start()
      yield* pair.run
      yield* pair.servers.external.app.update(perfis, ["p00007"], { nome: "changed" })
      yield* pair.servers.external.app.remove(perfis, ["p00009"])
      yield* hide(pair, "external")
      yield* anHour
      const told = (yield* pair.log).filter((line) => line.includes("level=ERROR"))
      assert.lengthOf(told, 1)
      assert.match(told[0]!, /Of perfis 2 differ on the two sides although no change is on its way.*`verify --repair`/)
      assert.notMatch(told[0]!, /p00007/)
      const proven = yield* pair.proven
      assert.deepInclude(proven, { rows: 28, of: 30, isWhole: true })
      assert.deepStrictEqual(proven!.sample, [
        { key: ["p00007"], kind: "different", why: "unknown" },
        { key: ["p00009"], kind: "only-on-replit", why: "unknown" }
      ])
      yield* anHour
      assert.notMatch((yield* pair.log).join("\n"), /level=ERROR/)
      assert.deepInclude(yield* pair.proven, { rows: 28, of: 30 })
    }))

  it.effect("has a difference mended by the next cycle where SYNC_VERIFY_REPAIR says so", () =>
    Effect.gen(function*() {
      const pair = yield* start({ settings: { verifyRepair: true } })
      yield* pair.run
      yield* pair.servers.external.app.update(perfis, ["p00007"], { nome: "new", updated_at: "2024-02-01 00:00:00+00" })
      yield* pair.servers.external.app.remove(perfis, ["p00009"])
      yield* hide(pair, "external")
      yield* anHour
      assert.match((yield* pair.log).join("\n"), /level=ERROR.*The next cycle makes them equal/)
      yield* pair.run
      const rows = yield* pair.servers.external.app.rows(perfis)
      assert.deepStrictEqual(rows, yield* pair.servers.replit.app.rows(perfis))
      assert.strictEqual(rows.find(({ id }) => id === "p00007")!.nome, "new")
      assert.lengthOf(rows, 30)
      yield* anHour
      yield* pair.run
      assert.deepInclude(yield* pair.proven, { rows: 30, of: 30, isWhole: true, sample: [] })
    }))

  it.effect("gives what is on its way a cycle's time before the round is over", () =>
    Effect.gen(function*() {
      let write: Effect.Effect<unknown, unknown> = Effect.void
      const pair = yield* start({
        // The app writes between the cycle and the proof.
        external: (database) => ({
          ...database,
          stretch: (...args) => Effect.zipRight(Effect.orDie(write), database.stretch(...args))
        })
      })
      write = pair.servers.external.app.update(perfis, ["p00003"], { nome: "late" })
      yield* pair.run
      assert.deepStrictEqual((yield* pair.proven)!.sample, [{ key: ["p00003"], kind: "different", why: "pending" }])
      assert.isFalse((yield* pair.proven)!.isWhole)
      write = Effect.void
      yield* anHour
      yield* pair.run
      assert.deepInclude(yield* pair.proven, { rows: 30, of: 30, isWhole: true, sample: [] })
    }))

  it.effect("makes a stretch shorter that can't be hashed in time, and goes on", () =>
    Effect.gen(function*() {
      const { proven, run } = yield* start({
        rows: 300,
        external: (database) => ({
          ...database,
          stretch: (table, stretch) =>
            Effect.flatMap(
              database.stretch(table, stretch),
              (digest) =>
                digest.rows <= 100 ? Effect.succeed(digest) : new Contended({
                  side: "external",
                  table: table.name,
                  sqlState: "57014",
                  reason: "statement-timeout",
                  message: "canceling statement due to statement timeout"
                })
            )
        })
      })
      for (let hours = 0; hours < 6; hours++) {
        yield* run
        yield* anHour
      }
      assert.deepInclude(yield* proven, { rows: 300, of: 300, isWhole: true })
    }))

  it.effect.prop(
    "says of any two tables how many rows are equal, and names exactly the others",
    { rows: fc.dictionary(fc.constantFrom(..."abcdefghij"), fc.tuple(fc.nat(2), fc.nat(2)), { maxKeys: 10 }) },
    ({ rows }) =>
      Effect.gen(function*() {
        const pair = yield* start({ rows: 0 })
        yield* pair.run
        for (const [id, values] of Object.entries(rows)) {
          for (const [place, side] of sides.entries()) {
            // 0 is no row.
            if (values[place] !== 0) yield* pair.servers[side].app.insert(perfis, profile(id, `${values[place]}`))
          }
        }
        for (const side of sides) yield* hide(pair, side)
        yield* anHour
        yield* Effect.asVoid(pair.log)
        const there = Object.entries(rows).filter(([, values]) => values.some((value) => value > 0))
        const different = there.filter(([, [ours, theirs]]) => ours !== theirs)
        const proven = (yield* pair.proven)!
        assert.deepInclude(proven, { rows: there.length - different.length, of: there.length, isWhole: true })
        assert.strictEqual(proven.unproven.unknown, different.length)
        const names = new Set(different.map(([id]) => id))
        assert.isTrue(proven.sample.every(({ key }) => names.has(key[0]!)))
      }),
    { fastCheck: { numRuns: 25 } }
  )
})
