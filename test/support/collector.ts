/** What a collector was sent, as OTLP's JSON has it: spans that know their parents, and the names of metrics. */
import type { Received } from "./WebServer.ts"

export interface ReadSpan {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly attributes: Readonly<Record<string, string | number | boolean>>
}

interface Value {
  readonly stringValue?: string
  readonly intValue?: number
  readonly doubleValue?: number
  readonly boolValue?: boolean
}

interface Sent {
  readonly resourceSpans?: ReadonlyArray<{
    readonly scopeSpans: ReadonlyArray<{
      readonly spans: ReadonlyArray<
        & Omit<ReadSpan, "attributes">
        & { readonly attributes: ReadonlyArray<{ readonly key: string; readonly value: Value }> }
      >
    }>
  }>
  readonly resourceMetrics?: ReadonlyArray<{
    readonly scopeMetrics: ReadonlyArray<{ readonly metrics: ReadonlyArray<{ readonly name: string }> }>
  }>
}

const sent = (received: ReadonlyArray<Received>): ReadonlyArray<Sent> => received.map(({ body }) => JSON.parse(body))

export const spansOf = (received: ReadonlyArray<Received>): ReadonlyArray<ReadSpan> =>
  sent(received).flatMap(({ resourceSpans = [] }) =>
    resourceSpans.flatMap(({ scopeSpans }) =>
      scopeSpans.flatMap(({ spans }) =>
        spans.map(({ attributes, ...span }) => ({
          ...span,
          attributes: Object.fromEntries(
            attributes.map(({ key, value }) => [
              key,
              value.stringValue ?? value.intValue ?? value.doubleValue ?? value.boolValue ?? ""
            ])
          )
        }))
      )
    )
  )

export const metricsOf = (received: ReadonlyArray<Received>): ReadonlySet<string> =>
  new Set(
    sent(received).flatMap(({ resourceMetrics = [] }) =>
      resourceMetrics.flatMap(({ scopeMetrics }) =>
        scopeMetrics.flatMap(({ metrics }) => metrics.map(({ name }) => name))
      )
    )
  )

/** The spans around one, from the outermost to itself. */
export const pathOf = (span: ReadSpan, all: ReadonlyArray<ReadSpan>): ReadonlyArray<ReadSpan> => {
  const parent = all.find(({ spanId, traceId }) => spanId === span.parentSpanId && traceId === span.traceId)
  return parent === undefined ? [span] : [...pathOf(parent, all), span]
}
