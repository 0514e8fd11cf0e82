/**
 * What people paused, and what must stay as it is meanwhile, whatever cycles do: no row of a paused table is moved, and its
 * queue loses no key. Whoever writes to it, or drops what waits, says so here.
 */
import type { Side } from "../../src/domain/Side.ts"
import { sides } from "../../src/domain/Side.ts"
import type { TableName } from "../../src/domain/TableName.ts"

/** How one side has a table now: its rows in any order, and the keys that wait. */
export interface Seen {
  readonly rows: ReadonlyArray<string>
  readonly pending: ReadonlySet<string>
}

export class Pauses {
  private said: ReadonlyArray<TableName | null> = []
  /** Cycles that began before a pause don't know of it. */
  private underWay = 0
  private readonly kept = new Map<TableName, Readonly<Record<Side, Seen>>>()
  private readonly names: ReadonlyArray<TableName>
  private readonly see: (side: Side, table: TableName) => Seen
  private readonly wrong: Array<string>

  constructor(
    names: ReadonlyArray<TableName>,
    see: (side: Side, table: TableName) => Seen,
    wrong: Array<string>
  ) {
    this.names = names
    this.see = see
    this.wrong = wrong
  }

  /** As people said it; null is all tables. */
  get all(): ReadonlyArray<TableName | null> {
    return this.said
  }

  /** All that is paused from now on. */
  set(all: ReadonlyArray<TableName | null>): void {
    this.look()
    this.said = all
    for (const table of this.kept.keys()) if (!this.isPaused(table)) this.kept.delete(table)
    this.keep()
  }

  cycleBegins(): void {
    this.underWay++
  }

  cycleEnds(): void {
    this.look()
    this.underWay--
    this.keep()
  }

  /**
   * Says what was touched since anybody looked last, and by nobody who may.
   *
   * @param writtenOn an app has just changed rows on that side.
   */
  look(writtenOn: Side | null = null): void {
    for (const [table, before] of this.kept) {
      for (const side of sides) {
        const now = this.see(side, table)
        if (side !== writtenOn && told(now) !== told(before[side])) {
          this.wrong.push(
            `${table.name} on ${side} is paused, and was changed from ${told(before[side])} to ${told(now)}.`
          )
        }
        const lost = [...before[side].pending].filter((key) => !now.pending.has(key))
        if (lost.length > 0) {
          this.wrong.push(`${table.name} on ${side} is paused, and its queue lost ${lost.join("; ")}.`)
        }
      }
    }
    this.takeAsItIs()
  }

  /** Somebody who may has changed rows, or dropped what waits. */
  takeAsItIs(): void {
    for (const table of this.kept.keys()) this.kept.set(table, this.both(table))
  }

  private keep(): void {
    if (this.underWay > 0) return
    for (const table of this.names) {
      if (this.isPaused(table) && !this.kept.has(table)) this.kept.set(table, this.both(table))
    }
  }

  private isPaused(table: TableName): boolean {
    return this.said.some((paused) => paused === null || paused === table)
  }

  private both(table: TableName): Readonly<Record<Side, Seen>> {
    return { replit: this.see("replit", table), external: this.see("external", table) }
  }
}

const told = ({ rows }: Seen): string => rows.toSorted().join("; ")
