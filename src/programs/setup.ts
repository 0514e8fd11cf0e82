/**
 * Makes both sides ready: two different databases that are a pair (promise 13), tables that fit (promise 14), capture
 * on both, and what was there before reconciled. Idempotent; the first cycle runs it by itself, and so does every cycle
 * that finds a table's shape or capture changed.
 */
import { Effect, Random } from "effect"
import type { Contract } from "../domain/contract.ts"
import { contract } from "../domain/contract.ts"
import { amount, list } from "../domain/Quantity.ts"
import type { Side } from "../domain/Side.ts"
import { label, opposite, sides } from "../domain/Side.ts"
import type { SyncedTable } from "../domain/SyncedTable.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import { display, quote } from "../domain/TableName.ts"
import type { Captured, Compared, Database, Inspected, Remembered } from "../services/Database.ts"
import { ExternalDb } from "../services/ExternalDb.ts"
import { ReplitDb } from "../services/ReplitDb.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import type { Clearing, Missing } from "./clearMissing.ts"
import { clearMissing, isFirstContact } from "./clearMissing.ts"
import { onBoth } from "./databases.ts"
import { pair, refuseStrangers } from "./pair.ts"
import type { Paused } from "./pass.ts"
import type { Choices, Reconciled } from "./reconcile.ts"
import { reconcile } from "./reconcile.ts"
import { adopt, refuseTimeTravel, tokensOf } from "./timeTravel.ts"
import { wanted } from "./wanted.ts"

export interface SetupOptions<R = never> {
  /** Create a table that is on one side only (`setup --create-missing`). */
  readonly createMissing: boolean
  /** Compare tables again whose partitions are gone, though their rows then come back (`setup --accept-partitions`). */
  readonly acceptPartitions?: boolean
  /** Take both databases as they are after one of them went back in time (`setup --adopt`). */
  readonly adopt?: boolean
  /**
   * At the start of a process a table that can't be synced is refused, whole and at once; later on it only pauses, and
   * the others go on.
   */
  readonly strict: boolean
  /** What a person chose for rows that a first contact finds (`setup --prefer`, `--missing copy|keep`). */
  readonly choices?: Choices
  /** Delete rows that one side lacks, at a first contact (`setup --missing delete`). */
  readonly clearing?: Clearing<R> | undefined
  /** What this process set up before and what both sides still have as it was: it is left alone. Without: all is looked at. */
  readonly known?: Known | null
}

export interface Known {
  readonly tables: ReadonlyArray<ReadyTable>
}

export interface SetUp {
  /** All tables that are meant, those that a wildcard takes in among them. */
  readonly names: ReadonlyArray<TableName>
  readonly tables: ReadonlyArray<ReadyTable>
  readonly paused: ReadonlyArray<Paused>
  readonly warnings: ReadonlyArray<string>
  readonly created: ReadonlyArray<{ readonly table: TableName; readonly side: Side }>
  /** What `clearing` deleted. */
  readonly cleared: ReadonlyArray<Missing>
}

/** A table with capture on both sides, reconciled. */
export interface ReadyTable {
  readonly table: SyncedTable
  readonly contract: string
  readonly fingerprints: Readonly<Record<Side, string>>
  /** Null when it was reconciled before. */
  readonly reconciled: Reconciled | null
  /** Whether both sides were compared for the first time: only then do `SetupOptions.choices` concern it. */
  readonly isFirstContact: boolean
  /** Rows that were left on one side, as `choices` said. */
  readonly left: Readonly<Record<Side, number>>
  readonly adopted: ReadonlyArray<{ readonly side: Side } & NonNullable<Captured["adopted"]>>
}

