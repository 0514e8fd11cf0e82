/**
 * What the programs need from a database, as verbs. Both sides offer the same, so push and pull are one program with
 * the databases swapped. `PgDatabase` and `MemoryDatabase` are its two forms; the memory form is the reference, and
 * both pass one conformance suite. `TimestampDatabase` is a third, for an external database on which nothing is installed.
 *
 * Every verb that writes is idempotent or is one transaction: a lost COMMIT answer is retried (promise 8).
 */
import type { Effect, Scope, Stream } from "effect"
import type { Concerned } from "../domain/brake.ts"
import type { Remedy } from "../domain/Cure.ts"
import type { Version } from "../domain/decide.ts"
import type { IdSequence, SequenceSettings } from "../domain/IdSequence.ts"
import type { Proof } from "../domain/Proof.ts"
import type { Side } from "../domain/Side.ts"
import type { Key, SyncedTable, TableShape } from "../domain/SyncedTable.ts"
import type { SyncError } from "../domain/SyncError.ts"
import type { TableName } from "../domain/TableName.ts"
import type { Renewal, Tokens } from "../domain/Tokens.ts"

export interface Database
  extends Catalog, Changelog, FewRows, Comparison, Proving, Survey, Journal, Braking, Listening, Metering
{
  readonly side: Side
}

// ---------------------------------------------------------------------------------------------------------------------
// Catalog: who and what is there, and what we install.
// ---------------------------------------------------------------------------------------------------------------------

export interface Catalog {
  /** Connects and says who is there. One try, no retries. */
  readonly hello: Effect.Effect<Hello, SyncError>
  /** Holds an advisory lock of that number for the scope; `sees` asks through another database whether it is held. */
  readonly hold: (number: bigint) => Effect.Effect<void, SyncError, Scope.Scope>
  /** Whether the number is held by somebody else in this database: then the two URLs lead to one database. */
  readonly sees: (number: bigint) => Effect.Effect<boolean, SyncError>
  /** What these schemas hold that a wildcard of `SYNC_TABLES` means, by name; see `Listed`. One round trip. `by` as below. */
  readonly list: (
    schemas: ReadonlyArray<string>,
    by?: "owner" | "reader"
  ) => Effect.Effect<ReadonlyArray<Listed>, SyncError>
  /**
   * Describes tables by name, in the order asked; what can't be described is said in `problem`. For a `reader` the tables
   * may be another role's, if it may read them; for the `owner`, who is to sync them, they may not. Default `owner`.
   */
  readonly inspect: (
    names: ReadonlyArray<TableName>,
    by?: "owner" | "reader"
  ) => Effect.Effect<ReadonlyArray<Inspected>, SyncError>
  /** Applies missing migrations of `sql/`. Many at once are fine. Refuses a `vaivem` schema that is not ours. */
  readonly install: Effect.Effect<void, SyncError>
  /** Who this database is and who its peer is; null when nothing of ours is installed. */
  readonly identity: Effect.Effect<Identity | null, SyncError>
  /** Writes the identity. Only `setup` calls it, after checking it. */
  readonly identify: (identity: Identity) => Effect.Effect<void, SyncError>
  /** Installs or renews capture, touch and guard triggers of one table; takes over an older `_changelog` table. */
  readonly capture: (table: SyncedTable, options: CaptureOptions) => Effect.Effect<Captured, SyncError>
  /** What is remembered about a table for this pair, or null before its first reconciliation. */
  readonly recall: (name: TableName) => Effect.Effect<Remembered | null, SyncError>
  /** Remembers it, or forgets it with null. What was proven of the table before is forgotten either way. */
  readonly remember: (name: TableName, remembered: Remembered | null) => Effect.Effect<void, SyncError>
  /** All tables with capture installed by us. */
  readonly captured: Effect.Effect<ReadonlyArray<TableName>, SyncError>
  /**
   * Removes capture of one table and all that we keep about it, and puts back an older changelog table and the sequences
   * that were split and give ids to no other captured table.
   */
  readonly uncapture: (name: TableName) => Effect.Effect<void, SyncError>
  /** Removes everything of ours, and puts back what `uncapture` does. */
  readonly uninstall: Effect.Effect<void, SyncError>
  /**
   * The sequences that give ids to the tables, which must be there: in the order of the tables, then by column. Reads the
   * highest and lowest id of each column.
   */
  readonly sequences: (names: ReadonlyArray<TableName>) => Effect.Effect<ReadonlyArray<IdSequence>, SyncError>
  /**
   * Sets a sequence, in one transaction, and remembers what it was before the first time. It begins with `next` or, if
   * it has passed that by then, with the first number of the same steps that is further. Returns the last number that it
   * had given. Waits for transactions that have used it, at most half a second, because others wait behind it.
   */
  readonly splitSequence: (name: TableName, settings: SequenceSettings) => Effect.Effect<bigint, SyncError>
  /** Creates a table of the given shape (`setup --create-missing`): columns, defaults that are portable, primary key. */
  readonly createTable: (ddl: string) => Effect.Effect<void, SyncError>
  /**
   * Does what a remedy says, once a person has agreed: also where nothing of ours may be installed. Takes a minute at most;
   * the app's writes to a table wait while it gets an index.
   */
  readonly mend: (remedy: Remedy) => Effect.Effect<void, SyncError>
  /** The CREATE TABLE statement that makes this table on the other side. */
  readonly describe: (name: TableName) => Effect.Effect<string, SyncError>
}

