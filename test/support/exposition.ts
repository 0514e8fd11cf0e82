/**
 * Reads Prometheus' text form as strictly as `promtool check metrics` does, and says what is wrong with it: an order that
 * isn't kept, a name twice, a unit that is missing, a label that isn't closed.
 */
export interface ReadFamily {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: ReadonlyArray<
    { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly value: number }
  >
}

export const parseExposition = (text: string): ReadonlyArray<ReadFamily> => {
  if (!text.endsWith("\n")) throw new Error("the last line doesn't end")
  const families: Array<ReadFamily & { samples: Array<ReadFamily["samples"][number]> }> = []
  for (const line of text.slice(0, -1).split("\n")) {
    const help = /^# HELP ([a-zA-Z_:][\w:]*) (.+)$/.exec(line)
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram)$/.exec(line)
    if (help !== null) {
      if (families.some(({ name }) => name === help[1])) throw new Error(`${help[1]} comes twice`)
      families.push({ name: help[1]!, help: help[2]!, type: "", samples: [] })
    } else if (type !== null) {
      const family = families.at(-1)
      if (family?.name !== type[1] || family!.type !== "") throw new Error(`TYPE without HELP: ${line}`)
      families[families.length - 1] = { ...family!, type: type[2]! }
    } else {
      const family = families.at(-1)
      const sample = readSample(line)
      const plain = family?.type === "histogram" ? sample.name.replace(/_(bucket|sum|count)$/, "") : sample.name
      if (family === undefined || family.type === "" || plain !== family.name) throw new Error(`out of place: ${line}`)
      const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
      if (family.samples.some((it) => JSON.stringify([it.name, Object.entries(it.labels).sort()]) === key)) {
        throw new Error(`comes twice: ${line}`)
      }
      family.samples.push(sample)
    }
  }
  for (const { name, samples, type } of families) {
    if (samples.length === 0) throw new Error(`${name} has no samples`)
    if ((type === "counter") !== name.endsWith("_total")) throw new Error(`${name} is a ${type}`)
  }
  return families
}

const readSample = (line: string) => {
  const start = /^([a-zA-Z_:][\w:]*)(\{?)/.exec(line)
  if (start === null) throw new Error(`no name: ${line}`)
  const labels: Record<string, string> = {}
  let rest = line.slice(start[0].length)
  while (start[2] === "{" && !rest.startsWith("}")) {
    const label = /^([a-zA-Z_]\w*)="((?:[^"\\]|\\[\\"n])*)",?/u.exec(rest)
    if (label === null) throw new Error(`no label: ${line}`)
    labels[label[1]!] = label[2]!.replace(/\\([\\"n])/g, (_, it: string) => (it === "n" ? "\n" : it))
    rest = rest.slice(label[0].length)
  }
  const value = /^\}? (\+Inf|-Inf|NaN|-?\d+(?:\.\d+)?(?:e[+-]\d+)?)$/.exec(rest)
  if (value === null) throw new Error(`no value: ${line}`)
  return { name: start[1]!, labels, value: Number(value[1]!.replace("Inf", "Infinity")) }
}
