/** Live mode: how long a committed write takes until it is visible on the other side, while both sides are written to. */
import { Effect, Queue, Schedule } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { opposite, sides } from "../../src/domain/Side.ts"
import { connect } from "../support/TestClient.ts"
import { BenchError } from "./BenchError.ts"
import type { BenchPair, Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"
import type { Figure } from "./Figure.ts"
import { serve } from "./Program.ts"

/** From the answer to the app's COMMIT until the row is visible on the other side. */
interface Lag {
  /** On both sides. */
  readonly writes: number
  readonly medianMs: number
  readonly p99Ms: number
}

interface Options {
  readonly seconds: number
  readonly writesASecond: number
}

/**
 * So many single-row inserts a second on each side, at the same time. Beside it the plainest relay there is: a client that is
 * notified of each row and inserts it, row by row.
 */
export const living = Effect.fn("living")(function*(servers: Servers, main: string, options: Options) {
  const relay = yield* Effect.scoped(Effect.flatMap(BenchPairs.make(servers), (pair) => relayed(pair, options)))
  return yield* Effect.scoped(Effect.gen(function*() {
    const pair = yield* BenchPairs.make(servers)
    const program = { main, replit: pair.replit.url, external: pair.external.url }
    const { lines } = yield* serve({ ...program, settings: { SYNC_LIVE: "true" } })
    yield* Queue.take(lines).pipe(Effect.repeat({ until: (line) => line.includes("Replit → external") }))
    const measured = yield* measure(pair, options)
    yield* pair.assertEqual(measured.writes + warmUps)
    const writing = `${options.writesASecond} writes a second on each side`
    return [
      {
        what: `live: from commit to visible, ${writing}, median`,
        measured: `${measured.medianMs.toFixed(1)} ms`,
        beside: `a plain relay: ${relay.medianMs.toFixed(1)} ms; ${measured.writes} writes, none lost`,
        judged: { value: measured.medianMs, reach: { atMost: 10 }, stood: 11.6 }
      },
      {
        what: "live: the same for 99 %",
        measured: `${measured.p99Ms.toFixed(1)} ms`,
        beside: `a plain relay: ${relay.p99Ms.toFixed(1)} ms`,
        judged: { value: measured.p99Ms, reach: { atMost: 40 } }
      }
    ] satisfies ReadonlyArray<Figure>
  }))
})

const measure = Effect.fnUntraced(function*(pair: BenchPair, { seconds, writesASecond }: Options) {
  const arrived = yield* watchArrivals(pair)
  const write = Effect.fnUntraced(function*(writes: number) {
    const written = new Map<string, number>()
    yield* Effect.forEach(
      sides,
      (side) =>
        Effect.gen(function*() {
          const { query } = yield* connect(pair[side].url)
          const one = Effect.gen(function*() {
            const [row] = yield* query<{ id: string }>(`${BenchPairs.insert("perfis", 1)} returning id`)
            written.set(row!.id, performance.now())
          })
          // Writes that fall behind are made up for: as many as were asked for.
          yield* Effect.repeat(
            one,
            Schedule.fixed(1000 / writesASecond).pipe(Schedule.intersect(Schedule.recurs(writes - 1)))
          )
        }),
      { concurrency: 2 }
    )
    yield* Effect.suspend(() => Effect.succeed([...written.keys()].every((id) => arrived.has(id)))).pipe(
      Effect.repeat({ until: (all) => all, schedule: Schedule.spaced("5 millis") }),
      Effect.timeoutFail({
        duration: "30 seconds",
        onTimeout: () => new BenchError({ message: "Rows did not arrive within 30 s in live mode." })
      })
    )
    return [...written].map(([id, ms]) => Math.max(0, arrived.get(id)! - ms)).sort((a, b) => a - b)
  })
  yield* write(warmUps / 2)
  const took = yield* write(seconds * writesASecond)
  const at = (share: number) => took[Math.floor(share * (took.length - 1))]!
  return { writes: took.length, medianMs: at(0.5), p99Ms: at(0.99) } satisfies Lag
})

/** Even. */
const warmUps = 200

/** When rows that others than the app wrote became visible: what a transaction notifies comes after its commit. */
const watchArrivals = Effect.fnUntraced(function*(pair: BenchPair) {
  const arrived = new Map<string, number>()
  for (const side of sides) {
    yield* pair[side].app.query(`create function chegou() returns trigger language plpgsql as $$
        begin
          if current_setting('application_name') <> 'test' then perform pg_notify('chegou', new.id::text); end if;
          return null;
        end $$;
      create trigger chegou after insert on perfis for each row execute function chegou()`)
    const { query, raw } = yield* connect(pair[side].url)
    raw.on("notification", ({ payload }) => arrived.set(payload!, performance.now()))
    yield* query("listen chegou")
  }
  return arrived
})

/** Nothing is looked at twice, and nothing is promised: the least that a trigger and a client can take. */
const relayed = Effect.fnUntraced(function*(pair: BenchPair, options: Options) {
  for (const side of sides) yield* relay(pair, side)
  return yield* measure(pair, options)
})

const relay = Effect.fnUntraced(function*(pair: BenchPair, from: Side) {
  yield* pair[from].app.query(`create function avisa() returns trigger language plpgsql as $$
      begin
        if current_setting('application_name') = 'test' then perform pg_notify('avisa', row_to_json(new)::text); end if;
        return null;
      end $$;
    create trigger avisa after insert on perfis for each row execute function avisa()`)
  const source = yield* connect(pair[from].url)
  const target = yield* connect(pair[opposite(from)].url)
  yield* target.query("set application_name = 'relay'")
  const heard = yield* Queue.unbounded<string>()
  source.raw.on("notification", ({ payload }) => heard.unsafeOffer(payload!))
  yield* source.query("listen avisa")
  yield* Queue.take(heard).pipe(
    Effect.flatMap((row) =>
      target.query("insert into perfis select * from json_populate_record(null::perfis, $1)", [row])
    ),
    Effect.forever,
    Effect.forkScoped
  )
})
