/**
 * `npm run test:limits`: rows of 1 to 200 MB beside small ones, through the built program on two embedded servers. Each goes
 * through or is in quarantine with its reason, the small ones always go through, and the process lives. Prints what the
 * process needed of time and memory. Exits 1 when something is not as it must be.
 */
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Cause, Clock, Console, Data, Effect, Redacted } from "effect"
import * as Fs from "node:fs/promises"
import { start } from "../support/Program.ts"
import { query } from "../support/TestClient.ts"
import { freshServer } from "../support/TestServer.ts"

class LimitsError extends Data.TaggedError("LimitsError")<{ readonly message: string }> {}

const one = Effect.fn("one")(function*(megabytes: number, type: "bytea" | "text") {
  const servers = yield* Effect.all({ replit: freshServer(), external: freshServer() }, { concurrency: 2 })
  const urls = { replit: servers.replit.url(), external: servers.external.url() }
  for (const url of [urls.replit, urls.external]) {
    yield* query(url, `create table fotos (id integer primary key, dado ${type}, updated_at timestamptz)`)
  }
  const env = {
    DATABASE_URL: Redacted.value(urls.replit),
    EXTERNAL_DB_URL: Redacted.value(urls.external),
    SYNC_TABLES: "fotos",
    SYNC_VERIFY_BUDGET: "off",
    SYNC_LOG_FORMAT: "logfmt"
  }
  const cycle = Effect.gen(function*() {
    const startedMs = yield* Clock.currentTimeMillis
    const running = yield* start(["--once"], { env })
    let peak = 0
    yield* Effect.raceFirst(
      running.ended,
      Effect.promise(() => Fs.readFile(`/proc/${running.pid}/status`, "utf8").catch(() => "")).pipe(
        Effect.tap((text) =>
          Effect.sync(() => {
            peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(text)?.[1] ?? 0))
          })
        ),
        Effect.zipRight(Effect.sleep("50 millis")),
        Effect.forever
      )
    )
    const ended = yield* running.ended
    return { ...ended, peakMb: Math.round(peak / 1024), seconds: ((yield* Clock.currentTimeMillis) - startedMs) / 1000 }
  }).pipe(Effect.scoped)
  yield* cycle
  const filling = type === "bytea"
    ? `decode(repeat('ab', ${megabytes} * 1000000), 'hex')`
    : `repeat('ação ', ${megabytes} * 1000000 / 7)`
  yield* query(urls.replit, `insert into fotos select n, 'x', now() from generate_series(1, 20) n`)
  yield* query(urls.replit, `update fotos set dado = ${filling} where id = 10`)
  const moved = yield* cycle
  const [small] = yield* query<{ n: number }>(urls.external, "select count(*) as n from fotos where id <> 10")
  const [large] = yield* query<{ n: number }>(urls.external, "select count(*) as n from fotos where id = 10")
  const held = yield* query<{ message: string }>(
    urls.replit,
    "select sqlstate || ' ' || message as message from vaivem.quarantine"
  )
  yield* Console.log(
    `${megabytes} MB of ${type}: exit ${moved.code}, ${
      moved.seconds.toFixed(1)
    } s, at most ${moved.peakMb} MB of memory; ${
      large!.n === 1 ? "went through" : `in quarantine: ${held.map(({ message }) => message).join("; ") || "NO"}`
    }`
  )
  if (small!.n !== 19) {
    return yield* new LimitsError({ message: `${small!.n} of 19 small rows went through. ${moved.err}` })
  }
  if (large!.n + held.length !== 1) return yield* new LimitsError({ message: `The large row is nowhere. ${moved.err}` })
}, Effect.scoped)

Effect.gen(function*() {
  for (const megabytes of [1, 50, 200]) yield* one(megabytes, "bytea")
  for (const megabytes of [200]) yield* one(megabytes, "text")
}).pipe(
  Effect.provide(NodeContext.layer),
  Effect.catchAllCause((cause) => {
    process.exitCode = 1
    return Console.error(Cause.pretty(cause))
  }),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
