/** How fast rows get from one side to the other, beside what PostgreSQL itself needs for it, and how much memory it takes. */
import { Clock, Effect } from "effect"
import { pipeline } from "node:stream/promises"
import * as Copy from "pg-copy-streams"
import { bytes, count, duration } from "../../src/domain/Quantity.ts"
import { BenchError } from "./BenchError.ts"
import type { BenchPair, Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"
import type { Figure } from "./Figure.ts"
import { median } from "./median.ts"
import type { Program, Run } from "./Program.ts"
import { runOnce } from "./Program.ts"
import { replicating } from "./replicating.ts"

/** Milliseconds; ours are a whole process less an idle one. */
interface Round {
  readonly insertsMs: number
  readonly updatesMs: number
  readonly deletesMs: number
  readonly bothWaysMs: number
  /** `COPY TO` piped into `COPY FROM` a table with key and capture: the same rows, on the same two servers. */
  readonly copyMs: number
  /** The same without capture. */
  readonly bareCopyMs: number
  readonly native: Readonly<Record<"insertsMs" | "updatesMs" | "deletesMs", number>>
  /** Of the run that inserted. */
  readonly insertRun: Run
  readonly idleMs: number
}

export interface Moving {
  readonly figures: ReadonlyArray<Figure>
  readonly insertRun: Run
  readonly idleMs: number
}

/** So many rows inserted, updated and deleted on Replit's side, and half as many on each; each round on pairs of its own. */
export const moving = Effect.fn("moving")(function*(servers: Servers, main: string, rows: number, rounds: number) {
  const found: Array<Round> = []
  for (let round = 1; round <= rounds; round++) {
    yield* Effect.logInfo(`${count(rows)} rows inserted, updated and deleted: round ${round}`)
    found.push(yield* oneRound(servers, main, rows))
  }
  const of = (value: (round: Round) => number) => median(found.map(value))
  const rate = (value: (round: Round) => number) => `${count(Math.round(rows / of(value) * 1000))}/s`
  const against = (
    name: "insertsMs" | "updatesMs" | "deletesMs",
    what: string,
    { atLeast, stood }: { readonly atLeast: number; readonly stood: number }
  ): Figure => ({
    what: `${count(rows)} rows ${what}`,
    measured: rate((round) => round[name]),
    beside: `native logical replication: ${rate(({ native }) => native[name])}`,
    judged: { value: of((round) => round.native[name] / round[name]), reach: { atLeast }, stood }
  })
  const insertRun = found.map((round) => round.insertRun).find(({ ms }) => ms === of((round) => round.insertRun.ms))!
  const idleMs = of((round) => round.idleMs)
  return {
    figures: [
      against("insertsMs", "inserted", { atLeast: 1.3, stood: 0.54 }),
      against("updatesMs", "updated, one column", { atLeast: 1.5, stood: 0.71 }),
      against("deletesMs", "deleted", { atLeast: 1.5, stood: 0.29 }),
      {
        what: "the same rows, COPY piped into COPY, with key and capture",
        measured: rate(({ copyMs }) => copyMs),
        beside: `without capture: ${rate(({ bareCopyMs }) => bareCopyMs)}; ours takes so many times as long`,
        judged: { value: of(({ copyMs, insertsMs }) => insertsMs / copyMs), reach: { atMost: 2.5 } }
      },
      {
        what: `${count(rows / 2)} rows inserted on each side at once`,
        measured: duration(of(({ bothWaysMs }) => bothWaysMs)),
        beside: `all on one side: ${duration(of(({ insertsMs }) => insertsMs))}`,
        judged: {
          value: of(({ bothWaysMs, insertsMs }) => bothWaysMs / insertsMs),
          reach: { atMost: 0.8 },
          stood: 1.36
        }
      },
      {
        what: "a process with nothing to move",
        measured: duration(idleMs),
        beside: "taken off ours above",
        judged: null
      }
    ],
    insertRun,
    idleMs
  } satisfies Moving
})

const oneRound = Effect.fn("oneRound")(function*(servers: Servers, main: string, rows: number) {
  const native = yield* replicating(servers, rows)
  return yield* Effect.scoped(Effect.gen(function*() {
    const pair = yield* BenchPairs.make(servers)
    const program: Program = { main, replit: pair.replit.url, external: pair.external.url }
    yield* runOnce(program)
    const idleMs = median((yield* Effect.replicateEffect(runOnce(program), 3)).map(({ ms }) => ms))
    const sync = Effect.fnUntraced(function*(rowsAfter: number) {
      yield* pair.settle
      const run = yield* runOnce(program)
      yield* pair.assertEqual(rowsAfter)
      return { ...run, netMs: Math.max(1, run.ms - idleMs) }
    })
    const change = (sql: string, rowsAfter: number) => Effect.zipRight(pair.replit.app.query(sql), sync(rowsAfter))
    const inserts = yield* change(BenchPairs.insert("perfis", rows), rows)
    const bareCopyMs = yield* copy(pair, rows, false)
    const copyMs = yield* copy(pair, rows, true)
    const updates = yield* change("update perfis set tipo_conta = 'Diretor'", rows)
    const deletes = yield* change("delete from perfis", 0)
    for (const side of [pair.replit, pair.external]) yield* side.app.query(BenchPairs.insert("perfis", rows / 2))
    const bothWays = yield* sync(rows)
    return {
      insertsMs: inserts.netMs,
      updatesMs: updates.netMs,
      deletesMs: deletes.netMs,
      bothWaysMs: bothWays.netMs,
      copyMs,
      bareCopyMs,
      native,
      insertRun: inserts,
      idleMs
    } satisfies Round
  }))
})

/** Many more rows than in `few`: how much longer that takes, and whether it needs more memory. */
export const movingMany = Effect.fn("movingMany")(
  function*(servers: Servers, main: string, rows: number, few: Moving & { readonly rows: number }) {
    yield* Effect.logInfo(`${count(rows)} rows inserted`)
    const run = yield* Effect.scoped(Effect.gen(function*() {
      const pair = yield* BenchPairs.make(servers)
      const program: Program = { main, replit: pair.replit.url, external: pair.external.url }
      yield* runOnce(program)
      yield* pair.replit.app.query(BenchPairs.insert("perfis", rows))
      yield* pair.settle
      const run = yield* runOnce(program)
      yield* pair.assertEqual(rows)
      return run
    }))
    const peaks = [run.peakBytes, few.insertRun.peakBytes]
    return [
      {
        what: `${count(rows)} rows pending`,
        measured: duration(run.ms),
        beside: `${count(few.rows)}: ${duration(few.insertRun.ms)}`,
        judged: { value: (run.ms - few.idleMs) / (few.insertRun.ms - few.idleMs), reach: { atMost: 11 } }
      },
      {
        what: "memory of Node meanwhile",
        measured: peaks[0] == null ? "not measured" : bytes(peaks[0]),
        beside: peaks[1] == null ? "" : `${count(few.rows)}: ${bytes(peaks[1])}`,
        judged: peaks[0] == null || peaks[1] == null ? null : { value: peaks[0] / peaks[1], reach: { atMost: 1.1 } }
      }
    ] satisfies ReadonlyArray<Figure>
  }
)

/** Piped from Replit's `perfis` into another database's of the same shape on external's server. */
const copy = Effect.fnUntraced(function*({ external, replit, settle }: BenchPair, rows: number, captured: boolean) {
  yield* external.app.query(BenchPairs.perfis("yardstick"))
  // The same triggers as ours, filling a queue of its own.
  if (captured) {
    yield* external.app.query("select vaivem.capture('public', 'yardstick', array['id'], 'updated_at', true, false)")
  }
  yield* settle
  const startedMs = yield* Clock.currentTimeMillis
  const into = external.app.raw.query(Copy.from("copy yardstick from stdin"))
  yield* Effect.tryPromise({
    try: () => pipeline(replit.app.raw.query(Copy.to("copy perfis to stdout")), into),
    catch: (cause) => new BenchError({ message: `The yardstick's COPY failed: ${String(cause)}` })
  })
  const ms = (yield* Clock.currentTimeMillis) - startedMs
  const [copied] = yield* external.app.query<{ rows: number }>("select count(*) as rows from yardstick")
  if (copied?.rows !== rows) return yield* new BenchError({ message: `The yardstick copied ${copied?.rows} rows.` })
  if (captured) yield* external.app.query("select vaivem.uncapture('public', 'yardstick')")
  yield* external.app.query("drop table yardstick")
  return ms
})
