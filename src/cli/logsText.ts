/** `logs` for people: a line a cycle. */
import { amount, bytes, count, duration } from "../domain/Quantity.ts"
import { oneLine, textTable } from "../domain/TextTable.ts"
import type { Moved, Run } from "../services/Database.ts"
import { seconds } from "./statusText.ts"

export const logsText = (runs: ReadonlyArray<Run>): string => {
  if (runs.length === 0) return "No cycle has moved anything or failed yet."
  const [heading, rule, ...lines] = textTable([
    ["started at", "took", "to external", "to Replit", "conflicts", "quarantined", "moved", "outcome"],
    ...runs.map(({ durationMs, outcome, pull, push, startedAt }) => [
      seconds(startedAt),
      duration(durationMs),
      amount(rowsOf(push), "row"),
      amount(rowsOf(pull), "row"),
      count(push.conflicts + pull.conflicts),
      count(push.quarantined + pull.quarantined),
      bytes(push.bytes + pull.bytes),
      outcome
    ])
  ], { right: [1, 2, 3, 4, 5, 6] }).split("\n")
  // A sentence is as long as it is: no column for it.
  const sentences = runs.map(({ error, outcome }) => outcome === "failed" ? `: ${reason(error)}` : "")
  return [heading, rule, ...lines.map((line, index) => `${line}${sentences[index]}`)].join("\n")
}

const reason = (error: string | null): string => error === null ? "no reason was noted" : oneLine(error)

const rowsOf = ({ deleted, inserted, updated }: Moved): number => inserted + updated + deleted
