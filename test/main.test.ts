/** The built program, as a process: what it prints, where, and how it ends. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import type { Ended } from "./support/Program.ts"
import { freshFolder, run, settings, start } from "./support/Program.ts"
import { asAdmin, connect, freshDatabase, freshPair, query } from "./support/TestPostgres.ts"

const commands = [
  "setup",
  "check",
  "doctor",
  "plan",
  "status",
  "logs",
  "verify",
  "conflicts",
  "quarantine",
  "approve",
  "reject",
  "pause",
  "resume",
  "sync",
  "probe",
  "teardown",
  "demo"
]

const perfis = "create table perfis (id text primary key, nome text, email text unique, updated_at timestamptz)"

/** A pair of databases that both have the table `perfis`. */
const pairWithTable = Effect.gen(function*() {
  const urls = yield* freshPair
  yield* query(urls.replit, perfis)
  yield* query(urls.external, perfis)
  return { ...urls, env: settings(urls) }
})

/** Ended like this, with one message that matches, no result, no stack trace and none of the passwords. */
const refused = (ended: Ended, code: number, message: RegExp, passwords: ReadonlyArray<string> = []) => {
  assert.match(ended.err, message)
  assert.strictEqual(ended.code, code)
  assert.strictEqual(ended.out, "")
  assert.notMatch(ended.err, /^\s+at /m)
  for (const password of passwords) assert.notInclude(ended.err, password)
}

/** A process takes a second to start; two processors start two of them. */
const inPairs = <A, E, R>(all: ReadonlyArray<A>, each: (one: A) => Effect.Effect<void, E, R>) =>
  Effect.forEach(all, each, { concurrency: 2, discard: true })

const passwordsOf = (env: Readonly<Record<string, string>>) =>
  [env["DATABASE_URL"], env["EXTERNAL_DB_URL"]].flatMap((url) => /:([^:@/]+)@/.exec(url ?? "")?.[1] ?? [])

const rows = (url: Redacted.Redacted, what = "id, nome") => query(url, `select ${what} from perfis order by id`)

const json = (ended: Ended) => JSON.parse(ended.out)

describe("the command line", () => {
  it.live("shows help of everything without settings", () =>
    Effect.gen(function*() {
      const help = yield* run(["--help"])
      assert.strictEqual(help.code, 0)
      assert.strictEqual(help.err, "")
      for (const command of commands) assert.include(help.out, `- ${command}`)
      assert.include(help.out, "EXIT CODES")
      assert.notInclude(help.out, "\u001b")
      yield* inPairs([...commands, "conflicts restore", "conflicts keep", "quarantine discard"], (command) =>
        Effect.map(run([...command.split(" "), "--help"]), ({ code, out }) => {
          assert.strictEqual(code, 0, command)
          assert.include(out, "DESCRIPTION")
        }))
    }))

  it.live("prints the version of the package", () =>
    Effect.gen(function*() {
      const { version } = JSON.parse(yield* Effect.promise(() => Fs.readFile("package.json", "utf8")))
      const { code, out } = yield* run(["--version"])
      assert.deepStrictEqual([code, out.trim()], [0, version])
    }))

  it.live("refuses what it does not know", () =>
    Effect.gen(function*() {
      const cases = [
        ["sincronizar", /^Unknown command sincronizar; `--help` shows what there is\.\n$/],
        ["--agora", /^Unknown option --agora; `--help` shows what there is\.\n$/],
        ["status --jsonn", /unknown argument: '--jsonn'/i],
        ["probe --from neon", /replit, external/],
        ["setup --missing drop", /copy, keep, delete/],
        ["probe", /--from/],
        ["conflicts show", /<id>/]
      ] as const
      yield* inPairs(
        cases,
        ([line, message]) => Effect.map(run(line.split(" ")), (ended) => refused(ended, 2, message))
      )
    }))
})

