--! Previous: sha1:79873607a9fa9ba8b137688cc8362a7b3024efc1
--! Hash: sha1:3c5974844f732bfcf2dcb24fbcf76caf809be0c9
--! Message: A grant that has expired is refused in plain words

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.

--! split: 2-words.sql
--! Included credits/grant_bonus.sql
create or replace function core.grant_bonus(
  target uuid, amount bigint, reason text, expires_at timestamptz, by_user uuid, dry_run boolean
)
returns table (user_id uuid, email text, lot_id uuid, granted bigint, balance bigint)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  lot uuid;
begin
  if grant_bonus.amount is null or grant_bonus.amount not between 1 and 1000000 then
    raise exception 'amount % is not between 1 and 1000000', grant_bonus.amount using errcode = 'PR400', detail = 'amount';
  end if;
  if grant_bonus.expires_at is null or grant_bonus.expires_at <= core.now() then
    raise exception 'expires_at is %, and must be later than now', coalesce(grant_bonus.expires_at::text, 'null')
      using errcode = 'PR400', detail = 'expires_at', hint = 'Credits that never expire: infinity, or leave it out.';
  end if;
  if not dry_run then
    perform core.note_action('grant_credits', target::text, reason, case
      when by_user is null then json_build_object('amount', grant_bonus.amount)
      else json_build_object('by', by_user, 'amount', grant_bonus.amount)
    end);
    lot := core.grant_lot(
      target, 'bonus', grant_bonus.amount, 'admin', 'operator', gen_random_uuid()::text, core.now(),
      expires_at => grant_bonus.expires_at, description => reason, actor => coalesce(by_user::text, session_user)
    );
  end if;
  return query
    select u.id, u.email, lot, grant_bonus.amount,
      u.included_credits + u.purchased_credits + case when dry_run then grant_bonus.amount else 0 end
    from public.users u
    where u.id = target;
end
$$;

comment on function core.grant_bonus(uuid, bigint, text, timestamptz, uuid, boolean) is
  'What ops.grant_credits does for an operator (by_user null) and api.grant_credits for an administrator, whose id the transfer names. '
  'Errors: PR400 naming amount or expires_at, or without a reason. Spec 4.7.';
--! EndIncluded credits/grant_bonus.sql
