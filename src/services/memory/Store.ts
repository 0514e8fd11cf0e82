/** Everything that one memory server keeps. Plain mutable state: a verb changes it within one uninterrupted step. */
import { Clock, Effect, Random, Utils } from "effect"
import type { Proof } from "../../domain/Proof.ts"
import { label, type Side } from "../../domain/Side.ts"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import {
  ActionNeeded,
  Contended,
  LeaseTaken,
  RowRefused,
  SchemaDrifted,
  type SyncError
} from "../../domain/SyncError.ts"
import { display, type TableName } from "../../domain/TableName.ts"
import { noTokens, type Tokens } from "../../domain/Tokens.ts"
import type { Abandonment, Conflict, Held, Identity, Pause, Refusal, Remembered, Run } from "../Database.ts"
import { type Gate, makeGate } from "./Gate.ts"
import type { MemoryTable, Row, RowId } from "./MemoryTable.ts"
import { shapeOf } from "./MemoryTable.ts"
import type { Noted } from "./Metering.ts"
import type { MemorySequence } from "./Sequences.ts"
import * as Timestamp from "./Timestamp.ts"
import type { Transaction } from "./Transaction.ts"

export interface Store {
  readonly side: Side
  /** By displayed name. */
  readonly tables: Map<string, TableState>
  /** The open ones: what they wrote is seen by nobody else, but it is in others' way. */
  readonly transactions: Set<Transaction>
  readonly conflicts: Array<Conflict>
  /** By displayed name of the table. */
  readonly held: Map<string, Held>
  /** By displayed name of the table; by nothing, all of them. */
  readonly pauses: Map<string, Pause>
  /** By displayed name of the table. */
  readonly proofs: Map<string, Proof>
  /** When the next turn of the rolling proof is due. */
  proveAfterUs: bigint
  readonly runs: Array<Run>
  /** Advisory locks: how many hold each number. */
  readonly advisory: Map<bigint, number>
  readonly gate: Gate
  /** What visits cost this month or, as long as nobody visits, in an earlier one. */
  readonly traffic: Map<Side, Noted>
  /** A random uuid. */
  readonly newId: () => string
  installed: boolean
  identity: Identity | null
  tokens: Tokens
  /** The service instance that holds the lease. */
  lease: object | null
  /** Counts takeovers of the lease, on both sides alike. */
  epoch: bigint
  /** Who took it over last, and when. */
  holder: { readonly name: string; readonly sinceUs: bigint } | null
  /** Who ended the last cycle, and when. */
  lastCycle: { readonly holder: string; readonly atUs: bigint } | null
  /** The sequence of change ids; like every sequence it doesn't roll back. */
  lastChangeId: bigint
  /** When the queues were read last, and when they count as abandoned. */
  reading: { atUs: bigint; abandonment: Abandonment }
  /** Claims that are open: somebody reads. */
  claims: number
  /** By displayed name, the tables whose queue was folded since it was read last. */
  readonly folded: Map<string, TableName>
  /** How far the server's clock is off. */
  clockOffsetUs: bigint
}

export interface TableState {
  schema: MemoryTable
  /** What is committed. */
  readonly rows: Map<RowId, Row>
  readonly locks: Map<RowId, RowLock>
  /** What `capture` was told; null without capture. */
  capture: {
    readonly table: SyncedTable
    readonly touch: boolean
    readonly announce: boolean
    readonly fingerprint: string
  } | null
  remembered: Remembered | null
  /** The queue, in the order of commits. */
  pending: Array<Entry>
  history: Array<HistoryEntry>
  readonly quarantine: Map<RowId, QuarantineEntry>
  /** By column; those that were not used yet are left out. */
  readonly sequences: Map<string, MemorySequence>
}

export interface RowLock {
  writer: Transaction | null
  /** The writer deletes the row or changes its key: not even a child may be added meanwhile. */
  strong: boolean
  /** Those that added a child. */
  readonly sharers: Set<Transaction>
}

/** A change that is not acknowledged. */
export interface Entry {
  readonly changeId: bigint
  readonly operation: "INSERT" | "UPDATE" | "DELETE" | "TRUNCATE" | "MARK"
  readonly id: RowId
  /** The old key, on the new key's entry of a key change. */
  readonly was: RowId | null
  readonly changedAtUs: bigint
  readonly bounces: number
}

export interface HistoryEntry {
  readonly id: RowId
  /** Side where the change was made. */
  readonly origin: Side
  /** Its change id there. */
  readonly changeId: bigint
  /** It was no change, but found different by a comparison. */
  readonly isMark: boolean
  readonly syncedAtUs: bigint
}

export interface QuarantineEntry extends Omit<Refusal, "key" | "blockedBy"> {
  readonly uuid: string
  readonly blockedBy: RowId | null
  readonly attempts: number
  readonly sinceUs: bigint
  /** The key's newest change when it was refused: a newer one makes it due. */
  readonly changeId: bigint
  nextAttemptUs: bigint
}

