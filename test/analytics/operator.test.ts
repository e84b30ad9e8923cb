// What an operator looks at: views and help.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { begin, converse, publishPackage, settle, signUp } from '../sessions/people.ts';

let database: TestDatabase;
let user: string;

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  user = await signUp(database, 'user');
});
afterAll(() => database.drop());

test('a running run is seen with its hold and its progress, newest first', async () => {
  const first = await begin(database, user);
  const second = await begin(database, user, { model: 'gpt-4o' });
  await database.app`select status from api.checkpoint_run(${user}, ${second}, 'so', 'far', 20, null, null, null)`;
  expect(
    await database.ops`select run_id, included_credits_held, expires_in_seconds > 0 as lives from ops.open_holds`,
  ).toEqual([
    { run_id: second, included_credits_held: '2', lives: true },
    { run_id: first, included_credits_held: '1', lives: true },
  ]);
  expect(await database.ops`select email, package_name, model, output_tokens_so_far from ops.runs_live`).toEqual([
    { email: 'user@example.com', package_name: 'notes', model: 'gpt-4o', output_tokens_so_far: 20 },
    { email: 'user@example.com', package_name: 'notes', model: 'gpt-4o-mini', output_tokens_so_far: null },
  ]);
  for (const run of [first, second]) await settle(database, user, run);
  expect(await database.ops`select * from ops.open_holds`).toHaveLength(0);
});

test('refusals are counted by reason, with limit and unit (spec 3.7)', async () => {
  await database.owner`update cost_limits_config set hourly_request_limit = 2 where tier_name = 'free'`;
  await expect(begin(database, user)).rejects.toThrow('hourly_request_limit');
  await expect(begin(database, user)).rejects.toThrow('hourly_request_limit');
  expect(await database.ops`select email, reason, refusals, limit_value, unit from ops.refusals`).toEqual([
    { email: 'user@example.com', reason: 'hourly_request_limit', refusals: '2', limit_value: '2', unit: 'runs' },
  ]);
  await database.owner`update cost_limits_config set hourly_request_limit = 10 where tier_name = 'free'`;
});

test('estimates are held against what providers reported (spec 1.6)', async () => {
  const other = await signUp(database, 'other');
  await converse(database, other, { usage: { input: 50, output: 10 } });
  await converse(database, other, { usage: { input: 400, output: 10 } });
  const [row] = await database.ops`
    select runs, runs_under_estimated from ops.estimate_errors where model = 'gpt-4o-mini' and estimate_is_exact`;
  expect(row).toEqual({ runs: '3', runs_under_estimated: '2' });
});

test('averages for estimates count completed runs with the prompt, as of the last refresh (spec 5.7)', async () => {
  const baseliner = await signUp(database, 'baseliner');
  await converse(database, baseliner, { baseline: true, usage: { input: 50, output: 4000 } });
  await database.ops`select refresh_user_cost_analytics()`;
  const [row] =
    await database.owner`select runs, average_output_tokens from core.package_model_usage where model = 'gpt-4o-mini'`;
  expect(row).toEqual({ runs: '3', average_output_tokens: 173 });
});

test('help finds by purpose, with a call to paste that works', async () => {
  const found = await database.ops`select name, kind, call from ops.help('throttled')`;
  expect(found[0]).toMatchObject({
    name: 'ops.throttled_now',
    kind: 'view',
    call: 'select * from ops.throttled_now limit 20;',
  });
  expect(await database.ops`select * from ops.help('rollover credits most')`).toMatchObject([
    { name: 'settings.max_rollover_credits', kind: 'setting', call: 'update settings set max_rollover_credits = …;' },
  ]);
  expect(await database.ops`select * from ops.help('zebra')`).toHaveLength(0);
  const views = await database.ops<{ call: string }[]>`select call from ops.help() where kind = 'view'`;
  for (const { call } of views) await database.ops.unsafe(call);
});

test('every view of ops has at most 12 columns, each explained', async () => {
  const columns = await database.owner`
    select c.relname as view, count(*)::integer as columns, count(col_description(c.oid, a.attnum))::integer as explained
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = 'ops'::regnamespace and c.relkind = 'v' group by c.oid, c.relname`;
  for (const { view, columns: count, explained } of columns) {
    expect(count, view).toBeLessThanOrEqual(12);
    expect(explained, view).toBe(count);
  }
});
