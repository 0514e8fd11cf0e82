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
import type { TableName } from "../../domain/TableName.ts"
import { noTokens, type Renewal } from "../../domain/Tokens.ts"
import type { Answer, Changelog, Claim, ClaimRequest, Identity, Phase, Question, Run, Visits } from "../Database.ts"
import { applyClaim } from "./applyClaim.ts"
import { newestMigration } from "./Migrations.ts"
import { columnsOf } from "./PgJournal.ts"
import { patient, type PgSession, pinned, type Row, type Transaction } from "./PgSession.ts"
import type { Stems } from "./Stems.ts"
import { bouncesMax, type TableSql } from "./TableSql.ts"

/** The part of `Database` that moves rows. */
export const make = (
  session: PgSession,
  stems: Stems,
  leasing: Pick<Changelog, "lease" | "fence">
): Changelog => {
  /** Who asks, by the last question: a cycle that this process finishes is noted as its. */
  let holder: string | null = null
  const askOnce = (question: Question) =>
    Effect.gen(function*() {
      const { countTo, known, note, reads, renewal, schemas, tables } = question
      holder = note?.holder ?? holder
      const spent = spentValues(note?.spent)
      const renewing = renewalValues(renewal)
      const reading = reads === undefined ? [] : [reads.afterMs, reads.queueMax]
      const from = 9 + spent.length + renewing.length
      // Every function is named with its schema, and every other call and operator fits its types exactly.
      const rows = yield* session.ask(
        `select ${spent.length === 0 ? "" : "vaivem.note_traffic($9::jsonb, $10::bigint), "}${
          renewal === undefined ? "" : `${renew(9 + spent.length)}, `
        }${reads === undefined ? "" : `vaivem.read_queues($${from}::bigint, $${from + 1}::bigint)::text as folded, `}
           vaivem.ask($1::text[], $2::text[], $3::text[], $4, $5::uuid, $6::boolean, $7::bigint)::text as answer,
           vaivem.waiting($1::text[], $2::text[], $8::bigint)::text as waiting, vaivem.tokens()::text as tokens${
          note === undefined ? "" : `, ${finishedAgo} as ago_ms`
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
          ...renewing,
          ...reading
        ]
      )
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

    ...leasing,

    claim: (table, request) =>
      Effect.gen(function*() {
        const sql = yield* stems.sqlOf(table)
        const tx = yield* session.begin({
          isolation: "repeatable read",
          table: table.name,
          ...(request.patient === true ? patient : {}),
          settings: [
            // Old keys of moved rows are looked for among all others, which takes a hash.
            ...(request._tag === "Next" && request.only?.vanished !== undefined ? byIndex : oneByOne),
            ...(request.patient === true ? patient.settings : [])
          ],
          script: [sql.makeClaim]
        })
        if (request._tag === "Keys") {
          const found = (yield* tx.query(sql.claimKeys(request.phase), columnsOf(table, request.keys)))[0]!
          return Number(found.rows) === 0 ? null : claimOf(tx, sql, request.phase, found)
        }
        const isLogged = typeof request.place === "string" ||
          (request.place === null && request.only === undefined && request.rows >= loggedFrom)
        const look = (isLogged ? lookAsLogged : lookByKey)(tx, sql, request, yield* stems.mayHaveQuarantine(table))
        let anyHeld = false
        while (true) {
          const { found, rest } = yield* look
          const rows = Number(found.rows)
          if (rows > 0 && Number(found.bounces) < bouncesMax) return claimOf(tx, sql, request.phase, found, rest)
          if (rows > 0) {
            yield* tx.query(sql.holdBouncing, [bouncing])
            stems.noteQuarantine(table)
            anyHeld = true
            const left = (yield* tx.query(sql.claimed))[0]!
            if (Number(left.rows) > 0) return claimOf(tx, sql, request.phase, left, rest)
          }
          if (!rest.more) {
            // What was held must stay so, although there is nothing to acknowledge.
            if (anyHeld) yield* tx.commit()
            return null
          }
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

    finish: (run, renewal, { whole } = { whole: true }) =>
      Effect.gen(function*() {
        const steps = [
          { text: pinned() },
          ...(renewal === undefined ? [] : [{ text: `select ${renew(1)}`, values: renewalTexts(renewal) }]),
          ...(whole ? [{ text: noteCycle, values: [holder] }] : []),
          ...(run === null ? [] : [{ text: noteRun, values: runTexts(run) }, { text: forgetRuns }])
        ]
        const flown = yield* session.flight(() => ({ steps }))
        if (flown._tag === "Refused") return yield* flown.error
        return { renewed: renewal !== undefined && flown.results[1]?.rows[0]?.[0] === "t" }
      }),

    purge: (names, { conflictsMs, historyMs }, renewal) =>
      Effect.map(
        Effect.flatMap(session.epoch, (epoch) =>
          session.query(
            `select ${epoch === null ? "" : `vaivem.fence(${epoch}), `}${
              renewal === undefined ? "" : `${renew(5)} as renewed, `
            }
             vaivem.prune($4::bigint), vaivem.purge($1::text[], $2::text[], $3::bigint) as purged`,
            [
              names.map(({ schema }) => schema),
              names.map(({ name }) => name),
              historyMs,
              conflictsMs,
              ...renewalValues(renewal)
            ]
          )),
        (rows) => ({ purged: Number(rows[0]!.purged), renewed: rows[0]!.renewed === "t" })
      ),

    neglect: Effect.gen(function*() {
      const there = (yield* session.query("select to_regclass('vaivem.folded') is not null as there"))[0]!
      if (there.there !== "t") return null
      const { abandoned, since, tables } = (yield* session.query(
        `select coalesce(p.read_at + p.abandoned_after < clock_timestamp(), false) as abandoned,
           to_char(p.read_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as since,
           (select coalesce(jsonb_agg(distinct jsonb_build_object('schema', f.table_schema, 'name', f.table_name)), '[]')::text
            from vaivem.folded f) as tables
         from vaivem.pairs p`
      ))[0] ?? {}
      if (since === undefined) return null
      return { since: String(since), abandoned: abandoned === "t", folded: JSON.parse(String(tables)) }
    }),

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

/** Why a row is held that bounces. */
export const bouncing =
  "bounces: this row keeps travelling between the two sides without a write of the app: a trigger on each side seems "
  + "to undo what the other one does. Change one of the triggers, then run `quarantine retry`."

type Onward = Pick<Claim, "after" | "more" | "place" | "whole">
type Next = Extract<ClaimRequest, { readonly _tag: "Next" }>

/** Looks for keys of the phase; each time it is run, at those that come after, and at more of them at once. */
const lookByKey = (tx: Transaction, sql: TableSql, request: Next, mayHaveQuarantine: boolean) => {
  let { after, rows: look } = request
  let whole = request.only === undefined
  return Effect.gen(function*() {
    const text = sql.claimNext(request.phase, after !== null, mayHaveQuarantine, request.only)
    const found = (yield* tx.query(text, [look, request.rows, ...(after ?? [])]))[0]!
    const [looked, rows] = [Number(found.looked), Number(found.rows)]
    const more = rows === request.rows || looked === look
    // The last key claimed where that many were wanted, else the last one looked at.
    if (looked > 0) after = JSON.parse(String(rows === request.rows ? found.last : found.seen))
    look = Math.min(look * 4, lookedMax)
    whole = whole && rows === looked
    return { found, rest: { after, more, whole } satisfies Onward as Onward }
  })
}

/**
 * The same in the order in which changes were logged: page after page of the queue, whose entries are in that order, and so
 * are the rows of what was written at once. By key, every row of a uuid key is on another page: of a table that doesn't fit in
 * the server's memory each had to be read anew.
 */
const lookAsLogged = (tx: Transaction, sql: TableSql, request: Next, mayHaveQuarantine: boolean) => {
  let place = request.place ?? "(0,0)"
  let pages = Math.ceil(request.rows / entriesAPage)
  let whole = true
  return Effect.gen(function*() {
    const text = sql.claimLogged(request.phase, request.after !== null, mayHaveQuarantine)
    const end = Number(/\d+/.exec(place)![0]) + pages
    const values = [request.rows, place, `(${end},65535)`, ...(request.after ?? [])]
    const found = (yield* tx.query(text, values))[0]!
    const isFull = Number(found.looked) === request.rows
    whole = whole && found.rows === found.looked
    place = isFull ? String(found.at) : `(${end},65535)`
    // Pages whose entries are gone.
    if (!isFull) pages = Math.min(pages * 4, pagesMax)
    return {
      found,
      rest: { after: request.after, place, more: isFull || end < Number(found.pages), whole } satisfies Onward as Onward
    }
  })
}

/** Kept on Replit's side, whose answer is noted. */
const finishedAgo = `(select floor(extract(epoch from clock_timestamp() - p.finished_at) * 1000::numeric)::bigint
  from vaivem.pairs p)`

/** A claim of so many keys reads the queue as it was logged: for fewer, the index is cheaper than pages of it. */
const loggedFrom = 5_000
/** Fewer than there are (107 with a uuid key), so that a full claim mostly needs one look. */
const entriesAPage = 40
const pagesMax = 20_000

/** What was claimed into the transaction's own table, from `claimNext` and the like. */
export const claimOf = (
  tx: Transaction,
  sql: TableSql,
  phase: Phase,
  found: Row,
  { after, more, place, whole }: Onward = { after: null, more: false, whole: false },
  acknowledge: Effect.Effect<void, SyncError> = tx.commit(sql.acknowledge)
): Claim => {
  const last: Key = JSON.parse(String(found.last))
  return {
    rows: Number(found.rows),
    moves: Number(found.moves),
    last,
    after: place === undefined ? after ?? last : after,
    ...(place === undefined ? {} : { place }),
    more,
    whole,
    stream: tx.copyTo(sql.copyClaim(phase)),
    known: (newest) =>
      Effect.map(
        tx.query(sql.known, [[...newest.keys()], [...newest.values()].map(String)]),
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

/**
 * And one row after the other: a merge join begins at the start of an index and goes through all that was claimed before, a hash
 * join takes in the whole table.
 */
const oneByOne = [...byIndex, ["enable_mergejoin", "off"], ["enable_hashjoin", "off"]] as const

/** Most keys that one statement looks at while searching for rows of its phase. */
export const lookedMax = 50_000

const isInstalled = (session: PgSession) =>
  Effect.map(
    session.query(
      `select to_regclass('vaivem.migrations') is not null
         and to_regprocedure('vaivem.ask(text[], text[], text[], text, uuid, boolean, bigint)') is not null
         and to_regprocedure('vaivem.tokens()') is not null
         and to_regprocedure('vaivem.waiting(text[], text[], bigint)') is not null
         and to_regprocedure('vaivem.note_traffic(jsonb, bigint)') is not null
         and to_regprocedure('vaivem.read_queues(bigint, bigint)') is not null as there`
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
  pauses: [],
  folded: null,
  finishedAgoMs: null,
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

/** By place in the question: changes in the queue, whether the brake holds the table, and whether it is paused. */
type WireWaiting = Readonly<Record<number, readonly [number, boolean, boolean]>> & { readonly all?: true }

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
      pauses: [
        ...(waiting.all === true ? [null] : []),
        ...names.filter((_, index) => waiting[index + 1]?.[2] === true)
      ],
      folded: foldedOf(row.folded),
      finishedAgoMs: row.ago_ms === null || row.ago_ms === undefined ? null : Number(row.ago_ms),
      state: wire.state,
      tables: answered(names, wire, waiting, stems)
    }
  })

/** What `vaivem.read_queues` says; null when it wasn't asked, or nothing was folded. */
const foldedOf = (text: string | null | undefined): Answer["folded"] => {
  if (text === null || text === undefined) return null
  const { since, tables }: { since: string; tables: ReadonlyArray<TableName> } = JSON.parse(text)
  return { since, folded: tables }
}

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
    const [waiting, held] = counted[index + 1] ?? [0, false]
    return [{ name, fingerprint, captured, contract, pending, waiting, held, emptied: false, quarantined, due }]
  })
}
