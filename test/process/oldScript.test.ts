/**
 * The faults of the script that came before, each as a test that it can't happen here. It pushed by a changelog, pulled by
 * comparing all of `updated_at`, and deleted whatever the other side did not have. The built program works on its tables,
 * its changelog and its trigger as they were; tests share a pair, and each has rows of its own.
 */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, type Redacted } from "effect"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import type { Side } from "../../src/domain/Side.ts"
import { opposite, sides } from "../../src/domain/Side.ts"
import { type Ended, freshFolder, run, settings, start } from "../support/Program.ts"
import * as Proxy from "../support/Proxy.ts"
import { connect, freshDatabase, freshPair, query } from "../support/TestPostgres.ts"

const perfis = `create table perfis (
  id varchar(255) primary key, full_name varchar(255), name_user varchar(255), email varchar(255), tipo_conta varchar(100),
  avatar_url text, created_at timestamptz, updated_at timestamptz, id_usuario varchar(50));`

/** Neon's side has a trigger that overwrites the stamp, as the app's set-up made it. */
const external = `${perfis}
  alter table perfis add constraint perfis_email check (email not like '%@recusado.example');
  create function update_perfis_updated_at() returns trigger language plpgsql as $$
    begin new.updated_at = now(); return new; end $$;
  create trigger update_perfis_updated_at before update on perfis
    for each row execute function update_perfis_updated_at();`

const replit = `${perfis}
  create table perfis_changelog (
    id serial primary key, perfil_id varchar(255), operation varchar(10), change_timestamp timestamptz default now(),
    synced boolean default false, full_name varchar(255), name_user varchar(255), email varchar(255),
    tipo_conta varchar(100), avatar_url text, created_at timestamptz, updated_at timestamptz, id_usuario varchar(50));
  create function log_perfis() returns trigger language plpgsql as $$
    begin
      if tg_op = 'DELETE' then
        insert into perfis_changelog (perfil_id, operation) values (old.id, tg_op);
        return old;
      end if;
      insert into perfis_changelog (perfil_id, operation, full_name, email, updated_at)
        values (new.id, tg_op, new.full_name, new.email, new.updated_at);
      return new;
    end $$;
  create trigger log_perfis after insert or update or delete on perfis for each row execute function log_perfis();`

/** What both sides had when the script was stopped, and what it had not sent yet. */
const before = {
  both: `insert into perfis (id, full_name, email, created_at, updated_at)
    select 'p' || n, 'Nome ' || n, 'p' || n || '@exemplo.br', '2023-01-01', '2024-01-01' from generate_series(1, 2000) n;`,
  replit: `update perfis_changelog set synced = true;
    update perfis set full_name = 'foto velha', updated_at = '2024-02-01' where id = 'p1';
    update perfis set full_name = 'como está', updated_at = '2024-02-02' where id = 'p1';
    delete from perfis where id = 'p2';`
}

/** The app's folder as it was: `adopt` wants the old workflow gone first, and says what can go then. */
const takeOver = Effect.fnUntraced(function*(env: Readonly<Record<string, string>>) {
  const folder = yield* freshFolder
  const workflow = (args: string) => `[[workflows.workflow]]\nname = "DB Sync"\nargs = "${args}"\n`
  const write = (name: string, text: string) => Effect.promise(() => Fs.writeFile(Path.join(folder, name), text))
  yield* Effect.promise(() => Fs.mkdir(Path.join(folder, "scripts")))
  yield* write("scripts/sync_databases.py", "import psycopg2")
  yield* write("scripts/sync_scheduler.sh", "while true; do python3 scripts/sync_databases.py; sleep 300; done")
  yield* write(
    "scripts/vigia.py",
    "os.environ['EXTERNAL_DB_URL']; 'SELECT * FROM perfis_changelog WHERE synced = FALSE'"
  )
  yield* write("app.py", "print('the app itself')")
  yield* write(".replit", workflow("bash scripts/sync_scheduler.sh"))
  const refused = yield* run(["adopt"], { env, folder })
  assert.strictEqual(refused.code, 2)
  assert.match(
    refused.err,
    /sync_databases\.py, scripts\/sync_scheduler\.sh and scripts\/vigia\.py\.\n\.replit:3 still starts it/
  )
  assert.match(refused.err, /Nothing was done\. Stop its workflow for good/)
  yield* write(".replit", `# ${workflow("exec node dist/main.js")}`)
  const adopted = yield* run(["adopt", "--yes"], { env, folder })
  assert.strictEqual(adopted.code, 0, adopted.err)
  assert.match(adopted.out, /perfis: took over the older changelog on Replit \(.*\), with \d+ unsynced changes\./)
  assert.match(
    adopted.out,
    /these can go:\n {2}scripts\/sync_databases\.py\n {2}scripts\/sync_scheduler\.sh\n {2}scripts\/vigia\.py\n/
  )
})

