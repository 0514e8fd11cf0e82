/** What is known of both databases, in Effect's registry, from where it is exported as what cycles count is. */
import { Clock, Effect, Metric, Schedule } from "effect"
import { gauges } from "../http/gauges.ts"
import type { Family } from "../http/prometheus.ts"
import { onBoth } from "../programs/databases.ts"
import type { Observer } from "../programs/Observer.ts"

/** Until the scope closes, every ten seconds. `/metrics` doesn't read the registry for these, but knows how it stands itself. */
export const gauging = Effect.fn("gauging")(function*(observer: Observer["Type"], version: string) {
  const both = yield* onBoth((database) => Effect.succeed(database))
  const counted = new Map<string, number>()
  const note = Effect.gen(function*() {
    const traffic = { replit: yield* both.replit.traffic, external: yield* both.external.traffic }
    const nowMs = yield* Clock.currentTimeMillis
    for (const family of gauges({ observed: yield* observer.now, traffic, nowMs, version })) {
      yield* noteFamily(family, counted)
    }
  })
  yield* Effect.forkScoped(Effect.repeat(note, Schedule.spaced("10 seconds")))
  yield* Effect.addFinalizer(() => note)
})

/** By OpenTelemetry's names, `vaivem.lag_seconds`: to Prometheus these are the names of `/metrics`. */
const noteFamily = Effect.fnUntraced(function*({ help, name, samples, type }: Family, counted: Map<string, number>) {
  for (const { labels, value } of samples) {
    const metric = name.replace("_", ".")
    if (type === "gauge") {
      yield* Metric.set(tagged(Metric.gauge(metric, { description: help }), labels), value)
      continue
    }
    const key = JSON.stringify([name, labels])
    const before = counted.get(key) ?? 0
    counted.set(key, value)
    const counter = Metric.counter(metric, { description: help, incremental: true })
    yield* Metric.incrementBy(tagged(counter, labels), value - before)
  }
})

const tagged = <Type, In, Out>(metric: Metric.Metric<Type, In, Out>, labels: Readonly<Record<string, string>>) =>
  Object.entries(labels).reduce((tagged, [name, value]) => Metric.tagged(tagged, name, value), metric)
