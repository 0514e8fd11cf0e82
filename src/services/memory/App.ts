/** Writes to a memory database as the app does: captured, in transactions that may stay open for a while. */
import { Data, Effect } from "effect"
import type { Key } from "../../domain/SyncedTable.ts"
import type { TableName } from "../../domain/TableName.ts"
import type { Row } from "./MemoryTable.ts"
import { compareKeys, idOfKey } from "./MemoryTable.ts"
import type { Store } from "./Store.ts"
import { Blocked, now, Refused, tableNamed } from "./Store.ts"
import { transact, Transaction } from "./Transaction.ts"

/** Single statements, each its own transaction, and longer transactions. Keys are in the table's own key order. */
export interface App extends AppStatements {
  /** The whole table, in key order. */
  readonly rows: (table: TableName) => Effect.Effect<ReadonlyArray<Row>>
  /** Begins a transaction: its change ids are taken when it writes, and seen by others when it commits. */
  readonly begin: Effect.Effect<AppTransaction>
}

export interface AppStatements {
  readonly insert: (table: TableName, row: Row) => Effect.Effect<void, AppRefused>
  /** A row that isn't there is no error: nothing is updated, or removed. */
  readonly update: (table: TableName, key: Key, changes: Row) => Effect.Effect<void, AppRefused>
  readonly remove: (table: TableName, key: Key) => Effect.Effect<void, AppRefused>
  readonly changeKey: (table: TableName, from: Key, to: Key) => Effect.Effect<void, AppRefused>
  readonly truncate: (table: TableName) => Effect.Effect<void, AppRefused>
}

export interface AppTransaction extends AppStatements {
  readonly commit: Effect.Effect<void>
  readonly rollback: Effect.Effect<void>
}

/** What the server says to the app. Its transaction is rolled back. */
export class AppRefused extends Data.TaggedError("AppRefused")<{
  /** `55P03` when another open transaction is in the way. */
  readonly sqlState: string
  readonly message: string
}> {}

export const make = (store: Store): App => ({
  ...statements(store, (nowUs, run) => transact(store, nowUs, run)),
  rows: (table) =>
    Effect.sync(() => {
      const { rows, schema } = tableNamed(store, table)
      const inOrder = compareKeys(schema, schema.key)
      const keyOfRow = (row: Row): Key => schema.key.map((name) => row[name]!)
      return [...rows.values()].sort((a, b) => inOrder(keyOfRow(a), keyOfRow(b)))
    }),
  begin: Effect.map(now(store), (startedUs) => {
    const transaction = new Transaction(store, startedUs)
    return {
      ...statements(store, (nowUs, run) => {
        transaction.nowUs = nowUs
        try {
          transaction.statement(() => run(transaction))
        } catch (thrown) {
          transaction.rollback()
          throw thrown
        }
      }),
      commit: Effect.sync(() => transaction.commit()),
      rollback: Effect.sync(() => transaction.rollback())
    }
  })
})

const statements = (
  store: Store,
  execute: (nowUs: bigint, run: (transaction: Transaction) => void) => void
): AppStatements => {
  const on = (name: TableName, run: (transaction: Transaction, table: ReturnType<typeof tableNamed>) => void) =>
    Effect.flatMap(now(store), (nowUs) =>
      Effect.try({
        try: () => execute(nowUs, (transaction) => run(transaction, tableNamed(store, name))),
        catch: (thrown) => thrown
      }).pipe(
        Effect.catchAll((thrown) => {
          if (thrown instanceof Refused) {
            return new AppRefused({ sqlState: thrown.sqlState, message: thrown.message })
          }
          if (thrown instanceof Blocked) return new AppRefused({ sqlState: "55P03", message: thrown.message })
          return Effect.die(thrown)
        })
      ))
  return {
    insert: (name, row) => on(name, (transaction, table) => transaction.insert(table, row)),
    update: (name, key, changes) =>
      on(
        name,
        (transaction, table) => transaction.update(table, idOfKey(table.schema, table.schema.key, key), changes)
      ),
    remove: (name, key) =>
      on(name, (transaction, table) => transaction.remove(table, idOfKey(table.schema, table.schema.key, key))),
    changeKey: (name, from, to) =>
      on(name, (transaction, table) => {
        const { key } = table.schema
        const changes = Object.fromEntries(key.map((column, index) => [column, to[index] ?? null]))
        transaction.update(table, idOfKey(table.schema, key, from), changes)
      }),
    truncate: (name) => on(name, (transaction, table) => transaction.truncate(table))
  }
}
