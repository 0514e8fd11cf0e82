/** What a memory server does that no program asks for: disasters that tests play. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { makeCycle } from "../../src/programs/cycle.ts"
import { makePair, perfis, profile } from "../support/MemoryPair.ts"

describe("a memory server", () => {
  it.effect("keeps the lease with the instance that took it after another's session had lost it", () =>
    Effect.gen(function*() {
      const { servers } = yield* makePair()
      const [one, two, three] = [servers.replit.connect(), servers.replit.connect(), servers.replit.connect()]
      yield* Effect.scoped(Effect.gen(function*() {
        const first = yield* Scope.make()
        assert.isNotNull(yield* Scope.extend(one.lease, first))
        yield* servers.replit.loseLease
        assert.isNotNull(yield* two.lease)
        yield* Scope.close(first, Exit.void)
        assert.isNull(yield* three.lease)
      }))
    }))

  it.effect("is what it was after its backup is restored, as often as that is done", () =>
    Effect.gen(function*() {
      const { layer, servers: { replit } } = yield* makePair()
      const cycle = yield* makeCycle
      const run = cycle({ retryFor: 0, lease: "wait", notBefore: 0 }).pipe(Effect.provide(layer()))
      yield* run
      yield* replit.app.insert(perfis, profile("a", "Ana"))
      const [rows, pending] = [yield* replit.app.rows(perfis), yield* replit.pending(perfis)]
      const { state, tokens } = yield* replit.database.ask({ tables: [perfis] })
      const restore = yield* replit.backUp
      for (const id of ["b", "c"]) {
        const open = yield* replit.app.begin
        yield* open.update(perfis, ["a"], { nome: id })
        yield* replit.app.insert(perfis, profile(id, id))
        yield* open.commit
        const late = yield* replit.app.begin
        yield* late.remove(perfis, ["a"])
        yield* restore
        yield* late.commit
        assert.deepStrictEqual(yield* replit.app.rows(perfis), rows)
        assert.deepStrictEqual(yield* replit.pending(perfis), pending)
        const now = yield* replit.database.ask({ tables: [perfis] })
        assert.deepStrictEqual([now.state, now.tokens], [state, tokens])
      }
    }))
})
