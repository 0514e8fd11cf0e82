/** A database that was restored, replaced or cloned, or belongs to another pair, and the built program beside it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { execFile } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { promisify } from "node:util"
import type { Side } from "../../src/domain/Side.ts"
import { opposite } from "../../src/domain/Side.ts"
import * as EmbeddedPostgres from "../../src/services/EmbeddedPostgres.ts"
import { type Ended, freshFolder, run, settings, start } from "../support/Program.ts"
import { asAdmin, copyOfDatabase, freshDatabase, freshPair, query } from "../support/TestPostgres.ts"
import { testSettings } from "../support/TestServer.ts"

/** Every way takes some seconds of a core: `npm run test:restore` goes these, too. */
const rarely = process.env["TEST_EVERY_RESTORE"] === undefined ? it.scopedLive.skip : it.scopedLive

const perfis = "create table perfis (id text primary key, nome text, updated_at timestamptz)"

const nameOf = (url: Redacted.Redacted) => new URL(Redacted.value(url)).pathname.slice(1)
const ownerOf = (url: Redacted.Redacted) => new URL(Redacted.value(url)).username

/** Puts an empty database in the database's place. */
const empty = (url: Redacted.Redacted) =>
  Effect.zipRight(
    query(asAdmin(), `drop database ${nameOf(url)} with (force)`),
    query(asAdmin(), `create database ${nameOf(url)} owner ${ownerOf(url)} template template0`)
  )

/** Puts a copy in the database's place. */
const restore = (url: Redacted.Redacted, copy: Redacted.Redacted) =>
  Effect.zipRight(
    query(asAdmin(), `drop database ${nameOf(url)} with (force)`),
    query(asAdmin(), `create database ${nameOf(url)} template ${nameOf(copy)} owner ${ownerOf(url)}`)
  )

const rows = (url: Redacted.Redacted) =>
  Effect.map(
    query<{ row: string }>(url, "select id || ' ' || nome as row from perfis order by id"),
    (found) => found.map(({ row }) => row)
  )

/** What the journal keeps, newest last. */
const lost = (url: Redacted.Redacted) =>
  Effect.map(
    query<{ row: string }>(
      url,
      "select key[1] || ' ' || (lost ->> 'nome') as row from vaivem.conflicts order by decided_at, 1"
    ),
    (found) => found.map(({ row }) => row)
  )

const hasSchema = (url: Redacted.Redacted) =>
  Effect.map(query(url, "select from pg_namespace where nspname = 'vaivem'"), (found) => found.length > 0)

const ended = (it: Ended, code: number, message = /./) => {
  assert.strictEqual(it.code, code, `${it.out}\n${it.err}`)
  if (code !== 0) assert.match(it.err, message)
}

/** The program's work with these settings. */
const program = (env: Readonly<Record<string, string>>) => ({
  env,
  does: (...args: ReadonlyArray<string>) => Effect.map(run(args, { env }), (it) => ended(it, 0)),
  refuses: (code: number, message: RegExp, ...args: ReadonlyArray<string>) =>
    Effect.map(run(args, { env }), (it) => ended(it, code, message))
})

/** Three rows on both sides. */
const started = Effect.gen(function*() {
  const urls = yield* freshPair
  for (const url of [urls.replit, urls.external]) yield* query(url, perfis)
  yield* query(urls.replit, "insert into perfis select 'p' || n, 'antes', '2024-01-01' from generate_series(1, 3) n")
  const vaivem = program(settings(urls))
  yield* vaivem.does("--once")
  return { ...urls, ...vaivem }
})

/** A write of either app arrives at the other, and both sides are equal. */
const goesOn = Effect.fnUntraced(function*(pair: Effect.Effect.Success<typeof started>) {
  yield* query(pair.replit, "insert into perfis values ('z1', 'de Replit', now())")
  yield* query(pair.external, "insert into perfis values ('z2', 'de external', now())")
  yield* pair.does("--once")
  const found = yield* rows(pair.replit)
  assert.deepStrictEqual(yield* rows(pair.external), found)
  assert.includeMembers([...found], ["z1 de Replit", "z2 de external"])
})

const today = /Replit was restored to about \d\d:\d\d UTC, .*, the last time at \d\d:\d\d UTC\. Nothing was applied\./

