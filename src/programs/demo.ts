/**
 * The main job, shown step by step on two real servers: the service runs, and an app writes to both sides.
 *
 * Every step prints what the app does, waits until the sync has done its part, and prints both tables.
 */
import type { Effect as Effects } from "effect"
import { Clock, Console, Duration, Effect, Logger, LogLevel, Schedule } from "effect"
import { duration } from "../domain/Quantity.ts"
import type { Side } from "../domain/Side.ts"
import { label, opposite } from "../domain/Side.ts"
import { summaryLine } from "../domain/Summary.ts"
import type { SyncError } from "../domain/SyncError.ts"
import { Unavailable } from "../domain/SyncError.ts"
import { textTable } from "../domain/TextTable.ts"
import type { DemoApp, Row } from "../services/DemoApp.ts"
import { contactLines } from "./announce.ts"
import { listConflicts } from "./conflicts.ts"
import type { Cycle } from "./cycle.ts"
import { listQuarantine } from "./quarantine.ts"
import { supervise, type SuperviseOptions } from "./supervise.ts"
import { verify } from "./verify.ts"

/** Plays the script. The service goes on in the background until the scope closes. */
export const demo = Effect.fn("demo")(function*<R = never>(
  app: DemoApp,
  realCycle: Cycle,
  more: Pick<SuperviseOptions<R>, "afterwards" | "hurried" | "resting"> = {}
) {
  const alone = yield* Effect.makeSemaphore(1)
  const cycle = yield* told(realCycle, alone)
  const write = writer(app)
  const untilEqual = untilEqualOn(app, alone)

  yield* step("Two databases, each with rows of its own. Now the service starts: a cycle, and half a second of rest.")
  yield* show(app)
  yield* Effect.forkScoped(quietly(supervise(cycle, { ...more, interval: Duration.millis(500) })))
  yield* untilEqual

  yield* step("Rows are inserted on both sides.")
  yield* write("replit", "insert into perfis (id, nome, email) values ('duda', 'Duda Melo', 'duda@exemplo.pt')")
  yield* write("external", "insert into perfis (id, nome, email) values ('eva', 'Eva Nunes', 'eva@exemplo.pt')")
  yield* untilEqual

  yield* step("One is updated on one side, another deleted on the other.")
  yield* write("external", "update perfis set email = 'bia.lima@exemplo.pt' where id = 'bia'")
  yield* write("replit", "delete from perfis where id = 'caio'")
  yield* untilEqual

  yield* step(
    "A conflict: one row is changed on both sides between two cycles. The last write wins, the other is kept."
  )
  yield* alone.withPermits(1)(Effect.zipRight(
    write("replit", "update perfis set nome = 'Ana de Souza' where id = 'ana'"),
    write("external", "update perfis set nome = 'Ana Souza Prado' where id = 'ana'")
  ))
  yield* untilEqual
  yield* tellConflict

  yield* step(
    "A bad row: external wants an @ in an e-mail, Replit doesn't. It waits in quarantine and stops nobody else."
  )
  yield* write("replit", "insert into perfis (id, nome, email) values ('fabio', 'Fábio Dias', 'fabio.exemplo.pt')")
  yield* write("replit", "insert into perfis (id, nome, email) values ('gil', 'Gil Ramos', 'gil@exemplo.pt')")
  yield* tellRefusal
  yield* show(app)
  yield* Console.log("It is mended, and travels with the next cycle:")
  yield* write("replit", "update perfis set email = 'fabio@exemplo.pt' where id = 'fabio'")
  yield* untilEqual

  yield* step("The proof: every row of both sides is compared.")
  const { tables } = yield* alone.withPermits(1)(verify(cycle, { repair: false, dryRun: false, show: 10 }))
  for (const { outcome, rows, table } of tables) yield* Console.log(`  ${table}: ${outcome}, ${rows?.replit ?? 0} rows`)
})