export interface Hello {
  readonly kind: "replit-helium" | "neon-direct" | "neon-pooled" | "other" | "memory"
  readonly host: string
  readonly database: string
  readonly role: string
  /** E.g. `18.4`. */
  readonly version: string
  /** E.g. 180004. */
  readonly versionNumber: number
  readonly tls: boolean
  /** Time of one round trip on an open connection, milliseconds. */
  readonly latencyMs: number
  /** The server's clock less ours, milliseconds; good to about half the latency. */
  readonly clockOffsetMs: number
  readonly readOnly: boolean
  /** May create a schema in this database (needed by the first `setup` only). */
  readonly mayCreateSchema: boolean
  /** May make temporary tables, which every batch needs. */
  readonly mayCreateTemporary: boolean
}

export type Inspected =
  | { readonly _tag: "Table"; readonly shape: TableShape }
  /** Not there, or not a table that can be synced (view, foreign table, partition, not owned …). */
  | { readonly _tag: "Unfit"; readonly name: TableName; readonly missing: boolean; readonly problem: string }

/** An ordinary or partitioned table; no partition, no member of an extension, no changelog of the older script. */
export interface Listed {
  readonly name: TableName
  /** Why it can't be synced, as `has no primary key`; null when it can. */
  readonly problem: string | null
}

export interface Identity {
  /** Which side this database plays; swapped URLs are found by it. */
  readonly side: Side
  readonly id: string
  readonly peer: string
  /** False between the two writes of a first pairing: a crash there must leave a way on. */
  readonly confirmed: boolean
}

export interface CaptureOptions {
  /** Whether an update that leaves the stamp column alone bumps it. */
  readonly touch: boolean
  /** A person said that the rows of partitions that are gone may come back from the other side. Default false. */
  readonly acceptPartitions?: boolean
  /** Whether changes are announced to whoever listens; what was installed for it before is removed. Default false. */
  readonly announce?: boolean
}

export interface Captured {
  /** The older system's changelog table that was taken over: its new name and how many unsynced keys were adopted. */
  readonly adopted: { readonly renamedTo: string; readonly keys: number } | null
  /** The table's fingerprint with capture in place. */
  readonly fingerprint: string
  /** Partitions that were dropped or detached since: then nothing was done, unless that was accepted. */
  readonly gone: ReadonlyArray<string>
  /** Changes that were pending by keys of other columns or types than the table has now, and could not be kept. */
  readonly dropped: number
}

/** What one side remembers about a table of its pair. A table is reconciled when both sides remember the same contract. */
export interface Remembered {
  /** Common columns and their types on both sides; opaque, compared for equality. */
  readonly contract: string
  /** All column names that each side had then: tells who had a column that is newly in common. */
  readonly columns: Readonly<Record<Side, ReadonlyArray<string>>>
}

// ---------------------------------------------------------------------------------------------------------------------
// Changelog: capture's queue, and how rows leave and arrive.
// ---------------------------------------------------------------------------------------------------------------------

export interface Changelog {
  /**
   * Looks for changes that no trigger logs, and makes them pending: for a database on which nothing is installed. Nothing
   * to do where capture is complete by itself. Deletes are looked for when that is due, or `now`.
   */
  readonly scan: (
    tables: ReadonlyArray<SyncedTable>,
    options: { readonly sweep: "due" | "now" }
  ) => Effect.Effect<void, SyncError>
  /** The one question of an idle cycle: one round trip. */
  readonly ask: (question: Question) => Effect.Effect<Answer, SyncError>
  /**
   * Takes the lease for the scope; null when somebody else has it. A holder that has shown no sign of life for five seconds has
   * lost it. Replit's side only.
   */
  readonly lease: Effect.Effect<Lease | null, SyncError, Scope.Scope>
  /**
   * From now on nothing that this instance commits here is committed unless the database has that epoch (`LeaseTaken`); null
   * ends that. A new epoch is written first, and ends what the holder before left open; a higher one stays. Returns the epoch
   * that is there, or null where none is kept for this pair yet: then nothing is checked.
   */
  readonly fence: (fence: Fence | null) => Effect.Effect<bigint | null, SyncError>
  /**
   * Claims pending keys with the rows' newest state, in one snapshot. The source's transaction stays open in the scope
   * until `acknowledge` commits it; closing the scope without it gives the claim up. Null when nothing is left.
   */
  readonly claim: (table: SyncedTable, request: ClaimRequest) => Effect.Effect<Claim | null, SyncError, Scope.Scope>
  /**
   * Applies a claim of the other side in one transaction: stage, lock, judge, merge, journal, log as history, commit.
   * Sequences that give ids to the table are moved past the rows, never back; that stays, whatever becomes of the rest.
   * `RowRefused` means that nothing was applied because at least one row of the claim was refused.
   */
  readonly apply: (table: SyncedTable, claim: Claim, options: ApplyOptions) => Effect.Effect<Applied, SyncError>
  /**
   * Ends a cycle: notes the time, writes `run` into `vaivem.runs` when something moved or failed. Replit's side only.
   * `renewal` comes along in the same transaction, here and below; whether it was written is told. One that was not `whole`
   * looked at a part of the tables: the time is that of the cycle before then. Default true.
   */
  readonly finish: (
    run: Run | null,
    renewal?: Renewal,
    options?: { readonly whole: boolean }
  ) => Effect.Effect<{ readonly renewed: boolean }, SyncError>
  /**
   * Deletes what is older than it is to be kept: history of these tables, and conflicts of all, restored or not. Only after
   * a cycle that acknowledged all it applied. Tells how many lines of history that were.
   */
  readonly purge: (
    names: ReadonlyArray<TableName>,
    kept: Kept,
    renewal?: Renewal
  ) => Effect.Effect<{ readonly purged: number; readonly renewed: boolean }, SyncError>
  /** Whether anybody reads this side's queues; null when nothing of ours is there. */
  readonly neglect: Effect.Effect<Neglect | null, SyncError>
  /**
   * Forgets what was reconciled, so that every table is compared again, and what the brake held. A side that went back in time
   * is told when the other side's last cycle was: what it logged until then may have been synced since, and is dropped,
   * quarantine too; comparing finds what differs. Its change ids begin beyond all that were ever given, those of changes
   * that stay as well: the other side's history may know their old ones as applied, with rows that are forgotten here.
   */
  readonly takeAsItIs: (forgottenUntilMs: number | null, renewal: Renewal) => Effect.Effect<void, SyncError>
}

