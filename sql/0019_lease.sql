-- The lease, by session advisory lock, and the epoch that counts its take-overs. Whoever lost the lease without knowing commits
-- nothing any more: every transaction under the lease ends with vaivem.fence, in the round trip of its COMMIT.

alter table vaivem.pairs add holder text, add held_since timestamptz;
comment on column vaivem.pairs.epoch is 'Raised on both sides when another copy of the service takes the lease.';
comment on column vaivem.pairs.holder is 'The copy that took the lease last.';
comment on column vaivem.pairs.held_since is 'When it took it over.';

create function vaivem.fence(p_epoch bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- The row stays locked until the transaction ends, so the epoch can't be raised between this look and the COMMIT.
begin
  perform from vaivem.pairs p where p.epoch = p_epoch for share;
  if not found then
    raise exception 'another copy of vaivem has taken over' using errcode = 'VV003';
  end if;
end
$fn$;

create function vaivem.watch_client() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- The server finds out within ten seconds that this session's client is gone without a word. What a platform doesn't have stays
-- as it is.
declare
  wanted record;
begin
  for wanted in select * from (values ('tcp_keepalives_idle', '3'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),
    ('tcp_user_timeout', '8000'), ('client_connection_check_interval', '2000')) w (name, value)
  loop
    begin
      perform set_config(wanted.name, wanted.value, false);
    exception when undefined_object or invalid_parameter_value then
      null;
    end;
  end loop;
end
$fn$;

create function vaivem.take_lease(p_silent_ms bigint) returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- For this session, if nobody has it. A holder says every 1.5 s that it is there, by a statement that names vaivem and the
-- lease; the session of one that has said nothing for p_silent_ms is ended, which a role may do with its own. A proxy between may
-- answer the server's keepalives for a client that is long gone.
declare
  key bigint := vaivem.lease_key();
  taken boolean := pg_try_advisory_lock(key);
begin
  if not taken and coalesce((
    select bool_or(pg_terminate_backend(a.pid)) from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
      and l.classid = ((key >> 32) & 4294967295)::oid and l.objid = (key & 4294967295)::oid
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and a.application_name = 'vaivem' and a.state_change < clock_timestamp() - p_silent_ms * interval '1 millisecond'
      and pg_has_role(a.usesysid, 'MEMBER')), false)
  then
    for i in 1 .. 20 loop
      taken := pg_try_advisory_lock(key);
      exit when taken;
      perform pg_sleep(0.05);
    end loop;
  end if;
  if taken then
    perform vaivem.watch_client();
  end if;
  return jsonb_build_object('taken', taken, 'epoch', (select p.epoch::text from vaivem.pairs p),
    'id', (select p.id from vaivem.pairs p));
end
$fn$;

create function vaivem.raise_epoch(p_to bigint, p_holder text, p_peer uuid) returns text
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $fn$
-- On Replit's side by one at least, to p_to if that is more. On external, where the peer is told, to p_to if that is no less than
-- what is there, and only for that peer. What the holder before left open keeps rows locked: transactions of our own role that
-- wrote are ended, if they are older than a moment. Answers the epoch that is there now.
declare
  raised bigint;
begin
  if exists (select from vaivem.pairs p where p_peer is not null and p.peer <> p_peer) then
    return null;
  end if;
  perform pg_terminate_backend(a.pid) from pg_stat_activity a
  where a.application_name = 'vaivem' and a.datname = current_database() and a.pid <> pg_backend_pid()
    and a.backend_xid is not null and a.xact_start < clock_timestamp() - interval '1 second' and pg_has_role(a.usesysid, 'MEMBER');
  update vaivem.pairs p set epoch = case when p_peer is null then greatest(p.epoch + 1, p_to) else p_to end,
    holder = p_holder, held_since = clock_timestamp()
  where p_peer is null or p.epoch <= p_to;
  select p.epoch into raised from vaivem.pairs p;
  return raised;
end
$fn$;

create function vaivem.close_doors() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $fn$
-- Nobody but the role that installed us needs to call a function of ours. Functions of triggers can't be called, and do nothing on
-- tables that are not theirs; PUBLIC keeps them, because whoever makes a partition of a captured table must be allowed to.
declare
  name regprocedure;
begin
  for name in
    select p.oid from pg_proc p where p.pronamespace = 'vaivem'::regnamespace and p.prorettype <> 'trigger'::regtype
      and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0))
  loop
    execute format('revoke execute on function %s from public', name);
  end loop;
end
$fn$;
