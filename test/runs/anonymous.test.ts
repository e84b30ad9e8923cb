// Runs of visitors who are not signed in: one a month each, and a budget for all of them. Spec 5.9.
import postgres from 'postgres';
import { afterAll, beforeEach, expect, it } from 'vitest';
import { newId, openWorld } from './world.ts';

const world = await openWorld();
const { owner, ops, app } = world;
const crowd = postgres(world.appUrl, { max: 40, onnotice: () => {} });
afterAll(() => crowd.end());

type Asked = {
  address?: string;
  run?: string;
  package?: string;
  version?: string | null;
  tokens?: number;
  user?: string;
};

async function begin(asked: Asked = {}, sql: postgres.Sql = app) {
  const { address = '192.0.2.1', run = newId(), package: name = 'plain', version = null, tokens = 100 } = asked;
  const [row] = await sql`
    select begun, invitation
    from api.begin_anonymous_run(${asked.user ?? null}, ${run}, ${address}, ${name}, ${version}, ${tokens}, 'o200k_base')`;
  return { ...row?.begun, invitation: row?.invitation } as postgres.Row;
}

type Ended = {
  ending?: string;
  called?: boolean;
  answered?: boolean;
  input?: number | null;
  output?: number;
  error?: string;
};

async function settle(run: string, ended: Ended = {}, sql: postgres.Sql = app) {
  const { ending = 'completed', called = true, answered = true, input = 200, output = 50, error = null } = ended;
  const [row] = await sql`
    select * from api.settle_anonymous_run(null, ${run}, ${ending}, ${called}, ${answered}, ${input}, 0, 0, ${output}, false,
      ${error}, null, 5, 50)`;
  return { ...row, cost: Number(row?.cost) } as postgres.Row;
}

const today = async () => (await ops`select * from ops.anonymous_use`)[0];
const address = (n: number) => `198.51.${Math.floor(n / 250)}.${(n % 250) + 1}`;

beforeEach(async () => {
  await owner`delete from anonymous_runs`;
  await owner`delete from anonymous_days`;
  await owner`delete from anonymous_visits`;
});

it('lets a visitor run once in a calendar month, and says how to sign up (spec 5.9)', async () => {
  const first = await begin();
  expect(first).toMatchObject({
    outcome: 'started',
    ...{ model_alias: 'gpt-4o-mini', provider_model: 'gpt-4o-mini', hold_credits: 0 },
    invitation: { login_required: true, login_url: '/login' },
  });
  expect(first.invitation.message).toBe('Sign up to get 5 free credits and continue testing packages!');
  const receipt = await settle(first.begun_run_id);
  expect(receipt).toMatchObject({ status: 'completed', credits_spent: '0', cost: 0.00006, tier: 'anonymous' });

  const second = await begin();
  expect(second.refusal).toMatchObject({
    code: 'limit_exceeded',
    status: 429,
    login_required: true,
    login_url: '/login',
  });
  expect(second.refusal.message).toContain('Sign up to get 5 free credits');
  expect(new Date(second.refusal.retry_at)).toEqual(new Date('2031-04-01T00:00:00Z'));
  await world.at('2031-03-31T23:59:30Z');
  expect((await begin()).refusal.code).toBe('limit_exceeded');
  await world.at('2031-04-01T00:00:00Z');
  expect((await begin()).outcome).toBe('started');
});

it('costs a run by the price that it began under, whatever is published meanwhile (spec 1.3, 5.9)', async () => {
  await ops`
    insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
    values ('changing', 'openai', 'changing-1', 1, 4096, 128000, 'o200k_base')`;
  await ops`insert into model_prices (model, valid, input, output) values ('changing', '[2025-01-01,)', 1, 2)`;
  await ops`update settings set anonymous_model = 'changing'`;
  const { begun_run_id } = await begin();
  await world.pass('1 minute');
  await ops`select from ops.publish_prices('changing', null, 100, null, null, 200, 'operator', 'dearer')`;
  expect((await settle(begun_run_id, { input: 1_000, output: 1_000 })).cost).toBe(0.003);
  expect(await today()).toMatchObject({ used_dollars: expect.stringMatching(/^0\.0030*$/) });
});

