/**
 * One PostgreSQL database as a pool of connections, with transactions that can never reach another database.
 *
 * Why not `PgClient` of `@effect/sql-pg`: in `@effect/sql` 0.52 all clients share one transaction tag, so a statement
 * for one database inside the other's transaction runs on the wrong one; a failed COMMIT is a defect there; and COPY
 * must share its connection with the statements around it. Statements are still made by `@effect/sql`.
 */
import * as NodeSink from "@effect/platform-node/NodeSink"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as PgClient from "@effect/sql-pg/PgClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import { Context, Deferred, Duration, Effect, Fiber, Option, Queue, type Scope, Stream } from "effect"
import * as Net from "node:net"
import * as Pg from "pg"
import * as Copy from "pg-copy-streams"
import type { ConnectionTarget } from "../../domain/ConnectionTarget.ts"
import { toPgOptions } from "../../domain/ConnectionTarget.ts"
import type { Side } from "../../domain/Side.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import type { TableName } from "../../domain/TableName.ts"
import type { Traffic } from "../Database.ts"
import { fromPg } from "../PgErrors.ts"
import { fly, type Prepared, type Step, type StepResult } from "./Flight.ts"

/** A row as PostgreSQL prints it: every value is text or null. */
export type Row = Readonly<Record<string, string | null>>

