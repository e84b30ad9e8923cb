// Lists of users and what one user costs, has and was refused.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { begin, buy, converse, signUp, subscribe } from '../sessions/people.ts';
import { openAdministration } from './administration.ts';

const world = await openAdministration();
const { database, ask, get } = world;
afterAll(world.close);

type Listed = { userId: string; username: string; currentMonthApiCost: number; riskLevel: string } & Record<
  string,
  unknown
>;
const users: Record<string, string> = {};
const refresh = () => ask('POST', '/refresh');

beforeAll(async () => {
  for (const name of ['anna', 'ben', 'carl', 'dora', 'emil']) users[name] = await signUp(database, name);
  const { anna = '', ben = '', carl = '', dora = '' } = users;
  await subscribe(database, anna);
  await buy(database, ben);
  for (let i = 0; i < 3; i++) await converse(database, anna, { model: 'gpt-4o', usage: { input: 5000, output: 1000 } });
  await converse(database, ben, { model: 'gpt-4o-mini' });
  await converse(database, carl, { model: 'gpt-4o-mini', usage: { input: 2000, output: 2000 } });
  await database.owner`
    update users set current_month_api_cost = 2.6, lifetime_api_cost = 2.6, current_month_limited_cost = 0 where id = ${dora}`;
  await refresh();
});

const names = (answer: { users: Listed[] }) => answer.users.map(({ username }) => username);
const everybody = ['anna', 'ben', 'carl', 'dora', 'emil'];
const known = (answer: { users: Listed[] }) => names(answer).filter((name) => everybody.includes(name));

test('whoever costs most comes first, with the figures of the view that the guide reads (spec 8.1, 8.3)', async () => {
  const answer = await get('/users');
  expect(known(answer)).toEqual(['dora', 'anna', 'carl', 'ben', 'emil']);
  const rows = await database.ops`
    select user_id as "userId", round(current_month_api_cost, 6)::float8 as "currentMonthApiCost", current_month_requests as "currentMonthRequests",
      round(avg_cost_per_request, 6)::float8 as "avgCostPerRequest", monthly_revenue::float8 as "monthlyRevenue",
      current_margin_percent::float8 as "currentMarginPercent", percent_of_limit::float8 as "percentOfLimit", is_throttled as "isThrottled",
      risk_level as "riskLevel"
    from user_cost_analytics`;
  expect(answer.total).toBe(rows.length);
  for (const row of rows) expect(answer.users).toContainEqual(expect.objectContaining(row));
  const emil = answer.users.find(({ username }: Listed) => username === 'emil');
  expect(emil).toMatchObject({
    currentMarginPercent: null,
    avgCostPerRequest: null,
    prpmPlusStatus: null,
    monthlyRevenue: 0,
  });
});

test.each([
  ['sort=revenue', 'anna'],
  ['sort=requests', 'anna'],
  ['sort=margin', 'anna'],
  ['sort=last_request', 'carl'],
  ['sort=lifetime_cost', 'dora'],
  ['sort=percent_of_limit', 'anna'],
  ['sort=created&order=desc', 'emil'],
  ['sort=created&order=asc', 'anna'],
])('%s begins with the one whose figure is largest, or smallest (spec 8.3)', async (query, first) => {
  expect(known(await get(`/users?${query}`))[0]).toBe(first);
});

test('who has no such figure comes last in both directions (spec 8.3)', async () => {
  for (const order of ['asc', 'desc']) expect(known(await get(`/users?sort=margin&order=${order}`))[0]).toBe('anna');
});

test('a risk level picks who has it, under both names (spec 8.3)', async () => {
  expect(names(await get('/users?risk=medium_risk'))).toEqual(['dora']);
  expect(names(await get('/users?riskLevel=medium_risk'))).toEqual(['dora']);
  expect(names(await get('/users?risk=high_risk'))).toEqual([]);
});

