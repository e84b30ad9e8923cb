-- Providers' invoices and exports against our books; the figures that metrics read.
alter table public.settings add column if not exists provider_drift_percent numeric not null default 5
  check (provider_drift_percent between 0 and 100);
alter table public.settings add column if not exists provider_drift_dollars numeric not null default 0.10
  check (provider_drift_dollars between 0 and 1000000);
comment on column public.settings.provider_drift_percent is
  'Percent by which a provider''s invoice may differ from our books before ops.provider_drift calls it off (spec 7.1).';
comment on column public.settings.provider_drift_dollars is
  'US dollars that such a difference must reach, for exports round to cents (spec 7.1).';
grant update (provider_drift_percent, provider_drift_dollars) on public.settings to prpm_ops;

--! include catalog/model_key.sql
--! include catalog/model_of_provider.sql
--! include analytics/provider_usage.sql
--! include analytics/read_period.sql
--! include analytics/check_provider.sql
--! include analytics/check_provider_figures.sql
--! include analytics/put_provider_usage.sql
--! include analytics/record_provider_invoice.sql
--! include analytics/import_provider_usage.sql
--! include analytics/provider_said.sql
--! include analytics/provider_booked.sql
--! include analytics/provider_comparison.sql
--! include analytics/provider_drift.sql
--! include analytics/explain_provider_drift.sql
--! include analytics/reconcile_costs.sql

grant execute on function core.model_key(text) to prpm_ops, prpm_readonly;
grant select on core.provider_said, core.provider_booked, core.provider_comparison to prpm_ops;

insert into public.jobs (job, every, after, description, call) values
  ('reconcile-costs', '1 day', '3 hours 40 minutes', 'Holds providers'' invoices against our books: ops.reconcile_costs()', 'reconcile_costs')
on conflict do nothing;

-- Reads what later files make: alerts and messages.
--! include jobs/read_metrics.sql
