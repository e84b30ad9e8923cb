--! Previous: sha1:26fe8d168c050ba2b2e1dc36a17cf297344dfb1f
--! Hash: sha1:ceba1db49534f33b0ce642ead8a3224e64ba6656
--! Message: receipts and begun runs as types, the newest run known

--! split: 1-current.sql
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

--! Included catalog/uuid_or_null.sql
create or replace function core.uuid_or_null(value text)
returns uuid
language sql
immutable
parallel safe
begin atomic
  -- Cheaper than a regular expression, which every run would pay for.
  select case
    when value like '________-____-____-____-____________'
      and length(replace(value, '-', '')) = 32 and translate(value, '0123456789abcdefABCDEF-', '') = ''
    then value::uuid
  end;
end;

comment on function core.uuid_or_null(text) is 'The text as a uuid, or null if it is none.';
--! EndIncluded catalog/uuid_or_null.sql
--! Included limits/nearly_used_up.sql
create or replace function core.nearly_used_up(u public.users, l public.cost_limits_config, enough numeric)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select coalesce(greatest(
    u.current_month_limited_cost - l.monthly_cost_limit, u.current_day_limited_cost - l.daily_cost_limit
  ) > -enough, false);
end;

comment on function core.nearly_used_up(public.users, public.cost_limits_config, numeric) is
  'True where a cost window may be used up, so that core.judge_throttle must look: less than enough US dollars are left of it. Spec 3.4.';
--! EndIncluded limits/nearly_used_up.sql
--! Included runs/write_receipt.sql
create or replace function core.write_receipt(r public.runs, u public.users, l public.cost_limits_config)
returns core.receipt
language sql
stable
begin atomic
  select row(
    r.id, r.session_id, r.status, r.model, r.provider_model, r.package_id, r.package_version, r.baseline,
    r.credits, coalesce(r.credits_by_kind, '{}'), r.shortfall,
    greatest(0, u.included_credits + u.purchased_credits - u.held_included - u.held_purchased),
    r.input_tokens, r.cached_tokens, r.cache_write_tokens, r.output_tokens, r.estimated, r.cost,
    r.error, r.error_reason, r.first_token_ms, r.duration_ms, r.started_at, r.finished_at,
    r.hold_included = 0 and r.hold_purchased > 0,
    l.tier_name,
    l.hourly_request_limit, u.hour_requests, u.hour_ends_at,
    l.daily_cost_limit, u.current_day_limited_cost, u.day_ends_at,
    l.monthly_cost_limit, u.current_month_limited_cost, u.month_ends_at
  )::core.receipt;
end;

comment on function core.write_receipt(public.runs, public.users, public.cost_limits_config) is
  'The receipt of a run (see type core.receipt), as of now. The user''s windows are rolled. Spec 5.1.';
--! EndIncluded runs/write_receipt.sql
--! Included runs/settle_again.sql
create or replace function core.settle_again(
  r public.runs, ending text, called boolean,
  input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean,
  question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer, now timestamptz
)
returns core.receipt
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  l public.cost_limits_config;
begin
  if r.status = 'expired' and r.error = 'run_expired' and settle_again.ending <> 'expired' then
    perform core.reopen_run(r, settle_again.now);
    return api.settle_run(
      r.user_id, r.id, settle_again.ending, settle_again.called, settle_again.input_tokens, settle_again.cached_tokens,
      settle_again.cache_write_tokens, settle_again.output_tokens, settle_again.estimated, settle_again.question, settle_again.answer,
      settle_again.error, settle_again.error_reason, settle_again.first_token_ms, settle_again.duration_ms
    );
  end if;
  select x.* into strict u from public.users x where x.id = r.user_id;
  u := core.roll_windows(u, settle_again.now);
  l := core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, settle_again.now));
  return core.write_receipt(r, u, l);
end
$$;

comment on function core.settle_again(public.runs, text, boolean, integer, integer, integer, integer, boolean, text, text, text, text, integer, integer, timestamptz) is
  'Answers a settlement of a run that has ended: the receipt as it stands. But if the run had been taken for dead (expired) and its server '
  'comes back with what really happened, that is booked in place of the expiry''s guess. The caller holds the user''s row. Spec 5.3.';
--! EndIncluded runs/settle_again.sql
--! Included runs/settle_run.sql
create or replace function api.settle_run(
  user_id uuid, run_id uuid, ending text, called boolean,
  input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean,
  question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer
)
returns core.receipt
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  s record;
  u public.users;
  r public.runs;
  l public.cost_limits_config;
  p record;
  spent record;
  now timestamptz;
  charged boolean;
  checkpointed boolean;
  due bigint := 0;
  from_included bigint := 0;
  from_purchased bigint := 0;
  over bigint;
  lot_kind text;
