-- Rows that `setup --missing delete` deleted at a first contact are in the journal, too, each whole.

alter table vaivem.conflicts drop constraint conflicts_reason_check;
alter table vaivem.conflicts add constraint conflicts_reason_check
  check (reason in ('conflict', 'cascade', 'discard', 'restore', 'first-contact'));
