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

--! include jobs/sweep_users.sql
--! include jobs/sweep_all.sql
--! include limits/users_with_ended_windows.sql
--! include limits/close_windows.sql
--! include limits/reset_monthly_api_costs.sql
--! include credits/users_with_expired_lots.sql
--! include credits/expire_lots.sql
--! include billing/users_with_ended_periods.sql
--! include billing/end_periods.sql
--! include billing/reset_credits.sql
--! include billing/retry_stripe_events.sql
--! include runs/users_with_expired_holds.sql
--! include runs/expire_holds.sql
--! include sessions/old_texts.sql
--! include sessions/texts_about_to_go.sql
--! include sessions/users_with_old_texts.sql
--! include sessions/drop_old_texts.sql
--! include jobs/check_books.sql
--! include jobs/forget_history.sql
--! include jobs/due_slot.sql
--! include jobs/begin_slot.sql
--! include jobs/do_batch.sql
--! include jobs/continue_job.sql
--! include jobs/repeat_job.sql
--! include jobs/ops_due_jobs.sql
--! include jobs/due_jobs.sql
--! include jobs/api_run_job.sql
--! include jobs/check_ready.sql
--! include jobs/ops_run_job.sql
--! include jobs/ops_jobs.sql
--! include jobs/unclaimed_work.sql
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
