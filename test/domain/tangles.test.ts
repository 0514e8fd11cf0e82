import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { type Blocked, tangles } from "../../src/domain/tangles.ts"

const row = (key: string, blockedBy: string | null = null): Blocked => ({
  key: [key],
  blockedBy: blockedBy === null ? null : [blockedBy]
})

const sorted = (groups: ReturnType<typeof tangles>) => groups.map((keys) => keys.map(([key]) => key).sort()).sort()

describe("tangles", () => {
  it("puts rows that stand in each other's way into one group", () => {
    const rows = [row("a", "b"), row("x"), row("b", "c"), row("c", "a"), row("y", "z"), row("d", "c")]
    assert.deepStrictEqual(sorted(tangles(rows)), [["a", "b", "c", "d"], ["x"], ["y"]])
  })

  it("keeps every row once, and never parts a row from the one in its way", () => {
    const letters = [..."abcdefgh"]
    const some = fc.uniqueArray(
      fc.record({ key: fc.constantFrom(...letters), blockedBy: fc.option(fc.constantFrom(...letters)) }),
      { selector: ({ key }) => key }
    )
    fc.assert(fc.property(some, (made) => {
      const rows = made.map(({ blockedBy, key }) => row(key, blockedBy))
      const groups = tangles(rows)
      assert.deepStrictEqual(groups.flat().map(([key]) => key).sort(), made.map(({ key }) => key).sort())
      for (const { blockedBy, key } of made) {
        if (!made.some((other) => other.key === blockedBy)) continue
        assert.isTrue(groups.some((keys) => [key, blockedBy].every((one) => keys.some(([found]) => found === one))))
      }
    }))
  })
})