describe("settings", () => {
  const urls = {
    DATABASE_URL: "postgresql://postgres:segredo1@127.0.0.1:1/replit",
    EXTERNAL_DB_URL: "postgresql://postgres:segredo2@127.0.0.1:1/external"
  }
  const pooled = "postgresql://u:segredo3@ep-cool-1234-pooler.us-east-2.aws.neon.tech/neondb"
  const direct = /ep-cool-1234\.us-east-2\.aws\.neon\.tech/

  it.live("that can't work end every command at once, in one message", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [Readonly<Record<string, string>>, RegExp]> = [
        [{}, /^2 settings must change:\n- DATABASE_URL is not set.*\n- EXTERNAL_DB_URL is not set.*\n$/],
        [{ ...urls, EXTERNAL_DB_URL: "mysql://u:segredo1@h/d" }, /EXTERNAL_DB_URL is not a PostgreSQL URL/],
        [{ ...urls, EXTERNAL_DB_URL: pooled }, direct],
        [{ ...urls, DATABASE_URL: pooled }, direct],
        [{ ...urls, SYNC_INTERVAL: "logo" }, /SYNC_INTERVAL: logo is no duration/],
        [{ ...urls, SYNC_CONFLICT_POLICY: "newest" }, /SYNC_CONFLICT_POLICY: newest is none of last-write-wins/],
        [{ ...urls, SYNC_BATCH_ROWS_MAX: "0" }, /SYNC_BATCH_ROWS_MAX: 0 is no whole number/],
        [{ ...urls, SYNC_TABLES: "a b" }, /SYNC_TABLES: /],
        [{ ...urls, SYNC_BRAKE: "half" }, /SYNC_BRAKE: half is neither off nor a number of rows and a share/],
        [{ ...urls, SYNC_RETRY_FOR: "2 years" }, /SYNC_RETRY_FOR: 2 years is/]
      ]
      yield* inPairs(cases, ([env, message]) =>
        Effect.map(run(["--once"], { env }), (ended) => refused(ended, 2, message, ["segredo"])))
      yield* inPairs(["status", "check", "verify", "setup", "teardown"], (command) =>
        Effect.map(run([command]), (ended) =>
          refused(ended, 2, /DATABASE_URL is not set/)))
      refused(yield* run([], { env: { ...urls, SYNC_INTERVAL: "logo" } }), 2, /SYNC_INTERVAL/, ["segredo"])
    }))

  it.scopedLive("in an .env.sync that can't be read are told", () =>
    Effect.gen(function*() {
      const folder = yield* freshFolder
      yield* Effect.promise(() => Fs.mkdir(Path.join(folder, ".env.sync")))
      refused(yield* run(["--once"], { folder, env: urls }), 2, /settings file \.env\.sync can't be read/)
    }))

  it.scopedLive("are read from .env.sync, and the environment goes before it", () =>
    Effect.gen(function*() {
      const { env } = yield* pairWithTable
      const folder = yield* freshFolder
      const { EXTERNAL_DB_URL, ...rest } = env
      const file = `export EXTERNAL_DB_URL="${EXTERNAL_DB_URL}"\nSYNC_TABLES=outra\n`
      yield* Effect.promise(() => Fs.writeFile(Path.join(folder, ".env.sync"), file))
      const ended = yield* run(["--once"], { folder, env: { ...rest, SYNC_TABLES: "perfis" } })
      assert.strictEqual(ended.code, 0, ended.err)
    }))
})

