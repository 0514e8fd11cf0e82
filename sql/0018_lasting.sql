-- Long life. What capture costs an app's write, once more: the usual one, of one row by the app, takes two statements and next to no
-- expression of PL/pgSQL, each of which is prepared anew in every transaction. A queue that nobody reads any more is folded
-- to one change a key. And the journal doesn't grow for ever.

alter table vaivem.pairs
  add read_at timestamptz not null default clock_timestamp(),
  add abandoned_after interval default '30 days',
  add queue_max bigint default 1000000000;
comment on column vaivem.pairs.read_at is 'When the queues were read last: noted when that was a day ago, or a thirtieth of abandoned_after.';
comment on column vaivem.pairs.abandoned_after is 'Unread for so long, queues are folded to one change a key; null never.';
comment on column vaivem.pairs.queue_max is 'And so are those with more bytes, index and all, while no service is connected; null never.';

create table vaivem.folded (
  table_schema text not null,
  table_name text not null,
  folded_at timestamptz not null default clock_timestamp()
);
comment on table vaivem.folded is 'Tables whose queue was folded since it was read last. May name one twice.';
-- With a publication FOR ALL TABLES, rows of a table without a replica identity can't be deleted.
alter table vaivem.folded replica identity full;

create function vaivem.read_queues(p_abandoned_after_ms bigint, p_queue_max bigint) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Notes that the queues are being read and what is to become of them if they aren't any more; null is never. Answers which
-- were folded meanwhile, and since when they had not been read; null when none was.
declare
  after interval := p_abandoned_after_ms * interval '1 millisecond';
  since timestamptz;
  names jsonb;
