-- Tables that change while the service runs: partitions that come and go, tables that are renamed or made anew, rows
-- that an ALTER TABLE rewrote, tables of ours that somebody drops under the app's feet, and many tables at once.

alter table vaivem.tables
  add relation oid,
  add partitions jsonb,
  add column_versions text,
  add column_numbers jsonb,
  add storage text;
comment on column vaivem.tables.relation is 'The table that capture is on: one of its name that was made since is another.';
comment on column vaivem.tables.partitions is 'Those that capture knows, by oid: one that is gone holds the table.';
comment on column vaivem.tables.column_numbers is 'By name: a column that was dropped and made again has another number.';
comment on column vaivem.tables.column_versions is 'With storage: ALTER … USING changes both, and rows unseen by triggers.';

create table vaivem.missed (
  table_schema text not null,
  table_name text not null,
  missed_at timestamptz not null default clock_timestamp()
);
comment on table vaivem.missed is 'Writes that found the queue locked for good and were not logged: the table is compared again.';

create function vaivem.partitions(p_target regclass) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- The leaves of a partitioned table, by oid: name, and which attachment it is, so that one that was detached for a while
-- is seen. Null for any other table.
  select jsonb_object_agg(t.relid::oid::text, jsonb_build_object('name', t.relid::regclass::text, 'since', i.xmin::text))
  from pg_partition_tree(p_target) t join pg_inherits i on i.inhrelid = t.relid
  where t.isleaf and t.relid <> p_target
$fn$;

