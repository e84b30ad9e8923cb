// What each role may do is tried, not read from the catalog: each statement as that role, on each table, view and function.
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type RoleName, roleUrl } from '../../src/database/roles.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { differsOnCluster } from '../harness/tools.ts';
import { begin, publishPackage, settle, signUp } from '../sessions/people.ts';
import { inScratch, type Routine, readRoutines } from './catalog.ts';

let database: TestDatabase;
let superuser: postgres.Sql;
const clients = new Map<RoleName, postgres.Sql>();
beforeAll(async () => {
  database = await createDatabase();
  superuser = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
  const passwords = inject('passwords');
  for (const role of ['prpm_app', 'prpm_ops', 'prpm_cron', 'prpm_readonly'] as const) {
    const url = roleUrl(database.superuserUrl, role, passwords[role], database.name);
    clients.set(role, postgres(url, { max: 1, onnotice: () => {} }));
  }
});
afterAll(async () => {
  await Promise.all([superuser, ...clients.values()].map((sql) => sql.end()));
  await database.drop();
});

function as(role: RoleName): postgres.Sql {
  const sql = clients.get(role);
  if (sql === undefined) throw new Error(`no client for ${role}`);
  return sql;
}

/**
 * Tries statements one by one as a role, taking each back, and returns those that `accepts` the outcome of: `ok`, or the code
 * of the error. All in one block, or thousands of round trips would make this slow.
 */
async function attempts(role: RoleName, statements: string[], accepts: (code: string) => boolean): Promise<string[]> {
  const outcomes = await inScratch(as(role), async (scratch) => {
    await scratch`select set_config('probe.statements', ${JSON.stringify(statements)}, true)`;
    await scratch.unsafe(`
      do $$
      declare
        statement text;
        codes text[] = '{}';
      begin
        for statement in select * from json_array_elements_text(current_setting('probe.statements')::json) loop
          begin
            execute statement;
            raise exception using errcode = 'ZZZZZ';
          exception when others then
            codes := codes || case when sqlstate = 'ZZZZZ' then 'ok' else sqlstate end;
          end;
        end loop;
        perform set_config('probe.codes', array_to_json(codes)::text, true);
      end
      $$`);
    const [row] = await scratch<{ codes: string[] }[]>`select current_setting('probe.codes')::json as codes`;
    return row?.codes ?? [];
  });
  expect(outcomes).toHaveLength(statements.length);
  return statements.filter((_, index) => accepts(outcomes[index] ?? ''));
}

const refused = '42501';
/** Citus refuses to change to whom a row belongs before it looks at rights. */
const refusedFirst = differsOnCluster('Citus refuses some statements before it looks at rights')
  ? [refused, '0A000']
  : [refused];
/** A view of several tables takes no writes, nor does a generated column, whoever writes; PostgreSQL says so before it looks at rights. */
const cannotBeWritten = ['55000', '42809', '0A000', '428C9'];
const isAllowed = (code: string) => code !== refused && !cannotBeWritten.includes(code);

type Column = { relation: string; kind: string; column: string; type: string; isIdentity: boolean };

function readColumns(): Promise<Column[]> {
  return database.owner<Column[]>`
    select format('%I.%I', n.nspname, c.relname) as relation, c.relkind as kind, a.attname as column,
      format_type(a.atttypid, a.atttypmod) as type, a.attidentity <> '' as "isIdentity"
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname in ('api', 'core', 'ops', 'public', 'graphile_migrate') and c.relkind in ('r', 'p', 'v', 'm', 'f')
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    order by 1, a.attnum`;
}

const unique = (list: string[]) => [...new Set(list)];
const selects = (columns: Column[]) => unique(columns.map(({ relation }) => `select 1 from ${relation} limit 1`));
const deletes = (columns: Column[]) => unique(columns.map(({ relation }) => `delete from ${relation} where false`));
const updates = (columns: Column[]) =>
  columns.map(({ relation, column, type, isIdentity }) =>
    isIdentity
      ? `update ${relation} set "${column}" = default where false`
      : `update ${relation} set "${column}" = null::${type} where false`,
  );
const inserts = (columns: Column[]) =>
  columns
    .filter(({ isIdentity }) => !isIdentity)
    .map(({ relation, column, type }) => `insert into ${relation} ("${column}") select null::${type} where false`);
