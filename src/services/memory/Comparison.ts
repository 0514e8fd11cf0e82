/** How the memory form compares its rows with the other side's. */
import { Effect, Hash, Stream } from "effect"
import * as StagedRow from "../../domain/StagedRow.ts"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import type { Compared, Comparison, Digest, RangeSet } from "../Database.ts"
import type { RowId } from "./MemoryTable.ts"
import { compareKeys, idOfKey } from "./MemoryTable.ts"
import { mark, pendingOf } from "./Queue.ts"
import type { Store } from "./Store.ts"
import { step, tableOf } from "./Store.ts"
import * as Timestamp from "./Timestamp.ts"
import { transact } from "./Transaction.ts"

export const make = (store: Store): Comparison => ({
  digest: Effect.fn("MemoryDatabase.digest")((table, of, within) =>
    step(store, () => digest(store, table, of, within))
  ),
  digests: Effect.fn("MemoryDatabase.digests")((table, ranges) =>
    Effect.map(
      step(store, () => digestsOf(store, table, ranges)),
      (digests) =>
        Stream.map(Stream.fromIterable(digests), (row) => new TextEncoder().encode(StagedRow.encodeDigest(row)))
    )
  ),
  compare: Effect.fn("MemoryDatabase.compare")(function*(table, ranges, theirs, options) {
    const { schema } = yield* step(store, () => tableOf(store, table))
    const digests = yield* StagedRow.decodeDigests(theirs)
    const hashes = new Map(digests.map(({ hash, key }) => [idOfKey(schema, table.key, key), hash]))
    return yield* step(store, (nowUs) => compare(store, table, ranges, hashes, options, nowUs))
  }),
  removeOnlyHere: Effect.fn("MemoryDatabase.removeOnlyHere")(function*(table, ranges, theirs) {
    const { schema } = yield* step(store, () => tableOf(store, table))
    const digests = yield* StagedRow.decodeDigests(theirs)
    const there = new Set(digests.map(({ key }) => idOfKey(schema, table.key, key)))
    return yield* step(store, (nowUs) => removeOnlyHere(store, table, ranges, there, nowUs))
  })
})

const digest = (store: Store, table: SyncedTable, of: number, within: RangeSet): ReadonlyMap<number, Digest> => {
  const digests = new Map<number, Digest>()
  for (const { hash, key } of digestsOf(store, table, within)) {
    const range = rangeOf(key, of)
    const { hash: sum, rows } = digests.get(range) ?? { hash: "0", rows: 0 }
    digests.set(range, { rows: rows + 1, hash: `${BigInt(sum) + BigInt(hash)}` })
  }
  return digests
}

/** Hash and key of each row of the ranges. */
export const digestsOf = (
  store: Store,
  table: SyncedTable,
  { of, only }: RangeSet
): ReadonlyArray<StagedRow.RowDigest> =>
  [...tableOf(store, table).rows.values()]
    .map((row) => ({
      hash: hashOf(table.columns.map((name) => row[name] ?? null)),
      key: table.key.map((name) => row[name]!)
    }))
    .filter(({ key }) => only === null || only.includes(rangeOf(key, of)))

const compare = (
  store: Store,
  table: SyncedTable,
  ranges: RangeSet,
  theirs: ReadonlyMap<RowId, string>,
  options: Parameters<Comparison["compare"]>[3],
  nowUs: bigint
): Compared => {
  const state = tableOf(store, table)
  const inOrder = compareKeys(state.schema, table.key)
  const found = digestsOf(store, table, ranges)
    .map(({ hash, key }) => ({ hash, key, id: idOfKey(state.schema, table.key, key) }))
    .filter(({ hash, id }) => theirs.get(id) !== hash)
    .map(({ id, key }) => ({
      id,
      key,
      kind: theirs.has(id) ? "different" as const : "only-here" as const,
      pending: pendingOf(state, id).length > 0
    }))
    .sort((a, b) => inOrder(a.key, b.key))
  const toMark = options.mark === "none"
    ? []
    : found.filter(({ kind }) => options.mark === "all" || kind === options.mark)
  const changedAtUs = (kind: "only-here" | "different") =>
    options.wins === true && kind === "different" ? nowUs : -Timestamp.infinity
  return {
    onlyHere: found.filter(({ kind }) => kind === "only-here").length,
    different: found.filter(({ kind }) => kind === "different").length,
    pending: found.filter(({ pending }) => pending).length,
    sample: found.slice(0, options.sampleMax).map(({ key, kind, pending }) => ({ key, kind, pending })),
    marked: toMark.filter(({ id, kind }) => mark(store, state, id, changedAtUs(kind))).length
  }
}

const removeOnlyHere = (
  store: Store,
  table: SyncedTable,
  ranges: RangeSet,
  there: ReadonlySet<RowId>,
  nowUs: bigint
): number => {
  const state = tableOf(store, table)
  const gone = digestsOf(store, table, ranges)
    .map(({ key }) => ({ key, id: idOfKey(state.schema, table.key, key) }))
    .filter(({ id }) => !there.has(id) && pendingOf(state, id).length === 0)
  const bounces = new Map(gone.map(({ id }) => [id, 0]))
  transact(store, nowUs, (transaction) => {
    for (const { id, key } of gone) {
      const lost = state.rows.get(id) ?? null
      transaction.lose({ table: table.name, key, reason: "first-contact", policy: null, lost, won: null })
      transaction.remove(state, id, "merge")
    }
  }, { state, bounces })
  return gone.length
}

/** Of 32 bits, where PostgreSQL has 64. */
const rangeOf = (key: Key, of: number): number => Math.floor((Number(hashOf(key)) / 2 ** 32) * of)

/**
 * `Hash.string` is nearly linear, so that two rows that swapped a value would leave the sum as it was: hashed once more (the last
 * step of MurmurHash3), it isn't.
 */
const hashOf = (texts: ReadonlyArray<string | null>): string => {
  let hash = Hash.string(StagedRow.encodeLine(texts))
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return `${(hash ^ (hash >>> 16)) >>> 0}`
}
