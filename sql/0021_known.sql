-- A change of the other side is looked for in history by its own number, not by its key: what is applied has numbers that grow,
-- and an index that grows at its end. By key, each row that was applied went to another page of it: 4.6 µs, now 0.9.

create or replace function vaivem.make_changelog(p_schema text, p_table text, p_stem text, p_key text[], p_types text[])
returns void language plpgsql set search_path = pg_catalog, pg_temp as $fn$
declare
  columns text := (select string_agg(format('k%s %s not null', n, type), ', ' order by n)
                   from unnest(p_types) with ordinality as t (type, n));
  nullable text := (select string_agg(format('was%s %s', n, type), ', ' order by n)
                    from unnest(p_types) with ordinality as t (type, n));
  keys text := vaivem.key_list('k%2$s', p_key);
begin
  if to_regclass(format('vaivem.%I', p_stem || '_pending')) is null then
    -- One index: bulk writes of the app cost 1.4 times with one, 1.8 to 2.2 times with two. Change ids begin with the
    -- time in microseconds, because the other side's history knows those of an earlier queue of this table: one that
    -- came again would be taken for applied.
    execute format($sql$
      create table vaivem.%1$I (
        change_id bigint generated always as identity (start with %4$s),
        operation text not null,
        %2$s,
        %3$s,
        changed_at timestamptz not null default clock_timestamp(),
        bounces smallint not null default 0
      )$sql$, p_stem || '_pending', columns, nullable, floor(extract(epoch from clock_timestamp()) * 1000000));
    execute format('create index on vaivem.%I (%s, change_id)', p_stem || '_pending', keys);
    execute format('comment on table vaivem.%I is %L', p_stem || '_pending',
      format('Changes of %I.%I that are not acknowledged yet. was1… is the old key of a changed primary key.', p_schema, p_table));
  end if;
  if to_regclass(format('vaivem.%I', p_stem || '_history')) is null then
    execute format($sql$
      create table vaivem.%1$I (
        change_id bigint,
        source_change_id bigint,
        operation text not null,
        %2$s,
        changed_at timestamptz not null,
        origin text not null,
        synced_at timestamptz not null default clock_timestamp()
      )$sql$, p_stem || '_history', columns);
    execute format('create index on vaivem.%I (synced_at)', p_stem || '_history');
    execute format('create index on vaivem.%I (source_change_id) where source_change_id is not null', p_stem || '_history');
    execute format('comment on table vaivem.%I is %L', p_stem || '_history',
      format('Changes of %I.%I that were acknowledged, or applied from the other side (then source_change_id is its number there).',
        p_schema, p_table));
  end if;
end
$fn$;

do $do$
declare
  history regclass;
  by_key regclass;
begin
  for history in
    select to_regclass(format('vaivem.%I', t.stem || '_history')) from vaivem.tables t
  loop
    continue when history is null;
    for by_key in
      select i.indexrelid from pg_index i
      where i.indrelid = history and i.indpred is not null and i.indnatts > 1
    loop
      execute format('drop index %s', by_key);
    end loop;
    execute format('create index on %s (source_change_id) where source_change_id is not null', history);
  end loop;
end
$do$;