const takeovers = (columns: Column[]) =>
  unique(columns.filter(({ kind }) => kind === 'r').map(({ relation }) => relation)).flatMap((relation) => [
    `truncate ${relation}`,
    `lock table ${relation} in access exclusive mode`,
    `create index on ${relation} ((1))`,
    `alter table ${relation} disable trigger all`,
    `drop table ${relation}`,
  ]);

/** `update public.users set "is_admin" = …` as `public.users.is_admin`. */
const columnOf = (statement: string) =>
  statement.replace(/^(?:update (\S+) set "(\w+)".*|insert into (\S+) \("(\w+)"\).*)$/, (_, ...parts) =>
    parts.slice(0, 4).filter(Boolean).join('.'),
  );

const callOf = ({ name, parameters, isProcedure }: Routine) =>
  `${isProcedure ? 'call' : 'select * from'} ${name}(${parameters.map(({ type }) => `null::${type}`).join(', ')})`;

/** Functions whose execution PostgreSQL refuses by right; whatever else they answer, they were executed. */
async function executed(role: RoleName): Promise<string[]> {
  const routines = await readRoutines(database.owner);
  const byCall = new Map(routines.map((routine) => [callOf(routine), routine.name]));
  const found = await attempts(role, [...byCall.keys()], (code) => code !== refused);
  return found.map((call) => byCall.get(call) ?? call);
}

/** Of functions of core those that only read, which views call by the rights of who reads these; and triggers', which nobody calls. */
async function readersOfCore(): Promise<string[]> {
  if (!differsOnCluster('a view calls functions of core by the rights of who reads it')) return [];
  const routines = await readRoutines(database.owner);
  const triggers = await database.owner<{ name: string }[]>`
    select 'core.' || proname as name from pg_proc where pronamespace = 'core'::regnamespace and prorettype = 'trigger'::regtype`;
  return [
    ...routines.filter(({ schema, volatility }) => schema === 'core' && volatility !== 'volatile'),
    ...triggers,
  ].map(({ name }) => name);
}

async function namesIn(...schemas: string[]): Promise<string[]> {
  return (await readRoutines(database.owner)).filter(({ schema }) => schemas.includes(schema)).map(({ name }) => name);
}

describe("the server's role", () => {
  it('can read, write, lock and change no table or view (design: who may do what)', async () => {
    const columns = await readColumns();
    expect(columns.length).toBeGreaterThan(300);
    const statements = [selects, updates, inserts, deletes, takeovers].flatMap((make) => make(columns));
    expect(await attempts('prpm_app', statements, isAllowed)).toEqual([]);
  });

  it('can execute every function of api, and none of another schema (design: who may do what)', async () => {
    expect(await executed('prpm_app')).toEqual(await namesIn('api'));
  });
});

describe("the operator's role", () => {
  const settable = async () =>
    (await readColumns())
      .filter(
        ({ relation, column }) => relation === 'public.settings' && !/^(only_row|clock_offset_allowed)$/.test(column),
      )
      .map(({ column }) => `public.settings.${column}`);
  const whole = async (...tables: string[]) =>
    (await readColumns())
      .filter(({ relation }) => tables.includes(relation))
      .map(({ relation, column }) => `${relation}.${column}`);
  const ofUsers = [
    'is_admin',
    'verified_author',
    'tier_override',
    'is_throttled',
    'throttled_reason',
    'throttled_until',
  ];

  it('reads every table and view but the secrets (design: who may do what)', async () => {
    const columns = (await readColumns()).filter(({ relation }) => !/^(core|graphile_migrate)\./.test(relation));
    expect(await attempts('prpm_ops', selects(columns), (code) => code !== 'ok')).toEqual([]);
    await expect(as('prpm_ops')`select * from core.secrets`).rejects.toMatchObject({ code: refused });
  });

  it('updates limits, plans, packs, models, settings, ends of prices and six columns of users; nothing else (design: who may do what)', async () => {
    const allowed = await attempts('prpm_ops', updates(await readColumns()), isAllowed);
    expect(allowed.map(columnOf).sort()).toEqual(
      [
        ...(await whole('public.cost_limits_config', 'public.plans', 'public.packs', 'public.models')),
        ...(await settable()),
        'public.model_prices.valid',
        ...ofUsers.map((column) => `public.users.${column}`),
      ].sort(),
    );
  });

  it('adds limits, plans, packs, models and prices; nothing else (design: who may do what)', async () => {
    const allowed = await attempts('prpm_ops', inserts(await readColumns()), isAllowed);
    expect(allowed.map(columnOf).sort()).toEqual(
      (
        await whole(
          ...['public.cost_limits_config', 'public.plans', 'public.packs', 'public.models', 'public.model_prices'],
        )
      ).sort(),
    );
  });

  it('deletes limits; nothing else, and truncates, drops or changes no table (design: who may do what)', async () => {
    const columns = await readColumns();
    expect(await attempts('prpm_ops', [...deletes(columns), ...takeovers(columns)], isAllowed)).toEqual([
      'delete from public.cost_limits_config where false',
      // Whoever may update the whole of a table may lock it, says PostgreSQL 15.
      ...['cost_limits_config', 'models', 'packs', 'plans'].map(
        (table) => `lock table public.${table} in access exclusive mode`,
      ),
    ]);
  });

  it('cannot move a counter that ids are taken from', async () => {
    const sequences = await database.owner<{ name: string }[]>`
      select c.oid::regclass::text as name from pg_class c where c.relkind = 'S' and c.relnamespace = 'public'::regnamespace`;
    const statements = sequences.flatMap(({ name }) => [`select setval('${name}', 1)`, `select nextval('${name}')`]);
    expect(statements.length).toBeGreaterThan(0);
    expect(await attempts('prpm_ops', statements, (code) => code !== refused)).toEqual([]);
  });

  it('executes ops and the functions of public that the guide names, and none of api or core (design: who may do what)', async () => {
    const readers = await readersOfCore();
    const own = (await executed('prpm_ops')).filter((name) => !readers.includes(name));
    expect(own).toEqual(await namesIn('ops', 'public'));
  });
});

