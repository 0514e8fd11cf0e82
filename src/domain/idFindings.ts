/**
 * What `check` says about ids that come from sequences: where both sides may give the same one, where a split has been
 * undone by hand, and where the numbers run out. Pure; each problem is a sentence with its cure.
 */
import type { Cure } from "./Cure.ts"
import { cureByHand, safeCure } from "./Cure.ts"
import type { IdSequence } from "./IdSequence.ts"
import { isBehind, isUp, usage } from "./IdSequence.ts"
import { count } from "./Quantity.ts"
import type { Side } from "./Side.ts"
import { label, sides } from "./Side.ts"
import type { IdColumn, IdSequences } from "./splitIds.ts"
import { collide, idColumns, obstacle, whyItStays } from "./splitIds.ts"
import { display, qualified, quote } from "./TableName.ts"

export interface IdFindings {
  readonly problems: ReadonlyArray<string>
  readonly notes: ReadonlyArray<string>
  readonly cures: ReadonlyArray<Cure>
}

interface Found {
  readonly problem: string
  readonly cure: Cure | null
}

/** @param all the sequences of one table, or of many. */
export const idFindings = (all: IdSequences): IdFindings => {
  const found = idColumns(all).map((column) => {
    const collisions = collisionOf(column)
    const single = sides.flatMap((side) =>
      column.sequences[side].flatMap((sequence) => [...misuse(sequence, side), ...nearEnd(sequence, side)])
    )
    return {
      problems: [...collisions, ...single.map(({ problem }) => problem)],
      notes: collisions.length === 0 ? [whyItStays(column)] : [],
      cures: single.flatMap(({ cure }) => cure ?? [])
    }
  })
  return {
    problems: found.flatMap(({ problems }) => problems),
    notes: found.flatMap(({ notes }) => notes),
    cures: found.flatMap(({ cures }) => cures)
  }
}

/** Where a sequence gets near its end. */
export const endingSequences = (all: IdSequences): ReadonlyArray<string> =>
  sides.flatMap((side) => all[side].flatMap((sequence) => nearEnd(sequence, side).map(({ problem }) => problem)))

const collisionOf = ({ column, sequences }: IdColumn): ReadonlyArray<string> => {
  if (!collide(sequences)) return []
  const both = sides.flatMap((side) => sequences[side].map((sequence) => ({ side, sequence })))
  const said = both.map(({ sequence, side }) =>
    `${display(sequence.name)} on ${label(side)} gives ${sequence.next} next and counts by ${sequence.increment}`
  ).join(", ")
  if (both.some(({ sequence }) => sequence.split)) {
    return [`The ids of ${column} are not kept apart any more: ${said}. Run \`setup --split-ids\` again.`]
  }
  const obstacles = both.flatMap(({ sequence, side }) => obstacle(sequence, side) ?? [])
  return [
    `Both sides give the ids of ${column} out of the same numbers (${said}): two rows may get one id, and then one of them `
    + `loses. ${obstacles.length === 0 ? "Run `setup --split-ids`." : obstacles.join(" ")}`
  ]
}

const misuse = (sequence: IdSequence, side: Side): ReadonlyArray<Found> => {
  const { column, furthest, name, next, rights, table } = sequence
  if (rights === "none") {
    const problem =
      `The role may not use sequence ${display(name)} on ${label(side)}, so rows that arrive in ${
        display(table)
      } don't move `
      + `it on. Run as its owner: GRANT USAGE, SELECT, UPDATE ON SEQUENCE ${display(name)} TO … (the role of this URL);`
    const grant = `GRANT USAGE, SELECT, UPDATE ON SEQUENCE ${qualified(name)} TO …;`
    return [{ problem, cure: cureByHand(problem, side, grant) }]
  }
  if (!isBehind(sequence)) return []
  const problem =
    `Sequence ${display(name)} on ${label(side)} gives ${next} next, but ${
      display(table)
    } has ids up to ${furthest} in `
    + `"${column}": inserts there will fail. Run there: SELECT setval('${
      qualified(name).replaceAll("'", "''")
    }', ${furthest});`
  const remedy = { _tag: "MoveSequence", name, isUp: isUp(sequence), past: String(furthest) } as const
  return [{ problem, cure: safeCure(problem, side, remedy) }]
}

const nearEnd = (sequence: IdSequence, side: Side): ReadonlyArray<Found> => {
  const { column, name, rights, table, type } = sequence
  const { left, used } = usage(sequence)
  if (rights === "none" || used < usedMax) return []
  const widening = type === "smallint" || type === "integer"
    ? `ALTER TABLE ${display(table)} ALTER COLUMN ${quote(column)} TYPE bigint; ALTER SEQUENCE ${
      display(name)
    } AS bigint;`
    : null
  const problem = `${Math.floor(used * 100)} % of the numbers of sequence ${display(name)} on ${
    label(side)
  } are used, ${count(Number(left))} ids are left for "${column}" of ${display(table)}. ${
    widening === null ? "Give it other bounds in time." : `Make it bigint in time, on both sides: ${widening}`
  }`
  return [{ problem, cure: widening === null ? null : cureByHand(problem, side, widening) }]
}

/** From here on it is told. */
const usedMax = 0.8
