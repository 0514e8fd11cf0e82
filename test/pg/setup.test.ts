import { NodeContext } from "@effect/platform-node"
import { assert, it, layer } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { opposite, sides } from "../../src/domain/Side.ts"
import { setup } from "../../src/programs/setup.ts"
import type { Identity } from "../../src/services/Database.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import { catalogDump } from "../support/catalogDump.ts"
import { alone, assertConverged, moved, nothing, perfis, PgPair, synced, targetOf, uuid } from "../support/PgPair.ts"
import { freshDatabase, query } from "../support/TestPostgres.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz);"
const strictly = setup({ createMissing: false, strict: true })

/** The message that a program is refused with. */
const refusal = <A, R>(program: Effect.Effect<A, { readonly _tag: string; readonly message: string }, R>) =>
  Effect.map(Effect.flip(program), (error) => {
    assert.strictEqual(error._tag, "ActionNeeded", error.message)
    return error.message
  })

const fresh = (ddl: Parameters<typeof synced>[0] = perfis) =>
  synced(ddl, { schema: "public", started: false }).pipe(alone)

it.scopedLive("set-up is idempotent: a second one leaves every object as it is", () =>
  Effect.gen(function*() {
    const sync = yield* fresh()
    yield* sync.run(strictly)
    const before = yield* Effect.all(sides.map((side) => catalogDump(sync[side].query)))
    const rows = () => sync.replit.query("select xmin::text, ctid::text from vaivem.tables")
    const remembered = yield* rows()
    const again = yield* sync.run(strictly)
    assert.isNull(again.tables[0]!.reconciled)
    assert.deepStrictEqual(yield* Effect.all(sides.map((side) => catalogDump(sync[side].query))), before)
    assert.deepStrictEqual(yield* rows(), remembered)
  }))

it.scopedLive("20 installs at once are fine, and so are several first runs", () =>
  Effect.gen(function*() {
    const sync = yield* fresh()
    const target = targetOf("external", sync.external.url)
    const installs = yield* Effect.forEach(
      Array.from({ length: 20 }),
      () => Effect.scoped(Effect.flatMap(PgDatabase.make(target), ({ install }) => Effect.either(install))),
      { concurrency: 20 }
    ).pipe(Effect.provide(NodeContext.layer))
    assert.deepStrictEqual(installs.filter(({ _tag }) => _tag === "Left"), [])
    yield* sync.replit.query("insert into perfis (nome) values ('a')")
    yield* Effect.all([sync.cycle, sync.cycle, sync.cycle], { concurrency: 3 })
    yield* assertConverged(sync)
  }))

it.scopedLive("a schema named vaivem that isn't ours is refused and left alone", () =>
  Effect.gen(function*() {
    const sync = yield* fresh()
    yield* sync.external.query("create schema vaivem; create table vaivem.pairs (id integer)")
    const before = yield* catalogDump(sync.external.query)
    assert.match(yield* refusal(sync.run(strictly)), /external database has a schema "vaivem"/)
    assert.deepStrictEqual(yield* catalogDump(sync.external.query), before)
  }))

it.scopedLive("something else of the changelog's name is refused and left alone", () =>
  Effect.gen(function*() {
    for (
      const foreign of [
        "create table perfis_changelog (id integer primary key, what text)",
        "create view perfis_changelog as select 1 as synced",
        "create sequence perfis_changelog"
      ]
    ) {
      const sync = yield* fresh()
      yield* sync.replit.query(foreign)
      assert.match(yield* refusal(sync.run(strictly)), /perfis_changelog exists already/)
      const triggers = "select tgname from pg_trigger where tgrelid = 'perfis'::regclass and not tgisinternal"
      assert.deepStrictEqual(yield* sync.replit.query(triggers), [])
    }
  }))

it.scopedLive("promise 13: the same database twice is found, however the URLs differ", () =>
  Effect.gen(function*() {
    const sync = yield* fresh()
    const other = new URL(Redacted.value(sync.replit.url))
    other.hostname = other.hostname === "127.0.0.1" ? "localhost" : "127.0.0.1"
    for (const url of [sync.replit.url, Redacted.make(other.href)]) {
      const external = yield* Effect.provide(PgDatabase.make(targetOf("external", url)), NodeContext.layer)
      const found = yield* refusal(sync.run(Effect.provideService(strictly, ExternalDb, external)))
      assert.match(found, /same database/)
    }
    assert.deepStrictEqual(
      yield* sync.replit.query("select from pg_namespace where nspname = 'vaivem'"),
      []
    )
  }))

it.scopedLive("promise 13: swapped URLs and a second peer are refused, with the way out", () =>
  Effect.gen(function*() {
    const sync = yield* fresh()
    yield* sync.cycle
    const both = yield* Effect.all({
      replit: PgDatabase.make(targetOf("replit", sync.external.url)),
      external: PgDatabase.make(targetOf("external", sync.replit.url))
    }).pipe(Effect.provide(NodeContext.layer))
    const swap = sync.run(strictly.pipe(
      Effect.provideService(ExternalDb, both.external),
      Effect.provideService(ReplitDb, both.replit)
    ))
    assert.match(yield* refusal(swap), /swapped/)

    const stranger = yield* freshDatabase
    yield* query(stranger, perfis)
    const third = yield* Effect.provide(PgDatabase.make(targetOf("external", stranger)), NodeContext.layer)
    const second = yield* refusal(sync.run(Effect.provideService(strictly, ExternalDb, third)))
    assert.match(second, /paired with another external database.*teardown/)
    yield* assertConverged(sync)
  }))