describe('the books', () => {
  it.each(['prpm_app', 'prpm_ops', 'prpm_cron', 'prpm_readonly'] as const)(
    'cannot be changed, deleted, truncated or added to by %s (spec 4.2)',
    async (role) => {
      const columns = (await readColumns()).filter(({ relation }) =>
        ['public.credit_transactions', 'public.credit_lots', 'public.runs', 'public.purchases'].includes(relation),
      );
      const statements = [updates, inserts, deletes, takeovers].flatMap((make) => make(columns));
      expect(await attempts(role, statements, (code) => !refusedFirst.includes(code))).toEqual([]);
    },
  );
});

describe("the scheduler's role", () => {
  it('reads and writes no table, and executes the job runner alone (design: who may do what)', async () => {
    const columns = await readColumns();
    const statements = [selects, updates, inserts, deletes, takeovers].flatMap((make) => make(columns));
    expect(await attempts('prpm_cron', statements, isAllowed)).toEqual([]);
    expect(await executed('prpm_cron')).toEqual(['ops.continue_job', 'ops.due_jobs', 'ops.run_job']);
  });
});

describe('the role for dashboards', () => {
  it('writes nothing and executes nothing (design: who may do what)', async () => {
    const columns = await readColumns();
    const statements = [updates, inserts, deletes, takeovers].flatMap((make) => make(columns));
    expect(await attempts('prpm_readonly', statements, isAllowed)).toEqual([]);
    const readers = await readersOfCore();
    expect((await executed('prpm_readonly')).filter((name) => !readers.includes(name))).toEqual([]);
  });

  it('finds nowhere what people wrote, nor a prompt, token, identity or secret (design: who may do what)', async () => {
    const { owner, app, ops } = database;
    const words = ['question', 'answer', 'prompt', 'subject', 'token', 'title'].map((word) => `zebra-${word}`);
    await publishPackage(database);
    await app`
      select from api.sign_in('https://issuer.example', 'zebra-subject', 'seen@example.com', true, 'seen', gen_random_uuid())`;
    const [seen] = await owner`select user_id from identities where subject = 'zebra-subject'`;
    await app`
      select from api.publish_version(
        ${seen?.user_id}, 'hidden', null, null, 'private', null, '1.0.0', 'zebra-prompt', 3, 3, 3)`;
    await ops`select from ops.create_token('seen', 'zebra-token', array['run'])`;
    const writer = await signUp(database, 'writer');
    const run = await begin(database, writer);
    await settle(database, writer, run, { question: 'zebra-question', answer: 'zebra-answer' });
    await owner`update sessions set title = 'zebra-title' where user_id = ${writer}`;
    await owner`select refresh_user_cost_analytics()`;

    const relations = unique((await readColumns()).map(({ relation }) => relation));
    const look = async (sql: postgres.ISql) => {
      const texts: string[] = [];
      for (const relation of relations) {
        const rows = await sql.unsafe(`select t::text as row from ${relation} t`).catch(() => []);
        texts.push(...rows.map(({ row }) => row));
      }
      return { rows: texts.length, found: words.filter((word) => texts.some((text) => text.includes(word))) };
    };
    expect((await look(owner)).found).toEqual(words);
    const dashboard = await look(as('prpm_readonly'));
    expect(dashboard.rows).toBeGreaterThan(20);
    expect(dashboard.found).toEqual([]);
  });

  it('has no column of hashes, keys or texts in what it reads (design: who may do what)', async () => {
    const secret = /hash|secret|_key$|prompt$|question$|answer$|^subject$|^issuer$|^title$|suggested_input$/;
    const columns = (await readColumns()).filter(({ column }) => secret.test(column));
    expect(columns.length).toBeGreaterThan(10);
    const readable = await attempts(
      'prpm_readonly',
      columns.map(({ relation, column }) => `select "${column}" from ${relation} limit 1`),
      (code) => code === 'ok',
    );
    expect(readable).toEqual([]);
  });
});

