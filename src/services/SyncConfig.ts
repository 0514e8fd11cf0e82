/**
 * Everything that can be set: meaning, unit, default and the variable's name. Read from the environment and, where it
 * is silent, from the file `.env.sync` in the working directory; a variable that is empty counts as not set. What is
 * wrong is told all at once, in one error with a line a setting, and never with a URL in it.
 */
import { FileSystem } from "@effect/platform"
import { Config, Context, Duration, Effect, Either, Layer, Option } from "effect"
import { type Brake, defaultBrake, parse as parseBrake } from "../domain/brake.ts"
import { type ConnectionTarget, parseUrl, requireDirect, requireTls } from "../domain/ConnectionTarget.ts"
import type { Policy } from "../domain/decide.ts"
import { type HttpAddress, parse as parseHttp } from "../domain/HttpAddress.ts"
import { parseBytes } from "../domain/Quantity.ts"
import { type Side, sides, urlSetting } from "../domain/Side.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import {
  type Assignments,
  display,
  isSelected,
  parseAssignments,
  parseColumns,
  parseSelection,
  type Selection,
  type TableName
} from "../domain/TableName.ts"
import { parse as parseTelemetry, type Telemetry } from "../domain/Telemetry.ts"
import { parse as parseWebhook, type Webhook, webhookFormats } from "../domain/Webhook.ts"
import * as EnvFile from "./EnvFile.ts"
import { type Name, names, variables } from "./variables.ts"

