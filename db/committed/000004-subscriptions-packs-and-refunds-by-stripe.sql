--! Previous: sha1:ceba1db49534f33b0ce642ead8a3224e64ba6656
--! Hash: sha1:bc7862254d899634b11920258798d6eeccabffb9
--! Message: subscriptions, packs and refunds by Stripe

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.
-- Room billing: what Stripe knows of our people, kept so that repeated, late and reordered news leaves the same state.

alter table public.settings add column if not exists stripe_max_rps integer not null default 10 check (stripe_max_rps between 1 and 100);
grant update (stripe_max_rps) on public.settings to prpm_ops;
comment on column public.settings.stripe_max_rps is 'Requests a second that a server sends to Stripe at most (spec 6.4).';

create table if not exists public.subscription_states (
  status text primary key,
  entitles text not null check (entitles in ('trial', 'while_paid', 'grace', 'paid_out', 'never')),
  is_open boolean not null,
  is_final boolean not null,
  told text not null
);
comment on table public.subscription_states is
  'config. Stripe''s words for a subscription''s state, and what each means here: entitlement, whether it stands in the way of another one, '
  'whether it can still change, what its owner is told (spec 2.5, 6.1).';
comment on column public.subscription_states.status is 'Stripe''s own word.';
comment on column public.subscription_states.entitles is
  'trial: until the trial''s end; while_paid: to the end of the paid period, and grace_days on while the next payment is awaited; grace: '
  'grace_days from the unpaid invoice on, at least to the end of the paid period; paid_out: to the end of the paid period; never.';
comment on column public.subscription_states.is_open is 'True: another subscription is refused with already_subscribed.';
comment on column public.subscription_states.is_final is 'True: Stripe never leaves this state.';
comment on column public.subscription_states.told is 'A sentence for the person.';
insert into public.subscription_states (status, entitles, is_open, is_final, told) values
  ('trialing', 'trial', true, false, 'Your trial is running.'),
  ('active', 'while_paid', true, false, 'Your subscription is active.'),
  ('past_due', 'grace', true, false, 'Your last payment failed. Pay the open invoice to keep your plan.'),
  ('unpaid', 'never', true, false, 'Your subscription is suspended: invoices are unpaid.'),
  ('paused', 'never', true, false, 'Your subscription is paused.'),
  ('incomplete', 'never', false, false, 'Your first payment has not arrived yet.'),
  ('incomplete_expired', 'never', false, true, 'Your first payment never arrived. Subscribe again to try once more.'),
  ('canceled', 'paid_out', false, true, 'Your subscription has ended.')
on conflict (status) do update set entitles = excluded.entitles, is_open = excluded.is_open, is_final = excluded.is_final, told = excluded.told;

alter table public.subscriptions
  add column if not exists livemode boolean not null default false,
  add column if not exists item_id text,
  add column if not exists price_id text,
  add column if not exists cancel_at_period_end boolean not null default false,
  add column if not exists collection_paused boolean not null default false,
  add column if not exists trial_end timestamptz,
  add column if not exists unpaid_since timestamptz,
  add column if not exists hosted_invoice_url text,
  add column if not exists money_back boolean not null default false,
  add column if not exists superseded boolean not null default false,
  add column if not exists stripe_created_at timestamptz,
  add column if not exists known_second bigint not null default 0,
  add column if not exists fetched_ticket bigint not null default 0,
  add column if not exists fetched_at timestamptz;
comment on column public.subscriptions.livemode is 'Stripe''s mode that it belongs to.';
comment on column public.subscriptions.item_id is 'Stripe''s id of its one item.';
comment on column public.subscriptions.price_id is 'Stripe''s id of the item''s price now; the paid period''s plan decides the tier.';
comment on column public.subscriptions.cancel_at_period_end is 'Stripe''s flag of that name; see cancel_at for the instant.';
comment on column public.subscriptions.collection_paused is 'Stripe makes invoices, but does not collect them.';
comment on column public.subscriptions.trial_end is 'End of its trial, or null.';
comment on column public.subscriptions.unpaid_since is 'When the open invoice that could not be collected was finalized, or null.';
comment on column public.subscriptions.hosted_invoice_url is 'Where its owner can pay that invoice.';
comment on column public.subscriptions.money_back is 'It ended and money or credit for the rest of its period went back.';
comment on column public.subscriptions.superseded is 'A second one of the same person: it is canceled, refunded, and grants nothing (spec 6.1).';
comment on column public.subscriptions.stripe_created_at is 'When Stripe made it.';
comment on column public.subscriptions.known_second is 'Event time (Unix, whole seconds) of the last event that was applied; 0: none.';
comment on column public.subscriptions.fetched_ticket is 'Ticket of the last fetch that was applied; fetches are applied in the order in which they began.';
comment on column public.subscriptions.fetched_at is 'When that fetch began.';

create table if not exists public.subscription_periods (
  user_id uuid not null,
  subscription_id text not null,
  period_start timestamptz not null,
  period_end timestamptz not null,
  plan text not null references public.plans (plan),
  state text not null check (state in ('due', 'paid')),
  invoice_id text,
  payment_id text,
  credits bigint not null default 0 check (credits >= 0),
  paid_amount numeric(12, 2) not null default 0 check (paid_amount >= 0),
  refunded_amount numeric(12, 2) not null default 0 check (refunded_amount >= 0),
  disputed_amount numeric(12, 2) not null default 0 check (disputed_amount >= 0),
  credits_taken_back bigint not null default 0 check (credits_taken_back >= 0),
  shortfall bigint not null default 0 check (shortfall >= 0),
  created_at timestamptz not null,
  paid_at timestamptz,
  primary key (user_id, subscription_id, period_start)
);
comment on table public.subscription_periods is
  'per-user. Billing periods: due when Stripe has moved to them, paid when their invoice is; only paid ones grant (spec 4.3).';
comment on column public.subscription_periods.user_id is 'Whose.';
comment on column public.subscription_periods.subscription_id is 'Stripe''s id of the subscription.';
comment on column public.subscription_periods.period_start is 'Start, by the invoice''s line or the subscription''s item.';
comment on column public.subscription_periods.period_end is 'Its end.';
comment on column public.subscription_periods.plan is 'What was paid for in it.';
comment on column public.subscription_periods.state is 'due: awaited; paid: by money, coupon or balance.';
comment on column public.subscription_periods.invoice_id is 'Stripe''s id of the invoice that paid it.';
comment on column public.subscription_periods.payment_id is 'Stripe''s id of the payment intent, or null where no money was needed or it is not known yet.';
comment on column public.subscription_periods.credits is 'Credits granted for it.';
comment on column public.subscription_periods.paid_amount is 'US dollars received for it.';
comment on column public.subscription_periods.refunded_amount is 'US dollars of refunds that neither failed nor were canceled.';
comment on column public.subscription_periods.disputed_amount is 'US dollars of disputes that are open or lost.';
comment on column public.subscription_periods.credits_taken_back is 'Credits taken back for refunds and disputes.';
comment on column public.subscription_periods.shortfall is 'Credits that should have been taken back but were spent already.';
comment on column public.subscription_periods.created_at is 'When it was first heard of.';
comment on column public.subscription_periods.paid_at is 'When it was known to be paid.';

