--! Previous: sha1:2df47fb6fc643a709d2b2badc001ded0549d9ca1
--! Hash: sha1:e1f1b0d489780b2e47aab881c5ecbd401cc756d6
--! Message: views read by who has no right to core

--! split: 1-current.sql
-- In SQL, whose names are found when it is made: who reads a view that calls them has no right to schema core.
set local citus.enable_ddl_propagation = off;
--! Included limits/tier_of.sql
create or replace function core.tier_of(tier_override text, plan_tier text, entitled_until timestamptz)
returns text
language sql
stable
set search_path = ''
begin atomic
  select case when c.is_active or t.tier = 'free' or c.tier_name is null then t.tier else 'free' end
  from (select core.tier_at(tier_of.tier_override, tier_of.plan_tier, tier_of.entitled_until, core.now()) as tier) t
  left join public.cost_limits_config c on c.tier_name = t.tier;
end;

comment on function core.tier_of(text, text, timestamptz) is
  'core.tier_now by a user''s columns, for views: on a cluster they may not call what takes a row of a table. Spec 2.5, 3.1.';
--! EndIncluded limits/tier_of.sql
--! Included limits/tier_now.sql
create or replace function core.tier_now(person public.users)
returns text
language sql
stable
set search_path = ''
begin atomic
  select core.tier_of(person.tier_override, person.plan_tier, person.entitled_until);
end;

comment on function core.tier_now(public.users) is
  'A user''s tier at this moment: the operator''s override, else the plan''s while its period is paid, else free; free too where that tier '
  'is no longer active. A tier without a row is returned as it is: its runs are refused. Spec 2.5, 3.1.';
--! EndIncluded limits/tier_now.sql
--! Included limits/monthly_limit_of.sql
create or replace function core.monthly_limit_of(tier text)
returns numeric
language sql
stable
set search_path = ''
begin atomic
  select (core.find_limits(monthly_limit_of.tier)).monthly_cost_limit;
end;

comment on function core.monthly_limit_of(text) is
  'US dollars a month: of core.find_limits, for views: on a cluster they may not call what returns a row of a table. Null for a tier without a row. Spec 3.1.';
--! EndIncluded limits/monthly_limit_of.sql
