/** Numbers as people read them: thousands, plurals, bytes, durations. Always in English, whatever the locale is. */

/** `12,345`. */
export const count = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ",")

/** `1 row`, `2 rows`; `many` where an s is not enough. */
export const amount = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`

/** `0 B`, `999 B`, `1.2 kB`, `34 MB`: two digits where they say something, powers of a thousand. */
export const bytes = (n: number): string => {
  const units = ["B", "kB", "MB", "GB", "TB"]
  let value = n
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** What `bytes` prints, as a person may write it: `20 MB`, `500kB`, `1.5 gb`. Null for anything else. */
export const parseBytes = (text: string): number | null => {
  const [, digits, unit] = /^(\d{1,9}(?:\.\d{1,3})?) *([kmgt]?b)$/.exec(text.trim().toLowerCase()) ?? []
  if (digits === undefined || unit === undefined) return null
  return Math.round(Number(digits) * 1000 ** ["b", "kb", "mb", "gb", "tb"].indexOf(unit))
}

/** `12 ms`, `1.3 s`, `5 s`, `4 min 5 s`, `2 h 3 min`, `5 d 4 h`. */
export const duration = (ms: number): string => {
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 9_950) return `${(ms / 1000).toFixed(1).replace(".0", "")} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const [big, bigUnit, small, smallUnit] = seconds < 3_600
    ? [60, "min", 1, "s"] as const
    : seconds < 86_400
    ? [3_600, "h", 60, "min"] as const
    : [86_400, "d", 3_600, "h"] as const
  const rest = Math.floor((seconds % big) / small)
  return `${Math.floor(seconds / big)} ${bigUnit}${rest === 0 ? "" : ` ${rest} ${smallUnit}`}`
}

/** `a`, `a and b`, `a, b and c`. */
export const list = (items: ReadonlyArray<string>): string =>
  items.length < 2 ? items.join() : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`
