import { assert, describe, it } from "@effect/vitest"
import { Either, Redacted } from "effect"
import { parse, type TelemetryTexts } from "../../src/domain/Telemetry.ts"

const read = (texts: Partial<TelemetryTexts>) =>
  parse({
    endpoint: "https://coletor.pt:4318",
    headers: undefined,
    protocol: undefined,
    serviceName: undefined,
    ...texts
  })

describe("OpenTelemetry's variables", () => {
  it("export nothing without an endpoint, whatever else they say", () => {
    assert.deepStrictEqual(read({ endpoint: undefined, protocol: "grpc", headers: "?" }), Either.right(null))
  })

  it("say where to, in which form, under which name and with which headers", () => {
    const usual = Either.getOrThrow(read({}))!
    assert.deepStrictEqual([usual.encoding, usual.serviceName, Redacted.value(usual.headers)], [
      "protobuf",
      "vaivem",
      {}
    ])
    const said = Either.getOrThrow(
      read({ protocol: "http/json", serviceName: "loja", headers: "Authorization=Bearer%20a%3Db, x-tenant = 7," })
    )!
    assert.deepStrictEqual([said.encoding, said.serviceName], ["json", "loja"])
    assert.deepStrictEqual(Redacted.value(said.headers), { authorization: "Bearer a=b", "x-tenant": "7" })
  })

  it("are refused when they can't work, and never quoted", () => {
    const refused = (texts: Partial<TelemetryTexts>) => Either.getOrElse(Either.flip(read(texts)), () => "")
    for (const endpoint of ["segredo", "ftp://segredo", "https://u:segredo@h"]) {
      assert.match(refused({ endpoint }), /^OTEL_EXPORTER_OTLP_ENDPOINT is no URL/)
      assert.notInclude(refused({ endpoint }), "segredo")
    }
    assert.match(refused({ protocol: "grpc" }), /^OTEL_EXPORTER_OTLP_PROTOCOL is grpc, and only/)
    for (const headers of ["segredo", "a=%E0%segredo", "a b=segredo"]) {
      assert.match(refused({ headers }), /^OTEL_EXPORTER_OTLP_HEADERS is not written/)
      assert.notInclude(refused({ headers }), "segredo")
    }
  })
})
