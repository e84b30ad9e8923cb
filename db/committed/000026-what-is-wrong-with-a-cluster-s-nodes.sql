--! Previous: sha1:89f93329150cfa6f101441ef9b1509719b4a3633
--! Hash: sha1:440e75c3f3fe6288e222e33d7255746e9972b576
--! Message: what is wrong with a cluster's nodes

--! split: 1-current.sql
--! Included catalog/version_order.sql
create or replace function core.version_order(version text)
returns numeric[]
language sql
immutable
strict
parallel safe
set search_path = ''
begin atomic
  select array[(case when strpos(version, '-') = 0 then 1 else 0 end)::numeric] || string_to_array(split_part(version, '-', 1), '.')::numeric[];
end;

comment on function core.version_order(text) is
  'What to sort a package''s versions by: releases above pre-releases, then by major, minor and patch number. Pre-releases of one number '
  'are equal here; the later published is the newer.';
--! EndIncluded catalog/version_order.sql
--! Included jobs/faults_of_cluster.sql
create or replace function core.faults_of_cluster()
returns table ("check" text, detail text, what_to_do text)
language sql
stable
set search_path = ''
begin atomic
  select null::text, null::text, null::text where false;
end;

comment on function core.faults_of_cluster() is
  'Part of ops.checks: what is wrong with the nodes of a cluster: nothing, on one server. npm run scale:up puts db/scale/faults_of_cluster.sql in its place. Spec 12.';
--! EndIncluded jobs/faults_of_cluster.sql
--! Included jobs/checks.sql
create or replace function ops.checks()
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  is_whole boolean := true;
begin
  for "check", detail, what_to_do in select f.* from core.faults_of_cluster() f loop
    return next;
    is_whole := is_whole and "check" <> 'node away';
  end loop;
  if not is_whole then
    return; -- what the others ask is partly there
  end if;

  return query
  select f.* from core.now() clock cross join lateral core.faults_of_books(clock) f
  union all
  select f.* from core.faults_of_catalog() f
  union all
  select f.* from core.now() clock cross join lateral core.faults_of_work(clock) f
  union all
  select f.* from core.faults_of_rights() f;
end
$$;

comment on function ops.checks() is
  'Is anything wrong, broken or stuck right now, and what to do about it? No row means healthy. Looks at what the last audit of the books found, holds past '
  'their expiry, jobs, the inbox, Stripe, messages, analytics, prices, tiers, plans, the clock, switches, roles and the nodes of a cluster; at most 100 rows of a kind. '
  'Quick: the books themselves are looked at by ops.audit_books(), and what costs too much by ops.alerts_now. Call: select * from ops.checks(); Spec 12.';
--! EndIncluded jobs/checks.sql
--! Included limits/watch_budgets.sql
create or replace function ops.watch_budgets()
returns numeric
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  budget numeric;
  used numeric;
begin
  select s.free_tier_daily_budget into budget from public.settings s;
  select coalesce(sum(u.current_day_limited_cost), 0) into used
  from public.users u
  where u.day_ends_at > now and core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now) = 'free';

  update public.cost_limits_config l
  set paused_until = case when used >= budget then (date_trunc('day', now at time zone 'UTC') + interval '1 day') at time zone 'UTC' end
  where l.tier_name = 'free' and coalesce(l.paused_until > now, false) <> coalesce(used >= budget, false);
  return used;
end
$$;

comment on function ops.watch_budgets() is
  'Adds up what the free tier as a whole has cost today (US dollars, returned) and pauses it until tomorrow once '
  'settings.free_tier_daily_budget is used up; ends the pause when the budget was raised. For a job each minute, not the hot path. '
  'Call: select ops.watch_budgets(); Spec 3.6.';
--! EndIncluded limits/watch_budgets.sql
