/** What an app's role, or whatever it puts into a table, could do to the sync and to the role that runs it. */
import { NodeContext } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Effect, Either, Redacted } from "effect"
import { parseUrl } from "../../src/domain/ConnectionTarget.ts"
import { type Side, sides } from "../../src/domain/Side.ts"
import { makeCycle } from "../../src/programs/cycle.ts"
import { setup } from "../../src/programs/setup.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import { alone, assertConverged, moved, nothing, type Synced, synced } from "../support/PgPair.ts"
import { asAdmin, connect, freshRole, query } from "../support/TestPostgres.ts"

const notas = "create table notas (id varchar(40) primary key, a varchar(200), updated_at timestamptz default now());"

/** A role of the app's: it may write rows, and owns nothing. */
const appRole = Effect.fnUntraced(function*(sync: Synced, side: Side) {
  const role = yield* freshRole(sync[side].url)
  yield* sync[side].query(`grant usage on schema ${sync.schema} to ${role.name};
    grant select, insert, update, delete on all tables in schema ${sync.schema} to ${role.name}`)
  const client = yield* connect(role.url)
  yield* client.query(`set search_path = ${sync.schema}, public`)
  return { ...role, query: client.query }
})

it.scopedLive("a role of the app's can't have a change go uncaptured by saying that it is the sync", () =>
  Effect.gen(function*() {
    const sync = yield* synced(notas)
    const app = yield* appRole(sync, "replit")
    yield* app.query(`begin;
      create temp table vaivem_stage (n bigint, k1 text, was1 text, newest bigint, bounces smallint);
      insert into vaivem_stage values (1, 'a', null, 0, 0);
      select set_config('vaivem.applying', '${sync.schema}.notas', true), set_config('vaivem.bounces', '2', true);
      insert into notas values ('a', 'x');
      update notas set a = 'y';
      commit`)
    assert.deepStrictEqual(yield* sync.replit.pending("notas"), ["INSERT a", "UPDATE a"])
    assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 1 } })
    yield* assertConverged(sync)
  }).pipe(alone))

it.scopedLive("a role of the app's can't read or write what is ours, nor call it, however it is let into the schema", () =>
  Effect.gen(function*() {
    const sync = yield* synced(notas)
    const app = yield* appRole(sync, "replit")
    yield* app.query("insert into notas values ('a', 'x')")
    const [{ stem }] = (yield* sync.replit.query<{ stem: string }>("select stem from vaivem.tables")) as [
      { stem: string }
    ]
    const refused = (text: string) => Effect.map(Effect.flip(app.query(text)), ({ code }) => code)
    assert.strictEqual(yield* refused("select from vaivem.pairs"), "42501")
    yield* sync.replit.query(`grant usage on schema vaivem to ${app.name}`)
    for (
      const text of [
        `delete from vaivem."${stem}_pending"`,
        `insert into vaivem."${stem}_pending" (operation, k1) values ('DELETE', 'a')`,
        "update vaivem.pairs set epoch = 99",
        "select from vaivem.conflicts",
        "select vaivem.take_lease(0)",
        "select vaivem.fence(0)",
        `select vaivem.uncapture('${sync.schema}', 'notas')`
      ]
    ) assert.strictEqual(yield* refused(text), "42501", text)
    // Not even the owner writes into the view.
    const view = yield* Effect.flip(sync.replit.query("delete from notas_changelog"))
    assert.include(["55000", "0A000"], view.code)
    assert.deepStrictEqual(
      yield* app.query(`select p.oid::regprocedure::text as may from pg_proc p
        where p.pronamespace = 'vaivem'::regnamespace and p.prorettype <> 'trigger'::regtype
          and has_function_privilege(p.oid, 'EXECUTE')`),
      []
    )
    assert.deepStrictEqual(
      yield* app.query(`select p.oid::regprocedure::text as unpinned from pg_proc p
        where p.pronamespace = 'vaivem'::regnamespace
          and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)`),
      []
    )
    // On a table of their own, a trigger function of ours does nothing.
    yield* app.query(`create temp table notas (id varchar(40) primary key, a varchar(200), updated_at timestamptz);
      create trigger t after insert on pg_temp.notas referencing new table as new_rows
        for each statement execute function vaivem."${stem}_capture"();
      insert into pg_temp.notas values ('falso')`)
    assert.deepStrictEqual(yield* sync.replit.pending("notas"), ["INSERT a"])
  }).pipe(alone))

