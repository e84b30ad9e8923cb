// What runs used, cost and brought, by time, model and package, reckoned here from the runs.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buy, converse, signUp, subscribe, type Usage, wait } from '../sessions/people.ts';
import { openAdministration } from './administration.ts';

const world = await openAdministration();
const { database, get } = world;
afterAll(world.close);

type Point = Record<'period', string> & Record<'runs' | 'users' | 'tokens' | 'credits' | 'cost' | 'value', number>;
type Series = { key: string | null; name: string; points: Point[] };
const used: { model: string; day: number; usage: Usage; user: string }[] = [];
let today: Date;

beforeAll(async () => {
  const [ann, bea] = [await signUp(database, 'ann'), await signUp(database, 'bea')];
  await subscribe(database, ann);
  await buy(database, bea);
  const [row] = await database.owner<{ now: Date }[]>`select core.now() as now`;
  today = new Date(String(row?.now.toISOString().slice(0, 10)));
  const story: [number, string, string, Usage][] = [
    [0, ann, 'gpt-4o', { input: 4000, output: 500 }],
    [0, bea, 'gpt-4o-mini', { input: 300, output: 700 }],
    [2, ann, 'gpt-4o', { input: 400, output: 100 }],
    [9, bea, 'gpt-4o', { input: 2000, cached: 500, output: 3000 }],
  ];
  let passed = 0;
  for (const [day, user, model, usage] of story) {
    await wait(database, `${day - passed} days`);
    passed = day;
    await converse(database, user, { model, usage });
    used.push({ model, day, usage, user });
  }
});

const dateOf = (day: number) => new Date(+today + day * 86_400_000).toISOString().slice(0, 10);
const sum = (points: Point[], field: 'runs' | 'tokens' | 'cost' | 'value' | 'credits') =>
  points.reduce((total, point) => total + point[field], 0);

