/**
 * `npm run bench`: how fast the built program is and what it costs, on two embedded servers, in one run.
 *
 * `--quick` takes smaller numbers and one round, within 90 seconds, and leaves out what needs long ones; `--only NAME` runs
 * one section; `--json` prints figures for programs; `--program PATH` measures another build's `main.js`. Exits 1 when a figure falls
 * short of its reach (in a quick run by more than 20 %, and of where it stood if it never reached), unless `--no-floors` is given,
 * and 2 when there are no figures.
 * Figures of one run compare with each other; those of two machines don't.
 */
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Cause, Console, Effect, Logger } from "effect"
import * as Os from "node:os"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { BenchError } from "./BenchError.ts"
import * as BenchPair from "./BenchPair.ts"
import { capturing } from "./capturing.ts"
import { distancing } from "./distancing.ts"
import { idling } from "./idling.ts"
import { lagging } from "./lagging.ts"
import { holding, remembering } from "./lasting.ts"
import { living } from "./living.ts"
import { moving, movingMany } from "./moving.ts"
import { built } from "./Program.ts"
import { missed, missedText, type Report, reportText } from "./Report.ts"
import { verifying } from "./verifying.ts"

const options = Effect.try({
  try: () =>
    parseArgs({
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        only: { type: "string" },
        "no-floors": { type: "boolean", default: false },
        program: { type: "string" }
      }
    }).values,
  catch: (cause) => new BenchError({ message: String(cause) })
})

const bench = Effect.gen(function*() {
  const { json, "no-floors": noFloors, only, program, quick } = yield* options
  const main = program === undefined ? yield* built : Path.resolve(program)
  const report = yield* measure(main, quick, only)
  const short = missed(report, quick)
  yield* Console.log(json ? JSON.stringify(report, null, 2) : reportText(report))
  if (short.length > 0) yield* Console.error(missedText(short))
  if (short.length > 0 && !noFloors) process.exitCode = 1
})

const measure = Effect.fn("measure")(function*(main: string, quick: boolean, only: string | undefined) {
  const loadBefore = Os.loadavg()[0] ?? 0
  const servers = yield* BenchPair.makeServers
  const { postgres, rowBytes } = yield* factsOf(servers)
  const rounds = quick ? 1 : 3
  const rows = quick ? 100_000 : 200_000
  const all = {
    moving: Effect.gen(function*() {
      const few = yield* moving(servers, main, rows, rounds)
      return quick ? few.figures : [...few.figures, ...(yield* movingMany(servers, main, 10 * rows, { ...few, rows }))]
    }),
    idling: idling(servers, main, quick ? 3 : 5),
    capturing: capturing(servers, main, { rounds, seconds: quick ? 2 : 5, bulkRows: quick ? 50_000 : 200_000 }),
    verifying: verifying(servers, main, quick ? 100_000 : 1_000_000, rounds),
    holding: holding(servers, quick ? 20 : 100),
    living: living(servers, main, { seconds: quick ? 5 : 30, writesASecond: 100 }),
    ...(quick ? {} : {
      distancing: distancing(servers, main, rounds),
      remembering: remembering(servers, main, 10_000_000, rounds),
      lagging: lagging(servers, main, { perSecond: 100, seconds: 60 })
    })
  }
  const names = Object.keys(all).filter((name) => only === undefined || only === name)
  if (names.length === 0) {
    return yield* new BenchError({ message: `--only: one of ${Object.keys(all).join(", ")}.` })
  }
  const sections: Array<Report["sections"][number]> = []
  for (const [name, section] of Object.entries(all)) {
    if (!names.includes(name)) continue
    yield* Effect.logInfo(name)
    sections.push({ name, figures: yield* section })
  }
  return {
    machine: { cpus: Os.availableParallelism(), loadBefore, node: process.versions.node, postgres },
    rounds,
    rowBytes,
    sections
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
  Effect.provide(NodeContext.layer),
  Effect.provide(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger))),
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
