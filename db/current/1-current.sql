-- Views show them anyhow; on a cluster the part of a view that is on another node is read by the rights of who asks.
grant select on public.jobs, public.subscription_periods to prpm_readonly;
set local citus.enable_ddl_propagation = off;
-- An audit reads what it compares in one statement for each user, on a cluster too: there, two parts of a statement on two nodes are of two moments.
--! include analytics/user_usage_parts.sql
--! include analytics/usage_parts.sql
--! include analytics/package_news.sql
--! include analytics/package_parts.sql
--! include analytics/audit_usage.sql
--! include jobs/do_batch.sql
--! include catalog/unpriced_models.sql
--! include sessions/delete_session.sql
--! include sessions/read_comparison.sql
--! include alerts/unsubscribe.sql
grant execute on function core.tier_of(text, text, timestamptz) to prpm_ops, prpm_readonly;
grant execute on function core.monthly_limit_of(text) to prpm_ops, prpm_readonly;
