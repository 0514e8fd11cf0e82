import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { setup } from "../../src/programs/setup.ts"
import { teardown } from "../../src/programs/teardown.ts"
import { catalogDump } from "../support/catalogDump.ts"
import { alone, assertConverged, moved, nothing, perfis, PgPair, type Synced, synced } from "../support/PgPair.ts"

/** What the older script worked on. */
const olderTable = `
  create table perfis (
    id varchar(255) primary key, full_name varchar(255), email varchar(255),
    created_at timestamptz default now(), updated_at timestamptz default now()
  );
  insert into perfis (id, full_name, created_at, updated_at)
    select 'p' || n, 'nome ' || n, '2023-01-01', '2024-01-01' from generate_series(1, 9) n;`

/** Its changelog and trigger, as an app's developer or agent would have written them. */
const olderChangelog = `
  create table perfis_changelog (
    id serial primary key, perfil_id varchar(255) not null, operation varchar(10) not null, full_name varchar(255),
    email varchar(255), created_at timestamptz, updated_at timestamptz, change_timestamp timestamp default now(),
    synced boolean default false
  );
  comment on table perfis_changelog is 'log antigo';
  create index perfis_changelog_pendentes on perfis_changelog (synced) where not synced;
  create function log_perfis_changes() returns trigger language plpgsql as $$
    begin
      if tg_op = 'DELETE' then
        INSERT INTO perfis_changelog (perfil_id, operation, full_name) VALUES (old.id, tg_op, old.full_name);
        return old;
      end if;
      INSERT INTO Perfis_Changelog (perfil_id, operation, full_name, email, created_at, updated_at)
      VALUES (new.id, tg_op, new.full_name, new.email, new.created_at, new.updated_at);
      return new;
    end $$;
  create trigger perfis_changes after insert or update or delete on perfis for each row execute function log_perfis_changes();`

const older = { replit: olderTable + olderChangelog, external: olderTable }

const fresh = (ddl: Parameters<typeof synced>[0], tables = ["perfis"]) =>
  synced(ddl, { schema: "public", started: false, tables }).pipe(alone)

const dumps = (sync: Synced) => Effect.all(sides.map((side) => catalogDump(sync[side].query)))

const tearDown = (sync: Synced) => sync.run(teardown({ table: null, confirm: () => Effect.succeed(true) }))

it.scopedLive("an older changelog is taken over: unsynced keys travel, deletes too, and the app writes on", () =>
  Effect.gen(function*() {
    const sync = yield* fresh(older)
    const { external, replit } = sync
    yield* replit.query("update perfis set full_name = 'velho sincronizado', updated_at = '2024-02-01' where id = 'p1'")
    yield* external.query(
      "update perfis set full_name = 'velho sincronizado', updated_at = '2024-02-01' where id = 'p1'"
    )
    yield* replit.query("update perfis_changelog set synced = true")
    yield* replit.query("update perfis set full_name = 'novo', updated_at = now() where id = 'p2'")
    yield* replit.query("delete from perfis where id = 'p3'; insert into perfis (id) values ('p10')")
    const [table] = (yield* sync.run(setup({ createMissing: false, strict: true }))).tables
    assert.deepStrictEqual(table!.adopted, [
      { side: "replit", renamedTo: "perfis_changelog_before_vaivem", keys: 3 }
    ])
    assert.deepStrictEqual(
      (yield* replit.query<{ perfil: string }>(
        "select id as perfil from perfis_changelog where synced = false order by 1"
      ))
        .map(({ perfil }) => perfil),
      ["p10", "p2", "p3"]
    )
    yield* replit.query("update perfis set email = 'x@y' where id = 'p4'")
    assert.deepStrictEqual(moved(yield* sync.cycle), {
      ...nothing,
      push: { inserted: 1, updated: 2, deleted: 1, conflicts: 2 }
    })
    yield* assertConverged(sync)
    assert.lengthOf(yield* replit.rows("perfis"), 9)
    assert.deepStrictEqual(
      yield* replit.query("select synced, count(*) as n from perfis_changelog_before_vaivem group by 1 order by 1"),
      [{ synced: false, n: 3 }, { synced: true, n: 1 }]
    )
  }))

