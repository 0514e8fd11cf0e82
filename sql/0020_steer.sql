-- What people say about the sync: a table, or all of them, is paused until they say otherwise; and a conflict is as it
-- should be, or was decided anew.

alter table vaivem.tables add paused_at timestamptz;
comment on column vaivem.tables.paused_at is 'When a person paused it: it is captured, and nothing of it is synced. Null when it goes on. Replit''s side only.';
alter table vaivem.pairs add paused_at timestamptz;
comment on column vaivem.pairs.paused_at is 'The same of all tables, those too that are set up later.';

alter table vaivem.conflicts add kept_at timestamptz;
comment on column vaivem.conflicts.kept_at is 'When a person said that it stays as it was decided, or decided it anew: it is undecided no more, and can be restored all the same.';
alter table vaivem.ledger_conflicts add kept_at timestamptz;

create or replace function vaivem.waiting(p_schemas text[], p_tables text[], p_most bigint) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- How many changes wait in each queue, counted no further than p_most, which tables are held, and which are paused: by
-- place in the question to both. Tables without any are left out, so the answer about 1,000 idle tables is empty. "all":
-- every table is paused.
declare
  known record;
  waiting bigint;
  answers jsonb := '{}';
begin
  for known in
    select a.n, to_regclass(format('vaivem.%I', t.stem || '_pending')) as queue, t.paused_at is not null as paused,
      exists (select from vaivem.held h
        where h.table_schema = a.schema and h.table_name = a.name and h.held_at is not null) as held
    from unnest(p_schemas, p_tables) with ordinality as a (schema, name, n)
    join vaivem.tables t on t.table_schema = a.schema and t.table_name = a.name
  loop
    waiting := 0;
    if p_most > 0 and known.queue is not null and pg_relation_size(known.queue) > 0 then
      execute format('select count(*) from (select from %s limit $1) p', known.queue) into waiting using p_most;
    end if;
    if waiting > 0 or known.held or known.paused then
      answers := answers || jsonb_build_object(known.n, jsonb_build_array(waiting, known.held, known.paused));
    end if;
  end loop;
  if exists (select from vaivem.pairs p where p.paused_at is not null) then
    answers := answers || '{"all": true}';
  end if;
  return answers;
end
$fn$;
