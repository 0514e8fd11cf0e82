/** Rows of text in columns that line up, for terminals and logs: no borders, no colours. */

export interface TextTableOptions {
  /** Columns whose texts end at the same place, as numbers do. Counted from 0. */
  readonly right?: ReadonlyArray<number>
  /** Longer cells are cut, with an ellipsis. */
  readonly cellMax?: number
}

/** The first row is the heading, set apart by a line. Every line is without spaces at its end. */
export const textTable = (rows: ReadonlyArray<ReadonlyArray<string>>, options: TextTableOptions = {}): string => {
  const cells = rows.map((row) => row.map((cell) => shorten(oneLine(cell), options.cellMax ?? 60)))
  const widths = cells.reduce<ReadonlyArray<number>>(
    (widest, row) => row.map((cell, at) => Math.max(widest[at] ?? 0, width(cell))),
    []
  )
  const line = (row: ReadonlyArray<string>) =>
    row.map((cell, at) => {
      const padding = " ".repeat((widths[at] ?? 0) - width(cell))
      return options.right?.includes(at) === true ? padding + cell : cell + padding
    }).join("  ").trimEnd()
  const [heading, ...rest] = cells
  if (heading === undefined) return ""
  return [line(heading), widths.map((n) => "-".repeat(n)).join("  "), ...rest.map(line)].join("\n")
}

/** Control characters would break the columns, or worse, speak to the terminal. */
export const oneLine = (text: string): string => text.replace(/\p{Cc}+/gu, " ")

const shorten = (text: string, most: number): string =>
  width(text) <= most ? text : `${[...text].slice(0, most - 1).join("")}…`

/** In characters. Wide ones (CJK, emoji) count as one: their columns are a little off. */
const width = (text: string): number => [...text].length
