/** That no cost grows with what is behind us: a long history, and dead rows that a transaction of the app keeps from being removed. */
import { Clock, Effect, Either, Layer, Logger, LogLevel, Redacted } from "effect"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import { count, duration } from "../../src/domain/Quantity.ts"
import type { Side } from "../../src/domain/Side.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import { SyncConfig } from "../../src/services/SyncConfig.ts"
import { connect } from "../support/TestClient.ts"
import type { BenchPair, Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"
import type { Figure } from "./Figure.ts"
import { median } from "./median.ts"
import { type Program, runOnce } from "./Program.ts"

const pendingRows = 100

/** 100 pending changes beside so many synced ones, and beside none. */
export const remembering = Effect.fn("remembering")(
  function*(servers: Servers, main: string, synced: number, rounds: number) {
    yield* Effect.logInfo(`${pendingRows} rows pending beside ${count(synced)} synced changes`)
    const few = yield* timedWith(servers, main, 0, rounds)
    const many = yield* timedWith(servers, main, synced, rounds)
    return [{
      what: `${pendingRows} rows pending, ${count(synced)} synced changes kept`,
      measured: duration(many),
      beside: `in an empty changelog: ${duration(few)}; whole processes`,
      judged: { value: many / few, reach: { atMost: 1.3 } }
    }] satisfies ReadonlyArray<Figure>
  }
)

const timedWith = Effect.fnUntraced(function*(servers: Servers, main: string, synced: number, rounds: number) {
  return yield* Effect.scoped(Effect.gen(function*() {
    const pair = yield* BenchPairs.make(servers)
    const program: Program = { main, replit: pair.replit.url, external: pair.external.url }
    yield* pair.replit.app.query(BenchPairs.insert("perfis", 10_000))
    yield* runOnce(program)
    for (const side of ["replit", "external"] as const) {
      yield* pair[side].app.query(
        `insert into vaivem.perfis_history (change_id, source_change_id, operation, k1, changed_at, origin)
         select -n, -n, 'UPDATE', lpad(to_hex(n % 1000000), 32, '0')::uuid, now(), 'replit' from generate_series(1, ${synced}) n`
      )
      yield* pair[side].app.query("vacuum analyze vaivem.perfis_history")
    }
    yield* pair.settle
    const runs: Array<number> = []
    for (let round = 0; round < rounds; round++) {
      yield* touch(pair, round)
      runs.push((yield* runOnce(program)).ms)
      yield* pair.assertEqual(10_000)
    }
    return median(runs)
  }))
})

const touch = (pair: BenchPair, round: number) =>
  pair.replit.app.query(
    `update perfis set tipo_conta = 'Diretor ${round}' where id in (select id from perfis order by id limit ${pendingRows})`
  )

/** So many cycles with a few rows each, in this process, while a transaction stays open on the source and without one. */
export const holding = Effect.fn("holding")(function*(servers: Servers, cycles: number) {
  yield* Effect.logInfo(`${cycles} small cycles with a transaction open on the source`)
  const timed = (open: boolean) =>
    Effect.scoped(Effect.gen(function*() {
      const pair = yield* BenchPairs.make(servers)
      yield* pair.replit.app.query(BenchPairs.insert("perfis", 10_000))
      const cycle = yield* cycleOf(pair)
      yield* cycle
      const other = yield* connect(pair.replit.url)
      if (open) yield* other.query("begin isolation level repeatable read; select pg_current_xact_id()")
      const startedMs = yield* Clock.currentTimeMillis
      for (let n = 0; n < cycles; n++) {
        yield* touch(pair, n)
        yield* cycle
      }
      const ms = (yield* Clock.currentTimeMillis) - startedMs
      if (open) yield* other.query("rollback")
      yield* pair.assertEqual(10_000)
      return ms
    }))
  const without = yield* timed(false)
  const beside = yield* timed(true)
  return [{
    what: `${cycles} small cycles while a transaction is open on the source`,
    measured: duration(beside),
    beside: `without it: ${duration(without)}`,
    judged: { value: beside / without, reach: { atMost: 1.5 } }
  }] satisfies ReadonlyArray<Figure>
})

/** A cycle that knows the pair from one run to the next, as the service's does. */
const cycleOf = Effect.fnUntraced(function*(pair: BenchPair) {
  const target = (side: Side) => Either.getOrThrow(parseUrl(side, Redacted.value(pair[side].url)))
  const layer = Layer.mergeAll(
    SyncConfig.layer({ replitUrl: target("replit"), externalUrl: target("external") }),
    Layer.succeed(ReplitDb, yield* PgDatabase.make(target("replit"))),
    Layer.succeed(ExternalDb, yield* PgDatabase.make(target("external"))),
    Logger.minimumLogLevel(LogLevel.Warning)
  )
  const cycle = yield* makeCycle
  return Effect.provide(cycle({ retryFor: "10 seconds", lease: "wait", notBefore: 0 }), layer)
})
