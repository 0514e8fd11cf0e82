import { assert, describe, it } from "@effect/vitest"
import type { Selection, TableName } from "../../src/domain/TableName.ts"
import { display } from "../../src/domain/TableName.ts"
import { meant } from "../../src/domain/Wildcard.ts"

const table = (name: string, schema = "public"): TableName => ({ schema, name })
const listed = (...names: ReadonlyArray<string>) => names.map((name) => ({ name: table(name), problem: null }))
const all: Selection = { names: [], schemas: ["public"] }
const none: Selection = { names: [], schemas: [] }

const found = (
  replit: ReadonlyArray<string>,
  external: ReadonlyArray<string>,
  captured: ReadonlyArray<string> = []
) => ({
  replit: { listed: listed(...replit), captured: captured.map((name) => table(name)) },
  external: { listed: listed(...external), captured: [] }
})

describe("a wildcard", () => {
  it("takes in what both sides have, by name, after what is named", () => {
    const { names, notes } = meant(
      { ...all, names: [table("z", "loja"), table("c")] },
      none,
      found(["b", "c", "a"], ["a", "b", "c"])
    )
    assert.deepStrictEqual(names.map(display), ["loja.z", "c", "a", "b"])
    assert.deepStrictEqual(notes, [])
  })

  it("leaves out what is excluded, and what migration tools keep, without a word", () => {
    const both = ["a", "b", "alembic_version", "_prisma_migrations", "SequelizeMeta"]
    const { names, notes } = meant(all, { names: [table("b")], schemas: [] }, found(both, both))
    assert.deepStrictEqual([names.map(display), notes], [["a"], []])
    const named = { ...all, names: [table("alembic_version")] }
    assert.deepStrictEqual(meant(named, none, found(both, both)).names.map(display), ["alembic_version", "a", "b"])
  })

  it("tells what is on one side only, so that it can be created", () => {
    const { missing, names, notes } = meant(all, none, found(["a", "b"], ["b", "c"]))
    assert.deepStrictEqual([names.map(display), missing.map(display)], [["b"], ["a", "c"]])
    assert.match(notes[0]!, /Table a is only on Replit.*creates it on external/)
    assert.match(notes[1]!, /Table c is only on external.*creates it on Replit/)
  })

  it("keeps what was captured before, whatever became of it", () => {
    assert.deepStrictEqual(meant(all, none, found(["a"], [], ["a"])).names.map(display), ["a"])
    assert.deepStrictEqual(meant(all, none, found([], [], ["a"])).names, [])
  })

  it("passes over what can't be synced, and says why on which side", () => {
    const { external, replit } = found([], ["a"])
    const keyless = { ...replit, listed: [{ name: table("a"), problem: "has no primary key" }] }
    const { missing, names, notes } = meant(all, none, { external, replit: keyless })
    assert.deepStrictEqual([names, missing], [[], []])
    assert.match(notes.join(), /^Table a has no primary key on Replit: it is passed over/)
  })
})
