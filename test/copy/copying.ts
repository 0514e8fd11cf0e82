/**
 * The first copy of a table to an empty side, by the built program, which is killed at moments that a seed chooses: while it
 * compares, while it marks and while it moves. An app writes on both sides all the time. In the end both sides must be equal,
 * what the apps wrote must be there, and no more may have travelled twice than was in hand when the program was killed.
 */
import type { Redacted, Scope } from "effect"
import { Clock, Data, Effect, Fiber, Ref, Schedule } from "effect"
import { randomUUID } from "node:crypto"
import { bytes, count, duration } from "../../src/domain/Quantity.ts"
import type { Side } from "../../src/domain/Side.ts"
import { label, opposite, sides } from "../../src/domain/Side.ts"
import { insert, perfis } from "../bench/BenchPair.ts"
import { peakBytes } from "../bench/Program.ts"
import * as Dice from "../samples/Dice.ts"
import { run, type Running, settings, start } from "../support/Program.ts"
import { connect, type TestClient, type TestSqlError } from "../support/TestClient.ts"
import * as CopyApp from "./CopyApp.ts"

export class CopyError extends Data.TaggedError("CopyError")<{ readonly message: string }> {}

export interface CopyOptions extends Readonly<Record<Side, Redacted.Redacted>> {
  /** The side that has the rows. */
  readonly from: Side
  readonly rows: number
  /** How often the program is killed: once comparing, once marking, then moving. */
  readonly kills: number
  readonly seed: number
  /** From one write of an app to its next. */
  readonly appEveryMs: number
  /** Told what happens, as it happens. */
  readonly say: (line: string) => Effect.Effect<void>
}

export interface Copied {
  readonly tookMs: number
  /** How many of the kills found the program at work. */
  readonly killed: number
  /** Most memory that the program ever held; null where there is no `/proc`. */
  readonly peakBytes: number | null
  /** What `plan` said would move. */
  readonly plannedBytes: number
  /** What the last run moved. Without kills that is all. */
  readonly movedBytes: number
  /** Keys that were applied more than once, because a kill came between applying and acknowledging. */
  readonly again: number
  readonly slowestMs: Readonly<Record<Side, number>>
  readonly diskBytes: Readonly<Record<Side, number>>
}

export const copying = Effect.fn("copying")(function*(options: CopyOptions) {
  const { from, kills, rows, say, seed } = options
  const to = opposite(from)
  const clients = { replit: yield* connect(options.replit), external: yield* connect(options.external) }
  const env = { ...settings(options), SYNC_RETRY_FOR: "60 seconds", SYNC_LOG_FORMAT: "logfmt" }
  const peak = yield* Ref.make<number | null>(null)
  for (const side of sides) yield* clients[side].query(perfis("perfis"))
  yield* fill(clients[from], rows)
  yield* say(`${count(rows)} rows on ${label(from)}, none on ${label(to)}`)
  const plannedBytes = (yield* json(yield* run(["plan", "--json"], { env }), 0)).tables[0].figures.estimatedBytes

  const keys = yield* someKeys(clients[from])
  const apps = yield* Effect.forEach(
    sides,
    (side, index) =>
      CopyApp.make({
        side,
        url: options[side],
        keys: keys.filter((_, place) => place % 2 === index),
        seed,
        everyMs: options.appEveryMs
      })
  )
  const writing = yield* Effect.forkScoped(Effect.all(apps.map(({ write }) => write), { concurrency: 2 }))
  const startedMs = yield* Clock.currentTimeMillis
  let killed = 0
  for (const moment of momentsOf(kills, rows, seed)) {
    const before = yield* Clock.currentTimeMillis
    const hit = yield* Effect.scoped(Effect.gen(function*() {
      const running = yield* started(env, peak)
      const isOver = yield* comes(moment, clients, from).pipe(
        Effect.as(false),
        Effect.race(Effect.as(running.ended, true))
      )
      if (isOver) return false
      yield* running.signal("SIGKILL")
      yield* running.ended
      return true
    }))
    if (hit) killed++
    yield* say(
      `${hit ? "killed" : "ended before it was killed"} ${moment.what}, after ${
        duration((yield* Clock.currentTimeMillis) - before)
      }`
    )
    for (const side of sides) yield* refuseOrphans(clients[side])
    yield* refuseTwiceMarked(clients[from])
  }
  const last = yield* Effect.scoped(Effect.flatMap(started(env, peak), ({ ended }) => ended))
  for (const line of progressIn(last.err)) yield* say(line)
  yield* say(last.out.trim())
  if (last.code !== 0) return yield* new CopyError({ message: `--once ended with ${last.code}: ${last.err}` })
  const tookMs = (yield* Clock.currentTimeMillis) - startedMs
  yield* Fiber.interrupt(writing)
  yield* refuseFailed(yield* Fiber.await(writing))
  yield* say("the apps stopped writing")

  const rest = yield* run(["--once"], { env })
  yield* say(rest.out.trim())
  if (rest.code !== 0) return yield* new CopyError({ message: `--once ended with ${rest.code}: ${rest.err}` })
  const again = yield* appliedAgain(clients[to])
  yield* refuseUnequal(clients, rows, apps)
  yield* refuseLost(clients, apps)
  const verified = (yield* json(yield* run(["verify", "--json"], { env }), 0)).tables[0]
  yield* say(`verify: ${verified.outcome}, ${count(verified.rows.replit)} rows, ${bytes(verified.bytes)} for it`)
  const disk = (side: Side) =>
    Effect.map(
      clients[side].query<{ size: number }>("select pg_database_size(current_database()) as size"),
      ([found]) => found!.size
    )
  const slowest = (side: Side) => apps.find((app) => app.side === side)!.slowestMs()
  return {
    tookMs,
    killed,
    peakBytes: yield* Ref.get(peak),
    plannedBytes,
    movedBytes: yield* movedBytes(clients.replit),
    again,
    slowestMs: { replit: slowest("replit"), external: slowest("external") },
    diskBytes: { replit: yield* disk("replit"), external: yield* disk("external") }
  } satisfies Copied
})

