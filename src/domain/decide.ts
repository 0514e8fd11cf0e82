/**
 * The conflict rule: who wins when a key is pending on both sides with different content. Pure, total, and the only
 * truth about conflicts there is; both forms of `Database` ask it through the `resolve` program.
 */
import type { Side } from "./Side.ts"

/** How a conflict of one table is decided. */
export type Policy = "last-write-wins" | "replit-wins" | "external-wins"

/** One side's version of a contested row, as far as deciding needs it. */
export interface Version {
  /** False when the side has deleted the row. */
  readonly present: boolean
  /**
   * When the version was made, whole microseconds since the Unix epoch: the stamp column of a row, `changed_at` of a
   * delete and of a table without a stamp column. Null is a missing stamp, which counts as oldest. A `bigint`, because
   * neither a JavaScript `Date` (milliseconds) nor a `number` (53 bits) holds one.
   */
  readonly stampUs: bigint | null
}

/**
 * Names the winner. Symmetric: it depends on the two versions and not on the direction they meet in, so push and pull
 * decide alike. The later stamp wins under `last-write-wins`, and a tie goes to Replit.
 */
export const decide = (versions: Readonly<Record<Side, Version>>, policy: Policy): Side => {
  switch (policy) {
    case "replit-wins":
      return "replit"
    case "external-wins":
      return "external"
    case "last-write-wins":
      return isLater(versions.external.stampUs, versions.replit.stampUs) ? "external" : "replit"
  }
}

const isLater = (a: bigint | null, b: bigint | null): boolean => a !== null && (b === null || a > b)
