/**
 * Mistakes that the programs could make, made from outside by what comes between them and a database. The simulation is
 * worth as much as it finds of these.
 */
import { Effect, Stream } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { decodeChunks } from "../../src/domain/StagedRow.ts"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"
import type { SyncError } from "../../src/domain/SyncError.ts"
import type { Applied, ApplyOptions, Claim, Contested, Database } from "../../src/services/Database.ts"
import type { MemoryServer } from "../../src/services/MemoryDatabase.ts"

/** Spoils the programs of one history. All ways to both servers pass through what it makes. */
export type Mutation = (servers: Readonly<Record<Side, MemoryServer>>) => (database: Database) => Database

const acknowledged = new WeakSet<Claim>()

/** By what is done wrong. */
export const mutations: Readonly<Record<string, Mutation>> = {
  "acknowledges before the target commits": () => (database) => ({
    ...database,
    apply: (table, claim, options) =>
      Effect.gen(function*() {
        const { again } = yield* read(table, claim)
        yield* claim.acknowledge([])
        acknowledged.add(claim)
        return yield* database.apply(table, again, options)
      }),
    claim: mapClaim(database, (claim) => {
      const spoilt: Claim = {
        ...claim,
        acknowledge: (kept) => Effect.suspend(() => acknowledged.has(spoilt) ? Effect.void : claim.acknowledge(kept))
      }
      return Effect.succeed(spoilt)
    })
  }),

  "takes an applied row for a change of the target's app": (servers) => (database) => ({
    ...database,
    apply: (table, claim, options) =>
      Effect.gen(function*() {
        const { again, rows } = yield* read(table, claim)
        const applied = yield* database.apply(table, again, options)
        for (const { values } of rows) {
          const key = table.key.map((column) => values[table.columns.indexOf(column)]!)
          yield* Effect.ignore(servers[database.side].app.update(table.name, key, {}))
        }
        return applied
      })
  }),

  "compares stamps as milliseconds": () => (database) => ({
    ...database,
    apply: judging(database, ({ judge }) => (contested) => {
      const coarse = ({ present, stampUs }: Contested["source"]) => ({
        present,
        stampUs: stampUs === null ? null : stampUs / 1000n
      })
      return judge({ ...contested, source: coarse(contested.source), target: coarse(contested.target) })
    })
  }),

  "gives a tie to external on one side": () => (database) => ({
    ...database,
    apply: judging(database, ({ judge }, { policy }) => (contested) => {
      const verdict = judge(contested)
      const isTie = policy === "last-write-wins" && contested.source.stampUs === contested.target.stampUs
      return database.side === "external" && verdict === "overwrite" && isTie ? "keep" : verdict
    })
  }),

  "journals no loser": () => (database) => ({
    ...database,
    apply: judging(database, ({ judge }) => (contested) => {
      const verdict = judge(contested)
      return verdict === "overwrite" ? "supersede" : verdict
    })
  }),

  "acknowledges all changes up to the newest that was read": (servers) => (database) => ({
    ...database,
    claim: mapClaim(database, (claim, table) => {
      return Effect.map(read(table, claim), ({ again, rows }) => {
        const newest = rows.reduce((most, { changeId }) => (changeId > most ? changeId : most), 0n)
        return {
          ...again,
          acknowledge: (kept) =>
            Effect.zipRight(claim.acknowledge(kept), giveUpAll(servers[database.side], database, table, newest))
        }
      })
    })
  }),

  "purges what is not synced": (servers) => {
    const tables = new Map<string, SyncedTable>()
    return (database) => ({
      ...database,
      claim: mapClaim(database, (claim, table) => {
        tables.set(table.name.name, table)
        return Effect.succeed(claim)
      }),
      purge: (names, olderThanMs, renewal) =>
        Effect.zipRight(
          Effect.forEach(
            names.flatMap(({ name }) => tables.get(name) ?? []),
            (table) => giveUpAll(servers[database.side], database, table, 2n ** 62n)
          ),
          database.purge(names, olderThanMs, renewal)
        )
    })
  },

  "forgets the old key of a changed one": () => (database) => ({
    ...database,
    claim: mapClaim(database, (claim, table) => {
      return Effect.map(read(table, claim), ({ again, rows }) => {
        const old = rows.flatMap(({ was }) => (was === null ? [] : [was]))
        return {
          ...again,
          acknowledge: (kept) =>
            Effect.zipRight(claim.acknowledge(kept), database.giveUp(table, old, { upTo: 2n ** 62n, journal: false }))
        }
      })
    })
  }),

  "takes a lost answer for a commit": () => (database) => ({
    ...database,
    apply: (table, claim, options) =>
      Effect.catchTag(database.apply(table, claim, options), "Unavailable", () => Effect.succeed(nothingKept))
  }),

  "overlooks that a table is paused": () => (database) => ({
    ...database,
    ask: (question) => Effect.map(database.ask(question), (answer) => ({ ...answer, pauses: [] }))
  }),

  "edits without a trace": (servers) => (database) => ({
    ...database,
    edit: (table, id, changes) =>
      Effect.gen(function*() {
        const conflict = yield* database.conflict(id)
        yield* Effect.ignore(servers[database.side].app.update(table.name, conflict?.key ?? [], changes))
        yield* database.keep(id)
      })
  }),

  "acknowledges what the target keeps": () => (database) => ({
    ...database,
    apply: (table, claim, options) =>
      Effect.map(database.apply(table, claim, options), (applied) => ({ ...applied, kept: [] }))
  })
}

const nothingKept: Applied = { inserted: 0, updated: 0, deleted: 0, conflicts: 0, bytes: 0, kept: [], locked: 0 }

const mapClaim = (
  database: Database,
  change: (claim: Claim, table: SyncedTable) => Effect.Effect<Claim, SyncError>
): Database["claim"] =>
(table, request) =>
  Effect.flatMap(
    database.claim(table, request),
    (claim) => claim === null ? Effect.succeed(null) : change(claim, table)
  )

const judging = (
  database: Database,
  spoil: (options: ApplyOptions, table: SyncedTable) => ApplyOptions["judge"]
): Database["apply"] =>
(table, claim, options) => database.apply(table, claim, { ...options, judge: spoil(options, table) })

/** Reads a claim's rows, and makes a claim of which they can be read. */
const read = (table: SyncedTable, claim: Claim) =>
  Effect.gen(function*() {
    const chunks = yield* Stream.runCollect(claim.stream)
    const again: Claim = { ...claim, stream: Stream.fromChunk(chunks) }
    return { again, rows: yield* decodeChunks(table, chunks) }
  })

const giveUpAll = (server: MemoryServer, database: Database, table: SyncedTable, upTo: bigint) =>
  Effect.flatMap(
    server.pending(table.name),
    (pending) => database.giveUp(table, pending.map(({ key }) => key), { upTo, journal: false })
  )
