/** Conformance: the queue, claims and acknowledgements, the lease, and what a cycle asks. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Renewal } from "../../src/domain/Tokens.ts"
import type { ClaimRequest } from "../../src/services/Database.ts"
import type { MakePair } from "./Pair.ts"
import { keyIn, move, next, read, rowsOf, setUp, waiting } from "./Pair.ts"

/** For so long, in milliseconds, both. */
const keeping = (ms: number) => ({ historyMs: ms, conflictsMs: ms })

export const changelog = (makePair: MakePair) => {
  it.scopedLive("inserts, updates, deletes, changed keys and truncations become pending", () =>
    Effect.gen(function*() {
      const { notas, perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      const isPending = Effect.map(
        database.ask({ tables: [perfis.name, notas.name] }),
        ({ tables }) => tables.map(({ pending }) => pending)
      )
      assert.deepStrictEqual(yield* isPending, [false, false])
      for (const id of ["a", "b", "c"]) yield* app.insert(perfis.name, { id })
      yield* app.update(perfis.name, ["a"], { nome: "A" })
      yield* app.remove(perfis.name, ["b"])
      yield* app.changeKey(perfis.name, ["c"], ["d"])
      assert.deepStrictEqual(yield* isPending, [true, false])
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a", "d", "-b", "-c"])
      for (const id of ["2", "1", "10"]) yield* app.insert(notas.name, { id })
      yield* app.truncate(notas.name)
      assert.deepStrictEqual(yield* waiting(replit, notas), ["-1", "-2", "-10"])
    }))

  it.scopedLive("a transaction that is rolled back leaves nothing pending", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      const transaction = yield* replit.app.begin
      yield* transaction.insert(perfis.name, { id: "a" })
      yield* transaction.rollback
      assert.deepStrictEqual(yield* waiting(replit, perfis), [])
    }))

  it.scopedLive("keys are claimed in key order, page after page, and numbered from 1", () =>
    Effect.gen(function*() {
      const { notas, replit } = yield* setUp(makePair)
      for (const id of ["10", "9", "100", "2", "1"]) yield* replit.app.insert(notas.name, { id })
      const pages: Array<ReadonlyArray<unknown>> = []
      let after: ReadonlyArray<string> | null = null
      for (let page = 0; page < 4; page++) {
        const request: ClaimRequest = { _tag: "Next", phase: "upserts", after, rows: 2 }
        const rows = yield* Effect.scoped(Effect.gen(function*() {
          const claim = yield* replit.database.claim(notas, request)
          if (claim === null) return null
          const found = yield* rowsOf(notas, claim)
          assert.strictEqual(claim.rows, found.length)
          assert.deepStrictEqual(claim.last, keyIn(notas, found.at(-1)!))
          after = claim.last
          return found.map((row) => [row.number, keyIn(notas, row)[0]])
        }))
        if (rows === null) break
        pages.push(rows)
      }
      assert.deepStrictEqual(pages, [[[1, "1"], [2, "2"]], [[1, "9"], [2, "10"]], [[1, "100"]]])
    }))

  it.scopedLive("a claim of many takes each key once, in whatever order, and goes on where it ended", () =>
    Effect.gen(function*() {
      const { itens, perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      yield* app.insert(perfis.name, { id: "a" })
      for (const numero of ["1", "2", "3", "4"]) yield* app.insert(itens.name, { perfil_id: "a", numero })
      for (const numero of ["3", "1"]) yield* app.update(itens.name, ["a", numero], { texto: "changed" })
      yield* app.remove(itens.name, ["a", "4"])
      const many = { _tag: "Next", phase: "upserts", after: ["a", "1"], place: null, rows: 10_000 } as const
      const claim = (yield* database.claim(itens, many))!
      const rows = yield* rowsOf(itens, claim)
      assert.deepStrictEqual(rows.map((row) => keyIn(itens, row)[1]).sort(), ["2", "3"])
      assert.deepStrictEqual(rows.map(({ number }) => number), [1, 2])
      const onward = { ...many, after: claim.after, place: claim.place ?? null }
      yield* app.update(itens.name, ["a", "2"], { texto: "changed meanwhile" })
      // What is claimed and not acknowledged yet isn't claimed again, although it changed.
      assert.deepStrictEqual(yield* read(replit, itens, onward), [])
      yield* claim.acknowledge([])
      assert.deepStrictEqual(yield* waiting(replit, itens), ["a,1", "a,2", "-a,4"])
      const [deleted, ...others] = yield* read(replit, itens, { ...many, phase: "deletes" })
      assert.deepStrictEqual(others, [])
      assert.isFalse(deleted!.present)
      assert.deepStrictEqual(keyIn(itens, deleted!), ["a", "4"])
    }))

  it.scopedLive("composite keys go on after the last one of a page", () =>
    Effect.gen(function*() {
      const { itens, perfis, replit } = yield* setUp(makePair)
      for (const id of ["a", "b"]) yield* replit.app.insert(perfis.name, { id })
      for (const [perfil_id, numero] of [["b", "1"], ["a", "2"], ["a", "10"]] as const) {
        yield* replit.app.insert(itens.name, { perfil_id, numero })
      }
      const after = ["a", "2"]
      const rows = yield* read(replit, itens, { _tag: "Next", phase: "upserts", after, rows: 10 })
      assert.deepStrictEqual(rows.map((row) => keyIn(itens, row)), [["a", "10"], ["b", "1"]])
    }))

  it.scopedLive("a key that changed many times is claimed once, with its newest state", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      const { app } = replit
      yield* app.insert(perfis.name, { id: "a", nome: "1" })
      yield* app.update(perfis.name, ["a"], { nome: "2" })
      yield* app.remove(perfis.name, ["a"])
      yield* app.insert(perfis.name, { id: "a", nome: "3", email: "", updated_at: "2024-01-01 00:00:00.123456+00" })
      const rows = yield* read(replit, perfis, next("upserts"))
      assert.strictEqual(rows.length, 1)
      assert.deepInclude(rows[0], {
        present: true,
        values: ["a", "3", "", "2024-01-01 00:00:00.123456+00"],
        bounces: 0,
        was: null
      })
      assert.deepStrictEqual(yield* read(replit, perfis, next("deletes")), [])
    }))

  it.scopedLive("when a change was logged comes along, and of a deleted row its key alone", () =>
    Effect.gen(function*() {
      const { notas, perfis, replit } = yield* setUp(makePair)
      const { app } = replit
      yield* app.insert(perfis.name, { id: "b", updated_at: "infinity" })
      yield* app.remove(perfis.name, ["b"])
      yield* app.insert(notas.name, { id: "1" })
      const [[deleted], [note]] = [
        yield* read(replit, perfis, next("deletes")),
        yield* read(replit, notas, next("upserts"))
      ]
      const year2020 = 1_577_836_800_000_000n
      assert.isTrue(deleted!.changedUs! > year2020 && deleted!.changedUs! < 2n * year2020)
      assert.deepStrictEqual(deleted!.values, ["b", null, null, null])
      assert.isTrue(note!.changedUs! >= deleted!.changedUs!)
    }))

  it.scopedLive("an update that leaves the stamp alone bumps it", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a", updated_at: "2024-01-01 00:00:00+00" })
      yield* replit.app.update(perfis.name, ["a"], { nome: "A" })
      assert.notStrictEqual((yield* replit.app.rows(perfis.name))[0]!["updated_at"], "2024-01-01 00:00:00+00")
      yield* replit.app.update(perfis.name, ["a"], { updated_at: "2025-01-01 00:00:00+00" })
      assert.strictEqual((yield* replit.app.rows(perfis.name))[0]!["updated_at"], "2025-01-01 00:00:00+00")
    }))

  it.scopedLive("a claim reads one snapshot and acknowledges exactly what it read", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      yield* app.insert(perfis.name, { id: "a", nome: "1" })
      yield* app.insert(perfis.name, { id: "b", nome: "1" })
      yield* Effect.scoped(Effect.gen(function*() {
        const claim = yield* database.claim(perfis, next("upserts"))
        yield* app.update(perfis.name, ["a"], { nome: "2" })
        yield* app.insert(perfis.name, { id: "c" })
        const rows = yield* rowsOf(perfis, claim!)
        assert.deepStrictEqual(rows.map(({ values }) => values.slice(0, 2)), [["a", "1"], ["b", "1"]])
        yield* claim!.acknowledge([])
      }))
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a", "c"])
    }))

  it.scopedLive("keys that are kept stay pending, and so does everything when a claim is given up", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      for (const id of ["a", "b", "c"]) yield* replit.app.insert(perfis.name, { id })
      yield* Effect.scoped(replit.database.claim(perfis, next("upserts")))
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a", "b", "c"])
      yield* Effect.scoped(Effect.gen(function*() {
        const claim = yield* replit.database.claim(perfis, next("upserts"))
        yield* claim!.acknowledge([2])
      }))
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b"])
    }))

  it.scopedLive("a change whose id was taken early and that is committed late is not lost", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      yield* app.insert(perfis.name, { id: "b", nome: "1" })
      const late = yield* app.begin
      yield* late.insert(perfis.name, { id: "a" })
      yield* late.update(perfis.name, ["b"], { nome: "2" })
      yield* app.insert(perfis.name, { id: "c" })
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b", "c"])
      yield* Effect.scoped(Effect.gen(function*() {
        const claim = yield* database.claim(perfis, next("upserts"))
        yield* external.database.apply(perfis, claim!, { judge: () => "keep", locks: "wait" })
        yield* late.commit
        yield* claim!.acknowledge([])
      }))
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a", "b"])
      yield* move(replit, external, perfis, "upserts")
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), yield* app.rows(perfis.name))
    }))

  it.scopedLive("a claim whose changes were settled meanwhile can't be acknowledged, and nothing of it is", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      for (const id of ["a", "b"]) yield* replit.app.insert(perfis.name, { id, nome: "ours" })
      yield* external.app.insert(perfis.name, { id: "a", nome: "theirs" })
      yield* Effect.scoped(Effect.gen(function*() {
        const claim = yield* replit.database.claim(perfis, next("upserts"))
        yield* move(external, { ...replit, database: replit.second }, perfis, "upserts", { judge: () => "overwrite" })
        const error = yield* Effect.flip(claim!.acknowledge([]))
        assert.deepInclude(error, { _tag: "Contended", reason: "serialization" })
      }))
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b"])
    }))

  it.scopedLive("a claim of keys takes exactly these, as far as they are pending and of the phase", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      for (const id of ["a", "b", "c", "d"]) yield* replit.app.insert(perfis.name, { id })
      yield* replit.app.remove(perfis.name, ["d"])
      const keys = [["c"], ["a"], ["d"], ["z"]]
      const claimed = (phase: "upserts" | "deletes") =>
        Effect.map(
          read(replit, perfis, { _tag: "Keys", phase, keys }),
          (rows) => rows.flatMap((row) => keyIn(perfis, row))
        )
      assert.deepStrictEqual(yield* claimed("upserts"), ["a", "c"])
      assert.deepStrictEqual(yield* claimed("deletes"), ["d"])
      assert.isNull(
        yield* Effect.scoped(replit.database.claim(perfis, { _tag: "Keys", phase: "upserts", keys: [["z"]] }))
      )
    }))

  it.scopedLive("a claim is null when nothing is left", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      assert.isNull(yield* Effect.scoped(replit.database.claim(perfis, next("upserts"))))
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* move(replit, external, perfis, "upserts")
      assert.isNull(yield* Effect.scoped(replit.database.claim(perfis, next("upserts"))))
      assert.isNull(yield* Effect.scoped(replit.database.claim(perfis, next("deletes"))))
    }))

  it.scopedLive("a changed key is linked to the old one while that is gone and pending itself", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      for (const id of ["a", "b"]) yield* app.insert(perfis.name, { id })
      yield* move(replit, external, perfis, "upserts")
      yield* app.changeKey(perfis.name, ["a"], ["c"])
      yield* app.changeKey(perfis.name, ["b"], ["d"])
      yield* app.insert(perfis.name, { id: "b" })
      const moves = yield* Effect.scoped(Effect.map(database.claim(perfis, next("upserts")), (claim) => claim!.moves))
      assert.strictEqual(moves, 1)
      const rows = yield* read(replit, perfis, next("upserts"))
      assert.deepStrictEqual(rows.map(({ values, was }) => [values[0], was]), [["b", null], ["c", ["a"]], ["d", null]])
      yield* move(replit, external, perfis, "deletes")
      const later = yield* read(replit, perfis, next("upserts"))
      assert.deepStrictEqual(later.map(({ was }) => was), [null, null, null])
    }))

  it.scopedLive("a cycle that one instance finished a moment ago is not due for another", () =>
    Effect.gen(function*() {
      const { replit } = yield* setUp(makePair)
      const holders = { mine: "10000000-0000-4000-8000-000000000000", other: "20000000-0000-4000-8000-000000000000" }
      const ask = (database: typeof replit.database, holder: string, notBeforeMs: number, otherSideIdle = false) =>
        Effect.map(
          database.ask({ tables: [], note: { holder, otherSideIdle, notBeforeMs } }),
          ({ notDue }) => notDue
        )
      assert.isFalse(yield* ask(replit.database, holders.mine, 60_000))
      assert.isNull((yield* replit.database.status([])).lastCycleAt)
      yield* replit.database.finish(null)
      assert.isNotNull((yield* replit.database.status([])).lastCycleAt)
      assert.isFalse(yield* ask(replit.database, holders.mine, 60_000))
      assert.isTrue(yield* ask(replit.second, holders.other, 60_000))
      assert.isFalse(yield* ask(replit.second, holders.other, 0))
      // Both sides are idle: the question itself ends the second one's cycle.
      assert.isFalse(yield* ask(replit.second, holders.other, 0, true))
      assert.isTrue(yield* ask(replit.database, holders.mine, 60_000))
    }))

  it.scopedLive("purging takes history and never what is pending", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      for (const id of ["a", "b"]) yield* replit.app.insert(perfis.name, { id })
      yield* move(replit, external, perfis, "upserts", { request: { _tag: "Keys", phase: "upserts", keys: [["a"]] } })
      assert.strictEqual((yield* replit.database.purge([perfis.name], keeping(3_600_000))).purged, 0)
      yield* Effect.sleep("2 millis")
      assert.strictEqual((yield* replit.database.purge([perfis.name], keeping(0))).purged, 1)
      assert.strictEqual((yield* external.database.purge([perfis.name], keeping(0))).purged, 1)
      assert.strictEqual((yield* replit.database.purge([perfis.name], keeping(0))).purged, 0)
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b"])
    }))

  it.scopedLive("purging takes old conflicts, restored or not, and no young ones", () =>
    Effect.gen(function*() {
      const { external, perfis, replit } = yield* setUp(makePair)
      for (const { app } of [replit, external]) {
        yield* app.insert(perfis.name, { id: "a", nome: app === replit.app ? "R" : "E" })
      }
      yield* move(replit, external, perfis, "upserts")
      yield* move(external, replit, perfis, "upserts")
      const kept = Effect.map(
        Effect.all([replit.database.conflicts({ limit: 9 }), external.database.conflicts({ limit: 9 })]),
        (both) => both.flat().length
      )
      const purge = (conflictsMs: number) =>
        Effect.all(
          [replit.database, external.database].map((database) =>
            database.purge([], { historyMs: 3_600_000, conflictsMs })
          )
        )
      assert.strictEqual(yield* kept, 1)
      yield* purge(3_600_000)
      assert.strictEqual(yield* kept, 1)
      yield* Effect.sleep("2 millis")
      yield* purge(0)
      assert.strictEqual(yield* kept, 0)
    }))

  it.scopedLive(
    "a queue that nobody reads is folded while the app writes: one change a key, and none is lost",
    () =>
      Effect.gen(function*() {
        const { external, perfis, replit } = yield* setUp(makePair)
        const { app, database } = replit
        const counted = Effect.map(
          database.ask({ tables: [perfis.name], countTo: 100_000 }),
          ({ tables }) => tables[0]!.waiting
        )
        // Who is connected reads, and what is read is not folded: where nothing is installed on external, that one's changes are kept here.
        const disconnect = Effect.zipRight(external.database.disconnect, database.disconnect)
        /** Enough of it: a look is at some of the pages, and those at the end may be few. */
        const isFolded = (writes: number) =>
          Effect.gen(function*() {
            const { folded } = (yield* database.neglect)!
            const left = yield* counted
            yield* disconnect
            return folded.length > 0 && left < writes / 2 + 100
          })
        const reads = { afterMs: 0, queueMax: null }
        for (const id of ["a", "b", "d"]) yield* app.insert(perfis.name, { id })
        yield* app.changeKey(perfis.name, ["b"], ["c"])
        yield* app.remove(perfis.name, ["a"])
        assert.isNull((yield* database.ask({ tables: [perfis.name], reads })).folded)
        yield* disconnect
        let writes = 0
        // A server looks one time in 256, by chance.
        while (!(yield* isFolded(writes)) && writes < 6000) {
          for (let n = 0; n < 100; n++) {
            yield* app.update(perfis.name, [n % 2 === 0 ? "c" : "d"], { nome: `${++writes}` })
          }
        }
        assert.isBelow(yield* counted, writes / 2 + 100)
        assert.deepStrictEqual(yield* waiting(replit, perfis), ["c", "d", "-a", "-b"])
        const [c, d] = yield* read(replit, perfis, next("upserts"))
        assert.deepStrictEqual(c!.was, ["b"])
        assert.include(d!.values, `${writes}`)
        assert.isTrue(d!.changeId > c!.changeId)
        assert.isTrue((yield* database.neglect)!.abandoned)
        const told = yield* database.ask({ tables: [], reads: { afterMs: 3_600_000, queueMax: null } })
        assert.deepStrictEqual(told.folded?.folded, [perfis.name])
        assert.isNull((yield* database.ask({ tables: [], reads: { afterMs: 3_600_000, queueMax: null } })).folded)
        const after = yield* database.neglect
        assert.deepStrictEqual([after!.abandoned, after!.folded], [false, []])
      }),
    60_000
  )

  it.scopedLive("tokens are renewed along with a question, a purge and the end of a cycle, and only if nobody else did", () =>
    Effect.gen(function*() {
      const { replit } = yield* setUp(makePair)
      const { database } = replit
      const [a, b, c] = ["a", "b", "c"].map((letter) => `${letter.repeat(8)}-0000-4000-8000-000000000000`) as [
        string,
        string,
        string
      ]
      const tokens = (renewal?: Renewal) =>
        Effect.map(
          database.ask({ tables: [], ...(renewal === undefined ? {} : { renewal }) }),
          ({ tokens: { next, own, peer } }) => ({ own, peer, next })
        )
      assert.deepStrictEqual(yield* tokens(), { own: null, peer: null, next: [] })
      assert.deepStrictEqual(yield* database.purge([], keeping(0), { announce: a }), { purged: 0, renewed: true })
      assert.deepStrictEqual(yield* tokens(), { own: null, peer: null, next: [a] })
      assert.deepStrictEqual(yield* database.finish(null, { ifOwn: null, own: b, announce: c }), { renewed: true })
      assert.deepStrictEqual(yield* database.finish(null, { ifOwn: null, own: c }), { renewed: false })
      assert.deepStrictEqual(yield* database.finish(null), { renewed: false })
      assert.deepStrictEqual(yield* tokens({ ifOwn: c, peer: c }), { own: b, peer: null, next: [a, c] })
      assert.deepStrictEqual(yield* tokens({ ifOwn: b, peer: a, forget: [a] }), { own: b, peer: a, next: [c] })
      const late = yield* database.purge([], keeping(0), { ifOwn: c, announce: a })
      assert.deepStrictEqual([late.renewed, yield* tokens()], [false, { own: b, peer: a, next: [c] }])
      assert.isNotNull((yield* database.ask({ tables: [] })).tokens.renewedAtMs)
    }))

  it.scopedLive("a side that is taken as it is knows no contract, and what it had logged until then is no change any more", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      yield* app.insert(perfis.name, { id: "a" })
      yield* app.insert(perfis.name, { id: "b" })
      yield* app.changeKey(perfis.name, ["b"], ["c"])
      const refused = { sqlState: "23505", message: "taken", constraint: null, blockedBy: null }
      yield* database.quarantine(perfis, [{ key: ["a"], ...refused }])
      yield* database.takeAsItIs(Date.parse("2999-01-01"), { own: "aaaaaaaa-0000-4000-8000-000000000000" })
      assert.isNull(yield* database.recall(perfis.name))
      assert.deepStrictEqual(yield* waiting(replit, perfis), [])
      assert.deepStrictEqual(yield* database.quarantined(null), [])
    }))

  it.scopedLive("of a side that is taken as it is, changes that stay get numbers that were never given, in their order", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      const { app, database } = replit
      yield* app.insert(perfis.name, { id: "a" })
      yield* app.insert(perfis.name, { id: "b" })
      yield* app.changeKey(perfis.name, ["b"], ["c"])
      const idsOf = Effect.map(read(replit, perfis, next("upserts")), (rows) => rows.map(({ changeId }) => changeId))
      const before = yield* idsOf
      yield* database.takeAsItIs(Date.parse("2000-01-01"), {})
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a", "c", "-b"])
      const [, moved] = yield* read(replit, perfis, next("upserts"))
      assert.deepStrictEqual(moved!.was, ["b"])
      const after = yield* idsOf
      assert.isTrue(after[0]! > before[1]! && after[1]! > after[0]!)
      yield* app.insert(perfis.name, { id: "d" })
      const [, , later] = yield* idsOf
      assert.isTrue(later! > after[1]!)
      yield* database.takeAsItIs(null, {})
      assert.deepStrictEqual(yield* idsOf, [...after, later])
    }))
}
