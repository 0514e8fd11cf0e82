/** A memory server as it was: what restoring a backup does to a real one. */
import type { Store, TableState } from "./Store.ts"

/** Notes all that is committed now. What it returns sets the server back to that; sessions and transactions end. */
export const backUp = (store: Store): () => void => {
  const noted = copyOf(store)
  return () => {
    for (const transaction of store.transactions) transaction.rollback()
    // Restored twice, it must be the same.
    const { conflicts, folded, held, pauses, proofs, runs, tables, traffic, ...rest } = copyOf(noted)
    Object.assign(store, rest)
    refill(store.tables, tables)
    refill(store.folded, folded)
    refill(store.held, held)
    refill(store.pauses, pauses)
    refill(store.proofs, proofs)
    refill(store.traffic, traffic)
    store.conflicts.splice(0, Infinity, ...conflicts)
    store.runs.splice(0, Infinity, ...runs)
    store.lease = null
  }
}

/** Without what belongs to the server and not to its data: its clock, its sessions, and chance. */
type Data = Omit<
  Store,
  "side" | "transactions" | "advisory" | "gate" | "newId" | "lease" | "claims" | "clockOffsetUs"
>

const copyOf = (data: Data): Data => ({
  tables: new Map([...data.tables].map(([name, state]) => [name, tableCopy(state)])),
  conflicts: [...data.conflicts],
  held: new Map(data.held),
  pauses: new Map(data.pauses),
  proofs: new Map(data.proofs),
  proveAfterUs: data.proveAfterUs,
  runs: [...data.runs],
  traffic: new Map(data.traffic),
  installed: data.installed,
  identity: data.identity,
  epoch: data.epoch,
  holder: data.holder,
  reading: data.reading,
  folded: new Map(data.folded),
  tokens: data.tokens,
  lastCycle: data.lastCycle,
  lastChangeId: data.lastChangeId
})

/** Rows and entries are replaced, never changed; those of the quarantine and of sequences are changed. */
const tableCopy = (state: TableState): TableState => ({
  ...state,
  rows: new Map(state.rows),
  locks: new Map(),
  pending: [...state.pending],
  history: [...state.history],
  quarantine: new Map([...state.quarantine].map(([id, entry]) => [id, { ...entry }])),
  sequences: new Map([...state.sequences].map(([name, sequence]) => [name, { ...sequence }]))
})

const refill = <Name, A>(map: Map<Name, A>, from: ReadonlyMap<Name, A>): void => {
  map.clear()
  for (const [name, value] of from) map.set(name, value)
}
