/**
 * Applies a claim to a PostgreSQL table in one transaction: stage, lock, judge, merge, journal, log, commit. Where the queue
 * is in this database or is brought here for the transaction, the statements are the same: `Queue` says the difference.
 */
import { Effect } from "effect"
import type { Version } from "../../domain/decide.ts"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import { Contended, RowRefused } from "../../domain/SyncError.ts"
import { display } from "../../domain/TableName.ts"
import type { Applied, ApplyOptions, Claim, Contested, Verdict } from "../Database.ts"
import { beforeMerge, explainRefusal, undoMerge } from "./explainRefusal.ts"
import { patient, type PgSession, type Row, type StatementResult, type Transaction } from "./PgSession.ts"
import type { Seeding, TableSql } from "./TableSql.ts"

/** Where pending changes, history, conflicts and quarantine are that the statements work on. */
export interface Queue {
  /** Statements that go along with BEGIN, before the stage is made. */
  readonly script: ReadonlyArray<string>
  /** Statements of a table whose rows come along (`ApplyOptions.seeds`), by its place among those, from 1. */
  readonly seedSql: (table: SyncedTable, place: number, tx: Transaction) => Effect.Effect<TableSql, SyncError>
  /** Before keys are judged, when their rows are locked and staged. */
  readonly look: (tx: Transaction) => Effect.Effect<void, SyncError>
  /** No trigger writes into it: what changes meanwhile is found by counting what was written. */
  readonly isElsewhere: boolean
  /** When keys are judged, before anything is written. */
  readonly beforeMerge: (tx: Transaction) => Effect.Effect<void, SyncError>
  readonly commit: (tx: Transaction, sql: TableSql) => Effect.Effect<void, SyncError>
}

export const applyClaim = (
  session: PgSession,
  table: SyncedTable,
  sql: TableSql,
  claim: Claim,
  options: ApplyOptions,
  queue: Queue
): Effect.Effect<Applied, SyncError> =>
  Effect.scoped(Effect.gen(function*() {
    const tx = yield* session.begin({
      table: table.name,
      primaryKey: table.shapes[session.side].keyConstraint,
      searchPath: "theirs",
      ...(options.patient === true ? patient : {}),
      settings: [...(options.patient === true ? patient.settings : []), ...(options.locks === "skip" ? impatient : [])],
      script: [...queue.script, sql.applying, sql.makeStage(ownStage)]
    })
    const bytes = yield* tx.copyFrom(sql.copyStage(ownStage), claim.stream)
    const seeds = yield* Effect.forEach(options.seeds ?? [], ({ stream, table: other }, index) =>
      Effect.gen(function*() {
        const stage = `${ownStage}_${index + 1}`
        const theirs = yield* queue.seedSql(other, index + 1, tx)
        yield* tx.script([theirs.makeStage(stage)])
        yield* tx.copyFrom(theirs.copyStage(stage), stream)
        return theirs.seed(stage)
      }))
    yield* options.turn ?? Effect.void
    const kept = yield* judge(tx, sql, claim, options, queue)
    if (kept === null) return yield* raced(session, table)
    yield* queue.beforeMerge(tx)
    const { beforeTriggers, rules } = table.shapes[session.side]
    const guarded = beforeTriggers.length + rules.length > 0
    const counted = guarded || queue.isElsewhere
    const facts = { counted, contested: kept.contested, seeds, rows: kept.rows }
    const merged = yield* mergeAnyhow(tx, sql, claim, facts).pipe(
      Effect.catchIf((error) => kept.assumed && isKeyRace(error), () =>
        Effect.gen(function*() {
          const there = (yield* tx.script([undoMerge, sql.assumeNothing, sql.there]))[2]!
          return yield* mergeAnyhow(tx, sql, claim, { ...facts, rows: { ...facts.rows, there: thereOf(there) } })
        })),
      Effect.catchTag("RowRefused", (error) => explainRefusal(tx, sql, table, error))
    )
    // What was written is not what was locked and judged: somebody else wrote meanwhile, or a trigger had it otherwise.
    const wasRaced = merged.raced || (queue.isElsewhere && !guarded && merged.miscounted)
    if (wasRaced) return yield* raced(session, table)
    if (merged.dropped !== null) return yield* dropped(session, table, merged.dropped)
    yield* queue.commit(tx, sql)
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
  }))

/** What can't be skipped (an insert that the app left open) isn't worth another wait either. */
const impatient = [["lock_timeout", "200"]] as const

/**
 * From here on rows of the app are locked. A server that hears nothing of us for so long gives them free, instead of after
 * the minute that is enough elsewhere: between two statements there is a round trip to each database.
 */
const holdingLocks = "select set_config('idle_in_transaction_session_timeout', '5000', true)"

interface Judged {
  readonly rows: StagedRows
  /** That none is there was not counted: one that is makes the merge fail as a race for its key does. */
  readonly assumed: boolean
  readonly contested: boolean
  readonly overwritten: number
  readonly numbers: ReadonlyArray<number>
  readonly locked: number
}

/** What is staged, when it was looked at: rows that are to be there, how many of those are, and rows that are to go. */
interface StagedRows {
  readonly present: number
  /** Null where it wasn't counted. */
  readonly there: number | null
  readonly absent: number
}

/**
 * Locks the target's rows, then, in a second statement, looks for pending changes of the same keys (promise 9). Where nothing
 * at all was pending on the target, the merge's own writes are the locks, and `raced` is the look after them. Null: something
 * became pending between the two, so the rows have to be locked.
 */
