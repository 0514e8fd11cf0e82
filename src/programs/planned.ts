/** What the schedule of the settings will cost, in sentences. */
import { Duration } from "effect"
import { billText, type Plan } from "../domain/bill.ts"
import type { ConnectionTarget } from "../domain/ConnectionTarget.ts"
import type { SyncConfig } from "../services/SyncConfig.ts"

export const planned = (config: SyncConfig["Type"]): string =>
  billText(planOf(config), sleeps(config.externalUrl), Duration.toMillis(config.maxInterval))

const planOf = ({ interval, live, maxInterval, schedule }: SyncConfig["Type"]): Plan => {
  if (live) return { _tag: "Live", intervalMs: Duration.toMillis(interval) }
  return schedule === "eco"
    ? { _tag: "Eco", maxIntervalMs: Duration.toMillis(Duration.max(maxInterval, interval)) }
    : { _tag: "Spaced", intervalMs: Duration.toMillis(interval) }
}

/** Neon's do, unless somebody paid for more; of others nobody knows. */
export const sleeps = ({ kind }: ConnectionTarget): boolean => kind === "neon-direct" || kind === "neon-pooled"
