/**
 * How things stand, as the page shows it and `/api/status` answers: what the process knows of its cycles and of both
 * databases. Times are milliseconds since 1970 by the service's clock, so that a reader can tell how old everything is.
 */
import { DateTime, Duration, Schema } from "effect"
import { sleepsAfterMs } from "../domain/bill.ts"
import type { Side } from "../domain/Side.ts"
import type { EndedCycle, Observed } from "../programs/Observer.ts"
import { sleeps } from "../programs/planned.ts"
import type { Traffic } from "../services/Database.ts"
import type { SyncConfig } from "../services/SyncConfig.ts"
import { isUp, lagMs, whyOf } from "./gauges.ts"

const Count = Schema.NullOr(Schema.Number)
const BySide = Schema.Struct({ replit: Count, external: Count })
const Outcome = Schema.Literal("idle", "moved", "not-due", "standby", "failed")

const DatabaseView = Schema.Struct({
  /** As `check` calls it; null before it was asked. */
  kind: Schema.NullOr(Schema.String),
  version: Schema.NullOr(Schema.String),
  database: Schema.NullOr(Schema.String),
  tls: Schema.NullOr(Schema.Boolean),
  /** Whether it could be used when a cycle needed it last. */
  up: Schema.NullOr(Schema.Boolean),
  problem: Schema.NullOr(Schema.String),
  latencyMs: Count,
  clockOffsetMs: Count,
  /** Estimated, by the time of the last visit; `always` is one that isn't known to sleep. */
  awake: Schema.Literal("always", "awake", "asleep"),
  lagMs: Count,
  bytesIn: Schema.Number,
  bytesOut: Schema.Number
})

const TableView = Schema.Struct({
  table: Schema.String,
  rows: BySide,
  pending: BySide,
  quarantined: BySide,
  /** Versions that lost on that side, and that nobody has restored or kept so. */
  conflicts: BySide,
  proven: Schema.NullOr(Schema.Struct({
    rows: Schema.Number,
    of: Schema.Number,
    sinceMs: Schema.Number,
    unproven: Schema.Number
  })),
  /** Null when this process moved nothing of it yet. */
  movedAtMs: Count,
  waits: Schema.NullOr(Schema.Struct({ why: Schema.Literal("held", "paused", "by-hand"), problem: Schema.String }))
})

export const View = Schema.Struct({
  version: Schema.String,
  nowMs: Schema.Number,
  cycle: Schema.Struct({
    runningSinceMs: Count,
    nextMs: Count,
    last: Schema.NullOr(Schema.Struct({ endedMs: Schema.Number, durationMs: Schema.Number, outcome: Outcome })),
    /** When the newest of `/api/cycles` ended: what is shown may have passed over it. */
    newsMs: Count,
    failures: Schema.Number,
    error: Schema.NullOr(Schema.String),
    /** Trying again by itself doesn't mend the error. */
    needsPerson: Schema.Boolean
  }),
  schedule: Schema.Struct({
    kind: Schema.Literal("spaced", "eco"),
    live: Schema.Boolean,
    intervalMs: Schema.Number,
    maxIntervalMs: Schema.Number
  }),
  databases: Schema.Struct({ replit: DatabaseView, external: DatabaseView }),
  tables: Schema.Array(TableView),
  /** A person paused all of them. */
  allPaused: Schema.Boolean,
  /** When the tables were counted; null before the first cycle got through. */
  lookedAtMs: Count
})
export type View = typeof View.Type

const MovedView = Schema.Struct({
  inserted: Schema.Number,
  updated: Schema.Number,
  deleted: Schema.Number,
  conflicts: Schema.Number,
  quarantined: Schema.Number,
  bytes: Schema.Number
})

/** A cycle that moved something or failed. */
export const CycleView = Schema.Struct({
  startedMs: Schema.Number,
  endedMs: Schema.Number,
  durationMs: Schema.Number,
  outcome: Outcome,
  push: MovedView,
  pull: MovedView,
  error: Schema.NullOr(Schema.String)
})

export const cycleView = (cycle: EndedCycle): typeof CycleView.Type => cycle

export interface Known {
  readonly observed: Observed
  readonly traffic: Readonly<Record<Side, Traffic>>
  readonly config: SyncConfig["Type"]
  readonly nowMs: number
  readonly version: string
}

export const viewOf = (known: Known): View => {
  const { config, nowMs, observed, version } = known
  const { error, failures, last, look, movedAtMs, nextMs, paused, recent, runningSinceMs } = observed
  return {
    version,
    nowMs,
    cycle: {
      runningSinceMs,
      nextMs,
      last: last === null ? null : { endedMs: last.endedMs, durationMs: last.durationMs, outcome: last.outcome },
      newsMs: recent.at(-1)?.endedMs ?? null,
      failures,
      error: error?.message ?? null,
      needsPerson: error?.needsPerson ?? false
    },
    schedule: {
      kind: config.schedule,
      live: config.live,
      intervalMs: Duration.toMillis(config.interval),
      maxIntervalMs: Duration.toMillis(config.maxInterval)
    },
    databases: { replit: databaseOf("replit", known), external: databaseOf("external", known) },
    tables: (look?.status.tables ?? []).map(({ external, proven, replit, table }) => {
      const both = (of: (on: NonNullable<typeof replit>) => number | null) => ({
        replit: replit === null ? null : of(replit),
        external: external === null ? null : of(external)
      })
      const waits = paused.find((it) => it.table === table)
      return {
        table,
        rows: both(({ rows }) => rows),
        pending: both(({ pending }) => pending),
        quarantined: both(({ quarantined }) => quarantined),
        conflicts: both(({ undecided }) => undecided),
        proven: proven === null ? null : {
          rows: proven.rows,
          of: proven.of,
          sinceMs: DateTime.toEpochMillis(DateTime.unsafeMake(proven.since)),
          unproven: Object.values(proven.unproven).reduce((sum, n) => sum + n, 0)
        },
        movedAtMs: movedAtMs.get(table) ?? null,
        waits: waits === undefined ? null : { why: whyOf(waits), problem: waits.problem }
      }
    }),
    allPaused: paused.some(({ byHand }) => byHand === "all"),
    lookedAtMs: look?.atMs ?? null
  }
}

const databaseOf = (side: Side, { config, nowMs, observed, traffic }: Known): View["databases"][Side] => {
  const hello = observed.look?.hello[side] ?? null
  const unreachable = observed.look?.status.unreachable.find((it) => it.side === side)
  const up = isUp(observed, side)
  return {
    kind: hello?.kind ?? null,
    version: hello?.version ?? null,
    database: hello?.database ?? null,
    tls: hello?.tls ?? null,
    up,
    problem: up !== false
      ? null
      : observed.error?.side === side
      ? observed.error.message
      : unreachable?.message ?? null,
    latencyMs: hello?.latencyMs ?? null,
    clockOffsetMs: hello?.clockOffsetMs ?? null,
    awake: awakeness(sleeps(side === "replit" ? config.replitUrl : config.externalUrl), observed, nowMs),
    lagMs: lagMs(observed, side, nowMs),
    ...traffic[side]
  }
}

const awakeness = (canSleep: boolean, { last, runningSinceMs }: Observed, nowMs: number) => {
  if (!canSleep) return "always"
  return runningSinceMs !== null || (last !== null && nowMs - last.endedMs < sleepsAfterMs) ? "awake" : "asleep"
}
