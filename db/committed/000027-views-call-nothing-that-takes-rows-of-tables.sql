--! Previous: sha1:440e75c3f3fe6288e222e33d7255746e9972b576
--! Hash: sha1:0757caff15b4a08a249ddfd77b2b07c7dd5e52a7
--! Message: views call nothing that takes rows of tables

--! split: 1-current.sql
set local citus.enable_ddl_propagation = off;
--! Included limits/tier_of.sql
create or replace function core.tier_of(tier_override text, plan_tier text, entitled_until timestamptz)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  tier text := core.tier_at(tier_override, plan_tier, entitled_until, core.now());
begin
  if exists (select from public.cost_limits_config c where c.tier_name = tier and not c.is_active) then
    return 'free';
  end if;
  return tier;
end
$$;

comment on function core.tier_of(text, text, timestamptz) is
  'core.tier_now by a user''s columns, for views: on a cluster they may not call what takes a row of a table. Spec 2.5, 3.1.';
--! EndIncluded limits/tier_of.sql
--! Included limits/tier_now.sql
create or replace function core.tier_now(person public.users)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return core.tier_of(person.tier_override, person.plan_tier, person.entitled_until);
end
$$;

comment on function core.tier_now(public.users) is
  'A user''s tier at this moment: the operator''s override, else the plan''s while its period is paid, else free; free too where that tier '
  'is no longer active. A tier without a row is returned as it is: its runs are refused. Spec 2.5, 3.1.';
--! EndIncluded limits/tier_now.sql
--! Included limits/monthly_limit_of.sql
create or replace function core.monthly_limit_of(tier text)
returns numeric
language plpgsql
stable
set search_path = ''
as $$
begin
  return (core.find_limits(tier)).monthly_cost_limit;
end
$$;

comment on function core.monthly_limit_of(text) is
  'US dollars a month: of core.find_limits, for views: on a cluster they may not call what returns a row of a table. Null for a tier without a row. Spec 3.1.';
--! EndIncluded limits/monthly_limit_of.sql
--! Included limits/users_at_risk.sql
create or replace view ops.users_at_risk as
select
  u.id as user_id,
  u.email,
  t.tier_name,
  u.current_month_limited_cost as limited_cost_dollars,
  u.current_month_api_cost as cost_dollars,
  t.monthly_cost_limit as limit_dollars,
  round(100 * u.current_month_limited_cost / t.monthly_cost_limit, 1) as percent_of_limit,
  u.is_throttled and core.throttle_holds(u.throttled_by, u.throttled_until, (select core.now())) as is_throttled,
  u.throttled_until,
  u.month_ends_at as resets_at,
  u.last_request_at
from public.users u
join public.cost_limits_config t on t.tier_name = core.tier_of(u.tier_override, u.plan_tier, u.entitled_until)
where u.current_month_limited_cost > 0
  and u.month_ends_at > (select core.now())
  and u.current_month_limited_cost > 0.75 * t.monthly_cost_limit
order by u.last_request_at desc nulls last;

comment on view ops.users_at_risk is
  'Who has used more than 75 % of the monthly limit of their true tier? Latest run first. Counts only cost that counts against limits, and '
  'only while its month lasts. Spec 3.3, 12.';
