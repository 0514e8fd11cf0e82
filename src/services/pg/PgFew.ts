/**
 * Few rows in few round trips: claimed in one, applied and committed in one, acknowledged in one.
 *
 * What is special (contested or refused rows, changed keys, large values) is left to `claim` and `apply`. The statements are
 * theirs, in their order: the rows are locked, then, in a second statement, pending changes of the same keys are looked for
 * (promise 9), and before COMMIT they are looked for again.
 */
import { Effect } from "effect"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import { Contended } from "../../domain/SyncError.ts"
import { display } from "../../domain/TableName.ts"
import { type Applied, type Few, type FewRows, fewRowsMax, type Many } from "../Database.ts"
import { ownStage } from "./applyClaim.ts"
import type { Step, StepResult } from "./Flight.ts"
import { byIndex } from "./PgChangelog.ts"
import type { Kept, PgSession, Plan } from "./PgSession.ts"
import { begin, dropStage, pinned, theirSearchPath } from "./PgSession.ts"
import type { Stems } from "./Stems.ts"
import { bouncesMax, type TableSql } from "./TableSql.ts"

/** The part of `Database` that moves few rows. */
export const make = (session: PgSession, stems: Stems): FewRows => ({
  claimFew: (table) =>
    Effect.gen(function*() {
      if (yield* stems.mayHaveQuarantine(table)) return many(null)
      const sql = yield* stems.sqlOf(table)
      // Without BEGIN all of it is one transaction, which ends with the answer.
      const steps = [
        { text: pinned({ settings: byIndex }) },
        { text: sql.copyFew(fewRowsMax + 1, bytesMax) },
        { text: sql.anyPending }
      ]
      const flown = yield* session.flight(() => ({ steps }), { table: table.name, fenced: "never" })
      if (flown._tag === "Refused") return yield* flown.error
      const [, copied, there] = flown.results as [StepResult, StepResult, StepResult]
      if (copied.lines.length === 0) return there.rows[0]?.[0] === "t" ? many(null) : "none"
      const read = copied.lines.map(readLine)
      const { bounces, moves, rows } = read[0]!
      if (rows > fewRowsMax || moves > 0 || bounces >= bouncesMax) {
        return many(read.reduce((sum, { line }) => sum + line.length, 0) / read.length)
      }
      return fewOf(session, table, sql, read)
    }),

  applyFew: (table, few) =>
    Effect.gen(function*() {
      const sql = yield* stems.sqlOf(table)
      const options = {
        isGuarded: isGuarded(table.shapes[session.side]),
        mayFree: yield* stems.mayHaveQuarantine(table)
      }
      let steps: ReadonlyArray<Named> = []
      const plan = (stage: Kept): Plan => {
        const kept = stage._tag === "Stage" && stage.for === sql ? stage : null
        steps = stepsOf(table, sql, few, kept?.print ?? null, options)
        const prints = (results: ReadonlyArray<StepResult>) =>
          kept ?? { _tag: "Stage" as const, for: sql, print: String(of(steps, results, "print")?.rows[0]?.[0]) }
        return { steps, keeps: prints }
      }
      const flown = yield* session.flight(plan, {
        table: table.name,
        primaryKey: table.shapes[session.side].keyConstraint
      })
      if (flown._tag === "Landed") return appliedOf(steps, flown.results, few)
      if (steps[flown.at]?.name === "assert") return yield* asserted(session, table)
      return yield* flown.error
    })
})

/** A step and what it is, as the answers are looked up. */
interface Named extends Step {
  readonly name: string
}

interface Options {
  /** The user's BEFORE triggers or rules may do something else than is written. */
  readonly isGuarded: boolean
  /** Something in quarantine may wait for these rows. */
  readonly mayFree: boolean
}

/** @param print of the stage that is kept; null when it is to be made. */
const stepsOf = (
  table: SyncedTable,
  sql: TableSql,
  { deletes, lines, rows }: Few,
  print: string | null,
  { isGuarded, mayFree }: Options
): ReadonlyArray<Named> => {
  const present = rows - deletes
  const all: ReadonlyArray<readonly [string, string | null, Omit<Step, "text">?]> = [
    ["begin", begin],
    ["theirs", theirSearchPath],
    ["pinned", pinned({ table: table.name, searchPath: "theirs" })],
    ["applying", sql.applying],
    ...(print === null
      ? [["drop", dropStage], ["make", sql.makeStage(ownStage, "delete rows")], ["print", sql.print]] as const
      : []),
    ["stage", sql.copyStage(ownStage), { copy: lines }],
    ["facts", sql.facts],
    ["lock", sql.lockWaiting],
    ["judge", sql.judge],
    ["updated", present > 0 ? sql.update : null],
    ["updated", present > 0 ? sql.updateUnique : null],
    ...(present > 0 ? sql.moveOn.map((text) => ["sequence", text] as const) : []),
    ["inserted", present > 0 ? sql.insert : null],
    ["deleted", deletes > 0 ? sql.delete : null],
    ["log", sql.log],
    ["free", mayFree ? sql.wakeBlocked : null],
    ["deferred", sql.checkDeferred],
    print === null
      ? ["assert", sql.assertFew(isGuarded, false)]
      : ["assert", sql.assertFew(isGuarded, true), { values: [print] }],
    ["commit", "commit"]
  ]
  return all.flatMap(([name, text, more]) => text === null ? [] : [{ name, text, ...more }])
}