export class SyncConfig extends Context.Tag("vaivem/services/SyncConfig")<SyncConfig, {
  /** Replit's database. `DATABASE_URL`, required. */
  readonly replitUrl: ConnectionTarget
  /** The external database. `EXTERNAL_DB_URL`, required. */
  readonly externalUrl: ConnectionTarget
  /** The tables to keep equal by name, each once. `SYNC_TABLES`, default `perfis`. Empty when there are only wildcards. */
  readonly tables: ReadonlyArray<TableName>
  /** Schemas whose tables are all meant: `*` (that is `public.*`) and `schema.*` of `SYNC_TABLES`. */
  readonly schemas: ReadonlyArray<string>
  /** What of those is not meant. `SYNC_EXCLUDE`, default nothing. */
  readonly excluded: Selection
  /** Column that says when a row last changed. `SYNC_STAMP`, default `updated_at`; a table need not have it. */
  readonly stampOf: (table: TableName) => string
  /** Whether the person said nothing about this table's stamp column, so that its absence is no mistake. */
  readonly stampIsDefault: (table: TableName) => boolean
  /** Who wins a conflict. `SYNC_CONFLICT_POLICY`, default `last-write-wins`. */
  readonly policyOf: (table: TableName) => Policy
  /** Columns whose values are shown nowhere, by name. `SYNC_HIDE_COLUMNS`, default none. */
  readonly hiddenOf: (table: TableName) => ReadonlyArray<string>
  /** Pause between the end of a cycle and the start of the next: more than 0, at most 24 days. `SYNC_INTERVAL`. */
  readonly interval: Duration.Duration
  /** `eco` visits external less and less often while nothing changes there. `SYNC_SCHEDULE`, default `spaced`. */
  readonly schedule: "spaced" | "eco"
  /** The longest pause of `eco`: not less than `interval`, at most 24 days. `SYNC_MAX_INTERVAL`, default 60 minutes. */
  readonly maxInterval: Duration.Duration
  /** Whether changes on both sides wake the service at once. `SYNC_LIVE`, default false; not together with `eco`. */
  readonly live: boolean
  /** The sides whose changes are announced to the service: both in live mode, Replit's in eco and with stamps on external. */
  readonly listensTo: ReadonlyArray<Side>
  /** Most rows a batch holds, 1 to 1,000,000. `SYNC_BATCH_ROWS_MAX`. */
  readonly batchRowsMax: number
  /**
   * A cycle that takes longer is ended: more than 0, at most 24 days; for programs, infinity is no limit. `SYNC_CYCLE_MAX`,
   * default 2 hours.
   */
  readonly cycleMax: Duration.Duration
  /** How long history is kept; zero keeps only what the protocol needs. `SYNC_RETENTION`. */
  readonly retention: Duration.Duration
  /** How long conflicts are kept, restored or not, at most 36,500 days. `SYNC_KEEP_CONFLICTS`, default 90 days. */
  readonly keepConflicts: Duration.Duration
  /**
   * Unread for so long, a queue counts as abandoned: capture folds it to one change a key. At least 1 hour, or null, which
   * is never. `SYNC_ABANDONED_AFTER`, default 30 days.
   */
  readonly abandonedAfter: Duration.Duration | null
  /**
   * A queue with more bytes is folded as well while no service is connected; null never. `SYNC_QUEUE_MAX`, default 1 GB,
   * some 7,000,000 changes.
   */
  readonly queueMax: number | null
  /** How long commands and `--once` go on trying what may pass by itself, at most 1 day. `SYNC_RETRY_FOR`, default 60 s. */
  readonly retryFor: Duration.Duration
  /** Form of the log; `auto` is `pretty` on a terminal and `logfmt` elsewhere. `SYNC_LOG_FORMAT`. */
  readonly logFormat: "auto" | "pretty" | "logfmt" | "json"
  /** Whether a run sets both sides up by itself. `SYNC_AUTO_SETUP`, default true. */
  readonly autoSetup: boolean
  /** Whether an update that leaves the stamp column unchanged bumps it. `SYNC_TOUCH`, default true. */
  readonly touch: boolean
  /** How much a cycle may take away of a table before it is held; null never holds. `SYNC_BRAKE`, default `50 rows, 20 %`. */
  readonly brake: Brake
  /**
   * How changes of external are found: by triggers, or by the stamp column and by comparing keys, where nothing may be
   * installed. `EXTERNAL_CAPTURE`, default `triggers`.
   */
  readonly externalCapture: "triggers" | "timestamp"
  /**
   * With `timestamp`: so long may a transaction on external take from setting its stamps to its commit, more than 0 and at
   * most 7 days. `EXTERNAL_WINDOW`, default 15 minutes.
   */
  readonly externalWindow: Duration.Duration
  /** With `timestamp`: how often keys are compared to find deletes; zero is each cycle. `EXTERNAL_SWEEP_EVERY`, default 0. */
  readonly externalSweepEvery: Duration.Duration
  /** How many bytes a day the rolling proof takes out of both databases; null is off. `SYNC_VERIFY_BUDGET`, default 20 MB. */
  readonly verifyBudget: number | null
  /** Whether what the rolling proof finds different is mended by the conflict rule. `SYNC_VERIFY_REPAIR`, default false. */
  readonly verifyRepair: boolean
  /**
   * Where the service answers HTTP; null, the default, is nowhere. `SYNC_HTTP_PORT`; `SYNC_HTTP_HOST`, default 127.0.0.1;
   * `SYNC_HTTP_TOKEN`, which any host needs that others can reach.
   */
  readonly http: HttpAddress | null
  /**
   * Whom the service tells what a person should know; null, the default, is nobody. `SYNC_NOTIFY_URL`, and `SYNC_NOTIFY_FORMAT`
   * where its host doesn't say which form it wants.
   */
  readonly notify: Webhook | null
  /**
   * Where traces and metrics go; null, the default, is nowhere, and so is a problem: other programs read these variables, too.
   * `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_PROTOCOL`, `OTEL_SERVICE_NAME`.
   */
  readonly telemetry: Either.Either<Telemetry | null, string>
}>() {
  /** Settings given by a program: what is left out has its default. */
  static readonly layer = (settings: Settings): Layer.Layer<SyncConfig> => Layer.succeed(this, make(settings))

  /** Settings from the current `ConfigProvider` and, where it has none, from a file (default: `.env.sync`). */
  static readonly layerFromEnv = (
    options: { readonly file?: string } = {}
  ): Layer.Layer<SyncConfig, ActionNeeded, FileSystem.FileSystem> =>
    Layer.effect(this, Effect.map(fromEnv(options.file ?? ".env.sync"), make))
}

