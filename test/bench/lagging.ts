/** How long a change is on its way while both sides are written to all the time, and what that costs our process. */
import { Clock, Effect, Fiber, Ref, Schedule } from "effect"
import * as Fs from "node:fs/promises"
import { count, duration } from "../../src/domain/Quantity.ts"
import { opposite, type Side, sides } from "../../src/domain/Side.ts"
import { connect } from "../support/TestClient.ts"
import { BenchError } from "./BenchError.ts"
import type { BenchPair, Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"
import type { Figure } from "./Figure.ts"
import { serve } from "./Program.ts"

const interval = "1 second"

/** So many small transactions a second on each side, for so many seconds; the service runs every second. */
export const lagging = Effect.fn("lagging")(
  function*(servers: Servers, main: string, options: { readonly perSecond: number; readonly seconds: number }) {
    yield* Effect.logInfo(`${options.perSecond} transactions a second on both sides for ${options.seconds} s`)
    return yield* Effect.scoped(Effect.gen(function*() {
      const pair = yield* BenchPairs.make(servers)
      const { lines, pid } = yield* serve({
        main,
        replit: pair.replit.url,
        external: pair.external.url,
        settings: { SYNC_INTERVAL: interval }
      })
      yield* lines.take
      const cpuBefore = yield* cpuMs(pid)
      const startedMs = yield* Clock.currentTimeMillis
      const lags = (yield* Effect.all(sides.map((side) => writing(pair, side, options)), { concurrency: 2 })).flat()
      const elapsedMs = (yield* Clock.currentTimeMillis) - startedMs
      const cpu = ((yield* cpuMs(pid)) - cpuBefore) / elapsedMs
      const written = 2 * options.perSecond * options.seconds
      if (lags.length !== written) {
        return yield* new BenchError({ message: `${count(lags.length)} of ${count(written)} rows arrived.` })
      }
      const sorted = lags.toSorted((a, b) => a - b)
      const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!
      return [
        {
          what: `lag, ${options.perSecond} transactions a second on each side, interval ${interval}`,
          measured: `${duration(at(0.5))} median`,
          beside: `${duration(at(0.99))} for 99 %; ${count(written)} rows, none lost; seconds`,
          judged: { value: at(0.5) / 1000, reach: { atMost: 1.2 } }
        },
        {
          what: "CPU of our process meanwhile",
          measured: `${(cpu * 100).toFixed(1)} % of a core`,
          beside: "",
          judged: Number.isFinite(cpu) ? { value: cpu, reach: { atMost: 0.15 } } : null
        }
      ] satisfies ReadonlyArray<Figure>
    }))
  }
)

/** Writes one row a transaction on a side, at an even pace, and watches the other side for them. Returns their lags. */
const writing = Effect.fnUntraced(function*(
  pair: BenchPair,
  side: Side,
  { perSecond, seconds }: { readonly perSecond: number; readonly seconds: number }
) {
  const open = yield* Ref.make<ReadonlyMap<string, number>>(new Map())
  const lags = yield* Ref.make<ReadonlyArray<number>>([])
  const writer = yield* connect(pair[side].url)
  const watcher = yield* connect(pair[opposite(side)].url)
  const total = perSecond * seconds
  const write = Effect.gen(function*() {
    const startedMs = yield* Clock.currentTimeMillis
    for (let n = 0; n < total; n++) {
      const dueMs = startedMs + (n * 1000) / perSecond
      yield* Effect.sleep(Math.max(0, dueMs - (yield* Clock.currentTimeMillis)))
      const [row] = yield* writer.query<{ id: string }>(
        "insert into perfis (full_name, updated_at) values ($1, now()) returning id",
        [`${side} ${n}`]
      )
      const nowMs = yield* Clock.currentTimeMillis
      yield* Ref.update(open, (all) => new Map(all).set(row!.id, nowMs))
    }
  })
  const look = Effect.gen(function*() {
    const all = yield* Ref.get(open)
    if (all.size === 0) return
    const found = yield* watcher.query<{ id: string }>("select id from perfis where id = any ($1::uuid[])", [[
      ...all.keys()
    ]])
    const nowMs = yield* Clock.currentTimeMillis
    yield* Ref.update(lags, (before) => [...before, ...found.map(({ id }) => nowMs - all.get(id)!)])
    yield* Ref.update(open, (now) => new Map([...now].filter(([id]) => !found.some((row) => row.id === id))))
  })
  const watching = yield* Effect.fork(Effect.repeat(look, Schedule.spaced("20 millis")))
  yield* write
  yield* Effect.repeat(Ref.get(lags), {
    until: ({ length }) => length === total,
    schedule: Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurs(400))
  })
  yield* Fiber.interrupt(watching)
  return yield* Ref.get(lags)
}, Effect.scoped)

/** User and system time of a process; NaN where there is no `/proc`. Clock ticks are hundredths of a second on Linux. */
const cpuMs = (pid: number) =>
  Effect.promise(async () => {
    const stat = await Fs.readFile(`/proc/${pid}/stat`, "utf8").catch(() => "")
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return (Number(fields[11]) + Number(fields[12])) * 10
  })