/** What the service does is told as it happens; nothing runs while somebody else is `alone`. */
const told = (cycle: Cycle, alone: Effects.Semaphore): Effect.Effect<Cycle> =>
  Console.consoleWith((usual) =>
    Effect.succeed<Cycle>((options) =>
      alone.withPermits(1)(Effect.tap(cycle(options), (report) => {
        const lines = [
          ...contactLines(report.setUp),
          ...(report.outcome === "moved" ? [summaryLine(report)] : [])
        ]
        return Effect.forEach(lines, (line) => usual.log(`  service: ${line}`))
      }))
    )
  )

/** Its own words are left out: idle cycles come twice a second, and what is refused is shown by the script. */
const quietly = <A, E, R>(service: Effect.Effect<A, E, R>) =>
  Console.consoleWith((usual) => Effect.withConsole(service, { ...usual, log: () => Effect.void })).pipe(
    Logger.withMinimumLogLevel(LogLevel.Error)
  )

const step = (text: string) => Console.log(`\n== ${text}`)

const writer = (app: DemoApp) => (side: Side, statement: string) =>
  Effect.zipRight(Console.log(`  ${label(side)}=> ${statement};`), app.run(side, statement))

/** Shows both tables as soon as they are the same and the cycle is over. */
const untilEqualOn = Effect.fn("untilEqual")(function*(app: DemoApp, alone: Effects.Semaphore) {
  const startedMs = yield* Clock.currentTimeMillis
  yield* until(
    Effect.map(rowsOf(app), ({ external, replit }) => JSON.stringify(replit) === JSON.stringify(external)),
    "The two tables did not become equal in time."
  )
  const tookMs = (yield* Clock.currentTimeMillis) - startedMs
  yield* alone.withPermits(1)(Effect.void)
  yield* Console.log(`  equal after ${duration(tookMs)}:`)
  yield* show(app)
})

const show = Effect.fn("show")(function*(app: DemoApp) {
  const rows = yield* rowsOf(app)
  const ids = [...new Set([...rows.replit, ...rows.external].map(({ id }) => id ?? ""))].sort()
  const on = (side: Side, wanted: string) => {
    const row = rows[side].find(({ id }) => id === wanted)
    return row === undefined ? "-" : `${row["nome"]} <${row["email"]}>`
  }
  const lines = textTable([
    ["id", "Replit", "external"],
    ...ids.map((id) => [id, on("replit", id), on("external", id)])
  ])
  yield* Console.log(lines.replaceAll(/^/gm, "    "))
})

const rowsOf = (app: DemoApp): Effect.Effect<Readonly<Record<Side, ReadonlyArray<Row>>>, SyncError> => {
  const all = "select id, nome, email, updated_at::text from perfis order by id"
  return Effect.all({ replit: app.run("replit", all), external: app.run("external", all) })
}

const tellConflict = Effect.gen(function*() {
  const [conflict] = yield* listConflicts({ limit: 1 })
  if (conflict === undefined) return
  const { id, lost, lostSide, won } = conflict
  yield* Console.log(
    `  lost on ${label(lostSide)}: ${lost?.["nome"]}; won on ${label(opposite(lostSide))}: ${won?.["nome"]}`
  )
  yield* Console.log(`  \`conflicts restore ${id.slice(0, 8)}\` would bring it back.`)
})

const tellRefusal = Effect.gen(function*() {
  yield* until(Effect.map(listQuarantine(null), (found) => found.length > 0), "Nothing went into quarantine.")
  for (const { from, key, message } of yield* listQuarantine(null)) {
    yield* Console.log(`  in quarantine: ${key.join(", ")} from ${label(from)}: ${message}`)
  }
})

/** Asks again and again, for 20 seconds at most. */
const until = <R>(done: Effect.Effect<boolean, SyncError, R>, problem: string) =>
  Effect.repeat(done, { until: (it) => it, schedule: Schedule.spaced("50 millis") }).pipe(
    Effect.timeoutFail({
      duration: "20 seconds",
      onTimeout: () => new Unavailable({ side: "replit", sqlState: null, slow: false, message: problem })
    })
  )