/** What can be given to `SyncConfig.layer`; all but the two URLs has a default. */
export interface Settings {
  readonly replitUrl: ConnectionTarget
  readonly externalUrl: ConnectionTarget
  readonly tables?: ReadonlyArray<TableName> | undefined
  readonly schemas?: ReadonlyArray<string> | undefined
  readonly excluded?: Selection | undefined
  readonly stamps?: Assignments | undefined
  readonly policies?: Assignments<Policy> | undefined
  readonly hidden?: ReadonlyArray<{ readonly table: TableName; readonly column: string }> | undefined
  readonly interval?: Duration.DurationInput | undefined
  readonly schedule?: SyncConfig["Type"]["schedule"] | undefined
  readonly maxInterval?: Duration.DurationInput | undefined
  readonly live?: boolean | undefined
  readonly batchRowsMax?: number | undefined
  readonly cycleMax?: Duration.DurationInput | undefined
  readonly retention?: Duration.DurationInput | undefined
  readonly keepConflicts?: Duration.DurationInput | undefined
  readonly abandonedAfter?: Duration.DurationInput | null | undefined
  readonly queueMax?: number | null | undefined
  readonly retryFor?: Duration.DurationInput | undefined
  readonly logFormat?: SyncConfig["Type"]["logFormat"] | undefined
  readonly autoSetup?: boolean | undefined
  readonly touch?: boolean | undefined
  readonly brake?: Brake | undefined
  readonly externalCapture?: SyncConfig["Type"]["externalCapture"] | undefined
  readonly externalWindow?: Duration.DurationInput | undefined
  readonly externalSweepEvery?: Duration.DurationInput | undefined
  readonly verifyBudget?: number | null | undefined
  readonly verifyRepair?: boolean | undefined
  readonly http?: HttpAddress | null | undefined
  readonly notify?: Webhook | null | undefined
  readonly telemetry?: SyncConfig["Type"]["telemetry"] | undefined
}

const make = (settings: Settings): SyncConfig["Type"] => {
  const { policies, stamps } = settings
  return {
    replitUrl: settings.replitUrl,
    externalUrl: settings.externalUrl,
    tables: settings.tables ?? (settings.schemas === undefined ? defaultTables : []),
    schemas: settings.schemas ?? [],
    excluded: settings.excluded ?? { names: [], schemas: [] },
    stampOf: (table) => assigned(stamps, table) ?? variables.SYNC_STAMP.default,
    stampIsDefault: (table) => assigned(stamps, table) === undefined,
    policyOf: (table) => assigned(policies, table) ?? variables.SYNC_CONFLICT_POLICY.default,
    hiddenOf: (table) =>
      (settings.hidden ?? []).filter((it) => display(it.table) === display(table)).map(({ column }) => column),
    interval: Duration.decode(settings.interval ?? variables.SYNC_INTERVAL.default),
    schedule: settings.schedule ?? variables.SYNC_SCHEDULE.default,
    maxInterval: Duration.decode(settings.maxInterval ?? variables.SYNC_MAX_INTERVAL.default),
    live: settings.live ?? false,
    listensTo: listensTo(settings),
    batchRowsMax: settings.batchRowsMax ?? 25_000,
    cycleMax: Duration.decode(settings.cycleMax ?? variables.SYNC_CYCLE_MAX.default),
    retention: Duration.decode(settings.retention ?? variables.SYNC_RETENTION.default),
    keepConflicts: Duration.decode(settings.keepConflicts ?? variables.SYNC_KEEP_CONFLICTS.default),
    abandonedAfter: settings.abandonedAfter === null
      ? null
      : Duration.decode(settings.abandonedAfter ?? variables.SYNC_ABANDONED_AFTER.default),
    queueMax: settings.queueMax === undefined ? 1_000_000_000 : settings.queueMax,
    retryFor: Duration.decode(settings.retryFor ?? variables.SYNC_RETRY_FOR.default),
    logFormat: settings.logFormat ?? variables.SYNC_LOG_FORMAT.default,
    autoSetup: settings.autoSetup ?? true,
    touch: settings.touch ?? true,
    brake: settings.brake === undefined ? defaultBrake : settings.brake,
    externalCapture: settings.externalCapture ?? variables.EXTERNAL_CAPTURE.default,
    externalWindow: Duration.decode(settings.externalWindow ?? variables.EXTERNAL_WINDOW.default),
    externalSweepEvery: Duration.decode(settings.externalSweepEvery ?? 0),
    verifyBudget: settings.verifyBudget === undefined ? 20_000_000 : settings.verifyBudget,
    verifyRepair: settings.verifyRepair ?? false,
    http: settings.http ?? null,
    notify: settings.notify ?? null,
    telemetry: settings.telemetry ?? Either.right(null)
  }
}

