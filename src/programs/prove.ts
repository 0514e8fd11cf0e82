/**
 * The rolling proof: now and then, after a cycle, a few stretches of each table are compared, so that in time every row is
 * proven equal, and again and again. It reads only, and it has a cadence and a budget of its own.
 *
 * A stretch is so many keys in the order of Replit's primary key, of which both sides send their number and one hash.
 * Where these differ the stretch is made short, and keys and hashes of its rows are compared one by one; what still differs
 * is looked up by its key, because the other side may order texts otherwise. So equal sums prove equal rows whatever the
 * collations are, and unlike ones prove nothing yet.
 */
import { Clock, Effect, Option, Ref } from "effect"
import type { Difference } from "../domain/Difference.ts"
import type { Proof, Round, Stretched } from "../domain/Proof.ts"
import {
  advance,
  beginRound,
  closes,
  differing,
  newDifferences,
  noProof,
  reopen,
  settleSurplus
} from "../domain/Proof.ts"
import { amount } from "../domain/Quantity.ts"
import { sides } from "../domain/Side.ts"
import { isElsewhere } from "../domain/Summary.ts"
import type { Key, SyncedTable } from "../domain/SyncedTable.ts"
import { display } from "../domain/TableName.ts"
import type { Hashed, Stretch } from "../services/Database.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import type { CycleReport } from "./cycle.ts"
import { onBoth } from "./databases.ts"
import { explain } from "./explain.ts"
import { holding } from "./holding.ts"
import { reconcile } from "./reconcile.ts"

/** What a turn found out about one table. */
export interface Proved {
  readonly table: string
  /** Rows that differ and were not known to. */
  readonly found: number
  /** How many keys are not proven equal, now that a round is over; null while it is under way. */
  readonly open: number | null
}

/**
 * Makes what runs after a cycle, and returns what it found: nothing most times, not even a question, and a turn when one is
 * due. One per process. When the next one is due is kept on Replit's side, so that `--once` every five minutes has no more
 * turns than the service.
 */
export const makeProver = Effect.map(
  Ref.make(-Infinity),
  (notBeforeMs) =>
    Effect.fn("prove", { root: true })(function*(report: CycleReport) {
      const { verifyBudget } = yield* SyncConfig
      const nowMs = yield* Clock.currentTimeMillis
      if (
        verifyBudget === null || isElsewhere(report) || nowMs < (yield* Ref.get(notBeforeMs))
      ) return []
      const proved = yield* Ref.make<ReadonlyArray<Proved>>([])
      const paused = new Set(report.paused.map(({ table }) => table))
      const tables = report.ready.filter(({ name }) => !paused.has(display(name)))
      const dueInMs = yield* proveTurn(
        tables,
        verifyBudget,
        (one) => Ref.update(proved, (before) => [...before, one])
      ).pipe(
        // The sync itself got through; whatever is wrong will be its own failure, or pass.
        Effect.catchAll((error) =>
          Effect.logWarning("The rolling proof stopped; it goes on in an hour").pipe(
            Effect.annotateLogs({ reason: error.message }),
            Effect.as(turnEveryMs)
          )
        )
      )
      yield* Ref.set(notBeforeMs, nowMs + dueInMs)
      return yield* Ref.get(proved)
    })
)

/**
 * One turn, if one is due: goes on with each table, the one that was looked at longest ago first, until every table's round
 * is through or the turn has taken 2 seconds or an hour's part of the day's budget. No cycle runs meanwhile; if one of
 * another copy does, there is no turn. Returns after how many milliseconds the next one is due.
 */
export const proveTurn = Effect.fn("proveTurn")(function*(
  tables: ReadonlyArray<SyncedTable>,
  bytesADay: number,
  onProved: (proved: Proved) => Effect.Effect<void> = () => Effect.void
) {
  const replit = yield* ReplitDb
  const spent = yield* Ref.make(0)
  const turn = Effect.gen(function*() {
    const { dueInMs, of: proofs } = yield* replit.proofs
    if (dueInMs > 0) return dueInMs
    const startedMs = yield* Clock.currentTimeMillis
    const bytesMax = (bytesADay * turnEveryMs) / dayMs
    for (const [place, table] of longestAgo(tables, proofs).entries()) {
      // What one table leaves of its part is the next ones'.
      const part = 1 / (tables.length - place)
      const [elapsedMs, bytes] = [(yield* Clock.currentTimeMillis) - startedMs, yield* Ref.get(spent)]
      if (elapsedMs >= turnMs || bytes >= bytesMax) break
      yield* onProved(
        yield* goOn(table, proofs.get(display(table.name)) ?? noProof, spent, {
          untilMs: startedMs + elapsedMs + part * (turnMs - elapsedMs),
          untilBytes: bytes + part * (bytesMax - bytes)
        })
      )
    }
    // Comparing rows one by one can cost more than there was: then the next turn comes later.
    const nextInMs = Math.max(turnEveryMs, Math.round(((yield* Ref.get(spent)) / bytesADay) * dayMs))
    yield* replit.noteTurn(nextInMs)
    return nextInMs
  })
  return Option.getOrElse(yield* holding(() => turn), () => turnEveryMs)
})

