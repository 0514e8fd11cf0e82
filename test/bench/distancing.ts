/** What many rows cost more than few where both databases are far away. */
import { Effect } from "effect"
import { count, duration } from "../../src/domain/Quantity.ts"
import * as Proxy from "../support/Proxy.ts"
import type { Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"
import type { Figure } from "./Figure.ts"
import { median } from "./median.ts"
import { runOnce } from "./Program.ts"

/** Whole processes (`--once`), so many rows each, through proxies that add 40 ms each way. */
export const distancing = Effect.fn("distancing")(function*(servers: Servers, main: string, rounds: number) {
  return yield* Effect.scoped(Effect.gen(function*() {
    const pair = yield* BenchPairs.make(servers)
    const options = { latency: "40 millis" } as const
    const program = {
      main,
      replit: (yield* Proxy.make(pair.replit.url, options)).url,
      external: (yield* Proxy.make(pair.external.url, options)).url
    }
    yield* runOnce(program)
    const timed = (rows: number) =>
      Effect.gen(function*() {
        yield* pair.replit.app.query(BenchPairs.insert("perfis", rows))
        yield* pair.settle
        return (yield* runOnce(program)).ms
      })
    const [few, many] = [20, 20_000]
    const found = yield* Effect.replicateEffect(Effect.all([timed(few), timed(many)]), rounds)
    yield* pair.assertEqual(rounds * (few + many))
    const [fewMs, manyMs] = [median(found.map(([ms]) => ms)), median(found.map(([, ms]) => ms))]
    return [
      {
        what: `${count(many)} rows, 40 ms away each way`,
        measured: duration(manyMs),
        beside: `${count(few)}: ${duration(fewMs)}; so many seconds more`,
        judged: { value: (manyMs - fewMs) / 1000, reach: { atMost: 1.5 } }
      }
    ] satisfies ReadonlyArray<Figure>
  }))
})
