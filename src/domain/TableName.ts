/**
 * A table's name, and the SQL spelling of names: how people write them in settings and how messages show them.
 *
 * Names are read as PostgreSQL reads them: unquoted ones are folded to lower case (ASCII letters only, as a UTF-8
 * server does), quoted ones stay as they are. Unlike PostgreSQL, a keyword such as `user` needs no quotes here, a
 * name of more than 63 bytes is refused instead of cut, and a table without a schema is in `public`, whatever the
 * search_path says.
 */
import { Either } from "effect"

export interface TableName {
  readonly schema: string
  readonly name: string
}

/** What `SYNC_TABLES` and `SYNC_EXCLUDE` say. */
export interface Selection {
  /** Tables by name, each once. */
  readonly names: ReadonlyArray<TableName>
  /** Schemas whose tables are all meant (`*` is `public.*`), each once. */
  readonly schemas: ReadonlyArray<string>
}

/** What `SYNC_STAMP` and `SYNC_CONFLICT_POLICY` say: a value for all tables, and values for single ones. */
export interface Assignments<A extends string = string> {
  readonly default?: A
  /** By `display`ed table name. */
  readonly byTable: ReadonlyMap<string, A>
}

/** Reads one table name; the left is a sentence that says what is wrong and where. */
export const parse = (text: string): Either.Either<TableName, string> =>
  Either.gen(function*() {
    const tokens = yield* tokenize(text)
    const { name, next } = yield* tableAt(tokens, 0)
    return isEnd(tokens, next) ? name : yield* unexpected(tokens, next, "the end")
  })

/**
 * Reads comma-separated table names, `*` for all tables of `public` and `schema.*` for those of a schema, at least one;
 * what comes again is dropped.
 */
export const parseSelection = (text: string): Either.Either<Selection, string> =>
  Either.gen(function*() {
    const tokens = yield* tokenize(text)
    if (tokens.length === 1) return yield* Either.left("no table is named")
    const names = new Map<string, TableName>()
    const schemas = new Set<string>()
    let at = 0
    while (true) {
      const wildcard = yield* wildcardAt(tokens, at)
      const { name, next } = wildcard === null ? yield* tableAt(tokens, at) : { name: null, next: wildcard.next }
      if (name !== null) names.set(display(name), name)
      if (wildcard !== null) schemas.add(wildcard.schema)
      if (isEnd(tokens, next)) return { names: [...names.values()], schemas: [...schemas] }
      at = yield* pastComma(tokens, next)
    }
  })

/** Reads comma-separated columns, `perfis.email` or `schema.table.column`, of tables that are `known`. */
export const parseColumns = (
  text: string,
  known: (table: TableName) => boolean
): Either.Either<ReadonlyArray<{ readonly table: TableName; readonly column: string }>, string> =>
  Either.gen(function*() {
    const tokens = yield* tokenize(text)
    const columns: Array<{ readonly table: TableName; readonly column: string }> = []
    let at = 0
    while (true) {
      const { column, next, table } = yield* columnAt(tokens, at)
      if (!known(table)) return yield* Either.left(`${display(table)} is not one of the tables in SYNC_TABLES`)
      columns.push({ table, column })
      if (isEnd(tokens, next)) return columns
      at = yield* pastComma(tokens, next)
    }
  })

/** Whether a table is named, or in a schema that is meant whole. */
export const isSelected = ({ names, schemas }: Selection, table: TableName): boolean =>
  schemas.includes(table.schema) || names.some((name) => display(name) === display(table))

/**
 * Reads `updated_at`, `perfis=atualizado_em` and mixtures of them. A value is a name or a word with hyphens, folded
 * like a name unless it is quoted. Only tables that are `known` can be assigned to.
 */
export const parseAssignments = (
  text: string,
  known: (table: TableName) => boolean
): Either.Either<Assignments, string> =>
  Either.gen(function*() {
    const tokens = yield* tokenize(text)
    const byTable = new Map<string, string>()
    const general: Array<string> = []
    let at = 0
    while (true) {
      const item = yield* assignmentAt(tokens, at)
      if (item.table === null) general.push(item.value)
      else yield* assign(byTable, known, item.table, item.value)
      if (general.length > 1) return yield* Either.left(`${general.join(" and ")} are both given for all tables`)
      if (isEnd(tokens, item.next)) break
      at = yield* pastComma(tokens, item.next)
    }
    return general[0] === undefined ? { byTable } : { default: general[0], byTable }
  })

