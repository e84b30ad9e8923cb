// Every SQL block of the deployment guide, as it is printed there, run as the operator's role; and what it must show.
import type postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, buy, converse, publishPackage, signUp, subscribe, type Usage, wait } from '../sessions/people.ts';

const limits = 'SELECT * FROM cost_limits_config;';
const reset = 'SELECT reset_monthly_api_costs();';
const refresh = 'SELECT refresh_user_cost_analytics();';
const costOf = (user: string) => `SELECT current_month_api_cost FROM users WHERE id='${user}';`;
const atRisk = `
SELECT email, current_month_api_cost, tier_name, monthly_cost_limit
FROM users u
JOIN cost_limits_config c ON c.tier_name = (
  CASE
    WHEN u.prpm_plus_status = 'active' THEN
      CASE
        WHEN EXISTS (SELECT 1 FROM organization_members om WHERE om.user_id = u.id)
        THEN 'prpm_plus_org'
        ELSE 'prpm_plus_individual'
      END
    ELSE 'free'
  END
)
WHERE (u.current_month_api_cost / c.monthly_cost_limit) > 0.75;`;
const highRisk = `
SELECT * FROM user_cost_analytics
WHERE risk_level = 'high_risk'
ORDER BY current_month_api_cost DESC
LIMIT 10;`;
const health = `
SELECT
  COUNT(*) as total_users,
  COUNT(*) FILTER (WHERE is_throttled) as throttled,
  ROUND(AVG(current_month_api_cost), 4) as avg_cost,
  ROUND(SUM(current_month_api_cost), 2) as total_cost
FROM users
WHERE current_month_api_cost > 0;`;
const rollback = `
UPDATE users SET is_throttled = FALSE;
UPDATE cost_limits_config SET throttle_on_exceed = FALSE;`;
const emergency = 'UPDATE cost_limits_config SET monthly_cost_limit = 10.00;';
const whyThrottled = `
SELECT current_month_api_cost, is_throttled, throttled_reason
FROM users WHERE email = 'user@example.com';`;
const unthrottle = "UPDATE users SET is_throttled = FALSE WHERE email = 'user@example.com';";
const age = 'SELECT NOW() - created_at FROM user_cost_analytics LIMIT 1;';

let database: TestDatabase;
let user: string;
let spender: string;
/** US dollars that each user's runs of this month cost, reckoned here from their tokens. */
const costs: Record<string, number> = {};

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  user = await signUp(database, 'user');
  spender = await signUp(database, 'spender');
  await signUp(database, 'idle');
  await buy(database, user);

  await play(user, 'gpt-4o', { input: 2000, cached: 500, output: 1500 });
  costs[user] = 0;
  await wait(database, '31 days'); // what was is of another month now
  await database.ops.unsafe(reset);
  for (const usage of [
    { input: 9000, output: 3000 },
    { input: 1000, output: 100 },
  ])
    await play(user, 'gpt-4o', usage);

  await subscribe(database, spender);
  await buy(database, spender, 'large');
  for (let day = 0; day < 8; day++) {
    for (let i = 0; i < 5; i++) await play(spender, 'opus', { input: 10_000, output: 4096 });
    await wait(database, '1 day');
  }
});
afterAll(() => database.drop());
beforeEach(async () => {
  await query(refresh);
});

async function play(who: string, model: string, usage: Usage): Promise<void> {
  await converse(database, who, { model, usage });
  const [price] = await database.owner`
    select input, coalesce(cached_read, input) as cached, output from model_prices where model = ${model} and valid @> core.now()`;
  const cached = usage.cached ?? 0;
  const cost = (usage.input - cached) * price?.input + cached * price?.cached + usage.output * price?.output;
  costs[who] = (costs[who] ?? 0) + cost / 1e6;
}

async function query(text: string): Promise<readonly postgres.Row[]> {
  return [...(await database.ops.unsafe(text))];
}

/** Runs statements as the operator and takes back what they changed. */
async function changing(statements: string, look: (sql: postgres.TransactionSql) => Promise<void>): Promise<void> {
  const undo = new Error('undo');
  await database.ops
    .begin(async (sql) => {
      await sql.unsafe(statements);
      await look(sql);
      throw undo;
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error;
    });
}

