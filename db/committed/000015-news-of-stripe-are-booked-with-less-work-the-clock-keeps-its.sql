--! Previous: sha1:48be264402f9db1f5d4a672e46216e2139b22a21
--! Hash: sha1:7c058e25a3d98fa4703f7ddfc241405f5b2096c8
--! Message: News of Stripe are booked with less work; the clock keeps its plan

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.

--! split: 2-stripe.sql
-- Functions in plpgsql keep their plans; those in SQL that cannot be inlined are planned in each transaction that calls them.
--! Included catalog/now.sql
create or replace function core.now()
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return clock_timestamp() + (select s.clock_offset from public.settings s);
end
$$;

comment on function core.now() is
  'The product''s clock: the database''s, plus settings.clock_offset, which is zero but in demo and test databases. In plpgsql, whose plan is kept; hot functions compute it inline.';
--! EndIncluded catalog/now.sql
--! Included billing/user_of_customer.sql
create or replace function core.user_of_customer(customer_id text)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
declare
  found_id uuid;
begin
  select c.user_id into found_id from public.stripe_customers c where c.customer_id = user_of_customer.customer_id;
  if not found then
    select c.user_id into found_id
    from public.stripe_customers c
    where c.former_ids <> '{}' and c.former_ids @> array[user_of_customer.customer_id]
    limit 1;
  end if;
  return found_id;
end
$$;

comment on function core.user_of_customer(text) is
  'Whose customer at Stripe that is or was, before it was deleted there; null for one that we never made. Spec 6.5.';
--! EndIncluded billing/user_of_customer.sql
--! Included billing/plan_of_price.sql
create or replace function core.plan_of_price(price_id text)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(
    (select p.plan from public.plans p where p.stripe_price_id = plan_of_price.price_id),
    (select x.plan from public.plan_prices x where x.stripe_price_id = plan_of_price.price_id)
  );
end
$$;

comment on function core.plan_of_price(text) is
  'The plan that a price at Stripe sells, or sold: who has subscribed keeps the price of then. Null for an unknown one. Spec 2.4.';
--! EndIncluded billing/plan_of_price.sql

