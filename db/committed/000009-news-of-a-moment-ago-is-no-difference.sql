--! Previous: sha1:4917ddfe7f636ed24a753b82e5cded75fa09a37f
--! Hash: sha1:61d3ed90e63c81a5824145d8ba29f07cc9bf176d
--! Message: news of a moment ago is no difference

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.
--! Included billing/news_patience.sql
create or replace function core.news_patience()
returns interval
language sql
immutable
parallel safe
begin atomic
  select interval '5 minutes';
end;

comment on function core.news_patience() is
  'How long after something was made at Stripe, or was heard of, an event of it may still be on its way, so that not knowing is no difference. Spec 6.6.';
--! EndIncluded billing/news_patience.sql
--! Included billing/compare_subscriptions.sql
create or replace function core.compare_subscriptions(page jsonb, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  wanted bigint;
begin
  with theirs as (
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
  ), ours as (
    select t.user_id, t.id, s.updated_at, core.describe_subscription(
      s.status, extract(epoch from s.current_period_end)::bigint, extract(epoch from s.cancel_at)::bigint, s.collection_paused, s.price_id
    ) as words
    from theirs t
    join public.subscriptions s on s.user_id = t.user_id and s.id = t.id
  ), noted as (
    insert into public.stripe_drift (user_id, kind, object, ours, theirs, found_at)
    select t.user_id, 'subscription', t.id, o.words, t.words, compare_subscriptions.now
    from theirs t
    left join ours o on o.user_id = t.user_id and o.id = t.id
    where o.words is distinct from t.words
      and greatest(t.made_at, o.updated_at) <= compare_subscriptions.now - core.news_patience()
    returning user_id, object
  )
  select count(core.want_work('fetch_subscription', n.object, n.user_id)) into wanted from noted n;
  return wanted;
end
$$;

comment on function core.compare_subscriptions(jsonb, timestamptz) is
  'Compares subscriptions as Stripe lists them with ours: those of our customers that differ, and of which nothing was heard in '
  'the last minutes, are kept in stripe_drift and fetched. Returns how many. Spec 6.6.';
--! EndIncluded billing/compare_subscriptions.sql
