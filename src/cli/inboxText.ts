/** What the inbox of conflicts shows, for a terminal of any width that row values must not steer. */
import { count } from "../domain/Quantity.ts"
import { label, opposite } from "../domain/Side.ts"
import { display } from "../domain/TableName.ts"
import { cut, textTable, visible, width } from "../domain/TextTable.ts"
import type { ShownConflict } from "../programs/conflicts.ts"
import { highlighted } from "./colours.ts"
import { reasons, seconds } from "./journalText.ts"

/** A line for each: table, key, when, who won, why; in columns, each as wide as the room at most. */
export const choiceLines = (conflicts: ReadonlyArray<ShownConflict>, room: number): ReadonlyArray<string> =>
  textTable([
    [""],
    ...conflicts.map((conflict) => [
      cut(visible(display(conflict.table)), 20),
      cut(keyText(conflict), room < 60 ? 12 : 24),
      seconds(conflict.decidedAt).slice(0, 16),
      winnerText(conflict),
      conflict.reason === "conflict" ? "changed on both" : conflict.reason
    ])
  ]).split("\n").slice(2).map((line) => cut(line, room))

/** Both versions side by side, or field under field where that has no room. Those that differ; `all` of them when asked for. */
export const versionsText = (conflict: ShownConflict, columns: number, all: boolean): string => {
  const { decidedAt, lost, lostSide, policy, reason, table, winner } = conflict
  const shown = shownFields(conflict, all)
  const because = reason === "conflict" && policy !== null ? ` (${policy})` : ""
  const left = fieldsOf(conflict).length - shown.length
  return [
    ...wrapped(`${visible(display(table))}, key ${keyText(conflict)}`, columns),
    ...wrapped(
      `Decided ${seconds(decidedAt)}: ${reasons[reason] ?? visible(reason)}${because}; ${winnerText(conflict)}.`,
      columns
    ),
    ...(lost === null ? wrapped(`On ${label(lostSide)} the row was deleted.`, columns) : []),
    ...(winner === "deleted" && lost !== null
      ? wrapped(`On ${label(opposite(lostSide))} the row was deleted.`, columns)
      : []),
    "",
    ...sideBySide(conflict, shown, columns),
    ...(left === 0 ? [] : ["", ...wrapped(leftText(conflict, left), columns)])
  ].join("\n")
}

const leftText = ({ differs }: ShownConflict, left: number): string =>
  differs.length === 0 || differs.length > fieldsMax
    ? `${count(left)} more ${left === 1 ? "field" : "fields"}.`
    : `${count(left)} more ${left === 1 ? "field is" : "fields are"} equal on both sides.`

/** Names of the fields of both versions. */
export const fieldsOf = ({ lost, won }: ShownConflict): ReadonlyArray<string> => [
  ...new Set([...Object.keys(lost ?? {}), ...Object.keys(won ?? {})])
]

/** What differs; where there is one version only, the first of its fields. */
export const shownFields = (conflict: ShownConflict, all: boolean): ReadonlyArray<string> =>
  all ? fieldsOf(conflict) : (conflict.differs.length > 0 ? conflict.differs : fieldsOf(conflict)).slice(0, fieldsMax)

const sideBySide = (conflict: ShownConflict, fields: ReadonlyArray<string>, columns: number): ReadonlyArray<string> => {
  const { differs, lost, lostSide, won } = conflict
  const versions = [
    ...(lost === null ? [] : [{ row: lost, other: won, what: "lost", side: label(lostSide) }]),
    ...(won === null ? [] : [{ row: won, other: lost, what: "won", side: label(opposite(lostSide)) }])
  ]
  const mark = (field: string) => differs.includes(field) ? "*" : " "
  const names = fields.map((field) => cut(visible(field), nameMax))
  const nameRoom = Math.max(5, ...names.map(width))
  // The mark, and two spaces between columns.
  const room = Math.floor((columns - 3 - nameRoom - 2 * versions.length) / Math.max(1, versions.length))
  const painted = (line: string) => line.startsWith("*") ? highlighted(line) : line
  if (room < roomMin) {
    return fields.flatMap((field, index) => [
      painted(`${mark(field)} ${names[index]!}`),
      ...versions.map(({ other, row, what }) =>
        `    ${what}: ${fieldText(row[field], other?.[field], columns - 6 - what.length)}`
      )
    ])
  }
  return textTable([
    ["", "field", ...versions.map(({ side, what }) => `${what}: ${side}`)],
    ...fields.map((field, index) => [
      mark(field),
      names[index]!,
      ...versions.map(({ other, row }) => fieldText(row[field], other?.[field], room))
    ])
  ], { cellMax: Infinity }).split("\n").map(painted)
}

/**
 * A value in so much room. Of one that is longer the part where it begins to differ from the `other`, and the length of
 * all of it.
 */
export const fieldText = (value: string | null | undefined, other: string | null | undefined, room: number): string => {
  if (value === undefined) return "–"
  if (value === null) return "(null)"
  if (value === "") return "(empty)"
  // No more of it is looked at than what there is room for: a value may have 200 MB.
  const whole = value.length > room ? null : visible(value)
  if (whole !== null && width(whole) <= room) return whole
  const size = ` (${count(value.length)} chars)`
  const left = Math.max(8, room - size.length)
  const differsAt = firstDifference(value, other)
  const from = differsAt < left - 4 ? 0 : differsAt - 4
  const piece = `${from === 0 ? "" : "…"}${visible(value.slice(from, from + left).trimEnd())}`
  return cut(from + left < value.length ? `${piece}…` : piece, left) + size
}

/** Where a text begins to be another; 0 where it doesn't, or there is none. */
const firstDifference = (text: string, other: string | null | undefined): number => {
  if (other === null || other === undefined || other === text) return 0
  let at = 0
  while (at < text.length && text[at] === other[at]) at++
  return at
}

const keyText = ({ key }: ShownConflict): string => visible(key.join(", "))

/** As `external won`; a version that is not kept is whatever the other side has. */
const winnerText = ({ lostSide }: ShownConflict): string => `${label(opposite(lostSide))} won`

/** Lines that end between words. A word that is longer than a line the terminal breaks itself. */
export const wrapped = (text: string, columns: number): ReadonlyArray<string> => {
  const lines = [""]
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!
    if (line !== "" && width(line) + 1 + width(word) > columns) lines.push(word)
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`
  }
  return lines
}

/** Of a table with many columns, where all of them differ or nothing can be compared. */
const fieldsMax = 20
const nameMax = 20
/** Below that two columns hold less of a value than a line of its own. */
const roomMin = 24
