/** `Database` on PostgreSQL: its parts over one session. Building it opens no connection. */
import { FileSystem, Path } from "@effect/platform"
import { Effect, Layer } from "effect"
import { createRequire } from "node:module"
import type { ConnectionTarget } from "../domain/ConnectionTarget.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { Database } from "./Database.ts"
import { ExternalDb } from "./ExternalDb.ts"
import type { Migration } from "./pg/Migrations.ts"
import * as PgBrake from "./pg/PgBrake.ts"
import * as PgCatalog from "./pg/PgCatalog.ts"
import * as PgChangelog from "./pg/PgChangelog.ts"
import * as PgComparison from "./pg/PgComparison.ts"
import * as PgFew from "./pg/PgFew.ts"
import * as PgJournal from "./pg/PgJournal.ts"
import * as PgLease from "./pg/PgLease.ts"
import * as PgListening from "./pg/PgListening.ts"
import * as PgMetering from "./pg/PgMetering.ts"
import * as PgProving from "./pg/PgProving.ts"
import type { SessionOptions } from "./pg/PgSession.ts"
import * as PgSession from "./pg/PgSession.ts"
import * as PgSurvey from "./pg/PgSurvey.ts"
import * as Stems from "./pg/Stems.ts"
import { ReplitDb } from "./ReplitDb.ts"
import { SyncConfig } from "./SyncConfig.ts"
import * as TimestampDatabase from "./TimestampDatabase.ts"

/** A database behind a connection target, until the scope closes. */
export const make = Effect.fn("PgDatabase.make")(function*(target: ConnectionTarget, options: SessionOptions = {}) {
  const session = yield* PgSession.make(target, options)
  const stems = Stems.make(session)
  const migrations = yield* readMigrations
  return {
    side: target.side,
    ...PgCatalog.make(session, stems, migrations),
    ...PgChangelog.make(session, stems, yield* PgLease.make(session)),
    ...PgFew.make(session, stems),
    ...PgComparison.make(session, stems),
    ...PgProving.make(session, stems),
    ...PgSurvey.make(session, stems),
    ...PgJournal.make(session, stems),
    ...PgBrake.make(session, stems),
    ...PgListening.make(session),
    ...PgMetering.make(session)
  } satisfies Database
})

/** Both databases of the settings. */
export const layer = (options: SessionOptions = {}) =>
  Layer.merge(
    Layer.scoped(ReplitDb, Effect.flatMap(SyncConfig, ({ replitUrl }) => make(replitUrl, options))),
    Layer.scoped(ExternalDb, Effect.flatMap(SyncConfig, (config) => external(config, options)))
  )

const external = Effect.fnUntraced(function*(config: SyncConfig["Type"], options: SessionOptions) {
  const { externalCapture, externalSweepEvery: sweepEvery, externalUrl, externalWindow: window, replitUrl } = config
  if (externalCapture === "triggers") return yield* make(externalUrl, options)
  const targets = { external: externalUrl, replit: replitUrl }
  return yield* TimestampDatabase.make(targets, yield* readMigrations, { window, sweepEvery }, options)
})

/** The numbered files of `sql/`, which lies beside this package's `package.json`, wherever this code was bundled to. */
export const readMigrations = Effect.gen(function*() {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = path.join(path.dirname(createRequire(import.meta.url).resolve("vaivem/package.json")), "sql")
  const names = (yield* files.readDirectory(folder)).filter((name) => /^\d{4}_.+\.sql$/.test(name)).sort()
  return yield* Effect.forEach(
    names,
    (name) =>
      Effect.map(files.readFileString(path.join(folder, name)), (text): Migration => ({
        version: Number(name.slice(0, 4)),
        name: name.slice(5, -4),
        text
      }))
  )
}).pipe(
  Effect.mapError((cause) =>
    new ActionNeeded({ message: `The folder sql/ of this program can't be read; install it again. (${String(cause)})` })
  )
)
