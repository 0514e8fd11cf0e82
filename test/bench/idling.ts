/** What a cycle costs that has nothing to do: round trips to each database, and time. */
import { Effect, Queue } from "effect"
import { label, type Side, sides } from "../../src/domain/Side.ts"
import * as Proxy from "../support/Proxy.ts"
import { BenchError } from "./BenchError.ts"
import type { Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"
import type { Figure } from "./Figure.ts"
import { median } from "./median.ts"
import { serve } from "./Program.ts"

/** Watches the running service through two proxies, for so many cycles, with 10,000 rows on both sides. */
export const idling = Effect.fn("idling")(function*(servers: Servers, main: string, cycles: number) {
  return yield* Effect.scoped(Effect.gen(function*() {
    const pair = yield* BenchPairs.make(servers)
    yield* pair.replit.app.query(BenchPairs.insert("perfis", 10_000))
    const proxies = { replit: yield* Proxy.make(pair.replit.url), external: yield* Proxy.make(pair.external.url) }
    const { lines } = yield* serve({
      main,
      replit: proxies.replit.url,
      external: proxies.external.url,
      settings: { SYNC_INTERVAL: "2 seconds" }
    })
    const cycle = nextCycle(lines)
    // The first sets up and moves the rows, the second may still have something to tell.
    yield* Effect.repeatN(cycle, 1)
    const seen = { replit: 0, external: 0 }
    const since = Effect.fnUntraced(function*() {
      const found = { replit: yield* proxies.replit.roundTrips, external: yield* proxies.external.roundTrips }
      const fresh = { replit: found.replit.slice(seen.replit), external: found.external.slice(seen.external) }
      for (const side of sides) seen[side] = found[side].length
      return fresh
    })
    yield* since()
    const watched = yield* Effect.replicateEffect(Effect.zipRight(cycle, Effect.suspend(since)), cycles)
    yield* pair.assertEqual(10_000)
    const roundTrips = (side: Side): Figure => ({
      what: `round trips of an idle cycle to ${label(side)}`,
      measured: String(Math.max(...watched.map((fresh) => fresh[side].length))),
      beside: "",
      judged: { value: Math.max(...watched.map((fresh) => fresh[side].length)), reach: { atMost: 1 } }
    })
    const latencyMs = median(watched.map((fresh) => {
      const all = sides.flatMap((side) => fresh[side])
      return Math.max(...all.map(({ answeredMs }) => answeredMs)) - Math.min(...all.map(({ sentMs }) => sentMs))
    }))
    return [
      ...sides.map(roundTrips),
      {
        what: "an idle cycle",
        measured: `${latencyMs.toFixed(1)} ms`,
        beside: "first question to last answer",
        judged: null
      }
    ] satisfies ReadonlyArray<Figure>
  }))
})

/** Waits for the end of a cycle, which the service tells in one line. */
const nextCycle = (lines: Queue.Dequeue<string>) =>
  Queue.take(lines).pipe(
    Effect.filterOrFail(
      (line) => !line.includes("Failed:"),
      (line) => new BenchError({ message: `The service says: ${line}` })
    ),
    Effect.repeat({ until: (line) => line.includes("Replit → external") }),
    Effect.timeoutFail({
      duration: "2 minutes",
      onTimeout: () => new BenchError({ message: "The service finished no cycle for two minutes." })
    })
  )
