/** That README, ARCHITECTURE, CHANGELOG and the pages of docs tell the truth, as far as a program can tell. */
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Console, Effect } from "effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { run } from "../src/cli.ts"
import { Host } from "../src/cli/Host.ts"
import { SyncError } from "../src/domain/SyncError.ts"
import { names, type Variable, variables } from "../src/services/variables.ts"
import { saidBySource } from "./docs/messages.ts"
import { withSettings } from "./docs/settingsTable.ts"

const root = Path.resolve(import.meta.dirname, "..")
const read = (path: string) => Fs.readFileSync(Path.join(root, path), "utf8")

const pageNames = [
  "README.md",
  "README.pt-BR.md",
  "ARCHITECTURE.md",
  "CHANGELOG.md",
  ...Fs.readdirSync(Path.join(root, "docs")).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)
]
const pages = pageNames.map((name) => ({ name, text: read(name) }))
const readme = read("README.md")
const leiame = read("README.pt-BR.md")
const architecture = read("ARCHITECTURE.md")
const development = read("docs/development.md")

/** Fails with one line for each thing found. */
const none = (found: ReadonlyArray<string>) => assert.strictEqual(found.join("\n"), "")

/** The text under a heading, to the next one of any level. */
const section = (page: string, heading: string): string => {
  const start = page.search(new RegExp(`^#+ ${heading}$`, "m"))
  assert.isAtLeast(start, 0, `there is no section ${heading}`)
  const rest = page.slice(page.indexOf("\n", start))
  const end = rest.search(/^#+ /m)
  return end < 0 ? rest : rest.slice(0, end)
}

/** First cells of a section's tables, as they are written. */
const firstCells = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/^\| (.*?[^\\])\s+\|/gm)].map((match) => match[1]!.trim())

/** What stands in these cells in backticks. */
const quotedIn = (text: string): ReadonlyArray<string> =>
  firstCells(text).flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!))

interface Section {
  readonly heading: string
  readonly text: string
}

