/** That the files of deploy ask for measures that the service exports, with their labels and in their units. */
import { FetchHttpClient, HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { parse } from "yaml"
import { makeProver } from "../src/programs/prove.ts"
import { parseExposition, type ReadFamily } from "./support/exposition.ts"
import { perfis, perfisTable, profile } from "./support/MemoryPair.ts"
import { type Asked, parsePromql } from "./support/promql.ts"
import { quietly, startServed } from "./support/Served.ts"

const read = (path: string) => Fs.readFileSync(Path.resolve(import.meta.dirname, "../deploy", path), "utf8")

interface Panel {
  readonly type: string
  readonly title: string
  readonly gridPos: Readonly<Record<"x" | "y" | "w" | "h", number>>
  readonly targets?: ReadonlyArray<{ readonly expr: string; readonly legendFormat: string }>
  readonly fieldConfig?: { readonly defaults: { readonly unit: string } }
}

const dashboard: { readonly panels: ReadonlyArray<Panel> } = JSON.parse(read("grafana/vaivem.json"))
const panels = dashboard.panels.filter(({ type }) => type !== "row")
const rules: ReadonlyArray<{
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly description: string }
}> = parse(read("prometheus/vaivem.rules.yaml")).groups[0].rules

interface PromtoolTest {
  readonly alert_rule_test: ReadonlyArray<{ readonly alertname: string; readonly exp_alerts: ReadonlyArray<unknown> }>
}

/** All that the service can export: rows that moved, and tables that wait, differ and are proven. */
const exported = Effect.gen(function*() {
  const { layer, observer, run, servers, url } = yield* startServed({}, [perfisTable])
  yield* servers.replit.app.insert(perfis, profile("ana", "Ana"))
  const report = yield* run
  const prove = yield* makeProver
  yield* Effect.provide(Effect.flatMap(prove(report), observer.proved), layer())
  yield* servers.replit.app.insert(perfis, profile("bia", "Bia"))
  yield* run
  yield* observer.watch(() =>
    Effect.succeed({ ...report, paused: [{ table: "perfis", problem: "It waits.", held: true }] })
  )({ retryFor: 0, lease: "wait", notBefore: 0 }).pipe(Effect.provide(layer()))
  yield* observer.proved([{ table: "perfis", found: 1, open: null }])
  yield* observer.resting(0)
  const response = yield* (yield* HttpClient.HttpClient).get(`${url}metrics`)
  return parseExposition(yield* response.text)
}).pipe(Effect.provide(FetchHttpClient.layer), quietly)

/** Fails with one line for each thing found. */
const none = (found: ReadonlyArray<string>) => assert.strictEqual(found.join("\n"), "")

/** The scraper adds the first two. */
const labelsOf = (family: ReadFamily) =>
  new Set(["job", "instance", ...family.samples.flatMap(({ labels }) => Object.keys(labels))])

const familyOf = (name: string, families: ReadonlyArray<ReadFamily>) =>
  families.find((family) => family.samples.some((sample) => sample.name === name))

/** What an expression asks for and isn't there. */
const missing = ({ groups, metrics }: Asked, families: ReadonlyArray<ReadFamily>, more: ReadonlyArray<string> = []) =>
  metrics.flatMap(({ labels, name }) => {
    const family = familyOf(name, families)
    if (family === undefined) return [`${name} is not exported`]
    const known = labelsOf(family)
    return [...labels, ...groups, ...more].filter((label) => !known.has(label)).map((label) =>
      `${name} has no ${label}`
    )
  })

describe("the dashboard and the alerts", () => {
  it.scopedLive("ask for what is exported, by labels that it has", () =>
    Effect.gen(function*() {
      const families = yield* exported
      const placeholders = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map((match) => match[1]!)
      none([
        ...panels.flatMap(({ targets = [], title }) =>
          targets.flatMap(({ expr, legendFormat }) => {
            const asked = parsePromql(expr)
            const shown = placeholders(legendFormat, /\{\{(\w+)\}\}/g)
            return [
              ...missing(asked, families),
              ...shown.filter((label) => !asked.groups.includes(label)).map((label) => `nothing is grouped by ${label}`)
            ].map((what) => `${title}: ${what}`)
          })
        ),
        ...rules.flatMap(({ alert, annotations, expr }) => {
          const asked = parsePromql(expr)
          const said = placeholders(annotations.summary + annotations.description, /\$labels\.(\w+)/g)
          return missing(asked, families, said).map((what) => `${alert}: ${what}`)
        })
      ])
      // Nothing is exported in vain.
      const shown = new Set(
        panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => parsePromql(expr).metrics))
          .map(({ name }) => familyOf(name, families)?.name)
      )
      assert.sameMembers(
        families.map(({ name }) => name).filter((name) => !shown.has(name) && !name.includes("test")),
        ["vaivem_info"]
      )
    }))

  it("show each measure in its unit", () => {
    const unitOf = (expr: string) => {
      const [first] = parsePromql(expr).metrics
      if (/ \/ /.test(expr)) return "percentunit"
      if (first!.name.includes("_seconds")) return "s"
      return first!.name.includes("_bytes_") ? "Bps" : "short"
    }
    none(
      panels.flatMap(({ fieldConfig, targets = [], title }) =>
        targets.filter(({ expr }) => unitOf(expr) !== fieldConfig?.defaults.unit).map(({ expr }) =>
          `${title} shows ${fieldConfig?.defaults.unit} for ${expr}`
        )
      )
    )
  })

  it("are whole: no two panels in one place, and every alert says what it is and what to do", () => {
    const covered = new Map<string, string>()
    for (const { gridPos: { h, w, x, y }, title } of dashboard.panels) {
      for (let place = 0; place < w * h; place++) {
        const cell = `${x + place % w},${y + Math.floor(place / w)}`
        assert.isUndefined(covered.get(cell), `${title} covers ${covered.get(cell)}`)
        covered.set(cell, title)
      }
    }
    for (const { alert, annotations, labels } of rules) {
      assert.match(alert, /^Vaivem[A-Z]\w+$/)
      assert.include(["warning", "critical"], labels.severity)
      assert.match(annotations.summary, /\.$/, alert)
      assert.match(annotations.description, /\.$/, alert)
    }
  })

  it("have a test for promtool in which each alert fires", () => {
    const { tests }: { readonly tests: ReadonlyArray<PromtoolTest> } = parse(read("prometheus/vaivem.test.yaml"))
    const fired = tests.flatMap(({ alert_rule_test: checks }) => checks).filter(({ exp_alerts: alerts }) =>
      alerts.length > 0
    )
    assert.deepStrictEqual(
      fired.map(({ alertname }) => alertname).toSorted(),
      rules.map(({ alert }) => alert).toSorted()
    )
  })
})
