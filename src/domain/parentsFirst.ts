/** The order in which upserts travel: every table after the tables that its foreign keys point at. Deletes go the other way. */
import { sides } from "./Side.ts"
import type { SyncedTable } from "./SyncedTable.ts"
import { display } from "./TableName.ts"

/**
 * Sorts tables into groups so that parents come before children: a group is one table, or several whose foreign keys
 * make a circle. Otherwise in the order given.
 */
export const parentsFirst = (tables: ReadonlyArray<SyncedTable>): ReadonlyArray<ReadonlyArray<SyncedTable>> => {
  const byName = new Map(tables.map((table) => [display(table.name), table]))
  const groups: Array<ReadonlyArray<SyncedTable>> = []
  // Tarjan's strongly connected components: a table ends a group when none of its parents leads back before it.
  const visits = new Map<SyncedTable, { readonly number: number; lowest: number; open: boolean }>()
  const path: Array<SyncedTable> = []
  const visit = (table: SyncedTable) => {
    const mine = { number: visits.size, lowest: visits.size, open: true }
    visits.set(table, mine)
    path.push(table)
    for (const name of [...table.shapes.replit.parents, ...table.shapes.external.parents]) {
      const parent = byName.get(display(name))
      if (parent === undefined) continue
      const theirs = visits.get(parent) ?? visit(parent)
      if (theirs.open) mine.lowest = Math.min(mine.lowest, theirs.lowest)
    }
    if (mine.lowest === mine.number) {
      const group = path.splice(path.indexOf(table))
      for (const member of group) visits.get(member)!.open = false
      groups.push(group)
    }
    return mine
  }
  for (const table of tables) if (!visits.has(table)) visit(table)
  return groups
}

/** Tables that rows of these point at, directly or not, by name: deleting from them may take such rows along. */
export const ancestors = (tables: ReadonlyArray<SyncedTable>, all: ReadonlyArray<SyncedTable>): ReadonlySet<string> => {
  const found = new Set<string>()
  const queue = [...tables]
  while (queue.length > 0) {
    const { shapes } = queue.pop()!
    for (const name of sides.flatMap((side) => shapes[side].parents.map(display))) {
      if (found.has(name)) continue
      found.add(name)
      queue.push(...all.filter((table) => display(table.name) === name))
    }
  }
  return found
}
