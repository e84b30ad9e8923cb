--
-- PostgreSQL database dump
--

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: api; Type: SCHEMA; Schema: -; Owner: prpm_owner
--

CREATE SCHEMA api;

ALTER SCHEMA api OWNER TO prpm_owner;

--
-- Name: SCHEMA api; Type: COMMENT; Schema: -; Owner: prpm_owner
--

COMMENT ON SCHEMA api IS 'All that the server may do, and nothing else. The acting user''s id comes first.';

--
-- Name: core; Type: SCHEMA; Schema: -; Owner: prpm_owner
--

CREATE SCHEMA core;

ALTER SCHEMA core OWNER TO prpm_owner;

--
-- Name: SCHEMA core; Type: COMMENT; Schema: -; Owner: prpm_owner
--

COMMENT ON SCHEMA core IS 'Rules, private: called by api and ops, never from outside.';

--
-- Name: ops; Type: SCHEMA; Schema: -; Owner: prpm_owner
--

CREATE SCHEMA ops;

ALTER SCHEMA ops OWNER TO prpm_owner;

--
-- Name: SCHEMA ops; Type: COMMENT; Schema: -; Owner: prpm_owner
--

COMMENT ON SCHEMA ops IS 'What an operator or a scheduler calls. Start with: select * from ops.help(''word'');';

--
-- Name: SCHEMA public; Type: COMMENT; Schema: -; Owner: pg_database_owner
--

COMMENT ON SCHEMA public IS 'Tables and the views and functions that the operator''s guide names: what a person sees in psql.';

--
-- Name: btree_gist; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;

--
-- Name: EXTENSION btree_gist; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION btree_gist IS 'support for indexing common datatypes in GiST';

--
-- Name: pg_trgm; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

--
-- Name: EXTENSION pg_trgm; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';

--
-- Name: begun_run; Type: TYPE; Schema: core; Owner: prpm_owner
--

CREATE TYPE core.begun_run AS (
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

ALTER TYPE core.begun_run OWNER TO prpm_owner;

--
-- Name: TYPE begun_run; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON TYPE core.begun_run IS 'outcome: started (with the exact provider request, the hold in credits, and what is free then), known (begun_run_id, run_status) or refused (refusal: code, status, figures, when to try again). Tokens: estimated_input, held_input, wanted_output, output_cap. rate_*: what is left of the minute''s attempts, rate_reset in seconds; null limit: none. Spec 1.5, 3.2, 3.6, 5.1.';

--
-- Name: receipt; Type: TYPE; Schema: core; Owner: prpm_owner
--

CREATE TYPE core.receipt AS (
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
	started_at timestamp with time zone,
	finished_at timestamp with time zone,
	paid_by_purchased_only boolean,
	tier text,
	hourly_limit integer,
	hourly_used integer,
	hour_ends_at timestamp with time zone,
	daily_limit numeric,
	daily_used numeric,
	day_ends_at timestamp with time zone,
	monthly_limit numeric,
	monthly_used numeric,
	month_ends_at timestamp with time zone
);

ALTER TYPE core.receipt OWNER TO prpm_owner;

--
-- Name: TYPE receipt; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON TYPE core.receipt IS 'What a run used (tokens by kind), cost (US dollars, exact) and was charged (credits, by kind), and what is left: credits, and of each window the limit (null: none), what is used of it and its end. Requests an hour, US dollars a day and a month. Spec 5.1.';

--
-- Name: admit_read(uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.admit_read(user_id uuid, OUT allowed boolean, OUT rate_limit integer, OUT rate_remaining integer, OUT rate_reset integer) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  per_minute integer;
begin
  select s.reads_per_minute into per_minute from public.settings s;
  select x.allowed, x.remaining, x.reset into allowed, rate_remaining, rate_reset
  from core.count_in_window(admit_read.user_id, 'read', per_minute) x;
  rate_limit := per_minute;
end
$$;

ALTER FUNCTION api.admit_read(user_id uuid, OUT allowed boolean, OUT rate_limit integer, OUT rate_remaining integer, OUT rate_reset integer) OWNER TO prpm_owner;

--
-- Name: FUNCTION admit_read(user_id uuid, OUT allowed boolean, OUT rate_limit integer, OUT rate_remaining integer, OUT rate_reset integer); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.admit_read(user_id uuid, OUT allowed boolean, OUT rate_limit integer, OUT rate_remaining integer, OUT rate_reset integer) IS 'Counts a read or estimate in the user''s fixed minute window (settings.reads_per_minute) and says whether it may go on. rate_reset is seconds. Spec 3.6.';

--
-- Name: apply_stripe_event(text); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.apply_stripe_event(event_id text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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
  return event.status;
end
$$;

ALTER FUNCTION api.apply_stripe_event(event_id text) OWNER TO prpm_owner;

--
-- Name: FUNCTION apply_stripe_event(event_id text); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.apply_stripe_event(event_id text) IS 'Books what a stored event tells, once for each user and event, in whatever order events come. Returns applied, ignored (of no customer of ours) or needs_review. Locks the user''s row. Errors: PR404 unknown event. Spec 6.4, 6.5.';

--
-- Name: authenticate_token(bytea); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.authenticate_token(token_hash bytea) RETURNS TABLE(outcome text, user_id uuid, username text, email text, is_admin boolean, scopes text[], token_id uuid)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  now timestamptz;
  token public.api_tokens;
  person public.users;
begin
  select clock_timestamp() + s.clock_offset into now from public.settings s;
  select t.* into token from public.api_tokens t where t.token_hash = authenticate_token.token_hash;
  select u.* into person from public.users u where u.id = token.user_id;

  outcome := case
    when token.id is null or person.id is null then 'unknown'
    when token.revoked_at is not null then 'revoked'
    when token.expires_at <= now then 'expired'
    when person.closed_at is not null then 'closed'
    else 'ok'
  end;
  if outcome = 'ok' then
    user_id := person.id;
    username := person.username;
    email := person.email;
    is_admin := person.is_admin;
    scopes := token.scopes;
    token_id := token.id;
    if token.last_used_at is null or token.last_used_at < now - interval '1 minute' then
      update public.api_tokens t
      set last_used_at = now
      where t.token_hash = authenticate_token.token_hash
        and (t.last_used_at is null or t.last_used_at < now - interval '1 minute');
    end if;
  end if;
  return next;
end
$$;

ALTER FUNCTION api.authenticate_token(token_hash bytea) OWNER TO prpm_owner;

--
-- Name: FUNCTION authenticate_token(token_hash bytea); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.authenticate_token(token_hash bytea) IS 'Who acts with the API token of this SHA-256. One row: outcome ok, unknown, expired, revoked or closed (the account); the other columns are null unless ok. Notes the use, once a minute. Spec 2.2.';

--
-- Name: begin_customer(uuid, boolean); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.begin_customer(user_id uuid, livemode boolean, OUT customer_id text, OUT write_id uuid, OUT email text, OUT username text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
begin
  select u.email, u.username into email, username from public.users u where u.id = begin_customer.user_id;
  if not found then
    raise exception 'user % is unknown', begin_customer.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  insert into public.stripe_customers (user_id, livemode, created_at)
  values (begin_customer.user_id, begin_customer.livemode, core.now())
  on conflict on constraint stripe_customers_pkey do nothing;
  select c.customer_id, c.write_id into customer_id, write_id
  from public.stripe_customers c
  where c.user_id = begin_customer.user_id and c.livemode = begin_customer.livemode;
end
$$;

ALTER FUNCTION api.begin_customer(user_id uuid, livemode boolean, OUT customer_id text, OUT write_id uuid, OUT email text, OUT username text) OWNER TO prpm_owner;

--
-- Name: FUNCTION begin_customer(user_id uuid, livemode boolean, OUT customer_id text, OUT write_id uuid, OUT email text, OUT username text); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.begin_customer(user_id uuid, livemode boolean, OUT customer_id text, OUT write_id uuid, OUT email text, OUT username text) IS 'A user''s customer at Stripe in that mode; where customer_id is null it is to be made, with write_id as idempotency key, and then told to api.keep_customer. Errors: PR404 unknown user. Spec 6.1.';

--
-- Name: begin_portal(uuid, boolean); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.begin_portal(user_id uuid, livemode boolean, OUT outcome text, OUT refusal json, OUT customer_id text) RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
begin
  select c.customer_id into customer_id
  from public.stripe_customers c
  where c.user_id = begin_portal.user_id and c.livemode = begin_portal.livemode;
  outcome := case when customer_id is null then 'refused' else 'ready' end;
  if customer_id is null then
    refusal := core.describe_refusal('no_customer', 404, 'You have bought nothing yet, so there is nothing to manage.', core.now());
  end if;
end
$$;

ALTER FUNCTION api.begin_portal(user_id uuid, livemode boolean, OUT outcome text, OUT refusal json, OUT customer_id text) OWNER TO prpm_owner;

--
-- Name: FUNCTION begin_portal(user_id uuid, livemode boolean, OUT outcome text, OUT refusal json, OUT customer_id text); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.begin_portal(user_id uuid, livemode boolean, OUT outcome text, OUT refusal json, OUT customer_id text) IS 'The customer whose portal a user may open. outcome: refused (no_customer) or ready. Spec 6.1.';

--
-- Name: begin_purchase(uuid, text, text, text, boolean); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.begin_purchase(user_id uuid, pack text, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT purchase_id uuid, OUT credits bigint, OUT price numeric, OUT currency text, OUT parameters jsonb) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  sold public.packs;
begin
  perform from public.users x where x.id = begin_purchase.user_id for no key update;
  if not found then
    raise exception 'user % is unknown', begin_purchase.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  select x.* into sold from public.packs x where x.pack = begin_purchase.pack and x.is_active;
  if not found then
    refusal := core.describe_refusal('pack_not_found', 404, format('There is no pack %s. See GET /api/v1/playground/credits/packages.', begin_purchase.pack), now);
  else
    refusal := coalesce(core.refuse_sale(begin_purchase.user_id, now), core.count_sale(begin_purchase.user_id, now));
  end if;
  if refusal is not null then
    outcome := 'refused';
    return;
  end if;

  purchase_id := gen_random_uuid();
  credits := sold.credits;
  price := sold.price;
  currency := 'usd';
  insert into public.purchases (user_id, id, pack, credits, price, livemode, created_at)
  values (begin_purchase.user_id, purchase_id, sold.pack, sold.credits, sold.price, begin_purchase.livemode, now);
  outcome := 'create';
  parameters := jsonb_build_object(
    'mode', 'payment',
    'line_items', jsonb_build_array(jsonb_build_object('quantity', 1) || case
      when sold.stripe_price_id is not null then jsonb_build_object('price', sold.stripe_price_id)
      else jsonb_build_object('price_data', jsonb_build_object(
        'currency', 'usd', 'unit_amount', (sold.price * 100)::integer,
        'product_data', jsonb_build_object('name', format('%s credits (%s pack)', sold.credits, sold.pack))
      ))
    end),
    'success_url', begin_purchase.success_url,
    'cancel_url', begin_purchase.cancel_url,
    'client_reference_id', begin_purchase.user_id,
    'metadata', jsonb_build_object('purchase_id', purchase_id),
    'payment_intent_data', jsonb_build_object('metadata', jsonb_build_object('purchase_id', purchase_id)),
    'allowed_payment_method_types', jsonb_build_array('card', 'link'),
    'adaptive_pricing', jsonb_build_object('enabled', false)
  );
end
$$;

ALTER FUNCTION api.begin_purchase(user_id uuid, pack text, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT purchase_id uuid, OUT credits bigint, OUT price numeric, OUT currency text, OUT parameters jsonb) OWNER TO prpm_owner;

--
-- Name: FUNCTION begin_purchase(user_id uuid, pack text, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT purchase_id uuid, OUT credits bigint, OUT price numeric, OUT currency text, OUT parameters jsonb); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.begin_purchase(user_id uuid, pack text, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT purchase_id uuid, OUT credits bigint, OUT price numeric, OUT currency text, OUT parameters jsonb) IS 'Begins a purchase of a pack: our own row first. outcome: refused (pack_not_found, purchases_disabled, payment_disputed, rate_limited) or create (a checkout session of these parameters, purchase_id as idempotency key). price is US dollars. Errors: PR404 unknown user. Spec 6.2.';

--
-- Name: begin_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, bytea); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.begin_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer, idempotency_key text, request_hash bytea) RETURNS core.begun_run
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION api.begin_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer, idempotency_key text, request_hash bytea) OWNER TO prpm_owner;

--
-- Name: FUNCTION begin_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer, idempotency_key text, request_hash bytea); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.begin_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer, idempotency_key text, request_hash bytea) IS 'Lets a run in, or says why not: one lock, one transaction. package is an id or name; package_version null is the newest; session_id null begins a session that has the run''s id; model null is the default; input_tokens is the caller''s own text counted with counted_with; max_output_tokens null is no wish; custom_prompt_tokens not null: the caller''s own prompt of so many tokens takes the package''s place. Returns core.begun_run, outcome: started (with the exact provider request), known (the run id or key was seen before: see run_status) or refused (refusal: code, status, figures, when to try again). Errors: PR404 unknown user. Spec 1.3, 1.5, 3.2 to 3.7, 5.1, 5.3, 5.5.';

--
-- Name: begin_subscribe(uuid, text, text, boolean); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.begin_subscribe(user_id uuid, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT checkout_id uuid, OUT session_id text, OUT url text, OUT parameters jsonb) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION api.begin_subscribe(user_id uuid, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT checkout_id uuid, OUT session_id text, OUT url text, OUT parameters jsonb) OWNER TO prpm_owner;

--
-- Name: FUNCTION begin_subscribe(user_id uuid, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT checkout_id uuid, OUT session_id text, OUT url text, OUT parameters jsonb); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.begin_subscribe(user_id uuid, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT checkout_id uuid, OUT session_id text, OUT url text, OUT parameters jsonb) IS 'Begins a subscription to the plan that is offered to a user. outcome: refused (already_subscribed, purchases_disabled, payment_disputed, rate_limited, billing_not_configured), open (url of the checkout that is open already), expire (session_id is to be expired first, then ask again) or create (a checkout session of these parameters, checkout_id as idempotency key). Errors: PR404 unknown user. Spec 6.1.';

--
-- Name: begin_subscription_change(uuid, text); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.begin_subscription_change(user_id uuid, action text, OUT outcome text, OUT refusal json, OUT work_id uuid) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  s public.subscriptions;
  is_open boolean;
  parameters jsonb;
  was_asked boolean;
begin
  perform from public.users x where x.id = begin_subscription_change.user_id for no key update;
  s := core.current_subscription(begin_subscription_change.user_id);
  select x.is_open into is_open from public.subscription_states x where x.status = s.status;
  if not coalesce(is_open, false) then
    outcome := 'refused';
    refusal := core.describe_refusal('no_subscription', 404, 'No active subscription found.', now);
    return;
  end if;
  -- What was asked before and not done yet is not to be done after this.
  delete from public.stripe_work w
  where w.kind = 'update_subscription' and w.key = s.id and w.claimed_until is null
    and w.parameters ?| array['cancel_at_period_end', 'cancel_at', 'pause_collection'];
  was_asked := found or exists (select from public.stripe_work w where w.kind = 'update_subscription' and w.key = s.id);
  parameters := case
    when action = 'cancel' and (s.cancel_at is null or was_asked) then '{"cancel_at_period_end": true}'
    when action = 'resume' then nullif(
      case
        when s.cancel_at_period_end or was_asked then '{"cancel_at_period_end": false}'::jsonb
        when s.cancel_at is not null then '{"cancel_at": ""}'::jsonb
        else '{}'::jsonb
      end || case when s.collection_paused then '{"pause_collection": ""}'::jsonb else '{}'::jsonb end,
      '{}'
    )
  end;
  if parameters is null then
    outcome := 'ready';
    return;
  end if;
  outcome := 'queued';
  work_id := core.want_work('update_subscription', s.id, s.user_id, parameters, is_write => true);
end
$$;

ALTER FUNCTION api.begin_subscription_change(user_id uuid, action text, OUT outcome text, OUT refusal json, OUT work_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION begin_subscription_change(user_id uuid, action text, OUT outcome text, OUT refusal json, OUT work_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.begin_subscription_change(user_id uuid, action text, OUT outcome text, OUT refusal json, OUT work_id uuid) IS 'Queues what cancels a user''s subscription at the end of its period (action cancel), or takes that and a pause back (resume): each time a row of its own, whose id is the idempotency key. outcome: refused (no_subscription), ready (it is so already) or queued (work_id). Spec 6.1.';

--
-- Name: checkpoint_run(uuid, uuid, text, text, integer, integer, integer, integer); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.checkpoint_run(user_id uuid, run_id uuid, question text, answer text, output_tokens integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer, OUT status text, OUT stop_requested boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  s record;
  r record;
begin
  select x.hold_ms, x.clock_offset into s from public.settings x;
  update public.runs x
  set
    hold_expires_at = greatest(x.hold_expires_at, clock_timestamp() + s.clock_offset + s.hold_ms * interval '1 millisecond'),
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

ALTER FUNCTION api.checkpoint_run(user_id uuid, run_id uuid, question text, answer text, output_tokens integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer, OUT status text, OUT stop_requested boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION checkpoint_run(user_id uuid, run_id uuid, question text, answer text, output_tokens integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer, OUT status text, OUT stop_requested boolean); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.checkpoint_run(user_id uuid, run_id uuid, question text, answer text, output_tokens integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer, OUT status text, OUT stop_requested boolean) IS 'Stores what a running run has produced so far, moves its hold''s expiry on and tells whether a stop was asked for elsewhere. Tokens null where not known yet. status is null for an unknown run; any other than running means: stop. Locks the run''s row alone. Spec 5.2.';

--
-- Name: claim_stripe_work(integer, uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.claim_stripe_work(most integer, only_work uuid DEFAULT NULL::uuid) RETURNS TABLE(work_id uuid, kind text, key text, parameters jsonb, ticket bigint, user_id uuid)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
begin
  -- Events whose server died before it had applied them.
  if only_work is null then
    perform core.want_work('apply_event', e.id, null)
    from public.stripe_events e
    where e.status = 'received' and e.attempts = 0 and e.received_at <= now - interval '1 minute'
    limit most;
  end if;
  return query
  update public.stripe_work w set claimed_until = now + interval '2 minutes', ticket = nextval('core.stripe_tickets')
  where w.id in (
    select x.id
    from public.stripe_work x
    where case when only_work is null then x.due_at <= now and not x.is_failed else x.id = only_work end
      and (x.claimed_until is null or x.claimed_until <= now)
    order by x.due_at
    limit most
    for no key update skip locked
  )
  returning w.id, w.kind, w.key, w.parameters, w.ticket, w.user_id;
end
$$;

ALTER FUNCTION api.claim_stripe_work(most integer, only_work uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION claim_stripe_work(most integer, only_work uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.claim_stripe_work(most integer, only_work uuid) IS 'Gives a server up to so many pieces of work that are due (only_work: just that one), for two minutes; a server that dies loses nothing. ticket: the order in which fetches began. Spec 6.4, 7.1.';

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: packs; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.packs (
    pack text NOT NULL,
    credits integer NOT NULL,
    price numeric(12,2) NOT NULL,
    stripe_price_id text,
    is_active boolean DEFAULT true NOT NULL,
    CONSTRAINT packs_credits_check CHECK ((credits > 0)),
    CONSTRAINT packs_pack_check CHECK ((pack ~ '^[a-z][a-z0-9_]{0,39}$'::text)),
    CONSTRAINT packs_price_check CHECK (((price > (0)::numeric) AND (price < (1000000)::numeric)))
);

ALTER TABLE public.packs OWNER TO prpm_owner;

--
-- Name: TABLE packs; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.packs IS 'config. Credits that can be bought once (spec 6.2).';

--
-- Name: COLUMN packs.pack; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packs.pack IS 'Names the pack.';

--
-- Name: COLUMN packs.credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packs.credits IS 'Credits in it.';

--
-- Name: COLUMN packs.price; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packs.price IS 'US dollars.';

--
-- Name: COLUMN packs.stripe_price_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packs.stripe_price_id IS 'Stripe''s price, from the environment at start; null: an inline price.';

--
-- Name: COLUMN packs.is_active; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packs.is_active IS 'False: can no longer be bought.';

--
-- Name: plans; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.plans (
    plan text NOT NULL,
    tier_name text NOT NULL,
    monthly_price numeric(12,2) NOT NULL,
    monthly_credits integer NOT NULL,
    requires_verified_organization boolean DEFAULT false NOT NULL,
    stripe_price_id text,
    is_active boolean DEFAULT true NOT NULL,
    CONSTRAINT plans_monthly_credits_check CHECK ((monthly_credits >= 0)),
    CONSTRAINT plans_monthly_price_check CHECK (((monthly_price >= (0)::numeric) AND (monthly_price <= (1000000)::numeric))),
    CONSTRAINT plans_plan_check CHECK ((plan ~ '^[a-z][a-z0-9_]{0,39}$'::text))
);

ALTER TABLE public.plans OWNER TO prpm_owner;

--
-- Name: TABLE plans; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.plans IS 'config. Subscriptions that can be bought; a new one is one row here and one tier (spec 2.4).';

--
-- Name: COLUMN plans.plan; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.plans.plan IS 'Names the plan.';

--
-- Name: COLUMN plans.tier_name; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.plans.tier_name IS 'Tier while a period of it is paid.';

--
-- Name: COLUMN plans.monthly_price; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.plans.monthly_price IS 'US dollars a month.';

--
-- Name: COLUMN plans.monthly_credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.plans.monthly_credits IS 'Credits granted for each paid period.';

--
-- Name: COLUMN plans.requires_verified_organization; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.plans.requires_verified_organization IS 'Only for members of a verified organization.';

--
-- Name: COLUMN plans.stripe_price_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.plans.stripe_price_id IS 'Stripe''s price, from the environment at start.';

--
-- Name: COLUMN plans.is_active; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.plans.is_active IS 'False: can no longer be bought.';

--
-- Name: compare_stripe_prices(jsonb, boolean); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.compare_stripe_prices(prices jsonb, livemode boolean) RETURNS TABLE(complaint text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT format('%s %s sells for %s (price %s), but %s.'::text, ours.kind, ours.name, ours.costs, ours.price_id, x.problem) AS format
    FROM ((( SELECT 'Plan'::text AS kind,
             p.plan AS name,
             p.stripe_price_id AS price_id,
             ((p.monthly_price * (100)::numeric))::integer AS cents,
             true AS recurs,
             (p.monthly_price || ' usd a month'::text) AS costs
            FROM public.plans p
           WHERE (p.stripe_price_id IS NOT NULL)
         UNION ALL
          SELECT 'Pack'::text,
             p.pack,
             p.stripe_price_id,
             ((p.price * (100)::numeric))::integer AS int4,
             false,
             (p.price || ' usd once'::text)
            FROM public.packs p
           WHERE (p.stripe_price_id IS NOT NULL)) ours
      JOIN jsonb_array_elements(compare_stripe_prices.prices) theirs(value) ON (((theirs.value ->> 'id'::text) = ours.price_id)))
      CROSS JOIN LATERAL ( VALUES (
                 CASE
                     WHEN ((theirs.value ->> 'missing'::text))::boolean THEN 'Stripe knows no such price'::text
                     WHEN (((theirs.value ->> 'livemode'::text))::boolean IS DISTINCT FROM compare_stripe_prices.livemode) THEN 'that price is of the other mode than the key'::text
                     WHEN (NOT ((theirs.value ->> 'active'::text))::boolean) THEN 'that price is not active at Stripe'::text
                     WHEN (((theirs.value ->> 'currency'::text) <> 'usd'::text) OR (((theirs.value ->> 'unit_amount'::text))::bigint IS DISTINCT FROM ours.cents) OR ((theirs.value ->> 'type'::text) <>
                     CASE
                         WHEN ours.recurs THEN 'recurring'::text
                         ELSE 'one_time'::text
                     END) OR (ours.recurs AND (((theirs.value #>> '{recurring,interval}'::text[]) <> 'month'::text) OR (((theirs.value #>> '{recurring,interval_count}'::text[]))::integer <> 1)))) THEN format('Stripe has %s %s %s'::text, COALESCE((round((((theirs.value ->> 'unit_amount'::text))::numeric / (100)::numeric), 2))::text, 'no amount'::text), (theirs.value ->> 'currency'::text), COALESCE(((('every '::text || (theirs.value #>> '{recurring,interval_count}'::text[])) || ' '::text) || (theirs.value #>> '{recurring,interval}'::text[])), 'once'::text))
                     ELSE NULL::text
                 END)) x(problem))
   WHERE (x.problem IS NOT NULL)
   ORDER BY (format('%s %s sells for %s (price %s), but %s.'::text, ours.kind, ours.name, ours.costs, ours.price_id, x.problem));
END;

ALTER FUNCTION api.compare_stripe_prices(prices jsonb, livemode boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION compare_stripe_prices(prices jsonb, livemode boolean); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.compare_stripe_prices(prices jsonb, livemode boolean) IS 'Compares prices as Stripe has them (an array of its price objects, or {"id", "missing": true}) with plans and packs: amount, currency, interval, mode, active. Each row is one difference, in words that name both sides; none: they agree. Spec 2.4.';

--
-- Name: create_token(uuid, bytea, uuid, text, text[], timestamp with time zone); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.create_token(user_id uuid, token_hash bytea, id uuid, name text, scopes text[], expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(token_id uuid, created_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  token public.api_tokens;
begin
  perform core.check_token(create_token.user_id, create_token.name, create_token.scopes, create_token.expires_at);
  if create_token.id is null or coalesce(length(create_token.token_hash), 0) <> 32 then
    raise exception 'a token has an id and the SHA-256 of its text'
      using errcode = 'PR400', detail = case when create_token.id is null then 'id' else 'token_hash' end;
  end if;

  insert into public.api_tokens as t (token_hash, id, user_id, name, scopes, expires_at, created_at)
  values (
    create_token.token_hash, create_token.id, create_token.user_id, btrim(create_token.name), create_token.scopes,
    create_token.expires_at, core.now()
  )
  on conflict do nothing;

  select t.* into token
  from public.api_tokens t
  where t.token_hash = create_token.token_hash and t.id = create_token.id and t.user_id = create_token.user_id;
  if not found then
    raise exception 'this token is there already' using errcode = 'PR409', hint = 'Make a new one, with a new id and text.';
  end if;
  return query select token.id, token.created_at;
end
$$;

ALTER FUNCTION api.create_token(user_id uuid, token_hash bytea, id uuid, name text, scopes text[], expires_at timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION create_token(user_id uuid, token_hash bytea, id uuid, name text, scopes text[], expires_at timestamp with time zone); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.create_token(user_id uuid, token_hash bytea, id uuid, name text, scopes text[], expires_at timestamp with time zone) IS 'Keeps a new API token of a user by the SHA-256 of its text; id names it, expires_at null is never. Called again with the same id and hash it returns the same. Returns the token''s id and when it was made. Errors: as core.check_token; PR400 naming id or token_hash; PR409 an id or hash in use. Spec 2.2.';

--
-- Name: settings; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.settings (
    only_row boolean DEFAULT true NOT NULL,
    tokens_per_credit integer DEFAULT 5000 NOT NULL,
    max_request_tokens integer DEFAULT 20000 NOT NULL,
    max_output_tokens integer DEFAULT 4096 NOT NULL,
    custom_max_output_tokens integer DEFAULT 1024 NOT NULL,
    min_output_tokens integer DEFAULT 256 NOT NULL,
    custom_prompt_multiplier numeric DEFAULT 2 NOT NULL,
    estimate_safety_exact numeric DEFAULT 1.0 NOT NULL,
    estimate_safety numeric DEFAULT 1.3 NOT NULL,
    signup_credits integer DEFAULT 5 NOT NULL,
    trial_credits integer DEFAULT 0 NOT NULL,
    max_rollover_credits integer DEFAULT 200 NOT NULL,
    grace_days integer DEFAULT 3 NOT NULL,
    purchased_cost_per_credit_limit numeric DEFAULT 0.05,
    purchased_cost_per_credit_cap numeric,
    runs_enabled boolean DEFAULT true NOT NULL,
    purchases_enabled boolean DEFAULT true NOT NULL,
    purchases_per_minute integer DEFAULT 3 NOT NULL,
    reads_per_minute integer DEFAULT 120 NOT NULL,
    free_tier_daily_budget numeric DEFAULT 10.00,
    hourly_spend_alert numeric DEFAULT 20.00,
    first_token_timeout_ms integer DEFAULT 30000 NOT NULL,
    run_timeout_ms integer DEFAULT 120000 NOT NULL,
    checkpoint_ms integer DEFAULT 1000 NOT NULL,
    hold_ms integer DEFAULT 60000 NOT NULL,
    abandon_after_ms integer DEFAULT 10000 NOT NULL,
    cache_min_runs integer DEFAULT 2 NOT NULL,
    cache_min_tokens integer DEFAULT 1024 NOT NULL,
    run_text_days integer DEFAULT 90,
    job_batch integer DEFAULT 500 NOT NULL,
    clock_offset interval DEFAULT '00:00:00'::interval NOT NULL,
    clock_offset_allowed boolean DEFAULT false NOT NULL,
    stripe_max_rps integer DEFAULT 10 NOT NULL,
    CONSTRAINT clock_offset_only_where_allowed CHECK (((clock_offset = '00:00:00'::interval) OR clock_offset_allowed)),
    CONSTRAINT settings_abandon_after_ms_check CHECK (((abandon_after_ms >= 0) AND (abandon_after_ms <= 600000))),
    CONSTRAINT settings_cache_min_runs_check CHECK ((cache_min_runs > 0)),
    CONSTRAINT settings_cache_min_tokens_check CHECK ((cache_min_tokens > 0)),
    CONSTRAINT settings_checkpoint_ms_check CHECK (((checkpoint_ms >= 100) AND (checkpoint_ms <= 60000))),
    CONSTRAINT settings_custom_max_output_tokens_check CHECK ((custom_max_output_tokens > 0)),
    CONSTRAINT settings_custom_prompt_multiplier_check CHECK (((custom_prompt_multiplier >= (1)::numeric) AND (custom_prompt_multiplier <= (100)::numeric))),
    CONSTRAINT settings_estimate_safety_check CHECK (((estimate_safety >= (1)::numeric) AND (estimate_safety <= (10)::numeric))),
    CONSTRAINT settings_estimate_safety_exact_check CHECK (((estimate_safety_exact >= (1)::numeric) AND (estimate_safety_exact <= (10)::numeric))),
    CONSTRAINT settings_first_token_timeout_ms_check CHECK (((first_token_timeout_ms >= 100) AND (first_token_timeout_ms <= 600000))),
    CONSTRAINT settings_free_tier_daily_budget_check CHECK (((free_tier_daily_budget >= (0)::numeric) AND (free_tier_daily_budget <= (1000000)::numeric))),
    CONSTRAINT settings_grace_days_check CHECK (((grace_days >= 0) AND (grace_days <= 31))),
    CONSTRAINT settings_hold_ms_check CHECK (((hold_ms >= 1000) AND (hold_ms <= 600000))),
    CONSTRAINT settings_hourly_spend_alert_check CHECK (((hourly_spend_alert >= (0)::numeric) AND (hourly_spend_alert <= (1000000)::numeric))),
    CONSTRAINT settings_job_batch_check CHECK ((job_batch > 0)),
    CONSTRAINT settings_max_output_tokens_check CHECK ((max_output_tokens > 0)),
    CONSTRAINT settings_max_request_tokens_check CHECK ((max_request_tokens > 0)),
    CONSTRAINT settings_max_rollover_credits_check CHECK ((max_rollover_credits >= 0)),
    CONSTRAINT settings_min_output_tokens_check CHECK ((min_output_tokens > 0)),
    CONSTRAINT settings_only_row_check CHECK (only_row),
    CONSTRAINT settings_purchased_cost_per_credit_cap_check CHECK (((purchased_cost_per_credit_cap >= 0.000001) AND (purchased_cost_per_credit_cap <= (1000)::numeric))),
    CONSTRAINT settings_purchased_cost_per_credit_limit_check CHECK (((purchased_cost_per_credit_limit >= 0.000001) AND (purchased_cost_per_credit_limit <= (1000)::numeric))),
    CONSTRAINT settings_purchases_per_minute_check CHECK ((purchases_per_minute >= 0)),
    CONSTRAINT settings_reads_per_minute_check CHECK ((reads_per_minute >= 0)),
    CONSTRAINT settings_run_text_days_check CHECK ((run_text_days > 0)),
    CONSTRAINT settings_run_timeout_ms_check CHECK (((run_timeout_ms >= 100) AND (run_timeout_ms <= 3600000))),
    CONSTRAINT settings_signup_credits_check CHECK ((signup_credits >= 0)),
    CONSTRAINT settings_stripe_max_rps_check CHECK (((stripe_max_rps >= 1) AND (stripe_max_rps <= 100))),
    CONSTRAINT settings_tokens_per_credit_check CHECK ((tokens_per_credit > 0)),
    CONSTRAINT settings_trial_credits_check CHECK ((trial_credits >= 0))
);

ALTER TABLE public.settings OWNER TO prpm_owner;

--
-- Name: TABLE settings; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.settings IS 'config. One row of settings; an operator changes one with UPDATE settings SET …, and it holds from the next request on.';

--
-- Name: COLUMN settings.only_row; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.only_row IS 'There is one row.';

--
-- Name: COLUMN settings.tokens_per_credit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.tokens_per_credit IS 'Tokens that one credit buys at multiplier 1 (spec 1.1).';

--
-- Name: COLUMN settings.max_request_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.max_request_tokens IS 'Tokens: largest request, input and output together (spec 1.5).';

--
-- Name: COLUMN settings.max_output_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.max_output_tokens IS 'Tokens: largest output cap (spec 1.5).';

--
-- Name: COLUMN settings.custom_max_output_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.custom_max_output_tokens IS 'Tokens: largest output cap of a custom prompt (spec 1.5).';

--
-- Name: COLUMN settings.min_output_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.min_output_tokens IS 'Tokens: a run that could produce fewer is refused (spec 1.5).';

--
-- Name: COLUMN settings.custom_prompt_multiplier; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.custom_prompt_multiplier IS 'Factor on the credits of a custom prompt (spec 1.7).';

--
-- Name: COLUMN settings.estimate_safety_exact; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.estimate_safety_exact IS 'Factor on estimated input for the hold where the tokenizer is exact (spec 3.2).';

--
-- Name: COLUMN settings.estimate_safety; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.estimate_safety IS 'Factor on estimated input for the hold otherwise (spec 3.2).';

--
-- Name: COLUMN settings.signup_credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.signup_credits IS 'Credits given once to each new identity (spec 2.1).';

--
-- Name: COLUMN settings.trial_credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.trial_credits IS 'Credits that a trial grants (spec 4.3).';

--
-- Name: COLUMN settings.max_rollover_credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.max_rollover_credits IS 'Credits: the most that one period hands on to the next (spec 4.3).';

--
-- Name: COLUMN settings.grace_days; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.grace_days IS 'Days that an unpaid renewal keeps its tier (spec 2.5).';

--
-- Name: COLUMN settings.purchased_cost_per_credit_limit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.purchased_cost_per_credit_limit IS 'US dollars a purchased credit may cost before it is flagged; null: no flag (spec 3.3).';

--
-- Name: COLUMN settings.purchased_cost_per_credit_cap; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.purchased_cost_per_credit_cap IS 'US dollars a purchased credit can cost at most, by a shorter answer; null: no cap (spec 3.3).';

--
-- Name: COLUMN settings.runs_enabled; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.runs_enabled IS 'False stops all runs from beginning (spec 3.6).';

--
-- Name: COLUMN settings.purchases_enabled; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.purchases_enabled IS 'False stops all purchases (spec 3.6).';

--
-- Name: COLUMN settings.purchases_per_minute; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.purchases_per_minute IS 'Purchases a minute and user (spec 3.6).';

--
-- Name: COLUMN settings.reads_per_minute; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.reads_per_minute IS 'Reads and estimates a minute and user (spec 3.6).';

--
-- Name: COLUMN settings.free_tier_daily_budget; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.free_tier_daily_budget IS 'US dollars a day for the free tier as a whole; null: none (spec 3.6).';

--
-- Name: COLUMN settings.hourly_spend_alert; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.hourly_spend_alert IS 'US dollars an hour above which an alert is raised; null: none (spec 3.6).';

--
-- Name: COLUMN settings.first_token_timeout_ms; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.first_token_timeout_ms IS 'Milliseconds: longest wait for a provider''s first token (spec 5.4).';

--
-- Name: COLUMN settings.run_timeout_ms; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.run_timeout_ms IS 'Milliseconds: longest provider call in all (spec 5.4).';

--
-- Name: COLUMN settings.checkpoint_ms; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.checkpoint_ms IS 'Milliseconds between checkpoints of a running run.';

--
-- Name: COLUMN settings.hold_ms; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.hold_ms IS 'Milliseconds that a hold lives without a checkpoint.';

--
-- Name: COLUMN settings.abandon_after_ms; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.abandon_after_ms IS 'Milliseconds after which a run that its last follower left is stopped (spec 5.2).';

--
-- Name: COLUMN settings.cache_min_runs; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.cache_min_runs IS 'Runs in five minutes from which a prompt is cached (spec 5.6).';

--
-- Name: COLUMN settings.cache_min_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.cache_min_tokens IS 'Tokens: shortest prompt that is cached (spec 5.6).';

--
-- Name: COLUMN settings.run_text_days; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.run_text_days IS 'Days that texts of unused sessions are kept; null: for ever (spec 7.1).';

--
-- Name: COLUMN settings.job_batch; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.job_batch IS 'Users a sweep commits at a time (spec 7.1).';

--
-- Name: COLUMN settings.clock_offset; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.clock_offset IS 'Added to the database''s clock by every rule; only in demo and test databases.';

--
-- Name: COLUMN settings.clock_offset_allowed; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.clock_offset_allowed IS 'True only where the database was made for demo or tests; the owner alone can set it.';

--
-- Name: COLUMN settings.stripe_max_rps; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.settings.stripe_max_rps IS 'Requests a second that a server sends to Stripe at most (spec 6.4).';

--
-- Name: now(); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.now() RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT (clock_timestamp() + s.clock_offset)
    FROM public.settings s;
END;

ALTER FUNCTION core.now() OWNER TO prpm_owner;

--
-- Name: FUNCTION now(); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.now() IS 'The product''s clock: the database''s, plus settings.clock_offset, which is zero but in demo and test databases. Hot functions compute it inline.';

--
-- Name: slot_of(interval, interval, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.slot_of(every interval, after interval, at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (date_bin(every, (at - after), '2000-01-01 00:00:00+00'::timestamp with time zone) + after);
END;

ALTER FUNCTION core.slot_of(every interval, after interval, at timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION slot_of(every interval, after interval, at timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.slot_of(every interval, after interval, at timestamp with time zone) IS 'The slot that is due at an instant: slots come every so often, so long after the start of the minute, hour or day (UTC).';

--
-- Name: job_runs; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.job_runs (
    id bigint NOT NULL,
    job text NOT NULL,
    slot timestamp with time zone NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    rows_touched bigint,
    error text
);

ALTER TABLE public.job_runs OWNER TO prpm_owner;

--
-- Name: TABLE job_runs; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.job_runs IS 'ops. What the jobs did (spec 7.2).';

--
-- Name: COLUMN job_runs.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.job_runs.id IS 'Counter.';

--
-- Name: COLUMN job_runs.job; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.job_runs.job IS 'Name of the job.';

--
-- Name: COLUMN job_runs.slot; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.job_runs.slot IS 'The time that it was due.';

--
-- Name: COLUMN job_runs.started_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.job_runs.started_at IS 'When it began.';

--
-- Name: COLUMN job_runs.finished_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.job_runs.finished_at IS 'When it ended, or null.';

--
-- Name: COLUMN job_runs.rows_touched; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.job_runs.rows_touched IS 'Rows changed.';

--
-- Name: COLUMN job_runs.error; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.job_runs.error IS 'What went wrong, or null.';

--
-- Name: jobs; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.jobs (
    job text NOT NULL,
    every interval NOT NULL,
    after interval DEFAULT '00:00:00'::interval NOT NULL,
    description text NOT NULL,
    CONSTRAINT jobs_every_check CHECK ((every > '00:00:00'::interval))
);

ALTER TABLE public.jobs OWNER TO prpm_owner;

--
-- Name: TABLE jobs; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.jobs IS 'config. What is done by the clock (UTC); ops.run_job does each due slot once (spec 7.1).';

--
-- Name: COLUMN jobs.job; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.jobs.job IS 'Names the job.';

--
-- Name: COLUMN jobs.every; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.jobs.every IS 'A slot is due this often.';

--
-- Name: COLUMN jobs.after; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.jobs.after IS 'So long after the start of the minute, hour or day.';

--
-- Name: COLUMN jobs.description; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.jobs.description IS 'What it does.';

--
-- Name: due_jobs(); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.due_jobs() RETURNS TABLE(job text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT j.job
    FROM public.jobs j
   WHERE (NOT (EXISTS ( SELECT
            FROM public.job_runs r
           WHERE ((r.job = j.job) AND (r.slot = core.slot_of(j.every, j.after, core.now()))))))
   ORDER BY j.every, j.job;
END;

ALTER FUNCTION api.due_jobs() OWNER TO prpm_owner;

--
-- Name: FUNCTION due_jobs(); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.due_jobs() IS 'Jobs whose slot is due and not done yet: what a server asks each minute where no scheduler runs in the database, to do each by api.run_job. Spec 7.1.';

--
-- Name: end_session(uuid, text, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.end_session(user_id uuid, session_id text, how text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  update public.checkouts c set status = end_session.how
  where c.user_id = end_session.user_id and c.session_id = end_session.session_id and c.status in ('begun', 'open');
  if end_session.how = 'expired' then
    update public.purchases p set status = 'expired'
    where p.user_id = end_session.user_id and p.stripe_checkout_session_id = end_session.session_id and p.status = 'pending';
  end if;
end
$$;

ALTER FUNCTION core.end_session(user_id uuid, session_id text, how text) OWNER TO prpm_owner;

--
-- Name: FUNCTION end_session(user_id uuid, session_id text, how text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.end_session(user_id uuid, session_id text, how text) IS 'Notes that a checkout session is complete or expired. What was bought is told by payments, never by the session. Spec 6.1.';

--
-- Name: end_checkout(uuid, text, text); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.end_checkout(user_id uuid, session_id text, how text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT core.end_session(user_id, session_id, how) AS end_session;
END;

ALTER FUNCTION api.end_checkout(user_id uuid, session_id text, how text) OWNER TO prpm_owner;

--
-- Name: FUNCTION end_checkout(user_id uuid, session_id text, how text); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.end_checkout(user_id uuid, session_id text, how text) IS 'Notes that a checkout session is expired or complete. Spec 6.1.';

--
-- Name: estimate_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.estimate_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  b record;
  s public.settings;
  m public.models;
  usual numeric;
  prompt_multiplier numeric := 1;
  likely_output integer;
  most_output integer;
begin
  begin
    select x.* into b from api.begin_run(
      estimate_run.user_id, estimate_run.run_id, estimate_run.package, estimate_run.package_version, estimate_run.session_id,
      estimate_run.model, estimate_run.use_no_prompt, estimate_run.input_tokens, estimate_run.counted_with,
      estimate_run.max_output_tokens, estimate_run.custom_prompt_tokens, null, null
    ) x;
    raise exception using errcode = 'PR000';
  exception when sqlstate 'PR000' then
    null;
  end;

  select x.* into s from public.settings x;
  select x.* into m from public.models x where x.alias = estimate_run.model or estimate_run.model is null and x.is_default;
  if estimate_run.custom_prompt_tokens is not null then
    prompt_multiplier := s.custom_prompt_multiplier;
  end if;
  most_output := greatest(1, coalesce(b.output_cap, b.wanted_output));
  usual := core.usual_output(estimate_run.package, m.alias);
  likely_output := least(most_output, coalesce(round(usual), s.min_output_tokens));

  return json_build_object(
    'credits_least', core.charge_for(b.estimated_input + 1, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier),
    'credits_likely', core.charge_for(b.estimated_input + likely_output, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier),
    'credits_most', coalesce(b.hold_credits,
      core.charge_for(b.held_input + most_output, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier)),
    'tokens_input', b.estimated_input,
    'tokens_likely', b.estimated_input + likely_output,
    'tokens_most', b.held_input + most_output,
    'output_cap', b.output_cap,
    'can_afford', b.outcome = 'started' or b.refusal ->> 'code' is distinct from 'insufficient_credits',
    'balance', (select greatest(0, u.included_credits + u.purchased_credits - u.held_included - u.held_purchased)
      from public.users u where u.id = estimate_run.user_id),
    'model', m.alias,
    'provider_model', m.provider_model,
    'package_version', b.version,
    'refusal', b.refusal
  );
end
$$;

ALTER FUNCTION api.estimate_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer) OWNER TO prpm_owner;

--
-- Name: FUNCTION estimate_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.estimate_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer) IS 'What a run would cost, and the refusal that it would meet: begins it by the very rules of a run, and takes that back. Credits and tokens least, likely (by this package''s and model''s usual answer) and most; null where the refusal came before the size was known. run_id is any new id. Errors: PR404 unknown user. Spec 5.7.';

--
-- Name: fail_stripe_event(text, text); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.fail_stripe_event(event_id text, error text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  tries integer;
begin
  update public.stripe_events e set attempts = e.attempts + 1, error = left(fail_stripe_event.error, 2000)
  where e.id = fail_stripe_event.event_id and e.status = 'received'
  returning e.attempts into tries;
  if found then
    perform core.want_work('apply_event', fail_stripe_event.event_id, null, delay => least(interval '6 hours', interval '30 seconds' * power(2, least(tries, 12))));
  end if;
end
$$;

ALTER FUNCTION api.fail_stripe_event(event_id text, error text) OWNER TO prpm_owner;

--
-- Name: FUNCTION fail_stripe_event(event_id text, error text); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.fail_stripe_event(event_id text, error text) IS 'Notes that an event could not be applied, and when it is tried again: ever later. Spec 6.5.';

--
-- Name: stripe_work; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.stripe_work (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    dedupe text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    parameters jsonb DEFAULT '{}'::jsonb NOT NULL,
    user_id uuid,
    ticket bigint,
    again_at timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    error text,
    is_failed boolean DEFAULT false NOT NULL,
    due_at timestamp with time zone NOT NULL,
    claimed_until timestamp with time zone,
    created_at timestamp with time zone NOT NULL
);

ALTER TABLE public.stripe_work OWNER TO prpm_owner;

--
-- Name: TABLE stripe_work; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.stripe_work IS 'ops. What a server has to fetch from Stripe or write to it; done by whichever claims it (spec 6.1, 6.4).';

--
-- Name: COLUMN stripe_work.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.id IS 'Names it; the idempotency key of a write.';

--
-- Name: COLUMN stripe_work.dedupe; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.dedupe IS 'A fetch of the same object is wanted once at a time; each write is its own.';

--
-- Name: COLUMN stripe_work.kind; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.kind IS 'What to do: apply_event, fetch_…, update_subscription, cancel_subscription, refund_payment, expire_session.';

--
-- Name: COLUMN stripe_work.key; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.key IS 'The object''s id at Stripe, or the event''s.';

--
-- Name: COLUMN stripe_work.parameters; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.parameters IS 'Of a write, as Stripe takes them.';

--
-- Name: COLUMN stripe_work.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.user_id IS 'Whose object, where known.';

--
-- Name: COLUMN stripe_work.ticket; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.ticket IS 'Order in which fetches began; set by each claim.';

--
-- Name: COLUMN stripe_work.again_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.again_at IS 'Wanted once more, from then on, while it was under way.';

--
-- Name: COLUMN stripe_work.attempts; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.attempts IS 'How often it failed.';

--
-- Name: COLUMN stripe_work.error; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.error IS 'Why it failed last.';

--
-- Name: COLUMN stripe_work.is_failed; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.is_failed IS 'True: it cannot be done; a person has to look.';

--
-- Name: COLUMN stripe_work.due_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.due_at IS 'Not before.';

--
-- Name: COLUMN stripe_work.claimed_until; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.claimed_until IS 'A server is at it until then.';

--
-- Name: COLUMN stripe_work.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_work.created_at IS 'When it was first wanted.';

--
-- Name: fail_stripe_work(uuid, text, boolean); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.fail_stripe_work(work_id uuid, error text, is_final boolean) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 UPDATE public.stripe_work w SET attempts = (w.attempts + 1), error = "left"(fail_stripe_work.error, 2000), is_failed = fail_stripe_work.is_final, claimed_until = NULL::timestamp with time zone, due_at = (core.now() + LEAST('06:00:00'::interval, ('00:00:15'::interval * power((2)::double precision, (LEAST(w.attempts, 12))::double precision))))
   WHERE (w.id = fail_stripe_work.work_id);
END;

ALTER FUNCTION api.fail_stripe_work(work_id uuid, error text, is_final boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION fail_stripe_work(work_id uuid, error text, is_final boolean); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.fail_stripe_work(work_id uuid, error text, is_final boolean) IS 'Notes that a piece of work could not be done: it is tried again, ever later, or, where that is final, kept for a person. Spec 6.4.';

--
-- Name: finish_stripe_work(uuid, bigint, jsonb); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.finish_stripe_work(work_id uuid, ticket bigint, result jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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
  if work.kind in ('list_events', 'list_subscriptions') then
    perform core.take_list(work.kind, result, now);
  elsif work.kind <> 'apply_event' and result is not null then
    owner := coalesce(work.user_id, core.user_of_customer(coalesce(result #>> '{customer,id}', result ->> 'customer')));
    if owner is not null then
      perform from public.users u where u.id = owner for no key update;
      complaint := core.apply_object(owner, work.kind, work.key, work.ticket, work.claimed_until - interval '2 minutes', result, now);
      if work.kind = 'fetch_payment' then
        perform core.wake_reversals(owner, work.key, now); -- should they have begun to wait in the meantime
      end if;
    elsif work.kind = 'fetch_payment' then
      delete from public.stripe_work w -- of no customer of ours
      where w.dedupe in ('fetch_refunds ' || work.key, 'fetch_disputes ' || work.key) and w.user_id is null;
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

ALTER FUNCTION api.finish_stripe_work(work_id uuid, ticket bigint, result jsonb) OWNER TO prpm_owner;

--
-- Name: FUNCTION finish_stripe_work(work_id uuid, ticket bigint, result jsonb); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.finish_stripe_work(work_id uuid, ticket bigint, result jsonb) IS 'Books what Stripe answered to a piece of work and takes it off the queue; one whose claim has passed to another server changes nothing. Locks the user''s row. Spec 6.4.';

--
-- Name: keep_checkout(uuid, uuid, text, text, timestamp with time zone); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.keep_checkout(user_id uuid, checkout_id uuid, session_id text, url text, expires_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  update public.checkouts c set
    session_id = keep_checkout.session_id, url = keep_checkout.url, expires_at = keep_checkout.expires_at,
    status = case when c.status = 'begun' then 'open' else c.status end
  where c.user_id = keep_checkout.user_id and c.id = keep_checkout.checkout_id;
  update public.purchases p set stripe_checkout_session_id = keep_checkout.session_id
  where p.user_id = keep_checkout.user_id and p.id = keep_checkout.checkout_id;
end
$$;

ALTER FUNCTION api.keep_checkout(user_id uuid, checkout_id uuid, session_id text, url text, expires_at timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION keep_checkout(user_id uuid, checkout_id uuid, session_id text, url text, expires_at timestamp with time zone); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.keep_checkout(user_id uuid, checkout_id uuid, session_id text, url text, expires_at timestamp with time zone) IS 'Keeps the checkout session that Stripe made for a begun subscription or purchase. Spec 6.1, 6.2.';

--
-- Name: keep_customer(uuid, text, boolean); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.keep_customer(user_id uuid, customer_id text, livemode boolean) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  kept text;
begin
  update public.stripe_customers c set customer_id = coalesce(c.customer_id, keep_customer.customer_id)
  where c.user_id = keep_customer.user_id and c.livemode = keep_customer.livemode
  returning c.customer_id into kept;
  return kept;
end
$$;

ALTER FUNCTION api.keep_customer(user_id uuid, customer_id text, livemode boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION keep_customer(user_id uuid, customer_id text, livemode boolean); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.keep_customer(user_id uuid, customer_id text, livemode boolean) IS 'Keeps the customer that was made at Stripe, unless there is one already. Returns the one that counts; null without api.begin_customer before. Spec 6.1.';

--
-- Name: organization_members; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.organization_members (
    user_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    role text DEFAULT 'member'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT organization_members_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'maintainer'::text, 'member'::text])))
);

ALTER TABLE public.organization_members OWNER TO prpm_owner;

--
-- Name: TABLE organization_members; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.organization_members IS 'per-user. Who belongs to which organization.';

--
-- Name: COLUMN organization_members.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.organization_members.user_id IS 'The member.';

--
-- Name: COLUMN organization_members.organization_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.organization_members.organization_id IS 'The organization.';

--
-- Name: COLUMN organization_members.role; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.organization_members.role IS 'owner, admin, maintainer or member.';

--
-- Name: COLUMN organization_members.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.organization_members.created_at IS 'Since when.';

--
-- Name: leave_organization(uuid, uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.leave_organization(user_id uuid, organization_id uuid) RETURNS TABLE(organization_id uuid, role text)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 DELETE FROM public.organization_members m
   WHERE ((m.user_id = leave_organization.user_id) AND (m.organization_id = leave_organization.organization_id))
   RETURNING m.organization_id,
     m.role;
END;

ALTER FUNCTION api.leave_organization(user_id uuid, organization_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION leave_organization(user_id uuid, organization_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.leave_organization(user_id uuid, organization_id uuid) IS 'Ends a user''s own membership. Returns the membership that was; no row: they are no member. A price that hung on it changes at the next renewal. Spec 2.3, 2.4.';

--
-- Name: list_credit_history(uuid, text, integer, text, integer); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.list_credit_history(user_id uuid, type text DEFAULT NULL::text, "limit" integer DEFAULT 50, cursor text DEFAULT NULL::text, "offset" integer DEFAULT 0) RETURNS TABLE(transactions json, next_cursor text, total bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  known constant text[] := array['signup', 'monthly', 'purchase', 'spend', 'rollover', 'expire', 'refund', 'bonus', 'admin'];
  after text[] := core.decode_cursor(list_credit_history.cursor, 'bigint');
  page bigint[];
begin
  perform core.check_page("limit", "offset");
  if list_credit_history.type <> all (known) then
    raise exception 'type % is none of %', list_credit_history.type, array_to_string(known, ', ')
      using errcode = 'PR400', detail = 'type', hint = 'Leave type out to see every movement.';
  end if;

  select array_agg(p.id) into page
  from (
    select t.id
    from public.credit_transactions t
    where t.user_id = list_credit_history.user_id
      and (list_credit_history.type is null or t.type = list_credit_history.type)
      and (after is null or t.id < after[1]::bigint)
    order by t.id desc
    offset "offset"
    limit "limit" + 1
  ) p;
  if cardinality(page) > "limit" then
    page := page[:"limit"];
    next_cursor := core.encode_cursor(page["limit"]::text);
  end if;

  select coalesce(json_agg(json_build_object(
    'id', t.id,
    'type', t.type,
    'amount', case when t.credit = 'lot' then t.amount else -t.amount end,
    'balance_after', t.balance_after,
    'kind', l.kind,
    'description', coalesce(t.description, 'Run with ' || r.model),
    'session_id', r.session_id,
    'run_id', t.run_id,
    'purchase_id', t.purchase_id,
    'created_at', t.created_at
  ) order by t.id desc), '[]') into transactions
  from public.credit_transactions t
  left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
  left join public.runs r on r.user_id = t.user_id and r.id = t.run_id
  where t.user_id = list_credit_history.user_id and t.id = any (page);

  select count(*) into total
  from public.credit_transactions t
  where t.user_id = list_credit_history.user_id and (list_credit_history.type is null or t.type = list_credit_history.type);
  return next;
end
$$;

ALTER FUNCTION api.list_credit_history(user_id uuid, type text, "limit" integer, cursor text, "offset" integer) OWNER TO prpm_owner;

--
-- Name: FUNCTION list_credit_history(user_id uuid, type text, "limit" integer, cursor text, "offset" integer); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.list_credit_history(user_id uuid, type text, "limit" integer, cursor text, "offset" integer) IS 'One page of a user''s own credit movements, newest first. One row: transactions (JSON array: id, type, amount in credits, above 0 into lots and below 0 out of them, balance_after, kind of lot, description, session_id, run_id, purchase_id, created_at), next_cursor (null on the last page) and total (all movements of that type). Errors: PR400 naming type (with the types known), limit, offset or cursor. Spec 4.2, 10.7.';

--
-- Name: model_prices; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.model_prices (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    model text NOT NULL,
    valid tstzrange NOT NULL,
    input numeric NOT NULL,
    cached_read numeric,
    cache_write numeric,
    output numeric NOT NULL,
    source text DEFAULT 'operator'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT model_prices_cache_write_check CHECK (((cache_write >= (0)::numeric) AND (cache_write <= (100000)::numeric))),
    CONSTRAINT model_prices_cached_read_check CHECK (((cached_read >= (0)::numeric) AND (cached_read <= (100000)::numeric))),
    CONSTRAINT model_prices_input_check CHECK (((input >= (0)::numeric) AND (input <= (100000)::numeric))),
    CONSTRAINT model_prices_output_check CHECK (((output >= (0)::numeric) AND (output <= (100000)::numeric))),
    CONSTRAINT model_prices_valid_check CHECK (((NOT isempty(valid)) AND (NOT lower_inf(valid))))
);

ALTER TABLE public.model_prices OWNER TO prpm_owner;

--
-- Name: TABLE model_prices; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.model_prices IS 'config. The price book: US dollars per million tokens, each row valid for a period. Rows are ended, never changed (spec 1.3).';

--
-- Name: COLUMN model_prices.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.model_prices.id IS 'Names the row; runs keep it.';

--
-- Name: COLUMN model_prices.model; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.model_prices.model IS 'models.alias.';

--
-- Name: COLUMN model_prices.valid; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.model_prices.valid IS 'From when to when, end excluded.';

--
-- Name: COLUMN model_prices.input; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.model_prices.input IS 'US dollars per million input tokens that are neither cached nor written to a cache.';

--
-- Name: COLUMN model_prices.cached_read; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.model_prices.cached_read IS 'US dollars per million input tokens read from a cache; null: as input.';

--
-- Name: COLUMN model_prices.cache_write; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.model_prices.cache_write IS 'US dollars per million input tokens written to a cache; null: as input.';

--
-- Name: COLUMN model_prices.output; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.model_prices.output IS 'US dollars per million output tokens.';

--
-- Name: COLUMN model_prices.source; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.model_prices.source IS 'Where it comes from: operator, or genai-prices with its version.';

--
-- Name: COLUMN model_prices.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.model_prices.created_at IS 'When it was entered.';

--
-- Name: models; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.models (
    alias text NOT NULL,
    provider text NOT NULL,
    provider_model text NOT NULL,
    credit_multiplier numeric NOT NULL,
    max_output_tokens integer NOT NULL,
    context_tokens integer NOT NULL,
    tokenizer text NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    is_default boolean DEFAULT false NOT NULL,
    CONSTRAINT models_alias_check CHECK ((alias ~ '^[a-z0-9][a-z0-9._-]{0,63}$'::text)),
    CONSTRAINT models_context_tokens_check CHECK ((context_tokens > 0)),
    CONSTRAINT models_credit_multiplier_check CHECK (((credit_multiplier > (0)::numeric) AND (credit_multiplier <= (1000)::numeric))),
    CONSTRAINT models_max_output_tokens_check CHECK ((max_output_tokens > 0)),
    CONSTRAINT models_provider_check CHECK ((provider = ANY (ARRAY['anthropic'::text, 'openai'::text]))),
    CONSTRAINT models_tokenizer_check CHECK ((tokenizer = ANY (ARRAY['o200k_base'::text, 'cl100k_base'::text, 'approximate'::text])))
);

ALTER TABLE public.models OWNER TO prpm_owner;

--
-- Name: TABLE models; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.models IS 'config. Models that can be run; adding or replacing one is an insert or update here (spec 1.2).';

--
-- Name: COLUMN models.alias; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.models.alias IS 'What a caller says.';

--
-- Name: COLUMN models.provider; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.models.provider IS 'Who serves it: anthropic or openai.';

--
-- Name: COLUMN models.provider_model; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.models.provider_model IS 'The provider''s own model id.';

--
-- Name: COLUMN models.credit_multiplier; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.models.credit_multiplier IS 'Factor on credits (spec 1.1).';

--
-- Name: COLUMN models.max_output_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.models.max_output_tokens IS 'Tokens: the most that the model can write.';

--
-- Name: COLUMN models.context_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.models.context_tokens IS 'Tokens: the most that the model can read and write.';

--
-- Name: COLUMN models.tokenizer; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.models.tokenizer IS 'How texts are counted before a run; approximate is high by design (spec 1.6).';

--
-- Name: COLUMN models.enabled; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.models.enabled IS 'False: cannot be run.';

--
-- Name: COLUMN models.is_default; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.models.is_default IS 'The model of a caller who names none.';

--
-- Name: list_models(uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.list_models(user_id uuid) RETURNS TABLE(alias text, provider text, provider_model text, credit_multiplier numeric, max_output_tokens integer, context_tokens integer, tokenizer text, is_default boolean, priced boolean, input_price numeric, cached_read_price numeric, cache_write_price numeric, output_price numeric)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT m.alias,
     m.provider,
     m.provider_model,
     m.credit_multiplier,
     m.max_output_tokens,
     m.context_tokens,
     m.tokenizer,
     m.is_default,
     (p.id IS NOT NULL),
     p.input,
     COALESCE(p.cached_read, p.input) AS "coalesce",
     COALESCE(p.cache_write, p.input) AS "coalesce",
     p.output
    FROM (public.models m
      LEFT JOIN public.model_prices p ON (((p.model = m.alias) AND (p.valid @> ( SELECT core.now() AS now)))))
   WHERE m.enabled
   ORDER BY m.is_default DESC, m.alias;
END;

ALTER FUNCTION api.list_models(user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION list_models(user_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.list_models(user_id uuid) IS 'The models that can be chosen, the default first, the same for every user. Prices are US dollars per million tokens as of now, null where priced is false: such a model cannot be run yet. Spec 1.2, 1.3.';

--
-- Name: list_packs(uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.list_packs(user_id uuid) RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT COALESCE(json_agg(json_build_object('id', p.pack, 'name', (initcap(p.pack) || ' pack'::text), 'credits', p.credits, 'price', ((p.price * (100)::numeric))::integer, 'price_formatted', ('$'::text || to_char(p.price, 'FM999,990.00'::text)), 'per_credit_cost', round((p.price / (p.credits)::numeric), 3), 'bonus', GREATEST((0)::numeric, round(((((100)::numeric * ((p.credits)::numeric / p.price)) / NULLIF(dearest.credits_per_dollar, (0)::numeric)) - (100)::numeric))), 'description', format('%s credits that never expire'::text, p.credits), 'popular', (p.pack = 'medium'::text)) ORDER BY p.price), '[]'::json) AS "coalesce"
    FROM (public.packs p
      CROSS JOIN ( SELECT min(((x.credits)::numeric / x.price)) AS credits_per_dollar
            FROM public.packs x
           WHERE x.is_active) dearest)
   WHERE (p.is_active AND (list_packs.user_id IS NOT NULL));
END;

ALTER FUNCTION api.list_packs(user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION list_packs(user_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.list_packs(user_id uuid) IS 'Packs that can be bought: credits, price in cents, dollars a credit, and bonus, the percent of credits more than the dearest pack gives for the money. Spec 6.2.';

--
-- Name: list_sessions(uuid, integer, text, integer); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.list_sessions(user_id uuid, "limit" integer DEFAULT 20, cursor text DEFAULT NULL::text, "offset" integer DEFAULT 0) RETURNS TABLE(sessions json, next_cursor text, total bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  after text[] := core.decode_cursor(list_sessions.cursor, 'timestamptz', 'uuid');
  page uuid[];
begin
  perform core.check_page("limit", "offset");

  select array_agg(p.id) into page
  from (
    select s.id
    from public.sessions s
    where s.user_id = list_sessions.user_id and s.deleted_at is null
      and (after is null or (s.last_run_at, s.id) < (after[1]::timestamptz, after[2]::uuid))
    order by s.last_run_at desc, s.id desc
    offset "offset"
    limit "limit" + 1
  ) p;

  if cardinality(page) > "limit" then
    page := page[:"limit"];
    select core.encode_cursor(to_json(s.last_run_at) #>> '{}', s.id::text) into next_cursor
    from public.sessions s
    where s.user_id = list_sessions.user_id and s.id = page["limit"];
  end if;

  select coalesce(json_agg(d), '[]') into sessions from core.describe_sessions(list_sessions.user_id, page) d;
  select count(*) into total
  from public.sessions s
  where s.user_id = list_sessions.user_id and s.deleted_at is null;
  return next;
end
$$;

ALTER FUNCTION api.list_sessions(user_id uuid, "limit" integer, cursor text, "offset" integer) OWNER TO prpm_owner;

--
-- Name: FUNCTION list_sessions(user_id uuid, "limit" integer, cursor text, "offset" integer); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.list_sessions(user_id uuid, "limit" integer, cursor text, "offset" integer) IS 'One page of a user''s own sessions, newest run first. One row: sessions (JSON array of the columns of core.describe_sessions; no texts but a title), next_cursor (null on the last page) and total (all of the user''s sessions). limit 1 to 100; cursor is the next_cursor of the page before; offset skips rows after it. Errors: PR400 naming limit, offset or cursor. Spec 10.1, 10.7.';

--
-- Name: api_tokens; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.api_tokens (
    token_hash bytea NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT api_tokens_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100))),
    CONSTRAINT api_tokens_scopes_check CHECK ((scopes <@ ARRAY['run'::text, 'read'::text, 'billing'::text, 'publish'::text, 'admin'::text])),
    CONSTRAINT api_tokens_token_hash_check CHECK ((length(token_hash) = 32))
);

ALTER TABLE public.api_tokens OWNER TO prpm_owner;

--
-- Name: TABLE api_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.api_tokens IS 'ops. API tokens; only their SHA-256 is stored (spec 2.2).';

--
-- Name: COLUMN api_tokens.token_hash; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.api_tokens.token_hash IS 'SHA-256 of the whole token, prefix prpm_ included.';

--
-- Name: COLUMN api_tokens.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.api_tokens.id IS 'Names the token without revealing it.';

--
-- Name: COLUMN api_tokens.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.api_tokens.user_id IS 'Who acts with it.';

--
-- Name: COLUMN api_tokens.name; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.api_tokens.name IS 'The person''s own word for it.';

--
-- Name: COLUMN api_tokens.scopes; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.api_tokens.scopes IS 'What may be done with it: run, read, billing, publish, admin.';

--
-- Name: COLUMN api_tokens.expires_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.api_tokens.expires_at IS 'Refused from then on; null: never.';

--
-- Name: COLUMN api_tokens.last_used_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.api_tokens.last_used_at IS 'Last sight, to the minute.';

--
-- Name: COLUMN api_tokens.revoked_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.api_tokens.revoked_at IS 'Refused since then.';

--
-- Name: COLUMN api_tokens.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.api_tokens.created_at IS 'When it was made.';

--
-- Name: list_tokens(uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.list_tokens(user_id uuid) RETURNS TABLE(id uuid, name text, scopes text[], expires_at timestamp with time zone, last_used_at timestamp with time zone, revoked_at timestamp with time zone, created_at timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT t.id,
     t.name,
     t.scopes,
     t.expires_at,
     t.last_used_at,
     t.revoked_at,
     t.created_at
    FROM public.api_tokens t
   WHERE (t.user_id = list_tokens.user_id)
   ORDER BY t.created_at DESC, t.id;
END;

ALTER FUNCTION api.list_tokens(user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION list_tokens(user_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.list_tokens(user_id uuid) IS 'A user''s own API tokens, newest first, expired and revoked ones included; never a hash. Spec 2.2.';

--
-- Name: publish_version(uuid, text, text, text[], text, uuid, text, text, integer, integer, integer, text, json); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.publish_version(user_id uuid, name text, description text, tags text[], visibility text, organization_id uuid, package_version text, prompt text, tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, changelog text DEFAULT NULL::text, suggested_inputs json DEFAULT NULL::json) RETURNS TABLE(package_id uuid, version text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  target public.packages;
begin
  perform core.check_package(
    publish_version.name, publish_version.description, publish_version.tags, publish_version.visibility, publish_version.package_version,
    publish_version.prompt, array[publish_version.tokens_o200k, publish_version.tokens_cl100k, publish_version.tokens_approximate]
  );
  target := core.claim_package(publish_version.user_id, publish_version.name, publish_version.visibility, publish_version.organization_id);

  insert into public.package_versions
    (package_id, version, prompt, tokens_o200k, tokens_cl100k, tokens_approximate, changelog, published_by, created_at)
  values (
    target.id, publish_version.package_version, publish_version.prompt, publish_version.tokens_o200k, publish_version.tokens_cl100k,
    publish_version.tokens_approximate, coalesce(publish_version.changelog, ''), publish_version.user_id, core.now()
  )
  on conflict do nothing;
  if not found and not exists (
    select from public.package_versions v
    where v.package_id = target.id and v.version = publish_version.package_version and v.prompt = publish_version.prompt
  ) then
    raise exception '% % is published already, with another prompt', target.name, publish_version.package_version
      using errcode = 'PR409', detail = 'version', hint = 'The prompt of a version never changes: publish under the next version number.';
  end if;

  update public.packages p
  set
    description = coalesce(publish_version.description, p.description),
    tags = coalesce(publish_version.tags, p.tags),
    visibility = coalesce(publish_version.visibility, p.visibility),
    organization_id = coalesce(publish_version.organization_id, p.organization_id),
    latest_version = (
      select v.version from public.package_versions v where v.package_id = target.id
      order by core.version_order(v.version) desc, v.created_at desc, v.version desc limit 1
    ),
    updated_at = core.now()
  where p.id = target.id;
  if publish_version.suggested_inputs is not null then
    perform core.put_suggested_inputs(target.id, publish_version.user_id, publish_version.suggested_inputs);
  end if;

  package_id := target.id;
  version := publish_version.package_version;
  return next;
end
$$;

ALTER FUNCTION api.publish_version(user_id uuid, name text, description text, tags text[], visibility text, organization_id uuid, package_version text, prompt text, tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, changelog text, suggested_inputs json) OWNER TO prpm_owner;

--
-- Name: FUNCTION publish_version(user_id uuid, name text, description text, tags text[], visibility text, organization_id uuid, package_version text, prompt text, tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, changelog text, suggested_inputs json); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.publish_version(user_id uuid, name text, description text, tags text[], visibility text, organization_id uuid, package_version text, prompt text, tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, changelog text, suggested_inputs json) IS 'Publishes a version of a package; the first one makes the package, the user''s own or their organization''s. Null leaves description, tags, visibility, organization_id and suggested_inputs (as for core.put_suggested_inputs) as they are. The newest version is the highest release. Token counts are of the prompt, by each tokenizer. The same version with the same prompt again is no error. Returns the package''s id and the version. Errors: PR400 naming the field; PR403 as core.claim_package; PR409 the version has another prompt. Spec 5.5, 10.6.';

--
-- Name: spend_rank(text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.spend_rank(kind text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT array_position(ARRAY['monthly'::text, 'rollover'::text, 'signup'::text, 'bonus'::text, 'purchased'::text], kind) AS array_position;
END;

ALTER FUNCTION core.spend_rank(kind text) OWNER TO prpm_owner;

--
-- Name: FUNCTION spend_rank(kind text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.spend_rank(kind text) IS 'Which kind of lot is spent first: 1 monthly, then rollover, signup, bonus, purchased. Spec 4.1.';

--
-- Name: credit_lots; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.credit_lots (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    granted bigint NOT NULL,
    remaining bigint NOT NULL,
    expires_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    paid_per_credit numeric DEFAULT 0 NOT NULL,
    source text NOT NULL,
    source_id text NOT NULL,
    period_start timestamp with time zone,
    period_end timestamp with time zone,
    rolls_into uuid,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT credit_lots_remaining_check CHECK ((remaining >= 0))
);

ALTER TABLE public.credit_lots OWNER TO prpm_owner;

--
-- Name: TABLE credit_lots; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.credit_lots IS 'per-user. Where credits came from and how many are left. Spent in the order monthly, rollover, signup, bonus, purchased; in a kind earliest expiry first, then oldest (spec 4.1).';

--
-- Name: COLUMN credit_lots.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.user_id IS 'Whose they are.';

--
-- Name: COLUMN credit_lots.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.id IS 'Names the lot.';

--
-- Name: COLUMN credit_lots.kind; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.kind IS 'monthly, rollover, signup, bonus or purchased.';

--
-- Name: COLUMN credit_lots.granted; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.granted IS 'Credits that it began with.';

--
-- Name: COLUMN credit_lots.remaining; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.remaining IS 'Credits left in it; a cached figure, changed with its transfers.';

--
-- Name: COLUMN credit_lots.expires_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.expires_at IS 'From then on not spendable, but by runs that hold it; infinity: never.';

--
-- Name: COLUMN credit_lots.paid_per_credit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.paid_per_credit IS 'US dollars of cash that were paid for each credit.';

--
-- Name: COLUMN credit_lots.source; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.source IS 'signup, subscription, rollover, purchase, operator, …: what granted it.';

--
-- Name: COLUMN credit_lots.source_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.source_id IS 'Which one; (user_id, source, source_id) is granted once.';

--
-- Name: COLUMN credit_lots.period_start; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.period_start IS 'Start of the billing period of a monthly lot, or of the period that a rollover lot comes from.';

--
-- Name: COLUMN credit_lots.period_end; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.period_end IS 'Its end.';

--
-- Name: COLUMN credit_lots.rolls_into; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.rolls_into IS 'The rollover lot that takes what a running run still holds here (spec 4.5).';

--
-- Name: COLUMN credit_lots.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_lots.created_at IS 'When it was granted.';

--
-- Name: held_in_lots(uuid, bigint, bigint); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.held_in_lots(user_id uuid, held_included bigint, held_purchased bigint) RETURNS TABLE(lot_id uuid, kind text, remaining bigint, held bigint, expires_at timestamp with time zone, rolls_into uuid)
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT l.id,
     l.kind,
     l.remaining,
     (LEAST((l.remaining)::numeric, GREATEST((0)::numeric, ((
         CASE
             WHEN (l.kind = 'purchased'::text) THEN held_in_lots.held_purchased
             ELSE held_in_lots.held_included
         END)::numeric - COALESCE(sum(l.remaining) OVER (PARTITION BY (l.kind = 'purchased'::text) ORDER BY (core.spend_rank(l.kind)), l.expires_at, l.created_at, l.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), (0)::numeric)))))::bigint AS "least",
     l.expires_at,
     l.rolls_into
    FROM public.credit_lots l
   WHERE ((l.user_id = held_in_lots.user_id) AND (l.remaining > 0))
   ORDER BY (core.spend_rank(l.kind)), l.expires_at, l.created_at, l.id;
END;

ALTER FUNCTION core.held_in_lots(user_id uuid, held_included bigint, held_purchased bigint) OWNER TO prpm_owner;

--
-- Name: FUNCTION held_in_lots(user_id uuid, held_included bigint, held_purchased bigint); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.held_in_lots(user_id uuid, held_included bigint, held_purchased bigint) IS 'A user''s lots in the order in which they are spent, each with the credits that running runs hold in it: holds bind the lots that would be spent first. Spec 4.1, 4.5.';

--
-- Name: users; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.users (
    id uuid NOT NULL,
    username text NOT NULL,
    email text,
    is_admin boolean DEFAULT false NOT NULL,
    verified_author boolean DEFAULT false NOT NULL,
    prpm_plus_status text,
    tier_override text,
    plan_tier text,
    entitled_until timestamp with time zone,
    timezone text DEFAULT 'UTC'::text NOT NULL,
    current_month_api_cost numeric DEFAULT 0 NOT NULL,
    current_month_limited_cost numeric DEFAULT 0 NOT NULL,
    month_held_cost numeric DEFAULT 0 NOT NULL,
    current_month_requests integer DEFAULT 0 NOT NULL,
    month_ends_at timestamp with time zone NOT NULL,
    current_day_api_cost numeric DEFAULT 0 NOT NULL,
    current_day_limited_cost numeric DEFAULT 0 NOT NULL,
    day_held_cost numeric DEFAULT 0 NOT NULL,
    day_ends_at timestamp with time zone NOT NULL,
    hour_requests integer DEFAULT 0 NOT NULL,
    hour_ends_at timestamp with time zone NOT NULL,
    minute_attempts integer DEFAULT 0 NOT NULL,
    minute_ends_at timestamp with time zone NOT NULL,
    lifetime_api_cost numeric DEFAULT 0 NOT NULL,
    total_requests bigint DEFAULT 0 NOT NULL,
    last_request_at timestamp with time zone,
    is_throttled boolean DEFAULT false NOT NULL,
    throttled_reason text,
    throttled_by text,
    throttled_at timestamp with time zone,
    throttled_until timestamp with time zone,
    limits_waived_until timestamp with time zone,
    included_credits bigint DEFAULT 0 NOT NULL,
    purchased_credits bigint DEFAULT 0 NOT NULL,
    held_included bigint DEFAULT 0 NOT NULL,
    held_purchased bigint DEFAULT 0 NOT NULL,
    transaction_count bigint DEFAULT 0 NOT NULL,
    spend_lot uuid,
    next_lot_expiry timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    open_runs uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    holds_expire_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    closed_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    last_run_id uuid,
    CONSTRAINT holds_are_not_negative CHECK ((LEAST(held_included, held_purchased) >= 0))
);

ALTER TABLE public.users OWNER TO prpm_owner;

--
-- Name: TABLE users; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.users IS 'per-user (key: id). A person: their tier, windows, throttle and the cached credit figures. Figures change only by the functions that write the books; ops.audit_books() recomputes them.';

--
-- Name: COLUMN users.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.id IS 'The person''s id; the user_id of every per-user table.';

--
-- Name: COLUMN users.username; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.username IS 'Shown name.';

--
-- Name: COLUMN users.email; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.email IS 'Verified e-mail, or null. Unique by table user_emails.';

--
-- Name: COLUMN users.is_admin; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.is_admin IS 'May use the admin API. A column, never a claim (spec 2.2).';

--
-- Name: COLUMN users.verified_author; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.verified_author IS 'May run custom prompts (spec 10.5).';

--
-- Name: COLUMN users.prpm_plus_status; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.prpm_plus_status IS 'active while a subscription entitles, else Stripe''s own word, or null (spec 2.5).';

--
-- Name: COLUMN users.tier_override; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.tier_override IS 'Tier given by an operator; outranks the plan''s (spec 2.5).';

--
-- Name: COLUMN users.plan_tier; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.plan_tier IS 'Tier of the plan whose period is paid, valid until entitled_until.';

--
-- Name: COLUMN users.entitled_until; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.entitled_until IS 'Until when plan_tier holds; null without a subscription.';

--
-- Name: COLUMN users.timezone; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.timezone IS 'IANA name, for showing times only; all windows are UTC.';

--
-- Name: COLUMN users.current_month_api_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.current_month_api_cost IS 'US dollars: all provider cost of runs begun in the month window that ends at month_ends_at.';

--
-- Name: COLUMN users.current_month_limited_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.current_month_limited_cost IS 'US dollars: the part of it that counts against limits, not paid by purchased credits (spec 3.3).';

--
-- Name: COLUMN users.month_held_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.month_held_cost IS 'US dollars: worst case of running runs, counted against the month''s limit.';

--
-- Name: COLUMN users.current_month_requests; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.current_month_requests IS 'Runs let in during the month window.';

--
-- Name: COLUMN users.month_ends_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.month_ends_at IS 'End of the month window (UTC calendar month) that the month columns describe.';

--
-- Name: COLUMN users.current_day_api_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.current_day_api_cost IS 'US dollars: all provider cost of runs begun in the day window.';

--
-- Name: COLUMN users.current_day_limited_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.current_day_limited_cost IS 'US dollars: the part of it that counts against limits.';

--
-- Name: COLUMN users.day_held_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.day_held_cost IS 'US dollars: worst case of running runs, counted against the day''s limit.';

--
-- Name: COLUMN users.day_ends_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.day_ends_at IS 'End of the day window (UTC) that the day columns describe.';

--
-- Name: COLUMN users.hour_requests; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.hour_requests IS 'Runs let in during the hour window, less those that the provider failed.';

--
-- Name: COLUMN users.hour_ends_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.hour_ends_at IS 'End of the hour window (UTC).';

--
-- Name: COLUMN users.minute_attempts; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.minute_attempts IS 'Attempts to begin a run in the fixed minute window, refused or not (spec 3.6).';

--
-- Name: COLUMN users.minute_ends_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.minute_ends_at IS 'End of the minute window; set by its first attempt, never moved by later ones.';

--
-- Name: COLUMN users.lifetime_api_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.lifetime_api_cost IS 'US dollars: provider cost of every run ever.';

--
-- Name: COLUMN users.total_requests; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.total_requests IS 'Runs ever let in.';

--
-- Name: COLUMN users.last_request_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.last_request_at IS 'When the last run was let in.';

--
-- Name: COLUMN users.is_throttled; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.is_throttled IS 'True while throttled. An operator sets or lifts it with a plain UPDATE (spec 3.4).';

--
-- Name: COLUMN users.throttled_reason; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.throttled_reason IS 'Why, in words: tier, limit and amount.';

--
-- Name: COLUMN users.throttled_by; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.throttled_by IS 'limit: a used-up cost window; operator: ops.throttle_user; null: an operator''s plain UPDATE.';

--
-- Name: COLUMN users.throttled_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.throttled_at IS 'Since when.';

--
-- Name: COLUMN users.throttled_until; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.throttled_until IS 'When it ends by itself; not used for a plain UPDATE.';

--
-- Name: COLUMN users.limits_waived_until; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.limits_waived_until IS 'Until then cost limits do not hold for this person (ops.waive_limits).';

--
-- Name: COLUMN users.included_credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.included_credits IS 'Credits left in lots that were not purchased (monthly, rollover, signup, bonus), held ones included.';

--
-- Name: COLUMN users.purchased_credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.purchased_credits IS 'Credits left in purchased lots, held ones included.';

--
-- Name: COLUMN users.held_included; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.held_included IS 'Credits of included_credits that running runs hold.';

--
-- Name: COLUMN users.held_purchased; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.held_purchased IS 'Credits of purchased_credits that running runs hold.';

--
-- Name: COLUMN users.transaction_count; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.transaction_count IS 'Id of the last row of credit_transactions.';

--
-- Name: COLUMN users.spend_lot; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.spend_lot IS 'The lot that is spent first, or null.';

--
-- Name: COLUMN users.next_lot_expiry; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.next_lot_expiry IS 'Earliest expiry among lots with credits left; infinity if none expires.';

--
-- Name: COLUMN users.open_runs; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.open_runs IS 'Ids of running runs.';

--
-- Name: COLUMN users.holds_expire_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.holds_expire_at IS 'No hold of a running run expires before this; infinity if none runs.';

--
-- Name: COLUMN users.closed_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.closed_at IS 'Set by ops.close_user: nothing can be begun any more.';

--
-- Name: COLUMN users.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.created_at IS 'When the person was first seen.';

--
-- Name: COLUMN users.updated_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.updated_at IS 'Last change by the product''s functions.';

--
-- Name: COLUMN users.last_run_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.users.last_run_id IS 'Highest id of their runs: a higher one is new, and need not be looked for (spec 5.3).';

--
-- Name: read_credits(uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.read_credits(user_id uuid) RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT json_build_object('balance', figures.balance, 'held', (u.held_included + u.held_purchased), 'available', figures.available, 'monthly', json_build_object('allocated', figures.allocated, 'used', (figures.allocated - figures.monthly), 'remaining', figures.monthly, 'reset_at', figures.reset_at), 'rollover', json_build_object('amount', figures.rollover, 'expires_at', figures.rollover_expires_at), 'purchased', figures.purchased, 'signup', figures.signup, 'bonus', figures.bonus, 'breakdown', json_build_object('monthly', figures.monthly, 'rollover', figures.rollover, 'signup', figures.signup, 'bonus', figures.bonus, 'purchased', figures.purchased), 'lots', figures.lots) AS json_build_object
    FROM (public.users u
      CROSS JOIN LATERAL ( SELECT (COALESCE(sum(live.remaining), (0)::numeric))::bigint AS balance,
             (COALESCE(sum((live.remaining - live.held)), (0)::numeric))::bigint AS available,
             (COALESCE(sum(live.granted) FILTER (WHERE (live.kind = 'monthly'::text)), (0)::numeric))::bigint AS allocated,
             (COALESCE(sum(live.remaining) FILTER (WHERE (live.kind = 'monthly'::text)), (0)::numeric))::bigint AS monthly,
             min(live.period_end) FILTER (WHERE (live.kind = 'monthly'::text)) AS reset_at,
             (COALESCE(sum(live.remaining) FILTER (WHERE (live.kind = 'rollover'::text)), (0)::numeric))::bigint AS rollover,
             min(live.expires_at) FILTER (WHERE ((live.kind = 'rollover'::text) AND (live.remaining > 0))) AS rollover_expires_at,
             (COALESCE(sum(live.remaining) FILTER (WHERE (live.kind = 'signup'::text)), (0)::numeric))::bigint AS signup,
             (COALESCE(sum(live.remaining) FILTER (WHERE (live.kind = 'bonus'::text)), (0)::numeric))::bigint AS bonus,
             (COALESCE(sum(live.remaining) FILTER (WHERE (live.kind = 'purchased'::text)), (0)::numeric))::bigint AS purchased,
             COALESCE(json_agg(json_build_object('id', live.id, 'kind', live.kind, 'granted', live.granted, 'remaining', live.remaining, 'held', live.held, 'source', live.source, 'expires_at', NULLIF(live.expires_at, 'infinity'::timestamp with time zone), 'created_at', live.created_at) ORDER BY (core.spend_rank(live.kind)), live.expires_at, live.created_at, live.id) FILTER (WHERE (live.remaining > 0)), '[]'::json) AS lots
            FROM ( SELECT l.user_id,
                     l.id,
                     l.kind,
                     l.granted,
                     l.remaining,
                     l.expires_at,
                     l.paid_per_credit,
                     l.source,
                     l.source_id,
                     l.period_start,
                     l.period_end,
                     l.rolls_into,
                     l.created_at,
                     COALESCE(h.held, (0)::bigint) AS held
                    FROM (public.credit_lots l
                      LEFT JOIN core.held_in_lots(u.id, u.held_included, u.held_purchased) h(lot_id, kind, remaining, held, expires_at, rolls_into) ON ((h.lot_id = l.id)))
                   WHERE ((l.user_id = u.id) AND (l.expires_at > ( SELECT core.now() AS now)))) live) figures)
   WHERE (u.id = read_credits.user_id);
END;

ALTER FUNCTION api.read_credits(user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION read_credits(user_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.read_credits(user_id uuid) IS 'What a user can spend, in credits: balance (lots that have not expired, whether or not a job has booked the others), held by running runs, available (balance less what those hold in such lots, never below 0), monthly {allocated, used, remaining, reset_at}, rollover {amount, expires_at}, signup, bonus, purchased, breakdown by kind, and lots with credits left in the order in which they are spent. Null for an unknown user. Spec 4.2, 4.5.';

--
-- Name: read_package(uuid, text); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.read_package(user_id uuid, package text) RETURNS TABLE(id uuid, name text, description text, tags text[], author_id uuid, author text, organization_id uuid, organization text, visibility text, latest_version text, may_publish boolean, created_at timestamp with time zone, updated_at timestamp with time zone, versions json, suggested_inputs json)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  p public.packages := core.find_package(read_package.user_id, read_package.package);
begin
  if p.id is null then
    return;
  end if;
  return query select
    p.id, p.name, p.description, p.tags,
    p.author_id, (select u.username from public.users u where u.id = p.author_id),
    p.organization_id, (select o.name from public.organizations o where o.id = p.organization_id),
    p.visibility, p.latest_version, core.may_publish(read_package.user_id, p.author_id, p.organization_id), p.created_at, p.updated_at,
    core.describe_versions(p.id), core.describe_suggested_inputs(p.id);
end
$$;

ALTER FUNCTION api.read_package(user_id uuid, package text) OWNER TO prpm_owner;

--
-- Name: FUNCTION read_package(user_id uuid, package text); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.read_package(user_id uuid, package text) IS 'A package by id or name, with versions and suggested_inputs as core.describe_versions and core.describe_suggested_inputs give them; author and organization are names, may_publish is about the acting user. No row: there is none that this user may see. Spec 5.5, 10.6.';

--
-- Name: organizations; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.organizations (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    is_verified boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT organizations_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100)))
);

ALTER TABLE public.organizations OWNER TO prpm_owner;

--
-- Name: TABLE organizations; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.organizations IS 'config. An organization. Members of a verified one may have the organization price (spec 2.4).';

--
-- Name: COLUMN organizations.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.organizations.id IS 'Made once, never changes.';

--
-- Name: COLUMN organizations.name; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.organizations.name IS 'Shown to people, 1 to 100 characters.';

--
-- Name: COLUMN organizations.is_verified; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.organizations.is_verified IS 'Set by ops.verify_organization.';

--
-- Name: COLUMN organizations.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.organizations.created_at IS 'When the row was made.';

--
-- Name: offer_of(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.offer_of(user_id uuid, OUT plan text, OUT price numeric, OUT credits integer, OUT price_id text, OUT organization text) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT p.plan,
     p.monthly_price,
     p.monthly_credits,
     p.stripe_price_id,
         CASE
             WHEN p.requires_verified_organization THEN membership.name
             ELSE NULL::text
         END AS "case"
    FROM (public.plans p
      LEFT JOIN LATERAL ( SELECT o.name
            FROM (public.organization_members m
              JOIN public.organizations o ON (((o.id = m.organization_id) AND o.is_verified)))
           WHERE (m.user_id = offer_of.user_id)
           ORDER BY o.name
          LIMIT 1) membership ON (true))
   WHERE (p.is_active AND (p.plan = ANY (ARRAY['prpm_plus_individual'::text, 'prpm_plus_org_member'::text])) AND ((NOT p.requires_verified_organization) OR (membership.name IS NOT NULL)))
   ORDER BY p.requires_verified_organization DESC
  LIMIT 1;
END;

ALTER FUNCTION core.offer_of(user_id uuid, OUT plan text, OUT price numeric, OUT credits integer, OUT price_id text, OUT organization text) OWNER TO prpm_owner;

--
-- Name: FUNCTION offer_of(user_id uuid, OUT plan text, OUT price numeric, OUT credits integer, OUT price_id text, OUT organization text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.offer_of(user_id uuid, OUT plan text, OUT price numeric, OUT credits integer, OUT price_id text, OUT organization text) IS 'The PRPM+ plan that is offered to a user: the members'' one in a verified organization, else the individual one. price is US dollars a month. Spec 2.4.';

--
-- Name: read_pricing(uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.read_pricing(user_id uuid) RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT json_build_object('plan', offer.plan, 'price', offer.price, 'currency', 'USD', 'interval', 'month', 'credits', offer.credits, 'is_org_member', (offer.organization IS NOT NULL), 'org_name', offer.organization, 'discount',
         CASE
             WHEN (offer.organization IS NULL) THEN (0)::numeric
             ELSE round(((100)::numeric * ((1)::numeric - (offer.price / NULLIF(full_price.price, (0)::numeric)))))
         END) AS json_build_object
    FROM (core.offer_of(read_pricing.user_id) offer(plan, price, credits, price_id, organization)
      CROSS JOIN LATERAL ( SELECT max(p.monthly_price) AS price
            FROM public.plans p
           WHERE (p.plan = 'prpm_plus_individual'::text)) full_price);
END;

ALTER FUNCTION api.read_pricing(user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION read_pricing(user_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.read_pricing(user_id uuid) IS 'What PRPM+ costs a user: plan, price (US dollars a month), credits a month, whether a verified organization makes it cheaper, and by how many percent (discount). Spec 2.4, 6.1.';

--
-- Name: cost_limits_config; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.cost_limits_config (
    tier_name text NOT NULL,
    monthly_cost_limit numeric(12,2),
    daily_cost_limit numeric(12,2),
    hourly_request_limit integer,
    minute_request_limit integer,
    throttle_on_exceed boolean DEFAULT true NOT NULL,
    alert_at_percent integer[] DEFAULT '{90}'::integer[] NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    description text,
    paused_until timestamp with time zone,
    CONSTRAINT cost_limits_config_alert_at_percent_check CHECK (((0 < ALL (alert_at_percent)) AND (100 >= ALL (alert_at_percent)))),
    CONSTRAINT cost_limits_config_hourly_request_limit_check CHECK ((hourly_request_limit >= 0)),
    CONSTRAINT cost_limits_config_minute_request_limit_check CHECK ((minute_request_limit >= 0)),
    CONSTRAINT cost_limits_config_tier_name_check CHECK ((tier_name ~ '^[a-z][a-z0-9_]{0,39}$'::text)),
    CONSTRAINT daily_cost_limit_is_not_negative CHECK ((daily_cost_limit >= (0)::numeric)),
    CONSTRAINT limits_are_numbers CHECK (((monthly_cost_limit < 'Infinity'::numeric) AND (daily_cost_limit < 'Infinity'::numeric))),
    CONSTRAINT monthly_cost_limit_is_positive_use_daily_cost_limit_0_for_none CHECK ((monthly_cost_limit > (0)::numeric))
);

ALTER TABLE public.cost_limits_config OWNER TO prpm_owner;

--
-- Name: TABLE cost_limits_config; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.cost_limits_config IS 'config. Limits of each tier; null is no limit, 0 is none allowed. To allow nothing a month set daily_cost_limit = 0: monthly_cost_limit must be null or above 0. A change holds from the next request on (spec 3.1).';

--
-- Name: COLUMN cost_limits_config.tier_name; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.cost_limits_config.tier_name IS 'Names the tier.';

--
-- Name: COLUMN cost_limits_config.monthly_cost_limit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.cost_limits_config.monthly_cost_limit IS 'US dollars of provider cost a calendar month (UTC) and user; null: no limit.';

--
-- Name: COLUMN cost_limits_config.daily_cost_limit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.cost_limits_config.daily_cost_limit IS 'US dollars of provider cost a day (UTC) and user; null: no limit; 0: none.';

--
-- Name: COLUMN cost_limits_config.hourly_request_limit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.cost_limits_config.hourly_request_limit IS 'Runs an hour (UTC) and user; null: no limit.';

--
-- Name: COLUMN cost_limits_config.minute_request_limit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.cost_limits_config.minute_request_limit IS 'Attempts to begin a run a minute and user; null: no limit (spec 3.6).';

--
-- Name: COLUMN cost_limits_config.throttle_on_exceed; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.cost_limits_config.throttle_on_exceed IS 'False: cost limits only alert (spec 3.5).';

--
-- Name: COLUMN cost_limits_config.alert_at_percent; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.cost_limits_config.alert_at_percent IS 'Percentages of the monthly limit at which the user is warned.';

--
-- Name: COLUMN cost_limits_config.is_active; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.cost_limits_config.is_active IS 'False: the tier can no longer be given, who has it falls to free.';

--
-- Name: COLUMN cost_limits_config.description; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.cost_limits_config.description IS 'For people.';

--
-- Name: COLUMN cost_limits_config.paused_until; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.cost_limits_config.paused_until IS 'Set by ops.watch_budgets() while the tier as a whole has used up its budget (settings.free_tier_daily_budget); null: not paused.';

--
-- Name: find_limits(text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.find_limits(tier text) RETURNS public.cost_limits_config
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  limits public.cost_limits_config;
begin
  select l.* into limits from public.cost_limits_config l where l.tier_name = find_limits.tier;
  if found and not limits.is_active and limits.tier_name <> 'free' then
    select l.* into limits from public.cost_limits_config l where l.tier_name = 'free';
  end if;
  return limits;
end
$$;

ALTER FUNCTION core.find_limits(tier text) OWNER TO prpm_owner;

--
-- Name: FUNCTION find_limits(tier text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.find_limits(tier text) IS 'A tier''s limits; those of free for a tier that is no longer active; nulls for a tier without a row, which is refused. Spec 3.1.';

--
-- Name: roll_windows(public.users, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.roll_windows(u public.users, now timestamp with time zone) RETURNS public.users
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
declare
  local_now timestamp := now at time zone 'UTC';
begin
  if now >= u.minute_ends_at then
    u.minute_attempts := 0;
    u.minute_ends_at := now + interval '1 minute';
  end if;
  if now >= u.hour_ends_at then
    u.hour_requests := 0;
    u.hour_ends_at := (date_trunc('hour', local_now) + interval '1 hour') at time zone 'UTC';
  end if;
  if now >= u.day_ends_at then
    u.current_day_api_cost := 0;
    u.current_day_limited_cost := 0;
    u.day_held_cost := 0;
    u.day_ends_at := (date_trunc('day', local_now) + interval '1 day') at time zone 'UTC';
  end if;
  if now >= u.month_ends_at then
    u.current_month_api_cost := 0;
    u.current_month_limited_cost := 0;
    u.month_held_cost := 0;
    u.current_month_requests := 0;
    u.month_ends_at := (date_trunc('month', local_now) + interval '1 month') at time zone 'UTC';
  end if;
  return u;
end
$$;

ALTER FUNCTION core.roll_windows(u public.users, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION roll_windows(u public.users, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.roll_windows(u public.users, now timestamp with time zone) IS 'The user''s row with every window that has ended opened anew and empty. Stores nothing: the caller writes what it needs. Spec 3.2.';

--
-- Name: tier_at(text, text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.tier_at(tier_override text, plan_tier text, entitled_until timestamp with time zone, now timestamp with time zone) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT COALESCE(tier_override,
         CASE
             WHEN (entitled_until > now) THEN plan_tier
             ELSE NULL::text
         END, 'free'::text) AS "coalesce";
END;

ALTER FUNCTION core.tier_at(tier_override text, plan_tier text, entitled_until timestamp with time zone, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION tier_at(tier_override text, plan_tier text, entitled_until timestamp with time zone, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.tier_at(tier_override text, plan_tier text, entitled_until timestamp with time zone, now timestamp with time zone) IS 'A user''s tier: the operator''s override, else the plan''s while its period is paid, else free. Whether that tier is still active core.find_limits decides. Spec 2.5.';

--
-- Name: runs; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.runs (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    status text NOT NULL,
    model text NOT NULL,
    provider_model text NOT NULL,
    package_id uuid NOT NULL,
    package_version text NOT NULL,
    baseline boolean NOT NULL,
    tier_name text NOT NULL,
    price_id uuid NOT NULL,
    credit_multiplier numeric NOT NULL,
    prompt_multiplier numeric NOT NULL,
    tokens_per_credit integer NOT NULL,
    estimated_input integer NOT NULL,
    question_tokens integer NOT NULL,
    estimate_is_exact boolean NOT NULL,
    output_cap integer NOT NULL,
    hold_included bigint NOT NULL,
    hold_purchased bigint NOT NULL,
    hold_cost numeric NOT NULL,
    hold_expires_at timestamp with time zone NOT NULL,
    input_tokens integer,
    cached_tokens integer,
    cache_write_tokens integer,
    output_tokens integer,
    estimated boolean DEFAULT false NOT NULL,
    cost numeric DEFAULT 0 NOT NULL,
    limited_cost numeric DEFAULT 0 NOT NULL,
    credits bigint DEFAULT 0 NOT NULL,
    shortfall bigint DEFAULT 0 NOT NULL,
    credits_by_kind jsonb,
    error text,
    error_reason text,
    stop_requested_at timestamp with time zone,
    first_token_ms integer,
    duration_ms integer,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone
);

ALTER TABLE public.runs OWNER TO prpm_owner;

--
-- Name: TABLE runs; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.runs IS 'per-user. Every run that was let in: what it held, what the provider reported, what it cost and what was charged. Keeps the price row, multipliers and tokens_per_credit that it began under (spec 1.3).';

--
-- Name: COLUMN runs.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.user_id IS 'Who runs.';

--
-- Name: COLUMN runs.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.id IS 'Names the run; made by the caller, time-ordered.';

--
-- Name: COLUMN runs.session_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.session_id IS 'The conversation that it is part of.';

--
-- Name: COLUMN runs.status; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.status IS 'running, completed, stopped, failed, released (nothing delivered, nothing charged) or expired (its server was gone).';

--
-- Name: COLUMN runs.model; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.model IS 'models.alias.';

--
-- Name: COLUMN runs.provider_model; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.provider_model IS 'The provider''s model id at the time.';

--
-- Name: COLUMN runs.package_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.package_id IS 'The package.';

--
-- Name: COLUMN runs.package_version; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.package_version IS 'The version of it.';

--
-- Name: COLUMN runs.baseline; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.baseline IS 'True: run without the package''s prompt, for comparison.';

--
-- Name: COLUMN runs.tier_name; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.tier_name IS 'Tier at the time.';

--
-- Name: COLUMN runs.price_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.price_id IS 'model_prices.id that it is priced by.';

--
-- Name: COLUMN runs.credit_multiplier; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.credit_multiplier IS 'The model''s factor at the time.';

--
-- Name: COLUMN runs.prompt_multiplier; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.prompt_multiplier IS '1, or the factor of custom prompts (spec 1.7).';

--
-- Name: COLUMN runs.tokens_per_credit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.tokens_per_credit IS 'The setting at the time.';

--
-- Name: COLUMN runs.estimated_input; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.estimated_input IS 'Tokens of input estimated before the run.';

--
-- Name: COLUMN runs.question_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.question_tokens IS 'Tokens of the caller''s own text, estimated.';

--
-- Name: COLUMN runs.estimate_is_exact; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.estimate_is_exact IS 'True: counted by the model''s own tokenizer.';

--
-- Name: COLUMN runs.output_cap; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.output_cap IS 'Tokens: max_tokens sent to the provider.';

--
-- Name: COLUMN runs.hold_included; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.hold_included IS 'Credits held that were not purchased.';

--
-- Name: COLUMN runs.hold_purchased; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.hold_purchased IS 'Purchased credits held.';

--
-- Name: COLUMN runs.hold_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.hold_cost IS 'US dollars: its worst case.';

--
-- Name: COLUMN runs.hold_expires_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.hold_expires_at IS 'When the run is taken for dead unless a checkpoint comes.';

--
-- Name: COLUMN runs.input_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.input_tokens IS 'Tokens read in all, cached and cache-write parts included, as the provider reported.';

--
-- Name: COLUMN runs.cached_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.cached_tokens IS 'Tokens of input read from the provider''s cache.';

--
-- Name: COLUMN runs.cache_write_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.cache_write_tokens IS 'Tokens of input written to the provider''s cache.';

--
-- Name: COLUMN runs.output_tokens; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.output_tokens IS 'Tokens written, as the provider reported; while running, the count so far.';

--
-- Name: COLUMN runs.estimated; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.estimated IS 'True: the provider''s report was lost, tokens are counted by us.';

--
-- Name: COLUMN runs.cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.cost IS 'US dollars: exact, tokens by kind at the price row.';

--
-- Name: COLUMN runs.limited_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.limited_cost IS 'US dollars: the part of cost that counts against limits (spec 3.3).';

--
-- Name: COLUMN runs.credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.credits IS 'Credits charged: transfers of type spend less those given back.';

--
-- Name: COLUMN runs.shortfall; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.shortfall IS 'Credits that it cost above its hold and that nothing free could pay.';

--
-- Name: COLUMN runs.credits_by_kind; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.credits_by_kind IS 'Credits charged by kind of lot.';

--
-- Name: COLUMN runs.error; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.error IS 'Code of the failure (docs/errors.md), or null.';

--
-- Name: COLUMN runs.error_reason; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.error_reason IS 'The provider''s words, keys and internals left out.';

--
-- Name: COLUMN runs.stop_requested_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.stop_requested_at IS 'When a stop was asked for.';

--
-- Name: COLUMN runs.first_token_ms; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.first_token_ms IS 'Milliseconds to the first token.';

--
-- Name: COLUMN runs.duration_ms; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.duration_ms IS 'Milliseconds of the provider call.';

--
-- Name: COLUMN runs.started_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.started_at IS 'When it was let in; decides its windows and its price.';

--
-- Name: COLUMN runs.finished_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.runs.finished_at IS 'When it ended, or null.';

--
-- Name: write_receipt(public.runs, public.users, public.cost_limits_config); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.write_receipt(r public.runs, u public.users, l public.cost_limits_config) RETURNS core.receipt
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT ROW((r).id, (r).session_id, (r).status, (r).model, (r).provider_model, (r).package_id, (r).package_version, (r).baseline, (r).credits, COALESCE((r).credits_by_kind, '{}'::jsonb), (r).shortfall, GREATEST((0)::bigint, ((((u).included_credits + (u).purchased_credits) - (u).held_included) - (u).held_purchased)), (r).input_tokens, (r).cached_tokens, (r).cache_write_tokens, (r).output_tokens, (r).estimated, (r).cost, (r).error, (r).error_reason, (r).first_token_ms, (r).duration_ms, (r).started_at, (r).finished_at, (((r).hold_included = 0) AND ((r).hold_purchased > 0)), (l).tier_name, (l).hourly_request_limit, (u).hour_requests, (u).hour_ends_at, ((l).daily_cost_limit)::numeric, (u).current_day_limited_cost, (u).day_ends_at, ((l).monthly_cost_limit)::numeric, (u).current_month_limited_cost, (u).month_ends_at)::core.receipt AS "row";
END;

ALTER FUNCTION core.write_receipt(r public.runs, u public.users, l public.cost_limits_config) OWNER TO prpm_owner;

--
-- Name: FUNCTION write_receipt(r public.runs, u public.users, l public.cost_limits_config); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.write_receipt(r public.runs, u public.users, l public.cost_limits_config) IS 'The receipt of a run (see type core.receipt), as of now. The user''s windows are rolled. Spec 5.1.';

--
-- Name: run_texts; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.run_texts (
    user_id uuid NOT NULL,
    session_id uuid NOT NULL,
    run_id uuid NOT NULL,
    question text NOT NULL,
    answer text NOT NULL
)
WITH (toast_tuple_target='8160');
ALTER TABLE ONLY public.run_texts ALTER COLUMN question SET STORAGE EXTERNAL;
ALTER TABLE ONLY public.run_texts ALTER COLUMN answer SET STORAGE EXTERNAL;

ALTER TABLE public.run_texts OWNER TO prpm_owner;

--
-- Name: TABLE run_texts; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.run_texts IS 'per-user. What was asked and answered, apart from the books, so that texts can go and the books stay.';

--
-- Name: COLUMN run_texts.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.run_texts.user_id IS 'Whose.';

--
-- Name: COLUMN run_texts.session_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.run_texts.session_id IS 'The conversation.';

--
-- Name: COLUMN run_texts.run_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.run_texts.run_id IS 'The run; ids are time-ordered, so they order the conversation.';

--
-- Name: COLUMN run_texts.question; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.run_texts.question IS 'The caller''s text.';

--
-- Name: COLUMN run_texts.answer; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.run_texts.answer IS 'The model''s text, so far while it runs.';

--
-- Name: read_run(uuid, uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.read_run(user_id uuid, run_id uuid) RETURNS TABLE(receipt core.receipt, question text, answer text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT core.write_receipt(r.*, rolled.*, core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now.now))) AS write_receipt,
     t.question,
     t.answer
    FROM ((((core.now() now(now)
      JOIN public.runs r ON (((r.user_id = read_run.user_id) AND (r.id = read_run.run_id))))
      JOIN public.users u ON ((u.id = r.user_id)))
      CROSS JOIN LATERAL core.roll_windows(u.*, now.now) rolled(id, username, email, is_admin, verified_author, prpm_plus_status, tier_override, plan_tier, entitled_until, timezone, current_month_api_cost, current_month_limited_cost, month_held_cost, current_month_requests, month_ends_at, current_day_api_cost, current_day_limited_cost, day_held_cost, day_ends_at, hour_requests, hour_ends_at, minute_attempts, minute_ends_at, lifetime_api_cost, total_requests, last_request_at, is_throttled, throttled_reason, throttled_by, throttled_at, throttled_until, limits_waived_until, included_credits, purchased_credits, held_included, held_purchased, transaction_count, spend_lot, next_lot_expiry, open_runs, holds_expire_at, closed_at, created_at, updated_at, last_run_id))
      LEFT JOIN public.run_texts t ON (((t.user_id = r.user_id) AND (t.session_id = r.session_id) AND (t.run_id = r.id))));
END;

ALTER FUNCTION api.read_run(user_id uuid, run_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION read_run(user_id uuid, run_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.read_run(user_id uuid, run_id uuid) IS 'A run of this user: receipt as it stands (see type core.receipt), question and answer so far. No row for an unknown run or another''s. Spec 5.2.';

--
-- Name: packages; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.packages (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    author_id uuid NOT NULL,
    organization_id uuid,
    visibility text DEFAULT 'public'::text NOT NULL,
    latest_version text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT packages_description_check CHECK ((length(description) <= 2000)),
    CONSTRAINT packages_name_check CHECK ((name ~ '^(@[a-z0-9][a-z0-9-]{0,38}/)?[a-z0-9][a-z0-9._-]{0,99}$'::text)),
    CONSTRAINT packages_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'unlisted'::text, 'private'::text])))
);

ALTER TABLE public.packages OWNER TO prpm_owner;

--
-- Name: TABLE packages; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.packages IS 'config. Prompt packages. A private one is seen only by its author and organization (spec 5.5).';

--
-- Name: COLUMN packages.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packages.id IS 'Names the package for ever.';

--
-- Name: COLUMN packages.name; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packages.name IS 'Unique name, lower case.';

--
-- Name: COLUMN packages.description; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packages.description IS 'One or two sentences.';

--
-- Name: COLUMN packages.tags; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packages.tags IS 'Words to find it by.';

--
-- Name: COLUMN packages.author_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packages.author_id IS 'The person who publishes it.';

--
-- Name: COLUMN packages.organization_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packages.organization_id IS 'The organization that it belongs to, or null.';

--
-- Name: COLUMN packages.visibility; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packages.visibility IS 'public, unlisted (found by name only) or private.';

--
-- Name: COLUMN packages.latest_version; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packages.latest_version IS 'The newest version: what a run without package_version takes.';

--
-- Name: COLUMN packages.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packages.created_at IS 'First publishing.';

--
-- Name: COLUMN packages.updated_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.packages.updated_at IS 'Last publishing.';

--
-- Name: sessions; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.sessions (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    package_id uuid NOT NULL,
    title text,
    last_run_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_run_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone
);

ALTER TABLE public.sessions OWNER TO prpm_owner;

--
-- Name: TABLE sessions; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.sessions IS 'per-user. Conversations: runs of one package that follow each other. Totals are sums over its runs (spec 10.1).';

--
-- Name: COLUMN sessions.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.sessions.user_id IS 'Whose it is.';

--
-- Name: COLUMN sessions.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.sessions.id IS 'Names it; made by the caller.';

--
-- Name: COLUMN sessions.package_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.sessions.package_id IS 'All its runs are of this package.';

--
-- Name: COLUMN sessions.title; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.sessions.title IS 'The owner''s name for it; null: the first question.';

--
-- Name: COLUMN sessions.last_run_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.sessions.last_run_id IS 'Its newest run; while that runs, no other can begin.';

--
-- Name: COLUMN sessions.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.sessions.created_at IS 'When it began.';

--
-- Name: COLUMN sessions.last_run_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.sessions.last_run_at IS 'When its newest run began.';

--
-- Name: COLUMN sessions.deleted_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.sessions.deleted_at IS 'Set when the owner deleted it; its texts are gone then.';

--
-- Name: describe_sessions(uuid, uuid[]); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.describe_sessions(user_id uuid, session_ids uuid[]) RETURNS TABLE(id uuid, title text, package_id uuid, package_name text, package_version text, model text, last_status text, run_count bigint, credits_spent bigint, total_tokens bigint, total_duration_ms bigint, created_at timestamp with time zone, last_run_at timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT s.id,
     COALESCE(s.title, ( SELECT "left"(t.question, 120) AS "left"
            FROM public.run_texts t
           WHERE ((t.user_id = s.user_id) AND (t.session_id = s.id))
           ORDER BY t.run_id
          LIMIT 1)) AS "coalesce",
     s.package_id,
     p.name,
     newest.package_version,
     newest.model,
     newest.status,
     COALESCE(totals.run_count, (0)::bigint) AS "coalesce",
     COALESCE(totals.credits, (0)::bigint) AS "coalesce",
     COALESCE(totals.tokens, (0)::bigint) AS "coalesce",
     COALESCE(totals.duration_ms, (0)::bigint) AS "coalesce",
     s.created_at,
     s.last_run_at
    FROM (((public.sessions s
      LEFT JOIN public.packages p ON ((p.id = s.package_id)))
      LEFT JOIN public.runs newest ON (((newest.user_id = s.user_id) AND (newest.id = s.last_run_id))))
      LEFT JOIN ( SELECT r.session_id,
             count(*) AS run_count,
             (sum(r.credits))::bigint AS credits,
             sum((COALESCE(r.input_tokens, 0) + COALESCE(r.output_tokens, 0))) AS tokens,
             sum(COALESCE(r.duration_ms, 0)) AS duration_ms
            FROM public.runs r
           WHERE ((r.user_id = describe_sessions.user_id) AND (r.session_id = ANY (describe_sessions.session_ids)))
           GROUP BY r.session_id) totals ON ((totals.session_id = s.id)))
   WHERE ((s.user_id = describe_sessions.user_id) AND (s.id = ANY (describe_sessions.session_ids)) AND (s.deleted_at IS NULL))
   ORDER BY s.last_run_at DESC, s.id DESC;
END;

ALTER FUNCTION core.describe_sessions(user_id uuid, session_ids uuid[]) OWNER TO prpm_owner;

--
-- Name: FUNCTION describe_sessions(user_id uuid, session_ids uuid[]); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.describe_sessions(user_id uuid, session_ids uuid[]) IS 'Headers of a user''s sessions, newest first, without texts: title (or the first 120 characters of the first question), package, version, model and status of the newest run, and sums over all its runs: runs, credits, tokens (input and output), milliseconds. Reads the user''s runs once, whether or not their texts are still kept. Spec 10.1.';

--
-- Name: read_session(uuid, uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.read_session(user_id uuid, session_id uuid) RETURNS TABLE(id uuid, title text, package_id uuid, package_name text, package_version text, model text, last_status text, run_count bigint, credits_spent bigint, total_tokens bigint, total_duration_ms bigint, created_at timestamp with time zone, last_run_at timestamp with time zone, exchanges json)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT d.id,
     d.title,
     d.package_id,
     d.package_name,
     d.package_version,
     d.model,
     d.last_status,
     d.run_count,
     d.credits_spent,
     d.total_tokens,
     d.total_duration_ms,
     d.created_at,
     d.last_run_at,
     COALESCE(( SELECT json_agg(json_build_object('run_id', r.id, 'status', r.status, 'question', t.question, 'answer', t.answer, 'model', r.model, 'provider_model', r.provider_model, 'package_version', r.package_version, 'baseline', r.baseline, 'credits_spent', r.credits, 'tokens_used', (COALESCE(r.input_tokens, 0) + COALESCE(r.output_tokens, 0)), 'estimated', r.estimated, 'duration_ms', r.duration_ms, 'error', r.error, 'started_at', r.started_at, 'finished_at', r.finished_at) ORDER BY t.run_id) AS json_agg
            FROM (public.run_texts t
              JOIN public.runs r ON (((r.user_id = t.user_id) AND (r.id = t.run_id))))
           WHERE ((t.user_id = read_session.user_id) AND (t.session_id = read_session.session_id))), '[]'::json) AS "coalesce"
    FROM core.describe_sessions(read_session.user_id, ARRAY[read_session.session_id]) d(id, title, package_id, package_name, package_version, model, last_status, run_count, credits_spent, total_tokens, total_duration_ms, created_at, last_run_at);
END;

ALTER FUNCTION api.read_session(user_id uuid, session_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION read_session(user_id uuid, session_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.read_session(user_id uuid, session_id uuid) IS 'A user''s own session: its header as in api.list_sessions, and exchanges, a JSON array in the order of the conversation with question, answer, status, model, credits, tokens and times of each run whose text is kept. No row for a session that is unknown, deleted or another user''s. Spec 10.1.';

--
-- Name: subscription_states; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.subscription_states (
    status text NOT NULL,
    entitles text NOT NULL,
    is_open boolean NOT NULL,
    is_final boolean NOT NULL,
    told text NOT NULL,
    CONSTRAINT subscription_states_entitles_check CHECK ((entitles = ANY (ARRAY['trial'::text, 'while_paid'::text, 'grace'::text, 'paid_out'::text, 'never'::text])))
);

ALTER TABLE public.subscription_states OWNER TO prpm_owner;

--
-- Name: TABLE subscription_states; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.subscription_states IS 'config. Stripe''s words for a subscription''s state, and what each means here: entitlement, whether it stands in the way of another one, whether it can still change, what its owner is told (spec 2.5, 6.1).';

--
-- Name: COLUMN subscription_states.status; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_states.status IS 'Stripe''s own word.';

--
-- Name: COLUMN subscription_states.entitles; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_states.entitles IS 'trial: until the trial''s end; while_paid: to the end of the paid period, and grace_days on while the next payment is awaited; grace: grace_days from the unpaid invoice on, at least to the end of the paid period; paid_out: to the end of the paid period; never.';

--
-- Name: COLUMN subscription_states.is_open; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_states.is_open IS 'True: another subscription is refused with already_subscribed.';

--
-- Name: COLUMN subscription_states.is_final; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_states.is_final IS 'True: Stripe never leaves this state.';

--
-- Name: COLUMN subscription_states.told; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_states.told IS 'A sentence for the person.';

--
-- Name: subscriptions; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.subscriptions (
    user_id uuid NOT NULL,
    id text NOT NULL,
    plan text NOT NULL,
    status text NOT NULL,
    current_period_start timestamp with time zone,
    current_period_end timestamp with time zone,
    paid_until timestamp with time zone,
    cancel_at timestamp with time zone,
    ended_at timestamp with time zone,
    monthly_amount numeric(12,2) DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    livemode boolean DEFAULT false NOT NULL,
    item_id text,
    price_id text,
    cancel_at_period_end boolean DEFAULT false NOT NULL,
    collection_paused boolean DEFAULT false NOT NULL,
    trial_end timestamp with time zone,
    unpaid_since timestamp with time zone,
    hosted_invoice_url text,
    money_back boolean DEFAULT false NOT NULL,
    superseded boolean DEFAULT false NOT NULL,
    stripe_created_at timestamp with time zone,
    known_second bigint DEFAULT 0 NOT NULL,
    fetched_ticket bigint DEFAULT 0 NOT NULL,
    fetched_at timestamp with time zone,
    CONSTRAINT subscriptions_monthly_amount_check CHECK ((monthly_amount >= (0)::numeric))
);

ALTER TABLE public.subscriptions OWNER TO prpm_owner;

--
-- Name: TABLE subscriptions; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.subscriptions IS 'per-user. PRPM+ subscriptions as Stripe knows them.';

--
-- Name: COLUMN subscriptions.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.user_id IS 'Who subscribed.';

--
-- Name: COLUMN subscriptions.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.id IS 'Stripe''s id.';

--
-- Name: COLUMN subscriptions.plan; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.plan IS 'What was bought.';

--
-- Name: COLUMN subscriptions.status; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.status IS 'Stripe''s own word.';

--
-- Name: COLUMN subscriptions.current_period_start; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.current_period_start IS 'Start of the period that Stripe is in.';

--
-- Name: COLUMN subscriptions.current_period_end; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.current_period_end IS 'Its end.';

--
-- Name: COLUMN subscriptions.paid_until; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.paid_until IS 'End of the last period that is paid.';

--
-- Name: COLUMN subscriptions.cancel_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.cancel_at IS 'When it ends by the customer''s wish, or null.';

--
-- Name: COLUMN subscriptions.ended_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.ended_at IS 'When it ended, or null.';

--
-- Name: COLUMN subscriptions.monthly_amount; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.monthly_amount IS 'US dollars that it pays a month.';

--
-- Name: COLUMN subscriptions.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.created_at IS 'First sight.';

--
-- Name: COLUMN subscriptions.updated_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.updated_at IS 'Last change.';

--
-- Name: COLUMN subscriptions.livemode; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.livemode IS 'Stripe''s mode that it belongs to.';

--
-- Name: COLUMN subscriptions.item_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.item_id IS 'Stripe''s id of its one item.';

--
-- Name: COLUMN subscriptions.price_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.price_id IS 'Stripe''s id of the item''s price now; the paid period''s plan decides the tier.';

--
-- Name: COLUMN subscriptions.cancel_at_period_end; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.cancel_at_period_end IS 'Stripe''s flag of that name; see cancel_at for the instant.';

--
-- Name: COLUMN subscriptions.collection_paused; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.collection_paused IS 'Stripe makes invoices, but does not collect them.';

--
-- Name: COLUMN subscriptions.trial_end; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.trial_end IS 'End of its trial, or null.';

--
-- Name: COLUMN subscriptions.unpaid_since; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.unpaid_since IS 'When the open invoice that could not be collected was finalized, or null.';

--
-- Name: COLUMN subscriptions.hosted_invoice_url; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.hosted_invoice_url IS 'Where its owner can pay that invoice.';

--
-- Name: COLUMN subscriptions.money_back; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.money_back IS 'It ended and money or credit for the rest of its period went back.';

--
-- Name: COLUMN subscriptions.superseded; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.superseded IS 'A second one of the same person: it is canceled, refunded, and grants nothing (spec 6.1).';

--
-- Name: COLUMN subscriptions.stripe_created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.stripe_created_at IS 'When Stripe made it.';

--
-- Name: COLUMN subscriptions.known_second; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.known_second IS 'Event time (Unix, whole seconds) of the last event that was applied; 0: none.';

--
-- Name: COLUMN subscriptions.fetched_ticket; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.fetched_ticket IS 'Ticket of the last fetch that was applied; fetches are applied in the order in which they began.';

--
-- Name: COLUMN subscriptions.fetched_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscriptions.fetched_at IS 'When that fetch began.';

--
-- Name: current_subscription(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.current_subscription(user_id uuid) RETURNS public.subscriptions
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT s.*::public.subscriptions AS s
    FROM (public.subscriptions s
      JOIN public.subscription_states state ON ((state.status = s.status)))
   WHERE ((s.user_id = current_subscription.user_id) AND (NOT s.superseded))
   ORDER BY state.is_open DESC, s.stripe_created_at DESC NULLS LAST, s.id DESC
  LIMIT 1;
END;

ALTER FUNCTION core.current_subscription(user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION current_subscription(user_id uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.current_subscription(user_id uuid) IS 'The subscription that a user means: the open one, else the newest; null without any. Spec 6.1.';

--
-- Name: tier_now(public.users); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.tier_now(person public.users) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (c.is_active OR (t.tier = 'free'::text) OR (c.tier_name IS NULL)) THEN t.tier
             ELSE 'free'::text
         END AS "case"
    FROM (( SELECT core.tier_at((tier_now.person).tier_override, (tier_now.person).plan_tier, (tier_now.person).entitled_until, core.now()) AS tier) t
      LEFT JOIN public.cost_limits_config c ON ((c.tier_name = t.tier)));
END;

ALTER FUNCTION core.tier_now(person public.users) OWNER TO prpm_owner;

--
-- Name: FUNCTION tier_now(person public.users); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.tier_now(person public.users) IS 'A user''s tier at this moment: the operator''s override, else the plan''s while its period is paid, else free; free too where that tier is no longer active. A tier without a row is returned as it is: its runs are refused. Spec 2.5, 3.1.';

--
-- Name: read_subscription(uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.read_subscription(user_id uuid) RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT json_build_object('is_active', COALESCE(((u.prpm_plus_status = 'active'::text) AND (u.entitled_until > core.now())), false), 'status', (current.s).status, 'plan', COALESCE((current.s).plan, offer.plan), 'tier', core.tier_now(u.*), 'price', (p.monthly_price)::text, 'currency', 'USD', 'interval', 'month', 'credits', p.monthly_credits, 'cancel_at_period_end', (((current.s).cancel_at IS NOT NULL) AND (NOT COALESCE(state.is_final, false))), 'cancel_at', (current.s).cancel_at, 'current_period_end', (current.s).current_period_end, 'paid_until', (current.s).paid_until, 'entitled_until', u.entitled_until, 'collection_paused', COALESCE((current.s).collection_paused, false), 'payment_problem',
         CASE
             WHEN ((current.s).unpaid_since IS NOT NULL) THEN json_build_object('since', (current.s).unpaid_since, 'hosted_invoice_url', (current.s).hosted_invoice_url)
             ELSE NULL::json
         END, 'told',
         CASE
             WHEN ((current.s).id IS NULL) THEN 'You have no subscription.'::text
             WHEN (((current.s).cancel_at IS NOT NULL) AND state.is_open) THEN (('Your subscription ends on '::text || to_char(((current.s).cancel_at AT TIME ZONE 'UTC'::text), 'FMMonth FMDD, YYYY'::text)) || '.'::text)
             WHEN ((current.s).collection_paused AND state.is_open) THEN 'Payments for your subscription are paused.'::text
             ELSE state.told
         END) AS json_build_object
    FROM ((((public.users u
      CROSS JOIN LATERAL core.offer_of(u.id) offer(plan, price, credits, price_id, organization))
      CROSS JOIN LATERAL ( VALUES (core.current_subscription(u.id))) current(s))
      LEFT JOIN public.subscription_states state ON ((state.status = (current.s).status)))
      LEFT JOIN public.plans p ON ((p.plan = COALESCE((current.s).plan, offer.plan))))
   WHERE (u.id = read_subscription.user_id);
END;

ALTER FUNCTION api.read_subscription(user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION read_subscription(user_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.read_subscription(user_id uuid) IS 'A user''s subscription: is_active (it entitles now), status (Stripe''s word, null without any), plan, tier, price (US dollars a month), credits a month, cancel_at, current_period_end, paid_until, payment_problem {since, hosted_invoice_url}, and told, a sentence for the person. Null for an unknown user. Spec 6.1.';

--
-- Name: read_version(uuid, text, text); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.read_version(user_id uuid, package text, package_version text DEFAULT NULL::text) RETURNS TABLE(package_id uuid, name text, version text, prompt text, changelog text, tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, created_at timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  p public.packages := core.find_package(read_version.user_id, read_version.package);
begin
  return query
    select v.package_id, p.name, v.version, v.prompt, v.changelog, v.tokens_o200k, v.tokens_cl100k, v.tokens_approximate, v.created_at
    from public.package_versions v
    where v.package_id = p.id and v.version = coalesce(read_version.package_version, p.latest_version);
end
$$;

ALTER FUNCTION api.read_version(user_id uuid, package text, package_version text) OWNER TO prpm_owner;

--
-- Name: FUNCTION read_version(user_id uuid, package text, package_version text); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.read_version(user_id uuid, package text, package_version text) IS 'One version of a package (id or name) with its prompt and how many tokens that is; package_version null is the newest. No row: there is none that this user may see. Spec 5.5.';

--
-- Name: settle_run(uuid, uuid, text, boolean, integer, integer, integer, integer, boolean, text, text, text, text, integer, integer); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.settle_run(user_id uuid, run_id uuid, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer) RETURNS core.receipt
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION api.settle_run(user_id uuid, run_id uuid, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer) OWNER TO prpm_owner;

--
-- Name: FUNCTION settle_run(user_id uuid, run_id uuid, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.settle_run(user_id uuid, run_id uuid, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer) IS 'Ends a run by what really happened, books its exact cost and charges it: one lock, one transaction, once. ending: completed, length, stopped, failed or expired; called: whether a request may have reached the provider; tokens as the provider reported, input_tokens null where the report was lost (then the estimate stands in); answer: what was delivered. A failure that delivered nothing charges nothing, its cost counts all the same. Called again it answers the same receipt; after an expiry it books the difference. Returns the receipt (see type core.receipt). Errors: PR404 unknown run. Spec 1.1, 1.3, 3.2 to 3.4, 4.2, 4.5, 5.4.';

--
-- Name: release_run(uuid, uuid, boolean, integer, integer, integer, integer, text, text, text, integer); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.release_run(user_id uuid, run_id uuid, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, question text, error text, error_reason text, duration_ms integer) RETURNS core.receipt
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT api.settle_run(user_id, run_id, 'failed'::text, called, input_tokens, cached_tokens, cache_write_tokens, output_tokens, (called AND (input_tokens IS NULL)), question, ''::text, error, error_reason, NULL::integer, duration_ms) AS settle_run;
END;

ALTER FUNCTION api.release_run(user_id uuid, run_id uuid, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, question text, error text, error_reason text, duration_ms integer) OWNER TO prpm_owner;

--
-- Name: FUNCTION release_run(user_id uuid, run_id uuid, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, question text, error text, error_reason text, duration_ms integer); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.release_run(user_id uuid, run_id uuid, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, question text, error text, error_reason text, duration_ms integer) IS 'Ends a run that delivered nothing because of us or the provider: nothing is charged, what the call cost is booked. Returns the receipt. Errors: PR404 unknown run. Spec 5.4.';

--
-- Name: revoke_token(uuid, uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.revoke_token(user_id uuid, id uuid) RETURNS TABLE(id uuid, revoked_at timestamp with time zone)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 UPDATE public.api_tokens t SET revoked_at = COALESCE(t.revoked_at, core.now())
   WHERE ((t.user_id = revoke_token.user_id) AND (t.id = revoke_token.id))
   RETURNING t.id,
     t.revoked_at;
END;

ALTER FUNCTION api.revoke_token(user_id uuid, id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION revoke_token(user_id uuid, id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.revoke_token(user_id uuid, id uuid) IS 'Revokes one of a user''s own API tokens, from the next request on; a second call changes nothing. Returns its id and when; no row: there is none, or it is another''s. Spec 2.2.';

--
-- Name: run_job(text); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.run_job(job text, OUT ran boolean, OUT error text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  select x.ran, x.error into ran, error from ops.run_job(run_job.job) x;
end
$$;

ALTER FUNCTION api.run_job(job text, OUT ran boolean, OUT error text) OWNER TO prpm_owner;

--
-- Name: FUNCTION run_job(job text, OUT ran boolean, OUT error text); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.run_job(job text, OUT ran boolean, OUT error text) IS 'Does a job''s due slot, once, whoever calls: ops.run_job for a server. error tells what went wrong in it. Errors: PR404 unknown job. Spec 7.1.';

--
-- Name: search_packages(uuid, text, integer, text); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.search_packages(user_id uuid, query text DEFAULT NULL::text, "limit" integer DEFAULT 20, cursor text DEFAULT NULL::text) RETURNS TABLE(packages json, next_cursor text, total bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  after text[] := core.decode_cursor(search_packages.cursor, 'integer', 'text');
begin
  perform core.check_page("limit", 0);

  with hits as (
    select m.rank, p.id, p.name, p.description, p.tags, p.author_id, p.visibility, p.latest_version, p.updated_at
    from public.packages p
    cross join lateral core.match_package(p, btrim(search_packages.query)) m(rank)
    where m.rank is not null and (
      p.visibility = 'public'
      or core.may_see_package(search_packages.user_id, 'private', p.author_id, p.organization_id)
    )
  ), page as (
    select h.*, row_number() over (order by h.rank, h.name) as place
    from hits h
    where after is null or (h.rank, h.name) > (after[1]::integer, after[2])
    order by h.rank, h.name
    limit "limit" + 1
  )
  select
    coalesce(json_agg(json_build_object(
      'id', g.id, 'name', g.name, 'description', g.description, 'tags', g.tags,
      'author', (select u.username from public.users u where u.id = g.author_id),
      'visibility', g.visibility, 'latest_version', g.latest_version, 'updated_at', g.updated_at
    ) order by g.place) filter (where g.place <= "limit"), '[]'),
    case when count(*) > "limit" then max(core.encode_cursor(g.rank::text, g.name)) filter (where g.place = "limit") end,
    (select count(*) from hits)
  into packages, next_cursor, total
  from page g;
  return next;
end
$$;

ALTER FUNCTION api.search_packages(user_id uuid, query text, "limit" integer, cursor text) OWNER TO prpm_owner;

--
-- Name: FUNCTION search_packages(user_id uuid, query text, "limit" integer, cursor text); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.search_packages(user_id uuid, query text, "limit" integer, cursor text) IS 'One page of the packages that a text is found in, best match first: name, then tag, then description, then names like it; null or blank finds all, by name. Public ones, and the user''s own and their organizations'' of any visibility. One row: packages (JSON array of id, name, description, tags, author, visibility, latest_version, updated_at), next_cursor (null on the last page), total. limit 1 to 100. Errors: PR400 naming limit or cursor. Spec 10.6, 10.7.';

--
-- Name: set_stripe_prices(jsonb); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.set_stripe_prices(prices jsonb) RETURNS TABLE(kind text, name text, price_id text, amount_cents integer, currency text, "interval" text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
begin
  update public.plans p set stripe_price_id = given.value
  from jsonb_each_text(coalesce(prices -> 'plans', '{}')) given
  where p.plan = given.key and given.value is not null and p.stripe_price_id is distinct from given.value;
  update public.packs p set stripe_price_id = given.value
  from jsonb_each_text(coalesce(prices -> 'packs', '{}')) given
  where p.pack = given.key and given.value is not null and p.stripe_price_id is distinct from given.value;
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

ALTER FUNCTION api.set_stripe_prices(prices jsonb) OWNER TO prpm_owner;

--
-- Name: FUNCTION set_stripe_prices(prices jsonb); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.set_stripe_prices(prices jsonb) IS 'Sets the price ids at Stripe of plans and packs, {"plans": {plan: id}, "packs": {pack: id}}; what is left out stays. Returns those that have one, with what each should cost (amount in cents of currency, interval null for once). Spec 2.4.';

--
-- Name: sign_in(text, text, text, boolean, text, uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.sign_in(issuer text, subject text, claimed_email text, email_verified boolean, claimed_username text, new_user_id uuid) RETURNS TABLE(outcome text, user_id uuid, username text, email text, is_admin boolean, created boolean, email_taken boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  person public.users;
  verified text := case when sign_in.email_verified then nullif(lower(btrim(sign_in.claimed_email)), '') end;
begin
  if coalesce(btrim(sign_in.issuer), '') = '' or coalesce(btrim(sign_in.subject), '') = '' then
    raise exception 'an identity has an issuer and a subject'
      using errcode = 'PR400', detail = case when coalesce(btrim(sign_in.issuer), '') = '' then 'issuer' else 'subject' end,
        hint = 'Send iss and sub of the verified token.';
  end if;

  person := core.find_identity(sign_in.issuer, sign_in.subject);
  created := person.id is null
    and core.keep_identity(sign_in.issuer, sign_in.subject, sign_in.new_user_id, sign_in.claimed_username, verified);
  if person.id is null then
    person := core.find_identity(sign_in.issuer, sign_in.subject);
  end if;

  if person.closed_at is not null then
    outcome := 'closed';
    created := false;
    email_taken := false;
    return next;
    return;
  end if;
  if person.email is null and core.claim_email(person.id, verified) then
    update public.users u set email = verified, updated_at = core.now() where u.id = person.id;
    person.email := verified;
  end if;

  outcome := 'ok';
  user_id := person.id;
  username := person.username;
  email := person.email;
  is_admin := person.is_admin;
  email_taken := person.email is null and verified is not null;
  return next;
end
$$;

ALTER FUNCTION api.sign_in(issuer text, subject text, claimed_email text, email_verified boolean, claimed_username text, new_user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION sign_in(issuer text, subject text, claimed_email text, email_verified boolean, claimed_username text, new_user_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.sign_in(issuer text, subject text, claimed_email text, email_verified boolean, claimed_username text, new_user_id uuid) IS 'The person whom an OpenID Connect token names, made at first sight with the id new_user_id; issuer and subject come from a token that the server has verified. One row: outcome ok, or closed with nothing else; created; email_taken: the verified e-mail belongs to somebody else, so this person has none. An e-mail that is not verified is left out; is_admin is the column, never a claim. Errors: PR400 naming issuer or subject. Spec 2.1, 2.2.';

--
-- Name: stop_run(uuid, uuid); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.stop_run(user_id uuid, run_id uuid) RETURNS TABLE(status text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
begin
  update public.runs r
  set stop_requested_at = now
  where r.user_id = stop_run.user_id and r.id = stop_run.run_id and r.status = 'running' and r.stop_requested_at is null;

  return query
    select r.status from public.runs r where r.user_id = stop_run.user_id and r.id = stop_run.run_id;
end
$$;

ALTER FUNCTION api.stop_run(user_id uuid, run_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION stop_run(user_id uuid, run_id uuid); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.stop_run(user_id uuid, run_id uuid) IS 'Asks a run to stop; the server that runs it sees so at once or at its next checkpoint. Returns its status now; no row for an unknown run or another''s. Spec 5.2.';

--
-- Name: store_stripe_event(text, text, boolean, text); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.store_stripe_event(event_id text, body text, livemode boolean, api_version text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  event jsonb := body::jsonb;
  complaint text;
  known text;
begin
  complaint := case
    when (event ->> 'livemode')::boolean is distinct from store_stripe_event.livemode then
      'it is of the ' || case when (event ->> 'livemode')::boolean then 'live' else 'test' end || ' mode, this server of the other'
    when event ->> 'account' is not null then 'it is of another account: ' || (event ->> 'account')
    when event ->> 'context' is not null then 'it is of another context: ' || (event ->> 'context')
  end;
  insert into public.stripe_events (id, type, created, livemode, api_version, body, status, same_version, error, received_at)
  values (
    store_stripe_event.event_id, coalesce(event ->> 'type', '?'), coalesce((event ->> 'created')::bigint, 0),
    coalesce((event ->> 'livemode')::boolean, false), event ->> 'api_version', store_stripe_event.body,
    case when complaint is null then 'received' else 'needs_review' end,
    coalesce(event ->> 'api_version' = store_stripe_event.api_version, false), complaint, core.now()
  )
  on conflict on constraint stripe_events_pkey do nothing;
  if not found then
    select e.status into known from public.stripe_events e where e.id = store_stripe_event.event_id;
    return case when known = 'received' then 'pending' else 'repeated' end;
  end if;
  return 'stored';
end
$$;

ALTER FUNCTION api.store_stripe_event(event_id text, body text, livemode boolean, api_version text) OWNER TO prpm_owner;

--
-- Name: FUNCTION store_stripe_event(event_id text, body text, livemode boolean, api_version text); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.store_stripe_event(event_id text, body text, livemode boolean, api_version text) IS 'Keeps an event whose signature was good, as it came, once. livemode and api_version are the server''s own: an event of the other mode, another account or context is kept for review. Returns stored, repeated, or pending (known, not applied yet). Spec 6.4, 6.5.';

--
-- Name: stripe_limits(); Type: FUNCTION; Schema: api; Owner: prpm_owner
--

CREATE FUNCTION api.stripe_limits(OUT max_rps integer) RETURNS integer
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT s.stripe_max_rps
    FROM public.settings s;
END;

ALTER FUNCTION api.stripe_limits(OUT max_rps integer) OWNER TO prpm_owner;

--
-- Name: FUNCTION stripe_limits(OUT max_rps integer); Type: COMMENT; Schema: api; Owner: prpm_owner
--

COMMENT ON FUNCTION api.stripe_limits(OUT max_rps integer) IS 'How many requests a second a server may send to Stripe (settings.stripe_max_rps). Spec 6.4.';

--
-- Name: affordable_tokens(bigint, integer, numeric, numeric); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.affordable_tokens(credits bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (((tokens_per_credit)::numeric * floor((floor(((credits)::numeric / prompt_multiplier)) / multiplier))))::bigint AS int8;
END;

ALTER FUNCTION core.affordable_tokens(credits bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) OWNER TO prpm_owner;

--
-- Name: FUNCTION affordable_tokens(credits bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.affordable_tokens(credits bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) IS 'The most tokens that so many credits can pay for: the inverse of core.charge_for. 0 if they pay for nothing. Spec 1.5.';

--
-- Name: stripe_events; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.stripe_events (
    id text NOT NULL,
    type text NOT NULL,
    created bigint NOT NULL,
    livemode boolean NOT NULL,
    api_version text,
    body text,
    status text NOT NULL,
    same_version boolean NOT NULL,
    user_id uuid,
    attempts integer DEFAULT 0 NOT NULL,
    error text,
    received_at timestamp with time zone NOT NULL,
    applied_at timestamp with time zone,
    CONSTRAINT stripe_events_status_check CHECK ((status = ANY (ARRAY['received'::text, 'applied'::text, 'ignored'::text, 'needs_review'::text])))
);

ALTER TABLE public.stripe_events OWNER TO prpm_owner;

--
-- Name: TABLE stripe_events; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.stripe_events IS 'ops. The webhook''s inbox: each event as it came, once, and what became of it (spec 6.4).';

--
-- Name: COLUMN stripe_events.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.id IS 'Stripe''s id of the event.';

--
-- Name: COLUMN stripe_events.type; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.type IS 'Such as payment_intent.succeeded.';

--
-- Name: COLUMN stripe_events.created; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.created IS 'Stripe''s time of it, Unix seconds.';

--
-- Name: COLUMN stripe_events.livemode; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.livemode IS 'Stripe''s mode.';

--
-- Name: COLUMN stripe_events.api_version; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.api_version IS 'Version of the API that its object is written in.';

--
-- Name: COLUMN stripe_events.body; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.body IS 'As it was received; its signature was good. Dropped with age.';

--
-- Name: COLUMN stripe_events.status; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.status IS 'received (not applied yet), applied, ignored, or needs_review: a person has to look, see error.';

--
-- Name: COLUMN stripe_events.same_version; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.same_version IS 'Its object can be read as it is; else it is fetched.';

--
-- Name: COLUMN stripe_events.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.user_id IS 'Whose it is, once known.';

--
-- Name: COLUMN stripe_events.attempts; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.attempts IS 'How often it failed.';

--
-- Name: COLUMN stripe_events.error; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.error IS 'Why it failed, was ignored, or needs review.';

--
-- Name: COLUMN stripe_events.received_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.received_at IS 'When it came.';

--
-- Name: COLUMN stripe_events.applied_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_events.applied_at IS 'When its effect was booked.';

--
-- Name: apply_event(uuid, public.stripe_events, jsonb, text, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.apply_event(user_id uuid, event public.stripe_events, object jsonb, payment text, now timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if event.type like 'customer.subscription.%' then
    if event.same_version then
      return core.take_subscription(user_id, object, event.created, null, null, event.livemode, now);
    end if;
    perform core.want_work('fetch_subscription', object ->> 'id', user_id);
  elsif event.type = 'payment_intent.succeeded' then
    if event.same_version then
      return core.take_payment(user_id, object, null, now);
    end if;
    perform core.want_work('fetch_payment', payment, user_id);
  elsif event.type = 'invoice.paid' then
    perform core.want_work('fetch_invoice', object ->> 'id', user_id); -- with the payment that paid it
  elsif event.type in ('invoice.payment_failed', 'invoice.payment_action_required') then
    perform core.want_work('fetch_subscription', id, user_id)
    from coalesce(object #>> '{parent,subscription_details,subscription}') id
    where id is not null;
  elsif event.type in ('charge.refunded', 'refund.created', 'refund.updated', 'refund.failed') then
    if payment is not null then
      perform core.want_work('fetch_refunds', payment, user_id);
    end if;
  elsif event.type like 'charge.dispute.%' then
    if payment is not null then
      perform core.want_work('fetch_disputes', payment, user_id);
    end if;
  elsif event.type in ('checkout.session.completed', 'checkout.session.async_payment_succeeded') then
    perform core.end_session(user_id, object ->> 'id', 'complete');
    if object ->> 'mode' = 'payment' and object ->> 'payment_status' = 'paid' and payment is not null then
      perform core.want_work('fetch_payment', payment, user_id);
    end if;
  elsif event.type = 'checkout.session.expired' then
    perform core.end_session(user_id, object ->> 'id', 'expired');
  elsif event.type = 'checkout.session.async_payment_failed' then
    update public.purchases p set status = 'failed'
    where p.user_id = apply_event.user_id and p.stripe_checkout_session_id = object ->> 'id' and p.status = 'pending';
  end if;
  return null;
end
$$;

ALTER FUNCTION core.apply_event(user_id uuid, event public.stripe_events, object jsonb, payment text, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION apply_event(user_id uuid, event public.stripe_events, object jsonb, payment text, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.apply_event(user_id uuid, event public.stripe_events, object jsonb, payment text, now timestamp with time zone) IS 'What an event tells of one of our users, by its type: booked from its own object where that says all, else fetched. Returns why a person has to look at it, or null. The caller holds the user''s row. Spec 6.3, 6.4.';

--
-- Name: apply_object(uuid, text, text, bigint, timestamp with time zone, jsonb, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.apply_object(user_id uuid, kind text, key text, ticket bigint, fetched_at timestamp with time zone, result jsonb, now timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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
      null; -- expire_session: what it did is known
  end case;
  return null;
end
$$;

ALTER FUNCTION core.apply_object(user_id uuid, kind text, key text, ticket bigint, fetched_at timestamp with time zone, result jsonb, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION apply_object(user_id uuid, kind text, key text, ticket bigint, fetched_at timestamp with time zone, result jsonb, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.apply_object(user_id uuid, kind text, key text, ticket bigint, fetched_at timestamp with time zone, result jsonb, now timestamp with time zone) IS 'Applies what Stripe answered to a piece of work, by its kind. Returns why a person has to look at it, or null. The caller holds the user''s row. Spec 6.4.';

--
-- Name: apply_period_refund(uuid, text, timestamp with time zone, numeric, numeric, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.apply_period_refund(user_id uuid, subscription_id text, period_start timestamp with time zone, refunded_total numeric, disputed_total numeric, now timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  period public.subscription_periods;
  key text := apply_period_refund.subscription_id || '/' || extract(epoch from apply_period_refund.period_start)::bigint;
  gone numeric;
  wanted bigint;
  taken bigint;
  lots uuid[];
begin
  perform from public.users u where u.id = apply_period_refund.user_id for no key update;
  select p.* into period from public.subscription_periods p
  where p.user_id = apply_period_refund.user_id and p.subscription_id = apply_period_refund.subscription_id
    and p.period_start = apply_period_refund.period_start;
  if not found or period.paid_amount = 0 then
    return 0;
  end if;

  gone := least(period.paid_amount, apply_period_refund.refunded_total + apply_period_refund.disputed_total);
  wanted := floor(period.credits * gone / period.paid_amount) - period.credits_taken_back;
  lots := array(
    select l.id from public.credit_lots l
    where l.user_id = apply_period_refund.user_id and l.source in ('subscription', 'rollover') and l.source_id = key
    order by l.source desc
  );
  taken := core.take_back(
    apply_period_refund.user_id, lots, wanted, apply_period_refund.now, subscription_id => period.subscription_id,
    why => case
      when wanted < 0 then 'A refund or dispute of the subscription no longer stands: credits given back'
      else 'Refunded ' || apply_period_refund.refunded_total || ' and disputed ' || apply_period_refund.disputed_total
        || ' of the ' || period.paid_amount || ' dollars of the period from ' || to_char(period.period_start at time zone 'UTC', 'YYYY-MM-DD')
    end
  );

  update public.subscription_periods p
  set
    refunded_amount = apply_period_refund.refunded_total,
    disputed_amount = apply_period_refund.disputed_total,
    credits_taken_back = p.credits_taken_back + taken,
    shortfall = greatest(0, wanted - taken)
  where p.user_id = period.user_id and p.subscription_id = period.subscription_id and p.period_start = period.period_start;
  perform core.refresh_lots(apply_period_refund.user_id);
  return taken;
end
$$;

ALTER FUNCTION core.apply_period_refund(user_id uuid, subscription_id text, period_start timestamp with time zone, refunded_total numeric, disputed_total numeric, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION apply_period_refund(user_id uuid, subscription_id text, period_start timestamp with time zone, refunded_total numeric, disputed_total numeric, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.apply_period_refund(user_id uuid, subscription_id text, period_start timestamp with time zone, refunded_total numeric, disputed_total numeric, now timestamp with time zone) IS 'The same for the payment of a subscription''s period: floor(credits × gone / paid) are taken back from that period''s monthly lot, then from the rollover made of it. Returns the credits taken now (negative: given back); 0 for a period that is unknown or cost nothing. Locks the user''s row. Spec 4.5, 4.6.';

--
-- Name: apply_refund(uuid, uuid, numeric, timestamp with time zone, numeric); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.apply_refund(user_id uuid, purchase_id uuid, refunded_total numeric, now timestamp with time zone, disputed_total numeric DEFAULT 0) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  purchase public.purchases;
  gone numeric;
  wanted bigint;
  taken bigint;
  lots uuid[];
begin
  perform from public.users u where u.id = apply_refund.user_id for no key update;
  select p.* into purchase from public.purchases p where p.user_id = apply_refund.user_id and p.id = apply_refund.purchase_id;
  if not found then
    raise exception 'purchase % is unknown', apply_refund.purchase_id using errcode = 'PR404', detail = 'purchase_id';
  end if;
  if not apply_refund.refunded_total between 0 and coalesce(purchase.paid_amount, purchase.price) then
    raise exception 'a refund of % dollars is not between 0 and the % that were paid', apply_refund.refunded_total, purchase.paid_amount
      using errcode = 'PR400', detail = 'refunded_total';
  end if;

  if purchase.paid_at is null then
    update public.purchases p
    set refunded_amount = apply_refund.refunded_total, disputed_amount = apply_refund.disputed_total
    where p.user_id = apply_refund.user_id and p.id = purchase.id;
    return 0;
  end if;

  gone := least(purchase.paid_amount, apply_refund.refunded_total + apply_refund.disputed_total);
  wanted := floor(purchase.credits * gone / purchase.paid_amount) - purchase.credits_taken_back;
  lots := array(
    select l.id from public.credit_lots l
    where l.user_id = apply_refund.user_id and l.source = 'purchase' and l.source_id = purchase.id::text
  );
  taken := core.take_back(
    apply_refund.user_id, lots, wanted, apply_refund.now, purchase_id => purchase.id,
    why => case
      when wanted < 0 then 'A refund or dispute of pack ' || purchase.pack || ' no longer stands: credits given back'
      when apply_refund.disputed_total > 0 then 'Refunded ' || apply_refund.refunded_total || ' and disputed ' || apply_refund.disputed_total
        || ' of the ' || purchase.paid_amount || ' dollars of pack ' || purchase.pack
      else 'Refund of ' || apply_refund.refunded_total || ' dollars of pack ' || purchase.pack
    end
  );

  update public.purchases p
  set
    refunded_amount = apply_refund.refunded_total,
    disputed_amount = apply_refund.disputed_total,
    credits_taken_back = p.credits_taken_back + taken,
    shortfall = greatest(0, wanted - taken),
    status = case
      when apply_refund.refunded_total = 0 then 'paid'
      when apply_refund.refunded_total < p.paid_amount then 'partly_refunded'
      else 'refunded'
    end
  where p.user_id = apply_refund.user_id and p.id = purchase.id;
  perform core.refresh_lots(apply_refund.user_id);
  return taken;
end
$$;

ALTER FUNCTION core.apply_refund(user_id uuid, purchase_id uuid, refunded_total numeric, now timestamp with time zone, disputed_total numeric) OWNER TO prpm_owner;

--
-- Name: FUNCTION apply_refund(user_id uuid, purchase_id uuid, refunded_total numeric, now timestamp with time zone, disputed_total numeric); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.apply_refund(user_id uuid, purchase_id uuid, refunded_total numeric, now timestamp with time zone, disputed_total numeric) IS 'Makes a purchase''s books agree with the US dollars refunded of it in all, and those disputed (open or lost): floor(credits × gone / paid) are taken back from its own lot, never what running runs hold; what is already spent stays a shortfall of the purchase. A smaller total than before gives back. Returns the credits taken now (negative: given back). Errors: PR404, PR400. Locks the user''s row. Spec 4.5, 4.6.';

--
-- Name: audit_lots(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.audit_lots(only_user uuid) RETURNS TABLE(user_id uuid, check_name text, object text, expected text, actual text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    AS $$
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
    where only_user is null or t.user_id = only_user
    group by t.user_id, t.lot_id
  ) f on f.user_id = l.user_id and f.lot_id = l.id
  cross join lateral (values
    ('lot_remaining', coalesce(f.remaining, 0), l.remaining),
    ('lot_granted', coalesce(f.granted, 0), l.granted)
  ) problem (check_name, expected, actual)
  where (only_user is null or l.user_id = only_user) and problem.expected <> problem.actual;

  -- What the user's row says of all lots together.
  return query
  select u.id, problem.check_name, 'user', problem.expected, problem.actual
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
    where l.remaining > 0 and (only_user is null or l.user_id = only_user)
    group by l.user_id
  ) f on f.user_id = u.id
  cross join lateral (values
    ('included_credits', coalesce(f.included, 0)::text, u.included_credits::text),
    ('purchased_credits', coalesce(f.purchased, 0)::text, u.purchased_credits::text),
    ('spend_lot', f.first_lot::text, u.spend_lot::text),
    ('next_lot_expiry', case when f.is_owed then '-infinity' else coalesce(f.next_expiry, 'infinity')::text end, u.next_lot_expiry::text)
  ) problem (check_name, expected, actual)
  where (only_user is null or u.id = only_user) and problem.expected is distinct from problem.actual;
end
$$;

ALTER FUNCTION core.audit_lots(only_user uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION audit_lots(only_user uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.audit_lots(only_user uuid) IS 'Part of ops.audit_books: what each lot was granted and has left by its transfers, and what users'' rows say of their lots. null: all users. Spec 4.1, 4.2.';

--
-- Name: audit_periods(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.audit_periods(only_user uuid) RETURNS TABLE(user_id uuid, check_name text, object text, expected text, actual text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
#variable_conflict use_column
begin
  return query
  select p.user_id, problem.check_name, 'period ' || rule.key, problem.expected, problem.actual
  from public.subscription_periods p
  cross join lateral (
    select
      p.subscription_id || '/' || extract(epoch from p.period_start)::bigint as key,
      case
        when p.paid_amount > 0 then floor(p.credits * least(p.paid_amount, p.refunded_amount + p.disputed_amount) / p.paid_amount)
        else 0
      end as owed
  ) rule
  left join public.credit_lots granted on granted.user_id = p.user_id and granted.source = 'subscription' and granted.source_id = rule.key
  cross join lateral (
    select
      coalesce(sum(t.amount) filter (where t.credit = 'clawed_back'), 0)
        - coalesce(sum(t.amount) filter (where t.debit = 'clawed_back'), 0) as taken_back
    from public.credit_lots l
    join public.credit_transactions t on t.user_id = l.user_id and t.lot_id = l.id and t.type = 'refund'
    where l.user_id = p.user_id and l.source in ('subscription', 'rollover') and l.source_id = rule.key
  ) f
  cross join lateral (values
    ('period_credits', coalesce(granted.granted, 0)::text, p.credits::text),
    ('period_state', case when p.paid_at is null then 'due' else 'paid' end, p.state),
    ('period_taken_back', f.taken_back::text, p.credits_taken_back::text),
    ('period_refund', rule.owed::text, (p.credits_taken_back + p.shortfall)::text)
  ) problem (check_name, expected, actual)
  where (only_user is null or p.user_id = only_user) and problem.expected is distinct from problem.actual;

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
    where pay.kind <> 'unknown' and pay.needs_review is null and (only_user is null or pay.user_id = only_user)
  ) x
  where x.expected <> x.actual;
end
$$;

ALTER FUNCTION core.audit_periods(only_user uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION audit_periods(only_user uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.audit_periods(only_user uuid) IS 'Part of ops.audit_books: of each paid period what was granted, that credits taken back and shortfall are together floor(credits × (refunded + disputed) / paid), and of each payment that those are its refunds and disputes that stand. null: all users. Spec 4.3, 4.6.';

--
-- Name: audit_purchases(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.audit_purchases(only_user uuid) RETURNS TABLE(user_id uuid, check_name text, object text, expected text, actual text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
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
    where t.purchase_id is not null and (only_user is null or t.user_id = only_user)
    group by t.user_id, t.purchase_id
  ) f on f.user_id = p.user_id and f.purchase_id = p.id
  cross join lateral (values
    ('purchase_credits', (case when rule.is_paid then p.credits else 0 end)::text, coalesce(f.granted, 0)::text),
    ('purchase_taken_back', coalesce(f.taken_back, 0)::text, p.credits_taken_back::text),
    ('purchase_refund', rule.owed::text, (p.credits_taken_back + p.shortfall)::text),
    ('purchase_amount', (case when rule.is_paid then p.price end)::text, p.paid_amount::text),
    ('purchase_refunded_amount', 'at most ' || coalesce(p.paid_amount, p.price), case
      when p.refunded_amount > coalesce(p.paid_amount, p.price) then p.refunded_amount::text
      else 'at most ' || coalesce(p.paid_amount, p.price)
    end),
    ('purchase_status', case
      when not rule.is_paid then 'not paid'
      when p.refunded_amount = 0 then 'paid'
      when p.refunded_amount < p.paid_amount then 'partly_refunded'
      else 'refunded'
    end, case when p.status in ('pending', 'failed', 'expired', 'needs_review') then 'not paid' else p.status end)
  ) problem (check_name, expected, actual)
  where (only_user is null or p.user_id = only_user) and problem.expected is distinct from problem.actual;
end
$$;

ALTER FUNCTION core.audit_purchases(only_user uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION audit_purchases(only_user uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.audit_purchases(only_user uuid) IS 'Part of ops.audit_books: of each purchase what was granted, and that credits taken back and shortfall are together floor(credits × (refunded + disputed) / paid). null: all users. Spec 4.6.';

--
-- Name: audit_references(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.audit_references(only_user uuid) RETURNS TABLE(user_id uuid, check_name text, object text, expected text, actual text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '256MB'
    AS $$
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
    union all
    select s.user_id, 'session ' || s.id, 'newest run ' || s.last_run_id
    from public.sessions s
    where not exists (select from public.runs r where r.user_id = s.user_id and r.id = s.last_run_id and r.session_id = s.id)
    union all
    select k.user_id, 'idempotency key of run ' || k.run_id, 'run ' || k.run_id
    from public.idempotency_keys k
    where not exists (select from public.runs r where r.user_id = k.user_id and r.id = k.run_id)
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
  where only_user is null or x.user_id = only_user;

  return query
  select x.user_id, 'reference', x.object, 'user ' || x.user_id, 'missing'
  from (
    select m.user_id, 'member of organization ' || m.organization_id from public.organization_members m
    union all select t.user_id, 'token ' || t.id from public.api_tokens t
    union all select i.user_id, 'identity of ' || i.issuer from public.identities i
    union all select e.user_id, 'e-mail ' || e.email from public.user_emails e
    union all select l.user_id, 'lot ' || l.id from public.credit_lots l
    union all select p.user_id, 'purchase ' || p.id from public.purchases p
    union all select s.user_id, 'subscription ' || s.id from public.subscriptions s
    union all select s.user_id, 'session ' || s.id from public.sessions s
    union all select f.user_id, 'refusals ' || f.reason || ' at ' || f.hour from public.refusals f
  ) x (user_id, object)
  where (only_user is null or x.user_id = only_user) and not exists (select from public.users u where u.id = x.user_id);

  return query
  select coalesce(u.id, e.user_id), 'email', 'user', coalesce(e.email, 'no row of user_emails'), u.email
  from (select x.* from public.users x where x.email is not null and (only_user is null or x.id = only_user)) u
  full join (select x.* from public.user_emails x where only_user is null or x.user_id = only_user) e
    on e.user_id = u.id and e.email = lower(u.email)
  where u.id is null or e.user_id is null;
end
$$;

ALTER FUNCTION core.audit_references(only_user uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION audit_references(only_user uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.audit_references(only_user uuid) IS 'Part of ops.audit_books: that what rows name exists, which no foreign key says on the hot path, and that verified e-mails of users and user_emails agree. null: all users. Spec 4.8.';

--
-- Name: audit_runs(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.audit_runs(only_user uuid) RETURNS TABLE(user_id uuid, check_name text, object text, expected text, actual text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '256MB'
    AS $$
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
      coalesce(sum(x.change) filter (where l.kind = 'purchased'), 0) as purchased
    from public.credit_transactions t
    cross join lateral (select least(t.amount, 1000000000)::integer * case when t.debit = 'lot' then 1 else -1 end as change) x
    left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
    where t.run_id is not null and (only_user is null or t.user_id = only_user)
    group by t.user_id, t.run_id
  ),
  figures as (
    select
      r.*,
      r.status <> 'running' as has_ended,
      coalesce(r.status in ('completed', 'stopped', 'failed') or r.status = 'expired' and coalesce(
        (select t.answer <> '' from public.run_texts t where t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id),
        r.output_tokens > 0
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
      coalesce(f.credits, 0) as paid,
      coalesce(f.credits - f.purchased, 0) as paid_included,
      coalesce(f.purchased, 0) as paid_purchased,
      -- As jsonb writes it, shortest key first: making 1 million of them to compare would take most of the time.
      '{' || concat_ws(', ',
        '"bonus": ' || nullif(f.bonus, 0), '"signup": ' || nullif(f.signup, 0), '"monthly": ' || nullif(f.monthly, 0),
        '"rollover": ' || nullif(f.rollover, 0), '"purchased": ' || nullif(f.purchased, 0)
      ) || '}' as paid_by_kind
    from public.runs r
    left join public.model_prices p on p.id = r.price_id
    left join paid f on f.user_id = r.user_id and f.run_id = r.id
    where only_user is null or r.user_id = only_user
  ),
  expectations as (
    select
      g.*,
      case when g.has_ended then g.true_cost else 0 end as expected_cost,
      case when g.is_charged then g.charge else 0 end as expected_charge,
      case
        when not g.has_ended or g.hold_included = 0 and g.hold_purchased > 0 and g.paid_included = 0 then 0
        when g.paid_purchased = 0 then g.cost
        else round(g.cost * (g.credits + g.shortfall - g.paid_purchased) / nullif(g.credits + g.shortfall, 0), 12)
      end as expected_limited_cost
    from figures g
  )
  select e.user_id, problem.check_name, 'run ' || e.id, problem.expected, problem.actual
  from expectations e
  cross join lateral (values
    ('run_status', 'a known status, finished_at when it ended', format('%s, finished_at %s', e.status, coalesce(e.finished_at::text, 'null')),
      e.status in ('running', 'completed', 'stopped', 'failed', 'released', 'expired') and e.has_ended = (e.finished_at is not null)),
    ('run_tokens', 'input at least cached and cache_write, none below 0, none missing',
      format('input %s, cached %s, cache_write %s, output %s', e.input_tokens, e.cached_tokens, e.cache_write_tokens, e.output_tokens),
      not e.has_ended
        or coalesce(least(e.cached_tokens, e.cache_write_tokens, e.output_tokens) >= 0 and e.input_tokens >= e.cached_tokens + e.cache_write_tokens
          and num_nulls(e.input_tokens, e.cached_tokens, e.cache_write_tokens, e.output_tokens) = 0, false)),
    ('run_price', 'a price row of ' || e.model || ' valid at ' || e.started_at, format('%s of %s, valid %s', e.price_id, e.price_model, e.price_valid),
      e.price_model = e.model and e.price_valid @> e.started_at),
    ('run_cost', trim_scale(e.expected_cost)::text, trim_scale(e.cost)::text, e.cost = e.expected_cost),
    ('run_charge', e.expected_charge::text, format('%s charged and %s shortfall', e.credits, e.shortfall), e.credits + e.shortfall = e.expected_charge),
    ('run_credits', e.paid::text, e.credits::text, e.credits = e.paid),
    ('run_credits_by_kind', e.paid_by_kind, e.credits_by_kind::text, coalesce(e.credits_by_kind, '{}')::text = e.paid_by_kind),
    ('run_limited_cost', trim_scale(e.expected_limited_cost)::text, trim_scale(e.limited_cost)::text, e.limited_cost = e.expected_limited_cost),
    ('run_hold', 'holds not below 0', format('%s included, %s purchased, %s dollars', e.hold_included, e.hold_purchased, e.hold_cost),
      least(e.hold_included, e.hold_purchased, e.hold_cost) >= 0)
  ) problem (check_name, expected, actual, agrees)
  where (
    e.cost = e.expected_cost and e.credits + e.shortfall = e.expected_charge and e.credits = e.paid
    and e.limited_cost = e.expected_limited_cost and coalesce(e.credits_by_kind, '{}')::text = e.paid_by_kind
    and e.price_model = e.model and e.price_valid @> e.started_at and e.status in ('completed', 'stopped', 'failed') and e.finished_at is not null
    and e.cached_tokens >= 0 and e.cache_write_tokens >= 0 and e.output_tokens >= 0 and e.input_tokens >= e.cached_tokens + e.cache_write_tokens
    and e.hold_included >= 0 and e.hold_purchased >= 0 and e.hold_cost >= 0
  ) is not true and problem.agrees is not true;
end
$$;

ALTER FUNCTION core.audit_runs(only_user uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION audit_runs(only_user uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.audit_runs(only_user uuid) IS 'Part of ops.audit_books: each run''s cost by its tokens and price row, its charge by spec 1.1 and 1.7, what its transfers paid, by kind, and the part of its cost that counts against limits. null: all users. Spec 1.3, 3.3.';

--
-- Name: audit_transfers(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.audit_transfers(only_user uuid) RETURNS TABLE(user_id uuid, check_name text, object text, expected text, actual text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    AS $$
#variable_conflict use_column
begin
  -- Numbered without gaps, each balance following from all before it; a wrong one is named, not all that come after.
  return query
  select y.user_id, problem.check_name, 'transfer ' || y.id, problem.expected, problem.actual
  from (
    select x.*, x.balance_after - x.balance as off_by, lag(x.balance_after - x.balance, 1, 0::numeric) over w as was_off_by
    from (
      select
        t.user_id, t.id, t.balance_after,
        row_number() over w as place,
        lag(t.id, 1, 0::bigint) over w as id_before,
        sum(case when t.credit = 'lot' then t.amount else -t.amount end) over w as balance
      from public.credit_transactions t
      where only_user is null or t.user_id = only_user
      window w as (partition by t.user_id order by t.id)
    ) x
    window w as (partition by x.user_id order by x.id)
  ) y
  cross join lateral (values
    ('transfer_id', (y.id_before + 1)::text, y.id::text, y.id <> y.id_before + 1),
    ('balance_after', (y.balance + y.was_off_by)::text, y.balance_after::text, y.off_by <> 0 and y.off_by <> y.was_off_by)
  ) problem (check_name, expected, actual, is_wrong)
  where (y.id <> y.place or y.off_by <> 0) and problem.is_wrong;

  -- From and to accounts that this type of movement knows.
  return query
  select
    t.user_id, 'transfer_accounts', 'transfer ' || t.id, 'accounts of type ' || t.type,
    format('%s to %s, run %s', t.debit, t.credit, coalesce(t.run_id::text, 'none'))
  from public.credit_transactions t
  where (only_user is null or t.user_id = only_user) and not coalesce(case t.type
    when 'spend' then t.debit = 'lot' and t.credit = 'spent' and t.run_id is not null
    when 'expire' then t.debit = 'lot' and t.credit = 'expired' or t.debit = 'expired' and t.credit = 'lot'
    when 'rollover' then t.debit = 'lot' and t.credit = 'issued' or t.debit = 'issued' and t.credit = 'lot'
    when 'refund' then
      t.debit = 'lot' and t.credit = 'clawed_back' or t.debit = 'clawed_back' and t.credit = 'lot'
      or t.debit = 'spent' and t.credit = 'lot' and t.run_id is not null
    when 'admin' then t.debit = 'issued' and t.credit = 'lot' or t.debit = 'lot' and t.credit = 'clawed_back'
    else t.type in ('signup', 'monthly', 'purchase', 'bonus') and t.debit = 'issued' and t.credit = 'lot'
  end, false);

  -- The user's own figures: how many transfers, what they leave, and rollover that neither makes nor loses credits.
  return query
  select u.id, problem.check_name, 'user', problem.expected::text, problem.actual::text
  from public.users u
  left join (
    select
      t.user_id,
      count(*) as transfers,
      sum(case when t.credit = 'lot' then t.amount else -t.amount end) as balance,
      coalesce(sum(t.amount) filter (where t.type = 'rollover' and t.debit = 'lot'), 0) as rolled_out,
      coalesce(sum(t.amount) filter (where t.type = 'rollover' and t.credit = 'lot'), 0) as rolled_in
    from public.credit_transactions t
    where only_user is null or t.user_id = only_user
    group by t.user_id
  ) f on f.user_id = u.id
  cross join lateral (values
    ('transaction_count', coalesce(f.transfers, 0)::numeric, u.transaction_count::numeric),
    ('balance', coalesce(f.balance, 0), u.included_credits::numeric + u.purchased_credits),
    ('rollover', coalesce(f.rolled_out, 0), coalesce(f.rolled_in, 0))
  ) problem (check_name, expected, actual)
  where (only_user is null or u.id = only_user) and problem.expected <> problem.actual;
end
$$;

ALTER FUNCTION core.audit_transfers(only_user uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION audit_transfers(only_user uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.audit_transfers(only_user uuid) IS 'Part of ops.audit_books: the chain of each user''s transfers (numbers, balances, accounts) and the figures that follow from it. null: all users. Spec 4.2.';

--
-- Name: audit_users(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.audit_users(only_user uuid) RETURNS TABLE(user_id uuid, check_name text, object text, expected text, actual text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    AS $$
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

ALTER FUNCTION core.audit_users(only_user uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION audit_users(only_user uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.audit_users(only_user uuid) IS 'Part of ops.audit_books: each user''s window, lifetime and hold figures recomputed from runs. null: all users. Spec 3.2, 3.3, 4.2.';

--
-- Name: cap_by_cost_per_credit(integer, integer, integer, numeric, numeric, numeric, numeric, numeric); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.cap_by_cost_per_credit(input_tokens integer, output_cap integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_cost numeric, output_price numeric, cost_cap numeric) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
declare
  step integer := greatest(1, ceil(input_tokens / tokens_per_credit::numeric));
  fits integer := -1;
  room integer;
  spare numeric;
begin
  -- Step by step of what is charged, so that an answer that ends in an earlier one keeps to the cap too.
  while fits < output_cap loop
    room := least(output_cap, step * tokens_per_credit - input_tokens);
    spare := cost_cap * core.charge_for(step::bigint * tokens_per_credit, tokens_per_credit, multiplier, prompt_multiplier) - input_cost;
    if spare < 0 then
      return fits;
    elsif room * output_price * 0.000001 > spare then
      return greatest(fits, floor(spare * 1000000 / output_price));
    end if;
    fits := room;
    step := step + 1;
  end loop;
  return fits;
end
$$;

ALTER FUNCTION core.cap_by_cost_per_credit(input_tokens integer, output_cap integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_cost numeric, output_price numeric, cost_cap numeric) OWNER TO prpm_owner;

--
-- Name: FUNCTION cap_by_cost_per_credit(input_tokens integer, output_cap integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_cost numeric, output_price numeric, cost_cap numeric); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.cap_by_cost_per_credit(input_tokens integer, output_cap integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_cost numeric, output_price numeric, cost_cap numeric) IS 'Shortens an answer until no credit that it charges costs more than cost_cap US dollars (settings.purchased_cost_per_credit_cap), wherever in it the answer ends. Returns the tokens of output that fit, -1 if none do. Spec 3.3.';

--
-- Name: charge_for(bigint, integer, numeric, numeric); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.charge_for(tokens bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (ceil((ceil((GREATEST((1)::numeric, ceil(((tokens)::numeric / (tokens_per_credit)::numeric))) * multiplier)) * prompt_multiplier)))::bigint AS ceil;
END;

ALTER FUNCTION core.charge_for(tokens bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) OWNER TO prpm_owner;

--
-- Name: FUNCTION charge_for(tokens bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.charge_for(tokens bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) IS 'Credits for a run of so many tokens (input and output): each begun tokens_per_credit is one, times the model''s multiplier, rounded up, times the prompt''s, rounded up; at least 1. Spec 1.1, 1.7.';

--
-- Name: cheapest_useful_cost(timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.cheapest_useful_cost(now timestamp with time zone) RETURNS numeric
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT (((s.min_output_tokens)::numeric * min(p.output)) * 0.000001)
    FROM public.settings s,
     public.models m,
     public.model_prices p
   WHERE (m.enabled AND (p.model = m.alias) AND (p.valid @> cheapest_useful_cost.now))
   GROUP BY s.min_output_tokens;
END;

ALTER FUNCTION core.cheapest_useful_cost(now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION cheapest_useful_cost(now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.cheapest_useful_cost(now timestamp with time zone) IS 'US dollars of min_output_tokens of the cheapest enabled model: a cost window with less left is used up. Spec 3.4.';

--
-- Name: check_package(text, text, text[], text, text, text, integer[]); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.check_package(name text, description text, tags text[], visibility text, version text, prompt text, token_counts integer[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $_$
declare
  wrong text[] := case
    when name is null or name !~ '^(@[a-z0-9][a-z0-9-]{0,38}/)?[a-z0-9][a-z0-9._-]{0,99}$' then
      array['name', 'a name has 1 to 100 lower-case letters, digits, dots, hyphens or underscores, and may begin with @scope/']
    when length(description) > 2000 then array['description', 'a description has at most 2,000 characters']
    when cardinality(tags) > 20 or exists (select from unnest(tags) t where coalesce(length(t), 0) not between 1 and 50) then
      array['tags', 'there are at most 20 tags, of 1 to 50 characters']
    when visibility not in ('public', 'unlisted', 'private') then array['visibility', 'visibility is public, unlisted or private']
    when version is null or length(version) > 50 or version !~ '^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$' then
      array['version', 'a version is like 1.2.3 or 1.2.3-beta.1']
    when coalesce(length(prompt), 0) not between 1 and 50000 then array['prompt', 'a prompt has 1 to 50,000 characters']
    when coalesce(array_position(token_counts, null), 0) > 0 or 0 > any (token_counts) then
      array['tokens', 'the token counts of the prompt are missing']
  end;
begin
  if wrong is not null then
    raise exception '%', wrong[2] using errcode = 'PR400', detail = wrong[1], hint = 'Correct it and publish again; nothing was kept.';
  end if;
end
$_$;

ALTER FUNCTION core.check_package(name text, description text, tags text[], visibility text, version text, prompt text, token_counts integer[]) OWNER TO prpm_owner;

--
-- Name: FUNCTION check_package(name text, description text, tags text[], visibility text, version text, prompt text, token_counts integer[]); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.check_package(name text, description text, tags text[], visibility text, version text, prompt text, token_counts integer[]) IS 'Refuses what cannot be published; null is allowed for description, tags and visibility. Errors: PR400 naming the field. Spec 10.6.';

--
-- Name: check_page(integer, integer); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.check_page("limit" integer, "offset" integer) RETURNS void
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
begin
  if "limit" is null or "limit" not between 1 and 100 then
    raise exception 'limit must be between 1 and 100, not %', coalesce("limit"::text, 'null')
      using errcode = 'PR400', detail = 'limit', hint = 'Ask for 1 to 100 rows at a time and follow next_cursor.';
  end if;
  if "offset" is null or "offset" < 0 then
    raise exception 'offset must be 0 or more, not %', coalesce("offset"::text, 'null')
      using errcode = 'PR400', detail = 'offset', hint = 'Leave offset out, or follow next_cursor.';
  end if;
end
$$;

ALTER FUNCTION core.check_page("limit" integer, "offset" integer) OWNER TO prpm_owner;

--
-- Name: FUNCTION check_page("limit" integer, "offset" integer); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.check_page("limit" integer, "offset" integer) IS 'Refuses a page size outside 1 to 100 rows and a negative offset. Errors: PR400 naming limit or offset. Spec 10.7.';

--
-- Name: check_price(text, numeric, numeric, numeric, numeric); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.check_price(model text, input numeric, cached_read numeric, cache_write numeric, output numeric) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  field text := case
    when coalesce(check_price.input, -1) not between 0 and 100000 then 'input'
    when check_price.cached_read not between 0 and 100000 then 'cached_read'
    when check_price.cache_write not between 0 and 100000 then 'cache_write'
    when coalesce(check_price.output, -1) not between 0 and 100000 then 'output'
  end;
begin
  if not exists (select from public.models m where m.alias = check_price.model) then
    raise exception 'there is no model %', coalesce(check_price.model, 'null')
      using errcode = 'PR404', detail = 'model', hint = 'select alias from models;';
  end if;
  if field is not null then
    raise exception '% must be US dollars per million tokens, 0 to 100000', field using errcode = 'PR400', detail = field;
  end if;
end
$$;

ALTER FUNCTION core.check_price(model text, input numeric, cached_read numeric, cache_write numeric, output numeric) OWNER TO prpm_owner;

--
-- Name: FUNCTION check_price(model text, input numeric, cached_read numeric, cache_write numeric, output numeric); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.check_price(model text, input numeric, cached_read numeric, cache_write numeric, output numeric) IS 'Refuses a price that cannot be; cached_read and cache_write may be null. Errors: PR404 unknown model; PR400 naming the price. Spec 1.3.';

--
-- Name: check_token(uuid, text, text[], timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.check_token(user_id uuid, name text, scopes text[], expires_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  person public.users;
  wrong text;
  field text;
begin
  select u.* into person from public.users u where u.id = check_token.user_id;
  if not found then
    raise exception 'there is no user %', check_token.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  if person.closed_at is not null then
    raise exception 'this account is closed' using errcode = 'PR403', hint = 'A closed account gets no tokens.';
  end if;

  if coalesce(length(btrim(name)), 0) not between 1 and 100 then
    field := 'name';
    wrong := 'name must have 1 to 100 characters';
  elsif coalesce(cardinality(scopes), 0) = 0
    or array_position(scopes, null) is not null
    or not scopes <@ array['run', 'read', 'billing', 'publish', 'admin'] then
    field := 'scopes';
    wrong := 'scopes must be one or more of run, read, billing, publish and admin';
  elsif expires_at <= core.now() then
    field := 'expires_at';
    wrong := 'expires_at must be in the future';
  end if;
  if wrong is not null then
    raise exception '%', wrong using errcode = 'PR400', detail = field, hint = 'Correct it and try again.';
  end if;
  if 'admin' = any (scopes) and not person.is_admin then
    raise exception 'only an administrator can have a token with scope admin'
      using errcode = 'PR403', detail = 'scopes', hint = 'Leave admin out; an operator gives the right: select * from ops.set_user(…, is_admin => true);';
  end if;
end
$$;

ALTER FUNCTION core.check_token(user_id uuid, name text, scopes text[], expires_at timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION check_token(user_id uuid, name text, scopes text[], expires_at timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.check_token(user_id uuid, name text, scopes text[], expires_at timestamp with time zone) IS 'Refuses a token that may not be made. Errors: PR404 unknown user; PR403 a closed account, or scope admin for one who is not; PR400 naming name, scopes or expires_at. Spec 2.2.';

--
-- Name: claim_email(uuid, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.claim_email(user_id uuid, email text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if claim_email.email is null then
    return false;
  end if;
  insert into public.user_emails (email, user_id)
  values (lower(claim_email.email), claim_email.user_id)
  on conflict do nothing;
  return found;
end
$$;

ALTER FUNCTION core.claim_email(user_id uuid, email text) OWNER TO prpm_owner;

--
-- Name: FUNCTION claim_email(user_id uuid, email text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.claim_email(user_id uuid, email text) IS 'Makes an e-mail address one person''s own. Returns false where it is null or taken. The caller writes it to users. Spec 2.2.';

--
-- Name: claim_package(uuid, text, text, uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.claim_package(user_id uuid, name text, visibility text, organization_id uuid) RETURNS public.packages
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  target public.packages;
begin
  if not exists (select from public.users u where u.id = claim_package.user_id and u.closed_at is null) then
    raise exception 'this account cannot publish' using errcode = 'PR403', hint = 'It is closed or unknown.';
  end if;
  if organization_id is not null and not core.may_publish(claim_package.user_id, null, claim_package.organization_id) then
    raise exception 'you are no owner, admin or maintainer of this organization'
      using errcode = 'PR403', detail = 'organization_id', hint = 'Publish as yourself, or ask for that role.';
  end if;

  insert into public.packages (name, author_id, organization_id, visibility, created_at, updated_at)
  values (claim_package.name, claim_package.user_id, claim_package.organization_id, coalesce(claim_package.visibility, 'public'), now, now)
  on conflict do nothing;
  select p.* into strict target from public.packages p where p.name = claim_package.name for no key update;

  if not core.may_publish(claim_package.user_id, target.author_id, target.organization_id) then
    raise exception 'the package % belongs to somebody else', claim_package.name
      using errcode = 'PR403', detail = 'name', hint = 'Choose another name.';
  end if;
  return target;
end
$$;

ALTER FUNCTION core.claim_package(user_id uuid, name text, visibility text, organization_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION claim_package(user_id uuid, name text, visibility text, organization_id uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.claim_package(user_id uuid, name text, visibility text, organization_id uuid) IS 'The package of a name, locked; made for this user if nobody has it. Errors: PR403 it is another''s, the account is closed, or the user may not publish for the organization. Spec 10.6.';

--
-- Name: continue_session(uuid, uuid, uuid, text, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.continue_session(user_id uuid, session_id uuid, package_id uuid, model text, now timestamp with time zone, OUT refusal json, OUT messages json, OUT tokens integer, OUT same_model boolean) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  x public.sessions;
  busy boolean;
  run_ids uuid[];
begin
  select y.* into x from public.sessions y where y.user_id = continue_session.user_id and y.id = continue_session.session_id;
  if not found or x.deleted_at is not null then
    refusal := core.describe_refusal('session_not_found', 404, 'There is no such session of yours.', now);
    return;
  elsif x.package_id <> continue_session.package_id then
    refusal := core.describe_refusal('session_package', 409, 'This session is of another package. Begin a new session for this one.', now);
    return;
  end if;

  select r.status = 'running' into busy from public.runs r where r.user_id = x.user_id and r.id = x.last_run_id;
  if busy then
    refusal := core.describe_refusal('session_busy', 409, 'A run of this session is still going on. Wait for it or stop it.', now,
      retry_at => now + interval '1 second', details => json_build_object('run_id', x.last_run_id));
    return;
  end if;

  select array_agg(t.run_id),
    ('[' || string_agg(
      json_build_object('role', 'user', 'content', t.question)::text || ','
        || json_build_object('role', 'assistant', 'content', t.answer)::text,
      ',' order by t.run_id
    ) || ']')::json
  into run_ids, messages
  from public.run_texts t
  where t.user_id = x.user_id and t.session_id = x.id and t.answer <> '';

  select coalesce(sum(r.question_tokens + r.output_tokens + 8), 0), coalesce(bool_and(r.model = continue_session.model), true)
  into tokens, same_model
  from public.runs r
  where r.user_id = x.user_id and r.id = any (run_ids);
end
$$;

ALTER FUNCTION core.continue_session(user_id uuid, session_id uuid, package_id uuid, model text, now timestamp with time zone, OUT refusal json, OUT messages json, OUT tokens integer, OUT same_model boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION continue_session(user_id uuid, session_id uuid, package_id uuid, model text, now timestamp with time zone, OUT refusal json, OUT messages json, OUT tokens integer, OUT same_model boolean); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.continue_session(user_id uuid, session_id uuid, package_id uuid, model text, now timestamp with time zone, OUT refusal json, OUT messages json, OUT tokens integer, OUT same_model boolean) IS 'What a session brings into its next run: its answered exchanges as messages, their tokens (by usage and estimate), and whether all were counted by this model. Or the refusal: session_not_found, session_package, session_busy. Spec 10.1.';

--
-- Name: cost_of(integer, integer, integer, integer, numeric, numeric, numeric, numeric); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.cost_of(input integer, cached integer, cache_write integer, output integer, input_price numeric, cached_price numeric, cache_write_price numeric, output_price numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT ((((((((input - cached) - cache_write))::numeric * input_price) + ((cached)::numeric * COALESCE(cached_price, input_price))) + ((cache_write)::numeric * COALESCE(cache_write_price, input_price))) + ((output)::numeric * output_price)) * 0.000001);
END;

ALTER FUNCTION core.cost_of(input integer, cached integer, cache_write integer, output integer, input_price numeric, cached_price numeric, cache_write_price numeric, output_price numeric) OWNER TO prpm_owner;

--
-- Name: FUNCTION cost_of(input integer, cached integer, cache_write integer, output integer, input_price numeric, cached_price numeric, cache_write_price numeric, output_price numeric); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.cost_of(input integer, cached integer, cache_write integer, output integer, input_price numeric, cached_price numeric, cache_write_price numeric, output_price numeric) IS 'US dollars, exact: tokens by kind times the price of each kind per million. input is everything read, the cached and cache-write parts included; a missing cache price is the input price. Spec 1.3.';

--
-- Name: count_in_window(uuid, text, integer); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.count_in_window(user_id uuid, kind text, per_minute integer, OUT allowed boolean, OUT remaining integer, OUT reset integer) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  w record;
begin
  insert into public.rate_windows as r (user_id, kind, ends_at, count)
  values (count_in_window.user_id, count_in_window.kind, now + interval '1 minute', 1)
  on conflict on constraint rate_windows_pkey do update
  set
    count = case when r.ends_at <= excluded.ends_at - interval '1 minute' then 1 else r.count + 1 end,
    ends_at = case when r.ends_at <= excluded.ends_at - interval '1 minute' then excluded.ends_at else r.ends_at end
  returning r.count, r.ends_at into w;

  allowed := w.count <= per_minute;
  remaining := greatest(0, per_minute - w.count);
  reset := greatest(1, ceil(extract(epoch from w.ends_at - now)));
end
$$;

ALTER FUNCTION core.count_in_window(user_id uuid, kind text, per_minute integer, OUT allowed boolean, OUT remaining integer, OUT reset integer) OWNER TO prpm_owner;

--
-- Name: FUNCTION count_in_window(user_id uuid, kind text, per_minute integer, OUT allowed boolean, OUT remaining integer, OUT reset integer); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.count_in_window(user_id uuid, kind text, per_minute integer, OUT allowed boolean, OUT remaining integer, OUT reset integer) IS 'Counts one request in a fixed minute window that later requests cannot extend; allowed is false above per_minute. reset is seconds. Spec 3.6.';

--
-- Name: count_refusal(uuid, json, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.count_refusal(user_id uuid, refusal json, now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  this_hour timestamptz := date_trunc('hour', now, 'UTC');
begin
  update public.refusals r
  set
    count = r.count + 1,
    limit_value = (refusal ->> 'limit')::numeric,
    used_value = (refusal ->> 'used')::numeric,
    last_at = now
  where r.user_id = count_refusal.user_id and r.reason = refusal ->> 'code' and r.hour = this_hour;

  if not found then
    insert into public.refusals (user_id, reason, hour, count, limit_value, used_value, last_at)
    values (
      count_refusal.user_id, refusal ->> 'code', this_hour, 1,
      (refusal ->> 'limit')::numeric, (refusal ->> 'used')::numeric, now
    );
  end if;
end
$$;

ALTER FUNCTION core.count_refusal(user_id uuid, refusal json, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION count_refusal(user_id uuid, refusal json, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.count_refusal(user_id uuid, refusal json, now timestamp with time zone) IS 'Counts a refusal by user, reason and hour. The caller holds the user''s row. Spec 3.7.';

--
-- Name: count_sale(uuid, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.count_sale(user_id uuid, now timestamp with time zone) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  per_minute integer := (select x.purchases_per_minute from public.settings x);
  window_left record;
begin
  select x.* into window_left from core.count_in_window(count_sale.user_id, 'purchase', per_minute) x;
  if window_left.allowed then
    return null;
  end if;
  return core.describe_refusal('rate_limited', 429,
    format('At most %s purchases a minute. Try again in %s seconds.', per_minute, window_left.reset), now,
    per_minute, unit => 'purchases', retry_at => now + window_left.reset * interval '1 second');
end
$$;

ALTER FUNCTION core.count_sale(user_id uuid, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION count_sale(user_id uuid, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.count_sale(user_id uuid, now timestamp with time zone) IS 'Counts a checkout that is to be made in the user''s minute (settings.purchases_per_minute) and returns why it may not, or null. Spec 3.6.';

--
-- Name: cover_overrun(bigint, bigint, bigint, boolean, bigint, bigint); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.cover_overrun(INOUT from_included bigint, INOUT from_purchased bigint, over bigint, purchased_first boolean, free_included bigint, free_purchased bigint) RETURNS record
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
declare
  part bigint;
begin
  if purchased_first then
    part := least(over, greatest(0, free_purchased));
    from_purchased := from_purchased + part;
    from_included := from_included + least(over - part, greatest(0, free_included));
  else
    part := least(over, greatest(0, free_included));
    from_included := from_included + part;
    from_purchased := from_purchased + least(over - part, greatest(0, free_purchased));
  end if;
end
$$;

ALTER FUNCTION core.cover_overrun(INOUT from_included bigint, INOUT from_purchased bigint, over bigint, purchased_first boolean, free_included bigint, free_purchased bigint) OWNER TO prpm_owner;

--
-- Name: FUNCTION cover_overrun(INOUT from_included bigint, INOUT from_purchased bigint, over bigint, purchased_first boolean, free_included bigint, free_purchased bigint); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.cover_overrun(INOUT from_included bigint, INOUT from_purchased bigint, over bigint, purchased_first boolean, free_included bigint, free_purchased bigint) IS 'Who pays what a run cost above its hold: credits that no other run holds, the kind that pays the run first. What nothing can pay stays a shortfall. Spec 4.2.';

--
-- Name: create_user(uuid, text, text, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.create_user(user_id uuid, username text, email text, identity text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  has_email boolean := core.claim_email(create_user.user_id, create_user.email);
begin
  insert into public.users
    (id, username, email, month_ends_at, day_ends_at, hour_ends_at, minute_ends_at, created_at, updated_at)
  values (
    create_user.user_id,
    coalesce(nullif(left(btrim(create_user.username), 100), ''), 'user-' || left(create_user.user_id::text, 8)),
    case when has_email then lower(create_user.email) end,
    (date_trunc('month', now at time zone 'UTC') + interval '1 month') at time zone 'UTC',
    (date_trunc('day', now at time zone 'UTC') + interval '1 day') at time zone 'UTC',
    (date_trunc('hour', now at time zone 'UTC') + interval '1 hour') at time zone 'UTC',
    now, now, now -- the first attempt opens the first minute
  );

  insert into public.signup_claims (identity_hash)
  values (core.hash_identity(coalesce(create_user.identity, 'user ' || create_user.user_id)))
  on conflict do nothing;
  if found then
    perform core.grant_lot(
      create_user.user_id, 'signup', (select s.signup_credits from public.settings s), 'signup', 'signup', 'signup', now,
      description => 'Sign-up credits'
    );
  end if;
  return has_email;
end
$$;

ALTER FUNCTION core.create_user(user_id uuid, username text, email text, identity text) OWNER TO prpm_owner;

--
-- Name: FUNCTION create_user(user_id uuid, username text, email text, identity text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.create_user(user_id uuid, username text, email text, identity text) IS 'Makes a person, their windows and, once for each identity, their sign-up credits. email is verified, or null; one that is taken is left out. username null or blank becomes user- and the start of the id. identity is what is recognized after erasure; null: the id itself. Returns whether the person has the e-mail. Spec 2.1, 2.2.';

--
-- Name: decode_cursor(text, regtype[]); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.decode_cursor(cursor text, VARIADIC types regtype[]) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $_$
declare
  key text[];
begin
  if decode_cursor.cursor is null then
    return null;
  end if;
  select array_agg(e.value order by e.ordinality) into key
  from jsonb_array_elements_text(convert_from(decode(
    rpad(translate(decode_cursor.cursor, '-_', '+/'), length(decode_cursor.cursor) + (4 - length(decode_cursor.cursor) % 4) % 4, '='), 'base64'
  ), 'UTF8')::jsonb) with ordinality e;

  if cardinality(key) is distinct from cardinality(types) then
    raise data_exception;
  end if;
  for i in 1 .. cardinality(key) loop
    execute format('select cast($1 as %s) is null', types[i]) using key[i];
  end loop;
  return key;
exception
  when data_exception then
    raise exception 'this cursor is none that a list gave'
      using errcode = 'PR400', detail = 'cursor', hint = 'Send next_cursor as it came, or leave cursor out to begin at the newest row.';
end
$_$;

ALTER FUNCTION core.decode_cursor(cursor text, VARIADIC types regtype[]) OWNER TO prpm_owner;

--
-- Name: FUNCTION decode_cursor(cursor text, VARIADIC types regtype[]); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.decode_cursor(cursor text, VARIADIC types regtype[]) IS 'The sort key that core.encode_cursor put into a cursor, each part tried as its type; null for no cursor. Errors: PR400 naming cursor, for text that no list gave. Spec 10.7.';

--
-- Name: describe_refusal(text, integer, text, timestamp with time zone, numeric, numeric, numeric, text, timestamp with time zone, bigint, bigint, json); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.describe_refusal(code text, status integer, message text, now timestamp with time zone, "limit" numeric DEFAULT NULL::numeric, used numeric DEFAULT NULL::numeric, held numeric DEFAULT NULL::numeric, unit text DEFAULT NULL::text, retry_at timestamp with time zone DEFAULT NULL::timestamp with time zone, required_credits bigint DEFAULT NULL::bigint, available_credits bigint DEFAULT NULL::bigint, details json DEFAULT NULL::json) RETURNS json
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT json_strip_nulls(json_build_object('code', code, 'status', status, 'message', message, 'limit', "limit", 'used', used, 'held', held, 'unit', unit, 'retry_at', retry_at, 'retry_after',
         CASE
             WHEN (retry_at IS NOT NULL) THEN (GREATEST((1)::numeric, ceil(EXTRACT(epoch FROM (retry_at - now)))))::integer
             ELSE NULL::integer
         END, 'required_credits', required_credits, 'available_credits', available_credits, 'purchase_url',
         CASE
             WHEN (required_credits IS NOT NULL) THEN '/playground/credits/buy'::text
             ELSE NULL::text
         END, 'details', details)) AS json_strip_nulls;
END;

ALTER FUNCTION core.describe_refusal(code text, status integer, message text, now timestamp with time zone, "limit" numeric, used numeric, held numeric, unit text, retry_at timestamp with time zone, required_credits bigint, available_credits bigint, details json) OWNER TO prpm_owner;

--
-- Name: FUNCTION describe_refusal(code text, status integer, message text, now timestamp with time zone, "limit" numeric, used numeric, held numeric, unit text, retry_at timestamp with time zone, required_credits bigint, available_credits bigint, details json); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.describe_refusal(code text, status integer, message text, now timestamp with time zone, "limit" numeric, used numeric, held numeric, unit text, retry_at timestamp with time zone, required_credits bigint, available_credits bigint, details json) IS 'The answer that explains a refusal: a stable code, the HTTP status, what to do in words, and the figures (limit, used and held in unit; credits where they lack). Codes: docs/errors.md. Spec 3.2, 11.3.';

--
-- Name: suggested_inputs; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.suggested_inputs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    package_id uuid NOT NULL,
    title text NOT NULL,
    description text,
    suggested_input text NOT NULL,
    category text,
    difficulty text DEFAULT 'beginner'::text NOT NULL,
    estimated_credits integer DEFAULT 1 NOT NULL,
    recommended_model text,
    display_order integer DEFAULT 0 NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT suggested_inputs_category_check CHECK ((category = ANY (ARRAY['code-review'::text, 'documentation'::text, 'refactoring'::text, 'general'::text, 'testing'::text, 'optimization'::text]))),
    CONSTRAINT suggested_inputs_difficulty_check CHECK ((difficulty = ANY (ARRAY['beginner'::text, 'intermediate'::text, 'advanced'::text]))),
    CONSTRAINT suggested_inputs_display_order_check CHECK ((display_order >= 0)),
    CONSTRAINT suggested_inputs_estimated_credits_check CHECK (((estimated_credits >= 1) AND (estimated_credits <= 50))),
    CONSTRAINT suggested_inputs_suggested_input_check CHECK (((length(suggested_input) >= 1) AND (length(suggested_input) <= 10000))),
    CONSTRAINT suggested_inputs_title_check CHECK (((length(title) >= 1) AND (length(title) <= 100)))
);

ALTER TABLE public.suggested_inputs OWNER TO prpm_owner;

--
-- Name: TABLE suggested_inputs; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.suggested_inputs IS 'config. Inputs that a package''s author proposes to try (spec 10.4).';

--
-- Name: COLUMN suggested_inputs.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.id IS 'Names it.';

--
-- Name: COLUMN suggested_inputs.package_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.package_id IS 'The package.';

--
-- Name: COLUMN suggested_inputs.title; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.title IS '1 to 100 characters.';

--
-- Name: COLUMN suggested_inputs.description; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.description IS 'What it shows.';

--
-- Name: COLUMN suggested_inputs.suggested_input; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.suggested_input IS 'The text, 1 to 10,000 characters.';

--
-- Name: COLUMN suggested_inputs.category; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.category IS 'code-review, documentation, refactoring, general, testing or optimization.';

--
-- Name: COLUMN suggested_inputs.difficulty; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.difficulty IS 'beginner, intermediate or advanced.';

--
-- Name: COLUMN suggested_inputs.estimated_credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.estimated_credits IS 'Credits that the author expects it to take.';

--
-- Name: COLUMN suggested_inputs.recommended_model; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.recommended_model IS 'models.alias, or null.';

--
-- Name: COLUMN suggested_inputs.display_order; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.display_order IS 'Lowest first.';

--
-- Name: COLUMN suggested_inputs.is_active; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.is_active IS 'False: no longer shown.';

--
-- Name: COLUMN suggested_inputs.created_by; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.created_by IS 'Who proposed it.';

--
-- Name: COLUMN suggested_inputs.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.suggested_inputs.created_at IS 'When.';

--
-- Name: describe_suggested_inputs(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.describe_suggested_inputs(package_id uuid) RETURNS json
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT COALESCE(json_agg(json_build_object('id', i.id, 'title', i.title, 'description', i.description, 'suggested_input', i.suggested_input, 'category', i.category, 'difficulty', i.difficulty, 'estimated_credits', i.estimated_credits, 'recommended_model', i.recommended_model, 'display_order', i.display_order, 'created_at', i.created_at) ORDER BY i.display_order, i.created_at, i.id), '[]'::json) AS "coalesce"
    FROM public.suggested_inputs i
   WHERE ((i.package_id = describe_suggested_inputs.package_id) AND i.is_active);
END;

ALTER FUNCTION core.describe_suggested_inputs(package_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION describe_suggested_inputs(package_id uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.describe_suggested_inputs(package_id uuid) IS 'A package''s suggested inputs that are shown, in order, as JSON: the columns of suggested_inputs. Spec 10.4.';

--
-- Name: version_order(text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.version_order(version text) RETURNS numeric[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT ((ARRAY[
         CASE
             WHEN (strpos(version, '-'::text) = 0) THEN 1
             ELSE 0
         END])::numeric[] || (string_to_array(split_part(version, '-'::text, 1), '.'::text))::numeric[]);
END;

ALTER FUNCTION core.version_order(version text) OWNER TO prpm_owner;

--
-- Name: FUNCTION version_order(version text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.version_order(version text) IS 'What to sort a package''s versions by: releases above pre-releases, then by major, minor and patch number. Pre-releases of one number are equal here; the later published is the newer.';

--
-- Name: package_versions; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.package_versions (
    package_id uuid NOT NULL,
    version text NOT NULL,
    prompt text NOT NULL,
    tokens_o200k integer NOT NULL,
    tokens_cl100k integer NOT NULL,
    tokens_approximate integer NOT NULL,
    cache_prompt boolean DEFAULT false NOT NULL,
    changelog text DEFAULT ''::text NOT NULL,
    published_by uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT package_versions_prompt_check CHECK (((length(prompt) >= 1) AND (length(prompt) <= 50000))),
    CONSTRAINT package_versions_tokens_approximate_check CHECK ((tokens_approximate >= 0)),
    CONSTRAINT package_versions_tokens_cl100k_check CHECK ((tokens_cl100k >= 0)),
    CONSTRAINT package_versions_tokens_o200k_check CHECK ((tokens_o200k >= 0)),
    CONSTRAINT package_versions_version_check CHECK ((version ~ '^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$'::text))
)
WITH (toast_tuple_target='8160');
ALTER TABLE ONLY public.package_versions ALTER COLUMN prompt SET STORAGE EXTERNAL;

ALTER TABLE public.package_versions OWNER TO prpm_owner;

--
-- Name: TABLE package_versions; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.package_versions IS 'config. Versions of a package; the prompt of a version never changes (spec 5.5).';

--
-- Name: COLUMN package_versions.package_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.package_versions.package_id IS 'The package.';

--
-- Name: COLUMN package_versions.version; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.package_versions.version IS 'Semantic version.';

--
-- Name: COLUMN package_versions.prompt; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.package_versions.prompt IS 'The system prompt, 1 to 50,000 characters.';

--
-- Name: COLUMN package_versions.tokens_o200k; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.package_versions.tokens_o200k IS 'Tokens of the prompt by o200k_base, counted at publishing.';

--
-- Name: COLUMN package_versions.tokens_cl100k; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.package_versions.tokens_cl100k IS 'Tokens of the prompt by cl100k_base.';

--
-- Name: COLUMN package_versions.tokens_approximate; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.package_versions.tokens_approximate IS 'Tokens of the prompt, high by design, for models without a public tokenizer.';

--
-- Name: COLUMN package_versions.cache_prompt; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.package_versions.cache_prompt IS 'Set by a job while caching the prompt at the provider pays (spec 5.6).';

--
-- Name: COLUMN package_versions.changelog; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.package_versions.changelog IS 'What is new.';

--
-- Name: COLUMN package_versions.published_by; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.package_versions.published_by IS 'Who published it.';

--
-- Name: COLUMN package_versions.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.package_versions.created_at IS 'When.';

--
-- Name: describe_versions(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.describe_versions(package_id uuid) RETURNS json
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT COALESCE(json_agg(json_build_object('version', v.version, 'changelog', v.changelog, 'tokens', json_build_object('o200k_base', v.tokens_o200k, 'cl100k_base', v.tokens_cl100k, 'approximate', v.tokens_approximate), 'created_at', v.created_at) ORDER BY (core.version_order(v.version)) DESC, v.created_at DESC, v.version DESC), '[]'::json) AS "coalesce"
    FROM public.package_versions v
   WHERE (v.package_id = describe_versions.package_id);
END;

ALTER FUNCTION core.describe_versions(package_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION describe_versions(package_id uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.describe_versions(package_id uuid) IS 'A package''s versions without their prompts, newest first, as JSON: [{version, changelog, tokens {o200k_base, cl100k_base, approximate}, created_at}].';

--
-- Name: encode_cursor(text[]); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.encode_cursor(VARIADIC key text[]) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT rtrim(translate(encode(convert_to((to_jsonb(key))::text, 'UTF8'::name), 'base64'::text), '+/
'::text, '-_'::text), '='::text) AS rtrim;
END;

ALTER FUNCTION core.encode_cursor(VARIADIC key text[]) OWNER TO prpm_owner;

--
-- Name: FUNCTION encode_cursor(VARIADIC key text[]); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.encode_cursor(VARIADIC key text[]) IS 'An opaque place in a list: the sort key of the last row that was shown, as JSON in base64url. core.decode_cursor reads it. Spec 10.7.';

--
-- Name: end_subscription(uuid, text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.end_subscription(user_id uuid, subscription_id text, at timestamp with time zone, now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform from public.users u where u.id = end_subscription.user_id for no key update;
  update public.credit_lots l
  set expires_at = least(l.expires_at, end_subscription.at)
  where l.user_id = end_subscription.user_id and l.source = 'subscription'
    and starts_with(l.source_id, end_subscription.subscription_id || '/');
  perform core.tidy_lots(end_subscription.user_id, end_subscription.now);
end
$$;

ALTER FUNCTION core.end_subscription(user_id uuid, subscription_id text, at timestamp with time zone, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION end_subscription(user_id uuid, subscription_id text, at timestamp with time zone, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.end_subscription(user_id uuid, subscription_id text, at timestamp with time zone, now timestamp with time zone) IS 'Lets a subscription''s monthly credits expire at that instant: the end of the period paid for, or at once if the money went back. Rollover keeps its date, purchased credits stay. Locks the user''s row. Spec 4.4.';

--
-- Name: expire_user_holds(uuid, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.expire_user_holds(user_id uuid, now timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  open_runs uuid[];
  open_run uuid;
  r public.runs;
  next_expiry timestamptz := timestamptz 'infinity';
  text_so_far text;
  expired integer := 0;
begin
  select u.open_runs into strict open_runs from public.users u where u.id = expire_user_holds.user_id for no key update;

  foreach open_run in array open_runs loop
    select x.* into r from public.runs x where x.user_id = expire_user_holds.user_id and x.id = open_run for no key update;
    if r.hold_expires_at > now then
      next_expiry := least(next_expiry, r.hold_expires_at);
    else
      select t.answer into text_so_far
      from public.run_texts t
      where t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id;
      perform api.settle_run(
        r.user_id, r.id, 'expired', true, r.input_tokens, r.cached_tokens, r.cache_write_tokens, coalesce(r.output_tokens, 0), true,
        null, coalesce(text_so_far, ''), 'run_expired', 'The server that ran it is gone.', null, null
      );
      expired := expired + 1;
    end if;
  end loop;

  update public.users u set holds_expire_at = next_expiry where u.id = expire_user_holds.user_id;
  return expired;
end
$$;

ALTER FUNCTION core.expire_user_holds(user_id uuid, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION expire_user_holds(user_id uuid, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.expire_user_holds(user_id uuid, now timestamp with time zone) IS 'Ends a user''s running runs whose hold has expired, because their server is gone: what the last checkpoint had is charged, the rest released; with no text nothing is charged and the estimated input is booked as cost. Returns how many. Locks the user''s row. Spec 5.2, 7.1.';

--
-- Name: find_identity(text, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.find_identity(issuer text, subject text) RETURNS public.users
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  owner_id uuid;
  person public.users;
begin
  select i.user_id into owner_id
  from public.identities i
  where i.issuer = find_identity.issuer and i.subject = find_identity.subject;
  select u.* into person from public.users u where u.id = owner_id;
  return person;
end
$$;

ALTER FUNCTION core.find_identity(issuer text, subject text) OWNER TO prpm_owner;

--
-- Name: FUNCTION find_identity(issuer text, subject text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.find_identity(issuer text, subject text) IS 'The person that an issuer''s subject is; a row of nulls where it was never seen, or was erased. Spec 2.2.';

--
-- Name: find_organization(text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.find_organization(organization text) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  found_id uuid;
  namesakes bigint;
begin
  select o.id into found_id from public.organizations o where o.id = core.uuid_or_null(btrim(organization));
  if found then
    return found_id;
  end if;
  select min(o.id::text)::uuid, count(*) into found_id, namesakes from public.organizations o where o.name = btrim(organization);
  if namesakes > 1 then
    raise exception '% organizations are called %', namesakes, organization
      using errcode = 'PR409', detail = 'organization', hint = 'Give the id: select id, name from organizations;';
  end if;
  if found_id is null then
    raise exception 'there is no organization %', coalesce(organization, 'null')
      using errcode = 'PR404', detail = 'organization', hint = 'Give the id or the name: select id, name from organizations;';
  end if;
  return found_id;
end
$$;

ALTER FUNCTION core.find_organization(organization text) OWNER TO prpm_owner;

--
-- Name: FUNCTION find_organization(organization text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.find_organization(organization text) IS 'The id of the organization that an operator means, by id or name. Errors: PR404 none; PR409 a name that several have. Spec 12.';

--
-- Name: find_package(uuid, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.find_package(user_id uuid, package text) RETURNS public.packages
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  asked public.packages;
begin
  select p.* into asked from public.packages p where p.id = core.uuid_or_null(package);
  if not found then
    select p.* into asked from public.packages p where p.name = lower(package);
  end if;
  if core.may_see_package(find_package.user_id, asked.visibility, asked.author_id, asked.organization_id) then
    return asked;
  end if;
  return null;
end
$$;

ALTER FUNCTION core.find_package(user_id uuid, package text) OWNER TO prpm_owner;

--
-- Name: FUNCTION find_package(user_id uuid, package text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.find_package(user_id uuid, package text) IS 'The package of an id or name, if the user may see it; else null, as for one that is not there. Spec 5.5.';

--
-- Name: find_user(text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.find_user("user" text) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  found_id uuid;
  namesakes bigint;
begin
  select u.id into found_id from public.users u where u.id = core.uuid_or_null(btrim("user"));
  if not found then
    select e.user_id into found_id from public.user_emails e where e.email = lower(btrim("user"));
  end if;
  if found_id is null then
    select min(u.id::text)::uuid, count(*) into found_id, namesakes from public.users u where u.username = btrim("user");
    if namesakes > 1 then
      raise exception '% people are called %', namesakes, "user"
        using errcode = 'PR409', detail = 'user', hint = 'Give the id or the e-mail: select id, email, username from users;';
    end if;
  end if;
  if found_id is null then
    raise exception 'there is no user %', coalesce("user", 'null')
      using errcode = 'PR404', detail = 'user', hint = 'Give the id, the e-mail or the username: select id, email, username from users;';
  end if;
  return found_id;
end
$$;

ALTER FUNCTION core.find_user("user" text) OWNER TO prpm_owner;

--
-- Name: FUNCTION find_user("user" text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.find_user("user" text) IS 'The id of the person whom an operator means: by id, e-mail or username, in this order. Errors: PR404 nobody; PR409 a username that several have. Spec 12.';

--
-- Name: first_run_id(timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.first_run_id(at timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (rpad(lpad(to_hex((floor((EXTRACT(epoch FROM at) * (1000)::numeric)))::bigint), 12, '0'::text), 32, '0'::text))::uuid AS rpad;
END;

ALTER FUNCTION core.first_run_id(at timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION first_run_id(at timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.first_run_id(at timestamp with time zone) IS 'The least time-ordered id of that millisecond: runs since then have greater ids, so that an index on (user_id, id) finds them.';

--
-- Name: fit_run(integer, integer, integer, numeric, numeric, numeric, numeric, bigint, bigint, numeric, numeric); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.fit_run(input_tokens integer, wanted integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_price numeric, output_price numeric, included bigint, purchased bigint, cost_left numeric, purchased_cap numeric, OUT output_cap integer, OUT hold_included bigint, OUT hold_purchased bigint, OUT hold_cost numeric) RETURNS record
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
declare
  input_cost numeric := input_tokens * input_price * 0.000001;
  alone integer;
  credits bigint;
begin
  output_cap := least(wanted, core.affordable_tokens(included + purchased, tokens_per_credit, multiplier, prompt_multiplier) - input_tokens);

  if included > 0 and cost_left < input_cost + output_cap * output_price * 0.000001 then
    output_cap := case
      when cost_left < input_cost or output_price = 0 then -1
      else least(output_cap, floor((cost_left - input_cost) * 1000000 / output_price))
    end;
    alone := least(wanted, core.affordable_tokens(purchased, tokens_per_credit, multiplier, prompt_multiplier) - input_tokens);
    if alone > output_cap and purchased > 0 then
      output_cap := alone;
      included := 0;
    end if;
  end if;

  credits := core.charge_for(input_tokens + output_cap, tokens_per_credit, multiplier, prompt_multiplier);
  if purchased_cap is not null and credits > included then
    output_cap := core.cap_by_cost_per_credit(
      input_tokens, output_cap, tokens_per_credit, multiplier, prompt_multiplier, input_cost, output_price, purchased_cap
    );
    credits := core.charge_for(input_tokens + output_cap, tokens_per_credit, multiplier, prompt_multiplier);
  end if;
  hold_included := least(included, credits);
  hold_purchased := credits - hold_included;
  hold_cost := input_cost + output_cap * output_price * 0.000001;
end
$$;

ALTER FUNCTION core.fit_run(input_tokens integer, wanted integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_price numeric, output_price numeric, included bigint, purchased bigint, cost_left numeric, purchased_cap numeric, OUT output_cap integer, OUT hold_included bigint, OUT hold_purchased bigint, OUT hold_cost numeric) OWNER TO prpm_owner;

--
-- Name: FUNCTION fit_run(input_tokens integer, wanted integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_price numeric, output_price numeric, included bigint, purchased bigint, cost_left numeric, purchased_cap numeric, OUT output_cap integer, OUT hold_included bigint, OUT hold_purchased bigint, OUT hold_cost numeric); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.fit_run(input_tokens integer, wanted integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_price numeric, output_price numeric, included bigint, purchased bigint, cost_left numeric, purchased_cap numeric, OUT output_cap integer, OUT hold_included bigint, OUT hold_purchased bigint, OUT hold_cost numeric) IS 'How long an answer fits: the output cap (tokens, at most wanted) whose worst case credits and cost windows can bear, and what it would hold. input_tokens is the input''s worst case; prices are US dollars per million tokens; included and purchased are free credits; cost_left is what the narrower cost window has left in US dollars, null without limit. Included credits pay first; if the windows would cut the answer and purchased credits alone allow a longer one, those pay all and no window counts. A cap below what is useful (also negative) means that the run does not fit; the hold is meaningless then. Spec 1.5, 3.2, 3.3.';

--
-- Name: grant_lot(uuid, text, bigint, text, text, text, timestamp with time zone, timestamp with time zone, numeric, timestamp with time zone, timestamp with time zone, uuid, text, text, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.grant_lot(user_id uuid, kind text, amount bigint, type text, source text, source_id text, now timestamp with time zone, expires_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone, paid_per_credit numeric DEFAULT 0, period_start timestamp with time zone DEFAULT NULL::timestamp with time zone, period_end timestamp with time zone DEFAULT NULL::timestamp with time zone, purchase_id uuid DEFAULT NULL::uuid, subscription_id text DEFAULT NULL::text, description text DEFAULT NULL::text, actor text DEFAULT NULL::text) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  lot_id uuid;
begin
  perform from public.users u where u.id = grant_lot.user_id for no key update;

  select l.id into lot_id
  from public.credit_lots l
  where l.user_id = grant_lot.user_id and l.source = grant_lot.source and l.source_id = grant_lot.source_id;

  if found or grant_lot.amount <= 0 then
    return lot_id;
  end if;

  lot_id := gen_random_uuid();
  insert into public.credit_lots
    (user_id, id, kind, granted, remaining, expires_at, paid_per_credit, source, source_id, period_start, period_end, created_at)
  values (
    grant_lot.user_id, lot_id, grant_lot.kind, grant_lot.amount, 0, grant_lot.expires_at, grant_lot.paid_per_credit,
    grant_lot.source, grant_lot.source_id, grant_lot.period_start, grant_lot.period_end, grant_lot.now
  );
  perform core.move_credits(
    grant_lot.user_id, lot_id, grant_lot.type, 'issued', 'lot', grant_lot.amount, grant_lot.now,
    purchase_id => grant_lot.purchase_id, subscription_id => grant_lot.subscription_id,
    description => grant_lot.description, actor => grant_lot.actor
  );
  perform core.refresh_lots(grant_lot.user_id);
  return lot_id;
end
$$;

ALTER FUNCTION core.grant_lot(user_id uuid, kind text, amount bigint, type text, source text, source_id text, now timestamp with time zone, expires_at timestamp with time zone, paid_per_credit numeric, period_start timestamp with time zone, period_end timestamp with time zone, purchase_id uuid, subscription_id text, description text, actor text) OWNER TO prpm_owner;

--
-- Name: FUNCTION grant_lot(user_id uuid, kind text, amount bigint, type text, source text, source_id text, now timestamp with time zone, expires_at timestamp with time zone, paid_per_credit numeric, period_start timestamp with time zone, period_end timestamp with time zone, purchase_id uuid, subscription_id text, description text, actor text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.grant_lot(user_id uuid, kind text, amount bigint, type text, source text, source_id text, now timestamp with time zone, expires_at timestamp with time zone, paid_per_credit numeric, period_start timestamp with time zone, period_end timestamp with time zone, purchase_id uuid, subscription_id text, description text, actor text) IS 'Gives a user a lot of credits, once for each (source, source_id), whoever calls and however often. Returns the lot''s id; null where the amount is 0. Locks the user''s row. Spec 4.1, 4.2.';

--
-- Name: grant_period(uuid, text, text, timestamp with time zone, timestamp with time zone, numeric, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.grant_period(user_id uuid, subscription_id text, plan text, period_start timestamp with time zone, period_end timestamp with time zone, paid numeric, now timestamp with time zone, paid_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  allocation bigint;
  grace integer;
  key text := grant_period.subscription_id || '/' || extract(epoch from grant_period.period_start)::bigint;
  old record;
  lot_id uuid;
  next_start timestamptz;
  rollover_id uuid := gen_random_uuid();
begin
  select p.monthly_credits into strict allocation from public.plans p where p.plan = grant_period.plan;
  select s.grace_days into grace from public.settings s;
  perform from public.users u where u.id = grant_period.user_id for no key update;

  select l.id into lot_id
  from public.credit_lots l
  where l.user_id = grant_period.user_id and l.source = 'subscription' and l.source_id = key;
  if found then
    return lot_id;
  end if;

  for old in
    select l.id, l.kind, l.rolls_into, l.period_end
    from public.credit_lots l
    -- Empty ones too: a refund that fails may give back to them.
    where l.user_id = grant_period.user_id and l.kind in ('rollover', 'monthly')
      and l.period_start < grant_period.period_start
    order by l.kind desc
  loop
    update public.credit_lots l
    set
      expires_at = least(l.expires_at, grant_period.period_start),
      rolls_into = coalesce(
        l.rolls_into, case when l.kind = 'monthly' and l.period_end > grant_period.period_start - interval '1 day' then rollover_id end
      )
    where l.user_id = grant_period.user_id and l.id = old.id;

    -- We hear of it late, but it was paid in time: what has expired of the period before rolls over all the same.
    if old.kind = 'monthly' and old.rolls_into is null and old.period_end > grant_period.period_start - interval '1 day'
      and coalesce(grant_period.paid_at, grant_period.now) <= old.period_end + grace * interval '24 hours'
    then
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
    perform core.tidy_lots(grant_period.user_id, grant_period.now);
    perform core.tidy_lots(grant_period.user_id, grant_period.now); -- a rollover whose own time is over too
  end if;
  return lot_id;
end
$$;

ALTER FUNCTION core.grant_period(user_id uuid, subscription_id text, plan text, period_start timestamp with time zone, period_end timestamp with time zone, paid numeric, now timestamp with time zone, paid_at timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION grant_period(user_id uuid, subscription_id text, plan text, period_start timestamp with time zone, period_end timestamp with time zone, paid numeric, now timestamp with time zone, paid_at timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.grant_period(user_id uuid, subscription_id text, plan text, period_start timestamp with time zone, period_end timestamp with time zone, paid numeric, now timestamp with time zone, paid_at timestamp with time zone) IS 'Grants a paid billing period''s credits, once for each user, subscription and period start. What is left of the period before becomes one rollover lot, older rollover expires. A period that is heard of after a later one rolls over at once. paid_at is when it was paid (null: now): where that was within the grace, what has expired since rolls over too. paid is US dollars received for the period. Returns the lot. Locks the user''s row. Spec 4.3.';

--
-- Name: grant_purchase(uuid, uuid, numeric, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.grant_purchase(user_id uuid, purchase_id uuid, paid_amount numeric, now timestamp with time zone) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  purchase public.purchases;
  lot_id uuid;
begin
  perform from public.users u where u.id = grant_purchase.user_id for no key update;
  select p.* into purchase from public.purchases p where p.user_id = grant_purchase.user_id and p.id = grant_purchase.purchase_id;
  if not found then
    raise exception 'purchase % is unknown', grant_purchase.purchase_id using errcode = 'PR404', detail = 'purchase_id';
  end if;
  if grant_purchase.paid_amount is distinct from purchase.price then
    raise exception 'purchase % costs % dollars, % were paid', purchase.id, purchase.price, grant_purchase.paid_amount
      using errcode = 'PR409', detail = 'paid_amount';
  end if;

  lot_id := core.grant_lot(
    grant_purchase.user_id, 'purchased', purchase.credits, 'purchase', 'purchase', purchase.id::text, grant_purchase.now,
    paid_per_credit => round(purchase.price / purchase.credits, 6), purchase_id => purchase.id,
    description => 'Bought pack ' || purchase.pack
  );
  update public.purchases p
  set status = 'paid', paid_amount = grant_purchase.paid_amount, paid_at = grant_purchase.now
  where p.user_id = grant_purchase.user_id and p.id = purchase.id and p.paid_at is null;
  if purchase.refunded_amount + purchase.disputed_amount > 0 then
    perform core.apply_refund(
      grant_purchase.user_id, purchase.id, purchase.refunded_amount, grant_purchase.now, purchase.disputed_amount
    );
  end if;
  return lot_id;
end
$$;

ALTER FUNCTION core.grant_purchase(user_id uuid, purchase_id uuid, paid_amount numeric, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION grant_purchase(user_id uuid, purchase_id uuid, paid_amount numeric, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.grant_purchase(user_id uuid, purchase_id uuid, paid_amount numeric, now timestamp with time zone) IS 'Gives the credits of a purchase that was paid, once, by our own row and never by what the payment says of itself. A refund that became known before is applied. Returns the lot. Errors: PR404 unknown purchase, PR409 another amount. Locks the user''s row. Spec 6.5.';

--
-- Name: guard_price(); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.guard_price() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  -- When the statement's transaction began, so that tstzrange(lower(valid), now()) is no end in the past.
  started timestamptz := transaction_timestamp() + (select s.clock_offset from public.settings s);
begin
  if (to_jsonb(new) - 'valid') <> (to_jsonb(old) - 'valid') or lower(new.valid) <> lower(old.valid)
    or coalesce(upper(new.valid), 'infinity') > coalesce(upper(old.valid), 'infinity')
    or coalesce(upper(new.valid), 'infinity') < least(started, coalesce(upper(old.valid), 'infinity')) then
    raise exception 'a price is never changed, only ended, and not in the past'
      using errcode = 'PR409', detail = 'valid',
        hint = 'update model_prices set valid = tstzrange(lower(valid), now()) where id = …; then insert the new price, or call ops.publish_prices, which does both.';
  end if;
  return new;
end
$$;

ALTER FUNCTION core.guard_price() OWNER TO prpm_owner;

--
-- Name: FUNCTION guard_price(); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.guard_price() IS 'Trigger: refuses an operator''s update of a price but for an earlier end that is not in the past, since runs keep the row that they began under. Privileges keep all columns but valid from operators, with or without it. Errors: PR409. Spec 1.3.';

--
-- Name: guard_transactions(); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.guard_transactions() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  raise exception 'credit_transactions is append-only: % is refused', lower(tg_op)
    using errcode = 'PR403', hint = 'Book the opposite transfer, as ops.grant_credits and ops.revoke_credits do.';
end
$$;

ALTER FUNCTION core.guard_transactions() OWNER TO prpm_owner;

--
-- Name: FUNCTION guard_transactions(); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.guard_transactions() IS 'Refuses to change, delete or truncate transfers, to their owner too. That others cannot is by privilege. Errors: PR403. Spec 4.2.';

--
-- Name: secrets; Type: TABLE; Schema: core; Owner: prpm_owner
--

CREATE TABLE core.secrets (
    only_row boolean DEFAULT true NOT NULL,
    identity_key bytea NOT NULL,
    CONSTRAINT secrets_only_row_check CHECK (only_row)
);

ALTER TABLE core.secrets OWNER TO prpm_owner;

--
-- Name: TABLE secrets; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON TABLE core.secrets IS 'ops. Keys that never leave the database.';

--
-- Name: COLUMN secrets.only_row; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON COLUMN core.secrets.only_row IS 'There is one row.';

--
-- Name: COLUMN secrets.identity_key; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON COLUMN core.secrets.identity_key IS 'Key of signup_claims.identity_hash.';

--
-- Name: hash_identity(text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.hash_identity(identity text) RETURNS bytea
    LANGUAGE sql STABLE STRICT
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT sha256((s.identity_key || convert_to(hash_identity.identity, 'UTF8'::name))) AS sha256
    FROM core.secrets s;
END;

ALTER FUNCTION core.hash_identity(identity text) OWNER TO prpm_owner;

--
-- Name: FUNCTION hash_identity(identity text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.hash_identity(identity text) IS 'The keyed hash under which signup_claims remembers an identity: it can be recognized, not read back. Spec 2.1.';

--
-- Name: judge_throttle(uuid, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.judge_throttle(user_id uuid, now timestamp with time zone) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  u public.users;
  l public.cost_limits_config;
  useful numeric := coalesce(core.cheapest_useful_cost(now), 0);
  month_over boolean;
  day_over boolean;
begin
  select x.* into strict u from public.users x where x.id = judge_throttle.user_id for no key update;
  if u.is_throttled and (u.throttled_by is null or u.throttled_by = 'operator' and coalesce(u.throttled_until > now, true)) then
    return true;
  end if;

  u := core.roll_windows(u, now);
  l := core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now));
  month_over := l.throttle_on_exceed and l.monthly_cost_limit - u.current_month_limited_cost < useful;
  day_over := l.throttle_on_exceed and l.daily_cost_limit - u.current_day_limited_cost < useful;

  if coalesce(u.limits_waived_until > now, false) or not (coalesce(month_over, false) or coalesce(day_over, false)) then
    if u.is_throttled or u.throttled_by is not null then
      update public.users x
      set is_throttled = false, throttled_reason = null, throttled_by = null, throttled_at = null, throttled_until = null
      where x.id = u.id;
    end if;
    return false;
  end if;

  update public.users x
  set
    is_throttled = true,
    throttled_by = 'limit',
    throttled_at = case when u.is_throttled then u.throttled_at else now end,
    throttled_until = case when month_over then u.month_ends_at else u.day_ends_at end,
    throttled_reason = case
      when month_over then format('%s: %s of %s dollars used this month', l.tier_name, trim_scale(round(u.current_month_limited_cost, 6)), l.monthly_cost_limit)
      else format('%s: %s of %s dollars used today', l.tier_name, trim_scale(round(u.current_day_limited_cost, 6)), l.daily_cost_limit)
    end
  where x.id = u.id;
  return true;
end
$$;

ALTER FUNCTION core.judge_throttle(user_id uuid, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION judge_throttle(user_id uuid, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.judge_throttle(user_id uuid, now timestamp with time zone) IS 'Sets or ends the throttle that a cost limit gives: set while a window that throttles is used up, ended when it has closed, the limit was raised, the tier rose or limits are waived. An operator''s throttle is left until lifted or past its end. Returns whether the user is throttled now. Locks the user''s row. Spec 3.4, 3.5.';

--
-- Name: keep_identity(text, text, uuid, text, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.keep_identity(issuer text, subject text, user_id uuid, username text, email text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  previous uuid;
begin
  -- Two first sights at once: the second waits here for the first, then finds its person.
  insert into public.identities as i (issuer, subject, user_id)
  values (keep_identity.issuer, keep_identity.subject, keep_identity.user_id)
  on conflict on constraint identities_pkey do update set user_id = i.user_id
  returning i.user_id into previous;

  if previous <> keep_identity.user_id then
    if exists (select from public.users u where u.id = previous) then
      return false;
    end if;
    update public.identities i
    set user_id = keep_identity.user_id
    where i.issuer = keep_identity.issuer and i.subject = keep_identity.subject;
  end if;
  perform core.create_user(
    keep_identity.user_id, keep_identity.username, keep_identity.email, keep_identity.issuer || E'\n' || keep_identity.subject
  );
  return true;
end
$$;

ALTER FUNCTION core.keep_identity(issuer text, subject text, user_id uuid, username text, email text) OWNER TO prpm_owner;

--
-- Name: FUNCTION keep_identity(issuer text, subject text, user_id uuid, username text, email text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.keep_identity(issuer text, subject text, user_id uuid, username text, email text) IS 'Makes the person for an identity that has none. Returns false where another call made one first. An identity whose person was erased becomes a new one, without sign-up credits. Spec 2.1, 2.2.';

--
-- Name: keep_key(uuid, text, bytea, uuid, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.keep_key(user_id uuid, key text, request_hash bytea, run_id uuid, now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  insert into public.idempotency_keys (user_id, key, request_hash, run_id, created_at)
  values (keep_key.user_id, keep_key.key, keep_key.request_hash, keep_key.run_id, keep_key.now)
  on conflict on constraint idempotency_keys_pkey do update
  set request_hash = excluded.request_hash, run_id = excluded.run_id, created_at = excluded.created_at;
end
$$;

ALTER FUNCTION core.keep_key(user_id uuid, key text, request_hash bytea, run_id uuid, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION keep_key(user_id uuid, key text, request_hash bytea, run_id uuid, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.keep_key(user_id uuid, key text, request_hash bytea, run_id uuid, now timestamp with time zone) IS 'Remembers which run an Idempotency-Key made; one older than 24 hours is taken over. The caller holds the user''s row. Spec 5.3.';

--
-- Name: keep_texts(uuid, uuid, uuid, text, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.keep_texts(user_id uuid, session_id uuid, run_id uuid, question text, answer text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  update public.run_texts t
  set answer = keep_texts.answer
  where t.user_id = keep_texts.user_id and t.session_id = keep_texts.session_id and t.run_id = keep_texts.run_id;
  if not found and keep_texts.question is not null then
    insert into public.run_texts (user_id, session_id, run_id, question, answer)
    values (keep_texts.user_id, keep_texts.session_id, keep_texts.run_id, keep_texts.question, keep_texts.answer);
  end if;
end
$$;

ALTER FUNCTION core.keep_texts(user_id uuid, session_id uuid, run_id uuid, question text, answer text) OWNER TO prpm_owner;

--
-- Name: FUNCTION keep_texts(user_id uuid, session_id uuid, run_id uuid, question text, answer text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.keep_texts(user_id uuid, session_id uuid, run_id uuid, question text, answer text) IS 'Stores what was asked and answered so far. Called under the lock of the run or its user, so that two never insert.';

--
-- Name: limited_part(numeric, bigint, bigint, bigint, boolean); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.limited_part(cost numeric, due bigint, from_included bigint, from_purchased bigint, purchased_alone boolean) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (purchased_alone AND (from_included = 0)) THEN (0)::numeric
             WHEN (from_purchased = 0) THEN cost
             ELSE round(((cost * ((due - from_purchased))::numeric) / (due)::numeric), 12)
         END AS round;
END;

ALTER FUNCTION core.limited_part(cost numeric, due bigint, from_included bigint, from_purchased bigint, purchased_alone boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION limited_part(cost numeric, due bigint, from_included bigint, from_purchased bigint, purchased_alone boolean); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.limited_part(cost numeric, due bigint, from_included bigint, from_purchased bigint, purchased_alone boolean) IS 'US dollars of a run''s cost that count against limits: the share of its credits that were not purchased, what nothing could pay included; nothing where purchased credits alone were held for it. due is what it should be charged. Spec 3.3.';

--
-- Name: make_token(); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.make_token() RETURNS text
    LANGUAGE sql
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT ('prpm_'::text || rtrim(translate(encode(sha256((uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))), 'base64'::text), '+/'::text, '-_'::text), '='::text));
END;

ALTER FUNCTION core.make_token() OWNER TO prpm_owner;

--
-- Name: FUNCTION make_token(); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.make_token() IS 'The text of a new API token: prpm_ and 43 characters that come from the server''s strong random source. Spec 2.2.';

--
-- Name: match_package(public.packages, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.match_package(package public.packages, query text) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (COALESCE(query, ''::text) = ''::text) THEN 0
             WHEN ((package).name = lower(query)) THEN 0
             WHEN starts_with((package).name, lower(query)) THEN 1
             WHEN (strpos((package).name, lower(query)) > 0) THEN 2
             WHEN (lower(query) = ANY ((package).tags)) THEN 3
             WHEN (strpos(lower((package).description), lower(query)) > 0) THEN 4
             WHEN (public.similarity((package).name, lower(query)) > (0.3)::double precision) THEN 5
             ELSE NULL::integer
         END AS "case";
END;

ALTER FUNCTION core.match_package(package public.packages, query text) OWNER TO prpm_owner;

--
-- Name: FUNCTION match_package(package public.packages, query text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.match_package(package public.packages, query text) IS 'How well a package answers a search, 0 best to 5, or null: its whole name, the start of it, a part of it, a tag, the description, a name that is spelled much like it. Spec 10.6.';

--
-- Name: may_publish(uuid, uuid, uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.may_publish(user_id uuid, author_id uuid, organization_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT (COALESCE((author_id = user_id), false) OR (EXISTS ( SELECT
            FROM public.organization_members m
           WHERE ((m.user_id = may_publish.user_id) AND (m.organization_id = may_publish.organization_id) AND (m.role = ANY (ARRAY['owner'::text, 'admin'::text, 'maintainer'::text]))))));
END;

ALTER FUNCTION core.may_publish(user_id uuid, author_id uuid, organization_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION may_publish(user_id uuid, author_id uuid, organization_id uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.may_publish(user_id uuid, author_id uuid, organization_id uuid) IS 'Whether a user may change a package: its author, and its organization''s owners, admins and maintainers. Spec 10.4, 10.6.';

--
-- Name: may_see_package(uuid, text, uuid, uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.may_see_package(user_id uuid, visibility text, author_id uuid, organization_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT (COALESCE((visibility <> 'private'::text), false) OR COALESCE((author_id = user_id), false) OR (EXISTS ( SELECT
            FROM public.organization_members m
           WHERE ((m.user_id = may_see_package.user_id) AND (m.organization_id = may_see_package.organization_id)))));
END;

ALTER FUNCTION core.may_see_package(user_id uuid, visibility text, author_id uuid, organization_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION may_see_package(user_id uuid, visibility text, author_id uuid, organization_id uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.may_see_package(user_id uuid, visibility text, author_id uuid, organization_id uuid) IS 'Whether a user may see a package: any that is not private; a private one its author and the members of its organization. Spec 5.5.';

--
-- Name: move_credits(uuid, uuid, text, text, text, bigint, timestamp with time zone, uuid, uuid, text, text, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.move_credits(user_id uuid, lot_id uuid, type text, debit text, credit text, amount bigint, now timestamp with time zone, run_id uuid DEFAULT NULL::uuid, purchase_id uuid DEFAULT NULL::uuid, subscription_id text DEFAULT NULL::text, description text DEFAULT NULL::text, actor text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  change bigint := case when move_credits.credit = 'lot' then move_credits.amount else -move_credits.amount end;
  lot_kind text;
  number bigint;
  balance bigint;
begin
  update public.credit_lots l
  set remaining = l.remaining + change
  where l.user_id = move_credits.user_id and l.id = move_credits.lot_id
  returning l.kind into strict lot_kind;

  update public.users u
  set
    included_credits = u.included_credits + case when lot_kind = 'purchased' then 0 else change end,
    purchased_credits = u.purchased_credits + case when lot_kind = 'purchased' then change else 0 end,
    transaction_count = u.transaction_count + 1,
    updated_at = move_credits.now
  where u.id = move_credits.user_id
  returning u.transaction_count, u.included_credits + u.purchased_credits into strict number, balance;

  insert into public.credit_transactions
    (user_id, id, type, debit, credit, amount, balance_after, lot_id, run_id, purchase_id, subscription_id, description, actor, created_at)
  values (
    move_credits.user_id, number, move_credits.type, move_credits.debit, move_credits.credit, move_credits.amount, balance,
    move_credits.lot_id, move_credits.run_id, move_credits.purchase_id, move_credits.subscription_id,
    move_credits.description, move_credits.actor, move_credits.now
  );
end
$$;

ALTER FUNCTION core.move_credits(user_id uuid, lot_id uuid, type text, debit text, credit text, amount bigint, now timestamp with time zone, run_id uuid, purchase_id uuid, subscription_id text, description text, actor text) OWNER TO prpm_owner;

--
-- Name: FUNCTION move_credits(user_id uuid, lot_id uuid, type text, debit text, credit text, amount bigint, now timestamp with time zone, run_id uuid, purchase_id uuid, subscription_id text, description text, actor text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.move_credits(user_id uuid, lot_id uuid, type text, debit text, credit text, amount bigint, now timestamp with time zone, run_id uuid, purchase_id uuid, subscription_id text, description text, actor text) IS 'Books one transfer: the row itself, the lot''s remainder and the user''s figures. One of debit and credit is lot. The caller holds the user''s row and calls core.refresh_lots when done. Spec 4.2.';

--
-- Name: nearly_used_up(public.users, public.cost_limits_config, numeric); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.nearly_used_up(u public.users, l public.cost_limits_config, enough numeric) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT COALESCE((GREATEST(((u).current_month_limited_cost - (l).monthly_cost_limit), ((u).current_day_limited_cost - (l).daily_cost_limit)) > (- enough)), false) AS "coalesce";
END;

ALTER FUNCTION core.nearly_used_up(u public.users, l public.cost_limits_config, enough numeric) OWNER TO prpm_owner;

--
-- Name: FUNCTION nearly_used_up(u public.users, l public.cost_limits_config, enough numeric); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.nearly_used_up(u public.users, l public.cost_limits_config, enough numeric) IS 'True where a cost window may be used up, so that core.judge_throttle must look: less than enough US dollars are left of it. Spec 3.4.';

--
-- Name: note_action(text, text, text, json); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.note_action(action text, row_key text, reason text, details json) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if coalesce(btrim(note_action.reason), '') = '' then
    raise exception 'reason is missing' using errcode = 'PR400', detail = 'reason', hint = 'Say why in a few words; it is kept in audit_log.';
  end if;
  insert into public.audit_log (role, table_name, action, row_key, new, reason)
  values (session_user, 'ops.' || note_action.action, 'call', note_action.row_key, note_action.details, note_action.reason);
end
$$;

ALTER FUNCTION core.note_action(action text, row_key text, reason text, details json) OWNER TO prpm_owner;

--
-- Name: FUNCTION note_action(action text, row_key text, reason text, details json); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.note_action(action text, row_key text, reason text, details json) IS 'Writes into audit_log which operator called which action on what, and why. Errors: PR400 without a reason. Spec 12.';

--
-- Name: note_refusal(public.users, json, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.note_refusal(u public.users, refusal json, now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  update public.users x
  set minute_attempts = u.minute_attempts, minute_ends_at = u.minute_ends_at
  where x.id = u.id;
  perform core.count_refusal(u.id, refusal, now);
  if refusal ->> 'code' in ('daily_cost_limit', 'monthly_cost_limit') then
    perform core.judge_throttle(u.id, now);
  end if;
end
$$;

ALTER FUNCTION core.note_refusal(u public.users, refusal json, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION note_refusal(u public.users, refusal json, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.note_refusal(u public.users, refusal json, now timestamp with time zone) IS 'Stores what a refused attempt leaves behind: the minute''s count, the refusal''s count and, where a window is used up, the throttle. A refused run counts for nothing else. Spec 3.2, 3.4, 3.6, 3.7.';

--
-- Name: purchases; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.purchases (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    pack text NOT NULL,
    credits bigint NOT NULL,
    price numeric(12,2) NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    paid_amount numeric(12,2),
    refunded_amount numeric(12,2) DEFAULT 0 NOT NULL,
    credits_taken_back bigint DEFAULT 0 NOT NULL,
    shortfall bigint DEFAULT 0 NOT NULL,
    stripe_payment_intent_id text,
    stripe_checkout_session_id text,
    created_at timestamp with time zone NOT NULL,
    paid_at timestamp with time zone,
    livemode boolean DEFAULT false NOT NULL,
    disputed_amount numeric(12,2) DEFAULT 0 NOT NULL,
    CONSTRAINT purchases_credits_check CHECK ((credits > 0)),
    CONSTRAINT purchases_credits_taken_back_check CHECK ((credits_taken_back >= 0)),
    CONSTRAINT purchases_disputed_amount_check CHECK ((disputed_amount >= (0)::numeric)),
    CONSTRAINT purchases_paid_amount_check CHECK ((paid_amount > (0)::numeric)),
    CONSTRAINT purchases_price_check CHECK ((price > (0)::numeric)),
    CONSTRAINT purchases_refunded_amount_check CHECK ((refunded_amount >= (0)::numeric)),
    CONSTRAINT purchases_shortfall_check CHECK ((shortfall >= 0)),
    CONSTRAINT purchases_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'paid'::text, 'refunded'::text, 'partly_refunded'::text, 'failed'::text, 'expired'::text, 'needs_review'::text])))
);

ALTER TABLE public.purchases OWNER TO prpm_owner;

--
-- Name: TABLE purchases; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.purchases IS 'per-user. Packs bought: what was promised, paid, refunded and taken back (spec 4.6, 6.2).';

--
-- Name: COLUMN purchases.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.user_id IS 'Who bought.';

--
-- Name: COLUMN purchases.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.id IS 'Our own id; the idempotency key at Stripe.';

--
-- Name: COLUMN purchases.pack; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.pack IS 'What.';

--
-- Name: COLUMN purchases.credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.credits IS 'Credits promised.';

--
-- Name: COLUMN purchases.price; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.price IS 'US dollars asked.';

--
-- Name: COLUMN purchases.status; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.status IS 'pending, paid, partly_refunded, refunded, failed, expired or needs_review.';

--
-- Name: COLUMN purchases.paid_amount; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.paid_amount IS 'US dollars received.';

--
-- Name: COLUMN purchases.refunded_amount; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.refunded_amount IS 'US dollars of refunds that neither failed nor were canceled.';

--
-- Name: COLUMN purchases.credits_taken_back; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.credits_taken_back IS 'Credits taken back from its lot for refunds and disputes.';

--
-- Name: COLUMN purchases.shortfall; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.shortfall IS 'Credits that should have been taken back but were spent already.';

--
-- Name: COLUMN purchases.stripe_payment_intent_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.stripe_payment_intent_id IS 'Stripe''s id, or null.';

--
-- Name: COLUMN purchases.stripe_checkout_session_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.stripe_checkout_session_id IS 'Stripe''s id, or null.';

--
-- Name: COLUMN purchases.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.created_at IS 'When it was begun.';

--
-- Name: COLUMN purchases.paid_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.paid_at IS 'When it was paid.';

--
-- Name: COLUMN purchases.livemode; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.livemode IS 'Stripe''s mode that it belongs to.';

--
-- Name: COLUMN purchases.disputed_amount; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.purchases.disputed_amount IS 'US dollars of disputes that are open or lost.';

--
-- Name: subscription_periods; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.subscription_periods (
    user_id uuid NOT NULL,
    subscription_id text NOT NULL,
    period_start timestamp with time zone NOT NULL,
    period_end timestamp with time zone NOT NULL,
    plan text NOT NULL,
    state text NOT NULL,
    invoice_id text,
    payment_id text,
    credits bigint DEFAULT 0 NOT NULL,
    paid_amount numeric(12,2) DEFAULT 0 NOT NULL,
    refunded_amount numeric(12,2) DEFAULT 0 NOT NULL,
    disputed_amount numeric(12,2) DEFAULT 0 NOT NULL,
    credits_taken_back bigint DEFAULT 0 NOT NULL,
    shortfall bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    paid_at timestamp with time zone,
    CONSTRAINT subscription_periods_credits_check CHECK ((credits >= 0)),
    CONSTRAINT subscription_periods_credits_taken_back_check CHECK ((credits_taken_back >= 0)),
    CONSTRAINT subscription_periods_disputed_amount_check CHECK ((disputed_amount >= (0)::numeric)),
    CONSTRAINT subscription_periods_paid_amount_check CHECK ((paid_amount >= (0)::numeric)),
    CONSTRAINT subscription_periods_refunded_amount_check CHECK ((refunded_amount >= (0)::numeric)),
    CONSTRAINT subscription_periods_shortfall_check CHECK ((shortfall >= 0)),
    CONSTRAINT subscription_periods_state_check CHECK ((state = ANY (ARRAY['due'::text, 'paid'::text])))
);

ALTER TABLE public.subscription_periods OWNER TO prpm_owner;

--
-- Name: TABLE subscription_periods; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.subscription_periods IS 'per-user. Billing periods: due when Stripe has moved to them, paid when their invoice is; only paid ones grant (spec 4.3).';

--
-- Name: COLUMN subscription_periods.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.user_id IS 'Whose.';

--
-- Name: COLUMN subscription_periods.subscription_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.subscription_id IS 'Stripe''s id of the subscription.';

--
-- Name: COLUMN subscription_periods.period_start; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.period_start IS 'Start, by the invoice''s line or the subscription''s item.';

--
-- Name: COLUMN subscription_periods.period_end; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.period_end IS 'Its end.';

--
-- Name: COLUMN subscription_periods.plan; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.plan IS 'What was paid for in it.';

--
-- Name: COLUMN subscription_periods.state; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.state IS 'due: awaited; paid: by money, coupon or balance.';

--
-- Name: COLUMN subscription_periods.invoice_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.invoice_id IS 'Stripe''s id of the invoice that paid it.';

--
-- Name: COLUMN subscription_periods.payment_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.payment_id IS 'Stripe''s id of the payment intent, or null where no money was needed or it is not known yet.';

--
-- Name: COLUMN subscription_periods.credits; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.credits IS 'Credits granted for it.';

--
-- Name: COLUMN subscription_periods.paid_amount; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.paid_amount IS 'US dollars received for it.';

--
-- Name: COLUMN subscription_periods.refunded_amount; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.refunded_amount IS 'US dollars of refunds that neither failed nor were canceled.';

--
-- Name: COLUMN subscription_periods.disputed_amount; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.disputed_amount IS 'US dollars of disputes that are open or lost.';

--
-- Name: COLUMN subscription_periods.credits_taken_back; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.credits_taken_back IS 'Credits taken back for refunds and disputes.';

--
-- Name: COLUMN subscription_periods.shortfall; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.shortfall IS 'Credits that should have been taken back but were spent already.';

--
-- Name: COLUMN subscription_periods.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.created_at IS 'When it was first heard of.';

--
-- Name: COLUMN subscription_periods.paid_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.subscription_periods.paid_at IS 'When it was known to be paid.';

--
-- Name: owes_credits(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.owes_credits(user_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT ((EXISTS ( SELECT
            FROM (public.purchases p
              JOIN public.credit_lots l ON (((l.user_id = p.user_id) AND (l.source = 'purchase'::text) AND (l.source_id = (p.id)::text))))
           WHERE ((p.user_id = owes_credits.user_id) AND (p.shortfall > 0) AND (l.remaining > 0)))) OR (EXISTS ( SELECT
            FROM (public.subscription_periods p
              JOIN public.credit_lots l ON (((l.user_id = p.user_id) AND (l.source = ANY (ARRAY['subscription'::text, 'rollover'::text])) AND (l.source_id = ((p.subscription_id || '/'::text) || (EXTRACT(epoch FROM p.period_start))::bigint)))))
           WHERE ((p.user_id = owes_credits.user_id) AND (p.shortfall > 0) AND (l.remaining > 0)))));
END;

ALTER FUNCTION core.owes_credits(user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION owes_credits(user_id uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.owes_credits(user_id uuid) IS 'True while a refund could take back more as soon as a run lets go of its hold. Spec 4.5, 4.6.';

--
-- Name: plan_of_price(text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.plan_of_price(price_id text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT p.plan
    FROM public.plans p
   WHERE (p.stripe_price_id = plan_of_price.price_id);
END;

ALTER FUNCTION core.plan_of_price(price_id text) OWNER TO prpm_owner;

--
-- Name: FUNCTION plan_of_price(price_id text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.plan_of_price(price_id text) IS 'The plan that a price at Stripe sells; null for an unknown one. Spec 2.4.';

--
-- Name: put_suggested_inputs(uuid, uuid, json); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.put_suggested_inputs(package_id uuid, user_id uuid, inputs json) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  wrong text;
  input record;
begin
  if json_typeof(inputs) is distinct from 'array' or json_array_length(inputs) > 50 then
    raise exception 'suggested inputs are a list of at most 50' using errcode = 'PR400', detail = 'suggested_inputs';
  end if;
  for input in
    select i.ordinality::integer - 1 as place, x.*
    from json_array_elements(inputs) with ordinality i,
      json_to_record(i.value) x(
        title text, description text, suggested_input text, category text, difficulty text,
        estimated_credits integer, recommended_model text, display_order integer
      )
  loop
    update public.suggested_inputs s
    set
      description = input.description, suggested_input = input.suggested_input, category = input.category,
      difficulty = coalesce(input.difficulty, 'beginner'), estimated_credits = coalesce(input.estimated_credits, 1),
      recommended_model = input.recommended_model, display_order = coalesce(input.display_order, input.place)
    where s.package_id = put_suggested_inputs.package_id and s.title = input.title and s.is_active;
    if not found then
      insert into public.suggested_inputs
        (package_id, title, description, suggested_input, category, difficulty, estimated_credits, recommended_model, display_order, created_by, created_at)
      values (
        put_suggested_inputs.package_id, input.title, input.description, input.suggested_input, input.category,
        coalesce(input.difficulty, 'beginner'), coalesce(input.estimated_credits, 1), input.recommended_model,
        coalesce(input.display_order, input.place), put_suggested_inputs.user_id, core.now()
      );
    end if;
  end loop;
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics wrong = message_text;
    raise exception 'a suggested input is not as it should be: %', wrong
      using errcode = 'PR400', detail = 'suggested_inputs',
        hint = 'title (1 to 100 characters) and suggested_input (1 to 10,000) are needed; recommended_model is a model''s alias.';
end
$$;

ALTER FUNCTION core.put_suggested_inputs(package_id uuid, user_id uuid, inputs json) OWNER TO prpm_owner;

--
-- Name: FUNCTION put_suggested_inputs(package_id uuid, user_id uuid, inputs json); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.put_suggested_inputs(package_id uuid, user_id uuid, inputs json) IS 'Adds suggested inputs to a package, or changes those of the same title; others stay as they are. inputs is a JSON array of {title, suggested_input, description?, category?, difficulty?, estimated_credits?, recommended_model?, display_order? (else the place in the list)}. Errors: PR400 naming suggested_inputs. Spec 10.4.';

--
-- Name: record_change(); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.record_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
  is_now jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
  key text := coalesce(is_now, was) ->> tg_argv[0];
begin
  if tg_op = 'UPDATE' then
    select
      jsonb_object_agg(o.key, o.value) filter (where o.value is distinct from n.value),
      jsonb_object_agg(n.key, n.value) filter (where o.value is distinct from n.value)
    into was, is_now
    from jsonb_each(was) o
    join jsonb_each(is_now) n on n.key = o.key;
    if was is null then
      return null;
    end if;
  end if;
  insert into public.audit_log (role, table_name, action, row_key, old, new)
  values (session_user, tg_table_name, lower(tg_op), key, was, is_now);
  return null;
end
$$;

ALTER FUNCTION core.record_change() OWNER TO prpm_owner;

--
-- Name: FUNCTION record_change(); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.record_change() IS 'Trigger: writes to the audit log who changed a row by plain SQL, with the columns that changed, before and after. Its argument is the column that names the row. It only watches. Spec 12.';

--
-- Name: refresh_entitlement(uuid, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.refresh_entitlement(user_id uuid, now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  grace interval := (select s.grace_days * interval '24 hours' from public.settings s);
  best record;
  word text;
  was_throttled boolean;
begin
  select x.until, x.tier_name into best
  from (
    select
      p.tier_name,
      case state.entitles
        when 'trial' then s.trial_end
        when 'while_paid' then paid.until + case when s.collection_paused or s.cancel_at <= paid.until then interval '0' else grace end
        when 'grace' then greatest(paid.until, coalesce(s.unpaid_since, s.current_period_start) + grace)
        when 'paid_out' then case when s.money_back then least(paid.until, s.ended_at) else paid.until end
      end as until
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status
    left join lateral (
      select max(q.period_end) as until, (array_agg(q.plan order by q.period_start desc))[1] as plan
      from public.subscription_periods q
      where q.user_id = s.user_id and q.subscription_id = s.id and q.state = 'paid'
    ) paid on true
    join public.plans p on p.plan = coalesce(paid.plan, s.plan)
    where s.user_id = refresh_entitlement.user_id and not s.superseded
      -- Who never paid a period has no plan, whatever Stripe calls the state.
      and (state.entitles = 'trial' or paid.until is not null)
  ) x
  where x.until > refresh_entitlement.now
  order by x.until desc, x.tier_name
  limit 1;

  select s.status into word
  from public.subscriptions s
  where s.user_id = refresh_entitlement.user_id and not s.superseded
  order by s.stripe_created_at desc nulls last, s.id desc
  limit 1;

  update public.users u set
    prpm_plus_status = case when best.until is not null then 'active' else word end,
    plan_tier = case when best.until is not null then best.tier_name end,
    entitled_until = best.until,
    updated_at = refresh_entitlement.now
  where u.id = refresh_entitlement.user_id
  returning u.is_throttled into was_throttled;
  if was_throttled then
    perform core.judge_throttle(refresh_entitlement.user_id, refresh_entitlement.now);
  end if;
end
$$;

ALTER FUNCTION core.refresh_entitlement(user_id uuid, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION refresh_entitlement(user_id uuid, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.refresh_entitlement(user_id uuid, now timestamp with time zone) IS 'Works out anew, from a user''s subscriptions and their paid periods, which tier they have and until when (users.plan_tier, entitled_until, prpm_plus_status), and lifts a throttle that no longer stands. The caller holds the user''s row. Spec 2.5.';

--
-- Name: refresh_lots(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.refresh_lots(user_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  first_lot uuid;
  expiry timestamptz;
begin
  select l.id into first_lot
  from public.credit_lots l
  where l.user_id = refresh_lots.user_id and l.remaining > 0
  order by core.spend_rank(l.kind), l.expires_at, l.created_at, l.id
  limit 1;

  select coalesce(min(l.expires_at), 'infinity') into expiry
  from public.credit_lots l
  where l.user_id = refresh_lots.user_id and l.remaining > 0;

  if core.owes_credits(refresh_lots.user_id) then
    expiry := '-infinity';
  end if;

  update public.users u
  set spend_lot = first_lot, next_lot_expiry = expiry
  where u.id = refresh_lots.user_id;
end
$$;

ALTER FUNCTION core.refresh_lots(user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION refresh_lots(user_id uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.refresh_lots(user_id uuid) IS 'Sets which lot is spent first and when core.tidy_lots has work next (at once while a refund waits for credits that a run holds). The caller holds the user''s row.';

--
-- Name: refresh_view(regclass); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.refresh_view(view regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if (select c.relispopulated from pg_catalog.pg_class c where c.oid = view) then
    execute format('refresh materialized view concurrently %s', view);
  else
    execute format('refresh materialized view %s', view);
  end if;
end
$$;

ALTER FUNCTION core.refresh_view(view regclass) OWNER TO prpm_owner;

--
-- Name: FUNCTION refresh_view(view regclass); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.refresh_view(view regclass) IS 'Refreshes a materialized view while others read it; one that was never filled (as after a restore of the schema alone) is filled. The caller owns it. Spec 8.1.';

--
-- Name: refuse_by_model(text, public.models, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.refuse_by_model(asked text, m public.models, now timestamp with time zone) RETURNS json
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN ((m).alias IS NULL) THEN core.describe_refusal('model_not_found'::text, 404, format('There is no model %s. The models are: %s.'::text, COALESCE(asked, '(default)'::text), ( SELECT string_agg(x.alias, ', '::text ORDER BY x.alias) AS string_agg
                FROM public.models x
               WHERE x.enabled)), now)
             WHEN (NOT (m).enabled) THEN core.describe_refusal('model_disabled'::text, 409, format('Model %s is switched off. The models are: %s.'::text, (m).alias, ( SELECT string_agg(x.alias, ', '::text ORDER BY x.alias) AS string_agg
                FROM public.models x
               WHERE x.enabled)), now)
             ELSE core.describe_refusal('model_not_priced'::text, 503, format('Model %s has no price now, so it cannot be run. Please choose another.'::text, (m).alias), now)
         END AS describe_refusal;
END;

ALTER FUNCTION core.refuse_by_model(asked text, m public.models, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION refuse_by_model(asked text, m public.models, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.refuse_by_model(asked text, m public.models, now timestamp with time zone) IS 'Why a model cannot be run: unknown, disabled, or without a price now. Spec 1.2, 1.3.';

--
-- Name: refuse_by_package(uuid, text, text, uuid, text, uuid, uuid, text, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.refuse_by_package(user_id uuid, asked text, asked_version text, package_id uuid, visibility text, author_id uuid, organization_id uuid, version text, now timestamp with time zone) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
  if refuse_by_package.package_id is null
    or not core.may_see_package(
      refuse_by_package.user_id, refuse_by_package.visibility, refuse_by_package.author_id, refuse_by_package.organization_id
    )
  then
    return core.describe_refusal('package_not_found', 404, format('There is no package %s.', left(asked, 100)), now);
  elsif refuse_by_package.version is null then
    return core.describe_refusal('version_not_found', 404,
      format('Package %s has no version %s.', left(asked, 100), coalesce(left(asked_version, 50), 'yet')), now);
  end if;
  return null;
end
$$;

ALTER FUNCTION core.refuse_by_package(user_id uuid, asked text, asked_version text, package_id uuid, visibility text, author_id uuid, organization_id uuid, version text, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION refuse_by_package(user_id uuid, asked text, asked_version text, package_id uuid, visibility text, author_id uuid, organization_id uuid, version text, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.refuse_by_package(user_id uuid, asked text, asked_version text, package_id uuid, visibility text, author_id uuid, organization_id uuid, version text, now timestamp with time zone) IS 'Why a package or version cannot be run by this user: unknown, or private and neither theirs nor their organization''s; null if it can. Spec 5.5.';

--
-- Name: refuse_by_size(public.users, public.cost_limits_config, public.settings, public.models, numeric, numeric, numeric, integer, integer, integer, integer, boolean, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.refuse_by_size(u public.users, l public.cost_limits_config, s public.settings, m public.models, input_price numeric, output_price numeric, prompt_multiplier numeric, estimated_input integer, held_input integer, wanted integer, useful integer, windows_hold boolean, now timestamp with time zone) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  day_left numeric := case when windows_hold then l.daily_cost_limit - u.current_day_limited_cost end;
  month_left numeric := case when windows_hold then l.monthly_cost_limit - u.current_month_limited_cost end;
  room integer := least(s.max_request_tokens, m.context_tokens) - estimated_input;
  balance bigint := u.included_credits + u.purchased_credits;
  free bigint := balance - u.held_included - u.held_purchased;
  needed bigint := core.charge_for(held_input + useful, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier);
  needed_cost numeric := (held_input * input_price + useful * output_price) * 0.000001;
  fit record;
begin
  if room < useful then
    return core.describe_refusal('request_too_large', 413,
      format('The request has about %s tokens of input; with at least %s of output it would exceed %s. Cut about %s tokens of input.',
        estimated_input, useful, estimated_input + room, useful - room), now,
      estimated_input + room, estimated_input, unit => 'tokens',
      details => json_build_object('input_tokens', estimated_input, 'min_output_tokens', useful, 'cut_tokens', useful - room));
  end if;

  -- Would it fit if nothing else were running?
  fit := core.fit_run(held_input, wanted, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier, input_price, output_price,
    u.included_credits, u.purchased_credits, least(day_left, month_left), s.purchased_cost_per_credit_cap);
  if fit.output_cap >= useful then
    return core.describe_refusal('held_by_other_runs', 429,
      'Your other runs hold what this one needs. Try again when they have ended.', now,
      balance, balance - free, unit => 'credits', held => u.held_included + u.held_purchased, retry_at => now + interval '5 seconds',
      details => json_build_object('running', cardinality(u.open_runs)));
  elsif balance < needed then
    return core.describe_refusal('insufficient_credits', 402,
      format('Insufficient credits. Need %s but have %s', needed, free), now,
      required_credits => needed, available_credits => free);
  elsif u.included_credits > 0 and month_left < needed_cost then
    return core.describe_refusal('monthly_cost_limit', 429,
      format('Tier %s allows %s dollars a month; what is left cannot bear this run. Try a shorter one or a cheaper model, or wait for the next month.',
        l.tier_name, l.monthly_cost_limit), now,
      l.monthly_cost_limit, u.current_month_limited_cost, u.month_held_cost, 'dollars', u.month_ends_at);
  elsif u.included_credits > 0 and day_left < needed_cost then
    return core.describe_refusal('daily_cost_limit', 429,
      format('Tier %s allows %s dollars a day; what is left cannot bear this run. Try a shorter one or a cheaper model, or wait for tomorrow.',
        l.tier_name, l.daily_cost_limit), now,
      l.daily_cost_limit, u.current_day_limited_cost, u.day_held_cost, 'dollars', u.day_ends_at);
  end if;
  return core.describe_refusal('purchased_credit_cost', 409,
    'This model costs more than a purchased credit may pay for. Try a shorter request or a cheaper model.', now,
    s.purchased_cost_per_credit_cap, unit => 'dollars per credit');
end
$$;

ALTER FUNCTION core.refuse_by_size(u public.users, l public.cost_limits_config, s public.settings, m public.models, input_price numeric, output_price numeric, prompt_multiplier numeric, estimated_input integer, held_input integer, wanted integer, useful integer, windows_hold boolean, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION refuse_by_size(u public.users, l public.cost_limits_config, s public.settings, m public.models, input_price numeric, output_price numeric, prompt_multiplier numeric, estimated_input integer, held_input integer, wanted integer, useful integer, windows_hold boolean, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.refuse_by_size(u public.users, l public.cost_limits_config, s public.settings, m public.models, input_price numeric, output_price numeric, prompt_multiplier numeric, estimated_input integer, held_input integer, wanted integer, useful integer, windows_hold boolean, now timestamp with time zone) IS 'Why no useful answer fits: the request is too large, other runs hold what is needed, credits lack, or a cost window is too full. Called when core.fit_run found less than useful tokens. Spec 1.5, 3.2.';

--
-- Name: refuse_by_standing(public.users, public.cost_limits_config, boolean, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.refuse_by_standing(u public.users, l public.cost_limits_config, runs_enabled boolean, now timestamp with time zone) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
  if u.closed_at is not null then
    return core.describe_refusal('account_closed', 403, 'This account is closed.', now);
  elsif l.tier_name is null then
    return core.describe_refusal('tier_not_configured', 503,
      format('Tier %s has no row in cost_limits_config; the operator must add one.', core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now)), now);
  elsif u.minute_attempts > l.minute_request_limit then
    return core.describe_refusal('rate_limited', 429,
      format('At most %s attempts a minute. Try again when the minute is over.', l.minute_request_limit), now,
      l.minute_request_limit, u.minute_attempts, unit => 'attempts', retry_at => u.minute_ends_at);
  elsif not runs_enabled then
    return core.describe_refusal('runs_disabled', 503, 'Runs are switched off for the moment.', now, retry_at => now + interval '1 minute');
  elsif l.paused_until > now then
    return core.describe_refusal('tier_budget', 429,
      format('Tier %s as a whole has used up its budget of today. Try again tomorrow, or subscribe.', l.tier_name), now,
      retry_at => l.paused_until);
  elsif u.is_throttled and (u.throttled_by is null or u.throttled_by = 'operator' and coalesce(u.throttled_until > now, true)) then
    return core.describe_refusal('throttled', 403,
      'This account is held by an operator' || coalesce(': ' || u.throttled_reason, '') || '. Please contact support.', now,
      retry_at => case when u.throttled_by = 'operator' then u.throttled_until end);
  elsif u.hour_requests >= l.hourly_request_limit then
    return core.describe_refusal('hourly_request_limit', 429,
      format('Tier %s allows %s runs an hour. Try again when the hour is over.', l.tier_name, l.hourly_request_limit), now,
      l.hourly_request_limit, u.hour_requests, unit => 'runs', retry_at => u.hour_ends_at);
  end if;
  return null;
end
$$;

ALTER FUNCTION core.refuse_by_standing(u public.users, l public.cost_limits_config, runs_enabled boolean, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION refuse_by_standing(u public.users, l public.cost_limits_config, runs_enabled boolean, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.refuse_by_standing(u public.users, l public.cost_limits_config, runs_enabled boolean, now timestamp with time zone) IS 'Why this user can run nothing now, whatever they ask for: account, tier and its budget, rate, operator''s throttle, hourly runs; null if nothing stands in the way. The row''s windows are rolled. Spec 3.1, 3.2, 3.4, 3.6.';

--
-- Name: refuse_run(public.users, public.cost_limits_config, json, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.refuse_run(u public.users, l public.cost_limits_config, refusal json, now timestamp with time zone) RETURNS core.begun_run
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION core.refuse_run(u public.users, l public.cost_limits_config, refusal json, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION refuse_run(u public.users, l public.cost_limits_config, refusal json, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.refuse_run(u public.users, l public.cost_limits_config, refusal json, now timestamp with time zone) IS 'Stores what a refused attempt leaves behind and writes api.begin_run''s answer to it. The caller holds the user''s row. Spec 3.2, 3.6.';

--
-- Name: refuse_sale(uuid, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.refuse_sale(user_id uuid, now timestamp with time zone) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  s public.settings := (select x from public.settings x);
begin
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

ALTER FUNCTION core.refuse_sale(user_id uuid, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION refuse_sale(user_id uuid, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.refuse_sale(user_id uuid, now timestamp with time zone) IS 'Why nothing can be sold to a user now: purchases are switched off, or a lost dispute left a shortfall. Null: nothing stands in the way. Spec 3.6, 4.6.';

--
-- Name: reopen_run(public.runs, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.reopen_run(r public.runs, now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  u public.users;
  t record;
  purchased_alone boolean;
begin
  -- Give back what the expiry charged, newest transfer first, to the lots it came from.
  for t in
    select x.lot_id, x.amount
    from public.credit_transactions x
    where x.user_id = r.user_id and x.run_id = r.id and x.type = 'spend'
    order by x.id desc
  loop
    perform core.move_credits(
      r.user_id, t.lot_id, 'refund', 'spent', 'lot', t.amount, reopen_run.now, run_id => r.id,
      description => 'The run was not dead: charged anew by what it really used'
    );
  end loop;

  -- Unbook its cost, and let it hold no more than what it gave back and is still free.
  select x.* into strict u from public.users x where x.id = r.user_id;
  u := core.roll_windows(u, reopen_run.now);
  u.lifetime_api_cost := u.lifetime_api_cost - r.cost;
  if r.started_at >= u.day_ends_at - interval '24 hours' then
    u.current_day_api_cost := u.current_day_api_cost - r.cost;
    u.current_day_limited_cost := u.current_day_limited_cost - r.limited_cost;
  end if;
  if r.started_at >= (u.month_ends_at at time zone 'UTC' - interval '1 month') at time zone 'UTC' then
    u.current_month_api_cost := u.current_month_api_cost - r.cost;
    u.current_month_limited_cost := u.current_month_limited_cost - r.limited_cost;
  end if;
  purchased_alone := r.hold_included = 0;
  r.hold_included := least(r.hold_included, greatest(0, u.included_credits - u.held_included));
  r.hold_purchased := case
    when r.hold_included = 0 and not purchased_alone then 0 -- or its cost would no longer count against limits
    else least(r.hold_purchased, greatest(0, u.purchased_credits - u.held_purchased))
  end;

  update public.users x set
    current_day_api_cost = u.current_day_api_cost, current_day_limited_cost = u.current_day_limited_cost,
    day_held_cost = u.day_held_cost, day_ends_at = u.day_ends_at,
    current_month_api_cost = u.current_month_api_cost, current_month_limited_cost = u.current_month_limited_cost,
    month_held_cost = u.month_held_cost, month_ends_at = u.month_ends_at, current_month_requests = u.current_month_requests,
    hour_requests = u.hour_requests, hour_ends_at = u.hour_ends_at, lifetime_api_cost = u.lifetime_api_cost,
    held_included = u.held_included + r.hold_included, held_purchased = u.held_purchased + r.hold_purchased,
    open_runs = u.open_runs || r.id, holds_expire_at = least(u.holds_expire_at, reopen_run.now)
  where x.id = u.id;
  update public.runs x set
    status = 'running', cost = 0, limited_cost = 0, credits = 0, shortfall = 0, credits_by_kind = null, error = null, error_reason = null,
    finished_at = null, hold_included = r.hold_included, hold_purchased = r.hold_purchased, hold_cost = 0
  where x.user_id = r.user_id and x.id = r.id;
  perform core.refresh_lots(r.user_id);
end
$$;

ALTER FUNCTION core.reopen_run(r public.runs, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION reopen_run(r public.runs, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.reopen_run(r public.runs, now timestamp with time zone) IS 'Undoes what an expiry booked for a run, credits and cost, so that it can be settled by what it really used in the same transaction. Its hold is what is free by now. The caller holds the user''s row. Spec 5.3.';

--
-- Name: restore_expired(uuid, uuid, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.restore_expired(user_id uuid, lot_id uuid, now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  expired bigint;
begin
  select sum(case when t.credit = 'expired' then t.amount else -t.amount end) into expired
  from public.credit_transactions t
  where t.user_id = restore_expired.user_id and t.lot_id = restore_expired.lot_id and t.type = 'expire';
  if expired > 0 then
    perform core.move_credits(
      restore_expired.user_id, restore_expired.lot_id, 'expire', 'expired', 'lot', expired, restore_expired.now,
      description => 'Had expired, but the next period was paid in time'
    );
  end if;
end
$$;

ALTER FUNCTION core.restore_expired(user_id uuid, lot_id uuid, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION restore_expired(user_id uuid, lot_id uuid, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.restore_expired(user_id uuid, lot_id uuid, now timestamp with time zone) IS 'Takes back that a lot''s credits had expired. The caller holds the user''s row and says what becomes of them. Spec 4.3.';

--
-- Name: reversals; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.reversals (
    user_id uuid NOT NULL,
    id text NOT NULL,
    payment_id text NOT NULL,
    kind text NOT NULL,
    reversed_amount numeric(12,2) NOT NULL,
    status text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT reversals_kind_check CHECK ((kind = ANY (ARRAY['refund'::text, 'dispute'::text]))),
    CONSTRAINT reversals_reversed_amount_check CHECK ((reversed_amount >= (0)::numeric))
);

ALTER TABLE public.reversals OWNER TO prpm_owner;

--
-- Name: TABLE reversals; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.reversals IS 'per-user. Refunds and disputes by Stripe''s ids. What takes credits back is the sum of those that stand: their order never matters (spec 4.6).';

--
-- Name: COLUMN reversals.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.reversals.user_id IS 'Whose payment.';

--
-- Name: COLUMN reversals.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.reversals.id IS 'Stripe''s id of the refund or dispute.';

--
-- Name: COLUMN reversals.payment_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.reversals.payment_id IS 'Stripe''s id of the payment intent.';

--
-- Name: COLUMN reversals.kind; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.reversals.kind IS 'refund or dispute.';

--
-- Name: COLUMN reversals.reversed_amount; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.reversals.reversed_amount IS 'US dollars.';

--
-- Name: COLUMN reversals.status; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.reversals.status IS 'Stripe''s own word.';

--
-- Name: COLUMN reversals.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.reversals.created_at IS 'First sight.';

--
-- Name: COLUMN reversals.updated_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.reversals.updated_at IS 'Last change.';

--
-- Name: reversed_of(uuid, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.reversed_of(user_id uuid, payment_id text, OUT refunded numeric, OUT disputed numeric) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT COALESCE(sum(r.reversed_amount) FILTER (WHERE ((r.kind = 'refund'::text) AND (r.status <> ALL (ARRAY['failed'::text, 'canceled'::text])))), (0)::numeric) AS "coalesce",
     COALESCE(sum(r.reversed_amount) FILTER (WHERE ((r.kind = 'dispute'::text) AND (r.status <> ALL (ARRAY['won'::text, 'prevented'::text, 'warning_closed'::text, 'warning_needs_response'::text, 'warning_under_review'::text])))), (0)::numeric) AS "coalesce"
    FROM public.reversals r
   WHERE ((r.user_id = reversed_of.user_id) AND (r.payment_id = reversed_of.payment_id));
END;

ALTER FUNCTION core.reversed_of(user_id uuid, payment_id text, OUT refunded numeric, OUT disputed numeric) OWNER TO prpm_owner;

--
-- Name: FUNCTION reversed_of(user_id uuid, payment_id text, OUT refunded numeric, OUT disputed numeric); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.reversed_of(user_id uuid, payment_id text, OUT refunded numeric, OUT disputed numeric) IS 'US dollars of a payment that refunds took (those neither failed nor canceled), and that disputes hold or took (not won, prevented or a mere warning). Spec 4.6.';

--
-- Name: roll_over(uuid, uuid, bigint, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.roll_over(user_id uuid, from_lot uuid, amount bigint, now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  old public.credit_lots;
  target public.credit_lots;
  cap bigint;
  rolled bigint;
begin
  select l.* into strict old from public.credit_lots l where l.user_id = roll_over.user_id and l.id = roll_over.from_lot;
  select s.max_rollover_credits into cap from public.settings s;
  select l.* into target from public.credit_lots l where l.user_id = roll_over.user_id and l.id = old.rolls_into;

  rolled := least(roll_over.amount, greatest(0, cap - coalesce(target.granted, 0)));
  if rolled > 0 then
    perform core.move_credits(
      roll_over.user_id, old.id, 'rollover', 'lot', 'issued', rolled, roll_over.now, description => 'Rolled over to the next period'
    );
    if target.id is null then
      insert into public.credit_lots
        (user_id, id, kind, granted, remaining, expires_at, paid_per_credit, source, source_id, period_start, period_end, created_at)
      values (
        roll_over.user_id, old.rolls_into, 'rollover', rolled, 0,
        (old.period_end at time zone 'UTC' + interval '1 month') at time zone 'UTC', old.paid_per_credit,
        'rollover', old.source_id, old.period_start, old.period_end, roll_over.now
      );
    else
      update public.credit_lots l set granted = l.granted + rolled where l.user_id = roll_over.user_id and l.id = target.id;
    end if;
    perform core.move_credits(
      roll_over.user_id, old.rolls_into, 'rollover', 'issued', 'lot', rolled, roll_over.now, description => 'Rolled over from the last period'
    );
  end if;
  if roll_over.amount > rolled then
    perform core.move_credits(
      roll_over.user_id, old.id, 'expire', 'lot', 'expired', roll_over.amount - rolled, roll_over.now,
      description => 'Above the most that rolls over'
    );
  end if;
end
$$;

ALTER FUNCTION core.roll_over(user_id uuid, from_lot uuid, amount bigint, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION roll_over(user_id uuid, from_lot uuid, amount bigint, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.roll_over(user_id uuid, from_lot uuid, amount bigint, now timestamp with time zone) IS 'Moves credits of an ended period''s lot to the rollover lot that it names (rolls_into), up to settings.max_rollover_credits in all, and books the rest as expired. The rollover lot expires one month after that period''s end. The caller holds the user''s row. Spec 4.3.';

--
-- Name: settle_again(public.runs, text, boolean, integer, integer, integer, integer, boolean, text, text, text, text, integer, integer, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.settle_again(r public.runs, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer, now timestamp with time zone) RETURNS core.receipt
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION core.settle_again(r public.runs, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION settle_again(r public.runs, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.settle_again(r public.runs, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer, now timestamp with time zone) IS 'Answers a settlement of a run that has ended: the receipt as it stands. But if the run had been taken for dead (expired) and its server comes back with what really happened, that is booked in place of the expiry''s guess. The caller holds the user''s row. Spec 5.3.';

--
-- Name: settle_payment(uuid, text, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.settle_payment(user_id uuid, payment_id text, now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  payment public.payments;
  gone record;
begin
  select p.* into payment from public.payments p where p.user_id = settle_payment.user_id and p.id = settle_payment.payment_id;
  if not found or payment.needs_review is not null then
    return;
  end if;
  select r.* into gone from core.reversed_of(payment.user_id, payment.id) r;
  if payment.kind = 'pack' then
    perform core.apply_refund(payment.user_id, payment.purchase_id, least(gone.refunded, payment.paid_amount), settle_payment.now, gone.disputed);
  elsif payment.kind = 'subscription' then
    perform core.apply_period_refund(
      payment.user_id, payment.subscription_id, payment.period_start, least(gone.refunded, payment.paid_amount), gone.disputed, settle_payment.now
    );
  end if;
end
$$;

ALTER FUNCTION core.settle_payment(user_id uuid, payment_id text, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION settle_payment(user_id uuid, payment_id text, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.settle_payment(user_id uuid, payment_id text, now timestamp with time zone) IS 'Makes what a payment bought agree with its refunds and disputes that stand, in whatever order they became known. The caller holds the user''s row. Spec 4.6.';

--
-- Name: spend_lots(public.users, uuid, bigint, bigint, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.spend_lots(u public.users, run_id uuid, from_included bigint, from_purchased bigint, now timestamp with time zone, OUT by_kind jsonb, OUT transaction_count bigint, OUT spend_lot uuid, OUT next_lot_expiry timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  lot record;
  owed bigint[] := array[from_included, from_purchased];
  class integer;
  part bigint;
  balance bigint := u.included_credits + u.purchased_credits;
begin
  by_kind := '{}';
  transaction_count := u.transaction_count;
  next_lot_expiry := 'infinity';

  for lot in
    select l.id, l.kind, l.remaining, l.expires_at
    from public.credit_lots l
    where l.user_id = u.id and l.remaining > 0
    order by core.spend_rank(l.kind), l.expires_at, l.created_at, l.id
  loop
    class := case when lot.kind = 'purchased' then 2 else 1 end;
    part := least(owed[class], lot.remaining);
    if part > 0 then
      owed[class] := owed[class] - part;
      balance := balance - part;
      transaction_count := transaction_count + 1;
      by_kind := jsonb_set(by_kind, array[lot.kind], to_jsonb(part + coalesce((by_kind ->> lot.kind)::bigint, 0)));
      update public.credit_lots l set remaining = l.remaining - part where l.user_id = u.id and l.id = lot.id;
      insert into public.credit_transactions
        (user_id, id, type, debit, credit, amount, balance_after, lot_id, run_id, created_at)
      values (u.id, transaction_count, 'spend', 'lot', 'spent', part, balance, lot.id, spend_lots.run_id, now);
    end if;
    if lot.remaining > part then
      spend_lot := coalesce(spend_lot, lot.id);
      next_lot_expiry := least(next_lot_expiry, lot.expires_at);
    end if;
  end loop;

  if owed <> array[0, 0]::bigint[] then
    raise exception 'user % has fewer credits in lots than the books say', u.id using errcode = 'PR500';
  end if;
  if u.next_lot_expiry = '-infinity' then
    next_lot_expiry := '-infinity';
  end if;
end
$$;

ALTER FUNCTION core.spend_lots(u public.users, run_id uuid, from_included bigint, from_purchased bigint, now timestamp with time zone, OUT by_kind jsonb, OUT transaction_count bigint, OUT spend_lot uuid, OUT next_lot_expiry timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION spend_lots(u public.users, run_id uuid, from_included bigint, from_purchased bigint, now timestamp with time zone, OUT by_kind jsonb, OUT transaction_count bigint, OUT spend_lot uuid, OUT next_lot_expiry timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.spend_lots(u public.users, run_id uuid, from_included bigint, from_purchased bigint, now timestamp with time zone, OUT by_kind jsonb, OUT transaction_count bigint, OUT spend_lot uuid, OUT next_lot_expiry timestamp with time zone) IS 'Takes credits from a user''s lots in the order of spending, a transfer for each lot, and answers by kind what was taken, the last transfer''s number, and which lot is next. The caller holds the user''s row and stores the answer in it. Errors: PR500 if the lots hold less than the user''s figures say. Spec 4.1, 4.2.';

--
-- Name: supersede_doubles(uuid); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.supersede_doubles(user_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  later record;
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
    perform core.want_work('refund_payment', p.id, supersede_doubles.user_id,
      jsonb_build_object('payment_intent', p.id, 'metadata', jsonb_build_object('reason', 'second subscription')), is_write => true)
    from public.payments p
    where p.user_id = supersede_doubles.user_id and p.subscription_id = later.id and p.paid_amount > 0;
  end loop;
end
$$;

ALTER FUNCTION core.supersede_doubles(user_id uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION supersede_doubles(user_id uuid); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.supersede_doubles(user_id uuid) IS 'Where a user has paid for two subscriptions, lets the later one be canceled and its payments be refunded. The caller holds the user''s row. Spec 6.1.';

--
-- Name: take_back(uuid, uuid[], bigint, timestamp with time zone, uuid, text, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.take_back(user_id uuid, lots uuid[], wanted bigint, now timestamp with time zone, purchase_id uuid DEFAULT NULL::uuid, subscription_id text DEFAULT NULL::text, why text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  u public.users;
  lot record;
  part bigint;
  taken bigint := 0;
begin
  select x.* into strict u from public.users x where x.id = take_back.user_id;
  if wanted > 0 then
    for lot in
      select h.lot_id, h.remaining - h.held as free
      from core.held_in_lots(u.id, u.held_included, u.held_purchased) h
      where h.lot_id = any (lots) and h.remaining > h.held
      order by array_position(lots, h.lot_id)
    loop
      part := least(wanted - taken, lot.free);
      exit when part = 0;
      perform core.move_credits(
        u.id, lot.lot_id, 'refund', 'lot', 'clawed_back', part, take_back.now,
        purchase_id => take_back.purchase_id, subscription_id => take_back.subscription_id, description => why
      );
      taken := taken + part;
    end loop;
    -- What time has taken since was theirs to give back: a shortfall is what was spent, whenever we hear of it.
    for lot in
      select
        t.lot_id,
        sum(case when t.credit = 'expired' then t.amount else -t.amount end) as expired
      from public.credit_transactions t
      where t.user_id = u.id and t.type = 'expire' and t.lot_id = any (lots)
      group by t.lot_id
      having sum(case when t.credit = 'expired' then t.amount else -t.amount end) > 0
      order by array_position(lots, t.lot_id)
    loop
      part := least(wanted - taken, lot.expired);
      exit when part = 0;
      perform core.move_credits(
        u.id, lot.lot_id, 'expire', 'expired', 'lot', part, take_back.now,
        subscription_id => take_back.subscription_id, description => 'Had expired; refunded instead'
      );
      perform core.move_credits(
        u.id, lot.lot_id, 'refund', 'lot', 'clawed_back', part, take_back.now,
        purchase_id => take_back.purchase_id, subscription_id => take_back.subscription_id, description => why
      );
      taken := taken + part;
    end loop;
  elsif wanted < 0 then
    -- Given back to the lots that it was taken from, last taken first.
    for lot in
      select
        t.lot_id,
        sum(case when t.credit = 'clawed_back' then t.amount else -t.amount end) as owed,
        max(t.id) as newest
      from public.credit_transactions t
      where t.user_id = u.id and t.type = 'refund' and 'clawed_back' in (t.debit, t.credit) and t.lot_id = any (lots)
      group by t.lot_id
      having sum(case when t.credit = 'clawed_back' then t.amount else -t.amount end) > 0
      order by newest desc
    loop
      part := least(taken - wanted, lot.owed);
      exit when part = 0;
      perform core.move_credits(
        u.id, lot.lot_id, 'refund', 'clawed_back', 'lot', part, take_back.now,
        purchase_id => take_back.purchase_id, subscription_id => take_back.subscription_id, description => why
      );
      taken := taken - part;
    end loop;
  end if;
  return taken;
end
$$;

ALTER FUNCTION core.take_back(user_id uuid, lots uuid[], wanted bigint, now timestamp with time zone, purchase_id uuid, subscription_id text, why text) OWNER TO prpm_owner;

--
-- Name: FUNCTION take_back(user_id uuid, lots uuid[], wanted bigint, now timestamp with time zone, purchase_id uuid, subscription_id text, why text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.take_back(user_id uuid, lots uuid[], wanted bigint, now timestamp with time zone, purchase_id uuid, subscription_id text, why text) IS 'Takes credits out of these lots, in their order, never what running runs hold, then what had expired of them; wanted below 0 gives back what was taken from them. Returns the credits taken (negative: given back), at most what there is. The caller holds the user''s row and calls core.refresh_lots when done. Spec 4.5, 4.6.';

--
-- Name: take_invoice(uuid, jsonb, text, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.take_invoice(user_id uuid, invoice jsonb, payment_id text, now timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  subscription text := coalesce(invoice #>> '{parent,subscription_details,subscription,id}', invoice #>> '{parent,subscription_details,subscription}');
  line jsonb;
  bought text;
  starts timestamptz;
  ends timestamptz;
  s public.subscriptions;
  allocation bigint;
  is_trial boolean;
  is_second boolean;
  is_linked boolean;
  paid numeric := (invoice ->> 'amount_paid')::numeric / 100;
begin
  if subscription is null then
    return null;
  end if;
  select x.* into s from public.subscriptions x where x.user_id = take_invoice.user_id and x.id = subscription;
  if not found then
    perform core.want_work('fetch_subscription', subscription, take_invoice.user_id);
  end if;
  if invoice ->> 'status' <> 'paid' then
    if invoice ->> 'status' = 'open' and (invoice ->> 'attempted')::boolean then
      update public.subscriptions x set
        unpaid_since = least(x.unpaid_since, to_timestamp((invoice #>> '{status_transitions,finalized_at}')::bigint)),
        hosted_invoice_url = invoice ->> 'hosted_invoice_url'
      where x.user_id = take_invoice.user_id and x.id = subscription;
      perform core.refresh_entitlement(take_invoice.user_id, take_invoice.now);
    end if;
    return null;
  end if;
  if invoice ->> 'billing_reason' not in ('subscription_create', 'subscription_cycle') then
    return null;
  end if;

  select l into line
  from jsonb_array_elements(invoice #> '{lines,data}') l
  where (l #>> '{parent,subscription_item_details,proration}')::boolean is false
  order by (l #>> '{period,end}')::bigint desc
  limit 1;
  bought := core.plan_of_price(line #>> '{pricing,price_details,price}');
  if bought is null then
    return 'invoice ' || (invoice ->> 'id') || ' is for a price that no plan has';
  end if;
  starts := to_timestamp((line #>> '{period,start}')::bigint);
  ends := to_timestamp((line #>> '{period,end}')::bigint);
  is_trial := coalesce(s.trial_end > starts, false) or (s.id is null and paid = 0 and coalesce((line ->> 'amount')::bigint, 0) = 0);
  if s.id is null and is_trial then
    return null; -- told by the subscription, which is fetched
  end if;

  -- Another one was there first: this one is going to be canceled and refunded.
  is_second := s.superseded or exists (
    select from public.subscriptions o
    join public.subscription_states state on state.status = o.status and state.is_open
    where o.user_id = take_invoice.user_id and o.id <> subscription and not o.superseded
      and (s.id is null or (o.stripe_created_at, o.id) < (s.stripe_created_at, s.id))
  );
  if is_second and s.id is null then
    if payment_id is not null then
      perform core.want_work('fetch_payment_invoice', payment_id, take_invoice.user_id, delay => interval '5 seconds');
    end if;
    return null; -- once it is fetched, more is known
  end if;
  if is_second then
    allocation := 0;
  elsif is_trial then
    select x.trial_credits into allocation from public.settings x;
  else
    select p.monthly_credits into allocation from public.plans p where p.plan = bought;
  end if;
  insert into public.subscription_periods as q
    (user_id, subscription_id, period_start, period_end, plan, state, invoice_id, credits, paid_amount, created_at, paid_at)
  values (
    take_invoice.user_id, subscription, starts, ends, bought, 'paid', invoice ->> 'id', allocation, paid, take_invoice.now, take_invoice.now
  )
  on conflict on constraint subscription_periods_pkey do update set
    state = 'paid', plan = excluded.plan, period_end = excluded.period_end, invoice_id = excluded.invoice_id, credits = excluded.credits,
    paid_amount = excluded.paid_amount, paid_at = excluded.paid_at
  where q.state = 'due';
  if found and allocation > 0 then
    perform core.grant_period(take_invoice.user_id, subscription, bought, starts, ends, paid, take_invoice.now,
      paid_at => to_timestamp((invoice #>> '{status_transitions,paid_at}')::bigint));
  end if;

  if payment_id is not null then
    update public.subscription_periods q set payment_id = take_invoice.payment_id
    where q.user_id = take_invoice.user_id and q.subscription_id = subscription and q.period_start = starts and q.payment_id is null;
    update public.payments p set kind = 'subscription', subscription_id = subscription, period_start = starts, needs_review = null
    where p.user_id = take_invoice.user_id and p.id = take_invoice.payment_id and p.kind = 'unknown';
    is_linked := found;
    perform core.settle_payment(take_invoice.user_id, take_invoice.payment_id, take_invoice.now);
    if s.superseded and is_linked then
      perform core.want_work('refund_payment', take_invoice.payment_id, take_invoice.user_id,
        jsonb_build_object('payment_intent', take_invoice.payment_id, 'metadata', jsonb_build_object('reason', 'second subscription')), is_write => true);
    end if;
  end if;

  update public.subscriptions x set
    paid_until = greatest(x.paid_until, ends),
    monthly_amount = case when ends >= coalesce(x.paid_until, ends) then paid else x.monthly_amount end,
    unpaid_since = case when ends >= coalesce(x.current_period_end, ends) then null else x.unpaid_since end,
    hosted_invoice_url = case when ends >= coalesce(x.current_period_end, ends) then null else x.hosted_invoice_url end,
    updated_at = take_invoice.now
  where x.user_id = take_invoice.user_id and x.id = subscription
  returning x.* into s;
  if s.status = 'canceled' then
    perform core.end_subscription(
      take_invoice.user_id, subscription, case when s.money_back then s.ended_at else s.paid_until end, take_invoice.now
    );
  end if;
  perform core.refresh_entitlement(take_invoice.user_id, take_invoice.now);
  return null;
end
$$;

ALTER FUNCTION core.take_invoice(user_id uuid, invoice jsonb, payment_id text, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION take_invoice(user_id uuid, invoice jsonb, payment_id text, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.take_invoice(user_id uuid, invoice jsonb, payment_id text, now timestamp with time zone) IS 'Books a subscription''s invoice as Stripe tells it: a paid one that opened a period (no proration) pays that period and grants its credits, once; an open one that could not be collected starts the grace. The period is its line''s. payment_id is the payment intent that paid it, or null. Returns why a person has to look at it, or null. The caller holds the user''s row. Spec 4.3, 6.5.';

--
-- Name: take_invoice_payments(uuid, text, jsonb, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.take_invoice_payments(user_id uuid, payment_id text, result jsonb, now timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  invoice jsonb;
begin
  select x -> 'invoice' into invoice
  from jsonb_array_elements(result -> 'invoice_payments') x
  where x #>> '{invoice,parent,type}' = 'subscription_details'
  limit 1;
  if invoice is null then
    perform core.want_work('fetch_session_of_payment', take_invoice_payments.payment_id, take_invoice_payments.user_id);
    return null;
  end if;
  if invoice ->> 'status' in ('draft', 'open') then -- paid a moment later, or in parts
    perform core.want_work('fetch_payment_invoice', take_invoice_payments.payment_id, take_invoice_payments.user_id, delay => interval '1 minute');
  end if;
  return core.take_invoice(take_invoice_payments.user_id, invoice, take_invoice_payments.payment_id, take_invoice_payments.now);
end
$$;

ALTER FUNCTION core.take_invoice_payments(user_id uuid, payment_id text, result jsonb, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION take_invoice_payments(user_id uuid, payment_id text, result jsonb, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.take_invoice_payments(user_id uuid, payment_id text, result jsonb, now timestamp with time zone) IS 'Takes Stripe''s answer to which invoice a payment paid: a subscription''s, or else it is asked for its checkout session. Returns why a person has to look at it, or null. The caller holds the user''s row. Spec 6.5.';

--
-- Name: take_list(text, jsonb, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.take_list(kind text, result jsonb, now timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  wanted bigint;
begin
  if kind = 'list_events' then
    -- What Stripe could not deliver, as it would have come; read in whatever version it was written, so it is fetched anew.
    with missed as (
      insert into public.stripe_events (id, type, created, livemode, api_version, body, status, same_version, received_at)
      select e ->> 'id', e ->> 'type', (e ->> 'created')::bigint, (e ->> 'livemode')::boolean, e ->> 'api_version', e::text, 'received', false, now
      from jsonb_array_elements(result -> 'events') e
      on conflict on constraint stripe_events_pkey do nothing
      returning id, type
    ), noted as (
      insert into public.stripe_drift (kind, object, theirs, found_at)
      select 'event', m.id, m.type, now from missed m
      returning object
    )
    select count(core.want_work('apply_event', n.object, null)) into wanted from noted n;
    return wanted;
  end if;

  with theirs as (
    select c.user_id, s ->> 'id' as id, s ->> 'status' as status, (s ->> 'cancel_at')::bigint as cancel_at,
      (s #>> '{items,data,0,current_period_end}')::bigint as period_end
    from jsonb_array_elements(result -> 'subscriptions') s
    join public.stripe_customers c on c.customer_id = coalesce(s #>> '{customer,id}', s ->> 'customer')
  ), noted as (
    insert into public.stripe_drift (user_id, kind, object, ours, theirs, found_at)
    select t.user_id, 'subscription', t.id,
      s.status || ', to ' || s.current_period_end, t.status || ', to ' || to_timestamp(t.period_end), now
    from theirs t
    left join public.subscriptions s on s.user_id = t.user_id and s.id = t.id
    where s.id is null or s.status <> t.status or extract(epoch from s.current_period_end)::bigint is distinct from t.period_end
    returning user_id, object
  )
  select count(core.want_work('fetch_subscription', n.object, n.user_id)) into wanted from noted n;
  return wanted;
end
$$;

ALTER FUNCTION core.take_list(kind text, result jsonb, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION take_list(kind text, result jsonb, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.take_list(kind text, result jsonb, now timestamp with time zone) IS 'Compares a list of Stripe''s with ours: events that it could not deliver are taken in, subscriptions that differ are fetched; each difference is kept in stripe_drift. Returns how many. Spec 6.6.';

--
-- Name: take_payment(uuid, jsonb, text, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.take_payment(user_id uuid, payment jsonb, session_id text, now timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  purchase public.purchases;
  known public.payments;
  amount numeric := (payment ->> 'amount_received')::numeric / 100;
  complaint text;
begin
  if payment ->> 'status' <> 'succeeded' then
    return null;
  end if;
  select p.* into known from public.payments p where p.user_id = take_payment.user_id and p.id = payment ->> 'id';
  if found and known.kind <> 'unknown' then
    return known.needs_review;
  end if;

  -- Ours is what our own row says: by the purchase that was named, or by the session that it was paid in.
  select p.* into purchase
  from public.purchases p
  where p.user_id = take_payment.user_id
    and (p.id = core.uuid_or_null(payment #>> '{metadata,purchase_id}') or p.stripe_checkout_session_id = take_payment.session_id)
  order by (p.stripe_checkout_session_id = take_payment.session_id) is true desc
  limit 1;

  insert into public.payments (user_id, id, kind, paid_amount, currency, created_at)
  values (take_payment.user_id, payment ->> 'id', 'unknown', amount, coalesce(payment ->> 'currency', '?'), take_payment.now)
  on conflict on constraint payments_pkey do nothing;
  insert into public.stripe_payments (payment_id, user_id) values (payment ->> 'id', take_payment.user_id)
  on conflict on constraint stripe_payments_pkey do nothing;
  perform core.wake_reversals(take_payment.user_id, payment ->> 'id', take_payment.now);
  if purchase.id is null then
    if session_id is null then
      perform core.want_work('fetch_payment_invoice', payment ->> 'id', take_payment.user_id);
    end if;
    return null;
  end if;

  complaint := case
    when payment ->> 'currency' is distinct from 'usd' then 'paid in ' || coalesce(payment ->> 'currency', 'no currency') || ', not usd'
    when amount is distinct from purchase.price then 'paid ' || amount || ' dollars for a pack of ' || purchase.price
    when purchase.stripe_payment_intent_id <> payment ->> 'id' and purchase.paid_at is not null then 'the purchase was paid already, by ' || purchase.stripe_payment_intent_id
  end;
  update public.payments p set kind = 'pack', purchase_id = purchase.id, needs_review = complaint
  where p.user_id = take_payment.user_id and p.id = payment ->> 'id';
  if complaint is not null then
    update public.purchases p set status = 'needs_review'
    where p.user_id = take_payment.user_id and p.id = purchase.id and p.paid_at is null;
    return 'purchase ' || purchase.id || ': ' || complaint;
  end if;
  update public.purchases p set stripe_payment_intent_id = payment ->> 'id'
  where p.user_id = take_payment.user_id and p.id = purchase.id and p.stripe_payment_intent_id is distinct from payment ->> 'id';
  perform core.grant_purchase(take_payment.user_id, purchase.id, amount, take_payment.now);
  perform core.settle_payment(take_payment.user_id, payment ->> 'id', take_payment.now);
  return null;
end
$$;

ALTER FUNCTION core.take_payment(user_id uuid, payment jsonb, session_id text, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION take_payment(user_id uuid, payment jsonb, session_id text, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.take_payment(user_id uuid, payment jsonb, session_id text, now timestamp with time zone) IS 'Books a payment that succeeded: a pack''s, where purchase, amount and currency agree with our own row (session_id: the checkout that it was paid in, where asked); else it is asked whose invoice it paid. Returns why a person has to look at it, or null. The caller holds the user''s row. Spec 6.5.';

--
-- Name: take_reversals(uuid, text, text, jsonb, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.take_reversals(user_id uuid, payment_id text, kind text, list jsonb, now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  insert into public.reversals as r (user_id, id, payment_id, kind, reversed_amount, status, created_at, updated_at)
  select take_reversals.user_id, x ->> 'id', take_reversals.payment_id, take_reversals.kind, (x ->> 'amount')::numeric / 100, x ->> 'status',
    take_reversals.now, take_reversals.now
  from jsonb_array_elements(list) x
  on conflict on constraint reversals_pkey do update
  set reversed_amount = excluded.reversed_amount, status = excluded.status, updated_at = excluded.updated_at
  where (r.reversed_amount, r.status) is distinct from (excluded.reversed_amount, excluded.status);
  perform core.settle_payment(take_reversals.user_id, take_reversals.payment_id, take_reversals.now);
end
$$;

ALTER FUNCTION core.take_reversals(user_id uuid, payment_id text, kind text, list jsonb, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION take_reversals(user_id uuid, payment_id text, kind text, list jsonb, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.take_reversals(user_id uuid, payment_id text, kind text, list jsonb, now timestamp with time zone) IS 'Keeps a payment''s refunds or disputes as Stripe lists them now, by their ids, and settles what they take back. The caller holds the user''s row. Spec 4.6.';

--
-- Name: take_sessions(uuid, text, jsonb, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.take_sessions(user_id uuid, payment_id text, result jsonb, now timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  session text;
  payment public.payments;
begin
  select p.stripe_checkout_session_id into session
  from public.purchases p
  where p.user_id = take_sessions.user_id
    and p.stripe_checkout_session_id in (select x ->> 'id' from jsonb_array_elements(result -> 'sessions') x)
  limit 1;
  select p.* into payment from public.payments p where p.user_id = take_sessions.user_id and p.id = take_sessions.payment_id;
  if session is null or payment.id is null then
    update public.payments p set needs_review = 'it belongs to no purchase and no subscription of ours'
    where p.user_id = take_sessions.user_id and p.id = take_sessions.payment_id and p.kind = 'unknown';
    return 'payment ' || payment_id || ' belongs to no purchase and no subscription of ours';
  end if;
  return core.take_payment(
    take_sessions.user_id,
    jsonb_build_object('id', payment.id, 'status', 'succeeded', 'currency', payment.currency, 'amount_received', payment.paid_amount * 100),
    session, take_sessions.now
  );
end
$$;

ALTER FUNCTION core.take_sessions(user_id uuid, payment_id text, result jsonb, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION take_sessions(user_id uuid, payment_id text, result jsonb, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.take_sessions(user_id uuid, payment_id text, result jsonb, now timestamp with time zone) IS 'Takes Stripe''s answer to which checkout session a payment was made in: that of one of our purchases, or a person has to look. Returns why, or null. The caller holds the user''s row. Spec 6.5.';

--
-- Name: take_subscription(uuid, jsonb, bigint, bigint, timestamp with time zone, boolean, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.take_subscription(user_id uuid, object jsonb, second bigint, ticket bigint, fetched_at timestamp with time zone, livemode boolean, now timestamp with time zone) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  known public.subscriptions;
  fresh public.subscriptions;
  item jsonb := object #> '{items,data,0}';
  new_plan text := core.plan_of_price(item #>> '{price,id}');
  is_new boolean;
  state public.subscription_states;
  starts timestamptz := to_timestamp((item ->> 'current_period_start')::bigint);
  ends timestamptz := to_timestamp((item ->> 'current_period_end')::bigint);
  complaint text;
begin
  select s.* into known from public.subscriptions s where s.user_id = take_subscription.user_id and s.id = object ->> 'id';
  is_new := not found;
  select x.* into state from public.subscription_states x where x.status = object ->> 'status';
  if not found then
    return 'subscription ' || (object ->> 'id') || ' has the unknown status ' || coalesce(object ->> 'status', 'null');
  end if;
  if jsonb_array_length(object #> '{items,data}') <> 1 or coalesce((item ->> 'quantity')::integer, 1) <> 1 or new_plan is null and is_new then
    return 'subscription ' || (object ->> 'id') || ' has not exactly one of a plan''s prices';
  end if;

  -- A final state beats all. Else the newest word counts: a fetch by its ticket, an event by its second.
  -- (A fetch after the end still says whether money went back.)
  if not is_new and (ticket is null or not state.is_final)
    and (select x.is_final from public.subscription_states x where x.status = known.status)
  then
    return null;
  end if;
  if ticket is not null then
    if ticket <= known.fetched_ticket then
      return null;
    end if;
  elsif not state.is_final then
    -- What is being fetched right now may be older than this, and would come after it.
    if exists (
      select from public.stripe_work w
      where w.key = object ->> 'id' and w.kind in ('fetch_subscription', 'update_subscription', 'cancel_subscription')
        and w.claimed_until is not null
    ) then
      perform core.want_work('fetch_subscription', object ->> 'id', take_subscription.user_id);
      return null;
    end if;
    if second < known.known_second then
      return null;
    end if;
    if second = known.known_second or second <= extract(epoch from known.fetched_at + interval '5 minutes') then
      perform core.want_work('fetch_subscription', object ->> 'id', take_subscription.user_id);
      return null;
    end if;
  end if;

  insert into public.subscriptions as s (user_id, id, plan, status, created_at, updated_at)
  values (take_subscription.user_id, object ->> 'id', new_plan, object ->> 'status', take_subscription.now, take_subscription.now)
  on conflict on constraint subscriptions_pkey do nothing;
  update public.subscriptions s set
    plan = coalesce(new_plan, s.plan),
    status = object ->> 'status',
    livemode = take_subscription.livemode,
    item_id = item ->> 'id',
    price_id = item #>> '{price,id}',
    current_period_start = starts,
    current_period_end = ends,
    cancel_at_period_end = (object ->> 'cancel_at_period_end')::boolean and not state.is_final,
    cancel_at = case when not state.is_final then coalesce(to_timestamp((object ->> 'cancel_at')::bigint), case when (object ->> 'cancel_at_period_end')::boolean then ends end) end,
    collection_paused = jsonb_typeof(object -> 'pause_collection') = 'object' and not state.is_final,
    -- Its invoices may have been heard of first.
    (paid_until, monthly_amount) = (
      select greatest(s.paid_until, p.period_end), coalesce(p.paid_amount, s.monthly_amount)
      from (values (1)) one
      left join public.subscription_periods p on p.user_id = s.user_id and p.subscription_id = s.id and p.state = 'paid'
      order by p.period_end desc nulls last
      limit 1
    ),
    trial_end = to_timestamp((object ->> 'trial_end')::bigint),
    ended_at = to_timestamp((object ->> 'ended_at')::bigint),
    unpaid_since = case when object ->> 'status' = 'past_due' then s.unpaid_since end,
    hosted_invoice_url = case when object ->> 'status' = 'past_due' then s.hosted_invoice_url end,
    stripe_created_at = to_timestamp((object ->> 'created')::bigint),
    known_second = greatest(s.known_second, coalesce(second, 0)),
    fetched_ticket = coalesce(take_subscription.ticket, s.fetched_ticket),
    fetched_at = coalesce(take_subscription.fetched_at, s.fetched_at),
    updated_at = take_subscription.now
  where s.user_id = take_subscription.user_id and s.id = object ->> 'id';

  if state.is_open then
    perform core.supersede_doubles(take_subscription.user_id); -- before anything is granted for it
  end if;

  -- What a fetch brings along: the latest invoice as it is now.
  if jsonb_typeof(object -> 'latest_invoice') = 'object' then
    update public.subscriptions s set money_back = true
    where s.user_id = take_subscription.user_id and s.id = object ->> 'id' and state.is_final
      and exists (
        select from jsonb_array_elements(object #> '{latest_invoice,lines,data}') l
        where (l #>> '{parent,subscription_item_details,proration}')::boolean and (l ->> 'amount')::bigint < 0
      );
    complaint := core.take_invoice(take_subscription.user_id, object -> 'latest_invoice', null, take_subscription.now);
  end if;

  -- Since when it is unpaid, its invoice says.
  if state.entitles = 'grace' and ticket is null then
    perform core.want_work('fetch_subscription', object ->> 'id', take_subscription.user_id);
  end if;

  -- A period that Stripe is in and that is not known to be paid: looked at again when the money should be there. Only the
  -- present one is awaited; should an earlier one be paid after all, its invoice says so.
  delete from public.subscription_periods p
  where p.user_id = take_subscription.user_id and p.subscription_id = object ->> 'id' and p.state = 'due'
    and (state.is_final or p.period_start <> starts);
  if state.status in ('active', 'past_due', 'unpaid') and starts is not null then
    insert into public.subscription_periods (user_id, subscription_id, period_start, period_end, plan, state, created_at)
    select take_subscription.user_id, object ->> 'id', starts, ends, coalesce(new_plan, known.plan), 'due', take_subscription.now
    on conflict on constraint subscription_periods_pkey do nothing;
    if exists (
      select from public.subscription_periods p
      where p.user_id = take_subscription.user_id and p.subscription_id = object ->> 'id' and p.period_start = starts and p.state = 'due'
    ) then
      perform core.want_work('fetch_subscription', object ->> 'id', take_subscription.user_id, delay => case
        when ticket is not null then greatest(interval '70 minutes', (
          select take_subscription.now - p.created_at
          from public.subscription_periods p
          where p.user_id = take_subscription.user_id and p.subscription_id = object ->> 'id' and p.period_start = starts
        ))
        when exists (
          select from public.subscription_periods p
          where p.user_id = take_subscription.user_id and p.subscription_id = object ->> 'id' and p.state = 'paid'
        ) then interval '70 minutes'
        else interval '0'
      end);
    end if;
  end if;

  if state.is_final then
    if ticket is null and object ->> 'status' = 'canceled' then
      perform core.want_work('fetch_subscription', object ->> 'id', take_subscription.user_id); -- did money go back?
    end if;
    select s.* into known from public.subscriptions s where s.user_id = take_subscription.user_id and s.id = object ->> 'id';
    perform core.end_subscription(
      take_subscription.user_id, known.id,
      case when known.money_back or known.paid_until is null then coalesce(known.ended_at, take_subscription.now) else known.paid_until end,
      take_subscription.now
    );
  end if;
  update public.checkouts c set status = 'complete'
  where c.user_id = take_subscription.user_id and c.status = 'open' and state.is_open;
  select s.* into fresh from public.subscriptions s where s.user_id = take_subscription.user_id and s.id = object ->> 'id';
  if is_new or state.is_final
    or (fresh.status, fresh.plan, fresh.trial_end, fresh.collection_paused, fresh.cancel_at, fresh.unpaid_since, fresh.current_period_start)
      is distinct from (known.status, known.plan, known.trial_end, known.collection_paused, known.cancel_at, known.unpaid_since, known.current_period_start)
  then
    perform core.supersede_doubles(take_subscription.user_id);
    perform core.refresh_entitlement(take_subscription.user_id, take_subscription.now);
  end if;
  return complaint;
end
$$;

ALTER FUNCTION core.take_subscription(user_id uuid, object jsonb, second bigint, ticket bigint, fetched_at timestamp with time zone, livemode boolean, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION take_subscription(user_id uuid, object jsonb, second bigint, ticket bigint, fetched_at timestamp with time zone, livemode boolean, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.take_subscription(user_id uuid, object jsonb, second bigint, ticket bigint, fetched_at timestamp with time zone, livemode boolean, now timestamp with time zone) IS 'Takes a subscription as Stripe tells it. From an event (second is its time, ticket null) the object counts where it is later than the last one; of the same second, or soon after a fetch, it is fetched. From a fetch (ticket, fetched_at) it counts where no later fetch was applied. Final states beat all. Returns why a person has to look at it, or null. The caller holds the user''s row. Spec 2.5, 4.4, 6.4.';

--
-- Name: throttled_at(public.users, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.throttled_at(person public.users, now timestamp with time zone) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT ((person).is_throttled AND (((person).throttled_by IS NULL) OR (((person).throttled_until IS NULL) AND ((person).throttled_by = 'operator'::text)) OR ((person).throttled_until > now)));
END;

ALTER FUNCTION core.throttled_at(person public.users, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION throttled_at(person public.users, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.throttled_at(person public.users, now timestamp with time zone) IS 'Whether a throttle holds at that time: one by plain UPDATE until it is lifted, an operator''s and a limit''s until its end. One that is past its end is cleared on the next use, and by the jobs. Spec 3.4.';

--
-- Name: tidy_lots(uuid, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.tidy_lots(user_id uuid, now timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  held_included bigint;
  held_purchased bigint;
  lot record;
  expired bigint := 0;
  purchase record;
  period record;
begin
  select u.held_included, u.held_purchased into strict held_included, held_purchased
  from public.users u
  where u.id = tidy_lots.user_id
  for no key update;

  for lot in
    select h.* from core.held_in_lots(tidy_lots.user_id, held_included, held_purchased) h
    where h.expires_at <= tidy_lots.now and h.remaining > h.held
  loop
    if lot.rolls_into is not null then
      perform core.roll_over(tidy_lots.user_id, lot.lot_id, lot.remaining - lot.held, tidy_lots.now);
    else
      perform core.move_credits(
        tidy_lots.user_id, lot.lot_id, 'expire', 'lot', 'expired', lot.remaining - lot.held, tidy_lots.now,
        description => 'Expired ' || lot.kind || ' credits'
      );
      expired := expired + lot.remaining - lot.held;
    end if;
  end loop;

  for purchase in
    select p.id, p.refunded_amount, p.disputed_amount
    from public.purchases p
    where p.user_id = tidy_lots.user_id and p.shortfall > 0
  loop
    perform core.apply_refund(tidy_lots.user_id, purchase.id, purchase.refunded_amount, tidy_lots.now, purchase.disputed_amount);
  end loop;
  for period in
    select p.subscription_id, p.period_start, p.refunded_amount, p.disputed_amount
    from public.subscription_periods p
    where p.user_id = tidy_lots.user_id and p.shortfall > 0
  loop
    perform core.apply_period_refund(
      tidy_lots.user_id, period.subscription_id, period.period_start, period.refunded_amount, period.disputed_amount, tidy_lots.now
    );
  end loop;

  perform core.refresh_lots(tidy_lots.user_id);
  return expired;
end
$$;

ALTER FUNCTION core.tidy_lots(user_id uuid, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION tidy_lots(user_id uuid, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.tidy_lots(user_id uuid, now timestamp with time zone) IS 'Books a user''s expired credits, rolls over what is due and takes back what refunds still ask for. Credits that running runs hold stay until those end. Returns the credits expired. Locks the user''s row. Spec 4.3, 4.5, 4.6.';

--
-- Name: stripe_customers; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.stripe_customers (
    user_id uuid NOT NULL,
    livemode boolean NOT NULL,
    write_id uuid DEFAULT gen_random_uuid() NOT NULL,
    customer_id text,
    created_at timestamp with time zone NOT NULL
);

ALTER TABLE public.stripe_customers OWNER TO prpm_owner;

--
-- Name: TABLE stripe_customers; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.stripe_customers IS 'ops. One customer at Stripe for each person and mode; finds whose an event is (spec 6.1).';

--
-- Name: COLUMN stripe_customers.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_customers.user_id IS 'The person.';

--
-- Name: COLUMN stripe_customers.livemode; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_customers.livemode IS 'Stripe''s mode.';

--
-- Name: COLUMN stripe_customers.write_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_customers.write_id IS 'Idempotency key of its making.';

--
-- Name: COLUMN stripe_customers.customer_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_customers.customer_id IS 'Stripe''s id, null while it is being made.';

--
-- Name: COLUMN stripe_customers.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_customers.created_at IS 'When it was begun.';

--
-- Name: user_of_customer(text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.user_of_customer(customer_id text) RETURNS uuid
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT c.user_id
    FROM public.stripe_customers c
   WHERE (c.customer_id = user_of_customer.customer_id);
END;

ALTER FUNCTION core.user_of_customer(customer_id text) OWNER TO prpm_owner;

--
-- Name: FUNCTION user_of_customer(customer_id text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.user_of_customer(customer_id text) IS 'Whose customer at Stripe that is; null for one that we never made. Spec 6.5.';

--
-- Name: usual_output(text, text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.usual_output(package text, model text) RETURNS numeric
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  average numeric;
begin
  select x.average_output_tokens into average
  from core.package_model_usage x
  join public.packages p on p.id = x.package_id
  where x.model = usual_output.model and (p.id = core.uuid_or_null(usual_output.package) or p.name = lower(usual_output.package));
  return average;
end
$$;

ALTER FUNCTION core.usual_output(package text, model text) OWNER TO prpm_owner;

--
-- Name: FUNCTION usual_output(package text, model text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.usual_output(package text, model text) IS 'Tokens that a package''s answers by a model had on average as of the last refresh of the analytics; null without history. Spec 5.7.';

--
-- Name: uuid_or_null(text); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.uuid_or_null(value text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN ((value ~~ '________-____-____-____-____________'::text) AND (length(replace(value, '-'::text, ''::text)) = 32) AND (translate(value, '0123456789abcdefABCDEF-'::text, ''::text) = ''::text)) THEN (value)::uuid
             ELSE NULL::uuid
         END AS "case";
END;

ALTER FUNCTION core.uuid_or_null(value text) OWNER TO prpm_owner;

--
-- Name: FUNCTION uuid_or_null(value text); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.uuid_or_null(value text) IS 'The text as a uuid, or null if it is none.';

--
-- Name: wake_reversals(uuid, text, timestamp with time zone); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.wake_reversals(user_id uuid, payment_id text, now timestamp with time zone) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    BEGIN ATOMIC
 UPDATE public.stripe_work w SET due_at = wake_reversals.now, user_id = wake_reversals.user_id
   WHERE ((w.dedupe = ANY (ARRAY[('fetch_refunds '::text || wake_reversals.payment_id), ('fetch_disputes '::text || wake_reversals.payment_id)])) AND (w.user_id IS NULL));
END;

ALTER FUNCTION core.wake_reversals(user_id uuid, payment_id text, now timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION wake_reversals(user_id uuid, payment_id text, now timestamp with time zone); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.wake_reversals(user_id uuid, payment_id text, now timestamp with time zone) IS 'Lets refunds and disputes that were heard of before their payment be fetched, now that it is known whose it is. Spec 6.4.';

--
-- Name: want_work(text, text, uuid, jsonb, interval, boolean); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.want_work(kind text, key text, user_id uuid, parameters jsonb DEFAULT '{}'::jsonb, delay interval DEFAULT '00:00:00'::interval, is_write boolean DEFAULT false) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  new_id uuid := gen_random_uuid();
  work_id uuid;
begin
  insert into public.stripe_work as w (id, dedupe, kind, key, parameters, user_id, due_at, created_at)
  values (
    new_id, case when is_write then new_id::text else want_work.kind || ' ' || want_work.key end,
    want_work.kind, want_work.key, want_work.parameters, want_work.user_id, now + delay, now
  )
  on conflict on constraint stripe_work_dedupe_key do update set
    user_id = coalesce(w.user_id, excluded.user_id),
    due_at = case when w.claimed_until is null then least(w.due_at, excluded.due_at) else w.due_at end,
    again_at = case when w.claimed_until is not null then least(w.again_at, excluded.due_at) end,
    is_failed = false,
    attempts = case when w.is_failed then 0 else w.attempts end
  returning w.id into work_id;
  return work_id;
end
$$;

ALTER FUNCTION core.want_work(kind text, key text, user_id uuid, parameters jsonb, delay interval, is_write boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION want_work(kind text, key text, user_id uuid, parameters jsonb, delay interval, is_write boolean); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.want_work(kind text, key text, user_id uuid, parameters jsonb, delay interval, is_write boolean) IS 'Queues a fetch from Stripe, once for each object at a time (wanted again while it is under way, it is done again), or a write, each its own. Returns its id. Spec 6.1, 6.4.';

--
-- Name: watch_throttle(); Type: FUNCTION; Schema: core; Owner: prpm_owner
--

CREATE FUNCTION core.watch_throttle() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  limits public.cost_limits_config;
  useful numeric;
begin
  new.throttled_by := null;
  new.throttled_until := null;
  if new.is_throttled then
    new.throttled_at := now;
    return new;
  end if;
  new.throttled_at := null;
  new.throttled_reason := null;

  limits := core.find_limits(core.tier_at(new.tier_override, new.plan_tier, new.entitled_until, now));
  useful := coalesce(core.cheapest_useful_cost(now), 0);
  if limits.throttle_on_exceed and not coalesce(new.limits_waived_until > now, false) and (
    new.month_ends_at > now and limits.monthly_cost_limit - new.current_month_limited_cost < useful
    or new.day_ends_at > now and limits.daily_cost_limit - new.current_day_limited_cost < useful
  ) then
    raise notice '% is still over a limit of tier %, and will be throttled again by it.', coalesce(new.email, new.username), limits.tier_name
      using hint = format('To let them run all the same: select * from ops.waive_limits(%L, until => …, reason => …);', new.id);
  end if;
  return new;
end
$$;

ALTER FUNCTION core.watch_throttle() OWNER TO prpm_owner;

--
-- Name: FUNCTION watch_throttle(); Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON FUNCTION core.watch_throttle() IS 'Trigger: keeps the columns beside is_throttled true when an operator sets or lifts it with a plain UPDATE, and tells one who lifts it while a limit would set it again. Correctness does not need it: an unset throttled_by says the same. Spec 3.4, 3.5.';

--
-- Name: add_member(text, text, text, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.add_member(organization text, "user" text, role text DEFAULT 'member'::text, reason text DEFAULT 'not given'::text, dry_run boolean DEFAULT false) RETURNS SETOF public.organization_members
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  member public.organization_members;
begin
  if add_member.role is null or add_member.role not in ('owner', 'admin', 'maintainer', 'member') then
    raise exception 'role must be owner, admin, maintainer or member' using errcode = 'PR400', detail = 'role';
  end if;
  member := row(core.find_user("user"), core.find_organization(organization), add_member.role, core.now());
  if not dry_run then
    perform core.note_action('add_member', member.organization_id::text, reason, json_build_object('user_id', member.user_id, 'role', member.role));
    insert into public.organization_members as m values (member.*)
    on conflict on constraint organization_members_pkey do update set role = excluded.role
    returning m.* into member;
  end if;
  return next member;
end
$$;

ALTER FUNCTION ops.add_member(organization text, "user" text, role text, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION add_member(organization text, "user" text, role text, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.add_member(organization text, "user" text, role text, reason text, dry_run boolean) IS 'Makes a person (id, e-mail or username) a member of an organization (id or name), or changes their role: owner, admin, maintainer or member. Returns the membership. Call: select * from ops.add_member(''Example'', ''user@example.com'', ''maintainer''); Errors: as core.find_user and core.find_organization; PR400 naming role. Spec 2.3.';

--
-- Name: align_prices(); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.align_prices() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  candidate record;
  queued bigint := 0;
begin
  for candidate in
    select s.user_id, s.id, s.item_id, offer.price_id
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    cross join lateral core.offer_of(s.user_id) offer
    where not s.superseded and s.cancel_at is null and s.item_id is not null
      and s.plan in ('prpm_plus_individual', 'prpm_plus_org_member')
      and offer.price_id is not null and offer.price_id <> s.price_id
      and not exists (select from public.stripe_work w where w.kind = 'update_subscription' and w.key = s.id)
    order by s.user_id, s.id
  loop
    perform core.want_work('update_subscription', candidate.id, candidate.user_id, jsonb_build_object(
      'items', jsonb_build_array(jsonb_build_object('id', candidate.item_id, 'price', candidate.price_id)),
      'proration_behavior', 'none'
    ), is_write => true);
    queued := queued + 1;
  end loop;
  return queued;
end
$$;

ALTER FUNCTION ops.align_prices() OWNER TO prpm_owner;

--
-- Name: FUNCTION align_prices(); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.align_prices() IS 'Queues a change of price for subscriptions whose owner has joined or left a verified organization since: charged from the next invoice on, nothing is prorated; the paid period keeps its plan. Returns how many. Call: select ops.align_prices(); Spec 2.4.';

--
-- Name: audit_books(text); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.audit_books("user" text DEFAULT NULL::text) RETURNS TABLE(user_id uuid, check_name text, object text, expected text, actual text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
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
end
$$;

ALTER FUNCTION ops.audit_books("user" text) OWNER TO prpm_owner;

--
-- Name: FUNCTION audit_books("user" text); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.audit_books("user" text) IS 'Every disagreement between transfers, lots, purchases, paid periods, runs, prices, windows and holds: which user, which check, of which object, what it should be and what it is. No row: the books balance. Recomputes all from transfers, runs and the price book; "user" (id, e-mail or username) looks at one. Call: select * from ops.audit_books(); Errors: PR404 unknown user. Spec 4.8.';

--
-- Name: checks(); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.checks() RETURNS TABLE("check" text, detail text, what_to_do text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  clock timestamptz := core.now();
begin
  return query
  select 'books', format('%s of %s, user %s: should be %s, is %s', b.check_name, b.object, b.user_id, b.expected, b.actual),
    format('select * from ops.audit_books(%L);', b.user_id)
  from ops.audit_books() b
  limit 100;

  return query
  select 'hold outlived its expiry', format('run %s of user %s should have ended at %s', h.run_id, h.user_id, h.hold_expires_at),
    'Is the job expire-holds running? It ends such runs every minute.'
  from ops.open_holds h
  where h.hold_expires_at < clock - interval '2 minutes'
  limit 100;

  return query
  select 'model without a price', format('%s is enabled and refused with model_not_priced', m.model),
    format('Enter a price, or: update models set enabled = false where alias = %L;', m.model)
  from ops.unpriced_models m
  where m.enabled;

  return query
  select 'clock', format('settings.clock_offset is %s', s.clock_offset), 'update settings set clock_offset = default;'
  from public.settings s
  where s.clock_offset <> '0';

  return query
  select 'tier missing', format('%s has no row in cost_limits_config: its runs are refused with tier_not_configured', t.tier_name),
    'Add the row to cost_limits_config, or give its users another tier.'
  from (
    select 'free' as tier_name
    union
    select x.tier from public.users u cross join lateral (values (u.tier_override), (u.plan_tier)) x (tier) where x.tier is not null
  ) t
  where not exists (select from public.cost_limits_config c where c.tier_name = t.tier_name);
end
$$;

ALTER FUNCTION ops.checks() OWNER TO prpm_owner;

--
-- Name: FUNCTION checks(); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.checks() IS 'What is not as it should be, and what to do about it; no row means healthy. Looks at the books, at holds more than 2 minutes past their expiry, at enabled models without a price, at the clock, and at tiers without a row; at most 100 rows of a kind. Call: select * from ops.checks(); Spec 12.';

--
-- Name: choose_cached_prompts(); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.choose_cached_prompts() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  changed integer;
begin
  with recent as (
    select r.package_id, r.package_version, count(*) as runs
    from public.users u
    join public.runs r on r.user_id = u.id and r.id >= core.first_run_id(clock_timestamp() - interval '5 minutes')
    where u.last_request_at > now - interval '5 minutes' and r.started_at > now - interval '5 minutes' and not r.baseline
    group by r.package_id, r.package_version
  ),
  wanted as (
    select v.package_id, v.version, v.tokens_o200k >= s.cache_min_tokens and coalesce(recent.runs, 0) > s.cache_min_runs as pays
    from public.settings s, public.package_versions v
    left join recent on recent.package_id = v.package_id and recent.package_version = v.version
  )
  update public.package_versions v
  set cache_prompt = wanted.pays
  from wanted
  where v.package_id = wanted.package_id and v.version = wanted.version and v.cache_prompt <> wanted.pays;
  get diagnostics changed = row_count;
  return changed;
end
$$;

ALTER FUNCTION ops.choose_cached_prompts() OWNER TO prpm_owner;

--
-- Name: FUNCTION choose_cached_prompts(); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.choose_cached_prompts() IS 'Marks the package versions whose prompt is cached at the provider from now on: at least settings.cache_min_tokens long and run more than settings.cache_min_runs times in the last five minutes (a write to the cache costs more than one read saves). Returns how many marks changed. For a job each minute. Call: select ops.choose_cached_prompts(); Spec 5.6.';

--
-- Name: close_user(text, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.close_user("user" text, reason text, dry_run boolean DEFAULT false) RETURNS TABLE(user_id uuid, closed_at timestamp with time zone, tokens_revoked bigint, runs_stopped bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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
    update public.runs r
    set stop_requested_at = coalesce(r.stop_requested_at, close_user.closed_at)
    where r.user_id = person.id and r.id = any (person.open_runs);
  end if;
  return next;
end
$$;

ALTER FUNCTION ops.close_user("user" text, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION close_user("user" text, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.close_user("user" text, reason text, dry_run boolean) IS 'Closes the account of a person (id, e-mail or username): nothing can be begun any more, tokens are revoked, running runs are asked to stop and are settled as stopped ones are; the books stay. A second call changes nothing. Returns how many tokens and runs it met. Call: select * from ops.close_user(''user@example.com'', ''asked to leave''); Errors: as core.find_user; PR400 without a reason. Spec 2.3.';

--
-- Name: create_organization(text, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.create_organization(name text, reason text DEFAULT 'not given'::text, dry_run boolean DEFAULT false) RETURNS SETOF public.organizations
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  made public.organizations := row(gen_random_uuid(), btrim(create_organization.name), false, core.now());
begin
  if coalesce(length(made.name), 0) not between 1 and 100 then
    raise exception 'name must have 1 to 100 characters' using errcode = 'PR400', detail = 'name';
  end if;
  if exists (select from public.organizations o where o.name = made.name) then
    raise exception 'there is an organization % already', made.name
      using errcode = 'PR409', detail = 'name', hint = 'Another name keeps them apart for people.';
  end if;
  if not dry_run then
    insert into public.organizations values (made.*);
    perform core.note_action('create_organization', made.id::text, reason, json_build_object('name', made.name));
  end if;
  return next made;
end
$$;

ALTER FUNCTION ops.create_organization(name text, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION create_organization(name text, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.create_organization(name text, reason text, dry_run boolean) IS 'Makes an organization, not verified and without members. Returns its row. Call: select * from ops.create_organization(''Example''); Errors: PR400 naming name; PR409 a name in use. Spec 2.3.';

--
-- Name: create_token(text, text, text[], timestamp with time zone, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.create_token("user" text, name text, scopes text[] DEFAULT '{run,read}'::text[], expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, reason text DEFAULT 'not given'::text, dry_run boolean DEFAULT false) RETURNS TABLE(user_id uuid, id uuid, token text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
begin
  user_id := core.find_user("user");
  perform core.check_token(user_id, create_token.name, create_token.scopes, create_token.expires_at);
  id := gen_random_uuid();
  if not dry_run then
    token := core.make_token();
    insert into public.api_tokens (token_hash, id, user_id, name, scopes, expires_at, created_at)
    values (
      sha256(convert_to(token, 'UTF8')), id, user_id, btrim(create_token.name), create_token.scopes, create_token.expires_at, core.now()
    );
    perform core.note_action(
      'create_token', id::text, reason,
      json_build_object('user_id', user_id, 'name', btrim(create_token.name), 'scopes', create_token.scopes, 'expires_at', create_token.expires_at)
    );
  end if;
  return next;
end
$$;

ALTER FUNCTION ops.create_token("user" text, name text, scopes text[], expires_at timestamp with time zone, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION create_token("user" text, name text, scopes text[], expires_at timestamp with time zone, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.create_token("user" text, name text, scopes text[], expires_at timestamp with time zone, reason text, dry_run boolean) IS 'Makes an API token for a person (id, e-mail or username) and shows it this once; scopes are run, read, billing, publish and admin, expires_at null is never. With dry_run the token is null and nothing is kept. Call: select * from ops.create_token(''user@example.com'', ''laptop'', ''{run,read}''); Errors: as core.find_user and core.check_token. Spec 2.2, 12.';

--
-- Name: create_user(text, text, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.create_user(email text, username text, reason text DEFAULT 'not given'::text, dry_run boolean DEFAULT false) RETURNS TABLE(user_id uuid, token text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $_$
#variable_conflict use_column
declare
  address text := nullif(lower(btrim(create_user.email)), '');
begin
  if coalesce(length(btrim(create_user.username)), 0) not between 1 and 100 then
    raise exception 'username must have 1 to 100 characters' using errcode = 'PR400', detail = 'username';
  end if;
  if address !~ '^[^@[:space:]]+@[^@[:space:]]+$' or length(address) > 254 then
    raise exception '% is no e-mail address', create_user.email
      using errcode = 'PR400', detail = 'email', hint = 'Give one, or null for a person without.';
  end if;
  if exists (select from public.user_emails e where e.email = address) then
    raise exception '% has an account already', address
      using errcode = 'PR409', detail = 'email', hint = format('select * from users where email = %L;', address);
  end if;

  user_id := gen_random_uuid();
  if not dry_run then
    if not core.create_user(user_id, create_user.username, address, 'e-mail ' || address) and address is not null then
      raise exception '% has an account already', address using errcode = 'PR409', detail = 'email';
    end if;
    perform core.note_action('create_user', user_id::text, reason, json_build_object('username', btrim(create_user.username)));
    select t.token into token
    from ops.create_token(user_id::text, 'first token', '{run,read,billing,publish}', reason => create_user.reason) t;
  end if;
  return next;
end
$_$;

ALTER FUNCTION ops.create_user(email text, username text, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION create_user(email text, username text, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.create_user(email text, username text, reason text, dry_run boolean) IS 'Makes a person, with sign-up credits unless this e-mail has had them, and an API token for all but administration, shown this once. email null: a person without. With dry_run the token is null and nothing is kept. Call: select * from ops.create_user(''user@example.com'', ''someone''); Errors: PR400 naming email or username; PR409 an e-mail that has an account. Spec 2.1, 12.';

--
-- Name: expire_holds(); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.expire_holds() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  candidate uuid;
  expired integer := 0;
begin
  for candidate in
    select u.id from public.users u where u.holds_expire_at <= now order by u.id
  loop
    perform from public.users u where u.id = candidate for no key update skip locked;
    if found then
      expired := expired + core.expire_user_holds(candidate, now);
    end if;
  end loop;
  return expired;
end
$$;

ALTER FUNCTION ops.expire_holds() OWNER TO prpm_owner;

--
-- Name: FUNCTION expire_holds(); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.expire_holds() IS 'Ends runs whose server is gone: charges what their last checkpoint had, releases the rest. Passes over users whose row is in use; those heal on use. Returns how many runs it ended. Call: select ops.expire_holds(); Spec 7.1.';

--
-- Name: expire_lots(); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.expire_lots() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  candidate uuid;
  expired bigint := 0;
begin
  for candidate in
    select u.id from public.users u where u.next_lot_expiry <= now order by u.id
  loop
    perform from public.users u where u.id = candidate for no key update skip locked;
    if found then
      expired := expired + core.tidy_lots(candidate, now);
    end if;
  end loop;
  return expired;
end
$$;

ALTER FUNCTION ops.expire_lots() OWNER TO prpm_owner;

--
-- Name: FUNCTION expire_lots(); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.expire_lots() IS 'Books expired credits of everyone; passes over users whose row is in use, those heal on use. Returns the credits expired. Call: select ops.expire_lots(); Spec 4.5, 7.1.';

--
-- Name: explain_balance(text); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.explain_balance("user" text) RETURNS TABLE(step bigint, at timestamp with time zone, type text, change bigint, balance bigint, lot text, explanation text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  u public.users;
  clock timestamptz := core.now();
  expired bigint;
  available bigint;
begin
  select x.* into u from public.users x where x.id = core.find_user("user");

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

ALTER FUNCTION ops.explain_balance("user" text) OWNER TO prpm_owner;

--
-- Name: FUNCTION explain_balance("user" text); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.explain_balance("user" text) IS 'How a user''s credits came to be: each movement in order with the balance that follows from it, then the books'' own figure and what of it can be spent. "user" is an id, e-mail or username. Errors: PR404 unknown user. Spec 4.8, 12.';

--
-- Name: explain_charge(uuid); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.explain_charge(run uuid) RETURNS TABLE(step bigint, what text, quantity numeric, rate numeric, amount numeric, unit text, explanation text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  r public.runs;
  p public.model_prices;
  tokens bigint;
  units numeric;
begin
  select x.* into r from public.users u join public.runs x on x.user_id = u.id and x.id = explain_charge.run;
  if not found then
    raise exception 'there is no run %', explain_charge.run using errcode = 'PR404', detail = 'run';
  end if;
  select x.* into p from public.model_prices x where x.id = r.price_id;
  tokens := coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0);
  units := greatest(1, ceil(tokens / r.tokens_per_credit::numeric));

  return query
  select row_number() over (order by s.place, s.lot), s.what, s.quantity, s.rate, s.amount, s.unit, s.explanation
  from (
    select 1, 0::bigint, 'input', c.tokens::numeric, c.price, c.tokens * c.price * 0.000001, 'dollars', 'Tokens neither from nor to a cache, at dollars per million.'
    from (select coalesce(r.input_tokens - coalesce(r.cached_tokens, 0) - coalesce(r.cache_write_tokens, 0), 0), p.input) c (tokens, price)
    union all
    select 2, 0, 'cached read', r.cached_tokens, coalesce(p.cached_read, p.input), r.cached_tokens * coalesce(p.cached_read, p.input) * 0.000001, 'dollars', 'Tokens read from the provider''s cache.'
    where r.cached_tokens > 0
    union all
    select 3, 0, 'cache write', r.cache_write_tokens, coalesce(p.cache_write, p.input), r.cache_write_tokens * coalesce(p.cache_write, p.input) * 0.000001, 'dollars', 'Tokens written to the provider''s cache.'
    where r.cache_write_tokens > 0
    union all
    select 4, 0, 'output', coalesce(r.output_tokens, 0), p.output, coalesce(r.output_tokens, 0) * p.output * 0.000001, 'dollars', 'Tokens written.'
    union all
    select 5, 0, 'cost', null, null, r.cost, 'dollars', format('As the books have it, by price row %s of %s.%s', r.price_id, r.model, case when r.estimated then ' Tokens were counted by us: the provider''s report was lost.' end)
    union all
    select 6, 0, 'tokens', tokens, r.tokens_per_credit, units, 'credits', 'Each begun tokens_per_credit is one credit, at least 1.'
    union all
    select 7, 0, 'model', units, r.credit_multiplier, ceil(units * r.credit_multiplier), 'credits', 'Times the model''s multiplier, rounded up.'
    union all
    select 8, 0, 'custom prompt', ceil(units * r.credit_multiplier), r.prompt_multiplier, ceil(ceil(units * r.credit_multiplier) * r.prompt_multiplier), 'credits', 'Times the custom prompt''s factor, rounded up.'
    where r.prompt_multiplier <> 1
    union all
    select 9, 0, 'waived', null, null, -ceil(ceil(units * r.credit_multiplier) * r.prompt_multiplier), 'credits', 'Nothing was delivered: nothing is charged.'
    where r.status <> 'running' and r.credits = 0 and r.shortfall = 0
    union all
    select 9, 0, 'shortfall', null, null, -r.shortfall, 'credits', 'Above its hold, and nothing free could pay it.'
    where r.shortfall > 0
    union all
    select 10, t.id, t.type, null, null, case when t.credit = 'lot' then -t.amount else t.amount end, 'credits',
      format('Transfer %s, %s lot %s.', t.id, l.kind, t.lot_id)
    from public.credit_transactions t
    left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
    where t.user_id = r.user_id and t.run_id = r.id
    union all
    select 11, 0, 'charged', null, null, r.credits, 'credits', format('As the books have it; the run is %s.', r.status)
  ) s (place, lot, what, quantity, rate, amount, unit, explanation)
  order by 1;
end
$$;

ALTER FUNCTION ops.explain_charge(run uuid) OWNER TO prpm_owner;

--
-- Name: FUNCTION explain_charge(run uuid); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.explain_charge(run uuid) IS 'How a run''s cost and charge came to be: tokens by kind at the prices that it began under, then credits by spec 1.1 and 1.7, then the transfers that paid; the rows cost (US dollars) and, last, charged (credits) are the books'' own. Errors: PR404 unknown run. Spec 1.3, 12.';

--
-- Name: explain_price(text, timestamp with time zone); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.explain_price(model text, at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(step integer, what text, value numeric, unit text, explanation text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  instant timestamptz := coalesce(explain_price.at, core.now());
  m public.models;
  p public.model_prices;
  per_credit integer;
begin
  select x.* into m from public.models x where x.alias = explain_price.model;
  if not found then
    raise exception 'there is no model %', explain_price.model
      using errcode = 'PR404', detail = 'model', hint = 'select alias from models;';
  end if;
  select s.tokens_per_credit into per_credit from public.settings s;
  select x.* into p from public.model_prices x where x.model = m.alias and x.valid @> instant;

  return query values
    (1, 'model', null::numeric, null, format('%s is %s of %s%s', m.alias, m.provider_model, m.provider, case when not m.enabled then ', switched off' end)),
    (2, 'credit multiplier', m.credit_multiplier, 'times', 'Applies now; a run keeps the one that it began under.'),
    (3, 'least charge', ceil(m.credit_multiplier), 'credits', format('For a run of up to %s tokens.', per_credit));
  if p.id is null then
    return query values
      (4, 'price', null::numeric, null, format('No price is valid at %s: a run is refused with model_not_priced.', instant));
    return;
  end if;
  return query values
    (4, 'input', p.input, 'dollars per million tokens', 'Input that is neither read from a cache nor written to one.'),
    (5, 'cached read', coalesce(p.cached_read, p.input), 'dollars per million tokens', case when p.cached_read is null then 'None of its own: as input.' else 'Input read from the provider''s cache.' end),
    (6, 'cache write', coalesce(p.cache_write, p.input), 'dollars per million tokens', case when p.cache_write is null then 'None of its own: as input.' else 'Input written to the provider''s cache.' end),
    (7, 'output', p.output, 'dollars per million tokens', 'What the model writes.'),
    (8, 'price', null, null, format('Row %s of model_prices, valid %s, from %s.', p.id, p.valid, p.source));
end
$$;

ALTER FUNCTION ops.explain_price(model text, at timestamp with time zone) OWNER TO prpm_owner;

--
-- Name: FUNCTION explain_price(model text, at timestamp with time zone); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.explain_price(model text, at timestamp with time zone) IS 'What a model costs and charges at a time (null: now), one row for each part; the last row names the row of the price book, or says that there is none. US dollars per million tokens. Errors: PR404 unknown model. Spec 1.3, 12.';

--
-- Name: explain_throttle(text); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.explain_throttle("user" text) RETURNS TABLE(step integer, what text, used numeric, held numeric, "limit" numeric, unit text, explanation text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  clock timestamptz := core.now();
  u public.users;
  tier text;
  l public.cost_limits_config;
  useful numeric := coalesce(core.cheapest_useful_cost(clock), 0);
begin
  select x.* into u from public.users x where x.id = core.find_user("user");
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
      when l.monthly_cost_limit - u.current_month_limited_cost < useful then 'The month has less left than a useful answer of the cheapest model costs.'
      when l.daily_cost_limit - u.current_day_limited_cost < useful then 'The day has less left than a useful answer of the cheapest model costs.'
      else 'No cost window is used up.'
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

ALTER FUNCTION ops.explain_throttle("user" text) OWNER TO prpm_owner;

--
-- Name: FUNCTION explain_throttle("user" text); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.explain_throttle("user" text) IS 'Why a user is throttled, or not: tier and where it comes from, each window''s use, hold and limit as of now, whether a window is used up, and at last what the user''s row says. "user" is an id, e-mail or username. Errors: PR404 unknown user. Spec 2.5, 3, 12.';

--
-- Name: forget_keys(); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.forget_keys() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  before timestamptz := core.now() - interval '24 hours';
  forgotten bigint;
begin
  delete from public.idempotency_keys i where i.created_at < before;
  get diagnostics forgotten = row_count;
  return forgotten;
end
$$;

ALTER FUNCTION ops.forget_keys() OWNER TO prpm_owner;

--
-- Name: FUNCTION forget_keys(); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.forget_keys() IS 'Drops idempotency keys that are older than 24 hours. Returns how many. Call: select ops.forget_keys(); Spec 5.3.';

--
-- Name: grant_credits(text, bigint, text, timestamp with time zone, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.grant_credits("user" text, amount bigint, reason text, expires_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone, dry_run boolean DEFAULT false) RETURNS TABLE(user_id uuid, email text, lot_id uuid, granted bigint, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  lot uuid;
begin
  if grant_credits.amount is null or grant_credits.amount not between 1 and 1000000 then
    raise exception 'amount % is not between 1 and 1000000', grant_credits.amount using errcode = 'PR400', detail = 'amount';
  end if;
  if not dry_run then
    perform core.note_action('grant_credits', target::text, reason, json_build_object('amount', grant_credits.amount));
    lot := core.grant_lot(
      target, 'bonus', grant_credits.amount, 'admin', 'operator', gen_random_uuid()::text, core.now(),
      expires_at => grant_credits.expires_at, description => reason, actor => session_user
    );
  end if;
  return query
    select u.id, u.email, lot, grant_credits.amount,
      u.included_credits + u.purchased_credits + case when dry_run then grant_credits.amount else 0 end
    from public.users u
    where u.id = target;
end
$$;

ALTER FUNCTION ops.grant_credits("user" text, amount bigint, reason text, expires_at timestamp with time zone, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION grant_credits("user" text, amount bigint, reason text, expires_at timestamp with time zone, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.grant_credits("user" text, amount bigint, reason text, expires_at timestamp with time zone, dry_run boolean) IS 'Gives a user (id, e-mail or username) bonus credits. dry_run shows the balance that would result. Call: select * from ops.grant_credits(''user@example.com'', 10, ''sorry for the outage''); Errors: PR404, PR400. Spec 4.7.';

--
-- Name: help(text); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.help(word text DEFAULT ''::text) RETURNS TABLE(name text, kind text, does text, call text)
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT h.name,
     h.kind,
     btrim(regexp_replace(h.comment, '\s*Call: [^;]*;'::text, ''::text)) AS btrim,
     COALESCE("substring"(h.comment, 'Call: ([^;]*;)'::text), h.call) AS "coalesce"
    FROM ( SELECT (((n.nspname)::text || '.'::text) || (p.proname)::text) AS name,
             'function'::text AS kind,
             obj_description(p.oid, 'pg_proc'::name) AS comment,
             format('select * from %I.%I(%s);'::text, n.nspname, p.proname, ( SELECT string_agg(format('%I => …'::text, a.name), ', '::text ORDER BY a.ordinality) AS string_agg
                    FROM unnest(p.proargnames) WITH ORDINALITY a(name, ordinality)
                   WHERE (a.ordinality <= (p.pronargs - p.pronargdefaults)))) AS call
            FROM (pg_proc p
              JOIN pg_namespace n ON ((n.oid = p.pronamespace)))
           WHERE ((n.nspname = ANY (ARRAY['ops'::name, 'public'::name])) AND (p.prorettype <> ('trigger'::regtype)::oid))
         UNION ALL
          SELECT (((n.nspname)::text || '.'::text) || (c.relname)::text),
                 CASE
                     WHEN (c.relkind = 'r'::"char") THEN 'table'::text
                     ELSE 'view'::text
                 END AS "case",
             obj_description(c.oid, 'pg_class'::name) AS obj_description,
             format('select * from %I.%I limit 20;'::text, n.nspname, c.relname) AS format
            FROM (pg_class c
              JOIN pg_namespace n ON ((n.oid = c.relnamespace)))
           WHERE ((n.nspname = ANY (ARRAY['ops'::name, 'public'::name])) AND (c.relkind = ANY (ARRAY['r'::"char", 'v'::"char", 'm'::"char"])))
         UNION ALL
          SELECT ('settings.'::text || (a.attname)::text),
             'setting'::text,
             col_description(a.attrelid, (a.attnum)::integer) AS col_description,
             format('update settings set %I = …;'::text, a.attname) AS format
            FROM pg_attribute a
           WHERE ((a.attrelid = ('public.settings'::regclass)::oid) AND (a.attnum > 0) AND (NOT a.attisdropped) AND (a.attname <> 'only_row'::name))) h
   WHERE ((h.comment IS NOT NULL) AND (NOT (EXISTS ( SELECT
            FROM regexp_split_to_table(btrim(COALESCE(help.word, ''::text)), '\s+'::text) w(w)
           WHERE (strpos(lower(((h.name || ' '::text) || h.comment)), lower(w.w)) = 0)))))
   ORDER BY (strpos(lower(h.name), lower(btrim(COALESCE(help.word, ''::text)))) = 0), (array_position(ARRAY['function'::text, 'view'::text, 'setting'::text, 'table'::text], h.kind)), h.name;
END;

ALTER FUNCTION ops.help(word text) OWNER TO prpm_owner;

--
-- Name: FUNCTION help(word text); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.help(word text) IS 'Finds the function, view, setting or table for a purpose, by every word of the question in its name or description; without a word, all. What has the word in its name comes first, then what can be called. Call: select * from ops.help(''throttle''); Spec 12.';

--
-- Name: publish_prices(text, timestamp with time zone, numeric, numeric, numeric, numeric, text, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.publish_prices(model text, valid_from timestamp with time zone, input numeric, cached_read numeric, cache_write numeric, output numeric, source text, reason text, dry_run boolean DEFAULT false) RETURNS SETOF public.model_prices
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  now timestamptz;
  starts timestamptz;
  origin text := coalesce(nullif(btrim(publish_prices.source), ''), 'operator');
  ended public.model_prices;
  added public.model_prices;
begin
  perform core.check_price(publish_prices.model, publish_prices.input, publish_prices.cached_read, publish_prices.cache_write, publish_prices.output);
  -- One at a time for each model.
  perform from public.models m where m.alias = publish_prices.model for no key update;
  now := core.now();
  starts := coalesce(publish_prices.valid_from, now);
  if starts < now and exists (
    select from public.model_prices p where p.model = publish_prices.model and p.valid && tstzrange(starts, now)
  ) then
    raise exception 'the price of % since % is in the books already', publish_prices.model, starts
      using errcode = 'PR400', detail = 'valid_from', hint = 'Give an instant to come, or null for now.';
  end if;

  select p.* into ended from public.model_prices p where p.model = publish_prices.model and p.valid @> starts;
  if ended.source = 'operator' and origin <> 'operator' then
    raise notice 'the price of % is an operator''s own, and stays.', publish_prices.model;
    return;
  end if;
  if (ended.input, ended.cached_read, ended.cache_write, ended.output) is not distinct from
    (publish_prices.input, publish_prices.cached_read, publish_prices.cache_write, publish_prices.output) then
    return;
  end if;
  if lower(ended.valid) = starts then
    raise exception 'another price of % is valid from that very instant', publish_prices.model
      using errcode = 'PR409', detail = 'valid_from', hint = 'Give a later one: a price is ended, never changed.';
  end if;

  added := row(
    gen_random_uuid(), publish_prices.model,
    tstzrange(starts, (select min(lower(p.valid)) from public.model_prices p where p.model = publish_prices.model and lower(p.valid) > starts)),
    trim_scale(publish_prices.input), trim_scale(publish_prices.cached_read), trim_scale(publish_prices.cache_write),
    trim_scale(publish_prices.output), origin, now
  );
  if not dry_run then
    perform core.note_action('publish_prices', publish_prices.model, reason, to_json(added));
    update public.model_prices p set valid = tstzrange(lower(p.valid), starts) where p.id = ended.id;
    insert into public.model_prices values (added.*);
  end if;
  if ended.id is not null then
    ended.valid := tstzrange(lower(ended.valid), starts);
    return next ended;
  end if;
  return next added;
end
$$;

ALTER FUNCTION ops.publish_prices(model text, valid_from timestamp with time zone, input numeric, cached_read numeric, cache_write numeric, output numeric, source text, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION publish_prices(model text, valid_from timestamp with time zone, input numeric, cached_read numeric, cache_write numeric, output numeric, source text, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.publish_prices(model text, valid_from timestamp with time zone, input numeric, cached_read numeric, cache_write numeric, output numeric, source text, reason text, dry_run boolean) IS 'Gives a model a price from an instant on (null: now), in US dollars per million tokens; cached_read and cache_write null are the input price. Ends the row that is valid then and adds one that holds until the next that is planned. Returns both, the ended one first; no row: the price is that already, or is an operator''s own and source is not operator. dry_run shows the rows and keeps nothing. Call: select * from ops.publish_prices(''sonnet'', null, 3, 0.3, 3.75, 15, ''operator'', ''new price list''); Errors: PR404 unknown model; PR400 naming a price, valid_from (in the past) or reason; PR409 that very instant is taken. Spec 1.3, 1.4, 12.';

--
-- Name: reconcile_stripe(boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.reconcile_stripe(whole boolean DEFAULT true) RETURNS TABLE(kind text, due_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
begin
  perform core.want_work('list_events', 'undelivered', null,
    jsonb_build_object('created_after', extract(epoch from now - interval '30 days')::bigint));
  if whole then
    perform core.want_work('list_subscriptions', 'all', null, '{}');
  end if;
  return query select w.kind, w.due_at from public.stripe_work w where w.kind in ('list_events', 'list_subscriptions');
end
$$;

ALTER FUNCTION ops.reconcile_stripe(whole boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION reconcile_stripe(whole boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.reconcile_stripe(whole boolean) IS 'Lets a server compare Stripe with us: events that Stripe could not deliver in 30 days and, whole, all subscriptions. What differs is repaired and kept in ops.stripe_drift. Call: select * from ops.reconcile_stripe(); Spec 6.6.';

--
-- Name: release_throttle(text, text); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.release_throttle("user" text, reason text) RETURNS TABLE(user_id uuid, email text, is_throttled boolean, note text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  still boolean;
begin
  perform core.note_action('release_throttle', target::text, reason, null);
  update public.users u
  set is_throttled = false, throttled_reason = null, throttled_by = null, throttled_at = null, throttled_until = null
  where u.id = target;
  still := core.judge_throttle(target, core.now());
  return query
    select u.id, u.email, u.is_throttled,
      case when still then 'Still over a limit that throttles: see ops.waive_limits(user, until, reason).' else 'Can run again.' end
    from public.users u
    where u.id = target;
end
$$;

ALTER FUNCTION ops.release_throttle("user" text, reason text) OWNER TO prpm_owner;

--
-- Name: FUNCTION release_throttle("user" text, reason text); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.release_throttle("user" text, reason text) IS 'Lifts a user''s throttle. If a used-up cost limit throttles them still, it says so. Call: select * from ops.release_throttle(''user@example.com'', ''false positive''); Errors: PR404, PR400 without a reason. Spec 3.4, 3.5.';

--
-- Name: remove_member(text, text, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.remove_member(organization text, "user" text, reason text DEFAULT 'not given'::text, dry_run boolean DEFAULT false) RETURNS SETOF public.organization_members
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  person uuid := core.find_user("user");
  team uuid := core.find_organization(organization);
  member public.organization_members;
begin
  select m.* into member from public.organization_members m where m.user_id = person and m.organization_id = team;
  if not found then
    raise exception '% is no member of %', "user", organization using errcode = 'PR404', detail = 'user';
  end if;
  if not dry_run then
    perform core.note_action('remove_member', team::text, reason, json_build_object('user_id', person));
    delete from public.organization_members m where m.user_id = person and m.organization_id = team;
  end if;
  return next member;
end
$$;

ALTER FUNCTION ops.remove_member(organization text, "user" text, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION remove_member(organization text, "user" text, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.remove_member(organization text, "user" text, reason text, dry_run boolean) IS 'Ends a person''s membership of an organization. Returns the membership that was. Call: select * from ops.remove_member(''Example'', ''user@example.com''); Errors: as core.find_user and core.find_organization; PR404 no member. Spec 2.3.';

--
-- Name: replay_stripe_event(text, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.replay_stripe_event(event_id text, reason text, dry_run boolean DEFAULT false) RETURNS TABLE(id text, type text, user_id uuid, status text, error text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION ops.replay_stripe_event(event_id text, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION replay_stripe_event(event_id text, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.replay_stripe_event(event_id text, reason text, dry_run boolean) IS 'Applies a stored event once more, by hand: what is booked already stays booked once. Call: select * from ops.replay_stripe_event(''evt_…'', ''price was missing''); Errors: PR404 unknown event, PR409 without its body, PR400 without a reason. Spec 6.5.';

--
-- Name: reset_credits(); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.reset_credits() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  candidate uuid;
  touched bigint := 0;
begin
  for candidate in
    select u.id
    from public.users u
    where u.entitled_until <= now or u.next_lot_expiry <= now
    order by u.id
  loop
    perform from public.users u where u.id = candidate for no key update skip locked;
    if found then
      perform core.tidy_lots(candidate, now);
      perform core.refresh_entitlement(candidate, now);
      touched := touched + 1;
    end if;
  end loop;
  return touched;
end
$$;

ALTER FUNCTION ops.reset_credits() OWNER TO prpm_owner;

--
-- Name: FUNCTION reset_credits(); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.reset_credits() IS 'Books what time has done to credits and entitlements: paid periods that are over, rollover and expiry that are due. Passes over users whose row is in use, those heal on use. Returns how many users it touched. Call: select ops.reset_credits(); Spec 4.3, 7.1.';

--
-- Name: retry_stripe_work(uuid, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.retry_stripe_work(work_id uuid, reason text, dry_run boolean DEFAULT false) RETURNS TABLE(id uuid, kind text, key text, user_id uuid, attempts integer, error text, due_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
begin
  if not exists (select from public.stripe_work w where w.id = retry_stripe_work.work_id) then
    raise exception 'work % is unknown or done', retry_stripe_work.work_id using errcode = 'PR404', detail = 'work_id',
      hint = 'select id, kind, key, error from stripe_work where is_failed;';
  end if;
  if not dry_run then
    perform core.note_action('retry_stripe_work', retry_stripe_work.work_id::text, reason, null);
    update public.stripe_work w set is_failed = false, attempts = 0, due_at = core.now() where w.id = retry_stripe_work.work_id;
  end if;
  return query
    select w.id, w.kind, w.key, w.user_id, w.attempts, w.error, w.due_at from public.stripe_work w where w.id = retry_stripe_work.work_id;
end
$$;

ALTER FUNCTION ops.retry_stripe_work(work_id uuid, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION retry_stripe_work(work_id uuid, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.retry_stripe_work(work_id uuid, reason text, dry_run boolean) IS 'Lets a piece of work at Stripe that was given up be tried once more, by the next server that looks. Call: select * from ops.retry_stripe_work(''00000000-…'', ''price was set''); Errors: PR404 unknown or done, PR400 without a reason. Spec 6.5.';

--
-- Name: revoke_credits(text, bigint, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.revoke_credits("user" text, amount bigint, reason text, dry_run boolean DEFAULT false) RETURNS TABLE(user_id uuid, email text, lot_id uuid, kind text, taken bigint, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  now timestamptz := core.now();
  u public.users;
  lot record;
  left_over bigint := revoke_credits.amount;
  part bigint;
begin
  if revoke_credits.amount is null or revoke_credits.amount not between 1 and 1000000 then
    raise exception 'amount % is not between 1 and 1000000', revoke_credits.amount using errcode = 'PR400', detail = 'amount';
  end if;
  perform core.tidy_lots(target, now);
  select x.* into u from public.users x where x.id = target for no key update;
  if left_over > u.included_credits + u.purchased_credits - u.held_included - u.held_purchased then
    raise exception '% credits cannot be taken back: % are free', left_over,
      u.included_credits + u.purchased_credits - u.held_included - u.held_purchased
      using errcode = 'PR409', detail = 'amount', hint = 'Take back fewer, or wait until running runs have ended.';
  end if;
  if not dry_run then
    perform core.note_action('revoke_credits', target::text, reason, json_build_object('amount', revoke_credits.amount));
  end if;

  for lot in
    select h.* from core.held_in_lots(target, u.held_included, u.held_purchased) h where h.remaining > h.held
  loop
    exit when left_over = 0;
    part := least(left_over, lot.remaining - lot.held);
    left_over := left_over - part;
    if not dry_run then
      perform core.move_credits(
        target, lot.lot_id, 'admin', 'lot', 'clawed_back', part, now, description => reason, actor => session_user
      );
    end if;
    return query
      select x.id, x.email, lot.lot_id, lot.kind, part, x.included_credits + x.purchased_credits
      from public.users x
      where x.id = target;
  end loop;
  perform core.refresh_lots(target);
end
$$;

ALTER FUNCTION ops.revoke_credits("user" text, amount bigint, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION revoke_credits("user" text, amount bigint, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.revoke_credits("user" text, amount bigint, reason text, dry_run boolean) IS 'Takes free credits of a user back, in the order of spending; what running runs hold is left. dry_run shows from which lots. Call: select * from ops.revoke_credits(''user@example.com'', 10, ''granted twice''); Errors: PR404, PR400, PR409 if fewer are free. Spec 4.5, 4.7.';

--
-- Name: run_job(text); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.run_job(job text, OUT slot timestamp with time zone, OUT ran boolean, OUT rows_touched bigint, OUT error text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  j public.jobs;
begin
  select x.* into j from public.jobs x where x.job = run_job.job;
  if not found then
    raise exception 'there is no job %', run_job.job using errcode = 'PR404', detail = 'job', hint = 'select job, description from jobs;';
  end if;
  slot := core.slot_of(j.every, j.after, now);

  insert into public.job_runs as r (job, slot, started_at) values (j.job, run_job.slot, now)
  on conflict on constraint job_runs_job_slot_key do nothing;
  ran := found;
  if not ran then
    return;
  end if;

  begin
    rows_touched := case j.job
      when 'expire-holds' then ops.expire_holds()
      when 'watch-budgets' then sign(ops.watch_budgets())
      when 'choose-cached-prompts' then ops.choose_cached_prompts()
      when 'reset-monthly-costs' then public.reset_monthly_api_costs()
      when 'expire-rollover' then ops.expire_lots()
      when 'align-prices' then ops.align_prices()
      when 'reset-credits' then ops.reset_credits()
      when 'reconcile-stripe' then (select count(*) from ops.reconcile_stripe(extract(hour from now at time zone 'UTC') = 3))
      when 'forget-keys' then ops.forget_keys()
    end;
    if j.job = 'refresh-analytics' then
      perform public.refresh_user_cost_analytics();
    end if;
  exception when others then
    error := sqlerrm;
  end;
  update public.job_runs r
  set finished_at = core.now(), rows_touched = run_job.rows_touched, error = run_job.error
  where r.job = j.job and r.slot = run_job.slot;
end
$$;

ALTER FUNCTION ops.run_job(job text, OUT slot timestamp with time zone, OUT ran boolean, OUT rows_touched bigint, OUT error text) OWNER TO prpm_owner;

--
-- Name: FUNCTION run_job(job text, OUT slot timestamp with time zone, OUT ran boolean, OUT rows_touched bigint, OUT error text); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.run_job(job text, OUT slot timestamp with time zone, OUT ran boolean, OUT rows_touched bigint, OUT error text) IS 'Does a job''s due slot, once, whoever calls and however often; the result stands in job_runs. ran is false where the slot was done already. Call: select * from ops.run_job(''expire-holds''); Errors: PR404 unknown job. Spec 7.1, 7.2.';

--
-- Name: set_user(text, boolean, boolean, text, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.set_user("user" text, is_admin boolean DEFAULT NULL::boolean, verified_author boolean DEFAULT NULL::boolean, tier_override text DEFAULT NULL::text, reason text DEFAULT NULL::text, dry_run boolean DEFAULT false) RETURNS TABLE(user_id uuid, email text, administrator boolean, author boolean, given_tier text, tier_name text, is_throttled boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  person public.users;
begin
  if set_user.tier_override <> '' and not exists (
    select from public.cost_limits_config c where c.tier_name = set_user.tier_override and c.is_active
  ) then
    raise exception 'there is no active tier %', set_user.tier_override
      using errcode = 'PR400', detail = 'tier_override', hint = 'select tier_name from cost_limits_config where is_active; '''' takes an override away.';
  end if;

  select u.* into strict person from public.users u where u.id = target for no key update;
  person.is_admin := coalesce(set_user.is_admin, person.is_admin);
  person.verified_author := coalesce(set_user.verified_author, person.verified_author);
  person.tier_override := case when set_user.tier_override is null then person.tier_override else nullif(set_user.tier_override, '') end;
  if not dry_run then
    perform core.note_action('set_user', target::text, reason, json_strip_nulls(json_build_object(
      'is_admin', set_user.is_admin, 'verified_author', set_user.verified_author, 'tier_override', set_user.tier_override
    )));
    update public.users u
    set
      is_admin = person.is_admin, verified_author = person.verified_author, tier_override = person.tier_override,
      updated_at = core.now()
    where u.id = target;
    if person.is_throttled and person.throttled_by = 'limit' then
      person.is_throttled := core.judge_throttle(target, core.now());
    end if;
  end if;
  return query select person.id, person.email, person.is_admin, person.verified_author, person.tier_override,
    core.tier_now(person), person.is_throttled;
end
$$;

ALTER FUNCTION ops.set_user("user" text, is_admin boolean, verified_author boolean, tier_override text, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION set_user("user" text, is_admin boolean, verified_author boolean, tier_override text, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.set_user("user" text, is_admin boolean, verified_author boolean, tier_override text, reason text, dry_run boolean) IS 'Makes a person (id, e-mail or username) an administrator, a verified author, or one of a tier whatever they pay; what is left out stays, tier_override '''' takes the override away. A higher tier ends a limit''s throttle at once. Returns how they stand then: given_tier is the override, tier_name the tier that holds. Call: select * from ops.set_user(''user@example.com'', tier_override => ''unlimited'', reason => ''partner''); Errors: as core.find_user; PR400 a tier that cannot be given, or no reason. Spec 2.3, 2.5, 3.4.';

--
-- Name: throttle_user(text, timestamp with time zone, text); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.throttle_user("user" text, until timestamp with time zone, reason text) RETURNS TABLE(user_id uuid, email text, is_throttled boolean, throttled_by text, throttled_reason text, throttled_until timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
begin
  perform core.note_action('throttle_user', target::text, reason, json_build_object('until', until));
  return query
    update public.users u
    set is_throttled = true, throttled_by = 'operator', throttled_reason = reason, throttled_at = core.now(), throttled_until = until
    where u.id = target
    returning u.id, u.email, u.is_throttled, u.throttled_by, u.throttled_reason, u.throttled_until;
end
$$;

ALTER FUNCTION ops.throttle_user("user" text, until timestamp with time zone, reason text) OWNER TO prpm_owner;

--
-- Name: FUNCTION throttle_user("user" text, until timestamp with time zone, reason text); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.throttle_user("user" text, until timestamp with time zone, reason text) IS 'Holds a user (id, e-mail or username) until an instant, or for good where until is null, also one whom a limit throttles already. Call: select * from ops.throttle_user(''user@example.com'', ''2026-01-01'', ''chargeback''); Errors: PR404, PR400 without a reason. Spec 3.4.';

--
-- Name: verify_organization(text, boolean, text, boolean); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.verify_organization(organization text, verified boolean, reason text, dry_run boolean DEFAULT false) RETURNS SETOF public.organizations
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  target uuid := core.find_organization(organization);
  changed public.organizations;
begin
  if verified is null then
    raise exception 'verified must be true or false' using errcode = 'PR400', detail = 'verified';
  end if;
  if not dry_run then
    perform core.note_action('verify_organization', target::text, reason, json_build_object('verified', verified));
    update public.organizations o set is_verified = verified where o.id = target;
  end if;
  select o.* into strict changed from public.organizations o where o.id = target;
  changed.is_verified := verified;
  return next changed;
end
$$;

ALTER FUNCTION ops.verify_organization(organization text, verified boolean, reason text, dry_run boolean) OWNER TO prpm_owner;

--
-- Name: FUNCTION verify_organization(organization text, verified boolean, reason text, dry_run boolean); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.verify_organization(organization text, verified boolean, reason text, dry_run boolean) IS 'Says that an organization (id or name) is verified, or no longer; its members may have the organization price while it is, from their next renewal on. Returns its row. Call: select * from ops.verify_organization(''Example'', true, ''papers seen''); Errors: as core.find_organization; PR400 without verified or a reason. Spec 2.3, 2.4.';

--
-- Name: waive_limits(text, timestamp with time zone, text); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.waive_limits("user" text, until timestamp with time zone, reason text) RETURNS TABLE(user_id uuid, email text, is_throttled boolean, limits_waived_until timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
begin
  perform core.note_action('waive_limits', target::text, reason, json_build_object('until', until));
  update public.users u set limits_waived_until = until where u.id = target;
  perform core.judge_throttle(target, core.now());
  return query select u.id, u.email, u.is_throttled, u.limits_waived_until from public.users u where u.id = target;
end
$$;

ALTER FUNCTION ops.waive_limits("user" text, until timestamp with time zone, reason text) OWNER TO prpm_owner;

--
-- Name: FUNCTION waive_limits("user" text, until timestamp with time zone, reason text); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.waive_limits("user" text, until timestamp with time zone, reason text) IS 'Lets a user run past their cost limits until an instant (null ends it), and lifts the throttle that a limit set. Cost is recorded all the same. Call: select * from ops.waive_limits(''user@example.com'', now() + interval ''1 day'', ''demo for a customer''); Errors: PR404, PR400 without a reason. Spec 3.5.';

--
-- Name: watch_budgets(); Type: FUNCTION; Schema: ops; Owner: prpm_owner
--

CREATE FUNCTION ops.watch_budgets() RETURNS numeric
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  budget numeric;
  used numeric;
begin
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

ALTER FUNCTION ops.watch_budgets() OWNER TO prpm_owner;

--
-- Name: FUNCTION watch_budgets(); Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON FUNCTION ops.watch_budgets() IS 'Adds up what the free tier as a whole has cost today (US dollars, returned) and pauses it until tomorrow once settings.free_tier_daily_budget is used up; ends the pause when the budget was raised. For a job each minute, not the hot path. Call: select ops.watch_budgets(); Spec 3.6.';

--
-- Name: refresh_user_cost_analytics(); Type: FUNCTION; Schema: public; Owner: prpm_owner
--

CREATE FUNCTION public.refresh_user_cost_analytics() RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  people bigint;
begin
  if not pg_try_advisory_xact_lock(hashtext('refresh_user_cost_analytics')) then
    return 'a refresh is running: nothing to do';
  end if;

  perform core.refresh_view('core.user_cost_figures');
  perform core.refresh_view('core.package_model_usage');
  update core.analytics_refresh a set refreshed_at = clock_timestamp();

  select count(*) into people from core.user_cost_figures;
  return format('refreshed %s user%s', people, case when people <> 1 then 's' end);
end
$$;

ALTER FUNCTION public.refresh_user_cost_analytics() OWNER TO prpm_owner;

--
-- Name: FUNCTION refresh_user_cost_analytics(); Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON FUNCTION public.refresh_user_cost_analytics() IS 'Brings user_cost_analytics, and what estimates draw on, up to date without holding up readers. Returns how many users there are, or that a refresh is running, at once. Spec 7.4, 8.1.';

--
-- Name: reset_monthly_api_costs(); Type: FUNCTION; Schema: public; Owner: prpm_owner
--

CREATE FUNCTION public.reset_monthly_api_costs() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  now timestamptz := core.now();
  next_day timestamptz := (date_trunc('day', now at time zone 'UTC') + interval '1 day') at time zone 'UTC';
  next_month timestamptz := (date_trunc('month', now at time zone 'UTC') + interval '1 month') at time zone 'UTC';
  closed integer;
  throttled uuid;
begin
  update public.users u
  set
    current_month_api_cost = 0, current_month_limited_cost = 0, month_held_cost = 0, current_month_requests = 0, month_ends_at = next_month
  where u.month_ends_at <= now;
  get diagnostics closed = row_count;

  update public.users u
  set current_day_api_cost = 0, current_day_limited_cost = 0, day_held_cost = 0, day_ends_at = next_day
  where u.day_ends_at <= now;

  for throttled in
    select u.id from public.users u where u.is_throttled and u.throttled_by is not null and u.throttled_until <= now order by u.id
  loop
    perform core.judge_throttle(throttled, now);
  end loop;
  return closed;
end
$$;

ALTER FUNCTION public.reset_monthly_api_costs() OWNER TO prpm_owner;

--
-- Name: FUNCTION reset_monthly_api_costs(); Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON FUNCTION public.reset_monthly_api_costs() IS 'Closes the month and day windows that have ended and lifts the throttles that ended with them. Returns how many month windows it closed. Does only what is due, so it may run at any time and twice. Runs never wait for it: they heal on use. Spec 7.1, 7.4.';

--
-- Name: analytics_refresh; Type: TABLE; Schema: core; Owner: prpm_owner
--

CREATE TABLE core.analytics_refresh (
    only_row boolean DEFAULT true NOT NULL,
    refreshed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT analytics_refresh_only_row_check CHECK (only_row)
);

ALTER TABLE core.analytics_refresh OWNER TO prpm_owner;

--
-- Name: TABLE analytics_refresh; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON TABLE core.analytics_refresh IS 'ops. When public.refresh_user_cost_analytics last did its work.';

--
-- Name: COLUMN analytics_refresh.only_row; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON COLUMN core.analytics_refresh.only_row IS 'There is one row.';

--
-- Name: COLUMN analytics_refresh.refreshed_at; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON COLUMN core.analytics_refresh.refreshed_at IS 'By the machine''s own clock, so that now() less it is the age of the figures.';

--
-- Name: package_model_usage; Type: MATERIALIZED VIEW; Schema: core; Owner: prpm_owner
--

CREATE MATERIALIZED VIEW core.package_model_usage AS
 SELECT r.package_id,
    r.model,
    count(*) AS runs,
    (round(avg(r.output_tokens)))::integer AS average_output_tokens
   FROM public.runs r
  WHERE ((r.status = 'completed'::text) AND (NOT r.baseline) AND (r.output_tokens IS NOT NULL))
  GROUP BY r.package_id, r.model
  WITH NO DATA;

ALTER TABLE core.package_model_usage OWNER TO prpm_owner;

--
-- Name: MATERIALIZED VIEW package_model_usage; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON MATERIALIZED VIEW core.package_model_usage IS 'How long answers are, by package and model, over all completed runs with the package''s prompt; from it comes the likely figure of an estimate. As fresh as the last public.refresh_user_cost_analytics(). Spec 5.7.';

--
-- Name: COLUMN package_model_usage.package_id; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON COLUMN core.package_model_usage.package_id IS 'The package.';

--
-- Name: COLUMN package_model_usage.model; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON COLUMN core.package_model_usage.model IS 'models.alias.';

--
-- Name: COLUMN package_model_usage.runs; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON COLUMN core.package_model_usage.runs IS 'Completed runs, baselines left out.';

--
-- Name: COLUMN package_model_usage.average_output_tokens; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON COLUMN core.package_model_usage.average_output_tokens IS 'Tokens that an answer had on average.';

--
-- Name: stripe_tickets; Type: SEQUENCE; Schema: core; Owner: prpm_owner
--

CREATE SEQUENCE core.stripe_tickets
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER TABLE core.stripe_tickets OWNER TO prpm_owner;

--
-- Name: user_cost_figures; Type: MATERIALIZED VIEW; Schema: core; Owner: prpm_owner
--

CREATE MATERIALIZED VIEW core.user_cost_figures AS
 SELECT f.user_id,
    f.email,
    f.prpm_plus_status,
    f.month_cost AS current_month_api_cost,
    f.month_requests AS current_month_requests,
    round((f.month_cost / (NULLIF(f.month_requests, 0))::numeric), 8) AS avg_cost_per_request,
    f.lifetime_api_cost,
    f.total_requests,
    f.monthly_revenue,
    round((((100)::numeric * (f.monthly_revenue - f.month_cost)) / NULLIF(f.monthly_revenue, (0)::numeric)), 2) AS current_margin_percent,
    f.is_throttled,
        CASE
            WHEN (f.month_cost > (5)::numeric) THEN 'high_risk'::text
            WHEN (f.month_cost > 2.5) THEN 'medium_risk'::text
            WHEN (f.month_cost > (1)::numeric) THEN 'low_risk'::text
            ELSE 'safe'::text
        END AS risk_level,
    f.last_request_at,
    f.user_created_at,
    round((((100)::numeric * f.month_limited_cost) / c.monthly_cost_limit), 2) AS percent_of_limit
   FROM (( SELECT u.id AS user_id,
            u.email,
            u.prpm_plus_status,
                CASE
                    WHEN (u.month_ends_at > clock.now) THEN u.current_month_api_cost
                    ELSE (0)::numeric
                END AS month_cost,
                CASE
                    WHEN (u.month_ends_at > clock.now) THEN u.current_month_limited_cost
                    ELSE (0)::numeric
                END AS month_limited_cost,
                CASE
                    WHEN (u.month_ends_at > clock.now) THEN u.current_month_requests
                    ELSE 0
                END AS month_requests,
            u.lifetime_api_cost,
            u.total_requests,
            COALESCE(paying.monthly_amount, (0)::numeric) AS monthly_revenue,
            core.throttled_at(u.*, clock.now) AS is_throttled,
            u.last_request_at,
            u.created_at AS user_created_at,
            core.tier_now(u.*) AS tier_name
           FROM ((( SELECT core.now() AS now
                 OFFSET 0) clock
             CROSS JOIN public.users u)
             LEFT JOIN ( SELECT s.user_id,
                    sum(s.monthly_amount) AS monthly_amount
                   FROM public.subscriptions s
                  WHERE ((s.status = ANY (ARRAY['active'::text, 'past_due'::text])) AND (s.ended_at IS NULL))
                  GROUP BY s.user_id) paying ON (((paying.user_id = u.id) AND (u.entitled_until > clock.now))))) f
     LEFT JOIN public.cost_limits_config c ON ((c.tier_name = f.tier_name)))
  WITH NO DATA;

ALTER TABLE core.user_cost_figures OWNER TO prpm_owner;

--
-- Name: MATERIALIZED VIEW user_cost_figures; Type: COMMENT; Schema: core; Owner: prpm_owner
--

COMMENT ON MATERIALIZED VIEW core.user_cost_figures IS 'Each user''s cost and revenue as of the last refresh; read it as public.user_cost_analytics, where its columns are explained. Spec 8.1.';

--
-- Name: estimate_errors; Type: VIEW; Schema: ops; Owner: prpm_owner
--

CREATE VIEW ops.estimate_errors AS
 SELECT max(r.started_at) AS newest_run_at,
    r.model,
    r.estimate_is_exact,
    count(*) AS runs,
    count(*) FILTER (WHERE (r.input_tokens > r.estimated_input)) AS runs_under_estimated,
    round(((100.0 * (count(*) FILTER (WHERE (r.input_tokens > r.estimated_input)))::numeric) / (count(*))::numeric), 2) AS percent_under_estimated,
    round((percentile_cont((0.5)::double precision) WITHIN GROUP (ORDER BY ((((100.0 * ((r.estimated_input - r.input_tokens))::numeric) / (r.input_tokens)::numeric))::double precision)))::numeric, 2) AS median_error_percent,
    round(max(((100.0 * ((r.input_tokens - r.estimated_input))::numeric) / (r.input_tokens)::numeric)), 2) AS worst_under_percent,
    round(max(((100.0 * ((r.estimated_input - r.input_tokens))::numeric) / (r.input_tokens)::numeric)), 2) AS worst_over_percent
   FROM public.runs r
  WHERE ((r.input_tokens > 0) AND (NOT r.estimated) AND (r.status <> 'running'::text))
  GROUP BY r.model, r.estimate_is_exact
  ORDER BY (max(r.started_at)) DESC;

ALTER TABLE ops.estimate_errors OWNER TO prpm_owner;

--
-- Name: VIEW estimate_errors; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON VIEW ops.estimate_errors IS 'How far are token estimates from what providers report? One row for each model and way of counting, over all runs with a report. At most 1 percent may be under-estimated. Reads every run. Spec 1.6.';

--
-- Name: COLUMN estimate_errors.newest_run_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.estimate_errors.newest_run_at IS 'When the newest run counted here began.';

--
-- Name: COLUMN estimate_errors.model; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.estimate_errors.model IS 'models.alias.';

--
-- Name: COLUMN estimate_errors.estimate_is_exact; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.estimate_errors.estimate_is_exact IS 'True: counted by the model''s own tokenizer.';

--
-- Name: COLUMN estimate_errors.runs; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.estimate_errors.runs IS 'Runs with a usage report.';

--
-- Name: COLUMN estimate_errors.runs_under_estimated; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.estimate_errors.runs_under_estimated IS 'Runs whose input was larger than estimated.';

--
-- Name: COLUMN estimate_errors.percent_under_estimated; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.estimate_errors.percent_under_estimated IS 'Their share, in percent.';

--
-- Name: COLUMN estimate_errors.median_error_percent; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.estimate_errors.median_error_percent IS 'Middle error in percent of the actual input; above 0 is estimated too high.';

--
-- Name: COLUMN estimate_errors.worst_under_percent; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.estimate_errors.worst_under_percent IS 'Largest shortfall in percent of the actual input; below 0: none was under.';

--
-- Name: COLUMN estimate_errors.worst_over_percent; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.estimate_errors.worst_over_percent IS 'Largest excess in percent of the actual input.';

--
-- Name: open_holds; Type: VIEW; Schema: ops; Owner: prpm_owner
--

CREATE VIEW ops.open_holds AS
 SELECT r.started_at,
    r.user_id,
    u.email,
    r.id AS run_id,
    r.model,
    r.hold_included AS included_credits_held,
    r.hold_purchased AS purchased_credits_held,
    r.hold_cost AS cost_held_dollars,
    r.hold_expires_at,
    round(EXTRACT(epoch FROM (r.hold_expires_at - ( SELECT core.now() AS now))), 1) AS expires_in_seconds
   FROM ((public.users u
     CROSS JOIN LATERAL unnest(u.open_runs) open(run_id))
     JOIN public.runs r ON (((r.user_id = u.id) AND (r.id = open.run_id))))
  ORDER BY r.started_at DESC;

ALTER TABLE ops.open_holds OWNER TO prpm_owner;

--
-- Name: VIEW open_holds; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON VIEW ops.open_holds IS 'What do running runs hold? Newest first. One whose expiry is past is ended by its user''s next run, or by the job. Spec 3.2, 4.5.';

--
-- Name: COLUMN open_holds.started_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.open_holds.started_at IS 'When the run was let in.';

--
-- Name: COLUMN open_holds.user_id; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.open_holds.user_id IS 'Who runs.';

--
-- Name: COLUMN open_holds.email; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.open_holds.email IS 'Verified e-mail, or null.';

--
-- Name: COLUMN open_holds.run_id; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.open_holds.run_id IS 'The run.';

--
-- Name: COLUMN open_holds.model; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.open_holds.model IS 'models.alias.';

--
-- Name: COLUMN open_holds.included_credits_held; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.open_holds.included_credits_held IS 'Credits held that were not purchased.';

--
-- Name: COLUMN open_holds.purchased_credits_held; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.open_holds.purchased_credits_held IS 'Purchased credits held.';

--
-- Name: COLUMN open_holds.cost_held_dollars; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.open_holds.cost_held_dollars IS 'US dollars: the run''s worst case.';

--
-- Name: COLUMN open_holds.hold_expires_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.open_holds.hold_expires_at IS 'When the run is taken for dead unless a checkpoint comes.';

--
-- Name: COLUMN open_holds.expires_in_seconds; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.open_holds.expires_in_seconds IS 'Seconds until then; below 0 when it is past.';

--
-- Name: refusals; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.refusals (
    user_id uuid NOT NULL,
    reason text NOT NULL,
    hour timestamp with time zone NOT NULL,
    count bigint NOT NULL,
    limit_value numeric,
    used_value numeric,
    last_at timestamp with time zone NOT NULL,
    CONSTRAINT refusals_count_check CHECK ((count > 0))
);

ALTER TABLE public.refusals OWNER TO prpm_owner;

--
-- Name: TABLE refusals; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.refusals IS 'per-user. How often each reason refused a run, by hour: a flood of refusals costs no flood of rows (spec 3.7).';

--
-- Name: COLUMN refusals.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.refusals.user_id IS 'Who was refused.';

--
-- Name: COLUMN refusals.reason; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.refusals.reason IS 'Code of the refusal (docs/errors.md).';

--
-- Name: COLUMN refusals.hour; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.refusals.hour IS 'Start of the hour (UTC).';

--
-- Name: COLUMN refusals.count; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.refusals.count IS 'How often.';

--
-- Name: COLUMN refusals.limit_value; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.refusals.limit_value IS 'The limit at the last one, in its own unit (dollars, credits, runs, tokens).';

--
-- Name: COLUMN refusals.used_value; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.refusals.used_value IS 'What was used at the last one, same unit.';

--
-- Name: COLUMN refusals.last_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.refusals.last_at IS 'When the last one was.';

--
-- Name: refusals; Type: VIEW; Schema: ops; Owner: prpm_owner
--

CREATE VIEW ops.refusals AS
 SELECT r.last_at,
    r.user_id,
    u.email,
    r.reason,
    r.hour AS hour_start,
    r.count AS refusals,
    r.limit_value,
    r.used_value,
        CASE
            WHEN (r.reason = ANY (ARRAY['daily_cost_limit'::text, 'monthly_cost_limit'::text])) THEN 'dollars'::text
            WHEN (r.reason = 'rate_limited'::text) THEN 'attempts'::text
            WHEN (r.reason = 'hourly_request_limit'::text) THEN 'runs'::text
            WHEN (r.reason = 'request_too_large'::text) THEN 'tokens'::text
            WHEN (r.reason = 'held_by_other_runs'::text) THEN 'credits'::text
            ELSE NULL::text
        END AS unit
   FROM (public.refusals r
     LEFT JOIN public.users u ON ((u.id = r.user_id)))
  ORDER BY r.last_at DESC;

ALTER TABLE ops.refusals OWNER TO prpm_owner;

--
-- Name: VIEW refusals; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON VIEW ops.refusals IS 'Who was refused a run, for what reason, how often and at what figures? Newest first, one row for each user, reason and hour. Spec 3.7.';

--
-- Name: COLUMN refusals.last_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.refusals.last_at IS 'When the last one of that hour was.';

--
-- Name: COLUMN refusals.user_id; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.refusals.user_id IS 'Who was refused.';

--
-- Name: COLUMN refusals.email; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.refusals.email IS 'Verified e-mail, or null.';

--
-- Name: COLUMN refusals.reason; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.refusals.reason IS 'Code of the refusal (docs/errors.md).';

--
-- Name: COLUMN refusals.hour_start; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.refusals.hour_start IS 'Start of the hour (UTC).';

--
-- Name: COLUMN refusals.refusals; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.refusals.refusals IS 'How many in that hour.';

--
-- Name: COLUMN refusals.limit_value; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.refusals.limit_value IS 'The limit at the last one, in unit.';

--
-- Name: COLUMN refusals.used_value; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.refusals.used_value IS 'What was used at the last one, in unit.';

--
-- Name: COLUMN refusals.unit; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.refusals.unit IS 'dollars, attempts, runs, tokens or credits; null where the reason has no figures.';

--
-- Name: runs_live; Type: VIEW; Schema: ops; Owner: prpm_owner
--

CREATE VIEW ops.runs_live AS
 SELECT r.started_at,
    r.user_id,
    u.email,
    r.id AS run_id,
    r.model,
    p.name AS package_name,
    r.package_version,
    r.baseline,
    r.output_tokens AS output_tokens_so_far,
    r.output_cap AS output_cap_tokens,
    round(EXTRACT(epoch FROM (( SELECT core.now() AS now) - r.started_at)), 1) AS running_for_seconds,
    r.stop_requested_at
   FROM (((public.users u
     CROSS JOIN LATERAL unnest(u.open_runs) open(run_id))
     JOIN public.runs r ON (((r.user_id = u.id) AND (r.id = open.run_id))))
     LEFT JOIN public.packages p ON ((p.id = r.package_id)))
  ORDER BY r.started_at DESC;

ALTER TABLE ops.runs_live OWNER TO prpm_owner;

--
-- Name: VIEW runs_live; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON VIEW ops.runs_live IS 'What is running right now, for whom, and how far is it? Newest first. Spec 12.';

--
-- Name: COLUMN runs_live.started_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.started_at IS 'When the run was let in.';

--
-- Name: COLUMN runs_live.user_id; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.user_id IS 'Who runs.';

--
-- Name: COLUMN runs_live.email; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.email IS 'Verified e-mail, or null.';

--
-- Name: COLUMN runs_live.run_id; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.run_id IS 'The run.';

--
-- Name: COLUMN runs_live.model; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.model IS 'models.alias.';

--
-- Name: COLUMN runs_live.package_name; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.package_name IS 'The package.';

--
-- Name: COLUMN runs_live.package_version; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.package_version IS 'The version of it.';

--
-- Name: COLUMN runs_live.baseline; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.baseline IS 'True: run without the package''s prompt.';

--
-- Name: COLUMN runs_live.output_tokens_so_far; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.output_tokens_so_far IS 'Tokens written by the last checkpoint; null before the first.';

--
-- Name: COLUMN runs_live.output_cap_tokens; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.output_cap_tokens IS 'Tokens: the most that it can write.';

--
-- Name: COLUMN runs_live.running_for_seconds; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.running_for_seconds IS 'Seconds since it was let in.';

--
-- Name: COLUMN runs_live.stop_requested_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.runs_live.stop_requested_at IS 'When a stop was asked for, or null.';

--
-- Name: stripe_drift; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.stripe_drift (
    id bigint NOT NULL,
    user_id uuid,
    kind text NOT NULL,
    object text NOT NULL,
    ours text,
    theirs text,
    found_at timestamp with time zone NOT NULL
);

ALTER TABLE public.stripe_drift OWNER TO prpm_owner;

--
-- Name: TABLE stripe_drift; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.stripe_drift IS 'ops. Differences that reconciliation found between Stripe and us; each was repaired by the same functions as events (spec 6.6).';

--
-- Name: COLUMN stripe_drift.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_drift.id IS 'Counter.';

--
-- Name: COLUMN stripe_drift.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_drift.user_id IS 'Whose, where known.';

--
-- Name: COLUMN stripe_drift.kind; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_drift.kind IS 'subscription, or event: one that Stripe could not deliver.';

--
-- Name: COLUMN stripe_drift.object; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_drift.object IS 'Stripe''s id.';

--
-- Name: COLUMN stripe_drift.ours; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_drift.ours IS 'What we had.';

--
-- Name: COLUMN stripe_drift.theirs; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_drift.theirs IS 'What Stripe has.';

--
-- Name: COLUMN stripe_drift.found_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_drift.found_at IS 'When.';

--
-- Name: stripe_drift; Type: VIEW; Schema: ops; Owner: prpm_owner
--

CREATE VIEW ops.stripe_drift AS
 SELECT d.found_at,
    d.kind,
    d.object,
    u.email,
    d.ours,
    d.theirs
   FROM (public.stripe_drift d
     LEFT JOIN public.users u ON ((u.id = d.user_id)))
  ORDER BY d.id DESC;

ALTER TABLE ops.stripe_drift OWNER TO prpm_owner;

--
-- Name: VIEW stripe_drift; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON VIEW ops.stripe_drift IS 'Where did Stripe and we differ? What reconciliation found and repaired, newest first. Spec 6.6.';

--
-- Name: COLUMN stripe_drift.found_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_drift.found_at IS 'When.';

--
-- Name: COLUMN stripe_drift.kind; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_drift.kind IS 'subscription, or event: one that Stripe could not deliver.';

--
-- Name: COLUMN stripe_drift.object; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_drift.object IS 'Stripe''s id.';

--
-- Name: COLUMN stripe_drift.email; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_drift.email IS 'Whose, where known.';

--
-- Name: COLUMN stripe_drift.ours; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_drift.ours IS 'What we had; null: nothing.';

--
-- Name: COLUMN stripe_drift.theirs; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_drift.theirs IS 'What Stripe has.';

--
-- Name: payments; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.payments (
    user_id uuid NOT NULL,
    id text NOT NULL,
    kind text NOT NULL,
    paid_amount numeric(12,2) NOT NULL,
    currency text NOT NULL,
    purchase_id uuid,
    subscription_id text,
    period_start timestamp with time zone,
    needs_review text,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT payments_kind_check CHECK ((kind = ANY (ARRAY['pack'::text, 'subscription'::text, 'unknown'::text]))),
    CONSTRAINT payments_paid_amount_check CHECK ((paid_amount >= (0)::numeric))
);

ALTER TABLE public.payments OWNER TO prpm_owner;

--
-- Name: TABLE payments; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.payments IS 'per-user. Payments at Stripe and what each paid for: a purchase, or a period of a subscription (spec 6.5).';

--
-- Name: COLUMN payments.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.payments.user_id IS 'Who paid.';

--
-- Name: COLUMN payments.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.payments.id IS 'Stripe''s id of the payment intent.';

--
-- Name: COLUMN payments.kind; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.payments.kind IS 'pack, subscription, or unknown: not found out yet.';

--
-- Name: COLUMN payments.paid_amount; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.payments.paid_amount IS 'US dollars received.';

--
-- Name: COLUMN payments.currency; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.payments.currency IS 'Of that amount; usd, or it needs review.';

--
-- Name: COLUMN payments.purchase_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.payments.purchase_id IS 'The purchase, where it paid for a pack.';

--
-- Name: COLUMN payments.subscription_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.payments.subscription_id IS 'The subscription, where it paid for a period.';

--
-- Name: COLUMN payments.period_start; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.payments.period_start IS 'That period''s start.';

--
-- Name: COLUMN payments.needs_review; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.payments.needs_review IS 'Why a person has to look at it, or null.';

--
-- Name: COLUMN payments.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.payments.created_at IS 'First sight.';

--
-- Name: stripe_review; Type: VIEW; Schema: ops; Owner: prpm_owner
--

CREATE VIEW ops.stripe_review AS
 SELECT e.received_at AS since,
    'event'::text AS kind,
    e.id AS object,
    e.user_id,
    e.type AS what,
    e.error AS why,
    format('select * from ops.replay_stripe_event(%L, ''…'');'::text, e.id) AS what_to_do
   FROM public.stripe_events e
  WHERE (e.status = 'needs_review'::text)
UNION ALL
 SELECT w.created_at AS since,
    'work'::text AS kind,
    w.key AS object,
    w.user_id,
    w.kind AS what,
    w.error AS why,
    format('select * from ops.retry_stripe_work(%L, ''…'');'::text, w.id) AS what_to_do
   FROM public.stripe_work w
  WHERE w.is_failed
UNION ALL
 SELECT p.created_at AS since,
    'payment'::text AS kind,
    p.id AS object,
    p.user_id,
    p.kind AS what,
    p.needs_review AS why,
    'Look at it in Stripe''s Dashboard: refund it, or grant by ops.grant_credits.'::text AS what_to_do
   FROM public.payments p
  WHERE (p.needs_review IS NOT NULL)
  ORDER BY 1 DESC;

ALTER TABLE ops.stripe_review OWNER TO prpm_owner;

--
-- Name: VIEW stripe_review; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON VIEW ops.stripe_review IS 'What of Stripe''s news needs a person, newest first: events, work that cannot be done, payments of nothing we sold. Spec 6.5.';

--
-- Name: COLUMN stripe_review.since; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_review.since IS 'Since when.';

--
-- Name: COLUMN stripe_review.kind; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_review.kind IS 'event, work or payment.';

--
-- Name: COLUMN stripe_review.object; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_review.object IS 'Stripe''s id.';

--
-- Name: COLUMN stripe_review.user_id; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_review.user_id IS 'Whose, where known.';

--
-- Name: COLUMN stripe_review.what; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_review.what IS 'Type of the event, kind of the work or payment.';

--
-- Name: COLUMN stripe_review.why; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_review.why IS 'What is wrong.';

--
-- Name: COLUMN stripe_review.what_to_do; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.stripe_review.what_to_do IS 'A call to paste, or what to look at.';

--
-- Name: throttled_now; Type: VIEW; Schema: ops; Owner: prpm_owner
--

CREATE VIEW ops.throttled_now AS
 SELECT u.throttled_at,
    u.id AS user_id,
    u.email,
    core.tier_now(u.*) AS tier_name,
    COALESCE(u.throttled_by, 'plain update'::text) AS throttled_by,
    u.throttled_reason,
        CASE
            WHEN (u.throttled_by IS NOT NULL) THEN u.throttled_until
            ELSE NULL::timestamp with time zone
        END AS throttled_until,
        CASE
            WHEN (u.month_ends_at > ( SELECT core.now() AS now)) THEN u.current_month_limited_cost
            ELSE (0)::numeric
        END AS month_limited_cost_dollars,
        CASE
            WHEN (u.day_ends_at > ( SELECT core.now() AS now)) THEN u.current_day_limited_cost
            ELSE (0)::numeric
        END AS day_limited_cost_dollars,
    format('select * from ops.release_throttle(%L, reason => %L)'::text, u.id, '…') AS lift_with
   FROM public.users u
  WHERE (u.is_throttled AND core.throttled_at(u.*, ( SELECT core.now() AS now)))
  ORDER BY u.throttled_at DESC NULLS LAST;

ALTER TABLE ops.throttled_now OWNER TO prpm_owner;

--
-- Name: VIEW throttled_now; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON VIEW ops.throttled_now IS 'Who is throttled, why and until when? Newest first; throttles that are past their end are left out. Spec 3.4, 12.';

--
-- Name: COLUMN throttled_now.throttled_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.throttled_now.throttled_at IS 'Since when; null for a plain UPDATE.';

--
-- Name: COLUMN throttled_now.user_id; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.throttled_now.user_id IS 'Who.';

--
-- Name: COLUMN throttled_now.email; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.throttled_now.email IS 'Verified e-mail, or null.';

--
-- Name: COLUMN throttled_now.tier_name; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.throttled_now.tier_name IS 'Tier by core.tier_now.';

--
-- Name: COLUMN throttled_now.throttled_by; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.throttled_now.throttled_by IS 'limit, operator (ops.throttle_user), or plain update of the column.';

--
-- Name: COLUMN throttled_now.throttled_reason; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.throttled_now.throttled_reason IS 'Why, in words.';

--
-- Name: COLUMN throttled_now.throttled_until; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.throttled_now.throttled_until IS 'When it ends by itself; null: when it is lifted.';

--
-- Name: COLUMN throttled_now.month_limited_cost_dollars; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.throttled_now.month_limited_cost_dollars IS 'US dollars this month that count against the limit.';

--
-- Name: COLUMN throttled_now.day_limited_cost_dollars; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.throttled_now.day_limited_cost_dollars IS 'US dollars today that count against the limit.';

--
-- Name: COLUMN throttled_now.lift_with; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.throttled_now.lift_with IS 'A call to paste.';

--
-- Name: tier_differences; Type: VIEW; Schema: ops; Owner: prpm_owner
--

CREATE VIEW ops.tier_differences AS
 SELECT t.last_request_at,
    t.user_id,
    t.email,
    t.guide_tier,
    t.true_tier,
    t.tier_override,
    t.plan_tier,
    t.entitled_until,
    t.prpm_plus_status
   FROM ( SELECT u.last_request_at,
            u.id AS user_id,
            u.email,
                CASE
                    WHEN (u.prpm_plus_status IS DISTINCT FROM 'active'::text) THEN 'free'::text
                    WHEN (EXISTS ( SELECT
                       FROM public.organization_members m
                      WHERE (m.user_id = u.id))) THEN 'prpm_plus_org'::text
                    ELSE 'prpm_plus_individual'::text
                END AS guide_tier,
            core.tier_now(u.*) AS true_tier,
            u.tier_override,
            u.plan_tier,
            u.entitled_until,
            u.prpm_plus_status
           FROM public.users u) t
  WHERE (t.guide_tier <> t.true_tier)
  ORDER BY t.last_request_at DESC NULLS LAST;

ALTER TABLE ops.tier_differences OWNER TO prpm_owner;

--
-- Name: VIEW tier_differences; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON VIEW ops.tier_differences IS 'For whom is the tier in the guide''s query not the true one? Its CASE knows neither overrides, further plans, verification of organizations nor tiers that are no longer active. Latest run first. Spec 12.';

--
-- Name: COLUMN tier_differences.last_request_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.tier_differences.last_request_at IS 'When the last run was let in.';

--
-- Name: COLUMN tier_differences.user_id; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.tier_differences.user_id IS 'Who.';

--
-- Name: COLUMN tier_differences.email; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.tier_differences.email IS 'Verified e-mail, or null.';

--
-- Name: COLUMN tier_differences.guide_tier; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.tier_differences.guide_tier IS 'Tier by the guide''s CASE.';

--
-- Name: COLUMN tier_differences.true_tier; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.tier_differences.true_tier IS 'Tier by core.tier_now: the one whose limits hold.';

--
-- Name: COLUMN tier_differences.tier_override; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.tier_differences.tier_override IS 'What an operator gave, or null.';

--
-- Name: COLUMN tier_differences.plan_tier; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.tier_differences.plan_tier IS 'Tier of the plan last paid for, or null.';

--
-- Name: COLUMN tier_differences.entitled_until; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.tier_differences.entitled_until IS 'Until when plan_tier holds.';

--
-- Name: COLUMN tier_differences.prpm_plus_status; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.tier_differences.prpm_plus_status IS 'The subscription''s state as the guide reads it.';

--
-- Name: unpriced_models; Type: VIEW; Schema: ops; Owner: prpm_owner
--

CREATE VIEW ops.unpriced_models AS
SELECT
    NULL::text AS model,
    NULL::text AS provider,
    NULL::text AS provider_model,
    NULL::boolean AS enabled,
    NULL::timestamp with time zone AS last_price_ended_at,
    NULL::timestamp with time zone AS next_price_starts_at,
    NULL::text AS price_with;

ALTER TABLE ops.unpriced_models OWNER TO prpm_owner;

--
-- Name: VIEW unpriced_models; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON VIEW ops.unpriced_models IS 'Which models cannot be run for want of a price now? The price that ended last comes first. Spec 1.3.';

--
-- Name: COLUMN unpriced_models.model; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.unpriced_models.model IS 'models.alias.';

--
-- Name: COLUMN unpriced_models.provider; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.unpriced_models.provider IS 'anthropic or openai.';

--
-- Name: COLUMN unpriced_models.provider_model; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.unpriced_models.provider_model IS 'The provider''s own model id.';

--
-- Name: COLUMN unpriced_models.enabled; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.unpriced_models.enabled IS 'True: people can choose it and are refused with model_not_priced.';

--
-- Name: COLUMN unpriced_models.last_price_ended_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.unpriced_models.last_price_ended_at IS 'When its last price ended; null: it never had one.';

--
-- Name: COLUMN unpriced_models.next_price_starts_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.unpriced_models.next_price_starts_at IS 'When its next price begins, or null.';

--
-- Name: COLUMN unpriced_models.price_with; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.unpriced_models.price_with IS 'A statement to complete: US dollars per million tokens.';

--
-- Name: users_at_risk; Type: VIEW; Schema: ops; Owner: prpm_owner
--

CREATE VIEW ops.users_at_risk AS
 SELECT u.id AS user_id,
    u.email,
    t.tier_name,
    u.current_month_limited_cost AS limited_cost_dollars,
    u.current_month_api_cost AS cost_dollars,
    t.monthly_cost_limit AS limit_dollars,
    round((((100)::numeric * u.current_month_limited_cost) / t.monthly_cost_limit), 1) AS percent_of_limit,
    core.throttled_at(u.*, ( SELECT core.now() AS now)) AS is_throttled,
    u.throttled_until,
    u.month_ends_at AS resets_at,
    u.last_request_at
   FROM (public.users u
     JOIN public.cost_limits_config t ON ((t.tier_name = core.tier_now(u.*))))
  WHERE ((u.current_month_limited_cost > (0)::numeric) AND (u.month_ends_at > ( SELECT core.now() AS now)) AND (u.current_month_limited_cost > (0.75 * t.monthly_cost_limit)))
  ORDER BY u.last_request_at DESC NULLS LAST;

ALTER TABLE ops.users_at_risk OWNER TO prpm_owner;

--
-- Name: VIEW users_at_risk; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON VIEW ops.users_at_risk IS 'Who has used more than 75 % of the monthly limit of their true tier? Latest run first. Counts only cost that counts against limits, and only while its month lasts. Spec 3.3, 12.';

--
-- Name: COLUMN users_at_risk.user_id; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.user_id IS 'Who.';

--
-- Name: COLUMN users_at_risk.email; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.email IS 'Verified e-mail, or null.';

--
-- Name: COLUMN users_at_risk.tier_name; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.tier_name IS 'Tier by core.tier_now.';

--
-- Name: COLUMN users_at_risk.limited_cost_dollars; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.limited_cost_dollars IS 'US dollars this month that count against the limit.';

--
-- Name: COLUMN users_at_risk.cost_dollars; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.cost_dollars IS 'US dollars this month in all, what purchased credits paid for included.';

--
-- Name: COLUMN users_at_risk.limit_dollars; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.limit_dollars IS 'US dollars: the tier''s monthly limit.';

--
-- Name: COLUMN users_at_risk.percent_of_limit; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.percent_of_limit IS 'Percent of the limit used; above 100 where limits do not throttle.';

--
-- Name: COLUMN users_at_risk.is_throttled; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.is_throttled IS 'True while throttled.';

--
-- Name: COLUMN users_at_risk.throttled_until; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.throttled_until IS 'When the throttle ends by itself, or null.';

--
-- Name: COLUMN users_at_risk.resets_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.resets_at IS 'End of the month window.';

--
-- Name: COLUMN users_at_risk.last_request_at; Type: COMMENT; Schema: ops; Owner: prpm_owner
--

COMMENT ON COLUMN ops.users_at_risk.last_request_at IS 'When the last run was let in.';

--
-- Name: audit_log; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.audit_log (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    role text NOT NULL,
    table_name text NOT NULL,
    action text NOT NULL,
    row_key text,
    old jsonb,
    new jsonb,
    reason text
);

ALTER TABLE public.audit_log OWNER TO prpm_owner;

--
-- Name: TABLE audit_log; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.audit_log IS 'ops. What operators changed: limits, prices, plans, settings, throttles, grants (spec 12).';

--
-- Name: COLUMN audit_log.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.audit_log.id IS 'Counter.';

--
-- Name: COLUMN audit_log.at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.audit_log.at IS 'When.';

--
-- Name: COLUMN audit_log.role; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.audit_log.role IS 'The database role that did it.';

--
-- Name: COLUMN audit_log.table_name; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.audit_log.table_name IS 'Table that was changed, or function that was called.';

--
-- Name: COLUMN audit_log.action; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.audit_log.action IS 'insert, update, delete or call.';

--
-- Name: COLUMN audit_log.row_key; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.audit_log.row_key IS 'Key of the row.';

--
-- Name: COLUMN audit_log.old; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.audit_log.old IS 'Columns that changed, before.';

--
-- Name: COLUMN audit_log.new; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.audit_log.new IS 'Columns that changed, after.';

--
-- Name: COLUMN audit_log.reason; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.audit_log.reason IS 'Why, where a function asked.';

--
-- Name: audit_log_id_seq; Type: SEQUENCE; Schema: public; Owner: prpm_owner
--

ALTER TABLE public.audit_log ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: checkouts; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.checkouts (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    plan text NOT NULL,
    livemode boolean NOT NULL,
    success_url text NOT NULL,
    cancel_url text NOT NULL,
    session_id text,
    url text,
    expires_at timestamp with time zone,
    status text DEFAULT 'begun'::text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT checkouts_status_check CHECK ((status = ANY (ARRAY['begun'::text, 'open'::text, 'complete'::text, 'expired'::text])))
);

ALTER TABLE public.checkouts OWNER TO prpm_owner;

--
-- Name: TABLE checkouts; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.checkouts IS 'per-user. Subscriptions begun at Stripe''s checkout; at most one open for each person (spec 6.1).';

--
-- Name: COLUMN checkouts.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.user_id IS 'Who.';

--
-- Name: COLUMN checkouts.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.id IS 'Our own id; the idempotency key at Stripe.';

--
-- Name: COLUMN checkouts.plan; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.plan IS 'What is to be bought.';

--
-- Name: COLUMN checkouts.livemode; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.livemode IS 'Stripe''s mode.';

--
-- Name: COLUMN checkouts.success_url; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.success_url IS 'Where the person returns when done.';

--
-- Name: COLUMN checkouts.cancel_url; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.cancel_url IS 'Where they return when not.';

--
-- Name: COLUMN checkouts.session_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.session_id IS 'Stripe''s id of the session.';

--
-- Name: COLUMN checkouts.url; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.url IS 'Where the person pays.';

--
-- Name: COLUMN checkouts.expires_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.expires_at IS 'When the session ends by itself.';

--
-- Name: COLUMN checkouts.status; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.status IS 'begun, open, complete or expired.';

--
-- Name: COLUMN checkouts.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.checkouts.created_at IS 'When it was begun.';

--
-- Name: credit_transactions; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.credit_transactions (
    user_id uuid NOT NULL,
    id bigint NOT NULL,
    type text NOT NULL,
    debit text NOT NULL,
    credit text NOT NULL,
    amount bigint NOT NULL,
    balance_after bigint NOT NULL,
    lot_id uuid NOT NULL,
    run_id uuid,
    purchase_id uuid,
    subscription_id text,
    description text,
    actor text,
    created_at timestamp with time zone NOT NULL
);

ALTER TABLE public.credit_transactions OWNER TO prpm_owner;

--
-- Name: TABLE credit_transactions; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.credit_transactions IS 'per-user. Append-only: each row is a transfer of credits from account debit to account credit. Accounts: issued, lot, spent, expired, clawed_back. Into lots less out of lots is the balance (spec 4.2).';

--
-- Name: COLUMN credit_transactions.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.user_id IS 'Whose books.';

--
-- Name: COLUMN credit_transactions.id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.id IS 'Counter of that user''s transfers, without gaps, from 1.';

--
-- Name: COLUMN credit_transactions.type; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.type IS 'signup, monthly, purchase, spend, rollover, expire, refund, bonus or admin.';

--
-- Name: COLUMN credit_transactions.debit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.debit IS 'Account that the credits leave.';

--
-- Name: COLUMN credit_transactions.credit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.credit IS 'Account that they go to.';

--
-- Name: COLUMN credit_transactions.amount; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.amount IS 'Credits, above 0.';

--
-- Name: COLUMN credit_transactions.balance_after; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.balance_after IS 'Credits in all lots after it.';

--
-- Name: COLUMN credit_transactions.lot_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.lot_id IS 'The lot that they leave or enter.';

--
-- Name: COLUMN credit_transactions.run_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.run_id IS 'The run that spent them, or null.';

--
-- Name: COLUMN credit_transactions.purchase_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.purchase_id IS 'The purchase that they belong to, or null.';

--
-- Name: COLUMN credit_transactions.subscription_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.subscription_id IS 'The subscription that they belong to, or null.';

--
-- Name: COLUMN credit_transactions.description; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.description IS 'In words.';

--
-- Name: COLUMN credit_transactions.actor; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.actor IS 'The database role of the operator who did it by hand, or null.';

--
-- Name: COLUMN credit_transactions.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.credit_transactions.created_at IS 'When.';

--
-- Name: idempotency_keys; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.idempotency_keys (
    user_id uuid NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    run_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 255)))
);

ALTER TABLE public.idempotency_keys OWNER TO prpm_owner;

--
-- Name: TABLE idempotency_keys; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.idempotency_keys IS 'per-user. Idempotency-Key of a run that was let in; kept for 24 hours (spec 5.3).';

--
-- Name: COLUMN idempotency_keys.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.idempotency_keys.user_id IS 'Whose key.';

--
-- Name: COLUMN idempotency_keys.key; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.idempotency_keys.key IS 'As sent, 1 to 255 characters.';

--
-- Name: COLUMN idempotency_keys.request_hash; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.idempotency_keys.request_hash IS 'SHA-256 of the request.';

--
-- Name: COLUMN idempotency_keys.run_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.idempotency_keys.run_id IS 'The run that it made.';

--
-- Name: COLUMN idempotency_keys.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.idempotency_keys.created_at IS 'When.';

--
-- Name: identities; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.identities (
    issuer text NOT NULL,
    subject text NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.identities OWNER TO prpm_owner;

--
-- Name: TABLE identities; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.identities IS 'ops. Which person an OpenID Connect issuer''s subject is (spec 2.2).';

--
-- Name: COLUMN identities.issuer; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.identities.issuer IS 'iss of the token.';

--
-- Name: COLUMN identities.subject; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.identities.subject IS 'sub of the token.';

--
-- Name: COLUMN identities.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.identities.user_id IS 'Who it is.';

--
-- Name: COLUMN identities.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.identities.created_at IS 'First sight.';

--
-- Name: job_runs_id_seq; Type: SEQUENCE; Schema: public; Owner: prpm_owner
--

ALTER TABLE public.job_runs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.job_runs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: rate_windows; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.rate_windows (
    user_id uuid NOT NULL,
    kind text NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    count integer NOT NULL,
    CONSTRAINT rate_windows_kind_check CHECK ((kind = ANY (ARRAY['read'::text, 'purchase'::text])))
);

ALTER TABLE public.rate_windows OWNER TO prpm_owner;

--
-- Name: TABLE rate_windows; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.rate_windows IS 'per-user. Fixed minute windows of reads and purchases (spec 3.6).';

--
-- Name: COLUMN rate_windows.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.rate_windows.user_id IS 'Whose.';

--
-- Name: COLUMN rate_windows.kind; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.rate_windows.kind IS 'read or purchase.';

--
-- Name: COLUMN rate_windows.ends_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.rate_windows.ends_at IS 'End of the window.';

--
-- Name: COLUMN rate_windows.count; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.rate_windows.count IS 'Requests in it, refused or not.';

--
-- Name: signup_claims; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.signup_claims (
    identity_hash bytea NOT NULL,
    claimed_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.signup_claims OWNER TO prpm_owner;

--
-- Name: TABLE signup_claims; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.signup_claims IS 'ops. Keyed hash of each identity that has had sign-up credits; stays after erasure, so that they are given once (spec 2.1).';

--
-- Name: COLUMN signup_claims.identity_hash; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.signup_claims.identity_hash IS 'SHA-256 over a secret of this database and the identity.';

--
-- Name: COLUMN signup_claims.claimed_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.signup_claims.claimed_at IS 'When.';

--
-- Name: stripe_drift_id_seq; Type: SEQUENCE; Schema: public; Owner: prpm_owner
--

ALTER TABLE public.stripe_drift ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.stripe_drift_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: stripe_effects; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.stripe_effects (
    user_id uuid NOT NULL,
    event_id text NOT NULL,
    applied_at timestamp with time zone NOT NULL
);

ALTER TABLE public.stripe_effects OWNER TO prpm_owner;

--
-- Name: TABLE stripe_effects; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.stripe_effects IS 'per-user. Events whose effect is booked: each once, also where the inbox was not ticked off (spec 6.4).';

--
-- Name: COLUMN stripe_effects.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_effects.user_id IS 'Whose.';

--
-- Name: COLUMN stripe_effects.event_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_effects.event_id IS 'stripe_events.id.';

--
-- Name: COLUMN stripe_effects.applied_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_effects.applied_at IS 'When.';

--
-- Name: stripe_payments; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.stripe_payments (
    payment_id text NOT NULL,
    user_id uuid NOT NULL
);

ALTER TABLE public.stripe_payments OWNER TO prpm_owner;

--
-- Name: TABLE stripe_payments; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.stripe_payments IS 'ops. Whose a payment is, for news of refunds and disputes, which name no customer.';

--
-- Name: COLUMN stripe_payments.payment_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_payments.payment_id IS 'Stripe''s id of the payment intent.';

--
-- Name: COLUMN stripe_payments.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.stripe_payments.user_id IS 'Who paid.';

--
-- Name: user_cost_analytics; Type: VIEW; Schema: public; Owner: prpm_owner
--

CREATE VIEW public.user_cost_analytics AS
 SELECT f.user_id,
    f.email,
    f.prpm_plus_status,
    f.current_month_api_cost,
    f.current_month_requests,
    f.avg_cost_per_request,
    f.lifetime_api_cost,
    f.total_requests,
    f.monthly_revenue,
    f.current_margin_percent,
    f.is_throttled,
    f.risk_level,
    f.last_request_at,
    f.user_created_at,
    a.refreshed_at AS created_at,
    f.percent_of_limit
   FROM (core.user_cost_figures f
     CROSS JOIN core.analytics_refresh a);

ALTER TABLE public.user_cost_analytics OWNER TO prpm_owner;

--
-- Name: VIEW user_cost_analytics; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON VIEW public.user_cost_analytics IS 'What each user costs and pays this month, as of created_at; refresh it with select refresh_user_cost_analytics(). Spec 8.1.';

--
-- Name: COLUMN user_cost_analytics.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.user_id IS 'Who.';

--
-- Name: COLUMN user_cost_analytics.email; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.email IS 'Verified e-mail, or null.';

--
-- Name: COLUMN user_cost_analytics.prpm_plus_status; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.prpm_plus_status IS 'active while a subscription entitles, else Stripe''s own word, or null.';

--
-- Name: COLUMN user_cost_analytics.current_month_api_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.current_month_api_cost IS 'US dollars: all provider cost of runs begun this calendar month (UTC); 0 once that month is over.';

--
-- Name: COLUMN user_cost_analytics.current_month_requests; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.current_month_requests IS 'Runs let in this month.';

--
-- Name: COLUMN user_cost_analytics.avg_cost_per_request; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.avg_cost_per_request IS 'US dollars a run this month, 8 decimals; null without a run.';

--
-- Name: COLUMN user_cost_analytics.lifetime_api_cost; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.lifetime_api_cost IS 'US dollars: provider cost of every run ever.';

--
-- Name: COLUMN user_cost_analytics.total_requests; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.total_requests IS 'Runs ever let in.';

--
-- Name: COLUMN user_cost_analytics.monthly_revenue; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.monthly_revenue IS 'US dollars a month that entitling subscriptions pay now; a trial pays nothing.';

--
-- Name: COLUMN user_cost_analytics.current_margin_percent; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.current_margin_percent IS 'Revenue less cost, in percent of revenue, 2 decimals; null without revenue.';

--
-- Name: COLUMN user_cost_analytics.is_throttled; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.is_throttled IS 'True while throttled.';

--
-- Name: COLUMN user_cost_analytics.risk_level; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.risk_level IS 'By cost this month: above 5 dollars high_risk, above 2.50 medium_risk, above 1 low_risk, else safe.';

--
-- Name: COLUMN user_cost_analytics.last_request_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.last_request_at IS 'When the last run was let in.';

--
-- Name: COLUMN user_cost_analytics.user_created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.user_created_at IS 'When the person was first seen.';

--
-- Name: COLUMN user_cost_analytics.created_at; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.created_at IS 'When these figures were refreshed, by the machine''s own clock.';

--
-- Name: COLUMN user_cost_analytics.percent_of_limit; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_cost_analytics.percent_of_limit IS 'Percent of the true tier''s monthly limit that is used, by the cost that counts against it; null without a limit.';

--
-- Name: user_emails; Type: TABLE; Schema: public; Owner: prpm_owner
--

CREATE TABLE public.user_emails (
    email text NOT NULL,
    user_id uuid NOT NULL,
    CONSTRAINT user_emails_email_check CHECK ((email = lower(email)))
);

ALTER TABLE public.user_emails OWNER TO prpm_owner;

--
-- Name: TABLE user_emails; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON TABLE public.user_emails IS 'ops. Makes a verified e-mail unique over all people (spec 2.2).';

--
-- Name: COLUMN user_emails.email; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_emails.email IS 'In lower case.';

--
-- Name: COLUMN user_emails.user_id; Type: COMMENT; Schema: public; Owner: prpm_owner
--

COMMENT ON COLUMN public.user_emails.user_id IS 'Whose it is.';

--
-- Name: analytics_refresh analytics_refresh_pkey; Type: CONSTRAINT; Schema: core; Owner: prpm_owner
--

ALTER TABLE ONLY core.analytics_refresh
    ADD CONSTRAINT analytics_refresh_pkey PRIMARY KEY (only_row);

--
-- Name: secrets secrets_pkey; Type: CONSTRAINT; Schema: core; Owner: prpm_owner
--

ALTER TABLE ONLY core.secrets
    ADD CONSTRAINT secrets_pkey PRIMARY KEY (only_row);

--
-- Name: api_tokens api_tokens_id_key; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_id_key UNIQUE (id);

--
-- Name: api_tokens api_tokens_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_pkey PRIMARY KEY (token_hash);

--
-- Name: audit_log audit_log_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);

--
-- Name: checkouts checkouts_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.checkouts
    ADD CONSTRAINT checkouts_pkey PRIMARY KEY (user_id, id);

--
-- Name: cost_limits_config cost_limits_config_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.cost_limits_config
    ADD CONSTRAINT cost_limits_config_pkey PRIMARY KEY (tier_name);

--
-- Name: credit_lots credit_lots_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.credit_lots
    ADD CONSTRAINT credit_lots_pkey PRIMARY KEY (user_id, id);

--
-- Name: credit_lots credit_lots_user_id_source_source_id_key; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.credit_lots
    ADD CONSTRAINT credit_lots_user_id_source_source_id_key UNIQUE (user_id, source, source_id);

--
-- Name: credit_transactions credit_transactions_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.credit_transactions
    ADD CONSTRAINT credit_transactions_pkey PRIMARY KEY (user_id, id);

--
-- Name: idempotency_keys idempotency_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key);

--
-- Name: identities identities_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.identities
    ADD CONSTRAINT identities_pkey PRIMARY KEY (issuer, subject);

--
-- Name: job_runs job_runs_job_slot_key; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.job_runs
    ADD CONSTRAINT job_runs_job_slot_key UNIQUE (job, slot);

--
-- Name: job_runs job_runs_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.job_runs
    ADD CONSTRAINT job_runs_pkey PRIMARY KEY (id);

--
-- Name: jobs jobs_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (job);

--
-- Name: model_prices model_prices_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.model_prices
    ADD CONSTRAINT model_prices_pkey PRIMARY KEY (id);

--
-- Name: models models_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.models
    ADD CONSTRAINT models_pkey PRIMARY KEY (alias);

--
-- Name: model_prices one_price_at_a_time; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.model_prices
    ADD CONSTRAINT one_price_at_a_time EXCLUDE USING gist (model WITH =, valid WITH &&);

--
-- Name: organization_members organization_members_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.organization_members
    ADD CONSTRAINT organization_members_pkey PRIMARY KEY (user_id, organization_id);

--
-- Name: organizations organizations_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT organizations_pkey PRIMARY KEY (id);

--
-- Name: package_versions package_versions_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.package_versions
    ADD CONSTRAINT package_versions_pkey PRIMARY KEY (package_id, version);

--
-- Name: packages packages_name_key; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.packages
    ADD CONSTRAINT packages_name_key UNIQUE (name);

--
-- Name: packages packages_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.packages
    ADD CONSTRAINT packages_pkey PRIMARY KEY (id);

--
-- Name: packs packs_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.packs
    ADD CONSTRAINT packs_pkey PRIMARY KEY (pack);

--
-- Name: packs packs_stripe_price_id_key; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.packs
    ADD CONSTRAINT packs_stripe_price_id_key UNIQUE (stripe_price_id);

--
-- Name: payments payments_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (user_id, id);

--
-- Name: plans plans_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.plans
    ADD CONSTRAINT plans_pkey PRIMARY KEY (plan);

--
-- Name: plans plans_stripe_price_id_key; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.plans
    ADD CONSTRAINT plans_stripe_price_id_key UNIQUE (stripe_price_id);

--
-- Name: purchases purchases_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.purchases
    ADD CONSTRAINT purchases_pkey PRIMARY KEY (user_id, id);

--
-- Name: rate_windows rate_windows_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.rate_windows
    ADD CONSTRAINT rate_windows_pkey PRIMARY KEY (user_id, kind);

--
-- Name: refusals refusals_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.refusals
    ADD CONSTRAINT refusals_pkey PRIMARY KEY (user_id, reason, hour);

--
-- Name: reversals reversals_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.reversals
    ADD CONSTRAINT reversals_pkey PRIMARY KEY (user_id, id);

--
-- Name: run_texts run_texts_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.run_texts
    ADD CONSTRAINT run_texts_pkey PRIMARY KEY (user_id, session_id, run_id);

--
-- Name: runs runs_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (user_id, id);

--
-- Name: sessions sessions_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (user_id, id);

--
-- Name: settings settings_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (only_row);

--
-- Name: signup_claims signup_claims_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.signup_claims
    ADD CONSTRAINT signup_claims_pkey PRIMARY KEY (identity_hash);

--
-- Name: stripe_customers stripe_customers_customer_id_key; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.stripe_customers
    ADD CONSTRAINT stripe_customers_customer_id_key UNIQUE (customer_id);

--
-- Name: stripe_customers stripe_customers_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.stripe_customers
    ADD CONSTRAINT stripe_customers_pkey PRIMARY KEY (user_id, livemode);

--
-- Name: stripe_drift stripe_drift_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.stripe_drift
    ADD CONSTRAINT stripe_drift_pkey PRIMARY KEY (id);

--
-- Name: stripe_effects stripe_effects_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.stripe_effects
    ADD CONSTRAINT stripe_effects_pkey PRIMARY KEY (user_id, event_id);

--
-- Name: stripe_events stripe_events_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.stripe_events
    ADD CONSTRAINT stripe_events_pkey PRIMARY KEY (id);

--
-- Name: stripe_payments stripe_payments_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.stripe_payments
    ADD CONSTRAINT stripe_payments_pkey PRIMARY KEY (payment_id);

--
-- Name: stripe_work stripe_work_dedupe_key; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.stripe_work
    ADD CONSTRAINT stripe_work_dedupe_key UNIQUE (dedupe);

--
-- Name: stripe_work stripe_work_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.stripe_work
    ADD CONSTRAINT stripe_work_pkey PRIMARY KEY (id);

--
-- Name: subscription_periods subscription_periods_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.subscription_periods
    ADD CONSTRAINT subscription_periods_pkey PRIMARY KEY (user_id, subscription_id, period_start);

--
-- Name: subscription_states subscription_states_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.subscription_states
    ADD CONSTRAINT subscription_states_pkey PRIMARY KEY (status);

--
-- Name: subscriptions subscriptions_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.subscriptions
    ADD CONSTRAINT subscriptions_pkey PRIMARY KEY (user_id, id);

--
-- Name: suggested_inputs suggested_inputs_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.suggested_inputs
    ADD CONSTRAINT suggested_inputs_pkey PRIMARY KEY (id);

--
-- Name: user_emails user_emails_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.user_emails
    ADD CONSTRAINT user_emails_pkey PRIMARY KEY (email);

--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

--
-- Name: package_model_usage_key; Type: INDEX; Schema: core; Owner: prpm_owner
--

CREATE UNIQUE INDEX package_model_usage_key ON core.package_model_usage USING btree (package_id, model);

--
-- Name: user_cost_figures_user; Type: INDEX; Schema: core; Owner: prpm_owner
--

CREATE UNIQUE INDEX user_cost_figures_user ON core.user_cost_figures USING btree (user_id);

--
-- Name: api_tokens_by_user; Type: INDEX; Schema: public; Owner: prpm_owner
--

CREATE INDEX api_tokens_by_user ON public.api_tokens USING btree (user_id, created_at);

--
-- Name: models_one_default; Type: INDEX; Schema: public; Owner: prpm_owner
--

CREATE UNIQUE INDEX models_one_default ON public.models USING btree (is_default) WHERE is_default;

--
-- Name: packages_name_trigram; Type: INDEX; Schema: public; Owner: prpm_owner
--

CREATE INDEX packages_name_trigram ON public.packages USING gin (name public.gin_trgm_ops);

--
-- Name: stripe_events_waiting; Type: INDEX; Schema: public; Owner: prpm_owner
--

CREATE INDEX stripe_events_waiting ON public.stripe_events USING btree (received_at) WHERE (status = 'received'::text);

--
-- Name: suggested_inputs_by_package; Type: INDEX; Schema: public; Owner: prpm_owner
--

CREATE INDEX suggested_inputs_by_package ON public.suggested_inputs USING btree (package_id, display_order);

--
-- Name: unpriced_models _RETURN; Type: RULE; Schema: ops; Owner: prpm_owner
--

CREATE OR REPLACE VIEW ops.unpriced_models AS
 SELECT m.alias AS model,
    m.provider,
    m.provider_model,
    m.enabled,
    max(upper(p.valid)) FILTER (WHERE (upper(p.valid) <= ( SELECT core.now() AS now))) AS last_price_ended_at,
    min(lower(p.valid)) FILTER (WHERE (lower(p.valid) > ( SELECT core.now() AS now))) AS next_price_starts_at,
    format('insert into model_prices (model, valid, input, output) values (%L, tstzrange(now(), null), …, …)'::text, m.alias) AS price_with
   FROM (public.models m
     LEFT JOIN public.model_prices p ON ((p.model = m.alias)))
  GROUP BY m.alias
 HAVING (NOT COALESCE(bool_or((p.valid @> ( SELECT core.now() AS now))), false))
  ORDER BY (max(upper(p.valid)) FILTER (WHERE (upper(p.valid) <= ( SELECT core.now() AS now)))) DESC NULLS LAST, m.alias;

--
-- Name: model_prices guard_price; Type: TRIGGER; Schema: public; Owner: prpm_owner
--

CREATE TRIGGER guard_price BEFORE UPDATE ON public.model_prices FOR EACH ROW WHEN ((CURRENT_USER <> 'prpm_owner'::name)) EXECUTE FUNCTION core.guard_price();

--
-- Name: credit_transactions guard_transactions; Type: TRIGGER; Schema: public; Owner: prpm_owner
--

CREATE TRIGGER guard_transactions BEFORE DELETE OR UPDATE OR TRUNCATE ON public.credit_transactions FOR EACH STATEMENT EXECUTE FUNCTION core.guard_transactions();

--
-- Name: cost_limits_config record_change; Type: TRIGGER; Schema: public; Owner: prpm_owner
--

CREATE TRIGGER record_change AFTER INSERT OR DELETE OR UPDATE ON public.cost_limits_config FOR EACH ROW EXECUTE FUNCTION core.record_change('tier_name');

--
-- Name: model_prices record_change; Type: TRIGGER; Schema: public; Owner: prpm_owner
--

CREATE TRIGGER record_change AFTER INSERT OR DELETE OR UPDATE ON public.model_prices FOR EACH ROW EXECUTE FUNCTION core.record_change('id');

--
-- Name: models record_change; Type: TRIGGER; Schema: public; Owner: prpm_owner
--

CREATE TRIGGER record_change AFTER INSERT OR DELETE OR UPDATE ON public.models FOR EACH ROW EXECUTE FUNCTION core.record_change('alias');

--
-- Name: packs record_change; Type: TRIGGER; Schema: public; Owner: prpm_owner
--

CREATE TRIGGER record_change AFTER INSERT OR DELETE OR UPDATE ON public.packs FOR EACH ROW EXECUTE FUNCTION core.record_change('pack');

--
-- Name: plans record_change; Type: TRIGGER; Schema: public; Owner: prpm_owner
--

CREATE TRIGGER record_change AFTER INSERT OR DELETE OR UPDATE ON public.plans FOR EACH ROW EXECUTE FUNCTION core.record_change('plan');

--
-- Name: settings record_change; Type: TRIGGER; Schema: public; Owner: prpm_owner
--

CREATE TRIGGER record_change AFTER INSERT OR DELETE OR UPDATE ON public.settings FOR EACH ROW EXECUTE FUNCTION core.record_change('only_row');

--
-- Name: users record_change; Type: TRIGGER; Schema: public; Owner: prpm_owner
--

CREATE TRIGGER record_change AFTER UPDATE OF is_throttled, throttled_reason, throttled_by, throttled_at, throttled_until, tier_override, is_admin, verified_author ON public.users FOR EACH ROW WHEN ((CURRENT_USER <> 'prpm_owner'::name)) EXECUTE FUNCTION core.record_change('id');

--
-- Name: users watch_throttle; Type: TRIGGER; Schema: public; Owner: prpm_owner
--

CREATE TRIGGER watch_throttle BEFORE UPDATE OF is_throttled ON public.users FOR EACH ROW WHEN (((old.is_throttled IS DISTINCT FROM new.is_throttled) AND (CURRENT_USER <> 'prpm_owner'::name))) EXECUTE FUNCTION core.watch_throttle();

--
-- Name: checkouts checkouts_plan_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.checkouts
    ADD CONSTRAINT checkouts_plan_fkey FOREIGN KEY (plan) REFERENCES public.plans(plan);

--
-- Name: model_prices model_prices_model_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.model_prices
    ADD CONSTRAINT model_prices_model_fkey FOREIGN KEY (model) REFERENCES public.models(alias);

--
-- Name: organization_members organization_members_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.organization_members
    ADD CONSTRAINT organization_members_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id);

--
-- Name: package_versions package_versions_package_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.package_versions
    ADD CONSTRAINT package_versions_package_id_fkey FOREIGN KEY (package_id) REFERENCES public.packages(id);

--
-- Name: packages packages_organization_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.packages
    ADD CONSTRAINT packages_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id);

--
-- Name: plans plans_tier_name_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.plans
    ADD CONSTRAINT plans_tier_name_fkey FOREIGN KEY (tier_name) REFERENCES public.cost_limits_config(tier_name);

--
-- Name: purchases purchases_pack_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.purchases
    ADD CONSTRAINT purchases_pack_fkey FOREIGN KEY (pack) REFERENCES public.packs(pack);

--
-- Name: subscription_periods subscription_periods_plan_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.subscription_periods
    ADD CONSTRAINT subscription_periods_plan_fkey FOREIGN KEY (plan) REFERENCES public.plans(plan);

--
-- Name: subscriptions subscriptions_plan_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.subscriptions
    ADD CONSTRAINT subscriptions_plan_fkey FOREIGN KEY (plan) REFERENCES public.plans(plan);

--
-- Name: suggested_inputs suggested_inputs_package_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.suggested_inputs
    ADD CONSTRAINT suggested_inputs_package_id_fkey FOREIGN KEY (package_id) REFERENCES public.packages(id);

--
-- Name: suggested_inputs suggested_inputs_recommended_model_fkey; Type: FK CONSTRAINT; Schema: public; Owner: prpm_owner
--

ALTER TABLE ONLY public.suggested_inputs
    ADD CONSTRAINT suggested_inputs_recommended_model_fkey FOREIGN KEY (recommended_model) REFERENCES public.models(alias);

--
-- Name: SCHEMA api; Type: ACL; Schema: -; Owner: prpm_owner
--

GRANT USAGE ON SCHEMA api TO prpm_app;

--
-- Name: SCHEMA ops; Type: ACL; Schema: -; Owner: prpm_owner
--

GRANT USAGE ON SCHEMA ops TO prpm_ops;
GRANT USAGE ON SCHEMA ops TO prpm_cron;
GRANT USAGE ON SCHEMA ops TO prpm_readonly;

--
-- Name: FUNCTION admit_read(user_id uuid, OUT allowed boolean, OUT rate_limit integer, OUT rate_remaining integer, OUT rate_reset integer); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.admit_read(user_id uuid, OUT allowed boolean, OUT rate_limit integer, OUT rate_remaining integer, OUT rate_reset integer) FROM PUBLIC;
GRANT ALL ON FUNCTION api.admit_read(user_id uuid, OUT allowed boolean, OUT rate_limit integer, OUT rate_remaining integer, OUT rate_reset integer) TO prpm_app;

--
-- Name: FUNCTION apply_stripe_event(event_id text); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.apply_stripe_event(event_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.apply_stripe_event(event_id text) TO prpm_app;

--
-- Name: FUNCTION authenticate_token(token_hash bytea); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.authenticate_token(token_hash bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION api.authenticate_token(token_hash bytea) TO prpm_app;

--
-- Name: FUNCTION begin_customer(user_id uuid, livemode boolean, OUT customer_id text, OUT write_id uuid, OUT email text, OUT username text); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.begin_customer(user_id uuid, livemode boolean, OUT customer_id text, OUT write_id uuid, OUT email text, OUT username text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.begin_customer(user_id uuid, livemode boolean, OUT customer_id text, OUT write_id uuid, OUT email text, OUT username text) TO prpm_app;

--
-- Name: FUNCTION begin_portal(user_id uuid, livemode boolean, OUT outcome text, OUT refusal json, OUT customer_id text); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.begin_portal(user_id uuid, livemode boolean, OUT outcome text, OUT refusal json, OUT customer_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.begin_portal(user_id uuid, livemode boolean, OUT outcome text, OUT refusal json, OUT customer_id text) TO prpm_app;

--
-- Name: FUNCTION begin_purchase(user_id uuid, pack text, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT purchase_id uuid, OUT credits bigint, OUT price numeric, OUT currency text, OUT parameters jsonb); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.begin_purchase(user_id uuid, pack text, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT purchase_id uuid, OUT credits bigint, OUT price numeric, OUT currency text, OUT parameters jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.begin_purchase(user_id uuid, pack text, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT purchase_id uuid, OUT credits bigint, OUT price numeric, OUT currency text, OUT parameters jsonb) TO prpm_app;

--
-- Name: FUNCTION begin_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer, idempotency_key text, request_hash bytea); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.begin_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer, idempotency_key text, request_hash bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION api.begin_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer, idempotency_key text, request_hash bytea) TO prpm_app;

--
-- Name: FUNCTION begin_subscribe(user_id uuid, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT checkout_id uuid, OUT session_id text, OUT url text, OUT parameters jsonb); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.begin_subscribe(user_id uuid, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT checkout_id uuid, OUT session_id text, OUT url text, OUT parameters jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.begin_subscribe(user_id uuid, success_url text, cancel_url text, livemode boolean, OUT outcome text, OUT refusal json, OUT checkout_id uuid, OUT session_id text, OUT url text, OUT parameters jsonb) TO prpm_app;

--
-- Name: FUNCTION begin_subscription_change(user_id uuid, action text, OUT outcome text, OUT refusal json, OUT work_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.begin_subscription_change(user_id uuid, action text, OUT outcome text, OUT refusal json, OUT work_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.begin_subscription_change(user_id uuid, action text, OUT outcome text, OUT refusal json, OUT work_id uuid) TO prpm_app;

--
-- Name: FUNCTION checkpoint_run(user_id uuid, run_id uuid, question text, answer text, output_tokens integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer, OUT status text, OUT stop_requested boolean); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.checkpoint_run(user_id uuid, run_id uuid, question text, answer text, output_tokens integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer, OUT status text, OUT stop_requested boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION api.checkpoint_run(user_id uuid, run_id uuid, question text, answer text, output_tokens integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer, OUT status text, OUT stop_requested boolean) TO prpm_app;

--
-- Name: FUNCTION claim_stripe_work(most integer, only_work uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.claim_stripe_work(most integer, only_work uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.claim_stripe_work(most integer, only_work uuid) TO prpm_app;

--
-- Name: TABLE packs; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.packs TO prpm_ops;
GRANT SELECT ON TABLE public.packs TO prpm_readonly;

--
-- Name: TABLE plans; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.plans TO prpm_ops;
GRANT SELECT ON TABLE public.plans TO prpm_readonly;

--
-- Name: FUNCTION compare_stripe_prices(prices jsonb, livemode boolean); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.compare_stripe_prices(prices jsonb, livemode boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION api.compare_stripe_prices(prices jsonb, livemode boolean) TO prpm_app;

--
-- Name: FUNCTION create_token(user_id uuid, token_hash bytea, id uuid, name text, scopes text[], expires_at timestamp with time zone); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.create_token(user_id uuid, token_hash bytea, id uuid, name text, scopes text[], expires_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION api.create_token(user_id uuid, token_hash bytea, id uuid, name text, scopes text[], expires_at timestamp with time zone) TO prpm_app;

--
-- Name: TABLE settings; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.settings TO prpm_ops;
GRANT SELECT ON TABLE public.settings TO prpm_readonly;

--
-- Name: COLUMN settings.tokens_per_credit; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(tokens_per_credit) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.max_request_tokens; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(max_request_tokens) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.max_output_tokens; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(max_output_tokens) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.custom_max_output_tokens; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(custom_max_output_tokens) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.min_output_tokens; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(min_output_tokens) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.custom_prompt_multiplier; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(custom_prompt_multiplier) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.estimate_safety_exact; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(estimate_safety_exact) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.estimate_safety; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(estimate_safety) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.signup_credits; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(signup_credits) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.trial_credits; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(trial_credits) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.max_rollover_credits; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(max_rollover_credits) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.grace_days; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(grace_days) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.purchased_cost_per_credit_limit; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(purchased_cost_per_credit_limit) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.purchased_cost_per_credit_cap; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(purchased_cost_per_credit_cap) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.runs_enabled; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(runs_enabled) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.purchases_enabled; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(purchases_enabled) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.purchases_per_minute; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(purchases_per_minute) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.reads_per_minute; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(reads_per_minute) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.free_tier_daily_budget; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(free_tier_daily_budget) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.hourly_spend_alert; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(hourly_spend_alert) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.first_token_timeout_ms; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(first_token_timeout_ms) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.run_timeout_ms; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(run_timeout_ms) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.checkpoint_ms; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(checkpoint_ms) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.hold_ms; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(hold_ms) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.abandon_after_ms; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(abandon_after_ms) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.cache_min_runs; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(cache_min_runs) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.cache_min_tokens; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(cache_min_tokens) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.run_text_days; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(run_text_days) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.job_batch; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(job_batch) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.clock_offset; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(clock_offset) ON TABLE public.settings TO prpm_ops;

--
-- Name: COLUMN settings.stripe_max_rps; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(stripe_max_rps) ON TABLE public.settings TO prpm_ops;

--
-- Name: FUNCTION now(); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.now() FROM PUBLIC;
GRANT ALL ON FUNCTION core.now() TO prpm_ops;
GRANT ALL ON FUNCTION core.now() TO prpm_readonly;

--
-- Name: FUNCTION slot_of(every interval, after interval, at timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.slot_of(every interval, after interval, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.slot_of(every interval, after interval, at timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.slot_of(every interval, after interval, at timestamp with time zone) TO prpm_readonly;

--
-- Name: TABLE job_runs; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.job_runs TO prpm_ops;
GRANT SELECT ON TABLE public.job_runs TO prpm_readonly;

--
-- Name: TABLE jobs; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.jobs TO prpm_ops;

--
-- Name: FUNCTION due_jobs(); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.due_jobs() FROM PUBLIC;
GRANT ALL ON FUNCTION api.due_jobs() TO prpm_app;

--
-- Name: FUNCTION end_session(user_id uuid, session_id text, how text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.end_session(user_id uuid, session_id text, how text) FROM PUBLIC;

--
-- Name: FUNCTION end_checkout(user_id uuid, session_id text, how text); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.end_checkout(user_id uuid, session_id text, how text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.end_checkout(user_id uuid, session_id text, how text) TO prpm_app;

--
-- Name: FUNCTION estimate_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.estimate_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer) FROM PUBLIC;
GRANT ALL ON FUNCTION api.estimate_run(user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean, input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer) TO prpm_app;

--
-- Name: FUNCTION fail_stripe_event(event_id text, error text); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.fail_stripe_event(event_id text, error text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.fail_stripe_event(event_id text, error text) TO prpm_app;

--
-- Name: TABLE stripe_work; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.stripe_work TO prpm_ops;

--
-- Name: FUNCTION fail_stripe_work(work_id uuid, error text, is_final boolean); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.fail_stripe_work(work_id uuid, error text, is_final boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION api.fail_stripe_work(work_id uuid, error text, is_final boolean) TO prpm_app;

--
-- Name: FUNCTION finish_stripe_work(work_id uuid, ticket bigint, result jsonb); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.finish_stripe_work(work_id uuid, ticket bigint, result jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.finish_stripe_work(work_id uuid, ticket bigint, result jsonb) TO prpm_app;

--
-- Name: FUNCTION keep_checkout(user_id uuid, checkout_id uuid, session_id text, url text, expires_at timestamp with time zone); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.keep_checkout(user_id uuid, checkout_id uuid, session_id text, url text, expires_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION api.keep_checkout(user_id uuid, checkout_id uuid, session_id text, url text, expires_at timestamp with time zone) TO prpm_app;

--
-- Name: FUNCTION keep_customer(user_id uuid, customer_id text, livemode boolean); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.keep_customer(user_id uuid, customer_id text, livemode boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION api.keep_customer(user_id uuid, customer_id text, livemode boolean) TO prpm_app;

--
-- Name: TABLE organization_members; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.organization_members TO prpm_ops;
GRANT SELECT ON TABLE public.organization_members TO prpm_readonly;

--
-- Name: FUNCTION leave_organization(user_id uuid, organization_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.leave_organization(user_id uuid, organization_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.leave_organization(user_id uuid, organization_id uuid) TO prpm_app;

--
-- Name: FUNCTION list_credit_history(user_id uuid, type text, "limit" integer, cursor text, "offset" integer); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.list_credit_history(user_id uuid, type text, "limit" integer, cursor text, "offset" integer) FROM PUBLIC;
GRANT ALL ON FUNCTION api.list_credit_history(user_id uuid, type text, "limit" integer, cursor text, "offset" integer) TO prpm_app;

--
-- Name: TABLE model_prices; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT,INSERT ON TABLE public.model_prices TO prpm_ops;
GRANT SELECT ON TABLE public.model_prices TO prpm_readonly;

--
-- Name: COLUMN model_prices.valid; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(valid) ON TABLE public.model_prices TO prpm_ops;

--
-- Name: TABLE models; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.models TO prpm_ops;
GRANT SELECT ON TABLE public.models TO prpm_readonly;

--
-- Name: FUNCTION list_models(user_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.list_models(user_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.list_models(user_id uuid) TO prpm_app;

--
-- Name: FUNCTION list_packs(user_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.list_packs(user_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.list_packs(user_id uuid) TO prpm_app;

--
-- Name: FUNCTION list_sessions(user_id uuid, "limit" integer, cursor text, "offset" integer); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.list_sessions(user_id uuid, "limit" integer, cursor text, "offset" integer) FROM PUBLIC;
GRANT ALL ON FUNCTION api.list_sessions(user_id uuid, "limit" integer, cursor text, "offset" integer) TO prpm_app;

--
-- Name: TABLE api_tokens; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.api_tokens TO prpm_ops;

--
-- Name: FUNCTION list_tokens(user_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.list_tokens(user_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.list_tokens(user_id uuid) TO prpm_app;

--
-- Name: FUNCTION publish_version(user_id uuid, name text, description text, tags text[], visibility text, organization_id uuid, package_version text, prompt text, tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, changelog text, suggested_inputs json); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.publish_version(user_id uuid, name text, description text, tags text[], visibility text, organization_id uuid, package_version text, prompt text, tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, changelog text, suggested_inputs json) FROM PUBLIC;
GRANT ALL ON FUNCTION api.publish_version(user_id uuid, name text, description text, tags text[], visibility text, organization_id uuid, package_version text, prompt text, tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, changelog text, suggested_inputs json) TO prpm_app;

--
-- Name: FUNCTION spend_rank(kind text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.spend_rank(kind text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.spend_rank(kind text) TO prpm_ops;
GRANT ALL ON FUNCTION core.spend_rank(kind text) TO prpm_readonly;

--
-- Name: TABLE credit_lots; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.credit_lots TO prpm_ops;
GRANT SELECT ON TABLE public.credit_lots TO prpm_readonly;

--
-- Name: FUNCTION held_in_lots(user_id uuid, held_included bigint, held_purchased bigint); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.held_in_lots(user_id uuid, held_included bigint, held_purchased bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION core.held_in_lots(user_id uuid, held_included bigint, held_purchased bigint) TO prpm_ops;
GRANT ALL ON FUNCTION core.held_in_lots(user_id uuid, held_included bigint, held_purchased bigint) TO prpm_readonly;

--
-- Name: TABLE users; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.users TO prpm_ops;
GRANT SELECT ON TABLE public.users TO prpm_readonly;

--
-- Name: COLUMN users.is_admin; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(is_admin) ON TABLE public.users TO prpm_ops;

--
-- Name: COLUMN users.verified_author; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(verified_author) ON TABLE public.users TO prpm_ops;

--
-- Name: COLUMN users.tier_override; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(tier_override) ON TABLE public.users TO prpm_ops;

--
-- Name: COLUMN users.is_throttled; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(is_throttled) ON TABLE public.users TO prpm_ops;

--
-- Name: COLUMN users.throttled_reason; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(throttled_reason) ON TABLE public.users TO prpm_ops;

--
-- Name: COLUMN users.throttled_until; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT UPDATE(throttled_until) ON TABLE public.users TO prpm_ops;

--
-- Name: FUNCTION read_credits(user_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.read_credits(user_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.read_credits(user_id uuid) TO prpm_app;

--
-- Name: FUNCTION read_package(user_id uuid, package text); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.read_package(user_id uuid, package text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.read_package(user_id uuid, package text) TO prpm_app;

--
-- Name: TABLE organizations; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.organizations TO prpm_ops;
GRANT SELECT ON TABLE public.organizations TO prpm_readonly;

--
-- Name: FUNCTION offer_of(user_id uuid, OUT plan text, OUT price numeric, OUT credits integer, OUT price_id text, OUT organization text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.offer_of(user_id uuid, OUT plan text, OUT price numeric, OUT credits integer, OUT price_id text, OUT organization text) FROM PUBLIC;

--
-- Name: FUNCTION read_pricing(user_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.read_pricing(user_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.read_pricing(user_id uuid) TO prpm_app;

--
-- Name: TABLE cost_limits_config; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.cost_limits_config TO prpm_ops;
GRANT SELECT ON TABLE public.cost_limits_config TO prpm_readonly;

--
-- Name: FUNCTION find_limits(tier text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.find_limits(tier text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.find_limits(tier text) TO prpm_ops;
GRANT ALL ON FUNCTION core.find_limits(tier text) TO prpm_readonly;

--
-- Name: FUNCTION roll_windows(u public.users, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.roll_windows(u public.users, now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.roll_windows(u public.users, now timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.roll_windows(u public.users, now timestamp with time zone) TO prpm_readonly;

--
-- Name: FUNCTION tier_at(tier_override text, plan_tier text, entitled_until timestamp with time zone, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.tier_at(tier_override text, plan_tier text, entitled_until timestamp with time zone, now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.tier_at(tier_override text, plan_tier text, entitled_until timestamp with time zone, now timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.tier_at(tier_override text, plan_tier text, entitled_until timestamp with time zone, now timestamp with time zone) TO prpm_readonly;

--
-- Name: TABLE runs; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.runs TO prpm_ops;
GRANT SELECT ON TABLE public.runs TO prpm_readonly;

--
-- Name: FUNCTION write_receipt(r public.runs, u public.users, l public.cost_limits_config); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.write_receipt(r public.runs, u public.users, l public.cost_limits_config) FROM PUBLIC;

--
-- Name: TABLE run_texts; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.run_texts TO prpm_ops;

--
-- Name: FUNCTION read_run(user_id uuid, run_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.read_run(user_id uuid, run_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.read_run(user_id uuid, run_id uuid) TO prpm_app;

--
-- Name: TABLE packages; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.packages TO prpm_ops;
GRANT SELECT ON TABLE public.packages TO prpm_readonly;

--
-- Name: TABLE sessions; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.sessions TO prpm_ops;

--
-- Name: FUNCTION describe_sessions(user_id uuid, session_ids uuid[]); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.describe_sessions(user_id uuid, session_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION core.describe_sessions(user_id uuid, session_ids uuid[]) TO prpm_ops;
GRANT ALL ON FUNCTION core.describe_sessions(user_id uuid, session_ids uuid[]) TO prpm_readonly;

--
-- Name: FUNCTION read_session(user_id uuid, session_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.read_session(user_id uuid, session_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.read_session(user_id uuid, session_id uuid) TO prpm_app;

--
-- Name: TABLE subscription_states; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.subscription_states TO prpm_ops;

--
-- Name: TABLE subscriptions; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.subscriptions TO prpm_ops;
GRANT SELECT ON TABLE public.subscriptions TO prpm_readonly;

--
-- Name: FUNCTION current_subscription(user_id uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.current_subscription(user_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION tier_now(person public.users); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.tier_now(person public.users) FROM PUBLIC;
GRANT ALL ON FUNCTION core.tier_now(person public.users) TO prpm_ops;
GRANT ALL ON FUNCTION core.tier_now(person public.users) TO prpm_readonly;

--
-- Name: FUNCTION read_subscription(user_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.read_subscription(user_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.read_subscription(user_id uuid) TO prpm_app;

--
-- Name: FUNCTION read_version(user_id uuid, package text, package_version text); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.read_version(user_id uuid, package text, package_version text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.read_version(user_id uuid, package text, package_version text) TO prpm_app;

--
-- Name: FUNCTION settle_run(user_id uuid, run_id uuid, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.settle_run(user_id uuid, run_id uuid, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer) FROM PUBLIC;
GRANT ALL ON FUNCTION api.settle_run(user_id uuid, run_id uuid, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer) TO prpm_app;

--
-- Name: FUNCTION release_run(user_id uuid, run_id uuid, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, question text, error text, error_reason text, duration_ms integer); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.release_run(user_id uuid, run_id uuid, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, question text, error text, error_reason text, duration_ms integer) FROM PUBLIC;
GRANT ALL ON FUNCTION api.release_run(user_id uuid, run_id uuid, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, question text, error text, error_reason text, duration_ms integer) TO prpm_app;

--
-- Name: FUNCTION revoke_token(user_id uuid, id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.revoke_token(user_id uuid, id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.revoke_token(user_id uuid, id uuid) TO prpm_app;

--
-- Name: FUNCTION run_job(job text, OUT ran boolean, OUT error text); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.run_job(job text, OUT ran boolean, OUT error text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.run_job(job text, OUT ran boolean, OUT error text) TO prpm_app;

--
-- Name: FUNCTION search_packages(user_id uuid, query text, "limit" integer, cursor text); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.search_packages(user_id uuid, query text, "limit" integer, cursor text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.search_packages(user_id uuid, query text, "limit" integer, cursor text) TO prpm_app;

--
-- Name: FUNCTION set_stripe_prices(prices jsonb); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.set_stripe_prices(prices jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.set_stripe_prices(prices jsonb) TO prpm_app;

--
-- Name: FUNCTION sign_in(issuer text, subject text, claimed_email text, email_verified boolean, claimed_username text, new_user_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.sign_in(issuer text, subject text, claimed_email text, email_verified boolean, claimed_username text, new_user_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.sign_in(issuer text, subject text, claimed_email text, email_verified boolean, claimed_username text, new_user_id uuid) TO prpm_app;

--
-- Name: FUNCTION stop_run(user_id uuid, run_id uuid); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.stop_run(user_id uuid, run_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION api.stop_run(user_id uuid, run_id uuid) TO prpm_app;

--
-- Name: FUNCTION store_stripe_event(event_id text, body text, livemode boolean, api_version text); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.store_stripe_event(event_id text, body text, livemode boolean, api_version text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.store_stripe_event(event_id text, body text, livemode boolean, api_version text) TO prpm_app;

--
-- Name: FUNCTION stripe_limits(OUT max_rps integer); Type: ACL; Schema: api; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION api.stripe_limits(OUT max_rps integer) FROM PUBLIC;
GRANT ALL ON FUNCTION api.stripe_limits(OUT max_rps integer) TO prpm_app;

--
-- Name: FUNCTION affordable_tokens(credits bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.affordable_tokens(credits bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION core.affordable_tokens(credits bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) TO prpm_ops;
GRANT ALL ON FUNCTION core.affordable_tokens(credits bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) TO prpm_readonly;

--
-- Name: TABLE stripe_events; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.stripe_events TO prpm_ops;

--
-- Name: FUNCTION apply_event(user_id uuid, event public.stripe_events, object jsonb, payment text, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.apply_event(user_id uuid, event public.stripe_events, object jsonb, payment text, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION apply_object(user_id uuid, kind text, key text, ticket bigint, fetched_at timestamp with time zone, result jsonb, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.apply_object(user_id uuid, kind text, key text, ticket bigint, fetched_at timestamp with time zone, result jsonb, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION apply_period_refund(user_id uuid, subscription_id text, period_start timestamp with time zone, refunded_total numeric, disputed_total numeric, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.apply_period_refund(user_id uuid, subscription_id text, period_start timestamp with time zone, refunded_total numeric, disputed_total numeric, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION apply_refund(user_id uuid, purchase_id uuid, refunded_total numeric, now timestamp with time zone, disputed_total numeric); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.apply_refund(user_id uuid, purchase_id uuid, refunded_total numeric, now timestamp with time zone, disputed_total numeric) FROM PUBLIC;

--
-- Name: FUNCTION audit_lots(only_user uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.audit_lots(only_user uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.audit_lots(only_user uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.audit_lots(only_user uuid) TO prpm_readonly;

--
-- Name: FUNCTION audit_periods(only_user uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.audit_periods(only_user uuid) FROM PUBLIC;

--
-- Name: FUNCTION audit_purchases(only_user uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.audit_purchases(only_user uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.audit_purchases(only_user uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.audit_purchases(only_user uuid) TO prpm_readonly;

--
-- Name: FUNCTION audit_references(only_user uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.audit_references(only_user uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.audit_references(only_user uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.audit_references(only_user uuid) TO prpm_readonly;

--
-- Name: FUNCTION audit_runs(only_user uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.audit_runs(only_user uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.audit_runs(only_user uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.audit_runs(only_user uuid) TO prpm_readonly;

--
-- Name: FUNCTION audit_transfers(only_user uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.audit_transfers(only_user uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.audit_transfers(only_user uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.audit_transfers(only_user uuid) TO prpm_readonly;

--
-- Name: FUNCTION audit_users(only_user uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.audit_users(only_user uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.audit_users(only_user uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.audit_users(only_user uuid) TO prpm_readonly;

--
-- Name: FUNCTION cap_by_cost_per_credit(input_tokens integer, output_cap integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_cost numeric, output_price numeric, cost_cap numeric); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.cap_by_cost_per_credit(input_tokens integer, output_cap integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_cost numeric, output_price numeric, cost_cap numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION core.cap_by_cost_per_credit(input_tokens integer, output_cap integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_cost numeric, output_price numeric, cost_cap numeric) TO prpm_ops;
GRANT ALL ON FUNCTION core.cap_by_cost_per_credit(input_tokens integer, output_cap integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_cost numeric, output_price numeric, cost_cap numeric) TO prpm_readonly;

--
-- Name: FUNCTION charge_for(tokens bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.charge_for(tokens bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION core.charge_for(tokens bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) TO prpm_ops;
GRANT ALL ON FUNCTION core.charge_for(tokens bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric) TO prpm_readonly;

--
-- Name: FUNCTION cheapest_useful_cost(now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.cheapest_useful_cost(now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.cheapest_useful_cost(now timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.cheapest_useful_cost(now timestamp with time zone) TO prpm_readonly;

--
-- Name: FUNCTION check_package(name text, description text, tags text[], visibility text, version text, prompt text, token_counts integer[]); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.check_package(name text, description text, tags text[], visibility text, version text, prompt text, token_counts integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION core.check_package(name text, description text, tags text[], visibility text, version text, prompt text, token_counts integer[]) TO prpm_ops;
GRANT ALL ON FUNCTION core.check_package(name text, description text, tags text[], visibility text, version text, prompt text, token_counts integer[]) TO prpm_readonly;

--
-- Name: FUNCTION check_page("limit" integer, "offset" integer); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.check_page("limit" integer, "offset" integer) FROM PUBLIC;
GRANT ALL ON FUNCTION core.check_page("limit" integer, "offset" integer) TO prpm_ops;
GRANT ALL ON FUNCTION core.check_page("limit" integer, "offset" integer) TO prpm_readonly;

--
-- Name: FUNCTION check_price(model text, input numeric, cached_read numeric, cache_write numeric, output numeric); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.check_price(model text, input numeric, cached_read numeric, cache_write numeric, output numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION core.check_price(model text, input numeric, cached_read numeric, cache_write numeric, output numeric) TO prpm_ops;
GRANT ALL ON FUNCTION core.check_price(model text, input numeric, cached_read numeric, cache_write numeric, output numeric) TO prpm_readonly;

--
-- Name: FUNCTION check_token(user_id uuid, name text, scopes text[], expires_at timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.check_token(user_id uuid, name text, scopes text[], expires_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.check_token(user_id uuid, name text, scopes text[], expires_at timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.check_token(user_id uuid, name text, scopes text[], expires_at timestamp with time zone) TO prpm_readonly;

--
-- Name: FUNCTION claim_email(user_id uuid, email text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.claim_email(user_id uuid, email text) FROM PUBLIC;

--
-- Name: FUNCTION claim_package(user_id uuid, name text, visibility text, organization_id uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.claim_package(user_id uuid, name text, visibility text, organization_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION continue_session(user_id uuid, session_id uuid, package_id uuid, model text, now timestamp with time zone, OUT refusal json, OUT messages json, OUT tokens integer, OUT same_model boolean); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.continue_session(user_id uuid, session_id uuid, package_id uuid, model text, now timestamp with time zone, OUT refusal json, OUT messages json, OUT tokens integer, OUT same_model boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION core.continue_session(user_id uuid, session_id uuid, package_id uuid, model text, now timestamp with time zone, OUT refusal json, OUT messages json, OUT tokens integer, OUT same_model boolean) TO prpm_ops;
GRANT ALL ON FUNCTION core.continue_session(user_id uuid, session_id uuid, package_id uuid, model text, now timestamp with time zone, OUT refusal json, OUT messages json, OUT tokens integer, OUT same_model boolean) TO prpm_readonly;

--
-- Name: FUNCTION cost_of(input integer, cached integer, cache_write integer, output integer, input_price numeric, cached_price numeric, cache_write_price numeric, output_price numeric); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.cost_of(input integer, cached integer, cache_write integer, output integer, input_price numeric, cached_price numeric, cache_write_price numeric, output_price numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION core.cost_of(input integer, cached integer, cache_write integer, output integer, input_price numeric, cached_price numeric, cache_write_price numeric, output_price numeric) TO prpm_ops;
GRANT ALL ON FUNCTION core.cost_of(input integer, cached integer, cache_write integer, output integer, input_price numeric, cached_price numeric, cache_write_price numeric, output_price numeric) TO prpm_readonly;

--
-- Name: FUNCTION count_in_window(user_id uuid, kind text, per_minute integer, OUT allowed boolean, OUT remaining integer, OUT reset integer); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.count_in_window(user_id uuid, kind text, per_minute integer, OUT allowed boolean, OUT remaining integer, OUT reset integer) FROM PUBLIC;

--
-- Name: FUNCTION count_refusal(user_id uuid, refusal json, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.count_refusal(user_id uuid, refusal json, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION count_sale(user_id uuid, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.count_sale(user_id uuid, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION cover_overrun(INOUT from_included bigint, INOUT from_purchased bigint, over bigint, purchased_first boolean, free_included bigint, free_purchased bigint); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.cover_overrun(INOUT from_included bigint, INOUT from_purchased bigint, over bigint, purchased_first boolean, free_included bigint, free_purchased bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION core.cover_overrun(INOUT from_included bigint, INOUT from_purchased bigint, over bigint, purchased_first boolean, free_included bigint, free_purchased bigint) TO prpm_ops;
GRANT ALL ON FUNCTION core.cover_overrun(INOUT from_included bigint, INOUT from_purchased bigint, over bigint, purchased_first boolean, free_included bigint, free_purchased bigint) TO prpm_readonly;

--
-- Name: FUNCTION create_user(user_id uuid, username text, email text, identity text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.create_user(user_id uuid, username text, email text, identity text) FROM PUBLIC;

--
-- Name: FUNCTION decode_cursor(cursor text, VARIADIC types regtype[]); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.decode_cursor(cursor text, VARIADIC types regtype[]) FROM PUBLIC;
GRANT ALL ON FUNCTION core.decode_cursor(cursor text, VARIADIC types regtype[]) TO prpm_ops;
GRANT ALL ON FUNCTION core.decode_cursor(cursor text, VARIADIC types regtype[]) TO prpm_readonly;

--
-- Name: FUNCTION describe_refusal(code text, status integer, message text, now timestamp with time zone, "limit" numeric, used numeric, held numeric, unit text, retry_at timestamp with time zone, required_credits bigint, available_credits bigint, details json); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.describe_refusal(code text, status integer, message text, now timestamp with time zone, "limit" numeric, used numeric, held numeric, unit text, retry_at timestamp with time zone, required_credits bigint, available_credits bigint, details json) FROM PUBLIC;
GRANT ALL ON FUNCTION core.describe_refusal(code text, status integer, message text, now timestamp with time zone, "limit" numeric, used numeric, held numeric, unit text, retry_at timestamp with time zone, required_credits bigint, available_credits bigint, details json) TO prpm_ops;
GRANT ALL ON FUNCTION core.describe_refusal(code text, status integer, message text, now timestamp with time zone, "limit" numeric, used numeric, held numeric, unit text, retry_at timestamp with time zone, required_credits bigint, available_credits bigint, details json) TO prpm_readonly;

--
-- Name: TABLE suggested_inputs; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.suggested_inputs TO prpm_ops;

--
-- Name: FUNCTION describe_suggested_inputs(package_id uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.describe_suggested_inputs(package_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.describe_suggested_inputs(package_id uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.describe_suggested_inputs(package_id uuid) TO prpm_readonly;

--
-- Name: FUNCTION version_order(version text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.version_order(version text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.version_order(version text) TO prpm_ops;
GRANT ALL ON FUNCTION core.version_order(version text) TO prpm_readonly;

--
-- Name: TABLE package_versions; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.package_versions TO prpm_ops;

--
-- Name: FUNCTION describe_versions(package_id uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.describe_versions(package_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.describe_versions(package_id uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.describe_versions(package_id uuid) TO prpm_readonly;

--
-- Name: FUNCTION encode_cursor(VARIADIC key text[]); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.encode_cursor(VARIADIC key text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION core.encode_cursor(VARIADIC key text[]) TO prpm_ops;
GRANT ALL ON FUNCTION core.encode_cursor(VARIADIC key text[]) TO prpm_readonly;

--
-- Name: FUNCTION end_subscription(user_id uuid, subscription_id text, at timestamp with time zone, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.end_subscription(user_id uuid, subscription_id text, at timestamp with time zone, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION expire_user_holds(user_id uuid, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.expire_user_holds(user_id uuid, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION find_identity(issuer text, subject text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.find_identity(issuer text, subject text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.find_identity(issuer text, subject text) TO prpm_ops;
GRANT ALL ON FUNCTION core.find_identity(issuer text, subject text) TO prpm_readonly;

--
-- Name: FUNCTION find_organization(organization text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.find_organization(organization text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.find_organization(organization text) TO prpm_ops;
GRANT ALL ON FUNCTION core.find_organization(organization text) TO prpm_readonly;

--
-- Name: FUNCTION find_package(user_id uuid, package text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.find_package(user_id uuid, package text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.find_package(user_id uuid, package text) TO prpm_ops;
GRANT ALL ON FUNCTION core.find_package(user_id uuid, package text) TO prpm_readonly;

--
-- Name: FUNCTION find_user("user" text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.find_user("user" text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.find_user("user" text) TO prpm_ops;
GRANT ALL ON FUNCTION core.find_user("user" text) TO prpm_readonly;

--
-- Name: FUNCTION first_run_id(at timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.first_run_id(at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.first_run_id(at timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.first_run_id(at timestamp with time zone) TO prpm_readonly;

--
-- Name: FUNCTION fit_run(input_tokens integer, wanted integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_price numeric, output_price numeric, included bigint, purchased bigint, cost_left numeric, purchased_cap numeric, OUT output_cap integer, OUT hold_included bigint, OUT hold_purchased bigint, OUT hold_cost numeric); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.fit_run(input_tokens integer, wanted integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_price numeric, output_price numeric, included bigint, purchased bigint, cost_left numeric, purchased_cap numeric, OUT output_cap integer, OUT hold_included bigint, OUT hold_purchased bigint, OUT hold_cost numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION core.fit_run(input_tokens integer, wanted integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_price numeric, output_price numeric, included bigint, purchased bigint, cost_left numeric, purchased_cap numeric, OUT output_cap integer, OUT hold_included bigint, OUT hold_purchased bigint, OUT hold_cost numeric) TO prpm_ops;
GRANT ALL ON FUNCTION core.fit_run(input_tokens integer, wanted integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric, input_price numeric, output_price numeric, included bigint, purchased bigint, cost_left numeric, purchased_cap numeric, OUT output_cap integer, OUT hold_included bigint, OUT hold_purchased bigint, OUT hold_cost numeric) TO prpm_readonly;

--
-- Name: FUNCTION grant_lot(user_id uuid, kind text, amount bigint, type text, source text, source_id text, now timestamp with time zone, expires_at timestamp with time zone, paid_per_credit numeric, period_start timestamp with time zone, period_end timestamp with time zone, purchase_id uuid, subscription_id text, description text, actor text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.grant_lot(user_id uuid, kind text, amount bigint, type text, source text, source_id text, now timestamp with time zone, expires_at timestamp with time zone, paid_per_credit numeric, period_start timestamp with time zone, period_end timestamp with time zone, purchase_id uuid, subscription_id text, description text, actor text) FROM PUBLIC;

--
-- Name: FUNCTION grant_period(user_id uuid, subscription_id text, plan text, period_start timestamp with time zone, period_end timestamp with time zone, paid numeric, now timestamp with time zone, paid_at timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.grant_period(user_id uuid, subscription_id text, plan text, period_start timestamp with time zone, period_end timestamp with time zone, paid numeric, now timestamp with time zone, paid_at timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION grant_purchase(user_id uuid, purchase_id uuid, paid_amount numeric, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.grant_purchase(user_id uuid, purchase_id uuid, paid_amount numeric, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION guard_price(); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.guard_price() FROM PUBLIC;

--
-- Name: FUNCTION guard_transactions(); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.guard_transactions() FROM PUBLIC;

--
-- Name: FUNCTION hash_identity(identity text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.hash_identity(identity text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.hash_identity(identity text) TO prpm_ops;
GRANT ALL ON FUNCTION core.hash_identity(identity text) TO prpm_readonly;

--
-- Name: FUNCTION judge_throttle(user_id uuid, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.judge_throttle(user_id uuid, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION keep_identity(issuer text, subject text, user_id uuid, username text, email text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.keep_identity(issuer text, subject text, user_id uuid, username text, email text) FROM PUBLIC;

--
-- Name: FUNCTION keep_key(user_id uuid, key text, request_hash bytea, run_id uuid, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.keep_key(user_id uuid, key text, request_hash bytea, run_id uuid, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION keep_texts(user_id uuid, session_id uuid, run_id uuid, question text, answer text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.keep_texts(user_id uuid, session_id uuid, run_id uuid, question text, answer text) FROM PUBLIC;

--
-- Name: FUNCTION limited_part(cost numeric, due bigint, from_included bigint, from_purchased bigint, purchased_alone boolean); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.limited_part(cost numeric, due bigint, from_included bigint, from_purchased bigint, purchased_alone boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION core.limited_part(cost numeric, due bigint, from_included bigint, from_purchased bigint, purchased_alone boolean) TO prpm_ops;
GRANT ALL ON FUNCTION core.limited_part(cost numeric, due bigint, from_included bigint, from_purchased bigint, purchased_alone boolean) TO prpm_readonly;

--
-- Name: FUNCTION make_token(); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.make_token() FROM PUBLIC;

--
-- Name: FUNCTION match_package(package public.packages, query text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.match_package(package public.packages, query text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.match_package(package public.packages, query text) TO prpm_ops;
GRANT ALL ON FUNCTION core.match_package(package public.packages, query text) TO prpm_readonly;

--
-- Name: FUNCTION may_publish(user_id uuid, author_id uuid, organization_id uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.may_publish(user_id uuid, author_id uuid, organization_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.may_publish(user_id uuid, author_id uuid, organization_id uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.may_publish(user_id uuid, author_id uuid, organization_id uuid) TO prpm_readonly;

--
-- Name: FUNCTION may_see_package(user_id uuid, visibility text, author_id uuid, organization_id uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.may_see_package(user_id uuid, visibility text, author_id uuid, organization_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.may_see_package(user_id uuid, visibility text, author_id uuid, organization_id uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.may_see_package(user_id uuid, visibility text, author_id uuid, organization_id uuid) TO prpm_readonly;

--
-- Name: FUNCTION move_credits(user_id uuid, lot_id uuid, type text, debit text, credit text, amount bigint, now timestamp with time zone, run_id uuid, purchase_id uuid, subscription_id text, description text, actor text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.move_credits(user_id uuid, lot_id uuid, type text, debit text, credit text, amount bigint, now timestamp with time zone, run_id uuid, purchase_id uuid, subscription_id text, description text, actor text) FROM PUBLIC;

--
-- Name: FUNCTION nearly_used_up(u public.users, l public.cost_limits_config, enough numeric); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.nearly_used_up(u public.users, l public.cost_limits_config, enough numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION core.nearly_used_up(u public.users, l public.cost_limits_config, enough numeric) TO prpm_ops;
GRANT ALL ON FUNCTION core.nearly_used_up(u public.users, l public.cost_limits_config, enough numeric) TO prpm_readonly;

--
-- Name: FUNCTION note_action(action text, row_key text, reason text, details json); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.note_action(action text, row_key text, reason text, details json) FROM PUBLIC;

--
-- Name: FUNCTION note_refusal(u public.users, refusal json, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.note_refusal(u public.users, refusal json, now timestamp with time zone) FROM PUBLIC;

--
-- Name: TABLE purchases; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.purchases TO prpm_ops;
GRANT SELECT ON TABLE public.purchases TO prpm_readonly;

--
-- Name: TABLE subscription_periods; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.subscription_periods TO prpm_ops;

--
-- Name: FUNCTION owes_credits(user_id uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.owes_credits(user_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION core.owes_credits(user_id uuid) TO prpm_ops;
GRANT ALL ON FUNCTION core.owes_credits(user_id uuid) TO prpm_readonly;

--
-- Name: FUNCTION plan_of_price(price_id text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.plan_of_price(price_id text) FROM PUBLIC;

--
-- Name: FUNCTION put_suggested_inputs(package_id uuid, user_id uuid, inputs json); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.put_suggested_inputs(package_id uuid, user_id uuid, inputs json) FROM PUBLIC;

--
-- Name: FUNCTION record_change(); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.record_change() FROM PUBLIC;

--
-- Name: FUNCTION refresh_entitlement(user_id uuid, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.refresh_entitlement(user_id uuid, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION refresh_lots(user_id uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.refresh_lots(user_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION refresh_view(view regclass); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.refresh_view(view regclass) FROM PUBLIC;

--
-- Name: FUNCTION refuse_by_model(asked text, m public.models, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.refuse_by_model(asked text, m public.models, now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.refuse_by_model(asked text, m public.models, now timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.refuse_by_model(asked text, m public.models, now timestamp with time zone) TO prpm_readonly;

--
-- Name: FUNCTION refuse_by_package(user_id uuid, asked text, asked_version text, package_id uuid, visibility text, author_id uuid, organization_id uuid, version text, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.refuse_by_package(user_id uuid, asked text, asked_version text, package_id uuid, visibility text, author_id uuid, organization_id uuid, version text, now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.refuse_by_package(user_id uuid, asked text, asked_version text, package_id uuid, visibility text, author_id uuid, organization_id uuid, version text, now timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.refuse_by_package(user_id uuid, asked text, asked_version text, package_id uuid, visibility text, author_id uuid, organization_id uuid, version text, now timestamp with time zone) TO prpm_readonly;

--
-- Name: FUNCTION refuse_by_size(u public.users, l public.cost_limits_config, s public.settings, m public.models, input_price numeric, output_price numeric, prompt_multiplier numeric, estimated_input integer, held_input integer, wanted integer, useful integer, windows_hold boolean, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.refuse_by_size(u public.users, l public.cost_limits_config, s public.settings, m public.models, input_price numeric, output_price numeric, prompt_multiplier numeric, estimated_input integer, held_input integer, wanted integer, useful integer, windows_hold boolean, now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.refuse_by_size(u public.users, l public.cost_limits_config, s public.settings, m public.models, input_price numeric, output_price numeric, prompt_multiplier numeric, estimated_input integer, held_input integer, wanted integer, useful integer, windows_hold boolean, now timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.refuse_by_size(u public.users, l public.cost_limits_config, s public.settings, m public.models, input_price numeric, output_price numeric, prompt_multiplier numeric, estimated_input integer, held_input integer, wanted integer, useful integer, windows_hold boolean, now timestamp with time zone) TO prpm_readonly;

--
-- Name: FUNCTION refuse_by_standing(u public.users, l public.cost_limits_config, runs_enabled boolean, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.refuse_by_standing(u public.users, l public.cost_limits_config, runs_enabled boolean, now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.refuse_by_standing(u public.users, l public.cost_limits_config, runs_enabled boolean, now timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.refuse_by_standing(u public.users, l public.cost_limits_config, runs_enabled boolean, now timestamp with time zone) TO prpm_readonly;

--
-- Name: FUNCTION refuse_run(u public.users, l public.cost_limits_config, refusal json, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.refuse_run(u public.users, l public.cost_limits_config, refusal json, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION refuse_sale(user_id uuid, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.refuse_sale(user_id uuid, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION reopen_run(r public.runs, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.reopen_run(r public.runs, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION restore_expired(user_id uuid, lot_id uuid, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.restore_expired(user_id uuid, lot_id uuid, now timestamp with time zone) FROM PUBLIC;

--
-- Name: TABLE reversals; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.reversals TO prpm_ops;

--
-- Name: FUNCTION reversed_of(user_id uuid, payment_id text, OUT refunded numeric, OUT disputed numeric); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.reversed_of(user_id uuid, payment_id text, OUT refunded numeric, OUT disputed numeric) FROM PUBLIC;

--
-- Name: FUNCTION roll_over(user_id uuid, from_lot uuid, amount bigint, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.roll_over(user_id uuid, from_lot uuid, amount bigint, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION settle_again(r public.runs, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.settle_again(r public.runs, ending text, called boolean, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean, question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION settle_payment(user_id uuid, payment_id text, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.settle_payment(user_id uuid, payment_id text, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION spend_lots(u public.users, run_id uuid, from_included bigint, from_purchased bigint, now timestamp with time zone, OUT by_kind jsonb, OUT transaction_count bigint, OUT spend_lot uuid, OUT next_lot_expiry timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.spend_lots(u public.users, run_id uuid, from_included bigint, from_purchased bigint, now timestamp with time zone, OUT by_kind jsonb, OUT transaction_count bigint, OUT spend_lot uuid, OUT next_lot_expiry timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION supersede_doubles(user_id uuid); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.supersede_doubles(user_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION take_back(user_id uuid, lots uuid[], wanted bigint, now timestamp with time zone, purchase_id uuid, subscription_id text, why text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.take_back(user_id uuid, lots uuid[], wanted bigint, now timestamp with time zone, purchase_id uuid, subscription_id text, why text) FROM PUBLIC;

--
-- Name: FUNCTION take_invoice(user_id uuid, invoice jsonb, payment_id text, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.take_invoice(user_id uuid, invoice jsonb, payment_id text, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION take_invoice_payments(user_id uuid, payment_id text, result jsonb, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.take_invoice_payments(user_id uuid, payment_id text, result jsonb, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION take_list(kind text, result jsonb, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.take_list(kind text, result jsonb, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION take_payment(user_id uuid, payment jsonb, session_id text, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.take_payment(user_id uuid, payment jsonb, session_id text, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION take_reversals(user_id uuid, payment_id text, kind text, list jsonb, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.take_reversals(user_id uuid, payment_id text, kind text, list jsonb, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION take_sessions(user_id uuid, payment_id text, result jsonb, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.take_sessions(user_id uuid, payment_id text, result jsonb, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION take_subscription(user_id uuid, object jsonb, second bigint, ticket bigint, fetched_at timestamp with time zone, livemode boolean, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.take_subscription(user_id uuid, object jsonb, second bigint, ticket bigint, fetched_at timestamp with time zone, livemode boolean, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION throttled_at(person public.users, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.throttled_at(person public.users, now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION core.throttled_at(person public.users, now timestamp with time zone) TO prpm_ops;
GRANT ALL ON FUNCTION core.throttled_at(person public.users, now timestamp with time zone) TO prpm_readonly;

--
-- Name: FUNCTION tidy_lots(user_id uuid, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.tidy_lots(user_id uuid, now timestamp with time zone) FROM PUBLIC;

--
-- Name: TABLE stripe_customers; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.stripe_customers TO prpm_ops;

--
-- Name: FUNCTION user_of_customer(customer_id text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.user_of_customer(customer_id text) FROM PUBLIC;

--
-- Name: FUNCTION usual_output(package text, model text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.usual_output(package text, model text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.usual_output(package text, model text) TO prpm_ops;
GRANT ALL ON FUNCTION core.usual_output(package text, model text) TO prpm_readonly;

--
-- Name: FUNCTION uuid_or_null(value text); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.uuid_or_null(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION core.uuid_or_null(value text) TO prpm_ops;
GRANT ALL ON FUNCTION core.uuid_or_null(value text) TO prpm_readonly;

--
-- Name: FUNCTION wake_reversals(user_id uuid, payment_id text, now timestamp with time zone); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.wake_reversals(user_id uuid, payment_id text, now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION want_work(kind text, key text, user_id uuid, parameters jsonb, delay interval, is_write boolean); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.want_work(kind text, key text, user_id uuid, parameters jsonb, delay interval, is_write boolean) FROM PUBLIC;

--
-- Name: FUNCTION watch_throttle(); Type: ACL; Schema: core; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION core.watch_throttle() FROM PUBLIC;

--
-- Name: FUNCTION add_member(organization text, "user" text, role text, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.add_member(organization text, "user" text, role text, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.add_member(organization text, "user" text, role text, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION align_prices(); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.align_prices() FROM PUBLIC;
GRANT ALL ON FUNCTION ops.align_prices() TO prpm_ops;

--
-- Name: FUNCTION audit_books("user" text); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.audit_books("user" text) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.audit_books("user" text) TO prpm_ops;

--
-- Name: FUNCTION checks(); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.checks() FROM PUBLIC;
GRANT ALL ON FUNCTION ops.checks() TO prpm_ops;

--
-- Name: FUNCTION choose_cached_prompts(); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.choose_cached_prompts() FROM PUBLIC;
GRANT ALL ON FUNCTION ops.choose_cached_prompts() TO prpm_ops;

--
-- Name: FUNCTION close_user("user" text, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.close_user("user" text, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.close_user("user" text, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION create_organization(name text, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.create_organization(name text, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.create_organization(name text, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION create_token("user" text, name text, scopes text[], expires_at timestamp with time zone, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.create_token("user" text, name text, scopes text[], expires_at timestamp with time zone, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.create_token("user" text, name text, scopes text[], expires_at timestamp with time zone, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION create_user(email text, username text, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.create_user(email text, username text, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.create_user(email text, username text, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION expire_holds(); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.expire_holds() FROM PUBLIC;
GRANT ALL ON FUNCTION ops.expire_holds() TO prpm_ops;

--
-- Name: FUNCTION expire_lots(); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.expire_lots() FROM PUBLIC;
GRANT ALL ON FUNCTION ops.expire_lots() TO prpm_ops;

--
-- Name: FUNCTION explain_balance("user" text); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.explain_balance("user" text) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.explain_balance("user" text) TO prpm_ops;

--
-- Name: FUNCTION explain_charge(run uuid); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.explain_charge(run uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.explain_charge(run uuid) TO prpm_ops;

--
-- Name: FUNCTION explain_price(model text, at timestamp with time zone); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.explain_price(model text, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.explain_price(model text, at timestamp with time zone) TO prpm_ops;

--
-- Name: FUNCTION explain_throttle("user" text); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.explain_throttle("user" text) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.explain_throttle("user" text) TO prpm_ops;

--
-- Name: FUNCTION forget_keys(); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.forget_keys() FROM PUBLIC;
GRANT ALL ON FUNCTION ops.forget_keys() TO prpm_ops;

--
-- Name: FUNCTION grant_credits("user" text, amount bigint, reason text, expires_at timestamp with time zone, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.grant_credits("user" text, amount bigint, reason text, expires_at timestamp with time zone, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.grant_credits("user" text, amount bigint, reason text, expires_at timestamp with time zone, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION help(word text); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.help(word text) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.help(word text) TO prpm_ops;

--
-- Name: FUNCTION publish_prices(model text, valid_from timestamp with time zone, input numeric, cached_read numeric, cache_write numeric, output numeric, source text, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.publish_prices(model text, valid_from timestamp with time zone, input numeric, cached_read numeric, cache_write numeric, output numeric, source text, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.publish_prices(model text, valid_from timestamp with time zone, input numeric, cached_read numeric, cache_write numeric, output numeric, source text, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION reconcile_stripe(whole boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.reconcile_stripe(whole boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.reconcile_stripe(whole boolean) TO prpm_ops;

--
-- Name: FUNCTION release_throttle("user" text, reason text); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.release_throttle("user" text, reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.release_throttle("user" text, reason text) TO prpm_ops;

--
-- Name: FUNCTION remove_member(organization text, "user" text, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.remove_member(organization text, "user" text, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.remove_member(organization text, "user" text, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION replay_stripe_event(event_id text, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.replay_stripe_event(event_id text, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.replay_stripe_event(event_id text, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION reset_credits(); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.reset_credits() FROM PUBLIC;
GRANT ALL ON FUNCTION ops.reset_credits() TO prpm_ops;

--
-- Name: FUNCTION retry_stripe_work(work_id uuid, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.retry_stripe_work(work_id uuid, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.retry_stripe_work(work_id uuid, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION revoke_credits("user" text, amount bigint, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.revoke_credits("user" text, amount bigint, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.revoke_credits("user" text, amount bigint, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION run_job(job text, OUT slot timestamp with time zone, OUT ran boolean, OUT rows_touched bigint, OUT error text); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.run_job(job text, OUT slot timestamp with time zone, OUT ran boolean, OUT rows_touched bigint, OUT error text) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.run_job(job text, OUT slot timestamp with time zone, OUT ran boolean, OUT rows_touched bigint, OUT error text) TO prpm_ops;
GRANT ALL ON FUNCTION ops.run_job(job text, OUT slot timestamp with time zone, OUT ran boolean, OUT rows_touched bigint, OUT error text) TO prpm_cron;

--
-- Name: FUNCTION set_user("user" text, is_admin boolean, verified_author boolean, tier_override text, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.set_user("user" text, is_admin boolean, verified_author boolean, tier_override text, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.set_user("user" text, is_admin boolean, verified_author boolean, tier_override text, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION throttle_user("user" text, until timestamp with time zone, reason text); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.throttle_user("user" text, until timestamp with time zone, reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.throttle_user("user" text, until timestamp with time zone, reason text) TO prpm_ops;

--
-- Name: FUNCTION verify_organization(organization text, verified boolean, reason text, dry_run boolean); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.verify_organization(organization text, verified boolean, reason text, dry_run boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.verify_organization(organization text, verified boolean, reason text, dry_run boolean) TO prpm_ops;

--
-- Name: FUNCTION waive_limits("user" text, until timestamp with time zone, reason text); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.waive_limits("user" text, until timestamp with time zone, reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION ops.waive_limits("user" text, until timestamp with time zone, reason text) TO prpm_ops;

--
-- Name: FUNCTION watch_budgets(); Type: ACL; Schema: ops; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION ops.watch_budgets() FROM PUBLIC;
GRANT ALL ON FUNCTION ops.watch_budgets() TO prpm_ops;

--
-- Name: FUNCTION refresh_user_cost_analytics(); Type: ACL; Schema: public; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION public.refresh_user_cost_analytics() FROM PUBLIC;
GRANT ALL ON FUNCTION public.refresh_user_cost_analytics() TO prpm_ops;

--
-- Name: FUNCTION reset_monthly_api_costs(); Type: ACL; Schema: public; Owner: prpm_owner
--

REVOKE ALL ON FUNCTION public.reset_monthly_api_costs() FROM PUBLIC;
GRANT ALL ON FUNCTION public.reset_monthly_api_costs() TO prpm_ops;

--
-- Name: TABLE analytics_refresh; Type: ACL; Schema: core; Owner: prpm_owner
--

GRANT SELECT ON TABLE core.analytics_refresh TO prpm_ops;

--
-- Name: TABLE package_model_usage; Type: ACL; Schema: core; Owner: prpm_owner
--

GRANT SELECT ON TABLE core.package_model_usage TO prpm_ops;

--
-- Name: TABLE user_cost_figures; Type: ACL; Schema: core; Owner: prpm_owner
--

GRANT SELECT ON TABLE core.user_cost_figures TO prpm_ops;

--
-- Name: TABLE estimate_errors; Type: ACL; Schema: ops; Owner: prpm_owner
--

GRANT SELECT ON TABLE ops.estimate_errors TO prpm_ops;
GRANT SELECT ON TABLE ops.estimate_errors TO prpm_readonly;

--
-- Name: TABLE open_holds; Type: ACL; Schema: ops; Owner: prpm_owner
--

GRANT SELECT ON TABLE ops.open_holds TO prpm_ops;
GRANT SELECT ON TABLE ops.open_holds TO prpm_readonly;

--
-- Name: TABLE refusals; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.refusals TO prpm_ops;
GRANT SELECT ON TABLE public.refusals TO prpm_readonly;

--
-- Name: TABLE refusals; Type: ACL; Schema: ops; Owner: prpm_owner
--

GRANT SELECT ON TABLE ops.refusals TO prpm_ops;
GRANT SELECT ON TABLE ops.refusals TO prpm_readonly;

--
-- Name: TABLE runs_live; Type: ACL; Schema: ops; Owner: prpm_owner
--

GRANT SELECT ON TABLE ops.runs_live TO prpm_ops;
GRANT SELECT ON TABLE ops.runs_live TO prpm_readonly;

--
-- Name: TABLE stripe_drift; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.stripe_drift TO prpm_ops;

--
-- Name: TABLE stripe_drift; Type: ACL; Schema: ops; Owner: prpm_owner
--

GRANT SELECT ON TABLE ops.stripe_drift TO prpm_ops;
GRANT SELECT ON TABLE ops.stripe_drift TO prpm_readonly;

--
-- Name: TABLE payments; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.payments TO prpm_ops;

--
-- Name: TABLE stripe_review; Type: ACL; Schema: ops; Owner: prpm_owner
--

GRANT SELECT ON TABLE ops.stripe_review TO prpm_ops;
GRANT SELECT ON TABLE ops.stripe_review TO prpm_readonly;

--
-- Name: TABLE throttled_now; Type: ACL; Schema: ops; Owner: prpm_owner
--

GRANT SELECT ON TABLE ops.throttled_now TO prpm_ops;
GRANT SELECT ON TABLE ops.throttled_now TO prpm_readonly;

--
-- Name: TABLE tier_differences; Type: ACL; Schema: ops; Owner: prpm_owner
--

GRANT SELECT ON TABLE ops.tier_differences TO prpm_ops;
GRANT SELECT ON TABLE ops.tier_differences TO prpm_readonly;

--
-- Name: TABLE unpriced_models; Type: ACL; Schema: ops; Owner: prpm_owner
--

GRANT SELECT ON TABLE ops.unpriced_models TO prpm_ops;
GRANT SELECT ON TABLE ops.unpriced_models TO prpm_readonly;

--
-- Name: TABLE users_at_risk; Type: ACL; Schema: ops; Owner: prpm_owner
--

GRANT SELECT ON TABLE ops.users_at_risk TO prpm_ops;
GRANT SELECT ON TABLE ops.users_at_risk TO prpm_readonly;

--
-- Name: TABLE audit_log; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.audit_log TO prpm_ops;

--
-- Name: TABLE checkouts; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.checkouts TO prpm_ops;

--
-- Name: TABLE credit_transactions; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.credit_transactions TO prpm_ops;
GRANT SELECT ON TABLE public.credit_transactions TO prpm_readonly;

--
-- Name: TABLE idempotency_keys; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.idempotency_keys TO prpm_ops;

--
-- Name: TABLE identities; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.identities TO prpm_ops;

--
-- Name: TABLE rate_windows; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.rate_windows TO prpm_ops;

--
-- Name: TABLE signup_claims; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.signup_claims TO prpm_ops;

--
-- Name: TABLE stripe_effects; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.stripe_effects TO prpm_ops;

--
-- Name: TABLE stripe_payments; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.stripe_payments TO prpm_ops;

--
-- Name: TABLE user_cost_analytics; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.user_cost_analytics TO prpm_ops;
GRANT SELECT ON TABLE public.user_cost_analytics TO prpm_readonly;

--
-- Name: TABLE user_emails; Type: ACL; Schema: public; Owner: prpm_owner
--

GRANT SELECT ON TABLE public.user_emails TO prpm_ops;

--
-- Name: DEFAULT PRIVILEGES FOR FUNCTIONS; Type: DEFAULT ACL; Schema: api; Owner: prpm_owner
--

ALTER DEFAULT PRIVILEGES FOR ROLE prpm_owner IN SCHEMA api GRANT ALL ON FUNCTIONS  TO prpm_app;

--
-- Name: DEFAULT PRIVILEGES FOR FUNCTIONS; Type: DEFAULT ACL; Schema: ops; Owner: prpm_owner
--

ALTER DEFAULT PRIVILEGES FOR ROLE prpm_owner IN SCHEMA ops GRANT ALL ON FUNCTIONS  TO prpm_ops;

--
-- Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL; Schema: ops; Owner: prpm_owner
--

ALTER DEFAULT PRIVILEGES FOR ROLE prpm_owner IN SCHEMA ops GRANT SELECT ON TABLES  TO prpm_ops;
ALTER DEFAULT PRIVILEGES FOR ROLE prpm_owner IN SCHEMA ops GRANT SELECT ON TABLES  TO prpm_readonly;

--
-- Name: DEFAULT PRIVILEGES FOR FUNCTIONS; Type: DEFAULT ACL; Schema: public; Owner: prpm_owner
--

ALTER DEFAULT PRIVILEGES FOR ROLE prpm_owner IN SCHEMA public GRANT ALL ON FUNCTIONS  TO prpm_ops;

--
-- Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL; Schema: public; Owner: prpm_owner
--

ALTER DEFAULT PRIVILEGES FOR ROLE prpm_owner IN SCHEMA public GRANT SELECT ON TABLES  TO prpm_ops;

--
-- Name: DEFAULT PRIVILEGES FOR FUNCTIONS; Type: DEFAULT ACL; Schema: -; Owner: prpm_owner
--

ALTER DEFAULT PRIVILEGES FOR ROLE prpm_owner REVOKE ALL ON FUNCTIONS  FROM PUBLIC;

--
-- PostgreSQL database dump complete
--
