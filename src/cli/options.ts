/** Options that several commands share, and how what is given to them is read. */
import { Options } from "@effect/cli"
import { Effect, Either, Option } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { parse } from "../domain/TableName.ts"

export const json = Options.boolean("json").pipe(Options.withDescription("Print one JSON object instead of text."))

export const table = Options.text("table").pipe(
  Options.withPseudoName("table"),
  Options.withDescription("Only this table, written as in SYNC_TABLES."),
  Options.optional
)

/** The table that was named, or null. */
export const tableOf = (given: Option.Option<string>): Effect.Effect<TableName | null, ActionNeeded> =>
  Option.match(given, {
    onNone: () => Effect.succeed(null),
    onSome: (text) => named(text, `--table ${text}`)
  })

/** A table given as an argument. */
export const tableNamed = (text: string): Effect.Effect<TableName, ActionNeeded> => named(text, text)

const named = (text: string, given: string) =>
  Either.mapLeft(parse(text), (problem) => new ActionNeeded({ message: `${given}: ${problem}.` }))
