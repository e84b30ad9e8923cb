--! Previous: sha1:40c7b9814d6212ac1f4887984a433b6f95614d94
--! Hash: sha1:4917ddfe7f636ed24a753b82e5cded75fa09a37f
--! Message: what an operator asks first: health, and checks of everything

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.
-- What an operator asks first, once all that it looks at is there.
--! Included jobs/faults_of_books.sql
create or replace function core.faults_of_books(clock timestamptz)
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select 'books', format('The audit of %s: %s', r.slot, r.error), 'select * from ops.audit_books(); when it is put right: call ops.run_job(''audit-books'', ''…'');'
  from (
    select x.slot, x.error from public.job_runs x where x.job = 'audit-books' and x.finished_at is not null order by x.slot desc limit 1
  ) r
  where r.error is not null
  union all
  (
    select 'hold outlived its expiry', format('run %s of user %s should have ended at %s', h.run_id, h.user_id, h.hold_expires_at),
      'Is the job expire-holds running? It ends such runs every minute.'
    from ops.open_holds h
    where h.hold_expires_at < clock - interval '2 minutes'
    limit 100
  );
end
$$;

comment on function core.faults_of_books(timestamptz) is
  'Part of ops.checks: what the last finished audit of the books found, and holds more than 2 minutes past their expiry. Spec 12.';
--! EndIncluded jobs/faults_of_books.sql
--! Included jobs/faults_of_catalog.sql
create or replace function core.faults_of_catalog()
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select 'model without a price', format('%s is enabled and refused with model_not_priced', m.model),
    format('Enter a price, or: update models set enabled = false where alias = %L;', m.model)
  from ops.unpriced_models m
  where m.enabled
  union all
  select 'clock', format('settings.clock_offset is %s', s.clock_offset), 'update settings set clock_offset = default;'
  from public.settings s
  where s.clock_offset <> '0'
  union all
  select 'switched off', 'settings.runs_enabled is false: all runs are refused with runs_disabled', 'update settings set runs_enabled = true;'
  from public.settings s
  where not s.runs_enabled
  union all
  select 'switched off', 'settings.purchases_enabled is false: nobody can subscribe or buy', 'update settings set purchases_enabled = true;'
  from public.settings s
  where not s.purchases_enabled
  union all
  select 'tier missing', format('%s has no row in cost_limits_config: its runs are refused with tier_not_configured', t.tier_name),
    'Add the row to cost_limits_config, or give its users another tier.'
  from (
    select 'free' as tier_name
    union
    select u.tier_override from public.users u where u.tier_override is not null
    union
    select u.plan_tier from public.users u where u.plan_tier is not null
  ) t
  where not exists (select from public.cost_limits_config c where c.tier_name = t.tier_name)
  union all
  select 'plan without a Stripe price', format('%s cannot be bought, while other plans can', p.plan),
    format('Make a price in Stripe, then: update plans set stripe_price_id = ''price_…'' where plan = %L;', p.plan)
  from public.plans p
  where p.is_active and p.monthly_price > 0 and p.stripe_price_id is null
    and exists (select from public.plans x where x.stripe_price_id is not null);
end
$$;

comment on function core.faults_of_catalog() is
  'Part of ops.checks: enabled models without a price, the clock, what is switched off, tiers without a row, and plans without a price at '
  'Stripe where others have one. Spec 12.';
--! EndIncluded jobs/faults_of_catalog.sql
--! Included jobs/faults_of_work.sql
create or replace function core.faults_of_work(clock timestamptz)
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select 'job late', format('%s was due at %s', j.job, j.next_due_at),
    format('Is pg_cron or a server running? By hand: call ops.run_job(%L);', j.job)
  from ops.jobs j
  where j.is_late
  union all
  select 'job failed', format('%s at %s: %s', j.job, j.last_slot, j.last_error), format('When it is put right: call ops.run_job(%L, ''…'');', j.job)
  from ops.jobs j
  where j.has_failed and j.job <> 'audit-books'
  union all
  select 'analytics old', format('refreshed %s ago', date_trunc('second', clock_timestamp() - a.refreshed_at)), 'select refresh_user_cost_analytics();'
  from core.analytics_refresh a
  where a.refreshed_at < clock_timestamp() - interval '2 hours'
  union all
  (
    select 'Stripe needs a person', format('%s %s: %s', r.kind, r.object, r.why), r.what_to_do
    from ops.stripe_review r
    limit 100
  )
  union all
  select 'Stripe waits for a server', format('%s pieces of work, the oldest since %s', count(*), min(w.waiting_since)),
    'Does a server run with STRIPE_SECRET_KEY? select * from ops.unclaimed_work;'
  from ops.unclaimed_work w
  where w.waiting_since < clock - interval '5 minutes'
    -- What only compares waits for nobody where there is nothing to compare.
    and (w.kind not in ('list_events', 'list_subscriptions') or exists (select from public.plans p where p.stripe_price_id is not null))
  having count(*) > 0
  union all
  select 'Stripe differed', format('%s differences were found and repaired in 24 hours, the newest at %s', count(*), max(d.found_at)),
    'Does the webhook arrive? select * from ops.stripe_drift;'
  from ops.stripe_drift d
  where d.found_at > clock - interval '24 hours'
  having count(*) > 0
  union all
  select 'message not delivered', format('%s messages, the newest about: %s', count(*), (array_agg(m.what order by m.since desc))[1]),
    'select * from ops.undelivered_messages;'
  from ops.undelivered_messages m
  having count(*) > 0;