const judge = Effect.fn("judge")(
  function*(tx: Transaction, sql: TableSql, claim: Claim, options: ApplyOptions, queue: Queue) {
    const moves = claim.moves > 0
    const skip = options.locks === "skip"
    const locks = [
      sql.facts,
      holdingLocks,
      skip ? sql.lockSkipping : sql.lockWaiting,
      ...(moves ? [skip ? sql.lockWasSkipping : sql.lockWasWaiting] : [])
    ]
    const before = queue.isElsewhere ? yield* tx.script(locks) : []
    if (queue.isElsewhere) yield* queue.look(tx)
    const look = [
      ...(queue.isElsewhere ? [] : locks),
      ...(queue.isElsewhere || moves || skip || claim.rows < assumedFrom ? [] : [sql.assume]),
      sql.there,
      sql.judge,
      ...(skip ? [sql.locked] : [])
    ]
    const results = [...before, ...(yield* tx.script(look))]
    const facts = results[0]!.rows[0]!
    const [there, found, locked] = results.slice(skip ? -3 : -2) as [StatementResult, StatementResult, StatementResult?]
    const isLocked = queue.isElsewhere || skip || facts["locks"] === "true"
    if (found.rows.length > 0 && !isLocked) return null
    const lockedNumbers = locked?.rows.map((row) => Number(row.n)) ?? []
    const known = yield* knownOf(found.rows, claim)
    const verdicts = found.rows.map((row): readonly [number, Verdict] => {
      const contested = contestedOf(row, known.get(Number(row.n)))
      return [contested.number, options.judge(contested)]
    })
    if (verdicts.length > 0) {
      yield* tx.query(sql.setVerdicts, [verdicts.map(([number]) => number), verdicts.map(([, verdict]) => verdict)])
    }
    return {
      rows: {
        present: Number(facts["present"]),
        there: skip ? null : thereOf(there),
        absent: Number(facts["rows"]) - Number(facts["present"])
      },
      assumed: there.rows[0]!["assumed"] === "true",
      contested: verdicts.length > 0,
      overwritten: verdicts.filter(([, verdict]) => verdict === "overwrite").length,
      numbers: [...lockedNumbers, ...verdicts.flatMap(([number, verdict]) => verdict === "keep" ? [number] : [])],
      locked: lockedNumbers.length
    } satisfies Judged
  }
)

const thereOf = ({ rows }: StatementResult): number => Number(rows[0]!["there"])

const isKeyRace = (error: SyncError): boolean => error._tag === "Contended" && error.reason === "key-race"

/** In fewer rows than these it is counted how many are there. */
const assumedFrom = 200

/** Of rows of `TableSql.judge`, the target's newest changes that the source knows. */
export const knownOf = (rows: ReadonlyArray<Row>, claim: Claim): ReturnType<Claim["known"]> => {
  // Most batches have none that is neither equal nor applied.
  const open = rows.filter(({ applied, equal }) => applied !== "t" && equal !== "t")
  return open.length === 0
    ? Effect.succeed(new Map())
    : claim.known(new Map(open.map(({ n, newest }) => [Number(n), BigInt(String(newest))])))
}

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
  /** Anything else was written than was expected; known only when it was counted. */
  readonly miscounted: boolean
}

interface Facts {
  /** Whether to count what should be written. */
  readonly counted: boolean
  readonly contested: boolean
  readonly rows: StagedRows
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
  const { absent, present: toBeThere, there } = facts.rows
  const asFound = !facts.moves && !untangled
  const allNew = asFound && there === 0
  const noneNew = asFound && there === toBeThere && facts.seeds.length === 0
  const steps: ReadonlyArray<readonly [string, string | null]> = [
    ["savepoint", beforeMerge],
    ["unlink", facts.moves ? sql.unlinkContested : null],
    ["journal", facts.contested ? sql.journal : null],
    ["toUpdate", untangled ? sql.expected : null],
    ["untangled", facts.untangle],
    ["moved", facts.moves ? sql.move : null],
    ["expected", facts.counted ? sql.expected : null],
    ["updated", allNew ? null : sql.update],
    ["rekeyed", allNew ? null : sql.updateUnique],
    ...facts.seeds.map((seed): readonly [string, string] => ["seeds", seed.count]),
    ...sql.moveOn.map((text): readonly [string, string] => ["sequence", text]),
    ["inserted", noneNew ? null : withSeeds(facts.seeds, allNew ? sql.insertAll : sql.insert)],
    ["deleted", absent === 0 ? null : sql.delete],
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
  const expected = result("expected")?.rows[0]
  // Rows that came along were not among those that are expected.
  const own = { ...written, inserted: count("inserted") }
  return {
    ...written,
    updated: (untangled ? Number(result("toUpdate")?.rows[0]?.["updated"]) : written.updated) + count("moved"),
    raced: result("raced")?.rows[0]?.raced === "t",
    dropped: untangled ? unapplied || null : droppedRows(expected, own),
    miscounted: untangled ? unapplied > 0 : isMiscounted(expected, own)
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

/** Each by itself, or one that was inserted too few and one that was updated too many would make up for each other. */
const isMiscounted = (
  expected: Row | undefined,
  written: Readonly<Record<"updated" | "inserted" | "deleted", number>>
) =>
  expected !== undefined
  && (["updated", "inserted", "deleted"] as const).some((name) => Number(expected[name]) !== written[name])

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
