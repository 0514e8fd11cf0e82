/**
 * How rows leave and arrive in PostgreSQL: `claim`, `apply` and `acknowledge`, and the question of an idle cycle.
 *
 * A batch costs a fixed number of round trips whatever its size: on the source BEGIN with the claim's table, the claim,
 * COPY, and acknowledge with COMMIT; on the target BEGIN with the stage, COPY, lock and judge, merge, COMMIT.
 */
import { Effect } from "effect"
import { sleepsAfterMs } from "../../domain/bill.ts"
import type { Version } from "../../domain/decide.ts"
import { type Side, sides } from "../../domain/Side.ts"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import { Contended, RowRefused } from "../../domain/SyncError.ts"
import { display } from "../../domain/TableName.ts"
import { noTokens, type Renewal } from "../../domain/Tokens.ts"
import type {
  Answer,
  Applied,
  ApplyOptions,
  Changelog,
  Claim,
  Contested,
  Identity,
  Phase,
  Question,
  Verdict,
  Visits
} from "../Database.ts"
import { beforeMerge, explainRefusal, undoMerge } from "./explainRefusal.ts"
import { newestMigration } from "./Migrations.ts"
import { columnsOf } from "./PgJournal.ts"
import type { PgSession, Row, StatementResult, Transaction } from "./PgSession.ts"
import type { Stems } from "./Stems.ts"
import { bouncesMax, type Seeding, type TableSql } from "./TableSql.ts"

