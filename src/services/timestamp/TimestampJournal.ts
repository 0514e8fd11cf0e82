/** Conflicts and quarantine of an external database on which nothing may be installed: the records are in the ledger. */
import { Effect } from "effect"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import { qualified, type TableName } from "../../domain/TableName.ts"
import type { Journal, SideStatus } from "../Database.ts"
import { insertProbe } from "../pg/insertProbe.ts"
import type { Records } from "../pg/PgJournal.ts"
import {
  isUndecided,
  journalOwn,
  lookUp,
  noteRefusal,
  nothingOf,
  notRestorable,
  quarantinedById,
  restoreRow,
  rowsIn
} from "../pg/PgJournal.ts"
import type { PgSession, Transaction } from "../pg/PgSession.ts"
import type { Stems } from "../pg/Stems.ts"
import type { TableSql } from "../pg/TableSql.ts"
import { keysText, type Ledger } from "./Ledger.ts"
import * as Mount from "./Mount.ts"
import { commit } from "./TimestampChangelog.ts"

const records: Records = { conflicts: "vaivem.ledger_conflicts", quarantine: "vaivem.ledger_quarantine" }

/** The part of `Database` that remembers and explains. */
export const make = (session: PgSession, stems: Stems, ledger: Ledger): Journal => {
  const { query, transaction } = ledger.session
  const found = lookUp(ledger.session, "external", records)

  /** A transaction on external with the entries of one key, whose losers go into the ledger. */
  const onRow = <A>(
    table: SyncedTable,
    key: ReadonlyArray<string>,
    change: (tx: Transaction, sql: TableSql) => Effect.Effect<A, SyncError>
  ) =>
    Effect.scoped(Effect.gen(function*() {
      const sql = Mount.sqlOf(table, yield* ledger.moveOn)
      const script = Mount.makeQueue(sql, true)
      const tx = yield* session.begin({ table: table.name, searchPath: "theirs", script })
      yield* Mount.fill(tx, sql, yield* ledger.look(table.name, "[]", sql.hasInexactKey ? null : keysText([key])))
      const result = yield* change(tx, sql)
      yield* commit(tx, sql, ledger, table, "select '[]'::text as rows")
      return result
    }))

  return {
    conflicts: (filter) => ifInstalled(ledger, found.conflicts(filter), []),
    conflict: (id) => ifInstalled(ledger, found.conflict(id), null),
    quarantined: (table) => ifInstalled(ledger, found.quarantined(table), []),
    retryQuarantined: found.retryQuarantined,
    keep: found.keep,
    runs: () => Effect.succeed([]),

    status: (names) =>
      Effect.gen(function*() {
        const tables = yield* Effect.forEach(names, (name) => tableStatus(session, ledger, name))
        return { tables, lastRun: null, lastCycleAt: null, lease: null } satisfies SideStatus
      }),

    restore: (table, id) =>
      Effect.gen(function*() {
        const conflict = yield* found.conflict(id)
        if (conflict === null || conflict.restoredAt !== null) {
          return yield* notRestorable("external", table, id, conflict)
        }
        yield* onRow(
          table,
          conflict.key,
          (tx, sql) => restoreRow({ side: "external", query: tx.query }, table, sql, conflict)
        )
        yield* query("update vaivem.ledger_conflicts set restored_at = clock_timestamp() where id = $1::uuid", [
          conflict.id
        ])
        // Scan and sweep would find it, too, but not before they are due.
        yield* ledger.note(table.name, [conflict.key], conflict.lost === null ? "DELETE" : "UPSERT", "now")
      }),

    edit: (table, id, changes) =>
      Effect.gen(function*() {
        const conflict = yield* found.conflict(id)
        if (conflict === null) return yield* notRestorable("external", table, id, conflict)
        yield* onRow(
          table,
          conflict.key,
          (tx, sql) => restoreRow({ side: "external", query: tx.query }, table, sql, conflict, changes)
        )
        yield* found.keep(conflict.id)
        yield* ledger.note(table.name, [conflict.key], "UPSERT", "now")
      }),

    quarantine: (table, refusals) =>
      Effect.gen(function*() {
        if (refusals.length === 0) return
        const tableId = yield* ledger.idOf(table.name)
        const newest = `select max(p.change_id) as id from vaivem.ledger_pending p
          where p.table_id = ${tableId} and p.key = $1::text[]`
        const text = noteRefusal(records, stems.readingSqlOf(table).here, newest)
        yield* transaction(
          Effect.forEach(
            refusals,
            ({ blockedBy, constraint, key, message, sqlState }) =>
              query(text, [key, sqlState, message, constraint, blockedBy])
          )
        )
      }),

    due: (table, limit) =>
      Effect.map(
        query(
          `select to_jsonb(q.key)::text as key from vaivem.ledger_quarantine q
           where q.table_schema = $1 and q.table_name = $2 and (q.next_attempt_at <= clock_timestamp()
             or q.change_id < (select max(p.change_id) from vaivem.ledger_pending p
               join vaivem.ledger_tables t on t.id = p.table_id
               where t.table_schema = $1 and t.table_name = $2 and p.key = q.key))
           order by q.next_attempt_at limit $3::bigint`,
          [table.name.schema, table.name.name, limit]
        ),
        (rows) => rows.map(({ key }) => JSON.parse(String(key)))
      ),

    mark: (table, keys) => keys.length === 0 ? Effect.void : ledger.note(table.name, keys, "MARK", "never"),

    discard: (table, id) =>
      Effect.gen(function*() {
        const entry = yield* quarantinedById(ledger.session, "external", records, table, id)
        yield* onRow(table, entry.key, (tx, sql) =>
          Effect.gen(function*() {
            yield* tx.query(`select from ${sql.t} t where ${sql.keyIs("t")} for no key update`, entry.key)
            yield* tx.query(journalOwn(sql, table, "discard", entry.key.length), [...entry.key, entry.key])
          }))
        yield* transaction(Effect.all([
          query(
            `delete from vaivem.ledger_pending p using vaivem.ledger_tables t where t.id = p.table_id
             and t.table_schema = $1 and t.table_name = $2 and p.key = $3::text[]`,
            [table.name.schema, table.name.name, entry.key]
          ),
          query("delete from vaivem.ledger_quarantine where id = $1::uuid", [entry.id])
        ]))
      }),

    insertProbe: (table, marker) => insertProbe(session, table, marker),

    read: (table, key) =>
      Effect.gen(function*() {
        const s = stems.readingSqlOf(table)
        const rows = yield* session.transaction(
          session.query(`select ${s.tTexts}::text as texts from ${s.t} t where ${s.keyIs("t")}`, key),
          { table: table.name }
        )
        return rows[0] === undefined ? null : JSON.parse(String(rows[0].texts)) as Record<string, string | null>
      }),

    remove: (table, key) =>
      Effect.gen(function*() {
        const s = stems.readingSqlOf(table)
        const gone = yield* session.transaction(
          session.query(`delete from ${s.t} t where ${s.keyIs("t")} returning 1 as gone`, key),
          { table: table.name, searchPath: "theirs" }
        )
        // A sweep would find it, too, but not before it is due.
        if (gone.length > 0) yield* ledger.note(table.name, [key], "DELETE", "now")
      })
  }
}

