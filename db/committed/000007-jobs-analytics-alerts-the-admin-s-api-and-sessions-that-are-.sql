--! Previous: sha1:e31d58c556c8ffa9a2a69ac8532a080cb82ced37
--! Hash: sha1:40c7b9814d6212ac1f4887984a433b6f95614d94
--! AllowInvalidHash
--! Message: jobs, analytics, alerts, the admin's API, and sessions that are searched and shared

--! split: 1-current.sql
-- What each run was paid with, in cash, and what each lot's credits have paid for: margin is known when a run ends.
alter table public.jobs add column if not exists call text;
comment on column public.jobs.call is 'The function of schema ops that does it, without parameters; it returns how many rows it touched.';

--! Included catalog/share_of_cost.sql
create or replace function core.share_of_cost(cost numeric, upto bigint, part bigint, due bigint)
returns numeric
language sql
immutable
parallel safe
begin atomic
  select case when upto = due and part = due then cost
    else case when upto = due then cost else round(cost * upto / due, 12) end - round(cost * (upto - part) / due, 12) end;
end;

comment on function core.share_of_cost(numeric, bigint, bigint, bigint) is
  'US dollars of a run''s cost that one of its payments bears: part credits of the due ones, the last of the first upto. The shares of all '
  'payments add up to the cost, to the last digit. Spec 8.4.';
--! EndIncluded catalog/share_of_cost.sql
do $$
begin
  if not exists (
    select from pg_catalog.pg_attribute a where a.attrelid = 'public.runs'::regclass and a.attname = 'included_value'
  ) then
    -- From 15.20 on, PostgreSQL adds no column with a default to a table whose rows a SQL function takes.
    -- While its body is a text it does not count; it comes anew below.
    create or replace function core.write_receipt(r public.runs, u public.users, l public.cost_limits_config)
    returns core.receipt language sql stable as 'select null::core.receipt';
    alter table public.runs
      add column included_value numeric not null default 0,
      add column purchased_value numeric not null default 0;
    alter table public.credit_lots add column cost numeric not null default 0;

    update public.runs r set included_value = v.included, purchased_value = v.purchased
    from (
      select
        t.user_id, t.run_id,
        coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind <> 'purchased'), 0) as included,
        coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind = 'purchased'), 0) as purchased
      from public.credit_transactions t
      cross join lateral (select case when t.debit = 'lot' then t.amount else -t.amount end as change) x
      join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
      where t.run_id is not null
      group by t.user_id, t.run_id
    ) v
    where r.user_id = v.user_id and r.id = v.run_id and (v.included <> 0 or v.purchased <> 0);

    update public.credit_lots l set cost = f.cost
    from (
      select s.user_id, s.lot_id, sum(core.share_of_cost(r.cost, s.upto, s.amount, r.credits + r.shortfall)) as cost
      from (
        select
          t.user_id, t.run_id, t.lot_id, t.amount, t.id,
          sum(case when t.debit = 'lot' then t.amount else -t.amount end) over (partition by t.user_id, t.run_id order by t.id)::bigint as upto,
          coalesce(max(t.id) filter (where t.credit = 'lot') over (partition by t.user_id, t.run_id), 0) as given_back
        from public.credit_transactions t
        where t.run_id is not null
      ) s
      join public.runs r on r.user_id = s.user_id and r.id = s.run_id
      where s.id > s.given_back and r.credits + r.shortfall > 0
      group by s.user_id, s.lot_id
    ) f
    where l.user_id = f.user_id and l.id = f.lot_id;
  end if;
end
$$;
comment on column public.runs.included_value is 'US dollars of cash that had been paid for the credits it spent that were not purchased.';
comment on column public.runs.purchased_value is 'US dollars of cash that had been paid for the purchased credits it spent.';
comment on column public.credit_lots.cost is 'US dollars of provider cost that its credits have paid for; a cached figure.';

alter table public.runs add column if not exists refunded_by_kind jsonb;
comment on column public.runs.refunded_by_kind is 'Credits by kind of lot that had paid it when it was refunded, or null.';

drop function if exists core.spend_lots(public.users, uuid, bigint, bigint, timestamptz);
--! Included credits/spend_lots.sql
create or replace function core.spend_lots(
  u public.users, run_id uuid, from_included bigint, from_purchased bigint, cost numeric, due bigint, now timestamptz,
  out by_kind jsonb, out included_value numeric, out purchased_value numeric, out transaction_count bigint, out spend_lot uuid, out next_lot_expiry timestamptz
)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  lot record;
  owed bigint[] := array[from_included, from_purchased];
  class integer;
  part bigint;
  taken bigint := 0;
  balance bigint := u.included_credits + u.purchased_credits;
begin
  by_kind := '{}';
  included_value := 0;
  purchased_value := 0;
  transaction_count := u.transaction_count;
  next_lot_expiry := 'infinity';

  for lot in
    select l.id, l.kind, l.remaining, l.expires_at, l.paid_per_credit
    from public.credit_lots l
    where l.user_id = u.id and l.remaining > 0
    order by core.spend_rank(l.kind), l.expires_at, l.created_at, l.id
  loop
    class := case when lot.kind = 'purchased' then 2 else 1 end;
    part := least(owed[class], lot.remaining);
    if part > 0 then
      owed[class] := owed[class] - part;
      taken := taken + part;
      if class = 1 then
        included_value := included_value + part * lot.paid_per_credit;
      else
        purchased_value := purchased_value + part * lot.paid_per_credit;
      end if;
      balance := balance - part;
      transaction_count := transaction_count + 1;
      by_kind := jsonb_set(by_kind, array[lot.kind], to_jsonb(part + coalesce((by_kind ->> lot.kind)::bigint, 0)));
      update public.credit_lots l
      set remaining = l.remaining - part, cost = l.cost + core.share_of_cost(spend_lots.cost, taken, part, due)
      where l.user_id = u.id and l.id = lot.id;
      insert into public.credit_transactions
        (user_id, id, type, debit, credit, amount, balance_after, lot_id, run_id, created_at)
      values (u.id, transaction_count, 'spend', 'lot', 'spent', part, balance, lot.id, spend_lots.run_id, now);
    end if;
    if lot.remaining > part then
      spend_lot := coalesce(spend_lot, lot.id);
      next_lot_expiry := least(next_lot_expiry, lot.expires_at);
    end if;
  end loop;

  if owed <> array[0, 0]::bigint[] then
    raise exception 'user % has fewer credits in lots than the books say', u.id using errcode = 'PR500';
  end if;
  if u.next_lot_expiry = '-infinity' then
    next_lot_expiry := '-infinity';
  end if;
end
$$;

comment on function core.spend_lots(public.users, uuid, bigint, bigint, numeric, bigint, timestamptz) is
  'Takes credits from a user''s lots in the order of spending, a transfer for each lot, each bearing its share of the run''s cost (US '
  'dollars; due: all credits that the run is charged). Answers by kind what was taken, the cash that had been paid for it, the last '
  'transfer''s number, and which lot is next. The caller holds the user''s row and stores the answer in it. Errors: PR500 if the lots '
  'hold less than the user''s figures say. Spec 4.1, 4.2.';
--! EndIncluded credits/spend_lots.sql
--! Included runs/settle_run.sql
create or replace function api.settle_run(
  user_id uuid, run_id uuid, ending text, called boolean,
  input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean,
  question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer
)
returns core.receipt
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  s record;
  u public.users;
  r public.runs;
  l public.cost_limits_config;
  p record;
  spent record;
  now timestamptz;
  charged boolean;
  checkpointed boolean;
  due bigint := 0;
  from_included bigint := 0;
  from_purchased bigint := 0;
  over bigint;
  lot_kind text;
  lot_price numeric;
  lot_cost numeric;
begin
  select x.clock_offset, x.min_output_tokens into s from public.settings x;
  u := (select x from public.users x where x.id = settle_run.user_id for no key update);
  r := (select x from public.runs x where x.user_id = settle_run.user_id and x.id = settle_run.run_id);
  if r.id is null then
    raise exception 'run % of user % is unknown', settle_run.run_id, settle_run.user_id using errcode = 'PR404', detail = 'run_id';
  end if;
  now := clock_timestamp() + s.clock_offset;
  if r.status <> 'running' then
    return core.settle_again(
      r, ending, called, settle_run.input_tokens, settle_run.cached_tokens, settle_run.cache_write_tokens, settle_run.output_tokens,
      settle_run.estimated, question, answer, settle_run.error, settle_run.error_reason, settle_run.first_token_ms, settle_run.duration_ms, now
    );
  end if;
  if u.next_lot_expiry <= now then
    perform core.tidy_lots(u.id, now);
    u := (select x from public.users x where x.id = settle_run.user_id);
  end if;
  if now >= least(u.hour_ends_at, u.day_ends_at, u.month_ends_at) then
    u := core.roll_windows(u, now);
  end if;
  l := (
    select x from public.cost_limits_config x
    where x.tier_name = core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now)
  );
  if not l.is_active then
    l := core.find_limits(l.tier_name);
  end if;

  -- What it used and cost.
  checkpointed := r.output_tokens is not null;
  charged := coalesce(answer, '') <> '' or ending in ('completed', 'length') or ending = 'stopped' and called;
  select x.input, x.cached_read, x.cache_write, x.output into p from public.model_prices x where x.id = r.price_id;
  if called then
    r.cached_tokens := greatest(0, coalesce(settle_run.cached_tokens, 0));
    r.cache_write_tokens := greatest(0, coalesce(settle_run.cache_write_tokens, 0));
    r.input_tokens := greatest(coalesce(settle_run.input_tokens, r.estimated_input), r.cached_tokens + r.cache_write_tokens);
    r.output_tokens := greatest(0, coalesce(settle_run.output_tokens, 0));
    r.estimated := settle_run.estimated or settle_run.input_tokens is null;
    r.cost := core.cost_of(
      r.input_tokens, r.cached_tokens, r.cache_write_tokens, r.output_tokens, p.input, p.cached_read, p.cache_write, p.output
    );
  else
    r.input_tokens := 0;
    r.cached_tokens := 0;
    r.cache_write_tokens := 0;
    r.output_tokens := 0;
    r.cost := 0;
  end if;

  -- Who pays: what it holds, included credits first; above that what no other run holds.
  if charged then
    due := core.charge_for(r.input_tokens::bigint + r.output_tokens, r.tokens_per_credit, r.credit_multiplier, r.prompt_multiplier);
    from_included := least(due, r.hold_included);
    from_purchased := least(due - from_included, r.hold_purchased);
    over := due - from_included - from_purchased;
    if over > 0 then
      select x.from_included, x.from_purchased into from_included, from_purchased
      from core.cover_overrun(from_included, from_purchased, over, r.hold_included = 0 and r.hold_purchased > 0,
        u.included_credits - u.held_included, u.purchased_credits - u.held_purchased) x;
    end if;
  end if;
  r.credits := from_included + from_purchased;
  r.shortfall := due - r.credits;
  r.limited_cost := r.cost;
  if from_purchased > 0 or r.hold_purchased > 0 then
    r.limited_cost := core.limited_part(r.cost, due, from_included, from_purchased, r.hold_included = 0 and r.hold_purchased > 0);
  end if;

  -- Take it from the lots: as a rule from the one that is spent first.
  if r.credits > 0 then
    if from_included = 0 or from_purchased = 0 then
      lot_cost := r.cost;
      if r.shortfall > 0 then
        lot_cost := core.share_of_cost(r.cost, r.credits, r.credits, due);
      end if;
      update public.credit_lots x
      set remaining = x.remaining - r.credits, cost = x.cost + lot_cost
      where x.user_id = u.id and x.id = u.spend_lot and x.remaining > r.credits and (x.kind = 'purchased') = (from_included = 0)
      returning x.kind, x.paid_per_credit into lot_kind, lot_price;
    end if;
    if lot_kind is not null then
      u.transaction_count := u.transaction_count + 1;
      insert into public.credit_transactions
        (user_id, id, type, debit, credit, amount, balance_after, lot_id, run_id, created_at)
      values (
        u.id, u.transaction_count, 'spend', 'lot', 'spent', r.credits, u.included_credits + u.purchased_credits - r.credits,
        u.spend_lot, r.id, now
      );
      r.credits_by_kind := jsonb_build_object(lot_kind, r.credits);
      r.included_value := from_included * lot_price;
      r.purchased_value := from_purchased * lot_price;
    else
      select x.by_kind, x.included_value, x.purchased_value, x.transaction_count, x.spend_lot, x.next_lot_expiry into spent
      from core.spend_lots(u, r.id, from_included, from_purchased, r.cost, due, now) x;
      r.credits_by_kind := spent.by_kind;
      r.included_value := spent.included_value;
      r.purchased_value := spent.purchased_value;
      u.transaction_count := spent.transaction_count;
      u.spend_lot := spent.spend_lot;
      u.next_lot_expiry := spent.next_lot_expiry;
    end if;
  end if;

  -- The run, its texts, the user's figures.
  r.finished_at := now;
  update public.runs x set
    status = case
      when ending = 'expired' then 'expired'
      when not charged then 'released'
      when ending = 'length' then 'completed'
      else ending
    end,
    input_tokens = r.input_tokens, cached_tokens = r.cached_tokens, cache_write_tokens = r.cache_write_tokens,
    output_tokens = r.output_tokens, estimated = r.estimated, cost = r.cost, limited_cost = r.limited_cost, credits = r.credits,
    shortfall = r.shortfall, credits_by_kind = r.credits_by_kind,
    included_value = r.included_value, purchased_value = r.purchased_value, error = settle_run.error, error_reason = settle_run.error_reason,
    first_token_ms = settle_run.first_token_ms, duration_ms = settle_run.duration_ms, finished_at = now
  where x.user_id = u.id and x.id = r.id
  returning x.status, checkpointed or x.hold_expires_at <> r.hold_expires_at into r.status, checkpointed;
  r.error := settle_run.error;
  r.error_reason := settle_run.error_reason;
  r.first_token_ms := settle_run.first_token_ms;
  r.duration_ms := settle_run.duration_ms;
  if checkpointed then
    perform core.keep_texts(u.id, r.session_id, r.id, question, coalesce(answer, ''));
  elsif question is not null then
    insert into public.run_texts (user_id, session_id, run_id, question, answer)
    values (u.id, r.session_id, r.id, question, coalesce(answer, ''));
  end if;

  u.included_credits := u.included_credits - from_included;
  u.purchased_credits := u.purchased_credits - from_purchased;
  u.held_included := u.held_included - r.hold_included;
  u.held_purchased := u.held_purchased - r.hold_purchased;
  u.open_runs := array_remove(u.open_runs, r.id);
  u.lifetime_api_cost := u.lifetime_api_cost + r.cost;
  if r.started_at >= u.day_ends_at - interval '24 hours' then
    u.current_day_api_cost := u.current_day_api_cost + r.cost;
    u.current_day_limited_cost := u.current_day_limited_cost + r.limited_cost;
    if r.hold_included > 0 then
      u.day_held_cost := u.day_held_cost - r.hold_cost;
    end if;
  end if;
  if r.started_at >= (u.month_ends_at at time zone 'UTC' - interval '1 month') at time zone 'UTC' then
    u.current_month_api_cost := u.current_month_api_cost + r.cost;
    u.current_month_limited_cost := u.current_month_limited_cost + r.limited_cost;
    if r.hold_included > 0 then
      u.month_held_cost := u.month_held_cost - r.hold_cost;
    end if;
  end if;
  if r.status = 'released' and ending = 'failed' and r.started_at >= u.hour_ends_at - interval '1 hour' then
    u.hour_requests := u.hour_requests - 1;
  end if;
  if u.open_runs = '{}' then
    u.holds_expire_at := 'infinity';
  end if;

  update public.users x set
    transaction_count = u.transaction_count, spend_lot = u.spend_lot, next_lot_expiry = u.next_lot_expiry,
    included_credits = u.included_credits, purchased_credits = u.purchased_credits,
    held_included = u.held_included, held_purchased = u.held_purchased, open_runs = u.open_runs, holds_expire_at = u.holds_expire_at,
    hour_requests = u.hour_requests, hour_ends_at = u.hour_ends_at,
    current_day_api_cost = u.current_day_api_cost, current_day_limited_cost = u.current_day_limited_cost,
    day_held_cost = u.day_held_cost, day_ends_at = u.day_ends_at,
    current_month_api_cost = u.current_month_api_cost, current_month_limited_cost = u.current_month_limited_cost,
    month_held_cost = u.month_held_cost, month_ends_at = u.month_ends_at, current_month_requests = u.current_month_requests,
    lifetime_api_cost = u.lifetime_api_cost, updated_at = now
  where x.id = u.id;

  if u.next_lot_expiry <= now then
    perform core.tidy_lots(u.id, now);
    u := (select x from public.users x where x.id = settle_run.user_id);
  end if;
  if l.throttle_on_exceed and r.cost > 0 and core.nearly_used_up(u, l, s.min_output_tokens * p.output * 0.000001) or u.is_throttled then
    perform core.judge_throttle(u.id, now);
  end if;
  return core.write_receipt(r, u, l);
end
$$;

comment on function api.settle_run(uuid, uuid, text, boolean, integer, integer, integer, integer, boolean, text, text, text, text, integer, integer) is
  'Ends a run by what really happened, books its exact cost and charges it: one lock, one transaction, once. ending: completed, length, '
  'stopped, failed or expired; called: whether a request may have reached the provider; tokens as the provider reported, input_tokens null '
  'where the report was lost (then the estimate stands in); answer: what was delivered. A failure that delivered nothing charges nothing, '
  'its cost counts all the same. Called again it answers the same receipt; after an expiry it books the difference. Returns the receipt '
  '(see type core.receipt). Errors: PR404 unknown run. Spec 1.1, 1.3, 3.2 to 3.4, 4.2, 4.5, 5.4.';
--! EndIncluded runs/settle_run.sql
--! Included runs/reopen_run.sql
create or replace function core.reopen_run(r public.runs, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  purchased_alone boolean;
begin
  perform core.note_correction(r);

  -- What the expiry charged goes back.
  perform core.give_back(r, reopen_run.now, 'The run was not dead: charged anew by what it really used');

  -- Unbook its cost, and let it hold no more than what it gave back and is still free.
  select x.* into strict u from public.users x where x.id = r.user_id;
  u := core.roll_windows(u, reopen_run.now);
  u.lifetime_api_cost := u.lifetime_api_cost - r.cost;
  if r.started_at >= u.day_ends_at - interval '24 hours' then
    u.current_day_api_cost := u.current_day_api_cost - r.cost;
    u.current_day_limited_cost := u.current_day_limited_cost - r.limited_cost;
  end if;
  if r.started_at >= (u.month_ends_at at time zone 'UTC' - interval '1 month') at time zone 'UTC' then
    u.current_month_api_cost := u.current_month_api_cost - r.cost;
    u.current_month_limited_cost := u.current_month_limited_cost - r.limited_cost;
  end if;
  purchased_alone := r.hold_included = 0;
  r.hold_included := least(r.hold_included, greatest(0, u.included_credits - u.held_included));
  r.hold_purchased := case
    when r.hold_included = 0 and not purchased_alone then 0 -- or its cost would no longer count against limits
    else least(r.hold_purchased, greatest(0, u.purchased_credits - u.held_purchased))
  end;

  update public.users x set
    current_day_api_cost = u.current_day_api_cost, current_day_limited_cost = u.current_day_limited_cost,
    day_held_cost = u.day_held_cost, day_ends_at = u.day_ends_at,
    current_month_api_cost = u.current_month_api_cost, current_month_limited_cost = u.current_month_limited_cost,
    month_held_cost = u.month_held_cost, month_ends_at = u.month_ends_at, current_month_requests = u.current_month_requests,
    hour_requests = u.hour_requests, hour_ends_at = u.hour_ends_at, lifetime_api_cost = u.lifetime_api_cost,
    held_included = u.held_included + r.hold_included, held_purchased = u.held_purchased + r.hold_purchased,
    open_runs = u.open_runs || r.id, holds_expire_at = least(u.holds_expire_at, reopen_run.now)
  where x.id = u.id;
  update public.runs x set
    status = 'running', cost = 0, limited_cost = 0, credits = 0, shortfall = 0, credits_by_kind = null,
    included_value = 0, purchased_value = 0, error = null, error_reason = null,
    finished_at = null, hold_included = r.hold_included, hold_purchased = r.hold_purchased, hold_cost = 0
  where x.user_id = r.user_id and x.id = r.id;
  perform core.refresh_lots(r.user_id);
end
$$;

comment on function core.reopen_run(public.runs, timestamptz) is
  'Undoes what an expiry booked for a run, credits and cost, so that it can be settled by what it really used in the same transaction. '
  'Its hold is what is free by now. The caller holds the user''s row. Spec 5.3.';
--! EndIncluded runs/reopen_run.sql
--! Included credits/read_credits.sql
create or replace function api.read_credits(user_id uuid)
returns json
language sql
stable
security definer
set search_path = ''
begin atomic
  select json_build_object(
    'balance', figures.balance,
    'held', u.held_included + u.held_purchased,
    'available', figures.available,
    'monthly', json_build_object(
      'allocated', figures.allocated,
      'used', figures.allocated - figures.monthly,
      'remaining', figures.monthly,
      'reset_at', figures.reset_at
    ),
    'rollover', json_build_object('amount', figures.rollover, 'expires_at', figures.rollover_expires_at),
    'purchased', figures.purchased,
    'signup', figures.signup,
    'bonus', figures.bonus,
    'breakdown', json_build_object(
      'monthly', figures.monthly,
      'rollover', figures.rollover,
      'signup', figures.signup,
      'bonus', figures.bonus,
      'purchased', figures.purchased
    ),
    'lots', figures.lots
  )
  from public.users u
  cross join lateral (
    select
      coalesce(sum(live.remaining), 0)::bigint as balance,
      coalesce(sum(live.remaining - live.held), 0)::bigint as available,
      coalesce(sum(live.granted) filter (where live.kind = 'monthly'), 0)::bigint as allocated,
      coalesce(sum(live.remaining) filter (where live.kind = 'monthly'), 0)::bigint as monthly,
      min(live.period_end) filter (where live.kind = 'monthly') as reset_at,
      coalesce(sum(live.remaining) filter (where live.kind = 'rollover'), 0)::bigint as rollover,
      min(live.expires_at) filter (where live.kind = 'rollover' and live.remaining > 0) as rollover_expires_at,
      coalesce(sum(live.remaining) filter (where live.kind = 'signup'), 0)::bigint as signup,
      coalesce(sum(live.remaining) filter (where live.kind = 'bonus'), 0)::bigint as bonus,
      coalesce(sum(live.remaining) filter (where live.kind = 'purchased'), 0)::bigint as purchased,
      coalesce(json_agg(json_build_object(
        'id', live.id,
        'kind', live.kind,
        'granted', live.granted,
        'remaining', live.remaining,
        'held', live.held,
        'source', live.source,
        'expires_at', nullif(live.expires_at, 'infinity'),
        'created_at', live.created_at
      ) order by core.spend_rank(live.kind), live.expires_at, live.created_at, live.id) filter (where live.remaining > 0), '[]') as lots
    from (
      select l.*, coalesce(h.held, 0) as held
      from public.credit_lots l
      left join core.held_in_lots(u.id, u.held_included, u.held_purchased) h on h.lot_id = l.id
      where l.user_id = u.id and l.expires_at > (select core.now())
    ) live
  ) figures
  where u.id = read_credits.user_id;
end;

comment on function api.read_credits(uuid) is
  'What a user can spend, in credits: balance (lots that have not expired, whether or not a job has booked the others), held by running runs, '
  'available (balance less what those hold in such lots, never below 0), monthly {allocated, used, remaining, reset_at}, rollover '
  '{amount, expires_at}, signup, bonus, purchased, breakdown by kind, and lots with credits left in the order in which they are spent. '
  'Null for an unknown user. Spec 4.2, 4.5.';
--! EndIncluded credits/read_credits.sql
--! Included runs/audit_runs.sql
create or replace function core.audit_runs(only_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '256MB'
as $$
#variable_conflict use_column
begin
  return query
  with paid as (
    select
      t.user_id,
      t.run_id,
      sum(x.change) as credits,
      coalesce(sum(x.change) filter (where l.kind = 'monthly'), 0) as monthly,
      coalesce(sum(x.change) filter (where l.kind = 'rollover'), 0) as rollover,
      coalesce(sum(x.change) filter (where l.kind = 'signup'), 0) as signup,
      coalesce(sum(x.change) filter (where l.kind = 'bonus'), 0) as bonus,
      coalesce(sum(x.change) filter (where l.kind = 'purchased'), 0) as purchased,
      coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind <> 'purchased'), 0) as included_value,
      coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind = 'purchased'), 0) as purchased_value
    from public.credit_transactions t
    cross join lateral (select least(t.amount, 1000000000)::integer * case when t.debit = 'lot' then 1 else -1 end as change) x
    left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
    where t.run_id is not null and (only_user is null or t.user_id = only_user)
    group by t.user_id, t.run_id
  ),
  figures as (
    select
      r.*,
      r.refunded_at is not null as is_refunded,
      r.status <> 'running' as has_ended,
      coalesce(r.status in ('completed', 'stopped', 'failed') or r.status = 'expired' and coalesce(
        (select t.answer <> '' from public.run_texts t where t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id),
        r.output_tokens > 0
      ), false) as is_charged,
      ceil(
        ceil(greatest(1, (r.input_tokens::bigint + r.output_tokens + r.tokens_per_credit - 1) / r.tokens_per_credit) * r.credit_multiplier)
        * r.prompt_multiplier
      ) as charge,
      (
        (r.input_tokens - r.cached_tokens - r.cache_write_tokens) * p.input
        + r.cached_tokens * coalesce(p.cached_read, p.input)
        + r.cache_write_tokens * coalesce(p.cache_write, p.input)
        + r.output_tokens * p.output
      ) * 0.000001 as true_cost,
      p.model as price_model,
      p.valid as price_valid,
      coalesce(f.credits, 0) as paid,
      coalesce(f.credits - f.purchased, 0) as paid_included,
      coalesce(f.purchased, 0) as paid_purchased,
      coalesce(f.included_value, 0) as paid_included_value,
      coalesce(f.purchased_value, 0) as paid_purchased_value,
      -- As jsonb writes it, shortest key first: making 1 million of them to compare would take most of the time.
      '{' || concat_ws(', ',
        '"bonus": ' || nullif(f.bonus, 0), '"signup": ' || nullif(f.signup, 0), '"monthly": ' || nullif(f.monthly, 0),
        '"rollover": ' || nullif(f.rollover, 0), '"purchased": ' || nullif(f.purchased, 0)
      ) || '}' as paid_by_kind
    from public.runs r
    left join public.model_prices p on p.id = r.price_id
    left join paid f on f.user_id = r.user_id and f.run_id = r.id
    where only_user is null or r.user_id = only_user
  ),
  expectations as (
    select
      g.*,
      case when g.has_ended then g.true_cost else 0 end as expected_cost,
      case when g.is_charged and not g.is_refunded then g.charge else 0 end as expected_charge,
      case
        when g.is_refunded and g.is_charged then (
          select core.limited_part(
            g.cost, g.charge::bigint, f.credits - f.purchased, f.purchased, g.hold_included = 0 and g.hold_purchased > 0
          )
          from (
            select coalesce(sum(k.value::bigint), 0)::bigint, coalesce(sum(k.value::bigint) filter (where k.key = 'purchased'), 0)::bigint
            from jsonb_each_text(g.refunded_by_kind) k
          ) f (credits, purchased)
        )
        when not g.has_ended or g.hold_included = 0 and g.hold_purchased > 0 and g.paid_included = 0 then 0
        when g.paid_purchased = 0 then g.cost
        else round(g.cost * (g.credits + g.shortfall - g.paid_purchased) / nullif(g.credits + g.shortfall, 0), 12)
      end as expected_limited_cost
    from figures g
  )
  select e.user_id, problem.check_name, 'run ' || e.id, problem.expected, problem.actual
  from expectations e
  cross join lateral (values
    ('run_status', 'a known status, finished_at when it ended', format('%s, finished_at %s', e.status, coalesce(e.finished_at::text, 'null')),
      e.status in ('running', 'completed', 'stopped', 'failed', 'released', 'expired') and e.has_ended = (e.finished_at is not null)),
    ('run_tokens', 'input at least cached and cache_write, none below 0, none missing',
      format('input %s, cached %s, cache_write %s, output %s', e.input_tokens, e.cached_tokens, e.cache_write_tokens, e.output_tokens),
      not e.has_ended
        or coalesce(least(e.cached_tokens, e.cache_write_tokens, e.output_tokens) >= 0 and e.input_tokens >= e.cached_tokens + e.cache_write_tokens
          and num_nulls(e.input_tokens, e.cached_tokens, e.cache_write_tokens, e.output_tokens) = 0, false)),
    ('run_price', 'a price row of ' || e.model || ' valid at ' || e.started_at, format('%s of %s, valid %s', e.price_id, e.price_model, e.price_valid),
      e.price_model = e.model and e.price_valid @> e.started_at),
    ('run_cost', trim_scale(e.expected_cost)::text, trim_scale(e.cost)::text, e.cost = e.expected_cost),
    ('run_charge', e.expected_charge::text, format('%s charged and %s shortfall', e.credits, e.shortfall), e.credits + e.shortfall = e.expected_charge),
    ('run_credits', e.paid::text, e.credits::text, e.credits = e.paid),
    ('run_credits_by_kind', e.paid_by_kind, e.credits_by_kind::text, coalesce(e.credits_by_kind, '{}')::text = e.paid_by_kind),
    ('run_value', format('%s included, %s purchased', trim_scale(e.paid_included_value), trim_scale(e.paid_purchased_value)),
      format('%s included, %s purchased', trim_scale(e.included_value), trim_scale(e.purchased_value)),
      e.included_value = e.paid_included_value and e.purchased_value = e.paid_purchased_value),
    ('run_limited_cost', trim_scale(e.expected_limited_cost)::text, trim_scale(e.limited_cost)::text, e.limited_cost = e.expected_limited_cost),
    ('run_hold', 'holds not below 0', format('%s included, %s purchased, %s dollars', e.hold_included, e.hold_purchased, e.hold_cost),
      least(e.hold_included, e.hold_purchased, e.hold_cost) >= 0)
  ) problem (check_name, expected, actual, agrees)
  where (
    e.cost = e.expected_cost and e.credits + e.shortfall = e.expected_charge and e.credits = e.paid
    and e.included_value = e.paid_included_value and e.purchased_value = e.paid_purchased_value
    and e.limited_cost = e.expected_limited_cost and coalesce(e.credits_by_kind, '{}')::text = e.paid_by_kind
    and e.price_model = e.model and e.price_valid @> e.started_at and e.status in ('completed', 'stopped', 'failed') and e.finished_at is not null
    and e.cached_tokens >= 0 and e.cache_write_tokens >= 0 and e.output_tokens >= 0 and e.input_tokens >= e.cached_tokens + e.cache_write_tokens
    and e.hold_included >= 0 and e.hold_purchased >= 0 and e.hold_cost >= 0
  ) is not true and problem.agrees is not true;
end
$$;

comment on function core.audit_runs(uuid) is
  'Part of ops.audit_books: each run''s cost by its tokens and price row, its charge by spec 1.1 and 1.7, what its transfers paid, by kind, '
  'the cash that had been paid for it, and the part of its cost that counts against limits; of a refunded run that nothing is left of its '
  'charge. null: all users. Spec 1.3, 3.3.';
--! EndIncluded runs/audit_runs.sql
--! Included credits/audit_lots.sql
create or replace function core.audit_lots(only_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '256MB'
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

  -- The cost that its credits have paid for: of each run what was spent after anything was given back.
  return query
  select l.user_id, 'lot_cost', 'lot ' || l.id, trim_scale(coalesce(f.cost, 0))::text, trim_scale(l.cost)::text
  from public.credit_lots l
  left join (
    select s.user_id, s.lot_id, sum(core.share_of_cost(r.cost, s.upto, s.amount, r.credits + r.shortfall)) as cost
    from (
      select
        t.user_id, t.run_id, t.lot_id, t.amount, t.id,
        sum(case when t.debit = 'lot' then t.amount else -t.amount end) over (partition by t.user_id, t.run_id order by t.id)::bigint as upto,
        coalesce(max(t.id) filter (where t.credit = 'lot') over (partition by t.user_id, t.run_id), 0) as given_back
      from public.credit_transactions t
      where t.run_id is not null and (only_user is null or t.user_id = only_user)
    ) s
    join public.runs r on r.user_id = s.user_id and r.id = s.run_id
    where s.id > s.given_back and r.credits + r.shortfall > 0
    group by s.user_id, s.lot_id
  ) f on f.user_id = l.user_id and f.lot_id = l.id
  where (only_user is null or l.user_id = only_user) and coalesce(f.cost, 0) <> l.cost;

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
  'Part of ops.audit_books: what each lot was granted, has left and has paid for by its transfers, and what users'' rows say of their lots. '
  'null: all users. Spec 4.1, 4.2.';
--! EndIncluded credits/audit_lots.sql

-- Room sessions: found by their words, renamed, deleted, shared, voted on.
create extension if not exists btree_gin;
create index if not exists runs_of_sessions on public.runs (user_id, session_id, id) where session_id <> id;

create table if not exists public.session_marks (
  user_id uuid primary key,
  through_run_id uuid not null,
  session_count bigint not null check (session_count >= 0)
);
comment on table public.session_marks is 'per-user. How far the index of a user''s sessions has come.';
comment on column public.session_marks.user_id is 'Whose.';
comment on column public.session_marks.through_run_id is 'Runs up to this id are in the index.';
comment on column public.session_marks.session_count is 'Sessions in it.';

create table if not exists public.session_index (
  user_id uuid not null,
  session_id uuid not null,
  last_run_id uuid not null,
  package_id uuid not null,
  models text[] not null,
  credits bigint not null,
  words tsvector not null,
  primary key (user_id, session_id)
);
create index if not exists session_index_by_age on public.session_index (user_id, last_run_id desc);
create index if not exists session_index_by_words on public.session_index using gin (user_id, words);
comment on table public.session_index is
  'per-user. What a user''s sessions are listed and searched by, made from their runs when somebody looks and by a job (spec 10.1).';
comment on column public.session_index.user_id is 'Whose.';
comment on column public.session_index.session_id is 'The session.';
comment on column public.session_index.last_run_id is 'Its newest run; ids are time-ordered.';
comment on column public.session_index.package_id is 'Its package.';
comment on column public.session_index.models is 'Aliases of the models that its runs asked.';
comment on column public.session_index.credits is 'Credits that its runs spent.';
comment on column public.session_index.words is 'Words of its title, questions and answers, without their places.';

create table if not exists public.shared_sessions (
  token text primary key,
  user_id uuid not null,
  session_id uuid not null,
  package_id uuid not null,
  through_run_id uuid not null,
  view_count bigint not null default 0 check (view_count >= 0),
  helpful_count bigint not null default 0 check (helpful_count >= 0),
  not_helpful_count bigint not null default 0 check (not_helpful_count >= 0),
  featured_at timestamptz,
  feature_description text,
  feature_display_order integer not null default 0,
  shared_at timestamptz not null,
  ended_at timestamptz
);
create unique index if not exists shared_sessions_once on public.shared_sessions (session_id) where ended_at is null;
create index if not exists shared_sessions_by_package on public.shared_sessions (package_id) where ended_at is null;
comment on table public.shared_sessions is 'ops. Links under which anybody may read a session as far as it had come (spec 10.2).';
comment on column public.shared_sessions.token is 'The link''s secret part.';
comment on column public.shared_sessions.user_id is 'Who shared it; never shown.';
comment on column public.shared_sessions.session_id is 'What.';
comment on column public.shared_sessions.package_id is 'Its package.';
comment on column public.shared_sessions.through_run_id is 'The newest run that is shown.';
comment on column public.shared_sessions.view_count is 'How many visitors have seen it, its owner not among them.';
comment on column public.shared_sessions.helpful_count is 'Visitors whom it helped.';
comment on column public.shared_sessions.not_helpful_count is 'Visitors whom it did not help.';
comment on column public.shared_sessions.featured_at is 'When an author of the package featured it, or null.';
comment on column public.shared_sessions.feature_description is 'The author''s words on it, at most 500 characters.';
comment on column public.shared_sessions.feature_display_order is 'Lowest first among those that are featured.';
comment on column public.shared_sessions.shared_at is 'Since when.';
comment on column public.shared_sessions.ended_at is 'When its owner took it back, or null.';

create table if not exists public.share_views (
  token text not null references public.shared_sessions (token),
  visitor text not null,
  viewed_at timestamptz not null,
  is_helpful boolean,
  feedback_text text,
  primary key (token, visitor)
);
comment on table public.share_views is 'ops. Who has seen a shared session, and whether it helped: one row for each visitor (spec 10.2).';
comment on column public.share_views.token is 'The link.';
comment on column public.share_views.visitor is 'A keyed hash that tells visitors apart.';
comment on column public.share_views.viewed_at is 'When they saw it first.';
comment on column public.share_views.is_helpful is 'Their vote, or null.';
comment on column public.share_views.feedback_text is 'Their words, at most 1,000 characters, or null.';

create table if not exists public.exchange_feedback (
  user_id uuid not null,
  run_id uuid not null,
  is_effective boolean not null,
  comment text,
  created_at timestamptz not null,
  primary key (user_id, run_id)
);
comment on table public.exchange_feedback is 'per-user. Whether an answer was of use to who asked (spec 10.3).';
comment on column public.exchange_feedback.user_id is 'Who asked.';
comment on column public.exchange_feedback.run_id is 'The answer''s run.';
comment on column public.exchange_feedback.is_effective is 'True: it was of use.';
comment on column public.exchange_feedback.comment is 'Their words, at most 1,000 characters, or null.';
comment on column public.exchange_feedback.created_at is 'When.';

--! split: 2-analytics.sql
-- What was used, cost and earned: rolled up from new runs alone, exact at every moment.
create table if not exists public.usage_rollups (
  user_id uuid not null,
  day date not null,
  model text not null,
  package_id uuid not null,
  tier_name text not null,
  runs bigint not null,
  failed_runs bigint not null,
  input_tokens bigint not null,
  cached_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  cost numeric not null,
  limited_cost numeric not null,
  credits bigint not null,
  shortfall bigint not null,
  included_value numeric not null,
  purchased_value numeric not null,
  cache_saving numeric not null,
  answers bigint not null,
  answer_tokens bigint not null,
  paid_credits bigint not null,
  paid_cost numeric not null,
  primary key (user_id, day, model, package_id, tier_name)
) with (fillfactor = 80);
comment on table public.usage_rollups is 'per-user. What ended runs used, cost and were paid with, up to each user''s core.usage_marks; core.usage_by_day adds the rest. Only core.refresh_usage writes it (spec 8.2).';
comment on column public.usage_rollups.user_id is 'Who ran.';
comment on column public.usage_rollups.day is 'UTC day in which the runs began.';
comment on column public.usage_rollups.model is 'models.alias.';
comment on column public.usage_rollups.package_id is 'The package.';
comment on column public.usage_rollups.tier_name is 'Tier at the time.';
comment on column public.usage_rollups.runs is 'Runs that have ended, however they ended.';
comment on column public.usage_rollups.failed_runs is 'Of them, runs that failed, expired, or have an error.';
comment on column public.usage_rollups.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column public.usage_rollups.cached_tokens is 'Of them, tokens read from a provider''s cache.';
comment on column public.usage_rollups.cache_write_tokens is 'Of them, tokens written to a provider''s cache.';
comment on column public.usage_rollups.output_tokens is 'Tokens written.';
comment on column public.usage_rollups.cost is 'US dollars: exact provider cost.';
comment on column public.usage_rollups.limited_cost is 'US dollars: the part of it that counts against limits.';
comment on column public.usage_rollups.credits is 'Credits charged.';
comment on column public.usage_rollups.shortfall is 'Credits that nothing could pay.';
comment on column public.usage_rollups.included_value is 'US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column public.usage_rollups.purchased_value is 'US dollars of cash that had been paid for the purchased credits spent.';
comment on column public.usage_rollups.cache_saving is 'US dollars that caching saved by the runs'' own price rows: cached reads at less than the input price, less what writes cost above it; below 0 where writes were not read often enough.';
comment on column public.usage_rollups.answers is 'Completed runs with the package''s prompt: baselines left out.';
comment on column public.usage_rollups.answer_tokens is 'Tokens that these wrote.';
comment on column public.usage_rollups.paid_credits is 'Credits charged that cash had been paid for: those of sign-up and operators left out, and all of runs without a paid credit.';
comment on column public.usage_rollups.paid_cost is 'US dollars of provider cost that paid credits bore: all but the share of free credits, and but runs without a paid credit.';
grant select on public.usage_rollups to prpm_readonly;

create table if not exists core.usage_marks (
  user_id uuid not null,
  through_run_id uuid not null,
  primary key (user_id)
) with (fillfactor = 80);
comment on table core.usage_marks is 'per-user. Up to which run usage_rollups has a user''s runs: all that had ended, and none above.';
comment on column core.usage_marks.user_id is 'Whose.';
comment on column core.usage_marks.through_run_id is 'The last run, by id, that is rolled up.';

create table if not exists core.usage_corrections (
  user_id uuid not null,
  run_id uuid not null,
  n integer not null,
  runs bigint not null,
  failed_runs bigint not null,
  input_tokens bigint not null,
  cached_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  cost numeric not null,
  limited_cost numeric not null,
  credits bigint not null,
  shortfall bigint not null,
  included_value numeric not null,
  purchased_value numeric not null,
  cache_saving numeric not null,
  answers bigint not null,
  answer_tokens bigint not null,
  paid_credits bigint not null,
  paid_cost numeric not null,
  primary key (user_id, run_id, n)
);
comment on table core.usage_corrections is 'per-user. Runs that change, or begin, behind their user''s mark: what they counted for before, as figures to be added, so 0 or negative (docs/adr/0016).';
comment on column core.usage_corrections.user_id is 'Who ran.';
comment on column core.usage_corrections.run_id is 'The run.';
comment on column core.usage_corrections.n is 'Which change of it, counted from 1; the first that is not folded in yet is the one that counts.';
comment on column core.usage_corrections.runs is 'Negative of what it was: runs that have ended, however they ended.';
comment on column core.usage_corrections.failed_runs is 'Negative of what it was: of them, runs that failed, expired, or have an error.';
comment on column core.usage_corrections.input_tokens is 'Negative of what it was: tokens read, cached and cache-write parts included.';
comment on column core.usage_corrections.cached_tokens is 'Negative of what it was: of them, tokens read from a provider''s cache.';
comment on column core.usage_corrections.cache_write_tokens is 'Negative of what it was: of them, tokens written to a provider''s cache.';
comment on column core.usage_corrections.output_tokens is 'Negative of what it was: tokens written.';
comment on column core.usage_corrections.cost is 'Negative of what it was: US dollars: exact provider cost.';
comment on column core.usage_corrections.limited_cost is 'Negative of what it was: US dollars: the part of it that counts against limits.';
comment on column core.usage_corrections.credits is 'Negative of what it was: credits charged.';
comment on column core.usage_corrections.shortfall is 'Negative of what it was: credits that nothing could pay.';
comment on column core.usage_corrections.included_value is 'Negative of what it was: US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column core.usage_corrections.purchased_value is 'Negative of what it was: US dollars of cash that had been paid for the purchased credits spent.';
comment on column core.usage_corrections.cache_saving is 'Negative of what it was: US dollars that caching saved by the runs'' own price rows: cached reads at less than the input price, less what writes cost above it; below 0 where writes were not read often enough.';
comment on column core.usage_corrections.answers is 'Negative of what it was: completed runs with the package''s prompt: baselines left out.';
comment on column core.usage_corrections.answer_tokens is 'Negative of what it was: tokens that these wrote.';
comment on column core.usage_corrections.paid_credits is 'Negative of what it was: credits charged that cash had been paid for: those of sign-up and operators left out, and all of runs without a paid credit.';
comment on column core.usage_corrections.paid_cost is 'Negative of what it was: US dollars of provider cost that paid credits bore: all but the share of free credits, and but runs without a paid credit.';

create table if not exists core.package_usage (
  package_id uuid not null,
  model text not null,
  answers bigint not null,
  answer_tokens bigint not null,
  primary key (package_id, model)
) with (fillfactor = 80);
comment on table core.package_usage is 'ops. Sums over usage_rollups by package and model, kept with them.';
comment on column core.package_usage.package_id is 'The package.';
comment on column core.package_usage.model is 'models.alias.';
comment on column core.package_usage.answers is 'Completed runs with the package''s prompt: baselines left out.';
comment on column core.package_usage.answer_tokens is 'Tokens that these wrote.';

do $$
begin
  -- They were materialized views that read all runs, or were written whole for each refresh.
  if exists (select from pg_catalog.pg_class c where c.oid = to_regclass('core.package_model_usage') and c.relkind = 'm') then
    drop materialized view core.package_model_usage;
  end if;
  if exists (select from pg_catalog.pg_class c where c.oid = to_regclass('core.user_cost_figures') and c.relkind = 'm') then
    drop view public.user_cost_analytics;
    drop materialized view core.user_cost_figures;
  end if;
end
$$;
drop function if exists core.refresh_view(regclass);
create table if not exists core.user_cost_figures (
  user_id uuid not null,
  prpm_plus_status text,
  current_month_api_cost numeric not null,
  current_month_requests integer not null,
  avg_cost_per_request numeric,
  lifetime_api_cost numeric not null,
  total_requests bigint not null,
  monthly_revenue numeric not null,
  current_margin_percent numeric,
  is_throttled boolean not null,
  risk_level text not null,
  last_request_at timestamptz,
  percent_of_limit numeric,
  primary key (user_id)
) with (fillfactor = 80);
comment on table core.user_cost_figures is 'per-user. Cost and revenue as of the last refresh; read it as public.user_cost_analytics. Only public.refresh_user_cost_analytics writes it, and only rows that changed (spec 8.1).';
comment on column core.user_cost_figures.user_id is 'Who.';
comment on column core.user_cost_figures.prpm_plus_status is 'active while a subscription entitles, else Stripe''s own word, or null.';
comment on column core.user_cost_figures.current_month_api_cost is 'US dollars: all provider cost of runs begun this calendar month (UTC); 0 once that month is over.';
comment on column core.user_cost_figures.current_month_requests is 'Runs let in this month.';
comment on column core.user_cost_figures.avg_cost_per_request is 'US dollars a run this month, 8 decimals; null without a run.';
comment on column core.user_cost_figures.lifetime_api_cost is 'US dollars: provider cost of every run ever.';
comment on column core.user_cost_figures.total_requests is 'Runs ever let in.';
comment on column core.user_cost_figures.monthly_revenue is 'US dollars a month that entitling subscriptions pay now; a trial pays nothing.';
comment on column core.user_cost_figures.current_margin_percent is 'Revenue less cost, in percent of revenue, 2 decimals; null without revenue.';
comment on column core.user_cost_figures.is_throttled is 'True while throttled.';
comment on column core.user_cost_figures.risk_level is 'By cost this month: above 5 dollars high_risk, above 2.50 medium_risk, above 1 low_risk, else safe.';
comment on column core.user_cost_figures.last_request_at is 'When the last run was let in.';
comment on column core.user_cost_figures.percent_of_limit is 'Percent of the true tier''s monthly limit that is used, by the cost that counts against it; null without a limit.';

--! Included analytics/usage_by_run.sql
create or replace view core.usage_by_run as
select
  r.user_id,
  r.id as run_id,
  (r.started_at at time zone 'UTC')::date as day,
  r.model,
  r.package_id,
  r.tier_name,
  1::bigint as runs,
  (r.status in ('failed', 'expired') or r.error is not null)::integer::bigint as failed_runs,
  coalesce(r.input_tokens, 0)::bigint as input_tokens,
  coalesce(r.cached_tokens, 0)::bigint as cached_tokens,
  coalesce(r.cache_write_tokens, 0)::bigint as cache_write_tokens,
  coalesce(r.output_tokens, 0)::bigint as output_tokens,
  r.cost,
  r.limited_cost,
  r.credits,
  r.shortfall,
  r.included_value,
  r.purchased_value,
  case when r.cached_tokens + r.cache_write_tokens > 0 then coalesce((
    select (r.cached_tokens * (p.input - coalesce(p.cached_read, p.input)) - r.cache_write_tokens * (coalesce(p.cache_write, p.input) - p.input)) * 0.000001
    from public.model_prices p
    where p.id = r.price_id
  ), 0) else 0 end as cache_saving,
  (r.status = 'completed' and not r.baseline)::integer::bigint as answers,
  case when r.status = 'completed' and not r.baseline then coalesce(r.output_tokens, 0) else 0 end::bigint as answer_tokens,
  case when r.included_value + r.purchased_value > 0 then r.credits - free.credits else 0 end as paid_credits,
  case when r.included_value + r.purchased_value = 0 then 0
    when free.credits = 0 then r.cost
    else r.cost - round(r.cost * free.credits / (r.credits + r.shortfall), 12)
  end as paid_cost
from public.runs r
cross join lateral (
  select case when r.credits_by_kind ?| array['signup', 'bonus']
    then coalesce((r.credits_by_kind ->> 'signup')::bigint, 0) + coalesce((r.credits_by_kind ->> 'bonus')::bigint, 0) else 0 end as credits
) free
where r.status <> 'running';

comment on view core.usage_by_run is
  'What each ended run adds to the rollups; core.usage_by_day explains the columns. Read it by user_id and run_id: it is all of runs. Spec 8.2.';
comment on column core.usage_by_run.user_id is 'Who ran.';
comment on column core.usage_by_run.run_id is 'The run.';
comment on column core.usage_by_run.day is 'UTC day in which it began.';
comment on column core.usage_by_run.model is 'models.alias.';
comment on column core.usage_by_run.package_id is 'The package.';
comment on column core.usage_by_run.tier_name is 'Tier at the time.';
comment on column core.usage_by_run.runs is 'Runs: 1.';
comment on column core.usage_by_run.failed_runs is 'Runs that failed: 1 if it failed, expired, or has an error.';
comment on column core.usage_by_run.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column core.usage_by_run.cached_tokens is 'Of them, tokens read from a provider''s cache.';
comment on column core.usage_by_run.cache_write_tokens is 'Of them, tokens written to a provider''s cache.';
comment on column core.usage_by_run.output_tokens is 'Tokens written.';
comment on column core.usage_by_run.cost is 'US dollars: exact provider cost.';
comment on column core.usage_by_run.limited_cost is 'US dollars: the part of it that counts against limits.';
comment on column core.usage_by_run.credits is 'Credits charged.';
comment on column core.usage_by_run.shortfall is 'Credits that nothing could pay.';
comment on column core.usage_by_run.included_value is 'US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column core.usage_by_run.purchased_value is 'US dollars of cash that had been paid for the purchased credits spent.';
comment on column core.usage_by_run.cache_saving is 'US dollars that caching saved by the runs'' own price rows: cached reads at less than the input price, less what writes cost above it; below 0 where writes were not read often enough.';
comment on column core.usage_by_run.answers is '1 if it completed with the package''s prompt.';
comment on column core.usage_by_run.answer_tokens is 'Tokens that it then wrote.';
comment on column core.usage_by_run.paid_credits is 'Credits charged that cash had been paid for: those of sign-up and operators left out, and all of runs without a paid credit.';
comment on column core.usage_by_run.paid_cost is 'US dollars of provider cost that paid credits bore: all but the share of free credits, and but runs without a paid credit.';
--! EndIncluded analytics/usage_by_run.sql
--! Included analytics/usage_corrected.sql
create or replace view core.usage_corrected as
select
  c.user_id, c.run_id, x.day, x.model, x.package_id, x.tier_name,
  x.runs + c.runs as runs,
  x.failed_runs + c.failed_runs as failed_runs,
  x.input_tokens + c.input_tokens as input_tokens,
  x.cached_tokens + c.cached_tokens as cached_tokens,
  x.cache_write_tokens + c.cache_write_tokens as cache_write_tokens,
  x.output_tokens + c.output_tokens as output_tokens,
  x.cost + c.cost as cost,
  x.limited_cost + c.limited_cost as limited_cost,
  x.credits + c.credits as credits,
  x.shortfall + c.shortfall as shortfall,
  x.included_value + c.included_value as included_value,
  x.purchased_value + c.purchased_value as purchased_value,
  x.cache_saving + c.cache_saving as cache_saving,
  x.answers + c.answers as answers,
  x.answer_tokens + c.answer_tokens as answer_tokens,
  x.paid_credits + c.paid_credits as paid_credits,
  x.paid_cost + c.paid_cost as paid_cost
from (
  select distinct on (f.user_id, f.run_id) f.*
  from core.usage_corrections f
  order by f.user_id, f.run_id, f.n
) c
join core.usage_by_run x on x.user_id = c.user_id and x.run_id = c.run_id;

comment on view core.usage_corrected is
  'By how much an ended run that core.usage_corrections names differs from what it was before its first correction; core.usage_by_day explains '
  'the columns. Counts only where the run is at or below its user''s mark. Spec 8.2.';
comment on column core.usage_corrected.user_id is 'Who ran.';
comment on column core.usage_corrected.run_id is 'The run.';
comment on column core.usage_corrected.day is 'UTC day in which it began.';
comment on column core.usage_corrected.model is 'models.alias.';
comment on column core.usage_corrected.package_id is 'The package.';
comment on column core.usage_corrected.tier_name is 'Tier at the time.';
comment on column core.usage_corrected.runs is 'Runs that have ended, however they ended.';
comment on column core.usage_corrected.failed_runs is 'Of them, runs that failed, expired, or have an error.';
comment on column core.usage_corrected.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column core.usage_corrected.cached_tokens is 'Of them, tokens read from a provider''s cache.';
comment on column core.usage_corrected.cache_write_tokens is 'Of them, tokens written to a provider''s cache.';
comment on column core.usage_corrected.output_tokens is 'Tokens written.';
comment on column core.usage_corrected.cost is 'US dollars: exact provider cost.';
comment on column core.usage_corrected.limited_cost is 'US dollars: the part of it that counts against limits.';
comment on column core.usage_corrected.credits is 'Credits charged.';
comment on column core.usage_corrected.shortfall is 'Credits that nothing could pay.';
comment on column core.usage_corrected.included_value is 'US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column core.usage_corrected.purchased_value is 'US dollars of cash that had been paid for the purchased credits spent.';
comment on column core.usage_corrected.cache_saving is 'US dollars that caching saved by the runs'' own price rows: cached reads at less than the input price, less what writes cost above it; below 0 where writes were not read often enough.';
comment on column core.usage_corrected.answers is 'Completed runs with the package''s prompt: baselines left out.';
comment on column core.usage_corrected.answer_tokens is 'Tokens that these wrote.';
comment on column core.usage_corrected.paid_credits is 'Credits charged that cash had been paid for: those of sign-up and operators left out, and all of runs without a paid credit.';
comment on column core.usage_corrected.paid_cost is 'US dollars of provider cost that paid credits bore: all but the share of free credits, and but runs without a paid credit.';
--! EndIncluded analytics/usage_corrected.sql
--! Included analytics/usage_parts.sql
create or replace view core.usage_parts as
select
  r.user_id, r.day, r.model, r.package_id, r.tier_name, r.runs, r.failed_runs, r.input_tokens, r.cached_tokens, r.cache_write_tokens,
  r.output_tokens, r.cost, r.limited_cost, r.credits, r.shortfall, r.included_value, r.purchased_value, r.cache_saving, r.answers,
  r.answer_tokens, r.paid_credits, r.paid_cost
from public.usage_rollups r
union all
-- Runs above their user's mark. offset 0: by key, user by user, whatever the planner thinks of how many there are.
select
  u.id, t.day, t.model, t.package_id, t.tier_name, t.runs, t.failed_runs, t.input_tokens, t.cached_tokens, t.cache_write_tokens,
  t.output_tokens, t.cost, t.limited_cost, t.credits, t.shortfall, t.included_value, t.purchased_value, t.cache_saving, t.answers,
  t.answer_tokens, t.paid_credits, t.paid_cost
from public.users u
left join core.usage_marks m on m.user_id = u.id
cross join lateral (
  select * from core.usage_by_run x
  where x.user_id = u.id and x.run_id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000')
  offset 0
) t
where u.last_run_id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000')
union all
select
  c.user_id, c.day, c.model, c.package_id, c.tier_name, c.runs, c.failed_runs, c.input_tokens, c.cached_tokens, c.cache_write_tokens,
  c.output_tokens, c.cost, c.limited_cost, c.credits, c.shortfall, c.included_value, c.purchased_value, c.cache_saving, c.answers,
  c.answer_tokens, c.paid_credits, c.paid_cost
from core.usage_corrected c
join core.usage_marks m on m.user_id = c.user_id and c.run_id <= m.through_run_id;

comment on view core.usage_parts is
  'What core.usage_by_day is the sum of, not summed yet: rollups, runs above their user''s mark, and corrections of those below. For sums over '
  'many users, which need no second grouping; single rows mean nothing, and may be below 0. Spec 8.2.';
comment on column core.usage_parts.user_id is 'Who ran.';
comment on column core.usage_parts.day is 'UTC day in which the runs began.';
comment on column core.usage_parts.model is 'models.alias.';
comment on column core.usage_parts.package_id is 'The package.';
comment on column core.usage_parts.tier_name is 'Tier at the time.';
comment on column core.usage_parts.runs is 'Runs that have ended, however they ended.';
comment on column core.usage_parts.failed_runs is 'Of them, runs that failed, expired, or have an error.';
comment on column core.usage_parts.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column core.usage_parts.cached_tokens is 'Of them, tokens read from a provider''s cache.';
comment on column core.usage_parts.cache_write_tokens is 'Of them, tokens written to a provider''s cache.';
comment on column core.usage_parts.output_tokens is 'Tokens written.';
comment on column core.usage_parts.cost is 'US dollars: exact provider cost.';
comment on column core.usage_parts.limited_cost is 'US dollars: the part of it that counts against limits.';
comment on column core.usage_parts.credits is 'Credits charged.';
comment on column core.usage_parts.shortfall is 'Credits that nothing could pay.';
comment on column core.usage_parts.included_value is 'US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column core.usage_parts.purchased_value is 'US dollars of cash that had been paid for the purchased credits spent.';
comment on column core.usage_parts.cache_saving is 'US dollars that caching saved by the runs'' own price rows: cached reads at less than the input price, less what writes cost above it; below 0 where writes were not read often enough.';
comment on column core.usage_parts.answers is 'Completed runs with the package''s prompt: baselines left out.';
comment on column core.usage_parts.answer_tokens is 'Tokens that these wrote.';
comment on column core.usage_parts.paid_credits is 'Credits charged that cash had been paid for: those of sign-up and operators left out, and all of runs without a paid credit.';
comment on column core.usage_parts.paid_cost is 'US dollars of provider cost that paid credits bore: all but the share of free credits, and but runs without a paid credit.';
--! EndIncluded analytics/usage_parts.sql
--! Included analytics/usage_by_day.sql
create or replace view core.usage_by_day as
select
  x.user_id, x.day, x.model, x.package_id, x.tier_name,
  sum(x.runs)::bigint as runs,
  sum(x.failed_runs)::bigint as failed_runs,
  sum(x.input_tokens)::bigint as input_tokens,
  sum(x.cached_tokens)::bigint as cached_tokens,
  sum(x.cache_write_tokens)::bigint as cache_write_tokens,
  sum(x.output_tokens)::bigint as output_tokens,
  sum(x.cost) as cost,
  sum(x.limited_cost) as limited_cost,
  sum(x.credits)::bigint as credits,
  sum(x.shortfall)::bigint as shortfall,
  sum(x.included_value) as included_value,
  sum(x.purchased_value) as purchased_value,
  sum(x.cache_saving) as cache_saving,
  sum(x.answers)::bigint as answers,
  sum(x.answer_tokens)::bigint as answer_tokens,
  sum(x.paid_credits)::bigint as paid_credits,
  sum(x.paid_cost) as paid_cost
from core.usage_parts x
group by x.user_id, x.day, x.model, x.package_id, x.tier_name
having sum(x.runs) <> 0;

comment on view core.usage_by_day is
  'What ended runs used, cost and were paid with, by user, day (UTC, of their beginning), model, package and tier: rollups, and what has come since '
  'they were refreshed; equal to a sum over runs at every moment. Cost and values in US dollars: included_value and purchased_value are the cash '
  'that had been paid for the credits spent, purchased ones apart. Spec 8.2.';
comment on column core.usage_by_day.user_id is 'Who ran.';
comment on column core.usage_by_day.day is 'UTC day in which the runs began.';
comment on column core.usage_by_day.model is 'models.alias.';
comment on column core.usage_by_day.package_id is 'The package.';
comment on column core.usage_by_day.tier_name is 'Tier at the time.';
comment on column core.usage_by_day.runs is 'Runs that have ended, however they ended.';
comment on column core.usage_by_day.failed_runs is 'Of them, runs that failed, expired, or have an error.';
comment on column core.usage_by_day.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column core.usage_by_day.cached_tokens is 'Of them, tokens read from a provider''s cache.';
comment on column core.usage_by_day.cache_write_tokens is 'Of them, tokens written to a provider''s cache.';
comment on column core.usage_by_day.output_tokens is 'Tokens written.';
comment on column core.usage_by_day.cost is 'US dollars: exact provider cost.';
comment on column core.usage_by_day.limited_cost is 'US dollars: the part of it that counts against limits.';
comment on column core.usage_by_day.credits is 'Credits charged.';
comment on column core.usage_by_day.shortfall is 'Credits that nothing could pay.';
comment on column core.usage_by_day.included_value is 'US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column core.usage_by_day.purchased_value is 'US dollars of cash that had been paid for the purchased credits spent.';
comment on column core.usage_by_day.cache_saving is 'US dollars that caching saved by the runs'' own price rows: cached reads at less than the input price, less what writes cost above it; below 0 where writes were not read often enough.';
comment on column core.usage_by_day.answers is 'Completed runs with the package''s prompt: baselines left out.';
comment on column core.usage_by_day.answer_tokens is 'Tokens that these wrote.';
comment on column core.usage_by_day.paid_credits is 'Credits charged that cash had been paid for: those of sign-up and operators left out, and all of runs without a paid credit.';
comment on column core.usage_by_day.paid_cost is 'US dollars of provider cost that paid credits bore: all but the share of free credits, and but runs without a paid credit.';
--! EndIncluded analytics/usage_by_day.sql
--! Included analytics/note_correction.sql
create or replace function core.note_correction(r public.runs)
returns void
language plpgsql
set search_path = ''
as $$
begin
  insert into core.usage_corrections (
    user_id, run_id, n,
    runs, failed_runs, input_tokens, cached_tokens, cache_write_tokens, output_tokens, cost, limited_cost, credits, shortfall,
    included_value, purchased_value, cache_saving, answers, answer_tokens, paid_credits, paid_cost
  )
  select
    r.user_id, r.id,
    (select coalesce(max(c.n), 0) + 1 from core.usage_corrections c where c.user_id = r.user_id and c.run_id = r.id),
    coalesce(-x.runs, 0), coalesce(-x.failed_runs, 0), coalesce(-x.input_tokens, 0), coalesce(-x.cached_tokens, 0),
    coalesce(-x.cache_write_tokens, 0), coalesce(-x.output_tokens, 0), coalesce(-x.cost, 0), coalesce(-x.limited_cost, 0),
    coalesce(-x.credits, 0), coalesce(-x.shortfall, 0), coalesce(-x.included_value, 0), coalesce(-x.purchased_value, 0),
    coalesce(-x.cache_saving, 0), coalesce(-x.answers, 0), coalesce(-x.answer_tokens, 0), coalesce(-x.paid_credits, 0), coalesce(-x.paid_cost, 0)
  from (values (1)) one
  left join core.usage_by_run x on x.user_id = r.user_id and x.run_id = r.id;
end
$$;

comment on function core.note_correction(public.runs) is
  'To be called before an ended run is changed, and when one begins with an id below its user''s newest: keeps what the run counts for until '
  'then, so that rollups that have it, or have passed it, stay exact. Only user_id and id of the row are read. The caller holds the user''s row. Spec 8.2.';
--! EndIncluded analytics/note_correction.sql
--! Included analytics/package_model_usage.sql
create or replace view core.package_model_usage as
select
  p.package_id,
  p.model,
  p.answers as runs,
  round(p.answer_tokens::numeric / p.answers)::integer as average_output_tokens
from core.package_usage p
where p.answers > 0;

comment on view core.package_model_usage is
  'How long answers are, by package and model, over all completed runs with the package''s prompt; from it comes the likely figure of an '
  'estimate. As fresh as the last public.refresh_user_cost_analytics(). Spec 5.7.';
comment on column core.package_model_usage.package_id is 'The package.';
comment on column core.package_model_usage.model is 'models.alias.';
comment on column core.package_model_usage.runs is 'Completed runs, baselines left out.';
comment on column core.package_model_usage.average_output_tokens is 'Tokens that an answer had on average.';
--! EndIncluded analytics/package_model_usage.sql
--! Included analytics/refresh_usage.sql
create or replace function core.refresh_usage()
returns bigint
language sql
set search_path = ''
set jit = off
set enable_seqscan = on
set work_mem = '64MB'
begin atomic
  with marks as materialized (
    select
      u.id as user_id, coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000') as from_run_id, u.last_run_id,
      (select o.id from unnest(u.open_runs) o (id) where o.id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000') order by o.id limit 1) as first_open_run
    from public.users u
    left join core.usage_marks m on m.user_id = u.id
    where u.last_run_id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000')
  ),
  moves as materialized (
    select
      k.user_id, k.from_run_id,
      case when k.first_open_run is null then k.last_run_id else (
        select r.id from public.runs r
        where r.user_id = k.user_id and r.id > k.from_run_id and r.id < k.first_open_run
        order by r.id desc limit 1
      ) end as through_run_id
    from marks k
  ),
  corrections as materialized (
    select c.user_id, c.run_id, c.n, coalesce(c.run_id <= m.through_run_id, false) as is_behind, r.status = 'running' as is_running
    from core.usage_corrections c
    left join core.usage_marks m on m.user_id = c.user_id
    left join public.runs r on r.user_id = c.user_id and r.id = c.run_id
  ),
  news as materialized (
    select
      x.user_id, x.day, x.model, x.package_id, x.tier_name,
      sum(x.runs)::bigint as runs,
      sum(x.failed_runs)::bigint as failed_runs,
      sum(x.input_tokens)::bigint as input_tokens,
      sum(x.cached_tokens)::bigint as cached_tokens,
      sum(x.cache_write_tokens)::bigint as cache_write_tokens,
      sum(x.output_tokens)::bigint as output_tokens,
      sum(x.cost) as cost,
      sum(x.limited_cost) as limited_cost,
      sum(x.credits)::bigint as credits,
      sum(x.shortfall)::bigint as shortfall,
      sum(x.included_value) as included_value,
      sum(x.purchased_value) as purchased_value,
      sum(x.cache_saving) as cache_saving,
      sum(x.answers)::bigint as answers,
      sum(x.answer_tokens)::bigint as answer_tokens,
      sum(x.paid_credits)::bigint as paid_credits,
      sum(x.paid_cost) as paid_cost
    from (
      select
        k.user_id, t.day, t.model, t.package_id, t.tier_name, t.runs, t.failed_runs, t.input_tokens, t.cached_tokens, t.cache_write_tokens,
        t.output_tokens, t.cost, t.limited_cost, t.credits, t.shortfall, t.included_value, t.purchased_value, t.cache_saving, t.answers,
        t.answer_tokens, t.paid_credits, t.paid_cost
      from moves k
      cross join lateral (
        select * from core.usage_by_run x
        where x.user_id = k.user_id and x.run_id > k.from_run_id and x.run_id <= k.through_run_id
        offset 0
      ) t
      union all
      select
        c.user_id, c.day, c.model, c.package_id, c.tier_name, c.runs, c.failed_runs, c.input_tokens, c.cached_tokens, c.cache_write_tokens,
        c.output_tokens, c.cost, c.limited_cost, c.credits, c.shortfall, c.included_value, c.purchased_value, c.cache_saving, c.answers,
        c.answer_tokens, c.paid_credits, c.paid_cost
      from core.usage_corrected c
      join core.usage_marks m on m.user_id = c.user_id and c.run_id <= m.through_run_id
    ) x
    group by x.user_id, x.day, x.model, x.package_id, x.tier_name
  ),
  rolled_up as (
    insert into public.usage_rollups as r (
      user_id, day, model, package_id, tier_name, runs, failed_runs, input_tokens, cached_tokens, cache_write_tokens, output_tokens, cost,
      limited_cost, credits, shortfall, included_value, purchased_value, cache_saving, answers, answer_tokens, paid_credits, paid_cost
    )
    select
      n.user_id, n.day, n.model, n.package_id, n.tier_name, n.runs, n.failed_runs, n.input_tokens, n.cached_tokens, n.cache_write_tokens,
      n.output_tokens, n.cost, n.limited_cost, n.credits, n.shortfall, n.included_value, n.purchased_value, n.cache_saving, n.answers,
      n.answer_tokens, n.paid_credits, n.paid_cost
    from news n
    on conflict (user_id, day, model, package_id, tier_name) do update set
      runs = r.runs + excluded.runs, failed_runs = r.failed_runs + excluded.failed_runs,
      input_tokens = r.input_tokens + excluded.input_tokens, cached_tokens = r.cached_tokens + excluded.cached_tokens,
      cache_write_tokens = r.cache_write_tokens + excluded.cache_write_tokens, output_tokens = r.output_tokens + excluded.output_tokens,
      cost = r.cost + excluded.cost, limited_cost = r.limited_cost + excluded.limited_cost, credits = r.credits + excluded.credits,
      shortfall = r.shortfall + excluded.shortfall, included_value = r.included_value + excluded.included_value,
      purchased_value = r.purchased_value + excluded.purchased_value, cache_saving = r.cache_saving + excluded.cache_saving,
      answers = r.answers + excluded.answers, answer_tokens = r.answer_tokens + excluded.answer_tokens,
      paid_credits = r.paid_credits + excluded.paid_credits, paid_cost = r.paid_cost + excluded.paid_cost
  ),
  moved as (
    insert into core.usage_marks as m (user_id, through_run_id)
    select k.user_id, k.through_run_id from moves k where k.through_run_id is not null
    on conflict (user_id) do update set through_run_id = excluded.through_run_id
  ),
  by_package as (
    insert into core.package_usage as p (package_id, model, answers, answer_tokens)
    select n.package_id, n.model, sum(n.answers)::bigint, sum(n.answer_tokens)::bigint
    from news n
    where n.answers <> 0 or n.answer_tokens <> 0
    group by n.package_id, n.model
    on conflict (package_id, model) do update set
      answers = p.answers + excluded.answers, answer_tokens = p.answer_tokens + excluded.answer_tokens
  ),
  folded as (
    delete from core.usage_corrections c
    using corrections x
    where c.user_id = x.user_id and c.run_id = x.run_id and c.n = x.n and not (x.is_behind and x.is_running)
  )
  select count(*) from news;
end;

comment on function core.refresh_usage() is
  'Rolls up what has ended since the last time, in one statement and so of one moment; runs go on meanwhile, and nothing of it waits for them or '
  'they for it. Costs by users and new runs. Returns how many rollups it touched. One at a time: the caller sees to it. Spec 8.2, docs/adr/0016.';
--! EndIncluded analytics/refresh_usage.sql
--! Included analytics/audit_usage.sql
create or replace function core.audit_usage(only_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '256MB'
set jit = off
set enable_seqscan = on
as $$
#variable_conflict use_column
begin
  return query
  select
    coalesce(e.user_id, a.user_id), 'usage_' || figure.name,
    format('%s of %s, package %s, %s', coalesce(e.model, a.model), coalesce(e.day, a.day), coalesce(e.package_id, a.package_id), coalesce(e.tier_name, a.tier_name)),
    coalesce(trim_scale(figure.expected)::text, 'no runs'), coalesce(trim_scale(figure.actual)::text, 'no runs')
  from (
    select
      r.user_id, r.day, r.model, r.package_id, r.tier_name,
      sum(r.runs) as runs, sum(r.failed_runs) as failed_runs, sum(r.input_tokens) as input_tokens, sum(r.cached_tokens) as cached_tokens,
      sum(r.cache_write_tokens) as cache_write_tokens, sum(r.output_tokens) as output_tokens, sum(r.cost) as cost,
      sum(r.limited_cost) as limited_cost, sum(r.credits) as credits, sum(r.shortfall) as shortfall,
      sum(r.included_value) as included_value, sum(r.purchased_value) as purchased_value, sum(r.cache_saving) as cache_saving,
      sum(r.answers) as answers, sum(r.answer_tokens) as answer_tokens,
      sum(r.paid_credits) as paid_credits, sum(r.paid_cost) as paid_cost
    from core.usage_by_run r
    where only_user is null or r.user_id = only_user
    group by r.user_id, r.day, r.model, r.package_id, r.tier_name
  ) e
  full join (
    select d.* from core.usage_by_day d where only_user is null or d.user_id = only_user
  ) a on a.user_id = e.user_id and a.day = e.day and a.model = e.model and a.package_id = e.package_id and a.tier_name = e.tier_name
  cross join lateral (values
    ('runs', e.runs, a.runs), ('failed_runs', e.failed_runs, a.failed_runs), ('input_tokens', e.input_tokens, a.input_tokens),
    ('cached_tokens', e.cached_tokens, a.cached_tokens), ('cache_write_tokens', e.cache_write_tokens, a.cache_write_tokens),
    ('output_tokens', e.output_tokens, a.output_tokens), ('cost', e.cost, a.cost), ('limited_cost', e.limited_cost, a.limited_cost),
    ('credits', e.credits, a.credits), ('shortfall', e.shortfall, a.shortfall), ('included_value', e.included_value, a.included_value),
    ('purchased_value', e.purchased_value, a.purchased_value), ('cache_saving', e.cache_saving, a.cache_saving),
    ('answers', e.answers, a.answers), ('answer_tokens', e.answer_tokens, a.answer_tokens),
    ('paid_credits', e.paid_credits, a.paid_credits), ('paid_cost', e.paid_cost, a.paid_cost)
  ) figure (name, expected, actual)
  where (
    e.runs = a.runs and e.failed_runs = a.failed_runs and e.input_tokens = a.input_tokens and e.cached_tokens = a.cached_tokens and
    e.cache_write_tokens = a.cache_write_tokens and e.output_tokens = a.output_tokens and e.cost = a.cost and e.limited_cost = a.limited_cost and
    e.credits = a.credits and e.shortfall = a.shortfall and e.included_value = a.included_value and e.purchased_value = a.purchased_value and
    e.cache_saving = a.cache_saving and e.answers = a.answers and e.answer_tokens = a.answer_tokens and e.paid_credits = a.paid_credits
    and e.paid_cost = a.paid_cost
  ) is not true and figure.expected is distinct from figure.actual;

  if only_user is null then
    return query
    select null::uuid, 'package_usage', format('package %s, %s', coalesce(e.package_id, p.package_id), coalesce(e.model, p.model)),
      format('%s answers, %s tokens', coalesce(e.answers, 0), coalesce(e.answer_tokens, 0)),
      format('%s answers, %s tokens', coalesce(p.answers, 0), coalesce(p.answer_tokens, 0))
    from (
      select r.package_id, r.model, sum(r.answers) as answers, sum(r.answer_tokens) as answer_tokens
      from public.usage_rollups r
      group by r.package_id, r.model
    ) e
    full join core.package_usage p on p.package_id = e.package_id and p.model = e.model
    where (coalesce(e.answers, 0), coalesce(e.answer_tokens, 0)) <> (coalesce(p.answers, 0), coalesce(p.answer_tokens, 0));
  end if;
end
$$;

comment on function core.audit_usage(uuid) is
  'Part of ops.audit_books: each figure of core.usage_by_day against a sum over runs, and what packages'' answers count against the rollups. '
  'null: all users. Spec 8.2.';
--! EndIncluded analytics/audit_usage.sql
--! Included analytics/recount_usage.sql
create or replace function ops.recount_usage("user" text, reason text, dry_run boolean default false)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
begin
  if not pg_try_advisory_xact_lock(hashtext('refresh_user_cost_analytics')) then
    raise exception 'a refresh of the analytics is running' using errcode = 'PR409', detail = 'user', hint = 'Try again when it has ended.';
  end if;
  return query select * from core.audit_usage(target);
  if dry_run then
    return;
  end if;

  perform core.note_action('recount_usage', target::text, reason, null);
  delete from public.usage_rollups r where r.user_id = target;
  delete from core.usage_marks m where m.user_id = target;
  delete from core.package_usage;
  insert into core.package_usage (package_id, model, answers, answer_tokens)
  select r.package_id, r.model, sum(r.answers)::bigint, sum(r.answer_tokens)::bigint
  from public.usage_rollups r
  group by r.package_id, r.model
  having sum(r.answers) <> 0 or sum(r.answer_tokens) <> 0;
end
$$;

comment on function ops.recount_usage(text, text, boolean) is
  'Throws a user''s rollups away, where ops.audit_books() finds fault with them: their figures are those of their runs at once, and the next '
  'refresh rolls them up anew. Sums by package and model are added up anew too. Returns what was wrong; dry_run changes nothing. '
  'Call: select * from ops.recount_usage(''user@example.com'', ''audit named usage_cost''); '
  'Errors: PR404, PR409 while a refresh runs, PR400 without a reason. Spec 4.8, 8.2.';
--! EndIncluded analytics/recount_usage.sql
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
  return query select * from core.audit_usage(only_user);
end
$$;

comment on function ops.audit_books(text) is
  'Every disagreement between transfers, lots, purchases, paid periods, runs, prices, windows, holds and rollups of usage: which user, which check, of which object, what it '
  'should be and what it is. No row: the books balance. Recomputes all from transfers, runs and the price book; "user" (id, e-mail or '
  'username) looks at one. Call: select * from ops.audit_books(); Errors: PR404 unknown user. Spec 4.8.';
--! EndIncluded runs/audit_books.sql
--! Included runs/begin_run.sql
create or replace function api.begin_run(
  user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean,
  input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer,
  idempotency_key text, request_hash bytea
)
returns core.begun_run
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  s public.settings;
  u public.users;
  l public.cost_limits_config;
  m public.models;
  begun core.begun_run;
  is_known boolean := false;
  asked_id uuid;
  refusal json;
  p record;
  k record;
  v record;
  talk record;
  hold_included bigint;
  hold_cost numeric;
  now timestamptz;
  cost_left numeric;
  estimated_input integer;
  held_input integer;
  wanted_output integer;
  output_cap integer;
  useful integer;
  hold_credits bigint;
  exact boolean;
  counts boolean;
  prompt_multiplier numeric := 1;
  history json;
begin
  -- Rows are read whole, as one value: a list of columns is set up anew, column by column, in every call.
  s := (select x from public.settings x);
  u := (select x from public.users x where x.id = begin_run.user_id for no key update);
  if u.id is null then
    raise exception 'user % is unknown', begin_run.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  now := clock_timestamp() + s.clock_offset;

  -- Seen before: the same run, or the same key. Ids are ordered by time: one above all others is new.
  if begin_run.run_id <= u.last_run_id then
    select r.id, r.session_id, r.status into k from public.runs r where r.user_id = u.id and r.id = begin_run.run_id;
    is_known := found;
  end if;
  if not is_known and idempotency_key is not null then
    select i.run_id, i.request_hash into k
    from public.idempotency_keys i
    where i.user_id = u.id and i.key = idempotency_key and i.created_at > now - interval '24 hours';
    if found and k.request_hash <> begin_run.request_hash then
      begun.outcome := 'refused';
      begun.refusal := core.describe_refusal('idempotency_conflict', 409,
        'This Idempotency-Key was used for another request. Use a new key for a new request.', now);
      perform core.count_refusal(u.id, begun.refusal, now);
      return begun;
    end if;
    if found then
      select r.id, r.session_id, r.status into k from public.runs r where r.user_id = u.id and r.id = k.run_id;
      is_known := found;
    end if;
  end if;
  if is_known then
    begun.outcome := 'known';
    begun.begun_run_id := k.id;
    begun.begun_session_id := k.session_id;
    begun.run_status := k.status;
    return begun;
  end if;

  -- What has passed since the last use.
  if u.next_lot_expiry <= now or u.holds_expire_at <= now then
    perform core.expire_user_holds(u.id, now);
    perform core.tidy_lots(u.id, now);
    u := (select x from public.users x where x.id = begin_run.user_id);
  end if;
  if now >= least(u.minute_ends_at, u.hour_ends_at, u.day_ends_at, u.month_ends_at) then
    u := core.roll_windows(u, now);
  end if;
  u.minute_attempts := u.minute_attempts + 1;

  -- The tier and its limits.
  l := (
    select x from public.cost_limits_config x
    where x.tier_name = core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now)
  );
  if not l.is_active then
    l := core.find_limits(l.tier_name);
  end if;

  -- Looked at closely only where something may stand in the way.
  if u.closed_at is not null or l.tier_name is null or not s.runs_enabled or u.is_throttled or l.paused_until is not null
    or u.minute_attempts > l.minute_request_limit or u.hour_requests >= l.hourly_request_limit
  then
    refusal := core.refuse_by_standing(u, l, s.runs_enabled, now);
  end if;
  if refusal is not null then
    return core.refuse_run(u, l, refusal, now);
  end if;

  -- What is asked for.
  if begin_run.model is null then
    m := (select x from public.models x where x.is_default);
  else
    m := (select x from public.models x where x.alias = begin_run.model);
  end if;
  select x.id, x.input, x.cache_write, x.output into p
  from public.model_prices x
  where x.model = m.alias and x.valid @> now;

  -- A condition on null is planned anew each time, so it is not asked by id where none was given.
  asked_id := core.uuid_or_null(begin_run.package);
  is_known := asked_id is not null;
  if is_known then
    select x.id, x.name, x.latest_version, x.visibility, x.author_id, x.organization_id into k
    from public.packages x
    where x.id = asked_id;
    is_known := found;
  end if;
  if not is_known then
    select x.id, x.name, x.latest_version, x.visibility, x.author_id, x.organization_id into k
    from public.packages x
    where x.name = lower(begin_run.package);
  end if;
  select x.version, x.prompt, x.tokens_o200k, x.tokens_cl100k, x.tokens_approximate, x.cache_prompt into v
  from public.package_versions x
  where x.package_id = k.id and x.version = coalesce(begin_run.package_version, k.latest_version);

  if m.alias is null or not m.enabled or p.id is null then
    refusal := core.refuse_by_model(begin_run.model, m, now);
  elsif k.id is null or v.version is null or k.visibility = 'private' then
    refusal := core.refuse_by_package(
      u.id, begin_run.package, begin_run.package_version, k.id, k.visibility, k.author_id, k.organization_id, v.version, now
    );
  end if;
  if refusal is null and custom_prompt_tokens is not null and not u.verified_author then
    refusal := core.describe_refusal('verified_author_required', 403,
      'Custom prompts are only available to verified authors.', now);
  end if;
  if refusal is null and begin_run.session_id is not null then
    select x.* into talk from core.continue_session(u.id, begin_run.session_id, k.id, m.alias, now) x;
    refusal := talk.refusal;
  end if;
  if refusal is not null then
    return core.refuse_run(u, l, refusal, now);
  end if;

  -- How large it is: tokens read for certain, tokens written at most.
  exact := counted_with = m.tokenizer and m.tokenizer <> 'approximate';
  estimated_input := begin_run.input_tokens + 7;
  if custom_prompt_tokens is not null then
    prompt_multiplier := s.custom_prompt_multiplier;
    estimated_input := estimated_input + custom_prompt_tokens + 4;
  elsif not use_no_prompt then
    estimated_input := estimated_input + 4 + case m.tokenizer
      when 'o200k_base' then v.tokens_o200k when 'cl100k_base' then v.tokens_cl100k else v.tokens_approximate
    end;
  end if;
  if begin_run.session_id is not null then
    estimated_input := estimated_input + talk.tokens;
    history := talk.messages;
    exact := exact and talk.same_model;
  end if;
  held_input := ceil(estimated_input * case when exact then s.estimate_safety_exact else s.estimate_safety end);
  wanted_output := least(
    begin_run.max_output_tokens, m.max_output_tokens, s.max_request_tokens - estimated_input, m.context_tokens - estimated_input,
    case when custom_prompt_tokens is null then s.max_output_tokens else s.custom_max_output_tokens end
  );
  useful := least(
    s.min_output_tokens, begin_run.max_output_tokens, m.max_output_tokens,
    case when custom_prompt_tokens is null then s.max_output_tokens else s.custom_max_output_tokens end
  );

  -- How much of it credits and cost windows can bear: all of it on credits that were not purchased, or what fits.
  if l.throttle_on_exceed and not coalesce(u.limits_waived_until > now, false) then
    cost_left := least(
      l.daily_cost_limit - u.current_day_limited_cost - u.day_held_cost,
      l.monthly_cost_limit - u.current_month_limited_cost - u.month_held_cost
    );
  end if;
  output_cap := wanted_output;
  hold_credits := core.charge_for(held_input + wanted_output, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier);
  hold_included := hold_credits;
  hold_cost := (held_input * greatest(p.input, p.cache_write) + wanted_output * p.output) * 0.000001;
  if hold_credits > u.included_credits - u.held_included or hold_cost > cost_left then
    select x.output_cap, x.hold_included + x.hold_purchased, x.hold_included, x.hold_cost
    into output_cap, hold_credits, hold_included, hold_cost
    from core.fit_run(
      held_input, wanted_output, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier,
      greatest(p.input, p.cache_write), p.output,
      u.included_credits - u.held_included, u.purchased_credits - u.held_purchased, cost_left, s.purchased_cost_per_credit_cap
    ) x;
  end if;
  if output_cap < useful then
    refusal := core.refuse_by_size(
      u, l, s, m, greatest(p.input, p.cache_write), p.output, prompt_multiplier, estimated_input, held_input, wanted_output, useful, cost_left is not null, now
    );
    begun := core.refuse_run(u, l, refusal, now);
    begun.estimated_input := estimated_input;
    begun.held_input := held_input;
    begun.wanted_output := wanted_output;
    return begun;
  end if;

  -- It may run.
  counts := hold_included > 0;
  insert into public.runs (
    user_id, id, session_id, status, model, provider_model, package_id, package_version, baseline, tier_name,
    price_id, credit_multiplier, prompt_multiplier, tokens_per_credit, estimated_input, question_tokens, estimate_is_exact,
    output_cap, hold_included, hold_purchased, hold_cost, hold_expires_at, estimated, cost, limited_cost, credits, shortfall, started_at
  ) values (
    u.id, begin_run.run_id, coalesce(begin_run.session_id, begin_run.run_id), 'running', m.alias, m.provider_model, k.id, v.version,
    use_no_prompt, l.tier_name,
    p.id, m.credit_multiplier, prompt_multiplier, s.tokens_per_credit, estimated_input, begin_run.input_tokens, exact,
    output_cap, hold_included, hold_credits - hold_included, hold_cost, now + s.hold_ms * interval '1 millisecond', false, 0, 0, 0, 0, now
  );
  if begin_run.run_id < u.last_run_id then
    perform core.note_correction((select x from public.runs x where x.user_id = u.id and x.id = begin_run.run_id)); -- rollups may have passed it
  end if;
  if begin_run.session_id is null then
    insert into public.sessions (user_id, id, package_id, last_run_id, created_at, last_run_at)
    values (u.id, begin_run.run_id, k.id, begin_run.run_id, now, now);
  else
    update public.sessions x set last_run_id = begin_run.run_id, last_run_at = now
    where x.user_id = u.id and x.id = begin_run.session_id;
  end if;
  if idempotency_key is not null then
    perform core.keep_key(u.id, idempotency_key, begin_run.request_hash, begin_run.run_id, now);
  end if;
  update public.users x set
    minute_attempts = u.minute_attempts, minute_ends_at = u.minute_ends_at,
    hour_requests = u.hour_requests + 1, hour_ends_at = u.hour_ends_at,
    current_day_api_cost = u.current_day_api_cost, current_day_limited_cost = u.current_day_limited_cost,
    day_held_cost = u.day_held_cost + case when counts then hold_cost else 0 end, day_ends_at = u.day_ends_at,
    current_month_api_cost = u.current_month_api_cost, current_month_limited_cost = u.current_month_limited_cost,
    month_held_cost = u.month_held_cost + case when counts then hold_cost else 0 end, month_ends_at = u.month_ends_at,
    current_month_requests = u.current_month_requests + 1, total_requests = u.total_requests + 1,
    last_request_at = greatest(u.last_request_at, now),
    last_run_id = greatest(u.last_run_id, begin_run.run_id),
    held_included = u.held_included + hold_included, held_purchased = u.held_purchased + hold_credits - hold_included,
    open_runs = u.open_runs || begin_run.run_id,
    holds_expire_at = least(u.holds_expire_at, now + s.hold_ms * interval '1 millisecond'),
    updated_at = now
  where x.id = u.id;
  if u.is_throttled then
    perform core.judge_throttle(u.id, now);
  end if;

  return row(
    'started', begin_run.run_id, coalesce(begin_run.session_id, begin_run.run_id), 'running', null,
    m.provider, m.provider_model, m.alias, k.id, k.name, v.version,
    case when not use_no_prompt and custom_prompt_tokens is null then v.prompt end, history,
    output_cap, v.cache_prompt, s.first_token_timeout_ms, s.run_timeout_ms, s.checkpoint_ms, s.abandon_after_ms,
    hold_credits, u.included_credits + u.purchased_credits - u.held_included - u.held_purchased - hold_credits,
    estimated_input, held_input, wanted_output,
    l.minute_request_limit, l.minute_request_limit - least(l.minute_request_limit, u.minute_attempts),
    ceil(extract(epoch from u.minute_ends_at - now))
  )::core.begun_run;
end
$$;

comment on function api.begin_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, bytea) is
  'Lets a run in, or says why not: one lock, one transaction. package is an id or name; package_version null is the newest; session_id '
  'null begins a session that has the run''s id; model null is the default; input_tokens is the caller''s own text counted with '
  'counted_with; max_output_tokens null is no wish; custom_prompt_tokens not null: the caller''s own prompt of so many tokens takes the '
  'package''s place. Returns core.begun_run, outcome: started (with the exact provider request), known (the run id or key was seen before: see run_status) or '
  'refused (refusal: code, status, figures, when to try again). Errors: PR404 unknown user. Spec 1.3, 1.5, 3.2 to 3.7, 5.1, 5.3, 5.5.';
--! EndIncluded runs/begin_run.sql
--! Included runs/reopen_run.sql
create or replace function core.reopen_run(r public.runs, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  purchased_alone boolean;
begin
  perform core.note_correction(r);

  -- What the expiry charged goes back.
  perform core.give_back(r, reopen_run.now, 'The run was not dead: charged anew by what it really used');

  -- Unbook its cost, and let it hold no more than what it gave back and is still free.
  select x.* into strict u from public.users x where x.id = r.user_id;
  u := core.roll_windows(u, reopen_run.now);
  u.lifetime_api_cost := u.lifetime_api_cost - r.cost;
  if r.started_at >= u.day_ends_at - interval '24 hours' then
    u.current_day_api_cost := u.current_day_api_cost - r.cost;
    u.current_day_limited_cost := u.current_day_limited_cost - r.limited_cost;
  end if;
  if r.started_at >= (u.month_ends_at at time zone 'UTC' - interval '1 month') at time zone 'UTC' then
    u.current_month_api_cost := u.current_month_api_cost - r.cost;
    u.current_month_limited_cost := u.current_month_limited_cost - r.limited_cost;
  end if;
  purchased_alone := r.hold_included = 0;
  r.hold_included := least(r.hold_included, greatest(0, u.included_credits - u.held_included));
  r.hold_purchased := case
    when r.hold_included = 0 and not purchased_alone then 0 -- or its cost would no longer count against limits
    else least(r.hold_purchased, greatest(0, u.purchased_credits - u.held_purchased))
  end;

  update public.users x set
    current_day_api_cost = u.current_day_api_cost, current_day_limited_cost = u.current_day_limited_cost,
    day_held_cost = u.day_held_cost, day_ends_at = u.day_ends_at,
    current_month_api_cost = u.current_month_api_cost, current_month_limited_cost = u.current_month_limited_cost,
    month_held_cost = u.month_held_cost, month_ends_at = u.month_ends_at, current_month_requests = u.current_month_requests,
    hour_requests = u.hour_requests, hour_ends_at = u.hour_ends_at, lifetime_api_cost = u.lifetime_api_cost,
    held_included = u.held_included + r.hold_included, held_purchased = u.held_purchased + r.hold_purchased,
    open_runs = u.open_runs || r.id, holds_expire_at = least(u.holds_expire_at, reopen_run.now)
  where x.id = u.id;
  update public.runs x set
    status = 'running', cost = 0, limited_cost = 0, credits = 0, shortfall = 0, credits_by_kind = null,
    included_value = 0, purchased_value = 0, error = null, error_reason = null,
    finished_at = null, hold_included = r.hold_included, hold_purchased = r.hold_purchased, hold_cost = 0
  where x.user_id = r.user_id and x.id = r.id;
  perform core.refresh_lots(r.user_id);
end
$$;

comment on function core.reopen_run(public.runs, timestamptz) is
  'Undoes what an expiry booked for a run, credits and cost, so that it can be settled by what it really used in the same transaction. '
  'Its hold is what is free by now. The caller holds the user''s row. Spec 5.3.';
--! EndIncluded runs/reopen_run.sql

--! Included analytics/paying_subscriptions.sql
create or replace function core.paying_subscriptions(at timestamptz)
returns table (user_id uuid, plan text, monthly_amount numeric)
language sql
stable
begin atomic
  select s.user_id, s.plan, s.monthly_amount
  from public.subscriptions s
  join public.users u on u.id = s.user_id and u.entitled_until > paying_subscriptions.at
  where s.status in ('active', 'past_due') and s.ended_at is null and not s.superseded;
end;

comment on function core.paying_subscriptions(timestamptz) is
  'Subscriptions that entitle their user at that time and pay: whose, which plan, and the US dollars received for the last paid period. '
  'A trial pays nothing. Spec 8.1, 8.3.';
--! EndIncluded analytics/paying_subscriptions.sql
--! Included analytics/current_cost_figures.sql
create or replace view core.current_cost_figures as
select
  f.user_id,
  f.prpm_plus_status,
  f.month_cost as current_month_api_cost,
  f.month_requests as current_month_requests,
  round(f.month_cost / nullif(f.month_requests, 0), 8) as avg_cost_per_request,
  f.lifetime_api_cost,
  f.total_requests,
  f.monthly_revenue,
  round(100 * (f.monthly_revenue - f.month_cost) / nullif(f.monthly_revenue, 0), 2) as current_margin_percent,
  f.is_throttled,
  case
    when f.month_cost > 5 then 'high_risk'
    when f.month_cost > 2.5 then 'medium_risk'
    when f.month_cost > 1 then 'low_risk'
    else 'safe'
  end as risk_level,
  f.last_request_at,
  round(100 * f.month_limited_cost / limits.monthly_cost_limit, 2) as percent_of_limit
from (
  select
    u.id as user_id,
    u.prpm_plus_status,
    case when u.month_ends_at > clock.now then u.current_month_api_cost else 0 end as month_cost,
    case when u.month_ends_at > clock.now then u.current_month_limited_cost else 0 end as month_limited_cost,
    case when u.month_ends_at > clock.now then u.current_month_requests else 0 end as month_requests,
    u.lifetime_api_cost,
    u.total_requests,
    coalesce(paying.monthly_amount, 0) as monthly_revenue,
    u.is_throttled and core.throttled_at(u, clock.now) as is_throttled,
    u.last_request_at,
    core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, clock.now) as tier_name
  from (select core.now() as now offset 0) clock
  cross join public.users u
  left join (
    select s.user_id, sum(s.monthly_amount) as monthly_amount
    from core.paying_subscriptions((select core.now())) s
    group by s.user_id
  ) paying on paying.user_id = u.id
) f
-- The rule on tiers that are not active, asked once for each tier and not for each user.
left join (
  select c.tier_name, (core.find_limits(c.tier_name)).monthly_cost_limit from public.cost_limits_config c offset 0
) limits on limits.tier_name = f.tier_name;

comment on view core.current_cost_figures is
  'Each user''s cost and revenue at this moment, from their own row: what a refresh writes to core.user_cost_figures, where the columns are '
  'explained. Spec 8.1.';
comment on column core.current_cost_figures.user_id is 'Who.';
comment on column core.current_cost_figures.prpm_plus_status is 'active while a subscription entitles, else Stripe''s own word, or null.';
comment on column core.current_cost_figures.current_month_api_cost is 'US dollars: all provider cost of runs begun this calendar month (UTC); 0 once that month is over.';
comment on column core.current_cost_figures.current_month_requests is 'Runs let in this month.';
comment on column core.current_cost_figures.avg_cost_per_request is 'US dollars a run this month, 8 decimals; null without a run.';
comment on column core.current_cost_figures.lifetime_api_cost is 'US dollars: provider cost of every run ever.';
comment on column core.current_cost_figures.total_requests is 'Runs ever let in.';
comment on column core.current_cost_figures.monthly_revenue is 'US dollars a month that entitling subscriptions pay now; a trial pays nothing.';
comment on column core.current_cost_figures.current_margin_percent is 'Revenue less cost, in percent of revenue, 2 decimals; null without revenue.';
comment on column core.current_cost_figures.is_throttled is 'True while throttled.';
comment on column core.current_cost_figures.risk_level is 'By cost this month: above 5 dollars high_risk, above 2.50 medium_risk, above 1 low_risk, else safe.';
comment on column core.current_cost_figures.last_request_at is 'When the last run was let in.';
comment on column core.current_cost_figures.percent_of_limit is 'Percent of the true tier''s monthly limit that is used, by the cost that counts against it; null without a limit.';
--! EndIncluded analytics/current_cost_figures.sql
--! Included analytics/refresh_cost_figures.sql
create or replace function core.refresh_cost_figures()
returns void
language sql
set search_path = ''
set jit = off
set enable_seqscan = on
begin atomic
  insert into core.user_cost_figures as f (
    user_id, prpm_plus_status, current_month_api_cost, current_month_requests, avg_cost_per_request, lifetime_api_cost, total_requests,
    monthly_revenue, current_margin_percent, is_throttled, risk_level, last_request_at, percent_of_limit
  )
  select n.*
  from core.current_cost_figures n
  left join core.user_cost_figures o on o.user_id = n.user_id
  where row(n.*) is distinct from row(o.*)
  on conflict (user_id) do update set
    prpm_plus_status = excluded.prpm_plus_status, current_month_api_cost = excluded.current_month_api_cost,
    current_month_requests = excluded.current_month_requests, avg_cost_per_request = excluded.avg_cost_per_request,
    lifetime_api_cost = excluded.lifetime_api_cost, total_requests = excluded.total_requests, monthly_revenue = excluded.monthly_revenue,
    current_margin_percent = excluded.current_margin_percent, is_throttled = excluded.is_throttled, risk_level = excluded.risk_level,
    last_request_at = excluded.last_request_at, percent_of_limit = excluded.percent_of_limit;

  delete from core.user_cost_figures f where not exists (select from public.users u where u.id = f.user_id);
end;

comment on function core.refresh_cost_figures() is
  'Writes the figures of users that changed, and takes out users that are gone. One at a time: the caller sees to it. Spec 8.1.';
--! EndIncluded analytics/refresh_cost_figures.sql
--! Included analytics/user_cost_analytics.sql
create or replace view public.user_cost_analytics as
select
  f.user_id,
  u.email,
  f.prpm_plus_status,
  f.current_month_api_cost,
  f.current_month_requests,
  f.avg_cost_per_request,
  f.lifetime_api_cost,
  f.total_requests,
  f.monthly_revenue,
  f.current_margin_percent,
  f.is_throttled,
  f.risk_level,
  f.last_request_at,
  u.created_at as user_created_at,
  a.refreshed_at as created_at,
  f.percent_of_limit
from core.user_cost_figures f
join public.users u on u.id = f.user_id
cross join core.analytics_refresh a;

comment on view public.user_cost_analytics is
  'What each user costs and pays this month, as of created_at; refresh it with select refresh_user_cost_analytics(). Spec 8.1.';
comment on column public.user_cost_analytics.user_id is 'Who.';
comment on column public.user_cost_analytics.email is 'Verified e-mail, or null.';
comment on column public.user_cost_analytics.prpm_plus_status is 'active while a subscription entitles, else Stripe''s own word, or null.';
comment on column public.user_cost_analytics.current_month_api_cost is 'US dollars: all provider cost of runs begun this calendar month (UTC); 0 once that month is over.';
comment on column public.user_cost_analytics.current_month_requests is 'Runs let in this month.';
comment on column public.user_cost_analytics.avg_cost_per_request is 'US dollars a run this month, 8 decimals; null without a run.';
comment on column public.user_cost_analytics.lifetime_api_cost is 'US dollars: provider cost of every run ever.';
comment on column public.user_cost_analytics.total_requests is 'Runs ever let in.';
comment on column public.user_cost_analytics.monthly_revenue is 'US dollars a month that entitling subscriptions pay now; a trial pays nothing.';
comment on column public.user_cost_analytics.current_margin_percent is 'Revenue less cost, in percent of revenue, 2 decimals; null without revenue.';
comment on column public.user_cost_analytics.is_throttled is 'True while throttled.';
comment on column public.user_cost_analytics.risk_level is 'By cost this month: above 5 dollars high_risk, above 2.50 medium_risk, above 1 low_risk, else safe.';
comment on column public.user_cost_analytics.last_request_at is 'When the last run was let in.';
comment on column public.user_cost_analytics.user_created_at is 'When the person was first seen.';
comment on column public.user_cost_analytics.created_at is 'When these figures were refreshed, by the machine''s own clock.';
comment on column public.user_cost_analytics.percent_of_limit is
  'Percent of the true tier''s monthly limit that is used, by the cost that counts against it; null without a limit.';
--! EndIncluded analytics/user_cost_analytics.sql
grant select on public.user_cost_analytics to prpm_readonly;
--! Included analytics/refresh_user_cost_analytics.sql
create or replace function public.refresh_user_cost_analytics()
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
  people bigint;
begin
  if not pg_try_advisory_xact_lock(hashtext('refresh_user_cost_analytics')) then
    return 'a refresh is running: nothing to do';
  end if;

  perform core.refresh_usage();
  perform core.refresh_cost_figures();
  update core.analytics_refresh a set refreshed_at = clock_timestamp();

  select count(*) into people from core.user_cost_figures;
  return format('refreshed %s user%s', people, case when people <> 1 then 's' end);
end
$$;

comment on function public.refresh_user_cost_analytics() is
  'Brings user_cost_analytics, the rollups of usage, and what estimates draw on, up to date without holding up readers or runs; costs by users '
  'and by runs since the last time. Returns how many users there are, or that a refresh is running, at once. Spec 7.4, 8.1, 8.2.';
--! EndIncluded analytics/refresh_user_cost_analytics.sql
--! Included analytics/month_figures.sql
create or replace function core.month_figures(at timestamptz)
returns table (
  subscription_revenue numeric, pack_revenue numeric, earned_pack_revenue numeric, cost numeric, overall_margin_percent numeric,
  active_users bigint, throttled_users bigint, high_risk_users bigint, users bigint
)
language sql
stable
set search_path = ''
set jit = off
set enable_seqscan = on
begin atomic
  with month as (
    select
      (date_trunc('month', month_figures.at at time zone 'UTC')) at time zone 'UTC' as starts_at,
      (date_trunc('month', month_figures.at at time zone 'UTC') + interval '1 month') at time zone 'UTC' as ends_at
  ),
  paying as (
    select coalesce(sum(s.monthly_amount), 0) as amount from core.paying_subscriptions(month_figures.at) s
  ),
  sold as (
    select coalesce(sum(greatest(0, p.paid_amount - p.refunded_amount - p.disputed_amount)), 0) as amount
    from month m
    join public.purchases p on p.paid_at >= m.starts_at and p.paid_at < m.ends_at
  ),
  used as (
    select coalesce(sum(d.purchased_value), 0) as earned, coalesce(sum(d.cost), 0) as cost
    from core.usage_parts d
    where d.day >= date_trunc('month', month_figures.at at time zone 'UTC')::date
      and d.day < (date_trunc('month', month_figures.at at time zone 'UTC') + interval '1 month')::date
  ),
  people as (
    select
      count(*) filter (where u.last_request_at >= m.starts_at and u.last_request_at < m.ends_at or u.entitled_until > month_figures.at) as active,
      count(*) filter (where u.is_throttled and u.closed_at is null and core.throttled_at(u, month_figures.at)) as throttled,
      count(*) filter (where u.month_ends_at > month_figures.at and u.current_month_api_cost > 5) as high_risk,
      count(*) filter (where u.closed_at is null) as total
    from month m
    cross join public.users u
  )
  select
    paying.amount, sold.amount, used.earned, used.cost,
    round(100 * (paying.amount + used.earned - used.cost) / nullif(paying.amount + used.earned, 0), 2),
    people.active, people.throttled, people.high_risk, people.total
  from paying, sold, used, people;
end;

comment on function core.month_figures(timestamptz) is
  'The figures of the calendar month (UTC) that a moment is in, one row, US dollars: what subscriptions pay now; what packs paid for in the '
  'month brought, less what was refunded or is disputed of them; the part of packs'' cash that the month''s runs earned by spending their credits; provider '
  'cost of the month''s runs; (subscriptions + earned - cost) in percent of (subscriptions + earned), 2 decimals, null without revenue. Then '
  'people: active (a run this month or an entitled subscription), throttled, high_risk (more than 5 dollars this month), and all whose account is open. '
  'Exact at every moment, whenever the analytics were refreshed. Spec 8.3.';
--! EndIncluded analytics/month_figures.sql

--! Included analytics/cash_received.sql
create or replace view core.cash_received as
select
  p.user_id, (p.paid_at at time zone 'UTC')::date as day, 'plan' as kind, p.plan as name, p.paid_amount as paid,
  greatest(0, p.paid_amount - p.refunded_amount - p.disputed_amount) as cash
from public.subscription_periods p
where p.state = 'paid' and p.paid_at is not null
union all
select
  p.user_id, (p.paid_at at time zone 'UTC')::date, 'pack', p.pack, p.paid_amount,
  greatest(0, p.paid_amount - p.refunded_amount - p.disputed_amount)
from public.purchases p
where p.paid_at is not null;

comment on view core.cash_received is
  'Money received: each paid period of a subscription and each pack. Read by the margin views. Spec 8.3, 8.4.';
comment on column core.cash_received.user_id is 'Who paid.';
comment on column core.cash_received.day is 'UTC day on which it was known to be paid.';
comment on column core.cash_received.kind is 'plan or pack.';
comment on column core.cash_received.name is 'Which one.';
comment on column core.cash_received.paid is 'US dollars received.';
comment on column core.cash_received.cash is 'US dollars of it that remain: less what was refunded or is disputed.';
--! EndIncluded analytics/cash_received.sql
--! Included analytics/margin_by_day.sql
create or replace view ops.margin_by_day as
select
  d.day,
  sum(d.runs)::bigint as runs,
  sum(d.failed_runs)::bigint as failed_runs,
  sum(d.credits)::bigint as credits,
  sum(d.included_value) as included_value_dollars,
  sum(d.purchased_value) as purchased_value_dollars,
  sum(d.cost) as cost_dollars,
  sum(d.cost - d.paid_cost) as free_cost_dollars,
  sum(d.included_value + d.purchased_value - d.cost) as margin_dollars,
  round(100 * sum(d.included_value + d.purchased_value - d.cost) / nullif(sum(d.included_value + d.purchased_value), 0), 1) as margin_percent,
  sum(d.cache_saving) as cache_saving_dollars
from core.usage_parts d
group by d.day
order by d.day desc;

comment on view ops.margin_by_day is
  'What did each day''s runs earn and cost? Newest day (UTC) first; exact at every moment. Earned is the cash that had been paid for the credits spent: a subscription''s credits that nobody spends are not in it. Spec 8.2, 8.4.';
comment on column ops.margin_by_day.day is 'UTC day in which the runs began.';
comment on column ops.margin_by_day.runs is 'Runs that have ended.';
comment on column ops.margin_by_day.failed_runs is 'Of them, runs that failed, expired, or have an error.';
comment on column ops.margin_by_day.credits is 'Credits charged.';
comment on column ops.margin_by_day.included_value_dollars is 'US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column ops.margin_by_day.purchased_value_dollars is 'US dollars of cash that had been paid for the purchased credits spent.';
comment on column ops.margin_by_day.cost_dollars is 'US dollars: exact provider cost.';
comment on column ops.margin_by_day.free_cost_dollars is 'US dollars of it that no cash paid for: of free credits, and of runs that charged nothing.';
comment on column ops.margin_by_day.margin_dollars is 'US dollars: both values less all cost.';
comment on column ops.margin_by_day.margin_percent is 'margin_dollars in percent of both values, 1 decimal; null without value.';
comment on column ops.margin_by_day.cache_saving_dollars is 'US dollars that prompt caching saved, its writes counted against it.';
--! EndIncluded analytics/margin_by_day.sql
--! Included analytics/margin_by_model.sql
create or replace view ops.margin_by_model as
select
  d.model,
  sum(d.runs)::bigint as runs,
  sum(d.failed_runs)::bigint as failed_runs,
  sum(d.credits)::bigint as credits,
  sum(d.included_value + d.purchased_value) as value_dollars,
  sum(d.cost) as cost_dollars,
  sum(d.cost - d.paid_cost) as free_cost_dollars,
  sum(d.included_value + d.purchased_value - d.paid_cost) as paid_margin_dollars,
  round(100 * sum(d.included_value + d.purchased_value - d.paid_cost) / nullif(sum(d.included_value + d.purchased_value), 0), 1) as paid_margin_percent,
  round(sum(d.paid_cost) / nullif(sum(d.paid_credits), 0), 6) as cost_per_credit_dollars,
  round(sum(d.included_value + d.purchased_value) / nullif(sum(d.paid_credits), 0), 6) as value_per_credit_dollars,
  sum(d.cache_saving) as cache_saving_dollars
from core.usage_parts d
where d.day > (select (core.now() at time zone 'UTC')::date) - 30
group by d.model
order by paid_margin_dollars;

comment on view ops.margin_by_model is
  'Which model loses money? The last 30 days, worst first. Margin is that of paid use; what free use costs stands apart. Spec 8.4.';
comment on column ops.margin_by_model.model is 'models.alias.';
comment on column ops.margin_by_model.runs is 'Runs of the last 30 days (UTC, today included) that have ended.';
comment on column ops.margin_by_model.failed_runs is 'Of them, runs that failed, expired, or have an error.';
comment on column ops.margin_by_model.credits is 'Credits charged.';
comment on column ops.margin_by_model.value_dollars is 'US dollars of cash that had been paid for the credits spent.';
comment on column ops.margin_by_model.cost_dollars is 'US dollars: exact provider cost of all its runs.';
comment on column ops.margin_by_model.free_cost_dollars is 'US dollars of it that no cash paid for: of free credits, and of runs that charged nothing.';
comment on column ops.margin_by_model.paid_margin_dollars is 'US dollars: value less the cost that paid credits bore; what is below 0 loses money.';
comment on column ops.margin_by_model.paid_margin_percent is 'paid_margin_dollars in percent of the value, 1 decimal; null without value.';
comment on column ops.margin_by_model.cost_per_credit_dollars is 'US dollars of provider cost for each paid credit; null without one.';
comment on column ops.margin_by_model.value_per_credit_dollars is 'US dollars of cash that had been paid for each paid credit; null without one.';
comment on column ops.margin_by_model.cache_saving_dollars is 'US dollars that prompt caching saved, its writes counted against it.';
--! EndIncluded analytics/margin_by_model.sql
--! Included analytics/margin_by_package.sql
create or replace view ops.margin_by_package as
select
  coalesce(p.name, d.package_id::text) as package,
  sum(d.runs)::bigint as runs,
  sum(d.failed_runs)::bigint as failed_runs,
  sum(d.credits)::bigint as credits,
  sum(d.included_value + d.purchased_value) as value_dollars,
  sum(d.cost) as cost_dollars,
  sum(d.cost - d.paid_cost) as free_cost_dollars,
  sum(d.included_value + d.purchased_value - d.paid_cost) as paid_margin_dollars,
  round(100 * sum(d.included_value + d.purchased_value - d.paid_cost) / nullif(sum(d.included_value + d.purchased_value), 0), 1) as paid_margin_percent,
  round(sum(d.paid_cost) / nullif(sum(d.paid_credits), 0), 6) as cost_per_credit_dollars,
  round(sum(d.included_value + d.purchased_value) / nullif(sum(d.paid_credits), 0), 6) as value_per_credit_dollars,
  sum(d.cache_saving) as cache_saving_dollars
from core.usage_parts d
left join public.packages p on p.id = d.package_id
where d.day > (select (core.now() at time zone 'UTC')::date) - 30
group by d.package_id, p.name
order by paid_margin_dollars;

comment on view ops.margin_by_package is
  'Which package loses money? The last 30 days, worst first. Margin is that of paid use; what free use costs stands apart. Spec 8.4.';
comment on column ops.margin_by_package.package is 'Its name.';
comment on column ops.margin_by_package.runs is 'Runs of the last 30 days (UTC, today included) that have ended.';
comment on column ops.margin_by_package.failed_runs is 'Of them, runs that failed, expired, or have an error.';
comment on column ops.margin_by_package.credits is 'Credits charged.';
comment on column ops.margin_by_package.value_dollars is 'US dollars of cash that had been paid for the credits spent.';
comment on column ops.margin_by_package.cost_dollars is 'US dollars: exact provider cost of all its runs.';
comment on column ops.margin_by_package.free_cost_dollars is 'US dollars of it that no cash paid for: of free credits, and of runs that charged nothing.';
comment on column ops.margin_by_package.paid_margin_dollars is 'US dollars: value less the cost that paid credits bore; what is below 0 loses money.';
comment on column ops.margin_by_package.paid_margin_percent is 'paid_margin_dollars in percent of the value, 1 decimal; null without value.';
comment on column ops.margin_by_package.cost_per_credit_dollars is 'US dollars of provider cost for each paid credit; null without one.';
comment on column ops.margin_by_package.value_per_credit_dollars is 'US dollars of cash that had been paid for each paid credit; null without one.';
comment on column ops.margin_by_package.cache_saving_dollars is 'US dollars that prompt caching saved, its writes counted against it.';
--! EndIncluded analytics/margin_by_package.sql
--! Included analytics/margin_by_plan.sql
create or replace view ops.margin_by_plan as
select
  coalesce(u.month, r.month) as month,
  coalesce(t.plans, 'none') as plan,
  coalesce(u.tier_name, r.tier_name) as tier_name,
  coalesce(r.periods, 0) as paid_periods,
  coalesce(r.cash, 0) as revenue_dollars,
  coalesce(u.people, 0) as people,
  coalesce(u.runs, 0) as runs,
  coalesce(u.cost, 0) as cost_dollars,
  coalesce(r.cash, 0) - coalesce(u.cost, 0) as margin_dollars,
  round(100 * (coalesce(r.cash, 0) - coalesce(u.cost, 0)) / nullif(r.cash, 0), 1) as margin_percent
from (
  select
    date_trunc('month', d.day::timestamp)::date as month, d.tier_name, count(distinct d.user_id) as people, sum(d.runs)::bigint as runs,
    sum(d.limited_cost) as cost
  from core.usage_parts d
  group by 1, 2
) u
full join (
  select date_trunc('month', c.day::timestamp)::date as month, p.tier_name, count(*) as periods, sum(c.cash) as cash
  from core.cash_received c
  join public.plans p on p.plan = c.name
  where c.kind = 'plan'
  group by 1, 2
) r on r.month = u.month and r.tier_name = u.tier_name
left join (
  select p.tier_name, string_agg(p.plan, ', ' order by p.plan) as plans from public.plans p group by p.tier_name
) t on t.tier_name = coalesce(u.tier_name, r.tier_name)
order by month desc, margin_dollars;

comment on view ops.margin_by_plan is
  'Which plan loses money? By month (UTC), newest first, then worst first: what its periods paid in the month against what runs of its tier cost, but for the cost that purchased credits paid for, which ops.margin_by_pack has. Plans that share a tier stand in one row. Spec 8.4.';
comment on column ops.margin_by_plan.month is 'Its first day.';
comment on column ops.margin_by_plan.plan is 'Plans of that tier; none: a tier that no plan gives.';
comment on column ops.margin_by_plan.tier_name is 'Tier under which the runs ran.';
comment on column ops.margin_by_plan.paid_periods is 'Billing periods paid in the month.';
comment on column ops.margin_by_plan.revenue_dollars is 'US dollars that these brought, less what was refunded or is disputed of it.';
comment on column ops.margin_by_plan.people is 'Who ran something in that tier.';
comment on column ops.margin_by_plan.runs is 'Runs that have ended.';
comment on column ops.margin_by_plan.cost_dollars is 'US dollars of provider cost that purchased credits did not pay for.';
comment on column ops.margin_by_plan.margin_dollars is 'US dollars: revenue less that cost.';
comment on column ops.margin_by_plan.margin_percent is 'margin_dollars in percent of the revenue, 1 decimal; null without revenue.';
--! EndIncluded analytics/margin_by_plan.sql
--! Included analytics/margin_by_pack.sql
create or replace view ops.margin_by_pack as
select
  p.pack,
  count(*) as sold,
  sum(p.credits)::bigint as credits_sold,
  sum(spent.credits)::bigint as credits_spent,
  sum(greatest(0, p.paid_amount - p.refunded_amount - p.disputed_amount)) as cash_dollars,
  sum(spent.credits * l.paid_per_credit) as value_dollars,
  sum(l.cost) as cost_dollars,
  sum(spent.credits * l.paid_per_credit - l.cost) as margin_dollars,
  round(100 * sum(spent.credits * l.paid_per_credit - l.cost) / nullif(sum(spent.credits * l.paid_per_credit), 0), 1) as margin_percent,
  round(sum(p.price) / sum(p.credits), 6) as price_per_credit_dollars,
  round(sum(l.cost) / nullif(sum(spent.credits), 0), 6) as cost_per_credit_dollars,
  sum(p.shortfall)::bigint as shortfall_credits
from public.purchases p
join (
  select x.user_id, x.source_id, x.paid_per_credit, x.cost, x.granted - x.remaining as gone
  from public.credit_lots x
  where x.source = 'purchase'
) l on l.user_id = p.user_id and l.source_id = p.id::text
cross join lateral (select l.gone - p.credits_taken_back as credits) spent
where p.paid_at is not null
group by p.pack
order by margin_dollars;

comment on view ops.margin_by_pack is
  'Which pack loses money? All that were ever paid, worst first: what their credits were sold for against what they paid for. Spec 8.4.';
comment on column ops.margin_by_pack.pack is 'packs.pack at the time.';
comment on column ops.margin_by_pack.sold is 'Packs paid for.';
comment on column ops.margin_by_pack.credits_sold is 'Credits promised.';
comment on column ops.margin_by_pack.credits_spent is 'Credits of them that runs have spent (or an operator revoked).';
comment on column ops.margin_by_pack.cash_dollars is 'US dollars received, less what was refunded or is disputed of it.';
comment on column ops.margin_by_pack.value_dollars is 'US dollars of cash that had been paid for the credits spent.';
comment on column ops.margin_by_pack.cost_dollars is 'US dollars of provider cost that these credits bore.';
comment on column ops.margin_by_pack.margin_dollars is 'US dollars: value less that cost; what is below 0 loses money.';
comment on column ops.margin_by_pack.margin_percent is 'margin_dollars in percent of the value, 1 decimal; null without value.';
comment on column ops.margin_by_pack.price_per_credit_dollars is 'US dollars that a credit was sold for on average.';
comment on column ops.margin_by_pack.cost_per_credit_dollars is 'US dollars of provider cost for each credit spent; null without one.';
comment on column ops.margin_by_pack.shortfall_credits is 'Credits that refunds and disputes should have taken back, but which were spent.';
--! EndIncluded analytics/margin_by_pack.sql
--! Included analytics/margin_by_user.sql
create or replace view ops.margin_by_user as
select
  d.user_id,
  coalesce(u.email, u.username, 'anonymous') as person,
  d.runs,
  d.credits,
  d.value_dollars,
  d.cost_dollars,
  d.free_cost_dollars,
  d.value_dollars - d.cost_dollars + d.free_cost_dollars as paid_margin_dollars,
  round(100 * (d.value_dollars - d.cost_dollars + d.free_cost_dollars) / nullif(d.value_dollars, 0), 1) as paid_margin_percent,
  coalesce(c.cash, 0) as cash_dollars,
  coalesce(c.cash, 0) - d.cost_dollars as cash_margin_dollars
from (
  select
    x.user_id, sum(x.runs)::bigint as runs, sum(x.credits)::bigint as credits, sum(x.included_value + x.purchased_value) as value_dollars,
    sum(x.cost) as cost_dollars, sum(x.cost - x.paid_cost) as free_cost_dollars
  from core.usage_parts x
  where x.day > (select (core.now() at time zone 'UTC')::date) - 30
  group by x.user_id
) d
left join public.users u on u.id = d.user_id
left join (
  select r.user_id, sum(r.cash) as cash
  from core.cash_received r
  where r.day > (select (core.now() at time zone 'UTC')::date) - 30
  group by r.user_id
) c on c.user_id = d.user_id
order by paid_margin_dollars;

comment on view ops.margin_by_user is
  'Which user loses us money? The last 30 days (UTC, today included), worst first. paid_margin is that of the credits spent; cash_margin counts what they paid us in those days, spent or not, and what free use cost. Spec 8.4.';
comment on column ops.margin_by_user.user_id is 'Who.';
comment on column ops.margin_by_user.person is 'E-mail, else username; anonymous without an account.';
comment on column ops.margin_by_user.runs is 'Runs that have ended.';
comment on column ops.margin_by_user.credits is 'Credits charged.';
comment on column ops.margin_by_user.value_dollars is 'US dollars of cash that had been paid for the credits spent.';
comment on column ops.margin_by_user.cost_dollars is 'US dollars: exact provider cost of all their runs.';
comment on column ops.margin_by_user.free_cost_dollars is 'US dollars of it that no cash paid for: of free credits, and of runs that charged nothing.';
comment on column ops.margin_by_user.paid_margin_dollars is 'US dollars: value less the cost that paid credits bore; what is below 0 loses money.';
comment on column ops.margin_by_user.paid_margin_percent is 'paid_margin_dollars in percent of the value, 1 decimal; null without value.';
comment on column ops.margin_by_user.cash_dollars is 'US dollars that they paid in those days for periods and packs, less what was refunded or is disputed of it.';
comment on column ops.margin_by_user.cash_margin_dollars is 'US dollars: that cash less all cost.';
--! EndIncluded analytics/margin_by_user.sql
--! Included analytics/free_use.sql
create or replace view ops.free_use as
select
  d.tier_name,
  count(distinct d.user_id) as people,
  sum(d.runs)::bigint as runs,
  sum(d.credits - d.paid_credits)::bigint as free_credits,
  sum(d.cost - d.paid_cost) as cost_dollars,
  round(sum(d.cost - d.paid_cost) / nullif(count(distinct d.user_id), 0), 6) as cost_per_person_dollars
from core.usage_by_day d
where d.day > (select (core.now() at time zone 'UTC')::date) - 30 and d.cost > d.paid_cost
group by d.tier_name
order by cost_dollars desc;

comment on view ops.free_use is
  'What does free use cost? The last 30 days (UTC, today included), by tier, most expensive first: runs on credits that nobody paid for, and runs that charged nothing. Spec 8.4.';
comment on column ops.free_use.tier_name is 'Tier at the time.';
comment on column ops.free_use.people is 'Who used something free.';
comment on column ops.free_use.runs is 'Runs on days, models and packages with free use.';
comment on column ops.free_use.free_credits is 'Credits spent that no cash had been paid for.';
comment on column ops.free_use.cost_dollars is 'US dollars of provider cost that no cash paid for.';
comment on column ops.free_use.cost_per_person_dollars is 'US dollars of it for each of these people.';
--! EndIncluded analytics/free_use.sql
--! Included analytics/loss_makers.sql
create or replace view ops.loss_makers as
with recent as materialized (
  select d.model, d.package_id, d.user_id, sum(d.paid_credits)::bigint as credits, sum(d.paid_cost) as cost, sum(d.included_value + d.purchased_value) as value
  from core.usage_parts d
  where d.day > (select (core.now() at time zone 'UTC')::date) - 30
  group by d.model, d.package_id, d.user_id
),
paid as (
  select 'model' as kind, r.model as name, sum(r.credits)::bigint as credits, sum(r.cost) as cost, sum(r.value) as value
  from recent r
  group by r.model
  union all
  select 'package', coalesce(p.name, r.package_id::text), sum(r.credits)::bigint, sum(r.cost), sum(r.value)
  from recent r
  left join public.packages p on p.id = r.package_id
  group by r.package_id, p.name
  union all
  select 'user', coalesce(u.email, u.username, r.user_id::text), sum(r.credits)::bigint, sum(r.cost), sum(r.value)
  from recent r
  left join public.users u on u.id = r.user_id
  group by r.user_id, u.email, u.username
  union all
  select 'pack', b.pack, b.credits_spent, b.cost_dollars, b.value_dollars
  from ops.margin_by_pack b
)
select
  f.kind,
  f.name,
  f.credits,
  f.cost as cost_dollars,
  f.value as value_dollars,
  f.cost - f.value as loss_dollars,
  round(f.cost / nullif(f.credits, 0), 6) as cost_per_credit_dollars,
  round(f.value / nullif(f.credits, 0), 6) as value_per_credit_dollars
from paid f
where f.cost > f.value
order by array_position(array['pack', 'package', 'model', 'user'], f.kind), loss_dollars desc;

comment on view ops.loss_makers is
  'What loses money? Packs (all that were ever sold), packages, models and users (the last 30 days) whose paid credits cost more than the cash that had been paid for them; the worst of each kind first. What is used free is no loss-maker: see ops.free_use. Spec 8.4.';
comment on column ops.loss_makers.kind is 'pack, package, model or user.';
comment on column ops.loss_makers.name is 'Which one: a users e-mail, else username.';
comment on column ops.loss_makers.credits is 'Paid credits spent.';
comment on column ops.loss_makers.cost_dollars is 'US dollars of provider cost that these bore.';
comment on column ops.loss_makers.value_dollars is 'US dollars of cash that had been paid for them.';
comment on column ops.loss_makers.loss_dollars is 'US dollars: cost less value.';
comment on column ops.loss_makers.cost_per_credit_dollars is 'US dollars of provider cost for each paid credit; null without one.';
comment on column ops.loss_makers.value_per_credit_dollars is 'US dollars of cash that had been paid for each paid credit; null without one.';
--! EndIncluded analytics/loss_makers.sql

--! split: 3-jobs.sql
-- Jobs that commit in batches, catch up, and are gone on with where somebody was killed.
alter table public.jobs
  add column if not exists added_at timestamptz not null default core.now(),
  add column if not exists each_slot boolean not null default false,
  add column if not exists due_users text,
  add column if not exists per_user text;
comment on column public.jobs.added_at is 'When it was added; before that no slot was due.';
comment on column public.jobs.each_slot is
  'True: slots that nobody did are caught up one after the other, oldest first. False: only the newest is done, and job_runs.missed counts those before.';
comment on column public.jobs.due_users is 'Of a sweep over users, done in batches: the function core.due_users(now, after, most) that names them in the order of their ids.';
comment on column public.jobs.per_user is 'Of a sweep: the function core.per_user(user_id, now) that does one of them and returns the rows touched. It may lock that user''s row.';
comment on column public.jobs.call is 'Of any other job: the function of schema ops that does it, without parameters; it returns how many rows it touched.';

alter table public.job_runs
  add column if not exists cursor uuid,
  add column if not exists batches integer not null default 0,
  add column if not exists missed bigint not null default 0,
  add column if not exists ran_by text;
comment on column public.job_runs.cursor is 'Of a sweep that is under way: the last user that it looked at.';
comment on column public.job_runs.batches is 'Transactions that it took so far.';
comment on column public.job_runs.missed is 'Slots before it that nobody did and that this one stands for.';
comment on column public.job_runs.ran_by is 'The role that did its last batch: prpm_cron, prpm_app (a server) or an operator.';
comment on column public.job_runs.slot is 'The time that it was due.';
comment on column public.job_runs.finished_at is 'When it ended; null while it runs, or waits to be gone on with.';
comment on column public.job_runs.error is 'What went wrong, or null. A slot that failed is over: the next one does what it left, or ops.repeat_job.';
comment on column public.job_runs.rows_touched is 'Rows changed; null where the job does not count them.';

alter table public.settings
  add column if not exists inbox_body_days integer default 90 check (inbox_body_days >= 30),
  add column if not exists job_run_days integer default 30 check (job_run_days > 0);
comment on column public.settings.inbox_body_days is
  'Days that the bodies of webhook events which are done are kept, at least the 30 in which Stripe may send them again; null: for ever.';
comment on column public.settings.job_run_days is 'Days that the history of jobs is kept; null: for ever.';
grant update (inbox_body_days, job_run_days) on public.settings to prpm_ops;

do $$
begin
  if exists (select from pg_catalog.pg_proc p where p.oid = to_regprocedure('ops.run_job(text)') and p.prokind = 'f') then
    drop function ops.run_job(text);
  end if;
  -- Its answer has more columns than before.
  if exists (select from pg_catalog.pg_proc p where p.oid = to_regprocedure('api.run_job(text)') and p.pronargs = 1 and array_length(p.proallargtypes, 1) = 3) then
    drop function api.run_job(text);
  end if;
end
$$;

--! Included jobs/sweep_users.sql
create or replace function core.sweep_users(
  due_users text, per_user text, after uuid, most integer, at_most interval, out touched bigint, out last uuid, out error text
)
language plpgsql
set search_path = ''
set lock_timeout = '100ms'
as $$
declare
  now timestamptz := core.now();
  candidate uuid;
  stop_at timestamptz;
  seen integer := 0;
  rows_touched bigint;
  failed integer := 0;
begin
  touched := 0;
  for candidate in
    execute format('select d.id from core.%I($1, $2, $3) d (id)', due_users)
    using now, coalesce(after, '00000000-0000-0000-0000-000000000000'), most
  loop
    seen := seen + 1;
    last := candidate;
    perform from public.users u where u.id = candidate for no key update skip locked;
    continue when not found;
    stop_at := coalesce(stop_at, clock_timestamp() + at_most);
    begin
      execute format('select core.%I($1, $2)', per_user) into rows_touched using candidate, now;
      touched := touched + coalesce(rows_touched, 0);
    exception
      when lock_not_available then null;
      when others then
        failed := failed + 1;
        error := coalesce(error, format('user %s: %s', candidate, sqlerrm));
    end;
    exit when clock_timestamp() >= stop_at;
  end loop;

  if seen < most and coalesce(clock_timestamp() < stop_at, true) then
    last := null;
  end if;
  if failed > 1 then
    error := format('%s users failed; the first: %s', failed, error);
  end if;
end
$$;

comment on function core.sweep_users(text, text, uuid, integer, interval, out bigint, out uuid, out text) is
  'Does core.per_user(user_id, now) for users after an id that core.due_users(now, after, most) names, for about so long; null: without end. Passes '
  'over those whose row is in use, and goes on behind one with whom it fails. Returns the rows touched, the last user that it looked at (null: '
  'there are no more), and the first error. Spec 7.1.';
--! EndIncluded jobs/sweep_users.sql
--! Included jobs/sweep_all.sql
create or replace function core.sweep_all(due_users text, per_user text)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  batch bigint;
  reached uuid;
  failed text;
  touched bigint := 0;
begin
  loop
    select x.touched, x.last, x.error into batch, reached, failed
    from core.sweep_users(sweep_all.due_users, sweep_all.per_user, reached, 1000, null) x;
    if failed is not null then
      raise exception '%', failed using errcode = 'PR500';
    end if;
    touched := touched + batch;
    exit when reached is null;
  end loop;
  return touched;
end
$$;

comment on function core.sweep_all(text, text) is
  'A whole sweep (see core.sweep_users) in one transaction: what an operator calls by hand. Returns the rows touched. Errors: PR500 where it fails with a user. Spec 7.1.';
--! EndIncluded jobs/sweep_all.sql
--! Included limits/users_with_ended_windows.sql
create or replace function core.users_with_ended_windows(now timestamptz, after uuid, most integer)
returns setof uuid
language sql
stable
begin atomic
  select u.id
  from public.users u
  where u.id > users_with_ended_windows.after and (
    u.month_ends_at <= users_with_ended_windows.now
    or u.day_ends_at <= users_with_ended_windows.now
    or u.is_throttled and u.throttled_by is not null and u.throttled_until <= users_with_ended_windows.now
  )
  order by u.id
  limit users_with_ended_windows.most;
end;

comment on function core.users_with_ended_windows(timestamptz, uuid, integer) is
  'Users with a month or day window, or a throttle, that has ended and is still stored. In the order of ids, after one, at most so many. Spec 7.1.';
--! EndIncluded limits/users_with_ended_windows.sql
--! Included limits/close_windows.sql
create or replace function core.close_windows(user_id uuid, now timestamptz)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  rolled public.users;
begin
  select x.* into strict u from public.users x where x.id = close_windows.user_id for no key update;
  rolled := core.roll_windows(u, close_windows.now);
  update public.users x set
    current_month_api_cost = rolled.current_month_api_cost,
    current_month_limited_cost = rolled.current_month_limited_cost,
    month_held_cost = rolled.month_held_cost,
    current_month_requests = rolled.current_month_requests,
    month_ends_at = rolled.month_ends_at,
    current_day_api_cost = rolled.current_day_api_cost,
    current_day_limited_cost = rolled.current_day_limited_cost,
    day_held_cost = rolled.day_held_cost,
    day_ends_at = rolled.day_ends_at
  where x.id = u.id;
  if u.is_throttled and u.throttled_by is not null and u.throttled_until <= close_windows.now then
    perform core.judge_throttle(u.id, close_windows.now);
  end if;
  return case when rolled.month_ends_at <> u.month_ends_at then 1 else 0 end;
end
$$;

comment on function core.close_windows(uuid, timestamptz) is
  'Closes a user''s month and day windows that have ended and lifts the throttle that ended with them. Returns 1 where the month''s was closed, '
  'else 0. Locks the user''s row. Spec 7.1.';
--! EndIncluded limits/close_windows.sql
--! Included limits/reset_monthly_api_costs.sql
create or replace function public.reset_monthly_api_costs()
returns integer
language plpgsql
security definer
set search_path = ''
as $$
begin
  return core.sweep_all('users_with_ended_windows', 'close_windows');
end
$$;

comment on function public.reset_monthly_api_costs() is
  'Closes the month and day windows that have ended and lifts the throttles that ended with them. Returns how many month windows it '
  'closed. Does only what is due, so it may run at any time and twice. Waits for nobody: users whose row is in use heal on use. In one '
  'transaction, which a run of a user already reset waits for; the job reset-monthly-costs commits in batches. Spec 7.1, 7.4.';
--! EndIncluded limits/reset_monthly_api_costs.sql
--! Included credits/users_with_expired_lots.sql
create or replace function core.users_with_expired_lots(now timestamptz, after uuid, most integer)
returns setof uuid
language sql
stable
begin atomic
  select u.id
  from public.users u
  where u.id > users_with_expired_lots.after and (u.next_lot_expiry <= users_with_expired_lots.now)
  order by u.id
  limit users_with_expired_lots.most;
end;

comment on function core.users_with_expired_lots(timestamptz, uuid, integer) is
  'Users with credits that have expired and are not booked yet. In the order of ids, after one, at most so many. Spec 7.1.';
--! EndIncluded credits/users_with_expired_lots.sql
--! Included credits/expire_lots.sql
create or replace function ops.expire_lots()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
begin
  return core.sweep_all('users_with_expired_lots', 'tidy_lots');
end
$$;

comment on function ops.expire_lots() is
  'Books expired credits of everyone; passes over users whose row is in use, those heal on use. Returns the credits expired. '
  'Call: select ops.expire_lots(); Spec 4.5, 7.1.';
--! EndIncluded credits/expire_lots.sql
--! Included billing/users_with_ended_periods.sql
create or replace function core.users_with_ended_periods(now timestamptz, after uuid, most integer)
returns setof uuid
language sql
stable
begin atomic
  select u.id
  from public.users u
  where u.id > users_with_ended_periods.after and (
    u.entitled_until <= users_with_ended_periods.now or u.next_lot_expiry <= users_with_ended_periods.now
  )
  order by u.id
  limit users_with_ended_periods.most;
end;

comment on function core.users_with_ended_periods(timestamptz, uuid, integer) is
  'Users whose entitlement, or some of whose credits, have run out and are still stored. In the order of ids, after one, at most so many. Spec 7.1.';
--! EndIncluded billing/users_with_ended_periods.sql
--! Included billing/end_periods.sql
create or replace function core.end_periods(user_id uuid, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
begin
  perform core.tidy_lots(end_periods.user_id, end_periods.now);
  perform core.refresh_entitlement(end_periods.user_id, end_periods.now);
  return 1;
end
$$;

comment on function core.end_periods(uuid, timestamptz) is
  'Books what time has done to a user''s credits and entitlement: paid periods that are over, rollover and expiry that are due. Returns 1. '
  'Locks the user''s row. Spec 4.3, 7.1.';
--! EndIncluded billing/end_periods.sql
--! Included billing/reset_credits.sql
create or replace function ops.reset_credits()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
begin
  return core.sweep_all('users_with_ended_periods', 'end_periods');
end
$$;

comment on function ops.reset_credits() is
  'Books what time has done to credits and entitlements: paid periods that are over, rollover and expiry that are due. Passes over users '
  'whose row is in use, those heal on use. Returns how many users it touched. Call: select ops.reset_credits(); Spec 4.3, 7.1.';
--! EndIncluded billing/reset_credits.sql
--! Included billing/retry_stripe_events.sql
create or replace function ops.retry_stripe_events()
returns bigint
language sql
security definer
set search_path = ''
begin atomic
  select count(core.want_work('apply_event', e.id, null))
  from public.stripe_events e
  where e.status = 'received' and e.attempts = 0 and e.received_at <= core.now() - interval '1 minute';
end;

comment on function ops.retry_stripe_events() is
  'Queues stored events that nobody has applied, because their server died before it could. Those that failed queue themselves, with growing delay. '
  'Returns how many. Call: select ops.retry_stripe_events(); Spec 6.5, 7.1.';
--! EndIncluded billing/retry_stripe_events.sql
--! Included runs/users_with_expired_holds.sql
create or replace function core.users_with_expired_holds(now timestamptz, after uuid, most integer)
returns setof uuid
language sql
stable
begin atomic
  select u.id
  from public.users u
  where u.id > users_with_expired_holds.after and (u.holds_expire_at <= users_with_expired_holds.now)
  order by u.id
  limit users_with_expired_holds.most;
end;

comment on function core.users_with_expired_holds(timestamptz, uuid, integer) is
  'Users with a running run whose hold has expired. In the order of ids, after one, at most so many. Spec 7.1.';
--! EndIncluded runs/users_with_expired_holds.sql
--! Included runs/expire_holds.sql
create or replace function ops.expire_holds()
returns integer
language plpgsql
security definer
set search_path = ''
as $$
begin
  return core.sweep_all('users_with_expired_holds', 'expire_user_holds');
end
$$;

comment on function ops.expire_holds() is
  'Ends runs whose server is gone: charges what their last checkpoint had, releases the rest. Passes over users whose row is in use; those '
  'heal on use. Returns how many runs it ended. Call: select ops.expire_holds(); Spec 7.1.';
--! EndIncluded runs/expire_holds.sql
--! Included sessions/old_texts.sql
create or replace view core.old_texts as
select s.user_id, s.id as session_id, s.last_run_at + x.run_text_days * interval '24 hours' as goes_at
from public.settings x
cross join public.sessions s
where x.run_text_days is not null
  and exists (select from public.run_texts t where t.user_id = s.user_id and t.session_id = s.id)
  and not exists (select from public.shared_sessions h where h.session_id = s.id and h.ended_at is null);

comment on view core.old_texts is
  'Sessions whose texts will go because nobody uses them and they are not shared, and when: settings.run_text_days after their newest run began. None while that setting '
  'is null. Spec 7.1.';
comment on column core.old_texts.user_id is 'Whose.';
comment on column core.old_texts.session_id is 'The session.';
comment on column core.old_texts.goes_at is 'When the texts go, unless it is used again.';
--! EndIncluded sessions/old_texts.sql
--! Included sessions/texts_about_to_go.sql
create or replace view core.texts_about_to_go as
select o.user_id, count(*) as sessions, min(o.goes_at) as goes_at
from core.old_texts o
where o.goes_at <= (select core.now()) + interval '14 days'
group by o.user_id;

comment on view core.texts_about_to_go is 'Users some of whose sessions lose their texts within 14 days: whom to tell. Spec 7.1.';
comment on column core.texts_about_to_go.user_id is 'Whose.';
comment on column core.texts_about_to_go.sessions is 'How many sessions.';
comment on column core.texts_about_to_go.goes_at is 'When the first of them goes.';
--! EndIncluded sessions/texts_about_to_go.sql
--! Included sessions/users_with_old_texts.sql
create or replace function core.users_with_old_texts(now timestamptz, after uuid, most integer)
returns setof uuid
language sql
stable
begin atomic
  select distinct o.user_id
  from core.old_texts o
  where o.user_id > users_with_old_texts.after and o.goes_at <= users_with_old_texts.now
  order by o.user_id
  limit users_with_old_texts.most;
end;

comment on function core.users_with_old_texts(timestamptz, uuid, integer) is
  'Users with texts whose time is over. In the order of ids, after one, at most so many. Spec 7.1.';
--! EndIncluded sessions/users_with_old_texts.sql
--! Included sessions/drop_old_texts.sql
create or replace function core.drop_old_texts(user_id uuid, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  dropped bigint;
begin
  update public.session_index x set words = strip(to_tsvector('pg_catalog.simple', coalesce(s.title, '')))
  from core.old_texts o
  join public.sessions s on s.user_id = o.user_id and s.id = o.session_id
  where o.user_id = drop_old_texts.user_id and o.goes_at <= drop_old_texts.now
    and x.user_id = o.user_id and x.session_id = o.session_id;
  delete from public.run_texts t
  using core.old_texts o
  where o.user_id = drop_old_texts.user_id and o.goes_at <= drop_old_texts.now
    and t.user_id = o.user_id and t.session_id = o.session_id;
  get diagnostics dropped = row_count;
  return dropped;
end
$$;

comment on function core.drop_old_texts(uuid, timestamptz) is
  'Drops the texts of a user''s sessions whose time is over, and what is found by them; runs, sums and given names stay. Returns how many. The caller holds the user''s row, so that no '
  'run begins in one meanwhile. Spec 7.1.';
--! EndIncluded sessions/drop_old_texts.sql
--! Included jobs/check_books.sql
create or replace function ops.check_books()
returns bigint
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  rows_found bigint;
  first_rows text;
begin
  with found as materialized (select b.* from ops.audit_books() b)
  select
    (select count(*) from found),
    (select string_agg(format('%s of %s, user %s: should be %s, is %s', f.check_name, f.object, f.user_id, f.expected, f.actual), '; ')
      from (select * from found limit 3) f)
  into rows_found, first_rows;
  if rows_found > 0 then
    raise exception '% disagreements in the books: %', rows_found, first_rows
      using errcode = 'PR500', hint = 'select * from ops.audit_books();';
  end if;
  return 0;
end
$$;

comment on function ops.check_books() is
  'Fails where ops.audit_books() finds anything, with the number of its rows and the first three. Call: select ops.check_books(); '
  'Errors: PR500 where the books disagree. Spec 4.8, 7.1.';
--! EndIncluded jobs/check_books.sql
--! Included jobs/forget_history.sql
create or replace function ops.forget_history()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  s public.settings;
  touched bigint;
  total bigint;
begin
  select x.* into strict s from public.settings x;
  update public.stripe_events e set body = null
  where e.body is not null and e.status in ('applied', 'ignored') and e.received_at < now - s.inbox_body_days * interval '24 hours';
  get diagnostics total = row_count;

  -- Such an event can be neither replayed nor delivered again.
  delete from public.stripe_effects x
  using public.stripe_events e
  where e.id = x.event_id and e.body is null and e.status in ('applied', 'ignored');
  get diagnostics touched = row_count;
  total := total + touched;

  delete from public.job_runs r
  where r.finished_at < now - s.job_run_days * interval '24 hours'
    and r.slot < (select max(x.slot) from public.job_runs x where x.job = r.job);
  get diagnostics touched = row_count;
  return total + touched;
end
$$;

comment on function ops.forget_history() is
  'Drops the bodies of webhook events that are done and older than settings.inbox_body_days, what kept them from being applied twice, and the '
  'history of jobs older than settings.job_run_days; null keeps. Returns how many rows. Call: select ops.forget_history(); Spec 7.1.';
--! EndIncluded jobs/forget_history.sql
--! Included jobs/due_slot.sql
create or replace function core.due_slot(j public.jobs, at timestamptz)
returns timestamptz
language sql
stable
begin atomic
  select case
    when last.slot is null then core.slot_of((j).every, (j).after, at)
    when last.finished_at is null then last.slot
    when next.slot > last.slot and next.slot <= at then next.slot
  end
  from (select 1) one
  left join lateral (
    select r.slot, r.finished_at from public.job_runs r where r.job = (j).job order by r.slot desc limit 1
  ) last on true
  cross join lateral (
    select core.slot_of((j).every, (j).after, case when (j).each_slot then last.slot + (j).every else at end) as slot
  ) next;
end;

comment on function core.due_slot(public.jobs, timestamptz) is
  'The slot that a job has to do at an instant, or null: the one that was begun and not ended; else the oldest that nobody did, where the job '
  'does each slot; else the newest. A job that never ran begins with the newest. Spec 7.1.';
--! EndIncluded jobs/due_slot.sql
--! Included jobs/begin_slot.sql
create or replace function core.begin_slot(j public.jobs, slot timestamptz)
returns public.job_runs
language plpgsql
set search_path = ''
as $$
declare
  r public.job_runs;
  last_slot timestamptz;
begin
  select x.* into r from public.job_runs x where x.job = j.job and x.slot = begin_slot.slot;
  if not found then
    select max(x.slot) into last_slot from public.job_runs x where x.job = j.job;
    insert into public.job_runs (job, slot, started_at, missed)
    values (
      j.job, begin_slot.slot, core.now(),
      greatest(0, round(extract(epoch from begin_slot.slot - last_slot) / extract(epoch from j.every)) - 1)
    )
    returning * into r;
  end if;
  return r;
end
$$;

comment on function core.begin_slot(public.jobs, timestamptz) is
  'The row of job_runs of a job''s slot, made where it is not there yet, with how many slots before it nobody did. The caller holds the job''s row. Spec 7.2.';
--! EndIncluded jobs/begin_slot.sql
--! Included jobs/do_batch.sql
create or replace function core.do_batch(j public.jobs, cursor uuid, out rows_touched bigint, out last uuid, out error text)
language plpgsql
set search_path = ''
as $$
begin
  if j.due_users is not null then
    select x.touched, x.last, x.error into rows_touched, last, error
    from core.sweep_users(j.due_users, j.per_user, do_batch.cursor, (select s.job_batch from public.settings s), interval '50 milliseconds') x;
    return;
  end if;
  begin
    case
      when j.call is not null then execute format('select ops.%I()', j.call) into rows_touched;
      when j.job = 'watch-budgets' then perform ops.watch_budgets();
      when j.job = 'refresh-analytics' then perform public.refresh_user_cost_analytics();
      when j.job = 'reconcile-stripe' then select count(*) into rows_touched from ops.reconcile_stripe(false);
      when j.job = 'reconcile-stripe-daily' then select count(*) into rows_touched from ops.reconcile_stripe(true);
    end case;
  exception when others then
    error := sqlerrm;
  end;
end
$$;

comment on function core.do_batch(public.jobs, uuid, out bigint, out uuid, out text) is
  'Does one batch of a job: of a sweep, users after cursor, at most settings.job_batch and about 50 ms, of any other job all. Returns the rows '
  'touched (null: it does not count), the last user that it looked at (null: all is done), and what went wrong. Spec 7.1.';
--! EndIncluded jobs/do_batch.sql
--! Included jobs/continue_job.sql
create or replace function ops.continue_job(
  job text, out slot timestamptz, out ran boolean, out more boolean, out rows_touched bigint, out error text
)
language plpgsql
security definer
set search_path = ''
set max_parallel_workers_per_gather = 0 -- a job leaves the other processors to runs
as $$
declare
  j public.jobs;
  r public.job_runs;
  reached uuid;
begin
  ran := false;
  more := false;
  select x.* into j from public.jobs x where x.job = continue_job.job for no key update skip locked;
  if not found then
    if not exists (select from public.jobs x where x.job = continue_job.job) then
      raise exception 'there is no job %', continue_job.job using errcode = 'PR404', detail = 'job', hint = 'select job, description from jobs;';
    end if;
    return; -- somebody is at it
  end if;
  slot := core.due_slot(j, core.now());
  if slot is null then
    return;
  end if;

  r := core.begin_slot(j, slot);
  select x.rows_touched, x.last, x.error into rows_touched, reached, error from core.do_batch(j, r.cursor) x;
  update public.job_runs x set
    cursor = reached,
    batches = x.batches + 1,
    rows_touched = coalesce(x.rows_touched + continue_job.rows_touched, continue_job.rows_touched, x.rows_touched),
    error = coalesce(x.error, continue_job.error),
    ran_by = session_user,
    finished_at = case when reached is null then core.now() end
  where x.job = j.job and x.slot = continue_job.slot;
  ran := true;
  more := reached is not null or core.due_slot(j, core.now()) is not null;
end
$$;

comment on function ops.continue_job(text, out timestamptz, out boolean, out boolean, out bigint, out text) is
  'Does the next batch of a job''s due slot, or all of it where the job has no batches; its result stands in job_runs with the same transaction, '
  'so a batch is done once, whoever calls, and what a killed caller left is gone on with. ran is false where nothing is due or somebody is at '
  'it; more: call again. ops.run_job calls it until nothing is left. Call: select * from ops.continue_job(''expire-holds''); '
  'Errors: PR404 unknown job. Spec 7.1, 7.2.';
--! EndIncluded jobs/continue_job.sql
--! Included jobs/repeat_job.sql
create or replace function ops.repeat_job(job text, reason text, dry_run boolean default false)
returns setof public.job_runs
language plpgsql
security definer
set search_path = ''
as $$
begin
  if not exists (select from public.jobs j where j.job = repeat_job.job) then
    raise exception 'there is no job %', repeat_job.job using errcode = 'PR404', detail = 'job', hint = 'select job, description from jobs;';
  end if;
  if not dry_run then
    perform core.note_action('repeat_job', repeat_job.job, reason, null);
    update public.job_runs r set finished_at = null, error = null, started_at = core.now()
    where r.job = repeat_job.job and r.finished_at is not null
      and r.slot = (select max(x.slot) from public.job_runs x where x.job = repeat_job.job);
  end if;
  return query
    select r.* from public.job_runs r
    where r.job = repeat_job.job and r.slot = (select max(x.slot) from public.job_runs x where x.job = repeat_job.job);
end
$$;

comment on function ops.repeat_job(text, text, boolean) is
  'Makes a job''s newest slot due once more, as after an error that has been put right; whoever does jobs does it within a minute. Returns its '
  'row. A job does only what is due, so again does no harm. Call: select * from ops.repeat_job(''audit-books'', ''the price is there now''); '
  'Errors: PR404 unknown job, PR400 without a reason. Spec 7.2.';
--! EndIncluded jobs/repeat_job.sql
--! Included jobs/ops_due_jobs.sql
create or replace function ops.due_jobs()
returns table (job text, slot timestamptz)
language sql
stable
security definer
set search_path = ''
begin atomic
  select j.job, d.slot
  from public.jobs j
  cross join lateral (select core.due_slot(j, (select core.now())) as slot) d
  where d.slot is not null
  order by j.every, j.job;
end;

comment on function ops.due_jobs() is
  'Jobs that have something to do now, and the slot that is next; those that come oftenest first. Call: select * from ops.due_jobs(); Spec 7.1.';
--! EndIncluded jobs/ops_due_jobs.sql
--! Included jobs/due_jobs.sql
create or replace function api.due_jobs()
returns table (job text)
language sql
stable
security definer
set search_path = ''
begin atomic
  select d.job from ops.due_jobs() d;
end;

comment on function api.due_jobs() is
  'Jobs that have something to do now: what a server asks each minute, to do each by api.run_job. Spec 7.1.';
--! EndIncluded jobs/due_jobs.sql
--! Included jobs/api_run_job.sql
create or replace function api.run_job(job text, out ran boolean, out more boolean, out rows_touched bigint, out error text)
language plpgsql
security definer
set search_path = ''
as $$
begin
  select x.ran, x.more, x.rows_touched, x.error into ran, more, rows_touched, error from ops.continue_job(run_job.job) x;
end
$$;

comment on function api.run_job(text, out boolean, out boolean, out bigint, out text) is
  'One batch of a job''s due slot, for a server, which calls it as long as there is more (see ops.continue_job). error tells what went wrong. '
  'Errors: PR404 unknown job. Spec 7.1.';
--! EndIncluded jobs/api_run_job.sql
--! Included jobs/check_ready.sql
create or replace function api.check_ready(out migration integer, out jobs text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  last_done timestamptz;
begin
  select max(substring(m.filename from '^\d+')::integer) into migration from graphile_migrate.migrations m;
  select max(last.finished_at) into last_done
  from public.jobs j
  cross join lateral (
    select r.finished_at from public.job_runs r where r.job = j.job and r.finished_at is not null order by r.slot desc limit 1
  ) last;
  jobs := case
    when last_done > now - interval '10 minutes' then 'alive'
    when last_done > now - interval '24 hours' then 'stopped'
    else 'none'
  end;
end
$$;

comment on function api.check_ready(out integer, out text) is
  'What tells whether a server can serve: the number of the newest migration, and whether jobs are done: alive; stopped, where none has ended for 10 '
  'minutes, though some are due each minute; none, where none has for a day, or ever: then nobody is meant to do them. Spec 11.4.';
--! EndIncluded jobs/check_ready.sql
--! Included jobs/ops_run_job.sql
create or replace procedure ops.run_job(
  job text default null, reason text default null, dry_run boolean default false, inout slots bigint default null, inout rows_touched bigint default null
)
language plpgsql
as $$
declare
  due record;
  batch record;
  last_slot timestamptz;
  began timestamptz;
  failed text;
begin
  slots := 0;
  rows_touched := 0;
  if dry_run then
    select pg_catalog.count(*) into slots from ops.due_jobs() d where d.job = run_job.job or run_job.job is null;
    return;
  end if;
  if reason is not null then
    perform from ops.repeat_job(run_job.job, run_job.reason);
    commit;
  end if;

  for due in
    select run_job.job as job where run_job.job is not null
    union all
    select d.job from ops.due_jobs() d where run_job.job is null
  loop
    last_slot := null;
    loop
      began := pg_catalog.clock_timestamp();
      select x.* into batch from ops.continue_job(due.job) x;
      commit;
      exit when not batch.ran;
      if batch.slot is distinct from last_slot then
        slots := slots + 1;
      end if;
      last_slot := batch.slot;
      rows_touched := rows_touched + coalesce(batch.rows_touched, 0);
      failed := coalesce(failed, due.job || ': ' || batch.error);
      exit when not batch.more;
      -- A sweep takes a third of one processor at the most.
      perform pg_catalog.pg_sleep(least(0.2, 2 * extract(epoch from pg_catalog.clock_timestamp() - began)));
    end loop;
  end loop;
  if failed is not null then
    raise exception '%', failed using errcode = 'PR500', hint = 'select * from ops.jobs where has_failed;';
  end if;
end
$$;

comment on procedure ops.run_job(text, text, boolean, bigint, bigint) is
  'Does a job''s due slots, or without a name those of all jobs, each once, whoever calls and however often; the results stand in job_runs. '
  'Commits after each batch, so it is called outside a transaction, with the caller''s own rights and search path, and names all by schema. '
  'With a reason it does the newest slot once more. Returns how many slots and rows it did; dry_run: how many jobs are due. '
  'Call: call ops.run_job(''expire-holds''); Errors: PR404 unknown job, PR500 where a job failed. Spec 7.1, 7.2.';
--! EndIncluded jobs/ops_run_job.sql
--! Included jobs/ops_jobs.sql
create or replace view ops.jobs as
select
  j.job,
  j.description,
  j.every,
  last.slot as last_slot,
  last.started_at as last_started_at,
  last.finished_at as last_finished_at,
  last.rows_touched as last_rows,
  done.error as last_error,
  next.due_at as next_due_at,
  late.seconds as late_seconds,
  late.seconds > 300 as is_late,
  coalesce(done.error is not null, false) as has_failed
from public.jobs j
left join lateral (
  select r.slot, r.started_at, r.finished_at, r.rows_touched from public.job_runs r where r.job = j.job order by r.slot desc limit 1
) last on true
left join lateral (
  select r.error from public.job_runs r where r.job = j.job and r.finished_at is not null order by r.slot desc limit 1
) done on true
cross join lateral (
  select case
    when last.slot is null then core.slot_of(j.every, j.after, (select core.now()))
    when last.finished_at is null then last.slot
    else core.slot_of(j.every, j.after, last.slot + j.every)
  end as due_at
) next
cross join lateral (
  select greatest(0, round(extract(epoch from (select core.now()) - greatest(next.due_at, j.added_at)), 1)) as seconds
) late
order by late.seconds desc, j.every, j.job;

comment on view ops.jobs is
  'What does each job do by the clock, when did it last, what came of it, when is it due next, and is it late? Latest first. Spec 7.2.';
comment on column ops.jobs.job is 'Names the job.';
comment on column ops.jobs.description is 'What it does, and the function that does it.';
comment on column ops.jobs.every is 'A slot is due this often.';
comment on column ops.jobs.last_slot is 'The newest slot that was begun: the time at which it was due. Null: none yet.';
comment on column ops.jobs.last_started_at is 'When that slot was begun.';
comment on column ops.jobs.last_finished_at is 'When it ended; null while it runs, or waits to be gone on with.';
comment on column ops.jobs.last_rows is 'Rows that it touched.';
comment on column ops.jobs.last_error is 'What went wrong in the newest slot that ended; null: nothing.';
comment on column ops.jobs.next_due_at is 'The oldest slot that is not done; in the past while it is late.';
comment on column ops.jobs.late_seconds is 'Seconds since then, 0 before; of a job that never ran, at most since it was added.';
comment on column ops.jobs.is_late is 'True when it is late by more than 5 minutes.';
comment on column ops.jobs.has_failed is 'True when the newest slot that ended has an error.';
--! EndIncluded jobs/ops_jobs.sql
--! Included jobs/unclaimed_work.sql
create or replace view ops.unclaimed_work as
select w.kind, w.key, greatest(w.due_at, w.claimed_until) as waiting_since
from public.stripe_work w
where not w.is_failed and w.due_at <= (select core.now()) and coalesce(w.claimed_until <= (select core.now()), true)
union all
select 'stripe_event', e.id, e.received_at
from public.stripe_events e
where e.status = 'received'
  and not exists (select from public.stripe_work w where w.dedupe = 'apply_event ' || e.id)
order by 3;

comment on view ops.unclaimed_work is
  'What waits for a server to claim it, oldest first? Fetches from Stripe, writes to it, and events that are stored and not applied. A server looks every few seconds. Spec 7.1.';
comment on column ops.unclaimed_work.kind is 'stripe_event, or kind of the work (stripe_work.kind).';
comment on column ops.unclaimed_work.key is 'Stripe''s id of what it is about.';
comment on column ops.unclaimed_work.waiting_since is 'Since when a server could have done it.';
--! EndIncluded jobs/unclaimed_work.sql
grant execute on procedure ops.run_job(text, text, boolean, bigint, bigint) to prpm_cron;
grant execute on function ops.continue_job(text), ops.due_jobs() to prpm_cron;

insert into public.jobs (job, every, after, each_slot, due_users, per_user, call, description) values
  ('reset-monthly-costs', '1 day', '0', true, 'users_with_ended_windows', 'close_windows', null,
    'Closes month and day windows that ended, lifts the throttles that ended with them: reset_monthly_api_costs()'),
  ('refresh-analytics', '1 hour', '0', false, null, null, null, 'Refreshes the analytics: refresh_user_cost_analytics()'),
  ('reset-credits', '1 day', '5 minutes', true, 'users_with_ended_periods', 'end_periods', null,
    'Ends entitlements and books rollover that are due: ops.reset_credits()'),
  ('expire-rollover', '1 day', '10 minutes', true, 'users_with_expired_lots', 'tidy_lots', null, 'Books expired credits: ops.expire_lots()'),
  ('expire-holds', '1 minute', '0', false, 'users_with_expired_holds', 'expire_user_holds', null, 'Ends runs whose server is gone: ops.expire_holds()'),
  ('watch-budgets', '1 minute', '0', false, null, null, null, 'Pauses the free tier when its budget of the day is used up: ops.watch_budgets()'),
  ('choose-cached-prompts', '1 minute', '0', false, null, null, 'choose_cached_prompts', 'Marks the prompts that are worth caching: ops.choose_cached_prompts()'),
  ('retry-stripe-events', '1 minute', '0', false, null, null, 'retry_stripe_events', 'Queues stored events that no server has applied: ops.retry_stripe_events()'),
  ('audit-books', '1 day', '30 minutes', false, null, null, 'check_books', 'Fails where the books disagree: ops.audit_books()'),
  ('align-prices', '1 hour', '10 minutes', false, null, null, 'align_prices', 'Changes the price of who joined or left a verified organization: ops.align_prices()'),
  ('reconcile-stripe', '1 hour', '20 minutes', false, null, null, null, 'Asks Stripe for events that it could not deliver: ops.reconcile_stripe(false)'),
  ('reconcile-stripe-daily', '1 day', '3 hours 20 minutes', false, null, null, null, 'Asks Stripe for all subscriptions: ops.reconcile_stripe()'),
  ('apply-retention', '1 day', '2 hours', false, 'users_with_old_texts', 'drop_old_texts', null,
    'Drops the texts of sessions that nobody used for settings.run_text_days'),
  ('forget-history', '1 day', '2 hours 10 minutes', false, null, null, 'forget_history', 'Drops old webhook bodies and job history: ops.forget_history()'),
  ('forget-keys', '1 hour', '0', false, null, null, 'forget_keys', 'Drops idempotency keys older than 24 hours: ops.forget_keys()')
on conflict (job) do update set
  every = excluded.every, after = excluded.after, each_slot = excluded.each_slot, due_users = excluded.due_users,
  per_user = excluded.per_user, call = excluded.call, description = excluded.description;

--! split: 4-psql.sql
-- The operator's psql: what goes on, why, and what to do about it.

-- A run's credits given back.
alter table public.runs add column if not exists refunded_at timestamptz;
comment on column public.runs.refunded_at is
  'When an operator gave its credits back (ops.refund_run): credits, shortfall and values are 0 since, its cost stays; null: never.';
do $$
begin
  if not exists (
    select from pg_catalog.pg_attribute a where a.attrelid = 'core.receipt'::regclass and a.attname = 'refunded_at' and not a.attisdropped
  ) then
    alter type core.receipt add attribute refunded_at timestamptz;
  end if;
end
$$;

--! Included credits/payments_of.sql
create or replace function core.payments_of(user_id uuid, run_id uuid)
returns table (id bigint, lot_id uuid, kind text, amount bigint)
language sql
stable
set search_path = ''
begin atomic
  select t.id, t.lot_id, l.kind, t.amount
  from public.credit_transactions t
  join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
  where t.user_id = payments_of.user_id and t.run_id = payments_of.run_id and t.type = 'spend'
    and t.id > coalesce((
      select max(g.id)
      from public.credit_transactions g
      where g.user_id = payments_of.user_id and g.run_id = payments_of.run_id and g.credit = 'lot'
    ), 0);
end;

comment on function core.payments_of(uuid, uuid) is
  'The transfers that pay a run now: those after anything was given back; none for a run that was refunded. Credits. Spec 4.2.';
--! EndIncluded credits/payments_of.sql
--! Included credits/give_back.sql
create or replace function core.give_back(r public.runs, now timestamptz, why text, actor text default null)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  t record;
  given bigint := 0;
begin
  for t in
    select x.lot_id, x.amount, core.share_of_cost(r.cost, (sum(x.amount) over (order by x.id))::bigint, x.amount, r.credits + r.shortfall) as cost
    from core.payments_of(r.user_id, r.id) x
    order by x.id desc
  loop
    update public.credit_lots l set cost = l.cost - t.cost where l.user_id = r.user_id and l.id = t.lot_id;
    perform core.move_credits(
      r.user_id, t.lot_id, 'refund', 'spent', 'lot', t.amount, give_back.now, run_id => r.id, description => why, actor => give_back.actor
    );
    given := given + t.amount;
  end loop;
  return given;
end
$$;

comment on function core.give_back(public.runs, timestamptz, text, text) is
  'Gives the credits that a run was charged back to the lots that they came from, newest payment first, and takes the run''s cost off those '
  'lots. Returns the credits given back. The caller holds the user''s row, changes the run''s own figures, and calls core.refresh_lots or '
  'core.tidy_lots when done. Spec 4.2.';
--! EndIncluded credits/give_back.sql
--! Included runs/refund_charge.sql
create or replace function core.refund_charge(r public.runs, now timestamptz, why text, actor text default null)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform core.note_correction(r);
  perform core.give_back(r, refund_charge.now, why, refund_charge.actor);
  update public.runs x
  set credits = 0, shortfall = 0, credits_by_kind = '{}', included_value = 0, purchased_value = 0,
    refunded_by_kind = coalesce(r.credits_by_kind, '{}'), refunded_at = coalesce(x.refunded_at, refund_charge.now)
  where x.user_id = r.user_id and x.id = r.id;
  perform core.tidy_lots(r.user_id, refund_charge.now);
end
$$;

comment on function core.refund_charge(public.runs, timestamptz, text, text) is
  'Takes back what a run that has ended was charged, and says so in the run; its cost, and what of it counts against limits, stay. '
  'The caller holds the user''s row. Spec 12.';
--! EndIncluded runs/refund_charge.sql
--! Included runs/write_receipt.sql
create or replace function core.write_receipt(r public.runs, u public.users, l public.cost_limits_config)
returns core.receipt
language sql
stable
begin atomic
  select row(
    r.id, r.session_id, r.status, r.model, r.provider_model, r.package_id, r.package_version, r.baseline,
    r.credits, coalesce(r.credits_by_kind, '{}'), r.shortfall,
    greatest(0, u.included_credits + u.purchased_credits - u.held_included - u.held_purchased),
    r.input_tokens, r.cached_tokens, r.cache_write_tokens, r.output_tokens, r.estimated, r.cost,
    r.error, r.error_reason, r.first_token_ms, r.duration_ms, r.started_at, r.finished_at,
    r.hold_included = 0 and r.hold_purchased > 0,
    l.tier_name,
    l.hourly_request_limit, u.hour_requests, u.hour_ends_at,
    l.daily_cost_limit, u.current_day_limited_cost, u.day_ends_at,
    l.monthly_cost_limit, u.current_month_limited_cost, u.month_ends_at,
    r.refunded_at
  )::core.receipt;
end;

comment on function core.write_receipt(public.runs, public.users, public.cost_limits_config) is
  'The receipt of a run (see type core.receipt), as of now. The user''s windows are rolled. Spec 5.1.';
--! EndIncluded runs/write_receipt.sql
--! Included runs/reopen_run.sql
create or replace function core.reopen_run(r public.runs, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  purchased_alone boolean;
begin
  perform core.note_correction(r);

  -- What the expiry charged goes back.
  perform core.give_back(r, reopen_run.now, 'The run was not dead: charged anew by what it really used');

  -- Unbook its cost, and let it hold no more than what it gave back and is still free.
  select x.* into strict u from public.users x where x.id = r.user_id;
  u := core.roll_windows(u, reopen_run.now);
  u.lifetime_api_cost := u.lifetime_api_cost - r.cost;
  if r.started_at >= u.day_ends_at - interval '24 hours' then
    u.current_day_api_cost := u.current_day_api_cost - r.cost;
    u.current_day_limited_cost := u.current_day_limited_cost - r.limited_cost;
  end if;
  if r.started_at >= (u.month_ends_at at time zone 'UTC' - interval '1 month') at time zone 'UTC' then
    u.current_month_api_cost := u.current_month_api_cost - r.cost;
    u.current_month_limited_cost := u.current_month_limited_cost - r.limited_cost;
  end if;
  purchased_alone := r.hold_included = 0;
  r.hold_included := least(r.hold_included, greatest(0, u.included_credits - u.held_included));
  r.hold_purchased := case
    when r.hold_included = 0 and not purchased_alone then 0 -- or its cost would no longer count against limits
    else least(r.hold_purchased, greatest(0, u.purchased_credits - u.held_purchased))
  end;

  update public.users x set
    current_day_api_cost = u.current_day_api_cost, current_day_limited_cost = u.current_day_limited_cost,
    day_held_cost = u.day_held_cost, day_ends_at = u.day_ends_at,
    current_month_api_cost = u.current_month_api_cost, current_month_limited_cost = u.current_month_limited_cost,
    month_held_cost = u.month_held_cost, month_ends_at = u.month_ends_at, current_month_requests = u.current_month_requests,
    hour_requests = u.hour_requests, hour_ends_at = u.hour_ends_at, lifetime_api_cost = u.lifetime_api_cost,
    held_included = u.held_included + r.hold_included, held_purchased = u.held_purchased + r.hold_purchased,
    open_runs = u.open_runs || r.id, holds_expire_at = least(u.holds_expire_at, reopen_run.now)
  where x.id = u.id;
  update public.runs x set
    status = 'running', cost = 0, limited_cost = 0, credits = 0, shortfall = 0, credits_by_kind = null,
    included_value = 0, purchased_value = 0, error = null, error_reason = null,
    finished_at = null, hold_included = r.hold_included, hold_purchased = r.hold_purchased, hold_cost = 0
  where x.user_id = r.user_id and x.id = r.id;
  perform core.refresh_lots(r.user_id);
end
$$;

comment on function core.reopen_run(public.runs, timestamptz) is
  'Undoes what an expiry booked for a run, credits and cost, so that it can be settled by what it really used in the same transaction. '
  'Its hold is what is free by now. The caller holds the user''s row. Spec 5.3.';
--! EndIncluded runs/reopen_run.sql
--! Included runs/settle_again.sql
create or replace function core.settle_again(
  r public.runs, ending text, called boolean,
  input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean,
  question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer, now timestamptz
)
returns core.receipt
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  l public.cost_limits_config;
  settled core.receipt;
begin
  if r.status = 'expired' and r.error = 'run_expired' and settle_again.ending <> 'expired' then
    perform core.reopen_run(r, settle_again.now);
    settled := api.settle_run(
      r.user_id, r.id, settle_again.ending, settle_again.called, settle_again.input_tokens, settle_again.cached_tokens,
      settle_again.cache_write_tokens, settle_again.output_tokens, settle_again.estimated, settle_again.question, settle_again.answer,
      settle_again.error, settle_again.error_reason, settle_again.first_token_ms, settle_again.duration_ms
    );
    if r.refunded_at is null then
      return settled;
    end if;
    select x.* into strict r from public.runs x where x.user_id = r.user_id and x.id = r.id;
    perform core.refund_charge(r, settle_again.now, 'The run had been refunded before its server came back');
    select x.* into strict r from public.runs x where x.user_id = r.user_id and x.id = r.id;
  end if;
  select x.* into strict u from public.users x where x.id = r.user_id;
  u := core.roll_windows(u, settle_again.now);
  l := core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, settle_again.now));
  return core.write_receipt(r, u, l);
end
$$;

comment on function core.settle_again(public.runs, text, boolean, integer, integer, integer, integer, boolean, text, text, text, text, integer, integer, timestamptz) is
  'Answers a settlement of a run that has ended: the receipt as it stands. But if the run had been taken for dead (expired) and its server '
  'comes back with what really happened, that is booked in place of the expiry''s guess; one that was refunded stays refunded. The caller holds the user''s row. Spec 5.3.';
--! EndIncluded runs/settle_again.sql
--! Included runs/refund_run.sql
create or replace function ops.refund_run(run uuid, reason text, dry_run boolean default false)
returns table (
  run_id uuid, user_id uuid, email text, lot_id uuid, kind text, credits bigint, lot_expires_at timestamptz, balance bigint, note text
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  person uuid;
  r public.runs;
begin
  select x.user_id into person from public.users u join public.runs x on x.user_id = u.id and x.id = refund_run.run;
  if not found then
    raise exception 'there is no run %', refund_run.run
      using errcode = 'PR404', detail = 'run', hint = 'select user_id, id, model, credits from runs order by started_at desc limit 20;';
  end if;
  perform from public.users u where u.id = person for no key update;
  select x.* into strict r from public.runs x where x.user_id = person and x.id = refund_run.run;
  if r.status = 'running' then
    raise exception 'run % is running: it has not been charged yet', r.id
      using errcode = 'PR409', detail = 'run', hint = 'Refund it when it has ended, or ask its user to stop it.';
  end if;
  if r.refunded_at is null and r.credits = 0 then
    raise exception 'run % was charged nothing', r.id using errcode = 'PR409', detail = 'run', hint = format('select * from ops.explain_charge(%L);', r.id);
  end if;

  if dry_run and r.refunded_at is null then
    return query
      select r.id, r.user_id, u.email, p.lot_id, p.kind, sum(p.amount)::bigint, l.expires_at, u.included_credits + u.purchased_credits + r.credits,
        case when l.expires_at <= now then 'Expired: they would go again at once, or roll over where their period did.' end
      from core.payments_of(r.user_id, r.id) p
      join public.credit_lots l on l.user_id = r.user_id and l.id = p.lot_id
      join public.users u on u.id = r.user_id
      group by u.id, p.lot_id, p.kind, l.expires_at
      order by max(p.id) desc;
    return;
  end if;
  if r.refunded_at is null then
    perform core.note_action('refund_run', r.id::text, reason, json_build_object('user_id', r.user_id, 'credits', r.credits));
    perform core.refund_charge(r, now, 'Refunded: ' || reason, session_user);
  end if;

  return query
    select r.id, r.user_id, u.email, t.lot_id, l.kind, sum(t.amount)::bigint, l.expires_at, u.included_credits + u.purchased_credits,
      case when l.expires_at <= now then 'Expired: gone again at once, or rolled over where their period did. ops.grant_credits gives new ones.' end
    from public.credit_transactions t
    join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
    join public.users u on u.id = t.user_id
    where t.user_id = r.user_id and t.run_id = r.id and t.credit = 'lot'
      and t.id > (select max(s.id) from public.credit_transactions s where s.user_id = r.user_id and s.run_id = r.id and s.type = 'spend')
    group by u.id, t.lot_id, l.kind, l.expires_at
    order by min(t.id);
end
$$;

comment on function ops.refund_run(uuid, text, boolean) is
  'Gives a run''s credits back to the lots that they came from, whatever else its user runs, and forgives a shortfall; its cost was spent and '
  'stays, also against limits. What has expired since expires again. Returns what went back, a row for each lot, with the balance after it; '
  'called again it changes nothing and returns the same lots. dry_run only says what would go back. '
  'Call: select * from ops.refund_run(''00000000-…'', ''the answer was cut off''); '
  'Errors: PR404 unknown run; PR409 a run that is running, or was charged nothing; PR400 without a reason. Spec 12.';
--! EndIncluded runs/refund_run.sql
--! Included runs/explain_charge.sql
create or replace function ops.explain_charge(run uuid)
returns table (step bigint, what text, quantity numeric, rate numeric, amount numeric, unit text, explanation text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  whose uuid;
begin
  select u.id into whose from public.users u join public.runs x on x.user_id = u.id and x.id = explain_charge.run;
  if not found then
    raise exception 'there is no run %', explain_charge.run using errcode = 'PR404', detail = 'run';
  end if;
  return query select * from core.charge_steps(whose, explain_charge.run);
end
$$;

comment on function ops.explain_charge(uuid) is
  'How a run''s cost and charge came to be: tokens by kind at the prices that it began under, then credits by spec 1.1 and 1.7, then the '
  'transfers that paid; the rows cost (US dollars) and, last, charged (credits) are the books'' own. Errors: PR404 unknown run. Spec 1.3, 12.';
--! EndIncluded runs/explain_charge.sql
--! Included runs/audit_runs.sql
create or replace function core.audit_runs(only_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '256MB'
as $$
#variable_conflict use_column
begin
  return query
  with paid as (
    select
      t.user_id,
      t.run_id,
      sum(x.change) as credits,
      coalesce(sum(x.change) filter (where l.kind = 'monthly'), 0) as monthly,
      coalesce(sum(x.change) filter (where l.kind = 'rollover'), 0) as rollover,
      coalesce(sum(x.change) filter (where l.kind = 'signup'), 0) as signup,
      coalesce(sum(x.change) filter (where l.kind = 'bonus'), 0) as bonus,
      coalesce(sum(x.change) filter (where l.kind = 'purchased'), 0) as purchased,
      coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind <> 'purchased'), 0) as included_value,
      coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind = 'purchased'), 0) as purchased_value
    from public.credit_transactions t
    cross join lateral (select least(t.amount, 1000000000)::integer * case when t.debit = 'lot' then 1 else -1 end as change) x
    left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
    where t.run_id is not null and (only_user is null or t.user_id = only_user)
    group by t.user_id, t.run_id
  ),
  figures as (
    select
      r.*,
      r.refunded_at is not null as is_refunded,
      r.status <> 'running' as has_ended,
      coalesce(r.status in ('completed', 'stopped', 'failed') or r.status = 'expired' and coalesce(
        (select t.answer <> '' from public.run_texts t where t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id),
        r.output_tokens > 0
      ), false) as is_charged,
      ceil(
        ceil(greatest(1, (r.input_tokens::bigint + r.output_tokens + r.tokens_per_credit - 1) / r.tokens_per_credit) * r.credit_multiplier)
        * r.prompt_multiplier
      ) as charge,
      (
        (r.input_tokens - r.cached_tokens - r.cache_write_tokens) * p.input
        + r.cached_tokens * coalesce(p.cached_read, p.input)
        + r.cache_write_tokens * coalesce(p.cache_write, p.input)
        + r.output_tokens * p.output
      ) * 0.000001 as true_cost,
      p.model as price_model,
      p.valid as price_valid,
      coalesce(f.credits, 0) as paid,
      coalesce(f.credits - f.purchased, 0) as paid_included,
      coalesce(f.purchased, 0) as paid_purchased,
      coalesce(f.included_value, 0) as paid_included_value,
      coalesce(f.purchased_value, 0) as paid_purchased_value,
      -- As jsonb writes it, shortest key first: making 1 million of them to compare would take most of the time.
      '{' || concat_ws(', ',
        '"bonus": ' || nullif(f.bonus, 0), '"signup": ' || nullif(f.signup, 0), '"monthly": ' || nullif(f.monthly, 0),
        '"rollover": ' || nullif(f.rollover, 0), '"purchased": ' || nullif(f.purchased, 0)
      ) || '}' as paid_by_kind
    from public.runs r
    left join public.model_prices p on p.id = r.price_id
    left join paid f on f.user_id = r.user_id and f.run_id = r.id
    where only_user is null or r.user_id = only_user
  ),
  expectations as (
    select
      g.*,
      case when g.has_ended then g.true_cost else 0 end as expected_cost,
      case when g.is_charged and not g.is_refunded then g.charge else 0 end as expected_charge,
      case
        when g.is_refunded and g.is_charged then (
          select core.limited_part(
            g.cost, g.charge::bigint, f.credits - f.purchased, f.purchased, g.hold_included = 0 and g.hold_purchased > 0
          )
          from (
            select coalesce(sum(k.value::bigint), 0)::bigint, coalesce(sum(k.value::bigint) filter (where k.key = 'purchased'), 0)::bigint
            from jsonb_each_text(g.refunded_by_kind) k
          ) f (credits, purchased)
        )
        when not g.has_ended or g.hold_included = 0 and g.hold_purchased > 0 and g.paid_included = 0 then 0
        when g.paid_purchased = 0 then g.cost
        else round(g.cost * (g.credits + g.shortfall - g.paid_purchased) / nullif(g.credits + g.shortfall, 0), 12)
      end as expected_limited_cost
    from figures g
  )
  select e.user_id, problem.check_name, 'run ' || e.id, problem.expected, problem.actual
  from expectations e
  cross join lateral (values
    ('run_status', 'a known status, finished_at when it ended', format('%s, finished_at %s', e.status, coalesce(e.finished_at::text, 'null')),
      e.status in ('running', 'completed', 'stopped', 'failed', 'released', 'expired') and e.has_ended = (e.finished_at is not null)),
    ('run_tokens', 'input at least cached and cache_write, none below 0, none missing',
      format('input %s, cached %s, cache_write %s, output %s', e.input_tokens, e.cached_tokens, e.cache_write_tokens, e.output_tokens),
      not e.has_ended
        or coalesce(least(e.cached_tokens, e.cache_write_tokens, e.output_tokens) >= 0 and e.input_tokens >= e.cached_tokens + e.cache_write_tokens
          and num_nulls(e.input_tokens, e.cached_tokens, e.cache_write_tokens, e.output_tokens) = 0, false)),
    ('run_price', 'a price row of ' || e.model || ' valid at ' || e.started_at, format('%s of %s, valid %s', e.price_id, e.price_model, e.price_valid),
      e.price_model = e.model and e.price_valid @> e.started_at),
    ('run_cost', trim_scale(e.expected_cost)::text, trim_scale(e.cost)::text, e.cost = e.expected_cost),
    ('run_charge', e.expected_charge::text, format('%s charged and %s shortfall', e.credits, e.shortfall), e.credits + e.shortfall = e.expected_charge),
    ('run_credits', e.paid::text, e.credits::text, e.credits = e.paid),
    ('run_credits_by_kind', e.paid_by_kind, e.credits_by_kind::text, coalesce(e.credits_by_kind, '{}')::text = e.paid_by_kind),
    ('run_value', format('%s included, %s purchased', trim_scale(e.paid_included_value), trim_scale(e.paid_purchased_value)),
      format('%s included, %s purchased', trim_scale(e.included_value), trim_scale(e.purchased_value)),
      e.included_value = e.paid_included_value and e.purchased_value = e.paid_purchased_value),
    ('run_limited_cost', trim_scale(e.expected_limited_cost)::text, trim_scale(e.limited_cost)::text, e.limited_cost = e.expected_limited_cost),
    ('run_hold', 'holds not below 0', format('%s included, %s purchased, %s dollars', e.hold_included, e.hold_purchased, e.hold_cost),
      least(e.hold_included, e.hold_purchased, e.hold_cost) >= 0)
  ) problem (check_name, expected, actual, agrees)
  where (
    e.cost = e.expected_cost and e.credits + e.shortfall = e.expected_charge and e.credits = e.paid
    and e.included_value = e.paid_included_value and e.purchased_value = e.paid_purchased_value
    and e.limited_cost = e.expected_limited_cost and coalesce(e.credits_by_kind, '{}')::text = e.paid_by_kind
    and e.price_model = e.model and e.price_valid @> e.started_at and e.status in ('completed', 'stopped', 'failed') and e.finished_at is not null
    and e.cached_tokens >= 0 and e.cache_write_tokens >= 0 and e.output_tokens >= 0 and e.input_tokens >= e.cached_tokens + e.cache_write_tokens
    and e.hold_included >= 0 and e.hold_purchased >= 0 and e.hold_cost >= 0
  ) is not true and problem.agrees is not true;
end
$$;

comment on function core.audit_runs(uuid) is
  'Part of ops.audit_books: each run''s cost by its tokens and price row, its charge by spec 1.1 and 1.7, what its transfers paid, by kind, '
  'the cash that had been paid for it, and the part of its cost that counts against limits; of a refunded run that nothing is left of its '
  'charge. null: all users. Spec 1.3, 3.3.';
--! EndIncluded runs/audit_runs.sql

-- Throttles: one rule for which window is used up; actions that say beforehand what they would do.
drop function if exists ops.throttle_user(text, timestamptz, text);
drop function if exists ops.waive_limits(text, timestamptz, text);
drop function if exists ops.release_throttle(text, text);
--! Included limits/used_up_window.sql
create or replace function core.used_up_window(u public.users, now timestamptz)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  l public.cost_limits_config;
  useful numeric;
begin
  u := core.roll_windows(u, used_up_window.now);
  l := core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, used_up_window.now));
  if not l.throttle_on_exceed or u.limits_waived_until > used_up_window.now then
    return null;
  end if;
  useful := coalesce(core.cheapest_useful_cost(used_up_window.now), 0);
  return case
    when l.monthly_cost_limit - u.current_month_limited_cost < useful then 'month'
    when l.daily_cost_limit - u.current_day_limited_cost < useful then 'day'
  end;
end
$$;

comment on function core.used_up_window(public.users, timestamptz) is
  'Which cost window of a user is used up and throttles them: month, day, or null where none is, limits are waived, or the tier''s limits '
  'only alert. Spec 3.4, 3.5.';
--! EndIncluded limits/used_up_window.sql
--! Included limits/judge_throttle.sql
create or replace function core.judge_throttle(user_id uuid, now timestamptz)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  l public.cost_limits_config;
  used_up text;
begin
  select x.* into strict u from public.users x where x.id = judge_throttle.user_id for no key update;
  if u.is_throttled and (u.throttled_by is null or u.throttled_by = 'operator' and coalesce(u.throttled_until > now, true)) then
    return true;
  end if;

  u := core.roll_windows(u, now);
  l := core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now));
  used_up := core.used_up_window(u, now);
  if used_up is null then
    if u.is_throttled or u.throttled_by is not null then
      update public.users x
      set is_throttled = false, throttled_reason = null, throttled_by = null, throttled_at = null, throttled_until = null
      where x.id = u.id;
    end if;
    return false;
  end if;

  update public.users x
  set
    is_throttled = true,
    throttled_by = 'limit',
    throttled_at = case when u.is_throttled then u.throttled_at else now end,
    throttled_until = case when used_up = 'month' then u.month_ends_at else u.day_ends_at end,
    throttled_reason = case
      when used_up = 'month' then format('%s: %s of %s dollars used this month', l.tier_name, trim_scale(round(u.current_month_limited_cost, 6)), l.monthly_cost_limit)
      else format('%s: %s of %s dollars used today', l.tier_name, trim_scale(round(u.current_day_limited_cost, 6)), l.daily_cost_limit)
    end
  where x.id = u.id;
  return true;
end
$$;

comment on function core.judge_throttle(uuid, timestamptz) is
  'Sets or ends the throttle that a cost limit gives: set while a window that throttles is used up, ended when it has closed, the limit '
  'was raised, the tier rose or limits are waived. An operator''s throttle is left until lifted or past its end. Returns whether the user '
  'is throttled now. Locks the user''s row. Spec 3.4, 3.5.';
--! EndIncluded limits/judge_throttle.sql
--! Included accounts/watch_throttle.sql
create or replace function core.watch_throttle()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
begin
  new.throttled_by := null;
  new.throttled_until := null;
  if new.is_throttled then
    new.throttled_at := now;
    return new;
  end if;
  new.throttled_at := null;
  new.throttled_reason := null;

  if core.used_up_window(new, now) is not null then
    raise notice '% is still over a limit of tier %, and will be throttled again by it.', coalesce(new.email, new.username), core.tier_now(new)
      using hint = format('To let them run all the same: select * from ops.waive_limits(%L, until => …, reason => …);', new.id);
  end if;
  return new;
end
$$;

comment on function core.watch_throttle() is
  'Trigger: keeps the columns beside is_throttled true when an operator sets or lifts it with a plain UPDATE, and tells one who lifts it '
  'while a limit would set it again. Correctness does not need it: an unset throttled_by says the same. Spec 3.4, 3.5.';

create or replace trigger watch_throttle
  before update of is_throttled on public.users
  for each row
  when (old.is_throttled is distinct from new.is_throttled and current_user <> 'prpm_owner')
  execute function core.watch_throttle();
--! EndIncluded accounts/watch_throttle.sql
--! Included limits/explain_throttle.sql
create or replace function ops.explain_throttle("user" text)
returns table (step integer, what text, used numeric, held numeric, "limit" numeric, unit text, explanation text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  clock timestamptz := core.now();
  u public.users;
  tier text;
  l public.cost_limits_config;
  useful numeric := coalesce(core.cheapest_useful_cost(clock), 0);
begin
  select x.* into u from public.users x where x.id = core.find_user("user");
  u := core.roll_windows(u, clock);
  tier := core.tier_now(u);
  select c.* into l from public.cost_limits_config c where c.tier_name = tier;

  return query values
    (1, 'tier', null::numeric, null::numeric, null::numeric, null, tier || case
      when l.tier_name is null then ' has no row in cost_limits_config: runs are refused with tier_not_configured'
      when u.tier_override is not null and tier = u.tier_override then ', given by an operator (tier_override)'
      when u.tier_override is not null then ', because ' || u.tier_override || ' is no longer active'
      when u.entitled_until > clock and tier = u.plan_tier then ', of the plan paid until ' || u.entitled_until
      when u.entitled_until > clock then ', because ' || u.plan_tier || ' is no longer active'
      else ', without a paid period'
    end),
    (2, 'month', u.current_month_limited_cost, u.month_held_cost, l.monthly_cost_limit::numeric, 'dollars', format('Until %s. All cost: %s dollars.', u.month_ends_at, u.current_month_api_cost)),
    (3, 'day', u.current_day_limited_cost, u.day_held_cost, l.daily_cost_limit::numeric, 'dollars', format('Until %s. All cost: %s dollars.', u.day_ends_at, u.current_day_api_cost)),
    (4, 'hour', u.hour_requests, null, l.hourly_request_limit, 'runs', format('Until %s.', u.hour_ends_at)),
    (5, 'minute', u.minute_attempts, null, l.minute_request_limit, 'attempts', format('Until %s.', u.minute_ends_at)),
    (6, 'used up', null, null, null, null, case
      when not l.throttle_on_exceed then 'Cost limits of this tier only alert (throttle_on_exceed is false).'
      when u.limits_waived_until > clock then 'Cost limits are waived until ' || u.limits_waived_until || '.'
      else case core.used_up_window(u, clock)
        when 'month' then 'The month has less left than a useful answer of the cheapest model costs.'
        when 'day' then 'The day has less left than a useful answer of the cheapest model costs.'
        else 'No cost window is used up.'
      end
    end || format(' A useful answer costs %s dollars.', useful)),
    (7, 'throttle', null, null, null, null, case
      when core.throttled_at(u, clock) then format(
        'is_throttled, by %s since %s until %s: %s', coalesce(u.throttled_by, 'a plain update'), coalesce(u.throttled_at::text, 'an unknown time'),
        coalesce(case when u.throttled_by is not null then u.throttled_until end::text, 'it is lifted'), coalesce(u.throttled_reason, 'no reason given')
      )
      when u.is_throttled then 'is_throttled is still set, but its end has passed: cleared on the next use.'
      else 'Not throttled.'
    end);
end
$$;

comment on function ops.explain_throttle(text) is
  'Why a user is throttled, or not: tier and where it comes from, each window''s use, hold and limit as of now, whether a window is used up, '
  'and at last what the user''s row says. "user" is an id, e-mail or username. '
  'Call: select * from ops.explain_throttle(''user@example.com''); Errors: PR404 unknown user. Spec 2.5, 3, 12.';
--! EndIncluded limits/explain_throttle.sql
--! Included limits/throttle_user.sql
create or replace function ops.throttle_user("user" text, until timestamptz, reason text, dry_run boolean default false)
returns table (user_id uuid, email text, is_throttled boolean, throttled_by text, throttled_reason text, throttled_until timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
begin
  if throttle_user.until <= core.now() then
    raise exception 'until % is not in the future', throttle_user.until
      using errcode = 'PR400', detail = 'until', hint = 'Give an instant to come, or null: until it is lifted.';
  end if;
  if dry_run then
    return query select u.id, u.email, true, 'operator', reason, until from public.users u where u.id = target;
    return;
  end if;
  perform core.note_action('throttle_user', target::text, reason, json_build_object('until', until));
  return query
    update public.users u
    set is_throttled = true, throttled_by = 'operator', throttled_reason = reason, throttled_at = core.now(), throttled_until = until
    where u.id = target
    returning u.id, u.email, u.is_throttled, u.throttled_by, u.throttled_reason, u.throttled_until;
end
$$;

comment on function ops.throttle_user(text, timestamptz, text, boolean) is
  'Holds a user (id, e-mail or username) until an instant, or for good where until is null, also one whom a limit throttles already. '
  'dry_run shows how they would stand. '
  'Call: select * from ops.throttle_user(''user@example.com'', now() + interval ''1 day'', ''chargeback''); '
  'Errors: PR404; PR400 naming until, or without a reason. Spec 3.4.';
--! EndIncluded limits/throttle_user.sql
--! Included limits/waive_limits.sql
create or replace function ops.waive_limits("user" text, until timestamptz, reason text, dry_run boolean default false)
returns table (user_id uuid, email text, is_throttled boolean, limits_waived_until timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  now timestamptz := core.now();
  person public.users;
begin
  if waive_limits.until <= now then
    raise exception 'until % is not in the future', waive_limits.until
      using errcode = 'PR400', detail = 'until', hint = 'Give an instant to come, or null to end a waiver.';
  end if;
  if dry_run then
    select u.* into strict person from public.users u where u.id = target;
    person.limits_waived_until := until;
    return query select person.id, person.email,
      core.throttled_at(person, now) and person.throttled_by is distinct from 'limit' or core.used_up_window(person, now) is not null, until;
    return;
  end if;
  perform core.note_action('waive_limits', target::text, reason, json_build_object('until', until));
  update public.users u set limits_waived_until = until where u.id = target;
  perform core.judge_throttle(target, now);
  return query select u.id, u.email, u.is_throttled, u.limits_waived_until from public.users u where u.id = target;
end
$$;

comment on function ops.waive_limits(text, timestamptz, text, boolean) is
  'Lets a user (id, e-mail or username) run past their cost limits until an instant (null ends it), and lifts the throttle that a limit '
  'set. Cost is recorded all the same. dry_run shows how they would stand. '
  'Call: select * from ops.waive_limits(''user@example.com'', now() + interval ''1 day'', ''demo for a customer''); '
  'Errors: PR404; PR400 naming until, or without a reason. Spec 3.5.';
--! EndIncluded limits/waive_limits.sql
--! Included limits/release_throttle.sql
create or replace function ops.release_throttle("user" text, reason text, dry_run boolean default false)
returns table (user_id uuid, email text, is_throttled boolean, note text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  still boolean;
begin
  if dry_run then
    select core.used_up_window(u, core.now()) is not null into still from public.users u where u.id = target;
  else
    still := core.lift_throttle(target, reason, null);
  end if;
  return query
    select u.id, u.email, still,
      case when still then 'Still over a limit that throttles: see ops.waive_limits(user, until, reason).' else 'Can run again.' end
    from public.users u
    where u.id = target;
end
$$;

comment on function ops.release_throttle(text, text, boolean) is
  'Lifts the throttle of a user (id, e-mail or username). If a used-up cost limit throttles them still, it says so. dry_run only says '
  'whether one would. '
  'Call: select * from ops.release_throttle(''user@example.com'', ''false positive''); Errors: PR404, PR400 without a reason. Spec 3.4, 3.5.';
--! EndIncluded limits/release_throttle.sql
--! Included runs/remedy_of.sql
create or replace function core.remedy_of(reason text, user_id uuid, tier text)
returns text
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select case
    when reason = 'insufficient_credits' then format('They buy credits, or: select * from ops.grant_credits(%L, 10, ''…'');', user_id)
    when reason in ('daily_cost_limit', 'monthly_cost_limit') then
      format('They wait or buy credits, or: select * from ops.waive_limits(%L, now() + interval ''1 day'', ''…'');', user_id)
    when reason = 'hourly_request_limit' then
      format('They wait, or: update cost_limits_config set hourly_request_limit = … where tier_name = %L;', tier)
    when reason = 'rate_limited' then
      format('They wait, or: update cost_limits_config set minute_request_limit = … where tier_name = %L;', tier)
    when reason = 'tier_budget' then 'They wait or subscribe, or: update settings set free_tier_daily_budget = …;'
    when reason = 'throttled' then format('select * from ops.release_throttle(%L, ''…'');', user_id)
    when reason = 'held_by_other_runs' then format('They wait for their other runs: select * from ops.open_holds where user_id = %L;', user_id)
    when reason = 'request_too_large' then 'They cut the input, or: update settings set max_request_tokens = …;'
    when reason = 'purchased_credit_cost' then 'They take a shorter request, or: update settings set purchased_cost_per_credit_cap = …;'
    when reason = 'runs_disabled' then 'update settings set runs_enabled = true;'
    when reason = 'purchases_disabled' then 'update settings set purchases_enabled = true;'
    when reason = 'tier_not_configured' then 'insert into cost_limits_config (tier_name, monthly_cost_limit) values (…, …);'
    when reason = 'model_not_priced' then 'select * from ops.unpriced_models;'
    when reason = 'model_disabled' then 'update models set enabled = true where alias = …;'
    when reason = 'verified_author_required' then format('select * from ops.set_user(%L, verified_author => true, reason => ''…'');', user_id)
    when reason = 'account_closed' then 'Nothing: the account is closed, and stays so.'
    when reason = 'payment_disputed' then format('select * from payments where user_id = %L; and Stripe''s Dashboard', user_id)
    else 'Nothing: the request itself was wrong (docs/errors.md).'
  end;
end;

comment on function core.remedy_of(text, uuid, text) is
  'What an operator can do about a refusal, by its code: a statement to paste or complete, or what the user does. Spec 3.7, 12.';
--! EndIncluded runs/remedy_of.sql
--! Included runs/explain_refusal.sql
create or replace function ops.explain_refusal("user" text)
returns table (
  step bigint, at timestamptz, reason text, refusals bigint, used numeric, "limit" numeric, unit text, explanation text, what_to_do text
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  clock timestamptz := core.now();
  u public.users;
  tier text;
  rows bigint;
  refusal json;
begin
  select x.* into u from public.users x where x.id = core.find_user("user");
  u := core.roll_windows(u, clock);
  tier := core.tier_now(u);

  return query
  select
    row_number() over (order by r.last_at desc, r.reason), r.last_at, r.reason, r.refusals, r.used_value, r.limit_value, r.unit,
    format('The last of %s in the hour from %s.', r.refusals, r.hour_start), core.remedy_of(r.reason, u.id, tier)
  from (select x.* from ops.refusals x where x.user_id = u.id order by x.last_at desc, x.reason limit 20) r
  order by 1;
  get diagnostics rows = row_count;

  refusal := core.refuse_by_standing(u, core.find_limits(tier), (select s.runs_enabled from public.settings s), clock);
  return query select
    rows + 1, clock, coalesce(refusal ->> 'code', 'none'), null::bigint, (refusal ->> 'used')::numeric, (refusal ->> 'limit')::numeric,
    refusal ->> 'unit',
    case
      when refusal is not null then 'Now, whatever they ask for: ' || (refusal ->> 'message')
      else format(
        'Now nothing stands in the way but what a run costs: %s credits are free; tier %s.',
        greatest(0, u.included_credits + u.purchased_credits - u.held_included - u.held_purchased), tier
      )
    end,
    case
      when refusal is not null then core.remedy_of(refusal ->> 'code', u.id, tier)
      else format('What is left of each window: select * from ops.explain_throttle(%L);', u.id)
    end;
end
$$;

comment on function ops.explain_refusal(text) is
  'Why a user was refused: their newest refusals (at most 20 rows, one for each reason and hour) with what was used of which limit and what to '
  'do about it, and at last what would refuse any run of theirs now, or how many credits are free. "user" is an id, e-mail or username. '
  'Call: select * from ops.explain_refusal(''user@example.com''); Errors: PR404 unknown user. Spec 3.7, 12.';
--! EndIncluded runs/explain_refusal.sql

--! split: 5-whatif.sql
-- The guide's projection, and a past period under other rules.
--! Included accounts/check_admin.sql
create or replace function core.check_admin(user_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if not exists (select from public.users u where u.id = check_admin.user_id and u.is_admin and u.closed_at is null) then
    raise exception 'only an administrator may do this'
      using errcode = 'PR403', hint = 'An operator makes one: select * from ops.set_user(…, is_admin => true, reason => …).';
  end if;
end
$$;

comment on function core.check_admin(uuid) is
  'Refuses whoever is not an administrator at this moment, by the column users.is_admin and nothing else; closed accounts too. '
  'Errors: PR403. Spec 2.2, 8.3.';
--! EndIncluded accounts/check_admin.sql
--! Included analytics/present_by_plan.sql
create or replace function core.present_by_plan(at timestamptz)
returns table (plan text, subscribers bigint, revenue numeric, cost numeric)
language sql
stable
begin atomic
  with used as (
    select d.user_id, sum(d.cost) as cost
    from core.usage_by_day d
    where d.day > (present_by_plan.at at time zone 'UTC')::date - 30 and d.day <= (present_by_plan.at at time zone 'UTC')::date
    group by d.user_id
  ),
  paying as (
    select s.user_id, min(s.plan) as plan, sum(s.monthly_amount) as amount
    from core.paying_subscriptions(present_by_plan.at) s
    group by s.user_id
  )
  select
    coalesce(p.plan, case when u.id is null then 'anonymous' else 'free' end),
    count(*), coalesce(sum(p.amount), 0), coalesce(sum(g.cost), 0)
  from used g
  full join paying p on p.user_id = g.user_id
  left join public.users u on u.id = coalesce(p.user_id, g.user_id)
  group by 1;
end;

comment on function core.present_by_plan(timestamptz) is
  'Who pays and costs what at that time, by plan: people with a paid subscription, and under free those without one who ran something in '
  'the last 30 days (UTC, today included); anonymous is use without an account. Revenue is US dollars that subscriptions pay a month, cost '
  'US dollars of those 30 days. Spec 8.5.';
--! EndIncluded analytics/present_by_plan.sql
--! Included analytics/check_projection.sql
create or replace function core.check_projection(plans text[], subscribers integer[], average_costs numeric[], prices numeric[])
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  given record;
  wrong numeric;
  unknown text;
begin
  for given in
    select * from (values
      ('subscribers', subscribers::numeric[]), ('average_costs', average_costs), ('prices', prices)
    ) x(name, list)
    where x.list is not null
  loop
    if cardinality(given.list) <> cardinality(plans) then
      raise exception '% has % values, but there are % plans', given.name, cardinality(given.list), cardinality(plans)
        using errcode = 'PR400', detail = given.name,
          hint = format('Give one value for each of %s, in this order; or name others in plans.', array_to_string(plans, ', '));
    end if;
    select v into wrong from unnest(given.list) v where not (v >= 0 and v <= 1000000000);
    if found then
      raise exception '% must be from 0 to 1000000000, not %', given.name, wrong using errcode = 'PR400', detail = given.name;
    end if;
  end loop;

  if cardinality(plans) = 0 or array_position(plans, null) is not null then
    raise exception 'plans must name at least one plan, and none may be null' using errcode = 'PR400', detail = 'plans';
  end if;
  select n.plan into unknown
  from unnest(plans) with ordinality n(plan, place)
  where n.plan not in ('free', 'anonymous') and prices[n.place::integer] is null
    and not exists (select from public.plans p where p.plan = n.plan);
  if found then
    raise exception 'there is no plan %', unknown
      using errcode = 'PR400', detail = 'plans',
        hint = format('There are %s and free. For one that does not exist yet, give prices too.', (select string_agg(p.plan, ', ' order by p.plan) from public.plans p));
  end if;
end
$$;

comment on function core.check_projection(text[], integer[], numeric[], numeric[]) is
  'Refuses inputs of ops.project_margin that do not fit together. Errors: PR400 naming plans, subscribers, average_costs or prices. Spec 8.5.';
--! EndIncluded analytics/check_projection.sql
--! Included analytics/project_margin.sql
drop function if exists ops.project_margin(integer[], numeric[], numeric[], text[]);

create function ops.project_margin(
  subscribers integer[] default null, average_costs numeric[] default null, prices numeric[] default null, plans text[] default null
)
returns table (
  plan text, users bigint, monthly_price numeric, revenue numeric, average_cost numeric, cost numeric, profit numeric, margin_percent numeric
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  at timestamptz := core.now();
  names text[] := project_margin.plans;
begin
  if names is null and num_nonnulls(project_margin.subscribers, project_margin.average_costs, project_margin.prices) > 0 then
    names := array['prpm_plus_individual', 'prpm_plus_org_member', 'free'];
  end if;
  perform core.check_projection(names, project_margin.subscribers, project_margin.average_costs, project_margin.prices);

  return query
  with rows as (
    select
      n.place,
      n.plan,
      coalesce(project_margin.subscribers[n.place], p.subscribers, 0) as users,
      coalesce(project_margin.prices[n.place], case when project_margin.subscribers is null then round(p.revenue / p.subscribers, 2) end, l.monthly_price, 0) as price,
      coalesce(project_margin.average_costs[n.place], round(p.cost / p.subscribers, 6), 0) as average,
      case when project_margin.subscribers[n.place] is null and project_margin.prices[n.place] is null then p.revenue end as present_revenue,
      case when project_margin.subscribers[n.place] is null and project_margin.average_costs[n.place] is null then p.cost end as present_cost
    from (
      select x.place::integer as place, x.plan from unnest(names) with ordinality x(plan, place)
      union all
      select row_number() over (order by g.revenue desc, g.plan)::integer, g.plan from core.present_by_plan(at) g where names is null
    ) n
    left join core.present_by_plan(at) p on p.plan = n.plan
    left join public.plans l on l.plan = n.plan
  ),
  figures as (
    select
      r.place, r.plan, r.users, r.price, r.average,
      coalesce(r.present_revenue, r.users * r.price) as revenue,
      coalesce(r.present_cost, r.users * r.average) as cost
    from rows r
  )
  select
    case when f.place is null then 'total' else min(f.plan) end,
    coalesce(sum(f.users), 0)::bigint,
    case when f.place is not null then min(f.price) end,
    coalesce(sum(f.revenue), 0),
    case when f.place is not null then min(f.average) else round(sum(f.cost) / nullif(sum(f.users), 0), 6) end,
    coalesce(sum(f.cost), 0),
    coalesce(sum(f.revenue - f.cost), 0),
    round(100 * sum(f.revenue - f.cost) / nullif(sum(f.revenue), 0), 2)
  from figures f
  group by grouping sets ((f.place), ())
  order by f.place nulls last;
end
$$;

comment on function ops.project_margin(integer[], numeric[], numeric[], text[]) is
  'What a month brings and costs, by plan and in total, US dollars: revenue is users times monthly_price, cost users times average_cost, '
  'margin_percent profit in percent of revenue (2 decimals, null without revenue). Each list has one value a plan, in the order of plans '
  '(null: prpm_plus_individual, prpm_plus_org_member, free); prices left out are the plans'' own, average costs left out those of the last '
  '30 days. Without any argument: the present, that is what subscriptions pay now and what their owners, and people without one, cost in the last '
  '30 days. Packs are not in it. Call: select * from ops.project_margin(''{60,30,10}'', ''{0.92,0.60,0.15}''); '
  'Errors: PR400 naming subscribers, average_costs, prices or plans. Spec 8.5.';
--! EndIncluded analytics/project_margin.sql
--! Included analytics/api_project_margin.sql
create or replace function api.project_margin(
  user_id uuid, subscribers integer[] default null, average_costs numeric[] default null, prices numeric[] default null, plans text[] default null
)
returns table (
  plan text, users bigint, monthly_price numeric, revenue numeric, average_cost numeric, cost numeric, profit numeric, margin_percent numeric
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform core.check_admin(project_margin.user_id);
  return query select * from ops.project_margin(
    project_margin.subscribers, project_margin.average_costs, project_margin.prices, project_margin.plans
  );
end
$$;

comment on function api.project_margin(uuid, integer[], numeric[], numeric[], text[]) is
  'ops.project_margin for an administrator. Errors: PR403 for others; PR400 as there. Spec 8.3, 8.5.';
--! EndIncluded analytics/api_project_margin.sql

--! split: 6-drift.sql
-- Providers' invoices and exports against our books; the figures that metrics read.
alter table public.settings add column if not exists provider_drift_percent numeric not null default 5
  check (provider_drift_percent between 0 and 100);
alter table public.settings add column if not exists provider_drift_dollars numeric not null default 0.10
  check (provider_drift_dollars between 0 and 1000000);
comment on column public.settings.provider_drift_percent is
  'Percent by which a provider''s invoice may differ from our books before ops.provider_drift calls it off (spec 7.1).';
comment on column public.settings.provider_drift_dollars is
  'US dollars that such a difference must reach, for exports round to cents (spec 7.1).';
grant update (provider_drift_percent, provider_drift_dollars) on public.settings to prpm_ops;

--! Included catalog/model_key.sql
create or replace function core.model_key(name text)
returns text
language sql
immutable
parallel safe
begin atomic
  select regexp_replace(
    btrim(regexp_replace(lower(model_key.name), '[^a-z0-9]+', '-', 'g'), '-'),
    '-20[0-9]{2}-?[01][0-9]-?[0-3][0-9]$', ''
  );
end;

comment on function core.model_key(text) is
  'What a provider''s names of one model have in common: lower case, dashes, no date. claude-sonnet-4-6-20260115, Claude Sonnet 4.6 and '
  'claude-sonnet-4-6 are one; so are gpt-4o-mini and gpt-4o-mini-2024-07-18. Spec 7.1.';
--! EndIncluded catalog/model_key.sql
--! Included catalog/model_of_provider.sql
create or replace function core.model_of_provider(provider text, name text)
returns text
language sql
stable
begin atomic
  select f.alias
  from (
    select m.alias, case
      when m.alias = model_of_provider.name then 1
      when m.provider_model = model_of_provider.name then 2
      when core.model_key(m.provider_model) = core.model_key(model_of_provider.name) then 3
    end as rank
    from public.models m
    where m.provider = model_of_provider.provider
    union all
    -- A name that stands no longer in models, but stood there.
    select m.alias, 4
    from public.audit_log a
    join public.models m on m.alias = a.row_key and m.provider = model_of_provider.provider
    where a.table_name = 'models' and core.model_key(a.old ->> 'provider_model') = core.model_key(model_of_provider.name)
  ) f
  where f.rank is not null
  order by f.rank, f.alias
  limit 1;
end;

comment on function core.model_of_provider(text, text) is
  'The alias of the model that a provider''s export or invoice names: by alias, by id, by id without its date, or by an id that the alias '
  'had before; null where it is none of ours. Spec 1.2, 7.1.';
--! EndIncluded catalog/model_of_provider.sql
--! Included analytics/provider_usage.sql
create table if not exists public.provider_usage (
  provider text not null,
  first_day date not null,
  last_day date not null,
  provider_model text not null,
  source text not null,
  model text,
  input_tokens bigint,
  cached_tokens bigint,
  cache_write_tokens bigint,
  output_tokens bigint,
  dollars numeric,
  entered_by text not null,
  entered_at timestamptz not null,
  primary key (provider, first_day, last_day, provider_model, source)
);
create index if not exists provider_usage_by_day on public.provider_usage (first_day);

comment on table public.provider_usage is
  'ops. What providers say that was used, and ask to be paid for it: by day or month and model, each source apart; a later entry of the same '
  'source replaces an earlier one. ops.provider_drift holds it against our books. Spec 7.1.';
comment on column public.provider_usage.provider is 'As in models.provider.';
comment on column public.provider_usage.first_day is 'UTC day, or the first of a month.';
comment on column public.provider_usage.last_day is 'The same day, or the last of that month.';
comment on column public.provider_usage.provider_model is 'The model as the provider names it there.';
comment on column public.provider_usage.source is 'Where it was read: invoice, or which export.';
comment on column public.provider_usage.model is 'models.alias that this is; null where it is no model of ours.';
comment on column public.provider_usage.input_tokens is 'Tokens read, cached and cache-write parts included; null where the source does not say.';
comment on column public.provider_usage.cached_tokens is 'Of them, tokens read from the cache.';
comment on column public.provider_usage.cache_write_tokens is 'Of them, tokens written to the cache.';
comment on column public.provider_usage.output_tokens is 'Tokens written; null where the source does not say.';
comment on column public.provider_usage.dollars is 'US dollars asked for; null where the source does not say.';
comment on column public.provider_usage.entered_by is 'Role that entered it last.';
comment on column public.provider_usage.entered_at is 'When, by the product''s clock.';
--! EndIncluded analytics/provider_usage.sql
--! Included analytics/read_period.sql
create or replace function core.read_period(period text, out first_day date, out last_day date)
language plpgsql
stable
set search_path = ''
as $$
begin
  if period ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$' then
    first_day := (period || '-01')::date;
    last_day := first_day + interval '1 month - 1 day';
  elsif period ~ '^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$' then
    begin
      first_day := period::date;
    exception when datetime_field_overflow then
      first_day := null;
    end;
    last_day := first_day;
  end if;
  if first_day is null then
    raise exception 'period % is neither a month nor a day', coalesce(period, 'null')
      using errcode = 'PR400', detail = 'period', hint = 'Write 2026-01 for a month, 2026-01-15 for a day (UTC).';
  end if;
  if first_day > (core.now() at time zone 'UTC')::date then
    raise exception 'period % has not begun', period using errcode = 'PR400', detail = 'period', hint = 'Days and months are UTC.';
  end if;
end
$$;

comment on function core.read_period(text) is
  'First and last day of a month (2026-01) or a day (2026-01-15), UTC. Errors: PR400 for anything else, and for one that has not begun.';
--! EndIncluded analytics/read_period.sql
--! Included analytics/check_provider.sql
create or replace function core.check_provider(provider text, source text)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if not exists (select from public.models m where m.provider = check_provider.provider) then
    raise exception 'no model is of provider %', coalesce(check_provider.provider, 'null')
      using errcode = 'PR400', detail = 'provider', hint = 'select distinct provider from models;';
  end if;
  if coalesce(check_provider.source, '') !~ '^[a-z0-9][a-z0-9 ._-]{0,59}$' then
    raise exception 'source % is no name of a source', coalesce(check_provider.source, 'null')
      using errcode = 'PR400', detail = 'source', hint = 'Say where it was read in a few words, at most 60 letters: invoice.';
  end if;
end
$$;

comment on function core.check_provider(text, text) is
  'Refuses a provider that no model is of, and a source that is no short name. Errors: PR400 naming provider or source.';
--! EndIncluded analytics/check_provider.sql
--! Included analytics/check_provider_figures.sql
create or replace function core.check_provider_figures(
  input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint, output_tokens bigint, dollars numeric
)
returns void
language plpgsql
immutable
set search_path = ''
as $$
declare
  most constant bigint := 1000000000000000;
  field text := case
    when check_provider_figures.input_tokens not between 0 and most then 'input_tokens'
    when check_provider_figures.cached_tokens not between 0 and most then 'cached_tokens'
    when check_provider_figures.cache_write_tokens not between 0 and most then 'cache_write_tokens'
    when check_provider_figures.output_tokens not between 0 and most then 'output_tokens'
    when check_provider_figures.dollars not between -100000000 and 100000000 then 'dollars'
  end;
begin
  if field is not null then
    raise exception '% is out of range', field
      using errcode = 'PR400', detail = field, hint = 'Tokens are counts from 0, dollars are at most 100 million.';
  end if;
  if coalesce(check_provider_figures.cached_tokens, 0) + coalesce(check_provider_figures.cache_write_tokens, 0)
    > coalesce(check_provider_figures.input_tokens, 0) then
    raise exception 'input_tokens % is less than its cached and cache-write parts', coalesce(check_provider_figures.input_tokens::text, 'null')
      using errcode = 'PR400', detail = 'input_tokens',
        hint = 'input_tokens is everything read: what was not cached, what was read from the cache, and what was written to it, together.';
  end if;
end
$$;

comment on function core.check_provider_figures(bigint, bigint, bigint, bigint, numeric) is
  'Refuses tokens and US dollars that cannot be; null is not said. Errors: PR400 naming the field. Spec 1.1.';
--! EndIncluded analytics/check_provider_figures.sql
--! Included analytics/put_provider_usage.sql
create or replace function core.put_provider_usage(provider text, source text, entries jsonb, dry_run boolean)
returns table (
  period text, provider_model text, model text, change text, input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint,
  output_tokens bigint, dollars numeric, old jsonb
)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  entry record;
  days record;
  was public.provider_usage;
begin
  for entry in
    select *
    from jsonb_to_recordset(put_provider_usage.entries) e (
      period text, provider_model text, input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint, output_tokens bigint, dollars numeric
    )
    order by e.period, e.provider_model
  loop
    days := core.read_period(entry.period);
    perform core.check_provider_figures(
      entry.input_tokens, entry.cached_tokens, entry.cache_write_tokens, entry.output_tokens, entry.dollars
    );
    was := null;
    select u.* into was
    from public.provider_usage u
    where u.provider = put_provider_usage.provider and u.first_day = days.first_day and u.last_day = days.last_day
      and u.provider_model = entry.provider_model and u.source = put_provider_usage.source
    for update;

    period := entry.period;
    provider_model := entry.provider_model;
    model := core.model_of_provider(put_provider_usage.provider, entry.provider_model);
    input_tokens := entry.input_tokens;
    cached_tokens := entry.cached_tokens;
    cache_write_tokens := entry.cache_write_tokens;
    output_tokens := entry.output_tokens;
    dollars := entry.dollars;
    old := to_jsonb(was);
    change := case
      when coalesce(input_tokens, output_tokens) is null and dollars is null then case when was.provider is null then 'none' else 'taken back' end
      when was.provider is null then 'new'
      when (was.input_tokens, was.cached_tokens, was.cache_write_tokens, was.output_tokens, was.dollars, was.model) is not distinct from
        (input_tokens, cached_tokens, cache_write_tokens, output_tokens, dollars, model) then 'same'
      else 'changed'
    end;
    if not dry_run and change in ('new', 'changed') then
      insert into public.provider_usage as u values (
        put_provider_usage.provider, days.first_day, days.last_day, provider_model, put_provider_usage.source, model, input_tokens,
        cached_tokens, cache_write_tokens, output_tokens, dollars, session_user, core.now()
      )
      on conflict on constraint provider_usage_pkey do update
      set model = excluded.model, input_tokens = excluded.input_tokens, cached_tokens = excluded.cached_tokens,
        cache_write_tokens = excluded.cache_write_tokens, output_tokens = excluded.output_tokens, dollars = excluded.dollars,
        entered_by = excluded.entered_by, entered_at = excluded.entered_at;
    elsif not dry_run and change = 'taken back' then
      delete from public.provider_usage u
      where u.provider = was.provider and u.first_day = was.first_day and u.last_day = was.last_day
        and u.provider_model = was.provider_model and u.source = was.source;
    end if;
    return next;
  end loop;
end
$$;

comment on function core.put_provider_usage(text, text, jsonb, boolean) is
  'Writes what a provider says into provider_usage, an entry for each period and model: {period, provider_model, input_tokens, '
  'cached_tokens, cache_write_tokens, output_tokens, dollars}, tokens of input being everything read. An entry without figures takes one back. '
  'Returns each with what changed (new, changed, same, taken back, none) and the row that it replaced. Errors: PR400 naming the field.';
--! EndIncluded analytics/put_provider_usage.sql
--! Included analytics/record_provider_invoice.sql
create or replace function ops.record_provider_invoice(
  provider text, period text, model text, input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint, output_tokens bigint,
  dollars numeric, reason text, source text default 'invoice', dry_run boolean default false
)
returns table (change text, entered_for text, alias text, provider_model text, tokens_read bigint, tokens_written bigint, asked_dollars numeric, replaced jsonb)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  found_alias text;
  named text;
  origin text := lower(btrim(record_provider_invoice.source));
  put record;
begin
  perform core.check_provider(record_provider_invoice.provider, origin);
  found_alias := core.model_of_provider(record_provider_invoice.provider, record_provider_invoice.model);
  if found_alias is null then
    raise exception '% has no model %', record_provider_invoice.provider, coalesce(record_provider_invoice.model, 'null')
      using errcode = 'PR404', detail = 'model', hint = 'Give the alias or the provider''s id: select alias, provider, provider_model from models;';
  end if;
  select case when record_provider_invoice.model = found_alias then m.provider_model else record_provider_invoice.model end into named
  from public.models m where m.alias = found_alias;

  for put in
    select x.*
    from core.put_provider_usage(
      record_provider_invoice.provider, origin, jsonb_build_array(jsonb_build_object(
        'period', record_provider_invoice.period, 'provider_model', named, 'input_tokens', record_provider_invoice.input_tokens,
        'cached_tokens', record_provider_invoice.cached_tokens, 'cache_write_tokens', record_provider_invoice.cache_write_tokens,
        'output_tokens', record_provider_invoice.output_tokens, 'dollars', record_provider_invoice.dollars
      )), dry_run
    ) x
  loop
    if not dry_run then
      perform core.note_action('record_provider_invoice', format('%s %s %s', record_provider_invoice.provider, put.period, put.provider_model),
        reason, json_build_object('source', origin, 'change', put.change, 'old', put.old, 'dollars', put.dollars));
    end if;
    return query
      select put.change, put.period, put.model, put.provider_model, put.input_tokens, put.output_tokens, put.dollars, put.old;
  end loop;
end
$$;

comment on function ops.record_provider_invoice(text, text, text, bigint, bigint, bigint, bigint, numeric, text, text, boolean) is
  'Enters what a provider''s invoice says about one model (alias, or the provider''s id) in a month (2026-01) or on a day (2026-01-15), UTC: '
  'tokens, input being everything read with its cached and cache-write parts, and US dollars; null is not said. The same again changes '
  'nothing, other figures replace (audit_log keeps the old), none at all take the entry back. ops.provider_drift compares. dry_run shows and keeps nothing. '
  'Call: select * from ops.record_provider_invoice(''openai'', ''2026-01'', ''gpt-4o-mini'', 1200000, 0, 0, 300000, 0.36, ''invoice of January''); '
  'Errors: PR404 no such model; PR400 naming provider, period, source, a figure, or reason. Spec 7.1, 12.';
--! EndIncluded analytics/record_provider_invoice.sql
--! Included analytics/import_provider_usage.sql
create or replace function ops.import_provider_usage(provider text, source text, entries jsonb, reason text, dry_run boolean default false)
returns table (
  period text, provider_model text, model text, change text, input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint,
  output_tokens bigint, dollars numeric
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  replaced jsonb := '[]'::jsonb;
  entered bigint := 0;
  put record;
begin
  perform core.check_provider(import_provider_usage.provider, import_provider_usage.source);
  for put in
    select x.* from core.put_provider_usage(import_provider_usage.provider, import_provider_usage.source, import_provider_usage.entries, dry_run) x
  loop
    entered := entered + (put.change <> 'same')::integer;
    if put.change in ('changed', 'taken back') then
      replaced := replaced || put.old;
    end if;
    period := put.period;
    provider_model := put.provider_model;
    model := put.model;
    change := put.change;
    input_tokens := put.input_tokens;
    cached_tokens := put.cached_tokens;
    cache_write_tokens := put.cache_write_tokens;
    output_tokens := put.output_tokens;
    dollars := put.dollars;
    return next;
  end loop;
  if not dry_run and entered > 0 then
    perform core.note_action('import_provider_usage', import_provider_usage.provider, reason,
      json_build_object('source', import_provider_usage.source, 'entered', entered, 'replaced', replaced));
  end if;
end
$$;

comment on function ops.import_provider_usage(text, text, jsonb, text, boolean) is
  'Enters what a provider''s export says, all or nothing: what npm run costs:import calls with a file''s sums by day and model. A model that '
  'is none of ours is kept too, with model null. Returns each entry with what changed; the same file again changes nothing. dry_run keeps nothing. '
  'Call: select * from ops.import_provider_usage(''openai'', ''openai cost export'', '
  '''[{"period": "2026-01-15", "provider_model": "gpt-4o-mini", "dollars": 0.36}]'', ''export of January''); '
  'Errors: PR400 naming provider, source, period, a figure, or reason. Spec 7.1, 12.';
--! EndIncluded analytics/import_provider_usage.sql
--! Included analytics/provider_said.sql
create or replace view core.provider_said as
with aliases as (
  select m.alias, min(m.alias) over (partition by m.provider, core.model_key(m.provider_model)) as model
  from public.models m
),
sources as (
  select
    p.provider, p.first_day, p.last_day, coalesce(a.model, 'none of ours: ' || core.model_key(p.provider_model)) as model,
    p.source like '%export' as is_export,
    case when p.source not like '%export' then 0 when p.source like '%cost export' then 2 else 1 end as token_rank,
    case when p.source not like '%export' then 0 when p.source like '%cost export' then 1 else 2 end as dollar_rank,
    sum(p.input_tokens) as input_tokens,
    sum(p.cached_tokens) as cached_tokens,
    sum(p.cache_write_tokens) as cache_write_tokens,
    sum(p.output_tokens) as output_tokens,
    sum(p.dollars) as dollars,
    p.source
  from public.provider_usage p
  left join aliases a on a.alias = p.model
  group by p.provider, p.first_day, p.last_day, 4, p.source
),
ranked as (
  select
    s.*,
    row_number() over (
      partition by s.provider, s.first_day, s.last_day, s.model
      order by coalesce(s.input_tokens, s.output_tokens) is null, s.token_rank, s.source
    ) as token_place,
    row_number() over (
      partition by s.provider, s.first_day, s.last_day, s.model order by s.dollars is null, s.dollar_rank, s.source
    ) as dollar_place
  from sources s
)
select
  r.provider, r.first_day, r.last_day, r.model,
  bool_or(r.is_export) as is_export,
  sum(r.input_tokens) filter (where r.token_place = 1) as input_tokens,
  sum(r.cached_tokens) filter (where r.token_place = 1) as cached_tokens,
  sum(r.cache_write_tokens) filter (where r.token_place = 1) as cache_write_tokens,
  sum(r.output_tokens) filter (where r.token_place = 1) as output_tokens,
  sum(r.dollars) filter (where r.dollar_place = 1) as dollars
from ranked r
group by r.provider, r.first_day, r.last_day, r.model;

comment on view core.provider_said is
  'What providers said, one row a period and model, from the best source that says it: an invoice before an export; tokens rather from an '
  'export of usage, dollars rather from one of costs. Models of ours that are one at the provider are one here. Spec 7.1.';
comment on column core.provider_said.provider is 'As in models.provider.';
comment on column core.provider_said.first_day is 'UTC day, or the first of a month.';
comment on column core.provider_said.last_day is 'The same day, or the last of that month.';
comment on column core.provider_said.model is 'models.alias, the first of those that are one at the provider; or "none of ours: " and its name there.';
comment on column core.provider_said.is_export is 'An export said something of it.';
comment on column core.provider_said.input_tokens is 'Tokens read, cached and cache-write parts included; null where nothing says it.';
comment on column core.provider_said.cached_tokens is 'Of them, tokens read from the cache.';
comment on column core.provider_said.cache_write_tokens is 'Of them, tokens written to the cache.';
comment on column core.provider_said.output_tokens is 'Tokens written; null where nothing says it.';
comment on column core.provider_said.dollars is 'US dollars asked for; null where nothing says it.';
--! EndIncluded analytics/provider_said.sql
--! Included analytics/provider_booked.sql
create or replace view core.provider_booked as
with aliases as (
  select m.alias, m.provider, min(m.alias) over (partition by m.provider, core.model_key(m.provider_model)) as model
  from public.models m
)
select
  a.provider, u.day, a.model,
  sum(u.input_tokens) as input_tokens,
  sum(u.cached_tokens) as cached_tokens,
  sum(u.cache_write_tokens) as cache_write_tokens,
  sum(u.output_tokens) as output_tokens,
  sum(u.dollars) as dollars
-- Nothing is read while nothing has been entered.
from (select min(p.first_day) as first_day from public.provider_usage p having count(*) > 0) since
cross join lateral (
  -- Before the join, so that the many rows are hashed and not sorted.
  select
    p.day, p.model, sum(p.input_tokens) as input_tokens, sum(p.cached_tokens) as cached_tokens, sum(p.cache_write_tokens) as cache_write_tokens,
    sum(p.output_tokens) as output_tokens, sum(p.cost) as dollars
  from core.usage_parts p
  where p.day >= since.first_day
  group by p.day, p.model
  having sum(p.runs) <> 0
) u
join aliases a on a.alias = u.model
group by a.provider, u.day, a.model;

comment on view core.provider_booked is
  'What our books say by day and model since the first day that a provider''s invoice or export tells of, models that are one at the provider '
  'as one. Exact. Spec 7.1, 8.2.';
comment on column core.provider_booked.provider is 'As in models.provider.';
comment on column core.provider_booked.day is 'UTC day in which the runs began.';
comment on column core.provider_booked.model is 'models.alias, the first of those that are one at the provider.';
comment on column core.provider_booked.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column core.provider_booked.cached_tokens is 'Of them, tokens read from the cache.';
comment on column core.provider_booked.cache_write_tokens is 'Of them, tokens written to the cache.';
comment on column core.provider_booked.output_tokens is 'Tokens written.';
comment on column core.provider_booked.dollars is 'US dollars: exact cost.';
--! EndIncluded analytics/provider_booked.sql
--! Included analytics/provider_comparison.sql
create or replace view core.provider_comparison as
with said as (
  select * from core.provider_said
),
booked as materialized (
  select * from core.provider_booked
),
-- An export of a day tells of every model: one that it leaves out was not used, says the provider.
covered as (
  select
    s.provider, s.first_day as day, bool_or(coalesce(s.input_tokens, s.output_tokens) is not null) as has_tokens, bool_or(s.dollars is not null) as has_dollars
  from said s
  where s.is_export and s.first_day = s.last_day
  group by s.provider, s.first_day
),
days as (
  select
    k.provider, k.day, k.model,
    coalesce(b.input_tokens, 0) as our_input_tokens,
    coalesce(b.cached_tokens, 0) as our_cached_tokens,
    coalesce(b.cache_write_tokens, 0) as our_cache_write_tokens,
    coalesce(b.output_tokens, 0) as our_output_tokens,
    coalesce(b.dollars, 0) as our_dollars,
    case when x.has_tokens then coalesce(s.input_tokens, 0) end as their_input_tokens,
    case when x.has_tokens then coalesce(s.cached_tokens, 0) end as their_cached_tokens,
    case when x.has_tokens then coalesce(s.cache_write_tokens, 0) end as their_cache_write_tokens,
    case when x.has_tokens then coalesce(s.output_tokens, 0) end as their_output_tokens,
    case when s.dollars is not null or c.has_dollars then coalesce(s.dollars, 0) end as their_dollars
  from (
    select s.provider, s.first_day as day, s.model from said s where s.first_day = s.last_day
    union
    select b.provider, b.day, b.model from booked b join covered c on c.provider = b.provider and c.day = b.day
  ) k
  left join said s on s.provider = k.provider and s.first_day = k.day and s.last_day = k.day and s.model = k.model
  left join booked b on b.provider = k.provider and b.day = k.day and b.model = k.model
  left join covered c on c.provider = k.provider and c.day = k.day
  cross join lateral (select coalesce(s.input_tokens, s.output_tokens) is not null or coalesce(c.has_tokens, false) as has_tokens) x
),
-- Days that are over, added up; what one side does not say is left out on both.
sums as (
  select
    d.provider, date_trunc('month', d.day)::date as first_day, d.model, count(*) as days,
    sum(d.our_input_tokens) filter (where d.their_input_tokens is not null) as our_input_tokens,
    sum(d.our_cached_tokens) filter (where d.their_input_tokens is not null) as our_cached_tokens,
    sum(d.our_cache_write_tokens) filter (where d.their_input_tokens is not null) as our_cache_write_tokens,
    sum(d.our_output_tokens) filter (where d.their_input_tokens is not null) as our_output_tokens,
    sum(d.our_dollars) filter (where d.their_dollars is not null) as our_dollars,
    sum(d.their_input_tokens) as their_input_tokens,
    sum(d.their_cached_tokens) as their_cached_tokens,
    sum(d.their_cache_write_tokens) as their_cache_write_tokens,
    sum(d.their_output_tokens) as their_output_tokens,
    sum(d.their_dollars) as their_dollars
  from days d
  where d.day < (core.now() at time zone 'UTC')::date
  group by d.provider, date_trunc('month', d.day)::date, d.model
),
-- What was entered for a month as a whole. Where it says nothing of tokens, or of dollars, the days speak.
months as (
  select
    s.provider, s.first_day, s.model, s.last_day - s.first_day + 1 as days,
    coalesce(s.input_tokens, s.output_tokens) is not null as has_tokens, s.dollars is not null as has_dollars,
    s.input_tokens, s.cached_tokens, s.cache_write_tokens, s.output_tokens, s.dollars,
    coalesce(sum(b.input_tokens), 0) as our_input_tokens,
    coalesce(sum(b.cached_tokens), 0) as our_cached_tokens,
    coalesce(sum(b.cache_write_tokens), 0) as our_cache_write_tokens,
    coalesce(sum(b.output_tokens), 0) as our_output_tokens,
    coalesce(sum(b.dollars), 0) as our_dollars
  from said s
  left join booked b on b.provider = s.provider and b.model = s.model and b.day between s.first_day and s.last_day
  where s.first_day < s.last_day
  group by s.provider, s.first_day, s.last_day, s.model, s.input_tokens, s.cached_tokens, s.cache_write_tokens, s.output_tokens, s.dollars
)
select
  to_char(d.day, 'YYYY-MM-DD') as period, d.day as last_day, d.provider, d.model, 1 as days,
  d.our_input_tokens, d.our_cached_tokens, d.our_cache_write_tokens, d.our_output_tokens, d.our_dollars,
  d.their_input_tokens, d.their_cached_tokens, d.their_cache_write_tokens, d.their_output_tokens, d.their_dollars
from days d
union all
select
  to_char(k.first_day, 'YYYY-MM'), (k.first_day + interval '1 month - 1 day')::date, k.provider, k.model,
  greatest(m.days, d.days)::integer,
  case when m.has_tokens then m.our_input_tokens else d.our_input_tokens end,
  case when m.has_tokens then m.our_cached_tokens else d.our_cached_tokens end,
  case when m.has_tokens then m.our_cache_write_tokens else d.our_cache_write_tokens end,
  case when m.has_tokens then m.our_output_tokens else d.our_output_tokens end,
  case when m.has_dollars then m.our_dollars else d.our_dollars end,
  case when m.has_tokens then coalesce(m.input_tokens, 0) else d.their_input_tokens end,
  case when m.has_tokens then coalesce(m.cached_tokens, 0) else d.their_cached_tokens end,
  case when m.has_tokens then coalesce(m.cache_write_tokens, 0) else d.their_cache_write_tokens end,
  case when m.has_tokens then coalesce(m.output_tokens, 0) else d.their_output_tokens end,
  case when m.has_dollars then m.dollars else d.their_dollars end
from (select m.provider, m.first_day, m.model from months m union select s.provider, s.first_day, s.model from sums s) k
left join months m on m.provider = k.provider and m.first_day = k.first_day and m.model = k.model
left join sums d on d.provider = k.provider and d.first_day = k.first_day and d.model = k.model;

comment on view core.provider_comparison is
  'Our books and what providers say, side by side: a row for each day and model that is told of, and one for each month: what was entered for '
  'it, else the sum of its days that are over. No day is counted beside its month. Spec 7.1.';
comment on column core.provider_comparison.period is 'Month (2026-01) or day (2026-01-15), UTC.';
comment on column core.provider_comparison.last_day is 'Its last day.';
comment on column core.provider_comparison.provider is 'As in models.provider.';
comment on column core.provider_comparison.model is 'models.alias, the first of those that are one at the provider; or "none of ours: " and its name there.';
comment on column core.provider_comparison.days is 'Days that are compared.';
comment on column core.provider_comparison.our_input_tokens is 'Tokens read, cached and cache-write parts included, by our books.';
comment on column core.provider_comparison.our_cached_tokens is 'Of them, tokens read from the cache.';
comment on column core.provider_comparison.our_cache_write_tokens is 'Of them, tokens written to the cache.';
comment on column core.provider_comparison.our_output_tokens is 'Tokens written, by our books.';
comment on column core.provider_comparison.our_dollars is 'US dollars: cost by our books.';
comment on column core.provider_comparison.their_input_tokens is 'Tokens read, says the provider; null where it does not say.';
comment on column core.provider_comparison.their_cached_tokens is 'Of them, tokens read from the cache.';
comment on column core.provider_comparison.their_cache_write_tokens is 'Of them, tokens written to the cache.';
comment on column core.provider_comparison.their_output_tokens is 'Tokens written, says the provider; null where it does not say.';
comment on column core.provider_comparison.their_dollars is 'US dollars that the provider asks for; null where it does not say.';
--! EndIncluded analytics/provider_comparison.sql
--! Included analytics/provider_drift.sql
create or replace view ops.provider_drift as
select
  c.period,
  c.provider,
  coalesce(n.aliases, c.model) as model,
  c.days,
  c.our_input_tokens + c.our_output_tokens as our_tokens,
  c.their_input_tokens + c.their_output_tokens as their_tokens,
  d.tokens_percent,
  c.our_dollars,
  c.their_dollars,
  c.their_dollars - c.our_dollars as difference_dollars,
  d.dollars_percent as difference_percent,
  c.last_day < (core.now() at time zone 'UTC')::date and case
    when c.their_dollars is not null then
      abs(c.their_dollars - c.our_dollars) >= s.provider_drift_dollars and coalesce(abs(d.dollars_percent) > s.provider_drift_percent, true)
    else
      -- Without dollars tokens speak; fewer than these are not worth a look.
      abs(c.their_input_tokens + c.their_output_tokens - c.our_input_tokens - c.our_output_tokens) >= 10000
        and coalesce(abs(d.tokens_percent) > s.provider_drift_percent, true)
  end as is_off
from core.provider_comparison c
cross join public.settings s
cross join lateral (
  select
    round(100 * (c.their_dollars - c.our_dollars) / nullif(c.their_dollars, 0), 2) as dollars_percent,
    round(
      100 * (c.their_input_tokens + c.their_output_tokens - c.our_input_tokens - c.our_output_tokens)
        / nullif(c.their_input_tokens + c.their_output_tokens, 0), 2
    ) as tokens_percent
) d
left join lateral (
  select string_agg(m.alias, ', ' order by m.alias) as aliases
  from public.models first
  join public.models m on m.provider = first.provider and core.model_key(m.provider_model) = core.model_key(first.provider_model)
  where first.alias = c.model
) n on true
order by c.last_day desc, length(c.period), abs(c.their_dollars - c.our_dollars) desc nulls last, c.provider, c.model;

comment on view ops.provider_drift is
  'Does what providers ask for agree with our books? By model, day and month, newest first, only where an invoice or export was entered '
  '(ops.record_provider_invoice, npm run costs:import). A month is what was entered for it, else the sum of its days. What providers tell of '
  'models that are none of ours stands here too. Spec 7.1, 12.';
comment on column ops.provider_drift.period is 'Month (2026-01) or day (2026-01-15), UTC.';
comment on column ops.provider_drift.provider is 'As in models.provider.';
comment on column ops.provider_drift.model is 'Our aliases of it; or "none of ours: " and its name there.';
comment on column ops.provider_drift.days is 'Days that are compared.';
comment on column ops.provider_drift.our_tokens is 'Tokens read and written by our books.';
comment on column ops.provider_drift.their_tokens is 'Tokens read and written, says the provider; null where it does not say.';
comment on column ops.provider_drift.tokens_percent is 'Their tokens less ours, in percent of theirs.';
comment on column ops.provider_drift.our_dollars is 'US dollars: cost by our books.';
comment on column ops.provider_drift.their_dollars is 'US dollars that the provider asks for; null where it does not say.';
comment on column ops.provider_drift.difference_dollars is 'US dollars: theirs less ours; above 0, the provider asks for more than we booked.';
comment on column ops.provider_drift.difference_percent is 'Their dollars less ours, in percent of theirs; null where they ask for none.';
comment on column ops.provider_drift.is_off is
  'The period is over, and the difference in dollars is more than settings.provider_drift_percent and at least settings.provider_drift_dollars; '
  'where no dollars are said, that of tokens, from 10,000.';
--! EndIncluded analytics/provider_drift.sql
--! Included analytics/explain_provider_drift.sql
create or replace function ops.explain_provider_drift(provider text, period text, model text)
returns table (what text, ours numeric, theirs numeric, difference numeric, percent numeric)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  c core.provider_comparison;
begin
  perform core.read_period(explain_provider_drift.period);
  select x.* into c
  from core.provider_comparison x
  where x.provider = explain_provider_drift.provider and x.period = explain_provider_drift.period
    and (x.model = core.model_of_provider(x.provider, explain_provider_drift.model)
      or x.model in (
        select min(m.alias)
        from public.models m
        where m.provider = x.provider
          and core.model_key(m.provider_model) = (
            select core.model_key(n.provider_model) from public.models n where n.alias = core.model_of_provider(x.provider, explain_provider_drift.model)
          )
      )
      or x.model = explain_provider_drift.model);
  if not found then
    raise exception 'nothing is known of % of % in %', coalesce(explain_provider_drift.model, 'null'), coalesce(explain_provider_drift.provider, 'null'), explain_provider_drift.period
      using errcode = 'PR404', detail = 'model', hint = 'select period, provider, model from ops.provider_drift;';
  end if;
  return query
    select k.what, k.ours, k.theirs, k.theirs - k.ours, round(100 * (k.theirs - k.ours) / nullif(k.theirs, 0), 2)
    from (values
      ('tokens read, not cached', c.our_input_tokens - c.our_cached_tokens - c.our_cache_write_tokens,
        c.their_input_tokens - c.their_cached_tokens - c.their_cache_write_tokens),
      ('tokens read from the cache', c.our_cached_tokens, c.their_cached_tokens),
      ('tokens written to the cache', c.our_cache_write_tokens, c.their_cache_write_tokens),
      ('tokens written', c.our_output_tokens, c.their_output_tokens),
      ('US dollars', c.our_dollars, c.their_dollars)
    ) k (what, ours, theirs);
end
$$;

comment on function ops.explain_provider_drift(text, text, text) is
  'One row of ops.provider_drift, by kind of token, the last row in US dollars: ours, theirs, theirs less ours, and that in percent of theirs. '
  'Call: select * from ops.explain_provider_drift(''openai'', ''2026-01'', ''gpt-4o-mini''); '
  'Errors: PR404 nothing is known of it; PR400 the period. Spec 7.1, 12.';
--! EndIncluded analytics/explain_provider_drift.sql
--! Included analytics/reconcile_costs.sql
create or replace function ops.reconcile_costs()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  off bigint;
begin
  -- A model may have become one of ours since its usage was entered.
  update public.provider_usage u
  set model = core.model_of_provider(u.provider, u.provider_model)
  where u.model is null and core.model_of_provider(u.provider, u.provider_model) is not null;

  select count(*) into off
  from ops.provider_drift d
  where d.is_off and left(d.period, 7) >= to_char((core.now() at time zone 'UTC') - interval '1 month', 'YYYY-MM');
  return off;
end
$$;

comment on function ops.reconcile_costs() is
  'Looks again whose the models are that were none of ours, and returns how many rows of ops.provider_drift are off in this month and the '
  'last. A job does it daily; alerts read the view. Call: select ops.reconcile_costs(); Spec 7.1.';
--! EndIncluded analytics/reconcile_costs.sql

grant execute on function core.model_key(text) to prpm_ops, prpm_readonly;
grant select on core.provider_said, core.provider_booked, core.provider_comparison to prpm_ops;

insert into public.jobs (job, every, after, description, call) values
  ('reconcile-costs', '1 day', '3 hours 40 minutes', 'Holds providers'' invoices against our books: ops.reconcile_costs()', 'reconcile_costs')
on conflict do nothing;

-- Reads what later files make: alerts and messages.
--! Included jobs/read_metrics.sql
drop function if exists api.read_metrics();
create or replace function api.read_metrics(
  out users bigint, out throttled_by_limit bigint, out throttled_by_operator bigint, out open_runs bigint, out overdue_holds bigint,
  out held_credits bigint, out held_cost numeric, out month_cost numeric, out month_subscription_revenue numeric,
  out month_pack_revenue numeric, out free_tier_cost numeric, out free_tier_budget numeric, out free_tier_paused boolean,
  out runs_enabled boolean, out purchases_enabled boolean, out events_waiting bigint, out events_waiting_seconds numeric,
  out events_in_review bigint, out work_due bigint, out work_due_seconds numeric, out work_failed bigint,
  out analytics_age_seconds numeric, out drift_rows bigint, out alerts_warning bigint, out alerts_critical bigint,
  out messages_undelivered bigint, out jobs jsonb
)
language plpgsql
stable
security definer
set search_path = ''
-- The server's role never reads whole tables; this reads the users once.
set enable_seqscan = on
as $$
declare
  now timestamptz := core.now();
  month_start timestamptz := date_trunc('month', now at time zone 'UTC') at time zone 'UTC';
begin
  select
    count(*) filter (where u.closed_at is null),
    count(*) filter (where u.is_throttled and u.throttled_by = 'limit' and core.throttled_at(u, now)),
    count(*) filter (where u.is_throttled and u.throttled_by is distinct from 'limit' and core.throttled_at(u, now)),
    sum(cardinality(u.open_runs)),
    count(*) filter (where u.holds_expire_at < now),
    sum(u.held_included + u.held_purchased),
    sum(u.month_held_cost),
    sum(u.current_month_api_cost) filter (where u.month_ends_at > now),
    sum(u.current_day_limited_cost) filter (
      where u.day_ends_at > now and core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now) = 'free'
    )
  into users, throttled_by_limit, throttled_by_operator, open_runs, overdue_holds, held_credits, held_cost, month_cost, free_tier_cost
  from public.users u;

  select sum(s.monthly_amount) into month_subscription_revenue from core.paying_subscriptions(now) s;
  select sum(greatest(0, p.paid_amount - p.refunded_amount - p.disputed_amount)) into month_pack_revenue
  from public.purchases p
  where p.paid_at >= month_start;

  select s.free_tier_daily_budget, s.runs_enabled, s.purchases_enabled into free_tier_budget, runs_enabled, purchases_enabled
  from public.settings s;
  select coalesce(bool_or(l.paused_until > now), false) into free_tier_paused from public.cost_limits_config l where l.tier_name = 'free';

  select count(*), extract(epoch from now - min(e.received_at)) into events_waiting, events_waiting_seconds
  from public.stripe_events e where e.status = 'received';
  select count(*) into events_in_review from public.stripe_events e where e.status = 'needs_review';
  select
    count(*) filter (where not w.is_failed and w.due_at <= now),
    extract(epoch from now - min(w.due_at) filter (where not w.is_failed and w.due_at <= now)),
    count(*) filter (where w.is_failed)
  into work_due, work_due_seconds, work_failed
  from public.stripe_work w;

  select extract(epoch from clock_timestamp() - a.refreshed_at) into analytics_age_seconds from core.analytics_refresh a;
  select count(*) filter (where a.severity = 'warning'), count(*) filter (where a.severity = 'critical')
  into alerts_warning, alerts_critical
  from public.alerts a where a.resolved_at is null;
  select count(*) into messages_undelivered from ops.undelivered_messages;
  select j.last_rows into drift_rows from ops.jobs j where j.job = 'reconcile-costs';
  select jsonb_agg(jsonb_build_object('job', j.job, 'late_seconds', j.late_seconds, 'failed', j.has_failed)) into jobs from ops.jobs j;
end
$$;

comment on function api.read_metrics() is
  'What the metrics tell of the database, in one row: counts, credits, US dollars and seconds as of now; sums over nothing are null. Costs one '
  'pass over users and none over runs. drift_rows is what reconcile-costs found last; jobs is [{job, late_seconds, failed}]. Spec 11.4.';
--! EndIncluded jobs/read_metrics.sql

--! split: 7-billing.sql
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

--! Included credits/rollover_ends_at.sql
create or replace function core.rollover_ends_at(user_id uuid, period_start timestamptz, period_end timestamptz)
returns timestamptz
language sql
stable
set search_path = ''
begin atomic
  select least((period_end at time zone 'UTC' + interval '1 month') at time zone 'UTC', (
    select l.period_start
    from public.credit_lots l
    where l.user_id = rollover_ends_at.user_id and l.source = 'subscription' and l.period_start > rollover_ends_at.period_start
    order by l.period_start
    offset 1 limit 1
  ));
end;

comment on function core.rollover_ends_at(uuid, timestamptz, timestamptz) is
  'When what rolls over from a period expires: a month after that period''s end, or with the second period that was granted after it, for '
  'which it is older rollover. Spec 4.3.';
--! EndIncluded credits/rollover_ends_at.sql
--! Included credits/roll_over.sql
create or replace function core.roll_over(user_id uuid, from_lot uuid, amount bigint, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  old public.credit_lots;
  target public.credit_lots;
  cap bigint;
  rolled bigint;
begin
  select l.* into strict old from public.credit_lots l where l.user_id = roll_over.user_id and l.id = roll_over.from_lot;
  select s.max_rollover_credits into cap from public.settings s;
  select l.* into target from public.credit_lots l where l.user_id = roll_over.user_id and l.id = old.rolls_into;

  rolled := least(roll_over.amount, greatest(0, cap - coalesce(target.granted, 0)));
  if rolled > 0 then
    perform core.move_credits(
      roll_over.user_id, old.id, 'rollover', 'lot', 'issued', rolled, roll_over.now, description => 'Rolled over to the next period'
    );
    if target.id is null then
      insert into public.credit_lots
        (user_id, id, kind, granted, remaining, expires_at, paid_per_credit, source, source_id, period_start, period_end, created_at)
      values (
        roll_over.user_id, old.rolls_into, 'rollover', rolled, 0,
        core.rollover_ends_at(roll_over.user_id, old.period_start, old.period_end), old.paid_per_credit,
        'rollover', old.source_id, old.period_start, old.period_end, roll_over.now
      );
    else
      update public.credit_lots l set granted = l.granted + rolled where l.user_id = roll_over.user_id and l.id = target.id;
    end if;
    perform core.move_credits(
      roll_over.user_id, old.rolls_into, 'rollover', 'issued', 'lot', rolled, roll_over.now, description => 'Rolled over from the last period'
    );
  end if;
  if roll_over.amount > rolled then
    perform core.move_credits(
      roll_over.user_id, old.id, 'expire', 'lot', 'expired', roll_over.amount - rolled, roll_over.now,
      description => 'Above the most that rolls over'
    );
  end if;
end
$$;

comment on function core.roll_over(uuid, uuid, bigint, timestamptz) is
  'Moves credits of an ended period''s lot to the rollover lot that it names (rolls_into), up to settings.max_rollover_credits in all, '
  'and books the rest as expired. The rollover lot expires as core.rollover_ends_at says. The caller holds the user''s row. Spec 4.3.';
--! EndIncluded credits/roll_over.sql
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
  has_rolled boolean := true;
begin
  select u.held_included, u.held_purchased into strict held_included, held_purchased
  from public.users u
  where u.id = tidy_lots.user_id
  for no key update;

  -- Again where something rolled over: its new time may be over as well.
  while has_rolled loop
    has_rolled := false;
    for lot in
      select h.* from core.held_in_lots(tidy_lots.user_id, held_included, held_purchased) h
      where h.expires_at <= tidy_lots.now and h.remaining > h.held
    loop
      if lot.rolls_into is not null then
        perform core.roll_over(tidy_lots.user_id, lot.lot_id, lot.remaining - lot.held, tidy_lots.now);
        has_rolled := true;
      else
        perform core.move_credits(
          tidy_lots.user_id, lot.lot_id, 'expire', 'lot', 'expired', lot.remaining - lot.held, tidy_lots.now,
          description => 'Expired ' || lot.kind || ' credits'
        );
        expired := expired + lot.remaining - lot.held;
      end if;
    end loop;
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
--! Included credits/grant_period.sql
create or replace function core.grant_period(
  user_id uuid, subscription_id text, plan text, period_start timestamptz, period_end timestamptz, paid numeric, now timestamptz,
  paid_at timestamptz default null, allocation bigint default null
)
returns uuid
language plpgsql
set search_path = ''
as $$
declare
  grace integer;
  key text := grant_period.subscription_id || '/' || extract(epoch from grant_period.period_start)::bigint;
  old record;
  lot_id uuid;
  next_start timestamptz;
  rollover_id uuid := gen_random_uuid();
begin
  if allocation is null then
    select p.monthly_credits into strict allocation from public.plans p where p.plan = grant_period.plan;
  end if;
  select s.grace_days into grace from public.settings s;
  perform from public.users u where u.id = grant_period.user_id for no key update;

  select l.id into lot_id
  from public.credit_lots l
  where l.user_id = grant_period.user_id and l.source = 'subscription' and l.source_id = key;
  if found then
    return lot_id;
  end if;

  for old in
    select l.id, l.kind, l.rolls_into, l.period_end,
      -- What was ended before its period was, for money back, rolls over to nobody.
      l.kind = 'monthly' and l.expires_at >= l.period_end and l.period_end > grant_period.period_start - interval '1 day' as rolls
    from public.credit_lots l
    -- Empty ones too: a refund that fails may give back to them.
    where l.user_id = grant_period.user_id and l.kind in ('rollover', 'monthly')
      and l.period_start < grant_period.period_start
    order by l.kind desc
  loop
    update public.credit_lots l
    set
      expires_at = least(l.expires_at, grant_period.period_start),
      rolls_into = coalesce(l.rolls_into, case when old.rolls then rollover_id end)
    where l.user_id = grant_period.user_id and l.id = old.id;

    -- We hear of it late, but it was paid in time: what has expired of the period before rolls over all the same.
    if old.rolls and old.rolls_into is null
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
    -- And what has rolled over before may be older rollover by now.
    update public.credit_lots l
    set expires_at = least(l.expires_at, core.rollover_ends_at(l.user_id, l.period_start, l.period_end))
    where l.user_id = grant_period.user_id and l.kind = 'rollover';
    perform core.tidy_lots(grant_period.user_id, grant_period.now);
  end if;
  return lot_id;
end
$$;

comment on function core.grant_period(uuid, text, text, timestamptz, timestamptz, numeric, timestamptz, timestamptz, bigint) is
  'Grants a paid billing period''s credits, once for each user, subscription and period start. What is left of the period before '
  'becomes one rollover lot, older rollover expires. A period that is heard of after a later one rolls over at once. paid_at is when it was paid (null: now): where that was within '
  'the grace, what has expired since rolls over too. paid is US dollars '
  'received for the period; allocation the credits of a trial (null: the plan''s). Returns the lot. Locks the user''s row. Spec 4.3.';
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
  where l.user_id = end_subscription.user_id and starts_with(l.source_id, end_subscription.subscription_id || '/')
    -- A period that ended with money back may have rolled over before we heard of that.
    and (l.source = 'subscription' or l.source = 'rollover' and l.period_end > end_subscription.at);
  perform core.tidy_lots(end_subscription.user_id, end_subscription.now);
end
$$;

comment on function core.end_subscription(uuid, text, timestamptz, timestamptz) is
  'Lets a subscription''s monthly credits expire at that instant: the end of the period paid for, or at once if the money went back, and '
  'then what had rolled over of that period too. Other rollover keeps its date, purchased credits stay. Locks the user''s row. Spec 4.4.';
--! EndIncluded credits/end_subscription.sql
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
  insert into public.stripe_work as w (id, dedupe, kind, key, parameters, user_id, is_write, due_at, created_at)
  values (
    new_id, case when want_work.is_write then new_id::text else want_work.kind || ' ' || want_work.key end,
    want_work.kind, want_work.key, want_work.parameters, want_work.user_id, want_work.is_write, now + delay, now
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
--! Included billing/refund_second.sql
create or replace function core.refund_second(user_id uuid, payment_id text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform core.want_work('refund_payment', refund_second.payment_id, refund_second.user_id,
    jsonb_build_object('payment_intent', refund_second.payment_id, 'metadata', jsonb_build_object('reason', 'second subscription')),
    is_write => true);
end
$$;

comment on function core.refund_second(uuid, text) is 'Queues the refund of what was paid for a second subscription of one person. Spec 6.1.';
--! EndIncluded billing/refund_second.sql
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
    perform core.refund_second(supersede_doubles.user_id, p.id)
    from public.payments p
    where p.user_id = supersede_doubles.user_id and p.subscription_id = later.id and p.paid_amount > 0;
  end loop;
end
$$;

comment on function core.supersede_doubles(uuid) is
  'Where a user has paid for two subscriptions, lets the later one be canceled and its payments be refunded. The caller holds the user''s '
  'row. Spec 6.1.';
--! EndIncluded billing/supersede_doubles.sql
--! Included billing/payment_patience.sql
create or replace function core.payment_patience()
returns interval
language sql
immutable
parallel safe
begin atomic
  select interval '70 minutes';
end;

comment on function core.payment_patience() is
  'How long after a period began its money is waited for before Stripe is asked: it takes the money about an hour after. Spec 6.6.';
--! EndIncluded billing/payment_patience.sql
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
  'How long after something was made at Stripe its event may still be on its way, so that not knowing of it is no difference. Spec 6.6.';
--! EndIncluded billing/news_patience.sql
--! Included billing/period_of_invoice.sql
create or replace function core.period_of_invoice(
  invoice jsonb, out price_id text, out amount numeric, out starts timestamptz, out ends timestamptz
)
language sql
immutable
parallel safe
begin atomic
  select
    l #>> '{pricing,price_details,price}',
    coalesce((l ->> 'amount')::numeric, 0) / 100,
    to_timestamp((l #>> '{period,start}')::bigint),
    to_timestamp((l #>> '{period,end}')::bigint)
  from jsonb_array_elements(invoice #> '{lines,data}') l
  where (l #>> '{parent,subscription_item_details,proration}')::boolean is false
  order by (l #>> '{period,end}')::bigint desc
  limit 1;
end;

comment on function core.period_of_invoice(jsonb) is
  'The period that a subscription''s invoice is for, by its line (no proration): the price at Stripe, US dollars, start and end; null without '
  'one. Spec 4.3.';
--! EndIncluded billing/period_of_invoice.sql
--! Included billing/note_unpaid.sql
create or replace function core.note_unpaid(user_id uuid, subscription_id text, invoice jsonb, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if invoice ->> 'status' = 'open' and (invoice ->> 'attempted')::boolean then
    update public.subscriptions s set
      unpaid_since = least(s.unpaid_since, to_timestamp((invoice #>> '{status_transitions,finalized_at}')::bigint)),
      hosted_invoice_url = invoice ->> 'hosted_invoice_url'
    where s.user_id = note_unpaid.user_id and s.id = note_unpaid.subscription_id;
    perform core.refresh_entitlement(note_unpaid.user_id, note_unpaid.now);
  end if;
end
$$;

comment on function core.note_unpaid(uuid, text, jsonb, timestamptz) is
  'Starts the grace of a subscription whose invoice is open because it could not be collected; one that was not tried yet changes nothing. '
  'The caller holds the user''s row. Spec 2.5.';
--! EndIncluded billing/note_unpaid.sql
--! Included billing/book_period.sql
create or replace function core.book_period(
  user_id uuid, subscription_id text, plan text, starts timestamptz, ends timestamptz, allocation bigint, invoice jsonb, now timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  paid numeric := (invoice ->> 'amount_paid')::numeric / 100;
begin
  insert into public.subscription_periods as q
    (user_id, subscription_id, period_start, period_end, plan, state, invoice_id, credits, paid_amount, created_at, paid_at)
  values (
    book_period.user_id, book_period.subscription_id, starts, ends, book_period.plan, 'paid', invoice ->> 'id', allocation, paid,
    book_period.now, book_period.now
  )
  on conflict on constraint subscription_periods_pkey do update set
    state = 'paid', plan = excluded.plan, period_end = excluded.period_end, invoice_id = excluded.invoice_id, credits = excluded.credits,
    paid_amount = excluded.paid_amount, paid_at = excluded.paid_at
  where q.state = 'due';
  if found and allocation > 0 then
    perform core.grant_period(book_period.user_id, book_period.subscription_id, book_period.plan, starts, ends, paid, book_period.now,
      paid_at => to_timestamp((invoice #>> '{status_transitions,paid_at}')::bigint), allocation => book_period.allocation);
  end if;
end
$$;

comment on function core.book_period(uuid, text, text, timestamptz, timestamptz, bigint, jsonb, timestamptz) is
  'Books a period as paid by its invoice and grants it so many credits, once. The caller holds the user''s row. Spec 4.3.';
--! EndIncluded billing/book_period.sql
--! Included billing/link_payment.sql
create or replace function core.link_payment(user_id uuid, payment_id text, s public.subscriptions, period_start timestamptz, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  is_new boolean;
begin
  update public.subscription_periods q set payment_id = link_payment.payment_id
  where q.user_id = link_payment.user_id and q.subscription_id = s.id and q.period_start = link_payment.period_start and q.payment_id is null;
  update public.payments p set kind = 'subscription', subscription_id = s.id, period_start = link_payment.period_start, needs_review = null
  where p.user_id = link_payment.user_id and p.id = link_payment.payment_id and p.kind = 'unknown';
  is_new := found;
  perform core.settle_payment(link_payment.user_id, link_payment.payment_id, link_payment.now);
  if is_new and s.superseded then
    perform core.refund_second(link_payment.user_id, link_payment.payment_id);
  end if;
end
$$;

comment on function core.link_payment(uuid, text, public.subscriptions, timestamptz, timestamptz) is
  'Notes that a payment paid that period of a subscription, and settles its refunds and disputes; what was paid for a second subscription '
  'is refunded. The caller holds the user''s row. Spec 4.6, 6.1, 6.5.';
--! EndIncluded billing/link_payment.sql
--! Included billing/take_invoice.sql
create or replace function core.take_invoice(user_id uuid, invoice jsonb, payment_id text, now timestamptz)
returns text
language plpgsql
set search_path = ''
as $$
declare
  subscription text := coalesce(invoice #>> '{parent,subscription_details,subscription,id}', invoice #>> '{parent,subscription_details,subscription}');
  period record;
  bought text;
  s public.subscriptions;
  allocation bigint;
  is_trial boolean;
  is_second boolean;
  paid numeric := (invoice ->> 'amount_paid')::numeric / 100;
begin
  if subscription is null then
    return null;
  end if;
  select x.* into s from public.subscriptions x where x.user_id = take_invoice.user_id and x.id = subscription;
  if not found then
    perform core.want_work('fetch_subscription', subscription, take_invoice.user_id);
    s.id := subscription;
  end if;
  if invoice ->> 'status' <> 'paid' then
    perform core.note_unpaid(take_invoice.user_id, subscription, invoice, take_invoice.now);
    return null;
  end if;
  if invoice ->> 'billing_reason' not in ('subscription_create', 'subscription_cycle') then
    update public.payments p set needs_review = format('it paid invoice %s, which opened no period (%s)', invoice ->> 'id', invoice ->> 'billing_reason')
    where p.user_id = take_invoice.user_id and p.id = take_invoice.payment_id and p.kind = 'unknown';
    return null;
  end if;

  select x.* into period from core.period_of_invoice(invoice) x;
  bought := core.plan_of_price(period.price_id);
  if bought is null then
    return 'invoice ' || (invoice ->> 'id') || ' is for a price that no plan has';
  end if;
  is_trial := coalesce(s.trial_end > period.starts, false) or (s.user_id is null and paid = 0 and period.amount = 0);
  if s.user_id is null and is_trial then
    return null; -- told by the subscription, which is fetched
  end if;

  -- Another one was there first: this one is going to be canceled and refunded.
  is_second := s.superseded or exists (
    select from public.subscriptions o
    join public.subscription_states state on state.status = o.status and state.is_open
    where o.user_id = take_invoice.user_id and o.id <> subscription and not o.superseded
      and (s.user_id is null or (o.stripe_created_at, o.id) < (s.stripe_created_at, s.id))
  );
  if is_second and s.user_id is null then
    if payment_id is not null then
      perform core.want_work('fetch_payment_invoice', payment_id, take_invoice.user_id, delay => interval '5 seconds');
    end if;
    return null; -- once it is fetched, more is known
  end if;
  allocation := case
    when is_second then 0
    when is_trial then (select x.trial_credits from public.settings x)
    else (select p.monthly_credits from public.plans p where p.plan = bought)
  end;
  perform core.book_period(take_invoice.user_id, subscription, bought, period.starts, period.ends, allocation, invoice, take_invoice.now);
  if payment_id is not null then
    perform core.link_payment(take_invoice.user_id, payment_id, s, period.starts, take_invoice.now);
  end if;

  update public.subscriptions x set
    paid_until = greatest(x.paid_until, period.ends),
    monthly_amount = case when period.ends >= coalesce(x.paid_until, period.ends) then paid else x.monthly_amount end,
    unpaid_since = case when period.ends >= coalesce(x.current_period_end, period.ends) then null else x.unpaid_since end,
    hosted_invoice_url = case when period.ends >= coalesce(x.current_period_end, period.ends) then null else x.hosted_invoice_url end,
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
--! Included billing/describe_subscription.sql
create or replace function core.describe_subscription(status text, period_end bigint, cancel_at bigint, is_paused boolean, price_id text)
returns text
language sql
immutable
parallel safe
begin atomic
  select nullif(concat_ws(', ',
    status,
    price_id,
    'to ' || to_char(to_timestamp(period_end) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
    'ends ' || to_char(to_timestamp(cancel_at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
    case when is_paused then 'collection paused' end
  ), '');
end;

comment on function core.describe_subscription(text, bigint, bigint, boolean, text) is
  'What reconciliation compares of a subscription, in words: status, price, end of the period and of the whole (Unix seconds, UTC), pause; '
  'null of nothing. '
  'Spec 6.6.';
--! EndIncluded billing/describe_subscription.sql
--! Included billing/miss_subscription.sql
create or replace function core.miss_subscription(known public.subscriptions, id text, user_id uuid, now timestamptz)
returns text
language plpgsql
set search_path = ''
as $$
begin
  insert into public.stripe_drift (user_id, kind, object, ours, found_at)
  values (
    miss_subscription.user_id, 'subscription', miss_subscription.id, core.describe_subscription(
      known.status, extract(epoch from known.current_period_end)::bigint, extract(epoch from known.cancel_at)::bigint, known.collection_paused,
      known.price_id
    ), miss_subscription.now
  );
  return 'Stripe knows no subscription ' || miss_subscription.id || ': is STRIPE_SECRET_KEY of the account that it was made in?';
end
$$;

comment on function core.miss_subscription(public.subscriptions, text, uuid, timestamptz) is
  'Keeps in stripe_drift that Stripe does not know a subscription of ours. It is left as it is: a wrong key must not end what people have '
  'paid for. Returns what a person has to look at. Spec 6.5, 6.6.';
--! EndIncluded billing/miss_subscription.sql
--! Included billing/weigh_subscription.sql
create or replace function core.weigh_subscription(known public.subscriptions, id text, is_final boolean, second bigint, ticket bigint)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  -- A final state beats all. (A fetch after the end still says whether money went back.)
  if (ticket is null or not is_final) and (select x.is_final from public.subscription_states x where x.status = known.status) then
    return 'pass';
  end if;
  if ticket is not null then
    return case when ticket <= known.fetched_ticket then 'pass' else 'take' end;
  end if;
  if is_final then
    return 'take';
  end if;
  -- What is being fetched right now may be older than this, and would come after it.
  if exists (
    select from public.stripe_work w
    where w.key = weigh_subscription.id and w.kind in ('fetch_subscription', 'update_subscription', 'cancel_subscription')
      and w.claimed_until is not null
  ) then
    return 'fetch';
  end if;
  return case
    when second < known.known_second then 'pass'
    when second = known.known_second or second <= extract(epoch from known.fetched_at + interval '5 minutes') then 'fetch'
    else 'take'
  end;
end
$$;

comment on function core.weigh_subscription(public.subscriptions, text, boolean, bigint, bigint) is
  'What a word of Stripe''s on a subscription is worth beside what is known of it (all null: nothing): take it, pass over it, or fetch it '
  'anew. The newest counts: a fetch by its ticket, an event by its second. Spec 6.4.';
--! EndIncluded billing/weigh_subscription.sql
--! Included billing/store_subscription.sql
create or replace function core.store_subscription(
  user_id uuid, object jsonb, is_final boolean, second bigint, ticket bigint, fetched_at timestamptz, livemode boolean, now timestamptz
)
returns public.subscriptions
language plpgsql
set search_path = ''
as $$
declare
  stored public.subscriptions;
  item jsonb := object #> '{items,data,0}';
  new_plan text := core.plan_of_price(item #>> '{price,id}');
  ends timestamptz := to_timestamp((item ->> 'current_period_end')::bigint);
  is_late boolean := object ->> 'status' = 'past_due';
begin
  insert into public.subscriptions as s (user_id, id, plan, status, created_at, updated_at)
  select store_subscription.user_id, object ->> 'id', new_plan, object ->> 'status', store_subscription.now, store_subscription.now
  where new_plan is not null -- else it is known already
  on conflict on constraint subscriptions_pkey do nothing;
  update public.subscriptions s set
    plan = coalesce(new_plan, s.plan),
    status = object ->> 'status',
    livemode = store_subscription.livemode,
    item_id = item ->> 'id',
    price_id = item #>> '{price,id}',
    current_period_start = to_timestamp((item ->> 'current_period_start')::bigint),
    current_period_end = ends,
    cancel_at_period_end = (object ->> 'cancel_at_period_end')::boolean and not is_final,
    cancel_at = case when not is_final then
      coalesce(to_timestamp((object ->> 'cancel_at')::bigint), case when (object ->> 'cancel_at_period_end')::boolean then ends end)
    end,
    collection_paused = jsonb_typeof(object -> 'pause_collection') = 'object' and not is_final,
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
    unpaid_since = case when is_late then s.unpaid_since end,
    hosted_invoice_url = case when is_late then s.hosted_invoice_url end,
    stripe_created_at = to_timestamp((object ->> 'created')::bigint),
    known_second = greatest(s.known_second, coalesce(second, 0)),
    fetched_ticket = coalesce(store_subscription.ticket, s.fetched_ticket),
    fetched_at = coalesce(store_subscription.fetched_at, s.fetched_at),
    updated_at = store_subscription.now
  where s.user_id = store_subscription.user_id and s.id = object ->> 'id'
  returning s.* into stored;
  return stored;
end
$$;

comment on function core.store_subscription(uuid, jsonb, boolean, bigint, bigint, timestamptz, boolean, timestamptz) is
  'Writes a subscription down as Stripe''s object tells it, and where that is from: the second of an event, or the ticket and time of a '
  'fetch. Returns its row. The caller holds the user''s row. Spec 6.4.';
--! EndIncluded billing/store_subscription.sql
--! Included billing/note_found_periods.sql
create or replace function core.note_found_periods(user_id uuid, subscription_id text, now timestamptz)
returns void
language sql
set search_path = ''
begin atomic
  insert into public.stripe_drift (user_id, kind, object, ours, theirs, found_at)
  select p.user_id, 'period', p.invoice_id, 'due since ' || to_char(p.period_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), 'paid ' || p.paid_amount, note_found_periods.now
  from public.subscription_periods p
  where p.user_id = note_found_periods.user_id and p.subscription_id = note_found_periods.subscription_id and p.state = 'paid'
    and p.paid_at = note_found_periods.now and p.created_at <= note_found_periods.now - core.payment_patience();
end;

comment on function core.note_found_periods(uuid, text, timestamptz) is
  'Keeps in stripe_drift that a period was found paid by asking, after it had been due for 70 minutes: no event said so. Spec 6.6.';
--! EndIncluded billing/note_found_periods.sql
--! Included billing/await_period.sql
create or replace function core.await_period(s public.subscriptions, is_fetched boolean, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  since timestamptz;
begin
  -- Only the present one is awaited; should an earlier one be paid after all, its invoice says so.
  delete from public.subscription_periods p
  where p.user_id = s.user_id and p.subscription_id = s.id and p.state = 'due'
    and (p.period_start <> s.current_period_start or (select x.is_final from public.subscription_states x where x.status = s.status));
  if s.status not in ('active', 'past_due', 'unpaid') or s.current_period_start is null then
    return;
  end if;
  insert into public.subscription_periods (user_id, subscription_id, period_start, period_end, plan, state, created_at)
  values (s.user_id, s.id, s.current_period_start, s.current_period_end, s.plan, 'due', await_period.now)
  on conflict on constraint subscription_periods_pkey do nothing;
  select p.created_at into since
  from public.subscription_periods p
  where p.user_id = s.user_id and p.subscription_id = s.id and p.period_start = s.current_period_start and p.state = 'due';
  if found then
    perform core.want_work('fetch_subscription', s.id, s.user_id, delay => case
      when is_fetched then greatest(core.payment_patience(), await_period.now - since)
      when exists (
        select from public.subscription_periods p
        where p.user_id = s.user_id and p.subscription_id = s.id and p.state = 'paid'
      ) then core.payment_patience()
      else interval '0'
    end);
  end if;
end
$$;

comment on function core.await_period(public.subscriptions, boolean, timestamptz) is
  'Where Stripe is in a period that is not known to be paid, has it looked at again when the money should be there, and then ever later; a '
  'first one at once. is_fetched: what is known was just fetched. The caller holds the user''s row. Spec 4.3, 6.6.';
--! EndIncluded billing/await_period.sql
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
  s public.subscriptions;
  state public.subscription_states;
  was_open boolean;
  worth text;
  complaint text;
begin
  select x.* into known from public.subscriptions x where x.user_id = take_subscription.user_id and x.id = object ->> 'id';
  select x.is_open into was_open from public.subscription_states x where x.status = known.status;
  if (object ->> 'missing')::boolean then
    return core.miss_subscription(known, object ->> 'id', take_subscription.user_id, take_subscription.now);
  end if;
  select x.* into state from public.subscription_states x where x.status = object ->> 'status';
  if not found then
    return 'subscription ' || (object ->> 'id') || ' has the unknown status ' || coalesce(object ->> 'status', 'null');
  end if;
  if jsonb_array_length(object #> '{items,data}') <> 1 or coalesce((object #>> '{items,data,0,quantity}')::integer, 1) <> 1
    or known.id is null and core.plan_of_price(object #>> '{items,data,0,price,id}') is null
  then
    return 'subscription ' || (object ->> 'id') || ' has not exactly one of a plan''s prices';
  end if;

  worth := core.weigh_subscription(known, object ->> 'id', state.is_final, second, ticket);
  if worth = 'fetch' then
    perform core.want_work('fetch_subscription', object ->> 'id', take_subscription.user_id);
  end if;
  if worth <> 'take' then
    return null;
  end if;
  s := core.store_subscription(take_subscription.user_id, object, state.is_final, second, ticket, fetched_at, livemode, take_subscription.now);
  if state.is_open and was_open is not true then
    perform core.supersede_doubles(s.user_id); -- before anything is granted for it
  end if;

  -- What a fetch brings along: the latest invoice as it is now.
  if jsonb_typeof(object -> 'latest_invoice') = 'object' then
    update public.subscriptions x set money_back = true
    where x.user_id = s.user_id and x.id = s.id and state.is_final
      and exists (
        select from jsonb_array_elements(object #> '{latest_invoice,lines,data}') l
        where (l #>> '{parent,subscription_item_details,proration}')::boolean and (l ->> 'amount')::bigint < 0
      );
    complaint := core.take_invoice(s.user_id, object -> 'latest_invoice', null, take_subscription.now);
    perform core.note_found_periods(s.user_id, s.id, take_subscription.now);
  end if;
  -- An event does not say since when it is unpaid, or whether money went back.
  if ticket is null and (state.entitles = 'grace' or state.status = 'canceled') then
    perform core.want_work('fetch_subscription', s.id, s.user_id);
  end if;
  perform core.await_period(s, ticket is not null, take_subscription.now);

  select x.* into s from public.subscriptions x where x.user_id = s.user_id and x.id = s.id;
  if state.is_final then
    perform core.end_subscription(
      s.user_id, s.id,
      case when s.money_back or s.paid_until is null then coalesce(s.ended_at, take_subscription.now) else s.paid_until end,
      take_subscription.now
    );
  end if;
  update public.checkouts c set status = 'complete' where c.user_id = s.user_id and c.status = 'open' and state.is_open;
  if known.id is null or state.is_final
    or (s.status, s.plan, s.trial_end, s.collection_paused, s.cancel_at, s.unpaid_since, s.current_period_start)
      is distinct from (known.status, known.plan, known.trial_end, known.collection_paused, known.cancel_at, known.unpaid_since, known.current_period_start)
  then
    perform core.refresh_entitlement(s.user_id, take_subscription.now);
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
language plpgsql
set search_path = ''
as $$
declare
  waiting uuid[] := array(
    select w.id
    from public.stripe_work w
    where w.key = wake_reversals.payment_id and w.kind in ('fetch_refunds', 'fetch_disputes') and w.user_id is null
  );
begin
  if wake_reversals.user_id is null then
    delete from public.stripe_work w where w.id = any (waiting);
  else
    update public.stripe_work w set due_at = wake_reversals.now, user_id = wake_reversals.user_id where w.id = any (waiting);
  end if;
end
$$;

comment on function core.wake_reversals(uuid, text, timestamptz) is
  'Refunds and disputes that were heard of before their payment wait until it is known whose it is: the user''s are fetched now, nobody''s '
  '(null) are forgotten. Spec 6.4.';
--! EndIncluded billing/wake_reversals.sql
--! Included billing/take_events.sql
create or replace function core.take_events(page jsonb, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  wanted bigint;
begin
  -- As they would have come; read in whatever version they were written, so what they tell of is fetched anew.
  with missed as (
    insert into public.stripe_events (id, type, created, livemode, api_version, body, status, same_version, received_at)
    select e ->> 'id', e ->> 'type', (e ->> 'created')::bigint, (e ->> 'livemode')::boolean, e ->> 'api_version', e::text, 'received', false, take_events.now
    from jsonb_array_elements(page) e
    on conflict on constraint stripe_events_pkey do nothing
    returning id, type
  ), noted as (
    insert into public.stripe_drift (kind, object, theirs, found_at)
    select 'event', m.id, m.type, take_events.now from missed m
    returning object
  )
  select count(core.want_work('apply_event', n.object, null)) into wanted from noted n;
  return wanted;
end
$$;

comment on function core.take_events(jsonb, timestamptz) is
  'Takes in events that Stripe could not deliver, as if they had come. Returns how many were new. Spec 6.6.';
--! EndIncluded billing/take_events.sql
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
    select c.user_id, x ->> 'id' as id, core.describe_subscription(
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
    select t.user_id, t.id, t.words as theirs, core.describe_subscription(
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
    returning user_id, object
  )
  select count(core.want_work('fetch_subscription', n.object, n.user_id)) into wanted from noted n;
  return wanted;
end
$$;

comment on function core.compare_subscriptions(jsonb, timestamptz) is
  'Compares subscriptions as Stripe lists them with ours: those of our customers that differ are kept in stripe_drift and fetched. Returns '
  'how many. Spec 6.6.';
--! EndIncluded billing/compare_subscriptions.sql
--! Included billing/compare_payments.sql
create or replace function core.compare_payments(page jsonb, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  wanted bigint;
begin
  with noted as (
    insert into public.stripe_drift (user_id, kind, object, ours, theirs, found_at)
    select c.user_id, 'payment', x ->> 'id', case when p.id is not null then 'paid ' || p.paid_amount || ' ' || p.currency || ' for nothing known' end,
      'paid ' || round((x ->> 'amount_received')::numeric / 100, 2) || ' ' || (x ->> 'currency'), compare_payments.now
    from jsonb_array_elements(page) x
    join public.stripe_customers c on c.customer_id = coalesce(x #>> '{customer,id}', x ->> 'customer')
    left join public.payments p on p.user_id = c.user_id and p.id = x ->> 'id'
    where x ->> 'status' = 'succeeded' and to_timestamp((x ->> 'created')::bigint) <= compare_payments.now - core.news_patience()
      and (p.id is null or p.kind = 'unknown' and p.needs_review is null and not exists (
        select from public.stripe_work w where w.key = p.id
      ))
    returning user_id, object
  ), fetched as (
    select n.user_id, n.object, core.want_work('fetch_payment', n.object, n.user_id) as payment,
      -- What went back of a payment that we never heard of, we never heard of either.
      core.want_work('fetch_refunds', n.object, n.user_id) as refunds, core.want_work('fetch_disputes', n.object, n.user_id) as disputes
    from noted n
  )
  select count(f.payment) into wanted from fetched f where f.refunds is not null and f.disputes is not null;
  return wanted;
end
$$;

comment on function core.compare_payments(jsonb, timestamptz) is
  'Compares payments as Stripe lists them with ours: those of our customers that succeeded and are not known here, or not what for, are kept '
  'in stripe_drift and fetched, with their refunds and disputes. Returns how many. Spec 6.6.';
--! EndIncluded billing/compare_payments.sql
--! Included billing/compare_reversals.sql
create or replace function core.compare_reversals(kind text, page jsonb, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  wanted bigint;
begin
  with noted as (
    insert into public.stripe_drift (user_id, kind, object, ours, theirs, found_at)
    select c.user_id, compare_reversals.kind, t.id, r.status || ' ' || r.reversed_amount, t.status || ' ' || t.amount, compare_reversals.now
    from (
      select x ->> 'id' as id, coalesce(x #>> '{payment_intent,id}', x ->> 'payment_intent') as payment_id, x ->> 'status' as status,
        round((x ->> 'amount')::numeric / 100, 2) as amount, to_timestamp((x ->> 'created')::bigint) as made_at
      from jsonb_array_elements(page) x
    ) t
    join public.stripe_payments c on c.payment_id = t.payment_id
    left join public.reversals r on r.user_id = c.user_id and r.id = t.id
    where (r.status, r.reversed_amount) is distinct from (t.status, t.amount)
      and (r.id is not null or t.made_at <= compare_reversals.now - core.news_patience())
    returning user_id, object
  ), theirs as (
    select distinct n.user_id, coalesce(x #>> '{payment_intent,id}', x ->> 'payment_intent') as payment_id
    from noted n
    join jsonb_array_elements(page) x on x ->> 'id' = n.object
  )
  select count(core.want_work('fetch_' || compare_reversals.kind || 's', t.payment_id, t.user_id)) into wanted from theirs t;
  return wanted;
end
$$;

comment on function core.compare_reversals(text, jsonb, timestamptz) is
  'Compares refunds or disputes (kind) as Stripe lists them with ours: those of known payments whose status or amount differs are kept in '
  'stripe_drift, and all of that payment''s are fetched. Returns of how many payments. Spec 6.6.';
--! EndIncluded billing/compare_reversals.sql
--! Included billing/take_page.sql
create or replace function core.take_page(kind text, parameters jsonb, result jsonb, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  page jsonb := result -> 'data';
begin
  if (result ->> 'has_more')::boolean then
    perform core.want_work(take_page.kind, page #>> '{-1,id}', null,
      parameters || jsonb_build_object('starting_after', page #>> '{-1,id}'));
  end if;
  return case take_page.kind
    when 'list_events' then core.take_events(page, take_page.now)
    when 'list_subscriptions' then core.compare_subscriptions(page, take_page.now)
    when 'list_payments' then core.compare_payments(page, take_page.now)
    when 'list_refunds' then core.compare_reversals('refund', page, take_page.now)
    when 'list_disputes' then core.compare_reversals('dispute', page, take_page.now)
  end;
end
$$;

comment on function core.take_page(text, jsonb, jsonb, timestamptz) is
  'Compares a page of a list of Stripe''s with ours, and queues the next page. What differs is kept in stripe_drift and fetched. Returns how '
  'many differ. Spec 6.6.';
--! EndIncluded billing/take_page.sql
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
  update public.stripe_work w set
    claimed_at = now, claimed_until = now + interval '2 minutes', ticket = nextval('core.stripe_tickets')
  where w.id in (
    select x.id
    from public.stripe_work x
    where case when only_work is null then x.due_at <= now and not x.is_failed else x.id = only_work end
      and (x.claimed_until is null or x.claimed_until <= now)
      -- What is written to one object is written in the order in which it was asked for.
      and not (x.is_write and exists (
        select from public.stripe_work older
        where older.key = x.key and older.is_write and not older.is_failed and older.position < x.position
      ))
    order by x.due_at
    limit most
    for no key update skip locked
  )
  returning w.id, w.kind, w.key, w.parameters, w.ticket, w.user_id;
end
$$;

comment on function api.claim_stripe_work(integer, uuid) is
  'Gives a server up to so many pieces of work that are due (only_work: just that one), for two minutes; a server that dies loses nothing. '
  'A write is given only when no older write of the same object is left, but for those given up. ticket: the order in which fetches began. '
  'Spec 6.1, 6.4, 7.1.';
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
  if starts_with(work.kind, 'list_') then
    perform core.take_page(work.kind, work.parameters, result, now);
  elsif work.kind <> 'apply_event' and result is not null then
    owner := coalesce(work.user_id, core.user_of_customer(coalesce(result #>> '{customer,id}', result ->> 'customer')));
    if owner is not null then
      perform from public.users u where u.id = owner for no key update;
      complaint := core.apply_object(owner, work.kind, work.key, work.ticket, work.claimed_at, result, now);
    end if;
    if work.kind = 'fetch_payment' then
      perform core.wake_reversals(owner, work.key, now); -- should they have begun to wait in the meantime
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
language plpgsql
security definer
set search_path = ''
as $$
declare
  work public.stripe_work;
begin
  update public.stripe_work w set
    attempts = w.attempts + 1,
    error = left(fail_stripe_work.error, 2000),
    is_failed = fail_stripe_work.is_final,
    claimed_until = null,
    due_at = core.now() + least(interval '6 hours', interval '15 seconds' * power(2, least(w.attempts, 12)))
  where w.id = fail_stripe_work.work_id
  returning w.* into work;
  -- Stripe does not take it: what it knows of that subscription is not what we know.
  if is_final and work.kind in ('update_subscription', 'cancel_subscription') then
    perform core.want_work('fetch_subscription', work.key, work.user_id);
  end if;
end
$$;

comment on function api.fail_stripe_work(uuid, text, boolean) is
  'Notes that a piece of work could not be done: it is tried again, ever later, or, where that is final, kept for a person; a subscription '
  'whose change Stripe refused is fetched. Spec 6.4, 6.6.';
--! EndIncluded billing/fail_stripe_work.sql
--! Included billing/ask_for_due_periods.sql
create or replace function core.ask_for_due_periods(at_once boolean, now timestamptz)
returns bigint
language sql
set search_path = ''
begin atomic
  select count(core.want_work('fetch_subscription', p.subscription_id, p.user_id))
  from public.subscription_periods p
  where p.state = 'due' and p.created_at <= ask_for_due_periods.now - core.payment_patience()
    and (at_once or not exists (
      select from public.stripe_work w where w.key = p.subscription_id and w.kind = 'fetch_subscription'
    ));
end;

comment on function core.ask_for_due_periods(boolean, timestamptz) is
  'Has the subscription of each period fetched that is due for 70 minutes and not known to be paid; unless at_once, only where no fetch is '
  'queued (which comes ever later) or given up. Returns how many. Spec 6.6.';
--! EndIncluded billing/ask_for_due_periods.sql
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
  since jsonb := jsonb_build_object('created_after', extract(epoch from core.now() - reconcile_stripe.days * interval '24 hours')::bigint);
  periods bigint;
begin
  if reconcile_stripe.days is null or reconcile_stripe.days not between 1 and 3650 then
    raise exception 'days is %, and must be between 1 and 3650', coalesce(reconcile_stripe.days::text, 'null')
      using errcode = 'PR400', detail = 'days', hint = 'Payments and refunds that are older are not looked at.';
  end if;
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
--! Included billing/ops_stripe_drift.sql
create or replace view ops.stripe_drift as
select d.found_at, d.kind, d.object, u.email, d.ours, d.theirs
from public.stripe_drift d
left join public.users u on u.id = d.user_id
order by d.id desc;

comment on view ops.stripe_drift is 'Where did Stripe and we differ? What reconciliation found and repaired, newest first. Spec 6.6.';
comment on column ops.stripe_drift.found_at is 'When.';
comment on column ops.stripe_drift.kind is
  'event: one that Stripe could not deliver; period: one that was paid, as nobody had told; subscription, payment, refund, dispute.';
comment on column ops.stripe_drift.object is 'Stripe''s id; of a period its invoice''s.';
comment on column ops.stripe_drift.email is 'Whose, where known.';
comment on column ops.stripe_drift.ours is 'What we had; null: nothing.';
comment on column ops.stripe_drift.theirs is 'What Stripe has; null: nothing.';
--! EndIncluded billing/ops_stripe_drift.sql
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
    order by s.user_id, s.id
  loop
    perform from public.users u where u.id = candidate.user_id for no key update skip locked;
    continue when not found
      or exists (select from public.stripe_work w where w.kind = 'update_subscription' and w.key = candidate.id); -- asked for meanwhile
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
  'on, nothing is prorated; the paid period keeps its plan. Passes over users whose row is in use, '
  'and over subscriptions that are being changed. Returns how many. Call: select ops.align_prices(); Spec 2.4.';
--! EndIncluded billing/align_prices.sql
--! Included billing/begin_customer.sql
create or replace function api.begin_customer(
  user_id uuid, livemode boolean,
  out customer_id text, out write_id uuid, out look_since timestamptz, out email text, out username text
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
  select c.customer_id, c.write_id, case when c.created_at <= core.now() - interval '23 hours' then c.created_at end
  into customer_id, write_id, look_since
  from public.stripe_customers c
  where c.user_id = begin_customer.user_id and c.livemode = begin_customer.livemode;
end
$$;

comment on function api.begin_customer(uuid, boolean) is
  'A user''s customer at Stripe in that mode; where customer_id is null it is to be made, with write_id as idempotency key, and then told to '
  'api.keep_customer. Stripe knows a key for 24 hours: where look_since is not null, this one may be forgotten, and the customer is first to '
  'be looked for among those made since; if it is not there, api.renew_customer gives another key. Errors: PR404 unknown user. Spec 6.1.';
--! EndIncluded billing/begin_customer.sql
--! Included billing/renew_customer.sql
create or replace function api.renew_customer(user_id uuid, livemode boolean, write_id uuid)
returns uuid
language plpgsql
security definer
set search_path = ''
as $$
declare
  key uuid;
begin
  update public.stripe_customers c set write_id = gen_random_uuid(), created_at = core.now()
  where c.user_id = renew_customer.user_id and c.livemode = renew_customer.livemode
    and c.customer_id is null and c.write_id = renew_customer.write_id;
  select c.write_id into key
  from public.stripe_customers c
  where c.user_id = renew_customer.user_id and c.livemode = renew_customer.livemode;
  return key;
end
$$;

comment on function api.renew_customer(uuid, boolean, uuid) is
  'Another idempotency key for making a user''s customer, in place of write_id, which Stripe may have forgotten; of two at once both get the '
  'same. Returns it; null without api.begin_customer before. Spec 6.1.';
--! EndIncluded billing/renew_customer.sql
--! Included billing/user_of_customer.sql
create or replace function core.user_of_customer(customer_id text)
returns uuid
language sql
stable
set search_path = ''
begin atomic
  select c.user_id from public.stripe_customers c where c.customer_id = user_of_customer.customer_id
  union all
  select c.user_id from public.stripe_customers c where c.former_ids <> '{}' and c.former_ids @> array[user_of_customer.customer_id]
  limit 1;
end;

comment on function core.user_of_customer(text) is
  'Whose customer at Stripe that is or was, before it was deleted there; null for one that we never made. Spec 6.5.';
--! EndIncluded billing/user_of_customer.sql
--! Included billing/forget_customer.sql
create or replace function core.forget_customer(user_id uuid, customer_id text, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.stripe_customers c set
    former_ids = c.former_ids || c.customer_id, customer_id = null, write_id = gen_random_uuid(), created_at = forget_customer.now
  where c.user_id = forget_customer.user_id and c.customer_id = forget_customer.customer_id;
  if found then
    update public.checkouts c set status = 'expired' where c.user_id = forget_customer.user_id and c.status in ('begun', 'open');
  end if;
end
$$;

comment on function core.forget_customer(uuid, text, timestamptz) is
  'Notes that a user''s customer was deleted at Stripe: whose it was stays known, their next purchase makes another, and checkouts of the '
  'old one are over. The caller holds the user''s row. Spec 6.1, 6.3.';
--! EndIncluded billing/forget_customer.sql
--! Included billing/api_forget_customer.sql
create or replace function api.forget_customer(user_id uuid, customer_id text)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform from public.users u where u.id = forget_customer.user_id for no key update;
  perform core.forget_customer(forget_customer.user_id, forget_customer.customer_id, core.now());
end
$$;

comment on function api.forget_customer(uuid, text) is
  'Notes that Stripe does not know a user''s customer any more; only the user''s present one can be forgotten. Locks the user''s row. Spec 6.1.';
--! EndIncluded billing/api_forget_customer.sql
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
  elsif event.type = 'customer.deleted' then
    perform core.forget_customer(user_id, object ->> 'id', now);
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

--! split: 8-alerts.sql
-- What operators and users are told, once while it lasts, and the outbox that servers deliver.
alter table public.settings add column if not exists margin_alert_percent numeric default 70
  check (margin_alert_percent between -1000 and 100);
alter table public.settings add column if not exists throttled_alert_percent numeric default 5
  check (throttled_alert_percent between 0 and 100);
alter table public.settings add column if not exists throttled_critical_percent numeric default 10
  check (throttled_critical_percent between 0 and 100);
alter table public.settings add column if not exists provider_error_alert_percent numeric default 20
  check (provider_error_alert_percent between 0 and 100);
alter table public.settings add column if not exists low_credits_alert integer default 10
  check (low_credits_alert >= 0);
alter table public.settings add column if not exists rollover_alert_days integer default 7
  check (rollover_alert_days between 0 and 60);
comment on column public.settings.margin_alert_percent is 'Percent: a lower overall margin of this month raises an alert; null: none (spec 9).';
comment on column public.settings.throttled_alert_percent is 'Percent of the active users: more of them throttled raises an alert; null: none (spec 9).';
comment on column public.settings.throttled_critical_percent is 'Percent of the active users: more of them throttled makes that alert critical, with advice (spec 9).';
comment on column public.settings.provider_error_alert_percent is
  'Percent of a provider''s runs of 15 minutes: that many failing (and at least 3) raises an alert; null: none (spec 9).';
comment on column public.settings.low_credits_alert is 'Credits: who has paid and has fewer left gets a mail; null: nobody (spec 9).';
comment on column public.settings.rollover_alert_days is 'Days before rollover credits expire that their owner gets a mail; null: nobody (spec 9).';
grant update (
  margin_alert_percent, throttled_alert_percent, throttled_critical_percent, provider_error_alert_percent, low_credits_alert, rollover_alert_days
) on public.settings to prpm_ops;

create table if not exists public.alerts (
  id bigint generated always as identity primary key,
  kind text not null,
  key text not null,
  level integer not null,
  severity text not null check (severity in ('warning', 'critical')),
  subject text not null,
  body text not null,
  details jsonb not null,
  user_id uuid,
  raised_at timestamptz not null,
  told_level integer,
  resolved_at timestamptz,
  told_resolved boolean not null default false,
  acknowledged_at timestamptz,
  acknowledged_by text,
  acknowledged_because text
);
create unique index if not exists alerts_open on public.alerts (kind, key) where resolved_at is null;
create index if not exists alerts_untold on public.alerts (id) where told_level is not null and resolved_at is not null and not told_resolved;
comment on table public.alerts is 'ops. What operators should know: one open row for each thing that is wrong, closed when it has ended (spec 9).';
comment on column public.alerts.id is 'Names the alert.';
comment on column public.alerts.kind is 'Kind: margin, throttled_users, user_over_limit, job_late …';
comment on column public.alerts.key is 'What it is about: a user''s id, a job, a provider …; blank: the whole.';
comment on column public.alerts.level is '0, and 1 where a second threshold is passed; a higher level is told anew.';
comment on column public.alerts.severity is 'warning or critical.';
comment on column public.alerts.subject is 'What is wrong, with both sides of the comparison, as of the last check while it was open.';
comment on column public.alerts.body is 'Advice, with statements to paste.';
comment on column public.alerts.details is 'The figures, for programs; money in US dollars.';
comment on column public.alerts.user_id is 'Whom it is about, where it is about one person.';
comment on column public.alerts.raised_at is 'When the condition was first seen.';
comment on column public.alerts.told_level is 'The highest level that messages were written about; null: none yet, for want of a channel.';
comment on column public.alerts.resolved_at is 'When the condition was first seen no more; null while it holds.';
comment on column public.alerts.told_resolved is 'True when messages were written about its end.';
comment on column public.alerts.acknowledged_at is 'When somebody said that they are at it.';
comment on column public.alerts.acknowledged_by is 'Who: a role of the database, or the id of an administrator.';
comment on column public.alerts.acknowledged_because is 'What they said.';

create table if not exists public.alert_channels (
  channel text primary key check (channel in ('webhook', 'operator_email', 'user_email')),
  seen_at timestamptz not null
);
comment on table public.alert_channels is 'ops. Ways to deliver messages that servers are configured for (spec 9).';
comment on column public.alert_channels.channel is 'webhook, operator_email or user_email.';
comment on column public.alert_channels.seen_at is 'When a server that has it last looked for messages; a day later nothing new is written for it.';

create table if not exists public.messages (
  id uuid primary key default gen_random_uuid(),
  dedupe text not null constraint messages_dedupe_key unique,
  channel text not null check (channel in ('webhook', 'operator_email', 'user_email')),
  kind text not null,
  user_id uuid,
  period text,
  level integer not null default 0,
  subject text not null,
  body text not null,
  payload jsonb,
  created_at timestamptz not null,
  due_at timestamptz not null,
  claimed_until timestamptz,
  attempts integer not null default 0,
  delivered_at timestamptz,
  given_up_at timestamptz,
  error text
);
create index if not exists messages_due on public.messages (due_at) where delivered_at is null and given_up_at is null;
create index if not exists messages_given_up on public.messages (given_up_at) where given_up_at is not null;
create index if not exists messages_by_user on public.messages (user_id, kind, period) where user_id is not null;
comment on table public.messages is 'ops. The outbox: what is to be said to operators and users, delivered by servers at least once (spec 9).';
comment on column public.messages.id is 'Names the message: the webhook-id and part of the Message-ID, the same in every attempt.';
comment on column public.messages.dedupe is 'What is said once: kind, whom or what about, period and level.';
comment on column public.messages.channel is 'webhook, operator_email or user_email.';
comment on column public.messages.kind is 'What it is about: the alert''s kind, or the kind of mail to a user.';
comment on column public.messages.user_id is 'Whom it is for; their address is looked up when it is sent. Null: for operators.';
comment on column public.messages.period is 'Of a mail to a user: what it is told once in, such as a month.';
comment on column public.messages.level is 'Of a mail to a user: the threshold in percent, or 0.';
comment on column public.messages.subject is 'Its subject.';
comment on column public.messages.body is 'Its text.';
comment on column public.messages.payload is 'Of a webhook: the body.';
comment on column public.messages.created_at is 'When it was written; three days later it is given up.';
comment on column public.messages.due_at is 'When it may be tried next.';
comment on column public.messages.claimed_until is 'Until then a server has it.';
comment on column public.messages.attempts is 'How many attempts were begun.';
comment on column public.messages.delivered_at is 'When its receiver took it.';
comment on column public.messages.given_up_at is 'When it was given up; ops.retry_message() tries again.';
comment on column public.messages.error is 'What went wrong last.';

create table if not exists public.email_preferences (
  user_id uuid primary key,
  limits boolean not null default true,
  credits boolean not null default true,
  payments boolean not null default true,
  updated_at timestamptz not null
);
comment on table public.email_preferences is 'per-user. Which mails a user wants; without a row, all (spec 9, 10.8).';
comment on column public.email_preferences.user_id is 'Whose.';
comment on column public.email_preferences.limits is 'Mails about limits: warnings, throttled.';
comment on column public.email_preferences.credits is 'Mails about credits: few left, rollover about to expire.';
comment on column public.email_preferences.payments is 'Mails about payments that failed.';
comment on column public.email_preferences.updated_at is 'When that was last changed.';

-- What is looked for every five minutes is few among many.
create index if not exists runs_with_shortfall on public.runs (user_id) where shortfall > 0;
create index if not exists purchased_lots on public.credit_lots (user_id) where kind = 'purchased';
create index if not exists stripe_events_to_review on public.stripe_events (received_at) where status = 'needs_review';

drop type if exists core.alert_condition cascade;
create type core.alert_condition as (
  kind text, key text, level integer, severity text, subject text, body text, details jsonb, user_id uuid
);
drop type if exists core.person_notice cascade;
create type core.person_notice as (user_id uuid, kind text, level integer, period text, subject text, body text);

--! Included alerts/limits_by_tier.sql
create or replace view core.limits_by_tier as
select t.tier_name, l.tier_name as limits_of, l.monthly_cost_limit, l.daily_cost_limit, l.alert_at_percent,
  l.monthly_cost_limit * (select min(percent) from unnest(l.alert_at_percent) percent) / 100 as first_warning_at
from public.cost_limits_config t
join public.cost_limits_config l on l.tier_name = case when t.is_active then t.tier_name else 'free' end;

comment on view core.limits_by_tier is
  'The limits that hold for each tier, for whole scans of users: core.find_limits looks up one. A tier that is not active has those of free. Spec 3.1.';
comment on column core.limits_by_tier.tier_name is 'Tier by core.tier_at.';
comment on column core.limits_by_tier.limits_of is 'The tier whose limits hold.';
comment on column core.limits_by_tier.monthly_cost_limit is 'US dollars a month; null: no limit.';
comment on column core.limits_by_tier.daily_cost_limit is 'US dollars a day; null: no limit.';
comment on column core.limits_by_tier.alert_at_percent is 'Percentages of the monthly limit at which a user is warned.';
comment on column core.limits_by_tier.first_warning_at is 'US dollars of the month at the lowest of them; null: no warning.';
--! EndIncluded alerts/limits_by_tier.sql
--! Included alerts/write_dollars.sql
create or replace function core.write_dollars(amount numeric)
returns text
language sql
immutable
parallel safe
begin atomic
  select case when scale(trim_scale(round(amount, 6))) <= 2 then round(amount, 2) else trim_scale(round(amount, 6)) end::text;
end;

comment on function core.write_dollars(numeric) is
  'An amount of US dollars as people read it: at least two decimals, at most six, no more than are needed: 0.50, 0.375. Spec 9.';
--! EndIncluded alerts/write_dollars.sql
--! Included alerts/write_used.sql
create or replace function core.write_used(used numeric, "limit" numeric)
returns text
language sql
immutable
parallel safe
begin atomic
  select format(
    '%s %% used: %s of %s dollars',
    coalesce(trim_scale(floor(1000 * used / nullif("limit", 0)) / 10)::text, '100'), core.write_dollars(used), core.write_dollars("limit")
  );
end;

comment on function core.write_used(numeric, numeric) is
  'How much of a limit is used, both sides in US dollars: 75 % used: 0.375 of 0.50 dollars. Percent are cut to one decimal, so that 100 is reached when it is. Spec 9.';
--! EndIncluded alerts/write_used.sql
--! Included alerts/write_day.sql
create or replace function core.write_day(at timestamptz)
returns text
language sql
immutable
parallel safe
begin atomic
  select to_char(at at time zone 'UTC', 'FMMonth FMDD, YYYY');
end;

comment on function core.write_day(timestamptz) is 'A day (UTC) as people read it: November 3, 2026. Spec 9.';
--! EndIncluded alerts/write_day.sql
--! Included alerts/mail_group.sql
create or replace function core.mail_group(kind text)
returns text
language sql
immutable
parallel safe
begin atomic
  select case
    when kind in ('limit_warning', 'throttled') then 'limits'
    when kind in ('credits_low', 'rollover_expiring') then 'credits'
    when kind = 'payment_failed' then 'payments'
  end;
end;

comment on function core.mail_group(text) is
  'The column of email_preferences that a kind of mail to users belongs to; null for mails that nobody can do without, such as a higher price. Spec 9, 10.8.';
--! EndIncluded alerts/mail_group.sql
--! Included alerts/unsubscribe_token.sql
create or replace function core.unsubscribe_token(user_id uuid, mail_group text)
returns text
language sql
stable
strict
set search_path = ''
begin atomic
  select format('%s.%s.%s', user_id, mail_group, encode(core.hash_identity(format('unsubscribe %s %s', user_id, mail_group)), 'hex'));
end;

comment on function core.unsubscribe_token(uuid, text) is
  'What a mail carries so that who received it can decline its kind without signing in: the user, the column of email_preferences and a keyed '
  'hash of both. Null where either is. Spec 9.';
--! EndIncluded alerts/unsubscribe_token.sql
--! Included alerts/undelivered_messages.sql
create or replace view ops.undelivered_messages as
select
  m.created_at as since,
  m.id as message_id,
  m.channel,
  m.kind,
  u.email,
  m.subject as what,
  case
    when m.given_up_at is not null then 'given up'
    when m.attempts = 0 then 'no server takes it'
    else 'failing'
  end as state,
  m.attempts,
  m.error,
  case when m.given_up_at is null then m.due_at end as next_attempt_at,
  format('select * from ops.retry_message(%L, reason => %L);', m.id, '…') as try_again
from public.messages m
left join public.users u on u.id = m.user_id
where m.delivered_at is null
  and case
    when m.given_up_at is not null then m.given_up_at > (select core.now()) - interval '7 days'
    else m.attempts >= 3 or m.created_at < (select core.now()) - interval '15 minutes'
  end
order by m.created_at desc;

comment on view ops.undelivered_messages is
  'Which alerts and mails do not arrive, and why? Newest first: those that no server has taken or delivered for 15 minutes or in 3 attempts, and those given up '
  'in the last 7 days. Spec 9.';
comment on column ops.undelivered_messages.since is 'When it was written.';
comment on column ops.undelivered_messages.message_id is 'Names it.';
comment on column ops.undelivered_messages.channel is 'webhook, operator_email or user_email.';
comment on column ops.undelivered_messages.kind is 'What it is about.';
comment on column ops.undelivered_messages.email is 'Address of the user it is for; null: for operators.';
comment on column ops.undelivered_messages.what is 'Its subject.';
comment on column ops.undelivered_messages.state is 'given up, failing, or no server takes it: none runs that has the channel''s variables.';
comment on column ops.undelivered_messages.attempts is 'How many attempts were begun.';
comment on column ops.undelivered_messages.error is 'What went wrong last.';
comment on column ops.undelivered_messages.next_attempt_at is 'When it is tried again; null: not any more.';
comment on column ops.undelivered_messages.try_again is 'A call to paste.';
--! EndIncluded alerts/undelivered_messages.sql
--! Included alerts/alerts_now.sql
create or replace view ops.alerts_now as
select
  a.id, a.severity, a.kind, a.subject as what, u.email, a.key as about, a.raised_at, a.acknowledged_at, a.acknowledged_by, a.body as what_to_do,
  format('select * from ops.acknowledge_alert(%s, reason => %L);', a.id, '…') as acknowledge
from public.alerts a
left join public.users u on u.id = a.user_id
where a.resolved_at is null
order by a.raised_at desc, a.id desc;

comment on view ops.alerts_now is 'Is anything wrong right now? The alerts that are open, newest first; they resolve by themselves. Spec 9, 12.';
comment on column ops.alerts_now.id is 'Names the alert.';
comment on column ops.alerts_now.severity is 'warning or critical.';
comment on column ops.alerts_now.kind is 'Kind of alert: margin, throttled_users, user_over_limit, job_late …';
comment on column ops.alerts_now.what is 'What is wrong, with both sides of the comparison, as of the last check.';
comment on column ops.alerts_now.email is 'Whom it is about, where it is about one person with an e-mail.';
comment on column ops.alerts_now.about is 'What it is about: a user''s id, a job, a provider …; blank: the whole.';
comment on column ops.alerts_now.raised_at is 'Since when it holds.';
comment on column ops.alerts_now.acknowledged_at is 'When somebody said that they are at it.';
comment on column ops.alerts_now.acknowledged_by is 'Who: a role of the database, or the id of an administrator.';
comment on column ops.alerts_now.what_to_do is 'Advice, with statements to paste.';
comment on column ops.alerts_now.acknowledge is 'A call to paste.';
--! EndIncluded alerts/alerts_now.sql
--! Included alerts/spend_conditions.sql
create or replace function core.spend_conditions(now timestamptz)
returns setof core.alert_condition
language plpgsql
stable
set search_path = ''
as $$
declare
  s public.settings;
  f record;
  people bigint;
  throttled numeric;
begin
  select x.* into strict s from public.settings x;
  select x.* into strict f from core.month_figures(spend_conditions.now) x;

  return query
  select
    'margin', '', case when f.overall_margin_percent < 0 then 1 else 0 end,
    case when f.overall_margin_percent < 0 then 'critical' else 'warning' end,
    format('Margin %s %%, below %s: %s dollars of cost against %s earned this month', f.overall_margin_percent, s.margin_alert_percent,
      core.write_dollars(f.cost), core.write_dollars(f.subscription_revenue + f.earned_pack_revenue)),
    'What the deployment guide advises below 70 %:' || E'\n'
      || '1. A lower limit for organizations: UPDATE cost_limits_config SET monthly_cost_limit = 2.00 WHERE tier_name = ''prpm_plus_org'';' || E'\n'
      || '2. A higher price for individuals, $7.00: a new price in Stripe, then UPDATE plans.' || E'\n'
      || '3. Smaller requests: UPDATE settings SET max_request_tokens = 15000;' || E'\n'
      || 'Who costs most: SELECT * FROM user_cost_analytics ORDER BY current_month_api_cost DESC LIMIT 10;',
    jsonb_build_object('margin_percent', f.overall_margin_percent, 'limit_percent', s.margin_alert_percent, 'cost', f.cost,
      'subscription_revenue', f.subscription_revenue, 'earned_pack_revenue', f.earned_pack_revenue),
    null::uuid
  where f.overall_margin_percent < s.margin_alert_percent;

  people := greatest(f.active_users, f.throttled_users);
  throttled := round(100.0 * f.throttled_users / nullif(people, 0), 1);
  return query
  select
    'throttled_users', '', case when throttled > s.throttled_critical_percent then 1 else 0 end,
    case when throttled > s.throttled_critical_percent then 'critical' else 'warning' end,
    format('%s %% throttled: %s of %s active users', trim_scale(throttled), f.throttled_users, people),
    'Who, why and until when: SELECT * FROM ops.throttled_now;' || case when throttled > s.throttled_critical_percent then E'\n'
      || 'What the deployment guide advises above 10 %:' || E'\n'
      || '1. Limits higher by 20 %: UPDATE cost_limits_config SET monthly_cost_limit = monthly_cost_limit * 1.2, daily_cost_limit = daily_cost_limit * 1.2;' || E'\n'
      || '2. A new tier at $10 a month with a limit of $8.00: a row in cost_limits_config and one in plans.' || E'\n'
      || '3. Warnings at 75 % already: UPDATE cost_limits_config SET alert_at_percent = ''{75,90}'';'
    else '' end,
    jsonb_build_object('throttled_users', f.throttled_users, 'users', people, 'percent', throttled),
    null::uuid
  where throttled > s.throttled_alert_percent;

  return query
  select
    'tier_paused', t.tier_name, 0, 'warning',
    format('Runs of tier %s are paused until %s UTC: its budget of %s dollars for today is used up', t.tier_name,
      to_char(t.paused_until at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), core.write_dollars(s.free_tier_daily_budget)),
    'To let it go on: UPDATE settings SET free_tier_daily_budget = …; the job watch-budgets lifts the pause within a minute.',
    jsonb_build_object('tier_name', t.tier_name, 'paused_until', t.paused_until, 'budget', s.free_tier_daily_budget),
    null::uuid
  from public.cost_limits_config t
  where t.paused_until > spend_conditions.now;
end
$$;

comment on function core.spend_conditions(timestamptz) is
  'What holds now of alerts about the whole: margin (below settings.margin_alert_percent), throttled_users (above '
  'settings.throttled_alert_percent of the active users, level 1 above throttled_critical_percent, with the guide''s advice), tier_paused. Spec 9, 3.6.';
--! EndIncluded alerts/spend_conditions.sql
--! Included alerts/run_conditions.sql
create or replace function core.run_conditions(now timestamptz)
returns setof core.alert_condition
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  with recent as materialized (
    select m.provider, r.status, r.error, r.error_reason, r.cost, r.started_at, r.finished_at
    from public.users u
    join public.runs r on r.user_id = u.id and r.id >= core.first_run_id(clock_timestamp() - interval '1 hour')
    left join public.models m on m.alias = r.model
    where u.last_request_at > run_conditions.now - interval '1 hour' and r.started_at > run_conditions.now - interval '1 hour'
  ),
  spent as (
    select sum(x.cost) as dollars, count(*) as runs from recent x
  ),
  failing as (
    select
      x.provider,
      count(*) as runs,
      count(*) filter (where x.error in ('provider_timeout', 'provider_unavailable', 'provider_error')) as failures,
      mode() within group (order by x.error) filter (where x.error like 'provider\_%') as usual
    from recent x
    where x.status <> 'running' and x.finished_at > run_conditions.now - interval '15 minutes'
    group by x.provider
  ),
  refused as (
    select distinct on (x.provider) x.provider, x.error_reason, x.finished_at
    from recent x
    where x.error = 'provider_not_configured'
      and not exists (select from recent y where y.provider = x.provider and y.error is null and y.finished_at > x.finished_at)
    order by x.provider, x.finished_at desc
  )
  select
    'hourly_spend', '', 0, 'critical',
    format('%s dollars spent within an hour, by %s runs: more than %s', core.write_dollars(spent.dollars), spent.runs, core.write_dollars(s.hourly_spend_alert)),
    'Who: SELECT * FROM ops.runs_live; SELECT email, current_day_api_cost FROM users ORDER BY current_day_api_cost DESC LIMIT 10;' || E'\n'
      || 'To stop all runs: UPDATE settings SET runs_enabled = FALSE;',
    jsonb_build_object('dollars', spent.dollars, 'runs', spent.runs, 'limit', s.hourly_spend_alert), null::uuid
  from spent, public.settings s
  where spent.dollars > s.hourly_spend_alert
  union all
  select
    'provider_errors', f.provider, 0, 'critical',
    format('%s %% of runs with %s failed within 15 minutes: %s of %s', round(100.0 * f.failures / f.runs), f.provider, f.failures, f.runs),
    format('Mostly %s. While it lasts people can use models of another provider: UPDATE models SET enabled = FALSE WHERE provider = %L;', f.usual, f.provider),
    jsonb_build_object('provider', f.provider, 'runs', f.runs, 'failures', f.failures, 'error', f.usual), null
  from failing f, public.settings s
  where f.failures >= 3 and 100.0 * f.failures / f.runs >= s.provider_error_alert_percent
  union all
  select
    'provider_not_configured', r.provider, 0, 'critical',
    format('Runs with %s fail: %s', r.provider, coalesce(r.error_reason, 'its key is missing or refused.')),
    format('Put a key that works into the servers'' environment and start them again; until then: UPDATE models SET enabled = FALSE WHERE provider = %L;', r.provider),
    jsonb_build_object('provider', r.provider, 'last_at', r.finished_at), null
  from refused r;
end
$$;

comment on function core.run_conditions(timestamptz) is
  'What holds now of alerts about the last hour''s runs: hourly_spend (above settings.hourly_spend_alert), provider_errors (of 15 minutes; at '
  'least 3, and settings.provider_error_alert_percent of the provider''s runs), provider_not_configured (key missing or refused, and no run has '
  'succeeded since). Reads only runs of the last hour, by their ids. Spec 3.6, 5.4, 9.';
--! EndIncluded alerts/run_conditions.sql
--! Included alerts/limit_conditions.sql
create or replace function core.limit_conditions(now timestamptz)
returns setof core.alert_condition
language sql
stable
set search_path = ''
begin atomic
  select
    'user_over_limit', over.id::text, 0, 'warning',
    core.write_used(over.used, over.allowed) || format(' %s, above the limit of tier %s', over.span, over.limits_of),
    format('How it came to be: SELECT * FROM ops.explain_throttle(%L);', over.id),
    jsonb_build_object('user_id', over.id, 'tier_name', over.limits_of, 'used', over.used, 'limit', over.allowed), over.id
  from (
    select
      u.id, l.limits_of,
      case when month.is_over then 'this month' else 'today' end as span,
      case when month.is_over then u.current_month_limited_cost else u.current_day_limited_cost end as used,
      case when month.is_over then l.monthly_cost_limit else l.daily_cost_limit end as allowed
    from public.users u
    join core.limits_by_tier l on l.tier_name = core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, limit_conditions.now)
    cross join lateral (
      select coalesce(u.month_ends_at > limit_conditions.now and u.current_month_limited_cost > l.monthly_cost_limit, false) as is_over
    ) month
    where u.current_month_limited_cost > 0
      and (month.is_over or u.day_ends_at > limit_conditions.now and u.current_day_limited_cost > l.daily_cost_limit)
  ) over;
end;

comment on function core.limit_conditions(timestamptz) is
  'Alerts user_over_limit that hold now: users whose cost that counts is above the monthly or daily limit of their tier. Spec 3.3, 3.5, 9.';
--! EndIncluded alerts/limit_conditions.sql
--! Included alerts/loss_conditions.sql
create or replace function core.loss_conditions(now timestamptz)
returns setof core.alert_condition
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  month_start timestamptz := date_trunc('month', loss_conditions.now at time zone 'UTC') at time zone 'UTC';
begin
  return query
  with spent as (
    select l.user_id, sum(l.cost) as cost, sum(l.granted - l.remaining - p.credits_taken_back) as credits
    from public.credit_lots l
    join public.purchases p on p.user_id = l.user_id and p.id = core.uuid_or_null(l.source_id)
    where l.kind = 'purchased' and (l.remaining > 0 or l.created_at >= month_start)
    group by l.user_id
  )
  select
    'purchased_credit_cost', x.user_id::text, 0, 'warning',
    format('A purchased credit costs %s dollars, above %s: %s credits cost %s dollars', core.write_dollars(x.cost / x.credits),
      core.write_dollars(s.purchased_cost_per_credit_limit), x.credits, core.write_dollars(x.cost)),
    format('What was run: SELECT model, output_tokens, cost, credits FROM runs WHERE user_id = %L ORDER BY id DESC LIMIT 10;', x.user_id) || E'\n'
      || 'To cut answers so that a purchased credit cannot cost more: UPDATE settings SET purchased_cost_per_credit_cap = …;',
    jsonb_build_object('user_id', x.user_id, 'cost', x.cost, 'credits', x.credits, 'limit', s.purchased_cost_per_credit_limit), x.user_id
  from spent x, public.settings s
  where x.credits > 0 and x.cost > s.purchased_cost_per_credit_limit * x.credits;

  return query
  select
    'shortfall', 'runs ' || r.user_id, 0, 'warning',
    format('%s credits short: runs of the last 24 hours cost %s credits, and %s could be charged', sum(r.shortfall),
      sum(r.credits + r.shortfall), sum(r.credits)),
    format('Which: SELECT id, model, cost, credits, shortfall FROM runs WHERE user_id = %L AND shortfall > 0;', r.user_id),
    jsonb_build_object('user_id', r.user_id, 'shortfall_credits', sum(r.shortfall), 'runs', count(*)), r.user_id
  from public.runs r
  where r.shortfall > 0 and r.finished_at > loss_conditions.now - interval '24 hours'
  group by r.user_id
  union all
  select
    'shortfall', 'purchase ' || p.id, 0, 'warning',
    format('%s credits short: %s dollars of a pack went back, and %s of %s credits could be taken back', p.shortfall,
      core.write_dollars(p.refunded_amount + p.disputed_amount), p.credits_taken_back, p.credits_taken_back + p.shortfall),
    format('How it came to be: SELECT * FROM ops.explain_balance(%L);', p.user_id),
    jsonb_build_object('user_id', p.user_id, 'purchase_id', p.id, 'shortfall_credits', p.shortfall), p.user_id
  from public.purchases p
  where p.shortfall > 0
  union all
  select
    'shortfall', format('period %s %s', q.subscription_id, to_char(q.period_start at time zone 'UTC', 'YYYY-MM-DD')), 0, 'warning',
    format('%s credits short: %s dollars of a subscription went back, and %s of %s credits could be taken back', q.shortfall,
      core.write_dollars(q.refunded_amount + q.disputed_amount), q.credits_taken_back, q.credits_taken_back + q.shortfall),
    format('How it came to be: SELECT * FROM ops.explain_balance(%L);', q.user_id),
    jsonb_build_object('user_id', q.user_id, 'subscription_id', q.subscription_id, 'shortfall_credits', q.shortfall), q.user_id
  from public.subscription_periods q
  where q.shortfall > 0;
end
$$;

comment on function core.loss_conditions(timestamptz) is
  'What holds now of alerts about use that is not paid for: purchased_credit_cost (of a user''s packs that still have credits or were bought '
  'this month; above settings.purchased_cost_per_credit_limit), shortfall (of runs for 24 hours, of packs and periods while it is open). '
  'Spec 3.3, 4.2, 4.6, 9.';
--! EndIncluded alerts/loss_conditions.sql
--! Included alerts/billing_conditions.sql
create or replace function core.billing_conditions(now timestamptz)
returns setof core.alert_condition
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select
    'stripe_review', format('%s %s %s', r.kind, r.what, r.object), 0, 'critical',
    format('Stripe: %s %s needs a person: %s', r.what, r.object, coalesce(r.why, 'no reason is kept')),
    'What to do: ' || r.what_to_do || E'\nAll of them: SELECT * FROM ops.stripe_review;',
    jsonb_build_object('kind', r.kind, 'object', r.object, 'since', r.since, 'user_id', r.user_id), r.user_id
  from ops.stripe_review r;

  return query
  select
    'stripe_waiting', '', 0, 'critical',
    format('%s events of Stripe wait since %s UTC: longer than 15 minutes', count(*), to_char(min(e.received_at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')),
    'Does a server run that has STRIPE_SECRET_KEY? SELECT id, type, attempts, error FROM stripe_events WHERE status = ''received'';',
    jsonb_build_object('events', count(*), 'since', min(e.received_at)), null::uuid
  from public.stripe_events e
  where e.status = 'received' and e.received_at < billing_conditions.now - interval '15 minutes'
  having count(*) > 0
  union all
  select
    'stripe_unclaimed', '', 0, 'critical',
    format('%s pieces of work at Stripe are claimed by no server since %s UTC', count(*), to_char(min(w.due_at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')),
    'Does a server run that has STRIPE_SECRET_KEY? SELECT kind, key, due_at FROM stripe_work ORDER BY due_at;',
    jsonb_build_object('work', count(*), 'since', min(w.due_at)), null
  from public.stripe_work w
  where not w.is_failed and w.due_at < billing_conditions.now - interval '15 minutes' and coalesce(w.claimed_until <= billing_conditions.now, true)
  having count(*) > 0
  union all
  select
    'stripe_failing', '', 0, 'warning',
    format('%s pieces of work at Stripe failed 5 times or more: %s', count(*), (array_agg(w.error order by w.attempts desc))[1]),
    'They are tried again, ever later: SELECT kind, key, attempts, error, due_at FROM stripe_work WHERE attempts >= 5;',
    jsonb_build_object('work', count(*)), null
  from public.stripe_work w
  where not w.is_failed and w.attempts >= 5
  having count(*) > 0
  union all
  select
    'stripe_drift', d.kind, 0, 'warning',
    format('%s differences between Stripe and us found and repaired within 24 hours: %s', count(*), d.kind),
    'Which: SELECT * FROM ops.stripe_drift; Many of them mean that the webhook does not arrive: see the Stripe Dashboard, Webhooks, Events.',
    jsonb_build_object('differences', count(*), 'last_at', max(d.found_at)), null
  from public.stripe_drift d
  where d.found_at > billing_conditions.now - interval '24 hours'
  group by d.kind
  union all
  select
    'second_subscription', s.id, 0, 'warning',
    format('Subscription %s was a second one of the same person: it is canceled and its payment refunded', s.id),
    format('Nothing to do if Stripe shows the refund: SELECT * FROM subscriptions WHERE user_id = %L;', s.user_id),
    jsonb_build_object('user_id', s.user_id, 'subscription_id', s.id), s.user_id
  from public.subscriptions s
  where s.superseded and s.created_at > billing_conditions.now - interval '7 days';
end
$$;

comment on function core.billing_conditions(timestamptz) is
  'What holds now of alerts about Stripe: stripe_review (each thing that needs a person), stripe_waiting (events not applied for 15 minutes), '
  'stripe_unclaimed (work that no server took for 15 minutes), stripe_failing, stripe_drift (for 24 hours), second_subscription (for 7 days). '
  'Spec 6.1, 6.5, 6.6, 7.1, 9.';
--! EndIncluded alerts/billing_conditions.sql
--! Included alerts/usage_conditions.sql
create or replace function core.usage_conditions(now timestamptz)
returns setof core.alert_condition
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select
    'loss_making', format('%s %s', l.kind, l.name), 0, 'warning',
    format('%s %s loses money: its paid credits cost %s dollars and brought %s', initcap(l.kind), l.name,
      core.write_dollars(l.cost_dollars), core.write_dollars(l.value_dollars)),
    format('A paid credit costs %s dollars there and brings %s. All of them: SELECT * FROM ops.loss_makers;',
      core.write_dollars(l.cost_per_credit_dollars), core.write_dollars(l.value_per_credit_dollars)),
    jsonb_build_object('kind', l.kind, 'name', l.name, 'credits', l.credits, 'cost', l.cost_dollars, 'value', l.value_dollars), null::uuid
  from ops.loss_makers l
  where l.kind <> 'user'
  union all
  select
    'provider_drift', format('%s %s', d.provider, left(d.period, 7)), 0, 'critical',
    case
      when sum(d.their_dollars) is not null then format('%s asks for %s dollars of %s, and our books say %s', d.provider,
        core.write_dollars(sum(d.their_dollars)), left(d.period, 7), core.write_dollars(sum(d.our_dollars)))
      else format('%s counts %s tokens of %s, and our books %s', d.provider, sum(d.their_tokens), left(d.period, 7), sum(d.our_tokens))
    end,
    'Where: SELECT * FROM ops.provider_drift WHERE is_off;',
    jsonb_build_object('provider', d.provider, 'month', left(d.period, 7), 'their_dollars', sum(d.their_dollars), 'our_dollars', sum(d.our_dollars)), null
  from ops.provider_drift d
  where d.is_off and d.period >= to_char((usage_conditions.now at time zone 'UTC') - interval '2 months', 'YYYY-MM')
  group by d.provider, left(d.period, 7);
end
$$;

comment on function core.usage_conditions(timestamptz) is
  'What holds now of alerts that come from rolled up usage: loss_making (packs, packages and models of ops.loss_makers; of one person see '
  'purchased_credit_cost) and provider_drift (months, of the last two, in which a provider''s invoice is off). Spec 8.4, 7.1, 9.';
--! EndIncluded alerts/usage_conditions.sql
--! Included alerts/message_conditions.sql
create or replace function core.message_conditions()
returns setof core.alert_condition
language sql
stable
set search_path = ''
begin atomic
  select
    'message_undelivered', m.channel, 0, 'warning',
    format('%s messages by %s are not delivered, since %s UTC', count(*), m.channel, to_char(min(m.since) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')),
    'Which, and why: SELECT * FROM ops.undelivered_messages;',
    jsonb_build_object('channel', m.channel, 'messages', count(*), 'since', min(m.since)), null::uuid
  from ops.undelivered_messages m
  group by m.channel;
end;

comment on function core.message_conditions() is
  'Alerts message_undelivered that hold now, one for each channel with messages that do not arrive. Spec 9.';
--! EndIncluded alerts/message_conditions.sql
--! Included alerts/alert_conditions.sql
create or replace function core.alert_conditions(now timestamptz)
returns setof core.alert_condition
language plpgsql
stable
set search_path = ''
as $$
begin
  return query
  select distinct on (c.kind, c.key) c.*
  from (
    select * from core.spend_conditions(alert_conditions.now)
    union all
    select * from core.run_conditions(alert_conditions.now)
    union all
    select * from core.limit_conditions(alert_conditions.now)
    union all
    select * from core.loss_conditions(alert_conditions.now)
    union all
    select * from core.billing_conditions(alert_conditions.now)
    union all
    select * from core.usage_conditions(alert_conditions.now)
    union all
    select * from core.message_conditions()
  ) c
  order by c.kind, c.key, c.level desc;
end
$$;

comment on function core.alert_conditions(timestamptz) is
  'Everything but jobs that an operator should know and that holds now: one row for each kind and key (what it is about: a user''s id, a '
  'provider …), at its highest level. ops.check_alerts raises what is new and resolves what is gone. Spec 9.';
--! EndIncluded alerts/alert_conditions.sql
--! Included alerts/limit_notices.sql
create or replace function core.limit_notices(now timestamptz)
returns setof core.person_notice
language sql
stable
set search_path = ''
begin atomic
  select
    u.id, 'limit_warning', reached.level,
    to_char((u.month_ends_at at time zone 'UTC') - interval '1 day', 'YYYY-MM') || ' ' || l.limits_of,
    core.write_used(u.current_month_limited_cost, l.monthly_cost_limit),
    format(
      E'You have used %s of the %s dollars of model cost that your plan covers this month.\nA new month begins on %s. Cost that purchased credits pay for does not count.',
      core.write_dollars(u.current_month_limited_cost), core.write_dollars(l.monthly_cost_limit), core.write_day(u.month_ends_at)
    )
  from public.users u
  join core.limits_by_tier l on l.tier_name = core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, limit_notices.now)
  cross join lateral (
    select max(percent) as level
    from unnest(l.alert_at_percent) percent
    where u.current_month_limited_cost * 100 >= percent * l.monthly_cost_limit
  ) reached
  where u.current_month_limited_cost >= l.first_warning_at and u.current_month_limited_cost > 0 and u.month_ends_at > limit_notices.now
    and reached.level is not null and not core.throttled_at(u, limit_notices.now)
  union all
  select
    u.id, 'throttled', 0, to_char(coalesce(u.throttled_at, limit_notices.now) at time zone 'UTC', case when u.throttled_at is null then 'YYYY-MM' else 'YYYY-MM-DD' end),
    case
      when u.throttled_by = 'limit' then format('No more runs until %s UTC%s', to_char(u.throttled_until at time zone 'UTC', 'YYYY-MM-DD HH24:MI'),
        substring(u.throttled_reason from ':.*$'))
      else 'Runs of your account are stopped'
    end,
    case
      when u.throttled_by = 'limit' then 'Your plan''s limit of model cost is used up. Runs go on by themselves when the time above has come, or at once with a higher plan.'
      else 'An operator has stopped runs of your account'
        || coalesce(' until ' || core.write_day(case when u.throttled_by is not null then u.throttled_until end), '') || '. Write to us if you think that this is a mistake.'
    end
  from public.users u
  where u.is_throttled and core.throttled_at(u, limit_notices.now);
end;

comment on function core.limit_notices(timestamptz) is
  'Mails about limits that are due: limit_warning (level: the highest of cost_limits_config.alert_at_percent that is reached; once for each '
  'month and tier; none while throttled) and throttled (once for the day on which it began; by plain UPDATE once a month). Spec 3.3, 3.4, 9.';
--! EndIncluded alerts/limit_notices.sql
--! Included alerts/credit_notices.sql
create or replace function core.credit_notices(now timestamptz)
returns setof core.person_notice
language sql
stable
set search_path = ''
begin atomic
  select
    u.id, 'credits_low', 0, newest.id::text,
    format('%s credits left, fewer than %s', u.included_credits + u.purchased_credits, s.low_credits_alert),
    E'Your credits are nearly used up. A pack brings more at once; what you buy does not expire.'
  from public.settings s
  join public.users u on u.included_credits + u.purchased_credits < s.low_credits_alert and u.last_request_at > credit_notices.now - interval '30 days'
  cross join lateral (
    select l.id, l.created_at
    from public.credit_lots l
    where l.user_id = u.id and l.kind in ('monthly', 'purchased') and l.paid_per_credit > 0
    order by l.created_at desc, l.id
    limit 1
  ) newest
  where u.last_request_at > newest.created_at
  union all
  select
    u.id, 'rollover_expiring', 0, l.id::text,
    format('%s credits expire on %s', l.remaining, core.write_day(l.expires_at)),
    format('%s of your credits are left over from an earlier month. They can be used until %s; after that they are gone.', l.remaining, core.write_day(l.expires_at))
  from public.settings s
  join public.users u on u.next_lot_expiry <= credit_notices.now + make_interval(days => s.rollover_alert_days)
  join public.credit_lots l on l.user_id = u.id and l.kind = 'rollover' and l.remaining > 0
    and l.expires_at > credit_notices.now and l.expires_at <= credit_notices.now + make_interval(days => s.rollover_alert_days);
end;

comment on function core.credit_notices(timestamptz) is
  'Mails about credits that are due: credits_low (fewer than settings.low_credits_alert left of what was paid for, once for the newest pack or '
  'month) and rollover_expiring (within settings.rollover_alert_days, once for each lot). Spec 4.3, 9.';
--! EndIncluded alerts/credit_notices.sql
--! Included alerts/price_raises.sql
create or replace function core.price_raises(now timestamptz)
returns table (user_id uuid, subscription_id text, paid_until timestamptz, paid_price numeric, next_price numeric, has_left boolean)
language sql
stable
set search_path = ''
begin atomic
  with renewing as materialized (
    select s.user_id, s.id, s.plan, s.price_id, s.paid_until, s.monthly_amount, latest.plan as paid_plan
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    join public.plans own on own.plan = s.plan
    cross join lateral (
      select q.plan
      from public.subscription_periods q
      where q.user_id = s.user_id and q.subscription_id = s.id and q.state = 'paid'
      order by q.period_start desc
      limit 1
    ) latest
    where s.plan in ('prpm_plus_individual', 'prpm_plus_org_member')
      and not s.superseded and s.cancel_at is null and s.monthly_amount > 0 and s.paid_until > price_raises.now
      and (
        s.plan <> latest.plan
        or own.stripe_price_id <> s.price_id
        or own.requires_verified_organization and not exists (
          select from public.organization_members m
          join public.organizations o on o.id = m.organization_id and o.is_verified
          where m.user_id = s.user_id
        )
      )
  )
  select r.user_id, r.id, r.paid_until, r.monthly_amount, next.monthly_price, paid.requires_verified_organization and not next.requires_verified_organization
  from renewing r
  join public.plans paid on paid.plan = r.paid_plan
  cross join lateral core.offer_of(r.user_id) offer
  join public.plans next on next.plan = case when offer.price_id <> r.price_id then offer.plan else r.plan end
  where next.monthly_price > r.monthly_amount;
end;

comment on function core.price_raises(timestamptz) is
  'Subscriptions whose next renewal costs more than was paid (US dollars a month), because ops.align_prices has changed them or will: whose, '
  'until when it is paid, and whether that is because they left a verified organization. Spec 2.4.';
--! EndIncluded alerts/price_raises.sql
--! Included alerts/payment_notices.sql
create or replace function core.payment_notices(now timestamptz)
returns setof core.person_notice
language sql
stable
set search_path = ''
begin atomic
  select
    s.user_id, 'payment_failed', 0, s.id || ' ' || coalesce(to_char(s.paid_until at time zone 'UTC', 'YYYY-MM-DD'), 'first'),
    'The payment for your subscription failed',
    'Your bank did not pay for PRPM+.' || coalesce(E'\nPay here, or choose another card:\n' || s.hosted_invoice_url, '')
      || case when u.entitled_until > payment_notices.now then format(E'\n\nWithout a payment PRPM+ ends on %s.', core.write_day(u.entitled_until)) else '' end
  from public.subscriptions s
  join public.subscription_states state on state.status = s.status and state.is_open
  join public.users u on u.id = s.user_id
  where s.unpaid_since is not null and not s.superseded
  union all
  select
    r.user_id, 'price_raise', 0, r.subscription_id || ' ' || to_char(r.paid_until at time zone 'UTC', 'YYYY-MM-DD'),
    format('PRPM+ costs $%s a month from %s on; until now $%s', r.next_price, core.write_day(r.paid_until), r.paid_price),
    case when r.has_left then 'You have left the organization that made it cheaper, or it is no longer verified.' else 'The price of your plan has changed.' end
      || E'\nWhat is paid stays as it is. If you do not want to go on, cancel before that day: you keep what you have until then.'
  from core.price_raises(payment_notices.now) r;
end;

comment on function core.payment_notices(timestamptz) is
  'Mails about subscriptions that are due: payment_failed (with Stripe''s page for it, once for each period) and price_raise (what the next '
  'renewal costs is more than what was paid, once for each period). Spec 2.4, 6, 9.';
--! EndIncluded alerts/payment_notices.sql
--! Included alerts/text_notices.sql
create or replace function core.text_notices(now timestamptz)
returns setof core.person_notice
language sql
stable
set search_path = ''
begin atomic
  select
    t.user_id, 'texts_going', 0, to_char(t.week, 'IYYY-"W"IW'),
    format('Texts of %s of your sessions are dropped from %s on', t.sessions, core.write_day(t.goes_at)),
    E'Sessions that nobody has used for a long time lose their texts. To keep one, go on with it or share it before that day.\nWhat was charged stays in your history.'
  from (
    select o.user_id, date_trunc('week', o.goes_at at time zone 'UTC') as week, count(*) as sessions, min(o.goes_at) as goes_at
    from core.old_texts o
    where o.goes_at > text_notices.now and o.goes_at <= text_notices.now + interval '28 days'
    group by o.user_id, date_trunc('week', o.goes_at at time zone 'UTC')
  ) t
  where t.goes_at <= text_notices.now + interval '21 days';
end;

comment on function core.text_notices(timestamptz) is
  'Mails texts_going that are due: the sessions that lose their texts in the same week, once for each week, 21 days before the first of them '
  'and so at least 14 days before any. Spec 7.1.';
--! EndIncluded alerts/text_notices.sql
--! Included alerts/person_notices.sql
create or replace function core.person_notices(now timestamptz)
returns setof core.person_notice
language plpgsql
stable
set search_path = ''
as $$
begin
  return query
  select n.*
  from (
    select * from core.limit_notices(person_notices.now)
    union all
    select * from core.credit_notices(person_notices.now)
    union all
    select * from core.payment_notices(person_notices.now)
    union all
    select * from core.text_notices(person_notices.now)
  ) n
  join public.users u on u.id = n.user_id
  where u.email is not null and u.closed_at is null;
end
$$;

comment on function core.person_notices(timestamptz) is
  'Everything that users with an e-mail should know and that holds now: kind, level, the period that it is told once in, subject and text. Spec 9.';
--! EndIncluded alerts/person_notices.sql
--! Included alerts/tell_operators.sql
create or replace function core.tell_operators(now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  channels text[] := array(
    select c.channel from public.alert_channels c
    where c.channel in ('webhook', 'operator_email') and c.seen_at > tell_operators.now - interval '1 day'
  );
  told bigint;
begin
  if channels = '{}' then
    return 0;
  end if;

  with news as (
    select a.*, case when a.resolved_at is null then 'raised' else 'resolved' end as what
    from public.alerts a
    where case when a.resolved_at is null then coalesce(a.told_level < a.level, true) else a.told_level is not null and not a.told_resolved end
  ),
  counted as (
    select n.*, count(*) over (partition by n.what, n.kind) as of_kind,
      row_number() over (partition by n.what, n.kind order by n.level desc, n.id) as place
    from news n
  ),
  letters as (
    select
      c.what, c.kind, count(*) as alerts, min(c.id) as first_id, max(c.level) as level, max(c.severity) as severity,
      (array_agg(c.subject order by c.place))[1] as subject, (array_agg(c.body order by c.place))[1] as body,
      string_agg(c.subject, E'\n' order by c.place) filter (where c.place <= 20) as subjects,
      jsonb_agg(jsonb_build_object(
        'id', c.id, 'kind', c.kind, 'key', c.key, 'severity', c.severity, 'subject', c.subject, 'body', c.body, 'details', c.details,
        'raised_at', c.raised_at, 'resolved_at', c.resolved_at
      ) order by c.place) filter (where c.place <= 20) as list
    from counted c
    group by c.what, c.kind, case when c.of_kind <= 5 then c.id end
  ),
  written as (
    select
      l.*,
      case when l.what = 'resolved' then 'Resolved: ' else '' end
        || case when l.alerts = 1 then l.subject else format('%s alerts %s', l.alerts, l.kind) end as headline,
      case when l.alerts > 1 then l.subjects || E'\n\n' else '' end || case
        when l.what = 'resolved' then 'This has ended.'
        when l.alerts = 1 then l.body
        else format('All of them: SELECT * FROM ops.alerts_now WHERE kind = %L;', l.kind)
      end as words
    from letters l
  )
  insert into public.messages (dedupe, channel, kind, subject, body, payload, created_at, due_at)
  select
    format('%s %s %s %s', w.what, w.first_id, w.level, c.channel), c.channel, w.kind, w.headline, w.words,
    case when c.channel = 'webhook' then jsonb_build_object(
      'type', 'alert.' || w.what, 'timestamp', tell_operators.now,
      'data', jsonb_build_object('kind', w.kind, 'severity', w.severity, 'subject', w.headline, 'body', w.words, 'count', w.alerts, 'alerts', w.list)
    ) end,
    tell_operators.now, tell_operators.now
  from written w
  cross join unnest(channels) c (channel)
  on conflict on constraint messages_dedupe_key do nothing;
  get diagnostics told = row_count;

  update public.alerts a set told_level = a.level, told_resolved = a.resolved_at is not null
  where case when a.resolved_at is null then coalesce(a.told_level < a.level, true) else a.told_level is not null and not a.told_resolved end;
  return told;
end
$$;

comment on function core.tell_operators(timestamptz) is
  'Writes messages to operators about alerts that were raised, rose to a higher level, or ended, on each channel that a server has had in the '
  'last day; without one they wait. More than 5 of a kind at once are one message, which shows 20. Returns how many were written. Spec 9.';
--! EndIncluded alerts/tell_operators.sql
--! Included alerts/tell_people.sql
create or replace function core.tell_people(now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  told bigint;
begin
  if not exists (
    select from public.alert_channels c where c.channel = 'user_email' and c.seen_at > tell_people.now - interval '1 day'
  ) then
    return 0;
  end if;

  insert into public.messages (dedupe, channel, kind, user_id, period, level, subject, body, created_at, due_at)
  select
    format('%s %s %s %s', n.kind, n.user_id, n.period, n.level), 'user_email', n.kind, n.user_id, n.period, n.level, n.subject, n.body,
    tell_people.now, tell_people.now
  from core.person_notices(tell_people.now) n
  left join public.email_preferences p on p.user_id = n.user_id
  where case core.mail_group(n.kind) when 'limits' then coalesce(p.limits, true) when 'credits' then coalesce(p.credits, true)
      when 'payments' then coalesce(p.payments, true) else true end
    and not exists (
      select from public.messages m
      where m.user_id = n.user_id and m.kind = n.kind and m.period = n.period and m.level >= n.level
    )
  on conflict on constraint messages_dedupe_key do nothing;
  get diagnostics told = row_count;
  return told;
end
$$;

comment on function core.tell_people(timestamptz) is
  'Writes the mails to users that are due and wanted: one for each user, kind, period and level, and none below a level that was told. Only '
  'where a server has had mail for users in the last day. Returns how many were written. Spec 9.';
--! EndIncluded alerts/tell_people.sql
--! Included alerts/raise_alerts.sql
create or replace function core.raise_alerts(conditions core.alert_condition[], now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  ended bigint;
  changed bigint;
begin
  update public.alerts a set resolved_at = raise_alerts.now
  where a.resolved_at is null and not exists (select from unnest(conditions) c where c.kind = a.kind and c.key = a.key);
  get diagnostics ended = row_count;

  insert into public.alerts as a (kind, key, level, severity, subject, body, details, user_id, raised_at)
  select c.kind, c.key, c.level, c.severity, c.subject, c.body, c.details, c.user_id, raise_alerts.now
  from unnest(conditions) c
  on conflict (kind, key) where resolved_at is null do update set
    level = excluded.level, severity = excluded.severity, subject = excluded.subject, body = excluded.body, details = excluded.details
  where (a.level, a.subject, a.details) is distinct from (excluded.level, excluded.subject, excluded.details);
  get diagnostics changed = row_count;
  return ended + changed;
end
$$;

comment on function core.raise_alerts(core.alert_condition[], timestamptz) is
  'Makes the open alerts what these conditions are, which are all that hold: raises, brings up to date, resolves. Returns how many changed. Spec 9.';
--! EndIncluded alerts/raise_alerts.sql
--! Included alerts/raise_check_failed.sql
create or replace function core.raise_check_failed(failure text, now timestamptz)
returns bigint
language sql
set search_path = ''
begin atomic
  with raised as (
    insert into public.alerts (kind, key, level, severity, subject, body, details, raised_at)
    values (
      'check_failed', '', 0, 'critical', 'Alerts could not be checked: ' || left(failure, 200),
      'What was open stays open until they can be. What is wrong right now is in SELECT * FROM ops.checks();',
      jsonb_build_object('error', failure), raise_check_failed.now
    )
    on conflict (kind, key) where resolved_at is null do nothing
    returning id
  )
  select count(*) from raised;
end;

comment on function core.raise_check_failed(text, timestamptz) is
  'Raises the alert check_failed: the conditions of alerts could not be read, so none was raised or resolved. The next check that succeeds '
  'resolves it. Returns 1 where it is new. Spec 9.';
--! EndIncluded alerts/raise_check_failed.sql
--! Included jobs/job_conditions.sql
create or replace function core.job_conditions()
returns setof core.alert_condition
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select
    case when j.job = 'audit-books' then 'audit_failed' else 'job_failed' end, j.job, 0,
    case when j.job = 'audit-books' then 'critical' else 'warning' end,
    format('Job %s failed: %s', j.job, left(j.last_error, 200)),
    case when j.job = 'audit-books' then 'The books disagree: SELECT * FROM ops.audit_books();'
    else 'Its next slot is due at ' || to_char(j.next_due_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC. SELECT * FROM ops.jobs;' end,
    jsonb_build_object('job', j.job, 'slot', j.last_slot, 'error', j.last_error), null::uuid
  from ops.jobs j
  where j.has_failed
  union all
  select
    'job_late', j.job, 0, 'warning',
    format('Job %s is late: due at %s UTC, and %s minutes ago', j.job, to_char(j.next_due_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), round(j.late_seconds / 60)),
    'Does a server run, or pg_cron? SELECT * FROM ops.jobs;',
    jsonb_build_object('job', j.job, 'due_at', j.next_due_at), null
  from ops.jobs j
  where j.is_late and j.job <> 'check-alerts';
end
$$;

comment on function core.job_conditions() is
  'Alerts that hold now about jobs: job_failed, audit_failed (the newest slot that ended has an error) and job_late; of check-alerts itself only '
  'failures, for whoever asks has it running. Spec 7.2, 9.';
--! EndIncluded jobs/job_conditions.sql
--! Included jobs/check_alerts.sql
create or replace function ops.check_alerts()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  changed bigint := 0;
  failure text;
begin
  if not pg_try_advisory_xact_lock(hashtext('check_alerts')) then
    return 0;
  end if;

  begin
    changed := core.raise_alerts(array(
      select c from core.alert_conditions(now) c
      union all
      select c from core.job_conditions() c
    ), now) + core.tell_people(now);
  exception when others then
    failure := sqlerrm;
  end;
  if failure is not null then
    changed := core.raise_check_failed(failure, now);
  end if;
  perform core.tell_operators(now);
  return changed;
end
$$;

comment on function ops.check_alerts() is
  'Raises an alert for each condition that has begun to hold, brings open ones up to date, resolves those whose condition has ended, and '
  'writes the messages to operators and users, which servers deliver. Returns how many alerts changed and mails were written. Where '
  'another check is running it returns 0 at once. Call: select ops.check_alerts(); Spec 9.';
--! EndIncluded jobs/check_alerts.sql
--! Included alerts/acknowledge_alert.sql
create or replace function core.acknowledge_alert(id bigint, who text, reason text, dry_run boolean)
returns table (alert_id bigint, kind text, what text, raised_at timestamptz, acknowledged_at timestamptz, acknowledged_by text)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
begin
  if not exists (select from public.alerts a where a.id = acknowledge_alert.id and a.resolved_at is null) then
    raise exception 'there is no open alert %', coalesce(acknowledge_alert.id::text, 'null')
      using errcode = 'PR404', detail = 'id', hint = 'select id, kind, what from ops.alerts_now;';
  end if;
  if dry_run then
    return query select a.id, a.kind, a.subject, a.raised_at, now, who from public.alerts a where a.id = acknowledge_alert.id;
    return;
  end if;
  return query
    update public.alerts a
    set acknowledged_at = now, acknowledged_by = who, acknowledged_because = reason
    where a.id = acknowledge_alert.id
    returning a.id, a.kind, a.subject, a.raised_at, a.acknowledged_at, a.acknowledged_by;
end
$$;

comment on function core.acknowledge_alert(bigint, text, text, boolean) is
  'Writes into an open alert who is at it and why. Errors: PR404 no such open alert. Spec 9.';
--! EndIncluded alerts/acknowledge_alert.sql
--! Included alerts/ops_acknowledge_alert.sql
create or replace function ops.acknowledge_alert(id bigint, reason text, dry_run boolean default false)
returns table (alert_id bigint, kind text, what text, raised_at timestamptz, acknowledged_at timestamptz, acknowledged_by text)
language plpgsql
security definer
set search_path = ''
as $$
begin
  if not dry_run then
    perform core.note_action('acknowledge_alert', acknowledge_alert.id::text, reason, null);
  end if;
  return query select x.* from core.acknowledge_alert(acknowledge_alert.id, session_user::text, reason, dry_run) x;
end
$$;

comment on function ops.acknowledge_alert(bigint, text, boolean) is
  'Says that somebody is at it: who and when stands in ops.alerts_now until the alert resolves by itself. '
  'Call: select * from ops.acknowledge_alert(17, ''looking at it''); Errors: PR404 no such open alert, PR400 without a reason. Spec 9.';
--! EndIncluded alerts/ops_acknowledge_alert.sql
--! Included alerts/test_alert.sql
create or replace function ops.test_alert(reason text default 'a test', dry_run boolean default false)
returns table (channel text, message_id uuid, what text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  said text := 'A test of the alerts of PRPM Playground: ' || reason;
begin
  if not dry_run then
    perform core.note_action('test_alert', null, reason, null);
    insert into public.messages (id, dedupe, channel, kind, subject, body, payload, created_at, due_at)
    select
      x.id, 'test ' || x.id, c.channel, 'test', said, 'Nothing is wrong. Somebody called ops.test_alert().',
      jsonb_build_object('type', 'alert.test', 'timestamp', now, 'data', jsonb_build_object('kind', 'test', 'severity', 'warning', 'subject', said, 'count', 0, 'alerts', '[]'::jsonb)),
      now, now
    from public.alert_channels c
    cross join lateral (select gen_random_uuid() as id where c.channel is not null) x
    where c.channel in ('webhook', 'operator_email') and c.seen_at > now - interval '1 day';
  end if;
  return query
    select c.channel, m.id, case
      when m.id is not null then 'queued: select delivered_at, error from messages where id = ' || quote_literal(m.id) || ';'
      when s.seen_at > now - interval '1 day' then 'would be queued'
      else 'no server has it: set ' || c.variables
    end
    from (values
      ('webhook', 'ALERT_WEBHOOK_URL and ALERT_WEBHOOK_SECRET'), ('operator_email', 'SMTP_URL, EMAIL_FROM and ALERT_EMAIL_TO')
    ) c (channel, variables)
    left join public.alert_channels s on s.channel = c.channel
    left join public.messages m on m.channel = c.channel and m.kind = 'test' and m.created_at = now and not dry_run
    order by c.channel;
end
$$;

comment on function ops.test_alert(text, boolean) is
  'Sends a test to operators on every channel that a server has had in the last day, and says which channels there are not. '
  'Call: select * from ops.test_alert(); Errors: PR400 without a reason. Spec 9.';
--! EndIncluded alerts/test_alert.sql
--! Included alerts/retry_message.sql
create or replace function ops.retry_message(message_id uuid, reason text, dry_run boolean default false)
returns table (channel text, kind text, what text, attempts integer, error text, due_at timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  if not exists (select from public.messages m where m.id = retry_message.message_id and m.delivered_at is null) then
    raise exception 'message % is unknown or delivered', retry_message.message_id
      using errcode = 'PR404', detail = 'message_id', hint = 'select message_id, what, error from ops.undelivered_messages;';
  end if;
  if not dry_run then
    perform core.note_action('retry_message', retry_message.message_id::text, reason, null);
    update public.messages m set given_up_at = null, attempts = 0, created_at = core.now(), due_at = core.now() where m.id = retry_message.message_id;
  end if;
  return query
    select m.channel, m.kind, m.subject, m.attempts, m.error, m.due_at from public.messages m where m.id = retry_message.message_id;
end
$$;

comment on function ops.retry_message(uuid, text, boolean) is
  'Lets a message that was given up, or waits for its next attempt, be delivered by the next server that looks. '
  'Call: select * from ops.retry_message(''00000000-…'', ''the receiver is back''); Errors: PR404 unknown or delivered, PR400 without a reason. Spec 9.';
--! EndIncluded alerts/retry_message.sql
--! Included alerts/claim_messages.sql
create or replace function api.claim_messages(channels text[], most integer)
returns table (
  message_id uuid, attempt integer, channel text, recipient text, subject text, body text, payload text, unsubscribe_token text
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
begin
  insert into public.alert_channels as c (channel, seen_at)
  select x.channel, now from unnest(claim_messages.channels) x (channel)
  on conflict on constraint alert_channels_pkey do update set seen_at = excluded.seen_at
  where c.seen_at not between excluded.seen_at - interval '1 minute' and excluded.seen_at;

  return query
  with due as (
    select m.id
    from public.messages m
    where m.delivered_at is null and m.given_up_at is null and m.due_at <= now and coalesce(m.claimed_until <= now, true)
      and m.channel = any (claim_messages.channels)
    order by m.user_id is not null, m.due_at
    limit most
    for no key update skip locked
  ),
  claimed as (
    update public.messages m
    set
      claimed_until = now + interval '2 minutes',
      attempts = m.attempts + 1,
      given_up_at = case when m.user_id is not null and u.email is null then now end,
      error = case when m.user_id is not null and u.email is null then 'the user has no e-mail any more' else m.error end
    from due
    left join public.messages self on self.id = due.id
    left join public.users u on u.id = self.user_id and u.closed_at is null
    where m.id = due.id
    returning m.id, m.attempts, m.channel, u.email, m.subject, m.body, m.payload, m.given_up_at, m.user_id, m.kind
  )
  select c.id, c.attempts, c.channel, c.email, c.subject, c.body, c.payload::text, core.unsubscribe_token(c.user_id, core.mail_group(c.kind))
  from claimed c
  where c.given_up_at is null;
end
$$;

comment on function api.claim_messages(text[], integer) is
  'Gives a server up to so many messages that are due on the channels that it has (webhook, operator_email, user_email), for two minutes; one '
  'that dies loses nothing. recipient: the user''s e-mail as it is now; null for operators. payload: the webhook''s body. unsubscribe_token: null where '
  'the mail cannot be declined. Notes that a server has these channels. Spec 9.';
--! EndIncluded alerts/claim_messages.sql
--! Included alerts/finish_message.sql
create or replace function api.finish_message(message_id uuid)
returns void
language sql
security definer
set search_path = ''
begin atomic
  update public.messages m set delivered_at = core.now(), claimed_until = null, given_up_at = null, error = null
  where m.id = finish_message.message_id and m.delivered_at is null;
end;

comment on function api.finish_message(uuid) is 'Notes that a message was delivered, whoever delivered it. Spec 9.';
--! EndIncluded alerts/finish_message.sql
--! Included alerts/fail_message.sql
create or replace function api.fail_message(message_id uuid, attempt integer, error text, is_final boolean)
returns void
language sql
security definer
set search_path = ''
begin atomic
  update public.messages m set
    error = left(fail_message.error, 500),
    claimed_until = null,
    given_up_at = case when is_final or m.created_at < core.now() - interval '3 days' then core.now() end,
    due_at = core.now() + least(interval '6 hours', interval '15 seconds' * power(2, least(m.attempts - 1, 12)))
  where m.id = fail_message.message_id and m.attempts = fail_message.attempt and m.delivered_at is null;
end;

comment on function api.fail_message(uuid, integer, text, boolean) is
  'Notes that a message could not be delivered: it is tried again, ever later, for 3 days; not at all where that is final. An attempt that '
  'another server has taken over changes nothing. Spec 9.';
--! EndIncluded alerts/fail_message.sql
--! Included alerts/unsubscribe.sql
create or replace function api.unsubscribe(token text)
returns table (declined text)
language plpgsql
security definer
set search_path = ''
as $$
declare
  person uuid := core.uuid_or_null(split_part(unsubscribe.token, '.', 1));
  groups text := split_part(unsubscribe.token, '.', 2);
begin
  if groups not in ('limits', 'credits', 'payments') or unsubscribe.token is distinct from core.unsubscribe_token(person, groups) then
    return;
  end if;
  insert into public.email_preferences as p (user_id, limits, credits, payments, updated_at)
  values (person, groups <> 'limits', groups <> 'credits', groups <> 'payments', core.now())
  on conflict on constraint email_preferences_pkey do update set
    limits = p.limits and excluded.limits, credits = p.credits and excluded.credits, payments = p.payments and excluded.payments,
    updated_at = excluded.updated_at;
  declined := groups;
  return next;
end
$$;

comment on function api.unsubscribe(text) is
  'Declines the kind of mail that a token from a mail names: limits, credits or payments; again changes nothing. No row for a token that no '
  'mail carried. Spec 9, 10.8.';
--! EndIncluded alerts/unsubscribe.sql

insert into public.jobs (job, every, after, description, call) values
  ('check-alerts', '5 minutes', '0', 'Raises and resolves alerts and writes the mails that are due: ops.check_alerts()', 'check_alerts')
on conflict do nothing;

--! split: 9-admin.sql
-- What the admin API and the explainers of the API call.
--! Included accounts/whose_books.sql
create or replace function core.whose_books(user_id uuid, target_user_id uuid)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
begin
  if coalesce(whose_books.target_user_id = whose_books.user_id, true) then
    return whose_books.user_id;
  end if;
  perform core.check_admin(whose_books.user_id);
  return core.find_user(whose_books.target_user_id::text);
end
$$;

comment on function core.whose_books(uuid, uuid) is
  'Whom a request means that may name somebody: the asking user themselves where it names nobody, and somebody else for an administrator '
  'alone. Errors: PR403 another''s, and no administrator; PR404 unknown user. Spec 12.';
--! EndIncluded accounts/whose_books.sql
--! Included catalog/dollars.sql
create or replace function core.dollars(amount numeric)
returns numeric
language sql
immutable
strict
parallel safe
begin atomic
  select trim_scale(round(dollars.amount, 6));
end;

comment on function core.dollars(numeric) is
  'US dollars as the admin API answers them: a number of at most 6 decimals. The books keep the exact one. Spec 8.3.';
--! EndIncluded catalog/dollars.sql
--! Included catalog/api_explain_price.sql
create or replace function api.explain_price(user_id uuid, model text, at timestamptz default null)
returns json
language sql
stable
security definer
set search_path = ''
begin atomic
  select json_agg(e order by e.step)
  from ops.explain_price(explain_price.model, explain_price.at) e
  where explain_price.user_id is not null;
end;

comment on function api.explain_price(uuid, text, timestamptz) is
  'What a model costs and charges at a time (null: now): the rows of ops.explain_price as a JSON array, for every user, as api.list_models '
  'is. Errors: PR404 unknown model. Spec 1.3, 12.';
--! EndIncluded catalog/api_explain_price.sql
--! Included limits/lift_throttle.sql
create or replace function core.lift_throttle(user_id uuid, reason text, details json)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  perform core.note_action('release_throttle', lift_throttle.user_id::text, reason, details);
  update public.users u
  set is_throttled = false, throttled_reason = null, throttled_by = null, throttled_at = null, throttled_until = null
  where u.id = lift_throttle.user_id;
  return core.judge_throttle(lift_throttle.user_id, core.now());
end
$$;

comment on function core.lift_throttle(uuid, text, json) is
  'Lifts a user''s throttle and writes who asked, with details, into audit_log. Returns whether a used-up cost limit throttles them '
  'still. Locks the user''s row. Errors: PR400 without a reason. Spec 3.4, 3.5.';
--! EndIncluded limits/lift_throttle.sql
--! Included limits/api_release_throttle.sql
create or replace function api.release_throttle(user_id uuid, target_user_id uuid, reason text)
returns table (is_throttled boolean, throttled_reason text, throttled_until timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
declare
  target uuid;
begin
  perform core.check_admin(release_throttle.user_id);
  target := core.find_user(release_throttle.target_user_id::text);
  perform core.lift_throttle(target, release_throttle.reason, json_build_object('by', release_throttle.user_id));
  return query select u.is_throttled, u.throttled_reason, u.throttled_until from public.users u where u.id = target;
end
$$;

comment on function api.release_throttle(uuid, uuid, text) is
  'Lifts a user''s throttle for an administrator, as ops.release_throttle does for an operator; audit_log keeps the administrator''s id as '
  '"by". Returns whether, why and until when a used-up cost limit throttles them still. Errors: PR403; PR404 unknown user; PR400 without a '
  'reason. Spec 3.4, 3.5, 8.3.';
--! EndIncluded limits/api_release_throttle.sql
--! Included limits/api_explain_throttle.sql
create or replace function api.explain_throttle(user_id uuid, target_user_id uuid default null)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  whose uuid := core.whose_books(explain_throttle.user_id, explain_throttle.target_user_id);
begin
  return (select json_agg(e order by e.step) from ops.explain_throttle(whose::text) e);
end
$$;

comment on function api.explain_throttle(uuid, uuid) is
  'Why a user is throttled, or not: the rows of ops.explain_throttle as a JSON array. A user sees their own, an administrator anybody''s by '
  'target_user_id. Errors: PR403 another''s, and no administrator; PR404 unknown user. Spec 3, 12.';
--! EndIncluded limits/api_explain_throttle.sql
--! Included limits/describe_windows.sql
create or replace function core.describe_windows(u public.users, l public.cost_limits_config)
returns json
language sql
immutable
parallel safe
begin atomic
  select json_build_array(
    json_build_object(
      'window', 'month', 'unit', 'dollars', 'used', core.dollars(u.current_month_limited_cost), 'held', core.dollars(u.month_held_cost),
      'limit', l.monthly_cost_limit, 'resets_at', u.month_ends_at
    ),
    json_build_object(
      'window', 'day', 'unit', 'dollars', 'used', core.dollars(u.current_day_limited_cost), 'held', core.dollars(u.day_held_cost),
      'limit', l.daily_cost_limit, 'resets_at', u.day_ends_at
    ),
    json_build_object(
      'window', 'hour', 'unit', 'runs', 'used', u.hour_requests, 'held', 0, 'limit', l.hourly_request_limit, 'resets_at', u.hour_ends_at
    ),
    json_build_object(
      'window', 'minute', 'unit', 'attempts', 'used', u.minute_attempts, 'held', 0, 'limit', l.minute_request_limit,
      'resets_at', u.minute_ends_at
    )
  );
end;

comment on function core.describe_windows(public.users, public.cost_limits_config) is
  'The four windows of a user''s row, as core.roll_windows leaves it, as a JSON array: what counts against each limit, what running runs hold, '
  'the limit (null: none) and when the window ends; month and day in US dollars, hour in runs, minute in attempts. Spec 3.2, 3.6.';
--! EndIncluded limits/describe_windows.sql
--! Included limits/describe_refusals.sql
create or replace function core.describe_refusals(user_id uuid)
returns json
language sql
stable
begin atomic
  select coalesce(json_agg(json_build_object(
    'reason', r.reason,
    'refusals', r.refusals,
    'limit', r.limit_value,
    'used', r.used_value,
    'unit', r.unit,
    'hour_start', r.hour_start,
    'last_at', r.last_at
  ) order by r.last_at desc), '[]')
  from (select x.* from ops.refusals x where x.user_id = describe_refusals.user_id order by x.last_at desc limit 20) r;
end;

comment on function core.describe_refusals(uuid) is
  'What a user was refused, the newest 20 rows of ops.refusals as a JSON array: how often by reason and hour, with limit and use in their '
  'unit at the last one. Spec 3.7, 8.3.';
--! EndIncluded limits/describe_refusals.sql
--! Included credits/describe_lots.sql
create or replace function core.describe_lots(user_id uuid)
returns json
language sql
stable
begin atomic
  select coalesce(json_agg(json_build_object(
    'id', l.id,
    'kind', l.kind,
    'source', l.source,
    'granted', l.granted,
    'remaining', l.remaining,
    'paid_per_credit', core.dollars(l.paid_per_credit),
    'cost', core.dollars(l.cost),
    'expires_at', nullif(l.expires_at, 'infinity'),
    'created_at', l.created_at
  ) order by l.created_at desc, l.id desc), '[]')
  from (
    select x.* from public.credit_lots x where x.user_id = describe_lots.user_id order by x.created_at desc, x.id desc limit 50
  ) l;
end;

comment on function core.describe_lots(uuid) is
  'A user''s newest 50 lots, newest first, empty and expired ones too, as a JSON array: credits granted and remaining, US dollars paid for '
  'each credit, and the provider cost in US dollars that their credits have paid for. Spec 4.1, 8.4.';
--! EndIncluded credits/describe_lots.sql
--! Included credits/api_explain_balance.sql
create or replace function api.explain_balance(user_id uuid, target_user_id uuid default null, "limit" integer default 100)
returns table (steps json, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  whose uuid := core.whose_books(explain_balance.user_id, explain_balance.target_user_id);
begin
  perform core.check_page("limit", 0);
  return query
    select
      json_agg(e.step_row order by e.place) filter (where e.place > e.steps - explain_balance."limit"),
      max(e.steps)
    from (
      select x as step_row, row_number() over (order by x.step) as place, count(*) over () as steps
      from ops.explain_balance(whose::text) x
    ) e;
end
$$;

comment on function api.explain_balance(uuid, uuid, integer) is
  'How a user''s credits came to be: the newest rows of ops.explain_balance, oldest first, the last one the books'' own figure, and how many '
  'there are in all. A user sees their own, an administrator anybody''s by target_user_id. Errors: PR403 another''s, and no administrator; '
  'PR404 unknown user; PR400 naming limit. Spec 4.8, 12.';
--! EndIncluded credits/api_explain_balance.sql
--! Included runs/charge_steps.sql
create or replace function core.charge_steps(user_id uuid, run_id uuid)
returns table (step bigint, what text, quantity numeric, rate numeric, amount numeric, unit text, explanation text)
language plpgsql
stable
set search_path = ''
as $$
declare
  r public.runs;
  p public.model_prices;
  tokens bigint;
  units numeric;
begin
  select x.* into r from public.runs x where x.user_id = charge_steps.user_id and x.id = charge_steps.run_id;
  if not found then
    raise exception 'there is no run %', charge_steps.run_id using errcode = 'PR404', detail = 'run_id';
  end if;
  select x.* into p from public.model_prices x where x.id = r.price_id;
  tokens := coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0);
  units := greatest(1, ceil(tokens / r.tokens_per_credit::numeric));

  return query
  select row_number() over (order by s.place, s.lot), s.what, s.quantity, s.rate, s.amount, s.unit, s.explanation
  from (
    select 1, 0::bigint, 'input', c.tokens::numeric, c.price, c.tokens * c.price * 0.000001, 'dollars', 'Tokens neither from nor to a cache, at dollars per million.'
    from (select coalesce(r.input_tokens - coalesce(r.cached_tokens, 0) - coalesce(r.cache_write_tokens, 0), 0), p.input) c (tokens, price)
    union all
    select 2, 0, 'cached read', r.cached_tokens, coalesce(p.cached_read, p.input), r.cached_tokens * coalesce(p.cached_read, p.input) * 0.000001, 'dollars', 'Tokens read from the provider''s cache.'
    where r.cached_tokens > 0
    union all
    select 3, 0, 'cache write', r.cache_write_tokens, coalesce(p.cache_write, p.input), r.cache_write_tokens * coalesce(p.cache_write, p.input) * 0.000001, 'dollars', 'Tokens written to the provider''s cache.'
    where r.cache_write_tokens > 0
    union all
    select 4, 0, 'output', coalesce(r.output_tokens, 0), p.output, coalesce(r.output_tokens, 0) * p.output * 0.000001, 'dollars', 'Tokens written.'
    union all
    select 5, 0, 'cost', null, null, r.cost, 'dollars', format('As the books have it, by price row %s of %s.%s', r.price_id, r.model, case when r.estimated then ' Tokens were counted by us: the provider''s report was lost.' end)
    union all
    select 6, 0, 'tokens', tokens, r.tokens_per_credit, units, 'credits', 'Each begun tokens_per_credit is one credit, at least 1.'
    union all
    select 7, 0, 'model', units, r.credit_multiplier, ceil(units * r.credit_multiplier), 'credits', 'Times the model''s multiplier, rounded up.'
    union all
    select 8, 0, 'custom prompt', ceil(units * r.credit_multiplier), r.prompt_multiplier, ceil(ceil(units * r.credit_multiplier) * r.prompt_multiplier), 'credits', 'Times the custom prompt''s factor, rounded up.'
    where r.prompt_multiplier <> 1
    union all
    select 9, 0, 'waived', null, null, -ceil(ceil(units * r.credit_multiplier) * r.prompt_multiplier), 'credits', 'Nothing was delivered: nothing is charged.'
    where r.status <> 'running' and r.credits = 0 and r.shortfall = 0 and r.refunded_at is null
    union all
    select 9, 0, 'shortfall', null, null, -r.shortfall, 'credits', 'Above its hold, and nothing free could pay it.'
    where r.shortfall > 0
    union all
    select 9, 0, 'shortfall', null, null, f.credits - ceil(ceil(units * r.credit_multiplier) * r.prompt_multiplier), 'credits', 'Above its hold, and nothing free could pay it: forgiven.'
    from (select coalesce(sum(k.value::bigint), 0) from jsonb_each_text(r.refunded_by_kind) k) f (credits)
    where r.refunded_at is not null and f.credits < ceil(ceil(units * r.credit_multiplier) * r.prompt_multiplier)
    union all
    select 10, t.id, t.type, null, null, case when t.credit = 'lot' then -t.amount else t.amount end, 'credits',
      concat_ws(' ', format('Transfer %s, %s lot %s.', t.id, l.kind, t.lot_id), t.description)
    from public.credit_transactions t
    left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
    where t.user_id = r.user_id and t.run_id = r.id
    union all
    select 11, 0, 'charged', null, null, r.credits, 'credits', concat(format('As the books have it; the run is %s', r.status), ', refunded at ' || r.refunded_at, '.')
  ) s (place, lot, what, quantity, rate, amount, unit, explanation)
  order by 1;
end
$$;

comment on function core.charge_steps(uuid, uuid) is
  'How a user''s run came to its cost and charge, one row a step: what ops.explain_charge shows. Errors: PR404 unknown run. Spec 1.3, 12.';
--! EndIncluded runs/charge_steps.sql
--! Included runs/api_explain_charge.sql
create or replace function api.explain_charge(user_id uuid, run_id uuid, as_admin boolean default false)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  whose uuid := explain_charge.user_id;
begin
  if as_admin then
    perform core.check_admin(explain_charge.user_id);
    select coalesce(min(u.id::text) filter (where u.id = explain_charge.user_id), min(u.id::text))::uuid into whose
    from public.users u
    join public.runs r on r.user_id = u.id and r.id = explain_charge.run_id;
  end if;
  return (
    select json_agg(s order by s.step)
    from core.charge_steps(whose, explain_charge.run_id) s
    where as_admin or s.unit = 'credits'
  );
end
$$;

comment on function api.explain_charge(uuid, uuid, boolean) is
  'How a run came to its charge: the rows of ops.explain_charge as a JSON array. A user sees those in credits of their own runs; what a run '
  'cost in dollars, and anybody''s run, an administrator who asks as one. Errors: PR403 as_admin by somebody else; PR404 unknown run, or '
  'another''s. Spec 1.3, 5.1, 12.';
--! EndIncluded runs/api_explain_charge.sql
--! Included analytics/read_cost_summary.sql
create or replace function api.read_cost_summary(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  clock timestamptz := core.now();
begin
  perform core.check_admin(read_cost_summary.user_id);
  return (
    select json_build_object(
      'total_monthly_revenue', core.dollars(m.subscription_revenue + m.pack_revenue),
      'total_monthly_cost', core.dollars(m.cost),
      'overall_margin', m.overall_margin_percent,
      'active_users', m.active_users,
      'throttled_users', m.throttled_users,
      'high_risk_users', m.high_risk_users,
      'subscription_revenue', core.dollars(m.subscription_revenue),
      'pack_revenue', core.dollars(m.pack_revenue),
      'earned_pack_revenue', core.dollars(m.earned_pack_revenue),
      'average_cost_per_user', core.dollars(m.cost / nullif(m.active_users, 0)),
      'total_users', m.users,
      'as_of', clock
    )
    from core.month_figures(clock) m
  );
end
$$;

comment on function api.read_cost_summary(uuid) is
  'What this calendar month (UTC) earns and costs, for an administrator: the figures of core.month_figures in US dollars, their sum '
  'total_monthly_revenue, overall_margin in percent (null without revenue), average_cost_per_user over active users (null without any), '
  'counts of people, and as_of. Exact at every moment. Errors: PR403. Spec 8.3.';
--! EndIncluded analytics/read_cost_summary.sql
--! Included analytics/list_user_costs.sql
create or replace function api.list_user_costs(
  user_id uuid, risk text default null, search text default null, sort text default 'cost', descending boolean default true,
  "limit" integer default 100, cursor text default null
)
returns table (users json, next_cursor text, total bigint, as_of timestamptz)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  levels constant text[] := array['safe', 'low_risk', 'medium_risk', 'high_risk'];
  sorts constant text[] := array['cost', 'lifetime_cost', 'requests', 'revenue', 'margin', 'percent_of_limit', 'last_request', 'created'];
  wanted text := lower(nullif(btrim(list_user_costs.search), ''));
  sign numeric := case when descending then -1 else 1 end;
  after text[];
begin
  perform core.check_admin(list_user_costs.user_id);
  perform core.check_page("limit", 0);
  if risk <> all (levels) then
    raise exception 'risk % is none of %', risk, array_to_string(levels, ', ')
      using errcode = 'PR400', detail = 'risk', hint = 'Leave risk out to see everybody.';
  end if;
  if coalesce(sort, '') <> all (sorts) then
    raise exception 'sort % is none of %', coalesce(sort, 'null'), array_to_string(sorts, ', ') using errcode = 'PR400', detail = 'sort';
  end if;
  after := core.decode_cursor(list_user_costs.cursor, 'text', 'boolean', 'numeric', 'uuid');
  if after is not null and (after[1], after[2]::boolean) is distinct from (sort, descending) then
    raise exception 'this cursor is of another order' using errcode = 'PR400', detail = 'cursor', hint = 'Send the same sort and order with each page.';
  end if;

  with hits as (
    select a.*, p.username, coalesce(sign * case sort
      when 'cost' then a.current_month_api_cost
      when 'lifetime_cost' then a.lifetime_api_cost
      when 'requests' then a.current_month_requests
      when 'revenue' then a.monthly_revenue
      when 'margin' then a.current_margin_percent
      when 'percent_of_limit' then a.percent_of_limit
      when 'last_request' then extract(epoch from a.last_request_at)
      else extract(epoch from a.user_created_at)
    end, 'infinity') as place
    from public.user_cost_analytics a
    join public.users p on p.id = a.user_id
    where (risk is null or a.risk_level = risk)
      and (wanted is null or strpos(lower(a.email), wanted) > 0 or strpos(lower(p.username), wanted) > 0 or a.user_id::text = wanted)
  ),
  page as (
    select h.*, row_number() over (order by h.place, h.user_id) as nth
    from hits h
    where after is null or (h.place, h.user_id) > (after[3]::numeric, after[4]::uuid)
    order by h.place, h.user_id
    limit "limit" + 1
  )
  select
    coalesce(json_agg(json_build_object(
      'user_id', g.user_id,
      'username', g.username,
      'email', g.email,
      'prpm_plus_status', g.prpm_plus_status,
      'current_month_api_cost', core.dollars(g.current_month_api_cost),
      'current_month_requests', g.current_month_requests,
      'avg_cost_per_request', core.dollars(g.avg_cost_per_request),
      'lifetime_api_cost', core.dollars(g.lifetime_api_cost),
      'total_requests', g.total_requests,
      'monthly_revenue', core.dollars(g.monthly_revenue),
      'current_margin_percent', g.current_margin_percent,
      'percent_of_limit', g.percent_of_limit,
      'is_throttled', g.is_throttled,
      'risk_level', g.risk_level,
      'last_request_at', g.last_request_at,
      'user_created_at', g.user_created_at
    ) order by g.nth) filter (where g.nth <= "limit"), '[]'),
    max(core.encode_cursor(sort, descending::text, g.place::text, g.user_id::text))
      filter (where g.nth = "limit" and exists (select from page x where x.nth > "limit")),
    (select count(*) from hits),
    (select a.created_at from public.user_cost_analytics a limit 1)
  into users, next_cursor, total, as_of
  from page g;
  return next;
end
$$;

comment on function api.list_user_costs(uuid, text, text, text, boolean, integer, text) is
  'One page of what users cost and pay this month, for an administrator: rows of public.user_cost_analytics (US dollars and percent) with the '
  'username, next_cursor (null on the last page), total and as_of, when they were refreshed. risk picks a risk_level; search a part of '
  'e-mail or username, or an id; sort is cost, lifetime_cost, requests, revenue, margin, percent_of_limit, last_request or created, largest '
  'first if descending; who has no such figure comes last. Errors: PR403; PR400 naming risk, sort, limit or cursor. Spec 8.1, 8.3, 10.7.';
--! EndIncluded analytics/list_user_costs.sql
--! Included analytics/describe_latest_runs.sql
create or replace function core.describe_latest_runs(user_id uuid)
returns json
language sql
stable
begin atomic
  select coalesce(json_agg(json_build_object(
    'run_id', r.id,
    'status', r.status,
    'model', r.model,
    'package_name', p.name,
    'package_version', r.package_version,
    'tier', r.tier_name,
    'tokens', coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0),
    'credits', r.credits,
    'shortfall', r.shortfall,
    'cost', core.dollars(r.cost),
    'value', core.dollars(r.included_value + r.purchased_value),
    'margin', core.dollars(r.included_value + r.purchased_value - r.cost),
    'margin_percent', round(100 * (1 - r.cost / nullif(r.included_value + r.purchased_value, 0)), 2),
    'error', r.error,
    'started_at', r.started_at,
    'finished_at', r.finished_at
  ) order by r.id desc), '[]')
  from (select x.* from public.runs x where x.user_id = describe_latest_runs.user_id order by x.id desc limit 20) r
  left join public.packages p on p.id = r.package_id;
end;

comment on function core.describe_latest_runs(uuid) is
  'A user''s newest 20 runs, newest first, as a JSON array: tokens (input and output), credits charged, cost, value (the cash that had been '
  'paid for those credits) and margin in US dollars, margin in percent of the value, null where nothing was paid for them. Spec 8.3, 8.4.';
--! EndIncluded analytics/describe_latest_runs.sql
--! Included analytics/read_user_costs.sql
create or replace function api.read_user_costs(user_id uuid, target_user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  clock timestamptz := core.now();
  u public.users;
  l public.cost_limits_config;
  tier text;
  revenue numeric;
begin
  perform core.check_admin(read_user_costs.user_id);
  select x.* into u from public.users x where x.id = core.find_user(read_user_costs.target_user_id::text);
  u := core.roll_windows(u, clock);
  tier := core.tier_now(u);
  select c.* into l from public.cost_limits_config c where c.tier_name = tier;
  select coalesce(sum(s.monthly_amount), 0) into revenue from core.paying_subscriptions(clock) s where s.user_id = u.id;

  return json_build_object(
    'user_id', u.id,
    'username', u.username,
    'email', u.email,
    'is_admin', u.is_admin,
    'user_created_at', u.created_at,
    'closed_at', u.closed_at,
    'last_request_at', u.last_request_at,
    'tier', tier,
    'tier_override', u.tier_override,
    'prpm_plus_status', u.prpm_plus_status,
    'entitled_until', u.entitled_until,
    'monthly_revenue', core.dollars(revenue),
    'current_month_cost', core.dollars(u.current_month_api_cost),
    'current_margin_percent', round(100 * (revenue - u.current_month_api_cost) / nullif(revenue, 0), 2),
    'cost_limit', core.dollars(l.monthly_cost_limit),
    'percent_used', round(100 * u.current_month_limited_cost / l.monthly_cost_limit, 2),
    'lifetime_cost', core.dollars(u.lifetime_api_cost),
    'total_requests', u.total_requests,
    'is_throttled', core.throttled_at(u, clock),
    'throttled_reason', u.throttled_reason,
    'throttled_by', case when u.is_throttled then coalesce(u.throttled_by, 'plain update') end,
    'throttled_at', u.throttled_at,
    'throttled_until', case when u.throttled_by is not null then u.throttled_until end,
    'limits_waived_until', u.limits_waived_until,
    'windows', core.describe_windows(u, l),
    'credits', api.read_credits(u.id),
    'lots', core.describe_lots(u.id),
    'runs', core.describe_latest_runs(u.id),
    'refusals', core.describe_refusals(u.id),
    'explanation', (select json_agg(e order by e.step) from ops.explain_throttle(u.id::text) e),
    'as_of', clock
  );
end
$$;

comment on function api.read_user_costs(uuid, uuid) is
  'One user''s figures as of now, for an administrator, as a JSON object: who they are, tier, revenue, cost and margin of the month (US '
  'dollars and percent), throttle, windows with use, hold and limit, credits as api.read_credits, the newest 50 lots, 20 runs and 20 '
  'refusals, and the rows of ops.explain_throttle. Errors: PR403; PR404 unknown user. Spec 8.3.';
--! EndIncluded analytics/read_user_costs.sql
--! Included analytics/check_series.sql
create or replace function core.check_series(every text, since date, upto date, by text)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if coalesce(every, '') not in ('day', 'week', 'month') then
    raise exception 'every must be day, week or month, not %', coalesce(every, 'null') using errcode = 'PR400', detail = 'every';
  end if;
  if by not in ('model', 'package', 'plan') then
    raise exception 'by must be model, package or plan, not %', by
      using errcode = 'PR400', detail = 'by', hint = 'Leave by out for one series of all.';
  end if;
  if since > upto then
    raise exception 'from % is after to %', since, upto using errcode = 'PR400', detail = 'from';
  end if;
  if since < date '2000-01-01' or upto > date '2999-12-31' then
    raise exception 'from and to must be of the years 2000 to 2999' using errcode = 'PR400', detail = 'from';
  end if;
  if upto - since >= (case every when 'day' then 366 when 'week' then 7 * 366 else 31 * 366 end) then
    raise exception 'from % to % is more than 366 times a %', since, upto, every
      using errcode = 'PR400', detail = 'from', hint = 'Ask for a shorter time, or by week or month.';
  end if;
end
$$;

comment on function core.check_series(text, date, date, text) is
  'Refuses a time series that is no good: an unknown period or grouping, a beginning after the end, more than about 366 periods. '
  'Errors: PR400 naming every, by or from. Spec 8.3.';
--! EndIncluded analytics/check_series.sql
--! Included analytics/read_cost_series.sql
create or replace function api.read_cost_series(
  user_id uuid, every text default 'day', first_day date default null, last_day date default null, by text default null
)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  most constant integer := 20;
  upto date := coalesce(last_day, (core.now() at time zone 'UTC')::date);
  since date := coalesce(first_day, (upto - case every when 'day' then interval '29 days' when 'week' then interval '11 weeks' else interval '11 months' end)::date);
  periods date[];
begin
  perform core.check_admin(read_cost_series.user_id);
  perform core.check_series(every, since, upto, by);
  periods := array(
    select p::date from generate_series(date_trunc(every, since::timestamp), upto::timestamp, ('1 ' || every)::interval) p
  );

  return (
    with usage as (
      select
        date_trunc(every, d.day::timestamp)::date as period,
        case by when 'model' then d.model when 'package' then d.package_id::text when 'plan' then d.tier_name end as key,
        d.*
      from core.usage_parts d
      where d.day between since and upto
    ),
    ranked as (
      select u.key, row_number() over (order by sum(u.cost) desc, u.key) as rank from usage u group by u.key
    ),
    lines as (
      select distinct case when k.rank <= most then k.key else 'others' end as key, least(k.rank, most + 1) as rank from ranked k
      union all
      select null, 1 where by is null and not exists (select from ranked)
    ),
    sums as (
      select
        case when k.rank <= most then u.key else 'others' end as key,
        u.period,
        count(distinct u.user_id) as users,
        sum(u.runs) as runs,
        sum(u.failed_runs) as failed_runs,
        sum(u.input_tokens + u.output_tokens) as tokens,
        sum(u.credits) as credits,
        sum(u.cost) as cost,
        sum(u.included_value + u.purchased_value) as value
      from usage u
      join ranked k on k.key is not distinct from u.key
      group by 1, 2
    )
    select json_build_object(
      'every', every,
      'from', since,
      'to', upto,
      'by', by,
      'series', coalesce(json_agg(json_build_object(
        'key', l.key,
        'name', coalesce(case when by = 'package' then (select p.name from public.packages p where p.id = core.uuid_or_null(l.key)) end, l.key, 'all'),
        'points', (
          select json_agg(json_build_object(
            'period', p.day,
            'users', coalesce(s.users, 0),
            'runs', coalesce(s.runs, 0),
            'failed_runs', coalesce(s.failed_runs, 0),
            'tokens', coalesce(s.tokens, 0),
            'credits', coalesce(s.credits, 0),
            'cost', core.dollars(coalesce(s.cost, 0)),
            'value', core.dollars(coalesce(s.value, 0)),
            'margin', core.dollars(coalesce(s.value - s.cost, 0)),
            'margin_percent', round(100 * (1 - s.cost / nullif(s.value, 0)), 2)
          ) order by p.day)
          from unnest(periods) p (day)
          left join sums s on s.period = p.day and s.key is not distinct from l.key
        )
      ) order by l.rank), '[]')
    )
    from lines l
  );
end
$$;

comment on function api.read_cost_series(uuid, text, date, date, text) is
  'What runs used, cost and brought over time, for an administrator, as a JSON object: series, each with a point for every day, ISO week or '
  'month (UTC, named by its first day) from first_day to last_day, both included. by is null for one series, else model, package or plan (the '
  'tier of the run): the 20 that cost most, and "others". A point has users, runs, tokens (input and output), credits, and in US dollars '
  'cost, value (the cash that had been paid for the credits spent) and margin, margin_percent null without value. '
  'Errors: PR403; PR400 naming every, by, from or to. Spec 8.2, 8.3, 8.4.';
--! EndIncluded analytics/read_cost_series.sql
--! Included analytics/list_costs_by.sql
create or replace function api.list_costs_by(user_id uuid, by text, first_day date default null, last_day date default null)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  upto date := coalesce(last_day, (core.now() at time zone 'UTC')::date);
  since date := coalesce(first_day, upto - 29);
begin
  perform core.check_admin(list_costs_by.user_id);
  perform core.check_series('month', since, upto, by);

  return (
    with sums as (
      select
        case by when 'model' then d.model when 'package' then d.package_id::text when 'plan' then d.tier_name end as key,
        count(distinct d.user_id) as users,
        sum(d.runs) as runs,
        sum(d.failed_runs) as failed_runs,
        sum(d.input_tokens) as input_tokens,
        sum(d.cached_tokens) as cached_tokens,
        sum(d.output_tokens) as output_tokens,
        sum(d.credits) as credits,
        sum(d.shortfall) as shortfall,
        sum(d.cost) as cost,
        sum(d.paid_cost) as paid_cost,
        sum(d.paid_credits) as paid_credits,
        sum(d.cache_saving) as cache_saving,
        sum(d.included_value + d.purchased_value) as value
      from core.usage_parts d
      where d.day between since and upto
      group by 1
      order by cost desc, key
      limit 100
    )
    select json_build_object('from', since, 'to', upto, 'rows', coalesce(json_agg(json_build_object(
      'key', s.key,
      'name', coalesce(p.name, s.key),
      'users', s.users,
      'runs', s.runs,
      'failed_runs', s.failed_runs,
      'input_tokens', s.input_tokens,
      'cached_tokens', s.cached_tokens,
      'output_tokens', s.output_tokens,
      'credits', s.credits,
      'shortfall', s.shortfall,
      'cost', core.dollars(s.cost),
      'average_cost_per_run', core.dollars(s.cost / nullif(s.runs, 0)),
      'value', core.dollars(s.value),
      'free_cost', core.dollars(s.cost - s.paid_cost),
      'paid_margin', core.dollars(s.value - s.paid_cost),
      'paid_margin_percent', round(100 * (1 - s.paid_cost / nullif(s.value, 0)), 2),
      'cost_per_credit', core.dollars(s.paid_cost / nullif(s.paid_credits, 0)),
      'value_per_credit', core.dollars(s.value / nullif(s.paid_credits, 0)),
      'cache_saving', core.dollars(s.cache_saving),
      'loses_money', s.paid_cost > s.value
    ) order by s.cost desc, s.key), '[]'))
    from sums s
    left join public.packages p on by = 'package' and p.id = core.uuid_or_null(s.key)
  );
end
$$;

comment on function api.list_costs_by(uuid, text, date, date) is
  'What runs used, cost and brought by model, package or plan (the tier of the run), for an administrator: the 100 that cost most from '
  'first_day to last_day (UTC, both included; the last 30 days where left out, as in ops.margin_by_model and ops.margin_by_package), as a '
  'JSON object. Tokens, credits, and in US dollars cost, free_cost (of it, what free use cost), value (the cash that had been paid for the '
  'credits spent) and paid_margin, the rest of the value after what paid use cost, in percent null without value; loses_money where paid use '
  'cost more than its value. Errors: PR403; PR400 naming by or from. Spec 8.3, 8.4.';
--! EndIncluded analytics/list_costs_by.sql
--! Included analytics/refresh_analytics.sql
create or replace function api.refresh_analytics(user_id uuid)
returns table (message text, as_of timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(refresh_analytics.user_id);
  message := public.refresh_user_cost_analytics();
  select a.created_at into as_of from public.user_cost_analytics a limit 1;
  return next;
end
$$;

comment on function api.refresh_analytics(uuid) is
  'Refreshes what analytics draw on, for an administrator. Returns what public.refresh_user_cost_analytics() says, also that one is '
  'running, and when the figures were refreshed last. Errors: PR403. Spec 7.4, 8.3.';
--! EndIncluded analytics/refresh_analytics.sql
--! Included alerts/list_alerts.sql
create or replace function api.list_alerts(user_id uuid, state text default 'open', "limit" integer default 50, cursor text default null)
returns table (alerts json, next_cursor text, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  after text[];
  page bigint[];
begin
  perform core.check_admin(list_alerts.user_id);
  perform core.check_page("limit", 0);
  if coalesce(state, '') not in ('open', 'resolved', 'all') then
    raise exception 'state must be open, resolved or all, not %', coalesce(state, 'null') using errcode = 'PR400', detail = 'state';
  end if;
  after := core.decode_cursor(list_alerts.cursor, 'bigint');

  page := array(
    select a.id
    from public.alerts a
    where (after is null or a.id < after[1]::bigint) and (state = 'all' or (a.resolved_at is null) = (state = 'open'))
    order by a.id desc
    limit "limit" + 1
  );
  if cardinality(page) > "limit" then
    page := page[:"limit"];
    next_cursor := core.encode_cursor(page["limit"]::text);
  end if;

  select coalesce(json_agg(json_build_object(
    'id', a.id,
    'severity', a.severity,
    'kind', a.kind,
    'about', a.key,
    'user_id', a.user_id,
    'what', a.subject,
    'what_to_do', a.body,
    'raised_at', a.raised_at,
    'resolved_at', a.resolved_at,
    'acknowledged_at', a.acknowledged_at,
    'acknowledged_by', a.acknowledged_by,
    'acknowledged_because', a.acknowledged_because
  ) order by a.id desc), '[]') into alerts
  from public.alerts a
  where a.id = any (page);
  select count(*) into total from public.alerts a where state = 'all' or (a.resolved_at is null) = (state = 'open');
  return next;
end
$$;

comment on function api.list_alerts(uuid, text, integer, text) is
  'One page of alerts, the one raised last first, for an administrator: a JSON array with what is wrong, what to do, since when, until when, and who is '
  'at it, next_cursor (null on the last page) and total. state is open, resolved or all. '
  'Errors: PR403; PR400 naming state, limit or cursor. Spec 8.3, 9.';
--! EndIncluded alerts/list_alerts.sql
--! Included alerts/api_acknowledge_alert.sql
create or replace function api.acknowledge_alert(user_id uuid, alert_id bigint, reason text)
returns table (acknowledged_at timestamptz, acknowledged_by text)
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(acknowledge_alert.user_id);
  perform core.note_action(
    'acknowledge_alert', acknowledge_alert.alert_id::text, acknowledge_alert.reason, json_build_object('by', acknowledge_alert.user_id)
  );
  return query
    select x.acknowledged_at, x.acknowledged_by
    from core.acknowledge_alert(acknowledge_alert.alert_id, acknowledge_alert.user_id::text, acknowledge_alert.reason, false) x;
end
$$;

comment on function api.acknowledge_alert(uuid, bigint, text) is
  'Says for an administrator that somebody is at an open alert, as ops.acknowledge_alert does for an operator; audit_log keeps the '
  'administrator''s id as "by". Errors: PR403; PR404 no such open alert; PR400 without a reason. Spec 8.3, 9.';
--! EndIncluded alerts/api_acknowledge_alert.sql
--! Included jobs/read_health.sql
create or replace function api.read_health(user_id uuid)
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(read_health.user_id);
  return query select c."check", c.detail, c.what_to_do from ops.checks() c;
end
$$;

comment on function api.read_health(uuid) is
  'The rows of ops.checks(), for an administrator: what is not as it should be, and what to do about it; none means healthy. '
  'Errors: PR403. Spec 8.3, 12.';
--! EndIncluded jobs/read_health.sql
--! Included jobs/list_jobs.sql
create or replace function api.list_jobs(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(list_jobs.user_id);
  return (
    select coalesce(json_agg(json_build_object(
      'job', j.job,
      'description', j.description,
      'every_seconds', extract(epoch from j.every),
      'last_slot', j.last_slot,
      'last_started_at', j.last_started_at,
      'last_finished_at', j.last_finished_at,
      'last_rows', j.last_rows,
      'last_error', j.last_error,
      'next_due_at', j.next_due_at,
      'late_seconds', j.late_seconds,
      'is_late', j.is_late,
      'has_failed', j.has_failed
    )), '[]')
    from ops.jobs j
  );
end
$$;

comment on function api.list_jobs(uuid) is
  'The rows of ops.jobs, latest first, for an administrator, as a JSON array; every_seconds and late_seconds in seconds. '
  'Errors: PR403. Spec 7.2, 8.3.';
--! EndIncluded jobs/list_jobs.sql

--! split: 21-sessions.sql
-- Room sessions: found by their words, renamed, deleted, shared, voted on.
insert into public.jobs (job, every, after, description, call)
values ('index-sessions', '5 minutes', '0', 'Brings the index of sessions up to date: ops.index_sessions()', 'index_sessions')
on conflict do nothing;

--! Included accounts/visitor_of.sql
create or replace function core.visitor_of(user_id uuid, address text)
returns text
language sql
stable
set search_path = ''
begin atomic
  select encode(core.hash_identity(case
    when user_id is not null then 'user/' || user_id
    when family(x.ip) = 6 then 'visitor/' || network(set_masklen(x.ip, 64))
    else 'visitor/' || host(x.ip)
  end), 'hex')
  from (select coalesce(address, '0.0.0.0')::inet) x (ip);
end;

comment on function core.visitor_of(uuid, text) is
  'Tells visitors apart without keeping who they are: a keyed hash of the user, or, without a sign-in, of the address (of IPv6 its first 64 '
  'bits). Spec 5.9, 10.2.';
--! EndIncluded accounts/visitor_of.sql
--! Included sessions/parse_search.sql
create or replace function core.parse_search(
  query text, out words tsquery, out model text, out package text, out least_credits bigint, out most_credits bigint
)
language plpgsql
immutable
set search_path = ''
as $$
declare
  word text;
  rest text := '';
  cost text[];
begin
  for word in select w from regexp_split_to_table(btrim(coalesce(parse_search.query, '')), '\s+') w loop
    case
      when word ~* '^model:.' then model := lower(substr(word, 7));
      when word ~* '^package:.' then package := lower(substr(word, 9));
      when word ~* '^cost:' then
        cost := regexp_match(word, '^cost:(>=|<=|>|<|=)?(\d{1,9})$', 'i');
        if cost is null then
          raise exception 'query: % is not cost:>n, cost:<n or cost:n', word
            using errcode = 'PR400', detail = 'query', hint = 'n is a whole number of credits, as in cost:>10.';
        end if;
        if coalesce(cost[1], '=') in ('>', '>=', '=') then
          least_credits := cost[2]::bigint + (coalesce(cost[1], '=') = '>')::integer;
        end if;
        if coalesce(cost[1], '=') in ('<', '<=', '=') then
          most_credits := cost[2]::bigint - (coalesce(cost[1], '=') = '<')::integer;
        end if;
      else rest := rest || ' ' || word;
    end case;
  end loop;

  -- Words are kept without their places: what stands in quotes has to be there, in any order.
  words := regexp_replace(websearch_to_tsquery('pg_catalog.simple', rest)::text, '<(-|\d+)>', '&', 'g')::tsquery;
  if numnode(words) = 0 then
    words := null;
  end if;
end
$$;

comment on function core.parse_search(text) is
  'Takes a search for sessions apart: model:alias, package:name, cost:>n (also <, >=, <=, or n alone; credits), and the other words, as a web '
  'search has them ("or", -word). What is not there is null. Errors: PR400 naming query where cost has no number. Spec 10.1.';
--! EndIncluded sessions/parse_search.sql
--! Included sessions/session_runs.sql
create or replace function core.session_runs(user_id uuid, session_id uuid)
returns setof public.runs
language sql
stable
rows 3
set search_path = ''
begin atomic
  select r.* from public.runs r where r.user_id = session_runs.user_id and r.id = session_runs.session_id
  union all
  select r.*
  from public.runs r
  where r.user_id = session_runs.user_id and r.session_id = session_runs.session_id and r.session_id <> r.id;
end;

comment on function core.session_runs(uuid, uuid) is
  'The runs of a session: its first, whose id it has, and those that followed. Reads those alone, whatever else the user has run. Spec 10.1.';
--! EndIncluded sessions/session_runs.sql
--! Included sessions/describe_sessions.sql
create or replace function core.describe_sessions(user_id uuid, session_ids uuid[])
returns table (
  id uuid, title text, package_id uuid, package_name text, package_version text, model text, last_status text,
  run_count bigint, credits_spent bigint, total_tokens bigint, total_duration_ms bigint, created_at timestamptz, last_run_at timestamptz
)
language sql
stable
set search_path = ''
begin atomic
  select
    s.id,
    coalesce(s.title, (
      select left(t.question, 120)
      from public.run_texts t
      where t.user_id = s.user_id and t.session_id = s.id
      order by t.run_id
      limit 1
    )),
    s.package_id,
    p.name,
    newest.package_version,
    newest.model,
    newest.status,
    totals.run_count,
    coalesce(totals.credits, 0),
    coalesce(totals.tokens, 0),
    coalesce(totals.duration_ms, 0),
    s.created_at,
    s.last_run_at
  from public.sessions s
  left join public.packages p on p.id = s.package_id
  left join public.runs newest on newest.user_id = s.user_id and newest.id = s.last_run_id
  cross join lateral (
    select
      count(*) as run_count,
      sum(r.credits)::bigint as credits,
      sum(coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0))::bigint as tokens,
      sum(coalesce(r.duration_ms, 0))::bigint as duration_ms
    from core.session_runs(s.user_id, s.id) r
  ) totals
  where s.user_id = describe_sessions.user_id and s.id = any (describe_sessions.session_ids) and s.deleted_at is null
  order by s.last_run_id desc, s.id desc;
end;

comment on function core.describe_sessions(uuid, uuid[]) is
  'Headers of a user''s sessions, newest first, without texts: title (or the first 120 characters of the first question), package, '
  'version, model and status of the newest run, and sums over all its runs: runs, credits, tokens (input and output), milliseconds. '
  'Reads the sessions'' own runs, whether or not their texts are still kept. Spec 10.1.';
--! EndIncluded sessions/describe_sessions.sql
--! Included sessions/minute_before.sql
create or replace function core.minute_before(run_id uuid)
returns uuid
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select rpad(lpad(to_hex(greatest(0, ('x' || left(replace(run_id::text, '-', ''), 12))::bit(48)::bigint - 60000)), 12, '0'), 32, '0')::uuid;
end;

comment on function core.minute_before(uuid) is
  'The least time-ordered id of the millisecond a minute before an id was made: servers whose clocks differ by less make no run below it.';
--! EndIncluded sessions/minute_before.sql
--! Included sessions/session_facts.sql
create or replace function core.session_facts(session public.sessions, out models text[], out credits bigint, out words tsvector)
language sql
stable
set search_path = ''
begin atomic
  select
    (select array_agg(distinct r.model) from core.session_runs(session.user_id, session.id) r),
    (select coalesce(sum(r.credits), 0)::bigint from core.session_runs(session.user_id, session.id) r),
    strip(to_tsvector('pg_catalog.simple', left(coalesce(session.title, '') || coalesce((
      select string_agg(' ' || t.question || ' ' || t.answer, '' order by t.run_id)
      from public.run_texts t
      where t.user_id = session.user_id and t.session_id = session.id
    ), ''), 250000)));
end;

comment on function core.session_facts(public.sessions) is
  'What a session is found by: the models and credits of its runs, and the words of its title, questions and answers (the first 250,000 characters). Spec 10.1.';
--! EndIncluded sessions/session_facts.sql
--! Included sessions/index_sessions.sql
create or replace function core.index_sessions(user_id uuid, most integer)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  mark uuid;
  u record;
  scanned record;
  made integer;
begin
  select x.last_run_id, x.open_runs into u from public.users x where x.id = index_sessions.user_id;
  select m.through_run_id into mark from public.session_marks m where m.user_id = index_sessions.user_id;
  if u.last_run_id is null or u.last_run_id = mark then
    return 0;
  end if;
  insert into public.session_marks (user_id, through_run_id, session_count)
  values (index_sessions.user_id, '00000000-0000-0000-0000-000000000000', 0)
  on conflict do nothing;
  select m.through_run_id into mark from public.session_marks m where m.user_id = index_sessions.user_id for update;
  select x.last_run_id, x.open_runs into u from public.users x where x.id = index_sessions.user_id;

  select count(*) as runs, array_agg(distinct n.session_id) as session_ids, max(n.id::text)::uuid as newest into scanned
  from (
    select r.id, r.session_id
    from public.runs r
    where r.user_id = index_sessions.user_id and r.id > core.minute_before(mark)
    order by r.id
    limit index_sessions.most
  ) n;

  select count(*) into made
  from public.sessions s
  where s.user_id = index_sessions.user_id and s.id = any (scanned.session_ids) and s.deleted_at is null
    and not exists (select from public.session_index x where x.user_id = s.user_id and x.session_id = s.id);
  insert into public.session_index as x (user_id, session_id, last_run_id, package_id, models, credits, words)
  select s.user_id, s.id, s.last_run_id, s.package_id, f.models, f.credits, f.words
  from public.sessions s
  cross join lateral core.session_facts(s) f
  where s.user_id = index_sessions.user_id and s.id = any (scanned.session_ids) and s.deleted_at is null
  on conflict on constraint session_index_pkey do update
  set last_run_id = excluded.last_run_id, models = excluded.models, credits = excluded.credits, words = excluded.words;

  -- What is running has no text yet: it is looked at again.
  update public.session_marks m
  set
    session_count = m.session_count + made,
    through_run_id = least(scanned.newest, (select core.minute_before(min(o::text)::uuid) from unnest(u.open_runs) o))
  where m.user_id = index_sessions.user_id;
  return scanned.runs;
end
$$;

comment on function core.index_sessions(uuid, integer) is
  'Brings the index of a user''s sessions up to date with their runs, at most so many at a time; returns how many runs it looked at: fewer than '
  'asked for means that all is done. Costs by what is new. Waits for another that does the same for this user. Spec 10.1.';
--! EndIncluded sessions/index_sessions.sql
--! Included sessions/ops_index_sessions.sql
create or replace function ops.index_sessions()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  candidate uuid;
  looked_at bigint := 0;
begin
  for candidate in
    select u.id
    from public.users u
    left join public.session_marks m on m.user_id = u.id
    where u.last_run_id is not null and u.last_run_id is distinct from m.through_run_id
    order by u.id
    limit (select s.job_batch from public.settings s)
  loop
    looked_at := looked_at + core.index_sessions(candidate, 1000);
  end loop;
  return looked_at;
end
$$;

comment on function ops.index_sessions() is
  'Brings the index that sessions are listed and searched by up to date, for some people at a time; for the others it heals when they look. '
  'Returns how many runs it looked at. Call: select ops.index_sessions(); Spec 10.1.';
--! EndIncluded sessions/ops_index_sessions.sql
--! Included sessions/find_sessions.sql
create or replace function core.find_sessions(user_id uuid, query text, after_run_id uuid, skip integer, most integer)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
declare
  -- So many of the newest are looked through before the index of words is asked: a word that is common is found there.
  newest constant integer := 500;
  search record;
  package_ids uuid[];
  found_ids uuid[];
begin
  if btrim(coalesce(query, '')) = '' then
    return array(
      select x.session_id from public.session_index x
      where x.user_id = find_sessions.user_id and (find_sessions.after_run_id is null or x.last_run_id < find_sessions.after_run_id)
      order by x.last_run_id desc offset skip limit most
    );
  end if;
  search := core.parse_search(query);
  if search.package is not null then
    package_ids := array(
      select p.id from public.packages p
      where p.name = search.package or right(p.name, length(search.package) + 1) = '/' || search.package or p.id::text = search.package
    );
  end if;

  found_ids := array(
    select y.session_id
    from (
      select x.* from public.session_index x
      where x.user_id = find_sessions.user_id and (find_sessions.after_run_id is null or x.last_run_id < find_sessions.after_run_id)
      order by x.last_run_id desc limit newest
    ) y
    where (search.words is null or y.words @@ search.words)
      and (search.model is null or search.model = any (y.models))
      and (package_ids is null or y.package_id = any (package_ids))
      and (search.least_credits is null or y.credits >= search.least_credits)
      and (search.most_credits is null or y.credits <= search.most_credits)
    order by y.last_run_id desc offset skip limit most
  );
  if cardinality(found_ids) = most then
    return found_ids;
  end if;
  return array(
    select x.session_id
    from public.session_index x
    where x.user_id = find_sessions.user_id and (find_sessions.after_run_id is null or x.last_run_id < find_sessions.after_run_id)
      and (search.words is null or x.words @@ search.words)
      and (search.model is null or x.models @> array[search.model])
      and (package_ids is null or x.package_id = any (package_ids))
      and (search.least_credits is null or x.credits >= search.least_credits)
      and (search.most_credits is null or x.credits <= search.most_credits)
    order by x.last_run_id desc offset skip limit most
  );
end
$$;

comment on function core.find_sessions(uuid, text, uuid, integer, integer) is
  'Ids of a user''s sessions that a search finds (see core.parse_search; null or blank: all), newest run first, those whose newest run is '
  'before one, so many passed over, so many at most. As of the last core.index_sessions. Errors: PR400 naming query. Spec 10.1.';
--! EndIncluded sessions/find_sessions.sql
drop function if exists api.list_sessions(uuid, integer, text, integer);
--! Included sessions/list_sessions.sql
create or replace function api.list_sessions(
  user_id uuid, "limit" integer default 20, cursor text default null, "offset" integer default 0, query text default null
)
returns table (sessions json, next_cursor text, total bigint)
language plpgsql
security definer
set search_path = ''
as $$
declare
  after text[] := core.decode_cursor(list_sessions.cursor, 'uuid');
  page uuid[];
begin
  perform core.check_page("limit", "offset");
  while core.index_sessions(list_sessions.user_id, 1000) = 1000 loop
    null;
  end loop;

  page := core.find_sessions(list_sessions.user_id, list_sessions.query, after[1]::uuid, "offset", "limit" + 1);
  if cardinality(page) > "limit" then
    page := page[:"limit"];
    select core.encode_cursor(x.last_run_id::text) into next_cursor
    from public.session_index x
    where x.user_id = list_sessions.user_id and x.session_id = page["limit"];
  end if;

  select coalesce(json_agg(d), '[]') into sessions from core.describe_sessions(list_sessions.user_id, page) d;
  if btrim(coalesce(list_sessions.query, '')) = '' then
    total := coalesce((select m.session_count from public.session_marks m where m.user_id = list_sessions.user_id), 0);
  end if;
  return next;
end
$$;

comment on function api.list_sessions(uuid, integer, text, integer, text) is
  'One page of a user''s own sessions, newest run first, all or those that a search finds (see core.parse_search). One row: sessions (JSON array '
  'of the columns of core.describe_sessions; no texts but a title), next_cursor (null on the last page) and total (all of the user''s '
  'sessions; null for a search). limit 1 to 100; cursor is the next_cursor of the page before; offset skips rows after it. '
  'Errors: PR400 naming limit, offset, cursor or query. Spec 10.1, 10.7.';
--! EndIncluded sessions/list_sessions.sql
drop function if exists api.read_session(uuid, uuid);
--! Included sessions/read_session.sql
create or replace function api.read_session(user_id uuid, session_id uuid)
returns table (
  id uuid, title text, package_id uuid, package_name text, package_version text, model text, last_status text,
  run_count bigint, credits_spent bigint, total_tokens bigint, total_duration_ms bigint, created_at timestamptz, last_run_at timestamptz,
  is_mine boolean, share_token text, exchanges json
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  owner uuid := read_session.user_id;
  share public.shared_sessions;
begin
  is_mine := exists (
    select from public.sessions s where s.user_id = read_session.user_id and s.id = read_session.session_id and s.deleted_at is null
  );
  select s.* into share from public.shared_sessions s where s.session_id = read_session.session_id and s.ended_at is null;
  if not is_mine then
    if share.token is null or not exists (
      select from public.packages p
      where p.id = share.package_id
        and core.may_see_package(read_session.user_id, p.visibility, p.author_id, p.organization_id)
    ) then
      return;
    end if;
    owner := share.user_id;
  end if;
  return query
  select
    d.id, d.title, d.package_id, d.package_name, d.package_version, d.model, d.last_status,
    d.run_count, d.credits_spent, d.total_tokens, d.total_duration_ms, d.created_at, d.last_run_at, read_session.is_mine, share.token,
    coalesce((
      select json_agg(json_build_object(
        'run_id', case when read_session.is_mine then r.id end,
        'status', r.status,
        'question', t.question,
        'answer', t.answer,
        'model', r.model,
        'provider_model', r.provider_model,
        'package_version', r.package_version,
        'baseline', r.baseline,
        'credits_spent', r.credits,
        'tokens_used', coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0),
        'estimated', r.estimated,
        'duration_ms', r.duration_ms,
        'error', r.error,
        'is_effective', case when read_session.is_mine then f.is_effective end,
        'started_at', r.started_at,
        'finished_at', r.finished_at
      ) order by t.run_id)
      from public.run_texts t
      join public.runs r on r.user_id = t.user_id and r.id = t.run_id
      left join public.exchange_feedback f on f.user_id = t.user_id and f.run_id = t.run_id
      where t.user_id = owner and t.session_id = read_session.session_id
        and (read_session.is_mine or t.run_id <= share.through_run_id)
    ), '[]')
  from core.describe_sessions(owner, array[read_session.session_id]) d;
end
$$;

comment on function api.read_session(uuid, uuid) is
  'A user''s own session, or one that is shared as far as it is: its header as in api.list_sessions, share_token while it is shared, and '
  'exchanges, a JSON array in the order of the conversation with question, answer, status, model, credits, tokens and times of each run whose '
  'text is kept. No row for a session that is unknown, deleted or another user''s and not shared. Spec 10.1.';
--! EndIncluded sessions/read_session.sql
--! Included sessions/rename_session.sql
create or replace function api.rename_session(user_id uuid, session_id uuid, title text)
returns table (renamed_title text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  wanted text := nullif(btrim(rename_session.title), '');
begin
  if length(wanted) > 200 then
    raise exception 'title has % characters, at most 200 are allowed', length(wanted) using errcode = 'PR400', detail = 'title';
  end if;
  return query
  update public.sessions s set title = wanted
  where s.user_id = rename_session.user_id and s.id = rename_session.session_id and s.deleted_at is null
  returning s.title;
  update public.session_index x set words = f.words
  from public.sessions s cross join lateral core.session_facts(s) f
  where s.user_id = rename_session.user_id and s.id = rename_session.session_id
    and x.user_id = rename_session.user_id and x.session_id = rename_session.session_id;
end
$$;

comment on function api.rename_session(uuid, uuid, text) is
  'Names a user''s own session, 1 to 200 characters; null or blank: by its first question again. No row where there is no such session of '
  'theirs. Errors: PR400 naming title. Spec 10.1.';
--! EndIncluded sessions/rename_session.sql
--! Included sessions/end_share.sql
create or replace function core.end_share(user_id uuid, session_id uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update public.shared_sessions s set ended_at = core.now()
  where s.user_id = end_share.user_id and s.session_id = end_share.session_id and s.ended_at is null;
  return found;
end
$$;

comment on function core.end_share(uuid, uuid) is
  'Ends the link of a shared session at once, whoever has it. Returns whether there was one. Spec 10.2.';
--! EndIncluded sessions/end_share.sql
--! Included sessions/delete_session.sql
create or replace function api.delete_session(user_id uuid, session_id uuid)
returns table (id uuid, deleted_at timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  session public.sessions;
begin
  perform from public.users u where u.id = delete_session.user_id for no key update;
  select s.* into session
  from public.sessions s
  where s.user_id = delete_session.user_id and s.id = delete_session.session_id and s.deleted_at is null;
  if not found then
    return;
  end if;
  if exists (select from public.users u where u.id = session.user_id and session.last_run_id = any (u.open_runs)) then
    raise exception 'a run of this session is still going on' using errcode = 'PR409', detail = 'session_id',
      hint = 'Stop it, or wait for its end, then delete.';
  end if;

  perform core.end_share(session.user_id, session.id);
  delete from public.run_texts t where t.user_id = session.user_id and t.session_id = session.id;
  delete from public.session_index x where x.user_id = session.user_id and x.session_id = session.id;
  if found then
    update public.session_marks m set session_count = m.session_count - 1 where m.user_id = session.user_id;
  end if;
  return query
  update public.sessions s set deleted_at = core.now(), title = null
  where s.user_id = session.user_id and s.id = session.id
  returning s.id, s.deleted_at;
end
$$;

comment on function api.delete_session(uuid, uuid) is
  'Deletes a user''s own session: its texts, title and shared link are gone; runs and what they cost stay in the books. No row where there is '
  'no such session of theirs. Errors: PR409 while a run of it is going on. Spec 10.1.';
--! EndIncluded sessions/delete_session.sql
--! Included sessions/share_session.sql
create or replace function api.share_session(user_id uuid, session_id uuid)
returns table (share_token text, shared_at timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  session public.sessions;
  newest uuid;
begin
  perform from public.users u where u.id = share_session.user_id for no key update;
  select s.* into session
  from public.sessions s
  where s.user_id = share_session.user_id and s.id = share_session.session_id and s.deleted_at is null;
  if not found then
    return;
  end if;
  select t.run_id into newest
  from public.run_texts t
  join public.runs r on r.user_id = t.user_id and r.id = t.run_id and r.status <> 'running'
  where t.user_id = session.user_id and t.session_id = session.id and t.answer <> ''
  order by t.run_id desc
  limit 1;
  if newest is null then
    raise exception 'there is no answer in this session to share' using errcode = 'PR409', detail = 'session_id';
  end if;

  update public.shared_sessions x set through_run_id = newest
  where x.user_id = session.user_id and x.session_id = session.id and x.ended_at is null
  returning x.token, x.shared_at into share_token, shared_at;
  if not found then
    insert into public.shared_sessions (token, user_id, session_id, package_id, through_run_id, shared_at)
    values (replace(gen_random_uuid()::text, '-', ''), session.user_id, session.id, session.package_id, newest, now)
    returning token, shared_sessions.shared_at into share_token, shared_at;
  end if;
  return next;
end
$$;

comment on function api.share_session(uuid, uuid) is
  'Shares a user''s own session as far as it has come: the same link as long as it is shared, which then shows what was said until now. Answers '
  'its token. No row where there is no such session of theirs. Errors: PR409 where nothing was answered yet. Spec 10.2.';
--! EndIncluded sessions/share_session.sql
--! Included sessions/unshare_session.sql
create or replace function api.unshare_session(user_id uuid, session_id uuid)
returns table (ended boolean)
language sql
security definer
set search_path = ''
begin atomic
  select core.end_share(unshare_session.user_id, unshare_session.session_id);
end;

comment on function api.unshare_session(uuid, uuid) is
  'Ends the link of a user''s own shared session at once; sharing it again makes a new one. false where it was not shared. Spec 10.2.';
--! EndIncluded sessions/unshare_session.sql
--! Included sessions/shared_exchanges.sql
create or replace function core.shared_exchanges(share public.shared_sessions)
returns json
language sql
stable
set search_path = ''
begin atomic
  select coalesce(json_agg(json_build_object(
    'question', t.question,
    'answer', t.answer,
    'model', r.model,
    'package_version', r.package_version,
    'baseline', r.baseline,
    'credits_spent', r.credits,
    'input_tokens', r.input_tokens,
    'output_tokens', r.output_tokens,
    'tokens_used', coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0),
    'started_at', r.started_at,
    'finished_at', r.finished_at
  ) order by t.run_id), '[]')
  from public.run_texts t
  join public.runs r on r.user_id = t.user_id and r.id = t.run_id
  where t.user_id = share.user_id and t.session_id = share.session_id and t.run_id <= share.through_run_id and t.answer <> '';
end;

comment on function core.shared_exchanges(public.shared_sessions) is
  'What a shared link shows of its session: questions, answers, models, tokens and credits up to the moment of sharing; neither ids nor '
  'anything of its owner. JSON array in the order of the conversation. Spec 10.2.';
--! EndIncluded sessions/shared_exchanges.sql
--! Included sessions/read_shared.sql
create or replace function api.read_shared(user_id uuid, share_token text, address text)
returns table (
  title text, package_name text, package_version text, model text, view_count bigint, helpful_count bigint, not_helpful_count bigint,
  my_vote boolean, is_mine boolean, shared_at timestamptz, exchanges json
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  seen_by text := core.visitor_of(read_shared.user_id, read_shared.address);
  share public.shared_sessions;
begin
  select s.* into share from public.shared_sessions s where s.token = read_shared.share_token and s.ended_at is null;
  if not found then
    return;
  end if;
  is_mine := coalesce(share.user_id = read_shared.user_id, false);
  if not is_mine then
    insert into public.share_views as v (token, visitor, viewed_at) values (share.token, seen_by, core.now())
    on conflict do nothing;
    if found then
      update public.shared_sessions s set view_count = s.view_count + 1 where s.token = share.token;
    end if;
  end if;
  return query
  select
    coalesce(x.title, ''), p.name, r.package_version, r.model, s.view_count, s.helpful_count, s.not_helpful_count,
    (select v.is_helpful from public.share_views v where v.token = s.token and v.visitor = seen_by),
    read_shared.is_mine, s.shared_at, core.shared_exchanges(s)
  from public.shared_sessions s
  join public.sessions x on x.user_id = s.user_id and x.id = s.session_id
  join public.packages p on p.id = s.package_id
  join public.runs r on r.user_id = s.user_id and r.id = s.through_run_id
  where s.token = share.token and (p.visibility <> 'private' or core.may_see_package(read_shared.user_id, p.visibility, p.author_id, p.organization_id));
end
$$;

comment on function api.read_shared(uuid, text, text) is
  'What a shared link shows, to anybody: user_id is null without a sign-in; address: the visitor''s, kept as a keyed hash alone. A view is counted '
  'once a visitor, never the owner''s. No row for a link that never was or has ended, or whose package is private and not theirs to see. '
  'Nothing of the owner is in it. Spec 10.2.';
--! EndIncluded sessions/read_shared.sql
--! Included sessions/vote_shared.sql
create or replace function api.vote_shared(user_id uuid, share_token text, address text, is_helpful boolean, feedback_text text)
returns table (helpful_count bigint, not_helpful_count bigint)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  seen_by text := core.visitor_of(vote_shared.user_id, vote_shared.address);
  share public.shared_sessions;
  was boolean;
begin
  if vote_shared.is_helpful is null then
    raise exception 'is_helpful is missing' using errcode = 'PR400', detail = 'is_helpful';
  elsif length(vote_shared.feedback_text) > 1000 then
    raise exception 'feedback_text has % characters, at most 1,000 are allowed', length(vote_shared.feedback_text)
      using errcode = 'PR400', detail = 'feedback_text';
  end if;
  select s.* into share from public.shared_sessions s where s.token = vote_shared.share_token and s.ended_at is null for update;
  if not found then
    return;
  elsif share.user_id = vote_shared.user_id then
    raise exception 'this result is your own' using errcode = 'PR403', hint = 'Others say whether it helped them.';
  end if;

  insert into public.share_views as v (token, visitor, viewed_at) values (share.token, seen_by, core.now())
  on conflict do nothing;
  if found then
    share.view_count := share.view_count + 1;
  end if;
  select v.is_helpful into was from public.share_views v where v.token = share.token and v.visitor = seen_by;
  update public.share_views v set is_helpful = vote_shared.is_helpful, feedback_text = nullif(btrim(vote_shared.feedback_text), '')
  where v.token = share.token and v.visitor = seen_by;
  return query
  update public.shared_sessions s set
    view_count = share.view_count,
    helpful_count = s.helpful_count + vote_shared.is_helpful::integer - coalesce(was, false)::integer,
    not_helpful_count = s.not_helpful_count + (not vote_shared.is_helpful)::integer - coalesce(not was, false)::integer
  where s.token = share.token
  returning s.helpful_count, s.not_helpful_count;
end
$$;

comment on function api.vote_shared(uuid, text, text, boolean, text) is
  'Whether a shared result helped a visitor, one vote each, which they can change; feedback_text at most 1,000 characters. Answers the counts. '
  'No row for a link that never was or has ended. Errors: PR403 for the owner, PR400 naming is_helpful or feedback_text. Spec 10.2.';
--! EndIncluded sessions/vote_shared.sql
--! Included sessions/list_results.sql
create or replace function api.list_results(user_id uuid, package text, sort text, "limit" integer)
returns table (results json, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  wanted uuid := (select p.id from core.find_package(list_results.user_id, list_results.package) p);
begin
  perform core.check_page("limit", 0);
  if sort is null or sort not in ('popular', 'recent', 'helpful', 'featured') then
    raise exception 'sort is not popular, recent, helpful or featured' using errcode = 'PR400', detail = 'sort';
  end if;
  if wanted is null then
    return;
  end if;
  select coalesce(json_agg(json_build_object(
    'share_token', x.token,
    'package_name', p.name,
    'package_version', r.package_version,
    'model', r.model,
    'view_count', x.view_count,
    'helpful_count', x.helpful_count,
    'not_helpful_count', x.not_helpful_count,
    'helpfulness_ratio', round(x.helpful_count::numeric / nullif(x.helpful_count + x.not_helpful_count, 0), 4),
    'user_input', t.question,
    'assistant_response', t.answer,
    'credits_spent', r.credits,
    'total_tokens', coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0),
    'is_featured', x.featured_at is not null,
    'feature_description', x.feature_description,
    'feature_display_order', x.feature_display_order,
    'featured_at', x.featured_at,
    'shared_at', x.shared_at,
    'created_at', r.started_at
  ) order by x.place), '[]') into results
  from (
    select s.*, row_number() over (order by
      case when list_results.sort = 'featured' then s.feature_display_order end,
      case list_results.sort
        when 'popular' then s.view_count
        when 'helpful' then s.helpful_count - s.not_helpful_count
      end desc nulls last,
      case when list_results.sort = 'featured' then s.featured_at else s.shared_at end desc,
      s.token
    ) as place
    from public.shared_sessions s
    where s.package_id = wanted and s.ended_at is null and (list_results.sort <> 'featured' or s.featured_at is not null)
    order by place
    limit "limit"
  ) x
  join public.packages p on p.id = x.package_id
  join public.runs r on r.user_id = x.user_id and r.id = x.through_run_id
  left join public.run_texts t on t.user_id = x.user_id and t.session_id = x.session_id and t.run_id = x.through_run_id;
  select count(*) into total
  from public.shared_sessions s
  where s.package_id = wanted and s.ended_at is null and (list_results.sort <> 'featured' or s.featured_at is not null);
  return next;
end
$$;

comment on function api.list_results(uuid, text, text, integer) is
  'Shared results of a package (id or name): popular (views), recent, helpful (votes), or featured (in the order that its authors gave). One row: '
  'results (JSON array; nothing of their owners) and total. No row for a package that the user (null: nobody signed in) may not see. '
  'limit 1 to 100. Errors: PR400 naming sort or limit. Spec 10.2.';
--! EndIncluded sessions/list_results.sql
--! Included sessions/feature_result.sql
create or replace function api.feature_result(
  user_id uuid, result text, is_featured boolean, feature_description text, feature_display_order integer
)
returns table (share_token text, featured_at timestamptz, description text, display_order integer)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  share public.shared_sessions;
begin
  if num_nonnulls(feature_result.is_featured, feature_result.feature_description, feature_result.feature_display_order) = 0 then
    raise exception 'nothing is asked for' using errcode = 'PR400', detail = 'is_featured',
      hint = 'Say is_featured, feature_description or feature_display_order.';
  elsif length(feature_result.feature_description) > 500 then
    raise exception 'feature_description has % characters, at most 500 are allowed', length(feature_result.feature_description)
      using errcode = 'PR400', detail = 'feature_description';
  elsif feature_result.feature_display_order not between 0 and 1000000 then
    raise exception 'feature_display_order is not between 0 and 1,000,000' using errcode = 'PR400', detail = 'feature_display_order';
  end if;
  select s.* into share
  from public.shared_sessions s
  join public.packages p on p.id = s.package_id
  where s.ended_at is null and (s.token = feature_result.result or s.session_id = core.uuid_or_null(feature_result.result))
    and core.may_see_package(feature_result.user_id, p.visibility, p.author_id, p.organization_id);
  if not found then
    return;
  elsif not exists (
    select from public.packages p
    where p.id = share.package_id and core.may_publish(feature_result.user_id, p.author_id, p.organization_id)
  ) then
    raise exception 'only authors and maintainers of the package can feature its results' using errcode = 'PR403';
  end if;
  return query
  update public.shared_sessions s set
    featured_at = case
      when coalesce(feature_result.is_featured, s.featured_at is not null) then coalesce(s.featured_at, core.now())
    end,
    feature_description = coalesce(feature_result.feature_description, s.feature_description),
    feature_display_order = coalesce(feature_result.feature_display_order, s.feature_display_order)
  where s.token = share.token
  returning s.token, s.featured_at, s.feature_description, s.feature_display_order;
end
$$;

comment on function api.feature_result(uuid, text, boolean, text, integer) is
  'Features a shared result of a package, or no longer: by its authors and maintainers, by its link''s token or its session''s id; what is '
  'null stays. No row for what is not shared. Errors: PR403 for others, PR400 naming the field, or where nothing is asked for. Spec 10.2.';
--! EndIncluded sessions/feature_result.sql
--! Included sessions/give_feedback.sql
create or replace function api.give_feedback(
  user_id uuid, session_id uuid, exchange_index integer, is_effective boolean, comment text
)
returns table (run_id uuid, created_at timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  exchange uuid;
begin
  if give_feedback.is_effective is null then
    raise exception 'is_effective is missing' using errcode = 'PR400', detail = 'is_effective';
  elsif give_feedback.exchange_index is null or give_feedback.exchange_index not between 0 and 100000 then
    raise exception 'exchange_index is not between 0 and 100,000' using errcode = 'PR400', detail = 'exchange_index';
  elsif length(give_feedback.comment) > 1000 then
    raise exception 'comment has % characters, at most 1,000 are allowed', length(give_feedback.comment)
      using errcode = 'PR400', detail = 'comment';
  end if;
  select t.run_id into exchange
  from public.run_texts t
  join public.sessions s on s.user_id = t.user_id and s.id = t.session_id and s.deleted_at is null
  where t.user_id = give_feedback.user_id and t.session_id = give_feedback.session_id
  order by t.run_id
  offset give_feedback.exchange_index
  limit 1;
  if not found then
    return;
  end if;
  insert into public.exchange_feedback (user_id, run_id, is_effective, comment, created_at)
  values (give_feedback.user_id, exchange, give_feedback.is_effective, nullif(btrim(give_feedback.comment), ''), core.now())
  on conflict do nothing;
  if not found then
    raise exception 'feedback on this exchange was given already' using errcode = 'PR409', detail = 'exchange_index';
  end if;
  run_id := exchange;
  created_at := core.now();
  return next;
end
$$;

comment on function api.give_feedback(uuid, uuid, integer, boolean, text) is
  'Whether an answer in a user''s own session was of use, once for each exchange, counted from 0; comment at most 1,000 characters. No row '
  'where there is no such exchange of theirs. Errors: PR409 where it was given already, PR400 naming the field. Spec 10.3.';
--! EndIncluded sessions/give_feedback.sql
--! Included sessions/drop_old_texts.sql
create or replace function core.drop_old_texts(user_id uuid, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  dropped bigint;
begin
  update public.session_index x set words = strip(to_tsvector('pg_catalog.simple', coalesce(s.title, '')))
  from core.old_texts o
  join public.sessions s on s.user_id = o.user_id and s.id = o.session_id
  where o.user_id = drop_old_texts.user_id and o.goes_at <= drop_old_texts.now
    and x.user_id = o.user_id and x.session_id = o.session_id;
  delete from public.run_texts t
  using core.old_texts o
  where o.user_id = drop_old_texts.user_id and o.goes_at <= drop_old_texts.now
    and t.user_id = o.user_id and t.session_id = o.session_id;
  get diagnostics dropped = row_count;
  return dropped;
end
$$;

comment on function core.drop_old_texts(uuid, timestamptz) is
  'Drops the texts of a user''s sessions whose time is over, and what is found by them; runs, sums and given names stay. Returns how many. The caller holds the user''s row, so that no '
  'run begins in one meanwhile. Spec 7.1.';
--! EndIncluded sessions/drop_old_texts.sql
