/** Where traces and metrics go, as OpenTelemetry's own variables say it. Pure. */
import { Either, Redacted } from "effect"

export interface Telemetry {
  /** The collector's base, without `/v1/traces`. It may hold a secret. */
  readonly endpoint: Redacted.Redacted
  /** Sent with each export, as a token that the collector wants. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>>
  readonly encoding: "json" | "protobuf"
  readonly serviceName: string
}

/** What is set; all may be missing. */
export interface TelemetryTexts {
  readonly endpoint: string | undefined
  readonly headers: string | undefined
  readonly protocol: string | undefined
  readonly serviceName: string | undefined
}

/** Null when no endpoint is set: nothing is exported then. Problems name the variable, and quote neither URL nor headers. */
export const parse = (texts: TelemetryTexts): Either.Either<Telemetry | null, string> => {
  const { endpoint, headers = "", protocol = "http/protobuf", serviceName = "vaivem" } = texts
  if (endpoint === undefined) return Either.right(null)
  const url = URL.canParse(endpoint) ? new URL(endpoint) : null
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.username !== "" || url.password !== "") {
    return Either.left("OTEL_EXPORTER_OTLP_ENDPOINT is no URL that begins with http:// or https://, without a password")
  }
  if (protocol !== "http/protobuf" && protocol !== "http/json") {
    return Either.left(`OTEL_EXPORTER_OTLP_PROTOCOL is ${protocol}, and only http/protobuf and http/json can be spoken`)
  }
  return Either.map(parseHeaders(headers), (headers) => ({
    endpoint: Redacted.make(endpoint),
    headers: Redacted.make(headers),
    encoding: protocol === "http/json" ? "json" : "protobuf",
    serviceName
  }))
}

/** `name=value,name=value`, the values percent-encoded. */
const parseHeaders = (text: string): Either.Either<Readonly<Record<string, string>>, string> => {
  const headers: Record<string, string> = {}
  for (const pair of text.split(",").filter((pair) => pair.trim() !== "")) {
    const [, name, value] = /^\s*([\w.-]+)\s*=\s*([\x21-\x7e]*)\s*$/.exec(pair) ?? []
    const decoded = value === undefined ? null : decode(value)
    if (name === undefined || decoded === null) {
      return Either.left("OTEL_EXPORTER_OTLP_HEADERS is not written as name=value,name=value")
    }
    headers[name.toLowerCase()] = decoded
  }
  return Either.right(headers)
}

const decode = (text: string): string | null => Either.getOrElse(Either.try(() => decodeURIComponent(text)), () => null)