/** For how long, in milliseconds. */
export interface Kept {
  readonly historyMs: number
  readonly conflictsMs: number
}

/** Capture folds a queue that is abandoned to one change a key, the newest, while the app writes. */
export interface Abandonment {
  /** A queue that has not been read for so long is; null: none by its age. */
  readonly afterMs: number | null
  /** And so is one of more bytes than this, while no service is connected; null: none by its size. */
  readonly queueMax: number | null
}

export interface Neglect {
  /** When the queues were read last, as far as it was noted: up to a day later in truth. ISO 8601. */
  readonly since: string
  /** They have not been read for longer than `Abandonment.afterMs`. */
  readonly abandoned: boolean
  /** Whose queues were folded since. */
  readonly folded: ReadonlyArray<TableName>
}

/** The right to write, for one copy of the service at a time. */
export interface Lease {
  /** Counts takeovers of the pair; null until Replit's side is set up. */
  readonly epoch: bigint | null
  /** Id of Replit's database, by which external knows its peer. */
  readonly id: string | null
  /** Somebody else may have had it since this instance had it last. */
  readonly isNew: boolean
  /** Raises Replit's epoch beyond another, if the lease is still held. */
  readonly raise: (beyond: bigint) => Effect.Effect<bigint | null, SyncError>
  /** Doesn't return; fails when the lease is lost. */
  readonly lost: Effect.Effect<never, SyncError>
  /** Gives it back before the scope ends: all that is to be done under it is done, and went well. */
  readonly release: Effect.Effect<void, SyncError>
}

export interface Fence {
  readonly epoch: bigint
  readonly id: string
  readonly isNew: boolean
}

export interface Question {
  readonly tables: ReadonlyArray<TableName>
  /** Schemas that a wildcard names: a table that comes or goes there changes `Answer.state`. */
  readonly schemas?: ReadonlyArray<string>
  /** `Answer.state` of an earlier answer about the same tables. */
  readonly known?: string | null
  /** Count the changes of each queue, but no further than this; without it they are not counted. */
  readonly countTo?: number
  /** The asker reads the queues: that is noted, and when they count as abandoned from now on. */
  readonly reads?: Abandonment
  /** On Replit's side: who asks, and that the other side is idle, so that an idle cycle can be noted at once. */
  readonly note?: {
    /** Random name of this process. */
    readonly holder: string
    readonly otherSideIdle: boolean
    /** Nothing is due when another holder finished a cycle less than this ago; 0 asks always. */
    readonly notBeforeMs: number
    /** What visits cost since they were noted last, by side: it is added to this month's. */
    readonly spent?: Readonly<Record<Side, Visits>>
  }
  /** Written before the question is answered. */
  readonly renewal?: Renewal
}

export interface Answer {
  /** False when `vaivem` is not installed or its migrations are older than ours. */
  readonly installed: boolean
  readonly identity: Identity | null
  /** By which each side tells that the other is what it was. */
  readonly tokens: Tokens
  /** Another process holds the lease now. */
  readonly leased: boolean
  /** Another holder finished a cycle less than `notBeforeMs` ago. */
  readonly notDue: boolean
  /** What a person paused of the tables asked about; null is all of them. Replit's side only. */
  readonly pauses: ReadonlyArray<TableName | null>
  /** What was folded since the queues were read last, told once; with `Question.reads`. */
  readonly folded: Pick<Neglect, "since" | "folded"> | null
  /** How long ago the last cycle ended, milliseconds; null where that isn't kept. */
  readonly finishedAgoMs: number | null
  /** Changes with anything below but what is pending or in quarantine, and with the tables of `Question.schemas`; opaque. */
  readonly state: string
  /** In the order asked. When `state` is the one that was known, only tables with something pending or in quarantine. */
  readonly tables: ReadonlyArray<{
    readonly name: TableName
    /** Null when the table is not there. */
    readonly fingerprint: string | null
    /** The fingerprint that `capture` left; different when something changed since. */
    readonly captured: string | null
    readonly contract: string | null
    readonly pending: boolean
    /** Changes in the queue, as far as they were counted: see `Question.countTo`. */
    readonly waiting: number
    /** Held by the brake. Replit's side only. */
    readonly held: boolean
    /** Every row was gone at once when deletes were looked for, and those deletes wait: a person should look. */
    readonly emptied: boolean
    /** Keys in quarantine, whether due or not. */
    readonly quarantined: number
    /** Of those, how many are due for another try now, by time or because the row changed. */
    readonly due: number
  }>
}

