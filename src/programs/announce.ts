/** Tells people what a cycle did: results on standard output, what they should look at in the log. */
import { Console, Effect } from "effect"
import { amount } from "../domain/Quantity.ts"
import { label } from "../domain/Side.ts"
import { firstContactLine, summaryLine } from "../domain/Summary.ts"
import { display } from "../domain/TableName.ts"
import type { CycleReport } from "./cycle.ts"
import type { ReadyTable } from "./setup.ts"

/** First contacts, a line a table; then the summary, in one line. */
export const announce = Effect.fn("announce")(function*(report: CycleReport, stamp = "") {
  for (const line of contactLines(report.setUp)) yield* Console.log(stamp + line)
  yield* Console.log(stamp + summaryLine(report))
})

/** What of a report is worth a warning, a sentence each. */
export const warningsOf = (report: CycleReport): ReadonlyArray<string> => [
  ...report.warnings,
  ...new Set(report.paused.map(({ problem }) => problem)),
  ...report.cutShort,
  ...(report.quarantined === 0
    ? []
    : [`${amount(report.quarantined, "row")} in quarantine: see \`quarantine list\`.`])
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
