// The summary, figure by figure, reckoned here from the tables and from what was done.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buy, converse, signUp, type Usage, wait } from '../sessions/people.ts';
import { openAdministration } from './administration.ts';

const world = await openAdministration();
const { database, get } = world;
afterAll(world.close);

type Subscription = {
  status: string;
  plan?: string;
  amount: number;
  /** Days from now, past ones below 0. */
  from?: number;
  to?: number;
  /** False: its period was never paid. */
  isPaid?: boolean;
  more?: Record<string, Date | boolean>;
};

const day = 86_400_000;
const dear: Usage = { input: 3000, output: 2000 };

async function now(): Promise<Date> {
  const [row] = await database.owner<{ now: Date }[]>`select core.now() as now`;
  return row?.now ?? new Date();
}

/** A subscription as Stripe told of it, its period paid, and what follows for its owner. */
async function subscribe(user: string, subscription: Subscription): Promise<void> {
  const { status, amount, plan = 'prpm_plus_individual', from = -5, to = 25, isPaid = true } = subscription;
  const [clock, { owner }] = [await now(), database];
  const [starts, ends] = [new Date(+clock + from * day), new Date(+clock + to * day)];
  await owner`
    insert into subscriptions ${owner({
      ...{ user_id: user, id: 'sub_1', plan, status, monthly_amount: amount, created_at: starts, updated_at: clock },
      ...{ current_period_start: starts, current_period_end: ends, paid_until: isPaid ? ends : null },
      ...subscription.more,
    })}`;
  if (isPaid) {
    await owner`
      insert into subscription_periods ${owner({
        ...{ user_id: user, subscription_id: 'sub_1', period_start: starts, period_end: ends, plan, state: 'paid' },
        ...{ invoice_id: `in_${user}`, credits: 100, paid_amount: amount, created_at: starts, paid_at: starts },
      })}`;
    await owner`select core.grant_period(${user}, 'sub_1', ${plan}, ${starts}, ${ends}, ${amount}, ${clock})`;
  }
  await owner`select core.refresh_entitlement(${user}, ${clock})`;
}

beforeAll(async () => {
  const person = (name: string) => signUp(database, name);
  const [quiet, old] = [await person('quiet'), await person('old')];
  // Last month: cost, and a pack that is paid for.
  await converse(database, quiet, { model: 'gpt-4o-mini', usage: dear });
  await buy(database, old, 'medium');
  await wait(database, '31 days');

  await subscribe(await person('individual'), { status: 'active', amount: 6 });
  await subscribe(await person('member'), { status: 'active', amount: 3, plan: 'prpm_plus_org_member' });
  await subscribe(await person('discounted'), { status: 'active', amount: 4.5 });
  const trialEnd = new Date(+(await now()) + 5 * day);
  await subscribe(await person('trial'), {
    status: 'trialing',
    amount: 0,
    isPaid: false,
    more: { trial_end: trialEnd },
  });
  await subscribe(await person('canceled'), { status: 'canceled', amount: 6, more: { ended_at: await now() } });
  const unpaidSince = new Date(+(await now()) - day);
  await subscribe(await person('grace'), {
    ...{ status: 'past_due', amount: 6, from: -31, to: -1, more: { unpaid_since: unpaidSince } },
  });
  await subscribe(await person('lapsed'), { status: 'unpaid', amount: 6, from: -40, to: -10 });

  const [free, buyer] = [await person('free'), await person('buyer')];
  const usage = dear;
  await converse(database, free, { model: 'gpt-4o-mini', usage });
  // Two sign-up runs of two credits, then one credit left and one of the pack, then two of the pack.
  await buy(database, buyer, 'small');
  const refunded = await buy(database, buyer, 'small');
  await database.owner`select core.apply_refund(${buyer}, ${refunded}, 2, core.now())`;
  for (let i = 0; i < 4; i++) await converse(database, buyer, { model: 'gpt-4o', usage });
  await database.ops`update users set is_throttled = true where username = 'quiet'`;
  await database.ops`select * from reset_monthly_api_costs()`;
});

/** US dollars, from tokens and prices alone. */
async function costOf(model: string, { input, output }: Usage): Promise<number> {
  const [price] = await database.owner`
    select input::float8, output::float8 from model_prices where model = ${model} and valid @> core.now()`;
  return (input * price?.input + output * price?.output) / 1e6;
}

