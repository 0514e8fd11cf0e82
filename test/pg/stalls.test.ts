/** Networks that fall silent (no error, no end, only no answer), and how long the app waits for us then and otherwise. */
import { assert, layer } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Scope, Stream } from "effect"
import { resolve } from "../../src/programs/resolve.ts"
import * as PgSession from "../../src/services/pg/PgSession.ts"
import { PgPair, synced, targetOf } from "../support/PgPair.ts"
import * as Proxy from "../support/Proxy.ts"

/** A session with external behind a proxy, with a transaction open; statements may take 200 ms, and 300 on the way. */
const session = Effect.gen(function*() {
  const { external } = yield* PgPair
  const proxy = yield* Proxy.make(external)
  const pg = yield* PgSession.make(targetOf("external", proxy.url), { grace: "300 millis" })
  return { proxy, pg, begin: pg.begin({ statementTimeoutMs: 200 }) }
})

const took = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(self), ([duration, value]) => [Duration.toMillis(duration), value] as const)

layer(PgPair.layer, { excludeTestServices: true })("a network or a lock that we wait for", (it) => {
  it.scoped("a silent network is noticed by every statement, with the side and what to look at, and the next try has a new connection", () =>
    Effect.gen(function*() {
      const { begin, pg, proxy } = yield* session
      const chunks = Stream.fromIterable(["1\n", "2\n"]).pipe(Stream.map((text) => new TextEncoder().encode(text)))
      const attempts = {
        statement: (tx: PgSession.Transaction) => tx.query("select 1"),
        script: (tx: PgSession.Transaction) => tx.script(["select 1"]),
        "copy to": (tx: PgSession.Transaction) => Stream.runDrain(tx.copyTo("copy (select 1) to stdout")),
        "copy from": (tx: PgSession.Transaction) => tx.copyFrom("copy pg_temp.palco from stdin", chunks),
        commit: (tx: PgSession.Transaction) => tx.commit()
      }
      for (const [name, attempt] of Object.entries(attempts)) {
        // As a batch is: it can't be interrupted, and its end rolls back.
        const [ms, error] = yield* took(Effect.uninterruptible(Effect.flip(Effect.scoped(Effect.gen(function*() {
          const tx = yield* begin
          yield* tx.query("create temporary table palco (n integer) on commit drop")
          yield* proxy.stall
          return yield* attempt(tx)
        })))))
        assert.isBelow(ms, 3_000, name)
        assert.deepInclude(error, { _tag: "Unavailable", side: "external" }, name)
        assert.match(error.message, /The external database \(127\.0\.0\.1\) hangs, or .* no answer for \d s/, name)
        assert.strictEqual(/nobody knows whether/.test(error.message), name === "commit", name)
        yield* proxy.resume
        assert.deepStrictEqual(yield* pg.query("select 1 as n"), [{ n: "1" }], name)
      }
    }))

  it.scoped("a silent network holds up no rollback", () =>
    Effect.gen(function*() {
      const { begin, proxy } = yield* session
      const scope = yield* Scope.make()
      yield* Scope.extend(begin, scope)
      yield* proxy.stall
      const [ms] = yield* took(Effect.uninterruptible(Scope.close(scope, Exit.void)))
      assert.isBelow(ms, 3_000)
    }))

  it.scoped("the app waits for a lock that set-up waits for no longer than lock_timeout, 2 seconds", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer primary key, a text, updated_at timestamptz)", {
        started: false
      })
      const [open, app] = yield* Effect.all([sync.external.connect, sync.external.connect])
      yield* open.query("begin; insert into notas values (1, 'a', now())")
      const cycle = yield* Effect.fork(sync.cycle)
      yield* sync.external.serviceWaits
      const [ms] = yield* took(app.query("insert into notas values (2, 'b', now())"))
      assert.isBelow(ms, 3_500)
      yield* open.query("commit")
      yield* cycle.await
      yield* sync.cycle
      assert.deepStrictEqual(yield* sync.replit.rows("notas"), yield* sync.external.rows("notas"))
    }))

  it.scoped("promise 9: a silent network keeps the app from its rows for 5 seconds at most, in the middle of a batch", () =>
    Effect.gen(function*() {
      const direct = yield* PgPair
      const proxy = yield* Proxy.make(direct.replit)
      const sync = yield* synced("create table notas (id integer primary key, a text, updated_at timestamptz)").pipe(
        Effect.provideService(PgPair, { ...direct, replit: proxy.url })
      )
      yield* sync.replit.query("insert into notas values (1, 'r', '2024-01-01')")
      yield* sync.cycle
      yield* sync.replit.query("update notas set a = 'rr', updated_at = '2024-01-02'")
      yield* sync.external.query("update notas set a = 'ee', updated_at = '2024-01-03'")
      const table = yield* sync.table("notas")
      const app = yield* sync.external.connect
      const applying = yield* Effect.fork(Effect.scoped(Effect.gen(function*() {
        const claim = yield* sync.replit.database.claim(table, {
          _tag: "Next",
          phase: "upserts",
          after: null,
          rows: 10
        })
        // The target locks the row, finds it contested, and asks the source, which is not heard of any more.
        return yield* sync.external.database.apply(table, claim!, {
          judge: resolve(table, "replit"),
          locks: "wait",
          turn: proxy.stall
        })
      })))
      yield* app.query("select from notas where id = 1 for update nowait; select pg_sleep(0.02)").pipe(
        Effect.forever,
        Effect.flip
      )
      const startedMs = yield* Clock.currentTimeMillis
      yield* app.query("update notas set a = 'eee'")
      assert.isBelow((yield* Clock.currentTimeMillis) - startedMs, 6_000)
      yield* proxy.resume
      yield* applying.await
      yield* sync.cycle
      assert.deepStrictEqual(yield* sync.replit.rows("notas"), yield* sync.external.rows("notas"))
    }))
})