class Pair extends Context.Tag("test/OldScript")<Pair, {
  readonly urls: Readonly<Record<Side, Redacted.Redacted>>
  readonly env: Readonly<Record<string, string>>
}>() {
  static readonly layer = Layer.scoped(
    this,
    Effect.gen(function*() {
      const urls = yield* freshPair
      yield* query(urls.replit, replit + before.both + before.replit)
      yield* query(urls.external, external + before.both)
      const env = settings(urls)
      yield* takeOver(env)
      assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      return { urls, env }
    }).pipe(Effect.orDie)
  )
}

const app = Effect.fnUntraced(function*(side: Side, text: string) {
  const { urls } = yield* Pair
  return yield* query(urls[side], text)
})

/** The names of rows of one test, side by side: null where there is none. */
const names = Effect.fnUntraced(function*(...ids: ReadonlyArray<string>) {
  const { urls } = yield* Pair
  const on = (side: Side) =>
    Effect.map(
      query<{ name: string | null }>(
        urls[side],
        "select p.full_name as name from unnest($1::text[]) with ordinality u (id, n) left join perfis p using (id) order by n",
        [ids]
      ),
      (found) => found.map(({ name }) => name)
    )
  return { replit: yield* on("replit"), external: yield* on("external") }
})

/** The query that people watched the script with. */
const notSynced = (side: Side) =>
  Effect.map(
    app(side, "SELECT * FROM perfis_changelog WHERE synced = FALSE"),
    (found) => found.map(({ id }) => id).sort()
  )

const once = Effect.fnUntraced(function*(code = 0, changed: Readonly<Record<string, string>> = {}) {
  const { env } = yield* Pair
  const ended = yield* run(["--once"], { env: { ...env, ...changed } })
  assert.strictEqual(ended.code, code, `${ended.out}\n${ended.err}`)
  return ended
})

const nothingMoved =
  /^Replit → external: 0 inserted, 0 updated, 0 deleted, 0 conflicts, 0 quarantined, 0 B; external → Replit: 0 inserted, 0 updated, 0 deleted, 0 conflicts, 0 quarantined, 0 B;/

const bytesOf = ({ out }: Ended) => [...out.matchAll(/(\d+) B/g)].reduce((sum, [, bytes]) => sum + Number(bytes), 0)

