import { assert, describe, it } from "@effect/vitest"
import { progressText } from "../../src/domain/Progress.ts"

const text = (done: number, total: number | null, tookMs: number) =>
  progressText({ what: "perfis to external", sinceMs: 1_000, rows: { done, total } }, 1_000 + tookMs)

describe("progress", () => {
  it("tells rows, percent, speed and about how long it still takes", () => {
    assert.strictEqual(
      text(1_250_000, 5_000_000, 30_400),
      "perfis to external: 1,250,000 of 5,000,000 rows, 25 %, 41,000 rows/s, about 1 min 30 s left"
    )
    assert.strictEqual(
      text(999, 1_000, 10_000),
      "perfis to external: 999 of 1,000 rows, 99 %, 100 rows/s, about 1 s left"
    )
    assert.strictEqual(text(1, 28, 1_000), "perfis to external: 1 of 28 rows, 3 %, 1 rows/s, about 25 s left")
  })

  it("tells what it knows before anything is through, and before the rows are counted", () => {
    assert.strictEqual(text(0, 5_000_000, 3_000), "perfis to external: 0 of 5,000,000 rows, 0 %")
    assert.strictEqual(text(12_345, null, 1_000), "perfis to external: 12,345 rows, 12,000 rows/s")
    assert.strictEqual(text(0, null, 0), "perfis to external: 0 rows")
    assert.strictEqual(
      progressText({ what: "Comparing perfis", sinceMs: 0, rows: null }, 12_000),
      "Comparing perfis, 12 s"
    )
  })

  it("never passes 100 %, although the app makes rows more", () => {
    assert.strictEqual(text(120, 100, 1_000), "perfis to external: 120 of 120 rows, 100 %, 120 rows/s")
    assert.strictEqual(text(0, 0, 1_000), "perfis to external: 0 of 0 rows, 100 %")
  })
})