/**
 * Upserts are keys whose row is there now, deletes keys whose row is not. Two phases, so that upserts can go parents
 * first and deletes children first.
 */
export type Phase = "upserts" | "deletes"

/** `patient` is for one row that could not be read, sent and written in the time that a batch has: it is given a minute. */
export type ClaimRequest =
  | {
    readonly _tag: "Next"
    readonly phase: Phase
    /** Keys after this one in the queue's key order; null starts. Keys in quarantine are passed over. */
    readonly after: Key | null
    /**
     * Where to go on in the order in which changes were logged, as `Claim.place` said it. Null lets the database begin with
     * that order where it is cheaper; without it, keys come in their own order.
     */
    readonly place?: string | null
    /** At most so many keys. */
    readonly rows: number
    readonly only?: Selected
    readonly patient?: true
  }
  /** Exactly these keys, as far as they are pending and of that phase; quarantined or not. */
  | { readonly _tag: "Keys"; readonly phase: Phase; readonly keys: ReadonlyArray<Key>; readonly patient?: true }

/** A part of what is pending, by the newest change of each key. */
export interface Selected {
  readonly after?: bigint
  readonly upTo?: bigint
  /** Not keys that are only marked. */
  readonly changed?: boolean
  /** True: not old keys of rows that are there under another one, for those are no deletes. False: only these. */
  readonly vanished?: boolean
}

export interface Claim {
  /** Number of keys, at least 1. They are numbered 1 to `rows`, in key order or in the order in which they were logged. */
  readonly rows: number
  /** How many of them are changed primary keys that are linked to an old key. */
  readonly moves: number
  /** Key of the last row. */
  readonly last: Key
  /** Where the next claim goes on: `last`, or a later key of the other phase that was looked at. */
  readonly after: Key | null
  /** The same in the order in which changes were logged, of the keys after `after`. Only the database itself can read it. */
  readonly place?: string
  /** False when the snapshot held no key after that: what comes now was not pending when this was claimed. */
  readonly more: boolean
  /**
   * Between where it began and where it ended nothing was pending but what it claimed, and what is in quarantine; false also
   * where that isn't known.
   */
  readonly whole: boolean
  /** The rows in the wire form of domain/StagedRow.ts (COPY text). Can be consumed once. */
  readonly stream: Stream.Stream<Uint8Array, SyncError>
  /**
   * Given by number the newest change that is pending on the other side: those that this side's history holds as applied. What
   * is pending here was changed after that: so the other side's change is known here, although it isn't acknowledged yet.
   */
  readonly known: (newest: ReadonlyMap<number, bigint>) => Effect.Effect<ReadonlyMap<number, bigint>, SyncError>
  /**
   * Moves exactly what was read from the queue to history and commits; keys numbered in `kept` stay pending. Changes
   * made meanwhile were not read and stay pending too. Also takes acknowledged keys out of quarantine.
   */
  readonly acknowledge: (kept: ReadonlyArray<number>) => Effect.Effect<void, SyncError>
}

export interface ApplyOptions {
  /** Called once per contested key, after the target's rows are locked. */
  readonly judge: (contested: Contested) => Verdict
  /** `skip` leaves rows that the app has locked pending, after a lock time-out (promise 9). */
  readonly locks: "wait" | "skip"
  /** As in `ClaimRequest`. */
  readonly patient?: boolean
  /**
   * Rows of other tables that are inserted in the same statement, as far as they are neither there nor pending there:
   * for rows that point at each other across tables. There they are that side's own changes, and agree with the
   * source's when those travel. In the wire form of domain/StagedRow.ts.
   */
  readonly seeds?: ReadonlyArray<Seed>
  /** Waited for when the rows are staged and nothing is locked or judged yet: an earlier batch goes first. */
  readonly turn?: Effect.Effect<void>
}

/** Upserts of another table that come along. */
export interface Seed {
  readonly table: SyncedTable
  readonly stream: Stream.Stream<Uint8Array, SyncError>
}

/** A key that is pending on the target too. */
export interface Contested {
  /** Number of the key in the claim. */
  readonly number: number
  /** Both sides have the same content, or both have none. */
  readonly equal: boolean
  /** The target's history has the claimed change already: it was applied, the acknowledgement got lost. */
  readonly applied: boolean
  /** The source had the target's newest change already and changed the row after that; its acknowledgement got lost. */
  readonly known: boolean
  /** The side's only pending entry is a mark, made by comparing: that is no change, and loses to any real one. */
  readonly marked: { readonly source: boolean; readonly target: boolean }
  readonly source: Version
  readonly target: Version
}

/**
 * - `agree`: same content; both sides' pending entries are settled.
 * - `seen`: applied before; the source is acknowledged, the target's newer change stays pending.
 * - `supersede`: the source's change was made on top of the target's, or the target has neither row nor change but a mark;
 *   that is overwritten, settled, and no loser.
 * - `overwrite`: the source wins; the target's version is journaled, overwritten and its pending entries are settled.
 * - `keep`: the target wins; nothing happens and nothing is acknowledged.
 */
export type Verdict = "agree" | "seen" | "supersede" | "overwrite" | "keep"

