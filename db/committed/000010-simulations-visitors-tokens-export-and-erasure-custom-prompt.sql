--! Previous: sha1:61d3ed90e63c81a5824145d8ba29f07cc9bf176d
--! Hash: sha1:609dbe88cbb28d21cc76e8e3e80bfda0b7a08d47
--! Message: Simulations, visitors, tokens, export and erasure, custom prompts, sign-in on the page

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.
--! Included credits/grant_period.sql
create or replace function core.grant_period(
  user_id uuid, subscription_id text, plan text, period_start timestamptz, period_end timestamptz, paid numeric, now timestamptz,
  paid_at timestamptz default null, allocation bigint default null
)
returns uuid
language plpgsql
set search_path = ''
as $$
declare
  grace integer;
  key text := grant_period.subscription_id || '/' || extract(epoch from grant_period.period_start)::bigint;
  old record;
  lot_id uuid;
  next_start timestamptz;
  rollover_id uuid := gen_random_uuid();
begin
  if allocation is null then
    select p.monthly_credits into strict allocation from public.plans p where p.plan = grant_period.plan;
  end if;
  select s.grace_days into grace from public.settings s;
  perform from public.users u where u.id = grant_period.user_id for no key update;

  select l.id into lot_id
  from public.credit_lots l
  where l.user_id = grant_period.user_id and l.source = 'subscription' and l.source_id = key;
  if found then
    return lot_id;
  end if;

  for old in
    select l.id, l.kind, l.rolls_into, l.period_end,
      -- What was ended before its period was, for money back, rolls over to nobody; nor does what was paid too late.
      l.kind = 'monthly' and l.expires_at >= l.period_end and l.period_end > grant_period.period_start - interval '1 day'
        and coalesce(grant_period.paid_at, grant_period.now) <= l.period_end + grace * interval '24 hours' as rolls
    from public.credit_lots l
    -- Empty ones too: a refund that fails may give back to them.
    where l.user_id = grant_period.user_id and l.kind in ('rollover', 'monthly')
      and l.period_start < grant_period.period_start
    order by l.kind desc
  loop
    update public.credit_lots l
    set
      expires_at = least(l.expires_at, grant_period.period_start),
      rolls_into = coalesce(l.rolls_into, case when old.rolls then rollover_id end)
    where l.user_id = grant_period.user_id and l.id = old.id;

    -- We hear of it late, but it was paid in time: what has expired of the period before rolls over all the same.
    if old.rolls and old.rolls_into is null then
      perform core.restore_expired(grant_period.user_id, old.id, grant_period.now);
    end if;
  end loop;
  perform core.tidy_lots(grant_period.user_id, grant_period.now);

  lot_id := core.grant_lot(
    grant_period.user_id, 'monthly', allocation, 'monthly', 'subscription', key, grant_period.now,
    expires_at => grant_period.period_end + grace * interval '24 hours',
    paid_per_credit => coalesce(round(grant_period.paid / nullif(allocation, 0), 6), 0),
    period_start => grant_period.period_start, period_end => grant_period.period_end,
    subscription_id => grant_period.subscription_id, description => 'Monthly credits of ' || grant_period.plan
  );

  -- Heard of late: a later period was granted already, so this one has rolled over by now.
  select min(l.period_start) into next_start
  from public.credit_lots l
  where l.user_id = grant_period.user_id and l.source = 'subscription' and l.period_start > grant_period.period_start;
  if next_start is not null then
    update public.credit_lots l
    set
      expires_at = least(l.expires_at, next_start),
      rolls_into = case when l.period_end > next_start - interval '1 day' then gen_random_uuid() end
    where l.user_id = grant_period.user_id and l.id = lot_id;
  end if;
  -- What rolled over just now, or before an earlier period was heard of, may be older rollover by now.
  update public.credit_lots l
  set expires_at = least(l.expires_at, core.rollover_ends_at(l.user_id, l.period_start, l.period_end))
  where l.user_id = grant_period.user_id and l.kind = 'rollover';
  perform core.tidy_lots(grant_period.user_id, grant_period.now);
  return lot_id;
end
$$;

comment on function core.grant_period(uuid, text, text, timestamptz, timestamptz, numeric, timestamptz, timestamptz, bigint) is
  'Grants a paid billing period''s credits, once for each user, subscription and period start. What is left of the period before '
  'becomes one rollover lot, older rollover expires. A period that is heard of after a later one rolls over at once. paid_at is when it was paid (null: now): where that was within '
  'the grace, what has expired since rolls over too; where it was later, nothing does. paid is US dollars '
  'received for the period; allocation the credits of a trial (null: the plan''s). Returns the lot. Locks the user''s row. Spec 4.3.';
--! EndIncluded credits/grant_period.sql
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
  u := (select x from public.users x where x.id = begin_run.user_id for no key update);
  s := (select x from public.settings x);
  if u.id is null then
    raise exception 'user % is unknown', begin_run.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  now := greatest(clock_timestamp() + s.clock_offset, u.day_ends_at - interval '24 hours'); -- a clock set back begins nothing in a day that is closed

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
  asked_id := case when custom_prompt_tokens is null then core.uuid_or_null(begin_run.package) else core.custom_package() end;
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
  elsif k.id is null or v.version is null or k.visibility = 'private' and custom_prompt_tokens is null then
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
  if begin_run.run_id < u.last_run_id then
    perform core.note_correction((select x from public.runs x where x.user_id = u.id and x.id = begin_run.run_id)); -- rollups may have passed it
  end if;
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
    current_month_requests = u.current_month_requests + 1, total_requests = u.total_requests + 1,
    last_request_at = greatest(u.last_request_at, now),
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
  'counted_with; max_output_tokens null is no wish; custom_prompt_tokens not null: the caller''s own prompt of so many tokens, booked to '
  'core.custom_package() whatever package says. Returns core.begun_run, outcome: started (with the exact provider request), known (the run id or key was seen before: see run_status) or '
  'refused (refusal: code, status, figures, when to try again). Errors: PR404 unknown user. Spec 1.3, 1.5, 3.2 to 3.7, 5.1, 5.3, 5.5.';
--! EndIncluded runs/begin_run.sql
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
  lot_price numeric;
  lot_cost numeric;
