/**
 * The Python scripts that kept two databases alike before, in the folder of an app: `sync_databases.py`, what started it every
 * five minutes, and their tests. They are known by their names, or by what they read: EXTERNAL_DB_URL and a changelog.
 */
import { FileSystem, Path } from "@effect/platform"
import { Effect } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"
import { reason } from "./EnvFile.ts"

export interface OldScripts {
  /** Paths within the folder, in order. */
  readonly files: ReadonlyArray<string>
  /** Lines that start one of them: `.replit:14`. */
  readonly startedBy: ReadonlyArray<string>
}

/** Looks into the folder and two levels below; a folder that can't be read is `ActionNeeded`. */
export const find = Effect.fn("OldScripts.find")(function*(folder: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const files: Array<string> = []
  const look = (below: string, depth: number): Effect.Effect<void, ActionNeeded> =>
    Effect.gen(function*() {
      const here = path.join(folder, below)
      for (const name of (yield* fs.readDirectory(here)).toSorted()) {
        const file = path.join(below, name)
        const { size, type } = yield* fs.stat(path.join(folder, file))
        if (type === "Directory" && depth > 0 && !/^(\.|node_modules$|vaivem$)/.test(name)) yield* look(file, depth - 1)
        if (type !== "File" || !/\.(py|sh)$/.test(name) || size > sizeMax) continue
        if (isOld(name, yield* fs.readFileString(path.join(folder, file)))) files.push(file)
      }
    }).pipe(Effect.catchTags({ SystemError: unreadable(below), BadArgument: unreadable(below) }))
  const unreadable = (below: string) => (error: Parameters<typeof reason>[0]) =>
    new ActionNeeded({
      message: `${path.join(folder, below)} can't be looked into: ${
        reason(error)
      }. Name the app's folder with --folder.`
    })
  yield* look(".", 2)
  const workflows = yield* fs.readFileString(path.join(folder, ".replit")).pipe(Effect.orElseSucceed(() => ""))
  const starts = (line: string) => !/^\s*#/.test(line) && files.some((file) => line.includes(path.basename(file)))
  return {
    files,
    startedBy: workflows.split("\n").flatMap((line, index) => starts(line) ? [`.replit:${index + 1}`] : [])
  } satisfies OldScripts
})

const isOld = (name: string, text: string): boolean =>
  /^(sync_databases|test_sync_connection|test_insert_(replit|external))\.py$|^sync_scheduler\.sh$/.test(name)
  || text.includes("EXTERNAL_DB_URL") && /\w_changelog\b/.test(text)

/** A script of this kind has a few hundred lines. */
const sizeMax = 1_000_000