const of = (steps: ReadonlyArray<Named>, results: ReadonlyArray<StepResult>, name: string): StepResult | undefined =>
  results[steps.findIndex((step) => step.name === name)]

const appliedOf = (steps: ReadonlyArray<Named>, results: ReadonlyArray<StepResult>, few: Few): Applied => {
  const count = (name: string) =>
    steps.reduce((sum, step, index) => sum + (step.name === name ? results[index]!.count : 0), 0)
  return {
    inserted: count("inserted"),
    updated: count("updated"),
    deleted: count("deleted"),
    conflicts: 0,
    bytes: few.lines.length,
    kept: of(steps, results, "judge")!.rows.map(([n]) => Number(n)),
    locked: 0
  }
}

const isGuarded = ({ beforeTriggers, rules }: SyncedTable["shapes"]["replit"]): boolean =>
  beforeTriggers.length + rules.length > 0

/** Somebody wrote meanwhile, a trigger had it otherwise, or the table was changed: `apply` finds out which. */
const asserted = ({ side }: PgSession, table: SyncedTable) =>
  new Contended({
    side,
    table: table.name,
    sqlState: null,
    reason: "key-race",
    message: `Rows of ${
      display(table.name)
    } on the ${side} side were not as they were judged when they had been applied.`
  })

/** One line of `copyFew`. */
interface Read {
  readonly places: ReadonlyArray<string>
  readonly changeIds: ReadonlyArray<string>
  readonly key: string
  readonly rows: number
  readonly moves: number
  readonly bounces: number
  readonly isThere: boolean
  readonly line: Uint8Array
}

/** What comes before the row as it is staged is ours to read; the row is passed on as it is. */
const readLine = (bytes: Uint8Array): Read => {
  let from = 0
  const field = (): string => {
    const to = bytes.indexOf(tab, from)
    // Whatever the encoding: each byte is a letter.
    const text = Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString("latin1")
    from = to + 1
    return text
  }
  const [places, changeIds, key, rows, moves, bounces] = [field(), field(), field(), field(), field(), field()]
  const line = bytes.subarray(from)
  const [, , present] = [field(), field(), field()]
  return {
    places: places.match(/\(\d+,\d+\)/g) ?? [],
    changeIds: changeIds.match(/\d+/g) ?? [],
    key: key!,
    rows: Number(rows),
    moves: Number(moves),
    bounces: Number(bounces),
    isThere: present === "t",
    line
  }
}

const many = (rowBytes: number | null): Many => ({ _tag: "Many", rowBytes })

const fewOf = (session: PgSession, table: SyncedTable, sql: TableSql, read: ReadonlyArray<Read>): Few => ({
  _tag: "Few",
  rows: read.length,
  deletes: read.filter(({ isThere }) => !isThere).length,
  keys: sql.hasInexactKey ? null : read.map(({ key }) => key),
  lines: Buffer.concat(read.map(({ line }) => line)),
  acknowledge: (kept) => {
    const left = new Set(kept)
    const settled = read.filter((_, index) => !left.has(index + 1))
    if (settled.length === 0) return Effect.void
    return acknowledge(session, table, sql, settled)
  }
})

const acknowledge = (session: PgSession, table: SyncedTable, sql: TableSql, settled: ReadonlyArray<Read>) =>
  Effect.gen(function*() {
    const places = `{${settled.flatMap(({ places }) => places.map((place) => `"${place}"`)).join(",")}}`
    const changeIds = `{${settled.flatMap(({ changeIds }) => changeIds).join(",")}}`
    const flown = yield* session.flight(() => ({
      steps: [
        { text: pinned({ settings: [...byIndex, ...notWaitedFor] }) },
        { text: sql.acknowledgeFew, values: [places, changeIds] }
      ]
    }), { table: table.name })
    if (flown._tag === "Refused") return yield* (flown.error satisfies SyncError)
  })

/** A server that crashes may forget an acknowledgement: then the rows are applied again, which changes nothing (promise 8). */
const notWaitedFor = [["synchronous_commit", "off"]] as const

const tab = 9
/** Most bytes of the rows as the table holds them, where long values are compressed. */
const bytesMax = 65_536