begin
  select x.clock_offset, x.min_output_tokens into s from public.settings x;
  u := (select x from public.users x where x.id = settle_run.user_id for no key update);
  r := (select x from public.runs x where x.user_id = settle_run.user_id and x.id = settle_run.run_id);
  if r.id is null then
    raise exception 'run % of user % is unknown', settle_run.run_id, settle_run.user_id using errcode = 'PR404', detail = 'run_id';
  end if;
  now := clock_timestamp() + s.clock_offset;
  if r.status <> 'running' then
    return core.settle_again(
      r, ending, called, settle_run.input_tokens, settle_run.cached_tokens, settle_run.cache_write_tokens, settle_run.output_tokens,
      settle_run.estimated, question, answer, settle_run.error, settle_run.error_reason, settle_run.first_token_ms, settle_run.duration_ms, now
    );
  end if;
  if u.next_lot_expiry <= now then
    perform core.tidy_lots(u.id, now);
    u := (select x from public.users x where x.id = settle_run.user_id);
  end if;
  if now >= least(u.hour_ends_at, u.day_ends_at, u.month_ends_at) then
    u := core.roll_windows(u, now);
  end if;
  l := (
    select x from public.cost_limits_config x
    where x.tier_name = core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now)
  );
  if not l.is_active then
    l := core.find_limits(l.tier_name);
  end if;

  -- What it used and cost.
  checkpointed := r.output_tokens is not null;
  charged := coalesce(answer, '') <> '' or ending in ('completed', 'length') or ending = 'stopped' and called;
  select x.input, x.cached_read, x.cache_write, x.output into p from public.model_prices x where x.id = r.price_id;
  if called then
    r.cached_tokens := greatest(0, coalesce(settle_run.cached_tokens, 0));
    r.cache_write_tokens := greatest(0, coalesce(settle_run.cache_write_tokens, 0));
    r.input_tokens := greatest(coalesce(settle_run.input_tokens, r.estimated_input), r.cached_tokens + r.cache_write_tokens);
    r.output_tokens := greatest(0, coalesce(settle_run.output_tokens, 0));
    r.estimated := settle_run.estimated or settle_run.input_tokens is null;
    r.cost := core.cost_of(
      r.input_tokens, r.cached_tokens, r.cache_write_tokens, r.output_tokens, p.input, p.cached_read, p.cache_write, p.output
    );
  else
    r.input_tokens := 0;
    r.cached_tokens := 0;
    r.cache_write_tokens := 0;
    r.output_tokens := 0;
    r.cost := 0;
  end if;

  -- Who pays: what it holds, included credits first; above that what no other run holds.
  if charged then
    due := core.charge_for(r.input_tokens::bigint + r.output_tokens, r.tokens_per_credit, r.credit_multiplier, r.prompt_multiplier);
    from_included := least(due, r.hold_included);
    from_purchased := least(due - from_included, r.hold_purchased);
    over := due - from_included - from_purchased;
    if over > 0 then
      select x.from_included, x.from_purchased into from_included, from_purchased
      from core.cover_overrun(from_included, from_purchased, over, r.hold_included = 0 and r.hold_purchased > 0,
        u.included_credits - u.held_included, u.purchased_credits - u.held_purchased) x;
    end if;
  end if;
  r.credits := from_included + from_purchased;
  r.shortfall := due - r.credits;
  r.limited_cost := r.cost;
  if from_purchased > 0 or r.hold_purchased > 0 then
    r.limited_cost := core.limited_part(r.cost, due, from_included, from_purchased, r.hold_included = 0 and r.hold_purchased > 0);
  end if;

  -- Take it from the lots: as a rule from the one that is spent first.
  if r.credits > 0 then
    if from_included = 0 or from_purchased = 0 then
      update public.credit_lots x
      set remaining = x.remaining - r.credits
      where x.user_id = u.id and x.id = u.spend_lot and x.remaining > r.credits and (x.kind = 'purchased') = (from_included = 0)
      returning x.kind into lot_kind;
    end if;
    if lot_kind is not null then
      u.transaction_count := u.transaction_count + 1;
      insert into public.credit_transactions
        (user_id, id, type, debit, credit, amount, balance_after, lot_id, run_id, created_at)
      values (
        u.id, u.transaction_count, 'spend', 'lot', 'spent', r.credits, u.included_credits + u.purchased_credits - r.credits,
        u.spend_lot, r.id, now
      );
      r.credits_by_kind := jsonb_build_object(lot_kind, r.credits);
    else
      select x.by_kind, x.transaction_count, x.spend_lot, x.next_lot_expiry into spent
      from core.spend_lots(u, r.id, from_included, from_purchased, now) x;
      r.credits_by_kind := spent.by_kind;
      u.transaction_count := spent.transaction_count;
      u.spend_lot := spent.spend_lot;
      u.next_lot_expiry := spent.next_lot_expiry;
    end if;
  end if;

  -- The run, its texts, the user's figures.
  r.finished_at := now;
  update public.runs x set
    status = case
      when ending = 'expired' then 'expired'
      when not charged then 'released'
      when ending = 'length' then 'completed'
      else ending
    end,
    input_tokens = r.input_tokens, cached_tokens = r.cached_tokens, cache_write_tokens = r.cache_write_tokens,
    output_tokens = r.output_tokens, estimated = r.estimated, cost = r.cost, limited_cost = r.limited_cost, credits = r.credits,
    shortfall = r.shortfall, credits_by_kind = r.credits_by_kind, error = settle_run.error, error_reason = settle_run.error_reason,
    first_token_ms = settle_run.first_token_ms, duration_ms = settle_run.duration_ms, finished_at = now
  where x.user_id = u.id and x.id = r.id
  returning x.status, checkpointed or x.hold_expires_at <> r.hold_expires_at into r.status, checkpointed;
  r.error := settle_run.error;
  r.error_reason := settle_run.error_reason;
  r.first_token_ms := settle_run.first_token_ms;
  r.duration_ms := settle_run.duration_ms;
  if checkpointed then
    perform core.keep_texts(u.id, r.session_id, r.id, question, coalesce(answer, ''));
  elsif question is not null then
    insert into public.run_texts (user_id, session_id, run_id, question, answer)
    values (u.id, r.session_id, r.id, question, coalesce(answer, ''));
  end if;

  u.included_credits := u.included_credits - from_included;
  u.purchased_credits := u.purchased_credits - from_purchased;
  u.held_included := u.held_included - r.hold_included;
  u.held_purchased := u.held_purchased - r.hold_purchased;
  u.open_runs := array_remove(u.open_runs, r.id);
  u.lifetime_api_cost := u.lifetime_api_cost + r.cost;
  if r.started_at >= u.day_ends_at - interval '24 hours' then
    u.current_day_api_cost := u.current_day_api_cost + r.cost;
    u.current_day_limited_cost := u.current_day_limited_cost + r.limited_cost;
    if r.hold_included > 0 then
      u.day_held_cost := u.day_held_cost - r.hold_cost;
    end if;
  end if;
  if r.started_at >= (u.month_ends_at at time zone 'UTC' - interval '1 month') at time zone 'UTC' then
    u.current_month_api_cost := u.current_month_api_cost + r.cost;
    u.current_month_limited_cost := u.current_month_limited_cost + r.limited_cost;
    if r.hold_included > 0 then
      u.month_held_cost := u.month_held_cost - r.hold_cost;
    end if;
  end if;
  if r.status = 'released' and ending = 'failed' and r.started_at >= u.hour_ends_at - interval '1 hour' then
    u.hour_requests := u.hour_requests - 1;
  end if;
  if u.open_runs = '{}' then
    u.holds_expire_at := 'infinity';
  end if;

  update public.users x set
    transaction_count = u.transaction_count, spend_lot = u.spend_lot, next_lot_expiry = u.next_lot_expiry,
    included_credits = u.included_credits, purchased_credits = u.purchased_credits,
    held_included = u.held_included, held_purchased = u.held_purchased, open_runs = u.open_runs, holds_expire_at = u.holds_expire_at,
    hour_requests = u.hour_requests, hour_ends_at = u.hour_ends_at,
    current_day_api_cost = u.current_day_api_cost, current_day_limited_cost = u.current_day_limited_cost,
    day_held_cost = u.day_held_cost, day_ends_at = u.day_ends_at,
    current_month_api_cost = u.current_month_api_cost, current_month_limited_cost = u.current_month_limited_cost,
    month_held_cost = u.month_held_cost, month_ends_at = u.month_ends_at, current_month_requests = u.current_month_requests,
    lifetime_api_cost = u.lifetime_api_cost, updated_at = now
  where x.id = u.id;

  if u.next_lot_expiry <= now then
    perform core.tidy_lots(u.id, now);
    u := (select x from public.users x where x.id = settle_run.user_id);
  end if;
  if l.throttle_on_exceed and r.cost > 0 and core.nearly_used_up(u, l, s.min_output_tokens * p.output * 0.000001) or u.is_throttled then
    perform core.judge_throttle(u.id, now);
  end if;
  return core.write_receipt(r, u, l);