it.scopedLive("promise 13: a first pairing that was broken off anywhere goes on", () =>
  Effect.gen(function*() {
    const ids = { replit: uuid(1), external: uuid(2) }
    const identity = (side: "replit" | "external", confirmed: boolean): Identity => ({
      side,
      id: ids[side],
      peer: ids[opposite(side)],
      confirmed
    })
    for (const steps of [1, 2]) {
      const sync = yield* fresh()
      for (const side of sides) yield* sync[side].database.install
      yield* sync.replit.database.identify(identity("replit", false))
      if (steps === 2) yield* sync.external.database.identify(identity("external", true))
      yield* sync.cycle
      for (const side of sides) assert.deepStrictEqual(yield* sync[side].database.identity, identity(side, true))
    }
  }))

it.scopedLive("--create-missing makes the table with its keys, defaults and constraints, and rows follow", () =>
  Effect.gen(function*() {
    const sync = yield* fresh({
      replit: `
        create table "Tabela ""X""" (
          id bigint generated always as identity, "Nome" varchar(40) default 'sem nome' not null, n numeric(10, 2) check (n > 0),
          serie serial, em timestamptz default now(), dobro numeric generated always as (n * 2) stored, unique ("Nome", em),
          primary key (id)
        );
        insert into "Tabela ""X""" ("Nome", n) values ('a', 1), ('b', 2)`,
      external: "select 1"
    })
    assert.match(yield* refusal(sync.run(strictly)), /does not exist in the external database.*--create-missing/)
    const { created } = yield* sync.run(setup({ createMissing: true, strict: true }))
    assert.deepStrictEqual(created.map(({ side }) => side), ["external"])
    assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 2 } })
    yield* assertConverged(sync)
    yield* sync.external.query("insert into \"Tabela \"\"X\"\"\" (id, n) overriding system value values (100, 5)")
    yield* sync.cycle
    yield* assertConverged(sync)
    const refused = yield* Effect.flip(sync.external.query("update \"Tabela \"\"X\"\"\" set n = -1"))
    assert.strictEqual(refused.code, "23514")
  }))

layer(PgPair.layer, { excludeTestServices: true })("first contact", (it) => {
  it.scoped("promise 1: equal rows of two filled databases aren't shipped, and what differs goes by the rule", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      for (const side of sides) {
        yield* sync[side].query("insert into notas select n, 'igual', '2024-01-01' from generate_series(1, 3000) n")
      }
      const first = yield* sync.cycle
      assert.deepStrictEqual({ ...moved(first), bytes: first.push.bytes + first.pull.bytes }, { ...nothing, bytes: 0 })
      yield* assertConverged(sync)
    }))

  it.scoped("promise 6: every overwritten version of a first contact is in the journal", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      for (const side of sides) {
        yield* sync[side].query("insert into notas select n, 'igual', '2024-01-01' from generate_series(1, 200) n")
      }
      yield* sync.replit.query("update notas set a = 'velho r', updated_at = '2023-01-01' where id between 1 and 10")
      yield* sync.external.query("update notas set a = 'velho e', updated_at = '2023-01-01' where id between 11 and 15")
      yield* sync.replit.query("insert into notas values (1000, 'só replit')")
      yield* sync.external.query("insert into notas values (2000, 'só external')")
      assert.deepStrictEqual(moved(yield* sync.cycle), {
        push: { inserted: 1, updated: 5, conflicts: 5 },
        pull: { inserted: 1, updated: 10, conflicts: 10 }
      })
      yield* assertConverged(sync)
      const lost = (side: "replit" | "external") =>
        Effect.map(
          sync[side].database.conflicts({ table: sync.tables[0]!, limit: 99 }),
          (found) => found.map((conflict) => conflict.lost?.["a"])
        )
      assert.deepStrictEqual(yield* lost("replit"), Array.from({ length: 10 }, () => "velho r"))
      assert.deepStrictEqual(yield* lost("external"), Array.from({ length: 5 }, () => "velho e"))
    }))

  for (const empty of sides) {
    it.scoped(`an empty table on ${empty} is filled; it never reads as "everything was deleted"`, () =>
      Effect.gen(function*() {
        const sync = yield* synced(notas, { started: false })
        yield* sync[opposite(empty)].query("insert into notas select n, 'x' from generate_series(1, 50) n")
        yield* sync.cycle
        yield* assertConverged(sync)
        assert.lengthOf(yield* sync[empty].rows("notas"), 50)
      }))
  }

  it.scoped("an app that writes during the first contact loses nothing", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      yield* sync.replit.query("insert into notas select n, 'x', '2024-01-01' from generate_series(1, 2000) n")
      const app = yield* sync.external.connect
      const writes = Effect.forEach(
        Array.from({ length: 30 }, (_, n) => n),
        (n) =>
          app.query("insert into notas values ($1, 'app', now())", [n * 100 + 5_000]).pipe(
            Effect.zipRight(Effect.yieldNow())
          ),
        { discard: true }
      )
      yield* Effect.all([sync.cycle, writes], { concurrency: 2 })
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.lengthOf(yield* sync.replit.rows("notas"), 2030)
    }))
})
