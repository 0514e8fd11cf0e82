/** Conflicts and quarantine for people. Row values are shown here, where somebody asked for them, and in no log. */
import { amount, list } from "../domain/Quantity.ts"
import { label, opposite } from "../domain/Side.ts"
import { display } from "../domain/TableName.ts"
import { textTable, visible } from "../domain/TextTable.ts"
import type { ShownConflict } from "../programs/conflicts.ts"
import type { Conflict, Quarantined } from "../services/Database.ts"

export const conflictsText = (conflicts: ReadonlyArray<Conflict>): string =>
  conflicts.length === 0 ? "No conflicts." : [
    textTable([
      ["id", "decided at", "table", "key", "lost on", "why", "restored"],
      ...conflicts.map((conflict) => [
        shortId(conflict.id),
        seconds(conflict.decidedAt),
        display(conflict.table),
        conflict.key.join(", "),
        label(conflict.lostSide),
        conflict.reason,
        conflict.restoredAt !== null ? seconds(conflict.restoredAt) : conflict.keptAt === null ? "no" : "kept"
      ])
    ]),
    "",
    "`conflicts show ID` shows both versions, `conflicts restore ID` brings the lost one back, `conflicts keep ID` says that it",
    "stays as it is."
  ].join("\n")

/** What lost and what won, side by side; columns that differ are marked. */
export const conflictText = (conflict: ShownConflict): string => {
  const { decidedAt, differs, id, keptAt, key, lost, lostSide, policy, reason, restoredAt, table, winner, won } =
    conflict
  const columns = [...new Set([...Object.keys(lost ?? {}), ...Object.keys(won ?? {})])]
  const cell = (row: Conflict["lost"], column: string) => row === null ? "" : row[column] ?? "(null)"
  const heading = ["", "column", `lost (${label(lostSide)})`, `won (${label(opposite(lostSide))})`]
  const rows = columns.map((column) => [
    differs.includes(column) ? "*" : " ",
    column,
    cell(lost, column),
    cell(won, column)
  ])
  return [
    `Conflict ${id}`,
    `Table ${visible(display(table))}, key ${visible(key.join(", "))}, decided ${seconds(decidedAt)}`,
    `Why: ${reasons[reason] ?? reason}${policy === null || reason !== "conflict" ? "" : ` (${policy})`}`,
    `Restored: ${restoredAt === null ? "no" : seconds(restoredAt)}`,
    ...(keptAt === null ? [] : [`Kept: ${seconds(keptAt)}`]),
    "",
    // What won is not kept of a row that was given up for whatever the other side has.
    textTable(won === null ? [heading, ...rows].map((row) => row.slice(0, 3)) : [heading, ...rows], { cellMax: 50 }),
    ...(lost === null ? ["The losing version was a delete."] : []),
    ...(winner === "deleted" && lost !== null ? ["The winning version was a delete."] : [])
  ].join("\n")
}

/** What a decision did, and what comes next. */
export const restoredText = (conflict: Conflict): string =>
  conflict.lost === null
    ? `Deleted ${rowText(conflict)} on ${label(conflict.lostSide)}, as it was there; ${travels(conflict)}`
    : `Restored ${rowText(conflict)} on ${label(conflict.lostSide)}; ${travels(conflict)}`

export const editedText = (conflict: Conflict, columns: ReadonlyArray<string>): string =>
  `Wrote ${visible(list(columns))} of ${rowText(conflict)} on ${label(conflict.lostSide)}; ${travels(conflict)}`

export const keptText = (conflict: Conflict): string =>
  `Kept ${rowText(conflict)} as it was decided. \`conflicts restore\` still brings the loser back.`

const rowText = ({ key, table }: Conflict): string => `${visible(display(table))} ${visible(key.join(", "))}`

const travels = ({ lostSide }: Conflict): string =>
  `the next cycle brings it to ${label(opposite(lostSide))}. What it replaced is in the conflicts.`

export const reasons: Readonly<Record<string, string>> = {
  conflict: "changed on both sides",
  cascade: "deleted by a foreign key's cascade when its parent was deleted by the sync",
  discard: "given up with `quarantine discard`",
  restore: "replaced by `conflicts restore`",
  "first-contact": "only this side had it at the first contact, and `setup --missing delete` was said",
  rejected: "taken back with `reject`, and the other side's version brought back"
}

export const quarantineText = (entries: ReadonlyArray<Quarantined>): string =>
  entries.length === 0 ? "Nothing in quarantine." : [
    ...entries.flatMap((entry) => [
      `${shortId(entry.id)}  ${visible(display(entry.table))}, key ${visible(entry.key.join(", "))}, from ${
        label(entry.from)
      }`,
      `          refused: ${visible(entry.message)}${entry.sqlState === null ? "" : ` (${entry.sqlState})`}`,
      ...(entry.blockedBy === null
        ? []
        : [`          in its way: key ${visible(entry.blockedBy.join(", "))} on ${label(opposite(entry.from))}`]),
      `          ${amount(entry.attempts, "attempt")} since ${seconds(entry.since)}; tried again ${next(entry)}`
    ]),
    "",
    "Change the row or what is in its way, and the next cycle tries again. `quarantine retry` tries now;",
    "`quarantine discard ID` takes the other side's version and keeps this one in the conflicts."
  ].join("\n")

/** The first five attempts are those of the next cycles. */
const next = ({ attempts, nextAttemptAt }: Quarantined): string =>
  !/^\d/.test(nextAttemptAt)
    ? "when somebody says so"
    : attempts <= 5
    ? "with the next cycle"
    : `not before ${seconds(nextAttemptAt)}`

/** Enough of a uuid to name one of many. */
const shortId = (id: string): string => id.slice(0, 8)

/** ISO 8601 to the second, as people read it. */
export const seconds = (iso: string): string => `${iso.slice(0, 19).replace("T", " ")}Z`
