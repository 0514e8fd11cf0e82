/** Which tables are taken: named ones, those of a wildcard, and what is refused by name. */
import { assert, it as alone_, layer } from "@effect/vitest"
import { Effect } from "effect"
import { sides } from "../../src/domain/Side.ts"
import type { SyncError } from "../../src/domain/SyncError.ts"
import { display } from "../../src/domain/TableName.ts"
import { check } from "../../src/programs/check.ts"
import { setup } from "../../src/programs/setup.ts"
import { status } from "../../src/programs/status.ts"
import { alone, assertConverged, moved, nothing, PgPair, synced } from "../support/PgPair.ts"
import { asAdmin, connect, freshRole } from "../support/TestPostgres.ts"

const strictly = setup({ createMissing: false, strict: true })

const refusal = <A, R>(self: Effect.Effect<A, SyncError, R>) =>
  Effect.map(Effect.flip(self), (error) => {
    assert.strictEqual(error._tag, "ActionNeeded")
    return error.message
  })

layer(PgPair.layer, { excludeTestServices: true })("what is refused by name", (it) => {
  for (
    const [what, ddl, words] of [
      ["a view", "create view notas as select 1 as id", /notas in the external database is a view, not a table/],
      [
        "a materialized view",
        "create materialized view notas as select 1 as id",
        /is a materialized view, not a table/
      ],
      [
        "a partition",
        "create table raiz (id integer primary key) partition by list (id); create table notas partition of raiz default",
        /is a partition: name its root table/
      ],
      [
        "a table with heirs",
        "create table notas (id integer primary key); create table filhas () inherits (notas)",
        /takes part in inheritance/
      ],
      [
        "an heir",
        "create table maes (id integer); create table notas (primary key (id)) inherits (maes)",
        /takes part in inheritance/
      ],
      [
        "a table without a primary key",
        "create table notas (id integer)",
        /no primary key.*ALTER TABLE .*notas ADD PRIMARY KEY/
      ],
      [
        "a table whose rows are hidden from its owner",
        "create table notas (id integer primary key); alter table notas enable row level security, force row level security",
        /Row-level security hides rows of .*notas.*ALTER TABLE .*notas NO FORCE ROW LEVEL SECURITY/
      ]
    ] as const
  ) {
    it.scoped(`${what}, with what it is`, () =>
      Effect.gen(function*() {
        const replit = "create table notas (id integer primary key)"
        const sync = yield* synced({ replit, external: ddl }, { started: false, tables: ["notas"] })
        assert.match(yield* refusal(sync.run(strictly)), words)
      }))
  }

  it.scoped("a foreign table, with what it is", () =>
    Effect.gen(function*() {
      const sync = yield* synced({ replit: "create table notas (id integer primary key)", external: "select 1" }, {
        started: false,
        tables: ["notas"]
      })
      const admin = yield* connect(asAdmin(sync.external.url))
      yield* admin.query(
        `create foreign data wrapper nada; create server longe foreign data wrapper nada; create foreign table ${sync.schema}.notas (id integer) server longe`
      )
      assert.match(yield* refusal(sync.run(strictly)), /notas in the external database is a foreign table/)
    }))

  it.scoped("row-level security that is forced later pauses the table, and it goes on when it is lifted", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer primary key)")
      yield* sync.replit.query("alter table notas enable row level security, force row level security")
      assert.match((yield* sync.cycle).paused[0]!.problem, /Row-level security hides rows/)
      yield* sync.replit.query("alter table notas no force row level security; insert into notas values (1)")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 1: a table that another role owns by now is emptied without an error, and waits", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer primary key)")
      yield* sync.replit.query("insert into notas values (1)")
      yield* sync.cycle
      const role = yield* freshRole(sync.replit.url)
      const admin = yield* connect(asAdmin(sync.replit.url))
      yield* admin.query(`grant all on schema ${sync.schema} to ${role.name};
        alter table ${sync.schema}.notas owner to ${role.name}`)
      const app = yield* connect(role.url)
      yield* app.query(`insert into ${sync.schema}.notas values (2)`)
      yield* app.query(`truncate ${sync.schema}.notas`)
      assert.match((yield* sync.cycle).paused[0]!.problem, /may not read .*notas/)
    }))

  it.scoped("two tables of one name in two schemas are two tables", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer primary key, a text)")
      const other = yield* synced("create table notas (id integer primary key, a text)")
      yield* sync.replit.query("insert into notas values (1, 'um')")
      yield* other.external.query("insert into notas values (1, 'outro')")
      yield* sync.cycle
      yield* other.cycle
      assert.deepStrictEqual(yield* sync.external.rows("notas"), ["(1,um)"])
      assert.deepStrictEqual(yield* other.replit.rows("notas"), ["(1,outro)"])
    }))
})

