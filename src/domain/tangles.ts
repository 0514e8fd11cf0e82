/** Which refused rows stand in each other's way: rows that swapped unique values, or passed them on in a ring. */
import type { Key } from "./SyncedTable.ts"

/** A row that was refused, and the row that it was refused for, where that could be told. */
export interface Blocked {
  readonly key: Key
  readonly blockedBy: Key | null
}

/**
 * Groups the keys so that a row and the refused row in its way are in one group: only together can they pass. Rows that
 * nobody refused stands in the way of, or that stand in nobody's, are groups of their own. In the order given.
 */
export const tangles = (rows: ReadonlyArray<Blocked>): ReadonlyArray<ReadonlyArray<Key>> => {
  const groups = new Map(rows.map(({ key }) => [nameOf(key), [key]]))
  for (const { blockedBy, key } of rows) {
    const mine = groups.get(nameOf(key))!
    const theirs = blockedBy === null ? undefined : groups.get(nameOf(blockedBy))
    if (theirs === undefined || theirs === mine) continue
    mine.push(...theirs)
    for (const moved of theirs) groups.set(nameOf(moved), mine)
  }
  return [...new Set(groups.values())]
}

const nameOf = (key: Key): string => JSON.stringify(key)
