-- Taking over the changelog table of the older sync script, and putting everything back.

create function vaivem.adopt(p_schema text, p_table text, p_stem text, p_key text[], p_types text[]) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- The older system kept a TABLE <table>_changelog with a boolean column "synced", filled by a trigger. In one
-- transaction its trigger is disabled (it inserts by that name, so every write would fail), the table renamed and its
-- unsynced keys become pending. Answers null when there is no such table. Never drops anything.
declare
  old_name text := vaivem.changelog_name(p_table);
  old regclass := to_regclass(format('%I.%I', p_schema, old_name));
  target regclass := to_regclass(format('%I.%I', p_schema, p_table));
  new_name text := left(p_table, 40) || '_changelog_before_vaivem';
  trigger_name text;
  disabled text[] := '{}';
  key_column text;
  time_column text;
  adopted bigint := 0;
begin
  if old is null or (select c.relkind from pg_class c where c.oid = old) <> 'r' then
    return null;
  end if;
  if not exists (select from pg_attribute a where a.attrelid = old and a.attname = 'synced' and a.atttypid = 'bool'::regtype) then
    raise exception using errcode = 'VV002',
      message = format('table %I.%I exists already and is not of vaivem or of the older sync script; rename or drop it first', p_schema, old_name);
  end if;

  for trigger_name in
    select g.tgname from pg_trigger g join pg_proc f on f.oid = g.tgfoid
    where g.tgrelid = target and not g.tgisinternal and g.tgenabled <> 'D' and g.tgname not like 'vaivem\_%'
      and position(lower(old_name) in lower(f.prosrc)) > 0
  loop
    execute format('alter table %s disable trigger %I', target, trigger_name);
    disabled := disabled || trigger_name;
  end loop;
  while to_regclass(format('%I.%I', p_schema, new_name)) is not null loop
    new_name := new_name || '_';
  end loop;
  execute format('alter table %s rename to %I', old, new_name);

  -- The key: the one id column that is neither the changelog's own key nor a copy of one of the table's columns.
  if cardinality(p_key) = 1 then
    select case when count(*) = 1 then min(a.attname::text) end into key_column
    from pg_attribute a
    where a.attrelid = old and a.attnum > 0 and not a.attisdropped and a.attname like '%id%'
      and not exists (select from pg_attribute t where t.attrelid = target and t.attname = a.attname and not t.attisdropped)
      and not exists (select from pg_index i where i.indrelid = old and i.indisprimary and a.attnum = any (i.indkey));
    if key_column is null then
      -- Or the key's own name, where the changelog has another key of its own.
      select a.attname into key_column from pg_attribute a
      where a.attrelid = old and a.attname = p_key[1] and not a.attisdropped
        and not exists (select from pg_index i where i.indrelid = old and i.indisprimary and a.attnum = any (i.indkey));
    end if;
  end if;
  select a.attname into time_column from pg_attribute a
  where a.attrelid = old and a.attnum > 0 and not a.attisdropped
    and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype)
    and (a.attname in ('change_timestamp', 'changed_at')
      or not exists (select from pg_attribute t where t.attrelid = target and t.attname = a.attname and not t.attisdropped))
  order by a.attname in ('change_timestamp', 'changed_at') desc, a.attnum limit 1;
  if key_column is not null then
    -- Rows that are there become marks, like all that comparing finds: the other side's changes of that time were not
    -- logged either, so that what differs goes by the table's rule. What was deleted here only this log knows.
    execute format($sql$
      insert into vaivem.%I (operation, k1, changed_at)
      select case when t.there then 'MARK' else 'DELETE' end, k.key,
        case when t.there then '-infinity' else coalesce(k.changed_at, clock_timestamp()) end
      from (select c.%I::text::%s as key, %s as changed_at from %s c where c.synced is not true and c.%I is not null) k
      left join lateral (select true as there from %s t where t.%I = k.key) t on true$sql$,
      p_stem || '_pending', key_column, p_types[1], coalesce('c.' || quote_ident(time_column) || '::timestamptz', 'null'),
      old, key_column, target, p_key[1]);
    get diagnostics adopted = row_count;
  end if;
  update vaivem.tables
  set adopted = jsonb_build_object('name', old_name, 'renamed_to', new_name, 'triggers', to_jsonb(disabled))
  where stem = p_stem;
  return jsonb_build_object('renamed_to', new_name, 'keys', adopted);
end
$fn$;

create function vaivem.uncapture(p_schema text, p_table text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Removes all of ours for one table and puts back what was taken over. The table may be gone already.
declare
  known vaivem.tables;
  target regclass := to_regclass(format('%I.%I', p_schema, p_table));
  relation regclass;
  trigger_name text;
begin
  select * into known from vaivem.tables t where t.table_schema = p_schema and t.table_name = p_table;
  if known.stem is null then
    return;
  end if;
  if target is not null then
    for relation in select target union select t.relid from pg_partition_tree(target) t loop
      perform vaivem.drop_triggers(relation, '%vaivem\_%');
    end loop;
  end if;
  perform vaivem.drop_view(p_schema, p_table);
  execute format('drop table if exists vaivem.%I, vaivem.%I', known.stem || '_pending', known.stem || '_history');
  for trigger_name in select unnest(array['_capture', '_truncate', '_touch', '_guard_first', '_guard_last']) loop
    execute format('drop function if exists vaivem.%I()', known.stem || trigger_name);
  end loop;

  if known.adopted is not null and to_regclass(format('%I.%I', p_schema, known.adopted ->> 'renamed_to')) is not null then
    execute format('alter table %I.%I rename to %I', p_schema, known.adopted ->> 'renamed_to', known.adopted ->> 'name');
    if target is not null then
      for trigger_name in select jsonb_array_elements_text(known.adopted -> 'triggers') loop
        if exists (select from pg_trigger g where g.tgrelid = target and g.tgname = trigger_name) then
          execute format('alter table %s enable trigger %I', target, trigger_name);
        end if;
      end loop;
    end if;
  end if;
  delete from vaivem.quarantine q where q.table_schema = p_schema and q.table_name = p_table;
  delete from vaivem.conflicts c where c.table_schema = p_schema and c.table_name = p_table;
  delete from vaivem.tables t where t.table_schema = p_schema and t.table_name = p_table;
end
$fn$;
