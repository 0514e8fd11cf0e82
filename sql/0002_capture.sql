-- Capture: triggers that log every change of a table in the writer's own transaction.
--
-- vaivem.capture makes, for one table:
--   vaivem.<stem>_pending   the queue, one row a change that is not acknowledged yet
--   vaivem.<stem>_history   what was acknowledged, or applied from the other side
--   <table>_changelog       a view of both beside the table, with synced = true or false
--   triggers on the table, whose functions are vaivem.<stem>_*
--
-- The functions are generated per table with static SQL, because a static statement keeps its plan from call to call.
-- They are SECURITY DEFINER with a pinned search_path, so an app role needs no right on anything of ours, and they
-- look before they write, so that neither a dropped table of ours nor a changed key makes the app's write fail.

create function vaivem.stem(p_schema text, p_table text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $fn$
-- The name that our objects for a table begin with: the table's own, with its schema unless that is public; shortened
-- with a hash where it is long, or where another table has it already.
declare
  plain text := case when p_schema = 'public' then p_table else p_schema || '.' || p_table end;
  hashed text := substr(md5(quote_ident(p_schema) || '.' || quote_ident(p_table)), 1, 8);
  found text;
begin
  select t.stem into found from vaivem.tables t where t.table_schema = p_schema and t.table_name = p_table;
  if found is not null then
    return found;
  end if;
  if octet_length(plain) <= 45
    and not exists (select from vaivem.tables t where t.stem = plain) then
    return plain;
  end if;
  while octet_length(plain) > 36 loop
    plain := left(plain, -1);
  end loop;
  return plain || '_' || hashed;
end
$fn$;

create function vaivem.changelog_name(p_table text) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $fn$
declare
  short text := p_table;
begin
  if octet_length(p_table) <= 53 then
    return p_table || '_changelog';
  end if;
  while octet_length(short) > 44 loop
    short := left(short, -1);
  end loop;
  return short || '_' || substr(md5(p_table), 1, 8) || '_changelog';
end
$fn$;

create function vaivem.fingerprint(p_schema text, p_table text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- Changes whenever the table's columns, constraints or triggers do, or anything of our capture on it. Null when there is
-- no such table.
  select md5(concat_ws('|',
    session_user,
    c.relkind,
    (select string_agg(concat_ws(',', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef,
                                 a.attgenerated, a.attidentity), ';' order by a.attnum)
     from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    (select string_agg(concat_ws(',', k.conname, k.contype, k.conkey), ';' order by k.oid)
     from pg_constraint k where k.conrelid = c.oid),
    (select string_agg(concat_ws(',', g.tgname, g.tgenabled, g.tgtype, md5(f.prosrc)), ';' order by g.tgname)
     from pg_trigger g join pg_proc f on f.oid = g.tgfoid where g.tgrelid = c.oid and not g.tgisinternal),
    (select string_agg(i.inhrelid::text, ',' order by i.inhrelid) from pg_inherits i where i.inhparent = c.oid),
    (select string_agg(o.relname::text, ',' order by o.relname)
     from vaivem.tables t
     join pg_class o on o.relnamespace = 'vaivem'::regnamespace
       and o.relname in (t.stem || '_pending', t.stem || '_history')
     where t.table_schema = p_schema and t.table_name = p_table),
    (select 'view' from pg_class v
     where v.relname = vaivem.changelog_name(p_table) and v.relkind = 'v'
       and v.relnamespace in (c.relnamespace, 'vaivem'::regnamespace) limit 1)))
  from pg_class c
  where c.relname = p_table
    and c.relnamespace = (select n.oid from pg_namespace n where n.nspname = p_schema)
    and c.relkind in ('r', 'p')
$fn$;

create function vaivem.key_list(p_format text, p_columns text[], p_separator text default ', ') returns text
language sql immutable set search_path = pg_catalog, pg_temp as $fn$
-- Repeats a piece of SQL for each key column: %1$I is the column's name, %2$s its number.
  select string_agg(format(p_format, name, number), p_separator order by number)
  from unnest(p_columns) with ordinality as k (name, number)
$fn$;

create function vaivem.capture(p_schema text, p_table text, p_key text[], p_stamp text, p_touch boolean) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Installs or renews capture of one table, in the caller's transaction. Idempotent. Answers the fingerprint that it
-- left, and what it took over of an older system.
declare
  target regclass := to_regclass(format('%I.%I', p_schema, p_table));
  v_stem text;
  before vaivem.tables;
  v_types text[];
  partitioned boolean;
  intact boolean;
  v_adopted jsonb;
  -- With all of this as it was, and the same fingerprint, there is nothing to do: no lock is taken, no trigger renewed.
  v_options text := jsonb_build_array(p_key, p_stamp, p_touch, (select p.side from vaivem.pairs p),
    (select max(m.version) from vaivem.migrations m));
begin
  if target is null then
    raise exception using errcode = 'undefined_table', message = format('table %I.%I does not exist', p_schema, p_table);
  end if;
  select c.relkind = 'p' into partitioned from pg_class c where c.oid = target;
  select array_agg(format_type(a.atttypid, a.atttypmod) order by k.number) into v_types
  from unnest(p_key) with ordinality as k (name, number)
  join pg_attribute a on a.attrelid = target and a.attname = k.name and not a.attisdropped;

  select * into before from vaivem.tables t where t.table_schema = p_schema and t.table_name = p_table;
  if before.options = v_options and before.fingerprint = vaivem.fingerprint(p_schema, p_table) then
    return jsonb_build_object('stem', before.stem, 'fingerprint', before.fingerprint, 'adopted', null);
  end if;
  v_stem := vaivem.stem(p_schema, p_table);
  intact := before.stem is not null
    and to_regclass(format('vaivem.%I', v_stem || '_pending')) is not null
    and to_regclass(format('vaivem.%I', v_stem || '_history')) is not null
    and before.key_columns = p_key and before.key_types = v_types
    and (select count(*) from pg_trigger g
         where g.tgrelid = target and g.tgname like 'vaivem\_capture\_%' and g.tgenabled = 'A')
      >= case when partitioned then 1 else 4 end;
  if before.stem is not null and not intact then
    -- Something went uncaptured for a while: the next set-up compares both sides again.
    update vaivem.tables set contract = null where stem = v_stem;
    if before.key_columns <> p_key or before.key_types <> v_types then
      perform vaivem.drop_view(p_schema, p_table);
      execute format('drop table if exists vaivem.%I, vaivem.%I', v_stem || '_pending', v_stem || '_history');
    end if;
  end if;

  perform vaivem.make_changelog(p_schema, p_table, v_stem, p_key, v_types);
  if before.stem is null then
    insert into vaivem.tables (table_schema, table_name, stem, key_columns, key_types, fingerprint)
    values (p_schema, p_table, v_stem, p_key, v_types, '');
    v_adopted := vaivem.adopt(p_schema, p_table, v_stem, p_key, v_types);
  end if;
  perform vaivem.make_view(p_schema, p_table, v_stem, p_key);
  if partitioned then
    perform vaivem.make_row_capture(target, v_stem, p_schema, p_table, p_key);
  else
    perform vaivem.make_statement_capture(target, v_stem, p_schema, p_table, p_key);
  end if;
  perform vaivem.make_truncate_capture(target, v_stem, p_schema, p_table, p_key);
  perform vaivem.make_touch(target, v_stem, p_schema, p_table, case when p_touch then p_stamp end);
  perform vaivem.make_guard(target, v_stem, p_schema, p_table);

  update vaivem.tables
  set key_columns = p_key, key_types = v_types, captured_at = clock_timestamp(), options = v_options,
    fingerprint = vaivem.fingerprint(p_schema, p_table)
  where stem = v_stem;
  return jsonb_build_object('stem', v_stem, 'fingerprint', vaivem.fingerprint(p_schema, p_table), 'adopted', v_adopted);
end
$fn$;

create function vaivem.make_changelog(p_schema text, p_table text, p_stem text, p_key text[], p_types text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
declare
  columns text := (select string_agg(format('k%s %s not null', n, type), ', ' order by n)
                   from unnest(p_types) with ordinality as t (type, n));
  nullable text := (select string_agg(format('was%s %s', n, type), ', ' order by n)
                    from unnest(p_types) with ordinality as t (type, n));
  keys text := vaivem.key_list('k%2$s', p_key);
begin
  if to_regclass(format('vaivem.%I', p_stem || '_pending')) is null then
    -- One index: bulk writes of the app cost 1.4 times with one, 1.8 to 2.2 times with two. Change ids begin with the
    -- time in microseconds, because the other side's history knows those of an earlier queue of this table: one that
    -- came again would be taken for applied.
    execute format($sql$
      create table vaivem.%1$I (
        change_id bigint generated always as identity (start with %4$s),
        operation text not null,
        %2$s,
        %3$s,
        changed_at timestamptz not null default clock_timestamp(),
        bounces smallint not null default 0
      )$sql$, p_stem || '_pending', columns, nullable, floor(extract(epoch from clock_timestamp()) * 1000000));
    execute format('create index on vaivem.%I (%s, change_id)', p_stem || '_pending', keys);
    execute format('comment on table vaivem.%I is %L', p_stem || '_pending',
      format('Changes of %I.%I that are not acknowledged yet. was1… is the old key of a changed primary key.', p_schema, p_table));
  end if;
  if to_regclass(format('vaivem.%I', p_stem || '_history')) is null then
    execute format($sql$
      create table vaivem.%1$I (
        change_id bigint,
        source_change_id bigint,
        operation text not null,
        %2$s,
        changed_at timestamptz not null,
        origin text not null,
        synced_at timestamptz not null default clock_timestamp()
      )$sql$, p_stem || '_history', columns);
    execute format('create index on vaivem.%I (synced_at)', p_stem || '_history');
    execute format('create index on vaivem.%I (%s, source_change_id) where source_change_id is not null',
      p_stem || '_history', keys);
    execute format('comment on table vaivem.%I is %L', p_stem || '_history',
      format('Changes of %I.%I that were acknowledged, or applied from the other side (then source_change_id is its number there).',
        p_schema, p_table));
  end if;
end
$fn$;

create function vaivem.make_view(p_schema text, p_table text, p_stem text, p_key text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- The view that the older system's monitoring reads: SELECT * FROM perfis_changelog WHERE synced = FALSE.
declare
  name text := vaivem.changelog_name(p_table);
  home text := case when has_schema_privilege(p_schema, 'CREATE') then p_schema else 'vaivem' end;
  existing "char";
  keys text := (select string_agg(format('k%s as %I', number,
      case when column_name in ('change_id', 'operation', 'changed_at', 'synced', 'origin', 'synced_at')
        then 'key_' || column_name else column_name end), ', ' order by number)
    from unnest(p_key) with ordinality as k (column_name, number));
  mine text := (select format('%L', p.side) from vaivem.pairs p);
begin
  select c.relkind into existing from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = home and c.relname = name;
  if existing is not null and not (existing = 'v'
    and coalesce(obj_description(to_regclass(format('%I.%I', home, name)), 'pg_class'), '') like 'vaivem:%') then
    raise exception using errcode = 'VV002',
      message = format('%I.%I exists already and is not of vaivem or of the older sync script; rename or drop it first', home, name);
  end if;
  -- Replaced and not dropped: there may be views of the user's on it.
  execute format($sql$
    create or replace view %1$I.%2$I as
      select change_id, operation, %3$s, changed_at, false as synced, %6$s::text as origin, null::timestamptz as synced_at
      from vaivem.%4$I
      union all
      select coalesce(change_id, source_change_id), operation, %3$s, changed_at, true, origin, synced_at
      from vaivem.%5$I$sql$,
    home, name, keys, p_stem || '_pending', p_stem || '_history', coalesce(mine, 'null'));
  execute format('comment on view %I.%I is %L', home, name,
    'vaivem: changes of this table, pending (synced = false) and done (synced = true). Made and removed by vaivem.');
end
$fn$;

create function vaivem.drop_view(p_schema text, p_table text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
declare
  home text;
begin
  for home in select n.nspname from pg_class v join pg_namespace n on n.oid = v.relnamespace
    where v.relname = vaivem.changelog_name(p_table) and v.relkind = 'v' and n.nspname in (p_schema, 'vaivem')
      and obj_description(v.oid, 'pg_class') like 'vaivem:%'
  loop
    execute format('drop view %I.%I', home, vaivem.changelog_name(p_table));
  end loop;
end
$fn$;

create function vaivem.fill(p_template text, p_values jsonb) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $fn$
-- Puts values in the place of {names} in a template, in one pass, so that a value is never searched for names itself.
  select string_agg(coalesce(p_values ->> substring(m.token[1] from '^\{([a-z_]+)\}$'), m.token[1]), '' order by m.number)
  from regexp_matches(p_template, '\{[a-z_]+\}|[^{]+|\{', 'g') with ordinality as m (token, number)
$fn$;

create function vaivem.row_texts(p_target regclass, p_alias text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- The text of an expression that makes a jsonb of a whole row: column name to the text PostgreSQL prints. Not to_jsonb,
-- which changes numbers, json and arrays; not jsonb_build_object, which takes 50 columns at most.
  select format('jsonb_object(array[%s]::text[], array[%s]::text[])',
    string_agg(quote_literal(a.attname), ', ' order by a.attnum),
    string_agg(format('%s.%I::text', p_alias, a.attname), ', ' order by a.attnum))
  from pg_attribute a where a.attrelid = p_target and a.attnum > 0 and not a.attisdropped
$fn$;

create function vaivem.capture_names(p_target regclass, p_stem text, p_schema text, p_table text, p_key text[])
returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- What the templates of the trigger functions below are filled with.
  select jsonb_build_object(
    'function', format('vaivem.%I', p_stem || '_capture'),
    'installer', quote_literal(session_user),
    'table', quote_literal(format('%I.%I', p_schema, p_table)),
    'queue', format('vaivem.%I', p_stem || '_pending'),
    'queue_name', quote_literal(format('vaivem.%I', p_stem || '_pending')),
    'schema_literal', quote_literal(p_schema),
    'table_literal', quote_literal(p_table),
    'key_count', cardinality(p_key),
    'key_attributes', (select string_agg(format('(%L::name, %s::oid)', a.attname, a.atttypid::oid), ', ')
      from pg_attribute a where a.attrelid = p_target and a.attname = any (p_key) and not a.attisdropped),
    'k', vaivem.key_list('k%2$s', p_key),
    'was', vaivem.key_list('was%2$s', p_key),
    'r', vaivem.key_list('r.%1$I', p_key),
    'o', vaivem.key_list('o.%1$I', p_key),
    't_as_k', vaivem.key_list('t.%1$I as k%2$s', p_key),
    'gone_k', vaivem.key_list('gone.k%2$s', p_key),
    'r_k', vaivem.key_list('r.k%2$s', p_key),
    'ok_is_rk', vaivem.key_list('o.k%2$s = r.k%2$s', p_key, ' and '),
    'r_text', vaivem.key_list('r.%1$I::text', p_key),
    'r_row', vaivem.row_texts(p_target, 'r'),
    's_is_p', vaivem.key_list('s.k%2$s = p.k%2$s', p_key, ' and '),
    's_is_r', vaivem.key_list('s.k%2$s = r.%1$I', p_key, ' and '),
    's_was_r', vaivem.key_list('s.was%2$s = r.%1$I', p_key, ' and '),
    'o_is_r', vaivem.key_list('o.%1$I = r.%1$I', p_key, ' and '),
    'nulls', (select string_agg(format('null::%s', k.type), ', ' order by k.number)
      from (select u.number, format_type(a.atttypid, a.atttypmod) as type
            from unnest(p_key) with ordinality as u (name, number)
            join pg_attribute a on a.attrelid = p_target and a.attname = u.name) as k))
$fn$;

create function vaivem.make_statement_capture(p_target regclass, p_stem text, p_schema text, p_table text, p_key text[])
returns void language plpgsql set search_path = pg_catalog, pg_temp as $fn$
declare
  name text;
  timing text;
begin
  execute vaivem.fill($sql$
create or replace function {function}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_nestloop = off as $body$
#variable_conflict use_variable
-- enable_nestloop: a plan that was made for a statement of one row is kept for one of 200,000, and comparing old with
-- new keys by nested loops then took over 10 minutes instead of a second.
declare
  -- The mark is transaction-local, names the table being merged, and counts only for the role that installed us:
  -- any role can set such a setting.
  in_sync boolean := session_user = {installer} and coalesce(current_setting('vaivem.applying', true), '') <> '';
  -- What the merge itself writes is in its stage, and comes from no deeper than one trigger. Everything else in that
  -- transaction, a cascade's deletes and a user trigger's writes, is an ordinary change.
  merging boolean := in_sync and pg_trigger_depth() = 1 and current_setting('vaivem.applying', true) = {table};
  next_bounce smallint := 0;
begin
  if to_regclass({queue_name}) is null
    or (select count(*) from pg_attribute a where a.attrelid = tg_relid and not a.attisdropped
        and (a.attname, a.atttypid) in ({key_attributes})) <> {key_count} then
    return null;
  end if;
  if in_sync then
    next_bounce := 1 + coalesce(nullif(current_setting('vaivem.bounces', true), ''), '0')::smallint;
  end if;

  if tg_op = 'INSERT' then
    if merging then
      insert into {queue} (operation, {k}, bounces) select 'INSERT', {r}, next_bounce from new_rows r
      where not exists (select from pg_temp.vaivem_stage s where {s_is_r});
    else
      insert into {queue} (operation, {k}, bounces) select 'INSERT', {r}, next_bounce from new_rows r;
    end if;

  elsif tg_op = 'DELETE' then
    if merging then
      insert into {queue} (operation, {k}, bounces) select 'DELETE', {r}, next_bounce from old_rows r
      where not exists (select from pg_temp.vaivem_stage s where {s_is_r});
      insert into vaivem.conflicts (table_schema, table_name, key, reason, lost_operation, lost)
      select {schema_literal}, {table_literal}, array[{r_text}], 'cascade', 'UPSERT', {r_row} from old_rows r
      where not exists (select from pg_temp.vaivem_stage s where {s_is_r});
    else
      insert into {queue} (operation, {k}, bounces) select 'DELETE', {r}, next_bounce from old_rows r;
      if in_sync then
        insert into vaivem.conflicts (table_schema, table_name, key, reason, lost_operation, lost)
        select {schema_literal}, {table_literal}, array[{r_text}], 'cascade', 'UPSERT', {r_row} from old_rows r;
      end if;
    end if;

  elsif not exists (select from old_rows o where not exists (select from new_rows r where {o_is_r})) then
    if merging then
      insert into {queue} (operation, {k}, bounces) select 'UPDATE', {r}, next_bounce from new_rows r
      where not exists (select from pg_temp.vaivem_stage s where {s_is_r});
    else
      insert into {queue} (operation, {k}, bounces) select 'UPDATE', {r}, next_bounce from new_rows r;
    end if;

  elsif merging then
    -- Keys that the merge changes itself; what else cascades may have changed in this table is left to its own keys.
    insert into {queue} (operation, {k}, bounces) select 'UPDATE', {r}, next_bounce from new_rows r
    where not exists (select from pg_temp.vaivem_stage s where {s_is_r});
    insert into {queue} (operation, {k}, bounces) select 'DELETE', {r}, next_bounce from old_rows r
    where not exists (select from pg_temp.vaivem_stage s where ({s_is_r}) or ({s_was_r}))
      and not exists (select from new_rows o where {o_is_r});

  else
    -- Some primary keys changed. Both transition tables are filled row by row, so equal numbers are the same row.
    with o as (select row_number() over () as number, {t_as_k} from old_rows t),
      r as (select row_number() over () as number, {t_as_k} from new_rows t),
      gone as (select o.* from o where not exists (select from r where {ok_is_rk}))
    insert into {queue} (operation, {k}, {was}, bounces)
    select 'DELETE', {gone_k}, {nulls}, next_bounce from gone
    union all
    select 'UPDATE', {r_k}, {nulls}, next_bounce from r where exists (select from o where {ok_is_rk})
    union all
    select 'INSERT', {r_k}, {gone_k}, next_bounce from r left join gone using (number)
    where not exists (select from o where {ok_is_rk});
  end if;

  if next_bounce > 1 and not merging and current_setting('vaivem.applying', true) = {table} then
    -- A row of the merge that a user's trigger rewrote goes on from its own count, not from that of others.
    update {queue} p set bounces = s.bounces + 1 from pg_temp.vaivem_stage s
    where {s_is_p} and p.change_id > coalesce(s.newest, 0) and p.bounces > s.bounces + 1;
  end if;
  return null;
end
$body$$sql$, vaivem.capture_names(p_target, p_stem, p_schema, p_table, p_key));
  for name, timing in values
    ('vaivem_capture_insert', 'insert on %s referencing new table as new_rows'),
    ('vaivem_capture_update', 'update on %s referencing old table as old_rows new table as new_rows'),
    ('vaivem_capture_delete', 'delete on %s referencing old table as old_rows')
  loop
    execute format('drop trigger if exists %I on %s', name, p_target);
    execute format('create trigger %I after ', name) || format(timing, p_target)
      || format(' for each statement execute function vaivem.%I()', p_stem || '_capture');
    -- ALWAYS: what a logical replication worker writes into the table is captured as well.
    execute format('alter table %s enable always trigger %I', p_target, name);
  end loop;
end
$fn$;

create function vaivem.make_row_capture(p_target regclass, p_stem text, p_schema text, p_table text, p_key text[])
returns void language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- For partitioned tables: row triggers, which PostgreSQL clones to every partition, see rows that are written into a
-- partition directly. They cost bulk writes 3.6 times instead of 1.4, so only where they are needed.
declare
  name text := 'vaivem_capture_row';
begin
  execute vaivem.fill($sql$
create or replace function {function}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
#variable_conflict use_variable
declare
  in_sync boolean := session_user = {installer} and coalesce(current_setting('vaivem.applying', true), '') <> '';
  merging boolean := in_sync and pg_trigger_depth() = 1 and current_setting('vaivem.applying', true) = {table};
  next_bounce smallint := 0;
  r record;
  o record;
begin
  if to_regclass({queue_name}) is null
    or (select count(*) from pg_attribute a where a.attrelid = tg_relid and not a.attisdropped
        and (a.attname, a.atttypid) in ({key_attributes})) <> {key_count} then
    return null;
  end if;
  if in_sync then
    next_bounce := 1 + coalesce(nullif(current_setting('vaivem.bounces', true), ''), '0')::smallint;
  end if;
  if tg_op = 'INSERT' then
    r := new;
  else
    r := old;
  end if;
  if merging then
    if exists (select from pg_temp.vaivem_stage s where ({s_is_r}) or ({s_was_r})) then
      return null;
    end if;
  end if;
  if next_bounce > 1 and current_setting('vaivem.applying', true) = {table} then
    -- A row of the merge that a user's trigger rewrote goes on from its own count, not from that of others.
    next_bounce := coalesce((select s.bounces + 1 from pg_temp.vaivem_stage s where {s_is_r}), next_bounce);
  end if;
  if tg_op = 'UPDATE' then
    o := old;
    r := new;
    if {o_is_r} then
      insert into {queue} (operation, {k}, bounces) select 'UPDATE', {r}, next_bounce;
    else
      insert into {queue} (operation, {k}, bounces) select 'DELETE', {o}, next_bounce;
      insert into {queue} (operation, {k}, {was}, bounces) select 'INSERT', {r}, {o}, next_bounce;
    end if;
  else
    insert into {queue} (operation, {k}, bounces) select tg_op, {r}, next_bounce;
    if tg_op = 'DELETE' and in_sync then
      insert into vaivem.conflicts (table_schema, table_name, key, reason, lost_operation, lost)
      select {schema_literal}, {table_literal}, array[{r_text}], 'cascade', 'UPSERT', {r_row};
    end if;
  end if;
  return null;
end
$body$$sql$, vaivem.capture_names(p_target, p_stem, p_schema, p_table, p_key));
  execute format('drop trigger if exists %I on %s', name, p_target);
  execute format('create trigger %I after insert or update or delete on %s for each row execute function vaivem.%I()',
    name, p_target, p_stem || '_capture');
  execute format('alter table %s enable always trigger %I', p_target, name);
end
$fn$;

create function vaivem.make_truncate_capture(p_target regclass, p_stem text, p_schema text, p_table text, p_key text[])
returns void language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- TRUNCATE fires no row trigger and fills no transition table, so the keys are read just before it. Partitions that are
-- truncated directly need the trigger too.
declare
  relation regclass;
  name text := 'vaivem_capture_truncate';
  names jsonb := vaivem.capture_names(p_target, p_stem, p_schema, p_table, p_key);
begin
  execute vaivem.fill($sql$
create or replace function {truncate_function}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
  if to_regclass({queue_name}) is null
    or (select count(*) from pg_attribute a where a.attrelid = tg_relid and not a.attisdropped
        and (a.attname, a.atttypid) in ({key_attributes})) <> {key_count} then
    return null;
  end if;
  execute {insert_literal} || tg_relid::regclass || ' r';
  return null;
end
$body$$sql$, names || jsonb_build_object(
    'truncate_function', format('vaivem.%I', p_stem || '_truncate'),
    'insert_literal', quote_literal(vaivem.fill('insert into {queue} (operation, {k}) select ''TRUNCATE'', {r} from ', names))));
  for relation in
    select p_target where (select c.relkind from pg_class c where c.oid = p_target) = 'r'
    union
    select t.relid from pg_partition_tree(p_target) t where t.isleaf
  loop
    execute format('drop trigger if exists %I on %s', name, relation);
    execute format('create trigger %I before truncate on %s for each statement execute function vaivem.%I()',
      name, relation, p_stem || '_truncate');
    execute format('alter table %s enable always trigger %I', relation, name);
  end loop;
end
$fn$;
