-- Sessions that are found, forked, kept short and compared.
create index if not exists session_index_by_model on public.session_index using gin (user_id, models);
create index if not exists session_index_by_package on public.session_index (user_id, package_id, last_run_id desc);
create index if not exists session_index_by_credits on public.session_index (user_id, credits);
drop function if exists core.session_facts(public.sessions);
drop function if exists api.list_sessions(uuid, integer, text, integer, text);
--! include sessions/minute_before.sql
--! include sessions/session_runs.sql
--! include sessions/session_facts.sql
--! include sessions/put_session_index.sql
--! include sessions/unindexed_runs.sql
--! include sessions/index_sessions.sql
--! include sessions/catch_up.sql
--! include sessions/list_sessions.sql
--! include sessions/find_sessions.sql
