-- Has pg_cron do the jobs of one database. As a superuser, in the database that pg_cron lives in (cron.database_name, by default
-- postgres): `npm run db:cron`, or, after `set prpm.database = '…'` (default prpm), this file. Runs as often as you like: adds
-- what is missing, changes what differs, removes what is no longer here, and touches no schedule but its own, whose names begin
-- with prpm/DATABASE/. After `set prpm.cron = 'off'` it removes them all.

create extension if not exists pg_cron;

do $$
declare
  target text := coalesce(nullif(current_setting('prpm.database', true), ''), 'prpm');
  prefix text := 'prpm/' || target || '/';
  wanted record;
  old record;
begin
  create temporary table wanted_schedules (job, schedule) on commit drop as
  select v.job, v.schedule
  from (values
    -- The deployment guide's four.
    ('reset-monthly-costs', '0 0 * * *'),
    ('refresh-analytics', '0 * * * *'),
    ('reset-credits', '5 0 * * *'),
    ('expire-rollover', '10 0 * * *'),

    ('expire-holds', '* * * * *'),
    ('end-anonymous-runs', '* * * * *'),
    ('finish-erasures', '* * * * *'),
    ('watch-budgets', '* * * * *'),
    ('choose-cached-prompts', '* * * * *'),
    ('retry-stripe-events', '* * * * *'),
    ('lift-throttles', '*/5 * * * *'),
    ('check-alerts', '*/5 * * * *'),
    ('index-sessions', '*/5 * * * *'),
    ('forget-keys', '0 * * * *'),
    ('forget-visits', '5 * * * *'),
    ('forget-logins', '5 * * * *'),
    ('align-prices', '10 * * * *'),
    ('reconcile-stripe', '20 * * * *'),
    ('audit-books', '30 0 * * *'),
    ('apply-retention', '0 2 * * *'),
    ('forget-history', '10 2 * * *'),
    ('reconcile-stripe-daily', '20 3 * * *'),
    ('reconcile-costs', '40 3 * * *'),

    -- What was missed, or broken off.
    ('overdue', '* * * * *')
  ) v (job, schedule)
  where current_setting('prpm.cron', true) is distinct from 'off';

  for old in
    select j.jobid
    from cron.job j
    where starts_with(j.jobname, prefix)
      and (j.username <> 'prpm_cron' or not exists (select from wanted_schedules w where j.jobname = prefix || w.job))
  loop
    perform cron.unschedule(old.jobid);
  end loop;

  for wanted in select w.job, w.schedule from wanted_schedules w loop
    perform cron.schedule_in_database(
      prefix || wanted.job,
      wanted.schedule,
      case wanted.job when 'overdue' then 'call ops.run_job()' else format('call ops.run_job(%L)', wanted.job) end,
      target,
      'prpm_cron',
      true
    );
  end loop;
end
$$;
