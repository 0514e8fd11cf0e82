import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import type { Policy, Version } from "../../src/domain/decide.ts"
import { decide } from "../../src/domain/decide.ts"
import { opposite } from "../../src/domain/Side.ts"

const stamp = fc.option(fc.oneof(fc.bigInt({ min: -3n, max: 3n }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n })))
const version: fc.Arbitrary<Version> = fc.record({ present: fc.boolean(), stampUs: stamp })
const policy = fc.constantFrom<Policy>("last-write-wins", "replit-wins", "external-wins")

describe("decide", () => {
  it.prop("names the same winner for the same versions", [version, version, policy], ([replit, external, rule]) => {
    const winner = decide({ replit, external }, rule)
    assert.include(["replit", "external"], winner)
    assert.strictEqual(decide({ external: { ...external }, replit: { ...replit } }, rule), winner)
  }, { fastCheck: { numRuns: 500 } })

  it.prop("names the other side when the versions change places, unless they tie", [version, version], ([a, b]) => {
    const winner = decide({ replit: a, external: b }, "last-write-wins")
    const swapped = decide({ replit: b, external: a }, "last-write-wins")
    assert.strictEqual(swapped, a.stampUs === b.stampUs ? winner : opposite(winner))
  }, { fastCheck: { numRuns: 500 } })

  it.prop("lets the later stamp win, whether it is a row's or a delete's", [version, version], ([a, b]) => {
    fc.pre(a.stampUs !== null && b.stampUs !== null && a.stampUs !== b.stampUs)
    const later = a.stampUs! > b.stampUs! ? "replit" : "external"
    assert.strictEqual(decide({ replit: a, external: b }, "last-write-wins"), later)
  })

  it.prop("is transitive: the winner over a winner beats the loser too", [version, version, version], ([a, b, c]) => {
    const beats = (x: Version, y: Version) => decide({ replit: y, external: x }, "last-write-wins") === "external"
    if (beats(a, b) && beats(b, c)) assert.isTrue(beats(a, c))
  }, { fastCheck: { numRuns: 500 } })

  it("tells microseconds apart where a JavaScript number could not", () => {
    const at = 9_007_199_254_740_993n
    const versions = { replit: { present: true, stampUs: at - 1n }, external: { present: true, stampUs: at } }
    assert.strictEqual(decide(versions, "last-write-wins"), "external")
  })

  it("gives a tie to Replit, with stamps and without", () => {
    for (const stampUs of [null, 0n, 5n]) {
      const versions = { replit: { present: false, stampUs }, external: { present: true, stampUs } }
      assert.strictEqual(decide(versions, "last-write-wins"), "replit")
    }
  })

  it("takes a missing stamp as older than the oldest", () => {
    const oldest = -(2n ** 63n - 1n)
    const versions = { replit: { present: true, stampUs: null }, external: { present: true, stampUs: oldest } }
    assert.strictEqual(decide(versions, "last-write-wins"), "external")
  })

  it.prop("doesn't look at versions where a side always wins", [version, version], ([replit, external]) => {
    assert.strictEqual(decide({ replit, external }, "replit-wins"), "replit")
    assert.strictEqual(decide({ replit, external }, "external-wins"), "external")
  })
})
