/**
 * What two tables of one name have in common, so that rows can travel between them: the contract of promise 14.
 *
 * A `SyncedTable` is made once by `contract` from what both catalogs say and is then all that claiming, applying and
 * comparing need to know. It holds names and types, never rows.
 */
import type { Policy } from "./decide.ts"
import type { Side } from "./Side.ts"
import type { TableName } from "./TableName.ts"

/** A column as one database's catalog describes it. */
export interface Column {
  readonly name: string
  /** As `format_type` prints it with modifiers, e.g. `character varying(255)`, `timestamp with time zone`. */
  readonly type: string
  /** The type with domains resolved and modifiers left out, e.g. `character varying`: what decides whether types fit. */
  readonly base: string
  /** The type with domains resolved and their modifiers, e.g. `character(4)`: what may be null whatever a domain says. */
  readonly plain: string
  /** Of a composite type, and of arrays of one: its attributes in their order, by which its text is read. Null for others. */
  readonly attributes: string | null
  readonly notNull: boolean
  readonly hasDefault: boolean
  /** Computed by the database itself (`GENERATED ALWAYS AS`): it can't be written. */
  readonly generated: boolean
  /** `always` columns can be inserted (OVERRIDING SYSTEM VALUE) but not updated. */
  readonly identity: "always" | "by-default" | null
  /**
   * Schema of the operators that compare values, where they aren't PostgreSQL's own: an extension's type as citext has
   * its own, and compared as text its keys would be others than those of the primary key. Null for all other types.
   */
  readonly operators: string | null
  /** Of a collation that takes different texts for equal (`deterministic = false`). */
  readonly looseCollation: boolean
}

/** A table as one database's catalog describes it. */
export interface TableShape {
  readonly name: TableName
  /** In the table's own column order; dropped columns left out. */
  readonly columns: ReadonlyArray<Column>
  /** Primary key columns in key order; empty when there is no primary key. */
  readonly key: ReadonlyArray<string>
  /** Name of the primary key constraint: a violation of it during an apply is a race, not a bad row. */
  readonly keyConstraint: string | null
  /**
   * Columns of unique indexes beside the key, those in their expressions and predicates too: changing them may take a
   * stronger lock, and their values may be passed on from row to row.
   */
  readonly uniqueColumns: ReadonlyArray<string>
  /** Columns that some usable index begins with. */
  readonly leadingColumns: ReadonlyArray<string>
  /** Tables that a foreign key of this one points at, itself left out. */
  readonly parents: ReadonlyArray<TableName>
  /** A foreign key of the table points at itself: rows that point at each other should travel in one batch. */
  readonly selfReferencing: boolean
  /** Sequences that give values to columns of the primary key or a unique index; two of one column in partitions. */
  readonly sequences: ReadonlyArray<{ readonly column: string; readonly name: TableName }>
  /** Names of the user's own enabled BEFORE ROW triggers, those of single partitions too (promise 11). */
  readonly beforeTriggers: ReadonlyArray<string>
  /** Names of the user's rules, which may have something else done in the place of a write. */
  readonly rules: ReadonlyArray<string>
  /** Names of the user's own enabled AFTER triggers: they fire on what the sync applies, `check` lists them. */
  readonly afterTriggers: ReadonlyArray<string>
  /** Changes whenever the table's shape or our capture on it does; opaque. */
  readonly fingerprint: string
}

/** A pair of tables that can be kept equal. */
export interface SyncedTable {
  readonly name: TableName
  /** Primary key columns, in Replit's key order. Both sides agree on them. */
  readonly key: ReadonlyArray<string>
  /** Columns that travel, the key among them: on both sides, generated on neither. In Replit's column order. */
  readonly columns: ReadonlyArray<string>
  /** Stamp column that decides `last-write-wins`, or null: then `changed_at` of the change decides. */
  readonly stamp: string | null
  readonly policy: Policy
  /** The two catalogs' own view of the same table. */
  readonly shapes: Readonly<Record<Side, TableShape>>
}

/** Text of the key columns in `SyncedTable.key` order, as PostgreSQL prints them under the pinned settings. */
export type Key = ReadonlyArray<string>
