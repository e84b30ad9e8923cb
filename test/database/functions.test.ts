// How functions are made, and who calls whom.
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { differsOnCluster, needs } from '../harness/tools.ts';
import { bareCode, inScratch, readFixtures, readRoutines, root } from './catalog.ts';

let database: TestDatabase;
let superuser: postgres.Sql;
beforeAll(async () => {
  database = await createDatabase();
  superuser = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
});
afterAll(async () => {
  await superuser.end();
  await database.drop();
});

/** Functions of api that act for nobody who is known yet, or for nobody in particular, and why. */
const withoutUser: Record<string, string> = {
  'api.authenticate_token': 'tells who the user is',
  'api.authenticate_login': 'tells who the user is',
  'api.sign_in': 'tells who the user is, and makes them at first sight',
  'api.due_jobs': 'jobs are due for everybody (spec 7.1)',
  'api.run_job': 'jobs are done for everybody (spec 7.1)',
  'api.read_metrics': 'counts over everybody (spec 11.4)',
  'api.check_ready': 'tells of the database as a whole (spec 11.4)',
  'api.set_stripe_prices': 'plans and packs are for everybody (spec 2.4)',
  'api.compare_stripe_prices': 'plans and packs are for everybody (spec 2.4)',
  'api.store_stripe_event': 'Stripe tells whose an event is, by its customer (spec 6.4)',
  'api.apply_stripe_event': 'Stripe tells whose an event is, by its customer (spec 6.4)',
  'api.fail_stripe_event': 'Stripe tells whose an event is, by its customer (spec 6.4)',
  'api.claim_stripe_work': 'is the work of whichever server is there (spec 6.4)',
  'api.finish_stripe_work': 'is the work of whichever server is there (spec 6.4)',
  'api.fail_stripe_work': 'is the work of whichever server is there (spec 6.4)',
  'api.stripe_limits': 'holds for all servers together (spec 6.4)',
  'api.claim_messages': 'is the outbox of whichever server is there (spec 9)',
  'api.finish_message': 'is the outbox of whichever server is there (spec 9)',
  'api.fail_message': 'is the outbox of whichever server is there (spec 9)',
  'api.unsubscribe': 'the token that came by mail tells who declines it (spec 9)',
};

/** Functions that run text as SQL, and why: calls in it are seen by no check. */
const dynamic: Record<string, string> = {
  'core.export_rows': 'reads the tables that core.export_parts lists, by their own keys',
  'core.do_batch': 'calls the function that a row of jobs names; only migrations write there',
  'core.sweep_users': 'calls the functions that a row of jobs or its caller names',
  'core.change_row': 'changes fields that core.config_fields lists, of tables that it lists',
  'core.decode_cursor': 'casts to types that its caller names',
};

/** Procedures that commit, which PostgreSQL forbids to those that run as their owner or set anything, and why they must. */
const commits: Record<string, string> = {
  'ops.run_job': 'ends a transaction after each batch, so that nobody waits for a whole sweep (spec 7.1)',
};

// ── made in the right way ──

/** Every breach, in words that begin with the function's name. */
async function breaches(sql: postgres.ISql): Promise<string[]> {
  const routines = await readRoutines(sql);
  return routines.flatMap((routine) => {
    const found: string[] = [];
    const { name, schema } = routine;
    const isFree = name in commits; // runs with its caller's rights and search path
    if (!isFree && !routine.isAtomic && !routine.settings.includes('search_path=""'))
      found.push(`${name} has an open search path`);
    if (schema === 'api' && !routine.runsAsOwner) found.push(`${name} does not run as its owner`);
    const [first] = routine.parameters;
    if (schema === 'api' && !(name in withoutUser) && !(first?.name === 'user_id' && first.type === 'uuid')) {
      found.push(`${name} does not take user_id first`);
    }
    if (!isFree && ['ops', 'public'].includes(schema) && routine.volatility === 'volatile' && !routine.runsAsOwner) {
      found.push(`${name} writes, but not as its owner`);
    }
    if (/\bexecute\b/i.test(bareCode(routine.source)) && !(name in dynamic)) found.push(`${name} runs text as SQL`);
    return found;
  });
}

