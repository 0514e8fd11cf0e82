/**
 * The service's HTTP server: measures, and whether it is alive and ready. It answers from what the process knows, so it
 * costs the databases nothing, and a caller can't make it ask them.
 */
import { HttpApiBuilder, HttpServer, HttpServerRequest } from "@effect/platform"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Clock, Effect, FiberSet, Layer, Metric, Option, Schedule } from "effect"
import { createServer, type Server } from "node:http"
import { type HttpAddress, urlOf } from "../domain/HttpAddress.ts"
import { ActionNeeded, WorldRefused } from "../domain/SyncError.ts"
import { onBoth } from "../programs/databases.ts"
import { Observer } from "../programs/Observer.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { actions } from "./actions.ts"
import { Api, Authorized, NotReady } from "./Api.ts"
import { dashboard, session } from "./dashboard.ts"
import { gauges } from "./gauges.ts"
import { guarded, makeGuard } from "./Guard.ts"
import { page } from "./pageFiles.ts"
import { exposition, familiesOf } from "./prometheus.ts"
import { readiness, readyLimitMs } from "./ready.ts"
import { records } from "./records.ts"

/**
 * Listens, and answers until the scope closes; requests that are open then are cut. Returns the URL for people. A port that
 * somebody has is waited for: `WorldRefused` when it is not free in time, `ActionNeeded` for an address that can't be.
 */
export const serve = Effect.fn("serve")(function*(address: HttpAddress, version: string) {
  const server = yield* listen(address)
  const { port } = server.address as HttpServer.TcpAddress
  const guard = yield* makeGuard(address.token)
  const around = guarded(address.token === null)
  const recordsOf = records({ hasToken: address.token !== null })
  yield* Layer.build(
    // Not `HttpApiBuilder.serve`: what it wraps around the app comes after the answer has gone.
    Layer.unwrapEffect(Effect.map(HttpApiBuilder.httpApp, (app) => HttpServer.serve(around(app)))).pipe(
      Layer.provide([HttpApiBuilder.Router.Live, HttpApiBuilder.Middleware.layer]),
      Layer.provide(HttpApiBuilder.api(Api)),
      Layer.provide(
        Layer.mergeAll(watching, measures(version), dashboard(version), actions, recordsOf, session(guard), page)
      ),
      Layer.provide(Layer.succeed(Authorized, Authorized.of(guard.authorize))),
      Layer.provide(Layer.succeed(HttpServer.HttpServer, server)),
      Layer.provide(NodeHttpServer.layerContext)
    )
  ).pipe(HttpServerRequest.withMaxBodySize(Option.some(bodyBytesMax)))
  return urlOf({ host: address.host, port })
})

const watching = HttpApiBuilder.group(Api, "watching", (handlers) =>
  Effect.gen(function*() {
    const observer = yield* Observer
    const limitMs = readyLimitMs(yield* SyncConfig)
    return handlers
      .handle("health", () => Effect.succeed({ status: "alive" as const }))
      .handle("ready", () =>
        Effect.gen(function*() {
          const found = readiness(yield* observer.now, limitMs, yield* Clock.currentTimeMillis)
          return found.ready ? found : yield* new NotReady(found)
        }))
  }))

const measures = (version: string) =>
  HttpApiBuilder.group(Api, "measures", (handlers) =>
    Effect.gen(function*() {
      const observer = yield* Observer
      const traffic = yield* Effect.map(
        onBoth((database) => Effect.succeed(database)),
        (both) => Effect.all({ replit: both.replit.traffic, external: both.external.traffic })
      )
      return handlers.handle("metrics", () =>
        Effect.gen(function*() {
          const known = {
            observed: yield* observer.now,
            traffic: yield* traffic,
            nowMs: yield* Clock.currentTimeMillis
          }
          return exposition([...familiesOf(yield* Metric.snapshot), ...gauges({ ...known, version })])
        }))
    }))

/** A copy that is being stopped has its port for 9.5 seconds at most (main.ts). */
const listen = Effect.fnUntraced(function*(address: HttpAddress) {
  const { host, port } = address
  const tell = yield* FiberSet.makeRuntime()
  const make = Effect.gen(function*() {
    const server = limited(createServer())
    // As too many open files: whoever called then is refused, and nobody else.
    server.on("error", (error) => {
      if (server.listening) {
        tell(Effect.logWarning("HTTP: a call was refused").pipe(Effect.annotateLogs({ reason: codeOf(error) })))
      }
    })
    const listening = yield* NodeHttpServer.make(() => server, { host, port })
    // Closing waits for open requests, and an event stream never ends: so they are cut, when nobody new can come.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
    )
    return listening
  })
  return yield* make.pipe(
    Effect.mapError(({ cause }) => refusal(address, codeOf(cause))),
    Effect.retry({
      while: (error) => error._tag === "WorldRefused",
      schedule: Schedule.spaced("500 millis").pipe(Schedule.upTo(waitMs))
    })
  )
})

/** Nobody can hold more of this process than that: connections, and half a request. */
const limited = (server: Server): Server => {
  server.maxConnections = 200
  server.headersTimeout = 10_000
  server.requestTimeout = 30_000
  return server
}

const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""

const refusal = ({ host, port }: HttpAddress, code: string): WorldRefused | ActionNeeded => {
  switch (code) {
    case "EADDRINUSE":
      return new WorldRefused({
        sqlState: null,
        message:
          `SYNC_HTTP_PORT: port ${port} of ${host} is in use by another program, perhaps another copy of vaivem. `
          + "Stop that one, or set another port."
      })
    case "EACCES":
      return new ActionNeeded({ message: `SYNC_HTTP_PORT: this user may not open port ${port}; set one above 1023.` })
    default:
      return new ActionNeeded({
        message: `SYNC_HTTP_HOST: ${host} is no address of this machine (${code}); 127.0.0.1 is, and 0.0.0.0 means all.`
      })
  }
}

const waitMs = 12_000
const bodyBytesMax = 65_536
