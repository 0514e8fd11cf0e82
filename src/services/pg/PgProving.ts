/** How one PostgreSQL table is compared little by little, and where Replit's side keeps how far that has come. */
import { Effect } from "effect"
import type { Proof } from "../../domain/Proof.ts"
import type { Key } from "../../domain/SyncedTable.ts"
import { display } from "../../domain/TableName.ts"
import type { Hashed, Proving } from "../Database.ts"
import { patient } from "./PgComparison.ts"
import { columnsOf } from "./PgJournal.ts"
import type { PgSession, Row } from "./PgSession.ts"
import type { Stems } from "./Stems.ts"

/** The part of `Database` that proves. */
export const make = (session: PgSession, stems: Stems): Proving => {
  const { query, transaction } = session
  return {
    boundary: (table, after, rows) =>
      Effect.gen(function*() {
        const text = stems.readingSqlOf(table).boundary(after)
        const found = yield* transaction(query(text, [rows - 1, ...(after ?? [])]), { ...patient, table: table.name })
        return found[0] === undefined ? null : JSON.parse(String(found[0].key)) as Key
      }),

    stretch: (table, stretch) =>
      Effect.gen(function*() {
        const text = stems.readingSqlOf(table).stretch(stretch)
        const found = (yield* transaction(query(text, boundsOf(stretch)), { ...patient, table: table.name }))[0]!
        return { rows: Number(found.rows), hash: String(found.hash) }
      }),

    hashes: (table, stretch) =>
      Effect.gen(function*() {
        const text = stems.readingSqlOf(table).hashes(stretch)
        const found = yield* transaction(query(text, boundsOf(stretch)), { ...patient, table: table.name })
        return found.map(hashedOf)
      }),

    hashesOf: (table, keys) =>
      Effect.gen(function*() {
        if (keys.length === 0) return []
        const text = stems.readingSqlOf(table).hashesOf
        const found = yield* transaction(query(text, columnsOf(table, keys)), { ...patient, table: table.name })
        const byPlace = new Map(found.map((row) => [Number(row.asked), hashedOf(row)]))
        return keys.map((_, place) => byPlace.get(place) ?? null)
      }),

    proofs: Effect.map(query(allProofs), (rows) => new Map(rows.map(proofOf))).pipe(
      Effect.catchTag("ActionNeeded", "SchemaDrifted", "WorldRefused", (error) =>
        Effect.flatMap(
          query("select to_regclass('vaivem.proofs') is not null as there"),
          (rows) => rows[0]?.there === "t" ? Effect.fail(error) : Effect.succeed(new Map<string, Proof>())
        ))
    ),

    noteProof: ({ name, schema }, { current, last }) =>
      Effect.asVoid(query(noteProof, [schema, name, jsonOf(current), jsonOf(last)]))
  }
}

const boundsOf = ({ after, upTo }: { readonly after: Key | null; readonly upTo: Key | null }) => [
  ...(after ?? []),
  ...(upTo ?? [])
]

const hashedOf = (row: Row): Hashed => ({ key: JSON.parse(String(row.key)), hash: String(row.hash) })

const allProofs = `select p.table_schema, p.table_name, p.current_round::text as current, p.last_round::text as last
  from vaivem.proofs p`

/** Nothing is noted of a table whose capture is gone by now. */
const noteProof = `insert into vaivem.proofs as p (table_schema, table_name, current_round, last_round)
  select t.table_schema, t.table_name, $3::jsonb, $4::jsonb from vaivem.tables t
  where t.table_schema = $1 and t.table_name = $2
  on conflict (table_schema, table_name) do update set current_round = excluded.current_round,
    last_round = excluded.last_round, proven_at = clock_timestamp()`

const proofOf = (row: Row): readonly [string, Proof] => [
  display({ schema: String(row.table_schema), name: String(row.table_name) }),
  { current: JSON.parse(row.current ?? "null"), last: JSON.parse(row.last ?? "null") }
]

const jsonOf = (value: unknown) => value === null ? null : JSON.stringify(value)