test('has the figures that the guide prints, each right and a number (spec 8.3)', async () => {
  const cost = (await costOf('gpt-4o-mini', dear)) + 4 * (await costOf('gpt-4o', dear));
  const subscriptions = 6 + 3 + 4.5 + 6;
  const packs = 5 + 5 - 2;
  const earned = 0.15; // three credits at five cents
  // individual, member, discounted, trial, canceled with paid days left, grace, free and buyer
  const activeUsers = 8;
  const summary = await get('/summary');
  expect(summary).toMatchObject({
    totalMonthlyRevenue: subscriptions + packs,
    totalMonthlyCost: Number(cost.toFixed(6)),
    overallMargin: Number(((100 * (subscriptions + earned - cost)) / (subscriptions + earned)).toFixed(2)),
    activeUsers,
    throttledUsers: 1,
    highRiskUsers: 0,
    subscriptionRevenue: subscriptions,
    packRevenue: packs,
    earnedPackRevenue: earned,
    averageCostPerUser: Number((cost / activeUsers).toFixed(6)),
  });
  expect(Math.abs(Date.parse(summary.asOf) - +(await now()))).toBeLessThan(60_000);
});

test('sums what the tables hold, and what psql says of the month (spec 8.3, 12)', async () => {
  const [tables] = await database.owner`
    select
      (select sum(cost)::float8 from runs where started_at >= date_trunc('month', core.now())) as cost,
      (select sum(paid_amount - refunded_amount)::float8 from purchases where paid_at >= date_trunc('month', core.now())) as packs,
      (select sum(monthly_amount)::float8 from subscriptions s join users u on u.id = s.user_id
        where u.entitled_until > core.now() and s.status <> 'canceled') as subscriptions,
      (select count(*)::int from users where is_throttled) as throttled,
      (select count(*)::int from users u where entitled_until > core.now()
        or exists (select from runs r where r.user_id = u.id and r.started_at >= date_trunc('month', core.now()))) as active`;
  const summary = await get('/summary');
  expect(summary.totalMonthlyCost).toBeCloseTo(tables?.cost, 6);
  expect(summary).toMatchObject({
    packRevenue: tables?.packs,
    subscriptionRevenue: tables?.subscriptions,
    throttledUsers: tables?.throttled,
    activeUsers: tables?.active,
  });
  const [psql] =
    await database.owner`select overall_margin_percent::float8 as margin from core.month_figures(core.now())`;
  expect(summary.overallMargin).toBe(psql?.margin);
});

test('answers every field in camelCase and in snake_case (spec 11.2)', async () => {
  const summary = await get('/summary');
  expect(summary.total_monthly_revenue).toBe(summary.totalMonthlyRevenue);
  expect(summary.average_cost_per_user).toBe(summary.averageCostPerUser);
  expect(Object.keys(summary)).toHaveLength(2 * 12);
});

test('says the same of another month, which must be one that has begun (spec 8.3)', async () => {
  const [{ month, next } = {}] = await database.owner`
    select to_char(core.now() at time zone 'UTC', 'YYYY-MM') as month,
      to_char((core.now() at time zone 'UTC') + interval '1 month', 'YYYY-MM') as next`;
  const same = await get('/summary');
  expect({ ...(await get(`/summary?month=${month}`)), asOf: '', as_of: '' }).toEqual({ ...same, asOf: '', as_of: '' });
  expect(await get('/summary?month=2020-02')).toMatchObject({
    ...{
      totalMonthlyRevenue: 0,
      totalMonthlyCost: 0,
      overallMargin: null,
      activeUsers: 0,
      throttledUsers: null,
      totalUsers: 0,
    },
  });
  for (const wrong of [next, '2031-13', 'March']) {
    const { status, json } = await world.ask('GET', `/summary?month=${wrong}`);
    expect([status, json.errors]).toEqual([400, [{ field: 'month', message: expect.any(String) }]]);
  }
});

test('without revenue the margin is null, and a user without a run costs nothing (spec 8.3, fault 34)', async () => {
  await wait(database, '40 days');
  expect(await get('/summary')).toMatchObject({
    ...{ totalMonthlyRevenue: 0, totalMonthlyCost: 0, overallMargin: null, activeUsers: 0, averageCostPerUser: null },
  });
  const [{ month } = {}] = await database.owner`
    select to_char((core.now() at time zone 'UTC') - interval '40 days', 'YYYY-MM') as month`;
  const [{ paid } = {}] = await database.owner`
    select coalesce(sum(paid_amount), 0)::float8 as paid from subscription_periods
    where state = 'paid' and to_char(period_start at time zone 'UTC', 'YYYY-MM') = ${month}`;
  expect(paid).toBeGreaterThan(0);
  expect(await get(`/summary?month=${month}`)).toMatchObject({
    subscriptionRevenue: paid,
    packRevenue: 8,
    throttledUsers: null,
  });
  expect(await world.audit()).toEqual([]);
});