/** A store with these tables in it, and with nothing of ours. */
export const make = Effect.fn("Store.make")(function*(side: Side, tables: ReadonlyArray<MemoryTable>) {
  const random = new Utils.PCGRandom(yield* Random.nextInt)
  const store: Store = {
    side,
    tables: new Map(tables.map((schema) => [display(schema.name), emptyTable(schema)])),
    transactions: new Set(),
    conflicts: [],
    held: new Map(),
    pauses: new Map(),
    proofs: new Map(),
    proveAfterUs: 0n,
    runs: [],
    advisory: new Map(),
    gate: makeGate(),
    traffic: new Map(),
    newId: () => uuid(random),
    installed: false,
    identity: null,
    tokens: noTokens,
    lease: null,
    epoch: 0n,
    holder: null,
    lastCycle: null,
    lastChangeId: 0n,
    reading: { atUs: Timestamp.infinity, abandonment: { afterMs: null, queueMax: null } },
    claims: 0,
    folded: new Map(),
    clockOffsetUs: 0n
  }
  return store
})

export const emptyTable = (schema: MemoryTable): TableState => ({
  schema,
  rows: new Map(),
  locks: new Map(),
  capture: null,
  remembered: null,
  pending: [],
  history: [],
  quarantine: new Map(),
  sequences: new Map()
})

/** Runs one step on the store at its server's time; what the engine throws becomes a typed error. */
export const step = <A>(store: Store, run: (nowUs: bigint) => A): Effect.Effect<A, SyncError> =>
  Effect.clockWith((clock) => {
    try {
      return Effect.succeed(run(clock.unsafeCurrentTimeNanos() / 1000n + store.clockOffsetUs))
    } catch (thrown) {
      const error = toSyncError(store.side, thrown)
      return error === null ? Effect.die(thrown) : Effect.fail(error)
    }
  })

/** What the server's clock shows, in microseconds. */
export const now = (store: Store): Effect.Effect<bigint> =>
  Effect.map(Clock.currentTimeNanos, (nanos) => nanos / 1000n + store.clockOffsetUs)

/** The engine refuses a statement: thrown, as an error aborts a transaction. `step` and the app's handle catch it. */
export class Refused extends Error {
  readonly table: TableName
  readonly sqlState: string
  readonly constraint: string | null
  /** The row in the way, in its own table's key order. */
  readonly blockedBy: Key | null
  constructor(
    table: TableName,
    sqlState: string,
    message: string,
    options: { readonly constraint?: string; readonly blockedBy?: Key } = {}
  ) {
    super(message)
    this.table = table
    this.sqlState = sqlState
    this.constraint = options.constraint ?? null
    this.blockedBy = options.blockedBy ?? null
  }
}

/** Another open transaction is in the way. A memory server waits for no lock: its lock time-out is zero. */
export class Blocked extends Error {
  readonly table: TableName
  constructor(table: TableName) {
    super(`canceling statement due to lock timeout on ${display(table)}`)
    this.table = table
  }
}

/** The table's state; a table that is no longer there, or no longer has the columns, has drifted. */
export const tableOf = (store: Store, table: SyncedTable): TableState => {
  const state = tableNamed(store, table.name)
  const missing = table.columns.find((name) => !state.schema.columns.some((column) => column.name === name))
  if (missing !== undefined) throw drifted(store, table.name, "42703", `column "${missing}" does not exist`)
  return state
}

export const tableNamed = (store: Store, name: TableName): TableState => {
  const state = store.tables.get(display(name))
  if (state === undefined) throw drifted(store, name, "42P01", "relation does not exist")
  return state
}

/** Changes whenever the table does, or capture on it. */
export const fingerprintOf = ({ capture, schema }: TableState): string =>
  JSON.stringify([
    shapeOf(schema, ""),
    capture === null ? null : [capture.table.key, capture.table.stamp, capture.touch, capture.announce]
  ])

const drifted = (store: Store, table: TableName, sqlState: string, message: string) =>
  new SchemaDrifted({
    side: store.side,
    table,
    sqlState,
    message: `Table ${display(table)} on ${label(store.side)} is not what it was: ${message}.`
  })

const toSyncError = (side: Side, thrown: unknown): SyncError | null => {
  if (
    thrown instanceof SchemaDrifted || thrown instanceof ActionNeeded || thrown instanceof Contended
    || thrown instanceof LeaseTaken
  ) return thrown
  if (thrown instanceof Blocked) {
    const { message, table } = thrown
    return new Contended({ side, table, message, sqlState: "55P03", reason: "lock-timeout" })
  }
  if (thrown instanceof Refused) {
    const { blockedBy, constraint, message, sqlState, table } = thrown
    return new RowRefused({ side, table, sqlState, message, constraint, blockedBy })
  }
  return null
}

const uuid = (random: Utils.PCGRandom): string => {
  const hex = Array.from({ length: 32 }, () => random.integer(16).toString(16)).join("")
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-")
}
