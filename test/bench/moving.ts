/** How fast rows get from one side to the other, beside what PostgreSQL itself needs for it, and how much memory it takes. */
import { Clock, Effect } from "effect"
import { pipeline } from "node:stream/promises"
import * as Copy from "pg-copy-streams"
import { BenchError } from "./BenchError.ts"
import type { BenchPair, Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"
import { median } from "./median.ts"
import type { Program, Run } from "./Program.ts"
import { runOnce } from "./Program.ts"

/** Rows a second, the process less an idle one. */
export interface Round {
  readonly inserts: number
  readonly updates: number
  readonly deletes: number
  /** `COPY TO` piped into `COPY FROM` a table with the key: the same rows, on the same two servers. */
  readonly yardstick: number
  /** Of the run that inserted. */
  readonly insertRun: Run
  /** What a process costs that has nothing to move. */
  readonly idleMs: number
}

/** Inserts, updates and deletes so many rows on Replit's side, and syncs each time; on a pair of its own. */
export const moving = Effect.fn("moving")(function*(servers: Servers, main: string, rows: number) {
  return yield* Effect.scoped(Effect.gen(function*() {
    const pair = yield* BenchPairs.make(servers)
    const program: Program = { main, replit: pair.replit.url, external: pair.external.url }
    yield* runOnce(program)
    const idleMs = median((yield* Effect.replicateEffect(runOnce(program), 3)).map(({ ms }) => ms))
    const rate = (ms: number) => rows / Math.max(ms, 1) * 1000

    const sync = Effect.fnUntraced(function*(change: string, rowsAfter: number) {
      yield* pair.replit.app.query(change)
      yield* settle(pair)
      const run = yield* runOnce(program)
      yield* pair.assertEqual(rowsAfter)
      return run
    })
    const insertRun = yield* sync(BenchPairs.insert("perfis", rows), rows)
    const copyMs = yield* copy(pair, rows)
    const updates = yield* sync("update perfis set tipo_conta = 'Diretor'", rows)
    const deletes = yield* sync("delete from perfis", 0)
    return {
      inserts: rate(insertRun.ms - idleMs),
      updates: rate(updates.ms - idleMs),
      deletes: rate(deletes.ms - idleMs),
      yardstick: rate(copyMs),
      insertRun,
      idleMs
    } satisfies Round
  }))
})

/** The run that moves so many inserted rows, on a pair of its own. */
export const movingMany = Effect.fn("movingMany")(function*(servers: Servers, main: string, rows: number) {
  return yield* Effect.scoped(Effect.gen(function*() {
    const pair = yield* BenchPairs.make(servers)
    const program: Program = { main, replit: pair.replit.url, external: pair.external.url }
    yield* runOnce(program)
    yield* pair.replit.app.query(BenchPairs.insert("perfis", rows))
    yield* settle(pair)
    const run = yield* runOnce(program)
    yield* pair.assertEqual(rows)
    return run
  }))
})

const copy = Effect.fnUntraced(function*({ external, replit, ...pair }: BenchPair, rows: number) {
  yield* external.app.query(BenchPairs.perfis("yardstick"))
  yield* settle({ external, replit, ...pair })
  const startedMs = yield* Clock.currentTimeMillis
  const into = external.app.raw.query(Copy.from("copy yardstick from stdin"))
  yield* Effect.tryPromise({
    try: () => pipeline(replit.app.raw.query(Copy.to("copy perfis to stdout")), into),
    catch: (cause) => new BenchError({ message: `The yardstick's COPY failed: ${String(cause)}` })
  })
  const ms = (yield* Clock.currentTimeMillis) - startedMs
  const [copied] = yield* external.app.query<{ rows: number }>("select count(*) as rows from yardstick")
  if (copied?.rows !== rows) return yield* new BenchError({ message: `The yardstick copied ${copied?.rows} rows.` })
  yield* external.app.query("drop table yardstick")
  return ms
})

const settle = ({ external, replit }: BenchPair) => Effect.zipRight(replit.settle, external.settle)