export interface PgSession {
  readonly side: Side
  readonly target: ConnectionTarget
  /** Begins a transaction with the pinned settings. It is rolled back when the scope closes before `commit`. */
  readonly begin: (options?: BeginOptions) => Effect.Effect<Transaction, SyncError, Scope.Scope>
  /** Runs `self` in one transaction of this database; `sql` joins it, by a tag that only this database has. */
  readonly transaction: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options?: BeginOptions
  ) => Effect.Effect<A, E | SyncError, R>
  /** Statements of fixed tables: in the current `transaction` of this database, or on a connection of their own. */
  readonly sql: Statement.Constructor
  /** Runs a statement made by `sql`, with its error sorted. */
  readonly run: <A extends object = Row>(
    statement: Statement.Statement<A>
  ) => Effect.Effect<ReadonlyArray<A>, SyncError>
  /** One statement on a connection of its own, or in the current `transaction`. */
  readonly query: (text: string, values?: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, SyncError>
  /**
   * A flight on one connection, committed by its own COMMIT or, without BEGIN, by its end: see Flight.ts. `make` is told
   * what this connection keeps in its stage.
   */
  readonly flight: (
    make: (stage: Kept) => Plan,
    options?: Pick<BeginOptions, "table" | "primaryKey" | "fenced">
  ) => Effect.Effect<Flown, SyncError>
  /** The same for a statement that no search_path can mislead, which saves a new connection a round trip; see `pin`. */
  readonly ask: (text: string, values?: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, SyncError>
  /** A connection of its own for the scope, outside any transaction: for advisory locks that live as long. */
  readonly reserve: Effect.Effect<Transaction["query"], SyncError, Scope.Scope>
  /** The same for statements as those of `ask`. */
  readonly reserveToAsk: Effect.Effect<Transaction["query"], SyncError, Scope.Scope>
  /** The same outside the pool, with LISTEN. */
  readonly listen: (channel: string) => Effect.Effect<Listening, SyncError, Scope.Scope>
  /** What went over the network on all connections so far, set-up and TLS included. */
  readonly traffic: Effect.Effect<Traffic>
  /** Closes the pool's connections; those in use when they are given back. */
  readonly disconnect: Effect.Effect<void>
  /** From now on a transaction commits only while `vaivem.pairs` has this epoch; null ends that. Asks nothing. */
  readonly fence: (epoch: bigint | null) => Effect.Effect<void>
  /** That epoch. */
  readonly epoch: Effect.Effect<bigint | null>
  /** Breaks every connection, in use or not: what waits for an answer fails at once. */
  readonly abort: Effect.Effect<void>
}

export interface Listening {
  readonly query: Transaction["query"]
  /** Returns when there was a notification since it returned last, and fails when the connection is lost. */
  readonly heard: Effect.Effect<void, SyncError>
}

export interface SessionOptions {
  /** The server refuses whatever would write. Default false. */
  readonly readOnly?: boolean
  /** How much longer than the server's own bound on a statement its answer may take on the way. Default 10 seconds. */
  readonly grace?: Duration.DurationInput
}

export interface BeginOptions {
  /** `repeatable read` where several statements must see one snapshot. */
  readonly isolation?: "read committed" | "repeatable read"
  /** For error messages, and to tell a race for a key from a bad row. */
  readonly table?: TableName
  readonly primaryKey?: string | null
  /** Bound on any one statement. Default 7,500: under the 8 s that a batch may take (promise 9). */
  readonly statementTimeoutMs?: number
  /**
   * `theirs` where the user's own triggers fire: their functions may look for tables where the role's search_path says.
   * Our own statements are schema-qualified everywhere. Default: pinned, so that regclass and the like print alike.
   */
  readonly searchPath?: "pinned" | "theirs"
  /** More settings for the transaction, as `[name, value]`. */
  readonly settings?: ReadonlyArray<readonly [string, string]>
  /** Statements to send along with BEGIN, in the same round trip. */
  readonly script?: ReadonlyArray<string>
  /**
   * When the epoch is checked, if it is: with COMMIT, or `first` where the transaction removes what is asked. `never`: it is made
   * only here.
   */
  readonly fenced?: "first" | "never"
}

/** What a connection keeps in its table `pg_temp.vaivem_stage`. */
export type Kept =
  /** There is none. */
  | { readonly _tag: "None" }
  /** There may be one, of whatever shape. */
  | { readonly _tag: "Any" }
  | { readonly _tag: "Stage"; readonly for: object; readonly print: string }

export interface Plan {
  readonly steps: ReadonlyArray<Step>
  /** The connection's stage when the flight has landed; without it, as it was. */
  readonly keeps?: (results: ReadonlyArray<StepResult>) => Kept
}

export type Flown =
  | { readonly _tag: "Landed"; readonly results: ReadonlyArray<StepResult> }
  /** The server refused the step at that place, from 0, and all of it was rolled back. */
  | { readonly _tag: "Refused"; readonly at: number; readonly error: SyncError }

export interface Transaction {
  readonly query: (text: string, values?: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, SyncError>
  /** Several statements without parameters in one round trip; a result each. */
  readonly script: (statements: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<StatementResult>, SyncError>
  readonly copyTo: (text: string) => Stream.Stream<Uint8Array, SyncError>
  /** Returns the bytes sent. */
  readonly copyFrom: (text: string, bytes: Stream.Stream<Uint8Array, SyncError>) => Effect.Effect<number, SyncError>
  /** Commits, with `statements` in the same round trip before. A lost answer is `Unavailable`: nobody knows the outcome. */
  readonly commit: (statements?: ReadonlyArray<string>) => Effect.Effect<void, SyncError>
}

export interface StatementResult {
  readonly rows: ReadonlyArray<Row>
  readonly count: number
}

/**
 * For one row that did not get through in a batch's time. The other side waits in its transaction meanwhile, for up to
 * three such statements.
 */
export const patient = {
  statementTimeoutMs: 60_000,
  settings: [["idle_in_transaction_session_timeout", "240000"]]
} as const satisfies BeginOptions

/** Makes the pool; opens no connection before the first use. */
export const make = Effect.fn("PgSession.make")(function*(
  target: ConnectionTarget,
  { grace = "10 seconds", readOnly = false }: SessionOptions = {}
) {
  const graceMs = Duration.toMillis(grace)
  const meter = makeMeter()
  let pool = makePool(target, meter)
  let epoch: bigint | null = null
  const fence = (): ReadonlyArray<string> => epoch === null ? [] : [`select vaivem.fence(${epoch})`]
  yield* Effect.addFinalizer(() => Effect.suspend(() => endPool(pool)))
  const sort = (options: BeginOptions | undefined, committing = false) =>
    fromPg(target.side, options?.table, { target, primaryKey: options?.primaryKey ?? null, committing })
  const CurrentTransaction = Context.GenericTag<never, Client>(`vaivem/${target.side}/Transaction`)

  const acquire = (options?: BeginOptions): Effect.Effect<Client, SyncError, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.tryPromise({
        try: () => connect(pool, target.side, (options?.statementTimeoutMs ?? defaultTimeoutMs) + graceMs),
        catch: sort(options)
      }),
      (client) => Effect.sync(() => client.release())
    ).pipe(Effect.tap((client) => readOnly ? makeReadOnly(client, sort(options)) : Effect.void))

  const begin = Effect.fnUntraced(function*(options?: BeginOptions) {
    const client = yield* acquire(options)
    yield* Effect.addFinalizer(() => rollBack(client))
    yield* onClient(client, sort(options)).script([
      `begin isolation level ${options?.isolation ?? "read committed"}`,
      ...(options?.searchPath === "theirs" ? [theirSearchPath] : []),
      pinned(options),
      ...(options?.fenced === "first" ? fence() : []),
      ...(memoryOf(client).stage._tag === "None" ? [] : [dropStage]),
      ...(options?.script ?? [])
    ])
    if (memoryOf(client).stage._tag === "Stage") memoryOf(client).stage = { _tag: "Any" }
    const atCommit = options?.fenced === undefined ? fence : () => []
    return { client, transaction: transactionOn(client, sort(options), sort(options, true), atCommit) }
  })

  const acquirerBy = (own: Effect.Effect<Client, SyncError, Scope.Scope>): Connection.Acquirer =>
    Effect.flatMap(
      Effect.serviceOption(CurrentTransaction),
      Option.match({
        onNone: () => own.pipe(Effect.map(connectionOf), Effect.mapError(toSqlError)),
        onSome: (client) => Effect.succeed(connectionOf(client))
      })
    )
  const acquireOwn = acquire(onItsOwn)
  const acquirePinned = Effect.tap(acquireOwn, (client) => pin(client, sort(undefined)))
  const acquirer = acquirerBy(acquirePinned)
  const queryBy = (by: Connection.Acquirer): PgSession["query"] => (text, values = []) =>
    Effect.scoped(Effect.flatMap(by, (connection) => connection.execute(text, values, undefined))).pipe(
      Effect.mapError(sort(undefined))
    )

  const session: PgSession = {
    side: target.side,
    target,
    begin: (options) => Effect.map(begin(options), ({ transaction }) => transaction),
    transaction: (self, options) =>
      Effect.scoped(Effect.gen(function*() {
        const { client, transaction } = yield* begin(options)
        const result = yield* Effect.provideService(self, CurrentTransaction, client)
        yield* transaction.commit()
        return result
      })),
    sql: Statement.make(acquirer, PgClient.makeCompiler(), [["db.side", target.side]], undefined),
    run: (statement) => Effect.mapError(statement, sort(undefined)),
    query: queryBy(acquirer),
    ask: queryBy(acquirerBy(acquireOwn)),
    flight: (make, options) =>
      Effect.scoped(Effect.flatMap(acquire(options), (client) =>
        // What it does is done by one answer: given up before that, the connection is in the middle of something.
        guarded(client, sort(options, true), () =>
          flyOn(client, (stage) => options?.fenced === "never" ? make(stage) : fenced(make(stage), fence()))).pipe(
            traced(client, "flight"),
            Effect.flatMap((flown): Effect.Effect<Flown, SyncError> => {
              if ("results" in flown) {
                return Effect.succeed({ _tag: "Landed", results: flown.results })
              }
              const error = sort(options)(flown.cause)
              return Effect.as(rollBack(client), { _tag: "Refused", at: flown.at, error })
            })
          ))),
    reserve: Effect.map(acquirePinned, (client) => onClient(client, sort(undefined)).query),
    reserveToAsk: Effect.map(acquireOwn, (client) => onClient(client, sort(undefined)).query),
    listen: (channel) => listen(target, meter, sort(undefined), channel, onItsOwn.statementTimeoutMs + graceMs),
    traffic: Effect.sync(meter.total),
    disconnect: Effect.suspend(() => {
      const before = pool
      pool = makePool(target, meter)
      return endPool(before)
    }),
    fence: (now) => Effect.sync(() => void (epoch = now)),
    epoch: Effect.sync(() => epoch),
    abort: Effect.sync(meter.abort)
  }
  return session
})

/**
 * The settings under which values become text and back; the same on both sides, whatever their roles and databases say
 * (promise 10). They are set in each transaction, because start-up parameters are refused by poolers.
 */
export const pinned = (options?: BeginOptions): string => {
  const settings: ReadonlyArray<readonly [string, string]> = [
    ...(options?.searchPath === "theirs" ? [] : [["search_path", "pg_catalog"] as const]),
    ["DateStyle", "ISO, YMD"],
    ["IntervalStyle", "postgres"],
    ["TimeZone", "UTC"],
    ["extra_float_digits", "1"],
    ["bytea_output", "hex"],
    ["lc_monetary", "C"],
    ["xmloption", "content"],
    // Off, NULL in an array would be read as a text of four letters.
    ["array_nulls", "on"],
    ["quote_all_identifiers", "off"],
    ["row_security", "off"],
    ["statement_timeout", String(options?.statementTimeoutMs ?? defaultTimeoutMs)],
    // The app is never blocked longer than this by a lock that we wait for.
    ["lock_timeout", "2000"],
    ["idle_in_transaction_session_timeout", "60000"],
    // Rows are looked up by key: the plan must not change to a scan of the whole table because the disk is thought slow.
    ["random_page_cost", "1.1"],
    ["jit", "off"],
    // A batch is up to 32 MB, in its stage and once more where a statement sorts it or keeps it for triggers: with PostgreSQL's
    // 8 and 4 MB that was written to disk. The first must be the same whenever a connection is used.
    ["temp_buffers", "32MB"],
    ["work_mem", "32MB"],
    ...(options?.settings ?? [])
  ]
  const set = settings.map(([name, value]) => `set_config(${Pg.escapeLiteral(name)}, ${Pg.escapeLiteral(value)}, true)`)
  return `select ${[...set, victim].join(", ")}`
}

/**
 * Whoever looks for a deadlock first is the one that gives way: before the app does, after a second. Only a superuser may say so,
 * and who was granted it on 15 or newer, which 14 has no words to ask for.
 */
const victim = "case when current_setting('is_superuser') = 'on' then set_config('deadlock_timeout', '100ms', true) end"

/** What is known of a connection as long as it lives. */
interface Memory {
  readonly prepared: Prepared
  stage: Kept
}

const memories = new WeakMap<Pg.ClientBase, Memory>()

const memoryOf = ({ pg }: Client): Memory => {
  const known = memories.get(pg) ?? { prepared: new Map<string, string>(), stage: { _tag: "None" } }
  memories.set(pg, known)
  return known
}

/** The role's own, which a connection that was pinned doesn't have any more. */
export const theirSearchPath = "set local search_path to default"

/** A stage of another shape may have been left by a flight. */
export const dropStage = "drop table if exists pg_temp.vaivem_stage"

const flyOn = async (
  client: Client,
  make: (stage: Kept) => Plan
): Promise<{ readonly results: ReadonlyArray<StepResult> } | { readonly at: number; readonly cause: unknown }> => {
  const memory = memoryOf(client)
  const { keeps, steps } = make(memory.stage)
  const begins = steps[0]?.text === begin
  if (begins) client.inTransaction = true
  // Whatever becomes of it.
  if (keeps !== undefined) memory.stage = { _tag: "Any" }
  const flown = await fly(client.pg, memory.prepared, steps)
  if ("cause" in flown) {
    // A table was changed or made anew: what is prepared about it can't be used again.
    if (/^(0A000|26000)$/.test(String((flown.cause as { readonly code?: unknown }).code))) client.broken = true
    return flown
  }
  if (begins) client.inTransaction = false
  if (keeps !== undefined) memory.stage = keeps(flown)
  return { results: flown }
}

/** The first step of a flight that commits by itself. */
export const begin = "begin"

/** Checks the epoch last before COMMIT, said or not, so that what is done with the steps' answers keeps its places. */
const fenced = (plan: Plan, fence: ReadonlyArray<string>): Plan => {
  const end = plan.steps[0]?.text === begin ? plan.steps.length - 1 : plan.steps.length
  return { ...plan, steps: [...plan.steps.slice(0, end), ...fence.map((text) => ({ text })), ...plan.steps.slice(end)] }
}
/** Bound on a statement, in milliseconds. */
const defaultTimeoutMs = 7_500
/**
 * Outside of our transactions the server's own setting bounds a statement, which is none by default. These are questions
 * to catalogs and tables of ours: the largest of them took 0.1 s for 1,000 tables.
 */
const onItsOwn = { statementTimeoutMs: 20_000 }

/**
 * Outside transactions, too, a name means what PostgreSQL means by it. On the role's own search_path a function or an operator
 * that somebody made in `public` goes before PostgreSQL's where it fits the types better, and would run with our rights: seen
 * with `hashtextextended('…', 0)`, whose second argument is a bigint.
 */
const pin = (client: Client, sort: Sort) =>
  isPinned.has(client.pg)
    ? Effect.void
    : Effect.tap(
      onClient(client, sort).query("set search_path = pg_catalog"),
      () => Effect.sync(() => isPinned.add(client.pg))
    )

const isPinned = new WeakSet<Pg.ClientBase>()

/** A connection that knows whether it may be used again. */
interface Client {
  readonly pg: Pg.ClientBase & Pick<Pg.Client, "end">
  readonly side: Side
  /** So long may an answer take before the connection is given up. */
  readonly answersWithinMs: number
  /** It was given up, because nothing was heard for so long. */
  silentMs: number | null
  /** In the middle of a COPY, or of a statement that was given up: can't be used again. */
  broken: boolean
  inTransaction: boolean
  readonly release: () => void
}

/** How every connection is made. */
const optionsOf = (target: ConnectionTarget, meter: Meter) => ({
  ...toPgOptions(target),
  application_name: "vaivem",
  // A sleeping Neon database takes a second or more to wake up.
  connectionTimeoutMillis: 15_000,
  keepAlive: true,
  keepAliveInitialDelayMillis: 10_000,
  // Every value stays the text that PostgreSQL printed: `Date` would drop microseconds, `number` digits.
  types: { getTypeParser: () => (value: string) => value },
  stream: meter.socket
})

/** Counts bytes on the sockets themselves, below TLS. */
interface Meter {
  readonly socket: () => Net.Socket
  readonly total: () => Traffic
  /** Destroys all that are open. */
  readonly abort: () => void
}

const makeMeter = (): Meter => {
  const open = new Set<Net.Socket>()
  let [bytesIn, bytesOut] = [0, 0]
  return {
    socket: () => {
      const socket = new Net.Socket()
      open.add(socket)
      return socket.once("close", () => {
        open.delete(socket)
        bytesIn += socket.bytesRead
        bytesOut += socket.bytesWritten
      })
    },
    total: () => ({
      bytesIn: [...open].reduce((sum, { bytesRead }) => sum + bytesRead, bytesIn),
      bytesOut: [...open].reduce((sum, { bytesWritten }) => sum + bytesWritten, bytesOut)
    }),
    abort: () => {
      for (const socket of open) socket.destroy()
    }
  }
}

const makePool = (target: ConnectionTarget, meter: Meter): Pg.Pool => {
  const pool = new Pg.Pool({ ...optionsOf(target, meter), max: 4, idleTimeoutMillis: 10_000, maxLifetimeSeconds })
  // Without a listener, an idle connection that the server closes would end the process. The pool drops it by itself.
  pool.on("error", () => {})
  // Nor may one that ends with the very bytes that let us in, before whoever asked for it can listen: seen in a test that
  // kills connections. The next statement says what happened.
  pool.on("connect", (client) => client.on("error", () => {}))
  return pool
}

/** A temporary table that is kept holds back the freezing of old transaction numbers, which nothing else can do to it. */
const maxLifetimeSeconds = 3_600

/** Bounded, because a server that doesn't answer must not hold up the end of the process. */
const endPool = (pool: Pg.Pool) =>
  Effect.promise(() => pool.end()).pipe(Effect.interruptible, Effect.timeoutOption("2 seconds"))

const listen = Effect.fnUntraced(function*(
  target: ConnectionTarget,
  meter: Meter,
  sort: Sort,
  channel: string,
  answersWithinMs: number
) {
  const pg = new Pg.Client(optionsOf(target, meter))
  const lost = yield* Deferred.make<never, SyncError>()
  const heard = yield* Queue.sliding<void>(1)
  const lose = (cause: unknown) => Deferred.unsafeDone(lost, Effect.fail(sort(cause)))
  pg.on("error", lose)
  pg.on("end", () => lose(new Error("Connection terminated unexpectedly")))
  pg.on("notification", () => heard.unsafeOffer())
  yield* Effect.acquireRelease(
    Effect.tryPromise({ try: () => pg.connect(), catch: sort }),
    () => Effect.promise(() => pg.end()).pipe(Effect.interruptible, Effect.timeoutOption("2 seconds"))
  )
  const client: Client = {
    pg,
    side: target.side,
    answersWithinMs,
    silentMs: null,
    broken: false,
    inTransaction: false,
    release: () => {}
  }
  const { query } = onClient(client, sort)
  yield* query(`listen ${Pg.escapeIdentifier(channel)}`)
  return { query, heard: Effect.raceFirst(Queue.take(heard), Deferred.await(lost)) } satisfies Listening
})

const connect = async (pool: Pg.Pool, side: Side, answersWithinMs: number): Promise<Client> => {
  // What a pool of `pg` gives out are its clients, with all that they can do.
  const pg = (await pool.connect()) as Pg.PoolClient & Pick<Pg.Client, "end">
  // The pool takes its own listener off while the connection is out; what happened is said by the next statement.
  const onError = () => {
    client.broken = true
  }
  pg.on("error", onError)
  const client: Client = {
    pg,
    side,
    answersWithinMs,
    silentMs: null,
    broken: false,
    inTransaction: false,
    release: () => {
      pg.off("error", onError)
      // The pool forgets a connection that is given back with an error, without waiting for its end.
      pg.release(client.broken)
    }
  }
  return client
}

const makeReadOnly = (client: Client, sort: Sort) =>
  onClient(client, sort).query("set session characteristics as transaction read only").pipe(
    Effect.tapError(() => Effect.sync(() => void (client.broken = true)))
  )

/** Gives up what wasn't committed. A connection that can't even be rolled back is thrown away, which does the same. */
const rollBack = (client: Client): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!client.inTransaction || client.broken) return Effect.void
    return Effect.tryPromise(() => client.pg.query("rollback")).pipe(
      // A finalizer isn't interrupted, so `Effect.timeout` would wait for the answer as well.
      answered(client, Math.min(5_000, client.answersWithinMs)),
      Effect.matchEffect({
        onFailure: () => Effect.sync(() => void (client.broken = true)),
        onSuccess: () => Effect.sync(() => void (client.inTransaction = false))
      })
    )
  })

