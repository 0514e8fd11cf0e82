-- Triggers that keep the stamp true and the user's own triggers out of the sync's way (promise 11).

create function vaivem.in_sync(p_schema text, p_table text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $fn$
-- The text of the condition "this is the sync merging this very table": the mark is transaction-local and names the
-- table, and it counts only for the role that installed us, because any role can set such a setting.
  select format('session_user = %L and current_setting(''vaivem.applying'', true) = %L', session_user,
    format('%I.%I', p_schema, p_table))
$fn$;

create function vaivem.last_name(p_target regclass, p_name text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $fn$
-- A trigger name that sorts after all of the table's other BEFORE ROW triggers: they fire in the order of their names.
declare
  greatest_other text := (select max(g.tgname::text collate "C") from pg_trigger g
    where g.tgrelid = p_target and not g.tgisinternal and (g.tgtype & 3) = 3 and g.tgname not like '%vaivem\_%');
begin
  if greatest_other collate "C" >= p_name then
    return left(greatest_other, 30) || '~' || p_name;
  end if;
  return p_name;
end
$fn$;

create function vaivem.first_name(p_target regclass, p_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- A trigger name that sorts before all of the table's other BEFORE ROW triggers: with one space more than any of them.
  select repeat(' ', 1 + coalesce(max(octet_length(g.tgname) - octet_length(ltrim(g.tgname, ' '))), 0)) || p_name
  from pg_trigger g
  where g.tgrelid = p_target and not g.tgisinternal and (g.tgtype & 3) = 3 and g.tgname not like '%vaivem\_%'
$fn$;

create function vaivem.drop_triggers(p_target regclass, p_like text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
declare
  name text;
begin
  for name in select g.tgname from pg_trigger g join pg_proc f on f.oid = g.tgfoid
    where g.tgrelid = p_target and not g.tgisinternal and g.tgparentid = 0 and g.tgname like p_like
      and f.pronamespace = 'vaivem'::regnamespace
  loop
    execute format('drop trigger %I on %s', name, p_target);
  end loop;
end
$fn$;

create function vaivem.make_touch(p_target regclass, p_stem text, p_schema text, p_table text, p_stamp text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Bumps the stamp column when an update leaves it unchanged. The column is looked at in the function and not in a WHEN
-- clause, which would make the app's own ALTER TABLE … DROP COLUMN and ALTER TYPE fail.
declare
  name text;
  now_expression text;
begin
  perform vaivem.drop_triggers(p_target, '%vaivem\_touch');
  execute format('drop function if exists vaivem.%I()', p_stem || '_touch');
  if p_stamp is null then
    return;
  end if;
  select case when a.atttypid = 'timestamp'::regtype then 'clock_timestamp() at time zone ''UTC''' else 'clock_timestamp()' end
  into strict now_expression
  from pg_attribute a where a.attrelid = p_target and a.attname = p_stamp and not a.attisdropped;
  execute vaivem.fill($sql$
create function {function}() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
  if {in_sync} then
    return new;
  end if;
  begin
    if old.{stamp} is not distinct from new.{stamp} then
      new.{stamp} := {now};
    end if;
  exception when undefined_column or datatype_mismatch or invalid_datetime_format or cannot_coerce then
    -- The stamp column was renamed or retyped since: the app's write must not fail for it.
    return new;
  end;
  return new;
end
$body$$sql$, jsonb_build_object('function', format('vaivem.%I', p_stem || '_touch'),
    'in_sync', vaivem.in_sync(p_schema, p_table), 'stamp', quote_ident(p_stamp), 'now', now_expression));
  name := vaivem.last_name(p_target, '~~vaivem_touch');
  execute format('create trigger %I before update on %s for each row execute function vaivem.%I()',
    name, p_target, p_stem || '_touch');
end
$fn$;

create function vaivem.make_guard(p_target regclass, p_stem text, p_schema text, p_table text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- On tables with BEFORE ROW triggers of the user, and only there: while the sync applies, the first of this pair notes
-- the row as it came and the last puts it back, so that what is applied is what was sent. Costs 19 µs a row.
declare
  users boolean := exists (select from pg_trigger g join pg_proc f on f.oid = g.tgfoid
    where g.tgrelid = p_target and not g.tgisinternal and (g.tgtype & 3) = 3 and g.tgtype & 20 <> 0
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
