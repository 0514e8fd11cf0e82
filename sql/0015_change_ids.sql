-- What change ids alone don't say: which of them were given twice, before a restore and after it, and which of them were
-- committed when the brake counted.

-- A side that went back in time gives change ids again that the other side's history knows as applied: a change made after
-- the restore passed for one of those, was acknowledged unseen, and the older row came back over it. So what stays pending is
-- given new ids. What is no change any more is dropped, not marked: comparing marks what differs, by what a person chose.

create or replace function vaivem.take_as_it_is(p_forgotten_until_ms bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- After a restore: every table is compared again. Of a side that went back, what was logged before the other side's last
-- cycle may have been synced since, so it is not a change any more.
declare
  stem text;
  queue regclass;
  others text;
  base bigint;
  kept bigint;
begin
  update vaivem.tables set contract = null;
  delete from vaivem.held;
  if p_forgotten_until_ms is null then
    return;
  end if;
  delete from vaivem.quarantine;
  for stem in select t.stem from vaivem.tables t loop
    queue := to_regclass(format('vaivem.%I', stem || '_pending'));
    continue when queue is null;
    execute format('lock table %s in share row exclusive mode', queue);
    execute format('delete from %s where changed_at <= to_timestamp($1 / 1000.0)', queue) using p_forgotten_until_ms;
    base := floor(extract(epoch from clock_timestamp()) * 1000000);
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum) into others
    from pg_attribute a where a.attrelid = queue and a.attnum > 0 and not a.attisdropped and a.attname <> 'change_id';
    execute format('with kept as (delete from %1$s returning *)
      insert into %1$s (change_id, %2$s) overriding system value
      select $1 + row_number() over (order by change_id), %2$s from kept', queue, others)
    using base;
    get diagnostics kept = row_count;
    execute format('alter table %s alter column change_id restart with %s', queue, base + kept + 1);
  end loop;
end
$fn$;

-- A transaction that had written when a table was held and commits later has ids below the newest that was counted, and would
-- pass as approved. So it is noted how many changes were counted, and which transactions were open; a hold from before is
-- counted anew by the next cycle.
alter table vaivem.held
  add changes bigint not null default 0,
  add writers text[] not null default '{}';
update vaivem.held set held_at = null;
comment on column vaivem.held.changes is 'Changes that were counted.';
comment on column vaivem.held.writers is 'Transactions that had written and were open then (pg_locks.virtualtransaction).';
