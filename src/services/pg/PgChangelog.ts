/**
 * How rows leave and arrive in PostgreSQL: `claim`, `apply` and `acknowledge`, and the question of an idle cycle.
 *
 * A batch costs a fixed number of round trips whatever its size: on the source BEGIN with the claim's table, the claim,
 * COPY, and acknowledge with COMMIT; on the target BEGIN with the stage, COPY, lock and judge, merge, COMMIT.
 */
import { Effect } from "effect"
import { sleepsAfterMs } from "../../domain/bill.ts"
import { type Side, sides } from "../../domain/Side.ts"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import { noTokens, type Renewal } from "../../domain/Tokens.ts"
import type { Answer, Changelog, Claim, Identity, Phase, Question, Run, Visits } from "../Database.ts"
import { applyClaim } from "./applyClaim.ts"
import { newestMigration } from "./Migrations.ts"
import { columnsOf } from "./PgJournal.ts"
import { type PgSession, pinned, type Row, type Transaction } from "./PgSession.ts"
import type { Stems } from "./Stems.ts"
import { bouncesMax, type TableSql } from "./TableSql.ts"

/** The part of `Database` that moves rows. */
export const make = (session: PgSession, stems: Stems): Changelog => {
  /** Who asks, by the last question: a cycle that this process finishes is noted as its. */
  let holder: string | null = null
  /** The connection that holds the lease, while it does. */
  let lent: { readonly query: Transaction["query"]; isOurs: boolean } | null = null
  const askOnce = (question: Question) =>
    Effect.gen(function*() {
      const { countTo, known, note, renewal, schemas, tables } = question
      holder = note?.holder ?? holder
      const spent = spentValues(note?.spent)
      const gives = question.release === true ? lent : null
      const rows = yield* (gives?.query ?? session.query)(
        `select ${spent.length === 0 ? "" : "vaivem.note_traffic($9::jsonb, $10::bigint), "}${
          renewal === undefined ? "" : `${renew(9 + spent.length)}, `
        }
           vaivem.ask($1::text[], $2::text[], $3::text[], $4, $5::uuid, $6::boolean, $7::bigint)::text as answer,
           vaivem.waiting($1::text[], $2::text[], $8::bigint)::text as waiting, vaivem.tokens()::text as tokens${
          gives === null ? "" : `, ${giveBack}`
        }`,
        [
          tables.map(({ schema }) => schema),
          tables.map(({ name }) => name),
          schemas ?? [],
          known ?? null,
          note?.holder ?? null,
          note?.otherSideIdle ?? false,
          note?.notBeforeMs ?? 0,
          countTo ?? 0,
          ...spent,
          ...renewalValues(renewal)
        ]
      )
      if (gives !== null) gives.isOurs = false
      return yield* decodeAnswer(rows[0]!, question.tables, stems)
    })

  return {
    scan: () => Effect.void,

    ask: (question) =>
      askOnce(question).pipe(Effect.catchTag("ActionNeeded", "SchemaDrifted", "WorldRefused", () =>
        // Nothing of ours is there, or only half of it: that is an answer too; unless another copy has just installed it.
        Effect.flatMap(
          isInstalled(session),
          (there) => there ? askOnce(question) : Effect.succeed(nothingInstalled)
        ))),

    lease: Effect.gen(function*() {
      const query = yield* session.reserve
      const rows = yield* query("select pg_try_advisory_lock(hashtextextended('vaivem lease', 0)) as taken")
      if (rows[0]?.taken !== "t") return false
      const own = { query, isOurs: true }
      lent = own
      // The connection goes back to the pool with the scope, and the lock must not go with it.
      yield* Effect.addFinalizer(() => {
        if (lent === own) lent = null
        return own.isOurs ? Effect.ignoreLogged(query(`select ${giveBack}`)) : Effect.void
      })
      return true
    }),

    claim: (table, request) =>
      Effect.gen(function*() {
        const sql = yield* stems.sqlOf(table)
        const tx = yield* session.begin({
          isolation: "repeatable read",
          table: table.name,
          settings: byIndex,
          script: [sql.makeClaim]
        })
        if (request._tag === "Keys") {
          const found = (yield* tx.query(sql.claimKeys(request.phase), columnsOf(table, request.keys)))[0]!
          return Number(found.rows) === 0 ? null : claimOf(tx, sql, request.phase, found)
        }
        let after = request.after
        let look = request.rows
        let anyHeld = false
        while (true) {
          const text = sql.claimNext(request.phase, after !== null, yield* stems.mayHaveQuarantine(table), request.only)
          const found = (yield* tx.query(text, [look, request.rows, ...(after ?? [])]))[0]!
          const [looked, rows] = [Number(found.looked), Number(found.rows)]
          // The last key claimed where that many were wanted, else the last one looked at.
          const seen: Key | null = looked === 0
            ? null
            : JSON.parse(String(rows === request.rows ? found.last : found.seen))
          const rest = { after: seen, more: rows === request.rows || looked === look }
          if (rows > 0 && Number(found.bounces) < bouncesMax) return claimOf(tx, sql, request.phase, found, rest)
          if (rows > 0) {
            yield* tx.query(sql.holdBouncing, [bouncing])
            stems.noteQuarantine(table)
            anyHeld = true
            const left = (yield* tx.query(sql.claimed))[0]!
            if (Number(left.rows) > 0) return claimOf(tx, sql, request.phase, left, rest)
          }
          if (seen === null) {
            // What was held must stay so, although there is nothing to acknowledge.
            if (anyHeld) yield* tx.commit()
            return null
          }
          after = seen
          look = Math.min(look * 4, lookedMax)
        }
      }),

    apply: (table, claim, options) =>
      Effect.flatMap(stems.sqlOf(table), (sql) =>
        applyClaim(session, table, sql, claim, options, {
          script: [],
          seedSql: (other) => stems.sqlOf(other),
          look: () => Effect.void,
          isElsewhere: false,
          beforeMerge: () => Effect.void,
          commit: (tx) => tx.commit()
        })),

    finish: (run, renewal) =>
      Effect.gen(function*() {
        const steps = [
          { text: pinned() },
          ...(renewal === undefined ? [] : [{ text: `select ${renew(1)}`, values: renewalTexts(renewal) }]),
          { text: noteCycle, values: [holder] },
          ...(run === null ? [] : [{ text: noteRun, values: runTexts(run) }, { text: forgetRuns }])
        ]
        const flown = yield* session.flight(() => ({ steps }))
        if (flown._tag === "Refused") return yield* flown.error
        return { renewed: renewal !== undefined && flown.results[1]?.rows[0]?.[0] === "t" }
      }),

    purge: (names, olderThanMs, renewal) =>
      Effect.map(
        session.query(
          `select ${renewal === undefined ? "" : `${renew(4)}, `}
             vaivem.purge($1::text[], $2::text[], $3::bigint) as purged`,
          [
            names.map(({ schema }) => schema),
            names.map(({ name }) => name),
            olderThanMs,
            ...renewalValues(renewal)
          ]
        ),
        (rows) => Number(rows[0]!.purged)
      ),

    takeAsItIs: (forgottenUntilMs, renewal) =>
      session.transaction(Effect.all([
        session.query("select vaivem.take_as_it_is($1::bigint)", [forgottenUntilMs]),
        session.query("delete from vaivem.proofs"),
        session.query(`select ${renew(1)}`, renewalValues(renewal))
      ], { discard: true }))
  }
}

