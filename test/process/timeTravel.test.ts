/** A database that was restored, replaced or cloned, and the built program beside it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { vi } from "vitest"
import type { Side } from "../../src/domain/Side.ts"
import { opposite } from "../../src/domain/Side.ts"
import { run, settings } from "../support/Program.ts"
import { asAdmin, copyOfDatabase, freshPair, query } from "../support/TestPostgres.ts"

vi.setConfig({ testTimeout: 120_000 })

const perfis = "create table perfis (id text primary key, nome text, updated_at timestamptz)"

const nameOf = (url: Redacted.Redacted) => new URL(Redacted.value(url)).pathname.slice(1)
const ownerOf = (url: Redacted.Redacted) => new URL(Redacted.value(url)).username

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

/** Three rows on both sides. */
const started = Effect.gen(function*() {
  const urls = yield* freshPair
  for (const url of [urls.replit, urls.external]) yield* query(url, perfis)
  const env = settings(urls)
  yield* query(urls.replit, "insert into perfis select 'p' || n, 'antes', '2024-01-01' from generate_series(1, 3) n")
  assert.strictEqual((yield* run(["--once"], { env })).code, 0)
  return { ...urls, env }
})

describe("promise 13: a database that went back in time", () => {
  for (const side of ["replit", "external"] as const satisfies ReadonlyArray<Side>) {
    it.scopedLive(`is not synced but told, and taken as it is when a person says so (${side})`, () =>
      Effect.gen(function*() {
        const pair = yield* started
        const { env } = pair
        const [here, there] = [pair[side], pair[opposite(side)]]
        // What is pending in the backup is synced before it is restored: that is no change any more.
        yield* query(here, "update perfis set nome = 'velho' where id = 'p2'")
        const backup = yield* copyOfDatabase(here)
        yield* query(
          here,
          "update perfis set nome = 'novo' where id in ('p1', 'p2'); delete from perfis where id = 'p3'"
        )
        yield* query(here, "insert into perfis values ('p4', 'novo', now())")
        assert.strictEqual((yield* run(["--once"], { env })).code, 0)
        yield* restore(here, backup)
        // And more writes than were lost: a count or a watermark would be fooled.
        yield* query(here, "insert into perfis select 'q' || n, 'depois', now() from generate_series(1, 100) n")
        const before = { here: yield* rows(here), there: yield* rows(there) }

        const refused = yield* run(["--once"], { env })
        assert.strictEqual(refused.code, 1, refused.err)
        const [label, other] = side === "replit" ? ["Replit", "external"] : ["external", "Replit"]
        assert.match(
          refused.err,
          new RegExp(
            `The ${label} database is not as the ${other} one knows it: it remembers nothing after about 2\\d{3}-\\d\\d-\\d\\d \\d\\d:\\d\\d UTC`
          )
        )
        assert.match(refused.err, /Nothing was applied\..*setup --adopt/s)
        assert.deepStrictEqual({ here: yield* rows(here), there: yield* rows(there) }, before)
        assert.strictEqual((yield* run(["setup"], { env })).code, 1)

        const adopted = yield* run(["setup", "--adopt"], { env })
        assert.strictEqual(adopted.code, 0, adopted.err)
        const synced = yield* run(["--once"], { env })
        assert.strictEqual(synced.code, 0, synced.err)
        assert.deepStrictEqual(yield* rows(there), yield* rows(here))
        const found = yield* rows(here)
        // Newer versions win, what one side lacks is copied, and nothing is deleted for being gone.
        assert.includeMembers([...found], ["p1 novo", "p2 novo", "p3 antes", "p4 novo", "q100 depois"])
        assert.lengthOf(found, 104)
        assert.strictEqual((yield* run(["verify"], { env })).code, 0)
        assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      }))
  }

  it.scopedLive("or was cloned is told from the one that was synced since, and the right one goes on", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* started
      const clone = yield* copyOfDatabase(replit)
      yield* query(replit, "update perfis set nome = 'novo'")
      assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      const mistaken = yield* run(["--once"], { env: settings({ replit: clone, external }) })
      assert.strictEqual(mistaken.code, 1)
      assert.match(mistaken.err, /replaced by a copy, or synced with a clone/)
      yield* query(replit, "insert into perfis values ('p9', 'novo')")
      assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      assert.include(yield* rows(external), "p9 novo")
    }))

  it.scopedLive("to the end of its last cycle lost nothing that was synced, and goes on", () =>
    Effect.gen(function*() {
      const { env, external, replit } = yield* started
      const backup = yield* copyOfDatabase(replit)
      yield* query(replit, "update perfis set nome = 'nunca sincronizado'")
      yield* restore(replit, backup)
      yield* query(external, "update perfis set nome = 'de lá', updated_at = now() where id = 'p1'")
      assert.strictEqual((yield* run(["--once"], { env })).code, 0)
      assert.deepStrictEqual(yield* rows(replit), ["p1 de lá", "p2 antes", "p3 antes"])
      assert.deepStrictEqual(yield* rows(external), yield* rows(replit))
    }))
})
