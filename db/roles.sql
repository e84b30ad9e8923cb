-- The roles, as a superuser makes them: `npm run db:roles`. Runs as often as you like.
-- What each may do is granted by the migrations; passwords come from the URLs, never from here.
-- No role is a member of another. The owner alone inherits: as its database's owner it holds schema public that way.

do $$
declare
  role_name text;
begin
  foreach role_name in array array['prpm_owner', 'prpm_app', 'prpm_ops', 'prpm_cron', 'prpm_readonly'] loop
    if not exists (select from pg_catalog.pg_roles r where r.rolname = role_name) then
      execute format('create role %I', role_name);
    end if;
    execute format(
      'alter role %I with login %s nosuperuser nocreatedb nocreaterole noreplication nobypassrls',
      role_name, case role_name when 'prpm_owner' then 'inherit' else 'noinherit' end
    );
  end loop;
end
$$;

comment on role prpm_owner is 'Owns every object. Used by migrations only.';
comment on role prpm_app is 'The server. Executes functions of schema api; has no table.';
comment on role prpm_ops is
  'Operators, in psql. Reads every table and view, executes functions of schema ops, changes limits, prices, plans, '
  'settings and throttles.';
comment on role prpm_cron is 'The scheduler. Executes the job runner.';
comment on role prpm_readonly is 'Dashboards. Reads views without texts or secrets.';

-- The server's statements are few and go by key. A plan made while a table was still small would read all of it, and a
-- connection keeps its plans while the table grows. Compiling such statements costs more than they do.
alter role prpm_app set enable_seqscan = off;
alter role prpm_app set jit = off;
-- Nor does it pay for what people and jobs ask: compiling a view of margins takes longer than reading it.
alter role prpm_ops set jit = off;
alter role prpm_cron set jit = off;
alter role prpm_readonly set jit = off;
