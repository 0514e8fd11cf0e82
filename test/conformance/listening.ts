/** Conformance: who listens hears of the app's changes, and of nothing else; and what visits cost is counted. */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import type { Listener } from "../../src/services/Database.ts"
import type { MakePair, Ready } from "./Pair.ts"
import { move, named, setUp } from "./Pair.ts"

const all = ["perfis", "itens", "saltos"].map(named)

/** A pair whose changes are announced on both sides. */
const announced = Effect.fnUntraced(function*(makePair: MakePair) {
  const ready: Ready = yield* setUp(makePair)
  for (const table of [ready.perfis, ready.itens, ready.saltos]) {
    for (const { database } of [ready.replit, ready.external]) {
      yield* database.capture(table, { touch: true, announce: true })
    }
  }
  return ready
})

const hears = (listener: Listener) => Effect.map(Effect.timeoutOption(listener.heard, "5 seconds"), Option.isSome)
/** Long enough for what was announced to arrive; what isn't can only be waited for. */
const hearsNothing = (listener: Listener) =>
  Effect.map(Effect.timeoutOption(listener.heard, "150 millis"), Option.isNone)

export const listening = (makePair: MakePair) => {
  it.scopedLive("a listener that rests hears of each change once it is committed, and of nothing else", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* announced(makePair)
      const listener = yield* replit.database.listen
      assert.deepStrictEqual(yield* listener.look(all), { waiting: [], resting: true })
      yield* external.app.insert(perfis.name, { id: "x" })
      yield* replit.app.update(perfis.name, ["gone"], { nome: "nobody" })
      assert.isTrue(yield* hearsNothing(listener))
      const open = yield* replit.app.begin
      yield* open.insert(perfis.name, { id: "a" })
      assert.isTrue(yield* hearsNothing(listener))
      yield* open.commit
      assert.isTrue(yield* hears(listener))
      const changes = [
        replit.app.update(perfis.name, ["a"], { nome: "A" }),
        replit.app.changeKey(perfis.name, ["a"], ["b"]),
        replit.app.remove(perfis.name, ["b"]),
        Effect.zipRight(replit.app.insert(named("saltos"), { id: "s", n: "1" }), replit.app.truncate(named("saltos")))
      ]
      for (const change of changes) {
        yield* change
        assert.isTrue(yield* hears(listener))
        yield* hearsNothing(listener)
      }
    }))

  it.scopedLive("it says what waits, and does not rest as long as something does, unless it is told to", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* announced(makePair)
      const listener = yield* replit.database.listen
      yield* replit.app.insert(perfis.name, { id: "a" })
      assert.deepStrictEqual(yield* listener.look(all), { waiting: [perfis.name], resting: false })
      // It is awake: nothing need be announced.
      yield* replit.app.insert(perfis.name, { id: "b" })
      assert.isTrue(yield* hearsNothing(listener))
      assert.deepStrictEqual(yield* listener.look(all, { anyway: true }), { waiting: [perfis.name], resting: true })
      yield* replit.app.insert(perfis.name, { id: "c" })
      assert.isTrue(yield* hears(listener))
      yield* move(replit, external, perfis, "upserts")
      assert.deepStrictEqual(yield* listener.look(all), { waiting: [], resting: true })
    }))

  it.scopedLive("keys in quarantine do not keep it from resting", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* announced(makePair)
      const listener = yield* replit.database.listen
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* replit.database.quarantine(perfis, [{
        key: ["a"],
        sqlState: "23505",
        message: "no",
        constraint: null,
        blockedBy: null
      }])
      assert.deepStrictEqual(yield* listener.look(all), { waiting: [], resting: true })
    }))

  it.scopedLive("it can't rest while a transaction is open that wrote when it was awake", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* announced(makePair)
      const listener = yield* replit.database.listen
      const open = yield* replit.app.begin
      yield* open.insert(perfis.name, { id: "a" })
      assert.deepStrictEqual(yield* listener.look(all), { waiting: [], resting: false })
      yield* open.commit
      assert.isTrue(yield* hearsNothing(listener))
      assert.deepStrictEqual(yield* listener.look(all), { waiting: [perfis.name], resting: false })
    }))

  it.scopedLive("what the sync applies is not announced, what a cascade does then is", () =>
    Effect.gen(function*() {
      const { external, itens, perfis, replit } = yield* announced(makePair)
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* move(replit, external, perfis, "upserts")
      yield* external.app.insert(itens.name, { perfil_id: "a", numero: "1" })
      yield* move(external, replit, itens, "upserts")
      const listener = yield* external.database.listen
      assert.isTrue((yield* listener.look(all)).resting)
      yield* replit.app.update(perfis.name, ["a"], { nome: "A" })
      yield* move(replit, external, perfis, "upserts")
      assert.isTrue(yield* hearsNothing(listener))
      yield* replit.app.remove(perfis.name, ["a"])
      yield* move(replit, external, perfis, "deletes")
      assert.isTrue(yield* hears(listener))
      assert.deepStrictEqual(yield* listener.look(all), { waiting: [itens.name], resting: false })
    }))

  it.scopedLive("two listeners both hear, and the second takes over when the first is gone", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* announced(makePair)
      const second = yield* Effect.scoped(Effect.gen(function*() {
        const first = yield* replit.database.listen
        assert.isTrue((yield* first.look(all)).resting)
        return null
      })).pipe(Effect.zipRight(replit.second.listen))
      yield* replit.app.insert(perfis.name, { id: "a" })
      assert.isTrue(yield* hearsNothing(second))
      assert.deepStrictEqual((yield* second.look(all, { anyway: true })).resting, true)
      const other = yield* replit.database.listen
      assert.isTrue((yield* other.look(all)).resting)
      const both = yield* Effect.fork(Effect.all([hears(second), hears(other)], { concurrency: 2 }))
      yield* replit.app.insert(perfis.name, { id: "b" })
      assert.deepStrictEqual(yield* Fiber.join(both), [true, true])
    }))

  it.scopedLive("nothing is announced any more when capture is told so", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* announced(makePair)
      const before = yield* replit.database.capture(perfis, { touch: true, announce: true })
      const after = yield* replit.database.capture(perfis, { touch: true })
      assert.notStrictEqual(after.fingerprint, before.fingerprint)
      assert.deepStrictEqual(yield* replit.database.capture(perfis, { touch: true }), after)
      const listener = yield* replit.database.listen
      assert.isTrue((yield* listener.look(all)).resting)
      yield* replit.app.insert(perfis.name, { id: "a" })
      assert.isTrue(yield* hearsNothing(listener))
    }))

  it.scopedLive("visits and bytes of a month are added up", () =>
    Effect.gen(function*() {
      const { external, replit } = yield* setUp(makePair)
      const spent = {
        replit: { visits: 1, bytesIn: 10, bytesOut: 20 },
        external: { visits: 1, bytesIn: 300, bytesOut: 4_000_000_000 }
      }
      const ask = (more: object) =>
        replit.database.ask({
          tables: [],
          note: { holder: "00000000-0000-4000-8000-000000000003", otherSideIdle: true, notBeforeMs: 0, ...more }
        })
      yield* ask({ spent })
      yield* ask({ spent: { ...spent, external: { visits: 0, bytesIn: 0, bytesOut: 1 } } })
      yield* ask({})
      const bill = yield* replit.database.bill
      assert.deepInclude(bill?.replit, { visits: 2, bytesIn: 20, bytesOut: 40 })
      assert.deepInclude(bill?.external, { visits: 1, bytesIn: 300, bytesOut: 4_000_000_001 })
      assert.isAtLeast(bill?.external.awakeMs ?? -1, 0)
      assert.isBelow(bill?.external.awakeMs ?? 60_000, 60_000)
      yield* external.database.disconnect
      assert.isAtLeast((yield* external.database.traffic).bytesIn, 0)
      assert.isNotNull(yield* external.database.identity)
    }))
}
