/** What a claim would take away on external, where nothing may be installed there. Holds and pauses are Replit's to keep. */
import { Effect } from "effect"
import type { Braking } from "../Database.ts"
import { ownStage } from "../pg/applyClaim.ts"
import { countRows, glanceOf, weighStaged } from "../pg/PgBrake.ts"
import { columnsOf } from "../pg/PgJournal.ts"
import type { PgSession } from "../pg/PgSession.ts"
import type { Stems } from "../pg/Stems.ts"
import { keysText, type Ledger } from "./Ledger.ts"
import * as Mount from "./Mount.ts"
import { commit, lookAtStaged } from "./TimestampChangelog.ts"

/** The part of `Database` that the brake asks. */
export const make = (session: PgSession, stems: Stems, ledger: Ledger): Braking => ({
  glance: (table, after) =>
    Effect.gen(function*() {
      const id = yield* ledger.idOf(table.name)
      const queue = `(select p.* from vaivem.ledger_pending p where p.table_id = ${id})`
      return yield* glanceOf(ledger.session, queue, after, null)
    }),

  countRows: (table, most) => countRows(session, stems.readingSqlOf(table), table, most),

  weigh: (table, claim, isOverwrite) =>
    Effect.scoped(Effect.gen(function*() {
      const sql = Mount.sqlOf(table, yield* ledger.moveOn)
      // Never committed: what is here goes with the scope, and nothing is locked.
      const script = [...Mount.makeQueue(sql, true), sql.makeStage(ownStage)]
      const tx = yield* session.begin({ table: table.name, ...patient, script })
      yield* tx.copyFrom(sql.copyStage(ownStage), claim.stream)
      yield* lookAtStaged(tx, sql, ledger, table)
      return yield* weighStaged(tx, sql, claim, isOverwrite)
    })),

  held: Effect.succeed([]),
  holdTable: () => Effect.void,
  releaseTable: () => Effect.void,
  pauses: Effect.succeed([]),
  pauseTable: () => Effect.void,
  resumeTable: () => Effect.void,

  giveUp: (table, keys, { journal, upTo }) =>
    Effect.scoped(Effect.gen(function*() {
      if (keys.length === 0) return 0
      const sql = Mount.sqlOf(table, yield* ledger.moveOn)
      const given = columnsOf(table, keys)
      const tx = yield* session.begin({ table: table.name, ...patient, script: Mount.makeQueue(sql, true) })
      yield* tx.query(sql.lockGiven, given)
      const rows = (yield* tx.query(sql.stampsOf, given))[0]!.rows
      const all = sql.hasInexactKey ? null : keysText(keys)
      yield* Mount.fill(tx, sql, yield* ledger.look(table.name, String(rows), all))
      if (journal) yield* tx.query(sql.journalGiven, [...given, String(upTo)])
      const count = Number((yield* tx.query(sql.giveUp, [...given, String(upTo)]))[0]!.keys)
      yield* commit(tx, sql, ledger, table, "select '[]'::text as rows")
      return count
    }))
})

const patient = { statementTimeoutMs: 60_000 }
