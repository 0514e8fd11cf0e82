import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { sides } from "../../src/domain/Side.ts"
import { setup } from "../../src/programs/setup.ts"
import { assertConverged, moved, nothing, PgPair, synced } from "../support/PgPair.ts"

layer(PgPair.layer, { excludeTestServices: true })("partitions", (it) => {
  it.scoped("promise 1: rows written into partitions directly, moved between them and truncated are logged", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `
        create table vendas (id integer, ano integer, a text, updated_at timestamptz, primary key (id, ano)) partition by range (ano);
        create table vendas_1 partition of vendas for values from (2000) to (2010);
        create table vendas_2 (a text, lixo integer, updated_at timestamptz, ano integer not null, id integer not null);
        alter table vendas_2 drop lixo;
        alter table vendas attach partition vendas_2 for values from (2010) to (2020);
        create table vendas_3 partition of vendas for values from (2020) to (2030) partition by list (id);
        create table vendas_3_1 partition of vendas_3 default;`,
        { tables: ["vendas"] }
      )
      yield* sync.replit.query("insert into vendas values (1, 2001, 'a'), (2, 2011, 'b'), (3, 2021, 'c')")
      yield* sync.external.query(
        "insert into vendas_1 values (4, 2002, 'd'); insert into vendas_2 (id, ano, a) values (5, 2012, 'e'); insert into vendas_3_1 values (6, 2022, 'f')"
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), { push: { inserted: 3 }, pull: { inserted: 3 } })
      yield* assertConverged(sync)
      yield* sync.external.query(
        "update vendas set ano = ano + 10 where id in (1, 4); update vendas_2 set a = 'E' where id = 5"
      )
      yield* sync.replit.query("update vendas_3 set a = 'C' where id = 3; delete from vendas_2 where id = 2")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.replit.query("truncate vendas_2")
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.lengthOf(yield* sync.external.rows("vendas"), 2)
      for (const side of sides) {
        yield* sync[side].query("create table vendas_4 partition of vendas for values from (2030) to (2040)")
      }
      yield* sync.replit.query("insert into vendas_4 values (9, 2031, 'g')")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.external.query("truncate vendas_4")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.replit.query("truncate vendas")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 11: a partition whose columns stand in another order is applied as sent, beside a user's trigger", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `
        create table vendas (id integer primary key, a text, b text, n integer, updated_at timestamptz) partition by range (id);
        create table vendas_1 (n integer, lixo text, updated_at timestamptz, b text, id integer not null, a text);
        alter table vendas_1 drop lixo;
        alter table vendas attach partition vendas_1 for values from (0) to (1000);
        create function muda() returns trigger language plpgsql as $$ begin new.a := new.a || '!'; new.updated_at := now(); return new; end $$;
        create trigger muda before insert or update on vendas for each row execute function muda()`,
        { tables: ["vendas"] }
      )
      yield* sync.replit.query("insert into vendas values (1, 'a', 'b', 7), (2, 'c', null, 8)")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.external.query("update vendas_1 set b = 'B', n = 9 where id = 1")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("TRUNCATE … CASCADE logs the rows of every table that it empties", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        "create table pais (id integer primary key); create table filhos (id integer primary key, pai integer references pais)"
      )
      yield* sync.replit.query("insert into pais values (1), (2); insert into filhos values (1, 1), (2, 1), (3, 2)")
      yield* sync.cycle
      yield* sync.external.query("truncate pais cascade")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { deleted: 5 } })
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: rows come after their parents, also where only the partitions have foreign keys", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `
        create table alunos (id integer primary key);
        create table notas (id integer primary key, aluno integer, anterior integer) partition by range (id);
        create table notas_1 partition of notas for values from (0) to (1000);
        create table notas_2 partition of notas for values from (1000) to (2000);
        alter table notas_1 add foreign key (aluno) references alunos;
        alter table notas_2 add foreign key (anterior) references notas_1;`,
        { tables: ["notas", "alunos"], started: false }
      )
      yield* sync.replit.query(
        "insert into alunos select generate_series(1, 300); insert into notas select n, n from generate_series(1, 300) n; "
          + "insert into notas select 1000 + n, null, n from generate_series(1, 300) n"
      )
      const { shapes } = yield* sync.table("notas")
      assert.deepStrictEqual(shapes.replit.parents, [{ schema: sync.schema, name: "alunos" }])
      assert.isTrue(shapes.replit.selfReferencing)
      const report = yield* sync.cycle
      assert.deepStrictEqual(report.cutShort, [])
      assert.deepStrictEqual(moved(report), { push: { inserted: 900 }, pull: nothing.pull })
      yield* assertConverged(sync)
    }))

  const vendas = `
    create table vendas (id integer primary key, a text, updated_at timestamptz) partition by range (id);
    create table vendas_1 partition of vendas for values from (0) to (100);
    create table vendas_2 partition of vendas for values from (100) to (200) partition by range (id);
    create table vendas_2_1 partition of vendas_2 for values from (100) to (150);
    create table outras (id integer primary key);`
  const filled = Effect.fnUntraced(function*() {
    const sync = yield* synced(vendas, { tables: ["vendas", "outras"] })
    yield* sync.replit.query("insert into vendas values (1, 'a'), (2, 'b'), (101, 'c'), (102, 'd')")
    yield* sync.cycle
    return sync
  })

  for (
    const [what, statement, name] of [
      ["dropped", "drop table vendas_1", "vendas_1"],
      ["detached", "alter table vendas detach partition vendas_1", "vendas_1"],
      ["detached below another", "alter table vendas_2 detach partition vendas_2_1", "vendas_2_1"]
    ] as const
  ) {
    it.scoped(`a partition that is ${what} holds its table until the other side has lost it too`, () =>
      Effect.gen(function*() {
        const sync = yield* filled()
        yield* sync.replit.query(`${statement}; insert into outras values (1)`)
        for (let n = 0; n < 2; n++) {
          const report = yield* sync.cycle
          assert.deepStrictEqual(report.paused.map(({ table }) => table), [`${sync.schema}.vendas`])
          assert.match(report.paused[0]!.problem, new RegExp(`${name} on Replit.*setup --accept-partitions`))
        }
        assert.lengthOf(yield* sync.external.rows("outras"), 1)
        assert.lengthOf(yield* sync.external.rows("vendas"), 4)
        assert.lengthOf(yield* sync.replit.rows("vendas"), 2)
        yield* sync.external.query(statement)
        yield* sync.cycle
        assert.lengthOf(yield* sync.replit.rows("vendas"), 2)
        yield* assertConverged(sync)
      }))
  }

  it.scoped("setup --accept-partitions brings back what the other side still has of a partition that is gone", () =>
    Effect.gen(function*() {
      const sync = yield* filled()
      yield* sync.replit.query(
        "alter table vendas detach partition vendas_1; truncate vendas_1; create table vendas_3 partition of vendas for values from (0) to (100)"
      )
      assert.lengthOf((yield* sync.cycle).paused, 1)
      yield* sync.run(setup({ createMissing: false, acceptPartitions: true, strict: true }))
      yield* sync.cycle
      assert.lengthOf(yield* sync.replit.rows("vendas"), 4)
      yield* assertConverged(sync)
    }))

  it.scoped("a partition that is attached with rows in it, or again, is compared", () =>
    Effect.gen(function*() {
      const sync = yield* filled()
      yield* sync.external.query("create table vendas_0 (like vendas); insert into vendas_0 values (-5, 'z')")
      yield* sync.external.query("alter table vendas attach partition vendas_0 for values from (-10) to (0)")
      yield* sync.replit.query("create table vendas_0 partition of vendas for values from (-10) to (0)")
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.replit.query(
        "alter table vendas detach partition vendas_1; update vendas_1 set a = 'sem captura', updated_at = now(); alter table vendas attach partition vendas_1 for values from (0) to (100)"
      )
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual((yield* sync.external.query("select a from vendas where id = 1"))[0], { a: "sem captura" })
    }))

  it.scoped("capture of a single partition that was damaged is mended, and what it missed is found", () =>
    Effect.gen(function*() {
      const sync = yield* filled()
      yield* sync.replit.query(
        "alter table vendas_2_1 disable trigger vaivem_capture_row; update vendas set a = 'x', updated_at = now() where id = 101"
      )
      yield* sync.cycle
      yield* assertConverged(sync)
      yield* sync.replit.query("drop trigger vaivem_capture_truncate on vendas_1; truncate vendas_1")
      yield* sync.cycle
      // Nobody saw it: what was truncated comes back.
      assert.lengthOf(yield* sync.replit.rows("vendas"), 4)
      yield* assertConverged(sync)
      yield* sync.replit.query("truncate vendas_1")
      yield* sync.cycle
      assert.lengthOf(yield* sync.external.rows("vendas"), 2)
      yield* assertConverged(sync)
    }))

  it.scoped("promise 11: a user's trigger on a single partition changes nothing that is applied", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `${vendas}
        create function muda() returns trigger language plpgsql as $$ begin new.a := new.a || '!'; return new; end $$;
        create trigger muda before insert or update on vendas_1 for each row execute function muda()`,
        { tables: ["vendas"] }
      )
      yield* sync.replit.query("insert into vendas values (1, 'a'), (101, 'b')")
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual((yield* sync.external.query("select a from vendas order by id"))[0], { a: "a!" })
    }))

  it.scoped("promise 7: a row that a trigger of a single partition drops is quarantined, not lost", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        {
          replit: vendas,
          external: `${vendas}
            create function engole() returns trigger language plpgsql as $$ begin return null; end $$;
            create trigger engole before insert on vendas_1 for each row execute function engole()`
        },
        { tables: ["vendas"] }
      )
      yield* sync.replit.query("insert into vendas values (1, 'a'), (101, 'b')")
      assert.strictEqual((yield* sync.cycle).quarantined, 1)
      assert.lengthOf(yield* sync.external.rows("vendas"), 1)
      yield* sync.external.query("drop trigger engole on vendas_1")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))
})
