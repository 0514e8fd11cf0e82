/** What happens to a table, and to what is ours, while the app goes on writing all the time: none of its writes may fail. */
import { assert, it as alone_, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { sides } from "../../src/domain/Side.ts"
import {
  alone,
  assertConverged,
  assertEqual,
  type Member,
  PgPair,
  type Synced,
  synced,
  until
} from "../support/PgPair.ts"
import { asAdmin, query } from "../support/TestPostgres.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz default now());"

/** Writes on two connections of a side until it is stopped. The key is the first column, whatever it is called. */
const writing = Effect.fnUntraced(function*(member: Member) {
  const failed: Array<string> = []
  let written = 0
  const writer = Effect.fnUntraced(function*(mine: string) {
    const app = yield* member.connect
    const statements = [
      `insert into notas values (random() * 200, '${mine}'), (random() * 200, '${mine}') on conflict do nothing`,
      `update notas set a = '${mine}!' where a = '${mine}'`,
      `delete from notas where a = '${mine}!' and random() < 0.4`
    ]
    // Until the first failure: one says enough.
    return yield* Effect.suspend(() => app.query(statements[written++ % statements.length]!)).pipe(
      Effect.forever,
      Effect.catchAll(({ code, message }) => Effect.sync(() => void failed.push(`${code} ${message}`)))
    )
  })
  const fibers = yield* Effect.forEach(["x", "y"], (mine) => Effect.forkScoped(writer(mine)))
  return {
    /** Returns when so many more statements are through. */
    more: (statements: number) =>
      Effect.suspend(() => {
        const enough = written + statements
        return until(Effect.sync(() => written >= enough || failed.length > 0))
      }),
    stop: Effect.zipRight(Fiber.interruptAll(fibers), Effect.sync(() => assert.deepStrictEqual(failed, [])))
  }
})

/** A table with rows on both sides, and an app that writes on Replit while `meanwhile` happens; then all is equal. */
const survives = Effect.fnUntraced(function*(
  meanwhile: (sync: Synced, more: (statements: number) => Effect.Effect<void>) => Effect.Effect<void, unknown>,
  ddl = notas
) {
  const sync = yield* synced(ddl)
  yield* sync.replit.query("insert into notas select n + 1000, 'antes' from generate_series(1, 20) n")
  yield* sync.cycle
  const { more, stop } = yield* writing(sync.replit)
  yield* more(10)
  yield* meanwhile(sync, more)
  yield* more(10)
  yield* sync.cycle
  yield* more(10)
  yield* stop
  for (let n = 0; n < 3; n++) yield* sync.cycle
  yield* assertConverged(sync)
})

/**
 * Drops the schema as a superuser who waits longer than the app. It takes its locks in the order opposite to the app's, so
 * that one of them loses a deadlock. Of two that wait equally long it was the drop, 20 times in a row with two busy
 * writers; what is tested here is that the app's write can lose it, and doesn't fail. A server looks for a deadlock once in a
 * wait: where the write has done so before there was one, it is the drop that loses, and has to be done again.
 */
const dropOurs = ({ url }: Member) =>
  query(asAdmin(url), "set deadlock_timeout = '5s'; drop schema vaivem cascade; select pg_sleep(0.1)").pipe(
    Effect.retry({ times: 8, while: ({ code }) => code === "40P01" })
  )

const ours = (sync: Synced, what: string) => `vaivem."${sync.schema}.notas_${what}"`

layer(PgPair.layer, { excludeTestServices: true })("the app writes all the time, and no write fails", (it) => {
  for (
    const [what, damage] of [
      [
        "the queue is dropped, in a transaction that takes its time",
        (sync: Synced) => `drop table ${ours(sync, "pending")} cascade; select pg_sleep(0.2)`
      ],
      [
        "the queue and the table are locked in the order that ends in a deadlock",
        (sync: Synced) =>
          `begin; drop table ${ours(sync, "pending")} cascade; select pg_sleep(0.1); lock table notas; commit`
      ],
      [
        "the queue is locked in that order, and nothing is dropped in the end",
        (sync: Synced) =>
          `begin; drop table ${ours(sync, "pending")} cascade; select pg_sleep(0.1); lock table notas; rollback`
      ],
      ["the history is dropped", (sync: Synced) => `drop table ${ours(sync, "history")} cascade`],
      [
        "the triggers are dropped",
        () =>
          "drop trigger vaivem_capture_insert on notas; drop trigger vaivem_capture_update on notas; drop trigger vaivem_capture_delete on notas"
      ],
      ["the triggers' function is dropped", (sync: Synced) => `drop function ${ours(sync, "capture")}() cascade`],
      ["all triggers are disabled", () => "alter table notas disable trigger user"],
      [
        "the stamp column is dropped and made again",
        () => "alter table notas drop updated_at; alter table notas add updated_at timestamptz default now()"
      ],
      ["the rows are rewritten by ALTER … USING", () => "alter table notas alter a type text using a || '?'"]
    ] as const
  ) {
    it.scoped(`promise 1: ${what}`, () =>
      survives(Effect.fnUntraced(function*(sync, more) {
        yield* sync.replit.query(damage(sync)).pipe(
          Effect.catchIf(({ code }) => code === "40P01", () => sync.replit.query("rollback"))
        )
        yield* more(10)
        yield* sync.cycle
      })))
  }

  for (
    const [what, change] of [
      ["a key column is renamed", "alter table notas rename id to chave"],
      ["a key column is retyped", "alter table notas alter id type bigint"],
      ["a key column is retyped to text", "alter table notas alter id type text"],
      ["a column is renamed", "alter table notas rename updated_at to quando"],
      [
        "the stamp column is retyped to what no time can be",
        "alter table notas alter updated_at drop default, alter updated_at type bigint using 1"
      ],
      [
        "the stamp column is retyped to what can't be compared",
        "alter table notas alter updated_at drop default, alter updated_at type json using '{}'"
      ],
      [
        "a column that must be filled is added",
        "alter table notas add b text not null default 'x'; alter table notas alter b drop default"
      ],
      ["a column is dropped", "alter table notas drop updated_at"]
    ] as const
  ) {
    it.scoped(`promise 14: ${what}, here first and there later`, () =>
      survives(Effect.fnUntraced(function*(sync, more) {
        // Should the column be filled, the app does it.
        yield* sync.replit.query(change.replace("alter table notas alter b drop default", "select 1"))
        yield* more(10)
        yield* sync.cycle
        yield* more(10)
        yield* sync.external.query(change.replace("alter table notas alter b drop default", "select 1"))
        yield* more(10)
        yield* sync.cycle
      })))
  }

  it.scoped("promise 14: the table is renamed, its name is a view for a while, and it is renamed back", () =>
    survives(Effect.fnUntraced(function*(sync, more) {
      yield* sync.replit.query(
        "begin; alter table notas rename to outras; create view notas as select * from outras; commit"
      )
      yield* more(10)
      const report = yield* sync.cycle
      assert.match(report.paused[0]!.problem, /notas in the Replit database is a view/)
      yield* more(10)
      yield* sync.replit.query("begin; drop view notas; alter table outras rename to notas; commit")
    })))

  it.scoped("promise 14: another table takes the name, and what is written to the old one is logged for neither", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      yield* sync.replit.query("insert into notas values (1, 'a'), (2, 'b'), (3, 'c')")
      yield* sync.cycle
      yield* sync.replit.query(
        "update notas set a = 'B' where id = 2; alter table notas rename to antigas; create table notas (like antigas including all); delete from antigas"
      )
      yield* sync.cycle
      yield* sync.replit.query("insert into antigas (id, a) values (3, 'x'); delete from antigas")
      yield* sync.cycle
      assert.lengthOf(yield* sync.external.rows("notas"), 3)
      yield* assertConverged(sync)
    }))
})

alone_.scopedLive(
  "promise 1: the schema vaivem is dropped on both sides while the app writes",
  () =>
    alone(survives(Effect.fnUntraced(function*(sync, more) {
      for (const side of sides) {
        yield* dropOurs(sync[side])
      }
      yield* more(10)
      yield* sync.cycle
    }))),
  60_000
)

alone_.scopedLive(
  "promise 13: the schema vaivem is dropped on one side: no write fails, and teardown is the way on",
  () =>
    alone(Effect.gen(function*() {
      const sync = yield* synced(notas)
      const { more, stop } = yield* writing(sync.replit)
      yield* more(10)
      yield* sync.cycle
      yield* dropOurs(sync.replit)
      yield* more(10)
      assert.match((yield* Effect.flip(sync.cycle)).message, /is paired with another Replit database.*teardown --yes/)
      yield* sync.external.database.uninstall
      yield* sync.cycle
      yield* more(10)
      yield* stop
      for (let n = 0; n < 3; n++) yield* sync.cycle
      yield* assertEqual(sync)
      yield* assertConverged(sync)
    })),
  60_000
)
