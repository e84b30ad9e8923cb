// What earns and what loses, with the guide's own prices: a credit of the large pack sells at 3.3 cents and can cost 7.
import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, buy, converse, publishPackage, signUp, subscribe, type Usage, wait } from '../sessions/people.ts';

let database: TestDatabase;
let subscriber: string;
let buyer: string;
const day = () => database.owner`select (core.now() at time zone 'UTC')::date::text as today`;
/** US dollars that a run costs by the price book, reckoned here. */
const cost: Record<string, number> = {};

const short: Usage = { input: 3000, output: 1000 };
const wordy: Usage = { input: 900, output: 4096 };

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  await database.ops`update cost_limits_config set minute_request_limit = null, hourly_request_limit = null`;
  subscriber = await signUp(database, 'subscriber');
  buyer = await signUp(database, 'buyer');
  const prices = await database.owner`select * from model_prices where valid @> core.now()`;
  for (const { model, input, output } of prices) {
    cost[`${model} short`] = (short.input * input + short.output * output) / 1e6;
    cost[`${model} wordy`] = (wordy.input * input + wordy.output * output) / 1e6;
  }
  // Five sign-up credits each go first, at no value.
  for (let i = 0; i < 5; i++) await converse(database, buyer, { model: 'gpt-4o-mini', usage: short });
  await database.ops`select * from ops.revoke_credits(${subscriber}, 5, 'test')`;
  await subscribe(database, subscriber);
  await database.owner`
    insert into subscription_periods (user_id, subscription_id, period_start, period_end, plan, state, credits, paid_amount, created_at, paid_at)
    values (${subscriber}, 'sub_1', core.now(), core.now() + interval '30 days', 'prpm_plus_individual', 'paid', 100, 6, core.now(), core.now())`;
  await buy(database, buyer, 'large');
  for (let i = 0; i < 4; i++) await converse(database, buyer, { model: 'sonnet', usage: wordy });
  for (let i = 0; i < 3; i++) await converse(database, subscriber, { model: 'sonnet', usage: short });
});
afterAll(() => database.drop());

const of = (rows: readonly postgres.Row[], name: string) => {
  const row = rows.find((one) => Object.values(one).includes(name));
  if (!row) throw new Error(`there is no row of ${name}`);
  return Object.fromEntries(
    Object.entries(row).map(([column, value]) => [
      column,
      typeof value === 'string' && value !== '' && !Number.isNaN(Number(value)) ? Number(value) : value,
    ]),
  );
};

