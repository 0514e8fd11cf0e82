import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger, TestClock } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { type SyncError, Unavailable } from "../../src/domain/SyncError.ts"
import { isRenewalDone, timeTravel, type Tokens } from "../../src/domain/Tokens.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { timeTravelText } from "../../src/programs/timeTravel.ts"
import * as FaultyDatabase from "../support/FaultyDatabase.ts"
import { makePair, type MemoryPair, perfis, profile } from "../support/MemoryPair.ts"

/** Two rows wait on Replit, batches are of one, and a process does what `hinder` says after its first cycle. */
const hindered = Effect.fnUntraced(function*(
  hinder: (call: string, count: number, pair: MemoryPair) => Effect.Effect<void, SyncError>
) {
  const pair = yield* makePair()
  const counts = new Map<string, number>()
  let isHindered = false
  const before = ({ side, verb }: FaultyDatabase.Call) =>
    Effect.suspend((): Effect.Effect<void, SyncError> => {
      if (!isHindered) return Effect.void
      const call = `${side} ${verb}`
      counts.set(call, (counts.get(call) ?? 0) + 1)
      return hinder(call, counts.get(call)!, pair)
    })
  const faulty = (side: Side) => FaultyDatabase.make(pair.servers[side].connect(), { before, after: () => Effect.void })
  const services = pair.layer({ batchRowsMax: 1 }, { replit: faulty("replit"), external: faulty("external") })
  const one = yield* makeCycle
  const cycle = Effect.gen(function*() {
    const fiber = yield* Effect.fork(
      one({ retryFor: 0, lease: "wait", notBefore: 0 }).pipe(Effect.provide(services), Effect.exit)
    )
    yield* TestClock.adjust("1 minute")
    return yield* Effect.flatten(Fiber.join(fiber))
  }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
  yield* cycle
  for (const id of ["a", "b"]) yield* pair.servers.replit.app.insert(perfis, profile(id, id))
  isHindered = true
  const tokens = Effect.map(
    Effect.forEach(sides, (side) => pair.servers[side].database.ask({ tables: [] })),
    ([replit, external]): Readonly<Record<Side, Tokens>> => ({ replit: replit!.tokens, external: external!.tokens })
  )
  return { pair, cycle, tokens, counts }
})

const away = new Unavailable({ side: "external", message: "away", sqlState: null, slow: false })
const failing = (which: string, from: number) => (call: string, count: number): Effect.Effect<void, SyncError> =>
  call === which && count >= from ? away : Effect.void

describe("a cycle that fails", () => {
  it.effect("renews the tokens of both sides if it applied something, so that a restore to its middle is told", () =>
    Effect.gen(function*() {
      const { cycle, pair, tokens } = yield* hindered(failing("external apply", 2))
      const before = yield* tokens
      assert.strictEqual((yield* Effect.flip(cycle))._tag, "Unavailable")
      assert.lengthOf(yield* pair.servers.external.app.rows(perfis), 1)
      const after = yield* tokens
      assert.isNull(timeTravel(after))
      assert.isTrue(isRenewalDone(after))
      for (const side of sides) assert.strictEqual(timeTravel({ ...after, [side]: before[side] })?.side, side)
    }))

  it.effect("leaves them alone if it applied nothing, but for one that it announced, however often that is", () =>
    Effect.gen(function*() {
      const { counts, cycle, tokens } = yield* hindered(failing("external apply", 1))
      const before = yield* tokens
      for (let n = 1; n <= 3; n++) {
        yield* Effect.flip(cycle)
        const after = yield* tokens
        for (const side of sides) {
          assert.deepStrictEqual([after[side].own, after[side].peer], [before[side].own, before[side].peer])
          assert.lengthOf(after[side].next, 1)
        }
        assert.strictEqual(counts.get("replit lease"), n)
      }
    }))

  it.effect("leaves them alone if they don't match: somebody must see that first", () =>
    Effect.gen(function*() {
      const { cycle, tokens } = yield* hindered((call, count, pair) =>
        call === "external apply" && count === 2
          ? Effect.zipRight(
            pair.servers.replit.database.finish(null, { own: "eeeeeeee-0000-4000-8000-000000000000" }),
            away
          )
          : Effect.void
      )
      yield* Effect.flip(cycle)
      assert.isNotNull(timeTravel(yield* tokens))
      assert.match((yield* Effect.flip(cycle)).message, /was restored to/)
    }))

  it.effect("and can't reach the other side leaves the renewal to the next one, even if that has nothing to move", () =>
    Effect.gen(function*() {
      // The last of the second cycle's questions to external has it forget Replit's old token.
      let isAway = true
      const { cycle, tokens } = yield* hindered((call, count) =>
        isAway && call === "external ask" && count > 2 ? away : Effect.void
      )
      const before = yield* tokens
      assert.strictEqual((yield* Effect.flip(cycle))._tag, "Unavailable")
      assert.isFalse(isRenewalDone(yield* tokens))
      isAway = false
      assert.strictEqual((yield* cycle).outcome, "idle")
      const after = yield* tokens
      assert.isTrue(isRenewalDone(after))
      assert.strictEqual(timeTravel({ ...after, external: before.external })?.side, "external")
    }))
})

describe("what is said of a database that went back in time", () => {
  const now = Date.parse("2026-03-02T16:00:00Z")
  const at = (text: string) => Date.parse(text)

  it("names the moment by its time, and the date if it isn't today's", () => {
    const today = { remembersUntilMs: at("2026-03-02T14:05:59Z"), otherRemembersUntilMs: at("2026-03-02T15:10:00Z") }
    assert.match(
      timeTravelText({ side: "replit", ...today }, now),
      /^Replit was restored to about 14:05 UTC, or .*, the last time at 15:10 UTC\. Nothing was applied\. If DATABASE_URL /
    )
    const before = { ...today, remembersUntilMs: at("2026-02-27T23:59:00Z") }
    assert.match(
      timeTravelText({ side: "external", ...before }, now),
      /^external was restored to about 2026-02-27 23:59 UTC, or .* 15:10 UTC\. Nothing was applied\. If EXTERNAL_DB_URL /
    )
  })

  it("says so when it remembers no cycle", () => {
    const never = { side: "replit", remembersUntilMs: null, otherRemembersUntilMs: at("2026-03-02T15:10:00Z") } as const
    assert.match(timeTravelText(never, now), /^Replit was restored to before its first cycle with external,/)
  })
})
