/** Tells people what a cycle did: results on standard output, what they should look at in the log. */
import { Array as Arr, Console, Effect } from "effect"
import { amount } from "../domain/Quantity.ts"
import { label } from "../domain/Side.ts"
import { firstContactLine, summaryLine } from "../domain/Summary.ts"
import { display } from "../domain/TableName.ts"
import type { CycleReport } from "./cycle.ts"
import type { Paused } from "./pass.ts"
import type { ReadyTable } from "./setup.ts"

/** First contacts, a line a table; then the summary, in one line. */
export const announce = Effect.fn("announce")(function*(report: CycleReport, stamp = "") {
  for (const line of contactLines(report.setUp)) yield* Console.log(stamp + line)
  yield* Console.log(stamp + summaryLine(report))
})

/** What a person should look at, as an event of the log. */
export interface Warning {
  /** Always the same for the same thing. */
  readonly event: string
  /** A sentence. */
  readonly reason: string
  readonly fields?: Readonly<Record<string, string | number>>
}

export const warn = ({ event, fields = {}, reason }: Warning): Effect.Effect<void> =>
  Effect.logWarning(event).pipe(Effect.annotateLogs({ ...fields, reason }))

/** What setting up, or a table that is left behind, has to say. */
export const setUpWarning = (reason: string): Warning => ({ event: "Set-up warning", reason })

export const waitingWarning = ({ held, problem, table }: Paused): Warning => ({
  event: held === true ? "Table held" : "Table paused",
  fields: { table },
  reason: problem
})

/** What of a report is worth a warning. What is said of all tables is said once. */
export const warningsOf = ({ cutShort, paused, quarantined, warnings }: CycleReport): ReadonlyArray<Warning> => [
  ...warnings.map(setUpWarning),
  ...Arr.dedupeWith(paused, (one, other) => one.problem === other.problem).map(waitingWarning),
  ...cutShort.map((reason) => ({ event: "Pass cut short", reason })),
  ...(quarantined === 0 ? [] : [{
    event: "Rows in quarantine",
    fields: { rows: quarantined },
    reason: `${amount(quarantined, "row")} in quarantine: see \`quarantine list\`.`
  }])
]

/** What setting a table up found. */
export const contactLines = (tables: ReadonlyArray<ReadyTable>): ReadonlyArray<string> =>
  tables.flatMap(({ adopted, left, reconciled, table }) => [
    ...adopted.map(({ keys, renamedTo, side }) =>
      `${display(table.name)}: took over the older changelog on ${label(side)} (kept as ${renamedTo}), with ${
        amount(keys, "unsynced change")
      }.`
    ),
    ...(reconciled === null ? [] : [firstContactLine({
      table: display(table.name),
      rows: reconciled.rows,
      marked: { replit: reconciled.replit.marked, external: reconciled.external.marked },
      left
    })])
  ])
