/** A key whose row is not the same on both sides, and what is known of the reason. */
import type { Key } from "./SyncedTable.ts"

export interface Difference {
  readonly key: Key
  readonly kind: "only-on-replit" | "only-on-external" | "different"
  /** `pending`: a change of it waits on one of the sides. `quarantined`: the other side refused it. */
  readonly why: "unknown" | "pending" | "quarantined"
}
