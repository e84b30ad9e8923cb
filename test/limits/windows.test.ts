// Windows of requests and cost: what is let in, cut, refused, and what belongs to which hour, day and month.
import { expect, it } from 'vitest';
import { differsOnCluster } from '../harness/tools.ts';
import { openWorld } from '../runs/world.ts';

const world = await openWorld();

const tiny = { input: 1, output: 1 };

async function limits(tier: string, columns: Record<string, number | boolean | null>) {
  await world.ops`update cost_limits_config set ${world.ops(columns)} where tier_name = ${tier}`;
}

it("has the guide's limits for the four tiers (spec 3.1)", async () => {
  const rows = await world.ops`
    select tier_name, monthly_cost_limit as month, daily_cost_limit as day, hourly_request_limit as hour
    from cost_limits_config order by tier_name`;
  expect(rows).toEqual([
    { tier_name: 'free', month: '0.50', day: '0.10', hour: 10 },
    { tier_name: 'prpm_plus_individual', month: '5.00', day: '1.00', hour: 100 },
    { tier_name: 'prpm_plus_org', month: '2.50', day: '0.50', hour: 100 },
    { tier_name: 'unlimited', month: '999999.99', day: null, hour: null },
  ]);
});

it('lets ten runs an hour in on the free tier and refuses the eleventh until the hour is over (spec 3.2, fault 49)', async () => {
  const user = await world.person({ credits: 20 });
  for (let run = 0; run < 10; run++) await world.run(user, {}, tiny);
  const refusal = await world.refusal(user);
  expect(refusal).toMatchObject({ code: 'hourly_request_limit', status: 429, limit: 10, used: 10, unit: 'runs' });
  expect(new Date(refusal.retry_at ?? '')).toEqual(new Date('2031-03-12T13:00:00Z'));
  expect(refusal.retry_after).toBeGreaterThan(1_780);
  expect((await world.figures(user)).hour).toBe(10);
  await world.at('2031-03-12T13:00:00Z');
  await world.run(user, {}, tiny);
});

it('counts for the hour neither what the provider failed nor what was refused (spec 3.2)', async () => {
  await limits('free', { hourly_request_limit: 1 });
  const user = await world.person();
  await world.refusal(user, { model: 'unknown' });
  await world.release(user, (await world.start(user)).begun_run_id);
  await world.run(user, {}, tiny);
  expect((await world.refusal(user)).code).toBe('hourly_request_limit');
});

it('shortens the answer to what the day has left, before it refuses (spec 1.5, 3.2)', async () => {
  const user = await world.person();
  await world.run(user, {}, { input: 500, output: 4_000 });
  const { output_cap, begun_run_id } = await world.start(user);
  expect(output_cap).toBe(500);
  await world.settle(user, begun_run_id, { input: 500, output: 500 });
  expect(await world.figures(user)).toMatchObject({ day_limited: '0.1', day_held: '0', month_limited: '0.1' });
  const refusal = await world.refusal(user);
  expect(refusal).toMatchObject({
    code: 'daily_cost_limit',
    status: 429,
    limit: 0.1,
    used: 0.1,
    held: 0,
    unit: 'dollars',
  });
  expect(new Date(refusal.retry_at ?? '')).toEqual(new Date('2031-03-13T00:00:00Z'));
});

it('refuses what the month cannot bear until the month ends, whatever the day has left (spec 3.2)', async () => {
  const user = await world.person({ credits: 20 });
  await limits('free', { daily_cost_limit: null, monthly_cost_limit: 0.05 });
  await world.run(user, {}, { input: 500, output: 2_000 });
  const refusal = await world.refusal(user);
  expect(refusal).toMatchObject({ code: 'monthly_cost_limit', status: 429, limit: 0.05, used: 0.045 });
  expect(new Date(refusal.retry_at ?? '')).toEqual(new Date('2031-04-01T00:00:00Z'));
  await limits('free', { daily_cost_limit: 0.046 });
  const both = await world.refusal(user);
  expect(both.code).toBe('monthly_cost_limit');
  expect(new Date(both.retry_at ?? '')).toEqual(new Date('2031-04-01T00:00:00Z'));
});

