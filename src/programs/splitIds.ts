/**
 * `setup --split-ids`: gives Replit's sequences the odd and the external ones the even ids, beyond all that are there.
 * `domain/splitIds.ts` says which; here it is done, while both apps write. Idempotent: what is in order stays as it is.
 */
import { Effect } from "effect"
import { endingSequences, idFindings } from "../domain/idFindings.ts"
import type { Side } from "../domain/Side.ts"
import { label, opposite, sides } from "../domain/Side.ts"
import type { IdSequences, SplitColumn, SplitStep } from "../domain/splitIds.ts"
import { beyond, idColumns, planSplit, sequencesOf } from "../domain/splitIds.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import { display, qualified } from "../domain/TableName.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { databases, onBoth } from "./databases.ts"

export interface SplitIds {
  readonly columns: ReadonlyArray<SplitColumn>
  /** Sequences that were changed, with the number that each gives next. */
  readonly changed: ReadonlyArray<
    { readonly side: Side; readonly sequence: string; readonly table: string; readonly next: bigint }
  >
  /** Sequences near their end, a sentence each. */
  readonly warnings: ReadonlyArray<string>
}

/** @param tables of both sides, set up: what was there before is remembered in our own tables. */
export const splitIds = Effect.fn("splitIds")(function*(tables: ReadonlyArray<SyncedTable>) {
  if ((yield* SyncConfig).externalCapture === "timestamp") {
    return yield* new ActionNeeded({
      message:
        "With EXTERNAL_CAPTURE=timestamp ids can't be split: sequences of external are not changed. Let whoever owns them "
        + "run ALTER SEQUENCE on both sides, as in: ALTER SEQUENCE … INCREMENT BY 2 RESTART WITH …; odd numbers on Replit, even "
        + "ones on external, beyond all that were given."
    })
  }
  const before = yield* read(tables)
  const plan = planSplit(before)
  const given = yield* Effect.forEach(plan.steps, take)
  // What the other side gave away after our look at it and before its own change, beyond the margin, is passed as well.
  const late = plan.steps.flatMap((step) => {
    const others = plan.steps.flatMap((other, index) => isTheSame(before, step, other) ? [given[index]!] : [])
    return others.reduce<SplitStep | null>((again, id) => beyond(again ?? step, id) ?? again, null) ?? []
  })
  yield* Effect.forEach(late, take)
  const after = plan.steps.length === 0 ? before : yield* read(tables)
  return {
    columns: plan.columns,
    changed: plan.steps.map(({ sequence: { name, table }, side }) => ({
      side,
      sequence: display(name),
      table: display(table),
      next: after[side].find((found) => qualified(found.name) === qualified(name))!.next
    })),
    warnings: endingSequences(after)
  } satisfies SplitIds
})

const read = Effect.fnUntraced(function*(tables: ReadonlyArray<SyncedTable>) {
  const all = yield* onBoth((database) => database.sequences(tables.map(({ name }) => name)))
  const found = tables.map((table) => sequencesOf(table, all))
  return {
    replit: found.flatMap(({ replit }) => replit),
    external: found.flatMap(({ external }) => external)
  } satisfies IdSequences
})

/** One transaction each: no lock is held while another one is waited for. */
const take = Effect.fnUntraced(function*({ sequence, settings, side }: SplitStep) {
  const both = yield* databases
  const last = yield* both[side].splitSequence(sequence.name, settings)
  yield* Effect.logInfo("Split a sequence").pipe(
    Effect.annotateLogs({ sequence: display(sequence.name), side })
  )
  return last
})

/** Whether the other step's sequence gives ids to a column of this one's, on the other side. */
const isTheSame = (all: IdSequences, step: SplitStep, other: SplitStep): boolean =>
  other.side === opposite(step.side)
  && idColumns(all).some(({ sequences }) =>
    [step, other].every(({ sequence, side }) =>
      sequences[side].some(({ name }) => qualified(name) === qualified(sequence.name))
    )
  )

/**
 * What `check` says is wrong with ids, for whoever starts something: that both sides give the same ones is told by
 * nothing else before it happens. Asks nothing where no table has a sequence.
 */
export const idWarnings = Effect.fn("idWarnings")(function*(tables: ReadonlyArray<SyncedTable>) {
  const giving = tables.filter(({ shapes }) => sides.some((side) => shapes[side].sequences.length > 0))
  return giving.length === 0 ? [] : idFindings(yield* read(giving)).problems
})

/** Lines for people: what became of each column. */
export const splitLines = ({ changed, columns }: SplitIds): ReadonlyArray<string> => [
  ...columns.map(({ why }) => why),
  ...sides.flatMap((side) =>
    changed.filter((found) => found.side === side).map(({ next, sequence }) =>
      `Sequence ${sequence} on ${label(side)} goes on with ${next}, in steps of 2.`
    )
  )
]
