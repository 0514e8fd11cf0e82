/** Who and what is there in an external database on which nothing may be installed; what we keep about it is in the ledger. */
import { Duration, Effect } from "effect"
import type { ConnectionTarget } from "../../domain/ConnectionTarget.ts"
import type { SyncedTable } from "../../domain/SyncedTable.ts"
import type { SyncError } from "../../domain/SyncError.ts"
import { ActionNeeded, SchemaDrifted } from "../../domain/SyncError.ts"
import type { TableName } from "../../domain/TableName.ts"
import { display } from "../../domain/TableName.ts"
import type { Captured, Catalog, Identity, Remembered } from "../Database.ts"
import type { Migration } from "../pg/Migrations.ts"
import { migrate } from "../pg/Migrations.ts"
import * as PgCatalog from "../pg/PgCatalog.ts"
import type { PgSession, Row } from "../pg/PgSession.ts"
import type { Stems } from "../pg/Stems.ts"
import type { Ledger } from "./Ledger.ts"
import { isAbout } from "./Ledger.ts"
import { isRewritten, prints } from "./prints.ts"

/** The part of `Database` that knows the catalog. */
export const make = (
  session: PgSession,
  stems: Stems,
  ledger: Ledger,
  migrations: ReadonlyArray<Migration>,
  window: Duration.Duration
): Catalog => {
  const { query, transaction } = ledger.session
  return {
    ...PgCatalog.make(session, stems, []),

    list: (schemas, by = "owner") => PgCatalog.list(session, schemas, by === "owner" ? "writer" : by),
    inspect: (names, by = "owner") => PgCatalog.inspect(session, names, by === "owner" ? "writer" : by),

    install: Effect.gen(function*() {
      yield* refuseInstalled((yield* prints(session, [], [])).isInstalled)
      yield* migrate(ledger.session, migrations)
      const { database, host, port } = session.target
      const rows = yield* query("select host, port, database from vaivem.ledger")
      yield* refuseAnother(rows[0], session.target)
      if (rows.length === 0) {
        yield* query("insert into vaivem.ledger (host, port, database) values ($1, $2, $3) on conflict do nothing", [
          host,
          port,
          database
        ])
      }
    }),

    identity: Effect.gen(function*() {
      yield* refuseInstalled((yield* prints(session, [], [])).isInstalled)
      if (!(yield* ledger.isInstalled)) return null
      const row = (yield* query("select * from vaivem.ledger"))[0]
      yield* refuseAnother(row, session.target)
      return identityOf(row)
    }),

    identify: ({ confirmed, id, peer }) =>
      Effect.asVoid(
        query("update vaivem.ledger set id = $1::uuid, peer = $2::uuid, confirmed = $3::boolean", [id, peer, confirmed])
      ),

    capture: (table) => capture(session, stems, ledger, table, window),

    recall: (name) =>
      Effect.map(
        query(
          `select contract, columns::text as columns from vaivem.ledger_tables
           where table_schema = $1 and table_name = $2 and contract is not null`,
          [name.schema, name.name]
        ),
        ([row]): Remembered | null =>
          row === undefined ? null : { contract: String(row.contract), columns: JSON.parse(String(row.columns)) }
      ),

    remember: (name, remembered) =>
      Effect.asVoid(query(
        `update vaivem.ledger_tables set contract = $3, columns = coalesce($4::jsonb, columns)
         where table_schema = $1 and table_name = $2`,
        [
          name.schema,
          name.name,
          remembered?.contract ?? null,
          remembered === null ? null : JSON.stringify(remembered.columns)
        ]
      )),

    captured: Effect.gen(function*() {
      if (!(yield* ledger.isInstalled)) return []
      const rows = yield* query("select table_schema, table_name from vaivem.ledger_tables order by 1, 2")
      return rows.map((row): TableName => ({ schema: String(row.table_schema), name: String(row.table_name) }))
    }),

    uncapture: (name) =>
      Effect.gen(function*() {
        yield* ledger.forgetId(name)
        yield* transaction(Effect.forEach(["conflicts", "quarantine", "tables"], (what) =>
          query(`delete from vaivem.ledger_${what} where table_schema = $1 and table_name = $2`, [
            name.schema,
            name.name
          ])))
      }),

    uninstall: Effect.gen(function*() {
      // Replit's own removal takes the ledger along.
      if (!(yield* ledger.isInstalled)) return
      yield* transaction(
        Effect.forEach(
          ["_conflicts", "_quarantine", "_tables", ""],
          (what) => query(`delete from vaivem.ledger${what}`)
        )
      )
    }),

    splitSequence: (name) =>
      new ActionNeeded({
        side: "external",
        message:
          `Sequence ${
            display(name)
          } on external can't be split: with EXTERNAL_CAPTURE=timestamp nothing is changed there `
          + "but rows. Its owner may run ALTER SEQUENCE on both sides by hand, as docs/conflicts.md says."
      }),

    createTable: () =>
      new ActionNeeded({
        side: "external",
        message:
          "With EXTERNAL_CAPTURE=timestamp nothing is created in the external database. Create the table there yourself, "
          + "and run `setup` again."
      })
  }
}

