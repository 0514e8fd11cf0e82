/** What capture costs the app: updates of one row, as an app does them all day, and one of all rows, with and without it. */
import { Clock, Effect, Redacted } from "effect"
import { spawn } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import { count, duration } from "../../src/domain/Quantity.ts"
import { BenchError } from "./BenchError.ts"
import type { BenchDatabase, Servers } from "./BenchPair.ts"
import * as BenchPairs from "./BenchPair.ts"
import type { Figure } from "./Figure.ts"
import { median } from "./median.ts"
import { runOnce } from "./Program.ts"

/**
 * Takes turns between a captured table and another of the same shape, so many times. Needs `pgbench` on the PATH (any
 * version; Debian's postgresql-client has it): clients in this process would be slower than the server.
 */
export const capturing = Effect.fn("capturing")(function*(
  servers: Servers,
  main: string,
  options: { readonly rounds: number; readonly seconds: number; readonly bulkRows: number }
) {
  return yield* Effect.scoped(Effect.gen(function*() {
    const pair = yield* BenchPairs.make(servers)
    yield* runOnce({ main, replit: pair.replit.url, external: pair.external.url })
    const { app } = pair.replit
    yield* app.query(BenchPairs.perfis("sem_captura"))
    for (const name of tables) {
      yield* app.query(numbered(name, rows))
      yield* app.query(`vacuum analyze ${name}`)
    }
    const single = (settings: string) =>
      compare(options.rounds, (name) => updating(pair.replit, name, options.seconds, settings))
    const durable = yield* single("")
    const quick = yield* single("-c synchronous_commit=off")
    for (const name of tables) yield* app.query(`truncate ${name}; ${BenchPairs.insert(name, options.bulkRows)}`)
    const bulk = yield* compare(options.rounds, (name) =>
      Effect.gen(function*() {
        yield* app.query(`vacuum ${name}`)
        yield* pair.replit.settle
        const startedMs = yield* Clock.currentTimeMillis
        yield* app.query(`update ${name} set tipo_conta = 'Diretor'`)
        return (yield* Clock.currentTimeMillis) - startedMs
      }))
    const rate = (perSecond: number) => `${count(Math.round(perSecond))}/s`
    const line = (what: string, found: Compared | null, atLeast: number, stood: number): Figure => ({
      what,
      measured: found === null ? "not measured" : rate(found.captured),
      beside: found === null ? "needs pgbench" : `without capture: ${rate(found.bare)}`,
      judged: found === null ? null : { value: found.ratio, reach: { atLeast }, stood }
    })
    const hasPgbench = Number.isFinite(durable.ratio)
    return [
      line("updates of one row, two clients", hasPgbench ? durable : null, 0.9, 0.63),
      line("the same, synchronous_commit off", hasPgbench ? quick : null, 0.7, 0.43),
      {
        what: `one update of ${count(options.bulkRows)} rows`,
        measured: duration(bulk.captured),
        beside: `without capture: ${duration(bulk.bare)}`,
        judged: { value: bulk.ratio, reach: { atMost: 1.5 }, stood: 1.74 }
      }
    ] satisfies ReadonlyArray<Figure>
  }))
})

const tables = ["sem_captura", "perfis"] as const
const rows = 10_000
const clients = 2

interface Compared {
  readonly bare: number
  readonly captured: number
  /** Captured against bare, of the same round. */
  readonly ratio: number
}

const compare = Effect.fnUntraced(function*<E, R>(
  rounds: number,
  measure: (name: typeof tables[number]) => Effect.Effect<number, E, R>
) {
  const found: Array<{ readonly bare: number; readonly captured: number }> = []
  for (let round = 0; round < rounds; round++) {
    found.push({ bare: yield* measure("sem_captura"), captured: yield* measure("perfis") })
  }
  return {
    bare: median(found.map(({ bare }) => bare)),
    captured: median(found.map(({ captured }) => captured)),
    ratio: median(found.map(({ bare, captured }) => captured / bare))
  } satisfies Compared
})

/** Rows that a script can name: ids are made of their number. */
const numbered = (name: string, rows: number) =>
  `${BenchPairs.insert(name, rows)};
   with n as (select ctid, row_number() over () as n from ${name})
   update ${name} t set id = lpad(to_hex(n.n), 32, '0')::uuid from n where n.ctid = t.ctid`

/** Updates a second; NaN without pgbench. */
const updating = Effect.fnUntraced(function*(database: BenchDatabase, name: string, seconds: number, settings: string) {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "vaivem-pgbench-"))),
    (path) => Effect.promise(() => Fs.rm(path, { recursive: true, force: true }))
  )
  const script = Path.join(folder, "script.sql")
  yield* Effect.promise(() =>
    Fs.writeFile(
      script,
      `\\set n random(1, ${rows})\nupdate ${name} set tipo_conta = 'Aluno ' || :n::text, updated_at = now() `
        + "where id = lpad(to_hex(:n::bigint), 32, '0')::uuid;\n"
    )
  )
  const { hostname, password, pathname, port, username } = new URL(Redacted.value(database.url))
  const args = ["-n", "-M", "prepared", "-c", String(clients), "-j", "1", "-T", String(seconds), "-f", script]
  const out = yield* pgbench([...args, "-h", hostname, "-p", port, "-U", username, pathname.slice(1)], {
    PGPASSWORD: decodeURIComponent(password),
    PGOPTIONS: settings
  })
  if (out === null) return Number.NaN
  const tps = /^tps = ([\d.]+)/m.exec(out)?.[1]
  return tps === undefined ? yield* new BenchError({ message: `pgbench said something else: ${out}` }) : Number(tps)
})

/** What it printed; null when there is none on the PATH. */
const pgbench = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>>) =>
  Effect.async<string | null, BenchError>((resume) => {
    const child = spawn("pgbench", args, { env: { PATH: process.env["PATH"], ...env } })
    const said: Array<string> = []
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => said.push(String(text)))
    child.once("error", () => resume(Effect.succeed(null)))
    child.once("close", (code) =>
      resume(
        code === 0
          ? Effect.succeed(said.join(""))
          : new BenchError({ message: `pgbench ended with ${code}: ${said.join("")}` })
      ))
  })
