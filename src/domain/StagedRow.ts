/**
 * How rows travel: lines of PostgreSQL's COPY text format, one for each claimed key, and one for each digest.
 *
 * A staged row's columns are, in this order: number, change_id, present (`t` or `f`), changed_us, bounces, was1 to wasn (the
 * key that this one was changed from; `\N` when it wasn't), then `SyncedTable.columns`. The key's columns among them are always
 * filled, the others are `\N` when the row is absent. A row's stamp is read in the row. A digest's columns are hash, k1 to
 * kn; a version's are hash, stamp_us, k1 to kn.
 *
 * Rows on their way from server to server are never looked into: the servers write and read these lines. Only the
 * memory form does, and whoever asks a claim for its keys.
 */
import { Effect, Stream } from "effect"
import type { Key, SyncedTable } from "./SyncedTable.ts"

/** A claimed key and the row that it names in the source, as it is at the claim. */
export interface StagedRow {
  /** Its place in the claim, from 1. */
  readonly number: number
  /** The newest change of the key that was read. */
  readonly changeId: bigint
  /** False when the source has no such row: the target is to delete it. */
  readonly present: boolean
  /** When the change was logged, in whole microseconds since 1970; null for a mark, which is older than any change. */
  readonly changedUs: bigint | null
  /** How often the change went to and fro because triggers rewrote it; 0 for an app's write. */
  readonly bounces: number
  /** The key that this row had before, or null. */
  readonly was: Key | null
  /** Texts in the order of `SyncedTable.columns`; null is SQL's null. */
  readonly values: ReadonlyArray<string | null>
}

/** The hash of one row's content, and the row's key. */
export interface RowDigest {
  readonly hash: string
  readonly key: Key
}

/** The same with the row's stamp, as in `Version`. */
export interface RowVersion extends RowDigest {
  readonly stampUs: bigint | null
}

/** The line of a staged row, its newline included. */
export const encode = (row: StagedRow, keyColumns: number): string =>
  encodeLine([
    `${row.number}`,
    `${row.changeId}`,
    row.present ? "t" : "f",
    row.changedUs === null ? null : `${row.changedUs}`,
    `${row.bounces}`,
    ...(row.was ?? Array.from({ length: keyColumns }, () => null)),
    ...row.values
  ])

/** The line of a digest, its newline included. */
export const encodeDigest = ({ hash, key }: RowDigest): string => encodeLine([hash, ...key])

/** The line of a version, its newline included. */
export const encodeVersion = ({ hash, key, stampUs }: RowVersion): string =>
  encodeLine([hash, stampUs === null ? null : `${stampUs}`, ...key])

/** Reads staged rows from bytes that are cut anywhere. A line that is no staged row of this table is a defect. */
export const decode = (table: SyncedTable) => <E, R>(bytes: Stream.Stream<Uint8Array, E, R>) =>
  Effect.flatMap(Stream.runCollect(bytes), (chunks) => decodeChunks(table, chunks))

/** The same for bytes that have arrived. */
export const decodeChunks = (table: SyncedTable, chunks: Iterable<Uint8Array>) =>
  all(chunks, (fields) => toRow(table, fields))

/** Reads digests from bytes that are cut anywhere. */
export const decodeDigests = <E, R>(bytes: Stream.Stream<Uint8Array, E, R>) =>
  Effect.flatMap(Stream.runCollect(bytes), (chunks) => all(chunks, toDigest))

/** Reads versions from bytes that are cut anywhere. */
export const decodeVersions = <E, R>(bytes: Stream.Stream<Uint8Array, E, R>) =>
  Effect.flatMap(Stream.runCollect(bytes), (chunks) => all(chunks, toVersion))

/** One line of COPY text format: fields between tabs, `\N` for null, special characters escaped, a newline at the end. */
export const encodeLine = (fields: ReadonlyArray<string | null>): string =>
  fields.map((field) => field === null ? "\\N" : field.replace(/[\\\b\t\n\v\f\r]/g, (special) => escapes[special]!))
    .join("\t") + "\n"

/** The fields of one line without its newline. Reads what `COPY … TO` writes; that never has octal or hex escapes. */
export const decodeLine = (line: string): ReadonlyArray<string | null> =>
  line.split("\t").map((field) =>
    field === "\\N" ? null : field.replace(/\\(.)/gs, (_, letter: string) => unescapes[letter] ?? letter)
  )

const toRow = (table: SyncedTable, fields: ReadonlyArray<string | null>): StagedRow | null => {
  const [number, changeId, present, changedUs, bounces, ...rest] = fields
  const was = rest.slice(0, table.key.length)
  const values = rest.slice(table.key.length)
  if (number == null || changeId == null || bounces == null) return null
  if (values.length !== table.columns.length) return null
  return {
    number: Number(number),
    changeId: BigInt(changeId),
    present: present === "t",
    changedUs: changedUs == null ? null : BigInt(changedUs),
    bounces: Number(bounces),
    was: was.every((text) => text !== null) ? was : null,
    values
  }
}

const toDigest = ([hash, ...key]: ReadonlyArray<string | null>): RowDigest | null =>
  hash != null && key.length > 0 && key.every((text) => text !== null) ? { hash, key } : null

const toVersion = ([hash, stampUs, ...key]: ReadonlyArray<string | null>): RowVersion | null => {
  const digest = toDigest([hash ?? null, ...key])
  return digest === null ? null : { ...digest, stampUs: stampUs == null ? null : BigInt(stampUs) }
}

const all = <A>(chunks: Iterable<Uint8Array>, read: (fields: ReadonlyArray<string | null>) => A | null) =>
  Effect.suspend(() => {
    const found = lines(chunks)?.map((line) => read(decodeLine(line))) ?? [null]
    return found.every((one) => one !== null) ? Effect.succeed<ReadonlyArray<A>>(found) : malformed
  })

/**
 * Cuts bytes into lines; null when the last one has no end. A newline byte always ends a line: in values it is escaped,
 * and in UTF-8 it is part of no other character.
 */
const lines = (chunks: Iterable<Uint8Array>): ReadonlyArray<string> | null => {
  const found: Array<string> = []
  let rest: Uint8Array = new Uint8Array()
  for (const chunk of chunks) {
    const last = chunk.lastIndexOf(newline)
    if (last === -1) rest = join(rest, chunk)
    else {
      found.push(...utf8(join(rest, chunk.subarray(0, last))).split("\n"))
      rest = chunk.subarray(last + 1)
    }
  }
  return rest.length === 0 ? found : null
}

const utf8 = (bytes: Uint8Array): string => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)

const join = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const joined = new Uint8Array(a.length + b.length)
  joined.set(a)
  joined.set(b, a.length)
  return joined
}

const malformed = Effect.dieMessage("These bytes are no rows of the table, or are cut off.")

const newline = 10
const escapes: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\v": "\\v",
  "\f": "\\f",
  "\r": "\\r"
}
const unescapes: Readonly<Record<string, string>> = { b: "\b", t: "\t", n: "\n", v: "\v", f: "\f", r: "\r" }
