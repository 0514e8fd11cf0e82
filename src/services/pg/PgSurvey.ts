/** What a first contact would meet in one PostgreSQL table. Reads only, and touches nothing of ours: it may not be there. */
import { Effect } from "effect"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import type { LookedUp, Survey, Twins } from "../Database.ts"
import { uniqueIndexes } from "./explainRefusal.ts"
import { patient } from "./PgComparison.ts"
import type { PgSession, Row } from "./PgSession.ts"
import type { Stems } from "./Stems.ts"

/** The part of `Database` that looks before anything is installed. */
export const make = (session: PgSession, stems: Stems): Survey => ({
  versions: (table, ranges) =>
    Effect.gen(function*() {
      const tx = yield* session.begin({ ...patient, table: table.name })
      return tx.copyTo(stems.readingSqlOf(table).copyVersions(ranges))
    }),

  lookUp: (table, keys) =>
    Effect.gen(function*() {
      const columns = uniqueColumnsOf(table)
      const rows = yield* session.transaction(
        session.query(stems.readingSqlOf(table).lookUp(columns), transposed(keys, table.key.length)),
        { ...patient, table: table.name }
      )
      return rows.map((row): LookedUp => ({
        asked: Number(row.asked),
        key: JSON.parse(String(row.key)),
        texts: JSON.parse(String(row.texts))
      }))
    }),

  twins: (table, rows) =>
    Effect.gen(function*() {
      const { name } = table
      const indexes = (yield* session.query(uniqueIndexes, [name.schema, name.name, null])).map(indexOf)
      const canBeAsked = ({ columns }: Index) => columns.every((column) => isComparable(table, column))
      const sql = stems.readingSqlOf(table)
      const asked = yield* Effect.forEach(indexes.filter(canBeAsked), (index) => {
        const columns = index.columns
        const found = session.transaction(
          session.query(sql.twins(index, columns), [
            ...transposed(rows.map(({ key }) => key), table.key.length),
            ...columns.map((column) => rows.map(({ texts }) => texts[column] ?? null))
          ]),
          // An extension's type has its operators where the role's search_path says.
          { ...patient, table: name, searchPath: "theirs" }
        )
        return Effect.map(found, (twins): Twins => ({
          found: twins.map((row) => ({
            index: index.name,
            here: JSON.parse(String(row.key)),
            there: rows[Number(row.asked)]!.key
          })),
          skipped: []
        })).pipe(
          // A value that this side's type can't even hold, as an enum's label: some row would wait, but for another reason.
          Effect.catchTag("RowRefused", () => Effect.succeed<Twins>({ found: [], skipped: [index.name] }))
        )
      })
      return {
        found: asked.flatMap(({ found }) => found),
        skipped: [
          ...indexes.filter((index) => !canBeAsked(index)).map((index) => index.name),
          ...asked.flatMap(({ skipped }) => skipped)
        ]
      }
    }),

  rowBytes: (table) =>
    Effect.map(
      session.transaction(session.query(stems.readingSqlOf(table).rowBytes), { ...patient, table: table.name }),
      (rows) => rows[0]?.bytes == null ? null : Number(rows[0].bytes)
    )
})

interface Index {
  readonly name: string
  readonly expressions: ReadonlyArray<string>
  readonly predicate: string | null
  readonly nullsEqual: boolean
  readonly columns: ReadonlyArray<string>
}

const indexOf = (row: Row): Index => ({
  name: String(row.name),
  expressions: JSON.parse(String(row.expressions)),
  predicate: row.predicate ?? null,
  nullsEqual: row.nulls_equal === "t",
  columns: JSON.parse(String(row.columns))
})

/** Those of either side: what one side's index compares may be in none of the other's. */
const uniqueColumnsOf = (table: SyncedTable): ReadonlyArray<string> => {
  const { external, replit } = table.shapes
  const inIndex = new Set([...replit.uniqueColumns, ...external.uniqueColumns])
  return table.columns.filter((column) => inIndex.has(column))
}

/** A column that travels, whose values are the same texts on both sides. */
const isComparable = (table: SyncedTable, name: string): boolean => {
  const { external, replit } = table.shapes
  const baseIn = ({ columns }: typeof replit) => columns.find((column) => column.name === name)?.base
  return table.columns.includes(name) && baseIn(replit) === baseIn(external)
}

/** An array of texts for each key column. */
const transposed = (keys: ReadonlyArray<Key>, columns: number): ReadonlyArray<ReadonlyArray<string>> =>
  Array.from({ length: columns }, (_, index) => keys.map((key) => key[index]!))
