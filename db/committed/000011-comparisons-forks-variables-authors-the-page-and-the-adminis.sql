--! Previous: sha1:609dbe88cbb28d21cc76e8e3e80bfda0b7a08d47
--! Hash: sha1:daba0ccfbc581adad33bf2400da8f02e17b7ad6b
--! Message: comparisons, forks, variables, authors, the page and the administrator's

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.
--! Included analytics/replay_runs.sql
create or replace function core.replay_runs(
  users uuid[], since timestamptz, until timestamptz, model_prices jsonb, multipliers jsonb, limits jsonb, tokens_per_credit integer, max_request_tokens integer,
  out cost numeric, out credits numeric, out refused bigint, out shortened bigint, out throttled bigint
)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_variable
declare
  r record;
  enough numeric := coalesce(core.cheapest_useful_cost(core.now()), 0);
  least_output integer := (select s.min_output_tokens from public.settings s);
  recharged boolean := replay_runs.multipliers is not null or replay_runs.tokens_per_credit is not null;
  day_was numeric;
  day_now numeric;
  month_was numeric;
  month_now numeric;
  hour_was integer;
  hour_now integer;
  gained bigint;
  fits_was numeric;
  fits numeric;
  used_up uuid;
  less_cost numeric;
  less_credits bigint;
  less_limited numeric;
begin
  cost := 0; credits := 0; refused := 0; shortened := 0; throttled := 0;
  for r in
    select
      x.*, x.started_at >= replay_runs.since as asked, b.balance, h.useful, h.input_dollars_was, h.input_dollars,
      case when x.counts then h.input_dollars + greatest(h.useful, x.output) * x.output_price * 0.000001 end as needs,
      lag(x.user_id) over who is distinct from x.user_id as is_first,
      lag(x.month) over who is distinct from x.month as begins_month,
      lag(x.day) over who is distinct from x.day as begins_day,
      lag(x.hour) over who is distinct from x.hour as begins_hour,
      lead(x.day) over who is distinct from x.day as ends_day
    from (
      select
        y.*, (y.started_at at time zone 'UTC')::date as day, date_trunc('month', y.started_at at time zone 'UTC') as month,
        date_trunc('hour', y.started_at at time zone 'UTC') as hour
      from core.runs_under(
        date_trunc('month', replay_runs.since at time zone 'UTC') at time zone 'UTC', replay_runs.until,
        replay_runs.model_prices, replay_runs.multipliers, replay_runs.limits, replay_runs.tokens_per_credit
      ) y
      where y.user_id = any (replay_runs.users)
    ) x
    cross join lateral (
      select
        least(least_output, x.output_cap) as useful,
        x.hold_cost - x.output_cap * x.output_price_was * 0.000001 as input_dollars_was,
        (x.hold_cost - x.output_cap * x.output_price_was * 0.000001) * greatest(x.input_price, x.write_price) / nullif(x.held_price, 0) as input_dollars
    ) h
    left join (
      select t.run_id, max(t.balance_after + t.amount) as balance
      from public.credit_transactions t
      where recharged and t.type = 'spend' and t.user_id = any (replay_runs.users)
      group by t.run_id
    ) b on b.run_id = x.id
    window who as (partition by x.user_id order by x.started_at, x.id)
    order by x.user_id, x.started_at, x.id
  loop
    if r.begins_hour then
      hour_was := 0; hour_now := 0;
      if r.begins_day then
        day_was := 0; day_now := 0;
        if r.begins_month then
          month_was := 0; month_now := 0;
        end if;
      end if;
      if r.is_first then -- whose month, day and hour begin too
        gained := 0;
      end if;
    end if;

    if r.needs > least(r.day_limit - day_now, r.month_limit - month_now)
      or r.hour_limit <= hour_now
      or r.estimated_input + greatest(r.useful, r.output) > replay_runs.max_request_tokens
      or recharged and r.balance + gained < r.credits
    then
      -- How many tokens the answer may have: what the windows leave, what the request may have, what the credits pay for.
      fits := coalesce(replay_runs.max_request_tokens - r.estimated_input, 'Infinity'::numeric);
      fits_was := 'Infinity';
      if r.counts then
        fits := least(fits, (least(r.day_limit - day_now, r.month_limit - month_now) - r.input_dollars) * 1000000 / nullif(r.output_price, 0));
        fits_was := (least(r.day_limit_was - day_was, r.month_limit_was - month_was) - r.input_dollars_was) * 1000000 / nullif(r.output_price_was, 0);
        fits_was := coalesce(fits_was, 'Infinity');
      end if;
      if recharged and r.balance is not null then
        fits := least(fits, core.affordable_tokens(r.balance + gained, r.tokens_per_credit, r.multiplier, r.prompt_multiplier) - r.input);
      end if;

      -- Where it would not have fitted by this reckoning then, it was let in all the same, and is now.
      less_cost := 0; less_credits := 0; less_limited := 0;
      if r.hour_limit <= hour_now and not coalesce(r.hour_limit_was <= hour_was, false) or fits < r.useful and fits_was >= r.useful then
        less_cost := r.cost; less_credits := r.credits; less_limited := r.limited;
        hour_now := hour_now - 1;
        if r.asked then
          refused := refused + 1;
        end if;
      elsif fits < r.output and fits_was >= r.output then
        less_cost := r.cost - core.cost_of(
          r.input, r.cached, r.cache_write, floor(fits)::integer, r.input_price, r.cached_price, r.write_price, r.output_price
        );
        less_limited := coalesce(round(r.limited * less_cost / nullif(r.cost, 0), 12), 0);
        if r.credits > 0 then
          less_credits := r.credits - core.charge_for(r.input::bigint + floor(fits)::integer, r.tokens_per_credit, r.multiplier, r.prompt_multiplier);
        end if;
        if r.asked then
          shortened := shortened + 1;
        end if;
      end if;
      day_now := day_now - less_limited; month_now := month_now - less_limited; gained := gained + less_credits;
      if r.asked then
        cost := cost + less_cost; credits := credits + less_credits;
      end if;
    end if;

    day_was := day_was + r.limited_was; day_now := day_now + r.limited;
    month_was := month_was + r.limited_was; month_now := month_now + r.limited;
    hour_was := hour_was + 1; hour_now := hour_now + 1;
    if recharged then
      gained := gained + r.credits_was - r.credits;
    end if;
    if r.ends_day and r.asked and used_up is distinct from r.user_id
      and least(r.day_limit - day_now, r.month_limit - month_now) < enough
    then
      used_up := r.user_id; throttled := throttled + 1;
    end if;
  end loop;
end
$$;

comment on function core.replay_runs(uuid[], timestamptz, timestamptz, jsonb, jsonb, jsonb, integer, integer) is
  'Replays the runs of some people, each in its order, against the limits that ops.simulate is to have: what a window, the hour, the size or the '
  'credits then there do not bear is refused or shortened as api.begin_run would, runs one after the other. Answers how many of those that began from '
  'since on were refused and shortened, what these cost (US dollars) and charge less, and how many people used up a cost window. Spec 3.2, 8.6.';
--! EndIncluded analytics/replay_runs.sql

--! split: 2-audit.sql
-- The audit as a job goes from users to users, in batches that rest, and holds no snapshot for long.
drop function if exists ops.check_books();
drop function if exists core.audit_transfers(uuid);
drop function if exists core.audit_lots(uuid);
drop function if exists core.audit_purchases(uuid);
drop function if exists core.audit_periods(uuid);
drop function if exists core.audit_runs(uuid);
drop function if exists core.audit_users(uuid);
drop function if exists core.audit_references(uuid);
drop function if exists core.audit_usage(uuid);
--! Included credits/audit_transfers.sql
create or replace function core.audit_transfers(first_user uuid, last_user uuid)
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
      where t.user_id between first_user and last_user
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
  where t.user_id between first_user and last_user and not coalesce(case t.type
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
    where t.user_id between first_user and last_user
    group by t.user_id
  ) f on f.user_id = u.id
  cross join lateral (values
    ('transaction_count', coalesce(f.transfers, 0)::numeric, u.transaction_count::numeric),
    ('balance', coalesce(f.balance, 0), u.included_credits::numeric + u.purchased_credits),
    ('rollover', coalesce(f.rolled_out, 0), coalesce(f.rolled_in, 0))
  ) problem (check_name, expected, actual)
  where u.id between first_user and last_user and problem.expected <> problem.actual;
end
$$;

comment on function core.audit_transfers(uuid, uuid) is
  'Part of ops.audit_books: the chain of each user''s transfers (numbers, balances, accounts) and the figures that follow from it. '
  'Of users between two ids, both included. Spec 4.2.';
--! EndIncluded credits/audit_transfers.sql
--! Included credits/audit_lots.sql
create or replace function core.audit_lots(first_user uuid, last_user uuid)
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
    where t.user_id between first_user and last_user
    group by t.user_id, t.lot_id
  ) f on f.user_id = l.user_id and f.lot_id = l.id
  cross join lateral (values
    ('lot_remaining', coalesce(f.remaining, 0), l.remaining),
    ('lot_granted', coalesce(f.granted, 0), l.granted)
  ) problem (check_name, expected, actual)
  where l.user_id between first_user and last_user and problem.expected <> problem.actual;

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
      where t.run_id is not null and t.user_id between first_user and last_user
    ) s
    join public.runs r on r.user_id = s.user_id and r.id = s.run_id
    where s.id > s.given_back and r.credits + r.shortfall > 0
    group by s.user_id, s.lot_id
  ) f on f.user_id = l.user_id and f.lot_id = l.id
  where l.user_id between first_user and last_user and coalesce(f.cost, 0) <> l.cost;

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
    where l.remaining > 0 and l.user_id between first_user and last_user
    group by l.user_id
  ) f on f.user_id = u.id
  cross join lateral (values
    ('included_credits', coalesce(f.included, 0)::text, u.included_credits::text),
    ('purchased_credits', coalesce(f.purchased, 0)::text, u.purchased_credits::text),
    ('spend_lot', f.first_lot::text, u.spend_lot::text),
    ('next_lot_expiry', case when f.is_owed then '-infinity' else coalesce(f.next_expiry, 'infinity')::text end, u.next_lot_expiry::text)
  ) problem (check_name, expected, actual)
  where u.id between first_user and last_user and problem.expected is distinct from problem.actual;
end
$$;

comment on function core.audit_lots(uuid, uuid) is
  'Part of ops.audit_books: what each lot was granted, has left and has paid for by its transfers, and what users'' rows say of their lots. '
  'Of users between two ids, both included. Spec 4.1, 4.2.';
--! EndIncluded credits/audit_lots.sql
--! Included credits/audit_purchases.sql
create or replace function core.audit_purchases(first_user uuid, last_user uuid)
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
    where t.purchase_id is not null and t.user_id between first_user and last_user
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
  where p.user_id between first_user and last_user and problem.expected is distinct from problem.actual;
end
$$;

comment on function core.audit_purchases(uuid, uuid) is
  'Part of ops.audit_books: of each purchase what was granted, and that credits taken back and shortfall are together '
  'floor(credits × (refunded + disputed) / paid). Of users between two ids, both included. Spec 4.6.';
--! EndIncluded credits/audit_purchases.sql
--! Included credits/audit_periods.sql
create or replace function core.audit_periods(first_user uuid, last_user uuid)
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
  where p.user_id between first_user and last_user and problem.expected is distinct from problem.actual;

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
    where pay.kind <> 'unknown' and pay.needs_review is null and pay.user_id between first_user and last_user
  ) x
  where x.expected <> x.actual;
end
$$;

comment on function core.audit_periods(uuid, uuid) is
  'Part of ops.audit_books: of each paid period what was granted, that credits taken back and shortfall are together floor(credits × '
  '(refunded + disputed) / paid), and of each payment that those are its refunds and disputes that stand. Of users between two ids, both included. Spec 4.3, 4.6.';
--! EndIncluded credits/audit_periods.sql
--! Included runs/audit_runs.sql
create or replace function core.audit_runs(first_user uuid, last_user uuid)
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
    where t.run_id is not null and t.user_id between first_user and last_user
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
    where r.user_id between first_user and last_user
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

comment on function core.audit_runs(uuid, uuid) is
  'Part of ops.audit_books: each run''s cost by its tokens and price row, its charge by spec 1.1 and 1.7, what its transfers paid, by kind, '
  'the cash that had been paid for it, and the part of its cost that counts against limits; of a refunded run that nothing is left of its '
  'charge. Of users between two ids, both included. Spec 1.3, 3.3.';
--! EndIncluded runs/audit_runs.sql
--! Included runs/audit_users.sql
create or replace function core.audit_users(first_user uuid, last_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '64MB'
as $$
#variable_conflict use_column
begin
  -- Windows and lifetime, recomputed from runs over the windows whose ends the row names.
  return query
  select u.id, problem.check_name, 'user', trim_scale(problem.expected)::text, trim_scale(problem.actual)::text
  from (
    select
      w.id,
      count(r.id) as runs,
      coalesce(sum(r.cost), 0) as cost,
      coalesce(sum(r.cost) filter (where r.started_at >= w.month_start and r.started_at < w.month_ends_at), 0) as month_cost,
      coalesce(sum(r.limited_cost) filter (where r.started_at >= w.month_start and r.started_at < w.month_ends_at), 0) as month_limited,
      count(r.id) filter (where r.started_at >= w.month_start and r.started_at < w.month_ends_at) as month_runs,
      coalesce(sum(r.cost) filter (where r.started_at >= w.day_start and r.started_at < w.day_ends_at), 0) as day_cost,
      coalesce(sum(r.limited_cost) filter (where r.started_at >= w.day_start and r.started_at < w.day_ends_at), 0) as day_limited,
      count(r.id) filter (where r.started_at >= w.hour_start and r.started_at < w.hour_ends_at and not (r.status = 'released' and r.error is not null))
        as hour_runs,
      max(r.started_at) as last_request_at
    from (
      select
        x.id, x.month_ends_at, x.day_ends_at, x.hour_ends_at,
        (x.month_ends_at at time zone 'UTC' - interval '1 month') at time zone 'UTC' as month_start,
        x.day_ends_at - interval '24 hours' as day_start,
        x.hour_ends_at - interval '1 hour' as hour_start
      from public.users x
      where x.id between first_user and last_user
    ) w
    left join public.runs r on r.user_id = w.id
    group by w.id
  ) f
  join public.users u on u.id = f.id
  cross join lateral (values
    ('lifetime_api_cost', f.cost, u.lifetime_api_cost),
    ('total_requests', f.runs, u.total_requests),
    ('current_month_api_cost', f.month_cost, u.current_month_api_cost),
    ('current_month_limited_cost', f.month_limited, u.current_month_limited_cost),
    ('current_month_requests', f.month_runs, u.current_month_requests),
    ('current_day_api_cost', f.day_cost, u.current_day_api_cost),
    ('current_day_limited_cost', f.day_limited, u.current_day_limited_cost),
    ('hour_requests', f.hour_runs, u.hour_requests),
    ('last_request_at', coalesce(extract(epoch from f.last_request_at), 0), coalesce(extract(epoch from u.last_request_at), 0))
  ) problem (check_name, expected, actual)
  where problem.expected <> problem.actual;

  -- What running runs hold.
  return query
  select u.id, problem.check_name, 'user', problem.expected, problem.actual
  from public.users u
  left join (
    select
      x.id,
      sum(r.hold_included) as held_included,
      sum(r.hold_purchased) as held_purchased,
      coalesce(sum(r.hold_cost) filter (where r.hold_included > 0 and r.started_at < x.month_ends_at
        and r.started_at >= (x.month_ends_at at time zone 'UTC' - interval '1 month') at time zone 'UTC'), 0) as month_held,
      coalesce(sum(r.hold_cost) filter (where r.hold_included > 0 and r.started_at < x.day_ends_at
        and r.started_at >= x.day_ends_at - interval '24 hours'), 0) as day_held,
      array_agg(r.id order by r.id) as open_runs,
      min(r.hold_expires_at) as first_expiry
    from public.runs r
    join public.users x on x.id = r.user_id
    where r.status = 'running' and r.user_id between first_user and last_user
    group by x.id
  ) f on f.id = u.id
  cross join lateral (values
    ('held_included', coalesce(f.held_included, 0)::text, u.held_included::text, coalesce(f.held_included, 0) = u.held_included),
    ('held_purchased', coalesce(f.held_purchased, 0)::text, u.held_purchased::text, coalesce(f.held_purchased, 0) = u.held_purchased),
    ('month_held_cost', trim_scale(coalesce(f.month_held, 0))::text, trim_scale(u.month_held_cost)::text, coalesce(f.month_held, 0) = u.month_held_cost),
    ('day_held_cost', trim_scale(coalesce(f.day_held, 0))::text, trim_scale(u.day_held_cost)::text, coalesce(f.day_held, 0) = u.day_held_cost),
    ('open_runs', coalesce(f.open_runs, '{}')::text, u.open_runs::text,
      coalesce(f.open_runs, '{}') = array(select o.id from unnest(u.open_runs) o (id) order by o.id)),
    ('holds_expire_at', 'at most ' || coalesce(f.first_expiry, 'infinity'), u.holds_expire_at::text, case
      when f.id is null then u.holds_expire_at = 'infinity'
      else u.holds_expire_at <= f.first_expiry
    end)
  ) problem (check_name, expected, actual, agrees)
  where u.id between first_user and last_user
    and (f.id is not null or u.held_included <> 0 or u.held_purchased <> 0 or u.month_held_cost <> 0 or u.day_held_cost <> 0
      or u.open_runs <> '{}' or u.holds_expire_at <> 'infinity')
    and problem.agrees is not true;

  -- The newest run, by which begin_run knows that an id is new.
  return query
  select u.id, 'last_run_id', 'user', newest.id::text, u.last_run_id::text
  from public.users u
  left join lateral (select r.id from public.runs r where r.user_id = u.id order by r.id desc limit 1) newest on true
  where u.id between first_user and last_user and newest.id is distinct from u.last_run_id;

  -- No more held than there is.
  return query
  select u.id, 'holds_are_covered', 'user', format('at most %s included, %s purchased', u.included_credits, u.purchased_credits),
    format('%s included, %s purchased', u.held_included, u.held_purchased)
  from public.users u
  where u.id between first_user and last_user
    and (u.held_included not between 0 and u.included_credits or u.held_purchased not between 0 and u.purchased_credits);
end
$$;

comment on function core.audit_users(uuid, uuid) is
  'Part of ops.audit_books: each user''s window, lifetime and hold figures recomputed from runs. Of users between two ids, both included. Spec 3.2, 3.3, 4.2.';
--! EndIncluded runs/audit_users.sql
--! Included analytics/audit_package_usage.sql
create or replace function core.audit_package_usage()
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language sql
stable
set search_path = ''
set enable_seqscan = on
begin atomic
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
end;

comment on function core.audit_package_usage() is
  'Part of ops.audit_books: what packages'' answers count, against the rollups of all users. Spec 8.2.';
--! EndIncluded analytics/audit_package_usage.sql
--! Included runs/audit_range.sql
create or replace function core.audit_range(first_user uuid, last_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
as $$
begin
  return query select * from core.audit_transfers(first_user, last_user);
  return query select * from core.audit_lots(first_user, last_user);
  return query select * from core.audit_purchases(first_user, last_user);
  return query select * from core.audit_periods(first_user, last_user);
  return query select * from core.audit_runs(first_user, last_user);
  return query select * from core.audit_users(first_user, last_user);
  return query select * from core.audit_references(first_user, last_user);
  return query select * from core.audit_usage(first_user, last_user);
end
$$;

comment on function core.audit_range(uuid, uuid) is
  'What ops.audit_books() says of users between two ids, both included, as of one moment; of them alone is anything read. Spec 4.8.';
--! EndIncluded runs/audit_range.sql
--! Included runs/audit_books.sql
create or replace function ops.audit_books("user" text default null)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  only_user uuid;
begin
  if "user" is not null then
    only_user := core.find_user("user");
    return query select * from core.audit_range(only_user, only_user);
    return;
  end if;
  return query select * from core.audit_range('00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  return query select * from core.audit_package_usage();
  return query select * from core.audit_anonymous();
end
$$;

comment on function ops.audit_books(text) is
  'Every disagreement between transfers, lots, purchases, paid periods, runs, prices, windows, holds, rollups of usage and visitors'' runs: which user, which check, of which object, what it '
  'should be and what it is. No row: the books balance. Recomputes all from transfers, runs and the price book; "user" (id, e-mail or '
  'username) looks at one. Call: select * from ops.audit_books(); Errors: PR404 unknown user. Spec 4.8.';
--! EndIncluded runs/audit_books.sql
--! Included jobs/audit_batch.sql
create or replace function core.audit_batch(after uuid, most integer, out last uuid, out error text)
language plpgsql
stable
set search_path = ''
as $$
declare
  found_rows bigint;
  first_rows text;
begin
  last := (select u.id from public.users u where u.id > after order by u.id offset most - 1 limit 1);

  with found as materialized (
    select r.* from core.audit_range(after, coalesce(last, 'ffffffff-ffff-ffff-ffff-ffffffffffff')) r
    union all
    select p.* from core.audit_package_usage() p where last is null
    union all
    select a.* from core.audit_anonymous() a where last is null
  )
  select
    (select count(*) from found),
    (select string_agg(format('%s of %s, user %s: should be %s, is %s', f.check_name, f.object, f.user_id, f.expected, f.actual), '; ')
      from (select * from found limit 3) f)
  into found_rows, first_rows;
  if found_rows > 0 then
    error := format('%s disagreements in the books: %s', found_rows, first_rows);
  end if;
end
$$;

comment on function core.audit_batch(uuid, integer, out uuid, out text) is
  'Audits so many users after an id, and what was of users before them but of nobody; after the last ones what is of no user. Returns the last user that it looked at (null: '
  'that was all), and where the books disagree how often and the first three. Spec 4.8, 7.1.';
--! EndIncluded jobs/audit_batch.sql
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
      when j.job = 'audit-books' then
        select x.last, x.error into last, error
        from core.audit_batch(coalesce(do_batch.cursor, '00000000-0000-0000-0000-000000000000'), (select 4 * s.job_batch from public.settings s)) x;
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
  'Does one batch of a job: of a sweep, users after cursor, at most settings.job_batch and about 50 ms; of the audit four times as many users; '
  'of any other job all. Returns the rows '
  'touched (null: it does not count), the last user that it looked at (null: all is done), and what went wrong. Spec 7.1.';
--! EndIncluded jobs/do_batch.sql
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
      -- A job of many batches takes a sixth of one processor at the most.
      perform pg_catalog.pg_sleep(least(5, 5 * extract(epoch from pg_catalog.clock_timestamp() - began)));
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
update public.jobs set call = null where job = 'audit-books' and call is not null;

--! split: 3-time.sql
-- Texts of runs that have not ended stay until they have.

-- The summary of any month.
drop function if exists api.read_cost_summary(uuid);
--! Included analytics/read_cost_summary.sql
create or replace function api.read_cost_summary(user_id uuid, month text default null)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  clock timestamptz := core.now();
  at timestamptz := clock;
begin
  perform core.check_admin(read_cost_summary.user_id);
  if month is not null then
    if month !~ '^20[0-9]{2}-(0[1-9]|1[0-2])$' or (month || '-01')::timestamp at time zone 'UTC' > clock then
      raise exception 'month % is none, or has not begun', month using errcode = 'PR400', detail = 'month', hint = 'Write 2026-01; months are UTC.';
    end if;
    at := least(clock, (month || '-28')::timestamp at time zone 'UTC');
  end if;
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
    from core.month_figures(at) m
  );
end
$$;

comment on function api.read_cost_summary(uuid, text) is
  'What this calendar month (UTC), or another one (2026-01), earns and costs, for an administrator: the figures of core.month_figures in US dollars, their sum '
  'total_monthly_revenue, overall_margin in percent (null without revenue), average_cost_per_user over active users (null without any), '
  'counts of people, and as_of. Exact at every moment. Of a month that is over throttled_users is null. '
  'Errors: PR403; PR400 for a month that is none or has not begun. Spec 8.3.';
--! EndIncluded analytics/read_cost_summary.sql

--! split: 4-talks.sql
-- Sessions that are found, forked, kept short and compared.

-- How full a conversation is, and how it goes on when it is.
alter table public.runs add column if not exists request_limit integer;
alter table public.runs add column if not exists history_tokens integer;
alter table public.runs add column if not exists dropped_exchanges integer;
alter table public.runs add column if not exists summarises boolean;
comment on column public.runs.request_limit is 'Tokens that the whole request could have: settings.max_request_tokens, or the model''s context (spec 1.5).';
comment on column public.runs.history_tokens is 'Tokens of the conversation that it brought, by usage and estimate; null in a session''s first run.';
comment on column public.runs.dropped_exchanges is 'How many of the oldest exchanges it left out; null where nobody asked to (spec 10.1).';
comment on column public.runs.summarises is 'Whether it sums the conversation up, which then goes on from its answer; null: no (spec 10.1).';
alter table public.sessions add column if not exists summary_run_id uuid;
comment on column public.sessions.summary_run_id is 'The run whose answer stands for all that was said before it; null: none (spec 10.1).';
alter table public.settings add column if not exists summary_output_tokens integer not null default 1024 check (summary_output_tokens between 1 and 1000000);
comment on column public.settings.summary_output_tokens is 'Tokens: the longest summary of a conversation (spec 10.1).';
grant update (summary_output_tokens) on public.settings to prpm_ops;
do $$
begin
  if not exists (
    select from pg_attribute a where a.attrelid = 'core.receipt'::regclass and a.attname = 'history_tokens' and not a.attisdropped
  ) then
    alter type core.receipt add attribute history_tokens integer, add attribute request_limit integer, add attribute dropped_exchanges integer;
    alter type core.begun_run add attribute history_tokens integer, add attribute dropped_exchanges integer;
  end if;
end
$$;
comment on type core.receipt is
  'What a run used (tokens by kind), cost (US dollars, exact) and was charged (credits, by kind), and what is left: credits, and of each '
  'window the limit (null: none), what is used of it and its end. Requests an hour, US dollars a day and a month. history_tokens is what the '
  'session''s next run brings, of request_limit tokens that a whole request can have; dropped_exchanges: left out of this run. Spec 5.1, 10.1.';
comment on type core.begun_run is
  'outcome: started (with the exact provider request, the hold in credits, and what is free then), known (begun_run_id, run_status) or refused '
  '(refusal: code, status, figures, when to try again). Tokens: estimated_input, held_input, wanted_output, output_cap, history_tokens. '
  'dropped_exchanges: left out of the history. rate_*: what is left of the minute''s attempts, rate_reset in seconds; null limit: none. '
  'Spec 1.5, 3.2, 3.6, 5.1.';
drop function if exists api.begin_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, bytea);
drop function if exists api.estimate_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer);
drop function if exists core.continue_session(uuid, uuid, uuid, text, timestamptz);
drop function if exists core.refuse_by_size(
  public.users, public.cost_limits_config, public.settings, public.models, numeric, numeric, numeric, integer, integer, integer, integer, boolean, timestamptz
);

-- Copies of shared sessions in an account of one's own.
alter table public.sessions add column if not exists forked_token text;
alter table public.sessions add column if not exists forked_through uuid;
comment on column public.sessions.forked_token is 'Token of the shared link that it is a copy of; null: none (spec 10.1).';
comment on column public.sessions.forked_through is 'The newest run of the original that was copied, another person''s.';
create index if not exists sessions_forked on public.sessions (user_id, forked_token) where forked_token is not null;
create table if not exists public.copied_exchanges (
  user_id uuid not null,
  session_id uuid not null,
  run_id uuid not null,
  model text not null,
  provider_model text not null,
  package_version text not null,
  baseline boolean not null,
  is_summary boolean not null,
  question_tokens integer not null,
  output_tokens integer not null,
  started_at timestamptz not null,
  finished_at timestamptz,
  primary key (user_id, session_id, run_id)
);
comment on table public.copied_exchanges is
  'per-user. What is known of the exchanges that a fork copied, whose texts are in run_texts; they are no runs of this user (spec 10.1).';
comment on column public.copied_exchanges.user_id is 'Whose copy.';
comment on column public.copied_exchanges.session_id is 'The fork.';
comment on column public.copied_exchanges.run_id is 'Its place in the conversation: core.copied_id.';
comment on column public.copied_exchanges.model is 'Alias of the model that answered.';
comment on column public.copied_exchanges.provider_model is 'The provider''s name of that model.';
comment on column public.copied_exchanges.package_version is 'Version of the package that was asked.';
comment on column public.copied_exchanges.baseline is 'Whether it ran without the package''s prompt.';
comment on column public.copied_exchanges.is_summary is 'Whether it sums up what was said before.';
comment on column public.copied_exchanges.question_tokens is 'Tokens of the question.';
comment on column public.copied_exchanges.output_tokens is 'Tokens of the answer.';
comment on column public.copied_exchanges.started_at is 'When the original began.';
comment on column public.copied_exchanges.finished_at is 'When the original ended.';

-- Comparisons.
drop function if exists core.refuse_count(public.users, public.cost_limits_config, integer, timestamptz);
drop function if exists core.plan_sides(public.users, public.cost_limits_config, public.settings, core.begun_run[], integer, timestamptz);
drop function if exists core.sides_needs(public.settings, core.begun_run[], integer, timestamptz);
create table if not exists public.comparisons (
  user_id uuid not null,
  id uuid not null,
  run_ids uuid[] not null,
  session_ids uuid[] not null,
  created_at timestamptz not null,
  primary key (user_id, id)
);
comment on table public.comparisons is 'per-user. Runs of one question side by side (spec 5.8).';
comment on column public.comparisons.user_id is 'Whose.';
comment on column public.comparisons.id is 'Made by the server, ordered by time.';
comment on column public.comparisons.run_ids is 'The run of each side, two to four, in the order in which they were asked for.';
comment on column public.comparisons.session_ids is 'The session of each side, in the same order.';
comment on column public.comparisons.created_at is 'When it began.';
alter table public.shared_sessions add column if not exists comparison_id uuid;
comment on column public.shared_sessions.comparison_id is 'The comparison that the link shows, and then nothing else of the session; null: the session (spec 5.8).';
drop index if exists public.shared_sessions_once;
create unique index shared_sessions_once on public.shared_sessions (session_id) where ended_at is null and comparison_id is null;
create unique index if not exists shared_comparisons_once on public.shared_sessions (user_id, comparison_id)
  where ended_at is null and comparison_id is not null;
drop function if exists api.read_shared(uuid, text, text);
drop function if exists api.give_feedback(uuid, uuid, integer, boolean, text); -- answers whether it is new

--! Included sessions/session_runs.sql
create or replace function core.session_runs(user_id uuid, session_id uuid)
returns setof public.runs
language sql
stable
rows 3
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
--! Included sessions/session_facts.sql
create or replace function core.session_facts(session public.sessions)
returns table (models text[], credits bigint, words tsvector)
language sql
stable
rows 1
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
--! Included sessions/session_exchanges.sql
create or replace function core.session_exchanges(user_id uuid, session_id uuid, after uuid, through uuid, most integer)
returns table (
  run_id uuid, is_copy boolean, question text, answer text, status text, model text, provider_model text, package_version text,
  baseline boolean, is_summary boolean, credits bigint, question_tokens integer, answer_tokens integer, input_tokens integer, output_tokens integer,
  estimated boolean, duration_ms integer, error text, started_at timestamptz, finished_at timestamptz
)
language sql
stable
begin atomic
  select
    t.run_id, c.run_id is not null, t.question, t.answer,
    coalesce(r.status, 'completed'), coalesce(r.model, c.model), coalesce(r.provider_model, c.provider_model),
    coalesce(r.package_version, c.package_version), coalesce(r.baseline, c.baseline), coalesce(r.summarises, c.is_summary, false),
    coalesce(r.credits, 0), coalesce(r.question_tokens, c.question_tokens), coalesce(r.output_tokens, c.output_tokens, 0),
    r.input_tokens, r.output_tokens, coalesce(r.estimated, false), r.duration_ms, r.error,
    coalesce(r.started_at, c.started_at), coalesce(r.finished_at, c.finished_at)
  from public.run_texts t
  left join public.runs r on r.user_id = t.user_id and r.id = t.run_id
  left join public.copied_exchanges c on c.user_id = t.user_id and c.session_id = t.session_id and c.run_id = t.run_id
  where t.user_id = session_exchanges.user_id and t.session_id = session_exchanges.session_id
    and t.run_id > session_exchanges.after and t.run_id <= session_exchanges.through
  order by t.run_id
  limit session_exchanges.most;
end;

