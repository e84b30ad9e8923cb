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
