/**
 * A dump made for psql, loaded without psql: statements one by one, the data of `COPY … FROM stdin` through
 * pg-copy-streams. What psql alone understands, and what needs the rights of a superuser, is passed over.
 */
import { Effect, Either } from "effect"
import * as Fs from "node:fs/promises"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import * as Copy from "pg-copy-streams"
import type { TestClient, TestSqlError } from "../support/TestClient.ts"
import { SampleError } from "./SampleError.ts"

export interface Step {
  readonly sql: string
  /** For `COPY … FROM stdin`: the lines that follow it. */
  readonly data?: string
}

export const read = (path: string): Effect.Effect<ReadonlyArray<Step>, SampleError> =>
  Effect.tryPromise({
    try: async () => stepsOf(await Fs.readFile(path, "utf8")),
    catch: (cause) => new SampleError({ message: `${path} can't be read: ${String(cause)}` })
  })

/** Loads it as the client's role. Returns what was passed over. */
export const load = Effect.fn("load")(function*(client: TestClient, steps: ReadonlyArray<Step>) {
  const passedOver: Array<string> = []
  for (const { data, sql } of steps) {
    if (/^(create|drop) database\b/i.test(sql)) {
      passedOver.push(firstLine(sql))
      continue
    }
    if (data !== undefined) {
      yield* copy(client, sql, data)
      continue
    }
    const loaded = yield* Effect.either(client.query(sql))
    if (Either.isRight(loaded)) continue
    if (!isHarmless(sql, loaded.left)) {
      return yield* new SampleError({ message: `${loaded.left.message}, at: ${firstLine(sql)}` })
    }
    passedOver.push(firstLine(sql))
  }
  // Dumps leave the session with an empty search_path and other settings.
  yield* client.query("reset all")
  return passedOver
})

/** A setting of another version, and an owner that is not here. */
const isHarmless = (sql: string, { code }: TestSqlError) =>
  code === "42704" && (/^set\b/i.test(sql) || /\bowner to\b/i.test(sql))

const copy = (client: TestClient, sql: string, data: string) =>
  Effect.tryPromise({
    try: () => pipeline(Readable.from([data]), client.raw.query(Copy.from(sql))),
    catch: (cause) => new SampleError({ message: `${String(cause)}, at: ${firstLine(sql)}` })
  })

const firstLine = (sql: string) => sql.split("\n", 1)[0]!.slice(0, 100)

/** Comments, texts in each of their forms, a command of psql, the end of a statement, and all the rest. */
const tokens =
  /--[^\n]*|\/\*[\s\S]*?\*\/|[eE]'(?:\\[\s\S]|[^'\\])*'|'[^']*'|"[^"]*"|\$(\w*)\$[\s\S]*?\$\1\$|^\\[^\n]*|;|[\w]+|[\s\S]/gmy

export const stepsOf = (text: string): ReadonlyArray<Step> => {
  const steps: Array<Step> = []
  let sql = ""
  tokens.lastIndex = 0
  for (let match = tokens.exec(text); match !== null; match = tokens.exec(text)) {
    const [token] = match
    if (token.startsWith("--") || token.startsWith("/*") || token.startsWith("\\")) continue
    if (token !== ";") {
      sql += token
      continue
    }
    const statement = sql.trim()
    sql = ""
    if (statement === "") continue
    if (!/^copy\b[^;]*\bfrom stdin\b/i.test(statement)) {
      steps.push({ sql: statement })
      continue
    }
    const from = text.indexOf("\n", tokens.lastIndex) + 1
    const end = text.startsWith("\\.", from) ? from : text.indexOf("\n\\.", from) + 1
    steps.push({ sql: statement, data: text.slice(from, end) })
    tokens.lastIndex = end + 2
  }
  return sql.trim() === "" ? steps : [...steps, { sql: sql.trim() }]
}
