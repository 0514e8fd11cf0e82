-- What capture costs an app's write: one statement looks at all that must be there before the change is logged, and nothing is set
-- for what only the sync needs. An update of one row took 32 µs more than without capture, and takes 21 µs more (PostgreSQL 18).

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
    -- The same of a row: a key column that was retyped is another one to us.
    'r_fits', (select string_agg(format('pg_typeof(r.%I) = %s::oid', a.attname, a.atttypid::oid), ' and ')
      from pg_attribute a where a.attrelid = p_target and a.attname = any (p_key) and not a.attisdropped),
    -- Locks both until the transaction ends, and reads nothing.
    'locked', format('(select from vaivem.%I limit 0) q left join (select from %s limit 0) s on true', p_stem || '_pending',
      pg_get_serial_sequence(format('vaivem.%I', p_stem || '_pending'), 'change_id')),
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
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
#variable_conflict use_variable
declare
  -- The mark is transaction-local, names the table being merged, and counts only for the role that installed us:
  -- any role can set such a setting.
  in_sync boolean := session_user = {installer} and coalesce(current_setting('vaivem.applying', true), '') <> '';
  -- What the merge itself writes is in its stage, and comes from no deeper than one trigger. Everything else in that
  -- transaction, a cascade's deletes and a user trigger's writes, is an ordinary change.
  merging boolean := in_sync and pg_trigger_depth() = 1 and current_setting('vaivem.applying', true) = {table};
  next_bounce smallint := 0;
  fits boolean;
  rekeyed boolean := false;
  nested text;
begin
  if not ({is_ours}) then
    return null;
  end if;
  -- What the app writes must not fail because of us. In a block that writes nothing, and so takes no transaction number, the
  -- queue is locked against being dropped and the rows are looked at: one statement, for each costs an app's write some
  -- 5 µs. A queue that is gone, or another key, is noticed by the next cycle; a lock that can't be had is noted, for the same
  -- comparison.
  begin
    if tg_op = 'UPDATE' then
      -- Null of many rows: what EXCEPT hashes may not spill to disk.
      select {r_fits} and {operators_are_there},
        case when (select count(*) from (select from new_rows limit 101) c) < 101
          then exists (select {o} from old_rows o except select {r} from new_rows r) end
      into fits, rekeyed from new_rows r left join {locked} on true limit 1;
    elsif tg_op = 'INSERT' then
      select {r_fits} and {operators_are_there} into fits from new_rows r left join {locked} on true limit 1;
    else
      select {r_fits} and {operators_are_there} into fits from old_rows r left join {locked} on true limit 1;
    end if;
  exception
    when undefined_column then
      return null;
    when others then
      begin
        if to_regclass({queue_name}) is not null then
          insert into vaivem.missed (table_schema, table_name) values ({schema_literal}, {table_literal});
        end if;
      exception when others then
        return null;
      end;
      return null;
  end;
  -- Null: no row was written.
  if fits is not true then
    return null;
  end if;
  if in_sync then
    next_bounce := 1 + coalesce(nullif(current_setting('vaivem.bounces', true), ''), '0')::smallint;
  end if;
  if in_sync or rekeyed is not false then
    -- A plan that was made for a statement of one row is kept for one of 200,000, and comparing old with new keys by nested
    -- loops then took over 10 minutes instead of a second. As a setting of the function it cost every write 4 µs.
    nested := current_setting('enable_nestloop');
    perform set_config('enable_nestloop', 'off', true);
    if rekeyed is null then
      rekeyed := exists (select from old_rows o where not exists (select from new_rows r where {o_is_r}));
    end if;
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

  elsif not rekeyed then
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
  if nested is not null then
    perform set_config('enable_nestloop', nested, true);
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
  fits boolean;
  r record;
  o record;
begin
  if not ({is_ours}) then
    return null;
  end if;
  if tg_op = 'INSERT' then
    r := new;
  else
    r := old;
  end if;
  begin
    perform from {locked};
    fits := {r_fits} and {operators_are_there};
  exception
    when undefined_column then
      return null;
    when others then
      begin
        if to_regclass({queue_name}) is not null then
          insert into vaivem.missed (table_schema, table_name) values ({schema_literal}, {table_literal});
        end if;
      exception when others then
        return null;
      end;
      return null;
  end;
  if fits is not true then
    return null;
  end if;
  if in_sync then
    next_bounce := 1 + coalesce(nullif(current_setting('vaivem.bounces', true), ''), '0')::smallint;
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