/** Sets up the tables of the settings. */
export const setup = Effect.fn("setup")(function*<R = never>(options: SetupOptions<R>) {
  const leaves = options.clearing === undefined && options.choices?.missing === "keep"
  if (leaves && (yield* SyncConfig).externalCapture === "timestamp") {
    return yield* new ActionNeeded({
      message:
        "With EXTERNAL_CAPTURE=timestamp rows can't be left on one side: a row that external lacks is one that was deleted "
        + "there. Choose `--missing copy` or `--missing delete`."
    })
  }
  const isFirst = (options.known ?? null) === null
  if (options.adopt === true && options.clearing !== undefined) return yield* refuseForgotten
  if (isFirst) {
    yield* refuseSameDatabase
    yield* refuseStrangers(options.adopt === true)
  }
  const before = yield* wanted
  const created = options.createMissing ? yield* createMissing([...before.names, ...before.missing]) : []
  const { names, notes } = created.length === 0 ? before : yield* wanted
  const known = new Map(options.known?.tables.map((table) => [display(table.table.name), table]))
  const contracts = yield* inspectBoth(names.filter((name) => !known.has(display(name))))
  if (options.strict) yield* refuseUnfit(names, contracts)

  if (isFirst) {
    yield* onBoth((database) => database.install)
    yield* pair(options.adopt === true)
    if (options.adopt === true) yield* adopt(options.choices?.prefer ?? "newest")
    else yield* refuseTimeTravel(yield* tokensOf)
  }
  const fitting = contracts.flatMap(({ found }) => found._tag === "Fits" ? [found.table] : [])
  const cleared = options.clearing === undefined ? [] : yield* clearMissing(fitting, options.clearing)
  const made = yield* Effect.forEach(
    contracts,
    ({ found, name }) =>
      found._tag === "Fits"
        ? readyOrPaused(found.table, found.text, options)
        : Effect.succeed(paused(name, found.problem))
  )
  const tables = new Map([
    ...known,
    ...made.flatMap((it) => "problem" in it ? [] : [[display(it.table.name), it] as const])
  ])
  return {
    names,
    tables: names.flatMap((name) => tables.get(display(name)) ?? []),
    created,
    cleared,
    paused: made.flatMap((it) => "problem" in it ? [it] : []),
    warnings: [...notes, ...contracts.flatMap(({ found }) => found._tag === "Fits" ? found.warnings : [])]
  } satisfies SetUp
})

const refuseForgotten = new ActionNeeded({
  message:
    "--adopt and --missing delete don't go together: after a restore, a row that one side lacks may be one that it has "
    + "forgotten. Leave --missing out, and such rows are copied; delete afterwards what is not wanted."
})

/** A table that a wildcard takes in can be left out of it, so it doesn't keep the others waiting: it only pauses. */
const refuseUnfit = Effect.fn("refuseUnfit")(
  function*(names: ReadonlyArray<TableName>, contracts: ReadonlyArray<{ name: TableName; found: Contract }>) {
    const named = new Set((yield* SyncConfig).tables.map(display))
    const refused = contracts.flatMap(({ found, name }) =>
      found._tag === "Refused" && named.has(display(name)) ? [found.problem] : []
    )
    if (refused.length > 0) return yield* new ActionNeeded({ message: refused.join("\n") })
    if (names.length === 0) {
      return yield* new ActionNeeded({
        message:
          "SYNC_TABLES takes in no table: none that both databases have in these schemas, with a primary key, is "
          + "the role's own. `check` says what there is; `setup --create-missing` creates what one side lacks."
      })
    }
  }
)

const paused = (name: TableName, problem: string): Paused => ({ table: display(name), problem })

/** What both catalogs say about the tables, and whether they fit. Changes nothing. A `reader` need not own them. */
export const inspectBoth = Effect.fn("inspectBoth")(function*(
  names: ReadonlyArray<TableName>,
  by: "owner" | "reader" = "owner"
) {
  const config = yield* SyncConfig
  const inspected = yield* onBoth((database) => database.inspect(names, by))
  return names.map((name, index): { readonly name: TableName; readonly found: Contract } => {
    const [replit, external] = [inspected.replit[index]!, inspected.external[index]!]
    if (replit._tag === "Unfit" || external._tag === "Unfit") {
      return { name, found: { _tag: "Refused", problem: unfit(replit, external) } }
    }
    const rules = {
      policy: config.policyOf(name),
      stamp: config.stampOf(name),
      stampNamed: !config.stampIsDefault(name),
      stampNeeded: config.externalCapture === "timestamp"
    }
    const found = contract({ replit: replit.shape, external: external.shape }, rules)
    return { name, found: found._tag === "Fits" ? withHidden(found, config.hiddenOf(name)) : found }
  })
})

type Fits = Extract<Contract, { readonly _tag: "Fits" }>

/** A name that is misspelt hides nothing. */
const withHidden = (found: Fits, hidden: ReadonlyArray<string>): Fits => {
  const { name, shapes } = found.table
  const missing = hidden.filter((column) =>
    !sides.some((side) => shapes[side].columns.some((it) => it.name === column))
  )
  return missing.length === 0 ? found : {
    ...found,
    warnings: [
      ...found.warnings,
      `SYNC_HIDE_COLUMNS names ${list(missing.map(quote))}, which ${
        display(name)
      } has on neither side: nothing is hidden by that.`
    ]
  }
}