export interface Applied {
  /** Seeds among them. */
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
  /** Losers journaled by `overwrite` verdicts. */
  readonly conflicts: number
  /** Bytes of the stream. */
  readonly bytes: number
  /** Numbers of the keys that were not settled: `keep` verdicts and rows passed over for their locks. */
  readonly kept: ReadonlyArray<number>
  /** Of `kept`, how many were passed over because the app holds their locks. */
  readonly locked: number
}

// ---------------------------------------------------------------------------------------------------------------------
// Few rows: what most cycles move, in the fewest round trips. Whatever is special about a row is left to the verbs above.
// ---------------------------------------------------------------------------------------------------------------------

/** Most keys that are few: more go in batches, which take more round trips and grow. */
export const fewRowsMax = 100

export interface FewRows {
  /**
   * Claims what is pending of a table, rows that are there and rows that are not, as they are in one snapshot; nothing is
   * held open meanwhile. `none` when nothing is pending, `Many` when it is to be claimed by phases: there are more than a
   * hundred or large rows, changed keys, rows that bounce, or keys in quarantine; and whenever the database likes.
   */
  readonly claimFew: (table: SyncedTable) => Effect.Effect<Few | Many | "none", SyncError>
  /**
   * Applies a claim of the other side in one transaction, as `apply` does, but for contested keys: they are not judged, and
   * `kept`. `RowRefused` and `Contended` mean that nothing was applied.
   */
  readonly applyFew: (table: SyncedTable, few: Few) => Effect.Effect<Applied, SyncError>
}

/** More than a few rows, or special ones. */
export interface Many {
  readonly _tag: "Many"
  /** How long a row of it is in the wire form, by the first ones; null where none was read. */
  readonly rowBytes: number | null
}

export interface Few {
  readonly _tag: "Few"
  /** Number of keys, at least 1, numbered 1 to `rows`. */
  readonly rows: number
  /** How many of them have no row. */
  readonly deletes: number
  /** The keys, comparable with those of the other side; null where equal keys may look different. */
  readonly keys: ReadonlyArray<string> | null
  /** The rows in the wire form of domain/StagedRow.ts. */
  readonly lines: Uint8Array
  /** As `Claim.acknowledge`: exactly what was read goes from the queue to history; keys numbered in `kept` stay pending. */
  readonly acknowledge: (kept: ReadonlyArray<number>) => Effect.Effect<void, SyncError>
}

// ---------------------------------------------------------------------------------------------------------------------
// Comparison: first contact, verify, and changed column sets.
// ---------------------------------------------------------------------------------------------------------------------

export interface Comparison {
  /**
   * Rows and their order-free hash in each range that has any. A range is one of `of` equal parts of what a key's 64-bit
   * hash can be, `of` a power of two: the same rows on both sides, whatever their collation or order. Only rows of `within`
   * are looked at, which has fewer ranges.
   */
  readonly digest: (
    table: SyncedTable,
    of: number,
    within: RangeSet
  ) => Effect.Effect<ReadonlyMap<number, Digest>, SyncError>
  /** Key and hash of each row of the ranges, in the wire form of domain/StagedRow.ts. */
  readonly digests: (
    table: SyncedTable,
    ranges: RangeSet
  ) => Effect.Effect<Stream.Stream<Uint8Array, SyncError>, SyncError, Scope.Scope>
  /**
   * Compares own rows of the ranges with the other side's digests. With `mark`, keys that differ (or only those that
   * the other side lacks, or only those that both have) become pending here, as marks that lose to any real change
   * (changed_at = -infinity). With `wins`, those that both have are marked as changed now: they win against marks.
   */
  readonly compare: (
    table: SyncedTable,
    ranges: RangeSet,
    theirs: Stream.Stream<Uint8Array, SyncError>,
    options: {
      readonly mark: "all" | "only-here" | "different" | "none"
      readonly wins?: boolean
      readonly sampleMax: number
    }
  ) => Effect.Effect<Compared, SyncError>
  /**
   * Deletes own rows of the ranges that the other side lacks and that have no change pending here. In the same transaction
   * they are journaled, whole, as `first-contact`. They are no changes: nothing of it travels. Returns how many.
   */
  readonly removeOnlyHere: (
    table: SyncedTable,
    ranges: RangeSet,
    theirs: Stream.Stream<Uint8Array, SyncError>
  ) => Effect.Effect<number, SyncError>
}

export interface Digest {
  readonly rows: number
  /** Sum of the rows' hashes, as decimal text: no two errors cancel as they would by XOR. */
  readonly hash: string
}

export interface RangeSet {
  /** Number of ranges that the hashed keys are divided into, a power of two. */
  readonly of: number
  /** The ones meant, from 0; null is all. */
  readonly only: ReadonlyArray<number> | null
}

export interface Compared {
  /** Rows that only this side has. */
  readonly onlyHere: number
  /** Rows that both have with different content. */
  readonly different: number
  /** Of both, how many have a pending change here: not proven different, a cycle may mend them. */
  readonly pending: number
  /** Keys of the first few, at most `sampleMax`. */
  readonly sample: ReadonlyArray<
    { readonly key: Key; readonly kind: "only-here" | "different"; readonly pending: boolean }
  >
  readonly marked: number
}

// ---------------------------------------------------------------------------------------------------------------------
// Proving: a table compared little by little, in the order of its primary key, and how far that has come.
// ---------------------------------------------------------------------------------------------------------------------