it.scopedLive("of rows that both sides changed before the take-over the later stamp wins, pending in the older changelog or not", () =>
  Effect.gen(function*() {
    const sync = yield* fresh(older)
    for (const [id, replit, external] of [["p1", "2024-03-01", "2024-03-02"], ["p2", "2024-03-02", "2024-03-01"]]) {
      yield* sync.replit.query("update perfis set full_name = 'replit', updated_at = $2 where id = $1", [id, replit])
      yield* sync.external.query("update perfis set full_name = 'external', updated_at = $2 where id = $1", [
        id,
        external
      ])
    }
    yield* sync.cycle
    yield* assertConverged(sync)
    assert.deepStrictEqual(
      yield* sync.external.query("select full_name as winner from perfis where id in ('p1', 'p2') order by id"),
      [{ winner: "external" }, { winner: "replit" }]
    )
  }))

it.scopedLive("an older changelog whose key has the table's own column name, and no operation, is taken over as well", () =>
  Effect.gen(function*() {
    const sync = yield* fresh({
      replit: `${perfis}
        create table perfis_changelog (log integer generated always as identity primary key, id uuid, nome text, synced boolean, changed_at timestamptz);
        create function "Registra"() returns trigger language plpgsql as $$
          begin insert into public.perfis_changelog (id, nome, synced) values (coalesce(new.id, old.id), new.nome, false); return null; end $$;
        create trigger "Registra" after insert or update or delete on perfis for each row execute function "Registra"()`,
      external: perfis
    })
    yield* sync.replit.query("insert into perfis (nome) values ('a'), ('b'); delete from perfis where nome = 'b'")
    const [table] = (yield* sync.run(setup({ createMissing: false, strict: true }))).tables
    assert.deepStrictEqual(table!.adopted.map(({ keys, side }) => ({ keys, side })), [{ side: "replit", keys: 3 }])
    yield* sync.replit.query("insert into perfis (nome) values ('c')")
    assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 2 } })
    yield* assertConverged(sync)
  }))

it.scopedLive("an older changelog on both sides is taken over on both, and teardown puts both back, trigger and all", () =>
  Effect.gen(function*() {
    const ddl = olderTable + olderChangelog
    const sync = yield* fresh({ replit: ddl, external: ddl })
    for (const side of sides) yield* sync[side].query(`update perfis set full_name = '${side}' where id = 'p1'`)
    const before = yield* dumps(sync)
    const logs = (side: Side) => sync[side].rows("perfis_changelog")
    const kept = yield* logs("replit")
    yield* sync.cycle
    yield* assertConverged(sync)
    yield* tearDown(sync)
    assert.deepStrictEqual(yield* dumps(sync), before)
    assert.deepStrictEqual(yield* logs("replit"), kept)
    yield* sync.replit.query("update perfis set full_name = 'depois' where id = 'p2'")
    assert.lengthOf(yield* logs("replit"), kept.length + 1)
  }))

