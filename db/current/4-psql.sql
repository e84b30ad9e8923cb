-- The operator's psql: what goes on, why, and what to do about it.

-- A run's credits given back.
alter table public.runs add column if not exists refunded_at timestamptz;
comment on column public.runs.refunded_at is
  'When an operator gave its credits back (ops.refund_run): credits, shortfall and values are 0 since, its cost stays; null: never.';
do $$
begin
  if not exists (
    select from pg_catalog.pg_attribute a where a.attrelid = 'core.receipt'::regclass and a.attname = 'refunded_at' and not a.attisdropped
  ) then
    alter type core.receipt add attribute refunded_at timestamptz;
  end if;
end
$$;

--! include credits/payments_of.sql
--! include credits/refunded_of.sql
--! include credits/give_back.sql
--! include runs/refund_charge.sql
--! include runs/write_receipt.sql
--! include runs/reopen_run.sql
--! include runs/settle_again.sql
--! include runs/refund_run.sql
--! include runs/explain_charge.sql
--! include runs/audit_runs.sql
