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

-- Runs of visitors.
alter table public.settings add column if not exists anonymous_daily_budget numeric not null default 1.00
  check (anonymous_daily_budget between 0 and 1000000);
comment on column public.settings.anonymous_daily_budget is
  'US dollars that runs of visitors who are not signed in may cost in a UTC day, all of them together; 0: none may run (spec 5.9).';
alter table public.settings add column if not exists anonymous_model text not null default 'gpt-4o-mini';
comment on column public.settings.anonymous_model is 'models.alias that visitors'' runs use (spec 5.9).';
grant update (anonymous_daily_budget, anonymous_model) on public.settings to prpm_ops;

create table if not exists public.anonymous_days (
  day date primary key,
  used numeric not null default 0 check (used >= 0),
  held numeric not null default 0 check (held >= 0),
  runs integer not null default 0
);
comment on table public.anonymous_days is
  'ops. What visitors'' runs that began in a day cost and hold: the one figure that all of them share. Changed by one short statement each '
  'at a run''s beginning and end (spec 5.9).';
comment on column public.anonymous_days.day is 'UTC day.';
comment on column public.anonymous_days.used is 'US dollars: exact cost of the runs that have ended.';
comment on column public.anonymous_days.held is 'US dollars: the most that those still running can cost.';
comment on column public.anonymous_days.runs is 'Runs that began, however they ended.';

create table if not exists public.anonymous_visits (
  visitor text not null,
  month date not null,
  primary key (visitor, month)
);
comment on table public.anonymous_visits is
  'ops. Which visitors have had their run of the month; rows of months that are over are dropped (spec 5.9).';
comment on column public.anonymous_visits.visitor is 'Keyed hash of the address: core.visitor_of.';
comment on column public.anonymous_visits.month is 'First day of the UTC month.';

create table if not exists public.anonymous_runs (
  id uuid primary key,
  day date not null,
  visitor text,
  status text not null,
  model text not null,
  provider_model text not null,
  package_id uuid not null,
  package_version text not null,
  price_id uuid not null,
  estimated_input integer not null,
  output_cap integer not null,
  hold_cost numeric not null,
  hold_expires_at timestamptz not null,
  input_tokens integer,
  cached_tokens integer,
  cache_write_tokens integer,
  output_tokens integer,
  estimated boolean not null default false,
  cost numeric not null default 0,
  error text,
  error_reason text,
  first_token_ms integer,
  duration_ms integer,
  started_at timestamptz not null,
  finished_at timestamptz
);
comment on table public.anonymous_runs is
  'ops. Runs of visitors who are not signed in: what they used and cost, without texts and, once they have ended, without a trace of who (spec 5.9).';
comment on column public.anonymous_runs.id is 'Made by the server, ordered by time.';
comment on column public.anonymous_runs.day is 'UTC day in which it began, whose budget bears it.';
comment on column public.anonymous_runs.visitor is 'Keyed hash of the address while it runs, so that a failure can give the run of the month back; null since it ended.';
comment on column public.anonymous_runs.status is 'running, completed, stopped, failed, released (nothing was delivered) or expired (its server is gone).';
comment on column public.anonymous_runs.model is 'models.alias.';
comment on column public.anonymous_runs.provider_model is 'The provider''s id of the model.';
comment on column public.anonymous_runs.package_id is 'The package.';
comment on column public.anonymous_runs.package_version is 'Its version.';
comment on column public.anonymous_runs.price_id is 'The row of model_prices that it began under.';
comment on column public.anonymous_runs.estimated_input is 'Tokens read, estimated before the call.';
comment on column public.anonymous_runs.output_cap is 'Tokens: the longest answer that was allowed.';
comment on column public.anonymous_runs.hold_cost is 'US dollars: the most that it can cost.';
comment on column public.anonymous_runs.hold_expires_at is 'When it is taken for lost.';
comment on column public.anonymous_runs.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column public.anonymous_runs.cached_tokens is 'Of them, tokens read from the provider''s cache.';
comment on column public.anonymous_runs.cache_write_tokens is 'Of them, tokens written to the provider''s cache.';
comment on column public.anonymous_runs.output_tokens is 'Tokens written.';
comment on column public.anonymous_runs.estimated is 'The provider''s report was lost, or is not known yet.';
comment on column public.anonymous_runs.cost is 'US dollars: exact provider cost; of an expired run its hold, until its server is heard of.';
comment on column public.anonymous_runs.error is 'A code of docs/errors.md.';
comment on column public.anonymous_runs.error_reason is 'What went wrong, in words.';
comment on column public.anonymous_runs.first_token_ms is 'Milliseconds to the first word.';
comment on column public.anonymous_runs.duration_ms is 'Milliseconds of the provider''s call.';
comment on column public.anonymous_runs.started_at is 'When it began.';
comment on column public.anonymous_runs.finished_at is 'When it ended.';
create index if not exists anonymous_runs_day on public.anonymous_runs (day);
create index if not exists anonymous_runs_running on public.anonymous_runs (hold_expires_at) where status = 'running';

