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

-- What begin_run answers, as a type too: a record is described anew in every call.
drop function if exists api.begin_run(
  uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, bytea
);
drop function if exists core.refuse_run(public.users, public.cost_limits_config, json, timestamptz);
drop type if exists core.begun_run;
create type core.begun_run as (
  outcome text,
  begun_run_id uuid,
  begun_session_id uuid,
  run_status text,
  refusal json,
  provider text,
  provider_model text,
  model_alias text,
  package_id uuid,
  package_name text,
  version text,
  system_prompt text,
  history json,
  output_cap integer,
  cache_prompt boolean,
  first_token_timeout_ms integer,
  run_timeout_ms integer,
  checkpoint_ms integer,
  abandon_after_ms integer,
  hold_credits bigint,
  available_credits bigint,
  estimated_input integer,
  held_input integer,
  wanted_output integer,
  rate_limit integer,
  rate_remaining integer,
  rate_reset integer
);
comment on type core.begun_run is
  'outcome: started (with the exact provider request, the hold in credits, and what is free then), known (begun_run_id, run_status) or '
  'refused (refusal: code, status, figures, when to try again). Tokens: estimated_input, held_input, wanted_output, output_cap. rate_*: '
  'what is left of the minute''s attempts, rate_reset in seconds; null limit: none. Spec 1.5, 3.2, 3.6, 5.1.';

alter table public.users add column if not exists last_run_id uuid;
comment on column public.users.last_run_id is 'Highest id of their runs: a higher one is new, and need not be looked for (spec 5.3).';
update public.users u set last_run_id = newest.id
from public.users x
cross join lateral (select r.id from public.runs r where r.user_id = x.id order by r.id desc limit 1) newest
where u.id = x.id and u.last_run_id is distinct from newest.id;

--! include catalog/uuid_or_null.sql
--! include limits/nearly_used_up.sql
--! include runs/write_receipt.sql
--! include runs/settle_again.sql
--! include runs/settle_run.sql
--! include runs/release_run.sql
--! include runs/read_run.sql
--! include runs/refuse_run.sql
--! include runs/begin_run.sql
--! include runs/audit_users.sql