/** Asks the servers, never the texts of the URLs: a lock taken through one must not be seen through the other. */
export const refuseSameDatabase = Effect.gen(function*() {
  const number = BigInt(yield* Random.nextIntBetween(1, 2 ** 31 - 1)) * 4_294_967_296n
    + BigInt(yield* Random.nextIntBetween(1, 2 ** 31 - 1))
  const replit = yield* ReplitDb
  const external = yield* ExternalDb
  const same = yield* Effect.scoped(Effect.zipRight(replit.hold(number), external.sees(number)))
  if (same) {
    return yield* new ActionNeeded({
      message: "DATABASE_URL and EXTERNAL_DB_URL lead to the same database. Point EXTERNAL_DB_URL at the other one."
    })
  }
})

const unfit = (replit: Inspected, external: Inspected): string => {
  const problems = [replit, external].flatMap((inspected) => inspected._tag === "Unfit" ? [inspected] : [])
  if (problems.length === 1 && problems[0]!.missing) {
    return `${problems[0]!.problem} It is there on the other side: \`setup --create-missing\` creates it.`
  }
  return problems.map(({ problem }) => problem).join(" ")
}

/**
 * While the service runs, a table that can't be set up waits alone: the others have nothing to do with it. So does one
 * that a wildcard takes in, from the start.
 */
const readyOrPaused = Effect.fn("readyOrPaused")(
  function*<R>(table: SyncedTable, text: string, options: SetupOptions<R>) {
    const { strict } = options
    const isNamed = (yield* SyncConfig).tables.some((name) => display(name) === display(table.name))
    return yield* ready(table, text, options).pipe(
      Effect.retry({ times: 2, while: ({ _tag }) => _tag === "Contended" && !strict }),
      Effect.catchIf(
        ({ _tag }) =>
          _tag === "Contended" ? !strict : _tag !== "Unavailable" && _tag !== "LeaseTaken" && !(strict && isNamed),
        ({ _tag, message }) =>
          Effect.succeed(paused(table.name, _tag === "Contended" ? inUse(table, message) : message))
      )
    )
  }
)

const inUse = ({ name }: SyncedTable, message: string) =>
  `Table ${
    display(name)
  } waits: it changed, and to look after it no other transaction may use it for a moment. ${message} `
  + "The next cycle tries again; a transaction that is open for long should be ended."

/** Captures on both sides first, and only then compares: what changes meanwhile is pending already. */
const ready = Effect.fn("ready")(
  function*<R>(table: SyncedTable, text: string, options: SetupOptions<R>) {
    const { acceptPartitions = false } = options
    const { listensTo, touch } = yield* SyncConfig
    const capture = (accept: boolean) =>
      onBoth((database) => {
        const announce = listensTo.includes(database.side)
        return database.capture(table, { touch, announce, acceptPartitions: accept })
      })
    const found = yield* capture(acceptPartitions)
    const gone = sides.filter((side) => found[side].gone.length > 0)
    // What went on both sides is meant: comparing brings nothing back.
    const isMeant = gone.length > 0 && found.replit.gone.join("\0") === found.external.gone.join("\0")
    if (gone.length > 0 && !isMeant && !acceptPartitions) return paused(table.name, partitionsGone(table, found))
    const captured = isMeant && !acceptPartitions ? yield* capture(true) : found
    yield* tellDropped(table, captured)
    const known = yield* onBoth((database) => database.recall(table.name))
    const isKnown = known.replit?.contract === text && known.external?.contract === text
    const isFirst = isFirstContact(known)
    const choices = isFirst ? choicesOf(options) : {}
    const reconciled = isKnown ? null : yield* compareAndMark(table, known, choices)
    const remembered = { contract: text, columns: columnsOf(table) }
    // Also when only one side's columns changed: who had a column first must be known when the other side gets it too.
    if (!isKnown || !sides.every((side) => hasColumns(known[side], remembered.columns))) {
      yield* onBoth((database) => database.remember(table.name, remembered))
    }
    return {
      table,
      contract: text,
      fingerprints: { replit: captured.replit.fingerprint, external: captured.external.fingerprint },
      reconciled,
      isFirstContact: isFirst,
      left: {
        replit: leftOn(reconciled?.replit, choices),
        external: leftOn(reconciled?.external, choices)
      },
      adopted: sides.flatMap((side) => captured[side].adopted === null ? [] : [{ side, ...captured[side].adopted }])
    } satisfies ReadyTable
  }
)

