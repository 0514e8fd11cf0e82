/** The memory form's queue: what a cycle asks, claims, applies and acknowledges. */
import { Chunk, Effect, Stream } from "effect"
import { label } from "../../domain/Side.ts"
import * as StagedRow from "../../domain/StagedRow.ts"
import type { Key, SyncedTable } from "../../domain/SyncedTable.ts"
import { Contended } from "../../domain/SyncError.ts"
import { display } from "../../domain/TableName.ts"
import { type Renewal, renewed } from "../../domain/Tokens.ts"
import type { Abandonment, Answer, Changelog, Claim, ClaimRequest, Question, Selected } from "../Database.ts"
import { apply, contestedBy } from "./apply.ts"
import { pausesOf } from "./Brake.ts"
import type { Connection } from "./Lease.ts"
import * as Lease from "./Lease.ts"
import type { RowId } from "./MemoryTable.ts"
import { compareKeys, idOfKey, keyOf } from "./MemoryTable.ts"
import { noteTraffic } from "./Metering.ts"
import type { PendingKey } from "./Queue.ts"
import {
  changedAt,
  dueIds,
  forgetUntil,
  isAbandoned,
  isMarked,
  newestChange,
  newestEntry,
  pendingKeys,
  pendingOf,
  settle,
  unblock
} from "./Queue.ts"
import type { Entry, Store, TableState } from "./Store.ts"
import { fingerprintOf, step, tableNamed, tableOf } from "./Store.ts"
import * as Timestamp from "./Timestamp.ts"

export const make = (connection: Connection): Changelog => {
  const { store } = connection
  return {
    scan: () => Effect.void,
    ask: Effect.fn("MemoryDatabase.ask")((question) => step(store, (nowUs) => answer(connection, question, nowUs))),
    ...Lease.make(connection),
    claim: Effect.fn("MemoryDatabase.claim")((table, request) => claim(connection, table, request)),
    apply: Effect.fn("MemoryDatabase.apply")(function*(table, claimed, options) {
      const chunks = Chunk.toReadonlyArray(yield* Stream.runCollect(claimed.stream))
      const staged = yield* StagedRow.decodeChunks(table, chunks)
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      const seeds = yield* Effect.forEach(options.seeds ?? [], ({ stream, table: other }) =>
        Effect.map(
          Effect.flatMap(
            Stream.runCollect(stream),
            (read) => StagedRow.decodeChunks(other, Chunk.toReadonlyArray(read))
          ),
          (rows) => ({ table: other, state: tableOf(store, other), rows })
        ))
      yield* options.turn ?? Effect.void
      const contested = yield* step(store, () => contestedBy(tableOf(store, table), table, staged))
      const known = contested.size === 0 ? contested : yield* claimed.known(contested)
      return yield* Lease.step(connection, (nowUs) => ({
        bytes,
        ...apply({ store, state: tableOf(store, table), table, staged, seeds, known, options, nowUs })
      }))
    }),
    finish: Effect.fn("MemoryDatabase.finish")((run, renewal, { whole } = { whole: true }) =>
      Lease.step(connection, (nowUs) => {
        if (whole) store.lastCycle = { holder: connection.holder, atUs: nowUs }
        if (run !== null) store.runs.push(run)
        return { renewed: renew(store, renewal, nowUs) }
      })
    ),
    takeAsItIs: Effect.fn("MemoryDatabase.takeAsItIs")((forgottenUntilMs, renewal) =>
      Lease.step(connection, (nowUs) => {
        renew(store, renewal, nowUs)
        store.proofs.clear()
        store.held.clear()
        for (const state of store.tables.values()) state.remembered = null
        if (forgottenUntilMs !== null) forgetUntil(store, BigInt(forgottenUntilMs) * 1000n, nowUs)
      })
    ),
    neglect: step(store, (nowUs) =>
      store.installed && store.identity !== null
        ? {
          since: Timestamp.toIso(store.reading.atUs > nowUs ? nowUs : store.reading.atUs),
          abandoned: isAbandoned(store, nowUs),
          folded: [...store.folded.values()]
        }
        : null),
    purge: Effect.fn("MemoryDatabase.purge")((names, { conflictsMs, historyMs }, renewal) =>
      Lease.step(connection, (nowUs) => {
        const renewed = renew(store, renewal, nowUs)
        const oldest = Timestamp.toIso(nowUs - BigInt(conflictsMs) * 1000n)
        const young = store.conflicts.filter(({ decidedAt }) => decidedAt >= oldest)
        store.conflicts.splice(0, store.conflicts.length, ...young)
        const purged = names.reduce((sum, name) => {
          const state = tableNamed(store, name)
          const before = state.history.length
          state.history = state.history.filter(({ syncedAtUs }) => syncedAtUs >= nowUs - BigInt(historyMs) * 1000n)
          return sum + before - state.history.length
        }, 0)
        return { purged, renewed }
      })
    )
  }
}

