/** Looks at every verdict that a program gives, and says which one the conflict rule asks for (promises 4 and 5). */
import type { Side } from "../../src/domain/Side.ts"
import { opposite } from "../../src/domain/Side.ts"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"
import type { Contested, Database, Verdict } from "../../src/services/Database.ts"

/** @param braked the brake may leave for a later cycle what would be overwritten. */
export const watching = (database: Database, braked: boolean, wrong: Array<string>): Database => ({
  ...database,
  apply: (table, claim, options) =>
    database.apply(table, claim, {
      ...options,
      judge: (contested) => {
        const verdict = options.judge(contested)
        const right = rightVerdict(table, opposite(database.side), contested)
        if (verdict !== right && !(braked && right === "overwrite" && verdict === "keep")) {
          wrong.push(`A key of ${table.name.name} on ${database.side} was to be judged ${right}, and was ${verdict}.`)
        }
        return verdict
      }
    })
})

/** Written anew from the design and not from the program, or it would agree with every mistake. */
const rightVerdict = ({ policy }: SyncedTable, from: Side, contested: Contested): Verdict => {
  const { applied, equal, known, marked, source, target } = contested
  if (equal) return "agree"
  if (applied) return "seen"
  if (known) return "supersede"
  const [ours, theirs] = from === "replit" ? [source.stampUs, target.stampUs] : [target.stampUs, source.stampUs]
  const oldest = -(2n ** 80n)
  const later = (theirs ?? oldest) > (ours ?? oldest) ? "external" : "replit"
  const byPolicy = policy === "replit-wins" ? "replit" : policy === "external-wins" ? "external" : later
  const winner = marked.source === marked.target ? byPolicy : marked.source ? opposite(from) : from
  if (winner !== from) return "keep"
  return marked.target && !target.present ? "supersede" : "overwrite"
}
