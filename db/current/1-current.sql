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
  ('reset-credits', '1 day', '5 minutes', 'Ends entitlements and books rollover that are due: ops.reset_credits()')
on conflict do nothing;

drop function if exists core.apply_refund(uuid, uuid, numeric, timestamptz);
--! include credits/reversed_of.sql
--! include credits/take_back.sql
--! include credits/apply_refund.sql
--! include credits/apply_period_refund.sql
--! include credits/owes_credits.sql
--! include credits/tidy_lots.sql
--! include credits/grant_purchase.sql
drop function if exists core.grant_period(uuid, text, text, timestamptz, timestamptz, numeric, timestamptz);
--! include credits/restore_expired.sql
--! include credits/grant_period.sql
--! include credits/end_subscription.sql
--! include credits/audit_purchases.sql
--! include credits/audit_transfers.sql
--! include credits/audit_periods.sql
--! include credits/audit_lots.sql
--! include runs/audit_books.sql
--! include billing/want_work.sql
--! include billing/user_of_customer.sql
--! include billing/plan_of_price.sql
--! include billing/offer_of.sql
--! include billing/refresh_entitlement.sql
--! include billing/supersede_doubles.sql
--! include billing/settle_payment.sql
--! include billing/take_invoice.sql
--! include billing/take_subscription.sql
--! include billing/wake_reversals.sql
--! include billing/take_payment.sql
--! include billing/take_invoice_payments.sql
--! include billing/take_sessions.sql
--! include billing/take_reversals.sql
drop function if exists core.take_list(text, jsonb, timestamptz);
--! include billing/take_list.sql
--! include billing/apply_object.sql
--! include billing/end_session.sql
--! include billing/apply_event.sql
--! include billing/store_stripe_event.sql
--! include billing/apply_stripe_event.sql
--! include billing/fail_stripe_event.sql
--! include billing/claim_stripe_work.sql
--! include billing/finish_stripe_work.sql
--! include billing/fail_stripe_work.sql
--! include billing/stripe_limits.sql
--! include billing/set_stripe_prices.sql
--! include billing/compare_stripe_prices.sql
--! include billing/begin_customer.sql
--! include billing/keep_customer.sql
--! include billing/refuse_sale.sql
--! include billing/count_sale.sql
--! include billing/begin_subscribe.sql
--! include billing/begin_purchase.sql
--! include billing/keep_checkout.sql
--! include billing/end_checkout.sql
--! include billing/current_subscription.sql
--! include billing/read_subscription.sql
--! include billing/read_pricing.sql
--! include billing/list_packs.sql
--! include billing/begin_subscription_change.sql
--! include billing/begin_portal.sql
--! include billing/reconcile_stripe.sql
--! include billing/ops_stripe_drift.sql
--! include billing/replay_stripe_event.sql
--! include billing/retry_stripe_work.sql
--! include billing/stripe_review.sql
--! include billing/reset_credits.sql
--! include jobs/run_job.sql
