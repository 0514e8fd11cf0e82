/** What capture costs the app: single-row updates, each in its own transaction, with and without our triggers. */
import { Clock, Effect, Random } from "effect"
import { connect } from "../support/TestClient.ts"
import type { BenchDatabase, Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"
import { median } from "./median.ts"
import { runOnce } from "./Program.ts"

/** Updates a second, of two clients together. */
export interface Capturing {
  readonly without: number
  readonly with: number
}

/** Takes turns between a captured table and another of the same shape, so many times and seconds each. */
export const capturing = Effect.fn("capturing")(function*(
  servers: Servers,
  main: string,
  options: { readonly rounds: number; readonly seconds: number }
) {
  return yield* Effect.scoped(Effect.gen(function*() {
    const pair = yield* BenchPairs.make(servers)
    yield* runOnce({ main, replit: pair.replit.url, external: pair.external.url })
    const { app } = pair.replit
    yield* app.query(BenchPairs.perfis("sem_captura"))
    for (const name of tables) yield* app.query(BenchPairs.insert(name, rows))
    yield* pair.replit.settle
    const rates = { perfis: [] as Array<number>, sem_captura: [] as Array<number> }
    for (let round = 0; round < options.rounds; round++) {
      for (const name of tables) rates[name].push(yield* updating(pair.replit, name, options.seconds))
    }
    return { without: median(rates.sem_captura), with: median(rates.perfis) } satisfies Capturing
  }))
})

const tables = ["sem_captura", "perfis"] as const
const rows = 10_000
const clients = 2

const updating = Effect.fnUntraced(function*(database: BenchDatabase, name: string, seconds: number) {
  const ids = (yield* database.app.query<{ id: string }>(`select id from ${name}`)).map(({ id }) => id)
  const untilMs = (yield* Clock.currentTimeMillis) + seconds * 1000
  const client = Effect.scoped(Effect.gen(function*() {
    const { query } = yield* connect(database.url)
    let updates = 0
    for (; (yield* Clock.currentTimeMillis) < untilMs; updates++) {
      const id = ids[yield* Random.nextIntBetween(0, ids.length)]
      yield* query(`update ${name} set tipo_conta = $1, updated_at = now() where id = $2`, [`Aluno ${updates}`, id])
    }
    return updates
  }))
  const updates = yield* Effect.replicateEffect(client, clients, { concurrency: clients })
  return updates.reduce((sum, some) => sum + some, 0) / seconds
})
