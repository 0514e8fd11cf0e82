/** What was measured, as a table for people, and which floors of the project it misses. */
import { bytes, count, duration } from "../../src/domain/Quantity.ts"
import { textTable } from "../../src/domain/TextTable.ts"
import type { Capturing } from "./capturing.ts"
import type { Idle } from "./idling.ts"
import type { Run } from "./Program.ts"
import type { Verified, Verifying } from "./verifying.ts"

/** Rates are rows (or updates) a second; medians where there were several rounds. */
export interface Report {
  readonly machine: {
    readonly cpus: number
    readonly loadBefore: number
    readonly node: string
    readonly postgres: string
  }
  readonly rounds: number
  readonly rows: number
  readonly rowBytes: number
  readonly inserts: number
  readonly updates: number
  readonly deletes: number
  readonly yardstick: number
  /** Inserts against the yardstick of the same round. */
  readonly ratio: number
  readonly idleProcessMs: number
  /** A process that moves `rows`, and one that moves `many.rows`; null in a quick run. */
  readonly few: Run
  readonly many: (Run & { readonly rows: number; readonly timesLonger: number }) | null
  readonly idle: Idle
  /** Null in a quick run. */
  readonly verified: Verifying | null
  readonly capture: Capturing
}

export interface Floor {
  readonly what: string
  readonly floor: number
  readonly measured: number
  readonly met: boolean
}

/** What the project promises of its speed. Memory can't be measured everywhere, and then isn't judged. */
export const floors = (report: Report): ReadonlyArray<Floor> => {
  const atLeast = (what: string, floor: number, measured: number) => ({ what, floor, measured, met: measured >= floor })
  const atMost = (what: string, floor: number, measured: number | null | undefined) =>
    typeof measured === "number" ? [{ what, floor, measured, met: measured <= floor }] : []
  return [
    atLeast("inserted rows a second", 25_000, Math.round(report.inserts)),
    ...atMost(`bytes of memory with ${count(report.rows)} rows pending`, memoryMax, report.few.peakBytes),
    ...atMost(`bytes of memory with ${count(report.many?.rows ?? 0)} rows pending`, memoryMax, report.many?.peakBytes),
    ...ratioFloors(report.verified),
    ...atMost("round trips of an idle cycle to Replit", 1, report.idle.roundTrips.replit),
    ...atMost("round trips of an idle cycle to external", 1, report.idle.roundTrips.external)
  ]
}

/** In hundredths of the yardstick, and in bytes. */
const ratioFloors = (verified: Verifying | null): ReadonlyArray<Floor> => {
  if (verified === null) return []
  const { different, equal, yardstickMs } = verified
  const most = (what: string, floor: number, measured: number) => ({ what, floor, measured, met: measured <= floor })
  const hundredths = (ms: number) => Math.round((100 * ms) / yardstickMs)
  return [
    most("hundredths of the yardstick to verify equal rows", 150, hundredths(equal.ms)),
    most("bytes to verify equal rows", 100_000, equal.bytes),
    most("hundredths of the yardstick to find 100 rows that differ", 200, hundredths(different.ms)),
    most("bytes to find 100 rows that differ", 1_000_000, different.bytes)
  ]
}

const memoryMax = 250_000_000

export const reportText = (report: Report): string => {
  const { capture, few, idle, machine, many, rows } = report
  const rate = (value: number) => `${count(Math.round(value))}/s`
  return [
    `${machine.cpus} CPUs (load ${
      machine.loadBefore.toFixed(1)
    } before), Node ${machine.node}, PostgreSQL ${machine.postgres}; `
    + `rows of ${report.rowBytes} bytes; ${report.rounds === 1 ? "one round" : `medians of ${report.rounds} rounds`}.`,
    "",
    textTable([
      ["what", "measured", "beside it"],
      [`${count(rows)} rows inserted`, rate(report.inserts), `${report.ratio.toFixed(2)} of the yardstick`],
      ["the yardstick: COPY piped into COPY", rate(report.yardstick), ""],
      [`${count(rows)} rows updated, one column`, rate(report.updates), ""],
      [`${count(rows)} rows deleted`, rate(report.deletes), ""],
      ["a process with nothing to move", duration(report.idleProcessMs), "taken off the three above"],
      [`memory, ${count(rows)} rows pending`, memory(few), `${duration(few.ms)} in all`],
      ...(many === null
        ? []
        : [[
          `memory, ${count(many.rows)} rows pending`,
          memory(many),
          `${duration(many.ms)}, ${many.timesLonger.toFixed(1)} times as long for ${many.rows / rows} times as much`
        ]]),
      [
        "an idle cycle: round trips",
        `${idle.roundTrips.replit} and ${idle.roundTrips.external}`,
        "Replit and external"
      ],
      ["an idle cycle: time", `${idle.latencyMs.toFixed(1)} ms`, "first question to last answer"],
      ...verifiedLines(report.verified),
      ["updates of one row, not captured", rate(capture.without), "two clients"],
      ["updates of one row, captured", rate(capture.with), `${(capture.with / capture.without).toFixed(2)} of that`]
    ], { right: [1], cellMax: 80 })
  ].join("\n")
}

const verifiedLines = (verified: Verifying | null) => {
  if (verified === null) return []
  const { different, equal, rows, yardstickMs } = verified
  const line = (what: string, it: Verified) => [
    what,
    duration(it.ms),
    `${(it.ms / yardstickMs).toFixed(2)} of one look by SQL (${duration(yardstickMs)}); ${bytes(it.bytes)} moved`
  ]
  return [
    line(`verify, ${count(rows)} equal rows`, equal),
    line(`verify, ${count(rows)} rows, 100 differ`, different)
  ]
}

/** A line for each floor that is missed; empty when none is. */
export const missedText = (missed: ReadonlyArray<Floor>): string =>
  missed.map(({ floor, measured, what }) => `Missed: ${what}, ${count(measured)} where ${count(floor)} is the floor.`)
    .join("\n")

const memory = ({ peakBytes }: Run) => peakBytes === null ? "not measured" : bytes(peakBytes)
