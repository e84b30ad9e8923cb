--! Previous: sha1:7c058e25a3d98fa4703f7ddfc241405f5b2096c8
--! Hash: sha1:2383f33bccb58f1602b26c0cf8223fc871da8216
--! Message: A comparison with Stripe over too many days is refused by name

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.

--! split: 2-reconcile.sql
--! Included billing/reconcile_stripe.sql
create or replace function ops.reconcile_stripe(whole boolean default true, days integer default 40)
returns table (kind text, wanted bigint)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  since jsonb;
  periods bigint;
begin
  if reconcile_stripe.days is null or reconcile_stripe.days not between 1 and 3650 then
    raise exception 'days is %, and must be between 1 and 3650', coalesce(reconcile_stripe.days::text, 'null')
      using errcode = 'PR400', detail = 'days', hint = 'Payments and refunds that are older are not looked at.';
  end if;
  since := jsonb_build_object('created_after', extract(epoch from now - reconcile_stripe.days * interval '24 hours')::bigint);
  -- Stripe keeps events for 30 days.
  perform core.want_work('list_events', 'all', null,
    jsonb_build_object('created_after', extract(epoch from now - interval '30 days')::bigint));
  if whole then
    perform core.want_work('list_subscriptions', 'all', null, '{}');
    perform core.want_work('list_payments', 'all', null, since);
    perform core.want_work('list_refunds', 'all', null, since);
    perform core.want_work('list_disputes', 'all', null, '{}');
  end if;
  periods := core.ask_for_due_periods(whole, now);
  return query
    select w.kind, count(*) from public.stripe_work w where starts_with(w.kind, 'list_') group by w.kind
    union all
    select 'due periods', periods where periods > 0
    order by 1;
end
$$;

comment on function ops.reconcile_stripe(boolean, integer) is
  'Lets a server compare Stripe with us: events that Stripe could not deliver in 30 days, periods that are due but not known to be paid, '
  'and, whole, all subscriptions and disputes, and payments and refunds of so many days. What differs is repaired as events do it, and kept '
  'in ops.stripe_drift. Returns what a server now has to do. Call: select * from ops.reconcile_stripe(); Errors: PR400 days. Spec 6.6.';
--! EndIncluded billing/reconcile_stripe.sql
