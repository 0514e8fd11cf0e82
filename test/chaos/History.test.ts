import { assert, describe, it } from "@effect/vitest"
import type { Side } from "../../src/domain/Side.ts"
import { type Found, problemsOf, type Written } from "./History.ts"

const change = (
  side: Side,
  key: string,
  oldToken: string | null,
  newToken: string | null,
  byService = false
): Written => ({
  side,
  byService,
  table: "notas",
  oldKey: oldToken === null ? null : key,
  newKey: newToken === null ? null : key,
  oldToken,
  newToken,
  content: newToken
})
const found = (token: string): ReadonlyArray<Found> => [{ table: "notas", key: "1", token, content: token }]
const both = (rows: ReadonlyArray<Found>) => ({ replit: rows, external: rows })

const inserted = change("replit", "1", null, "a")
const updated = [inserted, change("replit", "1", "a", "b"), change("external", "1", "a", "c")]

describe("the chaos run's history", () => {
  it("misses a version that is neither there, nor replaced by who saw it, nor in the journal", () => {
    assert.deepStrictEqual(problemsOf(updated, both(found("b")), []).lost, [
      "notas 1: c on external is lost without a trace."
    ])
    assert.deepStrictEqual(problemsOf(updated, both(found("b")), [{ table: "notas", key: "1", token: "c" }]).lost, [])
    assert.deepStrictEqual(problemsOf([...updated, change("external", "1", "c", "b")], both(found("b")), []).lost, [])
  })

  it("misses a delete whose row is back", () => {
    const deleted = [inserted, change("external", "1", "a", null)]
    assert.deepStrictEqual(problemsOf(deleted, both([]), []).lost, [])
    assert.deepStrictEqual(problemsOf(deleted, both(found("a")), []).lost, [
      "notas 1: the delete on external is lost without a trace."
    ])
    assert.deepStrictEqual(problemsOf(deleted, both(found("a")), [{ table: "notas", key: "1", token: null }]).lost, [])
  })

  it("finds what nobody wrote: at the end, for a while, and in the journal", () => {
    const passing = change("external", "1", null, "y", true)
    const journal = [{ table: "notas", key: "1", token: "z" }] as const
    const rows = { replit: found("a"), external: [{ table: "notas", key: "1", token: "a", content: "x" }] } as const
    assert.deepStrictEqual(problemsOf([inserted, passing], rows, journal).invented, [
      "notas 1 on external is a (x), which nobody wrote.",
      "notas 1 on external was y for a while, which nobody wrote.",
      "The journal has notas 1 z, which nobody wrote."
    ])
  })
})
