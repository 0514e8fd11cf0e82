import { NodeContext } from "@effect/platform-node"
import { Effect, Either, Exit, Redacted, Scope } from "effect"
import { afterAll, beforeAll } from "vitest"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import type { Side } from "../../src/domain/Side.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { ddl, type Member, suite } from "../conformance.ts"
import { setUp } from "../conformance/Pair.ts"
import * as PgApp from "../support/PgApp.ts"
import { copyOfDatabase, freshDatabaseOf, query } from "../support/TestPostgres.ts"

const member = (side: Side, url: Redacted.Redacted) =>
  Effect.gen(function*() {
    const target = Either.getOrThrow(parseUrl(side, Redacted.value(url)))
    return {
      app: yield* PgApp.make(url),
      database: yield* PgDatabase.make(target),
      second: yield* PgDatabase.make(target)
    } satisfies Member
  })

const withTables = (side: Side) => Effect.tap(freshDatabaseOf(side), (url) => query(url, ddl[side]))

const bare = (side: Side) => Effect.flatMap(withTables(side), (url) => member(side, url))

const makePair = Effect.all({ replit: bare("replit"), external: bare("external") }).pipe(
  Effect.provide(NodeContext.layer)
)

/** Setting up takes most of a test's time, so it is done once, and each test gets a copy. */
const templates = Effect.gen(function*() {
  const urls = { replit: yield* withTables("replit"), external: yield* withTables("external") }
  const pair = Effect.all({ replit: member("replit", urls.replit), external: member("external", urls.external) })
  // The connections are closed with this scope: a database that somebody uses can't be copied.
  yield* Effect.scoped(setUp(pair.pipe(Effect.provide(NodeContext.layer))))
  return urls
})

let urls: Readonly<Record<Side, Redacted.Redacted>> | undefined
const scope = Effect.runSync(Scope.make())
beforeAll(async () => {
  urls = await Effect.runPromise(Scope.extend(templates, scope))
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const ready = (side: Side) =>
  Effect.flatMap(Effect.suspend(() => copyOfDatabase(urls![side])), (url) => member(side, url))

suite(
  "PgDatabase",
  makePair,
  Effect.all({ replit: ready("replit"), external: ready("external") }).pipe(Effect.provide(NodeContext.layer))
)
