-- People who are signed in on the page.

alter table public.settings add column if not exists login_minutes integer not null default 720
  check (login_minutes between 5 and 43200);
comment on column public.settings.login_minutes is
  'Minutes for which a sign-in on the page lasts after its last use (spec 2.2).';
alter table public.settings add column if not exists login_days integer not null default 14
  check (login_days between 1 and 365);
comment on column public.settings.login_days is
  'Days after which a sign-in on the page ends however much it is used (spec 2.2).';
grant update (login_minutes, login_days) on public.settings to prpm_ops;

create table if not exists public.logins (
  token_hash bytea primary key check (length(token_hash) = 32),
  user_id uuid not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz
);
create index if not exists logins_by_user on public.logins (user_id);
create index if not exists logins_expires_at on public.logins (expires_at);
comment on table public.logins is
  'ops. Who is signed in on the page; of what the cookie holds only the SHA-256 is stored (spec 2.2). Those that are over are dropped each hour.';
comment on column public.logins.token_hash is 'SHA-256 of what the cookie holds.';
comment on column public.logins.user_id is 'Who is signed in.';
comment on column public.logins.created_at is 'When they signed in.';
comment on column public.logins.expires_at is 'Over from then on; moved on by use, at most to settings.login_days after created_at.';
comment on column public.logins.ended_at is 'Over since then: signed out, or the account was closed.';

--! include accounts/login_ends_at.sql
--! include accounts/begin_login.sql
--! include accounts/authenticate_login.sql
--! include accounts/end_login.sql
--! include accounts/forget_logins.sql
--! include accounts/close_user.sql
--! include accounts/export_parts.sql
insert into public.jobs (job, every, after, description, call) values
  ('forget-logins', '1 hour', '5 minutes', 'Drops sign-ins on the page that are over: ops.forget_logins()', 'forget_logins')
on conflict do nothing;
