create or replace function core.fingerprints()
returns table (name text, fingerprint text)
language sql
stable
set search_path = ''
begin atomic
  select p.oid::regprocedure::text,
    md5(concat_ws(' ', l.lanname, p.prosrc, pg_get_function_sqlbody(p.oid), p.proowner::regrole, (
      select string_agg(a.grantee::regrole::text, ' ' order by a.grantee::regrole::text)
      from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    )))
  from pg_catalog.pg_proc p
  join pg_catalog.pg_language l on l.oid = p.prolang
  where p.pronamespace in ('public'::regnamespace, 'core'::regnamespace, 'api'::regnamespace, 'ops'::regnamespace)
    and not exists (
      select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
    )
    and not exists ( -- rows of what is on the coordinator alone, and so are functions that take them
      select
      from unnest(p.proargtypes::oid[] || p.prorettype || coalesce(p.proallargtypes, '{}')) u (type)
      join pg_catalog.pg_type t on t.oid = u.type or t.typarray = u.type
      join pg_catalog.pg_class c on c.oid = t.typrelid and c.relkind in ('r', 'v') and c.relnamespace <> 'pg_catalog'::regnamespace
      where c.relkind = 'v' or obj_description(c.oid, 'pg_class') like 'ops%'
    );
end;

comment on function core.fingerprints() is
  'Each of our functions that is on every node of a cluster, or is to be, and a hash of its language, text, owner and rights, which is the same where it is the same.';