describe.each(['before a refresh', 'after it'])('%s', (moment) => {
  beforeAll(async () => {
    if (moment === 'after it') await database.ops`select refresh_user_cost_analytics()`;
  });

  test('a pack whose credits cost more than they were sold for is named, with price and cost of a credit (spec 8.4)', async () => {
    const spent = cost['sonnet wordy'] ?? 0;
    expect(spent).toBeGreaterThan(20 / 600);
    const pack = of(await database.ops`select * from ops.margin_by_pack`, 'large');
    expect(pack).toMatchObject({
      sold: 1,
      credits_sold: 600,
      credits_spent: 4,
      cash_dollars: 20,
      price_per_credit_dollars: 0.033333,
      shortfall_credits: 0,
    });
    expect(pack.value_dollars).toBeCloseTo(4 * 0.033333, 10);
    expect(pack.cost_dollars).toBeCloseTo(4 * spent, 10);
    expect(pack.cost_per_credit_dollars).toBeCloseTo(spent, 6);
    expect(pack.margin_dollars).toBeCloseTo(4 * (0.033333 - spent), 10);
    const loss = of(await database.ops`select * from ops.loss_makers where kind = 'pack'`, 'large');
    expect(loss.loss_dollars).toBeCloseTo(4 * (spent - 0.033333), 10);
  });

  test('what loses money is named by kind; what is used free is not among it (spec 8.4)', async () => {
    const rows = await database.ops`select kind, name, credits from ops.loss_makers`;
    const wholeLoses = 4 * 0.033333 + 3 * 0.06 < 4 * (cost['sonnet wordy'] ?? 0) + 3 * (cost['sonnet short'] ?? 0);
    expect([...rows]).toEqual([
      { kind: 'pack', name: 'large', credits: '4' },
      ...(wholeLoses
        ? [
            { kind: 'package', name: 'notes', credits: '7' },
            { kind: 'model', name: 'sonnet', credits: '7' },
          ]
        : []),
      { kind: 'user', name: 'buyer@example.com', credits: '4' },
    ]);
    const free = of(await database.ops`select * from ops.free_use`, 'free');
    expect(free).toMatchObject({ people: 1, runs: 5, free_credits: 5 });
    expect(free.cost_dollars).toBeCloseTo(5 * (cost['gpt-4o-mini short'] ?? 0), 10);
  });

  test('a model has its value and cost, and the cost of its free use apart (spec 8.4)', async () => {
    const rows = await database.ops`select * from ops.margin_by_model`;
    expect(of(rows, 'gpt-4o-mini')).toMatchObject({
      runs: 5,
      credits: 5,
      value_dollars: 0,
      paid_margin_dollars: 0,
      paid_margin_percent: null,
      cost_per_credit_dollars: null,
    });
    const sonnet = of(rows, 'sonnet');
    const [value, spent] = [4 * 0.033333 + 3 * 0.06, 4 * (cost['sonnet wordy'] ?? 0) + 3 * (cost['sonnet short'] ?? 0)];
    expect(sonnet).toMatchObject({ runs: 7, credits: 7, free_cost_dollars: 0 });
    expect(sonnet.value_dollars).toBeCloseTo(value, 10);
    expect(sonnet.paid_margin_dollars).toBeCloseTo(value - spent, 10);
    expect(sonnet.paid_margin_percent).toBeCloseTo((100 * (value - spent)) / value, 1);
    expect(of(await database.ops`select * from ops.margin_by_package`, 'notes')).toMatchObject({
      runs: 12,
      credits: 12,
    });
  });

  test('a person has the value of what they spent beside the cash that they paid (spec 8.4)', async () => {
    const rows = await database.ops`select * from ops.margin_by_user`;
    const one = of(rows, 'buyer@example.com');
    const spent = 4 * (cost['sonnet wordy'] ?? 0);
    expect(one).toMatchObject({ runs: 9, credits: 9, cash_dollars: 20 });
    expect(one.paid_margin_dollars).toBeCloseTo(4 * 0.033333 - spent, 10);
    expect(one.cash_margin_dollars).toBeCloseTo(20 - spent - 5 * (cost['gpt-4o-mini short'] ?? 0), 10);
    expect(of(rows, 'subscriber@example.com')).toMatchObject({ runs: 3, cash_dollars: 6 });
    expect(rows[0]?.person).toBe('buyer@example.com');
  });

  test("a plan has what its periods paid, against what its tier's runs cost (spec 8.4)", async () => {
    const rows = await database.ops`select * from ops.margin_by_plan`;
    const plan = of(rows, 'prpm_plus_individual');
    const spent = 3 * (cost['sonnet short'] ?? 0);
    expect(plan).toMatchObject({ paid_periods: 1, revenue_dollars: 6, people: 1, runs: 3 });
    expect(plan.cost_dollars).toBeCloseTo(spent, 10);
    expect(plan.margin_dollars).toBeCloseTo(6 - spent, 10);
    const free = of(rows, 'none');
    expect(free).toMatchObject({ tier_name: 'free', revenue_dollars: 0, margin_percent: null });
    expect(free.cost_dollars).toBeCloseTo(5 * (cost['gpt-4o-mini short'] ?? 0), 10); // purchased credits' cost is the pack's
  });

  test('a day has what was earned and spent, newest first (spec 8.4)', async () => {
    const [row] = await database.ops`select day::text, runs, credits, margin_dollars from ops.margin_by_day`;
    const [today] = await day();
    expect(row).toMatchObject({ day: today?.today, runs: '12', credits: '12' });
    const spent =
      5 * (cost['gpt-4o-mini short'] ?? 0) + 4 * (cost['sonnet wordy'] ?? 0) + 3 * (cost['sonnet short'] ?? 0);
    expect(Number(row?.margin_dollars)).toBeCloseTo(4 * 0.033333 + 3 * 0.06 - spent, 10);
  });
});

test('a run on free and paid credits bears its cost by their shares (spec 8.4)', async () => {
  const mixed = await signUp(database, 'mixed');
  await buy(database, mixed, 'small');
  for (let i = 0; i < 4; i++) await converse(database, mixed, { model: 'gpt-4o-mini', usage: short });
  await converse(database, mixed, { model: 'gpt-4o', usage: short }); // two credits: the last free one, and a paid one
  const [mini, whole] = [cost['gpt-4o-mini short'] ?? 0, cost['gpt-4o short'] ?? 0];
  const row = of(await database.ops`select * from ops.margin_by_user`, 'mixed@example.com');
  expect(row.value_dollars).toBeCloseTo(0.05, 10);
  expect(row.free_cost_dollars).toBeCloseTo(4 * mini + whole / 2, 10);
  expect(row.paid_margin_dollars).toBeCloseTo(0.05 - whole / 2, 10);
});

test('what prompt caching saved counts its writes against it (spec 5.6)', async () => {
  await converse(database, subscriber, {
    model: 'sonnet',
    usage: { input: 4000, cached: 3000, cacheWrite: 500, output: 100 },
  });
  const [price] = await database.owner`select * from model_prices where model = 'sonnet' and valid @> core.now()`;
  const saved = (3000 * (price?.input - price?.cached_read) - 500 * (price?.cache_write - price?.input)) / 1e6;
  const row = of(await database.ops`select * from ops.margin_by_model`, 'sonnet');
  expect(row.cache_saving_dollars).toBeCloseTo(saved, 10);
  expect(saved).toBeGreaterThan(0);
});

test('after 30 days a model, package or user is no longer named; a pack is (spec 8.4)', async () => {
  await wait(database, '31 days');
  await database.ops`select refresh_user_cost_analytics()`;
  expect(await database.ops`select * from ops.margin_by_model`).toHaveLength(0);
  expect([...(await database.ops`select kind, name from ops.loss_makers`)]).toContainEqual({
    kind: 'pack',
    name: 'large',
  });
  expect(await database.ops`select * from ops.loss_makers where kind <> 'pack'`).toHaveLength(0);
  expect((await audit(database.ops)).filter(({ check_name }) => !check_name.startsWith('period'))).toEqual([]);
});
