-- Room billing: reconciliation of payments, refunds and disputes; writes to one object in their order; functions of a screen each.
alter table public.stripe_work
  add column if not exists claimed_at timestamptz,
  add column if not exists is_write boolean not null default false,
  add column if not exists position bigint generated always as identity;
comment on column public.stripe_work.claimed_at is 'When it was claimed last: a fetch knows nothing that is newer.';
comment on column public.stripe_work.is_write is 'True: it changes an object at Stripe, after all older writes to that object.';
comment on column public.stripe_work.position is 'Order in which it was wanted.';
update public.stripe_work w set is_write = true where w.dedupe = w.id::text and not w.is_write;
create index if not exists stripe_work_key on public.stripe_work (key);
comment on column public.stripe_work.kind is
  'What to do: apply_event, fetch_…, list_… (a page of all), update_subscription, cancel_subscription, refund_payment, expire_session.';
comment on column public.stripe_work.key is 'The object''s id at Stripe, or the event''s; of a list all, or the id after which the page begins.';
comment on column public.stripe_work.parameters is 'Of a write, as Stripe takes them; of a list created_after (Unix seconds) and starting_after.';
alter table public.stripe_customers add column if not exists former_ids text[] not null default '{}';
comment on column public.stripe_customers.former_ids is 'Ids that it had before it was deleted at Stripe.';
create index if not exists stripe_customers_former on public.stripe_customers using gin (former_ids) where former_ids <> '{}';
comment on column public.stripe_drift.kind is
  'event: one that Stripe could not deliver; period: one that was paid, as nobody had told; subscription, payment, refund, dispute.';
comment on column public.stripe_drift.object is 'Stripe''s id; of a period its invoice''s.';
comment on column public.stripe_drift.ours is 'What we had; null: nothing.';
comment on column public.stripe_drift.theirs is 'What Stripe has; null: nothing.';

drop function if exists core.take_list(text, jsonb, timestamptz);
drop function if exists core.grant_period(uuid, text, text, timestamptz, timestamptz, numeric, timestamptz, timestamptz);
drop function if exists ops.reconcile_stripe(boolean);
drop function if exists api.begin_customer(uuid, boolean);

--! include credits/rollover_ends_at.sql
--! include credits/roll_over.sql
--! include credits/tidy_lots.sql
--! include credits/grant_period.sql
--! include credits/end_subscription.sql
--! include billing/want_work.sql
--! include billing/refund_second.sql
--! include billing/supersede_doubles.sql
--! include billing/payment_patience.sql
--! include billing/news_patience.sql
--! include billing/period_of_invoice.sql
--! include billing/note_unpaid.sql
--! include billing/book_period.sql
--! include billing/link_payment.sql
--! include billing/take_invoice.sql
--! include billing/describe_subscription.sql
--! include billing/miss_subscription.sql
--! include billing/weigh_subscription.sql
--! include billing/store_subscription.sql
--! include billing/note_found_periods.sql
--! include billing/await_period.sql
--! include billing/take_subscription.sql
--! include billing/wake_reversals.sql
--! include billing/take_events.sql
--! include billing/compare_subscriptions.sql
--! include billing/compare_payments.sql
--! include billing/compare_reversals.sql
--! include billing/take_page.sql
--! include billing/claim_stripe_work.sql
--! include billing/finish_stripe_work.sql
--! include billing/fail_stripe_work.sql
--! include billing/ask_for_due_periods.sql
--! include billing/reconcile_stripe.sql
--! include billing/ops_stripe_drift.sql
--! include billing/align_prices.sql
--! include billing/begin_customer.sql
--! include billing/renew_customer.sql
--! include billing/user_of_customer.sql
--! include billing/forget_customer.sql
--! include billing/api_forget_customer.sql
--! include billing/apply_event.sql