describe("promise 13: a database that went back in time", () => {
  for (const side of ["replit", "external"] as const satisfies ReadonlyArray<Side>) {
    it.scopedLive(`is not synced but told, and taken as it is when a person says so (${side})`, () =>
      Effect.gen(function*() {
        const pair = yield* started
        const [here, there] = [pair[side], pair[opposite(side)]]
        // What is pending in the backup is synced before it is restored: that is no change any more.
        yield* query(here, "update perfis set nome = 'velho' where id = 'p2'")
        const backup = yield* copyOfDatabase(here)
        yield* query(
          here,
          "update perfis set nome = 'novo' where id in ('p1', 'p2'); delete from perfis where id = 'p3'"
        )
        yield* query(here, "insert into perfis values ('p4', 'novo', now())")
        yield* pair.does("--once")
        yield* restore(here, backup)
        // The first change after it has the number of one that the other side knows as applied.
        yield* query(here, "update perfis set nome = 'refeito' where id = 'p1'")
        // And more writes than were lost: a count or a watermark would be fooled.
        yield* query(here, "insert into perfis select 'q' || n, 'depois', now() from generate_series(1, 100) n")
        const before = { here: yield* rows(here), there: yield* rows(there) }

        const [label, other] = side === "replit" ? ["Replit", "external"] : ["external", "Replit"]
        const seen = new RegExp(
          `^${label} was restored to about \\d\\d:\\d\\d UTC, or replaced by a copy from then: it knows nothing of what `
            + `${other} was synced with after that, the last time at \\d\\d:\\d\\d UTC\\. Nothing was applied\\..*setup --adopt`
        )
        yield* pair.refuses(1, seen, "--once")
        assert.deepStrictEqual({ here: yield* rows(here), there: yield* rows(there) }, before)
        if (side === "replit") yield* pair.refuses(1, seen, "setup")
        else {yield* pair.refuses(
            2,
            /--missing delete don't go together/,
            "setup",
            "--adopt",
            "--missing",
            "delete",
            "--yes"
          )}

        yield* pair.does("setup", "--adopt")
        yield* pair.does("--once")
        assert.deepStrictEqual(yield* rows(there), yield* rows(here))
        const found = yield* rows(here)
        // Newer versions win, what one side lacks is copied, and nothing is deleted for being gone.
        assert.includeMembers([...found], ["p1 refeito", "p2 novo", "p3 antes", "p4 novo", "q100 depois"])
        assert.lengthOf(found, 104)
        assert.deepStrictEqual(yield* lost(there), ["p1 novo"])
        yield* goesOn(pair)
      }))
  }

  it.scopedLive("gives way to the side that a person prefers, or has its way, and keeps what lost", () =>
    Effect.gen(function*() {
      for (const prefer of ["replit", "external"] as const) {
        const pair = yield* started
        const { external, replit } = pair
        yield* query(replit, "update perfis set nome = 'no backup' where id = 'p1'")
        const backup = yield* copyOfDatabase(replit)
        yield* pair.does("--once")
        yield* query(replit, "update perfis set nome = 'perdido' where id in ('p1', 'p2')")
        yield* pair.does("--once")
        yield* restore(replit, backup)
        // Both apps go on while nothing is synced: what they change waits, and still the preferred side's rows win.
        yield* query(external, "update perfis set nome = 'depois, external' where id = 'p3'")
        yield* query(replit, "update perfis set nome = 'depois, Replit' where id = 'p3'")
        yield* query(external, "insert into perfis values ('e', 'só external', now())")
        const [winner, loser] = [yield* rows(pair[prefer]), yield* rows(pair[opposite(prefer)])]
        yield* pair.does("setup", "--adopt", "--prefer", prefer)
        yield* pair.does("--once")
        const copied = prefer === "replit" ? ["e só external"] : []
        assert.deepStrictEqual(yield* rows(replit), [...copied, ...winner])
        assert.deepStrictEqual(yield* rows(external), yield* rows(replit))
        assert.deepStrictEqual(yield* lost(pair[opposite(prefer)]), loser.filter((row) => row.startsWith("p")))
        assert.deepStrictEqual(yield* lost(pair[prefer]), [])
      }
    }))

  it.scopedLive("is told once a minute by a service that waits, and goes on when somebody has spoken", () =>
    Effect.gen(function*() {
      const pair = yield* started
      const backup = yield* copyOfDatabase(pair.replit)
      yield* query(pair.replit, "update perfis set nome = 'novo'")
      yield* pair.does("--once")
      yield* restore(pair.replit, backup)
      yield* query(pair.replit, "insert into perfis values ('p4', 'depois', now())")
      const service = yield* start([], { env: { ...pair.env, SYNC_INTERVAL: "1 second", SYNC_LOG_FORMAT: "logfmt" } })
      const said = yield* service.says(/Failed: Replit was restored[^]*\n/)
      // The first two lines say what it does and what that costs.
      const lines = said.trimEnd().split("\n").slice(2)
      for (const line of lines) assert.match(line, /Z Failed: Replit was restored .* The next cycle tries again\.$/)
      yield* pair.does("setup", "--adopt", "--missing", "keep")
      yield* service.says(/external → Replit: 0 inserted, [1-3] updated/)
      yield* service.signal("SIGTERM")
      const end = yield* service.ended
      assert.strictEqual(end.code, 0)
      // A line for people and one of the log each time, neither more.
      const failed = /Failed: Replit was restored/g
      assert.lengthOf(end.err.match(/Cycle failed/g) ?? [], end.out.match(failed)?.length ?? 0)
      assert.notMatch(end.err, /Trying again/)
      assert.deepStrictEqual(yield* rows(pair.external), ["p1 novo", "p2 novo", "p3 novo", "p4 depois"])
    }))

  rarely(
    "on both sides, to different moments, is told as well, and everything that is still there comes together",
    () =>
      Effect.gen(function*() {
        const pair = yield* started
        const { external, replit } = pair
        const older = yield* copyOfDatabase(replit)
        yield* query(replit, "insert into perfis values ('p4', 'de Replit', now())")
        yield* pair.does("--once")
        const newer = yield* copyOfDatabase(external)
        yield* query(external, "update perfis set nome = 'novo' where id = 'p1'; delete from perfis where id = 'p2'")
        yield* pair.does("--once")
        yield* restore(replit, older)
        yield* restore(external, newer)
        yield* pair.refuses(1, today, "--once")
        yield* query(external, "delete from perfis where id = 'p3'")
        yield* pair.does("setup", "--adopt")
        yield* pair.does("--once")
        // Only the delete that was made since is one.
        assert.deepStrictEqual(yield* rows(replit), ["p1 antes", "p2 antes", "p4 de Replit"])
        yield* goesOn(pair)
      })
  )

  rarely("is synced from the start again after teardown", () =>
    Effect.gen(function*() {
      const pair = yield* started
      const backup = yield* copyOfDatabase(pair.external)
      yield* query(pair.replit, "update perfis set nome = 'novo' where id = 'p1'")
      yield* pair.does("--once")
      yield* restore(pair.external, backup)
      yield* pair.refuses(1, /^external was restored to about/, "--once")
      yield* pair.does("teardown", "--yes")
      yield* pair.does("setup")
      yield* pair.does("--once")
      assert.deepStrictEqual(yield* rows(pair.external), ["p1 novo", "p2 antes", "p3 antes"])
      yield* goesOn(pair)
    }))

  it.scopedLive("to the end of its last cycle lost nothing that was synced, and goes on", () =>
    Effect.gen(function*() {
      const pair = yield* started
      const { external, replit } = pair
      const backup = yield* copyOfDatabase(replit)
      yield* query(replit, "update perfis set nome = 'nunca sincronizado'")
      yield* restore(replit, backup)
      yield* query(external, "update perfis set nome = 'de lá', updated_at = now() where id = 'p1'")
      yield* pair.does("--once")
      assert.deepStrictEqual(yield* rows(replit), ["p1 de lá", "p2 antes", "p3 antes"])
      assert.deepStrictEqual(yield* rows(external), yield* rows(replit))
    }))

  rarely("by a copy of the server's files is told, and synced again as somebody says", () =>
    Effect.gen(function*() {
      const home = yield* freshFolder
      yield* Effect.promise(() => Fs.chmod(home, 0o755))
      const directory = Path.join(home, "server")
      const server = yield* EmbeddedPostgres.make({ directory, settings: testSettings })
      const shell = (...args: ReadonlyArray<string>) =>
        Effect.promise(() => promisify(execFile)("/bin/sh", ["-c", ...args]))
      yield* query(server.url(), "create role dona login password 'x'")
      yield* query(server.url(), "create database replit owner dona")
      const url = new URL(Redacted.value(server.url("replit")))
      url.username = "dona"
      url.password = "x"
      const urls = { replit: Redacted.make(url.href), external: yield* freshDatabase }
      for (const side of [urls.replit, urls.external]) yield* query(side, perfis)
      const pair = { ...urls, ...program(settings(urls)) }
      yield* query(
        urls.replit,
        "insert into perfis values ('p1', 'antes', '2024-01-01'), ('p2', 'antes', '2024-01-01')"
      )
      yield* pair.does("--once")
      yield* server.stop()
      yield* shell("cp -a \"$0/data\" \"$0/backup\"", directory)
      yield* server.start
      yield* query(urls.replit, "delete from perfis where id = 'p2'; update perfis set nome = 'novo'")
      yield* pair.does("--once")
      yield* server.stop("immediate")
      yield* shell("rm -rf \"$0/data\" && mv \"$0/backup\" \"$0/data\"", directory)
      yield* server.start
      yield* pair.refuses(1, today, "--once")
      yield* pair.does("setup", "--adopt", "--prefer", "external")
      yield* pair.does("--once")
      assert.deepStrictEqual(yield* rows(urls.external), ["p1 novo", "p2 antes"])
      yield* goesOn(pair)
      yield* server.stop("immediate")
    }))
})

