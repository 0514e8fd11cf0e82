/** Whether both sides are equal, asked in SQL and without the product: rows as text, hashed. */
import { Effect } from "effect"
import { type Side, sides } from "../../src/domain/Side.ts"
import { display, qualified, quote } from "../../src/domain/TableName.ts"
import type { TestClient } from "../support/TestClient.ts"
import type { SamplePair } from "./SamplePair.ts"
import type { SampleTable } from "./SampleSchema.ts"

export interface Compared {
  readonly table: SampleTable
  readonly rows: Readonly<Record<Side, number>>
  /** Keys, as JSON, of rows that differ or that one side lacks; a few words on each for people. */
  readonly differing: ReadonlyMap<string, string>
  /** Keys, as JSON, that wait on either side. */
  readonly pending: ReadonlySet<string>
}

export const compare = Effect.fn("compare")(function*(pair: SamplePair) {
  return yield* Effect.forEach(pair.tables, (table) =>
    Effect.gen(function*() {
      const [replit, external] = yield* Effect.forEach(sides, (side) => sumOf(pair[side].app, table))
      const differing = replit!.hash === external!.hash && replit!.rows === external!.rows
        ? new Map<string, string>()
        : differences(yield* rowsOf(pair.replit.app, table), yield* rowsOf(pair.external.app, table))
      const pending = (yield* Effect.forEach(sides, (side) => pendingOf(pair[side].app, table))).flat()
      return {
        table,
        rows: { replit: replit!.rows, external: external!.rows },
        differing,
        pending: new Set(pending)
      } satisfies Compared
    }))
})

/** Keys that wait on this side, as JSON, each as often as it changed. */
const pendingOf = (app: TestClient, table: SampleTable) =>
  Effect.map(
    app.query<{ key: string }>(
      `select ${keyJson(table)} as key
       from ${qualified({ schema: table.name.schema, name: `${table.name.name}_changelog` })} t where not synced`
    ),
    (rows) => rows.map(({ key }) => normal(key))
  )

const sumOf = (app: TestClient, table: SampleTable) =>
  Effect.map(
    app.query<{ rows: number; hash: string }>(
      `select count(*) as rows, coalesce(sum(('x' || left(md5(${
        rowText(table)
      }), 15))::bit(60)::bigint), 0)::text as hash
       from ${table.sql} t`
    ),
    ([sum]) => sum!
  )

const rowsOf = (app: TestClient, table: SampleTable) =>
  Effect.map(
    app.query<{ key: string; hash: string }>(
      `select ${keyJson(table)} as key, md5(${rowText(table)}) as hash from ${table.sql} t`
    ),
    (rows) => new Map(rows.map(({ hash, key }) => [normal(key), hash]))
  )

const differences = (replit: ReadonlyMap<string, string>, external: ReadonlyMap<string, string>) => {
  const found = new Map<string, string>()
  for (const [key, hash] of replit) {
    const other = external.get(key)
    if (other === undefined) found.set(key, "only on Replit")
    else if (other !== hash) found.set(key, "different")
  }
  for (const key of external.keys()) if (!replit.has(key)) found.set(key, "only on external")
  return found
}

const rowText = (table: SampleTable) => `row(${table.columns.map(({ name }) => `t.${quote(name)}`).join(", ")})::text`

const keyJson = (table: SampleTable) =>
  `json_build_array(${table.key.map((name) => `t.${quote(name)}::text`).join(", ")})::text`

const normal = (json: string) => JSON.stringify(JSON.parse(json))

/** A few of what differs, for people. */
export const differenceText = ({ differing, table }: Compared): string =>
  [...differing].slice(0, 5).map(([key, what]) => `${display(table.name)} ${key}: ${what}`).join("\n")
