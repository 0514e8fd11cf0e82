/** How things stand on both sides: what waits, what lost, how many rows there are. Reads only, and never waits for the lease. */
import { DateTime, Effect, Either } from "effect"
import type { Concerned } from "../domain/brake.ts"
import { hideKey } from "../domain/hiding.ts"
import type { Proven } from "../domain/Proof.ts"
import { noProof, provenOf } from "../domain/Proof.ts"
import type { Side } from "../domain/Side.ts"
import { sides } from "../domain/Side.ts"
import { exitCode } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display, isSelected } from "../domain/TableName.ts"
import type { Leased, Run, Spent } from "../services/Database.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { retrying } from "./cycle.ts"
import { onBoth } from "./databases.ts"
import { hiding, type Shows } from "./hiding.ts"

/** `--json` prints it as it is. A side that could not be asked is null throughout, and in `unreachable`. */
export interface Status {
  /** By our own clock; ISO 8601. */
  readonly askedAt: string
  readonly tables: ReadonlyArray<
    & { readonly table: string }
    & Readonly<Record<Side, TableStatus | null>>
    /** How much of it the service has proven equal; null when that is nothing yet, or can't be told. */
    & { readonly proven: Proven | null }
  >
  /** Whether vaivem is installed there and paired. */
  readonly setUp: Readonly<Record<Side, boolean | null>>
  /** Tables that the brake holds, until somebody approves or rejects that. */
  readonly held: ReadonlyArray<{ readonly table: string; readonly since: string } & Readonly<Record<Side, Concerned>>>
  /** What a person paused, until somebody says `resume`; null is all tables. */
  readonly pauses: ReadonlyArray<{ readonly table: string | null; readonly since: string }>
  /** Which copy does the work, since when, and whether it has the lease at this moment; null before any did. */
  readonly active:
    | { readonly holder: string; readonly since: string; readonly epoch: number; readonly isHeld: boolean }
    | null
  /** When the last cycle ended, idle or not; ISO 8601. */
  readonly lastCycleAt: string | null
  /** The last cycle that moved something or failed. */
  readonly lastRun: Run | null
  /** What visits cost since the first of the month (UTC): cycles and the rolling proof, not other commands. */
  readonly bill: Readonly<Record<Side, Spent>> | null
  readonly unreachable: ReadonlyArray<Unreachable>
}

export interface TableStatus {
  /** Null when the table is not there. */
  readonly rows: number | null
  readonly pending: number
  readonly oldestPendingSeconds: number | null
  readonly quarantined: number
  readonly conflicts: number
  /** Conflicts that were not restored. */
  readonly unrestored: number
  /** Of those, the ones that no person has decided: by the rule or a cascade, neither restored nor kept. */
  readonly undecided: number
}

export interface Unreachable {
  readonly side: Side
  readonly message: string
  readonly exitCode: 1 | 2 | 3
}

export const status = Effect.gen(function*() {
  const captured = yield* onBoth((database) => Effect.either(database.captured.pipe(retrying("2 seconds"))))
  const tables = yield* namesOf(sides.flatMap((side) => Either.getOrElse(captured[side], () => [])))
  // Keys are told of rows that are not proven equal.
  const { hiddenOf } = yield* SyncConfig
  const masked = tables.filter((name) => hiddenOf(name).length > 0)
  const asked = yield* onBoth((database) =>
    Effect.either(
      Effect.all({
        identity: database.identity,
        found: database.status(tables),
        held: database.held,
        pauses: database.pauses,
        shows: database.side === "replit" ? hiding(masked, false) : Effect.succeed(null),
        proofs: database.proofs,
        bill: database.side === "replit" ? database.bill : Effect.succeed(null)
      }).pipe(retrying("2 seconds"))
    )
  )
  const replit = Either.getOrNull(asked.replit)
  const tableOn = (side: Side, index: number): TableStatus | null => {
    const row = Either.getOrNull(asked[side])?.found.tables[index]
    if (row === undefined) return null
    const { conflicts, oldestPendingSeconds, open, pending, quarantined, rows, undecided } = row
    return { rows, pending, oldestPendingSeconds, quarantined, conflicts, unrestored: open, undecided }
  }
  const isSetUp = (side: Side) =>
    Either.match(asked[side], { onLeft: () => null, onRight: (it) => it.identity !== null })
  return {
    askedAt: DateTime.formatIso(yield* DateTime.now),
    tables: tables.map((name, index) => ({
      table: display(name),
      replit: tableOn("replit", index),
      external: tableOn("external", index),
      proven: hideKeys(
        provenOf(replit?.proofs.of.get(display(name)) ?? noProof, tableOn("replit", index)?.rows ?? null),
        masked.includes(name) ? replit?.shows?.(name) : undefined
      )
    })),
    setUp: { replit: isSetUp("replit"), external: isSetUp("external") },
    held: (replit?.held ?? []).flatMap(({ holding, since, table }) =>
      since === null
        ? []
        : [{ table: display(table), since, replit: concerned(holding.replit), external: concerned(holding.external) }]
    ),
    pauses: (replit?.pauses ?? []).map(({ since, table }) => ({
      table: table === null ? null : display(table),
      since
    })),
    active: activeOf(replit?.found.lease ?? null),
    lastCycleAt: replit?.found.lastCycleAt ?? null,
    lastRun: replit?.found.lastRun ?? null,
    bill: replit?.bill ?? null,
    unreachable: sides.flatMap((side) =>
      Either.match(asked[side], {
        onLeft: (error) => [{ side, message: error.message, exitCode: exitCode(error) }],
        onRight: () => []
      })
    )
  } satisfies Status
}).pipe(Effect.withSpan("status", { root: true }))

const hideKeys = (proven: Proven | null, shows: Shows | undefined): Proven | null =>
  proven === null || shows === undefined ? proven : {
    ...proven,
    sample: proven.sample.map((it) => ({ ...it, key: hideKey(shows.hidden, shows.key, it.key) }))
  }

const activeOf = (lease: Leased | null): Status["active"] =>
  lease === null ? null : { ...lease, epoch: Number(lease.epoch) }

const concerned = ({ deletes, overwrites, rows }: Concerned): Concerned => ({ deletes, overwrites, rows })

/** Of what a wildcard names, those that are set up: one side may be out of reach, so nobody can say what both have. */
const namesOf = Effect.fn("namesOf")(function*(captured: ReadonlyArray<TableName>) {
  const { excluded, schemas, tables } = yield* SyncConfig
  const names = new Map(tables.map((name) => [display(name), name]))
  for (const name of captured) {
    if (isSelected({ names: [], schemas }, name) && !isSelected(excluded, name)) names.set(display(name), name)
  }
  return [...names.values()]
})
