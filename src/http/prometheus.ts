/** The text in which Prometheus reads measures: version 0.0.4 of its exposition format. Pure. */
import type { MetricPair } from "effect"
import { MetricState } from "effect"

/** Measures of one name. */
export interface Family {
  /** With its unit at the end: `vaivem_lag_seconds`. */
  readonly name: string
  readonly help: string
  readonly type: "counter" | "gauge" | "histogram"
  readonly samples: ReadonlyArray<Sample>
}

export interface Sample {
  /** What a histogram's lines have after the name, as `_bucket`. */
  readonly suffix?: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export const contentType = "text/plain; version=0.0.4; charset=utf-8"

/** A family without samples is left out: its name alone would say nothing. */
export const exposition = (families: ReadonlyArray<Family>): string => {
  const lines: Array<string> = []
  for (const { help, name, samples, type } of families) {
    if (samples.length === 0) continue
    lines.push(`# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`, `# TYPE ${name} ${type}`)
    for (const { labels, suffix = "", value } of samples) {
      lines.push(`${name}${suffix}${labelsText(labels)} ${number(value)}`)
    }
  }
  return lines.map((line) => `${line}\n`).join("")
}

/** What Effect's registry holds of ours, in the order of the names. Only counters, gauges and histograms are ours. */
export const familiesOf = (pairs: ReadonlyArray<MetricPair.MetricPair.Untyped>): ReadonlyArray<Family> => {
  const families = new Map<string, Family>()
  for (const { metricKey, metricState } of pairs) {
    const { name } = metricKey
    if (!name.startsWith("vaivem_")) continue
    const labels = Object.fromEntries(metricKey.tags.map(({ key, value }) => [key, value]))
    const found = samplesOf(metricState, labels)
    if (found === null) continue
    const help = metricKey.description._tag === "Some" ? metricKey.description.value : name
    const before = families.get(name)?.samples ?? []
    families.set(name, { name, help, type: found.type, samples: [...before, ...found.samples] })
  }
  return [...families.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

const samplesOf = (state: unknown, labels: Sample["labels"]): Pick<Family, "type" | "samples"> | null => {
  if (MetricState.isCounterState(state)) return { type: "counter", samples: [{ labels, value: Number(state.count) }] }
  if (MetricState.isGaugeState(state)) return { type: "gauge", samples: [{ labels, value: Number(state.value) }] }
  if (!MetricState.isHistogramState(state)) return null
  return {
    type: "histogram",
    samples: [
      // Buckets hold those below them, too. The last one, which Prometheus wants, holds all.
      ...state.buckets.filter(([bound]) => Number.isFinite(bound)).map(([bound, value]) => ({
        suffix: "_bucket",
        labels: { ...labels, le: number(bound) },
        value
      })),
      { suffix: "_bucket", labels: { ...labels, le: "+Inf" }, value: state.count },
      { suffix: "_sum", labels, value: state.sum },
      { suffix: "_count", labels, value: state.count }
    ]
  }
}

/** Values may hold anything, table names as they are: backslashes, quotes and line ends are escaped. */
const labelsText = (labels: Sample["labels"]): string => {
  const all = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return all.length === 0 ? "" : `{${all.join(",")}}`
}

const escaped = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll("\"", "\\\"").replaceAll("\n", "\\n")

const number = (value: number): string => value === Infinity ? "+Inf" : value === -Infinity ? "-Inf" : String(value)