it('every function binds its names, runs as who it should and takes the user first (style: SQL; design: keys, rule 5)', async () => {
  const routines = await readRoutines(database.owner);
  expect(routines.length).toBeGreaterThan(100);
  expect(await breaches(database.owner)).toEqual([]);
});

it('every exception that these tests make is of a function that there is', async () => {
  const names = (await readRoutines(database.owner)).map(({ name }) => name);
  expect(
    [...Object.keys(withoutUser), ...Object.keys(dynamic), ...Object.keys(commits)].filter(
      (name) => !names.includes(name),
    ),
  ).toEqual([]);
});

it("a procedure that commits names everything by its schema, for the search path is its caller's (style: SQL)", async () => {
  const free = (await readRoutines(database.owner)).filter(({ name }) => name in commits);
  const unqualified = free.flatMap(({ name, source }) =>
    [...bareCode(source).matchAll(/\b(?:from|join|perform|update|into|call)\s+(\w+)\s*\(|(?<![\w.])(\w+)\(/gi)]
      .map(([, after, called]) => after ?? called ?? '')
      .filter((word) => !['coalesce', 'least', 'greatest', 'extract', 'count'].includes(word.toLowerCase()))
      .map((word) => `${name}: ${word}`),
  );
  expect(unqualified).toEqual([]);
});

it('no function that says it only reads calls one that writes (style: SQL)', async () => {
  const routines = await readRoutines(database.owner);
  const volatility = new Map(routines.map((routine) => [routine.name, routine.volatility]));
  const writers = (await readCalls(database.owner)).filter(
    ({ caller, callee }) =>
      ['stable', 'immutable'].includes(volatility.get(caller) ?? '') && volatility.get(callee) === 'volatile',
  );
  expect(writers).toEqual([]);
});

describe('the check itself names', () => {
  const body = (attributes: string) => `returns void language plpgsql ${attributes} as 'begin end'`;
  it.each([
    ['a search path that is not set', `core.probe() ${body('')}`, ['core.probe has an open search path']],
    [
      'a search path that names a schema',
      `core.probe() ${body('set search_path = public')}`,
      ['core.probe has an open search path'],
    ],
    [
      'a text body in SQL',
      "core.probe() returns int language sql as 'select 1'",
      ['core.probe has an open search path'],
    ],
    ['nothing of a SQL-standard body', 'core.probe() returns int begin atomic select 1; end', []],
    [
      "a caller's function of api",
      `api.probe(user_id uuid) ${body("set search_path = ''")}`,
      ['api.probe does not run as its owner'],
    ],
    [
      'a function of api without a user',
      `api.probe(run_id uuid) ${body("security definer set search_path = ''")}`,
      ['api.probe does not take user_id first'],
    ],
    [
      'a function of api with the user as text',
      `api.probe(user_id text) ${body("security definer set search_path = ''")}`,
      ['api.probe does not take user_id first'],
    ],
    [
      "an operator's action with the operator's own rights",
      `ops.probe() ${body("set search_path = ''")}`,
      ['ops.probe writes, but not as its owner'],
    ],
    [
      'text run as SQL',
      "core.probe(x text) returns void language plpgsql set search_path = '' as 'begin execute x; end'",
      ['core.probe runs text as SQL'],
    ],
  ])('%s', async (_, definition, expected) => {
    const found = await inScratch(database.owner, async (scratch) => {
      await scratch.unsafe(`create function ${definition}`);
      return (await breaches(scratch)).filter((breach) => breach.includes('probe'));
    });
    expect(found).toEqual(expected);
  });
});

// ── plpgsql_check ──

const canCheck = !needs('plpgsql_check') && !differsOnCluster('plpgsql_check and Citus in one server bring it down');
describe.skipIf(!canCheck)('plpgsql_check', () => {
  /** What it finds in all plpgsql functions; in a trigger's function once for each table that it watches. */
  async function findings(sql: postgres.ISql): Promise<string[]> {
    const rows = await sql<{ finding: string }[]>`
      select f.name || coalesce(' on ' || f.relation::text, '') || coalesce(' line ' || c.lineno, '') || ': ' || c.level || ': '
        || c.message || coalesce(' (' || c.detail || ')', '') as finding
      from (
        select p.oid, n.nspname || '.' || p.proname as name, t.tgrelid::regclass as relation
        from pg_proc p
        join pg_namespace n on n.oid = p.pronamespace
        join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
        left join pg_trigger t on t.tgfoid = p.oid and not t.tgisinternal
        where n.nspname in ('api', 'core', 'ops', 'public')
      ) f
      cross join lateral plpgsql_check_function_tb(
        f.oid, coalesce(f.relation, 0), fatal_errors => false, security_warnings => true
      ) c
      -- "user" and "limit" are chosen, as what a person would call them; they are quoted wherever they stand.
      where c.message !~ '^name of parameter ".*" is reserved keyword$'
      order by 1`;
    return rows.map(({ finding }) => finding);
  }

  it('finds no fault in any function, triggers with their tables (design: toolchain)', async () => {
    const found = await inScratch(superuser, async (scratch) => {
      await scratch`create extension plpgsql_check`;
      return findings(scratch);
    });
    expect(found).toEqual([]);
  });

  it('is asked in a way that shows faults: a column that there is not, a variable that nobody reads', async () => {
    const found = await inScratch(superuser, async (scratch) => {
      await scratch`create extension plpgsql_check`;
      await scratch.unsafe(`
        create function core.probe() returns void language plpgsql set search_path = '' as $$
        declare
          idle integer;
        begin
          update public.users set none = 1 where false;
        end
        $$`);
      return findings(scratch);
    });
    expect(found).toEqual([
      expect.stringMatching(/^core\.probe line 3: warning: unused variable "idle"/),
      expect.stringMatching(/^core\.probe line 5: error: column "none" /),
    ]);
  });
});

// ── rooms ──

type Call = { caller: string; callee: string };

function readViews(sql: postgres.ISql): Promise<{ name: string }[]> {
  return sql<{ name: string }[]>`
    select n.nspname || '.' || c.relname as name
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('api', 'core', 'ops', 'public') and c.relkind in ('v', 'm')
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')`;
}

/** Who calls or reads which function or view of ours. Of a SQL-standard body and a view PostgreSQL knows; of others the source tells. */
async function readCalls(sql: postgres.ISql): Promise<Call[]> {
  const routines = await readRoutines(sql);
  const views = await readViews(sql);
  const bound = await sql<Call[]>`
    with thing as (
      select 'pg_proc'::regclass as class, p.oid, n.nspname || '.' || p.proname as name, p.oid as user_oid, 'pg_proc'::regclass as user_class
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where n.nspname in ('api', 'core', 'ops', 'public')
      union all
      select 'pg_class'::regclass, c.oid, n.nspname || '.' || c.relname, r.oid, 'pg_rewrite'::regclass
      from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_rewrite r on r.ev_class = c.oid
      where n.nspname in ('api', 'core', 'ops', 'public') and c.relkind in ('v', 'm')
    )
    select distinct a.name as caller, b.name as callee
    from pg_depend d
    join thing a on a.user_class = d.classid and a.user_oid = d.objid
    join thing b on b.class = d.refclassid and b.oid = d.refobjid
    where a.name <> b.name`;
  const names = new Set([...routines, ...views].map(({ name }) => name));
  const written = routines
    .filter(({ isAtomic }) => !isAtomic)
    .flatMap(({ name, source }) =>
      [...bareCode(source).matchAll(/\b(?:api|core|ops|public)\.\w+/g)]
        .filter(([callee]) => names.has(callee) && callee !== name)
        .map(([callee]) => ({ caller: name, callee })),
    );
  const unique = new Map([...bound, ...written].map((call) => [`${call.caller} ${call.callee}`, call]));
  return [...unique.values()];
}

/** db/README.md: which rooms each room may call, and what is the ground that all of them stand on. */
function readHouse(): { mayCall: Map<string, string[]>; ground: string[] } {
  const readme = readFileSync(join(root, 'db/README.md'), 'utf8');
  const rows = [...readme.matchAll(/^\| (\w+) \|.*\| ([\w, ]+) \|$/gm)]
    .map(([, room = '', list = '']): [string, string] => [room, list])
    .filter(([room]) => room !== 'room' && room !== 'role');
  const rooms = rows.map(([room]) => room);
  const mayCall = rows.map(([room, list]): [string, string[]] => {
    const named = list.split(/\W+/).filter((word) => rooms.includes(word));
    if (!list.startsWith('all')) return [room, named];
    return [room, rooms.filter((other) => other !== room && !named.includes(other))];
  });
  const [ground = ''] = /is the ground that all of them stand on:[\s\S]*?\n\n/.exec(readme) ?? [];
  return { mayCall: new Map(mayCall), ground: [...ground.matchAll(/`(\w+\.\w+)`/g)].map(([, name = '']) => name) };
}

const rooms = new Map(readFixtures().flatMap(({ room, makes }) => makes.map((name): [string, string] => [name, room])));
const house = readHouse();

/** Calls from one room to another, but for those of the ground. */
async function callsBetweenRooms(sql: postgres.ISql): Promise<(Call & { from: string; to: string })[]> {
  return (await readCalls(sql)).flatMap((call) => {
    const [from, to] = [rooms.get(call.caller), rooms.get(call.callee)];
    if (from === undefined || to === undefined || from === to) return [];
    return house.ground.includes(call.callee) || house.ground.includes(call.caller) ? [] : [{ ...call, from, to }];
  });
}

async function forbiddenCalls(sql: postgres.ISql): Promise<string[]> {
  const calls = await callsBetweenRooms(sql);
  return calls
    .filter(({ from, to }) => !house.mayCall.get(from)?.includes(to))
    .map(({ caller, callee, from, to }) => `${caller} (${from}) calls ${callee} (${to})`)
    .sort();
}

/** A way from a room back to itself, if there is one. */
function findCycle(calls: { from: string; to: string }[]): string[] | undefined {
  const next = (room: string) => [...new Set(calls.filter(({ from }) => from === room).map(({ to }) => to))];
  const walk = (way: string[]): string[] | undefined => {
    for (const room of next(way.at(-1) ?? '')) {
      if (way.includes(room)) return [...way.slice(way.indexOf(room)), room];
      const found = walk([...way, room]);
      if (found) return found;
    }
    return undefined;
  };
  return calls.map(({ from }) => walk([from])).find((cycle) => cycle !== undefined);
}

it('no view calls what takes or returns rows of a table: Citus would go in circles between them (docs/scale.md)', async () => {
  const found = await database.owner<{ view: string; routine: string }[]>`
    select distinct v.oid::regclass::text as view, p.oid::regprocedure::text as routine
    from pg_class v join pg_rewrite r on r.ev_class = v.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_proc'::regclass
    join pg_proc p on p.oid = d.refobjid
    join pg_type t on t.oid = any (p.proargtypes::oid[] || p.prorettype)
    join pg_class c on c.oid = t.typrelid and c.relkind = 'r'
    where v.relnamespace in ('core'::regnamespace, 'ops'::regnamespace, 'public'::regnamespace)
      and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = v.oid and e.deptype = 'e')`;
  expect([...found]).toEqual([]);
});

describe('rooms', () => {
  it('every function and view is made by one file of db/fixtures, which has its name (style: one word per room)', async () => {
    const routines = await readRoutines(database.owner);
    const views = await readViews(database.owner);
    const made = readFixtures().flatMap(({ makes }) => makes);
    const isThere = new Set([...routines, ...views].map(({ name }) => name));
    if (differsOnCluster('db/scale has functions of its own'))
      for (const file of globSync('db/scale/*.sql', { cwd: root }))
        if (!made.includes(`core.${basename(file, '.sql')}`)) isThere.delete(`core.${basename(file, '.sql')}`);
    expect([...made].sort()).toEqual([...isThere].sort());
    const misnamed = readFixtures().filter(
      ({ file, makes }) =>
        makes.length > 1 || makes.some((name) => ![name.split('.')[1], name.replace('.', '_')].includes(file)),
    );
    expect(misnamed.map(({ path }) => path)).toEqual([]);
  });

  it('db/README.md says of every room that has a function which ones it may call (style: one word per room)', () => {
    expect([...house.mayCall.keys()]).toEqual(expect.arrayContaining([...new Set(rooms.values())]));
    expect(house.ground).toContain('core.now');
  });

  it('db/README.md lists, room by room, what each offers the server and operators (style: one word per room)', () => {
    const readme = readFileSync(join(root, 'db/README.md'), 'utf8');
    const listed = [...readme.matchAll(/^\| (\w+) \|[^|]*\|([^|]*)\|([^|]*)\|[^|]*\|$/gm)].flatMap(
      ([, room, server, operators]) => {
        const names = (cell = '', schema: string) =>
          [...cell.matchAll(/`([\w.]+)`/g)].map(([, name = '']) => (name.includes('.') ? name : `${schema}.${name}`));
        return [...names(server, 'api'), ...names(operators, 'ops')].map((name) => `${room}: ${name}`);
      },
    );
    const offered = [...rooms].filter(([name]) => !name.startsWith('core.')).map(([name, room]) => `${room}: ${name}`);
    expect(listed.sort()).toEqual(offered.sort());
  });

  it('a room calls only those that db/README.md lets it call (style: one word per room)', async () => {
    expect((await callsBetweenRooms(database.owner)).length).toBeGreaterThan(30);
    expect(await forbiddenCalls(database.owner)).toEqual([]);
  });

  it('calls go one way: no room is called, on whatever way, by one that it calls (style: one word per room)', async () => {
    expect(findCycle(await callsBetweenRooms(database.owner))).toBeUndefined();
    const allowed = [...house.mayCall].flatMap(([from, list]) => list.map((to) => ({ from, to })));
    expect(findCycle(allowed)).toBeUndefined();
  });

  it('limits, credits, catalog and accounts never call runs (style: one word per room)', async () => {
    const below = ['limits', 'credits', 'catalog', 'accounts'];
    const calls = await callsBetweenRooms(database.owner);
    expect(calls.filter(({ from, to }) => below.includes(from) && to === 'runs')).toEqual([]);
  });

  it.each([
    [
      'in a source',
      `create or replace function core.spend_rank(kind text) returns integer language plpgsql as $$
       begin
         perform api.stop_run(null, null); -- core.now()
         return 'core.tier_at(';
       end
       $$`,
      'core.spend_rank (credits) calls api.stop_run (runs)',
    ],
    [
      'in a SQL-standard body',
      `create or replace function core.spend_rank(kind text) returns integer
       begin atomic select length(api.settle_run(null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)::text); end`,
      'core.spend_rank (credits) calls api.settle_run (runs)',
    ],
  ])(
    'the check itself names a call %s that goes the wrong way, and the cycle that it makes',
    async (_, statement, expected) => {
      const [found, cycle] = await inScratch(database.owner, async (scratch) => {
        await scratch.unsafe(statement);
        return [await forbiddenCalls(scratch), findCycle(await callsBetweenRooms(scratch))];
      });
      expect(found).toEqual([expected]);
      expect(cycle).toEqual(expect.arrayContaining(['credits', 'runs']));
    },
  );
});
