// Who may ask the admin API and the explainers, and how they answer.
import { afterAll, describe, expect, it } from 'vitest';
import { routes } from '../../src/http/routes.ts';
import { base, openAdministration } from '../analytics/administration.ts';
import { converse, settle, begin as start } from '../sessions/people.ts';
import { call } from './house.ts';

const world = await openAdministration();
afterAll(world.close);
const { database, url, house } = world;
const { ada, bob } = house;

const adminRoutes = routes.filter(({ path }) => path.startsWith('/admin/'));
const placed = (path: string) => `/api/v1${path.replace('alerts/:id', 'alerts/1').replace(':id', ada.userId)}`;
const bodyOf = (path: string) => (/(unthrottle|acknowledge)$/.test(path) ? { body: { reason: 'test' } } : {});

describe.each(adminRoutes)('$method $path', ({ method, path }) => {
  it('answers 401 without a token (spec 2.2)', async () => {
    expect((await call(url, method, placed(path), bodyOf(path))).json).toMatchObject({
      status: 401,
      error: 'authentication_required',
    });
  });

  it('answers 403 to a token without the scope admin, also an administrator’s (spec 2.2)', async () => {
    const token = await world.tokenOf('root', 'run', 'read', 'billing', 'publish');
    expect((await call(url, method, placed(path), { token, ...bodyOf(path) })).json).toMatchObject({
      status: 403,
      error: 'insufficient_scope',
    });
  });

  it('answers 403 to somebody who is no administrator now, whatever their token says (spec 2.2, 8.3)', async () => {
    await database.ops`select from ops.set_user(${bob.userId}, is_admin => true, reason => 'test')`;
    const token = await world.tokenOf(bob.userId, 'admin');
    await database.ops`select from ops.set_user(${bob.userId}, is_admin => false, reason => 'test')`;
    const { json, text } = await call(url, method, placed(path), { token, ...bodyOf(path) });
    expect(json).toMatchObject({ status: 403, error: 'forbidden' });
    expect(text).not.toContain('ada@example.com');
  });
});

it('tRPC has the same procedures, in camelCase alone (spec 11.1)', async () => {
  const { json } = await call(url, 'GET', '/trpc/analytics.costs.summary', { token: world.token });
  expect(json.result.data).toMatchObject({ totalMonthlyCost: expect.any(Number), activeUsers: expect.any(Number) });
  expect(Object.keys(json.result.data).filter((name) => name.includes('_'))).toEqual([]);
  const refused = await call(url, 'GET', '/trpc/analytics.costs.summary', { token: ada.token });
  expect(refused.json.error.data).toMatchObject({ httpStatus: 403, problem: { error: 'insufficient_scope' } });
});

it('a change that nobody may make is not made (spec 8.3)', async () => {
  await database.ops`select from ops.throttle_user(${ada.userId}, null, 'test')`;
  const answer = await call(url, 'POST', `${base}/user/${ada.userId}/unthrottle`, {
    token: ada.token,
    body: { reason: 'mine' },
  });
  expect(answer.status).toBe(403);
  expect(await database.ops`select is_throttled from users where id = ${ada.userId}`).toEqual([{ is_throttled: true }]);
  await database.ops`select from ops.release_throttle(${ada.userId}, 'test')`;
});

it('a user whom there is not is 404, one that is no id is 400 (spec 8.3, fault 52)', async () => {
  const nobody = crypto.randomUUID();
  expect((await world.ask('GET', `/user/${nobody}`)).json).toMatchObject({ status: 404, error: 'not_found' });
  const unthrottle = await world.ask('POST', `/user/${nobody}/unthrottle`, { body: { reason: 'x' } });
  expect(unthrottle.json).toMatchObject({ status: 404, error: 'not_found' });
  expect((await world.ask('GET', '/user/root')).json).toMatchObject({ status: 400, error: 'validation_error' });
  expect((await world.ask('GET', '/nothing')).json).toMatchObject({ status: 404, error: 'route_not_found' });
});

it.each([
  ['/users?sort=email', 'sort'],
  ['/users?sort=cost;drop table users', 'sort'],
  ['/users?risk=extreme', 'risk'],
  ['/users?order=up', 'order'],
  ['/users?limit=0', 'limit'],
  ['/users?limit=101', 'limit'],
  ['/users?cursor=nonsense', 'cursor'],
  ['/timeseries?every=year', 'every'],
  ['/timeseries?by=user', 'by'],
  ['/timeseries?from=2026-02-30', 'from'],
  ['/timeseries?from=2026-02-02&to=2026-02-01', 'from'],
  ['/timeseries?from=2024-01-01&to=2026-01-01', 'from'],
  ['/models?from=soon', 'from'],
  ['/alerts?state=old', 'state'],
  ['/alerts?cursor=nonsense', 'cursor'],
  ['/projection?subscribers=60,,10', 'subscribers'],
  ['/projection?subscribers=many', 'subscribers'],
])('%s is refused and names the field %s (spec 11.3)', async (path, field) => {
  const { json } = await world.ask('GET', encodeURI(path));
  expect(json).toMatchObject({ status: 400, error: 'validation_error' });
  expect(json.errors.map((error: { field: string }) => error.field.split('.')[0])).toContain(field);
});

