--! Previous: sha1:61f0097f65915e4a1b4fc8acbe2eccf033ef6072
--! Hash: sha1:79873607a9fa9ba8b137688cc8362a7b3024efc1
--! Message: Grants that have expired and times without end are refused by name

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.

--! split: 2-bad-input.sql
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
  if grant_bonus.expires_at is null or grant_bonus.expires_at <= core.now() then
    raise exception 'expires_at % is not to come', coalesce(grant_bonus.expires_at::text, 'null')
      using errcode = 'PR400', detail = 'expires_at', hint = 'Credits that never expire: infinity, or leave it out.';
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
  'Errors: PR400 naming amount or expires_at, or without a reason. Spec 4.7.';
--! EndIncluded credits/grant_bonus.sql
--! Included analytics/check_scenario.sql
create or replace function core.check_scenario(
  since date, until date, plan_prices jsonb, pack_prices jsonb, model_prices jsonb, multipliers jsonb, limits jsonb,
  tokens_per_credit integer, max_request_tokens integer
)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  given record;
begin
  if not isfinite(since) or not isfinite(until) then
    raise exception 'from % until % is no time of 1 to 366 days', since, until using errcode = 'PR400', detail = 'since';
  elsif since >= until or until - since > 366 then
    raise exception 'from % until % is no time of 1 to 366 days', since, until using errcode = 'PR400', detail = 'since';
  elsif since < date '2000-01-01' or since > (core.now() at time zone 'UTC')::date then
    raise exception 'since must be a day of the past from 2000-01-01 on, not %', since using errcode = 'PR400', detail = 'since';
  elsif tokens_per_credit not between 1 and 1000000 then
    raise exception 'tokens_per_credit must be from 1 to 1000000, not %', tokens_per_credit using errcode = 'PR400', detail = 'tokens_per_credit';
  elsif max_request_tokens not between 1 and 10000000 then
    raise exception 'max_request_tokens must be from 1 to 10000000, not %', max_request_tokens using errcode = 'PR400', detail = 'max_request_tokens';
  end if;

  -- Each is an object by name: of amounts, or of objects of amounts.
  for given in
    select x.field, x.value, x.like_this
    from (values
      ('plan_prices', plan_prices, '{"prpm_plus_individual": 7}'), ('pack_prices', pack_prices, '{"large": 25}'),
      ('model_prices', model_prices, '{"opus": {"output": 25}}'), ('multipliers', multipliers, '{"opus": 8}'),
      ('limits', limits, '{"prpm_plus_org": {"monthly_cost_limit": 2}}')
    ) x (field, value, like_this)
    where x.value is not null
  loop
    if jsonb_typeof(given.value) <> 'object' then
      raise exception '% must be an object, such as %', given.field, given.like_this using errcode = 'PR400', detail = given.field;
    end if;
    perform core.check_scenario_part(given.field, e.key, e.value, given.like_this) from jsonb_each(given.value) e;
  end loop;
end
$$;

comment on function core.check_scenario(date, date, jsonb, jsonb, jsonb, jsonb, jsonb, integer, integer) is
  'Refuses inputs of ops.simulate that mean nothing. Errors: PR400 naming the field. Spec 8.6.';
--! EndIncluded analytics/check_scenario.sql
