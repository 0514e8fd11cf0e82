/** Conformance: comparing both sides, and marking what differs. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SyncedTable } from "../../src/domain/SyncedTable.ts"
import type { Database, RangeSet } from "../../src/services/Database.ts"
import type { MakePair, Ready } from "./Pair.ts"
import { move, next, read, settleAll, setUp, waiting } from "./Pair.ts"

const all: RangeSet = { of: 4, only: null }
const whole: RangeSet = { of: 1, only: null }

const compare = (
  here: Database,
  there: Database,
  table: SyncedTable,
  mark: "all" | "only-here" | "different" | "none" = "none",
  ranges: RangeSet = all
) =>
  Effect.scoped(
    Effect.flatMap(
      there.digests(table, ranges),
      (theirs) => here.compare(table, ranges, theirs, { mark, sampleMax: 2 })
    )
  )

/** Ten equal rows, then: `a` differs, `b` and `c` are on Replit's side only, `d` on the external one only. None is pending. */
const differing = Effect.fnUntraced(function*(ready: Ready) {
  const { external, perfis, replit } = ready
  for (let n = 0; n < 10; n++) yield* replit.app.insert(perfis.name, { id: `e${n}` })
  yield* settleAll(ready)
  for (const side of [replit, external]) yield* side.database.uncapture(perfis.name)
  yield* replit.app.insert(perfis.name, { id: "a", nome: "ours", updated_at: "2024-01-02 00:00:00+00" })
  yield* external.app.insert(perfis.name, { id: "a", nome: "theirs", updated_at: "2024-01-01 00:00:00+00" })
  for (const id of ["b", "c"]) yield* replit.app.insert(perfis.name, { id })
  yield* external.app.insert(perfis.name, { id: "d" })
  for (const side of [replit, external]) yield* side.database.capture(perfis, { touch: true })
})

