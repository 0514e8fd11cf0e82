/**
 * Which tables `SYNC_TABLES=*` and `schema.*` mean, from what both sides have there. Pure; `wanted` feeds it what both
 * catalogs list.
 */
import type { Side } from "./Side.ts"
import { label, opposite, sides } from "./Side.ts"
import type { Selection, TableName } from "./TableName.ts"
import { display, isSelected } from "./TableName.ts"

/** An ordinary or partitioned table of one side. */
export interface Candidate {
  readonly name: TableName
  /** Why it can't be synced, as `has no primary key`; null when it can. */
  readonly problem: string | null
}

export interface Meant {
  /** The tables to keep equal: those that are named first, then those that a wildcard takes in, by name. */
  readonly names: ReadonlyArray<TableName>
  /** Taken in by a wildcard, but on one side only: `setup --create-missing` makes them on the other. */
  readonly missing: ReadonlyArray<TableName>
  /** What is passed over, a sentence each with the cure. */
  readonly notes: ReadonlyArray<string>
}

/**
 * A table that both sides have and can sync is taken in. One that is captured already stays, whatever became of it since:
 * it is told as one that waits, and not forgotten. Everything else is passed over with a word, so that one table without
 * a key doesn't keep all others from being synced.
 */
export const meant = (
  selection: Selection,
  excluded: Selection,
  found: Readonly<
    Record<Side, { readonly listed: ReadonlyArray<Candidate>; readonly captured: ReadonlyArray<TableName> }>
  >
): Meant => {
  const listed = { replit: byName(found.replit.listed), external: byName(found.external.listed) }
  const captured = new Set(sides.flatMap((side) => found[side].captured.map(display)))
  const named = new Set(selection.names.map(display))
  const all = new Map([...listed.replit, ...listed.external].map(([shown, { name }]) => [shown, name]))
  const names: Array<TableName> = []
  const missing: Array<TableName> = []
  const notes: Array<string> = []
  for (const [shown, name] of [...all].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (named.has(shown) || isSelected(excluded, name) || keptByTools.has(name.name)) continue
    const problems = sides.flatMap((side) => {
      const problem = listed[side].get(shown)?.problem
      return problem === undefined || problem === null ? [] : [`${problem} on ${label(side)}`]
    })
    const absent = sides.find((side) => !listed[side].has(shown))
    if (captured.has(shown) || (absent === undefined && problems.length === 0)) names.push(name)
    else if (absent === undefined || problems.length > 0) notes.push(passedOver(shown, problems))
    else {
      missing.push(name)
      notes.push(onlyOn(shown, opposite(absent)))
    }
  }
  return { names: [...selection.names, ...names], missing, notes }
}

const byName = (candidates: ReadonlyArray<Candidate>) => new Map(candidates.map((it) => [display(it.name), it]))

const passedOver = (table: string, problems: ReadonlyArray<string>) =>
  `Table ${table} ${problems.join(" and ")}: it is passed over. Mend that, or name it in SYNC_EXCLUDE.`

const onlyOn = (table: string, side: Side) =>
  `Table ${table} is only on ${label(side)}: it is passed over. \`setup --create-missing\` creates it on ${
    label(opposite(side))
  }; SYNC_EXCLUDE leaves it out for good.`

/**
 * In these, tools note which of their migrations ran in this database. Structure isn't copied, so the notes must not be
 * either: the tool would take a migration for done that never ran there. Named in `SYNC_TABLES`, they are tables like any other.
 */
const keptByTools = new Set([
  "__drizzle_migrations",
  "_prisma_migrations",
  "alembic_version",
  "ar_internal_metadata",
  "django_migrations",
  "effect_sql_migrations",
  "flyway_schema_history",
  "goose_db_version",
  "knex_migrations",
  "knex_migrations_lock",
  "kysely_migration",
  "kysely_migration_lock",
  "mikro_orm_migrations",
  "pgmigrations",
  "schema_migrations",
  "SequelizeMeta",
  "typeorm_metadata"
])
