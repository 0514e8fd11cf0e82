import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FastCheck as fc, Stream } from "effect"
import type { RowDigest, StagedRow } from "../../src/domain/StagedRow.ts"
import { decode, decodeDigests, decodeLine, encode, encodeDigest, encodeLine } from "../../src/domain/StagedRow.ts"
import type { SyncedTable, TableShape } from "../../src/domain/SyncedTable.ts"

const shape: TableShape = {
  name: { schema: "public", name: "t" },
  columns: [],
  key: ["a", "b"],
  keyConstraint: null,
  parents: [],
  beforeTriggers: [],
  rules: [],
  leadingColumns: [],
  uniqueColumns: [],
  sequences: [],
  selfReferencing: false,
  afterTriggers: [],
  fingerprint: ""
}
const table: SyncedTable = {
  name: shape.name,
  key: ["a", "b"],
  columns: ["a", "b", "c"],
  stamp: null,
  policy: "last-write-wins",
  shapes: { replit: shape, external: shape }
}

/** Texts that a PostgreSQL database in UTF-8 can hold, many of them with what COPY must escape. */
const text = fc.oneof(
  fc.string({
    unit: fc.constantFrom("\\", "\t", "\n", "\r", "\b", "\f", "\v", "N", "n", ".", "ç", "😀", "\uFEFF", " ")
  }),
  fc.string({ unit: "grapheme" }).filter((value) => !value.includes("\0"))
)
const field = fc.option(text)
const key = fc.tuple(text, text)
const big = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const staged: fc.Arbitrary<StagedRow> = fc.record({
  number: fc.integer({ min: 1 }),
  changeId: big,
  present: fc.boolean(),
  changedUs: fc.option(big),
  bounces: fc.nat(9),
  was: fc.option(key),
  values: fc.tuple(text, text, field)
})

/** The bytes, cut at these places. */
const cut = (bytes: Uint8Array, places: ReadonlyArray<number>) => {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  return Stream.fromIterable(at.slice(1).map((end, index) => bytes.subarray(at[index]!, end)))
}
const bytesOf = (value: string) => new TextEncoder().encode(value)

describe("COPY lines", () => {
  it("are what PostgreSQL writes", () => {
    // SELECT of these values through COPY … TO STDOUT, PostgreSQL 15.
    const fields = ["a\\b", "t\tt", "n\nn", "r\rr", "b\bb", "f\ff", "v\vv", "", null, "\\N", "ação 😀"]
    const line = "a\\\\b\tt\\tt\tn\\nn\tr\\rr\tb\\bb\tf\\ff\tv\\vv\t\t\\N\t\\\\N\tação 😀"
    assert.strictEqual(encodeLine(fields), `${line}\n`)
    assert.deepStrictEqual(decodeLine(line), fields)
  })

  it.prop("come back as they were", [fc.array(field, { minLength: 1 })], ([fields]) => {
    const line = encodeLine(fields)
    assert.strictEqual(line.indexOf("\n"), line.length - 1)
    assert.deepStrictEqual(decodeLine(line.slice(0, -1)), fields)
  }, { fastCheck: { numRuns: 500 } })
})

describe("StagedRow", () => {
  it("has its columns in the order that both forms agree on", () => {
    const row: StagedRow = {
      number: 2,
      changeId: 9n,
      present: true,
      changedUs: null,
      bounces: 1,
      was: ["x", "y"],
      values: ["1", "2", null]
    }
    assert.strictEqual(encode(row, 2), "2\t9\tt\t\\N\t1\tx\ty\t1\t2\t\\N\n")
    assert.strictEqual(encode({ ...row, was: null, changedUs: 3n }, 2), "2\t9\tt\t3\t1\t\\N\t\\N\t1\t2\t\\N\n")
  })

  it.effect.prop(
    "comes back as it was, wherever the bytes are cut",
    { rows: fc.array(staged, { maxLength: 5 }), places: fc.array(fc.nat(500)) },
    ({ places, rows }) =>
      Effect.gen(function*() {
        const bytes = bytesOf(rows.map((row) => encode(row, 2)).join(""))
        assert.deepStrictEqual(yield* decode(table)(cut(bytes, places)), rows)
      }),
    { fastCheck: { numRuns: 100 } }
  )

  it.effect("is refused when a line is cut off or has other columns", () =>
    Effect.gen(function*() {
      for (const bytes of ["1\t2\tt", "1\t2\tt\t\\N\t0\t\\N\t\\N\ta\tb\n", "\n"]) {
        const exit = yield* Effect.exit(decode(table)(Stream.make(bytesOf(bytes))))
        assert.isTrue(Exit.isFailure(exit), JSON.stringify(bytes))
      }
    }))
})

describe("RowDigest", () => {
  it.effect.prop(
    "comes back as it was, too",
    { digests: fc.array(fc.record({ hash: fc.constant("-12"), key })), places: fc.array(fc.nat(500)) },
    ({ digests, places }) =>
      Effect.gen(function*() {
        const bytes = bytesOf(digests.map((digest: RowDigest) => encodeDigest(digest)).join(""))
        assert.deepStrictEqual(yield* decodeDigests(cut(bytes, places)), digests)
      })
  )
})