/** A page cut at its headings, of any level. What is code is no heading. */
const sectionsOf = (page: string): ReadonlyArray<Section> => {
  const sections: Array<{ heading: string; text: string }> = []
  let isCode = false
  for (const line of page.split("\n")) {
    if (line.startsWith("```")) isCode = !isCode
    if (!isCode && /^#+ /.test(line)) sections.push({ heading: line, text: "" })
    else sections.at(-1)!.text += `${line}\n`
  }
  return sections
}

/** The lines of all code blocks, without their comments. */
const codeOf = (text: string): ReadonlyArray<string> =>
  (text.match(/^```[^]*?^```$/gm) ?? []).flatMap((block) =>
    block.split("\n").map((line) => line.replace(/\s+(#|--) .*$/, ""))
  )

/** What is in backticks within the text, sorted: another language may say it in another order. */
const spansOf = (text: string): ReadonlyArray<string> =>
  [...text.replace(/^```[^]*?^```$/gm, "").replace(/\s+/g, " ").matchAll(/`([^`]+)`/g)].map((match) => match[1]!).sort()

const source = (directory: string): string =>
  Fs.readdirSync(Path.join(root, directory), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(ts|sql)$/.test(name))
    .map((name) => read(Path.join(directory, name)))
    .join("\n")

/** Prints the help of the whole command line, or of a command, as a person sees it. */
const help = (...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const printed: Array<string> = []
    const console = yield* Console.consoleWith(Effect.succeed)
    const print = (...values: ReadonlyArray<unknown>) => Effect.sync(() => void printed.push(values.join(" ")))
    const code = yield* run(["node", "main.js", ...args, "--help"]).pipe(
      Effect.withConsole({ ...console, log: print, error: print })
    )
    assert.strictEqual(code, 0)
    return printed.join("\n")
  }).pipe(
    Effect.provideService(Host, {
      version: "0.0.0",
      isTerminal: { stdin: false, stdout: false, stderr: false },
      terminal: { write: () => {}, columns: () => 80 }
    }),
    Effect.provide(NodeContext.layer)
  )

/** Each command with what it takes, as `conflicts show [--json] <id>`. */
const commands = (text: string): ReadonlyArray<string> => {
  const list = text.slice(text.indexOf("COMMANDS")).split(/^[A-Z ]+$/m)[1] ?? ""
  return [...list.matchAll(/^\s*- (.+?)(?:\s{2,}|$)/gm)].map((match) => match[1]!)
}

describe("README", () => {
  it("has the settings table that is made of what the program reads", () => {
    const told = firstCells(section(readme, "Settings"))
    assert.sameMembers(told.filter((cell) => cell.startsWith("`")), names.map((name) => `\`${name}\``))
    assert.strictEqual(withSettings(readme, "en"), readme, "run `npm run docs`")
    assert.strictEqual(withSettings(leiame, "pt"), leiame, "run `npm run docs`")
  })

  it("and .env.sync.example tell the same defaults", () => {
    const told = [...read(".env.sync.example").matchAll(/^#([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => ({
      name,
      value
    }))
    assert.isAbove(told.length, 20)
    none(names.flatMap((name) => {
      const variable: Variable = variables[name]
      const values = told.filter((line) => line.name === name).map(({ value }) => value)
      return !("default" in variable) || values.includes(variable.default)
        ? []
        : [`${name}: ${values.join(" or ")} for ${variable.default}`]
    }))
  })

  it.live("names every command and every option of it, in the commands table", () =>
    Effect.gen(function*() {
      const found = commands(yield* help())
      const told = firstCells(section(readme, "Commands"))
      assert.isAbove(found.length, 10)
      none(found.flatMap((command) => {
        const name = command.replace(/ [[<(-].*$/, "")
        const rows = told.filter((cell) => cell.startsWith(`\`${name}`))
        const options = command.match(/--[a-z-]+/g) ?? []
        if (rows.length === 0) return [`${name} is not in the table`]
        return options.filter((option) => !rows.some((row) => row.includes(option))).map((it) => `${name} lacks ${it}`)
      }))
      assert.include(told.join("\n"), "`--once`")
    }))

  it("names every dependency, in a line of its own", () => {
    const { dependencies, devDependencies }: Readonly<Record<string, Readonly<Record<string, string>>>> = JSON.parse(
      read("package.json")
    )
    const told = firstCells(section(development, "Dependencies, and why each")).filter((cell) => cell.startsWith("`"))
    const all = Object.keys({ ...dependencies, ...devDependencies })
    assert.sameMembers(told, all.map((name) => `\`${name}\``))
  })

  it("has the test command in one place", () => {
    assert.lengthOf(readme.match(/\bnpm test\b/g) ?? [], 1)
  })

  it("names scripts that there are", () => {
    const { scripts }: { readonly scripts: Readonly<Record<string, string>> } = JSON.parse(read("package.json"))
    const told = pages.flatMap(({ text }) => [...text.matchAll(/npm run ([a-z]+)/g)].map((match) => match[1]!))
    none(told.filter((name) => !(name in scripts)))
  })
})

describe("README in Portuguese", () => {
  const [english, portuguese] = [sectionsOf(readme), sectionsOf(leiame)]
  const both = english.map((section, index) => ({ ours: section, theirs: portuguese[index]! }))

  it("has the sections of the English one, in their order", () => {
    const levels = (sections: ReadonlyArray<Section>) => sections.map(({ heading }) => heading.match(/^#+/)![0].length)
    assert.deepStrictEqual(levels(portuguese), levels(english))
  })

  it("has its code, line by line, but for the comments", () => {
    for (const { ours, theirs } of both) assert.deepStrictEqual(codeOf(theirs.text), codeOf(ours.text), theirs.heading)
  })

  it("names the same commands, settings and values in each section", () => {
    for (const { ours, theirs } of both) {
      assert.deepStrictEqual(spansOf(theirs.text), spansOf(ours.text), theirs.heading)
    }
  })

  it("leads where it leads, and each to the other", () => {
    const targets = (sections: ReadonlyArray<Section>, { text }: Section) => {
      const anchors = sections.map(({ heading }) => `#${anchorOf(heading)}`)
      return [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, to]) =>
        anchors.includes(to!) ? `section ${anchors.indexOf(to!)}` : to!
      )
        .filter((to) => !/^README(\.pt-BR)?\.md$/.test(to)).sort()
    }
    for (const { ours, theirs } of both) {
      assert.deepStrictEqual(targets(portuguese, theirs), targets(english, ours), theirs.heading)
    }
    assert.include(english[0]!.text, "](README.pt-BR.md)")
    assert.include(portuguese[0]!.text, "](README.md)")
  })
})

/** Pieces of it in their places, whatever `…` stands for. */
const isQuoteOf = (quote: string, text: string): boolean =>
  quote.split("…").every((piece) => text.includes(piece.trim()))

const { events, messages, sqlStates } = saidBySource(root)

describe("operating", () => {
  it("has a line for every event of the log", () => {
    const told = quotedIn(section(read("docs/operating.md"), "What it says"))
    assert.isAbove(events.length, 15)
    none(events.filter((event) => !told.some((quote) => isQuoteOf(quote, event))))
    // And nothing that is not said any more, but for the line of progress, which has the rows' own numbers.
    const said = source("src").replace(/["`]\s*\+\s*["`]/g, "")
    none(
      told.filter((quote) => /^\W*[A-Z]/.test(quote) && !quote.split("…").every((piece) => said.includes(piece.trim())))
    )
  })
})

describe("troubleshooting", () => {
  const page = read("docs/troubleshooting.md")
  const quoted = quotedIn(page)

  it("quotes messages as the program says them", () => {
    // Pieces of one message that the code joins are one text again.
    const said = `${source("src")}\n${source("sql")}`.replace(/["`]\s*\+\s*["`]/g, "").replace(/\s+/g, " ")
    assert.isAbove(quoted.length, 100)
    const known = (text: string) => said.includes(text) || said.includes(text.replaceAll("\"", "\\\""))
    none(quoted.filter((text) => !text.split("…").every((piece) => known(piece.trim()) || isMade(piece, said))))
  })

  it("has a line for every refusal that the program can make", () => {
    assert.isAbove(messages.length, 150)
    const isQuoted = (text: string) => quoted.some((quote) => quote.length >= 8 && isQuoteOf(quote, text))
    none(
      messages.flatMap(({ path, texts }) =>
        texts.filter((text) => !isQuoted(text)).map((text) => `${path}: ${text.split("\n")[0]}`)
      )
    )
    // These hand on what others say. Any more must be made so that it can be read here, or be added when it does the same.
    const unread = messages.filter(({ texts }) => texts.length === 0).map(({ code }) => code)
    none([...new Set(unread)].filter((code) => !handsOn(code)))
  })

  it("has a line for every SQLSTATE that is known, and for every class of errors", () => {
    assert.isAbove(sqlStates.length, 40)
    none(sqlStates.filter((code) => !quoted.includes(code)))
    const classes = SyncError.members.map((member) => member._tag)
    none(classes.filter((name) => !quoted.includes(name)))
  })
})

/** Whether a piece of code says nothing of its own: `problem`, `found.problem`, `` `${name}: ${problem}.` ``, an error as it is. */
const handsOn = (code: string): boolean =>
  /\b(problem|message|error|refused)\b|^(null|Schema\.|new ActionNeeded\()/.test(code)

/** Where a setting's or a side's name is put in while the program runs. */
const isMade = (text: string, said: string): boolean =>
  said.includes(text.trim().replace(/^(DATABASE_URL|EXTERNAL_DB_URL) /, "${urlSetting(side)} "))

describe("ARCHITECTURE", () => {
  const invariants = architecture.split(/^(?=\*\*I\d+\.)/m).slice(1)

  it("says of each invariant where it is enforced and what proves it", () => {
    assert.isAtLeast(invariants.length, 14)
    none(invariants.flatMap((text, index) => [
      ...(text.startsWith(`**I${index + 1}.`) ? [] : [`I${index + 1} is out of order`]),
      ...(/^Enforced in `/m.test(text) ? [] : [`I${index + 1} is enforced nowhere`]),
      ...(/^Proved by `/m.test(text) ? [] : [`I${index + 1} is proved by nothing`])
    ]))
  })

  it("names tests that there are", () => {
    none(invariants.flatMap((text) => {
      const proved = text.slice(text.indexOf("Proved by")).split("\n\n")[0]!.replace(/\s+/g, " ")
      return [...proved.matchAll(/`(test\/[^`]+)`: ([^`]+)/g)].flatMap(([, path, titles]) => {
        const file = read(path!)
        return [...titles!.matchAll(/"([^"]+)"/g)].map((title) => title[1]!)
          .filter((title) => !file.includes(`"${title}"`))
          .map((title) => `${path}: ${title}`)
      })
    }))
  })
})

