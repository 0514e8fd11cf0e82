/** What a cycle did, in one line for people; and what a first contact found, a line a table. */
import { amount, bytes, count, duration, list } from "./Quantity.ts"
import type { Side } from "./Side.ts"

/** What one direction of a cycle moved. */
export interface DirectionCounts {
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
  readonly conflicts: number
  readonly quarantined: number
  readonly bytes: number
}

/** What the line needs of a cycle's report. */
export interface Summary {
  readonly outcome: "idle" | "moved" | "not-due" | "standby"
  readonly push: DirectionCounts
  readonly pull: DirectionCounts
  readonly durationMs: number
  readonly quarantined: number
  readonly paused: ReadonlyArray<{ readonly table: string; readonly held?: true; readonly byHand?: "table" | "all" }>
  readonly cutShort: ReadonlyArray<string>
}

/** Whether another copy of the service does the work, or has just done it. */
export const isElsewhere = (cycle: { readonly outcome: string }): boolean =>
  cycle.outcome === "not-due" || cycle.outcome === "standby"

/** The one line of a cycle. The numbers are always all there, so that a script can find them. */
export const summaryLine = (summary: Summary): string => {
  if (summary.outcome === "not-due") return "Nothing is due here: another copy of vaivem is at work, or was just now."
  if (summary.outcome === "standby") return "Standing by: another copy of vaivem is at work."
  const waiting = waits(summary)
  return [
    `Replit → external: ${direction(summary.push)}`,
    `external → Replit: ${direction(summary.pull)}`,
    `in ${duration(summary.durationMs)}`,
    ...(waiting.length === 0 ? [] : [`waiting for you: ${list(waiting)}`])
  ].join("; ")
}

/** What waits for a person after a cycle; empty when nothing does. */
export const waits = ({ cutShort, paused, quarantined }: Summary): ReadonlyArray<string> => [
  ...(quarantined === 0 ? [] : [`${amount(quarantined, "row")} in quarantine`]),
  ...new Set(
    paused.map(({ byHand, held, table }) =>
      `${byHand === "all" ? "every table" : table} ${held === true ? "held" : "paused"}`
    )
  ),
  ...(cutShort.length === 0 ? [] : ["a pass cut short"])
]

/** What comparing both sides of a table found, as `setup` and the first cycle tell it. */
export interface FirstContact {
  readonly table: string
  readonly rows: Readonly<Record<Side, number>>
  readonly marked: Readonly<Record<Side, number>>
  /** Rows that stay on one side, because a person said so. */
  readonly left: Readonly<Record<Side, number>>
}

export const firstContactLine = ({ left, marked, rows, table }: FirstContact): string =>
  `${table}: compared ${amount(rows.replit, "row")} on Replit with ${count(rows.external)} on external; ${
    marked.replit + marked.external + left.replit + left.external === 0
      ? "they are equal."
      : `to be synced: ${count(marked.replit)} from Replit, ${count(marked.external)} from external${
        left.replit + left.external === 0
          ? "."
          : `; left where they are: ${count(left.replit)} on Replit, ${count(left.external)} on external.`
      }`
  }`

const direction = (moved: DirectionCounts): string =>
  [
    `${count(moved.inserted)} inserted`,
    `${count(moved.updated)} updated`,
    `${count(moved.deleted)} deleted`,
    amount(moved.conflicts, "conflict"),
    `${count(moved.quarantined)} quarantined`,
    bytes(moved.bytes)
  ].join(", ")
