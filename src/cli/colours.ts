/**
 * Colours for what people read. They repeat what the words say. Whoever prints takes them out again where nobody sees
 * them or wants them: `withPlainConsole`.
 */
import * as Ansi from "@effect/printer-ansi/Ansi"
import { Config, Effect, Option } from "effect"

/** Paints the headings of a text, and the words in it that tell of a problem or of none. */
export const coloured = (text: string): string => {
  const lines = text.split("\n")
  return lines.map((line, index) =>
    isHeading(line, lines[index + 1])
      ? paint(Ansi.bold)(line)
      : line.replace(bad, paint(Ansi.red)).replace(doubtful, paint(Ansi.yellow)).replace(good, paint(Ansi.green))
  ).join("\n")
}

/** What a sign marks already. */
export const highlighted = (text: string): string => paint(Ansi.yellow)(text)

/** Whether NO_COLOR is set, to whatever it may be. */
export const isColourless: Effect.Effect<boolean> = Effect.map(
  Effect.option(Config.nonEmptyString("NO_COLOR")),
  Option.isSome
)

/** The first line of a table, and the titles of the parts of `check`. */
const isHeading = (line: string, next: string | undefined): boolean =>
  (next !== undefined && /^-[- ]*-$/.test(next)) || /^(Replit \(|External \(|Tables$|Both$|SQL that )/.test(line)

// As they are printed, where they are printed: no word of a row's values begins a line or follows a table's name.
const bad = new RegExp([
  "^ *PROBLEM:",
  "^\\d+ problems? to solve\\.",
  "^Could not be asked:",
  "(?<=^[^:]+: )DIFFERENT",
  "\\bfailed(?=: )",
  "^Last failure:",
  "^ +refused:",
  "^Refused"
].join("|"))
const doubtful = /^ *note:|(?<=^[^:]+: )not (proven|compared)|^[\d,]+ rows? in quarantine:|(?<=^\S+ )is held/
const good = /^Ready: no problems\.|(?<=^[^:]+: )(equal|fits)|\bok$|^Done|^No conflicts\.|^Nothing in quarantine\./

const paint = (colour: Ansi.Ansi) => (text: string): string => `${Ansi.stringify(colour)}${text}\u001b[0m`
