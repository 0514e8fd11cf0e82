/** Which values of which tables are shown: what `domain/hiding.ts` needs to know, from settings and catalog. */
import { Effect } from "effect"
import type { Hidden } from "../domain/hiding.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"

export interface Shows {
  readonly hidden: Hidden
  /** Columns of the primary key; null where Replit has no such table. */
  readonly key: ReadonlyArray<string> | null
}

/** One question to Replit. With `all` no value is shown at all. */
export const hiding = Effect.fn("hiding")(function*(tables: ReadonlyArray<TableName>, all: boolean) {
  const { hiddenOf } = yield* SyncConfig
  const names = [...new Map(tables.map((name) => [display(name), name])).values()]
  const found = names.length === 0 ? [] : yield* (yield* ReplitDb).inspect(names, "reader")
  const byName = new Map(names.map((name, index): readonly [string, Shows] => {
    const inspected = found[index]
    const key = inspected?._tag === "Table" && inspected.shape.key.length > 0 ? inspected.shape.key : null
    return [display(name), { hidden: all ? "all" : hiddenOf(name), key }]
  }))
  return (name: TableName): Shows => byName.get(display(name)) ?? { hidden: "all", key: null }
})

/** The same where Replit can't be asked: nothing of a key is shown of a table that hides a column. */
export const hidingUnasked = Effect.map(
  SyncConfig,
  ({ hiddenOf }) => (name: TableName): Shows => ({ hidden: hiddenOf(name), key: null })
)