alter table public.purchases
  add column if not exists livemode boolean not null default false,
  add column if not exists disputed_amount numeric(12, 2) not null default 0 check (disputed_amount >= 0);
comment on column public.purchases.livemode is 'Stripe''s mode that it belongs to.';
comment on column public.purchases.disputed_amount is 'US dollars of disputes that are open or lost.';
comment on column public.purchases.credits_taken_back is 'Credits taken back from its lot for refunds and disputes.';

create table if not exists public.payments (
  user_id uuid not null,
  id text not null,
  kind text not null check (kind in ('pack', 'subscription', 'unknown')),
  paid_amount numeric(12, 2) not null check (paid_amount >= 0),
  currency text not null,
  purchase_id uuid,
  subscription_id text,
  period_start timestamptz,
  needs_review text,
  created_at timestamptz not null,
  primary key (user_id, id)
);
comment on table public.payments is 'per-user. Payments at Stripe and what each paid for: a purchase, or a period of a subscription (spec 6.5).';
comment on column public.payments.user_id is 'Who paid.';
comment on column public.payments.id is 'Stripe''s id of the payment intent.';
comment on column public.payments.kind is 'pack, subscription, or unknown: not found out yet.';
comment on column public.payments.paid_amount is 'US dollars received.';
comment on column public.payments.currency is 'Of that amount; usd, or it needs review.';
comment on column public.payments.purchase_id is 'The purchase, where it paid for a pack.';
comment on column public.payments.subscription_id is 'The subscription, where it paid for a period.';
comment on column public.payments.period_start is 'That period''s start.';
comment on column public.payments.needs_review is 'Why a person has to look at it, or null.';
comment on column public.payments.created_at is 'First sight.';

create table if not exists public.reversals (
  user_id uuid not null,
  id text not null,
  payment_id text not null,
  kind text not null check (kind in ('refund', 'dispute')),
  reversed_amount numeric(12, 2) not null check (reversed_amount >= 0),
  status text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (user_id, id)
);
comment on table public.reversals is
  'per-user. Refunds and disputes by Stripe''s ids. What takes credits back is the sum of those that stand: their order never matters (spec 4.6).';
comment on column public.reversals.user_id is 'Whose payment.';
comment on column public.reversals.id is 'Stripe''s id of the refund or dispute.';
comment on column public.reversals.payment_id is 'Stripe''s id of the payment intent.';
comment on column public.reversals.kind is 'refund or dispute.';
comment on column public.reversals.reversed_amount is 'US dollars.';
comment on column public.reversals.status is 'Stripe''s own word.';
comment on column public.reversals.created_at is 'First sight.';
comment on column public.reversals.updated_at is 'Last change.';

create table if not exists public.checkouts (
  user_id uuid not null,
  id uuid not null,
  plan text not null references public.plans (plan),
  livemode boolean not null,
  success_url text not null,
  cancel_url text not null,
  session_id text,
  url text,
  expires_at timestamptz,
  status text not null default 'begun' check (status in ('begun', 'open', 'complete', 'expired')),
  created_at timestamptz not null,
  primary key (user_id, id)
);
comment on table public.checkouts is 'per-user. Subscriptions begun at Stripe''s checkout; at most one open for each person (spec 6.1).';
comment on column public.checkouts.user_id is 'Who.';
comment on column public.checkouts.id is 'Our own id; the idempotency key at Stripe.';
comment on column public.checkouts.plan is 'What is to be bought.';
comment on column public.checkouts.livemode is 'Stripe''s mode.';
comment on column public.checkouts.success_url is 'Where the person returns when done.';
comment on column public.checkouts.cancel_url is 'Where they return when not.';
comment on column public.checkouts.session_id is 'Stripe''s id of the session.';
comment on column public.checkouts.url is 'Where the person pays.';
comment on column public.checkouts.expires_at is 'When the session ends by itself.';
comment on column public.checkouts.status is 'begun, open, complete or expired.';
comment on column public.checkouts.created_at is 'When it was begun.';

create table if not exists public.stripe_customers (
  user_id uuid not null,
  livemode boolean not null,
  write_id uuid not null default gen_random_uuid(),
  customer_id text unique,
  created_at timestamptz not null,
  primary key (user_id, livemode)
);
comment on table public.stripe_customers is 'ops. One customer at Stripe for each person and mode; finds whose an event is (spec 6.1).';
comment on column public.stripe_customers.user_id is 'The person.';
comment on column public.stripe_customers.livemode is 'Stripe''s mode.';
comment on column public.stripe_customers.write_id is 'Idempotency key of its making.';
comment on column public.stripe_customers.customer_id is 'Stripe''s id, null while it is being made.';
comment on column public.stripe_customers.created_at is 'When it was begun.';

create table if not exists public.stripe_payments (
  payment_id text primary key,
  user_id uuid not null
);
comment on table public.stripe_payments is 'ops. Whose a payment is, for news of refunds and disputes, which name no customer.';
comment on column public.stripe_payments.payment_id is 'Stripe''s id of the payment intent.';
comment on column public.stripe_payments.user_id is 'Who paid.';

create table if not exists public.stripe_drift (
  id bigint generated always as identity primary key,
  user_id uuid,
  kind text not null,
  object text not null,
  ours text,
  theirs text,
  found_at timestamptz not null
);
comment on table public.stripe_drift is 'ops. Differences that reconciliation found between Stripe and us; each was repaired by the same functions as events (spec 6.6).';
comment on column public.stripe_drift.id is 'Counter.';
comment on column public.stripe_drift.user_id is 'Whose, where known.';
comment on column public.stripe_drift.kind is 'subscription, or event: one that Stripe could not deliver.';
comment on column public.stripe_drift.object is 'Stripe''s id.';
comment on column public.stripe_drift.ours is 'What we had.';
comment on column public.stripe_drift.theirs is 'What Stripe has.';
comment on column public.stripe_drift.found_at is 'When.';

