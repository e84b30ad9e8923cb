// What the month earned and cost, reckoned here from what was done.
import type postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inScratch } from '../database/catalog.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, buy, converse, publishPackage, signUp, subscribe, wait } from '../sessions/people.ts';

let database: TestDatabase;
let subscriber: string;
let buyer: string;

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  subscriber = await signUp(database, 'subscriber');
  buyer = await signUp(database, 'buyer');
});
afterAll(() => database.drop());

async function figures(): Promise<postgres.Row> {
  const [row] = await database.owner`select * from core.month_figures(core.now())`;
  if (!row) throw new Error('no figures');
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === null ? null : Number(value)]));
}

test('without revenue the margin is null, not 0 (spec 8.3)', async () => {
  expect(await figures()).toMatchObject({
    ...{ subscription_revenue: 0, pack_revenue: 0, earned_pack_revenue: 0, cost: 0, overall_margin_percent: null },
    ...{ active_users: 0, throttled_users: 0, high_risk_users: 0, users: 3 },
  });
});

test('a pack is revenue when it is paid, and earned as its credits are spent (spec 8.3)', async () => {
  await subscribe(database, subscriber);
  await buy(database, buyer, 'small');
  // Five sign-up credits first, so that the sixth and later are purchased: gpt-4o at 5,000 tokens is 2 credits.
  const usage = { input: 3000, output: 2000 };
  for (let i = 0; i < 4; i++) await converse(database, buyer, { model: 'gpt-4o', usage });
  const [price] =
    await database.owner`select input, output from model_prices where model = 'gpt-4o' and valid @> core.now()`;
  const cost = (4 * (3000 * price?.input + 2000 * price?.output)) / 1e6;
  const earned = 3 * 0.05;
  const found = await figures();
  expect(found).toMatchObject({
    ...{ subscription_revenue: 6, pack_revenue: 5, active_users: 2, high_risk_users: 0, users: 3 },
    overall_margin_percent: Number(((100 * (6 + earned - cost)) / (6 + earned)).toFixed(2)),
  });
  expect(found.earned_pack_revenue).toBeCloseTo(earned, 10);
  expect(found.cost).toBeCloseTo(cost, 10);
});

test('refunds and disputes of a pack lower the cash of its month (spec 8.3)', async () => {
  const other = await buy(database, buyer, 'medium');
  expect(await figures()).toMatchObject({ pack_revenue: 15 });
  await database.owner`select core.apply_refund(${buyer}, ${other}, 4, core.now(), 3)`;
  expect(await figures()).toMatchObject({ pack_revenue: 8 });
  await database.owner`select core.apply_refund(${buyer}, ${other}, 10, core.now(), 3)`;
  expect(await figures()).toMatchObject({ pack_revenue: 5 });
});

test('throttled and high-risk people are counted, closed accounts are not (spec 8.3)', async () => {
  const after = (change: string) =>
    inScratch(database.owner, async (sql) => {
      await sql.unsafe(`update users set ${change} where id = '${buyer}'`);
      const [row] = await sql`select throttled_users, high_risk_users, users from core.month_figures(core.now())`;
      return Object.values(row ?? {}).map(Number);
    });
  expect(await after('is_throttled = true')).toEqual([1, 0, 3]);
  expect(await after('current_month_api_cost = 5.01')).toEqual([0, 1, 3]);
  expect(await after('current_month_api_cost = 5')).toEqual([0, 0, 3]);
  expect(await after('is_throttled = true, closed_at = core.now()')).toEqual([0, 0, 2]);
});

test('in the next month only what goes on counts (spec 8.3)', async () => {
  await wait(database, '25 days');
  expect(await figures()).toMatchObject({
    ...{
      subscription_revenue: 6,
      pack_revenue: 0,
      earned_pack_revenue: 0,
      cost: 0,
      overall_margin_percent: 100,
      active_users: 1,
    },
  });
  await wait(database, '20 days');
  expect(await figures()).toMatchObject({ subscription_revenue: 0, active_users: 0 });
  expect(await audit(database.ops)).toEqual([]);
});
