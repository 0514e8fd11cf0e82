/**
 * The conformance suite on the third form of Database. External's app sets the stamp with every update, as that mode asks for,
 * and whoever asks what is pending has it scanned before, as a cycle does.
 */
import { NodeContext } from "@effect/platform-node"
import { Duration, Effect, Either, Exit, Redacted, Scope } from "effect"
import { afterAll, beforeAll } from "vitest"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import type { Side } from "../../src/domain/Side.ts"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"
import { display } from "../../src/domain/TableName.ts"
import type { Database } from "../../src/services/Database.ts"
import type { App, AppStatements } from "../../src/services/memory/App.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import * as TimestampDatabase from "../../src/services/TimestampDatabase.ts"
import { ddl, type Member, suite } from "../conformance.ts"
import { setUp } from "../conformance/Pair.ts"
import * as PgApp from "../support/PgApp.ts"
import { copyOfDatabase, freshDatabaseOf, query } from "../support/TestPostgres.ts"

type Urls = Readonly<Record<Side, Redacted.Redacted>>

const target = (side: Side, urls: Urls) => Either.getOrThrow(parseUrl(side, Redacted.value(urls[side])))

const replit = (urls: Urls) =>
  Effect.gen(function*() {
    return {
      app: yield* PgApp.make(urls.replit),
      database: yield* PgDatabase.make(target("replit", urls)),
      second: yield* PgDatabase.make(target("replit", urls))
    } satisfies Member
  })

const external = (urls: Urls) =>
  Effect.gen(function*() {
    const database = Effect.gen(function*() {
      const targets = { external: target("external", urls), replit: target("replit", urls) }
      // Stamps of these tests are of any year.
      const options = { window: Duration.days(36_500), sweepEvery: Duration.zero }
      return scanning(yield* TimestampDatabase.make(targets, yield* PgDatabase.readMigrations, options))
    })
    return {
      app: stamping(yield* PgApp.make(urls.external)),
      database: yield* database,
      second: yield* database
    } satisfies Member
  })

/** Scans before anything that a cycle would do after a scan. */
const scanning = (database: Database): Database => {
  const tables = new Map<string, SyncedTable>()
  const scan = Effect.suspend(() => database.scan([...tables.values()], { sweep: "now" }))
  return {
    ...database,
    capture: (table, options) => {
      tables.set(display(table.name), table)
      return Effect.tap(database.capture(table, options), () => database.remember(table.name, remembered))
    },
    ask: (question) => Effect.zipRight(scan, database.ask(question)),
    claim: (table, request) => Effect.zipRight(scan, database.claim(table, request)),
    status: (names) => Effect.zipRight(scan, database.status(names)),
    quarantine: (table, refusals) => Effect.zipRight(scan, database.quarantine(table, refusals)),
    apply: (table, claim, options) => Effect.zipRight(scan, database.apply(table, claim, options))
  }
}

const remembered = { contract: "x", columns: { replit: [], external: [] } }

/** Every update has a stamp of its own. */
const stamping = (app: App): App => {
  const stamped = (statements: AppStatements): AppStatements => ({
    ...statements,
    update: (table, key, changes) =>
      statements.update(
        table,
        key,
        "updated_at" in changes || !["perfis", "itens", "visitas"].includes(table.name)
          ? changes
          : { ...changes, updated_at: "now" }
      )
  })
  return {
    ...app,
    ...stamped(app),
    begin: Effect.map(app.begin, (transaction) => ({ ...transaction, ...stamped(transaction) }))
  }
}

const both = (urls: Urls) =>
  Effect.all({ replit: replit(urls), external: external(urls) }).pipe(Effect.provide(NodeContext.layer))

const withTables = (side: Side) => Effect.tap(freshDatabaseOf(side), (url) => query(url, ddl[side]))

const bare = Effect.flatMap(Effect.all({ replit: withTables("replit"), external: withTables("external") }), both)

/** Setting up takes most of a test's time, so it is done once, and each test gets a copy. */
const templates = Effect.gen(function*() {
  const urls = { replit: yield* withTables("replit"), external: yield* withTables("external") }
  // The connections are closed with this scope: a database that somebody uses can't be copied.
  yield* Effect.scoped(setUp(both(urls)))
  return urls
})

let urls: Urls | undefined
const scope = Effect.runSync(Scope.make())
beforeAll(async () => {
  urls = await Effect.runPromise(Scope.extend(templates, scope))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

/** The ledger is about another database by then: the copy. */
const ready = Effect.gen(function*() {
  const copies = { replit: yield* copyOfDatabase(urls!.replit), external: yield* copyOfDatabase(urls!.external) }
  yield* query(copies.replit, "update vaivem.ledger set database = $1", [target("external", copies).database])
  return yield* both(copies)
})

const nothingIsMade = "nothing is created or changed in external but rows"
const noStamp = "the table has no stamp column, by which changes are found"
const noDeletes = "a row that Replit has a change of is not looked for in a sweep: its delete on external is not seen"

suite("TimestampDatabase", bare, ready, {
  "a table that one side describes can be created on the other": nothingIsMade,
  "a state that is known shortens the answer to what waits, and changes with capture, contract and tables":
    nothingIsMade,
  "external's higher epoch stays, and Replit's is raised beyond it": "the epoch is Replit's: external keeps none",
  "a pair's epoch is not written into another pair's database": "the epoch is Replit's: external keeps none",
  "a holder that lost the lease without knowing neither applies nor acknowledges nor renews anything":
    "the epoch is raised on Replit, and whoever takes over ends external's open transactions",
  "what the sync applies is not announced, what a cascade does then is": "nothing announces changes on external",
  "a split sequence goes on in its own steps, beyond what it gave before, and past rows of its own": nothingIsMade,
  "removing capture puts a split sequence back as it was, past all ids": nothingIsMade,
  "the user's BEFORE triggers don't alter what is applied":
    "no triggers of ours are there to put back what was applied",
  "a row that triggers rewrite on both sides bounces three times, is held and told": noStamp,
  "a mark is older than any change, also without a stamp column": noStamp,
  "the same content on both sides, and the same absence, is agreement": noDeletes,
  "a delete that loses is journaled as a delete": noDeletes,
  "seeds of another table come along, unless they are there or pending, and agree when they travel": noDeletes,
  "restoring a row that is gone inserts it, and restoring a delete deletes": noDeletes
})