begin
  select p.read_at into since from vaivem.pairs p;
  -- Written once a day, not with every question.
  update vaivem.pairs p set read_at = clock_timestamp(), abandoned_after = after, queue_max = p_queue_max
  where p.read_at < clock_timestamp() - least(after / 30, interval '1 day')
    or p.abandoned_after is distinct from after or p.queue_max is distinct from p_queue_max;
  if pg_relation_size('vaivem.folded') > 0 then
    with told as (delete from vaivem.folded returning table_schema, table_name)
    select jsonb_agg(distinct jsonb_build_object('schema', t.table_schema, 'name', t.table_name)) into names from told t;
  end if;
  return case when names is not null then jsonb_build_object('since', to_char(since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'tables', names) end;
end
$fn$;

create function vaivem.fold(p_queue regclass, p_written bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '10ms'
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $fn$
-- If the queue is abandoned, looks at some of its pages, five rows or so for each one that was just written, and deletes the
-- changes there that a newer one of the same key stands for. Where it looks is left to chance, so nothing must be noted that
-- two of the app's transactions could wait for; what another one deletes just now is passed over. The newest change of a
-- key stays, with the latest time, and so does the one that knows the old key of a changed one. Whatever happens, the app's
-- write must not fail for it.
declare
  pages bigint := pg_relation_size(p_queue) / current_setting('block_size')::bigint;
  started timestamptz := clock_timestamp();
  keys text[];
  statement text;
  page bigint;
  deleted bigint;
  folded bigint := 0;
begin
  if pages = 0 or not exists (select from vaivem.pairs p
    where p.read_at + p.abandoned_after < started or pg_total_relation_size(p_queue) > p.queue_max)
  then
    return;
  end if;
  -- Under SERIALIZABLE, what is read here would be an obstacle to other transactions of the app. And a service that is
  -- connected reads by itself: what it has claimed must not be gone when it acknowledges that.
  if current_setting('transaction_isolation') = 'serializable' or exists (
    select from pg_stat_activity a where a.datname = current_database() and a.application_name = 'vaivem')
  then
    return;
  end if;
  select array_agg(a.attname::text order by a.attnum) into keys
  from pg_attribute a where a.attrelid = p_queue and a.attname ~ '^k[0-9]+$' and not a.attisdropped;
  statement := format('with old as (
      select p.ctid as place from %1$s p
      where p.ctid >= $1 and p.ctid < $2 and exists (select from %1$s n
        where %2$s and n.change_id > p.change_id and n.changed_at >= p.changed_at and n.operation <> ''MARK''
          and (p.was1 is null or n.was1 is not null))
      for update of p skip locked)
    delete from %1$s p using old where p.ctid = old.place',
    p_queue, vaivem.key_list('n.%1$I %3$s p.%1$I', keys, vaivem.key_operators(p_queue, keys), ' and '));
  for step in 1 .. (p_written + 255) / 256 loop
    page := floor(random() * pages);
    execute statement using format('(%s,0)', page)::tid, format('(%s,0)', page + 16)::tid;
    get diagnostics deleted = row_count;
    folded := folded + deleted;
    exit when clock_timestamp() > started + interval '1 second';
  end loop;
  if folded > 0 then
    insert into vaivem.folded (table_schema, table_name)
    select t.table_schema, t.table_name from vaivem.tables t
    where t.stem || '_pending' = (select c.relname from pg_class c where c.oid = p_queue) and not exists (
      select from vaivem.folded f where f.table_schema = t.table_schema and f.table_name = t.table_name);
  end if;
exception when others then
  return;
end
$fn$;

create function vaivem.prune(p_conflicts_ms bigint) returns void
language sql set search_path = pg_catalog, pg_temp as $fn$
-- Old conflicts, restored or not, no more than 50,000 at once; and what visits cost more than two years ago.
  delete from vaivem.conflicts where ctid = any (array(
    select c.ctid from vaivem.conflicts c where c.decided_at < clock_timestamp() - p_conflicts_ms * interval '1 millisecond'
    order by c.decided_at limit 50000));
  delete from vaivem.traffic where month < clock_timestamp() - interval '2 years'
$fn$;

create or replace function vaivem.capture_names(p_target regclass, p_stem text, p_schema text, p_table text, p_key text[])
returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- What the templates of the trigger functions below are filled with.
  select jsonb_build_object(
    'function', format('vaivem.%I', p_stem || '_capture'),
    -- Whoever drops the queue holds its sequence before: a write that waited for that only then would be a deadlock.
    'sequence', pg_get_serial_sequence(format('vaivem.%I', p_stem || '_pending'), 'change_id'),
    'installer', quote_literal(session_user),
    -- Null, too, is no.
    'syncing', format('session_user = %L and current_setting(''vaivem.applying'', true) <> ''''', session_user),
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
    -- The same of a row, and of its keys by their numbers: a key column that was retyped is another one to us.
    'r_fits', (select string_agg(format('pg_typeof(r.%I) = %s::oid', a.attname, a.atttypid::oid), ' and ')
      from pg_attribute a where a.attrelid = p_target and a.attname = any (p_key) and not a.attisdropped),
    'rk_fits', (select string_agg(format('pg_typeof(r.k%s) = %s::oid', k.number, a.atttypid::oid), ' and ' order by k.number)
      from unnest(p_key) with ordinality as k (name, number)
      join pg_attribute a on a.attrelid = p_target and a.attname = k.name and not a.attisdropped),
    -- Locks both until the transaction ends, and reads nothing: the planner leaves it out, but not what it would lock.
    'locked', format('null from vaivem.%I, %s where false', p_stem || '_pending',
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
  -- What is to be done: 1 or 2 as most often, a single row that the app wrote without changing its key, in new_rows or
  -- old_rows; 0 to look closer; null nothing. All of it is found out in one statement, because a PL/pgSQL expression
  -- is prepared anew in each transaction, 1 µs, and so is each node of a plan.
  path integer;
  in_sync boolean;
  merging boolean;
  next_bounce smallint;
  rekeyed boolean;
  nested text;
  written bigint;
begin
  -- What the app writes must not fail because of us. In a block that writes nothing, and so takes no transaction number, the
  -- queue is locked against being dropped and the rows are looked at. A queue that is gone, or another key, is noticed by the
  -- next cycle; a lock that can't be had is noted, for the same comparison. One time in 256 it is looked whether
  -- anybody still reads the queue.
  begin
    if tg_op = 'UPDATE' then
      select case when {is_ours} and {rk_fits} and {operators_are_there}
        then case when ({syncing}) is true or r.more or not ({ok_is_rk}) or random() < 1.0 / 256 then 0 else 1 end end
      into path
      from (select {t_as_k}, lead(true, 1, false) over () as more from new_rows t) r
      cross join (select {t_as_k} from old_rows t) o
      union all select {locked} limit 1;
    elsif tg_op = 'INSERT' then
      select case when {is_ours} and {rk_fits} and {operators_are_there}
        then case when ({syncing}) is true or r.more or random() < 1.0 / 256 then 0 else 1 end end
      into path
      from (select {t_as_k}, lead(true, 1, false) over () as more from new_rows t) r
      union all select {locked} limit 1;
    else
      select case when {is_ours} and {rk_fits} and {operators_are_there}
        then case when ({syncing}) is true or r.more or random() < 1.0 / 256 then 0 else 2 end end
      into path
      from (select {t_as_k}, lead(true, 1, false) over () as more from old_rows t) r
      union all select {locked} limit 1;
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
  if path = 1 then
    insert into {queue} (operation, {k}) select tg_op, {r} from new_rows r;
    return null;
  elsif path = 2 then
    insert into {queue} (operation, {k}) select tg_op, {r} from old_rows r;
    return null;
  elsif path is null then
    return null;
  end if;

  -- The mark is transaction-local, names the table being merged, and counts only for the role that installed us:
  -- any role can set such a setting.
  in_sync := ({syncing}) is true;
  -- What the merge itself writes is in its stage, and comes from no deeper than one trigger. Everything else in that
  -- transaction, a cascade's deletes and a user trigger's writes, is an ordinary change.
  merging := in_sync and pg_trigger_depth() = 1 and current_setting('vaivem.applying', true) = {table};
  next_bounce := 0;
  if in_sync then
    next_bounce := 1 + coalesce(nullif(current_setting('vaivem.bounces', true), ''), '0')::smallint;
  end if;
  -- A plan that was made for a statement of one row is kept for one of 200,000, and comparing old with new keys by nested
  -- loops then took over 10 minutes instead of a second. As a setting of the function it cost every write 4 µs.
  nested := current_setting('enable_nestloop');
  perform set_config('enable_nestloop', 'off', true);
  rekeyed := false;
  if tg_op = 'UPDATE' then
    rekeyed := exists (select from old_rows o where not exists (select from new_rows r where {o_is_r}));
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
  get diagnostics written = row_count;
  perform set_config('enable_nestloop', nested, true);
  if not in_sync and (written = 1 or random() * 256 < written) then
    perform vaivem.fold({queue_name}::regclass, written);
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
    perform {locked};
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
  if not in_sync and random() < 1.0 / 256 then
    perform vaivem.fold({queue_name}::regclass, 1);
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

create or replace function vaivem.make_touch(p_target regclass, p_stem text, p_schema text, p_table text, p_stamp text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Bumps the stamp column when an update leaves it unchanged. With the writer's own rights, for it needs none of ours and runs for
-- each row; but not with its search_path, where somebody's operator may lie in wait for our own writes. The column is looked at
-- in the function and not in a WHEN clause, which would make the app's own ALTER TABLE … DROP COLUMN and ALTER TYPE fail.
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
  select case when a.atttypid = 'timestamp'::regtype then 'pg_catalog.clock_timestamp() at time zone ''UTC''' else 'pg_catalog.clock_timestamp()' end,
    a.atttypid
  into strict now_expression, type
  from pg_attribute a where a.attrelid = p_target and a.attname = p_stamp and not a.attisdropped;
  execute vaivem.fill($sql$
create function {function}() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $body$
begin
  begin
    if pg_catalog.pg_typeof(new.{stamp})::pg_catalog.oid operator(pg_catalog.=) {type} and old.{stamp} is not distinct from new.{stamp}
      and ({in_sync}) is not true then
      new.{stamp} := {now};
    end if;
  exception when others then
    -- The stamp column was renamed or retyped since, or its domain refuses this time: the app's write must not fail for it.
    return new;
  end;
  return new;
end
$body$$sql$, jsonb_build_object('function', format('vaivem.%I', p_stem || '_touch'),
    'in_sync', replace(vaivem.in_sync(p_schema, p_table), 'current_setting', 'pg_catalog.current_setting'), 'stamp', quote_ident(p_stamp), 'now', now_expression, 'type', type));
  name := vaivem.last_name(p_target, '~~vaivem_touch');
  execute format('create trigger %I before update on %s for each row execute function vaivem.%I()',
    name, p_target, p_stem || '_touch');
end
$fn$;