layer(Pair.layer, { excludeTestServices: true })("what the old script did, and can't happen", (it) => {
  it.scoped("1. a row that the other side never had is not deleted, nor are all when the other side is empty", () =>
    Effect.gen(function*() {
      yield* app("replit", "insert into perfis (id, full_name) values ('1a', 'nunca chegou')")
      yield* once()
      assert.deepStrictEqual(yield* names("1a"), { replit: ["nunca chegou"], external: ["nunca chegou"] })
      const urls = { replit: (yield* Pair).urls.replit, external: yield* freshDatabase }
      const full = yield* freshDatabase
      yield* query(full, perfis + before.both)
      yield* query(urls.external, perfis)
      assert.strictEqual((yield* run(["--once"], { env: settings({ ...urls, replit: full }) })).code, 0)
      for (const url of [full, urls.external]) {
        assert.deepStrictEqual(yield* query(url, "select count(*) as n from perfis"), [{ n: 2000 }])
      }
    }))

  it.scoped("2. one row's error takes no other row along, and none is marked synced that did not arrive", () =>
    Effect.gen(function*() {
      yield* app(
        "replit",
        `insert into perfis (id, full_name, email) values
          ('2a', 'boa', 'a@exemplo.br'), ('2b', 'má', 'b@recusado.example'), ('2c', 'boa', 'c@exemplo.br')`
      )
      assert.match((yield* once(3)).err, /in quarantine/)
      assert.deepStrictEqual(yield* names("2a", "2b", "2c"), {
        replit: ["boa", "má", "boa"],
        external: ["boa", null, "boa"]
      })
      assert.deepStrictEqual(yield* notSynced("replit"), ["2b"])
      yield* app("replit", "update perfis set email = 'b@exemplo.br' where id = '2b'")
      yield* once()
      assert.deepStrictEqual((yield* names("2b")).external, ["má"])
    }))

  it.scoped("3. a crash between the two commits neither loses a change nor makes it twice", () =>
    Effect.gen(function*() {
      const { env, urls } = yield* Pair
      for (const side of sides) {
        const other = opposite(side)
        yield* app(side, `insert into perfis (id, full_name) values ('3${side}', 'uma vez')`)
        const blocker = yield* connect(urls[side])
        // The target commits, and the source can't say that it knows.
        yield* blocker.query("begin; lock table vaivem.perfis_history in exclusive mode")
        const program = yield* start(["--once"], { env })
        const watch = yield* connect(urls[other])
        const arrived = watch.query(`select xmin::text from perfis where id = '3${side}'`)
        const first = yield* Effect.repeat(arrived, { until: (found) => found.length > 0 })
        yield* program.signal("SIGKILL")
        yield* program.ended
        // Its session would go on without it as soon as it gets the lock; the machine that crashes takes it along.
        yield* query(
          urls[side],
          "select pg_terminate_backend(pid, 10000) from pg_stat_activity where wait_event_type = 'Lock' and usename = user"
        )
        yield* blocker.query("commit")
        assert.include(yield* notSynced(side), `3${side}`)
        yield* once()
        assert.deepStrictEqual(yield* arrived, first)
        assert.deepStrictEqual([...(yield* notSynced(side)), ...(yield* notSynced(other))], [])
      }
    }))

  it.scoped("4. what was pulled is not pushed back", () =>
    Effect.gen(function*() {
      yield* app("external", "insert into perfis (id, full_name) values ('4a', 'de lá')")
      assert.match((yield* once()).out, /external → Replit: 1 inserted/)
      assert.deepStrictEqual(yield* notSynced("replit"), [])
      assert.match((yield* once()).out, nothingMoved)
    }))

  it.scoped("5. an older change of Replit does not overwrite a newer one of external, and is kept", () =>
    Effect.gen(function*() {
      yield* app("replit", "update perfis set full_name = 'mais velho', updated_at = '2024-03-01' where id = 'p5'")
      yield* app("external", "update perfis set full_name = 'mais novo' where id = 'p5'")
      yield* once()
      assert.deepStrictEqual(yield* names("p5"), { replit: ["mais novo"], external: ["mais novo"] })
      assert.deepStrictEqual(
        yield* app("replit", "select lost ->> 'full_name' as lost from vaivem.conflicts where key = '{p5}'"),
        [{ lost: "mais velho" }]
      )
    }))

  it.scoped("6. a row without updated_at arrives, and a trigger that rewrites it sends no row to and fro", () =>
    Effect.gen(function*() {
      yield* app("replit", "insert into perfis (id, full_name) values ('6a', 'sem data')")
      yield* app("external", "insert into perfis (id, full_name) values ('6b', 'sem data')")
      yield* app("replit", "update perfis set full_name = 'outro', updated_at = '2024-05-05' where id = 'p6'")
      yield* once()
      assert.deepStrictEqual(yield* names("6a", "6b"), {
        replit: ["sem data", "sem data"],
        external: ["sem data", "sem data"]
      })
      // Nor does the trigger change what arrives.
      assert.deepStrictEqual(
        yield* app("external", "select updated_at = '2024-05-05' as same from perfis where id = 'p6'"),
        [{ same: true }]
      )
      assert.match((yield* once()).out, nothingMoved)
    }))

  it.scoped("7. no column is left out: created_at travels, and so does a new column", () =>
    Effect.gen(function*() {
      for (const side of sides) yield* app(side, "alter table perfis add column telefone text")
      yield* app("replit", "update perfis set created_at = '2020-02-02', telefone = '11 9999' where id = 'p7'")
      yield* once()
      assert.deepStrictEqual(
        yield* app("external", "select created_at = '2020-02-02' as same, telefone from perfis where id = 'p7'"),
        [{ same: true, telefone: "11 9999" }]
      )
    }))

  it.scoped("8. an idle cycle reads no row of the table, and one that has a change moves that row alone", () =>
    Effect.gen(function*() {
      const { urls } = yield* Pair
      const read = (side: Side) =>
        Effect.map(
          query<{ n: number }>(
            urls[side],
            "select seq_tup_read + coalesce(idx_tup_fetch, 0) as n from pg_stat_user_tables where relname = 'perfis'"
          ),
          ([found]) => Number(found!.n)
        )
      const before = yield* Effect.all({ replit: read("replit"), external: read("external") })
      assert.match((yield* once()).out, nothingMoved)
      assert.deepStrictEqual(yield* Effect.all({ replit: read("replit"), external: read("external") }), before)
      yield* app("replit", "update perfis set full_name = 'um' where id = 'p8'")
      const moved = yield* once()
      assert.include(moved.out, "Replit → external: 0 inserted, 1 updated")
      assert.isBelow(bytesOf(moved), 500)
    }))

  it.scoped("9. changes of one moment, and one that commits late, go by what was committed and not by a time", () =>
    Effect.gen(function*() {
      const { urls } = yield* Pair
      // The same now() for all of it; the script's order was anybody's guess.
      yield* app(
        "replit",
        `begin; insert into perfis (id, full_name) values ('9a', '1'), ('9b', '1'); update perfis set full_name = '2' where id = '9a';
        delete from perfis where id in ('9a', '9b'); insert into perfis (id, full_name) values ('9a', '3'); commit`
      )
      const late = yield* connect(urls.replit)
      yield* late.query("begin; insert into perfis (id, full_name) values ('9c', 'tarde')")
      yield* app("replit", "insert into perfis (id, full_name) values ('9d', 'cedo')")
      yield* once()
      assert.deepStrictEqual((yield* names("9a", "9b", "9c", "9d")).external, ["3", null, null, "cedo"])
      yield* late.query("commit")
      yield* once()
      assert.deepStrictEqual((yield* names("9c")).external, ["tarde"])
    }))

  it.scoped("10. no failure ends with exit code 0 or with words of success", () =>
    Effect.gen(function*() {
      const { env } = yield* Pair
      const wrong = Object.assign(new URL(env["EXTERNAL_DB_URL"]!), { password: "errada" }).href
      const ended = yield* once(1, { EXTERNAL_DB_URL: wrong })
      assert.strictEqual(ended.out, "")
      assert.match(ended.err, /external.*password/)
      assert.notInclude(ended.err, "errada")
    }))

  it.scoped("11. a row that was deleted on external does not come back by an older update of Replit", () =>
    Effect.gen(function*() {
      yield* app("replit", "update perfis set full_name = 'ressuscitado', updated_at = '2024-03-01' where id = 'p11'")
      yield* app("external", "delete from perfis where id in ('p11', 'p12')")
      yield* once()
      assert.deepStrictEqual(yield* names("p11", "p12"), { replit: [null, null], external: [null, null] })
      assert.deepStrictEqual(
        yield* app("replit", "select lost ->> 'full_name' as lost from vaivem.conflicts where key = '{p11}'"),
        [{ lost: "ressuscitado" }]
      )
    }))

  it.scoped("12. 400 rows take no more round trips than 200", () =>
    Effect.gen(function*() {
      const { urls } = yield* Pair
      const proxies = { replit: yield* Proxy.make(urls.replit), external: yield* Proxy.make(urls.external) }
      const through = settings({ replit: proxies.replit.url, external: proxies.external.url })
      const trips = Effect.gen(function*() {
        const count = Effect.all([proxies.replit.roundTrips, proxies.external.roundTrips])
        const sum = Effect.map(count, (both) => both.flat().length)
        const before = yield* sum
        // It would look at more than 50 changes before they go, whatever their number.
        yield* once(0, { ...through, SYNC_BRAKE: "off" })
        return (yield* sum) - before
      })
      yield* app("replit", "update perfis set full_name = 'doze' where id = 'p13'")
      const one = yield* trips
      yield* app("replit", "update perfis set full_name = 'onze' where id between 'p14' and 'p16'")
      const some = yield* trips
      yield* app("replit", "update perfis set full_name = 'doze' where id between 'p14' and 'p18'")
      const many = yield* trips
      assert.strictEqual(many, some)
      // Up to a hundred take fewer.
      assert.isBelow(one, some)
    }))

  it.scoped("13. no name and no e-mail is printed, in no log and no message", () =>
    Effect.gen(function*() {
      const { env } = yield* Pair
      yield* app(
        "replit",
        `insert into perfis (id, full_name, email) values ('13a', 'Fulana de Tal', 'fulana@recusado.example');
        update perfis set full_name = 'Beltrano' where id = 'p20'`
      )
      yield* app("external", "update perfis set full_name = 'Sicrano' where id = 'p20'")
      const ended = yield* run(["--log-level", "debug", "--once"], { env })
      assert.strictEqual(ended.code, 3)
      const listed = yield* run(["quarantine", "list"], { env })
      assert.include(listed.out, "perfis_email")
      assert.notMatch(ended.out + ended.err + listed.out, /Fulana|fulana|Beltrano|Sicrano|@/)
      yield* app("replit", "delete from perfis where id = '13a'")
      yield* once()
    }))

  it.scoped("14. what an old entry of the changelog says of a row is never played again", () =>
    Effect.gen(function*() {
      // The script's own entries, unsynced when it was stopped, were taken over by the first run.
      assert.deepStrictEqual(yield* names("p1", "p2"), { replit: ["como está", null], external: ["como está", null] })
      yield* app(
        "replit",
        `update perfis set full_name = 'foto velha' where id in ('p21', 'p22');
        delete from perfis where id = 'p21'; update perfis set full_name = 'como está' where id = 'p22'`
      )
      yield* once()
      assert.deepStrictEqual((yield* names("p21", "p22")).external, [null, "como está"])
      assert.deepStrictEqual(yield* notSynced("replit"), [])
    }))
})
