/** `demo`: the main job on two servers of its own. Needs no settings, no Docker and no network. */
import { Command } from "@effect/cli"
import { Console, Duration, Effect, Layer, Redacted } from "effect"
import { defaultHost } from "../domain/HttpAddress.ts"
import { makeCycle } from "../programs/cycle.ts"
import { demo } from "../programs/demo.ts"
import * as DemoApp from "../services/DemoApp.ts"
import * as PgDatabase from "../services/PgDatabase.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { Host } from "./Host.ts"
import { logger } from "./live.ts"
import { serving } from "./serving.ts"

export const demoCommand = Command.make("demo", {}, () =>
  Effect.scoped(
    Effect.gen(function*() {
      yield* Console.log("vaivem demo: starting two PostgreSQL servers on this machine …")
      const app = yield* DemoApp.make
      yield* Effect.provide(play(app), databasesOf(app))
    }).pipe(Effect.provide(logger("auto")))
  )).pipe(
    Command.withDescription("Shows the main job on two PostgreSQL servers of its own; needs no settings.")
  )

/** A person at a terminal can go on playing; everybody else gets the script and its end. */
const play = Effect.fnUntraced(function*(app: DemoApp.DemoApp) {
  const { isTerminal } = yield* Host
  const { cycle, ...served } = yield* serving(yield* makeCycle)
  yield* demo(app, cycle, served)
  if (!(isTerminal.stdin && isTerminal.stdout)) return yield* Console.log("\nDone.")
  yield* Console.log(
    [
      "",
      "Both servers and the service go on until you press Ctrl-C. Try it:",
      `  psql "${Redacted.value(app.urls.replit)}"     # Replit`,
      `  psql "${Redacted.value(app.urls.external)}"     # external`,
      ""
    ].join("\n")
  )
  yield* Effect.never
}, Effect.scoped)

const databasesOf = ({ targets }: DemoApp.DemoApp) =>
  PgDatabase.layer().pipe(
    Layer.provideMerge(SyncConfig.layer({
      replitUrl: targets.replit,
      externalUrl: targets.external,
      interval: Duration.millis(500),
      retryFor: "10 seconds",
      // Whatever port is free: several demos may run.
      http: { port: 0, host: defaultHost, token: null }
    }))
  )
