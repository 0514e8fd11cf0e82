/** Conformance: the lease, and the epoch that keeps out who lost it without knowing. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { resolve } from "../../src/programs/resolve.ts"
import type { Database, Fence } from "../../src/services/Database.ts"
import type { MakePair } from "./Pair.ts"
import { move, next, setUp, waiting } from "./Pair.ts"

/** The right to write, as programs take it: the lease of Replit's side, and its epoch on both. */
const enter = (both: Readonly<Record<Side, Database>>) =>
  Effect.gen(function*() {
    const lease = (yield* both.replit.lease)!
    const fence: Fence = { epoch: lease.epoch!, id: lease.id!, isNew: lease.isNew }
    assert.strictEqual(yield* both.external.fence(fence), fence.epoch)
    assert.strictEqual(yield* both.replit.fence(fence), fence.epoch)
    return fence
  })

/** What becomes of it when the lease is lost: another copy raises the epoch on both sides. */
const takeOver = (both: Readonly<Record<Side, Database>>, { epoch, id }: Fence) =>
  Effect.gen(function*() {
    yield* both.external.fence({ epoch: epoch + 1n, id, isNew: true })
    yield* both.external.fence(null)
  })

export const lease = (makePair: MakePair) => {
  it.scopedLive("only one instance at a time has the lease", () =>
    Effect.gen(function*() {
      const { replit } = yield* setUp(makePair)
      const leased = (database: typeof replit.database) =>
        Effect.map(database.ask({ tables: [] }), (answer) => answer.leased)
      yield* Effect.scoped(Effect.gen(function*() {
        assert.isNotNull(yield* replit.database.lease)
        assert.isNull(yield* Effect.scoped(replit.second.lease))
        assert.isTrue(yield* leased(replit.second))
      }))
      assert.isFalse(yield* leased(replit.second))
      assert.isNotNull(yield* Effect.scoped(replit.second.lease))
    }))

  it.scopedLive("the epoch stays while one instance has the lease again and again, and is raised for another", () =>
    Effect.gen(function*() {
      const { external, replit } = yield* setUp(makePair)
      const first = { replit: replit.database, external: external.database }
      const second = { replit: replit.second, external: external.second }
      const epochs: Array<number> = []
      for (const both of [first, first, second, second, first]) {
        epochs.push(Number((yield* Effect.scoped(enter(both))).epoch))
      }
      assert.deepStrictEqual(epochs.map((epoch) => epoch - epochs[0]!), [0, 0, 1, 1, 2])
      const { lease } = yield* replit.database.status([])
      assert.deepInclude(lease, { epoch: BigInt(epochs.at(-1)!), isHeld: false })
    }))

  it.scopedLive("an instance that gave the lease back before external knew the epoch raises it anew", () =>
    Effect.gen(function*() {
      const { external, replit } = yield* setUp(makePair)
      const before = (yield* Effect.scoped(replit.database.lease))!
      const fence = yield* Effect.scoped(enter({ replit: replit.database, external: external.database }))
      assert.isTrue(fence.isNew)
      assert.strictEqual(fence.epoch, before.epoch! + 1n)
    }))

  it.scopedLive("external's higher epoch stays, and Replit's is raised beyond it", () =>
    Effect.gen(function*() {
      const { external, replit } = yield* setUp(makePair)
      const held = (yield* replit.database.lease)!
      const fence: Fence = { epoch: held.epoch!, id: held.id!, isNew: true }
      yield* external.second.fence({ ...fence, epoch: fence.epoch + 10n })
      assert.strictEqual(yield* external.database.fence(fence), fence.epoch + 10n)
      assert.strictEqual(yield* held.raise(fence.epoch + 10n), fence.epoch + 11n)
    }))

  it.scopedLive("a pair's epoch is not written into another pair's database", () =>
    Effect.gen(function*() {
      const { external } = yield* setUp(makePair)
      const stranger = "90000000-0000-4000-8000-000000000000"
      assert.isNull(yield* external.database.fence({ epoch: 99n, id: stranger, isNew: true }))
    }))

  it.scopedLive("a holder that lost the lease without knowing neither applies nor acknowledges nor renews anything", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      const both = { replit: replit.database, external: external.database }
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* Effect.scoped(Effect.gen(function*() {
        const fence = yield* enter(both)
        const claim = (yield* both.replit.claim(perfis, next("upserts")))!
        yield* takeOver({ replit: replit.second, external: external.second }, fence)
        const judge = resolve(perfis, "replit")
        const refused = yield* Effect.flip(both.external.apply(perfis, claim, { judge, locks: "wait" }))
        assert.strictEqual(refused._tag, "LeaseTaken")
        assert.deepStrictEqual(yield* external.app.rows(perfis.name), [])
        const marked = yield* Effect.flip(both.external.mark(perfis, [["a"]]))
        assert.strictEqual(marked._tag, "LeaseTaken")
      }))
      yield* external.app.insert(perfis.name, { id: "b" })
      yield* Effect.scoped(Effect.gen(function*() {
        const fence = yield* enter(both)
        const claim = (yield* both.external.claim(perfis, next("upserts")))!
        yield* takeOver({ replit: replit.second, external: external.second }, fence)
        // On a server the row of the epoch has changed since the claim's snapshot, which is a serialization failure.
        const refused = yield* Effect.flip(claim.acknowledge([]))
        assert.include(["LeaseTaken", "Contended"], refused._tag)
      }))
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a"])
      assert.deepStrictEqual(yield* waiting(external, perfis), ["b"])
      yield* both.replit.fence(null)
      yield* both.external.fence(null)
      assert.isNotNull(yield* move(replit, external, perfis, "upserts"))
    }))
}
