/**
 * How rows leave and arrive on an external database on which nothing may be installed. The statements are those of
 * `TableSql`; what they work on is brought from the ledger for the length of a transaction (`Mount.ts`).
 *
 * The order of commits around a batch that is applied: first the ledger learns what external will hold (versions that are the
 * sync's own, losers), then external commits, then the ledger learns that it did. A crash in between costs nothing: what was
 * noted as seen and never came is never looked for, and what came and wasn't settled is applied again as a no-op.
 */
import { Duration, Effect } from "effect"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import { display } from "../../domain/TableName.ts"
import { noTokens } from "../../domain/Tokens.ts"
import type { Answer, Changelog, Claim, ClaimRequest, Phase } from "../Database.ts"
import { applyClaim } from "../pg/applyClaim.ts"
import { newestMigration } from "../pg/Migrations.ts"
import { bouncing, byIndex, claimOf, lookedMax, nothingInstalled } from "../pg/PgChangelog.ts"
import { columnsOf } from "../pg/PgJournal.ts"
import type { PgSession, Row, Transaction } from "../pg/PgSession.ts"
import type { Stems } from "../pg/Stems.ts"
import type { TableSql } from "../pg/TableSql.ts"
import { bouncesMax } from "../pg/TableSql.ts"
import { journalCascades } from "./cascades.ts"
import { type Json, keysText, type Ledger } from "./Ledger.ts"
import * as Mount from "./Mount.ts"
import { prints } from "./prints.ts"
import { scan } from "./scan.ts"
import { sweep } from "./sweep.ts"
import { identityOf, refuseAnother, refuseInstalled } from "./TimestampCatalog.ts"

export interface TimestampOptions {
  /** So long may a transaction on external take from setting its stamps to its commit. */
  readonly window: Duration.Duration
  /** How often keys are compared, at most; zero is with each scan. */
  readonly sweepEvery: Duration.Duration
}

/** @param replit what Replit's own objects are named. */
export const make = (
  session: PgSession,
  stems: Stems,
  ledger: Ledger,
  replit: Stems,
  leasing: Pick<Changelog, "lease" | "fence">,
  { sweepEvery, window }: TimestampOptions
): Changelog => ({
  scan: (tables, { sweep: mode }) =>
    Effect.gen(function*() {
      if (tables.length === 0) return
      const known = yield* ledger.tables(tables.map(({ name }) => name))
      yield* scan(session, stems, ledger, tables, known, window)
      for (const table of tables) {
        const it = known.get(display(table.name))
        if (it === undefined || !it.isReconciled) continue
        const isDue = it.sweptAgoMs === null || it.sweptAgoMs >= Duration.toMillis(sweepEvery)
        if (mode === "now" || isDue) yield* sweepIfItFits(session, stems, ledger, replit, table)
      }
    }),

  ask: (question) =>
    Effect.gen(function*() {
      const { countTo = 0, known = null, schemas = [], tables } = question
      const theirs = yield* prints(session, tables, schemas)
      yield* refuseInstalled(theirs.isInstalled)
      if (!(yield* ledger.isInstalled)) return nothingInstalled
      const { query } = ledger.session
      const [about] = yield* query(`select l.*, (select max(m.version) from vaivem.migrations m) as migration
        from (select) one left join vaivem.ledger l on true`)
      const isKept = about!.host !== null
      if (isKept) yield* refuseAnother(about, session.target)
      const rows = yield* query(answers, [
        tables.map(({ schema }) => schema),
        tables.map(({ name }) => name),
        countTo
      ])
      const answered = rows.map((row, index): Answer["tables"][number] => ({
        name: tables[index]!,
        fingerprint: theirs.tables[index]?.fingerprint ?? null,
        captured: row.captured ?? null,
        contract: row.contract ?? null,
        pending: row.pending === "t",
        waiting: Number(row.waiting),
        held: false,
        emptied: row.emptied === "t",
        quarantined: Number(row.quarantined),
        due: Number(row.due)
      }))
      const state = JSON.stringify([
        theirs.listing,
        answered.map(({ captured, contract, fingerprint }) => [captured, contract, fingerprint])
      ])
      return {
        installed: isKept && Number(about!.migration) >= newestMigration,
        identity: isKept ? identityOf(about) : null,
        tokens: noTokens,
        leased: false,
        notDue: false,
        pauses: [],
        folded: null,
        finishedAgoMs: null,
        state,
        tables: state === known ? answered.filter(({ pending, quarantined }) => pending || quarantined > 0) : answered
      } satisfies Answer
    }),

  ...leasing,

  claim: (table, request) =>
    Effect.gen(function*() {
      const sql = Mount.sqlOf(table, yield* ledger.moveOn)
      const tx = yield* session.begin({
        isolation: "repeatable read",
        table: table.name,
        settings: byIndex,
        script: [...Mount.makeQueue(sql, true), sql.makeClaim]
      })
      return yield* request._tag === "Keys"
        ? claimKeys(tx, sql, ledger, table, request)
        : claimNext(tx, sql, ledger, table, request)
    }),

  apply: (table, claim, options) =>
    Effect.gen(function*() {
      const moveOn = yield* ledger.moveOn
      const sql = Mount.sqlOf(table, moveOn)
      return yield* applyClaim(session, table, sql, claim, options, {
        script: Mount.makeQueue(sql, true),
        seedSql: (other, place, tx) =>
          Effect.gen(function*() {
            const theirs = Mount.sqlOf(other, moveOn, place)
            yield* tx.script(Mount.makeQueue(theirs, false))
            // Whatever waits of that table: rows that come along are not to meet it.
            yield* Mount.fill(tx, theirs, withoutQuarantine(yield* ledger.look(other.name, "[]", null)))
            return theirs
          }),
        look: (tx) => lookAtStaged(tx, sql, ledger, table),
        isElsewhere: true,
        beforeMerge: (tx) => journalCascades(tx, sql, ledger),
        commit: (tx) => commit(tx, sql, ledger, table)
      })
    }),

  finish: () => Effect.succeed({ renewed: false }),

  purge: (names, { conflictsMs, historyMs }) =>
    Effect.map(
      ledger.session.query(
        `with forgotten as (
           delete from vaivem.ledger_conflicts c
           where c.decided_at < clock_timestamp() - $4::bigint * interval '1 millisecond'),
         gone as (
           delete from vaivem.ledger_history h using vaivem.ledger_tables t, unnest($1::text[], $2::text[]) a (schema, name)
           where h.table_id = t.id and t.table_schema = a.schema and t.table_name = a.name
             and h.synced_at < clock_timestamp() - $3::bigint * interval '1 millisecond' returning 1)
         select count(*) as purged from gone`,
        [names.map(({ schema }) => schema), names.map(({ name }) => name), historyMs, conflictsMs]
      ),
      ([row]) => ({ purged: Number(row!.purged), renewed: false })
    ),

  // Nothing is logged while nobody looks.
  neglect: Effect.succeed(null),

  takeAsItIs: () => {
    const { query, transaction } = ledger.session
    // What it was thought to have changed or deleted says nothing any more: everything is compared.
    return transaction(Effect.all([
      query("update vaivem.ledger set committed = null"),
      query("update vaivem.ledger_tables set contract = null, emptied_id = 0"),
      query("delete from vaivem.ledger_quarantine"),
      query("delete from vaivem.ledger_pending")
    ], { discard: true }))
  }
})