type Sort<E = SyncError> = (cause: unknown) => E

/**
 * Gives the connection up when nothing was heard for so long: a network that drops what is sent, without an error or an
 * end, would hold up the cycle for ever. The batch in hand can't be interrupted, so the socket is closed under it, and
 * whatever waits for the answer fails.
 */
const answered = (
  client: Client,
  withinMs: number,
  /** How far it has come: as long as that grows, something is heard. */
  progress: () => number = () => 0
) =>
<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const watch: Effect.Effect<void> = Effect.suspend(() => {
    const before = progress()
    return Effect.zipRight(
      Effect.sleep(withinMs),
      Effect.suspend(() => {
        if (progress() > before) return watch
        client.silentMs = withinMs
        client.broken = true
        return Effect.sync(() => void client.pg.end())
      })
    )
  })
  return Effect.acquireUseRelease(
    Effect.forkDaemon(Effect.interruptible(watch)),
    () => self,
    (watching) => Fiber.interruptFork(watching)
  )
}

/** What was said because the connection was given up, is not what happened. */
const heardFrom = <E>(client: Client, sort: Sort<E>): Sort<E> => (cause) =>
  sort(
    client.silentMs === null
      ? cause
      : Object.assign(new Error(`no answer for ${Math.round(client.silentMs / 1000)} s`), { code: "ENOANSWER" })
  )

