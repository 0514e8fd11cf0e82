/** How the rows of one PostgreSQL table are hashed and compared with the other side's, inside the database. */
import { Effect } from "effect"
import type { Compared, Comparison, Digest } from "../Database.ts"
import type { PgSession, Row } from "./PgSession.ts"
import type { Stems } from "./Stems.ts"

/** Hashing a large table takes longer than a batch may: these transactions hold no lock that the app could wait for. */
export const patient = {
  statementTimeoutMs: 600_000,
  settings: [["idle_in_transaction_session_timeout", "600000"]] as const
}

/**
 * Marking 5,000,000 rows would go on for half a minute after this process was killed, beside the one that was started in its
 * place. Only on Linux every version can be asked to look whether somebody still listens.
 */
const whileListening =
  "select set_config('client_connection_check_interval', '1000', true) where version() like '%linux%'"

/**
 * PostgreSQL can't know how few ranges there are, expects one for each row and would sort all of them: 1,000,000 rows took
 * 4.6 s so, and 1.2 s by a hash table in each of its workers.
 */
export const byHash = [["enable_sort", "off"]] as const

/** The part of `Database` that compares. */
export const make = (session: PgSession, stems: Stems): Comparison => ({
  digest: (table, of, within) =>
    Effect.gen(function*() {
      const sql = stems.readingSqlOf(table)
      const rows = yield* session.transaction(session.query(sql.digest(of, within)), {
        ...patient,
        settings: [...patient.settings, ...byHash],
        table: table.name
      })
      return new Map(rows.map((row): readonly [number, Digest] => [
        Number(row.range),
        { rows: Number(row.rows), hash: String(row.hash) }
      ]))
    }),

  digests: (table, ranges) =>
    Effect.gen(function*() {
      const sql = stems.readingSqlOf(table)
      const tx = yield* session.begin({ ...patient, table: table.name })
      return tx.copyTo(sql.copyDigests(ranges))
    }),

  compare: (table, ranges, theirs, { mark, sampleMax, wins = false }) =>
    Effect.scoped(Effect.gen(function*() {
      const sql = yield* stems.sqlOf(table)
      const tx = yield* session.begin({ ...patient, table: table.name, script: [whileListening, sql.makeTheirs] })
      yield* tx.copyFrom(sql.copyTheirs, theirs)
      const results = yield* tx.script([
        "analyze pg_temp.vaivem_theirs",
        ...sql.makeDifferences(ranges),
        sql.differences
      ])
      const sample = yield* tx.query(sql.sample, [sampleMax])
      const marked = mark === "none" ? 0 : (yield* tx.script([sql.markDifferences(mark, wins)]))[0]!.count
      yield* tx.commit()
      return comparedOf(results.at(-1)!.rows[0]!, sample, marked)
    })),

  removeOnlyHere: (table, ranges, theirs) =>
    Effect.scoped(Effect.gen(function*() {
      const sql = yield* stems.sqlOf(table)
      const script = [sql.applying, sql.makeStage("vaivem_stage"), sql.makeTheirs]
      const tx = yield* session.begin({ ...patient, table: table.name, searchPath: "theirs", script })
      yield* tx.copyFrom(sql.copyTheirs, theirs)
      yield* tx.script(["analyze pg_temp.vaivem_theirs", ...sql.makeDifferences(ranges), sql.lockOnlyHere])
      yield* tx.script([sql.stageOnlyHere, "analyze pg_temp.vaivem_stage"])
      const removed = (yield* tx.script([sql.removeStaged]))[0]!.count
      yield* tx.commit([sql.checkDeferred])
      return removed
    }))
})

/** Of the counts and the sample that a comparison leaves. */
export const comparedOf = (counts: Row, sample: ReadonlyArray<Row>, marked: number): Compared => ({
  onlyHere: Number(counts.only_here),
  different: Number(counts.different),
  pending: Number(counts.pending),
  sample: sample.map((row) => ({
    key: JSON.parse(String(row.key)),
    kind: row.only_here === "t" ? "only-here" : "different",
    pending: row.pending === "t"
  })),
  marked
})
