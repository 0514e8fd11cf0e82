/** The built program as a whole process: how long it takes and how much memory it needs, from start to end. */
import { Clock, Effect, Queue, Redacted, Ref, Schedule, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Readline from "node:readline"
import { BenchError } from "./BenchError.ts"

/** How the program is started. */
export interface Program {
  /** Absolute path of `main.js`. */
  readonly main: string
  readonly replit: Redacted.Redacted
  readonly external: Redacted.Redacted
  /** More settings, as `{ SYNC_INTERVAL: "2 seconds" }`. */
  readonly settings?: Readonly<Record<string, string>>
}

/** What a whole process cost. */
export interface Run {
  readonly ms: number
  /** Most memory that it ever held (`VmHWM`); null where there is no `/proc`. */
  readonly peakBytes: number | null
}

/** `dist/main.js`, built before if it is missing or older than a source. */
export const built: Effect.Effect<string, BenchError> = Effect.gen(function*() {
  const root = Path.resolve(import.meta.dirname, "..", "..")
  const main = Path.join(root, "dist", "main.js")
  const builtMs = yield* Effect.promise(() => modifiedMs(main).catch(() => 0))
  const newestMs = yield* Effect.promise(async () => {
    const names = await Fs.readdir(Path.join(root, "src"), { recursive: true })
    return Math.max(...await Promise.all(names.map((name) => modifiedMs(Path.join(root, "src", name)))))
  })
  if (newestMs <= builtMs) return main
  yield* Effect.logInfo("Building")
  const child = spawn("npm", ["run", "build"], { cwd: root, stdio: ["ignore", 2, 2] })
  if ((yield* exitCode(child)) !== 0) return yield* new BenchError({ message: "`npm run build` failed." })
  return main
})

/** Runs `--once` to its end; fails unless it exits with 0. */
export const runOnce = (program: Program): Effect.Effect<Run, BenchError> =>
  Effect.map(runCommand(program, ["--once"]), ({ run }) => run)

/** Runs a command to its end and returns what it printed; fails unless it exits with `expected`. */
export const runCommand = (
  program: Program,
  args: ReadonlyArray<string>,
  expected = 0
): Effect.Effect<{ readonly run: Run; readonly out: string }, BenchError> =>
  Effect.scoped(Effect.gen(function*() {
    const startedMs = yield* Clock.currentTimeMillis
    const child = yield* start(program, args)
    const said: Array<string> = []
    const out: Array<string> = []
    child.stderr.on("data", (text) => said.push(String(text)))
    child.stdout.on("data", (text) => out.push(String(text)))
    const peak = yield* Ref.make<number | null>(null)
    // The mark never falls, so what is read last is all but the last moments of a process that is about to end.
    yield* Effect.forkScoped(
      Effect.flatMap(peakBytes(child.pid), (bytes) => Ref.update(peak, (before) => bytes ?? before)).pipe(
        Effect.repeat(Schedule.spaced("20 millis"))
      )
    )
    const code = yield* exitCode(child)
    const ms = (yield* Clock.currentTimeMillis) - startedMs
    if (code !== expected) {
      return yield* new BenchError({ message: `\`${args.join(" ")}\` ended with ${code}: ${said.join("").trim()}` })
    }
    return { run: { ms, peakBytes: yield* Ref.get(peak) }, out: out.join("") }
  }))

export interface Service {
  readonly pid: number
  /** Each take waits for a line of its output, which it prints per cycle. */
  readonly lines: Queue.Dequeue<string>
}

/** Runs the service until the scope closes. */
export const serve = (program: Program): Effect.Effect<Service, BenchError, Scope.Scope> =>
  Effect.gen(function*() {
    const child = yield* start(program, ["--log-level", "warning"])
    const lines = yield* Queue.unbounded<string>()
    child.stderr.pipe(process.stderr)
    Readline.createInterface(child.stdout).on("line", (line) => lines.unsafeOffer(line))
    return { pid: child.pid ?? 0, lines }
  })

const start = (program: Program, args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    // A directory without `.env.sync`, and an environment without settings: what is measured is what is asked for.
    const cwd = yield* Effect.acquireRelease(
      Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "vaivem-bench-"))),
      (path) => Effect.promise(() => Fs.rm(path, { recursive: true, force: true }))
    )
    const { external, main, replit, settings } = program
    return yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [main, ...args], {
          cwd,
          env: {
            PATH: process.env["PATH"],
            DATABASE_URL: Redacted.value(replit),
            EXTERNAL_DB_URL: Redacted.value(external),
            SYNC_LOG_FORMAT: "logfmt",
            SYNC_BRAKE: "off",
            ...settings
          },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) =>
        Effect.suspend(() => {
          if (child.exitCode !== null || child.signalCode !== null) return Effect.void
          child.kill("SIGTERM")
          return Effect.promise(() => once(child, "exit"))
        })
    )
  })

const exitCode = (child: ChildProcess) =>
  Effect.async<number | null, BenchError>((resume) => {
    child.once(
      "error",
      (cause) => resume(new BenchError({ message: `A process could not be started: ${String(cause)}` }))
    )
    child.once("close", (code) => resume(Effect.succeed(code)))
  })

/** Most memory that a process ever held (`VmHWM`); null without `/proc`, or when it has ended. */
export const peakBytes = (pid: number | undefined) =>
  Effect.promise(async () => {
    // A process that has ended has no such line any more; macOS has no such file.
    const status = await Fs.readFile(`/proc/${pid}/status`, "utf8").catch(() => "")
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]
    return kilobytes === undefined ? null : Number(kilobytes) * 1024
  })

const modifiedMs = async (path: string) => (await Fs.stat(path)).mtimeMs