describe("a world that says no", () => {
  const once = (env: Readonly<Record<string, string>>) => run(["--once"], { env })

  it.scopedLive(
    "ends --once with 1 and one clear message, after retries where they may help",
    () =>
      Effect.gen(function*() {
        const { env, external } = yield* pairWithTable
        const broken = (change: (url: URL) => void) => {
          const url = new URL(Redacted.value(external))
          change(url)
          return { ...env, EXTERNAL_DB_URL: url.href }
        }
        const cases = [
          [
            broken((url) => url.port = "1"),
            /can't be reached at port 1 \(ECONNREFUSED\)[^]*EXTERNAL_DB_URL is wrong\.\n$/
          ],
          [
            broken((url) => url.hostname = "nowhere.invalid"),
            /^The external database \(nowhere\.invalid\) was not found/
          ],
          [broken((url) => url.password = "errado123"), /refused the user name or the password/],
          [broken((url) => url.pathname = "/nenhum"), /could not be opened: database "nenhum" does not exist/],
          [broken((url) => url.username = "ninguem"), /refused the user/],
          [broken((url) => url.searchParams.set("sslmode", "require")), /TLS/]
        ] as const
        yield* inPairs(cases, ([bad, message]) =>
          Effect.map(once(bad), (ended) => refused(ended, 1, message, passwordsOf(bad))))
      }),
    60_000
  )

  it.scopedLive("is told once, not announced as tried again, when trying again would not help", () =>
    Effect.gen(function*() {
      const { env } = yield* pairWithTable
      const { err } = yield* once({ ...env, EXTERNAL_DB_URL: "postgresql://u:p@nowhere.invalid/d" })
      assert.strictEqual(err.trim().split("\n").length, 1)
    }))

  it.scopedLive("leaves check and status with the other side to report", () =>
    Effect.gen(function*() {
      const { env } = yield* pairWithTable
      const bad = { ...env, EXTERNAL_DB_URL: "postgresql://u:segredo@nowhere.invalid/d" }
      const checked = yield* run(["check", "--json"], { env: bad })
      assert.strictEqual(checked.code, 1)
      assert.isNotNull(json(checked).sides.replit.server)
      assert.isNull(json(checked).sides.external.server)
      const status = yield* run(["status"], { env: bad })
      assert.strictEqual(status.code, 1)
      assert.match(status.out, /perfis\s+Replit\s+0[^]*nowhere\.invalid/)
      assert.notInclude(checked.out + status.out, "segredo")
    }))

  it.scopedLive("holds the lease: --once gives up after its time", () =>
    Effect.gen(function*() {
      const { env, replit } = yield* pairWithTable
      assert.strictEqual((yield* once(env)).code, 0)
      const other = yield* connect(replit)
      yield* other.query("select pg_advisory_lock(hashtextextended('vaivem lease', 0))")
      yield* query(replit, "insert into perfis (id) values ('ana')")
      refused(yield* once(env), 1, /Another copy of vaivem .* It was not done within 1 s: try again later/)
      yield* other.query("select pg_advisory_unlock_all()")
      assert.strictEqual((yield* once(env)).code, 0)
    }))
})

describe("what a person must change first", () => {
  it.scopedLive("ends with 2 and the cure", () =>
    Effect.gen(function*() {
      const { env, external } = yield* pairWithTable
      const refuses = (env: Readonly<Record<string, string>>, message: RegExp) =>
        Effect.map(run(["--once"], { env }), (ended) => refused(ended, 2, message, passwordsOf(env)))
      yield* refuses({ ...env, EXTERNAL_DB_URL: env.DATABASE_URL }, /lead to the same database/)
      yield* refuses({ ...env, SYNC_TABLES: "nenhuma" }, /Table nenhuma does not exist/)
      yield* query(external, "create table livre (a int)")
      yield* query(Redacted.make(env.DATABASE_URL), "create table livre (a int)")
      yield* refuses({ ...env, SYNC_TABLES: "livre" }, /livre on Replit has no primary key.*ADD PRIMARY KEY/)
      yield* query(external, "create view vista as select * from perfis")
      yield* refuses({ ...env, SYNC_TABLES: "vista" }, /is a view/)
    }))

  it.scopedLive("includes a database that is paired with another one, and swapped URLs", () =>
    Effect.gen(function*() {
      const { env } = yield* pairWithTable
      assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      const third = yield* freshDatabase
      yield* query(third, perfis)
      const other = { ...env, EXTERNAL_DB_URL: Redacted.value(third) }
      refused(yield* run(["--once"], { env: other }), 2, /is paired with another external database/, passwordsOf(other))
      const swapped = { ...env, DATABASE_URL: env.EXTERNAL_DB_URL, EXTERNAL_DB_URL: env.DATABASE_URL }
      refused(yield* run(["--once"], { env: swapped }), 2, /seem to be swapped/, passwordsOf(env))
    }))
})

