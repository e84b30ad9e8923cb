--! Previous: sha1:3c5974844f732bfcf2dcb24fbcf76caf809be0c9
--! Hash: sha1:a1775ca5811164c22530f2764cf7bb89e458ca79
--! Message: what reviews found: closed accounts that paid on, refusals that were not explained, locks in two orders

--! split: 1-functions.sql
drop function if exists ops.close_user(text, text, boolean);
--! Included billing/cancel_billing.sql
create or replace function core.cancel_billing(user_id uuid)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  session text;
  canceled bigint;
begin
  delete from public.stripe_work w
  where w.user_id = cancel_billing.user_id and w.kind = 'update_subscription' and w.claimed_until is null;
  select count(core.want_work('cancel_subscription', s.id, s.user_id, '{"prorate": false}', is_write => true)) into canceled
  from public.subscriptions s
  join public.subscription_states state on state.status = s.status and state.is_open
  where s.user_id = cancel_billing.user_id and not s.superseded
    and not exists (select from public.stripe_work w where w.kind = 'cancel_subscription' and w.key = s.id and not w.is_failed);

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
--! Included billing/end_billing.sql
create or replace function core.end_billing(user_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform core.cancel_billing(end_billing.user_id);
  update public.checkouts c set success_url = '', cancel_url = '', url = null where c.user_id = end_billing.user_id;
  update public.subscriptions s set hosted_invoice_url = null where s.user_id = end_billing.user_id;

  perform core.want_work('delete_customer', c.customer_id, c.user_id, is_write => true)
  from public.stripe_customers c
  where c.user_id = end_billing.user_id and c.customer_id is not null;
end
$$;

comment on function core.end_billing(uuid) is
  'Queues what ends a person''s dealings at Stripe: as core.cancel_billing, and the customer is deleted '
  'with name, e-mail and cards; payments and invoices stay there and here. The caller holds the user''s row. Spec 6.1, 10.8.';
--! EndIncluded billing/end_billing.sql
--! Included billing/replay_event.sql
create or replace function core.replay_event(event_id text, reason text, by_user uuid, dry_run boolean)
returns table (id text, type text, user_id uuid, status text, error text)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  event public.stripe_events;
begin
  -- The user first, as who applies it.
  perform from public.users u
  where u.id = (select e.user_id from public.stripe_events e where e.id = replay_event.event_id) for no key update;
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
--! Included jobs/close_user.sql
create or replace function ops.close_user("user" text, reason text, dry_run boolean default false)
returns table (user_id uuid, closed_at timestamptz, tokens_revoked bigint, runs_stopped bigint, subscriptions_canceled bigint)
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
  where l.paused_until > core.now()
  union all
  select 'tier missing', format('%s has no row in cost_limits_config: its runs are refused with tier_not_configured', t.tier_name),
    'Add the row to cost_limits_config, or give its users another tier.'
  from (
    select 'free' as tier_name
    union
    select u.tier_override from public.users u where u.tier_override is not null
    union
    select u.plan_tier from public.users u where u.plan_tier is not null
  ) t
  where not exists (select from public.cost_limits_config c where c.tier_name = t.tier_name)
  union all
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
  (
    select 'closed account pays on', format('subscription %s of %s, closed at %s', s.id, coalesce(u.email, u.username, u.id::text), u.closed_at),
      format('select * from ops.close_user(%L, ''…''); once more, it cancels', u.id)
    from public.users u
    join public.subscriptions s on s.user_id = u.id and not s.superseded
    join public.subscription_states state on state.status = s.status and state.is_open
    where u.closed_at is not null
      and not exists (select from public.stripe_work w where w.kind = 'cancel_subscription' and w.key = s.id and not w.is_failed)
    limit 100
  )
  union all
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
--! Included sessions/delete_session.sql
create or replace function api.delete_session(user_id uuid, session_id uuid)
returns table (id uuid, deleted_at timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  session public.sessions;
begin
  perform from public.users u where u.id = delete_session.user_id for no key update;
  -- The index is written under the lock of its marks, always taken before its rows: so nothing comes into it behind what is deleted here.
  perform from public.session_marks m where m.user_id = delete_session.user_id for update;
  select s.* into session
  from public.sessions s
  where s.user_id = delete_session.user_id and s.id = delete_session.session_id and s.deleted_at is null;
  if not found then
    return;
  end if;
  if exists (select from public.users u where u.id = session.user_id and session.last_run_id = any (u.open_runs)) then
    raise exception 'a run of this session is still going on' using errcode = 'PR409', detail = 'session_id',
      hint = 'Stop it, or wait for its end, then delete.';
  end if;

  perform core.end_share(session.user_id, session.id);
  perform api.unshare_comparison(c.user_id, c.id)
  from public.comparisons c
  where c.user_id = session.user_id and session.id = any (c.session_ids);
  delete from public.run_texts t where t.user_id = session.user_id and t.session_id = session.id;
  delete from public.copied_exchanges c where c.user_id = session.user_id and c.session_id = session.id;
  delete from public.session_index x where x.user_id = session.user_id and x.session_id = session.id;
  if found then
    update public.session_marks m set session_count = m.session_count - 1 where m.user_id = session.user_id;
  end if;
  return query
  update public.sessions s set deleted_at = core.now(), title = null, variables = null
  where s.user_id = session.user_id and s.id = session.id
  returning s.id, s.deleted_at;
end
$$;

comment on function api.delete_session(uuid, uuid) is
  'Deletes a user''s own session: its texts, title and shared link are gone; runs and what they cost stay in the books. No row where there is '
  'no such session of theirs. Errors: PR409 while a run of it is going on. Spec 10.1.';
--! EndIncluded sessions/delete_session.sql
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
  end if;
  return query
  select
    coalesce(x.title, ''), p.name, r.package_version, r.model, s.view_count, s.helpful_count, s.not_helpful_count,
    (select v.is_helpful from public.share_views v where v.token = s.token and v.visitor = seen_by),
    read_shared.is_mine, s.shared_at,
    case when s.comparison_id is null then core.shared_exchanges(s) else '[]' end,
    core.shared_sides(s)
  from public.shared_sessions s
  join public.sessions x on x.user_id = s.user_id and x.id = s.session_id
  join public.packages p on p.id = s.package_id
  join public.runs r on r.user_id = s.user_id and r.id = s.through_run_id
  where s.token = share.token;
end
$$;

comment on function api.read_shared(uuid, text, text) is
  'What a shared link shows, to anybody: user_id is null without a sign-in; address: the visitor''s, kept as a keyed hash alone. A view is counted '
  'once a visitor, never the owner''s. No row for a link that never was or has ended, or whose package is private and not theirs to see. '
  'exchanges are those of a session, sides those of a comparison (null for a session). Nothing of the owner is in it. Spec 10.2.';
--! EndIncluded sessions/read_shared.sql
--! Included runs/expire_user_holds.sql
create or replace function core.expire_user_holds(user_id uuid, now timestamptz)
returns integer
language plpgsql
set search_path = ''
as $$
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
        null, coalesce(text_so_far, case when r.output_tokens > 0 then ' ' end, ''), 'run_expired', 'The server that ran it is gone.', null, null
      );
      expired := expired + 1;
    end if;
  end loop;

  update public.users u set holds_expire_at = next_expiry where u.id = expire_user_holds.user_id;
  return expired;
end
$$;

comment on function core.expire_user_holds(uuid, timestamptz) is
  'Ends a user''s running runs whose hold has expired, because their server is gone: what the last checkpoint had is charged, the rest '
  'released (also where the text is gone, with its account); where none was delivered nothing is charged and the estimated input is booked as cost. Returns how many. Locks the user''s row. Spec 5.2, 7.1.';
--! EndIncluded runs/expire_user_holds.sql
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
    and exists (
      select from public.sessions s where s.user_id = keep_texts.user_id and s.id = keep_texts.session_id and s.deleted_at is null
    )
  then
    insert into public.run_texts (user_id, session_id, run_id, question, answer)
    values (keep_texts.user_id, keep_texts.session_id, keep_texts.run_id, keep_texts.question, keep_texts.answer);
  end if;
end
$$;

comment on function core.keep_texts(uuid, uuid, uuid, text, text) is
  'Stores what was asked and answered so far, but nothing of a closed account or a deleted session. Called under the lock of the run or its user, so that two '
  'never insert.';
--! EndIncluded runs/keep_texts.sql
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
  u public.users;
  tier text;
  rows bigint;
  refusal json;
  l public.cost_limits_config;
  s public.settings;
  useful numeric := coalesce(core.cheapest_useful_cost(clock), 0);
  free bigint;
begin
  select x.* into u from public.users x where x.id = core.find_user("user");
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
--! Included catalog/put_price.sql
create or replace function core.put_price(
  model text, valid_from timestamptz, input numeric, cached_read numeric, cache_write numeric, output numeric,
  source text, reason text, by_user uuid, dry_run boolean
)
returns setof public.model_prices
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz;
  starts timestamptz;
  origin text := coalesce(nullif(btrim(put_price.source), ''), 'operator');
  ended public.model_prices;
  added public.model_prices;
begin
  perform core.check_price(put_price.model, put_price.input, put_price.cached_read, put_price.cache_write, put_price.output);
  -- One at a time for each model.
  perform from public.models m where m.alias = put_price.model for no key update;
  now := core.now();
  starts := coalesce(put_price.valid_from, now);
  if not isfinite(starts) then
    raise exception 'valid_from is %, and must be an instant', starts
      using errcode = 'PR400', detail = 'valid_from', hint = 'Give an instant to come, or null for now.';
  end if;
  if starts < now and exists (
    select from public.model_prices p where p.model = put_price.model and p.valid && tstzrange(starts, now)
  ) then
    raise exception 'the price of % since % is in the books already', put_price.model, starts
      using errcode = 'PR400', detail = 'valid_from', hint = 'Give an instant to come, or null for now.';
  end if;

  select p.* into ended from public.model_prices p where p.model = put_price.model and p.valid @> starts;
  if ended.source = 'operator' and origin <> 'operator' then
    raise notice 'the price of % is an operator''s own, and stays.', put_price.model;
    return;
  end if;
  if (ended.input, ended.cached_read, ended.cache_write, ended.output) is not distinct from
    (put_price.input, put_price.cached_read, put_price.cache_write, put_price.output) then
    return;
  end if;
  if lower(ended.valid) = starts then
    raise exception 'another price of % is valid from that very instant', put_price.model
      using errcode = 'PR409', detail = 'valid_from', hint = 'Give a later one: a price is ended, never changed.';
  end if;

  added := row(
    gen_random_uuid(), put_price.model,
    tstzrange(starts, (select min(lower(p.valid)) from public.model_prices p where p.model = put_price.model and lower(p.valid) > starts)),
    trim_scale(put_price.input), trim_scale(put_price.cached_read), trim_scale(put_price.cache_write),
    trim_scale(put_price.output), origin, now
  );
  if not dry_run then
    perform core.note_action('publish_prices', put_price.model, reason, case
      when by_user is null then to_json(added) else json_build_object('by', by_user, 'price', to_json(added))
    end);
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

comment on function core.put_price(text, timestamptz, numeric, numeric, numeric, numeric, text, text, uuid, boolean) is
  'What ops.publish_prices does for an operator (by_user null) and api.publish_prices for an administrator. Errors: PR404 unknown model; PR400 '
  'naming a price, valid_from or reason; PR409 that very instant is taken. Spec 1.3, 1.4, 12.';
--! EndIncluded catalog/put_price.sql
--! Included catalog/claim_package.sql
create or replace function core.claim_package(user_id uuid, name text, visibility text, organization_id uuid)
returns public.packages
language plpgsql
set search_path = ''
as $$
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
  if claim_package.organization_id <> target.organization_id and not exists (
    select from public.organization_members m
    where m.user_id = claim_package.user_id and m.organization_id = target.organization_id and m.role in ('owner', 'admin')
  ) then
    raise exception 'the package % belongs to another organization', claim_package.name
      using errcode = 'PR403', detail = 'organization_id', hint = 'Its owners and admins may give it to this one.';
  end if;
  return target;
end
$$;

comment on function core.claim_package(uuid, text, text, uuid) is
  'The package of a name, locked; made for this user if nobody has it. Errors: PR403 it is another''s, the account is closed, or the user '
  'may not publish for the organization, or give away that of another organization. Spec 10.6.';
--! EndIncluded catalog/claim_package.sql
--! Included catalog/own_suggested_input.sql
create or replace function core.own_suggested_input(user_id uuid, suggested_input_id uuid)
returns public.suggested_inputs
language plpgsql
set search_path = ''
as $$
declare
  i public.suggested_inputs;
begin
  -- The package first, as who publishes.
  select x.package_id into i.package_id from public.suggested_inputs x where x.id = own_suggested_input.suggested_input_id;
  if not found or (select p.id from core.own_package(own_suggested_input.user_id, i.package_id::text) p) is null then
    return null;
  end if;
  select x.* into i from public.suggested_inputs x where x.id = own_suggested_input.suggested_input_id and x.is_active for no key update;
  return i;
end
$$;

comment on function core.own_suggested_input(uuid, uuid) is
  'The suggested input of an id, locked, for who may change it; null: there is none that is shown and that this user may see. Errors: PR403 '
  'they may see it, but not change it. Spec 10.4.';
--! EndIncluded catalog/own_suggested_input.sql
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
      'update public.%1$I x set %2$I = (jsonb_populate_record(x, $2)).%2$I where x.%3$I::text = $1 returning to_jsonb(x)',
      t.table_name, field, t.key_column
    ) into becomes using key, changes;
  end loop;

  return (
    select coalesce(json_agg(json_build_object('field', f.field, 'was', was -> f.field, 'becomes', becomes -> f.field) order by f.place), '[]')
    from core.config_fields() f
    where f.kind = change_row.kind and was -> f.field is distinct from becomes -> f.field
  );
