-- Old history goes in pieces, for four seconds a cycle: some 1,000,000 rows. In one statement the history of a first copy of
-- 5,000,000 rows, all due on one day, took 8.5 s on a fast disk; cut off, by a role's statement_timeout or a lost connection, it
-- would begin anew each time.

create or replace function vaivem.purge(p_schemas text[], p_tables text[], p_older_ms bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Deletes old history of many tables, for about as long as a statement may take; the next cycle goes on.
declare
  history regclass;
  due timestamptz := clock_timestamp() - p_older_ms * interval '1 millisecond';
  -- Up to where this call has deleted: the index still has what is gone.
  reached timestamptz;
  deleted bigint;
  purged bigint := 0;
begin
  for history in
    select to_regclass(format('vaivem.%I', t.stem || '_history'))
    from unnest(p_schemas, p_tables) as a (schema, name)
    join vaivem.tables t on t.table_schema = a.schema and t.table_name = a.name
  loop
    continue when history is null or pg_relation_size(history) = 0;
    reached := '-infinity';
    loop
      exit when clock_timestamp() > statement_timestamp() + interval '4 seconds';
      execute format('with gone as (
          delete from %1$s where ctid = any (array(
            select ctid from %1$s where synced_at >= $1 and synced_at < $2 order by synced_at limit 50000))
          returning synced_at)
        select count(*), max(synced_at) from gone', history) into deleted, reached using reached, due;
      purged := purged + deleted;
      exit when deleted < 50000;
    end loop;
  end loop;
  return purged;
end
$fn$;
