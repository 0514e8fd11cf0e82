/**
 * The yardstick of moved rows: native logical replication with one apply worker, on the same servers, from a table without
 * capture to another. It needs superusers and `wal_level=logical`, which is why Vaivém exists; the bench's servers have both.
 */
import { Clock, Effect, Redacted, Schedule } from "effect"
import { randomBytes } from "node:crypto"
import { query, type TestSqlError } from "../support/TestClient.ts"
import { BenchError } from "./BenchError.ts"
import type { BenchPair, Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"

export interface Replicated {
  readonly insertsMs: number
  readonly updatesMs: number
  readonly deletesMs: number
}

/**
 * Inserts, updates and deletes so many rows while the subscription is disabled, as ours is while nobody runs it, and times
 * each from its being enabled until the rows are there (they come in one transaction, so one of them stands for all); less
 * what that takes for a single row.
 */
export const replicating = Effect.fn("replicating")(function*(servers: Servers, rows: number) {
  return yield* Effect.scoped(Effect.gen(function*() {
    const pair = yield* BenchPairs.make(servers)
    const { app } = pair.replit
    const catchUp = yield* subscribe(servers, pair)
    const id = "00000000-0000-4000-8000-000000000000"
    const probe = (sql: string) => ({ sql: `select ${sql} as done`, id })
    yield* app.query("insert into perfis (id) values ($1)", [id])
    const idleMs = yield* catchUp(probe("exists (select from perfis where id = $1)"))
    const timed = (change: string, there: string) =>
      Effect.gen(function*() {
        yield* app.query(change)
        yield* pair.settle
        return Math.max(1, (yield* catchUp(probe(there))) - idleMs)
      })
    const insertsMs = yield* timed(
      `begin; delete from perfis where id = '${id}'; ${BenchPairs.insert("perfis", rows)}; commit`,
      "not exists (select from perfis where id = $1)"
    )
    yield* app.query(`update perfis set id = '${id}' where ctid = '(1,1)'`)
    yield* catchUp(probe("exists (select from perfis where id = $1)"))
    const updatesMs = yield* timed(
      "update perfis set tipo_conta = 'Diretor'",
      "(select tipo_conta = 'Diretor' from perfis where id = $1)"
    )
    yield* pair.assertSame(rows)
    const deletesMs = yield* timed("delete from perfis", "not exists (select from perfis where id = $1)")
    yield* pair.assertSame(0)
    return { insertsMs, updatesMs, deletesMs } satisfies Replicated
  }))
})

/**
 * A subscription of external's `perfis` to Replit's that is disabled but while it catches up, or its walsender would read the
 * log of what ours writes. Slot and all are gone when the scope closes.
 */
const subscribe = Effect.fnUntraced(function*(servers: Servers, pair: BenchPair) {
  const name = `bench_${randomBytes(6).toString("hex")}`
  const admin = { replit: servers.replit.url(pair.replit.name), external: servers.external.url(pair.external.name) }
  const source = new URL(Redacted.value(admin.replit))
  const from = `host=${source.hostname} port=${source.port} dbname=${source.pathname.slice(1)} user=${source.username} `
    + `password=${decodeURIComponent(source.password)}`
  yield* query(admin.replit, `create publication ${name} for table perfis`)
  yield* query(admin.replit, `select pg_create_logical_replication_slot('${name}', 'pgoutput')`)
  yield* query(
    admin.external,
    `create subscription ${name} connection '${from}' publication ${name}
     with (enabled = false, create_slot = false, slot_name = '${name}', copy_data = false, streaming = off)`
  )
  const alter = (how: string) => query(admin.external, `alter subscription ${name} ${how}`)
  // The subscription has no tables to copy, but must have heard of them.
  const inactive = until(
    query(admin.replit, `select not active as done from pg_replication_slots where slot_name = '${name}'`)
  )
  yield* Effect.addFinalizer(() =>
    Effect.orDie(Effect.gen(function*() {
      yield* alter("disable")
      yield* alter("set (slot_name = none)")
      yield* query(admin.external, `drop subscription ${name}`)
      yield* inactive
      yield* query(admin.replit, `select pg_drop_replication_slot('${name}')`)
      yield* query(admin.replit, `drop publication ${name}`)
    }))
  )
  return (probe: { readonly sql: string; readonly id: string }) =>
    Effect.gen(function*() {
      const startedMs = yield* Clock.currentTimeMillis
      yield* alter("enable")
      yield* until(pair.external.app.query(probe.sql, [probe.id]))
      const ms = (yield* Clock.currentTimeMillis) - startedMs
      yield* alter("disable")
      yield* inactive
      return ms
    })
})

const until = (ask: Effect.Effect<ReadonlyArray<Record<string, unknown>>, TestSqlError>) =>
  ask.pipe(
    Effect.repeat({ until: (rows) => rows[0]?.["done"] === true, schedule: Schedule.spaced("5 millis") }),
    Effect.timeoutFail({
      duration: "5 minutes",
      onTimeout: () => new BenchError({ message: "Native replication did not catch up in 5 minutes." })
    })
  )