const onClient = <E>(client: Client, sort: Sort<E>) => ({
  query: (text: string, values: ReadonlyArray<unknown> = []) =>
    guarded(client, sort, async () => {
      const result = await client.pg.query<Record<string, string | null>>(text, [...values])
      return result.rows as ReadonlyArray<Row>
    }).pipe(traced(client, text)),
  script: (statements: ReadonlyArray<string>) =>
    guarded(client, sort, async () => {
      if (statements[0]?.startsWith("begin")) client.inTransaction = true
      const results: unknown = await client.pg.query(statements.join(";\n"))
      return (Array.isArray(results) ? results : [results]).map((result: Pg.QueryResult<Row>): StatementResult => ({
        rows: result.rows,
        count: result.rowCount ?? 0
      }))
    }, statements.length).pipe(traced(client, statements[0] ?? "", statements.length))
})

/**
 * A span, and what kind of statement it is (the first one's verb, where several go at once). Their text stays here: a trace
 * goes to others.
 */
const traced = (client: Client, text: string, statements = 1) => <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.withSpan(self, "statement", spanOf(client, text, statements))

const spanOf = ({ side }: Client, text: string, statements = 1) => ({
  kind: "client" as const,
  attributes: {
    "db.system.name": "postgresql",
    "db.operation.name": /[a-z]+/i.exec(text)?.[0].toLowerCase() ?? "",
    "vaivem.side": side,
    "vaivem.statements": statements
  },
  captureStackTrace: false
})

