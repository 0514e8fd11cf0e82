/** `check` for people: what is there, line by line, and each problem with its cure. */
import { amount, duration } from "../domain/Quantity.ts"
import { label, sides, urlSetting } from "../domain/Side.ts"
import type { Check, Findings, SideCheck } from "../programs/check.ts"
import type { Hello } from "../services/Database.ts"

export const checkText = (checked: Check): string => {
  const lines = [
    ...sides.flatMap((side) => [
      `${side === "replit" ? "Replit" : "External"} (${urlSetting(side)})`,
      ...sideLines(checked.sides[side]),
      ""
    ]),
    ...(checked.tables.length === 0 ? [] : ["Tables"]),
    ...checked.tables.flatMap(({ table, ...found }) => [
      `  ${table}${found.problems.length === 0 ? (bothReached(checked) ? ": fits" : ": is there") : ""}`,
      ...findings(found, "    ")
    ]),
    ...pairLines(checked.pair),
    "",
    checked.bill,
    "",
    "Notices",
    ...findings(checked.notify, "  ")
  ]
  return [...lines, "", verdict(checked)].join("\n")
}

const bothReached = (checked: Check) => sides.every((side) => checked.sides[side].server !== null)

const sideLines = ({ server, setUp, ...found }: SideCheck): ReadonlyArray<string> => [
  ...(server === null ? [] : [
    `  ${kinds[server.kind]} at ${server.host}, database ${server.database}, role ${server.role}`,
    `  PostgreSQL ${server.version}, ${server.tls ? "with TLS" : "without TLS"}, latency ${
      duration(server.latencyMs)
    }, clock ${clock(server.clockOffsetMs)}`,
    `  ${setUp ? "set up" : "not set up yet: the first run or `setup` does it"}`
  ]),
  ...findings(found, "  ")
]

const kinds: Readonly<Record<Hello["kind"], string>> = {
  "replit-helium": "Replit's own database (Helium)",
  "neon-direct": "Neon, direct",
  "neon-pooled": "Neon, pooled",
  other: "PostgreSQL",
  memory: "memory"
}

const clock = (offsetMs: number): string =>
  Math.abs(offsetMs) < 500 ? "as here" : `${duration(Math.abs(offsetMs))} ${offsetMs > 0 ? "ahead" : "behind"}`

const pairLines = (pair: Findings): ReadonlyArray<string> =>
  pair.problems.length + pair.notes.length === 0 ? [] : ["", "Both", ...findings(pair, "  ")]

const findings = ({ notes, problems }: Findings, indent: string): ReadonlyArray<string> => [
  ...problems.map((problem) => `${indent}PROBLEM: ${problem}`),
  ...notes.map((note) => `${indent}note: ${note}`)
]

const verdict = (checked: Check): string => {
  const all = [checked.pair, checked.notify, ...checked.tables, ...sides.map((side) => checked.sides[side])]
  const problems = all.reduce((sum, found) => sum + found.problems.length, 0)
  const unreached = sides.filter((side) => checked.sides[side].server === null).map(label)
  if (unreached.length > 0) return `Could not be asked: ${unreached.join(", ")}.`
  return problems === 0 ? "Ready: no problems." : `${amount(problems, "problem")} to solve.`
}
