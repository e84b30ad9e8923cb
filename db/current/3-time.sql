-- Prices that plans had: who has subscribed keeps theirs.
create table if not exists public.plan_prices (
  stripe_price_id text primary key,
  plan text not null references public.plans,
  monthly_price numeric(12, 2),
  noted_at timestamptz not null
);
comment on table public.plan_prices is
  'config. Prices at Stripe that plans have or had: a subscription keeps the price that it was bought at (spec 2.4). Kept by the server.';
comment on column public.plan_prices.stripe_price_id is 'Stripe''s id of the price.';
comment on column public.plan_prices.plan is 'The plan that it sells.';
comment on column public.plan_prices.monthly_price is 'US dollars a month, as Stripe has it; null: not asked yet.';
comment on column public.plan_prices.noted_at is 'First sight.';
grant select on public.plan_prices to prpm_readonly;
--! include billing/plan_of_price.sql
--! include billing/note_plan_prices.sql
do $$
begin
  perform core.note_plan_prices();
  insert into public.plan_prices (stripe_price_id, plan, noted_at)
  select distinct on (s.price_id) s.price_id, s.plan, core.now()
  from public.subscriptions s
  where s.price_id is not null
  order by s.price_id, s.updated_at desc
  on conflict on constraint plan_prices_pkey do nothing;
end
$$;
--! include billing/set_stripe_prices.sql
--! include billing/compare_stripe_prices.sql
--! include billing/begin_subscribe.sql
--! include billing/align_prices.sql
--! include billing/read_subscription.sql
--! include alerts/price_raises.sql

-- Months that are over.
--! include analytics/people_this_month.sql
--! include analytics/people_back_then.sql
--! include analytics/month_figures.sql
