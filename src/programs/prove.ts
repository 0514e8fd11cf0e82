/**
 * The rolling proof: after some cycles of the service, a few stretches of each table are compared, so that in time every
 * row is proven equal, and again and again. It reads only, and it has a cadence and a budget of its own.
 *
 * A stretch is so many keys in the order of Replit's primary key, of which both sides send their number and one hash.
 * Where these differ the stretch is made short, and keys and hashes of its rows are compared one by one; what still differs
 * is looked up by its key, because the other side may order texts otherwise. So equal sums prove equal rows whatever the
 * collations are, and unlike ones prove nothing yet.
 */
import { Clock, Effect, Ref } from "effect"
import type { Difference } from "../domain/Difference.ts"
import type { Proof, Round, Stretched } from "../domain/Proof.ts"
import { advance, beginRound, closes, newDifferences, noProof, reopen } from "../domain/Proof.ts"
import { amount } from "../domain/Quantity.ts"
import type { Side } from "../domain/Side.ts"
import type { Key, SyncedTable } from "../domain/SyncedTable.ts"
import { display } from "../domain/TableName.ts"
import type { Hashed, Stretch } from "../services/Database.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import type { CycleReport } from "./cycle.ts"
import { databases, onBoth } from "./databases.ts"
import { explain } from "./explain.ts"

/** Makes what the service runs after each cycle: nothing most times, a turn when one is due. One per process. */
export const makeProver = Effect.map(
  Ref.make<number | null>(null),
  (lastMs) =>
    Effect.fn("prove")(function*(report: CycleReport) {
      const { verifyBudget } = yield* SyncConfig
      const nowMs = yield* Clock.currentTimeMillis
      const last = yield* Ref.get(lastMs)
      if (verifyBudget === null || report.outcome === "not-due") return
      if (last !== null && nowMs - last < turnEveryMs) return
      yield* Ref.set(lastMs, nowMs)
      const paused = new Set(report.paused.map(({ table }) => table))
      const tables = report.ready.filter(({ name }) => !paused.has(display(name)))
      yield* proveTurn(tables, Math.ceil((verifyBudget * turnEveryMs) / dayMs)).pipe(
        // The sync itself got through; whatever is wrong will be its own failure, or pass.
        Effect.catchAll((error) =>
          Effect.logWarning("The rolling proof stopped; it goes on in an hour").pipe(
            Effect.annotateLogs({ reason: error.message })
          )
        )
      )
    })
)

/**
 * One turn: goes on with each table, the one that was proven longest ago first, until every table's round is through or the
 * turn has taken 2 seconds or `bytesMax` out of the databases. No cycle runs meanwhile; if one of another copy does,
 * there is no turn.
 */
export const proveTurn = Effect.fn("proveTurn")(function*(tables: ReadonlyArray<SyncedTable>, bytesMax: number) {
  const replit = yield* ReplitDb
  const endMs = (yield* Clock.currentTimeMillis) + turnMs
  const spent = yield* Ref.make(0)
  const mayGoOn = Effect.gen(function*() {
    return (yield* Ref.get(spent)) < bytesMax && (yield* Clock.currentTimeMillis) < endMs
  })
  yield* Effect.scoped(Effect.gen(function*() {
    if (!(yield* replit.lease)) return
    const proofs = yield* replit.proofs
    const proofOf = (table: SyncedTable) => proofs.get(display(table.name)) ?? noProof
    const longestAgo = tables.toSorted((a, b) => provenMs(proofOf(a)) - provenMs(proofOf(b)))
    for (const table of longestAgo) {
      if (!(yield* mayGoOn)) return
      yield* goOn(table, proofOf(table), mayGoOn, spent)
    }
  }))
})

/** A table of which nothing is proven comes first. */
const provenMs = ({ last }: Proof): number => last?.startedMs ?? 0

const goOn = Effect.fn("goOn")(function*(
  table: SyncedTable,
  before: Proof,
  mayGoOn: Effect.Effect<boolean>,
  spent: Ref.Ref<number>
) {
  const replit = yield* ReplitDb
  const start = before.current ?? beginRound(yield* Clock.currentTimeMillis)
  let round = yield* lookAgain(table, start, spent)
  let size = stretchRows
  while (!round.isThrough && (yield* mayGoOn)) {
    const found = yield* compareStretch(table, round.after, size, spent)
    if (found === null) {
      size = shortRows
      continue
    }
    round = advance(round, found)
    size = Math.min(size * 2, stretchRowsMax)
  }
  // What has a change on its way gets a cycle's time before it counts as not proven.
  const isOver = closes(round, start.isThrough)
  yield* tell(table, before.current?.open ?? before.last?.open ?? [], round.open)
  yield* replit.noteProof(table.name, isOver ? { current: null, last: round } : { ...before, current: round })
})

/** Keys that were not equal last time may be so by now. */
const lookAgain = Effect.fn("lookAgain")(function*(table: SyncedTable, round: Round, spent: Ref.Ref<number>) {
  if (round.open.length === 0) return round
  const { equal, still } = yield* byKeys(table, round.open.map(({ key }) => key), spent)
  return reopen(round, yield* explain(table, still), equal)
})

