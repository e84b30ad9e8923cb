--! Previous: sha1:a1775ca5811164c22530f2764cf7bb89e458ca79
--! Hash: sha1:e4eb7d6f51e4049247a7dd3e64ecc494517dd28b
--! Message: throttles whose limit was raised are lifted by a job

--! split: 1-throttles.sql
--! Included limits/users_with_needless_throttles.sql
create or replace function core.users_with_needless_throttles(now timestamptz, after uuid, most integer)
returns setof uuid
language sql
stable
begin atomic
  select u.id
  from public.users u
  where u.id > users_with_needless_throttles.after and u.is_throttled and u.throttled_by = 'limit'
    and core.used_up_window(u, users_with_needless_throttles.now) is null
  order by u.id
  limit users_with_needless_throttles.most;
end;

comment on function core.users_with_needless_throttles(timestamptz, uuid, integer) is
  'Users whom a cost limit throttles though none is used up any more: it was raised, waived, or their tier rose. In the order of ids, after one, at '
  'most so many. Spec 3.4, 7.1.';
--! EndIncluded limits/users_with_needless_throttles.sql
--! Included limits/end_throttle.sql
create or replace function core.end_throttle(user_id uuid, now timestamptz)
returns integer
language plpgsql
set search_path = ''
as $$
begin
  return case when core.judge_throttle(end_throttle.user_id, end_throttle.now) then 0 else 1 end;
end
$$;

comment on function core.end_throttle(uuid, timestamptz) is
  'Ends the throttle of a user whom no used-up limit throttles any more. Returns 1, or 0 where it stays. Locks the user''s row. Spec 3.4, 7.1.';
--! EndIncluded limits/end_throttle.sql

insert into public.jobs (job, every, after, each_slot, due_users, per_user, description) values
  ('lift-throttles', '5 minutes', '0', false, 'users_with_needless_throttles', 'end_throttle',
    'Lifts throttles of cost limits that were raised or waived since; whoever runs something is not waited for')
on conflict (job) do update set
  every = excluded.every, after = excluded.after, each_slot = excluded.each_slot, due_users = excluded.due_users,
  per_user = excluded.per_user, description = excluded.description;
