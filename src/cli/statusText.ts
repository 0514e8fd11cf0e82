/** `status` for people. */
import { sleepsAfterMs } from "../domain/bill.ts"
import { concernedText } from "../domain/brake.ts"
import { provenText } from "../domain/Proof.ts"
import { amount, bytes, count, duration, list } from "../domain/Quantity.ts"
import { label, opposite, sides } from "../domain/Side.ts"
import { summaryLine } from "../domain/Summary.ts"
import { textTable } from "../domain/TextTable.ts"
import type { Status, TableStatus } from "../programs/status.ts"
import type { Run } from "../services/Database.ts"

export const statusText = (status: Status): string =>
  [
    textTable([
      heading,
      ...status.tables.flatMap(({ table, ...on }) => sides.map((side) => [table, label(side), ...cells(on[side])]))
    ], { right: [2, 3, 5, 6, 7] }),
    "",
    ...(isSetUp(status)
      ? status.tables.map(({ proven, table }) => `${table}: ${provenText(proven, status.askedAt)}.`)
      : []),
    lastCycle(status),
    ...active(status),
    ...(status.lastRun === null ? [] : [lastRun(status.lastRun)]),
    ...bill(status),
    ...advice(status)
  ].join("\n")

const heading = ["table", "side", "rows", "pending", "oldest", "quarantined", "conflicts", "not restored"]

const cells = (on: TableStatus | null): ReadonlyArray<string> => {
  if (on === null) return ["?", "?", "?", "?", "?", "?"]
  const { conflicts, oldestPendingSeconds, pending, quarantined, rows, unrestored } = on
  return [
    rows === null ? "no table" : count(rows),
    count(pending),
    oldestPendingSeconds === null ? "-" : duration(oldestPendingSeconds * 1000),
    count(quarantined),
    count(conflicts),
    count(unrestored)
  ]
}

const isSetUp = ({ setUp }: Status): boolean => sides.every((side) => setUp[side] === true)

const lastCycle = ({ lastCycleAt, setUp }: Status): string => {
  const missing = sides.filter((side) => setUp[side] === false)
  if (missing.length > 0) return `Not set up yet on ${list(missing.map(label))}: the first run or \`setup\` does it.`
  return `Last cycle: ${lastCycleAt === null ? "none yet" : seconds(lastCycleAt)}`
}

const active = ({ active }: Status): ReadonlyArray<string> =>
  active === null ? [] : [
    `Active: ${active.holder} since ${seconds(active.since)}, ${
      active.isHeld ? "at work now" : "not at work now"
    } (epoch ${active.epoch}).`
  ]

const lastRun = ({ durationMs, error, outcome, pull, push, startedAt }: Run): string =>
  outcome === "failed"
    ? `Last failure: ${seconds(startedAt)}: ${error ?? "no reason was noted"}`
    : `Last that moved something: ${seconds(startedAt)}: ${
      summaryLine({ outcome: "moved", push, pull, durationMs, quarantined: 0, paused: [], cutShort: [] })
    }`

/** Hours are told of external only: Replit's own database runs as long as the app does. */
const bill = ({ bill }: Status): ReadonlyArray<string> =>
  bill === null || bill.external.visits === 0 ? [] : [
    `This month: ${amount(bill.external.visits, "visit")}, which kept external awake for about ${
      duration(bill.external.awakeMs)
    } (if it sleeps ${duration(sleepsAfterMs)} after each); ${
      list(
        sides.map((side) => `${bytes(bill[side].bytesIn)} in and ${bytes(bill[side].bytesOut)} out on ${label(side)}`)
      )
    }.`
  ]

/** ISO 8601 to the second, as people read it. */
export const seconds = (iso: string): string => `${iso.slice(0, 19).replace("T", " ")}Z`

const advice = ({ held, pauses, tables, unreachable }: Status): ReadonlyArray<string> => {
  const quarantined = tables.reduce(
    (sum, table) => sum + sides.reduce((inner, side) => inner + (table[side]?.quarantined ?? 0), 0),
    0
  )
  return [
    ...(quarantined === 0 ? [] : [`${amount(quarantined, "row")} in quarantine: see \`quarantine list\`.`]),
    ...held.map(({ since, table, ...on }) =>
      `${table} is held since ${seconds(since)}: ${
        list(sides.flatMap((side) => concernedText(on[side], label(opposite(side))) ?? []))
      }. \`approve ${table}\` lets these changes through, \`reject ${table}\` brings the rows back.`
    ),
    ...pauses.map(({ since, table }) =>
      table === null
        ? `All tables are paused since ${seconds(since)}: changes wait. \`resume\` lets them go on.`
        : `${table} is paused since ${seconds(since)}: its changes wait. \`resume ${table}\` lets them go on.`
    ),
    ...unreachable.map(({ message }) => message)
  ]
}
