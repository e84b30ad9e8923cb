import postgres from 'postgres';
import { afterAll, expect, it } from 'vitest';
import { all, call, events, openHouse, type SentEvent, until } from './house.ts';

const house = await openHouse();
const elsewhere = new URL(house.database.superuserUrl);
elsewhere.pathname = '/postgres';
const superuser = postgres(elsewhere.href, { max: 1, onnotice: () => {} });
afterAll(async () => {
  await superuser.end();
  await house.close();
});
const { url, ada, packageId, database } = house;
const execute = '/api/v1/playground/execute';
const body = (input: string) => ({ token: ada.token, body: { package_id: packageId, input } });

const cutConnections = () => superuser`
  select pg_terminate_backend(pid) from pg_stat_activity
  where datname = ${house.database.name} and application_name = 'prpm-playground'`;
const allow = (connections: boolean) =>
  superuser.unsafe(`alter database ${house.database.name} allow_connections ${connections}`);

it('a run outlives the loss of every connection, and is charged once', async () => {
  const seen: SentEvent[] = [];
  for await (const event of events(url, 'POST', execute, body('cut [[sandbox: tokens=60 pace=10]]'))) {
    seen.push(event);
    if (seen.length === 10) await cutConnections();
  }
  const receipt = seen.at(-1);
  expect(receipt?.event).toBe('run.completed');
  const [row] = await database.owner`
    select count(*)::int as n from credit_transactions where run_id = ${receipt?.data.run_id}`;
  expect(row?.n).toBe(1);
  expect(await house.audit()).toEqual([]);
});

it('a settlement waits for the database to come back', async () => {
  const { completed } = house.standIns.calls.anthropic;
  const stream = all(events(url, 'POST', execute, body('wait [[sandbox: tokens=100 pace=20]]')));
  await until(async () => (await database.owner`select from runs where status = 'running'`).length === 1);
  await allow(false);
  await cutConnections();
  await until(() => house.standIns.calls.anthropic.completed === completed + 1);
  await new Promise((resolve) => setTimeout(resolve, 600)); // it has been tried by then
  const [during] = await database.owner`select status from runs order by id desc limit 1`;
  expect(during?.status).toBe('running');
  await allow(true);
  expect((await stream).at(-1)?.event).toBe('run.completed');
  expect(await house.audit()).toEqual([]);
});

it('without a database requests are answered 503, and healthz still 200', async () => {
  await allow(false);
  await cutConnections();
  const [run, ready, alive] = [
    await call(url, 'POST', execute, body('nobody')),
    await call(url, 'GET', '/readyz'),
    await call(url, 'GET', '/healthz'),
  ];
  await allow(true);
  expect([run.status, ready.status, alive.status]).toEqual([503, 503, 200]);
  expect(run.json.error).toBe('database_unavailable');
  expect(run.headers['retry-after']).toBe('2');
  expect(run.text).not.toMatch(/prpm_app|127\.0\.0\.1|postgres/);
  await until(async () => (await call(url, 'GET', '/readyz')).status === 200);
});
