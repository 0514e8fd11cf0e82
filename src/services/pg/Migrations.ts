/**
 * Installs `sql/` into a database: numbered files, each once, in one transaction under an advisory lock, so that twenty
 * installs at once are fine. (`Migrator` of `@effect/sql` makes its table outside its lock, turns a failing file into a
 * defect, and uses the transaction tag that all clients share.)
 */
import { Effect } from "effect"
import { label } from "../../domain/Side.ts"
import { ActionNeeded } from "../../domain/SyncError.ts"
import type { PgSession } from "./PgSession.ts"

/** A numbered file of `sql/`. */
export interface Migration {
  readonly version: number
  readonly name: string
  readonly text: string
}

/** The highest number there is in `sql/`; a test keeps it so. An older program refuses a newer database. */
export const newestMigration = 22

/** Applies what is missing. */
export const migrate = Effect.fn("migrate")(function*(session: PgSession, migrations: ReadonlyArray<Migration>) {
  yield* Effect.scoped(Effect.gen(function*() {
    const tx = yield* session.begin({
      statementTimeoutMs: 60_000,
      fenced: "never",
      settings: [["lock_timeout", "30000"], ["client_min_messages", "warning"]],
      script: ["select pg_advisory_xact_lock(hashtextextended('vaivem migrations', 0))"]
    })
    const there = (yield* tx.query(`select to_regnamespace('vaivem') is not null as schema,
      to_regclass('vaivem.migrations') is not null as migrations`))[0]!
    if (there.schema === "t" && there.migrations !== "t") return yield* notOurs(session)
    if (there.schema !== "t") {
      yield* tx.script([
        "create schema vaivem",
        "comment on schema vaivem is 'Change capture and journal of vaivem, which keeps tables equal in two databases'",
        `create table vaivem.migrations (
           version integer primary key, name text not null, applied_at timestamptz not null default clock_timestamp())`,
        "comment on table vaivem.migrations is 'Which files of sql/ are installed'"
      ])
    }
    const installed = (yield* tx.query("select version from vaivem.migrations")).map((row) => Number(row.version))
    if (installed.some((version) => version > newestMigration)) return yield* tooNew(session)
    for (const { name, text, version } of migrations) {
      if (installed.includes(version)) continue
      yield* tx.script([text])
      yield* tx.query("insert into vaivem.migrations (version, name) values ($1, $2)", [version, name])
    }
    yield* tx.query("select vaivem.close_doors()")
    yield* tx.commit()
  }))
})

const notOurs = (session: PgSession) =>
  new ActionNeeded({
    side: session.side,
    message: `The ${label(session.side)} database has a schema "vaivem" that is not of this program. `
      + "Rename or drop it first: everything that vaivem installs goes there."
  })

const tooNew = (session: PgSession) =>
  new ActionNeeded({
    side: session.side,
    message: `The ${label(session.side)} database was set up by a newer version of vaivem. Update this one.`
  })
