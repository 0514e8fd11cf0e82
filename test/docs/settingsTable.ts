/** The settings tables of both READMEs, made of `src/services/variables.ts` and, for the Portuguese one, of `portuguese.ts`. */
import { names, type Variable, variables } from "../../src/services/variables.ts"
import { portuguese, unsetInPortuguese } from "./portuguese.ts"

/** The pages that have one. */
export const pagesWithSettings: Readonly<Record<string, Language>> = {
  "README.md": "en",
  "README.pt-BR.md": "pt"
}

type Language = "en" | "pt"

/** The page with its settings table as it should be. */
export const withSettings = (page: string, language: Language): string => page.replace(tableOf, () => table(language))

const tableOf = /^\| (variable|variável) .*\n(\|.*\n)+/m

const table = (language: Language): string => {
  const heads = {
    en: ["variable", "default", "meaning"],
    pt: ["variável", "padrão", "significado"]
  }[language]
  const rows = [
    heads,
    ...names.map((name) => [`\`${name}\``, defaultOf(variables[name], language), meaning[language](name)])
  ]
  // As dprint pads it.
  const widths = heads.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (cells: ReadonlyArray<string>) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |\n`
  const [head, ...rest] = rows.map(line)
  return [head, line(widths.map((width) => "-".repeat(width))), ...rest].join("")
}

const meaning = {
  en: (name: keyof typeof variables) => variables[name].description,
  pt: (name: keyof typeof variables) => portuguese[name]
}

const defaultOf = (variable: Variable, language: Language): string => {
  if ("default" in variable) return `\`${variable.default}\``
  return language === "en" ? variable.unset : unsetInPortuguese[variable.unset]!
}
