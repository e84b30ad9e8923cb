-- Rooms credits and billing: lots, transfers, subscriptions, purchases.

create table if not exists public.credit_lots (
  user_id uuid not null,
  id uuid not null,
  kind text not null,
  granted bigint not null,
  remaining bigint not null check (remaining >= 0),
  expires_at timestamptz not null default 'infinity',
  paid_per_credit numeric not null default 0,
  source text not null,
  source_id text not null,
  period_start timestamptz,
  period_end timestamptz,
  rolls_into uuid,
  created_at timestamptz not null,
  primary key (user_id, id),
  unique (user_id, source, source_id)
);
comment on table public.credit_lots is
  'per-user. Where credits came from and how many are left. Spent in the order monthly, rollover, signup, bonus, purchased; '
  'in a kind earliest expiry first, then oldest (spec 4.1).';
comment on column public.credit_lots.user_id is 'Whose they are.';
comment on column public.credit_lots.id is 'Names the lot.';
comment on column public.credit_lots.kind is 'monthly, rollover, signup, bonus or purchased.';
comment on column public.credit_lots.granted is 'Credits that it began with.';
comment on column public.credit_lots.remaining is 'Credits left in it; a cached figure, changed with its transfers.';
comment on column public.credit_lots.expires_at is 'From then on not spendable, but by runs that hold it; infinity: never.';
comment on column public.credit_lots.paid_per_credit is 'US dollars of cash that were paid for each credit.';
comment on column public.credit_lots.source is 'signup, subscription, rollover, purchase, operator, …: what granted it.';
comment on column public.credit_lots.source_id is 'Which one; (user_id, source, source_id) is granted once.';
comment on column public.credit_lots.period_start is 'Start of the billing period of a monthly lot, or of the period that a rollover lot comes from.';
comment on column public.credit_lots.period_end is 'Its end.';
comment on column public.credit_lots.rolls_into is 'The rollover lot that takes what a running run still holds here (spec 4.5).';
comment on column public.credit_lots.created_at is 'When it was granted.';

create table if not exists public.credit_transactions (
  user_id uuid not null,
  id bigint not null,
  type text not null,
  debit text not null,
  credit text not null,
  amount bigint not null,
  balance_after bigint not null,
  lot_id uuid not null,
  run_id uuid,
  purchase_id uuid,
  subscription_id text,
  description text,
  actor text,
  created_at timestamptz not null,
  primary key (user_id, id)
);
comment on table public.credit_transactions is
  'per-user. Append-only: each row is a transfer of credits from account debit to account credit. Accounts: issued, lot, '
  'spent, expired, clawed_back. Into lots less out of lots is the balance (spec 4.2).';
comment on column public.credit_transactions.user_id is 'Whose books.';
comment on column public.credit_transactions.id is 'Counter of that user''s transfers, without gaps, from 1.';
comment on column public.credit_transactions.type is 'signup, monthly, purchase, spend, rollover, expire, refund, bonus or admin.';
comment on column public.credit_transactions.debit is 'Account that the credits leave.';
comment on column public.credit_transactions.credit is 'Account that they go to.';
comment on column public.credit_transactions.amount is 'Credits, above 0.';
comment on column public.credit_transactions.balance_after is 'Credits in all lots after it.';
comment on column public.credit_transactions.lot_id is 'The lot that they leave or enter.';
comment on column public.credit_transactions.run_id is 'The run that spent them, or null.';
comment on column public.credit_transactions.purchase_id is 'The purchase that they belong to, or null.';
comment on column public.credit_transactions.subscription_id is 'The subscription that they belong to, or null.';
comment on column public.credit_transactions.description is 'In words.';
comment on column public.credit_transactions.actor is 'The database role of the operator who did it by hand, or null.';
comment on column public.credit_transactions.created_at is 'When.';

create table if not exists public.subscriptions (
  user_id uuid not null,
  id text not null,
  plan text not null references public.plans (plan),
  status text not null,
  current_period_start timestamptz,
  current_period_end timestamptz,
  paid_until timestamptz,
  cancel_at timestamptz,
  ended_at timestamptz,
  monthly_amount numeric(12, 2) not null default 0 check (monthly_amount >= 0),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (user_id, id)
);
comment on table public.subscriptions is 'per-user. PRPM+ subscriptions as Stripe knows them.';
comment on column public.subscriptions.user_id is 'Who subscribed.';
comment on column public.subscriptions.id is 'Stripe''s id.';
comment on column public.subscriptions.plan is 'What was bought.';
comment on column public.subscriptions.status is 'Stripe''s own word.';
comment on column public.subscriptions.current_period_start is 'Start of the period that Stripe is in.';
comment on column public.subscriptions.current_period_end is 'Its end.';
comment on column public.subscriptions.paid_until is 'End of the last period that is paid.';
comment on column public.subscriptions.cancel_at is 'When it ends by the customer''s wish, or null.';
comment on column public.subscriptions.ended_at is 'When it ended, or null.';
comment on column public.subscriptions.monthly_amount is 'US dollars that it pays a month.';
comment on column public.subscriptions.created_at is 'First sight.';
comment on column public.subscriptions.updated_at is 'Last change.';

create table if not exists public.purchases (
  user_id uuid not null,
  id uuid not null,
  pack text not null references public.packs (pack),
  credits bigint not null check (credits > 0),
  price numeric(12, 2) not null check (price > 0),
  status text not null default 'pending' check (status in ('pending', 'paid', 'refunded', 'partly_refunded', 'failed', 'expired', 'needs_review')),
  paid_amount numeric(12, 2) check (paid_amount > 0),
  refunded_amount numeric(12, 2) not null default 0 check (refunded_amount >= 0),
  credits_taken_back bigint not null default 0 check (credits_taken_back >= 0),
  shortfall bigint not null default 0 check (shortfall >= 0),
  stripe_payment_intent_id text,
  stripe_checkout_session_id text,
  created_at timestamptz not null,
  paid_at timestamptz,
  primary key (user_id, id)
);
comment on table public.purchases is 'per-user. Packs bought: what was promised, paid, refunded and taken back (spec 4.6, 6.2).';
comment on column public.purchases.user_id is 'Who bought.';
comment on column public.purchases.id is 'Our own id; the idempotency key at Stripe.';
comment on column public.purchases.pack is 'What.';
comment on column public.purchases.credits is 'Credits promised.';
comment on column public.purchases.price is 'US dollars asked.';
comment on column public.purchases.status is 'pending, paid, partly_refunded, refunded, failed, expired or needs_review.';
comment on column public.purchases.paid_amount is 'US dollars received.';
comment on column public.purchases.refunded_amount is 'US dollars of refunds that neither failed nor were canceled.';
comment on column public.purchases.credits_taken_back is 'Credits taken back from its lot for refunds.';
comment on column public.purchases.shortfall is 'Credits that should have been taken back but were spent already.';
comment on column public.purchases.stripe_payment_intent_id is 'Stripe''s id, or null.';
comment on column public.purchases.stripe_checkout_session_id is 'Stripe''s id, or null.';
comment on column public.purchases.created_at is 'When it was begun.';
comment on column public.purchases.paid_at is 'When it was paid.';