/** Null when the stretch is not the same on both sides, and too long to look at each of its rows. */
const compareStretch = Effect.fn("compareStretch")(function*(
  table: SyncedTable,
  after: Key | null,
  size: number,
  spent: Ref.Ref<number>
) {
  const { external, replit } = yield* databases
  // Where Replit has no more rows, external may still have many.
  const upTo = (yield* replit.boundary(table, after, size)) ?? (yield* external.boundary(table, after, size))
  const stretch = { after, upTo }
  const digests = yield* onBoth((database) => database.stretch(table, stretch))
  yield* spend(spent, answerBytes)
  if (digests.replit.rows === digests.external.rows && digests.replit.hash === digests.external.hash) {
    return { upTo, equal: digests.replit.rows, differences: [], uncounted: 0 } satisfies Stretched
  }
  if (size > shortRows) return null
  const most = Math.max(digests.replit.rows, digests.external.rows)
  if (most > 4 * shortRows) {
    return { upTo, equal: 0, differences: [], uncounted: most } satisfies Stretched
  }
  return { upTo, uncounted: 0, ...(yield* compareRows(table, stretch, spent)) } satisfies Stretched
})

/** Row by row: what the other side has not got in this stretch, it may have in another. */
const compareRows = Effect.fn("compareRows")(function*(table: SyncedTable, stretch: Stretch, spent: Ref.Ref<number>) {
  const found = yield* onBoth((database) => database.hashes(table, stretch))
  for (const hashes of [found.replit, found.external]) yield* spend(spent, bytesOf(hashes))
  const other = byKey(found.external)
  const suspects = new Map<string, Key>()
  let equal = 0
  for (const { hash, key } of found.replit) {
    const id = JSON.stringify(key)
    if (other.get(id)?.hash === hash) equal++
    else suspects.set(id, key)
  }
  const own = byKey(found.replit)
  for (const { key } of found.external) {
    const id = JSON.stringify(key)
    if (!own.has(id)) suspects.set(id, key)
  }
  const looked = yield* byKeys(table, [...suspects.values()], spent)
  // A row of external's that Replit has in another stretch is counted there.
  const alsoHere = looked.same.filter((key) => own.has(JSON.stringify(key))).length
  return { equal: equal + alsoHere, differences: yield* explain(table, looked.still) }
})

/** Compares rows by their keys, and nothing else. */
const byKeys = Effect.fn("byKeys")(function*(
  table: SyncedTable,
  keys: ReadonlyArray<Key>,
  spent: Ref.Ref<number>
) {
  const found = yield* onBoth((database) => database.hashesOf(table, keys))
  for (const side of ["replit", "external"] as const) {
    yield* spend(spent, bytesOf(found[side].filter((row) => row !== null)))
  }
  const same: Array<Key> = []
  const still: Array<Omit<Difference, "why">> = []
  let equal = 0
  keys.forEach((key, place) => {
    const [here, there] = [found.replit[place]!, found.external[place]!]
    if (here?.hash === there?.hash) {
      same.push(key)
      if (here !== null) equal++
    } else still.push({ key, kind: kindOf(here, there) })
  })
  return { same, still, equal }
})

const kindOf = (replit: Hashed | null, external: Hashed | null): Difference["kind"] =>
  external === null ? "only-on-replit" : replit === null ? "only-on-external" : "different"

/** Says it once for each key, and has it mended if that is wanted. */
const tell = Effect.fn("tell")(function*(
  table: SyncedTable,
  before: ReadonlyArray<Difference>,
  now: ReadonlyArray<Difference>
) {
  const found = newDifferences(before, now)
  if (found.length === 0) return
  const { verifyRepair } = yield* SyncConfig
  yield* Effect.logError(
    `${amount(found.length, "row")} of ${display(table.name)} ${
      found.length === 1 ? "differs" : "differ"
    } on the two sides `
      + "although no change is on its way: something wrote past capture. "
      + (verifyRepair
        ? "The next cycle makes them equal by the conflict rule (SYNC_VERIFY_REPAIR)."
        : "`verify` names them, `verify --repair` makes them equal by the conflict rule.")
  )
  if (!verifyRepair) return
  const both = yield* databases
  const mark = (side: Side, elsewhere: Difference["kind"]) =>
    both[side].mark(table, found.filter(({ kind }) => kind !== elsewhere).map(({ key }) => key))
  yield* mark("replit", "only-on-external")
  yield* mark("external", "only-on-replit")
})

const byKey = (rows: ReadonlyArray<Hashed>) => new Map(rows.map((row) => [JSON.stringify(row.key), row]))

const spend = (spent: Ref.Ref<number>, bytes: number) => Ref.update(spent, (sum) => sum + bytes)

/** As the protocol has a row of two texts. */
const bytesOf = (rows: ReadonlyArray<Hashed>): number =>
  rows.reduce((sum, { hash, key }) => sum + 15 + JSON.stringify(key).length + hash.length, 0)

/** Of the question for a stretch, both sides together. */
const answerBytes = 200

const dayMs = 86_400_000
const turnEveryMs = 3_600_000
/** Cycles wait so long, once an hour. */
const turnMs = 2_000
/** About 30 ms of hashing, to begin with. */
const stretchRows = 10_000
const stretchRowsMax = 50_000
/** Keys and hashes of so many rows, about 60 kB from each side, are sent and compared one by one. */
const shortRows = 1_000
