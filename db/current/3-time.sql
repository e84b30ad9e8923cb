-- Prices that plans had: who has subscribed keeps theirs.
create table if not exists public.plan_prices (
  stripe_price_id text primary key,
  plan text not null references public.plans,
  monthly_price numeric(12, 2),
  noted_at timestamptz not null
);
comment on table public.plan_prices is
  'config. Prices at Stripe that plans have or had: a subscription keeps the price that it was bought at (spec 2.4). Kept by the server.';
comment on column public.plan_prices.stripe_price_id is 'Stripe''s id of the price.';
comment on column public.plan_prices.plan is 'The plan that it sells.';
comment on column public.plan_prices.monthly_price is 'US dollars a month, as Stripe has it; null: not asked yet.';
comment on column public.plan_prices.noted_at is 'First sight.';
grant select on public.plan_prices to prpm_readonly;
--! include billing/plan_of_price.sql
--! include billing/note_plan_prices.sql
do $$
begin
  perform core.note_plan_prices();
  insert into public.plan_prices (stripe_price_id, plan, noted_at)
  select distinct on (s.price_id) s.price_id, s.plan, core.now()
  from public.subscriptions s
  where s.price_id is not null
  order by s.price_id, s.updated_at desc
  on conflict on constraint plan_prices_pkey do nothing;
end
$$;
--! include billing/set_stripe_prices.sql
--! include billing/compare_stripe_prices.sql
--! include billing/begin_subscribe.sql
--! include billing/align_prices.sql
--! include billing/read_subscription.sql
--! include alerts/price_raises.sql

-- Months that are over.
--! include analytics/people_this_month.sql
--! include analytics/people_back_then.sql
--! include analytics/month_figures.sql

-- Alerts that cost a look at everybody's month rest in between.
create table if not exists public.alert_intervals (
  kind text primary key,
  every interval not null check (every > interval '0'),
  checked_at timestamptz
);
comment on table public.alert_intervals is
  'ops. Kinds of alerts that are too dear to look at in each check (spec 9), and how often they are; all others are looked at each time.';
comment on column public.alert_intervals.kind is 'alerts.kind.';
comment on column public.alert_intervals.every is 'Once in each such time (counted in UTC from midnight, on the full hour for an hour).';
comment on column public.alert_intervals.checked_at is 'When it was looked at last; null: not yet.';
insert into public.alert_intervals (kind, every) values ('loss_making', '1 hour'), ('provider_drift', '1 hour') on conflict do nothing;
drop function if exists core.alert_conditions(timestamptz);
drop function if exists core.usage_conditions(timestamptz);
drop function if exists core.raise_alerts(core.alert_condition[], timestamptz);
--! include alerts/usage_conditions.sql
--! include alerts/alert_conditions.sql
--! include alerts/raise_alerts.sql
--! include jobs/check_alerts.sql

-- Messages that are done go after a time.
alter table public.settings add column if not exists message_days integer default 90 check (message_days >= 40);
comment on column public.settings.message_days is
  'Days that alerts and mails are kept that were delivered or given up, but for the newest of each kind to each user; null: for ever. At least 40: no period '
  'in which something is told once is longer.';
grant update (message_days) on public.settings to prpm_ops;
create index if not exists messages_done on public.messages (created_at) where delivered_at is not null or given_up_at is not null;
--! include jobs/forget_history.sql
--! include jobs/faults_of_work.sql
drop view if exists core.texts_about_to_go;

-- The reset in one call keeps those who are at it waiting the least.
--! include limits/reset_monthly_api_costs.sql
