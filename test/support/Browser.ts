/** A real browser for tests of the page: Chromium of this machine, if it has one. */
import { Data, Effect, type Scope } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { type Browser, chromium } from "playwright-core"

export class BrowserError extends Data.TaggedError("BrowserError")<{ readonly cause: unknown }> {}

/** Null, with a notice, where none is found: on the PATH or under `TEST_CHROMIUM`. */
export const browser: Effect.Effect<Browser | null, BrowserError, Scope.Scope> = Effect.gen(function*() {
  const executablePath = found()
  if (executablePath === undefined) {
    yield* Effect.logWarning(
      "NOT TESTED: no Chromium is on the PATH (Debian: apt-get install chromium), nor in TEST_CHROMIUM"
    )
    return null
  }
  return yield* Effect.acquireRelease(
    // Without its sandbox, which root may not use; what it opens is ours.
    doing(() => chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] })),
    (browser) => Effect.promise(() => browser.close())
  )
})

/** What playwright does, as an effect. */
export const doing = <A>(what: () => Promise<A>): Effect.Effect<A, BrowserError> =>
  Effect.tryPromise({ try: what, catch: (cause) => new BrowserError({ cause }) })

const found = (): string | undefined =>
  [
    process.env["TEST_CHROMIUM"] ?? "",
    ...(process.env["PATH"] ?? "").split(":").flatMap((folder) =>
      ["chromium", "chromium-browser", "google-chrome"].map((name) => Path.join(folder, name))
    )
  ].find((file) => file !== "" && Fs.existsSync(file))