it.scopedLive("teardown leaves no trace of ours, and every row of theirs", () =>
  Effect.gen(function*() {
    const ddl = `${perfis}
      create schema loja;
      create table loja.perfis (id integer, ano integer, a text, updated_at timestamp, primary key (id, ano)) partition by range (ano);
      create table loja.perfis_1 partition of loja.perfis for values from (0) to (2000);
      create table loja.perfis_2 partition of loja.perfis for values from (2000) to (3000);
      create table "Ção ""x"".y" (id integer primary key, a text, updated_at timestamptz);
      comment on table "Ção ""x"".y" is 'deles';
      create function carimba() returns trigger language plpgsql as $$ begin new.updated_at := now(); return new; end $$;
      create trigger carimba before insert or update on "Ção ""x"".y" for each row execute function carimba();
      create view deles as select * from perfis;`
    const sync = yield* fresh(ddl, ["perfis", "Ção \"x\".y"])
    const loja = yield* synced("select 1", { schema: "loja", started: false, tables: ["perfis"] }).pipe(
      Effect.provideService(PgPair, { replit: sync.replit.url, external: sync.external.url })
    )
    const before = yield* dumps(sync)
    for (const side of sides) {
      yield* sync[side].query(`insert into perfis (nome) values ('${side}')`)
      yield* sync[side].query("insert into \"Ção \"\"x\"\".y\" values (1, 'a')")
      yield* sync[side].query("insert into loja.perfis values (1, 1999, 'a'), (1, 2001, 'b')")
    }
    yield* sync.cycle
    yield* loja.cycle
    yield* sync.replit.query("update perfis set nome = 'pendente'")
    const rows = () =>
      Effect.all(
        sides.flatMap((side) => [sync[side].rows("perfis"), sync[side].rows("Ção \"x\".y"), loja[side].rows("perfis")])
      )
    const written = yield* rows()
    const { removed } = yield* tearDown(sync)
    assert.lengthOf(removed.replit!, 3)
    assert.deepStrictEqual(yield* dumps(sync), before)
    assert.deepStrictEqual(yield* rows(), written)
    // Nothing of ours is missed by the app, and everything can be set up again.
    yield* sync.external.query("update perfis set nome = 'livre'")
    yield* sync.cycle
    yield* assertConverged(sync)
  }))

it.scopedLive("teardown of one table leaves the others in sync, and asks while anything would be lost", () =>
  Effect.gen(function*() {
    const sync = yield* fresh(`${perfis} create table notas (id integer primary key, a text);`, ["perfis", "notas"])
    yield* sync.cycle
    yield* sync.replit.query("insert into notas values (1, 'pendente')")
    const asked: Array<string> = []
    const one = (answer: boolean) =>
      sync.run(teardown({
        table: { schema: "public", name: "notas" },
        confirm: (losses) =>
          Effect.sync(() => {
            asked.push(...losses)
            return answer
          })
      }))
    assert.isFalse((yield* one(false)).confirmed)
    assert.lengthOf(asked, 1)
    assert.match(asked[0]!, /notas on Replit: 1 change/)
    assert.deepStrictEqual(yield* sync.replit.pending("notas"), ["INSERT 1"])
    yield* one(true)
    for (const side of sides) {
      assert.deepStrictEqual(yield* sync[side].database.captured, [{ schema: "public", name: "perfis" }])
      const left = "select tgname from pg_trigger where tgrelid = 'notas'::regclass and not tgisinternal"
      assert.deepStrictEqual(yield* sync[side].query(left), [])
    }
  }))

it.scopedLive("a view of the user's on the changelog survives whatever renews it, and is never dropped by teardown", () =>
  Effect.gen(function*() {
    const sync = yield* fresh(perfis)
    yield* sync.cycle
    yield* sync.replit.query(
      "create view painel as select count(*) as pendentes from perfis_changelog where synced = false"
    )
    yield* sync.replit.query("drop trigger vaivem_capture_insert on perfis")
    yield* sync.cycle
    yield* sync.replit.query("insert into perfis (nome) values ('a')")
    assert.deepStrictEqual(yield* sync.replit.query("select * from painel"), [{ pendentes: 1 }])
    yield* sync.cycle
    yield* assertConverged(sync)
    const refused = yield* Effect.flip(tearDown(sync))
    assert.match(refused.message, /perfis_changelog.*depend/)
    yield* sync.replit.query("drop view painel")
    yield* tearDown(sync)
    assert.deepStrictEqual(yield* sync.replit.query("select from pg_namespace where nspname = 'vaivem'"), [])
  }))
