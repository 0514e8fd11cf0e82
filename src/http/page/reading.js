/** How numbers and times read, in the browser's language and by the service's clock. */
import { locale } from "./texts.js"

let offsetMs = 0

/** The service says what time it has: the browser's clock may be off. */
export const setClock = (nowMs) => {
  offsetMs = nowMs - Date.now()
}

export const now = () => Date.now() + offsetMs

const whole = new Intl.NumberFormat(locale)
const clock = new Intl.DateTimeFormat(locale, { timeStyle: "medium" })
const day = new Intl.DateTimeFormat(locale, { dateStyle: "short", timeStyle: "medium" })

export const count = (n) => (n === null ? "?" : whole.format(n))
export const at = (ms) => (now() - ms < 43_200_000 ? clock : day).format(ms)

export const duration = (ms) => {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 10_000) return `${new Intl.NumberFormat(locale, { maximumFractionDigits: 1 }).format(ms / 1_000)} s`
  const seconds = Math.round(ms / 1_000)
  if (seconds < 60) return `${seconds} s`
  const [big, bigUnit, small, smallUnit] = seconds < 3_600
    ? [60, "min", 1, "s"]
    : seconds < 86_400
    ? [3_600, "h", 60, "min"]
    : [86_400, "d", 3_600, "h"]
  const rest = Math.floor((seconds % big) / small)
  return `${Math.floor(seconds / big)} ${bigUnit}${rest === 0 ? "" : ` ${rest} ${smallUnit}`}`
}

/** Whole seconds, so that it doesn't flicker. */
export const since = (ms) => duration(Math.max(1_000, 1_000 * Math.round((now() - ms) / 1_000)))

export const bytes = (n) => {
  const units = ["B", "kB", "MB", "GB", "TB"]
  const unit = n < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3))
  return `${new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 }).format(n / 1000 ** unit)} ${units[unit]}`
}
