/**
 * Finds what changed in external's tables by their stamps: rows with a stamp since a low bound, and of these the versions that
 * the ledger hasn't seen. The bound is external's clock at an earlier scan less a window, so that a transaction which sets its
 * stamps and commits later is found, as long as that takes no longer than the window.
 */
import { Duration, Effect } from "effect"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import { type SyncError, WorldRefused } from "../../domain/SyncError.ts"
import { display } from "../../domain/TableName.ts"
import type { PgSession, Row } from "../pg/PgSession.ts"
import type { Stems } from "../pg/Stems.ts"
import type { Ledger, LedgerTable } from "./Ledger.ts"

interface Scanned {
  readonly table: SyncedTable
  readonly known: LedgerTable
  readonly text: string
}

/**
 * One round trip to external for all tables; where nothing changed no row leaves it, and the ledger isn't written. A table
 * that isn't as its catalog said is left out: the next `ask` tells that it changed.
 */
export const scan = Effect.fn("scan")(function*(
  session: PgSession,
  stems: Stems,
  ledger: Ledger,
  tables: ReadonlyArray<SyncedTable>,
  known: ReadonlyMap<string, LedgerTable>,
  window: Duration.Duration
) {
  const scanned = tables.flatMap((table): ReadonlyArray<Scanned> => {
    const it = known.get(display(table.name))
    if (it === undefined || table.stamp === null) return []
    return [{ table, known: it, text: stems.readingSqlOf(table).scan(it.lowUs, it.seen) }]
  })
  if (scanned.length === 0) return
  const together = read(session, scanned).pipe(
    Effect.map((found) => [found]),
    Effect.catchIf(
      isOfATable,
      () => Effect.map(Effect.forEach(scanned, (one) => readIfItFits(session, one)), (all) => all.flat())
    )
  )
  const { committed } = scanned[0]!.known
  for (const { found, next, nowUs } of yield* together) {
    if (committed !== null && next <= committed) return yield* wentBack
    for (const [{ known: { lowUs }, table }, row] of found) {
      const nextUs = nowUs - BigInt(Duration.toMillis(window)) * 1000n
      // The bound follows in steps, so that an idle scan needn't write it.
      const isBehind = nextUs - lowUs > BigInt(Duration.toMillis(window)) * 500n
      if (row === undefined && !isBehind) continue
      yield* ledger.scanned(
        table.name,
        row === undefined ? null : row.found ?? "[]",
        nextUs > lowUs ? nextUs : null,
        true
      )
    }
  }
})

interface Found {
  /** External's clock before any of these were read. */
  readonly nowUs: bigint
  /** Number of the next transaction there. */
  readonly next: bigint
  /** Without a row when everything is as it is known. */
  readonly found: ReadonlyArray<readonly [Scanned, Row | undefined]>
}

const read = (session: PgSession, scanned: ReadonlyArray<Scanned>): Effect.Effect<Found, SyncError> =>
  Effect.scoped(Effect.gen(function*() {
    const tx = yield* session.begin({ statementTimeoutMs: 60_000 })
    const [clock, ...results] = yield* tx.script([
      `select (extract(epoch from clock_timestamp()) * 1000000)::bigint::text as now_us,
         pg_snapshot_xmax(pg_current_snapshot())::text as next`,
      ...scanned.map(({ text }) => text)
    ])
    return {
      nowUs: BigInt(String(clock!.rows[0]!.now_us)),
      next: BigInt(String(clock!.rows[0]!.next)),
      found: scanned.map((one, index) => [one, results[index]!.rows[0]] as const)
    }
  }))

/** A table that isn't there any more, or not as it was, or may not be read. */
const isOfATable = (error: SyncError) => ["ActionNeeded", "SchemaDrifted", "WorldRefused"].includes(error._tag)

/** What such a database lacks may never have been deleted. */
const wentBack = new WorldRefused({
  side: "external",
  sqlState: null,
  message:
    "The external database doesn't know the last change that was synced to it: it was restored to an earlier moment, or "
    + "replaced by a copy. Nothing was applied. If the URL is the wrong one, connect the right database again. Else "
    + "`setup --adopt` takes both as they are and compares every row: what differs goes by the conflict rule, losers are kept in "
    + "the conflicts, and nothing is deleted for being gone."
})

/** What doesn't fit any more is told by its fingerprint, which the cycle asks for next. */
const readIfItFits = (session: PgSession, one: Scanned): Effect.Effect<ReadonlyArray<Found>, SyncError> =>
  read(session, [one]).pipe(
    Effect.map((found) => [found]),
    Effect.catchIf(isOfATable, ({ message }) =>
      Effect.as(
        Effect.logDebug("A table could not be scanned").pipe(
          Effect.annotateLogs({ table: display(one.table.name), reason: message })
        ),
        []
      ))
  )
