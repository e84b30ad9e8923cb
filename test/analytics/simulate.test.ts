// What-if: a past month replayed under other prices, multipliers and limits, beside what was.
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { openWorld } from '../runs/world.ts';
import { openAdministration } from './administration.ts';

const world = await openWorld();
const { owner, ops } = world;

type Row = Record<string, string | null>;
/** The two rows of ops.simulate for March 2031, as texts of numbers. */
async function simulate(changes = ''): Promise<[Row, Row]> {
  const rows = await ops.unsafe<Row[]>(`
    select scenario, trim_scale(revenue)::text as revenue, trim_scale(subscription_revenue)::text as plans, trim_scale(pack_revenue)::text as packs,
      trim_scale(cost)::text as cost, trim_scale(margin)::text as margin, margin_percent::text as percent, runs::text, credits::text,
      refused_runs::text as refused, shortened_runs::text as shortened, throttled_users::text as throttled
    from ops.simulate(since => '2031-03-01', until => '2031-04-01'${changes === '' ? '' : `, ${changes}`})`);
  const [was, then, ...more] = rows;
  if (was === undefined || then === undefined || more.length > 0) throw new Error('two rows were expected');
  expect([was.scenario, then.scenario]).toEqual(['as it was', 'simulated']);
  return [was, then];
}
const figures = ({ scenario: _, ...rest }: Row) => rest;

let heavy: string;
beforeAll(async () => {
  await world.at('2031-03-03T08:00:00Z');
  heavy = await world.person({ credits: 500, tier: 'prpm_plus_org' });
  await world.period(heavy, '2031-03-02T00:00:00Z', '2031-04-02T00:00:00Z');
  const buyer = await world.person({ credits: 0 });
  await world.buy(buyer);
  const others = [await world.person({ credits: 50 }), buyer, heavy];
  for (let day = 0; day < 4; day++) {
    for (const user of others) {
      await world.run(user, { model: 'plain', tokens: 300 }, { input: 400, output: 900 + 200 * day });
      await world.run(
        user,
        { model: 'cached', tokens: 300 },
        { input: 3_000, cached: 900, cacheWrite: 300, output: 300 },
      );
    }
    const { begun_run_id } = await world.start(heavy, { model: 'plain', tokens: 300 });
    await world.release(heavy, begun_run_id);
    if (day === 1) await ops`select from ops.publish_prices('plain', null, 12, 1, null, 25, 'operator', 'test')`;
    await world.pass('25 hours');
  }
  const { begun_run_id: failed } = await world.start(heavy, { model: 'plain', tokens: 300 });
  await world.settle(heavy, failed, { ending: 'failed', output: 40, answer: 'so far', error: 'provider_error' });
  await owner`
    insert into subscription_periods (user_id, subscription_id, period_start, period_end, plan, state, credits, paid_amount, created_at, paid_at)
    values (${heavy}, 'sub_1', '2031-03-02T00:00:00Z', '2031-04-02T00:00:00Z', 'prpm_plus_individual', 'paid', 100, 6, core.now(), core.now())`;
});

