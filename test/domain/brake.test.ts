import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck as fc } from "effect"
import { brakeText, concernedText, isOver, largeEnough, type Limits, parse } from "../../src/domain/brake.ts"

const limits = fc.record({ rows: fc.nat(100_000), percent: fc.nat(1_000).map((tenths) => tenths / 10) })

describe("the brake's rule", () => {
  it("holds only when both limits are passed", () => {
    fc.assert(fc.property(limits, fc.nat(200_000), fc.nat(200_000), (rule: Limits, concerned, of) => {
      const over = isOver(rule, concerned, of)
      assert.strictEqual(over, concerned > rule.rows && concerned * 1_000 > Math.round(rule.percent * 10) * of)
    }))
    assert.isFalse(isOver({ rows: 0, percent: 38.8 }, 63_923, 164_750))
    assert.isTrue(isOver({ rows: 0, percent: 38.8 }, 63_923, 164_749))
  })

  it("holds no less when more rows are concerned, and no more when the table is larger", () => {
    fc.assert(fc.property(limits, fc.nat(200_000), fc.nat(200_000), fc.nat(1_000), (rule, concerned, of, more) => {
      if (isOver(rule, concerned, of)) assert.isTrue(isOver(rule, concerned + more, of))
      if (!isOver(rule, concerned, of)) assert.isFalse(isOver(rule, concerned, of + more))
    }))
  })

  it("counting a table no further than it matters decides the same", () => {
    fc.assert(fc.property(limits, fc.nat(200_000), fc.nat(400_000), (rule, concerned, of) => {
      const most = largeEnough(rule, concerned)
      assert.strictEqual(isOver(rule, concerned, Math.min(of, most ?? of)), isOver(rule, concerned, of))
    }))
  })

  it("is read as it is written", () => {
    fc.assert(fc.property(fc.option(limits), (brake) => {
      assert.deepStrictEqual(parse(brakeText(brake)), Either.right(brake))
    }))
    for (const text of ["50 rows, 20 %", "20%,50 rows", "50 Rows , 20 %", "50 row, 20.0 %"]) {
      assert.deepStrictEqual(parse(text), Either.right({ rows: 50, percent: 20 }), text)
    }
    assert.deepStrictEqual(parse("OFF"), Either.right(null))
  })

  it("refuses anything else, and says what it takes", () => {
    for (const text of ["", "on", "50", "50 rows", "20 %", "50 rows, 20 %, 1 row", "-1 rows, 20 %", "50 rows 20 %"]) {
      assert.deepStrictEqual(
        parse(text),
        Either.left(`${text} is neither off nor a number of rows and a share, as in 50 rows, 20 %`)
      )
    }
    assert.deepStrictEqual(parse("50 rows, 120 %"), Either.left("120 % is more than the whole table"))
  })

  it("tells deletes and overwrites apart, and says nothing of nothing", () => {
    const of = "external"
    assert.strictEqual(
      concernedText({ deletes: 1_000, overwrites: 0, rows: 2_000 }, of),
      "1,000 of 2,000 rows of external would be deleted"
    )
    assert.strictEqual(
      concernedText({ deletes: 3, overwrites: 4, rows: 9 }, of),
      "7 of 9 rows of external would be deleted or overwritten in conflict (3 and 4)"
    )
    assert.isNull(concernedText({ deletes: 0, overwrites: 0, rows: 9 }, of))
  })
})
