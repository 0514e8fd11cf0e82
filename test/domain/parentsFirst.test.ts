import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { parentsFirst } from "../../src/domain/parentsFirst.ts"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"

const named = (name: string) => ({ schema: "public", name })

/** Tables by the names of the tables that they point at. */
const tablesOf = (parents: Readonly<Record<string, ReadonlyArray<string>>>): ReadonlyArray<SyncedTable> =>
  Object.entries(parents).map(([name, names]) => {
    const shape = { parents: names.map(named) }
    return { name: named(name), shapes: { replit: shape, external: { parents: [] } } } as unknown as SyncedTable
  })

const order = (parents: Readonly<Record<string, ReadonlyArray<string>>>) =>
  parentsFirst(tablesOf(parents)).map((group) => group.map(({ name }) => name.name))

describe("parentsFirst", () => {
  it("puts parents before children, in the order given otherwise", () => {
    assert.deepStrictEqual(order({ c: ["b"], x: [], b: ["a"], a: [], y: ["elsewhere"] }), [
      ["a"],
      ["b"],
      ["c"],
      ["x"],
      ["y"]
    ])
  })

  it("groups tables whose foreign keys make a circle, before what points at them", () => {
    const found = order({ rental: ["staff"], staff: ["store"], store: ["staff", "address"], address: [] })
    assert.deepStrictEqual(found.map((group) => [...group].sort()), [["address"], ["staff", "store"], ["rental"]])
  })

  it("holds for any foreign keys: parents are never later, and a group's tables lead to each other", () => {
    const names = [..."abcdefg"]
    const any = fc.record(Object.fromEntries(names.map((name) => [name, fc.subarray(names, { maxLength: 2 })])))
    fc.assert(fc.property(any, (parents) => {
      const groups = order(parents)
      assert.deepStrictEqual(groups.flat().sort(), names)
      const at = (name: string) => groups.findIndex((group) => group.includes(name))
      const reach = (from: string, seen = new Set<string>()): ReadonlySet<string> => {
        for (const parent of parents[from]!) if (!seen.has(parent)) reach(parent, seen.add(parent))
        return seen
      }
      for (const name of names) for (const parent of parents[name]!) assert.isAtMost(at(parent), at(name))
      for (const name of names) {
        for (const other of names.filter((one) => one !== name)) {
          assert.strictEqual(at(name) === at(other), reach(name).has(other) && reach(other).has(name))
        }
      }
    }))
  })
})
