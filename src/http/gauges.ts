/** What is known of both databases, as measures: what the last cycles knew, for nobody is asked anything. Pure. */
import type { Side } from "../domain/Side.ts"
import { sides } from "../domain/Side.ts"
import { isElsewhere } from "../domain/Summary.ts"
import type { Observed } from "../programs/Observer.ts"
import type { Paused } from "../programs/pass.ts"
import type { TableStatus } from "../programs/status.ts"
import type { Traffic } from "../services/Database.ts"
import type { Family, Sample } from "./prometheus.ts"

export interface Known {
  readonly observed: Observed
  readonly traffic: Readonly<Record<Side, Traffic>>
  readonly nowMs: number
  readonly version: string
}

/** In this order. What isn't known yet is left out. */
export const gauges = ({ nowMs, observed, traffic, version }: Known): ReadonlyArray<Family> => [
  gauge("vaivem_info", "The version that runs.", [{ labels: { version }, value: 1 }]),
  gauge("vaivem_cycle_running", "Whether a cycle is under way.", [one(observed.runningSinceMs === null ? 0 : 1)]),
  gauge(
    "vaivem_cycle_failures",
    "Cycles that failed since the last one that got through.",
    [one(observed.failures)]
  ),
  gauge(
    "vaivem_last_cycle_timestamp_seconds",
    "When the last cycle that got through ended, or another copy's was left to it.",
    known(observed.passed?.endedMs).map((ms) => one(ms / 1000))
  ),
  gauge(
    "vaivem_next_cycle_timestamp_seconds",
    "When the next cycle is due; left out while one is under way.",
    known(observed.nextMs).map((ms) => one(ms / 1000))
  ),
  gauge(
    "vaivem_lag_seconds",
    "How old a change of that side can be that is not on the other yet, at most.",
    sides.flatMap((from) => known(lagMs(observed, from, nowMs)).map((ms) => ({ labels: { from }, value: ms / 1000 })))
  ),
  gauge(
    "vaivem_pending_rows",
    "Keys with changes that were not on the other side, when a cycle looked last; quarantine too.",
    perSide(observed, "from", ({ pending }) => pending)
  ),
  gauge(
    "vaivem_quarantined_rows",
    "Of those, keys that the other side refused.",
    perSide(observed, "from", ({ quarantined }) => quarantined)
  ),
  gauge(
    "vaivem_unrestored_conflicts",
    "Versions that lost on that side, are kept there, and were not brought back.",
    perSide(observed, "side", ({ unrestored }) => unrestored)
  ),
  gauge("vaivem_table_rows", "Rows of the table.", perSide(observed, "side", ({ rows }) => rows)),
  gauge(
    "vaivem_proven_rows",
    "Rows that the rolling proof found equal on both sides.",
    tables(observed).flatMap(({ proven, table }) => proven === null ? [] : [{ labels: { table }, value: proven.rows }])
  ),
  gauge(
    "vaivem_unproven_rows",
    "Keys that the rolling proof could not find equal.",
    tables(observed).flatMap(({ proven, table }) =>
      proven === null
        ? []
        : [{ labels: { table }, value: Object.values(proven.unproven).reduce((sum, n) => sum + n, 0) }]
    )
  ),
  gauge(
    "vaivem_differing_rows",
    "Rows that the rolling proof found different although nothing was on its way, until a round of it finds none.",
    [...observed.differing].map(([table, value]) => ({ labels: { table }, value }))
  ),
  gauge(
    "vaivem_table_waits",
    "1 for a table that waits for a person: held by the brake, paused because it doesn't fit, or by-hand.",
    [...new Map(observed.paused.map((paused) => [`${whyOf(paused)} ${paused.table}`, paused])).values()].map(
      (paused) => ({ labels: { table: paused.table, why: whyOf(paused) }, value: 1 })
    )
  ),
  gauge(
    "vaivem_database_up",
    "Whether that database could be used when a cycle needed it last.",
    sides.flatMap((side) => known(isUp(observed, side)).map((up) => ({ labels: { side }, value: up ? 1 : 0 })))
  ),
  gauge(
    "vaivem_clock_offset_seconds",
    "That server's clock less ours, good to about half the round trip.",
    perHello(observed, ({ clockOffsetMs }) => clockOffsetMs / 1000)
  ),
  gauge(
    "vaivem_round_trip_seconds",
    "One question and its answer, on an open connection.",
    perHello(observed, ({ latencyMs }) => latencyMs / 1000)
  ),
  {
    name: "vaivem_bytes_total",
    help: "Bytes from and to that database, as the network has them, since this process started.",
    type: "counter",
    samples: sides.flatMap((side) => [
      { labels: { side, direction: "in" }, value: traffic[side].bytesIn },
      { labels: { side, direction: "out" }, value: traffic[side].bytesOut }
    ])
  },
  gauge(
    "vaivem_look_timestamp_seconds",
    "When rows, pending changes, quarantine and conflicts were counted.",
    known(observed.look?.atMs).map((ms) => one(ms / 1000))
  )
]

/**
 * Milliseconds. A cycle moves what was there when it began, but for what it left pending: so nothing is older than
 * the older of the two. Null before the first cycle, and where another copy does the work.
 */
export const lagMs = ({ look, passed }: Observed, side: Side, nowMs: number): number | null => {
  if (passed === null || isElsewhere(passed)) return null
  const oldestMs = (look?.status.tables ?? []).flatMap(({ [side]: on }) =>
    on?.oldestPendingSeconds == null ? [] : [look!.atMs - on.oldestPendingSeconds * 1000]
  )
  return Math.max(0, nowMs - Math.min(passed.startedMs, ...oldestMs))
}

/** Null when nobody has tried yet. */
export const isUp = ({ error, last, look }: Observed, side: Side): boolean | null => {
  if (error?.side === side) return false
  if (look === null) return last === null || last.outcome === "failed" ? null : true
  return !look.status.unreachable.some((it) => it.side === side) || look.atMs < (last?.startedMs ?? 0)
}

const gauge = (name: string, help: string, samples: ReadonlyArray<Sample>): Family => ({
  name,
  help,
  type: "gauge",
  samples
})

/** `by-hand`: a person paused it. */
export const whyOf = ({ byHand, held }: Paused): "held" | "paused" | "by-hand" =>
  byHand !== undefined ? "by-hand" : held === true ? "held" : "paused"

const one = (value: number): Sample => ({ labels: {}, value })

const known = <A>(value: A | null | undefined): ReadonlyArray<A> => value == null ? [] : [value]

const tables = ({ look }: Observed) => look?.status.tables ?? []

const perSide = (
  observed: Observed,
  label: "from" | "side",
  of: (on: TableStatus) => number | null
): ReadonlyArray<Sample> =>
  tables(observed).flatMap(({ table, ...on }) =>
    sides.flatMap((side) =>
      known(on[side]).flatMap((it) => known(of(it)).map((value) => ({ labels: { table, [label]: side }, value })))
    )
  )

const perHello = (
  { look }: Observed,
  of: (hello: { readonly clockOffsetMs: number; readonly latencyMs: number }) => number
): ReadonlyArray<Sample> =>
  sides.flatMap((side) => known(look?.hello[side]).map((hello) => ({ labels: { side }, value: of(hello) })))
