/**
 * The connection test grown up: looks at both databases and their tables and says, for each problem, the cure. Changes
 * nothing, needs no set-up and no lease, and reports one side when the other can't be reached.
 */
import { Duration, Effect, Either } from "effect"
import type { ConnectionTarget } from "../domain/ConnectionTarget.ts"
import type { Cure } from "../domain/Cure.ts"
import { cureByHand, safeCure } from "../domain/Cure.ts"
import { idFindings } from "../domain/idFindings.ts"
import { pausedProblem } from "../domain/pauses.ts"
import { duration, list } from "../domain/Quantity.ts"
import type { Side } from "../domain/Side.ts"
import { label, opposite, sides, urlSetting } from "../domain/Side.ts"
import { sequencesOf } from "../domain/splitIds.ts"
import type { SyncedTable, TableShape } from "../domain/SyncedTable.ts"
import type { TableName } from "../domain/TableName.ts"
import { display, quote } from "../domain/TableName.ts"
import type { Answer, Database, Hello, Identity, Inspected, Neglect, Pause } from "../services/Database.ts"
import { SyncConfig } from "../services/SyncConfig.ts"
import { databases, onBoth } from "./databases.ts"
import { sentence } from "./leftBehind.ts"
import { pairProblem } from "./pair.ts"
import { planned } from "./planned.ts"
import { inspectBoth, refuseSameDatabase } from "./setup.ts"
import { wanted } from "./wanted.ts"

/** `--json` prints it as it is. */
export interface Check {
  readonly sides: Readonly<Record<Side, SideCheck>>
  readonly tables: ReadonlyArray<TableCheck>
  /** What concerns both sides at once: one database twice, not a pair. */
  readonly pair: Findings
  /** What the schedule will cost, and what eco would. */
  readonly bill: string
  /** Whether a running service tells people what they should know. */
  readonly notify: Findings
}

/** Problems keep the service from working as it should; notes are worth knowing. Sentences, with the cure. */
export interface Findings {
  readonly problems: ReadonlyArray<string>
  readonly notes: ReadonlyArray<string>
  /** Of these, what SQL solves. */
  readonly cures: ReadonlyArray<Cure>
}

export interface SideCheck extends Findings {
  /** Null when it can't be reached; the only problem then says why. */
  readonly server: Hello | null
  /** Whether vaivem is installed there and paired. */
  readonly setUp: boolean
}

export interface TableCheck extends Findings {
  readonly table: string
}

export const check = Effect.gen(function*() {
  const config = yield* SyncConfig
  const { external, replit } = yield* databases
  const { names, notes } = yield* wanted.pipe(
    Effect.catchAll(({ message }) => Effect.succeed({ names: config.tables, notes: [message] }))
  )
  const seen = yield* Effect.all({
    replit: look(replit, config.replitUrl, names),
    external: look(external, config.externalUrl, names)
  }, { concurrency: 2 })
  const found = {
    replit: Either.match(seen.replit, { onLeft: unreachable, onRight: (side) => sideCheck(side, names, false) }),
    external: Either.match(seen.external, {
      onLeft: unreachable,
      onRight: (side) => sideCheck(side, names, config.externalCapture === "timestamp")
    })
  }
  if (Either.isLeft(seen.replit) || Either.isLeft(seen.external)) {
    const reached = sides.flatMap((side) => Either.match(seen[side], { onLeft: () => [], onRight: (it) => [it] }))
    const tables = reached.flatMap(alone)
    return { sides: found, tables, pair: nothingFound, bill: planned(config), notify: told(config) } satisfies Check
  }
  const both = { replit: seen.replit.right, external: seen.external.right }
  return {
    sides: found,
    tables: yield* tablesOf(both, names),
    pair: {
      problems: yield* pairProblems(both),
      notes: [...notes, ...modeNotes(config), ...clockNotes(both, config)],
      cures: []
    },
    bill: planned(config),
    notify: told(config)
  } satisfies Check
}).pipe(Effect.withSpan("check"))