test('the limits are those that the guide prints, in its order of columns', async () => {
  const rows = await query(limits);
  expect(Object.keys(rows[0] ?? {}).slice(0, 4)).toEqual([
    'tier_name',
    'monthly_cost_limit',
    'daily_cost_limit',
    'hourly_request_limit',
  ]);
  expect(rows.map((row) => Object.values(row).slice(0, 4))).toEqual([
    ['free', '0.50', '0.10', 10],
    ['prpm_plus_individual', '5.00', '1.00', 100],
    ['prpm_plus_org', '2.50', '0.50', 100],
    ['unlimited', '999999.99', null, null],
  ]);
});

test('the jobs may be run by hand, twice, and change nothing that is true', async () => {
  expect(await query(reset)).toHaveLength(1);
  await query(reset);
  await query(refresh);
  expect(await query(refresh)).toEqual([{ refresh_user_cost_analytics: 'refreshed 4 users' }]);
  expect(await audit(database.ops)).toEqual([]);
});

test('a second refresh at the same time answers at once that one is running (spec 7.4)', async () => {
  await database.ops.begin(async (first) => {
    expect(await first.unsafe(refresh)).toEqual([{ refresh_user_cost_analytics: 'refreshed 4 users' }]);
    expect(await query(refresh)).toEqual([{ refresh_user_cost_analytics: 'a refresh is running: nothing to do' }]);
  });
});

test('the cost of a month is that of its runs, to the last digit', async () => {
  const [row] = await query(costOf(user));
  expect(Number(row?.current_month_api_cost)).toBeCloseTo(costs[user] ?? 0, 12);
  const [same] = await query(whyThrottled);
  expect(same).toMatchObject({
    current_month_api_cost: row?.current_month_api_cost,
    is_throttled: false,
    throttled_reason: null,
  });
});

test('users at risk are those above 75 % of their limit by all cost', async () => {
  expect(costs[spender]).toBeGreaterThan(3.75);
  const rows = await query(atRisk);
  expect(rows).toMatchObject([
    { email: 'spender@example.com', tier_name: 'prpm_plus_individual', monthly_cost_limit: '5.00' },
  ]);
  expect(Number(rows[0]?.current_month_api_cost)).toBeCloseTo(costs[spender] ?? 0, 12);
});

test('ops.users_at_risk counts what counts against the limit, in the true tier (spec 3.3, 12)', async () => {
  expect(await query('select * from ops.tier_differences')).toEqual([]);
  const [row] = await database.owner`select current_month_limited_cost as cost from users where id = ${spender}`;
  const isAtRisk = Number(row?.cost) > 3.75;
  expect(await query('select email from ops.users_at_risk')).toHaveLength(isAtRisk ? 1 : 0);
  await changing(
    `update cost_limits_config set monthly_cost_limit = 0.5 where tier_name = 'prpm_plus_individual'`,
    async (sql) => {
      const found = await sql.unsafe('select * from ops.users_at_risk');
      expect(found).toMatchObject([{ user_id: spender, tier_name: 'prpm_plus_individual', limit_dollars: '0.50' }]);
      expect(Number(found[0]?.percent_of_limit)).toBeCloseTo(Number(row?.cost) * 200, 1);
    },
  );
  await changing(`update users set tier_override = 'unlimited' where id = '${spender}'`, async (sql) => {
    expect(await sql.unsafe('select * from ops.users_at_risk')).toHaveLength(0);
    expect(await sql.unsafe('select guide_tier, true_tier from ops.tier_differences')).toEqual([
      { guide_tier: 'prpm_plus_individual', true_tier: 'unlimited' },
    ]);
    await sql.unsafe(`update cost_limits_config set is_active = false where tier_name = 'unlimited'`);
    expect(await sql.unsafe('select true_tier from ops.tier_differences')).toEqual([{ true_tier: 'free' }]);
  });
});