/** The part of `Database` that moves rows. */
export const make = (session: PgSession, stems: Stems): Changelog => {
  /** Who asks, by the last question: a cycle that this process finishes is noted as its. */
  let holder: string | null = null
  const askOnce = (question: Question) =>
    Effect.gen(function*() {
      const { countTo, known, note, renewal, schemas, tables } = question
      holder = note?.holder ?? holder
      const spent = spentValues(note?.spent)
      const rows = yield* session.query(
        `select ${spent.length === 0 ? "" : "vaivem.note_traffic($9::jsonb, $10::bigint), "}${
          renewal === undefined ? "" : `${renew(9 + spent.length)}, `
        }
           vaivem.ask($1::text[], $2::text[], $3::text[], $4, $5::uuid, $6::boolean, $7::bigint)::text as answer,
           vaivem.waiting($1::text[], $2::text[], $8::bigint)::text as waiting, vaivem.tokens()::text as tokens`,
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
      return yield* decodeAnswer(rows[0]!, question.tables, stems)
    })

  return {
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
      // The connection goes back to the pool with the scope, and the lock must not go with it.
      yield* Effect.addFinalizer(() =>
        Effect.ignoreLogged(query("select pg_advisory_unlock(hashtextextended('vaivem lease', 0))"))
      )
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
      Effect.scoped(Effect.gen(function*() {
        const sql = yield* stems.sqlOf(table)
        const tx = yield* session.begin({
          table: table.name,
          primaryKey: table.shapes[session.side].keyConstraint,
          searchPath: "theirs",
          settings: options.locks === "skip" ? impatient : [],
          script: [sql.applying, sql.makeStage(ownStage)]
        })
        const bytes = yield* tx.copyFrom(sql.copyStage(ownStage), claim.stream)
        const seeds = yield* Effect.forEach(options.seeds ?? [], ({ stream, table: other }, index) =>
          Effect.gen(function*() {
            const stage = `${ownStage}_${index + 1}`
            const theirs = yield* stems.sqlOf(other)
            yield* tx.script([theirs.makeStage(stage)])
            yield* tx.copyFrom(theirs.copyStage(stage), stream)
            return theirs.seed(stage)
          }))
        yield* options.turn ?? Effect.void
        const kept = yield* judge(tx, sql, claim, options)
        const { beforeTriggers, rules } = table.shapes[session.side]
        const guarded = beforeTriggers.length + rules.length > 0
        const merged = yield* mergeAnyhow(tx, sql, claim, { guarded, contested: kept.contested, seeds }).pipe(
          Effect.catchTag("RowRefused", (error) =>
            explainRefusal(tx, sql, table, error))
        )
        if (merged.raced) {
          return yield* raced(session, table)
        }
        if (merged.dropped !== null) {
          return yield* dropped(session, table, merged.dropped)
        }
        yield* tx.commit()
        const { deleted, inserted, updated } = merged
        return {
          inserted,
          updated,
          deleted,
          bytes,
          conflicts: kept.overwritten,
          kept: kept.numbers,
          locked: kept.locked
        } satisfies Applied
      })),

    finish: (run, renewal) =>
      session.transaction(Effect.gen(function*() {
        const { sql } = session
        const renewing = renewal === undefined
          ? []
          : yield* session.query(`select ${renew(1)} as renewed`, renewalValues(renewal))
        const done = { renewed: renewing[0]?.renewed === "t" }
        yield* session.run(sql`update vaivem.pairs
        set finished_at = clock_timestamp(), finished_by = ${holder}::uuid, cycles = cycles + 1`)
        if (run === null) return done
        yield* session.run(sql`insert into vaivem.runs (started_at, duration_ms, outcome, push, pull, error)
        values (${run.startedAt}, ${run.durationMs}, ${run.outcome}, ${JSON.stringify(run.push)}::jsonb,
          ${JSON.stringify(run.pull)}::jsonb, ${run.error})`)
        yield* session.run(
          sql`delete from vaivem.runs where id <= (select max(id) from vaivem.runs) - ${runsKept}::bigint`
        )
        return done
      })),

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

const runsKept = 10_000
const bouncing =
  "bounces: this row keeps travelling between the two sides without a write of the app: a trigger on each side seems "
  + "to undo what the other one does. Change one of the triggers, then run `quarantine retry`."

const claimOf = (
  tx: Transaction,
  sql: TableSql,
  phase: Phase,
  found: Row,
  { after, more }: { readonly after: Key | null; readonly more: boolean } = { after: null, more: false }
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
        tx.commit(sql.acknowledge)
      )
  }
}

/** The queue is always read in key order by its index, and rows by their key, whatever the planner knows of their number. */
const byIndex = [["enable_seqscan", "off"], ["enable_bitmapscan", "off"], ["enable_hashagg", "off"]] as const

/** What can't be skipped (an insert that the app left open) isn't worth another wait either. */
const impatient = [["lock_timeout", "200"]] as const

/** Most keys that one statement looks at while searching for rows of its phase. */
const lookedMax = 50_000

interface Judged {
  readonly contested: boolean
  readonly overwritten: number
  readonly numbers: ReadonlyArray<number>
  readonly locked: number
}

/** Locks the target's rows, then, in a second statement, looks for pending changes of the same keys (promise 9). */
const judge = Effect.fn("judge")(function*(tx: Transaction, sql: TableSql, claim: Claim, options: ApplyOptions) {
  const moves = claim.moves > 0
  const skip = options.locks === "skip"
  const results = yield* tx.script([
    sql.bouncing,
    skip ? sql.lockSkipping : sql.lockWaiting,
    ...(moves ? [skip ? sql.lockWasSkipping : sql.lockWasWaiting] : []),
    sql.judge,
    sql.locked
  ])
  const [found, locked] = results.slice(-2) as [StatementResult, StatementResult]
  const lockedNumbers = locked.rows.map((row) => Number(row.n))
  // The source is asked about those that are neither equal nor applied; most batches have none.
  const open = found.rows.filter(({ applied, equal }) => applied !== "t" && equal !== "t").map(({ n }) => Number(n))
  const known = open.length === 0 ? new Map<number, bigint>() : yield* claim.known(open)
  const verdicts = found.rows.map((row): readonly [number, Verdict] => {
    const contested = contestedOf(row, known.get(Number(row.n)))
    return [contested.number, options.judge(contested)]
  })
  if (verdicts.length > 0) {
    yield* tx.query(sql.setVerdicts, [verdicts.map(([number]) => number), verdicts.map(([, verdict]) => verdict)])
  }
  return {
    contested: verdicts.length > 0,
    overwritten: verdicts.filter(([, verdict]) => verdict === "overwrite").length,
    numbers: [...lockedNumbers, ...verdicts.flatMap(([number, verdict]) => verdict === "keep" ? [number] : [])],
    locked: lockedNumbers.length
  } satisfies Judged
})

/** A row of `TableSql.judge`. */
export const contestedOf = (row: Row, known: bigint | undefined): Contested => ({
  number: Number(row.n),
  equal: row.equal === "t",
  applied: row.applied === "t",
  known: known !== undefined && BigInt(String(row.newest)) <= known,
  marked: { source: row.source_marked === "t", target: row.target_marked === "t" },
  source: versionOf(row.present, row.stamp_us),
  target: versionOf(row.there, row.target_us)
})

const versionOf = (present: string | null | undefined, us: string | null | undefined): Version => ({
  present: present === "t",
  stampUs: us === null || us === undefined ? null : BigInt(us)
})

interface Merged {
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
  readonly raced: boolean
  /** How many rows a BEFORE trigger of the user dropped; null when none. */
  readonly dropped: number | null
}

interface Facts {
  readonly guarded: boolean
  readonly contested: boolean
  /** Statements that insert rows of other tables, which these rows may point at. */
  readonly seeds: ReadonlyArray<Seeding>
}

/**
 * Merges; what is refused for the way it was done is done in another way. A key that can't be changed here, for its
 * children's foreign key, may come as an insert and a delete. Rows that swapped unique values, or passed them on in a
 * ring, are untangled, if the whole ring is in the batch.
 */
const mergeAnyhow = Effect.fn("mergeAnyhow")(function*(tx: Transaction, sql: TableSql, claim: Claim, facts: Facts) {
  // A table without unique columns beside its key has nothing to untangle.
  const ways = [null, ...[sql.loosen, sql.replace].filter((way) => way !== null)]
  let refusal: RowRefused | null = null
  for (const moves of claim.moves > 0 ? [true, false] : [false]) {
    for (const untangle of ways) {
      if (untangle !== null && (refusal?.sqlState !== uniqueViolation || claim.rows === 1)) continue
      if (refusal !== null) {
        yield* tx.script(claim.moves > 0 && !moves ? [undoMerge, sql.unlinkAll] : [undoMerge])
      }
      if (untangle !== null && untangle === sql.replace && (yield* tx.query(sql.mayReplace))[0]?.["may"] !== "t") {
        continue
      }
      const tried = yield* Effect.either(merge(tx, sql, { ...facts, moves, untangle }))
      if (tried._tag === "Right") return tried.right
      if (tried.left._tag !== "RowRefused") return yield* tried.left
      if (untangle === null || refusal === null) refusal = tried.left
    }
  }
  return yield* refusal!
})

const uniqueViolation = "23505"

/** All writes of the batch in one round trip, COMMIT left out: first the answer is looked at. */
const merge = Effect.fn("merge")(function*(
  tx: Transaction,
  sql: TableSql,
  facts: Facts & { readonly moves: boolean; readonly untangle: string | null }
) {
  const untangled = facts.untangle !== null
  const steps: ReadonlyArray<readonly [string, string | null]> = [
    ["savepoint", beforeMerge],
    ["unlink", facts.moves ? sql.unlinkContested : null],
    ["journal", facts.contested ? sql.journal : null],
    ["toUpdate", untangled ? sql.expected : null],
    ["untangled", facts.untangle],
    ["moved", facts.moves ? sql.move : null],
    ["expected", facts.guarded ? sql.expected : null],
    ["updated", sql.update],
    ["rekeyed", sql.updateUnique],
    ...facts.seeds.map((seed): readonly [string, string] => ["seeds", seed.count]),
    ...sql.moveOn.map((text): readonly [string, string] => ["sequence", text]),
    ["inserted", withSeeds(facts.seeds, sql.insert)],
    ["deleted", sql.delete],
    ["unapplied", untangled ? sql.unapplied : null],
    ...(facts.contested ? sql.settle.map((text): readonly [string, string] => ["settle", text]) : []),
    ["log", sql.log],
    ["wake", sql.wakeBlocked],
    ["deferred", sql.checkDeferred],
    ["raced", sql.raced]
  ]
  const present = steps.flatMap(([name, text]) => text === null ? [] : [[name, text] as const])
  const results = yield* tx.script(present.map(([, text]) => text))
  const result = (name: string) => results[present.findIndex(([found]) => found === name)]
  const count = (name: string) => result(name)?.count ?? 0
  const written = {
    updated: count("updated") + count("rekeyed"),
    inserted: count("inserted") + present.reduce(
      (sum, [name], index) => name === "seeds" ? sum + Number(results[index]?.rows[0]?.["rows"]) : sum,
      0
    ),
    deleted: count("deleted")
  }
  // Tangled rows are written twice, so the statements' counts say nothing of updates.
  const unapplied = Number(result("unapplied")?.rows[0]?.["rows"] ?? 0)
  return {
    ...written,
    updated: (untangled ? Number(result("toUpdate")?.rows[0]?.["updated"]) : written.updated) + count("moved"),
    raced: result("raced")?.rows[0]?.raced === "t",
    dropped: untangled ? unapplied || null : droppedRows(result("expected")?.rows[0], written)
  } satisfies Merged
})

/** One statement: PostgreSQL looks at foreign keys when it ends. */
const withSeeds = (seeds: ReadonlyArray<Seeding>, insert: string): string =>
  seeds.length === 0
    ? insert
    : `with ${seeds.map((seed, index) => `seed${index} as (${seed.insert})`).join(", ")} ${insert}`

/** The stage that capture looks at, by its name, to tell the merge's own writes. */
export const ownStage = "vaivem_stage"

const droppedRows = (
  expected: Row | undefined,
  written: Readonly<Record<"updated" | "inserted" | "deleted", number>>
) => {
  if (expected === undefined) return null
  const missing = (["updated", "inserted", "deleted"] as const).reduce(
    (sum, name) => sum + Number(expected[name]) - written[name],
    0
  )
  return missing === 0 ? null : missing
}

const raced = (session: PgSession, table: SyncedTable) =>
  new Contended({
    side: session.side,
    table: table.name,
    sqlState: null,
    reason: "key-race",
    message: `The app changed rows of ${display(table.name)} on the ${session.side} side while a batch was applied.`
  })

const dropped = (session: PgSession, table: SyncedTable, rows: number) => {
  const { beforeTriggers, rules } = table.shapes[session.side]
  const what = rows === 1 ? "the row" : `${rows} of the rows`
  return new RowRefused({
    side: session.side,
    table: table.name,
    sqlState: "VV001",
    constraint: null,
    blockedBy: null,
    message: beforeTriggers.length > 0
      ? `A BEFORE trigger of table ${display(table.name)} drops ${what} (it returns null). `
        + `Triggers: ${beforeTriggers.join(", ")}.`
      : `A rule of table ${display(table.name)} has something else done in the place of writing ${what}. `
        + `Rules: ${rules.join(", ")}.`
  })
}

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

const nothingInstalled: Answer = {
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
    return [{ name, fingerprint, captured, contract, pending, waiting, held, quarantined, due }]
  })
}