it('never lets parallel runs above a limit: what they may cost at worst is held (spec 3.2, fault 50)', async () => {
  const user = await world.person();
  const first = await world.start(user);
  const second = await world.start(user);
  expect([first.output_cap, second.output_cap]).toEqual([4_096, 404]);
  expect((await world.figures(user)).day_held).toBe('0.1');
  const refusal = await world.refusal(user);
  expect(refusal).toMatchObject({ code: 'held_by_other_runs', status: 429 });
  expect(refusal.retry_after).toBeLessThanOrEqual(60);
  await world.settle(user, first.begun_run_id, { input: 500, output: 4_096 });
  await world.settle(user, second.begun_run_id, { input: 500, output: 404 });
  expect((await world.figures(user)).day_limited).toBe('0.1');
});

it('says that other runs hold the credits, where they alone stand in the way (spec 3.2)', async () => {
  const user = await world.person({ credits: 1 });
  const { begun_run_id } = await world.start(user);
  expect(await world.refusal(user)).toMatchObject({ code: 'held_by_other_runs', status: 429, details: { running: 1 } });
  await world.release(user, begun_run_id);
  await world.start(user);
});

it('counts nothing for a run that was refused and throttles nobody: a smaller one may follow (spec 3.2, fault 47)', async () => {
  const user = await world.person({ credits: 99 });
  await world.run(user, { tokens: 900 }, { input: 1_000, output: 4_000 });
  expect((await world.refusal(user)).code).toBe('daily_cost_limit');
  expect((await world.refusal(user, { model: 'opus', tokens: 15_000 })).code).toBe('daily_cost_limit');
  expect(await world.figures(user)).toMatchObject({ is_throttled: false, day_held: '0', day_limited: '0.09' });
  expect((await world.start(user, { tokens: 300 })).output_cap).toBe(300);
});

it('takes null for no limit and 0 for none allowed (spec 3.1, fault 50)', async () => {
  const user = await world.person({ credits: 50 });
  await limits('free', { monthly_cost_limit: null, daily_cost_limit: null, hourly_request_limit: null });
  for (let run = 0; run < 12; run++) await world.run(user, {}, { input: 500, output: 4_000 });
  await limits('free', { hourly_request_limit: 0 });
  expect(await world.refusal(user)).toMatchObject({ code: 'hourly_request_limit', limit: 0 });
  await limits('free', { hourly_request_limit: null, daily_cost_limit: 0 });
  expect(await world.refusal(await world.person())).toMatchObject({ code: 'daily_cost_limit', limit: 0, used: 0 });
  await limits('free', { daily_cost_limit: null, minute_request_limit: 0 });
  expect(await world.refusal(user)).toMatchObject({ code: 'rate_limited', limit: 0 });
});

it('takes no limit that is no number, and names what to do instead of a monthly limit of 0 (spec 3.1)', async () => {
  await expect(limits('free', { monthly_cost_limit: 0 })).rejects.toThrow('use_daily_cost_limit_0_for_none');
  await expect(limits('free', { daily_cost_limit: -1 })).rejects.toThrow('daily_cost_limit_is_not_negative');
  for (const column of ['monthly_cost_limit', 'daily_cost_limit']) {
    for (const value of ['NaN', 'Infinity']) {
      await expect(
        world.ops`update cost_limits_config set ${world.ops(column)} = ${value} where tier_name = 'free'`,
      ).rejects.toThrow();
    }
  }
});

