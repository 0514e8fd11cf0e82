/** What is shown in the place of personal data (`SYNC_HIDE_COLUMNS`), and of all values to whoever may not see any. */
import type { Key } from "./SyncedTable.ts"

/** Columns of a table whose values are not shown; `all` of them. */
export type Hidden = "all" | ReadonlyArray<string>

export const hiddenText = "(hidden)"

export const isHidden = (hidden: Hidden, column: string): boolean => hidden === "all" || hidden.includes(column)

/** @param columns of the primary key; where they aren't known, nothing of a key is shown that may be hidden. */
export const hideKey = (hidden: Hidden, columns: ReadonlyArray<string> | null, key: Key): Key =>
  hidden.length === 0
    ? key
    : key.map((text, index) => columns !== null && !isHidden(hidden, columns[index]!) ? text : hiddenText)

type Texts = Readonly<Record<string, string | null>>

/** That there is nothing in a column is no secret. */
export const hideRow = <A extends Texts | null>(hidden: Hidden, row: A): A | Texts =>
  row === null
    ? row
    : Object.fromEntries(
      Object.entries(row).map((
        [column, text]
      ) => [column, text !== null && isHidden(hidden, column) ? hiddenText : text])
    )

/** PostgreSQL's own words hold names only (values are blotted out of class 22); a user's trigger may say anything. */
export const hideMessage = (
  hidden: Hidden,
  { constraint, message, sqlState }: {
    readonly constraint: string | null
    readonly message: string
    readonly sqlState: string | null
  }
): string =>
  hidden.length === 0 || sqlState === null || sqlState.startsWith("22") ||
    (sqlState.startsWith("23") && constraint !== null)
    ? message
    : `${hiddenText}: these are not PostgreSQL's own words, and may hold values`