/** Of the ledger's one row. */
export const identityOf = (row: Row | undefined): Identity | null =>
  row === undefined || row.id === null ? null : {
    side: "external",
    id: String(row.id),
    peer: String(row.peer),
    confirmed: row.confirmed === "t"
  }

/** Capture by triggers and a ledger know nothing of each other: what the one has pending the other would not send. */
export const refuseInstalled = (isInstalled: boolean): Effect.Effect<void, ActionNeeded> =>
  isInstalled
    ? new ActionNeeded({
      side: "external",
      message:
        "vaivem is installed in the external database, by EXTERNAL_CAPTURE=triggers. Leave it so; or, to go on without, "
        + "let a last `--once` bring everything over, run `teardown` while EXTERNAL_CAPTURE is triggers, and then set it to "
        + "timestamp: the next run compares all rows again."
    })
    : Effect.void

/** Another database's stamps and keys say nothing about what this one had (promise 13). */
export const refuseAnother = (row: Row | undefined, target: ConnectionTarget): Effect.Effect<void, ActionNeeded> =>
  row === undefined || isAbout(row, target) ? Effect.void : new ActionNeeded({
    side: "external",
    message:
      `What Replit's database remembers of external is about database "${String(row.database)}" on ${
        String(row.host)
      }:${String(row.port)}, and EXTERNAL_DB_URL leads to "${target.database}" on ${target.host}:${
        String(target.port)
      }. Use the URL of the old one; `
      + "or, if this one is to take its place, run `teardown --yes`, which removes what vaivem keeps (no row of yours), and "
      + "then set the new pair up."
  })

const capture = Effect.fn("capture")(function*(
  session: PgSession,
  stems: Stems,
  ledger: Ledger,
  table: SyncedTable,
  window: Duration.Duration
) {
  const { name } = table
  const { query, transaction } = ledger.session
  const { nowUs, tables: [print] } = yield* prints(session, [name], [])
  if (print === null || print === undefined) return yield* gone(table)
  const before = (yield* query(
    `select id, key_columns = $3::text[] as same_key, storage from vaivem.ledger_tables
     where table_schema = $1 and table_name = $2`,
    [name.schema, name.name, table.key]
  ))[0]
  const captured = { adopted: null, fingerprint: print.fingerprint, gone: [] }
  if (before?.same_key === "t") {
    yield* query(
      `update vaivem.ledger_tables set fingerprint = $2, storage = $3, stamp = $4, captured_at = clock_timestamp(),
         contract = case when $5::boolean then null else contract end where id = $1`,
      [before.id, print.fingerprint, print.storage, table.stamp, isRewritten(String(before.storage), print.storage)]
    )
    return { ...captured, dropped: 0 } satisfies Captured
  }
  const lowUs = nowUs - BigInt(Duration.toMillis(window)) * 1000n
  // How things stand: what is there now is compared; what comes from now on is a change.
  const found = table.stamp === null
    ? "[]"
    : (yield* session.transaction(session.query(stems.readingSqlOf(table).scan(lowUs, unknown)), {
      statementTimeoutMs: 60_000,
      table: name
    }))[0]?.found ?? "[]"
  yield* ledger.forgetId(name)
  const dropped = yield* transaction(Effect.gen(function*() {
    const [waiting] = yield* query(
      `select count(*) as n from vaivem.ledger_pending p join vaivem.ledger_tables t on t.id = p.table_id
       where t.table_schema = $1 and t.table_name = $2 and p.operation <> 'MARK'`,
      [name.schema, name.name]
    )
    yield* query("delete from vaivem.ledger_tables where table_schema = $1 and table_name = $2", [
      name.schema,
      name.name
    ])
    yield* query("delete from vaivem.ledger_quarantine where table_schema = $1 and table_name = $2", [
      name.schema,
      name.name
    ])
    yield* query(
      `with made as (
         insert into vaivem.ledger_tables (table_schema, table_name, key_columns, stamp, fingerprint, storage, low_us)
         values ($1, $2, $3::text[], $4, $5, $6, $7::bigint) returning id)
       select id from made`,
      [name.schema, name.name, table.key, table.stamp, print.fingerprint, print.storage, String(lowUs)]
    )
    yield* query(
      `select vaivem.ledger_scanned(t.id, $3::jsonb, null, false) from vaivem.ledger_tables t
       where t.table_schema = $1 and t.table_name = $2`,
      [name.schema, name.name, found]
    )
    return Number(waiting!.n)
  }))
  return { ...captured, dropped } satisfies Captured
})

/** No set of rows has it. */
const unknown = { rows: -1, hash: "0" }

const gone = ({ name }: SyncedTable): SyncError =>
  new SchemaDrifted({
    side: "external",
    table: name,
    sqlState: "42P01",
    message: `Table ${display(name)} does not exist in the external database any more.`
  })