create table if not exists public.stripe_events (
  id text primary key,
  type text not null,
  created bigint not null,
  livemode boolean not null,
  api_version text,
  body text,
  status text not null check (status in ('received', 'applied', 'ignored', 'needs_review')),
  same_version boolean not null,
  user_id uuid,
  attempts integer not null default 0,
  error text,
  received_at timestamptz not null,
  applied_at timestamptz
);
create index if not exists stripe_events_waiting on public.stripe_events (received_at) where status = 'received';
comment on table public.stripe_events is 'ops. The webhook''s inbox: each event as it came, once, and what became of it (spec 6.4).';
comment on column public.stripe_events.id is 'Stripe''s id of the event.';
comment on column public.stripe_events.type is 'Such as payment_intent.succeeded.';
comment on column public.stripe_events.created is 'Stripe''s time of it, Unix seconds.';
comment on column public.stripe_events.livemode is 'Stripe''s mode.';
comment on column public.stripe_events.api_version is 'Version of the API that its object is written in.';
comment on column public.stripe_events.body is 'As it was received; its signature was good. Dropped with age.';
comment on column public.stripe_events.status is 'received (not applied yet), applied, ignored, or needs_review: a person has to look, see error.';
comment on column public.stripe_events.same_version is 'Its object can be read as it is; else it is fetched.';
comment on column public.stripe_events.user_id is 'Whose it is, once known.';
comment on column public.stripe_events.attempts is 'How often it failed.';
comment on column public.stripe_events.error is 'Why it failed, was ignored, or needs review.';
comment on column public.stripe_events.received_at is 'When it came.';
comment on column public.stripe_events.applied_at is 'When its effect was booked.';

create table if not exists public.stripe_effects (
  user_id uuid not null,
  event_id text not null,
  applied_at timestamptz not null,
  primary key (user_id, event_id)
);
comment on table public.stripe_effects is 'per-user. Events whose effect is booked: each once, also where the inbox was not ticked off (spec 6.4).';
comment on column public.stripe_effects.user_id is 'Whose.';
comment on column public.stripe_effects.event_id is 'stripe_events.id.';
comment on column public.stripe_effects.applied_at is 'When.';

create sequence if not exists core.stripe_tickets;
create table if not exists public.stripe_work (
  id uuid primary key default gen_random_uuid(),
  dedupe text not null unique,
  kind text not null,
  key text not null,
  parameters jsonb not null default '{}',
  user_id uuid,
  ticket bigint,
  again_at timestamptz,
  attempts integer not null default 0,
  error text,
  is_failed boolean not null default false,
  due_at timestamptz not null,
  claimed_until timestamptz,
  created_at timestamptz not null
);
comment on table public.stripe_work is 'ops. What a server has to fetch from Stripe or write to it; done by whichever claims it (spec 6.1, 6.4).';
comment on column public.stripe_work.id is 'Names it; the idempotency key of a write.';
comment on column public.stripe_work.dedupe is 'A fetch of the same object is wanted once at a time; each write is its own.';
comment on column public.stripe_work.kind is 'What to do: apply_event, fetch_…, update_subscription, cancel_subscription, refund_payment, expire_session.';
comment on column public.stripe_work.key is 'The object''s id at Stripe, or the event''s.';
comment on column public.stripe_work.parameters is 'Of a write, as Stripe takes them.';
comment on column public.stripe_work.user_id is 'Whose object, where known.';
comment on column public.stripe_work.ticket is 'Order in which fetches began; set by each claim.';
comment on column public.stripe_work.again_at is 'Wanted once more, from then on, while it was under way.';
comment on column public.stripe_work.attempts is 'How often it failed.';
comment on column public.stripe_work.error is 'Why it failed last.';
comment on column public.stripe_work.is_failed is 'True: it cannot be done; a person has to look.';
comment on column public.stripe_work.due_at is 'Not before.';
comment on column public.stripe_work.claimed_until is 'A server is at it until then.';
comment on column public.stripe_work.created_at is 'When it was first wanted.';

insert into public.jobs (job, every, after, description) values
  ('reconcile-stripe', '1 hour', '20 minutes', 'Asks Stripe what it could not deliver, and once a day for all subscriptions: ops.reconcile_stripe()'),
  ('align-prices', '1 hour', '10 minutes', 'Changes the price of who joined or left a verified organization: ops.align_prices()'),
  ('reset-credits', '1 day', '5 minutes', 'Ends entitlements and books rollover that are due: ops.reset_credits()')
on conflict do nothing;

drop function if exists core.apply_refund(uuid, uuid, numeric, timestamptz);
--! Included credits/reversed_of.sql
create or replace function core.reversed_of(user_id uuid, payment_id text, out refunded numeric, out disputed numeric)
language sql
stable
set search_path = ''
begin atomic
  select
    coalesce(sum(r.reversed_amount) filter (where r.kind = 'refund' and r.status not in ('failed', 'canceled')), 0),
    coalesce(sum(r.reversed_amount) filter (where r.kind = 'dispute'
      and r.status not in ('won', 'prevented', 'warning_closed', 'warning_needs_response', 'warning_under_review')), 0)
  from public.reversals r
  where r.user_id = reversed_of.user_id and r.payment_id = reversed_of.payment_id;
end;

comment on function core.reversed_of(uuid, text) is
  'US dollars of a payment that refunds took (those neither failed nor canceled), and that disputes hold or took (not won, prevented or a '
  'mere warning). Spec 4.6.';
--! EndIncluded credits/reversed_of.sql
--! Included credits/take_back.sql
create or replace function core.take_back(
  user_id uuid, lots uuid[], wanted bigint, now timestamptz,
  purchase_id uuid default null, subscription_id text default null, why text default null
)
returns bigint
language plpgsql
set search_path = ''
as $$
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

comment on function core.take_back(uuid, uuid[], bigint, timestamptz, uuid, text, text) is
  'Takes credits out of these lots, in their order, never what running runs hold, then what had expired of them; wanted below 0 gives back what was taken from them. '
  'Returns the credits taken (negative: given back), at most what there is. The caller holds the user''s row and calls core.refresh_lots '
  'when done. Spec 4.5, 4.6.';
--! EndIncluded credits/take_back.sql
--! Included credits/apply_refund.sql
create or replace function core.apply_refund(
  user_id uuid, purchase_id uuid, refunded_total numeric, now timestamptz, disputed_total numeric default 0
)
returns bigint
language plpgsql
set search_path = ''
as $$
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

comment on function core.apply_refund(uuid, uuid, numeric, timestamptz, numeric) is
  'Makes a purchase''s books agree with the US dollars refunded of it in all, and those disputed (open or lost): floor(credits × gone / '
  'paid) are taken back from its own lot, never what running runs hold; what is already spent stays a shortfall of the purchase. A '
  'smaller total than before gives back. Returns the credits taken now (negative: given back). Errors: PR404, PR400. Locks the user''s '
  'row. Spec 4.5, 4.6.';