/** A table that was never looked at comes first. */
const longestAgo = (tables: ReadonlyArray<SyncedTable>, proofs: ReadonlyMap<string, Proof>) => {
  const order = [...proofs.keys()]
  const place = ({ name }: SyncedTable) => order.indexOf(display(name))
  return tables.toSorted((a, b) => place(a) - place(b))
}

interface Limits {
  readonly untilMs: number
  readonly untilBytes: number
}

/** At least one stretch. */
const goOn = Effect.fn("goOn")(function*(table: SyncedTable, before: Proof, spent: Ref.Ref<number>, limits: Limits) {
  const replit = yield* ReplitDb
  const start = before.current ?? beginRound(yield* Clock.currentTimeMillis)
  const known = before.current?.open ?? before.last?.open ?? []
  let round = yield* lookAgain(table, start, spent)
  const differences = [...round.open]
  let surplus = 0
  let size = stretchRows
  while (!round.isThrough) {
    const beganMs = yield* Clock.currentTimeMillis
    const found = yield* compareStretch(table, round.after, size, spent)
    const nowMs = yield* Clock.currentTimeMillis
    if (found._tag === "TooLong") size = Math.min(shortRows, Math.ceil(size / 4))
    else {
      round = advance(round, found)
      differences.push(...found.differences)
      size = nextSize(size, nowMs - beganMs)
    }
    if (nowMs >= limits.untilMs || (yield* Ref.get(spent)) >= limits.untilBytes) break
  }
  if (round.isThrough && round.surplus) {
    const { beyond } = round
    round = settleSurplus(round, yield* onBoth((database) => database.countRows(table, null)))
    // What the app has just written there is no error.
    const { allChanges } = yield* (yield* ExternalDb).glance(table, 0n)
    if (round.beyond > beyond && allChanges === 0) {
      surplus = round.beyond - beyond
      yield* tellSurplus(table, surplus)
    }
  }
  // What has a change on its way gets a cycle's time before it counts as not proven.
  const isOver = closes(round, start.isThrough)
  const found = newDifferences(known, differences)
  yield* tell(table, found)
  yield* replit.noteProof(table.name, isOver ? { current: null, last: round } : { ...before, current: round })
  return {
    table: display(table.name),
    found: found.length + surplus,
    open: isOver ? round.open.length + round.beyond : null
  } satisfies Proved as Proved
})

/** Keys that were not equal last time may be so by now. */
const lookAgain = Effect.fn("lookAgain")(function*(table: SyncedTable, round: Round, spent: Ref.Ref<number>) {
  if (round.open.length === 0) return round
  const { equal, still } = yield* byKeys(table, round.open.map(({ key }) => key), spent)
  return reopen(round, yield* explain(table, still), equal.length)
})

type Looked = Stretched & { readonly _tag: "Looked" } | { readonly _tag: "TooLong" }

/** Too long: not the same on both sides with too many rows to look at each of them, or not hashed in time. */
const compareStretch = Effect.fn("compareStretch")(
  function*(table: SyncedTable, after: Key | null, size: number, spent: Ref.Ref<number>) {
    const upTo = yield* (yield* ReplitDb).boundary(table, after, size)
    const stretch = { after, upTo }
    const digests = yield* onBoth((database) => database.stretch(table, stretch))
    yield* spend(spent, answerBytes)
    const { hash, rows } = digests.replit
    const isSame = rows === digests.external.rows && hash === digests.external.hash
    if (isSame) return { _tag: "Looked", upTo, equal: rows, differences: [], surplus: false } as Looked
    // More rows than were asked for: the app has just written them.
    if (size > shortRows || rows > manyRows) return { _tag: "TooLong" } as Looked
    const surplus = digests.external.rows > manyRows
    const looked = yield* surplus ? compareOwn(table, stretch, spent) : compareRows(table, stretch, spent)
    return { _tag: "Looked", upTo, surplus, ...looked } as Looked
  },
  (self, _table, _after, size) =>
    Effect.catchIf(
      self,
      (error) => error._tag === "Contended" && error.reason === "statement-timeout" && size > 1,
      () => Effect.succeed<Looked>({ _tag: "TooLong" })
    )
)

/** Row by row: what the other side has not got in this stretch, it may have in another. */
const compareRows = Effect.fn("compareRows")(function*(table: SyncedTable, stretch: Stretch, spent: Ref.Ref<number>) {
  const found = yield* onBoth((database) => database.hashes(table, stretch))
  for (const side of sides) yield* spend(spent, bytesOf(found[side]))
  const [own, other] = [byKey(found.replit), byKey(found.external)]
  const differs = ({ hash, key }: Hashed, there: ReadonlyMap<string, Hashed>) => there.get(idOf(key))?.hash !== hash
  const here = found.replit.filter((row) => differs(row, other))
  const there = found.external.filter((row) => differs(row, own) && !own.has(idOf(row.key)))
  const looked = yield* byKeys(table, [...here, ...there].map(({ key }) => key), spent)
  // A row of external's that Replit has in another stretch is counted there.
  const alsoHere = looked.equal.filter((key) => own.has(idOf(key))).length
  return {
    equal: found.replit.length - here.length + alsoHere,
    differences: yield* explain(table, looked.still)
  }
})

