import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { idFindings } from "../../src/domain/idFindings.ts"
import type { IdSequence } from "../../src/domain/IdSequence.ts"
import { areApart, boundsOf, isBehind, isSplitFor, isUp, size, usage } from "../../src/domain/IdSequence.ts"
import type { Side } from "../../src/domain/Side.ts"
import { sides } from "../../src/domain/Side.ts"
import type { IdSequences, SplitStep } from "../../src/domain/splitIds.ts"
import { beyond, idColumns, needsSplit, planSplit } from "../../src/domain/splitIds.ts"

const plain: IdSequence = {
  table: { schema: "public", name: "pedidos" },
  column: "id",
  type: "integer",
  name: { schema: "public", name: "pedidos_id_seq" },
  increment: 1n,
  start: 1n,
  min: 1n,
  max: 2n ** 31n - 1n,
  cycle: false,
  next: 1n,
  rights: "alter",
  split: false,
  highest: null,
  lowest: null,
  furthest: null
}

const both = (replit: Partial<IdSequence>, external: Partial<IdSequence>): IdSequences => ({
  replit: [{ ...plain, ...replit }],
  external: [{ ...plain, ...external }]
})

/** As the side's sequence is when the plan was carried out. */
const after = (all: IdSequences): IdSequences => {
  const { steps } = planSplit(all)
  const done = (side: Side) =>
    all[side].map((sequence) => {
      const step = steps.find((found) => found.side === side && found.sequence.name === sequence.name)
      return step === undefined ? sequence : Object.assign({}, sequence, step.settings, { split: true })
    })
  return { replit: done("replit"), external: done("external") }
}

/** The next few numbers of a sequence, within its bounds. */
const gives = (sequence: IdSequence, times: number): ReadonlyArray<bigint> => {
  const { high, low } = boundsOf(sequence)
  const numbers: Array<bigint> = []
  for (let n = sequence.next; numbers.length < times; n += sequence.increment) {
    if (n > high || n < low) {
      if (!sequence.cycle) break
      n = isUp(sequence) ? low : high
    }
    numbers.push(n)
  }
  return numbers
}

const arbitrary: fc.Arbitrary<IdSequence> = fc.record({
  up: fc.boolean(),
  by: fc.integer({ min: 1, max: 6 }),
  low: fc.integer({ min: -12, max: 6 }),
  length: fc.integer({ min: 6, max: 40 }),
  at: fc.integer({ min: 0, max: 40 }),
  cycle: fc.boolean()
}).map(({ at, by, cycle, length, low, up }) =>
  Object.assign({}, plain, {
    increment: BigInt(up ? by : -by),
    min: BigInt(low),
    max: BigInt(low + length),
    start: BigInt(low),
    next: BigInt(low + Math.min(at, length)),
    cycle
  })
)

describe("two sequences", () => {
  it("that are apart never give the same number", () => {
    fc.assert(fc.property(arbitrary, arbitrary, (a, b) => {
      const [one, two] = [gives(a, 100), gives(b, 100)]
      if (areApart(a, b)) assert.deepStrictEqual(one.filter((n) => two.includes(n)), [])
    }))
  })

  it("of the same steps and bounds are not apart", () => {
    for (const increment of [1n, 2n, -1n, 10n]) {
      assert.isFalse(areApart({ ...plain, increment, next: 20n }, { ...plain, increment, next: 40n }), `${increment}`)
    }
  })

  it("are apart by steps that begin at different numbers, by bounds, and when one is used up", () => {
    assert.isTrue(areApart({ ...plain, increment: 2n, next: 7n }, { ...plain, increment: 2n, next: 40n }))
    assert.isTrue(areApart({ ...plain, increment: 10n, next: 1n }, { ...plain, increment: 4n, next: 2n }))
    assert.isFalse(areApart({ ...plain, increment: 2n }, { ...plain, increment: 3n }))
    assert.isTrue(areApart({ ...plain, max: 999n }, { ...plain, next: 1000n }))
    assert.isTrue(areApart({ ...plain, increment: -1n, min: -900n, max: -1n, next: -1n }, plain))
    assert.isTrue(areApart({ ...plain, next: plain.max + 1n }, plain))
  })
})