end
$$;

comment on function api.settle_run(uuid, uuid, text, boolean, integer, integer, integer, integer, boolean, text, text, text, text, integer, integer) is
  'Ends a run by what really happened, books its exact cost and charges it: one lock, one transaction, once. ending: completed, length, '
  'stopped, failed or expired; called: whether a request may have reached the provider; tokens as the provider reported, input_tokens null '
  'where the report was lost (then the estimate stands in); answer: what was delivered. A failure that delivered nothing charges nothing, '
  'its cost counts all the same. Called again it answers the same receipt; after an expiry it books the difference. Returns the receipt '
  '(see type core.receipt). Errors: PR404 unknown run. Spec 1.1, 1.3, 3.2 to 3.4, 4.2, 4.5, 5.4.';
--! EndIncluded runs/settle_run.sql
--! Included runs/release_run.sql
create or replace function api.release_run(
  user_id uuid, run_id uuid, called boolean,
  input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer,
  question text, error text, error_reason text, duration_ms integer
)
returns core.receipt
language sql
security definer
set search_path = ''
begin atomic
  select api.settle_run(
    release_run.user_id, release_run.run_id, 'failed', release_run.called,
    release_run.input_tokens, release_run.cached_tokens, release_run.cache_write_tokens, release_run.output_tokens,
    release_run.called and release_run.input_tokens is null,
    release_run.question, '', release_run.error, release_run.error_reason, null, release_run.duration_ms
  );
