/**
 * What a schedule makes a database cost that sleeps when nobody asks it anything. Estimates: hours are those that the sync
 * alone keeps it awake, and nobody else's; no I/O.
 *
 * The rule: a visit wakes it, and it stays awake for five minutes after. So pauses of five minutes and less keep it awake
 * all the time, and longer ones for five minutes each.
 */
import { amount, bytes, count, duration } from "./Quantity.ts"

/** Neon suspends a compute after five minutes without activity: its default, and fixed on the free plan. */
export const sleepsAfterMs = 300_000

/** When the service visits both sides. */
export type Plan =
  /** So long after each visit. */
  | { readonly _tag: "Spaced"; readonly intervalMs: number }
  /** Less and less often while there is nothing to do on external: its longest pause. */
  | { readonly _tag: "Eco"; readonly maxIntervalMs: number }
  /** It listens on both sides all the time. */
  | { readonly _tag: "Live"; readonly intervalMs: number }

/** What idle visits cost in a month of 730 hours. */
export interface Bill {
  readonly visits: number
  readonly awakeHours: number
  /** Of a compute of a quarter of a CU, Neon's smallest. */
  readonly cuHours: number
  /** Both ways. */
  readonly bytes: number
}

export const billOf = (plan: Plan): Bill => {
  const pauseMs = plan._tag === "Eco" ? plan.maxIntervalMs : plan.intervalMs
  const visits = monthMs / pauseMs
  const awakeMs = plan._tag === "Live" ? monthMs : visits * Math.min(pauseMs, sleepsAfterMs)
  return {
    visits: Math.round(visits),
    awakeHours: awakeMs / hourMs,
    cuHours: (awakeMs / hourMs) * smallestCu,
    bytes: Math.round(visits) * idleVisitBytes
  }
}

/** What the plan costs, and what eco would; a sentence each. `sleeps`: whether the database is one that does. */
export const billText = (plan: Plan, sleeps: boolean, ecoMaxMs: number): string => {
  const own = billOf(plan)
  const eco = billOf({ _tag: "Eco", maxIntervalMs: ecoMaxMs })
  const moved = `${amount(own.visits, "visit")} and about ${bytes(own.bytes)} a month`
  if (!sleeps) return `External is not known to sleep; without changes: ${moved}.`
  const now = `External sleeps after ${duration(sleepsAfterMs)}. ${what(plan)} ${
    own.awakeHours > 0.99 * (monthMs / hourMs) ? "keeps it awake all month" : `keeps it awake ${hours(own)} a month`
  }: about ${cu(own)} at ${smallestCu} CU (Neon's free plan has ${freeCuHours}), ${moved}.`
  return plan._tag === "Eco"
    ? `${now} Changes add to that: up to ${duration(sleepsAfterMs)} each.`
    : `${now} SYNC_SCHEDULE=eco: about ${cu(eco)} without changes, and up to ${duration(sleepsAfterMs)} for each.`
}

const what = (plan: Plan): string => {
  switch (plan._tag) {
    case "Live":
      return "SYNC_LIVE"
    case "Eco":
      return `A visit every ${duration(plan.maxIntervalMs)} when nothing changes`
    case "Spaced":
      return `A visit every ${duration(plan.intervalMs)}`
  }
}

const hours = ({ awakeHours }: Bill): string => amount(Math.round(awakeHours), "hour")
const cu = ({ cuHours }: Bill): string => `${count(Math.round(cuHours))} CU-hours`

const hourMs = 3_600_000
const monthMs = 730 * hourMs
const smallestCu = 0.25
const freeCuHours = 100
/** One connection without TLS, one question and its answer: measured with one table (test/pg/bills.test.ts). */
const idleVisitBytes = 1_700
