/**
 * What the records of both databases say about the promises: every version of every row that an app wrote, and whether
 * one that is gone was given up knowingly, because an app replaced it that saw it, or because it is in the journal. The
 * way of reasoning is that of `test/simulation/History.ts`; it knows nothing of how syncing works.
 */
import { type Side, sides } from "../../src/domain/Side.ts"
import type { TableName } from "./Arena.ts"

/** A row that was written, in a transaction that was committed. */
export interface Written {
  readonly side: Side
  /** By the service; else by an app. */
  readonly byService: boolean
  readonly table: TableName
  /** Null where there was no row before, or none is after. */
  readonly oldKey: string | null
  readonly newKey: string | null
  readonly oldToken: string | null
  readonly newToken: string | null
  readonly content: string | null
}

export interface Found {
  readonly table: TableName
  readonly key: string
  readonly token: string
  readonly content: string
}

export interface Journaled {
  readonly table: TableName
  readonly key: string
  /** Null: a delete lost. */
  readonly token: string | null
}

interface Version {
  readonly side: Side
  readonly table: TableName
  /** Null for a delete. */
  readonly token: string | null
  /** An app that wrote the next version saw this one. */
  replaced: boolean
}

/** What is wrong with how it ended, a sentence each. `written` is in the order of the commits. */
export const problemsOf = (
  written: ReadonlyArray<Written>,
  rows: Readonly<Record<Side, ReadonlyArray<Found>>>,
  journal: ReadonlyArray<Journaled>
): { readonly lost: ReadonlyArray<string>; readonly invented: ReadonlyArray<string> } => {
  const versions = new Map<string, Array<Version>>()
  const byTrace = new Map<string, Array<Version>>()
  const contents = new Set<string>()
  const tokens = new Set<string>()
  const see = (table: TableName, key: string, token: string | null) => {
    for (const version of byTrace.get(traceOf(table, key, token)) ?? []) version.replaced = true
  }
  const write = (side: Side, table: TableName, key: string, token: string | null) => {
    const version: Version = { side, table, token, replaced: false }
    push(versions, `${table} ${key}`, version)
    push(byTrace, traceOf(table, key, token), version)
  }
  for (const { byService, content, newKey, newToken, oldKey, oldToken, side, table } of written) {
    if (byService) continue
    if (newToken !== null) {
      contents.add(`${table} ${newToken} ${content}`)
      tokens.add(`${table} ${newToken}`)
    }
    const isMoved = oldKey !== newKey
    // A cascade takes a row along as it is: nobody has replaced it.
    const isSame = oldToken === newToken && table === "itens"
    if (oldKey !== null && !isSame) see(table, oldKey, oldToken)
    if (newKey !== null && isMoved) see(table, newKey, null)
    if (oldKey !== null && isMoved) write(side, table, oldKey, null)
    if (newKey !== null) write(side, table, newKey, newToken)
  }

  const there = new Map(sides.map((side) => [side, new Map(rows[side].map((row) => [`${row.table} ${row.key}`, row]))]))
  const known = new Set([
    ...sides.flatMap((side) => rows[side].map(({ key, table, token }) => traceOf(table, key, token))),
    ...journal.map(({ key, table, token }) => traceOf(table, key, token))
  ])
  const lost: Array<string> = []
  for (const [name, all] of versions) {
    const key = name.slice(name.indexOf(" ") + 1)
    const present = new Set(all.flatMap(({ token }) => token === null ? [] : [token]))
    // A row that came to the key by a cascade is another one: nothing of what was deleted is back.
    const isGone = sides.some((side) => {
      const row = there.get(side)!.get(name)
      return row === undefined || !present.has(row.token)
    })
    for (const { replaced, side, table, token } of all) {
      if (replaced || known.has(traceOf(table, key, token)) || (token === null && isGone)) continue
      lost.push(`${name}: ${token === null ? "the delete" : token} on ${side} is lost without a trace.`)
    }
  }
  const invented = sides.flatMap((side) =>
    rows[side].flatMap(({ content, key, table, token }) =>
      contents.has(`${table} ${token} ${content}`) ?
        [] :
        [`${table} ${key} on ${side} is ${token} (${content}), which nobody wrote.`]
    )
  )
  const passing = written.flatMap(({ byService, newKey, newToken, side, table }) =>
    byService && newToken !== null && !tokens.has(`${table} ${newToken}`)
      ? [`${table} ${newKey} on ${side} was ${newToken} for a while, which nobody wrote.`]
      : []
  )
  const never = journal.flatMap(({ key, table, token }) =>
    token === null || tokens.has(`${table} ${token}`)
      ? []
      : [`The journal has ${table} ${key} ${token}, which nobody wrote.`]
  )
  return { lost, invented: [...invented, ...passing, ...never] }
}

/** A child's key isn't part of it: where a parent's changed key cascades, the child is still the one that was written. */
const traceOf = (table: TableName, key: string, token: string | null): string =>
  token !== null && table === "itens" ? `itens ${token}` : `${table} ${key} ${token}`

const push = <A>(map: Map<string, Array<A>>, key: string, value: A): void => {
  const found = map.get(key)
  if (found === undefined) map.set(key, [value])
  else found.push(value)
}
