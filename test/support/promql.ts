/** What a PromQL expression asks for, by Prometheus' own grammar: throws where that doesn't take it. */
import { parser } from "@prometheus-io/lezer-promql"

export interface Asked {
  readonly metrics: ReadonlyArray<{ readonly name: string; readonly labels: ReadonlyArray<string> }>
  /** Labels that results are grouped by. */
  readonly groups: ReadonlyArray<string>
}

export const parsePromql = (expression: string): Asked => {
  // Grafana puts the first in.
  const text = expression.replaceAll("$__rate_interval", "5m")
  const metrics: Array<{ readonly name: string; readonly labels: Array<string> }> = []
  const groups: Array<string> = []
  parser.parse(text).iterate({
    enter: ({ from, name, node, to, type }) => {
      const said = text.slice(from, to)
      if (type.isError) throw new Error(`${text} is wrong at ${from}`)
      if (name === "Identifier") metrics.push({ name: said, labels: [] })
      if (name !== "LabelName") return
      if (node.parent?.name === "GroupingLabels") groups.push(said)
      else metrics.at(-1)?.labels.push(said)
    }
  })
  return { metrics, groups }
}
