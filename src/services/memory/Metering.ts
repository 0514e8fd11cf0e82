/** What visits to a memory database cost: they are counted, but move no bytes. */
import { Effect } from "effect"
import { sleepsAfterMs } from "../../domain/bill.ts"
import { type Side, sides } from "../../domain/Side.ts"
import type { Metering, Spent, Visits } from "../Database.ts"
import type { Store } from "./Store.ts"
import { step } from "./Store.ts"
import { toIso } from "./Timestamp.ts"

/** What was noted in a month. */
export interface Noted extends Spent {
  /** As `2024-05`. */
  readonly month: string
  readonly visitedAtUs: bigint
}

export const make = (store: Store): Metering => ({
  traffic: Effect.succeed({ bytesIn: 0, bytesOut: 0 }),
  disconnect: Effect.void,
  bill: step(store, (nowUs) => {
    if (!store.installed) return null
    const of = (side: Side): Spent => {
      const noted = store.traffic.get(side)
      if (noted === undefined || noted.month !== monthOf(nowUs)) {
        return { visits: 0, awakeMs: 0, bytesIn: 0, bytesOut: 0 }
      }
      const { awakeMs, bytesIn, bytesOut, visits, visitedAtUs } = noted
      return { visits, awakeMs: awakeMs + awakeSince(visitedAtUs, nowUs), bytesIn, bytesOut }
    }
    return { replit: of("replit"), external: of("external") }
  })
})

export const noteTraffic = (store: Store, spent: Readonly<Record<Side, Visits>>, nowUs: bigint): void => {
  for (const side of sides) {
    const before = store.traffic.get(side)
    const { bytesIn, bytesOut, visits } = spent[side]
    const awakeMs = before === undefined ? 0 : awakeSince(before.visitedAtUs, nowUs)
    const month = monthOf(nowUs)
    const sum = before?.month === month ? before : { visits: 0, awakeMs: 0, bytesIn: 0, bytesOut: 0 }
    store.traffic.set(side, {
      month,
      visitedAtUs: nowUs,
      visits: sum.visits + visits,
      awakeMs: sum.awakeMs + awakeMs,
      bytesIn: sum.bytesIn + bytesIn,
      bytesOut: sum.bytesOut + bytesOut
    })
  }
}

const awakeSince = (visitedAtUs: bigint, nowUs: bigint): number =>
  Math.min(sleepsAfterMs, Number((nowUs - visitedAtUs) / 1000n))

const monthOf = (us: bigint): string => toIso(us).slice(0, 7)
