-- What the clock does: when a job is next due, how late it is, what became of its last slot.
alter table public.jobs add column if not exists added_at timestamptz not null default core.now();
comment on column public.jobs.added_at is 'When it was added; before that no slot was due.';

--! include jobs/ops_jobs.sql
