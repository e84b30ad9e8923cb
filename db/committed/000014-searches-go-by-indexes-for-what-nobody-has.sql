--! Previous: sha1:1f7d625f5d5bbfa4b66a341394b0f03caec606d7
--! Hash: sha1:48be264402f9db1f5d4a672e46216e2139b22a21
--! Message: Searches go by indexes for what nobody has

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.

--! split: 2-search.sql
--! Included sessions/find_indexed_sessions.sql
create or replace function core.find_indexed_sessions(
  user_id uuid, words tsquery, model text, package_ids uuid[], least_credits bigint, most_credits bigint, after_run_id uuid, skip integer, most integer
)
returns uuid[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
-- What no session has is not in the statistics, and is taken for frequent: all of the user's sessions would be read, by age.
set enable_seqscan = off
set enable_indexscan = off
as $$
begin
  return array(
    select x.session_id
    from public.session_index x
    where x.user_id = find_indexed_sessions.user_id
      and (find_indexed_sessions.after_run_id is null or x.last_run_id < find_indexed_sessions.after_run_id)
      and (find_indexed_sessions.words is null or x.words @@ find_indexed_sessions.words)
      and (find_indexed_sessions.model is null or x.models @> array[find_indexed_sessions.model])
      and (find_indexed_sessions.package_ids is null or x.package_id = any (find_indexed_sessions.package_ids))
      and (find_indexed_sessions.least_credits is null or x.credits >= find_indexed_sessions.least_credits)
      and (find_indexed_sessions.most_credits is null or x.credits <= find_indexed_sessions.most_credits)
    order by x.last_run_id desc offset skip limit most
  );
end
$$;

comment on function core.find_indexed_sessions(uuid, tsquery, text, uuid[], bigint, bigint, uuid, integer, integer) is
  'What core.find_sessions finds, by the indexes of words, models, packages and credits, for what is not among a user''s newest sessions. What '
  'is null is not asked for. Spec 10.1.';
--! EndIncluded sessions/find_indexed_sessions.sql
--! Included sessions/find_sessions.sql
create or replace function core.find_sessions(user_id uuid, query text, after_run_id uuid, skip integer, most integer)
returns uuid[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
declare
  -- So many of the newest are looked through before an index is asked: what is common is found there.
  newest integer := 500;
  wider integer;
  search record;
  package_ids uuid[];
  found_ids uuid[];
begin
  if btrim(coalesce(query, '')) = '' then
    return array(
      select x.session_id from public.session_index x
      where x.user_id = find_sessions.user_id and (find_sessions.after_run_id is null or x.last_run_id < find_sessions.after_run_id)
      order by x.last_run_id desc offset skip limit most
    );
  end if;
  search := core.parse_search(query);
  if search.package is not null then
    package_ids := array(
      select p.id from public.packages p
      where p.name = search.package or right(p.name, length(search.package) + 1) = '/' || search.package or p.id::text = search.package
    );
  end if;

  loop
    found_ids := array(
      select y.session_id
      from (
        select x.* from public.session_index x
        where x.user_id = find_sessions.user_id and (find_sessions.after_run_id is null or x.last_run_id < find_sessions.after_run_id)
        order by x.last_run_id desc limit newest
      ) y
      where (search.words is null or y.words @@ search.words)
        and (search.model is null or search.model = any (y.models))
        and (package_ids is null or y.package_id = any (package_ids))
        and (search.least_credits is null or y.credits >= search.least_credits)
        and (search.most_credits is null or y.credits <= search.most_credits)
      order by y.last_run_id desc offset skip limit most
    );
    if cardinality(found_ids) = most then
      return found_ids;
    end if;
    -- Further on only where that is sure to be less work than to fetch all that an index finds.
    wider := 750 * most / greatest(1, cardinality(found_ids));
    exit when wider > 3000 or wider <= newest;
    newest := wider;
  end loop;
  return core.find_indexed_sessions(
    find_sessions.user_id, search.words, search.model, package_ids, search.least_credits, search.most_credits, after_run_id, skip, most
  );
end
$$;

comment on function core.find_sessions(uuid, text, uuid, integer, integer) is
  'Ids of a user''s sessions that a search finds (see core.parse_search; null or blank: all), newest run first, those whose newest run is '
  'before one, so many passed over, so many at most. As of the last core.index_sessions. Errors: PR400 naming query. Spec 10.1.';
--! EndIncluded sessions/find_sessions.sql
