-- The next migration goes here. It runs again on every change, so write it to run twice.
--! include limits/throttle_holds.sql
grant execute on function core.throttle_holds(text, timestamptz, timestamptz) to prpm_ops, prpm_readonly;
--! include limits/throttled_at.sql
--! include analytics/people_this_month.sql
--! include analytics/current_cost_figures.sql
--! include analytics/read_limit_use.sql
drop function if exists core.simulate_usage(timestamptz, timestamptz, jsonb, jsonb, jsonb, integer, integer);
drop function if exists core.runs_under(timestamptz, timestamptz, jsonb, jsonb, jsonb, integer);
--! include analytics/runs_under.sql
--! include analytics/simulate_usage.sql
--! include analytics/replay_runs.sql
--! include analytics/package_ratings.sql
--! include analytics/margin_by_plan.sql
--! include analytics/month_figures.sql
--! include analytics/refresh_usage.sql
--! include alerts/limit_notices.sql
--! include alerts/raise_check_failed.sql
--! include limits/watch_budgets.sql
