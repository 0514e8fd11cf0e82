/**
 * The lease on PostgreSQL: a session's advisory lock on Replit's side, which goes with its connection, and the epoch by which
 * both sides refuse whoever lost it without knowing (`sql/0019_lease.sql`).
 *
 * A cut network ends nothing on a server for hours. So the holder shows a sign of life every second and a half, on the connection
 * of the lease, and whoever finds that one silent for five ends it. The holder gives itself up when no answer comes for three.
 */
import { Deferred, Effect, Exit, Random, type Scope } from "effect"
import * as Os from "node:os"
import type { SyncError } from "../../domain/SyncError.ts"
import { LeaseTaken, Unavailable } from "../../domain/SyncError.ts"
import type { Fence, Lease } from "../Database.ts"
import type { PgSession, Row, Transaction } from "./PgSession.ts"

/** @param ledger where the epoch is kept, if not in this database. */
export const make = Effect.fn("PgLease.make")(function*(session: PgSession, ledger?: PgSession) {
  const holder = `${Os.hostname()}/${(yield* Random.nextIntBetween(0x1000, 0x10000)).toString(16)}`
  /** The epoch at which this instance gave the lease back, when all was well: while it stays, nobody else had it. */
  let left: bigint | null = null
  /** External has the epoch of the lease, too. */
  let isSettled = false

  const lease: Effect.Effect<Lease | null, SyncError, Scope.Scope> = Effect.gen(function*() {
    const before = left
    left = null
    isSettled = false
    const query = yield* session.reserveToAsk
    const found = yield* take(query)
    if (!found.taken) {
      left = before
      return null
    }
    let epoch = found.epoch
    const raise = (beyond: bigint) =>
      Effect.map(
        query("select vaivem.raise_epoch($1::bigint, $2, null) as epoch", [
          String(beyond + 1n),
          holder
        ]),
        (rows) => epoch = epochOf(rows[0])
      )
    const isNew = found.epoch !== null && found.epoch !== before
    const lost = yield* Deferred.make<never, SyncError>()
    // The connection goes back to the pool with the scope, and the lock must not go with it.
    let isReleased = false
    const release = (well: boolean) =>
      Effect.suspend(() => {
        if (isReleased) return Effect.void
        isReleased = true
        return query(`select pg_catalog.pg_advisory_unlock(${leaseKey}) as had`)
          .pipe(
            Effect.timeoutFail({ duration: silentMs, onTimeout: () => silence(session) }),
            Effect.map((rows) => {
              if (rows[0]?.had === "t" && isSettled && well) left = epoch
            })
          )
      })
    yield* Effect.addFinalizer((exit) => Effect.ignore(release(Exit.isSuccess(exit))))
    yield* beat(query, session).pipe(
      Effect.catchAll((error) => Effect.zipRight(Deferred.fail(lost, error), session.abort)),
      Effect.interruptible,
      Effect.forkScoped
    )
    if (isNew) yield* raise(0n)
    return { epoch, id: found.id, isNew, raise, lost: Deferred.await(lost), release: release(true) }
  })

  const fence = (wanted: Fence | null): Effect.Effect<bigint | null, SyncError> =>
    Effect.gen(function*() {
      const kept = ledger ?? session
      if (wanted === null) return yield* Effect.as(kept.fence(null), null)
      if (ledger !== undefined) {
        if (wanted.isNew) yield* session.query(endOthers)
        return yield* Effect.as(ledger.fence(wanted.epoch), wanted.epoch)
      }
      const there = wanted.isNew && session.side === "external"
        ? yield* session.query("select vaivem.raise_epoch($1::bigint, $2, $3::uuid) as epoch", [
          String(wanted.epoch),
          holder,
          wanted.id
        ]).pipe(
          Effect.map((rows) => epochOf(rows[0])),
          // Not set up yet, or not up to date: the first cycle that gets through raises it.
          Effect.catchTag("ActionNeeded", "SchemaDrifted", "WorldRefused", () => Effect.succeed(null))
        )
        : wanted.epoch
      yield* session.fence(there)
      isSettled = true
      return there
    })

  return { lease, fence }
})

/** As `vaivem.lease_key()` has it, for where that isn't installed. */
export const leaseKey = "pg_catalog.hashtextextended('vaivem lease', 0)"

const take = (query: Transaction["query"]) =>
  query(`select vaivem.take_lease(${silentMs}) as lease`).pipe(
    Effect.map((rows): Taken => {
      const found: Wire = JSON.parse(String(rows[0]?.lease))
      return { taken: found.taken, id: found.id, epoch: found.epoch === null ? null : BigInt(found.epoch) }
    }),
    Effect.catchTag(
      "ActionNeeded",
      "SchemaDrifted",
      "WorldRefused",
      () =>
        Effect.map(
          query(`select pg_catalog.pg_try_advisory_lock(${leaseKey}) as taken`),
          (rows): Taken => ({ taken: rows[0]?.taken === "t", epoch: null, id: null })
        )
    )
  )

interface Wire {
  readonly taken: boolean
  readonly epoch: string | null
  readonly id: string | null
}

interface Taken {
  readonly taken: boolean
  readonly epoch: bigint | null
  readonly id: string | null
}

/** A sign of life now and then, until one is not answered. A statement on its way is not given up half-way. */
const beat = (query: Transaction["query"], session: PgSession): Effect.Effect<never, SyncError> =>
  Effect.sleep(beatMs).pipe(
    Effect.zipRight(Effect.uninterruptible(
      Effect.interruptible(query("select 'vaivem.has_lease'")).pipe(
        Effect.timeoutFail({ duration: unansweredMs, onTimeout: () => silence(session) })
      )
    )),
    Effect.forever,
    Effect.mapError((error) =>
      error._tag === "Unavailable" && error.sqlState === "57P01" ? new LeaseTaken({ message: ended }) : error
    )
  )

const ended =
  "The session that held the lease was ended, by another copy of vaivem or by a person: what was not committed is given up."

const silence = ({ side, target }: PgSession) =>
  new Unavailable({
    side,
    sqlState: null,
    slow: false,
    message: `The ${side === "replit" ? "Replit" : "external"} database (${target.host}) doesn't answer.`
  })

const epochOf = (row: Row | undefined): bigint | null =>
  row?.epoch === null || row?.epoch === undefined ? null : BigInt(row.epoch)

/** Where nothing of ours is installed: a COMMIT that is on its way must not come after the new holder has looked. */
const endOthers = `select pg_terminate_backend(a.pid) from pg_stat_activity a
  where a.application_name = 'vaivem' and a.datname = current_database() and a.pid <> pg_backend_pid()
    and a.backend_xid is not null and pg_has_role(a.usesysid, 'MEMBER')`

const beatMs = 1_500
const unansweredMs = 3_000
/** Longer than it takes a holder to give itself up. */
const silentMs = 5_000
