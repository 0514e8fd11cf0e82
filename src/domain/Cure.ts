/** What solves something that `check` found, as SQL. What no SQL solves has its cure in its own words. */
import type { Side } from "./Side.ts"
import type { TableName } from "./TableName.ts"
import { qualified, quote } from "./TableName.ts"

export interface Cure {
  /** The problem or the note, word for word. */
  readonly solves: string
  /** Where it is to be run. */
  readonly side: Side
  readonly sql: string
  /**
   * What `doctor --fix` may do: it adds something, takes nothing away and needs nobody else's rights. Null where a person has
   * to run the SQL, as what somebody else owns or what belongs into the app's own migrations.
   */
  readonly remedy: Remedy | null
}

/** The SQL is made of it by `remedySql`, so that what is shown is what is run. */
export type Remedy =
  | { readonly _tag: "AddIndex"; readonly table: TableName; readonly column: string }
  /** Past that number, upwards or downwards, and never back. Text, as JSON has no room for such numbers. */
  | { readonly _tag: "MoveSequence"; readonly name: TableName; readonly isUp: boolean; readonly past: string }

export const remedySql = (remedy: Remedy): string => {
  switch (remedy._tag) {
    case "AddIndex":
      return `CREATE INDEX ON ${qualified(remedy.table)} (${quote(remedy.column)});`
    case "MoveSequence": {
      // Inserts may have moved it on since it was looked at.
      const further = `${remedy.isUp ? "GREATEST" : "LEAST"}(${remedy.past}, last_value)`
      const sequence = qualified(remedy.name)
      return `SELECT setval('${sequence.replaceAll("'", "''")}', ${further}) FROM ${sequence};`
    }
  }
}

/** A cure that `doctor --fix` may apply. */
export const safeCure = (solves: string, side: Side, remedy: Remedy): Cure => ({
  solves,
  side,
  sql: remedySql(remedy),
  remedy
})

/** A cure that a person has to apply. */
export const cureByHand = (solves: string, side: Side, sql: string): Cure => ({ solves, side, sql, remedy: null })
