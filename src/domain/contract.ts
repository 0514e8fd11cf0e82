/**
 * Columns in common are a contract (promise 14): whether two tables of one name can be kept equal, and through which
 * columns. Pure; `setup` feeds it what both catalogs say.
 */
import type { Cure } from "./Cure.ts"
import { cureByHand } from "./Cure.ts"
import type { Policy } from "./decide.ts"
import type { Side } from "./Side.ts"
import { label, opposite } from "./Side.ts"
import type { Column, SyncedTable, TableShape } from "./SyncedTable.ts"
import { display, quote } from "./TableName.ts"

export type Contract =
  | {
    readonly _tag: "Fits"
    readonly table: SyncedTable
    /** Both sides remember it; when it changes, the table is reconciled before anything is applied. */
    readonly text: string
    /** Columns that don't travel, a sentence each. */
    readonly warnings: ReadonlyArray<string>
    /** What `check` says of it besides. */
    readonly notes: ReadonlyArray<string>
    /** What would make those columns travel. */
    readonly cures: ReadonlyArray<Cure>
  }
  /** It can't be synced at all until a person changes the schema: exit 2 at the start, a pause later. */
  | { readonly _tag: "Refused"; readonly problem: string }
  /** It could be synced but for a column: the table waits, the others go on. */
  | { readonly _tag: "Paused"; readonly problem: string; readonly cures: ReadonlyArray<Cure> }

export interface TableRules {
  readonly policy: Policy
  readonly stamp: string
  /** Whether the person named the stamp column: then it must be there. */
  readonly stampNamed: boolean
  /** Whether changes are found by the stamp (`EXTERNAL_CAPTURE=timestamp`): then it must be there, too. */
  readonly stampNeeded?: boolean
}

/** Compares two shapes of one table. */
export const contract = (shapes: Readonly<Record<Side, TableShape>>, rules: TableRules): Contract => {
  const table = display(shapes.replit.name)
  const problem = keyProblem(table, shapes) ?? typeProblem(table, shapes) ?? stampProblem(table, shapes, rules)
  if (problem !== null) return { _tag: "Refused", problem }

  const oneSided = [...onlyOn("replit", shapes), ...onlyOn("external", shapes)]
  const blocking = oneSided.find(({ column }) => column.notNull && !canBeLeftOut(column))
  if (blocking !== undefined) {
    const problem = missingColumn(table, blocking)
    return {
      _tag: "Paused",
      problem,
      cures: [cureByHand(problem, opposite(blocking.side), addColumn(table, blocking))]
    }
  }

  const columns = shapes.replit.columns.filter((column) => {
    const other = columnOf(shapes.external, column.name)
    return other !== undefined && !column.generated && !other.generated
  })
  const names = columns.map((column) => column.name)
  const left = oneSided.filter(({ column }) => !column.generated)
  return {
    _tag: "Fits",
    table: {
      name: shapes.replit.name,
      key: shapes.replit.key,
      columns: names,
      stamp: usableStamp(shapes, rules.stamp),
      policy: rules.policy,
      shapes
    },
    text: JSON.stringify({
      key: shapes.replit.key,
      columns: columns
        .map((column) => [column.name, column.type, columnOf(shapes.external, column.name)?.type])
        .sort((a, b) => (a[0]! < b[0]! ? -1 : 1))
    }),
    warnings: left.map((found) => leftOut(table, found)),
    notes: stampNote(table, shapes, rules),
    cures: left.map((found) => cureByHand(leftOut(table, found), opposite(found.side), addColumn(table, found)))
  }
}

interface OneSided {
  readonly side: Side
  readonly column: Column
}

const columnOf = (shape: TableShape, name: string) => shape.columns.find((column) => column.name === name)

const onlyOn = (side: Side, shapes: Readonly<Record<Side, TableShape>>): ReadonlyArray<OneSided> =>
  shapes[side].columns
    .filter((column) => columnOf(shapes[opposite(side)], column.name) === undefined)
    .map((column) => ({ side, column }))

const canBeLeftOut = (column: Column) => column.hasDefault || column.generated || column.identity !== null

const addColumn = (table: string, { column }: OneSided) =>
  `ALTER TABLE ${table} ADD COLUMN ${quote(column.name)} ${column.type};`