comment on column ops.users_at_risk.user_id is 'Who.';
comment on column ops.users_at_risk.email is 'Verified e-mail, or null.';
comment on column ops.users_at_risk.tier_name is 'Tier by core.tier_now.';
comment on column ops.users_at_risk.limited_cost_dollars is 'US dollars this month that count against the limit.';
comment on column ops.users_at_risk.cost_dollars is 'US dollars this month in all, what purchased credits paid for included.';
comment on column ops.users_at_risk.limit_dollars is 'US dollars: the tier''s monthly limit.';
comment on column ops.users_at_risk.percent_of_limit is 'Percent of the limit used; above 100 where limits do not throttle.';
comment on column ops.users_at_risk.is_throttled is 'True while throttled.';
comment on column ops.users_at_risk.throttled_until is 'When the throttle ends by itself, or null.';
comment on column ops.users_at_risk.resets_at is 'End of the month window.';
comment on column ops.users_at_risk.last_request_at is 'When the last run was let in.';
--! EndIncluded limits/users_at_risk.sql
--! Included limits/tier_differences.sql
create or replace view ops.tier_differences as
select * from (
  select
    u.last_request_at,
    u.id as user_id,
    u.email,
    case
      when u.prpm_plus_status is distinct from 'active' then 'free'
      when exists (select from public.organization_members m where m.user_id = u.id) then 'prpm_plus_org'
      else 'prpm_plus_individual'
    end as guide_tier,
    core.tier_of(u.tier_override, u.plan_tier, u.entitled_until) as true_tier,
    u.tier_override,
    u.plan_tier,
    u.entitled_until,
    u.prpm_plus_status
  from public.users u
) t
where t.guide_tier <> t.true_tier
order by t.last_request_at desc nulls last;

comment on view ops.tier_differences is
  'For whom is the tier in the guide''s query not the true one? Its CASE knows neither overrides, further plans, verification of organizations '
  'nor tiers that are no longer active. Latest run first. Spec 12.';
comment on column ops.tier_differences.last_request_at is 'When the last run was let in.';
comment on column ops.tier_differences.user_id is 'Who.';
comment on column ops.tier_differences.email is 'Verified e-mail, or null.';
comment on column ops.tier_differences.guide_tier is 'Tier by the guide''s CASE.';
comment on column ops.tier_differences.true_tier is 'Tier by core.tier_now: the one whose limits hold.';
comment on column ops.tier_differences.tier_override is 'What an operator gave, or null.';
comment on column ops.tier_differences.plan_tier is 'Tier of the plan last paid for, or null.';
comment on column ops.tier_differences.entitled_until is 'Until when plan_tier holds.';
comment on column ops.tier_differences.prpm_plus_status is 'The subscription''s state as the guide reads it.';
--! EndIncluded limits/tier_differences.sql
--! Included limits/throttled_now.sql
create or replace view ops.throttled_now as
select
  u.throttled_at,
  u.id as user_id,
  u.email,
  core.tier_of(u.tier_override, u.plan_tier, u.entitled_until) as tier_name,
  coalesce(u.throttled_by, 'plain update') as throttled_by,
  u.throttled_reason,
  case when u.throttled_by is not null then u.throttled_until end as throttled_until,
  case when u.month_ends_at > (select core.now()) then u.current_month_limited_cost else 0 end as month_limited_cost_dollars,
  case when u.day_ends_at > (select core.now()) then u.current_day_limited_cost else 0 end as day_limited_cost_dollars,
  format('select * from ops.release_throttle(%L, reason => %L)', u.id, '…') as lift_with
from public.users u
where u.is_throttled and core.throttle_holds(u.throttled_by, u.throttled_until, (select core.now()))
order by u.throttled_at desc nulls last;

comment on view ops.throttled_now is
  'Who is throttled, why and until when? Newest first; throttles that are past their end are left out. Spec 3.4, 12.';