exception
  when check_violation or not_null_violation or foreign_key_violation or unique_violation or data_exception then
    get stacked diagnostics broken = constraint_name;
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
--! Included credits/grant_bonus.sql
create or replace function core.grant_bonus(
  target uuid, amount bigint, reason text, expires_at timestamptz, by_user uuid, dry_run boolean
)
returns table (user_id uuid, email text, lot_id uuid, granted bigint, balance bigint)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  lot uuid;
begin
  if grant_bonus.amount is null or grant_bonus.amount not between 1 and 1000000 then
    raise exception 'amount % is not between 1 and 1000000', grant_bonus.amount using errcode = 'PR400', detail = 'amount';
  end if;
  if grant_bonus.expires_at is null or grant_bonus.expires_at <= core.now() then
    raise exception 'expires_at is %, and must be later than now', coalesce(grant_bonus.expires_at::text, 'null')
      using errcode = 'PR400', detail = 'expires_at', hint = 'Credits that never expire: infinity, or leave it out.';
  end if;
  if exists (select from public.users u where u.id = target and u.closed_at is not null) then
    raise exception 'the account is closed: nobody could spend them' using errcode = 'PR409', detail = 'user';
  end if;
  if not dry_run then
    perform core.note_action('grant_credits', target::text, reason, case
      when by_user is null then json_build_object('amount', grant_bonus.amount)
      else json_build_object('by', by_user, 'amount', grant_bonus.amount)
    end);
    lot := core.grant_lot(
      target, 'bonus', grant_bonus.amount, 'admin', 'operator', gen_random_uuid()::text, core.now(),
      expires_at => grant_bonus.expires_at, description => reason, actor => coalesce(by_user::text, session_user)
    );
  end if;
  return query
    select u.id, u.email, lot, grant_bonus.amount,
      u.included_credits + u.purchased_credits + case when dry_run then grant_bonus.amount else 0 end
    from public.users u
    where u.id = target;