comment on function core.session_exchanges(uuid, uuid, uuid, uuid, integer) is
  'Questions and answers of a session whose texts are kept, in the order of the conversation, behind one run and through another, at most so '
  'many (null: all): with what the run of each says, or what was copied of it; a copy used nothing of one''s own, neither credits nor tokens; question_tokens and answer_tokens are what each brings as history. Spec 10.1.';
--! EndIncluded sessions/session_exchanges.sql
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
    coalesce(newest.package_version, copied.package_version),
    coalesce(newest.model, copied.model),
    coalesce(newest.status, case when copied.model is not null then 'completed' end),
    totals.run_count,
    coalesce(totals.credits, 0),
    coalesce(totals.tokens, 0),
    coalesce(totals.duration_ms, 0),
    s.created_at,
    s.last_run_at
  from public.sessions s
  left join public.packages p on p.id = s.package_id
  left join public.runs newest on newest.user_id = s.user_id and newest.id = s.last_run_id
  left join lateral (
    select c.package_version, c.model
    from public.copied_exchanges c
    where s.last_run_id = s.id and s.forked_token is not null and c.user_id = s.user_id and c.session_id = s.id
    order by c.run_id desc
    limit 1
  ) copied on true
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
--! Included sessions/copied_id.sql
create or replace function core.copied_id(place bigint)
returns uuid
language sql
immutable
parallel safe
begin atomic
  select ('00000000-0000-7000-8000-' || lpad(to_hex(place), 12, '0'))::uuid;
end;

comment on function core.copied_id(bigint) is
  'What stands for a run''s id in a copied exchange, by its place in the conversation: before every run of one''s own. Spec 10.1.';
--! EndIncluded sessions/copied_id.sql
--! Included sessions/copy_exchanges.sql
create or replace function core.copy_exchanges(user_id uuid, session_id uuid, share public.shared_sessions, summary uuid)
returns void
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  nothing constant uuid := uuid '00000000-0000-0000-0000-000000000000';
  place bigint := 0;
  x record;
begin
  for x in
    select * from core.session_exchanges(share.user_id, share.session_id, nothing, share.through_run_id, null) e where e.answer <> '' order by e.run_id
  loop
    place := place + 1;
    insert into public.run_texts (user_id, session_id, run_id, question, answer)
    values (copy_exchanges.user_id, copy_exchanges.session_id, core.copied_id(place), x.question, x.answer);
    insert into public.copied_exchanges (
      user_id, session_id, run_id, model, provider_model, package_version, baseline, is_summary,
      question_tokens, output_tokens, started_at, finished_at
    ) values (
      copy_exchanges.user_id, copy_exchanges.session_id, core.copied_id(place), x.model, x.provider_model, x.package_version, x.baseline,
      x.is_summary, x.question_tokens, x.answer_tokens, x.started_at, x.finished_at
    );
    if x.run_id = copy_exchanges.summary then
      update public.sessions s set summary_run_id = core.copied_id(place)
      where s.user_id = copy_exchanges.user_id and s.id = copy_exchanges.session_id;
    end if;
  end loop;
end
$$;

comment on function core.copy_exchanges(uuid, uuid, public.shared_sessions, uuid) is
  'Copies what a shared link shows into a new session, and which of it is the summary that the conversation goes on from. Spec 10.1.';
--! EndIncluded sessions/copy_exchanges.sql
--! Included sessions/shared_sides.sql
create or replace function core.shared_sides(share public.shared_sessions)
returns json
language sql
stable
begin atomic
  select json_agg(json_build_object(
    'package_name', p.name,
    'package_version', r.package_version,
    'baseline', r.baseline,
    'model', r.model,
    'status', r.status,
    'question', coalesce(t.question, ''),
    'answer', coalesce(t.answer, ''),
    'credits_spent', r.credits,
    'tokens_used', coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0),
    'duration_ms', r.duration_ms,
    'started_at', r.started_at,
    'finished_at', r.finished_at
  ) order by i.place)
  from public.comparisons c
  cross join lateral unnest(c.run_ids) with ordinality i (run_id, place)
  join public.runs r on r.user_id = c.user_id and r.id = i.run_id
  join public.packages p on p.id = r.package_id
  left join public.run_texts t on t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id
  where c.user_id = share.user_id and c.id = share.comparison_id;
end;

comment on function core.shared_sides(public.shared_sessions) is
  'What a shared link shows of its comparison: for each side package, version, model, question, answer, credits, tokens and times; neither '
  'ids nor anything of its owner. JSON array in the order of the sides; null for the link of a session. Spec 5.8, 10.2.';
--! EndIncluded sessions/shared_sides.sql
--! Included sessions/may_see_share.sql
create or replace function core.may_see_share(user_id uuid, share public.shared_sessions)
returns boolean
language sql
stable
begin atomic
  select not exists (
    select
    from public.packages p
    where (
        p.id = share.package_id
        or share.comparison_id is not null and p.id in (
          select r.package_id
          from public.comparisons c
          join public.runs r on r.user_id = c.user_id and r.id = any (c.run_ids)
          where c.user_id = share.user_id and c.id = share.comparison_id
        )
      )
      and p.visibility = 'private'
      and not coalesce(core.may_see_package(may_see_share.user_id, p.visibility, p.author_id, p.organization_id), false)
  );
end;

comment on function core.may_see_share(uuid, public.shared_sessions) is
  'Whether a user (null: nobody signed in) may see what a link shows: not where a package of it is private and not theirs to see. Spec 5.5, 10.2.';
--! EndIncluded sessions/may_see_share.sql
--! Included sessions/fork_session.sql
create or replace function api.fork_session(user_id uuid, new_session_id uuid, share_token text)
returns table (session_id uuid, exchange_count bigint)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  nothing constant uuid := uuid '00000000-0000-0000-0000-000000000000';
  share public.shared_sessions;
  original public.sessions;
begin
  perform from public.users u where u.id = fork_session.user_id for no key update;
  select s.* into share from public.shared_sessions s where s.token = fork_session.share_token and s.ended_at is null and s.comparison_id is null;
  if not found or not core.may_see_share(fork_session.user_id, share) then
    return;
  end if;

  -- Asked for again, the same copy, as long as nothing was added to either.
  select s.id into session_id
  from public.sessions s
  where s.user_id = fork_session.user_id and s.forked_token = share.token and s.forked_through = share.through_run_id
    and s.last_run_id = s.id and s.deleted_at is null;
  if not found then
    session_id := fork_session.new_session_id;
    select s.* into original from public.sessions s where s.user_id = share.user_id and s.id = share.session_id;
    insert into public.sessions (user_id, id, package_id, title, last_run_id, created_at, last_run_at, forked_token, forked_through)
    values (fork_session.user_id, session_id, share.package_id, original.title, session_id, now, now, share.token, share.through_run_id);
    perform core.copy_exchanges(fork_session.user_id, session_id, share, original.summary_run_id);

    insert into public.session_marks (user_id, through_run_id, session_count) values (fork_session.user_id, nothing, 0) on conflict do nothing;
    perform from public.session_marks m where m.user_id = fork_session.user_id for update;
    perform core.put_session_index(fork_session.user_id, array[session_id]);
  end if;
  select count(*) into exchange_count
  from public.copied_exchanges c where c.user_id = fork_session.user_id and c.session_id = fork_session.session_id;
  return next;
end
$$;

comment on function api.fork_session(uuid, uuid, text) is
  'Makes a copy of a shared session in the account of who asks, as far as it is shared: a session of their own, new_session_id, that goes on '
  'with their own credits. Its owner notices nothing, and what becomes of the original changes nothing. Asked again it answers the same copy until '
  'that is gone on with. No row for a link that never was or has ended, or whose package is private and not theirs to see. Spec 10.1.';
--! EndIncluded sessions/fork_session.sql
--! Included sessions/export_session.sql
create or replace function api.export_session(user_id uuid, session_id uuid, cursor text, "limit" integer)
returns table (
  id uuid, title text, package_name text, package_version text, model text, run_count bigint, credits_spent bigint, total_tokens bigint,
  created_at timestamptz, last_run_at timestamptz, exchanges json, next_cursor text
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  after text[] := core.decode_cursor(export_session.cursor, 'uuid');
  page record;
begin
  perform core.check_page("limit", 0);
  select
    coalesce(json_agg(json_build_object(
      'question', e.question,
      'answer', e.answer,
      'status', e.status,
      'model', e.model,
      'package_version', e.package_version,
      'baseline', e.baseline,
      'is_summary', e.is_summary,
      'credits_spent', e.credits,
      'input_tokens', e.input_tokens,
      'output_tokens', e.output_tokens,
      'started_at', e.started_at,
      'finished_at', e.finished_at
    ) order by e.run_id), '[]') as exchanges,
    case when count(*) = "limit" then core.encode_cursor(max(e.run_id::text)) end as next_cursor
  into page
  from core.session_exchanges(
    export_session.user_id, export_session.session_id,
    coalesce(after[1]::uuid, '00000000-0000-0000-0000-000000000000'), 'ffffffff-ffff-ffff-ffff-ffffffffffff', "limit"
  ) e;
  return query
  select
    d.id, d.title, d.package_name, d.package_version, d.model, d.run_count, d.credits_spent, d.total_tokens, d.created_at, d.last_run_at,
    page.exchanges, page.next_cursor
  from core.describe_sessions(export_session.user_id, array[export_session.session_id]) d;
end
$$;

comment on function api.export_session(uuid, uuid, text, integer) is
  'A user''s own session to take away, some exchanges at a time (limit 1 to 100): its header, and exchanges as a JSON array in the order of '
  'the conversation, behind the cursor; next_cursor is null on the last page. No row where there is no such session of theirs. '
  'Errors: PR400 naming cursor or limit. Spec 10.1.';
--! EndIncluded sessions/export_session.sql
--! Included sessions/give_feedback.sql
create or replace function api.give_feedback(
  user_id uuid, session_id uuid, exchange_index integer, is_effective boolean, comment text
)
returns table (run_id uuid, created_at timestamptz, is_new boolean)
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
  if not found or not exists (select from public.runs r where r.user_id = give_feedback.user_id and r.id = exchange) then
    return; -- also for what was copied: its answer was another's
  end if;
  insert into public.exchange_feedback (user_id, run_id, is_effective, comment, created_at)
  values (give_feedback.user_id, exchange, give_feedback.is_effective, nullif(btrim(give_feedback.comment), ''), core.now())
  on conflict do nothing;
  is_new := found;
  run_id := exchange;
  select f.created_at into created_at
  from public.exchange_feedback f
  where f.user_id = give_feedback.user_id and f.run_id = exchange;
  return next;
end
$$;

comment on function api.give_feedback(uuid, uuid, integer, boolean, text) is
  'Whether an answer in a user''s own session was of use, once for each exchange, counted from 0; comment at most 1,000 characters. No row '
  'where there is no such exchange of theirs; is_new is false where it was given before, and stays. Errors: PR400 naming the field. Spec 10.3.';
--! EndIncluded sessions/give_feedback.sql
--! Included runs/audit_references.sql
create or replace function core.audit_references(first_user uuid, last_user uuid)
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
  select x.user_id, 'reference', x.object, x.expected, 'missing'
  from (
    select r.user_id, 'run ' || r.id, 'session ' || r.session_id
    from public.runs r
    where not exists (select from public.sessions s where s.user_id = r.user_id and s.id = r.session_id)
    union all
    select r.user_id, 'run ' || r.id, format('version %s of package %s', r.package_version, r.package_id)
    from public.runs r
    where not exists (select from public.package_versions v where v.package_id = r.package_id and v.version = r.package_version)
    union all
    select r.user_id, 'run ' || r.id, 'model ' || r.model
    from public.runs r
    where not exists (select from public.models m where m.alias = r.model)
    union all
    select r.user_id, 'run ' || r.id, 'price ' || r.price_id
    from public.runs r
    where not exists (select from public.model_prices p where p.id = r.price_id)
    union all
    select t.user_id, 'text of run ' || t.run_id, 'run of session ' || t.session_id
    from public.run_texts t
    where not exists (select from public.runs r where r.user_id = t.user_id and r.id = t.run_id and r.session_id = t.session_id)
      and not exists (
        select from public.copied_exchanges c where c.user_id = t.user_id and c.session_id = t.session_id and c.run_id = t.run_id
      )
    union all
    select s.user_id, 'session ' || s.id, 'newest run ' || s.last_run_id
    from public.sessions s
    where not exists (select from public.runs r where r.user_id = s.user_id and r.id = s.last_run_id and r.session_id = s.id)
      and (s.forked_token is null or s.last_run_id <> s.id)
    union all
    select k.user_id, 'idempotency key of run ' || k.run_id, 'run ' || k.run_id
    from public.idempotency_keys k
    where not exists (select from public.runs r where r.user_id = k.user_id and r.id = k.run_id)
      and not exists (select from public.comparisons c where c.user_id = k.user_id and c.id = k.run_id)
    union all
    select c.user_id, 'comparison ' || c.id, 'run ' || i.run_id
    from public.comparisons c
    cross join unnest(c.run_ids) i (run_id)
    where not exists (select from public.runs r where r.user_id = c.user_id and r.id = i.run_id)
    union all
    select t.user_id, 'transfer ' || t.id, 'lot ' || t.lot_id
    from public.credit_transactions t
    where not exists (select from public.credit_lots l where l.user_id = t.user_id and l.id = t.lot_id)
    union all
    select t.user_id, 'transfer ' || t.id, 'run ' || t.run_id
    from public.credit_transactions t
    where t.run_id is not null and not exists (select from public.runs r where r.user_id = t.user_id and r.id = t.run_id)
    union all
    select t.user_id, 'transfer ' || t.id, 'purchase ' || t.purchase_id
    from public.credit_transactions t
    where t.purchase_id is not null and not exists (select from public.purchases p where p.user_id = t.user_id and p.id = t.purchase_id)
  ) x (user_id, object, expected)
  where x.user_id between first_user and last_user;

  return query
  select x.user_id, 'reference', x.object, 'user ' || x.user_id, 'missing'
  from (
    select m.user_id, 'member of organization ' || m.organization_id from public.organization_members m
    union all select t.user_id, 'token ' || t.id from public.api_tokens t
    union all select i.user_id, 'identity of ' || i.issuer from public.identities i
    union all select e.user_id, 'e-mail ' || e.email from public.user_emails e
    union all select l.user_id, 'lot ' || l.id from public.credit_lots l
    union all select p.user_id, 'purchase ' || p.id from public.purchases p
    union all select s.user_id, 'subscription ' || s.id from public.subscriptions s
    union all select s.user_id, 'session ' || s.id from public.sessions s
    union all select f.user_id, 'refusals ' || f.reason || ' at ' || f.hour from public.refusals f
  ) x (user_id, object)
  where x.user_id between first_user and last_user and not exists (select from public.users u where u.id = x.user_id);

  return query
  select coalesce(u.id, e.user_id), 'email', 'user', coalesce(e.email, 'no row of user_emails'), u.email
  from (select x.* from public.users x where x.email is not null and x.id between first_user and last_user) u
  full join (select x.* from public.user_emails x where x.user_id between first_user and last_user) e
    on e.user_id = u.id and e.email = lower(u.email)
  where u.id is null or e.user_id is null;
end
$$;

comment on function core.audit_references(uuid, uuid) is
  'Part of ops.audit_books: that what rows name exists, which no foreign key says on the hot path, and that verified e-mails of users and '
  'user_emails agree. Of users between two ids, both included. Spec 4.8.';
--! EndIncluded runs/audit_references.sql
--! Included runs/write_exchange.sql
create or replace function core.write_exchange(question text, answer text)
returns text
language sql
stable
begin atomic
  select json_build_object('role', 'user', 'content', question)::text || ',' || json_build_object('role', 'assistant', 'content', answer)::text;
end;

comment on function core.write_exchange(text, text) is
  'A question and its answer as two messages of a chat, in JSON, with a comma between them: part of an array. Spec 10.1.';
--! EndIncluded runs/write_exchange.sql
--! Included runs/fit_history.sql
create or replace function core.fit_history(
  user_id uuid, session_id uuid, run_ids uuid[], model text, room integer,
  out messages json, out tokens integer, out same_model boolean, out dropped integer
)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  summary uuid := (select s.summary_run_id from public.sessions s where s.user_id = fit_history.user_id and s.id = fit_history.session_id);
  kept uuid[];
begin
  -- A summary stands for all that came before it, so it is the last to go.
  select array_agg(n.id), coalesce(max(n.total), 0), coalesce(bool_and(n.model = fit_history.model), true)
  into kept, tokens, same_model
  from (
    select e.id, e.model, sum(e.tokens) over (order by e.id is not distinct from summary desc, e.id desc) as total
    from (
      select r.id, r.model, r.question_tokens + coalesce(r.output_tokens, 0) + 8 as tokens
      from public.runs r
      where r.user_id = fit_history.user_id and r.id = any (fit_history.run_ids)
      union all
      select c.run_id, c.model, c.question_tokens + c.output_tokens + 8
      from public.copied_exchanges c
      where c.user_id = fit_history.user_id and c.session_id = fit_history.session_id and c.run_id = any (fit_history.run_ids)
    ) e
  ) n
  where n.total <= room;
  dropped := cardinality(run_ids) - coalesce(cardinality(kept), 0);

  select ('[' || string_agg(core.write_exchange(t.question, t.answer), ',' order by t.run_id) || ']')::json into messages
  from public.run_texts t
  where t.user_id = fit_history.user_id and t.session_id = fit_history.session_id and t.run_id = any (kept);
end
$$;

comment on function core.fit_history(uuid, uuid, uuid[], text, integer) is
  'The newest of a session''s exchanges that fit into so many tokens, and its summary before them: as messages, with their tokens, whether '
  'all were counted by this model, and how many of the given runs'' exchanges are left out. Spec 10.1.';
--! EndIncluded runs/fit_history.sql
--! Included runs/refuse_by_size.sql
create or replace function core.refuse_by_size(
  u public.users, l public.cost_limits_config, s public.settings, m public.models,
  input_price numeric, output_price numeric, prompt_multiplier numeric,
  estimated_input integer, held_input integer, wanted integer, useful integer, windows_hold boolean, now timestamptz, history_tokens integer default null
)
returns json
language plpgsql
stable
set search_path = ''
as $$
declare
  day_left numeric := case when windows_hold then l.daily_cost_limit - u.current_day_limited_cost end;
  month_left numeric := case when windows_hold then l.monthly_cost_limit - u.current_month_limited_cost end;
  room integer := least(s.max_request_tokens, m.context_tokens) - estimated_input;
  needed bigint := core.charge_for(held_input + useful, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier);
  needed_cost numeric := (held_input * input_price + useful * output_price) * 0.000001;
  fit record;
begin
  if room < useful then
    return core.describe_refusal('request_too_large', 413,
      format('The request has about %s tokens of input; with at least %s of output it would exceed %s. Cut about %s tokens of input.',
        estimated_input, useful, estimated_input + room, useful - room)
      || case when history_tokens > 0 then format(
        ' The conversation so far has about %s of them. Send drop_oldest to go on without its oldest exchanges, or have it summarised, '
        'or begin a new session.', history_tokens) else '' end, now,
      estimated_input + room, estimated_input, unit => 'tokens',
      details => json_build_object('input_tokens', estimated_input, 'min_output_tokens', useful, 'cut_tokens', useful - room,
        'history_tokens', history_tokens,
        'ways_on', case when history_tokens > 0 then '["drop_oldest", "summarise", "new_session"]'::json end));
  end if;

  -- Would it fit if nothing else were running?
  fit := core.fit_run(held_input, wanted, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier, input_price, output_price,
    u.included_credits, u.purchased_credits, least(day_left, month_left), s.purchased_cost_per_credit_cap);
  return core.refuse_by_means(u, l, s, needed, needed_cost, windows_hold, fit.output_cap >= useful, now);
end
$$;

comment on function core.refuse_by_size(public.users, public.cost_limits_config, public.settings, public.models, numeric, numeric, numeric, integer, integer, integer, integer, boolean, timestamptz, integer) is
  'Why no useful answer fits: the request is too large, other runs hold what is needed, credits lack, or a cost window is too full. '
  'Called when core.fit_run found less than useful tokens. history_tokens is what a conversation brings, null without one: the refusal says '
  'how to go on. Spec 1.5, 3.2.';
--! EndIncluded runs/refuse_by_size.sql
--! Included runs/history_after.sql
create or replace function core.history_after(r public.runs)
returns integer
language sql
immutable
begin atomic
  select case
    when r.status = 'completed' and r.summarises and r.output_tokens < r.output_cap then r.question_tokens + r.output_tokens + 8
    when r.status not in ('running', 'released') and r.output_tokens > 0 then
      coalesce(r.history_tokens, 0) + r.question_tokens + r.output_tokens + 8
    else coalesce(r.history_tokens, 0)
  end;
end;

comment on function core.history_after(public.runs) is
  'Tokens of history that the next run of the session brings: what this one brought, its question and its answer; of a summary that was not '
  'cut off, itself alone. Spec 10.1.';
--! EndIncluded runs/history_after.sql
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
    r.refunded_at,
    core.history_after(r), r.request_limit, r.dropped_exchanges
  )::core.receipt;
end;

comment on function core.write_receipt(public.runs, public.users, public.cost_limits_config) is
  'The receipt of a run (see type core.receipt), as of now. The user''s windows are rolled. Spec 5.1.';
--! EndIncluded runs/write_receipt.sql
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
  u := (select x from public.users x where x.id = settle_run.user_id for no key update);
  select x.clock_offset, x.min_output_tokens into s from public.settings x;
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
  if u.closed_at is not null then
    -- Nobody is there to read it, and who was erased is to find nothing.
    delete from public.run_texts t where t.user_id = u.id and t.session_id = r.session_id and t.run_id = r.id;
    update public.runs x set error_reason = null where x.user_id = u.id and x.id = r.id and x.error_reason is not null;
  elsif checkpointed then
    perform core.keep_texts(u.id, r.session_id, r.id, question, coalesce(answer, ''));
  elsif question is not null then
    insert into public.run_texts (user_id, session_id, run_id, question, answer)
    values (u.id, r.session_id, r.id, question, coalesce(answer, ''));
  end if;

  if r.summarises and r.status = 'completed' and r.output_tokens < r.output_cap then
    update public.sessions x set summary_run_id = r.id where x.user_id = u.id and x.id = r.session_id;
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
  select s.* into share from public.shared_sessions s where s.session_id = read_session.session_id and s.ended_at is null and s.comparison_id is null;
  if not is_mine then
    if share.token is null or not core.may_see_share(read_session.user_id, share) then
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
        'run_id', case when read_session.is_mine and not e.is_copy then e.run_id end,
        'is_copy', e.is_copy,
        'status', e.status,
        'question', e.question,
        'answer', e.answer,
        'model', e.model,
        'provider_model', e.provider_model,
        'package_version', e.package_version,
        'baseline', e.baseline,
        'is_summary', e.is_summary,
        'credits_spent', e.credits,
        'tokens_used', coalesce(e.input_tokens, 0) + coalesce(e.output_tokens, 0),
        'estimated', e.estimated,
        'duration_ms', e.duration_ms,
        'error', e.error,
        'is_effective', case when read_session.is_mine then f.is_effective end,
        'started_at', e.started_at,
        'finished_at', e.finished_at
      ) order by e.run_id)
      from core.session_exchanges(
        owner, read_session.session_id, '00000000-0000-0000-0000-000000000000',
        case when read_session.is_mine then 'ffffffff-ffff-ffff-ffff-ffffffffffff' else share.through_run_id end, null
      ) e
      left join public.exchange_feedback f on f.user_id = owner and f.run_id = e.run_id and not e.is_copy
    ), '[]')
  from core.describe_sessions(owner, array[read_session.session_id]) d;
end
$$;

comment on function api.read_session(uuid, uuid) is
  'A user''s own session, or one that is shared as far as it is: its header as in api.list_sessions, share_token while it is shared, and '
  'exchanges, a JSON array in the order of the conversation with question, answer, status, model, credits, tokens and times of each run whose '
  'text is kept. No row for a session that is unknown, deleted or another user''s and not shared. Spec 10.1.';
--! EndIncluded sessions/read_session.sql
--! Included sessions/shared_exchanges.sql
create or replace function core.shared_exchanges(share public.shared_sessions)
returns json
language sql
stable
set search_path = ''
begin atomic
  select coalesce(json_agg(json_build_object(
    'question', e.question,
    'answer', e.answer,
    'model', e.model,
    'package_version', e.package_version,
    'baseline', e.baseline,
    'is_summary', e.is_summary,
    'credits_spent', e.credits,
    'input_tokens', e.input_tokens,
    'output_tokens', e.output_tokens,
    'tokens_used', coalesce(e.input_tokens, 0) + coalesce(e.output_tokens, 0),
    'started_at', e.started_at,
    'finished_at', e.finished_at
  ) order by e.run_id), '[]')
  from core.session_exchanges(share.user_id, share.session_id, '00000000-0000-0000-0000-000000000000', share.through_run_id, null) e
  where e.answer <> '';
end;

comment on function core.shared_exchanges(public.shared_sessions) is
  'What a shared link shows of its session: questions, answers, models, tokens and credits up to the moment of sharing; neither ids nor '
  'anything of its owner. JSON array in the order of the conversation. Spec 10.2.';