--! include runs/describe_invitation.sql
--! include runs/refuse_visit.sql
--! include runs/begin_anonymous_run.sql
--! include runs/write_anonymous_receipt.sql
--! include runs/settle_anonymous_run.sql
--! include runs/end_anonymous_runs.sql
--! include runs/anonymous_use.sql
--! include runs/audit_anonymous.sql
--! include runs/audit_books.sql
--! include analytics/usage_parts.sql
--! include analytics/audit_usage.sql
insert into public.jobs (job, every, after, description, call) values
  ('end-anonymous-runs', '1 minute', '0', 'Ends visitors'' runs whose server is gone, forgets visits of past months: ops.end_anonymous_runs()', 'end_anonymous_runs')
on conflict do nothing;

-- All that is kept of a person, to be read by them or erased.
create index if not exists identities_by_user on public.identities (user_id);
create index if not exists user_emails_by_user on public.user_emails (user_id);
create index if not exists alerts_by_user on public.alerts (user_id) where user_id is not null;
create index if not exists shared_sessions_by_user on public.shared_sessions (user_id);
create index if not exists share_views_by_visitor on public.share_views (visitor);
create index if not exists packages_by_author on public.packages (author_id);
create index if not exists package_versions_by_publisher on public.package_versions (published_by);
create index if not exists suggested_inputs_by_author on public.suggested_inputs (created_by);
create table if not exists public.erasures (
  user_id uuid primary key,
  erased_at timestamptz not null,
  purchased_credits bigint not null,
  other_credits bigint not null,
  email text,
  username text,
  finished_at timestamptz
);
comment on table public.erasures is 'per-user. Who asked to be erased, and was (spec 10.8).';
comment on column public.erasures.user_id is 'Whose account it was.';
comment on column public.erasures.erased_at is 'When.';
comment on column public.erasures.purchased_credits is 'Credits that they had bought and lost, as they had confirmed.';
comment on column public.erasures.other_credits is 'Other credits that they lost.';
comment on column public.erasures.email is 'What is still to be looked for where no key leads; null when that is done.';
comment on column public.erasures.username is 'Likewise.';
comment on column public.erasures.finished_at is 'When it was found nowhere any more.';
do $$
begin
  if to_regtype('core.erasure') is null then
    create type core.erasure as (
      user_id uuid, outcome text, erased_at timestamptz, purchased_credits bigint, other_credits bigint, subscription text,
      running_runs integer, sessions bigint, private_packages bigint, published_packages bigint
    );
  end if;
end
$$;
comment on type core.erasure is
  'What an erasure takes. outcome: to_confirm (nothing was done: send purchased_credits back to confirm their loss) or erased (erased_at). '
  'purchased_credits and other_credits are lost; subscription: the plan that ends at once, null without one; running_runs stop; sessions and '
  'private_packages are blanked; published_packages stay, without an author''s name.';

--! include accounts/scrub.sql
--! include accounts/erase_identity.sql
--! include catalog/erase_packages.sql
--! include sessions/erase_sessions.sql
--! include runs/erase_texts.sql
--! include runs/keep_texts.sql
--! include runs/settle_run.sql
--! include billing/end_billing.sql
--! include billing/follow_erasure.sql
--! include billing/refuse_sale.sql
--! include billing/keep_checkout.sql
--! include billing/apply_stripe_event.sql
--! include billing/apply_object.sql
--! include billing/finish_stripe_work.sql
--! include alerts/erase_mails.sql
--! include jobs/describe_erasure.sql
--! include jobs/finish_erasure.sql
--! include jobs/erase_user.sql
--! include jobs/api_erase_user.sql
--! include jobs/ops_erase_user.sql
--! include jobs/finish_erasures.sql
insert into public.jobs (job, every, after, description, call) values
  ('finish-erasures', '1 minute', '0', 'Takes the names of people who were erased from what no key leads to: ops.finish_erasures()', 'finish_erasures')
on conflict do nothing;
--! include accounts/export_parts.sql
--! include accounts/export_rows.sql
--! include accounts/export_page.sql
