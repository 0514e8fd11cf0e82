import { NodeContext } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import { assertConverged, assertEqual, perfis, PgPair, type Synced, synced, targetOf } from "../support/PgPair.ts"
import * as Proxy from "../support/Proxy.ts"
import type { TestSqlError } from "../support/TestClient.ts"

/** The same pair for a service that is far away from both databases. */
const farAway = Effect.fnUntraced(function*(sync: Synced, options: Proxy.ProxyOptions) {
  const urls = yield* PgPair
  const proxies = {
    replit: yield* Proxy.make(urls.replit, options),
    external: yield* Proxy.make(urls.external, options)
  }
  const [replit, external] = yield* Effect.all(
    sides.map((side) => PgDatabase.make(targetOf(side, proxies[side].url)))
  ).pipe(Effect.provide(NodeContext.layer))
  const cycle = yield* makeCycle
  const run = sync.run(
    cycle({ retryFor: "15 seconds", lease: "wait", notBefore: 0 }).pipe(
      Effect.provideService(ReplitDb, replit!),
      Effect.provideService(ExternalDb, external!)
    )
  )
  return { cycle: run, proxies, databases: { replit: replit!, external: external! } }
})

type FarAway = Effect.Effect.Success<ReturnType<typeof farAway>>

/** Round trips of one cycle to each database, and how many of them came one after the other. */
const trips = Effect.fnUntraced(function*({ cycle, proxies }: FarAway) {
  const seen = yield* Effect.all({ replit: proxies.replit.roundTrips, external: proxies.external.roundTrips })
  const report = yield* cycle
  const of = Effect.all(
    sides.map((side) => Effect.map(proxies[side].roundTrips, (all) => all.slice(seen[side].length)))
  )
  const [replit, external] = yield* of
  return { report, counts: [replit!.length, external!.length, steps([...replit!, ...external!])] as const }
})

/** What is sent within half a round trip is sent at the same time: an answer takes a whole one. */
const steps = (all: ReadonlyArray<Proxy.RoundTrip>): number => {
  let [count, lastMs] = [0, -Infinity]
  for (const { sentMs } of all.toSorted((a, b) => a.sentMs - b.sentMs)) {
    if (sentMs - lastMs > latencyMs * 1.5) count++
    lastMs = sentMs
  }
  return count
}

const latencyMs = 40
const insert = (from: number, to: number) =>
  `insert into perfis (id, nome) select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'n' || n
   from generate_series(${from}, ${to}) n`

layer(PgPair.layer, { excludeTestServices: true })("distance", (it) => {
  it.scoped("a cycle costs no round trip more than these", () =>
    Effect.gen(function*() {
      const sync = yield* synced(perfis)
      const far = yield* farAway(sync, { latency: latencyMs })
      yield* far.cycle
      /** To Replit, to external, and one after the other. */
      const budget = {
        idle: [1, 1, 2],
        "20 rows inserted on Replit": [9, 5, 8],
        "20 rows inserted on external": [8, 6, 8],
        "20 rows on both sides": [10, 7, 8],
        "20 rows updated and 20 deleted on Replit": [9, 5, 8]
      } as const
      const cost: Record<string, ReadonlyArray<number>> = {}
      let last = 0
      /** So many new rows. */
      const insert20 = (side: Side) => Effect.suspend(() => sync[side].query(insert(last + 1, last += 20)))
      // Three times at most: what a busy machine sends late passes for a step of its own, and what it can do it does once.
      const measure = Effect.fnUntraced(function*(
        what: keyof typeof budget,
        change: Effect.Effect<unknown, TestSqlError> = Effect.void
      ) {
        for (let n = 1; n <= 3; n++) {
          yield* change
          const { counts, report } = yield* trips(far)
          assert.strictEqual(report.outcome, what === "idle" ? "idle" : "moved")
          cost[what] = counts.map((count, place) => Math.min(count, cost[what]?.[place] ?? Infinity))
          if (JSON.stringify(cost[what]) === JSON.stringify(budget[what])) break
        }
      })
      const both = Effect.zipRight(insert20("replit"), insert20("external"))
      // Opens the connections that a cycle has use for.
      yield* both
      yield* far.cycle
      yield* measure("idle")
      yield* measure("20 rows inserted on Replit", insert20("replit"))
      yield* measure("20 rows inserted on external", insert20("external"))
      yield* measure("20 rows on both sides", both)
      yield* measure(
        "20 rows updated and 20 deleted on Replit",
        sync.replit.query(
          `with gone as (delete from perfis where id in (select id from perfis order by id desc limit 20) returning id)
           update perfis set nome = nome || 'x' where id in (select id from perfis order by id limit 20)`
        )
      )
      assert.deepStrictEqual(cost, budget)
      yield* assertConverged(sync)
    }), 60_000)

  it.scoped("20,000 rows go in one batch, with few round trips more than 500 have", () =>
    Effect.gen(function*() {
      const sync = yield* synced(perfis)
      const far = yield* farAway(sync, { latency: latencyMs })
      yield* far.cycle
      /** One after the other; what a busy machine sends late passes for a step of its own, so the best of three counts. */
      const measure = Effect.fnUntraced(function*(rows: number, first: number) {
        let best = Infinity
        for (let n = 0; n < 3; n++) {
          yield* sync.replit.query(insert(first + n * rows, first + (n + 1) * rows - 1))
          const { counts, report } = yield* trips(far)
          assert.strictEqual(report.push.inserted, rows)
          best = Math.min(best, counts[2])
        }
        return best
      })
      assert.isAtMost(yield* measure(500, 1), 15)
      // COPY fills the network's window a few times.
      assert.isAtMost(yield* measure(20_000, 10_001), 20)
      yield* assertEqual(sync)
    }), 60_000)

  it.scoped(
    "connecting takes a round trip for the start and two for the password, and no more",
    () =>
      Effect.gen(function*() {
        const sync = yield* synced(perfis)
        const far = yield* farAway(sync, { latency: latencyMs })
        assert.strictEqual((yield* far.cycle).outcome, "idle")
        for (const side of sides) yield* far.databases[side].disconnect
        const before = yield* Effect.all(sides.map((side) => far.proxies[side].setUpTrips))
        assert.deepStrictEqual((yield* trips(far)).counts.slice(0, 2), [1, 1])
        const after = yield* Effect.all(sides.map((side) => far.proxies[side].setUpTrips))
        assert.deepStrictEqual(after.map((all, index) => all.length - before[index]!.length), [3, 3])
      }),
    60_000
  )

  it.scoped("a narrow network passes so many bytes a second", () =>
    Effect.gen(function*() {
      const sync = yield* synced(perfis)
      const far = yield* farAway(sync, {})
      for (const side of sides) yield* far.proxies[side].throttle(50_000)
      yield* far.cycle
      yield* sync.replit.query(insert(1, 500))
      const { report } = yield* trips(far)
      assert.strictEqual(report.push.inserted, 500)
      assert.isAbove(report.durationMs, (report.push.bytes / 50_000) * 1000)
      yield* assertEqual(sync)
    }), 60_000)
})
