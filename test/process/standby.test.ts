/** Two copies of the built program, of which one is killed; and what people and other processes see of a secret. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Redacted, Schedule } from "effect"
import * as Fs from "node:fs/promises"
import { run, settings, start } from "../support/Program.ts"
import { freshPair, query } from "../support/TestPostgres.ts"

const perfis = "create table perfis (id text primary key, nome text, updated_at timestamptz default now())"

describe("the built program", () => {
  it.scopedLive("goes on within ten seconds when one of two copies is killed, and says which one is active", () =>
    Effect.gen(function*() {
      const urls = yield* freshPair
      for (const url of [urls.replit, urls.external]) yield* query(url, perfis)
      const env = { ...settings(urls), SYNC_INTERVAL: "3 seconds" }
      const first = yield* start([], { env })
      yield* first.says(/Replit → external/)
      const second = yield* start([], { env })
      yield* second.says(/Replit → external|another copy of vaivem/)
      const status = yield* run(["status", "--json"], { env })
      const { active } = JSON.parse(status.out)
      assert.match(active.holder, /^.+\/[0-9a-f]{4}$/)
      yield* first.signal("SIGKILL")
      const killedMs = yield* Clock.currentTimeMillis
      yield* query(urls.external, "insert into perfis values ('a', 'A')")
      yield* query(urls.replit, "select from perfis where id = 'a'").pipe(
        Effect.repeat({ until: (rows) => rows.length === 1, schedule: Schedule.spaced("50 millis") })
      )
      assert.isBelow((yield* Clock.currentTimeMillis) - killedMs, 10_000)
      const { out } = yield* run(["status"], { env })
      assert.match(out, /^Active: .+\/[0-9a-f]{4} since .+Z, not at work now \(epoch \d+\)\.$/m)
      yield* second.signal("SIGTERM")
      assert.strictEqual((yield* second.ended).code, 0)
    }))

  it.scopedLive(
    "shows no password in its arguments, its name, its output or its log, whatever fails",
    () =>
      Effect.gen(function*() {
        const urls = yield* freshPair
        const secret = "s3gr3do-muito-secreto"
        const wrong = (url: Redacted.Redacted) => Object.assign(new URL(Redacted.value(url)), { password: secret }).href
        const env = { ...settings(urls), DATABASE_URL: wrong(urls.replit), EXTERNAL_DB_URL: wrong(urls.external) }
        const service = yield* start([], { env: { ...env, SYNC_LOG_FORMAT: "json" } })
        if (process.platform === "linux") {
          for (const file of ["cmdline", "comm"]) {
            assert.notInclude(yield* Effect.promise(() => Fs.readFile(`/proc/${service.pid}/${file}`, "utf8")), secret)
          }
        }
        yield* service.says(/Failed/)
        yield* service.signal("SIGTERM")
        const ends = [yield* service.ended]
        for (const args of [["check"], ["status", "--json"]]) {
          ends.push(yield* run(args, { env }))
        }
        for (const { err, out } of ends) {
          assert.notInclude(out + err, secret)
        }
      })
  )
})