/** Where nothing may be installed, nothing announces changes. */
const listensTo = ({ externalCapture, live, schedule }: Settings): ReadonlyArray<Side> => {
  if (live === true && externalCapture !== "timestamp") return sides
  return live === true || schedule === "eco" ? ["replit"] : []
}

const assigned = <A extends string>(assignments: Assignments<A> | undefined, table: TableName): A | undefined =>
  assignments?.byTable.get(display(table)) ?? assignments?.default

const fromEnv = Effect.fn("SyncConfig.fromEnv")(function*(file: string) {
  const env = yield* environment(yield* EnvFile.read(file))
  const selection = optional(env, "SYNC_TABLES", parseSelection)
  // Other settings name tables of it, so one that can't be read says nothing about them.
  const known = Either.match(selection, { onLeft: () => null, onRight: (it) => it ?? defaultSelection })
  const assignments = (name: Name) =>
    known === null
      ? Either.right(undefined)
      : optional(env, name, (text) => parseAssignments(text, (table) => isSelected(known, table)))
  const { allowPlaintext: __, tables: _, ...settings } = yield* Effect.all({
    allowPlaintext: optional(env, "SYNC_ALLOW_PLAINTEXT", yesOrNo),
    replitUrl: url(env, "replit"),
    externalUrl: url(env, "external"),
    tables: selection,
    excluded: optional(
      env,
      "SYNC_EXCLUDE",
      (text) => known === null ? Either.right(undefined) : exclusion(text, known)
    ),
    stamps: assignments("SYNC_STAMP"),
    policies: Either.flatMap(assignments("SYNC_CONFLICT_POLICY"), policies),
    hidden: known === null
      ? Either.right(undefined)
      : optional(env, "SYNC_HIDE_COLUMNS", (text) => parseColumns(text, (table) => isSelected(known, table))),
    interval: optional(env, "SYNC_INTERVAL", interval),
    schedule: optional(env, "SYNC_SCHEDULE", oneOf("spaced", "eco")),
    maxInterval: optional(env, "SYNC_MAX_INTERVAL", (text) => maxInterval(text, env.get("SYNC_INTERVAL"))),
    live: optional(env, "SYNC_LIVE", (text) => live(text, env.get("SYNC_SCHEDULE"))),
    batchRowsMax: optional(env, "SYNC_BATCH_ROWS_MAX", rows),
    cycleMax: optional(env, "SYNC_CYCLE_MAX", interval),
    retention: optional(env, "SYNC_RETENTION", retention),
    keepConflicts: optional(env, "SYNC_KEEP_CONFLICTS", keepConflicts),
    abandonedAfter: optional(env, "SYNC_ABANDONED_AFTER", abandonedAfter),
    queueMax: optional(env, "SYNC_QUEUE_MAX", queueMax),
    retryFor: optional(env, "SYNC_RETRY_FOR", retryFor),
    logFormat: optional(env, "SYNC_LOG_FORMAT", oneOf("auto", "pretty", "logfmt", "json")),
    autoSetup: optional(env, "SYNC_AUTO_SETUP", yesOrNo),
    touch: optional(env, "SYNC_TOUCH", yesOrNo),
    brake: optional(env, "SYNC_BRAKE", parseBrake),
    externalCapture: optional(env, "EXTERNAL_CAPTURE", oneOf("triggers", "timestamp")),
    externalWindow: optional(env, "EXTERNAL_WINDOW", window),
    externalSweepEvery: optional(env, "EXTERNAL_SWEEP_EVERY", sweepEvery),
    verifyBudget: optional(env, "SYNC_VERIFY_BUDGET", budget),
    verifyRepair: optional(env, "SYNC_VERIFY_REPAIR", yesOrNo),
    http: parseHttp({
      port: env.get("SYNC_HTTP_PORT"),
      host: env.get("SYNC_HTTP_HOST"),
      token: env.get("SYNC_HTTP_TOKEN")
    }),
    notify: Either.flatMap(
      optional(env, "SYNC_NOTIFY_FORMAT", oneOf(...webhookFormats)),
      (format) => parseWebhook({ url: env.get("SYNC_NOTIFY_URL"), format, plain: allowsPlain(env) })
    )
  }, { mode: "validate" }).pipe(
    Effect.mapError((problems) => oneError(Object.values(problems).flatMap((problem) => Option.toArray(problem))))
  )
  const telemetry = parseTelemetry({
    endpoint: env.get("OTEL_EXPORTER_OTLP_ENDPOINT"),
    headers: env.get("OTEL_EXPORTER_OTLP_HEADERS"),
    protocol: env.get("OTEL_EXPORTER_OTLP_PROTOCOL"),
    serviceName: env.get("OTEL_SERVICE_NAME")
  })
  return { ...settings, tables: known?.names, schemas: known?.schemas, telemetry }
})

