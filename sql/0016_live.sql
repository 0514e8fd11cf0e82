-- Live mode: the app's changes are announced to a service that listens, at most a few between two looks of it. And what a
-- month's visits cost is counted, on Replit's side.
--
-- NOTIFY on every write would serialise the commits of all that write. So there is a gate, an advisory lock. A service
-- that rests holds it alone; every writer tries to share it, without waiting, and keeps it until its transaction ends.
-- Who gets it has nothing to announce: the service is awake, and can't rest before this transaction has ended and it has
-- looked again. Who doesn't get it announces. Nothing is written for it, and where no service listens nothing is
-- announced.

create function vaivem.gate_key() returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $fn$
  select hashtextextended('vaivem gate', 0)
$fn$;

create function vaivem.announce() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- One function for all tables; its arguments are the table's oid, its name and the role that installed us. Whatever
-- happens, the app's write must not fail for it.
begin
  if coalesce(pg_partition_root(tg_relid), tg_relid) <> tg_argv[0]::oid then
    return null;
  end if;
  -- What the sync applies itself is no news to it.
  if pg_trigger_depth() = 1 and current_setting('vaivem.applying', true) = tg_argv[1] and session_user = tg_argv[2] then
    return null;
  end if;
  if tg_op = 'DELETE' then
    if not exists (select from old_rows) then
      return null;
    end if;
  elsif tg_op <> 'TRUNCATE' then
    if not exists (select from new_rows) then
      return null;
    end if;
  end if;
  if pg_try_advisory_xact_lock_shared(hashtextextended('vaivem gate', 0)) then
    return null;
  end if;
  -- A transaction that has announced something can't be prepared, and fails when the queue of the whole server is full.
  if current_setting('max_prepared_transactions') = '0' and pg_notification_queue_usage() < 0.5 then
    perform pg_notify('vaivem', '');
  end if;
  return null;
exception when others then
  return null;
end
$fn$;

create function vaivem.announces(p_target regclass) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- How many triggers of a table and its partitions announce changes.
  select count(*)
  from (select p_target as relation union select t.relid from pg_partition_tree(p_target) t) r
  join pg_trigger g on g.tgrelid = r.relation and g.tgname like 'vaivem\_announce\_%' and g.tgenabled = 'A'
$fn$;

create function vaivem.announce_changes(p_schema text, p_table text, p_wanted boolean) returns text
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Has the changes of a captured table announced, or not any more; idempotent. Comes after vaivem.capture, in the same
-- transaction. Answers the table's fingerprint.
declare
  target regclass := to_regclass(format('%I.%I', p_schema, p_table));
  partitions bigint := (select count(*) from pg_partition_tree(target) t where t.relid <> target);
  wanted bigint := case when p_wanted then 4 * (1 + partitions) else 0 end;
  relation regclass;
  event record;
  print text;
begin
  if vaivem.announces(target) = wanted then
    return (select t.fingerprint from vaivem.tables t where t.table_schema = p_schema and t.table_name = p_table);
  end if;
  -- Statement triggers of a partitioned table don't fire for what is written into a partition directly.
  for relation in select target union select t.relid from pg_partition_tree(target) t loop
    perform vaivem.drop_triggers(relation, 'vaivem\_announce\_%');
    continue when not p_wanted;
    for event in
      select * from (values
        ('insert', 'referencing new table as new_rows'), ('update', 'referencing new table as new_rows'),
        ('delete', 'referencing old table as old_rows'), ('truncate', '')) e (name, rows)
    loop
      execute format('create trigger %I after %s on %s %s for each statement execute function vaivem.announce(%L, %L, %L)',
        'vaivem_announce_' || event.name, event.name, relation, event.rows, target::oid, format('%I.%I', p_schema, p_table),
        session_user);
      execute format('alter table %s enable always trigger %I', relation, 'vaivem_announce_' || event.name);
    end loop;
  end loop;
  update vaivem.tables t set fingerprint = vaivem.fingerprint(p_schema, p_table)
  where t.table_schema = p_schema and t.table_name = p_table returning t.fingerprint into print;
  return print;