const leftOut = (table: string, { column, side }: OneSided) =>
  `Column "${column.name}" of ${table} is only on ${label(side)}: rows are synced without it. To sync it, run on ${
    label(opposite(side))
  }: ALTER TABLE ${table} ADD COLUMN ${quote(column.name)} ${column.type};`

const missingColumn = (table: string, { column, side }: OneSided) =>
  `Table ${table} waits: column "${column.name}" is NOT NULL without a default on ${label(side)} and is missing on ${
    label(opposite(side))
  }, so rows from there can't be inserted. Run on ${label(opposite(side))}: ALTER TABLE ${table} ADD COLUMN ${
    quote(column.name)
  } ${column.type}; (and SET NOT NULL when it is filled.) Or give it a default, on ${
    label(side)
  }: ALTER TABLE ${table} ALTER COLUMN ${quote(column.name)} SET DEFAULT …;`

const keyProblem = (table: string, shapes: Readonly<Record<Side, TableShape>>): string | null => {
  for (const side of ["replit", "external"] as const) {
    if (shapes[side].key.length === 0) {
      return `Table ${table} on ${label(side)} has no primary key, so its rows can't be told apart. `
        + `Add one, for example: ALTER TABLE ${table} ADD PRIMARY KEY (id);`
    }
  }
  const [replit, external] = [shapes.replit.key, shapes.external.key]
  if (replit.length !== external.length || replit.some((name) => !external.includes(name))) {
    return `The primary keys of ${table} differ: (${replit.join(", ")}) on Replit, (${
      external.join(", ")
    }) on external. Make them the same columns on both sides${renaming(table, replit, external)}`
  }
  for (const name of replit) {
    const [a, b] = [columnOf(shapes.replit, name)!, columnOf(shapes.external, name)!]
    if (!keysFit(a, b)) {
      return `Primary key column "${name}" of ${table} is ${a.type} on Replit and ${b.type} on external. `
        + retyping(table, name, a, b)
    }
    if (attributesDiffer(a, b)) return differentAttributes(table, a, b)
    if (a.generated || b.generated) {
      return `Primary key column "${name}" of ${table} is generated from other columns, so it can't be written.`
    }
  }
  return null
}

const typeProblem = (table: string, shapes: Readonly<Record<Side, TableShape>>): string | null => {
  for (const a of shapes.replit.columns) {
    const b = columnOf(shapes.external, a.name)
    if (b === undefined || a.generated || b.generated) continue
    if (attributesDiffer(a, b)) return differentAttributes(table, a, b)
    if (typesFit(a, b)) continue
    return `Column "${a.name}" of ${table} is ${a.type} on Replit and ${b.type} on external: values of the one don't `
      + `survive in the other. ${retyping(table, a.name, a, b)}`
  }
  return null
}

/** A composite's text has its values by their places: `(1,2)` means something else where the places differ. */
const attributesDiffer = (a: Column, b: Column) =>
  a.attributes !== null && b.attributes !== null && a.attributes !== b.attributes

const differentAttributes = (table: string, a: Column, b: Column): string =>
  `Column "${a.name}" of ${table} is ${a.type} (${a.attributes}) on Replit and ${b.type} (${b.attributes}) on external: `
  + "its values would be read in the wrong places. Make the attributes the same, in the same order, on both sides: "
  + "ALTER TYPE … ADD ATTRIBUTE, DROP ATTRIBUTE, ALTER ATTRIBUTE."

/** The statement for either side: which of the two types is meant, only a person knows. */
const retyping = (table: string, name: string, replit: Column, external: Column): string => {
  const statement = ({ type }: Column) =>
    `ALTER TABLE ${table} ALTER COLUMN ${quote(name)} TYPE ${type} USING ${quote(name)}::text::${type};`
  return `Make it one type on both sides. On external: ${statement(replit)} Or on Replit: ${statement(external)}`
}

/** A key of as many columns, one of which has another name: it was renamed, most likely. */
const renaming = (table: string, replit: ReadonlyArray<string>, external: ReadonlyArray<string>): string => {
  const ours = replit.filter((name) => !external.includes(name))
  const theirs = external.filter((name) => !replit.includes(name))
  return ours.length === 1 && theirs.length === 1
    ? `. If it is the same one by another name, on external: ALTER TABLE ${table} RENAME COLUMN ${
      theirs.map(quote).join()
    } TO ${ours.map(quote).join()};`
    : "."
}