describe("every page", () => {
  it("names files that there are", () => {
    none(
      pages.flatMap(({ name, text }) =>
        [...text.matchAll(/(?:`|\]\()((?:src|test|sql|programs|services|domain)\/[\w./-]*|[A-Z]+\.md)(?=[`)#])/g)]
          .map((match) => match[1]!)
          .filter((path) => !isNext(path))
          .filter((path) => !Fs.existsSync(Path.join(root, path)) && !Fs.existsSync(Path.join(root, "src", path)))
          .map((path) => `${name}: ${path}`)
      )
    )
  })

  it("links to pages and sections that there are", () => {
    const anchorsOf = (text: string) => [...text.matchAll(/^#+ (.+)$/gm)].map((match) => anchorOf(match[1]!))
    none(
      pages.flatMap(({ name, text }) =>
        [...text.matchAll(/\]\(((?!https?:)[^)#\s]*)(?:#([^)]+))?\)/g)].flatMap(([link, to, anchor]) => {
          const path = to === "" ? name : Path.join(Path.dirname(name), to!)
          if (!Fs.existsSync(Path.join(root, path))) return [`${name}: ${link} leads nowhere`]
          return anchor === undefined || anchorsOf(read(path)).includes(anchor)
            ? []
            : [`${name}: ${link} has no such section`]
        })
      )
    )
  })

  it("holds no path of a machine, and no secret", () => {
    none(
      pages.flatMap(({ name, text }) =>
        text.split("\n").flatMap((line, i) =>
          /(^|[\s`"'(])\/(?!tmp\/logs\/)[A-Za-z]+\/[\w.-]/.test(line) ||
            /postgres(ql)?:\/\/(?!user:password@)/.test(line)
            ? [`${name}:${i + 1}: ${line}`]
            : []
        )
      )
    )
  })
})

/** The example of the next migration. */
const isNext = (path: string): boolean => path === "sql/0007_what_it_does.sql"

/** As GitHub makes them. */
const anchorOf = (heading: string): string =>
  heading.toLowerCase().replace(/[^\p{L}\p{N}\s-]/gu, "").trim().replaceAll(" ", "-")