end
$fn$;

create function vaivem.attend(p_schemas text[], p_tables text[], p_keeper boolean, p_closed boolean, p_anyway boolean)
returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Of a service that listens, on the session that does: closes the gate, and then looks which of the tables have changes
-- outside quarantine. In this order, for what was announced by nobody can be seen by now. Where something waits the gate
-- is opened again, unless p_anyway. Another service may keep the gate already: then this one hears what that one does.
declare
  keeper boolean := p_keeper or pg_try_advisory_lock(hashtextextended('vaivem gatekeeper', 0));
  closed boolean := p_closed or not keeper or pg_try_advisory_lock(vaivem.gate_key());
  known record;
  has_pending boolean;
  waiting bigint[] := '{}';
begin
  for known in
    select a.n, a.schema, a.name, t.key_types, to_regclass(format('vaivem.%I', t.stem || '_pending')) as queue,
      exists (select from vaivem.quarantine q where q.table_schema = a.schema and q.table_name = a.name) as quarantined
    from unnest(p_schemas, p_tables) with ordinality as a (schema, name, n)
    join vaivem.tables t on t.table_schema = a.schema and t.table_name = a.name
  loop
    continue when known.queue is null or pg_relation_size(known.queue) = 0;
    if not known.quarantined then
      execute format('select exists (select from %s)', known.queue) into has_pending;
    else
      execute format('select exists (select from %s p where not exists (select from vaivem.quarantine q
          where q.table_schema = $1 and q.table_name = $2 and q.key = %s))', known.queue, vaivem.key_texts(known.key_types, 'p'))
      into has_pending using known.schema, known.name;
    end if;
    if has_pending then
      waiting := waiting || known.n;
    end if;
  end loop;
  if keeper and closed and waiting <> '{}' and not p_anyway then
    perform pg_advisory_unlock(vaivem.gate_key());
    closed := false;
  end if;
  return jsonb_build_object('keeper', keeper, 'closed', closed, 'waiting', to_jsonb(waiting));
end
$fn$;

create table vaivem.traffic (
  month date not null,
  side text not null check (side in ('replit', 'external')),
  visits bigint not null,
  awake_ms bigint not null,
  bytes_in bigint not null,
  bytes_out bigint not null,
  visited_at timestamptz not null,
  primary key (month, side)
);
comment on table vaivem.traffic is 'What the sync''s visits to each side cost, a row a month. Replit''s side only.';
comment on column vaivem.traffic.awake_ms is 'For how long they kept it awake, if it sleeps after five minutes: estimated.';
comment on column vaivem.traffic.bytes_in is 'Received by the service, as the network had it; sent are bytes_out.';

create function vaivem.note_traffic(p_spent jsonb, p_sleeps_after_ms bigint) returns void
language sql set search_path = pg_catalog, pg_temp as $fn$
-- Adds up visits and bytes of both sides. A database is awake from each visit on until it sleeps, or is visited again.
  insert into vaivem.traffic as t (month, side, visits, awake_ms, bytes_in, bytes_out, visited_at)
  select date_trunc('month', clock_timestamp() at time zone 'UTC')::date, s.side, s.visits,
    coalesce((select least(p_sleeps_after_ms, floor(extract(epoch from clock_timestamp() - max(b.visited_at)) * 1000)::bigint)
              from vaivem.traffic b where b.side = s.side having count(*) > 0), 0), s.bytes_in, s.bytes_out, clock_timestamp()
  from jsonb_to_recordset(p_spent) as s (side text, visits bigint, bytes_in bigint, bytes_out bigint)
  on conflict (month, side) do update set visits = t.visits + excluded.visits, awake_ms = t.awake_ms + excluded.awake_ms,
    bytes_in = t.bytes_in + excluded.bytes_in, bytes_out = t.bytes_out + excluded.bytes_out,
    visited_at = excluded.visited_at
$fn$;
