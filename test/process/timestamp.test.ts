/** The built program beside an external database on which nothing may be installed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run, settings } from "../support/Program.ts"
import { freshPair, freshRole, query } from "../support/TestPostgres.ts"

const perfis = "create table perfis (id text primary key, nome text, updated_at timestamptz default now())"

describe("EXTERNAL_CAPTURE=timestamp", () => {
  it.scopedLive("runs, and says what it is, how things stand, what differs and how to be without", () =>
    Effect.gen(function*() {
      const urls = yield* freshPair
      for (const url of [urls.replit, urls.external]) yield* query(url, perfis)
      const role = yield* freshRole(urls.external)
      const env = { ...settings({ ...urls, external: role.url }), EXTERNAL_CAPTURE: "timestamp" }
      const say = (...args: ReadonlyArray<string>) => run(args, { env })

      const refused = yield* say("check")
      assert.include(refused.out, `GRANT SELECT, INSERT, UPDATE, DELETE ON perfis TO ${role.name};`)
      assert.strictEqual(refused.code, 3)
      yield* query(urls.external, `grant select, insert, update, delete on perfis to ${role.name}`)

      yield* query(urls.replit, "insert into perfis (id, nome) values ('r', 'um')")
      yield* query(urls.external, "insert into perfis (id, nome) values ('e', 'outro')")
      const checked = yield* say("check")
      assert.strictEqual(checked.code, 0, checked.out)
      assert.include(checked.out, "Nothing is installed in the external database (EXTERNAL_CAPTURE=timestamp)")
      assert.include(checked.out, "CREATE INDEX ON perfis (\"updated_at\");")
      assert.include(checked.out, "ALTER COLUMN \"updated_at\" SET NOT NULL;")
      assert.strictEqual((yield* say("--once")).code, 0)
      const rows = (url: typeof role.url) => query(url, "select id, nome from perfis order by id")
      assert.deepStrictEqual(yield* rows(role.url), [{ id: "e", nome: "outro" }, { id: "r", nome: "um" }])
      assert.deepStrictEqual(yield* rows(urls.replit), yield* rows(role.url))

      yield* query(
        role.url,
        "update perfis set nome = 'outra', updated_at = now() where id = 'e'; delete from perfis where id = 'r'"
      )
      assert.strictEqual((yield* say("verify")).code, 1)
      assert.strictEqual((yield* say("--once")).code, 0)
      assert.deepStrictEqual(yield* rows(urls.replit), [{ id: "e", nome: "outra" }])
      assert.strictEqual((yield* say("verify")).code, 0)
      const status = JSON.parse((yield* say("status", "--json")).out)
      assert.deepInclude(status.tables[0].external, { rows: 1, pending: 0, conflicts: 0 })
      assert.deepStrictEqual(status.setUp, { replit: true, external: true })
      const probed = yield* say("probe", "--from", "external")
      assert.strictEqual(probed.code, 0, probed.err)
      assert.deepStrictEqual(yield* rows(urls.replit), [{ id: "e", nome: "outra" }])
      assert.include((yield* say("setup", "--split-ids")).err, "ids can't be split")
      assert.strictEqual((yield* say("plan")).code, 0)

      yield* query(role.url, "delete from perfis")
      const held = yield* say("--once")
      assert.strictEqual(held.code, 3)
      assert.include(held.err + held.out, "never taken at its word")
      assert.strictEqual((yield* say("reject", "perfis")).code, 0)
      assert.strictEqual((yield* say("--once")).code, 0)
      assert.deepStrictEqual(yield* rows(role.url), [{ id: "e", nome: "outra" }])

      assert.strictEqual((yield* say("teardown", "--yes")).code, 0)
      const left = "select nspname from pg_namespace where nspname = 'vaivem'"
      for (const url of [urls.replit, urls.external]) assert.deepStrictEqual(yield* query(url, left), [])
      assert.deepStrictEqual(yield* rows(urls.replit), yield* rows(role.url))
    }))

  it.scopedLive("notices that external was restored to a moment before the last change that was synced to it", () =>
    Effect.gen(function*() {
      const urls = yield* freshPair
      // A database restored elsewhere has other transaction numbers; of one server's they are the same, so it is set back by hand.
      for (const url of [urls.replit, urls.external]) yield* query(url, perfis)
      const env = { ...settings(urls), EXTERNAL_CAPTURE: "timestamp" }
      const say = (...args: ReadonlyArray<string>) => run(args, { env })
      yield* query(
        urls.replit,
        "insert into perfis select 'p' || n, 'antes', '2024-01-01' from generate_series(1, 3) n"
      )
      assert.strictEqual((yield* say("--once")).code, 0)
      yield* query(urls.replit, "insert into perfis values ('p4', 'depois', now())")
      assert.strictEqual((yield* say("--once")).code, 0)
      yield* query(urls.external, "delete from perfis where id = 'p4'")
      yield* query(urls.replit, "update vaivem.ledger set committed = committed + 1000000")
      const told = yield* say("--once")
      assert.strictEqual(told.code, 1)
      assert.include(told.err, "doesn't know the last change that was synced to it")
      const rows = query(urls.replit, "select id from perfis order by id")
      assert.lengthOf(yield* rows, 4)
      assert.strictEqual((yield* say("setup", "--adopt")).code, 0)
      assert.strictEqual((yield* say("--once")).code, 0)
      assert.lengthOf(yield* rows, 4)
      assert.strictEqual((yield* say("verify")).code, 0)
    }))
})
