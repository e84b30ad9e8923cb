import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { roleUrl } from '../../src/database/roles.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { differsOnCluster } from '../harness/tools.ts';

const callsFromViews = differsOnCluster('a view calls functions of core by the rights of who reads it');
/** Views over tables that this role may not read itself. */
const closedOnCluster = differsOnCluster('a view reads tables by the rights of who reads it')
  ? ['ops.stripe_review', 'ops.anonymous_use', 'ops.provider_drift']
  : [];

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

/** Relations of every schema but PostgreSQL's own that a role has any privilege on, as a whole or on a column. */
async function reachable(role: string): Promise<string[]> {
  const rows = await database.owner<{ name: string }[]>`
    select n.nspname || '.' || c.relname as name
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
      and (
        has_table_privilege(${role}, c.oid, 'select, insert, update, delete, truncate, references, trigger')
        or has_any_column_privilege(${role}, c.oid, 'select, insert, update, references')
      )
    order by 1`;
  return rows.map(({ name }) => name);
}

/** Our own functions, by schema, that a role can call by name. */
async function callable(role: string): Promise<string[]> {
  const rows = await database.owner<{ schema: string }[]>`
    select distinct n.nspname as schema
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('api', 'core', 'ops', 'public')
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
      and has_schema_privilege(${role}, n.oid, 'usage') and has_function_privilege(${role}, p.oid, 'execute')
    order by 1`;
  return rows.map(({ schema }) => schema);
}

describe("the server's role", () => {
  it('can reach no table or view at all (design: who may do what)', async () => {
    expect(await reachable('prpm_app')).toEqual([]);
    const tables = await database.owner<{ name: string }[]>`
      select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('public', 'core', 'ops', 'api')`;
    expect(tables.length).toBeGreaterThan(20);
    for (const { name } of tables) {
      await expect(database.app.unsafe(`select 1 from ${name}`), name).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('executes every function of api, and none elsewhere (design: who may do what)', async () => {
    expect(await callable('prpm_app')).toEqual(['api']);
    const closed = await database.owner`
      select p.oid::regprocedure::text from pg_proc p
      where p.pronamespace = 'api'::regnamespace and not has_function_privilege('prpm_app', p.oid, 'execute')`;
    expect([...closed]).toEqual([]);
  });
});

describe("the operator's role", () => {
  it('reads every table and view but the secrets (design: who may do what)', async () => {
    const all = await database.owner<{ name: string }[]>`
      select n.nspname || '.' || c.relname as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'v', 'm') and n.nspname in ('public', 'ops')
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
      order by 1`;
    expect(await reachable('prpm_ops')).toEqual(expect.arrayContaining(all.map(({ name }) => name)));
    expect(await reachable('prpm_ops')).not.toContain('core.secrets');
    await expect(database.ops`select * from core.secrets`).rejects.toMatchObject({ code: '42501' });
  });

  it("executes ops and the guide's functions of public, and none of api or core (design: who may do what)", async () => {
    expect(await callable('prpm_ops')).not.toContain('api');
    if (!callsFromViews) expect(await callable('prpm_ops')).not.toContain('core');
    expect(await callable('prpm_ops')).toContain('ops');
  });

  it('changes limits, plans, settings and throttles by plain SQL, and no money (design: who may do what)', async () => {
    const { ops } = database;
    await ops`select * from ops.create_user('plain@example.com', 'plain')`;
    await ops`update users set is_throttled = true where email = 'plain@example.com'`;
    await ops`update cost_limits_config set monthly_cost_limit = 10.00`;
    await ops`update settings set runs_enabled = false`;
    for (const statement of [
      'update users set current_month_api_cost = 0',
      'update users set included_credits = 100',
      'update users set throttled_by = null',
      'update users set email = null',
      'delete from users',
      'update credit_lots set remaining = 100',
      'delete from credit_transactions',
      'update runs set cost = 0',
      'update settings set clock_offset_allowed = true',
      'delete from plans',
      'delete from model_prices',
      'update package_versions set prompt = prompt',
      'truncate audit_log',
    ]) {
      await expect(ops.unsafe(statement), statement).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('cannot move the clock where the database was not made for that (design: keys, rule 9)', async () => {
    await database.owner`update settings set clock_offset_allowed = false, clock_offset = '0'`;
    await expect(database.ops`update settings set clock_offset = '1 day'`).rejects.toMatchObject({ code: '23514' });
  });
});

describe('the role for dashboards', () => {
  it('reads no texts, tokens, identities or secrets, and executes nothing (design: who may do what)', async () => {
    const names = await reachable('prpm_readonly');
    expect(names).toContain('public.runs');
    for (const secret of [
      'public.run_texts',
      'public.package_versions',
      'public.sessions',
      'public.api_tokens',
      'public.identities',
      'public.user_emails',
      'public.signup_claims',
      'public.idempotency_keys',
      'public.audit_log',
      'core.secrets',
    ]) {
      expect(names).not.toContain(secret);
    }
    expect(await callable('prpm_readonly')).toEqual(callsFromViews ? ['core'] : []);
  });

  it('reads every view that it may (design: who may do what)', async () => {
    const url = roleUrl(database.superuserUrl, 'prpm_readonly', inject('passwords').prpm_readonly, database.name);
    const sql = postgres(url, { max: 1, onnotice: () => {} });
    try {
      const views = await reachable('prpm_readonly');
      const refused: string[] = [];
      for (const name of views.filter((view) => !closedOnCluster.includes(view)))
        await sql
          .unsafe(`select * from ${name} limit 1`)
          .catch((error: Error) => refused.push(`${name}: ${error.message}`));
      expect(refused).toEqual([]);
    } finally {
      await sql.end();
    }
  });
});

describe('every function', () => {
  it("of api and of the operator's actions runs as the owner, with a fixed search path (style: SQL)", async () => {
    const open = await database.owner`
      select p.oid::regprocedure::text as name
      from pg_proc p
      where p.pronamespace in ('api'::regnamespace, 'ops'::regnamespace) and p.prosecdef
        and not coalesce('search_path=""' = any (p.proconfig), false)`;
    expect([...open]).toEqual([]);
    const invokers = await database.owner`
      select p.oid::regprocedure::text as name from pg_proc p where p.pronamespace = 'api'::regnamespace and not p.prosecdef`;
    expect([...invokers]).toEqual([]);
  });
});