begin
  u := (select x from public.users x where x.id = settle_run.user_id for no key update);
  select x.clock_offset, x.min_output_tokens into s from public.settings x;
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
      lot_cost := r.cost;
      if r.shortfall > 0 then
        lot_cost := core.share_of_cost(r.cost, r.credits, r.credits, due);
      end if;
      update public.credit_lots x
      set remaining = x.remaining - r.credits, cost = x.cost + lot_cost
      where x.user_id = u.id and x.id = u.spend_lot and x.remaining > r.credits and (x.kind = 'purchased') = (from_included = 0)
      returning x.kind, x.paid_per_credit into lot_kind, lot_price;
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
      r.included_value := from_included * lot_price;
      r.purchased_value := from_purchased * lot_price;
    else
      select x.by_kind, x.included_value, x.purchased_value, x.transaction_count, x.spend_lot, x.next_lot_expiry into spent
      from core.spend_lots(u, r.id, from_included, from_purchased, r.cost, due, now) x;
      r.credits_by_kind := spent.by_kind;
      r.included_value := spent.included_value;
      r.purchased_value := spent.purchased_value;
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
    shortfall = r.shortfall, credits_by_kind = r.credits_by_kind,
    included_value = r.included_value, purchased_value = r.purchased_value, error = settle_run.error, error_reason = settle_run.error_reason,
    first_token_ms = settle_run.first_token_ms, duration_ms = settle_run.duration_ms, finished_at = now
  where x.user_id = u.id and x.id = r.id
  returning x.status, checkpointed or x.hold_expires_at <> r.hold_expires_at into r.status, checkpointed;
  r.error := settle_run.error;
  r.error_reason := settle_run.error_reason;
  r.first_token_ms := settle_run.first_token_ms;
  r.duration_ms := settle_run.duration_ms;
  if u.closed_at is not null then
    -- Nobody is there to read it, and who was erased is to find nothing.
    delete from public.run_texts t where t.user_id = u.id and t.session_id = r.session_id and t.run_id = r.id;
    update public.runs x set error_reason = null where x.user_id = u.id and x.id = r.id and x.error_reason is not null;
  elsif checkpointed then
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
--! Included billing/take_events.sql
create or replace function core.take_events(page jsonb, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  wanted bigint;
begin
  -- As they would have come; read in whatever version they were written, so what they tell of is fetched anew.
  with missed as (
    insert into public.stripe_events (id, type, created, livemode, api_version, body, status, same_version, received_at)
    select e ->> 'id', e ->> 'type', (e ->> 'created')::bigint, (e ->> 'livemode')::boolean, e ->> 'api_version', e::text, 'received', false, take_events.now
    from jsonb_array_elements(page) e
    on conflict on constraint stripe_events_pkey do nothing
    returning id, type, to_timestamp(created) as created
  ), noted as (
    -- One of this minute may still be on its way.
    insert into public.stripe_drift (kind, object, theirs, found_at)
    select 'event', m.id, m.type, take_events.now from missed m where m.created < take_events.now - interval '1 minute'
  )
  select count(core.want_work('apply_event', m.id, null)) into wanted from missed m;
  return wanted;
end
$$;

comment on function core.take_events(jsonb, timestamptz) is
  'Takes in events that Stripe could not deliver, as if they had come; those more than a minute old are differences. Returns how many were new. Spec 6.6.';
--! EndIncluded billing/take_events.sql

--! split: 2-whatif.sql
--! Included analytics/check_scenario_part.sql
create or replace function core.check_scenario_part(field text, name text, value jsonb, like_this text)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  known text[] := case field
    when 'plan_prices' then array(select p.plan from public.plans p order by 1)
    when 'pack_prices' then array(select p.pack from public.packs p order by 1)
    when 'limits' then array(select l.tier_name from public.cost_limits_config l order by 1)
    else array(select m.alias from public.models m order by 1)
  end;
  parts text[] := case field
    when 'model_prices' then array['input', 'cached_read', 'cache_write', 'output']
    when 'limits' then array['monthly_cost_limit', 'daily_cost_limit', 'hourly_request_limit']
  end;
  wrong text;
begin
  if name <> all (known) then
    raise exception '% has no %: there are %', field, name, array_to_string(known, ', ') using errcode = 'PR400', detail = field;
  elsif parts is not null and jsonb_typeof(value) <> 'object' then
    raise exception '% of % must be an object, such as %', field, name, like_this using errcode = 'PR400', detail = field;
  end if;

  select e.key into wrong from jsonb_each(case when parts is not null then value else '{}' end) e where e.key <> all (parts);
  if found then
    raise exception '% of % has no %: there are %', field, name, wrong, array_to_string(parts, ', ') using errcode = 'PR400', detail = field;
  end if;
  select e.value #>> '{}' into wrong
  from jsonb_each(case when parts is not null then value else jsonb_build_object(name, value) end) e
  where not case
    when jsonb_typeof(e.value) = 'null' then field = 'limits'
    when jsonb_typeof(e.value) = 'number' then (e.value)::numeric between 0 and 1000000000
    else false
  end;
  if found then
    raise exception '% of % must be a number from 0 to 1000000000, not %', field, name, coalesce(wrong, 'null') using errcode = 'PR400', detail = field;
  end if;
end
$$;

comment on function core.check_scenario_part(text, text, jsonb, text) is
  'Refuses one entry of what ops.simulate is to change: a name that there is not, or what is no amount; null is no limit, for limits alone. '
  'like_this is a good one. Errors: PR400 naming the field. Spec 8.6.';
--! EndIncluded analytics/check_scenario_part.sql
--! Included analytics/check_scenario.sql
create or replace function core.check_scenario(
  since date, until date, plan_prices jsonb, pack_prices jsonb, model_prices jsonb, multipliers jsonb, limits jsonb,
  tokens_per_credit integer, max_request_tokens integer
)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  given record;
begin
  if since >= until or until - since > 366 then
    raise exception 'from % until % is no time of 1 to 366 days', since, until using errcode = 'PR400', detail = 'since';
  elsif since < date '2000-01-01' or since > (core.now() at time zone 'UTC')::date then
    raise exception 'since must be a day of the past from 2000-01-01 on, not %', since using errcode = 'PR400', detail = 'since';
  elsif tokens_per_credit not between 1 and 1000000 then
    raise exception 'tokens_per_credit must be from 1 to 1000000, not %', tokens_per_credit using errcode = 'PR400', detail = 'tokens_per_credit';
  elsif max_request_tokens not between 1 and 10000000 then
    raise exception 'max_request_tokens must be from 1 to 10000000, not %', max_request_tokens using errcode = 'PR400', detail = 'max_request_tokens';
  end if;

  -- Each is an object by name: of amounts, or of objects of amounts.
  for given in
    select x.field, x.value, x.like_this
    from (values
      ('plan_prices', plan_prices, '{"prpm_plus_individual": 7}'), ('pack_prices', pack_prices, '{"large": 25}'),
      ('model_prices', model_prices, '{"opus": {"output": 25}}'), ('multipliers', multipliers, '{"opus": 8}'),
      ('limits', limits, '{"prpm_plus_org": {"monthly_cost_limit": 2}}')
    ) x (field, value, like_this)
    where x.value is not null
  loop
    if jsonb_typeof(given.value) <> 'object' then
      raise exception '% must be an object, such as %', given.field, given.like_this using errcode = 'PR400', detail = given.field;
    end if;
    perform core.check_scenario_part(given.field, e.key, e.value, given.like_this) from jsonb_each(given.value) e;
  end loop;
end
$$;

comment on function core.check_scenario(date, date, jsonb, jsonb, jsonb, jsonb, jsonb, integer, integer) is
  'Refuses inputs of ops.simulate that mean nothing. Errors: PR400 naming the field. Spec 8.6.';
--! EndIncluded analytics/check_scenario.sql
--! Included analytics/simulation_presets.sql
create or replace view ops.simulation_presets as
select x.preset, x.meaning, x.plan_prices, x.limits, x.max_request_tokens
from (
  values
    (1, 'org_limit_2', 'If margins drop below 70 %: reduce the organization members'' cost limit to $2.00.',
      null::jsonb, '{"prpm_plus_org": {"monthly_cost_limit": 2.00}}'::jsonb, null::integer),
    (2, 'individual_price_7', 'If margins drop below 70 %: increase the individual price to $7.00.',
      '{"prpm_plus_individual": 7.00}', null, null),
    (3, 'request_size_15000', 'If margins drop below 70 %: lower the request size limit to 15,000 tokens.',
      null, null, 15000),
    (4, 'limits_plus_20_percent', 'If more than 10 % of users are throttled: increase cost limits by 20 %.',
      null, (
        select jsonb_object_agg(l.tier_name, jsonb_build_object(
          'monthly_cost_limit', round(l.monthly_cost_limit * 1.2, 2), 'daily_cost_limit', round(l.daily_cost_limit * 1.2, 2)))
        from public.cost_limits_config l
        where l.is_active and l.monthly_cost_limit < 999999
      ), null)
) x (place, preset, meaning, plan_prices, limits, max_request_tokens)
order by x.place;

comment on view ops.simulation_presets is
  'The guide''s recommendations, each as ops.simulate takes it: select * from ops.simulate(''org_limit_2''). Spec 8.6.';
comment on column ops.simulation_presets.preset is 'Its name.';
comment on column ops.simulation_presets.meaning is 'When it is recommended, and what it changes.';
comment on column ops.simulation_presets.plan_prices is 'US dollars a month by plan; null: as they are.';
comment on column ops.simulation_presets.limits is 'US dollars by tier and window; null: as they are.';
comment on column ops.simulation_presets.max_request_tokens is 'Tokens of a request, the answer included; null: as it is.';
--! EndIncluded analytics/simulation_presets.sql
--! Included analytics/limits_under.sql
create or replace function core.limits_under(limits jsonb)
returns table (
  tier_name text, day_was numeric, day numeric, month_was numeric, month numeric, hour_was integer, hour integer
)
language sql
stable
begin atomic
  select
    t.tier_name,
    case when f.throttle_on_exceed then f.daily_cost_limit end,
    case
      when not f.throttle_on_exceed then null
      when limits -> t.tier_name ? 'daily_cost_limit' then (limits -> t.tier_name ->> 'daily_cost_limit')::numeric
      else f.daily_cost_limit
    end,
    case when f.throttle_on_exceed then f.monthly_cost_limit end,
    case
      when not f.throttle_on_exceed then null
      when limits -> t.tier_name ? 'monthly_cost_limit' then (limits -> t.tier_name ->> 'monthly_cost_limit')::numeric
      else f.monthly_cost_limit
    end,
    f.hourly_request_limit,
    case
      when limits -> t.tier_name ? 'hourly_request_limit' then (limits -> t.tier_name ->> 'hourly_request_limit')::integer
      else f.hourly_request_limit
    end
  from public.cost_limits_config t
  cross join lateral core.find_limits(t.tier_name) f;
end;

comment on function core.limits_under(jsonb) is
  'Each tier''s limits now, and as ops.simulate is to have them: US dollars a day and a month, runs an hour; null is none. Cost limits that do '
  'not throttle (throttle_on_exceed) are none. Spec 3.1, 8.6.';
--! EndIncluded analytics/limits_under.sql
--! Included analytics/runs_under.sql
create or replace function core.runs_under(
  since timestamptz, until timestamptz, model_prices jsonb, multipliers jsonb, limits jsonb, tokens_per_credit integer
)
returns table (
  user_id uuid, id uuid, started_at timestamptz, counts boolean, hold_cost numeric, held_price numeric, output_cap integer, estimated_input integer,
  input integer, cached integer, cache_write integer, output integer, input_price numeric, cached_price numeric, write_price numeric, output_price numeric,
  output_price_was numeric, dearer numeric, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric,
  cost_was numeric, cost numeric, limited_was numeric, limited numeric, credits_was bigint, credits bigint,
  day_limit_was numeric, day_limit numeric, month_limit_was numeric, month_limit numeric, hour_limit_was integer, hour_limit integer
)
language sql
stable
begin atomic
  select
    r.user_id, r.id, r.started_at, r.hold_included > 0, r.hold_cost, greatest(p.input, p.cache_write), r.output_cap, r.estimated_input,
    r.input_tokens, r.cached_tokens, r.cache_write_tokens, r.output_tokens, p.new_input, p.new_cached, p.new_write, p.new_output,
    p.output, p.dearer, coalesce(runs_under.tokens_per_credit, r.tokens_per_credit), coalesce(p.multiplier, r.credit_multiplier), r.prompt_multiplier,
    r.cost, x.cost, r.limited_cost,
    case
      when not p.repriced then r.limited_cost
      when r.limited_cost = r.cost then x.cost
      else round(x.cost * r.limited_cost / nullif(r.cost, 0), 12)
    end,
    r.credits + r.shortfall,
    case
      when r.credits + r.shortfall > 0 and (p.multiplier is not null or runs_under.tokens_per_credit is not null) then core.charge_for(
        r.input_tokens::bigint + r.output_tokens, coalesce(runs_under.tokens_per_credit, r.tokens_per_credit),
        coalesce(p.multiplier, r.credit_multiplier), r.prompt_multiplier
      )
      else r.credits + r.shortfall
    end,
    l.day_was, l.day, l.month_was, l.month, l.hour_was, l.hour
  from public.runs r
  join (
    select
      q.*, n.repriced, n.new_input, n.new_cached, n.new_write, n.new_output, (runs_under.multipliers ->> q.model)::numeric as multiplier,
      greatest(1, n.new_input / nullif(q.input, 0), n.new_output / nullif(q.output, 0), n.new_write / nullif(q.input, 0)) as dearer
    from public.model_prices q
    cross join lateral (
      select
        runs_under.model_prices ? q.model as repriced,
        coalesce((runs_under.model_prices -> q.model ->> 'input')::numeric, q.input) as new_input,
        coalesce((runs_under.model_prices -> q.model ->> 'cached_read')::numeric, q.cached_read) as new_cached,
        coalesce((runs_under.model_prices -> q.model ->> 'cache_write')::numeric, q.cache_write) as new_write,
        coalesce((runs_under.model_prices -> q.model ->> 'output')::numeric, q.output) as new_output
    ) n
  ) p on p.id = r.price_id
  left join core.limits_under(runs_under.limits) l on l.tier_name = r.tier_name
  cross join lateral (
    select case
      when p.repriced then core.cost_of(
        r.input_tokens, r.cached_tokens, r.cache_write_tokens, r.output_tokens, p.new_input, p.new_cached, p.new_write, p.new_output
      )
      else r.cost
    end as cost
  ) x
  where r.started_at >= runs_under.since and r.started_at < runs_under.until and r.status <> 'running';
end;

comment on function core.runs_under(timestamptz, timestamptz, jsonb, jsonb, jsonb, integer) is
  'Ended runs that began in [since, until), each as it was and as it would be under other model prices (US dollars per million tokens by '
  'kind), multipliers, limits and tokens_per_credit; what none of these names is as it was. counts: whether it counted against cost windows. '
  'dearer: by how much its hold can have grown. Credits are all that it should be charged. Spec 8.6.';
--! EndIncluded analytics/runs_under.sql
--! Included analytics/replay_runs.sql
create or replace function core.replay_runs(
  users uuid[], since timestamptz, until timestamptz, model_prices jsonb, multipliers jsonb, limits jsonb, tokens_per_credit integer, max_request_tokens integer,
  out cost numeric, out credits numeric, out refused bigint, out shortened bigint, out throttled bigint
)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_variable
declare
  r record;
  enough numeric := coalesce(core.cheapest_useful_cost(core.now()), 0);
  least_output integer := (select s.min_output_tokens from public.settings s);
  recharged boolean := replay_runs.multipliers is not null or replay_runs.tokens_per_credit is not null;
  day_was numeric;
  day_now numeric;
  month_was numeric;
  month_now numeric;
  hour_was integer;
  hour_now integer;
  gained bigint;
  fits_was numeric;
  fits numeric;
  used_up uuid;
  less_cost numeric;
  less_credits bigint;
  less_limited numeric;
begin
  cost := 0; credits := 0; refused := 0; shortened := 0; throttled := 0;
  for r in
    select
      x.*, x.started_at >= replay_runs.since as asked, b.balance, h.useful, h.input_dollars_was, h.input_dollars,
      case when x.counts then h.input_dollars + greatest(h.useful, x.output) * x.output_price * 0.000001 end as needs,
      lag(x.user_id) over who is distinct from x.user_id as is_first,
      lag(x.month) over who is distinct from x.month as begins_month,
      lag(x.day) over who is distinct from x.day as begins_day,
      lag(x.hour) over who is distinct from x.hour as begins_hour,
      lead(x.day) over who is distinct from x.day as ends_day
    from (
      select
        y.*, (y.started_at at time zone 'UTC')::date as day, date_trunc('month', y.started_at at time zone 'UTC') as month,
        date_trunc('hour', y.started_at at time zone 'UTC') as hour
      from core.runs_under(
        date_trunc('month', replay_runs.since at time zone 'UTC') at time zone 'UTC', replay_runs.until,
        replay_runs.model_prices, replay_runs.multipliers, replay_runs.limits, replay_runs.tokens_per_credit
      ) y
      where y.user_id = any (replay_runs.users)
    ) x
    cross join lateral (
      select
        least(least_output, x.output_cap) as useful,
        x.hold_cost - x.output_cap * x.output_price_was * 0.000001 as input_dollars_was,
        (x.hold_cost - x.output_cap * x.output_price_was * 0.000001) * greatest(x.input_price, x.write_price) / nullif(x.held_price, 0) as input_dollars
    ) h
    left join (
      select t.run_id, max(t.balance_after + t.amount) as balance
      from public.credit_transactions t
      where recharged and t.type = 'spend' and t.user_id = any (replay_runs.users)
      group by t.run_id
    ) b on b.run_id = x.id
    window who as (partition by x.user_id order by x.started_at, x.id)
    order by x.user_id, x.started_at, x.id
  loop
    if r.begins_hour then
      hour_was := 0; hour_now := 0;
      if r.begins_day then
        day_was := 0; day_now := 0;
        if r.begins_month or r.is_first then
          month_was := 0; month_now := 0;
        end if;
      end if;
      if r.is_first then
        day_was := 0; day_now := 0; gained := 0;
      end if;
    elsif r.is_first then
      day_was := 0; day_now := 0; month_was := 0; month_now := 0; hour_was := 0; hour_now := 0; gained := 0;
    end if;

    if r.needs > least(r.day_limit - day_now, r.month_limit - month_now)
      or r.hour_limit <= hour_now
      or r.estimated_input + greatest(r.useful, r.output) > replay_runs.max_request_tokens
      or recharged and r.balance + gained < r.credits
    then
      -- How many tokens the answer may have: what the windows leave, what the request may have, what the credits pay for.
      fits := coalesce(replay_runs.max_request_tokens - r.estimated_input, 'Infinity'::numeric);
      fits_was := 'Infinity';
      if r.counts then
        fits := least(fits, (least(r.day_limit - day_now, r.month_limit - month_now) - r.input_dollars) * 1000000 / nullif(r.output_price, 0));
        fits_was := (least(r.day_limit_was - day_was, r.month_limit_was - month_was) - r.input_dollars_was) * 1000000 / nullif(r.output_price_was, 0);
        fits_was := coalesce(fits_was, 'Infinity');
      end if;
      if recharged and r.balance is not null then
        fits := least(fits, core.affordable_tokens(r.balance + gained, r.tokens_per_credit, r.multiplier, r.prompt_multiplier) - r.input);
      end if;

      -- Where it would not have fitted by this reckoning then, it was let in all the same, and is now.
      less_cost := 0; less_credits := 0; less_limited := 0;
      if r.hour_limit <= hour_now and not coalesce(r.hour_limit_was <= hour_was, false) or fits < r.useful and fits_was >= r.useful then
        less_cost := r.cost; less_credits := r.credits; less_limited := r.limited;
        hour_now := hour_now - 1;
        if r.asked then
          refused := refused + 1;
        end if;
      elsif fits < r.output and fits_was >= r.output then
        less_cost := r.cost - core.cost_of(
          r.input, r.cached, r.cache_write, floor(fits)::integer, r.input_price, r.cached_price, r.write_price, r.output_price
        );
        less_limited := coalesce(round(r.limited * less_cost / nullif(r.cost, 0), 12), 0);
        if r.credits > 0 then
          less_credits := r.credits - core.charge_for(r.input::bigint + floor(fits)::integer, r.tokens_per_credit, r.multiplier, r.prompt_multiplier);
        end if;
        if r.asked then
          shortened := shortened + 1;
        end if;
      end if;
      day_now := day_now - less_limited; month_now := month_now - less_limited; gained := gained + less_credits;
      if r.asked then
        cost := cost + less_cost; credits := credits + less_credits;
      end if;
    end if;

    day_was := day_was + r.limited_was; day_now := day_now + r.limited;
    month_was := month_was + r.limited_was; month_now := month_now + r.limited;
    hour_was := hour_was + 1; hour_now := hour_now + 1;
    if recharged then
      gained := gained + r.credits_was - r.credits;
    end if;
    if r.ends_day and r.asked and used_up is distinct from r.user_id
      and least(r.day_limit - day_now, r.month_limit - month_now) < enough
    then
      used_up := r.user_id; throttled := throttled + 1;
    end if;
  end loop;
end
$$;

comment on function core.replay_runs(uuid[], timestamptz, timestamptz, jsonb, jsonb, jsonb, integer, integer) is
  'Replays the runs of some people, each in its order, against the limits that ops.simulate is to have: what a window, the hour, the size or the '
  'credits then there do not bear is refused or shortened as api.begin_run would, runs one after the other. Answers how many of those that began from '
  'since on were refused and shortened, what these cost (US dollars) and charge less, and how many people used up a cost window. Spec 3.2, 8.6.';
--! EndIncluded analytics/replay_runs.sql
--! Included analytics/simulate_usage.sql
create or replace function core.simulate_usage(
  since timestamptz, until timestamptz, model_prices jsonb, multipliers jsonb, limits jsonb, tokens_per_credit integer, max_request_tokens integer
)
returns table (
  runs bigint, cost_was numeric, credits_was numeric, throttled_was bigint,
  cost numeric, credits numeric, refused bigint, shortened bigint, throttled bigint
)
language sql
stable
begin atomic
  with days as (
    select
      x.user_id,
      (x.started_at at time zone 'UTC')::date as day,
      count(*) filter (where x.started_at >= since) as runs,
      sum(x.cost_was) filter (where x.started_at >= since) as cost_was,
      sum(x.credits_was) filter (where x.started_at >= since) as credits_was,
      sum(x.cost) filter (where x.started_at >= since) as cost,
      sum(x.credits) filter (where x.started_at >= since) as credits,
      sum(x.limited_was) as used_was,
      sum(x.limited) as used,
      max(x.hold_cost * x.dearer + x.cost) as most,
      min(x.day_limit_was) as day_limit_was, min(x.day_limit) as day_limit,
      min(x.month_limit_was) as month_limit_was, min(x.month_limit) as month_limit,
      bool_or(x.credits > x.credits_was) or max(x.estimated_input + greatest(x.output, x.output_cap)) > max_request_tokens
        or count(*) > min(x.hour_limit) and min(x.hour_limit) is distinct from min(x.hour_limit_was) as is_close
    from core.runs_under(
      date_trunc('month', since at time zone 'UTC') at time zone 'UTC', until, model_prices, multipliers, limits, tokens_per_credit
    ) x
    group by x.user_id, (x.started_at at time zone 'UTC')::date
  ),
  -- As each day ends: nobody's windows are fuller at any other time of it.
  evenings as (
    select
      d.*,
      least(d.day_limit_was - d.used_was, d.month_limit_was - sum(d.used_was) over month) as left_was,
      least(d.day_limit - d.used, d.month_limit - sum(d.used) over month) as left_now
    from days d
    window month as (partition by d.user_id, date_trunc('month', d.day::timestamp) order by d.day)
  ),
  enough as materialized (
    select core.cheapest_useful_cost(core.now()) as dollars
  ),
  people as (
    select
      e.user_id, sum(e.runs) as runs, sum(e.cost_was) as cost_was, sum(e.credits_was) as credits_was, sum(e.cost) as cost, sum(e.credits) as credits,
      coalesce(bool_or(e.left_was < n.dollars) filter (where e.runs > 0), false) as used_up_was,
      coalesce(bool_or(e.left_now < n.dollars) filter (where e.runs > 0), false) as used_up,
      -- Whether the order of their runs matters: where a limit may be met, and there is less room than there was.
      coalesce(bool_or(e.is_close), false)
        or coalesce(bool_or(e.left_now < e.most), false) and (
          sum(e.used) > sum(e.used_was)
          or bool_or(e.day_limit is distinct from e.day_limit_was or e.month_limit is distinct from e.month_limit_was)
        ) as is_close
    from evenings e
    cross join enough n
    group by e.user_id
  ),
  replayed as (
    select f.*
    from core.replay_runs(
      array(select p.user_id from people p where p.is_close), since, until, model_prices, multipliers, limits, tokens_per_credit, max_request_tokens
    ) f
  ),
  sums as (
    select
      sum(p.runs) as runs, sum(p.cost_was) as cost_was, sum(p.credits_was) as credits_was, sum(p.cost) as cost, sum(p.credits) as credits,
      count(*) filter (where p.used_up_was) as throttled_was, count(*) filter (where p.used_up and not p.is_close) as throttled
    from people p
  )
  select
    coalesce(s.runs, 0)::bigint, coalesce(s.cost_was, 0), coalesce(s.credits_was, 0), s.throttled_was,
    coalesce(s.cost, 0) - f.cost, coalesce(s.credits, 0) - f.credits, f.refused, f.shortened, s.throttled + f.throttled
  from sums s
  cross join replayed f;
end;

comment on function core.simulate_usage(timestamptz, timestamptz, jsonb, jsonb, jsonb, integer, integer) is
  'What the runs that began in [since, until) cost (US dollars) and charged, as it was and under other prices, multipliers and limits. People who stay '
  'clear of every limit, and those for whom nothing became tighter, are summed; the others are replayed by core.replay_runs. Spec 8.6.';
--! EndIncluded analytics/simulate_usage.sql
--! Included analytics/simulate.sql
create or replace function ops.simulate(
  preset text default null, since date default null, until date default null, plan_prices jsonb default null, pack_prices jsonb default null,
  model_prices jsonb default null, multipliers jsonb default null, limits jsonb default null,
  tokens_per_credit integer default null, max_request_tokens integer default null
)
returns table (
  scenario text, revenue numeric, subscription_revenue numeric, pack_revenue numeric, cost numeric, margin numeric, margin_percent numeric,
  runs bigint, credits numeric, refused_runs bigint, shortened_runs bigint, throttled_users bigint
)
language plpgsql
stable
security definer
set search_path = ''
set jit = off
set enable_seqscan = on
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  set_to record;
  starts timestamptz;
  ends timestamptz;
begin
  since := coalesce(simulate.since, (date_trunc('month', coalesce(simulate.until::timestamp, core.now() at time zone 'UTC')) - interval '1 month')::date);
  until := coalesce(simulate.until, (date_trunc('month', since::timestamp) + interval '1 month')::date);
  select
    coalesce(simulate.plan_prices, p.plan_prices) as plan_prices, coalesce(simulate.limits, p.limits) as limits,
    coalesce(simulate.max_request_tokens, p.max_request_tokens) as max_request_tokens
  into set_to
  from (values (1)) only_row
  left join ops.simulation_presets p on p.preset = simulate.preset;
  if simulate.preset is not null and not exists (select from ops.simulation_presets p where p.preset = simulate.preset) then
    raise exception 'there is no preset %: there are %', simulate.preset, (select string_agg(p.preset, ', ') from ops.simulation_presets p)
      using errcode = 'PR400', detail = 'preset';
  end if;
  perform core.check_scenario(
    since, until, set_to.plan_prices, simulate.pack_prices, simulate.model_prices, simulate.multipliers, set_to.limits,
    simulate.tokens_per_credit, set_to.max_request_tokens
  );
  starts := since::timestamp at time zone 'UTC';
  ends := until::timestamp at time zone 'UTC';

  return query
  with money as (
    select
      coalesce(sum(c.cash) filter (where c.kind = 'plan'), 0) as plans,
      coalesce(sum(c.cash) filter (where c.kind = 'pack'), 0) as packs,
      coalesce(sum(case when n.price is null then c.cash else coalesce(c.cash * n.price / nullif(l.monthly_price, 0), n.price) end)
        filter (where c.kind = 'plan'), 0) as new_plans,
      coalesce(sum(case when n.price is null then c.cash else c.cash * n.price / k.price end) filter (where c.kind = 'pack'), 0) as new_packs
    from core.cash_received c
    left join public.plans l on c.kind = 'plan' and l.plan = c.name
    left join public.packs k on c.kind = 'pack' and k.pack = c.name
    cross join lateral (
      select (case c.kind when 'plan' then set_to.plan_prices else simulate.pack_prices end ->> c.name)::numeric as price
    ) n
    where c.day >= since and c.day < until
  ),
  refused as (
    select coalesce(sum(f.count), 0)::bigint as count
    from public.refusals f
    where f.hour >= starts and f.hour < ends
  ),
  figures as (
    select f.* from core.simulate_usage(
      starts, ends, simulate.model_prices, simulate.multipliers, set_to.limits, simulate.tokens_per_credit, set_to.max_request_tokens
    ) f
  ),
  rows as (
    select
      1 as place, 'as it was' as scenario, m.plans, m.packs, f.cost_was as cost, f.runs, f.credits_was as credits,
      d.count as refused, 0::bigint as shortened, f.throttled_was as throttled
    from money m, figures f, refused d
    union all
    select 2, 'simulated', m.new_plans, m.new_packs, f.cost, f.runs - f.refused, f.credits, d.count + f.refused, f.shortened, f.throttled
    from money m, figures f, refused d
  )
  select
    x.scenario, round(x.plans + x.packs, 2), round(x.plans, 2), round(x.packs, 2), x.cost, round(x.plans + x.packs, 2) - x.cost,
    round(100 * (x.plans + x.packs - x.cost) / nullif(x.plans + x.packs, 0), 2), x.runs, x.credits, x.refused, x.shortened, x.throttled
  from rows x
  order by x.place;
end
$$;

comment on function ops.simulate(text, date, date, jsonb, jsonb, jsonb, jsonb, jsonb, integer, integer) is
  'What would have been: replays the runs that began in [since, until) (UTC days, at most 366; the last calendar month where left out) under other plan and '
  'pack prices (US dollars by name), model_prices (US dollars per million tokens: {"opus": {"input": 5, "output": 25}}), credit multipliers, limits '
  '({"free": {"monthly_cost_limit": 0.4, "daily_cost_limit": null, "hourly_request_limit": 5}}, null for none), tokens_per_credit or '
  'max_request_tokens; a preset names a recommendation of ops.simulation_presets. Two rows: as it was, and simulated. Revenue is the cash of the time, less '
  'refunds and disputes, in proportion to the price; cost US dollars; runs those that ended; credits what they should be charged; refused_runs all '
  'refusals of that time (which cannot be replayed, since nothing is known of their size) and the runs that would not have been let in; '
  'throttled_users those who used up a cost window, by today''s limits or the simulated. People are taken to buy and ask as they did. Changes nothing. '
  'Call: select * from ops.simulate(plan_prices => ''{"prpm_plus_individual": 7}''); Errors: PR400 naming the field. Spec 8.6.';
--! EndIncluded analytics/simulate.sql
--! Included analytics/api_simulate.sql
create or replace function api.simulate(
  user_id uuid, preset text default null, since date default null, until date default null, plan_prices jsonb default null, pack_prices jsonb default null,
  model_prices jsonb default null, multipliers jsonb default null, limits jsonb default null,
  tokens_per_credit integer default null, max_request_tokens integer default null
)
returns table (
  scenario text, revenue numeric, subscription_revenue numeric, pack_revenue numeric, cost numeric, margin numeric, margin_percent numeric,
  runs bigint, credits numeric, refused_runs bigint, shortened_runs bigint, throttled_users bigint
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform core.check_admin(simulate.user_id);
  return query select * from ops.simulate(
    simulate.preset, simulate.since, simulate.until, simulate.plan_prices, simulate.pack_prices, simulate.model_prices, simulate.multipliers,
    simulate.limits, simulate.tokens_per_credit, simulate.max_request_tokens
  );
end
$$;

comment on function api.simulate(uuid, text, date, date, jsonb, jsonb, jsonb, jsonb, jsonb, integer, integer) is
  'ops.simulate for an administrator. Errors: PR403 for others; PR400 as there. Spec 8.3, 8.6.';
--! EndIncluded analytics/api_simulate.sql
--! Included limits/release_throttle.sql
create or replace function ops.release_throttle("user" text, reason text, dry_run boolean default false)
returns table (user_id uuid, email text, is_throttled boolean, note text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  still boolean;
begin
  if dry_run then
    select core.used_up_window(u, core.now()) is not null into still from public.users u where u.id = target;
  else
    still := core.lift_throttle(target, reason, null);
  end if;
  return query
    select u.id, u.email, still,
      case when still then 'Still over a limit that throttles: see ops.waive_limits(user, until, reason).' else 'Can run again.' end
    from public.users u
    where u.id = target;
end
$$;

comment on function ops.release_throttle(text, text, boolean) is
  'Unthrottles a user (id, e-mail or username): lifts their throttle. If a used-up cost limit throttles them still, it says so. dry_run only says '
  'whether one would. '
  'Call: select * from ops.release_throttle(''user@example.com'', ''false positive''); Errors: PR404, PR400 without a reason. Spec 3.4, 3.5.';
--! EndIncluded limits/release_throttle.sql
--! Included analytics/project_margin.sql
drop function if exists ops.project_margin(integer[], numeric[], numeric[], text[]);

create function ops.project_margin(
  subscribers integer[] default null, average_costs numeric[] default null, prices numeric[] default null, plans text[] default null
)
returns table (
  plan text, users bigint, monthly_price numeric, revenue numeric, average_cost numeric, cost numeric, profit numeric, margin_percent numeric
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  at timestamptz := core.now();
  names text[] := project_margin.plans;
begin
  if names is null and num_nonnulls(project_margin.subscribers, project_margin.average_costs, project_margin.prices) > 0 then
    names := array['prpm_plus_individual', 'prpm_plus_org_member', 'free'];
  end if;
  perform core.check_projection(names, project_margin.subscribers, project_margin.average_costs, project_margin.prices);

  return query
  with rows as (
    select
      n.place,
      n.plan,
      coalesce(project_margin.subscribers[n.place], p.subscribers, 0) as users,
      coalesce(project_margin.prices[n.place], case when project_margin.subscribers is null then round(p.revenue / p.subscribers, 2) end, l.monthly_price, 0) as price,
      coalesce(project_margin.average_costs[n.place], round(p.cost / p.subscribers, 6), 0) as average,
      case when project_margin.subscribers[n.place] is null and project_margin.prices[n.place] is null then p.revenue end as present_revenue,
      case when project_margin.subscribers[n.place] is null and project_margin.average_costs[n.place] is null then p.cost end as present_cost
    from (
      select x.place::integer as place, x.plan from unnest(names) with ordinality x(plan, place)
      union all
      select row_number() over (order by g.revenue desc, g.plan)::integer, g.plan from core.present_by_plan(at) g where names is null
    ) n
    left join core.present_by_plan(at) p on p.plan = n.plan
    left join public.plans l on l.plan = n.plan
  ),
  figures as (
    select
      r.place, r.plan, r.users, r.price, r.average,
      coalesce(r.present_revenue, r.users * r.price) as revenue,
      coalesce(r.present_cost, r.users * r.average) as cost
    from rows r
  )
  select
    case when f.place is null then 'total' else min(f.plan) end,
    coalesce(sum(f.users), 0)::bigint,
    case when f.place is not null then min(f.price) end,
    coalesce(sum(f.revenue), 0),
    case when f.place is not null then min(f.average) else round(sum(f.cost) / nullif(sum(f.users), 0), 6) end,
    coalesce(sum(f.cost), 0),
    coalesce(sum(f.revenue - f.cost), 0),
    round(100 * sum(f.revenue - f.cost) / nullif(sum(f.revenue), 0), 2)
  from figures f
  group by grouping sets ((f.place), ())
  order by f.place nulls last;
end
$$;

comment on function ops.project_margin(integer[], numeric[], numeric[], text[]) is
  'Projection: what a month brings and costs, by plan and in total, US dollars: revenue is users times monthly_price, cost users times average_cost, '
  'margin_percent profit in percent of revenue (2 decimals, null without revenue). Each list has one value a plan, in the order of plans '
  '(null: prpm_plus_individual, prpm_plus_org_member, free); prices left out are the plans'' own, average costs left out those of the last '
  '30 days. Without any argument: the present, that is what subscriptions pay now and what their owners, and people without one, cost in the last '
  '30 days. Packs are not in it. Call: select * from ops.project_margin(''{60,30,10}'', ''{0.92,0.60,0.15}''); '
  'Errors: PR400 naming subscribers, average_costs, prices or plans. Spec 8.5.';
--! EndIncluded analytics/project_margin.sql
--! Included billing/replay_stripe_event.sql
create or replace function ops.replay_stripe_event(event_id text, reason text, dry_run boolean default false)
returns table (id text, type text, user_id uuid, status text, error text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  event public.stripe_events;
begin
  select e.* into event from public.stripe_events e where e.id = replay_stripe_event.event_id for no key update;
  if not found then
    raise exception 'event % is unknown', replay_stripe_event.event_id using errcode = 'PR404', detail = 'event_id',
      hint = 'select id, type, status, error from stripe_events order by received_at desc limit 20;';
  end if;
  if event.body is null then
    raise exception 'the body of event % is gone', event.id using errcode = 'PR409', detail = 'event_id';
  end if;
  if not dry_run then
    perform core.note_action('replay_stripe_event', event.id, reason, null);
    delete from public.stripe_effects x where x.user_id = event.user_id and x.event_id = event.id;
    update public.stripe_events e set status = 'received', error = null where e.id = event.id;
    perform api.apply_stripe_event(event.id);
  end if;
  return query select e.id, e.type, e.user_id, e.status, e.error from public.stripe_events e where e.id = event.id;
end
$$;

comment on function ops.replay_stripe_event(text, text, boolean) is
  'Applies a stored event (what came by webhook) once more, by hand: what is booked already stays booked once. '
  'Call: select * from ops.replay_stripe_event(''evt_…'', ''price was missing''); Errors: PR404 unknown event, PR409 without its body, '
  'PR400 without a reason. Spec 6.5.';
--! EndIncluded billing/replay_stripe_event.sql
--! Included billing/retry_stripe_events.sql
create or replace function ops.retry_stripe_events()
returns bigint
language sql
security definer
set search_path = ''
begin atomic
  select count(core.want_work('apply_event', e.id, null))
  from public.stripe_events e
  where e.status = 'received' and e.attempts = 0 and e.received_at <= core.now() - interval '1 minute';
end;

comment on function ops.retry_stripe_events() is
  'Queues stored events (webhooks) that nobody has applied, because their server died before it could. Those that failed queue themselves, with growing delay. '
  'Returns how many. Call: select ops.retry_stripe_events(); Spec 6.5, 7.1.';
--! EndIncluded billing/retry_stripe_events.sql
--! Included runs/expire_holds.sql
create or replace function ops.expire_holds()
returns integer
language plpgsql
security definer
set search_path = ''
as $$
begin
  return core.sweep_all('users_with_expired_holds', 'expire_user_holds');
end
$$;

comment on function ops.expire_holds() is
  'Ends runs that are stuck since their server is gone: charges what their last checkpoint had, releases the rest. Passes over users whose row is in use; those '
  'heal on use. Returns how many runs it ended. Call: select ops.expire_holds(); Spec 7.1.';
--! EndIncluded runs/expire_holds.sql
--! Included runs/explain_charge.sql
create or replace function ops.explain_charge(run uuid)
returns table (step bigint, what text, quantity numeric, rate numeric, amount numeric, unit text, explanation text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  whose uuid;
begin
  select u.id into whose from public.users u join public.runs x on x.user_id = u.id and x.id = explain_charge.run;
  if not found then
    raise exception 'there is no run %', explain_charge.run using errcode = 'PR404', detail = 'run';
  end if;
  return query select * from core.charge_steps(whose, explain_charge.run);
end
$$;

comment on function ops.explain_charge(uuid) is
  'Why a run was charged what it was, and how its cost came to be: tokens by kind at the prices that it began under, then credits by spec 1.1 and 1.7, then the '
  'transfers that paid; the rows cost (US dollars) and, last, charged (credits) are the books'' own. Call: select * from ops.explain_charge(''RUN_ID''); Errors: PR404 unknown run. Spec 1.3, 12.';
--! EndIncluded runs/explain_charge.sql
--! Included jobs/ops_jobs.sql
create or replace view ops.jobs as
select
  j.job,
  j.description,
  j.every,
  last.slot as last_slot,
  last.started_at as last_started_at,
  last.finished_at as last_finished_at,
  last.rows_touched as last_rows,
  done.error as last_error,
  next.due_at as next_due_at,
  late.seconds as late_seconds,
  late.seconds > 300 as is_late,
  coalesce(done.error is not null, false) as has_failed
from public.jobs j
left join lateral (
  select r.slot, r.started_at, r.finished_at, r.rows_touched from public.job_runs r where r.job = j.job order by r.slot desc limit 1
) last on true
left join lateral (
  select r.error from public.job_runs r where r.job = j.job and r.finished_at is not null order by r.slot desc limit 1
) done on true
cross join lateral (
  select case
    when last.slot is null then core.slot_of(j.every, j.after, (select core.now()))
    when last.finished_at is null then last.slot
    else core.slot_of(j.every, j.after, last.slot + j.every)
  end as due_at
) next
cross join lateral (
  select greatest(0, round(extract(epoch from (select core.now()) - greatest(next.due_at, j.added_at)), 1)) as seconds
) late
order by late.seconds desc, j.every, j.job;

comment on view ops.jobs is
  'What does each job do by the clock (cron), when did it last, what came of it, when is it due next, and is it late? Latest first. Spec 7.2.';
comment on column ops.jobs.job is 'Names the job.';
comment on column ops.jobs.description is 'What it does, and the function that does it.';
comment on column ops.jobs.every is 'A slot is due this often.';
comment on column ops.jobs.last_slot is 'The newest slot that was begun: the time at which it was due. Null: none yet.';
comment on column ops.jobs.last_started_at is 'When that slot was begun.';
comment on column ops.jobs.last_finished_at is 'When it ended; null while it runs, or waits to be gone on with.';
comment on column ops.jobs.last_rows is 'Rows that it touched.';
comment on column ops.jobs.last_error is 'What went wrong in the newest slot that ended; null: nothing.';
comment on column ops.jobs.next_due_at is 'The oldest slot that is not done; in the past while it is late.';
comment on column ops.jobs.late_seconds is 'Seconds since then, 0 before; of a job that never ran, at most since it was added.';
comment on column ops.jobs.is_late is 'True when it is late by more than 5 minutes.';
comment on column ops.jobs.has_failed is 'True when the newest slot that ended has an error.';
--! EndIncluded jobs/ops_jobs.sql
--! Included jobs/checks.sql
create or replace function ops.checks()
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select f.* from core.now() clock cross join lateral core.faults_of_books(clock) f
  union all
  select f.* from core.faults_of_catalog() f
  union all
  select f.* from core.now() clock cross join lateral core.faults_of_work(clock) f
  union all
  select f.* from core.faults_of_rights() f;
end
$$;

comment on function ops.checks() is
  'Is anything wrong, broken or stuck right now, and what to do about it? No row means healthy. Looks at what the last audit of the books found, holds past '
  'their expiry, jobs, the inbox, Stripe, messages, analytics, prices, tiers, plans, the clock, switches and roles; at most 100 rows of a kind. '
  'Quick: the books themselves are looked at by ops.audit_books(), and what costs too much by ops.alerts_now. Call: select * from ops.checks(); Spec 12.';
--! EndIncluded jobs/checks.sql

--! split: 3-time.sql
-- Prices that plans had: who has subscribed keeps theirs.
create table if not exists public.plan_prices (
  stripe_price_id text primary key,
  plan text not null references public.plans,
  monthly_price numeric(12, 2),
  noted_at timestamptz not null
);
comment on table public.plan_prices is
  'config. Prices at Stripe that plans have or had: a subscription keeps the price that it was bought at (spec 2.4). Kept by the server.';
comment on column public.plan_prices.stripe_price_id is 'Stripe''s id of the price.';
comment on column public.plan_prices.plan is 'The plan that it sells.';
comment on column public.plan_prices.monthly_price is 'US dollars a month, as Stripe has it; null: not asked yet.';
comment on column public.plan_prices.noted_at is 'First sight.';
grant select on public.plan_prices to prpm_readonly;
--! Included billing/plan_of_price.sql
create or replace function core.plan_of_price(price_id text)
returns text
language sql
stable
set search_path = ''
begin atomic
  select coalesce(
    (select p.plan from public.plans p where p.stripe_price_id = plan_of_price.price_id),
    (select x.plan from public.plan_prices x where x.stripe_price_id = plan_of_price.price_id)
  );
end;

comment on function core.plan_of_price(text) is
  'The plan that a price at Stripe sells, or sold: who has subscribed keeps the price of then. Null for an unknown one. Spec 2.4.';
--! EndIncluded billing/plan_of_price.sql
--! Included billing/note_plan_prices.sql
create or replace function core.note_plan_prices(only_plan text default null)
returns void
language sql
set search_path = ''
begin atomic
  insert into public.plan_prices as x (stripe_price_id, plan, noted_at)
  select distinct on (p.stripe_price_id) p.stripe_price_id, p.plan, core.now()
  from public.plans p
  where p.stripe_price_id is not null and (only_plan is null or p.plan = only_plan)
  order by p.stripe_price_id, p.plan
  on conflict on constraint plan_prices_pkey do update set plan = excluded.plan
  where x.plan <> excluded.plan;
end;

comment on function core.note_plan_prices(text) is
  'Notes the price at Stripe that a plan has now (null: every plan) among those that it ever had. Called whenever one is set or offered. Spec 2.4.';
--! EndIncluded billing/note_plan_prices.sql
do $$
begin
  perform core.note_plan_prices();
  insert into public.plan_prices (stripe_price_id, plan, noted_at)
  select distinct on (s.price_id) s.price_id, s.plan, core.now()
  from public.subscriptions s
  where s.price_id is not null
  order by s.price_id, s.updated_at desc
  on conflict on constraint plan_prices_pkey do nothing;
end
$$;
--! Included billing/set_stripe_prices.sql
create or replace function api.set_stripe_prices(prices jsonb)
returns table (kind text, name text, price_id text, amount_cents integer, currency text, "interval" text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  update public.plans p set stripe_price_id = given.value
  from jsonb_each_text(coalesce(prices -> 'plans', '{}')) given
  where p.plan = given.key and given.value is not null and p.stripe_price_id is distinct from given.value;
  update public.packs p set stripe_price_id = given.value
  from jsonb_each_text(coalesce(prices -> 'packs', '{}')) given
  where p.pack = given.key and given.value is not null and p.stripe_price_id is distinct from given.value;
  perform core.note_plan_prices();
  return query
    select 'plan', p.plan, p.stripe_price_id, (p.monthly_price * 100)::integer, 'usd', 'month'
    from public.plans p
    where p.stripe_price_id is not null
    union all
    select 'pack', p.pack, p.stripe_price_id, (p.price * 100)::integer, 'usd', null
    from public.packs p
    where p.stripe_price_id is not null
    order by 1 desc, 2;
end
$$;

comment on function api.set_stripe_prices(jsonb) is
  'Sets the price ids at Stripe of plans and packs, {"plans": {plan: id}, "packs": {pack: id}}; what is left out stays, and what a plan had before '
  'is remembered. Returns those that '
  'have one, with what each should cost (amount in cents of currency, interval null for once). Spec 2.4.';
--! EndIncluded billing/set_stripe_prices.sql
--! Included billing/compare_stripe_prices.sql
create or replace function api.compare_stripe_prices(prices jsonb, livemode boolean)
returns table (complaint text)
language sql
security definer
set search_path = ''
begin atomic
  update public.plan_prices x set monthly_price = (theirs ->> 'unit_amount')::numeric / 100
  from jsonb_array_elements(prices) theirs
  where x.stripe_price_id = theirs ->> 'id' and theirs ->> 'currency' = 'usd' and theirs ->> 'type' = 'recurring'
    and theirs #>> '{recurring,interval}' = 'month' and (theirs #>> '{recurring,interval_count}')::integer = 1
    and x.monthly_price is distinct from (theirs ->> 'unit_amount')::numeric / 100;

  select format('%s %s sells for %s (price %s), but %s.', ours.kind, ours.name, ours.costs, ours.price_id, x.problem)
  from (
    select 'Plan' as kind, p.plan as name, p.stripe_price_id as price_id, (p.monthly_price * 100)::integer as cents, true as recurs,
      p.monthly_price || ' usd a month' as costs
    from public.plans p
    where p.stripe_price_id is not null
    union all
    select 'Pack', p.pack, p.stripe_price_id, (p.price * 100)::integer, false, p.price || ' usd once'
    from public.packs p
    where p.stripe_price_id is not null
  ) ours
  join jsonb_array_elements(prices) theirs on theirs ->> 'id' = ours.price_id
  cross join lateral (values (
    case
      when (theirs ->> 'missing')::boolean then 'Stripe knows no such price'
      when (theirs ->> 'livemode')::boolean is distinct from compare_stripe_prices.livemode then 'that price is of the other mode than the key'
      when not (theirs ->> 'active')::boolean then 'that price is not active at Stripe'
      when theirs ->> 'currency' <> 'usd' or (theirs ->> 'unit_amount')::bigint is distinct from ours.cents
        or theirs ->> 'type' <> case when ours.recurs then 'recurring' else 'one_time' end
        or ours.recurs and (theirs #>> '{recurring,interval}' <> 'month' or (theirs #>> '{recurring,interval_count}')::integer <> 1)
      then format('Stripe has %s %s %s', coalesce(round((theirs ->> 'unit_amount')::numeric / 100, 2)::text, 'no amount'), theirs ->> 'currency',
        coalesce('every ' || (theirs #>> '{recurring,interval_count}') || ' ' || (theirs #>> '{recurring,interval}'), 'once'))
    end
  )) x (problem)
  where x.problem is not null
  order by 1;
end;

comment on function api.compare_stripe_prices(jsonb, boolean) is
  'Compares prices as Stripe has them (an array of its price objects, or {"id", "missing": true}) with plans and packs: amount, currency, '
  'interval, mode, active. Each row is one difference, in words that name both sides; none: they agree. Keeps what Stripe asks for at a plan''s price. Spec 2.4.';
--! EndIncluded billing/compare_stripe_prices.sql
--! Included billing/begin_subscribe.sql
create or replace function api.begin_subscribe(
  user_id uuid, success_url text, cancel_url text, livemode boolean,
  out outcome text, out refusal json, out checkout_id uuid, out session_id text, out url text, out parameters jsonb
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  u public.users;
  offer record;
  pending public.checkouts;
begin
  select x.* into u from public.users x where x.id = begin_subscribe.user_id for no key update;
  if not found then
    raise exception 'user % is unknown', begin_subscribe.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  if exists (
    select from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    where s.user_id = u.id and not s.superseded and s.livemode = begin_subscribe.livemode
  ) then
    refusal := core.describe_refusal('already_subscribed', 409,
      'You are subscribed already. See your subscription, where you can resume or change how you pay.', now);
  else
    refusal := core.refuse_sale(u.id, now);
  end if;
  if refusal is null then
    select x.* into offer from core.offer_of(u.id) x;
    if offer.price_id is null then
      refusal := core.describe_refusal('billing_not_configured', 503, 'PRPM+ cannot be bought: no price at Stripe is set for it.', now);
    end if;
  end if;
  if refusal is not null then
    outcome := 'refused';
    return;
  end if;

  select c.* into pending
  from public.checkouts c
  where c.user_id = u.id and c.status in ('begun', 'open') and c.livemode = begin_subscribe.livemode
    and coalesce(c.expires_at, c.created_at + interval '24 hours') > now
  order by c.created_at desc
  limit 1;
  if pending.session_id is not null then
    session_id := pending.session_id;
    if (pending.plan, pending.success_url, pending.cancel_url) = (offer.plan, begin_subscribe.success_url, begin_subscribe.cancel_url) then
      outcome := 'open';
      url := pending.url;
    else
      outcome := 'expire';
    end if;
    return;
  end if;

  refusal := core.count_sale(u.id, now);
  if refusal is not null then
    outcome := 'refused';
    return;
  end if;
  -- Begun, but Stripe's answer was lost: the same row again, and with it the same key.
  if pending.id is null or (pending.plan, pending.success_url, pending.cancel_url) is distinct from (offer.plan, begin_subscribe.success_url, begin_subscribe.cancel_url) then
    insert into public.checkouts (user_id, id, plan, livemode, success_url, cancel_url, created_at)
    values (u.id, gen_random_uuid(), offer.plan, begin_subscribe.livemode, begin_subscribe.success_url, begin_subscribe.cancel_url, now)
    returning * into pending;
  end if;
  perform core.note_plan_prices(offer.plan);
  outcome := 'create';
  checkout_id := pending.id;
  parameters := jsonb_build_object(
    'mode', 'subscription',
    'line_items', jsonb_build_array(jsonb_build_object('price', offer.price_id, 'quantity', 1)),
    'success_url', begin_subscribe.success_url,
    'cancel_url', begin_subscribe.cancel_url,
    'client_reference_id', u.id,
    'metadata', jsonb_build_object('checkout_id', pending.id),
    'subscription_data', jsonb_build_object(
      'metadata', jsonb_build_object('user_id', u.id, 'plan', offer.plan), 'billing_mode', jsonb_build_object('type', 'flexible')
    )
  );
end
$$;

comment on function api.begin_subscribe(uuid, text, text, boolean) is
  'Begins a subscription to the plan that is offered to a user. outcome: refused (already_subscribed, purchases_disabled, payment_disputed, '
  'rate_limited, billing_not_configured), open (url of the checkout that is open already), expire (session_id is to be expired first, then '
  'ask again) or create (a checkout session of these parameters, checkout_id as idempotency key). Errors: PR404 unknown user. Spec 6.1.';
--! EndIncluded billing/begin_subscribe.sql
--! Included billing/align_prices.sql
create or replace function ops.align_prices()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  candidate record;
  queued bigint := 0;
begin
  perform core.note_plan_prices();
  for candidate in
    select s.user_id, s.id, s.item_id, offer.price_id
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    cross join lateral core.offer_of(s.user_id) offer
    where not s.superseded and s.cancel_at is null and s.item_id is not null
      and s.plan in ('prpm_plus_individual', 'prpm_plus_org_member')
      and offer.price_id is not null and offer.plan <> s.plan -- another price of the same plan is for who subscribes from now on
    order by s.user_id, s.id
  loop
    perform from public.users u where u.id = candidate.user_id for no key update skip locked;
    continue when not found
      or exists (select from public.stripe_work w where w.kind = 'update_subscription' and w.key = candidate.id); -- asked for meanwhile
    perform core.want_work('update_subscription', candidate.id, candidate.user_id, jsonb_build_object(
      'items', jsonb_build_array(jsonb_build_object('id', candidate.item_id, 'price', candidate.price_id)),
      'proration_behavior', 'none'
    ), is_write => true);
    queued := queued + 1;
  end loop;
  return queued;
end
$$;

comment on function ops.align_prices() is
  'Queues a change of price for subscriptions whose owner has joined or left a verified organization since: charged from the next invoice '
  'on, nothing is prorated; the paid period keeps its plan. Who stays with a plan keeps its price of then. Passes over users whose row is in use, '
  'and over subscriptions that are being changed. Returns how many. Call: select ops.align_prices(); Spec 2.4.';
--! EndIncluded billing/align_prices.sql
--! Included billing/read_subscription.sql
create or replace function api.read_subscription(user_id uuid)
returns json
language sql
stable
security definer
set search_path = ''
begin atomic
  select json_build_object(
    'is_active', coalesce(u.prpm_plus_status = 'active' and u.entitled_until > core.now(), false),
    'status', (s).status,
    'plan', coalesce((s).plan, offer.plan),
    'tier', core.tier_now(u),
    'price', coalesce(agreed.monthly_price, p.monthly_price)::text,
    'currency', 'USD',
    'interval', 'month',
    'credits', p.monthly_credits,
    'cancel_at_period_end', (s).cancel_at is not null and not coalesce(state.is_final, false),
    'cancel_at', (s).cancel_at,
    'current_period_end', (s).current_period_end,
    'paid_until', (s).paid_until,
    'entitled_until', u.entitled_until,
    'collection_paused', coalesce((s).collection_paused, false),
    'payment_problem', case when (s).unpaid_since is not null then json_build_object(
      'since', (s).unpaid_since, 'hosted_invoice_url', (s).hosted_invoice_url
    ) end,
    'told', case
      when (s).id is null then 'You have no subscription.'
      when (s).cancel_at is not null and state.is_open then 'Your subscription ends on ' || to_char((s).cancel_at at time zone 'UTC', 'FMMonth FMDD, YYYY') || '.'
      when (s).collection_paused and state.is_open then 'Payments for your subscription are paused.'
      else state.told
    end
  )
  from public.users u
  cross join lateral core.offer_of(u.id) offer
  cross join lateral (values (core.current_subscription(u.id))) current (s)
  left join public.subscription_states state on state.status = (s).status
  left join public.plan_prices agreed on agreed.stripe_price_id = (s).price_id and agreed.plan = (s).plan
  left join public.plans p on p.plan = coalesce((s).plan, offer.plan)
  where u.id = read_subscription.user_id;
end;

comment on function api.read_subscription(uuid) is
  'A user''s subscription: is_active (it entitles now), status (Stripe''s word, null without any), plan, tier, price (US dollars a month, as agreed when it '
  'was bought), '
  'credits a month, cancel_at, current_period_end, paid_until, payment_problem {since, hosted_invoice_url}, and told, a sentence for the '
  'person. Null for an unknown user. Spec 6.1.';
--! EndIncluded billing/read_subscription.sql
--! Included alerts/price_raises.sql
create or replace function core.price_raises(now timestamptz)
returns table (user_id uuid, subscription_id text, paid_until timestamptz, paid_price numeric, next_price numeric, has_left boolean)
language sql
stable
set search_path = ''
begin atomic
  with renewing as materialized (
    select s.user_id, s.id, s.plan, s.price_id, s.paid_until, s.monthly_amount, latest.plan as paid_plan
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    join public.plans own on own.plan = s.plan
    cross join lateral (
      select q.plan
      from public.subscription_periods q
      where q.user_id = s.user_id and q.subscription_id = s.id and q.state = 'paid'
      order by q.period_start desc
      limit 1
    ) latest
    where s.plan in ('prpm_plus_individual', 'prpm_plus_org_member')
      and not s.superseded and s.cancel_at is null and s.monthly_amount > 0 and s.paid_until > price_raises.now
      and (
        s.plan <> latest.plan
        or own.requires_verified_organization and not exists (
          select from public.organization_members m
          join public.organizations o on o.id = m.organization_id and o.is_verified
          where m.user_id = s.user_id
        )
      )
  )
  select r.user_id, r.id, r.paid_until, r.monthly_amount, next.price, paid.requires_verified_organization and not next.requires_verified_organization
  from renewing r
  join public.plans paid on paid.plan = r.paid_plan
  cross join lateral core.offer_of(r.user_id) offer
  cross join lateral (
    -- Who stays with the plan keeps its price of then.
    select p.requires_verified_organization, coalesce(case when p.plan = r.plan then agreed.monthly_price end, p.monthly_price) as price
    from public.plans p
    left join public.plan_prices agreed on agreed.stripe_price_id = r.price_id and agreed.plan = p.plan
    where p.plan = case when offer.price_id is null then r.plan else offer.plan end
  ) next
  where next.price > r.monthly_amount;
end;

comment on function core.price_raises(timestamptz) is
  'Subscriptions whose next renewal costs more than was paid (US dollars a month), because ops.align_prices has changed their plan or will: whose, '
  'until when it is paid, and whether that is because they left a verified organization. Spec 2.4.';
--! EndIncluded alerts/price_raises.sql

-- Months that are over.
--! Included analytics/people_this_month.sql
create or replace function core.people_this_month(starts_at timestamptz, at timestamptz)
returns table (active bigint, throttled bigint, high_risk bigint, total bigint)
language sql
stable
set search_path = ''
begin atomic
  select
    count(*) filter (where u.last_request_at >= people_this_month.starts_at or u.entitled_until > people_this_month.at),
    count(*) filter (where u.is_throttled and u.closed_at is null and core.throttled_at(u, people_this_month.at)),
    count(*) filter (where u.month_ends_at > people_this_month.at and u.current_month_api_cost > 5),
    count(*) filter (where u.closed_at is null)
  from public.users u;
end;

comment on function core.people_this_month(timestamptz, timestamptz) is
  'Counts people in the month that began at starts_at and goes on: active (a run since, or an entitled subscription), throttled, high_risk (cost '
  'above 5 dollars), and all whose account is open. Reads their own rows. Spec 8.3.';
--! EndIncluded analytics/people_this_month.sql
--! Included analytics/people_back_then.sql
create or replace function core.people_back_then(starts_at timestamptz, ends_at timestamptz)
returns table (active bigint, throttled bigint, high_risk bigint, total bigint)
language sql
stable
set search_path = ''
begin atomic
  select
    count(*) filter (where used.runs > 0 or exists (
      select from public.subscription_periods p
      where p.user_id = u.id and p.state = 'paid' and p.period_start < people_back_then.ends_at and p.period_end > people_back_then.starts_at
    )),
    null::bigint,
    count(*) filter (where used.cost > 5),
    count(*) filter (where u.created_at < people_back_then.ends_at and coalesce(u.closed_at >= people_back_then.ends_at, true))
  from public.users u
  left join (
    select d.user_id, sum(d.runs) as runs, sum(d.cost) as cost
    from core.usage_parts d
    where d.day >= (people_back_then.starts_at at time zone 'UTC')::date and d.day < (people_back_then.ends_at at time zone 'UTC')::date
    group by d.user_id
  ) used on used.user_id = u.id;
end;

comment on function core.people_back_then(timestamptz, timestamptz) is
  'Counts people in a month that is over, from starts_at to ends_at: active (a run that began then, or a paid period of a subscription), high_risk '
  '(cost above 5 dollars), and all whose account was open at its end. Who was throttled then is not kept: null. Spec 8.3.';
--! EndIncluded analytics/people_back_then.sql
--! Included analytics/month_figures.sql
create or replace function core.month_figures(at timestamptz)
returns table (
  subscription_revenue numeric, pack_revenue numeric, earned_pack_revenue numeric, cost numeric, overall_margin_percent numeric,
  active_users bigint, throttled_users bigint, high_risk_users bigint, users bigint
)
language sql
stable
set search_path = ''
set jit = off
set enable_seqscan = on
begin atomic
  with month as (
    select
      (date_trunc('month', month_figures.at at time zone 'UTC')) at time zone 'UTC' as starts_at,
      (date_trunc('month', month_figures.at at time zone 'UTC') + interval '1 month') at time zone 'UTC' as ends_at,
      (date_trunc('month', month_figures.at at time zone 'UTC') + interval '1 month') at time zone 'UTC' <= core.now() as is_over
  ),
  paying as (
    select coalesce(case
      when m.is_over then (
        -- Each subscription begins one period in a calendar month.
        select sum(greatest(0, p.paid_amount - p.refunded_amount - p.disputed_amount))
        from public.subscription_periods p
        where p.state = 'paid' and p.period_start >= m.starts_at and p.period_start < m.ends_at
      )
      else (select sum(s.monthly_amount) from core.paying_subscriptions(month_figures.at) s)
    end, 0) as amount
    from month m
  ),
  sold as (
    select coalesce(sum(greatest(0, p.paid_amount - p.refunded_amount - p.disputed_amount)), 0) as amount
    from month m
    join public.purchases p on p.paid_at >= m.starts_at and p.paid_at < m.ends_at
  ),
  used as (
    select coalesce(sum(d.purchased_value), 0) as earned, coalesce(sum(d.cost), 0) as cost
    from core.usage_parts d
    where d.day >= date_trunc('month', month_figures.at at time zone 'UTC')::date
      and d.day < (date_trunc('month', month_figures.at at time zone 'UTC') + interval '1 month')::date
  ),
  people as (
    select p.*
    from month m
    cross join lateral (
      select n.* from core.people_this_month(m.starts_at, month_figures.at) n where not m.is_over
      union all
      select b.* from core.people_back_then(m.starts_at, m.ends_at) b where m.is_over
    ) p
  )
  select
    paying.amount, sold.amount, used.earned, used.cost,
    round(100 * (paying.amount + used.earned - used.cost) / nullif(paying.amount + used.earned, 0), 2),
    people.active, people.throttled, people.high_risk, people.total
  from paying, sold, used, people;
end;

comment on function core.month_figures(timestamptz) is
  'The figures of the calendar month (UTC) that a moment is in, one row, US dollars: what subscriptions pay now, or of a month that is over what they '
  'paid for the periods that began in it, less what went back; what packs paid for in the '
  'month brought, less what was refunded or is disputed of them; the part of packs'' cash that the month''s runs earned by spending their credits; provider '
  'cost of the month''s runs; (subscriptions + earned - cost) in percent of (subscriptions + earned), 2 decimals, null without revenue. Then '
  'people: active (a run this month or an entitled subscription), throttled (null of a month that is over), high_risk (more than 5 dollars this month), and '
  'all whose account is open (or was at the month''s end). Exact at every moment, whenever the analytics were refreshed. Spec 8.3.';
--! EndIncluded analytics/month_figures.sql

-- Alerts that cost a look at everybody's month rest in between.
create table if not exists public.alert_intervals (
  kind text primary key,
  every interval not null check (every > interval '0'),
  checked_at timestamptz
);
comment on table public.alert_intervals is
  'ops. Kinds of alerts that are too dear to look at in each check (spec 9), and how often they are; all others are looked at each time.';
comment on column public.alert_intervals.kind is 'alerts.kind.';
comment on column public.alert_intervals.every is 'Once in each such time (counted in UTC from midnight, on the full hour for an hour).';
comment on column public.alert_intervals.checked_at is 'When it was looked at last; null: not yet.';
insert into public.alert_intervals (kind, every) values ('loss_making', '1 hour'), ('provider_drift', '1 hour') on conflict do nothing;
drop function if exists core.alert_conditions(timestamptz);
drop function if exists core.usage_conditions(timestamptz);
drop function if exists core.raise_alerts(core.alert_condition[], timestamptz);
--! Included alerts/usage_conditions.sql
create or replace function core.usage_conditions(now timestamptz, resting text[])
returns setof core.alert_condition
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select
    'loss_making', format('%s %s', l.kind, l.name), 0, 'warning',
    format('%s %s loses money: its paid credits cost %s dollars and brought %s', initcap(l.kind), l.name,
      core.write_dollars(l.cost_dollars), core.write_dollars(l.value_dollars)),
    format('A paid credit costs %s dollars there and brings %s. All of them: SELECT * FROM ops.loss_makers;',
      core.write_dollars(l.cost_per_credit_dollars), core.write_dollars(l.value_per_credit_dollars)),
    jsonb_build_object('kind', l.kind, 'name', l.name, 'credits', l.credits, 'cost', l.cost_dollars, 'value', l.value_dollars), null::uuid
  from ops.loss_makers l
  where l.kind <> 'user' and 'loss_making' <> all (usage_conditions.resting)
  union all
  select
    'provider_drift', format('%s %s', d.provider, left(d.period, 7)), 0, 'critical',
    case
      when sum(d.their_dollars) is not null then format('%s asks for %s dollars of %s, and our books say %s', d.provider,
        core.write_dollars(sum(d.their_dollars)), left(d.period, 7), core.write_dollars(sum(d.our_dollars)))
      else format('%s counts %s tokens of %s, and our books %s', d.provider, sum(d.their_tokens), left(d.period, 7), sum(d.our_tokens))
    end,
    'Where: SELECT * FROM ops.provider_drift WHERE is_off;',
    jsonb_build_object('provider', d.provider, 'month', left(d.period, 7), 'their_dollars', sum(d.their_dollars), 'our_dollars', sum(d.our_dollars)), null
  from ops.provider_drift d
  where 'provider_drift' <> all (usage_conditions.resting) and d.is_off and d.period >= to_char((usage_conditions.now at time zone 'UTC') - interval '2 months', 'YYYY-MM')
  group by d.provider, left(d.period, 7);
end
$$;

comment on function core.usage_conditions(timestamptz, text[]) is
  'What holds now of alerts that come from rolled up usage: loss_making (packs, packages and models of ops.loss_makers; of one person see '
  'purchased_credit_cost) and provider_drift (months, of the last two, in which a provider''s invoice is off); none of kinds in resting, for each costs a '
  'look at a month''s usage of everybody. Spec 8.4, 7.1, 9.';
--! EndIncluded alerts/usage_conditions.sql
--! Included alerts/alert_conditions.sql
create or replace function core.alert_conditions(now timestamptz, resting text[])
returns setof core.alert_condition
language plpgsql
stable
set search_path = ''
as $$
begin
  return query
  select distinct on (c.kind, c.key) c.*
  from (
    select * from core.spend_conditions(alert_conditions.now)
    union all
    select * from core.run_conditions(alert_conditions.now)
    union all
    select * from core.limit_conditions(alert_conditions.now)
    union all
    select * from core.loss_conditions(alert_conditions.now)
    union all
    select * from core.billing_conditions(alert_conditions.now)
    union all
    select * from core.usage_conditions(alert_conditions.now, alert_conditions.resting)
    union all
    select * from core.message_conditions()
  ) c
  order by c.kind, c.key, c.level desc;
end
$$;

comment on function core.alert_conditions(timestamptz, text[]) is
  'Everything but jobs that an operator should know and that holds now: one row for each kind and key (what it is about: a user''s id, a '
  'provider …), at its highest level. Kinds in resting are not looked at. ops.check_alerts raises what is new and resolves what is gone. Spec 9.';
--! EndIncluded alerts/alert_conditions.sql
--! Included alerts/raise_alerts.sql
create or replace function core.raise_alerts(conditions core.alert_condition[], now timestamptz, resting text[])
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  ended bigint;
  changed bigint;
begin
  update public.alerts a set resolved_at = raise_alerts.now
  where a.resolved_at is null and a.kind <> all (raise_alerts.resting) and not exists (select from unnest(conditions) c where c.kind = a.kind and c.key = a.key);
  get diagnostics ended = row_count;

  insert into public.alerts as a (kind, key, level, severity, subject, body, details, user_id, raised_at)
  select c.kind, c.key, c.level, c.severity, c.subject, c.body, c.details, c.user_id, raise_alerts.now
  from unnest(conditions) c
  on conflict (kind, key) where resolved_at is null do update set
    level = excluded.level, severity = excluded.severity, subject = excluded.subject, body = excluded.body, details = excluded.details
  where (a.level, a.subject, a.details) is distinct from (excluded.level, excluded.subject, excluded.details);
  get diagnostics changed = row_count;
  return ended + changed;
end
$$;

comment on function core.raise_alerts(core.alert_condition[], timestamptz, text[]) is
  'Makes the open alerts what these conditions are, which are all that hold, but for kinds in resting, which were not looked at: '
  'raises, brings up to date, resolves. Returns how many changed. Spec 9.';
--! EndIncluded alerts/raise_alerts.sql
--! Included jobs/check_alerts.sql
create or replace function ops.check_alerts()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  resting text[] := array(
    select i.kind from public.alert_intervals i
    where i.checked_at between core.slot_of(i.every, interval '0', now) and now
  );
  changed bigint := 0;
  failure text;
begin
  if not pg_try_advisory_xact_lock(hashtext('check_alerts')) then
    return 0;
  end if;

  begin
    changed := core.raise_alerts(array(
      select c from core.alert_conditions(now, resting) c
      union all
      select c from core.job_conditions() c
    ), now, resting) + core.tell_people(now);
    update public.alert_intervals i set checked_at = now where i.kind <> all (resting);
  exception when others then
    failure := sqlerrm;
  end;
  if failure is not null then
    changed := core.raise_check_failed(failure, now);
  end if;
  perform core.tell_operators(now);
  return changed;
end
$$;

comment on function ops.check_alerts() is
  'Raises an alert for each condition that has begun to hold, brings open ones up to date, resolves those whose condition has ended, and '
  'writes the messages to operators and users, which servers deliver. Kinds in alert_intervals are looked at that often, others each time. Returns how many alerts changed and mails were written. Where '
  'another check is running it returns 0 at once. Call: select ops.check_alerts(); Spec 9.';
--! EndIncluded jobs/check_alerts.sql

-- Messages that are done go after a time.
alter table public.settings add column if not exists message_days integer default 90 check (message_days >= 40);
comment on column public.settings.message_days is
  'Days that alerts and mails are kept that were delivered or given up, but for the newest of each kind to each user; null: for ever. At least 40: no period '
  'in which something is told once is longer.';
grant update (message_days) on public.settings to prpm_ops;
create index if not exists messages_done on public.messages (created_at) where delivered_at is not null or given_up_at is not null;
--! Included jobs/forget_history.sql
create or replace function ops.forget_history()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  s public.settings;
  touched bigint;
  total bigint;
begin
  select x.* into strict s from public.settings x;
  update public.stripe_events e set body = null
  where e.body is not null and e.status in ('applied', 'ignored') and e.received_at < now - s.inbox_body_days * interval '24 hours';
  get diagnostics total = row_count;

  -- Such an event can be neither replayed nor delivered again.
  delete from public.stripe_effects x
  using public.stripe_events e
  where e.id = x.event_id and e.body is null and e.status in ('applied', 'ignored');
  get diagnostics touched = row_count;
  total := total + touched;

  delete from public.job_runs r
  where r.finished_at < now - s.job_run_days * interval '24 hours'
    and r.slot < (select max(x.slot) from public.job_runs x where x.job = r.job);
  get diagnostics touched = row_count;
  total := total + touched;

  -- The newest of each kind to each user says what they were told, and keeps them from being told again.
  delete from public.messages m
  where m.id in (
    select o.id
    from public.messages o
    where o.created_at < now - s.message_days * interval '24 hours'
      and (o.delivered_at is not null or o.given_up_at is not null)
      and (o.user_id is null or exists (
        select from public.messages n
        where n.user_id = o.user_id and n.kind = o.kind and (n.created_at, n.id) > (o.created_at, o.id)
      ))
    order by o.created_at
    limit 100 * s.job_batch
  );
  get diagnostics touched = row_count;
  return total + touched;
end
$$;

comment on function ops.forget_history() is
  'Drops the bodies of webhook events that are done and older than settings.inbox_body_days, what kept them from being applied twice, the '
  'history of jobs older than settings.job_run_days, and messages that were delivered or given up, older than settings.message_days, at most 100 times '
  'settings.job_batch a night; null keeps. Returns how many rows. Call: select ops.forget_history(); Spec 7.1.';
--! EndIncluded jobs/forget_history.sql
--! Included jobs/faults_of_work.sql
create or replace function core.faults_of_work(clock timestamptz)
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select 'job late', format('%s was due at %s', j.job, j.next_due_at),
    format('Is pg_cron or a server running? By hand: call ops.run_job(%L);', j.job)
  from ops.jobs j
  where j.is_late
  union all
  select 'job failed', format('%s at %s: %s', j.job, j.last_slot, j.last_error), format('When it is put right: call ops.run_job(%L, ''…'');', j.job)
  from ops.jobs j
  where j.has_failed and j.job <> 'audit-books'
  union all
  select 'analytics old', format('refreshed %s ago', date_trunc('second', clock_timestamp() - a.refreshed_at)), 'select refresh_user_cost_analytics();'
  from core.analytics_refresh a
  where a.refreshed_at < clock_timestamp() - interval '2 hours'
  union all
  (
    select 'Stripe needs a person', format('%s %s: %s', r.kind, r.object, r.why), r.what_to_do
    from ops.stripe_review r
    limit 100
  )
  union all
  select 'Stripe waits for a server', format('%s pieces of work, the oldest since %s', count(*), min(w.waiting_since)),
    'Does a server run with STRIPE_SECRET_KEY? select * from ops.unclaimed_work;'
  from ops.unclaimed_work w
  where w.waiting_since < clock - interval '5 minutes'
    -- What only compares waits for nobody where there is nothing to compare.
    and (w.kind not in ('list_events', 'list_subscriptions') or exists (select from public.plans p where p.stripe_price_id is not null))
  having count(*) > 0
  union all
  select 'Stripe differed', format('%s differences were found and repaired in 24 hours, the newest at %s', count(*), max(d.found_at)),
    'Does the webhook arrive? select * from ops.stripe_drift;'
  from ops.stripe_drift d
  where d.found_at > clock - interval '24 hours'
  having count(*) > 0
  union all
  select 'message not delivered', format('%s messages, the newest about: %s', count(*), (array_agg(m.what order by m.since desc))[1]),
    'select * from ops.undelivered_messages; it says why, and has the call that tries again.'
  from ops.undelivered_messages m
  having count(*) > 0;
end
$$;

comment on function core.faults_of_work(timestamptz) is
  'Part of ops.checks: jobs that are late or failed, analytics older than 2 hours, what of Stripe''s news needs a person, waits for a server '
  'for 5 minutes or was found by reconciliation in 24 hours, and messages that do not arrive. Spec 7.2, 12.';
--! EndIncluded jobs/faults_of_work.sql
drop view if exists core.texts_about_to_go;

-- The reset in one call keeps those who are at it waiting the least.
--! Included limits/reset_monthly_api_costs.sql
create or replace function public.reset_monthly_api_costs()
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  candidate uuid;
  closed integer := 0;
begin
  for candidate in
    select d.id
    from core.users_with_ended_windows(now, '00000000-0000-0000-0000-000000000000', null) d (id)
    join public.users u on u.id = d.id
    order by u.last_request_at nulls first
  loop
    perform from public.users u where u.id = candidate for no key update skip locked;
    if found then
      closed := closed + core.close_windows(candidate, now);
    end if;
  end loop;
  return closed;
end
$$;

comment on function public.reset_monthly_api_costs() is
  'Closes the month and day windows that have ended and lifts the throttles that ended with them. Returns how many month windows it '
  'closed. Does only what is due, so it may run at any time and twice. Waits for nobody: users whose row is in use heal on use. In one '
  'transaction, for whose end a run of a user already reset waits; so who ran something last is reset last, and who is at it hardly waits. '
  'The job reset-monthly-costs commits in batches. Spec 7.1, 7.4.';
--! EndIncluded limits/reset_monthly_api_costs.sql

--! split: 4-talks.sql
-- Sessions that are found, forked, kept short and compared.
create index if not exists session_index_by_model on public.session_index using gin (user_id, models);
create index if not exists session_index_by_package on public.session_index (user_id, package_id, last_run_id desc);
create index if not exists session_index_by_credits on public.session_index (user_id, credits);
drop function if exists core.session_facts(public.sessions);
drop function if exists api.list_sessions(uuid, integer, text, integer, text);
--! Included sessions/minute_before.sql
create or replace function core.minute_before(run_id uuid)
returns uuid
language sql
immutable
strict
parallel safe
set search_path = ''
begin atomic
  select rpad(lpad(to_hex(greatest(0, ('x' || left(replace(run_id::text, '-', ''), 12))::bit(48)::bigint - 60000)), 12, '0'), 32, '0')::uuid;
end;

comment on function core.minute_before(uuid) is
  'The least time-ordered id of the millisecond a minute before an id was made: servers whose clocks differ by less make no run below it.';
--! EndIncluded sessions/minute_before.sql
--! Included sessions/session_runs.sql
create or replace function core.session_runs(user_id uuid, session_id uuid)
returns setof public.runs
language sql
stable
rows 3
begin atomic
  select r.* from public.runs r where r.user_id = session_runs.user_id and r.id = session_runs.session_id
  union all
  select r.*
  from public.runs r
  where r.user_id = session_runs.user_id and r.session_id = session_runs.session_id and r.session_id <> r.id;
end;

comment on function core.session_runs(uuid, uuid) is
  'The runs of a session: its first, whose id it has, and those that followed. Reads those alone, whatever else the user has run. Spec 10.1.';
--! EndIncluded sessions/session_runs.sql
--! Included sessions/session_facts.sql
create or replace function core.session_facts(session public.sessions)
returns table (models text[], credits bigint, words tsvector)
language sql
stable
rows 1
begin atomic
  select
    (select array_agg(distinct r.model) from core.session_runs(session.user_id, session.id) r),
    (select coalesce(sum(r.credits), 0)::bigint from core.session_runs(session.user_id, session.id) r),
    strip(to_tsvector('pg_catalog.simple', left(coalesce(session.title, '') || coalesce((
      select string_agg(' ' || t.question || ' ' || t.answer, '' order by t.run_id)
      from public.run_texts t
      where t.user_id = session.user_id and t.session_id = session.id
    ), ''), 250000)));
end;

comment on function core.session_facts(public.sessions) is
  'What a session is found by: the models and credits of its runs, and the words of its title, questions and answers (the first 250,000 characters). Spec 10.1.';
--! EndIncluded sessions/session_facts.sql
--! Included sessions/put_session_index.sql
create or replace function core.put_session_index(user_id uuid, session_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  made bigint;
begin
  select count(*) into made
  from public.sessions s
  where s.user_id = put_session_index.user_id and s.id = any (session_ids) and s.deleted_at is null
    and not exists (select from public.session_index x where x.user_id = s.user_id and x.session_id = s.id);
  insert into public.session_index as x (user_id, session_id, last_run_id, package_id, models, credits, words)
  select s.user_id, s.id, s.last_run_id, s.package_id, coalesce(f.models, '{}'), f.credits, f.words
  from public.sessions s
  cross join lateral core.session_facts(s) f
  where s.user_id = put_session_index.user_id and s.id = any (session_ids) and s.deleted_at is null
  on conflict on constraint session_index_pkey do update
  set last_run_id = excluded.last_run_id, models = excluded.models, credits = excluded.credits, words = excluded.words;
  update public.session_marks m set session_count = m.session_count + made
  where m.user_id = put_session_index.user_id and made > 0;
end
$$;

comment on function core.put_session_index(uuid, uuid[]) is
  'Writes what some of a user''s sessions are listed and found by, as they are now, and counts those that are new. The caller holds the '
  'user''s row of session_marks. Spec 10.1.';
--! EndIncluded sessions/put_session_index.sql
--! Included sessions/unindexed_runs.sql
create or replace function core.unindexed_runs(user_id uuid, mark uuid, most integer)
returns table (run_id uuid, session_id uuid, is_running boolean)
language sql
stable
set search_path = ''
begin atomic
  (
    select r.id, r.session_id, r.status = 'running'
    from public.runs r
    where r.user_id = unindexed_runs.user_id and r.id > mark
    order by r.id
    limit most
  )
  union all
  (
    select r.id, r.session_id, false
    from public.runs r
    join public.sessions s on s.user_id = r.user_id and s.id = r.session_id and s.deleted_at is null
    where r.user_id = unindexed_runs.user_id and r.id > core.minute_before(mark) and r.id <= mark and r.status <> 'running'
      and not exists (
        select from public.session_index x
        where x.user_id = s.user_id and x.session_id = s.id and x.last_run_id = s.last_run_id
      )
    limit most
  );
end;

comment on function core.unindexed_runs(uuid, uuid, integer) is
  'A user''s runs after one, oldest first, at most so many; and those of the minute before it that came late, because another server''s '
  'clock is a little behind, as soon as they have ended. What core.index_sessions has to do. Spec 10.1.';
--! EndIncluded sessions/unindexed_runs.sql
--! Included sessions/index_sessions.sql
create or replace function core.index_sessions(user_id uuid, most integer)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  mark uuid;
  scanned record;
begin
  select m.through_run_id into mark from public.session_marks m where m.user_id = index_sessions.user_id;
  if not exists (select from core.unindexed_runs(index_sessions.user_id, coalesce(mark, '00000000-0000-0000-0000-000000000000'), 1)) then
    return 0;
  end if;
  insert into public.session_marks (user_id, through_run_id, session_count)
  values (index_sessions.user_id, '00000000-0000-0000-0000-000000000000', 0)
  on conflict do nothing;
  select m.through_run_id into mark from public.session_marks m where m.user_id = index_sessions.user_id for update;

  -- What is running has no text yet: it is looked at again, and so is all behind it.
  select
    count(*) as runs, array_agg(distinct n.session_id) as session_ids,
    max(n.run_id::text) filter (where not n.is_behind)::uuid as newest
  into scanned
  from (
    select x.run_id, x.session_id, bool_or(x.is_running) over (order by x.run_id) as is_behind
    from core.unindexed_runs(index_sessions.user_id, mark, index_sessions.most) x
  ) n;
  perform core.put_session_index(index_sessions.user_id, scanned.session_ids);
  update public.session_marks m set through_run_id = scanned.newest
  where m.user_id = index_sessions.user_id and scanned.newest > m.through_run_id;
  return scanned.runs;
end
$$;

comment on function core.index_sessions(uuid, integer) is
  'Brings the index of a user''s sessions up to date with their runs, oldest first, at most so many at a time; returns how many runs it '
  'looked at: fewer than asked for means that all is done. Costs by what is new. Waits for another that does the same for this user. Spec 10.1.';
--! EndIncluded sessions/index_sessions.sql
--! Included sessions/catch_up.sql
create or replace function core.catch_up(user_id uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  -- So many runs at a time, and no more for one who waits when so long has passed.
  batch constant integer := 200;
  patience constant interval := interval '100 milliseconds';
  began timestamptz := clock_timestamp();
begin
  while core.index_sessions(catch_up.user_id, batch) >= batch loop
    if clock_timestamp() > began + patience then
      perform core.put_session_index(catch_up.user_id, array(
        select distinct n.session_id
        from (
          select r.session_id from public.runs r where r.user_id = catch_up.user_id order by r.id desc limit batch
        ) n
      ));
      return false;
    end if;
  end loop;
  return true;
end
$$;

comment on function core.catch_up(uuid) is
  'Brings the index of a user''s sessions up to date for somebody who waits for it: for about 100 ms. True: all is there. False: there is '
  'more than that, the newest 200 runs'' sessions are there, and of the others some; the job and whoever looks next go on. Spec 10.1.';
--! EndIncluded sessions/catch_up.sql
--! Included sessions/list_sessions.sql
create or replace function api.list_sessions(
  user_id uuid, "limit" integer default 20, cursor text default null, "offset" integer default 0, query text default null
)
returns table (sessions json, next_cursor text, total bigint, complete boolean)
language plpgsql
security definer
set search_path = ''
as $$
declare
  after text[] := core.decode_cursor(list_sessions.cursor, 'uuid');
  page uuid[];
begin
  perform core.check_page("limit", "offset");
  complete := core.catch_up(list_sessions.user_id);

  page := core.find_sessions(list_sessions.user_id, list_sessions.query, after[1]::uuid, "offset", "limit" + 1);
  if cardinality(page) > "limit" then
    page := page[:"limit"];
    select core.encode_cursor(x.last_run_id::text) into next_cursor
    from public.session_index x
    where x.user_id = list_sessions.user_id and x.session_id = page["limit"];
  end if;

  select coalesce(json_agg(d), '[]') into sessions from core.describe_sessions(list_sessions.user_id, page) d;
  if complete and btrim(coalesce(list_sessions.query, '')) = '' then
    total := coalesce((select m.session_count from public.session_marks m where m.user_id = list_sessions.user_id), 0);
  end if;
  return next;
end
$$;

comment on function api.list_sessions(uuid, integer, text, integer, text) is
  'One page of a user''s own sessions, newest run first, all or those that a search finds (see core.parse_search). One row: sessions (JSON array '
  'of the columns of core.describe_sessions; no texts but a title), next_cursor (null on the last page), total (all of the user''s '
  'sessions; null for a search) and complete (false, and no total: older sessions are still missing, see core.catch_up). limit 1 to 100; cursor is the next_cursor of the page before; offset skips rows after it. '
  'Errors: PR400 naming limit, offset, cursor or query. Spec 10.1, 10.7.';
--! EndIncluded sessions/list_sessions.sql
--! Included sessions/find_sessions.sql
create or replace function core.find_sessions(user_id uuid, query text, after_run_id uuid, skip integer, most integer)
returns uuid[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
declare
  -- So many of the newest are looked through before an index is asked: what is common is found there.
  newest integer := 500;
  wider integer;
  search record;
  package_ids uuid[];
  found_ids uuid[];
begin
  if btrim(coalesce(query, '')) = '' then
    return array(
      select x.session_id from public.session_index x
      where x.user_id = find_sessions.user_id and (find_sessions.after_run_id is null or x.last_run_id < find_sessions.after_run_id)
      order by x.last_run_id desc offset skip limit most
    );
  end if;
  search := core.parse_search(query);
  if search.package is not null then
    package_ids := array(
      select p.id from public.packages p
      where p.name = search.package or right(p.name, length(search.package) + 1) = '/' || search.package or p.id::text = search.package
    );
  end if;

  loop
    found_ids := array(
      select y.session_id
      from (
        select x.* from public.session_index x
        where x.user_id = find_sessions.user_id and (find_sessions.after_run_id is null or x.last_run_id < find_sessions.after_run_id)
        order by x.last_run_id desc limit newest
      ) y
      where (search.words is null or y.words @@ search.words)
        and (search.model is null or search.model = any (y.models))
        and (package_ids is null or y.package_id = any (package_ids))
        and (search.least_credits is null or y.credits >= search.least_credits)
        and (search.most_credits is null or y.credits <= search.most_credits)
      order by y.last_run_id desc offset skip limit most
    );
    if cardinality(found_ids) = most then
      return found_ids;
    end if;
    -- Further on only where that is sure to be less work than to fetch all that an index finds.
    wider := 750 * most / greatest(1, cardinality(found_ids));
    exit when wider > 3000 or wider <= newest;
    newest := wider;
  end loop;
  return array(
    select x.session_id
    from public.session_index x
    where x.user_id = find_sessions.user_id and (find_sessions.after_run_id is null or x.last_run_id < find_sessions.after_run_id)
      and (search.words is null or x.words @@ search.words)
      and (search.model is null or x.models @> array[search.model])
      and (package_ids is null or x.package_id = any (package_ids))
      and (search.least_credits is null or x.credits >= search.least_credits)
      and (search.most_credits is null or x.credits <= search.most_credits)
    order by x.last_run_id desc offset skip limit most
  );
end
$$;

comment on function core.find_sessions(uuid, text, uuid, integer, integer) is
  'Ids of a user''s sessions that a search finds (see core.parse_search; null or blank: all), newest run first, those whose newest run is '
  'before one, so many passed over, so many at most. As of the last core.index_sessions. Errors: PR400 naming query. Spec 10.1.';
--! EndIncluded sessions/find_sessions.sql

--! split: 6-account.sql
-- A person's own account: tokens, mails, export and erasure; runs of visitors; limits for who is not signed in.

-- Tokens.
drop function if exists api.create_token(uuid, bytea, uuid, text, text[], timestamptz);
--! Included accounts/refuse_token.sql
create or replace function core.refuse_token(
  user_id uuid, made_with uuid, scopes text[], expires_at timestamptz, now timestamptz
)
returns json
language plpgsql
stable
set search_path = ''
as $$
declare
  maker public.api_tokens;
  missing text;
begin
  if made_with is not null then
    select t.* into maker from public.api_tokens t where t.user_id = refuse_token.user_id and t.id = made_with;
    if maker.id is null or maker.revoked_at is not null or maker.expires_at <= now then
      return core.describe_refusal('token_revoked', 401, 'The token that makes this one works no longer.', now);
    end if;
    select string_agg(x, ', ') into missing from unnest(refuse_token.scopes) x where x <> all (maker.scopes);
    if missing is not null then
      return core.describe_refusal('insufficient_scope', 403,
        format('A token cannot make one with more scopes than its own, which lack %s.', missing), now);
    elsif refuse_token.expires_at > maker.expires_at then
      return core.describe_refusal('insufficient_scope', 403,
        format('A token cannot make one that outlives it. Its own end is %s.', to_json(maker.expires_at) #>> '{}'), now);
    end if;
  end if;
  if (
    select count(*) >= 100
    from public.api_tokens t
    where t.user_id = refuse_token.user_id and t.revoked_at is null and coalesce(t.expires_at > refuse_token.now, true)
  ) then
    return core.describe_refusal('token_limit', 409, 'You have 100 tokens. Revoke one that you no longer use.', now, 100, unit => 'tokens');
  end if;
  return null;
end
$$;

comment on function core.refuse_token(uuid, uuid, text[], timestamptz, timestamptz) is
  'Why a user may not have a new API token: the token that asks for it (made_with, null for a sign-in) has fewer scopes or ends earlier, or '
  'works no longer, or there are 100 already; null where nothing stands in the way. Spec 2.2.';
--! EndIncluded accounts/refuse_token.sql
--! Included accounts/create_token.sql
create or replace function api.create_token(
  user_id uuid, token_hash bytea, id uuid, name text, scopes text[], expires_at timestamptz default null, made_with uuid default null
)
returns table (token_id uuid, created_at timestamptz, ends_at timestamptz, refusal json)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  token public.api_tokens;
begin
  perform core.check_token(create_token.user_id, create_token.name, create_token.scopes, create_token.expires_at);
  if create_token.id is null or coalesce(length(create_token.token_hash), 0) <> 32 then
    raise exception 'a token has an id and the SHA-256 of its text'
      using errcode = 'PR400', detail = case when create_token.id is null then 'id' else 'token_hash' end;
  end if;

  perform from public.users u where u.id = create_token.user_id for no key update; -- so that two at once are counted one after the other
  select t.* into token from public.api_tokens t where t.token_hash = create_token.token_hash;
  if not found then
    refusal := core.refuse_token(create_token.user_id, create_token.made_with, create_token.scopes, create_token.expires_at, now);
    if refusal is not null then
      return next;
      return;
    end if;
    insert into public.api_tokens as t (token_hash, id, user_id, name, scopes, expires_at, created_at)
    values (
      create_token.token_hash, create_token.id, create_token.user_id, btrim(create_token.name), create_token.scopes,
      coalesce(create_token.expires_at, (select m.expires_at from public.api_tokens m where m.id = create_token.made_with)), now
    )
    on conflict do nothing
    returning t.* into token;
  end if;
  if token.id is distinct from create_token.id or token.user_id <> create_token.user_id then
    raise exception 'this token is there already' using errcode = 'PR409', hint = 'Make a new one, with a new id and text.';
  end if;
  token_id := token.id;
  created_at := token.created_at;
  ends_at := token.expires_at;
  return next;
end
$$;

comment on function api.create_token(uuid, bytea, uuid, text, text[], timestamptz, uuid) is
  'Keeps a new API token of a user by the SHA-256 of its text; id names it; made_with is the token that asks for it, null for a sign-in: it '
  'can make none that may do more or lasts longer. expires_at null is never, or with the token that made it. Called again with the same id '
  'and hash it returns the same. Returns the token''s id, when it was made and when it ends, or a refusal (token_revoked, '
  'insufficient_scope, token_limit) and nothing else. Errors: as core.check_token; PR400 naming id or token_hash; PR409 an id or hash in '
  'use. Spec 2.2.';
--! EndIncluded accounts/create_token.sql

-- Mails.
--! Included alerts/read_email_preferences.sql
create or replace function api.read_email_preferences(user_id uuid)
returns table (email text, limits boolean, credits boolean, payments boolean)
language sql
stable
security definer
set search_path = ''
begin atomic
  select u.email, coalesce(p.limits, true), coalesce(p.credits, true), coalesce(p.payments, true)
  from public.users u
  left join public.email_preferences p on p.user_id = u.id
  where u.id = read_email_preferences.user_id;
end;

comment on function api.read_email_preferences(uuid) is
  'Where a user''s mails go (null: nowhere) and which kinds they want: limits (warnings, throttled), credits (few left, rollover about to '
  'expire), payments (failed). Spec 9.';
--! EndIncluded alerts/read_email_preferences.sql
--! Included alerts/set_email_preferences.sql
create or replace function api.set_email_preferences(
  user_id uuid, inout limits boolean, inout credits boolean, inout payments boolean, out email text
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  select u.email into email from public.users u where u.id = set_email_preferences.user_id and u.closed_at is null;
  if not found then
    raise exception 'there is no user %', set_email_preferences.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  insert into public.email_preferences as p (user_id, limits, credits, payments, updated_at)
  values (
    set_email_preferences.user_id, coalesce(set_email_preferences.limits, true), coalesce(set_email_preferences.credits, true),
    coalesce(set_email_preferences.payments, true), core.now()
  )
  on conflict on constraint email_preferences_pkey do update set
    limits = coalesce(set_email_preferences.limits, p.limits), credits = coalesce(set_email_preferences.credits, p.credits),
    payments = coalesce(set_email_preferences.payments, p.payments), updated_at = excluded.updated_at
  returning p.limits, p.credits, p.payments
  into set_email_preferences.limits, set_email_preferences.credits, set_email_preferences.payments;
end
$$;

comment on function api.set_email_preferences(uuid, boolean, boolean, boolean) is
  'Says which kinds of mail a user wants; null leaves a kind as it is. Returns what holds then, as api.read_email_preferences. '
  'Errors: PR404 unknown user, or a closed account. Spec 9.';
--! EndIncluded alerts/set_email_preferences.sql

-- Who is not signed in.
alter table public.settings add column if not exists visitor_reads_per_minute integer not null default 60
  check (visitor_reads_per_minute >= 0);
comment on column public.settings.visitor_reads_per_minute is
  'Requests a minute of one visitor who is not signed in (spec 3.6); those of users are reads_per_minute.';
grant update (visitor_reads_per_minute) on public.settings to prpm_ops;

create table if not exists public.visitor_windows (
  visitor text primary key,
  ends_at timestamptz not null,
  count integer not null
);
comment on table public.visitor_windows is
  'ops. Requests of visitors who are not signed in, in a fixed minute (spec 3.6). Rows of minutes that are over are dropped each hour.';
comment on column public.visitor_windows.visitor is 'Keyed hash of the address: core.visitor_of.';
comment on column public.visitor_windows.ends_at is 'End of the minute.';
comment on column public.visitor_windows.count is 'Requests in it.';
create index if not exists visitor_windows_ends_at on public.visitor_windows (ends_at);

drop function if exists api.admit_read(uuid);
--! Included limits/count_visit.sql
create or replace function core.count_visit(
  visitor text, per_minute integer, out allowed boolean, out remaining integer, out reset integer
)
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  w record;
begin
  insert into public.visitor_windows as r (visitor, ends_at, count)
  values (count_visit.visitor, now + interval '1 minute', 1)
  on conflict on constraint visitor_windows_pkey do update
  set
    count = case when r.ends_at <= excluded.ends_at - interval '1 minute' then 1 else r.count + 1 end,
    ends_at = case when r.ends_at <= excluded.ends_at - interval '1 minute' then excluded.ends_at else r.ends_at end
  returning r.count, r.ends_at into w;

  allowed := w.count <= per_minute;
  remaining := greatest(0, per_minute - w.count);
  reset := greatest(1, ceil(extract(epoch from w.ends_at - now)));
end
$$;

comment on function core.count_visit(text, integer) is
  'Counts one request of a visitor in a fixed minute window that later requests cannot extend; allowed is false above per_minute. reset is '
  'seconds. Spec 3.6.';
--! EndIncluded limits/count_visit.sql
--! Included limits/admit_read.sql
create or replace function api.admit_read(
  user_id uuid, address text default null,
  out allowed boolean, out rate_limit integer, out rate_remaining integer, out rate_reset integer
)
language plpgsql
security definer
set search_path = ''
as $$
declare
  per_minute integer;
begin
  if admit_read.user_id is null then
    select s.visitor_reads_per_minute into per_minute from public.settings s;
    select x.allowed, x.remaining, x.reset into allowed, rate_remaining, rate_reset
    from core.count_visit(core.visitor_of(null, admit_read.address), per_minute) x;
  else
    select s.reads_per_minute into per_minute from public.settings s;
    select x.allowed, x.remaining, x.reset into allowed, rate_remaining, rate_reset
    from core.count_in_window(admit_read.user_id, 'read', per_minute) x;
  end if;
  rate_limit := per_minute;
end
$$;

comment on function api.admit_read(uuid, text) is
  'Counts a read or estimate in a fixed minute window and says whether it may go on: of the user (settings.reads_per_minute) or, where '
  'user_id is null, of the visitor at this address (settings.visitor_reads_per_minute). rate_reset is seconds. Spec 3.6.';
--! EndIncluded limits/admit_read.sql
--! Included limits/forget_visits.sql
create or replace function ops.forget_visits()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  dropped bigint;
begin
  delete from public.visitor_windows w where w.ends_at < core.now() - interval '1 minute';
  get diagnostics dropped = row_count;
  return dropped;
end
$$;

comment on function ops.forget_visits() is
  'Drops what limited visitors in minutes that are over. Returns how many rows. Call: select ops.forget_visits(); Spec 3.6.';
--! EndIncluded limits/forget_visits.sql
insert into public.jobs (job, every, after, description, call) values
  ('forget-visits', '1 hour', '5 minutes', 'Drops what limited visitors in minutes that are over: ops.forget_visits()', 'forget_visits')
on conflict do nothing;

-- Runs of visitors.
alter table public.settings add column if not exists anonymous_daily_budget numeric not null default 1.00
  check (anonymous_daily_budget between 0 and 1000000);
comment on column public.settings.anonymous_daily_budget is
  'US dollars that runs of visitors who are not signed in may cost in a UTC day, all of them together; 0: none may run (spec 5.9).';
alter table public.settings add column if not exists anonymous_model text not null default 'gpt-4o-mini';
comment on column public.settings.anonymous_model is 'models.alias that visitors'' runs use (spec 5.9).';
grant update (anonymous_daily_budget, anonymous_model) on public.settings to prpm_ops;

create table if not exists public.anonymous_days (
  day date primary key,
  used numeric not null default 0 check (used >= 0),
  held numeric not null default 0 check (held >= 0),
  runs integer not null default 0
);
comment on table public.anonymous_days is
  'ops. What visitors'' runs that began in a day cost and hold: the one figure that all of them share. Changed by one short statement each '
  'at a run''s beginning and end (spec 5.9).';
comment on column public.anonymous_days.day is 'UTC day.';
comment on column public.anonymous_days.used is 'US dollars: exact cost of the runs that have ended.';
comment on column public.anonymous_days.held is 'US dollars: the most that those still running can cost.';
comment on column public.anonymous_days.runs is 'Runs that began, however they ended.';

create table if not exists public.anonymous_visits (
  visitor text not null,
  month date not null,
  primary key (visitor, month)
);
comment on table public.anonymous_visits is
  'ops. Which visitors have had their run of the month; rows of months that are over are dropped (spec 5.9).';
comment on column public.anonymous_visits.visitor is 'Keyed hash of the address: core.visitor_of.';
comment on column public.anonymous_visits.month is 'First day of the UTC month.';

create table if not exists public.anonymous_runs (
  id uuid primary key,
  day date not null,
  visitor text,
  status text not null,
  model text not null,
  provider_model text not null,
  package_id uuid not null,
  package_version text not null,
  price_id uuid not null,
  estimated_input integer not null,
  output_cap integer not null,
  hold_cost numeric not null,
  hold_expires_at timestamptz not null,
  input_tokens integer,
  cached_tokens integer,
  cache_write_tokens integer,
  output_tokens integer,
  estimated boolean not null default false,
  cost numeric not null default 0,
  error text,
  error_reason text,
  first_token_ms integer,
  duration_ms integer,
  started_at timestamptz not null,
  finished_at timestamptz
);
comment on table public.anonymous_runs is
  'ops. Runs of visitors who are not signed in: what they used and cost, without texts and, once they have ended, without a trace of who (spec 5.9).';
comment on column public.anonymous_runs.id is 'Made by the server, ordered by time.';
comment on column public.anonymous_runs.day is 'UTC day in which it began, whose budget bears it.';
comment on column public.anonymous_runs.visitor is 'Keyed hash of the address while it runs, so that a failure can give the run of the month back; null since it ended.';
comment on column public.anonymous_runs.status is 'running, completed, stopped, failed, released (nothing was delivered) or expired (its server is gone).';
comment on column public.anonymous_runs.model is 'models.alias.';
comment on column public.anonymous_runs.provider_model is 'The provider''s id of the model.';
comment on column public.anonymous_runs.package_id is 'The package.';
comment on column public.anonymous_runs.package_version is 'Its version.';
comment on column public.anonymous_runs.price_id is 'The row of model_prices that it began under.';
comment on column public.anonymous_runs.estimated_input is 'Tokens read, estimated before the call.';
comment on column public.anonymous_runs.output_cap is 'Tokens: the longest answer that was allowed.';
comment on column public.anonymous_runs.hold_cost is 'US dollars: the most that it can cost.';
comment on column public.anonymous_runs.hold_expires_at is 'When it is taken for lost.';
comment on column public.anonymous_runs.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column public.anonymous_runs.cached_tokens is 'Of them, tokens read from the provider''s cache.';
comment on column public.anonymous_runs.cache_write_tokens is 'Of them, tokens written to the provider''s cache.';
comment on column public.anonymous_runs.output_tokens is 'Tokens written.';
comment on column public.anonymous_runs.estimated is 'The provider''s report was lost, or is not known yet.';
comment on column public.anonymous_runs.cost is 'US dollars: exact provider cost; of an expired run its hold, until its server is heard of.';
comment on column public.anonymous_runs.error is 'A code of docs/errors.md.';
comment on column public.anonymous_runs.error_reason is 'What went wrong, in words.';
comment on column public.anonymous_runs.first_token_ms is 'Milliseconds to the first word.';
comment on column public.anonymous_runs.duration_ms is 'Milliseconds of the provider''s call.';
comment on column public.anonymous_runs.started_at is 'When it began.';
comment on column public.anonymous_runs.finished_at is 'When it ended.';
create index if not exists anonymous_runs_day on public.anonymous_runs (day);
create index if not exists anonymous_runs_running on public.anonymous_runs (hold_expires_at) where status = 'running';

--! Included runs/describe_invitation.sql
create or replace function core.describe_invitation(signup_credits integer)
returns json
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select json_build_object(
    'login_required', true,
    'login_url', '/login',
    'message', case when signup_credits > 0
      then format('Sign up to get %s free credits and continue testing packages!', signup_credits)
      else 'Sign up to continue testing packages!'
    end
  );
end;

comment on function core.describe_invitation(integer) is
  'What a visitor is told beside an answer or a refusal, as JSON {login_required, login_url, message}; signup_credits is what a new user gets. Spec 5.9.';
--! EndIncluded runs/describe_invitation.sql
--! Included runs/refuse_visit.sql
create or replace function core.refuse_visit(
  code text, message text, retry_at timestamptz, now timestamptz, signup_credits integer
)
returns json
language sql
stable
set search_path = ''
begin atomic
  select (
    core.describe_refusal(refuse_visit.code, 429, format('%s %s', refuse_visit.message, i.invitation ->> 'message'), refuse_visit.now,
      retry_at => refuse_visit.retry_at)::jsonb
    || jsonb_build_object('login_required', true, 'login_url', i.invitation -> 'login_url')
  )::json
  from (select core.describe_invitation(refuse_visit.signup_credits)) i (invitation);
end;

comment on function core.refuse_visit(text, text, timestamptz, timestamptz, integer) is
  'A refusal of a visitor''s run, as core.describe_refusal, which says how to sign up. Spec 5.9.';
--! EndIncluded runs/refuse_visit.sql
--! Included runs/begin_anonymous_run.sql
create or replace function api.begin_anonymous_run(
  user_id uuid, run_id uuid, address text, package text, package_version text, input_tokens integer, counted_with text,
  out begun json, out invitation json
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  b core.begun_run;
  s public.settings;
  m public.models;
  now timestamptz;
  today date;
  seen_by text := core.visitor_of(null, begin_anonymous_run.address);
  p record;
  k record;
  v record;
  d public.anonymous_days;
  estimated_input integer;
  held_input integer;
  wanted integer;
  useful integer;
  input_cost numeric;
  cost_left numeric;
  hold numeric;
begin
  s := (select x from public.settings x);
  now := clock_timestamp() + s.clock_offset;
  today := (now at time zone 'UTC')::date;
  invitation := core.describe_invitation(s.signup_credits);
  b.outcome := 'refused';
  if exists (select from public.anonymous_runs r where r.id = begin_anonymous_run.run_id) then
    b.outcome := 'known';
    b.begun_run_id := begin_anonymous_run.run_id;
    b.begun_session_id := begin_anonymous_run.run_id;
    b.run_status := (select r.status from public.anonymous_runs r where r.id = begin_anonymous_run.run_id);
    begun := row_to_json(b);
    return;
  end if;

  -- What is asked for.
  m := (select x from public.models x where x.alias = s.anonymous_model);
  select x.id, x.input, x.cache_write, x.output into p from public.model_prices x where x.model = m.alias and x.valid @> now;
  select x.id, x.name, x.latest_version, x.visibility, x.author_id, x.organization_id into k
  from public.packages x
  where x.id = core.uuid_or_null(begin_anonymous_run.package) or x.name = lower(begin_anonymous_run.package)
  order by x.id = core.uuid_or_null(begin_anonymous_run.package) desc nulls last
  limit 1;
  select x.version, x.prompt, x.tokens_o200k, x.tokens_cl100k, x.tokens_approximate, x.cache_prompt into v
  from public.package_versions x
  where x.package_id = k.id and x.version = coalesce(begin_anonymous_run.package_version, k.latest_version);
  b.refusal := case
    when begin_anonymous_run.user_id is not null then core.describe_refusal('forbidden', 403,
      'You are signed in, so this run would be for nobody. Use POST /api/v1/playground/run.', now)
    when not s.runs_enabled then core.describe_refusal('runs_disabled', 503, 'Runs are switched off for the moment.', now,
      retry_at => now + interval '1 minute')
    when m.alias is null or not m.enabled or p.id is null then core.refuse_by_model(s.anonymous_model, m, now)
    else core.refuse_by_package(null, begin_anonymous_run.package, begin_anonymous_run.package_version, k.id, k.visibility, k.author_id,
      k.organization_id, v.version, now)
  end;
  if b.refusal is not null then
    begun := row_to_json(b);
    return;
  end if;

  -- How large it is.
  estimated_input := begin_anonymous_run.input_tokens + 11 + case m.tokenizer
    when 'o200k_base' then v.tokens_o200k when 'cl100k_base' then v.tokens_cl100k else v.tokens_approximate
  end;
  held_input := ceil(estimated_input * case when counted_with = m.tokenizer and m.tokenizer <> 'approximate' then s.estimate_safety_exact else s.estimate_safety end);
  wanted := least(m.max_output_tokens, s.max_request_tokens - estimated_input, m.context_tokens - estimated_input, s.max_output_tokens);
  useful := least(s.min_output_tokens, m.max_output_tokens, s.max_output_tokens);
  if wanted < useful then
    b.refusal := core.refuse_by_size(null, null, s, m, p.input, p.output, 1, estimated_input, held_input, wanted, useful, false, now);
    begun := row_to_json(b);
    return;
  end if;

  -- Once a month: who comes second waits here for the first of the same visitor, and for nobody else.
  insert into public.anonymous_visits (visitor, month) values (seen_by, date_trunc('month', today::timestamp)::date) on conflict do nothing;
  if not found then
    b.refusal := core.refuse_visit('limit_exceeded', 'You have already used your free playground run of this month.',
      (date_trunc('month', today::timestamp) + interval '1 month') at time zone 'UTC', now, s.signup_credits);
    begun := row_to_json(b);
    return;
  end if;

  -- What all visitors share, last of all, so that its row is held for as short as can be.
  input_cost := held_input * greatest(p.input, p.cache_write) * 0.000001;
  insert into public.anonymous_days (day) values (today) on conflict do nothing;
  select x.* into d from public.anonymous_days x where x.day = today for no key update;
  cost_left := s.anonymous_daily_budget - d.used - d.held;
  b.output_cap := case
    when cost_left < input_cost then -1
    when p.output = 0 then wanted
    else least(wanted, floor((cost_left - input_cost) * 1000000 / p.output))
  end;
  if b.output_cap < useful then
    delete from public.anonymous_visits x where x.visitor = seen_by and x.month = date_trunc('month', today::timestamp)::date;
    b.refusal := core.refuse_visit('anonymous_budget', 'The free runs of today are used up.',
      case when cost_left + d.held < input_cost + useful * p.output * 0.000001
        then (today + 1)::timestamp at time zone 'UTC' else now + interval '10 seconds' end, now, s.signup_credits);
    begun := row_to_json(b);
    return;
  end if;
  hold := input_cost + b.output_cap * p.output * 0.000001;
  insert into public.anonymous_runs (
    id, day, visitor, status, model, provider_model, package_id, package_version, price_id, estimated_input, output_cap, hold_cost,
    hold_expires_at, started_at
  ) values (
    begin_anonymous_run.run_id, today, seen_by, 'running', m.alias, m.provider_model, k.id, v.version, p.id, estimated_input, b.output_cap,
    hold, now + (s.run_timeout_ms + s.hold_ms) * interval '1 millisecond', now
  );
  update public.anonymous_days x set held = x.held + hold, runs = x.runs + 1 where x.day = today;

  b.outcome := 'started';
  b.begun_run_id := begin_anonymous_run.run_id;
  b.begun_session_id := begin_anonymous_run.run_id;
  b.run_status := 'running';
  b.provider := m.provider;
  b.provider_model := m.provider_model;
  b.model_alias := m.alias;
  b.package_id := k.id;
  b.package_name := k.name;
  b.version := v.version;
  b.system_prompt := v.prompt;
  b.cache_prompt := v.cache_prompt;
  b.first_token_timeout_ms := s.first_token_timeout_ms;
  b.run_timeout_ms := s.run_timeout_ms;
  b.checkpoint_ms := s.checkpoint_ms;
  b.abandon_after_ms := s.abandon_after_ms;
  b.hold_credits := 0;
  b.available_credits := 0;
  b.estimated_input := estimated_input;
  b.held_input := held_input;
  b.wanted_output := wanted;
  begun := row_to_json(b);
end
$$;

comment on function api.begin_anonymous_run(uuid, uuid, text, text, text, integer, text) is
  'Lets a visitor''s one run of the calendar month in, with settings.anonymous_model, as far as settings.anonymous_daily_budget bears its '
  'worst case, or says why not. address is the visitor''s, kept as a keyed hash while it is needed; package is an id or name, package_version '
  'null the newest; input_tokens is the visitor''s own text counted with counted_with. user_id is null: who is signed in is refused. '
  'Returns core.begun_run as JSON, as api.begin_run does, without credits, and what to tell the visitor (core.describe_invitation). Spec 5.9.';
--! EndIncluded runs/begin_anonymous_run.sql
--! Included runs/write_anonymous_receipt.sql
create or replace function core.write_anonymous_receipt(r public.anonymous_runs)
returns core.receipt
language plpgsql
stable
set search_path = ''
as $$
declare
  receipt core.receipt;
  month_ends_at timestamptz := (date_trunc('month', r.day::timestamp) + interval '1 month') at time zone 'UTC';
begin
  receipt.run_id := r.id;
  receipt.session_id := r.id;
  receipt.status := r.status;
  receipt.model := r.model;
  receipt.provider_model := r.provider_model;
  receipt.package_id := r.package_id;
  receipt.package_version := r.package_version;
  receipt.baseline := false;
  receipt.credits_spent := 0;
  receipt.credits_by_kind := '{}';
  receipt.shortfall := 0;
  receipt.credits_remaining := 0;
  receipt.input_tokens := r.input_tokens;
  receipt.cached_tokens := r.cached_tokens;
  receipt.cache_write_tokens := r.cache_write_tokens;
  receipt.output_tokens := r.output_tokens;
  receipt.estimated := r.estimated;
  receipt.cost := r.cost;
  receipt.error := r.error;
  receipt.error_reason := r.error_reason;
  receipt.first_token_ms := r.first_token_ms;
  receipt.duration_ms := r.duration_ms;
  receipt.started_at := r.started_at;
  receipt.finished_at := r.finished_at;
  receipt.paid_by_purchased_only := false;
  receipt.tier := 'anonymous';
  receipt.hourly_used := 0;
  receipt.hour_ends_at := month_ends_at;
  receipt.daily_used := 0;
  receipt.day_ends_at := month_ends_at;
  receipt.monthly_used := 0;
  receipt.month_ends_at := month_ends_at;
  return receipt;
end
$$;

comment on function core.write_anonymous_receipt(public.anonymous_runs) is
  'The receipt of a visitor''s run (see type core.receipt): no credits, no limits but that the next run is free when the month ends. Spec 5.9.';
--! EndIncluded runs/write_anonymous_receipt.sql
--! Included runs/settle_anonymous_run.sql
create or replace function api.settle_anonymous_run(
  user_id uuid, run_id uuid, ending text, called boolean, answered boolean,
  input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean,
  error text, error_reason text, first_token_ms integer, duration_ms integer
)
returns core.receipt
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  r public.anonymous_runs;
  p record;
  was_held numeric;
  was_used numeric;
  delivered boolean := answered or ending in ('completed', 'length') or ending = 'stopped' and called;
begin
  select x.* into r from public.anonymous_runs x where x.id = settle_anonymous_run.run_id and settle_anonymous_run.user_id is null for no key update;
  if not found then
    raise exception 'run % is unknown', settle_anonymous_run.run_id using errcode = 'PR404', detail = 'run_id';
  end if;
  if r.status not in ('running', 'expired') or r.status = 'expired' and not r.estimated then
    return core.write_anonymous_receipt(r);
  end if;

  was_held := case when r.status = 'running' then r.hold_cost else 0 end;
  was_used := r.cost;
  select x.input, x.cached_read, x.cache_write, x.output into p from public.model_prices x where x.id = r.price_id;
  r.cached_tokens := case when called then greatest(0, coalesce(settle_anonymous_run.cached_tokens, 0)) else 0 end;
  r.cache_write_tokens := case when called then greatest(0, coalesce(settle_anonymous_run.cache_write_tokens, 0)) else 0 end;
  r.input_tokens := case when called
    then greatest(coalesce(settle_anonymous_run.input_tokens, r.estimated_input), r.cached_tokens + r.cache_write_tokens) else 0 end;
  r.output_tokens := case when called then greatest(0, coalesce(settle_anonymous_run.output_tokens, 0)) else 0 end;
  r.cost := core.cost_of(
    r.input_tokens, r.cached_tokens, r.cache_write_tokens, r.output_tokens, p.input, p.cached_read, p.cache_write, p.output
  );
  if not delivered then
    delete from public.anonymous_visits x where x.visitor = r.visitor and x.month = date_trunc('month', r.day::timestamp)::date;
  end if;
  update public.anonymous_runs x set
    -- An expired run stays one: its visitor was told so. That it is not estimated any more says that this was booked.
    status = case
      when r.status = 'expired' then 'expired' when not delivered then 'released' when ending = 'length' then 'completed' else ending end,
    visitor = null, input_tokens = r.input_tokens, cached_tokens = r.cached_tokens, cache_write_tokens = r.cache_write_tokens,
    output_tokens = r.output_tokens, cost = r.cost,
    estimated = r.status <> 'expired' and called and (settle_anonymous_run.estimated or settle_anonymous_run.input_tokens is null),
    error = case when r.status = 'expired' then x.error else settle_anonymous_run.error end,
    error_reason = case when r.status = 'expired' then x.error_reason else settle_anonymous_run.error_reason end,
    first_token_ms = settle_anonymous_run.first_token_ms, duration_ms = settle_anonymous_run.duration_ms, finished_at = core.now()
  where x.id = r.id
  returning x.* into r;
  update public.anonymous_days x set held = x.held - was_held, used = x.used - was_used + r.cost where x.day = r.day;
  return core.write_anonymous_receipt(r);
end
$$;

comment on function api.settle_anonymous_run(uuid, uuid, text, boolean, boolean, integer, integer, integer, integer, boolean, text, text, integer, integer) is
  'Ends a visitor''s run by what really happened and books its exact cost on its day, once. ending: completed, length, stopped or failed; '
  'called: whether a request may have reached the provider; answered: whether anything was delivered. Who got nothing because of us or the '
  'provider may run again this month. After an expiry, which books the hold, it books the true cost. user_id is null, for nobody. Called '
  'again it answers the same receipt (see type core.receipt). Errors: PR404 unknown run. Spec 5.9.';
--! EndIncluded runs/settle_anonymous_run.sql
--! Included runs/end_anonymous_runs.sql
create or replace function ops.end_anonymous_runs()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  ended bigint;
begin
  with late as materialized (
    select r.id
    from public.anonymous_runs r
    where r.status = 'running' and r.hold_expires_at <= now
    order by r.hold_expires_at
    limit (select s.job_batch from public.settings s)
    for no key update skip locked
  ),
  gone as (
    update public.anonymous_runs r
    set
      status = 'expired', cost = r.hold_cost, estimated = true, visitor = null, finished_at = now,
      input_tokens = r.estimated_input, cached_tokens = 0, cache_write_tokens = 0, output_tokens = r.output_cap,
      error = 'run_expired', error_reason = 'The server that ran it is gone.'
    from late
    where r.id = late.id
    returning r.day, r.hold_cost
  ),
  sums as (
    select g.day, count(*) as runs, sum(g.hold_cost) as cost from gone g group by g.day
  ),
  booked as (
    update public.anonymous_days d set held = d.held - s.cost, used = d.used + s.cost from sums s where d.day = s.day
    returning s.runs
  )
  select coalesce(sum(b.runs), 0) into ended from booked b;
  delete from public.anonymous_visits v where v.month < date_trunc('month', now at time zone 'UTC')::date;
  return ended;
end
$$;

comment on function ops.end_anonymous_runs() is
  'Ends visitors'' runs whose server is gone: what they held is booked as their cost, until the server tells what it was, so that the budget '
  'holds whatever happened. Forgets visits of past months. Returns how many runs. Call: select ops.end_anonymous_runs(); Spec 5.9, 7.1.';
--! EndIncluded runs/end_anonymous_runs.sql
--! Included runs/anonymous_use.sql
create or replace view ops.anonymous_use as
select
  d.day,
  d.runs,
  trim_scale(d.used) as used_dollars,
  trim_scale(d.held) as held_dollars,
  s.anonymous_daily_budget as budget_dollars,
  round(100 * (d.used + d.held) / nullif(s.anonymous_daily_budget, 0), 1) as percent_of_budget
from public.anonymous_days d
cross join public.settings s
order by d.day desc;

comment on view ops.anonymous_use is
  'What do free runs of visitors cost? Newest day (UTC) first, against the budget of a day as it is now. Spec 5.9.';
comment on column ops.anonymous_use.day is 'UTC day in which the runs began.';
comment on column ops.anonymous_use.runs is 'Runs that began, however they ended.';
comment on column ops.anonymous_use.used_dollars is 'US dollars: exact cost of those that have ended.';
comment on column ops.anonymous_use.held_dollars is 'US dollars: the most that those still running can cost.';
comment on column ops.anonymous_use.budget_dollars is 'US dollars: settings.anonymous_daily_budget.';
comment on column ops.anonymous_use.percent_of_budget is 'Used and held in percent of the budget, 1 decimal; null where it is 0.';
--! EndIncluded runs/anonymous_use.sql
--! Included runs/audit_anonymous.sql
create or replace function core.audit_anonymous()
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select null::uuid, 'anonymous_cost', 'anonymous run ' || r.id, trim_scale(c.cost)::text, trim_scale(r.cost)::text
  from public.anonymous_runs r
  left join public.model_prices p on p.id = r.price_id
  cross join lateral (
    select case
      when r.status = 'running' then 0
      when r.status = 'expired' and r.estimated then r.hold_cost
      else core.cost_of(r.input_tokens, r.cached_tokens, r.cache_write_tokens, r.output_tokens, p.input, p.cached_read, p.cache_write, p.output)
    end as cost
  ) c
  where r.cost is distinct from c.cost;

  return query
  select null::uuid, 'anonymous_day', 'visitors'' runs of ' || coalesce(d.day, e.day),
    format('%s runs, %s used, %s held', coalesce(e.runs, 0), trim_scale(coalesce(e.used, 0)), trim_scale(coalesce(e.held, 0))),
    format('%s runs, %s used, %s held', coalesce(d.runs, 0), trim_scale(coalesce(d.used, 0)), trim_scale(coalesce(d.held, 0)))
  from public.anonymous_days d
  full join (
    select r.day, count(*) as runs, sum(r.cost) as used, sum(case when r.status = 'running' then r.hold_cost else 0 end) as held
    from public.anonymous_runs r
    group by r.day
  ) e on e.day = d.day
  where (coalesce(d.runs, 0), coalesce(d.used, 0), coalesce(d.held, 0)) <> (coalesce(e.runs, 0), coalesce(e.used, 0), coalesce(e.held, 0));
end
$$;

comment on function core.audit_anonymous() is
  'Part of ops.audit_books: the cost of each visitor''s run against tokens and price, and each day''s sums against its runs. Spec 5.9.';
--! EndIncluded runs/audit_anonymous.sql
--! Included runs/audit_books.sql
create or replace function ops.audit_books("user" text default null)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  only_user uuid := case when "user" is not null then core.find_user("user") end;
begin
  return query select * from core.audit_transfers(only_user);
  return query select * from core.audit_lots(only_user);
  return query select * from core.audit_purchases(only_user);
  return query select * from core.audit_periods(only_user);
  return query select * from core.audit_runs(only_user);
  return query select * from core.audit_users(only_user);
  return query select * from core.audit_references(only_user);
  return query select * from core.audit_usage(only_user);
  if only_user is null then
    return query select * from core.audit_anonymous();
  end if;
end
$$;

comment on function ops.audit_books(text) is
  'Every disagreement between transfers, lots, purchases, paid periods, runs, prices, windows, holds, rollups of usage and visitors'' runs: which user, which check, of which object, what it '
  'should be and what it is. No row: the books balance. Recomputes all from transfers, runs and the price book; "user" (id, e-mail or '
  'username) looks at one. Call: select * from ops.audit_books(); Errors: PR404 unknown user. Spec 4.8.';
--! EndIncluded runs/audit_books.sql
--! Included analytics/usage_parts.sql
create or replace view core.usage_parts as
select
  r.user_id, r.day, r.model, r.package_id, r.tier_name, r.runs, r.failed_runs, r.input_tokens, r.cached_tokens, r.cache_write_tokens,
  r.output_tokens, r.cost, r.limited_cost, r.credits, r.shortfall, r.included_value, r.purchased_value, r.cache_saving, r.answers,
  r.answer_tokens, r.paid_credits, r.paid_cost
from public.usage_rollups r
union all
-- Runs above their user's mark. offset 0: by key, user by user, whatever the planner thinks of how many there are.
select
  u.id, t.day, t.model, t.package_id, t.tier_name, t.runs, t.failed_runs, t.input_tokens, t.cached_tokens, t.cache_write_tokens,
  t.output_tokens, t.cost, t.limited_cost, t.credits, t.shortfall, t.included_value, t.purchased_value, t.cache_saving, t.answers,
  t.answer_tokens, t.paid_credits, t.paid_cost
from public.users u
left join core.usage_marks m on m.user_id = u.id
cross join lateral (
  select * from core.usage_by_run x
  where x.user_id = u.id and x.run_id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000')
  offset 0
) t
where u.last_run_id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000')
union all
select
  c.user_id, c.day, c.model, c.package_id, c.tier_name, c.runs, c.failed_runs, c.input_tokens, c.cached_tokens, c.cache_write_tokens,
  c.output_tokens, c.cost, c.limited_cost, c.credits, c.shortfall, c.included_value, c.purchased_value, c.cache_saving, c.answers,
  c.answer_tokens, c.paid_credits, c.paid_cost
from core.usage_corrected c
join core.usage_marks m on m.user_id = c.user_id and c.run_id <= m.through_run_id
union all
-- Of nobody: what visitors ran.
select
  null, a.day, a.model, a.package_id, 'anonymous', 1, (a.status in ('failed', 'expired') or a.error is not null)::integer,
  coalesce(a.input_tokens, 0), coalesce(a.cached_tokens, 0), coalesce(a.cache_write_tokens, 0), coalesce(a.output_tokens, 0),
  a.cost, a.cost, 0, 0, 0, 0, 0, 0, 0, 0, 0
from public.anonymous_runs a
where a.status <> 'running';

comment on view core.usage_parts is
  'What core.usage_by_day is the sum of, not summed yet: rollups, runs above their user''s mark, corrections of those below, and visitors'' runs. For sums over '
  'many users, which need no second grouping; single rows mean nothing, and may be below 0. Spec 8.2.';
comment on column core.usage_parts.user_id is 'Who ran; null for visitors who were not signed in.';
comment on column core.usage_parts.day is 'UTC day in which the runs began.';
comment on column core.usage_parts.model is 'models.alias.';
comment on column core.usage_parts.package_id is 'The package.';
comment on column core.usage_parts.tier_name is 'Tier at the time; anonymous for visitors.';
comment on column core.usage_parts.runs is 'Runs that have ended, however they ended.';
comment on column core.usage_parts.failed_runs is 'Of them, runs that failed, expired, or have an error.';
comment on column core.usage_parts.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column core.usage_parts.cached_tokens is 'Of them, tokens read from a provider''s cache.';
comment on column core.usage_parts.cache_write_tokens is 'Of them, tokens written to a provider''s cache.';
comment on column core.usage_parts.output_tokens is 'Tokens written.';
comment on column core.usage_parts.cost is 'US dollars: exact provider cost.';
comment on column core.usage_parts.limited_cost is 'US dollars: the part of it that counts against limits.';
comment on column core.usage_parts.credits is 'Credits charged.';
comment on column core.usage_parts.shortfall is 'Credits that nothing could pay.';
comment on column core.usage_parts.included_value is 'US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column core.usage_parts.purchased_value is 'US dollars of cash that had been paid for the purchased credits spent.';
comment on column core.usage_parts.cache_saving is 'US dollars that caching saved by the runs'' own price rows: cached reads at less than the input price, less what writes cost above it; below 0 where writes were not read often enough.';
comment on column core.usage_parts.answers is 'Completed runs with the package''s prompt: baselines left out.';
comment on column core.usage_parts.answer_tokens is 'Tokens that these wrote.';
comment on column core.usage_parts.paid_credits is 'Credits charged that cash had been paid for: those of sign-up and operators left out, and all of runs without a paid credit.';
comment on column core.usage_parts.paid_cost is 'US dollars of provider cost that paid credits bore: all but the share of free credits, and but runs without a paid credit.';
--! EndIncluded analytics/usage_parts.sql
--! Included analytics/audit_usage.sql
create or replace function core.audit_usage(only_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '256MB'
set jit = off
set enable_seqscan = on
as $$
#variable_conflict use_column
begin
  return query
  select
    coalesce(e.user_id, a.user_id), 'usage_' || figure.name,
    format('%s of %s, package %s, %s', coalesce(e.model, a.model), coalesce(e.day, a.day), coalesce(e.package_id, a.package_id), coalesce(e.tier_name, a.tier_name)),
    coalesce(trim_scale(figure.expected)::text, 'no runs'), coalesce(trim_scale(figure.actual)::text, 'no runs')
  from (
    select
      r.user_id, r.day, r.model, r.package_id, r.tier_name,
      sum(r.runs) as runs, sum(r.failed_runs) as failed_runs, sum(r.input_tokens) as input_tokens, sum(r.cached_tokens) as cached_tokens,
      sum(r.cache_write_tokens) as cache_write_tokens, sum(r.output_tokens) as output_tokens, sum(r.cost) as cost,
      sum(r.limited_cost) as limited_cost, sum(r.credits) as credits, sum(r.shortfall) as shortfall,
      sum(r.included_value) as included_value, sum(r.purchased_value) as purchased_value, sum(r.cache_saving) as cache_saving,
      sum(r.answers) as answers, sum(r.answer_tokens) as answer_tokens,
      sum(r.paid_credits) as paid_credits, sum(r.paid_cost) as paid_cost
    from core.usage_by_run r
    where only_user is null or r.user_id = only_user
    group by r.user_id, r.day, r.model, r.package_id, r.tier_name
  ) e
  full join (
    select d.* from core.usage_by_day d where case when only_user is null then d.user_id is not null else d.user_id = only_user end
  ) a on a.user_id = e.user_id and a.day = e.day and a.model = e.model and a.package_id = e.package_id and a.tier_name = e.tier_name
  cross join lateral (values
    ('runs', e.runs, a.runs), ('failed_runs', e.failed_runs, a.failed_runs), ('input_tokens', e.input_tokens, a.input_tokens),
    ('cached_tokens', e.cached_tokens, a.cached_tokens), ('cache_write_tokens', e.cache_write_tokens, a.cache_write_tokens),
    ('output_tokens', e.output_tokens, a.output_tokens), ('cost', e.cost, a.cost), ('limited_cost', e.limited_cost, a.limited_cost),
    ('credits', e.credits, a.credits), ('shortfall', e.shortfall, a.shortfall), ('included_value', e.included_value, a.included_value),
    ('purchased_value', e.purchased_value, a.purchased_value), ('cache_saving', e.cache_saving, a.cache_saving),
    ('answers', e.answers, a.answers), ('answer_tokens', e.answer_tokens, a.answer_tokens),
    ('paid_credits', e.paid_credits, a.paid_credits), ('paid_cost', e.paid_cost, a.paid_cost)
  ) figure (name, expected, actual)
  where (
    e.runs = a.runs and e.failed_runs = a.failed_runs and e.input_tokens = a.input_tokens and e.cached_tokens = a.cached_tokens and
    e.cache_write_tokens = a.cache_write_tokens and e.output_tokens = a.output_tokens and e.cost = a.cost and e.limited_cost = a.limited_cost and
    e.credits = a.credits and e.shortfall = a.shortfall and e.included_value = a.included_value and e.purchased_value = a.purchased_value and
    e.cache_saving = a.cache_saving and e.answers = a.answers and e.answer_tokens = a.answer_tokens and e.paid_credits = a.paid_credits
    and e.paid_cost = a.paid_cost
  ) is not true and figure.expected is distinct from figure.actual;

  if only_user is null then
    return query
    select null::uuid, 'package_usage', format('package %s, %s', coalesce(e.package_id, p.package_id), coalesce(e.model, p.model)),
      format('%s answers, %s tokens', coalesce(e.answers, 0), coalesce(e.answer_tokens, 0)),
      format('%s answers, %s tokens', coalesce(p.answers, 0), coalesce(p.answer_tokens, 0))
    from (
      select r.package_id, r.model, sum(r.answers) as answers, sum(r.answer_tokens) as answer_tokens
      from public.usage_rollups r
      group by r.package_id, r.model
    ) e
    full join core.package_usage p on p.package_id = e.package_id and p.model = e.model
    where (coalesce(e.answers, 0), coalesce(e.answer_tokens, 0)) <> (coalesce(p.answers, 0), coalesce(p.answer_tokens, 0));
  end if;
end
$$;

comment on function core.audit_usage(uuid) is
  'Part of ops.audit_books: each figure of core.usage_by_day against a sum over runs, and what packages'' answers count against the rollups. '
  'null: all users. Spec 8.2.';
--! EndIncluded analytics/audit_usage.sql
insert into public.jobs (job, every, after, description, call) values
  ('end-anonymous-runs', '1 minute', '0', 'Ends visitors'' runs whose server is gone, forgets visits of past months: ops.end_anonymous_runs()', 'end_anonymous_runs')
on conflict do nothing;

-- All that is kept of a person, to be read by them or erased.
create index if not exists identities_by_user on public.identities (user_id);
create index if not exists user_emails_by_user on public.user_emails (user_id);
create index if not exists alerts_by_user on public.alerts (user_id) where user_id is not null;
create index if not exists shared_sessions_by_user on public.shared_sessions (user_id);
create index if not exists share_views_by_visitor on public.share_views (visitor);
create index if not exists packages_by_author on public.packages (author_id);
create index if not exists package_versions_by_publisher on public.package_versions (published_by);
create index if not exists suggested_inputs_by_author on public.suggested_inputs (created_by);
create table if not exists public.erasures (
  user_id uuid primary key,
  erased_at timestamptz not null,
  purchased_credits bigint not null,
  other_credits bigint not null,
  email text,
  username text,
  finished_at timestamptz
);
comment on table public.erasures is 'per-user. Who asked to be erased, and was (spec 10.8).';
comment on column public.erasures.user_id is 'Whose account it was.';
comment on column public.erasures.erased_at is 'When.';
comment on column public.erasures.purchased_credits is 'Credits that they had bought and lost, as they had confirmed.';
comment on column public.erasures.other_credits is 'Other credits that they lost.';
comment on column public.erasures.email is 'What is still to be looked for where no key leads; null when that is done.';
comment on column public.erasures.username is 'Likewise.';
comment on column public.erasures.finished_at is 'When it was found nowhere any more.';
do $$
begin
  if to_regtype('core.erasure') is null then
    create type core.erasure as (
      user_id uuid, outcome text, erased_at timestamptz, purchased_credits bigint, other_credits bigint, subscription text,
      running_runs integer, sessions bigint, private_packages bigint, published_packages bigint
    );
  end if;
end
$$;
comment on type core.erasure is
  'What an erasure takes. outcome: to_confirm (nothing was done: send purchased_credits back to confirm their loss) or erased (erased_at). '
  'purchased_credits and other_credits are lost; subscription: the plan that ends at once, null without one; running_runs stop; sessions and '
  'private_packages are blanked; published_packages stay, without an author''s name.';

--! Included accounts/scrub.sql
create or replace function core.scrub(text text, words text[])
returns text
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
  word text;
begin
  foreach word in array words loop
    scrub.text := regexp_replace(
      scrub.text, '(?<![[:alnum:]])' || regexp_replace(word, '([^[:alnum:]_ ])', '\\\1', 'g') || '(?![[:alnum:]])', '[erased]', 'gi'
    );
  end loop;
  return scrub.text;
end
$$;

comment on function core.scrub(text, text[]) is
  'A text with [erased] wherever one of these words stood by itself, in whatever case. Null for no text. Spec 10.8.';
--! EndIncluded accounts/scrub.sql
--! Included accounts/erase_identity.sql
create or replace function core.erase_identity(user_id uuid, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.api_tokens t set name = 'erased', revoked_at = coalesce(t.revoked_at, erase_identity.now)
  where t.user_id = erase_identity.user_id;
  delete from public.identities i where i.user_id = erase_identity.user_id;
  delete from public.user_emails e where e.user_id = erase_identity.user_id;
  delete from public.organization_members m where m.user_id = erase_identity.user_id;
  update public.users u set
    username = 'erased-' || left(u.id::text, 8), email = null, timezone = 'UTC', is_admin = false, verified_author = false,
    throttled_reason = case when u.throttled_by = 'limit' then u.throttled_reason end,
    closed_at = coalesce(u.closed_at, erase_identity.now), updated_at = erase_identity.now
  where u.id = erase_identity.user_id;
end
$$;

comment on function core.erase_identity(uuid, timestamptz) is
  'Closes an account and takes from it who it was: e-mail, username, identities, tokens, memberships. That its identity had sign-up credits '
  'stays known, by a keyed hash. The caller holds the user''s row. Spec 2.1, 10.8.';
--! EndIncluded accounts/erase_identity.sql
--! Included catalog/erase_packages.sql
create or replace function core.erase_packages(user_id uuid)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  private uuid[] := array(
    select p.id from public.packages p
    where p.author_id = erase_packages.user_id and p.visibility = 'private' and p.organization_id is null
  );
begin
  delete from public.suggested_inputs s where s.package_id = any (private);
  update public.package_versions v set prompt = '[erased]', changelog = '' where v.package_id = any (private);
  update public.packages p set name = 'erased-' || p.id, description = '', tags = '{}' where p.id = any (private);
  return cardinality(private);
end
$$;

comment on function core.erase_packages(uuid) is
  'Blanks the private packages of a person that are no organization''s: names, prompts and all other texts. What was published stays, for '
  'others run it; its author has no name any more. Returns how many were blanked. Spec 10.8.';
--! EndIncluded catalog/erase_packages.sql
--! Included sessions/erase_sessions.sql
create or replace function core.erase_sessions(user_id uuid, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Who indexes holds this row, and sees what follows.
  insert into public.session_marks as m (user_id, through_run_id, session_count)
  values (erase_sessions.user_id, '00000000-0000-0000-0000-000000000000', 0)
  on conflict on constraint session_marks_pkey do update set session_count = 0;
  update public.sessions s set title = null, deleted_at = coalesce(s.deleted_at, erase_sessions.now)
  where s.user_id = erase_sessions.user_id;
  delete from public.session_index x where x.user_id = erase_sessions.user_id;
  update public.shared_sessions s set ended_at = coalesce(s.ended_at, erase_sessions.now), feature_description = null
  where s.user_id = erase_sessions.user_id;
  update public.share_views v set feedback_text = null
  where v.visitor = core.visitor_of(erase_sessions.user_id, null) and v.feedback_text is not null;
  update public.exchange_feedback f set comment = null where f.user_id = erase_sessions.user_id;
end
$$;

comment on function core.erase_sessions(uuid, timestamptz) is
  'Ends a person''s sessions and shared links and takes their titles, comments and what is found by their words. The caller holds the user''s row. Spec 10.8.';
--! EndIncluded sessions/erase_sessions.sql
--! Included runs/erase_texts.sql
create or replace function core.erase_texts(user_id uuid, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.runs r set stop_requested_at = coalesce(r.stop_requested_at, erase_texts.now)
  where r.user_id = erase_texts.user_id and r.status = 'running';
  update public.runs r set error_reason = null where r.user_id = erase_texts.user_id and r.error_reason is not null;
  delete from public.run_texts t where t.user_id = erase_texts.user_id;
  delete from public.idempotency_keys k where k.user_id = erase_texts.user_id;
end
$$;

comment on function core.erase_texts(uuid, timestamptz) is
  'Asks a person''s running runs to stop and takes all that was asked and answered; runs that end later keep no texts, for the account is '
  'closed. What they used and cost stays. The caller holds the user''s row. Spec 10.8.';
--! EndIncluded runs/erase_texts.sql
--! Included runs/keep_texts.sql
create or replace function core.keep_texts(user_id uuid, session_id uuid, run_id uuid, question text, answer text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.run_texts t
  set answer = keep_texts.answer
  where t.user_id = keep_texts.user_id and t.session_id = keep_texts.session_id and t.run_id = keep_texts.run_id;
  if not found and keep_texts.question is not null
    and exists (select from public.users u where u.id = keep_texts.user_id and u.closed_at is null)
  then
    insert into public.run_texts (user_id, session_id, run_id, question, answer)
    values (keep_texts.user_id, keep_texts.session_id, keep_texts.run_id, keep_texts.question, keep_texts.answer);
  end if;
end
$$;

comment on function core.keep_texts(uuid, uuid, uuid, text, text) is
  'Stores what was asked and answered so far, but nothing of a closed account. Called under the lock of the run or its user, so that two '
  'never insert.';
--! EndIncluded runs/keep_texts.sql
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
  lot_price numeric;
  lot_cost numeric;
begin
  u := (select x from public.users x where x.id = settle_run.user_id for no key update);
  select x.clock_offset, x.min_output_tokens into s from public.settings x;
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
      lot_cost := r.cost;
      if r.shortfall > 0 then
        lot_cost := core.share_of_cost(r.cost, r.credits, r.credits, due);
      end if;
      update public.credit_lots x
      set remaining = x.remaining - r.credits, cost = x.cost + lot_cost
      where x.user_id = u.id and x.id = u.spend_lot and x.remaining > r.credits and (x.kind = 'purchased') = (from_included = 0)
      returning x.kind, x.paid_per_credit into lot_kind, lot_price;
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
      r.included_value := from_included * lot_price;
      r.purchased_value := from_purchased * lot_price;
    else
      select x.by_kind, x.included_value, x.purchased_value, x.transaction_count, x.spend_lot, x.next_lot_expiry into spent
      from core.spend_lots(u, r.id, from_included, from_purchased, r.cost, due, now) x;
      r.credits_by_kind := spent.by_kind;
      r.included_value := spent.included_value;
      r.purchased_value := spent.purchased_value;
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
    shortfall = r.shortfall, credits_by_kind = r.credits_by_kind,
    included_value = r.included_value, purchased_value = r.purchased_value, error = settle_run.error, error_reason = settle_run.error_reason,
    first_token_ms = settle_run.first_token_ms, duration_ms = settle_run.duration_ms, finished_at = now
  where x.user_id = u.id and x.id = r.id
  returning x.status, checkpointed or x.hold_expires_at <> r.hold_expires_at into r.status, checkpointed;
  r.error := settle_run.error;
  r.error_reason := settle_run.error_reason;
  r.first_token_ms := settle_run.first_token_ms;
  r.duration_ms := settle_run.duration_ms;
  if u.closed_at is not null then
    -- Nobody is there to read it, and who was erased is to find nothing.
    delete from public.run_texts t where t.user_id = u.id and t.session_id = r.session_id and t.run_id = r.id;
    update public.runs x set error_reason = null where x.user_id = u.id and x.id = r.id and x.error_reason is not null;
  elsif checkpointed then
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
--! Included billing/end_billing.sql
create or replace function core.end_billing(user_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
declare
  session text;
begin
  delete from public.stripe_work w
  where w.user_id = end_billing.user_id and w.kind = 'update_subscription' and w.claimed_until is null;
  perform core.want_work('cancel_subscription', s.id, s.user_id, '{"prorate": false}', is_write => true)
  from public.subscriptions s
  join public.subscription_states state on state.status = s.status and state.is_open
  where s.user_id = end_billing.user_id and not s.superseded;

  -- One at a time: what is read here may be written by who makes a session right now.
  for session in
    update public.checkouts c set status = 'expired'
    where c.user_id = end_billing.user_id and c.status in ('begun', 'open')
    returning c.session_id
  loop
    perform core.want_work('expire_session', session, end_billing.user_id, is_write => true) where session is not null;
  end loop;
  for session in
    update public.purchases p set status = 'expired'
    where p.user_id = end_billing.user_id and p.status = 'pending'
    returning p.stripe_checkout_session_id
  loop
    perform core.want_work('expire_session', session, end_billing.user_id, is_write => true) where session is not null;
  end loop;
  update public.checkouts c set success_url = '', cancel_url = '', url = null where c.user_id = end_billing.user_id;
  update public.subscriptions s set hosted_invoice_url = null where s.user_id = end_billing.user_id;

  perform core.want_work('delete_customer', c.customer_id, c.user_id, is_write => true)
  from public.stripe_customers c
  where c.user_id = end_billing.user_id and c.customer_id is not null;
end
$$;

comment on function core.end_billing(uuid) is
  'Queues what ends a person''s dealings at Stripe: open subscriptions are canceled at once, open checkouts expire, the customer is deleted '
  'with name, e-mail and cards; payments and invoices stay there and here. The caller holds the user''s row. Spec 6.1, 10.8.';
--! EndIncluded billing/end_billing.sql
--! Included billing/follow_erasure.sql
create or replace function core.follow_erasure(user_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
declare
  erased timestamptz;
begin
  select e.erased_at into erased from public.erasures e where e.user_id = follow_erasure.user_id;
  if not found then
    return;
  end if;
  update public.stripe_events e set body = null
  where e.user_id = follow_erasure.user_id and e.status in ('applied', 'ignored') and e.body is not null;
  update public.subscriptions s set hosted_invoice_url = null where s.user_id = follow_erasure.user_id and s.hosted_invoice_url is not null;

  -- Bought in the same moment: nobody is there who could use it.
  perform core.want_work('cancel_subscription', s.id, s.user_id, '{"prorate": false}', is_write => true)
  from public.subscriptions s
  join public.subscription_states state on state.status = s.status and state.is_open
  where s.user_id = follow_erasure.user_id and s.created_at > erased
    and not exists (select from public.stripe_work w where w.key = s.id and w.kind = 'cancel_subscription');
  perform core.want_work('refund_payment', p.id, p.user_id,
    jsonb_build_object('payment_intent', p.id, 'metadata', jsonb_build_object('reason', 'account erased')), is_write => true)
  from public.payments p
  where p.user_id = follow_erasure.user_id and p.created_at > erased and p.paid_amount > 0 and p.needs_review is null
    and not exists (select from public.reversals r where r.user_id = p.user_id and r.payment_id = p.id)
    and not exists (select from public.stripe_work w where w.key = p.id and w.kind = 'refund_payment');
end
$$;

comment on function core.follow_erasure(uuid) is
  'After news of Stripe''s on a person: where they were erased, the news is not kept, and what was paid or subscribed to and became known '
  'since is given back and canceled. The caller holds the user''s row. Spec 10.8.';
--! EndIncluded billing/follow_erasure.sql
--! Included billing/refuse_sale.sql
create or replace function core.refuse_sale(user_id uuid, now timestamptz)
returns json
language plpgsql
stable
set search_path = ''
as $$
declare
  s public.settings := (select x from public.settings x);
begin
  if exists (select from public.users u where u.id = refuse_sale.user_id and u.closed_at is not null) then
    return core.describe_refusal('account_closed', 403, 'This account is closed.', now);
  end if;
  if not s.purchases_enabled then
    return core.describe_refusal('purchases_disabled', 503, 'Nothing can be bought at the moment. Try again later.', now);
  end if;
  if exists (
    select from public.reversals r
    left join public.payments p on p.user_id = r.user_id and p.id = r.payment_id
    left join public.purchases bought on bought.user_id = p.user_id and bought.id = p.purchase_id
    left join public.subscription_periods period
      on period.user_id = p.user_id and period.subscription_id = p.subscription_id and period.period_start = p.period_start
    where r.user_id = refuse_sale.user_id and r.kind = 'dispute' and r.status = 'lost'
      and coalesce(bought.shortfall, period.shortfall, 0) > 0
  ) then
    return core.describe_refusal('payment_disputed', 403,
      'An earlier payment was disputed, and its credits had been spent. Ask the operator before you buy again.', now);
  end if;
  return null;
end
$$;

comment on function core.refuse_sale(uuid, timestamptz) is
  'Why nothing can be sold to a user now: the account is closed, purchases are switched off, or a lost dispute left a shortfall. Null: nothing stands in the '
  'way. Spec 3.6, 4.6.';
--! EndIncluded billing/refuse_sale.sql
--! Included billing/keep_checkout.sql
create or replace function api.keep_checkout(user_id uuid, checkout_id uuid, session_id text, url text, expires_at timestamptz)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  update public.checkouts c set
    session_id = keep_checkout.session_id, url = keep_checkout.url, expires_at = keep_checkout.expires_at,
    status = case when c.status = 'begun' then 'open' else c.status end
  where c.user_id = keep_checkout.user_id and c.id = keep_checkout.checkout_id;
  update public.purchases p set stripe_checkout_session_id = keep_checkout.session_id
  where p.user_id = keep_checkout.user_id and p.id = keep_checkout.checkout_id;
  -- Erased in the meantime: nobody is to pay for it.
  if exists (select from public.erasures e where e.user_id = keep_checkout.user_id) then
    update public.checkouts c set url = null where c.user_id = keep_checkout.user_id and c.id = keep_checkout.checkout_id;
    perform core.want_work('expire_session', keep_checkout.session_id, keep_checkout.user_id, is_write => true);
  end if;
end
$$;

comment on function api.keep_checkout(uuid, uuid, text, text, timestamptz) is
  'Keeps the checkout session that Stripe made for a begun subscription or purchase. Spec 6.1, 6.2.';
--! EndIncluded billing/keep_checkout.sql
--! Included billing/apply_stripe_event.sql
create or replace function api.apply_stripe_event(event_id text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  event public.stripe_events;
  object jsonb;
  payment text;
  customer text;
  owner uuid;
  complaint text;
begin
  select e.* into event from public.stripe_events e where e.id = apply_stripe_event.event_id;
  if not found then
    raise exception 'event % is unknown', apply_stripe_event.event_id using errcode = 'PR404', detail = 'event_id';
  end if;
  if event.status <> 'received' then
    return event.status;
  end if;
  object := event.body::jsonb #> '{data,object}';
  payment := case
    when object ->> 'object' = 'payment_intent' then object ->> 'id'
    else coalesce(object #>> '{payment_intent,id}', object ->> 'payment_intent')
  end;
  customer := case
    when object ->> 'object' = 'customer' then object ->> 'id'
    else coalesce(object #>> '{customer,id}', object ->> 'customer')
  end;
  if customer is not null then
    owner := core.user_of_customer(customer);
  else
    select p.user_id into owner from public.stripe_payments p where p.payment_id = payment; -- refunds and disputes name nobody
  end if;

  if owner is null then
    if customer is null and payment is not null and event.type ~ '^(refund|charge\.dispute|charge\.refund)' then
      -- They wait until the payment is known, which tells whose they are.
      perform core.want_work(
        case when event.type like 'charge.dispute.%' then 'fetch_disputes' else 'fetch_refunds' end, payment, null, delay => interval '100 years'
      );
      perform core.want_work('fetch_payment', payment, null);
    end if;
    update public.stripe_events e
    set status = 'ignored', error = 'of no customer of ours', applied_at = now
    where e.id = event.id and e.status = 'received';
    return 'ignored';
  end if;

  perform from public.users u where u.id = owner for no key update;
  insert into public.stripe_effects (user_id, event_id, applied_at) values (owner, event.id, now)
  on conflict on constraint stripe_effects_pkey do nothing;
  if found then
    complaint := core.apply_event(owner, event, object, payment, now);
  end if;
  update public.stripe_events e set
    status = case when complaint is null then 'applied' else 'needs_review' end,
    error = complaint, user_id = owner, applied_at = now
  where e.id = event.id and e.status = 'received'
  returning e.status into event.status;
  perform core.follow_erasure(owner);
  return event.status;
end
$$;

comment on function api.apply_stripe_event(text) is
  'Books what a stored event tells, once for each user and event, in whatever order events come. Returns applied, ignored (of no customer '
  'of ours) or needs_review. Locks the user''s row. Errors: PR404 unknown event. Spec 6.4, 6.5.';
--! EndIncluded billing/apply_stripe_event.sql
--! Included billing/apply_object.sql
create or replace function core.apply_object(
  user_id uuid, kind text, key text, ticket bigint, fetched_at timestamptz, result jsonb, now timestamptz
)
returns text
language plpgsql
set search_path = ''
as $$
begin
  case kind
    when 'fetch_subscription', 'update_subscription', 'cancel_subscription' then
      return core.take_subscription(user_id, result, null, ticket, fetched_at, (result ->> 'livemode')::boolean, now);
    when 'fetch_invoice' then
      return core.take_invoice(user_id, result, result #>> '{payments,data,0,payment,payment_intent}', now);
    when 'fetch_payment' then
      return core.take_payment(user_id, result, null, now);
    when 'fetch_payment_invoice' then
      return core.take_invoice_payments(user_id, key, result, now);
    when 'fetch_session_of_payment' then
      return core.take_sessions(user_id, key, result, now);
    when 'fetch_refunds' then
      perform core.take_reversals(user_id, key, 'refund', result -> 'refunds', now);
    when 'fetch_disputes' then
      perform core.take_reversals(user_id, key, 'dispute', result -> 'disputes', now);
    when 'refund_payment' then
      perform core.take_reversals(user_id, key, 'refund', jsonb_build_array(result), now);
    else
      null; -- expire_session, delete_customer: what they did is known
  end case;
  return null;
end
$$;

comment on function core.apply_object(uuid, text, text, bigint, timestamptz, jsonb, timestamptz) is
  'Applies what Stripe answered to a piece of work, by its kind. Returns why a person has to look at it, or null. The caller holds the '
  'user''s row. Spec 6.4.';
--! EndIncluded billing/apply_object.sql
--! Included billing/finish_stripe_work.sql
create or replace function api.finish_stripe_work(work_id uuid, ticket bigint, result jsonb)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  work public.stripe_work;
  owner uuid;
  complaint text;
begin
  select w.* into work from public.stripe_work w where w.id = finish_stripe_work.work_id;
  if not found or work.ticket <> finish_stripe_work.ticket then
    return; -- done, or claimed anew by another server, whose word is newer
  end if;
  if starts_with(work.kind, 'list_') then
    perform core.take_page(work.kind, work.parameters, result, now);
  elsif work.kind <> 'apply_event' and result is not null then
    owner := coalesce(work.user_id, core.user_of_customer(coalesce(result #>> '{customer,id}', result ->> 'customer')));
    if owner is not null then
      perform from public.users u where u.id = owner for no key update;
      complaint := core.apply_object(owner, work.kind, work.key, work.ticket, work.claimed_at, result, now);
    end if;
    if work.kind = 'fetch_payment' then
      perform core.wake_reversals(owner, work.key, now); -- should they have begun to wait in the meantime
    end if;
    if owner is not null then
      perform core.follow_erasure(owner);
    end if;
  end if;
  if complaint is not null then
    update public.stripe_work w set is_failed = true, error = complaint, claimed_until = null where w.id = work.id;
    return;
  end if;
  delete from public.stripe_work w where w.id = work.id and w.again_at is null;
  if not found then
    update public.stripe_work w set due_at = w.again_at, again_at = null, claimed_until = null, attempts = 0, error = null where w.id = work.id;
  end if;
end
$$;

comment on function api.finish_stripe_work(uuid, bigint, jsonb) is
  'Books what Stripe answered to a piece of work and takes it off the queue; one whose claim has passed to another server changes nothing. '
  'Locks the user''s row. Spec 6.4.';
--! EndIncluded billing/finish_stripe_work.sql
--! Included alerts/erase_mails.sql
create or replace function core.erase_mails(user_id uuid, words text[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  delete from public.messages m where m.user_id = erase_mails.user_id and m.channel = 'user_email';
  delete from public.email_preferences p where p.user_id = erase_mails.user_id;
  update public.alerts a set
    subject = core.scrub(a.subject, words), body = core.scrub(a.body, words), details = core.scrub(a.details::text, words)::jsonb
  where a.user_id = erase_mails.user_id;
end
$$;

comment on function core.erase_mails(uuid, text[]) is
  'Takes the mails of a person, sent or not, and their names (words) from alerts about them. The caller holds the user''s row. Spec 10.8.';
--! EndIncluded alerts/erase_mails.sql
--! Included jobs/describe_erasure.sql
create or replace function core.describe_erasure(u public.users)
returns core.erasure
language plpgsql
stable
set search_path = ''
as $$
declare
  erasure core.erasure;
  done public.erasures;
begin
  select e.* into done from public.erasures e where e.user_id = u.id;
  erasure.user_id := u.id;
  erasure.erased_at := done.erased_at;
  erasure.purchased_credits := coalesce(done.purchased_credits, u.purchased_credits);
  erasure.other_credits := coalesce(done.other_credits, u.included_credits);
  erasure.subscription := (
    select s.plan
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    where s.user_id = u.id and not s.superseded
    limit 1
  );
  erasure.running_runs := cardinality(u.open_runs);
  erasure.sessions := (select count(*) from public.sessions s where s.user_id = u.id and s.deleted_at is null);
  erasure.private_packages := (
    select count(*) from public.packages p where p.author_id = u.id and p.visibility = 'private' and p.organization_id is null
  );
  erasure.published_packages := (
    select count(*) from public.packages p where p.author_id = u.id and not (p.visibility = 'private' and p.organization_id is null)
  );
  return erasure;
end
$$;

comment on function core.describe_erasure(public.users) is
  'What a person loses by an erasure, and what stays: see type core.erasure. Of one who is erased the credits are those that they lost. Spec 10.8.';
--! EndIncluded jobs/describe_erasure.sql
--! Included jobs/finish_erasure.sql
create or replace function core.finish_erasure(user_id uuid, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  person public.erasures;
  words text[];
  names text[];
begin
  select e.* into person from public.erasures e where e.user_id = finish_erasure.user_id for update;
  if person.finished_at is not null then
    return;
  end if;
  names := array_remove(array[person.email, person.username], null);
  update public.audit_log l set
    old = core.scrub(l.old::text, names)::jsonb, new = core.scrub(l.new::text, names)::jsonb, reason = core.scrub(l.reason, names)
  where l.row_key = person.user_id::text or l.new ->> 'user_id' = person.user_id::text;

  -- Where nothing says that it is about them, the e-mail tells.
  words := array_remove(array[person.email], null);
  if words <> '{}' then
    update public.audit_log l set
      old = core.scrub(l.old::text, words)::jsonb, new = core.scrub(l.new::text, words)::jsonb, reason = core.scrub(l.reason, words)
    where strpos(lower(concat(l.old, l.new, l.reason)), person.email) > 0;
    update public.messages m set
      subject = core.scrub(m.subject, words), body = core.scrub(m.body, words), payload = core.scrub(m.payload::text, words)::jsonb,
      error = core.scrub(m.error, words)
    where strpos(lower(concat(m.subject, m.body, m.payload, m.error)), person.email) > 0;
    update public.alerts a set
      key = core.scrub(a.key, words), subject = core.scrub(a.subject, words), body = core.scrub(a.body, words),
      details = core.scrub(a.details::text, words)::jsonb, acknowledged_by = core.scrub(a.acknowledged_by, words),
      acknowledged_because = core.scrub(a.acknowledged_because, words)
    where strpos(lower(concat(a.key, a.subject, a.body, a.details, a.acknowledged_by, a.acknowledged_because)), person.email) > 0;
    update public.stripe_work w set error = core.scrub(w.error, words), parameters = core.scrub(w.parameters::text, words)::jsonb
    where strpos(lower(concat(w.error, w.parameters)), person.email) > 0;
    update public.job_runs j set error = core.scrub(j.error, words) where strpos(lower(j.error), person.email) > 0;
    update public.stripe_events e set body = case when e.status in ('applied', 'ignored') then null else core.scrub(e.body, words) end,
      error = core.scrub(e.error, words)
    where strpos(lower(concat(e.body, e.error)), person.email) > 0;
  end if;
  update public.stripe_events e set body = null
  where e.user_id = person.user_id and e.status in ('applied', 'ignored') and e.body is not null;
  update public.erasures e set email = null, username = null, finished_at = finish_erasure.now where e.user_id = person.user_id;
end
$$;

comment on function core.finish_erasure(uuid, timestamptz) is
  'Looks for the names of an erased person where no key leads: audit log, mails and alerts of operators, Stripe''s news; then forgets the names '
  'themselves. Again it does nothing. Spec 10.8.';
--! EndIncluded jobs/finish_erasure.sql
--! Included jobs/erase_user.sql
create or replace function core.erase_user(user_id uuid, confirmed bigint, reason text, by_words boolean, dry_run boolean)
returns core.erasure
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  u public.users;
  erasure core.erasure;
begin
  select x.* into u from public.users x where x.id = erase_user.user_id for no key update;
  if not found then
    raise exception 'there is no user %', erase_user.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  erasure := core.describe_erasure(u);
  if erasure.erased_at is not null then
    erasure.outcome := 'erased';
    return erasure;
  elsif dry_run or confirmed is distinct from erasure.purchased_credits then
    erasure.outcome := 'to_confirm';
    return erasure;
  end if;

  perform core.note_action('erase_user', u.id::text, reason, json_build_object('purchased_credits', erasure.purchased_credits, 'other_credits', erasure.other_credits));
  insert into public.erasures (user_id, erased_at, purchased_credits, other_credits, email, username)
  values (u.id, now, erasure.purchased_credits, erasure.other_credits, u.email, u.username);
  perform core.erase_texts(u.id, now);
  perform core.erase_sessions(u.id, now);
  perform core.erase_packages(u.id);
  perform core.end_billing(u.id);
  perform core.erase_mails(u.id, array_remove(array[u.email, u.username], null));
  perform core.erase_identity(u.id, now);
  delete from public.rate_windows w where w.user_id = u.id;
  if by_words then
    perform core.finish_erasure(u.id, now);
  end if;
  erasure.outcome := 'erased';
  erasure.erased_at := now;
  return erasure;
end
$$;

comment on function core.erase_user(uuid, bigint, text, boolean, boolean) is
  'Erases a person, once their loss is confirmed: see api.erase_user. by_words also looks for their e-mail in every text that is nobody''s, '
  'which the job finish-erasures does else. One transaction: killed half-way it has done nothing. Errors: PR404 unknown user; PR400 no reason. Spec 10.8.';
--! EndIncluded jobs/erase_user.sql
--! Included jobs/api_erase_user.sql
create or replace function api.erase_user(user_id uuid, confirm_purchased_credits bigint default null)
returns core.erasure
language sql
security definer
set search_path = ''
begin atomic
  select core.erase_user(erase_user.user_id, erase_user.confirm_purchased_credits, 'asked for it themselves', false, false);
end;

comment on function api.erase_user(uuid, bigint) is
  'Erases who asks: texts, names, e-mail and tokens go, runs stop, the subscription ends at once, the books stay. Returns core.erasure: '
  'outcome to_confirm, with what would be lost, unless confirm_purchased_credits is the number of purchased credits that are; erased, also '
  'when called again. Errors: PR404 unknown user. Spec 10.8.';
--! EndIncluded jobs/api_erase_user.sql
--! Included jobs/ops_erase_user.sql
create or replace function ops.erase_user("user" text, purchased_credits bigint, reason text, dry_run boolean default false)
returns setof core.erasure
language plpgsql
security definer
set search_path = ''
as $$
begin
  return next core.erase_user(core.find_user("user"), erase_user.purchased_credits, erase_user.reason, true, erase_user.dry_run);
end
$$;

comment on function ops.erase_user(text, bigint, text, boolean) is
  'Erases a person (id, e-mail or username) who asked for it: texts, names, e-mail and tokens go, the subscription ends at once, the books '
  'stay. purchased_credits must be what they lose; any other number, null, or dry_run answers outcome to_confirm with what it is, and does '
  'nothing. There is no way back. Call: select * from ops.erase_user(''user@example.com'', null, ''asked by mail''); '
  'Errors: as core.find_user; PR400 without a reason. Spec 10.8.';
--! EndIncluded jobs/ops_erase_user.sql
--! Included jobs/finish_erasures.sql
create or replace function ops.finish_erasures()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  person uuid;
  finished bigint := 0;
begin
  for person in select e.user_id from public.erasures e where e.finished_at is null for update skip locked loop
    perform core.finish_erasure(person, core.now());
    finished := finished + 1;
  end loop;
  return finished;
end
$$;

comment on function ops.finish_erasures() is
  'Takes the names of people who were erased from texts that no key leads to. Returns how many people. Call: select ops.finish_erasures(); Spec 10.8.';
--! EndIncluded jobs/finish_erasures.sql
insert into public.jobs (job, every, after, description, call) values
  ('finish-erasures', '1 minute', '0', 'Takes the names of people who were erased from what no key leads to: ops.finish_erasures()', 'finish_erasures')
on conflict do nothing;
--! Included accounts/export_parts.sql
create or replace function core.export_parts()
returns table (place integer, part text, owner text, hidden text[], left_out text)
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select p.place::integer, p.part, p.owner, p.hidden::text[], p.left_out
  from (values
    (1, 'users', 'id', '{}', null),
    (2, 'email_preferences', 'user_id', '{}', null),
    (3, 'user_emails', 'user_id', '{}', null),
    (4, 'identities', 'user_id', '{}', null),
    (5, 'api_tokens', 'user_id', '{token_hash}', null),
    (6, 'organization_members', 'user_id', '{}', null),
    (7, 'sessions', 'user_id', '{}', null),
    (8, 'runs', 'user_id', '{}', null),
    (9, 'run_texts', 'user_id', '{}', null),
    (10, 'exchange_feedback', 'user_id', '{}', null),
    (11, 'shared_sessions', 'user_id', '{}', null),
    (12, 'share_views', 'visitor', '{visitor}', null),
    (13, 'idempotency_keys', 'user_id', '{request_hash}', null),
    (14, 'refusals', 'user_id', '{}', null),
    (15, 'credit_lots', 'user_id', '{}', null),
    (16, 'credit_transactions', 'user_id', '{}', null),
    (17, 'subscriptions', 'user_id', '{}', null),
    (18, 'subscription_periods', 'user_id', '{}', null),
    (19, 'purchases', 'user_id', '{}', null),
    (20, 'payments', 'user_id', '{}', null),
    (21, 'reversals', 'user_id', '{}', null),
    (22, 'checkouts', 'user_id', '{}', null),
    (23, 'stripe_customers', 'user_id', '{write_id}', null),
    (24, 'packages', 'author_id', '{}', null),
    (25, 'package_versions', 'published_by', '{}', null),
    (26, 'suggested_inputs', 'created_by', '{}', null),
    (27, 'messages', 'user_id', '{dedupe,payload}', null),
    (28, 'alerts', 'user_id', '{acknowledged_by,acknowledged_because}', null),
    (29, 'logins', 'user_id', '{token_hash}', null),
    (null, 'core.usage_marks', 'user_id', '{}', 'how far sums over runs have come'),
    (null, 'core.usage_corrections', 'user_id', '{}', 'which runs are to be summed again'),
    (null, 'usage_rollups', 'user_id', '{}', 'sums over runs, which are there'),
    (null, 'core.user_cost_figures', 'user_id', '{}', 'sums over runs and payments, which are there'),
    (null, 'erasures', 'user_id', '{}', 'that an account was erased, which then nobody can ask'),
    (null, 'rate_windows', 'user_id', '{}', 'counts of the last minute'),
    (null, 'session_index', 'user_id', '{}', 'words of titles and texts, which are there'),
    (null, 'session_marks', 'user_id', '{}', 'how far the index has come'),
    (null, 'stripe_effects', 'user_id', '{}', 'which news of Stripe''s were booked; what they told is in subscriptions, purchases and payments'),
    (null, 'stripe_events', 'user_id', '{}', 'news of Stripe''s as they came; what they told is in subscriptions, purchases and payments'),
    (null, 'stripe_payments', 'user_id', '{}', 'whose payments are whose, which are there'),
    (null, 'stripe_work', 'user_id', '{}', 'what a server is about to ask Stripe'),
    (null, 'stripe_drift', 'user_id', '{}', 'what differed from Stripe and was repaired')
  ) p (place, part, owner, hidden, left_out);
end;

comment on function core.export_parts() is
  'Every table that has something of a person, in the order of an export: which column says whose a row is, which columns stay inside, or why '
  'the table is left out (place is null then). part is the table, without its schema where that is public. Spec 10.8.';
--! EndIncluded accounts/export_parts.sql
--! Included accounts/export_rows.sql
create or replace function core.export_rows(
  user_id uuid, part text, owner text, hidden text[], after jsonb, most integer, out rows json, out last jsonb
)
language plpgsql
stable
set search_path = ''
as $$
declare
  source regclass := case when strpos(export_rows.part, '.') > 0 then export_rows.part else 'public.' || export_rows.part end;
  owner_type regtype := case when export_rows.owner = 'visitor' then 'text'::regtype else 'uuid'::regtype end;
  keys text[];
  types regtype[];
begin
  -- Page by page along the table's own key, of at most four columns; where there are fewer the last one stands in for the rest.
  select array_agg(a.attname order by k.n), array_agg(a.atttypid order by k.n) into strict keys, types
  from pg_catalog.pg_index i
  cross join lateral unnest(i.indkey) with ordinality k (number, n)
  join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
  where i.indrelid = source and i.indisprimary;
  while cardinality(keys) < 4 loop
    keys := keys || keys[cardinality(keys)];
    types := types || types[cardinality(types)];
  end loop;

  execute format(
    'select coalesce(json_agg(x.content order by x.n), ''[]''), case when count(*) = $3 then jsonb_agg(x.key order by x.n) -> -1 end
     from (
       select
         row_number() over (order by t.%1$s, t.%2$s, t.%3$s, t.%4$s) as n, to_jsonb(t) - $4 as content,
         jsonb_build_array(t.%1$s::text, t.%2$s::text, t.%3$s::text, t.%4$s::text) as key
       from %9$s t
       where t.%10$s = $1::%11$s and ($2 is null or (t.%1$s, t.%2$s, t.%3$s, t.%4$s)
         > (($2 ->> 0)::%5$s, ($2 ->> 1)::%6$s, ($2 ->> 2)::%7$s, ($2 ->> 3)::%8$s))
       order by t.%1$s, t.%2$s, t.%3$s, t.%4$s
       limit $3
     ) x',
    quote_ident(keys[1]), quote_ident(keys[2]), quote_ident(keys[3]), quote_ident(keys[4]), types[1], types[2], types[3], types[4],
    source, quote_ident(export_rows.owner), owner_type
  )
  into rows, last
  using
    case when export_rows.owner = 'visitor' then core.visitor_of(export_rows.user_id, null) else export_rows.user_id::text end,
    export_rows.after, export_rows.most, export_rows.hidden;
end
$$;

comment on function core.export_rows(uuid, text, text, text[], jsonb, integer) is
  'Up to so many rows of a part of core.export_parts that are a person''s, as JSON, behind the key after (null: from the beginning); last is '
  'the key of the last one where there may be more. Spec 10.8.';
--! EndIncluded accounts/export_rows.sql
--! Included accounts/export_page.sql
create or replace function api.export_page(user_id uuid, cursor text default null, out part text, out rows json, out next_cursor text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  place_in text[] := core.decode_cursor(export_page.cursor, 'integer', 'jsonb');
  p record;
  last jsonb;
begin
  select x.* into p
  from core.export_parts() x
  where x.left_out is null and x.place >= coalesce(place_in[1]::integer, 1)
  order by x.place
  limit 1;
  if not found then
    raise data_exception;
  end if;
  part := p.part;
  select x.rows, x.last into rows, last
  from core.export_rows(export_page.user_id, p.part, p.owner, p.hidden, place_in[2]::jsonb, 100) x;

  if last is not null then
    next_cursor := core.encode_cursor(p.place::text, last::text);
  elsif exists (select from core.export_parts() x where x.place > p.place) then
    next_cursor := core.encode_cursor((p.place + 1)::text, null);
  end if;
exception
  when data_exception then
    raise exception 'this cursor is none that an export gave'
      using errcode = 'PR400', detail = 'cursor', hint = 'Send next_cursor as it came, or leave cursor out to begin anew.';
end
$$;

comment on function api.export_page(uuid, text) is
  'One page of all that is kept of a user: up to 100 rows of one table (part), as JSON, and the cursor of the next page; null after the last. '
  'Tables without a row are pages too. Errors: PR400 naming cursor. Spec 10.8.';
--! EndIncluded accounts/export_page.sql

--! split: 8-web.sql
-- People who are signed in on the page.

alter table public.settings add column if not exists login_minutes integer not null default 720
  check (login_minutes between 5 and 43200);
comment on column public.settings.login_minutes is
  'Minutes for which a sign-in on the page lasts after its last use (spec 2.2).';
alter table public.settings add column if not exists login_days integer not null default 14
  check (login_days between 1 and 365);
comment on column public.settings.login_days is
  'Days after which a sign-in on the page ends however much it is used (spec 2.2).';
grant update (login_minutes, login_days) on public.settings to prpm_ops;

create table if not exists public.logins (
  token_hash bytea primary key check (length(token_hash) = 32),
  user_id uuid not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz
);
create index if not exists logins_by_user on public.logins (user_id);
create index if not exists logins_expires_at on public.logins (expires_at);
comment on table public.logins is
  'ops. Who is signed in on the page; of what the cookie holds only the SHA-256 is stored (spec 2.2). Those that are over are dropped each hour.';
comment on column public.logins.token_hash is 'SHA-256 of what the cookie holds.';
comment on column public.logins.user_id is 'Who is signed in.';
comment on column public.logins.created_at is 'When they signed in.';
comment on column public.logins.expires_at is 'Over from then on; moved on by use, at most to settings.login_days after created_at.';
comment on column public.logins.ended_at is 'Over since then: signed out, or the account was closed.';

--! Included accounts/login_ends_at.sql
create or replace function core.login_ends_at(created_at timestamptz, now timestamptz)
returns timestamptz
language sql
stable
set search_path = ''
begin atomic
  select least(
    login_ends_at.now + s.login_minutes * interval '1 minute', login_ends_at.created_at + s.login_days * interval '24 hours'
  )
  from public.settings s;
end;

comment on function core.login_ends_at(timestamptz, timestamptz) is
  'When a sign-in of created_at is over that was used last at now, by the settings login_minutes and login_days. Spec 2.2.';
--! EndIncluded accounts/login_ends_at.sql
--! Included accounts/begin_login.sql
create or replace function api.begin_login(user_id uuid, token_hash bytea)
returns table (lasts_seconds integer)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  person public.users;
begin
  select u.* into person from public.users u where u.id = begin_login.user_id;
  if not found then
    raise exception 'there is no user %', begin_login.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  if person.closed_at is not null then
    raise exception 'this account is closed' using errcode = 'PR403', hint = 'Nobody signs in to a closed account.';
  end if;
  if coalesce(length(begin_login.token_hash), 0) <> 32 then
    raise exception 'a sign-in has the SHA-256 of its text' using errcode = 'PR400', detail = 'token_hash';
  end if;
  return query
    insert into public.logins as l (token_hash, user_id, created_at, expires_at)
    values (begin_login.token_hash, person.id, now, core.login_ends_at(now, now))
    returning extract(epoch from l.expires_at - now)::integer;
end
$$;

comment on function api.begin_login(uuid, bytea) is
  'Signs a person in on the page: keeps the SHA-256 of what the cookie will hold. The caller has proved who they are. Returns for how '
  'many seconds it lasts unless it is used. Errors: PR404 unknown user; PR403 a closed account; PR400 naming token_hash. Spec 2.2.';
--! EndIncluded accounts/begin_login.sql
--! Included accounts/authenticate_login.sql
create or replace function api.authenticate_login(token_hash bytea)
returns table (outcome text, user_id uuid, username text, email text, is_admin boolean, lasts_seconds integer)
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  login public.logins;
  person public.users;
  ends_at timestamptz;
begin
  select l.* into login from public.logins l where l.token_hash = authenticate_login.token_hash;
  select u.* into person from public.users u where u.id = login.user_id;

  outcome := case
    when login.user_id is null or person.id is null then 'unknown'
    when person.closed_at is not null then 'closed'
    when login.ended_at is not null or login.expires_at <= now then 'expired'
    else 'ok'
  end;
  if outcome = 'ok' then
    user_id := person.id;
    username := person.username;
    email := person.email;
    is_admin := person.is_admin;
    ends_at := core.login_ends_at(login.created_at, now);
    if ends_at > login.expires_at + interval '1 minute' then
      update public.logins l set expires_at = ends_at where l.token_hash = authenticate_login.token_hash;
    else
      ends_at := login.expires_at;
    end if;
    lasts_seconds := extract(epoch from ends_at - now)::integer;
  end if;
  return next;
end
$$;

comment on function api.authenticate_login(bytea) is
  'Who is signed in on the page by the cookie whose SHA-256 this is. One row: outcome ok, unknown, expired (signed out, too) or closed (the '
  'account); the other columns are null unless ok. Moves its end on, once a minute, and says in how many seconds it is. Spec 2.2.';
--! EndIncluded accounts/authenticate_login.sql
--! Included accounts/end_login.sql
create or replace function api.end_login(user_id uuid, token_hash bytea)
returns table (ended_at timestamptz)
language sql
security definer
set search_path = ''
begin atomic
  update public.logins l
  set ended_at = coalesce(l.ended_at, core.now())
  where l.token_hash = end_login.token_hash and l.user_id = end_login.user_id
  returning l.ended_at;
end;

comment on function api.end_login(uuid, bytea) is
  'Signs a person out on the page, from the next request on; a second call changes nothing. Returns when; no row: there is no such sign-in '
  'of theirs. Spec 2.2.';
--! EndIncluded accounts/end_login.sql
--! Included accounts/forget_logins.sql
create or replace function ops.forget_logins()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  dropped bigint;
begin
  delete from public.logins l where l.expires_at < core.now() - interval '1 day';
  get diagnostics dropped = row_count;
  return dropped;
end
$$;

comment on function ops.forget_logins() is
  'Drops sign-ins on the page that have been over for a day. Returns how many rows. Call: select ops.forget_logins(); Spec 2.2.';
--! EndIncluded accounts/forget_logins.sql
--! Included accounts/close_user.sql
create or replace function ops.close_user("user" text, reason text, dry_run boolean default false)
returns table (user_id uuid, closed_at timestamptz, tokens_revoked bigint, runs_stopped bigint)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  person public.users;
begin
  select u.* into strict person from public.users u where u.id = core.find_user("user") for no key update;
  user_id := person.id;
  closed_at := coalesce(person.closed_at, core.now());
  select count(*) into tokens_revoked from public.api_tokens t where t.user_id = person.id and t.revoked_at is null;
  runs_stopped := cardinality(person.open_runs);
  if not dry_run then
    perform core.note_action('close_user', person.id::text, reason, null);
    update public.users u set closed_at = close_user.closed_at, updated_at = core.now() where u.id = person.id;
    update public.api_tokens t set revoked_at = close_user.closed_at where t.user_id = person.id and t.revoked_at is null;
    update public.logins l set ended_at = close_user.closed_at where l.user_id = person.id and l.ended_at is null;
    update public.runs r
    set stop_requested_at = coalesce(r.stop_requested_at, close_user.closed_at)
    where r.user_id = person.id and r.id = any (person.open_runs);
  end if;
  return next;
end
$$;

comment on function ops.close_user(text, text, boolean) is
  'Closes the account of a person (id, e-mail or username): nothing can be begun any more, tokens are revoked, sign-ins on the page end, '
  'running runs are asked to '
  'stop and are settled as stopped ones are; the books stay. A second call changes nothing. Returns how many tokens and runs it met. '
  'Call: select * from ops.close_user(''user@example.com'', ''asked to leave''); '
  'Errors: as core.find_user; PR400 without a reason. Spec 2.3.';
--! EndIncluded accounts/close_user.sql
--! Included accounts/export_parts.sql
create or replace function core.export_parts()
returns table (place integer, part text, owner text, hidden text[], left_out text)
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select p.place::integer, p.part, p.owner, p.hidden::text[], p.left_out
  from (values
    (1, 'users', 'id', '{}', null),
    (2, 'email_preferences', 'user_id', '{}', null),
    (3, 'user_emails', 'user_id', '{}', null),
    (4, 'identities', 'user_id', '{}', null),
    (5, 'api_tokens', 'user_id', '{token_hash}', null),
    (6, 'organization_members', 'user_id', '{}', null),
    (7, 'sessions', 'user_id', '{}', null),
    (8, 'runs', 'user_id', '{}', null),
    (9, 'run_texts', 'user_id', '{}', null),
    (10, 'exchange_feedback', 'user_id', '{}', null),
    (11, 'shared_sessions', 'user_id', '{}', null),
    (12, 'share_views', 'visitor', '{visitor}', null),
    (13, 'idempotency_keys', 'user_id', '{request_hash}', null),
    (14, 'refusals', 'user_id', '{}', null),
    (15, 'credit_lots', 'user_id', '{}', null),
    (16, 'credit_transactions', 'user_id', '{}', null),
    (17, 'subscriptions', 'user_id', '{}', null),
    (18, 'subscription_periods', 'user_id', '{}', null),
    (19, 'purchases', 'user_id', '{}', null),
    (20, 'payments', 'user_id', '{}', null),
    (21, 'reversals', 'user_id', '{}', null),
    (22, 'checkouts', 'user_id', '{}', null),
    (23, 'stripe_customers', 'user_id', '{write_id}', null),
    (24, 'packages', 'author_id', '{}', null),
    (25, 'package_versions', 'published_by', '{}', null),
    (26, 'suggested_inputs', 'created_by', '{}', null),
    (27, 'messages', 'user_id', '{dedupe,payload}', null),
    (28, 'alerts', 'user_id', '{acknowledged_by,acknowledged_because}', null),
    (29, 'logins', 'user_id', '{token_hash}', null),
    (null, 'core.usage_marks', 'user_id', '{}', 'how far sums over runs have come'),
    (null, 'core.usage_corrections', 'user_id', '{}', 'which runs are to be summed again'),
    (null, 'usage_rollups', 'user_id', '{}', 'sums over runs, which are there'),
    (null, 'core.user_cost_figures', 'user_id', '{}', 'sums over runs and payments, which are there'),
    (null, 'erasures', 'user_id', '{}', 'that an account was erased, which then nobody can ask'),
    (null, 'rate_windows', 'user_id', '{}', 'counts of the last minute'),
    (null, 'session_index', 'user_id', '{}', 'words of titles and texts, which are there'),
    (null, 'session_marks', 'user_id', '{}', 'how far the index has come'),
    (null, 'stripe_effects', 'user_id', '{}', 'which news of Stripe''s were booked; what they told is in subscriptions, purchases and payments'),
    (null, 'stripe_events', 'user_id', '{}', 'news of Stripe''s as they came; what they told is in subscriptions, purchases and payments'),
    (null, 'stripe_payments', 'user_id', '{}', 'whose payments are whose, which are there'),
    (null, 'stripe_work', 'user_id', '{}', 'what a server is about to ask Stripe'),
    (null, 'stripe_drift', 'user_id', '{}', 'what differed from Stripe and was repaired')
  ) p (place, part, owner, hidden, left_out);
end;

comment on function core.export_parts() is
  'Every table that has something of a person, in the order of an export: which column says whose a row is, which columns stay inside, or why '
  'the table is left out (place is null then). part is the table, without its schema where that is public. Spec 10.8.';
--! EndIncluded accounts/export_parts.sql
insert into public.jobs (job, every, after, description, call) values
  ('forget-logins', '1 hour', '5 minutes', 'Drops sign-ins on the page that are over: ops.forget_logins()', 'forget_logins')
on conflict do nothing;

--! split: 10-custom.sql
insert into public.packages (id, name, description, author_id, visibility, latest_version)
values (
  '00000000-0000-7000-8000-00000000c057', '@playground/custom-prompt', 'Runs of people''s own prompts.',
  '00000000-0000-0000-0000-000000000000', 'private', '1.0.0'
)
on conflict do nothing;
insert into public.package_versions (package_id, version, prompt, tokens_o200k, tokens_cl100k, tokens_approximate, published_by)
values ('00000000-0000-7000-8000-00000000c057', '1.0.0', '-', 1, 1, 1, '00000000-0000-0000-0000-000000000000')
on conflict do nothing;
--! Included catalog/custom_package.sql
create or replace function core.custom_package()
returns uuid
language sql
immutable
parallel safe
begin atomic
  select '00000000-0000-7000-8000-00000000c057'::uuid;
end;

comment on function core.custom_package() is
  'The package to which runs of people''s own prompts are booked, so that they count for no author. Nobody sees or runs it otherwise. Spec 10.5.';
--! EndIncluded catalog/custom_package.sql
--! Included runs/describe_custom_prompts.sql
create or replace function api.describe_custom_prompts(user_id uuid)
returns table (
  available boolean, verified_author boolean, max_output_tokens integer, credit_multiplier numeric, tokens_per_credit integer,
  first_token_timeout_ms integer, run_timeout_ms integer
)
language sql
stable
security definer
set search_path = ''
begin atomic
  select
    coalesce(u.verified_author and u.closed_at is null, false) and s.runs_enabled, coalesce(u.verified_author, false), s.custom_max_output_tokens,
    s.custom_prompt_multiplier, s.tokens_per_credit, s.first_token_timeout_ms, s.run_timeout_ms
  from public.settings s
  left join public.users u on u.id = describe_custom_prompts.user_id;
end;

comment on function api.describe_custom_prompts(uuid) is
  'What holds for custom prompts, from the settings that api.begin_run goes by: whether this user (null: a visitor) may run one now, the longest answer '
  'in tokens, the factor on the credits, tokens a credit, and the timeouts in milliseconds. Spec 10.5.';
--! EndIncluded runs/describe_custom_prompts.sql
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
  u := (select x from public.users x where x.id = begin_run.user_id for no key update);
  s := (select x from public.settings x);
  if u.id is null then
    raise exception 'user % is unknown', begin_run.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  now := greatest(clock_timestamp() + s.clock_offset, u.day_ends_at - interval '24 hours'); -- a clock set back begins nothing in a day that is closed

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
  asked_id := case when custom_prompt_tokens is null then core.uuid_or_null(begin_run.package) else core.custom_package() end;
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
  elsif k.id is null or v.version is null or k.visibility = 'private' and custom_prompt_tokens is null then
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
  if begin_run.run_id < u.last_run_id then
    perform core.note_correction((select x from public.runs x where x.user_id = u.id and x.id = begin_run.run_id)); -- rollups may have passed it
  end if;
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
    current_month_requests = u.current_month_requests + 1, total_requests = u.total_requests + 1,
    last_request_at = greatest(u.last_request_at, now),
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
  'counted_with; max_output_tokens null is no wish; custom_prompt_tokens not null: the caller''s own prompt of so many tokens, booked to '
  'core.custom_package() whatever package says. Returns core.begun_run, outcome: started (with the exact provider request), known (the run id or key was seen before: see run_status) or '
  'refused (refusal: code, status, figures, when to try again). Errors: PR404 unknown user. Spec 1.3, 1.5, 3.2 to 3.7, 5.1, 5.3, 5.5.';
--! EndIncluded runs/begin_run.sql