it('unthrottling takes a reason (spec 12)', async () => {
  const { json } = await world.ask('POST', `/user/${ada.userId}/unthrottle`);
  expect(json).toMatchObject({ status: 400, error: 'validation_error', errors: [{ field: 'reason' }] });
});

describe('explanations', () => {
  const explain = async (path: string, token: string) => call(url, 'GET', `/api/v1/playground${path}`, { token });

  it('tell of a balance what psql tells, the last step equal to it (spec 4.8, 12)', async () => {
    const { json } = await explain('/credits/explain?limit=2', ada.token);
    const rows =
      await database.ops`select step::int, type, change::int, balance::int from ops.explain_balance(${ada.userId})`;
    expect(json.total).toBe(rows.length);
    expect(json.steps).toMatchObject([...rows].slice(-2));
    const credits = await explain('/credits', ada.token);
    expect(json.steps.at(-1)).toMatchObject({ type: 'balance', balance: credits.json.balance });
  });

  it('tell of a run’s charge in credits to its owner, and its cost too to an administrator (spec 1.3, 5.1, 12)', async () => {
    const run = await start(database, ada.userId);
    await settle(database, ada.userId, run);
    const own = await explain(`/runs/${run}/charge`, ada.token);
    expect(own.json.steps.at(-1)).toMatchObject({ what: 'charged', amount: 1, unit: 'credits' });
    expect(own.text).not.toContain('dollars');
    const { json } = await explain(`/runs/${run}/charge`, world.token);
    const rows = await database.ops`select what, amount::float8 from ops.explain_charge(${run})`;
    expect(json.steps).toMatchObject([...rows]);
    expect(rows.map(({ what }) => what)).toContain('cost');
    expect((await explain(`/runs/${run}/charge`, bob.token)).json).toMatchObject({ status: 404, error: 'not_found' });
  });

  it('tell of a price what psql tells, also of the past (spec 1.3, 12)', async () => {
    const { json } = await explain('/models/gpt-4o/price', bob.token);
    const rows = await database.ops`select step, what, value::float8, unit from ops.explain_price('gpt-4o')`;
    expect(json.steps).toMatchObject([...rows]);
    const past = await explain('/models/gpt-4o/price?at=2001-01-01T00:00:00Z', bob.token);
    expect(past.json.steps.at(-1).explanation).toContain('No price is valid');
    expect((await explain('/models/none/price', bob.token)).json).toMatchObject({ status: 404, error: 'not_found' });
  });

  it('tell of a throttle what psql tells (spec 3.4, 12)', async () => {
    await database.ops`select from ops.throttle_user(${ada.userId}, null, 'chargeback')`;
    const { json } = await explain('/limits/explain', ada.token);
    const rows =
      await database.ops`select step, what, used::float8, explanation from ops.explain_throttle(${ada.userId})`;
    expect(json.steps).toMatchObject([...rows]);
    expect(json.steps.at(-1).explanation).toContain('chargeback');
    await database.ops`select from ops.release_throttle(${ada.userId}, 'test')`;
  });

  it.each(['/credits/explain', '/limits/explain'])(
    '%s of somebody else is for administrators (spec 12)',
    async (path) => {
      const theirs = `${path}?user_id=${ada.userId}`;
      const steps = async (asked: string, token: string) =>
        (await explain(asked, token)).json.steps.map(({ at: _, ...step }: { at?: string }) => step);
      expect(await steps(theirs, world.token)).toEqual(await steps(path, ada.token));
      expect((await explain(theirs, bob.token)).json).toMatchObject({ status: 403, error: 'insufficient_scope' });
      const reader = await world.tokenOf('root', 'read');
      expect((await explain(theirs, reader)).json).toMatchObject({ status: 403, error: 'insufficient_scope' });
      expect((await explain(`${path}?user_id=${bob.userId}`, bob.token)).status).toBe(200);
      const nobody = `${path}?user_id=${crypto.randomUUID()}`;
      expect((await explain(nobody, world.token)).json).toMatchObject({ status: 404, error: 'not_found' });
    },
  );

  it('leave the books as they are', async () => {
    await converse(database, bob.userId);
    expect(await world.audit()).toEqual([]);
  });
});
