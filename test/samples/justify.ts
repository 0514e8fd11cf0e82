/**
 * Whether a row is in quarantine for a reason, asked without the product: the row is written on the other side by hand, in a
 * transaction that is rolled back, and the schema must refuse it.
 */
import { Effect } from "effect"
import { opposite, sides } from "../../src/domain/Side.ts"
import { display, quote } from "../../src/domain/TableName.ts"
import type { SamplePair } from "./SamplePair.ts"
import type { QuarantinedRow } from "./SampleProgram.ts"
import type { SampleTable } from "./SampleSchema.ts"

/** What is wrong with the entry, or null. */
export const problemOf = Effect.fn("problemOf")(function*(pair: SamplePair, entry: QuarantinedRow) {
  const table = pair.tables.find(({ name }) => display(name) === entry.table)
  const words = `${entry.table} ${JSON.stringify(entry.key)} of ${entry.from} (${entry.sqlState}, ${entry.message})`
  if (table === undefined) return `${words}: no such table`
  // Rows that triggers rewrite on both sides are held; no schema here does that.
  if (entry.sqlState === null) return `${words}: no SQLSTATE`
  if (/^23(503|505|514|P01)$/.test(entry.sqlState)) {
    if (entry.constraint === null) return `${words}: no constraint is named`
    if (!(yield* constraintExists(pair, entry.constraint))) {
      return `${words}: there is no constraint ${entry.constraint}`
    }
  }
  const refusal = yield* refusalOf(pair, table, entry)
  if (refusal === entry.sqlState) return null
  return `${words}: written by hand, ${refusal === null ? "the row is taken" : `it is refused with ${refusal}`}`
})

const constraintExists = (pair: SamplePair, name: string) =>
  Effect.map(
    Effect.forEach(sides, (side) =>
      pair[side].app.query(
        "select from pg_constraint where conname = $1 union all select from pg_class where relname = $1 and relkind in ('i', 'I')",
        [name]
      )),
    (found) => found.flat().length > 0
  )

/** SQLSTATE, or null when the other side takes the row. */
const refusalOf = Effect.fnUntraced(function*(pair: SamplePair, table: SampleTable, { from, key }: QuarantinedRow) {
  const [source, target] = [pair[from].app, pair[opposite(from)].app]
  const columns = table.columns.filter(({ generated }) => !generated).map(({ name }) => name)
  const where = table.key.map((name, i) => `${quote(name)} = $${i + 1}`).join(" and ")
  const [row] = yield* source.query<Record<string, string | null>>(
    `select ${
      columns.map((name) => `t.${quote(name)}::text as ${quote(name)}`).join(", ")
    } from ${table.sql} t where ${where}`,
    key
  )
  yield* target.query("begin")
  return yield* Effect.gen(function*() {
    if (row === undefined) yield* target.query(`delete from ${table.sql} where ${where}`, key)
    else {
      const values = Object.values(row)
      const free = columns.filter((name) =>
        !table.key.includes(name) && table.columns.find((column) => column.name === name)?.identity !== "a"
      )
      const updated = free.length === 0
        ? yield* target.query(`select 1 from ${table.sql} where ${where}`, key)
        : yield* target.query(
          `update ${table.sql} set ${free.map((name, i) => `${quote(name)} = $${i + key.length + 1}`).join(", ")}
           where ${where} returning 1 as one`,
          [...key, ...free.map((name) => row[name])]
        )
      if (updated.length === 0) {
        yield* target.query(
          `insert into ${table.sql} (${columns.map(quote).join(", ")}) overriding system value
           values (${columns.map((_, i) => `$${i + 1}`).join(", ")})`,
          values
        )
      }
    }
    yield* target.query("set constraints all immediate")
    return null
  }).pipe(
    Effect.catchAll((error) => Effect.succeed(error.code ?? error.message)),
    Effect.ensuring(Effect.orDie(target.query("rollback")))
  )
})
