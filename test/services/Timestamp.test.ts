import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { infinity, parse, print, toIso } from "../../src/services/memory/Timestamp.ts"

/** The years 1 to 9999. */
const us = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n })

describe("Timestamp", () => {
  it("prints as PostgreSQL does", () => {
    assert.strictEqual(print(1_704_067_200_123_456n), "2024-01-01 00:00:00.123456+00")
    assert.strictEqual(print(1_704_067_200_120_000n), "2024-01-01 00:00:00.12+00")
    assert.strictEqual(print(-1n, ""), "1969-12-31 23:59:59.999999")
    assert.deepStrictEqual([print(infinity), print(-infinity)], ["infinity", "-infinity"])
    assert.strictEqual(toIso(1_704_067_200_000_001n), "2024-01-01T00:00:00.000001Z")
  })

  it("reads zones, and a timestamp without one as UTC", () => {
    assert.strictEqual(parse("2024-01-01 02:30:00+02:30"), 1_704_067_200_000_000n)
    assert.strictEqual(parse("2024-01-01 00:00:00"), 1_704_067_200_000_000n)
    assert.strictEqual(parse("2023-12-31 21:00:00.000001-03"), 1_704_067_200_000_001n)
    assert.deepStrictEqual([parse("infinity"), parse("-infinity"), parse("yesterday")], [infinity, -infinity, null])
  })

  it.prop("reads what it prints", [us], ([at]) => {
    assert.strictEqual(parse(print(at)), at)
    assert.strictEqual(parse(print(at, "")), at)
    assert.strictEqual(parse(toIso(at)), at)
  })
})