describe("promise 13: a database that was cloned", () => {
  it.scopedLive("is told from the one that was synced since, and the right one goes on", () =>
    Effect.gen(function*() {
      const pair = yield* started
      const { external, replit } = pair
      const clone = yield* copyOfDatabase(replit)
      yield* query(replit, "update perfis set nome = 'novo'")
      yield* pair.does("--once")
      const mistaken = program(settings({ replit: clone, external }))
      yield* mistaken.refuses(1, /replaced by a copy from then.*If DATABASE_URL leads to the wrong database/, "--once")
      assert.deepStrictEqual(yield* rows(external), ["p1 novo", "p2 novo", "p3 novo"])
      yield* goesOn(pair)
    }))

  rarely("and takes the place of its original, which is told in its turn", () =>
    Effect.gen(function*() {
      const pair = yield* started
      const { external, replit } = pair
      const clone = yield* copyOfDatabase(replit)
      yield* query(clone, "update perfis set nome = 'no clone' where id = 'p1'")
      const moved = { replit: clone, external, ...program(settings({ replit: clone, external })) }
      // It is as the original was when its last cycle ended: nobody lost anything.
      yield* moved.does("--once")
      yield* query(replit, "update perfis set nome = 'no original' where id = 'p2'")
      yield* pair.refuses(1, /external was synced with a clone of Replit meanwhile/, "--once")
      assert.deepStrictEqual(yield* rows(external), ["p1 no clone", "p2 antes", "p3 antes"])
      yield* goesOn(moved)
    }))
})

