/** What a command runs on: settings, log and both databases. Made after parsing, so that `--help` needs none of it. */
import { Effect, Either, Layer, Logger } from "effect"
import type { SessionOptions } from "../services/pg/PgSession.ts"
import * as PgDatabase from "../services/PgDatabase.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { Host } from "./Host.ts"
import { sparingly } from "./sparingly.ts"

/** The log goes to standard error, so that standard output holds results only. */
export const logger = (format: SyncConfig["Type"]["logFormat"]) =>
  Layer.unwrapEffect(Effect.map(Host, ({ isTerminal }) => {
    const form = format === "auto" ? (isTerminal.stderr ? "pretty" : "logfmt") : format
    return Logger.replace(
      Logger.defaultLogger,
      sparingly(
        {
          pretty: Logger.prettyLogger({ stderr: true, colors: isTerminal.stderr }),
          logfmt: Logger.withConsoleError(Logger.logfmtLogger),
          json: Logger.withConsoleError(Logger.jsonLogger)
        }[form]
      )
    )
  }))

/** Loaded where there is a collector: nobody else needs an exporter. */
const exporter = Layer.unwrapEffect(Effect.gen(function*() {
  const { telemetry } = yield* SyncConfig
  const { version } = yield* Host
  if (Either.isLeft(telemetry)) {
    yield* Effect.logWarning("Nothing is exported").pipe(Effect.annotateLogs({ reason: telemetry.left }))
    return Layer.empty
  }
  if (telemetry.right === null) return Layer.empty
  const { layer } = yield* Effect.promise(() => import("../services/Exporter.ts"))
  return layer(telemetry.right, version)
}))

const make = (options: SessionOptions) =>
  PgDatabase.layer(options).pipe(
    Layer.provideMerge(exporter),
    Layer.provideMerge(Layer.unwrapEffect(Effect.map(SyncConfig, ({ logFormat }) => logger(logFormat)))),
    Layer.provideMerge(SyncConfig.layerFromEnv())
  )

/** Both databases of the settings in the environment and `.env.sync`. */
export const live = make({})

/** The same, and the servers themselves refuse whatever would write. */
export const liveReadOnly = make({ readOnly: true })
