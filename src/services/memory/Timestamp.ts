/** Points in time as the memory form counts them (whole microseconds since 1970) and as PostgreSQL prints them in UTC. */
import { DateTime, Option } from "effect"

/** What `infinity` is clamped to; `-infinity` is its negative. */
export const infinity = 2n ** 63n - 1n

/** Text of a `timestamptz`, e.g. `2024-01-01 00:00:00.123456+00`; of a `timestamp` when `zone` is empty. */
export const print = (us: bigint, zone: "+00" | "" = "+00"): string => {
  if (us >= infinity) return "infinity"
  if (us <= -infinity) return "-infinity"
  const text = isoSeconds(us).replace("T", " ")
  const fraction = `${fractionOf(us)}`.padStart(6, "0").replace(/0+$/, "")
  return fraction === "" ? `${text}${zone}` : `${text}.${fraction}${zone}`
}

/** Reads a `timestamptz`, or a `timestamp` as UTC; null when the text is neither. */
export const parse = (text: string): bigint | null => {
  if (text === "infinity") return infinity
  if (text === "-infinity") return -infinity
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:Z|([+-]\d\d)(?::?(\d\d))?)?$/.exec(text)
  if (match === null) return null
  const [, date, time, fraction = "", hours = "+00", minutes = "00"] = match
  return DateTime.make(`${date}T${time}${hours}:${minutes}`).pipe(
    Option.map((at) => BigInt(DateTime.toEpochMillis(at)) * 1000n + BigInt(fraction.padEnd(6, "0"))),
    Option.getOrNull
  )
}

/** ISO 8601, for what the contract shows to people. */
export const toIso = (us: bigint): string =>
  us >= infinity ? "9999-12-31T23:59:59.999999Z" : `${isoSeconds(us)}.${`${fractionOf(us)}`.padStart(6, "0")}Z`

const isoSeconds = (us: bigint): string =>
  DateTime.formatIso(DateTime.unsafeMake(Number((us - fractionOf(us)) / 1000n))).slice(0, 19)

const fractionOf = (us: bigint): bigint => ((us % million) + million) % million

const million = 1_000_000n
