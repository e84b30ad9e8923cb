--! Previous: sha1:6d9fe3e994dc95696bd52303a495d2d99877bce2
--! Hash: sha1:89f93329150cfa6f101441ef9b1509719b4a3633
--! Message: functions ask so that a cluster understands

--! split: 1-functions-ask-so-that-a-cluster-understands.sql
--! Included limits/throttle_holds.sql
create or replace function core.throttle_holds(throttled_by text, throttled_until timestamptz, now timestamptz)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select throttled_by is null or throttled_until is null and throttled_by = 'operator' or throttled_until > now;
end;

comment on function core.throttle_holds(text, timestamptz, timestamptz) is
  'Whether the throttle of who is throttled holds at that time: core.throttled_at by its columns, for whole scans of users. Spec 3.4.';
--! EndIncluded limits/throttle_holds.sql
grant execute on function core.throttle_holds(text, timestamptz, timestamptz) to prpm_ops, prpm_readonly;
--! Included limits/count_in_window.sql
create or replace function core.count_in_window(
  user_id uuid, kind text, per_minute integer, out allowed boolean, out remaining integer, out reset integer
)
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  minute_ends_at timestamptz := now + interval '1 minute';
  w record;
begin
  insert into public.rate_windows as r (user_id, kind, ends_at, count)
  values (count_in_window.user_id, count_in_window.kind, minute_ends_at, 1)
  on conflict on constraint rate_windows_pkey do update
  set
    count = case when r.ends_at <= now then 1 else r.count + 1 end,
    ends_at = case when r.ends_at <= now then minute_ends_at else r.ends_at end
  returning r.count, r.ends_at into w;

  allowed := w.count <= per_minute;
  remaining := greatest(0, per_minute - w.count);
  reset := greatest(1, ceil(extract(epoch from w.ends_at - now)));
end
$$;

comment on function core.count_in_window(uuid, text, integer) is
  'Counts one request in a fixed minute window that later requests cannot extend; allowed is false above per_minute. reset is seconds. Spec 3.6.';
--! EndIncluded limits/count_in_window.sql
--! Included runs/checkpoint_run.sql
create or replace function api.checkpoint_run(
  user_id uuid, run_id uuid, question text, answer text,
  output_tokens integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer,
  out status text, out stop_requested boolean
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  expires_at timestamptz;
  r record;
begin
  select clock_timestamp() + x.clock_offset + x.hold_ms * interval '1 millisecond' into expires_at from public.settings x;
  update public.runs x
  set
    hold_expires_at = greatest(x.hold_expires_at, expires_at),
    output_tokens = checkpoint_run.output_tokens,
    input_tokens = checkpoint_run.input_tokens,
    cached_tokens = checkpoint_run.cached_tokens,
    cache_write_tokens = checkpoint_run.cache_write_tokens
  where x.user_id = checkpoint_run.user_id and x.id = checkpoint_run.run_id and x.status = 'running'
  returning x.session_id, x.stop_requested_at into r;

  if found then
    perform core.keep_texts(checkpoint_run.user_id, r.session_id, checkpoint_run.run_id, question, answer);
    status := 'running';
    stop_requested := r.stop_requested_at is not null;
  else
    select x.status, true into status, stop_requested
    from public.runs x
    where x.user_id = checkpoint_run.user_id and x.id = checkpoint_run.run_id;
  end if;
end
$$;

comment on function api.checkpoint_run(uuid, uuid, text, text, integer, integer, integer, integer) is
  'Stores what a running run has produced so far, moves its hold''s expiry on and tells whether a stop was asked for elsewhere. Tokens null '
  'where not known yet. status is null for an unknown run; any other than running means: stop. Locks the run''s row alone. Spec 5.2.';
--! EndIncluded runs/checkpoint_run.sql
--! Included runs/read_run.sql
create or replace function api.read_run(user_id uuid, run_id uuid)
returns table (receipt core.receipt, question text, answer text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  r public.runs;
  u public.users;
  said record;
begin
  r := (select x from public.runs x where x.user_id = read_run.user_id and x.id = read_run.run_id);
  if r.id is null then
    return;
  end if;
  u := (select x from public.users x where x.id = read_run.user_id);
  select t.question, t.answer into said from public.run_texts t
  where t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id;
  return query select
    core.write_receipt(r, core.roll_windows(u, now), core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now))),
    said.question, said.answer;
end
$$;

comment on function api.read_run(uuid, uuid) is
  'A run of this user: receipt as it stands (see type core.receipt), question and answer so far. No row for an unknown run or another''s. '
  'Spec 5.2.';
--! EndIncluded runs/read_run.sql
--! Included runs/begin_run.sql
create or replace function api.begin_run(
  user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean,
  input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer,
  idempotency_key text, request_hash bytea, history_mode text default null,
  prompt_tokens integer default null, variables jsonb default null
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
  late public.runs;
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
  history_tokens integer;
  dropped_exchanges integer;
  room integer;
begin
  -- Rows are read whole, as one value: a list of columns is set up anew, column by column, in every call.
  u := (select x from public.users x where x.id = begin_run.user_id for no key update);
  s := (select x from public.settings x);
  if u.id is null then
    raise exception 'user % is unknown', begin_run.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  now := greatest(clock_timestamp() + s.clock_offset, u.day_ends_at - interval '24 hours', u.hour_ends_at - interval '1 hour'); -- a clock set back begins nothing in an hour or day that is closed

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
  if prompt_tokens is null then -- else the attempt that asked for the prompt was counted
    u.minute_attempts := u.minute_attempts + 1;
  end if;

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
  select x.version, x.prompt, x.variables, x.tokens_o200k, x.tokens_cl100k, x.tokens_approximate, x.cache_prompt into v
  from public.package_versions x
  where x.package_id = k.id and x.version = coalesce(begin_run.package_version, k.latest_version);

  if m.alias is null or not m.enabled or p.id is null then
    refusal := core.refuse_by_model(begin_run.model, m, now);
  elsif k.id is null or v.version is null or k.visibility = 'private' and custom_prompt_tokens is null and history_mode is distinct from 'summarise' then
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
    if refusal is null and talk.messages is null and history_mode = 'summarise' then
      refusal := core.describe_refusal('nothing_to_summarise', 409, 'Nothing was said in this session yet, or its texts are gone.', now);
    end if;
  end if;
  if refusal is not null then
    return core.refuse_run(u, l, refusal, now);
  end if;

  -- A prompt with variables has to be filled in, and counted, by who asked; an attempt it was all the same.
  if (v.variables is not null or begin_run.variables is not null) and prompt_tokens is null and custom_prompt_tokens is null and not use_no_prompt then
    update public.users x set minute_attempts = u.minute_attempts, minute_ends_at = u.minute_ends_at where x.id = u.id;
    if begin_run.variables is null and begin_run.session_id is not null then
      begin_run.variables := (
        select jsonb_object_agg(e.key, e.value) from jsonb_each(talk.variables) e where v.variables::jsonb -> 'properties' ? e.key
      );
    end if;
    begun.outcome := 'template';
    begun.version := v.version;
    begun.system_prompt := v.prompt;
    begun.template := json_build_object('variables', v.variables, 'given_variables', coalesce(begin_run.variables, '{}'));
    return begun;
  end if;

  -- How large it is: tokens read for certain, tokens written at most.
  exact := counted_with = m.tokenizer and m.tokenizer <> 'approximate';
  estimated_input := begin_run.input_tokens + 7;
  if custom_prompt_tokens is not null and not use_no_prompt then
    prompt_multiplier := s.custom_prompt_multiplier;
    estimated_input := estimated_input + custom_prompt_tokens + 4;
  elsif not use_no_prompt then
    estimated_input := estimated_input + 4 + coalesce(prompt_tokens, case m.tokenizer
      when 'o200k_base' then v.tokens_o200k when 'cl100k_base' then v.tokens_cl100k else v.tokens_approximate
    end);
  end if;
  wanted_output := least(
    begin_run.max_output_tokens, m.max_output_tokens,
    case when custom_prompt_tokens is null then s.max_output_tokens else s.custom_max_output_tokens end,
    case when history_mode = 'summarise' then s.summary_output_tokens end
  );
  useful := least(s.min_output_tokens, wanted_output);
  if begin_run.session_id is not null then
    if history_mode is not null then
      dropped_exchanges := 0;
      room := least(s.max_request_tokens, m.context_tokens) - estimated_input;
      room := least(room - useful, greatest(room - wanted_output, room / 2), substring(history_mode from '^fit:(\d{1,9})$')::integer);
      if talk.tokens > room then
        select x.* into talk from core.fit_history(u.id, begin_run.session_id, talk.run_ids, m.alias, room) x;
        dropped_exchanges := talk.dropped;
      end if;
    end if;
    estimated_input := estimated_input + talk.tokens;
    history := talk.messages;
    history_tokens := talk.tokens;
    exact := exact and talk.same_model;
  end if;
  held_input := ceil(estimated_input * case when exact then s.estimate_safety_exact else s.estimate_safety end);
  wanted_output := least(wanted_output, s.max_request_tokens - estimated_input, m.context_tokens - estimated_input);

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
      u, l, s, m, greatest(p.input, p.cache_write), p.output, prompt_multiplier, estimated_input, held_input, wanted_output, useful, cost_left is not null, now,
      history_tokens
    );
    begun := core.refuse_run(u, l, refusal, now);
    begun.estimated_input := estimated_input;
    begun.held_input := held_input;
    begun.wanted_output := wanted_output;
    begun.history_tokens := history_tokens;
    begun.dropped_exchanges := dropped_exchanges;
    return begun;
  end if;

  -- It may run.
  counts := hold_included > 0;
  insert into public.runs (
    user_id, id, session_id, status, model, provider_model, package_id, package_version, baseline, tier_name,
    price_id, credit_multiplier, prompt_multiplier, tokens_per_credit, estimated_input, question_tokens, estimate_is_exact,
    output_cap, hold_included, hold_purchased, hold_cost, hold_expires_at, estimated, cost, limited_cost, credits, shortfall, started_at,
    request_limit, history_tokens, dropped_exchanges, summarises
  ) values (
    u.id, begin_run.run_id, coalesce(begin_run.session_id, begin_run.run_id), 'running', m.alias, m.provider_model, k.id, v.version,
    use_no_prompt, l.tier_name,
    p.id, m.credit_multiplier, prompt_multiplier, s.tokens_per_credit, estimated_input, begin_run.input_tokens, exact,
    output_cap, hold_included, hold_credits - hold_included, hold_cost, now + s.hold_ms * interval '1 millisecond', false, 0, 0, 0, 0, now,
    least(s.max_request_tokens, m.context_tokens), history_tokens, dropped_exchanges, nullif(history_mode = 'summarise', false)
  );
  if begin_run.run_id < u.last_run_id then
    late := (select x from public.runs x where x.user_id = u.id and x.id = begin_run.run_id);
    perform core.note_correction(late); -- rollups may have passed it
  end if;
  if begin_run.session_id is null then
    insert into public.sessions (user_id, id, package_id, last_run_id, created_at, last_run_at, variables)
    values (u.id, begin_run.run_id, k.id, begin_run.run_id, now, now, begin_run.variables);
  else
    update public.sessions x set last_run_id = begin_run.run_id, last_run_at = now, variables = coalesce(begin_run.variables, x.variables)
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
    ceil(extract(epoch from u.minute_ends_at - now)), history_tokens, dropped_exchanges, null
  )::core.begun_run;
end
$$;

comment on function api.begin_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, bytea, text, integer, jsonb) is
  'Lets a run in, or says why not: one lock, one transaction. package is an id or name; package_version null is the newest; session_id '
  'null begins a session that has the run''s id; model null is the default; input_tokens is the caller''s own text counted with '
  'counted_with; max_output_tokens null is no wish; custom_prompt_tokens not null: the caller''s own prompt of so many tokens, booked to '
  'core.custom_package() whatever package says, where use_no_prompt leaves out that prompt, and its multiplier; history_mode null brings the whole conversation, fit leaves out its oldest exchanges until '
  'the answer has room, fit:n does and brings n tokens of it at most, summarise does the same and makes the answer what the conversation goes on from; prompt_tokens: tokens of the '
  'package''s prompt with variables (values by name) filled in, for who was told of them by the outcome template. Returns core.begun_run, '
  'outcome: started (with the exact provider request), known (the run id or key was seen before: see run_status), template (the prompt is to '
  'be filled in first: nothing was begun) or '
  'refused (refusal: code, status, figures, when to try again). Errors: PR404 unknown user. Spec 1.3, 1.5, 3.2 to 3.7, 5.1, 5.3, 5.5.';
