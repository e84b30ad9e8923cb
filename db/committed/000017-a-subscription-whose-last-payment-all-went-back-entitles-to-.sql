--! Previous: sha1:2383f33bccb58f1602b26c0cf8223fc871da8216
--! Hash: sha1:f4b659111c97a3d1cf7ca637933ed69589e0e6b0
--! Message: A subscription whose last payment all went back entitles to nothing once it has ended

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.

--! split: 2-faults.sql
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
  'entitled_until, prpm_plus_status), and lifts a throttle that no longer stands. What has ended entitles to the end of the period paid for, '
  'but where the rest of it or all of its payment went back. The caller holds the user''s row. Spec 2.5.';
--! EndIncluded billing/refresh_entitlement.sql
--! Included billing/settle_payment.sql
create or replace function core.settle_payment(user_id uuid, payment_id text, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
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
    -- What has ended entitles for as long as it is paid.
    if exists (
      select from public.subscriptions s
      where s.user_id = payment.user_id and s.id = payment.subscription_id and s.ended_at is not null
    ) then
      perform core.refresh_entitlement(payment.user_id, settle_payment.now);
    end if;
  end if;
end
$$;

comment on function core.settle_payment(uuid, text, timestamptz) is
  'Makes what a payment bought agree with its refunds and disputes that stand, in whatever order they became known, and so '
  'what a subscription that has ended still entitles to. The caller holds the user''s row. Spec 2.5, 4.6.';
--! EndIncluded billing/settle_payment.sql
