/**
 * Proves that both sides hold the same rows, or says which differ. It compares like a first contact does, without marking
 * anything, while no cycle runs; `repair` then marks what differs, runs a cycle and compares again. A paused table is compared
 * like any other; nothing of it is marked, for no cycle would move that.
 */
import { Effect } from "effect"
import type { Difference } from "../domain/Difference.ts"
import { hideKey } from "../domain/hiding.ts"
import { isPaused, pausedProblem, type Pauses } from "../domain/pauses.ts"
import type { Side } from "../domain/Side.ts"
import { sides } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import type { Compared } from "../services/Database.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import type { Cycle, CycleReport } from "./cycle.ts"
import { onBoth } from "./databases.ts"
import { explain } from "./explain.ts"
import type { Reconciled } from "./reconcile.ts"
import { isEqual, reconcile } from "./reconcile.ts"
import { scan } from "./scan.ts"
import { inspectBoth } from "./setup.ts"
import { refuseTimeTravel, tokensOf } from "./timeTravel.ts"
import { sayHowLong, underLease } from "./underLease.ts"
import { wanted } from "./wanted.ts"

/** `--json` prints it as it is. */
export interface Verified {
  readonly tables: ReadonlyArray<VerifiedTable>
  /** What `repair` did; null when it was not asked for, or nothing differed but of paused tables. */
  readonly repaired: Omit<CycleReport, "setUp" | "ready"> | null
  /** How many keys `repair` would mark as pending on each side, of all tables; null unless `dryRun` was asked for. */
  readonly wouldMark: Readonly<Record<Side, number>> | null
}

export interface VerifyOptions {
  readonly repair: boolean
  /** With `repair`: only say what it would do. */
  readonly dryRun: boolean
  /** Most differing keys of a table to name. */
  readonly show: number
}

export interface VerifiedTable {
  readonly table: string
  /** `unproven`: the only differences have changes on their way. `waiting`: the table can't be compared or synced now. */
  readonly outcome: "equal" | "different" | "unproven" | "waiting"
  readonly rows: Readonly<Record<Side, number>> | null
  /** Keys that differ for no reason known: with one side's row missing, or both there with different content. */
  readonly onlyOn: Readonly<Record<Side, number>>
  readonly different: number
  /** Keys that differ and have a change pending, which the next cycle moves. */
  readonly unproven: number
  /** Keys that differ because the other side refused the change. */
  readonly quarantined: number
  /** The first keys that differ, at most `VerifyOptions.show`. */
  readonly sample: ReadonlyArray<Difference>
  /** Of the ranges of keys that were compared, how many differed at first; null when nothing was compared. */
  readonly ranges: { readonly compared: number; readonly different: number } | null
  /** What left the databases for the comparison, both together. */
  readonly bytes: number
  /** Why the table waits, or that it differs and is paused. */
  readonly problem: string | null
}

export const verify = Effect.fn("verify")(function*(cycle: Cycle, options: VerifyOptions) {
  const { retryFor } = yield* SyncConfig
  const { names: tables } = yield* wanted
  const { show } = options
  const pauses = (yield* (yield* ReplitDb).pauses).map(({ table }) => table)
  const moving = tables.filter((table) => !isPaused(pauses, table))
  const look = Effect.map(
    underLease(compareAll(tables, { mark: false, show })),
    (found) => found.map((table, index) => isPaused(pauses, tables[index]!) ? whilePaused(table, pauses) : table)
  )
  const found = yield* look
  const done = { tables: found, repaired: null, wouldMark: null } satisfies Verified
  const mendable = found.filter((_, index) => moving.includes(tables[index]!))
  if (!options.repair || mendable.every(({ outcome }) => outcome === "equal")) return done
  if (options.dryRun) return { ...done, wouldMark: marksOf(mendable) } satisfies Verified
  yield* underLease(Effect.gen(function*() {
    // Marks would be written before the cycle refuses.
    yield* refuseTimeTravel(yield* tokensOf)
    yield* compareAll(moving, { mark: true, show })
  }))
  const { ready: _, setUp: __, ...repaired } = yield* cycle({ retryFor, lease: "wait", notBefore: 0 }).pipe(
    sayHowLong(retryFor)
  )
  return { ...done, tables: yield* look, repaired } satisfies Verified
})

/** What differs of a paused table, with a change on its way or not, stays so until somebody resumes it. */
const whilePaused = (found: VerifiedTable, pauses: Pauses): VerifiedTable =>
  found.outcome === "equal" || found.outcome === "waiting"
    ? found
    : {
      ...found,
      problem: pausedProblem(pauses.find((table) => table === null || display(table) === found.table) ?? null)
    }

/** What is pending already, in quarantine or not, needs no mark. */
const marksOf = (found: ReadonlyArray<VerifiedTable>) => {
  const marks = (side: Side) => found.reduce((sum, { different, onlyOn }) => sum + onlyOn[side] + different, 0)
  return { replit: marks("replit"), external: marks("external") }
}

/** 3 when something differs, waits or is paused and not equal, 1 when it can't be told yet, 0 when everything is equal. */
export const verifyExitCode = ({ tables }: Verified): 0 | 1 | 3 => {
  const outcomes = new Set(tables.map(({ outcome }) => outcome))
  if (outcomes.has("different") || tables.some(({ problem }) => problem !== null)) return 3
  return outcomes.has("unproven") ? 1 : 0
}

