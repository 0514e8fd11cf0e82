/** Does what a person asks for on the page: the programs of the commands, and then a cycle. */
import { HttpApiBuilder } from "@effect/platform"
import { Effect, Either } from "effect"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { SyncError } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { parse } from "../domain/TableName.ts"
import { approve } from "../programs/approve.ts"
import { Observer } from "../programs/Observer.ts"
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
    const doing = (
      name: string,
      action: (table: TableName) => Effect.Effect<unknown, SyncError, ReplitDb | ExternalDb | SyncConfig>
    ) =>
      Either.mapLeft(parse(name), (problem) => new ActionNeeded({ message: `${name}: ${problem}.` })).pipe(
        Effect.flatMap(action),
        Effect.mapError(({ message }) => new NotDone({ message })),
        Effect.zipRight(observer.hurry),
        Effect.provide(context)
      )
    return handlers
      .handle("sync", () => observer.hurry)
      .handle("approve", ({ payload }) => doing(payload.table, approve))
      .handle("reject", ({ payload }) => doing(payload.table, reject))
  }))
