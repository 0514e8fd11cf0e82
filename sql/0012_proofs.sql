-- The rolling proof: how far both sides of each table are known to be equal. Kept on Replit's side.

create table vaivem.proofs (
  table_schema text not null,
  table_name text not null,
  current_round jsonb,
  last_round jsonb,
  looked_at timestamptz not null default clock_timestamp(),
  primary key (table_schema, table_name),
  foreign key (table_schema, table_name) references vaivem.tables on delete cascade
);
comment on table vaivem.proofs is 'How far both sides are proven equal: rounds through all keys of a table. Replit''s side only.';
comment on column vaivem.proofs.current_round is 'The round under way: since when, up to which key, how many rows were equal, and keys that were not.';
comment on column vaivem.proofs.last_round is 'The last one that came to its end.';
comment on column vaivem.proofs.looked_at is 'When a stretch was looked at last.';

alter table vaivem.pairs add column prove_after timestamptz;
comment on column vaivem.pairs.prove_after is 'When the next turn of the rolling proof is due; null at once. Replit''s side only.';
