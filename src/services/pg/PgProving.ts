/** How one PostgreSQL table is compared little by little, and where Replit's side keeps how far that has come. */
import { Effect } from "effect"
import type { Proof } from "../../domain/Proof.ts"
import type { Key } from "../../domain/SyncedTable.ts"
import { display } from "../../domain/TableName.ts"
import type { Hashed, Proofs, Proving } from "../Database.ts"
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
        const found = yield* transaction(query(text, [rows - 1, ...(after ?? [])]), { table: table.name })
        return found[0] === undefined ? null : JSON.parse(String(found[0].key)) as Key
      }),

    stretch: (table, stretch) =>
      Effect.gen(function*() {
        const text = stems.readingSqlOf(table).stretch(stretch)
        const found = (yield* transaction(query(text, boundsOf(stretch)), { table: table.name }))[0]!
        return { rows: Number(found.rows), hash: String(found.hash) }
      }),

    hashes: (table, stretch) =>
      Effect.gen(function*() {
        const text = stems.readingSqlOf(table).hashes(stretch)
        const found = yield* transaction(query(text, boundsOf(stretch)), { table: table.name })
        return found.map(hashedOf)
      }),

    hashesOf: (table, keys) =>
      Effect.gen(function*() {
        if (keys.length === 0) return []
        const text = stems.readingSqlOf(table).hashesOf
        const found = yield* transaction(query(text, columnsOf(table, keys)), { table: table.name })
        const byPlace = new Map(found.map((row) => [Number(row.asked), String(row.hash)]))
        return keys.map((_, place) => byPlace.get(place) ?? null)
      }),

    proofs: Effect.map(query(allProofs), proofsOf).pipe(
      Effect.catchTag("ActionNeeded", "SchemaDrifted", "WorldRefused", (error) =>
        Effect.flatMap(
          query("select to_regclass('vaivem.proofs') is not null as there"),
          (rows) => rows[0]?.there === "t" ? Effect.fail(error) : Effect.succeed(proofsOf([]))
        ))
    ),

    noteProof: ({ name, schema }, { current, last }) =>
      Effect.asVoid(query(noteProof, [schema, name, jsonOf(current), jsonOf(last)])),

    noteTurn: (inMs) =>
      Effect.asVoid(query(
        "update vaivem.pairs set prove_after = clock_timestamp() + $1::bigint * interval '1 millisecond'",
        [inMs]
      ))
  }
}

const boundsOf = ({ after, upTo }: { readonly after: Key | null; readonly upTo: Key | null }) => [
  ...(after ?? []),
  ...(upTo ?? [])
]

const hashedOf = (row: Row): Hashed => ({ key: JSON.parse(String(row.key)), hash: String(row.hash) })

/** One row without a table when there is none. */
const allProofs = `select p.table_schema, p.table_name, p.current_round::text as current, p.last_round::text as last,
    ceil(extract(epoch from o.prove_after - clock_timestamp()) * 1000)::text as due_in_ms
  from vaivem.pairs o left join vaivem.proofs p on true order by p.looked_at, p.table_schema, p.table_name`

/** Nothing is noted of a table whose capture is gone by now. */
const noteProof = `insert into vaivem.proofs (table_schema, table_name, current_round, last_round)
  select t.table_schema, t.table_name, $3::jsonb, $4::jsonb from vaivem.tables t
  where t.table_schema = $1 and t.table_name = $2
  on conflict (table_schema, table_name) do update set current_round = excluded.current_round,
    last_round = excluded.last_round, looked_at = excluded.looked_at`

const proofsOf = (rows: ReadonlyArray<Row>): Proofs => ({
  of: new Map(
    rows.filter((row) => row.table_name !== null).map((row): readonly [string, Proof] => [
      display({ schema: String(row.table_schema), name: String(row.table_name) }),
      { current: JSON.parse(row.current ?? "null"), last: JSON.parse(row.last ?? "null") }
    ])
  ),
  dueInMs: Number(rows[0]?.due_in_ms ?? 0)
})

const jsonOf = (value: unknown) => value === null ? null : JSON.stringify(value)
