/** Runs the built program as people do: as a process, in a folder of its own, with an environment that is all said. */
import { Data, Effect, Redacted, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"

export interface Ended {
  /** Null when a signal ended it. */
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface Running {
  readonly pid: number
  /** Waits until standard output matches. */
  readonly says: (what: RegExp) => Effect.Effect<string, ProgramError>
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<void>
  /** Closes our end of its standard output. */
  readonly stopReading: Effect.Effect<void>
  readonly ended: Effect.Effect<Ended>
}

export class ProgramError extends Data.TaggedError("ProgramError")<{ readonly message: string }> {}

export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string>>
  /** Where it runs; a new empty folder by default. */
  readonly folder?: string
  /** Another `main.js` than that of `npm run build`. */
  readonly program?: string
}

/** Runs it to its end. */
export const run = (args: ReadonlyArray<string>, options: ProgramOptions = {}): Effect.Effect<Ended> =>
  Effect.scoped(Effect.flatMap(start(args, options), ({ ended }) => ended))

/** Starts it; when the scope closes it is killed, if it still runs. */
export const start = (
  args: ReadonlyArray<string>,
  options: ProgramOptions = {}
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function*() {
    const folder = options.folder ?? (yield* freshFolder)
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [options.program ?? program, ...args], {
          cwd: folder,
          env: { PATH: process.env["PATH"], HOME: folder, ...options.env },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) => Effect.sync(() => child.exitCode === null && child.signalCode === null && child.kill("SIGKILL"))
    )
    return running(child)
  })

/** A folder that is removed when the scope closes. */
export const freshFolder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "vaivem-program-"))),
  (folder) => Effect.promise(() => Fs.rm(folder, { recursive: true, force: true }))
)

/** A port that nobody has, for the moment. */
export const freePort: Effect.Effect<number> = Effect.async((resume) => {
  const server = Net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as Net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** The settings for two databases; what may be tried again is tried for a second. */
export const settings = (urls: { readonly replit: Redacted.Redacted; readonly external: Redacted.Redacted }) => ({
  DATABASE_URL: Redacted.value(urls.replit),
  EXTERNAL_DB_URL: Redacted.value(urls.external),
  SYNC_RETRY_FOR: "1 second",
  // A container is reached by the address of Docker's bridge.
  ...(process.env["TEST_POSTGRES"] === "container" ? { SYNC_ALLOW_PLAINTEXT: "true" } : {})
})

const program = Path.resolve(import.meta.dirname, "../../dist/main.js")

const running = (child: ChildProcess): Running => {
  let [out, err] = ["", ""]
  child.stdout!.setEncoding("utf8").on("data", (text: string) => out += text)
  child.stderr!.setEncoding("utf8").on("data", (text: string) => err += text)
  const end = new Promise<Ended>((resolve) => child.once("close", (code) => resolve({ code, out, err })))
  return {
    pid: child.pid!,
    ended: Effect.promise(() => end),
    signal: (name) => Effect.sync(() => void child.kill(name)),
    stopReading: Effect.sync(() => void child.stdout!.destroy()),
    says: (what) =>
      Effect.async<string, ProgramError>((resume) => {
        const look = () => {
          if (what.test(out)) resume(Effect.succeed(out))
        }
        child.stdout!.on("data", look)
        void end.then(() =>
          resume(new ProgramError({ message: `It ended without saying ${what}. It said:\n${out}\n${err}` }))
        )
        look()
      })
  }
}
