/**
 * What external's catalog says about tables, as prints that tell when something changed. `vaivem.fingerprints` does this
 * where it may be installed; here it is one statement that needs nothing.
 */
import { Effect } from "effect"
import type { SyncError } from "../../domain/SyncError.ts"
import type { TableName } from "../../domain/TableName.ts"
import type { PgSession } from "../pg/PgSession.ts"

export interface Prints {
  /** In the order asked; null where there is no table. */
  readonly tables: ReadonlyArray<Print | null>
  /** Changes when a table comes or goes in the schemas that were asked about. */
  readonly listing: string
  /** Whether `vaivem` is installed there, as with capture by triggers. */
  readonly isInstalled: boolean
  /** The server's clock, microseconds since 1970. */
  readonly nowUs: bigint
}

export interface Print {
  /** Changes with columns, constraints, triggers, rules, partitions, row-level security and rights. */
  readonly fingerprint: string
  /** What rows are kept in; `isRewritten` compares two. */
  readonly storage: string
}

/** One round trip. */
export const prints = (
  session: PgSession,
  names: ReadonlyArray<TableName>,
  schemas: ReadonlyArray<string>
): Effect.Effect<Prints, SyncError> =>
  Effect.map(
    session.query(statement, [names.map(({ schema }) => schema), names.map(({ name }) => name), schemas]),
    ([row]): Prints => {
      const found: Readonly<Record<string, readonly [string, string]>> = JSON.parse(row!.tables ?? "{}")
      return {
        tables: names.map((_, index) => {
          const print = found[String(index + 1)]
          return print === undefined ? null : { fingerprint: print[0], storage: print[1] }
        }),
        listing: row!.listing ?? "",
        isInstalled: row!.installed === "t",
        nowUs: BigInt(String(row!.now_us))
      }
    }
  )

/**
 * Whether rows may have changed without a new stamp: another table has the name, columns came, went or were retyped, a
 * partition did, or new files and new catalog rows of columns both are there (as `ALTER … USING` leaves them).
 */
export const isRewritten = (before: string, now: string): boolean => {
  const [was, is] = [before.split("|"), now.split("|")]
  return was[0] !== is[0] || (was[1] !== is[1] && was[2] !== is[2])
}

const statement = `
  select (
      select jsonb_object_agg(a.n, jsonb_build_array(
        md5(concat_ws('|', session_user, c.oid, c.relkind, c.relowner, c.relacl::text, c.relhasrules, c.relrowsecurity,
          c.relforcerowsecurity, l.columns, l.versions,
          (select string_agg(concat_ws(',', k.conname, k.contype, k.conkey), ';' order by k.oid)
           from pg_constraint k where k.conrelid = c.oid),
          (select string_agg(concat_ws(',', g.tgname, g.tgenabled, g.tgtype, g.tgfoid), ';' order by g.tgname)
           from pg_trigger g where g.tgrelid = c.oid and not g.tgisinternal),
          (select string_agg(concat_ws(',', i.indexrelid, i.indisunique), ';' order by i.indexrelid)
           from pg_index i where i.indrelid = c.oid),
          l.partitions)),
        concat_ws('|', md5(concat_ws('|', c.oid, l.columns, l.partitions)), md5(coalesce(l.versions, '')), md5(l.files))))
      from unnest($1::text[], $2::text[]) with ordinality as a (schema, name, n)
      join pg_namespace s on s.nspname = a.schema
      join pg_class c on c.relnamespace = s.oid and c.relname = a.name and c.relkind in ('r', 'p')
      cross join lateral (
        select
          (select string_agg(concat_ws(',', x.attnum, x.attname, x.atttypid, x.atttypmod), ';' order by x.attnum)
           from pg_attribute x where x.attrelid = c.oid and x.attnum > 0 and not x.attisdropped) as columns,
          (select string_agg(concat_ws(',', x.attnum, x.xmin), ';' order by x.attnum)
           from pg_attribute x where x.attrelid = c.oid and x.attnum > 0 and not x.attisdropped) as versions,
          (select string_agg(p.relid::oid::text, ',' order by p.relid) from pg_partition_tree(c.oid) p
           where c.relkind = 'p') as partitions,
          (select string_agg(pg_relation_filenode(o.relid)::text, ',' order by o.relid)
           from (select c.oid as relid union select p.relid from pg_partition_tree(c.oid) p where c.relkind = 'p') o) as files
      ) l)::text as tables,
    (select md5(string_agg(concat_ws(',', c.oid, c.relname, c.relkind, c.relpersistence, c.relowner, c.relacl::text,
         exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)), ';' order by c.oid))
     from pg_class c join pg_namespace s on s.oid = c.relnamespace
     where s.nspname = any ($3::text[]) and c.relkind in ('r', 'p') and not c.relispartition) as listing,
    -- Not by to_regclass, which this role's rights there may not be enough for.
    exists (select from pg_class c join pg_namespace s on s.oid = c.relnamespace
      where s.nspname = 'vaivem' and c.relname = 'migrations') as installed,
    (extract(epoch from clock_timestamp()) * 1000000)::bigint::text as now_us`
