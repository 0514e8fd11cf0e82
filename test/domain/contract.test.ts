import { assert, describe, it } from "@effect/vitest"
import { contract } from "../../src/domain/contract.ts"
import type { Column, TableShape } from "../../src/domain/SyncedTable.ts"

const column = (name: string, type: string, more: Partial<Column> = {}): Column => ({
  name,
  type,
  base: type.replace(/\(.*\)/, ""),
  notNull: false,
  hasDefault: false,
  generated: false,
  identity: null,
  ...more
})

const shape = (columns: ReadonlyArray<Column>, key: ReadonlyArray<string> = ["id"]): TableShape => ({
  name: { schema: "public", name: "notas" },
  columns,
  key,
  keyConstraint: "notas_pkey",
  uniqueColumns: [],
  parents: [],
  selfReferencing: false,
  beforeTriggers: [],
  afterTriggers: [],
  sequences: [],
  fingerprint: ""
})

const id = column("id", "integer", { notNull: true })
const rules = { policy: "last-write-wins", stamp: "updated_at", stampNamed: false } as const

const told = (replit: TableShape, external: TableShape) => {
  const found = contract({ replit, external }, rules)
  return [found._tag, found._tag === "Fits" ? found.warnings.join("\n") : found.problem] as const
}

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
      shape([column("id", "bigint", { notNull: true })]),
      "Refused",
      "Or on Replit: ALTER TABLE notas ALTER COLUMN \"id\" TYPE bigint"
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
