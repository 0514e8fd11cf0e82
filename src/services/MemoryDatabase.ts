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
import { backUp } from "./memory/Backup.ts"
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
  /** Sets how far the server's clock is off, milliseconds. */
  readonly setClockOffset: (ms: number) => Effect.Effect<void>
  /** Notes all that is committed; what comes of it restores that, as often as it is run. Sessions and transactions end. */
  readonly backUp: Effect.Effect<Effect.Effect<void>>
  /** Ends the session that holds the lease, as a cut connection does: the instance isn't told. */
  readonly loseLease: Effect.Effect<void>
  /** Changes a table as ALTER TABLE does: rows get the default, or null, in new columns and lose dropped ones. */
  readonly alter: (name: TableName, change: (table: MemoryTable) => MemoryTable) => Effect.Effect<void>
  /** The committed rows of a table in no order, at once: for tests that look after every step. */
  readonly peek: (name: TableName) => ReadonlyArray<Row>
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
    setClockOffset: (ms) =>
      Effect.sync(() => {
        store.clockOffsetUs = BigInt(Math.round(ms * 1000))
      }),
    backUp: Effect.sync(() => {
      const restore = backUp(store)
      return Effect.sync(restore)
    }),
    loseLease: Effect.sync(() => {
      store.lease = null
    }),
    alter: (name, change) => Effect.sync(() => alter(store, name, change)),
    peek: (name) => [...MemoryStore.tableNamed(store, name).rows.values()],
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
