import { assert, describe, it } from "@effect/vitest"
import { textTable } from "../../src/domain/TextTable.ts"

describe("a text table", () => {
  it("lines its columns up, numbers at their ends", () => {
    assert.strictEqual(
      textTable([["table", "rows"], ["perfis", "5"], ["à", "1,234"]], { right: [1] }),
      ["table    rows", "------  -----", "perfis      5", "à       1,234"].join("\n")
    )
  })

  it("keeps every row on one line, whatever the cells hold", () => {
    const table = textTable([["a"], ["two\nlines\u001b[31m"], ["x".repeat(200)]], { cellMax: 20 })
    assert.deepStrictEqual(table.split("\n").slice(2), ["two lines [31m", `${"x".repeat(19)}…`])
  })

  it("is empty without rows", () => assert.strictEqual(textTable([]), ""))
})
