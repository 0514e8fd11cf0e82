/**
 * The file beside the environment, `.env.sync`: `NAME=value` lines with comments, quotes and `export`, as python-dotenv
 * and everybody's `.env` have them. Values are taken as they are written: a `$` in a password is no variable.
 */
import type { Error as PlatformError } from "@effect/platform"
import { FileSystem } from "@effect/platform"
import { parse } from "dotenv"
import { Effect } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"

/** Reads the file; one that isn't there is empty, one that can't be read is `ActionNeeded`. */
export const read = Effect.fn("EnvFile.read")(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* fs.readFileString(file).pipe(
    Effect.catchIf(isMissing, () => Effect.succeed("")),
    Effect.mapError((error) =>
      new ActionNeeded({
        message: `The settings file ${file} can't be read: ${reason(error)}. Mend it or take it away.`
      })
    )
  )
  return new Map(Object.entries(parse(quoteHashes(text))))
})

/** Why a file can't be read, in words. */
export const reason = (error: PlatformError.PlatformError): string => {
  if (error._tag === "BadArgument") return error.message
  switch (error.reason) {
    case "NotFound":
      return "there is no such file"
    case "PermissionDenied":
      return "this user may not read it"
    case "BadResource":
      return "it is a directory, not a file"
    default:
      return error.description ?? error.message
  }
}

const isMissing = (error: PlatformError.PlatformError): boolean =>
  error._tag === "SystemError" && error.reason === "NotFound"

/**
 * `dotenv` ends an unquoted value at any `#`, python-dotenv only at one after a space. Passwords in URLs hold some that
 * were never percent-encoded, and files that worked must go on working.
 */
const quoteHashes = (text: string): string =>
  text.replace(
    /^(\s*(?:export\s+)?[\w.-]+[ \t]*=[ \t]*)([^\s'"`#][^\r\n]*)$/gm,
    (line, name: string, written: string) => {
      const value = written.replace(/\s+#.*$/, "").trimEnd()
      const quote = ["'", "`"].find((quote) => !value.includes(quote))
      return value.includes("#") && quote !== undefined ? `${name}${quote}${value}${quote}` : line
    }
  )
