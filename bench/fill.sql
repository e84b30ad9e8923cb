-- What the benches fill a database with: users with three lots each, a package with a prompt of 4 kB, and past runs.
insert into public.packages (id, name, author_id, latest_version)
values ('00000000-0000-4000-8000-00000000aaaa', 'bench', '00000000-0000-4000-8000-000000000001', '1.0.0')
on conflict do nothing;
insert into public.package_versions (package_id, version, prompt, tokens_o200k, tokens_cl100k, tokens_approximate, published_by)
values ('00000000-0000-4000-8000-00000000aaaa', '1.0.0', repeat('prompt ', 585), 900, 900, 1000, '00000000-0000-4000-8000-000000000001')
on conflict do nothing;

create function bench_user(n bigint) returns uuid language sql immutable
return ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid;

-- A run's id as a server makes it: milliseconds first, then chance.
create function bench_run(n bigint) returns uuid language sql volatile
return (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n), 19, '0'))::uuid;

create function bench_fill_users(n bigint) returns void language plpgsql as $$
declare
  now timestamptz := core.now();
  i bigint;
begin
  for i in 1 .. n loop
    perform core.create_user(bench_user(i), 'user' || i, null, 'bench/' || i);
    perform core.grant_lot(bench_user(i), 'monthly', 100000, 'monthly', 'subscription', 'sub/1', now, now + interval '20 days',
      0.06, now, now + interval '20 days');
    insert into public.purchases (user_id, id, pack, credits, price, created_at)
    values (bench_user(i), bench_user(i), 'large', 600, 20.00, now);
    perform core.grant_purchase(bench_user(i), bench_user(i), 20.00, now);
  end loop;
  update public.users set tier_override = 'unlimited';
end
$$;

-- Runs of the past as the books would hold them: one a session, one credit each from the monthly lot, texts of a line.
create function bench_fill_runs(n bigint, users bigint) returns void language plpgsql as $$
declare
  price uuid := (select id from public.model_prices where model = 'sonnet' and valid @> now());
  per_user bigint := n / users;
  run_cost numeric;