const renew = (store: Store, renewal: Renewal | undefined, nowUs: bigint): boolean => {
  const tokens = renewal === undefined ? null : renewed(store.tokens, renewal, Number(nowUs / 1000n))
  if (tokens !== null) store.tokens = tokens
  return tokens !== null
}

const answer = (
  connection: Connection,
  { countTo = 0, known, note, reads, renewal, schemas, tables }: Question,
  nowUs: bigint
): Answer => {
  const { store } = connection
  const answers = tables.map((name): Answer["tables"][number] => {
    const state = store.tables.get(display(name))
    if (state === undefined) {
      const absent = {
        fingerprint: null,
        captured: null,
        contract: null,
        pending: false,
        waiting: 0,
        held: false,
        emptied: false
      }
      return { name, ...absent, quarantined: 0, due: 0 }
    }
    return {
      name,
      fingerprint: fingerprintOf(state),
      captured: state.capture?.fingerprint ?? null,
      contract: state.remembered?.contract ?? null,
      pending: state.pending.some(({ id }) => !state.quarantine.has(id)),
      waiting: Math.min(state.pending.length, countTo),
      held: (store.held.get(display(name))?.since ?? null) !== null,
      emptied: false,
      quarantined: state.quarantine.size,
      due: dueIds(state, nowUs).length
    }
  })
  renew(store, renewal, nowUs)
  const folded = reads === undefined ? null : readQueues(store, reads, nowUs)
  if (note !== undefined) connection.holder = note.holder
  if (note?.spent !== undefined && store.installed) noteTraffic(store, note.spent, nowUs)
  const last = store.lastCycle
  const leased = store.lease !== null && store.lease !== connection
  const notDue = note !== undefined && last !== null && last.holder !== note.holder
    && nowUs - last.atUs < BigInt(note.notBeforeMs) * 1000n
  const idle = store.installed && answers.every(({ due, pending }) => !pending && due === 0)
  if (note?.otherSideIdle === true && idle && !notDue) store.lastCycle = { holder: note.holder, atUs: nowUs }
  const state = stateOf(store, answers, schemas ?? [])
  const told = state === known ? answers.filter(({ pending, quarantined }) => pending || quarantined > 0) : answers
  const { identity, installed, tokens } = store
  const finishedAgoMs = last === null ? null : Number((nowUs - last.atUs) / 1000n)
  const pauses = pausesOf(store).map(({ table }) => table).filter((table) =>
    table === null || tables.some((asked) => display(asked) === display(table))
  )
  return { installed, identity, tokens, leased, notDue, finishedAgoMs, pauses, folded, state, tables: told }
}

const readQueues = (store: Store, abandonment: Abandonment, nowUs: bigint): Answer["folded"] => {
  const told = store.folded.size === 0
    ? null
    : { since: Timestamp.toIso(store.reading.atUs), folded: [...store.folded.values()] }
  store.reading = { atUs: nowUs, abandonment }
  store.folded.clear()
  return told
}

const stateOf = (store: Store, answers: Answer["tables"], schemas: ReadonlyArray<string>): string =>
  JSON.stringify([
    answers.map(({ captured, contract, fingerprint, name }) => [display(name), fingerprint, captured, contract]),
    [...store.tables.values()]
      .filter(({ schema }) => schemas.includes(schema.name.schema))
      .map(({ schema: { key, name } }) => [display(name), key.length > 0])
  ])

