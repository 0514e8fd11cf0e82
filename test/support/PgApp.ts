/** The conformance suite's app on a server: plain SQL on a connection of its own, as `MemoryDatabase`'s `app` does it in memory. */
import { Effect, type Redacted, Scope } from "effect"
import type { TableName } from "../../src/domain/TableName.ts"
import { qualified, quote } from "../../src/domain/TableName.ts"
import type { App, AppStatements } from "../../src/services/memory/App.ts"
import { AppRefused } from "../../src/services/memory/App.ts"
import type { Row } from "../../src/services/memory/MemoryTable.ts"
import { connect, type TestClient, type TestSqlError } from "./TestClient.ts"

/** Every transaction has its own connection, and waits no longer than a second for a lock. */
export const make = (url: Redacted.Redacted): Effect.Effect<App, TestSqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const client = yield* opened(url)
    return {
      ...statements(client),
      rows: (table) => Effect.orDie(rowsOf(client, table)),
      begin: Effect.orDie(Effect.gen(function*() {
        const own = yield* Effect.provideService(opened(url), Scope.Scope, scope)
        yield* own.query("begin")
        return {
          ...statements(own),
          commit: Effect.orDie(Effect.asVoid(own.query("commit"))),
          rollback: Effect.orDie(Effect.asVoid(own.query("rollback")))
        }
      }))
    }
  })

const opened = (url: Redacted.Redacted) =>
  Effect.tap(connect(url), (client) => client.query("set lock_timeout = '1s'; set timezone = 'UTC'"))

const rowsOf = (client: TestClient, table: TableName) =>
  Effect.gen(function*() {
    const columns = (yield* client.query<{ name: string }>(
      `select attname as name from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum`,
      [qualified(table)]
    )).map(({ name }) => name)
    const key = yield* keyOf(client, table)
    return yield* client.query<Row>(
      `select ${columns.map((name) => `${quote(name)}::text`).join(", ")} from ${qualified(table)} t order by ${
        key.map((name) => `t.${quote(name)}`).join(", ")
      }`
    )
  })

const keyOf = (client: TestClient, table: TableName) =>
  Effect.map(
    client.query<{ name: string }>(
      `select a.attname as name from pg_index i cross join unnest(i.indkey) with ordinality as k (attnum, position)
       join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
       where i.indrelid = $1::regclass and i.indisprimary order by k.position`,
      [qualified(table)]
    ),
    (rows) => rows.map(({ name }) => name)
  )

const statements = (client: TestClient): AppStatements => {
  const run = (text: string, params: ReadonlyArray<unknown> = []) =>
    Effect.asVoid(client.query(text, params)).pipe(
      Effect.mapError(({ code, message }) => new AppRefused({ sqlState: code ?? "", message }))
    )
  const where = (table: TableName, from: number) =>
    Effect.map(
      Effect.orDie(keyOf(client, table)),
      (key) => key.map((name, index) => `${quote(name)} = $${index + from}`).join(" and ")
    )
  return {
    insert: (table, row) =>
      run(
        `insert into ${qualified(table)} (${Object.keys(row).map(quote).join(", ")}) values (${
          Object.keys(row).map((_, index) => `$${index + 1}`).join(", ")
        })`,
        Object.values(row)
      ),
    update: (table, key, changes) =>
      Effect.flatMap(where(table, Object.keys(changes).length + 1), (condition) =>
        run(
          `update ${qualified(table)} set ${
            Object.keys(changes).map((name, index) => `${quote(name)} = $${index + 1}`).join(", ")
          } where ${condition}`,
          [...Object.values(changes), ...key]
        )),
    remove: (table, key) =>
      Effect.flatMap(where(table, 1), (condition) => run(`delete from ${qualified(table)} where ${condition}`, key)),
    changeKey: (table, from, to) =>
      Effect.flatMap(
        Effect.orDie(keyOf(client, table)),
        (names) =>
          Effect.flatMap(where(table, to.length + 1), (condition) =>
            run(
              `update ${qualified(table)} set ${
                names.map((name, index) => `${quote(name)} = $${index + 1}`).join(", ")
              } where ${condition}`,
              [...to, ...from]
            ))
      ),
    truncate: (table) => run(`truncate ${qualified(table)} cascade`)
  }
}