describe("--once", () => {
  it.scopedLive("sets both sides up, moves what is there, and moves nothing the second time", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      yield* query(replit, "insert into perfis (id, nome) values ('ana', 'Ana'), ('bia', 'Bia')")
      yield* query(external, "insert into perfis (id, nome) values ('caio', 'Caio')")
      const first = yield* run(["--once"], { env })
      assert.strictEqual(first.code, 0, first.err)
      assert.match(first.out, /^perfis: compared 2 rows on Replit with 1 on external/)
      assert.match(first.out, /\nReplit → external: 2 inserted, .*; external → Replit: 1 inserted, .*; in .*\n$/)
      assert.deepStrictEqual(yield* rows(replit), yield* rows(external))
      const second = yield* run(["--once"], { env })
      assert.match(
        second.out,
        /^Replit → external: 0 inserted, .* 0 B; external → Replit: 0 inserted, .* 0 B; in .*\n$/
      )
      assert.deepStrictEqual([second.code, second.err], [0, ""])
    }))

  it.scopedLive("ends with 3 while a row is in quarantine, and with 0 when it was discarded", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      yield* query(replit, "insert into perfis (id, email) values ('ana', 'same')")
      yield* query(external, "insert into perfis (id, email) values ('bia', 'same')")
      const once = yield* run(["--once"], { env })
      assert.strictEqual(once.code, 3)
      assert.match(once.out, /waiting for you: 2 rows in quarantine\n$/)
      const listed = json(yield* run(["quarantine", "list", "--json"], { env })).quarantine
      const ana = listed.find((entry: { readonly from: string }) => entry.from === "replit")
      assert.deepStrictEqual([ana.key, ana.sqlState, ana.blockedBy], [["ana"], "23505", ["bia"]])
      assert.strictEqual((yield* run(["verify"], { env })).code, 3)
      const discarded = yield* run(["quarantine", "discard", ana.id.slice(0, 8)], { env })
      assert.strictEqual(discarded.code, 0, discarded.err)
      assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      assert.deepStrictEqual(yield* rows(replit, "id"), [{ id: "bia" }])
    }))
})

