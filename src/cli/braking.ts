/** `approve` and `reject`: what a person says about a table that the brake holds. */
import { Args, Command } from "@effect/cli"
import { Console, Effect } from "effect"
import { amount } from "../domain/Quantity.ts"
import { label, opposite, sides } from "../domain/Side.ts"
import { display } from "../domain/TableName.ts"
import { approve } from "../programs/approve.ts"
import { reject } from "../programs/reject.ts"
import { live } from "./live.ts"
import { tableNamed } from "./options.ts"

const table = Args.text({ name: "table" }).pipe(
  Args.withDescription("The table that is held, written as in SYNC_TABLES.")
)

export const approveCommand = Command.make("approve", { table }, (options) =>
  Effect.gen(function*() {
    const { holding, table: name } = yield* approve(yield* tableNamed(options.table))
    const what = sides.flatMap((side) => {
      const { deletes, overwrites } = holding[side]
      return deletes + overwrites === 0 ? [] : [`${taken(holding[side])} on ${label(opposite(side))}`]
    })
    yield* Console.log(`Approved for ${display(name)}: ${what.join("; ")}. The next cycle does it.`)
  })).pipe(
    Command.withDescription("Lets the changes through that the brake holds: those that it counted, not later ones."),
    Command.provide(live)
  )

export const rejectCommand = Command.make("reject", { table }, (options) =>
  Effect.gen(function*() {
    const name = yield* tableNamed(options.table)
    yield* Console.log(
      `Rejected for ${display(name)}: ${taken(yield* reject(name))}. The next cycle brings the rows back.`
    )
  })).pipe(
    Command.withDescription("Drops the changes that the brake holds: the rows come back from the other side."),
    Command.provide(live)
  )

const taken = ({ deletes, overwrites }: { readonly deletes: number; readonly overwrites: number }): string =>
  [
    ...(deletes > 0 || overwrites === 0 ? [amount(deletes, "delete")] : []),
    ...(overwrites > 0 ? [amount(overwrites, "overwrite")] : [])
  ].join(", ")
