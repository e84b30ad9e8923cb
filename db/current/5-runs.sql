-- Rooms runs, sessions and limits: the hot path. Only checks that guard money; references are checked by ops.audit_books().

create table if not exists public.sessions (
  user_id uuid not null,
  id uuid not null,
  package_id uuid not null,
  title text,
  last_run_id uuid not null,
  created_at timestamptz not null,
  last_run_at timestamptz not null,
  deleted_at timestamptz,
  primary key (user_id, id)
);
comment on table public.sessions is 'per-user. Conversations: runs of one package that follow each other. Totals are sums over its runs (spec 10.1).';
comment on column public.sessions.user_id is 'Whose it is.';
comment on column public.sessions.id is 'Names it; made by the caller.';
comment on column public.sessions.package_id is 'All its runs are of this package.';
comment on column public.sessions.title is 'The owner''s name for it; null: the first question.';
comment on column public.sessions.last_run_id is 'Its newest run; while that runs, no other can begin.';
comment on column public.sessions.created_at is 'When it began.';
comment on column public.sessions.last_run_at is 'When its newest run began.';
comment on column public.sessions.deleted_at is 'Set when the owner deleted it; its texts are gone then.';

create table if not exists public.runs (
  user_id uuid not null,
  id uuid not null,
  session_id uuid not null,
  status text not null,
  model text not null,
  provider_model text not null,
  package_id uuid not null,
  package_version text not null,
  baseline boolean not null,
  tier_name text not null,
  price_id uuid not null,
  credit_multiplier numeric not null,
  prompt_multiplier numeric not null,
  tokens_per_credit integer not null,
  estimated_input integer not null,
  question_tokens integer not null,
  estimate_is_exact boolean not null,
  output_cap integer not null,
  hold_included bigint not null,
  hold_purchased bigint not null,
  hold_cost numeric not null,
  hold_expires_at timestamptz not null,
  input_tokens integer,
  cached_tokens integer,
  cache_write_tokens integer,
  output_tokens integer,
  estimated boolean not null default false,
  cost numeric not null default 0,
  limited_cost numeric not null default 0,
  credits bigint not null default 0,
  shortfall bigint not null default 0,
  credits_by_kind jsonb,
  error text,
  error_reason text,
  stop_requested_at timestamptz,
  first_token_ms integer,
  duration_ms integer,
  started_at timestamptz not null,
  finished_at timestamptz,
  primary key (user_id, id)
);
comment on table public.runs is
  'per-user. Every run that was let in: what it held, what the provider reported, what it cost and what was charged. '
  'Keeps the price row, multipliers and tokens_per_credit that it began under (spec 1.3).';