type Environment = ReadonlyMap<Name, string>

const defaultTables: ReadonlyArray<TableName> = [{ schema: "public", name: "perfis" }]
const defaultSelection: Selection = { names: defaultTables, schemas: [] }

/** What is set, trimmed: the environment goes before the file, and a variable that is empty is not set. */
const environment = Effect.fnUntraced(function*(file: ReadonlyMap<string, string>) {
  const env = new Map<Name, string>()
  for (const name of names) {
    const given = yield* Effect.mapError(
      Config.option(Config.string(name)),
      () => new ActionNeeded({ message: `${name} can't be read from the environment.` })
    )
    const value = Option.getOrElse(given, () => "").trim() || (file.get(name) ?? "").trim()
    if (value !== "") env.set(name, value)
  }
  return env
})

const oneError = (problems: ReadonlyArray<string>) => {
  // Whoever put a URL into the wrong variable should not find its password in a log.
  const lines = problems.map((problem) => problem.replace(/\S*:\/\/(?!user:password@host)\S*/g, "…"))
  return new ActionNeeded({
    message: lines.length === 1 ? lines.join() : [`${lines.length} settings must change:`, ...lines].join("\n- ")
  })
}

const optional = <A>(
  env: Environment,
  name: Name,
  parse: (text: string) => Either.Either<A, string>
): Either.Either<A | undefined, string> => {
  const text = env.get(name)
  if (text === undefined) return Either.right(undefined)
  return Either.mapLeft(parse(text), (problem) => `${name}: ${problem}.`)
}

const url = Effect.fnUntraced(function*(env: Environment, side: Side) {
  const text = env.get(urlSetting(side))
  if (text === undefined) return yield* Effect.fail(urlMissing[side])
  const target = yield* Effect.mapError(
    Either.flatMap(parseUrl(side, text), requireDirect),
    (problem) => `${problem.message}.`
  )
  if (!allowsPlain(env)) yield* Effect.mapError(requireTls(target), (problem) => `${problem.message}.`)
  return yield* withAuthorities(target)
})

/** Said once that it can't be read, which leaves TLS required. */
const allowsPlain = (env: Environment): boolean =>
  Either.getOrElse(optional(env, "SYNC_ALLOW_PLAINTEXT", yesOrNo), () => false) ?? false

