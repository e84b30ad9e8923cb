-- What each run was paid with, in cash, and what each lot's credits have paid for: margin is known when a run ends.
alter table public.jobs add column if not exists call text;
comment on column public.jobs.call is 'The function of schema ops that does it, without parameters; it returns how many rows it touched.';

--! include catalog/share_of_cost.sql
do $$
begin
  if not exists (
    select from pg_catalog.pg_attribute a where a.attrelid = 'public.runs'::regclass and a.attname = 'included_value'
  ) then
    alter table public.runs
      add column included_value numeric not null default 0,
      add column purchased_value numeric not null default 0;
    alter table public.credit_lots add column cost numeric not null default 0;

    update public.runs r set included_value = v.included, purchased_value = v.purchased
    from (
      select
        t.user_id, t.run_id,
        coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind <> 'purchased'), 0) as included,
        coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind = 'purchased'), 0) as purchased
      from public.credit_transactions t
      cross join lateral (select case when t.debit = 'lot' then t.amount else -t.amount end as change) x
      join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
      where t.run_id is not null
      group by t.user_id, t.run_id
    ) v
    where r.user_id = v.user_id and r.id = v.run_id and (v.included <> 0 or v.purchased <> 0);

    update public.credit_lots l set cost = f.cost
    from (
      select s.user_id, s.lot_id, sum(core.share_of_cost(r.cost, s.upto, s.amount, r.credits + r.shortfall)) as cost
      from (
        select
          t.user_id, t.run_id, t.lot_id, t.amount, t.id,
          sum(case when t.debit = 'lot' then t.amount else -t.amount end) over (partition by t.user_id, t.run_id order by t.id)::bigint as upto,
          coalesce(max(t.id) filter (where t.credit = 'lot') over (partition by t.user_id, t.run_id), 0) as given_back
        from public.credit_transactions t
        where t.run_id is not null
      ) s
      join public.runs r on r.user_id = s.user_id and r.id = s.run_id
      where s.id > s.given_back and r.credits + r.shortfall > 0
      group by s.user_id, s.lot_id
    ) f
    where l.user_id = f.user_id and l.id = f.lot_id;
  end if;
end
$$;
comment on column public.runs.included_value is 'US dollars of cash that had been paid for the credits it spent that were not purchased.';
comment on column public.runs.purchased_value is 'US dollars of cash that had been paid for the purchased credits it spent.';
comment on column public.credit_lots.cost is 'US dollars of provider cost that its credits have paid for; a cached figure.';

alter table public.runs add column if not exists refunded_by_kind jsonb;
comment on column public.runs.refunded_by_kind is 'Credits by kind of lot that had paid it when it was refunded, or null.';

drop function if exists core.spend_lots(public.users, uuid, bigint, bigint, timestamptz);
--! include credits/spend_lots.sql
--! include runs/settle_run.sql
--! include runs/reopen_run.sql
--! include credits/read_credits.sql
--! include runs/audit_runs.sql
--! include credits/audit_lots.sql

-- Room sessions: found by their words, renamed, deleted, shared, voted on.
create extension if not exists btree_gin;
create index if not exists runs_of_sessions on public.runs (user_id, session_id, id) where session_id <> id;

create table if not exists public.session_marks (
  user_id uuid primary key,
  through_run_id uuid not null,
  session_count bigint not null check (session_count >= 0)
);
comment on table public.session_marks is 'per-user. How far the index of a user''s sessions has come.';
comment on column public.session_marks.user_id is 'Whose.';
comment on column public.session_marks.through_run_id is 'Runs up to this id are in the index.';
comment on column public.session_marks.session_count is 'Sessions in it.';

create table if not exists public.session_index (
  user_id uuid not null,
  session_id uuid not null,
  last_run_id uuid not null,
  package_id uuid not null,
  models text[] not null,
  credits bigint not null,
  words tsvector not null,
  primary key (user_id, session_id)
);
create index if not exists session_index_by_age on public.session_index (user_id, last_run_id desc);
create index if not exists session_index_by_words on public.session_index using gin (user_id, words);
comment on table public.session_index is
  'per-user. What a user''s sessions are listed and searched by, made from their runs when somebody looks and by a job (spec 10.1).';
