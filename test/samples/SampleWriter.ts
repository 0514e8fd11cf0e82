/** Writes into a sample's tables in transactions, and counts what was written and what the schema refused. */
import { Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { display, quote } from "../../src/domain/TableName.ts"
import type { TestClient, TestSqlError } from "../support/TestClient.ts"
import { SampleError } from "./SampleError.ts"
import type { SampleTable } from "./SampleSchema.ts"

/** Texts by column; a column that is not there has its default. */
export type Row = Readonly<Record<string, string | null>>

/** A table on one side. */
export interface Place {
  readonly side: Side
  readonly app: TestClient
  readonly table: SampleTable
}

/** Rows written in one table of one side; what was refused counts once for each transaction. */
export interface Edits {
  inserted: number
  updated: number
  deleted: number
  refused: number
}

export interface SampleWriter {
  /** False when the schema refused it, or when it was given up. Anything else that fails is a mistake of the editor's. */
  readonly transaction: (
    at: Place,
    body: Effect.Effect<unknown, TestSqlError | SampleError | GivenUp>
  ) => Effect.Effect<boolean, TestSqlError | SampleError>
  /** The following are part of a transaction, and return how many rows they wrote. */
  readonly insert: (at: Place, row: Row) => Written
  readonly update: (at: Place, key: Row, change: Row) => Written
  /** Changes some rows that follow each other by their keys, from the given position on. */
  readonly updateSome: (at: Place, position: number, change: Row) => Written
  readonly remove: (at: Place, key: Row) => Written
  readonly edits: (table: SampleTable) => Readonly<Record<Side, Edits>>
}

type Written = Effect.Effect<number, TestSqlError>

/** What an editor thinks better of. */
export class GivenUp {
  readonly _tag = "GivenUp"
}

export const make = (tables: ReadonlyArray<SampleTable>): SampleWriter => {
  const counts = new Map(
    tables.map(({ name }) => [display(name), { replit: { ...nothing }, external: { ...nothing } }])
  )
  const edits = ({ name }: SampleTable) => counts.get(display(name))!
  /** What the transaction did, to be counted when it is through. */
  let done: Array<() => void> = []

  const write = Effect.fnUntraced(function*(
    { app, side, table }: Place,
    kind: "inserted" | "updated" | "deleted",
    sql: string,
    params: ReadonlyArray<string | null>
  ) {
    const rows = yield* app.query(`${sql} returning 1 as one`, params)
    done.push(() => edits(table)[side][kind] += rows.length)
    return rows.length
  })

  const transaction: SampleWriter["transaction"] = (at, body) =>
    Effect.gen(function*() {
      done = []
      yield* at.app.query("begin")
      yield* body
      yield* at.app.query("commit")
      for (const count of done) count()
      return true
    }).pipe(Effect.catchAll((error) => Effect.zipRight(at.app.query("rollback"), refused(edits, at, error))))

  return {
    edits,
    transaction,
    insert: (at, row) => {
      const names = Object.keys(row)
      const values = names.length === 0
        ? "default values"
        : `(${names.map(quote).join(", ")}) overriding system value values (${
          names.map((_, i) => `$${i + 1}`).join(", ")
        })`
      return write(at, "inserted", `insert into ${at.table.sql} ${values}`, Object.values(row))
    },
    update: (at, key, change) => {
      const names = Object.keys(change)
      const sql = `update ${at.table.sql} set ${assigned(names)} where ${where(at.table, names.length)}`
      return write(at, "updated", sql, [...Object.values(change), ...keyOf(at.table, key)])
    },
    updateSome: (at, position, change) => {
      const key = at.table.key.map(quote).join(", ")
      const sql = `update ${at.table.sql} set ${assigned(Object.keys(change))} where (${key}) in (
        select ${key} from ${at.table.sql} order by ${key} offset ${position} limit 6)`
      return write(at, "updated", sql, Object.values(change))
    },
    remove: (at, key) =>
      write(at, "deleted", `delete from ${at.table.sql} where ${where(at.table, 0)}`, keyOf(at.table, key))
  }
}

const refused = (
  edits: SampleWriter["edits"],
  { side, table }: Place,
  error: TestSqlError | SampleError | GivenUp
): Effect.Effect<boolean, SampleError> => {
  if (error._tag === "GivenUp") return Effect.succeed(false)
  // Data that doesn't fit, constraints, what triggers raise, an index entry that is too long: what an app can be told.
  if (error._tag === "TestSqlError" && /^(22|23|P0001|54000)/.test(error.code ?? "")) {
    return Effect.sync(() => {
      edits(table)[side].refused++
      return false
    })
  }
  return new SampleError({ message: `The editor failed at ${display(table.name)}: ${error.message}` })
}

/** The key's texts, in the key's order. */
const keyOf = (table: SampleTable, row: Row) => table.key.map((name) => row[name]!)

const nothing: Edits = { inserted: 0, updated: 0, deleted: 0, refused: 0 }
const assigned = (names: ReadonlyArray<string>) => names.map((name, i) => `${quote(name)} = $${i + 1}`).join(", ")
const where = (table: SampleTable, after: number) =>
  table.key.map((name, i) => `${quote(name)} = $${i + after + 1}`).join(" and ")
