-- What the sync applies has its stamp: the touch trigger isn't called for it. A call, with its block that catches errors, took 2 of
-- the 15 µs of an update.

create or replace function vaivem.make_touch(p_target regclass, p_stem text, p_schema text, p_table text, p_stamp text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Bumps the stamp column when an update leaves it unchanged. With the writer's own rights, for it needs none of ours and runs for
-- each row; but not with its search_path, where somebody's operator may lie in wait for our own writes. The column is looked at
-- in the function and not in the WHEN clause, which would make the app's own ALTER TABLE … DROP COLUMN and ALTER TYPE fail.
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
    if pg_catalog.pg_typeof(new.{stamp})::pg_catalog.oid operator(pg_catalog.=) {type} and old.{stamp} is not distinct from new.{stamp} then
      new.{stamp} := {now};
    end if;
  exception when others then
    -- The stamp column was renamed or retyped since, or its domain refuses this time: the app's write must not fail for it.
    return new;
  end;
  return new;
end
$body$$sql$, jsonb_build_object('function', format('vaivem.%I', p_stem || '_touch'), 'stamp', quote_ident(p_stamp),
    'now', now_expression, 'type', type));
  name := vaivem.last_name(p_target, '~~vaivem_touch');
  execute format('create trigger %I before update on %s for each row when ((%s) is not true) execute function vaivem.%I()',
    name, p_target, vaivem.in_sync(p_schema, p_table), p_stem || '_touch');
end
$fn$;
