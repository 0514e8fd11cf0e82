/**
 * When a cycle would take away so many rows of one table that a person should have a look first: the rule, and how it is
 * written in `SYNC_BRAKE`. Who counts the rows, and what becomes of a table that is held, is none of its business.
 */
import { Either } from "effect"
import { count } from "./Quantity.ts"

/** Both must be passed before a table is held. */
export interface Limits {
  /** Rows of one side that one cycle may delete, or overwrite in conflict, whatever the table's size. */
  readonly rows: number
  /** The same as a share of that side's rows, 0 to 100. */
  readonly percent: number
}

/** Null: off. */
export type Brake = Limits | null

export const defaultBrake: Limits = { rows: 50, percent: 20 }

/** Whether so many rows of a table that has `of` are more than both limits allow. */
export const isOver = ({ percent, rows }: Limits, concerned: number, of: number): boolean =>
  concerned > rows && concerned * whole > thousandths(percent) * of

/**
 * A table with so many rows is not held for `concerned` of them: nobody need count further than this. Null when no table is
 * large enough.
 */
export const largeEnough = ({ percent }: Limits, concerned: number): number | null =>
  percent === 0 ? null : Math.ceil((concerned * whole) / thousandths(percent))

/** A percentage has at most three decimals. In whole numbers, or 38.8 % of 164,750 rows would be a little more than 63,923. */
const thousandths = (percent: number): number => Math.round(percent * 1_000)
const whole = 100_000

/** As a person writes it: `50 rows, 20 %`, in either order, or `off`. */
export const parse = (text: string): Either.Either<Brake, string> => {
  if (text.trim().toLowerCase() === "off") return Either.right(null)
  const parts = text.toLowerCase().split(",").map((part) => part.trim())
  const rows = parts.map((part) => /^(\d{1,9}) *rows?$/.exec(part)?.[1]).find((found) => found !== undefined)
  const percent = parts.map((part) => /^(\d{1,3}(?:\.\d{1,3})?) *%$/.exec(part)?.[1]).find((found) =>
    found !== undefined
  )
  if (parts.length !== 2 || rows === undefined || percent === undefined) {
    return Either.left(`${text} is neither off nor a number of rows and a share, as in 50 rows, 20 %`)
  }
  if (Number(percent) > 100) return Either.left(`${percent} % is more than the whole table`)
  return Either.right({ rows: Number(rows), percent: Number(percent) })
}

/** For a table that is empty all at once: nothing goes without a person. */
export const nothingGoes: Limits = { rows: 0, percent: 0 }

/** `parse` reads it. */
export const brakeText = (brake: Brake): string =>
  brake === null ? "off" : `${brake.rows} ${brake.rows === 1 ? "row" : "rows"}, ${brake.percent} %`

/** What one side's changes would do to the other side's table. */
export interface Concerned {
  readonly deletes: number
  readonly overwrites: number
  /** Rows that table has. */
  readonly rows: number
}

/** `400 of 500 rows of external would be deleted`; null when there is nothing. */
export const concernedText = ({ deletes, overwrites, rows }: Concerned, of: string): string | null => {
  const what = [
    ...(deletes > 0 ? ["deleted"] : []),
    ...(overwrites > 0 ? ["overwritten in conflict"] : [])
  ]
  if (what.length === 0) return null
  const both = deletes > 0 && overwrites > 0 ? ` (${count(deletes)} and ${count(overwrites)})` : ""
  return `${count(deletes + overwrites)} of ${count(rows)} rows of ${of} would be ${what.join(" or ")}${both}`
}
