import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, FastCheck as fc, Random } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { isRenewalDone, noTokens, type Renewal, renewed, timeTravel, type Tokens } from "../../src/domain/Tokens.ts"
import { makeRenewals } from "../../src/programs/timeTravel.ts"

type Both = Record<Side, Tokens>

/** Two sides, and cycles that renew their tokens a step at a time. */
const makeWorld = (seed: string) => {
  const both: Both = { replit: noTokens, external: noTokens }
  let now = 0
  let started = 0
  const write = (side: Side, renewal: Renewal): boolean => {
    const tokens = renewed(both[side], renewal, ++now)
    if (tokens !== null) both[side] = tokens
    return tokens !== null
  }
  /** The steps of one holder of the lease, who may come to either side first; each says whether there is another. */
  const holder = (): () => boolean => {
    const seen = { ...both }
    const random = Random.make(`${seed} ${++started}`)
    const { announced, settled, taken } = Effect.runSync(Effect.withRandom(makeRenewals(seen), random))
    const took: Array<boolean> = []
    const eitherFirst = (step: (side: Side) => boolean) =>
      Chunk.toReadonlyArray(Effect.runSync(random.shuffle(sides))).map((side) => () => step(side))
    const steps = [
      ...eitherFirst((side) => write(side, announced[side])),
      ...eitherFirst((side) => (took.push(write(side, taken[side])), true)),
      ...eitherFirst((side) => !took.includes(false) && write(side, settled[side]))
    ]
    return () => steps.shift()?.() ?? false
  }
  const toItsEnd = (step: () => boolean) => {
    while (step());
  }
  const cycle = () => toItsEnd(holder())
  /** What a cycle that failed does in the end: it looks anew, and leaves tokens alone that don't match. */
  const failed = (): () => boolean => timeTravel(both) === null ? holder() : () => false
  return { both, holder, cycle, failed, toItsEnd }
}

describe("tokens", () => {
  it.prop(
    "match whatever the order in which holders of the lease that know nothing of each other take their steps, and wherever they crash or fail",
    [
      // Some take many steps at once, or an old holder would seldom come after all of another one's.
      fc.array(
        fc.tuple(
          fc.integer({ min: 0, max: 3 }),
          fc.constantFrom("step", "step", "step", "crash", "fail"),
          fc.integer({ min: 1, max: 6 })
        ),
        { maxLength: 30 }
      ),
      fc.string()
    ],
    ([moves, seed]) => {
      const { both, cycle, failed, holder } = makeWorld(seed)
      const holders: Array<(() => boolean) | undefined> = []
      for (const [index, what, count] of moves) {
        const step = what === "fail" ? failed() : holders[index] ?? holder()
        holders[index] = what === "crash" ? undefined : step
        for (let n = 0; n < count && holders[index] !== undefined; n++) {
          if (!step()) holders[index] = undefined
          assert.isNull(timeTravel(both))
        }
      }
      cycle()
      assert.isTrue(isRenewalDone(both))
    },
    { fastCheck: { numRuns: 1000 } }
  )

  it.prop("of a failed cycle tell a side that was set back to its middle, and hide none that was set back before", [
    fc.constantFrom<Side>("replit", "external"),
    fc.string()
  ], ([side, seed]) => {
    const { both, cycle, failed, toItsEnd } = makeWorld(seed)
    cycle()
    const backup = both[side]
    toItsEnd(failed())
    both[side] = backup
    assert.strictEqual(timeTravel(both)?.side, side)
    toItsEnd(failed())
    assert.strictEqual(timeTravel(both)?.side, side)
  })

  it.prop(
    "tell a side that was set back before the last cycle that wrote, however often, and which one it was",
    [
      fc.constantFrom<Side>("replit", "external"),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 5 }),
      fc.string()
    ],
    ([side, before, after, seed]) => {
      const { both, cycle } = makeWorld(seed)
      for (let n = 0; n < before; n++) cycle()
      const backup = both[side]
      for (let n = 0; n < after; n++) cycle()
      both[side] = backup
      const found = timeTravel(both)
      assert.strictEqual(found?.side, side)
      assert.isTrue(found!.remembersUntilMs! < found!.otherRemembersUntilMs!)
    }
  )

  it.prop("say nothing of a side that was set back to the end of the last cycle: nothing is lost with it", [
    fc.string()
  ], ([seed]) => {
    const { both, cycle } = makeWorld(seed)
    cycle()
    cycle()
    const backup = { ...both }
    assert.isNull(timeTravel(both))
    assert.isNull(timeTravel({ ...both, replit: backup.replit }))
  })
})