end;

comment on function api.release_run(uuid, uuid, boolean, integer, integer, integer, integer, text, text, text, integer) is
  'Ends a run that delivered nothing because of us or the provider: nothing is charged, what the call cost is booked. Returns the receipt. '
  'Errors: PR404 unknown run. Spec 5.4.';
--! EndIncluded runs/release_run.sql
--! Included runs/read_run.sql
create or replace function api.read_run(user_id uuid, run_id uuid)
returns table (receipt core.receipt, question text, answer text)
language sql
stable
security definer
set search_path = ''
begin atomic
  select
    core.write_receipt(r, rolled, core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now))),
    t.question,
    t.answer
  from core.now() now
  join public.runs r on r.user_id = read_run.user_id and r.id = read_run.run_id
  join public.users u on u.id = r.user_id
  cross join lateral core.roll_windows(u, now) rolled
  left join public.run_texts t on t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id;
end;

comment on function api.read_run(uuid, uuid) is
  'A run of this user: receipt as it stands (see type core.receipt), question and answer so far. No row for an unknown run or another''s. '
  'Spec 5.2.';
--! EndIncluded runs/read_run.sql
--! Included runs/refuse_run.sql
create or replace function core.refuse_run(u public.users, l public.cost_limits_config, refusal json, now timestamptz)
returns core.begun_run
language plpgsql
set search_path = ''
as $$
declare
  begun core.begun_run;
begin
  perform core.note_refusal(u, refusal, refuse_run.now);
  begun.outcome := 'refused';
  begun.refusal := refuse_run.refusal;
  begun.available_credits := u.included_credits + u.purchased_credits - u.held_included - u.held_purchased;
  begun.rate_limit := l.minute_request_limit;
  begun.rate_remaining := l.minute_request_limit - least(l.minute_request_limit, u.minute_attempts);
  begun.rate_reset := ceil(extract(epoch from u.minute_ends_at - refuse_run.now));
  return begun;
end
$$;

comment on function core.refuse_run(public.users, public.cost_limits_config, json, timestamptz) is
  'Stores what a refused attempt leaves behind and writes api.begin_run''s answer to it. The caller holds the user''s row. Spec 3.2, 3.6.';
--! EndIncluded runs/refuse_run.sql
--! Included runs/begin_run.sql
create or replace function api.begin_run(
  user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean,
  input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer,
  idempotency_key text, request_hash bytea
)
returns core.begun_run
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  s public.settings;
  u public.users;
  l public.cost_limits_config;
  m public.models;
  begun core.begun_run;
  is_known boolean := false;
  asked_id uuid;
  refusal json;
  p record;
  k record;
  v record;
  talk record;
  hold_included bigint;
  hold_cost numeric;
  now timestamptz;
  cost_left numeric;
  estimated_input integer;
  held_input integer;
  wanted_output integer;
  output_cap integer;
  useful integer;
  hold_credits bigint;
  exact boolean;
  counts boolean;
  prompt_multiplier numeric := 1;
  history json;