export const comparison = (makePair: MakePair) => {
  it.scopedLive("digests of equal tables are equal, and count every row once", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, itens, perfis, replit } = ready
      for (let n = 0; n < 20; n++) yield* replit.app.insert(perfis.name, { id: `${n}`, nome: n % 3 === 0 ? null : "" })
      yield* replit.app.insert(itens.name, { perfil_id: "1", numero: "1" })
      yield* settleAll(ready)
      for (const table of [perfis, itens]) {
        const [ours, theirs] = [
          yield* replit.database.digest(table, 8, whole),
          yield* external.database.digest(table, 8, whole)
        ]
        assert.deepStrictEqual(new Map([...ours].sort()), new Map([...theirs].sort()))
        const counted = [...ours.values()].reduce((sum, { rows }) => sum + rows, 0)
        assert.strictEqual(counted, (yield* replit.app.rows(table.name)).length)
        assert.isTrue([...ours.keys()].every((range) => range >= 0 && range < 8))
      }
      yield* external.app.update(perfis.name, ["7"], { nome: null })
      const [ours, theirs] = [
        yield* replit.database.digest(perfis, 8, whole),
        yield* external.database.digest(perfis, 8, whole)
      ]
      const differ = [...ours.keys()].filter((range) => ours.get(range)!.hash !== theirs.get(range)!.hash)
      assert.lengthOf(differ, 1)
      const compared = yield* compare(replit.database, external.database, perfis, "none", { of: 8, only: differ })
      assert.deepInclude(compared, { onlyHere: 0, different: 1, marked: 0 })
      const rest = [...ours.keys()].filter((range) => range !== differ[0])
      const others = yield* compare(replit.database, external.database, perfis, "none", { of: 8, only: rest })
      assert.deepInclude(others, { onlyHere: 0, different: 0 })
    }))

  it.scopedLive("ranges that are divided are whole, and only those that are asked for are looked at", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { perfis, replit } = ready
      for (let n = 0; n < 200; n++) yield* replit.app.insert(perfis.name, { id: `${n}` })
      const [wide, narrow] = [
        yield* replit.database.digest(perfis, 4, whole),
        yield* replit.database.digest(perfis, 64, whole)
      ]
      for (const [range, { hash, rows }] of wide) {
        const parts = [...narrow].filter(([part]) => Math.floor(part / 16) === range).map(([, digest]) => digest)
        assert.strictEqual(parts.reduce((sum, part) => sum + part.rows, 0), rows)
        assert.strictEqual(`${parts.reduce((sum, part) => sum + BigInt(part.hash), 0n)}`, hash)
      }
      const some = yield* replit.database.digest(perfis, 64, { of: 4, only: [0, 3] })
      assert.deepStrictEqual(
        [...some].sort(([a], [b]) => a - b),
        [...narrow].filter(([part]) => part < 16 || part >= 48).sort(([a], [b]) => a - b)
      )
    }))

  it.scopedLive("comparing tells what is only here, what differs, and what of it is pending anyway", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* differing(ready)
      yield* replit.app.update(perfis.name, ["b"], { nome: "pending" })
      assert.deepStrictEqual(yield* compare(replit.database, external.database, perfis), {
        onlyHere: 2,
        different: 1,
        pending: 1,
        sample: [{ key: ["a"], kind: "different", pending: false }, { key: ["b"], kind: "only-here", pending: true }],
        marked: 0
      })
      const theirs = yield* compare(external.database, replit.database, perfis)
      assert.deepInclude(theirs, { onlyHere: 1, different: 1, pending: 0, marked: 0 })
      assert.deepStrictEqual(yield* waiting(external, perfis), [])
    }))

  it.scopedLive("marking makes pending what differs, or only what the other side lacks, and nothing twice", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* differing(ready)
      yield* replit.app.update(perfis.name, ["c"], { nome: "pending" })
      assert.strictEqual((yield* compare(replit.database, external.database, perfis, "only-here")).marked, 1)
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b", "c"])
      assert.strictEqual((yield* compare(replit.database, external.database, perfis, "all")).marked, 1)
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a", "b", "c"])
      assert.strictEqual((yield* compare(replit.database, external.database, perfis, "all")).marked, 0)
      assert.strictEqual((yield* compare(external.database, replit.database, perfis, "all")).marked, 2)
      yield* settleAll(ready)
      const rows = yield* replit.app.rows(perfis.name)
      assert.deepStrictEqual(yield* external.app.rows(perfis.name), rows)
      assert.lengthOf(rows, 14)
      assert.strictEqual(rows[0]!["nome"], "ours")
      const [conflict, ...others] = yield* external.database.conflicts({ limit: 9 })
      assert.deepStrictEqual(others, [])
      assert.deepInclude(conflict!.lost, { id: "a", nome: "theirs" })
      for (const side of [replit, external]) assert.deepStrictEqual(yield* waiting(side, perfis), [])
    }))

  it.scopedLive("marking only what both have leaves alone what one side lacks", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* differing(ready)
      assert.strictEqual((yield* compare(replit.database, external.database, perfis, "different")).marked, 1)
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a"])
    }))

  it.scopedLive("a mark that wins beats the other side's mark, whatever the stamps say, and the loser is journaled", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* differing(ready)
      const marked = (here: Database, there: Database, wins: boolean) =>
        Effect.scoped(
          Effect.flatMap(
            there.digests(perfis, all),
            (theirs) => here.compare(perfis, all, theirs, { mark: "all", wins, sampleMax: 0 })
          )
        )
      yield* marked(external.database, replit.database, true)
      yield* marked(replit.database, external.database, false)
      yield* settleAll(ready)
      const rows = yield* external.app.rows(perfis.name)
      assert.deepStrictEqual(yield* replit.app.rows(perfis.name), rows)
      assert.deepStrictEqual([rows.length, rows[0]!["nome"]], [14, "theirs"])
      const [conflict] = yield* replit.database.conflicts({ limit: 9 })
      assert.deepInclude(conflict!.lost, { id: "a", nome: "ours" })
    }))

  it.scopedLive("a change made after it beats even a mark that wins, if the rule says so", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      yield* differing(ready)
      const theirs = replit.database.digests(perfis, all)
      yield* Effect.scoped(Effect.flatMap(
        theirs,
        (digests) => external.database.compare(perfis, all, digests, { mark: "all", wins: true, sampleMax: 0 })
      ))
      yield* replit.app.update(perfis.name, ["a"], { nome: "ours, later" })
      yield* settleAll(ready)
      assert.strictEqual((yield* external.app.rows(perfis.name))[0]!["nome"], "ours, later")
    }))

  it.scopedLive("removing what the other side lacks journals it whole, and leaves what changed meanwhile", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, itens, perfis, replit } = ready
      yield* differing(ready)
      yield* replit.app.update(perfis.name, ["c"], { nome: "pending" })
      yield* replit.app.insert(itens.name, { perfil_id: "b", numero: "1", texto: "child" })
      const removed = yield* Effect.scoped(
        Effect.flatMap(
          external.database.digests(perfis, all),
          (theirs) => replit.database.removeOnlyHere(perfis, all, theirs)
        )
      )
      assert.strictEqual(removed, 1)
      const ids = (yield* replit.app.rows(perfis.name)).map(({ id }) => id)
      assert.deepStrictEqual(ids.filter((id) => /^[a-c]$/.test(id!)), ["a", "c"])
      // It is no change; what went with it is, and is kept as well.
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["c"])
      assert.deepStrictEqual(yield* waiting(replit, itens), ["-b,1"])
      const kept = yield* replit.database.conflicts({ limit: 9 })
      assert.deepStrictEqual(kept.map(({ key, reason }) => [reason, ...key]).sort(), [
        ["cascade", "b", "1"],
        ["first-contact", "b"]
      ])
      const { id, lost, won } = kept.find(({ reason }) => reason === "first-contact")!
      assert.deepInclude(lost, { id: "b", nome: null })
      assert.isNull(won)
      yield* replit.database.restore(perfis, id)
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["b", "c"])
      yield* settleAll(ready)
      assert.isTrue((yield* external.app.rows(perfis.name)).some((row) => row["id"] === "b"))
    }))

  it.scopedLive("a mark is older than any change, also without a stamp column", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, notas, replit } = ready
      yield* replit.app.insert(notas.name, { id: "1", texto: "both" })
      yield* settleAll(ready)
      yield* external.app.update(notas.name, ["1"], { texto: "changed" })
      yield* replit.database.mark(notas, [["1"], ["2"]])
      const rows = yield* read(replit, notas, next("upserts"))
      assert.deepStrictEqual(rows.map(({ changedUs }) => changedUs), [null])
      assert.deepStrictEqual(yield* waiting(replit, notas), ["1", "-2"])
      assert.deepInclude(yield* move(replit, external, notas, "upserts"), { kept: [1], conflicts: 0 })
      assert.deepInclude(yield* move(external, replit, notas, "upserts"), { updated: 1, conflicts: 1 })
      assert.deepInclude(yield* move(replit, external, notas, "deletes"), { deleted: 0, kept: [] })
    }))
}