--! EndIncluded sessions/shared_exchanges.sql
--! Included sessions/read_shared.sql
create or replace function api.read_shared(user_id uuid, share_token text, address text)
returns table (
  title text, package_name text, package_version text, model text, view_count bigint, helpful_count bigint, not_helpful_count bigint,
  my_vote boolean, is_mine boolean, shared_at timestamptz, exchanges json, sides json
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
  if not found or not core.may_see_share(read_shared.user_id, share) then
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
    read_shared.is_mine, s.shared_at,
    case when s.comparison_id is null then core.shared_exchanges(s) else '[]' end,
    core.shared_sides(s)
  from public.shared_sessions s
  join public.sessions x on x.user_id = s.user_id and x.id = s.session_id
  join public.packages p on p.id = s.package_id
  join public.runs r on r.user_id = s.user_id and r.id = s.through_run_id
  where s.token = share.token;
end
$$;

comment on function api.read_shared(uuid, text, text) is
  'What a shared link shows, to anybody: user_id is null without a sign-in; address: the visitor''s, kept as a keyed hash alone. A view is counted '
  'once a visitor, never the owner''s. No row for a link that never was or has ended, or whose package is private and not theirs to see. '
  'exchanges are those of a session, sides those of a comparison (null for a session). Nothing of the owner is in it. Spec 10.2.';
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
  if not found or not core.may_see_share(vote_shared.user_id, share) then
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
  'No row for a link that never was or has ended, or whose package is private and not theirs to see. Errors: PR403 for the owner, PR400 naming is_helpful or feedback_text. Spec 10.2.';
--! EndIncluded sessions/vote_shared.sql
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
  where x.user_id = session.user_id and x.session_id = session.id and x.ended_at is null and x.comparison_id is null
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
--! Included sessions/end_share.sql
create or replace function core.end_share(user_id uuid, session_id uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  update public.shared_sessions s set ended_at = core.now()
  where s.user_id = end_share.user_id and s.session_id = end_share.session_id and s.ended_at is null and s.comparison_id is null;
  return found;
end
$$;

comment on function core.end_share(uuid, uuid) is
  'Ends the link of a shared session at once, whoever has it. Returns whether there was one. Spec 10.2.';
--! EndIncluded sessions/end_share.sql
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
    where s.package_id = wanted and s.ended_at is null and s.comparison_id is null and (list_results.sort <> 'featured' or s.featured_at is not null)
    order by place
    limit "limit"
  ) x
  join public.packages p on p.id = x.package_id
  join public.runs r on r.user_id = x.user_id and r.id = x.through_run_id
  left join public.run_texts t on t.user_id = x.user_id and t.session_id = x.session_id and t.run_id = x.through_run_id;
  select count(*) into total
  from public.shared_sessions s
  where s.package_id = wanted and s.ended_at is null and s.comparison_id is null and (list_results.sort <> 'featured' or s.featured_at is not null);
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
  where s.ended_at is null and s.comparison_id is null and (s.token = feature_result.result or s.session_id = core.uuid_or_null(feature_result.result))
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
--! Included sessions/old_texts.sql
create or replace view core.old_texts as
select s.user_id, s.id as session_id, s.last_run_at + x.run_text_days * interval '24 hours' as goes_at
from public.settings x
cross join public.sessions s
where x.run_text_days is not null
  and exists (select from public.run_texts t where t.user_id = s.user_id and t.session_id = s.id)
  and not exists (select from public.shared_sessions h where h.session_id = s.id and h.ended_at is null)
  and not exists (
    select from public.comparisons c
    join public.shared_sessions h on h.user_id = c.user_id and h.comparison_id = c.id and h.ended_at is null
    where c.user_id = s.user_id and s.id = any (c.session_ids)
  );

comment on view core.old_texts is
  'Sessions whose texts will go because nobody uses them and they are not shared, and when: settings.run_text_days after their newest run began. None while that setting '
  'is null. Spec 7.1.';
comment on column core.old_texts.user_id is 'Whose.';
comment on column core.old_texts.session_id is 'The session.';
comment on column core.old_texts.goes_at is 'When the texts go, unless it is used again.';
--! EndIncluded sessions/old_texts.sql
--! Included sessions/read_comparison.sql
create or replace function api.read_comparison(user_id uuid, comparison_id uuid)
returns table (id uuid, run_ids uuid[], session_ids uuid[], created_at timestamptz, share_token text)
language sql
stable
security definer
set search_path = ''
begin atomic
  select c.id, c.run_ids, c.session_ids, c.created_at, s.token
  from public.comparisons c
  left join public.shared_sessions s on s.user_id = c.user_id and s.comparison_id = c.id and s.ended_at is null
  where c.user_id = read_comparison.user_id and c.id = read_comparison.comparison_id;
end;

comment on function api.read_comparison(uuid, uuid) is
  'A user''s own comparison: the runs of its sides in their order, their sessions, and the token of its link while it is shared. No row for '
  'an unknown one or another''s. Spec 5.8.';
--! EndIncluded sessions/read_comparison.sql
--! Included sessions/share_comparison.sql
create or replace function api.share_comparison(user_id uuid, comparison_id uuid)
returns table (share_token text, shared_at timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  comparison public.comparisons;
  shown record;
begin
  perform from public.users u where u.id = share_comparison.user_id for no key update;
  select c.* into comparison
  from public.comparisons c
  where c.user_id = share_comparison.user_id and c.id = share_comparison.comparison_id;
  if not found then
    return;
  end if;
  if exists (
    select from public.runs r where r.user_id = comparison.user_id and r.id = any (comparison.run_ids) and r.status = 'running'
  ) then
    raise exception 'a side of this comparison is still running' using errcode = 'PR409', detail = 'comparison_id',
      hint = 'Wait for its end, then share.';
  end if;
  select r.id, r.session_id, r.package_id into shown
  from public.runs r
  join public.run_texts t on t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id and t.answer <> ''
  where r.user_id = comparison.user_id and r.id = any (comparison.run_ids)
  order by array_position(comparison.run_ids, r.id)
  limit 1;
  if not found then
    raise exception 'there is no answer in this comparison to share' using errcode = 'PR409', detail = 'comparison_id';
  end if;

  select s.token, s.shared_at into share_token, shared_at
  from public.shared_sessions s
  where s.user_id = comparison.user_id and s.comparison_id = comparison.id and s.ended_at is null;
  if not found then
    insert into public.shared_sessions (token, user_id, session_id, comparison_id, package_id, through_run_id, shared_at)
    values (
      replace(gen_random_uuid()::text, '-', ''), comparison.user_id, shown.session_id, comparison.id, shown.package_id, shown.id, core.now()
    )
    returning token, shared_sessions.shared_at into share_token, shared_at;
  end if;
  return next;
end
$$;

comment on function api.share_comparison(uuid, uuid) is
  'Shares a user''s own comparison, all sides by one link, the same as long as it is shared. Answers its token. No row where there is no such '
  'comparison of theirs. Errors: PR409 while a side is running, or where none was answered. Spec 5.8, 10.2.';
--! EndIncluded sessions/share_comparison.sql
--! Included sessions/unshare_comparison.sql
create or replace function api.unshare_comparison(user_id uuid, comparison_id uuid)
returns table (ended boolean)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  update public.shared_sessions s set ended_at = core.now()
  where s.user_id = unshare_comparison.user_id and s.comparison_id = unshare_comparison.comparison_id and s.ended_at is null;
  ended := found;
  return next;
end
$$;

comment on function api.unshare_comparison(uuid, uuid) is
  'Ends the link of a user''s own shared comparison at once; sharing it again makes a new one. false where it was not shared. Spec 10.2.';
--! EndIncluded sessions/unshare_comparison.sql
--! Included runs/refuse_by_means.sql
create or replace function core.refuse_by_means(
  u public.users, l public.cost_limits_config, s public.settings, needed bigint, needed_cost numeric, windows_hold boolean,
  fits_alone boolean, now timestamptz
)
returns json
language plpgsql
stable
set search_path = ''
as $$
declare
  day_left numeric := case when windows_hold then l.daily_cost_limit - u.current_day_limited_cost end;
  month_left numeric := case when windows_hold then l.monthly_cost_limit - u.current_month_limited_cost end;
  balance bigint := u.included_credits + u.purchased_credits;
  free bigint := balance - u.held_included - u.held_purchased;
begin
  if fits_alone then
    return core.describe_refusal('held_by_other_runs', 429,
      'Your other runs hold what this one needs. Try again when they have ended.', now,
      balance, balance - free, unit => 'credits', held => u.held_included + u.held_purchased, retry_at => now + interval '5 seconds',
      details => json_build_object('running', cardinality(u.open_runs)));
  elsif balance < needed then
    return core.describe_refusal('insufficient_credits', 402,
      format('Insufficient credits. Need %s but have %s', needed, free), now,
      required_credits => needed, available_credits => free);
  elsif u.included_credits > 0 and month_left < needed_cost then
    return core.describe_refusal('monthly_cost_limit', 429,
      format('Tier %s allows %s dollars a month; what is left cannot bear this run. Try a shorter one or a cheaper model, or wait for the next month.',
        l.tier_name, l.monthly_cost_limit), now,
      l.monthly_cost_limit, u.current_month_limited_cost, u.month_held_cost, 'dollars', u.month_ends_at);
  elsif u.included_credits > 0 and day_left < needed_cost then
    return core.describe_refusal('daily_cost_limit', 429,
      format('Tier %s allows %s dollars a day; what is left cannot bear this run. Try a shorter one or a cheaper model, or wait for tomorrow.',
        l.tier_name, l.daily_cost_limit), now,
      l.daily_cost_limit, u.current_day_limited_cost, u.day_held_cost, 'dollars', u.day_ends_at);
  end if;
  return core.describe_refusal('purchased_credit_cost', 409,
    'This model costs more than a purchased credit may pay for. Try a shorter request or a cheaper model.', now,
    s.purchased_cost_per_credit_cap, unit => 'dollars per credit');
end
$$;

comment on function core.refuse_by_means(public.users, public.cost_limits_config, public.settings, bigint, numeric, boolean, boolean, timestamptz) is
  'Why so many credits and dollars cannot be held: other runs hold them (fits_alone), credits lack, a cost window is too full, or a purchased '
  'credit would pay too much. windows_hold: whether cost windows count. Spec 1.5, 3.2, 3.3.';
--! EndIncluded runs/refuse_by_means.sql
--! Included runs/refuse_count.sql
create or replace function core.refuse_count(u public.users, l public.cost_limits_config, sides jsonb, now timestamptz)
returns json
language plpgsql
stable
set search_path = ''
as $$
declare
  runs integer := jsonb_array_length(sides);
  -- Of a side whose prompt was filled in, the attempt that asked for the prompt was counted.
  attempts integer := (select count(*) from jsonb_array_elements(sides) x where x ->> 'prompt_tokens' is null);
begin
  if u.minute_attempts + attempts > l.minute_request_limit then
    return core.describe_refusal('rate_limited', 429,
      format('At most %s attempts a minute; this comparison makes %s. Try again when the minute is over.', l.minute_request_limit, runs), now,
      l.minute_request_limit, u.minute_attempts, unit => 'attempts', retry_at => u.minute_ends_at);
  elsif u.hour_requests + runs > l.hourly_request_limit then
    return core.describe_refusal('hourly_request_limit', 429,
      format('Tier %s allows %s runs an hour, and this comparison makes %s. Try again when the hour is over, or compare fewer.',
        l.tier_name, l.hourly_request_limit, runs), now,
      l.hourly_request_limit, u.hour_requests, unit => 'runs', retry_at => u.hour_ends_at);
  end if;
  return null;
end
$$;

comment on function core.refuse_count(public.users, public.cost_limits_config, jsonb, timestamptz) is
  'Why a comparison of these sides (see core.begin_side) is too many runs for this minute or hour; null if it is not. The row''s windows are rolled. Spec 3.2, 3.6, 5.8.';
--! EndIncluded runs/refuse_count.sql
--! Included runs/probe_run.sql
create or replace function core.probe_run(user_id uuid, run_id uuid, side jsonb, max_output_tokens integer)
returns core.begun_run
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  b core.begun_run;
begin
  begin
    b := core.begin_side(probe_run.user_id, probe_run.run_id, side, max_output_tokens);
    raise exception using errcode = 'PR001';
  exception when sqlstate 'PR001' then
    null;
  end;
  return b;
end
$$;

comment on function core.probe_run(uuid, uuid, jsonb, integer) is
  'What api.begin_run would answer to a side of a comparison, if it were alone: begins it and takes that back. Spec 5.8.';
--! EndIncluded runs/probe_run.sql
--! Included runs/plan_sides.sql
create or replace function core.plan_sides(
  u public.users, l public.cost_limits_config, s public.settings, probes core.begun_run[], asked jsonb, wish integer, now timestamptz,
  out refusal json, out caps integer[], out turns integer[]
)
language plpgsql
stable
set search_path = ''
as $$
declare
  windows_hold boolean := l.throttle_on_exceed and not coalesce(u.limits_waived_until > now, false);
  included bigint := u.included_credits - u.held_included;
  purchased bigint := u.purchased_credits - u.held_purchased;
  window_left numeric; -- as if nothing else were running
  cost_left numeric;
  sides integer := cardinality(probes);
  needed bigint;
  needed_cost numeric;
  x record;
  allowed bigint;
  fit record;
  alone record;
begin
  if windows_hold then
    window_left := least(l.daily_cost_limit - u.current_day_limited_cost, l.monthly_cost_limit - u.current_month_limited_cost);
    cost_left := least(
      l.daily_cost_limit - u.current_day_limited_cost - u.day_held_cost, l.monthly_cost_limit - u.current_month_limited_cost - u.month_held_cost
    );
  end if;
  -- The least of each side is its own. What is above all of these is divided; what one leaves falls to those after it.
  for x in
    select n.*, (sum(n.needed) over ())::bigint as all_needed, sum(n.needed_cost) over () as all_needed_cost
    from core.sides_needs(s, probes, asked, wish, now) n
    order by n.needed, n.needed_cost, n.side
  loop
    needed := coalesce(needed, x.all_needed);
    needed_cost := coalesce(needed_cost, x.all_needed_cost);
    allowed := x.needed + (included + purchased - needed) / sides;
    fit := core.fit_run(x.held_input, x.wanted, s.tokens_per_credit, x.multiplier, x.prompt_multiplier, x.input_price, x.output_price,
      least(included, allowed), allowed - least(included, allowed), x.needed_cost + (cost_left - needed_cost) / sides,
      s.purchased_cost_per_credit_cap);
    if fit.output_cap < x.wanted and purchased > 0 then
      alone := core.fit_run(x.held_input, x.wanted, s.tokens_per_credit, x.multiplier, x.prompt_multiplier, x.input_price, x.output_price,
        0, least(purchased, x.needed + greatest(0, purchased - needed) / sides), null, s.purchased_cost_per_credit_cap);
      if alone.output_cap > fit.output_cap then
        fit := alone;
      end if;
    end if;
    if included + purchased < needed or fit.output_cap < x.useful then
      refusal := core.refuse_by_means(u, l, s, x.all_needed, x.all_needed_cost, windows_hold,
        u.open_runs <> '{}' and x.all_needed <= u.included_credits + u.purchased_credits
          and (coalesce(x.all_needed_cost <= window_left, true) or x.all_needed <= u.purchased_credits),
        now);
      return;
    end if;
    caps[x.side] := fit.output_cap;
    turns := turns || x.side;
    included := included - fit.hold_included;
    purchased := purchased - fit.hold_purchased;
    if fit.hold_included > 0 then
      cost_left := cost_left - fit.hold_cost;
    end if;
    needed := needed - x.needed;
    needed_cost := needed_cost - x.needed_cost;
    sides := sides - 1;
  end loop;
end
$$;

comment on function core.plan_sides(public.users, public.cost_limits_config, public.settings, core.begun_run[], jsonb, integer, timestamptz) is
  'How long each side of a comparison may answer (caps, in the order of the sides) so that all of them can be held together, and in which turn '
  'they begin, the cheapest first; or why they cannot. What is left of credits and cost windows above the least that each needs is divided evenly. '
  'asked are the sides as core.begin_side takes them. The user''s windows are rolled. Spec 1.5, 3.2, 3.3, 5.8.';
--! EndIncluded runs/plan_sides.sql
--! Included runs/known_comparison.sql
create or replace function core.known_comparison(
  user_id uuid, comparison_id uuid, idempotency_key text, request_hash bytea, now timestamptz, out known uuid, out refusal json
)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  k record;
begin
  select c.id into known from public.comparisons c where c.user_id = known_comparison.user_id and c.id = known_comparison.comparison_id;
  if found or idempotency_key is null then
    return;
  end if;
  select i.run_id, i.request_hash into k
  from public.idempotency_keys i
  where i.user_id = known_comparison.user_id and i.key = idempotency_key and i.created_at > known_comparison.now - interval '24 hours';
  if not found then
    return;
  end if;
  select c.id into known
  from public.comparisons c
  where c.user_id = known_comparison.user_id and c.id = k.run_id and k.request_hash = known_comparison.request_hash;
  if not found then
    refusal := core.describe_refusal('idempotency_conflict', 409,
      'This Idempotency-Key was used for another request. Use a new key for a new request.', known_comparison.now);
  end if;
end
$$;

comment on function core.known_comparison(uuid, uuid, text, bytea, timestamptz) is
  'Whether a comparison was begun before, under this id or key: which; or the refusal of a key that was used for another request. Spec 5.3.';
--! EndIncluded runs/known_comparison.sql
--! Included runs/known_sides.sql
create or replace function core.known_sides(user_id uuid, comparison_id uuid)
returns table (side integer, begun core.begun_run)
language sql
stable
set search_path = ''
begin atomic
  select i.place::integer, jsonb_populate_record(null::core.begun_run, jsonb_build_object(
    'outcome', 'known', 'begun_run_id', r.id, 'begun_session_id', r.session_id, 'run_status', r.status
  ))
  from public.comparisons c
  cross join lateral unnest(c.run_ids) with ordinality i (run_id, place)
  join public.runs r on r.user_id = c.user_id and r.id = i.run_id
  where c.user_id = known_sides.user_id and c.id = known_sides.comparison_id
  order by i.place;
end;

comment on function core.known_sides(uuid, uuid) is
  'The sides of a comparison that was begun before, as api.begin_comparison answers them: numbered from 1, outcome known, with their status. Spec 5.8.';
--! EndIncluded runs/known_sides.sql

--! split: 5-packages.sql
-- Packages: variables, versions that are deprecated or yanked, changes.
alter table public.package_versions
  add column if not exists variables json check (json_typeof(variables) = 'object' and length(variables::text) <= 20000),
  add column if not exists deprecated text check (length(deprecated) between 1 and 500),
  add column if not exists yanked_at timestamptz;
comment on column public.package_versions.variables is
  'JSON schema of the values that its {{names}} stand for; null: the prompt has none, and is sent as it is. Kept as it was written: a form shows them in this order (spec 5.5).';
comment on column public.package_versions.deprecated is 'Why it should be used no longer, in its author''s words; null: it may be. It runs all the same.';
comment on column public.package_versions.yanked_at is
  'When its author took it back; null: it is not. It is the newest no longer, and runs for those who ask for it by its number.';

drop function if exists api.publish_version(uuid, text, text, text[], text, uuid, text, text, integer, integer, integer, text, json);
--! Included catalog/newest_version.sql
create or replace function core.newest_version(package_id uuid)
returns text
language sql
stable
set search_path = ''
begin atomic
  select v.version
  from public.package_versions v
  where v.package_id = newest_version.package_id and v.yanked_at is null
  order by core.version_order(v.version) desc, v.created_at desc, v.version desc
  limit 1;
end;

comment on function core.newest_version(uuid) is
  'The version of a package that is used where none is asked for: the highest release that is not yanked; null where there is none. Spec 5.5.';
--! EndIncluded catalog/newest_version.sql
--! Included catalog/find_publisher.sql
create or replace function core.find_publisher(user_id uuid, organization text)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
declare
  ids uuid[];
begin
  if organization is null then
    return null;
  end if;
  ids := array(
    select o.id
    from public.organization_members m
    join public.organizations o on o.id = m.organization_id
    where m.user_id = find_publisher.user_id and (o.id = core.uuid_or_null(btrim(organization)) or o.name = btrim(organization))
      and core.may_publish(find_publisher.user_id, null, o.id)
    limit 2
  );
  if ids = '{}' then
    raise exception 'you are no owner, admin or maintainer of such an organization'
      using errcode = 'PR403', detail = 'organization', hint = 'Publish as yourself, or ask for that role.';
  elsif cardinality(ids) = 2 then
    raise exception 'you publish for two organizations of this name'
      using errcode = 'PR409', detail = 'organization', hint = 'Give the id of the one that is meant.';
  end if;
  return ids[1];
end
$$;

comment on function core.find_publisher(uuid, text) is
  'The organization, by id or name, for which a user may publish; null for none named. Errors: PR403 there is none such, or they may not; '
  'PR409 they may for two of that name. Spec 10.6.';
--! EndIncluded catalog/find_publisher.sql
--! Included catalog/publish_version.sql
create or replace function api.publish_version(
  user_id uuid, name text, description text, tags text[], visibility text, organization text, package_version text, prompt text,
  tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, changelog text default null, suggested_inputs json default null,
  variables json default null
)
returns table (package_id uuid, version text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target public.packages;
  publisher uuid := core.find_publisher(publish_version.user_id, publish_version.organization);
begin
  perform core.check_package(
    publish_version.name, publish_version.description, publish_version.tags, publish_version.visibility, publish_version.package_version,
    publish_version.prompt, array[publish_version.tokens_o200k, publish_version.tokens_cl100k, publish_version.tokens_approximate]
  );
  target := core.claim_package(publish_version.user_id, publish_version.name, publish_version.visibility, publisher);

  insert into public.package_versions
    (package_id, version, prompt, variables, tokens_o200k, tokens_cl100k, tokens_approximate, changelog, published_by, created_at)
  values (
    target.id, publish_version.package_version, publish_version.prompt, publish_version.variables, publish_version.tokens_o200k,
    publish_version.tokens_cl100k, publish_version.tokens_approximate, coalesce(publish_version.changelog, ''), publish_version.user_id, core.now()
  )
  on conflict do nothing;
  if not found and not exists (
    select from public.package_versions v
    where v.package_id = target.id and v.version = publish_version.package_version and v.prompt = publish_version.prompt
      and v.variables::jsonb is not distinct from publish_version.variables::jsonb
  ) then
    raise exception '% % is published already, with another prompt', target.name, publish_version.package_version
      using errcode = 'PR409', detail = 'version',
        hint = 'The prompt of a version and its variables never change: publish under the next version number.';
  end if;

  update public.packages p
  set
    description = coalesce(publish_version.description, p.description),
    tags = coalesce(publish_version.tags, p.tags),
    visibility = coalesce(publish_version.visibility, p.visibility),
    organization_id = coalesce(publisher, p.organization_id),
    latest_version = core.newest_version(target.id),
    updated_at = core.now()
  where p.id = target.id;
  if publish_version.suggested_inputs is not null then
    perform core.put_suggested_inputs(target.id, publish_version.user_id, publish_version.suggested_inputs);
  end if;

  package_id := target.id;
  version := publish_version.package_version;
  return next;
end
$$;

comment on function api.publish_version(uuid, text, text, text[], text, text, text, text, integer, integer, integer, text, json, json) is
  'Publishes a version of a package; the first one makes the package, the user''s own or their organization''s (id or name). Null leaves '
  'description, tags, visibility, organization and suggested_inputs (as for core.put_suggested_inputs) as they are. variables is the JSON '
  'schema of what {{names}} in the prompt stand for, null where it has none. The newest version is the highest release. Token counts are '
  'of the prompt, by each tokenizer. The same version with the same prompt again is no error. Returns the package''s id and the version. '
  'Errors: PR400 naming the field; PR403 as core.claim_package and core.find_publisher; PR409 the version has another prompt. Spec 5.5, 10.6.';
--! EndIncluded catalog/publish_version.sql
--! Included catalog/describe_versions.sql
create or replace function core.describe_versions(package_id uuid)
returns json
language sql
stable
set search_path = ''
begin atomic
  select coalesce(json_agg(json_build_object(
    'version', v.version,
    'changelog', v.changelog,
    'tokens', json_build_object('o200k_base', v.tokens_o200k, 'cl100k_base', v.tokens_cl100k, 'approximate', v.tokens_approximate),
    'variables', v.variables,
    'deprecated', v.deprecated,
    'yanked', v.yanked_at is not null,
    'created_at', v.created_at
  ) order by core.version_order(v.version) desc, v.created_at desc, v.version desc), '[]')
  from public.package_versions v
  where v.package_id = describe_versions.package_id;
end;

comment on function core.describe_versions(uuid) is
  'A package''s versions without their prompts, newest first, as JSON: [{version, changelog, tokens {o200k_base, cl100k_base, approximate}, '
  'variables (JSON schema or null), deprecated (why, or null), yanked, created_at}].';
--! EndIncluded catalog/describe_versions.sql
--! Included catalog/change_package.sql
create or replace function api.change_package(
  user_id uuid, package text, description text default null, tags text[] default null, visibility text default null
)
returns table (changed json)
language plpgsql
security definer
set search_path = ''
as $$
declare
  p public.packages := core.own_package(change_package.user_id, change_package.package);
begin
  if p.id is null then
    return;
  end if;
  perform core.check_package(p.name, change_package.description, change_package.tags, change_package.visibility, '0.0.0', '-', '{0,0,0}');
  return query
  update public.packages x
  set
    description = coalesce(change_package.description, x.description),
    tags = coalesce(change_package.tags, x.tags),
    visibility = coalesce(change_package.visibility, x.visibility),
    updated_at = core.now()
  where x.id = p.id
  returning json_build_object(
    'package_id', x.id, 'name', x.name, 'description', x.description, 'tags', x.tags, 'visibility', x.visibility
  );
end
$$;

comment on function api.change_package(uuid, text, text, text[], text) is
  'Changes what is said of a package (id or name) and who sees it, from the next request on; null leaves a thing as it is. Returns {package_id, '
  'name, description, tags, visibility} as they are then; no row: there is none that this user may see. Errors: PR400 naming the field; PR403 it is another''s. Spec 10.6.';
--! EndIncluded catalog/change_package.sql
--! Included catalog/change_version.sql
create or replace function api.change_version(
  user_id uuid, package text, package_version text, deprecated text default null, yanked boolean default null
)
returns table (changed json)
language plpgsql
security definer
set search_path = ''
as $$
declare
  p public.packages := core.own_package(change_version.user_id, change_version.package);
  v public.package_versions;
begin
  if length(change_version.deprecated) > 500 then
    raise exception 'why a version is deprecated is said in at most 500 characters' using errcode = 'PR400', detail = 'deprecated';
  end if;
  update public.package_versions x
  set
    deprecated = nullif(coalesce(change_version.deprecated, x.deprecated), ''),
    yanked_at = case when coalesce(change_version.yanked, x.yanked_at is not null) then coalesce(x.yanked_at, core.now()) end
  where x.package_id = p.id and x.version = change_version.package_version
  returning x.* into v;
  if v.package_id is null then
    return;
  end if;
  update public.packages x
  set latest_version = core.newest_version(p.id), updated_at = core.now()
  where x.id = p.id
  returning json_build_object(
    'package_id', x.id, 'version', v.version, 'deprecated', v.deprecated, 'yanked', v.yanked_at is not null, 'latest_version', x.latest_version
  ) into changed;
  return next;
end
$$;

comment on function api.change_version(uuid, text, text, text, boolean) is
  'Says that a version of a package (id or name) should be used no longer, and why (blank: no more), or yanks it: it is the newest no '
  'longer, and runs only where it is asked for by its number. Null leaves a thing as it is; false takes a yank back. Returns {package_id, '
  'version, deprecated, yanked, latest_version (null: all are yanked)}; no row: there is none that this user may see. Errors: PR400; PR403 it is another''s. Spec 5.5, 10.6.';
--! EndIncluded catalog/change_version.sql

-- Runs with variables.
alter table public.sessions add column if not exists variables jsonb;
comment on column public.sessions.variables is
  'What stood for the variables of the prompt in its last run with any, which the next has too where it gives none; null: none, or the session was deleted (spec 5.5).';
do $$
begin
  if not exists (select from pg_catalog.pg_attribute where attrelid = 'core.begun_run'::regclass and attname = 'template') then
    alter type core.begun_run add attribute template json;
  end if;
end
$$;
comment on type core.begun_run is
  'outcome: started (with the exact provider request, the hold in credits, and what is free then), known (begun_run_id, run_status), '
  'template (the prompt has variables, or some were given: version, system_prompt as it was published, and template {variables: their JSON '
  'schema, given_variables: what was given, else what the session had}; ask again with the filled-in prompt''s tokens) or '
  'refused (refusal: code, status, figures, when to try again). Tokens: estimated_input, held_input, wanted_output, output_cap, history_tokens. '
  'dropped_exchanges: left out of the history. rate_*: what is left of the minute''s attempts, rate_reset in seconds; null limit: none. Spec 1.5, 3.2, 3.6, 5.1, 5.5.';
drop function if exists api.begin_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, bytea);
drop function if exists api.begin_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, bytea, text);
drop function if exists api.estimate_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer);
drop function if exists api.estimate_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text);
drop function if exists api.begin_anonymous_run(uuid, uuid, text, text, text, integer, text);
drop function if exists core.continue_session(uuid, uuid, uuid, text, timestamptz);
--! Included runs/continue_session.sql
create or replace function core.continue_session(
  user_id uuid, session_id uuid, package_id uuid, model text, now timestamptz,
  out refusal json, out messages json, out tokens integer, out same_model boolean, out run_ids uuid[], out variables jsonb
)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  x public.sessions;
  busy boolean;
begin
  select y.* into x from public.sessions y where y.user_id = continue_session.user_id and y.id = continue_session.session_id;
  if not found or x.deleted_at is not null then
    refusal := core.describe_refusal('session_not_found', 404, 'There is no such session of yours.', now);
    return;
  elsif x.package_id <> continue_session.package_id then
    refusal := core.describe_refusal('session_package', 409, 'This session is of another package. Begin a new session for this one.', now);
    return;
  end if;

  select r.status = 'running' into busy from public.runs r where r.user_id = x.user_id and r.id = x.last_run_id;
  if busy then
    refusal := core.describe_refusal('session_busy', 409, 'A run of this session is still going on. Wait for it or stop it.', now,
      retry_at => now + interval '1 second', details => json_build_object('run_id', x.last_run_id));
    return;
  end if;

  variables := x.variables;
  select array_agg(t.run_id),
    ('[' || string_agg(core.write_exchange(t.question, t.answer), ',' order by t.run_id) || ']')::json
  into run_ids, messages
  from public.run_texts t
  where t.user_id = x.user_id and t.session_id = x.id and t.answer <> ''
    and t.run_id >= coalesce(x.summary_run_id, '00000000-0000-0000-0000-000000000000');

  select coalesce(sum(r.question_tokens + r.output_tokens + 8), 0), coalesce(bool_and(r.model = continue_session.model), true)
  into tokens, same_model
  from public.runs r
  where r.user_id = x.user_id and r.id = any (run_ids);
  if x.forked_token is not null then
    select tokens + coalesce(sum(c.question_tokens + c.output_tokens + 8), 0), same_model and coalesce(bool_and(c.model = continue_session.model), true)
    into tokens, same_model
    from public.copied_exchanges c
    where c.user_id = x.user_id and c.session_id = x.id and c.run_id = any (run_ids);
  end if;
end
$$;

comment on function core.continue_session(uuid, uuid, uuid, text, timestamptz) is
  'What a session brings into its next run: its answered exchanges as messages, those since it was last summarised, their tokens (by usage '
  'and estimate), whether all were counted by this model, their runs, and what stood for the variables of its prompt. Or the refusal: session_not_found, session_package, session_busy. Spec 10.1.';
--! EndIncluded runs/continue_session.sql
--! Included runs/begin_run.sql
create or replace function api.begin_run(
  user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean,
  input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer,
  idempotency_key text, request_hash bytea, history_mode text default null,
  prompt_tokens integer default null, variables jsonb default null
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
  history_tokens integer;
  dropped_exchanges integer;
  room integer;
begin
  -- Rows are read whole, as one value: a list of columns is set up anew, column by column, in every call.
  u := (select x from public.users x where x.id = begin_run.user_id for no key update);
  s := (select x from public.settings x);
  if u.id is null then
    raise exception 'user % is unknown', begin_run.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  now := greatest(clock_timestamp() + s.clock_offset, u.day_ends_at - interval '24 hours'); -- a clock set back begins nothing in a day that is closed

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
  if prompt_tokens is null then -- else the attempt that asked for the prompt was counted
    u.minute_attempts := u.minute_attempts + 1;
  end if;

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
  asked_id := case when custom_prompt_tokens is null then core.uuid_or_null(begin_run.package) else core.custom_package() end;
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
  select x.version, x.prompt, x.variables, x.tokens_o200k, x.tokens_cl100k, x.tokens_approximate, x.cache_prompt into v
  from public.package_versions x
  where x.package_id = k.id and x.version = coalesce(begin_run.package_version, k.latest_version);

  if m.alias is null or not m.enabled or p.id is null then
    refusal := core.refuse_by_model(begin_run.model, m, now);
  elsif k.id is null or v.version is null or k.visibility = 'private' and custom_prompt_tokens is null and history_mode is distinct from 'summarise' then
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
    if refusal is null and talk.messages is null and history_mode = 'summarise' then
      refusal := core.describe_refusal('nothing_to_summarise', 409, 'Nothing was said in this session yet, or its texts are gone.', now);
    end if;
  end if;
  if refusal is not null then
    return core.refuse_run(u, l, refusal, now);
  end if;

  -- A prompt with variables has to be filled in, and counted, by who asked; an attempt it was all the same.
  if (v.variables is not null or begin_run.variables is not null) and prompt_tokens is null and custom_prompt_tokens is null and not use_no_prompt then
    update public.users x set minute_attempts = u.minute_attempts, minute_ends_at = u.minute_ends_at where x.id = u.id;
    if begin_run.variables is null and begin_run.session_id is not null then
      begin_run.variables := (
        select jsonb_object_agg(e.key, e.value) from jsonb_each(talk.variables) e where v.variables::jsonb -> 'properties' ? e.key
      );
    end if;
    begun.outcome := 'template';
    begun.version := v.version;
    begun.system_prompt := v.prompt;
    begun.template := json_build_object('variables', v.variables, 'given_variables', coalesce(begin_run.variables, '{}'));
    return begun;
  end if;

  -- How large it is: tokens read for certain, tokens written at most.
  exact := counted_with = m.tokenizer and m.tokenizer <> 'approximate';
  estimated_input := begin_run.input_tokens + 7;
  if custom_prompt_tokens is not null and not use_no_prompt then
    prompt_multiplier := s.custom_prompt_multiplier;
    estimated_input := estimated_input + custom_prompt_tokens + 4;
  elsif not use_no_prompt then
    estimated_input := estimated_input + 4 + coalesce(prompt_tokens, case m.tokenizer
      when 'o200k_base' then v.tokens_o200k when 'cl100k_base' then v.tokens_cl100k else v.tokens_approximate
    end);
  end if;
  wanted_output := least(
    begin_run.max_output_tokens, m.max_output_tokens,
    case when custom_prompt_tokens is null then s.max_output_tokens else s.custom_max_output_tokens end,
    case when history_mode = 'summarise' then s.summary_output_tokens end
  );
  useful := least(s.min_output_tokens, wanted_output);
  if begin_run.session_id is not null then
    if history_mode is not null then
      dropped_exchanges := 0;
      room := least(s.max_request_tokens, m.context_tokens) - estimated_input;
      room := least(room - useful, greatest(room - wanted_output, room / 2));
      if talk.tokens > room then
        select x.* into talk from core.fit_history(u.id, begin_run.session_id, talk.run_ids, m.alias, room) x;
        dropped_exchanges := talk.dropped;
      end if;
    end if;
    estimated_input := estimated_input + talk.tokens;
    history := talk.messages;
    history_tokens := talk.tokens;
    exact := exact and talk.same_model;
  end if;
  held_input := ceil(estimated_input * case when exact then s.estimate_safety_exact else s.estimate_safety end);
  wanted_output := least(wanted_output, s.max_request_tokens - estimated_input, m.context_tokens - estimated_input);

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
      u, l, s, m, greatest(p.input, p.cache_write), p.output, prompt_multiplier, estimated_input, held_input, wanted_output, useful, cost_left is not null, now,
      history_tokens
    );
    begun := core.refuse_run(u, l, refusal, now);
    begun.estimated_input := estimated_input;
    begun.held_input := held_input;
    begun.wanted_output := wanted_output;
    begun.history_tokens := history_tokens;
    begun.dropped_exchanges := dropped_exchanges;
    return begun;
  end if;

  -- It may run.
  counts := hold_included > 0;
  insert into public.runs (
    user_id, id, session_id, status, model, provider_model, package_id, package_version, baseline, tier_name,
    price_id, credit_multiplier, prompt_multiplier, tokens_per_credit, estimated_input, question_tokens, estimate_is_exact,
    output_cap, hold_included, hold_purchased, hold_cost, hold_expires_at, estimated, cost, limited_cost, credits, shortfall, started_at,
    request_limit, history_tokens, dropped_exchanges, summarises
  ) values (
    u.id, begin_run.run_id, coalesce(begin_run.session_id, begin_run.run_id), 'running', m.alias, m.provider_model, k.id, v.version,
    use_no_prompt, l.tier_name,
    p.id, m.credit_multiplier, prompt_multiplier, s.tokens_per_credit, estimated_input, begin_run.input_tokens, exact,
    output_cap, hold_included, hold_credits - hold_included, hold_cost, now + s.hold_ms * interval '1 millisecond', false, 0, 0, 0, 0, now,
    least(s.max_request_tokens, m.context_tokens), history_tokens, dropped_exchanges, nullif(history_mode = 'summarise', false)
  );
  if begin_run.run_id < u.last_run_id then
    perform core.note_correction((select x from public.runs x where x.user_id = u.id and x.id = begin_run.run_id)); -- rollups may have passed it
  end if;
  if begin_run.session_id is null then
    insert into public.sessions (user_id, id, package_id, last_run_id, created_at, last_run_at, variables)
    values (u.id, begin_run.run_id, k.id, begin_run.run_id, now, now, begin_run.variables);
  else
    update public.sessions x set last_run_id = begin_run.run_id, last_run_at = now, variables = coalesce(begin_run.variables, x.variables)
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
    ceil(extract(epoch from u.minute_ends_at - now)), history_tokens, dropped_exchanges, null
  )::core.begun_run;
end
$$;

comment on function api.begin_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, bytea, text, integer, jsonb) is
  'Lets a run in, or says why not: one lock, one transaction. package is an id or name; package_version null is the newest; session_id '
  'null begins a session that has the run''s id; model null is the default; input_tokens is the caller''s own text counted with '
  'counted_with; max_output_tokens null is no wish; custom_prompt_tokens not null: the caller''s own prompt of so many tokens, booked to '
  'core.custom_package() whatever package says, where use_no_prompt leaves out that prompt, and its multiplier; history_mode null brings the whole conversation, fit leaves out its oldest exchanges until '
  'the answer has room, summarise does the same and makes the answer what the conversation goes on from; prompt_tokens: tokens of the '
  'package''s prompt with variables (values by name) filled in, for who was told of them by the outcome template. Returns core.begun_run, '
  'outcome: started (with the exact provider request), known (the run id or key was seen before: see run_status), template (the prompt is to '
  'be filled in first: nothing was begun) or '
  'refused (refusal: code, status, figures, when to try again). Errors: PR404 unknown user. Spec 1.3, 1.5, 3.2 to 3.7, 5.1, 5.3, 5.5.';
--! EndIncluded runs/begin_run.sql
--! Included runs/estimate_run.sql
create or replace function api.estimate_run(
  user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean,
  input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer,
  history_mode text default null, prompt_tokens integer default null, variables jsonb default null
)
returns json
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  b record;
  s public.settings;
  m public.models;
  usual numeric;
  prompt_multiplier numeric := 1;
  likely_output integer;
  most_output integer;