/** A statement that is given up half-way (its fiber was interrupted) leaves a connection that nobody may use again. */
const guarded = <A, E>(
  client: Client,
  sort: Sort<E>,
  run: () => Promise<A>,
  /** The server bounds each of them by itself. */
  statements = 1
): Effect.Effect<A, E> =>
  Effect.tryPromise({ try: run, catch: heardFrom(client, sort) }).pipe(
    answered(client, client.answersWithinMs * statements),
    Effect.onInterrupt(() => Effect.sync(() => void (client.broken = true)))
  )

/**
 * When a connection ends, node-postgres tells it to the COPY on it as well, also long after nobody reads or writes that
 * any more: without a listener of its own that would end the process.
 */
const heard = <A extends NodeJS.EventEmitter>(copy: A): A => copy.on("error", () => {})

/** @param fence what is sent right before COMMIT: a COMMIT that comes late finds out that another copy took over. */
const transactionOn = (
  client: Client,
  sort: Sort,
  sortCommit: Sort,
  fence: () => ReadonlyArray<string>
): Transaction => {
  const { query, script } = onClient(client, sort)
  return {
    query,
    script,
    copyTo: (text) =>
      Stream.unwrap(Effect.sync(() => {
        // pg-copy-streams can't end a COPY TO half-way.
        client.broken = true
        const bytes = NodeStream.fromReadable<SyncError, Uint8Array>(
          () => heard(client.pg.query(Copy.to(text))),
          heardFrom(client, sort)
        )
        // Whoever reads may take its time: only what the server takes counts.
        return Stream.fromPull(Effect.map(Stream.toPull(bytes), answered(client, client.answersWithinMs))).pipe(
          Stream.onEnd(Effect.sync(() => void (client.broken = false))),
          Stream.withSpan("statement", spanOf(client, text))
        )
      })),
    copyFrom: Effect.fnUntraced(function*(text, bytes) {
      let count = 0
      let failed: SyncError | null = null
      client.broken = true
      yield* bytes.pipe(
        Stream.tapError((error) =>
          Effect.sync(() => {
            failed = error
          })
        ),
        Stream.tap((chunk) =>
          Effect.sync(() => {
            count += chunk.length
          })
        ),
        Stream.run(
          NodeSink.fromWritable<SyncError, Uint8Array>(
            () => heard(client.pg.query(Copy.from(text))),
            heardFrom(client, sort)
          )
        ),
        // Longer than whoever gives us the bytes may be silent, for that is not this server's fault.
        answered(client, client.answersWithinMs * 1.5, () => count),
        // When the bytes fail, the sink ends the COPY all the same, and this server complains of a torn row (22P04): that
        // had a good row quarantined, of a source that was lost or too slow in the middle of it.
        Effect.mapError((error) => failed ?? error)
      )
      client.broken = false
      yield* Effect.annotateCurrentSpan("vaivem.bytes", count)
      return count
    }, (self, text) => traced(client, text)(self)),
    commit: (statements = []) =>
      onClient(client, sortCommit).script([...statements, ...fence(), "commit"]).pipe(
        Effect.tap(() => Effect.sync(() => void (client.inTransaction = false))),
        Effect.asVoid
      )
  }
}

/** The same connection as `@effect/sql` wants it. */
const connectionOf = (client: Client): Connection => {
  const rows = onClient(client, toSqlError).query
  return {
    execute: rows,
    executeRaw: rows,
    executeUnprepared: rows,
    executeValues: (text, values) => Effect.map(rows(text, values), (found) => found.map((row) => Object.values(row))),
    executeStream: (text, values) => Stream.fromIterableEffect(rows(text, values))
  }
}

const toSqlError = (cause: unknown) => new SqlError({ cause, message: "A statement failed" })
