import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { approve } from "../../src/programs/approve.ts"
import { listConflicts, restoreConflict } from "../../src/programs/conflicts.ts"
import { reject } from "../../src/programs/reject.ts"
import { catalogDump } from "../support/catalogDump.ts"
import { assertConverged, moved, nothing, PgPair, type Synced } from "../support/PgPair.ts"
import { journaled, notas, stranger, verified, withRows } from "../support/Stranger.ts"
import { asAdmin, connect } from "../support/TestPostgres.ts"

const approves = (sync: Synced) => sync.run(Effect.asVoid(approve({ schema: sync.schema, name: "notas" })))
const rejects = (sync: Synced) => sync.run(Effect.asVoid(reject({ schema: sync.schema, name: "notas" })))

layer(PgPair.layer, { excludeTestServices: true })("an external database on which nothing is installed", (it) => {
  it.scoped("takes and gives inserts, updates, deletes and changed keys, and its catalog stays as it was", () =>
    Effect.gen(function*() {
      const sync = yield* stranger(notas, { started: false })
      const admin = yield* connect(asAdmin(sync.external.url))
      const before = yield* catalogDump(admin.query)
      yield* sync.cycle
      yield* sync.replit.query("insert into notas (id, a) values (1, 'um'), (2, 'dois'), (3, 'três'), (4, 'quatro')")
      yield* sync.external.query("insert into notas (id, a) values (11, 'onze'), (12, 'doze'), (13, 'treze')")
      assert.deepStrictEqual(moved(yield* sync.cycle), { push: { inserted: 4 }, pull: { inserted: 3 } })
      yield* sync.external.database.scan([yield* sync.table("notas")], { sweep: "now" })
      assert.deepStrictEqual(yield* sync.external.pending("notas"), [])
      yield* assertConverged(sync)
      yield* sync.replit.query(
        "update notas set a = 'UM', updated_at = now() where id = 1; delete from notas where id = 2; update notas set id = 40 where id = 4"
      )
      yield* sync.external.query(
        "update notas set a = 'ONZE', updated_at = now() where id = 11; delete from notas where id in (3, 12); "
          + "update notas set id = 130, updated_at = now() where id = 13"
      )
      const report = moved(yield* sync.cycle)
      assert.deepInclude(report.pull, { updated: 1, inserted: 1, deleted: 3 })
      // What was sent and what arrived is no change to whoever looks next.
      yield* sync.external.database.scan([yield* sync.table("notas")], { sweep: "now" })
      assert.deepStrictEqual(yield* sync.external.pending("notas"), [])
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* catalogDump(admin.query), before)
    }))

  it.scoped("a conflict is decided by the stamps, the loser is journaled, and comes back by restore", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(2)
      yield* sync.replit.query("update notas set a = 'replit', updated_at = now() + interval '1 second' * (2 - id)")
      yield* sync.external.query("update notas set a = 'external', updated_at = now() + interval '1 second' * (id - 1)")
      yield* sync.cycle
      yield* assertConverged(sync)
      const values = sync.external.query<{ a: string }>("select a from notas order by id")
      assert.deepStrictEqual(yield* values, [{ a: "replit" }, { a: "external" }])
      assert.sameMembers(yield* journaled(sync), ["external conflict: external", "replit conflict: replit"])
      for (const { id } of yield* sync.run(listConflicts({ limit: 2 }))) yield* sync.run(restoreConflict(id))
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* values, [{ a: "external" }, { a: "replit" }])
      assert.lengthOf(yield* journaled(sync), 4)
    }))

  it.scoped("a commit that comes late is found within the window, and later by verify", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(3, { settings: { externalWindow: "10 minutes" } })
      const late = yield* sync.external.connect
      yield* late.query("begin; update notas set a = 'tarde', updated_at = now() - interval '9 minutes' where id = 1")
      yield* late.query("insert into notas values (4, 'tarde', now() - interval '9 minutes')")
      yield* sync.external.query("update notas set a = 'cedo', updated_at = now() where id = 2")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1 } })
      yield* late.query("commit")
      assert.deepStrictEqual(moved(yield* sync.cycle), { ...nothing, pull: { updated: 1, inserted: 1 } })
      yield* assertConverged(sync)
      yield* sync.external.query(
        "update notas set a = 'tarde demais', updated_at = now() - interval '1 hour' where id = 3"
      )
      assert.deepStrictEqual(moved(yield* sync.cycle), nothing)
      assert.deepInclude(yield* verified(sync), { outcome: "different", different: 1 })
      assert.deepInclude(yield* verified(sync, true), { outcome: "equal" })
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* sync.replit.query("select a from notas where id = 3"), [{ a: "tarde demais" }])
    }))

  it.scoped("a table that is found empty is held, whatever the brake's setting", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(3)
      for (const say of [rejects, approves]) {
        yield* sync.external.query("truncate notas")
        const { paused } = yield* sync.cycle
        assert.deepInclude(paused[0], { held: true })
        assert.include(paused[0]!.problem, "never taken at its word")
        yield* sync.external.query("insert into notas (id, a) values (99, 'nova')")
        assert.lengthOf((yield* sync.cycle).paused, 1)
        assert.lengthOf(yield* sync.replit.rows("notas"), 3)
        yield* sync.external.query("delete from notas where id = 99")
        yield* sync.cycle
        yield* say(sync)
        yield* sync.cycle
        yield* assertConverged(sync)
        assert.lengthOf(yield* sync.replit.rows("notas"), say === rejects ? 3 : 0)
      }
    }))

  it.scoped("a crash between external's commit and the ledger costs nothing", () =>
    Effect.gen(function*() {
      const sync = yield* withRows(3)
      const settle = "function vaivem.ledger_settle(integer, jsonb)"
      yield* sync.replit.query(
        "update notas set a = 'replit', updated_at = now() + interval '1 hour'; insert into notas values (4, 'replit', now())"
      )
      yield* sync.external.query("update notas set a = 'external', updated_at = now() where id = 1")
      yield* sync.replit.query(`alter ${settle} rename to ledger_settle_away`)
      yield* Effect.exit(sync.cycle)
      assert.lengthOf(yield* sync.external.rows("notas"), 4)
      yield* sync.replit.query(`alter ${settle.replace("settle(", "settle_away(")} rename to ledger_settle`)
      yield* sync.cycle
      yield* assertConverged(sync)
      assert.deepStrictEqual(yield* journaled(sync), ["external conflict: external"])
    }))
})
