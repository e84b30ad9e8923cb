// Citus follows views to the functions that they call, and brings those to a node before the tables whose rows they take. So
// views read nothing while it spreads a table.
import type { Asks } from './routines.ts';

/** Runs `work` in this transaction while each of our views reads nothing; then they are as they were. */
export async function withoutViews<T>(sql: Asks, work: () => Promise<T>): Promise<T> {
  const views = await hideViews(sql);
  const result = await work();
  await sql`set local citus.enable_ddl_propagation = off`;
  for (const view of views) await sql.unsafe(view);
  return result;
}

/** Returns the statements that make them as they were. */
async function hideViews(sql: Asks): Promise<string[]> {
  await sql`set local citus.enable_ddl_propagation = off`;
  const views = await sql<{ name: string; definition: string; stub: string }[]>`
    select format('%I.%I', n.nspname, c.relname) as name, pg_get_viewdef(c.oid) as definition,
      (select string_agg(format('null::%s as %I', format_type(a.atttypid, a.atttypmod), a.attname), ', ' order by a.attnum)
       from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as stub
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'v' and n.nspname in ('public', 'core', 'ops', 'api')
      and not exists (select from pg_depend x where x.classid = 'pg_class'::regclass and x.objid = c.oid and x.deptype = 'e')
    order by c.oid`;
  for (const { name, stub } of views) await sql.unsafe(`create or replace view ${name} as select ${stub}`);
  return views.map(({ name, definition }) => `create or replace view ${name} as ${definition}`);
}
