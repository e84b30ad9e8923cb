-- Room sessions: found by their words, renamed, deleted, shared, voted on.
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
--! include sessions/drop_old_texts.sql