/** Before the first set-up there are no records. */
const ifInstalled = <A>(ledger: Ledger, asked: Effect.Effect<A, SyncError>, otherwise: A) =>
  Effect.flatMap(ledger.isInstalled, (there) => there ? asked : Effect.succeed(otherwise))

const tableStatus = Effect.fnUntraced(function*(session: PgSession, ledger: Ledger, name: TableName) {
  const relation = qualified(name)
  const there = (yield* session.query("select to_regclass($1) is not null as there", [relation]))[0]!
  const rows = there.there === "t"
    ? yield* rowsIn(session, name)
    : null
  const none = nothingOf(name, rows)
  if (!(yield* ledger.isInstalled)) return none
  const counts = (yield* ledger.session.query(
    `select count(distinct p.key) as pending,
       extract(epoch from clock_timestamp() - min(p.changed_at) filter (where p.changed_at > '-infinity'))::bigint as oldest,
       (select count(*) from vaivem.ledger_quarantine where table_schema = $1 and table_name = $2) as quarantined,
       (select count(*) from vaivem.ledger_conflicts where table_schema = $1 and table_name = $2) as conflicts,
       (select count(*) from vaivem.ledger_conflicts where table_schema = $1 and table_name = $2 and restored_at is null) as open,
       (select count(*) from vaivem.ledger_conflicts where table_schema = $1 and table_name = $2 and ${isUndecided}) as undecided
     from vaivem.ledger_tables t join vaivem.ledger_pending p on p.table_id = t.id
     where t.table_schema = $1 and t.table_name = $2`,
    [name.schema, name.name]
  ))[0]!
  return {
    name,
    rows,
    pending: Number(counts.pending),
    quarantined: Number(counts.quarantined),
    conflicts: Number(counts.conflicts),
    open: Number(counts.open),
    undecided: Number(counts.undecided),
    oldestPendingSeconds: counts.oldest === null ? null : Number(counts.oldest)
  }
})
