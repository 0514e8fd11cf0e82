import { assert, describe, it } from "@effect/vitest"
import { amount, bytes, count, duration, list } from "../../src/domain/Quantity.ts"

describe("quantities", () => {
  it("have their thousands apart and their plural", () => {
    assert.deepStrictEqual([0, 999, 1000, 1234567].map(count), ["0", "999", "1,000", "1,234,567"])
    assert.deepStrictEqual([0, 1, 2000].map((n) => amount(n, "row")), ["0 rows", "1 row", "2,000 rows"])
    assert.strictEqual(amount(2, "loss", "losses"), "2 losses")
  })

  it("of bytes are short at any size", () => {
    assert.deepStrictEqual([0, 999, 1000, 1249, 9_999, 34_400, 999_600, 2_500_000_000].map(bytes), [
      "0 B",
      "999 B",
      "1.0 kB",
      "1.2 kB",
      "10 kB",
      "34 kB",
      "1.0 MB",
      "2.5 GB"
    ])
  })

  it("of time are short at any size", () => {
    assert.deepStrictEqual(
      [0, 12.4, 999, 999.6, 1_340, 12_300, 59_400, 60_000, 245_000, 7_380_000, 360_000_000].map(duration),
      [
        "0 ms",
        "12 ms",
        "999 ms",
        "1 s",
        "1.3 s",
        "12 s",
        "59 s",
        "1 min",
        "4 min 5 s",
        "2 h 3 min",
        "4 d 4 h"
      ]
    )
  })

  it("of names are listed as in a sentence", () => {
    assert.deepStrictEqual([[], ["a"], ["a", "b"], ["a", "b", "c"]].map(list), ["", "a", "a and b", "a, b and c"])
  })
})