/** 1 when a side can't be reached, 3 when there is a problem, else 0. */
export const checkExitCode = (checked: Check): 0 | 1 | 3 => {
  if (sides.some((side) => checked.sides[side].server === null)) return 1
  const all = [checked.pair, checked.notify, ...checked.tables, ...sides.map((side) => checked.sides[side])]
  return all.some(({ problems }) => problems.length > 0) ? 3 : 0
}

const told = ({ notify }: SyncConfig["Type"]): Findings => ({
  problems: [],
  notes: [
    notify === null
      ? "SYNC_NOTIFY_URL is not set: nobody is told when the service fails or waits for a person."
      : `A running service tells SYNC_NOTIFY_URL, as ${notify.format}, what a person should know.`
  ],
  cures: []
})

/** What one side says about itself. */
interface Seen {
  readonly side: Side
  readonly target: ConnectionTarget
  readonly hello: Hello
  readonly identity: Identity | null
  /** Why it can't be synced with the other one as it is. */
  readonly refused: ReadonlyArray<string>
  readonly captured: ReadonlyArray<TableName>
  readonly neglect: Neglect | null
  /** Tables that aren't as they were when capture was set up. */
  readonly changed: ReadonlyArray<TableName>
  readonly pauses: ReadonlyArray<Pause>
  readonly tables: ReadonlyArray<Inspected>
  /** What is called as the changelog of each table is. */
  readonly changelogs: ReadonlyArray<Inspected>
}

const look = (database: Database, target: ConnectionTarget, names: ReadonlyArray<TableName>) =>
  Effect.either(Effect.gen(function*() {
    const hello = yield* database.hello
    const [identity, refused] = yield* database.identity.pipe(
      Effect.map((found) => [found, []] as const),
      Effect.catchTag("ActionNeeded", ({ message }) => Effect.succeed([null, [message]] as const))
    )
    return {
      side: database.side,
      target,
      hello,
      identity,
      refused,
      captured: yield* database.captured,
      neglect: identity === null ? null : yield* database.neglect,
      changed: identity === null ? [] : changedOf(yield* database.ask({ tables: names })),
      pauses: yield* database.pauses,
      tables: yield* database.inspect(names),
      changelogs: yield* database.inspect(names.map(({ name, schema }) => ({ schema, name: `${name}_changelog` })))
    } satisfies Seen
  }))

const changedOf = ({ tables }: Answer): ReadonlyArray<TableName> =>
  tables.filter(({ captured, fingerprint }) => captured !== null && fingerprint !== null && captured !== fingerprint)
    .map(({ name }) => name)

const unreachable = ({ message }: { readonly message: string }): SideCheck => ({
  server: null,
  setUp: false,
  problems: [message],
  notes: [],
  cures: []
})

const sideCheck = (
  { captured, changed, changelogs, hello, identity, neglect, pauses, refused, side, target }: Seen,
  names: ReadonlyArray<TableName>,
  nothingIsInstalled: boolean
) => {
  const meant = new Set(names.map(display))
  const grants = missingRights(hello, side, identity === null && !nothingIsInstalled)
  const plain = target.ssl === false && hello.kind !== "replit-helium" && !isNear(hello.host)
  return {
    server: hello,
    setUp: identity !== null,
    problems: [
      ...(hello.readOnly
        ? [
          "The database takes no writes now (a read-only replica, or default_transaction_read_only). Use the primary's "
          + `URL in ${urlSetting(side)}.`
        ]
        : []),
      ...(hello.versionNumber > 0 && hello.versionNumber < 140_000
        ? [`PostgreSQL ${hello.version} is too old: 14 or newer is needed.`]
        : []),
      ...refused,
      ...grants.map(({ solves }) => solves),
      ...(neglect?.abandoned === true
        ? [
          `Nobody has read the changes here since ${neglect.since}, so only the newest one of each row is kept from now on. `
          + "Start the service, or remove what it installed: `teardown`."
        ]
        : []),
      ...captured.map(display).filter((name) => !meant.has(name)).map(sentence),
      ...pauses.map(({ table }) => pausedProblem(table))
    ],
    notes: [
      ...(neglect === null || neglect.folded.length === 0
        ? []
        : [
          `Of ${
            list(neglect.folded.map(display))
          }, capture has kept the newest change of each row since ${neglect.since} and `
          + "dropped older ones, because nobody read them. The next run sends rows as they are now."
        ]),
      ...(plain
        ? [`Without TLS: passwords and rows can be read on the way. Put sslmode=require into ${urlSetting(side)}.`]
        : []),
      ...(target.ignored.length === 0
        ? []
        : [`${urlSetting(side)} has parameters that mean nothing here: ${target.ignored.join(", ")}.`]),
      ...changed.map((name) =>
        `${
          display(name)
        } or a trigger of ours on it has changed since it was set up. The next cycle sets it up again and compares both sides, `
        + "so that what was written meanwhile and not captured isn't lost."
      ),
      ...changelogs.flatMap(olderChangelog)
    ],
    cures: grants
  } satisfies SideCheck
}

