/** How rows of an external database on which nothing may be installed are compared with Replit's. */
import { Effect } from "effect"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import type { Comparison } from "../Database.ts"
import * as PgComparison from "../pg/PgComparison.ts"
import { comparedOf, patient } from "../pg/PgComparison.ts"
import type { PgSession, Transaction } from "../pg/PgSession.ts"
import type { Stems } from "../pg/Stems.ts"
import type { TableSql } from "../pg/TableSql.ts"
import type { Ledger } from "./Ledger.ts"
import * as Mount from "./Mount.ts"
import { commit } from "./TimestampChangelog.ts"

/** The part of `Database` that compares. */
export const make = (session: PgSession, stems: Stems, ledger: Ledger): Comparison => ({
  ...PgComparison.make(session, stems),

  compare: (table, ranges, theirs, { mark, sampleMax, wins = false }) =>
    Effect.scoped(Effect.gen(function*() {
      const sql = Mount.sqlOf(table, yield* ledger.moveOn)
      const script = [...Mount.makeQueue(sql, true), sql.makeTheirs]
      const tx = yield* session.begin({ ...patient, table: table.name, script })
      yield* Mount.fill(tx, sql, yield* ledger.look(table.name, "[]", null))
      yield* tx.copyFrom(sql.copyTheirs, theirs)
      const results = yield* tx.script([
        "analyze pg_temp.vaivem_theirs",
        ...sql.makeDifferences(ranges),
        sql.differences
      ])
      const sample = yield* tx.query(sql.sample, [sampleMax])
      const marked = mark === "none" ? 0 : (yield* tx.script([sql.markDifferences(mark, wins)]))[0]!.count
      if (marked > 0) yield* noteMarks(tx, sql, ledger, table)
      return comparedOf(results.at(-1)!.rows[0]!, sample, marked)
    })),

  removeOnlyHere: (table, ranges, theirs) =>
    Effect.scoped(Effect.gen(function*() {
      const sql = Mount.sqlOf(table, yield* ledger.moveOn)
      const script = [...Mount.makeQueue(sql, true), sql.makeStage("vaivem_stage"), sql.makeTheirs]
      const tx = yield* session.begin({ ...patient, table: table.name, searchPath: "theirs", script })
      yield* tx.copyFrom(sql.copyTheirs, theirs)
      yield* Mount.fill(tx, sql, yield* ledger.look(table.name, "[]", null))
      yield* tx.script(["analyze pg_temp.vaivem_theirs", ...sql.makeDifferences(ranges), sql.lockOnlyHere])
      // What changed since the last scan is pending, and stays.
      const changed = (yield* tx.query(sql.stampsOfOnlyHere))[0]!.rows
      yield* Mount.empty(tx, sql, false)
      yield* Mount.fill(tx, sql, yield* ledger.look(table.name, String(changed), null))
      yield* tx.script([sql.stageOnlyHere, "analyze pg_temp.vaivem_stage"])
      const removed = (yield* tx.script([sql.removeStaged]))[0]!.count
      yield* tx.script([sql.checkDeferred])
      yield* commit(tx, sql, ledger, table, "select '[]'::text as rows")
      return removed
    }))
})

/** Entries without a number are the new ones. Broken off, what was noted is found pending by the next comparison. */
const noteMarks = Effect.fnUntraced(function*(tx: Transaction, sql: TableSql, ledger: Ledger, table: SyncedTable) {
  yield* tx.script([
    `declare marks cursor for select to_jsonb(${sql.keyTexts("p")})::text as key, p.changed_at > '-infinity' as wins
     from ${sql.pending} p where p.change_id is null`
  ])
  while (true) {
    const rows = (yield* tx.script([`fetch ${marksAtOnce} from marks`]))[0]!.rows
    for (const when of ["never", "now"] as const) {
      const keys = rows.filter(({ wins }) => (wins === "t") === (when === "now")).map(({ key }): Key =>
        JSON.parse(String(key))
      )
      if (keys.length > 0) yield* ledger.note(table.name, keys, "MARK", when)
    }
    if (rows.length < marksAtOnce) return
  }
})

const marksAtOnce = 20_000