test.each([
  ['ANN', ['anna']],
  ['ben@EXAMPLE.com', ['ben']],
  ['%', []],
  ['_', []],
  ["' or '1'='1", []],
  ["'; drop table users; --", []],
  ['\\', []],
  ['$1', []],
])('search for %s finds what has it in e-mail or name, and is never SQL (spec 8.3)', async (search, expected) => {
  expect(known(await get(`/users?search=${encodeURIComponent(search)}`))).toEqual(expected);
  const [row] = await database.ops`select count(*)::int as users from users`;
  expect(row?.users).toBeGreaterThan(5);
});

test('an id finds its user (spec 8.3)', async () => {
  expect(names(await get(`/users?search=${users.carl}`))).toEqual(['carl']);
});

test.each(['sort=cost', 'sort=margin', 'sort=created&order=asc'])(
  'pages by %s have everybody once, also while people join (spec 10.7)',
  async (query) => {
    const [seen, { total }] = [[] as string[], await get('/users')];
    let cursor: string | null = null;
    for (let page = 0; ; page++) {
      const answer: { users: Listed[]; nextCursor: string | null } = await get(
        `/users?${query}&limit=2${cursor === null ? '' : `&cursor=${cursor}`}`,
      );
      seen.push(...names(answer));
      expect(answer.users.length).toBeLessThanOrEqual(2);
      cursor = answer.nextCursor;
      if (cursor === null) break;
      await signUp(database, `late-${query.replace(/\W/g, '')}-${page}`);
      await refresh();
    }
    const early = seen.filter((name) => !name.startsWith(`late-${query.replace(/\W/g, '')}`));
    expect(new Set(seen).size).toBe(seen.length);
    expect(early).toHaveLength(total);
  },
);

test('a cursor of another order is refused (spec 10.7)', async () => {
  const { nextCursor } = await get('/users?limit=1');
  const { json } = await ask('GET', `/users?limit=1&sort=created&cursor=${nextCursor}`);
  expect(json).toMatchObject({ status: 400, errors: [{ field: 'cursor' }] });
});

test('refresh says what the function says, and from then on the list is of now (spec 7.4, 8.3)', async () => {
  const before = await get('/users');
  await converse(database, users.emil ?? '', { model: 'gpt-4o-mini' });
  expect((await get('/users')).users).toEqual(before.users);
  const { json } = await refresh();
  const [count] = await database.ops`select count(*)::int as users from user_cost_analytics`;
  expect(json).toMatchObject({ success: true, message: expect.stringMatching(/^refreshed \d+ user/) });
  const after = await get('/users');
  expect(after.total).toBe(count?.users);
  expect(Date.parse(after.asOf)).toBeGreaterThan(Date.parse(before.asOf));
  expect(after.users.find(({ username }: Listed) => username === 'emil').currentMonthRequests).toBe(1);
});