begin
  -- Rows are read whole, as one value: a list of columns is set up anew, column by column, in every call.
  s := (select x from public.settings x);
  u := (select x from public.users x where x.id = begin_run.user_id for no key update);
  if u.id is null then
    raise exception 'user % is unknown', begin_run.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  now := clock_timestamp() + s.clock_offset;

  -- Seen before: the same run, or the same key. Ids are ordered by time: one above all others is new.
  if begin_run.run_id <= u.last_run_id then
    select r.id, r.session_id, r.status into k from public.runs r where r.user_id = u.id and r.id = begin_run.run_id;
    is_known := found;
  end if;
  if not is_known and idempotency_key is not null then
    select i.run_id, i.request_hash into k
    from public.idempotency_keys i
    where i.user_id = u.id and i.key = idempotency_key and i.created_at > now - interval '24 hours';
    if found and k.request_hash <> begin_run.request_hash then
      begun.outcome := 'refused';
      begun.refusal := core.describe_refusal('idempotency_conflict', 409,
        'This Idempotency-Key was used for another request. Use a new key for a new request.', now);
      perform core.count_refusal(u.id, begun.refusal, now);
      return begun;
    end if;
    if found then
      select r.id, r.session_id, r.status into k from public.runs r where r.user_id = u.id and r.id = k.run_id;
      is_known := found;
    end if;
  end if;
  if is_known then
    begun.outcome := 'known';
    begun.begun_run_id := k.id;
    begun.begun_session_id := k.session_id;
    begun.run_status := k.status;
    return begun;
  end if;

  -- What has passed since the last use.
  if u.next_lot_expiry <= now or u.holds_expire_at <= now then
    perform core.expire_user_holds(u.id, now);
    perform core.tidy_lots(u.id, now);
    u := (select x from public.users x where x.id = begin_run.user_id);
  end if;
  if now >= least(u.minute_ends_at, u.hour_ends_at, u.day_ends_at, u.month_ends_at) then
    u := core.roll_windows(u, now);
  end if;
  u.minute_attempts := u.minute_attempts + 1;

  -- The tier and its limits.
  l := (
    select x from public.cost_limits_config x
    where x.tier_name = core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now)
  );
  if not l.is_active then
    l := core.find_limits(l.tier_name);
  end if;

  -- Looked at closely only where something may stand in the way.
  if u.closed_at is not null or l.tier_name is null or not s.runs_enabled or u.is_throttled or l.paused_until is not null
    or u.minute_attempts > l.minute_request_limit or u.hour_requests >= l.hourly_request_limit
  then
    refusal := core.refuse_by_standing(u, l, s.runs_enabled, now);
  end if;
  if refusal is not null then
    return core.refuse_run(u, l, refusal, now);
  end if;

  -- What is asked for.
  if begin_run.model is null then
    m := (select x from public.models x where x.is_default);
  else
    m := (select x from public.models x where x.alias = begin_run.model);
  end if;
  select x.id, x.input, x.cache_write, x.output into p
  from public.model_prices x
  where x.model = m.alias and x.valid @> now;

  -- A condition on null is planned anew each time, so it is not asked by id where none was given.
  asked_id := core.uuid_or_null(begin_run.package);
  is_known := asked_id is not null;
  if is_known then
    select x.id, x.name, x.latest_version, x.visibility, x.author_id, x.organization_id into k
    from public.packages x
    where x.id = asked_id;
    is_known := found;
  end if;
  if not is_known then
    select x.id, x.name, x.latest_version, x.visibility, x.author_id, x.organization_id into k
    from public.packages x
    where x.name = lower(begin_run.package);
  end if;
  select x.version, x.prompt, x.tokens_o200k, x.tokens_cl100k, x.tokens_approximate, x.cache_prompt into v
  from public.package_versions x
  where x.package_id = k.id and x.version = coalesce(begin_run.package_version, k.latest_version);

  if m.alias is null or not m.enabled or p.id is null then
    refusal := core.refuse_by_model(begin_run.model, m, now);
  elsif k.id is null or v.version is null or k.visibility = 'private' then
    refusal := core.refuse_by_package(
      u.id, begin_run.package, begin_run.package_version, k.id, k.visibility, k.author_id, k.organization_id, v.version, now
    );
  end if;
  if refusal is null and custom_prompt_tokens is not null and not u.verified_author then
    refusal := core.describe_refusal('verified_author_required', 403,
      'Custom prompts are only available to verified authors.', now);
  end if;
  if refusal is null and begin_run.session_id is not null then
    select x.* into talk from core.continue_session(u.id, begin_run.session_id, k.id, m.alias, now) x;
    refusal := talk.refusal;
  end if;
  if refusal is not null then
    return core.refuse_run(u, l, refusal, now);
  end if;

  -- How large it is: tokens read for certain, tokens written at most.
  exact := counted_with = m.tokenizer and m.tokenizer <> 'approximate';
  estimated_input := begin_run.input_tokens + 7;
  if custom_prompt_tokens is not null then
    prompt_multiplier := s.custom_prompt_multiplier;
    estimated_input := estimated_input + custom_prompt_tokens + 4;
  elsif not use_no_prompt then
    estimated_input := estimated_input + 4 + case m.tokenizer
      when 'o200k_base' then v.tokens_o200k when 'cl100k_base' then v.tokens_cl100k else v.tokens_approximate
    end;
  end if;
  if begin_run.session_id is not null then
    estimated_input := estimated_input + talk.tokens;
    history := talk.messages;
    exact := exact and talk.same_model;
  end if;
  held_input := ceil(estimated_input * case when exact then s.estimate_safety_exact else s.estimate_safety end);
  wanted_output := least(
    begin_run.max_output_tokens, m.max_output_tokens, s.max_request_tokens - estimated_input, m.context_tokens - estimated_input,
    case when custom_prompt_tokens is null then s.max_output_tokens else s.custom_max_output_tokens end
  );
  useful := least(
    s.min_output_tokens, begin_run.max_output_tokens, m.max_output_tokens,
    case when custom_prompt_tokens is null then s.max_output_tokens else s.custom_max_output_tokens end
  );

  -- How much of it credits and cost windows can bear: all of it on credits that were not purchased, or what fits.
  if l.throttle_on_exceed and not coalesce(u.limits_waived_until > now, false) then
    cost_left := least(
      l.daily_cost_limit - u.current_day_limited_cost - u.day_held_cost,
      l.monthly_cost_limit - u.current_month_limited_cost - u.month_held_cost
    );
  end if;
  output_cap := wanted_output;
  hold_credits := core.charge_for(held_input + wanted_output, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier);
  hold_included := hold_credits;
  hold_cost := (held_input * greatest(p.input, p.cache_write) + wanted_output * p.output) * 0.000001;
  if hold_credits > u.included_credits - u.held_included or hold_cost > cost_left then
    select x.output_cap, x.hold_included + x.hold_purchased, x.hold_included, x.hold_cost
    into output_cap, hold_credits, hold_included, hold_cost
    from core.fit_run(
      held_input, wanted_output, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier,
      greatest(p.input, p.cache_write), p.output,
      u.included_credits - u.held_included, u.purchased_credits - u.held_purchased, cost_left, s.purchased_cost_per_credit_cap
    ) x;
  end if;
  if output_cap < useful then
    refusal := core.refuse_by_size(
      u, l, s, m, greatest(p.input, p.cache_write), p.output, prompt_multiplier, estimated_input, held_input, wanted_output, useful, cost_left is not null, now
    );
    begun := core.refuse_run(u, l, refusal, now);
    begun.estimated_input := estimated_input;
    begun.held_input := held_input;
    begun.wanted_output := wanted_output;
    return begun;
  end if;

  -- It may run.
  counts := hold_included > 0;
  insert into public.runs (
    user_id, id, session_id, status, model, provider_model, package_id, package_version, baseline, tier_name,
    price_id, credit_multiplier, prompt_multiplier, tokens_per_credit, estimated_input, question_tokens, estimate_is_exact,
    output_cap, hold_included, hold_purchased, hold_cost, hold_expires_at, estimated, cost, limited_cost, credits, shortfall, started_at
  ) values (
    u.id, begin_run.run_id, coalesce(begin_run.session_id, begin_run.run_id), 'running', m.alias, m.provider_model, k.id, v.version,
    use_no_prompt, l.tier_name,
    p.id, m.credit_multiplier, prompt_multiplier, s.tokens_per_credit, estimated_input, begin_run.input_tokens, exact,
    output_cap, hold_included, hold_credits - hold_included, hold_cost, now + s.hold_ms * interval '1 millisecond', false, 0, 0, 0, 0, now
  );
  if begin_run.session_id is null then
    insert into public.sessions (user_id, id, package_id, last_run_id, created_at, last_run_at)
    values (u.id, begin_run.run_id, k.id, begin_run.run_id, now, now);
  else
    update public.sessions x set last_run_id = begin_run.run_id, last_run_at = now
    where x.user_id = u.id and x.id = begin_run.session_id;
  end if;
  if idempotency_key is not null then
    perform core.keep_key(u.id, idempotency_key, begin_run.request_hash, begin_run.run_id, now);
  end if;
  update public.users x set
    minute_attempts = u.minute_attempts, minute_ends_at = u.minute_ends_at,
    hour_requests = u.hour_requests + 1, hour_ends_at = u.hour_ends_at,
    current_day_api_cost = u.current_day_api_cost, current_day_limited_cost = u.current_day_limited_cost,
    day_held_cost = u.day_held_cost + case when counts then hold_cost else 0 end, day_ends_at = u.day_ends_at,
    current_month_api_cost = u.current_month_api_cost, current_month_limited_cost = u.current_month_limited_cost,
    month_held_cost = u.month_held_cost + case when counts then hold_cost else 0 end, month_ends_at = u.month_ends_at,
    current_month_requests = u.current_month_requests + 1, total_requests = u.total_requests + 1, last_request_at = now,
    last_run_id = greatest(u.last_run_id, begin_run.run_id),
    held_included = u.held_included + hold_included, held_purchased = u.held_purchased + hold_credits - hold_included,
    open_runs = u.open_runs || begin_run.run_id,
    holds_expire_at = least(u.holds_expire_at, now + s.hold_ms * interval '1 millisecond'),
    updated_at = now
  where x.id = u.id;
  if u.is_throttled then
    perform core.judge_throttle(u.id, now);
  end if;

  return row(
    'started', begin_run.run_id, coalesce(begin_run.session_id, begin_run.run_id), 'running', null,
    m.provider, m.provider_model, m.alias, k.id, k.name, v.version,
    case when not use_no_prompt and custom_prompt_tokens is null then v.prompt end, history,
    output_cap, v.cache_prompt, s.first_token_timeout_ms, s.run_timeout_ms, s.checkpoint_ms, s.abandon_after_ms,
    hold_credits, u.included_credits + u.purchased_credits - u.held_included - u.held_purchased - hold_credits,
    estimated_input, held_input, wanted_output,
    l.minute_request_limit, l.minute_request_limit - least(l.minute_request_limit, u.minute_attempts),
    ceil(extract(epoch from u.minute_ends_at - now))
  )::core.begun_run;
