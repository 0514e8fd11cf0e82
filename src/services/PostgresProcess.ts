/**
 * One run of an embedded PostgreSQL server, from `postgres` started to `postgres` ended.
 *
 * The process is in a group of its own: a Ctrl-C on the terminal is for us, and we stop the server in order. If this
 * process is killed, a small shell (`guard`) notices, and stops the server.
 */
import { Effect, Redacted, Schedule } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Pg from "pg"
import { attempt, EmbeddedPostgresError, type PostgresBinaries, run } from "./PostgresBinaries.ts"

/** What a server is started from. */
export interface Cluster {
  readonly binaries: PostgresBinaries
  /** Holds `data` and `postgres.log`. Belongs to the account that runs the server. */
  readonly home: string
  /** Whether the data outlives this program. */
  readonly kept: boolean
  readonly user: string
  readonly password: Redacted.Redacted
  readonly settings: Readonly<Record<string, string>>
}

export interface PostgresProcess {
  readonly pid: number
  readonly child: ChildProcess
}

/** How a server stops: `fast` ends sessions and writes everything down; `immediate` is what a crash does to it. */
export type StopMode = "fast" | "immediate"

/** Fills the data directory. From 17 on its locale is PostgreSQL's own, so no locale of the system is needed. */
export const initialize = (
  { binaries, home, kept, password, user }: Cluster
): Effect.Effect<void, EmbeddedPostgresError> =>
  attempt("make a PostgreSQL data directory", async (signal) => {
    const passwordFile = Path.join(home, "password")
    await Fs.writeFile(passwordFile, Redacted.value(password), { mode: 0o600 })
    if (binaries.account !== undefined) await Fs.chown(passwordFile, binaries.account.uid, binaries.account.gid)
    try {
      await run(Path.join(binaries.folder, "initdb"), [
        `--pgdata=${Path.join(home, "data")}`,
        `--username=${user}`,
        `--pwfile=${passwordFile}`,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        ...(binaries.majorVersion >= 17
          ? ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
          : [`--lc-ctype=${Os.platform() === "darwin" ? "UTF-8" : "C.UTF-8"}`]),
        ...(kept ? [] : ["--no-sync"])
      ], { ...childOptions(binaries, home), signal })
    } finally {
      await Fs.rm(passwordFile, { force: true })
    }
  })

/**
 * Starts a server and waits, at most 30 s, until it accepts connections. The error holds the end of the server's log.
 * Leaves no process behind when it fails or is interrupted.
 */
export const start = (cluster: Cluster, port: number): Effect.Effect<PostgresProcess, EmbeddedPostgresError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const server = yield* launch(cluster, port)
      yield* restore(untilReady(cluster, server, port)).pipe(
        Effect.onError(() => Effect.ignoreLogged(stop(server, "immediate")))
      )
      return server
    })
  )

/** Stops a server and waits for its end: after 20 s with more force, after 25 s with all of it. */
export const stop = (server: PostgresProcess, mode: StopMode): Effect.Effect<void, EmbeddedPostgresError> =>
  signal(server, mode === "fast" ? "SIGINT" : "SIGQUIT", 20).pipe(
    Effect.orElse(() => signal(server, "SIGQUIT", 5)),
    Effect.orElse(() => signal(server, "SIGKILL", 5))
  )

export const isAlive = (server: PostgresProcess): boolean =>
  server.child.exitCode === null && server.child.signalCode === null

/** The end of the server's log, at most `bytesMax` bytes. */
export const readLog = ({ home }: Cluster, bytesMax: number): Effect.Effect<string, EmbeddedPostgresError> =>
  attempt("read the server's log", async () => {
    const file = await Fs.open(logFile(home), "r")
    try {
      const { size } = await file.stat()
      const length = Math.min(size, bytesMax)
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length)
      return buffer.toString("utf8", 0, bytesRead)
    } finally {
      await file.close()
    }
  })

/** The superuser's URL of a database. */
export const urlOf = ({ password, user }: Cluster, port: number, database: string): Redacted.Redacted => {
  const [name, secret, path] = [user, Redacted.value(password), database].map(encodeURIComponent)
  return Redacted.make(`postgresql://${name}:${secret}@127.0.0.1:${port}/${path}`)
}