/** More than this can't have been in hand at one kill: two batches that overlap. */
export const inHandMax = 2 * 50_000

const fill = Effect.fnUntraced(function*({ query }: TestClient, rows: number) {
  for (let done = 0; done < rows; done += piece) yield* query(insert("perfis", Math.min(piece, rows - done)))
  yield* query("vacuum analyze perfis")
})

const piece = 250_000

/** Some that are there, wherever they are in the table. */
const someKeys = ({ query }: TestClient) =>
  Effect.map(
    Effect.replicateEffect(
      Effect.suspend(() =>
        query<{ id: string }>("select id from perfis where id >= $1 order by id limit 1", [randomUUID()])
      ),
      keysOfApps
    ),
    (found) => [...new Set(found.flatMap((rows) => rows.map(({ id }) => id)))]
  )

const keysOfApps = 400

/** When the program is killed. */
interface Moment {
  readonly what: string
  readonly comes: (clients: Clients, from: Side) => Effect.Effect<boolean, TestSqlError>
  readonly afterMs: number
}

type Clients = Readonly<Record<Side, TestClient>>

const momentsOf = (kills: number, rows: number, seed: number): ReadonlyArray<Moment> => {
  const dice = Dice.make(seed, "kills")
  const comparing: Moment = {
    what: "while it started or compared",
    comes: () => Effect.succeed(true),
    afterMs: 250 + dice.whole(300 + rows / 1_000)
  }
  const marks = Math.floor(rows * bytesOfMark * dice.whole(100) / 100)
  const marking: Moment = {
    what: `when ${bytes(marks)} of marks were written`,
    comes: (clients, from) => Effect.map(sizeOf(clients[from], "vaivem.perfis_pending"), (size) => size > marks),
    afterMs: 0
  }
  // Looking at the table's size costs nothing, but a batch that was killed counts as well: of few rows that would be most.
  const measure = rows > 200_000 ? sizeOf : countOf
  const shares = Array.from({ length: Math.max(0, kills - 2) }, () => 2 + dice.whole(90)).sort((a, b) => a - b)
  const moving = shares.map((share): Moment => ({
    what: `when ${share} % had arrived`,
    comes: (clients, from) =>
      Effect.map(
        Effect.all([measure(clients[from], "perfis"), measure(clients[opposite(from)], "perfis")]),
        ([here, there]) => there * 100 >= here * share
      ),
    afterMs: dice.whole(50)
  }))
  return [comparing, marking, ...moving].slice(0, kills)
}

/** A row of the queue. */
const bytesOfMark = 72

const sizeOf = ({ query }: TestClient, table: string) =>
  Effect.map(
    query<{ size: number }>("select coalesce(pg_relation_size(to_regclass($1)), 0) as size", [table]),
    ([found]) => found!.size
  )

const countOf = ({ query }: TestClient, table: string) =>
  Effect.map(query<{ rows: number }>(`select count(*) as rows from ${table}`), ([found]) => found!.rows)

const comes = ({ afterMs, comes }: Moment, clients: Clients, from: Side) =>
  comes(clients, from).pipe(
    Effect.repeat({ until: (yes) => yes, schedule: Schedule.spaced("5 millis") }),
    Effect.delay(afterMs)
  )