describe('one user', () => {
  test('has figures of now: cost, limit, windows, credits, lots and runs with their margin (spec 8.3, 8.4)', async () => {
    const { anna = '' } = users;
    const answer = await get(`/user/${anna}`);
    const [price] = await database.owner`
      select input::float8, output::float8 from model_prices where model = 'gpt-4o' and valid @> core.now()`;
    const cost = (5000 * price?.input + 1000 * price?.output) / 1e6;
    expect(answer).toMatchObject({
      ...{
        userId: anna,
        username: 'anna',
        email: 'anna@example.com',
        tier: 'prpm_plus_individual',
        isThrottled: false,
      },
      currentMonthCost: Number((3 * cost).toFixed(6)),
      costLimit: 5,
      percentUsed: Number(((100 * 3 * cost) / 5).toFixed(2)),
      monthlyRevenue: 6,
      currentMarginPercent: Number(((100 * (6 - 3 * cost)) / 6).toFixed(2)),
      lifetimeCost: Number((3 * cost).toFixed(6)),
      totalRequests: 3,
      throttledReason: null,
    });
    expect(answer.windows).toMatchObject([
      { window: 'month', used: Number((3 * cost).toFixed(6)), held: 0, limit: 5, unit: 'dollars' },
      { window: 'day', used: Number((3 * cost).toFixed(6)), held: 0, limit: 1, unit: 'dollars' },
      { window: 'hour', used: 3, limit: null, unit: 'runs' },
      { window: 'minute', used: 3, limit: null, unit: 'attempts' },
    ]);
    // 6,000 tokens are two credits, twice for gpt-4o: four of the month's, at six cents.
    expect(answer.runs).toHaveLength(3);
    for (const run of answer.runs) {
      expect(run).toMatchObject({
        status: 'completed',
        model: 'gpt-4o',
        packageName: 'notes',
        tokens: 6000,
        credits: 4,
      });
      expect(run).toMatchObject({ value: 0.24, cost, margin: Number((0.24 - cost).toFixed(6)) });
      expect(run.marginPercent).toBe(Number((100 * (1 - cost / 0.24)).toFixed(2)));
    }
    expect(answer.credits).toMatchObject({
      balance: 93,
      signup: 5,
      monthly: { allocated: 100, used: 12, remaining: 88 },
    });
    const monthly = answer.lots.find(({ kind }: { kind: string }) => kind === 'monthly');
    expect(monthly).toMatchObject({
      granted: 100,
      remaining: 88,
      paidPerCredit: 0.06,
      cost: Number((3 * cost).toFixed(6)),
    });
    const steps = await database.ops`select what, explanation from ops.explain_throttle('anna')`;
    expect(answer.explanation).toMatchObject([...steps]);
  });

  test('who paid nothing has no margin in percent (fault 34)', async () => {
    const answer = await get(`/user/${users.carl}`);
    expect(answer).toMatchObject({ monthlyRevenue: 0, currentMarginPercent: null });
    expect(answer.runs).toMatchObject([{ value: 0, marginPercent: null }]);
    expect(answer.runs[0].margin).toBe(-answer.runs[0].cost);
  });

  test('has what they were refused, and why (spec 3.7)', async () => {
    await database.ops`update cost_limits_config set hourly_request_limit = 1 where tier_name = 'free'`;
    await expect(begin(database, users.carl ?? '')).rejects.toThrow('hourly_request_limit');
    await database.ops`update cost_limits_config set hourly_request_limit = null where tier_name = 'free'`;
    expect((await get(`/user/${users.carl}`)).refusals).toMatchObject([
      { reason: 'hourly_request_limit', refusals: 1, limit: 1, used: 1, unit: 'runs' },
    ]);
  });

  test('is unthrottled by the operator’s own function, kept in the audit log with the administrator (spec 3.4, 8.3)', async () => {
    const { ben = '' } = users;
    await database.ops`select from ops.throttle_user(${ben}, null, 'chargeback')`;
    expect(await get(`/user/${ben}`)).toMatchObject({
      isThrottled: true,
      throttledBy: 'operator',
      throttledReason: 'chargeback',
    });
    const { json } = await ask('POST', `/user/${ben}/unthrottle`, { body: { reason: 'bank was wrong' } });
    expect(json).toMatchObject({
      success: true,
      userId: ben,
      isThrottled: false,
      message: `User ${ben} has been unthrottled`,
    });
    await converse(database, ben);
    const [entry] = await database.ops`
      select table_name, row_key, new, reason from audit_log order by id desc limit 1`;
    expect(entry).toEqual({
      ...{ table_name: 'ops.release_throttle', row_key: ben, new: { by: world.adminId }, reason: 'bank was wrong' },
    });
  });

  test('who is over a limit that throttles stays throttled, and the answer says so (spec 3.5, fault 48)', async () => {
    const { carl = '' } = users;
    await database.ops`update cost_limits_config set daily_cost_limit = 0 where tier_name = 'free'`;
    const { json } = await ask('POST', `/user/${carl}/unthrottle`, { body: { reason: 'asked' } });
    expect(json).toMatchObject({ success: false, isThrottled: true, throttledReason: expect.stringContaining('free') });
    expect(json.message).toContain('ops.waive_limits');
    await database.ops`update cost_limits_config set daily_cost_limit = 0.10 where tier_name = 'free'`;
  });
});
