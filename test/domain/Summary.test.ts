import { assert, describe, it } from "@effect/vitest"
import { firstContactLine, summaryLine, waits } from "../../src/domain/Summary.ts"

const nothing = { inserted: 0, updated: 0, deleted: 0, conflicts: 0, quarantined: 0, bytes: 0 }
const idle = {
  outcome: "idle",
  push: nothing,
  pull: nothing,
  durationMs: 12,
  quarantined: 0,
  paused: [],
  cutShort: []
} as const

describe("the summary of a cycle", () => {
  it("is one line with all numbers of both directions", () => {
    assert.strictEqual(
      summaryLine({
        ...idle,
        outcome: "moved",
        push: { inserted: 1200, updated: 1, deleted: 2, conflicts: 1, quarantined: 3, bytes: 4_200 },
        durationMs: 1_340
      }),
      "Replit → external: 1,200 inserted, 1 updated, 2 deleted, 1 conflict, 3 quarantined, 4.2 kB; "
        + "external → Replit: 0 inserted, 0 updated, 0 deleted, 0 conflicts, 0 quarantined, 0 B; in 1.3 s"
    )
  })

  it("ends with what waits for a person", () => {
    const waiting = { ...idle, quarantined: 2, paused: [{ table: "a" }, { table: "a" }], cutShort: ["…"] }
    assert.isTrue(
      summaryLine(waiting).endsWith("; waiting for you: 2 rows in quarantine, a paused and a pass cut short")
    )
    assert.deepStrictEqual(waits(idle), [])
  })

  it("says when another copy does the work", () => {
    assert.strictEqual(
      summaryLine({ ...idle, outcome: "not-due" }),
      "Nothing is due here: another copy of vaivem is at work, or was just now."
    )
  })
})

describe("a first contact", () => {
  it("says what was compared and what is to be synced", () => {
    const rows = { replit: 1000, external: 1 }
    const none = { replit: 0, external: 0 }
    assert.strictEqual(
      firstContactLine({ table: "perfis", rows, marked: { replit: 999, external: 0 }, left: none }),
      "perfis: compared 1,000 rows on Replit with 1 on external; to be synced: 999 from Replit, 0 from external."
    )
    assert.match(firstContactLine({ table: "p", rows, marked: none, left: none }), /they are equal\.$/)
    assert.match(
      firstContactLine({ table: "p", rows, marked: none, left: { replit: 0, external: 1 } }),
      /from external; left where they are: 0 on Replit, 1 on external\.$/
    )
  })
})
