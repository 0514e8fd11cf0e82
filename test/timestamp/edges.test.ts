import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { Contended, type SyncError, Unavailable } from "../../src/domain/SyncError.ts"
import { approve } from "../../src/programs/approve.ts"
import { discardQuarantine } from "../../src/programs/quarantine.ts"
import { reject } from "../../src/programs/reject.ts"
import { resolve } from "../../src/programs/resolve.ts"
import { setup } from "../../src/programs/setup.ts"
import { splitIds } from "../../src/programs/splitIds.ts"
import { teardown } from "../../src/programs/teardown.ts"
import type { Transaction } from "../../src/services/pg/PgSession.ts"
import * as PgSession from "../../src/services/pg/PgSession.ts"
import * as Ledger from "../../src/services/timestamp/Ledger.ts"
import * as Mount from "../../src/services/timestamp/Mount.ts"
import { commit } from "../../src/services/timestamp/TimestampChangelog.ts"
import {
  alone,
  assertConverged,
  moved,
  nothing,
  PgPair,
  type Synced,
  synced,
  targetOf,
  uuid
} from "../support/PgPair.ts"
import { journaled, notas, stranger, verified, withRows } from "../support/Stranger.ts"
import { asAdmin, connect, freshDatabaseOf, query } from "../support/TestPostgres.ts"

const approves = (sync: Synced) => sync.run(Effect.asVoid(approve({ schema: sync.schema, name: "notas" })))
const rejects = (sync: Synced) => sync.run(Effect.asVoid(reject({ schema: sync.schema, name: "notas" })))