export interface Proving {
  /** The key of the row that so many rows lie up to after a key (null: from the first); null when there are fewer. */
  readonly boundary: (table: SyncedTable, after: Key | null, rows: number) => Effect.Effect<Key | null, SyncError>
  /** Rows of a stretch and their order-free hash, the same on both sides for the same rows. */
  readonly stretch: (table: SyncedTable, stretch: Stretch) => Effect.Effect<Digest, SyncError>
  /** Key and hash of each row of a stretch. */
  readonly hashes: (table: SyncedTable, stretch: Stretch) => Effect.Effect<ReadonlyArray<Hashed>, SyncError>
  /** Hashes of rows by their keys, compared as the primary key compares: in the order asked, null where there is none. */
  readonly hashesOf: (
    table: SyncedTable,
    keys: ReadonlyArray<Key>
  ) => Effect.Effect<ReadonlyArray<string | null>, SyncError>
  /** How far all tables are proven; nothing when nothing of ours is there. Replit's side only, like the next two. */
  readonly proofs: Effect.Effect<Proofs, SyncError>
  /** In place of what was noted of the table before. A table whose columns in common change is forgotten by `remember`. */
  readonly noteProof: (table: TableName, proof: Proof) => Effect.Effect<void, SyncError>
  /** Notes after how many milliseconds the next turn is due. */
  readonly noteTurn: (inMs: number) => Effect.Effect<void, SyncError>
}

export interface Proofs {
  /** By displayed name, in the order in which they were looked at: longest ago first. */
  readonly of: ReadonlyMap<string, Proof>
  /** 0 or less: a turn is due. */
  readonly dueInMs: number
}

/**
 * Keys after one and up to another, in the order of this side's primary key; null is no bound. The other side may order
 * texts otherwise: stretches that follow each other still leave no key out there, although they may have one twice.
 */
export interface Stretch {
  readonly after: Key | null
  readonly upTo: Key | null
}

export interface Hashed {
  readonly key: Key
  /** Decimal text. */
  readonly hash: string
}

// ---------------------------------------------------------------------------------------------------------------------
// Survey: what a first contact would meet. Reads only, and needs nothing of ours in the database.
// ---------------------------------------------------------------------------------------------------------------------

export interface Survey {
  /** Key, hash and stamp of each row of the ranges, in the wire form of domain/StagedRow.ts. */
  readonly versions: (
    table: SyncedTable,
    ranges: RangeSet
  ) => Effect.Effect<Stream.Stream<Uint8Array, SyncError>, SyncError, Scope.Scope>
  /** Rows by their keys, compared as the primary key compares; those that aren't there are left out. */
  readonly lookUp: (table: SyncedTable, keys: ReadonlyArray<Key>) => Effect.Effect<ReadonlyArray<LookedUp>, SyncError>
  /** Own rows of other keys that have the same value in a unique index, which two rows may not have. */
  readonly twins: (table: SyncedTable, rows: ReadonlyArray<LookedUp>) => Effect.Effect<Twins, SyncError>
  /** What a row takes on its way, on average of the first few; null when there is none. */
  readonly rowBytes: (table: SyncedTable) => Effect.Effect<number | null, SyncError>
}

export interface LookedUp {
  /** Place of the key that was asked for, from 0. */
  readonly asked: number
  /** As the row has it: equal keys may be written in another way. */
  readonly key: Key
  /** Texts of the columns that unique indexes of either side are made of, as far as they travel, by name. */
  readonly texts: Readonly<Record<string, string | null>>
}

export interface Twins {
  readonly found: ReadonlyArray<{ readonly index: string; readonly here: Key; readonly there: Key }>
  /** Unique indexes that could not be looked at: made of columns that don't travel, or of types that differ. */
  readonly skipped: ReadonlyArray<string>
}

// ---------------------------------------------------------------------------------------------------------------------
// Journal: conflicts, quarantine, runs, and what people ask for.
// ---------------------------------------------------------------------------------------------------------------------

