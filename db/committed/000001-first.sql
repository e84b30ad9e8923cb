--! Previous: -
--! Hash: sha1:541b50e3f089bcef1c7c4fe5a6d5753a38031e1d
--! Message: first

--! split: 1-schemas.sql
-- Who may call what is said by the schema that a thing stands in: see db/README.md.
create extension if not exists btree_gist;
create extension if not exists pg_trgm;

create schema if not exists api;
create schema if not exists core;
create schema if not exists ops;

comment on schema public is 'Tables and the views and functions that the operator''s guide names: what a person sees in psql.';
comment on schema api is 'All that the server may do, and nothing else. The acting user''s id comes first.';
comment on schema core is 'Rules, private: called by api and ops, never from outside.';
comment on schema ops is 'What an operator or a scheduler calls. Start with: select * from ops.help(''word'');';

--! split: 2-accounts.sql
-- Room accounts: people, organizations, identities, tokens.

create table if not exists public.organizations (
  id uuid primary key default gen_random_uuid(),
  name text not null check (length(name) between 1 and 100),
  is_verified boolean not null default false,
  created_at timestamptz not null default now()
);
comment on table public.organizations is 'config. An organization. Members of a verified one may have the organization price (spec 2.4).';
comment on column public.organizations.id is 'Made once, never changes.';
comment on column public.organizations.name is 'Shown to people, 1 to 100 characters.';
comment on column public.organizations.is_verified is 'Set by ops.verify_organization.';
comment on column public.organizations.created_at is 'When the row was made.';

create table if not exists public.users (
  id uuid primary key,
  username text not null,
  email text,
  is_admin boolean not null default false,
  verified_author boolean not null default false,
  prpm_plus_status text,
  tier_override text,
  plan_tier text,
  entitled_until timestamptz,
  timezone text not null default 'UTC',
  current_month_api_cost numeric not null default 0,
  current_month_limited_cost numeric not null default 0,
  month_held_cost numeric not null default 0,
  current_month_requests integer not null default 0,
  month_ends_at timestamptz not null,
  current_day_api_cost numeric not null default 0,
  current_day_limited_cost numeric not null default 0,
  day_held_cost numeric not null default 0,
  day_ends_at timestamptz not null,
  hour_requests integer not null default 0,
  hour_ends_at timestamptz not null,
  minute_attempts integer not null default 0,
  minute_ends_at timestamptz not null,
  lifetime_api_cost numeric not null default 0,
  total_requests bigint not null default 0,
  last_request_at timestamptz,
  is_throttled boolean not null default false,
  throttled_reason text,
  throttled_by text,
  throttled_at timestamptz,
  throttled_until timestamptz,
  limits_waived_until timestamptz,
  included_credits bigint not null default 0,
  purchased_credits bigint not null default 0,
  held_included bigint not null default 0,
  held_purchased bigint not null default 0,
  transaction_count bigint not null default 0,
  spend_lot uuid,
  next_lot_expiry timestamptz not null default 'infinity',
  open_runs uuid[] not null default '{}',
  holds_expire_at timestamptz not null default 'infinity',
  closed_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint holds_are_not_negative check (least(held_included, held_purchased) >= 0)
);
comment on table public.users is
  'per-user (key: id). A person: their tier, windows, throttle and the cached credit figures. '
  'Figures change only by the functions that write the books; ops.audit_books() recomputes them.';
comment on column public.users.id is 'The person''s id; the user_id of every per-user table.';
comment on column public.users.username is 'Shown name.';
comment on column public.users.email is 'Verified e-mail, or null. Unique by table user_emails.';
comment on column public.users.is_admin is 'May use the admin API. A column, never a claim (spec 2.2).';
comment on column public.users.verified_author is 'May run custom prompts (spec 10.5).';
comment on column public.users.prpm_plus_status is 'active while a subscription entitles, else Stripe''s own word, or null (spec 2.5).';
comment on column public.users.tier_override is 'Tier given by an operator; outranks the plan''s (spec 2.5).';
comment on column public.users.plan_tier is 'Tier of the plan whose period is paid, valid until entitled_until.';
comment on column public.users.entitled_until is 'Until when plan_tier holds; null without a subscription.';
comment on column public.users.timezone is 'IANA name, for showing times only; all windows are UTC.';
comment on column public.users.current_month_api_cost is 'US dollars: all provider cost of runs begun in the month window that ends at month_ends_at.';
comment on column public.users.current_month_limited_cost is 'US dollars: the part of it that counts against limits, not paid by purchased credits (spec 3.3).';
comment on column public.users.month_held_cost is 'US dollars: worst case of running runs, counted against the month''s limit.';
comment on column public.users.current_month_requests is 'Runs let in during the month window.';
comment on column public.users.month_ends_at is 'End of the month window (UTC calendar month) that the month columns describe.';
comment on column public.users.current_day_api_cost is 'US dollars: all provider cost of runs begun in the day window.';
comment on column public.users.current_day_limited_cost is 'US dollars: the part of it that counts against limits.';
comment on column public.users.day_held_cost is 'US dollars: worst case of running runs, counted against the day''s limit.';
comment on column public.users.day_ends_at is 'End of the day window (UTC) that the day columns describe.';
comment on column public.users.hour_requests is 'Runs let in during the hour window, less those that the provider failed.';
comment on column public.users.hour_ends_at is 'End of the hour window (UTC).';
comment on column public.users.minute_attempts is 'Attempts to begin a run in the fixed minute window, refused or not (spec 3.6).';
comment on column public.users.minute_ends_at is 'End of the minute window; set by its first attempt, never moved by later ones.';
comment on column public.users.lifetime_api_cost is 'US dollars: provider cost of every run ever.';
comment on column public.users.total_requests is 'Runs ever let in.';
comment on column public.users.last_request_at is 'When the last run was let in.';
comment on column public.users.is_throttled is 'True while throttled. An operator sets or lifts it with a plain UPDATE (spec 3.4).';
comment on column public.users.throttled_reason is 'Why, in words: tier, limit and amount.';
comment on column public.users.throttled_by is 'limit: a used-up cost window; operator: ops.throttle_user; null: an operator''s plain UPDATE.';
comment on column public.users.throttled_at is 'Since when.';
comment on column public.users.throttled_until is 'When it ends by itself; not used for a plain UPDATE.';
comment on column public.users.limits_waived_until is 'Until then cost limits do not hold for this person (ops.waive_limits).';
comment on column public.users.included_credits is 'Credits left in lots that were not purchased (monthly, rollover, signup, bonus), held ones included.';
comment on column public.users.purchased_credits is 'Credits left in purchased lots, held ones included.';
comment on column public.users.held_included is 'Credits of included_credits that running runs hold.';
comment on column public.users.held_purchased is 'Credits of purchased_credits that running runs hold.';
comment on column public.users.transaction_count is 'Id of the last row of credit_transactions.';
comment on column public.users.spend_lot is 'The lot that is spent first, or null.';
comment on column public.users.next_lot_expiry is 'Earliest expiry among lots with credits left; infinity if none expires.';
comment on column public.users.open_runs is 'Ids of running runs.';
comment on column public.users.holds_expire_at is 'No hold of a running run expires before this; infinity if none runs.';
comment on column public.users.closed_at is 'Set by ops.close_user: nothing can be begun any more.';
comment on column public.users.created_at is 'When the person was first seen.';
comment on column public.users.updated_at is 'Last change by the product''s functions.';

create table if not exists public.user_emails (
  email text primary key check (email = lower(email)),
  user_id uuid not null
);
comment on table public.user_emails is 'ops. Makes a verified e-mail unique over all people (spec 2.2).';
comment on column public.user_emails.email is 'In lower case.';
comment on column public.user_emails.user_id is 'Whose it is.';

create table if not exists public.organization_members (
  user_id uuid not null,
  organization_id uuid not null references public.organizations (id),
  role text not null default 'member' check (role in ('owner', 'admin', 'maintainer', 'member')),
  created_at timestamptz not null default now(),
  primary key (user_id, organization_id)
);
comment on table public.organization_members is 'per-user. Who belongs to which organization.';
comment on column public.organization_members.user_id is 'The member.';
comment on column public.organization_members.organization_id is 'The organization.';
comment on column public.organization_members.role is 'owner, admin, maintainer or member.';
comment on column public.organization_members.created_at is 'Since when.';

create table if not exists public.identities (
  issuer text not null,
  subject text not null,
  user_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (issuer, subject)
);
comment on table public.identities is 'ops. Which person an OpenID Connect issuer''s subject is (spec 2.2).';
comment on column public.identities.issuer is 'iss of the token.';
comment on column public.identities.subject is 'sub of the token.';
comment on column public.identities.user_id is 'Who it is.';
comment on column public.identities.created_at is 'First sight.';

create table if not exists public.signup_claims (
  identity_hash bytea primary key,
  claimed_at timestamptz not null default now()
);
comment on table public.signup_claims is
  'ops. Keyed hash of each identity that has had sign-up credits; stays after erasure, so that they are given once (spec 2.1).';
comment on column public.signup_claims.identity_hash is 'SHA-256 over a secret of this database and the identity.';
comment on column public.signup_claims.claimed_at is 'When.';

