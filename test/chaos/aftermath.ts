/** What is looked at when all trouble has ended: first it may settle, then every promise is checked by queries of our own. */
import { Effect } from "effect"
import { sides } from "../../src/domain/Side.ts"
import { query } from "../support/TestClient.ts"
import { type Arena, contentOf, type Member, onEach, type TableName, tableNames, tables } from "./Arena.ts"
import type { Chronicle } from "./Chronicle.ts"
import { type Found, type Journaled, problemsOf, type Written } from "./History.ts"
import { once } from "./lives.ts"
import type { Acknowledged } from "./writers.ts"

/** Runs cycles until nothing moves, and some more; returns what is wrong. */
export const aftermath = Effect.fn("aftermath")(function*(
  arena: Arena,
  acknowledged: ReadonlyArray<Acknowledged>,
  chronicle: Chronicle
) {
  const problems: Array<string> = []
  const look = Effect.gen(function*() {
    const both = yield* onEach(arena, (member) => query<Standing>(member.url, standing))
    return { replit: both.replit[0]!, external: both.external[0]! }
  })
  let [quiet, before] = [0, yield* look]
  for (let cycles = 0; quiet < quietCycles; cycles++) {
    if (cycles === cyclesMax) {
      problems.push(`It does not settle in ${cyclesMax} cycles: ${JSON.stringify(before)}.`)
      break
    }
    const { code, err } = yield* once(arena, "--once")
    if (code !== 0 && code !== 3) problems.push(`--once ended with ${code}: ${err.slice(-1500)}`)
    const after = yield* look
    yield* chronicle.tell(`a cycle: ${JSON.stringify(after)}`)
    const isQuiet = JSON.stringify(after) === JSON.stringify(before) && sides.every((side) => after[side].pending === 0)
    if (!isQuiet && quiet > 0) problems.push("A cycle moves rows although nobody writes and nothing was pending.")
    quiet = isQuiet ? quiet + 1 : 0
    if (cycles > 2 && sides.some((side) => after[side].quarantined > 0)) yield* giveWay(arena, chronicle)
    before = yield* look
  }
  const verified = yield* once(arena, "verify")
  if (verified.code !== 0) problems.push(`verify ended with ${verified.code}: ${verified.out.slice(-1500)}`)

  const rows = yield* onEach(arena, rowsOf)
  for (const [key, replit] of rows.replit) {
    const external = rows.external.get(key)
    if (external?.text !== replit.text) {
      problems.push(`${key} differs: ${replit.text} and ${external?.text ?? "nothing"}.`)
    }
  }
  for (const key of rows.external.keys()) {
    if (!rows.replit.has(key)) problems.push(`${key} is on external only.`)
  }

  const records = yield* onEach(arena, recordsOf)
  const written = [...records.replit, ...records.external].toSorted((a, b) => a.commitUs - b.commitUs || a.n - b.n)
  const known = new Set(written.map(({ newToken, side, table }) => `${side} ${table} ${newToken}`))
  for (const { side, table, token } of acknowledged) {
    if (!known.has(`${side} ${table} ${token}`)) {
      problems.push(`${side} forgot ${table} ${token}, which it had committed.`)
    }
  }
  const journal = yield* onEach(arena, journalOf)
  const found = { replit: [...rows.replit.values()], external: [...rows.external.values()] }
  const { invented, lost } = problemsOf(written, found, [...journal.replit, ...journal.external])
  const together = overlaps(written)
  yield* chronicle.count("rows written by apps", written.filter(({ byService }) => !byService).length)
  yield* chronicle.count("rows written by the service", written.filter(({ byService }) => byService).length)
  yield* chronicle.count("writes acknowledged to apps", acknowledged.length)
  yield* chronicle.count("conflicts journaled", journal.replit.length + journal.external.length)
  yield* chronicle.count("rows at the end", rows.replit.size)
  yield* chronicle.count("versions lost", lost.length)
  yield* chronicle.count("rows invented", invented.length)
  yield* chronicle.count("transactions of two instances at once", together.length)
  return [...problems, ...lost, ...invented, ...together]
})

interface Standing {
  readonly written: number
  readonly pending: number
  readonly quarantined: number
}

