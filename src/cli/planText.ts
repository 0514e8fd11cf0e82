/** `plan` for people: a few short lines a table. */
import { amount, bytes, count } from "../domain/Quantity.ts"
import { label, sides } from "../domain/Side.ts"
import type { Figures, Plan, PlannedRow, PlannedTable } from "../programs/plan.ts"

export const planText = (plan: Plan): string =>
  [
    ...plan.problems.map((problem) => `PROBLEM: ${problem}`),
    ...plan.notes.map((note) => `note: ${note}`),
    ...plan.tables.flatMap(tableLines),
    "Nothing was changed."
  ].join("\n")

const tableLines = ({ figures, notes, problem, table }: PlannedTable): ReadonlyArray<string> => [
  table,
  ...(problem === null ? [] : [`  PROBLEM: ${problem}`]),
  ...(figures === null ? [] : figureLines(figures)),
  ...notes.map((note) => `  note: ${note}`),
  ""
]

const figureLines = (figures: Figures): ReadonlyArray<string> => {
  const { different, equal, estimatedBytes, onlyOn, rows, setUp, waiting } = figures
  return [
    line("set up", setUp === null ? "not known" : setUp ? "yes: this is no first contact" : "not yet"),
    ...(waiting === null ? [] : [
      line("waiting", sides.map((side) => waitingOn(side, waiting[side])).join("; "))
    ]),
    line("rows", `${count(rows.replit)} on Replit, ${count(rows.external)} on external`),
    line("only on Replit", count(onlyOn.replit)),
    line("only on external", count(onlyOn.external)),
    line("equal", count(equal)),
    line("different", `${count(different)}${different === 0 ? "" : `: ${winners(figures)}`}`),
    ...figures.sample.map(sampleLine),
    ...more(different - figures.sample.length),
    ...twinLines(figures),
    line("to move", estimatedBytes === 0 ? "nothing" : `about ${bytes(estimatedBytes)} (estimated)`)
  ]
}

const line = (what: string, text: string) => `  ${what.padEnd(17)} ${text}`

const waitingOn = (side: "replit" | "external", found: { readonly pending: number; readonly quarantined: number }) =>
  `${count(found.pending)} pending and ${count(found.quarantined)} in quarantine on ${label(side)}`

const winners = ({ rule: { external, policy, replit, stamp, ties } }: Figures): string =>
  [
    `Replit wins ${count(replit)}`,
    `external wins ${count(external)}`,
    ...(policy === "last-write-wins" ? [`${amount(ties, "tie")}, which ${ties === 1 ? "goes" : "go"} to Replit`] : [])
  ].join(", ") + ` (${policy}${policy !== "last-write-wins" ? "" : stamp === null ? ", no stamp" : `, by ${stamp}`})`

const sampleLine = ({ key, stamps, tie, winner }: PlannedRow): string =>
  `    ${key.join(", ")}: ${tie ? "a tie" : `${label(winner)} wins`} (${
    sides.map((side) => `${label(side)} ${stamps[side] ?? "without a stamp"}`).join(", ")
  })`

const more = (rest: number): ReadonlyArray<string> =>
  rest > 0 ? [`    … and ${count(rest)} more: --show names as many as you say`] : []

const twinLines = ({ twins: { count: n, sample } }: Figures): ReadonlyArray<string> =>
  n === 0 ? [] : [
    line(
      "unique twins",
      `${amount(n, "pair")} of rows with different keys and one unique value: they would wait in quarantine`
    ),
    ...sample.map(({ external, index, replit }) =>
      `    ${replit.join(", ")} on Replit, ${external.join(", ")} on external: ${index}`
    ),
    ...more(n - sample.length)
  ]
