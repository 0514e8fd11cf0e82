-- Keys that are equal without being alike, as citext's are and those of a collation that ignores case: the queue, the
-- triggers and the primary key must agree on which rows are one. And what a foreign key's SET NULL takes from a change
-- that is still pending goes into the journal. A partition's trigger that was disabled is noticed on PostgreSQL 14 as well.

create function vaivem.plain_type(p_type oid, p_modifier integer) returns text
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- The type with domains taken off. A domain may refuse null, and our columns of it must be empty at times.
  with recursive d (type, modifier) as (
    select p_type, p_modifier
    union all
    select y.typbasetype, y.typtypmod from d join pg_type y on y.oid = d.type where y.typtype = 'd')
  select format_type(d.type, d.modifier) from d join pg_type y on y.oid = d.type where y.typtype <> 'd'
$fn$;

create function vaivem.key_operator_oids(p_target regclass, p_key text[]) returns oid[]
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- For each key column the operator that tells its values apart, where it isn't PostgreSQL's own, else null.
  select array_agg(e.oid order by k.number)
  from unnest(p_key) with ordinality as k (name, number)
  join pg_attribute a on a.attrelid = p_target and a.attname = k.name and not a.attisdropped
  left join lateral (
    select e.oid
    from pg_opclass c
    join pg_amop o on o.amopfamily = c.opcfamily and o.amoplefttype = c.opcintype and o.amoprighttype = c.opcintype
      and o.amopstrategy = 3
    join pg_operator e on e.oid = o.amopopr and e.oprnamespace <> 'pg_catalog'::regnamespace
    where c.opcdefault and c.opcmethod = (select m.oid from pg_am m where m.amname = 'btree')
      and c.opcintype = (
        with recursive d (type) as (
          select a.atttypid
          union all
          select y.typbasetype from d join pg_type y on y.oid = d.type where y.typtype = 'd')
        select d.type from d join pg_type y on y.oid = d.type where y.typtype <> 'd')) e on true
$fn$;

create function vaivem.key_operators(p_target regclass, p_key text[]) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- Which operator tells the values of each key column apart. An extension's type has its own, which the pinned search_path
-- doesn't find: citext would be compared as text.
  select array_agg(case when e.oid is null then '=' else format('operator(%I.%s)', s.nspname, e.oprname) end
    order by k.number)
  from unnest(vaivem.key_operator_oids(p_target, p_key)) with ordinality as k (operator, number)
  left join pg_operator e on e.oid = k.operator
  left join pg_namespace s on s.oid = e.oprnamespace
$fn$;

create function vaivem.key_types(p_target regclass, p_key text[]) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- The types of our own key columns: the table's, and the collation where it takes different texts for equal.
  select array_agg(vaivem.plain_type(a.atttypid, a.atttypmod)
    || coalesce((select format(' collate %I.%I', s.nspname, c.collname)
                 from pg_collation c join pg_namespace s on s.oid = c.collnamespace
                 where c.oid = a.attcollation and not c.collisdeterministic), '') order by k.number)
  from unnest(p_key) with ordinality as k (name, number)
  join pg_attribute a on a.attrelid = p_target and a.attname = k.name and not a.attisdropped
$fn$;

create function vaivem.queue_types(p_stem text) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- The types that the keys in a queue have by their names of today: those that we remember may have been renamed. Null
-- when there is no queue.
  select vaivem.key_types(a.attrelid, array_agg(a.attname::text order by a.attnum))
  from pg_attribute a
  where a.attrelid = to_regclass(format('vaivem.%I', p_stem || '_pending')) and a.attname ~ '^k[0-9]+$'
    and not a.attisdropped
  group by a.attrelid
$fn$;

create function vaivem.widen(p_schema text, p_table text, p_stem text, p_from text[], p_to text[]) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Gives queue and history the key types that the table has now, where every key keeps its value: what was deleted and
-- hasn't travelled yet would come back if they were made anew. Answers whether that could be done.
declare
  widths text[] := array['smallint', 'integer', 'bigint'];