layer(PgPair.layer, { excludeTestServices: true })("edges of syncing by stamps", (it) => {
  it.scoped("copies at a first contact, by the conflict rule, what either side has", () =>
    Effect.gen(function*() {
      const sync = yield* stranger(notas, { started: false })
      yield* sync.replit.query(
        "insert into notas values (1, 'r', '2024-02-01'), (2, 'r', '2024-01-01'), (3, 'r', now())"
      )
      yield* sync.external.query("insert into notas values (1, 'e', '2024-01-01'), (2, 'e', now()), (4, 'e', null)")
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(
        (yield* sync.external.query<{ a: string }>("select a from notas order by id")).map(({ a }) => a),
        [
          "r",
          "e",
          "r",
          "e"
        ]
      )
      assert.sameMembers(yield* journaled(sync), ["external conflict: e", "replit conflict: r"])
    }))

  it.scoped("an update that leaves the stamp is seen by verify alone, and an insert with an old one by its key", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(3)
      yield* sync.external.query(
        "update notas set a = 'às escondidas' where id = 1; insert into notas values (9, 'velha', null)"
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { inserted: 1 } })
      assert.deepInclude(yield* verified(sync), { outcome: "different", different: 1 })
      yield* verified(sync, true)
      // As at a first contact: neither side's version is known to be newer, and a tie goes to Replit; the other one is kept.
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), ["external conflict: às escondidas"])
    }))

  it.scoped("a trigger that overwrites the stamp of what arrives has its version back once", () =>
    Effect.gen(function*() {
      const sync = yield* stranger({
        replit: notas,
        external: `${notas};
          create function agora() returns trigger language plpgsql as $$
            begin new.updated_at := clock_timestamp(); new.a := upper(new.a); return new; end $$;
          create trigger agora before insert or update on notas for each row execute function agora()`
      })
      yield* sync.replit.query("insert into notas values (1, 'um', '2024-01-01'), (2, 'dois', now())")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* sync.replit.query("select a from notas order by id"), [{ a: "UM" }, { a: "DOIS" }])
      yield* sync.replit.query("update notas set a = 'outro' where id = 1")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), [])
    }))

  it.scoped("what was changed since the scan is found under the locks", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(3)
      const app = yield* sync.external.connect
      yield* app.query("begin; update notas set a = 'external', updated_at = now() + interval '1 hour' where id = 1")
      yield* sync.replit.query("update notas set a = 'replit', updated_at = now() where id < 3")
      const cycle = yield* Effect.fork(sync.cycle)
      yield* sync.external.serviceWaits
      yield* app.query("commit")
      assert.deepStrictEqual(moved(yield* Fiber.join(cycle)), { ...nothing, push: { updated: 1 } })
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1, conflicts: 1 } })
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), ["replit conflict: replit"])
    }))

  it.scoped("a row that is changed again between scan and claim is sent once, as it is then", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(1)
      const table = yield* sync.table("notas")
      const scan = sync.external.database.scan([table], { sweep: "now" })
      yield* sync.external.query("update notas set a = 'primeira', updated_at = now() where id = 1")
      yield* scan
      yield* sync.external.query("update notas set a = 'segunda', updated_at = now() where id = 1")
      yield* Effect.scoped(Effect.gen(function*() {
        const request = { _tag: "Next", phase: "upserts", after: null, rows: 10 } as const
        const claim = yield* sync.external.database.claim(table, request)
        yield* sync.replit.database.apply(table, claim!, { judge: resolve(table, "external"), locks: "wait" })
        yield* claim!.acknowledge([])
      }))
      yield* scan
      assert.deepStrictEqual(yield* sync.external.pending("notas"), [])
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* sync.replit.query("select a from notas"), [{ a: "segunda" }])
    }))

  it.scoped("a row that the app inserts while it arrives is a conflict, not a bad row", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(1)
      const app = yield* sync.external.connect
      yield* app.query("begin; insert into notas values (2, 'external', now())")
      yield* sync.replit.query("insert into notas values (2, 'replit', now() + interval '1 hour')")
      const cycle = yield* Effect.fork(sync.cycle)
      yield* sync.external.serviceWaits
      yield* app.query("commit")
      const { quarantined } = yield* Fiber.join(cycle)
      assert.strictEqual(quarantined, 0)
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), ["external conflict: external"])
    }))

  it.scoped("a row that one side refuses waits in quarantine, either way, and discard takes the other side's", () =>
    Effect.gen(function*() {
      const sync = yield* stranger({
        replit: `${notas}; alter table notas add check (a <> 'proibido em replit')`,
        external: `${notas}; alter table notas add check (a <> 'proibido em external')`
      })
      yield* sync.replit.query("insert into notas (id, a) values (1, 'proibido em external'), (2, 'sim')")
      yield* sync.external.query("insert into notas (id, a) values (3, 'proibido em replit'), (4, 'sim')")
      const report = yield* sync.cycle
      assert.deepStrictEqual(moved(report), {
        push: { inserted: 1, quarantined: 1 },
        pull: { inserted: 1, quarantined: 1 }
      })
      assert.strictEqual(report.quarantined, 2)
      // A row that only one side has for that is neither deleted nor sent again.
      assert.deepStrictEqual(moved(yield* sync.cycle).pull, { quarantined: 1 })
      yield* sync.external.query("update notas set a = 'agora sim', updated_at = now() where id = 3")
      yield* sync.replit.query("update notas set a = 'agora sim', updated_at = now() where id = 1")
      assert.deepStrictEqual(moved(yield* sync.cycle), { push: { inserted: 1 }, pull: { inserted: 1 } })
      yield* assertConverged(sync)
      yield* sync.external.query("update notas set a = 'proibido em replit', updated_at = now() where id = 4")
      yield* sync.cycle
      const [refused] = yield* sync.external.database.quarantined(null)
      yield* sync.run(discardQuarantine(refused!.id))
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* sync.external.query("select a from notas where id = 4"), [{ a: "sim" }])
      assert.include(yield* journaled(sync), "external discard: proibido em replit")
    }))

  it.scoped("many deletes are held by the brake: approve lets them through, reject brings the rows back", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(200, { settings: { brake: { rows: 50, percent: 20 } } })
      for (const [first, say] of [[1, approves], [101, rejects]] as const) {
        yield* sync.external.query(`delete from notas where id between ${first} and ${first + 59}`)
        const { paused } = yield* sync.cycle
        assert.deepInclude(paused[0], { table: `${sync.schema}.notas`, held: true })
        assert.include(paused[0]!.problem, "60 of ")
        yield* sync.cycle
        yield* say(sync)
        const done = moved(yield* sync.cycle)
        assert.deepStrictEqual(
          done,
          say === approves ? { ...nothing, pull: { deleted: 60 } } : { ...nothing, push: { inserted: 60 } }
        )
        yield* assertConverged(sync)
      }
    }))

  it.scoped("a connection that is killed while a batch waits for a lock costs nothing", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(2)
      const admin = yield* connect(asAdmin(sync.external.url))
      yield* sync.external.query("update notas set a = 'external', updated_at = now() where id = 1")
      yield* sync.replit.query("update notas set a = 'replit', updated_at = now() + interval '1 hour' where id = 1")
      const holding = yield* sync.external.connect
      yield* holding.query("begin; select from notas where id = 1 for update")
      const cycle = yield* Effect.fork(Effect.exit(sync.cycle))
      yield* sync.external.serviceWaits
      yield* admin.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'vaivem' and wait_event_type = 'Lock' and datname = current_database()"
      )
      yield* holding.query("rollback")
      yield* Fiber.join(cycle)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), ["external conflict: external"])
    }))

  it.scoped("a commit that external refuses leaves nothing in the ledger, and one whose answer is lost leaves the loser", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(1)
      const ledger = Ledger.make(yield* PgSession.make(targetOf("replit", sync.replit.url)))
      const table = yield* sync.table("notas")
      const sql = Mount.sqlOf(table, "")
      const says = (rows: ReadonlyArray<Record<string, string>>) => rows.map((row) => ({ rows: [row], count: 1 }))
      const loser = JSON.stringify([{
        id: uuid(1),
        table_schema: sync.schema,
        table_name: "notas",
        key: ["1"],
        reason: "conflict",
        lost_operation: "UPSERT",
        decided_at: "2024-01-01"
      }])
      const tx = (error: SyncError): Transaction => ({
        query: () => Effect.succeed([]),
        script: () => Effect.succeed(says([{ rows: "[[\"{1}\",1,true,0]]" }, { conflicts: loser }, { done: "{}" }])),
        copyTo: () => Stream.empty,
        copyFrom: () => Effect.succeed(0),
        commit: () => Effect.fail(error)
      })
      const side = "external"
      const refused = new Contended({ side, message: "no", sqlState: "40001", reason: "serialization" })
      assert.strictEqual(yield* Effect.flip(commit(tx(refused), sql, ledger, table)), refused)
      assert.deepStrictEqual([yield* journaled(sync), yield* sync.external.pending("notas")], [[], []])
      const lost = new Unavailable({ side, message: "gone", sqlState: null, slow: false })
      yield* Effect.flip(commit(tx(lost), sql, ledger, table))
      assert.deepStrictEqual(yield* journaled(sync), ["external conflict: deleted"])
      assert.deepStrictEqual(yield* sync.external.pending("notas"), ["UPSERT 1"])
    }))

  it.scoped("an idle cycle writes neither rows nor what is known of them", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(3)
      yield* sync.external.query("update notas set a = 'novo', updated_at = now()")
      yield* sync.cycle
      yield* sync.cycle
      const written = () =>
        sync.replit.query(
          `select xmin::text, ctid::text from vaivem.ledger_seen union all
           select low_us::text, fingerprint from vaivem.ledger_tables order by 1, 2`
        )
      const before = yield* written()
      const rows = sync.external.query("select xmin::text, ctid::text from notas order by id")
      const asTheyWere = yield* rows
      assert.strictEqual((yield* sync.cycle).outcome, "idle")
      assert.deepStrictEqual(yield* written(), before)
      assert.deepStrictEqual(yield* rows, asTheyWere)
    }))

  it.scoped("keys are compared as rarely as EXTERNAL_SWEEP_EVERY says, and by verify", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(10, { settings: { externalSweepEvery: "1 hour" } })
      yield* sync.cycle
      yield* sync.external.query("delete from notas where id = 1")
      assert.deepStrictEqual(moved(yield* sync.cycle), nothing)
      assert.deepInclude(yield* verified(sync), { outcome: "unproven", unproven: 1 })
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { deleted: 1 } })
      yield* assertConverged(sync)
    }))

  it.scoped("a row that Replit's triggers did not log is not taken for one that was deleted on external", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(3)
      yield* sync.replit.query(
        "alter table notas disable trigger user; insert into notas values (4, 'sem registro', now())"
      )
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.lengthOf(yield* sync.external.rows("notas"), 4)
    }))

  it.scoped("a column that is added on both sides is compared, and one whose type changes", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(3)
      yield* sync.replit.query("alter table notas add column b integer default 1")
      yield* sync.external.query("alter table notas add column b integer default 2")
      yield* sync.cycle
      yield* sync.cycle
      yield* assertConverged(sync)
    }))

  it.scoped("what can't be done without anything installed is said, with the way out", () =>
    Effect.gen(function*() {
      const sync = yield* stranger(`${notas}; create table semdata (id serial primary key)`, {
        tables: ["notas", "semdata"],
        started: false
      })
      const error = yield* Effect.flip(sync.cycle)
      assert.include(error.message, "has no stamp column \"updated_at\"")
      assert.include(error.message, "EXTERNAL_CAPTURE=timestamp")
      const good = yield* withRows(1)
      const keep = setup({ createMissing: false, strict: true, choices: { missing: "keep" } })
      assert.include((yield* Effect.flip(good.run(keep))).message, "rows can't be left on one side")
      assert.include((yield* Effect.flip(good.run(splitIds([])))).message, "ids can't be split")
    }))

  it.scoped("a wildcard takes in what may be written, and a table without a stamp waits alone", () =>
    Effect.gen(function*() {
      const sync = yield* stranger(`${notas}; create table semdata (id integer primary key)`, {
        schema: "curinga",
        tables: ["notas"],
        settings: { tables: [], schemas: ["curinga"] }
      })
      yield* sync.external.query("insert into notas (id, a) values (1, 'um'); insert into semdata values (1)")
      const report = yield* sync.cycle
      assert.deepStrictEqual(moved(report), { ...nothing, pull: { inserted: 1 } })
      assert.deepStrictEqual(report.paused.map(({ table }) => table), ["curinga.semdata"])
      assert.include(report.paused[0]!.problem, "has no stamp column")
    }))

  it.scoped("another external database, or one with triggers, is refused, and teardown leads on", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(2)
      const other = yield* freshDatabaseOf("external")
      yield* query(other, `create schema ${sync.schema}; ${notas.replace("notas", `${sync.schema}.notas`)}`)
      const elsewhere = yield* synced("select", {
        schema: sync.schema,
        tables: ["notas"],
        capture: "timestamp",
        started: false
      }).pipe(Effect.provideService(PgPair, { ...(yield* PgPair), external: other }))
      const refused = yield* Effect.flip(elsewhere.cycle)
      assert.strictEqual(refused._tag, "ActionNeeded")
      assert.include(refused.message, "Use the URL of the old one")
      yield* sync.cycle
      // The same pair by triggers.
      const triggers = yield* synced("select", { schema: sync.schema, tables: ["notas"], started: false })
      assert.include((yield* Effect.flip(triggers.cycle)).message, "EXTERNAL_CAPTURE=timestamp")
      yield* sync.run(teardown({ table: null, confirm: () => Effect.succeed(true) }))
      yield* triggers.cycle
      assert.include((yield* Effect.flip(sync.cycle)).message, "vaivem is installed in the external database")
      yield* triggers.run(teardown({ table: null, confirm: () => Effect.succeed(true) }))
      const again = yield* withRows(2)
      yield* again.cycle
      yield* assertConverged(again)
    }).pipe(alone))
})
