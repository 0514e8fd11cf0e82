/**
 * `Database` on an external PostgreSQL database on which nothing may be installed (`EXTERNAL_CAPTURE=timestamp`). Rows are
 * read and written there; what triggers and our own tables would hold is in the ledger, in Replit's database. Building it
 * opens no connection.
 */
import { Effect, Stream } from "effect"
import type { ConnectionTarget } from "../domain/ConnectionTarget.ts"
import { ActionNeeded } from "../domain/SyncError.ts"
import type { Claim, Database, Few } from "./Database.ts"
import type { Migration } from "./pg/Migrations.ts"
import * as PgLease from "./pg/PgLease.ts"
import * as PgMetering from "./pg/PgMetering.ts"
import * as PgProving from "./pg/PgProving.ts"
import type { SessionOptions } from "./pg/PgSession.ts"
import * as PgSession from "./pg/PgSession.ts"
import * as PgSurvey from "./pg/PgSurvey.ts"
import * as Stems from "./pg/Stems.ts"
import * as Ledger from "./timestamp/Ledger.ts"
import * as TimestampBrake from "./timestamp/TimestampBrake.ts"
import * as TimestampCatalog from "./timestamp/TimestampCatalog.ts"
import type { TimestampOptions } from "./timestamp/TimestampChangelog.ts"
import * as TimestampChangelog from "./timestamp/TimestampChangelog.ts"
import * as TimestampComparison from "./timestamp/TimestampComparison.ts"
import * as TimestampJournal from "./timestamp/TimestampJournal.ts"

/** The external database behind a target, with its ledger in Replit's, until the scope closes. */
export const make = Effect.fn("TimestampDatabase.make")(function*(
  targets: { readonly external: ConnectionTarget; readonly replit: ConnectionTarget },
  migrations: ReadonlyArray<Migration>,
  options: TimestampOptions,
  sessionOptions: SessionOptions = {}
) {
  const session = yield* PgSession.make(targets.external, sessionOptions)
  // A pool of its own: claims of Replit's rows hold their connections while external asks the ledger.
  const replit = yield* PgSession.make(targets.replit, sessionOptions)
  const ledger = Ledger.make(replit)
  const stems = Stems.make(session)
  const changelog = TimestampChangelog.make(
    session,
    stems,
    ledger,
    Stems.make(replit),
    yield* PgLease.make(session, replit),
    options
  )
  return {
    side: "external",
    ...TimestampCatalog.make(session, stems, ledger, migrations, options.window),
    ...changelog,
    claimFew: () => Effect.succeed({ _tag: "Many", rowBytes: null }),
    applyFew: (table, few) => changelog.apply(table, asClaim(few), { judge: () => "keep", locks: "wait" }),
    ...TimestampComparison.make(session, stems, ledger),
    ...PgProving.make(session, stems),
    ...PgSurvey.make(session, stems),
    ...TimestampJournal.make(session, stems, ledger),
    ...TimestampBrake.make(session, stems, ledger),
    ...PgMetering.make(session),
    disconnect: Effect.zipRight(session.disconnect, replit.disconnect),
    listen: new ActionNeeded({
      side: "external",
      message: "Nothing announces changes on external with EXTERNAL_CAPTURE=timestamp: they are found by each cycle."
    })
  } satisfies Database
})

/** Of few rows: those that are contested are kept, so nobody asks what is known of them. */
const asClaim = ({ acknowledge, lines, rows }: Few): Claim => ({
  rows,
  moves: 0,
  last: [],
  after: [],
  more: false,
  whole: false,
  stream: Stream.make(lines),
  known: () => Effect.succeed(new Map()),
  acknowledge
})
