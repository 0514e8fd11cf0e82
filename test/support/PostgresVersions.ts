/**
 * Other versions of PostgreSQL than the one that is installed with the project, for tests. They have a `package.json` of
 * their own, `test/matrix/`, so that nobody downloads five servers who wants one.
 */
import { Effect } from "effect"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import type { Side } from "../../src/domain/Side.ts"
import { attempt, EmbeddedPostgresError, run } from "../../src/services/PostgresBinaries.ts"

/** What each side's server is; undefined is the one that is installed with the project. */
export type Versions = Readonly<Record<Side, string | undefined>>

/** Reads `18`, for both sides, or `14,18`: Replit's and the external one. */
export const versionsOf = (text: string | undefined): Versions => {
  const [replit, external] = (text ?? "").split(",").map((version) => version.trim() || undefined)
  return { replit, external: external ?? replit }
}

/** Folder of the package with that version's programs, for `EmbeddedPostgres.make`. Installs all of them on first use. */
export const packageOf = (version: string): Effect.Effect<string, EmbeddedPostgresError> =>
  Effect.gen(function*() {
    const folder = Path.join(home, "node_modules", `postgres-${version}-${Os.platform()}-${Os.arch()}`)
    if (yield* isThere(folder)) return folder
    yield* attempt(
      `install the PostgreSQL versions of ${home}`,
      // Without install scripts: all they would do is make links that `PostgresBinaries` makes in its copy.
      () => run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: home })
    )
    if (yield* isThere(folder)) return folder
    return yield* new EmbeddedPostgresError({
      message: `${Path.join(home, "package.json")} has no PostgreSQL ${version} for ${Os.platform()}-${Os.arch()}.`
    })
  })

const home = Path.resolve(import.meta.dirname, "../matrix")

const isThere = (folder: string) => Effect.promise(() => Fs.access(folder).then(() => true, () => false))