end
$$;

comment on function core.faults_of_work(timestamptz) is
  'Part of ops.checks: jobs that are late or failed, analytics older than 2 hours, what of Stripe''s news needs a person, waits for a server '
  'for 5 minutes or was found by reconciliation in 24 hours, and messages that do not arrive. Spec 7.2, 12.';
--! EndIncluded jobs/faults_of_work.sql
--! Included jobs/faults_of_rights.sql
create or replace function core.faults_of_rights()
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select 'rights', x.detail, 'npm run db:roles and npm run migrate; if it stays: revoke what the design does not give (db/README.md, Rights).'
  from (
    select format('%s may use table %s.%s', r.role, n.nspname, c.relname)
    from unnest(array['prpm_app', 'prpm_cron']) r (role)
    cross join pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('api', 'core', 'ops', 'public') and c.relkind in ('r', 'p', 'v', 'm')
      and (has_table_privilege(r.role, c.oid, 'select, insert, update, delete, truncate, references, trigger')
        or has_any_column_privilege(r.role, c.oid, 'select, insert, update, references'))
    union all
    select format('%s may change %s.%s', r.role, n.nspname, c.relname)
    from unnest(array['prpm_ops', 'prpm_readonly']) r (role)
    cross join pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('core', 'public') and c.relkind in ('r', 'p')
      and c.relname in ('credit_transactions', 'credit_lots', 'runs', 'purchases', 'subscription_periods', 'audit_log', 'secrets')
      and (has_table_privilege(r.role, c.oid, 'insert, update, delete, truncate, trigger')
        or has_any_column_privilege(r.role, c.oid, 'insert, update'))
    union all
    select format('%s may execute %s', r.role, p.oid::regprocedure)
    from (values ('prpm_app', 'api'), ('prpm_ops', 'ops'), ('prpm_ops', 'public'), ('prpm_cron', null), ('prpm_readonly', null)) r (role, own)
    cross join pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('api', 'ops') and has_function_privilege(r.role, p.oid, 'execute')
      and not exists (
        select from (values ('prpm_app', 'api'), ('prpm_ops', 'ops')) g (role, own) where g.role = r.role and g.own = n.nspname
      )
      and r.own is distinct from 'public'
      and not (r.role = 'prpm_cron' and n.nspname = 'ops' and p.proname in ('run_job', 'continue_job', 'due_jobs'))
    union all
    select format('%s is a superuser or may bypass row security', r.rolname)
    from pg_catalog.pg_roles r
    where r.rolname like 'prpm\_%' and (r.rolsuper or r.rolbypassrls)
    union all
    select format('%s is a member of %s', m.rolname, g.rolname)
    from pg_catalog.pg_auth_members a
    join pg_catalog.pg_roles m on m.oid = a.member
    join pg_catalog.pg_roles g on g.oid = a.roleid
    where m.rolname in ('prpm_app', 'prpm_ops', 'prpm_cron', 'prpm_readonly')
  ) x (detail)
  limit 100;
end
$$;

comment on function core.faults_of_rights() is
  'Part of ops.checks: rights that a role has and should not have: tables for the server and the scheduler, the books for operators and '
  'dashboards, functions of another role''s schema, membership and superuser. Spec 12.';
--! EndIncluded jobs/faults_of_rights.sql
--! Included jobs/checks.sql
create or replace function ops.checks()
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select f.* from core.now() clock cross join lateral core.faults_of_books(clock) f
  union all
  select f.* from core.faults_of_catalog() f
  union all
  select f.* from core.now() clock cross join lateral core.faults_of_work(clock) f
  union all
  select f.* from core.faults_of_rights() f;
end
$$;

comment on function ops.checks() is
  'Is anything broken right now, and what to do about it? No row means healthy. Looks at what the last audit of the books found, holds past '
  'their expiry, jobs, the inbox, Stripe, messages, analytics, prices, tiers, plans, the clock, switches and roles; at most 100 rows of a kind. '
  'Quick: the books themselves are looked at by ops.audit_books(), and what costs too much by ops.alerts_now. Call: select * from ops.checks(); Spec 12.';
--! EndIncluded jobs/checks.sql
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
    select 5, 'spent in the last hour', round(coalesce(sum(r.cost), 0), 4), 'dollars',
      format('settings.hourly_spend_alert: %s.', coalesce((select s.hourly_spend_alert::text from public.settings s), 'none'))
    from recent r
    union all
    select 6, 'spent today', round(p.day_cost, 4), 'dollars', format('Earned by credits spent today: %s.', (select round(e.value, 2) from earned e))
    from people p
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
--! Included jobs/health.sql
create or replace view ops.health as
select f.figure, f.value, f.unit, f.note from core.health_figures() f;

comment on view ops.health is
  'What is going on now, on one screen: runs, errors, speed, money spent and earned today, throttles, refusals, jobs, alerts, and what needs you? '
  'One row for each figure. The last hour''s runs are found by their ids. Call: select * from ops.health; Spec 12.';
comment on column ops.health.figure is 'What is counted.';
comment on column ops.health.value is 'As many as unit says: US dollars, milliseconds, or a count; null: nothing to measure.';
comment on column ops.health.unit is 'runs, milliseconds, dollars, people, attempts, jobs, alerts, events or checks.';
comment on column ops.health.note is 'More about it, and where to look.';
--! EndIncluded jobs/health.sql
