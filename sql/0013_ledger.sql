-- The ledger: what is known of an external database on which nothing may be installed (EXTERNAL_CAPTURE=timestamp). It is
-- kept in Replit's database; in external's these tables stay empty. Keys are arrays of their texts, because the types are
-- external's, which this database may not have.

create table vaivem.ledger (
  host text not null,
  port integer not null,
  database text not null,
  id uuid,
  peer uuid,
  confirmed boolean not null default false,
  committed bigint,
  kept_since timestamptz not null default clock_timestamp()
);
create unique index ledger_one_row on vaivem.ledger ((true));
comment on table vaivem.ledger is 'Which external database the ledger is about. One row, Replit''s side only, like all that is named ledger.';
comment on column vaivem.ledger.committed is 'Number of the last transaction that the sync committed there: where it is yet to come, external went back in time.';

create table vaivem.ledger_tables (
  id integer generated always as identity primary key,
  table_schema text not null,
  table_name text not null,
  key_columns text[] not null,
  stamp text,
  fingerprint text not null,
  storage text not null,
  contract text,
  columns jsonb,
  low_us bigint not null,
  swept_at timestamptz,
  emptied_id bigint not null default 0,
  captured_at timestamptz not null default clock_timestamp(),
  unique (table_schema, table_name)
);
comment on table vaivem.ledger_tables is 'Tables of external whose changes are found by their stamps.';
comment on column vaivem.ledger_tables.low_us is 'Rows with an earlier stamp, in microseconds since 1970, are not looked at any more.';
comment on column vaivem.ledger_tables.swept_at is 'When keys were compared last, to find deletes.';
comment on column vaivem.ledger_tables.emptied_id is 'Newest delete of a sweep that found the whole table empty; 0 without one.';

do $do$
begin
  -- Replit's history knows change ids of earlier ledgers: see vaivem.make_changelog.
  execute format($sql$
    create table vaivem.ledger_pending (
      change_id bigint generated always as identity (start with %s) primary key,
      table_id integer not null references vaivem.ledger_tables on delete cascade,
      operation text not null,
      key text[] collate "C" not null,
      changed_at timestamptz not null default clock_timestamp(),
      bounces smallint not null default 0
    )$sql$, floor(extract(epoch from clock_timestamp()) * 1000000));
end
$do$;
create index on vaivem.ledger_pending (table_id, key, change_id);
comment on table vaivem.ledger_pending is 'Changes of external that are not acknowledged yet.';

create table vaivem.ledger_history (
  table_id integer not null references vaivem.ledger_tables on delete cascade,
  key text[] collate "C" not null,
  source_change_id bigint not null,
  synced_at timestamptz not null default clock_timestamp()
);
create index on vaivem.ledger_history (table_id, key, source_change_id);
create index on vaivem.ledger_history (synced_at);
comment on table vaivem.ledger_history is 'Replit''s changes that were applied on external.';

create table vaivem.ledger_seen (
  table_id integer not null references vaivem.ledger_tables on delete cascade,
  key text[] collate "C" not null,
  stamp_us bigint not null,
  newest boolean not null,
  primary key (table_id, key, stamp_us)
);
comment on table vaivem.ledger_seen is 'Versions of external''s rows since low_us that are pending, were acknowledged, or are the sync''s own.';
comment on column vaivem.ledger_seen.newest is 'The one that the row had when it was looked at last.';

create table vaivem.ledger_conflicts (like vaivem.conflicts including all);
comment on table vaivem.ledger_conflicts is 'Versions of rows on external that lost, as vaivem.conflicts keeps them.';

create table vaivem.ledger_quarantine (like vaivem.quarantine including all);
comment on table vaivem.ledger_quarantine is 'Pending changes of external that Replit refused, as vaivem.quarantine keeps them.';

-- Keys come and go as the texts of arrays: '{a,"b c"}'. Taking them apart as JSON took 0.1 ms each.

create function vaivem.ledger_notice(p_table integer, p_rows jsonb, p_bounces smallint) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Versions that nobody has seen are changes. p_rows: pairs of a key and a stamp; earlier stamps than low_us are left out.
declare
  low bigint;
begin
  -- Held until COMMIT: two that notice the same at once would both take it for new, or one of them prune what the other adds.
  select t.low_us into low from vaivem.ledger_tables t where t.id = p_table for update;
  with fresh as (
    insert into vaivem.ledger_seen as s (table_id, key, stamp_us, newest)
    select distinct p_table, (r ->> 0)::text[], (r ->> 1)::bigint, true from jsonb_array_elements(p_rows) r
    where (r ->> 1)::bigint >= low
    on conflict do nothing
    returning s.key
  )
  insert into vaivem.ledger_pending (table_id, operation, key, bounces)
  select p_table, 'UPSERT', f.key, p_bounces from fresh f;
