/**
 * Everything that a database's catalog says about what people made in it, a line an object: to see that nothing was
 * left behind or changed.
 */
import { Effect } from "effect"
import type { TestClient } from "./TestClient.ts"

export const catalogDump = (query: TestClient["query"]) =>
  Effect.map(query<{ line: string }>(dump), (rows) => rows.map(({ line }) => line))

const dump = `
  with theirs as (
    select oid from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
  ), lines as (
    select format('schema %s %s', nspname, nspacl) as line from pg_namespace where oid in (select oid from theirs)
    union all
    select format('relation %s.%s %s %s %s', relnamespace::regnamespace, relname, relkind, relowner::regrole, relacl)
    from pg_class where relnamespace in (select oid from theirs)
    union all
    select format('column %s %s %s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
      attidentity, (select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = attrelid and adnum = attnum))
    from pg_attribute join pg_class c on c.oid = attrelid
    where relnamespace in (select oid from theirs) and attnum > 0 and not attisdropped
    union all
    select format('function %s %s %s', oid::regprocedure, md5(prosrc), proowner::regrole)
    from pg_proc where pronamespace in (select oid from theirs)
    union all
    select format('trigger %s %s', pg_get_triggerdef(g.oid), tgenabled)
    from pg_trigger g where not tgisinternal
    union all
    select format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    from pg_constraint where connamespace in (select oid from theirs)
    union all
    select format('type %s %s', oid::regtype, typtype) from pg_type where typnamespace in (select oid from theirs)
    union all
    select format('view %s %s', oid::regclass, pg_get_viewdef(oid)) from pg_class
    where relkind in ('v', 'm') and relnamespace in (select oid from theirs)
    union all
    select format('comment %s %s %s', classoid::regclass, objsubid, description) from pg_description
    where objoid >= 16384
    union all
    select format('privilege %s %s', defaclrole::regrole, defaclacl) from pg_default_acl
    union all
    select format('extension %s', extname) from pg_extension
  )
  select line from lines order by line collate "C"`