/** What a claim read: its rows, and the entries of each, by the row's number. */
interface Read {
  readonly rows: ReadonlyArray<StagedRow.StagedRow>
  readonly entries: ReadonlyArray<ReadonlyArray<Entry>>
  readonly last: Key
  readonly whole: boolean
}

const claim = Effect.fnUntraced(function*(connection: Connection, table: SyncedTable, request: ClaimRequest) {
  const { store } = connection
  const read = yield* step(store, (nowUs) => readClaim(store, tableOf(store, table), table, request, nowUs))
  if (read === null) return null
  // Open until it is acknowledged or given up; a statement in a transaction that has ended is a bug of the caller.
  let open = true
  let consumed = false
  store.claims++
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      open = false
      store.claims--
    })
  )
  const lines = read.rows.map((row) => StagedRow.encode(row, table.key.length)).join("")
  return {
    rows: read.rows.length,
    moves: read.rows.filter(({ was }) => was !== null).length,
    last: read.last,
    after: read.last,
    more: request._tag === "Next" && read.rows.length === request.rows,
    whole: read.whole,
    stream: Stream.suspend(() => {
      if (consumed || !open) return Stream.dieMessage("The claim's rows can be read once, while the claim is open.")
      consumed = true
      return Stream.fromChunk(chunksOf(new TextEncoder().encode(lines)))
    }),
    known: Effect.fn("MemoryDatabase.known")((newest) =>
      step(store, () => {
        const { history } = tableOf(store, table)
        return new Map([...newest].filter(([number, changeId]) => {
          const id = read.entries[number - 1]![0]!.id
          // A mark says nothing of changes before it: one with a lower number may be committed later.
          return history.some((entry) =>
            entry.id === id && entry.changeId === changeId && entry.origin !== store.side && !entry.isMark
          )
        }))
      })
    ),
    acknowledge: Effect.fn("MemoryDatabase.acknowledge")((kept) =>
      Lease.step(connection, (nowUs) => {
        if (!open) throw new Error("The claim was acknowledged or given up before.")
        open = false
        acknowledgeRead(store, table, read, new Set(kept), nowUs)
      })
    )
  } satisfies Claim
})

const readClaim = (
  store: Store,
  state: TableState,
  table: SyncedTable,
  request: ClaimRequest,
  nowUs: bigint
): Read | null => {
  const all = pendingKeys(state, table.key)
  const keys = all.filter(({ id }) => state.rows.has(id) === (request.phase === "upserts"))
  const claimed: Array<PendingKey> = []
  if (request._tag === "Keys") {
    const wanted = new Set(request.keys.map((key) => idOfKey(state.schema, table.key, key)))
    claimed.push(...keys.filter(({ id }) => wanted.has(id)))
  } else {
    const compare = compareKeys(state.schema, table.key)
    for (const pending of keys) {
      if (claimed.length === request.rows) break
      if (request.after !== null && compare(pending.key, request.after) <= 0) continue
      if (state.quarantine.has(pending.id) || !isSelected(state, pending, request.only)) continue
      if ((newestEntry(pending.entries)?.bounces ?? 0) >= bouncesMax) hold(store, state, pending, nowUs)
      else claimed.push(pending)
    }
  }
  if (claimed.length === 0) return null
  return {
    rows: claimed.map((pending, index) => toStaged(state, table, pending, index + 1)),
    entries: claimed.map(({ entries }) => entries),
    last: claimed.at(-1)!.key,
    whole: request._tag === "Next" && request.only === undefined && isWhole(state, table, request, all, claimed)
  }
}

const isWhole = (
  { quarantine, schema }: TableState,
  { key }: SyncedTable,
  { after, rows }: Extract<ClaimRequest, { readonly _tag: "Next" }>,
  all: ReadonlyArray<PendingKey>,
  claimed: ReadonlyArray<PendingKey>
): boolean => {
  const compare = compareKeys(schema, key)
  const last = claimed.length === rows ? claimed.at(-1)!.key : null
  return all.every((pending) =>
    claimed.includes(pending) || quarantine.has(pending.id)
    || (after !== null && compare(pending.key, after) <= 0) || (last !== null && compare(pending.key, last) > 0)
  )
}