describe("commands", () => {
  it.scopedLive("check and status say how things are, for people and as one JSON object", () =>
    Effect.gen(function*() {
      const { env, replit } = yield* pairWithTable
      const checked = yield* run(["check"], { env })
      assert.strictEqual(checked.code, 0, checked.out)
      assert.match(checked.out, /not set up yet[^]*perfis: fits[^]*Ready: no problems\./)
      yield* query(replit, "insert into perfis (id) values ('bia')")
      yield* run(["--once"], { env })
      assert.match(
        (yield* run(["status"], { env })).out,
        /^perfis: 100 % of 1 row proven equal within the last 1 min\.$/m
      )
      yield* query(replit, "insert into perfis (id) values ('ana')")
      const status = yield* run(["status", "--json"], { env })
      assert.strictEqual(status.code, 0)
      const { lastCycleAt, tables } = json(status)
      assert.strictEqual(tables[0].replit.pending, 1)
      assert.match(lastCycleAt, /^\d{4}-/)
      refused(yield* run(["status", "--watch"], { env }), 2, /^--watch draws on a terminal/)
      const logged = yield* run(["logs"], { env })
      assert.match(
        logged.out,
        /^started at [^\n]*\n[- ]+\n\d{4}-\S+ \d\d:\d\d:\d\dZ +\S+ m?s +1 row +0 rows +0 +0 +\d+ B +ok\n$/
      )
      assert.strictEqual(json(yield* run(["logs", "--json"], { env })).runs[0].push.inserted, 1)
      const missing = yield* run(["check", "--json"], { env: { ...env, SYNC_TABLES: "perfis,outra" } })
      assert.strictEqual(missing.code, 3)
      assert.match(json(missing).tables[1].problems[0], /outra/)
    }))

  it.scopedLive("setup --create-missing creates what one side lacks, and running it again changes nothing", () =>
    Effect.gen(function*() {
      const { external, replit } = yield* freshPair
      const env = settings({ external, replit })
      yield* query(replit, perfis)
      yield* query(replit, "insert into perfis (id) values ('ana')")
      refused(yield* run(["setup"], { env }), 2, /`setup --create-missing` creates it/)
      const created = yield* run(["setup", "--create-missing"], { env })
      assert.strictEqual(created.code, 0, created.err)
      assert.match(created.out, /^perfis: created on external\n[^]*Set up: perfis\.\n$/)
      const again = yield* run(["setup"], { env })
      assert.deepStrictEqual([again.code, again.out], [0, "Set up: perfis.\n"])
      assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      assert.deepStrictEqual(yield* rows(external, "id"), [{ id: "ana" }])
    }))

  it.scopedLive("probe shows the way from either side and leaves nothing behind", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      for (const from of ["replit", "external"]) {
        const probed = yield* run(["probe", "--from", from], { env })
        assert.strictEqual(probed.code, 0, probed.err)
        assert.match(
          probed.out,
          /^The row of perfis with key .* arrived on .* after .*\. It is removed on both sides again\.\n$/
        )
      }
      assert.deepStrictEqual([yield* rows(replit), yield* rows(external)], [[], []])
    }))

  it.scopedLive("a paused table waits, for every process, until it is resumed", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      refused(yield* run(["pause", "perfis"], { env }), 2, /^perfis is not set up on Replit/)
      yield* run(["--once"], { env })
      assert.match((yield* run(["pause", "perfis"], { env })).out, /^Paused perfis: from the next cycle on/)
      yield* query(replit, "insert into perfis (id, nome) values ('ana', 'Ana')")
      const paused = yield* run(["sync", "perfis"], { env })
      assert.deepStrictEqual([paused.code, yield* rows(external)], [3, []])
      assert.match(paused.out, /waiting for you: perfis paused/)
      assert.match(
        (yield* run(["status"], { env })).out,
        /^perfis is paused since .*`resume perfis` lets them go on\.$/m
      )
      assert.match((yield* run(["resume"], { env })).out, /^Resumed perfis: the next cycle syncs what waited\.$/m)
      const resumed = yield* run(["sync", "perfis"], { env })
      assert.deepStrictEqual([resumed.code, yield* rows(external)], [0, [{ id: "ana", nome: "Ana" }]])
    }))

  it.scopedLive("conflicts are listed, shown side by side, and restored on both sides", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      yield* query(replit, "insert into perfis (id, nome) values ('ana', 'Ana')")
      yield* run(["--once"], { env })
      yield* query(replit, "update perfis set nome = 'Velha', updated_at = '2024-01-01' where id = 'ana'")
      yield* query(external, "update perfis set nome = 'Nova', updated_at = '2024-01-02' where id = 'ana'")
      assert.match(
        (yield* run(["--once"], { env })).out,
        /external → Replit: 0 inserted, 1 updated, 0 deleted, 1 conflict/
      )
      const { conflicts } = json(yield* run(["conflicts", "list", "--json"], { env }))
      const id: string = conflicts[0].id.slice(0, 8)
      assert.include((yield* run(["conflicts"], { env })).out, id)
      const shown = yield* run(["conflicts", "show", id], { env })
      assert.match(shown.out, /\* {2}nome\s+Velha\s+Nova/)
      const restored = yield* run(["conflicts", "restore", id], { env })
      assert.strictEqual(restored.code, 0, restored.err)
      yield* run(["--once"], { env })
      assert.deepStrictEqual(yield* rows(external), [{ id: "ana", nome: "Velha" }])
      refused(yield* run(["conflicts", "restore", id], { env }), 2, /was restored already/)
    }))

  it.scopedLive("verify finds what capture never saw, and repairs it", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      yield* query(replit, "insert into perfis (id, nome) select 'p' || n, 'Perfil' from generate_series(1, 300) n")
      yield* run(["--once"], { env })
      assert.strictEqual((yield* run(["verify"], { env })).code, 0)
      yield* query(replit, "insert into perfis (id) values ('ana')")
      assert.strictEqual((yield* run(["verify"], { env })).code, 1)
      yield* query(external, "delete from perfis where id = 'p7'")
      yield* query(external, "update perfis set nome = 'Outro' where id = 'p8'")
      yield* query(external, "delete from vaivem.perfis_pending")
      const found = yield* run(["verify", "--json"], { env })
      assert.strictEqual(found.code, 3)
      assert.deepStrictEqual(json(found).tables[0].onlyOn, { replit: 1, external: 0 })
      const shown = yield* run(["verify", "--repair", "--dry-run", "--show", "1"], { env })
      assert.strictEqual(shown.code, 3)
      assert.match(
        shown.out,
        /… and 2 more: .*\nNothing was changed\. --repair would mark \d keys? as pending on Replit and \d on external/
      )
      refused(yield* run(["verify", "--dry-run"], { env }), 2, /say both/)
      const repaired = yield* run(["verify", "--repair"], { env })
      assert.strictEqual(repaired.code, 0, repaired.out + repaired.err)
      assert.match(repaired.out, /perfis: equal, 301 rows on both sides \(\d+ ranges of keys, \d+ kB moved\)\n$/)
      assert.deepStrictEqual(yield* rows(replit), yield* rows(external))
    }))

  it.scopedLive("doctor shows the SQL that solves a problem, and runs what is safe when it is told to", () =>
    Effect.gen(function*() {
      const urls = yield* freshPair
      const env = { ...settings(urls), SYNC_TABLES: "pedidos" }
      yield* query(urls.replit, "create table pedidos (id serial primary key, o text)")
      yield* query(urls.external, "create table pedidos (id int primary key, o text)")
      yield* query(urls.replit, "insert into pedidos values (5, 'a')")
      const shown = yield* run(["doctor"], { env })
      assert.match(shown.out, /\n {2}safe, with --fix, on Replit: SELECT setval\(.*\n$/)
      assert.strictEqual(shown.code, 3)
      refused(
        yield* run(["doctor", "--fix"], { env }),
        2,
        /^Nothing was run\. [^]*on Replit: SELECT setval[^]*Say --yes/
      )
      refused(yield* run(["doctor", "--yes"], { env }), 2, /say both/)
      const fixed = yield* run(["doctor", "--fix", "--yes", "--json"], { env })
      assert.deepStrictEqual([fixed.code, json(fixed).applied.length, json(fixed).refused], [0, 1, []])
      assert.deepStrictEqual(yield* query(urls.replit, "select nextval('pedidos_id_seq')::int as id"), [{ id: 6 }])
    }))

  it.scopedLive("setup --split-ids keeps the ids of both sides apart, as check asked for, and teardown ends it", () =>
    Effect.gen(function*() {
      const urls = yield* freshPair
      const env = { ...settings(urls), SYNC_TABLES: "pedidos" }
      const both = [urls.replit, urls.external]
      for (const url of both) yield* query(url, "create table pedidos (id serial primary key, o text)")
      const asked = yield* run(["check"], { env })
      assert.match(asked.out, /PROBLEM: Both sides give the ids of pedidos\.id .* Run `setup --split-ids`\./)
      assert.strictEqual(asked.code, 3)
      const done = yield* run(["setup", "--split-ids"], { env })
      assert.match(
        done.out,
        /pedidos\.id: odd ids on Replit, even ids on external\.\n.*Replit goes on with 1001, in steps of 2/
      )
      assert.deepStrictEqual([done.code, done.err.includes("out of the same numbers")], [0, false])
      assert.strictEqual((yield* run(["check"], { env })).code, 0)
      assert.strictEqual((yield* run(["teardown"], { env })).code, 0)
      for (const url of both) {
        const found = yield* query(url, "select seqincrement as by from pg_sequence")
        assert.deepStrictEqual(found, [{ by: 1 }])
      }
    }))

  it.scopedLive("teardown refuses to lose anything unasked, and with --yes leaves no trace of ours", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      yield* run(["--once"], { env })
      yield* query(replit, "insert into perfis (id) values ('ana')")
      refused(yield* run(["teardown"], { env }), 2, /Nothing was removed[^]*perfis on Replit: 1 change .*[^]*--yes/)
      const done = yield* run(["teardown", "--yes"], { env })
      assert.strictEqual(done.code, 0, done.err)
      for (const url of [replit, external]) {
        assert.deepStrictEqual(yield* query(url, "select 1 from pg_namespace where nspname = 'vaivem'"), [])
        assert.deepStrictEqual(yield* query(url, "select 1 from pg_trigger where not tgisinternal"), [])
        assert.deepStrictEqual(yield* query(url, "select 1 from pg_class where relname like 'perfis\\_%log'"), [])
      }
      assert.deepStrictEqual(yield* rows(replit, "id"), [{ id: "ana" }])
    }))

  it.scopedLive("a table that the brake holds is told in log, status and exit code, and goes on with approve or reject", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      yield* query(replit, "insert into perfis (id) select 'p' || n from generate_series(1, 100) n")
      yield* run(["--once"], { env })
      refused(yield* run(["approve", "perfis"], { env }), 2, /perfis is not held by the brake\. No table is/)
      yield* query(replit, "truncate perfis")
      const held = yield* run(["--once"], { env })
      assert.strictEqual(held.code, 3, held.err)
      assert.match(held.err, /level=WARN.*perfis is held: 100 of 100 rows of external would be deleted.*50 rows, 20 %/)
      assert.match(held.err, /`approve perfis`.*`reject perfis`/)
      assert.match(held.out, /waiting for you: perfis held/)
      assert.match((yield* run(["status"], { env })).out, /perfis is held since .*100 of 100 rows of external/)
      assert.deepInclude(json(yield* run(["status", "--json"], { env })).held[0].replit, { deletes: 100, rows: 100 })
      const rejected = yield* run(["reject", "perfis"], { env })
      assert.strictEqual(rejected.out, "Rejected for perfis: 100 deletes. The next cycle brings the rows back.\n")
      assert.match((yield* run(["--once"], { env })).out, /external → Replit: 100 inserted/)
      yield* query(external, "delete from perfis")
      assert.strictEqual((yield* run(["--once"], { env })).code, 3)
      const approved = yield* run(["approve", "perfis"], { env })
      assert.strictEqual(approved.out, "Approved for perfis: 100 deletes on Replit. The next cycle does it.\n")
      assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      assert.deepStrictEqual(yield* rows(replit), [])
    }))

  it.scopedLive("teardown cleans one side when the other is gone", () =>
    Effect.gen(function*() {
      const { env, replit } = yield* pairWithTable
      yield* run(["--once"], { env })
      const gone = { ...env, EXTERNAL_DB_URL: "postgresql://u:segredo@nowhere.invalid/d" }
      const done = yield* run(["teardown"], { env: gone })
      assert.strictEqual(done.code, 0, done.err)
      assert.match(done.out, /Replit: removed from perfis\nexternal: left as it is, for it can't be reached/)
      assert.deepStrictEqual(yield* query(replit, "select 1 from pg_namespace where nspname = 'vaivem'"), [])
    }))
})

