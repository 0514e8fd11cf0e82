/** Conformance: comparing a table little by little, and how far that has come. */
import { assert, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { beginRound, noProof, type Proof } from "../../src/domain/Proof.ts"
import type { Key } from "../../src/domain/SyncedTable.ts"
import type { MakePair } from "./Pair.ts"
import { settleAll, setUp } from "./Pair.ts"

const whole = { after: null, upTo: null }

export const proving = (makePair: MakePair) => {
  it.scopedLive("stretches that follow each other hold every row once, on both sides the same", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, itens, perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a", nome: "" })
      yield* replit.app.insert(perfis.name, { id: "b", nome: null })
      for (let n = 1; n <= 7; n++) {
        yield* replit.app.insert(itens.name, { perfil_id: n < 4 ? "a" : "b", numero: `${n}` })
      }
      yield* settleAll(ready)
      let after: Key | null = null
      const seen: Array<string> = []
      for (const bound of [["a", "2"], ["b", "4"], ["b", "6"], null]) {
        const upTo: Key | null = yield* replit.database.boundary(itens, after, 2)
        assert.deepStrictEqual(upTo, bound)
        const ours = yield* replit.database.stretch(itens, { after, upTo })
        assert.deepStrictEqual(yield* external.database.stretch(itens, { after, upTo }), ours)
        const rows = yield* replit.database.hashes(itens, { after, upTo })
        assert.strictEqual(ours.rows, rows.length)
        assert.strictEqual(ours.hash, `${rows.reduce((sum, { hash }) => sum + BigInt(hash), 0n)}`)
        seen.push(...rows.map(({ key }) => key.join(" ")))
        after = upTo
      }
      assert.deepStrictEqual(seen.sort(), ["a 1", "a 2", "a 3", "b 4", "b 5", "b 6", "b 7"])
      assert.deepStrictEqual(yield* external.database.stretch(perfis, { after: ["b"], upTo: null }), {
        rows: 0,
        hash: "0"
      })
    }))

  it.scopedLive("hashes of keys come in the order asked, and none where there is no row", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { external, perfis, replit } = ready
      for (const id of ["a", "b", "c"]) yield* replit.app.insert(perfis.name, { id, nome: "x" })
      yield* settleAll(ready)
      yield* external.app.update(perfis.name, ["b"], { nome: "y" })
      const keys = [["c"], ["gone"], ["a"], ["b"]]
      const [ours, theirs] = [
        yield* replit.database.hashesOf(perfis, keys),
        yield* external.database.hashesOf(perfis, keys)
      ]
      assert.deepStrictEqual(ours.map((hash, place) => hash === theirs[place]), [true, true, true, false])
      assert.deepStrictEqual(ours.map((hash) => hash === null), [false, true, false, false])
      const byKey = new Map((yield* replit.database.hashes(perfis, whole)).map(({ hash, key }) => [key.join(), hash]))
      assert.deepStrictEqual([ours[0], ours[2], ours[3]], [byKey.get("c"), byKey.get("a"), byKey.get("b")])
      assert.deepStrictEqual(yield* replit.database.hashesOf(perfis, []), [])
    }))

  it.scopedLive("what is proven is kept until columns, capture or all of it go, longest ago first", () =>
    Effect.gen(function*() {
      const { itens, notas, perfis, replit: { database } } = yield* setUp(makePair)
      assert.strictEqual((yield* database.proofs).of.size, 0)
      const proof: Proof = {
        current: {
          ...beginRound(5),
          after: ["a\"'\\"],
          rows: 3,
          open: [{ key: ["b"], kind: "different", why: "pending" }]
        },
        last: { ...beginRound(1), isThrough: true, rows: 8 }
      }
      yield* database.noteProof(perfis.name, proof)
      yield* database.noteProof(itens.name, noProof)
      yield* database.noteProof(notas.name, noProof)
      yield* database.noteProof(perfis.name, proof)
      const names = Effect.map(database.proofs, ({ of }) => [...of.keys()])
      assert.deepStrictEqual(yield* names, ["itens", "notas", "perfis"])
      assert.deepStrictEqual((yield* database.proofs).of.get("perfis"), proof)
      yield* database.remember(itens.name, { contract: "new", columns: { replit: ["id"], external: ["id"] } })
      yield* database.uncapture(notas.name)
      assert.deepStrictEqual(yield* names, ["perfis"])
      yield* database.takeAsItIs(null, { own: perfisOwn })
      assert.deepStrictEqual(yield* names, [])
      yield* database.uninstall
      assert.strictEqual((yield* database.proofs).of.size, 0)
    }))

  it.scopedLive("when the next turn is due is told in milliseconds", () =>
    Effect.gen(function*() {
      const { replit: { database, second } } = yield* setUp(makePair)
      assert.isAtMost((yield* database.proofs).dueInMs, 0)
      yield* database.noteTurn(60_000)
      const { dueInMs } = yield* second.proofs
      assert.isTrue(dueInMs > 30_000 && dueInMs <= 60_000, String(dueInMs))
      yield* database.noteTurn(0)
      assert.isAtMost((yield* second.proofs).dueInMs, 0)
    }))

  it.scopedLive("nothing is noted of a table without capture, and that is no failure", () =>
    Effect.gen(function*() {
      const { perfis, replit: { database } } = yield* setUp(makePair)
      yield* database.uncapture(perfis.name)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(database.noteProof(perfis.name, noProof))))
      assert.strictEqual((yield* database.proofs).of.size, 0)
    }))
}

const perfisOwn = "00000000-0000-4000-8000-0000000000aa"
