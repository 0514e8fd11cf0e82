/** `plan` on two filled databases, as the owner of the tables and as a role that may only read. */
import { NodeContext } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, type Redacted } from "effect"
import type { Side } from "../../src/domain/Side.ts"
import { sides } from "../../src/domain/Side.ts"
import type { PlanOptions } from "../../src/programs/plan.ts"
import { plan, planExitCode } from "../../src/programs/plan.ts"
import { ExternalDb } from "../../src/services/ExternalDb.ts"
import * as PgDatabase from "../../src/services/PgDatabase.ts"
import { ReplitDb } from "../../src/services/ReplitDb.ts"
import type { Settings } from "../../src/services/SyncConfig.ts"
import { SyncConfig } from "../../src/services/SyncConfig.ts"
import { catalogDump } from "../support/catalogDump.ts"
import type { Synced } from "../support/PgPair.ts"
import { alone, PgPair, synced, targetOf } from "../support/PgPair.ts"
import { asAdmin, freshRole, query } from "../support/TestPostgres.ts"

/** Runs `plan` as the command does: in sessions that the servers keep from writing. */
const planned = (
  sync: Synced,
  urls: Readonly<Record<Side, Redacted.Redacted>>,
  options: Partial<PlanOptions> = {},
  settings: Partial<Settings> = {}
) => {
  const database = (side: Side) => PgDatabase.make(targetOf(side, urls[side]), { readOnly: true })
  return Effect.gen(function*() {
    const [replit, external] = [yield* database("replit"), yield* database("external")]
    const program = plan({ readOnly: false, show: 10, ...options })
    const target = (side: Side) => targetOf(side, urls[side])
    const config = SyncConfig.layer({
      replitUrl: target("replit"),
      externalUrl: target("external"),
      tables: sync.tables,
      ...settings
    })
    return yield* sync.run(
      Effect.provide(program, config).pipe(
        Effect.provideService(ReplitDb, replit),
        Effect.provideService(ExternalDb, external)
      )
    )
  }).pipe(Effect.provide(NodeContext.layer))
}

const urlsOf = (sync: Synced) => ({ replit: sync.replit.url, external: sync.external.url })

const perfis = `create table perfis (
  id integer primary key, nome text, email text, apagado boolean not null default false, updated_at timestamptz);
  create unique index perfis_email on perfis (lower(email)) where not apagado`

/** 1,000 equal rows; some are then only on one side, some differ. */
const filled = Effect.gen(function*() {
  const sync = yield* synced(perfis, { started: false })
  for (const side of sides) {
    yield* sync[side].query(
      `insert into perfis select n, 'nome ' || n, 'e' || n || '@exemplo.pt', false, '2024-01-01' from generate_series(1, 1000) n`
    )
  }
  yield* sync.replit.query(
    `delete from perfis where id in (10, 20, 30); update perfis set nome = 'x', updated_at = '2024-02-01' where id in (40, 41)`
  )
  yield* sync.external.query(
    `delete from perfis where id = 500; update perfis set nome = 'y', updated_at = '2024-03-01 12:00:00.123456' where id = 600;
     update perfis set nome = 'z' where id = 700; update perfis set nome = 'w', updated_at = null where id = 701`
  )
  return sync
})