/** What visits cost, as `vaivem.note_traffic` reads it. */
const spentValues = (spent: Readonly<Record<Side, Visits>> | undefined): ReadonlyArray<unknown> =>
  spent === undefined ? [] : [
    JSON.stringify(sides.map((side) => {
      const { bytesIn, bytesOut, visits } = spent[side]
      return { side, visits, bytes_in: bytesIn, bytes_out: bytesOut }
    })),
    sleepsAfterMs
  ]

/** A step of the renewal, with parameters from `$from` on. */
const renew = (from: number) =>
  `vaivem.renew(${
    ["boolean", "uuid", "uuid", "uuid", "uuid", "uuid[]"].map((type, index) => `$${from + index}::${type}`).join(", ")
  })`

const renewalValues = (renewal: Renewal | undefined): ReadonlyArray<unknown> =>
  renewal === undefined ? [] : [
    renewal.ifOwn !== undefined,
    renewal.ifOwn ?? null,
    renewal.own ?? null,
    renewal.peer ?? null,
    renewal.announce ?? null,
    renewal.forget ?? []
  ]

/** The same as texts of parameters. */
const renewalTexts = (renewal: Renewal): ReadonlyArray<string | null> => {
  const { announce, forget = [], ifOwn, own, peer } = renewal
  return [
    ifOwn === undefined ? "f" : "t",
    ifOwn ?? null,
    own ?? null,
    peer ?? null,
    announce ?? null,
    `{${forget.join(",")}}`
  ]
}

const noteCycle = `update vaivem.pairs
  set finished_at = clock_timestamp(), finished_by = $1::uuid, cycles = cycles + 1`

const noteRun = `insert into vaivem.runs (started_at, duration_ms, outcome, push, pull, error)
  values ($1::timestamptz, $2::bigint, $3, $4::jsonb, $5::jsonb, $6)`

const runTexts = ({ durationMs, error, outcome, pull, push, startedAt }: Run): ReadonlyArray<string | null> => [
  startedAt,
  String(durationMs),
  outcome,
  JSON.stringify(push),
  JSON.stringify(pull),
  error
]

