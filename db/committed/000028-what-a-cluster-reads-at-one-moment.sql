--! Previous: sha1:0757caff15b4a08a249ddfd77b2b07c7dd5e52a7
--! Hash: sha1:2df47fb6fc643a709d2b2badc001ded0549d9ca1
--! Message: what a cluster reads at one moment

--! split: 1-current.sql
-- Views show them anyhow; on a cluster the part of a view that is on another node is read by the rights of who asks.
grant select on public.jobs, public.subscription_periods to prpm_readonly;
set local citus.enable_ddl_propagation = off;
-- An audit reads what it compares in one statement for each user, on a cluster too: there, two parts of a statement on two nodes are of two moments.
--! Included analytics/user_usage_parts.sql
create or replace view core.user_usage_parts as
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

comment on view core.user_usage_parts is
  'The parts of core.usage_parts that are of users: rollups, runs above their user''s mark, and corrections of those below. All of them lie with the user, '
  'so on a cluster they are of one moment. Single rows mean nothing, and may be below 0. Spec 8.2.';
comment on column core.user_usage_parts.user_id is 'Who ran.';
comment on column core.user_usage_parts.day is 'UTC day in which the runs began.';
comment on column core.user_usage_parts.model is 'models.alias.';
comment on column core.user_usage_parts.package_id is 'The package.';
comment on column core.user_usage_parts.tier_name is 'Tier at the time.';
comment on column core.user_usage_parts.runs is 'Runs that have ended, however they ended.';
comment on column core.user_usage_parts.failed_runs is 'Of them, runs that failed, expired, or have an error.';
comment on column core.user_usage_parts.input_tokens is 'Tokens read, cached and cache-write parts included.';
comment on column core.user_usage_parts.cached_tokens is 'Of them, tokens read from a provider''s cache.';
comment on column core.user_usage_parts.cache_write_tokens is 'Of them, tokens written to a provider''s cache.';
comment on column core.user_usage_parts.output_tokens is 'Tokens written.';
comment on column core.user_usage_parts.cost is 'US dollars: exact provider cost.';
comment on column core.user_usage_parts.limited_cost is 'US dollars: the part of it that counts against limits.';
comment on column core.user_usage_parts.credits is 'Credits charged.';
comment on column core.user_usage_parts.shortfall is 'Credits that nothing could pay.';
comment on column core.user_usage_parts.included_value is 'US dollars of cash that had been paid for the credits spent that were not purchased.';
comment on column core.user_usage_parts.purchased_value is 'US dollars of cash that had been paid for the purchased credits spent.';
comment on column core.user_usage_parts.cache_saving is 'US dollars that caching saved by the runs'' own price rows: cached reads at less than the input price, less what writes cost above it; below 0 where writes were not read often enough.';
comment on column core.user_usage_parts.answers is 'Completed runs with the package''s prompt: baselines left out.';
comment on column core.user_usage_parts.answer_tokens is 'Tokens that these wrote.';
comment on column core.user_usage_parts.paid_credits is 'Credits charged that cash had been paid for: those of sign-up and operators left out, and all of runs without a paid credit.';
comment on column core.user_usage_parts.paid_cost is 'US dollars of provider cost that paid credits bore: all but the share of free credits, and but runs without a paid credit.';
--! EndIncluded analytics/user_usage_parts.sql
--! Included analytics/usage_parts.sql
create or replace view core.usage_parts as
select
  p.user_id, p.day, p.model, p.package_id, p.tier_name, p.runs, p.failed_runs, p.input_tokens, p.cached_tokens, p.cache_write_tokens,
  p.output_tokens, p.cost, p.limited_cost, p.credits, p.shortfall, p.included_value, p.purchased_value, p.cache_saving, p.answers,
  p.answer_tokens, p.paid_credits, p.paid_cost
from core.user_usage_parts p
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
--! Included analytics/package_news.sql
create or replace view core.package_news as
-- Runs above their user's mark. offset 0: by key, user by user, whatever the planner thinks of how many there are.
select
  t.package_id, t.day, u.id as user_id, t.model, t.prompted_sessions as sessions, t.prompted_runs as runs, t.prompted_credits as credits
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

