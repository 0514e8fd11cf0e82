/** Conformance: ids that come from sequences. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { IdSequence, SequenceSettings } from "../../src/domain/IdSequence.ts"
import type { MakePair, Member, Ready } from "./Pair.ts"
import { move, named, setUp } from "./Pair.ts"

const pedidos = named("pedidos")

const sequence = (member: Member): Effect.Effect<IdSequence, unknown> =>
  Effect.map(member.database.sequences([pedidos]), (found) => found[0]!)

/** The app inserts so many rows without an id; their ids. */
const insert = (member: Member, rows: number) =>
  Effect.gen(function*() {
    const all = Effect.map(member.app.rows(pedidos), (found) => found.map(({ id }) => Number(id)))
    const before = yield* all
    for (let n = 0; n < rows; n++) yield* member.app.insert(pedidos, { texto: "x" })
    return (yield* all).filter((id) => !before.includes(id))
  })

const even = (next: bigint): SequenceSettings => ({ increment: 2n, start: 2n, min: 1n, max: 2_147_483_647n, next })

const push = ({ external, pedidos: table, replit }: Ready) => move(replit, external, table, "upserts")

export const ids = (makePair: MakePair) => {
  it.scopedLive("sequences are described with the ids that are there, before anything is installed", () =>
    Effect.gen(function*() {
      const { replit } = yield* makePair
      const asked = [named("perfis"), pedidos]
      const empty = (yield* replit.database.sequences(asked))[0]!
      assert.deepStrictEqual(empty, {
        table: pedidos,
        column: "id",
        type: "integer",
        name: named("pedidos_id_seq"),
        increment: 1n,
        start: 1n,
        min: 1n,
        max: 2_147_483_647n,
        cycle: false,
        next: 1n,
        rights: "alter",
        split: false,
        highest: null,
        lowest: null,
        furthest: null
      })
      yield* insert(replit, 3)
      yield* replit.app.insert(pedidos, { id: "90" })
      const filled = yield* sequence(replit)
      assert.deepStrictEqual(filled, { ...empty, next: 4n, highest: 90n, lowest: 1n, furthest: 90n })
      const [inspected] = yield* replit.database.inspect([pedidos])
      assert.deepStrictEqual(inspected?._tag === "Table" && inspected.shape.sequences, [
        { column: "id", name: named("pedidos_id_seq") }
      ])
    }))

  it.scopedLive("a sequence that is behind its rows is moved past them when that is asked for, and never back", () =>
    Effect.gen(function*() {
      const { replit } = yield* makePair
      const { database } = replit
      yield* replit.app.insert(pedidos, { id: "90" })
      const behind = yield* sequence(replit)
      const remedy = { _tag: "MoveSequence", name: behind.name, isUp: true, past: String(behind.furthest) } as const
      yield* database.mend(remedy)
      assert.strictEqual((yield* sequence(replit)).next, 91n)
      assert.deepStrictEqual(yield* insert(replit, 1), [91])
      yield* database.mend(remedy)
      assert.strictEqual((yield* sequence(replit)).next, 92n)
    }))

  it.scopedLive("an index is added when that is asked for, and leads with its column", () =>
    Effect.gen(function*() {
      const { external } = yield* makePair
      const leading = Effect.map(
        external.database.inspect([pedidos]),
        ([found]) => found?._tag === "Table" ? found.shape.leadingColumns : []
      )
      assert.notInclude(yield* leading, "texto")
      yield* external.database.mend({ _tag: "AddIndex", table: pedidos, column: "texto" })
      assert.include(yield* leading, "texto")
    }))

  it.scopedLive("a sequence is moved past rows that are applied, and never back", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      yield* ready.replit.app.insert(pedidos, { id: "40" })
      yield* push(ready)
      assert.deepStrictEqual(yield* insert(ready.external, 2), [41, 42])
      yield* ready.replit.app.insert(pedidos, { id: "30" })
      yield* push(ready)
      assert.deepStrictEqual(yield* insert(ready.external, 1), [43])
      yield* ready.replit.app.update(pedidos, ["40"], { texto: "y" })
      yield* ready.replit.app.remove(pedidos, ["30"])
      yield* push(ready)
      yield* move(ready.replit, ready.external, ready.pedidos, "deletes")
      assert.deepStrictEqual(yield* insert(ready.external, 1), [44])
    }))

  it.scopedLive("a split sequence goes on in its own steps, beyond what it gave before, and past rows of its own", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, replit } = ready
      yield* insert(external, 7)
      assert.strictEqual(yield* external.database.splitSequence(named("pedidos_id_seq"), even(4n)), 7n)
      assert.deepStrictEqual(yield* insert(external, 2), [8, 10])
      assert.deepInclude(yield* sequence(external), { split: true, increment: 2n, start: 2n, next: 12n })
      assert.strictEqual(yield* external.database.splitSequence(named("pedidos_id_seq"), even(20n)), 10n)
      yield* replit.app.insert(pedidos, { id: "33" })
      yield* push(ready)
      assert.deepStrictEqual(yield* insert(external, 1), [20])
      yield* replit.app.insert(pedidos, { id: "50" })
      yield* push(ready)
      assert.deepStrictEqual(yield* insert(external, 1), [52])
    }))

  it.scopedLive("removing capture puts a split sequence back as it was, past all ids", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, replit } = ready
      const before = yield* sequence(external)
      yield* external.database.splitSequence(before.name, even(2n))
      yield* insert(external, 1)
      yield* replit.app.insert(pedidos, { id: "71" })
      yield* push(ready)
      yield* external.database.uncapture(pedidos)
      const ids = { highest: 71n, lowest: 2n, furthest: 71n }
      assert.deepStrictEqual(yield* sequence(external), { ...before, ...ids, next: 72n })
      yield* replit.database.splitSequence(before.name, { ...even(101n), start: 1n })
      yield* replit.database.uninstall
      assert.deepInclude(yield* sequence(replit), { increment: 1n, split: false })
    }))
}
