/** Texts of values that a column may take: from the wild, or like one that is there already. */
import type { Dice } from "./Dice.ts"
import type { SampleColumn } from "./SampleSchema.ts"

/**
 * A new value's text for the column. `example` is another row's, or null; a type that is not known here takes that one's.
 */
export const valueFor = (dice: Dice, column: SampleColumn, example: string | null): string | null => {
  const make = column.labels.length > 0 ? () => dice.pick(column.labels) : makers[column.type]
  if (make === undefined) return example
  return column.isArray ? arrayOf(dice, column, make) : make(dice, column, example)
}

/**
 * Like the example in its form: digits for digits, letters for letters. So a document's number still looks like one, and an
 * address has its @.
 */
export const resembling = (dice: Dice, example: string): string =>
  example.replace(/[0-9a-zA-Z]/g, (char) =>
    /[0-9]/.test(char)
      ? String(dice.whole(10))
      : dice.pick([.../[a-z]/.test(char) ? "abcdefghijklmnopqrstuvwxyz" : "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]))

type Maker = (dice: Dice, column: SampleColumn, example: string | null) => string

const wild = [
  "",
  " ",
  "ção à vista",
  "São João d'El-Rei",
  "日本語",
  "😀 emoji 👩‍👩‍👧",
  "tab\there",
  "line\nbreak",
  "back\\slash \\N \\.",
  "\"quoted\", 'too'",
  "null",
  "NULL",
  "\\N",
  "{a,b}",
  "%s $1 ${x}",
  "a\u00a0b",
  "e\u0301"
]

const text: Maker = (dice, { length }, example) => {
  const value = example !== null && example !== "" && dice.chance(0.6)
    ? resembling(dice, example)
    : dice.chance(0.5)
    ? dice.pick(wild)
    : dice.chance(0.1)
    ? "long ".repeat(dice.whole(600))
    : words(dice)
  return length === null ? value : [...value].slice(0, length).join("")
}

const words = (dice: Dice) => resembling(dice, dice.pick(["abcdef", "Abc defghi", "abc-123", "ABCDE99"]))

const integer = (max: number): Maker => (dice, _, example) => {
  if (dice.chance(0.05)) return dice.pick(["0", "-1", String(max), String(-max)])
  if (example !== null && dice.chance(0.7)) return String(Math.min(max, Math.abs(Number(example)) + dice.whole(5)))
  return String(dice.whole(Math.min(max, 30_000)))
}

const numeric: Maker = (dice, { precision, scale }, example) => {
  const digits = scale ?? 4
  const whole = Math.min(6, (precision ?? 9) - digits)
  if (precision === null && dice.chance(0.1)) return dice.pick(["NaN", "0.000", "1e30", "-12345678901234567890.12345"])
  if (example !== null && dice.chance(0.3)) return example
  const value = `${dice.whole(10 ** Math.max(whole, 0))}`
  return digits === 0 ? value : `${value}.${String(dice.whole(10 ** digits)).padStart(digits, "0")}`
}

const float: Maker = (dice, _, example) =>
  dice.chance(0.1)
    ? dice.pick(["NaN", "Infinity", "-Infinity", "-0", "0.1", "3.4e38", "1e-30"])
    : example !== null && dice.chance(0.5)
    ? example
    : `${dice.whole(100_000)}.${dice.whole(1000)}`

const pad = (value: number, digits = 2) => String(value).padStart(digits, "0")

/** Between the years of the example, or near it: partitions and checks of dates bound many columns. */
const date: Maker = (dice, _, example) => {
  const year = example === null ? 1990 + dice.whole(40) : Number.parseInt(example) || 2000
  const month = example === null || dice.chance(0.5) ? 1 + dice.whole(12) : Number.parseInt(example.slice(5, 7)) || 1
  return `${pad(year, 4)}-${pad(month)}-${pad(1 + dice.whole(28))}`
}

const timestamp: Maker = (dice, column, example) =>
  `${date(dice, column, example)} ${pad(dice.whole(24))}:${pad(dice.whole(60))}:${pad(dice.whole(60))}.${
    pad(dice.whole(1_000_000), 6)
  }`

const json: Maker = (dice) =>
  dice.pick([
    () => "{}",
    () => `{"a": ${dice.whole(100)}, "b": "ção \\u00e9 \\"x\\"", "c": [1, null, true]}`,
    () => `{"b":1.50,  "a":{"n":1e2}}`,
    () => `[${dice.whole(9)}, "x"]`
  ])()

const uuid: Maker = (dice) => resemblingHex(dice, "00000000-0000-4000-8000-000000000000")

const resemblingHex = (dice: Dice, form: string) => form.replace(/0/g, () => dice.whole(16).toString(16))

const makers: Readonly<Record<string, Maker>> = {
  text,
  "character varying": text,
  character: text,
  citext: text,
  smallint: integer(32_767),
  integer: integer(2_147_483_647),
  bigint: integer(9_007_199_254_740_991),
  numeric,
  money: (dice) => `${dice.whole(10_000)}.${pad(dice.whole(100))}`,
  real: float,
  "double precision": float,
  boolean: (dice) => dice.pick(["true", "false"]),
  date,
  "timestamp without time zone": timestamp,
  "timestamp with time zone": (dice, column, example) =>
    `${timestamp(dice, column, example)}${dice.pick(["+00", "-03", "+05:30"])}`,
  "time without time zone": (dice) => `${pad(dice.whole(24))}:${pad(dice.whole(60))}:${pad(dice.whole(60))}`,
  interval: (dice) => `${dice.whole(10)} mons ${dice.whole(40)} days ${dice.whole(90_000)} secs`,
  uuid,
  json,
  jsonb: json,
  bytea: (dice) => `\\x${resemblingHex(dice, "00".repeat(dice.whole(40)))}`,
  tsvector: (dice) => `'${words(dice)}':${1 + dice.whole(9)}A,12 'fim':3`,
  inet: (dice) => `10.${dice.whole(256)}.${dice.whole(256)}.0/24`,
  int4range: (dice) => {
    const from = dice.whole(20_000)
    return `[${from},${from + 1 + dice.whole(60)})`
  }
}

const arrayOf = (dice: Dice, column: SampleColumn, make: Maker): string => {
  const values = Array.from(
    { length: dice.whole(4) },
    () => dice.chance(0.1) ? "NULL" : `"${make(dice, column, null).replace(/["\\]/g, "\\$&")}"`
  )
  return `{${values.join(",")}}`
}