comment on view core.package_news is
  'What core.package_days does not have yet: runs above their user''s mark, and corrections of those below. Single rows mean nothing, and may be below 0. '
  'All of it lies with the user, so on a cluster it is of one moment. Spec 8.2, 8.7.';
comment on column core.package_news.package_id is 'The package.';
comment on column core.package_news.day is 'UTC day in which the runs began.';
comment on column core.package_news.user_id is 'Who ran.';
comment on column core.package_news.model is 'models.alias.';
comment on column core.package_news.sessions is 'Sessions that began with the package''s prompt.';
comment on column core.package_news.runs is 'Runs with it that have ended.';
comment on column core.package_news.credits is 'Credits charged for them.';
--! EndIncluded analytics/package_news.sql
--! Included analytics/package_parts.sql
create or replace view core.package_parts as
select d.package_id, d.day, d.user_id, d.model, d.sessions, d.runs, d.credits
from core.package_days d
union all
select n.package_id, n.day, n.user_id, n.model, n.sessions, n.runs, n.credits
from core.package_news n;

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
    select
      p.user_id, p.day, p.model, p.package_id, p.tier_name,
      sum(p.runs) as runs, sum(p.failed_runs) as failed_runs, sum(p.input_tokens) as input_tokens, sum(p.cached_tokens) as cached_tokens,
      sum(p.cache_write_tokens) as cache_write_tokens, sum(p.output_tokens) as output_tokens, sum(p.cost) as cost,
      sum(p.limited_cost) as limited_cost, sum(p.credits) as credits, sum(p.shortfall) as shortfall,
      sum(p.included_value) as included_value, sum(p.purchased_value) as purchased_value, sum(p.cache_saving) as cache_saving,
      sum(p.answers) as answers, sum(p.answer_tokens) as answer_tokens,
      sum(p.paid_credits) as paid_credits, sum(p.paid_cost) as paid_cost
    from core.user_usage_parts p
    where p.user_id between first_user and last_user
    group by p.user_id, p.day, p.model, p.package_id, p.tier_name
    having sum(p.runs) <> 0
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

  -- What is rolled up lies apart from the runs on a cluster, so it is held against what all runs leave for it.
  return query
  select
    coalesce(e.user_id, a.user_id), 'package_days',
    format('package %s, %s of %s', coalesce(e.package_id, a.package_id), coalesce(e.model, a.model), coalesce(e.day, a.day)),
    format('%s sessions, %s runs, %s credits', coalesce(e.sessions, 0), coalesce(e.runs, 0), coalesce(e.credits, 0)),
    format('%s sessions, %s runs, %s credits', coalesce(a.sessions, 0), coalesce(a.runs, 0), coalesce(a.credits, 0))
  from (
    select x.package_id, x.day, x.user_id, x.model, sum(x.sessions) as sessions, sum(x.runs) as runs, sum(x.credits) as credits
    from (
      select r.package_id, r.day, r.user_id, r.model, r.prompted_sessions as sessions, r.prompted_runs as runs, r.prompted_credits as credits
      from core.usage_by_run r
      where r.user_id between first_user and last_user
      union all
      select n.package_id, n.day, n.user_id, n.model, -n.sessions, -n.runs, -n.credits
      from core.package_news n
      where n.user_id between first_user and last_user
    ) x
    group by x.package_id, x.day, x.user_id, x.model
  ) e
  full join (
    select d.* from core.package_days d where d.user_id between first_user and last_user
  ) a on a.package_id = e.package_id and a.day = e.day and a.user_id = e.user_id and a.model = e.model
  where (coalesce(e.sessions, 0), coalesce(e.runs, 0), coalesce(e.credits, 0)) <> (coalesce(a.sessions, 0), coalesce(a.runs, 0), coalesce(a.credits, 0));
end
$$;

comment on function core.audit_usage(uuid, uuid) is
  'Part of ops.audit_books: each figure of core.usage_by_day and of core.package_days against a sum over runs. '
  'Of users between two ids, both included. Spec 8.2.';