it('gives who has a tier that is no longer active the limits of free, at the start and at the end of a run (spec 3.1, fault 49)', async () => {
  const user = await world.person({ credits: 20, tier: 'prpm_plus_individual' });
  const { begun_run_id } = await world.start(user);
  await limits('prpm_plus_individual', { is_active: false });
  const receipt = await world.settle(user, begun_run_id, { input: 500, output: 4_750 });
  expect(receipt.limits).toMatchObject({ tier: 'free', daily: { limit: '0.10', used: '0.100000' } });
  expect(await world.figures(user)).toMatchObject({ is_throttled: true, throttled_by: 'limit' });
  expect(await world.refusal(user)).toMatchObject({ code: 'daily_cost_limit', limit: 0.1 });
  await limits('prpm_plus_individual', { is_active: true });
  expect((await world.run(user, {}, tiny)).limits.tier).toBe('prpm_plus_individual');
  expect((await world.figures(user)).is_throttled).toBe(false);
});

it('refuses a tier without a row, and gives it no limits (spec 3.1)', async () => {
  const user = await world.person();
  await world.ops`update users set tier_override = 'nowhere' where id = ${user}`;
  expect(await world.refusal(user)).toMatchObject({ code: 'tier_not_configured', status: 503 });
  await world.ops`
    insert into cost_limits_config (tier_name, monthly_cost_limit, daily_cost_limit) values ('nowhere', 1, 0.02)`;
  expect((await world.start(user)).output_cap).toBe(750);
});

it('holds a limit from the next request on (spec 3.1)', async () => {
  const user = await world.person();
  await limits('free', { daily_cost_limit: 0.05 });
  expect((await world.start(user)).output_cap).toBe(2_250);
  await limits('free', { daily_cost_limit: 0.2 });
  expect((await world.start(user)).output_cap).toBe(4_096);
});

it('books a run to the day in which it began: settled after midnight it burdens no new one (spec 3.2)', async () => {
  const user = await world.person();
  await world.at('2031-03-12T23:59:50Z');
  const late = await world.start(user);
  await world.at('2031-03-13T00:00:10Z');
  const next = await world.start(user);
  expect(next.output_cap).toBe(4_096);
  await world.settle(user, late.begun_run_id, { input: 500, output: 4_000 });
  expect(await world.figures(user)).toMatchObject({
    day: '0',
    day_limited: '0',
    day_held: '0.08692',
    month: '0.085',
    lifetime: '0.085',
  });
  await world.settle(user, next.begun_run_id, { input: 500, output: 500 });
  expect(await world.figures(user)).toMatchObject({ day: '0.015', day_held: '0', month: '0.1' });
});

it('books a run to the month in which it began, also when the month closes under it (spec 3.2, 7.1)', async () => {
  const [idle, busy] = [await world.person(), await world.person()];
  await world.at('2031-03-31T23:59:50Z');
  const runs = new Map([
    [idle, await world.start(idle)],
    [busy, await world.start(busy)],
  ]);
  await world.at('2031-04-01T00:00:10Z');
  await world.ops`select reset_monthly_api_costs()`;
  await world.start(busy, { wish: 300 });
  for (const [user, run] of runs) {
    expect((await world.figures(user)).month_held).toBe(user === busy ? '0.011' : '0');
    await world.settle(user, run.begun_run_id, { input: 500, output: 4_000 });
    expect(await world.figures(user)).toMatchObject({ month: '0', month_limited: '0', day: '0', lifetime: '0.085' });
  }
});

it("gives a failed run's request back only to the hour in which it began (spec 3.2)", async () => {
  const user = await world.person();
  await world.at('2031-03-12T12:59:50Z');
  const { begun_run_id } = await world.start(user);
  await world.at('2031-03-12T13:00:10Z');
  await world.run(user, {}, tiny);
  await world.release(user, begun_run_id);
  expect((await world.figures(user)).hour).toBe(1);
});