create function vaivem.column_versions(p_target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $fn$
  select md5(string_agg(a.xmin::text, ',' order by a.attnum))
  from pg_attribute a where a.attrelid = p_target and a.attnum > 0 and not a.attisdropped
$fn$;

create function vaivem.column_numbers(p_target regclass) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $fn$
  select jsonb_object_agg(a.attname, a.attnum)
  from pg_attribute a where a.attrelid = p_target and a.attnum > 0 and not a.attisdropped
$fn$;

create function vaivem.storage(p_target regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- Which files hold the rows: TRUNCATE, VACUUM FULL and an ALTER TABLE that rewrites rows make new ones.
  select md5(string_agg(coalesce(pg_relation_filenode(r.relation)::text, ''), ',' order by r.relation))
  from (select p_target::oid union select t.relid::oid from pg_partition_tree(p_target) t) as r (relation)
$fn$;

create function vaivem.fingerprints(p_schemas text[], p_tables text[]) returns table (n bigint, print text)
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- Changes whenever a table's columns, constraints, triggers or partitions do, or anything of our capture on it. Tables
-- that are not there are left out. One statement for all of them: 1,000 tables are planned once.
  select asked.n, md5(concat_ws('|',
    session_user,
    c.oid, c.relkind, c.relrowsecurity, c.relforcerowsecurity,
    (select string_agg(concat_ws(',', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef,
                                 a.attgenerated, a.attidentity, a.xmin), ';' order by a.attnum)
     from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    (select string_agg(concat_ws(',', k.conname, k.contype, k.conkey), ';' order by k.oid)
     from pg_constraint k where k.conrelid = c.oid),
    (select string_agg(concat_ws(',', g.tgname, g.tgenabled, g.tgtype, f.oid,
                                 case when f.pronamespace = ours.schema then f.xmin::text end), ';' order by g.tgname)
     from pg_trigger g join pg_proc f on f.oid = g.tgfoid where g.tgrelid = c.oid and not g.tgisinternal),
    (select string_agg(concat_ws(',', i.inhrelid, i.xmin), ';' order by i.inhrelid)
     from pg_inherits i where i.inhparent = c.oid or i.inhrelid = c.oid),
    case when c.relkind = 'p' then
      (select string_agg(concat_ws(',', t.relid::oid, i.xmin, g.tgname, g.tgenabled, g.tgtype), ';'
                         order by t.relid, g.tgname)
       from pg_partition_tree(c.oid) t join pg_inherits i on i.inhrelid = t.relid
       left join pg_trigger g on g.tgrelid = t.relid and (not g.tgisinternal)) end,
    (select string_agg(o.oid::text, ',' order by o.relname)
     from vaivem.tables t
     join pg_class o on o.relnamespace = ours.schema and o.relname in (t.stem || '_pending', t.stem || '_history')
     where t.table_schema = asked.schema and t.table_name = asked.name),
    (select 'view' from pg_class v
     where v.relname = asked.view and v.relkind = 'v' and v.relnamespace in (c.relnamespace, ours.schema) limit 1)))
  from (select u.n, u.schema, u.name, vaivem.changelog_name(u.name) as view
        from unnest(p_schemas, p_tables) with ordinality as u (schema, name, n)) as asked
  join pg_namespace s on s.nspname = asked.schema
  join pg_class c on c.relnamespace = s.oid and c.relname = asked.name and c.relkind in ('r', 'p')
  cross join (select 'vaivem'::regnamespace::oid as schema) as ours
$fn$;

create or replace function vaivem.fingerprint(p_schema text, p_table text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $fn$
  select f.print from vaivem.fingerprints(array[p_schema], array[p_table]) f
$fn$;

drop function vaivem.capture(text, text, text[], text, boolean);

create function vaivem.capture(
  p_schema text, p_table text, p_key text[], p_stamp text, p_touch boolean, p_accept_partitions boolean
) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Installs or renews capture of one table, in the caller's transaction. Idempotent. Answers the fingerprint that it
-- left, what it took over of an older system, and the partitions that are gone; then it has done nothing else, unless
-- it was told to accept that.
declare
  target regclass := to_regclass(format('%I.%I', p_schema, p_table));
  v_stem text;
  before vaivem.tables;
  v_types text[];
  v_partitions jsonb;
  v_gone text[];
  partitioned boolean;
  known boolean;
  intact boolean;
  v_adopted jsonb;
  -- With all of this as it was, and the same fingerprint, there is nothing to do: no lock is taken, no trigger renewed.
  v_options text := jsonb_build_array(p_key, p_stamp, p_touch, (select p.side from vaivem.pairs p),
    (select max(m.version) from vaivem.migrations m));
begin
  if target is null then
    raise exception using errcode = 'undefined_table', message = format('table %I.%I does not exist', p_schema, p_table);
  end if;
  if exists (select from vaivem.missed m where m.table_schema = p_schema and m.table_name = p_table) then
    delete from vaivem.missed m where m.table_schema = p_schema and m.table_name = p_table;
    update vaivem.tables t set contract = null where t.table_schema = p_schema and t.table_name = p_table;
  end if;
  select * into before from vaivem.tables t where t.table_schema = p_schema and t.table_name = p_table;
  if before.options = v_options and before.fingerprint = vaivem.fingerprint(p_schema, p_table) then
    return jsonb_build_object('stem', before.stem, 'fingerprint', before.fingerprint, 'adopted', null,
      'gone', '[]'::jsonb);
  end if;

  -- First, before anything of ours is touched: a writer of the app that is waited for here holds nothing that it
  -- couldn't let go of, and one that waits for us finds everything in its place when it goes on.
  execute format('lock table %s in access exclusive mode', target);
  select c.relkind = 'p' into partitioned from pg_class c where c.oid = target;
  v_partitions := vaivem.partitions(target);
  known := before.stem is not null and before.relation is not distinct from target::oid;
  select coalesce(array_agg(p.value ->> 'name' order by p.value ->> 'name'), '{}') into v_gone
  from jsonb_each(case when known then before.partitions end) p
  where not coalesce(v_partitions, '{}') ? p.key;
  if v_gone <> '{}' and not p_accept_partitions then
    return jsonb_build_object('stem', before.stem, 'fingerprint', before.fingerprint, 'adopted', null,
      'gone', to_jsonb(v_gone));
  end if;

  select array_agg(format_type(a.atttypid, a.atttypmod) order by k.number) into v_types
  from unnest(p_key) with ordinality as k (name, number)
  join pg_attribute a on a.attrelid = target and a.attname = k.name and not a.attisdropped;
  v_stem := vaivem.stem(p_schema, p_table);
  intact := known
    and to_regclass(format('vaivem.%I', v_stem || '_pending')) is not null
    and to_regclass(format('vaivem.%I', v_stem || '_history')) is not null
    and before.key_columns = p_key and before.key_types = v_types
    and vaivem.captures(target, partitioned)
    -- Rows that came with a partition were never logged.
    and coalesce(before.partitions, '{}') = coalesce(v_partitions, '{}')
    -- Nor were those that an ALTER TABLE rewrote, or that got a column's default in the place of its values.
    and not exists (select from jsonb_each(before.column_numbers) b
      join jsonb_each(vaivem.column_numbers(target)) c using (key) where b.value <> c.value)
    and (before.column_versions = vaivem.column_versions(target) or before.storage = vaivem.storage(target));
  if before.relation is null and before.stem is not null then
    -- Captured by a version that did not know about all of these.
    intact := before.key_columns = p_key and before.key_types = v_types and vaivem.captures(target, false);
  end if;
  if before.stem is not null and not intact then
    -- Something went uncaptured for a while: the next set-up compares both sides again.
    update vaivem.tables set contract = null where stem = v_stem;
    if before.key_columns <> p_key or before.key_types <> v_types then
      perform vaivem.drop_view(p_schema, p_table);
      execute format('drop table if exists vaivem.%I, vaivem.%I', v_stem || '_pending', v_stem || '_history');
    elsif before.relation <> target::oid then
      -- Another table has the name now. What was logged is of the old one: a key that was changed there and is not here
      -- would travel as a delete.
      if to_regclass(format('vaivem.%I', v_stem || '_pending')) is not null then
        execute format('delete from vaivem.%I', v_stem || '_pending');
      end if;
    end if;
    if before.relation <> target::oid and exists (select from pg_class c where c.oid = before.relation) then
      perform vaivem.drop_triggers(before.relation, '%vaivem\_%');
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
    relation = target::oid, partitions = v_partitions, column_versions = vaivem.column_versions(target),
    column_numbers = vaivem.column_numbers(target), storage = vaivem.storage(target),
    fingerprint = vaivem.fingerprint(p_schema, p_table)
  where stem = v_stem;
  return jsonb_build_object('stem', v_stem, 'fingerprint', vaivem.fingerprint(p_schema, p_table), 'adopted', v_adopted,
    'gone', '[]'::jsonb);
end
$fn$;

create function vaivem.captures(p_target regclass, p_partitioned boolean) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- Whether every trigger that logs is in its place and enabled, on every partition too.
  select case when not p_partitioned then
    (select count(*) from pg_trigger g
     where g.tgrelid = p_target and g.tgname like 'vaivem\_capture\_%' and g.tgenabled = 'A')
      >= case (select c.relkind from pg_class c where c.oid = p_target) when 'p' then 1 else 4 end
  else not exists (
    select from pg_partition_tree(p_target) t
    where (select count(*) from pg_trigger g
           where g.tgrelid = t.relid and g.tgenabled = 'A'
             and g.tgname in ('vaivem_capture_row', 'vaivem_capture_truncate'))
      < case when t.isleaf and t.relid <> p_target then 2 else 1 end)
  end
$fn$;

create or replace function vaivem.capture_names(p_target regclass, p_stem text, p_schema text, p_table text, p_key text[])
returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- What the templates of the trigger functions below are filled with.
  select jsonb_build_object(
    'function', format('vaivem.%I', p_stem || '_capture'),
    -- Whoever drops the queue holds its sequence before: a write that waited for that only then would be a deadlock.
    'sequence', pg_get_serial_sequence(format('vaivem.%I', p_stem || '_pending'), 'change_id'),
    'installer', quote_literal(session_user),
    'table', quote_literal(format('%I.%I', p_schema, p_table)),
    -- A table that was renamed keeps our triggers, and another one may have its name: only this one is logged.
    'is_ours', format(case when (select c.relkind from pg_class c where c.oid = p_target) = 'p'
      then 'coalesce(pg_partition_root(tg_relid), tg_relid) = %s' else 'tg_relid = %s' end, p_target::oid),
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

create or replace function vaivem.make_statement_capture(p_target regclass, p_stem text, p_schema text, p_table text, p_key text[])
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
  if not ({is_ours}) then
    return null;
  end if;
  -- What the app writes must not fail because of us. The queue is locked against being dropped before it is written to,
  -- in a block that writes nothing and so takes no transaction number. One that is gone is missed by the next cycle; a
  -- lock on it that can't be had is noted, for the same comparison.
  begin
    perform from {queue} limit 0;
    perform from {sequence} limit 0;
  exception when others then
    begin
      if to_regclass({queue_name}) is not null then
        insert into vaivem.missed (table_schema, table_name) values ({schema_literal}, {table_literal});
      end if;
    exception when others then
      return null;
    end;
    return null;
  end;
  if (select count(*) from pg_attribute a where a.attrelid = tg_relid and not a.attisdropped
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

create or replace function vaivem.make_row_capture(p_target regclass, p_stem text, p_schema text, p_table text, p_key text[])
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
  if not ({is_ours}) then
    return null;
  end if;
  begin
    perform from {queue} limit 0;
    perform from {sequence} limit 0;
  exception when others then
    begin
      if to_regclass({queue_name}) is not null then
        insert into vaivem.missed (table_schema, table_name) values ({schema_literal}, {table_literal});
      end if;
    exception when others then
      return null;
    end;
    return null;
  end;
  if (select count(*) from pg_attribute a where a.attrelid = tg_relid and not a.attisdropped
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

create or replace function vaivem.make_truncate_capture(p_target regclass, p_stem text, p_schema text, p_table text, p_key text[])
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
  if not ({is_ours}) then
    return null;
  end if;
  begin
    perform from {queue} limit 0;
    perform from {sequence} limit 0;
  exception when others then
    begin
      if to_regclass({queue_name}) is not null then
        insert into vaivem.missed (table_schema, table_name) values ({schema_literal}, {table_literal});
      end if;
    exception when others then
      return null;
    end;
    return null;
  end;
  if (select count(*) from pg_attribute a where a.attrelid = tg_relid and not a.attisdropped
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

create or replace function vaivem.last_name(p_target regclass, p_name text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $fn$
-- A trigger name that sorts after all of the table's other BEFORE ROW triggers: they fire in the order of their names.
declare
  greatest_other text := (select max(g.tgname::text collate "C") from pg_trigger g
    where g.tgrelid in (select p_target union select t.relid from pg_partition_tree(p_target) t) and not g.tgisinternal and (g.tgtype & 3) = 3 and g.tgname not like '%vaivem\_%');
begin
  if greatest_other collate "C" >= p_name then
    return left(greatest_other, 30) || '~' || p_name;
  end if;
  return p_name;
end
$fn$;

create or replace function vaivem.first_name(p_target regclass, p_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- A trigger name that sorts before all of the table's other BEFORE ROW triggers: with one space more than any of them.
  select repeat(' ', 1 + coalesce(max(octet_length(g.tgname) - octet_length(ltrim(g.tgname, ' '))), 0)) || p_name
  from pg_trigger g
  where g.tgrelid in (select p_target union select t.relid from pg_partition_tree(p_target) t) and not g.tgisinternal and (g.tgtype & 3) = 3 and g.tgname not like '%vaivem\_%'
$fn$;

create or replace function vaivem.make_guard(p_target regclass, p_stem text, p_schema text, p_table text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- On tables with BEFORE ROW triggers of the user, and only there: while the sync applies, the first of this pair notes
-- the row as it came and the last puts it back, so that what is applied is what was sent. Costs 19 µs a row.
declare
  users boolean := exists (select from pg_trigger g join pg_proc f on f.oid = g.tgfoid
    where g.tgrelid in (select p_target union select t.relid from pg_partition_tree(p_target) t) and not g.tgisinternal and (g.tgtype & 3) = 3 and g.tgtype & 20 <> 0
      and f.pronamespace <> 'vaivem'::regnamespace);
  names jsonb;
begin
  perform vaivem.drop_triggers(p_target, '%vaivem\_guard\_%');
  execute format('drop function if exists vaivem.%I()', p_stem || '_guard_first');
  execute format('drop function if exists vaivem.%I()', p_stem || '_guard_last');
  if not users then
    return;
  end if;
  names := jsonb_build_object(
    'first', format('vaivem.%I', p_stem || '_guard_first'),
    'last', format('vaivem.%I', p_stem || '_guard_last'),
    'in_sync', vaivem.in_sync(p_schema, p_table),
    -- A partition may have its columns in another order than its table, and then NEW has them so.
    'restore', case when (select c.relkind from pg_class c where c.oid = p_target) = 'p'
      then 'execute format(''select ($1::%s).*'', tg_relid::regclass) into new using current_setting(''vaivem.row'')'
      else format('select (current_setting(''vaivem.row'')::%I.%I).* into new', p_schema, p_table) end);
  execute vaivem.fill($sql$
create function {first}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
  if {in_sync} and pg_trigger_depth() = 1 then
    perform set_config('vaivem.row', new::text, true);
  end if;
  return new;
end
$body$$sql$, names);
  execute vaivem.fill($sql$
create function {last}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
  if {in_sync} and pg_trigger_depth() = 1 then
    {restore};
  end if;
  return new;
end
$body$$sql$, names);
  execute format('create trigger %I before insert or update on %s for each row execute function vaivem.%I()',
    vaivem.first_name(p_target, 'vaivem_guard_first'), p_target, p_stem || '_guard_first');
  execute format('create trigger %I before insert or update on %s for each row execute function vaivem.%I()',
    vaivem.last_name(p_target, '~~~vaivem_guard_last'), p_target, p_stem || '_guard_last');
end
$fn$;

create function vaivem.listing(p_schemas text[]) returns text
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- Changes whenever a table appears in these schemas, disappears, or becomes or ceases to be one that can be synced.
  select md5(string_agg(concat_ws(',', c.oid, c.relname, c.relkind, c.relpersistence, c.relowner,
      exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)), ';' order by c.oid))
  from pg_class c join pg_namespace s on s.oid = c.relnamespace
  where s.nspname = any (p_schemas) and c.relkind in ('r', 'p') and not c.relispartition
$fn$;

drop function vaivem.ask(text[], text[], uuid, boolean, bigint);

create function vaivem.ask(
  p_schemas text[], p_tables text[], p_listed text[], p_known text, p_holder uuid, p_other_idle boolean,
  p_not_before_ms bigint
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex' as $fn$
-- The one question of a cycle. When nothing about the tables is different from what p_known stands for, only those are
-- in the answer that have something pending or in quarantine: the answer about 1,000 idle tables is as short as about one.
declare
  me vaivem.pairs;
  leased boolean := false;
  not_due boolean := false;
  known record;
  states text[] := '{}';
  state text;
  has_pending boolean;
  is_due bigint;
  idle boolean := true;
  answers jsonb[] := '{}';
begin
  select * into me from vaivem.pairs;
  leased := not pg_try_advisory_xact_lock(vaivem.lease_key());
  not_due := p_holder is not null and p_not_before_ms > 0 and me.finished_by is distinct from p_holder
    and coalesce(me.finished_at > clock_timestamp() - p_not_before_ms * interval '1 millisecond', false);
  for known in
    select a.n, a.schema, a.name, f.print, t.stem, t.fingerprint, t.key_types,
      case when m.table_name is null then t.contract end as contract,
      case when t.stem is not null then to_regclass(format('vaivem.%I', t.stem || '_pending')) end as queue, coalesce(q.keys, 0) as quarantined
    from unnest(p_schemas, p_tables) with ordinality as a (schema, name, n)
    left join vaivem.fingerprints(p_schemas, p_tables) f on f.n = a.n
    left join vaivem.tables t on t.table_schema = a.schema and t.table_name = a.name
    left join (select distinct table_schema, table_name from vaivem.missed) m
      on m.table_schema = a.schema and m.table_name = a.name
    left join (select table_schema, table_name, count(*) as keys from vaivem.quarantine group by 1, 2) q
      on q.table_schema = a.schema and q.table_name = a.name
    order by a.n
  loop
    has_pending := false;
    is_due := 0;
    -- A file without a page holds no row: most queues of many tables need no statement of their own.
    if known.queue is not null and pg_relation_size(known.queue) > 0 then
      if known.quarantined = 0 then
        execute format('select exists (select from %s)', known.queue) into has_pending;
      else
        execute format($sql$
          select exists (select from %1$s p where not exists (
              select from vaivem.quarantine q
              where q.table_schema = $1 and q.table_name = $2 and q.key = %2$s)),
            (select count(*) from vaivem.quarantine q
             where q.table_schema = $1 and q.table_name = $2
               and (q.next_attempt_at <= clock_timestamp()
                 or q.change_id < (select max(p.change_id) from %1$s p where %3$s)))$sql$,
          known.queue, vaivem.key_texts(known.key_types, 'p'), vaivem.key_matches(known.key_types, 'p', 'q.key'))
        into has_pending, is_due using known.schema, known.name;
      end if;
    end if;
    idle := idle and known.stem is not null and known.print = known.fingerprint and known.contract is not null
      and not has_pending and is_due = 0;
    states := states || md5(concat_ws('|', known.n, known.print, known.fingerprint, known.contract, known.stem));
    answers := answers || jsonb_build_object('n', known.n, 'fingerprint', known.print, 'captured', known.fingerprint,
      'contract', known.contract, 'stem', known.stem, 'pending', has_pending,
      'quarantined', known.quarantined, 'due', is_due);
  end loop;
  state := md5(concat_ws('|', array_to_string(states, ','), vaivem.listing(p_listed)));
  if p_holder is not null and p_other_idle and idle and not leased and not not_due then
    update vaivem.pairs set finished_at = clock_timestamp(), finished_by = p_holder, cycles = cycles + 1;
  end if;
  return jsonb_build_object(
    'migration', (select max(m.version) from vaivem.migrations m),
    'identity', (select jsonb_build_object('side', p.side, 'id', p.id, 'peer', p.peer, 'confirmed', p.confirmed)
                 from vaivem.pairs p),
    'leased', leased, 'not_due', not_due, 'state', state,
    'tables', (select coalesce(jsonb_agg(a), '[]') from unnest(answers) a
               where state is distinct from p_known or (a ->> 'pending')::boolean or (a ->> 'quarantined')::bigint > 0));
end
$fn$;

create function vaivem.purge(p_schemas text[], p_tables text[], p_older_ms bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Deletes old history of many tables at once, for as long as a statement may take; the next one goes on.
declare
  history regclass;
  deleted bigint;
  purged bigint := 0;
begin
  for history in
    select to_regclass(format('vaivem.%I', t.stem || '_history'))
    from unnest(p_schemas, p_tables) as a (schema, name)
    join vaivem.tables t on t.table_schema = a.schema and t.table_name = a.name
  loop
    continue when history is null or pg_relation_size(history) = 0;
    exit when clock_timestamp() > statement_timestamp() + interval '4 seconds';
    execute format('with gone as (delete from %s where synced_at < clock_timestamp() - $1 * interval ''1 millisecond'' returning 1)
      select count(*) from gone', history) into deleted using p_older_ms;
    purged := purged + deleted;
  end loop;
  return purged;
end
$fn$;
