/** What `setup --prefer` and `--missing` do on real servers: foreign keys, partitions, and an app that goes on writing. */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { sides } from "../../src/domain/Side.ts"
import { totalOf } from "../../src/programs/clearMissing.ts"
import type { Choices } from "../../src/programs/reconcile.ts"
import { setup } from "../../src/programs/setup.ts"
import type { Synced } from "../support/PgPair.ts"
import { assertConverged, PgPair, synced } from "../support/PgPair.ts"

const chosen = (sync: Synced, choices: Choices) => sync.run(setup({ createMissing: false, strict: true, choices }))

const clear = (sync: Synced) =>
  sync.run(setup({ createMissing: false, strict: true, clearing: { confirm: () => Effect.succeed(true) } }))

const journal = (sync: Synced, side: "replit" | "external") =>
  Effect.map(
    sync[side].database.conflicts({ limit: 1000 }),
    (found) =>
      found.filter(({ table }) => table.schema === sync.schema).map(({ key, reason, table }) =>
        `${reason} ${table.name} ${key.join()}`
      ).sort()
  )

const notas = "create table notas (id integer primary key, a text, updated_at timestamptz)"

layer(PgPair.layer, { excludeTestServices: true })("a first contact with a choice", (it) => {
  it.scoped("leaves no history of marks where the rows came from", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      yield* sync.replit.query("insert into notas select n, 'ours', '2024-01-01' from generate_series(1, 300) n")
      yield* chosen(sync, {})
      assert.lengthOf(yield* sync.replit.pending("notas"), 300)
      yield* sync.replit.query("update notas set a = 'newer' where id = 7")
      yield* sync.cycle
      const changes = "select operation, id, synced from notas_changelog"
      assert.deepStrictEqual(yield* sync.replit.query(changes), [{ operation: "UPDATE", id: 7, synced: true }])
      assert.lengthOf(yield* sync.external.query(changes), 300)
      yield* assertConverged(sync)
    }))

  it.scoped("leaves a history that goes in pieces, all of it and nothing newer", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas)
      const history = `vaivem."${sync.schema}.notas_history"`
      yield* sync.replit.query("insert into notas values (1, 'new')")
      yield* sync.cycle
      yield* sync.external.query(
        `insert into ${history} (source_change_id, operation, k1, changed_at, origin, synced_at)
         select n, 'UPSERT', n, '-infinity', 'replit', now() - interval '2 days' - n / 1000 * interval '1 ms'
         from generate_series(1, 120000) n`
      )
      const purge = Effect.map(
        sync.external.database.purge(sync.tables, { historyMs: 86_400_000, conflictsMs: 86_400_000 }),
        ({ purged }) => purged
      )
      assert.strictEqual(yield* purge, 120_000)
      assert.strictEqual(yield* purge, 0)
      assert.lengthOf(yield* sync.external.query(`select from ${history}`), 1)
    }))

  it.scoped("prefers a side's rows whatever their stamps say, and journals the losers whole", () =>
    Effect.gen(function*() {
      const sync = yield* synced({ replit: notas, external: `${notas}; alter table notas add b text` }, {
        started: false
      })
      yield* sync.replit.query("insert into notas select n, 'ours', '2024-01-01' from generate_series(1, 300) n")
      yield* sync.external.query(
        "insert into notas select n, 'theirs', '2024-02-01', 'b' from generate_series(101, 400) n"
      )
      const { tables } = yield* chosen(sync, { prefer: "replit" })
      assert.deepInclude(tables[0]!.reconciled!.replit, { onlyHere: 100, different: 200, marked: 300 })
      const { push } = yield* sync.cycle
      assert.deepInclude(push, { inserted: 100, updated: 200, conflicts: 200 })
      const [counts] = yield* sync.external.query(
        "select count(*) filter (where a = 'ours')::int as ours, count(*) filter (where a = 'theirs')::int as theirs from notas"
      )
      assert.deepStrictEqual(counts, { ours: 300, theirs: 100 })
      const [loser] = yield* sync.external.database.conflicts({ limit: 1 })
      assert.deepInclude(loser!.lost, { a: "theirs", b: "b" })
      assert.strictEqual((yield* sync.cycle).outcome, "idle")
      assert.deepStrictEqual(yield* sync.replit.pending("notas"), [])
    }))

  it.scoped("leaves rows on one side alone and moves the rest", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      yield* sync.replit.query("insert into notas values (1, 'x', '2024-01-01'), (2, 'ours', '2024-01-01')")
      yield* sync.external.query("insert into notas values (3, 'y', '2024-01-01'), (2, 'theirs', '2024-01-02')")
      const { tables } = yield* chosen(sync, { missing: "keep", prefer: "external" })
      assert.deepStrictEqual(tables[0]!.left, { replit: 1, external: 1 })
      yield* sync.cycle
      const ids = (side: "replit" | "external") =>
        Effect.map(sync[side].query("select id, a from notas order by id"), (rows) =>
          rows.map((row) => `${row["id"]} ${row["a"]}`))
      assert.deepStrictEqual([yield* ids("replit"), yield* ids("external")], [["1 x", "2 theirs"], ["2 theirs", "3 y"]])
    }))

  it.scoped("deletes children before parents, keeps every row in the journal, and brings one back", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `create table autores (id integer primary key, nome text, tamanho integer generated always as (length(nome)) stored,
           chefe integer references autores on delete set null);
         create table livros (id integer generated always as identity primary key, autor integer references autores, titulo text);
         create table notas (autor integer references autores on delete cascade, n integer, primary key (autor, n));
         create table visitas (dia date, n integer, primary key (dia, n)) partition by range (dia);
         create table visitas_2024 partition of visitas for values from ('2024-01-01') to ('2025-01-01')`,
        { started: false }
      )
      for (const side of sides) {
        yield* sync[side].query(
          `insert into autores (id, nome) values (1, 'Ana'), (2, 'Bia'); insert into livros (autor, titulo) values (1, 'Um');
           insert into notas values (1, 1); insert into visitas values ('2024-01-01', 1)`
        )
      }
      yield* sync.external.query(
        `insert into autores (id, nome) values (7, 'Gil'); update autores set chefe = 7 where id = 2;
         insert into livros (autor, titulo) values (7, 'Dois'), (2, 'Três'); insert into notas values (7, 1), (7, 2);
         insert into visitas values ('2024-01-02', 2)`
      )
      const { cleared } = yield* clear(sync)
      assert.deepStrictEqual(
        cleared.map(({ rows, table }) => [table.split(".").at(-1), rows]).sort(),
        [["autores", 1], ["livros", 2], ["notas", 2], ["visitas", 1]].map(([table, external]) => [table, {
          replit: 0,
          external
        }])
      )
      assert.deepStrictEqual(yield* journal(sync, "external"), [
        "first-contact autores 7",
        "first-contact livros 2",
        "first-contact livros 3",
        "first-contact notas 7,1",
        "first-contact notas 7,2",
        "first-contact visitas 2024-01-02,2"
      ])
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.lengthOf(yield* sync.external.rows("autores"), 2)
      const author = (yield* sync.external.database.conflicts({ limit: 50 })).find(({ table }) =>
        table.name === "autores"
      )
      assert.deepStrictEqual(author!.lost, { id: "7", nome: "Gil", tamanho: "3", chefe: null })
      yield* sync.external.database.restore(yield* sync.table("autores"), author!.id)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.isTrue((yield* sync.replit.rows("autores")).some((row) => row.includes("Gil")))
    }))

  it.scoped("leaves a row to its own change that the app holds or writes while rows are deleted", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      yield* sync.replit.query("insert into notas values (1, 'both', null)")
      yield* sync.external.query("insert into notas values (1, 'both', null), (2, 'gone', null), (3, 'held', null)")
      const app = yield* sync.external.connect
      const setting = yield* Effect.fork(sync.run(setup({
        createMissing: false,
        strict: true,
        clearing: {
          confirm: () => Effect.as(Effect.orDie(app.query("begin; update notas set a = 'written' where id = 3")), true)
        }
      })))
      yield* sync.external.serviceWaits
      yield* app.query("commit")
      const { cleared } = yield* Fiber.join(setting)
      assert.strictEqual(totalOf(cleared), 1)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journal(sync, "external"), ["first-contact notas 2"])
      assert.match((yield* sync.replit.rows("notas")).join(), /3,written/)
    }))

  it.scoped("refuses to delete for an empty side, and then copies as ever", () =>
    Effect.gen(function*() {
      const sync = yield* synced(notas, { started: false })
      yield* sync.replit.query("insert into notas select n from generate_series(1, 50) n")
      const error = yield* Effect.flip(clear(sync))
      assert.match(error.message, /is empty on external and has 50 rows on Replit/)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.lengthOf(yield* sync.external.rows("notas"), 50)
    }))
})
