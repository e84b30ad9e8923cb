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

insert into public.jobs (job, every, after, description, call)
values ('index-sessions', '5 minutes', '0', 'Brings the index of sessions up to date: ops.index_sessions()', 'index_sessions')
on conflict do nothing;

--! include accounts/visitor_of.sql
--! include sessions/parse_search.sql
--! include sessions/session_runs.sql
--! include sessions/describe_sessions.sql
--! include sessions/minute_before.sql
--! include sessions/session_facts.sql
--! include sessions/index_sessions.sql
--! include sessions/ops_index_sessions.sql
--! include sessions/find_sessions.sql
drop function if exists api.list_sessions(uuid, integer, text, integer);
--! include sessions/list_sessions.sql
drop function if exists api.read_session(uuid, uuid);
--! include sessions/read_session.sql
--! include sessions/rename_session.sql
--! include sessions/end_share.sql
--! include sessions/delete_session.sql
--! include sessions/share_session.sql
--! include sessions/unshare_session.sql
--! include sessions/shared_exchanges.sql
--! include sessions/read_shared.sql
--! include sessions/vote_shared.sql
--! include sessions/list_results.sql
--! include sessions/feature_result.sql
--! include sessions/give_feedback.sql
--! include sessions/old_texts.sql
--! include sessions/drop_old_texts.sql
