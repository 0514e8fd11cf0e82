import { NodeContext } from "@effect/platform-node"
import { Effect, Either, Redacted } from "effect"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import type { Side } from "../../src/domain/Side.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { ddl, type Member, suite } from "../conformance.ts"
import * as PgApp from "../support/PgApp.ts"
import { freshDatabaseOf, query } from "../support/TestPostgres.ts"

const member = (side: Side) =>
  Effect.gen(function*() {
    const url = yield* freshDatabaseOf(side)
    yield* query(url, ddl[side])
    const target = Either.getOrThrow(parseUrl(side, Redacted.value(url)))
    return {
      app: yield* PgApp.make(url),
      database: yield* PgDatabase.make(target),
      second: yield* PgDatabase.make(target)
    } satisfies Member
  })

suite(
  "PgDatabase",
  Effect.all({ replit: member("replit"), external: member("external") }).pipe(Effect.provide(NodeContext.layer))
)
