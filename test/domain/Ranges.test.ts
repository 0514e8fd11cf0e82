import { assert, describe, it } from "@effect/vitest"
import { differingRanges, isCloseEnough, rowsIn } from "../../src/domain/Ranges.ts"

/** Of ranges from 0, each with so many rows and a hash. */
const digests = (...ranges: ReadonlyArray<readonly [rows: number, hash: string]>) =>
  new Map(ranges.map(([rows, hash], range) => [range, { rows, hash }]))

describe("ranges", () => {
  it("differ by rows, by hash, and when one side has none", () => {
    const a = digests([1, "7"], [2, "8"], [3, "9"])
    const b = new Map([...digests([1, "7"], [2, "9"], [4, "9"]), [5, { rows: 1, hash: "1" }] as const])
    assert.deepStrictEqual(differingRanges(a, b), [1, 2, 5])
    assert.deepStrictEqual(differingRanges(a, a), [])
    assert.strictEqual(rowsIn(b), 8)
  })

  it("are divided while many rows are in few of them", () => {
    const many = digests(...Array.from({ length: 512 }, () => [2_000, "1"] as const))
    assert.isFalse(isCloseEnough([many, many], [1, 2]))
    // Few rows, or most of them, or few to a part.
    assert.isTrue(isCloseEnough([many, many], [1]))
    assert.isTrue(isCloseEnough([many, many], Array.from({ length: 300 }, (_, range) => range)))
    const thin = digests(...Array.from({ length: 512 }, () => [12, "1"] as const))
    assert.isTrue(isCloseEnough([thin, thin], Array.from({ length: 200 }, (_, range) => range)))
  })
})