create table if not exists core.secrets (
  only_row boolean primary key default true check (only_row),
  identity_key bytea not null
);
comment on table core.secrets is 'ops. Keys that never leave the database.';
comment on column core.secrets.only_row is 'There is one row.';
comment on column core.secrets.identity_key is 'Key of signup_claims.identity_hash.';
insert into core.secrets (identity_key)
values (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
on conflict do nothing;

create table if not exists public.api_tokens (
  token_hash bytea primary key check (length(token_hash) = 32),
  id uuid not null unique,
  user_id uuid not null,
  name text not null check (length(name) between 1 and 100),
  scopes text[] not null check (scopes <@ array['run', 'read', 'billing', 'publish', 'admin']),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null default now()
);
create index if not exists api_tokens_by_user on public.api_tokens (user_id, created_at);
comment on table public.api_tokens is 'ops. API tokens; only their SHA-256 is stored (spec 2.2).';
comment on column public.api_tokens.token_hash is 'SHA-256 of the whole token, prefix prpm_ included.';
comment on column public.api_tokens.id is 'Names the token without revealing it.';
comment on column public.api_tokens.user_id is 'Who acts with it.';
comment on column public.api_tokens.name is 'The person''s own word for it.';
comment on column public.api_tokens.scopes is 'What may be done with it: run, read, billing, publish, admin.';
comment on column public.api_tokens.expires_at is 'Refused from then on; null: never.';
comment on column public.api_tokens.last_used_at is 'Last sight, to the minute.';
comment on column public.api_tokens.revoked_at is 'Refused since then.';
comment on column public.api_tokens.created_at is 'When it was made.';

--! split: 3-catalog.sql
-- Room catalog: settings, tiers, plans, packs, models, prices, packages.

create table if not exists public.settings (
  only_row boolean primary key default true check (only_row),
  tokens_per_credit integer not null default 5000 check (tokens_per_credit > 0),
  max_request_tokens integer not null default 20000 check (max_request_tokens > 0),
  max_output_tokens integer not null default 4096 check (max_output_tokens > 0),
  custom_max_output_tokens integer not null default 1024 check (custom_max_output_tokens > 0),
  min_output_tokens integer not null default 256 check (min_output_tokens > 0),
  custom_prompt_multiplier numeric not null default 2 check (custom_prompt_multiplier between 1 and 100),
  estimate_safety_exact numeric not null default 1.0 check (estimate_safety_exact between 1 and 10),
  estimate_safety numeric not null default 1.3 check (estimate_safety between 1 and 10),
  signup_credits integer not null default 5 check (signup_credits >= 0),
  trial_credits integer not null default 0 check (trial_credits >= 0),
  max_rollover_credits integer not null default 200 check (max_rollover_credits >= 0),
  grace_days integer not null default 3 check (grace_days between 0 and 31),
  purchased_cost_per_credit_limit numeric default 0.05 check (purchased_cost_per_credit_limit between 0.000001 and 1000),
  purchased_cost_per_credit_cap numeric check (purchased_cost_per_credit_cap between 0.000001 and 1000),
  runs_enabled boolean not null default true,
  purchases_enabled boolean not null default true,
  purchases_per_minute integer not null default 3 check (purchases_per_minute >= 0),
  reads_per_minute integer not null default 120 check (reads_per_minute >= 0),
  free_tier_daily_budget numeric default 10.00 check (free_tier_daily_budget between 0 and 1000000),
  hourly_spend_alert numeric default 20.00 check (hourly_spend_alert between 0 and 1000000),
  first_token_timeout_ms integer not null default 30000 check (first_token_timeout_ms between 100 and 600000),
  run_timeout_ms integer not null default 120000 check (run_timeout_ms between 100 and 3600000),
  checkpoint_ms integer not null default 1000 check (checkpoint_ms between 100 and 60000),
  hold_ms integer not null default 60000 check (hold_ms between 1000 and 600000),
  abandon_after_ms integer not null default 10000 check (abandon_after_ms between 0 and 600000),
  cache_min_runs integer not null default 2 check (cache_min_runs > 0),
  cache_min_tokens integer not null default 1024 check (cache_min_tokens > 0),
  run_text_days integer default 90 check (run_text_days > 0),
  job_batch integer not null default 500 check (job_batch > 0),
  clock_offset interval not null default '0',
  clock_offset_allowed boolean not null default false,
  constraint clock_offset_only_where_allowed check (clock_offset = '0' or clock_offset_allowed)
);
insert into public.settings default values on conflict do nothing;
comment on table public.settings is
  'config. One row of settings; an operator changes one with UPDATE settings SET …, and it holds from the next request on.';
comment on column public.settings.only_row is 'There is one row.';
comment on column public.settings.tokens_per_credit is 'Tokens that one credit buys at multiplier 1 (spec 1.1).';
comment on column public.settings.max_request_tokens is 'Tokens: largest request, input and output together (spec 1.5).';
comment on column public.settings.max_output_tokens is 'Tokens: largest output cap (spec 1.5).';
comment on column public.settings.custom_max_output_tokens is 'Tokens: largest output cap of a custom prompt (spec 1.5).';
comment on column public.settings.min_output_tokens is 'Tokens: a run that could produce fewer is refused (spec 1.5).';
comment on column public.settings.custom_prompt_multiplier is 'Factor on the credits of a custom prompt (spec 1.7).';
comment on column public.settings.estimate_safety_exact is 'Factor on estimated input for the hold where the tokenizer is exact (spec 3.2).';
comment on column public.settings.estimate_safety is 'Factor on estimated input for the hold otherwise (spec 3.2).';
comment on column public.settings.signup_credits is 'Credits given once to each new identity (spec 2.1).';
comment on column public.settings.trial_credits is 'Credits that a trial grants (spec 4.3).';
comment on column public.settings.max_rollover_credits is 'Credits: the most that one period hands on to the next (spec 4.3).';
comment on column public.settings.grace_days is 'Days that an unpaid renewal keeps its tier (spec 2.5).';
comment on column public.settings.purchased_cost_per_credit_limit is 'US dollars a purchased credit may cost before it is flagged; null: no flag (spec 3.3).';
comment on column public.settings.purchased_cost_per_credit_cap is 'US dollars a purchased credit can cost at most, by a shorter answer; null: no cap (spec 3.3).';
comment on column public.settings.runs_enabled is 'False stops all runs from beginning (spec 3.6).';
comment on column public.settings.purchases_enabled is 'False stops all purchases (spec 3.6).';
comment on column public.settings.purchases_per_minute is 'Purchases a minute and user (spec 3.6).';
comment on column public.settings.reads_per_minute is 'Reads and estimates a minute and user (spec 3.6).';
comment on column public.settings.free_tier_daily_budget is 'US dollars a day for the free tier as a whole; null: none (spec 3.6).';
comment on column public.settings.hourly_spend_alert is 'US dollars an hour above which an alert is raised; null: none (spec 3.6).';
comment on column public.settings.first_token_timeout_ms is 'Milliseconds: longest wait for a provider''s first token (spec 5.4).';
comment on column public.settings.run_timeout_ms is 'Milliseconds: longest provider call in all (spec 5.4).';
comment on column public.settings.checkpoint_ms is 'Milliseconds between checkpoints of a running run.';
comment on column public.settings.hold_ms is 'Milliseconds that a hold lives without a checkpoint.';
comment on column public.settings.abandon_after_ms is 'Milliseconds after which a run that its last follower left is stopped (spec 5.2).';
comment on column public.settings.cache_min_runs is 'Runs in five minutes from which a prompt is cached (spec 5.6).';
comment on column public.settings.cache_min_tokens is 'Tokens: shortest prompt that is cached (spec 5.6).';
comment on column public.settings.run_text_days is 'Days that texts of unused sessions are kept; null: for ever (spec 7.1).';
comment on column public.settings.job_batch is 'Users a sweep commits at a time (spec 7.1).';
comment on column public.settings.clock_offset is 'Added to the database''s clock by every rule; only in demo and test databases.';
comment on column public.settings.clock_offset_allowed is 'True only where the database was made for demo or tests; the owner alone can set it.';

create table if not exists public.cost_limits_config (
  tier_name text primary key check (tier_name ~ '^[a-z][a-z0-9_]{0,39}$'),
  monthly_cost_limit numeric(12, 2),
  daily_cost_limit numeric(12, 2),
  hourly_request_limit integer check (hourly_request_limit >= 0),
  minute_request_limit integer check (minute_request_limit >= 0),
  throttle_on_exceed boolean not null default true,
  alert_at_percent integer[] not null default '{90}' check (0 < all (alert_at_percent) and 100 >= all (alert_at_percent)),
  is_active boolean not null default true,
  description text,
  paused_until timestamptz,
  constraint monthly_cost_limit_is_positive_use_daily_cost_limit_0_for_none check (monthly_cost_limit > 0),
  constraint daily_cost_limit_is_not_negative check (daily_cost_limit >= 0),
  constraint limits_are_numbers check (monthly_cost_limit < 'Infinity' and daily_cost_limit < 'Infinity')
);
comment on table public.cost_limits_config is
  'config. Limits of each tier; null is no limit, 0 is none allowed. To allow nothing a month set daily_cost_limit = 0: '
  'monthly_cost_limit must be null or above 0. A change holds from the next request on (spec 3.1).';
comment on column public.cost_limits_config.tier_name is 'Names the tier.';
comment on column public.cost_limits_config.monthly_cost_limit is 'US dollars of provider cost a calendar month (UTC) and user; null: no limit.';
comment on column public.cost_limits_config.daily_cost_limit is 'US dollars of provider cost a day (UTC) and user; null: no limit; 0: none.';
comment on column public.cost_limits_config.hourly_request_limit is 'Runs an hour (UTC) and user; null: no limit.';
comment on column public.cost_limits_config.minute_request_limit is 'Attempts to begin a run a minute and user; null: no limit (spec 3.6).';
comment on column public.cost_limits_config.throttle_on_exceed is 'False: cost limits only alert (spec 3.5).';
comment on column public.cost_limits_config.alert_at_percent is 'Percentages of the monthly limit at which the user is warned.';
comment on column public.cost_limits_config.is_active is 'False: the tier can no longer be given, who has it falls to free.';
comment on column public.cost_limits_config.description is 'For people.';
comment on column public.cost_limits_config.paused_until is
  'Set by ops.watch_budgets() while the tier as a whole has used up its budget (settings.free_tier_daily_budget); null: not paused.';
insert into public.cost_limits_config
  (tier_name, monthly_cost_limit, daily_cost_limit, hourly_request_limit, minute_request_limit, alert_at_percent, description)
values
  ('free', 0.50, 0.10, 10, 5, '{80}', 'Everyone without a paid period'),
  ('prpm_plus_individual', 5.00, 1.00, 100, 20, '{90}', 'PRPM+ at the individual price'),
  ('prpm_plus_org', 2.50, 0.50, 100, 100, '{90}', 'PRPM+ for members of a verified organization'),
  ('unlimited', 999999.99, null, null, null, '{90}', 'Given by an operator, by tier_override')
on conflict do nothing;

create table if not exists public.plans (
  plan text primary key check (plan ~ '^[a-z][a-z0-9_]{0,39}$'),
  tier_name text not null references public.cost_limits_config (tier_name),
  monthly_price numeric(12, 2) not null check (monthly_price between 0 and 1000000),
  monthly_credits integer not null check (monthly_credits >= 0),
  requires_verified_organization boolean not null default false,
  stripe_price_id text unique,
  is_active boolean not null default true
);
comment on table public.plans is 'config. Subscriptions that can be bought; a new one is one row here and one tier (spec 2.4).';
comment on column public.plans.plan is 'Names the plan.';
comment on column public.plans.tier_name is 'Tier while a period of it is paid.';
comment on column public.plans.monthly_price is 'US dollars a month.';
comment on column public.plans.monthly_credits is 'Credits granted for each paid period.';
comment on column public.plans.requires_verified_organization is 'Only for members of a verified organization.';
comment on column public.plans.stripe_price_id is 'Stripe''s price, from the environment at start.';
comment on column public.plans.is_active is 'False: can no longer be bought.';
insert into public.plans (plan, tier_name, monthly_price, monthly_credits, requires_verified_organization) values
  ('prpm_plus_individual', 'prpm_plus_individual', 6.00, 100, false),
  ('prpm_plus_org_member', 'prpm_plus_org', 3.00, 100, true)
on conflict do nothing;

create table if not exists public.packs (
  pack text primary key check (pack ~ '^[a-z][a-z0-9_]{0,39}$'),
  credits integer not null check (credits > 0),
  price numeric(12, 2) not null check (price > 0 and price < 1000000),
  stripe_price_id text unique,
  is_active boolean not null default true
);
comment on table public.packs is 'config. Credits that can be bought once (spec 6.2).';
comment on column public.packs.pack is 'Names the pack.';
comment on column public.packs.credits is 'Credits in it.';
comment on column public.packs.price is 'US dollars.';
comment on column public.packs.stripe_price_id is 'Stripe''s price, from the environment at start; null: an inline price.';
comment on column public.packs.is_active is 'False: can no longer be bought.';
insert into public.packs (pack, credits, price) values ('small', 100, 5.00), ('medium', 250, 10.00), ('large', 600, 20.00)
on conflict do nothing;

create table if not exists public.models (
  alias text primary key check (alias ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
  provider text not null check (provider in ('anthropic', 'openai')),
  provider_model text not null,
  credit_multiplier numeric not null check (credit_multiplier > 0 and credit_multiplier <= 1000),
  max_output_tokens integer not null check (max_output_tokens > 0),
  context_tokens integer not null check (context_tokens > 0),
  tokenizer text not null check (tokenizer in ('o200k_base', 'cl100k_base', 'approximate')),
  enabled boolean not null default true,
  is_default boolean not null default false
);
create unique index if not exists models_one_default on public.models (is_default) where is_default;
comment on table public.models is 'config. Models that can be run; adding or replacing one is an insert or update here (spec 1.2).';
comment on column public.models.alias is 'What a caller says.';
comment on column public.models.provider is 'Who serves it: anthropic or openai.';
comment on column public.models.provider_model is 'The provider''s own model id.';
comment on column public.models.credit_multiplier is 'Factor on credits (spec 1.1).';
comment on column public.models.max_output_tokens is 'Tokens: the most that the model can write.';
comment on column public.models.context_tokens is 'Tokens: the most that the model can read and write.';
comment on column public.models.tokenizer is 'How texts are counted before a run; approximate is high by design (spec 1.6).';
comment on column public.models.enabled is 'False: cannot be run.';
comment on column public.models.is_default is 'The model of a caller who names none.';

create table if not exists public.model_prices (
  id uuid primary key default gen_random_uuid(),
  model text not null references public.models (alias),
  valid tstzrange not null check (not isempty(valid) and not lower_inf(valid)),
  input numeric not null check (input >= 0 and input <= 100000),
  cached_read numeric check (cached_read >= 0 and cached_read <= 100000),
  cache_write numeric check (cache_write >= 0 and cache_write <= 100000),
  output numeric not null check (output >= 0 and output <= 100000),
  source text not null default 'operator',
  created_at timestamptz not null default now(),
  constraint one_price_at_a_time exclude using gist (model with =, valid with &&)
);
comment on table public.model_prices is
  'config. The price book: US dollars per million tokens, each row valid for a period. Rows are ended, never changed (spec 1.3).';
comment on column public.model_prices.id is 'Names the row; runs keep it.';
comment on column public.model_prices.model is 'models.alias.';
comment on column public.model_prices.valid is 'From when to when, end excluded.';
comment on column public.model_prices.input is 'US dollars per million input tokens that are neither cached nor written to a cache.';
comment on column public.model_prices.cached_read is 'US dollars per million input tokens read from a cache; null: as input.';
comment on column public.model_prices.cache_write is 'US dollars per million input tokens written to a cache; null: as input.';
comment on column public.model_prices.output is 'US dollars per million output tokens.';
comment on column public.model_prices.source is 'Where it comes from: operator, or genai-prices with its version.';
comment on column public.model_prices.created_at is 'When it was entered.';

create table if not exists public.packages (
  id uuid primary key default gen_random_uuid(),
  name text not null unique check (name ~ '^(@[a-z0-9][a-z0-9-]{0,38}/)?[a-z0-9][a-z0-9._-]{0,99}$'),
  description text not null default '' check (length(description) <= 2000),
  tags text[] not null default '{}',
  author_id uuid not null,
  organization_id uuid references public.organizations (id),
  visibility text not null default 'public' check (visibility in ('public', 'unlisted', 'private')),
  latest_version text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.packages is 'config. Prompt packages. A private one is seen only by its author and organization (spec 5.5).';
comment on column public.packages.id is 'Names the package for ever.';
comment on column public.packages.name is 'Unique name, lower case.';
comment on column public.packages.description is 'One or two sentences.';
comment on column public.packages.tags is 'Words to find it by.';
comment on column public.packages.author_id is 'The person who publishes it.';
comment on column public.packages.organization_id is 'The organization that it belongs to, or null.';
comment on column public.packages.visibility is 'public, unlisted (found by name only) or private.';
comment on column public.packages.latest_version is 'The newest version: what a run without package_version takes.';
comment on column public.packages.created_at is 'First publishing.';
comment on column public.packages.updated_at is 'Last publishing.';
create index if not exists packages_name_trigram on public.packages using gin (name gin_trgm_ops);

create table if not exists public.package_versions (
  package_id uuid not null references public.packages (id),
  version text not null check (version ~ '^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$'),
  prompt text not null check (length(prompt) between 1 and 50000),
  tokens_o200k integer not null check (tokens_o200k >= 0),
  tokens_cl100k integer not null check (tokens_cl100k >= 0),
  tokens_approximate integer not null check (tokens_approximate >= 0),
  cache_prompt boolean not null default false,
  changelog text not null default '',
  published_by uuid not null,
  created_at timestamptz not null default now(),
  primary key (package_id, version)
) with (toast_tuple_target = 8160);
alter table public.package_versions alter column prompt set storage external;
comment on table public.package_versions is 'config. Versions of a package; the prompt of a version never changes (spec 5.5).';
comment on column public.package_versions.package_id is 'The package.';
comment on column public.package_versions.version is 'Semantic version.';
comment on column public.package_versions.prompt is 'The system prompt, 1 to 50,000 characters.';
comment on column public.package_versions.tokens_o200k is 'Tokens of the prompt by o200k_base, counted at publishing.';
comment on column public.package_versions.tokens_cl100k is 'Tokens of the prompt by cl100k_base.';
comment on column public.package_versions.tokens_approximate is 'Tokens of the prompt, high by design, for models without a public tokenizer.';
comment on column public.package_versions.cache_prompt is 'Set by a job while caching the prompt at the provider pays (spec 5.6).';
comment on column public.package_versions.changelog is 'What is new.';
comment on column public.package_versions.published_by is 'Who published it.';
comment on column public.package_versions.created_at is 'When.';

create table if not exists public.suggested_inputs (
  id uuid primary key default gen_random_uuid(),
  package_id uuid not null references public.packages (id),
  title text not null check (length(title) between 1 and 100),
  description text,
  suggested_input text not null check (length(suggested_input) between 1 and 10000),
  category text check (category in ('code-review', 'documentation', 'refactoring', 'general', 'testing', 'optimization')),
  difficulty text not null default 'beginner' check (difficulty in ('beginner', 'intermediate', 'advanced')),
  estimated_credits integer not null default 1 check (estimated_credits between 1 and 50),
  recommended_model text references public.models (alias),
  display_order integer not null default 0 check (display_order >= 0),
  is_active boolean not null default true,
  created_by uuid not null,
  created_at timestamptz not null default now()
);
create index if not exists suggested_inputs_by_package on public.suggested_inputs (package_id, display_order);
comment on table public.suggested_inputs is 'config. Inputs that a package''s author proposes to try (spec 10.4).';
comment on column public.suggested_inputs.id is 'Names it.';
comment on column public.suggested_inputs.package_id is 'The package.';
comment on column public.suggested_inputs.title is '1 to 100 characters.';
comment on column public.suggested_inputs.description is 'What it shows.';
comment on column public.suggested_inputs.suggested_input is 'The text, 1 to 10,000 characters.';
comment on column public.suggested_inputs.category is 'code-review, documentation, refactoring, general, testing or optimization.';
comment on column public.suggested_inputs.difficulty is 'beginner, intermediate or advanced.';
comment on column public.suggested_inputs.estimated_credits is 'Credits that the author expects it to take.';
comment on column public.suggested_inputs.recommended_model is 'models.alias, or null.';
comment on column public.suggested_inputs.display_order is 'Lowest first.';
comment on column public.suggested_inputs.is_active is 'False: no longer shown.';
comment on column public.suggested_inputs.created_by is 'Who proposed it.';
comment on column public.suggested_inputs.created_at is 'When.';

--! split: 4-credits.sql
-- Rooms credits and billing: lots, transfers, subscriptions, purchases.

create table if not exists public.credit_lots (
  user_id uuid not null,
  id uuid not null,
  kind text not null,
  granted bigint not null,
  remaining bigint not null check (remaining >= 0),
  expires_at timestamptz not null default 'infinity',
  paid_per_credit numeric not null default 0,
  source text not null,
  source_id text not null,
  period_start timestamptz,
  period_end timestamptz,
  rolls_into uuid,
  created_at timestamptz not null,
  primary key (user_id, id),
  unique (user_id, source, source_id)
);
comment on table public.credit_lots is
  'per-user. Where credits came from and how many are left. Spent in the order monthly, rollover, signup, bonus, purchased; '
  'in a kind earliest expiry first, then oldest (spec 4.1).';
comment on column public.credit_lots.user_id is 'Whose they are.';
comment on column public.credit_lots.id is 'Names the lot.';
comment on column public.credit_lots.kind is 'monthly, rollover, signup, bonus or purchased.';
comment on column public.credit_lots.granted is 'Credits that it began with.';
comment on column public.credit_lots.remaining is 'Credits left in it; a cached figure, changed with its transfers.';
comment on column public.credit_lots.expires_at is 'From then on not spendable, but by runs that hold it; infinity: never.';
comment on column public.credit_lots.paid_per_credit is 'US dollars of cash that were paid for each credit.';
comment on column public.credit_lots.source is 'signup, subscription, rollover, purchase, operator, …: what granted it.';
comment on column public.credit_lots.source_id is 'Which one; (user_id, source, source_id) is granted once.';
comment on column public.credit_lots.period_start is 'Start of the billing period of a monthly lot, or of the period that a rollover lot comes from.';
comment on column public.credit_lots.period_end is 'Its end.';
comment on column public.credit_lots.rolls_into is 'The rollover lot that takes what a running run still holds here (spec 4.5).';
comment on column public.credit_lots.created_at is 'When it was granted.';

create table if not exists public.credit_transactions (
  user_id uuid not null,
  id bigint not null,
  type text not null,
  debit text not null,
  credit text not null,
  amount bigint not null,
  balance_after bigint not null,
  lot_id uuid not null,
  run_id uuid,
  purchase_id uuid,
  subscription_id text,
  description text,
  actor text,
  created_at timestamptz not null,
  primary key (user_id, id)
);
comment on table public.credit_transactions is
  'per-user. Append-only: each row is a transfer of credits from account debit to account credit. Accounts: issued, lot, '
  'spent, expired, clawed_back. Into lots less out of lots is the balance (spec 4.2).';
comment on column public.credit_transactions.user_id is 'Whose books.';
comment on column public.credit_transactions.id is 'Counter of that user''s transfers, without gaps, from 1.';
comment on column public.credit_transactions.type is 'signup, monthly, purchase, spend, rollover, expire, refund, bonus or admin.';
comment on column public.credit_transactions.debit is 'Account that the credits leave.';
comment on column public.credit_transactions.credit is 'Account that they go to.';
comment on column public.credit_transactions.amount is 'Credits, above 0.';
comment on column public.credit_transactions.balance_after is 'Credits in all lots after it.';
comment on column public.credit_transactions.lot_id is 'The lot that they leave or enter.';
comment on column public.credit_transactions.run_id is 'The run that spent them, or null.';
comment on column public.credit_transactions.purchase_id is 'The purchase that they belong to, or null.';
comment on column public.credit_transactions.subscription_id is 'The subscription that they belong to, or null.';
comment on column public.credit_transactions.description is 'In words.';
comment on column public.credit_transactions.actor is 'The database role of the operator who did it by hand, or null.';
comment on column public.credit_transactions.created_at is 'When.';

create table if not exists public.subscriptions (
  user_id uuid not null,
  id text not null,
  plan text not null references public.plans (plan),
  status text not null,
  current_period_start timestamptz,
  current_period_end timestamptz,
  paid_until timestamptz,
  cancel_at timestamptz,
  ended_at timestamptz,
  monthly_amount numeric(12, 2) not null default 0 check (monthly_amount >= 0),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (user_id, id)
);
comment on table public.subscriptions is 'per-user. PRPM+ subscriptions as Stripe knows them.';
comment on column public.subscriptions.user_id is 'Who subscribed.';
comment on column public.subscriptions.id is 'Stripe''s id.';
comment on column public.subscriptions.plan is 'What was bought.';
comment on column public.subscriptions.status is 'Stripe''s own word.';
comment on column public.subscriptions.current_period_start is 'Start of the period that Stripe is in.';
comment on column public.subscriptions.current_period_end is 'Its end.';
comment on column public.subscriptions.paid_until is 'End of the last period that is paid.';
comment on column public.subscriptions.cancel_at is 'When it ends by the customer''s wish, or null.';
comment on column public.subscriptions.ended_at is 'When it ended, or null.';
comment on column public.subscriptions.monthly_amount is 'US dollars that it pays a month.';
comment on column public.subscriptions.created_at is 'First sight.';
comment on column public.subscriptions.updated_at is 'Last change.';

create table if not exists public.purchases (
  user_id uuid not null,
  id uuid not null,
  pack text not null references public.packs (pack),
  credits bigint not null check (credits > 0),
  price numeric(12, 2) not null check (price > 0),
  status text not null default 'pending' check (status in ('pending', 'paid', 'refunded', 'partly_refunded', 'failed', 'expired', 'needs_review')),
  paid_amount numeric(12, 2) check (paid_amount > 0),
  refunded_amount numeric(12, 2) not null default 0 check (refunded_amount >= 0),
  credits_taken_back bigint not null default 0 check (credits_taken_back >= 0),
  shortfall bigint not null default 0 check (shortfall >= 0),
  stripe_payment_intent_id text,
  stripe_checkout_session_id text,
  created_at timestamptz not null,
  paid_at timestamptz,
  primary key (user_id, id)
);
comment on table public.purchases is 'per-user. Packs bought: what was promised, paid, refunded and taken back (spec 4.6, 6.2).';
comment on column public.purchases.user_id is 'Who bought.';
comment on column public.purchases.id is 'Our own id; the idempotency key at Stripe.';
comment on column public.purchases.pack is 'What.';
comment on column public.purchases.credits is 'Credits promised.';
comment on column public.purchases.price is 'US dollars asked.';
comment on column public.purchases.status is 'pending, paid, partly_refunded, refunded, failed, expired or needs_review.';
comment on column public.purchases.paid_amount is 'US dollars received.';
comment on column public.purchases.refunded_amount is 'US dollars of refunds that neither failed nor were canceled.';
comment on column public.purchases.credits_taken_back is 'Credits taken back from its lot for refunds.';
comment on column public.purchases.shortfall is 'Credits that should have been taken back but were spent already.';
comment on column public.purchases.stripe_payment_intent_id is 'Stripe''s id, or null.';
comment on column public.purchases.stripe_checkout_session_id is 'Stripe''s id, or null.';
comment on column public.purchases.created_at is 'When it was begun.';
comment on column public.purchases.paid_at is 'When it was paid.';

--! split: 5-runs.sql
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

--! split: 6-functions.sql
-- Functions and views, one a file, room by room. SQL-language functions and views need what they call to stand above them.

-- accounts, catalog: what others call
--! Included catalog/now.sql
create or replace function core.now()
returns timestamptz
stable
begin atomic
  select clock_timestamp() + s.clock_offset from public.settings s;
end;

comment on function core.now() is
  'The product''s clock: the database''s, plus settings.clock_offset, which is zero but in demo and test databases. Hot functions compute it inline.';
--! EndIncluded catalog/now.sql
--! Included catalog/uuid_or_null.sql
create or replace function core.uuid_or_null(value text)
returns uuid
language sql
immutable
parallel safe
begin atomic
  select case
    when value ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then value::uuid
  end;
end;

comment on function core.uuid_or_null(text) is 'The text as a uuid, or null if it is none.';
--! EndIncluded catalog/uuid_or_null.sql
--! Included catalog/check_page.sql
create or replace function core.check_page("limit" integer, "offset" integer)
returns void
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
begin
  if "limit" is null or "limit" not between 1 and 100 then
    raise exception 'limit must be between 1 and 100, not %', coalesce("limit"::text, 'null')
      using errcode = 'PR400', detail = 'limit', hint = 'Ask for 1 to 100 rows at a time and follow next_cursor.';
  end if;
  if "offset" is null or "offset" < 0 then
    raise exception 'offset must be 0 or more, not %', coalesce("offset"::text, 'null')
      using errcode = 'PR400', detail = 'offset', hint = 'Leave offset out, or follow next_cursor.';
  end if;
end
$$;

comment on function core.check_page(integer, integer) is
  'Refuses a page size outside 1 to 100 rows and a negative offset. Errors: PR400 naming limit or offset. Spec 10.7.';
--! EndIncluded catalog/check_page.sql
--! Included catalog/encode_cursor.sql
create or replace function core.encode_cursor(variadic key text[])
returns text
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select rtrim(translate(encode(convert_to(to_jsonb(key)::text, 'UTF8'), 'base64'), E'+/\n', '-_'), '=');
end;

comment on function core.encode_cursor(text[]) is
  'An opaque place in a list: the sort key of the last row that was shown, as JSON in base64url. core.decode_cursor reads it. Spec 10.7.';
--! EndIncluded catalog/encode_cursor.sql
--! Included catalog/decode_cursor.sql
create or replace function core.decode_cursor(cursor text, variadic types regtype[])
returns text[]
language plpgsql
stable
set search_path = ''
as $$
declare
  key text[];
begin
  if decode_cursor.cursor is null then
    return null;
  end if;
  select array_agg(e.value order by e.ordinality) into key
  from jsonb_array_elements_text(convert_from(decode(
    rpad(translate(decode_cursor.cursor, '-_', '+/'), length(decode_cursor.cursor) + (4 - length(decode_cursor.cursor) % 4) % 4, '='), 'base64'
  ), 'UTF8')::jsonb) with ordinality e;

  if cardinality(key) is distinct from cardinality(types) then
    raise data_exception;
  end if;
  for i in 1 .. cardinality(key) loop
    execute format('select cast($1 as %s) is null', types[i]) using key[i];
  end loop;
  return key;
exception
  when data_exception then
    raise exception 'this cursor is none that a list gave'
      using errcode = 'PR400', detail = 'cursor', hint = 'Send next_cursor as it came, or leave cursor out to begin at the newest row.';
end
$$;

comment on function core.decode_cursor(text, regtype[]) is
  'The sort key that core.encode_cursor put into a cursor, each part tried as its type; null for no cursor. '
  'Errors: PR400 naming cursor, for text that no list gave. Spec 10.7.';
--! EndIncluded catalog/decode_cursor.sql
--! Included catalog/charge_for.sql
create or replace function core.charge_for(tokens bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric)
returns bigint
language sql
immutable
parallel safe
begin atomic
  select ceil(ceil(greatest(1, ceil(tokens / tokens_per_credit::numeric)) * multiplier) * prompt_multiplier)::bigint;
end;

comment on function core.charge_for(bigint, integer, numeric, numeric) is
  'Credits for a run of so many tokens (input and output): each begun tokens_per_credit is one, times the model''s multiplier, '
  'rounded up, times the prompt''s, rounded up; at least 1. Spec 1.1, 1.7.';
--! EndIncluded catalog/charge_for.sql
--! Included catalog/affordable_tokens.sql
create or replace function core.affordable_tokens(credits bigint, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric)
returns bigint
language sql
immutable
parallel safe
begin atomic
  select (tokens_per_credit * floor(floor(credits / prompt_multiplier) / multiplier))::bigint;
end;

comment on function core.affordable_tokens(bigint, integer, numeric, numeric) is
  'The most tokens that so many credits can pay for: the inverse of core.charge_for. 0 if they pay for nothing. Spec 1.5.';
--! EndIncluded catalog/affordable_tokens.sql
--! Included catalog/cost_of.sql
create or replace function core.cost_of(
  input integer, cached integer, cache_write integer, output integer,
  input_price numeric, cached_price numeric, cache_write_price numeric, output_price numeric
)
returns numeric
language sql
immutable
parallel safe
begin atomic
  select (
    (input - cached - cache_write) * input_price
    + cached * coalesce(cached_price, input_price)
    + cache_write * coalesce(cache_write_price, input_price)
    + output * output_price
  ) * 0.000001;
end;

comment on function core.cost_of(integer, integer, integer, integer, numeric, numeric, numeric, numeric) is
  'US dollars, exact: tokens by kind times the price of each kind per million. input is everything read, the cached and '
  'cache-write parts included; a missing cache price is the input price. Spec 1.3.';
--! EndIncluded catalog/cost_of.sql
--! Included catalog/first_run_id.sql
create or replace function core.first_run_id(at timestamptz)
returns uuid
language sql
immutable
parallel safe
begin atomic
  select rpad(lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
end;

comment on function core.first_run_id(timestamptz) is
  'The least time-ordered id of that millisecond: runs since then have greater ids, so that an index on (user_id, id) finds them.';
--! EndIncluded catalog/first_run_id.sql
--! Included jobs/note_action.sql
create or replace function core.note_action(action text, row_key text, reason text, details json)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if coalesce(btrim(note_action.reason), '') = '' then
    raise exception 'reason is missing' using errcode = 'PR400', detail = 'reason', hint = 'Say why in a few words; it is kept in audit_log.';
  end if;
  insert into public.audit_log (role, table_name, action, row_key, new, reason)
  values (session_user, 'ops.' || note_action.action, 'call', note_action.row_key, note_action.details, note_action.reason);
end
$$;

comment on function core.note_action(text, text, text, json) is
  'Writes into audit_log which operator called which action on what, and why. Errors: PR400 without a reason. Spec 12.';
--! EndIncluded jobs/note_action.sql

-- credits
--! Included credits/spend_rank.sql
create or replace function core.spend_rank(kind text)
returns integer
language sql
immutable
parallel safe
begin atomic
  select array_position(array['monthly', 'rollover', 'signup', 'bonus', 'purchased'], kind);
end;

comment on function core.spend_rank(text) is 'Which kind of lot is spent first: 1 monthly, then rollover, signup, bonus, purchased. Spec 4.1.';
--! EndIncluded credits/spend_rank.sql
--! Included credits/held_in_lots.sql
create or replace function core.held_in_lots(user_id uuid, held_included bigint, held_purchased bigint)
returns table (lot_id uuid, kind text, remaining bigint, held bigint, expires_at timestamptz, rolls_into uuid)
language sql
stable
set search_path = ''
begin atomic
  select
    l.id,
    l.kind,
    l.remaining,
    least(
      l.remaining,
      greatest(
        0,
        case when l.kind = 'purchased' then held_in_lots.held_purchased else held_in_lots.held_included end
          - coalesce(sum(l.remaining) over (
              partition by l.kind = 'purchased'
              order by core.spend_rank(l.kind), l.expires_at, l.created_at, l.id
              rows between unbounded preceding and 1 preceding
            ), 0)
      )
    )::bigint,
    l.expires_at,
    l.rolls_into
  from public.credit_lots l
  where l.user_id = held_in_lots.user_id and l.remaining > 0
  order by core.spend_rank(l.kind), l.expires_at, l.created_at, l.id;
end;

comment on function core.held_in_lots(uuid, bigint, bigint) is
  'A user''s lots in the order in which they are spent, each with the credits that running runs hold in it: holds bind the lots '
  'that would be spent first. Spec 4.1, 4.5.';
--! EndIncluded credits/held_in_lots.sql
--! Included credits/owes_credits.sql
create or replace function core.owes_credits(user_id uuid)
returns boolean
language sql
stable
set search_path = ''
begin atomic
  select exists (
    select from public.purchases p
    join public.credit_lots l on l.user_id = p.user_id and l.source = 'purchase' and l.source_id = p.id::text
    where p.user_id = owes_credits.user_id and p.shortfall > 0 and l.remaining > 0
  );
end;

comment on function core.owes_credits(uuid) is
  'True while a refund could take back more as soon as a run lets go of its hold. Spec 4.5, 4.6.';
--! EndIncluded credits/owes_credits.sql
--! Included credits/move_credits.sql
create or replace function core.move_credits(
  user_id uuid, lot_id uuid, type text, debit text, credit text, amount bigint, now timestamptz,
  run_id uuid default null, purchase_id uuid default null, subscription_id text default null,
  description text default null, actor text default null
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  change bigint := case when move_credits.credit = 'lot' then move_credits.amount else -move_credits.amount end;
  lot_kind text;
  number bigint;
  balance bigint;
begin
  update public.credit_lots l
  set remaining = l.remaining + change
  where l.user_id = move_credits.user_id and l.id = move_credits.lot_id
  returning l.kind into strict lot_kind;

  update public.users u
  set
    included_credits = u.included_credits + case when lot_kind = 'purchased' then 0 else change end,
    purchased_credits = u.purchased_credits + case when lot_kind = 'purchased' then change else 0 end,
    transaction_count = u.transaction_count + 1,
    updated_at = move_credits.now
  where u.id = move_credits.user_id
  returning u.transaction_count, u.included_credits + u.purchased_credits into strict number, balance;

  insert into public.credit_transactions
    (user_id, id, type, debit, credit, amount, balance_after, lot_id, run_id, purchase_id, subscription_id, description, actor, created_at)
  values (
    move_credits.user_id, number, move_credits.type, move_credits.debit, move_credits.credit, move_credits.amount, balance,
    move_credits.lot_id, move_credits.run_id, move_credits.purchase_id, move_credits.subscription_id,
    move_credits.description, move_credits.actor, move_credits.now
  );
end
$$;

comment on function core.move_credits(uuid, uuid, text, text, text, bigint, timestamptz, uuid, uuid, text, text, text) is
  'Books one transfer: the row itself, the lot''s remainder and the user''s figures. One of debit and credit is lot. '
  'The caller holds the user''s row and calls core.refresh_lots when done. Spec 4.2.';
--! EndIncluded credits/move_credits.sql
--! Included credits/refresh_lots.sql
create or replace function core.refresh_lots(user_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
declare
  first_lot uuid;
  expiry timestamptz;
begin
  select l.id into first_lot
  from public.credit_lots l
  where l.user_id = refresh_lots.user_id and l.remaining > 0
  order by core.spend_rank(l.kind), l.expires_at, l.created_at, l.id
  limit 1;

  select coalesce(min(l.expires_at), 'infinity') into expiry
  from public.credit_lots l
  where l.user_id = refresh_lots.user_id and l.remaining > 0;

  if core.owes_credits(refresh_lots.user_id) then
    expiry := '-infinity';
  end if;

  update public.users u
  set spend_lot = first_lot, next_lot_expiry = expiry
  where u.id = refresh_lots.user_id;
end
$$;

comment on function core.refresh_lots(uuid) is
  'Sets which lot is spent first and when core.tidy_lots has work next (at once while a refund waits for credits that a run holds). '
  'The caller holds the user''s row.';
--! EndIncluded credits/refresh_lots.sql
--! Included credits/grant_lot.sql
create or replace function core.grant_lot(
  user_id uuid, kind text, amount bigint, type text, source text, source_id text, now timestamptz,
  expires_at timestamptz default 'infinity', paid_per_credit numeric default 0,
  period_start timestamptz default null, period_end timestamptz default null,
  purchase_id uuid default null, subscription_id text default null, description text default null, actor text default null
)
returns uuid
language plpgsql
set search_path = ''
as $$
declare
  lot_id uuid;
begin
  perform from public.users u where u.id = grant_lot.user_id for no key update;

  select l.id into lot_id
  from public.credit_lots l
  where l.user_id = grant_lot.user_id and l.source = grant_lot.source and l.source_id = grant_lot.source_id;

  if found or grant_lot.amount <= 0 then
    return lot_id;
  end if;

  lot_id := gen_random_uuid();
  insert into public.credit_lots
    (user_id, id, kind, granted, remaining, expires_at, paid_per_credit, source, source_id, period_start, period_end, created_at)
  values (
    grant_lot.user_id, lot_id, grant_lot.kind, grant_lot.amount, 0, grant_lot.expires_at, grant_lot.paid_per_credit,
    grant_lot.source, grant_lot.source_id, grant_lot.period_start, grant_lot.period_end, grant_lot.now
  );
  perform core.move_credits(
    grant_lot.user_id, lot_id, grant_lot.type, 'issued', 'lot', grant_lot.amount, grant_lot.now,
    purchase_id => grant_lot.purchase_id, subscription_id => grant_lot.subscription_id,
    description => grant_lot.description, actor => grant_lot.actor
  );
  perform core.refresh_lots(grant_lot.user_id);
  return lot_id;
end
$$;

comment on function core.grant_lot(uuid, text, bigint, text, text, text, timestamptz, timestamptz, numeric, timestamptz, timestamptz, uuid, text, text, text) is
  'Gives a user a lot of credits, once for each (source, source_id), whoever calls and however often. Returns the lot''s id; '
  'null where the amount is 0. Locks the user''s row. Spec 4.1, 4.2.';
--! EndIncluded credits/grant_lot.sql
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
        (old.period_end at time zone 'UTC' + interval '1 month') at time zone 'UTC', old.paid_per_credit,
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
  'and books the rest as expired. The rollover lot expires one month after that period''s end. The caller holds the user''s row. Spec 4.3.';
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
begin
  select u.held_included, u.held_purchased into strict held_included, held_purchased
  from public.users u
  where u.id = tidy_lots.user_id
  for no key update;

  for lot in
    select h.* from core.held_in_lots(tidy_lots.user_id, held_included, held_purchased) h
    where h.expires_at <= tidy_lots.now and h.remaining > h.held
  loop
    if lot.rolls_into is not null then
      perform core.roll_over(tidy_lots.user_id, lot.lot_id, lot.remaining - lot.held, tidy_lots.now);
    else
      perform core.move_credits(
        tidy_lots.user_id, lot.lot_id, 'expire', 'lot', 'expired', lot.remaining - lot.held, tidy_lots.now,
        description => 'Expired ' || lot.kind || ' credits'
      );
      expired := expired + lot.remaining - lot.held;
    end if;
  end loop;

  for purchase in
    select p.id, p.refunded_amount from public.purchases p where p.user_id = tidy_lots.user_id and p.shortfall > 0
  loop
    perform core.apply_refund(tidy_lots.user_id, purchase.id, purchase.refunded_amount, tidy_lots.now);
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
  user_id uuid, subscription_id text, plan text, period_start timestamptz, period_end timestamptz, paid numeric, now timestamptz
)
returns uuid
language plpgsql
set search_path = ''
as $$
declare
  allocation bigint;
  grace integer;
  key text := grant_period.subscription_id || '/' || extract(epoch from grant_period.period_start)::bigint;
  old record;
  lot_id uuid;
  rollover_id uuid := gen_random_uuid();
begin
  select p.monthly_credits into strict allocation from public.plans p where p.plan = grant_period.plan;
  select s.grace_days into grace from public.settings s;
  perform from public.users u where u.id = grant_period.user_id for no key update;

  select l.id into lot_id
  from public.credit_lots l
  where l.user_id = grant_period.user_id and l.source = 'subscription' and l.source_id = key;
  if found then
    return lot_id;
  end if;

  for old in
    select l.id, l.kind
    from public.credit_lots l
    where l.user_id = grant_period.user_id and l.kind in ('rollover', 'monthly') and l.remaining > 0
      and l.period_start < grant_period.period_start
    order by l.kind desc
  loop
    update public.credit_lots l
    set
      expires_at = least(l.expires_at, grant_period.period_start),
      rolls_into = case when l.kind = 'monthly' and l.period_end > grant_period.period_start - interval '1 day' then rollover_id end
    where l.user_id = grant_period.user_id and l.id = old.id;
  end loop;
  perform core.tidy_lots(grant_period.user_id, grant_period.now);

  return core.grant_lot(
    grant_period.user_id, 'monthly', allocation, 'monthly', 'subscription', key, grant_period.now,
    expires_at => grant_period.period_end + grace * interval '24 hours',
    paid_per_credit => coalesce(round(grant_period.paid / nullif(allocation, 0), 6), 0),
    period_start => grant_period.period_start, period_end => grant_period.period_end,
    subscription_id => grant_period.subscription_id, description => 'Monthly credits of ' || grant_period.plan
  );
end
$$;

comment on function core.grant_period(uuid, text, text, timestamptz, timestamptz, numeric, timestamptz) is
  'Grants a paid billing period''s credits, once for each user, subscription and period start. What is left of the period before '
  'becomes one rollover lot, older rollover expires. paid is US dollars received for the period. Periods of one subscription are '
  'granted in their order. Returns the lot. Locks the user''s row. Spec 4.3.';
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
  where l.user_id = end_subscription.user_id and l.source = 'subscription'
    and starts_with(l.source_id, end_subscription.subscription_id || '/') and l.remaining > 0;
  perform core.tidy_lots(end_subscription.user_id, end_subscription.now);
end
$$;

comment on function core.end_subscription(uuid, text, timestamptz, timestamptz) is
  'Lets a subscription''s monthly credits expire at that instant: the end of the period paid for, or at once if the money went back. '
  'Rollover keeps its date, purchased credits stay. Locks the user''s row. Spec 4.4.';
--! EndIncluded credits/end_subscription.sql
--! Included credits/apply_refund.sql
create or replace function core.apply_refund(user_id uuid, purchase_id uuid, refunded_total numeric, now timestamptz)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  purchase public.purchases;
  wanted bigint;
  lot uuid;
  free bigint;
  taken bigint;
begin
  perform from public.users u where u.id = apply_refund.user_id for no key update;
  select p.* into purchase from public.purchases p where p.user_id = apply_refund.user_id and p.id = apply_refund.purchase_id;
  if not found then
    raise exception 'purchase % is unknown', apply_refund.purchase_id using errcode = 'PR404', detail = 'purchase_id';
  end if;
  if not apply_refund.refunded_total between 0 and coalesce(purchase.paid_amount, purchase.price) then
    raise exception 'a refund of % dollars is not between 0 and the % that were paid', apply_refund.refunded_total, purchase.paid_amount
      using errcode = 'PR400', detail = 'refunded_total';
  end if;

  if purchase.paid_at is null then
    update public.purchases p set refunded_amount = apply_refund.refunded_total
    where p.user_id = apply_refund.user_id and p.id = purchase.id;
    return 0;
  end if;

  wanted := floor(purchase.credits * apply_refund.refunded_total / purchase.paid_amount) - purchase.credits_taken_back;
  select h.lot_id, h.remaining - h.held into lot, free
  from public.users u, public.credit_lots l, core.held_in_lots(u.id, u.held_included, u.held_purchased) h
  where u.id = apply_refund.user_id and l.user_id = u.id and l.source = 'purchase' and l.source_id = purchase.id::text and h.lot_id = l.id;
  taken := least(wanted, coalesce(free, 0));

  if taken > 0 then
    perform core.move_credits(
      apply_refund.user_id, lot, 'refund', 'lot', 'clawed_back', taken, apply_refund.now,
      purchase_id => purchase.id, description => 'Refund of ' || apply_refund.refunded_total || ' dollars of pack ' || purchase.pack
    );
  elsif taken < 0 then
    select l.id into strict lot
    from public.credit_lots l
    where l.user_id = apply_refund.user_id and l.source = 'purchase' and l.source_id = purchase.id::text;
    perform core.move_credits(
      apply_refund.user_id, lot, 'refund', 'clawed_back', 'lot', -taken, apply_refund.now,
      purchase_id => purchase.id, description => 'A refund failed: credits given back'
    );
  end if;

  update public.purchases p
  set
    refunded_amount = apply_refund.refunded_total,
    credits_taken_back = p.credits_taken_back + taken,
    shortfall = greatest(0, wanted - taken),
    status = case
      when apply_refund.refunded_total = 0 then 'paid'
      when apply_refund.refunded_total < p.paid_amount then 'partly_refunded'
      else 'refunded'
    end
  where p.user_id = apply_refund.user_id and p.id = purchase.id;
  perform core.refresh_lots(apply_refund.user_id);
  return taken;
end
$$;

comment on function core.apply_refund(uuid, uuid, numeric, timestamptz) is
  'Makes a purchase''s books agree with the US dollars refunded of it in all: floor(credits × refunded / paid) are taken back from its own '
  'lot, never below what running runs hold; what is already spent stays a shortfall of the purchase. A smaller total than before gives '
  'back. Returns the credits taken now (negative: given back). Errors: PR404, PR400. Locks the user''s row. Spec 4.5, 4.6.';
--! EndIncluded credits/apply_refund.sql
--! Included credits/grant_purchase.sql
create or replace function core.grant_purchase(user_id uuid, purchase_id uuid, paid_amount numeric, now timestamptz)
returns uuid
language plpgsql
set search_path = ''
as $$
declare
  purchase public.purchases;
  lot_id uuid;
begin
  perform from public.users u where u.id = grant_purchase.user_id for no key update;
  select p.* into purchase from public.purchases p where p.user_id = grant_purchase.user_id and p.id = grant_purchase.purchase_id;
  if not found then
    raise exception 'purchase % is unknown', grant_purchase.purchase_id using errcode = 'PR404', detail = 'purchase_id';
  end if;
  if grant_purchase.paid_amount is distinct from purchase.price then
    raise exception 'purchase % costs % dollars, % were paid', purchase.id, purchase.price, grant_purchase.paid_amount
      using errcode = 'PR409', detail = 'paid_amount';
  end if;

  lot_id := core.grant_lot(
    grant_purchase.user_id, 'purchased', purchase.credits, 'purchase', 'purchase', purchase.id::text, grant_purchase.now,
    paid_per_credit => round(purchase.price / purchase.credits, 6), purchase_id => purchase.id,
    description => 'Bought pack ' || purchase.pack
  );
  update public.purchases p
  set status = 'paid', paid_amount = grant_purchase.paid_amount, paid_at = grant_purchase.now
  where p.user_id = grant_purchase.user_id and p.id = purchase.id and p.paid_at is null;
  if purchase.refunded_amount > 0 then
    perform core.apply_refund(grant_purchase.user_id, purchase.id, purchase.refunded_amount, grant_purchase.now);
  end if;
  return lot_id;
end
$$;

comment on function core.grant_purchase(uuid, uuid, numeric, timestamptz) is
  'Gives the credits of a purchase that was paid, once, by our own row and never by what the payment says of itself. A refund that '
  'became known before is applied. Returns the lot. Errors: PR404 unknown purchase, PR409 another amount. Locks the user''s row. Spec 6.5.';
--! EndIncluded credits/grant_purchase.sql
--! Included credits/spend_lots.sql
create or replace function core.spend_lots(
  u public.users, run_id uuid, from_included bigint, from_purchased bigint, now timestamptz,
  out by_kind jsonb, out transaction_count bigint, out spend_lot uuid, out next_lot_expiry timestamptz
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
  balance bigint := u.included_credits + u.purchased_credits;
begin
  by_kind := '{}';
  transaction_count := u.transaction_count;
  next_lot_expiry := 'infinity';

  for lot in
    select l.id, l.kind, l.remaining, l.expires_at
    from public.credit_lots l
    where l.user_id = u.id and l.remaining > 0
    order by core.spend_rank(l.kind), l.expires_at, l.created_at, l.id
  loop
    class := case when lot.kind = 'purchased' then 2 else 1 end;
    part := least(owed[class], lot.remaining);
    if part > 0 then
      owed[class] := owed[class] - part;
      balance := balance - part;
      transaction_count := transaction_count + 1;
      by_kind := jsonb_set(by_kind, array[lot.kind], to_jsonb(part + coalesce((by_kind ->> lot.kind)::bigint, 0)));
      update public.credit_lots l set remaining = l.remaining - part where l.user_id = u.id and l.id = lot.id;
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

comment on function core.spend_lots(public.users, uuid, bigint, bigint, timestamptz) is
  'Takes credits from a user''s lots in the order of spending, a transfer for each lot, and answers by kind what was taken, the last '
  'transfer''s number, and which lot is next. The caller holds the user''s row and stores the answer in it. Errors: PR500 if the lots '
  'hold less than the user''s figures say. Spec 4.1, 4.2.';
--! EndIncluded credits/spend_lots.sql
--! Included credits/grant_credits.sql
create or replace function ops.grant_credits(
  "user" text, amount bigint, reason text, expires_at timestamptz default 'infinity', dry_run boolean default false
)
returns table (user_id uuid, email text, lot_id uuid, granted bigint, balance bigint)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  lot uuid;
begin
  if grant_credits.amount is null or grant_credits.amount not between 1 and 1000000 then
    raise exception 'amount % is not between 1 and 1000000', grant_credits.amount using errcode = 'PR400', detail = 'amount';
  end if;
  if not dry_run then
    perform core.note_action('grant_credits', target::text, reason, json_build_object('amount', grant_credits.amount));
    lot := core.grant_lot(
      target, 'bonus', grant_credits.amount, 'admin', 'operator', gen_random_uuid()::text, core.now(),
      expires_at => grant_credits.expires_at, description => reason, actor => session_user
    );
  end if;
  return query
    select u.id, u.email, lot, grant_credits.amount,
      u.included_credits + u.purchased_credits + case when dry_run then grant_credits.amount else 0 end
    from public.users u
    where u.id = target;
end
$$;

comment on function ops.grant_credits(text, bigint, text, timestamptz, boolean) is
  'Gives a user (id, e-mail or username) bonus credits. dry_run shows the balance that would result. '
  'Call: select * from ops.grant_credits(''user@example.com'', 10, ''sorry for the outage''); Errors: PR404, PR400. Spec 4.7.';
--! EndIncluded credits/grant_credits.sql
--! Included credits/revoke_credits.sql
create or replace function ops.revoke_credits("user" text, amount bigint, reason text, dry_run boolean default false)
returns table (user_id uuid, email text, lot_id uuid, kind text, taken bigint, balance bigint)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  now timestamptz := core.now();
  u public.users;
  lot record;
  left_over bigint := revoke_credits.amount;
  part bigint;
begin
  if revoke_credits.amount is null or revoke_credits.amount not between 1 and 1000000 then
    raise exception 'amount % is not between 1 and 1000000', revoke_credits.amount using errcode = 'PR400', detail = 'amount';
  end if;
  perform core.tidy_lots(target, now);
  select x.* into u from public.users x where x.id = target for no key update;
  if left_over > u.included_credits + u.purchased_credits - u.held_included - u.held_purchased then
    raise exception '% credits cannot be taken back: % are free', left_over,
      u.included_credits + u.purchased_credits - u.held_included - u.held_purchased
      using errcode = 'PR409', detail = 'amount', hint = 'Take back fewer, or wait until running runs have ended.';
  end if;
  if not dry_run then
    perform core.note_action('revoke_credits', target::text, reason, json_build_object('amount', revoke_credits.amount));
  end if;

  for lot in
    select h.* from core.held_in_lots(target, u.held_included, u.held_purchased) h where h.remaining > h.held
  loop
    exit when left_over = 0;
    part := least(left_over, lot.remaining - lot.held);
    left_over := left_over - part;
    if not dry_run then
      perform core.move_credits(
        target, lot.lot_id, 'admin', 'lot', 'clawed_back', part, now, description => reason, actor => session_user
      );
    end if;
    return query
      select x.id, x.email, lot.lot_id, lot.kind, part, x.included_credits + x.purchased_credits
      from public.users x
      where x.id = target;
  end loop;
  perform core.refresh_lots(target);
end
$$;

comment on function ops.revoke_credits(text, bigint, text, boolean) is
  'Takes free credits of a user back, in the order of spending; what running runs hold is left. dry_run shows from which lots. '
  'Call: select * from ops.revoke_credits(''user@example.com'', 10, ''granted twice''); Errors: PR404, PR400, PR409 if fewer are free. Spec 4.5, 4.7.';
--! EndIncluded credits/revoke_credits.sql
--! Included credits/expire_lots.sql
create or replace function ops.expire_lots()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  candidate uuid;
  expired bigint := 0;
begin
  for candidate in
    select u.id from public.users u where u.next_lot_expiry <= now order by u.id
  loop
    perform from public.users u where u.id = candidate for no key update skip locked;
    if found then
      expired := expired + core.tidy_lots(candidate, now);
    end if;
  end loop;
  return expired;
end
$$;

comment on function ops.expire_lots() is
  'Books expired credits of everyone; passes over users whose row is in use, those heal on use. Returns the credits expired. '
  'Call: select ops.expire_lots(); Spec 4.5, 7.1.';
--! EndIncluded credits/expire_lots.sql

-- accounts
--! Included accounts/hash_identity.sql
create or replace function core.hash_identity(identity text)
returns bytea
language sql
stable
strict
set search_path = ''
begin atomic
  select sha256(s.identity_key || convert_to(identity, 'UTF8')) from core.secrets s;
end;

comment on function core.hash_identity(text) is
  'The keyed hash under which signup_claims remembers an identity: it can be recognized, not read back. Spec 2.1.';
--! EndIncluded accounts/hash_identity.sql
--! Included accounts/claim_email.sql
create or replace function core.claim_email(user_id uuid, email text)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  if claim_email.email is null then
    return false;
  end if;
  insert into public.user_emails (email, user_id)
  values (lower(claim_email.email), claim_email.user_id)
  on conflict do nothing;
  return found;
end
$$;

comment on function core.claim_email(uuid, text) is
  'Makes an e-mail address one person''s own. Returns false where it is null or taken. The caller writes it to users. Spec 2.2.';
--! EndIncluded accounts/claim_email.sql
--! Included accounts/create_user.sql
create or replace function core.create_user(user_id uuid, username text, email text, identity text)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  has_email boolean := core.claim_email(create_user.user_id, create_user.email);
begin
  insert into public.users
    (id, username, email, month_ends_at, day_ends_at, hour_ends_at, minute_ends_at, created_at, updated_at)
  values (
    create_user.user_id,
    coalesce(nullif(left(btrim(create_user.username), 100), ''), 'user-' || left(create_user.user_id::text, 8)),
    case when has_email then lower(create_user.email) end,
    (date_trunc('month', now at time zone 'UTC') + interval '1 month') at time zone 'UTC',
    (date_trunc('day', now at time zone 'UTC') + interval '1 day') at time zone 'UTC',
    (date_trunc('hour', now at time zone 'UTC') + interval '1 hour') at time zone 'UTC',
    now, now, now -- the first attempt opens the first minute
  );

  insert into public.signup_claims (identity_hash)
  values (core.hash_identity(coalesce(create_user.identity, 'user ' || create_user.user_id)))
  on conflict do nothing;
  if found then
    perform core.grant_lot(
      create_user.user_id, 'signup', (select s.signup_credits from public.settings s), 'signup', 'signup', 'signup', now,
      description => 'Sign-up credits'
    );
  end if;
  return has_email;
end
$$;

comment on function core.create_user(uuid, text, text, text) is
  'Makes a person, their windows and, once for each identity, their sign-up credits. email is verified, or null; one that is taken is left '
  'out. username null or blank becomes user- and the start of the id. identity is what is recognized after erasure; null: the id itself. '
  'Returns whether the person has the e-mail. Spec 2.1, 2.2.';
--! EndIncluded accounts/create_user.sql
--! Included accounts/find_user.sql
create or replace function core.find_user("user" text)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
declare
  found_id uuid;
  namesakes bigint;
begin
  select u.id into found_id from public.users u where u.id = core.uuid_or_null(btrim("user"));
  if not found then
    select e.user_id into found_id from public.user_emails e where e.email = lower(btrim("user"));
  end if;
  if found_id is null then
    select min(u.id::text)::uuid, count(*) into found_id, namesakes from public.users u where u.username = btrim("user");
    if namesakes > 1 then
      raise exception '% people are called %', namesakes, "user"
        using errcode = 'PR409', detail = 'user', hint = 'Give the id or the e-mail: select id, email, username from users;';
    end if;
  end if;
  if found_id is null then
    raise exception 'there is no user %', coalesce("user", 'null')
      using errcode = 'PR404', detail = 'user', hint = 'Give the id, the e-mail or the username: select id, email, username from users;';
  end if;
  return found_id;
end
$$;

comment on function core.find_user(text) is
  'The id of the person whom an operator means: by id, e-mail or username, in this order. '
  'Errors: PR404 nobody; PR409 a username that several have. Spec 12.';
--! EndIncluded accounts/find_user.sql
--! Included accounts/find_organization.sql
create or replace function core.find_organization(organization text)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
declare
  found_id uuid;
  namesakes bigint;
begin
  select o.id into found_id from public.organizations o where o.id = core.uuid_or_null(btrim(organization));
  if found then
    return found_id;
  end if;
  select min(o.id::text)::uuid, count(*) into found_id, namesakes from public.organizations o where o.name = btrim(organization);
  if namesakes > 1 then
    raise exception '% organizations are called %', namesakes, organization
      using errcode = 'PR409', detail = 'organization', hint = 'Give the id: select id, name from organizations;';
  end if;
  if found_id is null then
    raise exception 'there is no organization %', coalesce(organization, 'null')
      using errcode = 'PR404', detail = 'organization', hint = 'Give the id or the name: select id, name from organizations;';
  end if;
  return found_id;
end
$$;

comment on function core.find_organization(text) is
  'The id of the organization that an operator means, by id or name. Errors: PR404 none; PR409 a name that several have. Spec 12.';
--! EndIncluded accounts/find_organization.sql
--! Included accounts/find_identity.sql
create or replace function core.find_identity(issuer text, subject text)
returns public.users
language plpgsql
stable
set search_path = ''
as $$
declare
  owner_id uuid;
  person public.users;
begin
  select i.user_id into owner_id
  from public.identities i
  where i.issuer = find_identity.issuer and i.subject = find_identity.subject;
  select u.* into person from public.users u where u.id = owner_id;
  return person;
end
$$;

comment on function core.find_identity(text, text) is
  'The person that an issuer''s subject is; a row of nulls where it was never seen, or was erased. Spec 2.2.';
--! EndIncluded accounts/find_identity.sql
--! Included accounts/keep_identity.sql
create or replace function core.keep_identity(issuer text, subject text, user_id uuid, username text, email text)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  previous uuid;
begin
  -- Two first sights at once: the second waits here for the first, then finds its person.
  insert into public.identities as i (issuer, subject, user_id)
  values (keep_identity.issuer, keep_identity.subject, keep_identity.user_id)
  on conflict on constraint identities_pkey do update set user_id = i.user_id
  returning i.user_id into previous;

  if previous <> keep_identity.user_id then
    if exists (select from public.users u where u.id = previous) then
      return false;
    end if;
    update public.identities i
    set user_id = keep_identity.user_id
    where i.issuer = keep_identity.issuer and i.subject = keep_identity.subject;
  end if;
  perform core.create_user(
    keep_identity.user_id, keep_identity.username, keep_identity.email, keep_identity.issuer || E'\n' || keep_identity.subject
  );
  return true;
end
$$;

comment on function core.keep_identity(text, text, uuid, text, text) is
  'Makes the person for an identity that has none. Returns false where another call made one first. An identity whose person was erased '
  'becomes a new one, without sign-up credits. Spec 2.1, 2.2.';
--! EndIncluded accounts/keep_identity.sql
--! Included accounts/sign_in.sql
create or replace function api.sign_in(
  issuer text, subject text, claimed_email text, email_verified boolean, claimed_username text, new_user_id uuid
)
returns table (outcome text, user_id uuid, username text, email text, is_admin boolean, created boolean, email_taken boolean)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  person public.users;
  verified text := case when sign_in.email_verified then nullif(lower(btrim(sign_in.claimed_email)), '') end;
begin
  if coalesce(btrim(sign_in.issuer), '') = '' or coalesce(btrim(sign_in.subject), '') = '' then
    raise exception 'an identity has an issuer and a subject'
      using errcode = 'PR400', detail = case when coalesce(btrim(sign_in.issuer), '') = '' then 'issuer' else 'subject' end,
        hint = 'Send iss and sub of the verified token.';
  end if;

  person := core.find_identity(sign_in.issuer, sign_in.subject);
  created := person.id is null
    and core.keep_identity(sign_in.issuer, sign_in.subject, sign_in.new_user_id, sign_in.claimed_username, verified);
  if person.id is null then
    person := core.find_identity(sign_in.issuer, sign_in.subject);
  end if;

  if person.closed_at is not null then
    outcome := 'closed';
    created := false;
    email_taken := false;
    return next;
    return;
  end if;
  if person.email is null and core.claim_email(person.id, verified) then
    update public.users u set email = verified, updated_at = core.now() where u.id = person.id;
    person.email := verified;
  end if;

  outcome := 'ok';
  user_id := person.id;
  username := person.username;
  email := person.email;
  is_admin := person.is_admin;
  email_taken := person.email is null and verified is not null;
  return next;
end
$$;

comment on function api.sign_in(text, text, text, boolean, text, uuid) is
  'The person whom an OpenID Connect token names, made at first sight with the id new_user_id; issuer and subject come from a token that '
  'the server has verified. One row: outcome ok, or closed with nothing else; created; email_taken: the verified e-mail belongs to somebody '
  'else, so this person has none. An e-mail that is not verified is left out; is_admin is the column, never a claim. '
  'Errors: PR400 naming issuer or subject. Spec 2.1, 2.2.';
--! EndIncluded accounts/sign_in.sql
--! Included accounts/authenticate_token.sql
create or replace function api.authenticate_token(token_hash bytea)
returns table (outcome text, user_id uuid, username text, email text, is_admin boolean, scopes text[], token_id uuid)
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz;
  token public.api_tokens;
  person public.users;
begin
  select clock_timestamp() + s.clock_offset into now from public.settings s;
  select t.* into token from public.api_tokens t where t.token_hash = authenticate_token.token_hash;
  select u.* into person from public.users u where u.id = token.user_id;

  outcome := case
    when token.id is null or person.id is null then 'unknown'
    when token.revoked_at is not null then 'revoked'
    when token.expires_at <= now then 'expired'
    when person.closed_at is not null then 'closed'
    else 'ok'
  end;
  if outcome = 'ok' then
    user_id := person.id;
    username := person.username;
    email := person.email;
    is_admin := person.is_admin;
    scopes := token.scopes;
    token_id := token.id;
    if token.last_used_at is null or token.last_used_at < now - interval '1 minute' then
      update public.api_tokens t
      set last_used_at = now
      where t.token_hash = authenticate_token.token_hash
        and (t.last_used_at is null or t.last_used_at < now - interval '1 minute');
    end if;
  end if;
  return next;
end
$$;

comment on function api.authenticate_token(bytea) is
  'Who acts with the API token of this SHA-256. One row: outcome ok, unknown, expired, revoked or closed (the account); the other columns '
  'are null unless ok. Notes the use, once a minute. Spec 2.2.';
--! EndIncluded accounts/authenticate_token.sql
--! Included accounts/check_token.sql
create or replace function core.check_token(user_id uuid, name text, scopes text[], expires_at timestamptz)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  person public.users;
  wrong text;
  field text;
begin
  select u.* into person from public.users u where u.id = check_token.user_id;
  if not found then
    raise exception 'there is no user %', check_token.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  if person.closed_at is not null then
    raise exception 'this account is closed' using errcode = 'PR403', hint = 'A closed account gets no tokens.';
  end if;

  if coalesce(length(btrim(name)), 0) not between 1 and 100 then
    field := 'name';
    wrong := 'name must have 1 to 100 characters';
  elsif coalesce(cardinality(scopes), 0) = 0
    or array_position(scopes, null) is not null
    or not scopes <@ array['run', 'read', 'billing', 'publish', 'admin'] then
    field := 'scopes';
    wrong := 'scopes must be one or more of run, read, billing, publish and admin';
  elsif expires_at <= core.now() then
    field := 'expires_at';
    wrong := 'expires_at must be in the future';
  end if;
  if wrong is not null then
    raise exception '%', wrong using errcode = 'PR400', detail = field, hint = 'Correct it and try again.';
  end if;
  if 'admin' = any (scopes) and not person.is_admin then
    raise exception 'only an administrator can have a token with scope admin'
      using errcode = 'PR403', detail = 'scopes', hint = 'Leave admin out; an operator gives the right: select * from ops.set_user(…, is_admin => true);';
  end if;
end
$$;

comment on function core.check_token(uuid, text, text[], timestamptz) is
  'Refuses a token that may not be made. Errors: PR404 unknown user; PR403 a closed account, or scope admin for one who is not; '
  'PR400 naming name, scopes or expires_at. Spec 2.2.';
--! EndIncluded accounts/check_token.sql
--! Included accounts/make_token.sql
create or replace function core.make_token()
returns text
language sql
set search_path = ''
begin atomic
  select 'prpm_' || rtrim(translate(
    encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64'), '+/', '-_'
  ), '=');
end;

comment on function core.make_token() is
  'The text of a new API token: prpm_ and 43 characters that come from the server''s strong random source. Spec 2.2.';
--! EndIncluded accounts/make_token.sql
--! Included accounts/create_token.sql
create or replace function api.create_token(
  user_id uuid, token_hash bytea, id uuid, name text, scopes text[], expires_at timestamptz default null
)
returns table (token_id uuid, created_at timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  token public.api_tokens;
begin
  perform core.check_token(create_token.user_id, create_token.name, create_token.scopes, create_token.expires_at);
  if create_token.id is null or coalesce(length(create_token.token_hash), 0) <> 32 then
    raise exception 'a token has an id and the SHA-256 of its text'
      using errcode = 'PR400', detail = case when create_token.id is null then 'id' else 'token_hash' end;
  end if;

  insert into public.api_tokens as t (token_hash, id, user_id, name, scopes, expires_at, created_at)
  values (
    create_token.token_hash, create_token.id, create_token.user_id, btrim(create_token.name), create_token.scopes,
    create_token.expires_at, core.now()
  )
  on conflict do nothing;

  select t.* into token
  from public.api_tokens t
  where t.token_hash = create_token.token_hash and t.id = create_token.id and t.user_id = create_token.user_id;
  if not found then
    raise exception 'this token is there already' using errcode = 'PR409', hint = 'Make a new one, with a new id and text.';
  end if;
  return query select token.id, token.created_at;
end
$$;

comment on function api.create_token(uuid, bytea, uuid, text, text[], timestamptz) is
  'Keeps a new API token of a user by the SHA-256 of its text; id names it, expires_at null is never. Called again with the same id and hash '
  'it returns the same. Returns the token''s id and when it was made. Errors: as core.check_token; PR400 naming id or token_hash; '
  'PR409 an id or hash in use. Spec 2.2.';
--! EndIncluded accounts/create_token.sql
--! Included accounts/list_tokens.sql
create or replace function api.list_tokens(user_id uuid)
returns table (
  id uuid, name text, scopes text[], expires_at timestamptz, last_used_at timestamptz, revoked_at timestamptz, created_at timestamptz
)
language sql
stable
security definer
set search_path = ''
begin atomic
  select t.id, t.name, t.scopes, t.expires_at, t.last_used_at, t.revoked_at, t.created_at
  from public.api_tokens t
  where t.user_id = list_tokens.user_id
  order by t.created_at desc, t.id;
end;

comment on function api.list_tokens(uuid) is
  'A user''s own API tokens, newest first, expired and revoked ones included; never a hash. Spec 2.2.';
--! EndIncluded accounts/list_tokens.sql
--! Included accounts/revoke_token.sql
create or replace function api.revoke_token(user_id uuid, id uuid)
returns table (id uuid, revoked_at timestamptz)
language sql
security definer
set search_path = ''
begin atomic
  update public.api_tokens t
  set revoked_at = coalesce(t.revoked_at, core.now())
  where t.user_id = revoke_token.user_id and t.id = revoke_token.id
  returning t.id, t.revoked_at;
end;

comment on function api.revoke_token(uuid, uuid) is
  'Revokes one of a user''s own API tokens, from the next request on; a second call changes nothing. '
  'Returns its id and when; no row: there is none, or it is another''s. Spec 2.2.';
--! EndIncluded accounts/revoke_token.sql
--! Included accounts/leave_organization.sql
create or replace function api.leave_organization(user_id uuid, organization_id uuid)
returns table (organization_id uuid, role text)
language sql
security definer
set search_path = ''
begin atomic
  delete from public.organization_members m
  where m.user_id = leave_organization.user_id and m.organization_id = leave_organization.organization_id
  returning m.organization_id, m.role;
end;

comment on function api.leave_organization(uuid, uuid) is
  'Ends a user''s own membership. Returns the membership that was; no row: they are no member. A price that hung on it changes at the '
  'next renewal. Spec 2.3, 2.4.';
--! EndIncluded accounts/leave_organization.sql
--! Included accounts/ops_create_token.sql
create or replace function ops.create_token(
  "user" text, name text, scopes text[] default '{run,read}', expires_at timestamptz default null,
  reason text default 'not given', dry_run boolean default false
)
returns table (user_id uuid, id uuid, token text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  user_id := core.find_user("user");
  perform core.check_token(user_id, create_token.name, create_token.scopes, create_token.expires_at);
  id := gen_random_uuid();
  if not dry_run then
    token := core.make_token();
    insert into public.api_tokens (token_hash, id, user_id, name, scopes, expires_at, created_at)
    values (
      sha256(convert_to(token, 'UTF8')), id, user_id, btrim(create_token.name), create_token.scopes, create_token.expires_at, core.now()
    );
    perform core.note_action(
      'create_token', id::text, reason,
      json_build_object('user_id', user_id, 'name', btrim(create_token.name), 'scopes', create_token.scopes, 'expires_at', create_token.expires_at)
    );
  end if;
  return next;
end
$$;

comment on function ops.create_token(text, text, text[], timestamptz, text, boolean) is
  'Makes an API token for a person (id, e-mail or username) and shows it this once; scopes are run, read, billing, publish and admin, '
  'expires_at null is never. With dry_run the token is null and nothing is kept. '
  'Call: select * from ops.create_token(''user@example.com'', ''laptop'', ''{run,read}''); '
  'Errors: as core.find_user and core.check_token. Spec 2.2, 12.';
--! EndIncluded accounts/ops_create_token.sql
--! Included accounts/ops_create_user.sql
create or replace function ops.create_user(
  email text, username text, reason text default 'not given', dry_run boolean default false
)
returns table (user_id uuid, token text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  address text := nullif(lower(btrim(create_user.email)), '');
begin
  if coalesce(length(btrim(create_user.username)), 0) not between 1 and 100 then
    raise exception 'username must have 1 to 100 characters' using errcode = 'PR400', detail = 'username';
  end if;
  if address !~ '^[^@[:space:]]+@[^@[:space:]]+$' or length(address) > 254 then
    raise exception '% is no e-mail address', create_user.email
      using errcode = 'PR400', detail = 'email', hint = 'Give one, or null for a person without.';
  end if;
  if exists (select from public.user_emails e where e.email = address) then
    raise exception '% has an account already', address
      using errcode = 'PR409', detail = 'email', hint = format('select * from users where email = %L;', address);
  end if;

  user_id := gen_random_uuid();
  if not dry_run then
    if not core.create_user(user_id, create_user.username, address, 'e-mail ' || address) and address is not null then
      raise exception '% has an account already', address using errcode = 'PR409', detail = 'email';
    end if;
    perform core.note_action('create_user', user_id::text, reason, json_build_object('username', btrim(create_user.username)));
    select t.token into token
    from ops.create_token(user_id::text, 'first token', '{run,read,billing,publish}', reason => create_user.reason) t;
  end if;
  return next;
end
$$;

comment on function ops.create_user(text, text, text, boolean) is
  'Makes a person, with sign-up credits unless this e-mail has had them, and an API token for all but administration, shown this once. '
  'email null: a person without. With dry_run the token is null and nothing is kept. '
  'Call: select * from ops.create_user(''user@example.com'', ''someone''); '
  'Errors: PR400 naming email or username; PR409 an e-mail that has an account. Spec 2.1, 12.';
--! EndIncluded accounts/ops_create_user.sql
--! Included accounts/set_user.sql
create or replace function ops.set_user(
  "user" text, is_admin boolean default null, verified_author boolean default null, tier_override text default null,
  reason text default null, dry_run boolean default false
)
returns table (user_id uuid, email text, administrator boolean, author boolean, given_tier text, tier_name text, is_throttled boolean)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
  person public.users;
begin
  if set_user.tier_override <> '' and not exists (
    select from public.cost_limits_config c where c.tier_name = set_user.tier_override and c.is_active
  ) then
    raise exception 'there is no active tier %', set_user.tier_override
      using errcode = 'PR400', detail = 'tier_override', hint = 'select tier_name from cost_limits_config where is_active; '''' takes an override away.';
  end if;

  select u.* into strict person from public.users u where u.id = target for no key update;
  person.is_admin := coalesce(set_user.is_admin, person.is_admin);
  person.verified_author := coalesce(set_user.verified_author, person.verified_author);
  person.tier_override := case when set_user.tier_override is null then person.tier_override else nullif(set_user.tier_override, '') end;
  if not dry_run then
    perform core.note_action('set_user', target::text, reason, json_strip_nulls(json_build_object(
      'is_admin', set_user.is_admin, 'verified_author', set_user.verified_author, 'tier_override', set_user.tier_override
    )));
    update public.users u
    set
      is_admin = person.is_admin, verified_author = person.verified_author, tier_override = person.tier_override,
      updated_at = core.now()
    where u.id = target;
    if person.is_throttled and person.throttled_by = 'limit' then
      person.is_throttled := core.judge_throttle(target, core.now());
    end if;
  end if;
  return query select person.id, person.email, person.is_admin, person.verified_author, person.tier_override,
    core.tier_now(person), person.is_throttled;
end
$$;

comment on function ops.set_user(text, boolean, boolean, text, text, boolean) is
  'Makes a person (id, e-mail or username) an administrator, a verified author, or one of a tier whatever they pay; what is left out stays, '
  'tier_override '''' takes the override away. A higher tier ends a limit''s throttle at once. Returns how they stand then: '
  'given_tier is the override, tier_name the tier that holds. '
  'Call: select * from ops.set_user(''user@example.com'', tier_override => ''unlimited'', reason => ''partner''); '
  'Errors: as core.find_user; PR400 a tier that cannot be given, or no reason. Spec 2.3, 2.5, 3.4.';
--! EndIncluded accounts/set_user.sql
--! Included accounts/close_user.sql
create or replace function ops.close_user("user" text, reason text, dry_run boolean default false)
returns table (user_id uuid, closed_at timestamptz, tokens_revoked bigint, runs_stopped bigint)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  person public.users;
begin
  select u.* into strict person from public.users u where u.id = core.find_user("user") for no key update;
  user_id := person.id;
  closed_at := coalesce(person.closed_at, core.now());
  select count(*) into tokens_revoked from public.api_tokens t where t.user_id = person.id and t.revoked_at is null;
  runs_stopped := cardinality(person.open_runs);
  if not dry_run then
    perform core.note_action('close_user', person.id::text, reason, null);
    update public.users u set closed_at = close_user.closed_at, updated_at = core.now() where u.id = person.id;
    update public.api_tokens t set revoked_at = close_user.closed_at where t.user_id = person.id and t.revoked_at is null;
    update public.runs r
    set stop_requested_at = coalesce(r.stop_requested_at, close_user.closed_at)
    where r.user_id = person.id and r.id = any (person.open_runs);
  end if;
  return next;
end
$$;

comment on function ops.close_user(text, text, boolean) is
  'Closes the account of a person (id, e-mail or username): nothing can be begun any more, tokens are revoked, running runs are asked to '
  'stop and are settled as stopped ones are; the books stay. A second call changes nothing. Returns how many tokens and runs it met. '
  'Call: select * from ops.close_user(''user@example.com'', ''asked to leave''); '
  'Errors: as core.find_user; PR400 without a reason. Spec 2.3.';
--! EndIncluded accounts/close_user.sql
--! Included accounts/create_organization.sql
create or replace function ops.create_organization(name text, reason text default 'not given', dry_run boolean default false)
returns setof public.organizations
language plpgsql
security definer
set search_path = ''
as $$
declare
  made public.organizations := row(gen_random_uuid(), btrim(create_organization.name), false, core.now());
begin
  if coalesce(length(made.name), 0) not between 1 and 100 then
    raise exception 'name must have 1 to 100 characters' using errcode = 'PR400', detail = 'name';
  end if;
  if exists (select from public.organizations o where o.name = made.name) then
    raise exception 'there is an organization % already', made.name
      using errcode = 'PR409', detail = 'name', hint = 'Another name keeps them apart for people.';
  end if;
  if not dry_run then
    insert into public.organizations values (made.*);
    perform core.note_action('create_organization', made.id::text, reason, json_build_object('name', made.name));
  end if;
  return next made;
end
$$;

comment on function ops.create_organization(text, text, boolean) is
  'Makes an organization, not verified and without members. Returns its row. Call: select * from ops.create_organization(''Example''); '
  'Errors: PR400 naming name; PR409 a name in use. Spec 2.3.';
--! EndIncluded accounts/create_organization.sql
--! Included accounts/verify_organization.sql
create or replace function ops.verify_organization(organization text, verified boolean, reason text, dry_run boolean default false)
returns setof public.organizations
language plpgsql
security definer
set search_path = ''
as $$
declare
  target uuid := core.find_organization(organization);
  changed public.organizations;
begin
  if verified is null then
    raise exception 'verified must be true or false' using errcode = 'PR400', detail = 'verified';
  end if;
  if not dry_run then
    perform core.note_action('verify_organization', target::text, reason, json_build_object('verified', verified));
    update public.organizations o set is_verified = verified where o.id = target;
  end if;
  select o.* into strict changed from public.organizations o where o.id = target;
  changed.is_verified := verified;
  return next changed;
end
$$;

comment on function ops.verify_organization(text, boolean, text, boolean) is
  'Says that an organization (id or name) is verified, or no longer; its members may have the organization price while it is, from their '
  'next renewal on. Returns its row. Call: select * from ops.verify_organization(''Example'', true, ''papers seen''); '
  'Errors: as core.find_organization; PR400 without verified or a reason. Spec 2.3, 2.4.';
--! EndIncluded accounts/verify_organization.sql
--! Included accounts/add_member.sql
create or replace function ops.add_member(
  organization text, "user" text, role text default 'member', reason text default 'not given', dry_run boolean default false
)
returns setof public.organization_members
language plpgsql
security definer
set search_path = ''
as $$
declare
  member public.organization_members;
begin
  if add_member.role is null or add_member.role not in ('owner', 'admin', 'maintainer', 'member') then
    raise exception 'role must be owner, admin, maintainer or member' using errcode = 'PR400', detail = 'role';
  end if;
  member := row(core.find_user("user"), core.find_organization(organization), add_member.role, core.now());
  if not dry_run then
    perform core.note_action('add_member', member.organization_id::text, reason, json_build_object('user_id', member.user_id, 'role', member.role));
    insert into public.organization_members as m values (member.*)
    on conflict on constraint organization_members_pkey do update set role = excluded.role
    returning m.* into member;
  end if;
  return next member;
end
$$;

comment on function ops.add_member(text, text, text, text, boolean) is
  'Makes a person (id, e-mail or username) a member of an organization (id or name), or changes their role: owner, admin, maintainer or '
  'member. Returns the membership. Call: select * from ops.add_member(''Example'', ''user@example.com'', ''maintainer''); '
  'Errors: as core.find_user and core.find_organization; PR400 naming role. Spec 2.3.';
--! EndIncluded accounts/add_member.sql
--! Included accounts/remove_member.sql
create or replace function ops.remove_member(
  organization text, "user" text, reason text default 'not given', dry_run boolean default false
)
returns setof public.organization_members
language plpgsql
security definer
set search_path = ''
as $$
declare
  person uuid := core.find_user("user");
  team uuid := core.find_organization(organization);
  member public.organization_members;
begin
  select m.* into member from public.organization_members m where m.user_id = person and m.organization_id = team;
  if not found then
    raise exception '% is no member of %', "user", organization using errcode = 'PR404', detail = 'user';
  end if;
  if not dry_run then
    perform core.note_action('remove_member', team::text, reason, json_build_object('user_id', person));
    delete from public.organization_members m where m.user_id = person and m.organization_id = team;
  end if;
  return next member;
end
$$;

comment on function ops.remove_member(text, text, text, boolean) is
  'Ends a person''s membership of an organization. Returns the membership that was. '
  'Call: select * from ops.remove_member(''Example'', ''user@example.com''); '
  'Errors: as core.find_user and core.find_organization; PR404 no member. Spec 2.3.';
--! EndIncluded accounts/remove_member.sql

-- catalog
--! Included catalog/may_see_package.sql
create or replace function core.may_see_package(user_id uuid, visibility text, author_id uuid, organization_id uuid)
returns boolean
language sql
stable
set search_path = ''
begin atomic
  select coalesce(may_see_package.visibility <> 'private', false)
    or coalesce(may_see_package.author_id = may_see_package.user_id, false)
    or exists (
      select from public.organization_members m
      where m.user_id = may_see_package.user_id and m.organization_id = may_see_package.organization_id
    );
end;

comment on function core.may_see_package(uuid, text, uuid, uuid) is
  'Whether a user may see a package: any that is not private; a private one its author and the members of its organization. Spec 5.5.';
--! EndIncluded catalog/may_see_package.sql
--! Included catalog/may_publish.sql
create or replace function core.may_publish(user_id uuid, author_id uuid, organization_id uuid)
returns boolean
language sql
stable
set search_path = ''
begin atomic
  select coalesce(may_publish.author_id = may_publish.user_id, false)
    or exists (
      select from public.organization_members m
      where m.user_id = may_publish.user_id and m.organization_id = may_publish.organization_id
        and m.role in ('owner', 'admin', 'maintainer')
    );
end;

comment on function core.may_publish(uuid, uuid, uuid) is
  'Whether a user may change a package: its author, and its organization''s owners, admins and maintainers. Spec 10.4, 10.6.';
--! EndIncluded catalog/may_publish.sql
--! Included catalog/find_package.sql
create or replace function core.find_package(user_id uuid, package text)
returns public.packages
language plpgsql
stable
set search_path = ''
as $$
declare
  asked public.packages;
begin
  select p.* into asked from public.packages p where p.id = core.uuid_or_null(package);
  if not found then
    select p.* into asked from public.packages p where p.name = lower(package);
  end if;
  if core.may_see_package(find_package.user_id, asked.visibility, asked.author_id, asked.organization_id) then
    return asked;
  end if;
  return null;
end
$$;

comment on function core.find_package(uuid, text) is
  'The package of an id or name, if the user may see it; else null, as for one that is not there. Spec 5.5.';
--! EndIncluded catalog/find_package.sql
--! Included catalog/version_order.sql
create or replace function core.version_order(version text)
returns numeric[]
language sql
immutable
strict
parallel safe
set search_path = ''
begin atomic
  select array[case when strpos(version, '-') = 0 then 1 else 0 end] || string_to_array(split_part(version, '-', 1), '.')::numeric[];
end;

comment on function core.version_order(text) is
  'What to sort a package''s versions by: releases above pre-releases, then by major, minor and patch number. Pre-releases of one number '
  'are equal here; the later published is the newer.';
--! EndIncluded catalog/version_order.sql
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
    'created_at', v.created_at
  ) order by core.version_order(v.version) desc, v.created_at desc, v.version desc), '[]')
  from public.package_versions v
  where v.package_id = describe_versions.package_id;
end;

comment on function core.describe_versions(uuid) is
  'A package''s versions without their prompts, newest first, as JSON: [{version, changelog, tokens {o200k_base, cl100k_base, approximate}, '
  'created_at}].';
--! EndIncluded catalog/describe_versions.sql
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
    'display_order', i.display_order, 'created_at', i.created_at
  ) order by i.display_order, i.created_at, i.id), '[]')
  from public.suggested_inputs i
  where i.package_id = describe_suggested_inputs.package_id and i.is_active;
end;

comment on function core.describe_suggested_inputs(uuid) is
  'A package''s suggested inputs that are shown, in order, as JSON: the columns of suggested_inputs. Spec 10.4.';
--! EndIncluded catalog/describe_suggested_inputs.sql
--! Included catalog/list_models.sql
create or replace function api.list_models(user_id uuid)
returns table (
  alias text, provider text, provider_model text, credit_multiplier numeric, max_output_tokens integer, context_tokens integer,
  tokenizer text, is_default boolean, priced boolean,
  input_price numeric, cached_read_price numeric, cache_write_price numeric, output_price numeric
)
language sql
stable
security definer
set search_path = ''
begin atomic
  select
    m.alias, m.provider, m.provider_model, m.credit_multiplier, m.max_output_tokens, m.context_tokens,
    m.tokenizer, m.is_default, p.id is not null,
    p.input, coalesce(p.cached_read, p.input), coalesce(p.cache_write, p.input), p.output
  from public.models m
  left join public.model_prices p on p.model = m.alias and p.valid @> (select core.now())
  where m.enabled
  order by m.is_default desc, m.alias;
end;

comment on function api.list_models(uuid) is
  'The models that can be chosen, the default first, the same for every user. Prices are US dollars per million tokens as of now, null '
  'where priced is false: such a model cannot be run yet. Spec 1.2, 1.3.';
--! EndIncluded catalog/list_models.sql
--! Included catalog/read_package.sql
create or replace function api.read_package(user_id uuid, package text)
returns table (
  id uuid, name text, description text, tags text[], author_id uuid, author text, organization_id uuid, organization text,
  visibility text, latest_version text, may_publish boolean, created_at timestamptz, updated_at timestamptz,
  versions json, suggested_inputs json
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  p public.packages := core.find_package(read_package.user_id, read_package.package);
begin
  if p.id is null then
    return;
  end if;
  return query select
    p.id, p.name, p.description, p.tags,
    p.author_id, (select u.username from public.users u where u.id = p.author_id),
    p.organization_id, (select o.name from public.organizations o where o.id = p.organization_id),
    p.visibility, p.latest_version, core.may_publish(read_package.user_id, p.author_id, p.organization_id), p.created_at, p.updated_at,
    core.describe_versions(p.id), core.describe_suggested_inputs(p.id);
end
$$;

comment on function api.read_package(uuid, text) is
  'A package by id or name, with versions and suggested_inputs as core.describe_versions and core.describe_suggested_inputs give them; '
  'author and organization are names, may_publish is about the acting user. No row: there is none that this user may see. Spec 5.5, 10.6.';
--! EndIncluded catalog/read_package.sql
--! Included catalog/read_version.sql
create or replace function api.read_version(user_id uuid, package text, package_version text default null)
returns table (
  package_id uuid, name text, version text, prompt text, changelog text,
  tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, created_at timestamptz
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  p public.packages := core.find_package(read_version.user_id, read_version.package);
begin
  return query
    select v.package_id, p.name, v.version, v.prompt, v.changelog, v.tokens_o200k, v.tokens_cl100k, v.tokens_approximate, v.created_at
    from public.package_versions v
    where v.package_id = p.id and v.version = coalesce(read_version.package_version, p.latest_version);
end
$$;

comment on function api.read_version(uuid, text, text) is
  'One version of a package (id or name) with its prompt and how many tokens that is; package_version null is the newest. '
  'No row: there is none that this user may see. Spec 5.5.';
--! EndIncluded catalog/read_version.sql
--! Included catalog/match_package.sql
create or replace function core.match_package(package public.packages, query text)
returns integer
language sql
stable
set search_path = ''
begin atomic
  select case
    when coalesce(query, '') = '' then 0
    when package.name = lower(query) then 0
    when starts_with(package.name, lower(query)) then 1
    when strpos(package.name, lower(query)) > 0 then 2
    when lower(query) = any (package.tags) then 3
    when strpos(lower(package.description), lower(query)) > 0 then 4
    when public.similarity(package.name, lower(query)) > 0.3 then 5
  end;
end;

comment on function core.match_package(public.packages, text) is
  'How well a package answers a search, 0 best to 5, or null: its whole name, the start of it, a part of it, a tag, the description, a name '
  'that is spelled much like it. Spec 10.6.';
--! EndIncluded catalog/match_package.sql
--! Included catalog/search_packages.sql
create or replace function api.search_packages(user_id uuid, query text default null, "limit" integer default 20, cursor text default null)
returns table (packages json, next_cursor text, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  after text[] := core.decode_cursor(search_packages.cursor, 'integer', 'text');
begin
  perform core.check_page("limit", 0);

  with hits as (
    select m.rank, p.id, p.name, p.description, p.tags, p.author_id, p.visibility, p.latest_version, p.updated_at
    from public.packages p
    cross join lateral core.match_package(p, btrim(search_packages.query)) m(rank)
    where m.rank is not null and (
      p.visibility = 'public'
      or core.may_see_package(search_packages.user_id, 'private', p.author_id, p.organization_id)
    )
  ), page as (
    select h.*, row_number() over (order by h.rank, h.name) as place
    from hits h
    where after is null or (h.rank, h.name) > (after[1]::integer, after[2])
    order by h.rank, h.name
    limit "limit" + 1
  )
  select
    coalesce(json_agg(json_build_object(
      'id', g.id, 'name', g.name, 'description', g.description, 'tags', g.tags,
      'author', (select u.username from public.users u where u.id = g.author_id),
      'visibility', g.visibility, 'latest_version', g.latest_version, 'updated_at', g.updated_at
    ) order by g.place) filter (where g.place <= "limit"), '[]'),
    case when count(*) > "limit" then max(core.encode_cursor(g.rank::text, g.name)) filter (where g.place = "limit") end,
    (select count(*) from hits)
  into packages, next_cursor, total
  from page g;
  return next;
end
$$;

comment on function api.search_packages(uuid, text, integer, text) is
  'One page of the packages that a text is found in, best match first: name, then tag, then description, then names like it; null or blank '
  'finds all, by name. Public ones, and the user''s own and their organizations'' of any visibility. One row: packages (JSON array of id, '
  'name, description, tags, author, visibility, latest_version, updated_at), next_cursor (null on the last page), total. limit 1 to 100. '
  'Errors: PR400 naming limit or cursor. Spec 10.6, 10.7.';
--! EndIncluded catalog/search_packages.sql
--! Included catalog/check_package.sql
create or replace function core.check_package(
  name text, description text, tags text[], visibility text, version text, prompt text, token_counts integer[]
)
returns void
language plpgsql
immutable
set search_path = ''
as $$
declare
  wrong text[] := case
    when name is null or name !~ '^(@[a-z0-9][a-z0-9-]{0,38}/)?[a-z0-9][a-z0-9._-]{0,99}$' then
      array['name', 'a name has 1 to 100 lower-case letters, digits, dots, hyphens or underscores, and may begin with @scope/']
    when length(description) > 2000 then array['description', 'a description has at most 2,000 characters']
    when cardinality(tags) > 20 or exists (select from unnest(tags) t where coalesce(length(t), 0) not between 1 and 50) then
      array['tags', 'there are at most 20 tags, of 1 to 50 characters']
    when visibility not in ('public', 'unlisted', 'private') then array['visibility', 'visibility is public, unlisted or private']
    when version is null or length(version) > 50 or version !~ '^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$' then
      array['version', 'a version is like 1.2.3 or 1.2.3-beta.1']
    when coalesce(length(prompt), 0) not between 1 and 50000 then array['prompt', 'a prompt has 1 to 50,000 characters']
    when coalesce(array_position(token_counts, null), 0) > 0 or 0 > any (token_counts) then
      array['tokens', 'the token counts of the prompt are missing']
  end;
begin
  if wrong is not null then
    raise exception '%', wrong[2] using errcode = 'PR400', detail = wrong[1], hint = 'Correct it and publish again; nothing was kept.';
  end if;
end
$$;

comment on function core.check_package(text, text, text[], text, text, text, integer[]) is
  'Refuses what cannot be published; null is allowed for description, tags and visibility. Errors: PR400 naming the field. Spec 10.6.';
--! EndIncluded catalog/check_package.sql
--! Included catalog/put_suggested_inputs.sql
create or replace function core.put_suggested_inputs(package_id uuid, user_id uuid, inputs json)
returns void
language plpgsql
set search_path = ''
as $$
declare
  wrong text;
  input record;
begin
  if json_typeof(inputs) is distinct from 'array' or json_array_length(inputs) > 50 then
    raise exception 'suggested inputs are a list of at most 50' using errcode = 'PR400', detail = 'suggested_inputs';
  end if;
  for input in
    select i.ordinality::integer - 1 as place, x.*
    from json_array_elements(inputs) with ordinality i,
      json_to_record(i.value) x(
        title text, description text, suggested_input text, category text, difficulty text,
        estimated_credits integer, recommended_model text, display_order integer
      )
  loop
    update public.suggested_inputs s
    set
      description = input.description, suggested_input = input.suggested_input, category = input.category,
      difficulty = coalesce(input.difficulty, 'beginner'), estimated_credits = coalesce(input.estimated_credits, 1),
      recommended_model = input.recommended_model, display_order = coalesce(input.display_order, input.place)
    where s.package_id = put_suggested_inputs.package_id and s.title = input.title and s.is_active;
    if not found then
      insert into public.suggested_inputs
        (package_id, title, description, suggested_input, category, difficulty, estimated_credits, recommended_model, display_order, created_by, created_at)
      values (
        put_suggested_inputs.package_id, input.title, input.description, input.suggested_input, input.category,
        coalesce(input.difficulty, 'beginner'), coalesce(input.estimated_credits, 1), input.recommended_model,
        coalesce(input.display_order, input.place), put_suggested_inputs.user_id, core.now()
      );
    end if;
  end loop;
exception
  when integrity_constraint_violation or data_exception then
    get stacked diagnostics wrong = message_text;
    raise exception 'a suggested input is not as it should be: %', wrong
      using errcode = 'PR400', detail = 'suggested_inputs',
        hint = 'title (1 to 100 characters) and suggested_input (1 to 10,000) are needed; recommended_model is a model''s alias.';
end
$$;

comment on function core.put_suggested_inputs(uuid, uuid, json) is
  'Adds suggested inputs to a package, or changes those of the same title; others stay as they are. inputs is a JSON array of {title, '
  'suggested_input, description?, category?, difficulty?, estimated_credits?, recommended_model?, display_order? (else the place in the '
  'list)}. Errors: PR400 naming suggested_inputs. Spec 10.4.';
--! EndIncluded catalog/put_suggested_inputs.sql
--! Included catalog/claim_package.sql
create or replace function core.claim_package(user_id uuid, name text, visibility text, organization_id uuid)
returns public.packages
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  target public.packages;
begin
  if not exists (select from public.users u where u.id = claim_package.user_id and u.closed_at is null) then
    raise exception 'this account cannot publish' using errcode = 'PR403', hint = 'It is closed or unknown.';
  end if;
  if organization_id is not null and not core.may_publish(claim_package.user_id, null, claim_package.organization_id) then
    raise exception 'you are no owner, admin or maintainer of this organization'
      using errcode = 'PR403', detail = 'organization_id', hint = 'Publish as yourself, or ask for that role.';
  end if;

  insert into public.packages (name, author_id, organization_id, visibility, created_at, updated_at)
  values (claim_package.name, claim_package.user_id, claim_package.organization_id, coalesce(claim_package.visibility, 'public'), now, now)
  on conflict do nothing;
  select p.* into strict target from public.packages p where p.name = claim_package.name for no key update;

  if not core.may_publish(claim_package.user_id, target.author_id, target.organization_id) then
    raise exception 'the package % belongs to somebody else', claim_package.name
      using errcode = 'PR403', detail = 'name', hint = 'Choose another name.';
  end if;
  return target;
end
$$;

comment on function core.claim_package(uuid, text, text, uuid) is
  'The package of a name, locked; made for this user if nobody has it. Errors: PR403 it is another''s, the account is closed, or the user '
  'may not publish for the organization. Spec 10.6.';
--! EndIncluded catalog/claim_package.sql
--! Included catalog/publish_version.sql
create or replace function api.publish_version(
  user_id uuid, name text, description text, tags text[], visibility text, organization_id uuid, package_version text, prompt text,
  tokens_o200k integer, tokens_cl100k integer, tokens_approximate integer, changelog text default null, suggested_inputs json default null
)
returns table (package_id uuid, version text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target public.packages;
begin
  perform core.check_package(
    publish_version.name, publish_version.description, publish_version.tags, publish_version.visibility, publish_version.package_version,
    publish_version.prompt, array[publish_version.tokens_o200k, publish_version.tokens_cl100k, publish_version.tokens_approximate]
  );
  target := core.claim_package(publish_version.user_id, publish_version.name, publish_version.visibility, publish_version.organization_id);

  insert into public.package_versions
    (package_id, version, prompt, tokens_o200k, tokens_cl100k, tokens_approximate, changelog, published_by, created_at)
  values (
    target.id, publish_version.package_version, publish_version.prompt, publish_version.tokens_o200k, publish_version.tokens_cl100k,
    publish_version.tokens_approximate, coalesce(publish_version.changelog, ''), publish_version.user_id, core.now()
  )
  on conflict do nothing;
  if not found and not exists (
    select from public.package_versions v
    where v.package_id = target.id and v.version = publish_version.package_version and v.prompt = publish_version.prompt
  ) then
    raise exception '% % is published already, with another prompt', target.name, publish_version.package_version
      using errcode = 'PR409', detail = 'version', hint = 'The prompt of a version never changes: publish under the next version number.';
  end if;

  update public.packages p
  set
    description = coalesce(publish_version.description, p.description),
    tags = coalesce(publish_version.tags, p.tags),
    visibility = coalesce(publish_version.visibility, p.visibility),
    organization_id = coalesce(publish_version.organization_id, p.organization_id),
    latest_version = (
      select v.version from public.package_versions v where v.package_id = target.id
      order by core.version_order(v.version) desc, v.created_at desc, v.version desc limit 1
    ),
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

comment on function api.publish_version(uuid, text, text, text[], text, uuid, text, text, integer, integer, integer, text, json) is
  'Publishes a version of a package; the first one makes the package, the user''s own or their organization''s. Null leaves description, '
  'tags, visibility, organization_id and suggested_inputs (as for core.put_suggested_inputs) as they are. The newest version is the highest '
  'release. Token counts are of the prompt, by each tokenizer. The same version with the same prompt again is no error. Returns the '
  'package''s id and the version. Errors: PR400 naming the field; PR403 as core.claim_package; PR409 the version has another prompt. '
  'Spec 5.5, 10.6.';
--! EndIncluded catalog/publish_version.sql
--! Included catalog/check_price.sql
create or replace function core.check_price(model text, input numeric, cached_read numeric, cache_write numeric, output numeric)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  field text := case
    when coalesce(check_price.input, -1) not between 0 and 100000 then 'input'
    when check_price.cached_read not between 0 and 100000 then 'cached_read'
    when check_price.cache_write not between 0 and 100000 then 'cache_write'
    when coalesce(check_price.output, -1) not between 0 and 100000 then 'output'
  end;
begin
  if not exists (select from public.models m where m.alias = check_price.model) then
    raise exception 'there is no model %', coalesce(check_price.model, 'null')
      using errcode = 'PR404', detail = 'model', hint = 'select alias from models;';
  end if;
  if field is not null then
    raise exception '% must be US dollars per million tokens, 0 to 100000', field using errcode = 'PR400', detail = field;
  end if;
end
$$;

comment on function core.check_price(text, numeric, numeric, numeric, numeric) is
  'Refuses a price that cannot be; cached_read and cache_write may be null. Errors: PR404 unknown model; PR400 naming the price. Spec 1.3.';
--! EndIncluded catalog/check_price.sql
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
declare
  now timestamptz;
  starts timestamptz;
  origin text := coalesce(nullif(btrim(publish_prices.source), ''), 'operator');
  ended public.model_prices;
  added public.model_prices;
begin
  perform core.check_price(publish_prices.model, publish_prices.input, publish_prices.cached_read, publish_prices.cache_write, publish_prices.output);
  -- One at a time for each model.
  perform from public.models m where m.alias = publish_prices.model for no key update;
  now := core.now();
  starts := coalesce(publish_prices.valid_from, now);
  if starts < now and exists (
    select from public.model_prices p where p.model = publish_prices.model and p.valid && tstzrange(starts, now)
  ) then
    raise exception 'the price of % since % is in the books already', publish_prices.model, starts
      using errcode = 'PR400', detail = 'valid_from', hint = 'Give an instant to come, or null for now.';
  end if;

  select p.* into ended from public.model_prices p where p.model = publish_prices.model and p.valid @> starts;
  if ended.source = 'operator' and origin <> 'operator' then
    raise notice 'the price of % is an operator''s own, and stays.', publish_prices.model;
    return;
  end if;
  if (ended.input, ended.cached_read, ended.cache_write, ended.output) is not distinct from
    (publish_prices.input, publish_prices.cached_read, publish_prices.cache_write, publish_prices.output) then
    return;
  end if;
  if lower(ended.valid) = starts then
    raise exception 'another price of % is valid from that very instant', publish_prices.model
      using errcode = 'PR409', detail = 'valid_from', hint = 'Give a later one: a price is ended, never changed.';
  end if;

  added := row(
    gen_random_uuid(), publish_prices.model,
    tstzrange(starts, (select min(lower(p.valid)) from public.model_prices p where p.model = publish_prices.model and lower(p.valid) > starts)),
    trim_scale(publish_prices.input), trim_scale(publish_prices.cached_read), trim_scale(publish_prices.cache_write),
    trim_scale(publish_prices.output), origin, now
  );
  if not dry_run then
    perform core.note_action('publish_prices', publish_prices.model, reason, to_json(added));
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

comment on function ops.publish_prices(text, timestamptz, numeric, numeric, numeric, numeric, text, text, boolean) is
  'Gives a model a price from an instant on (null: now), in US dollars per million tokens; cached_read and cache_write null are the input '
  'price. Ends the row that is valid then and adds one that holds until the next that is planned. Returns both, the ended one first; no row: the price is that '
  'already, or is an operator''s own and source is not operator. dry_run shows the rows and keeps nothing. '
  'Call: select * from ops.publish_prices(''sonnet'', null, 3, 0.3, 3.75, 15, ''operator'', ''new price list''); '
  'Errors: PR404 unknown model; PR400 naming a price, valid_from (in the past) or reason; PR409 that very instant is taken. Spec 1.3, 1.4, 12.';
--! EndIncluded catalog/publish_prices.sql
--! Included catalog/first_models.sql
-- The models to begin with (spec 1.2). A row that is there, whoever wrote it, is left as it is.
insert into public.models
  (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer, is_default)
values
  ('sonnet', 'anthropic', 'claude-sonnet-4-6', 1, 64000, 200000, 'approximate', true),
  ('opus', 'anthropic', 'claude-opus-4-6', 5, 64000, 200000, 'approximate', false),
  ('gpt-4o', 'openai', 'gpt-4o', 2, 16384, 128000, 'o200k_base', false),
  ('gpt-4o-mini', 'openai', 'gpt-4o-mini', 0.5, 16384, 128000, 'o200k_base', false),
  ('gpt-4-turbo', 'openai', 'gpt-4-turbo', 2, 4096, 128000, 'cl100k_base', false)
on conflict do nothing;
--! EndIncluded catalog/first_models.sql
--! Included catalog/first_prices.sql
-- The prices to begin with (spec 1.4): US dollars per million tokens, as genai-prices has them; `npm run prices:sync` compares.
-- Only for a model that never had a price, and that is still the provider's model which the price is for.
insert into public.model_prices (model, valid, input, cached_read, cache_write, output, source)
select p.model, tstzrange('2025-01-01 00:00:00+00', null), p.input, p.cached_read, p.cache_write, p.output, 'genai-prices 0.1.8'
from (
  values
    ('sonnet', 'claude-sonnet-4-6', 3, 0.3, 3.75, 15),
    ('opus', 'claude-opus-4-6', 5, 0.5, 6.25, 25),
    ('gpt-4o', 'gpt-4o', 2.5, 1.25, null, 10),
    ('gpt-4o-mini', 'gpt-4o-mini', 0.15, 0.075, null, 0.6),
    ('gpt-4-turbo', 'gpt-4-turbo', 10, null, null, 30)
) p(model, provider_model, input, cached_read, cache_write, output)
join public.models m on m.alias = p.model and m.provider_model = p.provider_model
where not exists (select from public.model_prices x where x.model = p.model);
--! EndIncluded catalog/first_prices.sql

-- accounts, catalog: what watches operators; below the first rows, which are nobody's change
--! Included accounts/record_change.sql
create or replace function core.record_change()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
  is_now jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
  key text := coalesce(is_now, was) ->> tg_argv[0];
begin
  if tg_op = 'UPDATE' then
    select
      jsonb_object_agg(o.key, o.value) filter (where o.value is distinct from n.value),
      jsonb_object_agg(n.key, n.value) filter (where o.value is distinct from n.value)
    into was, is_now
    from jsonb_each(was) o
    join jsonb_each(is_now) n on n.key = o.key;
    if was is null then
      return null;
    end if;
  end if;
  insert into public.audit_log (role, table_name, action, row_key, old, new)
  values (session_user, tg_table_name, lower(tg_op), key, was, is_now);
  return null;
end
$$;

comment on function core.record_change() is
  'Trigger: writes to the audit log who changed a row by plain SQL, with the columns that changed, before and after. Its argument is the '
  'column that names the row. It only watches. Spec 12.';

create or replace trigger record_change after insert or update or delete on public.settings
  for each row execute function core.record_change('only_row');
create or replace trigger record_change after insert or update or delete on public.cost_limits_config
  for each row execute function core.record_change('tier_name');
create or replace trigger record_change after insert or update or delete on public.plans
  for each row execute function core.record_change('plan');
create or replace trigger record_change after insert or update or delete on public.packs
  for each row execute function core.record_change('pack');
create or replace trigger record_change after insert or update or delete on public.models
  for each row execute function core.record_change('alias');
create or replace trigger record_change after insert or update or delete on public.model_prices
  for each row execute function core.record_change('id');

-- What the product's own functions do to a person stands in the books already, and they act as the owner.
create or replace trigger record_change
  after update of
    is_throttled, throttled_reason, throttled_by, throttled_at, throttled_until, tier_override, is_admin, verified_author
  on public.users
  for each row
  when (current_user <> 'prpm_owner')
  execute function core.record_change('id');
--! EndIncluded accounts/record_change.sql
--! Included accounts/watch_throttle.sql
create or replace function core.watch_throttle()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  limits public.cost_limits_config;
  useful numeric;
begin
  new.throttled_by := null;
  new.throttled_until := null;
  if new.is_throttled then
    new.throttled_at := now;
    return new;
  end if;
  new.throttled_at := null;
  new.throttled_reason := null;

  limits := core.find_limits(core.tier_at(new.tier_override, new.plan_tier, new.entitled_until, now));
  useful := coalesce(core.cheapest_useful_cost(now), 0);
  if limits.throttle_on_exceed and not coalesce(new.limits_waived_until > now, false) and (
    new.month_ends_at > now and limits.monthly_cost_limit - new.current_month_limited_cost < useful
    or new.day_ends_at > now and limits.daily_cost_limit - new.current_day_limited_cost < useful
  ) then
    raise notice '% is still over a limit of tier %, and will be throttled again by it.', coalesce(new.email, new.username), limits.tier_name
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
--! Included catalog/guard_price.sql
create or replace function core.guard_price()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  -- When the statement's transaction began, so that tstzrange(lower(valid), now()) is no end in the past.
  started timestamptz := transaction_timestamp() + (select s.clock_offset from public.settings s);
begin
  if (to_jsonb(new) - 'valid') <> (to_jsonb(old) - 'valid') or lower(new.valid) <> lower(old.valid)
    or coalesce(upper(new.valid), 'infinity') > coalesce(upper(old.valid), 'infinity')
    or coalesce(upper(new.valid), 'infinity') < least(started, coalesce(upper(old.valid), 'infinity')) then
    raise exception 'a price is never changed, only ended, and not in the past'
      using errcode = 'PR409', detail = 'valid',
        hint = 'update model_prices set valid = tstzrange(lower(valid), now()) where id = …; then insert the new price, or call ops.publish_prices, which does both.';
  end if;
  return new;
end
$$;

comment on function core.guard_price() is
  'Trigger: refuses an operator''s update of a price but for an earlier end that is not in the past, since runs keep the row that they began '
  'under. Privileges keep all columns but valid from operators, with or without it. Errors: PR409. Spec 1.3.';

create or replace trigger guard_price
  before update on public.model_prices
  for each row
  when (current_user <> 'prpm_owner')
  execute function core.guard_price();
--! EndIncluded catalog/guard_price.sql
--! Included credits/guard_transactions.sql
create or replace function core.guard_transactions()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception 'credit_transactions is append-only: % is refused', lower(tg_op)
    using errcode = 'PR403', hint = 'Book the opposite transfer, as ops.grant_credits and ops.revoke_credits do.';
end
$$;

comment on function core.guard_transactions() is
  'Refuses to change, delete or truncate transfers, to their owner too. That others cannot is by privilege. Errors: PR403. Spec 4.2.';

create or replace trigger guard_transactions
before update or delete or truncate on public.credit_transactions
for each statement execute function core.guard_transactions();
--! EndIncluded credits/guard_transactions.sql

-- limits
--! Included limits/tier_at.sql
create or replace function core.tier_at(tier_override text, plan_tier text, entitled_until timestamptz, now timestamptz)
returns text
language sql
immutable
parallel safe
begin atomic
  select coalesce(tier_override, case when entitled_until > now then plan_tier end, 'free');
end;

comment on function core.tier_at(text, text, timestamptz, timestamptz) is
  'A user''s tier: the operator''s override, else the plan''s while its period is paid, else free. Whether that tier is still active '
  'core.find_limits decides. Spec 2.5.';
--! EndIncluded limits/tier_at.sql
--! Included limits/tier_now.sql
create or replace function core.tier_now(person public.users)
returns text
language sql
stable
set search_path = ''
begin atomic
  select case when c.is_active or t.tier = 'free' or c.tier_name is null then t.tier else 'free' end
  from (select core.tier_at(person.tier_override, person.plan_tier, person.entitled_until, core.now()) as tier) t
  left join public.cost_limits_config c on c.tier_name = t.tier;
end;

comment on function core.tier_now(public.users) is
  'A user''s tier at this moment: the operator''s override, else the plan''s while its period is paid, else free; free too where that tier '
  'is no longer active. A tier without a row is returned as it is: its runs are refused. Spec 2.5, 3.1.';
--! EndIncluded limits/tier_now.sql
--! Included limits/throttled_at.sql
create or replace function core.throttled_at(person public.users, now timestamptz)
returns boolean
language sql
immutable
parallel safe
set search_path = ''
begin atomic
  select person.is_throttled and (
    person.throttled_by is null
    or person.throttled_until is null and person.throttled_by = 'operator'
    or person.throttled_until > now
  );
end;

comment on function core.throttled_at(public.users, timestamptz) is
  'Whether a throttle holds at that time: one by plain UPDATE until it is lifted, an operator''s and a limit''s until its end. '
  'One that is past its end is cleared on the next use, and by the jobs. Spec 3.4.';
--! EndIncluded limits/throttled_at.sql
--! Included limits/roll_windows.sql
create or replace function core.roll_windows(u public.users, now timestamptz)
returns public.users
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
  local_now timestamp := now at time zone 'UTC';
begin
  if now >= u.minute_ends_at then
    u.minute_attempts := 0;
    u.minute_ends_at := now + interval '1 minute';
  end if;
  if now >= u.hour_ends_at then
    u.hour_requests := 0;
    u.hour_ends_at := (date_trunc('hour', local_now) + interval '1 hour') at time zone 'UTC';
  end if;
  if now >= u.day_ends_at then
    u.current_day_api_cost := 0;
    u.current_day_limited_cost := 0;
    u.day_held_cost := 0;
    u.day_ends_at := (date_trunc('day', local_now) + interval '1 day') at time zone 'UTC';
  end if;
  if now >= u.month_ends_at then
    u.current_month_api_cost := 0;
    u.current_month_limited_cost := 0;
    u.month_held_cost := 0;
    u.current_month_requests := 0;
    u.month_ends_at := (date_trunc('month', local_now) + interval '1 month') at time zone 'UTC';
  end if;
  return u;
end
$$;

comment on function core.roll_windows(public.users, timestamptz) is
  'The user''s row with every window that has ended opened anew and empty. Stores nothing: the caller writes what it needs. Spec 3.2.';
--! EndIncluded limits/roll_windows.sql
--! Included limits/find_limits.sql
create or replace function core.find_limits(tier text)
returns public.cost_limits_config
language plpgsql
stable
set search_path = ''
as $$
declare
  limits public.cost_limits_config;
begin
  select l.* into limits from public.cost_limits_config l where l.tier_name = find_limits.tier;
  if found and not limits.is_active and limits.tier_name <> 'free' then
    select l.* into limits from public.cost_limits_config l where l.tier_name = 'free';
  end if;
  return limits;
end
$$;

comment on function core.find_limits(text) is
  'A tier''s limits; those of free for a tier that is no longer active; nulls for a tier without a row, which is refused. Spec 3.1.';
--! EndIncluded limits/find_limits.sql
--! Included limits/cheapest_useful_cost.sql
create or replace function core.cheapest_useful_cost(now timestamptz)
returns numeric
language sql
stable
set search_path = ''
begin atomic
  select s.min_output_tokens * min(p.output) * 0.000001
  from public.settings s, public.models m, public.model_prices p
  where m.enabled and p.model = m.alias and p.valid @> cheapest_useful_cost.now
  group by s.min_output_tokens;
end;

comment on function core.cheapest_useful_cost(timestamptz) is
  'US dollars of min_output_tokens of the cheapest enabled model: a cost window with less left is used up. Spec 3.4.';
--! EndIncluded limits/cheapest_useful_cost.sql
--! Included limits/describe_refusal.sql
create or replace function core.describe_refusal(
  code text, status integer, message text, now timestamptz,
  "limit" numeric default null, used numeric default null, held numeric default null, unit text default null,
  retry_at timestamptz default null, required_credits bigint default null, available_credits bigint default null, details json default null
)
returns json
language sql
stable
set search_path = ''
begin atomic
  select json_strip_nulls(json_build_object(
    'code', code,
    'status', status,
    'message', message,
    'limit', "limit",
    'used', used,
    'held', held,
    'unit', unit,
    'retry_at', retry_at,
    'retry_after', case when retry_at is not null then greatest(1, ceil(extract(epoch from retry_at - now)))::integer end,
    'required_credits', required_credits,
    'available_credits', available_credits,
    'purchase_url', case when required_credits is not null then '/playground/credits/buy' end,
    'details', details
  ));
end;

comment on function core.describe_refusal(text, integer, text, timestamptz, numeric, numeric, numeric, text, timestamptz, bigint, bigint, json) is
  'The answer that explains a refusal: a stable code, the HTTP status, what to do in words, and the figures (limit, used and held in unit; '
  'credits where they lack). Codes: docs/errors.md. Spec 3.2, 11.3.';
--! EndIncluded limits/describe_refusal.sql
--! Included limits/count_refusal.sql
create or replace function core.count_refusal(user_id uuid, refusal json, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  this_hour timestamptz := date_trunc('hour', now, 'UTC');
begin
  update public.refusals r
  set
    count = r.count + 1,
    limit_value = (refusal ->> 'limit')::numeric,
    used_value = (refusal ->> 'used')::numeric,
    last_at = now
  where r.user_id = count_refusal.user_id and r.reason = refusal ->> 'code' and r.hour = this_hour;

  if not found then
    insert into public.refusals (user_id, reason, hour, count, limit_value, used_value, last_at)
    values (
      count_refusal.user_id, refusal ->> 'code', this_hour, 1,
      (refusal ->> 'limit')::numeric, (refusal ->> 'used')::numeric, now
    );
  end if;
end
$$;

comment on function core.count_refusal(uuid, json, timestamptz) is
  'Counts a refusal by user, reason and hour. The caller holds the user''s row. Spec 3.7.';
--! EndIncluded limits/count_refusal.sql
--! Included limits/cap_by_cost_per_credit.sql
create or replace function core.cap_by_cost_per_credit(
  input_tokens integer, output_cap integer, tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric,
  input_cost numeric, output_price numeric, cost_cap numeric
)
returns integer
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
  step integer := greatest(1, ceil(input_tokens / tokens_per_credit::numeric));
  fits integer := -1;
  room integer;
  spare numeric;
begin
  -- Step by step of what is charged, so that an answer that ends in an earlier one keeps to the cap too.
  while fits < output_cap loop
    room := least(output_cap, step * tokens_per_credit - input_tokens);
    spare := cost_cap * core.charge_for(step::bigint * tokens_per_credit, tokens_per_credit, multiplier, prompt_multiplier) - input_cost;
    if spare < 0 then
      return fits;
    elsif room * output_price * 0.000001 > spare then
      return greatest(fits, floor(spare * 1000000 / output_price));
    end if;
    fits := room;
    step := step + 1;
  end loop;
  return fits;
end
$$;

comment on function core.cap_by_cost_per_credit(integer, integer, integer, numeric, numeric, numeric, numeric, numeric) is
  'Shortens an answer until no credit that it charges costs more than cost_cap US dollars (settings.purchased_cost_per_credit_cap), '
  'wherever in it the answer ends. Returns the tokens of output that fit, -1 if none do. Spec 3.3.';
--! EndIncluded limits/cap_by_cost_per_credit.sql
--! Included limits/fit_run.sql
create or replace function core.fit_run(
  input_tokens integer, wanted integer,
  tokens_per_credit integer, multiplier numeric, prompt_multiplier numeric,
  input_price numeric, output_price numeric,
  included bigint, purchased bigint, cost_left numeric, purchased_cap numeric,
  out output_cap integer, out hold_included bigint, out hold_purchased bigint, out hold_cost numeric
)
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
  input_cost numeric := input_tokens * input_price * 0.000001;
  alone integer;
  credits bigint;
begin
  output_cap := least(wanted, core.affordable_tokens(included + purchased, tokens_per_credit, multiplier, prompt_multiplier) - input_tokens);

  if included > 0 and cost_left < input_cost + output_cap * output_price * 0.000001 then
    output_cap := case
      when cost_left < input_cost or output_price = 0 then -1
      else least(output_cap, floor((cost_left - input_cost) * 1000000 / output_price))
    end;
    alone := least(wanted, core.affordable_tokens(purchased, tokens_per_credit, multiplier, prompt_multiplier) - input_tokens);
    if alone > output_cap and purchased > 0 then
      output_cap := alone;
      included := 0;
    end if;
  end if;

  credits := core.charge_for(input_tokens + output_cap, tokens_per_credit, multiplier, prompt_multiplier);
  if purchased_cap is not null and credits > included then
    output_cap := core.cap_by_cost_per_credit(
      input_tokens, output_cap, tokens_per_credit, multiplier, prompt_multiplier, input_cost, output_price, purchased_cap
    );
    credits := core.charge_for(input_tokens + output_cap, tokens_per_credit, multiplier, prompt_multiplier);
  end if;
  hold_included := least(included, credits);
  hold_purchased := credits - hold_included;
  hold_cost := input_cost + output_cap * output_price * 0.000001;
end
$$;

comment on function core.fit_run(integer, integer, integer, numeric, numeric, numeric, numeric, bigint, bigint, numeric, numeric) is
  'How long an answer fits: the output cap (tokens, at most wanted) whose worst case credits and cost windows can bear, and what it '
  'would hold. input_tokens is the input''s worst case; prices are US dollars per million tokens; included and purchased are free credits; '
  'cost_left is what the narrower cost window has left in US dollars, null without limit. Included credits pay first; if the windows '
  'would cut the answer and purchased credits alone allow a longer one, those pay all and no window counts. A cap below what is useful '
  '(also negative) means that the run does not fit; the hold is meaningless then. Spec 1.5, 3.2, 3.3.';
--! EndIncluded limits/fit_run.sql
--! Included limits/limited_part.sql
create or replace function core.limited_part(cost numeric, due bigint, from_included bigint, from_purchased bigint, purchased_alone boolean)
returns numeric
language sql
immutable
parallel safe
begin atomic
  select case
    when purchased_alone and from_included = 0 then 0
    when from_purchased = 0 then cost
    else round(cost * (due - from_purchased) / due, 12)
  end;
end;

comment on function core.limited_part(numeric, bigint, bigint, bigint, boolean) is
  'US dollars of a run''s cost that count against limits: the share of its credits that were not purchased, what nothing could pay '
  'included; nothing where purchased credits alone were held for it. due is what it should be charged. Spec 3.3.';
--! EndIncluded limits/limited_part.sql
--! Included limits/nearly_used_up.sql
create or replace function core.nearly_used_up(u public.users, l public.cost_limits_config, enough numeric)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select coalesce(l.monthly_cost_limit - u.current_month_limited_cost < enough, false)
    or coalesce(l.daily_cost_limit - u.current_day_limited_cost < enough, false);
end;

comment on function core.nearly_used_up(public.users, public.cost_limits_config, numeric) is
  'True where a cost window may be used up, so that core.judge_throttle must look: less than enough US dollars are left of it. Spec 3.4.';
--! EndIncluded limits/nearly_used_up.sql
--! Included limits/judge_throttle.sql
create or replace function core.judge_throttle(user_id uuid, now timestamptz)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  l public.cost_limits_config;
  useful numeric := coalesce(core.cheapest_useful_cost(now), 0);
  month_over boolean;
  day_over boolean;
begin
  select x.* into strict u from public.users x where x.id = judge_throttle.user_id for no key update;
  if u.is_throttled and (u.throttled_by is null or u.throttled_by = 'operator' and coalesce(u.throttled_until > now, true)) then
    return true;
  end if;

  u := core.roll_windows(u, now);
  l := core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now));
  month_over := l.throttle_on_exceed and l.monthly_cost_limit - u.current_month_limited_cost < useful;
  day_over := l.throttle_on_exceed and l.daily_cost_limit - u.current_day_limited_cost < useful;

  if coalesce(u.limits_waived_until > now, false) or not (coalesce(month_over, false) or coalesce(day_over, false)) then
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
    throttled_until = case when month_over then u.month_ends_at else u.day_ends_at end,
    throttled_reason = case
      when month_over then format('%s: %s of %s dollars used this month', l.tier_name, trim_scale(round(u.current_month_limited_cost, 6)), l.monthly_cost_limit)
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
--! Included limits/throttle_user.sql
create or replace function ops.throttle_user("user" text, until timestamptz, reason text)
returns table (user_id uuid, email text, is_throttled boolean, throttled_by text, throttled_reason text, throttled_until timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
begin
  perform core.note_action('throttle_user', target::text, reason, json_build_object('until', until));
  return query
    update public.users u
    set is_throttled = true, throttled_by = 'operator', throttled_reason = reason, throttled_at = core.now(), throttled_until = until
    where u.id = target
    returning u.id, u.email, u.is_throttled, u.throttled_by, u.throttled_reason, u.throttled_until;
end
$$;

comment on function ops.throttle_user(text, timestamptz, text) is
  'Holds a user (id, e-mail or username) until an instant, or for good where until is null, also one whom a limit throttles already. '
  'Call: select * from ops.throttle_user(''user@example.com'', ''2026-01-01'', ''chargeback''); Errors: PR404, PR400 without a reason. Spec 3.4.';
--! EndIncluded limits/throttle_user.sql
--! Included limits/release_throttle.sql
create or replace function ops.release_throttle("user" text, reason text)
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
  perform core.note_action('release_throttle', target::text, reason, null);
  update public.users u
  set is_throttled = false, throttled_reason = null, throttled_by = null, throttled_at = null, throttled_until = null
  where u.id = target;
  still := core.judge_throttle(target, core.now());
  return query
    select u.id, u.email, u.is_throttled,
      case when still then 'Still over a limit that throttles: see ops.waive_limits(user, until, reason).' else 'Can run again.' end
    from public.users u
    where u.id = target;
end
$$;

comment on function ops.release_throttle(text, text) is
  'Lifts a user''s throttle. If a used-up cost limit throttles them still, it says so. '
  'Call: select * from ops.release_throttle(''user@example.com'', ''false positive''); Errors: PR404, PR400 without a reason. Spec 3.4, 3.5.';
--! EndIncluded limits/release_throttle.sql
--! Included limits/waive_limits.sql
create or replace function ops.waive_limits("user" text, until timestamptz, reason text)
returns table (user_id uuid, email text, is_throttled boolean, limits_waived_until timestamptz)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  target uuid := core.find_user("user");
begin
  perform core.note_action('waive_limits', target::text, reason, json_build_object('until', until));
  update public.users u set limits_waived_until = until where u.id = target;
  perform core.judge_throttle(target, core.now());
  return query select u.id, u.email, u.is_throttled, u.limits_waived_until from public.users u where u.id = target;
end
$$;

comment on function ops.waive_limits(text, timestamptz, text) is
  'Lets a user run past their cost limits until an instant (null ends it), and lifts the throttle that a limit set. Cost is recorded all '
  'the same. Call: select * from ops.waive_limits(''user@example.com'', now() + interval ''1 day'', ''demo for a customer''); '
  'Errors: PR404, PR400 without a reason. Spec 3.5.';
--! EndIncluded limits/waive_limits.sql
--! Included limits/count_in_window.sql
create or replace function core.count_in_window(
  user_id uuid, kind text, per_minute integer, out allowed boolean, out remaining integer, out reset integer
)
language plpgsql
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  w record;
begin
  insert into public.rate_windows as r (user_id, kind, ends_at, count)
  values (count_in_window.user_id, count_in_window.kind, now + interval '1 minute', 1)
  on conflict on constraint rate_windows_pkey do update
  set
    count = case when r.ends_at <= excluded.ends_at - interval '1 minute' then 1 else r.count + 1 end,
    ends_at = case when r.ends_at <= excluded.ends_at - interval '1 minute' then excluded.ends_at else r.ends_at end
  returning r.count, r.ends_at into w;

  allowed := w.count <= per_minute;
  remaining := greatest(0, per_minute - w.count);
  reset := greatest(1, ceil(extract(epoch from w.ends_at - now)));
end
$$;

comment on function core.count_in_window(uuid, text, integer) is
  'Counts one request in a fixed minute window that later requests cannot extend; allowed is false above per_minute. reset is seconds. Spec 3.6.';
--! EndIncluded limits/count_in_window.sql
--! Included limits/admit_read.sql
create or replace function api.admit_read(
  user_id uuid, out allowed boolean, out rate_limit integer, out rate_remaining integer, out rate_reset integer
)
language plpgsql
security definer
set search_path = ''
as $$
declare
  per_minute integer;
begin
  select s.reads_per_minute into per_minute from public.settings s;
  select x.allowed, x.remaining, x.reset into allowed, rate_remaining, rate_reset
  from core.count_in_window(admit_read.user_id, 'read', per_minute) x;
  rate_limit := per_minute;
end
$$;

comment on function api.admit_read(uuid) is
  'Counts a read or estimate in the user''s fixed minute window (settings.reads_per_minute) and says whether it may go on. rate_reset is '
  'seconds. Spec 3.6.';
--! EndIncluded limits/admit_read.sql
--! Included limits/reset_monthly_api_costs.sql
create or replace function public.reset_monthly_api_costs()
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  next_day timestamptz := (date_trunc('day', now at time zone 'UTC') + interval '1 day') at time zone 'UTC';
  next_month timestamptz := (date_trunc('month', now at time zone 'UTC') + interval '1 month') at time zone 'UTC';
  closed integer;
  throttled uuid;
begin
  update public.users u
  set
    current_month_api_cost = 0, current_month_limited_cost = 0, month_held_cost = 0, current_month_requests = 0, month_ends_at = next_month
  where u.month_ends_at <= now;
  get diagnostics closed = row_count;

  update public.users u
  set current_day_api_cost = 0, current_day_limited_cost = 0, day_held_cost = 0, day_ends_at = next_day
  where u.day_ends_at <= now;

  for throttled in
    select u.id from public.users u where u.is_throttled and u.throttled_by is not null and u.throttled_until <= now order by u.id
  loop
    perform core.judge_throttle(throttled, now);
  end loop;
  return closed;
end
$$;

comment on function public.reset_monthly_api_costs() is
  'Closes the month and day windows that have ended and lifts the throttles that ended with them. Returns how many month windows it '
  'closed. Does only what is due, so it may run at any time and twice. Runs never wait for it: they heal on use. Spec 7.1, 7.4.';
--! EndIncluded limits/reset_monthly_api_costs.sql
--! Included limits/watch_budgets.sql
create or replace function ops.watch_budgets()
returns numeric
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  budget numeric;
  used numeric;
begin
  select s.free_tier_daily_budget into budget from public.settings s;
  select coalesce(sum(u.current_day_limited_cost), 0) into used
  from public.users u
  where u.day_ends_at > now and core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now) = 'free';

  update public.cost_limits_config l
  set paused_until = case when used >= budget then (date_trunc('day', now at time zone 'UTC') + interval '1 day') at time zone 'UTC' end
  where l.tier_name = 'free' and coalesce(l.paused_until > now, false) <> coalesce(used >= budget, false);
  return used;
end
$$;

comment on function ops.watch_budgets() is
  'Adds up what the free tier as a whole has cost today (US dollars, returned) and pauses it until tomorrow once '
  'settings.free_tier_daily_budget is used up; ends the pause when the budget was raised. For a job each minute, not the hot path. '
  'Call: select ops.watch_budgets(); Spec 3.6.';
--! EndIncluded limits/watch_budgets.sql

-- runs
--! Included runs/refuse_by_standing.sql
create or replace function core.refuse_by_standing(u public.users, l public.cost_limits_config, runs_enabled boolean, now timestamptz)
returns json
language plpgsql
stable
set search_path = ''
as $$
begin
  if u.closed_at is not null then
    return core.describe_refusal('account_closed', 403, 'This account is closed.', now);
  elsif l.tier_name is null then
    return core.describe_refusal('tier_not_configured', 503,
      format('Tier %s has no row in cost_limits_config; the operator must add one.', core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now)), now);
  elsif u.minute_attempts > l.minute_request_limit then
    return core.describe_refusal('rate_limited', 429,
      format('At most %s attempts a minute. Try again when the minute is over.', l.minute_request_limit), now,
      l.minute_request_limit, u.minute_attempts, unit => 'attempts', retry_at => u.minute_ends_at);
  elsif not runs_enabled then
    return core.describe_refusal('runs_disabled', 503, 'Runs are switched off for the moment.', now, retry_at => now + interval '1 minute');
  elsif l.paused_until > now then
    return core.describe_refusal('tier_budget', 429,
      format('Tier %s as a whole has used up its budget of today. Try again tomorrow, or subscribe.', l.tier_name), now,
      retry_at => l.paused_until);
  elsif u.is_throttled and (u.throttled_by is null or u.throttled_by = 'operator' and coalesce(u.throttled_until > now, true)) then
    return core.describe_refusal('throttled', 403,
      'This account is held by an operator' || coalesce(': ' || u.throttled_reason, '') || '. Please contact support.', now,
      retry_at => case when u.throttled_by = 'operator' then u.throttled_until end);
  elsif u.hour_requests >= l.hourly_request_limit then
    return core.describe_refusal('hourly_request_limit', 429,
      format('Tier %s allows %s runs an hour. Try again when the hour is over.', l.tier_name, l.hourly_request_limit), now,
      l.hourly_request_limit, u.hour_requests, unit => 'runs', retry_at => u.hour_ends_at);
  end if;
  return null;
end
$$;

comment on function core.refuse_by_standing(public.users, public.cost_limits_config, boolean, timestamptz) is
  'Why this user can run nothing now, whatever they ask for: account, tier and its budget, rate, operator''s throttle, hourly runs; null if nothing '
  'stands in the way. The row''s windows are rolled. Spec 3.1, 3.2, 3.4, 3.6.';
--! EndIncluded runs/refuse_by_standing.sql
--! Included runs/refuse_by_model.sql
create or replace function core.refuse_by_model(asked text, m public.models, now timestamptz)
returns json
language sql
stable
set search_path = ''
begin atomic
  select case
    when m.alias is null then core.describe_refusal('model_not_found', 404,
      format('There is no model %s. The models are: %s.', coalesce(asked, '(default)'),
        (select string_agg(x.alias, ', ' order by x.alias) from public.models x where x.enabled)), now)
    when not m.enabled then core.describe_refusal('model_disabled', 409,
      format('Model %s is switched off. The models are: %s.', m.alias,
        (select string_agg(x.alias, ', ' order by x.alias) from public.models x where x.enabled)), now)
    else core.describe_refusal('model_not_priced', 503,
      format('Model %s has no price now, so it cannot be run. Please choose another.', m.alias), now)
  end;
end;

comment on function core.refuse_by_model(text, public.models, timestamptz) is
  'Why a model cannot be run: unknown, disabled, or without a price now. Spec 1.2, 1.3.';
--! EndIncluded runs/refuse_by_model.sql
--! Included runs/refuse_by_package.sql
create or replace function core.refuse_by_package(
  user_id uuid, asked text, asked_version text, package_id uuid, visibility text, author_id uuid, organization_id uuid, version text, now timestamptz
)
returns json
language plpgsql
stable
set search_path = ''
as $$
begin
  if refuse_by_package.package_id is null
    or refuse_by_package.visibility = 'private' and refuse_by_package.author_id <> refuse_by_package.user_id and not exists (
      select from public.organization_members o
      where o.user_id = refuse_by_package.user_id and o.organization_id = refuse_by_package.organization_id
    )
  then
    return core.describe_refusal('package_not_found', 404, format('There is no package %s.', left(asked, 100)), now);
  elsif refuse_by_package.version is null then
    return core.describe_refusal('version_not_found', 404,
      format('Package %s has no version %s.', left(asked, 100), coalesce(left(asked_version, 50), 'yet')), now);
  end if;
  return null;
end
$$;

comment on function core.refuse_by_package(uuid, text, text, uuid, text, uuid, uuid, text, timestamptz) is
  'Why a package or version cannot be run by this user: unknown, or private and neither theirs nor their organization''s; null if it can. Spec 5.5.';
--! EndIncluded runs/refuse_by_package.sql
--! Included runs/refuse_by_size.sql
create or replace function core.refuse_by_size(
  u public.users, l public.cost_limits_config, s public.settings, m public.models,
  input_price numeric, output_price numeric, prompt_multiplier numeric,
  estimated_input integer, held_input integer, wanted integer, useful integer, windows_hold boolean, now timestamptz
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
  balance bigint := u.included_credits + u.purchased_credits;
  free bigint := balance - u.held_included - u.held_purchased;
  needed bigint := core.charge_for(held_input + useful, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier);
  needed_cost numeric := (held_input * input_price + useful * output_price) * 0.000001;
  fit record;
begin
  if room < useful then
    return core.describe_refusal('request_too_large', 413,
      format('The request has about %s tokens of input; with at least %s of output it would exceed %s. Cut about %s tokens of input.',
        estimated_input, useful, estimated_input + room, useful - room), now,
      estimated_input + room, estimated_input, unit => 'tokens',
      details => json_build_object('input_tokens', estimated_input, 'min_output_tokens', useful, 'cut_tokens', useful - room));
  end if;

  -- Would it fit if nothing else were running?
  fit := core.fit_run(held_input, wanted, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier, input_price, output_price,
    u.included_credits, u.purchased_credits, least(day_left, month_left), s.purchased_cost_per_credit_cap);
  if fit.output_cap >= useful then
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

comment on function core.refuse_by_size(public.users, public.cost_limits_config, public.settings, public.models, numeric, numeric, numeric, integer, integer, integer, integer, boolean, timestamptz) is
  'Why no useful answer fits: the request is too large, other runs hold what is needed, credits lack, or a cost window is too full. '
  'Called when core.fit_run found less than useful tokens. Spec 1.5, 3.2.';
--! EndIncluded runs/refuse_by_size.sql
--! Included runs/continue_session.sql
create or replace function core.continue_session(
  user_id uuid, session_id uuid, package_id uuid, model text, now timestamptz,
  out refusal json, out messages json, out tokens integer, out same_model boolean
)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  x public.sessions;
  busy boolean;
  run_ids uuid[];
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

  select array_agg(t.run_id),
    ('[' || string_agg(
      json_build_object('role', 'user', 'content', t.question)::text || ','
        || json_build_object('role', 'assistant', 'content', t.answer)::text,
      ',' order by t.run_id
    ) || ']')::json
  into run_ids, messages
  from public.run_texts t
  where t.user_id = x.user_id and t.session_id = x.id and t.answer <> '';

  select coalesce(sum(r.question_tokens + r.output_tokens + 8), 0), coalesce(bool_and(r.model = continue_session.model), true)
  into tokens, same_model
  from public.runs r
  where r.user_id = x.user_id and r.id = any (run_ids);
end
$$;

comment on function core.continue_session(uuid, uuid, uuid, text, timestamptz) is
  'What a session brings into its next run: its answered exchanges as messages, their tokens (by usage and estimate), and whether all '
  'were counted by this model. Or the refusal: session_not_found, session_package, session_busy. Spec 10.1.';
--! EndIncluded runs/continue_session.sql
--! Included runs/note_refusal.sql
create or replace function core.note_refusal(u public.users, refusal json, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.users x
  set minute_attempts = u.minute_attempts, minute_ends_at = u.minute_ends_at
  where x.id = u.id;
  perform core.count_refusal(u.id, refusal, now);
  if refusal ->> 'code' in ('daily_cost_limit', 'monthly_cost_limit') then
    perform core.judge_throttle(u.id, now);
  end if;
end
$$;

comment on function core.note_refusal(public.users, json, timestamptz) is
  'Stores what a refused attempt leaves behind: the minute''s count, the refusal''s count and, where a window is used up, the throttle. '
  'A refused run counts for nothing else. Spec 3.2, 3.4, 3.6, 3.7.';
--! EndIncluded runs/note_refusal.sql
--! Included runs/keep_key.sql
create or replace function core.keep_key(user_id uuid, key text, request_hash bytea, run_id uuid, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  insert into public.idempotency_keys (user_id, key, request_hash, run_id, created_at)
  values (keep_key.user_id, keep_key.key, keep_key.request_hash, keep_key.run_id, keep_key.now)
  on conflict on constraint idempotency_keys_pkey do update
  set request_hash = excluded.request_hash, run_id = excluded.run_id, created_at = excluded.created_at;
end
$$;

comment on function core.keep_key(uuid, text, bytea, uuid, timestamptz) is
  'Remembers which run an Idempotency-Key made; one older than 24 hours is taken over. The caller holds the user''s row. Spec 5.3.';
--! EndIncluded runs/keep_key.sql
--! Included runs/keep_texts.sql
create or replace function core.keep_texts(user_id uuid, session_id uuid, run_id uuid, question text, answer text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.run_texts t
  set answer = keep_texts.answer
  where t.user_id = keep_texts.user_id and t.session_id = keep_texts.session_id and t.run_id = keep_texts.run_id;
  if not found and keep_texts.question is not null then
    insert into public.run_texts (user_id, session_id, run_id, question, answer)
    values (keep_texts.user_id, keep_texts.session_id, keep_texts.run_id, keep_texts.question, keep_texts.answer);
  end if;
end
$$;

comment on function core.keep_texts(uuid, uuid, uuid, text, text) is
  'Stores what was asked and answered so far. Called under the lock of the run or its user, so that two never insert.';
--! EndIncluded runs/keep_texts.sql
--! Included runs/cover_overrun.sql
create or replace function core.cover_overrun(
  inout from_included bigint, inout from_purchased bigint, over bigint, purchased_first boolean, free_included bigint, free_purchased bigint
)
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
  part bigint;
begin
  if purchased_first then
    part := least(over, greatest(0, free_purchased));
    from_purchased := from_purchased + part;
    from_included := from_included + least(over - part, greatest(0, free_included));
  else
    part := least(over, greatest(0, free_included));
    from_included := from_included + part;
    from_purchased := from_purchased + least(over - part, greatest(0, free_purchased));
  end if;
end
$$;

comment on function core.cover_overrun(bigint, bigint, bigint, boolean, bigint, bigint) is
  'Who pays what a run cost above its hold: credits that no other run holds, the kind that pays the run first. What nothing can pay '
  'stays a shortfall. Spec 4.2.';
--! EndIncluded runs/cover_overrun.sql
--! Included runs/write_receipt.sql
create or replace function core.write_receipt(r public.runs, u public.users, l public.cost_limits_config)
returns json
language sql
stable
begin atomic
  select json_build_object(
    'run_id', r.id,
    'session_id', r.session_id,
    'status', r.status,
    'model', r.model,
    'provider_model', r.provider_model,
    'package_id', r.package_id,
    'package_version', r.package_version,
    'baseline', r.baseline,
    'credits_spent', r.credits,
    'credits_by_kind', coalesce(r.credits_by_kind, '{}'),
    'shortfall', r.shortfall,
    'credits_remaining', greatest(0, u.included_credits + u.purchased_credits - u.held_included - u.held_purchased),
    'tokens_used', r.input_tokens + r.output_tokens,
    'tokens', json_build_object(
      'input', r.input_tokens, 'cached', r.cached_tokens, 'cache_write', r.cache_write_tokens, 'output', r.output_tokens
    ),
    'estimated', r.estimated,
    'cost', r.cost::text,
    'error', r.error,
    'error_reason', r.error_reason,
    'first_token_ms', r.first_token_ms,
    'duration_ms', r.duration_ms,
    'started_at', r.started_at,
    'finished_at', r.finished_at,
    'paid_by_purchased_only', r.hold_included = 0 and r.hold_purchased > 0,
    'limits', json_build_object(
      'tier', l.tier_name,
      'hourly', json_build_object('limit', l.hourly_request_limit, 'used', u.hour_requests, 'resets_at', u.hour_ends_at),
      'daily', json_build_object('limit', l.daily_cost_limit::text, 'used', u.current_day_limited_cost::text, 'resets_at', u.day_ends_at),
      'monthly', json_build_object('limit', l.monthly_cost_limit::text, 'used', u.current_month_limited_cost::text, 'resets_at', u.month_ends_at)
    )
  );
end;

comment on function core.write_receipt(public.runs, public.users, public.cost_limits_config) is
  'The receipt of a run as JSON: what it used (tokens), what it cost (US dollars, exact, as text), what was charged (credits, by kind), '
  'what is left (credits, and each window''s limit, use and end). The user''s windows are rolled. Spec 5.1.';
--! EndIncluded runs/write_receipt.sql
--! Included runs/usual_output.sql
create or replace function core.usual_output(package text, model text)
returns numeric
language plpgsql
stable
set search_path = ''
as $$
declare
  average numeric;
begin
  select x.average_output_tokens into average
  from core.package_model_usage x
  join public.packages p on p.id = x.package_id
  where x.model = usual_output.model and (p.id = core.uuid_or_null(usual_output.package) or p.name = lower(usual_output.package));
  return average;
end
$$;

comment on function core.usual_output(text, text) is
  'Tokens that a package''s answers by a model had on average as of the last refresh of the analytics; null without history. Spec 5.7.';
--! EndIncluded runs/usual_output.sql
--! Included runs/begin_run.sql
create or replace function api.begin_run(
  user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean,
  input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer,
  idempotency_key text, request_hash bytea,
  out outcome text, out begun_run_id uuid, out begun_session_id uuid, out run_status text, out refusal json,
  out provider text, out provider_model text, out model_alias text,
  out package_id uuid, out package_name text, out version text, out system_prompt text, out history json,
  out output_cap integer, out cache_prompt boolean,
  out first_token_timeout_ms integer, out run_timeout_ms integer, out checkpoint_ms integer, out abandon_after_ms integer,
  out hold_credits bigint, out available_credits bigint,
  out estimated_input integer, out held_input integer, out wanted_output integer,
  out rate_limit integer, out rate_remaining integer, out rate_reset integer
)
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
  p record;
  k record;
  v record;
  talk record;
  fit record;
  now timestamptz;
  cost_left numeric;
  useful integer;
  exact boolean;
  counts boolean;
  prompt_multiplier numeric := 1;
begin
  -- Rows are read whole, as one value: a list of columns is set up anew, column by column, in every call.
  s := (select x from public.settings x);
  u := (select x from public.users x where x.id = begin_run.user_id for no key update);
  if u.id is null then
    raise exception 'user % is unknown', begin_run.user_id using errcode = 'PR404', detail = 'user_id';
  end if;
  now := clock_timestamp() + s.clock_offset;

  -- Seen before: the same run, or the same key.
  select r.id, r.session_id, r.status into k from public.runs r where r.user_id = u.id and r.id = begin_run.run_id;
  if not found and idempotency_key is not null then
    select i.run_id, i.request_hash into k
    from public.idempotency_keys i
    where i.user_id = u.id and i.key = idempotency_key and i.created_at > now - interval '24 hours';
    if found and k.request_hash <> begin_run.request_hash then
      outcome := 'refused';
      refusal := core.describe_refusal('idempotency_conflict', 409,
        'This Idempotency-Key was used for another request. Use a new key for a new request.', now);
      perform core.count_refusal(u.id, refusal, now);
      return;
    end if;
    if found then
      select r.id, r.session_id, r.status into k from public.runs r where r.user_id = u.id and r.id = k.run_id;
    end if;
  end if;
  if found then
    outcome := 'known';
    begun_run_id := k.id;
    begun_session_id := k.session_id;
    run_status := k.status;
    return;
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
  rate_limit := l.minute_request_limit;
  rate_remaining := l.minute_request_limit - least(l.minute_request_limit, u.minute_attempts);
  rate_reset := ceil(extract(epoch from u.minute_ends_at - now));

  -- Looked at closely only where something may stand in the way.
  if u.closed_at is not null or l.tier_name is null or not s.runs_enabled or u.is_throttled or l.paused_until is not null
    or u.minute_attempts > l.minute_request_limit or u.hour_requests >= l.hourly_request_limit
  then
    refusal := core.refuse_by_standing(u, l, s.runs_enabled, now);
  end if;
  if refusal is not null then
    outcome := 'refused';
    perform core.note_refusal(u, refusal, now);
    return;
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

  select x.id, x.name, x.latest_version, x.visibility, x.author_id, x.organization_id into k
  from public.packages x
  where x.id = core.uuid_or_null(begin_run.package);
  if not found then
    select x.id, x.name, x.latest_version, x.visibility, x.author_id, x.organization_id into k
    from public.packages x
    where x.name = lower(begin_run.package);
  end if;
  select x.version, x.prompt, x.tokens_o200k, x.tokens_cl100k, x.tokens_approximate, x.cache_prompt into v
  from public.package_versions x
  where x.package_id = k.id and x.version = coalesce(begin_run.package_version, k.latest_version);

  refusal := case
    when m.alias is null or not m.enabled or p.id is null then core.refuse_by_model(begin_run.model, m, now)
    when k.id is null or v.version is null or k.visibility = 'private' then
      core.refuse_by_package(u.id, begin_run.package, begin_run.package_version, k.id, k.visibility, k.author_id, k.organization_id, v.version, now)
  end;
  if refusal is null and custom_prompt_tokens is not null and not u.verified_author then
    refusal := core.describe_refusal('verified_author_required', 403,
      'Custom prompts are only available to verified authors.', now);
  end if;
  if refusal is null and begin_run.session_id is not null then
    select x.* into talk from core.continue_session(u.id, begin_run.session_id, k.id, m.alias, now) x;
    refusal := talk.refusal;
  end if;
  if refusal is not null then
    outcome := 'refused';
    perform core.note_refusal(u, refusal, now);
    return;
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

  -- How much of it credits and cost windows can bear.
  if l.throttle_on_exceed and not coalesce(u.limits_waived_until > now, false) then
    cost_left := least(
      l.daily_cost_limit - u.current_day_limited_cost - u.day_held_cost,
      l.monthly_cost_limit - u.current_month_limited_cost - u.month_held_cost
    );
  end if;
  fit := core.fit_run(
    held_input, wanted_output, s.tokens_per_credit, m.credit_multiplier, prompt_multiplier,
    greatest(p.input, p.cache_write), p.output,
    u.included_credits - u.held_included, u.purchased_credits - u.held_purchased, cost_left, s.purchased_cost_per_credit_cap
  );
  if fit.output_cap < useful then
    outcome := 'refused';
    available_credits := u.included_credits + u.purchased_credits - u.held_included - u.held_purchased;
    refusal := core.refuse_by_size(
      u, l, s, m, greatest(p.input, p.cache_write), p.output, prompt_multiplier, estimated_input, held_input, wanted_output, useful, cost_left is not null, now
    );
    perform core.note_refusal(u, refusal, now);
    return;
  end if;

  -- It may run.
  counts := fit.hold_included > 0;
  insert into public.runs (
    user_id, id, session_id, status, model, provider_model, package_id, package_version, baseline, tier_name,
    price_id, credit_multiplier, prompt_multiplier, tokens_per_credit, estimated_input, question_tokens, estimate_is_exact,
    output_cap, hold_included, hold_purchased, hold_cost, hold_expires_at, estimated, cost, limited_cost, credits, shortfall, started_at
  ) values (
    u.id, begin_run.run_id, coalesce(begin_run.session_id, begin_run.run_id), 'running', m.alias, m.provider_model, k.id, v.version,
    use_no_prompt, l.tier_name,
    p.id, m.credit_multiplier, prompt_multiplier, s.tokens_per_credit, estimated_input, begin_run.input_tokens, exact,
    fit.output_cap, fit.hold_included, fit.hold_purchased, fit.hold_cost, now + s.hold_ms * interval '1 millisecond', false, 0, 0, 0, 0, now
  );
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
    day_held_cost = u.day_held_cost + case when counts then fit.hold_cost else 0 end, day_ends_at = u.day_ends_at,
    current_month_api_cost = u.current_month_api_cost, current_month_limited_cost = u.current_month_limited_cost,
    month_held_cost = u.month_held_cost + case when counts then fit.hold_cost else 0 end, month_ends_at = u.month_ends_at,
    current_month_requests = u.current_month_requests + 1, total_requests = u.total_requests + 1, last_request_at = now,
    held_included = u.held_included + fit.hold_included, held_purchased = u.held_purchased + fit.hold_purchased,
    open_runs = u.open_runs || begin_run.run_id,
    holds_expire_at = least(u.holds_expire_at, now + s.hold_ms * interval '1 millisecond'),
    updated_at = now
  where x.id = u.id;
  if u.is_throttled then
    perform core.judge_throttle(u.id, now);
  end if;

  outcome := 'started';
  begun_run_id := begin_run.run_id;
  begun_session_id := coalesce(begin_run.session_id, begin_run.run_id);
  run_status := 'running';
  provider := m.provider;
  provider_model := m.provider_model;
  model_alias := m.alias;
  package_id := k.id;
  package_name := k.name;
  version := v.version;
  system_prompt := case when not use_no_prompt and custom_prompt_tokens is null then v.prompt end;
  cache_prompt := v.cache_prompt;
  output_cap := fit.output_cap;
  first_token_timeout_ms := s.first_token_timeout_ms;
  run_timeout_ms := s.run_timeout_ms;
  checkpoint_ms := s.checkpoint_ms;
  abandon_after_ms := s.abandon_after_ms;
  hold_credits := fit.hold_included + fit.hold_purchased;
  available_credits := u.included_credits + u.purchased_credits - u.held_included - u.held_purchased - hold_credits;
end
$$;

comment on function api.begin_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer, text, bytea) is
  'Lets a run in, or says why not: one lock, one transaction. package is an id or name; package_version null is the newest; session_id '
  'null begins a session that has the run''s id; model null is the default; input_tokens is the caller''s own text counted with '
  'counted_with; max_output_tokens null is no wish; custom_prompt_tokens not null: the caller''s own prompt of so many tokens takes the '
  'package''s place. outcome: started (with the exact provider request), known (the run id or key was seen before: see run_status) or '
  'refused (refusal: code, status, figures, when to try again). Errors: PR404 unknown user. Spec 1.3, 1.5, 3.2 to 3.7, 5.1, 5.3, 5.5.';
--! EndIncluded runs/begin_run.sql
--! Included runs/settle_run.sql
create or replace function api.settle_run(
  user_id uuid, run_id uuid, ending text, called boolean,
  input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer, estimated boolean,
  question text, answer text, error text, error_reason text, first_token_ms integer, duration_ms integer,
  out receipt json
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  s public.settings;
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
begin
  s := (select x from public.settings x);
  u := (select x from public.users x where x.id = settle_run.user_id for no key update);
  r := (select x from public.runs x where x.user_id = settle_run.user_id and x.id = settle_run.run_id);
  if r.id is null then
    raise exception 'run % of user % is unknown', settle_run.run_id, settle_run.user_id using errcode = 'PR404', detail = 'run_id';
  end if;
  now := clock_timestamp() + s.clock_offset;
  if r.status <> 'running' then
    receipt := core.settle_again(
      r, ending, called, settle_run.input_tokens, settle_run.cached_tokens, settle_run.cache_write_tokens, settle_run.output_tokens,
      settle_run.estimated, question, answer, settle_run.error, settle_run.error_reason, settle_run.first_token_ms, settle_run.duration_ms, now
    );
    return;
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
  r.limited_cost := core.limited_part(r.cost, due, from_included, from_purchased, r.hold_included = 0 and r.hold_purchased > 0);

  -- Take it from the lots: as a rule from the one that is spent first.
  if r.credits > 0 then
    if from_included = 0 or from_purchased = 0 then
      update public.credit_lots x
      set remaining = x.remaining - r.credits
      where x.user_id = u.id and x.id = u.spend_lot and x.remaining > r.credits and (x.kind = 'purchased') = (from_included = 0)
      returning x.kind into lot_kind;
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
    else
      select x.by_kind, x.transaction_count, x.spend_lot, x.next_lot_expiry into spent
      from core.spend_lots(u, r.id, from_included, from_purchased, now) x;
      r.credits_by_kind := spent.by_kind;
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
    shortfall = r.shortfall, credits_by_kind = r.credits_by_kind, error = settle_run.error, error_reason = settle_run.error_reason,
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
  receipt := core.write_receipt(r, u, l);
end
$$;

comment on function api.settle_run(uuid, uuid, text, boolean, integer, integer, integer, integer, boolean, text, text, text, text, integer, integer) is
  'Ends a run by what really happened, books its exact cost and charges it: one lock, one transaction, once. ending: completed, length, '
  'stopped, failed or expired; called: whether a request may have reached the provider; tokens as the provider reported, input_tokens null '
  'where the report was lost (then the estimate stands in); answer: what was delivered. A failure that delivered nothing charges nothing, '
  'its cost counts all the same. Called again it answers the same receipt; after an expiry it books the difference. Returns the receipt '
  '(see core.write_receipt). Errors: PR404 unknown run. Spec 1.1, 1.3, 3.2 to 3.4, 4.2, 4.5, 5.4.';
--! EndIncluded runs/settle_run.sql
--! Included runs/release_run.sql
create or replace function api.release_run(
  user_id uuid, run_id uuid, called boolean,
  input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer,
  question text, error text, error_reason text, duration_ms integer,
  out receipt json
)
language sql
security definer
set search_path = ''
begin atomic
  select api.settle_run(
    release_run.user_id, release_run.run_id, 'failed', release_run.called,
    release_run.input_tokens, release_run.cached_tokens, release_run.cache_write_tokens, release_run.output_tokens,
    release_run.called and release_run.input_tokens is null,
    release_run.question, '', release_run.error, release_run.error_reason, null, release_run.duration_ms
  );
end;

comment on function api.release_run(uuid, uuid, boolean, integer, integer, integer, integer, text, text, text, integer) is
  'Ends a run that delivered nothing because of us or the provider: nothing is charged, what the call cost is booked. Returns the receipt. '
  'Errors: PR404 unknown run. Spec 5.4.';
--! EndIncluded runs/release_run.sql
--! Included runs/checkpoint_run.sql
create or replace function api.checkpoint_run(
  user_id uuid, run_id uuid, question text, answer text,
  output_tokens integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer,
  out status text, out stop_requested boolean
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  s record;
  r record;
begin
  select x.hold_ms, x.clock_offset into s from public.settings x;
  update public.runs x
  set
    hold_expires_at = greatest(x.hold_expires_at, clock_timestamp() + s.clock_offset + s.hold_ms * interval '1 millisecond'),
    output_tokens = checkpoint_run.output_tokens,
    input_tokens = checkpoint_run.input_tokens,
    cached_tokens = checkpoint_run.cached_tokens,
    cache_write_tokens = checkpoint_run.cache_write_tokens
  where x.user_id = checkpoint_run.user_id and x.id = checkpoint_run.run_id and x.status = 'running'
  returning x.session_id, x.stop_requested_at into r;

  if found then
    perform core.keep_texts(checkpoint_run.user_id, r.session_id, checkpoint_run.run_id, question, answer);
    status := 'running';
    stop_requested := r.stop_requested_at is not null;
  else
    select x.status, true into status, stop_requested
    from public.runs x
    where x.user_id = checkpoint_run.user_id and x.id = checkpoint_run.run_id;
  end if;
end
$$;

comment on function api.checkpoint_run(uuid, uuid, text, text, integer, integer, integer, integer) is
  'Stores what a running run has produced so far, moves its hold''s expiry on and tells whether a stop was asked for elsewhere. Tokens null '
  'where not known yet. status is null for an unknown run; any other than running means: stop. Locks the run''s row alone. Spec 5.2.';
--! EndIncluded runs/checkpoint_run.sql
--! Included runs/reopen_run.sql
create or replace function core.reopen_run(r public.runs, now timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  t record;
  purchased_alone boolean;
begin
  -- Give back what the expiry charged, newest transfer first, to the lots it came from.
  for t in
    select x.lot_id, x.amount
    from public.credit_transactions x
    where x.user_id = r.user_id and x.run_id = r.id and x.type = 'spend'
    order by x.id desc
  loop
    perform core.move_credits(
      r.user_id, t.lot_id, 'refund', 'spent', 'lot', t.amount, reopen_run.now, run_id => r.id,
      description => 'The run was not dead: charged anew by what it really used'
    );
  end loop;

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
    status = 'running', cost = 0, limited_cost = 0, credits = 0, shortfall = 0, credits_by_kind = null, error = null, error_reason = null,
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
returns json
language plpgsql
set search_path = ''
as $$
declare
  u public.users;
  l public.cost_limits_config;
begin
  if r.status = 'expired' and r.error = 'run_expired' and settle_again.ending <> 'expired' then
    perform core.reopen_run(r, settle_again.now);
    return api.settle_run(
      r.user_id, r.id, settle_again.ending, settle_again.called, settle_again.input_tokens, settle_again.cached_tokens,
      settle_again.cache_write_tokens, settle_again.output_tokens, settle_again.estimated, settle_again.question, settle_again.answer,
      settle_again.error, settle_again.error_reason, settle_again.first_token_ms, settle_again.duration_ms
    );
  end if;
  select x.* into strict u from public.users x where x.id = r.user_id;
  u := core.roll_windows(u, settle_again.now);
  l := core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, settle_again.now));
  return core.write_receipt(r, u, l);
end
$$;

comment on function core.settle_again(public.runs, text, boolean, integer, integer, integer, integer, boolean, text, text, text, text, integer, integer, timestamptz) is
  'Answers a settlement of a run that has ended: the receipt as it stands. But if the run had been taken for dead (expired) and its server '
  'comes back with what really happened, that is booked in place of the expiry''s guess. The caller holds the user''s row. Spec 5.3.';
--! EndIncluded runs/settle_again.sql
--! Included runs/expire_user_holds.sql
create or replace function core.expire_user_holds(user_id uuid, now timestamptz)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  open_runs uuid[];
  open_run uuid;
  r public.runs;
  next_expiry timestamptz := timestamptz 'infinity';
  text_so_far text;
  expired integer := 0;
begin
  select u.open_runs into strict open_runs from public.users u where u.id = expire_user_holds.user_id for no key update;

  foreach open_run in array open_runs loop
    select x.* into r from public.runs x where x.user_id = expire_user_holds.user_id and x.id = open_run for no key update;
    if r.hold_expires_at > now then
      next_expiry := least(next_expiry, r.hold_expires_at);
    else
      select t.answer into text_so_far
      from public.run_texts t
      where t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id;
      perform api.settle_run(
        r.user_id, r.id, 'expired', true, r.input_tokens, r.cached_tokens, r.cache_write_tokens, coalesce(r.output_tokens, 0), true,
        null, coalesce(text_so_far, ''), 'run_expired', 'The server that ran it is gone.', null, null
      );
      expired := expired + 1;
    end if;
  end loop;

  update public.users u set holds_expire_at = next_expiry where u.id = expire_user_holds.user_id;
  return expired;
end
$$;

comment on function core.expire_user_holds(uuid, timestamptz) is
  'Ends a user''s running runs whose hold has expired, because their server is gone: what the last checkpoint had is charged, the rest '
  'released; with no text nothing is charged and the estimated input is booked as cost. Returns how many. Locks the user''s row. Spec 5.2, 7.1.';
--! EndIncluded runs/expire_user_holds.sql
--! Included runs/expire_holds.sql
create or replace function ops.expire_holds()
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  candidate uuid;
  expired integer := 0;
begin
  for candidate in
    select u.id from public.users u where u.holds_expire_at <= now order by u.id
  loop
    perform from public.users u where u.id = candidate for no key update skip locked;
    if found then
      expired := expired + core.expire_user_holds(candidate, now);
    end if;
  end loop;
  return expired;
end
$$;

comment on function ops.expire_holds() is
  'Ends runs whose server is gone: charges what their last checkpoint had, releases the rest. Passes over users whose row is in use; those '
  'heal on use. Returns how many runs it ended. Call: select ops.expire_holds(); Spec 7.1.';
--! EndIncluded runs/expire_holds.sql
--! Included runs/estimate_run.sql
create or replace function api.estimate_run(
  user_id uuid, run_id uuid, package text, package_version text, session_id uuid, model text, use_no_prompt boolean,
  input_tokens integer, counted_with text, max_output_tokens integer, custom_prompt_tokens integer
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
      estimate_run.max_output_tokens, estimate_run.custom_prompt_tokens, null, null
    ) x;
    raise exception using errcode = 'PR000';
  exception when sqlstate 'PR000' then
    null;
  end;

  select x.* into s from public.settings x;
  select x.* into m from public.models x where x.alias = estimate_run.model or estimate_run.model is null and x.is_default;
  if estimate_run.custom_prompt_tokens is not null then
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
    'refusal', b.refusal
  );
end
$$;

comment on function api.estimate_run(uuid, uuid, text, text, uuid, text, boolean, integer, text, integer, integer) is
  'What a run would cost, and the refusal that it would meet: begins it by the very rules of a run, and takes that back. Credits and tokens '
  'least, likely (by this package''s and model''s usual answer) and most; null where the refusal came before the size was known. '
  'run_id is any new id. Errors: PR404 unknown user. Spec 5.7.';
--! EndIncluded runs/estimate_run.sql
--! Included runs/read_run.sql
create or replace function api.read_run(user_id uuid, run_id uuid, out receipt json, out question text, out answer text)
returns setof record
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  u public.users;
  r public.runs;
  now timestamptz := core.now();
begin
  select x.* into r from public.runs x where x.user_id = read_run.user_id and x.id = read_run.run_id;
  if not found then
    return;
  end if;
  select x.* into u from public.users x where x.id = read_run.user_id;
  u := core.roll_windows(u, now);
  receipt := core.write_receipt(r, u, core.find_limits(core.tier_at(u.tier_override, u.plan_tier, u.entitled_until, now)));
  select t.question, t.answer into question, answer
  from public.run_texts t
  where t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id;
  return next;
end
$$;

comment on function api.read_run(uuid, uuid) is
  'A run of this user: receipt as it stands (see core.write_receipt), question and answer so far. No row for an unknown run or another''s. '
  'Spec 5.2.';
--! EndIncluded runs/read_run.sql
--! Included runs/stop_run.sql
create or replace function api.stop_run(user_id uuid, run_id uuid)
returns table (status text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  now timestamptz := core.now();
begin
  update public.runs r
  set stop_requested_at = now
  where r.user_id = stop_run.user_id and r.id = stop_run.run_id and r.status = 'running' and r.stop_requested_at is null;

  return query
    select r.status from public.runs r where r.user_id = stop_run.user_id and r.id = stop_run.run_id;
end
$$;

comment on function api.stop_run(uuid, uuid) is
  'Asks a run to stop; the server that runs it sees so at once or at its next checkpoint. Returns its status now; no row for an unknown run '
  'or another''s. Spec 5.2.';
--! EndIncluded runs/stop_run.sql
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
    select v.package_id, v.version, v.tokens_o200k >= s.cache_min_tokens and coalesce(recent.runs, 0) > s.cache_min_runs as pays
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
  'settings.cache_min_runs times in the last five minutes (a write to the cache costs more than one read saves). Returns how many marks '
  'changed. For a job each minute. Call: select ops.choose_cached_prompts(); Spec 5.6.';
--! EndIncluded runs/choose_cached_prompts.sql
--! Included runs/forget_keys.sql
create or replace function ops.forget_keys()
returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
  before timestamptz := core.now() - interval '24 hours';
  forgotten bigint;
begin
  delete from public.idempotency_keys i where i.created_at < before;
  get diagnostics forgotten = row_count;
  return forgotten;
end
$$;

comment on function ops.forget_keys() is
  'Drops idempotency keys that are older than 24 hours. Returns how many. Call: select ops.forget_keys(); Spec 5.3.';
--! EndIncluded runs/forget_keys.sql

-- sessions
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
    coalesce(totals.run_count, 0),
    coalesce(totals.credits, 0),
    coalesce(totals.tokens, 0),
    coalesce(totals.duration_ms, 0),
    s.created_at,
    s.last_run_at
  from public.sessions s
  left join public.packages p on p.id = s.package_id
  left join public.runs newest on newest.user_id = s.user_id and newest.id = s.last_run_id
  left join (
    select
      r.session_id,
      count(*) as run_count,
      sum(r.credits)::bigint as credits,
      sum(coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0))::bigint as tokens,
      sum(coalesce(r.duration_ms, 0))::bigint as duration_ms
    from public.runs r
    where r.user_id = describe_sessions.user_id and r.session_id = any (describe_sessions.session_ids)
    group by r.session_id
  ) totals on totals.session_id = s.id
  where s.user_id = describe_sessions.user_id and s.id = any (describe_sessions.session_ids) and s.deleted_at is null
  order by s.last_run_at desc, s.id desc;
end;

comment on function core.describe_sessions(uuid, uuid[]) is
  'Headers of a user''s sessions, newest first, without texts: title (or the first 120 characters of the first question), package, '
  'version, model and status of the newest run, and sums over all its runs: runs, credits, tokens (input and output), milliseconds. '
  'Reads the user''s runs once, whether or not their texts are still kept. Spec 10.1.';
--! EndIncluded sessions/describe_sessions.sql
--! Included sessions/list_sessions.sql
create or replace function api.list_sessions(
  user_id uuid, "limit" integer default 20, cursor text default null, "offset" integer default 0
)
returns table (sessions json, next_cursor text, total bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  after text[] := core.decode_cursor(list_sessions.cursor, 'timestamptz', 'uuid');
  page uuid[];
begin
  perform core.check_page("limit", "offset");

  select array_agg(p.id) into page
  from (
    select s.id
    from public.sessions s
    where s.user_id = list_sessions.user_id and s.deleted_at is null
      and (after is null or (s.last_run_at, s.id) < (after[1]::timestamptz, after[2]::uuid))
    order by s.last_run_at desc, s.id desc
    offset "offset"
    limit "limit" + 1
  ) p;

  if cardinality(page) > "limit" then
    page := page[:"limit"];
    select core.encode_cursor(to_json(s.last_run_at) #>> '{}', s.id::text) into next_cursor
    from public.sessions s
    where s.user_id = list_sessions.user_id and s.id = page["limit"];
  end if;

  select coalesce(json_agg(d), '[]') into sessions from core.describe_sessions(list_sessions.user_id, page) d;
  select count(*) into total
  from public.sessions s
  where s.user_id = list_sessions.user_id and s.deleted_at is null;
  return next;
end
$$;

comment on function api.list_sessions(uuid, integer, text, integer) is
  'One page of a user''s own sessions, newest run first. One row: sessions (JSON array of the columns of core.describe_sessions; no texts but '
  'a title), next_cursor (null on the last page) and total (all of the user''s sessions). limit 1 to 100; cursor is the next_cursor of the page '
  'before; offset skips rows after it. Errors: PR400 naming limit, offset or cursor. Spec 10.1, 10.7.';
--! EndIncluded sessions/list_sessions.sql
--! Included sessions/read_session.sql
create or replace function api.read_session(user_id uuid, session_id uuid)
returns table (
  id uuid, title text, package_id uuid, package_name text, package_version text, model text, last_status text,
  run_count bigint, credits_spent bigint, total_tokens bigint, total_duration_ms bigint, created_at timestamptz, last_run_at timestamptz,
  exchanges json
)
language sql
stable
security definer
set search_path = ''
begin atomic
  select
    d.id, d.title, d.package_id, d.package_name, d.package_version, d.model, d.last_status,
    d.run_count, d.credits_spent, d.total_tokens, d.total_duration_ms, d.created_at, d.last_run_at,
    coalesce((
      select json_agg(json_build_object(
        'run_id', r.id,
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
        'started_at', r.started_at,
        'finished_at', r.finished_at
      ) order by t.run_id)
      from public.run_texts t
      join public.runs r on r.user_id = t.user_id and r.id = t.run_id
      where t.user_id = read_session.user_id and t.session_id = read_session.session_id
    ), '[]')
  from core.describe_sessions(read_session.user_id, array[read_session.session_id]) d;
end;

comment on function api.read_session(uuid, uuid) is
  'A user''s own session: its header as in api.list_sessions, and exchanges, a JSON array in the order of the conversation with question, '
  'answer, status, model, credits, tokens and times of each run whose text is kept. No row for a session that is unknown, deleted or '
  'another user''s. Spec 10.1.';
--! EndIncluded sessions/read_session.sql
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
  known constant text[] := array['signup', 'monthly', 'purchase', 'spend', 'rollover', 'expire', 'refund', 'bonus', 'admin'];
  after text[] := core.decode_cursor(list_credit_history.cursor, 'bigint');
  page bigint[];
begin
  perform core.check_page("limit", "offset");
  if list_credit_history.type <> all (known) then
    raise exception 'type % is none of %', list_credit_history.type, array_to_string(known, ', ')
      using errcode = 'PR400', detail = 'type', hint = 'Leave type out to see every movement.';
  end if;

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

  select coalesce(json_agg(json_build_object(
    'id', t.id,
    'type', t.type,
    'amount', case when t.credit = 'lot' then t.amount else -t.amount end,
    'balance_after', t.balance_after,
    'kind', l.kind,
    'description', coalesce(t.description, 'Run with ' || r.model),
    'session_id', r.session_id,
    'run_id', t.run_id,
    'purchase_id', t.purchase_id,
    'created_at', t.created_at
  ) order by t.id desc), '[]') into transactions
  from public.credit_transactions t
  left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
  left join public.runs r on r.user_id = t.user_id and r.id = t.run_id
  where t.user_id = list_credit_history.user_id and t.id = any (page);

  select count(*) into total
  from public.credit_transactions t
  where t.user_id = list_credit_history.user_id and (list_credit_history.type is null or t.type = list_credit_history.type);
  return next;
end
$$;

comment on function api.list_credit_history(uuid, text, integer, text, integer) is
  'One page of a user''s own credit movements, newest first. One row: transactions (JSON array: id, type, amount in credits, above 0 into lots '
  'and below 0 out of them, balance_after, kind of lot, description, session_id, run_id, purchase_id, created_at), next_cursor (null on the '
  'last page) and total (all movements of that type). Errors: PR400 naming type (with the types known), limit, offset or cursor. Spec 4.2, 10.7.';
--! EndIncluded credits/list_credit_history.sql

-- analytics
--! Included analytics/user_cost_figures.sql
-- Made anew each time: what depends on it stands in user_cost_analytics.sql, which follows.
drop materialized view if exists core.user_cost_figures cascade;

create materialized view core.user_cost_figures as
select
  f.user_id,
  f.email,
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
  f.user_created_at,
  round(100 * f.month_limited_cost / c.monthly_cost_limit, 2) as percent_of_limit
from (
  select
    u.id as user_id,
    u.email,
    u.prpm_plus_status,
    case when u.month_ends_at > clock.now then u.current_month_api_cost else 0 end as month_cost,
    case when u.month_ends_at > clock.now then u.current_month_limited_cost else 0 end as month_limited_cost,
    case when u.month_ends_at > clock.now then u.current_month_requests else 0 end as month_requests,
    u.lifetime_api_cost,
    u.total_requests,
    coalesce(paying.monthly_amount, 0) as monthly_revenue,
    core.throttled_at(u, clock.now) as is_throttled,
    u.last_request_at,
    u.created_at as user_created_at,
    core.tier_now(u) as tier_name
  from (select core.now() as now offset 0) clock
  cross join public.users u
  left join (
    select s.user_id, sum(s.monthly_amount) as monthly_amount
    from public.subscriptions s
    where s.status in ('active', 'past_due') and s.ended_at is null
    group by s.user_id
  ) paying on paying.user_id = u.id and u.entitled_until > clock.now
) f
left join public.cost_limits_config c on c.tier_name = f.tier_name;

create unique index user_cost_figures_user on core.user_cost_figures (user_id);

comment on materialized view core.user_cost_figures is
  'Each user''s cost and revenue as of the last refresh; read it as public.user_cost_analytics, where its columns are explained. Spec 8.1.';
--! EndIncluded analytics/user_cost_figures.sql
--! Included analytics/user_cost_analytics.sql
create table if not exists core.analytics_refresh (
  only_row boolean primary key default true check (only_row),
  refreshed_at timestamptz not null default clock_timestamp()
);
comment on table core.analytics_refresh is 'ops. When public.refresh_user_cost_analytics last did its work.';
comment on column core.analytics_refresh.only_row is 'There is one row.';
comment on column core.analytics_refresh.refreshed_at is 'By the machine''s own clock, so that now() less it is the age of the figures.';
insert into core.analytics_refresh default values on conflict do nothing;

create or replace view public.user_cost_analytics as
select
  f.user_id,
  f.email,
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
  f.user_created_at,
  a.refreshed_at as created_at,
  f.percent_of_limit
from core.user_cost_figures f
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
--! Included analytics/package_model_usage.sql
drop materialized view if exists core.package_model_usage cascade;

create materialized view core.package_model_usage as
select
  r.package_id,
  r.model,
  count(*) as runs,
  round(avg(r.output_tokens))::integer as average_output_tokens
from public.runs r
where r.status = 'completed' and not r.baseline and r.output_tokens is not null
group by r.package_id, r.model;

create unique index package_model_usage_key on core.package_model_usage (package_id, model);

comment on materialized view core.package_model_usage is
  'How long answers are, by package and model, over all completed runs with the package''s prompt; from it comes the likely figure of an '
  'estimate. As fresh as the last public.refresh_user_cost_analytics(). Spec 5.7.';
comment on column core.package_model_usage.package_id is 'The package.';
comment on column core.package_model_usage.model is 'models.alias.';
comment on column core.package_model_usage.runs is 'Completed runs, baselines left out.';
comment on column core.package_model_usage.average_output_tokens is 'Tokens that an answer had on average.';
--! EndIncluded analytics/package_model_usage.sql
--! Included analytics/refresh_view.sql
create or replace function core.refresh_view(view regclass)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if (select c.relispopulated from pg_catalog.pg_class c where c.oid = view) then
    execute format('refresh materialized view concurrently %s', view);
  else
    execute format('refresh materialized view %s', view);
  end if;
end
$$;

comment on function core.refresh_view(regclass) is
  'Refreshes a materialized view while others read it; one that was never filled (as after a restore of the schema alone) is filled. '
  'The caller owns it. Spec 8.1.';
--! EndIncluded analytics/refresh_view.sql
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

  perform core.refresh_view('core.user_cost_figures');
  perform core.refresh_view('core.package_model_usage');
  update core.analytics_refresh a set refreshed_at = clock_timestamp();

  select count(*) into people from core.user_cost_figures;
  return format('refreshed %s user%s', people, case when people <> 1 then 's' end);
end
$$;

comment on function public.refresh_user_cost_analytics() is
  'Brings user_cost_analytics, and what estimates draw on, up to date without holding up readers. Returns how many users there are, or that '
  'a refresh is running, at once. Spec 7.4, 8.1.';
--! EndIncluded analytics/refresh_user_cost_analytics.sql

-- operator's views and explainers
--! Included limits/users_at_risk.sql
create or replace view ops.users_at_risk as
select
  u.id as user_id,
  u.email,
  t.tier_name,
  u.current_month_limited_cost as limited_cost_dollars,
  u.current_month_api_cost as cost_dollars,
  t.monthly_cost_limit as limit_dollars,
  round(100 * u.current_month_limited_cost / t.monthly_cost_limit, 1) as percent_of_limit,
  core.throttled_at(u, (select core.now())) as is_throttled,
  u.throttled_until,
  u.month_ends_at as resets_at,
  u.last_request_at
from public.users u
join public.cost_limits_config t on t.tier_name = core.tier_now(u)
where u.current_month_limited_cost > 0
  and u.month_ends_at > (select core.now())
  and u.current_month_limited_cost > 0.75 * t.monthly_cost_limit
order by u.last_request_at desc nulls last;

comment on view ops.users_at_risk is
  'Who has used more than 75 % of the monthly limit of their true tier? Latest run first. Counts only cost that counts against limits, and '
  'only while its month lasts. Spec 3.3, 12.';
comment on column ops.users_at_risk.user_id is 'Who.';
comment on column ops.users_at_risk.email is 'Verified e-mail, or null.';
comment on column ops.users_at_risk.tier_name is 'Tier by core.tier_now.';
comment on column ops.users_at_risk.limited_cost_dollars is 'US dollars this month that count against the limit.';
comment on column ops.users_at_risk.cost_dollars is 'US dollars this month in all, what purchased credits paid for included.';
comment on column ops.users_at_risk.limit_dollars is 'US dollars: the tier''s monthly limit.';
comment on column ops.users_at_risk.percent_of_limit is 'Percent of the limit used; above 100 where limits do not throttle.';
comment on column ops.users_at_risk.is_throttled is 'True while throttled.';
comment on column ops.users_at_risk.throttled_until is 'When the throttle ends by itself, or null.';
comment on column ops.users_at_risk.resets_at is 'End of the month window.';
comment on column ops.users_at_risk.last_request_at is 'When the last run was let in.';
--! EndIncluded limits/users_at_risk.sql
--! Included limits/tier_differences.sql
create or replace view ops.tier_differences as
select * from (
  select
    u.last_request_at,
    u.id as user_id,
    u.email,
    case
      when u.prpm_plus_status is distinct from 'active' then 'free'
      when exists (select from public.organization_members m where m.user_id = u.id) then 'prpm_plus_org'
      else 'prpm_plus_individual'
    end as guide_tier,
    core.tier_now(u) as true_tier,
    u.tier_override,
    u.plan_tier,
    u.entitled_until,
    u.prpm_plus_status
  from public.users u
) t
where t.guide_tier <> t.true_tier
order by t.last_request_at desc nulls last;

comment on view ops.tier_differences is
  'For whom is the tier in the guide''s query not the true one? Its CASE knows neither overrides, further plans, verification of organizations '
  'nor tiers that are no longer active. Latest run first. Spec 12.';
comment on column ops.tier_differences.last_request_at is 'When the last run was let in.';
comment on column ops.tier_differences.user_id is 'Who.';
comment on column ops.tier_differences.email is 'Verified e-mail, or null.';
comment on column ops.tier_differences.guide_tier is 'Tier by the guide''s CASE.';
comment on column ops.tier_differences.true_tier is 'Tier by core.tier_now: the one whose limits hold.';
comment on column ops.tier_differences.tier_override is 'What an operator gave, or null.';
comment on column ops.tier_differences.plan_tier is 'Tier of the plan last paid for, or null.';
comment on column ops.tier_differences.entitled_until is 'Until when plan_tier holds.';
comment on column ops.tier_differences.prpm_plus_status is 'The subscription''s state as the guide reads it.';
--! EndIncluded limits/tier_differences.sql
--! Included limits/throttled_now.sql
create or replace view ops.throttled_now as
select
  u.throttled_at,
  u.id as user_id,
  u.email,
  core.tier_now(u) as tier_name,
  coalesce(u.throttled_by, 'plain update') as throttled_by,
  u.throttled_reason,
  case when u.throttled_by is not null then u.throttled_until end as throttled_until,
  case when u.month_ends_at > (select core.now()) then u.current_month_limited_cost else 0 end as month_limited_cost_dollars,
  case when u.day_ends_at > (select core.now()) then u.current_day_limited_cost else 0 end as day_limited_cost_dollars,
  format('select * from ops.release_throttle(%L, reason => %L)', u.id, '…') as lift_with
from public.users u
where u.is_throttled and core.throttled_at(u, (select core.now()))
order by u.throttled_at desc nulls last;

comment on view ops.throttled_now is
  'Who is throttled, why and until when? Newest first; throttles that are past their end are left out. Spec 3.4, 12.';
comment on column ops.throttled_now.throttled_at is 'Since when; null for a plain UPDATE.';
comment on column ops.throttled_now.user_id is 'Who.';
comment on column ops.throttled_now.email is 'Verified e-mail, or null.';
comment on column ops.throttled_now.tier_name is 'Tier by core.tier_now.';
comment on column ops.throttled_now.throttled_by is 'limit, operator (ops.throttle_user), or plain update of the column.';
comment on column ops.throttled_now.throttled_reason is 'Why, in words.';
comment on column ops.throttled_now.throttled_until is 'When it ends by itself; null: when it is lifted.';
comment on column ops.throttled_now.month_limited_cost_dollars is 'US dollars this month that count against the limit.';
comment on column ops.throttled_now.day_limited_cost_dollars is 'US dollars today that count against the limit.';
comment on column ops.throttled_now.lift_with is 'A call to paste.';
--! EndIncluded limits/throttled_now.sql
--! Included limits/refusals.sql
create or replace view ops.refusals as
select
  r.last_at,
  r.user_id,
  u.email,
  r.reason,
  r.hour as hour_start,
  r.count as refusals,
  r.limit_value,
  r.used_value,
  case
    when r.reason in ('daily_cost_limit', 'monthly_cost_limit') then 'dollars'
    when r.reason = 'rate_limited' then 'attempts'
    when r.reason = 'hourly_request_limit' then 'runs'
    when r.reason = 'request_too_large' then 'tokens'
    when r.reason = 'held_by_other_runs' then 'credits'
  end as unit
from public.refusals r
left join public.users u on u.id = r.user_id
order by r.last_at desc;

comment on view ops.refusals is
  'Who was refused a run, for what reason, how often and at what figures? Newest first, one row for each user, reason and hour. Spec 3.7.';
comment on column ops.refusals.last_at is 'When the last one of that hour was.';
comment on column ops.refusals.user_id is 'Who was refused.';
comment on column ops.refusals.email is 'Verified e-mail, or null.';
comment on column ops.refusals.reason is 'Code of the refusal (docs/errors.md).';
comment on column ops.refusals.hour_start is 'Start of the hour (UTC).';
comment on column ops.refusals.refusals is 'How many in that hour.';
comment on column ops.refusals.limit_value is 'The limit at the last one, in unit.';
comment on column ops.refusals.used_value is 'What was used at the last one, in unit.';
comment on column ops.refusals.unit is 'dollars, attempts, runs, tokens or credits; null where the reason has no figures.';
--! EndIncluded limits/refusals.sql
--! Included runs/open_holds.sql
create or replace view ops.open_holds as
select
  r.started_at,
  r.user_id,
  u.email,
  r.id as run_id,
  r.model,
  r.hold_included as included_credits_held,
  r.hold_purchased as purchased_credits_held,
  r.hold_cost as cost_held_dollars,
  r.hold_expires_at,
  round(extract(epoch from r.hold_expires_at - (select core.now())), 1) as expires_in_seconds
from public.users u
cross join lateral unnest(u.open_runs) as open (run_id)
join public.runs r on r.user_id = u.id and r.id = open.run_id
order by r.started_at desc;

comment on view ops.open_holds is
  'What do running runs hold? Newest first. One whose expiry is past is ended by its user''s next run, or by the job. Spec 3.2, 4.5.';
comment on column ops.open_holds.started_at is 'When the run was let in.';
comment on column ops.open_holds.user_id is 'Who runs.';
comment on column ops.open_holds.email is 'Verified e-mail, or null.';
comment on column ops.open_holds.run_id is 'The run.';
comment on column ops.open_holds.model is 'models.alias.';
comment on column ops.open_holds.included_credits_held is 'Credits held that were not purchased.';
comment on column ops.open_holds.purchased_credits_held is 'Purchased credits held.';
comment on column ops.open_holds.cost_held_dollars is 'US dollars: the run''s worst case.';
comment on column ops.open_holds.hold_expires_at is 'When the run is taken for dead unless a checkpoint comes.';
comment on column ops.open_holds.expires_in_seconds is 'Seconds until then; below 0 when it is past.';
--! EndIncluded runs/open_holds.sql
--! Included runs/runs_live.sql
create or replace view ops.runs_live as
select
  r.started_at,
  r.user_id,
  u.email,
  r.id as run_id,
  r.model,
  p.name as package_name,
  r.package_version,
  r.baseline,
  r.output_tokens as output_tokens_so_far,
  r.output_cap as output_cap_tokens,
  round(extract(epoch from (select core.now()) - r.started_at), 1) as running_for_seconds,
  r.stop_requested_at
from public.users u
cross join lateral unnest(u.open_runs) as open (run_id)
join public.runs r on r.user_id = u.id and r.id = open.run_id
left join public.packages p on p.id = r.package_id
order by r.started_at desc;

comment on view ops.runs_live is 'What is running right now, for whom, and how far is it? Newest first. Spec 12.';
comment on column ops.runs_live.started_at is 'When the run was let in.';
comment on column ops.runs_live.user_id is 'Who runs.';
comment on column ops.runs_live.email is 'Verified e-mail, or null.';
comment on column ops.runs_live.run_id is 'The run.';
comment on column ops.runs_live.model is 'models.alias.';
comment on column ops.runs_live.package_name is 'The package.';
comment on column ops.runs_live.package_version is 'The version of it.';
comment on column ops.runs_live.baseline is 'True: run without the package''s prompt.';
comment on column ops.runs_live.output_tokens_so_far is 'Tokens written by the last checkpoint; null before the first.';
comment on column ops.runs_live.output_cap_tokens is 'Tokens: the most that it can write.';
comment on column ops.runs_live.running_for_seconds is 'Seconds since it was let in.';
comment on column ops.runs_live.stop_requested_at is 'When a stop was asked for, or null.';
--! EndIncluded runs/runs_live.sql
--! Included runs/estimate_errors.sql
create or replace view ops.estimate_errors as
select
  max(r.started_at) as newest_run_at,
  r.model,
  r.estimate_is_exact,
  count(*) as runs,
  count(*) filter (where r.input_tokens > r.estimated_input) as runs_under_estimated,
  round(100.0 * count(*) filter (where r.input_tokens > r.estimated_input) / count(*), 2) as percent_under_estimated,
  round((percentile_cont(0.5) within group (order by 100.0 * (r.estimated_input - r.input_tokens) / r.input_tokens))::numeric, 2)
    as median_error_percent,
  round(max(100.0 * (r.input_tokens - r.estimated_input) / r.input_tokens), 2) as worst_under_percent,
  round(max(100.0 * (r.estimated_input - r.input_tokens) / r.input_tokens), 2) as worst_over_percent
from public.runs r
where r.input_tokens > 0 and not r.estimated and r.status <> 'running'
group by r.model, r.estimate_is_exact
order by newest_run_at desc;

comment on view ops.estimate_errors is
  'How far are token estimates from what providers report? One row for each model and way of counting, over all runs with a report. '
  'At most 1 percent may be under-estimated. Reads every run. Spec 1.6.';
comment on column ops.estimate_errors.newest_run_at is 'When the newest run counted here began.';
comment on column ops.estimate_errors.model is 'models.alias.';
comment on column ops.estimate_errors.estimate_is_exact is 'True: counted by the model''s own tokenizer.';
comment on column ops.estimate_errors.runs is 'Runs with a usage report.';
comment on column ops.estimate_errors.runs_under_estimated is 'Runs whose input was larger than estimated.';
comment on column ops.estimate_errors.percent_under_estimated is 'Their share, in percent.';
comment on column ops.estimate_errors.median_error_percent is 'Middle error in percent of the actual input; above 0 is estimated too high.';
comment on column ops.estimate_errors.worst_under_percent is 'Largest shortfall in percent of the actual input; below 0: none was under.';
comment on column ops.estimate_errors.worst_over_percent is 'Largest excess in percent of the actual input.';
--! EndIncluded runs/estimate_errors.sql
--! Included catalog/unpriced_models.sql
create or replace view ops.unpriced_models as
select
  m.alias as model,
  m.provider,
  m.provider_model,
  m.enabled,
  max(upper(p.valid)) filter (where upper(p.valid) <= (select core.now())) as last_price_ended_at,
  min(lower(p.valid)) filter (where lower(p.valid) > (select core.now())) as next_price_starts_at,
  format(
    'insert into model_prices (model, valid, input, output) values (%L, tstzrange(now(), null), …, …)', m.alias
  ) as price_with
from public.models m
left join public.model_prices p on p.model = m.alias
group by m.alias
having not coalesce(bool_or(p.valid @> (select core.now())), false)
order by last_price_ended_at desc nulls last, m.alias;

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
--! Included credits/explain_balance.sql
create or replace function ops.explain_balance("user" text)
returns table (step bigint, at timestamptz, type text, change bigint, balance bigint, lot text, explanation text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  u public.users;
  clock timestamptz := core.now();
  expired bigint;
  available bigint;
begin
  select x.* into u from public.users x where x.id = core.find_user("user");

  return query
  select
    t.id,
    t.created_at,
    t.type,
    signed.change,
    sum(signed.change) over (order by t.id)::bigint,
    l.kind,
    concat_ws('; ', t.description, 'run ' || t.run_id, 'purchase ' || t.purchase_id, 'subscription ' || t.subscription_id, 'by ' || t.actor)
  from public.credit_transactions t
  cross join lateral (select case when t.credit = 'lot' then t.amount else -t.amount end as change) signed
  left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
  where t.user_id = u.id
  order by t.id;

  select
    coalesce(sum(h.remaining) filter (where h.expires_at <= clock), 0),
    coalesce(sum(h.remaining - h.held) filter (where h.expires_at > clock), 0)
  into expired, available
  from core.held_in_lots(u.id, u.held_included, u.held_purchased) h;

  return query
  select
    u.transaction_count + 1, clock, 'balance', 0::bigint, u.included_credits + u.purchased_credits, null,
    format(
      'In the books: %s included and %s purchased. Of that %s have expired, %s are held by running runs, %s can be spent.',
      u.included_credits, u.purchased_credits, expired, u.held_included + u.held_purchased, available
    );
end
$$;

comment on function ops.explain_balance(text) is
  'How a user''s credits came to be: each movement in order with the balance that follows from it, then the books'' own figure and what of it '
  'can be spent. "user" is an id, e-mail or username. Errors: PR404 unknown user. Spec 4.8, 12.';
--! EndIncluded credits/explain_balance.sql
--! Included runs/explain_charge.sql
create or replace function ops.explain_charge(run uuid)
returns table (step bigint, what text, quantity numeric, rate numeric, amount numeric, unit text, explanation text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  r public.runs;
  p public.model_prices;
  tokens bigint;
  units numeric;
begin
  select x.* into r from public.users u join public.runs x on x.user_id = u.id and x.id = explain_charge.run;
  if not found then
    raise exception 'there is no run %', explain_charge.run using errcode = 'PR404', detail = 'run';
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
    where r.status <> 'running' and r.credits = 0 and r.shortfall = 0
    union all
    select 9, 0, 'shortfall', null, null, -r.shortfall, 'credits', 'Above its hold, and nothing free could pay it.'
    where r.shortfall > 0
    union all
    select 10, t.id, t.type, null, null, case when t.credit = 'lot' then -t.amount else t.amount end, 'credits',
      format('Transfer %s, %s lot %s.', t.id, l.kind, t.lot_id)
    from public.credit_transactions t
    left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
    where t.user_id = r.user_id and t.run_id = r.id
    union all
    select 11, 0, 'charged', null, null, r.credits, 'credits', format('As the books have it; the run is %s.', r.status)
  ) s (place, lot, what, quantity, rate, amount, unit, explanation)
  order by 1;
end
$$;

comment on function ops.explain_charge(uuid) is
  'How a run''s cost and charge came to be: tokens by kind at the prices that it began under, then credits by spec 1.1 and 1.7, then the '
  'transfers that paid; the rows cost (US dollars) and, last, charged (credits) are the books'' own. Errors: PR404 unknown run. Spec 1.3, 12.';
--! EndIncluded runs/explain_charge.sql
--! Included catalog/explain_price.sql
create or replace function ops.explain_price(model text, at timestamptz default null)
returns table (step integer, what text, value numeric, unit text, explanation text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  instant timestamptz := coalesce(explain_price.at, core.now());
  m public.models;
  p public.model_prices;
  per_credit integer;
begin
  select x.* into m from public.models x where x.alias = explain_price.model;
  if not found then
    raise exception 'there is no model %', explain_price.model
      using errcode = 'PR404', detail = 'model', hint = 'select alias from models;';
  end if;
  select s.tokens_per_credit into per_credit from public.settings s;
  select x.* into p from public.model_prices x where x.model = m.alias and x.valid @> instant;

  return query values
    (1, 'model', null::numeric, null, format('%s is %s of %s%s', m.alias, m.provider_model, m.provider, case when not m.enabled then ', switched off' end)),
    (2, 'credit multiplier', m.credit_multiplier, 'times', 'Applies now; a run keeps the one that it began under.'),
    (3, 'least charge', ceil(m.credit_multiplier), 'credits', format('For a run of up to %s tokens.', per_credit));
  if p.id is null then
    return query values
      (4, 'price', null::numeric, null, format('No price is valid at %s: a run is refused with model_not_priced.', instant));
    return;
  end if;
  return query values
    (4, 'input', p.input, 'dollars per million tokens', 'Input that is neither read from a cache nor written to one.'),
    (5, 'cached read', coalesce(p.cached_read, p.input), 'dollars per million tokens', case when p.cached_read is null then 'None of its own: as input.' else 'Input read from the provider''s cache.' end),
    (6, 'cache write', coalesce(p.cache_write, p.input), 'dollars per million tokens', case when p.cache_write is null then 'None of its own: as input.' else 'Input written to the provider''s cache.' end),
    (7, 'output', p.output, 'dollars per million tokens', 'What the model writes.'),
    (8, 'price', null, null, format('Row %s of model_prices, valid %s, from %s.', p.id, p.valid, p.source));
end
$$;

comment on function ops.explain_price(text, timestamptz) is
  'What a model costs and charges at a time (null: now), one row for each part; the last row names the row of the price book, or says that '
  'there is none. US dollars per million tokens. Errors: PR404 unknown model. Spec 1.3, 12.';
--! EndIncluded catalog/explain_price.sql
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
      when l.monthly_cost_limit - u.current_month_limited_cost < useful then 'The month has less left than a useful answer of the cheapest model costs.'
      when l.daily_cost_limit - u.current_day_limited_cost < useful then 'The day has less left than a useful answer of the cheapest model costs.'
      else 'No cost window is used up.'
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
  'and at last what the user''s row says. "user" is an id, e-mail or username. Errors: PR404 unknown user. Spec 2.5, 3, 12.';
--! EndIncluded limits/explain_throttle.sql
--! Included credits/audit_transfers.sql
create or replace function core.audit_transfers(only_user uuid)
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
      where only_user is null or t.user_id = only_user
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
  where (only_user is null or t.user_id = only_user) and not coalesce(case t.type
    when 'spend' then t.debit = 'lot' and t.credit = 'spent' and t.run_id is not null
    when 'expire' then t.debit = 'lot' and t.credit = 'expired'
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
    where only_user is null or t.user_id = only_user
    group by t.user_id
  ) f on f.user_id = u.id
  cross join lateral (values
    ('transaction_count', coalesce(f.transfers, 0)::numeric, u.transaction_count::numeric),
    ('balance', coalesce(f.balance, 0), u.included_credits::numeric + u.purchased_credits),
    ('rollover', coalesce(f.rolled_out, 0), coalesce(f.rolled_in, 0))
  ) problem (check_name, expected, actual)
  where (only_user is null or u.id = only_user) and problem.expected <> problem.actual;
end
$$;

comment on function core.audit_transfers(uuid) is
  'Part of ops.audit_books: the chain of each user''s transfers (numbers, balances, accounts) and the figures that follow from it. '
  'null: all users. Spec 4.2.';
--! EndIncluded credits/audit_transfers.sql
--! Included credits/audit_lots.sql
create or replace function core.audit_lots(only_user uuid)
returns table (user_id uuid, check_name text, object text, expected text, actual text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
set work_mem = '64MB'
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
      bool_or(p.shortfall > 0) as is_owed
    from public.credit_lots l
    left join public.purchases p on l.source = 'purchase' and p.user_id = l.user_id and p.id::text = l.source_id
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
  'Part of ops.audit_books: what each lot was granted and has left by its transfers, and what users'' rows say of their lots. '
  'null: all users. Spec 4.1, 4.2.';
--! EndIncluded credits/audit_lots.sql
--! Included credits/audit_purchases.sql
create or replace function core.audit_purchases(only_user uuid)
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
      case when p.paid_at is not null then floor(p.credits * p.refunded_amount / p.paid_amount) else 0 end as owed
  ) rule
  left join (
    select
      t.user_id,
      t.purchase_id,
      coalesce(sum(t.amount) filter (where t.debit = 'issued'), 0) as granted,
      coalesce(sum(t.amount) filter (where t.credit = 'clawed_back'), 0)
        - coalesce(sum(t.amount) filter (where t.debit = 'clawed_back'), 0) as taken_back
    from public.credit_transactions t
    where t.purchase_id is not null and (only_user is null or t.user_id = only_user)
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
  where (only_user is null or p.user_id = only_user) and problem.expected is distinct from problem.actual;
end
$$;

comment on function core.audit_purchases(uuid) is
  'Part of ops.audit_books: of each purchase what was granted, and that credits taken back and shortfall are together '
  'floor(credits × refunded / paid). null: all users. Spec 4.6.';
--! EndIncluded credits/audit_purchases.sql
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
      coalesce(sum(x.change) filter (where l.kind = 'purchased'), 0) as purchased
    from public.credit_transactions t
    cross join lateral (select least(t.amount, 1000000000)::integer * case when t.debit = 'lot' then 1 else -1 end as change) x
    left join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
    where t.run_id is not null and (only_user is null or t.user_id = only_user)
    group by t.user_id, t.run_id
  ),
  figures as (
    select
      r.*,
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
      case when g.is_charged then g.charge else 0 end as expected_charge,
      case
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
    ('run_limited_cost', trim_scale(e.expected_limited_cost)::text, trim_scale(e.limited_cost)::text, e.limited_cost = e.expected_limited_cost),
    ('run_hold', 'holds not below 0', format('%s included, %s purchased, %s dollars', e.hold_included, e.hold_purchased, e.hold_cost),
      least(e.hold_included, e.hold_purchased, e.hold_cost) >= 0)
  ) problem (check_name, expected, actual, agrees)
  where (
    e.cost = e.expected_cost and e.credits + e.shortfall = e.expected_charge and e.credits = e.paid
    and e.limited_cost = e.expected_limited_cost and coalesce(e.credits_by_kind, '{}')::text = e.paid_by_kind
    and e.price_model = e.model and e.price_valid @> e.started_at and e.status in ('completed', 'stopped', 'failed') and e.finished_at is not null
    and e.cached_tokens >= 0 and e.cache_write_tokens >= 0 and e.output_tokens >= 0 and e.input_tokens >= e.cached_tokens + e.cache_write_tokens
    and e.hold_included >= 0 and e.hold_purchased >= 0 and e.hold_cost >= 0
  ) is not true and problem.agrees is not true;
end
$$;

comment on function core.audit_runs(uuid) is
  'Part of ops.audit_books: each run''s cost by its tokens and price row, its charge by spec 1.1 and 1.7, what its transfers paid, by kind, '
  'and the part of its cost that counts against limits. null: all users. Spec 1.3, 3.3.';
--! EndIncluded runs/audit_runs.sql
--! Included runs/audit_users.sql
create or replace function core.audit_users(only_user uuid)
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
      where only_user is null or x.id = only_user
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
    where r.status = 'running' and (only_user is null or r.user_id = only_user)
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
  where (only_user is null or u.id = only_user)
    and (f.id is not null or u.held_included <> 0 or u.held_purchased <> 0 or u.month_held_cost <> 0 or u.day_held_cost <> 0
      or u.open_runs <> '{}' or u.holds_expire_at <> 'infinity')
    and problem.agrees is not true;

  -- No more held than there is.
  return query
  select u.id, 'holds_are_covered', 'user', format('at most %s included, %s purchased', u.included_credits, u.purchased_credits),
    format('%s included, %s purchased', u.held_included, u.held_purchased)
  from public.users u
  where (only_user is null or u.id = only_user)
    and (u.held_included not between 0 and u.included_credits or u.held_purchased not between 0 and u.purchased_credits);
end
$$;

comment on function core.audit_users(uuid) is
  'Part of ops.audit_books: each user''s window, lifetime and hold figures recomputed from runs. null: all users. Spec 3.2, 3.3, 4.2.';
--! EndIncluded runs/audit_users.sql
--! Included runs/audit_references.sql
create or replace function core.audit_references(only_user uuid)
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
    union all
    select s.user_id, 'session ' || s.id, 'newest run ' || s.last_run_id
    from public.sessions s
    where not exists (select from public.runs r where r.user_id = s.user_id and r.id = s.last_run_id and r.session_id = s.id)
    union all
    select k.user_id, 'idempotency key of run ' || k.run_id, 'run ' || k.run_id
    from public.idempotency_keys k
    where not exists (select from public.runs r where r.user_id = k.user_id and r.id = k.run_id)
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
  where only_user is null or x.user_id = only_user;

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
  where (only_user is null or x.user_id = only_user) and not exists (select from public.users u where u.id = x.user_id);

  return query
  select coalesce(u.id, e.user_id), 'email', 'user', coalesce(e.email, 'no row of user_emails'), u.email
  from (select x.* from public.users x where x.email is not null and (only_user is null or x.id = only_user)) u
  full join (select x.* from public.user_emails x where only_user is null or x.user_id = only_user) e
    on e.user_id = u.id and e.email = lower(u.email)
  where u.id is null or e.user_id is null;
end
$$;

comment on function core.audit_references(uuid) is
  'Part of ops.audit_books: that what rows name exists, which no foreign key says on the hot path, and that verified e-mails of users and '
  'user_emails agree. null: all users. Spec 4.8.';
--! EndIncluded runs/audit_references.sql
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
  return query select * from core.audit_runs(only_user);
  return query select * from core.audit_users(only_user);
  return query select * from core.audit_references(only_user);
end
$$;

comment on function ops.audit_books(text) is
  'Every disagreement between transfers, lots, purchases, runs, prices, windows and holds: which user, which check, of which object, what it '
  'should be and what it is. No row: the books balance. Recomputes all from transfers, runs and the price book; "user" (id, e-mail or '
  'username) looks at one. Call: select * from ops.audit_books(); Errors: PR404 unknown user. Spec 4.8.';
--! EndIncluded runs/audit_books.sql
--! Included jobs/help.sql
create or replace function ops.help(word text default '')
returns table (name text, kind text, does text, call text)
language sql
stable
set search_path = ''
begin atomic
  select h.name, h.kind, btrim(regexp_replace(h.comment, '\s*Call: [^;]*;', '')), coalesce(substring(h.comment, 'Call: ([^;]*;)'), h.call)
  from (
    select
      n.nspname || '.' || p.proname as name,
      'function' as kind,
      obj_description(p.oid, 'pg_proc') as comment,
      format('select * from %I.%I(%s);', n.nspname, p.proname, (
        select string_agg(format('%I => …', a.name), ', ' order by a.ordinality)
        from unnest(p.proargnames) with ordinality a (name, ordinality)
        where a.ordinality <= p.pronargs - p.pronargdefaults
      )) as call
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('ops', 'public') and p.prorettype <> 'trigger'::regtype
    union all
    select
      n.nspname || '.' || c.relname,
      case when c.relkind = 'r' then 'table' else 'view' end,
      obj_description(c.oid, 'pg_class'),
      format('select * from %I.%I limit 20;', n.nspname, c.relname)
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('ops', 'public') and c.relkind in ('r', 'v', 'm')
    union all
    select
      'settings.' || a.attname,
      'setting',
      col_description(a.attrelid, a.attnum),
      format('update settings set %I = …;', a.attname)
    from pg_catalog.pg_attribute a
    where a.attrelid = 'public.settings'::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> 'only_row'
  ) h
  where h.comment is not null
    and not exists (
      select from regexp_split_to_table(btrim(coalesce(word, '')), '\s+') w
      where strpos(lower(h.name || ' ' || h.comment), lower(w)) = 0
    )
  order by strpos(lower(h.name), lower(btrim(coalesce(word, '')))) = 0, array_position(array['function', 'view', 'setting', 'table'], h.kind), h.name;
end;

comment on function ops.help(text) is
  'Finds the function, view, setting or table for a purpose, by every word of the question in its name or description; without a word, all. '
  'What has the word in its name comes first, then what can be called. Call: select * from ops.help(''throttle''); Spec 12.';
--! EndIncluded jobs/help.sql
--! Included jobs/checks.sql
create or replace function ops.checks()
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  clock timestamptz := core.now();
begin
  return query
  select 'books', format('%s of %s, user %s: should be %s, is %s', b.check_name, b.object, b.user_id, b.expected, b.actual),
    format('select * from ops.audit_books(%L);', b.user_id)
  from ops.audit_books() b
  limit 100;

  return query
  select 'hold outlived its expiry', format('run %s of user %s should have ended at %s', h.run_id, h.user_id, h.hold_expires_at),
    'Is the job expire-holds running? It ends such runs every minute.'
  from ops.open_holds h
  where h.hold_expires_at < clock - interval '2 minutes'
  limit 100;

  return query
  select 'model without a price', format('%s is enabled and refused with model_not_priced', m.model),
    format('Enter a price, or: update models set enabled = false where alias = %L;', m.model)
  from ops.unpriced_models m
  where m.enabled;

  return query
  select 'clock', format('settings.clock_offset is %s', s.clock_offset), 'update settings set clock_offset = default;'
  from public.settings s
  where s.clock_offset <> '0';

  return query
  select 'tier missing', format('%s has no row in cost_limits_config: its runs are refused with tier_not_configured', t.tier_name),
    'Add the row to cost_limits_config, or give its users another tier.'
  from (
    select 'free' as tier_name
    union
    select x.tier from public.users u cross join lateral (values (u.tier_override), (u.plan_tier)) x (tier) where x.tier is not null
  ) t
  where not exists (select from public.cost_limits_config c where c.tier_name = t.tier_name);
end
$$;

comment on function ops.checks() is
  'What is not as it should be, and what to do about it; no row means healthy. Looks at the books, at holds more than 2 minutes past their '
  'expiry, at enabled models without a price, at the clock, and at tiers without a row; at most 100 rows of a kind. '
  'Call: select * from ops.checks(); Spec 12.';
--! EndIncluded jobs/checks.sql

-- jobs
--! Included jobs/slot_of.sql
create or replace function core.slot_of(every interval, after interval, at timestamptz)
returns timestamptz
language sql
immutable
parallel safe
begin atomic
  select date_bin(every, at - after, timestamptz '2000-01-01 00:00:00+00') + after;
end;

comment on function core.slot_of(interval, interval, timestamptz) is
  'The slot that is due at an instant: slots come every so often, so long after the start of the minute, hour or day (UTC).';
--! EndIncluded jobs/slot_of.sql
--! Included jobs/run_job.sql
create or replace function ops.run_job(job text, out slot timestamptz, out ran boolean, out rows_touched bigint, out error text)
language plpgsql
security definer
set search_path = ''
as $$
declare
  now timestamptz := core.now();
  j public.jobs;
begin
  select x.* into j from public.jobs x where x.job = run_job.job;
  if not found then
    raise exception 'there is no job %', run_job.job using errcode = 'PR404', detail = 'job', hint = 'select job, description from jobs;';
  end if;
  slot := core.slot_of(j.every, j.after, now);

  insert into public.job_runs as r (job, slot, started_at) values (j.job, run_job.slot, now)
  on conflict on constraint job_runs_job_slot_key do nothing;
  ran := found;
  if not ran then
    return;
  end if;

  begin
    rows_touched := case j.job
      when 'expire-holds' then ops.expire_holds()
      when 'watch-budgets' then sign(ops.watch_budgets())
      when 'choose-cached-prompts' then ops.choose_cached_prompts()
      when 'reset-monthly-costs' then public.reset_monthly_api_costs()
      when 'expire-rollover' then ops.expire_lots()
      when 'forget-keys' then ops.forget_keys()
    end;
    if j.job = 'refresh-analytics' then
      perform public.refresh_user_cost_analytics();
    end if;
  exception when others then
    error := sqlerrm;
  end;
  update public.job_runs r
  set finished_at = core.now(), rows_touched = run_job.rows_touched, error = run_job.error
  where r.job = j.job and r.slot = run_job.slot;
end
$$;

comment on function ops.run_job(text) is
  'Does a job''s due slot, once, whoever calls and however often; the result stands in job_runs. ran is false where the slot was done '
  'already. Call: select * from ops.run_job(''expire-holds''); Errors: PR404 unknown job. Spec 7.1, 7.2.';
--! EndIncluded jobs/run_job.sql
--! Included jobs/due_jobs.sql
create or replace function api.due_jobs()
returns table (job text)
language sql
stable
security definer
set search_path = ''
begin atomic
  select j.job
  from public.jobs j
  where not exists (
    select from public.job_runs r
    where r.job = j.job and r.slot = core.slot_of(j.every, j.after, core.now())
  )
  order by j.every, j.job;
end;

comment on function api.due_jobs() is
  'Jobs whose slot is due and not done yet: what a server asks each minute where no scheduler runs in the database, to do each by api.run_job. Spec 7.1.';
--! EndIncluded jobs/due_jobs.sql
--! Included jobs/api_run_job.sql
create or replace function api.run_job(job text, out ran boolean, out error text)
language plpgsql
security definer
set search_path = ''
as $$
begin
  select x.ran, x.error into ran, error from ops.run_job(run_job.job) x;
end
$$;

comment on function api.run_job(text) is
  'Does a job''s due slot, once, whoever calls: ops.run_job for a server. error tells what went wrong in it. Errors: PR404 unknown job. Spec 7.1.';
--! EndIncluded jobs/api_run_job.sql

--! split: 9-grants.sql
-- Who may do what (design: who may do what). Everything is owned by prpm_owner; no role is a member of another.
-- Runs to the same end every time: what a role has is taken away first, then given.

alter default privileges for role prpm_owner revoke execute on functions from public;
alter default privileges for role prpm_owner in schema api grant execute on functions to prpm_app;
alter default privileges for role prpm_owner in schema ops grant execute on functions to prpm_ops;
alter default privileges for role prpm_owner in schema ops grant select on tables to prpm_ops, prpm_readonly;
alter default privileges for role prpm_owner in schema public grant execute on functions to prpm_ops;
alter default privileges for role prpm_owner in schema public grant select on tables to prpm_ops;

do $$
declare
  thing record;
begin
  -- Our own functions, not those of extensions.
  for thing in
    select p.oid::regprocedure as name, n.nspname as schema, p.proname, p.prokind,
      p.provolatile <> 'v' and not p.prosecdef as only_reads
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('api', 'core', 'ops', 'public')
      and not exists (select from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'e')
  loop
    execute format('revoke all on routine %s from public, prpm_app, prpm_ops, prpm_cron, prpm_readonly', thing.name);
    case
      when thing.schema = 'api' then execute format('grant execute on routine %s to prpm_app', thing.name);
      when thing.schema in ('ops', 'public') then execute format('grant execute on routine %s to prpm_ops', thing.name);
      -- Views call these with the rights of who reads the view. They read with the caller's rights, and nobody can call
      -- them by name for want of usage on schema core.
      when thing.only_reads then execute format('grant execute on routine %s to prpm_ops, prpm_readonly', thing.name);
      else null;
    end case;
    if thing.schema = 'ops' and thing.proname = 'run_job' then
      execute format('grant execute on routine %s to prpm_cron', thing.name);
    end if;
  end loop;

  for thing in
    select c.oid::regclass as name, n.nspname as schema, c.relname, c.relkind in ('v', 'm') as is_view
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('api', 'core', 'ops', 'public') and c.relkind in ('r', 'p', 'v', 'm')
      and not exists (select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e')
  loop
    execute format('revoke all on %s from public, prpm_app, prpm_ops, prpm_cron, prpm_readonly', thing.name);
    if thing.name <> 'core.secrets'::regclass then
      execute format('grant select on %s to prpm_ops', thing.name);
    end if;
    if thing.schema in ('ops', 'public') and (thing.is_view or thing.relname = any (array[
      'users', 'organizations', 'organization_members', 'settings', 'cost_limits_config', 'plans', 'packs', 'models', 'model_prices',
      'packages', 'credit_lots', 'credit_transactions', 'runs', 'subscriptions', 'purchases', 'refusals', 'job_runs'
    ])) then
      execute format('grant select on %s to prpm_readonly', thing.name);
    end if;
  end loop;

  -- Every setting but the row's key and the permission to move the clock.
  execute format('grant update (%s) on public.settings to prpm_ops', (
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
    from pg_catalog.pg_attribute a
    where a.attrelid = 'public.settings'::regclass and a.attnum > 0 and not a.attisdropped
      and a.attname not in ('only_row', 'clock_offset_allowed')
  ));
end
$$;

revoke all on schema api, core, ops from public, prpm_app, prpm_ops, prpm_cron, prpm_readonly;
grant usage on schema api to prpm_app;
grant usage on schema ops to prpm_ops, prpm_cron, prpm_readonly;

-- What an operator changes by plain SQL.
grant insert, update, delete on public.cost_limits_config to prpm_ops;
grant insert, update on public.plans, public.packs, public.models to prpm_ops;
grant insert, update (valid) on public.model_prices to prpm_ops;
grant update (is_throttled, throttled_reason, throttled_until, tier_override, is_admin, verified_author) on public.users to prpm_ops;
