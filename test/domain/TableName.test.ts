import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck as fc } from "effect"
import {
  display,
  isSelected,
  parse,
  parseAssignments,
  parseColumns,
  parseSelection,
  qualified,
  type TableName
} from "../../src/domain/TableName.ts"

const table = (name: string, schema = "public"): TableName => ({ schema, name })

/** Any name that PostgreSQL can hold, with more of what needs care than chance would bring. */
const identifier = fc.oneof(
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 15 }),
  fc.string({ unit: fc.constantFrom(..."ab_1$AÇçã.\",= ';-"), minLength: 1, maxLength: 15 }),
  fc.constantFrom("user", "order", "public", "perfis", "Tabela Estranha", "a.b", "c\"d", "Ação", "ação", "\u00a0", "🙂")
).filter((name) => !name.includes("\0") && new TextEncoder().encode(name).length <= 63)

const tableName = fc.record({ schema: fc.oneof(fc.constant("public"), identifier), name: identifier })

const accepted: ReadonlyArray<readonly [string, ReadonlyArray<TableName>]> = [
  ["perfis", [table("perfis")]],
  ["loja.pedidos", [table("pedidos", "loja")]],
  ["perfis,loja.pedidos", [table("perfis"), table("pedidos", "loja")]],
  [" perfis ,\n\tloja . pedidos ", [table("perfis"), table("pedidos", "loja")]],
  ["Perfis", [table("perfis")]],
  ["AÇÃO", [table("aÇÃo")]],
  ["ação_2$", [table("ação_2$")]],
  ["user, order", [table("user"), table("order")]],
  ["\"Tabela Estranha\"", [table("Tabela Estranha")]],
  ["\"a.b\".\"c\"\"d\"", [table("c\"d", "a.b")]],
  ["\"Ação\"", [table("Ação")]],
  ["\"a,b=c\"", [table("a,b=c")]],
  ["perfis, public.perfis, \"perfis\", PERFIS", [table("perfis")]],
  ["perfis, \"Perfis\"", [table("perfis"), table("Perfis")]],
  [`"${"é".repeat(31)}x"`, [table(`${"é".repeat(31)}x`)]]
]

const refused: ReadonlyArray<readonly [string, string]> = [
  ["", "no table is named"],
  [" \n", "no table is named"],
  [",", "a table name is expected at character 1, but there is ,"],
  ["perfis,", "a table name is expected at character 8, but the text ends"],
  ["perfis,,b", "a table name is expected at character 8, but there is ,"],
  ["perfis pedidos", "a comma or the end is expected at character 8, but there is pedidos"],
  ["a\"b\"", "a comma or the end is expected at character 2, but there is \"b\""],
  ["🙂,b", "🙂 at character 1 is no plain name"],
  ["perfis, \"b", "the double quote at character 9 is never closed"],
  ["\"🙂\", \"b", "the double quote at character 6 is never closed"],
  ["'perfis'", "'perfis' at character 1 is no plain name; put it in double quotes"],
  ["2fast", "2fast at character 1 is no plain name"],
  ["a-b", "a-b at character 1 is no plain name"],
  ["a\u00a0b", "a\u00a0b at character 1 is no plain name"],
  ["loja.", "a table name after the dot is expected at character 6, but the text ends"],
  ["db.loja.pedidos", "the second dot at character 8 is one too many: write schema.table"],
  ["\"\"", "the name at character 1 is empty"],
  ["\"a\0b\"", "the name at character 1 holds a NUL character"],
  ["x, \"\ud800\"", "the name at character 4 is not valid Unicode"],
  [`"${"é".repeat(32)}"`, "the name at character 1 has 64 bytes; PostgreSQL's names have at most 63"],
  ["a=b", "a comma or the end is expected at character 2, but there is ="]
]

const parseList = (text: string) => Either.map(parseSelection(text), ({ names }) => names)

describe("a list of table names", () => {
  for (const [text, names] of accepted) {
    it(`reads ${JSON.stringify(text)}`, () => assert.deepStrictEqual(parseList(text), Either.right(names)))
  }

  for (const [text, problem] of refused) {
    it(`says what is wrong with ${JSON.stringify(text)}`, () => {
      const found = parseList(text)
      assert.include(Either.isLeft(found) ? found.left : "accepted", problem)
    })
  }

  it.prop(
    "reads back whatever names it shows, in order and once",
    [fc.array(tableName, { minLength: 1 })],
    ([names]) => {
      const once = [...new Map(names.map((name) => [qualified(name), name])).values()]
      assert.deepStrictEqual(parseList(names.map((name) => display(name)).join(" , ")), Either.right(once))
      assert.deepStrictEqual(parseList(names.map((name) => qualified(name)).join(",")), Either.right(once))
    }
  )

  it.prop("never throws, whatever the text", [fc.string({ unit: "binary" })], ([text]) => {
    assert.isTrue(Either.isEither(parseList(text)))
    assert.isTrue(Either.isEither(parseAssignments(text, () => false)))
  })
})

