/**
 * How two sides find out where they differ without sending rows: both count and hash what lies in ranges of their hashed
 * keys; ranges that differ are divided, until few rows are left in them. Pure; who asks the databases is no business of it.
 */

/** What one side has in a range: rows, and the order-free sum of their hashes as decimal text. */
interface Digest {
  readonly rows: number
  readonly hash: string
}

type Digests = ReadonlyMap<number, Digest>

/** About 23 kB of digests from each side. */
export const firstRanges = 512
/** Into how many a range that differs is divided. */
export const division = 16
/** Keys and hashes of so many rows, about 100 kB, are sent without looking closer. */
const fewRows = 2_000

/** Ranges that are not the same on both sides, ascending. */
export const differingRanges = (a: Digests, b: Digests): ReadonlyArray<number> =>
  [...new Set([...a.keys(), ...b.keys()])]
    .filter((range) => {
      const [x, y] = [a.get(range), b.get(range)]
      return x?.rows !== y?.rows || x?.hash !== y?.hash
    })
    .sort((x, y) => x - y)

/** Whether looking closer would cost more than sending the keys of what is left. */
export const isCloseEnough = (sides: readonly [Digests, Digests], differing: ReadonlyArray<number>): boolean => {
  const all = Math.max(...sides.map(rowsIn))
  const inDiffering = Math.max(
    ...sides.map((digests) => differing.reduce((sum, range) => sum + (digests.get(range)?.rows ?? 0), 0))
  )
  return inDiffering <= fewRows || inDiffering * 2 > all || inDiffering <= differing.length * division
}

/** Rows of all ranges. */
export const rowsIn = (digests: Digests): number => [...digests.values()].reduce((sum, { rows }) => sum + rows, 0)