end
$$;

comment on function core.grant_bonus(uuid, bigint, text, timestamptz, uuid, boolean) is
  'What ops.grant_credits does for an operator (by_user null) and api.grant_credits for an administrator, whose id the transfer names. '
  'Errors: PR400 naming amount or expires_at, or without a reason; PR409 the account is closed. Spec 4.7.';
--! EndIncluded credits/grant_bonus.sql
--! Included credits/grant_credits.sql
create or replace function ops.grant_credits(
  "user" text, amount bigint, reason text, expires_at timestamptz default 'infinity', dry_run boolean default false
)
returns table (user_id uuid, email text, lot_id uuid, granted bigint, balance bigint)
language plpgsql
security definer
set search_path = ''
as $$
begin
  return query
    select g.* from core.grant_bonus(core.find_user("user"), grant_credits.amount, reason, grant_credits.expires_at, null, dry_run) g;
end
$$;

comment on function ops.grant_credits(text, bigint, text, timestamptz, boolean) is
  'Gives a user (id, e-mail or username) bonus credits. dry_run shows the balance that would result. '
  'Call: select * from ops.grant_credits(''user@example.com'', 10, ''sorry for the outage''); Errors: PR404, PR400, PR409 the account is closed. Spec 4.7.';
--! EndIncluded credits/grant_credits.sql
--! Included credits/api_grant_credits.sql
create or replace function api.grant_credits(user_id uuid, target_user_id uuid, amount bigint, reason text)
returns table (granted bigint, balance bigint)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform core.check_admin(grant_credits.user_id);
  return query
    select g.granted, g.balance
    from core.grant_bonus(
      core.find_user(grant_credits.target_user_id::text), grant_credits.amount, grant_credits.reason, 'infinity', grant_credits.user_id, false
    ) g;
