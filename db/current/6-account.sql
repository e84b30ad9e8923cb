-- A person's own account: tokens, mails, export and erasure; runs of visitors; limits for who is not signed in.

-- Tokens.
drop function if exists api.create_token(uuid, bytea, uuid, text, text[], timestamptz);
--! include accounts/refuse_token.sql
--! include accounts/create_token.sql

-- Mails.
--! include alerts/read_email_preferences.sql
--! include alerts/set_email_preferences.sql

-- Who is not signed in.
alter table public.settings add column if not exists visitor_reads_per_minute integer not null default 60
  check (visitor_reads_per_minute >= 0);
comment on column public.settings.visitor_reads_per_minute is
  'Requests a minute of one visitor who is not signed in (spec 3.6); those of users are reads_per_minute.';
grant update (visitor_reads_per_minute) on public.settings to prpm_ops;

create table if not exists public.visitor_windows (
  visitor text primary key,
  ends_at timestamptz not null,
  count integer not null
);
comment on table public.visitor_windows is
  'ops. Requests of visitors who are not signed in, in a fixed minute (spec 3.6). Rows of minutes that are over are dropped each hour.';
comment on column public.visitor_windows.visitor is 'Keyed hash of the address: core.visitor_of.';
comment on column public.visitor_windows.ends_at is 'End of the minute.';
comment on column public.visitor_windows.count is 'Requests in it.';
create index if not exists visitor_windows_ends_at on public.visitor_windows (ends_at);

drop function if exists api.admit_read(uuid);
--! include limits/count_visit.sql
--! include limits/admit_read.sql
--! include limits/forget_visits.sql
insert into public.jobs (job, every, after, description, call) values
  ('forget-visits', '1 hour', '5 minutes', 'Drops what limited visitors in minutes that are over: ops.forget_visits()', 'forget_visits')
on conflict do nothing;
