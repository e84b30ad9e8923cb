-- Asked so that a cluster carries it out.
--! include catalog/unpriced_models.sql
--! include sessions/delete_session.sql
--! include sessions/read_comparison.sql
--! include alerts/unsubscribe.sql

-- Views show them anyhow; on a cluster the part of a view that is on another node is read by the rights of who asks.
grant select on public.jobs, public.subscription_periods to prpm_readonly;
