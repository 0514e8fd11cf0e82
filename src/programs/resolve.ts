/**
 * What becomes of a key that is pending on both sides (promises 4 and 5). It turns the facts that the target found
 * under its locks into a verdict; who wins a real conflict is said by `decide` alone.
 */
import { decide } from "../domain/decide.ts"
import type { Side } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import type { Contested, Verdict } from "../services/Database.ts"

/**
 * Judges contested keys of `table` on their way from `source` to the other side.
 *
 * A mark, made by comparing, is no change: it loses to a real one of the other side, whatever the stamps and the policy
 * say. Where it stands for a row that isn't there, as after `quarantine discard`, nobody deleted that, and nothing is journaled.
 */
export const resolve = (table: SyncedTable, source: Side) => (contested: Contested): Verdict => {
  if (contested.equal) return "agree"
  if (contested.applied) return "seen"
  if (contested.known) return "supersede"
  if (!wins(table, source, contested)) return "keep"
  return contested.marked.target && !contested.target.present ? "supersede" : "overwrite"
}

const wins = ({ policy }: SyncedTable, source: Side, contested: Contested): boolean => {
  if (contested.marked.source !== contested.marked.target) return contested.marked.target
  const versions = source === "replit"
    ? { replit: contested.source, external: contested.target }
    : { replit: contested.target, external: contested.source }
  return decide(versions, policy) === source
}