const isSelected = (state: TableState, { entries, id }: PendingKey, only: Selected | undefined): boolean => {
  const newest = newestChange(entries)
  return newest > (only?.after ?? -1n) && (only?.upTo === undefined || newest <= only.upTo)
    && !(only?.changed === true && entries.every(({ operation }) => operation === "MARK"))
    && (only?.vanished === undefined || only.vanished !== isOldKey(state, id))
}

/** Of a row that is there under another key. */
const isOldKey = (state: TableState, id: RowId): boolean =>
  state.pending.some((entry) => entry.was === id && state.rows.has(entry.id))

export const toStaged = (
  state: TableState,
  table: SyncedTable,
  { entries, id, key }: PendingKey,
  number: number
): StagedRow.StagedRow => {
  const row = state.rows.get(id) ?? null
  return {
    number,
    changeId: newestChange(entries),
    present: row !== null,
    changedUs: isMarked(entries) ? null : changedAt(entries),
    bounces: newestEntry(entries)?.bounces ?? 0,
    was: linkedKey(state, table, entries),
    values: table.columns.map((name) => row === null ? key[table.key.indexOf(name)] ?? null : row[name] ?? null)
  }
}

/** The old key of the newest key change, where its row is gone from here and that is pending too. */
const linkedKey = (state: TableState, table: SyncedTable, entries: ReadonlyArray<Entry>): Key | null => {
  const was = newestEntry(entries.filter((entry) => entry.was !== null))?.was ?? null
  if (was === null || state.rows.has(was) || pendingOf(state, was).length === 0) return null
  return keyOf(state.schema, table.key, was)
}

/** A key that goes to and fro without the app's doing is told and not sent, until the app changes it (promise 3). */
const hold = (store: Store, state: TableState, { entries, id }: PendingKey, nowUs: bigint): void => {
  state.quarantine.set(id, {
    uuid: store.newId(),
    sqlState: null,
    message:
      `bounces: triggers rewrote this row on its way ${bouncesMax} times without a write of the app. It is held on `
      + `${label(store.side)} until the app changes it; look at the AFTER triggers that \`check\` lists.`,
    constraint: null,
    blockedBy: null,
    attempts: 0,
    sinceUs: nowUs,
    changeId: newestChange(entries),
    nextAttemptUs: Timestamp.infinity
  })
}

const acknowledgeRead = (
  store: Store,
  table: SyncedTable,
  read: Read,
  kept: ReadonlySet<number>,
  nowUs: bigint
): void => {
  const state = tableOf(store, table)
  const settled = read.entries.filter((_, index) => !kept.has(index + 1))
  const pending = new Set(state.pending)
  if (!settled.flat().every((entry) => pending.has(entry))) {
    throw new Contended({
      side: store.side,
      table: table.name,
      message: `Changes of ${display(table.name)} on ${
        label(store.side)
      } were settled by another transaction meanwhile.`,
      sqlState: "40001",
      reason: "serialization"
    })
  }
  acknowledge(store, table, settled.flat(), nowUs)
}

/** Entries that are in the queue go to history. */
export const acknowledge = (
  store: Store,
  table: SyncedTable,
  settled: ReadonlyArray<Entry>,
  nowUs: bigint
): void => {
  const state = tableOf(store, table)
  settle(store, state, settled, nowUs)
  for (const { id } of settled) unblock(state, id, nowUs)
}

/** Short, so that readers meet lines that are cut anywhere. */
const chunksOf = (bytes: Uint8Array): Chunk.Chunk<Uint8Array> =>
  Chunk.unsafeFromArray(Array.from(
    { length: Math.ceil(bytes.length / chunkBytes) },
    (_, index) => bytes.subarray(index * chunkBytes, (index + 1) * chunkBytes)
  ))

const chunkBytes = 1000
export const bouncesMax = 3
