/** How the memory form compares a table little by little. */
import { Effect } from "effect"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import { display } from "../../domain/TableName.ts"
import type { Hashed, Proving, Stretch } from "../Database.ts"
import { digestsOf } from "./Comparison.ts"
import { compareKeys, idOfKey } from "./MemoryTable.ts"
import type { Store } from "./Store.ts"
import { step, tableOf } from "./Store.ts"

export const make = (store: Store): Proving => ({
  boundary: Effect.fn("MemoryDatabase.boundary")((table, after, rows) =>
    step(store, () => hashes(store, table, { after, upTo: null })[rows - 1]?.key ?? null)
  ),
  stretch: Effect.fn("MemoryDatabase.stretch")((table, stretch) =>
    step(store, () => {
      const found = hashes(store, table, stretch)
      return { rows: found.length, hash: `${found.reduce((sum, { hash }) => sum + BigInt(hash), 0n)}` }
    })
  ),
  hashes: Effect.fn("MemoryDatabase.hashes")((table, stretch) => step(store, () => hashes(store, table, stretch))),
  hashesOf: Effect.fn("MemoryDatabase.hashesOf")((table, keys) =>
    step(store, () => {
      const { schema } = tableOf(store, table)
      const id = (key: Key) => idOfKey(schema, table.key, key)
      const byId = new Map(hashes(store, table, { after: null, upTo: null }).map((row) => [id(row.key), row.hash]))
      return keys.map((key) => byId.get(id(key)) ?? null)
    })
  ),
  proofs: step(store, (nowUs) => ({
    of: new Map(store.proofs),
    dueInMs: Number((store.proveAfterUs - nowUs) / 1000n)
  })),
  noteProof: Effect.fn("MemoryDatabase.noteProof")((table, proof) =>
    step(store, () => {
      // Behind all that were looked at before; nothing of a table whose capture is gone by now.
      store.proofs.delete(display(table))
      if (store.tables.get(display(table))?.capture != null) store.proofs.set(display(table), proof)
    })
  ),
  noteTurn: Effect.fn("MemoryDatabase.noteTurn")((inMs) =>
    step(store, (nowUs) => void (store.proveAfterUs = nowUs + BigInt(inMs) * 1000n))
  )
})

const hashes = (store: Store, table: SyncedTable, { after, upTo }: Stretch): ReadonlyArray<Hashed> => {
  const inOrder = compareKeys(tableOf(store, table).schema, table.key)
  return digestsOf(store, table, { of: 1, only: null })
    .filter(({ key }) => (after === null || inOrder(key, after) > 0) && (upTo === null || inOrder(key, upTo) <= 0))
    .sort((a, b) => inOrder(a.key, b.key))
}
