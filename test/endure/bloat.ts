/** What the changelog takes on the disk after many synced changes, beside what the same lines take when written anew. */
import { Effect } from "effect"
import { count } from "../../src/domain/Quantity.ts"
import { sides } from "../../src/domain/Side.ts"
import { connect, type TestClient } from "../support/TestClient.ts"
import type { EndurePair } from "./EndurePair.ts"
import { serviceOf } from "./enduring.ts"

const rowsAtOnce = 50_000

/**
 * So many changes of rows, in rounds, with the default retention. Half way, what there is becomes older than that, and the cycles
 * after it remove it. Tables are vacuumed after each round, as autovacuum would.
 */
export const keeping = Effect.fn("keeping")(function*({ urls }: EndurePair, changes: number) {
  const apps = yield* Effect.all({ replit: connect(urls.replit), external: connect(urls.external) })
  for (const side of sides) {
    yield* apps[side].query("create table perfis (id integer primary key, nome text, updated_at timestamptz)")
  }
  yield* apps.replit.query(`insert into perfis select n, 'a', now() from generate_series(1, ${rowsAtOnce}) n`)
  return yield* Effect.scoped(Effect.gen(function*() {
    const cycle = yield* serviceOf(urls, {})
    const round = (n: number) =>
      Effect.gen(function*() {
        yield* apps.replit.query(`update perfis set nome = 'n${n}'`)
        yield* cycle
        for (const side of sides) {
          yield* apps[side].query("vacuum vaivem.perfis_pending, vaivem.perfis_history")
        }
      })
    yield* cycle
    const rounds = Math.max(2, Math.round(changes / rowsAtOnce))
    for (let n = 0; n < rounds; n++) yield* round(n)
    const [replit, external] = yield* Effect.forEach(sides, (side) => measure(apps[side]))
    for (const side of sides) {
      yield* apps[side].query("update vaivem.perfis_history set synced_at = synced_at - interval '8 days'")
    }
    for (let n = 0; n < 2; n++) yield* round(rounds + n)
    const left = yield* Effect.forEach(sides, (side) => measure(apps[side]))
    const ratio = Math.max(replit!.ratio, external!.ratio)
    return {
      ratio,
      text: `${count(rounds * rowsAtOnce)} synced changes: the changelog takes ${
        megabytes(replit!.bytes)
      } on Replit and ${megabytes(external!.bytes)} on external, ${replit!.ratio.toFixed(2)} and ${
        external!.ratio.toFixed(2)
      } times what its ${count(replit!.lines)} and ${
        count(external!.lines)
      } lines take when they are written anew. When all of them were older than they are kept, ${
        left.map(({ lines }) => count(lines)).join(" and ")
      } lines were left after two more rounds of ${count(rowsAtOnce)}.`
    }
  }))
})

const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`

/** Queue and history with their indexes. */
const measure = Effect.fnUntraced(function*({ query }: TestClient) {
  yield* query(`create table public.anew (like vaivem.perfis_history including all);
    insert into public.anew select * from vaivem.perfis_history`)
  const [row] = yield* query<{ bytes: number; anew: number; lines: number }>(`select
    pg_total_relation_size('vaivem.perfis_pending') + pg_total_relation_size('vaivem.perfis_history') as bytes,
    pg_total_relation_size('public.anew') as anew, (select count(*) from vaivem.perfis_history) as lines`)
  yield* query("drop table public.anew")
  return { bytes: row!.bytes, lines: row!.lines, ratio: row!.bytes / row!.anew }
})
