/**
 * `npm run bench`: how fast the built program is, on two embedded servers, in one run.
 *
 * `--quick` runs one round instead of three and leaves the two million rows out; `--json` prints figures for programs;
 * `--program PATH` measures another build's `main.js`. Exits 1 when a floor is missed, unless `--no-floors` is given,
 * and 2 when there are no figures. Figures of one run compare with each other, such as inserts with the yardstick; those
 * of two machines don't.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Console, Effect, Logger } from "effect"
import * as Os from "node:os"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { BenchError } from "./BenchError.ts"
import * as BenchPair from "./BenchPair.ts"
import { capturing } from "./capturing.ts"
import { idling } from "./idling.ts"
import { median } from "./median.ts"
import type { Round } from "./moving.ts"
import { moving, movingMany } from "./moving.ts"
import { built } from "./Program.ts"
import { floors, missedText, type Report, reportText } from "./Report.ts"
import { verifying } from "./verifying.ts"

const rows = 200_000
const manyRows = 2_000_000
const verifiedRows = 1_000_000

const options = Effect.try({
  try: () =>
    parseArgs({
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        "no-floors": { type: "boolean", default: false },
        program: { type: "string" }
      }
    }).values,
  catch: (cause) => new BenchError({ message: String(cause) })
})

const bench = Effect.gen(function*() {
  const { json, "no-floors": noFloors, program, quick } = yield* options
  const main = program === undefined ? yield* built : Path.resolve(program)
  const report = yield* measure(main, quick)
  const missed = floors(report).filter(({ met }) => !met)
  yield* Console.log(json ? JSON.stringify({ ...report, floors: floors(report) }, null, 2) : reportText(report))
  if (missed.length > 0) yield* Console.error(missedText(missed))
  if (missed.length > 0 && !noFloors) process.exitCode = 1
})

const measure = Effect.fn("measure")(function*(main: string, quick: boolean) {
  const loadBefore = Os.loadavg()[0] ?? 0
  const servers = yield* BenchPair.makeServers
  const facts = yield* factsOf(servers)
  const rounds: Array<Round> = []
  for (let round = 1; round <= (quick ? 1 : 3); round++) {
    yield* Effect.logInfo(`${rows} rows inserted, updated and deleted: round ${round}`)
    rounds.push(yield* moving(servers, main, rows))
  }
  const of = (value: (round: Round) => number) => median(rounds.map(value))
  const idleMs = of(({ idleMs }) => idleMs)
  const few = rounds.map(({ insertRun }) => insertRun).find(({ ms }) => ms === of(({ insertRun }) => insertRun.ms))!
  if (!quick) yield* Effect.logInfo(`${manyRows} rows inserted`)
  const many = quick ? null : yield* movingMany(servers, main, manyRows)
  yield* Effect.logInfo("An idle service")
  const idle = yield* idling(servers, main, quick ? 3 : 5)
  yield* Effect.logInfo("Updates of one row with and without capture")
  if (!quick) yield* Effect.logInfo(`${verifiedRows} rows verified`)
  const verified = quick ? null : yield* verifying(servers, main, verifiedRows, 3)
  const capture = yield* capturing(servers, main, quick ? { rounds: 1, seconds: 2 } : { rounds: 3, seconds: 4 })
  return {
    machine: { cpus: Os.availableParallelism(), loadBefore, node: process.versions.node, postgres: facts.postgres },
    rounds: rounds.length,
    rows,
    rowBytes: facts.rowBytes,
    inserts: of(({ inserts }) => inserts),
    updates: of(({ updates }) => updates),
    deletes: of(({ deletes }) => deletes),
    yardstick: of(({ yardstick }) => yardstick),
    ratio: of(({ inserts, yardstick }) => inserts / yardstick),
    idleProcessMs: idleMs,
    few,
    many: many === null ? null : { ...many, rows: manyRows, timesLonger: (many.ms - idleMs) / (few.ms - idleMs) },
    idle,
    verified,
    capture
  } satisfies Report
}, Effect.scoped)

const factsOf = (servers: BenchPair.Servers) =>
  Effect.scoped(Effect.gen(function*() {
    const { app } = (yield* BenchPair.make(servers)).replit
    yield* app.query(BenchPair.insert("perfis", 1000))
    const [facts] = yield* app.query<{ postgres: string; rowBytes: number }>(
      `select split_part(current_setting('server_version'), ' ', 1) as postgres,
        avg(pg_column_size(t.*))::integer as "rowBytes" from perfis t`
    )
    return facts!
  }))

const tell = (cause: Cause.Cause<{ readonly message: string }>) =>
  Cause.isInterruptedOnly(cause)
    ? Effect.void
    : Effect.zipRight(
      Console.error(cause._tag === "Fail" ? cause.error.message : Cause.pretty(cause)),
      Effect.sync(() => void (process.exitCode = 2))
    )

bench.pipe(
  Effect.catchAllCause(tell),
  Effect.provide(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))),
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