const missingRights = (
  { database, mayCreateSchema, mayCreateTemporary, role }: Hello,
  side: Side,
  isSchemaNeeded: boolean
): ReadonlyArray<Cure> => {
  const grant = (right: string, lack: string) => {
    const sql = `GRANT ${right} ON DATABASE ${quote(database)} TO ${quote(role)};`
    return cureByHand(`Role ${role} ${lack} As the database's owner, run: ${sql}`, side, sql)
  }
  return [
    ...(mayCreateTemporary ? [] : [grant("TEMPORARY", "may not make temporary tables, which every batch needs.")]),
    ...(mayCreateSchema || !isSchemaNeeded ? [] : [grant("CREATE", "may not create the schema vaivem.")])
  ]
}

/** The older sync script kept a table of that name; ours is a view. */
const olderChangelog = (found: Inspected): ReadonlyArray<string> =>
  found._tag === "Unfit" ? [] : [
    `${
      display(found.shape.name)
    } is a table, as an older sync script keeps it. Stop that script for good before the first `
    + "run, for it deletes rows that it does not find; the first run takes the table over and keeps it under another name."
  ]

const isNear = (host: string): boolean =>
  host.startsWith("/") || host === "memory" || /^127\.|^::1$|localhost$/.test(host)

/** A side whose peer can't be reached still says what it knows about its tables. */
const alone = ({ side, tables }: Seen): ReadonlyArray<TableCheck> =>
  tables.map((found) =>
    found._tag === "Unfit"
      ? { table: display(found.name), problems: [found.problem], notes: [], cures: [] }
      : {
        table: display(found.shape.name),
        problems: [],
        notes: triggerNotes(found.shape, side, "triggers"),
        cures: []
      }
  )

const tablesOf = Effect.fn("tablesOf")(function*(both: Readonly<Record<Side, Seen>>, names: ReadonlyArray<TableName>) {
  const { externalCapture } = yield* SyncConfig
  const contracts = yield* inspectBoth(names)
  const fitting = contracts.flatMap(({ found }) => found._tag === "Fits" ? [found.table] : [])
  const sequences = yield* onBoth((database) => database.sequences(fitting.map(({ name }) => name)))
  return contracts.map(({ found, name }, index): TableCheck => {
    const ids = idFindings(found._tag === "Fits" ? sequencesOf(found.table, sequences) : { replit: [], external: [] })
    const stamps = found._tag === "Fits" && externalCapture === "timestamp" ? stampNotes(found.table) : []
    return {
      table: display(name),
      problems: found._tag === "Fits" ? ids.problems : [found.problem],
      notes: [
        ...(found._tag === "Fits" ? [...found.warnings, ...found.notes] : []),
        ...stamps.map(({ solves }) => solves),
        ...sides.flatMap((side) => {
          const inspected = both[side].tables[index]
          return inspected?._tag === "Table" ? triggerNotes(inspected.shape, side, externalCapture) : []
        }),
        ...ids.notes
      ],
      cures: [...(found._tag === "Refused" ? [] : found.cures), ...stamps, ...ids.cures]
    }
  })
})