end
$fn$;

create function vaivem.ledger_scanned(p_table integer, p_rows jsonb, p_low bigint, p_changes boolean) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Takes in what a scan found: all rows with a stamp since low_us, or null when they are as they were. Without p_changes
-- they are how things stood when capture began, and no changes.
declare
  low bigint;
begin
  select t.low_us into low from vaivem.ledger_tables t where t.id = p_table for update;
  if p_rows is not null then
    with found as materialized (
      select distinct (r ->> 0)::text[] as key, (r ->> 1)::bigint as us from jsonb_array_elements(p_rows) r
      where (r ->> 1)::bigint >= low
    ), fresh as (
      insert into vaivem.ledger_seen as s (table_id, key, stamp_us, newest)
      select p_table, f.key, f.us, true from found f
      on conflict do nothing
      returning s.key
    ), gone as (
      update vaivem.ledger_seen s set newest = false
      where s.table_id = p_table and s.newest
        and not exists (select from found f where f.key = s.key and f.us = s.stamp_us)
    ), back as (
      update vaivem.ledger_seen s set newest = true
      from found f where s.table_id = p_table and not s.newest and s.key = f.key and s.stamp_us = f.us
    )
    insert into vaivem.ledger_pending (table_id, operation, key)
    select p_table, 'UPSERT', f.key from fresh f where p_changes;
  end if;
  if p_low is not null then
    update vaivem.ledger_tables t set low_us = p_low where t.id = p_table and t.low_us < p_low;
    delete from vaivem.ledger_seen s using vaivem.ledger_tables t
    where t.id = p_table and s.table_id = p_table and s.stamp_us < t.low_us;
  end if;
end
$fn$;

create function vaivem.ledger_entries(p_table integer, p_keys jsonb) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- What is known of some keys, or with null of all: to be brought to external for the length of a transaction.
  with keys as materialized (select distinct k::text[] as key from jsonb_array_elements_text(p_keys) k),
  pending as (
    select p.* from vaivem.ledger_pending p where p_keys is null and p.table_id = p_table
    union all
    select p.* from keys k join vaivem.ledger_pending p on p.table_id = p_table and p.key = k.key
  ), history as (
    select h.* from vaivem.ledger_history h where p_keys is null and h.table_id = p_table
    union all
    select h.* from keys k join vaivem.ledger_history h on h.table_id = p_table and h.key = k.key
  )
  select jsonb_build_object(
    'pending', (select coalesce(jsonb_agg(jsonb_build_array(p.change_id, p.operation, p.key::text, p.changed_at, p.bounces)), '[]')
                from pending p),
    'history', (select coalesce(jsonb_agg(jsonb_build_array(h.source_change_id, h.key::text)), '[]') from history h),
    'quarantine', (select coalesce(jsonb_agg(q), '[]') from vaivem.ledger_quarantine q, vaivem.ledger_tables t
      where t.id = p_table and q.table_schema = t.table_schema and q.table_name = t.table_name))
$fn$;

create function vaivem.ledger_look(p_table integer, p_rows jsonb, p_bounces smallint, p_keys jsonb) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- In two statements: the first may wait for another's transaction, and what that noticed must be among the answer.
begin
  if jsonb_array_length(p_rows) > 0 then
    perform vaivem.ledger_notice(p_table, p_rows, p_bounces);
  end if;
  return vaivem.ledger_entries(p_table, p_keys);
end
$fn$;

create function vaivem.ledger_next(p_table integer, p_after text[], p_keys bigint) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
set enable_hashagg = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off as $fn$
-- The next keys that are pending and not in quarantine, by the index, with all that is known of them. After an empty array
-- comes every key.
declare
  schema text;
  name text;
  keys jsonb;
  last text[];
begin
  select t.table_schema, t.table_name into schema, name from vaivem.ledger_tables t where t.id = p_table;
  select jsonb_agg(k.key::text), max(k.key) into keys, last
  from (
    select p.key from vaivem.ledger_pending p
    where p.table_id = p_table and p.key > coalesce(p_after, '{}')
      and not exists (select from vaivem.ledger_quarantine q
        where q.table_schema = schema and q.table_name = name and q.key = p.key)
    group by p.key order by p.key limit p_keys) k;
  if keys is null then
    return null;
  end if;
  return jsonb_build_object('looked', jsonb_array_length(keys), 'last', last,
    'entries', vaivem.ledger_entries(p_table, keys));
end
$fn$;

create function vaivem.ledger_intend(p_table integer, p_written jsonb, p_conflicts jsonb) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Before external commits: the versions that the sync wrote there are seen, those that a trigger made another row of are
-- pending, and losers are in the journal. Answers by which it can be taken back. p_written: key, stamp, whether it is
-- another row, and how often it bounced.
declare
  low bigint;
  changes jsonb;
