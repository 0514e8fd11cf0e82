/** What visits to the databases cost: counted on the sockets, kept on Replit's side. */
import { Effect } from "effect"
import { sleepsAfterMs } from "../../domain/bill.ts"
import type { Side } from "../../domain/Side.ts"
import type { Metering, Spent } from "../Database.ts"
import type { PgSession, Row } from "./PgSession.ts"

/** The part of `Database` that counts. */
export const make = (session: PgSession): Metering => ({
  traffic: session.traffic,

  disconnect: session.disconnect,

  bill: Effect.gen(function*() {
    const there = yield* session.query("select to_regclass('vaivem.traffic') is not null as there")
    if (there[0]?.there !== "t") return null
    const rows = yield* session.query(thisMonth, [sleepsAfterMs])
    const of = (side: Side) => spentOf(rows.find((row) => row.side === side))
    return { replit: of("replit"), external: of("external") }
  })
})

/** Awake since the last visit too, up to now. */
const thisMonth = `select t.side, t.visits, t.bytes_in, t.bytes_out,
    t.awake_ms + least($1::bigint, floor(extract(epoch from clock_timestamp() - t.visited_at) * 1000)::bigint) as awake_ms
  from vaivem.traffic t where t.month = date_trunc('month', clock_timestamp() at time zone 'UTC')::date`

const spentOf = (row: Row | undefined): Spent => ({
  visits: Number(row?.visits ?? 0),
  awakeMs: Number(row?.awake_ms ?? 0),
  bytesIn: Number(row?.bytes_in ?? 0),
  bytesOut: Number(row?.bytes_out ?? 0)
})