const urlMissing: Readonly<Record<Side, string>> = {
  replit:
    "DATABASE_URL is not set. Replit sets it when the app has a database: add one in its Database tool, or write " +
    "DATABASE_URL=… into .env.sync.",
  external:
    "EXTERNAL_DB_URL is not set. Write EXTERNAL_DB_URL=postgresql://user:password@host:5432/database into .env.sync " +
    "or the app's Secrets, with the direct (not pooled) connection string from the database's console."
}

/** Reads the file that `sslrootcert` names. */
const withAuthorities = Effect.fnUntraced(function*(target: ConnectionTarget) {
  if (target.ssl === false || target.ssl.caFile === null) return target
  const { caFile } = target.ssl
  const fs = yield* FileSystem.FileSystem
  const ca = yield* Effect.mapError(
    fs.readFileString(caFile),
    (error) =>
      `${urlSetting(target.side)} names a file that can't be read: sslrootcert=${caFile} (${EnvFile.reason(error)}).`
  )
  return { ...target, ssl: { ...target.ssl, ca } }
})

const exclusion = (text: string, { names, schemas }: Selection): Either.Either<Selection, string> =>
  Either.gen(function*() {
    const excluded = yield* parseSelection(text)
    const both = names.find((name) => isSelected(excluded, name))
    if (both !== undefined) return yield* Either.left(`${display(both)} is in SYNC_TABLES by name`)
    const idle = [...excluded.names.map(({ schema }) => schema), ...excluded.schemas].find((it) =>
      !schemas.includes(it)
    )
    return idle === undefined ? excluded : yield* Either.left(
      `SYNC_TABLES has no wildcard for the schema ${idle}, so there is nothing to leave out of it`
    )
  })

const policies = (assignments: Assignments | undefined): Either.Either<Assignments<Policy> | undefined, string> =>
  Either.gen(function*() {
    if (assignments === undefined) return undefined
    const policy = (text: string) => Either.mapLeft(toPolicy(text), (problem) => `SYNC_CONFLICT_POLICY: ${problem}.`)
    const byTable = new Map<string, Policy>()
    for (const [table, text] of assignments.byTable) byTable.set(table, yield* policy(text))
    return assignments.default === undefined ? { byTable } : { default: yield* policy(assignments.default), byTable }
  })

const oneOf = <const A extends string>(...values: ReadonlyArray<A>) => (text: string): Either.Either<A, string> =>
  Either.fromNullable(
    values.find((value) => value === text.toLowerCase()),
    () => `${text} is none of ${values.join(", ")}`
  )

const toPolicy = oneOf("last-write-wins", "replit-wins", "external-wins")

const yesOrNo = (text: string): Either.Either<boolean, string> =>
  Either.map(
    oneOf("true", "false", "yes", "no", "on", "off", "1", "0")(text),
    (value) => ["true", "yes", "on", "1"].includes(value)
  )

const rows = (text: string): Either.Either<number, string> =>
  /^\d{1,7}$/.test(text) && Number(text) >= 1 && Number(text) <= 1_000_000
    ? Either.right(Number(text))
    : Either.left(`${text} is no whole number from 1 to 1000000`)

/** Bytes, or null for `never`. */
const queueMax = (text: string): Either.Either<number | null, string> => {
  if (text.toLowerCase() === "never") return Either.right(null)
  const bytes = parseBytes(text)
  return bytes === null || bytes < 1_000_000
    ? Either.left(`${text} is neither never nor a size of 1 MB or more, as in 1 GB`)
    : Either.right(bytes)
}

const abandonedAfter = (text: string): Either.Either<Duration.Duration | null, string> =>
  text.toLowerCase() === "never" ? Either.right(null) : duration(text, "30 days (or never)").pipe(
    Either.filterOrLeft(
      (value) => Duration.between(value, { minimum: "1 hour", maximum: "36500 days" }),
      () => `${text} is out of range; it must be from 1 hour to 36500 days, or never`
    )
  )

