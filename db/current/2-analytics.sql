-- What was used, cost and earned: rolled up from new runs alone, exact at every moment.
create table if not exists public.usage_rollups (
  user_id uuid not null,
  day date not null,
  model text not null,
  package_id uuid not null,
  tier_name text not null,
  runs bigint not null,
  failed_runs bigint not null,
  input_tokens bigint not null,
  cached_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  cost numeric not null,
  limited_cost numeric not null,
  credits bigint not null,
  shortfall bigint not null,
  included_value numeric not null,
  purchased_value numeric not null,
  cache_saving numeric not null,
  answers bigint not null,
  answer_tokens bigint not null,
  paid_credits bigint not null,
  paid_cost numeric not null,
  primary key (user_id, day, model, package_id, tier_name)
) with (fillfactor = 80);
comment on table public.usage_rollups is 'per-user. What ended runs used, cost and were paid with, up to each user''s core.usage_marks; core.usage_by_day adds the rest. Only core.refresh_usage writes it (spec 8.2).';
comment on column public.usage_rollups.user_id is 'Who ran.';
comment on column public.usage_rollups.day is 'UTC day in which the runs began.';
comment on column public.usage_rollups.model is 'models.alias.';
comment on column public.usage_rollups.package_id is 'The package.';
comment on column public.usage_rollups.tier_name is 'Tier at the time.';
comment on column public.usage_rollups.runs is 'Runs that have ended, however they ended.';
comment on column public.usage_rollups.failed_runs is 'Of them, runs that failed, expired, or have an error.';
comment on column public.usage_rollups.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column public.usage_rollups.cached_tokens is 'Of them, tokens read from a provider''s cache.';
comment on column public.usage_rollups.cache_write_tokens is 'Of them, tokens written to a provider''s cache.';
comment on column public.usage_rollups.output_tokens is 'Tokens written.';
comment on column public.usage_rollups.cost is 'US dollars: exact provider cost.';
comment on column public.usage_rollups.limited_cost is 'US dollars: the part of it that counts against limits.';
comment on column public.usage_rollups.credits is 'Credits charged.';
comment on column public.usage_rollups.shortfall is 'Credits that nothing could pay.';
comment on column public.usage_rollups.included_value is 'US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column public.usage_rollups.purchased_value is 'US dollars of cash that had been paid for the purchased credits spent.';
comment on column public.usage_rollups.cache_saving is 'US dollars that caching saved by the runs'' own price rows: cached reads at less than the input price, less what writes cost above it; below 0 where writes were not read often enough.';
comment on column public.usage_rollups.answers is 'Completed runs with the package''s prompt: baselines left out.';
comment on column public.usage_rollups.answer_tokens is 'Tokens that these wrote.';
comment on column public.usage_rollups.paid_credits is 'Credits charged that cash had been paid for: those of sign-up and operators left out, and all of runs without a paid credit.';
comment on column public.usage_rollups.paid_cost is 'US dollars of provider cost that paid credits bore: all but the share of free credits, and but runs without a paid credit.';
grant select on public.usage_rollups to prpm_readonly;

create table if not exists core.usage_marks (
  user_id uuid not null,
  through_run_id uuid not null,
  primary key (user_id)
) with (fillfactor = 80);
comment on table core.usage_marks is 'per-user. Up to which run usage_rollups has a user''s runs: all that had ended, and none above.';
comment on column core.usage_marks.user_id is 'Whose.';
comment on column core.usage_marks.through_run_id is 'The last run, by id, that is rolled up.';

create table if not exists core.usage_corrections (
  user_id uuid not null,
  run_id uuid not null,
  n integer not null,
  runs bigint not null,
  failed_runs bigint not null,
  input_tokens bigint not null,
  cached_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  cost numeric not null,
  limited_cost numeric not null,
  credits bigint not null,
  shortfall bigint not null,
  included_value numeric not null,
  purchased_value numeric not null,
  cache_saving numeric not null,
  answers bigint not null,
  answer_tokens bigint not null,
  paid_credits bigint not null,
  paid_cost numeric not null,
  primary key (user_id, run_id, n)
);
comment on table core.usage_corrections is 'per-user. Runs that change, or begin, behind their user''s mark: what they counted for before, as figures to be added, so 0 or negative (docs/adr/0016).';
comment on column core.usage_corrections.user_id is 'Who ran.';
comment on column core.usage_corrections.run_id is 'The run.';
comment on column core.usage_corrections.n is 'Which change of it, counted from 1; the first that is not folded in yet is the one that counts.';
comment on column core.usage_corrections.runs is 'Negative of what it was: runs that have ended, however they ended.';
comment on column core.usage_corrections.failed_runs is 'Negative of what it was: of them, runs that failed, expired, or have an error.';
comment on column core.usage_corrections.input_tokens is 'Negative of what it was: tokens read, cached and cache-write parts included.';
comment on column core.usage_corrections.cached_tokens is 'Negative of what it was: of them, tokens read from a provider''s cache.';
comment on column core.usage_corrections.cache_write_tokens is 'Negative of what it was: of them, tokens written to a provider''s cache.';
comment on column core.usage_corrections.output_tokens is 'Negative of what it was: tokens written.';
comment on column core.usage_corrections.cost is 'Negative of what it was: US dollars: exact provider cost.';
comment on column core.usage_corrections.limited_cost is 'Negative of what it was: US dollars: the part of it that counts against limits.';
comment on column core.usage_corrections.credits is 'Negative of what it was: credits charged.';
comment on column core.usage_corrections.shortfall is 'Negative of what it was: credits that nothing could pay.';
comment on column core.usage_corrections.included_value is 'Negative of what it was: US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column core.usage_corrections.purchased_value is 'Negative of what it was: US dollars of cash that had been paid for the purchased credits spent.';
comment on column core.usage_corrections.cache_saving is 'Negative of what it was: US dollars that caching saved by the runs'' own price rows: cached reads at less than the input price, less what writes cost above it; below 0 where writes were not read often enough.';
comment on column core.usage_corrections.answers is 'Negative of what it was: completed runs with the package''s prompt: baselines left out.';
comment on column core.usage_corrections.answer_tokens is 'Negative of what it was: tokens that these wrote.';
comment on column core.usage_corrections.paid_credits is 'Negative of what it was: credits charged that cash had been paid for: those of sign-up and operators left out, and all of runs without a paid credit.';
comment on column core.usage_corrections.paid_cost is 'Negative of what it was: US dollars of provider cost that paid credits bore: all but the share of free credits, and but runs without a paid credit.';

