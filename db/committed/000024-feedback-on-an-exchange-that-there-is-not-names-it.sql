--! Previous: sha1:e4eb7d6f51e4049247a7dd3e64ecc494517dd28b
--! Hash: sha1:6d9fe3e994dc95696bd52303a495d2d99877bce2
--! Message: feedback on an exchange that there is not names it

--! split: 1-words.sql
--! Included sessions/give_feedback.sql
create or replace function api.give_feedback(
  user_id uuid, session_id uuid, exchange_index integer, is_effective boolean, comment text
)
returns table (run_id uuid, created_at timestamptz, is_new boolean)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  exchange uuid;
  exchanges bigint;
begin
  if give_feedback.is_effective is null then
    raise exception 'is_effective is missing' using errcode = 'PR400', detail = 'is_effective';
  elsif give_feedback.exchange_index is null or give_feedback.exchange_index not between 0 and 100000 then
    raise exception 'exchange_index is not between 0 and 100,000' using errcode = 'PR400', detail = 'exchange_index';
  elsif length(give_feedback.comment) > 1000 then
    raise exception 'comment has % characters, at most 1,000 are allowed', length(give_feedback.comment)
      using errcode = 'PR400', detail = 'comment';
  end if;
  select t.run_id into exchange
  from public.run_texts t
  join public.sessions s on s.user_id = t.user_id and s.id = t.session_id and s.deleted_at is null
  where t.user_id = give_feedback.user_id and t.session_id = give_feedback.session_id
  order by t.run_id
  offset give_feedback.exchange_index
  limit 1;
  if not found and exists (
    select from public.sessions s where s.user_id = give_feedback.user_id and s.id = give_feedback.session_id and s.deleted_at is null
  ) then
    select count(*) into exchanges
    from public.run_texts t where t.user_id = give_feedback.user_id and t.session_id = give_feedback.session_id;
    raise exception 'exchange_index is %, and the session has % exchanges, counted from 0', give_feedback.exchange_index, exchanges
      using errcode = 'PR400', detail = 'exchange_index';
  end if;
  if not found or not exists (select from public.runs r where r.user_id = give_feedback.user_id and r.id = exchange) then
    return; -- also for what was copied: its answer was another's
  end if;
  insert into public.exchange_feedback (user_id, run_id, is_effective, comment, created_at)
  values (give_feedback.user_id, exchange, give_feedback.is_effective, nullif(btrim(give_feedback.comment), ''), core.now())
  on conflict do nothing;
  is_new := found;
  run_id := exchange;
  select f.created_at into created_at
  from public.exchange_feedback f
  where f.user_id = give_feedback.user_id and f.run_id = exchange;
  return next;
end
$$;

comment on function api.give_feedback(uuid, uuid, integer, boolean, text) is
  'Whether an answer in a user''s own session was of use, once for each exchange, counted from 0; comment at most 1,000 characters. No row '
  'where there is no such session of theirs, or what was said there was copied; is_new is false where it was given before, and stays. Errors: PR400 naming the field. Spec 10.3.';
--! EndIncluded sessions/give_feedback.sql
