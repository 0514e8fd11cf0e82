/** `check`, and then what adds something and takes nothing away is done, if somebody agrees. */
import { Effect, Either } from "effect"
import type { Cure } from "../domain/Cure.ts"
import { sides } from "../domain/Side.ts"
import type { SyncError } from "../domain/SyncError.ts"
import type { Check } from "./check.ts"
import { check, checkExitCode } from "./check.ts"
import { databases } from "./databases.ts"

/** `--json` prints it as it is. */
export interface Doctored {
  /** How things are now: after what was applied. */
  readonly check: Check
  readonly applied: ReadonlyArray<Cure>
  /** What a database refused, and why. */
  readonly refused: ReadonlyArray<{ readonly cure: Cure; readonly message: string }>
}

/** @param confirm asked with all that would be done; not asked when that is nothing. */
export const doctor = Effect.fn("doctor")(
  function*<R>(confirm: (cures: ReadonlyArray<Cure>) => Effect.Effect<boolean, SyncError, R>) {
    const before = yield* check
    const safe = curesOf(before).filter(({ remedy }) => remedy !== null)
    if (safe.length === 0 || !(yield* confirm(safe))) {
      return { check: before, applied: [], refused: [] } satisfies Doctored
    }
    const both = yield* databases
    const tried = yield* Effect.forEach(safe, (cure) => Effect.either(apply(both[cure.side].mend, cure)))
    return {
      check: yield* check,
      applied: tried.flatMap(Either.match({ onLeft: () => [], onRight: (cure) => [cure] })),
      refused: tried.flatMap(Either.match({ onLeft: (refused) => [refused], onRight: () => [] }))
    } satisfies Doctored
  }
)

/** As `check` ends; 3 when something was refused that `check` takes for a note only. */
export const doctorExitCode = ({ check: checked, refused }: Doctored): 0 | 1 | 3 => {
  const code = checkExitCode(checked)
  return code === 0 && refused.length > 0 ? 3 : code
}

/** All of them, in the order in which `check` tells what they solve. */
export const curesOf = (checked: Check): ReadonlyArray<Cure> =>
  [...sides.map((side) => checked.sides[side]), ...checked.tables, checked.pair].flatMap(({ cures }) => cures)

const apply = (mend: (remedy: NonNullable<Cure["remedy"]>) => Effect.Effect<void, SyncError>, cure: Cure) =>
  (cure.remedy === null ? Effect.void : mend(cure.remedy)).pipe(
    Effect.as(cure),
    Effect.mapError(({ message }) => ({ cure, message }))
  )
