-- What vaivem keeps about a pair of databases. Runs in both; the schema itself and vaivem.migrations are made by the
-- installer before. Everything of ours is in the schema vaivem, but for one view beside each synced table.

create table vaivem.pairs (
  side text not null check (side in ('replit', 'external')),
  id uuid not null,
  peer uuid not null,
  confirmed boolean not null,
  epoch bigint not null default 0,
  cycles bigint not null default 0,
  finished_at timestamptz,
  finished_by uuid,
  paired_at timestamptz not null default clock_timestamp()
);
create unique index pairs_one_row on vaivem.pairs ((true));
comment on table vaivem.pairs is 'Who this database is, and who its peer is. One row.';
comment on column vaivem.pairs.epoch is 'Raised when another copy of the service takes over.';
comment on column vaivem.pairs.finished_at is 'When the last cycle ended, idle or not. Replit''s side only.';

create table vaivem.tables (
  table_schema text not null,
  table_name text not null,
  stem text not null unique,
  key_columns text[] not null,
  key_types text[] not null,
  options text,
  fingerprint text not null,
  contract text,
  columns jsonb,
  adopted jsonb,
  captured_at timestamptz not null default clock_timestamp(),
  primary key (table_schema, table_name)
);
comment on table vaivem.tables is 'Tables with capture: <stem>_pending and <stem>_history are their changelog.';
comment on column vaivem.tables.fingerprint is 'vaivem.fingerprint as capture left it; different when the table or our triggers changed since.';
comment on column vaivem.tables.contract is 'Columns in common with the peer when the table was last reconciled; null before.';
comment on column vaivem.tables.adopted is 'The older system''s changelog table that was taken over, so that teardown can put it back.';

create table vaivem.conflicts (
  id uuid primary key default gen_random_uuid(),
  table_schema text not null,
  table_name text not null,
  key text[] not null,
  reason text not null check (reason in ('conflict', 'cascade', 'discard', 'restore')),
  policy text,
  lost_operation text not null check (lost_operation in ('UPSERT', 'DELETE')),
  lost jsonb,
  won jsonb,
  lost_stamp timestamptz,
  won_stamp timestamptz,
  decided_at timestamptz not null default clock_timestamp(),
  restored_at timestamptz
);
create index conflicts_by_time on vaivem.conflicts (decided_at);
comment on table vaivem.conflicts is 'Versions of rows on this side that lost, whole: column name to the text PostgreSQL prints. Null in lost: this side had deleted the row.';

create table vaivem.quarantine (
  id uuid primary key default gen_random_uuid(),
  table_schema text not null,
  table_name text not null,
  key text[] not null,
  change_id bigint not null,
  sqlstate text,
  message text not null,
  constraint_name text,
  blocked_by text[],
  attempts integer not null default 1,
  since timestamptz not null default clock_timestamp(),
  next_attempt_at timestamptz not null default clock_timestamp(),
  unique (table_schema, table_name, key)
);
comment on table vaivem.quarantine is 'Pending changes of this side that the other side refused. They stay pending and are tried again.';

create table vaivem.runs (
  id bigint generated always as identity primary key,
  started_at timestamptz not null,
  duration_ms bigint not null,
  outcome text not null check (outcome in ('ok', 'failed')),
  push jsonb not null,
  pull jsonb not null,
  error text
);
comment on table vaivem.runs is 'One row a cycle that moved something or failed. Replit''s side only.';
