/** Rows of text in columns that line up, for terminals and logs: no borders, no colours. */

export interface TextTableOptions {
  /** Columns whose texts end at the same place, as numbers do. Counted from 0. */
  readonly right?: ReadonlyArray<number>
  /** Longer cells are cut, with an ellipsis. */
  readonly cellMax?: number
}

/** The first row is the heading, set apart by a line. Every line is without spaces at its end. */
export const textTable = (rows: ReadonlyArray<ReadonlyArray<string>>, options: TextTableOptions = {}): string => {
  const cells = rows.map((row) => row.map((cell) => cut(oneLine(cell), options.cellMax ?? 60)))
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

/**
 * A text of anybody's, such as a row's value, for a terminal: what would steer it or could not be seen (control and format
 * characters, odd spaces, spaces at an end) is written as PostgreSQL reads it, `E'a\\nb'`. Anything else stays as it is.
 */
export const visible = (text: string): string =>
  isUnseen.test(text) || /^ | $/.test(text) ? `E'${text.replace(unseen, escape)}'` : text

const isUnseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|[^\P{Zs} ]/u
const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\\']|[^\P{Zs} ]/gu
const short: Readonly<Record<string, string>> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\\": "\\\\",
  "'": "\\'"
}

const escape = (character: string): string => {
  const code = character.codePointAt(0)!
  const hex = (digits: number) => code.toString(16).padStart(digits, "0")
  return short[character] ?? (code < 0x80 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`)
}

/** Cut to so many columns, with an ellipsis. No more of it is looked at: a value may have 200 MB. */
export const cut = (text: string, room: number): string => {
  let [used, at, end] = [0, 0, 0]
  for (const character of text) {
    used += columnsOf(character)
    if (used > room) return `${text.slice(0, end)}…`
    at += character.length
    if (used < room) end = at
  }
  return text
}

/** In columns of a terminal. */
export const width = (text: string): number => [...text].reduce((sum, character) => sum + columnsOf(character), 0)

/** East Asian characters and most emoji take two. */
const columnsOf = (character: string): number => isWide.test(character) ? 2 : 1

const isWide = new RegExp(
  "[\\u1100-\\u115f\\u2e80-\\ua4cf\\uac00-\\ud7a3\\uf900-\\ufaff\\ufe30-\\ufe6f\\uff00-\\uff60\\uffe0-\\uffe6]"
    + "|\\p{Emoji_Presentation}|[\\u{20000}-\\u{3fffd}]",
  "u"
)
