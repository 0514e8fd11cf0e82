import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Ref, TestClock } from "effect"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"
import { Contended, type SyncError, Unavailable } from "../../src/domain/SyncError.ts"
import type { Route } from "../../src/programs/propagate.ts"
import { propagate, propagateKeys } from "../../src/programs/propagate.ts"
import type { Database, Phase } from "../../src/services/Database.ts"
import { memoryPair } from "../conformance/memoryPair.ts"
import { type Ready, setUp, waiting } from "../conformance/Pair.ts"
import * as FaultyDatabase from "../support/FaultyDatabase.ts"

const all = { batchRowsMax: 1000 }

const push = (ready: Ready, table: SyncedTable, phase: Phase = "upserts", to?: Database): Route => ({
  from: ready.replit.database,
  to: to ?? ready.external.database,
  table,
  phase
})

/** Runs with a clock that goes on, because losing a race is followed by a short pause. */
const running = <A, E>(program: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(program)
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.join(fiber)
  })

const contended = (reason: Contended["reason"]) =>
  new Contended({ side: "external", message: "busy", sqlState: null, reason })

/** Fails the first calls of a verb with these, before or after their effect, and notes what was called. */
const failing = (
  database: Database,
  verb: string,
  errors: ReadonlyArray<SyncError>,
  when: "before" | "after" = "before"
) => {
  const calls: Array<string> = []
  const left = [...errors]
  const fail = (call: FaultyDatabase.Call, now: "before" | "after") =>
    Effect.suspend((): Effect.Effect<void, SyncError> => {
      if (now === "before") calls.push(call.verb)
      return call.verb === verb && now === when ? left.shift() ?? Effect.void : Effect.void
    })
  const faults = {
    before: (call: FaultyDatabase.Call) => fail(call, "before"),
    after: (call: FaultyDatabase.Call) => fail(call, "after")
  }
  return { calls, database: FaultyDatabase.make(database, faults) }
}

const insert = (ready: Ready, ids: ReadonlyArray<string>) =>
  Effect.forEach(ids, (id) => ready.replit.app.insert(ready.perfis.name, { id }), { discard: true })

const idsThere = (ready: Ready) =>
  Effect.map(ready.external.app.rows(ready.perfis.name), (rows) => rows.map(({ id }) => id))