--! EndIncluded analytics/audit_usage.sql
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
        -- What differs is looked at once more: on a cluster a refresh of the analytics may end while the audit reads, and not be seen on all nodes.
        for attempt in 1 .. 2 loop
          select x.last, x.error into last, error
          from core.audit_batch(coalesce(do_batch.cursor, '00000000-0000-0000-0000-000000000000'), (select 4 * s.job_batch from public.settings s)) x;
          exit when error is null;
        end loop;
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
--! Included catalog/unpriced_models.sql
create or replace view ops.unpriced_models as
select
  m.model, m.provider, m.provider_model, m.enabled, m.last_price_ended_at, m.next_price_starts_at,
  format(
    'insert into model_prices (model, valid, input, output) values (%L, tstzrange(now(), null), …, …)', m.model
  ) as price_with
from (
  select
    m.alias as model,
    m.provider,
    m.provider_model,
    m.enabled,
    max(upper(p.valid)) filter (where upper(p.valid) <= (select core.now())) as last_price_ended_at,
    min(lower(p.valid)) filter (where lower(p.valid) > (select core.now())) as next_price_starts_at,
    coalesce(bool_or(p.valid @> (select core.now())), false) as is_priced
  from public.models m
  left join public.model_prices p on p.model = m.alias
  group by m.alias
) m
where not m.is_priced
order by m.last_price_ended_at desc nulls last, m.model;

comment on view ops.unpriced_models is
  'Which models cannot be run for want of a price now? The price that ended last comes first. Spec 1.3.';
comment on column ops.unpriced_models.model is 'models.alias.';
comment on column ops.unpriced_models.provider is 'anthropic or openai.';
comment on column ops.unpriced_models.provider_model is 'The provider''s own model id.';
comment on column ops.unpriced_models.enabled is 'True: people can choose it and are refused with model_not_priced.';
comment on column ops.unpriced_models.last_price_ended_at is 'When its last price ended; null: it never had one.';
comment on column ops.unpriced_models.next_price_starts_at is 'When its next price begins, or null.';
comment on column ops.unpriced_models.price_with is 'A statement to complete: US dollars per million tokens.';
--! EndIncluded catalog/unpriced_models.sql
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
  comparison uuid;
begin
  perform from public.users u where u.id = delete_session.user_id for no key update;
  -- The index is written under the lock of its marks, always taken before its rows: so nothing comes into it behind what is deleted here.
  perform from public.session_marks m where m.user_id = delete_session.user_id for update;
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
  for comparison in
    select c.id from public.comparisons c where c.user_id = session.user_id and session.id = any (c.session_ids)
  loop
    perform api.unshare_comparison(session.user_id, comparison);
  end loop;
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
--! Included sessions/read_comparison.sql
create or replace function api.read_comparison(user_id uuid, comparison_id uuid)
returns table (id uuid, run_ids uuid[], session_ids uuid[], created_at timestamptz, share_token text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  link text;
begin
  select s.token into link
  from public.shared_sessions s
  where s.user_id = read_comparison.user_id and s.comparison_id = read_comparison.comparison_id and s.ended_at is null;
  return query
  select c.id, c.run_ids, c.session_ids, c.created_at, link
  from public.comparisons c
  where c.user_id = read_comparison.user_id and c.id = read_comparison.comparison_id;
end
$$;

comment on function api.read_comparison(uuid, uuid) is
  'A user''s own comparison: the runs of its sides in their order, their sessions, and the token of its link while it is shared. No row for '
  'an unknown one or another''s. Spec 5.8.';
--! EndIncluded sessions/read_comparison.sql
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
  if person is null or groups not in ('limits', 'credits', 'payments') or unsubscribe.token is distinct from core.unsubscribe_token(person, groups) then
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
grant execute on function core.tier_of(text, text, timestamptz) to prpm_ops, prpm_readonly;
grant execute on function core.monthly_limit_of(text) to prpm_ops, prpm_readonly;
