-- What operators and users are told, once while it lasts, and the outbox that servers deliver.
alter table public.settings add column if not exists margin_alert_percent numeric default 70
  check (margin_alert_percent between -1000 and 100);
alter table public.settings add column if not exists throttled_alert_percent numeric default 5
  check (throttled_alert_percent between 0 and 100);
alter table public.settings add column if not exists throttled_critical_percent numeric default 10
  check (throttled_critical_percent between 0 and 100);
alter table public.settings add column if not exists provider_error_alert_percent numeric default 20
  check (provider_error_alert_percent between 0 and 100);
alter table public.settings add column if not exists low_credits_alert integer default 10
  check (low_credits_alert >= 0);
alter table public.settings add column if not exists rollover_alert_days integer default 7
  check (rollover_alert_days between 0 and 60);
comment on column public.settings.margin_alert_percent is 'Percent: a lower overall margin of this month raises an alert; null: none (spec 9).';
comment on column public.settings.throttled_alert_percent is 'Percent of the active users: more of them throttled raises an alert; null: none (spec 9).';
comment on column public.settings.throttled_critical_percent is 'Percent of the active users: more of them throttled makes that alert critical, with advice (spec 9).';
comment on column public.settings.provider_error_alert_percent is
  'Percent of a provider''s runs of 15 minutes: that many failing (and at least 3) raises an alert; null: none (spec 9).';
comment on column public.settings.low_credits_alert is 'Credits: who has paid and has fewer left gets a mail; null: nobody (spec 9).';
comment on column public.settings.rollover_alert_days is 'Days before rollover credits expire that their owner gets a mail; null: nobody (spec 9).';
grant update (
  margin_alert_percent, throttled_alert_percent, throttled_critical_percent, provider_error_alert_percent, low_credits_alert, rollover_alert_days
) on public.settings to prpm_ops;

create table if not exists public.alerts (
  id bigint generated always as identity primary key,
  kind text not null,
  key text not null,
  level integer not null,
  severity text not null check (severity in ('warning', 'critical')),
  subject text not null,
  body text not null,
  details jsonb not null,
  user_id uuid,
  raised_at timestamptz not null,
  told_level integer,
  resolved_at timestamptz,
  told_resolved boolean not null default false,
  acknowledged_at timestamptz,
  acknowledged_by text,
  acknowledged_because text
);
create unique index if not exists alerts_open on public.alerts (kind, key) where resolved_at is null;
create index if not exists alerts_untold on public.alerts (id) where told_level is not null and resolved_at is not null and not told_resolved;
comment on table public.alerts is 'ops. What operators should know: one open row for each thing that is wrong, closed when it has ended (spec 9).';
comment on column public.alerts.id is 'Names the alert.';
comment on column public.alerts.kind is 'Kind: margin, throttled_users, user_over_limit, job_late …';
comment on column public.alerts.key is 'What it is about: a user''s id, a job, a provider …; blank: the whole.';
comment on column public.alerts.level is '0, and 1 where a second threshold is passed; a higher level is told anew.';
comment on column public.alerts.severity is 'warning or critical.';
comment on column public.alerts.subject is 'What is wrong, with both sides of the comparison, as of the last check while it was open.';
comment on column public.alerts.body is 'Advice, with statements to paste.';
comment on column public.alerts.details is 'The figures, for programs; money in US dollars.';
comment on column public.alerts.user_id is 'Whom it is about, where it is about one person.';
comment on column public.alerts.raised_at is 'When the condition was first seen.';
comment on column public.alerts.told_level is 'The highest level that messages were written about; null: none yet, for want of a channel.';
comment on column public.alerts.resolved_at is 'When the condition was first seen no more; null while it holds.';
comment on column public.alerts.told_resolved is 'True when messages were written about its end.';
comment on column public.alerts.acknowledged_at is 'When somebody said that they are at it.';
comment on column public.alerts.acknowledged_by is 'Who: a role of the database, or the id of an administrator.';
comment on column public.alerts.acknowledged_because is 'What they said.';

create table if not exists public.alert_channels (
  channel text primary key check (channel in ('webhook', 'operator_email', 'user_email')),
  seen_at timestamptz not null
);
comment on table public.alert_channels is 'ops. Ways to deliver messages that servers are configured for (spec 9).';
comment on column public.alert_channels.channel is 'webhook, operator_email or user_email.';
comment on column public.alert_channels.seen_at is 'When a server that has it last looked for messages; a day later nothing new is written for it.';