describe('a replay (spec 8.6)', () => {
  it('of no change is what was, to the last digit, whatever is reckoned anew', async () => {
    const [sums] = await ops`
      select trim_scale(sum(cost))::text as cost, count(*)::text as runs, sum(credits + shortfall)::text as credits from runs where status <> 'running'`;
    const [was, then] = await simulate();
    expect(figures(then)).toEqual(figures(was));
    expect(was).toMatchObject({ ...sums });
    for (const changes of [
      'tokens_per_credit => 5000',
      `multipliers => '{"plain": 1, "cached": 1}'`,
      `model_prices => '{"cached": {"input": 10, "output": 20}}'`,
      `limits => '{"prpm_plus_org": {"monthly_cost_limit": 2.5}}'`,
      'max_request_tokens => 20000',
      `plan_prices => '{"prpm_plus_individual": 6}', pack_prices => '{"small": 5}'`,
    ]) {
      expect(await simulate(changes).then(([, row]) => figures(row)), changes).toEqual(figures(was));
    }
    // What counts against limits too, run for run.
    const [counted] = await owner`
      select count(*)::int as runs, count(*) filter (where u.limited = r.limited_cost and u.limited_was = r.limited_cost)::int as same
      from core.runs_under('2031-03-01', '2031-04-01', '{"cached": {"input": 10, "output": 20}}', null, null, null) u
      join runs r on r.id = u.id`;
    expect(counted?.runs).toBeGreaterThan(25);
    expect(counted?.same).toBe(counted?.runs);
  });

  it('under other plan and pack prices earns in proportion, and costs the same', async () => {
    const [was, then] = await simulate(`plan_prices => '{"prpm_plus_individual": 7}', pack_prices => '{"small": 4}'`);
    expect(was).toMatchObject({ plans: '6', packs: '5', revenue: '11' });
    expect(then).toMatchObject({ plans: '7', packs: '4', revenue: '11', cost: was.cost, refused: was.refused });
    expect(Number(then.margin)).toBeCloseTo(11 - Number(was.cost), 12);
  });

  it('under other model prices costs what the runs would have, by kind of token', async () => {
    const [, then] = await simulate(
      `model_prices => '{"cached": {"input": 3, "cached_read": 0.3, "cache_write": 3.75, "output": 15}}'`,
    );
    const [expected] = await ops`
      select trim_scale(sum(case when model = 'cached'
        then ((input_tokens - cached_tokens - cache_write_tokens) * 3 + cached_tokens * 0.3 + cache_write_tokens * 3.75 + output_tokens * 15) / 1000000.0
        else cost end))::text as cost from runs`;
    expect(then.cost).toBe(expected?.cost);
  });

  it('under other multipliers and tokens a credit charges what the runs would have been', async () => {
    const [, then] = await simulate(`tokens_per_credit => 1000, multipliers => '{"plain": 2}'`);
    const [expected] = await ops`
      select sum(case when credits + shortfall = 0 then 0
        else ceil(greatest(1, ceil((input_tokens + output_tokens) / 1000.0)) * case when model = 'plain' then 2 else 1 end) end)::text as credits
      from runs where user_id = ${heavy}`;
    const [others] = await ops`
      select trim_scale(sum(cost))::text as cost from runs`;
    expect(then.cost).toBe(others?.cost);
    expect(Number(then.credits)).toBeGreaterThan(Number(expected?.credits));
    expect(then.refused).toBe('0');
  });

  it('where credits no longer suffice refuses or shortens, as a run would have been', async () => {
    const [was, then] = await simulate(`multipliers => '{"plain": 30, "cached": 30}'`);
    expect(Number(then.refused)).toBeGreaterThan(Number(was.refused));
    expect(Number(then.cost)).toBeLessThan(Number(was.cost));
    const [had] = await ops`
      select sum(amount)::int as credits from credit_transactions where debit = 'issued'`;
    expect(Number(then.credits)).toBeLessThanOrEqual(had?.credits);
  });

  it('under a lower limit refuses what a window would not have borne, run for run, and throttles who used it up', async () => {
    const runs = await ops<
      {
        day: string;
        cost: string;
        held: number;
        cap: number;
        input: number;
        output: number;
        price: string;
        write: string;
        read: number;
      }[]
    >`
      select (r.started_at at time zone 'UTC')::date::text as day, r.limited_cost as cost, r.output_cap as cap, r.output_tokens as output, r.input_tokens as input,
        p.output as price, greatest(p.input, p.cache_write) as write, r.estimated_input as read
      from runs r join model_prices p on p.id = r.price_id where r.user_id = ${heavy} order by r.started_at`;
    const limit = 0.06;
    let [refused, kept, used, day] = [0, 0, 0, ''];
    for (const run of runs) {
      if (run.day !== day) [day, used] = [run.day, 0];
      const input = run.read * Number(run.write);
      const least = (input + Math.min(256, run.cap) * Number(run.price)) / 1e6;
      const whole = (input + run.output * Number(run.price)) / 1e6;
      if (limit - used < least - 1e-12) {
        refused++;
        continue;
      }
      // No run of this history is shortened by this limit: either it fits, or not even a useful part does.
      expect(limit - used, 'a run that is shortened').toBeGreaterThanOrEqual(whole);
      used += Number(run.cost);
      kept += Number(run.cost);
    }
    expect(refused).toBeGreaterThan(0);
    const [was, then] = await simulate(`limits => '{"prpm_plus_org": {"daily_cost_limit": ${limit}}}'`);
    expect(Number(then.refused) - Number(was.refused)).toBe(refused);
    expect(then.shortened).toBe('0');
    const [rest] = await ops`select sum(cost) as cost from runs where user_id <> ${heavy}`;
    expect(Number(then.cost)).toBeCloseTo(kept + Number(rest?.cost), 9);
    expect([was.throttled, then.throttled]).toEqual(['0', '1']);
  });

  it('under a smaller request size shortens answers that were longer, and counts runs an hour', async () => {
    const [, then] = await simulate('max_request_tokens => 1500');
    const [expected] = await ops`
      select count(*) filter (where output_tokens > 1500 - estimated_input and 1500 - estimated_input >= 256)::text as shortened,
        count(*) filter (where 1500 - estimated_input < least(256, output_cap))::text as refused from runs`;
    expect(then).toMatchObject(expected ?? {});
    const [was, hourly] = await simulate(
      `limits => '{"prpm_plus_org": {"hourly_request_limit": 2}, "free": {"hourly_request_limit": null}}'`,
    );
    const [hours] = await ops`
      select sum(greatest(0, n - 2))::int as refused
      from (select count(*) as n from runs where user_id = ${heavy} group by date_trunc('hour', started_at)) x`;
    expect(Number(hourly.refused) - Number(was.refused)).toBe(hours?.refused);
  });

  it('counts what was refused then, and takes runs of the month before the first day into its windows', async () => {
    await owner`
      insert into refusals (user_id, reason, hour, count, last_at) values (${heavy}, 'daily_cost_limit', '2031-03-03T10:00:00Z', 7, '2031-03-03T10:00:00Z')`;
    const [was, then] = await simulate();
    expect([was.refused, then.refused]).toEqual(['7', '7']);
    const limits = { prpm_plus_org: { monthly_cost_limit: 0.1 } };
    const part = async (since: string) => {
      const [, row] =
        await ops`select runs::int from ops.simulate(since => ${since}, until => '2031-04-01', limits => ${ops.json(limits)})`;
      return row?.runs;
    };
    const [all] = await ops`select count(*)::int as runs from runs where started_at >= '2031-03-05'`;
    expect(await part('2031-03-05')).toBeLessThan(all?.runs);
  });

  it('has the recommendations of the guide by name', async () => {
    const rows =
      await ops`select preset, (select array_agg(s.revenue order by s.scenario) from ops.simulate(p.preset, '2031-03-01', '2031-04-01') s) as revenue
      from ops.simulation_presets p`;
    expect(rows.map(({ preset }) => preset)).toEqual([
      'org_limit_2',
      'individual_price_7',
      'request_size_15000',
      'limits_plus_20_percent',
    ]);
    expect(rows[1]?.revenue).toEqual(['11.00', '12.00']);
    const [was, then] = await simulate(`preset => 'limits_plus_20_percent'`);
    expect(figures(then)).toEqual(figures(was)); // what was refused then cannot be replayed
  });

  it('changes nothing', async () => {
    const everything = async () => {
      const tables = await owner<{ name: string }[]>`
        select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('public', 'core') order by 1`;
      const sums: Record<string, string> = {};
      for (const { name } of tables) {
        const [row] = await owner.unsafe(
          `select count(*) || ' ' || coalesce(sum(hashtextextended(x::text, 0)), 0) as sum from ${name} x`,
        );
        sums[name] = row?.sum;
      }
      return sums;
    };
    const before = await everything();
    await simulate(
      `limits => '{"prpm_plus_org": {"monthly_cost_limit": 0.01}}', multipliers => '{"plain": 30}', model_prices => '{"plain": {"output": 90}}'`,
    );
    expect(await everything()).toEqual(before);
    expect(await ops`select * from ops.audit_books()`).toEqual([]);
  });

  it.each([
    ['preset', `preset => 'gold'`, 'there is no preset gold'],
    ['since', `since => '2031-05-01'`, 'no time of 1 to 366 days'],
    ['since', `until => '2034-01-01', since => '2031-01-01'`, 'no time of 1 to 366 days'],
    ['since', `since => '2031-05-01', until => '2031-06-01'`, 'since must be a day of the past'],
    ['tokens_per_credit', 'tokens_per_credit => 0', 'from 1 to 1000000, not 0'],
    ['max_request_tokens', 'max_request_tokens => -1', 'not -1'],
    ['plan_prices', `plan_prices => '[7]'`, 'must be an object, such as {"prpm_plus_individual": 7}'],
    ['plan_prices', `plan_prices => '{"gold": 7}'`, 'plan_prices has no gold: there are prpm_plus_individual'],
    ['plan_prices', `plan_prices => '{"prpm_plus_individual": -7}'`, 'must be a number from 0 to 1000000000, not -7'],
    ['pack_prices', `pack_prices => '{"small": "five"}'`, 'not five'],
    ['multipliers', `multipliers => '{"plain": null}'`, 'not null'],
    ['model_prices', `model_prices => '{"plain": 5}'`, 'must be an object'],
    ['model_prices', `model_prices => '{"plain": {"outptu": 5}}'`, 'model_prices of plain has no outptu'],
    ['limits', `limits => '{"free": {"daily": 5}}'`, 'limits of free has no daily'],
    ['limits', `limits => '{"nobody": {"daily_cost_limit": 5}}'`, 'limits has no nobody'],
  ])('names what is wrong with %s: %s', async (field, given, message) => {
    const asked = given.includes('since') ? given : `since => '2031-03-01', until => '2031-04-01', ${given}`;
    const answer = ops.unsafe(
      `select * from ops.simulate(${asked.includes('until') ? asked : `${asked}, until => '2031-04-01'`})`,
    );
    await expect(answer).rejects.toMatchObject({
      code: 'PR400',
      detail: field,
      message: expect.stringContaining(message),
    });
  });
});