it.scopedLive("functions and operators that the app's role puts in the way are never run by the sync's role", () =>
  Effect.gen(function*() {
    const sync = yield* synced({ replit: notas, external: notas })
    for (const side of sides) {
      const app = yield* appRole(sync, side)
      // As before PostgreSQL 15, and as many a database still has it.
      yield* query(asAdmin(sync[side].url), `grant create on schema public to ${app.name}`)
      yield* app.query(`
        create table public.vistos (who text, what text);
        grant insert on public.vistos to public;
        create function public.igual(varchar, varchar) returns boolean language plpgsql as $$
          begin insert into public.vistos values (current_user, '='); return $1::text operator(pg_catalog.=) $2::text; end $$;
        create operator public.= (leftarg = varchar, rightarg = varchar, function = public.igual);
        create operator public.<> (leftarg = varchar, rightarg = varchar, function = public.igual);
        create function public.hashtextextended(varchar, integer) returns bigint language plpgsql as $$
          begin insert into public.vistos values (current_user, 'hash'); return 1; end $$;
        create function public.to_jsonb(varchar) returns jsonb language plpgsql as $$
          begin insert into public.vistos values (current_user, 'to_jsonb'); return null; end $$;
        create function public.clock_timestamp() returns timestamptz language plpgsql as $$
          begin insert into public.vistos values (current_user, 'clock'); return now(); end $$;
        set search_path = public, ${sync.schema}, pg_catalog;
        insert into notas values ('${side}', 'x'), ('ambos', '${side}');
        update notas set a = 'y' where id::text = '${side}'`)
    }
    const { pull, push } = yield* sync.cycle
    assert.strictEqual(push.conflicts + pull.conflicts, 1)
    for (const side of sides) {
      yield* sync[side].query("delete from notas where id::text = 'ambos'; update notas set a = 'z'")
      yield* sync.cycle
    }
    yield* assertConverged(sync)
    for (const side of sides) {
      const { username } = new URL(Redacted.value(sync[side].url))
      assert.deepStrictEqual(
        yield* query(asAdmin(sync[side].url), "select distinct what from public.vistos where who = $1", [username]),
        [],
        side
      )
    }
  }).pipe(alone))

const nasty = "a\"b'$vaivem$;\\ %I {queue}\n--drop table x"
const quoted = `"${nasty.replaceAll("\"", "\"\"")}"`

it.scopedLive("names and values that are SQL are names and values", () =>
  Effect.gen(function*() {
    const enumeration = "\"t'$body$;\\\""
    const ddl = `
      create type ${enumeration} as enum ('a''b', '$vaivem$', '\\.', E'\\n');
      create table ${quoted} (
        ${quoted} text constraint "pk'$$;\\" primary key, "$1'" ${enumeration}, "new" text, "updated_at" timestamptz default now(),
        constraint "c'$vaivem$" check ("new" <> 'proibido'), constraint "u""'" unique ("new"));
      create function "f'$vaivem$"() returns trigger language plpgsql as $f$ begin return new; end $f$;
      create trigger "g'$vaivem$;\\" before insert or update on ${quoted} for each row execute function "f'$vaivem$"();`
    const sync = yield* synced(ddl, { tables: [nasty] })
    const values = [
      "\\.",
      "\\N",
      "\t\\t\n\r\b",
      "'; drop schema vaivem cascade; --",
      "$vaivem$ || $body$",
      "{\"a\": [null]}",
      "\u{1F4A3}\u202E",
      "\\\\x00"
    ]
    for (const [index, value] of values.entries()) {
      const side = sides[index % 2]!
      yield* sync[side].query(`insert into ${quoted} (${quoted}, "new", "$1'") values ($1, $1, $2)`, [
        value,
        ["a'b", "$vaivem$", "\\.", "\n"][index % 4]
      ])
    }
    assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 4 }, pull: { inserted: 4 } })
    yield* sync.external.query(`update ${quoted} set ${quoted} = ${quoted} || '''' where ${quoted} like '%drop%'`)
    yield* sync.replit.query(`delete from ${quoted} where ${quoted} = '\\.'`)
    yield* sync.replit.query(`update ${quoted} set "$1'" = E'\\n', "new" = "new" || '\\' where ${quoted} = '\\N'`)
    yield* sync.cycle
    yield* sync.cycle
    assert.deepStrictEqual(
      yield* sync.external.query(
        `select md5(string_agg(t::text, '|' order by t::text collate "C")) as all from ${quoted} t`
      ),
      yield* sync.replit.query(
        `select md5(string_agg(t::text, '|' order by t::text collate "C")) as all from ${quoted} t`
      )
    )
    assert.lengthOf(yield* sync.replit.query(`select from ${quoted}`), values.length - 1)
  }).pipe(alone))