/** What finding changes by stamps asks of a table of external: notes, with the SQL of each. */
const stampNotes = ({ name, shapes: { external }, stamp }: SyncedTable): ReadonlyArray<Cure> => {
  const table = display(name)
  const column = external.columns.find((found) => found.name === stamp)
  if (column === undefined) return []
  const notNull = `ALTER TABLE ${table} ALTER COLUMN ${quote(column.name)} SET NOT NULL;`
  return [
    ...(external.leadingColumns.includes(column.name) ? [] : [
      safeCure(
        `No index of ${table} on external begins with "${column.name}", so that every cycle reads the whole table. As its owner, `
          + `run: CREATE INDEX ON ${table} (${quote(column.name)});`,
        "external",
        { _tag: "AddIndex", table: name, column: column.name }
      )
    ]),
    ...(column.notNull ? [] : [
      cureByHand(
        `"${column.name}" of ${table} may be null on external: an update that leaves it so is found by verify alone. When it is `
          + `filled, run as its owner: ${notNull}`,
        "external",
        notNull
      )
    ])
  ]
}

const triggerNotes = (
  { afterTriggers, beforeTriggers }: TableShape,
  side: Side,
  externalCapture: SyncConfig["Type"]["externalCapture"]
): ReadonlyArray<string> => [
  ...(beforeTriggers.length === 0
    ? []
    : side === "external" && externalCapture === "timestamp"
    ? [
      `BEFORE triggers on external (${
        beforeTriggers.join(", ")
      }) may alter rows that arrive by the sync: what they made of them `
      + "comes back to Replit."
    ]
    : [`BEFORE triggers on ${label(side)} (${beforeTriggers.join(", ")}) do not alter rows that arrive by the sync.`]),
  ...(afterTriggers.length === 0
    ? []
    : [`AFTER triggers on ${label(side)} (${afterTriggers.join(", ")}) also fire for rows that arrive by the sync.`])
]

const pairProblems = Effect.fn("pairProblems")(function*({ external, replit }: Readonly<Record<Side, Seen>>) {
  const same = yield* refuseSameDatabase.pipe(
    Effect.as([]),
    Effect.catchTag("ActionNeeded", ({ message }) => Effect.succeed([message]))
  )
  const pair = pairProblem({ replit: replit.identity, external: external.identity })
  const isTold = same.length > 0 || replit.refused.length + external.refused.length > 0
  return isTold || pair === null ? same : [pair]
})

const modeNotes = ({ externalCapture, externalSweepEvery, externalWindow }: SyncConfig["Type"]) => {
  if (externalCapture === "triggers") return []
  const everyMs = Duration.toMillis(externalSweepEvery)
  return [
    "Nothing is installed in the external database (EXTERNAL_CAPTURE=timestamp): its changes are found by their stamps, if they "
    + `are committed within ${duration(Duration.toMillis(externalWindow))}, and its deletes by comparing keys, ${
      everyMs === 0 ? "with each cycle" : `every ${duration(everyMs)} at most`
    }.`
  ]
}

/** More than the time of asking, so that it is the clocks. */
const clockNotes = (
  both: Readonly<Record<Side, Seen>>,
  { externalCapture }: SyncConfig["Type"]
): ReadonlyArray<string> => {
  const { external, replit } = both
  const apartMs = Math.abs(replit.hello.clockOffsetMs - external.hello.clockOffsetMs)
  if (apartMs < 1_000 + replit.hello.latencyMs + external.hello.latencyMs) return []
  const late: Side = replit.hello.clockOffsetMs < external.hello.clockOffsetMs ? "replit" : "external"
  return [
    `The two servers' clocks are ${(apartMs / 1000).toFixed(1)} s apart: in a conflict under last-write-wins, ${
      label(opposite(late))
    } seems that much later than it is. ${
      externalCapture === "timestamp"
        ? "Changes are found by external's own clock: a stamp that an app sets by another one must not be older than "
          + "EXTERNAL_WINDOW when it is committed."
        : "Nothing else depends on clocks."
    }`
  ]
}

const nothingFound: Findings = { problems: [], notes: [], cures: [] }