/** The shortest faithful SQL spelling: quoted only where needed, the schema left out when it is `public`. */
export const display = (table: TableName): string =>
  table.schema === "public" ? shortest(table.name) : `${shortest(table.schema)}.${shortest(table.name)}`

/** The name for use in a statement: always with its schema, always quoted. */
export const qualified = (table: TableName): string => `${quote(table.schema)}.${quote(table.name)}`

/** An identifier in double quotes, fit for a statement. */
export const quote = (identifier: string): string => `"${identifier.replaceAll("\"", "\"\"")}"`

const shortest = (identifier: string): string =>
  plain.test(identifier) && !keywords.has(identifier) ? identifier : quote(identifier)

/** Names that keep their spelling without quotes. Capitals beyond ASCII are quoted: some encodings fold them. */
const plain = /^[_\p{Ll}\p{Lo}\p{Lm}][_$0-9\p{Ll}\p{Lo}\p{Lm}\p{M}]*$/u

interface Token {
  readonly kind: "word" | "quoted" | "." | "," | "=" | "end"
  /** What is meant: a quoted name without its quotes, everything else as written. */
  readonly text: string
  /** Position of its first character, counted from 1. */
  readonly at: number
}

const shape = /[ \t\r\n\f\v]+|(?<quoted>"(?:[^"]|"")*")|(?<open>")|(?<mark>[.,=])|(?<word>[^ \t\r\n\f\v".,=]+)/gu

const tokenize = (text: string): Either.Either<ReadonlyArray<Token>, string> => {
  const tokens: Array<Token> = []
  let at = 1
  for (const match of text.matchAll(shape)) {
    const { mark, open, quoted, word } = match.groups ?? {}
    if (open !== undefined) return Either.left(`the double quote at character ${at} is never closed`)
    if (quoted !== undefined) tokens.push({ kind: "quoted", text: quoted.slice(1, -1).replaceAll("\"\"", "\""), at })
    if (word !== undefined) tokens.push({ kind: "word", text: word, at })
    if (mark !== undefined) tokens.push({ kind: mark as "." | "," | "=", text: mark, at })
    at += [...match[0]].length
  }
  tokens.push({ kind: "end", text: "", at })
  return Either.right(tokens)
}

/** The token at an index; past the end it is the end itself, which is always there. */
const token = (tokens: ReadonlyArray<Token>, index: number): Token => tokens[index] ?? { kind: "end", text: "", at: 1 }

const isEnd = (tokens: ReadonlyArray<Token>, index: number): boolean => token(tokens, index).kind === "end"

const tableAt = (tokens: ReadonlyArray<Token>, index: number) =>
  Either.gen(function*() {
    const first = yield* identifier(token(tokens, index), "a table name")
    if (token(tokens, index + 1).kind !== ".") return { name: { schema: "public", name: first }, next: index + 1 }
    const name = yield* identifier(token(tokens, index + 2), "a table name after the dot")
    const third = token(tokens, index + 3)
    if (third.kind === ".") {
      return yield* Either.left(`the second dot at character ${third.at} is one too many: write schema.table`)
    }
    return { name: { schema: first, name }, next: index + 3 }
  })

const columnAt = (tokens: ReadonlyArray<Token>, index: number) =>
  Either.gen(function*() {
    const names = [yield* identifier(token(tokens, index), "a table name")]
    let next = index + 1
    while (names.length < 3 && token(tokens, next).kind === ".") {
      names.push(yield* identifier(token(tokens, next + 1), "a name after the dot"))
      next += 2
    }
    const [column, name, schema = "public"] = names.toReversed()
    return name === undefined
      ? yield* unexpected(tokens, next, `a dot and a column of ${names.join(".")}`)
      : { table: { schema, name }, column: column!, next }
  })

/** A wildcard that begins here, or null. */
const wildcardAt = (tokens: ReadonlyArray<Token>, index: number) =>
  Either.gen(function*() {
    const isStar = (at: number) => token(tokens, at).kind === "word" && token(tokens, at).text === "*"
    const isDotted = token(tokens, index + 1).kind === "."
    if (isStar(index) && isDotted) {
      return yield* Either.left(
        `* in the place of a schema, at character ${token(tokens, index).at}: name the schemas, as in *, loja.*`
      )
    }
    if (isStar(index)) return { schema: "public", next: index + 1 }
    if (!isDotted || !isStar(index + 2)) return null
    const schema = yield* identifier(token(tokens, index), "a schema")
    if (/^(vaivem|information_schema|pg_.*)$/.test(schema)) {
      return yield* Either.left(`${schema}.* at character ${token(tokens, index).at} holds no table of yours`)
    }
    return { schema, next: index + 3 }
  })

const assignmentAt = (tokens: ReadonlyArray<Token>, index: number) =>
  Either.gen(function*() {
    const hasTable = token(tokens, index + 1).kind === "=" || token(tokens, index + 1).kind === "."
    if (!hasTable) return { table: null, value: yield* value(token(tokens, index), "a value"), next: index + 1 }
    const { name, next } = yield* tableAt(tokens, index)
    if (token(tokens, next).kind !== "=") return yield* unexpected(tokens, next, `= after ${display(name)}`)
    return { table: name, value: yield* value(token(tokens, next + 1), "a value after ="), next: next + 2 }
  })

const assign = (
  byTable: Map<string, string>,
  known: (table: TableName) => boolean,
  name: TableName,
  assigned: string
) => {
  const table = display(name)
  if (!known(name)) return Either.left(`${table} is not one of the tables in SYNC_TABLES`)
  if (byTable.has(table)) return Either.left(`${table} is given twice`)
  byTable.set(table, assigned)
  return Either.right(undefined)
}

const pastComma = (tokens: ReadonlyArray<Token>, index: number) =>
  token(tokens, index).kind === "," ? Either.right(index + 1) : unexpected(tokens, index, "a comma or the end")

const unexpected = (tokens: ReadonlyArray<Token>, index: number, expected: string): Either.Either<never, string> => {
  const { at, kind, text } = token(tokens, index)
  const found = kind === "end" ? "the text ends" : `there is ${kind === "quoted" ? quote(text) : text}`
  return Either.left(`${expected} is expected at character ${at}, but ${found}`)
}

const identifier = (found: Token, expected: string): Either.Either<string, string> =>
  name(found, expected, /^[\p{L}_][\p{L}\p{M}\p{N}_$]*$/u)

/** Values may hold hyphens, as in `external-wins`. */
const value = (found: Token, expected: string): Either.Either<string, string> =>
  name(found, expected, /^[\p{L}_][\p{L}\p{M}\p{N}_$-]*$/u)

const name = (found: Token, expected: string, unquoted: RegExp): Either.Either<string, string> => {
  if (found.kind !== "word" && found.kind !== "quoted") return unexpected([found], 0, expected)
  const at = `at character ${found.at}`
  if (found.kind === "word" && !unquoted.test(found.text)) {
    return Either.left(`${found.text} ${at} is no plain name; put it in double quotes, as in "Tabela Estranha"`)
  }
  if (found.text === "") return Either.left(`the name ${at} is empty`)
  if (found.text.includes("\0")) return Either.left(`the name ${at} holds a NUL character, which no name can`)
  if (/\p{Surrogate}/u.test(found.text)) return Either.left(`the name ${at} is not valid Unicode`)
  const bytes = new TextEncoder().encode(found.text).length
  if (bytes > 63) return Either.left(`the name ${at} has ${bytes} bytes; PostgreSQL's names have at most 63`)
  return Either.right(found.kind === "word" ? foldAscii(found.text) : found.text)
}

const foldAscii = (text: string): string => text.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase())

/** What PostgreSQL (18) does not take as a table's name without quotes: `pg_get_keywords()`, categories R and T. */
const keywords = new Set(
  (
    "all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation " +
    "column concurrently constraint create cross current_catalog current_date current_role current_schema " +
    "current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for " +
    "foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral " +
    "leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer " +
    "overlaps placing primary references returning right select session_user similar some symmetric system_user " +
    "table tablesample then to trailing true union unique user using variadic verbose when where window with"
  ).split(" ")
)
