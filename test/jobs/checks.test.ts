// ops.checks() and ops.health: each thing that can be wrong is made so, and must be named; what is healthy must not.
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { differsOnCluster } from '../harness/tools.ts';
import { begin, buy, converse, publishPackage, settle, signUp, wait } from '../sessions/people.ts';

let database: TestDatabase;
let superuser: postgres.Sql;
let user: string;

beforeAll(async () => {
  database = await createDatabase();
  superuser = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
  await publishPackage(database);
  user = await signUp(database, 'user');
  await database.ops.unsafe('call ops.run_job()');
});
afterAll(async () => {
  await superuser.end();
  await database.drop();
});

/** Checks that were seen to complain. */
const seen = new Set<string>();

type Check = { check: string; detail: string; what_to_do: string };
const checks = (sql: postgres.ISql = database.ops) => sql<Check[]>`select * from ops.checks() order by 1, 2`;
/** The clock of a test database is moved, which is a fault of its own. */
const others = (found: readonly Check[]) => found.filter(({ check }) => check !== 'clock');

/** What the statements of a superuser lead to, taken back again. */
async function disturbed<T>(statements: string, look: (sql: postgres.TransactionSql) => Promise<T>): Promise<T> {
  const undo = new Error('undo');
  let found: { it: T } | undefined;
  await superuser
    .begin(async (sql) => {
      // As who owns the tables, where that is enough: the functions do, and one transaction on a cluster is of one role.
      if (!/alter role|grant prpm_/.test(statements)) await sql`set local role prpm_owner`;
      await sql.unsafe(statements);
      found = { it: await look(sql) };
      throw undo;
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error;
    });
  if (!found) throw new Error('nothing was looked at');
  return found.it;
}

test('a healthy database has no check to show, and says that nothing needs you (spec 12)', async () => {
  const rest = await disturbed('update settings set clock_offset = default', async (sql) => [
    ...(await sql`select * from ops.checks() where "check" <> 'job late'`),
  ]);
  expect(rest).toEqual([]);
  expect((await checks()).map(({ check }) => check)).toEqual(['clock']);
});

