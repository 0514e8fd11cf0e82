/** The order in which upserts travel: every table after the tables that its foreign keys point at. Deletes go the other way. */
import type { SyncedTable } from "./SyncedTable.ts"
import { display } from "./TableName.ts"

/**
 * Sorts tables so that parents come before children. Tables in a circle of foreign keys come in the order given, as
 * near to each other as the rest allows; what is refused for it gets its second chance at the end of the cycle.
 */
export const parentsFirst = (tables: ReadonlyArray<SyncedTable>): ReadonlyArray<SyncedTable> => {
  const byName = new Map(tables.map((table) => [display(table.name), table]))
  const sorted = new Set<SyncedTable>()
  const visiting = new Set<SyncedTable>()
  const visit = (table: SyncedTable): void => {
    if (sorted.has(table) || visiting.has(table)) return
    visiting.add(table)
    for (const parent of [...table.shapes.replit.parents, ...table.shapes.external.parents]) {
      const found = byName.get(display(parent))
      if (found !== undefined) visit(found)
    }
    sorted.add(table)
  }
  tables.forEach(visit)
  return [...sorted]
}