comment on column ops.throttled_now.throttled_at is 'Since when; null for a plain UPDATE.';
comment on column ops.throttled_now.user_id is 'Who.';
comment on column ops.throttled_now.email is 'Verified e-mail, or null.';
comment on column ops.throttled_now.tier_name is 'Tier by core.tier_now.';
comment on column ops.throttled_now.throttled_by is 'limit, operator (ops.throttle_user), or plain update of the column.';
comment on column ops.throttled_now.throttled_reason is 'Why, in words.';
comment on column ops.throttled_now.throttled_until is 'When it ends by itself; null: when it is lifted.';
comment on column ops.throttled_now.month_limited_cost_dollars is 'US dollars this month that count against the limit.';
comment on column ops.throttled_now.day_limited_cost_dollars is 'US dollars today that count against the limit.';
comment on column ops.throttled_now.lift_with is 'A call to paste.';
--! EndIncluded limits/throttled_now.sql
--! Included analytics/current_cost_figures.sql
create or replace view core.current_cost_figures as
select
  f.user_id,
  f.prpm_plus_status,
  f.month_cost as current_month_api_cost,
  f.month_requests as current_month_requests,
  round(f.month_cost / nullif(f.month_requests, 0), 8) as avg_cost_per_request,
  f.lifetime_api_cost,
  f.total_requests,
  f.monthly_revenue,
  round(100 * (f.monthly_revenue - f.month_cost) / nullif(f.monthly_revenue, 0), 2) as current_margin_percent,
  f.is_throttled,
  case
    when f.month_cost > 5 then 'high_risk'
    when f.month_cost > 2.5 then 'medium_risk'
    when f.month_cost > 1 then 'low_risk'
    else 'safe'
  end as risk_level,
  f.last_request_at,
  round(100 * f.month_limited_cost / limits.monthly_cost_limit, 2) as percent_of_limit
from (
  select
    u.id as user_id,
    u.prpm_plus_status,
    case when u.month_ends_at > clock.now then u.current_month_api_cost else 0 end as month_cost,
    case when u.month_ends_at > clock.now then u.current_month_limited_cost else 0 end as month_limited_cost,
    case when u.month_ends_at > clock.now then u.current_month_requests else 0 end as month_requests,
    u.lifetime_api_cost,
    u.total_requests,
    coalesce(paying.monthly_amount, 0) as monthly_revenue,
    u.is_throttled and core.throttle_holds(u.throttled_by, u.throttled_until, clock.now) as is_throttled,
    u.last_request_at,
    core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, clock.now) as tier_name
  from (select core.now() as now offset 0) clock
  cross join public.users u
  left join (
    select s.user_id, sum(s.monthly_amount) as monthly_amount
    from core.paying_subscriptions((select core.now())) s
    group by s.user_id
  ) paying on paying.user_id = u.id
) f
-- The rule on tiers that are not active, asked once for each tier and not for each user.
left join (
  select c.tier_name, core.monthly_limit_of(c.tier_name) as monthly_cost_limit from public.cost_limits_config c offset 0
) limits on limits.tier_name = f.tier_name;

comment on view core.current_cost_figures is
  'Each user''s cost and revenue at this moment, from their own row: what a refresh writes to core.user_cost_figures, where the columns are '
  'explained. Spec 8.1.';
comment on column core.current_cost_figures.user_id is 'Who.';
comment on column core.current_cost_figures.prpm_plus_status is 'active while a subscription entitles, else Stripe''s own word, or null.';
comment on column core.current_cost_figures.current_month_api_cost is 'US dollars: all provider cost of runs begun this calendar month (UTC); 0 once that month is over.';
comment on column core.current_cost_figures.current_month_requests is 'Runs let in this month.';
comment on column core.current_cost_figures.avg_cost_per_request is 'US dollars a run this month, 8 decimals; null without a run.';
comment on column core.current_cost_figures.lifetime_api_cost is 'US dollars: provider cost of every run ever.';
comment on column core.current_cost_figures.total_requests is 'Runs ever let in.';
comment on column core.current_cost_figures.monthly_revenue is 'US dollars a month that entitling subscriptions pay now; a trial pays nothing.';
comment on column core.current_cost_figures.current_margin_percent is 'Revenue less cost, in percent of revenue, 2 decimals; null without revenue.';
comment on column core.current_cost_figures.is_throttled is 'True while throttled.';
comment on column core.current_cost_figures.risk_level is 'By cost this month: above 5 dollars high_risk, above 2.50 medium_risk, above 1 low_risk, else safe.';
comment on column core.current_cost_figures.last_request_at is 'When the last run was let in.';
comment on column core.current_cost_figures.percent_of_limit is 'Percent of the true tier''s monthly limit that is used, by the cost that counts against it; null without a limit.';
--! EndIncluded analytics/current_cost_figures.sql