const compareAll = Effect.fn("compareAll")(
  function*(names: ReadonlyArray<TableName>, options: { readonly mark: boolean; readonly show: number }) {
    yield* refuseUncaptured(names)
    const contracts = yield* inspectBoth(names)
    return yield* Effect.forEach(
      contracts,
      ({ found, name }, index) =>
        found._tag === "Fits"
          ? compareTable(found.table, {
            ...options,
            what: `Comparing ${display(name)}, table ${index + 1} of ${names.length}`
          })
          : Effect.succeed(waiting(name, found.problem))
    )
  }
)

/** Without capture nobody knows what is pending, and nothing could be repaired. */
const refuseUncaptured = Effect.fn("refuseUncaptured")(function*(names: ReadonlyArray<TableName>) {
  const captured = yield* onBoth((database) => database.captured)
  const missing = names.map(display).filter((name) => sides.some((side) => !captured[side].map(display).includes(name)))
  if (missing.length > 0) {
    return yield* new ActionNeeded({
      message: `Not set up yet on both sides: ${missing.join(", ")}. Run \`--once\` or \`setup\` first.`
    })
  }
})

const compareTable = Effect.fn("compareTable")(function*(
  table: SyncedTable,
  { mark, show, what }: { readonly mark: boolean; readonly show: number; readonly what: string }
) {
  const { hiddenOf } = yield* SyncConfig
  const reconciled = yield* reconcile(table, { mark, sampleMax: Math.max(keysMax, show), what })
  if (isEqual(reconciled)) return equal(table.name, reconciled)
  yield* scan([table], "now")
  const differences = yield* explain(table, differencesIn(reconciled))
  const counts = (kind: Difference["kind"]) =>
    differences.filter((it) => it.why === "unknown" && it.kind === kind).length
  const beyond = countBeyond(reconciled)
  const onlyOn = {
    replit: counts("only-on-replit") + beyond.onlyOn.replit,
    external: counts("only-on-external") + beyond.onlyOn.external
  }
  const different = counts("different") + beyond.different
  const unproven = differences.filter(({ why }) => why === "pending").length + beyond.unproven
  const quarantined = differences.filter(({ why }) => why === "quarantined").length
  const isDifferent = onlyOn.replit + onlyOn.external + different + quarantined > 0
  return {
    table: display(table.name),
    outcome: isDifferent ? "different" : unproven > 0 ? "unproven" : "equal",
    rows: reconciled.rows,
    onlyOn,
    different,
    unproven,
    quarantined,
    sample: differences.slice(0, show).map(({ key, kind, why }) => ({
      key: hideKey(hiddenOf(table.name), table.key, key),
      kind,
      why
    })),
    ranges: reconciled.ranges,
    bytes: reconciled.bytes,
    problem: null
  } satisfies VerifiedTable
})

/** Keys beyond the `keysMax` that are looked at one by one: counted by what each side says of its own queue. */
const countBeyond = ({ external, replit }: Reconciled) => {
  const beyond = {
    replit: replit.onlyHere - countOf(replit, "only-here"),
    external: external.onlyHere - countOf(external, "only-here"),
    different: replit.different - countOf(replit, "different")
  }
  const pendingIn = ({ pending, sample }: Compared) => pending - sample.filter((it) => it.pending).length
  const all = beyond.replit + beyond.external + beyond.different
  const unproven = Math.min(all, pendingIn(replit) + pendingIn(external))
  // Which of them are pending is not known: those that are there with different content are counted off first.
  const different = Math.max(0, beyond.different - unproven)
  const left = Math.max(0, unproven - beyond.different)
  const onReplit = Math.max(0, beyond.replit - left)
  const onExternal = Math.max(0, beyond.external - Math.max(0, left - beyond.replit))
  return { onlyOn: { replit: onReplit, external: onExternal }, different, unproven }
}

const differencesIn = ({ external, replit }: Reconciled): ReadonlyArray<Omit<Difference, "why">> => {
  const byKey = new Map<string, Omit<Difference, "why">>()
  const add = (compared: Compared, kind: Difference["kind"]) => {
    for (const it of compared.sample) {
      byKey.set(JSON.stringify(it.key), { key: it.key, kind: it.kind === "different" ? "different" : kind })
    }
  }
  add(replit, "only-on-replit")
  add(external, "only-on-external")
  return [...byKey.values()]
}

const countOf = ({ sample }: Compared, kind: "only-here" | "different") =>
  sample.filter((it) => it.kind === kind).length

const nothing = {
  onlyOn: { replit: 0, external: 0 },
  different: 0,
  unproven: 0,
  quarantined: 0,
  sample: [],
  ranges: null,
  bytes: 0,
  problem: null
}

const equal = (name: TableName, { bytes, ranges, rows }: Reconciled): VerifiedTable => ({
  ...nothing,
  table: display(name),
  outcome: "equal",
  rows,
  ranges,
  bytes
})

const waiting = (name: TableName, problem: string): VerifiedTable => ({
  ...nothing,
  table: display(name),
  outcome: "waiting",
  rows: null,
  problem
})

/** Most differing keys, per side, that are looked at one by one. */
const keysMax = 1_000
