-- Who may do what (design: who may do what). Everything is owned by prpm_owner; no role is a member of another.
-- Runs to the same end every time: what a role has is taken away first, then given.

alter default privileges for role prpm_owner revoke execute on functions from public;
alter default privileges for role prpm_owner in schema api grant execute on functions to prpm_app;
alter default privileges for role prpm_owner in schema ops grant execute on functions to prpm_ops;
alter default privileges for role prpm_owner in schema ops grant select on tables to prpm_ops, prpm_readonly;
alter default privileges for role prpm_owner in schema public grant execute on functions to prpm_ops;
alter default privileges for role prpm_owner in schema public grant select on tables to prpm_ops;

do $$
declare
  thing record;
begin
  -- Our own functions, not those of extensions.
  for thing in
    select p.oid::regprocedure as name, n.nspname as schema, p.proname, p.prokind,
      p.provolatile <> 'v' and not p.prosecdef as only_reads
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('api', 'core', 'ops', 'public')
      and not exists (select from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'e')
  loop
    execute format('revoke all on routine %s from public, prpm_app, prpm_ops, prpm_cron, prpm_readonly', thing.name);
    case
      when thing.schema = 'api' then execute format('grant execute on routine %s to prpm_app', thing.name);
      when thing.schema in ('ops', 'public') then execute format('grant execute on routine %s to prpm_ops', thing.name);
      -- Views call these with the rights of who reads the view. They read with the caller's rights, and nobody can call
      -- them by name for want of usage on schema core.
      when thing.only_reads then execute format('grant execute on routine %s to prpm_ops, prpm_readonly', thing.name);
      else null;
    end case;
    if thing.schema = 'ops' and thing.proname = 'run_job' then
      execute format('grant execute on routine %s to prpm_cron', thing.name);
    end if;
  end loop;

  for thing in
    select c.oid::regclass as name, n.nspname as schema, c.relname, c.relkind in ('v', 'm') as is_view
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('api', 'core', 'ops', 'public') and c.relkind in ('r', 'p', 'v', 'm')
      and not exists (select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e')
  loop
    execute format('revoke all on %s from public, prpm_app, prpm_ops, prpm_cron, prpm_readonly', thing.name);
    if thing.name <> 'core.secrets'::regclass then
      execute format('grant select on %s to prpm_ops', thing.name);
    end if;
    if thing.schema in ('ops', 'public') and (thing.is_view or thing.relname = any (array[
      'users', 'organizations', 'organization_members', 'settings', 'cost_limits_config', 'plans', 'packs', 'models', 'model_prices',
      'packages', 'credit_lots', 'credit_transactions', 'runs', 'subscriptions', 'purchases', 'refusals', 'job_runs'
    ])) then
      execute format('grant select on %s to prpm_readonly', thing.name);
    end if;
  end loop;

  -- Every setting but the row's key and the permission to move the clock.
  execute format('grant update (%s) on public.settings to prpm_ops', (
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
    from pg_catalog.pg_attribute a
    where a.attrelid = 'public.settings'::regclass and a.attnum > 0 and not a.attisdropped
      and a.attname not in ('only_row', 'clock_offset_allowed')
  ));
end
$$;

revoke all on schema api, core, ops from public, prpm_app, prpm_ops, prpm_cron, prpm_readonly;
grant usage on schema api to prpm_app;
grant usage on schema ops to prpm_ops, prpm_cron, prpm_readonly;

-- What an operator changes by plain SQL.
grant insert, update, delete on public.cost_limits_config to prpm_ops;
grant insert, update on public.plans, public.packs, public.models to prpm_ops;
grant insert, update (valid) on public.model_prices to prpm_ops;
grant update (is_throttled, throttled_reason, throttled_until, tier_override, is_admin, verified_author) on public.users to prpm_ops;
