import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import * as Copy from "pg-copy-streams"
import { alone, assertConverged, moved, nothing, perfis, PgPair, type Synced, synced } from "../support/PgPair.ts"
import { asAdmin, connect, freshRole } from "../support/TestPostgres.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz);"

/** Rows of the queue by name of the operation. */
const counts = (sync: Synced, table = "notas") =>
  Effect.map(sync.replit.pending(table), (changes) => {
    const found: Record<string, number> = {}
    for (const change of changes) {
      const operation = change.split(" ")[0]!
      found[operation] = (found[operation] ?? 0) + 1
    }
    return found
  })

layer(PgPair.layer, { excludeTestServices: true })("capture", (it) => {
  it.scoped("promise 1: whatever statement writes a row, it is logged, and each row once", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `${notas} create table fonte (id integer, a text); insert into fonte select n, 'f' from generate_series(1, 4) n;`,
        {
          tables: ["notas"]
        }
      )
      const { query } = sync.replit
      const logged = Effect.fnUntraced(function*(statement: string, expected: Record<string, number>) {
        yield* query(statement)
        assert.deepStrictEqual(yield* counts(sync), expected, statement)
        yield* sync.cycle
        yield* assertConverged(sync)
      })
      yield* logged("insert into notas values (1, 'a'), (2, 'b'), (3, 'c')", { INSERT: 3 })
      yield* logged("insert into notas select id + 10, a from fonte", { INSERT: 4 })
      yield* logged("update notas set a = a || '!' where id < 3", { UPDATE: 2 })
      yield* logged("update notas set a = f.a from fonte f where f.id = notas.id", { UPDATE: 3 })
      yield* logged("update notas set a = 'x' where id = 99", {})
      yield* logged("insert into notas values (1, 'nada') on conflict do nothing", {})
      yield* logged("insert into notas values (1, 'sim'), (4, 'novo') on conflict (id) do update set a = excluded.a", {
        INSERT: 1,
        UPDATE: 1
      })
      yield* logged(
        `merge into notas n using (values (1), (2), (50)) v (id) on n.id = v.id
         when matched and v.id = 1 then delete when matched then update set a = 'merge'
         when not matched then insert values (v.id, 'merge')`,
        { DELETE: 1, UPDATE: 1, INSERT: 1 }
      )
      yield* logged(
        `with apaga as (delete from notas where id = 2 returning *), muda as (update notas set a = 'cte' where id = 3 returning id)
         insert into notas select id + 100, a from apaga`,
        { DELETE: 1, UPDATE: 1, INSERT: 1 }
      )
      yield* logged("delete from notas using fonte f where f.id = notas.id", { DELETE: 2 })
      yield* logged("do $$ begin for i in 60..62 loop insert into notas values (i); end loop; end $$", { INSERT: 3 })
      yield* logged("truncate notas", { TRUNCATE: 9 })
    }))

  it.scoped("promise 1: COPY is logged", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const app = yield* sync.replit.connect
      yield* Effect.promise(() =>
        pipeline(
          Readable.from(["1\ta\t\\N\n", "2\tb\t2024-01-01\n"]),
          app.raw.query(Copy.from("copy notas from stdin"))
        )
      )
      assert.deepStrictEqual(yield* counts(sync), { INSERT: 2 })
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 1: what is rolled back is not logged, wholly or to a savepoint", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      yield* sync.replit.query("begin; insert into notas values (1); rollback")
      yield* sync.replit.query(
        "begin; insert into notas values (2); savepoint s; insert into notas values (3); rollback to s; commit"
      )
      assert.deepStrictEqual(yield* sync.replit.pending("notas"), ["INSERT 2"])
    }))

  it.scoped("promise 1: a change is timed when it is made, not when its transaction began", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      yield* sync.replit.query(
        "begin; insert into notas values (1); select pg_sleep(0.01); update notas set a = 'b'; commit"
      )
      const [row] = yield* sync.replit.query(
        "select count(distinct changed_at) as times, max(changed_at) > max(changed_at - interval '1 ms') as later from notas_changelog"
      )
      assert.deepStrictEqual(row, { times: 2, later: true })
    }))

  it.scoped("promise 1: bulk writes of 100,000 rows stay linear, changed keys too", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer primary key, a text)")
      const { query } = sync.replit
      // The functions' plans are made for small statements first.
      for (let n = 1; n < 8; n++) yield* query("insert into notas values ($1); ".replace("$1", `${-n}`))
      yield* query("update notas set a = 'x'; update notas set id = id - 100; delete from notas")
      const timed = Effect.fnUntraced(function*(statement: string) {
        const [time] = yield* Effect.timed(query(statement))
        assert.isBelow(Number(time.value._tag === "Millis" ? time.value.millis : 0n), 30_000, statement)
      })
      yield* timed("insert into notas select n, 'a' from generate_series(1, 100000) n")
      yield* timed("update notas set a = 'b'")
      yield* timed("update notas set id = id + 1000000")
      yield* timed("delete from notas where id % 2 = 0")
      yield* timed("truncate notas")
      assert.deepInclude(
        yield* query("select count(*) as n from notas_changelog").pipe(Effect.map((rows) => rows[0])),
        {
          n: 14 + 14 + 7 + 100_000 * 4 + 50_000 * 2
        }
      )
    }), 120_000)

  it.scoped("promise 1: an app role that owns nothing of ours writes, and is captured", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const role = yield* freshRole(sync.replit.url)
      yield* sync.replit.query(
        `grant usage on schema ${sync.schema} to ${role.name}; grant all on notas to ${role.name}`
      )
      const app = yield* connect(role.url)
      const t = `${sync.schema}.notas`
      yield* app.query(
        `insert into ${t} values (1, 'a'), (2, 'b'), (3, 'c'); update ${t} set id = 30 where id = 3; update ${t} set a = 'x' where id = 1; delete from ${t} where id = 2`
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 2 } })
      yield* assertConverged(sync)
      yield* app.query(`truncate ${t}`)
      yield* sync.cycle
      yield* assertConverged(sync)
      for (const hidden of ["select from vaivem.pairs", `select from ${t}_changelog`, "select vaivem.stem('a', 'b')"]) {
        assert.strictEqual((yield* Effect.flip(app.query(hidden))).code, "42501", hidden)
      }
    }))

  it.scoped("promise 3: no app role can hide a change by forging the mark", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const role = yield* freshRole(sync.replit.url)
      yield* sync.replit.query(
        `grant usage on schema ${sync.schema} to ${role.name}; grant all on notas to ${role.name}`
      )
      yield* sync.replit.query(`grant ${role.name} to current_user with inherit true`).pipe(Effect.ignore)
      const app = yield* connect(role.url)
      const t = `${sync.schema}.notas`
      yield* app.query(`
        create temp table vaivem_stage (n integer, k1 integer, was1 integer, bounces smallint, newest bigint);
        insert into vaivem_stage values (1, 1, null, 0), (2, 2, null, 0);
        begin;
        select set_config('vaivem.applying', '${t}', true), set_config('vaivem.bounces', '9', true);
        set local search_path = pg_temp, ${sync.schema};
        insert into ${t} values (1, 'escondida'), (2, 'b'); update ${t} set a = 'c' where id = 1; delete from ${t} where id = 2;
        commit`)
      yield* app.query(`select set_config('vaivem.applying', '${t}', false); insert into ${t} values (3, 'd')`)
      assert.deepStrictEqual(yield* counts(sync), { INSERT: 3, UPDATE: 1, DELETE: 1 })
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 2 } })
      yield* assertConverged(sync)
    }))

  for (
    const [what, damage] of [
      ["a queue that was dropped", "drop table vaivem.\"{stem}_pending\" cascade"],
      ["a history that was dropped", "drop table vaivem.\"{stem}_history\" cascade"],
      ["a key column that was renamed", "alter table notas rename id to chave"],
      ["a key column that was retyped", "alter table notas alter id type text"],
      ["a key column that was dropped", "alter table notas drop id; alter table notas add chave serial"],
      ["the stamp column dropped", "alter table notas drop updated_at"],
      ["the stamp column retyped to text", "alter table notas alter updated_at type text"],
      ["the stamp column retyped to integer", "alter table notas alter updated_at type integer using 1"],
      ["the stamp column retyped to a short text", "alter table notas alter updated_at type varchar(3) using 'x'"],
      ["the stamp column renamed", "alter table notas rename updated_at to quando"],
      ["the table renamed", "alter table notas rename to outras; create view notas as select * from outras"],
      [
        "the table moved to another schema",
        "create schema {schema}_x; alter table notas set schema {schema}_x; create view notas as select * from {schema}_x.notas"
      ],
      ["a column added", "alter table notas add b text default 'x'"]
    ] as const
  ) {
    it.scoped(`promise 1: no write of the app fails for ${what}`, () =>
      Effect.gen(function*() {
        const sync = yield* synced(notas)
        const app = yield* sync.replit.connect
        const write = (n: number) =>
          app.query(
            `insert into notas (a) values ('${n}'); update notas set a = a || '!' where a = '${n}'; delete from notas where a = '0!'`
          )
        yield* app.query("create sequence ids; alter table notas alter id set default nextval('ids')")
        yield* write(0)
        yield* app.query(damage.replaceAll("{stem}", `${sync.schema}.notas`).replaceAll("{schema}", sync.schema))
        if (!what.includes("key column")) yield* write(1)
        else {yield* app.query(
            "update notas set a = a || '!'; delete from notas where a = 'x'; insert into notas (a) values ('1')"
          )}
        yield* app.query("select 1")
      }))
  }

  it.scoped("the stamp is bumped by an update that leaves it alone, and not by one that sets it", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`
        create table notas (id integer primary key, a text, updated_at timestamptz);
        create table horas (id integer primary key, a text, updated_at timestamp)`)
      const { query } = sync.replit
      yield* query("set timezone = 'Asia/Tokyo'")
      for (const table of ["notas", "horas"]) {
        yield* query(`insert into ${table} values (1, 'a', '2000-01-01'), (2, 'b', null)`)
        const rows = () =>
          query(
            `select id, updated_at > clock_timestamp() at time zone 'UTC' - interval '1 minute' and updated_at <= clock_timestamp() at time zone 'UTC' as fresh from (
               select id, case when pg_typeof(updated_at) = 'timestamptz'::regtype then updated_at::timestamptz at time zone 'UTC' else updated_at::timestamp end as updated_at from ${table}) t order by id`
          )
        assert.deepStrictEqual(
          yield* rows(),
          [{ id: 1, fresh: false }, { id: 2, fresh: null }],
          "an insert is left alone"
        )
        yield* query(`update ${table} set a = 'c'`)
        assert.deepStrictEqual(yield* rows(), [{ id: 1, fresh: true }, { id: 2, fresh: true }])
        yield* query(
          `update ${table} set updated_at = '2001-01-01' where id = 1; update ${table} set updated_at = null where id = 2`
        )
        assert.deepStrictEqual(yield* rows(), [{ id: 1, fresh: false }, { id: 2, fresh: null }])
      }
    }))

  it.scoped("SYNC_TOUCH=false leaves the stamp to the app", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { settings: { touch: false } })
      yield* sync.replit.query("insert into notas values (1, 'a', '2000-01-01'); update notas set a = 'b'")
      assert.deepStrictEqual(yield* sync.replit.rows("notas"), ["(1,b,\"2000-01-01 00:00:00+00\")"])
    }))

  it.scoped("promise 8: an update that changes nothing travels as nothing", () =>
    Effect.gen(function*() {
      const sync = yield* synced(perfis.replace("updated_at timestamptz not null default now()", "x integer"))
      yield* sync.replit.query("insert into perfis (nome) select n::text from generate_series(1, 9) n")
      yield* sync.cycle
      yield* sync.replit.query("update perfis set nome = nome")
      const tuples = () => sync.external.query("select ctid::text, xmin::text from perfis order by id")
      const before = yield* tuples()
      assert.deepStrictEqual(moved(yield* sync.cycle), nothing)
      assert.deepStrictEqual(yield* tuples(), before)
      yield* assertConverged(sync)
    }))

  it.scoped("row-level security that hides rows from the app hides none from the sync", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `${notas} alter table notas enable row level security; create policy minhas on notas using (a = 'minha') with check (true)`
      )
      const role = yield* freshRole(sync.replit.url)
      yield* sync.replit.query(
        `grant usage on schema ${sync.schema} to ${role.name}; grant all on notas to ${role.name}`
      )
      const app = yield* connect(role.url)
      yield* app.query(
        `insert into ${sync.schema}.notas values (1, 'minha'), (2, 'tua'); update ${sync.schema}.notas set a = 'nossa'`
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 2 } })
      yield* assertConverged(sync)
    }))

  it.scoped("promise 1: what a replication worker writes is logged too", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const admin = yield* connect(asAdmin(sync.replit.url))
      yield* admin.query(
        `set session_replication_role = replica; insert into ${sync.schema}.notas values (1, 'a'); update ${sync.schema}.notas set a = 'b'; truncate ${sync.schema}.notas; insert into ${sync.schema}.notas values (2, 'c')`
      )
      assert.deepStrictEqual(yield* counts(sync), { INSERT: 2, UPDATE: 1, TRUNCATE: 1 })
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("a publication of all tables, as replication to elsewhere has it, holds nothing up", () =>
    alone(Effect.gen(function*() {
      const sync = yield* synced(notas)
      for (const side of ["replit", "external"] as const) {
        const admin = yield* connect(asAdmin(sync[side].url))
        yield* admin.query("create publication tudo for all tables")
      }
      yield* sync.replit.query("insert into notas values (1, 'a'), (2, 'b')")
      yield* sync.cycle
      yield* sync.external.query("update notas set a = 'c' where id = 1; delete from notas where id = 2")
      yield* sync.cycle
      yield* assertConverged(sync)
    })))
})