/** One that changed meanwhile is told by its fingerprint. */
const sweepIfItFits = (session: PgSession, stems: Stems, ledger: Ledger, replit: Stems, table: SyncedTable) =>
  sweep(session, stems, ledger, replit, table).pipe(
    Effect.catchTag(
      "ActionNeeded",
      "SchemaDrifted",
      "WorldRefused",
      ({ message }) =>
        Effect.logDebug("A table could not be swept").pipe(
          Effect.annotateLogs({ table: display(table.name), reason: message })
        )
    )
  )

/** Keys are taken in the order of their texts in the ledger, whose next ones are brought here until some are of the phase. */
const claimNext = Effect.fnUntraced(function*(
  tx: Transaction,
  sql: TableSql,
  ledger: Ledger,
  table: SyncedTable,
  request: Extract<ClaimRequest, { readonly _tag: "Next" }>
) {
  const { name } = table
  let after = request.after
  let look = request.rows
  let isFirst = true
  let anyHeld = false
  while (true) {
    const next = yield* ledger.next(name, after, look)
    if (next === null) {
      // What was held must stay so, although there is nothing to acknowledge.
      if (anyHeld) yield* settle(tx, sql, ledger, table)
      return null
    }
    yield* Mount.empty(tx, sql, isFirst)
    isFirst = false
    yield* Mount.fill(tx, sql, next.entries)
    const found = (yield* tx.query(sql.claimNext(request.phase, false, false, request.only), [look, look]))[0]!
    const rows = Number(found.rows)
    const rest = { after: next.last, more: next.looked === look, whole: false }
    if (rows > request.rows) {
      // Looked too far: closer to where they begin.
      look = Math.max(request.rows, Math.ceil(look / 4))
      yield* tx.script(["delete from pg_temp.vaivem_claim"])
      continue
    }
    if (rows > 0) {
      const bounced = Number(found.bounces) >= bouncesMax
      if (bounced) {
        yield* tx.query(sql.holdBouncing, [bouncing])
        anyHeld = true
      }
      const left = bounced ? (yield* tx.query(sql.claimed))[0]! : found
      if (Number(left.rows) > 0) return claimedOf(tx, sql, ledger, table, request.phase, left, rest)
      yield* settle(tx, sql, ledger, table)
    }
    if (!rest.more) return null
    after = next.last
    look = Math.min(look * 4, lookedMax)
  }
})