test('a day without a run is there with zeros, and each day has its own runs (spec 8.3)', async () => {
  const answer = await get(`/timeseries?every=day&from=${dateOf(0)}&to=${dateOf(9)}`);
  const [{ key, name, points }] = answer.series as [Series];
  expect([key, name, points.length]).toEqual([null, 'all', 10]);
  expect(points.map(({ period }) => period)).toEqual(Array.from({ length: 10 }, (_, day) => dateOf(day)));
  expect(points.map(({ runs }) => runs)).toEqual([2, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
  expect(points.map(({ users }) => users)).toEqual([2, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
  expect(points.map(({ tokens }) => tokens)).toEqual([5500, 0, 500, 0, 0, 0, 0, 0, 0, 5000]);
  const rows = await database.owner`
    select cost::float8, (included_value + purchased_value)::float8 as value from runs order by started_at`;
  expect(sum(points, 'cost')).toBeCloseTo(
    rows.reduce((total, { cost }) => total + cost, 0),
    5,
  );
  expect(sum(points, 'value')).toBeCloseTo(
    rows.reduce((total, { value }) => total + value, 0),
    5,
  );
  expect(points[1]).toMatchObject({ cost: 0, value: 0, margin: 0, marginPercent: null });
});

test('weeks begin on Monday, months on the first, and both sum to the same (spec 8.3)', async () => {
  const range = `from=${dateOf(0)}&to=${dateOf(9)}`;
  const [days, weeks, months] = await Promise.all(
    ['day', 'week', 'month'].map(async (every) => (await get(`/timeseries?every=${every}&${range}`)).series[0].points),
  );
  for (const { period } of weeks) expect(new Date(period).getUTCDay()).toBe(1);
  for (const { period } of months) expect(period.slice(8)).toBe('01');
  for (const points of [weeks, months]) {
    expect(sum(points, 'runs')).toBe(sum(days, 'runs'));
    expect(sum(points, 'credits')).toBe(sum(days, 'credits'));
    expect(sum(points, 'cost')).toBeCloseTo(sum(days, 'cost'), 5);
  }
});

test.each(['model', 'package', 'plan'])('by %s the series sum to that of all (spec 8.3, 8.4)', async (by) => {
  const range = `from=${dateOf(0)}&to=${dateOf(9)}`;
  const whole: Series = (await get(`/timeseries?${range}`)).series[0];
  const { series }: { series: Series[] } = await get(`/timeseries?${range}&by=${by}`);
  expect(series.map(({ name }) => name).sort()).toEqual(
    { model: ['gpt-4o', 'gpt-4o-mini'], package: ['notes'], plan: ['free', 'prpm_plus_individual'] }[by],
  );
  for (const [nth, point] of whole.points.entries()) {
    const here = series.map(({ points }) => points[nth]).filter((one) => one !== undefined);
    expect(here.map(({ period }) => period)).toEqual(series.map(() => point.period));
    expect(sum(here, 'runs')).toBe(point.runs);
    expect(sum(here, 'cost')).toBeCloseTo(point.cost, 5);
  }
});

test('of more than twenty the rest is one series, so that nothing is lost (spec 8.3)', async () => {
  const user = await signUp(database, 'tester');
  await database.ops`select from ops.grant_credits(${user}, 100, 'test')`;
  for (let i = 0; i < 23; i++) {
    await database.owner`
      insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
      values (${`model-${i}`}, 'openai', ${`model-${i}`}, 1, 16384, 128000, 'o200k_base')`;
    await database.owner`
      insert into model_prices (model, valid, input, output) values (${`model-${i}`}, tstzrange('2025-01-01', null), 1, 2)`;
    await converse(database, user, { model: `model-${i}` });
  }
  const { series }: { series: Series[] } = await get(`/timeseries?by=model&from=${dateOf(9)}&to=${dateOf(9)}`);
  expect(series).toHaveLength(21);
  expect(series.at(-1)).toMatchObject({ key: 'others', points: [{ runs: 4 }] });
  expect(series.reduce((total, { points }) => total + sum(points, 'runs'), 0)).toBe(24);
});

test('without any run there is one series of zeros (spec 8.3)', async () => {
  const { series } = await get('/timeseries?every=month&from=2001-01-01&to=2001-03-31');
  expect(series).toMatchObject([{ key: null, points: [{ runs: 0 }, { runs: 0 }, { runs: 0 }] }]);
  expect((await get('/timeseries?from=2001-01-01&to=2001-01-01&by=model')).series).toEqual([]);
});

test('models and packages have what their runs used, cost and brought, and which of them lose money (spec 8.4)', async () => {
  const range = `from=${dateOf(0)}&to=${dateOf(8)}`;
  const models = await get(`/models?${range}`);
  const rows = await database.owner`
    select model as key, count(*)::int as runs, sum(input_tokens)::int as "inputTokens", sum(output_tokens)::int as "outputTokens",
      sum(credits)::int as credits, round(sum(cost), 6)::float8 as cost, round(sum(included_value + purchased_value), 6)::float8 as value
    from runs where started_at < ${dateOf(9)}::date group by model order by sum(cost) desc`;
  expect(models.rows).toMatchObject([...rows]);
  const packages = await get(`/packages?${range}`);
  expect(packages.rows).toMatchObject([{ key: world.packageId, name: 'notes', runs: 3, users: 2, failedRuns: 0 }]);
  expect(packages.rows[0].cost).toBeCloseTo(
    models.rows.reduce((total: number, { cost }: { cost: number }) => total + cost, 0),
    5,
  );
});

test('of the last 30 days they are what psql shows (spec 8.4, 12)', async () => {
  const view = await database.ops`
    select model as key, runs::int, round(cost_dollars, 6)::float8 as cost, round(value_dollars, 6)::float8 as value,
      round(free_cost_dollars, 6)::float8 as "freeCost", round(paid_margin_dollars, 6)::float8 as "paidMargin",
      cost_per_credit_dollars::float8 as "costPerCredit", value_per_credit_dollars::float8 as "valuePerCredit"
    from ops.margin_by_model`;
  const { rows } = await get('/models');
  expect(rows).toHaveLength(view.length);
  for (const row of view) expect(rows).toContainEqual(expect.objectContaining(row));
  const losers = await database.ops<{ name: string }[]>`select name from ops.loss_makers where kind = 'model'`;
  const ours = rows.filter(({ losesMoney }: { losesMoney: boolean }) => losesMoney);
  expect(ours.map(({ key }: { key: string }) => key).sort()).toEqual(losers.map(({ name }) => name).sort());
});

test('the projection is the guide’s (spec 8.5)', async () => {
  const { total, plans } = await get('/projection?subscribers=60,30,10&averageCosts=0.92,0.60,0.15');
  expect(plans).toHaveLength(3);
  expect(total).toMatchObject({ revenue: 450, cost: 74.7, profit: 375.3, marginPercent: 83.4 });
  expect((await get('/projection')).total.plan).toBe('total');
});

test('jobs and health are those of psql (spec 7.2, 12)', async () => {
  const rows = await database.ops`select job, is_late as "isLate", has_failed as "hasFailed" from ops.jobs`;
  expect((await get('/jobs')).jobs).toMatchObject([...rows]);
  const checks = await database.ops`select "check", detail, what_to_do as "whatToDo" from ops.checks()`;
  expect(await get('/health')).toMatchObject({ healthy: checks.length === 0, problems: [...checks] });
  expect(await world.audit()).toEqual([]);
});
