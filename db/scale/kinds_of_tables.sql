create or replace function core.kinds_of_tables()
returns table (name regclass, kind text)
language sql
stable
begin atomic
  select c.oid::regclass, substring(obj_description(c.oid, 'pg_class') from '^(per-user|config|ops)')
  from pg_catalog.pg_class c
  where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'core'::regnamespace);
end;

comment on function core.kinds_of_tables() is
  'Each table, and what its comment begins with: per-user (in shards on a cluster, by the person), config (on every node) or ops (on the coordinator alone).';