const claimKeys = Effect.fnUntraced(function*(
  tx: Transaction,
  sql: TableSql,
  ledger: Ledger,
  table: SyncedTable,
  { keys, phase }: Extract<ClaimRequest, { readonly _tag: "Keys" }>
) {
  // Asked about these, it says what a scan would find by now.
  const rows = (yield* tx.query(sql.stampsOf, columnsOf(table, keys)))[0]!.rows
  yield* Mount.fill(tx, sql, yield* ledger.look(table.name, String(rows), known(sql, keysText(keys))))
  const found = (yield* tx.query(sql.claimKeys(phase), columnsOf(table, keys)))[0]!
  return Number(found.rows) === 0 ? null : claimedOf(tx, sql, ledger, table, phase, found)
})

const claimedOf = (
  tx: Transaction,
  sql: TableSql,
  ledger: Ledger,
  table: SyncedTable,
  phase: Phase,
  found: Row,
  rest?: Pick<Claim, "after" | "more" | "whole">
): Claim =>
  claimOf(
    tx,
    sql,
    phase,
    found,
    rest,
    Effect.gen(function*() {
      const results = yield* tx.script([...sql.acknowledge, Mount.left(sql, sql.sent)])
      yield* ledger.settle(table.name, String(results.at(-1)!.rows[0]!.done))
    })
  )

/**
 * Once the rows are locked: those with a stamp that nobody has seen were changed by the app since the last scan, so they are
 * pending, too (promise 9). Then all that is known of the staged keys.
 */
export const lookAtStaged = Effect.fnUntraced(
  function*(tx: Transaction, sql: TableSql, ledger: Ledger, table: SyncedTable) {
    const results = yield* tx.script([sql.noteLocked, sql.lockedAndStaged])
    const { keys, rows } = results[1]!.rows[0]!
    yield* Mount.fill(tx, sql, yield* ledger.look(table.name, String(rows), known(sql, String(keys))))
  }
)

/** Where equal keys may have different texts, entries can't be found by them: all are looked at. */
const known = (sql: TableSql, keys: Json): Json | null => sql.hasInexactKey ? null : keys

/** Commits on external between two steps of the ledger. Nothing is left of the first when external surely didn't commit. */
export const commit = Effect.fnUntraced(function*(
  tx: Transaction,
  sql: TableSql,
  ledger: Ledger,
  { name }: SyncedTable,
  written: string = sql.written
) {
  const [rows, conflicts, done] = yield* tx.script([written, Mount.losers, Mount.committing(sql)])
  const intent = yield* ledger.intend(name, String(rows!.rows[0]!.rows), String(conflicts!.rows[0]!.conflicts))
  yield* tx.commit().pipe(
    Effect.tapError((error: SyncError) =>
      // A lost answer: nobody knows.
      error._tag === "Unavailable" ? Effect.void : ledger.takeBack(intent)
    )
  )
  yield* ledger.settle(name, String(done!.rows[0]!.done))
})

/** Tells the ledger what became of its entries; nothing was written on external, so there is nothing to commit. */
const settle = (tx: Transaction, sql: TableSql, ledger: Ledger, { name }: SyncedTable) =>
  Effect.flatMap(tx.query(Mount.left(sql)), ([row]) => ledger.settle(name, String(row!.done)))

const withoutQuarantine = (entries: Json): Json => JSON.stringify({ ...JSON.parse(entries), quarantine: [] })

/** One row a table, in the order asked. $3 how far to count changes. */
const answers = `select t.fingerprint as captured, t.contract,
    coalesce(q.keys, 0) as quarantined, coalesce(q.due, 0) as due,
    t.id is not null and exists (
      select from vaivem.ledger_pending p where p.table_id = t.id and not exists (
        select from vaivem.ledger_quarantine q
        where q.table_schema = t.table_schema and q.table_name = t.table_name and q.key = p.key)) as pending,
    t.id is not null and t.emptied_id > 0 and exists (
      select from vaivem.ledger_pending p
      where p.table_id = t.id and p.operation = 'DELETE' and p.change_id <= t.emptied_id) as emptied,
    case when t.id is null or $3::bigint = 0 then 0 else (
      select count(*) from (select from vaivem.ledger_pending p where p.table_id = t.id limit $3::bigint) p) end as waiting
  from unnest($1::text[], $2::text[]) with ordinality as a (schema, name, n)
  left join vaivem.ledger_tables t on t.table_schema = a.schema and t.table_name = a.name
  left join lateral (
    select count(*) as keys, count(*) filter (where q.next_attempt_at <= clock_timestamp() or q.change_id < (
      select max(p.change_id) from vaivem.ledger_pending p where p.table_id = t.id and p.key = q.key)) as due
    from vaivem.ledger_quarantine q where q.table_schema = t.table_schema and q.table_name = t.table_name) q on true
  order by a.n`