layer(PgPair.layer, { excludeTestServices: true })("plan", (it) => {
  it.scoped("counts what a first contact would meet, names keys and stamps, and estimates bytes", () =>
    Effect.gen(function*() {
      const sync = yield* filled
      const found = yield* planned(sync, urlsOf(sync))
      const { estimatedBytes, sample, ...figures } = found.tables[0]!.figures!
      assert.deepStrictEqual(figures, {
        setUp: false,
        rows: { replit: 997, external: 999 },
        onlyOn: { replit: 1, external: 3 },
        equal: 991,
        different: 5,
        rule: { policy: "last-write-wins", stamp: "updated_at", replit: 3, external: 1, ties: 1 },
        twins: { count: 0, sample: [], complete: true, skipped: [] },
        waiting: null
      })
      const row = sample.find(({ key }) => key[0] === "600")
      assert.deepStrictEqual(row, {
        key: ["600"],
        winner: "external",
        tie: false,
        stamps: { replit: "2024-01-01T00:00:00.000000Z", external: "2024-03-01T12:00:00.123456Z" }
      })
      assert.isNull(sample.find(({ key }) => key[0] === "701")!.stamps.external)
      assert.isTrue(estimatedBytes > 9 * 100 && estimatedBytes < 9 * 200, String(estimatedBytes))
      assert.strictEqual(planExitCode(found), 0)
      // What the first run then does.
      const [ready] = (yield* sync.cycle).setUp
      assert.deepInclude(ready!.reconciled!.replit, { onlyHere: 1, different: 5 })
      assert.deepInclude(ready!.reconciled!.external, { onlyHere: 3, different: 5 })
      const again = yield* planned(sync, urlsOf(sync))
      assert.deepInclude(again.tables[0]!.figures, { setUp: true, equal: 1000, different: 0, estimatedBytes: 0 })
    }))

  it.scoped("leaves both databases as they are, and would not be let write", () =>
    Effect.gen(function*() {
      const pair = yield* alone(filled)
      const before = yield* Effect.forEach(sides, (side) => catalogDump(pair[side].query))
      yield* planned(pair, urlsOf(pair))
      assert.deepStrictEqual(yield* Effect.forEach(sides, (side) => catalogDump(pair[side].query)), before)
      const database = yield* PgDatabase.make(targetOf("replit", pair.replit.url), { readOnly: true }).pipe(
        Effect.provide(NodeContext.layer)
      )
      const error = yield* Effect.flip(database.install)
      assert.match(error.message, /read-only transaction/)
    }))

  it.scoped("with --read-only serves a role that may only read, and says what that one could not do", () =>
    Effect.gen(function*() {
      const sync = yield* alone(filled)
      const readers = yield* Effect.all({ replit: freshRole(sync.replit.url), external: freshRole(sync.external.url) })
      const urls = { replit: readers.replit.url, external: readers.external.url }
      const refused = yield* planned(sync, urls, { readOnly: true })
      assert.match(refused.tables[0]!.problem!, /may not read .*GRANT SELECT ON/)
      for (const side of sides) {
        const { name } = readers[side]
        yield* sync[side].query(`grant usage on schema ${sync.schema} to ${name}; grant select on perfis to ${name}`)
      }
      const found = yield* planned(sync, urls, { readOnly: true })
      assert.deepInclude(found.tables[0]!.figures, { setUp: false, equal: 991, different: 5 })
      assert.match(found.tables[0]!.notes.join(), /could not set it up: .*belongs to another role/)
      assert.strictEqual(planExitCode(found), 0)
      const strict = yield* planned(sync, urls)
      assert.match(strict.tables[0]!.problem!, /belongs to another role/)
      assert.strictEqual(planExitCode(strict), 3)
      yield* sync.cycle
      const hidden = yield* planned(sync, urls, { readOnly: true })
      assert.deepInclude(hidden.tables[0]!.figures, { setUp: null, equal: 1000 })
      assert.match(hidden.notes.join(), /On Replit vaivem is set up already, but this role may not see/)
      const wildcard = yield* planned(sync, urls, { readOnly: true }, { tables: [], schemas: [sync.schema] })
      assert.deepStrictEqual(wildcard.tables, hidden.tables)
      for (const side of sides) yield* query(asAdmin(sync[side].url), `drop owned by ${readers[side].name}`)
    }))

  it.scoped("finds unique twins by indexes on expressions, with predicates, of several columns and on one side only", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit:
          `${perfis}; create table vagas (id uuid primary key default gen_random_uuid(), a integer, b text, unique (a, b))`,
        external:
          `${perfis}; create table vagas (id uuid primary key default gen_random_uuid(), a integer, b text unique)`
      }, { started: false })
      yield* sync.replit.query(
        `insert into perfis (id, email) values (1, 'Ana@exemplo.pt'), (2, 'bia@exemplo.pt'), (3, null);
         insert into perfis (id, email, apagado) values (4, 'caio@exemplo.pt', true);
         insert into vagas (a, b) values (1, 'x'), (2, 'y'), (3, null)`
      )
      yield* sync.external.query(
        `insert into perfis (id, email) values (11, 'ana@EXEMPLO.pt'), (2, 'bia@exemplo.pt'), (12, null), (13, 'caio@exemplo.pt');
         insert into vagas (a, b) values (9, 'x'), (2, 'z'), (3, null)`
      )
      const found = yield* planned(sync, urlsOf(sync))
      const [people, jobs] = found.tables.map(({ figures }) => figures!.twins)
      assert.deepStrictEqual(people, {
        count: 1,
        sample: [{ index: "perfis_email", replit: ["1"], external: ["11"] }],
        complete: true,
        skipped: []
      })
      assert.deepInclude(jobs, { count: 1, complete: true })
      assert.strictEqual(jobs!.sample[0]!.index, "vagas_b_key")
      assert.strictEqual(planExitCode(found), 3)
      const { quarantined } = yield* sync.cycle
      // The last one is taken by Replit, whose index is another.
      assert.strictEqual(quarantined, 3)
    }))

  it.scoped("takes equal keys that are written in another way for one row", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        "create table medidas (n numeric primary key, a text); create table vazia (id integer primary key)",
        { started: false }
      )
      yield* sync.replit.query("insert into medidas values (1.0, 'a'), (2, 'b'), (3, 'c')")
      yield* sync.external.query("insert into medidas values (1.00, 'a'), (2, 'b'), (4, 'd')")
      const found = yield* planned(sync, urlsOf(sync))
      assert.deepInclude(found.tables[0]!.figures, {
        onlyOn: { replit: 1, external: 1 },
        different: 1,
        equal: 1
      })
      assert.deepInclude(found.tables[1]!.figures, { equal: 0, different: 0, estimatedBytes: 0 })
    }))

  it.scoped("takes keys and unique values for one as an extension's type does", () =>
    Effect.gen(function*() {
      const sync = yield* synced(
        `create extension if not exists citext schema public;
         create table nomes (nome public.citext primary key, email public.citext unique)`,
        { started: false }
      )
      yield* sync.replit.query("insert into nomes values ('Ana', 'a@x'), ('Bia', 'b@x'), ('Gil', 'same@x')")
      yield* sync.external.query("insert into nomes values ('ANA', 'a@x'), ('Bia', 'B@x'), ('Edu', 'SAME@x')")
      const { different, equal, onlyOn, twins } = (yield* planned(sync, urlsOf(sync))).tables[0]!.figures!
      assert.deepStrictEqual([different, equal, onlyOn], [2, 0, { replit: 1, external: 1 }])
      assert.deepStrictEqual(twins.sample, [{ index: "nomes_email_key", replit: ["Gil"], external: ["Edu"] }])
    }))

  it.scoped("tells what doesn't fit in the words of the contract, and a table that one side lacks", () =>
    Effect.gen(function*() {
      const sync = yield* synced({
        replit: "create table a (id integer primary key, n numeric(5,2)); create table b (id integer primary key)",
        external: "create table a (id integer primary key, n numeric(5,3))"
      }, { started: false })
      const found = yield* planned(sync, urlsOf(sync))
      assert.match(
        found.tables[0]!.problem!,
        /Column "n" of .* is numeric\(5,2\) on Replit and numeric\(5,3\) on external/
      )
      assert.match(found.tables[1]!.problem!, /does not exist in the external database/)
      assert.strictEqual(planExitCode(found), 3)
    }))

  it.scoped("counts a filled side against an empty one without moving a key", () =>
    Effect.gen(function*() {
      const sync = yield* synced("create table notas (id integer primary key, a text)", { started: false })
      yield* sync.replit.query("insert into notas select n, 'texto ' || n from generate_series(1, 150000) n")
      const found = yield* planned(sync, urlsOf(sync))
      const { estimatedBytes, onlyOn, twins } = found.tables[0]!.figures!
      assert.deepStrictEqual([onlyOn, twins.complete], [{ replit: 150_000, external: 0 }, true])
      assert.isTrue(estimatedBytes > 10_000_000 && estimatedBytes < 20_000_000, String(estimatedBytes))
    }))
})