const stampProblem = (table: string, shapes: Readonly<Record<Side, TableShape>>, rules: TableRules): string | null => {
  if (!rules.stampNamed) {
    return rules.stampNeeded === true && usableStamp(shapes, rules.stamp) === null
      ? `Table ${table} has no stamp column "${rules.stamp}" (timestamp with or without time zone) on both sides, and with `
        + "EXTERNAL_CAPTURE=timestamp changes are found by it. Name another column in SYNC_STAMP, or leave the table out of "
        + "SYNC_TABLES."
      : null
  }
  for (const side of ["replit", "external"] as const) {
    const column = columnOf(shapes[side], rules.stamp)
    if (column === undefined) {
      return `SYNC_STAMP names column "${rules.stamp}", which table ${table} on ${label(side)} doesn't have.`
    }
    if (!stampTypes.has(column.base)) {
      return `SYNC_STAMP names column "${rules.stamp}" of ${table}, which is ${column.type} on ${
        label(side)
      }: a stamp must be timestamp with or without time zone.`
    }
  }
  return null
}

const stampNote = (table: string, shapes: Readonly<Record<Side, TableShape>>, rules: TableRules) =>
  rules.policy === "last-write-wins" && usableStamp(shapes, rules.stamp) === null
    ? [
      `Table ${table} has no stamp column "${rules.stamp}" on both sides: conflicts are decided by when the change was `
      + "logged. SYNC_STAMP can name another column."
    ]
    : []

const usableStamp = (shapes: Readonly<Record<Side, TableShape>>, stamp: string): string | null => {
  const usable = (side: Side) => {
    const column = columnOf(shapes[side], stamp)
    return column !== undefined && !column.generated && stampTypes.has(column.base)
  }
  return usable("replit") && usable("external") ? stamp : null
}

/**
 * Whether every value of either column survives a journey through the other's text form. Families whose members print
 * the same text for the same value fit; a value that is too long or too large for one side waits in quarantine.
 */
const typesFit = (a: Column, b: Column): boolean => {
  const [one, other] = [unqualified(a.type), unqualified(b.type)]
  if (one === other) return true
  const [base, otherBase] = [unqualified(a.base).replace(/\[\]$/, ""), unqualified(b.base).replace(/\[\]$/, "")]
  if (a.base.endsWith("[]") !== b.base.endsWith("[]")) return false
  // Digits after the point are rounded away without a word; too many before it are refused.
  if (base === "numeric" && otherBase === "numeric") return scaleOf(one) !== null && scaleOf(one) === scaleOf(other)
  if (stampTypes.has(base) && stampTypes.has(otherBase)) {
    return base !== otherBase && precisionOf(one) === precisionOf(other)
  }
  if (base === otherBase) return base === "character varying"
  return families.some((family) => family.has(base) && family.has(otherBase))
}

const scaleOf = (type: string): string | null => /^numeric\(\d+,(\d+)\)/.exec(type)?.[1] ?? null

const precisionOf = (type: string): string | null => /\((\d+)\)/.exec(type)?.[1] ?? null

/** Whether both take the same values for one key, and print them alike. */
const keysFit = (a: Column, b: Column): boolean =>
  (a.operators === null) === (b.operators === null) && a.looseCollation === b.looseCollation
  && (unqualified(a.base) === unqualified(b.base) ||
    keyFamilies.some((family) => family.has(a.base) && family.has(b.base)))

/** An extension's type may be in another schema on each side, and a type of the app's, too. */
const unqualified = (type: string): string => type.replace(/^("([^"]|"")*"|\w+)\./, "")

const textTypes = new Set(["text", "character varying", "citext"])
const integerTypes = new Set(["smallint", "integer", "bigint"])
const keyFamilies = [new Set(["text", "character varying"]), integerTypes]
/** Without a zone is read and written as UTC, under the pinned session settings. */
const stampTypes = new Set(["timestamp with time zone", "timestamp without time zone"])
const families = [
  textTypes,
  integerTypes,
  // A uuid that was written into the text column in another spelling would come back in PostgreSQL's own.
  new Set(["uuid", "text", "character varying"])
]