describe("promise 13: a database that was replaced by an empty one", () => {
  for (const side of ["replit", "external"] as const satisfies ReadonlyArray<Side>) {
    const test = side === "external" ? it.scopedLive : rarely
    test(`is refused and left alone, no row counts as deleted, and it is filled when somebody says so (${side})`, () =>
      Effect.gen(function*() {
        const pair = yield* started
        const [here, there] = [pair[side], pair[opposite(side)]]
        yield* query(there, "update perfis set nome = 'pendente' where id = 'p1'; delete from perfis where id = 'p3'")
        yield* empty(here)
        const refused = /has nothing of vaivem in it\..*no row counts as deleted.*setup --adopt/
        if (side === "external") yield* pair.refuses(2, refused, "--once")
        yield* pair.refuses(2, refused, "setup", "--create-missing")
        assert.isFalse(yield* hasSchema(here))
        assert.deepStrictEqual(yield* query(here, "select from pg_class where relname = 'perfis'"), [])
        assert.deepStrictEqual(yield* rows(there), ["p1 pendente", "p2 antes"])
        if (side === "external") yield* pair.does("setup", "--adopt", "--create-missing")
        else {
          yield* pair.does("teardown", "--yes")
          yield* pair.does("setup", "--create-missing")
        }
        yield* pair.does("--once")
        assert.deepStrictEqual(yield* rows(here), ["p1 pendente", "p2 antes"])
        yield* goesOn(pair)
      }))
  }
})

describe("promise 13: a second pair", () => {
  it.scopedLive("on one of the databases by mistake is refused with the way out, writes nowhere, and the first goes on", () =>
    Effect.gen(function*() {
      const pair = yield* started
      const { external, replit } = pair
      const [third, bare] = [yield* freshDatabase, yield* freshDatabase]
      yield* query(third, `${perfis}; insert into perfis values ('p1', 'terceiro', now()), ('t', 'terceiro', now())`)
      // And one that is half of another pair.
      const others = yield* started
      const left = {
        replit: yield* rows(replit),
        external: yield* rows(external),
        others: yield* rows(others.external)
      }
      const refused = /is paired with another (Replit|external) database.*teardown --yes/
      const mistakes = [
        [{ replit: third, external }, ["--once"]],
        [{ replit: third, external }, ["setup"]],
        [{ replit, external: third }, ["setup", "--prefer", "external"]],
        [{ replit: bare, external }, ["setup", "--create-missing"]],
        [{ replit, external: others.external }, ["--once"]],
        [{ replit: others.replit, external }, ["setup", "--adopt"]]
      ] as const
      for (const [urls, args] of mistakes) yield* program(settings(urls)).refuses(2, refused, ...args)
      for (const url of [third, bare]) assert.isFalse(yield* hasSchema(url))
      assert.deepStrictEqual(yield* query(bare, "select from pg_class where relname = 'perfis'"), [])
      assert.deepStrictEqual(yield* rows(third), ["p1 terceiro", "t terceiro"])
      assert.deepStrictEqual(
        { replit: yield* rows(replit), external: yield* rows(external), others: yield* rows(others.external) },
        left
      )
      yield* goesOn(pair)
    }))
})
