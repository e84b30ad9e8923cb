create or replace function core.faults_of_cluster()
returns table ("check" text, detail text, what_to_do text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  patience interval := interval '5 minutes';
begin
  return query
  select 'node away', format('%s:%s does not answer: its people cannot run, and nothing else can be looked at', n.nodename, n.nodeport),
    'Ask again, since it may have been a connection that was kept. Start it, or let its standby take its place (docs/scale.md, When a node fails).'
  from pg_catalog.pg_dist_node n
  where n.groupid <> 0 and not pg_catalog.citus_check_connection_to_node(n.nodename, n.nodeport)
  limit 100;
  if found then
    return;
  end if;

  return query
  select 'node empty', format('%s:%s has nobody''s rows', n.nodename, n.nodeport), 'select citus_rebalance_start();'
  from pg_catalog.pg_dist_node n
  where n.shouldhaveshards and not exists (
    select from pg_catalog.pg_dist_placement p join pg_catalog.pg_dist_shard s on s.shardid = p.shardid
    where p.groupid = n.groupid and s.logicalrelid = 'public.users'::regclass
  )
  union all
  select 'table not spread', format('%s is on the coordinator alone, though it is said to be %s', t.name, t.kind), 'npm run scale:up'
  from core.kinds_of_tables() t
  where t.kind <> 'ops' and not exists (select from pg_catalog.pg_dist_partition d where d.logicalrelid = t.name)
  union all
  select 'call not delegated', format('api.%s is carried out from the coordinator, statement by statement', c.name), 'npm run scale:up'
  from unnest(core.delegated_calls()) c (name)
  where not exists (
    select from pg_catalog.pg_proc p
    join pg_catalog.pg_dist_object o
      on o.classid = 'pg_catalog.pg_proc'::regclass and o.objid = p.oid and o.distribution_argument_index is not null
    where p.pronamespace = 'api'::regnamespace and p.proname = c.name
  );

  return query
  select 'node setting', format('%s:%s has %s = %s', n.nodename, n.nodeport, s.name, r.result::jsonb ->> s.name), 'npm run scale:up'
  from pg_catalog.run_command_on_all_nodes($ask$
    select jsonb_object_agg(s.name, current_setting(s.name))
    from (values ('citus.multi_shard_modify_mode'), ('citus.allow_nested_distributed_execution')) s (name)
  $ask$) r
  join pg_catalog.pg_dist_node n on n.nodeid = r.nodeid
  cross join (values ('citus.multi_shard_modify_mode', 'sequential'), ('citus.allow_nested_distributed_execution', 'on')) s (name, wanted)
  where r.result::jsonb ->> s.name is distinct from s.wanted
  union all
  select 'transaction left', format('%s at %s:%s prepared for longer than %s, with what they have locked', r.result, n.nodename, n.nodeport, patience),
    'As a superuser: select recover_prepared_transactions(); and where that leaves some: select * from pg_prepared_xacts; there.'
  from pg_catalog.run_command_on_all_nodes(format($ask$
    select count(*) from pg_catalog.pg_prepared_xacts x
    where x.database = current_database() and x.prepared < clock_timestamp() - interval %L
  $ask$, patience)) r
  join pg_catalog.pg_dist_node n on n.nodeid = r.nodeid
  where r.result <> '0'
  union all
  select 'function differs', format('%s is another at %s:%s', f.name, n.nodename, n.nodeport), 'npm run scale:up'
  from pg_catalog.run_command_on_workers('select coalesce(jsonb_object_agg(f.name, f.fingerprint), ''{}'') from core.fingerprints() f') r
  join pg_catalog.pg_dist_node n on n.nodename = r.nodename and n.nodeport = r.nodeport
  cross join core.fingerprints() f
  where case when r.success then r.result::jsonb ->> f.name is distinct from f.fingerprint else f.name = 'core.fingerprints()' end
  limit 100;
end
$$;

comment on function core.faults_of_cluster() is
  'Part of ops.checks: what is wrong with the nodes of a cluster: one that does not answer (then nothing else can be told), that '
  'has nobody''s rows, a setting, tables or functions that npm run scale:up has not brought there yet, calls that are not sent whole to the '
  'worker that has the person, transactions that were left prepared for 5 minutes. Spec 12.';
