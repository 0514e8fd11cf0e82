/**
 * What a first run would do with two filled databases, before anything is installed in them: table by table what is only
 * here, only there, equal and different, who would win, what would end in quarantine, and about how many bytes would
 * move. It writes nothing, and needs neither set-up nor lease.
 */
import { DateTime, Effect } from "effect"
import type { Policy } from "../domain/decide.ts"
import { hideKey } from "../domain/hiding.ts"
import type { Side } from "../domain/Side.ts"
import { label, opposite, sides } from "../domain/Side.ts"
import type { Key, SyncedTable } from "../domain/SyncedTable.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import type { Identity } from "../services/Database.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { retrying } from "./cycle.ts"
import { databases, onBoth } from "./databases.ts"
import { pairProblem } from "./pair.ts"
import { sayProgress } from "./sayProgress.ts"
import { inspectBoth, refuseSameDatabase } from "./setup.ts"
import type { DifferentRow, Surveyed, UniqueTwins } from "./survey.ts"
import { survey } from "./survey.ts"
import { wantedBy } from "./wanted.ts"

export interface PlanOptions {
  /** The roles may be such as only read: that a table is another role's is told as a note then, and is no misfit. */
  readonly readOnly: boolean
  /** Most rows of a table, and most twins, to name. */
  readonly show: number
}

/** `--json` prints it as it is. */
export interface Plan {
  readonly tables: ReadonlyArray<PlannedTable>
  /** What concerns both databases at once, and keeps them from being set up. */
  readonly problems: ReadonlyArray<string>
  readonly notes: ReadonlyArray<string>
}

export interface PlannedTable {
  readonly table: string
  /** Why the table can't be synced as it is; then there are no figures. */
  readonly problem: string | null
  readonly notes: ReadonlyArray<string>
  readonly figures: Figures | null
}

export interface Figures {
  /** Both sides captured it and compared it before: then this is no first contact. Null when the role may not see that. */
  readonly setUp: boolean | null
  readonly rows: Readonly<Record<Side, number>>
  readonly onlyOn: Readonly<Record<Side, number>>
  readonly equal: number
  readonly different: number
  /** What becomes of the rows that differ. Ties go to Replit. */
  readonly rule: { readonly policy: Policy; readonly stamp: string | null } & Readonly<Record<Side | "ties", number>>
  /** The first rows that differ: keys and stamps, no other values. */
  readonly sample: ReadonlyArray<PlannedRow>
  readonly twins: UniqueTwins
  /** What would travel: estimated, from what the first few rows take. */
  readonly estimatedBytes: number
  /** Where it is set up: keys that are pending and in quarantine already. */
  readonly waiting: Readonly<Record<Side, { readonly pending: number; readonly quarantined: number }>> | null
}

export interface PlannedRow {
  readonly key: Key
  readonly winner: Side
  readonly tie: boolean
  /** ISO 8601 to the microsecond; null without one, or at an infinity. */
  readonly stamps: Readonly<Record<Side, string | null>>
}

export const plan = Effect.fn("plan")(function*(options: PlanOptions) {
  const { retryFor } = yield* SyncConfig
  return yield* planOnce(options).pipe(retrying(retryFor))
})

/** 3 when something needs a person: a table that doesn't fit, a pair that is none, rows that would wait. */
export const planExitCode = ({ problems, tables }: Plan): 0 | 3 => {
  const waits = ({ figures, problem }: PlannedTable) =>
    problem !== null || figures !== null && (figures.twins.count > 0 || waitingIn(figures) > 0)
  return problems.length > 0 || tables.some(waits) ? 3 : 0
}

const waitingIn = ({ waiting }: Figures) =>
  waiting === null ? 0 : waiting.replit.quarantined + waiting.external.quarantined

const planOnce = Effect.fn("planOnce")(function*(options: PlanOptions) {
  const by = options.readOnly ? "reader" : "owner"
  const { names, notes } = yield* wantedBy(by)
  const contracts = yield* inspectBoth(names, by)
  const owners = options.readOnly ? yield* inspectBoth(names) : contracts
  const ours: Ours = yield* oursOn(options.readOnly)
  const tables = yield* Effect.forEach(contracts, ({ found, name }, index) =>
    Effect.gen(function*() {
      const table = display(name)
      if (found._tag !== "Fits") return { table, problem: found.problem, notes: [], figures: null }
      const asOwner = owners[index]!.found
      const figures = yield* figuresOf(found.table, found.text, ours, options).pipe(
        sayProgress(`Comparing both sides of ${table}, table ${index + 1} of ${names.length}`)
      )
      return {
        table,
        problem: null,
        notes: [
          ...found.warnings,
          ...found.notes,
          ...(asOwner._tag === "Fits" ? [] : [`These roles could not set it up: ${asOwner.problem}`]),
          ...emptyNotes(figures),
          ...twinNotes(figures)
        ],
        figures
      }
    }))
  return {
    tables,
    problems: yield* pairProblems(ours),
    notes: [
      ...notes,
      ...sides.flatMap((side) => ours[side] === null ? [hidden(side)] : [])
    ]
  } satisfies Plan
})

