import { assert, describe, it } from "@effect/vitest"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"
import { resolve } from "../../src/programs/resolve.ts"
import type { Contested } from "../../src/services/Database.ts"

const table = { policy: "last-write-wins" } as SyncedTable

const contested = (changes: Partial<Contested>): Contested => ({
  number: 1,
  equal: false,
  applied: false,
  known: false,
  marked: { source: false, target: false },
  source: { present: true, stampUs: 1n },
  target: { present: true, stampUs: 2n },
  ...changes
})

describe("resolve", () => {
  it("promise 5: gives the same winner from either side", () => {
    assert.strictEqual(resolve(table, "replit")(contested({})), "keep")
    const { source, target } = contested({})
    assert.strictEqual(resolve(table, "external")(contested({ source: target, target: source })), "overwrite")
  })

  it("promise 4: agrees where the content is equal, and acknowledges what was applied before", () => {
    assert.strictEqual(resolve(table, "replit")(contested({ equal: true, applied: true })), "agree")
    assert.strictEqual(resolve(table, "replit")(contested({ applied: true })), "seen")
    assert.strictEqual(
      resolve({ ...table, policy: "external-wins" }, "replit")(contested({ known: true })),
      "supersede"
    )
  })

  it("promise 4: a mark loses to any real change, whatever the stamps and the policy say", () => {
    const marked = (source: boolean, target: boolean) => contested({ marked: { source, target } })
    assert.strictEqual(resolve(table, "replit")(marked(false, true)), "overwrite")
    assert.strictEqual(resolve({ ...table, policy: "replit-wins" }, "replit")(marked(true, false)), "keep")
    assert.strictEqual(resolve(table, "replit")(marked(true, true)), "keep")
  })

  it("promise 6: a mark of a row that isn't there is nobody's delete, and no loser", () => {
    const gone = (target: boolean) =>
      contested({ marked: { source: false, target }, target: { present: false, stampUs: 0n } })
    assert.strictEqual(resolve(table, "replit")(gone(true)), "supersede")
    assert.strictEqual(resolve(table, "replit")(gone(false)), "overwrite")
  })
})