end
$$;

comment on function api.grant_credits(uuid, uuid, bigint, text) is
  'Gives a user bonus credits that do not expire, for an administrator, as ops.grant_credits does for an operator; the transfer and audit_log name the '
  'administrator. Returns credits: what was granted, and the balance then. Errors: PR403; PR404 unknown user; PR400 naming amount, or without '
  'a reason; PR409 the account is closed. Spec 4.7, 8.3.';
--! EndIncluded credits/api_grant_credits.sql
--! Included credits/revoke_credits.sql
create or replace function ops.revoke_credits("user" text, amount bigint, reason text, dry_run boolean default false)
returns table (user_id uuid, email text, lot_id uuid, kind text, taken bigint, balance bigint)
language plpgsql
security definer
set search_path = ''
as $$
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
      select x.id, x.email, lot.lot_id, lot.kind, part,
        x.included_credits + x.purchased_credits - case when dry_run then revoke_credits.amount - left_over else 0 end
      from public.users x
      where x.id = target;
  end loop;
  perform core.refresh_lots(target);
end
$$;

comment on function ops.revoke_credits(text, bigint, text, boolean) is
  'Takes free credits of a user back, in the order of spending; what running runs hold is left. dry_run shows from which lots, and the balance that would result. '
  'Call: select * from ops.revoke_credits(''user@example.com'', 10, ''granted twice''); Errors: PR404, PR400, PR409 if fewer are free. Spec 4.5, 4.7.';
