import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { sides } from "../../src/domain/Side.ts"
import { assertConverged, moved, nothing, PgPair, synced } from "../support/PgPair.ts"

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz);"

/** As `moddatetime`, Supabase, and most apps have it. */
const overwritesStamp = `
  create function carimba() returns trigger language plpgsql as $$
    begin new.updated_at := clock_timestamp(); return new; end $$;
  create trigger carimba before insert or update on notas for each row execute function carimba();`

layer(PgPair.layer, { excludeTestServices: true })("the user's triggers", (it) => {
  it.scoped("promise 11: triggers that overwrite updated_at on both sides change nothing that is applied", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas + overwritesStamp)
      yield* sync.replit.query("insert into notas select n, 'r' from generate_series(1, 20) n")
      yield* sync.external.query("insert into notas select n, 'e' from generate_series(21, 40) n")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.replit.query("update notas set a = 'r2' where id > 10")
      yield* sync.external.query("update notas set a = 'e2' where id < 11")
      assert.deepStrictEqual(moved(yield* sync.cycle), { push: { updated: 30 }, pull: { updated: 10 } })
      yield* assertConverged(sync)
      // The app's own writes still go through its trigger.
      assert.deepStrictEqual(
        yield* sync.external.query(
          "insert into notas values (99, 'x', '2000-01-01') returning updated_at > '2020-01-01' as stamped"
        ),
        [{ stamped: true }]
      )
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 11: a trigger that rewrites the row before it is written changes nothing that is applied", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`
        create table notas (id integer primary key, "A b" text, n numeric, gerada text generated always as (upper("A b")) stored);
        create function muda() returns trigger language plpgsql as $$
          begin new."A b" := new."A b" || '!'; new.n := coalesce(new.n, 0) + 1; return new; end $$;
        create trigger " a" before insert or update on notas for each row execute function muda();
        create trigger "~~~~~~z" before insert or update on notas for each row execute function muda();
        create trigger "zzz" before insert or update on notas for each row execute function muda()`)
      yield* sync.replit.query("insert into notas values (1, 'a', 1), (2, E'\\\\ \" , ( ) ''', null), (3, null, 'NaN')")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.external.query("update notas set n = 100 where id = 1")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 11: a trigger added later is guarded as well, and one that goes takes its guard along", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const guards = sync.external.query<{ tgname: string }>(
        "select tgname from pg_trigger where tgrelid = 'notas'::regclass and tgname like '%guard%'"
      )
      assert.lengthOf(yield* guards, 0)
      for (const side of sides) yield* sync[side].query(overwritesStamp)
      yield* sync.replit.query("insert into notas values (1, 'a')")
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.lengthOf(yield* guards, 2)
      for (const side of sides) yield* sync[side].query("drop trigger carimba on notas")
      yield* sync.cycle
      assert.lengthOf(yield* guards, 0)
    }))

  it.scoped("promise 11: a row that a trigger drops is quarantined, not lost", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: notas,
        external: `${notas}
          create function engole() returns trigger language plpgsql as $$
            begin if tg_op = 'DELETE' then return case when old.a = 'fica' then null else old end; end if;
              return case when new.a = 'some' then null else new end; end $$;
          create trigger engole before insert or update or delete on notas for each row execute function engole()`
      })
      yield* sync.replit.query("insert into notas values (1, 'a'), (2, 'some'), (3, 'fica')")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 2, quarantined: 1 } })
      const quarantined = () => sync.replit.database.quarantined(sync.tables[0]!)
      assert.deepInclude((yield* quarantined())[0], { key: ["2"], sqlState: "VV001" })
      yield* sync.replit.query("update notas set a = 'aparece' where id = 2; delete from notas where id = 3")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 1, quarantined: 1 } })
      assert.deepInclude((yield* quarantined())[0], { key: ["3"], sqlState: "VV001" })
      yield* sync.external.query("update notas set a = 'vai' where id = 3")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 3: what a user's trigger writes into another table is that side's own change, and travels", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`${notas}
        create table registro (id uuid primary key default gen_random_uuid(), nota integer, lado text);
        create function registra() returns trigger language plpgsql as $$
          begin insert into registro (nota, lado) values (new.id, current_database()); return null; end $$;
        create trigger registra after insert on notas for each row execute function registra()`)
      yield* sync.replit.query("insert into notas values (1, 'a')")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.lengthOf(yield* sync.replit.rows("registro"), 2)
    }))

  it.scoped("promise 3: a table that isn't synced is written by triggers as ever", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `${notas}
        create table contagem (n integer); insert into contagem values (0);
        create function conta() returns trigger language plpgsql as $$
          begin update contagem set n = n + (select count(*) from novas); return null; end $$;
        create trigger conta after insert on notas referencing new table as novas for each statement execute function conta()`,
        {
          tables: ["notas"]
        }
      )
      yield* sync.replit.query("insert into notas select n from generate_series(1, 10) n")
      yield* sync.external.query("insert into notas select n from generate_series(11, 15) n")
      yield* sync.cycle
      yield* assertConverged(sync)
      for (const side of sides) assert.deepStrictEqual(yield* sync[side].query("select n from contagem"), [{ n: 15 }])
    }))

  it.scoped("promise 3: a row that triggers on both sides rewrite for ever is held and told", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`
        create table notas (id integer primary key, n integer, updated_at timestamptz);
        create function soma() returns trigger language plpgsql as $$
          begin if pg_trigger_depth() = 1 then update notas set n = n + 1 where id = new.id; end if; return null; end $$;
        create trigger soma after insert or update on notas for each row execute function soma()`)
      yield* sync.replit.query("insert into notas values (1, 0), (2, 0)")
      let moves = 0
      for (let cycle = 0; cycle < 5; cycle++) {
        const { pull, push } = yield* sync.cycle
        moves += push.inserted + push.updated + pull.inserted + pull.updated
      }
      assert.isAtMost(moves, 6)
      const held = yield* Effect.map(
        Effect.all(sides.map((side) => sync[side].database.quarantined(sync.tables[0]!))),
        (both) => both.flat()
      )
      assert.deepStrictEqual(held.map(({ key }) => key[0]).sort(), ["1", "2"])
      for (const { message } of held) assert.match(message, /^bounces/)
      const idle = yield* sync.cycle
      assert.deepStrictEqual({ ...moved(idle), outcome: idle.outcome, quarantined: idle.quarantined }, {
        ...nothing,
        outcome: "idle",
        quarantined: 2
      })
      // Without the triggers, the next write of the app goes through.
      for (const side of sides) yield* sync[side].query("drop trigger soma on notas")
      yield* sync.replit.query("update notas set n = 100")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual((yield* sync.external.query<{ n: number }>("select n from notas")).map(({ n }) => n), [
        100,
        100
      ])
    }))

  it.scoped("promise 3: a row that bounces doesn't take others along that travel with it", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`
        create table notas (id integer primary key, n integer not null default 0, a text);
        create function mexe() returns trigger language plpgsql as $$
          begin
            if pg_trigger_depth() > 1 then return null; end if;
            if new.id = 1 then update notas set n = n + 1 where id = 1;
            elsif new.a is null then update notas set a = 'completa' where id = new.id; end if;
            return null;
          end $$;`)
      yield* sync.external.query(
        "create trigger mexe after insert or update on notas for each row execute function mexe()"
      )
      yield* sync.replit.query(
        "create trigger mexe after insert or update on notas for each row when (new.id = 1) execute function mexe()"
      )
      yield* sync.replit.query("insert into notas values (1)")
      for (let id = 2; id < 8; id++) {
        yield* sync.replit.query("insert into notas values ($1)", [id])
        yield* sync.cycle
      }
      const held = [
        ...yield* sync.replit.database.quarantined(sync.tables[0]!),
        ...yield* sync.external.database.quarantined(sync.tables[0]!)
      ]
      assert.deepStrictEqual(held.map(({ key }) => key), [["1"]])
      for (const side of sides) {
        assert.deepStrictEqual(
          yield* sync[side].query("select count(*) as n from notas where a = 'completa'"),
          [{ n: 6 }]
        )
      }
    }))

  it.scoped("promise 3: a trigger on one side that completes an applied row sends the completion back, once", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: notas,
        external: `${notas}
          create function completa() returns trigger language plpgsql as $$
            begin if new.a is null then update notas set a = 'completa' where id = new.id; end if; return null; end $$;
          create trigger completa after insert or update on notas for each row execute function completa()`
      })
      yield* sync.replit.query("insert into notas values (1), (2)")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual((yield* sync.replit.query<{ a: string }>("select a from notas")).map(({ a }) => a), [
        "completa",
        "completa"
      ])
    }))

  it.scoped("promise 7: a row that a rule keeps from being written is quarantined, not lost", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      yield* sync.replit.query("insert into notas (id, a) values (1, 'a'), (2, 'b')")
      yield* sync.cycle
      yield* sync.external.query(`create rule engole as on insert to notas where new.a = 'some' do instead nothing;
        create rule fica as on delete to notas do instead update notas set a = 'apagada' where id = old.id`)
      yield* sync.replit.query("insert into notas (id, a) values (3, 'some'), (4, 'd'); delete from notas where id = 1")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 1, quarantined: 2 } })
      const quarantined = yield* sync.replit.database.quarantined(sync.tables[0]!)
      assert.deepStrictEqual(quarantined.map(({ key }) => key), [["3"], ["1"]])
      assert.match(quarantined[0]!.message, /A rule of table .*notas has something else done.*engole, fica/)
      yield* sync.external.query("drop rule engole on notas; drop rule fica on notas")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
    }))
})
