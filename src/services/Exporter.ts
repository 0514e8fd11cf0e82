/**
 * Sends traces and Effect's metrics to an OpenTelemetry collector (OTLP over HTTP). A module that only who exports loads.
 * The collector may be away or hang: what can't be sent is lost, said once, and nobody waits for it.
 */
import * as OtlpMetrics from "@effect/opentelemetry/OtlpMetrics"
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization"
import * as OtlpTracer from "@effect/opentelemetry/OtlpTracer"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import { Cause, Effect, Exit, Layer, Option, Redacted, Ref, Schema, Tracer } from "effect"
import { SyncError } from "../domain/SyncError.ts"
import type { Telemetry } from "../domain/Telemetry.ts"
import { codeOf } from "./Notifier.ts"

export const layer = ({ encoding, endpoint, headers, serviceName }: Telemetry, version: string): Layer.Layer<never> => {
  const base = Redacted.value(endpoint).replace(/\/+$/, "")
  const options = {
    headers: Redacted.value(headers),
    resource: { serviceName, serviceVersion: version },
    shutdownTimeout: atTheEnd
  } as const
  return Layer.merge(
    Layer.unwrapScoped(
      Effect.map(
        OtlpTracer.make({ ...options, url: `${base}/v1/traces` }),
        (tracer) => Layer.setTracer(discreet(tracer))
      )
    ),
    OtlpMetrics.layer({ ...options, url: `${base}/v1/metrics`, exportInterval: metricsEvery })
  ).pipe(
    Layer.provide(encoding === "json" ? OtlpSerialization.layerJson : OtlpSerialization.layerProtobuf),
    Layer.provide(client),
    Layer.provide(FetchHttpClient.layer)
  )
}

/**
 * A span that fails says how. Of our own errors that is their message, which holds no value of a row; what the server said to
 * an error of somebody else's may quote one, so only its name goes out.
 */
const discreet = (tracer: Tracer.Tracer): Tracer.Tracer =>
  Tracer.make({
    context: tracer.context,
    span: (...options) => {
      const span = tracer.span(...options)
      const end = span.end.bind(span)
      return Object.assign(span, {
        end: (at: bigint, exit: Exit.Exit<unknown, unknown>) => end(at, withoutValues(exit))
      })
    }
  })

const withoutValues = (exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, unknown> => {
  if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return exit
  const error = Option.getOrNull(Cause.failureOption(exit.cause))
  const name = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "Defect"
  const message = Schema.is(SyncError)(error) ? error.message : name
  return Exit.fail(Object.assign(new Error(message), { name, stack: `${name}: ${message}` }))
}

/** The exporter has no limit of its own: one that hangs would keep spans for ever. */
const client = Layer.effect(
  HttpClient.HttpClient,
  Effect.gen(function*() {
    const isSaid = yield* Ref.make(false)
    const say = (reason: string) =>
      Effect.flatMap(
        Ref.getAndSet(isSaid, true),
        (before) => before ? Effect.void : Effect.logWarning("Could not export").pipe(Effect.annotateLogs({ reason }))
      )
    return HttpClient.transform(yield* HttpClient.HttpClient, (answer, request) =>
      answer.pipe(
        Effect.timeoutFail({
          duration: timeLimit,
          onTimeout: () => new HttpClientError.RequestError({ request, reason: "Transport", description: "no answer" })
        }),
        Effect.tap(({ status }) => status < 300 ? Ref.set(isSaid, false) : say(`HTTP ${status}`)),
        Effect.tapError((error) => say(codeOf(error)))
      ))
  })
)

const timeLimit = "5 seconds"
const metricsEvery = "60 seconds"
/** Of each of the two, one after the other, within the 9.5 seconds that a stopped service has. */
const atTheEnd = "1500 millis"