const keepConflicts = (text: string): Either.Either<Duration.Duration, string> =>
  duration(text, "90 days").pipe(
    Either.filterOrLeft(
      (value) => Duration.between(value, { minimum: "1 day", maximum: "36500 days" }),
      () => `${text} is out of range; it must be from 1 to 36500 days`
    )
  )

/** Bytes a day, or null for `off`. */
const budget = (text: string): Either.Either<number | null, string> => {
  if (text.toLowerCase() === "off") return Either.right(null)
  const bytes = parseBytes(text)
  return bytes === null
    ? Either.left(`${text} is neither off nor a number of bytes a day, as in 20 MB`)
    : Either.right(bytes)
}

const duration = (text: string, example: string): Either.Either<Duration.Duration, string> =>
  text.startsWith("-")
    ? Either.left(`${text} is negative`)
    : Either.fromOption(
      Duration.decodeUnknown(text.toLowerCase()),
      () => `${text} is no duration; write a number and a unit, as in ${example}`
    )

const window = (text: string): Either.Either<Duration.Duration, string> =>
  duration(text, "15 minutes or 1 hour").pipe(
    Either.filterOrLeft(
      (value) => Duration.greaterThan(value, Duration.zero) && Duration.lessThanOrEqualTo(value, Duration.days(7)),
      () => `${text} is out of range; it must be more than 0 and at most 7 days, as in 15 minutes`
    )
  )

const sweepEvery = (text: string): Either.Either<Duration.Duration, string> =>
  text === "0" ? Either.right(Duration.zero) : duration(text, "1 hour (or 0 for each cycle)").pipe(
    Either.filterOrLeft(
      (value) => Duration.lessThanOrEqualTo(value, Duration.days(30)),
      () => `${text} is out of range; it must be at most 30 days, as in 1 hour`
    )
  )

const interval = (text: string): Either.Either<Duration.Duration, string> =>
  duration(text, "5 minutes, 30 seconds or 1 hour").pipe(
    // Node's timers count milliseconds in 31 bits; beyond that Effect's clock never wakes up.
    Either.filterOrLeft(
      (value) => Duration.greaterThan(value, Duration.zero) && Duration.lessThanOrEqualTo(value, Duration.days(24)),
      () => `${text} is out of range; it must be more than 0 and at most 24 days, as in 5 minutes`
    )
  )

const maxInterval = (text: string, shortest: string | undefined): Either.Either<Duration.Duration, string> =>
  Either.filterOrLeft(
    interval(text),
    (value) =>
      Either.match(interval(shortest ?? variables.SYNC_INTERVAL.default), {
        onLeft: () => true,
        onRight: (least) => Duration.greaterThanOrEqualTo(value, least)
      }),
    () => `${text} is shorter than SYNC_INTERVAL (${shortest ?? variables.SYNC_INTERVAL.default})`
  )

const live = (text: string, schedule: string | undefined): Either.Either<boolean, string> =>
  Either.filterOrLeft(
    yesOrNo(text),
    (wanted) => !(wanted && schedule?.toLowerCase() === "eco"),
    () => "live mode keeps external awake, which SYNC_SCHEDULE=eco is to avoid: choose one of them"
  )

const retention = (text: string): Either.Either<Duration.Duration, string> =>
  text === "0" ? Either.right(Duration.zero) : duration(text, "7 days or 12 hours (or 0)").pipe(
    Either.filterOrLeft(
      (value) => Duration.lessThanOrEqualTo(value, Duration.days(36_500)),
      () => `${text} is out of range; it must be at most 36500 days`
    )
  )

const retryFor = (text: string): Either.Either<Duration.Duration, string> =>
  text === "0" ? Either.right(Duration.zero) : duration(text, "60 seconds (or 0)").pipe(
    Either.filterOrLeft(
      (value) => Duration.lessThanOrEqualTo(value, Duration.days(1)),
      () => `${text} is out of range; it must be at most 1 day`
    )
  )