export interface Journal {
  readonly status: (names: ReadonlyArray<TableName>) => Effect.Effect<SideStatus, SyncError>
  /** What is kept of the last cycles that moved something or failed, newest first. Empty on external, and before the set-up. */
  readonly runs: (limit: number) => Effect.Effect<ReadonlyArray<Run>, SyncError>
  /** Newest first. */
  readonly conflicts: (filter: ConflictFilter) => Effect.Effect<ReadonlyArray<Conflict>, SyncError>
  /** Null when this side has no conflict of that id. Ids may be shortened to an unambiguous beginning. */
  readonly conflict: (id: string) => Effect.Effect<Conflict | null, SyncError>
  /** Brings the losing version back as an ordinary change with a stamp newer than the row's, journaling what it replaces. */
  readonly restore: (table: SyncedTable, id: string) => Effect.Effect<void, SyncError>
  /** Notes that a person wants it as it was decided. The full id; what was kept already stays so. */
  readonly keep: (id: string) => Effect.Effect<void, SyncError>
  /**
   * Writes these columns of the row, as texts, as an ordinary change with a stamp newer than the row's, journaling what it
   * replaces; where the row is gone, the rest comes from the version that lost. The conflict is kept then.
   */
  readonly edit: (
    table: SyncedTable,
    id: string,
    changes: Readonly<Record<string, string | null>>
  ) => Effect.Effect<void, SyncError>
  /** Refusals by the other side of this side's pending rows. */
  readonly quarantined: (table: TableName | null) => Effect.Effect<ReadonlyArray<Quarantined>, SyncError>
  /** Notes refusals of pending rows: a new one, or another attempt, with the next attempt's time. */
  readonly quarantine: (table: SyncedTable, refusals: ReadonlyArray<Refusal>) => Effect.Effect<void, SyncError>
  /** Quarantined keys that are due for another try: by time, because the row changed, or because its blocker did. */
  readonly due: (table: SyncedTable, limit: number) => Effect.Effect<ReadonlyArray<Key>, SyncError>
  /** Makes quarantined keys due now. Returns how many. */
  readonly retryQuarantined: (table: TableName | null, id: string | null) => Effect.Effect<number, SyncError>
  /**
   * Marks keys pending so that this side's version travels, whatever it is. With `was`, as rows that had these keys, in the
   * same order: the other side changes the key of its row then, where promise 1 lets it. A side without triggers can't say that.
   */
  readonly mark: (
    table: SyncedTable,
    keys: ReadonlyArray<Key>,
    was?: ReadonlyArray<Key>
  ) => Effect.Effect<void, SyncError>
  /** Journals this side's version of a quarantined key and gives its pending change up: the other side's will come. */
  readonly discard: (table: SyncedTable, id: string) => Effect.Effect<void, SyncError>
  /** Inserts a row marked as a probe that satisfies the table's own constraints; returns its key. */
  readonly insertProbe: (table: SyncedTable, marker: string) => Effect.Effect<Key, SyncError>
  /** Text of a row's columns, or null. For `probe` and `conflicts show` only: values never reach a log. */
  readonly read: (
    table: SyncedTable,
    key: Key
  ) => Effect.Effect<Readonly<Record<string, string | null>> | null, SyncError>
  readonly remove: (table: SyncedTable, key: Key) => Effect.Effect<void, SyncError>
}

export interface SideStatus {
  readonly tables: ReadonlyArray<{
    readonly name: TableName
    readonly rows: number | null
    readonly pending: number
    readonly quarantined: number
    readonly conflicts: number
    /** Conflicts not restored. */
    readonly open: number
    /** Of those, the ones that no person has decided: see `ConflictFilter`. */
    readonly undecided: number
    /** Age of the oldest pending change, seconds. */
    readonly oldestPendingSeconds: number | null
  }>
  readonly lastRun: Run | null
  /** When the last cycle, idle or not, ended; ISO 8601. */
  readonly lastCycleAt: string | null
  /** Who took the lease last; null on external, and before anybody did. */
  readonly lease: Leased | null
}

export interface Leased {
  /** As `host/4f2a`. */
  readonly holder: string
  /** When it took over from another one; ISO 8601. */
  readonly since: string
  readonly epoch: bigint
  /** Has it now; else nobody does. */
  readonly isHeld: boolean
}

export interface ConflictFilter {
  readonly table?: TableName
  readonly limit: number
  /**
   * Only those that no person has decided: by the rule or by a cascade, not restored, not kept. False: only the others.
   */
  readonly undecided?: boolean
}

export interface Conflict {
  readonly id: string
  /** The side whose version lost: the side that keeps the record. */
  readonly lostSide: Side
  readonly table: TableName
  readonly key: Key
  /** `conflict`, `cascade`, `discard`, `restore`, `first-contact`, `rejected`. */
  readonly reason: string
  readonly policy: string | null
  /** Column texts; null when the losing version was a delete. */
  readonly lost: Readonly<Record<string, string | null>> | null
  readonly won: Readonly<Record<string, string | null>> | null
  /** ISO 8601. */
  readonly decidedAt: string
  readonly restoredAt: string | null
  /** When a person said that it stays as it was decided, or decided it anew. ISO 8601. */
  readonly keptAt: string | null
}

export interface Refusal {
  readonly key: Key
  readonly sqlState: string | null
  readonly message: string
  readonly constraint: string | null
  /** Key of the target's row that stands in the way, where it can be told. */
  readonly blockedBy: Key | null
}

export interface Quarantined extends Refusal {
  readonly id: string
  readonly table: TableName
  /** The side where the change is pending. */
  readonly from: Side
  readonly attempts: number
  /** ISO 8601. */
  readonly since: string
  readonly nextAttemptAt: string
}

/** What one direction of a cycle did. */
export interface Moved {
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
  readonly conflicts: number
  readonly quarantined: number
  readonly bytes: number
}

/** A cycle as it is kept in `vaivem.runs`. */
export interface Run {
  /** ISO 8601. */
  readonly startedAt: string
  readonly durationMs: number
  readonly outcome: "ok" | "failed"
  readonly push: Moved
  readonly pull: Moved
  /** Message of the failure. */
  readonly error: string | null
}

// ---------------------------------------------------------------------------------------------------------------------
// Braking: what a cycle would take away, and what is held until a person has looked.
// ---------------------------------------------------------------------------------------------------------------------

