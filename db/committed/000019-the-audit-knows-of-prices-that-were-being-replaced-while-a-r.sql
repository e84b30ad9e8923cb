--! Previous: sha1:d0f724c7c2c7d94fc52e3aba02be0b9e266ee649
--! Hash: sha1:61f0097f65915e4a1b4fc8acbe2eccf033ef6072
--! Message: The audit knows of prices that were being replaced while a run began

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.

--! split: 2-audit.sql
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
      -- A price that was being replaced while the run began was still the one that it could see.
      tstzrange(lower(p.valid), upper(p.valid) + interval '1 minute') @> r.started_at as is_of_its_time,
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
      e.price_model = e.model and e.is_of_its_time),
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
    and e.price_model = e.model and e.is_of_its_time and e.status in ('completed', 'stopped', 'failed') and e.finished_at is not null
    and e.cached_tokens >= 0 and e.cache_write_tokens >= 0 and e.output_tokens >= 0 and e.input_tokens >= e.cached_tokens + e.cache_write_tokens
    and e.hold_included >= 0 and e.hold_purchased >= 0 and e.hold_cost >= 0
  ) is not true and problem.agrees is not true;
end
$$;

comment on function core.audit_runs(uuid, uuid) is
  'Part of ops.audit_books: each run''s cost by its tokens and price row, its charge by spec 1.1 and 1.7, what its transfers paid, by kind, '
  'the cash that had been paid for it, and the part of its cost that counts against limits; of a refunded run that nothing is left of its '
  'charge. A price counts for a minute more than it was valid: who began a run while it was replaced could not see the new one. Of users between two ids, both included. Spec 1.3, 3.3.';
--! EndIncluded runs/audit_runs.sql
