--! Previous: sha1:541b50e3f089bcef1c7c4fe5a6d5753a38031e1d
--! Hash: sha1:26fe8d168c050ba2b2e1dc36a17cf297344dfb1f
--! Message: one rule for who sees a package

--! split: 1-current.sql
-- The next migration goes here. It runs again on every change, so write it to run twice.
--! Included runs/refuse_by_package.sql
create or replace function core.refuse_by_package(
  user_id uuid, asked text, asked_version text, package_id uuid, visibility text, author_id uuid, organization_id uuid, version text, now timestamptz
)
returns json
language plpgsql
stable
set search_path = ''
as $$
begin
  if refuse_by_package.package_id is null
    or not core.may_see_package(
      refuse_by_package.user_id, refuse_by_package.visibility, refuse_by_package.author_id, refuse_by_package.organization_id
    )
  then
    return core.describe_refusal('package_not_found', 404, format('There is no package %s.', left(asked, 100)), now);
  elsif refuse_by_package.version is null then
    return core.describe_refusal('version_not_found', 404,
      format('Package %s has no version %s.', left(asked, 100), coalesce(left(asked_version, 50), 'yet')), now);
  end if;
  return null;
end
$$;

comment on function core.refuse_by_package(uuid, text, text, uuid, text, uuid, uuid, text, timestamptz) is
  'Why a package or version cannot be run by this user: unknown, or private and neither theirs nor their organization''s; null if it can. Spec 5.5.';
--! EndIncluded runs/refuse_by_package.sql