it('tells visitors apart by a keyed hash of the address, and keeps that no longer than it needs (spec 5.9)', async () => {
  const one = await begin({ address: '2001:db8:1:2::1' });
  expect((await begin({ address: '2001:db8:1:2:ffff::9' })).refusal.code).toBe('limit_exceeded');
  expect((await begin({ address: '2001:db8:1:3::1' })).outcome).toBe('started');
  await settle(one.begun_run_id);
  const [kept] = await ops`
    select (select string_agg(x::text, ' ') from anonymous_visits x) as visits,
      (select visitor from anonymous_runs where id = ${one.begun_run_id}) as visitor`;
  expect(kept?.visits).not.toContain('2001');
  expect(kept?.visitor).toBeNull();
  await world.at('2031-04-01T00:00:01Z');
  await ops`select ops.end_anonymous_runs()`;
  expect(await ops`select from anonymous_visits`).toHaveLength(0);
});

it('lets one of 50 attempts of one visitor at once in (spec 5.9)', async () => {
  const attempts = await Promise.all(Array.from({ length: 50 }, () => begin({}, crowd)));
  expect(attempts.filter(({ outcome }) => outcome === 'started')).toHaveLength(1);
  const others = attempts.flatMap(({ refusal }) => (refusal === null ? [] : [refusal.code]));
  expect(others).toEqual(Array(49).fill('limit_exceeded'));
  expect(await today()).toMatchObject({ runs: 1 });
});

it('holds the budget of all to the cent under 200 visitors at once, and uses it up (spec 5.9)', async () => {
  await ops`update settings set anonymous_daily_budget = 0.05`;
  let most = 0;
  const visit = async (n: number) => {
    const begun = await begin({ address: address(n) }, crowd);
    if (begun.outcome !== 'started') return begun.refusal;
    const [row] =
      await crowd`select begun ->> 'outcome' as outcome from api.begin_anonymous_run(null, ${begun.begun_run_id}, ${address(n)}, 'plain', null, 1, 'x')`;
    expect(row?.outcome).toBe('known');
    // Each uses all that it may: nothing that could come is above this.
    await settle(begun.begun_run_id, { input: begun.estimated_input, output: begun.output_cap }, crowd);
    const day = await today();
    most = Math.max(most, Number(day?.used_dollars) + Number(day?.held_dollars));
    return null;
  };
  const refusals = (await Promise.all(Array.from({ length: 200 }, (_, n) => visit(n)))).filter((one) => one !== null);
  const day = await today();
  expect(most).toBeLessThanOrEqual(0.05);
  expect(Number(day?.used_dollars)).toBeLessThanOrEqual(0.05);
  // What is left cannot bear the least useful answer.
  expect(0.05 - Number(day?.used_dollars)).toBeLessThan((200 * 0.15 + 256 * 0.6) / 1e6 + 1e-9);
  expect(day?.held_dollars).toBe('0');
  expect(new Set(refusals.map(({ code }) => code))).toEqual(new Set(['anonymous_budget']));
  const [last] = refusals.slice(-1);
  expect(last).toMatchObject({ status: 429, login_required: true });

  // Whom the budget refused has their run of the month still.
  await ops`update settings set anonymous_daily_budget = default`;
  expect(await ops`select from anonymous_visits`).toHaveLength(200 - refusals.length);
});