/** Comparing finds what is still there; a delete it can't find. */
const tellDropped = ({ name }: SyncedTable, captured: Readonly<Record<Side, Captured>>) =>
  Effect.forEach(
    sides.filter((side) => captured[side].dropped > 0),
    (side) =>
      Effect.logWarning("Waiting changes dropped").pipe(Effect.annotateLogs({
        table: display(name),
        side,
        rows: captured[side].dropped,
        reason:
          `The primary key of ${display(name)} changed on ${label(side)} while ${
            amount(captured[side].dropped, "change")
          } waited by the old one: both sides are compared instead. A row that was deleted there and not synced yet comes back: `
          + "delete it again."
      })),
    { discard: true }
  )

const partitionsGone = ({ name }: SyncedTable, captured: Readonly<Record<Side, Captured>>): string => {
  const table = display(name)
  const what = sides.flatMap((side) => {
    const { gone } = captured[side]
    return gone.length === 0 ? [] : [`${gone.join(", ")} on ${label(side)}`]
  })
  return `Table ${table} waits: partitions of it were dropped or detached (${
    what.join("; ")
  }), and comparing would bring `
    + "their rows back from the other side. Drop or detach the same ones there, and it goes on by itself. Or take the "
    + "rows away there, or mean to have them back, and run `setup --accept-partitions`."
}

/** What was to be deleted is gone; a row that is still alone was written meanwhile, and goes its own way. */
const choicesOf = <R>({ choices = {}, clearing }: SetupOptions<R>): Choices =>
  clearing === undefined ? choices : { ...choices, missing: "keep" }

/** All that is neither marked nor pending. */
const leftOn = (compared: Compared | undefined, { missing }: Choices): number =>
  compared === undefined || missing !== "keep"
    ? 0
    : compared.onlyHere + compared.different - compared.marked - compared.pending

const compareAndMark = Effect.fn("compareAndMark")(function*(
  table: SyncedTable,
  known: Readonly<Record<Side, Remembered | null>>,
  choices: Choices
) {
  const winner = hadTheNewColumns(table, known)
  yield* Effect.logInfo("Comparing both sides").pipe(Effect.annotateLogs({ table: display(table.name) }))
  return yield* reconcile(table, { mark: true, sampleMax: 0, choices, ...(winner === null ? {} : { winner }) })
})

const columnsOf = ({ shapes }: SyncedTable): Remembered["columns"] => ({
  replit: shapes.replit.columns.map(({ name }) => name),
  external: shapes.external.columns.map(({ name }) => name)
})

const hasColumns = (known: Remembered | null, columns: Remembered["columns"]): boolean =>
  sides.every((side) => known?.columns[side].join("\0") === columns[side].join("\0"))

/** For columns newly in common the side that had them wins; null when that is no side, or both. */
const hadTheNewColumns = (
  table: SyncedTable,
  known: Readonly<Record<Side, Remembered | null>>
): Side | null => {
  const before = known.replit ?? known.external
  if (before === null) return null
  const had = (side: Side) =>
    table.columns.some((name) => before.columns[side].includes(name) && !before.columns[opposite(side)].includes(name))
  const [replit, external] = [had("replit"), had("external")]
  if (replit === external) return null
  return replit ? "replit" : "external"
}

const createMissing = Effect.fn("createMissing")(function*(names: ReadonlyArray<TableName>) {
  const inspected = yield* onBoth((database) => database.inspect(names))
  const created: Array<{ readonly table: TableName; readonly side: Side }> = []
  for (const [index, name] of names.entries()) {
    for (const side of sides) {
      const [here, there] = [inspected[side][index]!, inspected[opposite(side)][index]!]
      if (here._tag !== "Unfit" || !here.missing || there._tag !== "Table") continue
      const ddl = yield* (yield* databaseOf(opposite(side))).describe(name)
      yield* (yield* databaseOf(side)).createTable(ddl)
      yield* Effect.logInfo("Created table").pipe(Effect.annotateLogs({ table: display(name), side }))
      created.push({ table: name, side })
    }
  }
  return created
})

const databaseOf = (side: Side): Effect.Effect<Database, never, ReplitDb | ExternalDb> =>
  side === "replit" ? ReplitDb : ExternalDb