begin
  if p_from is null or exists (
    select from unnest(p_from, p_to) as t (old, new)
    where old is distinct from new and not coalesce(array_position(widths, old) < array_position(widths, new), false)
      and not (old ~ '^character varying' and new = 'text'))
  then
    return false;
  end if;
  perform vaivem.drop_view(p_schema, p_table);
  execute (
    select string_agg(format('alter table vaivem.%I %s', p_stem || o.suffix, o.changes), '; ')
    from (
      select '_pending' as suffix, string_agg(format('alter k%1$s type %2$s, alter was%1$s type %2$s', n, type), ', ') as changes
      from unnest(p_to) with ordinality as t (type, n)
      union all
      select '_history', string_agg(format('alter k%1$s type %2$s', n, type), ', ')
      from unnest(p_to) with ordinality as t (type, n)) o);
  return true;
end
$fn$;

create function vaivem.identify_rows(p_stem text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- With a publication FOR ALL TABLES, rows of a table without a replica identity can't be deleted.
declare
  name text;
begin
  for name in
    select c.relname from pg_class c
    where c.relnamespace = 'vaivem'::regnamespace and c.relname in (p_stem || '_pending', p_stem || '_history')
      and c.relreplident <> 'f'
  loop
    execute format('alter table vaivem.%I replica identity full', name);
  end loop;
end
$fn$;

create function vaivem.key_list(p_format text, p_columns text[], p_operators text[], p_separator text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $fn$
-- The same, where %3$s is the column's operator.
  select string_agg(format(p_format, name, number, p_operators[number]), p_separator order by number)
  from unnest(p_columns) with ordinality as k (name, number)
$fn$;

create or replace function vaivem.capture(
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
  v_dropped bigint := 0;
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

  v_types := vaivem.key_types(target, p_key);
  v_stem := vaivem.stem(p_schema, p_table);
  intact := known
    and to_regclass(format('vaivem.%I', v_stem || '_pending')) is not null
    and to_regclass(format('vaivem.%I', v_stem || '_history')) is not null
    and before.key_columns = p_key and vaivem.queue_types(v_stem) = v_types
    and vaivem.captures(target, partitioned)
    -- Rows that came with a partition were never logged.
    and coalesce(before.partitions, '{}') = coalesce(v_partitions, '{}')
    -- Nor were those that an ALTER TABLE rewrote, or that got a column's default in the place of its values.
    and not exists (select from jsonb_each(before.column_numbers) b
      join jsonb_each(vaivem.column_numbers(target)) c using (key) where b.value <> c.value)
    and (before.column_versions = vaivem.column_versions(target) or before.storage = vaivem.storage(target));
  if before.relation is null and before.stem is not null then
    -- Captured by a version that did not know about all of these.
    intact := before.key_columns = p_key and vaivem.queue_types(v_stem) = v_types and vaivem.captures(target, false);
  end if;
  if before.stem is not null and not intact then
    -- Something went uncaptured for a while: the next set-up compares both sides again.
    update vaivem.tables set contract = null where stem = v_stem;
    if before.key_columns <> p_key or vaivem.queue_types(v_stem) is distinct from v_types
      and not (known and vaivem.widen(p_schema, p_table, v_stem, vaivem.queue_types(v_stem), v_types))
    then
      if to_regclass(format('vaivem.%I', v_stem || '_pending')) is not null then
        execute format('select count(*) from vaivem.%I where operation <> ''MARK''', v_stem || '_pending') into v_dropped;
      end if;
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
  perform vaivem.identify_rows(v_stem);
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
    'gone', '[]'::jsonb, 'dropped', v_dropped);
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
    'ok_is_rk', vaivem.key_list('o.k%2$s %3$s r.k%2$s', p_key, o.operators, ' and '),
    'r_text', vaivem.key_list('r.%1$I::text', p_key),
    'r_row', vaivem.row_texts(p_target, 'r'),
    's_is_p', vaivem.key_list('s.k%2$s %3$s p.k%2$s', p_key, o.operators, ' and '),
    's_is_r', vaivem.key_list('s.k%2$s %3$s r.%1$I', p_key, o.operators, ' and '),
    's_was_r', vaivem.key_list('s.was%2$s %3$s r.%1$I', p_key, o.operators, ' and '),
    'p_is_r', vaivem.key_list('p.k%2$s %3$s r.%1$I', p_key, o.operators, ' and '),
    'n_is_r', vaivem.key_list('n.%1$I %3$s r.%1$I', p_key, o.operators, ' and '),
    'may_be_emptied', (e.columns is not null)::text,
    'emptied', coalesce(e.columns, 'false'),
    'o_is_r', vaivem.key_list('o.%1$I %3$s r.%1$I', p_key, o.operators, ' and '),
    -- Without the type's name, which may change, and without a domain's opinion of null.
    'gone_nulls', vaivem.key_list('case when false then gone.k%2$s end', p_key),
    'r_nulls', vaivem.key_list('case when false then r.k%2$s end', p_key),
    'operators_are_there', case when cardinality(array_remove(o.oids, null)) = 0 then 'true' else format(
      '(select count(*) from pg_operator e where (e.oid, e.oprnamespace) in (%s)) = %s',
      (select string_agg(format('(%s::oid, %s::oid)', e.oid, e.oprnamespace::oid), ', ') from pg_operator e where e.oid = any (o.oids)),
      (select count(distinct u.oid) from unnest(o.oids) as u (oid) where u.oid is not null)) end)
  from (select vaivem.key_operators(p_target, p_key) as operators, vaivem.key_operator_oids(p_target, p_key) as oids) o
  cross join (
    select case when count(*) > 0 then format('row(%s)::record *<> row(%s)::record', string_agg(format('n.%I', a.attname), ', ' order by a.attnum),
      string_agg(format('r.%I', a.attname), ', ' order by a.attnum)) end as columns
    from pg_attribute a
    where a.attrelid = p_target and a.attname <> all (p_key) and exists (
      select from pg_constraint f where f.conrelid = p_target and f.contype = 'f' and f.confdeltype in ('n', 'd')
        and a.attnum = any (f.conkey))) e
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
      and (a.attname, a.atttypid) in ({key_attributes})) <> {key_count} or not {operators_are_there} then
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
    -- What nobody on the other side has seen yet, and a foreign key's SET NULL took from it, goes into the journal.
    -- PostgreSQL runs our trigger after its own, as if nobody had called it, so the columns have to tell.
    if merging then
      if {may_be_emptied} then
        insert into vaivem.conflicts (table_schema, table_name, key, reason, lost_operation, lost)
        select {schema_literal}, {table_literal}, array[{r_text}], 'cascade', 'UPSERT', {r_row}
        from old_rows r join new_rows n on {n_is_r}
        where {emptied} and exists (select from {queue} p where {p_is_r})
          and not exists (select from pg_temp.vaivem_stage s where {s_is_r});
      end if;
      insert into {queue} (operation, {k}, bounces) select 'UPDATE', {r}, next_bounce from new_rows r
      where not exists (select from pg_temp.vaivem_stage s where {s_is_r});
    else
      if in_sync and {may_be_emptied} then
        insert into vaivem.conflicts (table_schema, table_name, key, reason, lost_operation, lost)
        select {schema_literal}, {table_literal}, array[{r_text}], 'cascade', 'UPSERT', {r_row}
        from old_rows r join new_rows n on {n_is_r}
        where {emptied} and exists (select from {queue} p where {p_is_r});
      end if;
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
    select 'DELETE', {gone_k}, {gone_nulls}, next_bounce from gone
    union all
    select 'UPDATE', {r_k}, {r_nulls}, next_bounce from r where exists (select from o where {ok_is_rk})
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
      and (a.attname, a.atttypid) in ({key_attributes})) <> {key_count} or not {operators_are_there} then
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
      if in_sync and {may_be_emptied} then
        r := old;
        insert into vaivem.conflicts (table_schema, table_name, key, reason, lost_operation, lost)
        select {schema_literal}, {table_literal}, array[{r_text}], 'cascade', 'UPSERT', {r_row}
        from (select new.*) n
        where {emptied} and exists (select from {queue} p where {p_is_r});
        r := new;
      end if;
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

