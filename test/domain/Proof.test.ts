import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import type { Difference } from "../../src/domain/Difference.ts"
import type { Proof, Round } from "../../src/domain/Proof.ts"
import { advance, beginRound, closes, newDifferences, openMax, provenOf, provenText } from "../../src/domain/Proof.ts"

const difference = (key: string, why: Difference["why"] = "unknown"): Difference => ({
  key: [key],
  kind: "different",
  why
})

const hour = 3_600_000
const iso = (ms: number) => new Date(ms).toISOString()
const whole = (round: Partial<Round>): Proof => ({
  current: null,
  last: { ...beginRound(0), isThrough: true, after: ["z"], ...round }
})
const textOf = (proof: Proof, rows = 48_213, nowMs = 26 * hour) => provenText(provenOf(proof, rows), iso(nowMs))

describe("a round of the rolling proof", () => {
  it("counts every key once: equal, open or beyond", () =>
    fc.assert(fc.property(
      fc.array(fc.record({ equal: fc.nat(50), open: fc.nat(60) }), { maxLength: 6 }),
      (stretches) => {
        let round = beginRound(0)
        let seen = 0
        for (const [index, { equal, open }] of stretches.entries()) {
          const differences = Array.from({ length: open }, (_, n) => difference(`${index}.${n}`))
          round = advance(round, { upTo: [`${index}`], equal, differences, surplus: false })
          seen += equal + open
        }
        assert.strictEqual(round.rows + round.open.length + round.beyond, seen)
        assert.isAtMost(round.open.length, openMax)
      }
    )))

  it("is over when it is through, and gives what is on its way one more cycle", () => {
    const through = advance(beginRound(0), { upTo: null, equal: 3, differences: [], surplus: false })
    assert.isTrue(closes(through, false))
    const waiting = { ...through, open: [difference("a", "pending")] }
    assert.isFalse(closes(waiting, false))
    assert.isTrue(closes(waiting, true))
    assert.isTrue(closes({ ...through, open: [difference("a", "quarantined")] }, false))
    assert.isFalse(closes({ ...through, isThrough: false }, true))
  })

  it("names a key that differs once, and one that had another reason before", () => {
    const now = [difference("a"), difference("b"), difference("c", "pending")]
    const found = newDifferences([difference("a"), difference("b", "pending")], now)
    assert.deepStrictEqual(found.map(({ key }) => key), [["b"]])
  })
})

describe("what is proven", () => {
  it("is said with its age", () => {
    assert.strictEqual(textOf(whole({ rows: 48_213 })), "100 % of 48,213 rows proven equal within the last 26 h")
    assert.strictEqual(
      textOf({ current: null, last: null }),
      "nothing proven equal yet: the service does it little by little, `verify` at once"
    )
  })

  it("is never 100 % of what is not all proven", () => {
    const text = textOf(whole({ rows: 9_999_999, open: [difference("ana", "pending")] }))
    assert.strictEqual(
      text,
      "99.9 % of 10,000,000 rows proven equal within the last 26 h; 1 had changes on their way; not proven: ana"
    )
    assert.match(textOf(whole({ rows: 9_999_999, beyond: 1 })), /^99\.9 % .*; 1 more not looked at, `verify` does it$/)
    assert.match(textOf(whole({ rows: 1, open: [difference("bia")] })), /; 1 differs, see `verify`; not proven: bia$/)
    const current = { ...beginRound(25 * hour), after: ["m"], rows: 12_053 }
    assert.strictEqual(
      textOf({ current, last: null }),
      "24.9 % of 48,213 rows proven equal within the last 1 h; the first round is under way"
    )
    const ages = [0, 61_000, 25 * hour + 1, 73 * hour].map((ms) => provenText(provenOf(whole({}), 0), iso(ms)))
    assert.deepStrictEqual(ages.map((text) => text.replace(/.*last /, "")), ["1 min", "2 min", "26 h", "4 d"])
  })

  it("goes by the last whole round while another is under way", () => {
    const current = { ...beginRound(25 * hour), after: ["m"], rows: 3 }
    assert.match(textOf({ ...whole({ rows: 7 }), current }), /^100 % of 7 rows proven equal within the last 26 h$/)
  })
})