it('keeps calendar months in UTC of any length, also after months without use (spec 3.2)', async () => {
  const user = await world.person({ credits: 20 });
  for (const [now, end] of [
    ['2032-01-31T23:30:00Z', '2032-02-01T00:00:00Z'],
    ['2032-02-29T23:59:00Z', '2032-03-01T00:00:00Z'],
    ['2032-12-31T12:00:00Z', '2033-01-01T00:00:00Z'],
    ['2033-06-30T12:00:00Z', '2033-07-01T00:00:00Z'],
    ['2034-01-01T00:00:10Z', '2034-02-01T00:00:00Z'],
  ] as const) {
    await world.at(now);
    const receipt = await world.run(user, {}, { input: 500, output: 500 });
    expect(new Date(receipt.limits.monthly.resets_at)).toEqual(new Date(end));
    expect((await world.figures(user)).month).toBe('0.015');
  }
});

it('closes the windows that ended, once, and says how many months it closed (spec 7.1, 7.4)', async () => {
  const user = await world.person();
  await world.run(user, {}, { input: 500, output: 500 });
  await world.ops`select reset_monthly_api_costs()`;
  expect(await world.figures(user)).toMatchObject({ month: '0.015', day: '0.015' });
  await world.at('2031-03-13T00:00:01Z');
  expect(await world.ops`select reset_monthly_api_costs() as closed`).toEqual([{ closed: 0 }]);
  expect(await world.figures(user)).toMatchObject({ month: '0.015', day: '0', day_limited: '0' });
  await world.at('2031-04-01T00:00:01Z');
  const [first] = await world.ops`select reset_monthly_api_costs() as closed`;
  expect(first?.closed).toBeGreaterThan(0);
  expect(await world.ops`select reset_monthly_api_costs() as closed`).toEqual([{ closed: 0 }]);
  expect(await world.figures(user)).toMatchObject({ month: '0', month_limited: '0', lifetime: '0.015' });
});

it.skipIf(differsOnCluster('the test stops the call by a trigger and a lock of one node'))(
  'lets runs of people who are at it go on while one call closes the windows of all (spec 7.1, 7.4)',
  async () => {
    await world.at('2031-03-31T23:00:00Z');
    const [idle, early, late] = [await world.person(), await world.person(), await world.person()];
    await world.run(early, {}, tiny);
    await world.at('2031-03-31T23:59:50Z');
    const { begun_run_id: running } = await world.start(late);
    await world.at('2031-04-01T00:00:01Z');
    // Stands still with the rows of the idle and the early one locked, those of all who ran nothing lately.
    const { owner } = world;
    await owner.unsafe(`
    create function stand_still() returns trigger language plpgsql as
      $$ begin perform pg_advisory_xact_lock(4711); return null; end $$;
    create trigger stand_still after update on users for each row
      when (old.id = '${early}' and old.month_ends_at <> new.month_ends_at) execute function stand_still()`);
    const gate = await owner.reserve();
    await gate`select pg_advisory_lock(4711)`;
    const sweep = world.ops`select reset_monthly_api_costs() as closed`.execute();
    const waiting = () => gate`select from pg_locks where locktype = 'advisory' and objid = 4711 and not granted`;
    await expect.poll(waiting).toHaveLength(1);
    const free = await gate`select id from users where id in ${gate([idle, early, late])} for update skip locked`;
    expect(free.map(({ id }) => id)).toEqual([late]);
    await world.settle(late, running, tiny);
    const next = await world.start(late);
    await gate`select pg_advisory_unlock(4711)`;
    gate.release();
    const [{ closed } = {}] = await sweep;
    expect(closed).toBeGreaterThanOrEqual(2);
    await owner.unsafe('drop trigger stand_still on users; drop function stand_still()');
    await world.settle(late, next.begun_run_id, tiny);
    for (const user of [idle, early, late]) {
      const [row] = await owner`select month_ends_at from users where id = ${user}`;
      expect(row?.month_ends_at).toEqual(new Date('2031-05-01T00:00:00Z'));
    }
  },
);