drop function if exists core.store_subscription(uuid, jsonb, boolean, bigint, bigint, timestamptz, boolean, timestamptz);
drop function if exists core.await_period(public.subscriptions, boolean, timestamptz);
drop function if exists core.weigh_subscription(public.subscriptions, text, boolean, bigint, bigint);
--! Included billing/store_subscription.sql
create or replace function core.store_subscription(
  user_id uuid, is_known boolean, object jsonb, is_final boolean, second bigint, ticket bigint, fetched_at timestamptz, livemode boolean, now timestamptz
)
returns public.subscriptions
language plpgsql
set search_path = ''
as $$
declare
  stored public.subscriptions;
  item jsonb := object #> '{items,data,0}';
  new_plan text := core.plan_of_price(item #>> '{price,id}');
  ends timestamptz := to_timestamp((item ->> 'current_period_end')::bigint);
  is_late boolean := object ->> 'status' = 'past_due';
begin
  if not is_known then
    insert into public.subscriptions (user_id, id, plan, status, created_at, updated_at)
    values (store_subscription.user_id, object ->> 'id', new_plan, object ->> 'status', store_subscription.now, store_subscription.now);
  end if;
  update public.subscriptions s set
    plan = coalesce(new_plan, s.plan),
    status = object ->> 'status',
    livemode = store_subscription.livemode,
    item_id = item ->> 'id',
    price_id = item #>> '{price,id}',
    current_period_start = to_timestamp((item ->> 'current_period_start')::bigint),
    current_period_end = ends,
    cancel_at_period_end = (object ->> 'cancel_at_period_end')::boolean and not is_final,
    cancel_at = case when not is_final then
      coalesce(to_timestamp((object ->> 'cancel_at')::bigint), case when (object ->> 'cancel_at_period_end')::boolean then ends end)
    end,
    collection_paused = jsonb_typeof(object -> 'pause_collection') = 'object' and not is_final,
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
    unpaid_since = case when is_late then s.unpaid_since end,
    hosted_invoice_url = case when is_late then s.hosted_invoice_url end,
    stripe_created_at = to_timestamp((object ->> 'created')::bigint),
    known_second = greatest(s.known_second, coalesce(second, 0)),
    fetched_ticket = coalesce(store_subscription.ticket, s.fetched_ticket),
    fetched_at = coalesce(store_subscription.fetched_at, s.fetched_at),
    updated_at = store_subscription.now
  where s.user_id = store_subscription.user_id and s.id = object ->> 'id'
  returning s.* into stored;
  return stored;
end
$$;

comment on function core.store_subscription(uuid, boolean, jsonb, boolean, bigint, bigint, timestamptz, boolean, timestamptz) is
  'Writes a subscription down as Stripe''s object tells it, and where that is from: the second of an event, or the ticket and time of a '
  'fetch. is_known: it has a row already. Returns its row. The caller holds the user''s row. Spec 6.4.';
--! EndIncluded billing/store_subscription.sql
--! Included billing/await_period.sql
create or replace function core.await_period(s public.subscriptions, is_final boolean, is_fetched boolean, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  since timestamptz;
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
    perform core.want_work('fetch_subscription', s.id, s.user_id, delay => case
      when is_fetched then greatest(core.payment_patience(), await_period.now - since)
      when exists (
        select from public.subscription_periods p
        where p.user_id = s.user_id and p.subscription_id = s.id and p.state = 'paid'
      ) then core.payment_patience()
      else interval '0'
    end);
  end if;
end
$$;

comment on function core.await_period(public.subscriptions, boolean, boolean, timestamptz) is
  'Where Stripe is in a period that is not known to be paid, has it looked at again when the money should be there, and then ever later; a '
  'first one at once. is_fetched: what is known was just fetched. The caller holds the user''s row. Spec 4.3, 6.6.';
--! EndIncluded billing/await_period.sql
--! Included billing/weigh_subscription.sql
create or replace function core.weigh_subscription(
  known public.subscriptions, was_final boolean, id text, is_final boolean, second bigint, ticket bigint
)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  -- A final state beats all. (A fetch after the end still says whether money went back.)
  if (ticket is null or not is_final) and was_final then
    return 'pass';
  end if;
  if ticket is not null then
    return case when ticket <= known.fetched_ticket then 'pass' else 'take' end;
  end if;
  if is_final then
    return 'take';
  end if;
  -- What is being fetched right now may be older than this, and would come after it.
  if exists (
    select from public.stripe_work w
    where w.key = weigh_subscription.id and w.kind in ('fetch_subscription', 'update_subscription', 'cancel_subscription')
      and w.claimed_until is not null
  ) then
    return 'fetch';
  end if;
  return case
    when second < known.known_second then 'pass'
    when second = known.known_second or second <= extract(epoch from known.fetched_at + interval '5 minutes') then 'fetch'
    else 'take'
  end;
end
$$;

comment on function core.weigh_subscription(public.subscriptions, boolean, text, boolean, bigint, bigint) is
  'What a word of Stripe''s on a subscription is worth beside what is known of it (all null: nothing): take it, pass over it, or fetch it '
  'anew. The newest counts: a fetch by its ticket, an event by its second. Spec 6.4.';
--! EndIncluded billing/weigh_subscription.sql
--! Included billing/take_subscription.sql
create or replace function core.take_subscription(
  user_id uuid, object jsonb, second bigint, ticket bigint, fetched_at timestamptz, livemode boolean, now timestamptz
)
returns text
language plpgsql
set search_path = ''
as $$
declare
  known public.subscriptions;
  s public.subscriptions;
  state public.subscription_states;
  was public.subscription_states;
  worth text;
  complaint text;
begin
  select x.* into known from public.subscriptions x where x.user_id = take_subscription.user_id and x.id = object ->> 'id';
  select x.* into was from public.subscription_states x where x.status = known.status;
  if (object ->> 'missing')::boolean then
    return core.miss_subscription(known, object ->> 'id', take_subscription.user_id, take_subscription.now);
  end if;
  select x.* into state from public.subscription_states x where x.status = object ->> 'status';
  if not found then
    return 'subscription ' || (object ->> 'id') || ' has the unknown status ' || coalesce(object ->> 'status', 'null');
  end if;
  if jsonb_array_length(object #> '{items,data}') <> 1 or coalesce((object #>> '{items,data,0,quantity}')::integer, 1) <> 1
    or known.id is null and core.plan_of_price(object #>> '{items,data,0,price,id}') is null
  then
    return 'subscription ' || (object ->> 'id') || ' has not exactly one of a plan''s prices';
  end if;

  worth := core.weigh_subscription(known, was.is_final, object ->> 'id', state.is_final, second, ticket);
  if worth = 'fetch' then
    perform core.want_work('fetch_subscription', object ->> 'id', take_subscription.user_id);
  end if;
  if worth <> 'take' then
    return null;
  end if;
  s := core.store_subscription(take_subscription.user_id, known.id is not null, object, state.is_final, second, ticket, fetched_at, livemode, take_subscription.now);
  if state.is_open and was.is_open is not true then
    perform core.supersede_doubles(s.user_id); -- before anything is granted for it
    update public.checkouts c set status = 'complete' where c.user_id = s.user_id and c.status = 'open';
  end if;

  -- What a fetch brings along: the latest invoice as it is now.
  if jsonb_typeof(object -> 'latest_invoice') = 'object' then
    update public.subscriptions x set money_back = true
    where x.user_id = s.user_id and x.id = s.id and state.is_final
      and exists (
        select from jsonb_array_elements(object #> '{latest_invoice,lines,data}') l
        where (l #>> '{parent,subscription_item_details,proration}')::boolean and (l ->> 'amount')::bigint < 0
      );
    complaint := core.take_invoice(s.user_id, object -> 'latest_invoice', null, take_subscription.now);
    perform core.note_found_periods(s.user_id, s.id, take_subscription.now);
    select x.* into s from public.subscriptions x where x.user_id = s.user_id and x.id = s.id;
  end if;
  -- An event does not say since when it is unpaid, or whether money went back.
  if ticket is null and (state.entitles = 'grace' or state.status = 'canceled') then
    perform core.want_work('fetch_subscription', s.id, s.user_id);
  end if;
  -- What has not moved is awaited already.
  if ticket is not null
    or (s.status, s.current_period_start, s.plan) is distinct from (known.status, known.current_period_start, known.plan)
  then
    perform core.await_period(s, state.is_final, ticket is not null, take_subscription.now);
  end if;

  if state.is_final then
    perform core.end_subscription(
      s.user_id, s.id,
      case when s.money_back or s.paid_until is null then coalesce(s.ended_at, take_subscription.now) else s.paid_until end,
      take_subscription.now
    );
  end if;
  if known.id is null or state.is_final
    or (s.status, s.plan, s.trial_end, s.collection_paused, s.cancel_at, s.unpaid_since, s.current_period_start)
      is distinct from (known.status, known.plan, known.trial_end, known.collection_paused, known.cancel_at, known.unpaid_since, known.current_period_start)
  then
    perform core.refresh_entitlement(s.user_id, take_subscription.now);
  end if;
  return complaint;
end
$$;

comment on function core.take_subscription(uuid, jsonb, bigint, bigint, timestamptz, boolean, timestamptz) is
  'Takes a subscription as Stripe tells it. From an event (second is its time, ticket null) the object counts where it is later than the '
  'last one; of the same second, or soon after a fetch, it is fetched. From a fetch (ticket, fetched_at) it counts where no later fetch was '
  'applied. Final states beat all. Returns why a person has to look at it, or null. The caller holds the user''s row. Spec 2.5, 4.4, 6.4.';
--! EndIncluded billing/take_subscription.sql
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
        when 'paid_out' then case when s.money_back then least(paid.until, s.ended_at) else paid.until end
      end as until
    from public.subscriptions s
    cross join (select x.grace_days * interval '24 hours' as time from public.settings x) grace
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
  'entitled_until, prpm_plus_status), and lifts a throttle that no longer stands. The caller holds the user''s row. Spec 2.5.';
--! EndIncluded billing/refresh_entitlement.sql