const wildcard = (ddl: Parameters<typeof synced>[0]) => {
  const schema = "public"
  return synced(ddl, {
    schema,
    tables: [],
    started: false,
    settings: { schemas: [schema], excluded: { names: [{ schema, name: "sessoes" }], schemas: [] } }
  })
}

const a = "create table a (id integer primary key); create table b (id integer primary key, a integer references a);"

alone_.scopedLive(
  "SYNC_TABLES=* takes in what both sides have, tells what it passes over, and finds what is made later",
  () =>
    alone(Effect.gen(function*() {
      const sync = yield* wildcard({
        replit: `${a} create table sessoes (id integer primary key); create table sem_chave (id integer);
        create table _prisma_migrations (id integer primary key); create table so_aqui (id integer primary key, t text);
        create unlogged table cache (id integer primary key);
        create table c (id integer primary key) partition by range (id); create table c_1 partition of c default`,
        external: `${a} create table sessoes (id integer primary key); create table sem_chave (id integer);
        create table _prisma_migrations (id integer primary key); create unlogged table cache (id integer primary key);
        create table c (id integer primary key)`
      })
      const first = yield* sync.cycle
      const set = (report: typeof first) => report.setUp.map(({ table }) => display(table.name))
      assert.deepStrictEqual(set(first), ["a", "b", "c"])
      assert.match(first.warnings.join("\n"), /Table cache is unlogged.*on Replit and is unlogged/)
      assert.match(
        first.warnings.join("\n"),
        /Table sem_chave has no primary key on Replit and has no primary key on external/
      )
      assert.match(first.warnings.join("\n"), /Table so_aqui is only on Replit.*--create-missing/)
      assert.lengthOf(first.warnings, 3)
      yield* sync.replit.query("insert into a values (1); insert into b values (1, 1); insert into sessoes values (1)")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 2 } })
      assert.strictEqual((yield* sync.cycle).outcome, "idle")

      for (const side of sides) yield* sync[side].query("create table nova (id integer primary key)")
      yield* sync.replit.query("insert into nova values (1); alter table sem_chave add primary key (id)")
      yield* sync.external.query("alter table sem_chave add primary key (id)")
      const later = yield* sync.cycle
      assert.deepStrictEqual(moved(later), { ...nothing, push: { inserted: 1 } })
      assert.strictEqual((yield* sync.cycle).outcome, "idle")

      const { created } = yield* sync.run(setup({ createMissing: true, strict: true }))
      assert.deepStrictEqual(created.map(({ table }) => table.name), ["so_aqui"])
      assert.deepStrictEqual((yield* sync.run(status)).tables.map(({ table }) => table), [
        "a",
        "b",
        "c",
        "nova",
        "sem_chave",
        "so_aqui"
      ])
      yield* sync.cycle

      // What was synced once is not forgotten when it goes.
      yield* sync.external.query("drop table nova; alter table a rename id to chave")
      const gone = yield* sync.cycle
      assert.deepStrictEqual(gone.paused.map(({ table }) => table), ["a", "nova"])
      const found = yield* sync.run(check)
      assert.match(JSON.stringify(found.tables), /Table nova does not exist in the external database/)
    })),
  60_000
)

alone_.scopedLive(
  "SYNC_TABLES=* without any table is refused, and a table that can't be synced doesn't stop the others",
  () =>
    alone(Effect.gen(function*() {
      const sync = yield* wildcard("select 1")
      assert.match(yield* refusal(sync.cycle), /SYNC_TABLES takes in no table/)
      yield* sync.replit.query(
        "create table ruim (id integer primary key, x date); create table boa (id integer primary key)"
      )
      yield* sync.external.query(
        "create table ruim (id integer primary key, x point); create table boa (id integer primary key)"
      )
      const report = yield* sync.cycle
      assert.deepStrictEqual(report.paused.map(({ table }) => table), ["ruim"])
      assert.deepStrictEqual(report.setUp.map(({ table }) => display(table.name)), ["boa"])
    })),
  60_000
)

alone_.scopedLive(
  "SYNC_TABLES=*: a table beside which the changelog's name is taken waits alone",
  () =>
    alone(Effect.gen(function*() {
      const sync = yield* wildcard(
        `create table perfis (id integer primary key); create table outras (id integer primary key);
        create table perfis_changelog (id integer primary key, o_que text)`
      )
      yield* sync.replit.query("insert into outras values (1); insert into perfis_changelog values (1, 'a')")
      const report = yield* sync.cycle
      assert.match(report.paused.map(({ problem }) => problem).join(), /^The .*perfis_changelog exists already/)
      assert.deepStrictEqual(moved(report), { ...nothing, push: { inserted: 2 } })
    })),
  60_000
)