/** Runs `--once`, and notes the memory that it takes. */
const started = (
  env: Readonly<Record<string, string>>,
  peak: Ref.Ref<number | null>
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.tap(start(["--once"], { env }), ({ pid }) =>
    Effect.forkScoped(
      Effect.flatMap(
        peakBytes(pid),
        (found) => Ref.update(peak, (before) => found === null ? before : Math.max(found, before ?? 0))
      ).pipe(Effect.repeat(Schedule.spaced("20 millis")))
    ))

/** What a killed program had asked of a server ends, too. */
const refuseOrphans = ({ query }: TestClient) =>
  query(
    `select from pg_stat_activity
     where application_name = 'vaivem' and datname = current_database() and state <> 'idle'`
  ).pipe(
    Effect.repeat({ until: (found) => found.length === 0, schedule: Schedule.spaced("20 millis") }),
    Effect.timeoutFail({
      duration: "10 seconds",
      onTimeout: () => new CopyError({ message: "A statement of a program that was killed 10 s ago still runs." })
    })
  )

const refuseTwiceMarked = Effect.fnUntraced(function*({ query }: TestClient) {
  if ((yield* query("select from pg_class where oid = to_regclass('vaivem.perfis_pending')")).length === 0) return
  const [found] = yield* query<{ twice: number }>(
    `select count(*) as twice from (
      select from vaivem.perfis_pending where operation = 'MARK' group by k1 having count(*) > 1) p`
  )
  if (found!.twice > 0) return yield* new CopyError({ message: `${count(found!.twice)} rows were marked twice.` })
})

/** What the side that received the rows noted more than once. */
const appliedAgain = ({ query }: TestClient) =>
  Effect.map(
    query<{ again: number }>(
      `select count(*) - count(distinct (k1, source_change_id)) as again
       from vaivem.perfis_history where source_change_id is not null`
    ),
    ([found]) => found!.again
  )

const movedBytes = ({ query }: TestClient) =>
  Effect.map(
    query<{ moved: number }>(
      "select max((push ->> 'bytes')::bigint + (pull ->> 'bytes')::bigint) as moved from vaivem.runs where outcome = 'ok'"
    ),
    ([found]) => found!.moved
  )

const refuseUnequal = Effect.fnUntraced(
  function*(clients: Clients, rows: number, apps: ReadonlyArray<CopyApp.CopyApp>) {
    const all = apps.reduce((sum, { counts }) => sum + counts.inserted - counts.deleted, rows)
    const [replit, external] = yield* Effect.forEach(sides, (side) => clients[side].query(contents))
    const expected = JSON.stringify([{ ...replit?.[0], rows: all, pending: 0 }])
    if (JSON.stringify(replit) === expected && JSON.stringify(external) === expected) return
    return yield* new CopyError({
      message: `${count(all)} equal rows were expected, with nothing pending. Replit: ${JSON.stringify(replit)}, `
        + `external: ${JSON.stringify(external)}.`
    })
  }
)

const contents = `select count(*) as rows, coalesce(sum(hashtextextended(t::text, 0)), 0)::text as hash,
  (select count(*) from vaivem.perfis_pending) as pending from perfis t`

/** The last version of every row that an app wrote is on both sides. */
const refuseLost = Effect.fnUntraced(function*(clients: Clients, apps: ReadonlyArray<CopyApp.CopyApp>) {
  for (const { expected, side: writer } of apps) {
    for (const side of sides) {
      const found = yield* clients[side].query<{ id: string; full_name: string }>(
        "select id, full_name from perfis where id = any ($1::uuid[])",
        [[...expected.keys()]]
      )
      const names = new Map(found.map((row) => [row.id, row.full_name]))
      const lost = [...expected].filter(([key, name]) => (names.get(key) ?? null) !== name)
      if (lost.length > 0) {
        return yield* new CopyError({
          message: `${lost.length} rows are not on ${label(side)} as the app wrote them on ${label(writer)}: ${
            lost.slice(0, 3).map(([key, name]) => `${key} ${names.get(key)} for ${name}`).join(", ")
          }`
        })
      }
    }
  }
})

/** An app that was interrupted has done what it should; one that failed, by a write that was refused, has not. */
const refuseFailed = (ended: { readonly _tag: string; readonly cause?: unknown }) =>
  ended._tag === "Failure" && String(ended.cause).includes("TestSqlError")
    ? Effect.fail(new CopyError({ message: `A write of the app failed: ${String(ended.cause)}` }))
    : Effect.void

const json = (
  { code, err, out }: { readonly code: number | null; readonly err: string; readonly out: string },
  expected: number
) =>
  code === expected
    // What `--json` prints, of which this needs a few figures.
    ? Effect.succeed(JSON.parse(out))
    : Effect.fail(new CopyError({ message: `It ended with ${code}: ${err}${out}` }))

const progressIn = (err: string): ReadonlyArray<string> =>
  [...err.matchAll(/progress="((?:perfis|Comparing|Looking)[^"]*(?:,|rows)[^"]*)"/g)].map(([, text]) => text!)