/** What of ours is on a side; null when the role may not look. */
type Ours = Readonly<
  Record<Side, { readonly identity: Identity | null; readonly captured: ReadonlyArray<TableName> } | null>
>

/** A reader may not be let into the schema. Whoever is to set things up must be, and hears how. */
const oursOn = (readOnly: boolean) =>
  onBoth((database) => {
    const ours = Effect.all({ identity: database.identity, captured: database.captured })
    return readOnly ? Effect.catchTag(ours, "ActionNeeded", () => Effect.succeed(null)) : ours
  })

const hidden = (side: Side) =>
  `On ${
    label(side)
  } vaivem is set up already, but this role may not see what it keeps there: what is pending is not told.`

const pairProblems = Effect.fn("pairProblems")(function*({ external, replit }: Ours) {
  const same = yield* refuseSameDatabase.pipe(
    Effect.as([]),
    Effect.catchTag("ActionNeeded", ({ message }) => Effect.succeed([message]))
  )
  if (same.length > 0 || replit === null || external === null) return same
  const problem = pairProblem({ replit: replit.identity, external: external.identity })
  return problem === null ? [] : [problem]
})

const figuresOf = Effect.fn("figuresOf")(
  function*(table: SyncedTable, contract: string, ours: Ours, { show }: PlanOptions) {
    const surveyed = yield* survey(table, show)
    const hidden = (yield* SyncConfig).hiddenOf(table.name)
    const shownKey = (key: Key) => hideKey(hidden, table.key, key)
    const { different, onlyOn, rows, sample, twins, wins } = surveyed
    return {
      setUp: yield* isSetUp(table, contract, ours),
      rows,
      onlyOn,
      // The app may go on writing between one look and the next.
      equal: Math.max(0, Math.min(rows.replit - onlyOn.replit, rows.external - onlyOn.external) - different),
      different,
      rule: { policy: table.policy, stamp: table.stamp, ...wins },
      sample: sample.map((row) => plannedRow({ ...row, key: shownKey(row.key) })),
      twins: {
        ...twins,
        sample: twins.sample.map(({ external, index, replit }) => ({
          index,
          replit: shownKey(replit),
          external: shownKey(external)
        }))
      },
      estimatedBytes: yield* estimate(table, surveyed),
      waiting: yield* waitingOn(table.name, ours)
    } satisfies Figures
  }
)

const isCaptured = ({ name }: Pick<SyncedTable, "name">, ours: Ours) =>
  sides.every((side) => ours[side]?.captured.some((captured) => display(captured) === display(name)) === true)

const isSetUp = Effect.fn("isSetUp")(function*(table: SyncedTable, contract: string, ours: Ours) {
  if (sides.some((side) => ours[side] === null)) return null
  if (!isCaptured(table, ours)) return false
  const known = yield* onBoth((database) => database.recall(table.name))
  return sides.every((side) => known[side]?.contract === contract)
})

const waitingOn = Effect.fn("waitingOn")(function*(name: TableName, ours: Ours) {
  if (!isCaptured({ name }, ours)) return null
  const found = yield* onBoth((database) => database.status([name]))
  const of = (side: Side) => {
    const { pending, quarantined } = found[side].tables[0]!
    return { pending, quarantined }
  }
  return { replit: of("replit"), external: of("external") }
})

/** The winner's row travels. Besides its values a row has its number, its change and its stamps, some 70 bytes. */
const estimate = Effect.fn("estimate")(function*(table: SyncedTable, { onlyOn, wins }: Surveyed) {
  const both = yield* databases
  const travelling = { replit: onlyOn.replit + wins.replit + wins.ties, external: onlyOn.external + wins.external }
  const bytes = yield* Effect.forEach(sides, (side) =>
    travelling[side] === 0
      ? Effect.succeed(0)
      : Effect.map(both[side].rowBytes(table), (size) => travelling[side] * ((size ?? 0) + 70)))
  return bytes.reduce((sum, it) => sum + it, 0)
})

const emptyNotes = ({ rows, setUp }: Figures): ReadonlyArray<string> =>
  sides.flatMap((side) => {
    if (setUp === true || rows[side] > 0 || rows[opposite(side)] === 0) return []
    return [
      `It is empty on ${label(side)}: that means new, not deleted. All rows of ${label(opposite(side))} are copied.`
    ]
  })

const twinNotes = ({ twins: { complete, skipped } }: Figures): ReadonlyArray<string> => [
  ...(complete
    ? []
    : ["Too many rows differ on both sides to look for unique twins among all of them: there may be more."]),
  ...(skipped.length === 0 ? [] : [`Unique twins were not looked for in ${skipped.join(", ")}.`])
]

const plannedRow = ({ key, stampUs, tie, winner }: DifferentRow): PlannedRow => ({
  key,
  winner,
  tie,
  stamps: { replit: iso(stampUs.replit), external: iso(stampUs.external) }
})

const iso = (us: bigint | null): string | null => {
  if (us === null) return null
  const fraction = ((us % million) + million) % million
  const seconds = DateTime.make(Number((us - fraction) / 1000n))
  return seconds._tag === "None"
    ? null
    : `${DateTime.formatIso(seconds.value).slice(0, -5)}.${String(fraction).padStart(6, "0")}Z`
}

const million = 1_000_000n