describe('a check names', () => {
  const event = (status: string, received: string) => `
    insert into stripe_events (id, type, created, livemode, body, status, same_version, error, received_at)
    values ('evt_1', 'charge.refunded', 1, false, '{}', '${status}', true, 'payment is unknown', ${received})`;
  test.each([
    [
      'the books',
      "update users set lifetime_api_cost = 9; select from ops.repeat_job('audit-books', 'test'); select from ops.continue_job('audit-books')",
      'books',
    ],
    [
      'a model without a price',
      "insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer) values ('new', 'openai', 'new', 1, 1, 1, 'approximate')",
      'model without a price',
    ],
    ['a tier without a row that somebody pays for', "update users set plan_tier = 'gone'", 'tier missing'],
    ['a free tier without a row', "delete from cost_limits_config where tier_name = 'free'", 'tier missing'],
    ['one that somebody was given', "update users set tier_override = 'gone'", 'tier missing'],
    [
      'a plan that cannot be bought while others can',
      "update plans set stripe_price_id = 'price_1' where plan = 'prpm_plus_individual'",
      'plan without a Stripe price',
    ],
    ['a default model that is switched off', 'update models set enabled = false where is_default', 'no default model'],
    ['a model for visitors that there is not', "update settings set anonymous_model = 'none'", 'no model for visitors'],
    ['a size that no request has', 'update settings set max_request_tokens = 10', 'request size'],
    [
      'a tier whose budget is used up',
      "update cost_limits_config set paused_until = core.now() + interval '1 hour' where tier_name = 'free'",
      'tier paused',
    ],
    [
      'a closed account whose subscription goes on',
      "update users set closed_at = core.now(); insert into subscriptions (user_id, id, plan, status, stripe_created_at, created_at, updated_at) select id, 'sub_1', 'prpm_plus_individual', 'active', core.now(), core.now(), core.now() from users where username = 'user'",
      'closed account pays on',
    ],
    ['runs that are switched off', 'update settings set runs_enabled = false', 'switched off'],
    ['purchases that are switched off', 'update settings set purchases_enabled = false', 'switched off'],
    [
      'a job that nobody does',
      "delete from job_runs where job = 'expire-holds'; update jobs set added_at = '2020-01-01' where job = 'expire-holds'; update job_runs set slot = slot where false; insert into job_runs (job, slot, started_at, finished_at) values ('expire-holds', core.now() - interval '1 hour', core.now() - interval '1 hour', core.now() - interval '1 hour')",
      'job late',
    ],
    ['a job that failed', "update job_runs set error = 'no space' where job = 'forget-keys'", 'job failed'],
    [
      'analytics that are old',
      "update core.analytics_refresh set refreshed_at = clock_timestamp() - interval '121 minutes'",
      'analytics old',
    ],
    ['an event that needs a person', event('needs_review', 'core.now()'), 'Stripe needs a person'],
    [
      'work that was given up',
      "insert into stripe_work (dedupe, kind, key, error, is_failed, due_at, created_at) values ('x', 'fetch_payment', 'pi_1', 'gone', true, core.now(), core.now())",
      'Stripe needs a person',
    ],
    [
      'work that nobody takes',
      "insert into stripe_work (dedupe, kind, key, due_at, created_at) values ('x', 'fetch_payment', 'pi_1', core.now() - interval '6 minutes', core.now())",
      'Stripe waits for a server',
    ],
    [
      'an event that nobody applies',
      event('received', "core.now() - interval '6 minutes'"),
      'Stripe waits for a server',
    ],
    [
      'what reconciliation found',
      "insert into stripe_drift (found_at, kind, object, theirs) values (core.now(), 'subscription', 'sub_1', 'active')",
      'Stripe differed',
    ],
    [
      'a message that was given up',
      "insert into messages (dedupe, channel, kind, subject, body, created_at, due_at, attempts, given_up_at) values ('x', 'webhook', 'margin', 'Margin 12 %', '', core.now(), core.now(), 9, core.now())",
      'message not delivered',
    ],
    [
      'a message that no server takes',
      "insert into messages (dedupe, channel, kind, subject, body, created_at, due_at) values ('x', 'webhook', 'margin', 'Margin 12 %', '', core.now() - interval '16 minutes', core.now())",
      'message not delivered',
    ],
    [
      'a message that failed three times',
      "insert into messages (dedupe, channel, kind, subject, body, created_at, due_at, attempts, error) values ('x', 'user_email', 'throttled', 'No more runs', '', core.now(), core.now(), 3, 'SMTP 451')",
      'message not delivered',
    ],
    ['a table that the server may read', 'grant select on runs to prpm_app', 'rights'],
    ['a column that the scheduler may change', 'grant update (cost) on runs to prpm_cron', 'rights'],
    ['books that an operator may change', 'grant insert on credit_transactions to prpm_ops', 'rights'],
    [
      'a function of operators that the server may call',
      'grant execute on function ops.grant_credits to prpm_app',
      'rights',
    ],
    ['a role that became a superuser', 'alter role prpm_readonly superuser', 'rights'],
    ['a role that may look past row security', 'alter role prpm_app bypassrls', 'rights'],
    ['a table that the scheduler may read', 'grant select on jobs to prpm_cron', 'rights'],
    ['books that a dashboard may change', 'grant update (cost) on runs to prpm_readonly', 'rights'],
    [
      'a function of the server that an operator may call',
      'grant execute on function api.settle_run to prpm_ops',
      'rights',
    ],
    ['a role that was given another', 'grant prpm_owner to prpm_readonly', 'rights'],
  ])('%s', async (_, statements, name) => {
    const found = others(await disturbed(statements, async (sql) => [...(await checks(sql))]));
    const names = new Set(found.map(({ check }) => check));
    // Rights that one node alone has are a difference between nodes, too.
    if (differsOnCluster('functions are on several nodes')) names.delete('function differs');
    expect(names).toEqual(new Set([name]));
    seen.add(name);
    for (const row of found) expect(row.what_to_do).toMatch(/select|call|update|npm run|row|Enter|Is /);
  });

  test('a hold that outlived its expiry, until it is ended', async () => {
    await database.owner`delete from stripe_work`; // no server does it, and a slow machine has let it wait for minutes by now
    const holder = await signUp(database, 'holder');
    const run = await begin(database, holder);
    await wait(database, '3 minutes');
    const found = others(await checks());
    expect(found.map(({ check }) => check)).toEqual(['hold outlived its expiry']);
    seen.add('hold outlived its expiry');
    expect(found[0]?.detail).toContain(run);
    await settle(database, holder, run);
    expect(others(await checks())).toEqual([]);
  });
});