begin
  begin
    select x.* into b from api.begin_run(
      estimate_run.user_id, estimate_run.run_id, estimate_run.package, estimate_run.package_version, estimate_run.session_id,
      estimate_run.model, estimate_run.use_no_prompt, estimate_run.input_tokens, estimate_run.counted_with,
      estimate_run.max_output_tokens, estimate_run.custom_prompt_tokens, null, null,
      estimate_run.history_mode, estimate_run.prompt_tokens, estimate_run.variables
    ) x;
    raise exception using errcode = 'PR001';
  exception when sqlstate 'PR001' then
    null;
  end;

  if b.outcome = 'template' then
    return json_build_object('outcome', b.outcome, 'version', b.version, 'system_prompt', b.system_prompt, 'template', b.template);
  end if;

  select x.* into s from public.settings x;
  select x.* into m from public.models x where x.alias = estimate_run.model or estimate_run.model is null and x.is_default;
  if estimate_run.custom_prompt_tokens is not null and not estimate_run.use_no_prompt then
    prompt_multiplier := s.custom_prompt_multiplier;
  end if;
  most_output := greatest(1, coalesce(b.output_cap, b.wanted_output));
  usual := core.usual_output(estimate_run.package, m.alias);
  likely_output := least(most_output, coalesce(round(usual), s.min_output_tokens));

  return json_build_object(
    'credits_least', core.charge_for(b.estimated_input + 1, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier),
    'credits_likely', core.charge_for(b.estimated_input + likely_output, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier),
    'credits_most', coalesce(b.hold_credits,
      core.charge_for(b.held_input + most_output, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier)),
    'tokens_input', b.estimated_input,
    'tokens_likely', b.estimated_input + likely_output,
    'tokens_most', b.held_input + most_output,
    'output_cap', b.output_cap,
    'can_afford', b.outcome = 'started' or b.refusal ->> 'code' is distinct from 'insufficient_credits',
    'balance', (select greatest(0, u.included_credits + u.purchased_credits - u.held_included - u.held_purchased)
      from public.users u where u.id = estimate_run.user_id),
    'model', m.alias,
    'provider_model', m.provider_model,
    'package_version', b.version,
    'history_tokens', b.history_tokens,
    'dropped_exchanges', b.dropped_exchanges,
    'refusal', b.refusal
  );
end
$$;

comment on function api.estimate_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, integer, jsonb) is
  'What a run would cost, and the refusal that it would meet: begins it by the very rules of a run, and takes that back. Credits and tokens '
  'least, likely (by this package''s and model''s usual answer) and most; null where the refusal came before the size was known. '
  'run_id is any new id; history_mode as in api.begin_run, and then how many exchanges would be left out. A prompt with '
  'variables is answered as api.begin_run''s outcome template is: {outcome, version, system_prompt, template}. Errors: PR404 unknown user. Spec 5.7.';
--! EndIncluded runs/estimate_run.sql
--! Included runs/begin_side.sql
create or replace function core.begin_side(user_id uuid, run_id uuid, side jsonb, max_output_tokens integer)
returns core.begun_run
language sql
set search_path = ''
begin atomic
  select b from api.begin_run(
    begin_side.user_id, begin_side.run_id, side ->> 'package', side ->> 'package_version', (side ->> 'session_id')::uuid, side ->> 'model',
    coalesce((side ->> 'use_no_prompt')::boolean, false), (side ->> 'input_tokens')::integer, side ->> 'counted_with',
    begin_side.max_output_tokens, (side ->> 'custom_prompt_tokens')::integer, null, null, side ->> 'history',
    (side ->> 'prompt_tokens')::integer, nullif(side -> 'variables', 'null')
  ) b;
end;

comment on function core.begin_side(uuid, uuid, jsonb, integer) is
  'Lets one side of a comparison in, as api.begin_run does. side names package, package_version, session_id, model, use_no_prompt, '
  'input_tokens, counted_with, custom_prompt_tokens, history, prompt_tokens and variables as the arguments of that function. Spec 5.8.';
--! EndIncluded runs/begin_side.sql
--! Included runs/sides_needs.sql
create or replace function core.sides_needs(s public.settings, probes core.begun_run[], asked jsonb, wish integer, now timestamptz)
returns table (
  side integer, held_input integer, wanted integer, useful integer, multiplier numeric, prompt_multiplier numeric, input_price numeric, output_price numeric,
  needed bigint, needed_cost numeric
)
language sql
stable
begin atomic
  select
    b.ordinality::integer, b.held_input, b.wanted_output, n.useful, m.credit_multiplier, n.prompt_multiplier, greatest(p.input, p.cache_write), p.output,
    core.charge_for(b.held_input + n.useful, s.tokens_per_credit, m.credit_multiplier, n.prompt_multiplier),
    (b.held_input * greatest(p.input, p.cache_write) + n.useful * p.output) * 0.000001
  from unnest(probes) with ordinality b
  join public.models m on m.alias = b.model_alias
  join public.model_prices p on p.model = m.alias and p.valid @> now
  cross join lateral (select asked -> b.ordinality::integer - 1 as side) a
  cross join lateral (
    select
      least(
        s.min_output_tokens, wish, m.max_output_tokens,
        case when a.side ->> 'custom_prompt_tokens' is null then s.max_output_tokens else s.custom_max_output_tokens end
      ) as useful,
      case
        when a.side ->> 'custom_prompt_tokens' is not null and not coalesce((a.side ->> 'use_no_prompt')::boolean, false)
          then s.custom_prompt_multiplier
        else 1
      end as prompt_multiplier
  ) n;
end;

comment on function core.sides_needs(public.settings, core.begun_run[], jsonb, integer, timestamptz) is
  'What each side of a comparison needs at the least: credits, and US dollars of the worst case, for a useful answer; and what it is reckoned '
  'by: tokens of input (worst case), of the answer wanted and of a useful one, multipliers, US dollars per million tokens. probes are '
  'core.probe_run''s answers in the order of the sides, asked the sides as core.begin_side takes them. Spec 1.5, 5.8.';
--! EndIncluded runs/sides_needs.sql
--! Included runs/begin_comparison.sql
create or replace function api.begin_comparison(
  user_id uuid, comparison_id uuid, run_ids uuid[], sides jsonb, max_output_tokens integer, idempotency_key text, request_hash bytea
)
returns table (begun_comparison_id uuid, side integer, begun core.begun_run)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  u public.users;
  s public.settings;
  l public.cost_limits_config;
  now timestamptz;
  known uuid;
  probes core.begun_run[] := array[]::core.begun_run[];
  started core.begun_run[] := array[]::core.begun_run[];
  plan record;
  refusal json;
  which integer;
begin
  if jsonb_typeof(sides) is distinct from 'array' or jsonb_array_length(sides) not between 2 and 4 or cardinality(run_ids) <> jsonb_array_length(sides) then
    raise exception 'a comparison has two to four sides' using errcode = 'PR400', detail = 'sides';
  end if;
  u := (select x from public.users x where x.id = begin_comparison.user_id for no key update);
  s := (select x from public.settings x);
  if u.id is null then
    raise exception 'user % is unknown', begin_comparison.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  now := greatest(clock_timestamp() + s.clock_offset, u.day_ends_at - interval '24 hours');

  select k.known, k.refusal into known, refusal
  from core.known_comparison(u.id, begin_comparison.comparison_id, idempotency_key, begin_comparison.request_hash, now) k;
  if known is not null then
    return query select known, r.side, r.begun from core.known_sides(u.id, known) r;
    return;
  elsif refusal is not null then
    perform core.count_refusal(u.id, refusal, now);
    started[1].outcome := 'refused';
    started[1].refusal := refusal;
    return query select null::uuid, null::integer, started[1];
    return;
  end if;

  if u.next_lot_expiry <= now or u.holds_expire_at <= now then
    perform core.expire_user_holds(u.id, now);
    perform core.tidy_lots(u.id, now);
    u := (select x from public.users x where x.id = begin_comparison.user_id);
  end if;
  u := core.roll_windows(u, now);
  l := core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now));

  -- Could each be run if it were alone? Then, can they be held together?
  for place in 1 .. cardinality(run_ids) loop
    probes[place] := core.probe_run(u.id, run_ids[place], sides -> place - 1, begin_comparison.max_output_tokens);
    if probes[place].outcome = 'refused' then
      refusal := probes[place].refusal;
      which := place;
      exit;
    end if;
  end loop;
  if refusal is null then
    refusal := core.refuse_count(u, l, sides, now);
  end if;
  if refusal is null and exists (select from unnest(probes) p where p.outcome = 'template') then
    update public.users x set
      minute_attempts = u.minute_attempts + (select count(*) from unnest(probes) p where p.outcome = 'template'), minute_ends_at = u.minute_ends_at
    where x.id = u.id;
    return query select null::uuid, n, probes[n] from generate_series(1, cardinality(run_ids)) n where (probes[n]).outcome = 'template';
    return;
  end if;
  if refusal is null then
    plan := core.plan_sides(u, l, s, probes, sides, begin_comparison.max_output_tokens, now);
    refusal := plan.refusal;
  end if;
  if refusal is null then
    begin
      for place in 1 .. cardinality(run_ids) loop
        which := plan.turns[place];
        started[which] := core.begin_side(u.id, run_ids[place], sides -> which - 1, plan.caps[which]);
        if started[which].outcome <> 'started' then
          refusal := started[which].refusal;
          raise exception using errcode = 'PR001';
        end if;
      end loop;
    exception when sqlstate 'PR001' then
      null;
    end;
  end if;
  if refusal is not null then
    u.minute_attempts := u.minute_attempts + 1;
    return query select null::uuid, which, core.refuse_run(u, l, refusal, now);
    return;
  end if;

  insert into public.comparisons (user_id, id, run_ids, session_ids, created_at)
  select u.id, begin_comparison.comparison_id, array_agg(b.begun_run_id order by b.place), array_agg(b.begun_session_id order by b.place), now
  from (select (started[n]).begun_run_id, (started[n]).begun_session_id, n as place from generate_series(1, cardinality(run_ids)) n) b;
  if idempotency_key is not null then
    perform core.keep_key(u.id, idempotency_key, begin_comparison.request_hash, begin_comparison.comparison_id, now);
  end if;
  return query select begin_comparison.comparison_id, n, started[n] from generate_series(1, cardinality(run_ids)) n;
end
$$;

comment on function api.begin_comparison(uuid, uuid, uuid[], jsonb, integer, text, bytea) is
  'Lets two to four runs of one question in, all or none, in one transaction: sides is a JSON array of what each asks for (see core.begin_side), '
  'run_ids as many new ids in the order of time, which the sides get in the order in which they begin. What is left of credits and cost windows is '
  'divided evenly. Returns a row a side, numbered from 1 as asked for, with core.begun_run: started or known (the id or key was seen '
  'before); or a row for each side whose prompt is to be filled in first, template, and nothing was begun; or one row, refused, with the side that alone would be refused, or null where all together are. Each side is settled as any run. '
  'Errors: PR404 unknown user, PR400 naming sides. Spec 5.3, 5.8.';
--! EndIncluded runs/begin_comparison.sql
--! Included runs/estimate_comparison.sql
create or replace function api.estimate_comparison(user_id uuid, run_ids uuid[], sides jsonb, max_output_tokens integer)
returns json
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  estimates json[] := array[]::json[];
  side jsonb;
  refused json;
  refused_side integer;
  held bigint;
begin
  begin
    select
      max(b.begun ->> 'refusal')::json, max(b.side) filter (where b.begun ->> 'outcome' = 'refused'),
      sum((b.begun ->> 'hold_credits')::bigint) filter (where b.begun ->> 'outcome' = 'started')
    into refused, refused_side, held
    from (
      select x.side, row_to_json(x.begun) as begun
      from api.begin_comparison(
        estimate_comparison.user_id, gen_random_uuid(), run_ids, estimate_comparison.sides, estimate_comparison.max_output_tokens, null, null
      ) x
    ) b;
    raise exception using errcode = 'PR001';
  exception when sqlstate 'PR001' then
    null;
  end;

  for place in 1 .. jsonb_array_length(sides) loop
    side := sides -> place - 1;
    estimates[place] := api.estimate_run(
      estimate_comparison.user_id, run_ids[place], side ->> 'package', side ->> 'package_version', (side ->> 'session_id')::uuid,
      side ->> 'model', coalesce((side ->> 'use_no_prompt')::boolean, false), (side ->> 'input_tokens')::integer, side ->> 'counted_with',
      estimate_comparison.max_output_tokens, (side ->> 'custom_prompt_tokens')::integer, side ->> 'history',
      (side ->> 'prompt_tokens')::integer, nullif(side -> 'variables', 'null')
    );
  end loop;
  if exists (select from unnest(estimates) e where e ->> 'outcome' = 'template') then
    return json_build_object('outcome', 'template', 'sides', to_json(estimates));
  end if;
  return (
    select json_build_object(
      'credits_least', sum((e ->> 'credits_least')::bigint),
      'credits_likely', case when held is null then sum((e ->> 'credits_likely')::bigint) else least(held, sum((e ->> 'credits_likely')::bigint)) end,
      'credits_most', coalesce(held, sum((e ->> 'credits_most')::bigint)),
      'can_afford', refused is null or refused ->> 'code' <> 'insufficient_credits',
      'balance', max((e ->> 'balance')::bigint),
      'sides', json_agg(e order by n),
      'refused_side', refused_side,
      'refusal', refused
    )
    from unnest(estimates) with ordinality x (e, n)
  );
end
$$;

comment on function api.estimate_comparison(uuid, uuid[], jsonb, integer) is
  'What a comparison would cost, and the refusal that it would meet: begins it by the very rules of a comparison and takes that back. Credits '
  'least, likely and most for all sides together (null where a refusal came before a size was known), and for each side alone what '
  'api.estimate_run says. Where prompts are to be filled in first: {outcome: template, sides: what api.estimate_run says of each}. Arguments as in api.begin_comparison. Errors: PR404 unknown user, PR400 naming sides. Spec 5.7, 5.8.';
--! EndIncluded runs/estimate_comparison.sql
--! Included runs/choose_cached_prompts.sql
create or replace function ops.choose_cached_prompts()
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  changed integer;
begin
  with recent as (
    select r.package_id, r.package_version, count(*) as runs
    from public.users u
    join public.runs r on r.user_id = u.id and r.id >= core.first_run_id(clock_timestamp() - interval '5 minutes')
    where u.last_request_at > now - interval '5 minutes' and r.started_at > now - interval '5 minutes' and not r.baseline
    group by r.package_id, r.package_version
  ),
  wanted as (
    select v.package_id, v.version, v.variables is null and v.tokens_o200k >= s.cache_min_tokens and coalesce(recent.runs, 0) > s.cache_min_runs as pays
    from public.settings s, public.package_versions v
    left join recent on recent.package_id = v.package_id and recent.package_version = v.version
  )
  update public.package_versions v
  set cache_prompt = wanted.pays
  from wanted
  where v.package_id = wanted.package_id and v.version = wanted.version and v.cache_prompt <> wanted.pays;
  get diagnostics changed = row_count;
  return changed;
end
$$;

comment on function ops.choose_cached_prompts() is
  'Marks the package versions whose prompt is cached at the provider from now on: at least settings.cache_min_tokens long and run more than '
  'settings.cache_min_runs times in the last five minutes (a write to the cache costs more than one read saves). One with variables is another prompt in each run, and never is. Returns how many marks '
  'changed. For a job each minute. Call: select ops.choose_cached_prompts(); Spec 5.6.';
--! EndIncluded runs/choose_cached_prompts.sql
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
  perform api.unshare_comparison(c.user_id, c.id)
  from public.comparisons c
  where c.user_id = session.user_id and session.id = any (c.session_ids);
  delete from public.run_texts t where t.user_id = session.user_id and t.session_id = session.id;
  delete from public.copied_exchanges c where c.user_id = session.user_id and c.session_id = session.id;
  delete from public.session_index x where x.user_id = session.user_id and x.session_id = session.id;
  if found then
    update public.session_marks m set session_count = m.session_count - 1 where m.user_id = session.user_id;
  end if;
  return query
  update public.sessions s set deleted_at = core.now(), title = null, variables = null
  where s.user_id = session.user_id and s.id = session.id
  returning s.id, s.deleted_at;
end
$$;

comment on function api.delete_session(uuid, uuid) is
  'Deletes a user''s own session: its texts, title and shared link are gone; runs and what they cost stay in the books. No row where there is '
  'no such session of theirs. Errors: PR409 while a run of it is going on. Spec 10.1.';