begin
  select t.low_us into low from vaivem.ledger_tables t where t.id = p_table for update;
  with written as materialized (
    select (w ->> 0)::text[] as key, (w ->> 1)::bigint as us from jsonb_array_elements(p_written) w
    where (w ->> 1)::bigint >= low
  ), old as (
    update vaivem.ledger_seen s set newest = false from written w
    where s.table_id = p_table and s.newest and s.key = w.key and s.stamp_us <> w.us
  )
  insert into vaivem.ledger_seen (table_id, key, stamp_us, newest)
  select distinct p_table, w.key, w.us, true from written w
  on conflict (table_id, key, stamp_us) do update set newest = true;
  with noted as (
    insert into vaivem.ledger_pending (table_id, operation, key, bounces)
    select p_table, 'UPSERT', (w ->> 0)::text[], least((w ->> 3)::integer + 1, 255)
    from jsonb_array_elements(p_written) w where (w ->> 2)::boolean
    returning change_id
  )
  select coalesce(jsonb_agg(n.change_id), '[]') into changes from noted n;
  insert into vaivem.ledger_conflicts
  select c.* from jsonb_populate_recordset(null::vaivem.ledger_conflicts, p_conflicts) c
  -- What a foreign key took along is a loser only if it wasn't synced.
  where c.reason <> 'cascade' or exists (
    select from vaivem.ledger_tables t where t.table_schema = c.table_schema and t.table_name = c.table_name and (
      exists (select from vaivem.ledger_pending p where p.table_id = t.id and p.key = c.key)
      or extract(epoch from c.lost_stamp) * 1000000 >= t.low_us and not exists (
        select from vaivem.ledger_seen s where s.table_id = t.id and s.key = c.key
          and s.stamp_us = (extract(epoch from c.lost_stamp) * 1000000)::bigint)));
  return jsonb_build_object('changes', changes,
    'conflicts', (select coalesce(jsonb_agg(c -> 'id'), '[]') from jsonb_array_elements(p_conflicts) c));
end
$fn$;

create function vaivem.ledger_take_back(p_intent jsonb) returns void
language sql set search_path = pg_catalog, pg_temp as $fn$
-- External has not committed. What was noted as seen does no harm.
  delete from vaivem.ledger_pending p
  where p.change_id in (select i::bigint from jsonb_array_elements_text(p_intent -> 'changes') i);
  delete from vaivem.ledger_conflicts c
  where c.id in (select i::uuid from jsonb_array_elements_text(p_intent -> 'conflicts') i)
$fn$;

create function vaivem.ledger_settle(p_table integer, p_done jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- What a transaction on external left of the entries that were brought there.
begin
  if p_done ? 'committed' then
    update vaivem.ledger l set committed = greatest(l.committed, (p_done ->> 'committed')::bigint);
  end if;
  delete from vaivem.ledger_pending p
  where p.table_id = p_table
    and p.change_id in (select i::bigint from jsonb_array_elements_text(p_done -> 'settled') i);
  insert into vaivem.ledger_history (table_id, source_change_id, key)
  select p_table, (a ->> 0)::bigint, (a ->> 1)::text[] from jsonb_array_elements(p_done -> 'applied') a;
  if jsonb_array_length(p_done -> 'seen') > 0 then
    perform from vaivem.ledger_tables t where t.id = p_table for update;
    insert into vaivem.ledger_seen (table_id, key, stamp_us, newest)
    select distinct p_table, (s ->> 0)::text[], (s ->> 1)::bigint, true
    from jsonb_array_elements(p_done -> 'seen') s join vaivem.ledger_tables t on t.id = p_table
    where (s ->> 1)::bigint >= t.low_us
    on conflict (table_id, key, stamp_us) do update set newest = true;
  end if;
  delete from vaivem.ledger_quarantine q
  where q.id in (select i::uuid from jsonb_array_elements_text(p_done -> 'released') i);
  insert into vaivem.ledger_quarantine
  select q.* from jsonb_populate_recordset(null::vaivem.ledger_quarantine, p_done -> 'quarantine') q
  on conflict (table_schema, table_name, key) do update set change_id = excluded.change_id, message = excluded.message,
    attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at;
end
$fn$;

create function vaivem.ledger_mark(p_table integer, p_keys jsonb, p_operation text, p_changed_at timestamptz) returns void
language sql set search_path = pg_catalog, pg_temp as $fn$
  insert into vaivem.ledger_pending (table_id, operation, key, changed_at)
  select p_table, p_operation, k::text[], p_changed_at from jsonb_array_elements_text(p_keys) k
$fn$;