export interface Braking {
  /** What the queue holds after a change, from above, without a look at the table: one round trip. */
  readonly glance: (table: SyncedTable, after: bigint) => Effect.Effect<Glance, SyncError>
  /** Rows of the table, counted no further than `most`, if that is given. */
  readonly countRows: (table: SyncedTable, most: number | null) => Effect.Effect<number, SyncError>
  /**
   * What applying a claim of the other side would take away here: nothing is applied or locked. Marks that find no row are
   * no deletes. `isOverwrite` is asked about each contested key.
   */
  readonly weigh: (
    table: SyncedTable,
    claim: Claim,
    isOverwrite: (contested: Contested) => boolean
  ) => Effect.Effect<Weighed, SyncError>
  /** What is or was held, by table; empty when nothing of ours is installed. Replit's side only, like the next two. */
  readonly held: Effect.Effect<ReadonlyArray<Held>, SyncError>
  /** Holds a table, in place of what was held of it before; what was approved stays so. */
  readonly holdTable: (table: TableName, holding: Holding) => Effect.Effect<void, SyncError>
  /** Ends a hold; with `approve`, the changes that were held need not be counted any more. */
  readonly releaseTable: (table: TableName, approve: boolean) => Effect.Effect<void, SyncError>
  /** What a person paused, and nothing when nothing of ours is installed. Replit's side only, like the next two. */
  readonly pauses: Effect.Effect<ReadonlyArray<Pause>, SyncError>
  /**
   * Pauses a table that is captured or, with null, all of them, those too that are set up later. What is paused already stays
   * so since it was.
   */
  readonly pauseTable: (table: TableName | null) => Effect.Effect<void, SyncError>
  /** Ends a table's pause or, with null, all of them. */
  readonly resumeTable: (table: TableName | null) => Effect.Effect<void, SyncError>
  /**
   * Moves pending changes up to that id of these keys to history, as if they had been acknowledged; keys with a later one
   * are left alone. With `journal` this side's versions go into the conflicts, whole. Returns how many keys.
   */
  readonly giveUp: (
    table: SyncedTable,
    keys: ReadonlyArray<Key>,
    options: { readonly upTo: bigint; readonly journal: boolean }
  ) => Effect.Effect<number, SyncError>
}

export interface Pause {
  /** Null: all tables. */
  readonly table: TableName | null
  /** ISO 8601. */
  readonly since: string
}

export interface Glance {
  /** Later changes but marks. */
  readonly changes: number
  /** Of those, deletes and truncations: at least as many as keys whose row is gone. */
  readonly removals: number
  /** Changes but marks, whenever they were made. */
  readonly allChanges: number
  /** Deletes, truncations and marks, whenever they were made: no more keys than these can have no row. */
  readonly allRemovals: number
  /** Changed keys, whenever they were made. */
  readonly moves: number
  /** Newest change of the queue, 0 without any. */
  readonly newest: bigint
  /** Transactions that have written into the queue and are open: nothing of theirs is counted. Opaque names. */
  readonly writers: ReadonlyArray<string>
}

export interface Weighed {
  /** Rows that are here and would be deleted, and that nobody contests. */
  readonly deletes: ReadonlyArray<Key>
  readonly overwrites: ReadonlyArray<Key>
  /** Changed keys that are linked to an old one, contested or not. */
  readonly moves: ReadonlyArray<{ readonly key: Key; readonly was: Key }>
}

/** By the side whose changes they are; the rows concerned are the other side's. */
export type Holding = Readonly<Record<Side, Concerned & Counted>>

/** What was looked at: the newest change, how many there were but marks, and `Glance.writers`, whose changes may come later. */
export interface Counted {
  readonly changeId: bigint
  readonly changes: number
  readonly writers: ReadonlyArray<string>
}

export interface Held {
  readonly table: TableName
  /** ISO 8601; null when it is not held any more. */
  readonly since: string | null
  readonly holding: Holding
  /** Newest change that a person approved, by side; 0 without any. */
  readonly approved: Readonly<Record<Side, bigint>>
}

// ---------------------------------------------------------------------------------------------------------------------
// Listening: who is told at once that the app changed something.
// ---------------------------------------------------------------------------------------------------------------------

export interface Listening {
  /**
   * Listens on a connection of its own for the scope. Hints only: what is announced while nobody listens is lost, and of
   * tables without `CaptureOptions.announce` nothing is announced.
   */
  readonly listen: Effect.Effect<Listener, SyncError, Scope.Scope>
}

export interface Listener {
  /**
   * Says which of the tables have changes outside quarantine. Without any the listener rests: from then on the next change
   * is announced, and nothing was missed before. Else it doesn't, unless `anyway`. It can't rest while a transaction that
   * announced nothing is open: then neither is true, and it is to look again soon.
   */
  readonly look: (names: ReadonlyArray<TableName>, options?: { readonly anyway: boolean }) => Effect.Effect<
    { readonly waiting: ReadonlyArray<TableName>; readonly resting: boolean },
    SyncError
  >
  /** Returns when something was announced since it returned last. Fails when the connection is lost. */
  readonly heard: Effect.Effect<void, SyncError>
}

// ---------------------------------------------------------------------------------------------------------------------
// Metering: what the sync's visits cost.
// ---------------------------------------------------------------------------------------------------------------------

export interface Metering {
  /** Bytes to and from this database on all connections of this process, as the network has them. */
  readonly traffic: Effect.Effect<Traffic>
  /** Closes the connections that nobody uses, so that the database may sleep; the next statement opens one again. */
  readonly disconnect: Effect.Effect<void>
  /** What was noted since the first of the month (UTC); nothing when nothing of ours is there. Replit's side only. */
  readonly bill: Effect.Effect<Readonly<Record<Side, Spent>> | null, SyncError>
}

/** From the service's view: what it received, and what it sent. */
export interface Traffic {
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface Visits extends Traffic {
  /** Cycles that asked this side something. */
  readonly visits: number
}

export interface Spent extends Visits {
  /** For how long visits kept it awake if it sleeps after `sleepsAfterMs` of `domain/bill.ts`: estimated. */
  readonly awakeMs: number
}