describe("a wildcard among table names", () => {
  const good: ReadonlyArray<readonly [string, ReadonlyArray<TableName>, ReadonlyArray<string>]> = [
    ["*", [], ["public"]],
    ["* , loja . *, Loja.*, perfis", [table("perfis")], ["public", "loja"]],
    ["\"Minha Loja\".*, public.*", [], ["Minha Loja", "public"]],
    ["\"*\", \"*\".a", [table("*"), table("a", "*")], []]
  ]
  for (const [text, names, schemas] of good) {
    it(`reads ${text}`, () => assert.deepStrictEqual(parseSelection(text), Either.right({ names, schemas })))
  }

  const bad: ReadonlyArray<readonly [string, string]> = [
    ["*.*", "* in the place of a schema, at character 1: name the schemas, as in *, loja.*"],
    ["*.perfis", "* in the place of a schema"],
    ["a, vaivem.*", "vaivem.* at character 4 holds no table of yours"],
    ["pg_catalog.*", "pg_catalog.* at character 1 holds no table of yours"],
    ["* perfis", "a comma or the end is expected at character 3, but there is perfis"],
    ["loja_*", "loja_* at character 1 is no plain name"]
  ]
  for (const [text, problem] of bad) {
    it(`says what is wrong with ${text}`, () => {
      const found = parseSelection(text)
      assert.include(Either.isLeft(found) ? found.left : "accepted", problem)
    })
  }
})

describe("a table name", () => {
  it("is shown with quotes and schema only where they are needed", () => {
    assert.strictEqual(display(table("perfis")), "perfis")
    assert.strictEqual(display(table("ação")), "ação")
    assert.strictEqual(display(table("Ação")), "\"Ação\"")
    assert.strictEqual(display(table("çÃo")), "\"çÃo\"")
    assert.strictEqual(display(table("user")), "\"user\"")
    assert.strictEqual(display(table("pedidos", "loja")), "loja.pedidos")
    assert.strictEqual(display(table("c\"d", "a.b")), "\"a.b\".\"c\"\"d\"")
    assert.strictEqual(qualified(table("perfis")), "\"public\".\"perfis\"")
  })

  it("is read alone, and nothing after it", () => {
    assert.deepStrictEqual(parse("loja.pedidos"), Either.right(table("pedidos", "loja")))
    assert.deepStrictEqual(parse("a, b"), Either.left("the end is expected at character 2, but there is ,"))
    assert.isTrue(Either.isLeft(parse("")))
  })
})

describe("assignments to tables", () => {
  const tables = [table("perfis"), table("Tabela Estranha"), table("pedidos", "loja"), table("a=b,c")]
  const read = (text: string) =>
    Either.map(
      parseAssignments(text, (name) => isSelected({ names: tables, schemas: [] }, name)),
      ({ byTable, default: general }) => [general, Object.fromEntries(byTable)]
    )

  const good: ReadonlyArray<readonly [string, string | undefined, Record<string, string>]> = [
    ["updated_at", "updated_at", {}],
    ["Updated_At", "updated_at", {}],
    ["external-wins", "external-wins", {}],
    ["\"Alterado Em\"", "Alterado Em", {}],
    ["perfis=atualizado_em", undefined, { perfis: "atualizado_em" }],
    ["public.perfis = atualizado_em", undefined, { perfis: "atualizado_em" }],
    [
      "updated_at, perfis=atualizado_em,\"Tabela Estranha\"=\"Alterado Em\",loja.pedidos=em",
      "updated_at",
      { perfis: "atualizado_em", "\"Tabela Estranha\"": "Alterado Em", "loja.pedidos": "em" }
    ],
    ["\"a=b,c\"=\"x=y,z\", em", "em", { "\"a=b,c\"": "x=y,z" }]
  ]
  for (const [text, general, byTable] of good) {
    it(`reads ${text}`, () => assert.deepStrictEqual(read(text), Either.right([general, byTable])))
  }

  const bad: ReadonlyArray<readonly [string, string]> = [
    ["clientes=em", "clientes is not one of the tables in SYNC_TABLES"],
    ["\"Perfis\"=em", "\"Perfis\" is not one of the tables in SYNC_TABLES"],
    ["perfis=a,perfis=b", "perfis is given twice"],
    ["a,b", "a and b are both given for all tables"],
    ["perfis=", "a value after = is expected at character 8, but the text ends"],
    ["=x", "a value is expected at character 1, but there is ="],
    ["perfis=a=b", "a comma or the end is expected at character 9, but there is ="],
    ["loja.pedidos", "= after loja.pedidos is expected at character 13, but the text ends"],
    ["", "a value is expected at character 1, but the text ends"]
  ]
  for (const [text, problem] of bad) {
    it(`says what is wrong with ${JSON.stringify(text)}`, () =>
      assert.deepStrictEqual(read(text), Either.left(problem)))
  }

  it.prop("hold for every table that can be named", [tableName, identifier], ([name, column]) => {
    const shown = display(table(column))
    const { byTable } = Either.getOrThrow(parseAssignments(`${display(name)}=${shown}`, () => true))
    assert.deepStrictEqual([...byTable], [[display(name), column]])
  })
})

describe("columns", () => {
  const known = ({ name }: { readonly name: string }) => name === "perfis" || name === "Clientes"

  it("are named with their table, with or without its schema", () => {
    assert.deepStrictEqual(
      parseColumns("perfis.email, loja.\"Clientes\".\"C.P.F.\"", known),
      Either.right([
        { table: { schema: "public", name: "perfis" }, column: "email" },
        { table: { schema: "loja", name: "Clientes" }, column: "C.P.F." }
      ])
    )
  })

  for (
    const [text, problem] of [
      ["perfis", "a dot and a column of perfis is expected at character 7, but the text ends"],
      ["outra.email", "outra is not one of the tables in SYNC_TABLES"],
      ["perfis.email perfis.cpf", "a comma or the end is expected at character 14, but there is perfis"],
      ["loja.perfis.cpf.x", "a comma or the end is expected at character 16, but there is ."]
    ] as const
  ) {
    it(`say what is wrong with ${text}`, () => {
      const found = parseColumns(text, known)
      assert.strictEqual(Either.isLeft(found) ? found.left : "", problem)
    })
  }
})