it('runs are not let in with a budget of 0; each day has its own, and a run burdens the day in which it began (spec 5.9, 3.2)', async () => {
  await ops`update settings set anonymous_daily_budget = 0`;
  const refused = await begin();
  expect(refused.refusal.code).toBe('anonymous_budget');
  expect(new Date(refused.refusal.retry_at)).toEqual(new Date('2031-03-13T00:00:00Z'));
  await ops`update settings set anonymous_daily_budget = default`;
  const late = await begin();
  await world.at('2031-03-13T00:00:10Z');
  await begin({ address: '192.0.2.2' });
  await settle(late.begun_run_id);
  const days = await ops`select day::text, runs, used_dollars from ops.anonymous_use`;
  expect(days).toEqual([
    { day: '2031-03-13', runs: 1, used_dollars: '0' },
    { day: '2031-03-12', runs: 1, used_dollars: '0.00006' },
  ]);
});

it('gives the run of the month back where nothing was delivered because of us or the provider, and books what it cost (spec 5.4, 5.9)', async () => {
  const failed = await begin();
  const receipt = await settle(failed.begun_run_id, {
    ...{ ending: 'failed', answered: false, output: 0, error: 'provider_unavailable' },
  });
  expect(receipt).toMatchObject({ status: 'released', cost: 0.00003, error: 'provider_unavailable' });
  expect(await settle(failed.begun_run_id)).toEqual(receipt);
  const again = await begin();
  expect(again.outcome).toBe('started');
  expect(await settle(again.begun_run_id, { ending: 'failed', error: 'provider_error' })).toMatchObject({
    status: 'failed',
  });
  expect((await begin()).refusal.code).toBe('limit_exceeded');
  expect((await today())?.used_dollars).toBe('0.00009');
  await expect(settle(newId())).rejects.toMatchObject({ code: 'PR404' });
});

it('books the hold of a run whose server is gone, and its true cost when that is heard of (spec 5.9)', async () => {
  const begun = await begin();
  const held = (await today())?.held_dollars;
  expect((await ops`select ops.end_anonymous_runs()::int as ended`)[0]).toEqual({ ended: 0 });
  await world.pass('10 minutes');
  const ended = await Promise.all(
    Array.from({ length: 4 }, () => ops`select ops.end_anonymous_runs()::int as ended`.then(([row]) => row?.ended)),
  );
  expect(ended.sort()).toEqual([0, 0, 0, 1]);
  expect(await today()).toMatchObject({ used_dollars: held, held_dollars: '0' });
  expect(await ops`select * from ops.audit_books()`).toEqual([]);
  expect((await begin()).refusal.code).toBe('limit_exceeded');
  const late = await settle(begun.begun_run_id);
  expect(late).toMatchObject({ status: 'expired', cost: 0.00006, estimated: false });
  expect(await settle(begun.begun_run_id, { output: 9999 })).toEqual(late);
  expect(await today()).toMatchObject({ used_dollars: '0.00006', held_dollars: '0' });
});

it('is for packages that everybody may see, of a size that is allowed, for who is not signed in, while runs are on (spec 5.5, 1.5)', async () => {
  const author = await world.person({ verifiedAuthor: true });
  await app`
    select from api.publish_version(${author}, 'secret', null, null, 'private', null, '1.0.0', 'Secret.', 3, 3, 3)`;
  const code = async (asked: Asked) => (await begin(asked)).refusal?.code;
  expect(await code({ package: 'secret' })).toBe('package_not_found');
  expect(await code({ package: 'nothing' })).toBe('package_not_found');
  expect(await code({ version: '9.9.9' })).toBe('version_not_found');
  expect(await code({ tokens: 20_000 })).toBe('request_too_large');
  expect(await code({ user: author })).toBe('forbidden');
  await ops`update settings set runs_enabled = false`;
  expect(await code({})).toBe('runs_disabled');
  await ops`update settings set runs_enabled = true, anonymous_model = 'nothing'`;
  expect(await code({})).toBe('model_not_found');
  await ops`update settings set anonymous_model = default`;
  await ops`update models set enabled = false where alias = 'gpt-4o-mini'`;
  expect(await code({})).toBe('model_disabled');
  await ops`update models set enabled = true where alias = 'gpt-4o-mini'`;
  expect(await ops`select from anonymous_visits`).toHaveLength(0);
});