/** Replit's rows only, where external has too many in this stretch. */
const compareOwn = Effect.fn("compareOwn")(function*(table: SyncedTable, stretch: Stretch, spent: Ref.Ref<number>) {
  const own = yield* (yield* ReplitDb).hashes(table, stretch)
  yield* spend(spent, bytesOf(own))
  const { equal, still } = yield* byKeys(table, own.map(({ key }) => key), spent)
  return { equal: equal.length, differences: yield* explain(table, still) }
})

/** Compares rows by their keys, wherever they are. Keys that neither side has are neither equal nor different. */
const byKeys = Effect.fn("byKeys")(function*(
  table: SyncedTable,
  keys: ReadonlyArray<Key>,
  spent: Ref.Ref<number>
) {
  const found = yield* onBoth((database) => database.hashesOf(table, keys))
  yield* spend(spent, 2 * keys.length * hashBytes)
  const pairs = keys.map((key, place) => ({ key, replit: found.replit[place]!, external: found.external[place]! }))
  return {
    equal: pairs.filter(({ external, replit }) => replit !== null && replit === external).map(({ key }) => key),
    still: pairs.filter(({ external, replit }) => replit !== external).map(({ key, ...hashes }) => ({
      key,
      kind: kindOf(hashes)
    }))
  }
})

const kindOf = ({ external, replit }: { readonly external: string | null; readonly replit: string | null }) =>
  external === null
    ? "only-on-replit" as const
    : replit === null
    ? "only-on-external" as const
    : "different" as const

/** Says it, and has it mended if that is wanted. */
const tell = Effect.fn("tell")(function*(table: SyncedTable, found: ReadonlyArray<Difference>) {
  if (found.length === 0) return
  yield* say(table, found.length, `Of ${display(table.name)} ${differing(found.length)} on the two sides`)
  if (!(yield* SyncConfig).verifyRepair) return
  // On one side only, where the row is on one side only.
  yield* onBoth((database) =>
    database.mark(
      table,
      found.filter(({ kind }) => kind === "different" || kind === `only-on-${database.side}`).map(({ key }) => key)
    )
  )
})

/** The same of rows whose keys nobody asked for: all of the table is compared, to mark them. */
const tellSurplus = Effect.fn("tellSurplus")(function*(table: SyncedTable, rows: number) {
  yield* say(table, rows, `External has about ${amount(rows, "row")} of ${display(table.name)} that Replit lacks`)
  if ((yield* SyncConfig).verifyRepair) yield* reconcile(table, { mark: true, sampleMax: 0 })
})

const say = Effect.fn("say")(function*(table: SyncedTable, rows: number, what: string) {
  const { verifyRepair } = yield* SyncConfig
  const reason = `${what} although no change is on its way: something wrote past the triggers. ${
    verifyRepair
      ? "The next cycle makes them equal by the conflict rule (SYNC_VERIFY_REPAIR)."
      : "`verify` names them, `verify --repair` makes them equal by the conflict rule."
  }`
  yield* Effect.logError("Difference found").pipe(Effect.annotateLogs({ table: display(table.name), rows, reason }))
})

/** A stretch should take a quarter of a second: other copies' cycles wait as long as a turn. */
const nextSize = (size: number, tookMs: number): number =>
  Math.round(Math.min(stretchRowsMax, Math.max(shortRows, size * Math.min(2, stretchMs / Math.max(1, tookMs)))))

const idOf = (key: Key): string => JSON.stringify(key)

const byKey = (rows: ReadonlyArray<Hashed>) => new Map(rows.map((row) => [idOf(row.key), row]))

const spend = (spent: Ref.Ref<number>, bytes: number) => Ref.update(spent, (sum) => sum + bytes)

/** As the protocol has a row of two texts. */
const bytesOf = (rows: ReadonlyArray<Hashed>): number =>
  rows.reduce((sum, { hash, key }) => sum + 15 + idOf(key).length + hash.length, 0)

/** A row's place and hash, as the protocol has them. */
const hashBytes = 40
/** Of the questions for a stretch, both sides together. */
const answerBytes = 200

const dayMs = 86_400_000
const turnEveryMs = 3_600_000
/** Other copies' cycles wait so long, once an hour. */
const turnMs = 2_000
const stretchMs = 250
/** About 30 ms of hashing, to begin with. */
const stretchRows = 10_000
const stretchRowsMax = 50_000
/** Keys and hashes of so many rows, about 60 kB from each side, are sent and compared one by one. */
const shortRows = 1_000
/** A stretch that holds more on one side isn't: it would take too many bytes and too much memory. */
const manyRows = 4 * shortRows