/** Another service of the pair, as a role of its own. */
const as = Effect.fnUntraced(function*(sync: Synced, urls: Readonly<Record<Side, Redacted.Redacted>>) {
  const make = (side: Side) =>
    PgDatabase.make(Either.getOrThrow(parseUrl(side, Redacted.value(urls[side])))).pipe(
      Effect.provide(NodeContext.layer)
    )
  const [replit, external] = [yield* make("replit"), yield* make("external")]
  const provided = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    self.pipe(Effect.provideService(ReplitDb, replit), Effect.provideService(ExternalDb, external))
  const cycle = yield* makeCycle
  return {
    setUp: sync.run(provided(setup({ createMissing: false, strict: true }))),
    cycle: sync.run(provided(cycle({ retryFor: "15 seconds", lease: "wait", notBefore: 0 })))
  }
})

it.scopedLive("a role that owns nothing but vaivem syncs rows, and says what needs the tables' owner", () =>
  Effect.gen(function*() {
    const sync = yield* synced(`${notas} create table pedidos (id serial primary key, a text);`, { started: false })
    const roles = { replit: yield* freshRole(sync.replit.url), external: yield* freshRole(sync.external.url) }
    const urls = { replit: roles.replit.url, external: roles.external.url }
    const ownerOf = (side: Side) => new URL(Redacted.value(sync[side].url)).username
    // As docs/security.md has it.
    for (const side of sides) {
      const role = roles[side].name
      yield* query(
        asAdmin(sync[side].url),
        `
        grant create, temporary on database ${new URL(Redacted.value(sync[side].url)).pathname.slice(1)} to ${role};
        grant usage, create on schema ${sync.schema} to ${role};
        grant ${ownerOf(side)} to ${role}`
      )
    }
    const first = yield* as(sync, urls)
    yield* first.setUp
    for (const side of sides) {
      const role = roles[side].name
      yield* query(
        asAdmin(sync[side].url),
        `revoke ${ownerOf(side)} from ${role};
        revoke create on database ${new URL(Redacted.value(sync[side].url)).pathname.slice(1)} from ${role};
        revoke create on schema ${sync.schema} from ${role};
        grant select, insert, update, delete on ${sync.schema}.notas, ${sync.schema}.pedidos to ${role};
        grant usage, select, update on all sequences in schema ${sync.schema} to ${role};
        grant select on ${sync.schema}.notas_changelog, ${sync.schema}.pedidos_changelog to ${ownerOf(side)}`
      )
    }
    // A process that knows nothing yet, and one that goes on.
    const next = yield* as(sync, urls)
    yield* sync.replit.query("insert into notas values ('a', 'x'), ('b', 'x'); insert into pedidos (a) values ('1')")
    yield* sync.external.query("insert into notas values ('c', 'x')")
    assert.deepStrictEqual(moved(yield* next.cycle), { push: { inserted: 3 }, pull: { inserted: 1 } })
    yield* sync.external.query("update notas set a = 'y' where id = 'a'; delete from notas where id = 'b'")
    yield* sync.replit.query("update notas set a = 'z' where id = 'a'")
    const { pull, push } = yield* next.cycle
    assert.strictEqual(push.conflicts + pull.conflicts, 1)
    assert.deepStrictEqual(moved(yield* next.cycle), nothing)
    for (const table of ["notas", "pedidos"]) {
      assert.deepStrictEqual(yield* sync.external.rows(table), yield* sync.replit.rows(table))
    }
    for (const side of sides) yield* sync[side].query("alter table notas add b text")
    const { paused } = yield* next.cycle
    assert.lengthOf(paused, 1)
    assert.match(
      paused[0]!.problem,
      /does not allow it: must be owner of relation notas\. Run as its owner: ALTER TABLE "notas" OWNER TO "role_/
    )
  }).pipe(alone))
