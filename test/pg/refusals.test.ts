import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import {
  assertConverged,
  assertEqual,
  moved,
  nothing,
  perfis,
  PgPair,
  type Synced,
  synced,
  uuid
} from "../support/PgPair.ts"

const quarantined = (sync: Synced, side: Side) => sync[side].database.quarantined(sync.tables[0]!)

/** Makes every quarantined row wait, as it does after its first tries. */
const makeWait = (sync: Synced) =>
  Effect.forEach(
    ["replit", "external"] as const,
    (side) =>
      sync[side].query(
        "update vaivem.quarantine set next_attempt_at = now() + interval '1 hour', attempts = 9 where table_schema = $1",
        [
          sync.schema
        ]
      )
  )

layer(PgPair.layer, { excludeTestServices: true })("promise 7", (it) => {
  it.scoped("promise 7: one bad row stops only itself, and is told with its reason", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: "create table notas (id integer primary key, a text)",
        external: "create table notas (id integer primary key, a varchar(5), constraint sem_x check (a <> 'x'))"
      })
      yield* sync.replit.query("insert into notas select n, 'ok' from generate_series(1, 300) n")
      yield* sync.replit.query("update notas set a = 'x' where id = 7; update notas set a = 'comprido' where id = 200")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 298, quarantined: 2 } })
      const found = [...yield* quarantined(sync, "replit")].sort((a, b) => Number(a.key[0]) - Number(b.key[0]))
      assert.deepStrictEqual(
        found.map(({ constraint, from, key, sqlState }) => ({ constraint, from, key, sqlState }))
          .sort((one, other) => Number(one.key[0]) - Number(other.key[0])),
        [
          { constraint: "sem_x", from: "replit", key: ["7"], sqlState: "23514" },
          { constraint: null, from: "replit", key: ["200"], sqlState: "22001" }
        ]
      )
      for (const { message } of found) assert.notInclude(message, "comprido")
      assert.deepStrictEqual(yield* sync.replit.pending("notas"), ["INSERT 7", "INSERT 200", "UPDATE 7", "UPDATE 200"])

      yield* sync.replit.query("update notas set a = 'y' where id = 7")
      yield* sync.external.query("alter table notas alter column a type text")
      yield* sync.replit.database.retryQuarantined(sync.tables[0]!, null)
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: twins by a unique key wait on both sides, each naming the other", () =>
    Effect.gen(function*() {
      const sync = yield* synced(perfis)
      yield* sync.replit.query(
        `insert into perfis (id, nome, email) values ('${uuid(1)}', 'r', 'a@b'), ('${uuid(3)}', 'r', 'c@d')`
      )
      yield* sync.external.query(`insert into perfis (id, nome, email) values ('${uuid(2)}', 'e', 'a@b')`)
      assert.deepStrictEqual(moved(yield* sync.cycle), {
        push: { inserted: 1, quarantined: 1 },
        pull: { quarantined: 1 }
      })
      for (const [side, own, other] of [["replit", 1, 2], ["external", 2, 1]] as const) {
        const [found, ...others] = yield* quarantined(sync, side)
        assert.deepStrictEqual(others, [])
        assert.deepInclude(found, {
          key: [uuid(own)],
          blockedBy: [uuid(other)],
          constraint: "perfis_email_key",
          sqlState: "23505",
          attempts: 1
        })
      }
    }))

  for (
    const [title, side, statement] of [
      ["when the blocking row is changed", "external", `update perfis set email = 'outro@b' where id = '${uuid(2)}'`],
      ["when the blocking row is deleted", "external", `delete from perfis where id = '${uuid(2)}'`],
      ["when the waiting row is changed", "replit", `update perfis set email = 'outro@b' where id = '${uuid(1)}'`],
      ["when the waiting row is deleted", "replit", `delete from perfis where id = '${uuid(1)}'`]
    ] as const
  ) {
    it.scoped(`promise 7: twins heal by themselves ${title}, however long they would wait`, () =>
      Effect.gen(function*() {
        const sync = yield* synced(perfis)
        yield* sync.replit.query(`insert into perfis (id, nome, email) values ('${uuid(1)}', 'r', 'a@b')`)
        yield* sync.external.query(`insert into perfis (id, nome, email) values ('${uuid(2)}', 'e', 'a@b')`)
        yield* sync.cycle
        yield* makeWait(sync)
        assert.strictEqual((yield* sync.cycle).outcome, "idle")
        yield* sync[side].query(statement)
        yield* sync.cycle
        yield* sync.cycle
        yield* assertConverged(sync)
      }))
  }

  it.scoped("promise 7: a row refused for a row that isn't synced is tried again with the next cycles, then rarely", () =>
    Effect.gen(function*() {
      const sync = yield* synced(perfis)
      yield* sync.external.query("alter table perfis add constraint longo check (length(nome) > 3) not valid")
      yield* sync.cycle
      yield* sync.replit.query(`insert into perfis (id, nome) values ('${uuid(1)}', 'r')`)
      const wait = sync.replit.query<{ attempts: number; seconds: number }>(
        "select attempts, round(extract(epoch from next_attempt_at - clock_timestamp()))::integer as seconds from vaivem.quarantine where table_schema = $1",
        [sync.schema]
      )
      for (let attempt = 1; attempt <= 5; attempt++) {
        assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { quarantined: 1 } })
        assert.isAtMost((yield* wait)[0]!.seconds, 0)
        assert.strictEqual((yield* wait)[0]!.attempts, attempt)
      }
      for (const minutes of [1, 2, 4, 8, 16, 32, 60, 60]) {
        yield* sync.replit.query(
          "update vaivem.quarantine set next_attempt_at = clock_timestamp() where table_schema = $1",
          [
            sync.schema
          ]
        )
        yield* sync.cycle
        assert.approximately((yield* wait)[0]!.seconds, minutes * 60, 5)
        const idle = yield* sync.cycle
        assert.deepStrictEqual({ ...moved(idle), outcome: idle.outcome, quarantined: idle.quarantined }, {
          ...nothing,
          outcome: "idle",
          quarantined: 1
        })
      }
      yield* sync.external.query("alter table perfis drop constraint longo")
      yield* sync.replit.database.retryQuarantined(null, null)
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: delete and register again with the same e-mail is no refusal, in one cycle", () =>
    Effect.gen(function*() {
      const sync = yield* synced(perfis)
      yield* sync.replit.query(
        "insert into perfis (nome, email) select 'n' || n, n || '@x' from generate_series(1, 20) n"
      )
      yield* sync.cycle
      yield* sync.replit.query(
        "delete from perfis; insert into perfis (nome, email) select 'm' || n, n || '@x' from generate_series(1, 20) n"
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 20, deleted: 20 } })
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: rows that pass a unique value on to each other arrive in one cycle", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table fila (id integer primary key, lugar integer unique)")
      yield* sync.replit.query("insert into fila select n, n from generate_series(1, 20) n")
      yield* sync.cycle
      yield* sync.replit.query("update fila set lugar = lugar + 100; update fila set lugar = lugar - 99")
      yield* sync.cycle
      yield* assertEqual(sync)
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: rows that swapped a unique value arrive at once where the constraint may be deferred", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table fila (id integer primary key, lugar integer unique deferrable)")
      yield* sync.replit.query("insert into fila select n, n from generate_series(1, 50) n")
      yield* sync.cycle
      yield* sync.replit.query("update fila set lugar = 51 - lugar")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 50 } })
      yield* assertConverged(sync)
    }))

  /** Two rows that swap a value, a ring of three, a chain that ends in a new value, and a row beside them. */
  const tangle = (column: string, value: (n: number) => string) =>
    `begin;
     update fila set ${column} = case id when 1 then ${value(101)} when 2 then ${value(102)} when 3 then ${
      value(103)
    } when 4 then ${value(104)} when 5 then ${value(105)} end where id <= 5;
     update fila set ${column} = case id when 1 then ${value(2)} when 2 then ${value(1)} when 3 then ${value(4)}
       when 4 then ${value(5)} when 5 then ${value(3)} end where id <= 5;
     update fila set ${column} = ${value(99)} where id = 7;
     update fila set ${column} = ${value(7)} where id = 6;
     commit`

  for (
    const [title, column] of [
      ["may be null", "lugar integer unique"],
      ["may not be null", "lugar integer not null unique"],
      ["may be null, but not two of them", "lugar integer unique nulls not distinct"],
      ["may not be null by a CHECK", "lugar integer unique check (lugar is not null)"]
    ] as const
  ) {
    it.scoped(`promise 7: rows that swapped unique values, or passed them on in a ring, arrive where they ${title}`, () =>
      Effect.gen(function*() {
        const sync = yield* synced({
          replit: `create table fila (id integer primary key, ${column}, a text)`,
          external: `create table fila (a text, so_la text default 'x', id integer primary key, ${column},
            calc integer generated always as (lugar * 2) stored);
            create table ref (fila integer references fila)`
        })
        yield* sync.replit.query("insert into fila select n, n from generate_series(1, 9) n")
        yield* sync.cycle
        yield* sync.external.query("update fila set so_la = 'fica ' || id; insert into ref select id from fila")
        yield* sync.cycle
        yield* sync.replit.query(tangle("lugar", String))
        yield* sync.replit.query("update fila set a = 'b' where id in (1, 9)")
        assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 8 } })
        const common = "select id, lugar, a from fila order by id"
        assert.deepStrictEqual(yield* sync.external.query(common), yield* sync.replit.query(common))
        assert.strictEqual((yield* sync.cycle).outcome, "idle")
        assert.deepStrictEqual(
          yield* sync.external.query("select count(*) as n from fila where so_la = 'fica ' || id and calc = lugar * 2"),
          [{ n: 9 }]
        )
        assert.deepStrictEqual(yield* sync.external.query("select count(*) as n from ref"), [{ n: 9 }])
      }))
  }

  it.scoped("promise 7: a thousand rows that all swapped their unique values arrive in one cycle", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table fila (id integer primary key, lugar integer not null unique)")
      yield* sync.replit.query("insert into fila select n, n from generate_series(1, 1000) n")
      yield* sync.cycle
      yield* sync.replit.query("update fila set lugar = -lugar; update fila set lugar = 1001 + lugar")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1000 } })
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: rings that are longer than a batch, or wait in quarantine in part, arrive", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table fila (id integer primary key, lugar integer not null unique)", {
        settings: { batchRowsMax: 2 }
      })
      yield* sync.replit.query("insert into fila select n, n from generate_series(1, 9) n")
      yield* sync.cycle
      yield* sync.replit.query(tangle("lugar", String))
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 7 } })
      yield* assertConverged(sync)
      // Row 1 waits for what row 2 has; then row 2 takes what row 1 has.
      yield* sync.external.query("alter table fila add constraint espera check (id > 1 or lugar <> 8) not valid")
      yield* sync.replit.query(
        "update fila set lugar = -1 where id = 8; update fila set lugar = 8 where id = 1; update fila set lugar = 2 where id = 8"
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { quarantined: 2 } })
      yield* sync.external.query("alter table fila drop constraint espera")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 2 } })
      yield* assertConverged(sync)
    }))

  for (
    const [title, index] of [
      ["an index on an expression", "create unique index fila_email on fila (lower(email))"],
      ["a partial index", "create unique index fila_email on fila (email) where ativo"],
      ["an index on several columns", "create unique index fila_email on fila (ativo, email)"]
    ] as const
  ) {
    it.scoped(`promise 7: swaps under ${title} arrive, and a twin is told with the row in its way`, () =>
      Effect.gen(function*() {
        const sync = yield* synced(
          `create table fila (id integer primary key, email text not null, ativo boolean not null default true);
           ${index}`
        )
        yield* sync.replit.query("insert into fila select n, n || '@x' from generate_series(1, 9) n")
        yield* sync.cycle
        yield* sync.replit.query(tangle("email", (n) => `'${n}@x'`))
        yield* sync.external.query("insert into fila values (50, 'gemeo@x')")
        yield* sync.replit.query("insert into fila values (40, 'gemeo@x')")
        assert.deepStrictEqual(moved(yield* sync.cycle), {
          push: { updated: 7, quarantined: 1 },
          pull: { quarantined: 1 }
        })
        for (const [side, own, other] of [["replit", "40", "50"], ["external", "50", "40"]] as const) {
          assert.deepInclude((yield* quarantined(sync, side))[0], {
            key: [own],
            blockedBy: [other],
            constraint: "fila_email",
            sqlState: "23505"
          })
        }
        yield* sync.replit.query("delete from fila where id = 40")
        yield* sync.cycle
        yield* sync.cycle
        yield* assertConverged(sync)
      }))
  }

  it.scoped("promise 7: rows that swapped a unique value wait where children would be taken along, and the others go on", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table fila (id integer primary key, lugar integer not null unique)")
      yield* sync.external.query("create table ref (fila integer references fila on delete cascade)")
      yield* sync.replit.query("insert into fila values (1, 1), (2, 2), (3, 3)")
      yield* sync.cycle
      yield* sync.external.query("insert into ref select id from fila")
      yield* sync.replit.query("update fila set lugar = 0 where id = 1; update fila set lugar = 1 where id = 2")
      yield* sync.replit.query("update fila set lugar = 2 where id = 1; update fila set lugar = 4 where id = 3")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1, quarantined: 2 } })
      const found = yield* quarantined(sync, "replit")
      assert.deepStrictEqual(Object.fromEntries(found.map(({ blockedBy, key }) => [key, blockedBy])), {
        1: ["2"],
        2: ["1"]
      })
      assert.deepStrictEqual(yield* sync.external.query("select count(*) as n from ref"), [{ n: 3 }])
      yield* sync.replit.query("update fila set lugar = 9 where id = 1")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: a row of a wrong type in the middle of a wide batch stops only itself", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: "create table notas (id integer primary key, a text, b text)",
        external: "create table notas (id integer primary key, a varchar(5), b text)"
      })
      yield* sync.replit.query(
        "insert into notas select n, 'ok', repeat(md5(n::text), 700) from generate_series(1, 200) n"
      )
      yield* sync.replit.query("update notas set a = 'comprido' where id = 60")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 199, quarantined: 1 } })
      yield* sync.replit.query("update notas set a = 'curto' where id = 60")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: children come after their parents, whatever the order of the tables, and go before them", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `create table pais (id integer primary key);
         create table filhos (id integer primary key, pai integer not null references pais);
         create table netos (id integer primary key, filho integer not null references filhos)`,
        { tables: ["netos", "pais", "filhos"] }
      )
      yield* sync.replit.query(
        "insert into pais values (1); insert into filhos values (1, 1); insert into netos values (1, 1)"
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 3 } })
      yield* assertConverged(sync)
      yield* sync.external.query("delete from netos; delete from filhos; delete from pais")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { deleted: 3 } })
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: rows of one table that point at each other arrive, parents and children in any key order", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table arvore (id integer primary key, pai integer references arvore)", {
        settings: { batchRowsMax: 3 }
      })
      yield* sync.replit.query(
        "insert into arvore values (10, null), (9, 10), (8, 9), (7, 8), (6, 7), (5, 6), (4, 5), (3, 4), (2, 3), (1, 2)"
      )
      const report = yield* sync.cycle
      assert.deepStrictEqual(moved(report), { ...nothing, push: { inserted: 10 } })
      yield* assertConverged(sync)
      yield* sync.replit.query("delete from arvore")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { deleted: 10 } })
      yield* assertConverged(sync)
    }))

  for (const direction of ["push", "pull"] as const) {
    it.scoped(`promise 7: tables in a circle of foreign keys that may not be null arrive by ${direction}`, () =>
      Effect.gen(function*() {
        const [from, to] = direction === "push" ? ["replit", "external"] as const : ["external", "replit"] as const
        const sync = yield* synced(
          `create table lojas (id integer primary key, chefe integer not null);
           create table pessoas (id integer primary key, loja integer not null references lojas);
           create table turnos (id integer primary key, pessoa integer not null references pessoas);
           alter table lojas add foreign key (chefe) references pessoas`,
          { tables: ["turnos", "pessoas", "lojas"] }
        )
        const fill = (first: number, last: number) =>
          sync[from].query(
            `with l as (insert into lojas select n, n + 1000 from generate_series(${first}, ${last}) n),
               p as (insert into pessoas select n + 1000, n from generate_series(${first}, ${last}) n)
             insert into turnos select n, n + 1000 from generate_series(${first}, ${last}) n`
          )
        yield* fill(1, 20)
        assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, [direction]: { inserted: 60 } })
        yield* assertConverged(sync)
        assert.deepStrictEqual(yield* sync[to].database.conflicts({ limit: 1 }), [])
        // Once more, with a row that nothing can bring over: the others go all the same, in time.
        yield* sync[to].query("alter table pessoas add constraint nunca check (id <> 1023)")
        yield* fill(21, 23)
        yield* sync[from].query("update lojas set chefe = 1021 where id = 23")
        yield* sync.cycle
        const left = yield* sync[from].database.quarantined(null)
        assert.include(left.map(({ key, table }) => `${table.name} ${key.join()}`), "pessoas 1023")
        yield* sync[to].query("alter table pessoas drop constraint nunca")
        yield* sync.cycle
        yield* sync.cycle
        yield* assertConverged(sync)
      }))
  }

  it.scoped("promise 7: tables in a circle of foreign keys arrive where one of them has a BEFORE trigger, too", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `create table lojas (id integer primary key, chefe integer not null);
         create table pessoas (id integer primary key, loja integer not null references lojas);
         alter table lojas add foreign key (chefe) references pessoas;
         create function nada() returns trigger language plpgsql as $$ begin return new; end $$;
         create trigger nada before insert or update on lojas for each row execute function nada();
         create trigger nada before insert or update on pessoas for each row execute function nada()`
      )
      yield* sync.replit.query(
        `with l as (insert into lojas select n, n from generate_series(1, 20) n)
         insert into pessoas select n, n from generate_series(1, 20) n`
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 40 } })
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: a constraint that is checked at COMMIT refuses only its own row", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `
        create table pais (id integer primary key);
        create table filhos (id integer primary key, pai integer references pais deferrable initially deferred)`,
        {
          tables: ["filhos"]
        }
      )
      for (const side of ["replit", "external"] as const) yield* sync[side].query("insert into pais values (1)")
      yield* sync.replit.query("insert into pais values (2)")
      yield* sync.replit.query("insert into filhos values (1, 1), (2, 2), (3, 1)")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { inserted: 2, quarantined: 1 } })
      assert.deepInclude((yield* quarantined(sync, "replit"))[0], {
        key: ["2"],
        sqlState: "23503",
        constraint: "filhos_pai_fkey"
      })
      yield* sync.external.query("insert into pais values (2)")
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("promise 7: a row that a trigger refuses waits, and discard takes the other side's version", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: "create table notas (id integer primary key, a text)",
        external: `
          create table notas (id integer primary key, a text);
          create function recusa() returns trigger language plpgsql as $$
            begin if new.a = 'não' then raise exception 'nada de não'; end if; return new; end $$;
          create trigger recusa before insert or update on notas for each row execute function recusa()`
      })
      yield* sync.replit.query("insert into notas values (1, 'sim'), (2, 'sim')")
      yield* sync.cycle
      yield* sync.replit.query("update notas set a = 'não' where id = 1; update notas set a = 'talvez' where id = 2")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, push: { updated: 1, quarantined: 1 } })
      const [found] = yield* quarantined(sync, "replit")
      assert.deepInclude(found, { key: ["1"], sqlState: "P0001", message: "nada de não" })
      const table = yield* sync.table("notas")
      yield* sync.external.database.mark(table, [found!.key])
      yield* sync.replit.database.discard(table, found!.id)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* sync.replit.rows("notas"), ["(1,sim)", "(2,talvez)"])
      const [lost] = yield* sync.replit.database.conflicts({ table: sync.tables[0]!, limit: 9 })
      assert.deepInclude(lost, { reason: "discard", lost: { id: "1", a: "não" } })
    }))
})
