import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { alone, perfis, PgPair, type Synced, synced, until } from "../support/PgPair.ts"

/** What `self` moves over the network, by side. */
const moving = Effect.fnUntraced(function*<A, E>(sync: Synced, self: Effect.Effect<A, E>) {
  const of = (side: Side) => Effect.map(sync[side].database.traffic, ({ bytesIn, bytesOut }) => bytesIn + bytesOut)
  const before = { replit: yield* of("replit"), external: yield* of("external") }
  const result = yield* self
  return {
    result,
    replit: (yield* of("replit")) - before.replit,
    external: (yield* of("external")) - before.external
  }
})

layer(PgPair.layer, { excludeTestServices: true })("bills", (it) => {
  it.scoped("an idle visit moves less than 2 kB, its connection and all, and none is open between visits", () =>
    Effect.gen(function*() {
      const sync = yield* alone(synced(perfis))
      yield* sync.cycle
      const { database, query } = sync.external
      const open = Effect.map(
        query("select from pg_stat_activity where application_name = 'vaivem' and datname = current_database()"),
        (rows) => rows.length
      )
      assert.isAbove(yield* open, 0)
      yield* database.disconnect
      yield* until(Effect.map(open, (n) => n === 0))
      const { external, result } = yield* moving(sync, Effect.zipLeft(sync.cycle, database.disconnect))
      assert.strictEqual(result.outcome, "idle")
      assert.isBelow(external, 2_000)
      assert.isAbove(external, 500)
    }))

  it.scoped("a batch moves at most 1.15 times the bytes of its rows' own text, on each side, statements and all", () =>
    Effect.gen(function*() {
      const sync = yield* synced(`create table perfis (
        id uuid primary key default gen_random_uuid(), full_name varchar(255), name_user varchar(255), email varchar(255),
        tipo_conta varchar(100), avatar_url text, created_at timestamptz, updated_at timestamptz, id_usuario varchar(50))`)
      yield* sync.replit.query(`insert into perfis
        select gen_random_uuid(), 'Maria Aparecida de Souza ' || n, 'maria.souza.' || n,
          'maria.souza.' || n || '@escola.example.com.br', 'Professor',
          'https://cdn.example.com/avatars/' || md5(n::text) || md5((-n)::text) || md5('a' || n) || '/perfil-quadrado.png?v=' || n,
          now() - n * interval '1 second', now() - n * interval '1 second', 'usuario-' || n
        from generate_series(1, 20000) n`)
      const [{ text } = { text: 0 }] = yield* sync.replit.query<{ text: number }>(
        "select sum(octet_length(t::text))::bigint as text from perfis t"
      )
      const moved = yield* moving(sync, sync.cycle)
      assert.strictEqual(moved.result.push.inserted, 20_000)
      for (const side of sides) assert.isBelow(moved[side] / text, 1.15, side)
    }))

  it.scoped("visits and bytes of cycles are in the month's bill", () =>
    Effect.gen(function*() {
      const sync = yield* alone(synced(perfis))
      yield* sync.cycle
      const before = (yield* sync.replit.database.bill)!
      yield* sync.cycle
      yield* sync.cycle
      const after = (yield* sync.replit.database.bill)!
      for (const side of sides) {
        assert.strictEqual(after[side].visits - before[side].visits, 2, side)
        assert.isAbove(after[side].bytesIn, before[side].bytesIn)
        assert.isAbove(after[side].bytesOut, before[side].bytesOut)
      }
      assert.isBelow(after.external.awakeMs, 60_000)
    }))
})
