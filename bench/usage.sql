-- People and runs for the bench of the analytics, set by set: what a refresh reads, and nothing else of the books.
insert into public.packages (id, name, author_id, latest_version)
select ('00000000-0000-4000-8000-00000000aab' || i)::uuid, 'bench-' || i, '00000000-0000-4000-8000-000000000001', '1.0.0'
from generate_series(0, 4) i;

create function bench_fill_people(n bigint) returns void language sql
begin atomic
  insert into public.users (id, username, month_ends_at, day_ends_at, hour_ends_at, minute_ends_at, created_at, updated_at)
  select bench_user(i), 'user' || i, date_trunc('month', now()) + interval '1 month', date_trunc('day', now()) + interval '1 day',
    date_trunc('hour', now()) + interval '1 hour', now(), now(), now()
  from generate_series(1, n) i;
end;

-- Of each user the hours from .. upto, a run each: three models, a package a user. Hour 0 is a month ago.
create function bench_fill_usage(hours_from bigint, hours_upto bigint, users bigint) returns void language plpgsql as $$
begin
  insert into public.runs (user_id, id, session_id, status, model, provider_model, package_id, package_version, baseline, tier_name,
    price_id, credit_multiplier, prompt_multiplier, tokens_per_credit, estimated_input, question_tokens, estimate_is_exact, output_cap,
    hold_included, hold_purchased, hold_cost, hold_expires_at, input_tokens, cached_tokens, cache_write_tokens, output_tokens, estimated,
    cost, limited_cost, credits, shortfall, credits_by_kind, included_value, first_token_ms, duration_ms, started_at, finished_at)
  select bench_user(u), x.id, x.id, 'completed', p.model, 'past', ('00000000-0000-4000-8000-00000000aab' || u % 5)::uuid, '1.0.0', false, 'free',
    p.id, 1, 1, 5000, 1131, 120, false, 4096, 2, 0, 0.07, x.at, 1100, 500, 100, 300, false,
    p.cost, p.cost, 1, 0, '{"monthly": 1}', 0.06, 400, 2000, x.at, x.at
  from generate_series(1, users) u
  cross join generate_series(hours_from, hours_upto) i
  cross join lateral (
    select t.at, (lpad(to_hex((extract(epoch from t.at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(u), 19, '0'))::uuid as id
    from (select now() - interval '30 days' + interval '1 hour' * i as at) t
  ) x
  join (
    select m.model, m.id, core.cost_of(1100, 500, 100, 300, m.input, m.cached_read, m.cache_write, m.output) as cost, m.place
    from (select q.*, row_number() over (order by q.model) - 1 as place from public.model_prices q where q.valid @> now()) m
  ) p on p.place = i % 3;
  update public.users x set
    last_run_id = r.id, last_request_at = r.started_at, total_requests = x.total_requests + hours_upto - hours_from + 1,
    current_month_requests = x.current_month_requests + 1, current_month_api_cost = x.current_month_api_cost + r.cost,
    lifetime_api_cost = x.lifetime_api_cost + r.cost
  from public.users u
  cross join lateral (select y.id, y.started_at, y.cost from public.runs y where y.user_id = u.id order by y.id desc limit 1) r
  where u.id = x.id;
end
$$;
