--! Previous: sha1:8e13e070650c4693b3945fb39c90a9a35c3c4467
--! Hash: sha1:1f7d625f5d5bbfa4b66a341394b0f03caec606d7
--! Message: Comparisons hold conversations to what was reckoned with

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.

--! split: 2-comparisons.sql
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
    perform core.note_correction((select x from public.runs x where x.user_id = u.id and x.id = begin_run.run_id)); -- rollups may have passed it
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
--! Included runs/side_as_probed.sql
create or replace function core.side_as_probed(side jsonb, probe core.begun_run)
returns jsonb
language sql
immutable
set search_path = ''
begin atomic
  select case side ->> 'history' when 'fit' then side || jsonb_build_object('history', 'fit:' || probe.history_tokens) else side end;
end;

comment on function core.side_as_probed(jsonb, core.begun_run) is
  'A side of a comparison that brings no more of its conversation than core.probe_run found: a shorter answer would leave room for more of it, '
  'which was not reckoned with. Spec 5.8, 10.1.';
--! EndIncluded runs/side_as_probed.sql
--! Included runs/begin_comparison.sql
create or replace function api.begin_comparison(
  user_id uuid, comparison_id uuid, run_ids uuid[], sides jsonb, max_output_tokens integer, idempotency_key text, request_hash bytea
)
returns table (begun_comparison_id uuid, side integer, begun core.begun_run)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  u public.users;
  s public.settings;
  l public.cost_limits_config;
  now timestamptz;
  known uuid;
  probes core.begun_run[] := array[]::core.begun_run[];
  started core.begun_run[] := array[]::core.begun_run[];
  plan record;
  refusal json;
  which integer;
begin
  if jsonb_typeof(sides) is distinct from 'array' or jsonb_array_length(sides) not between 2 and 4 or cardinality(run_ids) <> jsonb_array_length(sides) then
    raise exception 'a comparison has two to four sides' using errcode = 'PR400', detail = 'sides';
  end if;
  u := (select x from public.users x where x.id = begin_comparison.user_id for no key update);
  s := (select x from public.settings x);
  if u.id is null then
    raise exception 'user % is unknown', begin_comparison.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  now := greatest(clock_timestamp() + s.clock_offset, u.day_ends_at - interval '24 hours');

  select k.known, k.refusal into known, refusal
  from core.known_comparison(u.id, begin_comparison.comparison_id, idempotency_key, begin_comparison.request_hash, now) k;
  if known is not null then
    return query select known, r.side, r.begun from core.known_sides(u.id, known) r;
    return;
  elsif refusal is not null then
    perform core.count_refusal(u.id, refusal, now);
    started[1].outcome := 'refused';
    started[1].refusal := refusal;
    return query select null::uuid, null::integer, started[1];
    return;
  end if;

  if u.next_lot_expiry <= now or u.holds_expire_at <= now then
    perform core.expire_user_holds(u.id, now);
    perform core.tidy_lots(u.id, now);
    u := (select x from public.users x where x.id = begin_comparison.user_id);
  end if;
  u := core.roll_windows(u, now);
  l := core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now));

  -- Could each be run if it were alone? Then, can they be held together?
  for place in 1 .. cardinality(run_ids) loop
    probes[place] := core.probe_run(u.id, run_ids[place], sides -> place - 1, begin_comparison.max_output_tokens);
    if probes[place].outcome = 'refused' then
      refusal := probes[place].refusal;
      which := place;
      exit;
    end if;
  end loop;
  if refusal is null then
    refusal := core.refuse_count(u, l, sides, now);
  end if;
  if refusal is null and exists (select from unnest(probes) p where p.outcome = 'template') then
    update public.users x set
      minute_attempts = u.minute_attempts + (select count(*) from unnest(probes) p where p.outcome = 'template'), minute_ends_at = u.minute_ends_at
    where x.id = u.id;
    return query select null::uuid, n, probes[n] from generate_series(1, cardinality(run_ids)) n where (probes[n]).outcome = 'template';
    return;
  end if;
  if refusal is null then
    plan := core.plan_sides(u, l, s, probes, sides, begin_comparison.max_output_tokens, now);
    refusal := plan.refusal;
  end if;
  if refusal is null then
    begin
      for place in 1 .. cardinality(run_ids) loop
        which := plan.turns[place];
        started[which] := core.begin_side(u.id, run_ids[place], core.side_as_probed(sides -> which - 1, probes[which]), plan.caps[which]);
        if started[which].outcome <> 'started' then
          refusal := started[which].refusal;
          raise exception using errcode = 'PR001';
        end if;
      end loop;
    exception when sqlstate 'PR001' then
      null;
    end;
  end if;
  if refusal is not null then
    u.minute_attempts := u.minute_attempts + 1;
    return query select null::uuid, which, core.refuse_run(u, l, refusal, now);
    return;
  end if;

  insert into public.comparisons (user_id, id, run_ids, session_ids, created_at)
  select u.id, begin_comparison.comparison_id, array_agg(b.begun_run_id order by b.place), array_agg(b.begun_session_id order by b.place), now
  from (select (started[n]).begun_run_id, (started[n]).begun_session_id, n as place from generate_series(1, cardinality(run_ids)) n) b;
  if idempotency_key is not null then
    perform core.keep_key(u.id, idempotency_key, begin_comparison.request_hash, begin_comparison.comparison_id, now);
  end if;
  return query select begin_comparison.comparison_id, n, started[n] from generate_series(1, cardinality(run_ids)) n;
end
$$;

comment on function api.begin_comparison(uuid, uuid, uuid[], jsonb, integer, text, bytea) is
  'Lets two to four runs of one question in, all or none, in one transaction: sides is a JSON array of what each asks for (see core.begin_side), '
  'run_ids as many new ids in the order of time, which the sides get in the order in which they begin. What is left of credits and cost windows is '
  'divided evenly. Returns a row a side, numbered from 1 as asked for, with core.begun_run: started or known (the id or key was seen '
  'before); or a row for each side whose prompt is to be filled in first, template, and nothing was begun; or one row, refused, with the side that alone would be refused, or null where all together are. Each side is settled as any run. '
  'Errors: PR404 unknown user, PR400 naming sides. Spec 5.3, 5.8.';
--! EndIncluded runs/begin_comparison.sql
