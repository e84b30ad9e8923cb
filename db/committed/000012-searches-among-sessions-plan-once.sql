--! Previous: sha1:daba0ccfbc581adad33bf2400da8f02e17b7ad6b
--! Hash: sha1:8e13e070650c4693b3945fb39c90a9a35c3c4467
--! Message: Searches among sessions plan once

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.

--! split: 2-search.sql
--! Included sessions/describe_sessions.sql
create or replace function core.describe_sessions(user_id uuid, session_ids uuid[])
returns table (
  id uuid, title text, package_id uuid, package_name text, package_version text, model text, last_status text,
  run_count bigint, credits_spent bigint, total_tokens bigint, total_duration_ms bigint, created_at timestamptz, last_run_at timestamptz
)
language sql
stable
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
    coalesce(newest.package_version, copied.package_version),
    coalesce(newest.model, copied.model),
    coalesce(newest.status, case when copied.model is not null then 'completed' end),
    totals.run_count,
    coalesce(totals.credits, 0),
    coalesce(totals.tokens, 0),
    coalesce(totals.duration_ms, 0),
    s.created_at,
    s.last_run_at
  from public.sessions s
  left join public.packages p on p.id = s.package_id
  left join public.runs newest on newest.user_id = s.user_id and newest.id = s.last_run_id
  left join lateral (
    select c.package_version, c.model
    from public.copied_exchanges c
    where s.last_run_id = s.id and s.forked_token is not null and c.user_id = s.user_id and c.session_id = s.id
    order by c.run_id desc
    limit 1
  ) copied on true
  cross join lateral (
    select
      count(*) as run_count,
      sum(r.credits)::bigint as credits,
      sum(coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0))::bigint as tokens,
      sum(coalesce(r.duration_ms, 0))::bigint as duration_ms
    from core.session_runs(s.user_id, s.id) r
  ) totals
  where s.user_id = describe_sessions.user_id and s.id = any (describe_sessions.session_ids) and s.deleted_at is null
  order by s.last_run_id desc, s.id desc;
end;

comment on function core.describe_sessions(uuid, uuid[]) is
  'Headers of a user''s sessions, newest first, without texts: title (or the first 120 characters of the first question), package, '
  'version, model and status of the newest run, and sums over all its runs: runs, credits, tokens (input and output), milliseconds. '
  'Reads the sessions'' own runs, whether or not their texts are still kept. Spec 10.1.';
--! EndIncluded sessions/describe_sessions.sql
--! Included sessions/parse_search.sql
create or replace function core.parse_search(
  query text, out words tsquery, out model text, out package text, out least_credits bigint, out most_credits bigint
)
language plpgsql
immutable
set search_path = ''
as $$
declare
  word text;
  rest text := '';
  cost text[];
begin
  for word in select w from regexp_split_to_table(btrim(coalesce(parse_search.query, '')), '\s+') w loop
    case
      when word ~* '^model:.' then model := lower(substr(word, 7));
      when word ~* '^package:.' then package := lower(substr(word, 9));
      when word ~* '^cost:' then
        cost := regexp_match(word, '^cost:(>=|<=|>|<|=)?(\d{1,9})$', 'i');
        if cost is null then
          raise exception 'query: % is not cost:>n, cost:<n or cost:n', word
            using errcode = 'PR400', detail = 'query', hint = 'n is a whole number of credits, as in cost:>10.';
        end if;
        if coalesce(cost[1], '=') in ('>', '>=', '=') then
          least_credits := cost[2]::bigint + (coalesce(cost[1], '=') = '>')::integer;
        end if;
        if coalesce(cost[1], '=') in ('<', '<=', '=') then
          most_credits := cost[2]::bigint - (coalesce(cost[1], '=') = '<')::integer;
        end if;
      else rest := rest || ' ' || word;
    end case;
  end loop;

  -- Words are kept without their places: what stands in quotes has to be there, in any order.
  if rest <> '' then
    words := regexp_replace(websearch_to_tsquery('pg_catalog.simple', rest)::text, '<(-|\d+)>', '&', 'g')::tsquery;
  end if;
  if numnode(words) = 0 then
    words := null;
  end if;
end
$$;

comment on function core.parse_search(text) is
  'Takes a search for sessions apart: model:alias, package:name, cost:>n (also <, >=, <=, or n alone; credits), and the other words, as a web '
  'search has them ("or", -word). What is not there is null. Errors: PR400 naming query where cost has no number. Spec 10.1.';
--! EndIncluded sessions/parse_search.sql
--! Included sessions/unindexed_runs.sql
create or replace function core.unindexed_runs(user_id uuid, mark uuid, most integer)
returns table (run_id uuid, session_id uuid, is_running boolean)
language sql
stable
begin atomic
  (
    select r.id, r.session_id, r.status = 'running'
    from public.runs r
    where r.user_id = unindexed_runs.user_id and r.id > mark
    order by r.id
    limit most
  )
  union all
  (
    select r.id, r.session_id, false
    from public.runs r
    -- By key, one after the other: a plan that does not know how few runs a minute has would read all sessions.
    cross join lateral (
      select s.last_run_id
      from public.sessions s
      where s.user_id = r.user_id and s.id = r.session_id and s.deleted_at is null
      offset 0
    ) s
    where r.user_id = unindexed_runs.user_id and r.id > core.minute_before(mark) and r.id <= mark and r.status <> 'running'
      and not exists (
        select from public.session_index x
        where x.user_id = r.user_id and x.session_id = r.session_id and x.last_run_id = s.last_run_id
      )
    limit most
  );
end;

comment on function core.unindexed_runs(uuid, uuid, integer) is
  'A user''s runs after one, oldest first, at most so many; and those of the minute before it that came late, because another server''s '
  'clock is a little behind, as soon as they have ended. What core.index_sessions has to do. Spec 10.1.';
--! EndIncluded sessions/unindexed_runs.sql
