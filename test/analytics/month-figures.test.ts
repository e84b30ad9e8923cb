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

test('a month that is over has what subscriptions paid then, whoever has left or come since (spec 8.3)', async () => {
  const then = await database.owner`select core.now() - interval '45 days' as at`; // when all of the above happened
  const [left, stays, came] = [
    await signUp(database, 'left'),
    await signUp(database, 'stays'),
    await signUp(database, 'came'),
  ];
  const pay = (user: string, months: number, paid: number) => database.owner`
    insert into subscription_periods (user_id, subscription_id, period_start, period_end, plan, state, paid_amount, credits, created_at, paid_at)
    select ${user}::uuid, 'sub_' || ${user}, core.now() + make_interval(months => ${months}), core.now() + make_interval(months => ${months + 1}),
      'prpm_plus_individual', 'paid', ${paid}, 0, core.now(), core.now()`;
  const subscribeFor = (user: string, paid: number, until: string) => database.owner`
    with u as (update users set plan_tier = 'prpm_plus_individual', entitled_until = core.now() + ${until}::interval where id = ${user})
    insert into subscriptions (user_id, id, plan, status, monthly_amount, created_at, updated_at)
    values (${user}, 'sub_' || ${user}, 'prpm_plus_individual', 'active', ${paid}, core.now(), core.now())`;
  const month = async (months: number) => {
    const [row] = await database.owner`
      select subscription_revenue::float, pack_revenue::float, cost::float, overall_margin_percent::float, active_users::int, throttled_users::int,
        high_risk_users::int, users::int
      from core.month_figures(core.now() + make_interval(months => ${months}))`;
    return row;
  };
  const usage = { input: 3000, output: 2000 };
  await converse(database, left, { model: 'gpt-4o-mini', usage });
  const before = await month(0);

  await pay(left, 0, 6);
  await pay(stays, 0, 6);
  await pay(stays, 1, 5);
  await database.owner`update subscription_periods set refunded_amount = 2 where user_id = ${stays} and paid_amount = 6`;
  await subscribeFor(stays, 5, '40 days');
  await wait(database, '1 month');
  await subscribeFor(came, 7, '30 days');
  await pay(came, 0, 7);
  await database.owner`update users set closed_at = core.now() where id = ${left}`;

  // Now: who stays and who came. Then: who left and who stays, less what went back.
  expect(await month(0)).toMatchObject({ subscription_revenue: 12, active_users: 2 });
  expect(await month(-1)).toMatchObject({
    ...{
      subscription_revenue: 10,
      pack_revenue: 0,
      cost: before?.cost,
      active_users: 2,
      throttled_users: null,
      high_risk_users: 0,
    },
    overall_margin_percent: Number(((100 * (10 - before?.cost)) / 10).toFixed(2)),
    users: before?.users,
  });
  const [first] = await database.owner`
    select pack_revenue::float, active_users::int from core.month_figures(${then[0]?.at})`;
  expect(first).toEqual({ pack_revenue: 5, active_users: 1 }); // who bought it and ran something
  await database.owner`delete from subscription_periods where user_id in ${database.owner([left, stays, came])}`;
});
