--! Previous: sha1:bd8a037f7a733be13c4d28fe3bd5f8cf674b48e3
--! Hash: sha1:e31d58c556c8ffa9a2a69ac8532a080cb82ced37
--! Message: news that crosses, doubles and money back

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.
--! Included billing/take_invoice.sql
create or replace function core.take_invoice(user_id uuid, invoice jsonb, payment_id text, now timestamptz)
returns text
language plpgsql
set search_path = ''
as $$
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

comment on function core.take_invoice(uuid, jsonb, text, timestamptz) is
  'Books a subscription''s invoice as Stripe tells it: a paid one that opened a period (no proration) pays that period and grants its '
  'credits, once; an open one that could not be collected starts the grace. The period is its line''s. payment_id is the payment intent '
  'that paid it, or null. Returns why a person has to look at it, or null. The caller holds the user''s row. Spec 4.3, 6.5.';
--! EndIncluded billing/take_invoice.sql
--! Included billing/take_invoice_payments.sql
create or replace function core.take_invoice_payments(user_id uuid, payment_id text, result jsonb, now timestamptz)
returns text
language plpgsql
set search_path = ''
as $$
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

comment on function core.take_invoice_payments(uuid, text, jsonb, timestamptz) is
  'Takes Stripe''s answer to which invoice a payment paid: a subscription''s, or else it is asked for its checkout session. Returns why a '
  'person has to look at it, or null. The caller holds the user''s row. Spec 6.5.';
--! EndIncluded billing/take_invoice_payments.sql
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

comment on function core.take_subscription(uuid, jsonb, bigint, bigint, timestamptz, boolean, timestamptz) is
  'Takes a subscription as Stripe tells it. From an event (second is its time, ticket null) the object counts where it is later than the '
  'last one; of the same second, or soon after a fetch, it is fetched. From a fetch (ticket, fetched_at) it counts where no later fetch was '
  'applied. Final states beat all. Returns why a person has to look at it, or null. The caller holds the user''s row. Spec 2.5, 4.4, 6.4.';
--! EndIncluded billing/take_subscription.sql
--! Included billing/begin_subscription_change.sql
create or replace function api.begin_subscription_change(user_id uuid, action text, out outcome text, out refusal json, out work_id uuid)
language plpgsql
security definer
set search_path = ''
as $$
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

comment on function api.begin_subscription_change(uuid, text) is
  'Queues what cancels a user''s subscription at the end of its period (action cancel), or takes that and a pause back (resume): each time a '
  'row of its own, whose id is the idempotency key. outcome: refused (no_subscription), ready (it is so already) or queued (work_id). Spec 6.1.';
--! EndIncluded billing/begin_subscription_change.sql