end
$$;

comment on function api.begin_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, bytea) is
  'Lets a run in, or says why not: one lock, one transaction. package is an id or name; package_version null is the newest; session_id '
  'null begins a session that has the run''s id; model null is the default; input_tokens is the caller''s own text counted with '
  'counted_with; max_output_tokens null is no wish; custom_prompt_tokens not null: the caller''s own prompt of so many tokens takes the '
  'package''s place. Returns core.begun_run, outcome: started (with the exact provider request), known (the run id or key was seen before: see run_status) or '
  'refused (refusal: code, status, figures, when to try again). Errors: PR404 unknown user. Spec 1.3, 1.5, 3.2 to 3.7, 5.1, 5.3, 5.5.';
--! EndIncluded runs/begin_run.sql
--! Included runs/audit_users.sql
create or replace function core.audit_users(only_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '64MB'
as $$
#variable_conflict use_column
begin
  -- Windows and lifetime, recomputed from runs over the windows whose ends the row names.
  return query
  select u.id, problem.check_name, 'user', trim_scale(problem.expected)::text, trim_scale(problem.actual)::text
  from (
    select
      w.id,
      count(r.id) as runs,
      coalesce(sum(r.cost), 0) as cost,
      coalesce(sum(r.cost) filter (where r.started_at >= w.month_start and r.started_at < w.month_ends_at), 0) as month_cost,
      coalesce(sum(r.limited_cost) filter (where r.started_at >= w.month_start and r.started_at < w.month_ends_at), 0) as month_limited,
      count(r.id) filter (where r.started_at >= w.month_start and r.started_at < w.month_ends_at) as month_runs,
      coalesce(sum(r.cost) filter (where r.started_at >= w.day_start and r.started_at < w.day_ends_at), 0) as day_cost,
      coalesce(sum(r.limited_cost) filter (where r.started_at >= w.day_start and r.started_at < w.day_ends_at), 0) as day_limited,
      count(r.id) filter (where r.started_at >= w.hour_start and r.started_at < w.hour_ends_at and not (r.status = 'released' and r.error is not null))
        as hour_runs,
      max(r.started_at) as last_request_at
    from (
      select
        x.id, x.month_ends_at, x.day_ends_at, x.hour_ends_at,
        (x.month_ends_at at time zone 'UTC' - interval '1 month') at time zone 'UTC' as month_start,
        x.day_ends_at - interval '24 hours' as day_start,
        x.hour_ends_at - interval '1 hour' as hour_start
      from public.users x
      where only_user is null or x.id = only_user
    ) w
    left join public.runs r on r.user_id = w.id
    group by w.id
  ) f
  join public.users u on u.id = f.id
  cross join lateral (values
    ('lifetime_api_cost', f.cost, u.lifetime_api_cost),
    ('total_requests', f.runs, u.total_requests),
    ('current_month_api_cost', f.month_cost, u.current_month_api_cost),
    ('current_month_limited_cost', f.month_limited, u.current_month_limited_cost),
    ('current_month_requests', f.month_runs, u.current_month_requests),
    ('current_day_api_cost', f.day_cost, u.current_day_api_cost),
    ('current_day_limited_cost', f.day_limited, u.current_day_limited_cost),
    ('hour_requests', f.hour_runs, u.hour_requests),
    ('last_request_at', coalesce(extract(epoch from f.last_request_at), 0), coalesce(extract(epoch from u.last_request_at), 0))
  ) problem (check_name, expected, actual)
  where problem.expected <> problem.actual;

  -- What running runs hold.
  return query
  select u.id, problem.check_name, 'user', problem.expected, problem.actual
  from public.users u
  left join (
    select
      x.id,
      sum(r.hold_included) as held_included,
      sum(r.hold_purchased) as held_purchased,
      coalesce(sum(r.hold_cost) filter (where r.hold_included > 0 and r.started_at < x.month_ends_at
        and r.started_at >= (x.month_ends_at at time zone 'UTC' - interval '1 month') at time zone 'UTC'), 0) as month_held,
      coalesce(sum(r.hold_cost) filter (where r.hold_included > 0 and r.started_at < x.day_ends_at
        and r.started_at >= x.day_ends_at - interval '24 hours'), 0) as day_held,
      array_agg(r.id order by r.id) as open_runs,
      min(r.hold_expires_at) as first_expiry
    from public.runs r
    join public.users x on x.id = r.user_id
    where r.status = 'running' and (only_user is null or r.user_id = only_user)
    group by x.id
  ) f on f.id = u.id
  cross join lateral (values
    ('held_included', coalesce(f.held_included, 0)::text, u.held_included::text, coalesce(f.held_included, 0) = u.held_included),
    ('held_purchased', coalesce(f.held_purchased, 0)::text, u.held_purchased::text, coalesce(f.held_purchased, 0) = u.held_purchased),
    ('month_held_cost', trim_scale(coalesce(f.month_held, 0))::text, trim_scale(u.month_held_cost)::text, coalesce(f.month_held, 0) = u.month_held_cost),
    ('day_held_cost', trim_scale(coalesce(f.day_held, 0))::text, trim_scale(u.day_held_cost)::text, coalesce(f.day_held, 0) = u.day_held_cost),
    ('open_runs', coalesce(f.open_runs, '{}')::text, u.open_runs::text,
      coalesce(f.open_runs, '{}') = array(select o.id from unnest(u.open_runs) o (id) order by o.id)),
    ('holds_expire_at', 'at most ' || coalesce(f.first_expiry, 'infinity'), u.holds_expire_at::text, case
      when f.id is null then u.holds_expire_at = 'infinity'
      else u.holds_expire_at <= f.first_expiry
    end)
  ) problem (check_name, expected, actual, agrees)
  where (only_user is null or u.id = only_user)
    and (f.id is not null or u.held_included <> 0 or u.held_purchased <> 0 or u.month_held_cost <> 0 or u.day_held_cost <> 0
      or u.open_runs <> '{}' or u.holds_expire_at <> 'infinity')
    and problem.agrees is not true;

  -- The newest run, by which begin_run knows that an id is new.
  return query
  select u.id, 'last_run_id', 'user', newest.id::text, u.last_run_id::text
  from public.users u
  left join lateral (select r.id from public.runs r where r.user_id = u.id order by r.id desc limit 1) newest on true
  where (only_user is null or u.id = only_user) and newest.id is distinct from u.last_run_id;

  -- No more held than there is.
  return query
  select u.id, 'holds_are_covered', 'user', format('at most %s included, %s purchased', u.included_credits, u.purchased_credits),
    format('%s included, %s purchased', u.held_included, u.held_purchased)
  from public.users u
  where (only_user is null or u.id = only_user)
    and (u.held_included not between 0 and u.included_credits or u.held_purchased not between 0 and u.purchased_credits);
end
$$;

comment on function core.audit_users(uuid) is
  'Part of ops.audit_books: each user''s window, lifetime and hold figures recomputed from runs. null: all users. Spec 3.2, 3.3, 4.2.';
--! EndIncluded runs/audit_users.sql