test('each check has been disturbed here (style: the judge is judged)', async () => {
  for (const { check } of await checks()) seen.add(check); // the clock is off in every test database
  const sources = await database.owner<{ source: string }[]>`
    select p.prosrc as source from pg_proc p
    where p.pronamespace = 'core'::regnamespace and p.proname like 'faults\\_of\\_%' and p.proname <> 'faults_of_cluster'`; // test/scale/checks
  const all = sources.flatMap(({ source }) =>
    [...source.matchAll(/\bselect '([^']+)',/g)].map(([, name]) => name ?? ''),
  );
  expect(all.length).toBeGreaterThan(15);
  expect([...seen].sort()).toEqual([...new Set(all)].sort());
  const [{ definition = '' } = {}] = await database.owner<{ definition: string }[]>`
    select p.prosrc as definition from pg_proc p where p.oid = 'ops.checks'::regproc`;
  expect(definition.match(/core\.faults_of_\w+/g)).toHaveLength(sources.length + 1);
});

test('what checks say is what happens: done, the check is gone (spec 12)', async () => {
  await database.owner`update users set lifetime_api_cost = lifetime_api_cost + 9 where id = ${user}`;
  await expect(database.ops.unsafe("call ops.run_job('audit-books', 'test')")).rejects.toThrow('lifetime_api_cost');
  expect(others(await checks())[0]).toMatchObject({
    check: 'books',
    detail: expect.stringContaining('lifetime_api_cost'),
  });
  await database.owner`update users set lifetime_api_cost = lifetime_api_cost - 9 where id = ${user}`;
  await database.ops.unsafe("call ops.run_job('audit-books', 'put right')");
  expect(others(await checks())).toEqual([]);
});

test('health counts what goes on now, each figure as the tables have it (spec 12)', async () => {
  const health = async () => {
    const rows = await database.ops`select figure, value::float, note from ops.health`;
    expect(rows.length).toBeLessThanOrEqual(12);
    return Object.fromEntries(rows.map(({ figure, value, note }) => [figure, { value, note }]));
  };
  await wait(database, '2 hours');
  await database.ops.unsafe('call ops.run_job()');
  await database.owner`delete from stripe_work`; // no server of this test asks Stripe
  await database.owner`delete from alerts`;
  expect(await health()).toMatchObject({
    'running now': { value: 0 },
    'begun in the last hour': { value: 0 },
    'first words, slowest of 20': { value: null },
    'jobs late or failed': { value: 0 },
    'needs you': { value: 1, note: expect.stringMatching(/^clock: /) },
  });

  const buyer = await signUp(database, 'buyer');
  await buy(database, buyer);
  for (const usage of [
    { input: 1000, output: 400 },
    { input: 20_000, output: 3000 },
  ])
    await converse(database, buyer, { usage });
  await settle(database, buyer, await begin(database, buyer), { ending: 'failed' });
  await begin(database, buyer);
  await database.owner`update runs set first_token_ms = 300 where user_id = ${buyer} and credits > 2`;
  await database.owner`update cost_limits_config set minute_request_limit = 5 where tier_name = 'free'`;
  await begin(database, buyer, { model: 'gpt-4o' });
  await expect(begin(database, buyer)).rejects.toThrow('rate_limited');
  await database.ops`update users set is_throttled = true where id = ${user}`;

  const [sum] = await database.owner`
    select r.hour, u.day, r.earned
    from (
      select sum(r.cost)::float as hour, (sum(r.included_value) + sum(r.purchased_value))::numeric(9, 2)::text as earned
      from runs r where r.started_at > core.now() - interval '1 hour'
    ) r
    cross join (select sum(u.current_day_api_cost)::float as day from users u) u`;
  expect(await health()).toMatchObject({
    'running now': { value: 2, note: expect.stringContaining('hold 3 credits') },
    'begun in the last hour': { value: 5 },
    'failed in the last hour': {
      value: 1,
      note: expect.stringMatching(/^20.0 % of those begun, mostly provider_error/),
    },
    'first words, slowest of 20': { value: expect.any(Number), note: expect.stringContaining('100') },
    'spent in the last hour': { value: expect.closeTo(sum?.hour, 4) },
    'spent today': { value: expect.closeTo(sum?.day, 4), note: expect.stringContaining(`${sum?.earned}.`) },
    'throttled now': { value: 1, note: expect.stringMatching(/^1 of them by operators/) },
    'refused in the last hour': { value: 1, note: expect.stringMatching(/^Of 1 people, mostly rate_limited/) },
    'alerts open': { value: 0 },
    'inbox waiting': { value: 0 },
  });
});