it('counts in the analytics as anonymous, and in no user (spec 5.9, 8.2)', async () => {
  const begun = await begin();
  const before = (
    await ops`select * from core.month_figures(core.now())`.catch(
      () => owner`select * from core.month_figures(core.now())`,
    )
  )[0];
  await settle(begun.begun_run_id);
  const after = (await owner`select * from core.month_figures(core.now())`)[0];
  expect(Number(after?.cost) - Number(before?.cost)).toBeCloseTo(0.00006, 12);
  expect(
    await ops`select person, runs, cost_dollars::float8, free_cost_dollars::float8 from ops.margin_by_user where user_id is null`,
  ).toEqual([{ person: 'anonymous', runs: '1', cost_dollars: 0.00006, free_cost_dollars: 0.00006 }]);
  expect(await ops`select runs, cost_dollars::float8 from ops.free_use where tier_name = 'anonymous'`).toEqual([
    { runs: '1', cost_dollars: 0.00006 },
  ]);
  expect(await ops`select cost_dollars::float8 from ops.margin_by_model where model = 'gpt-4o-mini'`).toEqual([
    { cost_dollars: 0.00006 },
  ]);
});

it('counts in what was spent in the last hour, today and this month, and alerts as others do (spec 3.6, 9, 12)', async () => {
  const figures = async () => {
    const [row] = await ops`
      select (select value from ops.health where figure = 'spent today')::float8 as today,
        (select value from ops.health where figure = 'spent in the last hour')::float8 as hour`;
    const [metrics] = await app`select month_cost::float8 as month from api.read_metrics()`;
    return { today: row?.today, hour: row?.hour, month: metrics?.month };
  };
  const before = await figures();
  const begun = await begin();
  await settle(begun.begun_run_id, { input: 100_000, output: 100_000 });
  const spent = (100_000 * 0.15 + 100_000 * 0.6) / 1e6;
  const after = await figures();
  for (const when of ['today', 'hour', 'month'] as const)
    expect(after[when] - before[when], when).toBeCloseTo(spent, 9);
  const [note] = await ops`select note from ops.health where figure = 'spent today'`;
  expect(note?.note).toContain('By visitors: 0.0750');
  await ops`update settings set hourly_spend_alert = 0.07`;
  expect(await owner`select kind from core.run_conditions(core.now()) where kind = 'hourly_spend'`).toHaveLength(1);
  await ops`update settings set hourly_spend_alert = default`;
  await world.pass('25 hours');
  expect((await figures()).today).toBe(0);
  expect((await figures()).hour).toBe(0);
});

it('is audited: every figure that is changed by hand is named (spec 4.8)', async () => {
  const [ended, running] = [await begin(), await begin({ address: '192.0.2.2' })];
  await settle(ended.begun_run_id);
  const disturb = async (statement: string, back: string) => {
    await owner.unsafe(statement);
    const found = await ops`select check_name, object from ops.audit_books()`;
    await owner.unsafe(back);
    return found.map(({ check_name, object }) => `${check_name}: ${object}`);
  };
  const theDay = "anonymous_day: visitors' runs of 2031-03-12";
  for (const figure of ['used', 'held', 'runs']) {
    const change = (sign: string) => `update anonymous_days set ${figure} = ${figure} ${sign} 1`;
    expect(await disturb(change('+'), change('-'))).toEqual([theDay]);
  }
  const cost = (sign: string) => `update anonymous_runs set cost = cost ${sign} 1 where id = '${ended.begun_run_id}'`;
  expect(await disturb(cost('+'), cost('-'))).toEqual([`anonymous_cost: anonymous run ${ended.begun_run_id}`, theDay]);
  const hold = (sign: string) =>
    `update anonymous_runs set hold_cost = hold_cost ${sign} 1 where id = '${running.begun_run_id}'`;
  expect(await disturb(hold('+'), hold('-'))).toEqual([theDay]);
});