comment on column public.runs.user_id is 'Who runs.';
comment on column public.runs.id is 'Names the run; made by the caller, time-ordered.';
comment on column public.runs.session_id is 'The conversation that it is part of.';
comment on column public.runs.status is 'running, completed, stopped, failed, released (nothing delivered, nothing charged) or expired (its server was gone).';
comment on column public.runs.model is 'models.alias.';
comment on column public.runs.provider_model is 'The provider''s model id at the time.';
comment on column public.runs.package_id is 'The package.';
comment on column public.runs.package_version is 'The version of it.';
comment on column public.runs.baseline is 'True: run without the package''s prompt, for comparison.';
comment on column public.runs.tier_name is 'Tier at the time.';
comment on column public.runs.price_id is 'model_prices.id that it is priced by.';
comment on column public.runs.credit_multiplier is 'The model''s factor at the time.';
comment on column public.runs.prompt_multiplier is '1, or the factor of custom prompts (spec 1.7).';
comment on column public.runs.tokens_per_credit is 'The setting at the time.';
comment on column public.runs.estimated_input is 'Tokens of input estimated before the run.';
comment on column public.runs.question_tokens is 'Tokens of the caller''s own text, estimated.';
comment on column public.runs.estimate_is_exact is 'True: counted by the model''s own tokenizer.';
comment on column public.runs.output_cap is 'Tokens: max_tokens sent to the provider.';
comment on column public.runs.hold_included is 'Credits held that were not purchased.';
comment on column public.runs.hold_purchased is 'Purchased credits held.';
comment on column public.runs.hold_cost is 'US dollars: its worst case.';
comment on column public.runs.hold_expires_at is 'When the run is taken for dead unless a checkpoint comes.';
comment on column public.runs.input_tokens is 'Tokens read in all, cached and cache-write parts included, as the provider reported.';
comment on column public.runs.cached_tokens is 'Tokens of input read from the provider''s cache.';
comment on column public.runs.cache_write_tokens is 'Tokens of input written to the provider''s cache.';
comment on column public.runs.output_tokens is 'Tokens written, as the provider reported; while running, the count so far.';
comment on column public.runs.estimated is 'True: the provider''s report was lost, tokens are counted by us.';
comment on column public.runs.cost is 'US dollars: exact, tokens by kind at the price row.';
comment on column public.runs.limited_cost is 'US dollars: the part of cost that counts against limits (spec 3.3).';
comment on column public.runs.credits is 'Credits charged: transfers of type spend less those given back.';
comment on column public.runs.shortfall is 'Credits that it cost above its hold and that nothing free could pay.';
comment on column public.runs.credits_by_kind is 'Credits charged by kind of lot.';
comment on column public.runs.error is 'Code of the failure (docs/errors.md), or null.';
comment on column public.runs.error_reason is 'The provider''s words, keys and internals left out.';
comment on column public.runs.stop_requested_at is 'When a stop was asked for.';
comment on column public.runs.first_token_ms is 'Milliseconds to the first token.';
comment on column public.runs.duration_ms is 'Milliseconds of the provider call.';
comment on column public.runs.started_at is 'When it was let in; decides its windows and its price.';
comment on column public.runs.finished_at is 'When it ended, or null.';

create table if not exists public.run_texts (
  user_id uuid not null,
  session_id uuid not null,
  run_id uuid not null,
  question text not null,
  answer text not null,
  primary key (user_id, session_id, run_id)
) with (toast_tuple_target = 8160);
alter table public.run_texts alter column question set storage external;
alter table public.run_texts alter column answer set storage external;
comment on table public.run_texts is 'per-user. What was asked and answered, apart from the books, so that texts can go and the books stay.';
comment on column public.run_texts.user_id is 'Whose.';
comment on column public.run_texts.session_id is 'The conversation.';
comment on column public.run_texts.run_id is 'The run; ids are time-ordered, so they order the conversation.';
comment on column public.run_texts.question is 'The caller''s text.';
comment on column public.run_texts.answer is 'The model''s text, so far while it runs.';

create table if not exists public.idempotency_keys (
  user_id uuid not null,
  key text not null check (length(key) between 1 and 255),
  request_hash bytea not null,
  run_id uuid not null,
  created_at timestamptz not null,
  primary key (user_id, key)
);
comment on table public.idempotency_keys is 'per-user. Idempotency-Key of a run that was let in; kept for 24 hours (spec 5.3).';
comment on column public.idempotency_keys.user_id is 'Whose key.';
comment on column public.idempotency_keys.key is 'As sent, 1 to 255 characters.';
comment on column public.idempotency_keys.request_hash is 'SHA-256 of the request.';
comment on column public.idempotency_keys.run_id is 'The run that it made.';
comment on column public.idempotency_keys.created_at is 'When.';

create table if not exists public.refusals (
  user_id uuid not null,
  reason text not null,
  hour timestamptz not null,
  count bigint not null check (count > 0),
  limit_value numeric,
  used_value numeric,
  last_at timestamptz not null,
  primary key (user_id, reason, hour)
);
comment on table public.refusals is 'per-user. How often each reason refused a run, by hour: a flood of refusals costs no flood of rows (spec 3.7).';
comment on column public.refusals.user_id is 'Who was refused.';
comment on column public.refusals.reason is 'Code of the refusal (docs/errors.md).';
comment on column public.refusals.hour is 'Start of the hour (UTC).';
comment on column public.refusals.count is 'How often.';
comment on column public.refusals.limit_value is 'The limit at the last one, in its own unit (dollars, credits, runs, tokens).';
comment on column public.refusals.used_value is 'What was used at the last one, same unit.';
comment on column public.refusals.last_at is 'When the last one was.';

