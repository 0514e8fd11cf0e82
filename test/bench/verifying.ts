/** What it costs to prove that two large tables are equal, or to find what differs, beside one look at all rows by SQL. */
import { Clock, Effect } from "effect"
import { bytes as bytesText, count, duration } from "../../src/domain/Quantity.ts"
import { BenchError } from "./BenchError.ts"
import type { Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"
import type { Figure } from "./Figure.ts"
import { median } from "./median.ts"
import { type Program, runCommand, runOnce } from "./Program.ts"

/** The whole process, less one that looks at an empty table. */
interface Verified {
  readonly ms: number
  readonly bytes: number
}

/** So many equal rows on both sides, then 100 of them changed behind the back of capture. */
export const verifying = Effect.fn("verifying")(
  function*(servers: Servers, main: string, rows: number, rounds: number) {
    return yield* Effect.scoped(Effect.gen(function*() {
      const pair = yield* BenchPairs.make(servers)
      const program: Program = { main, replit: pair.replit.url, external: pair.external.url }
      yield* runOnce(program)
      const verify = (expected: number) =>
        Effect.flatMap(
          runCommand(program, ["verify", "--json"], expected),
          ({ out, run }) => Effect.map(bytesOf(out), (bytes) => ({ ms: run.ms, bytes }))
        )
      const emptyMs = median((yield* Effect.replicateEffect(verify(0), 3)).map(({ ms }) => ms))
      yield* pair.replit.app.query(BenchPairs.insert("perfis", rows))
      yield* runOnce(program)
      for (const { app, settle } of [pair.replit, pair.external]) {
        yield* app.query("vacuum analyze perfis")
        yield* settle
      }
      const yardsticks = yield* Effect.forEach(
        [pair.replit, pair.external],
        ({ app }) => Effect.map(Effect.replicateEffect(timed(app.query(yardstick)), rounds), median)
      )
      const equal = yield* Effect.replicateEffect(verify(0), rounds)
      yield* pair.external.app.query(
        `alter table perfis disable trigger user;
       update perfis set full_name = 'x' where ctid in (select ctid from perfis order by id_usuario limit 100);
       alter table perfis enable trigger user`
      )
      const different = yield* Effect.replicateEffect(verify(3), rounds)
      const of = (all: ReadonlyArray<Verified>): Verified => ({
        ms: median(all.map(({ ms }) => ms)) - emptyMs,
        bytes: median(all.map(({ bytes }) => bytes))
      })
      const yardstickMs = Math.max(...yardsticks)
      const lines = (what: string, { bytes, ms }: Verified, times: number, most: number) => [
        {
          what: `verify, ${count(rows)} rows, ${what}`,
          measured: duration(ms),
          beside: `one look by SQL: ${duration(yardstickMs)}`,
          judged: { value: ms / yardstickMs, reach: { atMost: times } }
        },
        {
          what: `bytes moved by it, ${what}`,
          measured: bytesText(bytes),
          beside: "",
          judged: { value: bytes, reach: { atMost: most } }
        }
      ]
      return [
        ...lines("equal", of(equal), 1.5, 100_000),
        ...lines("100 differ", of(different), 2, 1_000_000)
      ] satisfies ReadonlyArray<Figure>
    }))
  }
)

const yardstick = "select count(*), sum(hashtext(t::text)) from perfis t"

const timed = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const startedMs = yield* Clock.currentTimeMillis
    yield* self
    return (yield* Clock.currentTimeMillis) - startedMs
  })

const bytesOf = (json: string) =>
  Effect.try({
    try: () => Number(JSON.parse(json).tables[0].bytes),
    catch: (cause) => new BenchError({ message: `\`verify --json\` printed something else: ${String(cause)}` })
  })