create table if not exists core.package_usage (
  package_id uuid not null,
  model text not null,
  answers bigint not null,
  answer_tokens bigint not null,
  primary key (package_id, model)
) with (fillfactor = 80);
comment on table core.package_usage is 'ops. Sums over usage_rollups by package and model, kept with them.';
comment on column core.package_usage.package_id is 'The package.';
comment on column core.package_usage.model is 'models.alias.';
comment on column core.package_usage.answers is 'Completed runs with the package''s prompt: baselines left out.';
comment on column core.package_usage.answer_tokens is 'Tokens that these wrote.';

do $$
begin
  -- They were materialized views that read all runs, or were written whole for each refresh.
  if exists (select from pg_catalog.pg_class c where c.oid = to_regclass('core.package_model_usage') and c.relkind = 'm') then
    drop materialized view core.package_model_usage;
  end if;
  if exists (select from pg_catalog.pg_class c where c.oid = to_regclass('core.user_cost_figures') and c.relkind = 'm') then
    drop view public.user_cost_analytics;
    drop materialized view core.user_cost_figures;
  end if;
end
$$;
drop function if exists core.refresh_view(regclass);
create table if not exists core.user_cost_figures (
  user_id uuid not null,
  prpm_plus_status text,
  current_month_api_cost numeric not null,
  current_month_requests integer not null,
  avg_cost_per_request numeric,
  lifetime_api_cost numeric not null,
  total_requests bigint not null,
  monthly_revenue numeric not null,
  current_margin_percent numeric,
  is_throttled boolean not null,
  risk_level text not null,
  last_request_at timestamptz,
  percent_of_limit numeric,
  primary key (user_id)
) with (fillfactor = 80);
comment on table core.user_cost_figures is 'per-user. Cost and revenue as of the last refresh; read it as public.user_cost_analytics. Only public.refresh_user_cost_analytics writes it, and only rows that changed (spec 8.1).';
comment on column core.user_cost_figures.user_id is 'Who.';
comment on column core.user_cost_figures.prpm_plus_status is 'active while a subscription entitles, else Stripe''s own word, or null.';
comment on column core.user_cost_figures.current_month_api_cost is 'US dollars: all provider cost of runs begun this calendar month (UTC); 0 once that month is over.';
comment on column core.user_cost_figures.current_month_requests is 'Runs let in this month.';
comment on column core.user_cost_figures.avg_cost_per_request is 'US dollars a run this month, 8 decimals; null without a run.';
comment on column core.user_cost_figures.lifetime_api_cost is 'US dollars: provider cost of every run ever.';
comment on column core.user_cost_figures.total_requests is 'Runs ever let in.';
comment on column core.user_cost_figures.monthly_revenue is 'US dollars a month that entitling subscriptions pay now; a trial pays nothing.';
comment on column core.user_cost_figures.current_margin_percent is 'Revenue less cost, in percent of revenue, 2 decimals; null without revenue.';
comment on column core.user_cost_figures.is_throttled is 'True while throttled.';
comment on column core.user_cost_figures.risk_level is 'By cost this month: above 5 dollars high_risk, above 2.50 medium_risk, above 1 low_risk, else safe.';
comment on column core.user_cost_figures.last_request_at is 'When the last run was let in.';
comment on column core.user_cost_figures.percent_of_limit is 'Percent of the true tier''s monthly limit that is used, by the cost that counts against it; null without a limit.';

--! include analytics/usage_by_run.sql
--! include analytics/usage_corrected.sql
--! include analytics/usage_parts.sql
--! include analytics/usage_by_day.sql
--! include analytics/note_correction.sql
--! include analytics/package_model_usage.sql
--! include analytics/refresh_usage.sql
--! include analytics/audit_usage.sql
--! include analytics/recount_usage.sql
--! include runs/audit_books.sql
--! include runs/begin_run.sql
--! include runs/reopen_run.sql

--! include analytics/paying_subscriptions.sql
--! include analytics/current_cost_figures.sql
--! include analytics/refresh_cost_figures.sql
--! include analytics/user_cost_analytics.sql
grant select on public.user_cost_analytics to prpm_readonly;
--! include analytics/refresh_user_cost_analytics.sql
--! include analytics/month_figures.sql

--! include analytics/cash_received.sql
--! include analytics/margin_by_day.sql
--! include analytics/margin_by_model.sql
--! include analytics/margin_by_package.sql
--! include analytics/margin_by_plan.sql
--! include analytics/margin_by_pack.sql
--! include analytics/margin_by_user.sql
--! include analytics/free_use.sql
--! include analytics/loss_makers.sql