test('high-risk users are those who cost more than 5 dollars, with revenue and margin (spec 8.1)', async () => {
  const total = costs[spender] ?? 0;
  expect(total).toBeGreaterThan(2.5);
  const rows = await query('select * from user_cost_analytics order by current_month_api_cost desc');
  expect(Object.keys(rows[0] ?? {})).toEqual([
    ...[
      'user_id',
      'email',
      'prpm_plus_status',
      'current_month_api_cost',
      'current_month_requests',
      'avg_cost_per_request',
    ],
    ...[
      'lifetime_api_cost',
      'total_requests',
      'monthly_revenue',
      'current_margin_percent',
      'is_throttled',
      'risk_level',
    ],
    ...['last_request_at', 'user_created_at', 'created_at', 'percent_of_limit'],
  ]);
  expect(rows[0]).toMatchObject({
    email: 'spender@example.com',
    prpm_plus_status: 'active',
    current_month_requests: 40,
    total_requests: '40',
    monthly_revenue: '6.00',
    risk_level: total > 5 ? 'high_risk' : 'medium_risk',
  });
  expect(Number(rows[0]?.current_margin_percent)).toBeCloseTo((100 * (6 - total)) / 6, 2);
  expect(Number(rows[0]?.avg_cost_per_request)).toBeCloseTo(total / 40, 8);
  expect(rows.at(-1)).toMatchObject({
    current_month_requests: 0,
    avg_cost_per_request: null,
    current_margin_percent: null,
    risk_level: 'safe',
  });
  expect(await query(highRisk)).toHaveLength(total > 5 ? 1 : 0);
});

test('overall health counts those with a cost', async () => {
  const [row] = await query(health);
  const all = [costs[user] ?? 0, costs[spender] ?? 0];
  const sum = all.reduce((a, b) => a + b, 0);
  expect(row?.total_users).toBe('2');
  expect(Number(row?.total_cost)).toBeCloseTo(sum, 1);
  expect(Number(row?.avg_cost)).toBeCloseTo(sum / 2, 3);
});

test('the age of the figures is the time since the refresh', async () => {
  const [row] = await query(age.replace('NOW() - created_at', 'extract(epoch from NOW() - created_at) as seconds'));
  expect(Number(row?.seconds)).toBeGreaterThanOrEqual(0);
  expect(Number(row?.seconds)).toBeLessThan(20);
  expect(await query(age)).toHaveLength(1);
});

test('the rollback and the emergency cap take effect', async () => {
  await database.ops.unsafe("UPDATE users SET is_throttled = TRUE WHERE email = 'user@example.com'");
  expect(await query('select email, throttled_by, throttled_until from ops.throttled_now')).toEqual([
    { email: 'user@example.com', throttled_by: 'plain update', throttled_until: null },
  ]);
  const why = await database.ops`select * from ops.explain_throttle('user@example.com')`;
  expect(why.at(-1)?.explanation).toContain('a plain update');
  await changing(rollback, async (sql) => {
    expect(await sql`select from users where is_throttled`).toHaveLength(0);
    expect(await sql`select from cost_limits_config where throttle_on_exceed`).toHaveLength(0);
  });
  await changing(emergency, async (sql) => {
    expect(await sql`select from cost_limits_config where monthly_cost_limit <> 10`).toHaveLength(0);
  });
  await database.ops.unsafe(unthrottle);
  expect(await query('select * from ops.throttled_now')).toEqual([]);
});

test('figures of a month that is over are 0 in the analytics before any job ran', async () => {
  await wait(database, '31 days');
  await query(refresh);
  const rows = await query(
    'select current_month_api_cost, current_month_requests, lifetime_api_cost from user_cost_analytics where lifetime_api_cost > 0',
  );
  expect(rows).toHaveLength(2);
  for (const row of rows) expect(row).toMatchObject({ current_month_api_cost: '0', current_month_requests: 0 });
  expect(await audit(database.ops)).toEqual([]);
});

test('the first refresh after a restore of the schema alone fills the view', async () => {
  await database.owner`delete from core.user_cost_figures`;
  expect(await query('select from user_cost_analytics')).toHaveLength(0);
  await query(refresh);
  expect(await query('select from user_cost_analytics')).toHaveLength(4);
});
