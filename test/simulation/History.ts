/**
 * Every version of every row that an app wrote, and whether one that is gone has been given up knowingly: replaced by
 * an app that saw it, or journaled. It knows nothing of how syncing works.
 */
import { type Side, sides } from "../../src/domain/Side.ts"
import type { Conflict } from "../../src/services/Database.ts"
import type { Row } from "../../src/services/memory/MemoryTable.ts"
import { itens, perfis, rowName, tokenColumn } from "./World.ts"

/** Rows by their names; see `rowName`. */
export type Rows = ReadonlyMap<string, Row>

interface Version {
  readonly side: Side
  /** Null for a delete. */
  readonly row: Row | null
  /** A delete of a child that came to another key at once: its parent's changed, or its own. */
  readonly moved: boolean
  /** An app that wrote the next version of the key saw this one. */
  replaced: boolean
}

export class History {
  private readonly versions = new Map<string, Array<Version>>()
  /** Journals that were taken out or set back since: what they held was told to people. */
  private readonly told: Array<Conflict> = []
  /** How the names of rows begin that a transaction deleted: it may have inserted them, and then no version tells. */
  private readonly removed = new Set<string>()

  /** Notes what a committed transaction of the app on one side did. */
  wrote(side: Side, before: Rows, after: Rows): void {
    const changed = [...new Set([...before.keys(), ...after.keys()])]
      .map((name) => ({ name, old: before.get(name) ?? null, row: after.get(name) ?? null }))
      .filter(({ old, row }) => JSON.stringify(old) !== JSON.stringify(row))
    // Where there was no row, it can't be told which delete was seen: any may have been.
    const seen = new Set(changed.map(({ name, old }) => traceOf(name, old)))
    for (const [name, versions] of this.versions) {
      for (const version of versions) version.replaced ||= seen.has(traceOf(name, version.row))
    }
    const written = new Set(changed.map(({ name, row }) => traceOf(name, row)))
    for (const { name, old, row } of changed) {
      const moved = row === null && name.startsWith(itens.name) && written.has(traceOf(name, old))
      this.versions.set(name, [...this.versions.get(name) ?? [], { side, row, moved, replaced: false }])
    }
  }

  /** A transaction deletes rows whose names begin like these. */
  removes(side: Side, beginnings: ReadonlyArray<string>): void {
    for (const beginning of beginnings) this.removed.add(`${side} ${beginning}`)
  }

  /** A person has seen the deletes of a table that were held, and took them back: children return with a parent's old key. */
  tookBackDeletes(table: string): void {
    for (const [name, versions] of this.versions) {
      const isItsOwn = name.startsWith(`${table} `)
      if (!isItsOwn && table !== perfis.name) continue
      for (const version of versions) version.replaced ||= version.row === null && (isItsOwn || version.moved)
    }
  }

  /** A journal was taken out, as by `teardown`, or is about to be set back. */
  keep(conflicts: ReadonlyArray<Conflict>): void {
    this.told.push(...conflicts)
  }

  /**
   * Something was forgotten: a side was set back, or what was pending was dropped. What leaves no trace in these rows
   * and journals is lost with that, and so is a delete of which some side has the row, unless it is pending where it
   * was made.
   */
  forgot(
    rows: Readonly<Record<Side, Rows>>,
    conflicts: ReadonlyArray<Conflict>,
    isPending: (name: string, side: Side) => boolean
  ): void {
    const isKnown = knowing(rows, [...this.told, ...conflicts])
    for (const [name, versions] of this.versions) {
      for (const version of versions) {
        version.replaced ||= version.row === null
          ? sides.some((side) => rows[side].has(name)) && !isPending(name, version.side)
          : !isKnown(traceOf(name, version.row))
      }
    }
  }

  /** What is wrong with how it ended, a sentence each. */
  problems(rows: Readonly<Record<Side, Rows>>, conflicts: ReadonlyArray<Conflict>): ReadonlyArray<string> {
    const isKnown = knowing(rows, [...this.told, ...conflicts])
    // A row that came to the key by a cascade is another one: nothing of what was deleted is back.
    const isGone = (name: string, versions: ReadonlyArray<Version>) =>
      sides.some((side) =>
        !versions.some(({ row }) => row !== null && tokenOf(name, row) === tokenOf(name, rows[side].get(name) ?? null))
      )
    const written = new Set<string>()
    const problems: Array<string> = []
    for (const [name, versions] of this.versions) {
      for (const { replaced, row, side } of versions) {
        written.add(`${traceOf(name, row)} ${row?.["email"]}`)
        if (replaced || isKnown(traceOf(name, row)) || (row === null && isGone(name, versions))) continue
        problems.push(
          `${name}: ${row === null ? "the delete" : JSON.stringify(row)} on ${side} is lost without a trace.`
        )
      }
      const last = versions.at(-1)!
      const isMissing = !rows.replit.has(name) && !rows.external.has(name)
      if (
        isMissing && !last.replaced && !versions.some(({ row }) => row === null) && !isKnown(traceOf(name, last.row))
      ) {
        problems.push(`${name} is gone, and nobody deleted it.`)
      }
    }
    for (const side of sides) {
      for (const [name, row] of rows[side]) {
        if (written.has(`${traceOf(name, row)} ${row["email"]}`)) continue
        problems.push(`${name} on ${side} is ${JSON.stringify(row)}, which nobody wrote.`)
      }
    }
    const journal = [...this.told, ...conflicts]
    // What a cascade of the sync deletes is an ordinary change of that side (promise 3), and may lose a conflict.
    const cascaded = new Set(
      journal.filter(({ reason }) => reason === "cascade").map(({ key, lostSide, table }) =>
        `${lostSide} ${rowName(table, key)}`
      )
    )
    for (const { key, lost, lostSide, reason, table } of journal) {
      const name = rowName(table, key)
      const isWritten = lost === null
        ? reason !== "conflict" || this.versions.get(name)?.some(({ row }) => row === null) === true
          || [...this.removed].some((beginning) => `${lostSide} ${name}`.startsWith(beginning))
          || cascaded.has(`${lostSide} ${name}`)
        : written.has(`${traceOf(name, lost)} ${lost["email"]}`)
      if (isWritten) continue
      problems.push(`${name} on ${lostSide} was journaled as ${JSON.stringify(lost)}, which nobody wrote.`)
    }
    return problems
  }
}

const knowing = (rows: Readonly<Record<Side, Rows>>, conflicts: ReadonlyArray<Conflict>) => {
  const there = new Set(sides.flatMap((side) => [...rows[side]].map(([name, row]) => traceOf(name, row))))
  const journaled = new Set(conflicts.map(({ key, lost, table }) => traceOf(rowName(table, key), lost)))
  return (trace: string): boolean => there.has(trace) || journaled.has(trace)
}

/**
 * What a version is known by. A child's key isn't part of it: where the foreign key says ON UPDATE CASCADE, a parent's
 * changed key takes along children that the other side had never seen. Nor is the stamp, which that bumps.
 */
const traceOf = (name: string, row: Row | null): string => {
  const token = tokenOf(name, row)
  return token !== null && name.startsWith(itens.name) ? `${itens.name} ${token}` : `${name} ${token}`
}

const tokenOf = (name: string, row: Row | null): string | null =>
  row === null ? null : row[tokenColumn[name.split(" ")[0]!]!] ?? ""
