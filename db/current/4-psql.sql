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
--! include credits/give_back.sql
--! include runs/refund_charge.sql
--! include runs/write_receipt.sql
--! include runs/reopen_run.sql
--! include runs/settle_again.sql
--! include runs/refund_run.sql
--! include runs/explain_charge.sql
--! include runs/audit_runs.sql

-- Throttles: one rule for which window is used up; actions that say beforehand what they would do.
drop function if exists ops.throttle_user(text, timestamptz, text);
drop function if exists ops.waive_limits(text, timestamptz, text);
drop function if exists ops.release_throttle(text, text);
--! include limits/used_up_window.sql
--! include limits/judge_throttle.sql
--! include accounts/watch_throttle.sql
--! include limits/explain_throttle.sql
--! include limits/throttle_user.sql
--! include limits/waive_limits.sql
--! include limits/release_throttle.sql
--! include runs/remedy_of.sql
--! include runs/explain_refusal.sql