comment on column public.session_index.user_id is 'Whose.';
comment on column public.session_index.session_id is 'The session.';
comment on column public.session_index.last_run_id is 'Its newest run; ids are time-ordered.';
comment on column public.session_index.package_id is 'Its package.';
comment on column public.session_index.models is 'Aliases of the models that its runs asked.';
comment on column public.session_index.credits is 'Credits that its runs spent.';
comment on column public.session_index.words is 'Words of its title, questions and answers, without their places.';

create table if not exists public.shared_sessions (
  token text primary key,
  user_id uuid not null,
  session_id uuid not null,
  package_id uuid not null,
  through_run_id uuid not null,
  view_count bigint not null default 0 check (view_count >= 0),
  helpful_count bigint not null default 0 check (helpful_count >= 0),
  not_helpful_count bigint not null default 0 check (not_helpful_count >= 0),
  featured_at timestamptz,
  feature_description text,
  feature_display_order integer not null default 0,
  shared_at timestamptz not null,
  ended_at timestamptz
);
create unique index if not exists shared_sessions_once on public.shared_sessions (session_id) where ended_at is null;
create index if not exists shared_sessions_by_package on public.shared_sessions (package_id) where ended_at is null;
comment on table public.shared_sessions is 'ops. Links under which anybody may read a session as far as it had come (spec 10.2).';
comment on column public.shared_sessions.token is 'The link''s secret part.';
comment on column public.shared_sessions.user_id is 'Who shared it; never shown.';
comment on column public.shared_sessions.session_id is 'What.';
comment on column public.shared_sessions.package_id is 'Its package.';
comment on column public.shared_sessions.through_run_id is 'The newest run that is shown.';
comment on column public.shared_sessions.view_count is 'How many visitors have seen it, its owner not among them.';
comment on column public.shared_sessions.helpful_count is 'Visitors whom it helped.';
comment on column public.shared_sessions.not_helpful_count is 'Visitors whom it did not help.';
comment on column public.shared_sessions.featured_at is 'When an author of the package featured it, or null.';
comment on column public.shared_sessions.feature_description is 'The author''s words on it, at most 500 characters.';
comment on column public.shared_sessions.feature_display_order is 'Lowest first among those that are featured.';
comment on column public.shared_sessions.shared_at is 'Since when.';
comment on column public.shared_sessions.ended_at is 'When its owner took it back, or null.';

create table if not exists public.share_views (
  token text not null references public.shared_sessions (token),
  visitor text not null,
  viewed_at timestamptz not null,
  is_helpful boolean,
  feedback_text text,
  primary key (token, visitor)
);
comment on table public.share_views is 'ops. Who has seen a shared session, and whether it helped: one row for each visitor (spec 10.2).';
comment on column public.share_views.token is 'The link.';
comment on column public.share_views.visitor is 'A keyed hash that tells visitors apart.';
comment on column public.share_views.viewed_at is 'When they saw it first.';
comment on column public.share_views.is_helpful is 'Their vote, or null.';
comment on column public.share_views.feedback_text is 'Their words, at most 1,000 characters, or null.';

create table if not exists public.exchange_feedback (
  user_id uuid not null,
  run_id uuid not null,
  is_effective boolean not null,
  comment text,
  created_at timestamptz not null,
  primary key (user_id, run_id)
);
comment on table public.exchange_feedback is 'per-user. Whether an answer was of use to who asked (spec 10.3).';
comment on column public.exchange_feedback.user_id is 'Who asked.';
comment on column public.exchange_feedback.run_id is 'The answer''s run.';
comment on column public.exchange_feedback.is_effective is 'True: it was of use.';
comment on column public.exchange_feedback.comment is 'Their words, at most 1,000 characters, or null.';
comment on column public.exchange_feedback.created_at is 'When.';
