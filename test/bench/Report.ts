/** What was measured, as a table for people, and which figures fall short. */
import { textTable } from "../../src/domain/TextTable.ts"
import { type Figure, reachText, setback, shortfall, valueText } from "./Figure.ts"

export interface Report {
  readonly machine: {
    readonly cpus: number
    readonly loadBefore: number
    readonly node: string
    readonly postgres: string
  }
  readonly rounds: number
  readonly rowBytes: number
  readonly sections: ReadonlyArray<{ readonly name: string; readonly figures: ReadonlyArray<Figure> }>
}

/** Figures that fall short of their reach; in a quick run, by more than 20 %, and of where they stood if that is less. */
export const missed = ({ sections }: Report, quick: boolean): ReadonlyArray<Figure> =>
  sections.flatMap(({ figures }) => figures).filter(({ judged }) =>
    judged !== null && (quick ? setback(judged) > 0.2 : shortfall(judged) > 0)
  )

export const reportText = ({ machine, rounds, rowBytes, sections }: Report): string =>
  [
    `${machine.cpus} CPUs (load ${
      machine.loadBefore.toFixed(1)
    } before), Node ${machine.node}, PostgreSQL ${machine.postgres}; `
    + `rows of ${rowBytes} bytes; ${rounds === 1 ? "one round" : `medians of ${rounds} rounds`}.`,
    "",
    textTable([
      ["what", "measured", "beside it", "judged", "reach", ""],
      ...sections.flatMap(({ figures }) => figures).map(({ beside, judged, measured, what }) => [
        what,
        measured,
        beside,
        judged === null ? "" : valueText(judged),
        judged === null ? "" : reachText(judged),
        judged === null ? "" : shortfall(judged) <= 0 ? "reached" : `${Math.ceil(shortfall(judged) * 100)} % short`
      ])
    ], { right: [1, 3], cellMax: 80 })
  ].join("\n")

/** A line for each figure; empty when there is none. */
export const missedText = (figures: ReadonlyArray<Figure>): string =>
  figures.flatMap(({ judged, what }) =>
    judged === null ? [] : [
      `Missed: ${what}: ${valueText(judged)} where ${reachText(judged)} is the reach${
        judged.stood === undefined ? "" : `, and it stood at ${judged.stood}`
      }.`
    ]
  ).join("\n")