begin
  select core.cost_of(1100, 0, 0, 300, p.input, p.cached_read, p.cache_write, p.output) into run_cost
  from public.model_prices p where p.id = price;
  create temporary table past on commit drop as
    select bench_user(u) as user_id,
      (lpad(to_hex((extract(epoch from now() - interval '1 hour' * (per_user - i + 1)) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(u), 19, '0'))::uuid as id,
      now() - interval '1 hour' * (per_user - i + 1) as at, i
    from generate_series(1, per_user) i, generate_series(1, users) u;
  analyze past;
  insert into public.runs (user_id, id, session_id, status, model, provider_model, package_id, package_version, baseline, tier_name,
    price_id, credit_multiplier, prompt_multiplier, tokens_per_credit, estimated_input, question_tokens, estimate_is_exact, output_cap,
    hold_included, hold_purchased, hold_cost, hold_expires_at, input_tokens, cached_tokens, cache_write_tokens, output_tokens, estimated,
    cost, limited_cost, credits, shortfall, credits_by_kind, included_value, first_token_ms, duration_ms, started_at, finished_at)
  select user_id, id, id, 'completed', 'sonnet', 'past', '00000000-0000-4000-8000-00000000aaaa', '1.0.0', false, 'unlimited',
    price, 1, 1, 5000, 1131, 120, false, 4096, 2, 0, 0.07, at, 1100, 0, 0, 300, false, run_cost, run_cost, 1, 0, '{"monthly": 1}', 0.06, 400, 2000, at, at
  from past;
  insert into public.sessions (user_id, id, package_id, last_run_id, created_at, last_run_at)
  select user_id, id, '00000000-0000-4000-8000-00000000aaaa', id, at, at from past;
  insert into public.run_texts (user_id, session_id, run_id, question, answer) select user_id, id, id, 'a question', 'an answer' from past;
  insert into public.credit_transactions (user_id, id, type, debit, credit, amount, balance_after, lot_id, run_id, created_at)
  select past.user_id, u.transaction_count + past.i, 'spend', 'lot', 'spent', 1, u.included_credits + u.purchased_credits - past.i,
    u.spend_lot, past.id, past.at
  from past join public.users u on u.id = past.user_id;
  update public.credit_lots l set remaining = l.remaining - per_user, cost = l.cost + per_user * run_cost
  from public.users u where u.id = l.user_id and u.spend_lot = l.id;
  update public.users u set
    transaction_count = u.transaction_count + per_user, included_credits = u.included_credits - per_user,
    total_requests = per_user, lifetime_api_cost = per_user * run_cost,
    current_month_requests = recent.month_runs,
    current_month_api_cost = recent.month_runs * run_cost, current_month_limited_cost = recent.month_runs * run_cost,
    current_day_api_cost = recent.day_runs * run_cost, current_day_limited_cost = recent.day_runs * run_cost,
    last_request_at = now() - interval '1 hour',
    last_run_id = recent.newest::uuid
  from (
    select x.id,
      max(past.id::text) as newest,
      count(*) filter (where past.at >= x.month_ends_at - interval '1 month') as month_runs,
      count(*) filter (where past.at >= x.day_ends_at - interval '1 day') as day_runs
    from past join public.users x on x.id = past.user_id
    group by x.id
  ) recent
  where u.id = recent.id;
end
$$;

-- An event of Stripe's about a user's subscription, as it is signed: the subscription of today, changed a moment ago.
create function bench_event(id text, n bigint, created bigint) returns text language sql stable
return jsonb_build_object(
  'id', id, 'object', 'event', 'type', 'customer.subscription.updated', 'created', created, 'livemode', false, 'api_version', 'bench',
  'data', jsonb_build_object('object', jsonb_build_object(
    'id', 'sub_' || n, 'object', 'subscription', 'customer', 'cus_' || n, 'status', 'active', 'created', 1700000000,
    'cancel_at', null, 'cancel_at_period_end', created % 2 = 0, 'canceled_at', null, 'ended_at', null, 'trial_end', null,
    'pause_collection', null, 'latest_invoice', 'in_' || n, 'livemode', false, 'metadata', jsonb_build_object('user_id', bench_user(n)),
    'items', jsonb_build_object('object', 'list', 'data', jsonb_build_array(jsonb_build_object(
      'id', 'si_' || n, 'object', 'subscription_item', 'quantity', 1, 'price', jsonb_build_object('id', 'price_bench', 'unit_amount', 600),
      'current_period_start', extract(epoch from date_trunc('month', now()))::bigint,
      'current_period_end', extract(epoch from date_trunc('month', now()) + interval '1 month')::bigint
    )))
  ))
)::text;

create function bench_fill_customers(n bigint) returns void language plpgsql as $$
begin
  update public.plans set stripe_price_id = 'price_bench' where plan = 'prpm_plus_individual';
  insert into public.stripe_customers (user_id, livemode, customer_id, created_at)
  select bench_user(i), false, 'cus_' || i, now() from generate_series(1, n) i;
  insert into public.subscriptions (user_id, id, plan, status, stripe_created_at, created_at, updated_at, paid_until)
  select bench_user(i), 'sub_' || i, 'prpm_plus_individual', 'active', now(), now(), now(), date_trunc('month', now()) + interval '1 month'
  from generate_series(1, n) i;
  insert into public.subscription_periods (user_id, subscription_id, period_start, period_end, plan, state, created_at, paid_at)
  select bench_user(i), 'sub_' || i, date_trunc('month', now()), date_trunc('month', now()) + interval '1 month', 'prpm_plus_individual', 'paid', now(), now()
  from generate_series(1, n) i;
end
$$;

-- Texts of 150 words each, some frequent and most rare.
create function bench_fill_words() returns void language sql as $$
update public.run_texts t set question = words.asked, answer = words.answered
from (
  select r.user_id, r.id,
    string_agg('word' || w.which, ' ') filter (where n <= 30) as asked,
    string_agg('word' || w.which, ' ') filter (where n > 30) as answered
  from public.runs r
  cross join generate_series(1, 150) n
  cross join lateral (select abs(hashtextextended(r.id::text, n) % (5 + 20000 / (n % 20 + 1))) as which) w
  group by r.user_id, r.id
) words
where t.user_id = words.user_id and t.run_id = words.id;
$$;

-- Packages: names of a verb, a noun and a number, a description of common and rare words, and two tags.
create function bench_fill_packages(n bigint) returns void language sql as $$
  with lists as (
    select
      array['review','explain','write','summarise','translate','test','plan','refactor','document','check','convert','generate','improve','fix',
        'shorten','rewrite','classify','extract','compare','design','estimate','outline','teach','debug','audit','draft','grade','format','merge','trace'] as verbs,
      array['code','sql','database','meeting','email','test','commit','readme','api','schema','regex','query','poem','story','report','ticket','incident',
        'changelog','resume','contract','lesson','recipe','budget','roadmap','survey','interview','release','issue','config','script','notebook','dashboard'] as nouns
  )
  insert into public.packages (name, author_id, latest_version, description, tags)
  select
    format('%s-%s-%s', verbs[1 + i % cardinality(verbs)], nouns[1 + i / cardinality(verbs) % cardinality(nouns)], i / (cardinality(verbs) * cardinality(nouns))),
    '00000000-0000-4000-8000-000000000001', '1.0.0',
    format('Helps to %s a %s, with %s %s %s and %s for teams.', verbs[1 + i % cardinality(verbs)], nouns[1 + (i * 7) % cardinality(nouns)],
      'word' || (i * 31 % 20000), 'word' || (i * 17 % 2000), 'word' || (i % 200), 'word' || (i % 20)),
    array[nouns[1 + (i * 3) % cardinality(nouns)], verbs[1 + (i * 5) % cardinality(verbs)]]
  from lists, generate_series(0, n - 1) i
$$;
