import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Metric, MetricBoundaries } from "effect"
import { exposition, familiesOf, type Family } from "../../src/http/prometheus.ts"
import { parseExposition } from "../support/exposition.ts"

const family = (labels: Readonly<Record<string, string>>, help = "What it is."): Family => ({
  name: "vaivem_pending_rows",
  help,
  type: "gauge",
  samples: [{ labels, value: 3 }]
})

describe("the exposition", () => {
  it("has help, type and samples of each name, in lines that end", () => {
    assert.strictEqual(
      exposition([family({ table: "perfis", from: "replit" })]),
      "# HELP vaivem_pending_rows What it is.\n# TYPE vaivem_pending_rows gauge\n"
        + "vaivem_pending_rows{table=\"perfis\",from=\"replit\"} 3\n"
    )
  })

  it("leaves a family without samples out", () => {
    assert.strictEqual(exposition([{ ...family({}), samples: [] }]), "")
  })

  it("escapes backslashes, quotes and line ends, in the order that a reader undoes", () => {
    const text = exposition([family({ table: "a\"b\\c\nd\\n" }, "One\ntwo \\ three")])
    assert.include(text, "{table=\"a\\\"b\\\\c\\nd\\\\n\"} 3")
    assert.include(text, "# HELP vaivem_pending_rows One\\ntwo \\\\ three\n")
  })

  it("gives whatever a table is named back to its reader", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (table) => {
      const [read] = parseExposition(exposition([family({ table })]))
      assert.strictEqual(read!.samples[0]!.labels["table"], table)
    }))
  })

  it("writes numbers as Prometheus reads them", () => {
    const values = [0, -1.5, 1e21, Infinity, -Infinity, NaN]
    const text = exposition([{ ...family({}), samples: values.map((value) => ({ labels: {}, value })) }])
    assert.deepStrictEqual(
      text.split("\n").slice(2, -1).map((line) => line.split(" ")[1]),
      ["0", "-1.5", "1e+21", "+Inf", "-Inf", "NaN"]
    )
  })

  it.effect("tells Effect's counters and histograms, and nothing that isn't ours", () =>
    Effect.gen(function*() {
      const counter = Metric.counter("vaivem_test_total", { description: "Of this test." })
      yield* Metric.incrementBy(Metric.tagged(counter, "from", "replit"), 2)
      yield* Metric.increment(Metric.counter("other_total"))
      const histogram = Metric.histogram("vaivem_test_seconds", MetricBoundaries.fromIterable([0.5, 1]), "Of this too.")
      for (const value of [0.2, 0.7, 30]) yield* Metric.update(histogram, value)
      const families = familiesOf(yield* Metric.snapshot).filter(({ name }) => name.includes("test"))
      assert.strictEqual(
        exposition(families),
        [
          "# HELP vaivem_test_seconds Of this too.",
          "# TYPE vaivem_test_seconds histogram",
          "vaivem_test_seconds_bucket{le=\"0.5\"} 1",
          "vaivem_test_seconds_bucket{le=\"1\"} 2",
          "vaivem_test_seconds_bucket{le=\"+Inf\"} 3",
          "vaivem_test_seconds_sum 30.9",
          "vaivem_test_seconds_count 3",
          "# HELP vaivem_test_total Of this test.",
          "# TYPE vaivem_test_total counter",
          "vaivem_test_total{from=\"replit\"} 2",
          ""
        ].join("\n")
      )
    }))
})
