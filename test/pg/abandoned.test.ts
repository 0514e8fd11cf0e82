import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { check } from "../../src/programs/check.ts"
import { alone, assertConverged, type Member, PgPair, type Synced, synced, until } from "../support/PgPair.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz);"
const fill = "insert into notas select n, 'a' from generate_series(1, 600) n"
const change = "update notas set a = a || '.'"

/** As after so many days without a run, or in a queue that is too large: nobody is connected. */
const leave = Effect.fnUntraced(
  function*({ database }: Member, reads: { readonly afterMs: number | null; readonly queueMax: number | null }) {
    yield* database.ask({ tables: [], reads })
    yield* database.disconnect
  }
)

const changes = ({ query }: Member) =>
  Effect.map(query<{ n: number }>("select count(*) as n from notas_changelog where not synced"), ([row]) => row!.n)

const changed = ({ replit }: Synced, times: number) =>
  Effect.gen(function*() {
    for (let n = 0; n < times; n++) yield* replit.query(change)
    return yield* changes(replit)
  })

layer(PgPair.layer, { excludeTestServices: true })("a sync that nobody runs any more", (it) => {
  it.scoped("doesn't fill the database: of each row the newest change is kept, and the first run says so", () =>
    Effect.gen(function*() {
      const sync = yield* alone(synced(notas))
      yield* sync.replit.query(fill)
      yield* leave(sync.replit, { afterMs: 0, queueMax: null })
      // Each statement looks at some five rows for each one that it writes.
      assert.isBelow(yield* changed(sync, 12), 3 * 600)
      const told = yield* sync.run(check)
      assert.match(told.sides.replit.problems.join(), /^Nobody has read the changes here since /)
      assert.match(told.sides.replit.notes.join(), /notas, capture has kept the newest change of each row/)
      assert.deepStrictEqual(told.sides.external.problems, [])
      yield* sync.cycle
      yield* assertConverged(sync)
      const after = yield* sync.run(check)
      assert.deepStrictEqual([after.sides.replit.problems, after.sides.replit.notes], [[], []])
    }))

  it.scoped("nor does a queue that is too large while no service is connected, and any other is left alone", () =>
    Effect.gen(function*() {
      const sync = yield* alone(synced(notas))
      yield* sync.replit.query(fill)
      yield* leave(sync.replit, { afterMs: 3_600_000, queueMax: 1_000_000_000 })
      assert.strictEqual(yield* changed(sync, 3), 4 * 600)
      yield* leave(sync.replit, { afterMs: null, queueMax: null })
      assert.strictEqual(yield* changed(sync, 1), 5 * 600)
      // Somebody reads while the service is connected.
      yield* sync.replit.database.ask({ tables: [], reads: { afterMs: 0, queueMax: 1 } })
      assert.strictEqual(yield* changed(sync, 1), 6 * 600)
      yield* leave(sync.replit, { afterMs: null, queueMax: 1 })
      assert.isBelow(yield* changed(sync, 8), 6 * 600)
    }))

  it.scoped("doesn't hold up the app: its transactions fold the same keys side by side", () =>
    Effect.gen(function*() {
      const sync = yield* alone(synced(notas))
      const { replit } = sync
      yield* replit.query(fill)
      yield* replit.query(change)
      yield* leave(replit, { afterMs: 0, queueMax: null })
      const [one, two] = yield* Effect.all([replit.connect, replit.connect])
      for (const isolation of ["read committed", "repeatable read"]) {
        for (const { query } of [one, two]) yield* query(`set lock_timeout = '2s'; begin isolation level ${isolation}`)
        // Different rows; what they may delete of the queue is the same.
        yield* one.query(`${change} where id % 2 = 0`)
        const waiting = yield* Effect.fork(two.query(`${change} where id % 2 = 1`))
        yield* Fiber.join(waiting)
        yield* one.query(`${change} where id % 4 = 0; savepoint s; ${change} where id % 4 = 2; rollback to s; commit`)
        yield* two.query(`${change} where id % 4 = 1; commit`)
      }
      // Of some 13 changes of each row.
      assert.isBelow(yield* changed(sync, 8), 6 * 600)
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("and a claim that meets a transaction which folds is made again", () =>
    Effect.gen(function*() {
      const sync = yield* alone(synced(notas))
      const { replit } = sync
      yield* replit.query(fill)
      for (let n = 0; n < 4; n++) yield* replit.query(change)
      yield* leave(replit, { afterMs: 0, queueMax: null })
      const app = yield* replit.connect
      yield* app.query(`begin; ${change} where id <= 300`)
      const cycle = yield* Effect.fork(sync.cycle)
      // The acknowledgement waits for rows of the queue that the app's transaction deletes.
      yield* replit.serviceWaits
      yield* app.query("commit")
      yield* Fiber.join(cycle)
      yield* sync.cycle
      yield* until(Effect.map(changes(replit), (n) => n === 0))
      yield* assertConverged(sync)
    }))
})