--! EndIncluded sessions/delete_session.sql
--! Included sessions/erase_sessions.sql
create or replace function core.erase_sessions(user_id uuid, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Who indexes holds this row, and sees what follows.
  insert into public.session_marks as m (user_id, through_run_id, session_count)
  values (erase_sessions.user_id, '00000000-0000-0000-0000-000000000000', 0)
  on conflict on constraint session_marks_pkey do update set session_count = 0;
  update public.sessions s set title = null, variables = null, deleted_at = coalesce(s.deleted_at, erase_sessions.now)
  where s.user_id = erase_sessions.user_id;
  delete from public.copied_exchanges c where c.user_id = erase_sessions.user_id;
  delete from public.session_index x where x.user_id = erase_sessions.user_id;
  update public.shared_sessions s set ended_at = coalesce(s.ended_at, erase_sessions.now), feature_description = null
  where s.user_id = erase_sessions.user_id;
  update public.share_views v set feedback_text = null
  where v.visitor = core.visitor_of(erase_sessions.user_id, null) and v.feedback_text is not null;
  update public.exchange_feedback f set comment = null where f.user_id = erase_sessions.user_id;
end
$$;

comment on function core.erase_sessions(uuid, timestamptz) is
  'Ends a person''s sessions and shared links and takes their titles, comments and what is found by their words. The caller holds the user''s row. Spec 10.8.';
--! EndIncluded sessions/erase_sessions.sql
--! Included sessions/drop_old_texts.sql
create or replace function core.drop_old_texts(user_id uuid, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  ids uuid[] := array(
    select o.session_id from core.old_texts o where o.user_id = drop_old_texts.user_id and o.goes_at <= drop_old_texts.now
  );
  dropped bigint;
begin
  update public.session_index x set words = strip(to_tsvector('pg_catalog.simple', coalesce(s.title, '')))
  from public.sessions s
  where s.user_id = drop_old_texts.user_id and s.id = any (ids) and x.user_id = s.user_id and x.session_id = s.id;
  delete from public.copied_exchanges c where c.user_id = drop_old_texts.user_id and c.session_id = any (ids);
  update public.sessions s set variables = null
  where s.user_id = drop_old_texts.user_id and s.id = any (ids) and s.variables is not null;
  delete from public.run_texts t
  where t.user_id = drop_old_texts.user_id and t.session_id = any (ids)
    -- A run whose server is gone is still to be ended, by what its text says that it delivered.
    and t.run_id <> all (array(select unnest(u.open_runs) from public.users u where u.id = drop_old_texts.user_id));
  get diagnostics dropped = row_count;
  return dropped;
end
$$;

comment on function core.drop_old_texts(uuid, timestamptz) is
  'Drops the texts of a user''s sessions whose time is over, and what is found by them; runs, sums and given names stay, and the texts of runs that have not ended. Returns how many. The caller holds the user''s row, so that no '
  'run begins in one meanwhile. Spec 7.1.';
--! EndIncluded sessions/drop_old_texts.sql

--! split: 6-authors.sql
-- Visitors run by the name that signed-in people use, too.
alter table public.anonymous_visits add column if not exists first_used_at timestamptz;
comment on column public.anonymous_visits.first_used_at is 'When they ran; null: before this was kept.';
drop function if exists api.begin_anonymous_run(uuid, uuid, text, text, text, integer, text, integer, jsonb);
--! Included runs/refuse_second_visit.sql
create or replace function core.refuse_second_visit(visitor text, today date, as_run boolean, now timestamptz, signup_credits integer)
returns json
language plpgsql
stable
set search_path = ''
as $$
declare
  month date := date_trunc('month', today::timestamp)::date;
  message constant text := 'You have already used your free playground run of this month.';
  invitation json := core.describe_invitation(refuse_second_visit.signup_credits);
  refusal json := core.refuse_visit('limit_exceeded', message, (month::timestamp + interval '1 month') at time zone 'UTC',
    refuse_second_visit.now, refuse_second_visit.signup_credits);
begin
  if not as_run then
    return refusal;
  end if;
  return refusal::jsonb || jsonb_build_object(
    'code', 'anonymous_quota_exceeded', 'status', 403, 'limit', 1, 'used', 1, 'unit', 'runs',
    'details', jsonb_build_object(
      'quota_limit', 1, 'usage_count', 1, 'current_month', to_char(month, 'YYYY-MM'),
      'first_used_at', (
        select v.first_used_at from public.anonymous_visits v where v.visitor = refuse_second_visit.visitor and v.month = date_trunc('month', today::timestamp)::date
      )
    ),
    'call_to_action', jsonb_build_object(
      'message', invitation ->> 'message', 'registration_url', '/register',
      'benefits', case when signup_credits > 0 then jsonb_build_array(format('%s free credits', signup_credits)) else '[]' end
        || '["Every model", "Conversations that go on, and can be shared and compared"]'
    )
  );
end
$$;

comment on function core.refuse_second_visit(text, date, boolean, timestamptz, integer) is
  'The refusal of a visitor''s second run of a month, as core.refuse_visit: 429 limit_exceeded, or for as_run 403 anonymous_quota_exceeded with '
  'details (how many are free, used, in which month, since when) and call_to_action (why and where to sign up). Spec 5.9.';
--! EndIncluded runs/refuse_second_visit.sql
--! Included runs/begin_anonymous_run.sql
create or replace function api.begin_anonymous_run(
  user_id uuid, run_id uuid, address text, package text, package_version text, input_tokens integer, counted_with text,
  prompt_tokens integer default null, variables jsonb default null, as_run boolean default false,
  out begun json, out invitation json
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  b core.begun_run;
  s public.settings;
  m public.models;
  now timestamptz;
  today date;
  seen_by text := core.visitor_of(null, begin_anonymous_run.address);
  p record;
  k record;
  v record;
  d public.anonymous_days;
  estimated_input integer;
  held_input integer;
  wanted integer;
  useful integer;
  input_cost numeric;
  cost_left numeric;
  hold numeric;
begin
  s := (select x from public.settings x);
  now := clock_timestamp() + s.clock_offset;
  today := (now at time zone 'UTC')::date;
  invitation := core.describe_invitation(s.signup_credits);
  b.outcome := 'refused';
  if exists (select from public.anonymous_runs r where r.id = begin_anonymous_run.run_id) then
    b.outcome := 'known';
    b.begun_run_id := begin_anonymous_run.run_id;
    b.begun_session_id := begin_anonymous_run.run_id;
    b.run_status := (select r.status from public.anonymous_runs r where r.id = begin_anonymous_run.run_id);
    begun := row_to_json(b);
    return;
  end if;

  -- What is asked for.
  m := (select x from public.models x where x.alias = s.anonymous_model);
  select x.id, x.input, x.cache_write, x.output into p from public.model_prices x where x.model = m.alias and x.valid @> now;
  select x.id, x.name, x.latest_version, x.visibility, x.author_id, x.organization_id into k
  from public.packages x
  where x.id = core.uuid_or_null(begin_anonymous_run.package) or x.name = lower(begin_anonymous_run.package)
  order by x.id = core.uuid_or_null(begin_anonymous_run.package) desc nulls last
  limit 1;
  select x.version, x.prompt, x.variables, x.tokens_o200k, x.tokens_cl100k, x.tokens_approximate, x.cache_prompt into v
  from public.package_versions x
  where x.package_id = k.id and x.version = coalesce(begin_anonymous_run.package_version, k.latest_version);
  b.refusal := case
    when begin_anonymous_run.user_id is not null then core.describe_refusal('forbidden', 403,
      'You are signed in, so this run would be for nobody. Use POST /api/v1/playground/run.', now)
    when not s.runs_enabled then core.describe_refusal('runs_disabled', 503, 'Runs are switched off for the moment.', now,
      retry_at => now + interval '1 minute')
    when m.alias is null or not m.enabled or p.id is null then core.refuse_by_model(s.anonymous_model, m, now)
    else core.refuse_by_package(null, begin_anonymous_run.package, begin_anonymous_run.package_version, k.id, k.visibility, k.author_id,
      k.organization_id, v.version, now)
  end;
  if b.refusal is not null then
    begun := row_to_json(b);
    return;
  end if;

  if (v.variables is not null or begin_anonymous_run.variables is not null) and prompt_tokens is null then
    b.outcome := 'template';
    b.version := v.version;
    b.system_prompt := v.prompt;
    b.template := json_build_object('variables', v.variables, 'given_variables', coalesce(begin_anonymous_run.variables, '{}'));
    begun := row_to_json(b);
    return;
  end if;

  -- How large it is.
  estimated_input := begin_anonymous_run.input_tokens + 11 + coalesce(prompt_tokens, case m.tokenizer
    when 'o200k_base' then v.tokens_o200k when 'cl100k_base' then v.tokens_cl100k else v.tokens_approximate
  end);
  held_input := ceil(estimated_input * case when counted_with = m.tokenizer and m.tokenizer <> 'approximate' then s.estimate_safety_exact else s.estimate_safety end);
  wanted := least(m.max_output_tokens, s.max_request_tokens - estimated_input, m.context_tokens - estimated_input, s.max_output_tokens);
  useful := least(s.min_output_tokens, m.max_output_tokens, s.max_output_tokens);
  if wanted < useful then
    b.refusal := core.refuse_by_size(null, null, s, m, p.input, p.output, 1, estimated_input, held_input, wanted, useful, false, now);
    begun := row_to_json(b);
    return;
  end if;

  -- Once a month: who comes second waits here for the first of the same visitor, and for nobody else.
  insert into public.anonymous_visits (visitor, month, first_used_at)
  values (seen_by, date_trunc('month', today::timestamp)::date, now)
  on conflict do nothing;
  if not found then
    b.refusal := core.refuse_second_visit(seen_by, today, as_run, now, s.signup_credits);
    begun := row_to_json(b);
    return;
  end if;

  -- What all visitors share, last of all, so that its row is held for as short as can be.
  input_cost := held_input * greatest(p.input, p.cache_write) * 0.000001;
  insert into public.anonymous_days (day) values (today) on conflict do nothing;
  select x.* into d from public.anonymous_days x where x.day = today for no key update;
  cost_left := s.anonymous_daily_budget - d.used - d.held;
  b.output_cap := case
    when cost_left < input_cost then -1
    when p.output = 0 then wanted
    else least(wanted, floor((cost_left - input_cost) * 1000000 / p.output))
  end;
  if b.output_cap < useful then
    delete from public.anonymous_visits x where x.visitor = seen_by and x.month = date_trunc('month', today::timestamp)::date;
    b.refusal := core.refuse_visit('anonymous_budget', 'The free runs of today are used up.',
      case when cost_left + d.held < input_cost + useful * p.output * 0.000001
        then (today + 1)::timestamp at time zone 'UTC' else now + interval '10 seconds' end, now, s.signup_credits);
    begun := row_to_json(b);
    return;
  end if;
  hold := input_cost + b.output_cap * p.output * 0.000001;
  insert into public.anonymous_runs (
    id, day, visitor, status, model, provider_model, package_id, package_version, price_id, estimated_input, output_cap, hold_cost,
    hold_expires_at, started_at
  ) values (
    begin_anonymous_run.run_id, today, seen_by, 'running', m.alias, m.provider_model, k.id, v.version, p.id, estimated_input, b.output_cap,
    hold, now + (s.run_timeout_ms + s.hold_ms) * interval '1 millisecond', now
  );
  update public.anonymous_days x set held = x.held + hold, runs = x.runs + 1 where x.day = today;

  b.outcome := 'started';
  b.begun_run_id := begin_anonymous_run.run_id;
  b.begun_session_id := begin_anonymous_run.run_id;
  b.run_status := 'running';
  b.provider := m.provider;
  b.provider_model := m.provider_model;
  b.model_alias := m.alias;
  b.package_id := k.id;
  b.package_name := k.name;
  b.version := v.version;
  b.system_prompt := v.prompt;
  b.cache_prompt := v.cache_prompt;
  b.first_token_timeout_ms := s.first_token_timeout_ms;
  b.run_timeout_ms := s.run_timeout_ms;
  b.checkpoint_ms := s.checkpoint_ms;
  b.abandon_after_ms := s.abandon_after_ms;
  b.hold_credits := 0;
  b.available_credits := 0;
  b.estimated_input := estimated_input;
  b.held_input := held_input;
  b.wanted_output := wanted;
  begun := row_to_json(b);
end
$$;

comment on function api.begin_anonymous_run(uuid, uuid, text, text, text, integer, text, integer, jsonb, boolean) is
  'Lets a visitor''s one run of the calendar month in, with settings.anonymous_model, as far as settings.anonymous_daily_budget bears its '
  'worst case, or says why not. address is the visitor''s, kept as a keyed hash while it is needed; package is an id or name, package_version '
  'null the newest; input_tokens is the visitor''s own text counted with counted_with; prompt_tokens and variables are as for api.begin_run. as_run: asked for by the name that people who are signed in use, which has a refusal of its own for a second run. user_id is null: who is signed in is refused. '
  'Returns core.begun_run as JSON, as api.begin_run does, without credits, and what to tell the visitor (core.describe_invitation). Spec 5.9.';
--! EndIncluded runs/begin_anonymous_run.sql

-- What visitors cost counts in what was spent in the last hour, today and this month.
--! Included jobs/health_figures.sql
create or replace function core.health_figures()
returns table (figure text, value numeric, unit text, note text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  with clock as materialized (
    select core.now() as now, core.first_run_id(clock_timestamp() - interval '1 hour') as first_id
  ),
  recent as materialized (
    select r.status, r.error, r.cost, r.first_token_ms
    from clock
    join public.users u on u.last_request_at > clock.now - interval '1 hour'
    join public.runs r on r.user_id = u.id and r.id >= clock.first_id and r.started_at > clock.now - interval '1 hour'
  ),
  people as materialized (
    select
      coalesce(sum(cardinality(u.open_runs)), 0) as running,
      coalesce(sum(u.held_included + u.held_purchased), 0) as held_credits,
      coalesce(sum(u.current_day_api_cost) filter (where u.day_ends_at > clock.now), 0) as day_cost,
      count(*) filter (where core.throttled_at(u, clock.now) and u.closed_at is null) as throttled,
      count(*) filter (where core.throttled_at(u, clock.now) and u.closed_at is null and u.throttled_by is distinct from 'limit') as by_operators,
      count(*) filter (where u.last_request_at > clock.now - interval '24 hours') as active
    from clock
    cross join public.users u
  ),
  earned as materialized (
    select coalesce(sum(d.included_value + d.purchased_value), 0) as value
    from clock
    join core.usage_by_day d on d.day = (clock.now at time zone 'UTC')::date
  ),
  -- What visitors cost who are not signed in.
  visitors as materialized (
    select
      (
        select coalesce(sum(a.cost), 0) from public.anonymous_runs a
        where a.day >= ((clock.now - interval '1 hour') at time zone 'UTC')::date and a.started_at > clock.now - interval '1 hour'
      ) as hour_cost,
      coalesce((select d.used from public.anonymous_days d where d.day = (clock.now at time zone 'UTC')::date), 0) as day_cost
    from clock
  ),
  refused as materialized (
    select sum(r.count) as times, count(distinct r.user_id) as people, (array_agg(r.reason order by r.count desc))[1] as usual
    from clock
    join public.refusals r on r.last_at > clock.now - interval '1 hour'
  ),
  faults as materialized (
    select count(*) as number, string_agg(distinct c."check", ', ') as names from ops.checks() c
  )
  select h.figure, h.value, h.unit, h.note
  from (
    select 1, 'running now', p.running::numeric, 'runs', format('They hold %s credits: select * from ops.runs_live;', p.held_credits)
    from people p
    union all
    select 2, 'begun in the last hour', count(*)::numeric, 'runs', format('%s people ran something in 24 hours.', (select p.active from people p))
    from recent
    union all
    select 3, 'failed in the last hour', count(*) filter (where r.error is not null), 'runs',
      format('%s %% of those begun%s.', coalesce(round(100.0 * count(*) filter (where r.error is not null) / nullif(count(*), 0), 1), 0),
        ', mostly ' || mode() within group (order by r.error))
    from recent r
    union all
    select 4, 'first words, slowest of 20', round((percentile_cont(0.95) within group (order by r.first_token_ms))::numeric), 'milliseconds',
      format('The middle one: %s. Last hour.', coalesce(round((percentile_cont(0.5) within group (order by r.first_token_ms))::numeric)::text, 'none'))
    from recent r
    union all
    select 5, 'spent in the last hour', round(coalesce(sum(r.cost), 0) + (select v.hour_cost from visitors v), 4), 'dollars',
      format('settings.hourly_spend_alert: %s.', coalesce((select s.hourly_spend_alert::text from public.settings s), 'none'))
    from recent r
    union all
    select 6, 'spent today', round(p.day_cost + v.day_cost, 4), 'dollars',
      format('Earned by credits spent today: %s. By visitors: %s, see ops.anonymous_use.', (select round(e.value, 2) from earned e), round(v.day_cost, 4))
    from people p
    cross join visitors v
    union all
    select 7, 'throttled now', p.throttled, 'people', format('%s of them by operators: select * from ops.throttled_now;', p.by_operators)
    from people p
    union all
    select 8, 'refused in the last hour', coalesce(r.times, 0), 'attempts',
      format('Of %s people%s: select * from ops.refusals;', r.people, ', mostly ' || r.usual)
    from refused r
    union all
    select 9, 'jobs late or failed', count(*) filter (where j.is_late or j.has_failed), 'jobs',
      coalesce(string_agg(j.job, ', ' order by j.job) filter (where j.is_late or j.has_failed) || ': ', '') || 'select * from ops.jobs;'
    from ops.jobs j
    union all
    select 10, 'alerts open', count(*), 'alerts',
      coalesce((array_agg(a.what order by a.severity, a.raised_at desc))[1] || ': ', '') || 'select * from ops.alerts_now;'
    from ops.alerts_now a
    union all
    select 11, 'inbox waiting', count(*), 'events', coalesce('The oldest since ' || min(w.waiting_since) || ': ', '') || 'select * from ops.unclaimed_work;'
    from ops.unclaimed_work w
    union all
    select 12, 'needs you', f.number, 'checks', coalesce(f.names || ': ', '') || 'select * from ops.checks();'
    from faults f
  ) h (place, figure, value, unit, note)
  order by h.place;
end
$$;

comment on function core.health_figures() is
  'The rows of the view ops.health: figures of now, each in its unit, with a note. Spec 12.';
grant execute on function core.health_figures() to prpm_ops, prpm_readonly;
--! EndIncluded jobs/health_figures.sql
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
  -- Runs of visitors who are not signed in cost as others do.
  spent as (
    select sum(y.cost) as dollars, count(*) as runs
    from (
      select x.cost from recent x
      union all
      select a.cost
      from public.anonymous_runs a
      where a.day >= ((run_conditions.now - interval '1 hour') at time zone 'UTC')::date and a.started_at > run_conditions.now - interval '1 hour'
    ) y
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
    'Who: SELECT * FROM ops.runs_live; SELECT email, current_day_api_cost FROM users ORDER BY current_day_api_cost DESC LIMIT 10; SELECT * FROM ops.anonymous_use;' || E'\n'
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
  select coalesce(month_cost, 0) + coalesce(sum(d.used), 0) into month_cost
  from public.anonymous_days d
  where d.day >= (month_start at time zone 'UTC')::date;

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
  'What the metrics tell of the database, in one row: counts, credits, US dollars and seconds as of now; sums over nothing are null. month_cost has visitors'' runs in it. Costs one '
  'pass over users and none over runs. drift_rows is what reconcile-costs found last; jobs is [{job, late_seconds, failed}]. Spec 11.4.';
--! EndIncluded jobs/read_metrics.sql

-- Suggested inputs: how often they are taken, and tried to the end.
alter table public.suggested_inputs add column if not exists usage_count bigint not null default 0 check (usage_count >= 0);
alter table public.suggested_inputs add column if not exists completed_count bigint not null default 0 check (completed_count >= 0);
comment on column public.suggested_inputs.usage_count is 'How often it was taken: rows of suggested_input_uses.';
comment on column public.suggested_inputs.completed_count is 'How often a run of it completed then: those of them with a run.';
create table if not exists public.suggested_input_uses (
  suggested_input_id uuid not null references public.suggested_inputs (id),
  day date not null,
  visitor text not null,
  id uuid not null unique,
  used_at timestamptz not null,
  completed_run_id uuid unique,
  completed_at timestamptz,
  primary key (suggested_input_id, day, visitor)
);
create index if not exists suggested_input_uses_by_visitor on public.suggested_input_uses (visitor);
comment on table public.suggested_input_uses is
  'ops. Who took a suggested input on which day, without saying who (spec 10.4).';
comment on column public.suggested_input_uses.suggested_input_id is 'What was taken.';
comment on column public.suggested_input_uses.day is 'UTC day.';
comment on column public.suggested_input_uses.visitor is 'Keyed hash of the user or address: core.visitor_of.';
comment on column public.suggested_input_uses.id is 'With it who took it tells that a run of it completed.';
comment on column public.suggested_input_uses.used_at is 'When, the first time of that day.';
comment on column public.suggested_input_uses.completed_run_id is 'The run that completed; null: none.';
comment on column public.suggested_input_uses.completed_at is 'When that became known.';
--! Included catalog/suggested_input_row.sql
create or replace function core.suggested_input_row(i public.suggested_inputs)
returns json
language sql
stable
set search_path = ''
begin atomic
  select json_build_object(
    'id', i.id, 'package_id', i.package_id, 'title', i.title, 'description', i.description, 'suggested_input', i.suggested_input,
    'category', i.category, 'difficulty', i.difficulty, 'estimated_credits', i.estimated_credits,
    'recommended_model', i.recommended_model, 'display_order', i.display_order, 'usage_count', i.usage_count,
    'is_active', i.is_active, 'created_at', i.created_at
  );
end;

comment on function core.suggested_input_row(public.suggested_inputs) is
  'A suggested input as it is answered, JSON: its columns, but for who proposed it; usage_count is its clicks. Spec 10.4.';
--! EndIncluded catalog/suggested_input_row.sql
--! Included catalog/describe_suggested_inputs.sql
create or replace function core.describe_suggested_inputs(package_id uuid)
returns json
language sql
stable
set search_path = ''
begin atomic
  select coalesce(json_agg(json_build_object(
    'id', i.id, 'title', i.title, 'description', i.description, 'suggested_input', i.suggested_input, 'category', i.category,
    'difficulty', i.difficulty, 'estimated_credits', i.estimated_credits, 'recommended_model', i.recommended_model,
    'display_order', i.display_order, 'usage_count', i.usage_count, 'created_at', i.created_at
  ) order by i.display_order, i.usage_count desc, i.created_at, i.id), '[]')
  from public.suggested_inputs i
  where i.package_id = describe_suggested_inputs.package_id and i.is_active;
end;

comment on function core.describe_suggested_inputs(uuid) is
  'A package''s suggested inputs that are shown, in order, as JSON: the columns of suggested_inputs; usage_count is how often they were taken. Spec 10.4.';
--! EndIncluded catalog/describe_suggested_inputs.sql
--! Included catalog/check_suggested_input.sql
create or replace function core.check_suggested_input(
  title text, suggested_input text, description text, category text, difficulty text, estimated_credits integer, recommended_model text,
  display_order integer
)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  field text;
  rule text;
begin
  select w.field, w.rule into field, rule
  from (values
    ('title', length(btrim(title)) not between 1 and 100, '1 to 100 characters'),
    ('suggested_input', length(btrim(suggested_input)) not between 1 and 10000, '1 to 10,000 characters'),
    ('description', length(description) > 1000, 'at most 1,000 characters'),
    ('category', category not in ('code-review', 'documentation', 'refactoring', 'general', 'testing', 'optimization'),
      'code-review, documentation, refactoring, general, testing or optimization'),
    ('difficulty', difficulty not in ('beginner', 'intermediate', 'advanced'), 'beginner, intermediate or advanced'),
    ('estimated_credits', estimated_credits not between 1 and 50, 'a number from 1 to 50'),
    ('recommended_model', recommended_model is not null and not exists (select from public.models m where m.alias = recommended_model),
      'the alias of a model'),
    ('display_order', display_order not between 0 and 1000000, 'a number from 0 to 1,000,000')
  ) w (field, is_wrong, rule)
  where w.is_wrong;
  if found then
    raise exception '% must be %', field, rule using errcode = 'PR400', detail = field;
  end if;
end
$$;

comment on function core.check_suggested_input(text, text, text, text, text, integer, text, integer) is
  'Refuses a suggested input that is not as it should be; what is null is not looked at. Errors: PR400 naming the field. Spec 10.4.';
--! EndIncluded catalog/check_suggested_input.sql
--! Included catalog/package_of_author.sql
create or replace function core.package_of_author(user_id uuid, package text)
returns public.packages
language plpgsql
stable
set search_path = ''
as $$
declare
  p public.packages := core.find_package(package_of_author.user_id, package_of_author.package);
begin
  if p.id is not null and not core.may_publish(package_of_author.user_id, p.author_id, p.organization_id) then
    raise exception 'the package % belongs to somebody else', p.name
      using errcode = 'PR403', detail = 'package', hint = 'It is for its author, and its organization''s owners, admins and maintainers.';
  end if;
  return p;
end
$$;

comment on function core.package_of_author(uuid, text) is
  'The package of an id or name, for who may change it; null: there is none that this user may see. Errors: PR403 they may see it, but not '
  'change it. Spec 8.7, 10.4, 10.6.';
--! EndIncluded catalog/package_of_author.sql
--! Included catalog/own_package.sql
create or replace function core.own_package(user_id uuid, package text)
returns public.packages
language plpgsql
set search_path = ''
as $$
declare
  p public.packages := core.package_of_author(own_package.user_id, own_package.package);
begin
  if p.id is null then
    return null;
  end if;
  select x.* into strict p from public.packages x where x.id = p.id for no key update;
  return p;
end
$$;

comment on function core.own_package(uuid, text) is
  'The package of an id or name, locked, for who may change it; null: there is none that this user may see. Errors: PR403 they may see it, '
  'but not change it. Spec 10.4, 10.6.';
--! EndIncluded catalog/own_package.sql
--! Included catalog/own_suggested_input.sql
create or replace function core.own_suggested_input(user_id uuid, suggested_input_id uuid)
returns public.suggested_inputs
language plpgsql
set search_path = ''
as $$
declare
  i public.suggested_inputs;
begin
  select x.* into i from public.suggested_inputs x where x.id = own_suggested_input.suggested_input_id and x.is_active for no key update;
  if not found or (select p.id from core.own_package(own_suggested_input.user_id, i.package_id::text) p) is null then
    return null;
  end if;
  return i;
end
$$;

comment on function core.own_suggested_input(uuid, uuid) is
  'The suggested input of an id, locked, for who may change it; null: there is none that is shown and that this user may see. Errors: PR403 '
  'they may see it, but not change it. Spec 10.4.';
--! EndIncluded catalog/own_suggested_input.sql
--! Included catalog/list_suggested_inputs.sql
create or replace function api.list_suggested_inputs(user_id uuid, package text, category text default null, difficulty text default null)
returns table (suggested_inputs json, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  wanted uuid := (select p.id from core.find_package(list_suggested_inputs.user_id, list_suggested_inputs.package) p);
begin
  if wanted is null then
    return;
  end if;
  perform core.check_suggested_input(null, null, null, list_suggested_inputs.category, list_suggested_inputs.difficulty, null, null, null);
  select
    coalesce(json_agg(core.suggested_input_row(i) order by i.display_order, i.usage_count desc, i.created_at, i.id), '[]'), count(*)
  into suggested_inputs, total
  from public.suggested_inputs i
  where i.package_id = wanted and i.is_active
    and (list_suggested_inputs.category is null or i.category = list_suggested_inputs.category)
    and (list_suggested_inputs.difficulty is null or i.difficulty = list_suggested_inputs.difficulty);
  return next;
end
$$;

comment on function api.list_suggested_inputs(uuid, text, text, text) is
  'The suggested inputs of a package (id or name) that are shown, in the order of its authors, then the most used first; of a category or '
  'difficulty, where not null. One row: suggested_inputs (JSON array, see core.suggested_input_row) and total. No row for a package that the '
  'user (null: nobody signed in) may not see. Errors: PR400 naming category or difficulty. Spec 10.4.';
--! EndIncluded catalog/list_suggested_inputs.sql
--! Included catalog/list_author_inputs.sql
create or replace function api.list_author_inputs(user_id uuid, author_id uuid)
returns table (suggested_inputs json, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  if list_author_inputs.author_id is distinct from list_author_inputs.user_id then
    raise exception 'these are somebody else''s suggested inputs'
      using errcode = 'PR403', detail = 'author_id', hint = 'Those of a package are shown to everybody who may see it.';
  end if;
  select
    coalesce(json_agg(
      core.suggested_input_row(i)::jsonb || jsonb_build_object(
        'package_name', p.name, 'total_clicks', i.usage_count, 'completed_tests', i.completed_count
      ) order by p.name, i.display_order, i.created_at, i.id
    ), '[]'),
    count(*)
  into suggested_inputs, total
  from public.suggested_inputs i
  join public.packages p on p.id = i.package_id
  where i.created_by = list_author_inputs.author_id;
  return next;
end
$$;

comment on function api.list_author_inputs(uuid, uuid) is
  'All suggested inputs that a user proposed, those that are no longer shown too, with package_name, total_clicks and completed_tests. One '
  'row: suggested_inputs (JSON array, see core.suggested_input_row) and total. Errors: PR403 for another''s. Spec 8.7, 10.4.';
--! EndIncluded catalog/list_author_inputs.sql
--! Included catalog/create_suggested_input.sql
create or replace function api.create_suggested_input(
  user_id uuid, package text, title text, suggested_input text, description text default null, category text default null,
  difficulty text default null, estimated_credits integer default null, recommended_model text default null, display_order integer default null
)
returns table (created json)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  p public.packages := core.own_package(user_id, package);
  made public.suggested_inputs;
begin
  if p.id is null then
    return;
  end if;
  if title is null or suggested_input is null then
    raise exception 'a suggested input has a title and a text'
      using errcode = 'PR400', detail = case when title is null then 'title' else 'suggested_input' end;
  end if;
  perform core.check_suggested_input(title, suggested_input, description, category, difficulty, estimated_credits, recommended_model, display_order);
  if (select count(*) from public.suggested_inputs i where i.package_id = p.id and i.is_active) >= 50 then
    raise exception 'the package % has 50 suggested inputs, which is the most', p.name
      using errcode = 'PR409', detail = 'package', hint = 'Delete one of them.';
  end if;
  insert into public.suggested_inputs (
    package_id, title, description, suggested_input, category, difficulty, estimated_credits, recommended_model, display_order, created_by, created_at
  ) values (
    p.id, btrim(title), description, btrim(suggested_input), category, coalesce(difficulty, 'beginner'), coalesce(estimated_credits, 1),
    recommended_model,
    coalesce(display_order, (
      select coalesce(max(i.display_order) + 1, 0) from public.suggested_inputs i where i.package_id = p.id and i.is_active
    )),
    user_id, core.now()
  )
  returning * into made;
  created := core.suggested_input_row(made);
  return next;
end
$$;

comment on function api.create_suggested_input(uuid, text, text, text, text, text, text, integer, text, integer) is
  'Proposes an input to try a package (id or name) with, by its author or its organization''s owners, admins and maintainers; at most 50 a '
  'package. difficulty null: beginner; estimated_credits (credits) null: 1; display_order null: last. Answers it, see '
  'core.suggested_input_row. No row for a package that they may not see. Errors: PR403 for others, PR400 naming the field, PR409 above 50. Spec 10.4.';
--! EndIncluded catalog/create_suggested_input.sql
--! Included catalog/change_suggested_input.sql
create or replace function api.change_suggested_input(user_id uuid, suggested_input_id uuid, change json)
returns table (changed json)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  i public.suggested_inputs := core.own_suggested_input(user_id, suggested_input_id);
  wanted public.suggested_inputs;
begin
  if i.id is null then
    return;
  end if;
  select x.* into wanted
  from json_populate_record(i, (
    select coalesce(json_object_agg(e.key, e.value), '{}')
    from json_each(change) e
    where e.key in ('title', 'suggested_input', 'description', 'category', 'difficulty', 'estimated_credits', 'recommended_model', 'display_order')
  )) x;
  perform core.check_suggested_input(coalesce(wanted.title, ''), coalesce(wanted.suggested_input, ''), wanted.description, wanted.category,
    coalesce(wanted.difficulty, ''), coalesce(wanted.estimated_credits, 0), wanted.recommended_model, coalesce(wanted.display_order, -1));
  update public.suggested_inputs x set
    title = btrim(wanted.title), suggested_input = btrim(wanted.suggested_input), description = wanted.description,
    category = wanted.category, difficulty = wanted.difficulty, estimated_credits = wanted.estimated_credits,
    recommended_model = wanted.recommended_model, display_order = wanted.display_order
  where x.id = i.id
  returning x.* into i;
  changed := core.suggested_input_row(i);
  return next;
end
$$;

comment on function api.change_suggested_input(uuid, uuid, json) is
  'Changes a suggested input, by its package''s author or its organization''s owners, admins and maintainers: what change (a JSON object of '
  'columns) has, null too where a column may be empty. Answers it, see core.suggested_input_row. No row for one that is not shown, or not to '
  'them. Errors: PR403 for others, PR400 naming the field. Spec 10.4.';
--! EndIncluded catalog/change_suggested_input.sql
--! Included catalog/delete_suggested_input.sql
create or replace function api.delete_suggested_input(user_id uuid, suggested_input_id uuid)
returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
  i public.suggested_inputs := core.own_suggested_input(delete_suggested_input.user_id, delete_suggested_input.suggested_input_id);
begin
  update public.suggested_inputs x set is_active = false where x.id = i.id;
  return found;
end
$$;

comment on function api.delete_suggested_input(uuid, uuid) is
  'Shows a suggested input no longer, by its package''s author or its organization''s owners, admins and maintainers; what was counted of it '
  'stays. False for one that is not shown, or not to them. Errors: PR403 for others. Spec 10.4.';
--! EndIncluded catalog/delete_suggested_input.sql
--! Included catalog/use_suggested_input.sql
create or replace function api.use_suggested_input(user_id uuid, suggested_input_id uuid, address text)
returns table (usage_id uuid, is_counted boolean)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
  today date := (now at time zone 'UTC')::date;
  seen_by text := core.visitor_of(use_suggested_input.user_id, use_suggested_input.address);
  p public.packages;
begin
  select x.* into p
  from public.suggested_inputs i
  join public.packages x on x.id = i.package_id
  where i.id = use_suggested_input.suggested_input_id and i.is_active;
  if not core.may_see_package(use_suggested_input.user_id, p.visibility, p.author_id, p.organization_id) then
    return;
  end if;
  is_counted := false;
  if core.may_publish(use_suggested_input.user_id, p.author_id, p.organization_id) then
    return next;
    return;
  end if;
  insert into public.suggested_input_uses as u (suggested_input_id, day, visitor, id, used_at)
  values (use_suggested_input.suggested_input_id, today, seen_by, gen_random_uuid(), now)
  on conflict do nothing
  returning u.id into usage_id;
  if found then
    is_counted := true;
    update public.suggested_inputs i set usage_count = i.usage_count + 1 where i.id = use_suggested_input.suggested_input_id;
  else
    select u.id into usage_id from public.suggested_input_uses u
    where u.suggested_input_id = use_suggested_input.suggested_input_id and u.day = today and u.visitor = seen_by;
  end if;
  return next;
end
$$;

comment on function api.use_suggested_input(uuid, uuid, text) is
  'Counts that somebody took a suggested input, once a visitor and UTC day: user_id, or where that is null the address, kept as a keyed hash '
  'alone. Its package''s own people are not counted. Answers usage_id, with which a run of it can be told (api.complete_suggested_input; null '
  'where nothing was counted), and whether this was the first time today. No row for one that is not shown, or not to them. Spec 10.4, docs/adr/0036.';
--! EndIncluded catalog/use_suggested_input.sql
--! Included catalog/complete_suggested_input.sql
create or replace function api.complete_suggested_input(user_id uuid, usage_id uuid, session_id uuid)
returns table (run_id uuid, is_counted boolean)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  use public.suggested_input_uses;
  i public.suggested_inputs;
  p public.packages;
  done uuid;
begin
  select u.* into use from public.suggested_input_uses u where u.id = complete_suggested_input.usage_id for update;
  if not found then
    raise exception 'there is no such use of a suggested input' using errcode = 'PR404', detail = 'usage_id';
  end if;
  if not exists (
    select from public.sessions s
    where s.user_id = complete_suggested_input.user_id and s.id = complete_suggested_input.session_id and s.deleted_at is null
  ) then
    raise exception 'there is no such session of yours' using errcode = 'PR404', detail = 'session_id';
  end if;
  is_counted := false;
  if use.completed_run_id is not null then
    run_id := (
      select t.run_id from public.run_texts t
      where t.user_id = complete_suggested_input.user_id and t.session_id = complete_suggested_input.session_id and t.run_id = use.completed_run_id
    );
    return next;
    return;
  end if;
  select x.* into strict i from public.suggested_inputs x where x.id = use.suggested_input_id;
  select x.* into strict p from public.packages x where x.id = i.package_id;
  if core.may_publish(complete_suggested_input.user_id, p.author_id, p.organization_id) then
    return next;
    return;
  end if;

  select t.run_id into done
  from public.run_texts t
  join public.runs r on r.user_id = t.user_id and r.id = t.run_id
  where t.user_id = complete_suggested_input.user_id and t.session_id = complete_suggested_input.session_id
    and r.package_id = i.package_id and r.status = 'completed' and not r.baseline and r.started_at >= use.used_at
    and btrim(t.question, E' \t\r\n') = btrim(i.suggested_input, E' \t\r\n')
    and not exists (select from public.suggested_input_uses u where u.completed_run_id = r.id)
  order by t.run_id
  limit 1;
  if not found then
    raise exception 'no run of that session is one of this suggested input'
      using errcode = 'PR409', detail = 'session_id', hint = 'It counts once a run of the package with this input, as it is, has completed.';
  end if;
  update public.suggested_input_uses u set completed_run_id = done, completed_at = core.now() where u.id = use.id;
  update public.suggested_inputs x set completed_count = x.completed_count + 1 where x.id = i.id;
  run_id := done;
  is_counted := true;
  return next;
exception
  when unique_violation then
    raise exception 'that run was counted already' using errcode = 'PR409', detail = 'session_id';
end
$$;

comment on function api.complete_suggested_input(uuid, uuid, uuid) is
  'Counts that a suggested input was tried to the end, where it really was: the session is the user''s own, and a run of it completed with the '
  'package''s prompt on exactly that input since it was taken. Once for each use, each run for one use alone, and not of the package''s own '
  'people. Answers the run, and whether it was counted by this call. Errors: PR404 naming usage_id or session_id; PR409 where there is no such '
  'run. Spec 10.4, docs/adr/0036.';
--! EndIncluded catalog/complete_suggested_input.sql
--! Included catalog/erase_packages.sql
create or replace function core.erase_packages(user_id uuid)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  private uuid[] := array(
    select p.id from public.packages p
    where p.author_id = erase_packages.user_id and p.visibility = 'private' and p.organization_id is null
  );
begin
  delete from public.suggested_input_uses u
  using public.suggested_inputs s
  where s.package_id = any (private) and u.suggested_input_id = s.id;
  delete from public.suggested_inputs s where s.package_id = any (private);
  update public.package_versions v set prompt = '[erased]', changelog = '', variables = null, deprecated = null where v.package_id = any (private);
  update public.packages p set name = 'erased-' || p.id, description = '', tags = '{}' where p.id = any (private);
  return cardinality(private);
end
$$;

comment on function core.erase_packages(uuid) is
  'Blanks the private packages of a person that are no organization''s: names, prompts and all other texts. What was published stays, for '
  'others run it; its author has no name any more. Returns how many were blanked. Spec 10.8.';
--! EndIncluded catalog/erase_packages.sql
--! Included accounts/export_parts.sql
create or replace function core.export_parts()
returns table (place integer, part text, owner text, hidden text[], left_out text)
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select p.place::integer, p.part, p.owner, p.hidden::text[], p.left_out
  from (values
    (1, 'users', 'id', '{}', null),
    (2, 'email_preferences', 'user_id', '{}', null),
    (3, 'user_emails', 'user_id', '{}', null),
    (4, 'identities', 'user_id', '{}', null),
    (5, 'api_tokens', 'user_id', '{token_hash}', null),
    (6, 'organization_members', 'user_id', '{}', null),
    (7, 'sessions', 'user_id', '{forked_through}', null),
    (8, 'runs', 'user_id', '{}', null),
    (9, 'run_texts', 'user_id', '{}', null),
    (10, 'exchange_feedback', 'user_id', '{}', null),
    (11, 'shared_sessions', 'user_id', '{}', null),
    (12, 'share_views', 'visitor', '{visitor}', null),
    (13, 'idempotency_keys', 'user_id', '{request_hash}', null),
    (14, 'refusals', 'user_id', '{}', null),
    (15, 'credit_lots', 'user_id', '{}', null),
    (16, 'credit_transactions', 'user_id', '{}', null),
    (17, 'subscriptions', 'user_id', '{}', null),
    (18, 'subscription_periods', 'user_id', '{}', null),
    (19, 'purchases', 'user_id', '{}', null),
    (20, 'payments', 'user_id', '{}', null),
    (21, 'reversals', 'user_id', '{}', null),
    (22, 'checkouts', 'user_id', '{}', null),
    (23, 'stripe_customers', 'user_id', '{write_id}', null),
    (24, 'packages', 'author_id', '{name_words,words}', null),
    (25, 'package_versions', 'published_by', '{}', null),
    (26, 'suggested_inputs', 'created_by', '{}', null),
    (27, 'messages', 'user_id', '{dedupe,payload}', null),
    (28, 'alerts', 'user_id', '{acknowledged_by,acknowledged_because}', null),
    (29, 'logins', 'user_id', '{token_hash}', null),
    (30, 'copied_exchanges', 'user_id', '{}', null),
    (31, 'comparisons', 'user_id', '{}', null),
    (32, 'suggested_input_uses', 'visitor', '{visitor}', null),
    (null, 'core.usage_marks', 'user_id', '{}', 'how far sums over runs have come'),
    (null, 'core.usage_corrections', 'user_id', '{}', 'which runs are to be summed again'),
    (null, 'core.package_days', 'user_id', '{}', 'sums over runs, which are there'),
    (null, 'usage_rollups', 'user_id', '{}', 'sums over runs, which are there'),
    (null, 'core.user_cost_figures', 'user_id', '{}', 'sums over runs and payments, which are there'),
    (null, 'erasures', 'user_id', '{}', 'that an account was erased, which then nobody can ask'),
    (null, 'rate_windows', 'user_id', '{}', 'counts of the last minute'),
    (null, 'session_index', 'user_id', '{}', 'words of titles and texts, which are there'),
    (null, 'session_marks', 'user_id', '{}', 'how far the index has come'),
    (null, 'stripe_effects', 'user_id', '{}', 'which news of Stripe''s were booked; what they told is in subscriptions, purchases and payments'),
    (null, 'stripe_events', 'user_id', '{}', 'news of Stripe''s as they came; what they told is in subscriptions, purchases and payments'),
    (null, 'stripe_payments', 'user_id', '{}', 'whose payments are whose, which are there'),
    (null, 'stripe_work', 'user_id', '{}', 'what a server is about to ask Stripe'),
    (null, 'stripe_drift', 'user_id', '{}', 'what differed from Stripe and was repaired')
  ) p (place, part, owner, hidden, left_out);
end;

comment on function core.export_parts() is
  'Every table that has something of a person, in the order of an export: which column says whose a row is, which columns stay inside, or why '
  'the table is left out (place is null then). part is the table, without its schema where that is public. Spec 10.8.';
--! EndIncluded accounts/export_parts.sql

-- What authors see of their packages.
create table if not exists core.package_days (
  package_id uuid not null,
  day date not null,
  user_id uuid not null,
  model text not null,
  sessions bigint not null,
  runs bigint not null,
  credits bigint not null,
  primary key (package_id, day, user_id, model)
);
comment on table core.package_days is
  'ops. How packages were used with their own prompt, up to each user''s core.usage_marks; core.package_use adds the rest. Only core.refresh_usage writes it (spec 8.2, 8.7).';
comment on column core.package_days.package_id is 'The package.';
comment on column core.package_days.day is 'UTC day in which the runs began.';
comment on column core.package_days.user_id is 'Who ran.';
comment on column core.package_days.model is 'models.alias.';
comment on column core.package_days.sessions is 'Sessions that began with one of these runs.';
comment on column core.package_days.runs is 'Runs that have ended, however they ended; baselines left out.';
comment on column core.package_days.credits is 'Credits charged for them.';
create index if not exists package_days_by_user on core.package_days (user_id);
create index if not exists packages_by_organization on public.packages (organization_id) where organization_id is not null;
create index if not exists anonymous_runs_by_package on public.anonymous_runs (package_id);
alter table core.usage_corrections add column if not exists prompted_sessions bigint not null default 0;
alter table core.usage_corrections add column if not exists prompted_runs bigint not null default 0;
alter table core.usage_corrections add column if not exists prompted_credits bigint not null default 0;
comment on column core.usage_corrections.prompted_sessions is 'Sessions that began with it, and with the package''s prompt, below 0.';
comment on column core.usage_corrections.prompted_runs is 'Runs with the package''s prompt, below 0.';
comment on column core.usage_corrections.prompted_credits is 'Credits charged for them, below 0.';
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
  end as paid_cost,
  (not r.baseline and r.session_id = r.id)::integer::bigint as prompted_sessions,
  (not r.baseline)::integer::bigint as prompted_runs,
  case when r.baseline then 0 else r.credits end as prompted_credits
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
comment on column core.usage_by_run.prompted_sessions is 'Sessions: 1 if one began with it, and with the package''s prompt.';
comment on column core.usage_by_run.prompted_runs is 'Runs: 1 if it had the package''s prompt.';
comment on column core.usage_by_run.prompted_credits is 'Credits charged, if it had the package''s prompt.';
--! EndIncluded analytics/usage_by_run.sql
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
join core.usage_marks m on m.user_id = c.user_id and c.run_id <= m.through_run_id
union all
-- Of nobody: what visitors ran.
select
  null, a.day, a.model, a.package_id, 'anonymous', 1, (a.status in ('failed', 'expired') or a.error is not null)::integer,
  coalesce(a.input_tokens, 0), coalesce(a.cached_tokens, 0), coalesce(a.cache_write_tokens, 0), coalesce(a.output_tokens, 0),
  a.cost, a.cost, 0, 0, 0, 0, 0, 0, 0, 0, 0
from public.anonymous_runs a
where a.status <> 'running';

comment on view core.usage_parts is
  'What core.usage_by_day is the sum of, not summed yet: rollups, runs above their user''s mark, corrections of those below, and visitors'' runs. For sums over '
  'many users, which need no second grouping; single rows mean nothing, and may be below 0. Spec 8.2.';
comment on column core.usage_parts.user_id is 'Who ran; null for visitors who were not signed in.';
comment on column core.usage_parts.day is 'UTC day in which the runs began.';
comment on column core.usage_parts.model is 'models.alias.';
comment on column core.usage_parts.package_id is 'The package.';
comment on column core.usage_parts.tier_name is 'Tier at the time; anonymous for visitors.';
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
  x.paid_cost + c.paid_cost as paid_cost,
  x.prompted_sessions + c.prompted_sessions as prompted_sessions,
  x.prompted_runs + c.prompted_runs as prompted_runs,
  x.prompted_credits + c.prompted_credits as prompted_credits
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
comment on column core.usage_corrected.prompted_sessions is 'Sessions that began with the package''s prompt.';
comment on column core.usage_corrected.prompted_runs is 'Runs with the package''s prompt: baselines left out.';
comment on column core.usage_corrected.prompted_credits is 'Credits charged for them.';
--! EndIncluded analytics/usage_corrected.sql
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
    included_value, purchased_value, cache_saving, answers, answer_tokens, paid_credits, paid_cost,
    prompted_sessions, prompted_runs, prompted_credits
  )
  select
    r.user_id, r.id,
    (select coalesce(max(c.n), 0) + 1 from core.usage_corrections c where c.user_id = r.user_id and c.run_id = r.id),
    coalesce(-x.runs, 0), coalesce(-x.failed_runs, 0), coalesce(-x.input_tokens, 0), coalesce(-x.cached_tokens, 0),
    coalesce(-x.cache_write_tokens, 0), coalesce(-x.output_tokens, 0), coalesce(-x.cost, 0), coalesce(-x.limited_cost, 0),
    coalesce(-x.credits, 0), coalesce(-x.shortfall, 0), coalesce(-x.included_value, 0), coalesce(-x.purchased_value, 0),
    coalesce(-x.cache_saving, 0), coalesce(-x.answers, 0), coalesce(-x.answer_tokens, 0), coalesce(-x.paid_credits, 0), coalesce(-x.paid_cost, 0),
    coalesce(-x.prompted_sessions, 0), coalesce(-x.prompted_runs, 0), coalesce(-x.prompted_credits, 0)
  from (values (1)) one
  left join core.usage_by_run x on x.user_id = r.user_id and x.run_id = r.id;
end
$$;

comment on function core.note_correction(public.runs) is
  'To be called before an ended run is changed, and when one begins with an id below its user''s newest: keeps what the run counts for until '
  'then, so that rollups that have it, or have passed it, stay exact. Only user_id and id of the row are read. The caller holds the user''s row. Spec 8.2.';
--! EndIncluded analytics/note_correction.sql
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
      sum(x.paid_cost) as paid_cost,
      sum(x.prompted_sessions)::bigint as prompted_sessions,
      sum(x.prompted_runs)::bigint as prompted_runs,
      sum(x.prompted_credits)::bigint as prompted_credits
    from (
      select
        k.user_id, t.day, t.model, t.package_id, t.tier_name, t.runs, t.failed_runs, t.input_tokens, t.cached_tokens, t.cache_write_tokens,
        t.output_tokens, t.cost, t.limited_cost, t.credits, t.shortfall, t.included_value, t.purchased_value, t.cache_saving, t.answers,
        t.answer_tokens, t.paid_credits, t.paid_cost, t.prompted_sessions, t.prompted_runs, t.prompted_credits
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
        c.answer_tokens, c.paid_credits, c.paid_cost, c.prompted_sessions, c.prompted_runs, c.prompted_credits
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
  by_package_day as (
    insert into core.package_days as p (package_id, day, user_id, model, sessions, runs, credits)
    select
      n.package_id, n.day, n.user_id, n.model, sum(n.prompted_sessions)::bigint, sum(n.prompted_runs)::bigint, sum(n.prompted_credits)::bigint
    from news n
    where n.prompted_sessions <> 0 or n.prompted_runs <> 0 or n.prompted_credits <> 0
    group by n.package_id, n.day, n.user_id, n.model
    on conflict (package_id, day, user_id, model) do update set
      sessions = p.sessions + excluded.sessions, runs = p.runs + excluded.runs, credits = p.credits + excluded.credits
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
  return query select * from core.audit_usage(target, target);
  if dry_run then
    return;
  end if;

  perform core.note_action('recount_usage', target::text, reason, null);
  delete from public.usage_rollups r where r.user_id = target;
  delete from core.package_days d where d.user_id = target;
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
--! Included analytics/package_parts.sql
create or replace view core.package_parts as
select d.package_id, d.day, d.user_id, d.model, d.sessions, d.runs, d.credits
from core.package_days d
union all
-- Runs above their user's mark. offset 0: by key, user by user, whatever the planner thinks of how many there are.
select t.package_id, t.day, u.id, t.model, t.prompted_sessions, t.prompted_runs, t.prompted_credits
from public.users u
left join core.usage_marks m on m.user_id = u.id
cross join lateral (
  select * from core.usage_by_run x
  where x.user_id = u.id and x.run_id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000')
  offset 0
) t
where u.last_run_id > coalesce(m.through_run_id, '00000000-0000-0000-0000-000000000000')
union all
select c.package_id, c.day, c.user_id, c.model, c.prompted_sessions, c.prompted_runs, c.prompted_credits
from core.usage_corrected c
join core.usage_marks m on m.user_id = c.user_id and c.run_id <= m.through_run_id;

comment on view core.package_parts is
  'What core.package_use is the sum of: days that are rolled up, runs above their user''s mark, and corrections of those below. Single rows '
  'mean nothing, and may be below 0. Spec 8.2, 8.7.';
comment on column core.package_parts.package_id is 'The package.';
comment on column core.package_parts.day is 'UTC day in which the runs began.';
comment on column core.package_parts.user_id is 'Who ran.';
comment on column core.package_parts.model is 'models.alias.';
comment on column core.package_parts.sessions is 'Sessions that began with the package''s prompt.';
comment on column core.package_parts.runs is 'Runs with it that have ended.';
comment on column core.package_parts.credits is 'Credits charged for them.';
--! EndIncluded analytics/package_parts.sql
--! Included analytics/package_use.sql
create or replace function core.package_use(package_ids uuid[], since date)
returns table (package_id uuid, day date, user_id uuid, model text, sessions bigint, runs bigint, credits bigint)
language sql
stable
set search_path = ''
set jit = off
set enable_seqscan = on
begin atomic
  select x.package_id, x.day, x.user_id, x.model, sum(x.sessions)::bigint, sum(x.runs)::bigint, sum(x.credits)::bigint
  from core.package_parts x
  where x.package_id = any (package_use.package_ids) and (package_use.since is null or x.day >= package_use.since)
  group by x.package_id, x.day, x.user_id, x.model
  having sum(x.runs) <> 0;
end;

comment on function core.package_use(uuid[], date) is
  'How packages were used with their own prompt, by day (UTC, of the runs'' beginning; since null: all), user and model: sessions that began so, '
  'runs that have ended, credits charged. core.package_days, and what has come since; equal to a sum over runs at every moment. Reads packages'' '
  'days by key, the users once, and of runs only new ones. Spec 8.2, 8.7.';
--! EndIncluded analytics/package_use.sql
--! Included analytics/audit_usage.sql
create or replace function core.audit_usage(first_user uuid, last_user uuid)
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
    where r.user_id between first_user and last_user
    group by r.user_id, r.day, r.model, r.package_id, r.tier_name
  ) e
  full join (
    select d.* from core.usage_by_day d where d.user_id between first_user and last_user
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

  return query
  select
    coalesce(e.user_id, a.user_id), 'package_days',
    format('package %s, %s of %s', coalesce(e.package_id, a.package_id), coalesce(e.model, a.model), coalesce(e.day, a.day)),
    format('%s sessions, %s runs, %s credits', coalesce(e.sessions, 0), coalesce(e.runs, 0), coalesce(e.credits, 0)),
    format('%s sessions, %s runs, %s credits', coalesce(a.sessions, 0), coalesce(a.runs, 0), coalesce(a.credits, 0))
  from (
    select
      r.package_id, r.day, r.user_id, r.model,
      sum(r.prompted_sessions) as sessions, sum(r.prompted_runs) as runs, sum(r.prompted_credits) as credits
    from core.usage_by_run r
    where r.user_id between first_user and last_user
    group by r.package_id, r.day, r.user_id, r.model
  ) e
  full join (
    select x.package_id, x.day, x.user_id, x.model, sum(x.sessions) as sessions, sum(x.runs) as runs, sum(x.credits) as credits
    from core.package_parts x
    where x.user_id between first_user and last_user
    group by x.package_id, x.day, x.user_id, x.model
  ) a on a.package_id = e.package_id and a.day = e.day and a.user_id = e.user_id and a.model = e.model
  where (coalesce(e.sessions, 0), coalesce(e.runs, 0), coalesce(e.credits, 0)) <> (coalesce(a.sessions, 0), coalesce(a.runs, 0), coalesce(a.credits, 0));
end
$$;

comment on function core.audit_usage(uuid, uuid) is
  'Part of ops.audit_books: each figure of core.usage_by_day and core.package_use against a sum over runs. '
  'Of users between two ids, both included. Spec 8.2.';
--! EndIncluded analytics/audit_usage.sql
--! Included analytics/check_days.sql
create or replace function core.check_days(days integer)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  if days is null or days not between 1 and 90 then
    raise exception 'days must be 1 to 90' using errcode = 'PR400', detail = 'days';
  end if;
end
$$;

comment on function core.check_days(integer) is 'Refuses a number of days that is not 1 to 90. Errors: PR400 naming days. Spec 8.7.';
--! EndIncluded analytics/check_days.sql
--! Included analytics/package_ratings.sql
create or replace function core.package_ratings(package_id uuid, people uuid[])
returns json
language sql
stable
set search_path = ''
begin atomic
  select json_build_object(
    'effective', said.effective, 'not_effective', said.not_effective, 'helpful', votes.helpful, 'not_helpful', votes.not_helpful
  )
  from (
    select count(*) filter (where f.is_effective) as effective, count(*) filter (where not f.is_effective) as not_effective
    from unnest(people) p (id)
    cross join lateral (select x.user_id, x.run_id, x.is_effective from public.exchange_feedback x where x.user_id = p.id offset 0) f
    cross join lateral (
      select r.package_id, r.baseline from public.runs r where r.user_id = f.user_id and r.id = f.run_id offset 0
    ) r
    where r.package_id = package_ratings.package_id and not r.baseline
  ) said,
  (
    select coalesce(sum(s.helpful_count), 0) as helpful, coalesce(sum(s.not_helpful_count), 0) as not_helpful
    from public.shared_sessions s
    where s.package_id = package_ratings.package_id and s.ended_at is null
  ) votes;
end;

comment on function core.package_ratings(uuid, uuid[]) is
  'How a package is rated, JSON: answers that these people found effective or not, and votes on its shared results. Spec 8.7, 10.2, 10.3.';
--! EndIncluded analytics/package_ratings.sql
--! Included analytics/read_author_summary.sql
create or replace function api.read_author_summary(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  today date := (core.now() at time zone 'UTC')::date;
  package_ids uuid[] := array(
    select p.id from public.packages p where p.author_id = read_author_summary.user_id
    union
    select p.id
    from public.organization_members m
    join public.packages p on p.organization_id = m.organization_id
    where m.user_id = read_author_summary.user_id and m.role in ('owner', 'admin', 'maintainer')
  );
begin
  return (
    with used as materialized (
      select u.* from core.package_use(package_ids, null) u
    ),
    packages as (
      select
        p.id, p.name, p.visibility,
        coalesce(sum(u.sessions), 0) as sessions, count(distinct u.user_id) as users, coalesce(sum(u.credits), 0) as credits
      from public.packages p
      left join used u on u.package_id = p.id
      where p.id = any (package_ids)
      group by p.id, p.name, p.visibility
    ),
    inputs as (
      select count(*) as total, count(*) filter (where i.is_active) as active
      from public.suggested_inputs i
      where i.package_id = any (package_ids)
    ),
    shares as (
      select count(*) as shared, count(s.featured_at) as featured, coalesce(sum(s.view_count), 0) as views
      from public.shared_sessions s
      where s.package_id = any (package_ids) and s.ended_at is null
    )
    select json_build_object(
      'total_packages', cardinality(package_ids),
      'total_playground_sessions', coalesce((select sum(u.sessions) from used u), 0),
      'total_unique_users', (select count(distinct u.user_id) from used u),
      'total_credits_spent', coalesce((select sum(u.credits) from used u), 0),
      'sessions_last_7_days', coalesce((select sum(u.sessions) from used u where u.day > today - 7), 0),
      'sessions_last_30_days', coalesce((select sum(u.sessions) from used u where u.day > today - 30), 0),
      'total_suggested_inputs', inputs.total,
      'active_suggested_inputs', inputs.active,
      'total_shared_sessions', shares.shared,
      'total_featured_sessions', shares.featured,
      'total_share_views', shares.views,
      'top_package_name', (select p.name from packages p where p.sessions > 0 order by p.sessions desc, p.name limit 1),
      'packages', (
        select coalesce(json_agg(json_build_object(
          'id', p.id, 'name', p.name, 'visibility', p.visibility, 'sessions', p.sessions, 'unique_users', p.users, 'credits_spent', p.credits
        ) order by p.sessions desc, p.name), '[]')
        from (select x.* from packages x order by x.sessions desc, x.name limit 100) p
      )
    )
    from inputs, shares
  );
end
$$;

comment on function api.read_author_summary(uuid) is
  'How the packages of a user are used, those of organizations too for which they publish, JSON: sessions, people (each once), credits; suggested '
  'inputs; results that are shared now, featured, their views; and the 100 packages with most sessions. Use without a package''s prompt does not '
  'count. Days are UTC, today the last. Zeros for who has no package. Spec 8.7.';
--! EndIncluded analytics/read_author_summary.sql
--! Included analytics/read_package_analytics.sql
create or replace function api.read_package_analytics(user_id uuid, package text)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  today date := (core.now() at time zone 'UTC')::date;
  p public.packages := core.package_of_author(read_package_analytics.user_id, read_package_analytics.package);
begin
  if p.id is null then
    return null;
  end if;
  return (
    with used as materialized (
      select u.* from core.package_use(array[p.id], null) u
    ),
    sums as (
      select
        coalesce(sum(u.sessions), 0) as sessions, coalesce(sum(u.runs), 0) as runs, coalesce(sum(u.credits), 0) as credits,
        count(distinct u.user_id) as users,
        coalesce(sum(u.sessions) filter (where u.day > today - 7), 0) as week,
        coalesce(sum(u.sessions) filter (where u.day > today - 30), 0) as month
      from used u
    ),
    models as (
      select u.model, sum(u.sessions) as sessions, sum(u.runs) as runs, count(distinct u.user_id) as users, sum(u.credits) as credits
      from used u
      group by u.model
    ),
    shares as (
      select count(*) as shared, count(s.featured_at) as featured, coalesce(sum(s.view_count), 0) as views
      from public.shared_sessions s
      where s.package_id = p.id and s.ended_at is null
    )
    select json_build_object(
      'package_id', p.id,
      'package_name', p.name,
      'total_playground_sessions', sums.sessions,
      'total_runs', sums.runs,
      'unique_users', sums.users,
      'total_credits_spent', sums.credits,
      'avg_credits_per_session', coalesce(round(sums.credits::numeric / nullif(sums.sessions, 0), 2), 0),
      'sessions_last_7_days', sums.week,
      'sessions_last_30_days', sums.month,
      'anonymous_runs', (select count(*) from public.anonymous_runs a where a.package_id = p.id and a.status <> 'running'),
      'suggested_inputs_count', (select count(*) from public.suggested_inputs i where i.package_id = p.id and i.is_active),
      'featured_sessions_count', shares.featured,
      'shared_sessions_count', shares.shared,
      'total_share_views', shares.views,
      'ratings', core.package_ratings(p.id, array(select distinct u.user_id from used u)),
      'models', (
        select coalesce(json_agg(json_build_object(
          'model', m.model, 'sessions', m.sessions, 'runs', m.runs, 'unique_users', m.users, 'credits_spent', m.credits
        ) order by m.runs desc, m.model), '[]')
        from models m
      )
    )
    from sums, shares
  );
end
$$;

comment on function api.read_package_analytics(uuid, text) is
  'How a package (id or name) is used, for its author and its organization''s owners, admins and maintainers, JSON: sessions, runs, people, '
  'credits, by model too; runs of visitors who were not signed in apart; results that are shared now, and ratings. Use without the package''s '
  'prompt does not count. Days are UTC, today the last. null: no such package. Errors: PR403 for others. Spec 8.7.';
--! EndIncluded analytics/read_package_analytics.sql
--! Included analytics/read_package_series.sql
create or replace function api.read_package_series(user_id uuid, package text, days integer default 30)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  today date := (core.now() at time zone 'UTC')::date;
  p public.packages := core.package_of_author(read_package_series.user_id, read_package_series.package);
begin
  if p.id is null then
    return null;
  end if;
  perform core.check_days(read_package_series.days);
  return (
    with used as (
      select u.day, sum(u.sessions) as sessions, count(distinct u.user_id) as users, sum(u.credits) as credits
      from core.package_use(array[p.id], today - read_package_series.days + 1) u
      group by u.day
    ),
    shared as (
      select (s.shared_at at time zone 'UTC')::date as day, count(*) as shares
      from public.shared_sessions s
      where s.package_id = p.id and s.ended_at is null
      group by 1
    )
    select json_build_object(
      'data', json_agg(json_build_object(
        'date', d.day, 'sessions_count', coalesce(u.sessions, 0), 'unique_users', coalesce(u.users, 0),
        'credits_spent', coalesce(u.credits, 0), 'shared_count', coalesce(s.shares, 0)
      ) order by d.day),
      'total_days', read_package_series.days
    )
    from (select today - g as day from generate_series(0, read_package_series.days - 1) g) d
    left join used u on u.day = d.day
    left join shared s on s.day = d.day
  );
end
$$;

comment on function api.read_package_series(uuid, text, integer) is
  'A package''s (id or name) last days, 1 to 90, today the last, for its author and its organization''s owners, admins and maintainers, JSON: of '
  'each day (UTC) sessions that began with the package''s prompt, people, credits, and results shared on it that are shared still. null: no such '
  'package. Errors: PR403 for others, PR400 naming days. Spec 8.7.';
--! EndIncluded analytics/read_package_series.sql
--! Included analytics/read_input_analytics.sql
create or replace function api.read_input_analytics(user_id uuid, package text)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  today date := (core.now() at time zone 'UTC')::date;
  p public.packages := core.package_of_author(read_input_analytics.user_id, read_input_analytics.package);
begin
  if p.id is null then
    return null;
  end if;
  return (
    with inputs as (
      select i.*, u.clicks, u.completions, u.people, u.week, u.month, u.last_at, round(100.0 * u.completions / nullif(u.clicks, 0), 2) as rate
      from public.suggested_inputs i
      cross join lateral (
        select
          count(*) as clicks, count(x.completed_run_id) as completions, count(distinct x.visitor) as people,
          count(*) filter (where x.day > today - 7) as week, count(*) filter (where x.day > today - 30) as month, max(x.used_at) as last_at
        from public.suggested_input_uses x
        where x.suggested_input_id = i.id
      ) u
      where i.package_id = p.id
    )
    select json_build_object(
      'suggested_inputs', coalesce(json_agg(json_build_object(
        'suggested_input_id', i.id,
        'title', i.title,
        'category', i.category,
        'difficulty', i.difficulty,
        'is_active', i.is_active,
        'total_clicks', i.clicks,
        'completed_tests', i.completions,
        'unique_users', i.people,
        'conversion_rate', coalesce(i.rate, 0),
        'clicks_last_7_days', i.week,
        'clicks_last_30_days', i.month,
        'last_clicked_at', i.last_at,
        'created_at', i.created_at
      ) order by i.clicks desc, i.display_order, i.id), '[]'),
      'summary', json_build_object(
        'total_inputs', count(*),
        'total_clicks', coalesce(sum(i.clicks), 0),
        'total_completions', coalesce(sum(i.completions), 0),
        'avg_conversion_rate', coalesce(round(avg(i.rate), 2), 0)
      )
    )
    from inputs i
  );
end
$$;

comment on function api.read_input_analytics(uuid, text) is
  'How the suggested inputs of a package (id or name) are taken, for its author and its organization''s owners, admins and maintainers, JSON, most '
  'taken first, those that are no longer shown too. A click is a visitor and UTC day; conversion_rate is percent of clicks whose run completed; '
  'avg_conversion_rate is the mean over inputs that were clicked. null: no such package. Errors: PR403 for others. Spec 8.7, 10.4.';
--! EndIncluded analytics/read_input_analytics.sql
--! Included analytics/read_input_series.sql
create or replace function api.read_input_series(user_id uuid, suggested_input_id uuid, days integer default 30)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  today date := (core.now() at time zone 'UTC')::date;
  wanted text := (select i.package_id::text from public.suggested_inputs i where i.id = read_input_series.suggested_input_id);
begin
  if wanted is null or (select p.id from core.package_of_author(read_input_series.user_id, wanted) p) is null then
    return null;
  end if;
  perform core.check_days(read_input_series.days);
  return (
    with uses as materialized (
      select x.day, (x.completed_at at time zone 'UTC')::date as completed_day, x.visitor
      from public.suggested_input_uses x
      where x.suggested_input_id = read_input_series.suggested_input_id
    )
    select json_build_object(
      'data', json_agg(json_build_object(
        'date', d.day,
        'clicks', (select count(*) from uses u where u.day = d.day),
        'completions', (select count(*) from uses u where u.completed_day = d.day),
        'unique_users', (select count(distinct u.visitor) from uses u where u.day = d.day)
      ) order by d.day),
      'total_days', read_input_series.days
    )
    from (select today - g as day from generate_series(0, read_input_series.days - 1) g) d
  );
end
$$;

comment on function api.read_input_series(uuid, uuid, integer) is
  'The last days of a suggested input, 1 to 90, today the last, for its package''s author and its organization''s owners, admins and maintainers, '
  'JSON: of each day (UTC) clicks, runs that became known to have completed, and visitors. null: there is none such. Errors: PR403 for '
  'others, PR400 naming days. Spec 8.7, 10.4.';
--! EndIncluded analytics/read_input_series.sql

-- Names that clients know.

-- What rollups have already, once. A run with a correction counts by that: it is as if rolled up with nothing.
select pg_advisory_xact_lock(hashtext('refresh_user_cost_analytics'));
insert into core.package_days (package_id, day, user_id, model, sessions, runs, credits)
select x.package_id, x.day, x.user_id, x.model, sum(x.prompted_sessions), sum(x.prompted_runs), sum(x.prompted_credits)
from core.usage_marks m
join core.usage_by_run x on x.user_id = m.user_id and x.run_id <= m.through_run_id
where not exists (select from core.package_days)
  and not exists (select from core.usage_corrections c where c.user_id = x.user_id and c.run_id = x.run_id)
group by x.package_id, x.day, x.user_id, x.model
having sum(x.prompted_runs) <> 0;

-- Packages are found by the words of names, tags and descriptions, and by names spelled much alike.
drop function if exists core.match_package(public.packages, text);
--! Included catalog/plain_words.sql
create or replace function core.plain_words(words text)
returns text
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select lower(regexp_replace(words, '[^[:alnum:]]+', ' ', 'g'));
end;

comment on function core.plain_words(text) is
  'A text as words with spaces between them, so that code-review and code.review are two words and no host. Spec 10.6.';
--! EndIncluded catalog/plain_words.sql
--! Included catalog/package_words.sql
create or replace function core.package_words(words text)
returns tsvector
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select to_tsvector('pg_catalog.english', core.plain_words(words));
end;

comment on function core.package_words(text) is 'What a package is found by: words by their English stems. Spec 10.6.';
--! EndIncluded catalog/package_words.sql
--! Included catalog/tag_words.sql
create or replace function core.tag_words(tags text[])
returns text
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select coalesce(string_agg(t.tag, ' ' order by t.n), '') from unnest(tags) with ordinality t (tag, n);
end;

comment on function core.tag_words(text[]) is 'Tags as one text. Spec 10.6.';
--! EndIncluded catalog/tag_words.sql
alter table public.packages
  add column if not exists name_words tsvector generated always as (core.package_words(name)) stored,
  add column if not exists words tsvector generated always as (core.package_words(name || ' ' || core.tag_words(tags) || ' ' || description)) stored;
comment on column public.packages.name_words is 'The words of its name: core.package_words.';
comment on column public.packages.words is 'The words of its name, tags and description: core.package_words.';
create index if not exists packages_hidden_by_author on public.packages (author_id) where visibility <> 'public';
create index if not exists packages_hidden_by_organization on public.packages (organization_id) where visibility <> 'public';
create index if not exists packages_by_name_words on public.packages using gin (name_words);
create index if not exists packages_by_words on public.packages using gin (words);
create index if not exists packages_by_tag on public.packages using gin (tags);
create index if not exists packages_by_name on public.packages (name collate "C");
--! Included catalog/parse_package_search.sql
create or replace function core.parse_package_search(query text)
returns tsquery
language plpgsql
immutable
set search_path = ''
as $$
declare
  words text[] := string_to_array(btrim(core.plain_words(query)), ' ');
  last text := words[cardinality(words)];
  begun tsquery;
begin
  if coalesce(last, '') = '' then
    return null;
  end if;
  begun := to_tsquery('pg_catalog.english', last) || to_tsquery('pg_catalog.simple', last || ':*');
  if cardinality(words) = 1 then
    return begun;
  end if;
  return plainto_tsquery('pg_catalog.english', array_to_string(words[:cardinality(words) - 1], ' ')) && begun;
end
$$;

comment on function core.parse_package_search(text) is
  'The words of a search for packages, all of which have to be there by their stems, the last one perhaps begun alone; null where there is '
  'none. Spec 10.6.';
--! EndIncluded catalog/parse_package_search.sql
--! Included catalog/hidden_packages.sql
create or replace function core.hidden_packages(user_id uuid)
returns uuid[]
language sql
stable
set search_path = ''
begin atomic
  select array(
    select p.id from public.packages p where p.author_id = hidden_packages.user_id and p.visibility <> 'public'
    union
    select p.id
    from public.organization_members m
    join public.packages p on p.organization_id = m.organization_id
    where m.user_id = hidden_packages.user_id and p.visibility <> 'public'
  );
end;

comment on function core.hidden_packages(uuid) is
  'Packages that a user finds and others do not: their own and their organizations'' that are not public. Spec 5.5, 10.6.';
--! EndIncluded catalog/hidden_packages.sql
--! Included catalog/find_packages.sql
create or replace function core.find_packages(query text, own uuid[], after_rank integer, after_name text, most integer)
returns table (rank integer, id uuid)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
declare
  asked text := lower(btrim(query));
  asked_words tsquery := core.parse_package_search(asked);
  -- As names are written; _ may stand for another sign.
  pattern text := case when asked ~ '^[a-z0-9@/._-]{3,}$' then '%' || asked || '%' else '' end;
  from_rank integer := coalesce(after_rank, -1);
  found_here integer;
  wanted integer := most;
begin
  if from_rank <= 1 then
    return query
    select (p.name <> asked)::integer, p.id
    from public.packages p
    where p.name collate "C" >= asked and p.name collate "C" < asked || '~' and (after_name is null or p.name collate "C" > after_name)
      and (p.visibility = 'public' or p.id = any (own))
    order by p.name collate "C"
    limit wanted;
    get diagnostics found_here = row_count;
    wanted := wanted - found_here;
  end if;

  -- Planned for these words: what is common is looked for along the names, what is rare by its words.
  if wanted > 0 and from_rank <= 2 then
    return query
    select 2, p.id
    from public.packages p
    where (p.name_words @@ asked_words or p.name like pattern) and not starts_with(p.name, asked)
      and (from_rank < 2 or p.name collate "C" > after_name) and (p.visibility = 'public' or p.id = any (own))
    order by p.name collate "C"
    limit wanted;
    get diagnostics found_here = row_count;
    wanted := wanted - found_here;
  end if;
  if wanted > 0 and from_rank <= 3 then
    return query
    select 3, p.id
    from public.packages p
    where p.tags @> array[asked] and not starts_with(p.name, asked) and not (coalesce(p.name_words @@ asked_words, false) or p.name like pattern)
      and (from_rank < 3 or p.name collate "C" > after_name) and (p.visibility = 'public' or p.id = any (own))
    order by p.name collate "C"
    limit wanted;
    get diagnostics found_here = row_count;
    wanted := wanted - found_here;
  end if;
  if wanted > 0 then
    return query
    select 4, p.id
    from public.packages p
    where p.words @@ asked_words and not starts_with(p.name, asked) and not (p.name_words @@ asked_words or p.name like pattern)
      and not p.tags @> array[asked] and (from_rank < 4 or p.name collate "C" > after_name)
      and (p.visibility = 'public' or p.id = any (own))
    order by p.name collate "C"
    limit wanted;
  end if;
end
$$;

comment on function core.find_packages(text, uuid[], integer, text, integer) is
  'Packages that a text is found in, best first and then by name, at most so many: 0 whole name, 1 its start, 2 a part of it, 3 a tag, '
  '4 name, tags and description together; those after a rank and name. Public ones, and of others those in own. Spec 10.6.';
--! EndIncluded catalog/find_packages.sql
--! Included catalog/count_packages.sql
create or replace function core.count_packages(query text, own uuid[], most integer)
returns bigint
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
declare
  asked text := lower(btrim(query));
  asked_words tsquery := core.parse_package_search(asked);
  pattern text := case when asked ~ '^[a-z0-9@/._-]{3,}$' then '%' || asked || '%' else asked || '%' end;
begin
  return (
    select count(*)
    from (
      select
      from public.packages p
      where (p.words @@ asked_words or p.name like pattern or p.tags @> array[asked]) and (p.visibility = 'public' or p.id = any (own))
      limit most
    ) x
  );
end
$$;

comment on function core.count_packages(text, uuid[], integer) is
  'How many packages core.find_packages finds, counted up to so many. Spec 10.6.';
--! EndIncluded catalog/count_packages.sql
--! Included catalog/similar_packages.sql
create or replace function core.similar_packages(query text, own uuid[])
returns table (rank integer, id uuid, name text)
language plpgsql
stable
set search_path = ''
-- Comparing costs more than the planner thinks: never name by name.
set enable_seqscan = off
set enable_indexscan = off
set enable_indexonlyscan = off
as $$
#variable_conflict use_column
declare
  asked text := lower(btrim(query));
begin
  -- Not beside the function: only a superuser may say it there, where nothing has loaded pg_trgm yet.
  perform set_config('pg_trgm.word_similarity_threshold', '0.45', true);
  return query
  with partly as materialized (
    select p.id, p.name, public.word_similarity(asked, p.name) as likeness
    from public.packages p
    where asked operator(public.<%) p.name and (p.visibility = 'public' or p.id = any (own))
    limit 300
  ),
  alike as (
    select p.id, p.name, public.similarity(p.name, asked) as likeness
    from public.packages p
    where p.name operator(public.%) asked and (p.visibility = 'public' or p.id = any (own)) and not exists (select from partly)
  )
  select 1000 + (1000 * (1 - x.likeness))::integer, x.id, x.name
  from (select a.* from alike a union all select b.* from partly b) x
  order by 1, x.name collate "C"
  limit 20;
end
$$;

comment on function core.similar_packages(text, uuid[]) is
  'Packages whose names have a part that is spelled much like a text, by trigrams, the most like it first (rank from 1000), at most 20, of 300 that '
  'are found first; where there is none, names that are like it as a whole. Public ones, and of others those in own. Spec 10.6.';
--! EndIncluded catalog/similar_packages.sql
--! Included catalog/search_packages.sql
create or replace function api.search_packages(user_id uuid, query text default null, "limit" integer default 20, cursor text default null)
returns table (packages json, next_cursor text, total bigint)
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
declare
  most_counted constant integer := 1000;
  asked text := nullif(lower(btrim(search_packages.query)), '');
  after text[] := core.decode_cursor(search_packages.cursor, 'integer', 'text');
  own uuid[] := core.hidden_packages(search_packages.user_id);
  ids uuid[];
  ranks integer[];
begin
  perform core.check_page("limit", 0);

  if asked is null then
    ids := array(
      select p.id from public.packages p
      where (p.visibility = 'public' or p.id = any (own)) and (after is null or p.name collate "C" > after[2])
      order by p.name collate "C"
      limit "limit" + 1
    );
    ranks := array_fill(0, array[cardinality(ids)]);
    select count(*) into total
    from (select from public.packages p where p.visibility = 'public' or p.id = any (own) limit most_counted) x;
  else
    if after is null or after[1]::integer < 1000 then
      select array_agg(f.id order by f.n), array_agg(f.rank order by f.n) into ids, ranks
      from core.find_packages(asked, own, after[1]::integer, after[2], "limit" + 1) with ordinality f (rank, id, n);
      if after is null and coalesce(cardinality(ids), 0) <= "limit" then
        total := coalesce(cardinality(ids), 0);
      else
        total := core.count_packages(asked, own, most_counted);
      end if;
    end if;
    -- Nothing has these words: perhaps they are misspelled.
    if ids is null and (after is null or after[1]::integer >= 1000) then
      select
        array_agg(s.id order by s.rank, s.name collate "C") filter (where s.is_after),
        array_agg(s.rank order by s.rank, s.name collate "C") filter (where s.is_after),
        count(*)
      into ids, ranks, total
      from (
        select x.*, after is null or x.rank > after[1]::integer or x.rank = after[1]::integer and x.name collate "C" > after[2] as is_after
        from core.similar_packages(asked, own) x
      ) s;
      ids := ids[:"limit" + 1];
    end if;
  end if;

  select
    coalesce(json_agg(json_build_object(
      'id', p.id, 'name', p.name, 'description', p.description, 'tags', p.tags,
      'author', (select u.username from public.users u where u.id = p.author_id),
      'visibility', p.visibility, 'latest_version', p.latest_version, 'updated_at', p.updated_at
    ) order by x.n) filter (where x.n <= "limit"), '[]'),
    case when count(*) > "limit" then max(core.encode_cursor(ranks["limit"]::text, p.name)) filter (where x.n = "limit") end
  into packages, next_cursor
  from unnest(ids) with ordinality x (id, n)
  join public.packages p on p.id = x.id;
  return next;
end
$$;

comment on function api.search_packages(uuid, text, integer, text) is
  'One page of the packages that a text is found in, best match first: name, then tag, then description (see core.find_packages), and where '
  'nothing has its words, names spelled like it; null or blank finds all, by name. Public ones, and the user''s own and their organizations'' of '
  'any visibility. One row: packages (JSON array of id, name, description, tags, author, visibility, latest_version, updated_at), next_cursor '
  '(null on the last page), total (counted up to 1,000). limit 1 to 100. Errors: PR400 naming limit or cursor. Spec 10.6, 10.7.';
--! EndIncluded catalog/search_packages.sql

--! split: 7-pages.sql
-- What the pages show: limits, credits day by day, files, the way back from Stripe.
--! Included limits/read_limits.sql
create or replace function api.read_limits(user_id uuid)
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
begin
  select x.* into u from public.users x where x.id = read_limits.user_id;
  if not found then
    return null;
  end if;
  u := core.roll_windows(u, clock);
  select c.* into l from public.cost_limits_config c where c.tier_name = core.tier_now(u);
  return json_build_object(
    'tier', core.tier_now(u),
    'throttles', coalesce(l.throttle_on_exceed, true),
    'waived_until', case when u.limits_waived_until > clock then u.limits_waived_until end,
    'is_throttled', core.throttled_at(u, clock),
    'throttled_reason', case when core.throttled_at(u, clock) then u.throttled_reason end,
    'throttled_until', case when core.throttled_at(u, clock) and u.throttled_by is not null then u.throttled_until end,
    'windows', core.describe_windows(u, l),
    'refusals', core.describe_refusals(u.id)
  );
end
$$;

comment on function api.read_limits(uuid) is
  'What a user may still use, as of now, as a JSON object: tier; throttles (whether its cost limits stop or only alert); waived_until; is_throttled, '
  'why and until when (null: until it is lifted); windows as core.describe_windows; and the newest 20 refusals as core.describe_refusals. '
  'Null for an unknown user. Spec 3.2, 3.4, 3.7.';
--! EndIncluded limits/read_limits.sql
--! Included credits/check_movement_type.sql
create or replace function core.check_movement_type(type text)
returns void
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
  known constant text[] := array['signup', 'monthly', 'purchase', 'spend', 'rollover', 'expire', 'refund', 'bonus', 'admin'];
begin
  if check_movement_type.type <> all (known) then
    raise exception 'type % is none of %', check_movement_type.type, array_to_string(known, ', ')
      using errcode = 'PR400', detail = 'type', hint = 'Leave type out to see every movement.';
  end if;
end
$$;

comment on function core.check_movement_type(text) is
  'Refuses a type of credit movement that there is none of; null is every type. Errors: PR400 naming type. Spec 4.2, 10.7.';
--! EndIncluded credits/check_movement_type.sql
--! Included credits/describe_movements.sql
create or replace function core.describe_movements(user_id uuid, ids bigint[])
returns json
language sql
stable
set search_path = ''
begin atomic
  select coalesce(json_agg(json_build_object(
    'id', t.id,
    'user_id', t.user_id,
    'type', t.type,
    'amount', case when t.credit = 'lot' then t.amount else -t.amount end,
    'balance_after', t.balance_after,
    'kind', l.kind,
    'description', coalesce(t.description, 'Run with ' || r.model),
    'session_id', r.session_id,
    'run_id', t.run_id,
    'purchase_id', t.purchase_id,
    'metadata', json_build_object('lot_id', t.lot_id, 'model', r.model),
    'created_at', t.created_at
  ) order by t.id desc), '[]')
  from public.credit_transactions t
  left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
  left join public.runs r on r.user_id = t.user_id and r.id = t.run_id
  where t.user_id = describe_movements.user_id and t.id = any (describe_movements.ids);
end;

comment on function core.describe_movements(uuid, bigint[]) is
  'Movements of a user''s credits by their numbers, newest first, as a JSON array: id, user_id, type, amount in credits (above 0 into lots, below '
  '0 out of them), balance_after, kind of lot, description, session_id, run_id, purchase_id, metadata {lot_id, model}, created_at. Spec 4.2, 10.7.';
--! EndIncluded credits/describe_movements.sql
--! Included credits/list_credit_history.sql
create or replace function api.list_credit_history(
  user_id uuid, type text default null, "limit" integer default 50, cursor text default null, "offset" integer default 0
)
returns table (transactions json, next_cursor text, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  after text[] := core.decode_cursor(list_credit_history.cursor, 'bigint');
  page bigint[];
begin
  perform core.check_page("limit", "offset");
  perform core.check_movement_type(list_credit_history.type);

  select array_agg(p.id) into page
  from (
    select t.id
    from public.credit_transactions t
    where t.user_id = list_credit_history.user_id
      and (list_credit_history.type is null or t.type = list_credit_history.type)
      and (after is null or t.id < after[1]::bigint)
    order by t.id desc
    offset "offset"
    limit "limit" + 1
  ) p;
  if cardinality(page) > "limit" then
    page := page[:"limit"];
    next_cursor := core.encode_cursor(page["limit"]::text);
  end if;

  transactions := core.describe_movements(list_credit_history.user_id, page);
  select count(*) into total
  from public.credit_transactions t
  where t.user_id = list_credit_history.user_id and (list_credit_history.type is null or t.type = list_credit_history.type);
  return next;
end
$$;

comment on function api.list_credit_history(uuid, text, integer, text, integer) is
  'One page of a user''s own credit movements, newest first. One row: transactions (JSON array: id, user_id, type, amount in credits, above 0 into lots '
  'and below 0 out of them, balance_after, kind of lot, description, session_id, run_id, purchase_id, metadata with lot_id and model, created_at), next_cursor (null on the '
  'last page) and total (all movements of that type). Errors: PR400 naming type (with the types known), limit, offset or cursor. Spec 4.2, 10.7.';
--! EndIncluded credits/list_credit_history.sql
--! Included credits/export_credit_history.sql
create or replace function api.export_credit_history(user_id uuid, type text default null, cursor text default null)
returns table (transactions json, next_cursor text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  most constant integer := 1000;
  after text[] := core.decode_cursor(export_credit_history.cursor, 'bigint');
  page bigint[];
begin
  perform core.check_movement_type(export_credit_history.type);
  select array_agg(p.id) into page
  from (
    select t.id
    from public.credit_transactions t
    where t.user_id = export_credit_history.user_id
      and (export_credit_history.type is null or t.type = export_credit_history.type)
      and (after is null or t.id < after[1]::bigint)
    order by t.id desc
    limit most + 1
  ) p;
  if cardinality(page) > most then
    page := page[:most];
    next_cursor := core.encode_cursor(page[most]::text);
  end if;
  transactions := core.describe_movements(export_credit_history.user_id, page);
  return next;
end
$$;

comment on function api.export_credit_history(uuid, text, text) is
  'A piece of a user''s own credit movements for a file, newest first, 1,000 at most. One row: transactions as core.describe_movements, '
  'next_cursor (null on the last piece). Errors: PR400 naming type (with the types known) or cursor. Spec 10.7.';
--! EndIncluded credits/export_credit_history.sql
--! Included credits/forecast_credits.sql
create or replace function core.forecast_credits(user_id uuid, pace numeric, days integer, now timestamptz)
returns table (day date, balance bigint)
language plpgsql
stable
set search_path = ''
as $$
declare
  u public.users;
  today date := (forecast_credits.now at time zone 'UTC')::date;
  remaining numeric[];
  ends timestamptz[];
  wanted numeric;
  taken numeric;
begin
  select x.* into u from public.users x where x.id = forecast_credits.user_id;
  select array_agg(l.remaining::numeric), array_agg(l.expires_at) into remaining, ends
  from core.held_in_lots(u.id, 0, 0) l
  where l.expires_at > forecast_credits.now;

  for nth in 1 .. forecast_credits.days loop
    day := today + nth;
    wanted := pace;
    balance := 0;
    for lot in 1 .. coalesce(cardinality(remaining), 0) loop
      if ends[lot] <= day::timestamp at time zone 'UTC' then
        remaining[lot] := 0;
      end if;
      taken := least(wanted, remaining[lot]);
      wanted := wanted - taken;
      remaining[lot] := remaining[lot] - taken;
      balance := balance + ceil(remaining[lot]);
    end loop;
    return next;
    exit when balance = 0;
  end loop;
end
$$;

comment on function core.forecast_credits(uuid, numeric, integer, timestamptz) is
  'What a user would have left at the end of each of the next days (UTC), up to the first with nothing, if they spend pace credits a day in '
  'the order of spending, lots expire when they do, and nothing is granted or bought. Spec 4.1.';
--! EndIncluded credits/forecast_credits.sql
--! Included credits/read_credit_series.sql
create or replace function api.read_credit_series(user_id uuid, days integer default 30)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  clock timestamptz := core.now();
  today date := (clock at time zone 'UTC')::date;
  u public.users;
  pace numeric;
  past json;
  ahead json;
begin
  if days is null or days not between 1 and 90 then
    raise exception 'days must be between 1 and 90, not %', coalesce(days::text, 'null') using errcode = 'PR400', detail = 'days';
  end if;
  select x.* into u from public.users x where x.id = read_credit_series.user_id;
  if not found then
    return null;
  end if;

  with by_day as (
    select
      d.day::date as day,
      coalesce(sum(m.change) filter (where m.change > 0), 0)::bigint as came_in,
      coalesce(-sum(m.change) filter (where m.type = 'spend'), 0)::bigint as spent,
      coalesce(-sum(m.change) filter (where m.change < 0 and m.type <> 'spend'), 0)::bigint as lapsed
    from generate_series(today - (days - 1), today, interval '1 day') d(day)
    left join (
      select
        (t.created_at at time zone 'UTC')::date as day, t.type, case when t.credit = 'lot' then t.amount else -t.amount end as change
      from public.credit_transactions t
      where t.user_id = u.id and t.type <> 'rollover' and t.created_at >= (today - (days - 1))::timestamp at time zone 'UTC'
    ) m on m.day = d.day::date
    group by d.day
  )
  select
    json_agg(json_build_object(
      'day', b.day, 'came_in', b.came_in, 'spent', b.spent, 'lapsed', b.lapsed, 'balance', b.balance
    ) order by b.day),
    round(
      sum(b.spent) filter (where b.day > today - 14)
        / greatest(1, least(14, days, today - (u.created_at at time zone 'UTC')::date + 1)),
      2
    )
  into past, pace
  from (
    select
      x.*,
      u.included_credits + u.purchased_credits - coalesce(sum(x.came_in - x.spent - x.lapsed) over (
        order by x.day desc rows between unbounded preceding and 1 preceding
      ), 0) as balance
    from by_day x
  ) b;

  if pace > 0 then
    select json_agg(json_build_object('day', f.day, 'balance', f.balance) order by f.day) into ahead
    from core.forecast_credits(u.id, pace, days, clock) f;
  end if;
  return json_build_object(
    'days', past, 'pace', pace, 'ahead', coalesce(ahead, '[]'),
    'empty_on', (select x.value ->> 'day' from json_array_elements(ahead) x where (x.value ->> 'balance')::bigint = 0 limit 1)
  );
end
$$;

comment on function api.read_credit_series(uuid, integer) is
  'A user''s credits day by day (UTC) as a JSON object: days, oldest first (day, came_in, spent, lapsed: expired or taken back, balance in the '
  'books at its end; rollover is neither in nor out), pace (credits spent a day, of the last 14 days or since sign-up), ahead (day, balance as '
  'core.forecast_credits, as many days; empty without a pace) and empty_on, the first of those days with nothing left, or null. days: 1 to 90. '
  'Null for an unknown user. Errors: PR400 naming days. Spec 4.2, 10.7.';
--! EndIncluded credits/read_credit_series.sql
--! Included billing/read_checkout.sql
create or replace function api.read_checkout(user_id uuid, session_id text default null)
returns json
language sql
stable
security definer
set search_path = ''
begin atomic
  select json_build_object('kind', c.kind, 'name', c.name, 'credits', c.credits, 'price', c.price::text, 'state', c.state)
  from (
    select
      'pack' as kind, p.pack as name, p.credits, p.price, p.created_at, p.stripe_checkout_session_id as session_id,
      case p.status
        when 'pending' then 'waiting' when 'needs_review' then 'in_review' when 'failed' then 'failed' when 'expired' then 'expired' else 'done'
      end as state
    from public.purchases p
    where p.user_id = read_checkout.user_id
    union all
    select
      'subscription', c.plan, p.monthly_credits, p.monthly_price, c.created_at, c.session_id,
      case
        when u.prpm_plus_status = 'active' and u.entitled_until > core.now() then 'done' when c.status = 'expired' then 'expired' else 'waiting'
      end
    from public.checkouts c
    join public.plans p on p.plan = c.plan
    join public.users u on u.id = c.user_id
    where c.user_id = read_checkout.user_id
  ) c
  where c.session_id = coalesce(read_checkout.session_id, c.session_id)
  order by c.created_at desc
  limit 1;
end;

comment on function api.read_checkout(uuid, text) is
  'What became of one of a user''s own checkout sessions at Stripe, the newest where none is named, as a JSON object: kind (pack or '
  'subscription), name of the pack or plan, credits, price (US dollars), and state: waiting (Stripe has not told of the payment yet), done '
  '(the credits are there, or the subscription entitles), in_review, failed or expired. Null where there is none of theirs. Spec 6.1, 6.2, 6.5.';
--! EndIncluded billing/read_checkout.sql
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
  where p.is_active;
end;

comment on function api.list_packs(uuid) is
  'Packs that can be bought, by anybody (user_id may be null): credits, price in cents, dollars a credit, and bonus, the percent of credits more than the dearest pack gives '
  'for the money. Spec 6.2.';
--! EndIncluded billing/list_packs.sql
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
    'is_open', coalesce(state.is_open, false),
    'status', (s).status,
    'plan', coalesce((s).plan, offer.plan),
    'tier', core.tier_now(u),
    'price', coalesce(agreed.monthly_price, p.monthly_price)::text,
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
  left join public.plan_prices agreed on agreed.stripe_price_id = (s).price_id and agreed.plan = (s).plan
  left join public.plans p on p.plan = coalesce((s).plan, offer.plan)
  where u.id = read_subscription.user_id;
end;

comment on function api.read_subscription(uuid) is
  'A user''s subscription: is_active (it entitles now), is_open (another cannot be begun), status (Stripe''s word, null without any), plan, tier, price (US dollars a month, as agreed when it '
  'was bought), '
  'credits a month, cancel_at, current_period_end, paid_until, payment_problem {since, hosted_invoice_url}, and told, a sentence for the '
  'person. Null for an unknown user. Spec 6.1.';
--! EndIncluded billing/read_subscription.sql

create index if not exists packages_by_organization on public.packages (organization_id) where organization_id is not null;

--! split: 8-play.sql
-- What the page of the playground asks for.

--! Included runs/describe_visit.sql
create or replace function api.describe_visit(user_id uuid, address text, out model text, out signup_credits integer, out refusal json)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  s public.settings := (select x from public.settings x);
  now timestamptz := clock_timestamp() + s.clock_offset;
  month date := date_trunc('month', now at time zone 'UTC')::date;
begin
  model := s.anonymous_model;
  signup_credits := s.signup_credits;
  refusal := case
    when describe_visit.user_id is not null then null
    when not s.runs_enabled then core.describe_refusal('runs_disabled', 503, 'Runs are switched off for the moment.', now,
      retry_at => now + interval '1 minute')
    when exists (
      select from public.anonymous_visits v where v.visitor = core.visitor_of(null, describe_visit.address) and v.month = month
    ) then core.refuse_second_visit(core.visitor_of(null, describe_visit.address), month, false, now, s.signup_credits)
  end;
end
$$;

comment on function api.describe_visit(uuid, text) is
  'What a visitor who is not signed in may run now: with which model, the credits that a new account begins with, and the refusal that a '
  'run would meet whatever it asks for, null where there is none. address is the visitor''s; user_id is null: who is signed in is no visitor. '
  'Spec 5.9.';
--! EndIncluded runs/describe_visit.sql

--! split: 9-admin.sql
-- What the admin page shows and changes.
create index if not exists stripe_events_received on public.stripe_events (received_at, id);

--! Included catalog/config_fields.sql
create or replace function core.config_fields()
returns table (
  kind text, table_name text, key_column text, field text, type text, is_optional boolean, description text, place integer
)
language sql
stable
set search_path = ''
begin atomic
  select
    c.kind, c.table_name, c.key_column, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), not a.attnotnull,
    pg_catalog.col_description(a.attrelid, a.attnum), 100 * c.place + a.attnum
  from (
    values
      (1, 'limits', 'cost_limits_config', 'tier_name', array['tier_name', 'paused_until']),
      (2, 'plans', 'plans', 'plan', array['plan', 'stripe_price_id']),
      (3, 'packs', 'packs', 'pack', array['pack', 'stripe_price_id']),
      (4, 'models', 'models', 'alias', array['alias', 'provider', 'provider_model', 'tokenizer', 'context_tokens', 'is_default']),
      (5, 'settings', 'settings', 'only_row', array['only_row', 'clock_offset', 'clock_offset_allowed'])
  ) c (place, kind, table_name, key_column, kept)
  join pg_catalog.pg_attribute a on a.attrelid = ('public.' || c.table_name)::regclass
    and a.attnum > 0 and not a.attisdropped and a.attname <> all (c.kept);
end;

comment on function core.config_fields() is
  'What an administrator can change: of each kind (limits, plans, packs, models, settings) the table, the column that names a row, and each '
  'field with its type, whether it may be null, and its comment; place orders them. Spec 12.';
--! EndIncluded catalog/config_fields.sql
--! Included catalog/change_row.sql
create or replace function core.change_row(kind text, name text, changes jsonb, adds boolean)
returns json
language plpgsql
set search_path = ''
as $$
declare
  t record;
  field text;
  key text := case when change_row.kind = 'settings' then 'true' else change_row.name end;
  was jsonb;
  becomes jsonb;
  broken text;
begin
  select distinct f.table_name, f.key_column into t from core.config_fields() f where f.kind = change_row.kind;
  if not found then
    raise exception 'kind is none of limits, plans, packs, models, settings' using errcode = 'PR400', detail = 'kind';
  end if;
  select c into field
  from jsonb_object_keys(changes) c
  where not exists (select from core.config_fields() f where f.kind = change_row.kind and f.field = c);
  if field is not null then
    raise exception '% has no field % that can be changed', change_row.kind, field using errcode = 'PR400', detail = field;
  end if;

  execute format('select to_jsonb(x) from public.%I x where x.%I::text = $1 for no key update', t.table_name, t.key_column) into was using key;
  if not adds and was is null then
    raise exception 'there is no % in %', change_row.name, change_row.kind using errcode = 'PR404', detail = 'name';
  elsif adds then
    if was is not null then
      raise exception '% is in % already', change_row.name, change_row.kind using errcode = 'PR409', detail = 'name';
    end if;
    field := 'name';
    case change_row.kind
      when 'limits' then
        insert into public.cost_limits_config (tier_name) values (key);
      when 'plans' then
        insert into public.plans (plan, tier_name, monthly_price, monthly_credits)
        select key, p.tier_name, p.monthly_price, p.monthly_credits from jsonb_populate_record(null::public.plans, changes) p;
      when 'packs' then
        insert into public.packs (pack, credits, price)
        select key, p.credits, p.price from jsonb_populate_record(null::public.packs, changes) p;
      else
        raise exception 'nobody can add to %', change_row.kind using errcode = 'PR400', detail = 'kind';
    end case;
  end if;

  -- One by one, so that a value that cannot be is known by its field.
  for field in select c from jsonb_object_keys(changes) c loop
    execute format(
      'update public.%1$I x set %2$I = (jsonb_populate_record(x, $2)).%2$I where x.%3$I::text = $1 returning to_jsonb(x)',
      t.table_name, field, t.key_column
    ) into becomes using key, changes;
  end loop;

  return (
    select coalesce(json_agg(json_build_object('field', f.field, 'was', was -> f.field, 'becomes', becomes -> f.field) order by f.place), '[]')
    from core.config_fields() f
    where f.kind = change_row.kind and was -> f.field is distinct from becomes -> f.field
  );
exception
  when check_violation or not_null_violation or foreign_key_violation or unique_violation or data_exception then
    get stacked diagnostics broken = constraint_name;
    raise exception '%', coalesce((
      select format('%s: it must hold that %s', field, substring(pg_catalog.pg_get_constraintdef(c.oid) from '^CHECK \((.*)\)$'))
      from pg_catalog.pg_constraint c
      where c.conname = broken and c.contype = 'c' and c.conrelid = ('public.' || t.table_name)::regclass
    ), sqlerrm)
      using errcode = 'PR400', detail = field;
end
$$;

comment on function core.change_row(text, text, jsonb, boolean) is
  'Changes fields of one row of what core.config_fields lists, as a plain UPDATE would, or adds a tier, plan or pack. changes is an object by '
  'field. Returns the fields that differ then, as a JSON array of {field, was, becomes}. The triggers of the tables note it in audit_log. '
  'Errors: PR400 naming the field or kind; PR404 no such row; PR409 one that is there already. Spec 3.1, 12.';
--! EndIncluded catalog/change_row.sql
--! Included catalog/read_config.sql
create or replace function api.read_config(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(read_config.user_id);
  return json_build_object(
    'fields', (
      select json_agg(json_build_object(
        'kind', f.kind, 'field', f.field, 'type', f.type, 'is_optional', f.is_optional, 'description', f.description
      ) order by f.place)
      from core.config_fields() f
    ),
    'rows', (
      select json_agg(json_build_object('kind', r.kind, 'name', r.name, 'values', (
        select json_agg(json_build_object('field', f.field, 'value', r.content -> f.field) order by f.place)
        from core.config_fields() f
        where f.kind = r.kind
      )) order by r.place, r.rank, r.name)
      from (
        select 1 as place, 'limits' as kind, l.tier_name as name, to_jsonb(l) as content, coalesce(l.monthly_cost_limit, 'Infinity') as rank
        from public.cost_limits_config l
        union all
        select 2, 'plans', p.plan, to_jsonb(p), p.monthly_price from public.plans p
        union all
        select 3, 'packs', k.pack, to_jsonb(k), k.price from public.packs k
        union all
        select 4, 'models', m.alias, to_jsonb(m), m.credit_multiplier from public.models m
        union all
        select 5, 'settings', 'settings', to_jsonb(s), 0 from public.settings s
      ) r
    )
  );
end
$$;

comment on function api.read_config(uuid) is
  'Limits, plans, packs, models and settings as they hold now, for an administrator, as a JSON object: fields (kind, field, type, is_optional, '
  'and the comment that says its unit) and rows (kind, name, values by field). Errors: PR403. Spec 3.1, 12.';
--! EndIncluded catalog/read_config.sql
--! Included catalog/list_prices.sql
create or replace function api.list_prices(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
begin
  perform core.check_admin(list_prices.user_id);
  return (
    select coalesce(json_agg(json_build_object(
      'id', p.id,
      'model', p.model,
      'starts_at', lower(p.valid),
      'ends_at', upper(p.valid),
      'is_now', p.valid @> now,
      'input', p.input,
      'cached_read', p.cached_read,
      'cache_write', p.cache_write,
      'output', p.output,
      'source', p.source
    ) order by p.model, lower(p.valid) desc), '[]')
    from (select x.* from public.model_prices x order by lower(x.valid) desc limit 500) p
  );
end
$$;

comment on function api.list_prices(uuid) is
  'The price book for an administrator, by model and the newest price first, at most 500 rows, as a JSON array: US dollars per million tokens, '
  'from starts_at to ends_at (null: no end is planned); is_now marks those that hold. Errors: PR403. Spec 1.3, 12.';
--! EndIncluded catalog/list_prices.sql
--! Included catalog/put_price.sql
create or replace function core.put_price(
  model text, valid_from timestamptz, input numeric, cached_read numeric, cache_write numeric, output numeric,
  source text, reason text, by_user uuid, dry_run boolean
)
returns setof public.model_prices
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz;
  starts timestamptz;
  origin text := coalesce(nullif(btrim(put_price.source), ''), 'operator');
  ended public.model_prices;
  added public.model_prices;
begin
  perform core.check_price(put_price.model, put_price.input, put_price.cached_read, put_price.cache_write, put_price.output);
  -- One at a time for each model.
  perform from public.models m where m.alias = put_price.model for no key update;
  now := core.now();
  starts := coalesce(put_price.valid_from, now);
  if starts < now and exists (
    select from public.model_prices p where p.model = put_price.model and p.valid && tstzrange(starts, now)
  ) then
    raise exception 'the price of % since % is in the books already', put_price.model, starts
      using errcode = 'PR400', detail = 'valid_from', hint = 'Give an instant to come, or null for now.';
  end if;

  select p.* into ended from public.model_prices p where p.model = put_price.model and p.valid @> starts;
  if ended.source = 'operator' and origin <> 'operator' then
    raise notice 'the price of % is an operator''s own, and stays.', put_price.model;
    return;
  end if;
  if (ended.input, ended.cached_read, ended.cache_write, ended.output) is not distinct from
    (put_price.input, put_price.cached_read, put_price.cache_write, put_price.output) then
    return;
  end if;
  if lower(ended.valid) = starts then
    raise exception 'another price of % is valid from that very instant', put_price.model
      using errcode = 'PR409', detail = 'valid_from', hint = 'Give a later one: a price is ended, never changed.';
  end if;

  added := row(
    gen_random_uuid(), put_price.model,
    tstzrange(starts, (select min(lower(p.valid)) from public.model_prices p where p.model = put_price.model and lower(p.valid) > starts)),
    trim_scale(put_price.input), trim_scale(put_price.cached_read), trim_scale(put_price.cache_write),
    trim_scale(put_price.output), origin, now
  );
  if not dry_run then
    perform core.note_action('publish_prices', put_price.model, reason, case
      when by_user is null then to_json(added) else json_build_object('by', by_user, 'price', to_json(added))
    end);
    update public.model_prices p set valid = tstzrange(lower(p.valid), starts) where p.id = ended.id;
    insert into public.model_prices values (added.*);
  end if;
  if ended.id is not null then
    ended.valid := tstzrange(lower(ended.valid), starts);
    return next ended;
  end if;
  return next added;
end
$$;

comment on function core.put_price(text, timestamptz, numeric, numeric, numeric, numeric, text, text, uuid, boolean) is
  'What ops.publish_prices does for an operator (by_user null) and api.publish_prices for an administrator. Errors: PR404 unknown model; PR400 '
  'naming a price, valid_from or reason; PR409 that very instant is taken. Spec 1.3, 1.4, 12.';
--! EndIncluded catalog/put_price.sql
--! Included catalog/publish_prices.sql
create or replace function ops.publish_prices(
  model text, valid_from timestamptz, input numeric, cached_read numeric, cache_write numeric, output numeric,
  source text, reason text, dry_run boolean default false
)
returns setof public.model_prices
language plpgsql
security definer
set search_path = ''
as $$
begin
  return query
    select p.* from core.put_price(
      publish_prices.model, valid_from, publish_prices.input, publish_prices.cached_read, publish_prices.cache_write, publish_prices.output,
      publish_prices.source, reason, null, dry_run
    ) p;
end
$$;

comment on function ops.publish_prices(text, timestamptz, numeric, numeric, numeric, numeric, text, text, boolean) is
  'Gives a model a price from an instant on (null: now), in US dollars per million tokens; cached_read and cache_write null are the input '
  'price. Ends the row that is valid then and adds one that holds until the next that is planned. Returns both, the ended one first; no row: the price is that '
  'already, or is an operator''s own and source is not operator. dry_run shows the rows and keeps nothing. '
  'Call: select * from ops.publish_prices(''sonnet'', null, 3, 0.3, 3.75, 15, ''operator'', ''new price list''); '
  'Errors: PR404 unknown model; PR400 naming a price, valid_from (in the past) or reason; PR409 that very instant is taken. Spec 1.3, 1.4, 12.';
--! EndIncluded catalog/publish_prices.sql
--! Included catalog/api_publish_prices.sql
create or replace function api.publish_prices(
  user_id uuid, model text, valid_from timestamptz, input numeric, cached_read numeric, cache_write numeric, output numeric,
  reason text, dry_run boolean
)
returns json
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(publish_prices.user_id);
  return (
    select coalesce(json_agg(json_build_object(
      'starts_at', lower(p.valid), 'ends_at', upper(p.valid), 'input', p.input, 'cached_read', p.cached_read, 'cache_write', p.cache_write,
      'output', p.output, 'source', p.source
    ) order by lower(p.valid)), '[]')
    from core.put_price(
      publish_prices.model, publish_prices.valid_from, publish_prices.input, publish_prices.cached_read, publish_prices.cache_write,
      publish_prices.output, 'operator', publish_prices.reason, publish_prices.user_id, publish_prices.dry_run
    ) p
  );
end
$$;

comment on function api.publish_prices(uuid, text, timestamptz, numeric, numeric, numeric, numeric, text, boolean) is
  'Gives a model a price from an instant on (null: now) for an administrator, as ops.publish_prices does for an operator, in US dollars per million tokens; '
  'audit_log keeps the administrator''s id as "by". Returns the price that ends and the one that begins as a JSON array; none: it is that already. '
  'dry_run changes nothing. Errors: PR403; PR404 unknown model; PR400 naming a price, valid_from or reason; PR409 that very instant is taken. Spec 1.3, 12.';
--! EndIncluded catalog/api_publish_prices.sql
--! Included limits/used_up.sql
create or replace function core.used_up(u public.users, l public.cost_limits_config, useful numeric, now timestamptz)
returns text
language sql
immutable
parallel safe
begin atomic
  select case
    when not l.throttle_on_exceed or u.limits_waived_until > used_up.now then null
    when l.monthly_cost_limit - u.current_month_limited_cost < useful then 'month'
    when l.daily_cost_limit - u.current_day_limited_cost < useful then 'day'
  end;
end;

comment on function core.used_up(public.users, public.cost_limits_config, numeric, timestamptz) is
  'Which cost window is used up and throttles: month, day, or null; of a user''s row as core.roll_windows leaves it, their tier''s limits, and the US '
  'dollars of core.cheapest_useful_cost. Spec 3.4, 3.5.';
--! EndIncluded limits/used_up.sql
--! Included limits/used_up_window.sql
create or replace function core.used_up_window(u public.users, now timestamptz)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return core.used_up(
    core.roll_windows(u, used_up_window.now),
    core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, used_up_window.now)),
    coalesce(core.cheapest_useful_cost(used_up_window.now), 0),
    used_up_window.now
  );
end
$$;

comment on function core.used_up_window(public.users, timestamptz) is
  'Which cost window of a user is used up and throttles them: month, day, or null where none is, limits are waived, or the tier''s limits '
  'only alert. Spec 3.4, 3.5.';
--! EndIncluded limits/used_up_window.sql
--! Included limits/standing_of.sql
create or replace function core.standing_of(
  u public.users, l public.cost_limits_config, useful numeric, runs_enabled boolean, now timestamptz
)
returns text
language sql
immutable
parallel safe
begin atomic
  select case
    when not standing_of.runs_enabled then 'nobody runs'
    when l.tier_name is null then 'refused: tier_not_configured'
    when core.throttled_at(u, standing_of.now) and u.throttled_by is distinct from 'limit' then 'throttled by an operator'
    when core.used_up(u, l, useful, standing_of.now) is not null then 'throttled by a limit'
    when l.paused_until > standing_of.now then 'refused: tier_budget'
    when u.hour_requests >= l.hourly_request_limit then 'refused: hourly_request_limit'
    else 'can run'
  end;
end;

comment on function core.standing_of(public.users, public.cost_limits_config, numeric, boolean, timestamptz) is
  'In a word, whether a user can run now: can run, throttled by an operator or by a limit, refused (with the code of the refusal), or nobody runs. '
  'Of their row as core.roll_windows leaves it, their tier''s limits, and the US dollars of core.cheapest_useful_cost. Whether credits suffice is not '
  'looked at. Spec 3.1, 3.2, 3.4, 3.6.';
--! EndIncluded limits/standing_of.sql
--! Included limits/standings.sql
create or replace function core.standings(now timestamptz)
returns table (user_id uuid, standing text)
language sql
stable
set search_path = ''
begin atomic
  select u.id, coalesce(l.tier_name, t.tier) || ': '
    || core.standing_of(core.roll_windows(u, standings.now), l, useful.cost, s.runs_enabled, standings.now)
  from public.users u
  cross join public.settings s
  cross join (select coalesce(core.cheapest_useful_cost(standings.now), 0) as cost) useful
  cross join lateral (select core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, standings.now) as tier) t
  left join core.limits_by_tier b on b.tier_name = t.tier
  left join public.cost_limits_config l on l.tier_name = b.limits_of
  where u.closed_at is null;
end;

comment on function core.standings(timestamptz) is
  'How everybody stands: their tier, and core.standing_of. Reads every user: for previews, not for runs. Spec 3.4.';
--! EndIncluded limits/standings.sql
--! Included limits/describe_config_change.sql
create or replace function core.describe_config_change(kind text, name text, changed json)
returns text[]
language plpgsql
stable
set search_path = ''
as $$
declare
  fields text[] := array(select c ->> 'field' from json_array_elements(changed) c);
  people bigint;
  stripe_price text;
begin
  if describe_config_change.kind = 'limits' then
    select count(*) into people
    from public.users u
    join core.limits_by_tier b on b.tier_name = core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, core.now())
    where u.closed_at is null and b.limits_of = describe_config_change.name;
    return array[format('Who is of tier %s: %s. It holds from their next request on.', describe_config_change.name, people)];
  elsif describe_config_change.kind = 'plans' then
    select count(*) into people
    from public.subscriptions s
    join public.subscription_states state on state.status = s.status and state.is_open
    where s.plan = describe_config_change.name and not s.superseded;
    select p.stripe_price_id into stripe_price from public.plans p where p.plan = describe_config_change.name;
    return array_remove(array[
      format('Subscriptions to this plan now: %s.', people),
      case when 'monthly_price' = any (fields) then 'They keep the price that they agreed to; this one is for who subscribes from now on.' end,
      case when 'monthly_price' = any (fields) and stripe_price is not null then
        format('Stripe still sells it at the price %s: make one of the new amount there and set its id, or the next start of a server refuses.', stripe_price)
      end,
      case when 'monthly_credits' = any (fields) then 'Credits already granted stay; the next paid period grants the new number.' end,
      case when 'tier_name' = any (fields) then 'Subscribers come under the new tier''s limits with their next paid period.' end,
      case when 'is_active' = any (fields) then 'Who has subscribed stays; it is about who can subscribe from now on.' end
    ], null);
  elsif describe_config_change.kind = 'packs' then
    select p.stripe_price_id into stripe_price from public.packs p where p.pack = describe_config_change.name;
    return array_remove(array[
      'Purchases that have begun keep the price and credits that they were offered.',
      case when 'price' = any (fields) and stripe_price is not null then
        format('Stripe still sells it at the price %s: make one of the new amount there and set its id, or the next start of a server refuses.', stripe_price)
      end
    ], null);
  elsif describe_config_change.kind = 'models' then
    return array['Runs that have begun keep what they began under.'];
  end if;
  return array['It holds from the next request on.'];
end
$$;

comment on function core.describe_config_change(text, text, json) is
  'What an operator should know about a change of limits, plans, packs, models or settings, in sentences: whom it is about and from when on it '
  'holds. changed is what core.change_row returns. Spec 2.4, 3.1, 12.';
--! EndIncluded limits/describe_config_change.sql
--! Included limits/change_config.sql
create or replace function core.change_config(
  kind text, name text, changes jsonb, adds boolean, reason text, by_user uuid, dry_run boolean
)
returns json
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  concerns_runs boolean := change_config.kind in ('limits', 'models', 'settings');
  ids uuid[];
  standings text[];
  changed json;
  effects json;
  notes text[];
begin
  -- The change is made, looked at, and taken back if nobody wanted it yet: so it is seen by the rules that it is for.
  begin
    if concerns_runs then
      select array_agg(s.user_id), array_agg(s.standing) into ids, standings from core.standings(now) s;
    end if;
    changed := core.change_row(change_config.kind, change_config.name, change_config.changes, adds);
    notes := core.describe_config_change(change_config.kind, change_config.name, changed);
    if concerns_runs then
      select json_agg(json_build_object(
        'was', e.was, 'becomes', e.becomes, 'people', e.people, 'who', to_json(e.who[:20])
      ) order by e.people desc, e.was, e.becomes) into effects
      from (
        select
          b.standing as was, s.standing as becomes, count(*) as people,
          array_agg(json_build_object('user_id', u.id, 'username', u.username) order by u.username) as who
        from core.standings(now) s
        join unnest(ids, standings) b (user_id, standing) on b.user_id = s.user_id
        join public.users u on u.id = s.user_id
        where b.standing <> s.standing
        group by b.standing, s.standing
      ) e;
    end if;
    if dry_run then
      raise exception 'taken back' using errcode = 'PR001';
    end if;
    perform core.note_action('change_config', concat_ws(' ', change_config.kind, nullif(change_config.name, 'settings')), reason, case
      when by_user is null then json_build_object('changes', change_config.changes)
      else json_build_object('by', by_user, 'changes', change_config.changes)
    end);
  -- A code that ends in 000 would stand for all of ours.
  exception when sqlstate 'PR001' then
    null;
  end;
  return json_build_object('changed', changed, 'effects', coalesce(effects, '[]'), 'notes', to_json(notes));
end
$$;

comment on function core.change_config(text, text, jsonb, boolean, text, uuid, boolean) is
  'What ops.change_config does for an operator (by_user null) and api.change_config for an administrator. Returns a JSON object: changed (field, was, '
  'becomes), effects (how many people stand differently by it, as core.standings says, and the first 20 of them) and notes. '
  'Errors: as core.change_row; PR400 without a reason. Spec 3.1, 12.';
--! EndIncluded limits/change_config.sql
--! Included limits/ops_change_config.sql
create or replace function ops.change_config(
  kind text, name text, changes jsonb, reason text default null, adds boolean default false, dry_run boolean default false
)
returns table (what text, was text, becomes text, people bigint, who text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  done json := core.change_config(
    change_config.kind, change_config.name, change_config.changes, change_config.adds, change_config.reason, null, change_config.dry_run
  );
begin
  return query
    select c ->> 'field', c ->> 'was', c ->> 'becomes', null::bigint, null::text from json_array_elements(done -> 'changed') c;
  return query
    select 'people', e ->> 'was', e ->> 'becomes', (e ->> 'people')::bigint, (select string_agg(p ->> 'username', ', ') from json_array_elements(e -> 'who') p)
    from json_array_elements(done -> 'effects') e;
  return query select n, null::text, null::text, null::bigint, null::text from json_array_elements_text(done -> 'notes') n;
end
$$;

comment on function ops.change_config(text, text, jsonb, text, boolean, boolean) is
  'Changes limits, plans, packs, models or settings (kind, and the name of the row) as a plain UPDATE does, or with adds adds a tier, plan or pack, and says who is affected: a '
  'row for each field that changes, for each group of people who stand differently by it (how many, and the first 20), and for what else is to be known. '
  'dry_run only says. Call: select * from ops.change_config(''limits'', ''free'', ''{"monthly_cost_limit": 0.40}'', dry_run => true); '
  'Errors: PR400 naming the field, or without a reason; PR404 no such row; PR409 one that is there already. Spec 3.1, 12.';
--! EndIncluded limits/ops_change_config.sql
--! Included limits/api_change_config.sql
create or replace function api.change_config(
  user_id uuid, kind text, name text, changes jsonb, adds boolean, reason text, dry_run boolean
)
returns json
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(change_config.user_id);
  return core.change_config(
    change_config.kind, change_config.name, change_config.changes, change_config.adds, change_config.reason, change_config.user_id,
    change_config.dry_run
  );
end
$$;

comment on function api.change_config(uuid, text, text, jsonb, boolean, text, boolean) is
  'Changes limits, plans, packs, models or settings for an administrator, or with dry_run only says who would be affected, as ops.change_config does '
  'for an operator; audit_log keeps the administrator''s id as "by". Returns core.change_config''s JSON object. '
  'Errors: PR403; PR400 naming the field, or without a reason; PR404 no such row; PR409 one that is there already. Spec 3.1, 12.';
--! EndIncluded limits/api_change_config.sql
--! Included limits/hold_user.sql
create or replace function core.hold_user(target uuid, until timestamptz, reason text, by_user uuid, dry_run boolean)
returns table (user_id uuid, email text, is_throttled boolean, throttled_by text, throttled_reason text, throttled_until timestamptz)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
begin
  if hold_user.until <= core.now() then
    raise exception 'until % is not in the future', hold_user.until
      using errcode = 'PR400', detail = 'until', hint = 'Give an instant to come, or null: until it is lifted.';
  end if;
  if dry_run then
    return query select u.id, u.email, true, 'operator', reason, until from public.users u where u.id = target;
    return;
  end if;
  perform core.note_action('throttle_user', target::text, reason,
    case when by_user is null then json_build_object('until', until) else json_build_object('by', by_user, 'until', until) end);
  return query
    update public.users u
    set is_throttled = true, throttled_by = 'operator', throttled_reason = reason, throttled_at = core.now(), throttled_until = until
    where u.id = target
    returning u.id, u.email, u.is_throttled, u.throttled_by, u.throttled_reason, u.throttled_until;
end
$$;

comment on function core.hold_user(uuid, timestamptz, text, uuid, boolean) is
  'What ops.throttle_user does for an operator (by_user null) and api.throttle_user for an administrator. '
  'Errors: PR400 naming until, or without a reason. Spec 3.4.';
--! EndIncluded limits/hold_user.sql
--! Included limits/throttle_user.sql
create or replace function ops.throttle_user("user" text, until timestamptz, reason text, dry_run boolean default false)
returns table (user_id uuid, email text, is_throttled boolean, throttled_by text, throttled_reason text, throttled_until timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
begin
  return query select h.* from core.hold_user(core.find_user("user"), until, reason, null, dry_run) h;
end
$$;

comment on function ops.throttle_user(text, timestamptz, text, boolean) is
  'Holds a user (id, e-mail or username) until an instant, or for good where until is null, also one whom a limit throttles already. '
  'dry_run shows how they would stand. '
  'Call: select * from ops.throttle_user(''user@example.com'', now() + interval ''1 day'', ''chargeback''); '
  'Errors: PR404; PR400 naming until, or without a reason. Spec 3.4.';
--! EndIncluded limits/throttle_user.sql
--! Included limits/api_throttle_user.sql
create or replace function api.throttle_user(user_id uuid, target_user_id uuid, until timestamptz, reason text)
returns table (is_throttled boolean, throttled_reason text, throttled_until timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(throttle_user.user_id);
  return query
    select h.is_throttled, h.throttled_reason, h.throttled_until
    from core.hold_user(core.find_user(throttle_user.target_user_id::text), until, reason, throttle_user.user_id, false) h;
end
$$;

comment on function api.throttle_user(uuid, uuid, timestamptz, text) is
  'Holds a user until an instant, or until it is lifted where until is null, for an administrator, as ops.throttle_user does for an operator; '
  'audit_log keeps the administrator''s id as "by". Errors: PR403; PR404 unknown user; PR400 naming until, or without a reason. Spec 3.4, 8.3.';
--! EndIncluded limits/api_throttle_user.sql
--! Included limits/core_waive_limits.sql
create or replace function core.waive_limits(target uuid, until timestamptz, reason text, by_user uuid, dry_run boolean)
returns table (user_id uuid, email text, is_throttled boolean, limits_waived_until timestamptz)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
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
  perform core.note_action('waive_limits', target::text, reason,
    case when by_user is null then json_build_object('until', until) else json_build_object('by', by_user, 'until', until) end);
  update public.users u set limits_waived_until = until where u.id = target;
  perform core.judge_throttle(target, now);
  return query select u.id, u.email, u.is_throttled, u.limits_waived_until from public.users u where u.id = target;
end
$$;

comment on function core.waive_limits(uuid, timestamptz, text, uuid, boolean) is
  'What ops.waive_limits does for an operator (by_user null) and api.waive_limits for an administrator. '
  'Errors: PR400 naming until, or without a reason. Spec 3.5.';
--! EndIncluded limits/core_waive_limits.sql
--! Included limits/waive_limits.sql
create or replace function ops.waive_limits("user" text, until timestamptz, reason text, dry_run boolean default false)
returns table (user_id uuid, email text, is_throttled boolean, limits_waived_until timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
begin
  return query select w.* from core.waive_limits(core.find_user("user"), until, reason, null, dry_run) w;
end
$$;

comment on function ops.waive_limits(text, timestamptz, text, boolean) is
  'Lets a user (id, e-mail or username) run past their cost limits until an instant (null ends it), and lifts the throttle that a limit '
  'set. Cost is recorded all the same. dry_run shows how they would stand. '
  'Call: select * from ops.waive_limits(''user@example.com'', now() + interval ''1 day'', ''demo for a customer''); '
  'Errors: PR404; PR400 naming until, or without a reason. Spec 3.5.';
--! EndIncluded limits/waive_limits.sql
--! Included limits/api_waive_limits.sql
create or replace function api.waive_limits(user_id uuid, target_user_id uuid, until timestamptz, reason text)
returns table (is_throttled boolean, limits_waived_until timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(waive_limits.user_id);
  return query
    select w.is_throttled, w.limits_waived_until
    from core.waive_limits(core.find_user(waive_limits.target_user_id::text), until, reason, waive_limits.user_id, false) w;
end
$$;

comment on function api.waive_limits(uuid, uuid, timestamptz, text) is
  'Lets a user run past their cost limits until an instant (null ends it) for an administrator, as ops.waive_limits does for an operator; '
  'audit_log keeps the administrator''s id as "by". Errors: PR403; PR404 unknown user; PR400 naming until, or without a reason. Spec 3.5, 8.3.';
--! EndIncluded limits/api_waive_limits.sql
--! Included limits/list_throttled.sql
create or replace function api.list_throttled(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(list_throttled.user_id);
  return json_build_object(
    'total', (select count(*) from ops.throttled_now),
    'people', (
      select coalesce(json_agg(json_build_object(
        'user_id', t.user_id,
        'username', u.username,
        'email', t.email,
        'tier_name', t.tier_name,
        'throttled_by', t.throttled_by,
        'throttled_reason', t.throttled_reason,
        'throttled_at', t.throttled_at,
        'throttled_until', t.throttled_until,
        'month_limited_cost', core.dollars(t.month_limited_cost_dollars),
        'day_limited_cost', core.dollars(t.day_limited_cost_dollars)
      ) order by t.throttled_at desc nulls last), '[]')
      from (select x.* from ops.throttled_now x limit 100) t
      join public.users u on u.id = t.user_id
    )
  );
end
$$;

comment on function api.list_throttled(uuid) is
  'The newest 100 rows of ops.throttled_now for an administrator, and how many there are, as a JSON object; costs in US dollars. '
  'Errors: PR403. Spec 3.4, 8.3, 12.';
--! EndIncluded limits/list_throttled.sql
--! Included credits/grant_bonus.sql
create or replace function core.grant_bonus(
  target uuid, amount bigint, reason text, expires_at timestamptz, by_user uuid, dry_run boolean
)
returns table (user_id uuid, email text, lot_id uuid, granted bigint, balance bigint)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  lot uuid;
begin
  if grant_bonus.amount is null or grant_bonus.amount not between 1 and 1000000 then
    raise exception 'amount % is not between 1 and 1000000', grant_bonus.amount using errcode = 'PR400', detail = 'amount';
  end if;
  if not dry_run then
    perform core.note_action('grant_credits', target::text, reason, case
      when by_user is null then json_build_object('amount', grant_bonus.amount)
      else json_build_object('by', by_user, 'amount', grant_bonus.amount)
    end);
    lot := core.grant_lot(
      target, 'bonus', grant_bonus.amount, 'admin', 'operator', gen_random_uuid()::text, core.now(),
      expires_at => grant_bonus.expires_at, description => reason, actor => coalesce(by_user::text, session_user)
    );
  end if;
  return query
    select u.id, u.email, lot, grant_bonus.amount,
      u.included_credits + u.purchased_credits + case when dry_run then grant_bonus.amount else 0 end
    from public.users u
    where u.id = target;
end
$$;

comment on function core.grant_bonus(uuid, bigint, text, timestamptz, uuid, boolean) is
  'What ops.grant_credits does for an operator (by_user null) and api.grant_credits for an administrator, whose id the transfer names. '
  'Errors: PR400 naming amount, or without a reason. Spec 4.7.';
--! EndIncluded credits/grant_bonus.sql
--! Included credits/grant_credits.sql
create or replace function ops.grant_credits(
  "user" text, amount bigint, reason text, expires_at timestamptz default 'infinity', dry_run boolean default false
)
returns table (user_id uuid, email text, lot_id uuid, granted bigint, balance bigint)
language plpgsql
security definer
set search_path = ''
as $$
begin
  return query
    select g.* from core.grant_bonus(core.find_user("user"), grant_credits.amount, reason, grant_credits.expires_at, null, dry_run) g;
end
$$;

comment on function ops.grant_credits(text, bigint, text, timestamptz, boolean) is
  'Gives a user (id, e-mail or username) bonus credits. dry_run shows the balance that would result. '
  'Call: select * from ops.grant_credits(''user@example.com'', 10, ''sorry for the outage''); Errors: PR404, PR400. Spec 4.7.';
--! EndIncluded credits/grant_credits.sql
--! Included credits/api_grant_credits.sql
create or replace function api.grant_credits(user_id uuid, target_user_id uuid, amount bigint, reason text)
returns table (granted bigint, balance bigint)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform core.check_admin(grant_credits.user_id);
  return query
    select g.granted, g.balance
    from core.grant_bonus(
      core.find_user(grant_credits.target_user_id::text), grant_credits.amount, grant_credits.reason, 'infinity', grant_credits.user_id, false
    ) g;
end
$$;

comment on function api.grant_credits(uuid, uuid, bigint, text) is
  'Gives a user bonus credits that do not expire, for an administrator, as ops.grant_credits does for an operator; the transfer and audit_log name the '
  'administrator. Returns credits: what was granted, and the balance then. Errors: PR403; PR404 unknown user; PR400 naming amount, or without '
  'a reason. Spec 4.7, 8.3.';
--! EndIncluded credits/api_grant_credits.sql
--! Included accounts/list_changes.sql
create or replace function api.list_changes(user_id uuid, "limit" integer default 50, cursor text default null)
returns table (changes json, next_cursor text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  after text[];
begin
  perform core.check_admin(list_changes.user_id);
  perform core.check_page("limit", 0);
  after := core.decode_cursor(list_changes.cursor, 'bigint');

  with page as (
    select a.*, row_number() over (order by a.id desc) as nth
    from public.audit_log a
    where after is null or a.id < after[1]::bigint
    order by a.id desc
    limit "limit" + 1
  )
  select
    coalesce(json_agg(json_build_object(
      'id', g.id,
      'at', g.at,
      'role', g.role,
      'by', coalesce(u.username, g.new ->> 'by'),
      'what', g.table_name,
      'action', g.action,
      'about', case when g.table_name <> 'settings' then coalesce(p.username, g.row_key) end,
      'reason', g.reason,
      'fields', (
        select coalesce(json_agg(json_build_object('field', k, 'was', g.old -> k, 'becomes', g.new -> k) order by k), '[]')
        from jsonb_object_keys(coalesce(g.old, '{}') || coalesce(g.new, '{}')) k
        where k <> 'by'
      )
    ) order by g.nth) filter (where g.nth <= "limit"), '[]'),
    max(core.encode_cursor(g.id::text)) filter (where g.nth = "limit" and exists (select from page x where x.nth > "limit"))
  into changes, next_cursor
  from page g
  left join public.users u on u.id = core.uuid_or_null(g.new ->> 'by')
  left join public.users p on p.id = core.uuid_or_null(g.row_key);
  return next;
end
$$;

comment on function api.list_changes(uuid, integer, text) is
  'One page of audit_log, newest first, for an administrator: a JSON array with when, by which role or administrator, what and about whom, the '
  'fields before and after, and why; next_cursor is null on the last page. Errors: PR403; PR400 naming limit or cursor. Spec 10.7, 12.';
--! EndIncluded accounts/list_changes.sql
--! Included analytics/list_presets.sql
create or replace function api.list_presets(user_id uuid)
returns table (preset text, meaning text)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(list_presets.user_id);
  return query select p.preset, p.meaning from ops.simulation_presets p;
end
$$;

comment on function api.list_presets(uuid) is
  'The names and meanings of ops.simulation_presets, for an administrator. Errors: PR403. Spec 8.6.';
--! EndIncluded analytics/list_presets.sql
--! Included analytics/read_limit_use.sql
create or replace function api.read_limit_use(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
begin
  perform core.check_admin(read_limit_use.user_id);
  return (
    with used as (
      select l.tier_name, least(10, floor(10 * u.current_month_limited_cost / l.monthly_cost_limit)) as tenth
      from public.users u
      join public.cost_limits_config l on l.tier_name = core.tier_now(u)
      where u.current_month_limited_cost > 0 and u.month_ends_at > now and u.closed_at is null and l.monthly_cost_limit is not null
    ),
    counted as (
      select d.tier_name, t.tenth, count(*) as people
      from used d
      join generate_series(0, 10) t (tenth) on t.tenth = d.tenth
      group by d.tier_name, t.tenth
    )
    select coalesce(json_agg(json_build_object('tier_name', x.tier_name, 'people', (
      select json_agg(coalesce(c.people, 0) order by t.tenth)
      from generate_series(0, 10) t (tenth)
      left join counted c on c.tier_name = x.tier_name and c.tenth = t.tenth
    )) order by x.tier_name), '[]')
    from (select distinct c.tier_name from counted c) x
  );
end
$$;

comment on function api.read_limit_use(uuid) is
  'How people of each tier who ran something this month are spread over their monthly cost limit, for an administrator, as a JSON array: how '
  'many have used 0 to 10 percent of it, 10 to 20, and so on, and last 100 percent or more. Errors: PR403. Spec 3.3, 8.3.';
--! EndIncluded analytics/read_limit_use.sql
--! Included analytics/list_loss_makers.sql
create or replace function api.list_loss_makers(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(list_loss_makers.user_id);
  return (
    select coalesce(json_agg(json_build_object(
      'kind', f.kind,
      'name', f.name,
      'credits', f.credits,
      'cost', core.dollars(f.cost_dollars),
      'value', core.dollars(f.value_dollars),
      'loss', core.dollars(f.loss_dollars),
      'cost_per_credit', core.dollars(f.cost_per_credit_dollars),
      'value_per_credit', core.dollars(f.value_per_credit_dollars)
    )), '[]')
    from (select x.* from ops.loss_makers x limit 100) f
  );
end
$$;

comment on function api.list_loss_makers(uuid) is
  'The first 100 rows of ops.loss_makers for an administrator, as a JSON array: packs, packages, models and users whose paid credits cost more '
  'than was paid for them; credits and US dollars. Errors: PR403. Spec 8.3, 8.4.';
--! EndIncluded analytics/list_loss_makers.sql
--! Included runs/list_open_holds.sql
create or replace function api.list_open_holds(user_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(list_open_holds.user_id);
  return json_build_object(
    'total', (select count(*) from ops.open_holds),
    'holds', (
      select coalesce(json_agg(json_build_object(
        'run_id', h.run_id,
        'user_id', h.user_id,
        'username', u.username,
        'email', h.email,
        'model', h.model,
        'included_credits_held', h.included_credits_held,
        'purchased_credits_held', h.purchased_credits_held,
        'cost_held', core.dollars(h.cost_held_dollars),
        'started_at', h.started_at,
        'hold_expires_at', h.hold_expires_at,
        'expires_in_seconds', h.expires_in_seconds
      ) order by h.started_at desc), '[]')
      from (select x.* from ops.open_holds x limit 100) h
      join public.users u on u.id = h.user_id
    )
  );
end
$$;

comment on function api.list_open_holds(uuid) is
  'The newest 100 rows of ops.open_holds for an administrator, and how many there are, as a JSON object: credits and US dollars that running '
  'runs hold. Errors: PR403. Spec 3.2, 4.5, 8.3, 12.';
--! EndIncluded runs/list_open_holds.sql
--! Included billing/replay_event.sql
create or replace function core.replay_event(event_id text, reason text, by_user uuid, dry_run boolean)
returns table (id text, type text, user_id uuid, status text, error text)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  event public.stripe_events;
begin
  select e.* into event from public.stripe_events e where e.id = replay_event.event_id for no key update;
  if not found then
    raise exception 'event % is unknown', replay_event.event_id using errcode = 'PR404', detail = 'event_id',
      hint = 'select id, type, status, error from stripe_events order by received_at desc limit 20;';
  end if;
  if event.body is null then
    raise exception 'the body of event % is gone', event.id using errcode = 'PR409', detail = 'event_id';
  end if;
  if not dry_run then
    perform core.note_action('replay_stripe_event', event.id, reason,
      case when by_user is not null then json_build_object('by', by_user) end);
    delete from public.stripe_effects x where x.user_id = event.user_id and x.event_id = event.id;
    update public.stripe_events e set status = 'received', error = null where e.id = event.id;
    perform api.apply_stripe_event(event.id);
  end if;
  return query select e.id, e.type, e.user_id, e.status, e.error from public.stripe_events e where e.id = event.id;
end
$$;

comment on function core.replay_event(text, text, uuid, boolean) is
  'What ops.replay_stripe_event does for an operator (by_user null) and api.replay_stripe_event for an administrator. '
  'Errors: PR404 unknown event, PR409 without its body, PR400 without a reason. Spec 6.5.';
--! EndIncluded billing/replay_event.sql
--! Included billing/replay_stripe_event.sql
create or replace function ops.replay_stripe_event(event_id text, reason text, dry_run boolean default false)
returns table (id text, type text, user_id uuid, status text, error text)
language plpgsql
security definer
set search_path = ''
as $$
begin
  return query select e.* from core.replay_event(replay_stripe_event.event_id, reason, null, dry_run) e;
end
$$;

comment on function ops.replay_stripe_event(text, text, boolean) is
  'Applies a stored event (what came by webhook) once more, by hand: what is booked already stays booked once. '
  'Call: select * from ops.replay_stripe_event(''evt_…'', ''price was missing''); Errors: PR404 unknown event, PR409 without its body, '
  'PR400 without a reason. Spec 6.5.';
--! EndIncluded billing/replay_stripe_event.sql
--! Included billing/api_replay_stripe_event.sql
create or replace function api.replay_stripe_event(user_id uuid, event_id text, reason text)
returns table (id text, status text, error text)
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(replay_stripe_event.user_id);
  return query
    select e.id, e.status, e.error
    from core.replay_event(replay_stripe_event.event_id, replay_stripe_event.reason, replay_stripe_event.user_id, false) e;
end
$$;

comment on function api.replay_stripe_event(uuid, text, text) is
  'Applies a stored event once more for an administrator, as ops.replay_stripe_event does for an operator: what is booked already stays booked '
  'once; audit_log keeps the administrator''s id as "by". Errors: PR403; PR404 unknown event; PR409 without its body; PR400 without a reason. Spec 6.5.';
--! EndIncluded billing/api_replay_stripe_event.sql
--! Included billing/list_stripe_events.sql
create or replace function api.list_stripe_events(
  user_id uuid, status text default null, search text default null, "limit" integer default 50, cursor text default null
)
returns table (events json, next_cursor text, waiting bigint, in_review bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  wanted text := nullif(btrim(list_stripe_events.search), '');
  after text[];
begin
  perform core.check_admin(list_stripe_events.user_id);
  perform core.check_page("limit", 0);
  if list_stripe_events.status <> all (array['received', 'applied', 'ignored', 'needs_review']) then
    raise exception 'status % is none of received, applied, ignored, needs_review', list_stripe_events.status
      using errcode = 'PR400', detail = 'status';
  end if;
  after := core.decode_cursor(list_stripe_events.cursor, 'timestamptz', 'text');

  with page as (
    select e.*, row_number() over (order by e.received_at desc, e.id desc) as nth
    from public.stripe_events e
    where (list_stripe_events.status is null or e.status = list_stripe_events.status)
      and (wanted is null or e.id = wanted or strpos(e.type, wanted) > 0 or e.user_id = core.uuid_or_null(wanted))
      and (after is null or (e.received_at, e.id) < (after[1]::timestamptz, after[2]))
    order by e.received_at desc, e.id desc
    limit "limit" + 1
  )
  select
    coalesce(json_agg(json_build_object(
      'id', g.id,
      'type', g.type,
      'status', g.status,
      'user_id', g.user_id,
      'username', u.username,
      'attempts', g.attempts,
      'error', g.error,
      'received_at', g.received_at,
      'applied_at', g.applied_at,
      'has_body', g.body is not null
    ) order by g.nth) filter (where g.nth <= "limit"), '[]'),
    max(core.encode_cursor(g.received_at::text, g.id)) filter (where g.nth = "limit" and exists (select from page x where x.nth > "limit"))
  into events, next_cursor
  from page g
  left join public.users u on u.id = g.user_id;
  select count(*) filter (where e.status = 'received'), count(*) filter (where e.status = 'needs_review') into waiting, in_review
  from public.stripe_events e
  where e.status in ('received', 'needs_review');
  return next;
end
$$;

comment on function api.list_stripe_events(uuid, text, text, integer, text) is
  'One page of the inbox of Stripe''s events, newest first, for an administrator: a JSON array without their bodies, next_cursor (null on the '
  'last page), and how many wait to be applied or need review. status is received, applied, ignored or needs_review; search an event''s id, '
  'part of its type, or a user''s id. Errors: PR403; PR400 naming status, limit or cursor. Spec 6.4, 6.5, 10.7.';
--! EndIncluded billing/list_stripe_events.sql
--! Included jobs/core_repeat_job.sql
create or replace function core.repeat_job(job text, reason text, by_user uuid, dry_run boolean)
returns setof public.job_runs
language plpgsql
set search_path = ''
as $$
begin
  if not exists (select from public.jobs j where j.job = repeat_job.job) then
    raise exception 'there is no job %', repeat_job.job using errcode = 'PR404', detail = 'job', hint = 'select job, description from jobs;';
  end if;
  if not dry_run then
    perform core.note_action('repeat_job', repeat_job.job, reason,
      case when by_user is not null then json_build_object('by', by_user) end);
    update public.job_runs r set finished_at = null, error = null, started_at = core.now()
    where r.job = repeat_job.job and r.finished_at is not null
      and r.slot = (select max(x.slot) from public.job_runs x where x.job = repeat_job.job);
  end if;
  return query
    select r.* from public.job_runs r
    where r.job = repeat_job.job and r.slot = (select max(x.slot) from public.job_runs x where x.job = repeat_job.job);
end
$$;

comment on function core.repeat_job(text, text, uuid, boolean) is
  'What ops.repeat_job does for an operator (by_user null) and api.repeat_job for an administrator. '
  'Errors: PR404 unknown job, PR400 without a reason. Spec 7.2.';
--! EndIncluded jobs/core_repeat_job.sql
--! Included jobs/repeat_job.sql
create or replace function ops.repeat_job(job text, reason text, dry_run boolean default false)
returns setof public.job_runs
language plpgsql
security definer
set search_path = ''
as $$
begin
  return query select r.* from core.repeat_job(repeat_job.job, reason, null, dry_run) r;
end
$$;

comment on function ops.repeat_job(text, text, boolean) is
  'Makes a job''s newest slot due once more, as after an error that has been put right; whoever does jobs does it within a minute. Returns its '
  'row. A job does only what is due, so again does no harm. Call: select * from ops.repeat_job(''audit-books'', ''the price is there now''); '
  'Errors: PR404 unknown job, PR400 without a reason. Spec 7.2.';
--! EndIncluded jobs/repeat_job.sql
--! Included jobs/api_repeat_job.sql
create or replace function api.repeat_job(user_id uuid, job text, reason text)
returns table (slot timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(repeat_job.user_id);
  return query select r.slot from core.repeat_job(repeat_job.job, repeat_job.reason, repeat_job.user_id, false) r;
end
$$;

comment on function api.repeat_job(uuid, text, text) is
  'Makes a job''s newest slot due once more, for an administrator, as ops.repeat_job does for an operator; audit_log keeps the administrator''s '
  'id as "by". Returns the slot; no row where it never ran. Errors: PR403; PR404 unknown job; PR400 without a reason. Spec 7.2, 8.3.';
--! EndIncluded jobs/api_repeat_job.sql
--! Included jobs/read_figures.sql
create or replace function api.read_figures(user_id uuid)
returns table (figure text, value numeric, unit text, note text)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform core.check_admin(read_figures.user_id);
  return query select h.figure, h.value, h.unit, h.note from ops.health h;
end
$$;

comment on function api.read_figures(uuid) is
  'The rows of ops.health for an administrator: each figure with its unit, and a note. Errors: PR403. Spec 8.3, 12.';
--! EndIncluded jobs/read_figures.sql
