/** Conformance: what is there, what is installed, and what is remembered. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Remembered } from "../../src/services/Database.ts"
import type { MakePair } from "./Pair.ts"
import { inspected, named, setUp, waiting } from "./Pair.ts"

export const catalog = (makePair: MakePair) => {
  it.scopedLive("inspect describes tables in the order asked, and says what is missing", () =>
    Effect.gen(function*() {
      const { external, replit } = yield* makePair
      const names = [named("itens"), named("nenhuma"), named("perfis"), named("visitas"), named("saltos")]
      const [itens, nenhuma, perfis, visitas, saltos] = yield* replit.database.inspect(names)
      if (itens?._tag !== "Table" || perfis?._tag !== "Table") return assert.fail("itens and perfis are tables")
      assert.deepStrictEqual(itens.shape.columns.map(({ name }) => name), [
        "perfil_id",
        "numero",
        "texto",
        "updated_at"
      ])
      assert.deepStrictEqual(itens.shape.key, ["perfil_id", "numero"])
      assert.deepStrictEqual(itens.shape.parents, [named("perfis")])
      const [id, nome, , updatedAt] = perfis.shape.columns
      assert.deepInclude(id, { name: "id", type: "text", base: "text", notNull: true, hasDefault: false })
      assert.deepInclude(nome, { notNull: false, generated: false, identity: null })
      assert.deepInclude(updatedAt, { type: "timestamp with time zone", hasDefault: true })
      if (nenhuma?._tag !== "Unfit") return assert.fail("nenhuma is not there")
      assert.isTrue(nenhuma.missing)
      assert.include(nenhuma.problem, "nenhuma")
      assert.deepStrictEqual(visitas?._tag === "Table" && visitas.shape.beforeTriggers, ["visitas_antes"])
      assert.deepStrictEqual(saltos?._tag === "Table" && saltos.shape.afterTriggers, ["saltos_depois"])
      assert.strictEqual((yield* external.database.inspect([named("avulsa")]))[0]?._tag, "Unfit")
    }))

  it.scopedLive("install is idempotent, also many times at once", () =>
    Effect.gen(function*() {
      const { replit } = yield* makePair
      assert.isFalse((yield* replit.database.ask({ tables: [] })).installed)
      yield* Effect.all([replit.database.install, replit.second.install, replit.database.install], {
        concurrency: "unbounded"
      })
      assert.isTrue((yield* replit.second.ask({ tables: [] })).installed)
    }))

  it.scopedLive("identity is null until it is written", () =>
    Effect.gen(function*() {
      const { external } = yield* makePair
      assert.isNull(yield* external.database.identity)
      yield* external.database.install
      assert.isNull(yield* external.database.identity)
      const identity = {
        side: "external" as const,
        id: "00000000-0000-4000-8000-00000000000a",
        peer: "00000000-0000-4000-8000-00000000000b",
        confirmed: false
      }
      yield* external.database.identify(identity)
      assert.deepStrictEqual(yield* external.second.identity, identity)
      yield* external.database.identify({ ...identity, confirmed: true })
      assert.deepStrictEqual((yield* external.database.ask({ tables: [] })).identity, { ...identity, confirmed: true })
    }))

  it.scopedLive("a held number is seen in the same database only, and only while it is held", () =>
    Effect.gen(function*() {
      const { external, replit } = yield* makePair
      yield* Effect.scoped(Effect.gen(function*() {
        yield* replit.database.hold(77n)
        assert.isTrue(yield* replit.second.sees(77n))
        assert.isFalse(yield* replit.second.sees(78n))
        assert.isFalse(yield* external.database.sees(77n))
      }))
      assert.isFalse(yield* replit.second.sees(77n))
    }))

  it.scopedLive("capture is told by its fingerprint, and renewing it changes nothing", () =>
    Effect.gen(function*() {
      const ready = yield* setUp(makePair)
      const { perfis, replit } = ready
      yield* replit.app.insert(perfis.name, { id: "a" })
      const { adopted, fingerprint } = yield* replit.second.capture(perfis, { touch: true })
      assert.isNull(adopted)
      const answer = yield* replit.database.ask({ tables: [named("nenhuma"), perfis.name] })
      assert.deepInclude(answer.tables[0], { name: named("nenhuma"), fingerprint: null, captured: null })
      assert.deepInclude(answer.tables[1], { fingerprint, captured: fingerprint, pending: true })
      assert.deepStrictEqual(yield* waiting(replit, perfis), ["a"])
    }))

  it.scopedLive("what is remembered about a table is remembered until it is forgotten", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      assert.isNull(yield* replit.database.recall(perfis.name))
      const remembered: Remembered = { contract: "so it is", columns: { replit: ["id"], external: ["id", "nome"] } }
      yield* replit.database.remember(perfis.name, remembered)
      assert.deepStrictEqual(yield* replit.second.recall(perfis.name), remembered)
      assert.strictEqual((yield* replit.database.ask({ tables: [perfis.name] })).tables[0]?.contract, "so it is")
      yield* replit.database.remember(perfis.name, null)
      assert.isNull(yield* replit.database.recall(perfis.name))
    }))

  it.scopedLive("a table whose capture is removed takes writes, and nothing is kept about it", () =>
    Effect.gen(function*() {
      const { notas, perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* replit.database.uncapture(perfis.name)
      yield* replit.app.update(perfis.name, ["a"], { nome: "A" })
      const captured = (yield* replit.database.captured).map(({ name }) => name)
      assert.notInclude(captured, "perfis")
      assert.include(captured, notas.name.name)
      assert.isNull((yield* replit.database.ask({ tables: [perfis.name] })).tables[0]!.captured)
      yield* replit.database.capture(perfis, { touch: true })
      assert.deepStrictEqual(yield* waiting(replit, perfis), [])
    }))

  it.scopedLive("uninstalling leaves every row and takes everything of ours", () =>
    Effect.gen(function*() {
      const { perfis, replit } = yield* setUp(makePair)
      yield* replit.app.insert(perfis.name, { id: "a" })
      yield* replit.database.uninstall
      yield* replit.app.insert(perfis.name, { id: "b" })
      assert.deepStrictEqual((yield* replit.app.rows(perfis.name)).map(({ id }) => id), ["a", "b"])
      assert.isFalse((yield* replit.database.ask({ tables: [perfis.name] })).installed)
      assert.isNull(yield* replit.database.identity)
    }))

  it.scopedLive("a table that one side describes can be created on the other", () =>
    Effect.gen(function*() {
      const pair = yield* makePair
      yield* pair.external.database.createTable(yield* pair.replit.database.describe(named("avulsa")))
      const { columns, key, shapes } = yield* inspected(pair, named("avulsa"))
      assert.deepStrictEqual(columns, ["a", "b", "c"])
      assert.deepStrictEqual(key, ["b", "a"])
      assert.deepStrictEqual(shapes.external.columns, shapes.replit.columns)
    }))

  it.scopedLive("list names the tables of a schema, by name", () =>
    Effect.gen(function*() {
      const { replit } = yield* makePair
      const { schema } = named("perfis")
      const listed = yield* replit.database.list([schema])
      const names = listed.map(({ name }) => name.name)
      assert.includeMembers(names, ["avulsa", "itens", "perfis"])
      assert.deepStrictEqual(names, [...names].sort())
      assert.isTrue(listed.every(({ problem }) => problem === null))
      assert.deepStrictEqual(yield* replit.database.list(["nenhum"]), [])
    }))

  it.scopedLive("a state that is known shortens the answer to what waits, and changes with capture, contract and tables", () =>
    Effect.gen(function*() {
      const { perfis, replit, ...ready } = yield* setUp(makePair)
      const question = { tables: [perfis.name, ready.itens.name], schemas: [perfis.name.schema] }
      const { state, tables } = yield* replit.database.ask(question)
      assert.lengthOf(tables, 2)
      const again = yield* replit.database.ask({ ...question, known: state })
      assert.deepStrictEqual([again.state, again.tables], [state, []])
      yield* replit.app.insert(perfis.name, { id: "a" })
      const pending = yield* replit.database.ask({ ...question, known: state })
      assert.strictEqual(pending.state, state)
      assert.deepStrictEqual(pending.tables.map(({ name, pending }) => [name.name, pending]), [["perfis", true]])
      yield* replit.database.remember(ready.itens.name, { contract: "x", columns: { replit: [], external: [] } })
      const changed = yield* replit.database.ask({ ...question, known: state })
      assert.notStrictEqual(changed.state, state)
      assert.lengthOf(changed.tables, 2)
      const { external } = ready
      const listing = { tables: [], schemas: [perfis.name.schema] }
      const before = (yield* external.database.ask(listing)).state
      yield* external.database.createTable(yield* replit.database.describe(named("avulsa")))
      assert.notStrictEqual((yield* external.database.ask(listing)).state, before)
    }))
}