const launch = (cluster: Cluster, port: number) =>
  attempt("start PostgreSQL", async (): Promise<PostgresProcess> => {
    const { binaries, home } = cluster
    const settings = {
      timezone: "UTC",
      log_timezone: "UTC",
      ...cluster.settings,
      listen_addresses: "127.0.0.1",
      port: String(port),
      unix_socket_directories: ""
    }
    const log = await Fs.open(logFile(home), "a")
    try {
      const child = spawn(
        Path.join(binaries.folder, "postgres"),
        [
          "-D",
          Path.join(home, "data"),
          ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
        ],
        { ...childOptions(binaries, home), detached: true, stdio: ["ignore", log.fd, log.fd] }
      )
      await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject))
      const server = { pid: child.pid ?? 0, child }
      guard(cluster, server)
      return server
    } finally {
      await log.close()
    }
  })

/**
 * A shell that reads from a pipe that we hold open. When we end, however we end, it reads the end of the file; then it
 * stops the server, and removes a temporary directory. When the server ends before us, we send the shell a line, and it
 * goes.
 */
const guard = ({ binaries, home, kept }: Cluster, server: PostgresProcess) => {
  const script = `
    read -r line && exit
    kill -INT "$1" 2>/dev/null
    tries=0
    while kill -0 "$1" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -QUIT "$1" 2>/dev/null
    [ -z "$2" ] || rm -rf "$2"`
  const child = spawn("/bin/sh", ["-c", script, "guard", String(server.pid), kept ? "" : home], {
    ...childOptions(binaries, "/"),
    detached: true,
    stdio: ["pipe", "ignore", "ignore"]
  })
  // A guard that is gone, or never came, needs no line: the server does not depend on it.
  child.on("error", () => {})
  child.stdin.on("error", () => {})
  server.child.once("exit", () => child.stdin.end("done\n"))
}

const signal = (server: PostgresProcess, name: NodeJS.Signals, secondsMax: number) =>
  Effect.sync(() => server.child.kill(name)).pipe(
    Effect.zipRight(
      Effect.suspend(() => isAlive(server) ? Effect.fail("running") : Effect.void).pipe(
        Effect.retry(polls(secondsMax))
      )
    ),
    Effect.mapError(() =>
      new EmbeddedPostgresError({ message: `The embedded PostgreSQL, process ${server.pid}, did not end on ${name}` })
    )
  )

/**
 * Looks often, for a limited time. Unlike a timeout this also ends where nothing may be interrupted, as in a finalizer.
 */
const polls = (secondsMax: number) => Schedule.intersect(Schedule.spaced("20 millis"), Schedule.recurs(secondsMax * 50))

const untilReady = (cluster: Cluster, server: PostgresProcess, port: number) =>
  isReady(cluster, server).pipe(
    Effect.flatMap((ready) =>
      ready || !isAlive(server) ? Effect.void : Effect.fail("PostgreSQL did not start in 30 s")
    ),
    Effect.retry(polls(30)),
    Effect.zipRight(
      Effect.suspend(() =>
        isAlive(server) ? connectOnce(cluster, port) : Effect.fail("PostgreSQL ended while it was starting")
      )
    ),
    Effect.catchAll((reason) =>
      Effect.flatMap(
        readLog(cluster, 2000),
        (log) => new EmbeddedPostgresError({ message: `${reason}. The end of its log:\n${log.trimEnd()}` })
      )
    )
  )

/**
 * The server says in the eighth line of `postmaster.pid` that it is ready. That it is this server, the first line says.
 */
const isReady = ({ home }: Cluster, { pid }: PostgresProcess) =>
  Effect.promise(async () => {
    const file = Path.join(home, "data", "postmaster.pid")
    const lines = (await Fs.readFile(file, "utf8").catch(() => "")).split("\n")
    return lines[0] === String(pid) && lines[7]?.trim() === "ready"
  })

const connectOnce = (cluster: Cluster, port: number) =>
  Effect.tryPromise({
    try: async () => {
      const client = new Pg.Client({
        connectionString: Redacted.value(urlOf(cluster, port, "postgres")),
        connectionTimeoutMillis: 10_000
      })
      try {
        await client.connect()
        await client.query("select 1")
      } finally {
        await client.end()
      }
    },
    catch: (cause) =>
      `PostgreSQL started, but ${cluster.user} can't connect: ${cause instanceof Error ? cause.message : String(cause)}`
  })

/** The environment is ours alone: `PGDATA`, `PGPORT`, `LC_ALL` and the like of the caller must not reach the server. */
const childOptions = ({ account }: PostgresBinaries, cwd: string) => ({
  ...account,
  cwd,
  env: { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" }
})

const logFile = (home: string) => Path.join(home, "postgres.log")
