-- Ids that both sides give out of sequences: what was there before they were split, and keeping a sequence ahead of the
-- rows that the sync applies.

create table vaivem.sequences (
  sequence regclass primary key,
  increment bigint not null,
  start_value bigint not null,
  min_value bigint not null,
  max_value bigint not null,
  split_at timestamptz not null default clock_timestamp()
);
comment on table vaivem.sequences is 'Sequences that setup --split-ids changed, with what they were before: teardown puts it back.';

create function vaivem.move_on(p_sequence text, p_column text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Moves a sequence past the staged rows that it could give an id to once more: those within its bounds and, where its
-- increment isn't 1, in its own steps, so that a split stays one. p_column is the stage's column.
--
-- It never moves back. setval could: an app that takes ids between our look and our setval would get them again. So the
-- sequence is moved by taking its numbers (half a million a second). Only a long way is jumped, and then the app would have
-- to take more ids than that in the microseconds between the two. Like every use of a sequence it isn't rolled back.
declare
  taken_max constant bigint := 100000;
  seq regclass := to_regclass(p_sequence);
  about pg_sequence;
  last numeric;
  called boolean;
  furthest numeric;
  steps numeric;
  id bigint;
  n bigint := 0;
begin
  -- A sequence that was dropped, or that this role may not use: `check` tells the latter.
  if seq is null or not (has_sequence_privilege(seq, 'SELECT') and has_sequence_privilege(seq, 'UPDATE')) then
    return;
  end if;
  select * into about from pg_sequence s where s.seqrelid = seq;
  execute format('select last_value, is_called from %s', seq) into last, called;
  if called then
    last := last + about.seqincrement;
  end if;
  -- From here on `last` is the number that would come next.
  execute format(
    'select %s(s.%I) from pg_temp.vaivem_stage s where s.present and (s.verdict is null or s.verdict = ''overwrite'')
       and s.%2$I between $1 and $2 %s',
    case when about.seqincrement > 0 then 'max' else 'min' end, p_column,
    case when abs(about.seqincrement) > 1 then format('and mod(s.%I - $3, $4) = 0', p_column) end)
  into furthest using
    case when about.seqincrement > 0 then last else about.seqmin end,
    case when about.seqincrement > 0 then about.seqmax else last end,
    last, about.seqincrement::numeric;
  if furthest is null then
    return;
  end if;
  steps := div(furthest - last, about.seqincrement) + 1;
  if steps > taken_max then
    perform setval(seq, furthest::bigint);
    return;
  end if;
  -- This session may still hold numbers of its own (CACHE), so it may take some more.
  loop
    id := nextval(seq);
    n := n + 1;
    exit when (id >= furthest and about.seqincrement > 0) or (id <= furthest and about.seqincrement < 0)
      or n >= steps + about.seqcache;
  end loop;
exception
  -- The app took the last ones meanwhile.
  when sequence_generator_limit_exceeded then
    return;
end
$fn$;

create function vaivem.put_back_sequences() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Puts split sequences back as they were, if they give ids to no captured table any more, and moves them past all ids
-- that are there: half of those came from the other side. One that somebody has changed since is left as it is.
declare
  known vaivem.sequences;
  about pg_sequence;
  users record;
  captured boolean;
  furthest numeric;
  found numeric;
  called boolean;
begin
  for known in select * from vaivem.sequences loop
    select exists (
      select from vaivem.sequence_users(known.sequence) u
      join pg_class c on c.oid = coalesce(pg_partition_root(u.relation), u.relation)
      join pg_namespace n on n.oid = c.relnamespace
      join vaivem.tables t on t.table_schema = n.nspname and t.table_name = c.relname) into captured;
    continue when captured;
    select * into about from pg_sequence s where s.seqrelid = known.sequence;
    if about.seqincrement = 2 * known.increment then
      if not (select pg_has_role(c.relowner, 'USAGE') from pg_class c where c.oid = known.sequence) then
        raise exception using errcode = 'VV002', message = format(
          'Sequence %s belongs to another role now and cannot be put back. Run as its owner: ALTER SEQUENCE %1$s INCREMENT BY %s;',
          known.sequence, known.increment);
      end if;
      execute format('alter sequence %s increment by %s', known.sequence, known.increment);
      execute format('select last_value, is_called from %s', known.sequence) into furthest, called;
      if not called then
        furthest := furthest - known.increment;
      end if;
      for users in select * from vaivem.sequence_users(known.sequence) loop
        execute format('select %s(%I) from %s where %2$I between $1 and $2',
          case when known.increment > 0 then 'max' else 'min' end, users.name, users.relation)
        into found using known.min_value, known.max_value;
        furthest := case when known.increment > 0 then greatest(furthest, found) else least(furthest, found) end;
      end loop;
      execute format('alter sequence %s minvalue %s maxvalue %s start with %s', known.sequence, known.min_value,
        known.max_value, known.start_value);
      if furthest between known.min_value and known.max_value then
        perform setval(known.sequence, furthest::bigint);
      end if;
    end if;
    delete from vaivem.sequences s where s.sequence = known.sequence;
  end loop;
end
$fn$;

create function vaivem.sequence_users(p_sequence regclass) returns table (relation regclass, name text)
language sql stable set search_path = pg_catalog, pg_temp as $fn$
-- The whole-number columns that a sequence gives values to, by a default or as identity, whoever owns it.
  select a.attrelid::regclass, a.attname::text
  from pg_attribute a join pg_type y on y.oid = a.atttypid
  where (a.attrelid, a.attnum) in (
      select f.adrelid, f.adnum from pg_attrdef f join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
      where d.refclassid = 'pg_class'::regclass and d.refobjid = p_sequence
      union
      select d.refobjid, d.refobjsubid::int2 from pg_depend d
      where d.classid = 'pg_class'::regclass and d.objid = p_sequence and d.refclassid = 'pg_class'::regclass
        and d.deptype = 'i')
    and not a.attisdropped
    and case when y.typtype = 'd' then y.typbasetype else y.oid end
      in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
$fn$;