--! EndIncluded credits/apply_refund.sql
--! Included credits/apply_period_refund.sql
create or replace function core.apply_period_refund(
  user_id uuid, subscription_id text, period_start timestamptz, refunded_total numeric, disputed_total numeric, now timestamptz
)
returns bigint
language plpgsql
set search_path = ''
as $$
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

comment on function core.apply_period_refund(uuid, text, timestamptz, numeric, numeric, timestamptz) is
  'The same for the payment of a subscription''s period: floor(credits × gone / paid) are taken back from that period''s monthly lot, then '
  'from the rollover made of it. Returns the credits taken now (negative: given back); 0 for a period that is unknown or cost nothing. '
  'Locks the user''s row. Spec 4.5, 4.6.';
--! EndIncluded credits/apply_period_refund.sql
--! Included credits/owes_credits.sql
create or replace function core.owes_credits(user_id uuid)
returns boolean
language sql
stable
set search_path = ''
begin atomic
  select exists (
    select from public.purchases p
    join public.credit_lots l on l.user_id = p.user_id and l.source = 'purchase' and l.source_id = p.id::text
    where p.user_id = owes_credits.user_id and p.shortfall > 0 and l.remaining > 0
  ) or exists (
    select from public.subscription_periods p
    join public.credit_lots l on l.user_id = p.user_id and l.source in ('subscription', 'rollover')
      and l.source_id = p.subscription_id || '/' || extract(epoch from p.period_start)::bigint
    where p.user_id = owes_credits.user_id and p.shortfall > 0 and l.remaining > 0
  );
end;

comment on function core.owes_credits(uuid) is
  'True while a refund could take back more as soon as a run lets go of its hold. Spec 4.5, 4.6.';
