/**
 * `Database` in memory: the reference that `PgDatabase` must agree with, for tests, the simulation and everything else
 * that has no server at hand. Rows are texts, as PostgreSQL prints them; constraints and triggers are functions.
 *
 * Every verb is one step that nothing interrupts. It waits for no lock: where PostgreSQL would wait until its lock
 * time-out, a memory server says at once that the time is over. Time and chance come from Clock and Random alone.
 */
import { Effect } from "effect"
import type { Side } from "../domain/Side.ts"
import type { TableName } from "../domain/TableName.ts"
import { display } from "../domain/TableName.ts"
import type { Database } from "./Database.ts"
import type { App } from "./memory/App.ts"
import * as MemoryApp from "./memory/App.ts"
import * as Brake from "./memory/Brake.ts"
import * as Catalog from "./memory/Catalog.ts"
import * as Changelog from "./memory/Changelog.ts"
import * as Comparison from "./memory/Comparison.ts"
import * as Few from "./memory/Few.ts"
import * as Journal from "./memory/Journal.ts"
import * as Lease from "./memory/Lease.ts"
import * as Listening from "./memory/Listening.ts"
import type { MemoryTable, Row } from "./memory/MemoryTable.ts"
import { idOf } from "./memory/MemoryTable.ts"
import * as Metering from "./memory/Metering.ts"
import * as Proving from "./memory/Proving.ts"
import type { PendingKey } from "./memory/Queue.ts"
import { pendingKeys } from "./memory/Queue.ts"
import type { Store } from "./memory/Store.ts"
import * as MemoryStore from "./memory/Store.ts"
import * as Survey from "./memory/Survey.ts"

/** A server in memory, with one database. */
export interface MemoryServer {
  /** One service instance's way to it. */
  readonly database: Database
  /** Another instance's. */
  readonly connect: () => Database
  readonly app: App
  /** Ends the session of whoever has the lease, as a server does that hears nothing of it: the holder doesn't know. */
  readonly dropLease: Effect.Effect<void>
  /** Sets how far the server's clock is off, milliseconds. */
  readonly setClockOffset: (ms: number) => Effect.Effect<void>
  /** Changes a table as ALTER TABLE does: rows get the default, or null, in new columns and lose dropped ones. */
  readonly alter: (name: TableName, change: (table: MemoryTable) => MemoryTable) => Effect.Effect<void>
  /** The pending keys of a table in its own key order, for tests that look behind the verbs. */
  readonly pending: (name: TableName) => Effect.Effect<ReadonlyArray<PendingKey>>
}

/** Starts a server that has these tables, empty, and nothing of ours. */
export const make = Effect.fn("MemoryDatabase.make")(function*(
  side: Side,
  options: { readonly tables: ReadonlyArray<MemoryTable> }
) {
  const store = yield* MemoryStore.make(side, options.tables)
  const server: MemoryServer = {
    database: connect(store),
    connect: () => connect(store),
    app: MemoryApp.make(store),
    dropLease: Effect.sync(() => {
      store.lease = null
    }),
    setClockOffset: (ms) =>
      Effect.sync(() => {
        store.clockOffsetUs = BigInt(Math.round(ms * 1000))
      }),
    alter: (name, change) => Effect.sync(() => alter(store, name, change)),
    pending: (name) =>
      Effect.sync(() => {
        const state = MemoryStore.tableNamed(store, name)
        return pendingKeys(state, state.schema.key)
      })
  }
  return server
})

const connect = (store: Store): Database => {
  const connection = Lease.connect(store)
  return Lease.fenced(connection, {
    side: store.side,
    ...Catalog.make(store, connection),
    ...Changelog.make(connection),
    ...Few.make(connection),
    ...Comparison.make(store),
    ...Proving.make(store),
    ...Survey.make(store),
    ...Journal.make(store),
    ...Brake.make(store),
    ...Listening.make(store),
    ...Metering.make(store)
  })
}

const alter = (store: Store, name: TableName, change: (table: MemoryTable) => MemoryTable): void => {
  const state = MemoryStore.tableNamed(store, name)
  state.schema = change(state.schema)
  const rows = [...state.rows.values()]
  state.rows.clear()
  for (const row of rows) {
    const altered: Row = Object.fromEntries(
      state.schema.columns.map((
        { default: text, name: column }
      ) => [column, row[column] === undefined ? text ?? null : row[column]])
    )
    state.rows.set(idOf(state.schema, altered), altered)
  }
  store.tables.set(display(name), state)
}
