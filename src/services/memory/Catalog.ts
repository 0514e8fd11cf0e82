/** The memory form's catalog: what is there, and what of ours is installed. */
import { Effect } from "effect"
import { label } from "../../domain/Side.ts"
import { ActionNeeded } from "../../domain/SyncError.ts"
import { display } from "../../domain/TableName.ts"
import { noTokens } from "../../domain/Tokens.ts"
import type { Catalog, Hello, Inspected, Listed } from "../Database.ts"
import type { Connection } from "./Lease.ts"
import type { MemoryTable } from "./MemoryTable.ts"
import { shapeOf } from "./MemoryTable.ts"
import * as Sequences from "./Sequences.ts"
import type { Store } from "./Store.ts"
import { emptyTable, fingerprintOf, step, tableNamed, tableOf } from "./Store.ts"

export const make = (store: Store, connection: Connection): Catalog => ({
  hello: Effect.fn("MemoryDatabase.hello")(() => Effect.succeed(hello(store)))(),
  hold: Effect.fn("MemoryDatabase.hold")((number) =>
    Effect.acquireRelease(
      Effect.sync(() => store.advisory.set(number, holders(store, number) + 1)),
      () => Effect.sync(() => store.advisory.set(number, holders(store, number) - 1))
    )
  ),
  sees: Effect.fn("MemoryDatabase.sees")((number) => step(store, () => holders(store, number) > 0)),
  list: Effect.fn("MemoryDatabase.list")((schemas) =>
    step(store, () =>
      [...store.tables.values()]
        .map(({ schema: { key, name } }): Listed => ({ name, problem: key.length === 0 ? "has no primary key" : null }))
        .filter(({ name }) => schemas.includes(name.schema))
        .sort((a, b) => (display(a.name) < display(b.name) ? -1 : 1)))
  ),
  inspect: Effect.fn("MemoryDatabase.inspect")((names) =>
    step(store, () =>
      names.map((name): Inspected => {
        const state = store.tables.get(display(name))
        if (state !== undefined) return { _tag: "Table", shape: shapeOf(state.schema, fingerprintOf(state)) }
        const problem = `Table ${display(name)} does not exist on ${label(store.side)}.`
        return { _tag: "Unfit", name, missing: true, problem }
      }))
  ),
  install: step(store, (nowUs) => {
    if (!store.installed) store.reading.atUs = nowUs
    store.installed = true
  }),
  identity: step(store, () => store.identity),
  identify: Effect.fn("MemoryDatabase.identify")((identity) =>
    step(store, () => {
      const before = store.identity
      store.identity = identity
      // A database that is new to the pair has the epoch of whoever sets it up.
      if (before === null) store.epoch = connection.epoch ?? 0n
    })
  ),
  capture: Effect.fn("MemoryDatabase.capture")((table, { announce = false, touch }) =>
    step(store, () => {
      const state = tableOf(store, table)
      state.capture = { table, touch, announce, fingerprint: "" }
      state.capture = { ...state.capture, fingerprint: fingerprintOf(state) }
      return { adopted: null, fingerprint: state.capture.fingerprint, gone: [], dropped: 0 }
    })
  ),
  recall: Effect.fn("MemoryDatabase.recall")((name) => step(store, () => tableNamed(store, name).remembered)),
  remember: Effect.fn("MemoryDatabase.remember")((name, remembered) =>
    step(store, () => {
      tableNamed(store, name).remembered = remembered
      store.proofs.delete(display(name))
    })
  ),
  captured: step(
    store,
    () => [...store.tables.values()].filter(({ capture }) => capture !== null).map(({ schema }) => schema.name)
  ),
  uncapture: Effect.fn("MemoryDatabase.uncapture")((name) => step(store, () => forget(store, tableNamed(store, name)))),
  uninstall: step(store, () => {
    for (const state of store.tables.values()) forget(store, state)
    store.runs.length = 0
    store.traffic.clear()
    store.pauses.clear()
    store.identity = null
    store.holder = null
    store.tokens = noTokens
    store.lastCycle = null
    store.installed = false
  }),
  sequences: Effect.fn("MemoryDatabase.sequences")((names) =>
    step(store, () => names.flatMap((name) => Sequences.describe(tableNamed(store, name))))
  ),
  splitSequence: Effect.fn("MemoryDatabase.splitSequence")((name, settings) =>
    step(store, () => Sequences.split(store, name, settings))
  ),
  createTable: Effect.fn("MemoryDatabase.createTable")((ddl) =>
    step(store, () => {
      const schema: MemoryTable = JSON.parse(ddl)
      if (store.tables.has(display(schema.name))) {
        throw new ActionNeeded({
          side: store.side,
          table: schema.name,
          message: `Table ${display(schema.name)} is on ${label(store.side)} already.`
        })
      }
      store.tables.set(display(schema.name), emptyTable(schema))
    })
  ),
  mend: Effect.fn("MemoryDatabase.mend")((remedy) =>
    step(store, () => {
      if (remedy._tag === "MoveSequence") return Sequences.movePast(store, remedy.name, BigInt(remedy.past))
      const state = tableNamed(store, remedy.table)
      state.schema = { ...state.schema, indexed: [...state.schema.indexed ?? [], remedy.column] }
    })
  ),
  // A statement of the memory form's own language: columns and key as JSON, without constraints and triggers.
  describe: Effect.fn("MemoryDatabase.describe")((name) =>
    step(store, () => {
      const { columns, key } = tableNamed(store, name).schema
      return JSON.stringify({ name, columns, key } satisfies MemoryTable)
    })
  )
})

const hello = ({ clockOffsetUs, side }: Store): Hello => ({
  kind: "memory",
  host: "memory",
  database: side,
  role: "memory",
  version: "memory",
  versionNumber: 0,
  tls: false,
  latencyMs: 0,
  clockOffsetMs: Number(clockOffsetUs) / 1000,
  readOnly: false,
  mayCreateSchema: true,
  mayCreateTemporary: true
})

const holders = (store: Store, number: bigint): number => store.advisory.get(number) ?? 0

const forget = (store: Store, state: ReturnType<typeof emptyTable>): void => {
  Sequences.putBack(state)
  state.capture = null
  state.remembered = null
  state.pending = []
  state.history = []
  state.quarantine.clear()
  store.folded.delete(display(state.schema.name))
  store.held.delete(display(state.schema.name))
  store.pauses.delete(display(state.schema.name))
  store.proofs.delete(display(state.schema.name))
  const kept = store.conflicts.filter(({ table }) => display(table) !== display(state.schema.name))
  store.conflicts.splice(0, store.conflicts.length, ...kept)
}
