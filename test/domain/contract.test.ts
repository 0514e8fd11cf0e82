import { assert, describe, it } from "@effect/vitest"
import { contract } from "../../src/domain/contract.ts"
import type { Column, TableShape } from "../../src/domain/SyncedTable.ts"

const column = (name: string, type: string, more: Partial<Column> = {}): Column => ({
  name,
  type,
  base: type.replace(/\(.*\)/, ""),
  plain: type,
  attributes: null,
  notNull: false,
  hasDefault: false,
  generated: false,
  identity: null,
  operators: null,
  looseCollation: false,
  ...more
})

const shape = (columns: ReadonlyArray<Column>, key: ReadonlyArray<string> = ["id"]): TableShape => ({
  name: { schema: "public", name: "notas" },
  columns,
  key,
  keyConstraint: "notas_pkey",
  leadingColumns: [],
  uniqueColumns: [],
  parents: [],
  selfReferencing: false,
  sequences: [],
  beforeTriggers: [],
  rules: [],
  afterTriggers: [],
  fingerprint: ""
})

const id = column("id", "integer", { notNull: true })
const rules = { policy: "last-write-wins", stamp: "updated_at", stampNamed: false } as const

const told = (replit: TableShape, external: TableShape) => {
  const found = contract({ replit, external }, rules)
  return [found._tag, found._tag === "Fits" ? found.warnings.join("\n") : found.problem] as const
}

describe("a stamp column", () => {
  it("is needed only where changes are found by it", () => {
    const [one, other] = [shape([id, column("updated_at", "timestamp with time zone")]), shape([id])]
    const found = (stampNeeded: boolean) => contract({ replit: one, external: other }, { ...rules, stampNeeded })
    assert.strictEqual(found(false)._tag, "Fits")
    const refused = found(true)
    assert.strictEqual(refused._tag, "Refused")
    assert.include(refused._tag === "Refused" ? refused.problem : "", "notas has no stamp column \"updated_at\"")
    assert.strictEqual(contract({ replit: one, external: one }, { ...rules, stampNeeded: true })._tag, "Fits")
  })
})

describe("the statement that makes two tables fit", () => {
  const cases: ReadonlyArray<readonly [string, TableShape, TableShape, string, string]> = [
    [
      "of a column that must be filled",
      shape([id, column("b", "character varying(9)", { notNull: true })]),
      shape([id]),
      "Paused",
      "Run on external: ALTER TABLE notas ADD COLUMN \"b\" character varying(9);"
    ],
    [
      "of a column that must be filled, by a default",
      shape([id]),
      shape([id, column("b", "text", { notNull: true })]),
      "Paused",
      "on external: ALTER TABLE notas ALTER COLUMN \"b\" SET DEFAULT"
    ],
    [
      "of a column that may be left out",
      shape([id]),
      shape([id, column("b", "text")]),
      "Fits",
      "run on Replit: ALTER TABLE notas ADD COLUMN \"b\" text;"
    ],
    [
      "of types that don't fit, on one side",
      shape([id, column("b", "date")]),
      shape([id, column("b", "point")]),
      "Refused",
      "On external: ALTER TABLE notas ALTER COLUMN \"b\" TYPE date USING \"b\"::text::date;"
    ],
    [
      "of types that don't fit, or on the other",
      shape([id, column("b", "date")]),
      shape([id, column("b", "point")]),
      "Refused",
      "Or on Replit: ALTER TABLE notas ALTER COLUMN \"b\" TYPE point USING \"b\"::text::point;"
    ],
    [
      "of a retyped key",
      shape([id]),
      shape([column("id", "uuid", { notNull: true })]),
      "Refused",
      "Or on Replit: ALTER TABLE notas ALTER COLUMN \"id\" TYPE uuid"
    ],
    [
      "of a renamed key",
      shape([column("chave", "integer", { notNull: true })], ["chave"]),
      shape([id]),
      "Refused",
      "on external: ALTER TABLE notas RENAME COLUMN \"id\" TO \"chave\";"
    ]
  ]
  for (const [what, replit, external, tag, words] of cases) {
    it(`is told: ${what}`, () => {
      const [found, text] = told(replit, external)
      assert.strictEqual(found, tag)
      assert.include(text, words)
    })
  }
})

describe("types that differ", () => {
  const fit = ["Fits", ""] as const
  const verdict = (replit: string, external: string, more: Partial<Column> = {}) =>
    told(shape([id, column("b", replit, more)]), shape([id, column("b", external, more)]))

  for (
    const [replit, external] of [
      ["text", "character varying(20)"],
      ["character varying(10)", "character varying(20)"],
      ["text[]", "character varying[]"],
      ["integer", "bigint"],
      ["smallint[]", "bigint[]"],
      ["uuid", "text"],
      ["numeric(8,2)", "numeric(12,2)"],
      ["timestamp without time zone", "timestamp with time zone"],
      ["public.citext", "extensions.citext"],
      ["public.citext", "text"],
      ["\"My types\".cor", "public.cor"]
    ] as const
  ) {
    it(`fit where every value survives in the other's text: ${replit} and ${external}`, () => {
      assert.deepStrictEqual(verdict(replit, external), fit)
      assert.deepStrictEqual(verdict(external, replit), fit)
    })
  }

  for (
    const [replit, external] of [
      ["numeric(8,2)", "numeric"],
      ["numeric(8,2)", "numeric(8,3)"],
      ["real", "double precision"],
      ["json", "jsonb"],
      ["integer", "text"],
      ["text", "text[]"],
      ["character(5)", "character(6)"],
      ["timestamp(3) without time zone", "timestamp without time zone"],
      ["timestamp(3) without time zone", "timestamp with time zone"]
    ] as const
  ) {
    it(`are refused where a value would change or fail, naming both: ${replit} and ${external}`, () => {
      const [tag, text] = verdict(replit, external)
      assert.strictEqual(tag, "Refused")
      assert.include(text, `is ${replit} on Replit and ${external} on external`)
    })
  }

  const keys = (
    replit: Partial<Column> & { readonly type: string },
    external: Partial<Column> & { readonly type: string }
  ) => told(shape([column("id", replit.type, replit)]), shape([column("id", external.type, external)]))[0]

  it("of keys fit where both sides take the same values for one key", () => {
    assert.strictEqual(keys({ type: "integer" }, { type: "bigint" }), "Fits")
    assert.strictEqual(keys({ type: "text" }, { type: "character varying(50)" }), "Fits")
    const citext = { type: "public.citext", operators: "public" }
    assert.strictEqual(keys(citext, { type: "extensions.citext", operators: "extensions" }), "Fits")
    assert.strictEqual(keys({ type: "text" }, citext), "Refused")
    assert.strictEqual(keys({ type: "text" }, { type: "text", looseCollation: true }), "Refused")
    assert.strictEqual(keys({ type: "uuid" }, { type: "text" }), "Refused")
  })
})