describe('anybody else', () => {
  it('can execute nothing and read nothing of ours (design: who may do what)', async () => {
    const open = await database.owner<{ name: string }[]>`
      select p.oid::regprocedure::text as name
      from pg_proc p
      where p.pronamespace in (select oid from pg_namespace where nspname in ('api', 'core', 'ops', 'public'))
        and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
        and has_function_privilege('public', p.oid, 'execute')
      union all
      select c.oid::regclass::text
      from pg_class c
      where c.relnamespace in (select oid from pg_namespace where nspname in ('api', 'core', 'ops', 'public'))
        and c.relkind in ('r', 'p', 'v', 'm', 'S') and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
        and exists (select from aclexplode(c.relacl) a where a.grantee = 0)
      union all
      select nspname from pg_namespace n
      where nspname in ('api', 'core', 'ops') and has_schema_privilege('public', n.oid, 'usage')
      union all
      select 'create in public' where has_schema_privilege('public', 'public', 'create')
      union all
      select 'connect' where has_database_privilege('public', current_database(), 'connect, temporary')`;
    expect(open.map(({ name }) => name)).toEqual([]);
  });

  it('gets nothing of what is made later, and the roles their own (design: who may do what)', async () => {
    const rights = await inScratch(database.owner, async (scratch) => {
      await scratch.unsafe(`
        create function api.probe() returns int begin atomic select 1; end;
        create function ops.probe() returns int begin atomic select 1; end;
        create function core.probe() returns int begin atomic select 1; end;
        create table public.probe ()`);
      return scratch<{ role: string; may: string[] }[]>`
        select role, array_remove(array[
          case when has_function_privilege(role, 'api.probe()', 'execute') then 'api' end,
          case when has_function_privilege(role, 'ops.probe()', 'execute') then 'ops' end,
          case when has_function_privilege(role, 'core.probe()', 'execute') then 'core' end,
          case when has_table_privilege(role, 'public.probe', 'select') then 'read' end,
          case when has_table_privilege(role, 'public.probe', 'insert, update, delete, truncate') then 'write' end
        ], null) as may
        from unnest(array['public', 'prpm_app', 'prpm_ops', 'prpm_cron', 'prpm_readonly']) role`;
    });
    expect(Object.fromEntries(rights.map(({ role, may }) => [role, may]))).toEqual({
      public: [],
      prpm_app: ['api'],
      prpm_ops: ['ops', 'read'],
      prpm_cron: [],
      prpm_readonly: [],
    });
  });

  it('is of no help: no role is a member of another, superuser or owner of anything (design: who may do what)', async () => {
    const roles = await superuser`
      select r.rolname from pg_roles r
      where r.rolname like 'prpm\\_%' and (
        r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolbypassrls or r.rolreplication
        or exists (select from pg_auth_members m where m.member = r.oid or m.roleid = r.oid)
      )`;
    expect([...roles]).toEqual([]);
    const owned = await superuser`
      select c.oid::regclass::text as name from pg_class c
      where c.relnamespace in (select oid from pg_namespace where nspname in ('api', 'core', 'ops', 'public'))
        and pg_get_userbyid(c.relowner) <> 'prpm_owner' and c.relkind <> 'i'
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')`;
    expect([...owned]).toEqual([]);
  });
});
