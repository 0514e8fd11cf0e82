-- The one question that an idle cycle asks each database: is anything pending, is everything still as we left it, and
-- does somebody else hold the lease.

create function vaivem.lease_key() returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $fn$
-- Advisory locks are per database, so one number serves every pair.
  select hashtextextended('vaivem lease', 0)
$fn$;

create function vaivem.key_texts(p_types text[], p_alias text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $fn$
  select 'array[' || string_agg(format('%s.k%s::text', p_alias, n), ', ' order by n) || ']'
  from unnest(p_types) with ordinality as t (type, n)
$fn$;

create function vaivem.key_matches(p_types text[], p_alias text, p_array text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $fn$
-- Compares typed key columns with an array of their texts, so that the queue's index can be used.
  select string_agg(format('%s.k%s = (%s)[%s]::%s', p_alias, n, p_array, n, type), ' and ' order by n)
  from unnest(p_types) with ordinality as t (type, n)
$fn$;

create function vaivem.ask(
  p_schemas text[], p_tables text[], p_holder uuid, p_other_idle boolean, p_not_before_ms bigint
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex' as $fn$
declare
  me vaivem.pairs;
  leased boolean := false;
  not_due boolean := false;
  known vaivem.tables;
  print text;
  has_pending boolean;
  is_due bigint;
  in_quarantine bigint;
  idle boolean := true;
  answers jsonb := '[]';
  i integer;
begin
  select * into me from vaivem.pairs;
  leased := not pg_try_advisory_xact_lock(vaivem.lease_key());
  not_due := p_holder is not null and p_not_before_ms > 0 and me.finished_by is distinct from p_holder
    and coalesce(me.finished_at > clock_timestamp() - p_not_before_ms * interval '1 millisecond', false);
  for i in 1 .. cardinality(p_tables) loop
    print := vaivem.fingerprint(p_schemas[i], p_tables[i]);
    select * into known from vaivem.tables t where t.table_schema = p_schemas[i] and t.table_name = p_tables[i];
    has_pending := false;
    is_due := 0;
    select count(*) into in_quarantine from vaivem.quarantine q
    where q.table_schema = p_schemas[i] and q.table_name = p_tables[i];
    if known.stem is not null and to_regclass(format('vaivem.%I', known.stem || '_pending')) is not null then
      if in_quarantine = 0 then
        execute format('select exists (select from vaivem.%I)', known.stem || '_pending') into has_pending;
      else
        execute format($sql$
          select exists (select from vaivem.%1$I p where not exists (
              select from vaivem.quarantine q
              where q.table_schema = $1 and q.table_name = $2 and q.key = %2$s)),
            (select count(*) from vaivem.quarantine q
             where q.table_schema = $1 and q.table_name = $2
               and (q.next_attempt_at <= clock_timestamp()
                 or q.change_id < (select max(p.change_id) from vaivem.%1$I p where %3$s)))$sql$,
          known.stem || '_pending', vaivem.key_texts(known.key_types, 'p'),
          vaivem.key_matches(known.key_types, 'p', 'q.key'))
        into has_pending, is_due using p_schemas[i], p_tables[i];
      end if;
    end if;
    idle := idle and known.stem is not null and print = known.fingerprint and known.contract is not null
      and not has_pending and is_due = 0;
    answers := answers || jsonb_build_object('fingerprint', print, 'captured', known.fingerprint,
      'contract', known.contract, 'stem', known.stem, 'pending', has_pending,
      'quarantined', in_quarantine, 'due', is_due);
  end loop;
  if p_holder is not null and p_other_idle and idle and not leased and not not_due then
    update vaivem.pairs set finished_at = clock_timestamp(), finished_by = p_holder, cycles = cycles + 1;
  end if;
  return jsonb_build_object(
    'migration', (select max(m.version) from vaivem.migrations m),
    'identity', (select jsonb_build_object('side', p.side, 'id', p.id, 'peer', p.peer, 'confirmed', p.confirmed)
                 from vaivem.pairs p),
    'leased', leased, 'not_due', not_due, 'tables', answers);
end
$fn$;
