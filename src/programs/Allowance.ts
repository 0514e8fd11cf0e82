/**
 * How many rows a pass may take away on one side before the brake has to look again: an app may go on deleting while a
 * cycle runs, and what comes then was not counted.
 */
import { Effect, type Scope } from "effect"
import type { ApplyOptions, Contested } from "../services/Database.ts"

/** What is left of it; batches that get through use it up. */
export interface Allowance {
  deletes: number
  overwrites: number
}

/** A batch's share, which goes back with the scope unless it was used. */
export interface Permit {
  /** False when so many deletes are more than are left. */
  readonly takeDeletes: (rows: number) => boolean
  /** Judges as the rule does, but leaves a conflict for the next cycle when no more may be overwritten. */
  readonly judging: (judge: ApplyOptions["judge"]) => ApplyOptions["judge"]
  /** The batch got through. */
  readonly use: () => void
}

/** Without an allowance everything goes. */
export const permitOf = (allowance: Allowance | undefined): Effect.Effect<Permit, never, Scope.Scope> =>
  Effect.gen(function*() {
    const taken: Allowance = { deletes: 0, overwrites: 0 }
    const take = (what: keyof Allowance, rows: number): boolean => {
      if (allowance === undefined) return true
      if (allowance[what] < rows) return false
      allowance[what] -= rows
      taken[what] += rows
      return true
    }
    const permit: Permit = {
      takeDeletes: (rows) => take("deletes", rows),
      judging: (judge) => (contested) => {
        const verdict = judge(contested)
        return verdict === "overwrite" && !isMarked(contested) && !take("overwrites", 1) ? "keep" : verdict
      },
      use: () => {
        taken.deletes = 0
        taken.overwrites = 0
      }
    }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (allowance === undefined) return
        allowance.deletes += taken.deletes
        allowance.overwrites += taken.overwrites
      })
    )
    return permit
  })

/** What comparing marked is the conflict rule's to decide: a person asked for that, and it is not counted. */
export const isMarked = ({ marked }: Contested): boolean => marked.source || marked.target
