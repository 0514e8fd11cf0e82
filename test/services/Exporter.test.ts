import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, Redacted } from "effect"
import { WorldRefused } from "../../src/domain/SyncError.ts"
import type { Telemetry } from "../../src/domain/Telemetry.ts"
import { layer } from "../../src/services/Exporter.ts"
import { metricsOf, pathOf, spansOf } from "../support/collector.ts"
import { noLines, writingTo } from "../support/Output.ts"
import { webServer } from "../support/WebServer.ts"

const telemetry = (url: string): Telemetry => ({
  endpoint: Redacted.make(`${url}/base/`),
  headers: Redacted.make({ "x-tenant": "7" }),
  encoding: "json",
  serviceName: "loja"
})

describe("the exporter", () => {
  it.scopedLive("sends spans and metrics when it ends, under the collector's base", () =>
    Effect.gen(function*() {
      const { received, url } = yield* webServer()
      yield* Metric.increment(Metric.counter("vaivem_test_total")).pipe(
        Effect.withSpan("inner"),
        Effect.withSpan("outer"),
        Effect.provide(layer(telemetry(url), "1.2.3"))
      )
      assert.sameMembers(received.map(({ path }) => path), ["/base/v1/traces", "/base/v1/metrics"])
      assert.strictEqual(received[0]!.headers["x-tenant"], "7")
      const traces = received.filter(({ path }) => path.endsWith("traces"))
      const spans = spansOf(traces)
      assert.deepStrictEqual(pathOf(spans[0]!, spans).map(({ name }) => name), ["outer", "inner"])
      assert.isTrue(metricsOf(received.filter(({ path }) => path.endsWith("metrics"))).has("vaivem_test_total"))
      assert.include(traces[0]!.body, "\"loja\"")
    }))

  it.scopedLive("says of a failed span what is ours to say, and of other errors their names alone", () =>
    Effect.gen(function*() {
      const { received, url } = yield* webServer()
      const server = Object.assign(new Error("invalid input syntax for type uuid: \"segredo\""), {
        detail: "(x)=(segredo)"
      })
      const ours = new WorldRefused({ sqlState: null, message: "The password is wrong.", cause: server })
      const failing: ReadonlyArray<Effect.Effect<never, unknown>> = [
        Effect.fail({ _tag: "SqlError", message: server.message, cause: server }),
        Effect.fail(ours),
        Effect.die(server)
      ]
      yield* Effect.forEach(failing, (one) => Effect.exit(Effect.withSpan(one, "statement"))).pipe(
        Effect.provide(layer(telemetry(url), "1.2.3"))
      )
      const sent = received.map(({ body }) => body).join()
      for (const said of ["SqlError", "The password is wrong.", "Defect"]) assert.include(sent, said)
      assert.notInclude(sent, "segredo")
    }))

  it.scopedLive("says once that a collector refuses, without its URL", () =>
    Effect.gen(function*() {
      const { url } = yield* webServer(() => 404)
      const lines = noLines()
      yield* Effect.withSpan(Effect.void, "cycle").pipe(
        Effect.provide(layer(telemetry(`${url}/segredo`), "1.2.3")),
        writingTo(lines)
      )
      assert.lengthOf(lines.log, 1)
      assert.match(lines.log[0]!, /level=WARN .*message="Could not export" reason="HTTP 404"$/)
    }))
})