create table if not exists public.rate_windows (
  user_id uuid not null,
  kind text not null check (kind in ('read', 'purchase')),
  ends_at timestamptz not null,
  count integer not null,
  primary key (user_id, kind)
);
comment on table public.rate_windows is 'per-user. Fixed minute windows of reads and purchases (spec 3.6).';
comment on column public.rate_windows.user_id is 'Whose.';
comment on column public.rate_windows.kind is 'read or purchase.';
comment on column public.rate_windows.ends_at is 'End of the window.';
comment on column public.rate_windows.count is 'Requests in it, refused or not.';

create table if not exists public.jobs (
  job text primary key,
  every interval not null check (every > '0'),
  after interval not null default '0',
  description text not null
);
comment on table public.jobs is 'config. What is done by the clock (UTC); ops.run_job does each due slot once (spec 7.1).';
comment on column public.jobs.job is 'Names the job.';
comment on column public.jobs.every is 'A slot is due this often.';
comment on column public.jobs.after is 'So long after the start of the minute, hour or day.';
comment on column public.jobs.description is 'What it does.';
insert into public.jobs (job, every, after, description) values
  ('expire-holds', '1 minute', '0', 'Ends runs whose server is gone: ops.expire_holds()'),
  ('watch-budgets', '1 minute', '0', 'Pauses the free tier when its budget of the day is used up: ops.watch_budgets()'),
  ('choose-cached-prompts', '1 minute', '0', 'Marks the prompts that are worth caching: ops.choose_cached_prompts()'),
  ('refresh-analytics', '1 hour', '0', 'Refreshes the analytics: refresh_user_cost_analytics()'),
  ('reset-monthly-costs', '1 day', '0', 'Closes the windows that ended: reset_monthly_api_costs()'),
  ('expire-rollover', '1 day', '10 minutes', 'Books expired credits: ops.expire_lots()'),
  ('forget-keys', '1 hour', '0', 'Drops idempotency keys older than 24 hours: ops.forget_keys()')
on conflict do nothing;

create table if not exists public.job_runs (
  id bigint generated always as identity primary key,
  job text not null,
  slot timestamptz not null,
  started_at timestamptz not null,
  finished_at timestamptz,
  rows_touched bigint,
  error text,
  unique (job, slot)
);
comment on table public.job_runs is 'ops. What the jobs did (spec 7.2).';
comment on column public.job_runs.id is 'Counter.';
comment on column public.job_runs.job is 'Name of the job.';
comment on column public.job_runs.slot is 'The time that it was due.';
comment on column public.job_runs.started_at is 'When it began.';
comment on column public.job_runs.finished_at is 'When it ended, or null.';
comment on column public.job_runs.rows_touched is 'Rows changed.';
comment on column public.job_runs.error is 'What went wrong, or null.';

create table if not exists public.audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  role text not null,
  table_name text not null,
  action text not null,
  row_key text,
  old jsonb,
  new jsonb,
  reason text
);
comment on table public.audit_log is 'ops. What operators changed: limits, prices, plans, settings, throttles, grants (spec 12).';
comment on column public.audit_log.id is 'Counter.';
comment on column public.audit_log.at is 'When.';
comment on column public.audit_log.role is 'The database role that did it.';
comment on column public.audit_log.table_name is 'Table that was changed, or function that was called.';
comment on column public.audit_log.action is 'insert, update, delete or call.';
comment on column public.audit_log.row_key is 'Key of the row.';
comment on column public.audit_log.old is 'Columns that changed, before.';
comment on column public.audit_log.new is 'Columns that changed, after.';
comment on column public.audit_log.reason is 'Why, where a function asked.';