create or replace function vaivem.fingerprints(p_schemas text[], p_tables text[]) returns table (n bigint, print text)
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- Changes whenever a table's columns, the names of their types, constraints, triggers, its first rule or partitions do,
-- or anything of our capture on it. Tables that are not there are left out. One statement for all of them: 1,000 tables are planned once.
  select asked.n, md5(concat_ws('|',
    session_user,
    c.oid, c.relkind, c.relhasrules, c.relrowsecurity, c.relforcerowsecurity,
    (select string_agg(concat_ws(',', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef,
                                 a.attgenerated, a.attidentity, a.xmin,
                                 case when a.atttypid >= 16384 then format_type(a.atttypid, null) end), ';' order by a.attnum)
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
       left join pg_trigger g on g.tgrelid = t.relid
         -- PostgreSQL 14 calls those internal that it clones from the partitioned table.
         and (not g.tgisinternal or g.tgparentid <> 0)) end,
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

create function vaivem.forget_unreadable(p_schema text, p_table text, p_types text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Takes keys out of the quarantine that can't be read as the types that keys have now. What was pending of them is pending
-- still, by the text that it has now, and is tried again by that.
declare
  held record;
begin
  for held in
    select q.id, q.key from vaivem.quarantine q where q.table_schema = p_schema and q.table_name = p_table
  loop
    begin
      execute (select format('select %s', string_agg(format('($1)[%s]::%s', n, type), ', '))
               from unnest(p_types) with ordinality as t (type, n)) using held.key;
    exception when data_exception then
      delete from vaivem.quarantine q where q.id = held.id;
    end;
  end loop;
end
$fn$;

create or replace function vaivem.ask(
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
  readable bigint;
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
        begin
          execute format($sql$
            select exists (select from %1$s p where not exists (
                select from vaivem.quarantine q
                where q.table_schema = $1 and q.table_name = $2 and q.key = %2$s)),
              (select count(*) from vaivem.quarantine q
               where q.table_schema = $1 and q.table_name = $2
                 and (q.next_attempt_at <= clock_timestamp()
                   or q.change_id < (select max(p.change_id) from %1$s p where %3$s))),
              -- For the error of a key that can't be read, which the others may not come upon.
              (select count(row(%4$s)) from vaivem.quarantine q where q.table_schema = $1 and q.table_name = $2)$sql$,
            known.queue, vaivem.key_texts(known.key_types, 'p'),
            vaivem.key_matches(vaivem.queue_types(known.stem), 'p', 'q.key'),
            (select string_agg(format('(q.key)[%s]::%s', n, type), ', ')
             from unnest(vaivem.queue_types(known.stem)) with ordinality as t (type, n)))
          into has_pending, is_due, readable using known.schema, known.name;
        exception when data_exception then
          -- A key that was noted by a text that its type doesn't take any more, as a label of an enum that was renamed.
          perform vaivem.forget_unreadable(known.schema, known.name, vaivem.queue_types(known.stem));
          has_pending := true;
        end;
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

create or replace function vaivem.make_touch(p_target regclass, p_stem text, p_schema text, p_table text, p_stamp text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Bumps the stamp column when an update leaves it unchanged. The column is looked at in the function and not in a WHEN
-- clause, which would make the app's own ALTER TABLE … DROP COLUMN and ALTER TYPE fail.
declare
  name text;
  now_expression text;
  type oid;
begin
  perform vaivem.drop_triggers(p_target, '%vaivem\_touch');
  execute format('drop function if exists vaivem.%I()', p_stem || '_touch');
  if p_stamp is null then
    return;
  end if;
  select case when a.atttypid = 'timestamp'::regtype then 'clock_timestamp() at time zone ''UTC''' else 'clock_timestamp()' end,
    a.atttypid
  into strict now_expression, type
  from pg_attribute a where a.attrelid = p_target and a.attname = p_stamp and not a.attisdropped;
  execute vaivem.fill($sql$
create function {function}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
  if {in_sync} then
    return new;
  end if;
  begin
    if pg_typeof(new.{stamp})::oid = {type} and old.{stamp} is not distinct from new.{stamp} then
      new.{stamp} := {now};
    end if;
  exception when others then
    -- The stamp column was renamed or retyped since, or its domain refuses this time: the app's write must not fail for it.
    return new;
  end;
  return new;
end
$body$$sql$, jsonb_build_object('function', format('vaivem.%I', p_stem || '_touch'),
    'in_sync', vaivem.in_sync(p_schema, p_table), 'stamp', quote_ident(p_stamp), 'now', now_expression, 'type', type));
  name := vaivem.last_name(p_target, '~~vaivem_touch');
  execute format('create trigger %I before update on %s for each row execute function vaivem.%I()',
    name, p_target, p_stem || '_touch');
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
  begin
    execute {insert_literal} || tg_relid::regclass || ' r';
  exception when others then
    -- The table may belong to another role by now, whose rows we may not read.
    begin
      insert into vaivem.missed (table_schema, table_name) values ({schema_literal}, {table_literal});
    exception when others then
      return null;
    end;
  end;
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

alter table vaivem.pairs replica identity full;
alter table vaivem.missed replica identity full;
