/** How far something has come that a person waits for, and the line that says so. */
import { amount, count, duration } from "./Quantity.ts"

export interface Progress {
  /** What goes on, as `perfis to external`. */
  readonly what: string
  /** When it began, milliseconds. */
  readonly sinceMs: number
  /** Rows that are through, and of how many if that is known; null for what can't be counted. */
  readonly rows: { readonly done: number; readonly total: number | null } | null
}

/** `perfis to external: 1,250,000 of 5,000,000 rows, 25 %, 41,000 rows/s, about 1 min 30 s left`; or `Comparing perfis, 12 s`. */
export const progressText = ({ rows, sinceMs, what }: Progress, nowMs: number): string => {
  const tookMs = Math.max(1, nowMs - sinceMs)
  if (rows === null) return `${what}, ${duration(tookMs)}`
  const { done, total } = rows
  const rate = (done / tookMs) * 1000
  const speed = done === 0 ? [] : [`${count(rounded(rate))} rows/s`]
  if (total === null) return [`${what}: ${amount(done, "row")}`, ...speed].join(", ")
  // An app that goes on writing may have made them more.
  const all = Math.max(total, done)
  const left = done === 0 || done === all ? [] : [`about ${aboutTime(((all - done) / rate) * 1000)} left`]
  const percent = all === 0 ? 100 : Math.floor((done / all) * 100)
  return [`${what}: ${count(done)} of ${amount(all, "row")}`, `${percent} %`, ...speed, ...left].join(", ")
}

/** Two digits: more would only flicker. */
const rounded = (n: number): number => {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, n))) - 1)
  return Math.round(n / unit) * unit
}

/** Whole seconds up to ten, then five or, from a minute on, ten at a time. */
const aboutTime = (ms: number): string => {
  const seconds = Math.max(1, Math.round(ms / 1000))
  const step = seconds <= 10 ? 1 : seconds < 60 ? 5 : 10
  return duration(Math.round(seconds / step) * step * 1000)
}