describe('over HTTP', async () => {
  const administration = await openAdministration();
  afterAll(administration.close);

  test('administrators get the same, as numbers, others nothing (spec 8.3)', async () => {
    const { database, ask, tokenOf } = administration;
    const body = {
      planPrices: [{ plan: 'prpm_plus_individual', price: 7 }],
      packPrices: [{ pack: 'small', price: 6 }],
      limits: [{ tier: 'free', monthlyCostLimit: 0.4, dailyCostLimit: null }],
      modelPrices: [{ model: 'gpt-4o-mini', cachedRead: 0.1 }],
      multipliers: [{ model: 'gpt-4o-mini', multiplier: 0.7 }],
      since: '2026-01-01',
      until: '2026-02-01',
    };
    const { status, json } = await ask('POST', '/what-if', { body });
    const [row] = await database.ops`
      select revenue::float8, cost::float8, margin_percent, refused_runs::int from ops.simulate(since => '2026-01-01', until => '2026-02-01') limit 1`;
    expect([status, json.was]).toEqual([
      200,
      expect.objectContaining({
        revenue: row?.revenue,
        cost: row?.cost,
        marginPercent: row?.margin_percent,
        refusedRuns: row?.refused_runs,
      }),
    ]);
    expect(json.simulated).toMatchObject({ runs: 0, shortenedRuns: 0, throttledUsers: 0 });

    const wrong = await ask('POST', '/what-if', { body: { limits: [{ tier: 'gold', monthlyCostLimit: 1 }] } });
    expect([wrong.status, wrong.json.message]).toEqual([400, expect.stringContaining('limits has no gold')]);
    const unknown = await ask('POST', '/what-if', { body: { limits: [{ monthlyCostLimit: 1 }] } });
    expect(unknown.status).toBe(400);
    await database.ops`select from ops.create_user('plain@example.com', 'plain')`;
    expect((await ask('POST', '/what-if', { body, token: await tokenOf('plain', 'read') })).status).toBe(403);
  });
});