--! EndIncluded credits/revoke_credits.sql
--! Included analytics/margin_by_user.sql
create or replace view ops.margin_by_user as
select
  d.user_id,
  coalesce(u.email, u.username, 'anonymous') as person,
  d.runs,
  d.credits,
  d.value_dollars,
  d.cost_dollars,
  d.free_cost_dollars,
  d.value_dollars - d.cost_dollars + d.free_cost_dollars as paid_margin_dollars,
  round(100 * (d.value_dollars - d.cost_dollars + d.free_cost_dollars) / nullif(d.value_dollars, 0), 1) as paid_margin_percent,
  coalesce(c.cash, 0) as cash_dollars,
  coalesce(c.cash, 0) - d.cost_dollars as cash_margin_dollars
from (
  select
    x.user_id, sum(x.runs)::bigint as runs, sum(x.credits)::bigint as credits, sum(x.included_value + x.purchased_value) as value_dollars,
    sum(x.cost) as cost_dollars, sum(x.cost - x.paid_cost) as free_cost_dollars
  from core.usage_parts x
  where x.day > (select (core.now() at time zone 'UTC')::date) - 30
  group by x.user_id
) d
left join public.users u on u.id = d.user_id
left join (
  select r.user_id, sum(r.cash) as cash
  from core.cash_received r
  where r.day > (select (core.now() at time zone 'UTC')::date) - 30
  group by r.user_id
) c on c.user_id = d.user_id
order by paid_margin_dollars, cash_margin_dollars;

comment on view ops.margin_by_user is
  'Which user loses us money? The last 30 days (UTC, today included), worst first, and of equals who brought least cash. paid_margin is that of the credits spent; cash_margin counts what they paid us in those days, spent or not, and what free use cost. Spec 8.4.';
