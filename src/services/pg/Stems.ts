/**
 * What our objects of a table are named on this side (`vaivem.tables.stem`), remembered, and the statements made from
 * it. The names are chosen in the database, where collisions can be seen.
 */
import { Effect } from "effect"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import { ActionNeeded } from "../../domain/SyncError.ts"
import type { TableName } from "../../domain/TableName.ts"
import { display } from "../../domain/TableName.ts"
import type { PgSession } from "./PgSession.ts"
import * as TableSql from "./TableSql.ts"

export interface Stems {
  readonly stemOf: (name: TableName) => Effect.Effect<string | null, SyncError>
  /** Fails when the table has no capture on this side. */
  readonly sqlOf: (table: SyncedTable) => Effect.Effect<TableSql.TableSql, SyncError>
  /** For statements that only read the table itself, with capture or without. */
  readonly readingSqlOf: (table: SyncedTable) => TableSql.TableSql
  /** Takes in what the database said. */
  readonly note: (name: TableName, stem: string | null, quarantined: boolean) => void
  /** Takes in that the table is as it was, and has nothing in quarantine. */
  readonly noteNoQuarantine: (name: TableName) => void
  /** Whether keys of the table may be in quarantine: else a claim needn't look. */
  readonly mayHaveQuarantine: (table: SyncedTable) => Effect.Effect<boolean>
  readonly noteQuarantine: (table: SyncedTable) => void
}

export const make = (session: PgSession): Stems => {
  const stems = new Map<string, string>()
  const quarantined = new Set<string>()
  const statements = new WeakMap<SyncedTable, TableSql.TableSql>()
  const reading = new WeakMap<SyncedTable, TableSql.TableSql>()

  const stemOf = Effect.fnUntraced(function*(name: TableName) {
    const known = stems.get(display(name))
    if (known !== undefined) return known
    const rows = yield* session.query(
      "select stem from vaivem.tables where table_schema = $1 and table_name = $2",
      [name.schema, name.name]
    )
    const stem = rows[0]?.stem ?? null
    if (stem !== null) stems.set(display(name), stem)
    return stem
  })

  return {
    stemOf,
    sqlOf: Effect.fnUntraced(function*(table: SyncedTable) {
      const stem = yield* stemOf(table.name)
      if (stem === null) {
        return yield* new ActionNeeded({
          message: `Table ${display(table.name)} has no capture on the ${session.side} side. Run \`setup\`.`,
          side: session.side,
          table: table.name
        })
      }
      const known = statements.get(table)
      if (known !== undefined && known.stem === stem) return known
      const made = TableSql.make(table, session.side, stem)
      statements.set(table, made)
      return made
    }),
    readingSqlOf: (table) => {
      const made = reading.get(table) ?? TableSql.make(table, session.side, "")
      reading.set(table, made)
      return made
    },
    note: (name, stem, hasQuarantine) => {
      if (stem === null) stems.delete(display(name))
      else stems.set(display(name), stem)
      if (hasQuarantine) quarantined.add(display(name))
      else quarantined.delete(display(name))
    },
    noteNoQuarantine: (name) => void quarantined.delete(display(name)),
    mayHaveQuarantine: (table) => Effect.sync(() => quarantined.has(display(table.name))),
    noteQuarantine: (table) => void quarantined.add(display(table.name))
  }
}
