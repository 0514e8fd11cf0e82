-- Tokens by which a database that went back in time, was replaced or cloned is found out: see src/domain/Tokens.ts.

alter table vaivem.pairs
  add token uuid,
  add peer_token uuid,
  add peer_next uuid[] not null default '{}',
  add renewed_at timestamptz;
comment on column vaivem.pairs.token is 'Random, renewed by every cycle that writes; the peer knows it as its peer_token.';
comment on column vaivem.pairs.peer_next is 'Tokens that the peer may have taken since: announced, and not confirmed yet.';

create function vaivem.tokens() returns jsonb
language sql volatile set search_path = pg_catalog, pg_temp as $fn$
-- Volatile, to see what vaivem.renew wrote in the same statement.
  select jsonb_build_object('own', p.token, 'peer', p.peer_token, 'next', p.peer_next,
    'renewedAtMs', floor(extract(epoch from p.renewed_at) * 1000))
  from vaivem.pairs p
$fn$;

create function vaivem.renew(p_only_if boolean, p_if_own uuid, p_own uuid, p_peer uuid, p_announce uuid, p_forget uuid[])
returns boolean
language sql set search_path = pg_catalog, pg_temp as $fn$
-- One step of the renewal: what is null stays. Answers whether anything was written.
  with written as (
    update vaivem.pairs p set token = coalesce(p_own, p.token), peer_token = coalesce(p_peer, p.peer_token),
      peer_next = (select coalesce(array_agg(t), '{}') from unnest(p.peer_next || p_announce) t
                   where t is not null and t <> all (coalesce(p_forget, '{}'))),
      renewed_at = clock_timestamp()
    where not p_only_if or p.token is not distinct from p_if_own returning 1)
  select exists (select from written)
$fn$;

create function vaivem.take_as_it_is(p_forgotten_until_ms bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- After a restore: every table is compared again. Of a side that went back, what was logged before the other side's last
-- cycle may have been synced since, so it is not a change any more: it is compared like everything else. Change ids begin
-- at the time again, for the other side knows those that were given after the moment that this side went back to.
declare
  stem text;
  queue regclass;
begin
  update vaivem.tables set contract = null;
  if p_forgotten_until_ms is null then
    return;
  end if;
  for stem in select t.stem from vaivem.tables t loop
    queue := to_regclass(format('vaivem.%I', stem || '_pending'));
    continue when queue is null;
    execute format('lock table %s in share row exclusive mode', queue);
    execute format('update %s set operation = ''MARK'', changed_at = ''-infinity'', %s where changed_at <= to_timestamp($1 / 1000.0)',
      queue, (select string_agg(format('%I = null', a.attname), ', ') from pg_attribute a
              where a.attrelid = queue and a.attname ~ '^was[0-9]+$' and not a.attisdropped))
    using p_forgotten_until_ms;
    execute format('alter table %s alter column change_id restart with %s', queue,
      floor(extract(epoch from clock_timestamp()) * 1000000));
  end loop;
end
$fn$;
