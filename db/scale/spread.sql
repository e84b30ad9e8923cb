-- What makes schemas, types, functions, views and rights as they are here on another node, statement by statement, in an order in
-- which all but a few can be made at once. What names rows of operations tables, which are here alone, is left out.
with recursive schemas(oid) as (values ('public'::regnamespace), ('core'::regnamespace), ('api'::regnamespace), ('ops'::regnamespace)),
routines as (
  select p.* from core.fingerprints() f join pg_proc p on p.oid = f.name::regprocedure
),
reads (oid, relation) as (
  select r.ev_class, d.refobjid
  from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
  join pg_class c on c.oid = r.ev_class and c.relnamespace in (select s.oid from schemas s)
  where d.refobjid <> r.ev_class and not exists (
    select from pg_depend x where x.classid = 'pg_class'::regclass and x.objid = c.oid and x.deptype = 'e'
  )
),
here_alone (oid) as (
  select r.oid from reads r join pg_class c on c.oid = r.relation and c.relkind = 'r'
  where not exists (select from pg_dist_partition d where d.logicalrelid = c.oid)
  union
  select r.oid from reads r join here_alone h on h.oid = r.relation
),
everywhere (oid) as (select r.oid from reads r except select h.oid from here_alone h)
select format('create schema if not exists %s authorization %I', n.oid::regnamespace, n.nspowner::regrole) as statement, 0 as step, 0 as nr
from schemas s join pg_namespace n on n.oid = s.oid
union all
select format('do $do$ begin create type %s as (%s); alter type %s owner to %I; exception when duplicate_object then null; end $do$', t.oid::regtype,
  (select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
   from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), t.oid::regtype, t.typowner::regrole), 1, t.oid::bigint
from schemas s join pg_type t on t.typnamespace = s.oid join pg_class c on c.oid = t.typrelid and c.relkind = 'c'
union all
select pg_get_functiondef(p.oid), 2, p.oid::bigint
from routines p
union all
select format('create or replace view %1$s as %2$s; alter view %1$s owner to %3$I', v.oid::regclass, rtrim(pg_get_viewdef(v.oid), ';'), c.relowner::regrole),
  3, v.oid::bigint
from everywhere v join pg_class c on c.oid = v.oid
union all
select format('alter routine %1$s owner to %2$I; revoke all on routine %1$s from public; %3$s', p.oid::regprocedure, p.proowner::regrole,
  coalesce((select string_agg(format('grant execute on routine %s to %s', p.oid::regprocedure, case a.grantee when 0 then 'public' else a.grantee::regrole::text end), '; ')
   from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a), '')), 3, p.oid::bigint
from routines p
union all
select format('grant usage on schema %s to %s', n.oid::regnamespace, case a.grantee when 0 then 'public' else a.grantee::regrole::text end), 4, 0
from schemas s join pg_namespace n on n.oid = s.oid, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a where a.privilege_type = 'USAGE'
order by step, nr;
