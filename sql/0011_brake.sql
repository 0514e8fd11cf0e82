-- The brake: a table of which one cycle would take away too many rows is held until a person has looked. What is held is
-- noted here, on Replit's side, for both directions: up to which change, and how many rows it would concern.

create table vaivem.held (
  table_schema text not null,
  table_name text not null,
  side text not null check (side in ('replit', 'external')),
  change_id bigint not null,
  deletes bigint not null,
  overwrites bigint not null,
  rows bigint not null,
  held_at timestamptz,
  approved_id bigint not null default 0,
  primary key (table_schema, table_name, side),
  foreign key (table_schema, table_name) references vaivem.tables on delete cascade
);
comment on table vaivem.held is 'Tables that the brake held, two rows each. Replit''s side only.';
comment on column vaivem.held.side is 'Whose changes: the rows that they would delete or overwrite are the other side''s.';
comment on column vaivem.held.change_id is 'Newest change that was counted.';
comment on column vaivem.held.rows is 'Rows that the other side''s table had.';
comment on column vaivem.held.held_at is 'Null when it was approved or rejected.';
comment on column vaivem.held.approved_id is 'Changes up to this one pass without being counted.';

alter table vaivem.conflicts drop constraint conflicts_reason_check;
alter table vaivem.conflicts add constraint conflicts_reason_check
  check (reason in ('conflict', 'cascade', 'discard', 'restore', 'first-contact', 'rejected'));

create function vaivem.waiting(p_schemas text[], p_tables text[], p_most bigint) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- How many changes wait in each queue, counted no further than p_most, and which tables are held: place in the question
-- to both. Tables without either are left out, so the answer about 1,000 idle tables is empty.
declare
  known record;
  waiting bigint;
  answers jsonb := '{}';
begin
  for known in
    select a.n, to_regclass(format('vaivem.%I', t.stem || '_pending')) as queue,
      exists (select from vaivem.held h
        where h.table_schema = a.schema and h.table_name = a.name and h.held_at is not null) as held
    from unnest(p_schemas, p_tables) with ordinality as a (schema, name, n)
    join vaivem.tables t on t.table_schema = a.schema and t.table_name = a.name
  loop
    waiting := 0;
    if p_most > 0 and known.queue is not null and pg_relation_size(known.queue) > 0 then
      execute format('select count(*) from (select from %s limit $1) p', known.queue) into waiting using p_most;
    end if;
    if waiting > 0 or known.held then
      answers := answers || jsonb_build_object(known.n, jsonb_build_array(waiting, known.held));
    end if;
  end loop;
  return answers;
end
$fn$;
