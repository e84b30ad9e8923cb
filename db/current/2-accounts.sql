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