--! EndIncluded credits/owes_credits.sql
--! Included credits/tidy_lots.sql
create or replace function core.tidy_lots(user_id uuid, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
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

comment on function core.tidy_lots(uuid, timestamptz) is
  'Books a user''s expired credits, rolls over what is due and takes back what refunds still ask for. Credits that running runs hold '
  'stay until those end. Returns the credits expired. Locks the user''s row. Spec 4.3, 4.5, 4.6.';
--! EndIncluded credits/tidy_lots.sql
--! Included credits/grant_purchase.sql
create or replace function core.grant_purchase(user_id uuid, purchase_id uuid, paid_amount numeric, now timestamptz)
returns uuid
language plpgsql
set search_path = ''
as $$
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

comment on function core.grant_purchase(uuid, uuid, numeric, timestamptz) is
  'Gives the credits of a purchase that was paid, once, by our own row and never by what the payment says of itself. A refund that '
  'became known before is applied. Returns the lot. Errors: PR404 unknown purchase, PR409 another amount. Locks the user''s row. Spec 6.5.';
--! EndIncluded credits/grant_purchase.sql
drop function if exists core.grant_period(uuid, text, text, timestamptz, timestamptz, numeric, timestamptz);
--! Included credits/restore_expired.sql
create or replace function core.restore_expired(user_id uuid, lot_id uuid, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
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

comment on function core.restore_expired(uuid, uuid, timestamptz) is
  'Takes back that a lot''s credits had expired. The caller holds the user''s row and says what becomes of them. Spec 4.3.';
--! EndIncluded credits/restore_expired.sql
--! Included credits/grant_period.sql
create or replace function core.grant_period(
  user_id uuid, subscription_id text, plan text, period_start timestamptz, period_end timestamptz, paid numeric, now timestamptz,
  paid_at timestamptz default null
)
returns uuid
language plpgsql
set search_path = ''
as $$
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

comment on function core.grant_period(uuid, text, text, timestamptz, timestamptz, numeric, timestamptz, timestamptz) is
  'Grants a paid billing period''s credits, once for each user, subscription and period start. What is left of the period before '
  'becomes one rollover lot, older rollover expires. A period that is heard of after a later one rolls over at once. paid_at is when it was paid (null: now): where that was within '
  'the grace, what has expired since rolls over too. paid is US dollars '
  'received for the period. Returns the lot. Locks the user''s row. Spec 4.3.';
--! EndIncluded credits/grant_period.sql
--! Included credits/end_subscription.sql
create or replace function core.end_subscription(user_id uuid, subscription_id text, at timestamptz, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform from public.users u where u.id = end_subscription.user_id for no key update;
  update public.credit_lots l
  set expires_at = least(l.expires_at, end_subscription.at)
  where l.user_id = end_subscription.user_id and l.source = 'subscription'
    and starts_with(l.source_id, end_subscription.subscription_id || '/');
  perform core.tidy_lots(end_subscription.user_id, end_subscription.now);
end
$$;

comment on function core.end_subscription(uuid, text, timestamptz, timestamptz) is
  'Lets a subscription''s monthly credits expire at that instant: the end of the period paid for, or at once if the money went back. '
  'Rollover keeps its date, purchased credits stay. Locks the user''s row. Spec 4.4.';
--! EndIncluded credits/end_subscription.sql
--! Included credits/audit_purchases.sql
create or replace function core.audit_purchases(only_user uuid)
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

comment on function core.audit_purchases(uuid) is
  'Part of ops.audit_books: of each purchase what was granted, and that credits taken back and shortfall are together '
  'floor(credits × (refunded + disputed) / paid). null: all users. Spec 4.6.';
--! EndIncluded credits/audit_purchases.sql
--! Included credits/audit_transfers.sql
create or replace function core.audit_transfers(only_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '64MB'
as $$
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

comment on function core.audit_transfers(uuid) is
  'Part of ops.audit_books: the chain of each user''s transfers (numbers, balances, accounts) and the figures that follow from it. '
  'null: all users. Spec 4.2.';
--! EndIncluded credits/audit_transfers.sql
--! Included credits/audit_periods.sql
create or replace function core.audit_periods(only_user uuid)
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

comment on function core.audit_periods(uuid) is
  'Part of ops.audit_books: of each paid period what was granted, that credits taken back and shortfall are together floor(credits × '
  '(refunded + disputed) / paid), and of each payment that those are its refunds and disputes that stand. null: all users. Spec 4.3, 4.6.';
--! EndIncluded credits/audit_periods.sql
--! Included credits/audit_lots.sql
create or replace function core.audit_lots(only_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '64MB'
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

comment on function core.audit_lots(uuid) is
  'Part of ops.audit_books: what each lot was granted and has left by its transfers, and what users'' rows say of their lots. '
  'null: all users. Spec 4.1, 4.2.';
--! EndIncluded credits/audit_lots.sql
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
end
$$;

comment on function ops.audit_books(text) is
  'Every disagreement between transfers, lots, purchases, paid periods, runs, prices, windows and holds: which user, which check, of which object, what it '
  'should be and what it is. No row: the books balance. Recomputes all from transfers, runs and the price book; "user" (id, e-mail or '
  'username) looks at one. Call: select * from ops.audit_books(); Errors: PR404 unknown user. Spec 4.8.';
--! EndIncluded runs/audit_books.sql
--! Included billing/want_work.sql
create or replace function core.want_work(
  kind text, key text, user_id uuid, parameters jsonb default '{}', delay interval default '0', is_write boolean default false
)
returns uuid
language plpgsql
set search_path = ''
as $$
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

comment on function core.want_work(text, text, uuid, jsonb, interval, boolean) is
  'Queues a fetch from Stripe, once for each object at a time (wanted again while it is under way, it is done again), or a write, each its '
  'own. Returns its id. Spec 6.1, 6.4.';
--! EndIncluded billing/want_work.sql
--! Included billing/user_of_customer.sql
create or replace function core.user_of_customer(customer_id text)
returns uuid
language sql
stable
set search_path = ''
begin atomic
  select c.user_id from public.stripe_customers c where c.customer_id = user_of_customer.customer_id;
end;

comment on function core.user_of_customer(text) is 'Whose customer at Stripe that is; null for one that we never made. Spec 6.5.';
--! EndIncluded billing/user_of_customer.sql
--! Included billing/plan_of_price.sql
create or replace function core.plan_of_price(price_id text)
returns text
language sql
stable
set search_path = ''
begin atomic
  select p.plan from public.plans p where p.stripe_price_id = plan_of_price.price_id;
end;

comment on function core.plan_of_price(text) is 'The plan that a price at Stripe sells; null for an unknown one. Spec 2.4.';
--! EndIncluded billing/plan_of_price.sql
--! Included billing/offer_of.sql
create or replace function core.offer_of(user_id uuid, out plan text, out price numeric, out credits integer, out price_id text, out organization text)
language sql
stable
set search_path = ''
begin atomic
  select p.plan, p.monthly_price, p.monthly_credits, p.stripe_price_id, case when p.requires_verified_organization then membership.name end
  from public.plans p
  left join lateral (
    select o.name
    from public.organization_members m
    join public.organizations o on o.id = m.organization_id and o.is_verified
    where m.user_id = offer_of.user_id
    order by o.name
    limit 1
  ) membership on true
  where p.is_active and p.plan in ('prpm_plus_individual', 'prpm_plus_org_member')
    and (not p.requires_verified_organization or membership.name is not null)
  order by p.requires_verified_organization desc
  limit 1;
end;

comment on function core.offer_of(uuid) is
  'The PRPM+ plan that is offered to a user: the members'' one in a verified organization, else the individual one. price is US dollars a '
  'month. Spec 2.4.';
--! EndIncluded billing/offer_of.sql
--! Included billing/refresh_entitlement.sql
create or replace function core.refresh_entitlement(user_id uuid, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
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

comment on function core.refresh_entitlement(uuid, timestamptz) is
  'Works out anew, from a user''s subscriptions and their paid periods, which tier they have and until when (users.plan_tier, '
  'entitled_until, prpm_plus_status), and lifts a throttle that no longer stands. The caller holds the user''s row. Spec 2.5.';
--! EndIncluded billing/refresh_entitlement.sql
--! Included billing/supersede_doubles.sql
create or replace function core.supersede_doubles(user_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
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

comment on function core.supersede_doubles(uuid) is
  'Where a user has paid for two subscriptions, lets the later one be canceled and its payments be refunded. The caller holds the user''s '
  'row. Spec 6.1.';
--! EndIncluded billing/supersede_doubles.sql
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
  end if;
end
$$;

comment on function core.settle_payment(uuid, text, timestamptz) is
  'Makes what a payment bought agree with its refunds and disputes that stand, in whatever order they became known. The caller holds the '
  'user''s row. Spec 4.6.';
--! EndIncluded billing/settle_payment.sql
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
        unpaid_since = to_timestamp((invoice #>> '{status_transitions,finalized_at}')::bigint),
        hosted_invoice_url = invoice ->> 'hosted_invoice_url'
      where x.user_id = take_invoice.user_id and x.id = subscription;
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

  if s.superseded then
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
    perform core.settle_payment(take_invoice.user_id, take_invoice.payment_id, take_invoice.now);
    if s.superseded and found then
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
  if not is_new and (select x.is_final from public.subscription_states x where x.status = known.status) then
    return null;
  end if;
  if ticket is not null then
    if ticket <= known.fetched_ticket then
      return null;
    end if;
  elsif not is_new and not state.is_final then
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
    or (fresh.status, fresh.plan, fresh.trial_end, fresh.collection_paused, fresh.cancel_at, fresh.current_period_start)
      is distinct from (known.status, known.plan, known.trial_end, known.collection_paused, known.cancel_at, known.current_period_start)
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
--! Included billing/wake_reversals.sql
create or replace function core.wake_reversals(user_id uuid, payment_id text, now timestamptz)
returns void
language sql
set search_path = ''
begin atomic
  update public.stripe_work w set due_at = wake_reversals.now, user_id = wake_reversals.user_id
  where w.dedupe in ('fetch_refunds ' || wake_reversals.payment_id, 'fetch_disputes ' || wake_reversals.payment_id) and w.user_id is null;
end;

comment on function core.wake_reversals(uuid, text, timestamptz) is
  'Lets refunds and disputes that were heard of before their payment be fetched, now that it is known whose it is. Spec 6.4.';
--! EndIncluded billing/wake_reversals.sql
--! Included billing/take_payment.sql
create or replace function core.take_payment(user_id uuid, payment jsonb, session_id text, now timestamptz)
returns text
language plpgsql
set search_path = ''
as $$
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

comment on function core.take_payment(uuid, jsonb, text, timestamptz) is
  'Books a payment that succeeded: a pack''s, where purchase, amount and currency agree with our own row (session_id: the checkout that it '
  'was paid in, where asked); else it is asked whose invoice it paid. Returns why a person has to look at it, or null. The caller holds '
  'the user''s row. Spec 6.5.';
--! EndIncluded billing/take_payment.sql
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
  return core.take_invoice(take_invoice_payments.user_id, invoice, take_invoice_payments.payment_id, take_invoice_payments.now);
end
$$;

comment on function core.take_invoice_payments(uuid, text, jsonb, timestamptz) is
  'Takes Stripe''s answer to which invoice a payment paid: a subscription''s, or else it is asked for its checkout session. Returns why a '
  'person has to look at it, or null. The caller holds the user''s row. Spec 6.5.';
--! EndIncluded billing/take_invoice_payments.sql
--! Included billing/take_sessions.sql
create or replace function core.take_sessions(user_id uuid, payment_id text, result jsonb, now timestamptz)
returns text
language plpgsql
set search_path = ''
as $$
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

comment on function core.take_sessions(uuid, text, jsonb, timestamptz) is
  'Takes Stripe''s answer to which checkout session a payment was made in: that of one of our purchases, or a person has to look. Returns '
  'why, or null. The caller holds the user''s row. Spec 6.5.';
--! EndIncluded billing/take_sessions.sql
--! Included billing/take_reversals.sql
create or replace function core.take_reversals(user_id uuid, payment_id text, kind text, list jsonb, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
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

comment on function core.take_reversals(uuid, text, text, jsonb, timestamptz) is
  'Keeps a payment''s refunds or disputes as Stripe lists them now, by their ids, and settles what they take back. The caller holds the '
  'user''s row. Spec 4.6.';
--! EndIncluded billing/take_reversals.sql
drop function if exists core.take_list(text, jsonb, timestamptz);
--! Included billing/take_list.sql
create or replace function core.take_list(kind text, result jsonb, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
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

comment on function core.take_list(text, jsonb, timestamptz) is
  'Compares a list of Stripe''s with ours: events that it could not deliver are taken in, subscriptions that differ are fetched; each '
  'difference is kept in stripe_drift. Returns how many. Spec 6.6.';
--! EndIncluded billing/take_list.sql
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
      null; -- expire_session: what it did is known
  end case;
  return null;
end
$$;

comment on function core.apply_object(uuid, text, text, bigint, timestamptz, jsonb, timestamptz) is
  'Applies what Stripe answered to a piece of work, by its kind. Returns why a person has to look at it, or null. The caller holds the '
  'user''s row. Spec 6.4.';
--! EndIncluded billing/apply_object.sql
--! Included billing/end_session.sql
create or replace function core.end_session(user_id uuid, session_id text, how text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.checkouts c set status = end_session.how
  where c.user_id = end_session.user_id and c.session_id = end_session.session_id and c.status in ('begun', 'open');
  if end_session.how = 'expired' then
    update public.purchases p set status = 'expired'
    where p.user_id = end_session.user_id and p.stripe_checkout_session_id = end_session.session_id and p.status = 'pending';
  end if;
end
$$;

comment on function core.end_session(uuid, text, text) is
  'Notes that a checkout session is complete or expired. What was bought is told by payments, never by the session. Spec 6.1.';
--! EndIncluded billing/end_session.sql
--! Included billing/apply_event.sql
create or replace function core.apply_event(user_id uuid, event public.stripe_events, object jsonb, payment text, now timestamptz)
returns text
language plpgsql
set search_path = ''
as $$
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

comment on function core.apply_event(uuid, public.stripe_events, jsonb, text, timestamptz) is
  'What an event tells of one of our users, by its type: booked from its own object where that says all, else fetched. Returns why a person '
  'has to look at it, or null. The caller holds the user''s row. Spec 6.3, 6.4.';
--! EndIncluded billing/apply_event.sql
--! Included billing/store_stripe_event.sql
create or replace function api.store_stripe_event(event_id text, body text, livemode boolean, api_version text)
returns text
language plpgsql
security definer
set search_path = ''
as $$
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

comment on function api.store_stripe_event(text, text, boolean, text) is
  'Keeps an event whose signature was good, as it came, once. livemode and api_version are the server''s own: an event of the other mode, '
  'another account or context is kept for review. Returns stored, repeated, or pending (known, not applied yet). Spec 6.4, 6.5.';
--! EndIncluded billing/store_stripe_event.sql
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
  return event.status;
end
$$;

comment on function api.apply_stripe_event(text) is
  'Books what a stored event tells, once for each user and event, in whatever order events come. Returns applied, ignored (of no customer '
  'of ours) or needs_review. Locks the user''s row. Errors: PR404 unknown event. Spec 6.4, 6.5.';
--! EndIncluded billing/apply_stripe_event.sql
--! Included billing/fail_stripe_event.sql
create or replace function api.fail_stripe_event(event_id text, error text)
returns void
language plpgsql
security definer
set search_path = ''
as $$
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

comment on function api.fail_stripe_event(text, text) is 'Notes that an event could not be applied, and when it is tried again: ever later. Spec 6.5.';
--! EndIncluded billing/fail_stripe_event.sql
--! Included billing/claim_stripe_work.sql
create or replace function api.claim_stripe_work(most integer, only_work uuid default null)
returns table (work_id uuid, kind text, key text, parameters jsonb, ticket bigint, user_id uuid)
language plpgsql
security definer
set search_path = ''
as $$
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

comment on function api.claim_stripe_work(integer, uuid) is
  'Gives a server up to so many pieces of work that are due (only_work: just that one), for two minutes; a server that dies loses nothing. '
  'ticket: the order in which fetches began. Spec 6.4, 7.1.';
--! EndIncluded billing/claim_stripe_work.sql
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

comment on function api.finish_stripe_work(uuid, bigint, jsonb) is
  'Books what Stripe answered to a piece of work and takes it off the queue; one whose claim has passed to another server changes nothing. '
  'Locks the user''s row. Spec 6.4.';
--! EndIncluded billing/finish_stripe_work.sql
--! Included billing/fail_stripe_work.sql
create or replace function api.fail_stripe_work(work_id uuid, error text, is_final boolean)
returns void
language sql
security definer
set search_path = ''
begin atomic
  update public.stripe_work w set
    attempts = w.attempts + 1,
    error = left(fail_stripe_work.error, 2000),
    is_failed = fail_stripe_work.is_final,
    claimed_until = null,
    due_at = core.now() + least(interval '6 hours', interval '15 seconds' * power(2, least(w.attempts, 12)))
  where w.id = fail_stripe_work.work_id;
end;

comment on function api.fail_stripe_work(uuid, text, boolean) is
  'Notes that a piece of work could not be done: it is tried again, ever later, or, where that is final, kept for a person. Spec 6.4.';
--! EndIncluded billing/fail_stripe_work.sql
--! Included billing/stripe_limits.sql
create or replace function api.stripe_limits(out max_rps integer)
language sql
stable
security definer
set search_path = ''
begin atomic
  select s.stripe_max_rps from public.settings s;
end;

comment on function api.stripe_limits() is 'How many requests a second a server may send to Stripe (settings.stripe_max_rps). Spec 6.4.';
--! EndIncluded billing/stripe_limits.sql
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
  'Sets the price ids at Stripe of plans and packs, {"plans": {plan: id}, "packs": {pack: id}}; what is left out stays. Returns those that '
  'have one, with what each should cost (amount in cents of currency, interval null for once). Spec 2.4.';
--! EndIncluded billing/set_stripe_prices.sql
--! Included billing/compare_stripe_prices.sql
create or replace function api.compare_stripe_prices(prices jsonb, livemode boolean)
returns table (complaint text)
language sql
stable
security definer
set search_path = ''
begin atomic
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
  'interval, mode, active. Each row is one difference, in words that name both sides; none: they agree. Spec 2.4.';
--! EndIncluded billing/compare_stripe_prices.sql
--! Included billing/begin_customer.sql
create or replace function api.begin_customer(
  user_id uuid, livemode boolean, out customer_id text, out write_id uuid, out email text, out username text
)
language plpgsql
security definer
set search_path = ''
as $$
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

comment on function api.begin_customer(uuid, boolean) is
  'A user''s customer at Stripe in that mode; where customer_id is null it is to be made, with write_id as idempotency key, and then told to '
  'api.keep_customer. Errors: PR404 unknown user. Spec 6.1.';
--! EndIncluded billing/begin_customer.sql
--! Included billing/keep_customer.sql
create or replace function api.keep_customer(user_id uuid, customer_id text, livemode boolean)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
  kept text;
begin
  update public.stripe_customers c set customer_id = coalesce(c.customer_id, keep_customer.customer_id)
  where c.user_id = keep_customer.user_id and c.livemode = keep_customer.livemode
  returning c.customer_id into kept;
  return kept;
end
$$;

comment on function api.keep_customer(uuid, text, boolean) is
  'Keeps the customer that was made at Stripe, unless there is one already. Returns the one that counts; null without api.begin_customer '
  'before. Spec 6.1.';
--! EndIncluded billing/keep_customer.sql
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
  'Why nothing can be sold to a user now: purchases are switched off, or a lost dispute left a shortfall. Null: nothing stands in the '
  'way. Spec 3.6, 4.6.';
--! EndIncluded billing/refuse_sale.sql
--! Included billing/count_sale.sql
create or replace function core.count_sale(user_id uuid, now timestamptz)
returns json
language plpgsql
set search_path = ''
as $$
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

comment on function core.count_sale(uuid, timestamptz) is
  'Counts a checkout that is to be made in the user''s minute (settings.purchases_per_minute) and returns why it may not, or null. Spec 3.6.';
--! EndIncluded billing/count_sale.sql
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
--! Included billing/begin_purchase.sql
create or replace function api.begin_purchase(
  user_id uuid, pack text, success_url text, cancel_url text, livemode boolean,
  out outcome text, out refusal json, out purchase_id uuid, out credits bigint, out price numeric, out currency text, out parameters jsonb
)
language plpgsql
security definer
set search_path = ''
as $$
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

comment on function api.begin_purchase(uuid, text, text, text, boolean) is
  'Begins a purchase of a pack: our own row first. outcome: refused (pack_not_found, purchases_disabled, payment_disputed, rate_limited) or '
  'create (a checkout session of these parameters, purchase_id as idempotency key). price is US dollars. Errors: PR404 unknown user. Spec 6.2.';
--! EndIncluded billing/begin_purchase.sql
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
end
$$;

comment on function api.keep_checkout(uuid, uuid, text, text, timestamptz) is
  'Keeps the checkout session that Stripe made for a begun subscription or purchase. Spec 6.1, 6.2.';
--! EndIncluded billing/keep_checkout.sql
--! Included billing/end_checkout.sql
create or replace function api.end_checkout(user_id uuid, session_id text, how text)
returns void
language sql
security definer
set search_path = ''
begin atomic
  select core.end_session(end_checkout.user_id, end_checkout.session_id, end_checkout.how);
end;

comment on function api.end_checkout(uuid, text, text) is 'Notes that a checkout session is expired or complete. Spec 6.1.';
--! EndIncluded billing/end_checkout.sql
--! Included billing/current_subscription.sql
create or replace function core.current_subscription(user_id uuid)
returns public.subscriptions
language sql
stable
set search_path = ''
begin atomic
  select s
  from public.subscriptions s
  join public.subscription_states state on state.status = s.status
  where s.user_id = current_subscription.user_id and not s.superseded
  order by state.is_open desc, s.stripe_created_at desc nulls last, s.id desc
  limit 1;
end;

comment on function core.current_subscription(uuid) is 'The subscription that a user means: the open one, else the newest; null without any. Spec 6.1.';
--! EndIncluded billing/current_subscription.sql
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
    'price', p.monthly_price::text,
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
  left join public.plans p on p.plan = coalesce((s).plan, offer.plan)
  where u.id = read_subscription.user_id;
end;

comment on function api.read_subscription(uuid) is
  'A user''s subscription: is_active (it entitles now), status (Stripe''s word, null without any), plan, tier, price (US dollars a month), '
  'credits a month, cancel_at, current_period_end, paid_until, payment_problem {since, hosted_invoice_url}, and told, a sentence for the '
  'person. Null for an unknown user. Spec 6.1.';
--! EndIncluded billing/read_subscription.sql
--! Included billing/read_pricing.sql
create or replace function api.read_pricing(user_id uuid)
returns json
language sql
stable
security definer
set search_path = ''
begin atomic
  select json_build_object(
    'plan', offer.plan,
    'price', offer.price,
    'currency', 'USD',
    'interval', 'month',
    'credits', offer.credits,
    'is_org_member', offer.organization is not null,
    'org_name', offer.organization,
    'discount', case when offer.organization is null then 0 else round(100 * (1 - offer.price / nullif(full_price.price, 0))) end
  )
  from core.offer_of(read_pricing.user_id) offer
  cross join lateral (select max(p.monthly_price) as price from public.plans p where p.plan = 'prpm_plus_individual') full_price;
end;

comment on function api.read_pricing(uuid) is
  'What PRPM+ costs a user: plan, price (US dollars a month), credits a month, whether a verified organization makes it cheaper, and by how '
  'many percent (discount). Spec 2.4, 6.1.';
--! EndIncluded billing/read_pricing.sql
--! Included billing/list_packs.sql
create or replace function api.list_packs(user_id uuid)
returns json
language sql
stable
security definer
set search_path = ''
begin atomic
  select coalesce(json_agg(json_build_object(
    'id', p.pack,
    'name', initcap(p.pack) || ' pack',
    'credits', p.credits,
    'price', (p.price * 100)::integer,
    'price_formatted', '$' || to_char(p.price, 'FM999,990.00'),
    'per_credit_cost', round(p.price / p.credits, 3),
    'bonus', greatest(0, round(100 * (p.credits / p.price) / nullif(dearest.credits_per_dollar, 0) - 100)),
    'description', format('%s credits that never expire', p.credits),
    'popular', p.pack = 'medium'
  ) order by p.price), '[]')
  from public.packs p
  cross join (select min(x.credits / x.price) as credits_per_dollar from public.packs x where x.is_active) dearest
  where p.is_active and list_packs.user_id is not null;
end;

comment on function api.list_packs(uuid) is
  'Packs that can be bought: credits, price in cents, dollars a credit, and bonus, the percent of credits more than the dearest pack gives '
  'for the money. Spec 6.2.';
--! EndIncluded billing/list_packs.sql
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
begin
  perform from public.users x where x.id = begin_subscription_change.user_id for no key update;
  s := core.current_subscription(begin_subscription_change.user_id);
  select x.is_open into is_open from public.subscription_states x where x.status = s.status;
  if not coalesce(is_open, false) then
    outcome := 'refused';
    refusal := core.describe_refusal('no_subscription', 404, 'No active subscription found.', now);
    return;
  end if;
  parameters := case
    when action = 'cancel' and s.cancel_at is null then '{"cancel_at_period_end": true}'
    when action = 'resume' then nullif(
      case
        when s.cancel_at_period_end then '{"cancel_at_period_end": false}'::jsonb
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
--! Included billing/begin_portal.sql
create or replace function api.begin_portal(user_id uuid, livemode boolean, out outcome text, out refusal json, out customer_id text)
language plpgsql
stable
security definer
set search_path = ''
as $$
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

comment on function api.begin_portal(uuid, boolean) is
  'The customer whose portal a user may open. outcome: refused (no_customer) or ready. Spec 6.1.';
--! EndIncluded billing/begin_portal.sql
--! Included billing/reconcile_stripe.sql
create or replace function ops.reconcile_stripe(whole boolean default true)
returns table (kind text, due_at timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
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

comment on function ops.reconcile_stripe(boolean) is
  'Lets a server compare Stripe with us: events that Stripe could not deliver in 30 days and, whole, all subscriptions. What differs is '
  'repaired and kept in ops.stripe_drift. Call: select * from ops.reconcile_stripe(); Spec 6.6.';
--! EndIncluded billing/reconcile_stripe.sql
--! Included billing/ops_stripe_drift.sql
create or replace view ops.stripe_drift as
select d.found_at, d.kind, d.object, u.email, d.ours, d.theirs
from public.stripe_drift d
left join public.users u on u.id = d.user_id
order by d.id desc;

comment on view ops.stripe_drift is 'Where did Stripe and we differ? What reconciliation found and repaired, newest first. Spec 6.6.';
comment on column ops.stripe_drift.found_at is 'When.';
comment on column ops.stripe_drift.kind is 'subscription, or event: one that Stripe could not deliver.';
comment on column ops.stripe_drift.object is 'Stripe''s id.';
comment on column ops.stripe_drift.email is 'Whose, where known.';
comment on column ops.stripe_drift.ours is 'What we had; null: nothing.';
comment on column ops.stripe_drift.theirs is 'What Stripe has.';
--! EndIncluded billing/ops_stripe_drift.sql
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
  'Applies a stored event once more, by hand: what is booked already stays booked once. '
  'Call: select * from ops.replay_stripe_event(''evt_…'', ''price was missing''); Errors: PR404 unknown event, PR409 without its body, '
  'PR400 without a reason. Spec 6.5.';
--! EndIncluded billing/replay_stripe_event.sql
--! Included billing/retry_stripe_work.sql
create or replace function ops.retry_stripe_work(work_id uuid, reason text, dry_run boolean default false)
returns table (id uuid, kind text, key text, user_id uuid, attempts integer, error text, due_at timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
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

comment on function ops.retry_stripe_work(uuid, text, boolean) is
  'Lets a piece of work at Stripe that was given up be tried once more, by the next server that looks. '
  'Call: select * from ops.retry_stripe_work(''00000000-…'', ''price was set''); Errors: PR404 unknown or done, PR400 without a reason. Spec 6.5.';
--! EndIncluded billing/retry_stripe_work.sql
--! Included billing/stripe_review.sql
create or replace view ops.stripe_review as
select e.received_at as since, 'event' as kind, e.id as object, e.user_id, e.type as what, e.error as why,
  format('select * from ops.replay_stripe_event(%L, ''…'');', e.id) as what_to_do
from public.stripe_events e
where e.status = 'needs_review'
union all
select w.created_at, 'work', w.key, w.user_id, w.kind, w.error, format('select * from ops.retry_stripe_work(%L, ''…'');', w.id)
from public.stripe_work w
where w.is_failed
union all
select p.created_at, 'payment', p.id, p.user_id, p.kind, p.needs_review, 'Look at it in Stripe''s Dashboard: refund it, or grant by ops.grant_credits.'
from public.payments p
where p.needs_review is not null
order by 1 desc;

comment on view ops.stripe_review is 'What of Stripe''s news needs a person, newest first: events, work that cannot be done, payments of nothing we sold. Spec 6.5.';
comment on column ops.stripe_review.since is 'Since when.';
comment on column ops.stripe_review.kind is 'event, work or payment.';
comment on column ops.stripe_review.object is 'Stripe''s id.';
comment on column ops.stripe_review.user_id is 'Whose, where known.';
comment on column ops.stripe_review.what is 'Type of the event, kind of the work or payment.';
comment on column ops.stripe_review.why is 'What is wrong.';
comment on column ops.stripe_review.what_to_do is 'A call to paste, or what to look at.';
--! EndIncluded billing/stripe_review.sql
--! Included billing/reset_credits.sql
create or replace function ops.reset_credits()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
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

comment on function ops.reset_credits() is
  'Books what time has done to credits and entitlements: paid periods that are over, rollover and expiry that are due. Passes over users '
  'whose row is in use, those heal on use. Returns how many users it touched. Call: select ops.reset_credits(); Spec 4.3, 7.1.';
--! EndIncluded billing/reset_credits.sql
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

comment on function ops.align_prices() is
  'Queues a change of price for subscriptions whose owner has joined or left a verified organization since: charged from the next invoice '
  'on, nothing is prorated; the paid period keeps its plan. Returns how many. Call: select ops.align_prices(); Spec 2.4.';
--! EndIncluded billing/align_prices.sql
--! Included jobs/run_job.sql
create or replace function ops.run_job(job text, out slot timestamptz, out ran boolean, out rows_touched bigint, out error text)
language plpgsql
security definer
set search_path = ''
as $$
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

comment on function ops.run_job(text) is
  'Does a job''s due slot, once, whoever calls and however often; the result stands in job_runs. ran is false where the slot was done '
  'already. Call: select * from ops.run_job(''expire-holds''); Errors: PR404 unknown job. Spec 7.1, 7.2.';
--! EndIncluded jobs/run_job.sql