describe("the service", () => {
  const each = { SYNC_INTERVAL: "200 millis" }

  it.scopedLive(
    "runs cycle after cycle, a line each, and ends with 0 at SIGTERM or SIGINT",
    () =>
      Effect.gen(function*() {
        const { env, external, replit } = yield* pairWithTable
        for (const signal of ["SIGTERM", "SIGINT"] as const) {
          const service = yield* start([], { env: { ...env, ...each } })
          yield* service.says(/(\d\dZ Replit → external: 0 inserted.*\n[^]*){3}/)
          yield* query(replit, `insert into perfis (id) values ('${signal}')`)
          yield* service.says(/Replit → external: 1 inserted/)
          yield* service.signal(signal)
          const [took, ended] = yield* Effect.timed(service.ended)
          assert.strictEqual(ended.code, 0)
          assert.isBelow(Duration.toMillis(took), 5_000)
          assert.match(
            ended.out,
            /^vaivem .* keeps perfis equal, Replit ⇄ external; a cycle, then a pause of 200 ms\.\n/
          )
        }
        assert.strictEqual((yield* rows(external)).length, 2)
      }),
    60_000
  )

  it.scopedLive("survives a database that goes away and comes back", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      const service = yield* start([], { env: { ...env, ...each } })
      yield* service.says(/Replit → external: 0 inserted/)
      const name = new URL(Redacted.value(external)).pathname.slice(1)
      const admin = yield* connect(asAdmin())
      yield* admin.query(`alter database ${name} allow_connections false`)
      yield* admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`)
      yield* service.says(/Z Failed: .* The next cycle tries again\./)
      yield* admin.query(`alter database ${name} allow_connections true`)
      yield* query(replit, "insert into perfis (id) values ('ana')")
      yield* service.says(/Replit → external: 1 inserted/)
      yield* service.signal("SIGTERM")
      const ended = yield* service.ended
      assert.strictEqual(ended.code, 0)
      assert.notMatch(ended.err, /^\s+at /m)
    }))

  it.scopedLive("leaves the work to a copy that runs already", () =>
    Effect.gen(function*() {
      const { env } = yield* pairWithTable
      const first = yield* start([], { env: { ...env, ...each } })
      yield* first.says(/Replit → external/)
      const second = yield* start([], { env: { ...env, SYNC_INTERVAL: "1 minute" } })
      yield* second.says(/Nothing is due here: another copy of vaivem is at work/)
      yield* second.signal("SIGTERM")
      assert.strictEqual((yield* second.ended).code, 0)
    }))

  it.scopedLive("goes on when nobody reads what it prints any more", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      const service = yield* start([], { env: { ...env, ...each } })
      yield* service.says(/Replit → external/)
      yield* service.stopReading
      yield* query(replit, "insert into perfis (id) values ('ana')")
      yield* Effect.repeat(rows(external), { until: (found) => found.length === 1 })
      yield* service.signal("SIGTERM")
      const ended = yield* service.ended
      assert.strictEqual(ended.code, 0)
      assert.notMatch(ended.err, /EPIPE|^\s+at /m)
    }))

  it.scopedLive("logs as it is told, on standard error only", () =>
    Effect.gen(function*() {
      const { env, replit } = yield* pairWithTable
      yield* query(replit, "alter table perfis add column bio text")
      const { err, out } = yield* run(["--once"], { env: { ...env, SYNC_LOG_FORMAT: "json" } })
      const lines = err.trim().split("\n").map((line) => JSON.parse(line))
      assert.isTrue(lines.some(({ annotations, logLevel, message }) =>
        logLevel === "WARN" && message === "Set-up warning" && /"bio"/.test(String(annotations.reason))
      ))
      assert.notInclude(out, "bio")
    }))
})

describe("a first contact", () => {
  it.scopedLive("is planned without a change, and done as somebody chose", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* pairWithTable
      for (const url of [replit, external]) yield* query(url, "insert into perfis (id, nome) values ('ana', 'Ana')")
      yield* query(replit, "insert into perfis values ('bia', 'ours', null, '2024-01-01')")
      yield* query(external, "insert into perfis values ('bia', 'theirs', null, '2024-02-01'), ('x', 'x', null, null)")

      const [planned, shown] = yield* Effect.all([
        run(["plan", "--json"], { env }),
        run(["plan", "--read-only", "--show", "0"], { env })
      ], { concurrency: 2 })
      assert.strictEqual(planned.code, 0, planned.err)
      assert.deepInclude(json(planned).tables[0].figures, {
        setUp: false,
        onlyOn: { replit: 0, external: 1 },
        equal: 1,
        different: 1
      })
      assert.match(
        shown.out,
        /^perfis\n {2}set up {12}not yet\n[^]*external wins 1[^]*1 more: --show[^]*Nothing was changed/
      )
      assert.notMatch(planned.out + shown.out, /theirs|ours/)
      const [installed] = yield* query(replit, "select to_regnamespace('vaivem') as schema")
      assert.deepStrictEqual(installed, { schema: null })

      const deleting = ["setup", "--prefer", "replit", "--missing", "delete"]
      refused(
        yield* run(deleting, { env }),
        2,
        /Nothing was deleted[^]*perfis: 1 row on external that Replit lacks\nSay --yes/
      )
      const done = yield* run([...deleting, "--yes"], { env })
      assert.strictEqual(done.code, 0, done.err)
      assert.match(done.out, /^perfis: deleted 0 on Replit and 1 on external; `conflicts list` has them\n/)
      assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      for (const url of [replit, external]) {
        assert.deepStrictEqual(yield* rows(url), [{ id: "ana", nome: "Ana" }, { id: "bia", nome: "ours" }])
      }
      const again = yield* run(["setup", "--prefer", "external"], { env })
      assert.match(again.out, /perfis: both sides met before, so --prefer and --missing left it alone\./)
    }))
})

describe("demo", () => {
  it.live("shows the main job and ends by itself without a terminal", () =>
    Effect.gen(function*() {
      const [took, { code, err, out }] = yield* Effect.timed(run(["demo"]))
      assert.strictEqual(code, 0, out + err)
      assert.isBelow(Duration.toMillis(took), 60_000)
      assert.match(out, /A conflict[^]*lost on Replit: Ana de Souza; won on external: Ana Souza Prado/)
      assert.match(out, /in quarantine: fabio from Replit/)
      assert.match(out, /perfis: equal, 6 rows\n\nDone\.\n$/)
    }))
})