const standing = `select (select count(*) from chaos.written where by = 'vaivem') as written,
  ${tableNames.map((table) => `(select count(*) from ${table}_changelog where not synced)`).join(" + ")} as pending,
  (select count(*) from vaivem.quarantine) as quarantined`

/** What an app does whose row the other side refuses: it gives the value up that is taken there, or the row. */
const giveWay = Effect.fn("giveWay")(function*(arena: Arena, chronicle: Chronicle) {
  for (const side of sides) {
    const held = yield* query<{ table_name: TableName; key: string; message: string }>(
      arena[side].url,
      "select table_name, array_to_string(key, ',') as key, message from vaivem.quarantine"
    )
    for (const { key, message, table_name: table } of held) {
      yield* chronicle.tell(`${side}: gives way with ${table} ${key}: ${message}`)
      const keyOf = tables[table].key.join(" || ',' || ")
      yield* query(
        arena[side].url,
        `set application_name = 'app'; ${
          table === "perfis"
            ? `update perfis set email = null, nome = nome || '!' where id = '${key}'`
            : `delete from ${table} where ${keyOf} = '${key}'`
        }`
      )
    }
  }
})

interface Row extends Found {
  readonly text: string
}

const rowsOf = Effect.fnUntraced(function*({ url }: Member) {
  const rows = new Map<string, Row>()
  for (const table of tableNames) {
    const { key, token } = tables[table]
    const found = yield* query<Omit<Row, "table">>(
      url,
      `select ${key.join(" || ',' || ")} as key, ${token} as token, t::text as text, ${contentOf(table, "t")} as content
       from ${table} t`
    )
    for (const row of found) rows.set(`${table} ${row.key}`, { ...row, table, key: String(row.key) })
  }
  return rows
})

interface Recorded extends Written {
  readonly n: number
  readonly xid: string
  /** When the row was written and when that was committed, in microseconds. */
  readonly atUs: number
  readonly commitUs: number
  readonly address: string
}

const recordsOf = ({ side, url }: Member) =>
  Effect.map(
    query<Omit<Recorded, "side">>(
      url,
      `select n, xid::text as xid, by = 'vaivem' as "byService", address, tab as table, old_key as "oldKey",
         new_key as "newKey", old_token as "oldToken", new_token as "newToken", content,
         (extract(epoch from at) * 1e6)::bigint as "atUs",
         (extract(epoch from pg_xact_commit_timestamp(xid::xid)) * 1e6)::bigint as "commitUs"
       from chaos.written`
    ),
    (rows) => rows.map((row): Recorded => ({ ...row, side }))
  )

const journalOf = ({ url }: Member) =>
  Effect.map(
    query<Journaled>(
      url,
      `select table_name as table, array_to_string(key, ',') as key, lost ->> case table_name when 'perfis' then 'nome'
         else 'texto' end as token from vaivem.conflicts`
    ),
    (rows) => rows
  )

/** Committed transactions in which different processes of the service wrote at the same time. */
const overlaps = (written: ReadonlyArray<Recorded>): ReadonlyArray<string> => {
  const transactions = new Map<string, { readonly address: string; fromUs: number; readonly toUs: number }>()
  for (const { address, atUs, byService, commitUs, side, xid } of written) {
    if (!byService) continue
    const known = transactions.get(`${side} ${xid}`)
    if (known === undefined) transactions.set(`${side} ${xid}`, { address, fromUs: atUs, toUs: commitUs })
    else known.fromUs = Math.min(known.fromUs, atUs)
  }
  const problems: Array<string> = []
  let last: { readonly name: string; readonly address: string; readonly toUs: number } | null = null
  for (const [name, { address, fromUs, toUs }] of [...transactions].toSorted(([, a], [, b]) => a.fromUs - b.fromUs)) {
    if (last !== null && last.address !== address && fromUs < last.toUs) {
      const ms = ((Math.min(last.toUs, toUs) - fromUs) / 1000).toFixed(1)
      problems.push(
        `Two instances applied at once for ${ms} ms: ${last.address} (${last.name}) and ${address} (${name}).`
      )
    }
    if (last === null || toUs > last.toUs) last = { name, address, toUs }
  }
  return problems
}

const quietCycles = 4
const cyclesMax = 60
