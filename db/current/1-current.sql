-- The next migration goes here. It runs again on every change, so write it to run twice.

-- A receipt in typed columns: as JSON it was a tenth of a run's work in the database.
drop function if exists api.read_run(uuid, uuid);
drop function if exists api.release_run(uuid, uuid, boolean, integer, integer, integer, integer, text, text, text, integer);
drop function if exists api.settle_run(
  uuid, uuid, text, boolean, integer, integer, integer, integer, boolean, text, text, text, text, integer, integer
);
drop function if exists core.settle_again(
  public.runs, text, boolean, integer, integer, integer, integer, boolean, text, text, text, text, integer, integer, timestamptz
);
drop function if exists core.write_receipt(public.runs, public.users, public.cost_limits_config);
drop type if exists core.receipt;
create type core.receipt as (
  run_id uuid,
  session_id uuid,
  status text,
  model text,
  provider_model text,
  package_id uuid,
  package_version text,
  baseline boolean,
  credits_spent bigint,
  credits_by_kind jsonb,
  shortfall bigint,
  credits_remaining bigint,
  input_tokens integer,
  cached_tokens integer,
  cache_write_tokens integer,
  output_tokens integer,
  estimated boolean,
  cost numeric,
  error text,
  error_reason text,
  first_token_ms integer,
  duration_ms integer,
  started_at timestamptz,
  finished_at timestamptz,
  paid_by_purchased_only boolean,
  tier text,
  hourly_limit integer,
  hourly_used integer,
  hour_ends_at timestamptz,
  daily_limit numeric,
  daily_used numeric,
  day_ends_at timestamptz,
  monthly_limit numeric,
  monthly_used numeric,
  month_ends_at timestamptz
);
comment on type core.receipt is
  'What a run used (tokens by kind), cost (US dollars, exact) and was charged (credits, by kind), and what is left: credits, and of each '
  'window the limit (null: none), what is used of it and its end. Requests an hour, US dollars a day and a month. Spec 5.1.';

--! include catalog/uuid_or_null.sql
--! include runs/write_receipt.sql
--! include runs/settle_again.sql
--! include runs/settle_run.sql
--! include runs/release_run.sql
--! include runs/read_run.sql
--! include runs/begin_run.sql
