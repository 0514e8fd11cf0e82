import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { sides } from "../../src/domain/Side.ts"
import { check, checkExitCode } from "../../src/programs/check.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { splitIds, splitLines } from "../../src/programs/splitIds.ts"
import { syncedTable } from "../../src/programs/syncedTable.ts"
import type { MemoryTable } from "../../src/services/memory/MemoryTable.ts"
import { makePair } from "../support/MemoryPair.ts"

const pedidos: MemoryTable = {
  name: { schema: "public", name: "pedidos" },
  columns: [{ name: "id", type: "integer", sequence: true }, { name: "texto", type: "text" }],
  key: ["id"]
}

/** A pair that both give ids to `pedidos`, set up. */
const synced = Effect.gen(function*() {
  const pair = yield* makePair({ replit: [pedidos], external: [pedidos] })
  const layer: typeof pair.layer = (settings, replaced) => pair.layer({ tables: [pedidos.name], ...settings }, replaced)
  const cycle = yield* makeCycle
  const sync = Effect.provide(cycle({ retryFor: 0, lease: "wait", notBefore: 0 }), layer())
  return { servers: pair.servers, layer, sync, first: yield* sync }
})

const split = Effect.flatMap(syncedTable(pedidos.name), (table) => splitIds([table]))

describe("splitIds", () => {
  it.effect("is what check asks for, and check is content with it", () =>
    Effect.gen(function*() {
      const { layer } = yield* synced
      const before = yield* Effect.provide(check, layer())
      assert.strictEqual(checkExitCode(before), 3)
      assert.match(before.tables[0]!.problems[0]!, /Run `setup --split-ids`/)
      const done = yield* Effect.provide(split, layer())
      assert.deepStrictEqual(splitLines(done), [
        "pedidos.id: odd ids on Replit, even ids on external.",
        "Sequence pedidos_id_seq on Replit goes on with 1001, in steps of 2.",
        "Sequence pedidos_id_seq on external goes on with 1002, in steps of 2."
      ])
      assert.strictEqual(checkExitCode(yield* Effect.provide(check, layer())), 0)
    }))

  it.effect("passes what the other side gave away until its own turn, also when that was more than the gap", () =>
    Effect.gen(function*() {
      const { layer, servers } = yield* synced
      const external = servers.external.database
      const busy: typeof external = {
        ...external,
        splitSequence: (name, settings) =>
          Effect.forEach(Array.from({ length: 1500 }), () => servers.external.app.insert(pedidos.name, {})).pipe(
            Effect.orDie,
            Effect.zipRight(external.splitSequence(name, settings))
          )
      }
      const { changed } = yield* Effect.provide(split, layer({}, { external: busy }))
      assert.deepStrictEqual(changed.map(({ next, side }) => [side, next]), [["replit", 2501n], ["external", 1502n]])
    }))

  it.effect("is asked for once by each process that finds both sides giving the same ids", () =>
    Effect.gen(function*() {
      const { first, servers, sync } = yield* synced
      assert.match(first.warnings.join(), /Both sides give the ids of pedidos\.id/)
      for (const side of sides) {
        const nota = { name: "nota", type: "text" }
        yield* servers[side].alter(pedidos.name, (table) => ({ ...table, columns: [...table.columns, nota] }))
      }
      assert.deepStrictEqual((yield* sync).warnings, [])
    }))
})