const runsKept = 10_000
const forgetRuns = `delete from vaivem.runs where id <= (select max(id) from vaivem.runs) - ${runsKept}`
const giveBack = "pg_advisory_unlock(hashtextextended('vaivem lease', 0))"
/** Why a row is held that bounces. */
export const bouncing =
  "bounces: this row keeps travelling between the two sides without a write of the app: a trigger on each side seems "
  + "to undo what the other one does. Change one of the triggers, then run `quarantine retry`."

/** What was claimed into the transaction's own table, from `claimNext` and the like. */
export const claimOf = (
  tx: Transaction,
  sql: TableSql,
  phase: Phase,
  found: Row,
  { after, more }: { readonly after: Key | null; readonly more: boolean } = { after: null, more: false },
  acknowledge: Effect.Effect<void, SyncError> = tx.commit(sql.acknowledge)
): Claim => {
  const last: Key = JSON.parse(String(found.last))
  return {
    rows: Number(found.rows),
    moves: Number(found.moves),
    last,
    after: after ?? last,
    more,
    stream: tx.copyTo(sql.copyClaim(phase)),
    known: (numbers) =>
      Effect.map(
        tx.query(sql.known, [numbers]),
        (rows) => new Map(rows.map((row) => [Number(row.n), BigInt(String(row.newest))]))
      ),
    acknowledge: (kept) =>
      Effect.zipRight(
        kept.length === 0 ? Effect.void : tx.query(sql.keepClaimed, [kept]),
        acknowledge
      )
  }
}

/** The queue is always read in key order by its index, and rows by their key, whatever the planner knows of their number. */
export const byIndex = [["enable_seqscan", "off"], ["enable_bitmapscan", "off"], ["enable_hashagg", "off"]] as const

/** Most keys that one statement looks at while searching for rows of its phase. */
export const lookedMax = 50_000

const isInstalled = (session: PgSession) =>
  Effect.map(
    session.query(
      `select to_regclass('vaivem.migrations') is not null
         and to_regprocedure('vaivem.ask(text[], text[], text[], text, uuid, boolean, bigint)') is not null
         and to_regprocedure('vaivem.tokens()') is not null
         and to_regprocedure('vaivem.waiting(text[], text[], bigint)') is not null
         and to_regprocedure('vaivem.note_traffic(jsonb, bigint)') is not null as there`
    ),
    (rows) => rows[0]?.there === "t"
  )

/** What a side says that has nothing of ours. */
export const nothingInstalled: Answer = {
  installed: false,
  identity: null,
  tokens: noTokens,
  leased: false,
  notDue: false,
  state: "",
  tables: []
}

interface WireAnswer {
  readonly migration: number
  readonly identity: Identity | null
  readonly leased: boolean
  readonly not_due: boolean
  readonly state: string
  readonly tables: ReadonlyArray<{
    /** Place in the question, from 1. */
    readonly n: number
    readonly fingerprint: string | null
    readonly captured: string | null
    readonly contract: string | null
    readonly stem: string | null
    readonly pending: boolean
    readonly quarantined: number
    readonly due: number
  }>
}

/** By place in the question: changes in the queue, and whether the brake holds the table. */
type WireWaiting = Readonly<Record<string, readonly [number, boolean]>>

const decodeAnswer = (row: Row, names: ReadonlyArray<SyncedTable["name"]>, stems: Stems) =>
  Effect.sync((): Answer => {
    const wire: WireAnswer = JSON.parse(String(row.answer))
    const waiting: WireWaiting = JSON.parse(String(row.waiting))
    return {
      installed: wire.migration >= newestMigration,
      identity: wire.identity,
      tokens: row.tokens === null || row.tokens === undefined ? noTokens : JSON.parse(String(row.tokens)),
      leased: wire.leased,
      notDue: wire.not_due,
      state: wire.state,
      tables: answered(names, wire, waiting, stems)
    }
  })

const answered = (
  names: ReadonlyArray<SyncedTable["name"]>,
  { tables }: WireAnswer,
  counted: WireWaiting,
  stems: Stems
): Answer["tables"] => {
  const told = new Map(tables.map((table) => [table.n, table]))
  return names.flatMap((name, index) => {
    const found = told.get(index + 1)
    if (found === undefined) {
      stems.noteNoQuarantine(name)
      return []
    }
    const { captured, contract, due, fingerprint, pending, quarantined, stem } = found
    stems.note(name, stem, quarantined > 0)
    const [waiting, held] = counted[String(index + 1)] ?? [0, false]
    return [{ name, fingerprint, captured, contract, pending, waiting, held, emptied: false, quarantined, due }]
  })
}
