import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { failuresBeforeTold, nothingTold, type Notice, type Standing, tell } from "../../src/domain/telling.ts"

const well: Standing = {
  failure: null,
  hasPassed: true,
  waiting: [],
  quarantined: 0,
  differing: new Map(),
  capturedAnew: [],
  folded: []
}

const failed = (count: number, needsPerson = false): Standing => ({
  ...well,
  failure: { count, message: needsPerson ? "Wrong password." : "It is away.", needsPerson }
})

/** What is told of each of these, one after the other. */
const toldOf = (standings: ReadonlyArray<Standing>): ReadonlyArray<ReadonlyArray<Notice>> => {
  let told = nothingTold
  return standings.map((now) => {
    const next = tell(told, now)
    told = next.told
    return next.notices
  })
}

const eventsOf = (standings: ReadonlyArray<Standing>) => toldOf(standings).map((all) => all.map(({ event }) => event))

describe("telling", () => {
  it("says once that cycles fail, after three of them, and once that they get through again", () => {
    assert.deepStrictEqual(
      eventsOf([failed(1), failed(2), failed(3), failed(3), failed(4), well, well, failed(1), well]),
      [[], [], ["failing"], [], [], ["recovered"], [], [], []]
    )
    assert.deepStrictEqual(
      toldOf([failed(1), failed(2), failed(3), failed(7), well]).flat().map(({ text }) => text),
      [
        "3 cycles in a row failed; the service goes on trying. The last reason: It is away.",
        "Cycles get through again, after 7 cycles that failed."
      ]
    )
  })

  it("says at once what only a person can lift, also when it comes later", () => {
    assert.deepStrictEqual(eventsOf([failed(1, true), failed(2, true), well]), [["failing"], [], ["recovered"]])
    assert.deepStrictEqual(
      eventsOf([failed(1), failed(2), failed(3), failed(4, true), failed(5), failed(6, true), well]),
      [[], [], ["failing"], ["failing"], [], [], ["recovered"]]
    )
    assert.match(
      toldOf([failed(1, true)])[0]![0]!.text,
      /^The last cycle failed, and trying again will not help: Wrong/
    )
  })

  it("waits for three cycles with a service that never got through, for one may be started again and again", () => {
    const starting = (count: number) => ({ ...failed(count, true), hasPassed: false })
    assert.deepStrictEqual(eventsOf([starting(1), starting(2), starting(3), starting(4)]), [[], [], ["failing"], []])
  })

  it("says what waits for a person, by table, and again only after it was over", () => {
    const held: Standing = { ...well, waiting: [{ table: "perfis", problem: "perfis is held.", held: true }] }
    const both: Standing = { ...well, waiting: [...held.waiting, { table: "notas", problem: "notas is gone." }] }
    assert.deepStrictEqual(eventsOf([held, held, both, both, well, held]), [
      ["held"],
      [],
      ["paused"],
      [],
      [],
      ["held"]
    ])
    assert.deepStrictEqual(toldOf([both])[0]![1], { event: "paused", table: "notas", text: "notas is gone." })
  })

  it("goes on knowing what waits while cycles fail", () => {
    const quarantine: Standing = { ...well, quarantined: 2 }
    const failing = { ...quarantine, failure: failed(3).failure }
    assert.deepStrictEqual(eventsOf([quarantine, failing, quarantine]), [["quarantine"], ["failing"], ["recovered"]])
  })

  it("says what the proof found, what was captured anew and what was folded", () => {
    const all: Standing = {
      ...well,
      quarantined: 1,
      differing: new Map([["perfis", 3]]),
      capturedAnew: ["perfis", "notas"],
      folded: ["Nobody had read the changes."]
    }
    assert.deepStrictEqual(toldOf([all])[0]!.map(({ text }) => text), [
      "1 row in quarantine: the other side refused it. `quarantine list` says why.",
      "The rolling proof found 3 rows of perfis that differ on the two sides although no change is on its way. "
      + "`verify` names them.",
      "Capture or columns of notas and perfis were no longer as they had been set up. They were set up again, and both "
      + "sides compared: changes made meanwhile are synced.",
      "Nobody had read the changes."
    ])
  })

  const tables = fc.constantFrom("perfis", "notas", "pedidos")
  const standings = fc.array(
    fc.record({
      failure: fc.option(
        fc.record({ count: fc.integer({ min: 1, max: 9 }), message: fc.constant("Away."), needsPerson: fc.boolean() })
      ),
      hasPassed: fc.boolean(),
      waiting: fc.array(
        fc.oneof(
          fc.record({ table: tables, problem: fc.string() }),
          fc.record({ table: tables, problem: fc.string(), held: fc.constant(true as const) })
        ),
        { maxLength: 4 }
      ),
      quarantined: fc.nat(2),
      differing: fc.dictionary(tables, fc.integer({ min: 1, max: 9 })).map((it) => new Map(Object.entries(it))),
      capturedAnew: fc.uniqueArray(tables),
      folded: fc.uniqueArray(fc.constantFrom("One.", "Two."))
    }),
    { maxLength: 30 }
  )

  it("tells nothing twice while it lasts, whatever happens", () => {
    fc.assert(fc.property(standings, (all) => {
      let told = nothingTold
      for (const now of all) {
        const first = tell(told, now)
        const again = tell(first.told, now)
        assert.deepStrictEqual(again.notices, [])
        assert.deepStrictEqual(again.told, first.told)
        told = first.told
      }
    }))
  })

  it("tells of each thing that waits when it begins, and of nothing else", () => {
    const thingsOf = (now: Standing): ReadonlySet<string> =>
      new Set([
        ...now.waiting.map(({ held, table }) => `${held === true ? "held" : "paused"} ${table}`),
        ...(now.quarantined > 0 ? ["quarantine null"] : []),
        ...[...now.differing.keys()].map((table) => `different ${table}`),
        ...(now.capturedAnew.length > 0 ? ["capture null"] : []),
        ...now.folded.map((text) => `folded ${text}`)
      ])
    fc.assert(fc.property(standings, (all) => {
      const told = toldOf(all)
      for (const [place, now] of all.entries()) {
        const before = place === 0 ? new Set<string>() : thingsOf(all[place - 1]!)
        const begun = [...thingsOf(now)].filter((thing) => !before.has(thing))
        const said = told[place]!
          .filter(({ event }) => event !== "failing" && event !== "recovered")
          .map(({ event, table, text }) => event === "folded" ? `folded ${text}` : `${event} ${table}`)
        assert.sameMembers(said, begun)
      }
    }))
  })

  it("says that it recovered exactly when it said that it failed, and twice at most that it fails", () => {
    fc.assert(fc.property(standings, (all) => {
      let said = 0
      for (const [place, now] of all.entries()) {
        const events = toldOf(all)[place]!.map(({ event }) => event)
        assert.strictEqual(events.includes("recovered"), now.failure === null && said > 0)
        if (now.failure === null) said = 0
        said += events.filter((event) => event === "failing").length
        assert.isAtMost(said, 2)
        if (now.failure !== null && now.failure.count >= failuresBeforeTold) assert.isAtLeast(said, 1)
      }
    }))
  })
})
