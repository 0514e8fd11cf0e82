/** Live mode and eco, in the built program. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Redacted, Schedule } from "effect"
import { settings, start } from "../support/Program.ts"
import { freshPair, query } from "../support/TestPostgres.ts"

const perfis = "create table perfis (id text primary key, nome text, updated_at timestamptz)"

/** Asks again and again: the schedule would come in five minutes only. */
const arrives = (url: Redacted.Redacted, id: string) =>
  query(url, "select from perfis where id = $1", [id]).pipe(
    Effect.repeat({ until: (rows) => rows.length === 1, schedule: Schedule.spaced("10 millis") }),
    Effect.timeout("20 seconds")
  )

const running = Effect.fnUntraced(function*(env: Readonly<Record<string, string>>) {
  const urls = yield* freshPair
  for (const url of [urls.replit, urls.external]) yield* query(url, perfis)
  const service = yield* start([], { env: { ...settings(urls), ...env } })
  const out = yield* service.says(/Replit → external/)
  return { ...urls, service, out }
})

describe("the built program", () => {
  it.scopedLive("with SYNC_LIVE=true carries what is committed on either side over long before its schedule", () =>
    Effect.gen(function*() {
      const { external, out, replit, service } = yield* running({ SYNC_LIVE: "true" })
      assert.match(out, /a pause of 5 min or until something changes\.\nExternal is not known to sleep/)
      yield* query(replit, "insert into perfis values ('a', 'A', now())")
      yield* arrives(external, "a")
      yield* query(external, "insert into perfis values ('b', 'B', now())")
      yield* arrives(replit, "b")
      yield* service.signal("SIGTERM")
      assert.strictEqual((yield* service.ended).code, 0)
    }))

  it.scopedLive("with SYNC_SCHEDULE=eco is woken by Replit, and has no connection to external afterwards", () =>
    Effect.gen(function*() {
      const { external, out, replit, service } = yield* running({ SYNC_SCHEDULE: "eco" })
      assert.match(out, /a cycle when something changes on Replit, and after pauses of 5 min to 1 h\./)
      yield* query(external, "insert into perfis values ('b', 'B', now())")
      yield* query(replit, "insert into perfis values ('a', 'A', now())")
      yield* arrives(external, "a")
      yield* arrives(replit, "b")
      yield* query(
        external,
        "select from pg_stat_activity where application_name = 'vaivem' and datname = current_database()"
      ).pipe(
        Effect.repeat({ until: (rows) => rows.length === 0, schedule: Schedule.spaced("10 millis") }),
        Effect.timeout("8 seconds")
      )
      yield* service.signal("SIGTERM")
      assert.strictEqual((yield* service.ended).code, 0)
    }))
})