--! EndIncluded runs/begin_run.sql
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
  rolled record;
  lot_id uuid;
  next_start timestamptz;
  rollover_id uuid := gen_random_uuid();
  own_rollover_id uuid := gen_random_uuid();
  last_day timestamptz;
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
    last_day := next_start - interval '1 day';
    update public.credit_lots l
    set
      expires_at = least(l.expires_at, next_start),
      rolls_into = case when l.period_end > last_day then own_rollover_id end
    where l.user_id = grant_period.user_id and l.id = lot_id;
  end if;
  -- What rolled over just now, or before an earlier period was heard of, may be older rollover by now.
  for rolled in
    select l.id, core.rollover_ends_at(grant_period.user_id, l.period_start, l.period_end) as ends_at
    from public.credit_lots l
    where l.user_id = grant_period.user_id and l.kind = 'rollover'
  loop
    update public.credit_lots l set expires_at = rolled.ends_at
    where l.user_id = grant_period.user_id and l.id = rolled.id and l.expires_at > rolled.ends_at;
  end loop;
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
--! Included credits/audit_lots.sql
create or replace function core.audit_lots(first_user uuid, last_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '256MB'
as $$
#variable_conflict use_column
begin
  -- Each lot against its transfers.
  return query
  select l.user_id, problem.check_name, 'lot ' || l.id, problem.expected::text, problem.actual::text
  from public.credit_lots l
  left join (
    select
      t.user_id,
      t.lot_id,
      sum(case when t.credit = 'lot' then t.amount else -t.amount end) as remaining,
      coalesce(sum(t.amount) filter (where t.debit = 'issued' and t.credit = 'lot'), 0) as granted
    from public.credit_transactions t
    where t.user_id between first_user and last_user
    group by t.user_id, t.lot_id
  ) f on f.user_id = l.user_id and f.lot_id = l.id
  cross join lateral (values
    ('lot_remaining', coalesce(f.remaining, 0), l.remaining),
    ('lot_granted', coalesce(f.granted, 0), l.granted)
  ) problem (check_name, expected, actual)
  where l.user_id between first_user and last_user and problem.expected <> problem.actual;

  -- The cost that its credits have paid for: of each run what was spent after anything was given back.
  return query
  select l.user_id, 'lot_cost', 'lot ' || l.id, trim_scale(coalesce(f.cost, 0))::text, trim_scale(l.cost)::text
  from public.credit_lots l
  left join (
    select s.user_id, s.lot_id, sum(core.share_of_cost(r.cost, s.upto, s.amount, r.credits + r.shortfall)) as cost
    from (
      select
        t.user_id, t.run_id, t.lot_id, t.amount, t.id,
        sum(case when t.debit = 'lot' then t.amount else -t.amount end) over (partition by t.user_id, t.run_id order by t.id)::bigint as upto,
        coalesce(max(t.id) filter (where t.credit = 'lot') over (partition by t.user_id, t.run_id), 0) as given_back
      from public.credit_transactions t
      where t.run_id is not null and t.user_id between first_user and last_user
    ) s
    join public.runs r on r.user_id = s.user_id and r.id = s.run_id
    where s.id > s.given_back and r.credits + r.shortfall > 0
    group by s.user_id, s.lot_id
  ) f on f.user_id = l.user_id and f.lot_id = l.id
  where l.user_id between first_user and last_user and coalesce(f.cost, 0) <> l.cost;

  -- What the user's row says of all lots together.
  return query
  select u.id, problem.check_name, 'user', coalesce(problem.expected, problem.expected_at::text), coalesce(problem.actual, problem.actual_at::text)
  from public.users u
  left join (
    select
      l.user_id,
      coalesce(sum(l.remaining) filter (where l.kind <> 'purchased'), 0) as included,
      coalesce(sum(l.remaining) filter (where l.kind = 'purchased'), 0) as purchased,
      min(l.expires_at) as next_expiry,
      (array_agg(l.id order by
        case l.kind when 'monthly' then 1 when 'rollover' then 2 when 'signup' then 3 when 'bonus' then 4 else 5 end,
        l.expires_at, l.created_at, l.id
      ))[1] as first_lot,
      bool_or(p.shortfall > 0 or q.shortfall > 0) as is_owed
    from public.credit_lots l
    left join public.purchases p on l.source = 'purchase' and p.user_id = l.user_id and p.id::text = l.source_id
    left join public.subscription_periods q on l.source in ('subscription', 'rollover') and q.user_id = l.user_id
      and q.subscription_id || '/' || extract(epoch from q.period_start)::bigint = l.source_id
    where l.remaining > 0 and l.user_id between first_user and last_user
    group by l.user_id
  ) f on f.user_id = u.id
  cross join lateral (values
    ('included_credits', coalesce(f.included, 0)::text, u.included_credits::text, null::timestamptz, null::timestamptz),
    ('purchased_credits', coalesce(f.purchased, 0)::text, u.purchased_credits::text, null, null),
    ('spend_lot', f.first_lot::text, u.spend_lot::text, null, null),
    ('next_lot_expiry', null, null, case when f.is_owed then '-infinity' else coalesce(f.next_expiry, 'infinity') end, u.next_lot_expiry)
  ) problem (check_name, expected, actual, expected_at, actual_at)
  where u.id between first_user and last_user
    and (problem.expected, problem.expected_at) is distinct from (problem.actual, problem.actual_at);
end
$$;

comment on function core.audit_lots(uuid, uuid) is
  'Part of ops.audit_books: what each lot was granted, has left and has paid for by its transfers, and what users'' rows say of their lots. '
  'Of users between two ids, both included. Spec 4.1, 4.2.';
--! EndIncluded credits/audit_lots.sql
--! Included credits/read_credits.sql
create or replace function api.read_credits(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  u record;
begin
  select x.held_included, x.held_purchased into u from public.users x where x.id = read_credits.user_id;
  if not found then
    return null;
  end if;
  return (
    select json_build_object(
      'balance', figures.balance,
      'held', u.held_included + u.held_purchased,
      'available', figures.available,
      'monthly', json_build_object(
        'allocated', figures.allocated,
        'used', figures.allocated - figures.monthly,
        'remaining', figures.monthly,
        'reset_at', figures.reset_at
      ),
      'rollover', json_build_object('amount', figures.rollover, 'expires_at', figures.rollover_expires_at),
      'purchased', figures.purchased,
      'signup', figures.signup,
      'bonus', figures.bonus,
      'breakdown', json_build_object(
        'monthly', figures.monthly,
        'rollover', figures.rollover,
        'signup', figures.signup,
        'bonus', figures.bonus,
        'purchased', figures.purchased
      ),
      'lots', figures.lots
    )
    from (
      select
        coalesce(sum(live.remaining), 0)::bigint as balance,
        coalesce(sum(live.remaining - live.held), 0)::bigint as available,
        coalesce(sum(live.granted) filter (where live.kind = 'monthly'), 0)::bigint as allocated,
        coalesce(sum(live.remaining) filter (where live.kind = 'monthly'), 0)::bigint as monthly,
        min(live.period_end) filter (where live.kind = 'monthly') as reset_at,
        coalesce(sum(live.remaining) filter (where live.kind = 'rollover'), 0)::bigint as rollover,
        min(live.expires_at) filter (where live.kind = 'rollover' and live.remaining > 0) as rollover_expires_at,
        coalesce(sum(live.remaining) filter (where live.kind = 'signup'), 0)::bigint as signup,
        coalesce(sum(live.remaining) filter (where live.kind = 'bonus'), 0)::bigint as bonus,
        coalesce(sum(live.remaining) filter (where live.kind = 'purchased'), 0)::bigint as purchased,
        coalesce(json_agg(json_build_object(
          'id', live.id,
          'kind', live.kind,
          'granted', live.granted,
          'remaining', live.remaining,
          'held', live.held,
          'source', live.source,
          'expires_at', nullif(live.expires_at, 'infinity'),
          'created_at', live.created_at
        ) order by core.spend_rank(live.kind), live.expires_at, live.created_at, live.id) filter (where live.remaining > 0), '[]') as lots
      from (
        select l.*, coalesce(h.held, 0) as held
        from public.credit_lots l
        left join core.held_in_lots(read_credits.user_id, u.held_included, u.held_purchased) h on h.lot_id = l.id
        where l.user_id = read_credits.user_id and l.expires_at > now
      ) live
    ) figures
  );
end
$$;

comment on function api.read_credits(uuid) is
  'What a user can spend, in credits: balance (lots that have not expired, whether or not a job has booked the others), held by running runs, '
  'available (balance less what those hold in such lots, never below 0), monthly {allocated, used, remaining, reset_at}, rollover '
  '{amount, expires_at}, signup, bonus, purchased, breakdown by kind, and lots with credits left in the order in which they are spent. '
  'Null for an unknown user. Spec 4.2, 4.5.';
--! EndIncluded credits/read_credits.sql
--! Included limits/explain_throttle.sql
create or replace function ops.explain_throttle("user" text)
returns table (step integer, what text, used numeric, held numeric, "limit" numeric, unit text, explanation text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  clock timestamptz := core.now();
  target_id uuid := core.find_user("user");
  u public.users;
  tier text;
  l public.cost_limits_config;
  useful numeric := coalesce(core.cheapest_useful_cost(clock), 0);
begin
  select x.* into u from public.users x where x.id = target_id;
  u := core.roll_windows(u, clock);
  tier := core.tier_now(u);
  select c.* into l from public.cost_limits_config c where c.tier_name = tier;

  return query values
    (1, 'tier', null::numeric, null::numeric, null::numeric, null, tier || case
      when l.tier_name is null then ' has no row in cost_limits_config: runs are refused with tier_not_configured'
      when u.tier_override is not null and tier = u.tier_override then ', given by an operator (tier_override)'
      when u.tier_override is not null then ', because ' || u.tier_override || ' is no longer active'
      when u.entitled_until > clock and tier = u.plan_tier then ', of the plan paid until ' || u.entitled_until
      when u.entitled_until > clock then ', because ' || u.plan_tier || ' is no longer active'
      else ', without a paid period'
    end),
    (2, 'month', u.current_month_limited_cost, u.month_held_cost, l.monthly_cost_limit::numeric, 'dollars', format('Until %s. All cost: %s dollars.', u.month_ends_at, u.current_month_api_cost)),
    (3, 'day', u.current_day_limited_cost, u.day_held_cost, l.daily_cost_limit::numeric, 'dollars', format('Until %s. All cost: %s dollars.', u.day_ends_at, u.current_day_api_cost)),
    (4, 'hour', u.hour_requests, null, l.hourly_request_limit, 'runs', format('Until %s.', u.hour_ends_at)),
    (5, 'minute', u.minute_attempts, null, l.minute_request_limit, 'attempts', format('Until %s.', u.minute_ends_at)),
    (6, 'used up', null, null, null, null, case
      when not l.throttle_on_exceed then 'Cost limits of this tier only alert (throttle_on_exceed is false).'
      when u.limits_waived_until > clock then 'Cost limits are waived until ' || u.limits_waived_until || '.'
      else case core.used_up_window(u, clock)
        when 'month' then 'The month has less left than a useful answer of the cheapest model costs.'
        when 'day' then 'The day has less left than a useful answer of the cheapest model costs.'
        else 'No cost window is used up.'
      end
    end || format(' A useful answer costs %s dollars.', useful)),
    (7, 'throttle', null, null, null, null, case
      when core.throttled_at(u, clock) then format(
        'is_throttled, by %s since %s until %s: %s', coalesce(u.throttled_by, 'a plain update'), coalesce(u.throttled_at::text, 'an unknown time'),
        coalesce(case when u.throttled_by is not null then u.throttled_until end::text, 'it is lifted'), coalesce(u.throttled_reason, 'no reason given')
      )
      when u.is_throttled then 'is_throttled is still set, but its end has passed: cleared on the next use.'
      else 'Not throttled.'
    end);
end
$$;

comment on function ops.explain_throttle(text) is
  'Why a user is throttled, or not: tier and where it comes from, each window''s use, hold and limit as of now, whether a window is used up, '
  'and at last what the user''s row says. "user" is an id, e-mail or username. '
  'Call: select * from ops.explain_throttle(''user@example.com''); Errors: PR404 unknown user. Spec 2.5, 3, 12.';
--! EndIncluded limits/explain_throttle.sql
--! Included credits/explain_balance.sql
create or replace function ops.explain_balance("user" text)
returns table (step bigint, at timestamptz, type text, change bigint, balance bigint, lot text, explanation text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  target_id uuid := core.find_user("user");
  u public.users;
  clock timestamptz := core.now();
  expired bigint;
  available bigint;
begin
  select x.* into u from public.users x where x.id = target_id;

  return query
  select
    t.id,
    t.created_at,
    t.type,
    signed.change,
    sum(signed.change) over (order by t.id)::bigint,
    l.kind,
    concat_ws('; ', t.description, 'run ' || t.run_id, 'purchase ' || t.purchase_id, 'subscription ' || t.subscription_id, 'by ' || t.actor)
  from public.credit_transactions t
  cross join lateral (select case when t.credit = 'lot' then t.amount else -t.amount end as change) signed
  left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
  where t.user_id = u.id
  order by t.id;

  select
    coalesce(sum(h.remaining) filter (where h.expires_at <= clock), 0),
    coalesce(sum(h.remaining - h.held) filter (where h.expires_at > clock), 0)
  into expired, available
  from core.held_in_lots(u.id, u.held_included, u.held_purchased) h;

  return query
  select
    u.transaction_count + 1, clock, 'balance', 0::bigint, u.included_credits + u.purchased_credits, null,
    format(
      'In the books: %s included and %s purchased. Of that %s have expired, %s are held by running runs, %s can be spent.',
      u.included_credits, u.purchased_credits, expired, u.held_included + u.held_purchased, available
    );
end
$$;

comment on function ops.explain_balance(text) is
  'How a user''s credits came to be: each movement in order with the balance that follows from it, then the books'' own figure and what of it '
  'can be spent. "user" is an id, e-mail or username. Errors: PR404 unknown user. Spec 4.8, 12.';
--! EndIncluded credits/explain_balance.sql
--! Included runs/explain_refusal.sql
create or replace function ops.explain_refusal("user" text)
returns table (
  step bigint, at timestamptz, reason text, refusals bigint, used numeric, "limit" numeric, unit text, explanation text, what_to_do text
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  clock timestamptz := core.now();
  target_id uuid := core.find_user("user");
  u public.users;
  tier text;
  rows bigint;
  refusal json;
  l public.cost_limits_config;
  s public.settings;
  useful numeric := coalesce(core.cheapest_useful_cost(clock), 0);
  free bigint;
begin
  select x.* into u from public.users x where x.id = target_id;
  u := core.roll_windows(u, clock);
  tier := core.tier_now(u);

  return query
  select
    row_number() over (order by r.last_at desc, r.reason), r.last_at, r.reason, r.refusals, r.used_value, r.limit_value, r.unit,
    format('The last of %s in the hour from %s.', r.refusals, r.hour_start), core.remedy_of(r.reason, u.id, tier)
  from (select x.* from ops.refusals x where x.user_id = u.id order by x.last_at desc, x.reason limit 20) r
  order by 1;
  get diagnostics rows = row_count;

  l := core.find_limits(tier);
  select x.* into s from public.settings x;
  free := greatest(0, u.included_credits + u.purchased_credits - u.held_included - u.held_purchased);
  refusal := core.refuse_by_standing(u, l, s.runs_enabled, clock);
  -- What stands in the way of the smallest run of the cheapest model: no credit, or a window that only purchased credits pass.
  if refusal is null and (free < 1 or u.purchased_credits <= u.held_purchased and core.used_up(u, l, useful, clock) is not null) then
    refusal := core.refuse_by_means(
      u, l, s, 1, useful, l.throttle_on_exceed and not coalesce(u.limits_waived_until > clock, false),
      free < 1 and u.included_credits + u.purchased_credits >= 1, clock
    );
  end if;
  return query select
    rows + 1, clock, coalesce(refusal ->> 'code', 'none'), null::bigint, (refusal ->> 'used')::numeric, (refusal ->> 'limit')::numeric,
    refusal ->> 'unit',
    case
      when refusal is not null then 'Now, whatever they ask for: ' || (refusal ->> 'message')
      else format(
        'Now nothing stands in the way but what a run costs: %s credits are free; tier %s.', free, tier
      )
    end,
    case
      when refusal is not null then core.remedy_of(refusal ->> 'code', u.id, tier)
      else format('What is left of each window: select * from ops.explain_throttle(%L);', u.id)
    end;
end
$$;

comment on function ops.explain_refusal(text) is
  'Why a user was refused: their newest refusals (at most 20 rows, one for each reason and hour) with what was used of which limit and what to '
  'do about it, and at last what would refuse any run of theirs now, or how many credits are free. "user" is an id, e-mail or username. '
  'Call: select * from ops.explain_refusal(''user@example.com''); Errors: PR404 unknown user. Spec 3.7, 12.';
--! EndIncluded runs/explain_refusal.sql
--! Included analytics/read_user_costs.sql
create or replace function api.read_user_costs(user_id uuid, target_user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  clock timestamptz := core.now();
  target_id uuid := core.find_user(read_user_costs.target_user_id::text);
  u public.users;
  l public.cost_limits_config;
  tier text;
  revenue numeric;
begin
  perform core.check_admin(read_user_costs.user_id);
  select x.* into u from public.users x where x.id = target_id;
  u := core.roll_windows(u, clock);
  tier := core.tier_now(u);
  select c.* into l from public.cost_limits_config c where c.tier_name = tier;
  select coalesce(sum(s.monthly_amount), 0) into revenue from core.paying_subscriptions(clock) s where s.user_id = u.id;

  return json_build_object(
    'user_id', u.id,
    'username', u.username,
    'email', u.email,
    'is_admin', u.is_admin,
    'user_created_at', u.created_at,
    'closed_at', u.closed_at,
    'last_request_at', u.last_request_at,
    'tier', tier,
    'tier_override', u.tier_override,
    'prpm_plus_status', u.prpm_plus_status,
    'entitled_until', u.entitled_until,
    'monthly_revenue', core.dollars(revenue),
    'current_month_cost', core.dollars(u.current_month_api_cost),
    'current_margin_percent', round(100 * (revenue - u.current_month_api_cost) / nullif(revenue, 0), 2),
    'cost_limit', core.dollars(l.monthly_cost_limit),
    'percent_used', round(100 * u.current_month_limited_cost / l.monthly_cost_limit, 2),
    'lifetime_cost', core.dollars(u.lifetime_api_cost),
    'total_requests', u.total_requests,
    'is_throttled', core.throttled_at(u, clock),
    'throttled_reason', u.throttled_reason,
    'throttled_by', case when u.is_throttled then coalesce(u.throttled_by, 'plain update') end,
    'throttled_at', u.throttled_at,
    'throttled_until', case when u.throttled_by is not null then u.throttled_until end,
    'limits_waived_until', u.limits_waived_until,
    'windows', core.describe_windows(u, l),
    'credits', api.read_credits(u.id),
    'lots', core.describe_lots(u.id),
    'runs', core.describe_latest_runs(u.id),
    'refusals', core.describe_refusals(u.id),
    'explanation', (select json_agg(e order by e.step) from ops.explain_throttle(u.id::text) e),
    'as_of', clock
  );
end
$$;

comment on function api.read_user_costs(uuid, uuid) is
  'One user''s figures as of now, for an administrator, as a JSON object: who they are, tier, revenue, cost and margin of the month (US '
  'dollars and percent), throttle, windows with use, hold and limit, credits as api.read_credits, the newest 50 lots, 20 runs and 20 '
  'refusals, and the rows of ops.explain_throttle. Errors: PR403; PR404 unknown user. Spec 8.3.';
--! EndIncluded analytics/read_user_costs.sql
--! Included credits/audit_purchases.sql
create or replace function core.audit_purchases(first_user uuid, last_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  return query
  select p.user_id, problem.check_name, 'purchase ' || p.id, problem.expected, problem.actual
  from public.purchases p
  cross join lateral (
    select
      p.paid_at is not null as is_paid,
      case when p.paid_at is not null then floor(p.credits * least(p.paid_amount, p.refunded_amount + p.disputed_amount) / p.paid_amount) else 0 end as owed
  ) rule
  left join (
    select
      t.user_id,
      t.purchase_id,
      coalesce(sum(t.amount) filter (where t.debit = 'issued'), 0) as granted,
      coalesce(sum(t.amount) filter (where t.credit = 'clawed_back'), 0)
        - coalesce(sum(t.amount) filter (where t.debit = 'clawed_back'), 0) as taken_back
    from public.credit_transactions t
    where t.purchase_id is not null and t.user_id between first_user and last_user
    group by t.user_id, t.purchase_id
  ) f on f.user_id = p.user_id and f.purchase_id = p.id
  cross join lateral (values
    ('purchase_credits', (case when rule.is_paid then p.credits else 0 end)::text, coalesce(f.granted, 0)::text),
    ('purchase_taken_back', coalesce(f.taken_back, 0)::text, p.credits_taken_back::text),
    ('purchase_refund', rule.owed::text, (p.credits_taken_back + p.shortfall)::text),
    ('purchase_amount', (case when rule.is_paid then p.price end)::text, p.paid_amount::text),
    ('purchase_refunded_amount', 'at most ' || coalesce(p.paid_amount, p.price)::text, case
      when p.refunded_amount > coalesce(p.paid_amount, p.price) then p.refunded_amount::text
      else 'at most ' || coalesce(p.paid_amount, p.price)::text
    end),
    ('purchase_status', case
      when not rule.is_paid then 'not paid'
      when p.refunded_amount = 0 then 'paid'
      when p.refunded_amount < p.paid_amount then 'partly_refunded'
      else 'refunded'
    end, case when p.status in ('pending', 'failed', 'expired', 'needs_review') then 'not paid' else p.status end)
  ) problem (check_name, expected, actual)
  where p.user_id between first_user and last_user and problem.expected is distinct from problem.actual;
end
$$;

comment on function core.audit_purchases(uuid, uuid) is
  'Part of ops.audit_books: of each purchase what was granted, and that credits taken back and shortfall are together '
  'floor(credits × (refunded + disputed) / paid). Of users between two ids, both included. Spec 4.6.';
--! EndIncluded credits/audit_purchases.sql
drop function if exists core.standings(timestamptz);
--! Included limits/standings.sql
create or replace function core.standings(now timestamptz)
returns table (user_id uuid, username text, standing text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  useful numeric := coalesce(core.cheapest_useful_cost(now), 0);
  runs_enabled boolean := (select s.runs_enabled from public.settings s);
  u public.users;
  l public.cost_limits_config;
  tier text;
begin
  for u in select x.* from public.users x where x.closed_at is null loop
    tier := core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now);
    l := core.find_limits(tier);
    user_id := u.id;
    username := u.username;
    standing := coalesce(l.tier_name, tier) || ': ' || core.standing_of(core.roll_windows(u, now), l, useful, runs_enabled, now);
    return next;
  end loop;
end
$$;

comment on function core.standings(timestamptz) is
  'How everybody stands, with their names: their tier, and core.standing_of. Reads every user: for previews, not for runs. Spec 3.4.';
--! EndIncluded limits/standings.sql
--! Included limits/judge_throttle.sql
create or replace function core.judge_throttle(user_id uuid, now timestamptz)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  l public.cost_limits_config;
  used_up text;
  reason text;
begin
  select x.* into strict u from public.users x where x.id = judge_throttle.user_id for no key update;
  if u.is_throttled and (u.throttled_by is null or u.throttled_by = 'operator' and coalesce(u.throttled_until > now, true)) then
    return true;
  end if;

  u := core.roll_windows(u, now);
  l := core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now));
  used_up := core.used_up_window(u, now);
  if used_up is null then
    if u.is_throttled or u.throttled_by is not null then
      update public.users x
      set is_throttled = false, throttled_reason = null, throttled_by = null, throttled_at = null, throttled_until = null
      where x.id = u.id;
    end if;
    return false;
  end if;

  reason := case
    when used_up = 'month' then format('%s: %s of %s dollars used this month', l.tier_name, trim_scale(round(u.current_month_limited_cost, 6)), l.monthly_cost_limit)
    else format('%s: %s of %s dollars used today', l.tier_name, trim_scale(round(u.current_day_limited_cost, 6)), l.daily_cost_limit)
  end;
  update public.users x
  set
    is_throttled = true,
    throttled_by = 'limit',
    throttled_at = case when u.is_throttled then u.throttled_at else now end,
    throttled_until = case when used_up = 'month' then u.month_ends_at else u.day_ends_at end,
    throttled_reason = reason
  where x.id = u.id;
  return true;
end
$$;

comment on function core.judge_throttle(uuid, timestamptz) is
  'Sets or ends the throttle that a cost limit gives: set while a window that throttles is used up, ended when it has closed, the limit '
  'was raised, the tier rose or limits are waived. An operator''s throttle is left until lifted or past its end. Returns whether the user '
  'is throttled now. Locks the user''s row. Spec 3.4, 3.5.';
--! EndIncluded limits/judge_throttle.sql
--! Included runs/end_anonymous_runs.sql
create or replace function ops.end_anonymous_runs()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  batch integer := (select s.job_batch from public.settings s);
  ended bigint;
begin
  with late as materialized (
    select r.id
    from public.anonymous_runs r
    where r.status = 'running' and r.hold_expires_at <= now
    order by r.hold_expires_at
    limit batch
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
--! Included catalog/change_row.sql
create or replace function core.change_row(kind text, name text, changes jsonb, adds boolean)
returns json
language plpgsql
set search_path = ''
as $$
declare
  t record;
  field text;
  key text := case when change_row.kind = 'settings' then 'true' else change_row.name end;
  was jsonb;
  becomes jsonb;
  broken text;
begin
  select distinct f.table_name, f.key_column into t from core.config_fields() f where f.kind = change_row.kind;
  if not found then
    raise exception 'kind is none of limits, plans, packs, models, settings' using errcode = 'PR400', detail = 'kind';
  end if;
  if jsonb_typeof(changes) is distinct from 'object' then
    raise exception 'changes is no object of values by field' using errcode = 'PR400', detail = 'changes', hint = 'As in {"monthly_cost_limit": 0.40}.';
  end if;
  select c into field
  from jsonb_object_keys(changes) c
  where not exists (select from core.config_fields() f where f.kind = change_row.kind and f.field = c);
  if field is not null then
    raise exception '% has no field % that can be changed', change_row.kind, field using errcode = 'PR400', detail = field;
  end if;

  execute format('select to_jsonb(x) from public.%I x where x.%I::text = $1 for no key update', t.table_name, t.key_column) into was using key;
  if not adds and was is null then
    raise exception 'there is no % in %', change_row.name, change_row.kind using errcode = 'PR404', detail = 'name';
  elsif adds then
    if was is not null then
      raise exception '% is in % already', change_row.name, change_row.kind using errcode = 'PR409', detail = 'name';
    end if;
    field := 'name';
    case change_row.kind
      when 'limits' then
        insert into public.cost_limits_config (tier_name) values (key);
      when 'plans' then
        insert into public.plans (plan, tier_name, monthly_price, monthly_credits)
        select key, p.tier_name, p.monthly_price, p.monthly_credits from jsonb_populate_record(null::public.plans, changes) p;
      when 'packs' then
        insert into public.packs (pack, credits, price)
        select key, p.credits, p.price from jsonb_populate_record(null::public.packs, changes) p;
      else
        raise exception 'nobody can add to %', change_row.kind using errcode = 'PR400', detail = 'kind';
    end case;
  end if;

  -- One by one, so that a value that cannot be is known by its field.
  for field in select c from jsonb_object_keys(changes) c loop
    execute format(
      'update public.%1$I x set %2$I = (jsonb_populate_record(null::public.%1$I, $2)).%2$I where x.%3$I::text = $1',
      t.table_name, field, t.key_column
    ) using key, changes;
  end loop;
  execute format('select to_jsonb(x) from public.%I x where x.%I::text = $1', t.table_name, t.key_column) into becomes using key;

  return (
    select coalesce(json_agg(json_build_object('field', f.field, 'was', was -> f.field, 'becomes', becomes -> f.field) order by f.place), '[]')
    from core.config_fields() f
    where f.kind = change_row.kind and was -> f.field is distinct from becomes -> f.field
  );
exception
  when check_violation or not_null_violation or foreign_key_violation or unique_violation or data_exception then
    get stacked diagnostics broken = constraint_name;
    broken := coalesce(nullif(broken, ''), substring(sqlerrm from 'constraint "([^"]+)"')); -- another node says it in the message alone
    raise exception '%', coalesce((
      select format('%s: it must hold that %s', field, substring(pg_catalog.pg_get_constraintdef(c.oid) from '^CHECK \((.*)\)$'))
      from pg_catalog.pg_constraint c
      where c.conname = broken and c.contype = 'c' and c.conrelid = ('public.' || t.table_name)::regclass
    ), sqlerrm)
      using errcode = 'PR400', detail = field;
end
$$;

comment on function core.change_row(text, text, jsonb, boolean) is
  'Changes fields of one row of what core.config_fields lists, as a plain UPDATE would, or adds a tier, plan or pack. changes is an object by '
  'field. Returns the fields that differ then, as a JSON array of {field, was, becomes}. The triggers of the tables note it in audit_log. '
  'Errors: PR400 naming the field or kind; PR404 no such row; PR409 one that is there already. Spec 3.1, 12.';
--! EndIncluded catalog/change_row.sql
--! Included limits/throttled_now.sql
create or replace view ops.throttled_now as
select
  u.throttled_at,
  u.id as user_id,
  u.email,
  core.tier_now(row(u.*)::public.users) as tier_name,
  coalesce(u.throttled_by, 'plain update') as throttled_by,
  u.throttled_reason,
  case when u.throttled_by is not null then u.throttled_until end as throttled_until,
  case when u.month_ends_at > (select core.now()) then u.current_month_limited_cost else 0 end as month_limited_cost_dollars,
  case when u.day_ends_at > (select core.now()) then u.current_day_limited_cost else 0 end as day_limited_cost_dollars,
  format('select * from ops.release_throttle(%L, reason => %L)', u.id, '…') as lift_with
from public.users u
where u.is_throttled and core.throttle_holds(u.throttled_by, u.throttled_until, (select core.now()))
order by u.throttled_at desc nulls last;

comment on view ops.throttled_now is
  'Who is throttled, why and until when? Newest first; throttles that are past their end are left out. Spec 3.4, 12.';
comment on column ops.throttled_now.throttled_at is 'Since when; null for a plain UPDATE.';
comment on column ops.throttled_now.user_id is 'Who.';
comment on column ops.throttled_now.email is 'Verified e-mail, or null.';
comment on column ops.throttled_now.tier_name is 'Tier by core.tier_now.';
comment on column ops.throttled_now.throttled_by is 'limit, operator (ops.throttle_user), or plain update of the column.';
comment on column ops.throttled_now.throttled_reason is 'Why, in words.';
comment on column ops.throttled_now.throttled_until is 'When it ends by itself; null: when it is lifted.';
comment on column ops.throttled_now.month_limited_cost_dollars is 'US dollars this month that count against the limit.';
comment on column ops.throttled_now.day_limited_cost_dollars is 'US dollars today that count against the limit.';
comment on column ops.throttled_now.lift_with is 'A call to paste.';
--! EndIncluded limits/throttled_now.sql
--! Included limits/users_at_risk.sql
create or replace view ops.users_at_risk as
select
  u.id as user_id,
  u.email,
  t.tier_name,
  u.current_month_limited_cost as limited_cost_dollars,
  u.current_month_api_cost as cost_dollars,
  t.monthly_cost_limit as limit_dollars,
  round(100 * u.current_month_limited_cost / t.monthly_cost_limit, 1) as percent_of_limit,
  u.is_throttled and core.throttle_holds(u.throttled_by, u.throttled_until, (select core.now())) as is_throttled,
  u.throttled_until,
  u.month_ends_at as resets_at,
  u.last_request_at
from public.users u
join public.cost_limits_config t on t.tier_name = core.tier_now(row(u.*)::public.users)
where u.current_month_limited_cost > 0
  and u.month_ends_at > (select core.now())
  and u.current_month_limited_cost > 0.75 * t.monthly_cost_limit
order by u.last_request_at desc nulls last;

comment on view ops.users_at_risk is
  'Who has used more than 75 % of the monthly limit of their true tier? Latest run first. Counts only cost that counts against limits, and '
  'only while its month lasts. Spec 3.3, 12.';
comment on column ops.users_at_risk.user_id is 'Who.';
comment on column ops.users_at_risk.email is 'Verified e-mail, or null.';
comment on column ops.users_at_risk.tier_name is 'Tier by core.tier_now.';
comment on column ops.users_at_risk.limited_cost_dollars is 'US dollars this month that count against the limit.';
comment on column ops.users_at_risk.cost_dollars is 'US dollars this month in all, what purchased credits paid for included.';
comment on column ops.users_at_risk.limit_dollars is 'US dollars: the tier''s monthly limit.';
comment on column ops.users_at_risk.percent_of_limit is 'Percent of the limit used; above 100 where limits do not throttle.';
comment on column ops.users_at_risk.is_throttled is 'True while throttled.';
comment on column ops.users_at_risk.throttled_until is 'When the throttle ends by itself, or null.';
comment on column ops.users_at_risk.resets_at is 'End of the month window.';
comment on column ops.users_at_risk.last_request_at is 'When the last run was let in.';
--! EndIncluded limits/users_at_risk.sql
--! Included limits/tier_differences.sql
create or replace view ops.tier_differences as
select * from (
  select
    u.last_request_at,
    u.id as user_id,
    u.email,
    case
      when u.prpm_plus_status is distinct from 'active' then 'free'
      when exists (select from public.organization_members m where m.user_id = u.id) then 'prpm_plus_org'
      else 'prpm_plus_individual'
    end as guide_tier,
    core.tier_now(row(u.*)::public.users) as true_tier,
    u.tier_override,
    u.plan_tier,
    u.entitled_until,
    u.prpm_plus_status
  from public.users u
) t
where t.guide_tier <> t.true_tier
order by t.last_request_at desc nulls last;

comment on view ops.tier_differences is
  'For whom is the tier in the guide''s query not the true one? Its CASE knows neither overrides, further plans, verification of organizations '
  'nor tiers that are no longer active. Latest run first. Spec 12.';
comment on column ops.tier_differences.last_request_at is 'When the last run was let in.';
comment on column ops.tier_differences.user_id is 'Who.';
comment on column ops.tier_differences.email is 'Verified e-mail, or null.';
comment on column ops.tier_differences.guide_tier is 'Tier by the guide''s CASE.';
comment on column ops.tier_differences.true_tier is 'Tier by core.tier_now: the one whose limits hold.';
comment on column ops.tier_differences.tier_override is 'What an operator gave, or null.';
comment on column ops.tier_differences.plan_tier is 'Tier of the plan last paid for, or null.';
comment on column ops.tier_differences.entitled_until is 'Until when plan_tier holds.';
comment on column ops.tier_differences.prpm_plus_status is 'The subscription''s state as the guide reads it.';
--! EndIncluded limits/tier_differences.sql
--! Included limits/users_with_needless_throttles.sql
create or replace function core.users_with_needless_throttles(now timestamptz, after uuid, most integer)
returns setof uuid
language sql
stable
begin atomic
  select u.id
  from public.users u
  where u.id > users_with_needless_throttles.after and u.is_throttled and u.throttled_by = 'limit'
    and core.used_up_window(row(u.*)::public.users, users_with_needless_throttles.now) is null
  order by u.id
  limit users_with_needless_throttles.most;
end;

comment on function core.users_with_needless_throttles(timestamptz, uuid, integer) is
  'Users whom a cost limit throttles though none is used up any more: it was raised, waived, or their tier rose. In the order of ids, after one, at '
  'most so many. Spec 3.4, 7.1.';
--! EndIncluded limits/users_with_needless_throttles.sql
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
    select core.used_up_window(row(u.*)::public.users, core.now()) is not null into still from public.users u where u.id = target;
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
--! Included credits/audit_periods.sql
create or replace function core.audit_periods(first_user uuid, last_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  return query
  select p.user_id, problem.check_name, 'period ' || rule.key, problem.expected, problem.actual
  from public.subscription_periods p
  cross join lateral (
    select
      p.subscription_id || '/' || extract(epoch from p.period_start at time zone 'UTC')::bigint::text as key,
      case
        when p.paid_amount > 0 then floor(p.credits * least(p.paid_amount, p.refunded_amount + p.disputed_amount) / p.paid_amount)
        else 0
      end as owed
  ) rule
  left join public.credit_lots granted on granted.user_id = p.user_id and granted.source = 'subscription' and granted.source_id = rule.key
  left join (
    select
      l.user_id,
      l.source_id,
      coalesce(sum(t.amount) filter (where t.credit = 'clawed_back'), 0)
        - coalesce(sum(t.amount) filter (where t.debit = 'clawed_back'), 0) as taken_back
    from public.credit_lots l
    join public.credit_transactions t on t.user_id = l.user_id and t.lot_id = l.id and t.type = 'refund'
    where l.user_id between first_user and last_user and l.source in ('subscription', 'rollover')
    group by l.user_id, l.source_id
  ) f on f.user_id = p.user_id and f.source_id = rule.key
  cross join lateral (values
    ('period_credits', coalesce(granted.granted, 0)::text, p.credits::text),
    ('period_state', case when p.paid_at is null then 'due' else 'paid' end, p.state),
    ('period_taken_back', coalesce(f.taken_back, 0)::text, p.credits_taken_back::text),
    ('period_refund', rule.owed::text, (p.credits_taken_back + p.shortfall)::text)
  ) problem (check_name, expected, actual)
  where p.user_id between first_user and last_user and problem.expected is distinct from problem.actual;

  -- What was refunded and disputed of each, by the refunds and disputes that stand.
  return query
  select x.user_id, 'reversed_amount', x.object, x.expected::text, x.actual::text
  from (
    select
      pay.user_id,
      coalesce('purchase ' || pay.purchase_id, 'period ' || pay.subscription_id || '/' || extract(epoch from pay.period_start)::bigint) as object,
      least(pay.paid_amount, r.refunded) + r.disputed as expected,
      coalesce(p.refunded_amount + p.disputed_amount, q.refunded_amount + q.disputed_amount, 0) as actual
    from public.payments pay
    cross join lateral core.reversed_of(pay.user_id, pay.id) r
    left join public.purchases p on p.user_id = pay.user_id and p.id = pay.purchase_id
    left join public.subscription_periods q
      on q.user_id = pay.user_id and q.subscription_id = pay.subscription_id and q.period_start = pay.period_start
    where pay.kind <> 'unknown' and pay.needs_review is null and pay.user_id between first_user and last_user
  ) x
  where x.expected <> x.actual;
end
$$;

comment on function core.audit_periods(uuid, uuid) is
  'Part of ops.audit_books: of each paid period what was granted, that credits taken back and shortfall are together floor(credits × '
  '(refunded + disputed) / paid), and of each payment that those are its refunds and disputes that stand. Of users between two ids, both included. Spec 4.3, 4.6.';
--! EndIncluded credits/audit_periods.sql
--! Included runs/audit_users.sql
create or replace function core.audit_users(first_user uuid, last_user uuid)
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
  with figures as (
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
      where x.id between first_user and last_user
    ) w
    left join public.runs r on r.user_id = w.id
    group by w.id
  ),
  wrong as materialized (
    select
      f.*, u.lifetime_api_cost, u.total_requests, u.current_month_api_cost, u.current_month_limited_cost, u.current_month_requests,
      u.current_day_api_cost, u.current_day_limited_cost, u.hour_requests, u.last_request_at as requested_at
    from figures f
    join public.users u on u.id = f.id
    where (f.cost, f.runs, f.month_cost, f.month_limited, f.month_runs, f.day_cost, f.day_limited, f.hour_runs) is distinct from (
        u.lifetime_api_cost, u.total_requests, u.current_month_api_cost, u.current_month_limited_cost, u.current_month_requests,
        u.current_day_api_cost, u.current_day_limited_cost, u.hour_requests
      ) or f.last_request_at is distinct from u.last_request_at
  )
  select u.id, problem.check_name, 'user', trim_scale(problem.expected)::text, trim_scale(problem.actual)::text
  from wrong u
  cross join lateral (values
    ('lifetime_api_cost', u.cost, u.lifetime_api_cost),
    ('total_requests', u.runs, u.total_requests),
    ('current_month_api_cost', u.month_cost, u.current_month_api_cost),
    ('current_month_limited_cost', u.month_limited, u.current_month_limited_cost),
    ('current_month_requests', u.month_runs, u.current_month_requests),
    ('current_day_api_cost', u.day_cost, u.current_day_api_cost),
    ('current_day_limited_cost', u.day_limited, u.current_day_limited_cost),
    ('hour_requests', u.hour_runs, u.hour_requests),
    ('last_request_at', coalesce(extract(epoch from u.last_request_at), 0), coalesce(extract(epoch from u.requested_at), 0))
  ) problem (check_name, expected, actual)
  where problem.expected <> problem.actual;

  -- What running runs hold.
  return query
  with held as (
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
    where r.status = 'running' and r.user_id between first_user and last_user
    group by x.id
  ),
  holding as materialized (
    select
      u.id, u.held_included, u.held_purchased, u.month_held_cost, u.day_held_cost, u.open_runs, u.holds_expire_at, f.id is null as is_idle,
      f.held_included as true_included, f.held_purchased as true_purchased, f.month_held, f.day_held, f.open_runs as true_runs, f.first_expiry
    from public.users u
    left join held f on f.id = u.id
    where u.id between first_user and last_user
      and (f.id is not null or u.held_included <> 0 or u.held_purchased <> 0 or u.month_held_cost <> 0 or u.day_held_cost <> 0
        or u.open_runs <> '{}' or u.holds_expire_at <> 'infinity')
  )
  select u.id, problem.check_name, 'user', problem.expected, problem.actual
  from holding u
  cross join lateral (values
    ('held_included', coalesce(u.true_included, 0)::text, u.held_included::text, coalesce(u.true_included, 0) = u.held_included),
    ('held_purchased', coalesce(u.true_purchased, 0)::text, u.held_purchased::text, coalesce(u.true_purchased, 0) = u.held_purchased),
    ('month_held_cost', trim_scale(coalesce(u.month_held, 0))::text, trim_scale(u.month_held_cost)::text, coalesce(u.month_held, 0) = u.month_held_cost),
    ('day_held_cost', trim_scale(coalesce(u.day_held, 0))::text, trim_scale(u.day_held_cost)::text, coalesce(u.day_held, 0) = u.day_held_cost),
    ('open_runs', coalesce(u.true_runs, '{}')::text, u.open_runs::text,
      coalesce(u.true_runs, '{}') = array(select o.id from unnest(u.open_runs) o (id) order by o.id)),
    ('holds_expire_at', 'at most ' || coalesce(u.first_expiry, 'infinity'), u.holds_expire_at::text, case
      when u.is_idle then u.holds_expire_at = 'infinity'
      else u.holds_expire_at <= u.first_expiry
    end)
  ) problem (check_name, expected, actual, agrees)
  where problem.agrees is not true;

  -- The newest run, by which begin_run knows that an id is new.
  return query
  select u.id, 'last_run_id', 'user', newest.id::text, u.last_run_id::text
  from public.users u
  left join lateral (select r.id from public.runs r where r.user_id = u.id order by r.id desc limit 1) newest on true
  where u.id between first_user and last_user and newest.id is distinct from u.last_run_id;

  -- No more held than there is.
  return query
  select u.id, 'holds_are_covered', 'user', format('at most %s included, %s purchased', u.included_credits, u.purchased_credits),
    format('%s included, %s purchased', u.held_included, u.held_purchased)
  from public.users u
  where u.id between first_user and last_user
    and (u.held_included not between 0 and u.included_credits or u.held_purchased not between 0 and u.purchased_credits);
end
$$;

comment on function core.audit_users(uuid, uuid) is
  'Part of ops.audit_books: each user''s window, lifetime and hold figures recomputed from runs. Of users between two ids, both included. Spec 3.2, 3.3, 4.2.';
--! EndIncluded runs/audit_users.sql
--! Included runs/audit_runs.sql
create or replace function core.audit_runs(first_user uuid, last_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '256MB'
as $$
#variable_conflict use_column
begin
  return query
  with paid as (
    select
      t.user_id,
      t.run_id,
      sum(x.change) as credits,
      coalesce(sum(x.change) filter (where l.kind = 'monthly'), 0) as monthly,
      coalesce(sum(x.change) filter (where l.kind = 'rollover'), 0) as rollover,
      coalesce(sum(x.change) filter (where l.kind = 'signup'), 0) as signup,
      coalesce(sum(x.change) filter (where l.kind = 'bonus'), 0) as bonus,
      coalesce(sum(x.change) filter (where l.kind = 'purchased'), 0) as purchased,
      coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind <> 'purchased'), 0) as included_value,
      coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind = 'purchased'), 0) as purchased_value
    from public.credit_transactions t
    cross join lateral (select least(t.amount, 1000000000)::integer * case when t.debit = 'lot' then 1 else -1 end as change) x
    left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
    where t.run_id is not null and t.user_id between first_user and last_user
    group by t.user_id, t.run_id
  ),
  said as (
    select t.user_id, t.run_id, t.answer <> '' as anything
    from public.runs x
    join public.run_texts t on t.user_id = x.user_id and t.session_id = x.session_id and t.run_id = x.id
    where x.status = 'expired' and x.user_id between first_user and last_user
  ),
  figures as (
    select
      r.*,
      r.refunded_at is not null as is_refunded,
      r.status <> 'running' as has_ended,
      coalesce(r.status in ('completed', 'stopped', 'failed') or r.status = 'expired' and coalesce(
        said.anything, r.output_tokens > 0
      ), false) as is_charged,
      ceil(
        ceil(greatest(1, (r.input_tokens::bigint + r.output_tokens + r.tokens_per_credit - 1) / r.tokens_per_credit) * r.credit_multiplier)
        * r.prompt_multiplier
      ) as charge,
      (
        (r.input_tokens - r.cached_tokens - r.cache_write_tokens) * p.input
        + r.cached_tokens * coalesce(p.cached_read, p.input)
        + r.cache_write_tokens * coalesce(p.cache_write, p.input)
        + r.output_tokens * p.output
      ) * 0.000001 as true_cost,
      p.model as price_model,
      p.valid as price_valid,
      -- A price that was being replaced while the run began was still the one that it could see.
      tstzrange(lower(p.valid), upper(p.valid) + interval '1 minute') @> r.started_at as is_of_its_time,
      coalesce(f.credits, 0) as paid,
      coalesce(f.credits - f.purchased, 0) as paid_included,
      coalesce(f.purchased, 0) as paid_purchased,
      coalesce(f.included_value, 0) as paid_included_value,
      coalesce(f.purchased_value, 0) as paid_purchased_value,
      -- As jsonb writes it, shortest key first: making 1 million of them to compare would take most of the time.
      '{' || concat_ws(', ',
        '"bonus": ' || nullif(f.bonus, 0), '"signup": ' || nullif(f.signup, 0), '"monthly": ' || nullif(f.monthly, 0),
        '"rollover": ' || nullif(f.rollover, 0), '"purchased": ' || nullif(f.purchased, 0)
      ) || '}' as paid_by_kind
    from public.runs r
    left join public.model_prices p on p.id = r.price_id
    left join paid f on f.user_id = r.user_id and f.run_id = r.id
    left join said on said.user_id = r.user_id and said.run_id = r.id
    where r.user_id between first_user and last_user
  ),
  expectations as (
    select
      g.*,
      case when g.has_ended then g.true_cost else 0 end as expected_cost,
      case when g.is_charged and not g.is_refunded then g.charge else 0 end as expected_charge,
      case
        when g.is_refunded and g.is_charged then (
          select core.limited_part(
            g.cost, g.charge::bigint, f.credits - f.purchased, f.purchased, g.hold_included = 0 and g.hold_purchased > 0
          )
          from (
            select coalesce(sum(k.value::bigint), 0)::bigint, coalesce(sum(k.value::bigint) filter (where k.key = 'purchased'), 0)::bigint
            from jsonb_each_text(g.refunded_by_kind) k
          ) f (credits, purchased)
        )
        when not g.has_ended or g.hold_included = 0 and g.hold_purchased > 0 and g.paid_included = 0 then 0
        when g.paid_purchased = 0 then g.cost
        else round(g.cost * (g.credits + g.shortfall - g.paid_purchased) / nullif(g.credits + g.shortfall, 0), 12)
      end as expected_limited_cost
    from figures g
  ),
  wrong as materialized (
    select e.*
    from expectations e
    where (
      e.cost = e.expected_cost and e.credits + e.shortfall = e.expected_charge and e.credits = e.paid
      and e.included_value = e.paid_included_value and e.purchased_value = e.paid_purchased_value
      and e.limited_cost = e.expected_limited_cost and coalesce(e.credits_by_kind, '{}')::text = e.paid_by_kind
      and e.price_model = e.model and e.is_of_its_time and e.status in ('completed', 'stopped', 'failed') and e.finished_at is not null
      and e.cached_tokens >= 0 and e.cache_write_tokens >= 0 and e.output_tokens >= 0 and e.input_tokens >= e.cached_tokens + e.cache_write_tokens
      and e.hold_included >= 0 and e.hold_purchased >= 0 and e.hold_cost >= 0
    ) is not true
  )
  select e.user_id, problem.check_name, 'run ' || e.id, problem.expected, problem.actual
  from wrong e
  cross join lateral (values
    ('run_status', 'a known status, finished_at when it ended', format('%s, finished_at %s', e.status, coalesce(e.finished_at::text, 'null')),
      e.status in ('running', 'completed', 'stopped', 'failed', 'released', 'expired') and e.has_ended = (e.finished_at is not null)),
    ('run_tokens', 'input at least cached and cache_write, none below 0, none missing',
      format('input %s, cached %s, cache_write %s, output %s', e.input_tokens, e.cached_tokens, e.cache_write_tokens, e.output_tokens),
      not e.has_ended
        or coalesce(least(e.cached_tokens, e.cache_write_tokens, e.output_tokens) >= 0 and e.input_tokens >= e.cached_tokens + e.cache_write_tokens
          and num_nulls(e.input_tokens, e.cached_tokens, e.cache_write_tokens, e.output_tokens) = 0, false)),
    ('run_price', 'a price row of ' || e.model || ' valid at ' || e.started_at, format('%s of %s, valid %s', e.price_id, e.price_model, e.price_valid),
      e.price_model = e.model and e.is_of_its_time),
    ('run_cost', trim_scale(e.expected_cost)::text, trim_scale(e.cost)::text, e.cost = e.expected_cost),
    ('run_charge', e.expected_charge::text, format('%s charged and %s shortfall', e.credits, e.shortfall), e.credits + e.shortfall = e.expected_charge),
    ('run_credits', e.paid::text, e.credits::text, e.credits = e.paid),
    ('run_credits_by_kind', e.paid_by_kind, e.credits_by_kind::text, coalesce(e.credits_by_kind, '{}')::text = e.paid_by_kind),
    ('run_value', format('%s included, %s purchased', trim_scale(e.paid_included_value), trim_scale(e.paid_purchased_value)),
      format('%s included, %s purchased', trim_scale(e.included_value), trim_scale(e.purchased_value)),
      e.included_value = e.paid_included_value and e.purchased_value = e.paid_purchased_value),
    ('run_limited_cost', trim_scale(e.expected_limited_cost)::text, trim_scale(e.limited_cost)::text, e.limited_cost = e.expected_limited_cost),
    ('run_hold', 'holds not below 0', format('%s included, %s purchased, %s dollars', e.hold_included, e.hold_purchased, e.hold_cost),
      least(e.hold_included, e.hold_purchased, e.hold_cost) >= 0)
  ) problem (check_name, expected, actual, agrees)
  where problem.agrees is not true;
end
$$;

comment on function core.audit_runs(uuid, uuid) is
  'Part of ops.audit_books: each run''s cost by its tokens and price row, its charge by spec 1.1 and 1.7, what its transfers paid, by kind, '
  'the cash that had been paid for it, and the part of its cost that counts against limits; of a refunded run that nothing is left of its '
  'charge. A price counts for a minute more than it was valid: who began a run while it was replaced could not see the new one. Of users between two ids, both included. Spec 1.3, 3.3.';
--! EndIncluded runs/audit_runs.sql
--! Included runs/audit_references.sql
create or replace function core.audit_references(first_user uuid, last_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '256MB'
as $$
#variable_conflict use_column
begin
  return query
  select x.user_id, 'reference', x.object, x.expected, 'missing'
  from (
    select r.user_id, 'run ' || r.id, 'session ' || r.session_id
    from public.runs r
    where not exists (select from public.sessions s where s.user_id = r.user_id and s.id = r.session_id)
    union all
    select r.user_id, 'run ' || r.id, format('version %s of package %s', r.package_version, r.package_id)
    from public.runs r
    where not exists (select from public.package_versions v where v.package_id = r.package_id and v.version = r.package_version)
    union all
    select r.user_id, 'run ' || r.id, 'model ' || r.model
    from public.runs r
    where not exists (select from public.models m where m.alias = r.model)
    union all
    select r.user_id, 'run ' || r.id, 'price ' || r.price_id
    from public.runs r
    where not exists (select from public.model_prices p where p.id = r.price_id)
    union all
    select t.user_id, 'text of run ' || t.run_id, 'run of session ' || t.session_id
    from public.run_texts t
    where not exists (select from public.runs r where r.user_id = t.user_id and r.id = t.run_id and r.session_id = t.session_id)
      and not exists (
        select from public.copied_exchanges c where c.user_id = t.user_id and c.session_id = t.session_id and c.run_id = t.run_id
      )
    union all
    select s.user_id, 'session ' || s.id, 'newest run ' || s.last_run_id
    from public.sessions s
    where not exists (select from public.runs r where r.user_id = s.user_id and r.id = s.last_run_id and r.session_id = s.id)
      and (s.forked_token is null or s.last_run_id <> s.id)
    union all
    select k.user_id, 'idempotency key of run ' || k.run_id, 'run ' || k.run_id
    from public.idempotency_keys k
    where not exists (select from public.runs r where r.user_id = k.user_id and r.id = k.run_id)
      and not exists (select from public.comparisons c where c.user_id = k.user_id and c.id = k.run_id)
    union all
    select c.user_id, 'comparison ' || c.id, 'run ' || i.run_id
    from public.comparisons c
    cross join unnest(c.run_ids) i (run_id)
    where not exists (select from public.runs r where r.user_id = c.user_id and r.id = i.run_id)
    union all
    select t.user_id, 'transfer ' || t.id, 'lot ' || t.lot_id
    from public.credit_transactions t
    where not exists (select from public.credit_lots l where l.user_id = t.user_id and l.id = t.lot_id)
    union all
    select t.user_id, 'transfer ' || t.id, 'run ' || t.run_id
    from public.credit_transactions t
    where t.run_id is not null and not exists (select from public.runs r where r.user_id = t.user_id and r.id = t.run_id)
    union all
    select t.user_id, 'transfer ' || t.id, 'purchase ' || t.purchase_id
    from public.credit_transactions t
    where t.purchase_id is not null and not exists (select from public.purchases p where p.user_id = t.user_id and p.id = t.purchase_id)
  ) x (user_id, object, expected)
  where x.user_id between first_user and last_user;

  return query
  select x.user_id, 'reference', x.object, 'user ' || x.user_id, 'missing'
  from (
    select m.user_id, 'member of organization ' || m.organization_id from public.organization_members m
    union all select l.user_id, 'lot ' || l.id from public.credit_lots l
    union all select p.user_id, 'purchase ' || p.id from public.purchases p
    union all select s.user_id, 'subscription ' || s.id from public.subscriptions s
    union all select s.user_id, 'session ' || s.id from public.sessions s
    union all select f.user_id, 'refusals ' || f.reason || ' at ' || f.hour from public.refusals f
  ) x (user_id, object)
  left join public.users u on u.id = x.user_id
  where x.user_id between first_user and last_user and u.id is null;

  return query
  select x.user_id, 'reference', x.object, 'user ' || x.user_id, 'missing'
  from (
    select t.user_id, 'token ' || t.id from public.api_tokens t
    union all select i.user_id, 'identity of ' || i.issuer from public.identities i
    union all select e.user_id, 'e-mail ' || e.email from public.user_emails e
  ) x (user_id, object)
  where x.user_id between first_user and last_user
    and x.user_id not in (select u.id from public.users u where u.id between first_user and last_user);

  return query
  with u as materialized (
    select x.id, x.email from public.users x where x.email is not null and x.id between first_user and last_user
  ),
  e as materialized (
    select x.user_id, x.email from public.user_emails x where x.user_id between first_user and last_user
  )
  select coalesce(u.id, e.user_id), 'email', 'user', coalesce(e.email, 'no row of user_emails'), u.email
  from u
  full join e on e.user_id = u.id and e.email = lower(u.email)
  where u.id is null or e.user_id is null;
end
$$;

comment on function core.audit_references(uuid, uuid) is
  'Part of ops.audit_books: that what rows name exists, which no foreign key says on the hot path, and that verified e-mails of users and '
  'user_emails agree. Of users between two ids, both included. Spec 4.8.';
--! EndIncluded runs/audit_references.sql
--! Included limits/change_config.sql
create or replace function core.change_config(
  kind text, name text, changes jsonb, adds boolean, reason text, by_user uuid, dry_run boolean
)
returns json
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  concerns_runs boolean := change_config.kind in ('limits', 'models', 'settings');
  ids uuid[];
  standings text[];
  changed json;
  effects json;
  notes text[];
begin
  -- The change is made, looked at, and taken back if nobody wanted it yet: so it is seen by the rules that it is for.
  begin
    if concerns_runs then
      select array_agg(s.user_id), array_agg(s.standing) into ids, standings from core.standings(now) s;
    end if;
    changed := core.change_row(change_config.kind, change_config.name, change_config.changes, adds);
    notes := core.describe_config_change(change_config.kind, change_config.name, changed);
    if concerns_runs then
      select json_agg(json_build_object(
        'was', e.was, 'becomes', e.becomes, 'people', e.people, 'who', to_json(e.who[:20])
      ) order by e.people desc, e.was, e.becomes) into effects
      from (
        select
          b.standing as was, s.standing as becomes, count(*) as people,
          array_agg(json_build_object('user_id', s.user_id, 'username', s.username) order by s.username) as who
        from core.standings(now) s
        join unnest(ids, standings) b (user_id, standing) on b.user_id = s.user_id
        where b.standing <> s.standing
        group by b.standing, s.standing
      ) e;
    end if;
    if dry_run then
      raise exception 'taken back' using errcode = 'PR001';
    end if;
    perform core.note_action('change_config', concat_ws(' ', change_config.kind, nullif(change_config.name, 'settings')), reason, case
      when by_user is null then json_build_object('changes', change_config.changes)
      else json_build_object('by', by_user, 'changes', change_config.changes)
    end);
  -- A code that ends in 000 would stand for all of ours.
  exception when sqlstate 'PR001' then
    null;
  end;
  return json_build_object('changed', changed, 'effects', coalesce(effects, '[]'), 'notes', to_json(notes));
end
$$;

comment on function core.change_config(text, text, jsonb, boolean, text, uuid, boolean) is
  'What ops.change_config does for an operator (by_user null) and api.change_config for an administrator. Returns a JSON object: changed (field, was, '
  'becomes), effects (how many people stand differently by it, as core.standings says, and the first 20 of them) and notes. '
  'Errors: as core.change_row; PR400 without a reason. Spec 3.1, 12.';
--! EndIncluded limits/change_config.sql
--! Included accounts/watch_throttle.sql
create or replace function core.watch_throttle()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
begin
  new.throttled_by := null;
  new.throttled_until := null;
  if new.is_throttled then
    new.throttled_at := now;
    return new;
  end if;
  new.throttled_at := null;
  new.throttled_reason := null;

  if core.used_up_window(row(new.*)::public.users, now) is not null then
    raise notice '% is still over a limit of tier %, and will be throttled again by it.', coalesce(new.email, new.username), core.tier_now(row(new.*)::public.users)
      using hint = format('To let them run all the same: select * from ops.waive_limits(%L, until => …, reason => …);', new.id);
  end if;
  return new;
end
$$;

comment on function core.watch_throttle() is
  'Trigger: keeps the columns beside is_throttled true when an operator sets or lifts it with a plain UPDATE, and tells one who lifts it '
  'while a limit would set it again. Correctness does not need it: an unset throttled_by says the same. Spec 3.4, 3.5.';

create or replace trigger watch_throttle
  before update of is_throttled on public.users
  for each row
  when (old.is_throttled is distinct from new.is_throttled and current_user <> 'prpm_owner')
  execute function core.watch_throttle();
--! EndIncluded accounts/watch_throttle.sql
--! Included catalog/change_package.sql
create or replace function api.change_package(
  user_id uuid, package text, description text default null, tags text[] default null, visibility text default null
)
returns table (changed json)
language plpgsql
security definer
set search_path = ''
as $$
declare
  p public.packages := core.own_package(change_package.user_id, change_package.package);
begin
  if p.id is null then
    return;
  end if;
  perform core.check_package(p.name, change_package.description, change_package.tags, change_package.visibility, '0.0.0', '-', '{0,0,0}');
  update public.packages x
  set
    description = coalesce(change_package.description, x.description),
    tags = coalesce(change_package.tags, x.tags),
    visibility = coalesce(change_package.visibility, x.visibility),
    updated_at = core.now()
  where x.id = p.id
  returning x.* into p;
  changed := json_build_object(
    'package_id', p.id, 'name', p.name, 'description', p.description, 'tags', p.tags, 'visibility', p.visibility
  );
  return next;
end
$$;

comment on function api.change_package(uuid, text, text, text[], text) is
  'Changes what is said of a package (id or name) and who sees it, from the next request on; null leaves a thing as it is. Returns {package_id, '
  'name, description, tags, visibility} as they are then; no row: there is none that this user may see. Errors: PR400 naming the field; PR403 it is another''s. Spec 10.6.';
--! EndIncluded catalog/change_package.sql
--! Included catalog/change_version.sql
create or replace function api.change_version(
  user_id uuid, package text, package_version text, deprecated text default null, yanked boolean default null
)
returns table (changed json)
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  p public.packages := core.own_package(change_version.user_id, change_version.package);
  v public.package_versions;
begin
  if length(change_version.deprecated) > 500 then
    raise exception 'why a version is deprecated is said in at most 500 characters' using errcode = 'PR400', detail = 'deprecated';
  end if;
  update public.package_versions x
  set
    deprecated = nullif(coalesce(change_version.deprecated, x.deprecated), ''),
    yanked_at = case when coalesce(change_version.yanked, x.yanked_at is not null) then coalesce(x.yanked_at, now) end
  where x.package_id = p.id and x.version = change_version.package_version
  returning x.* into v;
  if v.package_id is null then
    return;
  end if;
  update public.packages x
  set latest_version = core.newest_version(p.id), updated_at = now
  where x.id = p.id
  returning x.latest_version into p.latest_version;
  changed := json_build_object(
    'package_id', p.id, 'version', v.version, 'deprecated', v.deprecated, 'yanked', v.yanked_at is not null, 'latest_version', p.latest_version
  );
  return next;
end
$$;

comment on function api.change_version(uuid, text, text, text, boolean) is
  'Says that a version of a package (id or name) should be used no longer, and why (blank: no more), or yanks it: it is the newest no '
  'longer, and runs only where it is asked for by its number. Null leaves a thing as it is; false takes a yank back. Returns {package_id, '
  'version, deprecated, yanked, latest_version (null: all are yanked)}; no row: there is none that this user may see. Errors: PR400; PR403 it is another''s. Spec 5.5, 10.6.';
--! EndIncluded catalog/change_version.sql
--! Included catalog/complete_suggested_input.sql
create or replace function api.complete_suggested_input(user_id uuid, usage_id uuid, session_id uuid)
returns table (run_id uuid, is_counted boolean)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  use public.suggested_input_uses;
  i public.suggested_inputs;
  p public.packages;
  tried uuid[];
  done uuid;
begin
  select u.* into use from public.suggested_input_uses u where u.id = complete_suggested_input.usage_id for update;
  if not found then
    raise exception 'there is no such use of a suggested input' using errcode = 'PR404', detail = 'usage_id';
  end if;
  if not exists (
    select from public.sessions s
    where s.user_id = complete_suggested_input.user_id and s.id = complete_suggested_input.session_id and s.deleted_at is null
  ) then
    raise exception 'there is no such session of yours' using errcode = 'PR404', detail = 'session_id';
  end if;
  is_counted := false;
  if use.completed_run_id is not null then
    run_id := (
      select t.run_id from public.run_texts t
      where t.user_id = complete_suggested_input.user_id and t.session_id = complete_suggested_input.session_id and t.run_id = use.completed_run_id
    );
    return next;
    return;
  end if;
  select x.* into strict i from public.suggested_inputs x where x.id = use.suggested_input_id;
  select x.* into strict p from public.packages x where x.id = i.package_id;
  if core.may_publish(complete_suggested_input.user_id, p.author_id, p.organization_id) then
    return next;
    return;
  end if;

  tried := array(
    select t.run_id
    from public.run_texts t
    join public.runs r on r.user_id = t.user_id and r.id = t.run_id
    where t.user_id = complete_suggested_input.user_id and t.session_id = complete_suggested_input.session_id
      and r.package_id = i.package_id and r.status = 'completed' and not r.baseline and r.started_at >= use.used_at
      and btrim(t.question, E' \t\r\n') = btrim(i.suggested_input, E' \t\r\n')
    order by t.run_id
  );
  select x.run_id into done
  from unnest(tried) with ordinality x (run_id, place)
  where not exists (select from public.suggested_input_uses u where u.completed_run_id = x.run_id)
  order by x.place
  limit 1;
  if not found then
    raise exception 'no run of that session is one of this suggested input'
      using errcode = 'PR409', detail = 'session_id', hint = 'It counts once a run of the package with this input, as it is, has completed.';
  end if;
  update public.suggested_input_uses u set completed_run_id = done, completed_at = core.now() where u.id = use.id;
  update public.suggested_inputs x set completed_count = x.completed_count + 1 where x.id = i.id;
  run_id := done;
  is_counted := true;
  return next;
exception
  when unique_violation then
    raise exception 'that run was counted already' using errcode = 'PR409', detail = 'session_id';
end
$$;

comment on function api.complete_suggested_input(uuid, uuid, uuid) is
  'Counts that a suggested input was tried to the end, where it really was: the session is the user''s own, and a run of it completed with the '
  'package''s prompt on exactly that input since it was taken. Once for each use, each run for one use alone, and not of the package''s own '
  'people. Answers the run, and whether it was counted by this call. Errors: PR404 naming usage_id or session_id; PR409 where there is no such '
  'run. Spec 10.4, docs/adr/0036.';
--! EndIncluded catalog/complete_suggested_input.sql
--! Included catalog/create_suggested_input.sql
create or replace function api.create_suggested_input(
  user_id uuid, package text, title text, suggested_input text, description text default null, category text default null,
  difficulty text default null, estimated_credits integer default null, recommended_model text default null, display_order integer default null
)
returns table (created json)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  p public.packages := core.own_package(user_id, package);
  made public.suggested_inputs;
  place integer := display_order;
begin
  if p.id is null then
    return;
  end if;
  if title is null or suggested_input is null then
    raise exception 'a suggested input has a title and a text'
      using errcode = 'PR400', detail = case when title is null then 'title' else 'suggested_input' end;
  end if;
  perform core.check_suggested_input(title, suggested_input, description, category, difficulty, estimated_credits, recommended_model, display_order);
  if (select count(*) from public.suggested_inputs i where i.package_id = p.id and i.is_active) >= 50 then
    raise exception 'the package % has 50 suggested inputs, which is the most', p.name
      using errcode = 'PR409', detail = 'package', hint = 'Delete one of them.';
  end if;
  if place is null then
    select coalesce(max(i.display_order) + 1, 0) into place from public.suggested_inputs i where i.package_id = p.id and i.is_active;
  end if;
  insert into public.suggested_inputs (
    package_id, title, description, suggested_input, category, difficulty, estimated_credits, recommended_model, display_order, created_by, created_at
  ) values (
    p.id, btrim(title), description, btrim(suggested_input), category, coalesce(difficulty, 'beginner'), coalesce(estimated_credits, 1),
    recommended_model, place, user_id, core.now()
  )
  returning * into made;
  created := core.suggested_input_row(made);
  return next;
end
$$;

comment on function api.create_suggested_input(uuid, text, text, text, text, text, text, integer, text, integer) is
  'Proposes an input to try a package (id or name) with, by its author or its organization''s owners, admins and maintainers; at most 50 a '
  'package. difficulty null: beginner; estimated_credits (credits) null: 1; display_order null: last. Answers it, see '
  'core.suggested_input_row. No row for a package that they may not see. Errors: PR403 for others, PR400 naming the field, PR409 above 50. Spec 10.4.';
--! EndIncluded catalog/create_suggested_input.sql
--! Included catalog/list_author_inputs.sql
create or replace function api.list_author_inputs(user_id uuid, author_id uuid)
returns table (suggested_inputs json, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  if list_author_inputs.author_id is distinct from list_author_inputs.user_id then
    raise exception 'these are somebody else''s suggested inputs'
      using errcode = 'PR403', detail = 'author_id', hint = 'Those of a package are shown to everybody who may see it.';
  end if;
  select
    coalesce(json_agg(
      core.suggested_input_row(row(i.*)::public.suggested_inputs)::jsonb || jsonb_build_object(
        'package_name', p.name, 'total_clicks', i.usage_count, 'completed_tests', i.completed_count
      ) order by p.name, i.display_order, i.created_at, i.id
    ), '[]'),
    count(*)
  into suggested_inputs, total
  from public.suggested_inputs i
  join public.packages p on p.id = i.package_id
  where i.created_by = list_author_inputs.author_id;
  return next;
end
$$;

comment on function api.list_author_inputs(uuid, uuid) is
  'All suggested inputs that a user proposed, those that are no longer shown too, with package_name, total_clicks and completed_tests. One '
  'row: suggested_inputs (JSON array, see core.suggested_input_row) and total. Errors: PR403 for another''s. Spec 8.7, 10.4.';
--! EndIncluded catalog/list_author_inputs.sql
--! Included catalog/list_suggested_inputs.sql
create or replace function api.list_suggested_inputs(user_id uuid, package text, category text default null, difficulty text default null)
returns table (suggested_inputs json, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  wanted uuid := (select p.id from core.find_package(list_suggested_inputs.user_id, list_suggested_inputs.package) p);
begin
  if wanted is null then
    return;
  end if;
  perform core.check_suggested_input(null, null, null, list_suggested_inputs.category, list_suggested_inputs.difficulty, null, null, null);
  select
    coalesce(json_agg(
      core.suggested_input_row(row(i.*)::public.suggested_inputs) order by i.display_order, i.usage_count desc, i.created_at, i.id
    ), '[]'),
    count(*)
  into suggested_inputs, total
  from public.suggested_inputs i
  where i.package_id = wanted and i.is_active
    and (list_suggested_inputs.category is null or i.category = list_suggested_inputs.category)
    and (list_suggested_inputs.difficulty is null or i.difficulty = list_suggested_inputs.difficulty);
  return next;
end
$$;

comment on function api.list_suggested_inputs(uuid, text, text, text) is
  'The suggested inputs of a package (id or name) that are shown, in the order of its authors, then the most used first; of a category or '
  'difficulty, where not null. One row: suggested_inputs (JSON array, see core.suggested_input_row) and total. No row for a package that the '
  'user (null: nobody signed in) may not see. Errors: PR400 naming category or difficulty. Spec 10.4.';
--! EndIncluded catalog/list_suggested_inputs.sql
--! Included catalog/search_packages.sql
create or replace function api.search_packages(user_id uuid, query text default null, "limit" integer default 20, cursor text default null)
returns table (packages json, next_cursor text, total bigint)
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
declare
  most_counted constant integer := 1000;
  asked text := nullif(lower(btrim(search_packages.query)), '');
  after text[] := core.decode_cursor(search_packages.cursor, 'integer', 'text');
  own uuid[] := core.hidden_packages(search_packages.user_id);
  ids uuid[];
  ranks integer[];
begin
  perform core.check_page("limit", 0);

  if asked is null then
    ids := array(
      select p.id from public.packages p
      where (p.visibility = 'public' or p.id = any (own)) and (after is null or p.name collate "C" > after[2])
      order by p.name collate "C"
      limit "limit" + 1
    );
    ranks := array_fill(0, array[cardinality(ids)]);
    select count(*) into total
    from (select from public.packages p where p.visibility = 'public' or p.id = any (own) limit most_counted) x;
  else
    if after is null or after[1]::integer < 1000 then
      select array_agg(f.id order by f.n), array_agg(f.rank order by f.n) into ids, ranks
      from core.find_packages(asked, own, after[1]::integer, after[2], "limit" + 1) with ordinality f (rank, id, n);
      if after is null and coalesce(cardinality(ids), 0) <= "limit" then
        total := coalesce(cardinality(ids), 0);
      else
        total := core.count_packages(asked, own, most_counted);
      end if;
    end if;
    -- Nothing has these words: perhaps they are misspelled.
    if ids is null and (after is null or after[1]::integer >= 1000) then
      select
        array_agg(s.id order by s.rank, s.name collate "C") filter (where s.is_after),
        array_agg(s.rank order by s.rank, s.name collate "C") filter (where s.is_after),
        count(*)
      into ids, ranks, total
      from (
        select x.*, after is null or x.rank > after[1]::integer or x.rank = after[1]::integer and x.name collate "C" > after[2] as is_after
        from core.similar_packages(asked, own) x
      ) s;
      ids := ids[:"limit" + 1];
    end if;
  end if;

  select
    coalesce(json_agg(json_build_object(
      'id', p.id, 'name', p.name, 'description', p.description, 'tags', p.tags,
      'author', u.username,
      'visibility', p.visibility, 'latest_version', p.latest_version, 'updated_at', p.updated_at
    ) order by x.n) filter (where x.n <= "limit"), '[]'),
    case when count(*) > "limit" then max(core.encode_cursor(ranks["limit"]::text, p.name)) filter (where x.n = "limit") end
  into packages, next_cursor
  from unnest(ids) with ordinality x (id, n)
  join public.packages p on p.id = x.id
  left join public.users u on u.id = p.author_id;
  return next;
end
$$;

comment on function api.search_packages(uuid, text, integer, text) is
  'One page of the packages that a text is found in, best match first: name, then tag, then description (see core.find_packages), and where '
  'nothing has its words, names spelled like it; null or blank finds all, by name. Public ones, and the user''s own and their organizations'' of '
  'any visibility. One row: packages (JSON array of id, name, description, tags, author, visibility, latest_version, updated_at), next_cursor '
  '(null on the last page), total (counted up to 1,000). limit 1 to 100. Errors: PR400 naming limit or cursor. Spec 10.6, 10.7.';
--! EndIncluded catalog/search_packages.sql
--! Included jobs/continue_job.sql
create or replace function ops.continue_job(
  job text, out slot timestamptz, out ran boolean, out more boolean, out rows_touched bigint, out error text
)
language plpgsql
security definer
set search_path = ''
set max_parallel_workers_per_gather = 0 -- a job leaves the other processors to runs
as $$
declare
  j public.jobs;
  r public.job_runs;
  reached uuid;
begin
  ran := false;
  more := false;
  if not exists (select from public.jobs x where x.job = continue_job.job) then
    raise exception 'there is no job %', continue_job.job using errcode = 'PR404', detail = 'job', hint = 'select job, description from jobs;';
  end if;
  if not pg_try_advisory_xact_lock(hashtext('jobs'), hashtext(continue_job.job)) then
    return; -- somebody is at it
  end if;
  select x.* into j from public.jobs x where x.job = continue_job.job;
  slot := core.due_slot(j, core.now());
  if slot is null then
    return;
  end if;

  r := core.begin_slot(j, slot);
  select x.rows_touched, x.last, x.error into rows_touched, reached, error from core.do_batch(j, r.cursor) x;
  update public.job_runs x set
    cursor = reached,
    batches = x.batches + 1,
    rows_touched = coalesce(x.rows_touched + continue_job.rows_touched, continue_job.rows_touched, x.rows_touched),
    error = coalesce(x.error, continue_job.error),
    ran_by = session_user,
    finished_at = case when reached is null then core.now() end
  where x.job = j.job and x.slot = continue_job.slot;
  ran := true;
  more := reached is not null or core.due_slot(j, core.now()) is not null;
end
$$;

comment on function ops.continue_job(text, out timestamptz, out boolean, out boolean, out bigint, out text) is
  'Does the next batch of a job''s due slot, or all of it where the job has no batches; its result stands in job_runs with the same transaction, '
  'so a batch is done once, whoever calls, and what a killed caller left is gone on with. ran is false where nothing is due or somebody is at '
  'it; more: call again. ops.run_job calls it until nothing is left. Call: select * from ops.continue_job(''expire-holds''); '
  'Errors: PR404 unknown job. Spec 7.1, 7.2.';
--! EndIncluded jobs/continue_job.sql
--! Included jobs/faults_of_catalog.sql
create or replace function core.faults_of_catalog()
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select 'model without a price', format('%s is enabled and refused with model_not_priced', m.model),
    format('Enter a price, or: update models set enabled = false where alias = %L;', m.model)
  from ops.unpriced_models m
  where m.enabled
  union all
  select 'clock', format('settings.clock_offset is %s', s.clock_offset), 'update settings set clock_offset = default;'
  from public.settings s
  where s.clock_offset <> '0'
  union all
  select 'switched off', 'settings.runs_enabled is false: all runs are refused with runs_disabled', 'update settings set runs_enabled = true;'
  from public.settings s
  where not s.runs_enabled
  union all
  select 'switched off', 'settings.purchases_enabled is false: nobody can subscribe or buy', 'update settings set purchases_enabled = true;'
  from public.settings s
  where not s.purchases_enabled
  union all
  select 'no default model', 'no enabled model is the default: runs that name none are refused',
    'update models set enabled = true, is_default = true where alias = …; and is_default = false of the one before'
  where not exists (select from public.models m where m.enabled and m.is_default)
  union all
  select 'no model for visitors', format('settings.anonymous_model is %s, which is no enabled model: runs without a sign-in are refused', s.anonymous_model),
    'update settings set anonymous_model = …;'
  from public.settings s
  where s.anonymous_daily_budget > 0 and not exists (select from public.models m where m.enabled and m.alias = s.anonymous_model)
  union all
  select 'request size', format('settings.max_request_tokens is %s, below min_output_tokens, %s: all runs are refused', s.max_request_tokens, s.min_output_tokens),
    'update settings set max_request_tokens = default, min_output_tokens = default;'
  from public.settings s
  where s.max_request_tokens <= s.min_output_tokens
  union all
  select 'tier paused', format('the budget of %s for today is used up: all its runs are refused until %s', l.tier_name, l.paused_until),
    'It ends by itself, or: update settings set free_tier_daily_budget = …;'
  from public.cost_limits_config l
  where l.paused_until > core.now();

  return query
  select 'tier missing', format('%s has no row in cost_limits_config: its runs are refused with tier_not_configured', t.tier_name),
    'Add the row to cost_limits_config, or give its users another tier.'
  from (
    select 'free' as tier_name
    union
    select u.tier_override from public.users u where u.tier_override is not null
    union
    select u.plan_tier from public.users u where u.plan_tier is not null
  ) t
  where not exists (select from public.cost_limits_config c where c.tier_name = t.tier_name);

  return query
  select 'plan without a Stripe price', format('%s cannot be bought, while other plans can', p.plan),
    format('Make a price in Stripe, then: update plans set stripe_price_id = ''price_…'' where plan = %L;', p.plan)
  from public.plans p
  where p.is_active and p.monthly_price > 0 and p.stripe_price_id is null
    and exists (select from public.plans x where x.stripe_price_id is not null);
end
$$;

comment on function core.faults_of_catalog() is
  'Part of ops.checks: enabled models without a price, the clock, what is switched off, what keeps everybody from running (no default model, no '
  'model for visitors, requests that are too small, a tier whose budget is used up), tiers without a row, and plans without a price at '
  'Stripe where others have one. Spec 12.';
--! EndIncluded jobs/faults_of_catalog.sql
--! Included jobs/faults_of_work.sql
create or replace function core.faults_of_work(clock timestamptz)
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  has_prices boolean := exists (select from public.plans p where p.stripe_price_id is not null);
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
  where a.refreshed_at < clock_timestamp() - interval '2 hours';

  return query
  select 'Stripe needs a person', format('%s %s: %s', r.kind, r.object, r.why), r.what_to_do
  from ops.stripe_review r
  limit 100;

  return query
  select 'Stripe waits for a server', format('%s pieces of work, the oldest since %s', count(*), min(w.waiting_since)),
    'Does a server run with STRIPE_SECRET_KEY? select * from ops.unclaimed_work;'
  from ops.unclaimed_work w
  where w.waiting_since < clock - interval '5 minutes'
    -- What only compares waits for nobody where there is nothing to compare.
    and (w.kind not in ('list_events', 'list_subscriptions') or has_prices)
  having count(*) > 0
  union all
  select 'Stripe differed', format('%s differences were found and repaired in 24 hours, the newest at %s', count(*), max(d.found_at)),
    'Does the webhook arrive? select * from ops.stripe_drift;'
  from ops.stripe_drift d
  where d.found_at > clock - interval '24 hours'
  having count(*) > 0;

  return query
  select 'closed account pays on', format('subscription %s of %s, closed at %s', s.id, coalesce(u.email, u.username, u.id::text), u.closed_at),
    format('select * from ops.close_user(%L, ''…''); once more, it cancels', u.id)
  from public.users u
  join public.subscriptions s on s.user_id = u.id and not s.superseded
  join public.subscription_states state on state.status = s.status and state.is_open
  where u.closed_at is not null
    and not exists (
      select from (select x.key from public.stripe_work x where x.kind = 'cancel_subscription' and not x.is_failed) w where w.key = s.id
    )
  limit 100;

  return query
  select 'message not delivered', format('%s messages, the newest about: %s', count(*), (array_agg(m.what order by m.since desc))[1]),
    'select * from ops.undelivered_messages; it says why, and has the call that tries again.'
  from ops.undelivered_messages m
  having count(*) > 0;
end
$$;

comment on function core.faults_of_work(timestamptz) is
  'Part of ops.checks: jobs that are late or failed, analytics older than 2 hours, what of Stripe''s news needs a person, waits for a server '
  'for 5 minutes or was found by reconciliation in 24 hours, closed accounts whose subscription goes on, and messages that do not arrive. Spec 7.2, 12.';
--! EndIncluded jobs/faults_of_work.sql
--! Included jobs/faults_of_rights.sql
create or replace function core.faults_of_rights()
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select 'rights', x.detail, 'npm run db:roles and npm run migrate; if it stays: revoke what the design does not give (db/README.md, Rights).'
  from (
    select format('%s may use table %s.%s', r.role, n.nspname, c.relname)
    from unnest(array['prpm_app', 'prpm_cron']) r (role)
    cross join pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('api', 'core', 'ops', 'public') and c.relkind in ('r', 'p', 'v', 'm')
      and (has_table_privilege(r.role, c.oid, 'select, insert, update, delete, truncate, references, trigger')
        or has_any_column_privilege(r.role, c.oid, 'select, insert, update, references'))
      and not exists ( -- what an extension shows to everybody
        select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
      )
    union all
    select format('%s may change %s.%s', r.role, n.nspname, c.relname)
    from unnest(array['prpm_ops', 'prpm_readonly']) r (role)
    cross join pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('core', 'public') and c.relkind in ('r', 'p')
      and c.relname in ('credit_transactions', 'credit_lots', 'runs', 'purchases', 'subscription_periods', 'audit_log', 'secrets')
      and (has_table_privilege(r.role, c.oid, 'insert, update, delete, truncate, trigger')
        or has_any_column_privilege(r.role, c.oid, 'insert, update'))
    union all
    select format('%s may execute %s', r.role, p.oid::regprocedure)
    from (values ('prpm_app', 'api'), ('prpm_ops', 'ops'), ('prpm_ops', 'public'), ('prpm_cron', null), ('prpm_readonly', null)) r (role, own)
    cross join pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('api', 'ops') and has_function_privilege(r.role, p.oid, 'execute')
      and not exists (
        select from (values ('prpm_app', 'api'), ('prpm_ops', 'ops')) g (role, own) where g.role = r.role and g.own = n.nspname
      )
      and r.own is distinct from 'public'
      and not (r.role = 'prpm_cron' and n.nspname = 'ops' and p.proname in ('run_job', 'continue_job', 'due_jobs'))
    union all
    select format('%s is a superuser or may bypass row security', r.rolname)
    from pg_catalog.pg_roles r
    where r.rolname like 'prpm\_%' and (r.rolsuper or r.rolbypassrls)
    union all
    select format('%s is a member of %s', m.rolname, g.rolname)
    from pg_catalog.pg_auth_members a
    join pg_catalog.pg_roles m on m.oid = a.member
    join pg_catalog.pg_roles g on g.oid = a.roleid
    where m.rolname in ('prpm_app', 'prpm_ops', 'prpm_cron', 'prpm_readonly')
  ) x (detail)
  limit 100;
end
$$;

comment on function core.faults_of_rights() is
  'Part of ops.checks: rights that a role has and should not have: tables for the server and the scheduler, the books for operators and '
  'dashboards, functions of another role''s schema, membership and superuser. Spec 12.';
--! EndIncluded jobs/faults_of_rights.sql
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
  for person in select e.user_id from public.erasures e where e.finished_at is null loop
    perform from public.erasures e where e.user_id = person and e.finished_at is null for update skip locked;
    continue when not found;
    perform core.finish_erasure(person, core.now());
    finished := finished + 1;
  end loop;
  return finished;
end
$$;

comment on function ops.finish_erasures() is
  'Takes the names of people who were erased from texts that no key leads to. Returns how many people. Call: select ops.finish_erasures(); Spec 10.8.';
--! EndIncluded jobs/finish_erasures.sql
--! Included jobs/health_figures.sql
create or replace function core.health_figures()
returns table (figure text, value numeric, unit text, note text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  with clock as materialized (
    select core.now() as now, core.first_run_id(clock_timestamp() - interval '1 hour') as first_id
  ),
  recent as materialized (
    select r.status, r.error, r.cost, r.first_token_ms
    from clock
    join public.users u on u.last_request_at > clock.now - interval '1 hour'
    join public.runs r on r.user_id = u.id and r.id >= clock.first_id and r.started_at > clock.now - interval '1 hour'
  ),
  people as materialized (
    select
      coalesce(sum(cardinality(u.open_runs)), 0) as running,
      coalesce(sum(u.held_included + u.held_purchased), 0) as held_credits,
      coalesce(sum(u.current_day_api_cost) filter (where u.day_ends_at > clock.now), 0) as day_cost,
      count(*) filter (where u.is_throttled and core.throttle_holds(u.throttled_by, u.throttled_until, clock.now) and u.closed_at is null) as throttled,
      count(*) filter (where u.is_throttled and core.throttle_holds(u.throttled_by, u.throttled_until, clock.now) and u.closed_at is null and u.throttled_by is distinct from 'limit') as by_operators,
      count(*) filter (where u.last_request_at > clock.now - interval '24 hours') as active
    from clock
    cross join public.users u
  ),
  earned as materialized (
    select coalesce(sum(d.included_value + d.purchased_value), 0) as value
    from clock
    join core.usage_by_day d on d.day = (clock.now at time zone 'UTC')::date
  ),
  -- What visitors cost who are not signed in.
  visitors as materialized (
    select
      (
        select coalesce(sum(a.cost), 0) from public.anonymous_runs a
        where a.day >= ((clock.now - interval '1 hour') at time zone 'UTC')::date and a.started_at > clock.now - interval '1 hour'
      ) as hour_cost,
      coalesce((select d.used from public.anonymous_days d where d.day = (clock.now at time zone 'UTC')::date), 0) as day_cost
    from clock
  ),
  refused as materialized (
    select sum(r.count) as times, count(distinct r.user_id) as people, (array_agg(r.reason order by r.count desc))[1] as usual
    from clock
    join public.refusals r on r.last_at > clock.now - interval '1 hour'
  ),
  faults as materialized (
    select count(*) as number, string_agg(distinct c."check", ', ') as names from ops.checks() c
  )
  select h.figure, h.value, h.unit, h.note
  from (
    select 1, 'running now', p.running::numeric, 'runs', format('They hold %s credits: select * from ops.runs_live;', p.held_credits)
    from people p
    union all
    select 2, 'begun in the last hour', count(*)::numeric, 'runs', format('%s people ran something in 24 hours.', (select p.active from people p))
    from recent
    union all
    select 3, 'failed in the last hour', count(*) filter (where r.error is not null), 'runs',
      format('%s %% of those begun%s.', coalesce(round(100.0 * count(*) filter (where r.error is not null) / nullif(count(*), 0), 1), 0),
        ', mostly ' || mode() within group (order by r.error))
    from recent r
    union all
    select 4, 'first words, slowest of 20', round((percentile_cont(0.95) within group (order by r.first_token_ms))::numeric), 'milliseconds',
      format('The middle one: %s. Last hour.', coalesce(round((percentile_cont(0.5) within group (order by r.first_token_ms))::numeric)::text, 'none'))
    from recent r
    union all
    select 5, 'spent in the last hour', round(coalesce(sum(r.cost), 0) + (select v.hour_cost from visitors v), 4), 'dollars',
      format('settings.hourly_spend_alert: %s.', coalesce((select s.hourly_spend_alert::text from public.settings s), 'none'))
    from recent r
    union all
    select 6, 'spent today', round(p.day_cost + v.day_cost, 4), 'dollars',
      format('Earned by credits spent today: %s. By visitors: %s, see ops.anonymous_use.', (select round(e.value, 2) from earned e), round(v.day_cost, 4))
    from people p
    cross join visitors v
    union all
    select 7, 'throttled now', p.throttled, 'people', format('%s of them by operators: select * from ops.throttled_now;', p.by_operators)
    from people p
    union all
    select 8, 'refused in the last hour', coalesce(r.times, 0), 'attempts',
      format('Of %s people%s: select * from ops.refusals;', r.people, ', mostly ' || r.usual)
    from refused r
    union all
    select 9, 'jobs late or failed', count(*) filter (where j.is_late or j.has_failed), 'jobs',
      coalesce(string_agg(j.job, ', ' order by j.job) filter (where j.is_late or j.has_failed) || ': ', '') || 'select * from ops.jobs;'
    from ops.jobs j
    union all
    select 10, 'alerts open', count(*), 'alerts',
      coalesce((array_agg(a.what order by a.severity, a.raised_at desc))[1] || ': ', '') || 'select * from ops.alerts_now;'
    from ops.alerts_now a
    union all
    select 11, 'inbox waiting', count(*), 'events', coalesce('The oldest since ' || min(w.waiting_since) || ': ', '') || 'select * from ops.unclaimed_work;'
    from ops.unclaimed_work w
    union all
    select 12, 'needs you', f.number, 'checks', coalesce(f.names || ': ', '') || 'select * from ops.checks();'
    from faults f
  ) h (place, figure, value, unit, note)
  order by h.place;
end
$$;

comment on function core.health_figures() is
  'The rows of the view ops.health: figures of now, each in its unit, with a note. Spec 12.';
grant execute on function core.health_figures() to prpm_ops, prpm_readonly;
--! EndIncluded jobs/health_figures.sql
--! Included jobs/ops_due_jobs.sql
create or replace function ops.due_jobs()
returns table (job text, slot timestamptz)
language sql
stable
security definer
set search_path = ''
begin atomic
  select j.job, d.slot
  from public.jobs j
  cross join lateral (select core.due_slot(row(j.*)::public.jobs, (select core.now())) as slot) d
  where d.slot is not null
  order by j.every, j.job;
end;

comment on function ops.due_jobs() is
  'Jobs that have something to do now, and the slot that is next; those that come oftenest first. Call: select * from ops.due_jobs(); Spec 7.1.';
--! EndIncluded jobs/ops_due_jobs.sql
--! Included jobs/read_metrics.sql
drop function if exists api.read_metrics();
create or replace function api.read_metrics(
  out users bigint, out throttled_by_limit bigint, out throttled_by_operator bigint, out open_runs bigint, out overdue_holds bigint,
  out held_credits bigint, out held_cost numeric, out month_cost numeric, out month_subscription_revenue numeric,
  out month_pack_revenue numeric, out free_tier_cost numeric, out free_tier_budget numeric, out free_tier_paused boolean,
  out runs_enabled boolean, out purchases_enabled boolean, out events_waiting bigint, out events_waiting_seconds numeric,
  out events_in_review bigint, out work_due bigint, out work_due_seconds numeric, out work_failed bigint,
  out analytics_age_seconds numeric, out drift_rows bigint, out alerts_warning bigint, out alerts_critical bigint,
  out messages_undelivered bigint, out jobs jsonb
)
language plpgsql
stable
security definer
set search_path = ''
-- The server's role never reads whole tables; this reads the users once.
set enable_seqscan = on
as $$
declare
  now timestamptz := core.now();
  month_start timestamptz := date_trunc('month', now at time zone 'UTC') at time zone 'UTC';
begin
  select
    count(*) filter (where u.closed_at is null),
    count(*) filter (where u.is_throttled and u.throttled_by = 'limit' and core.throttle_holds(u.throttled_by, u.throttled_until, now)),
    count(*) filter (where u.is_throttled and u.throttled_by is distinct from 'limit' and core.throttle_holds(u.throttled_by, u.throttled_until, now)),
    sum(cardinality(u.open_runs)),
    count(*) filter (where u.holds_expire_at < now),
    sum(u.held_included + u.held_purchased),
    sum(u.month_held_cost),
    sum(u.current_month_api_cost) filter (where u.month_ends_at > now),
    sum(u.current_day_limited_cost) filter (
      where u.day_ends_at > now and core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now) = 'free'
    )
  into users, throttled_by_limit, throttled_by_operator, open_runs, overdue_holds, held_credits, held_cost, month_cost, free_tier_cost
  from public.users u;
  select coalesce(month_cost, 0) + coalesce(sum(d.used), 0) into month_cost
  from public.anonymous_days d
  where d.day >= (month_start at time zone 'UTC')::date;

  select sum(s.monthly_amount) into month_subscription_revenue from core.paying_subscriptions(now) s;
  select sum(greatest(0, p.paid_amount - p.refunded_amount - p.disputed_amount)) into month_pack_revenue
  from public.purchases p
  where p.paid_at >= month_start;

  select s.free_tier_daily_budget, s.runs_enabled, s.purchases_enabled into free_tier_budget, runs_enabled, purchases_enabled
  from public.settings s;
  select coalesce(bool_or(l.paused_until > now), false) into free_tier_paused from public.cost_limits_config l where l.tier_name = 'free';

  select count(*), extract(epoch from now - min(e.received_at)) into events_waiting, events_waiting_seconds
  from public.stripe_events e where e.status = 'received';
  select count(*) into events_in_review from public.stripe_events e where e.status = 'needs_review';
  select
    count(*) filter (where not w.is_failed and w.due_at <= now),
    extract(epoch from now - min(w.due_at) filter (where not w.is_failed and w.due_at <= now)),
    count(*) filter (where w.is_failed)
  into work_due, work_due_seconds, work_failed
  from public.stripe_work w;

  select extract(epoch from clock_timestamp() - a.refreshed_at) into analytics_age_seconds from core.analytics_refresh a;
  select count(*) filter (where a.severity = 'warning'), count(*) filter (where a.severity = 'critical')
  into alerts_warning, alerts_critical
  from public.alerts a where a.resolved_at is null;
  select count(*) into messages_undelivered from ops.undelivered_messages;
  select j.last_rows into drift_rows from ops.jobs j where j.job = 'reconcile-costs';
  select jsonb_agg(jsonb_build_object('job', j.job, 'late_seconds', j.late_seconds, 'failed', j.has_failed)) into jobs from ops.jobs j;
end
$$;

comment on function api.read_metrics() is
  'What the metrics tell of the database, in one row: counts, credits, US dollars and seconds as of now; sums over nothing are null. month_cost has visitors'' runs in it. Costs one '
  'pass over users and none over runs. drift_rows is what reconcile-costs found last; jobs is [{job, late_seconds, failed}]. Spec 11.4.';
--! EndIncluded jobs/read_metrics.sql
--! Included sessions/describe_sessions.sql
create or replace function core.describe_sessions(user_id uuid, session_ids uuid[])
returns table (
  id uuid, title text, package_id uuid, package_name text, package_version text, model text, last_status text,
  run_count bigint, credits_spent bigint, total_tokens bigint, total_duration_ms bigint, created_at timestamptz, last_run_at timestamptz
)
language sql
stable
begin atomic
  select
    s.id,
    coalesce(s.title, (
      select left(t.question, 120)
      from public.run_texts t
      where t.user_id = describe_sessions.user_id and t.session_id = s.id
      order by t.run_id
      limit 1
    )),
    s.package_id,
    p.name,
    coalesce(newest.package_version, copied.package_version),
    coalesce(newest.model, copied.model),
    coalesce(newest.status, case when copied.model is not null then 'completed' end),
    totals.run_count,
    coalesce(totals.credits, 0),
    coalesce(totals.tokens, 0),
    coalesce(totals.duration_ms, 0),
    s.created_at,
    s.last_run_at
  from public.sessions s
  left join public.packages p on p.id = s.package_id
  left join public.runs newest on newest.user_id = describe_sessions.user_id and newest.id = s.last_run_id
  left join lateral (
    select c.package_version, c.model
    from public.copied_exchanges c
    where s.last_run_id = s.id and s.forked_token is not null and c.user_id = describe_sessions.user_id and c.session_id = s.id
    order by c.run_id desc
    limit 1
  ) copied on true
  cross join lateral (
    select
      count(*) as run_count,
      sum(r.credits)::bigint as credits,
      sum(coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0))::bigint as tokens,
      sum(coalesce(r.duration_ms, 0))::bigint as duration_ms
    from core.session_runs(describe_sessions.user_id, s.id) r
  ) totals
  where s.user_id = describe_sessions.user_id and s.id = any (describe_sessions.session_ids) and s.deleted_at is null
  order by s.last_run_id desc, s.id desc;
end;

comment on function core.describe_sessions(uuid, uuid[]) is
  'Headers of a user''s sessions, newest first, without texts: title (or the first 120 characters of the first question), package, '
  'version, model and status of the newest run, and sums over all its runs: runs, credits, tokens (input and output), milliseconds. '
  'Reads the sessions'' own runs, whether or not their texts are still kept. Spec 10.1.';
--! EndIncluded sessions/describe_sessions.sql
--! Included sessions/list_results.sql
create or replace function api.list_results(user_id uuid, package text, sort text, "limit" integer)
returns table (results json, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  wanted uuid := (select p.id from core.find_package(list_results.user_id, list_results.package) p);
begin
  perform core.check_page("limit", 0);
  if sort is null or sort not in ('popular', 'recent', 'helpful', 'featured') then
    raise exception 'sort is not popular, recent, helpful or featured' using errcode = 'PR400', detail = 'sort';
  end if;
  if wanted is null then
    return;
  end if;
  with listed as materialized (
    select s.*, row_number() over (order by
      case when list_results.sort = 'featured' then s.feature_display_order end,
      case list_results.sort
        when 'popular' then s.view_count
        when 'helpful' then s.helpful_count - s.not_helpful_count
      end desc nulls last,
      case when list_results.sort = 'featured' then s.featured_at else s.shared_at end desc,
      s.token
    ) as place
    from public.shared_sessions s
    where s.package_id = wanted and s.ended_at is null and s.comparison_id is null and (list_results.sort <> 'featured' or s.featured_at is not null)
    order by place
    limit "limit"
  )
  select coalesce(json_agg(json_build_object(
    'share_token', x.token,
    'package_name', p.name,
    'package_version', r.package_version,
    'model', r.model,
    'view_count', x.view_count,
    'helpful_count', x.helpful_count,
    'not_helpful_count', x.not_helpful_count,
    'helpfulness_ratio', round(x.helpful_count::numeric / nullif(x.helpful_count + x.not_helpful_count, 0), 4),
    'user_input', t.question,
    'assistant_response', t.answer,
    'credits_spent', r.credits,
    'total_tokens', coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0),
    'is_featured', x.featured_at is not null,
    'feature_description', x.feature_description,
    'feature_display_order', x.feature_display_order,
    'featured_at', x.featured_at,
    'shared_at', x.shared_at,
    'created_at', r.started_at
  ) order by x.place), '[]') into results
  from listed x
  join public.packages p on p.id = x.package_id
  join public.runs r on r.user_id = x.user_id and r.id = x.through_run_id
  left join public.run_texts t on t.user_id = r.user_id and t.session_id = x.session_id and t.run_id = x.through_run_id;
  select count(*) into total
  from public.shared_sessions s
  where s.package_id = wanted and s.ended_at is null and s.comparison_id is null and (list_results.sort <> 'featured' or s.featured_at is not null);
  return next;
end
$$;

comment on function api.list_results(uuid, text, text, integer) is
  'Shared results of a package (id or name): popular (views), recent, helpful (votes), or featured (in the order that its authors gave). One row: '
  'results (JSON array; nothing of their owners) and total. No row for a package that the user (null: nobody signed in) may not see. '
  'limit 1 to 100. Errors: PR400 naming sort or limit. Spec 10.2.';
--! EndIncluded sessions/list_results.sql
--! Included sessions/may_see_share.sql
create or replace function core.may_see_share(user_id uuid, share public.shared_sessions)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
declare
  package_ids uuid[] := array[share.package_id];
begin
  if share.comparison_id is not null then
    package_ids := package_ids || array(
      select r.package_id
      from public.comparisons c
      join public.runs r on r.user_id = share.user_id and r.id = any (c.run_ids)
      where c.user_id = share.user_id and c.id = share.comparison_id
    );
  end if;
  return not exists (
    select
    from public.packages p
    where p.id = any (package_ids) and p.visibility = 'private'
      and not coalesce(core.may_see_package(may_see_share.user_id, p.visibility, p.author_id, p.organization_id), false)
  );
end
$$;

comment on function core.may_see_share(uuid, public.shared_sessions) is
  'Whether a user (null: nobody signed in) may see what a link shows: not where a package of it is private and not theirs to see. Spec 5.5, 10.2.';
--! EndIncluded sessions/may_see_share.sql
--! Included sessions/old_texts.sql
create or replace view core.old_texts as
select s.user_id, s.id as session_id, s.last_run_at + x.run_text_days * interval '24 hours' as goes_at
from public.settings x
cross join public.sessions s
where x.run_text_days is not null
  and exists (select from public.run_texts t where t.user_id = s.user_id and t.session_id = s.id)
  and not exists (select from (select x.session_id from public.shared_sessions x where x.ended_at is null) h where h.session_id = s.id)
  and not exists (
    select from public.comparisons c
    join (select x.user_id, x.comparison_id from public.shared_sessions x where x.ended_at is null) h
      on h.user_id = c.user_id and h.comparison_id = c.id
    where c.user_id = s.user_id and s.id = any (c.session_ids)
  );

comment on view core.old_texts is
  'Sessions whose texts will go because nobody uses them and they are not shared, and when: settings.run_text_days after their newest run began. None while that setting '
  'is null. Spec 7.1.';
comment on column core.old_texts.user_id is 'Whose.';
comment on column core.old_texts.session_id is 'The session.';
comment on column core.old_texts.goes_at is 'When the texts go, unless it is used again.';
--! EndIncluded sessions/old_texts.sql
--! Included sessions/ops_index_sessions.sql
create or replace function ops.index_sessions()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  most integer := (select s.job_batch from public.settings s);
  candidate uuid;
  looked_at bigint := 0;
begin
  for candidate in
    select u.id
    from public.users u
    left join public.session_marks m on m.user_id = u.id
    where u.last_run_id is not null and u.last_run_id is distinct from m.through_run_id
    order by u.id
    limit most
  loop
    looked_at := looked_at + core.index_sessions(candidate, 1000);
  end loop;
  return looked_at;
end
$$;

comment on function ops.index_sessions() is
  'Brings the index that sessions are listed and searched by up to date, for some people at a time; for the others it heals when they look. '
  'Returns how many runs it looked at. Call: select ops.index_sessions(); Spec 10.1.';
--! EndIncluded sessions/ops_index_sessions.sql
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
  cross join lateral core.session_facts(row(s.*)::public.sessions) f
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
--! Included sessions/read_shared.sql
create or replace function api.read_shared(user_id uuid, share_token text, address text)
returns table (
  title text, package_name text, package_version text, model text, view_count bigint, helpful_count bigint, not_helpful_count bigint,
  my_vote boolean, is_mine boolean, shared_at timestamptz, exchanges json, sides json
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  seen_by text := core.visitor_of(read_shared.user_id, read_shared.address);
  share public.shared_sessions;
begin
  select s.* into share from public.shared_sessions s where s.token = read_shared.share_token and s.ended_at is null;
  if not found or not core.may_see_share(read_shared.user_id, share) then
    return;
  end if;
  is_mine := coalesce(share.user_id = read_shared.user_id, false);
  if not is_mine and not exists (select from public.share_views v where v.token = share.token and v.visitor = seen_by) then
    perform from public.shared_sessions s where s.token = share.token for update; -- before its views, as who votes
    insert into public.share_views as v (token, visitor, viewed_at) values (share.token, seen_by, core.now())
    on conflict do nothing;
    if found then
      update public.shared_sessions s set view_count = s.view_count + 1 where s.token = share.token;
    end if;
    select s.* into share from public.shared_sessions s where s.token = read_shared.share_token;
  end if;

  select coalesce(x.title, ''), p.name, r.package_version, r.model into title, package_name, package_version, model
  from public.sessions x
  join public.packages p on p.id = share.package_id
  join public.runs r on r.user_id = share.user_id and r.id = share.through_run_id
  where x.user_id = share.user_id and x.id = share.session_id;
  if not found then
    return;
  end if;
  view_count := share.view_count;
  helpful_count := share.helpful_count;
  not_helpful_count := share.not_helpful_count;
  my_vote := (select v.is_helpful from public.share_views v where v.token = share.token and v.visitor = seen_by);
  shared_at := share.shared_at;
  exchanges := case when share.comparison_id is null then core.shared_exchanges(share) else '[]' end;
  sides := core.shared_sides(share);
  return next;
end
$$;

comment on function api.read_shared(uuid, text, text) is
  'What a shared link shows, to anybody: user_id is null without a sign-in; address: the visitor''s, kept as a keyed hash alone. A view is counted '
  'once a visitor, never the owner''s. No row for a link that never was or has ended, or whose package is private and not theirs to see. '
  'exchanges are those of a session, sides those of a comparison (null for a session). Nothing of the owner is in it. Spec 10.2.';
--! EndIncluded sessions/read_shared.sql
--! Included sessions/rename_session.sql
create or replace function api.rename_session(user_id uuid, session_id uuid, title text)
returns table (renamed_title text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  wanted text := nullif(btrim(rename_session.title), '');
  session public.sessions;
  found_by tsvector;
begin
  if length(wanted) > 200 then
    raise exception 'title has % characters, at most 200 are allowed', length(wanted) using errcode = 'PR400', detail = 'title';
  end if;
  update public.sessions s set title = wanted
  where s.user_id = rename_session.user_id and s.id = rename_session.session_id and s.deleted_at is null
  returning s.* into session;
  if not found then
    return;
  end if;
  select f.words into found_by from core.session_facts(session) f;
  update public.session_index x set words = found_by
  where x.user_id = rename_session.user_id and x.session_id = rename_session.session_id;
  renamed_title := session.title;
  return next;
end
$$;

comment on function api.rename_session(uuid, uuid, text) is
  'Names a user''s own session, 1 to 200 characters; null or blank: by its first question again. No row where there is no such session of '
  'theirs. Errors: PR400 naming title. Spec 10.1.';
--! EndIncluded sessions/rename_session.sql
--! Included sessions/session_exchanges.sql
create or replace function core.session_exchanges(user_id uuid, session_id uuid, after uuid, through uuid, most integer)
returns table (
  run_id uuid, is_copy boolean, question text, answer text, status text, model text, provider_model text, package_version text,
  baseline boolean, is_summary boolean, credits bigint, question_tokens integer, answer_tokens integer, input_tokens integer, output_tokens integer,
  estimated boolean, duration_ms integer, error text, started_at timestamptz, finished_at timestamptz
)
language sql
stable
begin atomic
  select
    t.run_id, c.run_id is not null, t.question, t.answer,
    coalesce(r.status, 'completed'), coalesce(r.model, c.model), coalesce(r.provider_model, c.provider_model),
    coalesce(r.package_version, c.package_version), coalesce(r.baseline, c.baseline), coalesce(r.summarises, c.is_summary, false),
    coalesce(r.credits, 0), coalesce(r.question_tokens, c.question_tokens), coalesce(r.output_tokens, c.output_tokens, 0),
    r.input_tokens, r.output_tokens, coalesce(r.estimated, false), r.duration_ms, r.error,
    coalesce(r.started_at, c.started_at), coalesce(r.finished_at, c.finished_at)
  from public.run_texts t
  left join public.runs r on r.user_id = session_exchanges.user_id and r.id = t.run_id
  left join public.copied_exchanges c on c.user_id = session_exchanges.user_id and c.session_id = t.session_id and c.run_id = t.run_id
  where t.user_id = session_exchanges.user_id and t.session_id = session_exchanges.session_id
    and t.run_id > session_exchanges.after and t.run_id <= session_exchanges.through
  order by t.run_id
  limit session_exchanges.most;
end;

comment on function core.session_exchanges(uuid, uuid, uuid, uuid, integer) is
  'Questions and answers of a session whose texts are kept, in the order of the conversation, behind one run and through another, at most so '
  'many (null: all): with what the run of each says, or what was copied of it; a copy used nothing of one''s own, neither credits nor tokens; question_tokens and answer_tokens are what each brings as history. Spec 10.1.';
--! EndIncluded sessions/session_exchanges.sql
--! Included sessions/shared_sides.sql
create or replace function core.shared_sides(share public.shared_sessions)
returns json
language sql
stable
begin atomic
  select json_agg(json_build_object(
    'package_name', p.name,
    'package_version', r.package_version,
    'baseline', r.baseline,
    'model', r.model,
    'status', r.status,
    'question', coalesce(t.question, ''),
    'answer', coalesce(t.answer, ''),
    'credits_spent', r.credits,
    'tokens_used', coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0),
    'duration_ms', r.duration_ms,
    'started_at', r.started_at,
    'finished_at', r.finished_at
  ) order by i.place)
  from public.comparisons c
  cross join lateral unnest(c.run_ids) with ordinality i (run_id, place)
  join public.runs r on r.user_id = share.user_id and r.id = i.run_id
  join public.packages p on p.id = r.package_id
  left join public.run_texts t on t.user_id = share.user_id and t.session_id = r.session_id and t.run_id = r.id
  where c.user_id = share.user_id and c.id = share.comparison_id;
end;

comment on function core.shared_sides(public.shared_sessions) is
  'What a shared link shows of its comparison: for each side package, version, model, question, answer, credits, tokens and times; neither '
  'ids nor anything of its owner. JSON array in the order of the sides; null for the link of a session. Spec 5.8, 10.2.';
--! EndIncluded sessions/shared_sides.sql
--! Included sessions/unindexed_runs.sql
create or replace function core.unindexed_runs(user_id uuid, mark uuid, most integer)
returns table (run_id uuid, session_id uuid, is_running boolean)
language sql
stable
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
    -- By key, one after the other: a plan that does not know how few runs a minute has would read all sessions.
    cross join lateral (
      select s.last_run_id
      from public.sessions s
      where s.user_id = unindexed_runs.user_id and s.id = r.session_id and s.deleted_at is null
      offset 0
    ) s
    where r.user_id = unindexed_runs.user_id and r.id > core.minute_before(mark) and r.id <= mark and r.status <> 'running'
      and not exists (
        select from public.session_index x
        where x.user_id = unindexed_runs.user_id and x.session_id = r.session_id and x.last_run_id = s.last_run_id
      )
    limit most
  );
end;

comment on function core.unindexed_runs(uuid, uuid, integer) is
  'A user''s runs after one, oldest first, at most so many; and those of the minute before it that came late, because another server''s '
  'clock is a little behind, as soon as they have ended. What core.index_sessions has to do. Spec 10.1.';
--! EndIncluded sessions/unindexed_runs.sql
--! Included limits/throttled_at.sql
create or replace function core.throttled_at(person public.users, now timestamptz)
returns boolean
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select person.is_throttled and core.throttle_holds(person.throttled_by, person.throttled_until, now);
end;

comment on function core.throttled_at(public.users, timestamptz) is
  'Whether a throttle holds at that time: one by plain UPDATE until it is lifted, an operator''s and a limit''s until its end. '
  'One that is past its end is cleared on the next use, and by the jobs. Spec 3.4.';
--! EndIncluded limits/throttled_at.sql
--! Included analytics/people_this_month.sql
create or replace function core.people_this_month(starts_at timestamptz, at timestamptz)
returns table (active bigint, throttled bigint, high_risk bigint, total bigint)
language sql
stable
set search_path = ''
begin atomic
  select
    count(*) filter (where u.last_request_at >= people_this_month.starts_at or u.entitled_until > people_this_month.at),
    count(*) filter (where u.is_throttled and u.closed_at is null and core.throttle_holds(u.throttled_by, u.throttled_until, people_this_month.at)),
    count(*) filter (where u.month_ends_at > people_this_month.at and u.current_month_api_cost > 5),
    count(*) filter (where u.closed_at is null)
  from public.users u;
end;

comment on function core.people_this_month(timestamptz, timestamptz) is
  'Counts people in the month that began at starts_at and goes on: active (a run since, or an entitled subscription), throttled, high_risk (cost '
  'above 5 dollars), and all whose account is open. Reads their own rows. Spec 8.3.';
--! EndIncluded analytics/people_this_month.sql
--! Included analytics/current_cost_figures.sql
create or replace view core.current_cost_figures as
select
  f.user_id,
  f.prpm_plus_status,
  f.month_cost as current_month_api_cost,
  f.month_requests as current_month_requests,
  round(f.month_cost / nullif(f.month_requests, 0), 8) as avg_cost_per_request,
  f.lifetime_api_cost,
  f.total_requests,
  f.monthly_revenue,
  round(100 * (f.monthly_revenue - f.month_cost) / nullif(f.monthly_revenue, 0), 2) as current_margin_percent,
  f.is_throttled,
  case
    when f.month_cost > 5 then 'high_risk'
    when f.month_cost > 2.5 then 'medium_risk'
    when f.month_cost > 1 then 'low_risk'
    else 'safe'
  end as risk_level,
  f.last_request_at,
  round(100 * f.month_limited_cost / limits.monthly_cost_limit, 2) as percent_of_limit
from (
  select
    u.id as user_id,
    u.prpm_plus_status,
    case when u.month_ends_at > clock.now then u.current_month_api_cost else 0 end as month_cost,
    case when u.month_ends_at > clock.now then u.current_month_limited_cost else 0 end as month_limited_cost,
    case when u.month_ends_at > clock.now then u.current_month_requests else 0 end as month_requests,
    u.lifetime_api_cost,
    u.total_requests,
    coalesce(paying.monthly_amount, 0) as monthly_revenue,
    u.is_throttled and core.throttle_holds(u.throttled_by, u.throttled_until, clock.now) as is_throttled,
    u.last_request_at,
    core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, clock.now) as tier_name
  from (select core.now() as now offset 0) clock
  cross join public.users u
  left join (
    select s.user_id, sum(s.monthly_amount) as monthly_amount
    from core.paying_subscriptions((select core.now())) s
    group by s.user_id
  ) paying on paying.user_id = u.id
) f
-- The rule on tiers that are not active, asked once for each tier and not for each user.
left join (
  select c.tier_name, (core.find_limits(c.tier_name)).monthly_cost_limit from public.cost_limits_config c offset 0
) limits on limits.tier_name = f.tier_name;

comment on view core.current_cost_figures is
  'Each user''s cost and revenue at this moment, from their own row: what a refresh writes to core.user_cost_figures, where the columns are '
  'explained. Spec 8.1.';
comment on column core.current_cost_figures.user_id is 'Who.';
comment on column core.current_cost_figures.prpm_plus_status is 'active while a subscription entitles, else Stripe''s own word, or null.';
comment on column core.current_cost_figures.current_month_api_cost is 'US dollars: all provider cost of runs begun this calendar month (UTC); 0 once that month is over.';
comment on column core.current_cost_figures.current_month_requests is 'Runs let in this month.';
comment on column core.current_cost_figures.avg_cost_per_request is 'US dollars a run this month, 8 decimals; null without a run.';
comment on column core.current_cost_figures.lifetime_api_cost is 'US dollars: provider cost of every run ever.';
comment on column core.current_cost_figures.total_requests is 'Runs ever let in.';
comment on column core.current_cost_figures.monthly_revenue is 'US dollars a month that entitling subscriptions pay now; a trial pays nothing.';
comment on column core.current_cost_figures.current_margin_percent is 'Revenue less cost, in percent of revenue, 2 decimals; null without revenue.';
comment on column core.current_cost_figures.is_throttled is 'True while throttled.';
comment on column core.current_cost_figures.risk_level is 'By cost this month: above 5 dollars high_risk, above 2.50 medium_risk, above 1 low_risk, else safe.';
comment on column core.current_cost_figures.last_request_at is 'When the last run was let in.';
comment on column core.current_cost_figures.percent_of_limit is 'Percent of the true tier''s monthly limit that is used, by the cost that counts against it; null without a limit.';
--! EndIncluded analytics/current_cost_figures.sql
--! Included analytics/read_limit_use.sql
create or replace function api.read_limit_use(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
begin
  perform core.check_admin(read_limit_use.user_id);
  return (
    with used as (
      select l.limits_of as tier_name, least(10, floor(10 * u.current_month_limited_cost / l.monthly_cost_limit)) as tenth
      from public.users u
      join core.limits_by_tier l on l.tier_name = core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now)
      where u.current_month_limited_cost > 0 and u.month_ends_at > now and u.closed_at is null and l.monthly_cost_limit is not null
    ),
    counted as (
      select d.tier_name, t.tenth, count(*) as people
      from used d
      join generate_series(0, 10) t (tenth) on t.tenth = d.tenth
      group by d.tier_name, t.tenth
    )
    select coalesce(json_agg(json_build_object('tier_name', x.tier_name, 'people', (
      select json_agg(coalesce(c.people, 0) order by t.tenth)
      from generate_series(0, 10) t (tenth)
      left join counted c on c.tier_name = x.tier_name and c.tenth = t.tenth
    )) order by x.tier_name), '[]')
    from (select distinct c.tier_name from counted c) x
  );
end
$$;

comment on function api.read_limit_use(uuid) is
  'How people of each tier who ran something this month are spread over their monthly cost limit, for an administrator, as a JSON array: how '
  'many have used 0 to 10 percent of it, 10 to 20, and so on, and last 100 percent or more. Errors: PR403. Spec 3.3, 8.3.';
--! EndIncluded analytics/read_limit_use.sql
drop function if exists core.simulate_usage(timestamptz, timestamptz, jsonb, jsonb, jsonb, integer, integer);
drop function if exists core.runs_under(timestamptz, timestamptz, jsonb, jsonb, jsonb, integer);
--! Included analytics/runs_under.sql
create or replace function core.runs_under(
  since timestamptz, until timestamptz, model_prices jsonb, multipliers jsonb, limits jsonb, tokens_per_credit integer
)
returns table (
  user_id uuid, id uuid, started_at timestamptz, counts boolean, hold_cost numeric, held_price numeric, output_cap integer, estimated_input integer,
  input integer, cached integer, cache_write integer, output integer, input_price numeric, cached_price numeric, write_price numeric, output_price numeric,
  output_price_was numeric, dearer numeric, tokens_a_credit integer, multiplier numeric, prompt_multiplier numeric,
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
        if r.begins_month then
          month_was := 0; month_now := 0;
        end if;
      end if;
      if r.is_first then -- whose month, day and hour begin too
        gained := 0;
      end if;
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
        fits := least(fits, core.affordable_tokens(r.balance + gained, r.tokens_a_credit, r.multiplier, r.prompt_multiplier) - r.input);
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
          less_credits := r.credits - core.charge_for(r.input::bigint + floor(fits)::integer, r.tokens_a_credit, r.multiplier, r.prompt_multiplier);
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
--! Included analytics/package_ratings.sql
create or replace function core.package_ratings(package_id uuid, people uuid[])
returns json
language sql
stable
set search_path = ''
begin atomic
  select json_build_object(
    'effective', said.effective, 'not_effective', said.not_effective, 'helpful', votes.helpful, 'not_helpful', votes.not_helpful
  )
  from (
    select count(*) filter (where f.is_effective) as effective, count(*) filter (where not f.is_effective) as not_effective
    from public.exchange_feedback f
    cross join lateral (
      select x.package_id, x.baseline from public.runs x where x.user_id = f.user_id and x.id = f.run_id offset 0
    ) r
    where f.user_id = any (people) and r.package_id = package_ratings.package_id and not r.baseline
  ) said,
  (
    select coalesce(sum(s.helpful_count), 0) as helpful, coalesce(sum(s.not_helpful_count), 0) as not_helpful
    from public.shared_sessions s
    where s.package_id = package_ratings.package_id and s.ended_at is null
  ) votes;
end;

comment on function core.package_ratings(uuid, uuid[]) is
  'How a package is rated, JSON: answers that these people found effective or not, and votes on its shared results. Spec 8.7, 10.2, 10.3.';
--! EndIncluded analytics/package_ratings.sql
--! Included analytics/margin_by_plan.sql
create or replace view ops.margin_by_plan as
with used as materialized (
  select
    date_trunc('month', d.day::timestamp)::date as month, d.tier_name, count(distinct d.user_id) as people, sum(d.runs)::bigint as runs,
    sum(d.limited_cost) as cost
  from core.usage_parts d
  group by 1, 2
),
received as materialized (
  select c.month, p.tier_name, sum(c.periods)::bigint as periods, sum(c.cash) as cash
  from (
    select date_trunc('month', x.day::timestamp)::date as month, x.name, count(*) as periods, sum(x.cash) as cash
    from core.cash_received x
    where x.kind = 'plan'
    group by 1, 2
  ) c
  join public.plans p on p.plan = c.name
  group by c.month, p.tier_name
)
select
  coalesce(u.month, r.month) as month,
  coalesce(t.plans, 'none') as plan,
  coalesce(u.tier_name, r.tier_name) as tier_name,
  coalesce(r.periods, 0) as paid_periods,
  coalesce(r.cash, 0) as revenue_dollars,
  coalesce(u.people, 0) as people,
  coalesce(u.runs, 0) as runs,
  coalesce(u.cost, 0) as cost_dollars,
  coalesce(r.cash, 0) - coalesce(u.cost, 0) as margin_dollars,
  round(100 * (coalesce(r.cash, 0) - coalesce(u.cost, 0)) / nullif(r.cash, 0), 1) as margin_percent
from used u
full join received r on r.month = u.month and r.tier_name = u.tier_name
left join (
  select p.tier_name, string_agg(p.plan, ', ' order by p.plan) as plans from public.plans p group by p.tier_name
) t on t.tier_name = coalesce(u.tier_name, r.tier_name)
order by month desc, margin_dollars;

comment on view ops.margin_by_plan is
  'Which plan loses money? By month (UTC), newest first, then worst first: what its periods paid in the month against what runs of its tier cost, but for the cost that purchased credits paid for, which ops.margin_by_pack has. Plans that share a tier stand in one row. Spec 8.4.';
comment on column ops.margin_by_plan.month is 'Its first day.';
comment on column ops.margin_by_plan.plan is 'Plans of that tier; none: a tier that no plan gives.';
comment on column ops.margin_by_plan.tier_name is 'Tier under which the runs ran.';
comment on column ops.margin_by_plan.paid_periods is 'Billing periods paid in the month.';
comment on column ops.margin_by_plan.revenue_dollars is 'US dollars that these brought, less what was refunded or is disputed of it.';
comment on column ops.margin_by_plan.people is 'Who ran something in that tier.';
comment on column ops.margin_by_plan.runs is 'Runs that have ended.';
comment on column ops.margin_by_plan.cost_dollars is 'US dollars of provider cost that purchased credits did not pay for.';
comment on column ops.margin_by_plan.margin_dollars is 'US dollars: revenue less that cost.';
comment on column ops.margin_by_plan.margin_percent is 'margin_dollars in percent of the revenue, 1 decimal; null without revenue.';
--! EndIncluded analytics/margin_by_plan.sql
--! Included analytics/month_figures.sql
create or replace function core.month_figures(at timestamptz)
returns table (
  subscription_revenue numeric, pack_revenue numeric, earned_pack_revenue numeric, cost numeric, overall_margin_percent numeric,
  active_users bigint, throttled_users bigint, high_risk_users bigint, users bigint
)
language plpgsql
stable
set search_path = ''
set jit = off
set enable_seqscan = on
as $$
#variable_conflict use_column
declare
  starts_at timestamptz := date_trunc('month', month_figures.at at time zone 'UTC') at time zone 'UTC';
  ends_at timestamptz := (date_trunc('month', month_figures.at at time zone 'UTC') + interval '1 month') at time zone 'UTC';
  is_over boolean := ends_at <= core.now();
begin
  if is_over then
    -- Each subscription begins one period in a calendar month.
    select coalesce(sum(greatest(0, p.paid_amount - p.refunded_amount - p.disputed_amount)), 0) into subscription_revenue
    from public.subscription_periods p
    where p.state = 'paid' and p.period_start >= starts_at and p.period_start < ends_at;
    select p.active, p.throttled, p.high_risk, p.total into active_users, throttled_users, high_risk_users, users
    from core.people_back_then(starts_at, ends_at) p;
  else
    select coalesce(sum(s.monthly_amount), 0) into subscription_revenue from core.paying_subscriptions(month_figures.at) s;
    select p.active, p.throttled, p.high_risk, p.total into active_users, throttled_users, high_risk_users, users
    from core.people_this_month(starts_at, month_figures.at) p;
  end if;

  select coalesce(sum(greatest(0, p.paid_amount - p.refunded_amount - p.disputed_amount)), 0) into pack_revenue
  from public.purchases p
  where p.paid_at >= starts_at and p.paid_at < ends_at;

  select coalesce(sum(d.purchased_value), 0), coalesce(sum(d.cost), 0) into earned_pack_revenue, cost
  from core.usage_parts d
  where d.day >= (starts_at at time zone 'UTC')::date and d.day < (ends_at at time zone 'UTC')::date;

  overall_margin_percent := round(
    100 * (subscription_revenue + earned_pack_revenue - cost) / nullif(subscription_revenue + earned_pack_revenue, 0), 2
  );
  return next;
end
$$;

comment on function core.month_figures(timestamptz) is
  'The figures of the calendar month (UTC) that a moment is in, one row, US dollars: what subscriptions pay now, or of a month that is over what they '
  'paid for the periods that began in it, less what went back; what packs paid for in the '
  'month brought, less what was refunded or is disputed of them; the part of packs'' cash that the month''s runs earned by spending their credits; provider '
  'cost of the month''s runs; (subscriptions + earned - cost) in percent of (subscriptions + earned), 2 decimals, null without revenue. Then '
  'people: active (a run this month or an entitled subscription), throttled (null of a month that is over), high_risk (more than 5 dollars this month), and '
  'all whose account is open (or was at the month''s end). Exact at every moment, whenever the analytics were refreshed. Spec 8.3.';
--! EndIncluded analytics/month_figures.sql
--! Included analytics/refresh_usage.sql
create or replace function core.refresh_usage()
returns bigint
language plpgsql
set search_path = ''
set jit = off
set enable_seqscan = on
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  most constant integer := 100000;
  batch record;
  written bigint;
  touched bigint := 0;
begin
  for batch in
    with news as materialized (
      select
        x.user_id, x.through_run_id, x.day, x.model, x.package_id, x.tier_name, x.corrected_run_id, x.n,
        sum(x.runs)::bigint as runs,
        sum(x.failed_runs)::bigint as failed_runs,
        sum(x.input_tokens)::bigint as input_tokens,
        sum(x.cached_tokens)::bigint as cached_tokens,
        sum(x.cache_write_tokens)::bigint as cache_write_tokens,
        sum(x.output_tokens)::bigint as output_tokens,
        sum(x.cost) as cost,
        sum(x.limited_cost) as limited_cost,
        sum(x.credits)::bigint as credits,
        sum(x.shortfall)::bigint as shortfall,
        sum(x.included_value) as included_value,
        sum(x.purchased_value) as purchased_value,
        sum(x.cache_saving) as cache_saving,
        sum(x.answers)::bigint as answers,
        sum(x.answer_tokens)::bigint as answer_tokens,
        sum(x.paid_credits)::bigint as paid_credits,
        sum(x.paid_cost) as paid_cost,
        sum(x.prompted_sessions)::bigint as prompted_sessions,
        sum(x.prompted_runs)::bigint as prompted_runs,
        sum(x.prompted_credits)::bigint as prompted_credits
      from (
        -- What has ended above each user's mark, and how far that reaches: to just below their least open run, else to their newest.
        select
          u.id as user_id, case when open.id is null then u.last_run_id else below.id end as through_run_id,
          t.day, t.model, t.package_id, t.tier_name, null::uuid as corrected_run_id, null::integer as n,
          t.runs, t.failed_runs, t.input_tokens, t.cached_tokens, t.cache_write_tokens, t.output_tokens, t.cost, t.limited_cost, t.credits,
          t.shortfall, t.included_value, t.purchased_value, t.cache_saving, t.answers, t.answer_tokens, t.paid_credits, t.paid_cost,
          t.prompted_sessions, t.prompted_runs, t.prompted_credits
        from public.users u
        left join core.usage_marks m on m.user_id = u.id
        left join lateral (
          select o.id from unnest(u.open_runs) o (id)
          where o.id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000')
          order by o.id limit 1
        ) open on true
        left join lateral (
          select r.id from public.runs r
          where r.user_id = u.id and r.id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000') and r.id < open.id
          order by r.id desc limit 1
        ) below on true
        left join lateral (
          select * from core.usage_by_run y
          where y.user_id = u.id and y.run_id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000')
            and y.run_id <= case when open.id is null then u.last_run_id else below.id end
          offset 0
        ) t on true
        where u.last_run_id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000') and (open.id is null or below.id is not null)
        union all
        select
          c.user_id, null, c.day, c.model, c.package_id, c.tier_name, null, null,
          c.runs, c.failed_runs, c.input_tokens, c.cached_tokens, c.cache_write_tokens, c.output_tokens, c.cost, c.limited_cost, c.credits,
          c.shortfall, c.included_value, c.purchased_value, c.cache_saving, c.answers, c.answer_tokens, c.paid_credits, c.paid_cost,
          c.prompted_sessions, c.prompted_runs, c.prompted_credits
        from core.usage_corrected c
        join core.usage_marks m on m.user_id = c.user_id and c.run_id <= m.through_run_id
        union all
        -- The corrections that this folds in, or makes needless; one of a running run behind the mark stays.
        select
          c.user_id, null, null, null, null, null, c.run_id, c.n,
          null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
        from core.usage_corrections c
        left join core.usage_marks m on m.user_id = c.user_id
        left join public.runs r on r.user_id = c.user_id and r.id = c.run_id
        where not coalesce(c.run_id <= m.through_run_id and r.status = 'running', false)
      ) x
      group by x.user_id, x.through_run_id, x.day, x.model, x.package_id, x.tier_name, x.corrected_run_id, x.n
    )
    select
      array_agg(row(
        n.user_id, n.day, n.model, n.package_id, n.tier_name, n.runs, n.failed_runs, n.input_tokens, n.cached_tokens, n.cache_write_tokens,
        n.output_tokens, n.cost, n.limited_cost, n.credits, n.shortfall, n.included_value, n.purchased_value, n.cache_saving, n.answers,
        n.answer_tokens, n.paid_credits, n.paid_cost
      )::public.usage_rollups) filter (where n.day is not null) as rollups,
      array_agg(row(
        n.package_id, n.day, n.user_id, n.model, n.prompted_sessions, n.prompted_runs, n.prompted_credits
      )::core.package_days) filter (where n.prompted_sessions <> 0 or n.prompted_runs <> 0 or n.prompted_credits <> 0) as days,
      array_agg(distinct row(n.user_id, n.through_run_id)::core.usage_marks) filter (where n.through_run_id is not null) as marks,
      array_agg(n.user_id) filter (where n.corrected_run_id is not null) as corrected_users,
      array_agg(n.corrected_run_id) filter (where n.corrected_run_id is not null) as corrected_runs,
      array_agg(n.n) filter (where n.corrected_run_id is not null) as corrected_ns
    -- New runs and corrections may be of one rollup: each of them is added by itself.
    from (select x.*, x.through_run_id is not null as is_new, row_number() over () as place from news x) n
    group by n.is_new, n.place / most
  loop
    insert into public.usage_rollups as r (
      user_id, day, model, package_id, tier_name, runs, failed_runs, input_tokens, cached_tokens, cache_write_tokens, output_tokens, cost,
      limited_cost, credits, shortfall, included_value, purchased_value, cache_saving, answers, answer_tokens, paid_credits, paid_cost
    )
    select
      n.user_id, n.day, n.model, n.package_id, n.tier_name, n.runs, n.failed_runs, n.input_tokens, n.cached_tokens, n.cache_write_tokens,
      n.output_tokens, n.cost, n.limited_cost, n.credits, n.shortfall, n.included_value, n.purchased_value, n.cache_saving, n.answers,
      n.answer_tokens, n.paid_credits, n.paid_cost
    from unnest(batch.rollups) n
    on conflict (user_id, day, model, package_id, tier_name) do update set
      runs = r.runs + excluded.runs, failed_runs = r.failed_runs + excluded.failed_runs,
      input_tokens = r.input_tokens + excluded.input_tokens, cached_tokens = r.cached_tokens + excluded.cached_tokens,
      cache_write_tokens = r.cache_write_tokens + excluded.cache_write_tokens, output_tokens = r.output_tokens + excluded.output_tokens,
      cost = r.cost + excluded.cost, limited_cost = r.limited_cost + excluded.limited_cost, credits = r.credits + excluded.credits,
      shortfall = r.shortfall + excluded.shortfall, included_value = r.included_value + excluded.included_value,
      purchased_value = r.purchased_value + excluded.purchased_value, cache_saving = r.cache_saving + excluded.cache_saving,
      answers = r.answers + excluded.answers, answer_tokens = r.answer_tokens + excluded.answer_tokens,
      paid_credits = r.paid_credits + excluded.paid_credits, paid_cost = r.paid_cost + excluded.paid_cost;
    get diagnostics written = row_count;
    touched := touched + written;

    insert into core.usage_marks as m (user_id, through_run_id)
    select n.user_id, n.through_run_id from unnest(batch.marks) n
    on conflict (user_id) do update set through_run_id = excluded.through_run_id;

    insert into core.package_usage as p (package_id, model, answers, answer_tokens)
    select n.package_id, n.model, sum(n.answers)::bigint, sum(n.answer_tokens)::bigint
    from unnest(batch.rollups) n
    where n.answers <> 0 or n.answer_tokens <> 0
    group by n.package_id, n.model
    on conflict (package_id, model) do update set
      answers = p.answers + excluded.answers, answer_tokens = p.answer_tokens + excluded.answer_tokens;

    insert into core.package_days as p (package_id, day, user_id, model, sessions, runs, credits)
    select n.package_id, n.day, n.user_id, n.model, sum(n.sessions)::bigint, sum(n.runs)::bigint, sum(n.credits)::bigint
    from unnest(batch.days) n
    group by n.package_id, n.day, n.user_id, n.model
    on conflict (package_id, day, user_id, model) do update set
      sessions = p.sessions + excluded.sessions, runs = p.runs + excluded.runs, credits = p.credits + excluded.credits;

    delete from core.usage_corrections c
    using unnest(batch.corrected_users, batch.corrected_runs, batch.corrected_ns) x (user_id, run_id, n)
    where c.user_id = x.user_id and c.run_id = x.run_id and c.n = x.n;
  end loop;
  return touched;
end
$$;

comment on function core.refresh_usage() is
  'Rolls up what has ended since the last time: one statement reads it, so it is of one moment; runs go on meanwhile, and nothing of it waits for them '
  'or they for it. Costs by users and new runs. Returns how many rollups it touched. One at a time: the caller sees to it. Spec 8.2, docs/adr/0016.';
--! EndIncluded analytics/refresh_usage.sql
--! Included alerts/limit_notices.sql
create or replace function core.limit_notices(now timestamptz)
returns setof core.person_notice
language sql
stable
set search_path = ''
begin atomic
  select
    u.id, 'limit_warning', reached.level,
    to_char((u.month_ends_at at time zone 'UTC') - interval '1 day', 'YYYY-MM') || ' ' || l.limits_of,
    core.write_used(u.current_month_limited_cost, l.monthly_cost_limit),
    format(
      E'You have used %s of the %s dollars of model cost that your plan covers this month.\nA new month begins on %s. Cost that purchased credits pay for does not count.',
      core.write_dollars(u.current_month_limited_cost), core.write_dollars(l.monthly_cost_limit), core.write_day(u.month_ends_at)
    )
  from public.users u
  join core.limits_by_tier l on l.tier_name = core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, limit_notices.now)
  cross join lateral (
    select max(percent) as level
    from unnest(l.alert_at_percent) percent
    where u.current_month_limited_cost * 100 >= percent * l.monthly_cost_limit
  ) reached
  where u.current_month_limited_cost >= l.first_warning_at and u.current_month_limited_cost > 0 and u.month_ends_at > limit_notices.now
    and reached.level is not null and not (u.is_throttled and core.throttle_holds(u.throttled_by, u.throttled_until, limit_notices.now))
  union all
  select
    u.id, 'throttled', 0, to_char(coalesce(u.throttled_at, limit_notices.now) at time zone 'UTC', case when u.throttled_at is null then 'YYYY-MM' else 'YYYY-MM-DD' end),
    case
      when u.throttled_by = 'limit' then format('No more runs until %s UTC%s', to_char(u.throttled_until at time zone 'UTC', 'YYYY-MM-DD HH24:MI'),
        substring(u.throttled_reason from ':.*$'))
      else 'Runs of your account are stopped'
    end,
    case
      when u.throttled_by = 'limit' then 'Your plan''s limit of model cost is used up. Runs go on by themselves when the time above has come, or at once with a higher plan.'
      else 'An operator has stopped runs of your account'
        || coalesce(' until ' || core.write_day(case when u.throttled_by is not null then u.throttled_until end), '') || '. Write to us if you think that this is a mistake.'
    end
  from public.users u
  where u.is_throttled and core.throttle_holds(u.throttled_by, u.throttled_until, limit_notices.now);
end;

comment on function core.limit_notices(timestamptz) is
  'Mails about limits that are due: limit_warning (level: the highest of cost_limits_config.alert_at_percent that is reached; once for each '
  'month and tier; none while throttled) and throttled (once for the day on which it began; by plain UPDATE once a month). Spec 3.3, 3.4, 9.';
--! EndIncluded alerts/limit_notices.sql
--! Included alerts/raise_check_failed.sql
create or replace function core.raise_check_failed(failure text, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  raised bigint;
begin
  insert into public.alerts (kind, key, level, severity, subject, body, details, raised_at)
  values (
    'check_failed', '', 0, 'critical', 'Alerts could not be checked: ' || left(failure, 200),
    'What was open stays open until they can be. What is wrong right now is in SELECT * FROM ops.checks();',
    jsonb_build_object('error', failure), raise_check_failed.now
  )
  on conflict (kind, key) where resolved_at is null do nothing;
  get diagnostics raised = row_count;
  return raised;
end
$$;

comment on function core.raise_check_failed(text, timestamptz) is
  'Raises the alert check_failed: the conditions of alerts could not be read, so none was raised or resolved. The next check that succeeds '
  'resolves it. Returns 1 where it is new. Spec 9.';
--! EndIncluded alerts/raise_check_failed.sql
--! Included limits/watch_budgets.sql
create or replace function ops.watch_budgets()
returns numeric
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  budget numeric;
  used numeric;
begin
  -- Where users are spread over nodes, a table that they refer to is written only by who has read them over one connection a node.
  perform set_config('citus.multi_shard_modify_mode', 'sequential', true);
  select s.free_tier_daily_budget into budget from public.settings s;
  select coalesce(sum(u.current_day_limited_cost), 0) into used
  from public.users u
  where u.day_ends_at > now and core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now) = 'free';

  update public.cost_limits_config l
  set paused_until = case when used >= budget then (date_trunc('day', now at time zone 'UTC') + interval '1 day') at time zone 'UTC' end
  where l.tier_name = 'free' and coalesce(l.paused_until > now, false) <> coalesce(used >= budget, false);
  return used;
end
$$;

comment on function ops.watch_budgets() is
  'Adds up what the free tier as a whole has cost today (US dollars, returned) and pauses it until tomorrow once '
  'settings.free_tier_daily_budget is used up; ends the pause when the budget was raised. For a job each minute, not the hot path. '
  'Call: select ops.watch_budgets(); Spec 3.6.';
--! EndIncluded limits/watch_budgets.sql
--! Included accounts/end_membership.sql
create or replace function core.end_membership(user_id uuid, organization_id uuid)
returns text
language plpgsql
set search_path = ''
as $$
declare
  was text;
begin
  delete from public.organization_members m
  where m.user_id = end_membership.user_id and m.organization_id = end_membership.organization_id
  returning m.role into was;
  return was;
end
$$;

comment on function core.end_membership(uuid, uuid) is
  'Ends a person''s membership of an organization. Returns the role that they had; null: they were no member. Spec 2.3.';
--! EndIncluded accounts/end_membership.sql
--! Included accounts/end_token.sql
create or replace function core.end_token(user_id uuid, token_id uuid)
returns timestamptz
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  since timestamptz;
begin
  update public.api_tokens t
  set revoked_at = coalesce(t.revoked_at, now)
  where t.user_id = end_token.user_id and t.id = end_token.token_id
  returning t.revoked_at into since;
  return since;
end
$$;

comment on function core.end_token(uuid, uuid) is
  'Revokes one of a user''s own API tokens; a second call changes nothing. Returns since when it is revoked; null: there is none, or it is '
  'another''s. Spec 2.2.';
--! EndIncluded accounts/end_token.sql
--! Included accounts/leave_organization.sql
create or replace function api.leave_organization(user_id uuid, organization_id uuid)
returns table (organization_id uuid, role text)
language sql
security definer
set search_path = ''
begin atomic
  select leave_organization.organization_id, ended.role
  from core.end_membership(leave_organization.user_id, leave_organization.organization_id) ended (role)
  where ended.role is not null;
end;

comment on function api.leave_organization(uuid, uuid) is
  'Ends a user''s own membership. Returns the membership that was; no row: they are no member. A price that hung on it changes at the '
  'next renewal. Spec 2.3, 2.4.';
--! EndIncluded accounts/leave_organization.sql
--! Included accounts/list_changes.sql
create or replace function api.list_changes(user_id uuid, "limit" integer default 50, cursor text default null)
returns table (changes json, next_cursor text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  after text[];
begin
  perform core.check_admin(list_changes.user_id);
  perform core.check_page("limit", 0);
  after := core.decode_cursor(list_changes.cursor, 'bigint');

  with page as (
    select a.*, row_number() over (order by a.id desc) as nth
    from public.audit_log a
    where after is null or a.id < after[1]::bigint
    order by a.id desc
    limit "limit" + 1
  ),
  named as (
    select u.id, u.username
    from public.users u
    where u.id in (select core.uuid_or_null(x.new ->> 'by') from page x) or u.id in (select core.uuid_or_null(x.row_key) from page x)
  )
  select
    coalesce(json_agg(json_build_object(
      'id', g.id,
      'at', g.at,
      'role', g.role,
      'by', coalesce(u.username, g.new ->> 'by'),
      'what', g.table_name,
      'action', g.action,
      'about', case when g.table_name <> 'settings' then coalesce(p.username, g.row_key) end,
      'reason', g.reason,
      'fields', (
        select coalesce(json_agg(json_build_object('field', k, 'was', g.old -> k, 'becomes', g.new -> k) order by k), '[]')
        from jsonb_object_keys(coalesce(g.old, '{}') || coalesce(g.new, '{}')) k
        where k <> 'by'
      )
    ) order by g.nth) filter (where g.nth <= "limit"), '[]'),
    max(core.encode_cursor(g.id::text)) filter (where g.nth = "limit" and exists (select from page x where x.nth > "limit"))
  into changes, next_cursor
  from page g
  left join named u on u.id = core.uuid_or_null(g.new ->> 'by')
  left join named p on p.id = core.uuid_or_null(g.row_key);
  return next;
end
$$;

comment on function api.list_changes(uuid, integer, text) is
  'One page of audit_log, newest first, for an administrator: a JSON array with when, by which role or administrator, what and about whom, the '
  'fields before and after, and why; next_cursor is null on the last page. Errors: PR403; PR400 naming limit or cursor. Spec 10.7, 12.';
--! EndIncluded accounts/list_changes.sql
--! Included accounts/revoke_token.sql
create or replace function api.revoke_token(user_id uuid, id uuid)
returns table (id uuid, revoked_at timestamptz)
language sql
security definer
set search_path = ''
begin atomic
  select revoke_token.id, ended.since
  from core.end_token(revoke_token.user_id, revoke_token.id) ended (since)
  where ended.since is not null;
end;

comment on function api.revoke_token(uuid, uuid) is
  'Revokes one of a user''s own API tokens, from the next request on; a second call changes nothing. '
  'Returns its id and when; no row: there is none, or it is another''s. Spec 2.2.';
--! EndIncluded accounts/revoke_token.sql
--! Included billing/align_prices.sql
create or replace function ops.align_prices()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  candidate record;
  offer record;
  queued bigint := 0;
begin
  perform core.note_plan_prices();
  for candidate in
    select s.user_id, s.id, s.item_id, s.plan
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    where not s.superseded and s.cancel_at is null and s.item_id is not null
      and s.plan in ('prpm_plus_individual', 'prpm_plus_org_member')
    order by s.user_id, s.id
  loop
    select x.* into offer from core.offer_of(candidate.user_id) x;
    -- Another price of the same plan is for who subscribes from now on.
    continue when offer.price_id is null or offer.plan = candidate.plan;
    perform from public.users u where u.id = candidate.user_id for no key update skip locked;
    continue when not found
      or exists (select from public.stripe_work w where w.kind = 'update_subscription' and w.key = candidate.id); -- asked for meanwhile
    perform core.want_work('update_subscription', candidate.id, candidate.user_id, jsonb_build_object(
      'items', jsonb_build_array(jsonb_build_object('id', candidate.item_id, 'price', offer.price_id)),
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
--! Included billing/ask_for_due_periods.sql
create or replace function core.ask_for_due_periods(at_once boolean, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  due record;
  asked bigint := 0;
begin
  for due in
    select p.user_id, p.subscription_id
    from public.subscription_periods p
    where p.state = 'due' and p.created_at <= ask_for_due_periods.now - core.payment_patience()
  loop
    continue when not at_once and exists (
      select from public.stripe_work w where w.key = due.subscription_id and w.kind = 'fetch_subscription'
    );
    perform core.want_work('fetch_subscription', due.subscription_id, due.user_id);
    asked := asked + 1;
  end loop;
  return asked;
end
$$;

comment on function core.ask_for_due_periods(boolean, timestamptz) is
  'Has the subscription of each period fetched that is due for 70 minutes and not known to be paid; unless at_once, only where no fetch is '
  'queued (which comes ever later) or given up. Returns how many. Spec 6.6.';
--! EndIncluded billing/ask_for_due_periods.sql
--! Included billing/await_period.sql
create or replace function core.await_period(s public.subscriptions, is_final boolean, is_fetched boolean, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  since timestamptz;
  was_paid boolean;
begin
  -- Only the present one is awaited; should an earlier one be paid after all, its invoice says so.
  delete from public.subscription_periods p
  where p.user_id = s.user_id and p.subscription_id = s.id and p.state = 'due'
    and (p.period_start <> s.current_period_start or is_final);
  if s.status not in ('active', 'past_due', 'unpaid') or s.current_period_start is null then
    return;
  end if;
  insert into public.subscription_periods (user_id, subscription_id, period_start, period_end, plan, state, created_at)
  values (s.user_id, s.id, s.current_period_start, s.current_period_end, s.plan, 'due', await_period.now)
  on conflict on constraint subscription_periods_pkey do nothing;
  select p.created_at into since
  from public.subscription_periods p
  where p.user_id = s.user_id and p.subscription_id = s.id and p.period_start = s.current_period_start and p.state = 'due';
  if found then
    was_paid := exists (
      select from public.subscription_periods p
      where p.user_id = s.user_id and p.subscription_id = s.id and p.state = 'paid'
    );
    perform core.want_work('fetch_subscription', s.id, s.user_id, delay => case
      when is_fetched then greatest(core.payment_patience(), await_period.now - since)
      when was_paid then core.payment_patience()
      else interval '0'
    end);
  end if;
end
$$;

comment on function core.await_period(public.subscriptions, boolean, boolean, timestamptz) is
  'Where Stripe is in a period that is not known to be paid, has it looked at again when the money should be there, and then ever later; a '
  'first one at once. is_fetched: what is known was just fetched. The caller holds the user''s row. Spec 4.3, 6.6.';
--! EndIncluded billing/await_period.sql
--! Included billing/cancel_billing.sql
create or replace function core.cancel_billing(user_id uuid)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  session text;
  subscribed text[];
  canceled bigint;
begin
  delete from public.stripe_work w
  where w.user_id = cancel_billing.user_id and w.kind = 'update_subscription' and w.claimed_until is null;
  subscribed := array(
    select s.id
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    where s.user_id = cancel_billing.user_id and not s.superseded
  );
  select count(core.want_work('cancel_subscription', s.id, cancel_billing.user_id, '{"prorate": false}', is_write => true)) into canceled
  from unnest(subscribed) s (id)
  where not exists (select from public.stripe_work w where w.kind = 'cancel_subscription' and w.key = s.id and not w.is_failed);

  -- One at a time: what is read here may be written by who makes a session right now.
  for session in
    update public.checkouts c set status = 'expired'
    where c.user_id = cancel_billing.user_id and c.status in ('begun', 'open')
    returning c.session_id
  loop
    perform core.want_work('expire_session', session, cancel_billing.user_id, is_write => true) where session is not null;
  end loop;
  for session in
    update public.purchases p set status = 'expired'
    where p.user_id = cancel_billing.user_id and p.status = 'pending'
    returning p.stripe_checkout_session_id
  loop
    perform core.want_work('expire_session', session, cancel_billing.user_id, is_write => true) where session is not null;
  end loop;
  return canceled;
end
$$;

comment on function core.cancel_billing(uuid) is
  'Queues what keeps a person from being charged any more: open subscriptions are canceled at once, without money back, and open checkouts expire. '
  'Returns how many subscriptions; one whose cancellation waits already is not canceled twice. The caller holds the user''s row. Spec 2.3, 6.1, 10.8.';
--! EndIncluded billing/cancel_billing.sql
--! Included billing/compare_payments.sql
create or replace function core.compare_payments(page jsonb, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  theirs record;
  known public.payments;
  wanted bigint := 0;
begin
  for theirs in
    select c.user_id, x ->> 'id' as id, round((x ->> 'amount_received')::numeric / 100, 2) || ' ' || (x ->> 'currency') as amount
    from jsonb_array_elements(page) x
    join public.stripe_customers c on c.customer_id = coalesce(x #>> '{customer,id}', x ->> 'customer')
    where x ->> 'status' = 'succeeded' and to_timestamp((x ->> 'created')::bigint) <= compare_payments.now - core.news_patience()
  loop
    select p.* into known from public.payments p where p.user_id = theirs.user_id and p.id = theirs.id;
    continue when found and (known.kind <> 'unknown' or known.needs_review is not null or exists (
      select from public.stripe_work w where w.key = theirs.id
    ));
    insert into public.stripe_drift (user_id, kind, object, ours, theirs, found_at)
    values (
      theirs.user_id, 'payment', theirs.id,
      case when known.id is not null then 'paid ' || known.paid_amount || ' ' || known.currency || ' for nothing known' end,
      'paid ' || theirs.amount, compare_payments.now
    );
    perform core.want_work('fetch_payment', theirs.id, theirs.user_id);
    -- What went back of a payment that we never heard of, we never heard of either.
    perform core.want_work('fetch_refunds', theirs.id, theirs.user_id);
    perform core.want_work('fetch_disputes', theirs.id, theirs.user_id);
    wanted := wanted + 1;
  end loop;
  return wanted;
end
$$;

comment on function core.compare_payments(jsonb, timestamptz) is
  'Compares payments as Stripe lists them with ours: those of our customers that succeeded and are not known here, or not what for, are kept '
  'in stripe_drift and fetched, with their refunds and disputes. Returns how many. Spec 6.6.';
--! EndIncluded billing/compare_payments.sql
--! Included billing/compare_reversals.sql
create or replace function core.compare_reversals(kind text, page jsonb, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  theirs record;
  known public.reversals;
  payments text[] := array[]::text[];
begin
  for theirs in
    select c.user_id, t.*
    from (
      select x ->> 'id' as id, coalesce(x #>> '{payment_intent,id}', x ->> 'payment_intent') as payment_id, x ->> 'status' as status,
        round((x ->> 'amount')::numeric / 100, 2) as amount, to_timestamp((x ->> 'created')::bigint) as made_at
      from jsonb_array_elements(page) x
    ) t
    join public.stripe_payments c on c.payment_id = t.payment_id
  loop
    select r.* into known from public.reversals r where r.user_id = theirs.user_id and r.id = theirs.id;
    continue when (known.status, known.reversed_amount) is not distinct from (theirs.status, theirs.amount)
      or known.id is null and theirs.made_at > compare_reversals.now - core.news_patience();
    insert into public.stripe_drift (user_id, kind, object, ours, theirs, found_at)
    values (
      theirs.user_id, compare_reversals.kind, theirs.id, known.status || ' ' || known.reversed_amount, theirs.status || ' ' || theirs.amount,
      compare_reversals.now
    );
    continue when theirs.payment_id = any (payments);
    perform core.want_work('fetch_' || compare_reversals.kind || 's', theirs.payment_id, theirs.user_id);
    payments := payments || theirs.payment_id;
  end loop;
  return cardinality(payments);
end
$$;

comment on function core.compare_reversals(text, jsonb, timestamptz) is
  'Compares refunds or disputes (kind) as Stripe lists them with ours: those of known payments whose status or amount differs are kept in '
  'stripe_drift, and all of that payment''s are fetched. Returns of how many payments. Spec 6.6.';
--! EndIncluded billing/compare_reversals.sql
--! Included billing/compare_subscriptions.sql
create or replace function core.compare_subscriptions(page jsonb, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  theirs record;
  known public.subscriptions;
  ours text;
  wanted bigint := 0;
begin
  for theirs in
    select c.user_id, x ->> 'id' as id, to_timestamp((x ->> 'created')::bigint) as made_at, core.describe_subscription(
      x ->> 'status',
      (x #>> '{items,data,0,current_period_end}')::bigint,
      case when not coalesce(state.is_final, false) then
        coalesce((x ->> 'cancel_at')::bigint, case when (x ->> 'cancel_at_period_end')::boolean then (x #>> '{items,data,0,current_period_end}')::bigint end)
      end,
      jsonb_typeof(x -> 'pause_collection') = 'object' and not coalesce(state.is_final, false),
      x #>> '{items,data,0,price,id}'
    ) as words
    from jsonb_array_elements(page) x
    join public.stripe_customers c on c.customer_id = coalesce(x #>> '{customer,id}', x ->> 'customer')
    left join public.subscription_states state on state.status = x ->> 'status'
  loop
    select s.* into known from public.subscriptions s where s.user_id = theirs.user_id and s.id = theirs.id;
    ours := case when found then core.describe_subscription(
      known.status, extract(epoch from known.current_period_end)::bigint, extract(epoch from known.cancel_at)::bigint, known.collection_paused,
      known.price_id
    ) end;
    continue when ours is not distinct from theirs.words
      or greatest(theirs.made_at, known.updated_at) > compare_subscriptions.now - core.news_patience();
    insert into public.stripe_drift (user_id, kind, object, ours, theirs, found_at)
    values (theirs.user_id, 'subscription', theirs.id, ours, theirs.words, compare_subscriptions.now);
    perform core.want_work('fetch_subscription', theirs.id, theirs.user_id);
    wanted := wanted + 1;
  end loop;
  return wanted;
end
$$;

comment on function core.compare_subscriptions(jsonb, timestamptz) is
  'Compares subscriptions as Stripe lists them with ours: those of our customers that differ, and of which nothing was heard in '
  'the last minutes, are kept in stripe_drift and fetched. Returns how many. Spec 6.6.';
--! EndIncluded billing/compare_subscriptions.sql
--! Included billing/current_subscription.sql
create or replace function core.current_subscription(user_id uuid)
returns public.subscriptions
language plpgsql
stable
set search_path = ''
as $$
declare
  present public.subscriptions;
begin
  select s.* into present
  from public.subscriptions s
  join public.subscription_states state on state.status = s.status
  where s.user_id = current_subscription.user_id and not s.superseded
  order by state.is_open desc, s.stripe_created_at desc nulls last, s.id desc
  limit 1;
  return present;
end
$$;

comment on function core.current_subscription(uuid) is 'The subscription that a user means: the open one, else the newest; null without any. Spec 6.1.';
--! EndIncluded billing/current_subscription.sql
--! Included billing/follow_erasure.sql
create or replace function core.follow_erasure(user_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
declare
  erased timestamptz;
  bought text[];
begin
  select e.erased_at into erased from public.erasures e where e.user_id = follow_erasure.user_id;
  if not found then
    return;
  end if;
  update public.stripe_events e set body = null
  where e.user_id = follow_erasure.user_id and e.status in ('applied', 'ignored') and e.body is not null;
  update public.subscriptions s set hosted_invoice_url = null where s.user_id = follow_erasure.user_id and s.hosted_invoice_url is not null;

  -- Bought in the same moment: nobody is there who could use it.
  bought := array(
    select s.id
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    where s.user_id = follow_erasure.user_id and s.created_at > erased
  );
  perform core.want_work('cancel_subscription', s.id, follow_erasure.user_id, '{"prorate": false}', is_write => true)
  from unnest(bought) s (id)
  where not exists (select from public.stripe_work w where w.key = s.id and w.kind = 'cancel_subscription');
  bought := array(
    select p.id
    from public.payments p
    where p.user_id = follow_erasure.user_id and p.created_at > erased and p.paid_amount > 0 and p.needs_review is null
      and not exists (select from public.reversals r where r.user_id = follow_erasure.user_id and r.payment_id = p.id)
  );
  perform core.want_work('refund_payment', p.id, follow_erasure.user_id,
    jsonb_build_object('payment_intent', p.id, 'metadata', jsonb_build_object('reason', 'account erased')), is_write => true)
  from unnest(bought) p (id)
  where not exists (select from public.stripe_work w where w.key = p.id and w.kind = 'refund_payment');
end
$$;

comment on function core.follow_erasure(uuid) is
  'After news of Stripe''s on a person: where they were erased, the news is not kept, and what was paid or subscribed to and became known '
  'since is given back and canceled. The caller holds the user''s row. Spec 10.8.';
--! EndIncluded billing/follow_erasure.sql
--! Included billing/read_checkout.sql
create or replace function api.read_checkout(user_id uuid, session_id text default null)
returns json
language sql
stable
security definer
set search_path = ''
begin atomic
  select json_build_object('kind', c.kind, 'name', c.name, 'credits', c.credits, 'price', c.price::text, 'state', c.state)
  from (
    select
      'pack' as kind, p.pack as name, p.credits, p.price, p.created_at, p.stripe_checkout_session_id as session_id,
      case p.status
        when 'pending' then 'waiting' when 'needs_review' then 'in_review' when 'failed' then 'failed' when 'expired' then 'expired' else 'done'
      end as state
    from public.purchases p
    where p.user_id = read_checkout.user_id
    union all
    select
      'subscription', c.plan, p.monthly_credits, p.monthly_price, c.created_at, c.session_id,
      case
        when u.prpm_plus_status = 'active' and u.entitled_until > core.now() then 'done' when c.status = 'expired' then 'expired' else 'waiting'
      end
    from public.checkouts c
    join public.plans p on p.plan = c.plan
    join public.users u on u.id = read_checkout.user_id
    where c.user_id = read_checkout.user_id
  ) c
  where c.session_id = coalesce(read_checkout.session_id, c.session_id)
  order by c.created_at desc
  limit 1;
end;

comment on function api.read_checkout(uuid, text) is
  'What became of one of a user''s own checkout sessions at Stripe, the newest where none is named, as a JSON object: kind (pack or '
  'subscription), name of the pack or plan, credits, price (US dollars), and state: waiting (Stripe has not told of the payment yet), done '
  '(the credits are there, or the subscription entitles), in_review, failed or expired. Null where there is none of theirs. Spec 6.1, 6.2, 6.5.';
--! EndIncluded billing/read_checkout.sql
--! Included billing/read_subscription.sql
create or replace function api.read_subscription(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  u public.users;
  s public.subscriptions;
  state public.subscription_states;
  offer record;
  p public.plans;
  agreed numeric;
begin
  select x.* into u from public.users x where x.id = read_subscription.user_id;
  if not found then
    return null;
  end if;
  s := core.current_subscription(u.id);
  select x.* into offer from core.offer_of(u.id) x;
  select x.* into state from public.subscription_states x where x.status = s.status;
  select x.* into p from public.plans x where x.plan = coalesce(s.plan, offer.plan);
  select x.monthly_price into agreed from public.plan_prices x where x.stripe_price_id = s.price_id and x.plan = s.plan;
  return json_build_object(
    'is_active', coalesce(u.prpm_plus_status = 'active' and u.entitled_until > core.now(), false),
    'is_open', coalesce(state.is_open, false),
    'status', s.status,
    'plan', coalesce(s.plan, offer.plan),
    'tier', core.tier_now(u),
    'price', coalesce(agreed, p.monthly_price)::text,
    'currency', 'USD',
    'interval', 'month',
    'credits', p.monthly_credits,
    'cancel_at_period_end', s.cancel_at is not null and not coalesce(state.is_final, false),
    'cancel_at', s.cancel_at,
    'current_period_end', s.current_period_end,
    'paid_until', s.paid_until,
    'entitled_until', u.entitled_until,
    'collection_paused', coalesce(s.collection_paused, false),
    'payment_problem', case when s.unpaid_since is not null then json_build_object(
      'since', s.unpaid_since, 'hosted_invoice_url', s.hosted_invoice_url
    ) end,
    'told', case
      when s.id is null then 'You have no subscription.'
      when s.cancel_at is not null and state.is_open then 'Your subscription ends on ' || to_char(s.cancel_at at time zone 'UTC', 'FMMonth FMDD, YYYY') || '.'
      when s.collection_paused and state.is_open then 'Payments for your subscription are paused.'
      else state.told
    end
  );
end
$$;

comment on function api.read_subscription(uuid) is
  'A user''s subscription: is_active (it entitles now), is_open (another cannot be begun), status (Stripe''s word, null without any), plan, tier, price (US dollars a month, as agreed when it '
  'was bought), '
  'credits a month, cancel_at, current_period_end, paid_until, payment_problem {since, hosted_invoice_url}, and told, a sentence for the '
  'person. Null for an unknown user. Spec 6.1.';
--! EndIncluded billing/read_subscription.sql
--! Included billing/refresh_entitlement.sql
create or replace function core.refresh_entitlement(user_id uuid, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  best record;
  word text;
begin
  select x.until, x.tier_name into best
  from (
    select
      p.tier_name,
      case state.entitles
        when 'trial' then s.trial_end
        when 'while_paid' then paid.until + case when s.collection_paused or s.cancel_at <= paid.until then interval '0' else grace.time end
        when 'grace' then greatest(paid.until, coalesce(s.unpaid_since, s.current_period_start) + grace.time)
        when 'paid_out' then case when s.money_back or paid.is_returned then least(paid.until, s.ended_at) else paid.until end
      end as until
    from public.subscriptions s
    cross join (select x.grace_days * interval '24 hours' as time from public.settings x) grace
    join public.subscription_states state on state.status = s.status
    left join lateral (
      select
        max(q.period_end) as until, (array_agg(q.plan order by q.period_start desc))[1] as plan,
        (array_agg(q.paid_amount > 0 and q.refunded_amount + q.disputed_amount >= q.paid_amount order by q.period_start desc))[1] as is_returned
      from public.subscription_periods q
      where q.user_id = refresh_entitlement.user_id and q.subscription_id = s.id and q.state = 'paid'
    ) paid on true
    join public.plans p on p.plan = coalesce(paid.plan, s.plan)
    where s.user_id = refresh_entitlement.user_id and not s.superseded
      -- Who never paid a period has no plan, whatever Stripe calls the state.
      and (state.entitles = 'trial' or paid.until is not null)
  ) x
  where x.until > refresh_entitlement.now
  order by x.until desc, x.tier_name
  limit 1;

  if best.until is not null then
    word := 'active';
  else
    select s.status into word
    from public.subscriptions s
    where s.user_id = refresh_entitlement.user_id and not s.superseded
    order by s.stripe_created_at desc nulls last, s.id desc
    limit 1;
  end if;

  update public.users u set
    prpm_plus_status = word, plan_tier = best.tier_name, entitled_until = best.until, updated_at = refresh_entitlement.now
  where u.id = refresh_entitlement.user_id
    and (u.prpm_plus_status, u.plan_tier, u.entitled_until) is distinct from (word, best.tier_name, best.until);
  if exists (select from public.users u where u.id = refresh_entitlement.user_id and u.is_throttled) then
    perform core.judge_throttle(refresh_entitlement.user_id, refresh_entitlement.now);
  end if;
end
$$;

comment on function core.refresh_entitlement(uuid, timestamptz) is
  'Works out anew, from a user''s subscriptions and their paid periods, which tier they have and until when (users.plan_tier, '
  'entitled_until, prpm_plus_status), and lifts a throttle that no longer stands. What has ended entitles to the end of the period paid for, '
  'but where the rest of it or all of its payment went back. The caller holds the user''s row. Spec 2.5.';
--! EndIncluded billing/refresh_entitlement.sql
--! Included billing/refuse_sale.sql
create or replace function core.refuse_sale(user_id uuid, now timestamptz)
returns json
language plpgsql
stable
set search_path = ''
as $$
declare
  s public.settings;
begin
  select x.* into s from public.settings x;
  if exists (select from public.users u where u.id = refuse_sale.user_id and u.closed_at is not null) then
    return core.describe_refusal('account_closed', 403, 'This account is closed.', now);
  end if;
  if not s.purchases_enabled then
    return core.describe_refusal('purchases_disabled', 503, 'Nothing can be bought at the moment. Try again later.', now);
  end if;
  if exists (
    select from public.reversals r
    left join public.payments p on p.user_id = refuse_sale.user_id and p.id = r.payment_id
    left join public.purchases bought on bought.user_id = refuse_sale.user_id and bought.id = p.purchase_id
    left join public.subscription_periods period
      on period.user_id = refuse_sale.user_id and period.subscription_id = p.subscription_id and period.period_start = p.period_start
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
--! Included billing/replay_event.sql
create or replace function core.replay_event(event_id text, reason text, by_user uuid, dry_run boolean)
returns table (id text, type text, user_id uuid, status text, error text)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  event public.stripe_events;
  owner uuid;
begin
  -- The user first, as who applies it.
  select e.user_id into owner from public.stripe_events e where e.id = replay_event.event_id;
  perform from public.users u where u.id = owner for no key update;
  select e.* into event from public.stripe_events e where e.id = replay_event.event_id for no key update;
  if not found then
    raise exception 'event % is unknown', replay_event.event_id using errcode = 'PR404', detail = 'event_id',
      hint = 'select id, type, status, error from stripe_events order by received_at desc limit 20;';
  end if;
  if event.body is null then
    raise exception 'the body of event % is gone', event.id using errcode = 'PR409', detail = 'event_id';
  end if;
  if not dry_run then
    perform core.note_action('replay_stripe_event', event.id, reason,
      case when by_user is not null then json_build_object('by', by_user) end);
    delete from public.stripe_effects x where x.user_id = event.user_id and x.event_id = event.id;
    update public.stripe_events e set status = 'received', error = null where e.id = event.id;
    perform api.apply_stripe_event(event.id);
  end if;
  return query select e.id, e.type, e.user_id, e.status, e.error from public.stripe_events e where e.id = event.id;
end
$$;

comment on function core.replay_event(text, text, uuid, boolean) is
  'What ops.replay_stripe_event does for an operator (by_user null) and api.replay_stripe_event for an administrator. '
  'Errors: PR404 unknown event, PR409 without its body, PR400 without a reason. Spec 6.5.';
--! EndIncluded billing/replay_event.sql
--! Included billing/supersede_doubles.sql
create or replace function core.supersede_doubles(user_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
declare
  later record;
  payments text[];
begin
  for later in
    select s.id
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    where s.user_id = supersede_doubles.user_id and not s.superseded
    order by s.stripe_created_at, s.id
    offset 1
  loop
    update public.subscriptions s set superseded = true where s.user_id = supersede_doubles.user_id and s.id = later.id;
    perform core.want_work('cancel_subscription', later.id, supersede_doubles.user_id, '{"prorate": false}', is_write => true);
    payments := array(
      select p.id
      from public.payments p
      where p.user_id = supersede_doubles.user_id and p.subscription_id = later.id and p.paid_amount > 0
    );
    perform core.refund_second(supersede_doubles.user_id, p.id) from unnest(payments) p (id);
  end loop;
end
$$;

comment on function core.supersede_doubles(uuid) is
  'Where a user has paid for two subscriptions, lets the later one be canceled and its payments be refunded. The caller holds the user''s '
  'row. Spec 6.1.';
--! EndIncluded billing/supersede_doubles.sql
--! Included jobs/close_user.sql
create or replace function ops.close_user("user" text, reason text, dry_run boolean default false)
returns table (user_id uuid, closed_at timestamptz, tokens_revoked bigint, runs_stopped bigint, subscriptions_canceled bigint)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  person public.users;
begin
  select u.* into strict person from public.users u where u.id = target for no key update;
  user_id := person.id;
  closed_at := coalesce(person.closed_at, core.now());
  select count(*) into tokens_revoked from public.api_tokens t where t.user_id = person.id and t.revoked_at is null;
  runs_stopped := cardinality(person.open_runs);
  select count(*) into subscriptions_canceled
  from public.subscriptions s
  join public.subscription_states state on state.status = s.status and state.is_open
  where s.user_id = person.id and not s.superseded;
  if not dry_run then
    perform core.note_action('close_user', person.id::text, reason, null);
    update public.users u set closed_at = close_user.closed_at, updated_at = core.now() where u.id = person.id;
    update public.api_tokens t set revoked_at = close_user.closed_at where t.user_id = person.id and t.revoked_at is null;
    update public.logins l set ended_at = close_user.closed_at where l.user_id = person.id and l.ended_at is null;
    update public.runs r
    set stop_requested_at = coalesce(r.stop_requested_at, close_user.closed_at)
    where r.user_id = person.id and r.id = any (person.open_runs);
    subscriptions_canceled := core.cancel_billing(person.id);
  end if;
  return next;
end
$$;

comment on function ops.close_user(text, text, boolean) is
  'Closes the account of a person (id, e-mail or username): nothing can be begun any more, tokens are revoked, sign-ins on the page end, '
  'running runs are asked to '
  'stop and are settled as stopped ones are, open subscriptions are canceled at Stripe at once, without money back, and open checkouts expire; the books '
  'stay. A second call changes nothing. Returns how many tokens, runs and subscriptions it met. '
  'Call: select * from ops.close_user(''user@example.com'', ''asked to leave''); '
  'Errors: as core.find_user; PR400 without a reason. Spec 2.3.';
--! EndIncluded jobs/close_user.sql
