/** Does what a person asks for on the page: the programs of the commands, and then a cycle. */
import { HttpApiBuilder } from "@effect/platform"
import { Effect, Either } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { SyncError } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { parse } from "../domain/TableName.ts"
import { approve } from "../programs/approve.ts"
import { Observer } from "../programs/Observer.ts"
import { pause, resume } from "../programs/pausing.ts"
import { reject } from "../programs/reject.ts"
import type { ExternalDb } from "../services/ExternalDb.ts"
import type { ReplitDb } from "../services/ReplitDb.ts"
import type { SyncConfig } from "../services/SyncConfig.ts"
import { Api, NotDone } from "./Api.ts"

export const actions = HttpApiBuilder.group(Api, "actions", (handlers) =>
  Effect.gen(function*() {
    const observer = yield* Observer
    const context = yield* Effect.context<ReplitDb | ExternalDb | SyncConfig>()
    /** A caller that goes away ends it; each can be said again then. */
    const doing = (action: Effect.Effect<unknown, SyncError, ReplitDb | ExternalDb | SyncConfig>) =>
      action.pipe(
        Effect.mapError(({ message }) => new NotDone({ message })),
        Effect.zipRight(observer.hurry),
        Effect.provide(context)
      )
    return handlers
      .handle("sync", () => observer.hurry)
      .handle("approve", ({ payload }) => doing(Effect.flatMap(named(payload.table), approve)))
      .handle("reject", ({ payload }) => doing(Effect.flatMap(named(payload.table), reject)))
      .handle("pause", ({ payload }) => doing(Effect.flatMap(namedOrAll(payload.table), pause)))
      .handle("resume", ({ payload }) => doing(Effect.flatMap(namedOrAll(payload.table), resume)))
  }))

const named = (name: string): Either.Either<TableName, ActionNeeded> =>
  Either.mapLeft(parse(name), (problem) => new ActionNeeded({ message: `${name}: ${problem}.` }))

const namedOrAll = (name: string | null) => name === null ? Either.right(null) : named(name)