describe("propagate", () => {
  it.scoped("moves everything in batches of the size asked for, and a second pass moves nothing", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* insert(ready, ["a", "b", "c", "d", "e"])
      const { calls, database } = failing(ready.external.database, "none", [])
      const first = yield* propagate(push(ready, ready.perfis, "upserts", database), { batchRowsMax: 2 })
      assert.deepInclude(first, { inserted: 5, updated: 0, deleted: 0, conflicts: 0, refused: [], cutShort: false })
      assert.isAbove(first.bytes, 0)
      assert.deepStrictEqual(calls, ["apply", "apply", "apply"])
      assert.deepStrictEqual(yield* idsThere(ready), ["a", "b", "c", "d", "e"])
      const second = yield* propagate(push(ready, ready.perfis), all)
      assert.deepInclude(second, { inserted: 0, bytes: 0 })
    }))

  it.scoped("leaves a row that is refused pending, and moves all others around it", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* ready.external.app.insert(ready.perfis.name, { id: "x", email: "same" })
      yield* insert(ready, ["a", "b", "d", "e", "f"])
      yield* ready.replit.app.insert(ready.perfis.name, { id: "c", email: "same" })
      const moved = yield* propagate(push(ready, ready.perfis), all)
      assert.strictEqual(moved.inserted, 5)
      assert.deepStrictEqual(moved.refused.map(({ error, key }) => [key, error.sqlState, error.blockedBy]), [
        [["c"], "23505", ["x"]]
      ])
      assert.deepStrictEqual(yield* waiting(ready.replit, ready.perfis), ["c"])
      assert.deepStrictEqual(yield* idsThere(ready), ["a", "b", "d", "e", "f", "x"])
    }))

  it.scoped("gives up a pass after a hundred refused rows, and says so", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      for (let id = 0; id < 120; id++) {
        yield* ready.replit.app.insert(ready.notas.name, { id: `${id}`, texto: "proibido" })
      }
      const moved = yield* propagate(push(ready, ready.notas), all)
      assert.isTrue(moved.cutShort)
      assert.lengthOf(moved.refused, 100)
      assert.lengthOf(yield* waiting(ready.replit, ready.notas), 120)
    }))

  it.scoped("judges a batch again that lost a race for a key", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* insert(ready, ["a"])
      const races = [contended("key-race"), contended("deadlock"), contended("serialization")]
      const { calls, database } = failing(ready.external.database, "apply", races)
      const moved = yield* running(propagate(push(ready, ready.perfis, "upserts", database), all))
      assert.strictEqual(moved.inserted, 1)
      assert.deepStrictEqual(calls, ["apply", "apply", "apply", "apply"])
    }))

  it.scoped("does not race for ever", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* insert(ready, ["a"])
      const races = Array.from({ length: 100 }, () => contended("key-race"))
      const { calls, database } = failing(ready.external.database, "apply", races)
      const error = yield* Effect.flip(running(propagate(push(ready, ready.perfis, "upserts", database), all)))
      assert.strictEqual(error._tag, "Contended")
      assert.isBelow(calls.length, 10)
      assert.deepStrictEqual(yield* waiting(ready.replit, ready.perfis), ["a"])
    }))

  it.scoped("makes batches smaller that run into a time-out, down to one row", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* insert(ready, ["a", "b", "c", "d", "e"])
      const slow = failing(ready.external.database, "apply", [
        contended("statement-timeout"),
        contended("statement-timeout")
      ])
      const moved = yield* running(propagate(push(ready, ready.perfis, "upserts", slow.database), { batchRowsMax: 16 }))
      assert.strictEqual(moved.inserted, 5)
      const never = failing(
        ready.external.database,
        "apply",
        Array.from({ length: 100 }, () => contended("statement-timeout"))
      )
      yield* insert(ready, ["f", "g"])
      const tired = yield* running(propagate(push(ready, ready.perfis, "upserts", never.database), all))
      assert.deepStrictEqual(tired.refused.map(({ error, key }) => [key, error.sqlState]), [
        [["f"], "57014"],
        [["g"], "57014"]
      ])
      assert.match(tired.refused[0]!.error.message, /too large/)
    }))

  it.scoped("gives a row that runs into a time-out alone a minute, before it is refused and the others go on", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* insert(ready, ["a", "b"])
      const asked: Array<unknown> = []
      const { database } = failing(
        ready.external.database,
        "apply",
        Array.from({ length: 3 }, () => contended("statement-timeout"))
      )
      const watched: Database = {
        ...database,
        apply: (table, claim, options) => {
          asked.push([claim.rows, options.patient])
          return database.apply(table, claim, options)
        }
      }
      const moved = yield* running(propagate(push(ready, ready.perfis, "upserts", watched), { batchRowsMax: 2 }))
      assert.deepStrictEqual(asked, [[2, false], [1, false], [1, true], [1, false]])
      assert.deepStrictEqual([moved.inserted, moved.refused.map(({ key }) => key)], [1, [["a"]]])
    }))

  it.scoped("goes on without rows that the app has locked, which stay pending", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      const { external, perfis, replit } = ready
      yield* insert(ready, ["a", "b", "c"])
      yield* propagate(push(ready, perfis), all)
      for (const id of ["a", "b", "c"]) yield* replit.app.update(perfis.name, [id], { nome: "new" })
      const open = yield* external.app.begin
      yield* open.update(perfis.name, ["b"], { nome: "theirs" })
      const moved = yield* running(propagate(push(ready, perfis), all))
      assert.deepInclude(moved, { updated: 2, refused: [] })
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b"])
      yield* open.rollback
      assert.deepInclude(yield* propagate(push(ready, perfis), all), { updated: 1 })
    }))

  it.scoped("goes on without a row that the app is inserting too, in a transaction left open", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      const { external, perfis, replit } = ready
      const open = yield* external.app.begin
      yield* open.insert(perfis.name, { id: "b", nome: "theirs" })
      yield* insert(ready, ["a", "b", "c", "d", "e"])
      const moved = yield* running(propagate(push(ready, perfis), all))
      assert.deepInclude(moved, { inserted: 4, refused: [] })
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b"])
      const again = yield* running(propagateKeys(push(ready, perfis), [["a"], ["b"]]))
      assert.deepInclude(again, { inserted: 0, refused: [] })
      yield* open.commit
      // Now it is an ordinary conflict, and a tie.
      assert.deepInclude(yield* propagate(push(ready, perfis), all), { inserted: 0, updated: 1, conflicts: 1 })
      assert.deepStrictEqual(yield* waiting(replit, perfis), [])
    }))

  it.scoped("a lost answer to the acknowledgement, or to the apply, moves nothing twice", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      const lost = new Unavailable({ side: "replit", message: "lost", sqlState: null, slow: false })
      yield* insert(ready, ["a", "b"])
      const source = failing(ready.replit.database, "acknowledge", [lost], "after")
      const target = failing(ready.external.database, "apply", [lost], "after")
      const through = { ...push(ready, ready.perfis), from: source.database, to: target.database }
      assert.strictEqual((yield* Effect.flip(propagate(through, { batchRowsMax: 1 })))._tag, "Unavailable")
      assert.deepStrictEqual(yield* waiting(ready.replit, ready.perfis), ["a", "b"])
      assert.strictEqual((yield* Effect.flip(propagate(through, { batchRowsMax: 1 })))._tag, "Unavailable")
      assert.deepStrictEqual(yield* waiting(ready.replit, ready.perfis), ["b"])
      assert.deepInclude(yield* propagate(through, all), { inserted: 1, updated: 0, conflicts: 0 })
      assert.deepStrictEqual(yield* waiting(ready.replit, ready.perfis), [])
    }))

  it.scoped("ends although the app goes on writing, and leaves what came meanwhile to the next pass", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* insert(ready, ["000", "001", "002"])
      const added = yield* Ref.make(2)
      const database = FaultyDatabase.make(ready.external.database, {
        before: () => Effect.void,
        after: ({ verb }) =>
          Effect.gen(function*() {
            if (verb !== "apply") return
            const number = yield* Ref.updateAndGet(added, (sum) => sum + 1)
            yield* Effect.orDie(insert(ready, [String(number).padStart(3, "0")]))
          })
      })
      const moved = yield* propagate(push(ready, ready.perfis, "upserts", database), { batchRowsMax: 2 })
      assert.strictEqual(moved.inserted, 3)
      assert.deepStrictEqual(yield* waiting(ready.replit, ready.perfis), ["003", "004"])
    }))

  it.scoped("claims the next batch while the target merges the one before, and merges them in order", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* insert(ready, ["a", "b", "c", "d"])
      const [claims, applies] = [yield* Ref.make(0), yield* Ref.make(0)]
      const claimedAhead = yield* Deferred.make<void>()
      const from = FaultyDatabase.make(ready.replit.database, {
        before: () => Effect.void,
        after: ({ verb }) =>
          Effect.gen(function*() {
            if (verb === "claim" && (yield* Ref.updateAndGet(claims, (sum) => sum + 1)) === 2) {
              yield* Deferred.succeed(claimedAhead, undefined)
            }
          })
      })
      const to = FaultyDatabase.make(ready.external.database, {
        before: ({ verb }) =>
          Effect.gen(function*() {
            // The first waits until the second was claimed; the second then is staged, and must not go in before.
            if (verb !== "apply" || (yield* Ref.updateAndGet(applies, (sum) => sum + 1)) !== 1) return
            yield* Deferred.await(claimedAhead)
            for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow()
            assert.deepStrictEqual(yield* idsThere(ready), [])
          }),
        after: () => Effect.void
      })
      const moved = yield* propagate({ ...push(ready, ready.perfis, "upserts", to), from }, { batchRowsMax: 2 })
      assert.strictEqual(moved.inserted, 4)
      assert.deepStrictEqual(yield* waiting(ready.replit, ready.perfis), [])
    }))

  it.scoped("promise 9: a batch that has to be judged again discards what was read ahead of it", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* insert(ready, ["a", "b", "c", "d"])
      const calls: Array<string> = []
      const from = FaultyDatabase.make(ready.replit.database, {
        before: ({ verb }) => Effect.sync(() => calls.push(verb)),
        after: () => Effect.void
      })
      const to = FaultyDatabase.make(ready.external.database, {
        before: ({ verb }) =>
          Effect.gen(function*() {
            if (verb !== "apply" || calls.includes("raced")) return
            for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow()
            // By now the second batch, c and d, is read. One more row makes the first one end at another key.
            yield* Effect.orDie(insert(ready, ["aa"]))
            calls.push("raced")
            return yield* contended("key-race")
          }),
        after: () => Effect.void
      })
      const through = { ...push(ready, ready.perfis, "upserts", to), from }
      const moved = yield* running(propagate(through, { batchRowsMax: 2 }))
      assert.deepInclude(moved, { inserted: 5, updated: 0, refused: [] })
      assert.deepStrictEqual(yield* idsThere(ready), ["a", "aa", "b", "c", "d"])
      assert.deepStrictEqual(yield* waiting(ready.replit, ready.perfis), [])
      assert.lengthOf(calls.slice(0, calls.indexOf("raced")).filter((verb) => verb === "claim"), 2)
    }))

  it.scoped("finishes the batch in hand when it is interrupted", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* insert(ready, ["a", "b"])
      const [started, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const database = FaultyDatabase.make(ready.external.database, {
        before: () => Effect.zipRight(Deferred.succeed(started, undefined), Deferred.await(goOn)),
        after: () => Effect.void
      })
      const fiber = yield* Effect.fork(propagate(push(ready, ready.perfis, "upserts", database), { batchRowsMax: 1 }))
      yield* Deferred.await(started)
      const stop = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* Effect.yieldNow()
      yield* Deferred.succeed(goOn, undefined)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.join(stop)))
      assert.deepStrictEqual(yield* idsThere(ready), ["a"])
      assert.deepStrictEqual(yield* waiting(ready.replit, ready.perfis), ["b"])
    }))
})

describe("propagateKeys", () => {
  it.scoped("tries exactly the keys given, and tells which of them are refused", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(memoryPair)
      yield* ready.external.app.insert(ready.perfis.name, { id: "x", email: "same" })
      yield* insert(ready, ["a", "b", "d"])
      yield* ready.replit.app.insert(ready.perfis.name, { id: "c", email: "same" })
      const moved = yield* propagateKeys(push(ready, ready.perfis), [["a"], ["c"], ["d"], ["gone"]])
      assert.strictEqual(moved.inserted, 2)
      assert.deepStrictEqual(moved.refused.map(({ key }) => key), [["c"]])
      assert.deepStrictEqual(yield* waiting(ready.replit, ready.perfis), ["b", "c"])
      assert.deepInclude(yield* propagateKeys(push(ready, ready.perfis, "deletes"), [["b"]]), { inserted: 0 })
    }))
})