create table if not exists public.messages (
  id uuid primary key default gen_random_uuid(),
  dedupe text not null constraint messages_dedupe_key unique,
  channel text not null check (channel in ('webhook', 'operator_email', 'user_email')),
  kind text not null,
  user_id uuid,
  period text,
  level integer not null default 0,
  subject text not null,
  body text not null,
  payload jsonb,
  created_at timestamptz not null,
  due_at timestamptz not null,
  claimed_until timestamptz,
  attempts integer not null default 0,
  delivered_at timestamptz,
  given_up_at timestamptz,
  error text
);
create index if not exists messages_due on public.messages (due_at) where delivered_at is null and given_up_at is null;
create index if not exists messages_given_up on public.messages (given_up_at) where given_up_at is not null;
create index if not exists messages_by_user on public.messages (user_id, kind, period) where user_id is not null;
comment on table public.messages is 'ops. The outbox: what is to be said to operators and users, delivered by servers at least once (spec 9).';
comment on column public.messages.id is 'Names the message: the webhook-id and part of the Message-ID, the same in every attempt.';
comment on column public.messages.dedupe is 'What is said once: kind, whom or what about, period and level.';
comment on column public.messages.channel is 'webhook, operator_email or user_email.';
comment on column public.messages.kind is 'What it is about: the alert''s kind, or the kind of mail to a user.';
comment on column public.messages.user_id is 'Whom it is for; their address is looked up when it is sent. Null: for operators.';
comment on column public.messages.period is 'Of a mail to a user: what it is told once in, such as a month.';
comment on column public.messages.level is 'Of a mail to a user: the threshold in percent, or 0.';
comment on column public.messages.subject is 'Its subject.';
comment on column public.messages.body is 'Its text.';
comment on column public.messages.payload is 'Of a webhook: the body.';
comment on column public.messages.created_at is 'When it was written; three days later it is given up.';
comment on column public.messages.due_at is 'When it may be tried next.';
comment on column public.messages.claimed_until is 'Until then a server has it.';
comment on column public.messages.attempts is 'How many attempts were begun.';
comment on column public.messages.delivered_at is 'When its receiver took it.';
comment on column public.messages.given_up_at is 'When it was given up; ops.retry_message() tries again.';
comment on column public.messages.error is 'What went wrong last.';

create table if not exists public.email_preferences (
  user_id uuid primary key,
  limits boolean not null default true,
  credits boolean not null default true,
  payments boolean not null default true,
  updated_at timestamptz not null
);
comment on table public.email_preferences is 'per-user. Which mails a user wants; without a row, all (spec 9, 10.8).';
comment on column public.email_preferences.user_id is 'Whose.';
comment on column public.email_preferences.limits is 'Mails about limits: warnings, throttled.';
comment on column public.email_preferences.credits is 'Mails about credits: few left, rollover about to expire.';
comment on column public.email_preferences.payments is 'Mails about payments that failed.';
comment on column public.email_preferences.updated_at is 'When that was last changed.';

-- What is looked for every five minutes is few among many.
create index if not exists runs_with_shortfall on public.runs (user_id) where shortfall > 0;
create index if not exists purchased_lots on public.credit_lots (user_id) where kind = 'purchased';
create index if not exists stripe_events_to_review on public.stripe_events (received_at) where status = 'needs_review';

drop type if exists core.alert_condition cascade;
create type core.alert_condition as (
  kind text, key text, level integer, severity text, subject text, body text, details jsonb, user_id uuid
);
drop type if exists core.person_notice cascade;
create type core.person_notice as (user_id uuid, kind text, level integer, period text, subject text, body text);

--! include alerts/limits_by_tier.sql
--! include alerts/write_dollars.sql
--! include alerts/write_used.sql
--! include alerts/write_day.sql
--! include alerts/mail_group.sql
--! include alerts/unsubscribe_token.sql
--! include alerts/undelivered_messages.sql
--! include alerts/alerts_now.sql
--! include alerts/spend_conditions.sql
--! include alerts/run_conditions.sql
--! include alerts/limit_conditions.sql
--! include alerts/loss_conditions.sql
--! include alerts/billing_conditions.sql
--! include alerts/usage_conditions.sql
--! include alerts/message_conditions.sql
--! include alerts/alert_conditions.sql
--! include alerts/limit_notices.sql
--! include alerts/credit_notices.sql
--! include alerts/price_raises.sql
--! include alerts/payment_notices.sql
--! include alerts/text_notices.sql
--! include alerts/person_notices.sql
--! include alerts/tell_operators.sql
--! include alerts/tell_people.sql
--! include alerts/raise_alerts.sql
--! include alerts/raise_check_failed.sql
--! include jobs/job_conditions.sql
--! include jobs/check_alerts.sql
--! include alerts/acknowledge_alert.sql
--! include alerts/ops_acknowledge_alert.sql
--! include alerts/test_alert.sql
--! include alerts/retry_message.sql
--! include alerts/claim_messages.sql
--! include alerts/finish_message.sql
--! include alerts/fail_message.sql
--! include alerts/unsubscribe.sql

insert into public.jobs (job, every, after, description, call) values
  ('check-alerts', '5 minutes', '0', 'Raises and resolves alerts and writes the mails that are due: ops.check_alerts()', 'check_alerts')
on conflict do nothing;