comment on column ops.margin_by_user.user_id is 'Who.';
comment on column ops.margin_by_user.person is 'E-mail, else username; anonymous without an account.';
comment on column ops.margin_by_user.runs is 'Runs that have ended.';
comment on column ops.margin_by_user.credits is 'Credits charged.';
comment on column ops.margin_by_user.value_dollars is 'US dollars of cash that had been paid for the credits spent.';
comment on column ops.margin_by_user.cost_dollars is 'US dollars: exact provider cost of all their runs.';
comment on column ops.margin_by_user.free_cost_dollars is 'US dollars of it that no cash paid for: of free credits, and of runs that charged nothing.';
comment on column ops.margin_by_user.paid_margin_dollars is 'US dollars: value less the cost that paid credits bore; what is below 0 loses money.';
comment on column ops.margin_by_user.paid_margin_percent is 'paid_margin_dollars in percent of the value, 1 decimal; null without value.';
comment on column ops.margin_by_user.cash_dollars is 'US dollars that they paid in those days for periods and packs, less what was refunded or is disputed of it.';
comment on column ops.margin_by_user.cash_margin_dollars is 'US dollars: that cash less all cost.';
--! EndIncluded analytics/margin_by_user.sql
--! Included analytics/put_provider_usage.sql
create or replace function core.put_provider_usage(provider text, source text, entries jsonb, dry_run boolean)
returns table (
  period text, provider_model text, model text, change text, input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint,
  output_tokens bigint, dollars numeric, old jsonb
)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  entry record;
  days record;
  was public.provider_usage;
begin
  if jsonb_typeof(put_provider_usage.entries) is distinct from 'array' then
    raise exception 'entries is no array of objects' using errcode = 'PR400', detail = 'entries',
      hint = 'As npm run costs:import makes it of a provider''s export.';
  end if;
  for entry in
    select *
    from jsonb_to_recordset(put_provider_usage.entries) e (
      period text, provider_model text, input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint, output_tokens bigint, dollars numeric
    )
    order by e.period, e.provider_model
  loop
    days := core.read_period(entry.period);
    perform core.check_provider_figures(
      entry.input_tokens, entry.cached_tokens, entry.cache_write_tokens, entry.output_tokens, entry.dollars
    );
    was := null;
    select u.* into was
    from public.provider_usage u
    where u.provider = put_provider_usage.provider and u.first_day = days.first_day and u.last_day = days.last_day
      and u.provider_model = entry.provider_model and u.source = put_provider_usage.source
    for update;

    period := entry.period;
    provider_model := entry.provider_model;
    model := core.model_of_provider(put_provider_usage.provider, entry.provider_model);
    input_tokens := entry.input_tokens;
    cached_tokens := entry.cached_tokens;
    cache_write_tokens := entry.cache_write_tokens;
    output_tokens := entry.output_tokens;
    dollars := entry.dollars;
    old := to_jsonb(was);
    change := case
      when coalesce(input_tokens, output_tokens) is null and dollars is null then case when was.provider is null then 'none' else 'taken back' end
      when was.provider is null then 'new'
      when (was.input_tokens, was.cached_tokens, was.cache_write_tokens, was.output_tokens, was.dollars, was.model) is not distinct from
        (input_tokens, cached_tokens, cache_write_tokens, output_tokens, dollars, model) then 'same'
      else 'changed'
    end;
    if not dry_run and change in ('new', 'changed') then
      insert into public.provider_usage as u values (
        put_provider_usage.provider, days.first_day, days.last_day, provider_model, put_provider_usage.source, model, input_tokens,
        cached_tokens, cache_write_tokens, output_tokens, dollars, session_user, core.now()
      )
      on conflict on constraint provider_usage_pkey do update
      set model = excluded.model, input_tokens = excluded.input_tokens, cached_tokens = excluded.cached_tokens,
        cache_write_tokens = excluded.cache_write_tokens, output_tokens = excluded.output_tokens, dollars = excluded.dollars,
        entered_by = excluded.entered_by, entered_at = excluded.entered_at;
    elsif not dry_run and change = 'taken back' then
      delete from public.provider_usage u
      where u.provider = was.provider and u.first_day = was.first_day and u.last_day = was.last_day
        and u.provider_model = was.provider_model and u.source = was.source;
    end if;
    return next;
  end loop;
end
$$;

comment on function core.put_provider_usage(text, text, jsonb, boolean) is
  'Writes what a provider says into provider_usage, an entry for each period and model: {period, provider_model, input_tokens, '
  'cached_tokens, cache_write_tokens, output_tokens, dollars}, tokens of input being everything read. An entry without figures takes one back. '
  'Returns each with what changed (new, changed, same, taken back, none) and the row that it replaced. Errors: PR400 naming the field.';
--! EndIncluded analytics/put_provider_usage.sql