describe("splitting", () => {
  it("leaves both sides apart, each in its own half, beyond every id that is there or was given", () => {
    const ids = fc.option(fc.bigInt({ min: -50n, max: 5_000n }), { nil: null })
    const one = fc.record({
      next: fc.bigInt({ min: 1n, max: 3_000n }),
      highest: ids,
      up: fc.boolean(),
      cycle: fc.boolean()
    })
      .map(({ cycle, highest, next, up }): Partial<IdSequence> => ({
        increment: up ? 1n : -1n,
        min: -(2n ** 31n),
        next: up ? next : -next,
        start: up ? 1n : -1n,
        highest,
        lowest: highest === null ? null : -size(highest),
        cycle
      }))
    fc.assert(fc.property(one, one, (replit, external) => {
      const before = both(replit, external)
      fc.pre(needsSplit(idColumns(before)[0]!))
      const split = after(before)
      assert.isTrue(areApart(split.replit[0]!, split.external[0]!))
      for (const side of sides) {
        const sequence = split[side][0]!
        assert.isTrue(isSplitFor(sequence, side))
        for (const { highest, increment, lowest, next } of [before.replit[0]!, before.external[0]!]) {
          if (isUp(sequence)) assert.isTrue(highest === null || sequence.next > highest)
          else assert.isTrue(lowest === null || sequence.next < lowest)
          if (increment > 0n === isUp(sequence)) {
            assert.isTrue(isUp(sequence) ? sequence.next >= next : sequence.next <= next)
          }
        }
      }
    }))
  })

  it("changes nothing the second time", () => {
    const split = after(both({ next: 70n, highest: 69n }, { next: 3n, highest: 2n }))
    assert.deepStrictEqual(planSplit(split).steps, [])
    assert.deepStrictEqual(planSplit(split).columns.map(({ outcome }) => outcome), ["stays"])
    assert.match(idFindings(split).notes[0]!, /kept apart: odd ids on Replit, even ids on external/)
  })

  it("goes on where it was broken off after one side", () => {
    const before = both({ next: 70n }, { next: 3n })
    const half = { ...before, replit: after(before).replit }
    assert.deepStrictEqual(planSplit(half).steps.map(({ side }) => side), ["external"])
  })

  it("leaves a gap, but no more than a hundredth of what is left", () => {
    const nextOf = (all: IdSequences) => planSplit(all).steps.map(({ settings }) => settings.next)
    assert.deepStrictEqual(nextOf(both({ next: 101n }, {})), [1101n, 1102n])
    const small = { type: "smallint", max: 32_767n }
    assert.deepStrictEqual(nextOf(both({ ...small, next: 32_600n }, small)), [32_601n, 32_602n])
  })

  it("passes what the other side gave away meanwhile", () => {
    const [replit, external] = planSplit(both({ next: 101n }, {})).steps as [SplitStep, SplitStep]
    assert.isNull(beyond(replit, 1_100n))
    assert.strictEqual(beyond(replit, 1_101n)?.settings.next, 2_103n)
    assert.strictEqual(beyond(external, 1_102n)?.settings.next, 2_104n)
  })

  it("does not touch what a role doesn't own, what counts otherwise, and what shares a sequence with such", () => {
    const other = { column: "n", name: { schema: "public", name: "outra" } }
    const all: IdSequences = {
      replit: [plain, { ...plain, column: "n" }, { ...plain, ...other, column: "m" }],
      external: [{ ...plain, rights: "use" }, { ...plain, ...other }, { ...plain, ...other, column: "m" }]
    }
    const { columns, steps } = planSplit(all)
    assert.deepStrictEqual(steps, [])
    assert.deepStrictEqual(columns.map(({ outcome }) => outcome), ["impossible", "impossible", "impossible"])
    assert.match(
      columns[0]!.why,
      /pedidos_id_seq on external belongs to another role.*ALTER SEQUENCE pedidos_id_seq OWNER TO/
    )
    assert.match(columns[2]!.why, /share a sequence with pedidos\.n/)
    const own = planSplit(both({ increment: 50n }, { increment: 50n }))
    assert.deepStrictEqual([own.steps, own.columns[0]!.outcome], [[], "impossible"])
    assert.match(own.columns[0]!.why, /counts by 50, which somebody chose, so it is left alone/)
  })
})

describe("check", () => {
  const problems = (all: IdSequences) => idFindings(all).problems

  it("finds ids that both sides give, with the cure", () => {
    assert.match(problems(both({}, {}))[0]!, /^Both sides give the ids of pedidos\.id .* Run `setup --split-ids`\.$/)
    assert.deepStrictEqual(problems({ ...both({}, {}), external: [] }), [])
    assert.match(
      idFindings({ ...both({}, {}), external: [] }).notes[0]!,
      /on Replit only: there is nothing to keep apart/
    )
  })

  it("finds a sequence that is behind its rows, and says how to move it", () => {
    const found = problems({ replit: [{ ...plain, next: 7n, furthest: 500n }], external: [] })
    assert.match(found[0]!, /gives 7 next, .* ids up to 500 .*SELECT setval\('"public"\."pedidos_id_seq"', 500\);$/)
    assert.isFalse(isBehind({ ...plain, next: 501n, furthest: 500n }))
    assert.isTrue(isBehind({ ...plain, increment: -1n, next: -3n, furthest: -3n }))
  })

  it("says when four fifths of the numbers are used", () => {
    const at = (next: bigint, more: Partial<IdSequence> = {}) =>
      problems({ replit: [{ ...plain, next, ...more }], external: [] })
    assert.deepStrictEqual(at(1_700_000_000n), [])
    assert.match(at(1_800_000_000n)[0]!, /^83 % .*, 347,483,648 ids are left for "id" of pedidos\. Make it bigint/)
    assert.match(at(1_800_000_000n, { increment: 2n })[0]!, /173,741,824 ids are left/)
    assert.match(at(30_000n, { type: "smallint" })[0]!, /^91 %/)
    assert.match(at(900n, { type: "bigint", max: 1_000n })[0]!, /Give it other bounds/)
    assert.deepStrictEqual(at(900n, { max: 1_000n, cycle: true }), [])
    assert.strictEqual(usage({ ...plain, next: plain.max + 1n }).left, 0n)
    assert.match(at(-30_000n, { increment: -1n, min: -32_768n, max: -1n })[0]!, /2,769 ids are left/)
  })
})
